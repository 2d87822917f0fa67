//! What operators see of how long things take and what was kept, over the admin listener.

use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::config::Group;
use stentor::control::{Control, LogLine, LogTail};
use stentor::wamp::Timestamp;

use super::observing::{get, start_observed, start_observed_with};
use crate::sockets::{Client, Kind, Stream, address, eventually};

const RAW: Kind = Kind::Raw(Codec::Json);

fn has(control: &Control, line: &str) -> bool {
    get(control, "/metrics").1.lines().any(|other| other == line)
}

#[test]
fn messages_fan_outs_and_calls_are_measured() {
    let (server, control) = start_observed(1);
    let mut subscribers: Vec<_> = (0..3).map(|_| Client::join(address(&server), RAW)).collect();
    for subscriber in &mut subscribers {
        subscriber.subscribe("com.x");
    }
    let mut client = Client::join(address(&server), RAW);
    client.publish("com.x", &json!(1));
    client.publish("com.nobody", &json!(1));
    subscribers[0].expect(36);
    let procedure = "com.add";
    subscribers[0].register(procedure);
    let call = client.call(procedure, &json!(1));
    let invocation = subscribers[0].expect(68);
    subscribers[0].send(&json!([70, invocation[1], {}]));
    assert_eq!(client.expect(50)[1], call);
    eventually("all are counted", || {
        has(&control, "stentor_publish_fanout_sum 3.0")
            && has(&control, "stentor_publish_fanout_count 1")
            && has(&control, "stentor_call_duration_seconds_count 1")
    });
    for line in [
        "stentor_publish_fanout_bucket{le=\"2.0\"} 0",
        "stentor_publish_fanout_bucket{le=\"4.0\"} 1",
        "stentor_messages_total{direction=\"received\",type=\"publish\"} 2",
        "stentor_messages_total{direction=\"received\",type=\"yield\"} 1",
        "stentor_messages_total{direction=\"sent\",type=\"welcome\"} 4",
        "stentor_messages_total{direction=\"sent\",type=\"event\"} 3",
        "stentor_messages_total{direction=\"sent\",type=\"result\"} 1",
        "stentor_authentication_total{method=\"anonymous\",outcome=\"succeeded\"} 4",
        "# UNIT stentor_call_duration_seconds seconds",
    ] {
        assert!(has(&control, line), "{line}");
    }
}

/// Over all shards, and without a label that a client has chosen.
#[test]
fn what_operators_name_is_counted_by_that_name() {
    let (server, control) = start_observed_with(2, |config| {
        config.metrics.clients = vec!["Wampy.js".into()];
        config.metrics.groups = vec![Group { name: "shop".into(), prefix: "com.shop.".into() }];
    });
    let agents = ["wampy.js v7", "wampy.js v8", "AutobahnJS-0.9.14"];
    let mut clients = agents.map(|agent| {
        let mut client = Client::open(address(&server), RAW);
        let roles = json!({ "subscriber": {}, "publisher": {} });
        let details = json!({ "roles": roles, "agent": agent });
        client.send(&json!([1, "realm1", details]));
        client.expect(2);
        client
    });
    clients[1].subscribe("com.shop.order");
    clients[2].subscribe("com.shop.order");
    clients[0].publish_acknowledged("com.shop.order", &json!(1));
    clients[0].send(&json!([6, {}, "wamp.close.close_realm"]));
    clients[0].expect(6);
    for line in [
        "stentor_client_sessions{client=\"Wampy.js\"} 1",
        "stentor_client_sessions{client=\"other\"} 1",
        "stentor_client_sessions_opened_total{client=\"Wampy.js\"} 2",
        "stentor_client_sessions_opened_total{client=\"other\"} 1",
        "stentor_group_publications_total{group=\"shop\"} 1",
        "stentor_group_events_delivered_total{group=\"shop\"} 2",
        "stentor_group_calls_total{group=\"shop\"} 0",
    ] {
        eventually(line, || has(&control, line));
    }
    let page = get(&control, "/metrics").1;
    assert!(!page.to_lowercase().contains("autobahn"), "{page}");
}

/// A caller that has left has waited, too; and meta events are nobody's publications.
#[test]
fn calls_that_nobody_waits_for_are_measured_and_meta_events_are_no_fan_out() {
    let (server, control) = start_observed(1);
    let mut callee = Client::join(address(&server), RAW);
    callee.subscribe("wamp.session.on_join");
    callee.register("com.slow");
    let mut caller = Client::join(address(&server), RAW);
    callee.expect(36);
    caller.call("com.slow", &json!(1));
    callee.expect(68);
    drop(caller);
    eventually("it is counted", || has(&control, "stentor_call_duration_seconds_count 1"));
    assert!(has(&control, "stentor_publish_fanout_count 0"));
}

/// Whoever reads is in no class, and whoever has left in none any more.
#[test]
fn connections_count_by_what_their_sockets_have_refused() {
    let (server, control) = start_observed(1);
    let mut lazy = Client::open_on(Stream::connect_small(address(&server)), RAW).unwrap();
    lazy.hello("realm1");
    lazy.subscribe("com.x");
    let blocked = |bound: &str, count: u64| {
        has(&control, &format!("stentor_blocked_connections{{le=\"{bound}\"}} {count}"))
    };
    assert!(blocked("+Inf", 0));
    let mut publisher = Client::join(address(&server), RAW);
    // More than kernels keep for one socket.
    let text = json!("x".repeat(900_000));
    let publish = |_| publisher.publish_acknowledged("com.x", &text);
    (0..9).for_each(publish);
    eventually("it is blocked", || blocked("+Inf", 1) && blocked("16777216", 1));
    assert!(blocked("1024", 0), "more than that waits for it");
    drop(lazy);
    eventually("it has gone", || blocked("+Inf", 0));
}

/// The router's clock goes on while the client and its shard do nothing.
#[test]
fn the_age_of_the_oldest_byte_grows_until_its_client_has_gone() {
    let (server, control) = start_observed(1);
    let mut lazy = Client::open_on(Stream::connect_small(address(&server)), RAW).unwrap();
    lazy.hello("realm1");
    lazy.subscribe("com.x");
    let seconds = || -> f64 {
        let page = get(&control, "/metrics").1;
        let name = "stentor_oldest_pending_seconds{shard=\"0\"} ";
        let value = page.lines().find_map(|line| line.strip_prefix(name)).expect("it is there");
        value.parse().expect("a number")
    };
    assert_eq!(seconds(), 0.0);
    let mut publisher = Client::join(address(&server), RAW);
    let text = json!("x".repeat(900_000));
    (0..9).for_each(|_| publisher.publish_acknowledged("com.x", &text));
    eventually("it is behind", || seconds() > 0.05);
    let before = seconds();
    eventually("it falls behind", || seconds() > before);
    let rows: Value = serde_json::from_str(&get(&control, "/api/sessions?sort=oldest").1).unwrap();
    let ages = [0, 1].map(|row| rows["sessions"][row]["oldest_ms"].as_u64().unwrap());
    assert!(ages[0] as f64 >= before * 1e3 && ages[1] == 0, "{rows}");
    drop(lazy);
    eventually("it has gone", || seconds() == 0.0);
}

#[test]
fn who_gets_no_session_is_counted_by_how_far_it_came() {
    let (server, control) = start_observed(1);
    let mut stranger = Client::open(address(&server), RAW);
    stranger.send(&json!([1, "com.no.realm", { "roles": { "caller": {} } }]));
    stranger.expect(3);
    let line = "stentor_handshake_failures_total{stage=\"hello\",\
                reason=\"wamp.error.no_such_realm\"} 1";
    eventually("it is counted", || has(&control, line));
}

#[test]
fn the_log_and_what_is_kept_are_shown() {
    let (_server, control) = start_observed(1);
    let ask = |path| -> Value {
        let (status, body) = get(&control, path);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    };
    assert_eq!(ask("/api/log"), json!({ "lines": [], "lost": null, "missed": null }));
    let tail = std::sync::Arc::new(LogTail::new(|| 3));
    for (level, message) in [(tracing::Level::INFO, "joined"), (tracing::Level::WARN, "slow")] {
        tail.push(LogLine {
            time: Timestamp::EPOCH,
            level,
            target: "stentor::shard",
            message: message.to_owned(),
            fields: vec![("session", "7".to_owned())],
        });
    }
    control.show_log(tail);
    let lines = ask("/api/log");
    assert_eq!((lines["lines"].as_array().unwrap().len(), &lines["lost"]), (2, &json!(3)));
    let warned = &ask("/api/log?level=warn&limit=5")["lines"];
    assert_eq!(warned.as_array().unwrap().len(), 1);
    assert_eq!(warned[0]["message"], "slow");
    assert_eq!(warned[0]["fields"], json!({ "session": "7" }));
    assert_eq!(get(&control, "/api/log?level=loud").0, 400);
    assert!(has(&control, "stentor_log_lines_lost_total 3"));
    assert_eq!(ask("/api/histories"), json!({ "histories": [] }));
    assert_eq!(ask("/api/store")["is_used"], false);
}
