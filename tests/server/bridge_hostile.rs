//! Publications and calls by HTTP that go wrong: callers that leave, callees that do not answer,
//! bodies that do not come, and a router that stops or changes meanwhile.

use std::io::Read;
use std::time::Duration;

use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::config::{Access, OverRate, Role};
use stentor::net::Server;

use super::bridge::bridging;
use crate::sockets::{
    Client, Kind, PATIENCE, REALM, Stream, Web, address, eventually, settles, start,
};

fn connect(server: &Server) -> Web {
    Web::connect(address(server))
}

/// A callee of `com.wait` that is told of calls that are canceled.
fn callee(server: &Server) -> Client {
    let mut callee = Client::open(address(server), Kind::Ws(Codec::Json));
    let features = json!({"callee": {"features": {"call_canceling": true}}});
    callee.send(&json!([1, REALM, {"roles": features}]));
    callee.welcomed();
    callee.register("com.wait");
    callee
}

const WAIT: &str = r#"{"procedure":"com.wait"}"#;

/// All that is said until the end of the connection.
fn said(mut web: Web) -> String {
    let mut all = Vec::new();
    let _ = web.stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn a_call_ends_with_its_caller() {
    let server = start(&bridging(2));
    let mut callee = callee(&server);
    // One that stays keeps the session of all others.
    let mut staying = connect(&server);
    staying.ask("POST", "/call", "", WAIT);
    let stays = callee.expect(68)[1].clone();
    for _ in 0..200 {
        let webs: Vec<_> = (0..5)
            .map(|_| {
                let mut web = connect(&server);
                web.ask("POST", "/call", "", WAIT);
                web
            })
            .collect();
        let asked: Vec<_> = (0..5).map(|_| callee.expect(68)[1].clone()).collect();
        drop(webs);
        let mut canceled: Vec<_> = (0..5).map(|_| callee.expect(69)[1].clone()).collect();
        canceled.sort_by_key(Value::as_u64);
        assert_eq!(canceled, asked);
    }
    eventually("nothing is kept of them", || {
        let now = server.snapshot();
        (now.calls, now.invocations, now.http_connections) == (1, 1, 1)
    });
    callee.send(&json!([70, stays, {}, ["stays"]]));
    staying.response().check(200, r#"{"args":["stays"]}"#);
    assert_eq!(server.snapshot().sessions_joined, 2);
    drop((staying, callee));
    settles(&server);
    server.stop().unwrap();
}

#[test]
fn an_answer_that_does_not_come_is_waited_for_so_long() {
    let mut config = bridging(1);
    config.timeouts.http_answer_ms = 1000;
    let server = start(&config);
    let mut callee = callee(&server);
    let mut web = connect(&server);
    web.ask("POST", "/call", "", WAIT);
    callee.expect(68);
    let late = web.response();
    assert_eq!(late.status, 504);
    assert!(late.text().contains("no answer came in 1000 ms"), "{}", late.text());
    callee.expect(69);
    // Of a list those that were answered are.
    let list = r#"[{"procedure":"wamp.session.count"},{"procedure":"com.wait"}]"#;
    let answer: Value = serde_json::from_str(web.post("/call", list).text()).unwrap();
    assert_eq!(answer[0], json!({"args": [2]}));
    assert_eq!(answer[1]["error"], "wamp.error.timeout");
    // A call that says so itself ends sooner.
    callee.expect(68);
    callee.expect(69);
    let body = r#"{"procedure":"com.wait","options":{"timeout":20}}"#;
    let answer: Value = serde_json::from_str(web.post("/call", body).text()).unwrap();
    assert_eq!(answer["error"], "wamp.error.timeout");
    drop((web, callee));
    settles(&server);
}

#[test]
fn bodies_that_do_not_come_cost_their_own_connection() {
    let mut config = bridging(2);
    config.timeouts.http_body_ms = 1000;
    config.limits.http_bodies_bytes = 4 * 1024 * 1024;
    let server = start(&config);
    let mut subscriber = Client::join(address(&server), Kind::Ws(Codec::Json));
    subscriber.subscribe("com.x");
    let head = |rest: &str| format!("POST /publish HTTP/1.1\r\nHost: x\r\n{rest}\r\n\r\n");
    let half = format!("{}{{\"topic\":", head("Content-Length: 1000"));
    let chunked = format!("{}5\r\n{{\"top", head("Transfer-Encoding: chunked"));
    let broken = format!("{}zz\r\n", head("Transfer-Encoding: chunked"));
    let mut slow: Vec<_> = (0..50)
        .map(|n| {
            let mut web = connect(&server);
            web.send(if n % 2 == 0 { &half } else { &chunked });
            web
        })
        .collect();
    // What others ask for is done meanwhile.
    let publish = |text: &str| connect(&server).post("/publish", text).status;
    assert_eq!(publish(r#"{"topic":"com.x"}"#), 200);
    subscriber.expect(36);
    let last = slow.pop().unwrap();
    drop(slow);
    let answer = said(last);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("has not come whole in 1000 ms"), "{answer}");
    let mut web = connect(&server);
    web.send(&broken);
    let answer = said(web);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // Without a length what is too long is known when it has come, and not read further.
    let mut web = connect(&server);
    web.send(head("Transfer-Encoding: chunked"));
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    for _ in 0..17 {
        // It may be closed already.
        let _ = std::io::Write::write_all(&mut web.stream, chunk.as_bytes());
    }
    let answer = said(web);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413 "), "{answer}");
    eventually("nothing is left", || server.snapshot().http_connections == 0);
    assert_eq!(publish(r#"{"topic":"com.x"}"#), 200);
    drop(subscriber);
    settles(&server);
    server.stop().unwrap();
}

/// Whoever holds a part of the room for bodies leaves room for short ones.
#[test]
fn the_room_for_bodies_is_for_all() {
    let mut config = bridging(2);
    config.limits.message_bytes = 256 * 1024;
    config.limits.http_bodies_bytes = 1024 * 1024;
    let server = start(&config);
    let body = format!(r#"{{"topic":"com.x","args":["{}"]}}"#, "x".repeat(200 * 1024));
    let almost = &body.as_bytes()[..body.len() - 1];
    let mut holding = Vec::new();
    let refused = loop {
        let mut web = connect(&server);
        let head =
            format!("POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        web.send([head.as_bytes(), almost].concat());
        assert_eq!(connect(&server).post("/publish", r#"{"topic":"com.x"}"#).status, 200);
        web.stream.limit(Duration::from_millis(50)).unwrap();
        let mut start = [0; 12];
        let read = web.stream.read(&mut start);
        web.stream.limit(PATIENCE).unwrap();
        if read.is_ok_and(|read| read > 0) {
            break start;
        }
        holding.push(web);
        assert!(holding.len() < 10, "there is no bound");
    };
    assert_eq!(&refused, b"HTTP/1.1 503");
    assert!((1..=4).contains(&holding.len()), "{}", holding.len());
    for mut web in holding {
        web.send("}");
        assert_eq!(web.response().status, 200);
    }
    settles(&server);
}

#[test]
fn a_drain_waits_for_calls_and_begins_nothing() {
    let server = start(&bridging(2));
    let mut callee = callee(&server);
    let mut web = connect(&server);
    web.ask("POST", "/call", "", WAIT);
    let request = callee.expect(68)[1].clone();
    let drained = server.drain(Duration::from_secs(20));
    // A connection that is read in the moment of the drain is told, new ones are refused.
    let refused = connect(&server).post("/publish", r#"{"topic":"com.x"}"#);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    callee.send(&json!([70, request, {}, ["done"]]));
    let answer = web.response();
    answer.check(200, r#"{"args":["done"]}"#);
    web.check_over();
    assert_eq!(callee.expect(6)[2], "wamp.close.system_shutdown");
    callee.send(&json!([6, {}, "wamp.close.goodbye_and_out"]));
    drained.recv_timeout(Duration::from_secs(15)).expect_err("it is dropped");
    server.stop().unwrap();
}

#[test]
fn a_stop_answers_who_waits() {
    let mut config = bridging(1);
    config.timeouts.close_ms = 300;
    let server = start(&config);
    let mut callee = callee(&server);
    let mut web = connect(&server);
    web.ask("POST", "/call", "", WAIT);
    callee.expect(68);
    server.stop().unwrap();
    let answer = said(web);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[test]
fn what_a_reload_removes_is_gone() {
    let mut config = bridging(2);
    config.realms[0].access = Access::Roles(
        ["web", "other"].map(|name| Role { name: name.into(), ..Role::default() }).to_vec(),
    );
    let server = start(&config);
    let mut web = connect(&server);
    let body = r#"{"topic":"com.x"}"#;
    assert!(web.post("/publish", body).text().contains("not_authorized"));
    config.realms[0].access = Access::Roles(vec![Role { name: "other".into(), ..Role::default() }]);
    server.reload(&config).unwrap();
    eventually("its session is ended", || server.snapshot().sessions == 0);
    let mut answer = web.post("/publish", body);
    // Who has come by it hears of that a moment later.
    eventually("its end is known", || {
        let is_known = answer.status != 502;
        if !is_known {
            answer = web.post("/publish", body);
        }
        is_known
    });
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(answer.text().contains("no role"), "{}", answer.text());
    config.listeners[0].paths_apart[0].role = Some("other".into());
    server.reload(&config).unwrap();
    assert!(web.post("/publish", body).text().contains("not_authorized"));
    config.listeners[0].paths_apart.remove(0);
    server.reload(&config).unwrap();
    assert_eq!(web.post("/publish", body).status, 404);
    drop(web);
    settles(&server);
}

/// Who shares a session shares what its role may send, and gets no more by another session.
#[test]
fn a_rate_is_that_of_all_who_come_by_one_way() {
    let mut config = bridging(1);
    let role = Role {
        name: "web".into(),
        messages_per_second: 1,
        messages_burst: 3,
        over_rate: OverRate::End,
        ..Role::default()
    };
    config.realms[0].access = Access::Roles(vec![role]);
    let server = start(&config);
    let mut answers = (0..10).map(|_| connect(&server).post("/publish", r#"{"topic":"com.x"}"#));
    let first = answers.next().unwrap();
    assert!(first.text().contains("not_authorized"), "{}", first.text());
    let later: Vec<_> = answers.collect();
    let refused: Vec<_> = later.iter().filter(|answer| answer.status == 429).collect();
    // However long that takes: three at once, and then one or two in a second.
    assert!(refused.len() >= 2, "{later:?}");
    assert!(refused.iter().all(|answer| answer.header("retry-after") == Some("1")));
    assert!(server.snapshot().sessions_joined as usize <= 10 - refused.len());
    settles(&server);
}

/// All connections are taken: who publishes is told, and may come again.
#[test]
fn a_full_router_has_no_session_for_it() {
    let mut config = bridging(1);
    config.limits.connections = 3;
    let server = start(&config);
    let mut web = connect(&server);
    let client = Client::join(address(&server), Kind::Ws(Codec::Json));
    let answer = web.post("/publish", r#"{"topic":"com.x"}"#);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    drop(client);
    eventually("there is room", || web.post("/publish", r#"{"topic":"com.x"}"#).status == 200);
    drop(web);
    settles(&server);
}

/// Strangers share a session, and what it may call; a client has a quarter of that.
#[test]
fn one_stranger_does_not_use_up_the_calls_of_all() {
    let mut config = bridging(1);
    config.limits.calls_per_session = 8;
    let server = start(&config);
    let mut callee = callee(&server);
    let mut waiting: Vec<_> = (0..2).map(|_| connect(&server)).collect();
    for web in &mut waiting {
        web.ask("POST", "/call", "", WAIT);
    }
    let asked: Vec<_> = (0..2).map(|_| callee.expect(68)[1].clone()).collect();
    let refused = |body: &str| {
        let answer = connect(&server).post("/call", body);
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")));
        assert!(answer.text().contains("more than 2 calls from this address"), "{}", answer.text());
    };
    refused(WAIT);
    let target = address(&server).to_string().parse().expect("an address");
    let source = "127.0.0.2:0".parse().expect("an address");
    let mut other = Web::over(Stream::connect_from(source, target).expect("a connection"));
    other.ask("POST", "/call", "", WAIT);
    let others = callee.expect(68)[1].clone();
    for request in asked.iter().chain([&others]) {
        callee.send(&json!([70, request, {}]));
    }
    for web in waiting.iter_mut().chain([&mut other]) {
        assert_eq!(web.response().status, 200);
    }
    // What was answered is given back, and what is refused was not asked.
    refused(&format!("[{WAIT},{WAIT},{WAIT}]"));
    waiting[0].ask("POST", "/call", "", format!("[{WAIT},{WAIT}]"));
    for _ in 0..2 {
        let request = callee.expect(68)[1].clone();
        callee.send(&json!([70, request, {}]));
    }
    assert_eq!(waiting[0].response().status, 200);
    drop((waiting, other, callee));
    settles(&server);
}
