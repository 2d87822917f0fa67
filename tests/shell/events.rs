//! `stentor sub`: live events.

use serde_json::json;
use stentor::codec::Codec;

use crate::shell::Router;
use crate::sockets::{Client, Kind, address, eventually};

const RAW: Kind = Kind::Raw(Codec::MsgPack);

#[test]
fn events_come_from_several_topics_until_there_are_enough() {
    let router = Router::open();
    let arguments = ["com.a", "com.b", "--count", "3", "--json", "--timestamps"];
    let mut subscriber = router.subscriber(&arguments);
    eventually("both topics are subscribed to", || router.server.snapshot().subscriptions == 2);
    let mut publisher = Client::join(address(&router.server), RAW);
    for (topic, value) in [("com.a", 1), ("com.c", 2), ("com.b", 3), ("com.a", 4)] {
        publisher.publish_acknowledged(topic, &json!(value));
    }
    let mut values = Vec::new();
    for _ in 0..3 {
        let line = subscriber.stdout.next_with("topic");
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(object["publication"].is_u64() && object["time"].is_string(), "{object}");
        values.push((object["topic"].clone(), object["args"][0].clone()));
    }
    // Of different topics the order is open.
    values.sort_by_key(|(_, value)| value.as_u64());
    assert_eq!(
        values,
        [(json!("com.a"), json!(1)), (json!("com.b"), json!(3)), (json!("com.a"), json!(4)),]
    );
    assert_eq!(subscriber.process.exit_code(), Some(0));
}

#[test]
fn patterns_say_what_was_published_to() {
    let router = Router::open();
    let mut publisher = Client::join(address(&router.server), RAW);
    let patterns = [("com.x", "prefix"), ("com..z", "wildcard")];
    let subscribers = patterns.map(|(uri, policy)| router.subscriber(&[uri, "--match", policy]));
    publisher.publish_acknowledged("com.x.z", &json!("hi"));
    for subscriber in subscribers {
        assert_eq!(subscriber.stdout.next_with("hi"), "com.x.z \"hi\"");
    }
    let done = router.run(&["sub", "com.x", "--match", "guess"]);
    done.check(2, "").says(&["exact", "prefix", "wildcard"]);
}

#[test]
fn the_count_wins_over_the_time() {
    let router = Router::open();
    // Without a count the time is how long it listens.
    router.run(&["sub", "com.x", "--timeout", "0.1"]).check(0, "");
    let done = router.run(&["sub", "com.x", "--timeout", "0.1", "--count", "1"]);
    done.check(4, "").says(&["only 0 of 1 events came in time"]);
    let mut subscriber = router.subscriber(&["com.x", "--timeout", "25", "--count", "1", "--raw"]);
    let mut publisher = Client::join(address(&router.server), RAW);
    publisher.publish_acknowledged("com.x", &json!("in time"));
    assert_eq!(subscriber.stdout.next_with("in"), "in time");
    assert_eq!(subscriber.process.exit_code(), Some(0));
}

#[test]
fn an_interrupt_ends_it_well_unless_events_are_missing() {
    let router = Router::open();
    let mut endless = router.subscriber(&["com.x"]);
    assert_eq!(endless.interrupt(), Some(0));
    let mut counted = router.subscriber(&["com.x", "--count", "1"]);
    assert_eq!(counted.interrupt(), Some(130));
    eventually("both have left in order", || router.server.snapshot().sessions == 0);
}

#[test]
fn it_waits_for_a_router_that_is_not_there_yet() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let url = format!("unix:{}", socket.display());
    let gone = crate::shell::command(&["sub", "com.x", "--url", &url, "--wait", "0.3"]);
    crate::shell::run(&mut { gone }).check(3, "");
    let arguments = ["sub", "com.x", "--url", &url, "--wait", "25", "--count", "1"];
    let mut subscriber = crate::shell::Background::start(&mut crate::shell::command(&arguments));
    let mut config = crate::sockets::config(1);
    config.listeners = vec![stentor::config::Listener::on(url.parse().unwrap())];
    let server = crate::sockets::start(&config);
    eventually("it has come", || server.snapshot().subscriptions == 1);
    let mut publisher = Client::join(address(&server), RAW);
    publisher.publish_acknowledged("com.x", &json!(1));
    assert_eq!(subscriber.process.exit_code(), Some(0));
}

#[test]
fn retained_events_come_first_and_options_go_along() {
    let router = Router::open();
    router.run(&["pub", "com.x", "kept", "--retain"]).check(0, "");
    let done = router.run(&["sub", "com.x", "--get-retained", "--count", "1", "--json"]);
    let [object] = &*done.objects() else { panic!("{done:?}") };
    assert_eq!((&object["retained"], &object["args"]), (&json!(true), &json!(["kept"])));
    let done = router.run(&["sub", "com.x", "-o", "get_retained=true", "--count", "1", "--raw"]);
    done.check(0, "kept\n");
}

#[test]
fn statistics_are_lines_where_there_is_no_terminal() {
    let router = Router::open();
    let arguments = ["com.", "--match", "prefix", "--stats", "--count", "3", "--json"];
    let mut subscriber = router.subscriber(&arguments);
    let mut publisher = Client::join(address(&router.server), RAW);
    for topic in ["com.a", "com.b", "com.a"] {
        publisher.publish_acknowledged(topic, &json!("12345"));
    }
    assert_eq!(subscriber.process.exit_code(), Some(0));
    let mut events = 0;
    for topic in ["com.a", "com.b"] {
        let line = subscriber.stdout.next_with(topic);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["topic"], topic);
        events += object["events"].as_u64().unwrap();
        assert!(object["bytes"].as_u64().unwrap() >= 6, "{object}");
    }
    assert!((2..=3).contains(&events), "{events}");
}

#[test]
fn a_lost_connection_is_told() {
    let router = Router::open();
    let mut subscriber = router.subscriber(&["com.x", "--no-reconnect"]);
    router.server.stop().unwrap();
    assert_eq!(subscriber.process.exit_code(), Some(3));
    subscriber.stderr.next_with("the connection is lost");
}

#[test]
fn a_lost_connection_comes_again() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("unix:{}", directory.path().join("socket").display());
    let mut config = crate::sockets::config(1);
    config.listeners = vec![stentor::config::Listener::on(url.parse().unwrap())];
    let arguments = ["sub", "com.x", "--url", &url, "--raw", "--count", "2", "--wait", "25"];
    let mut subscriber = crate::shell::Background::start(&mut crate::shell::command(&arguments));
    for value in ["first", "second"] {
        let server = crate::sockets::start(&config);
        eventually("it is subscribed", || server.snapshot().subscriptions == 1);
        let mut publisher = Client::join(address(&server), RAW);
        publisher.publish_acknowledged("com.x", &json!(value));
        assert_eq!(subscriber.stdout.next_with(value), value);
        server.stop().unwrap();
    }
    assert_eq!(subscriber.process.exit_code(), Some(0));
    for words in ["connection lost", "connected again"] {
        subscriber.stderr.next_with(words);
    }
}

#[test]
fn who_reads_may_go() {
    let router = Router::open();
    let mut subscriber = router.subscriber(&["com.x"]);
    // `Lines` of the test stop reading, as `head` does.
    drop(subscriber.stdout);
    let mut publisher = Client::join(address(&router.server), RAW);
    let mut code = None;
    eventually("it has ended", || {
        publisher.publish_acknowledged("com.x", &json!("x".repeat(1000)));
        code = subscriber.process.0.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.unwrap().code(), Some(0));
}
