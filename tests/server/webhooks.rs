//! Webhooks over real sockets: what is posted, what happens while an address does not take it, and
//! what a reload and a stop make of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use stentor::authorization::{Access, Action, Permission, RoleSettings};
use stentor::codec::Codec;
use stentor::config::{Config, Webhook, WebhookSecret};
use stentor::control::Control;
use stentor::wamp::MatchPolicy;

use crate::observing::{get, start_observed_with};
use crate::sockets::{
    Client, Heard, HttpServer, Kind, Pki, Reply, address, config, eventually, settles, start,
};

const RAW: Kind = Kind::Raw(Codec::MsgPack);

/// A webhook for `com.topic` that tries everything once.
fn webhook(url: String) -> Webhook {
    Webhook {
        name: "hook".into(),
        url,
        topics: vec!["com.topic".into()],
        role: "webhook".into(),
        retry_ms: 0,
        ..Webhook::default()
    }
}

fn with(webhook: Webhook) -> Config {
    let mut config = config(2);
    config.realms[0].webhooks.push(webhook);
    config
}

fn observed(webhook: &Webhook) -> (stentor::net::Server, Control) {
    start_observed_with(2, |config| config.realms[0].webhooks.push(webhook.clone()))
}

/// What operators see of the only one.
fn row(control: &Control) -> Value {
    let (status, page) = get(control, "/api/webhooks");
    assert_eq!(status, 200);
    serde_json::from_str::<Value>(&page).unwrap()["webhooks"][0].take()
}

#[track_caller]
fn listens(control: &Control) {
    eventually("it listens", || row(control)["is_listening"] == true);
}

fn field<'h>(heard: &'h Heard, name: &str) -> Option<&'h str> {
    heard.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[track_caller]
fn check(heard: &Heard, argument: u64, missed: &Value) {
    assert_eq!(heard.body["args"], json!([argument]), "{}", heard.text);
    assert_eq!(&heard.body["missed"], missed, "{}", heard.text);
}

/// The base64 of the HMAC, which this test makes itself.
fn signed(key: &[u8], heard: &Heard) -> String {
    let (id, timestamp) = (field(heard, "webhook-id"), field(heard, "webhook-timestamp"));
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{}.{}.{}", id.unwrap(), timestamp.unwrap(), heard.text).as_bytes());
    format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes())).to_lowercase()
}

#[test]
fn events_are_posted_in_order_and_signed() {
    let endpoint = HttpServer::start(|_| Reply::Say(200, "thanks".into()));
    let keys = [[7; 32], [8; 32]];
    let secrets = keys.map(|key| WebhookSecret::parse(&WebhookSecret::to_text(&key)).unwrap());
    let (server, control) = observed(&Webhook {
        topics: vec!["com.".into(), "com.topic".into()],
        policy: MatchPolicy::Prefix,
        secret_values: secrets.to_vec(),
        ..webhook(endpoint.url("/events?token=secret"))
    });
    listens(&control);
    let mut publisher = Client::join(address(&server), RAW);
    for number in 0..50 {
        publisher.publish_acknowledged("com.topic.a", &json!(number));
    }
    let mut ids = std::collections::BTreeSet::new();
    for number in 0..50 {
        let heard = endpoint.next();
        assert!(heard.head.starts_with("post /events?token=secret "), "{}", heard.head);
        assert_eq!(field(&heard, "content-type"), Some("application/json"));
        check(&heard, number, &Value::Null);
        assert_eq!(
            (&heard.body["topic"], &heard.body["kwargs"]),
            (&json!("com.topic.a"), &json!({}))
        );
        assert_eq!(field(&heard, "webhook-id"), Some(&*heard.body["publication"].to_string()));
        let expected = keys.map(|key| signed(&key, &heard)).join(" ");
        assert_eq!(field(&heard, "webhook-signature"), Some(&*expected));
        ids.insert(field(&heard, "webhook-id").unwrap().to_owned());
    }
    // Two patterns match each of them.
    assert_eq!(ids.len(), 50);
    eventually("all are counted", || row(&control)["delivered"] == 50);
    assert!(endpoint.heard_nothing());
    assert_eq!(row(&control)["url"], endpoint.url(""), "what stands behind may be a secret");
    let (_, metrics) = get(&control, "/metrics");
    let line = "stentor_webhook_events_total{realm=\"realm1\",webhook=\"hook\",\
        outcome=\"delivered\"} 50\n";
    assert!(metrics.contains(line), "{metrics}");
    server.stop().unwrap();
}

/// Another try is the same event, and the next one waits for it.
#[test]
fn what_is_not_taken_is_tried_again() {
    let tries = Arc::new(AtomicUsize::new(0));
    let endpoint = HttpServer::start(move |_| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::Raw(b"HTTP/1.1 503 X\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n".to_vec()),
        // A redirect is not followed: whoever answers there is not whom the operator named.
        1 => Reply::Raw(
            b"HTTP/1.1 302 X\r\nRetry-After: 0\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"
                .to_vec(),
        ),
        2 => Reply::Raw(b"HTTP/1.1 500 X\r\nretry-after: 0\r\n\r\n".to_vec()),
        _ => Reply::Say(204, String::new()),
    });
    let (server, control) = observed(&Webhook { retry_ms: 60_000, ..webhook(endpoint.url("/")) });
    listens(&control);
    let mut publisher = Client::join(address(&server), RAW);
    publisher.publish_acknowledged("com.topic", &json!(1));
    publisher.publish_acknowledged("com.topic", &json!(2));
    let tries = [(); 4].map(|()| endpoint.next());
    for heard in &tries {
        assert!(heard.head.starts_with("post / "));
        assert_eq!(field(heard, "webhook-id"), field(&tries[0], "webhook-id"));
        check(heard, 1, &Value::Null);
    }
    check(&endpoint.next(), 2, &Value::Null);
    eventually("both are delivered", || row(&control)["delivered"] == 2);
    let row = row(&control);
    assert_eq!((&row["failures"], &row["given_up"]), (&json!(3), &json!(0)));
    assert_eq!(row["failure"], Value::Null, "it answers again");
    server.stop().unwrap();
}

#[test]
fn what_is_given_up_is_missed_by_the_next() {
    let tries = Arc::new(AtomicUsize::new(0));
    let endpoint = HttpServer::start(move |_| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::Say(500, "no".into()),
        1 => Reply::Say(410, "never again".into()),
        _ => Reply::Say(200, String::new()),
    });
    let (server, control) = observed(&webhook(endpoint.url("/")));
    listens(&control);
    let mut publisher = Client::join(address(&server), RAW);
    for (number, missed) in [(1, Value::Null), (2, json!(1)), (3, json!(2)), (4, Value::Null)] {
        publisher.publish_acknowledged("com.topic", &json!(number));
        check(&endpoint.next(), number, &missed);
    }
    eventually("two are given up", || row(&control)["given_up"] == 2);
    server.stop().unwrap();
}

/// An address that hangs costs its own events, and nobody else anything.
#[test]
fn an_address_that_hangs_holds_up_nobody() {
    let tries = Arc::new(AtomicUsize::new(0));
    let endpoint = HttpServer::start(move |_| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::Hang,
        _ => Reply::Say(200, String::new()),
    });
    let (server, control) = observed(&Webhook {
        queue_events: 3,
        timeout_ms: 2_000,
        retry_ms: 60_000,
        ..webhook(endpoint.url("/"))
    });
    listens(&control);
    let mut subscriber = Client::join(address(&server), RAW);
    subscriber.subscribe("com.topic");
    let mut publisher = Client::join(address(&server), RAW);
    for number in 0..10 {
        publisher.publish_acknowledged("com.topic", &json!(number));
        assert_eq!(subscriber.expect(36)[4], json!([number]));
    }
    eventually("its queue is full", || row(&control)["dropped"] == 7);
    assert_eq!(row(&control)["queued"], 3);
    check(&endpoint.next(), 0, &Value::Null);
    for number in 0..3 {
        check(&endpoint.next(), number, &Value::Null);
    }
    eventually("there is room", || row(&control)["queued"] == 0);
    publisher.publish_acknowledged("com.topic", &json!(10));
    check(&endpoint.next(), 10, &json!(7));
    server.stop().unwrap();
}

/// A reload hands what waits to who posts it from now on.
#[test]
fn a_reload_changes_and_ends_webhooks() {
    let dead = HttpServer::start(|_| Reply::Say(503, String::new()));
    let alive = HttpServer::start(|_| Reply::Say(200, String::new()));
    let patient = |url| Webhook { retry_ms: 3_600_000, ..webhook(url) };
    let server = start(&with(patient(dead.url("/"))));
    let has_session = || server.snapshot().subscriptions == 1;
    eventually("it listens", has_session);
    let mut publisher = Client::join(address(&server), RAW);
    publisher.publish_acknowledged("com.topic", &json!(1));
    publisher.publish_acknowledged("com.topic", &json!(2));
    check(&dead.next(), 1, &Value::Null);
    let mut other = patient(alive.url("/"));
    other.authorization_value = Some(stentor::config::Secret::new("Bearer abc"));
    server.reload(&with(other.clone())).unwrap();
    let heard = alive.next();
    check(&heard, 1, &Value::Null);
    assert_eq!(field(&heard, "authorization"), Some("bearer abc"));
    check(&alive.next(), 2, &Value::Null);
    // Other topics need other subscriptions.
    other.topics = vec!["com.other".into()];
    server.reload(&with(other.clone())).unwrap();
    eventually("it listens there", || {
        publisher.publish_acknowledged("com.other", &json!(3));
        !alive.heard_nothing()
    });
    publisher.publish_acknowledged("com.topic", &json!(4));
    // An address that nobody can believe in: nothing changes, also for what is under way.
    let pki = Pki::new();
    let bad =
        Webhook { url: "https://127.0.0.1:1/".into(), ca: Some(pki.path("nothing.pem")), ..other };
    assert!(server.reload(&with(bad)).is_err());
    assert!(has_session());
    server.reload(&config(2)).unwrap();
    drop(publisher);
    settles(&server);
    // And again.
    server.reload(&with(webhook(alive.url("/")))).unwrap();
    eventually("it listens again", has_session);
    server.stop().unwrap();
}

/// What is acknowledged before the stop is posted before the end.
#[test]
fn a_stop_delivers_what_waits() {
    let endpoint = HttpServer::start(|_| Reply::Say(200, String::new()));
    let (server, control) = start_observed_with(2, |config| {
        // Also where others have the processors.
        config.timeouts.close_ms = 600_000;
        config.realms[0].webhooks.push(webhook(endpoint.url("/")));
    });
    listens(&control);
    drop(control);
    let mut publisher = Client::join(address(&server), RAW);
    for number in 0..100 {
        publisher.publish_acknowledged("com.topic", &json!(number));
    }
    drop(publisher);
    server.stop().unwrap();
    for number in 0..100 {
        check(&endpoint.next(), number, &Value::Null);
    }
}

/// Nor is anything lost that is acknowledged while others leave.
#[test]
fn a_webhook_is_the_last_to_leave() {
    let endpoint = HttpServer::start(|_| Reply::Say(200, String::new()));
    let server = start(&with(webhook(endpoint.url("/"))));
    eventually("it listens", || server.snapshot().subscriptions == 1);
    let (mut callee, mut caller) =
        (Client::join(address(&server), RAW), Client::join(address(&server), RAW));
    let mut idle = Client::join(address(&server), RAW);
    callee.register("com.slow");
    caller.call("com.slow", &json!(1));
    let invocation = callee.expect(68);
    let drained = server.drain(std::time::Duration::from_secs(600));
    idle.expect(6);
    for number in 0..50 {
        caller.publish_acknowledged("com.topic", &json!(number));
    }
    callee.send(&json!([70, invocation[1], {}, ["done"]]));
    caller.expect(50);
    caller.expect(6);
    callee.expect(6);
    for number in 0..50 {
        check(&endpoint.next(), number, &Value::Null);
    }
    assert!(
        drained
            .recv_timeout(crate::sockets::PATIENCE)
            .is_err_and(|error| { error == crossbeam_channel::RecvTimeoutError::Disconnected })
    );
    server.stop().unwrap();
}

/// It may what its role may, from the moment on when its role may.
#[test]
fn a_webhook_needs_the_right_to_subscribe() {
    let endpoint = HttpServer::start(|_| Reply::Say(200, String::new()));
    let role = |name: &str, allow: Vec<Action>| {
        let permission = Permission { uri: "com.topic".into(), allow, ..Permission::default() };
        RoleSettings::new(name, vec![permission])
    };
    let with_right = |allow| {
        let mut config = with(webhook(endpoint.url("/")));
        let anonymous = role("anonymous", vec![Action::Publish]);
        config.realms[0].access = Access::Roles(vec![anonymous, role("webhook", allow)]);
        config
    };
    let refused = with_right(vec![Action::Call]);
    let (server, control) = start_observed_with(2, |config| config.realms = refused.realms.clone());
    eventually("it is refused", || {
        let why = row(&control)["why_not"].as_str().unwrap_or_default().to_owned();
        why.contains("a subscription is refused: wamp.error.not_authorized")
    });
    let mut granted = with_right(vec![Action::Subscribe]);
    granted.admin.listen = None;
    server.reload(&granted).unwrap();
    listens(&control);
    assert_eq!(row(&control)["why_not"], Value::Null);
    let mut publisher = Client::join(address(&server), RAW);
    publisher.publish_acknowledged("com.topic", &json!(1));
    check(&endpoint.next(), 1, &Value::Null);
    // What it had is taken away again.
    server.reload(&with_right(vec![Action::Call])).unwrap();
    eventually("it is silent", || row(&control)["is_listening"] == false);
    server.stop().unwrap();
}

#[test]
fn only_the_authority_is_believed() {
    let (own, foreign) = (Pki::new(), Pki::new());
    let issued = own.issue("endpoint", &["127.0.0.1"]);
    let endpoint = HttpServer::start_secure(issued.server(), |_| Reply::Say(200, String::new()));
    for (pki, delivered) in [(&foreign, 0), (&own, 1)] {
        let ca = Some(pki.authority_file());
        let (server, control) = observed(&Webhook { ca, ..webhook(endpoint.url("/")) });
        listens(&control);
        let mut publisher = Client::join(address(&server), RAW);
        publisher.publish_acknowledged("com.topic", &json!(1));
        eventually("it was tried", || {
            let row = row(&control);
            (&row["delivered"], &row["given_up"]) == (&json!(delivered), &json!(1 - delivered))
        });
        if delivered == 0 {
            let row = row(&control);
            let failure = row["failure"].as_str().unwrap();
            assert!(failure.contains("invalid peer certificate"), "{failure}");
        }
        server.stop().unwrap();
    }
    endpoint.next();
    assert!(endpoint.heard_nothing());
}
