//! `stentor pub`.

use serde_json::json;
use stentor::authorization::{Access, RoleSettings};
use stentor::codec::Codec;

use crate::shell::Router;
use crate::sockets::{Client, Kind, address, config};

const RAW: Kind = Kind::Raw(Codec::Json);

fn subscriber(router: &Router) -> Client {
    let mut subscriber = Client::join(address(&router.server), RAW);
    subscriber.subscribe("com.x");
    subscriber
}

#[test]
fn an_event_has_arguments_of_both_kinds() {
    let router = Router::open();
    let mut subscriber = subscriber(&router);
    let done = router.run(&["pub", "com.x", "1", "-5", "a", "-k", "b=[2]", "--json"]);
    let event = subscriber.expect(36);
    assert_eq!((&event[4], &event[5]), (&json!([1, -5, "a"]), &json!({"b": [2]})));
    let [object] = &*done.objects() else { panic!("{done:?}") };
    assert_eq!((&object["topic"], &object["publication"]), (&json!("com.x"), &event[2]));
    // Nothing is said where nothing is asked for.
    router.run(&["pub", "com.x"]).check(0, "");
    assert_eq!(subscriber.expect(36).as_array().unwrap().len(), 4, "no arguments at all");
    router.run(&["pub", "com.x", "2", "--acknowledge=false"]).check(0, "");
    assert_eq!(subscriber.expect(36)[4], json!([2]));
    router.run(&["pub", "com.x", "3", "--acknowledge"]).check(0, "");
    assert_eq!(subscriber.expect(36)[4], json!([3]));
}

#[test]
fn lines_of_standard_input_are_events_in_their_order() {
    let router = Router::open();
    let mut subscriber = subscriber(&router);
    let mut input = String::from("one\n\"5\"\n{\"a\": 1}\n@file\n-\n\n");
    (0..500).for_each(|number| input.push_str(&format!("{number}\n")));
    let done = router.run_with(&["pub", "com.x", "first", "--lines", "--json"], input.as_bytes());
    assert_eq!((done.code, done.objects().len()), (Some(0), 506), "{}", done.stderr);
    let expected = [json!("one"), json!("5"), json!({"a": 1}), json!("@file"), json!("-")];
    let expected = expected.into_iter().chain([json!("")]).chain((0..500).map(|n| json!(n)));
    for line in expected {
        assert_eq!(subscriber.expect(36)[4], json!(["first", line]));
    }
    let done = router.run(&["pub", "com.x", "-", "--lines"]);
    done.check(2, "").says(&["standard input is read by line"]);
}

#[test]
fn an_event_is_repeated_in_each_session() {
    let router = Router::open();
    let mut subscriber = subscriber(&router);
    let arguments = ["pub", "com.x", "1", "--repeat", "50", "--parallel", "3"];
    router.run(&[&arguments[..], &["--concurrency", "2"]].concat()).check(0, "");
    (0..150).for_each(|_| assert_eq!(subscriber.expect(36)[4], json!([1])));
    assert_eq!(router.server.snapshot().publications, 150);
}

#[test]
fn options_reach_the_router() {
    let router = Router::open();
    let mut subscriber = subscriber(&router);
    let excluded = format!("exclude=[{}]", subscriber.session);
    router.run(&["pub", "com.x", "1", "-o", &excluded]).check(0, "");
    router.run(&["pub", "com.x", "2", "-o", "disclose_me=true"]).check(0, "");
    let event = subscriber.expect(36);
    assert_eq!((&event[4], event[3]["publisher"].is_u64()), (&json!([2]), true), "{event}");
    router.run(&["pub", "com.x", "3", "--exclude-me", "false"]).check(0, "");
    assert_eq!(subscriber.expect(36)[4], json!([3]));
}

#[test]
fn a_refusal_is_an_exit_code() {
    let mut config = config(1);
    config.realms[0].access = Access::Roles(vec![RoleSettings::new("anonymous", Vec::new())]);
    let router = Router::with(&config);
    let done = router.run(&["pub", "com.x"]);
    done.check(5, "").says(&["wamp.error.not_authorized"]);
    let done = router.run_with(&["pub", "com.x", "--lines"], b"1\n2\n3\n");
    done.check(5, "").says(&["wamp.error.not_authorized", "2 more events were not taken"]);
    // Nobody says so without an acknowledgement.
    router.run(&["pub", "com.x", "--acknowledge=false"]).check(0, "");
    let done = router.run(&["call", "com.x"]);
    done.check(5, "").says(&["wamp.error.not_authorized"]);
    router.run(&["sub", "com.x"]).check(5, "").says(&["wamp.error.not_authorized"]);
    let done = router.run(&["register", "com.x", "--result", "1"]);
    done.check(5, "").says(&["wamp.error.not_authorized"]);
    router.run(&["latency", "--count", "1"]).check(5, "").says(&["wamp.error.not_authorized"]);
}
