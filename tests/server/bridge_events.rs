//! Server-sent events, as a browser or curl reads them: what comes live, what was missed, and how a
//! stream ends.

use std::time::Duration;

use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::config::{
    Access, Action, Config, History, HttpUse, ListenerPath, MatchPolicy, Permission, Role,
};
use stentor::net::Server;

use super::bridge::bridging;
use crate::sockets::{Client, Kind, REALM, Stream, Web, address, eventually, settles, start};

/// As for publications and calls, with streams at `/events`.
fn streaming(shards: usize) -> Config {
    let mut config = bridging(shards);
    config.timeouts.http_heartbeat_ms = 100;
    config.listeners[0].paths_apart.push(ListenerPath {
        path: "/events".into(),
        http: Some(HttpUse::Events),
        realm: Some(REALM.into()),
        role: Some("web".into()),
        ..ListenerPath::default()
    });
    config
}

fn connect(server: &Server) -> Web {
    Web::connect(address(server))
}

fn join(server: &Server) -> Client {
    Client::join(address(server), Kind::Ws(Codec::Json))
}

/// A stream that is read.
struct Events {
    web: Web,
    text: String,
}

/// One event of it.
#[derive(Debug, PartialEq)]
struct Event {
    id: Option<u64>,
    name: String,
    data: Value,
}

impl Events {
    #[track_caller]
    fn open(server: &Server, query: &str, fields: &str) -> Self {
        Self::over(connect(server), query, fields)
    }

    #[track_caller]
    fn over(mut web: Web, query: &str, fields: &str) -> Self {
        web.send(format!("GET /events?{query} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        let head = web.response_head();
        assert_eq!(head.status, 200, "{}", head.head);
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!(head.header("cache-control"), Some("no-store"));
        let mut events = Self { web, text: String::new() };
        assert_eq!(events.block().as_deref(), Some("retry: 3000"));
        events
    }

    /// The lines up to the next empty one; `None` at the end.
    fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            self.text.push_str(&String::from_utf8(self.web.chunk()?).unwrap());
        }
    }

    /// The next event; heartbeats are passed over.
    #[track_caller]
    fn next(&mut self) -> Event {
        // The heartbeats of half a minute.
        for _ in 0..300 {
            let block = self.block().expect("the stream goes on");
            let (mut id, mut name, mut data) = (None, String::new(), Value::Null);
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("id", value)) => id = Some(value.parse().unwrap()),
                    Some(("event", value)) => name = value.into(),
                    Some(("data", value)) => data = serde_json::from_str(value).unwrap(),
                    _ => assert_eq!(line, ":", "{block}"),
                }
            }
            if !data.is_null() {
                return Event { id, name, data };
            }
        }
        panic!("nothing comes but heartbeats");
    }

    /// The next event, which must have these arguments.
    #[track_caller]
    fn expect(&mut self, args: &Value) -> u64 {
        let event = self.next();
        assert_eq!(&event.data["args"], args, "{event:?}");
        event.id.unwrap()
    }

    #[track_caller]
    fn expect_gap(&mut self, topic: &str) {
        let event = self.next();
        assert_eq!((&*event.name, event.id, &event.data["topic"]), ("gap", None, &json!(topic)));
    }

    #[track_caller]
    fn expect_close(mut self, reason: &str) {
        let event = self.next();
        assert_eq!((&*event.name, &event.data["reason"]), ("close", &json!(reason)));
        assert_eq!(self.block(), None);
    }
}

#[test]
fn what_is_published_comes_as_an_event() {
    let server = start(&streaming(2));
    let mut exact = Events::open(&server, "topic=com.x&topic=com.y", "");
    let mut prefix =
        Events::open(&server, "topic=com.&match=prefix", "Accept: text/event-stream\r\n");
    let mut publisher = join(&server);
    assert_eq!(server.snapshot().http_streams, 2);
    let publish = json!([16, 1, {"disclose_me": true}, "com.x", [1, "a\nb"], {"k": "ü"}]);
    publisher.send(&publish);
    publisher.request = 1;
    for events in [&mut exact, &mut prefix] {
        let event = events.next();
        assert_eq!((&*event.name, &event.data["topic"]), ("", &json!("com.x")));
        assert_eq!(event.data["args"], json!([1, "a\nb"]));
        assert_eq!(event.data["kwargs"], json!({"k": "ü"}));
        assert_eq!(event.data["publisher"], json!(publisher.session));
        assert!(event.id.is_some());
    }
    // Arguments may have been written over several lines.
    let spread = "{\"topic\":\"com.y\",\"args\":[1,\n\n2]}";
    let answer = connect(&server).post("/publish", spread);
    let id = serde_json::from_slice::<Value>(&answer.body).unwrap()["id"].as_u64().unwrap();
    assert_eq!(exact.expect(&json!([1, 2])), id);
    assert_eq!(prefix.expect(&json!([1, 2])), id);
    publisher.publish("org.x", &json!(0));
    publisher.publish("com.z", &json!(3));
    assert_eq!(prefix.next().data["topic"], "com.z");
    drop((exact, prefix, publisher));
    settles(&server);
    server.stop().unwrap();
}

#[test]
fn what_is_no_stream_is_refused() {
    let mut config = streaming(1);
    config.limits.http_streams = 1;
    let grants = |name: &str, uri: &str| Role {
        name: name.into(),
        permissions: vec![Permission {
            uri: uri.into(),
            policy: MatchPolicy::Prefix,
            allow: vec![Action::Subscribe],
            ..Permission::default()
        }],
        ..Role::default()
    };
    config.realms[0].access = Access::Roles(vec![grants("web", "com.")]);
    let server = start(&config);
    for (path, status, said) in [
        ("/events", 400, "say which topic"),
        ("/events?topic=com.x&match=glob", 400, "`exact`, `prefix` or `wildcard`"),
        ("/events?topic=com.x&mach=prefix", 400, "no parameter here"),
        ("/events?topic=", 400, "wamp.error.invalid_uri"),
        ("/events?topic=org.x", 403, "wamp.error.not_authorized"),
        ("/events?topic=com.x&topic=org.x", 403, "wamp.error.not_authorized"),
    ] {
        let answer = connect(&server).get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(said), "{path}: {}", answer.text());
    }
    let posted = connect(&server).post("/events?topic=com.x", "{}");
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, OPTIONS")));
    let events = Events::open(&server, "topic=com.x", "");
    let full = connect(&server).get("/events?topic=com.x");
    assert_eq!((full.status, full.header("retry-after")), (503, Some("1")));
    // The right is gone, and so is the stream; whoever comes again is told.
    config.realms[0].access = Access::Roles(vec![grants("web", "org.")]);
    server.reload(&config).unwrap();
    events.expect_close("wamp.error.not_authorized");
    eventually("its place is free", || server.snapshot().http_streams == 0);
    assert_eq!(connect(&server).get("/events?topic=com.x").status, 403);
    let events = Events::open(&server, "topic=org.x", "");
    config.listeners[0].paths_apart.pop();
    server.reload(&config).unwrap();
    events.expect_close("the configuration has changed");
    settles(&server);
}

fn remembering() -> Config {
    let mut config = streaming(2);
    config.realms[0].histories = vec![History {
        topic: "com.log.".into(),
        policy: MatchPolicy::Prefix,
        events: Some(10),
        ..History::default()
    }];
    config.limits.history_answer_events = 3;
    config
}

#[test]
fn what_was_missed_comes_from_the_history() {
    let server = start(&remembering());
    let mut publisher = join(&server);
    let publish = |publisher: &mut Client, n: u64| {
        publisher.publish_acknowledged("com.log.a", &json!(n));
    };
    let query = "topic=com.log.&match=prefix";
    let mut events = Events::open(&server, query, "");
    publish(&mut publisher, 0);
    let last = events.expect(&json!([0]));
    drop(events);
    (1..=8).for_each(|n| publish(&mut publisher, n));
    let header = format!("Last-Event-ID: {last}\r\n");
    let mut events = Events::open(&server, query, &header);
    let mut again = Events::open(&server, &format!("{query}&last_event_id={last}"), "");
    for events in [&mut events, &mut again] {
        for n in 1..=8 {
            let event = events.next();
            assert_eq!(event.data["args"], json!([n]), "in order, in several answers");
            assert_eq!(event.data["topic"], "com.log.a");
            assert!(event.data["timestamp"].is_string());
        }
    }
    publish(&mut publisher, 9);
    assert_eq!(events.expect(&json!([9])), again.expect(&json!([9])));
    drop((events, again));
    // What is gone from the history is a gap.
    (10..=30).for_each(|n| publish(&mut publisher, n));
    let mut events = Events::open(&server, query, &header);
    events.expect_gap("com.log.");
    // So is a topic without one, and an id of nobody.
    let mut plain = Events::open(&server, "topic=com.x", &header);
    plain.expect_gap("com.x");
    let mut strange = Events::open(&server, query, "Last-Event-ID: yesterday\r\n");
    strange.expect_gap("com.log.");
    publish(&mut publisher, 31);
    strange.expect(&json!([31]));
    events.expect(&json!([31]));
    drop((events, plain, strange, publisher));
    settles(&server);
}

/// Nothing is lost or told twice while somebody publishes all the time and the stream breaks.
#[test]
fn a_stream_that_breaks_goes_on_where_it_was() {
    let mut config = remembering();
    config.realms[0].histories[0].events = Some(100_000);
    config.limits.history_answer_events = 100;
    let server = start(&config);
    let address = address(&server).clone();
    let publisher = std::thread::spawn(move || {
        let mut publisher = Client::join(&address, Kind::Raw(Codec::Json));
        for n in 0..4_000u64 {
            publisher.publish_acknowledged("com.log.a", &json!(n));
        }
    });
    let query = "topic=com.log.&match=prefix";
    let mut next = 0;
    let mut fields = String::new();
    // The first event of all may come before anybody listens.
    while next < 4_000 {
        let mut events = Events::open(&server, query, &fields);
        for _ in 0..150 {
            let event = events.next();
            assert_eq!(event.name, "", "{event:?}");
            let n = event.data["args"][0].as_u64().unwrap();
            assert!(n == next || fields.is_empty(), "{n} instead of {next}");
            next = n + 1;
            fields = format!("Last-Event-ID: {}\r\n", event.id.unwrap());
            if next == 4_000 {
                break;
            }
        }
    }
    publisher.join().unwrap();
    settles(&server);
}

#[test]
fn a_stream_lives_while_nothing_happens() {
    let mut config = streaming(1);
    config.timeouts.http_idle_ms = 100;
    let server = start(&config);
    let mut events = Events::open(&server, "topic=com.x", "");
    for _ in 0..3 {
        assert_eq!(events.block().as_deref(), Some(":"));
    }
    // Who leaves leaves nothing behind.
    drop(events);
    settles(&server);
}

/// It is the router that decides about slow consumers, as with everybody else.
#[test]
fn who_does_not_read_is_a_slow_consumer() {
    let mut config = streaming(2);
    config.output.hard_bytes = 4 * 1024 * 1024;
    config.output.soft_ms = 300;
    config.output.stall_ms = 500;
    let server = start(&config);
    let slow = Web::over(Stream::connect_small(address(&server)));
    let _slow = Events::over(slow, "topic=com.x", "");
    let mut fast = Events::open(&server, "topic=com.x", "");
    let mut publisher = join(&server);
    let load = json!("x".repeat(100_000));
    eventually("the slow one is gone", || {
        publisher.publish_acknowledged("com.x", &load);
        fast.expect(&json!([load]));
        server.snapshot().http_streams == 1
    });
    publisher.publish_acknowledged("com.x", &json!("last"));
    fast.expect(&json!(["last"]));
    drop((fast, publisher));
    settles(&server);
}

#[test]
fn a_drain_ends_streams_with_a_word() {
    let server = start(&streaming(2));
    let streams: Vec<_> = (0..4).map(|_| Events::open(&server, "topic=com.x", "")).collect();
    let drained = server.drain(Duration::from_secs(20));
    for events in streams {
        events.expect_close("wamp.close.system_shutdown");
    }
    drained.recv_timeout(Duration::from_secs(15)).expect_err("it is dropped");
    server.stop().unwrap();
}
