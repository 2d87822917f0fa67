//! Publications and calls by HTTP, as curl, PHP and pages make them, with WAMP clients on the other
//! side.

use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::config::{
    Access, Action, AdminToken, Config, HttpUse, Listener, ListenerPath, MatchPolicy, PathKey,
    Permission, Role, Secret,
};
use stentor::net::Server;

use crate::sockets::{
    Client, Kind, REALM, Response, Web, address, config, eventually, settles, start,
};

/// A configuration whose only listener takes publications at `/publish` and calls at `/call`.
pub(crate) fn bridging(shards: usize) -> Config {
    let mut config = config(shards);
    let path = |path: &str, http| ListenerPath {
        path: path.into(),
        http: Some(http),
        realm: Some(REALM.into()),
        role: Some("web".into()),
        ..ListenerPath::default()
    };
    let paths_apart = vec![path("/publish", HttpUse::Publish), path("/call", HttpUse::Call)];
    let listener = config.listeners.pop().unwrap();
    config.listeners.push(Listener { paths: vec!["/ws".into()], paths_apart, ..listener });
    // A test waits for the end of sessions that nobody needs.
    config.timeouts.http_session_ms = 50;
    config
}

fn connect(server: &Server) -> Web {
    Web::connect(address(server))
}

fn join(server: &Server) -> Client {
    Client::join(address(server), Kind::Ws(Codec::Json))
}

/// The JSON of an answer.
#[track_caller]
fn json_of(answer: &Response, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}{}", answer.head, answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    serde_json::from_slice(&answer.body).unwrap()
}

#[track_caller]
fn refused(answer: &Response, status: u16, said: &str) {
    let json = json_of(answer, status);
    let sentence = json["error"].as_str().unwrap();
    assert!(sentence.contains(said), "{sentence}");
}

#[test]
fn a_publication_is_an_event_with_the_id_that_is_answered() {
    let server = start(&bridging(2));
    let mut subscribers = [Codec::Json, Codec::Cbor].map(|codec| {
        let mut subscriber = Client::join(address(&server), Kind::Ws(codec));
        subscriber.subscribe("com.x");
        subscriber
    });
    let mut web = connect(&server);
    let body = r#"{"topic": "com.x", "args": [1, "ü"], "kwargs": {"a": [true]},
                   "options": {"acknowledge": false, "disclose_me": true}}"#;
    let answer = json_of(&web.post("/publish", body), 200);
    for subscriber in &mut subscribers {
        let event = subscriber.expect(36);
        assert_eq!(answer, json!({ "id": event[2] }));
        assert_eq!((&event[4], &event[5]), (&json!([1, "ü"]), &json!({ "a": [true] })));
        assert_eq!(event[3]["publisher_authrole"], "web");
        assert_eq!(event[3]["publisher_authid"], "/publish");
    }
    // Only for whom it is.
    let [one, other] = &mut subscribers;
    let only = json!({ "topic": "com.x", "options": { "eligible": [one.session] } }).to_string();
    json_of(&web.post("/publish", &only), 200);
    json_of(&web.post("/publish", r#"{"topic":"com.x","args":["last"]}"#), 200);
    assert_eq!(one.expect(36).get(4), None);
    assert_eq!(other.expect(36)[4], json!(["last"]));
    // What the router refuses is answered as crossbar does.
    let answer = json_of(&web.post("/publish", r#"{"topic":"wamp.x"}"#), 200);
    assert_eq!(answer["error"], "wamp.error.invalid_uri");
    assert_eq!(answer["kwargs"], json!({}));
    let counted = server.snapshot();
    assert_eq!((counted.http_publications, counted.http_connections), (3, 1));
    drop((web, subscribers));
    settles(&server);
    server.stop().unwrap();
}

#[test]
fn a_call_is_answered_with_what_its_callee_says() {
    let server = start(&bridging(2));
    let mut callee = join(&server);
    callee.register("com.echo");
    let mut web = connect(&server);
    for (body, said, expected) in [
        (json!({"args": [1, [2]]}), json!([70, 0, {}, [1, [2]]]), json!({"args": [1, [2]]})),
        (json!({}), json!([70, 0, {}]), json!({"args": [null]})),
        (
            json!({"kwargs": {"a": 1}}),
            json!([70, 0, {}, [], {"b": 2}]),
            json!({"kwargs": {"b": 2}}),
        ),
        (
            json!({"options": {"timeout": 60000, "disclose_me": true}}),
            json!([8, 68, 0, {}, "com.error", ["no"], {"c": 3}]),
            json!({"error": "com.error", "args": ["no"], "kwargs": {"c": 3}}),
        ),
    ] {
        let mut body = body;
        body["procedure"] = "com.echo".into();
        web.ask("POST", "/call", "", body.to_string());
        let invocation = callee.expect(68);
        let is_disclosed = body.get("options").is_some();
        assert_eq!(invocation[3]["caller_authrole"] == "web", is_disclosed, "{invocation}");
        let mut said = said;
        let at = if said[0] == 8 { 2 } else { 1 };
        said[at] = invocation[1].clone();
        callee.send(&said);
        assert_eq!(json_of(&web.response(), 200), expected);
    }
    let answer = json_of(&web.post("/call", r#"{"procedure":"com.none"}"#), 200);
    assert_eq!(answer["error"], "wamp.error.no_such_procedure");
    let count = web.post("/call", r#"{"procedure":"wamp.session.count"}"#);
    assert_eq!(json_of(&count, 200), json!({"args": [2]}), "who comes by HTTP is a session");
    assert_eq!(server.snapshot().http_calls, 6);
    drop((web, callee));
    settles(&server);
    server.stop().unwrap();
}

#[test]
fn what_is_no_request_is_refused_with_a_sentence() {
    let server = start(&bridging(1));
    let mut web = connect(&server);
    for (body, said) in [
        ("", "the body is empty"),
        ("{", "no JSON that can be read: EOF while parsing an object at line 1"),
        ("{}", "`topic` is missing"),
        (r#"{"topic":"com.x","args":{}}"#, "`args` must be a list"),
        (r#"{"topic":"com.x","options":{"eligble":[1]}}"#, "\"eligble\" is none that is known"),
        (r#"{"topic":"com.x","options":{"retain":"yes"}}"#, "retain"),
        (r#"[{"topic":"com.x"},{"topic":1}]"#, "request 2 of the list"),
    ] {
        refused(&web.post("/publish", body), 400, said);
    }
    let deep = format!(r#"{{"topic":"com.x","args":{}{}}}"#, "[".repeat(70), "]".repeat(70));
    refused(&web.post("/publish", &deep), 400, "nest");
    // None of this has ended the session of the others, which was not even needed.
    json_of(&web.post("/publish", r#"{"topic":"com.x"}"#), 200);
    assert_eq!(server.snapshot().sessions_joined, 1);
    // A refusal by the head ends the connection: nobody reads the body.
    for (method, fields, status, said) in [
        ("GET", "", 405, "only these methods"),
        ("DELETE", "", 405, "only these methods"),
        ("POST", "", 411, "with its length"),
        ("POST", "Content-Length: 1048577\r\n", 413, "longer than the 1048576 bytes"),
        ("POST", "Content-Length: 2\r\nContent-Type: text/plain\r\n", 415, "application/json"),
        ("POST", "Content-Length: 2\r\nContent-Encoding: gzip\r\n", 415, "compressed"),
        ("POST", "Content-Length: 2\r\nIdempotency-Key: \r\n", 400, "1 to 255 characters"),
    ] {
        let mut web = connect(&server);
        web.send(format!("{method} /publish HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        let answer = web.response();
        refused(&answer, status, said);
        assert_eq!(answer.header("connection"), Some("close"), "{said}");
        assert_eq!(answer.header("allow").is_some(), status == 405);
        web.check_over();
    }
    let once = "Idempotency-Key: a\r\n";
    let called = connect(&server).post_with("/call", once, r#"{"procedure":"com.x"}"#);
    refused(&called, 400, "for publications");
    assert_eq!(connect(&server).post("/publish/more", "{}").status, 404);
    drop(web);
    settles(&server);
}

#[test]
fn bodies_come_in_every_form_that_http_has() {
    let server = start(&bridging(1));
    let mut subscriber = join(&server);
    subscriber.subscribe("com.x");
    let body = r#"{"topic":"com.x"}"#;
    let mut web = connect(&server);
    let utf8 = "Content-Type: application/json; charset=UTF-8\r\n";
    json_of(&web.post_with("/publish", utf8, body), 200);
    web.ask("PUT", "/publish", "", body);
    json_of(&web.response(), 200);
    web.send("POST /publish HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for byte in body.as_bytes() {
        web.send([&b"1\r\n"[..], &[*byte], b"\r\n"].concat());
    }
    web.send("0\r\nX-Trailer: 1\r\n\r\n");
    json_of(&web.response(), 200);
    let length = body.len();
    let head = format!("POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n");
    web.send(format!("{head}Expect: 100-continue\r\n\r\n"));
    assert_eq!(web.take(25), b"HTTP/1.1 100 Continue\r\n\r\n");
    web.send(body);
    json_of(&web.response(), 200);
    // Who is refused is not asked for the body.
    web.send("POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n");
    web.send("Expect: 100-continue\r\n\r\n");
    refused(&web.response(), 413, "longer than");
    web.check_over();
    // Several at once, the first one with its head.
    let mut web = connect(&server);
    web.send(format!("{head}\r\n{body}").repeat(3));
    (0..3).for_each(|_| drop(json_of(&web.response(), 200)));
    let mut old = connect(&server);
    old.send(format!("POST /publish HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}"));
    json_of(&old.response(), 200);
    old.check_over();
    (0..8).for_each(|_| drop(subscriber.expect(36)));
    drop((web, subscriber));
    settles(&server);
}

#[test]
fn a_list_is_done_in_its_order_or_not_at_all() {
    let mut config = bridging(2);
    config.limits.http_batch = 150;
    let server = start(&config);
    let mut subscriber = join(&server);
    subscriber.subscribe("com.x");
    let mut web = connect(&server);
    let publish =
        |n: usize| json!({"topic": if n == 70 { "wamp.no" } else { "com.x" }, "args": [n]});
    let list: Vec<_> = (0..150).map(publish).collect();
    let answer = json_of(&web.post("/publish", json!(list).to_string()), 200);
    assert_eq!(answer.as_array().unwrap().len(), 150);
    assert_eq!(answer[70]["error"], "wamp.error.invalid_uri");
    for n in (0..150).filter(|n| *n != 70) {
        let event = subscriber.expect(36);
        assert_eq!((&event[4], &answer[n]), (&json!([n]), &json!({"id": event[2]})));
    }
    let long: Vec<_> = (0..151).map(publish).collect();
    refused(&web.post("/publish", json!(long).to_string()), 400, "150 requests at most");
    refused(&web.post("/publish", r#"[{"topic":"com.x"},{}]"#), 400, "request 2 of the list");
    refused(&web.post("/publish", "[]"), 400, "asks for nothing");
    json_of(&web.post("/publish", r#"{"topic":"com.x","args":["last"]}"#), 200);
    assert_eq!(subscriber.expect(36)[4], json!(["last"]));
    drop((web, subscriber));
    settles(&server);
}

fn key(name: &str, secret: &str, role: Option<&str>) -> PathKey {
    let hash = Some(AdminToken::of(&Secret::new(secret)));
    PathKey { name: name.into(), hash, role: role.map(Into::into) }
}

fn role(name: &str, uri: &str, allow: &[Action]) -> Role {
    let permission = Permission {
        uri: uri.into(),
        policy: MatchPolicy::Prefix,
        allow: allow.to_vec(),
        ..Permission::default()
    };
    Role { name: name.into(), permissions: vec![permission], ..Role::default() }
}

const SHOP: &str = "0123456789012345678901";
const LOG: &str = "abcdefghijabcdefghijab";

/// A configuration in which one key may publish below `com.shop.`, and another one below `com.`.
fn keyed() -> Config {
    let mut config = bridging(2);
    let everything = [Action::Subscribe, Action::Publish, Action::Register, Action::Call];
    let roles = vec![
        role("anonymous", "com.", &everything),
        role("web", "com.", &[Action::Publish]),
        role("shop", "com.shop.", &[Action::Publish]),
    ];
    config.realms[0].access = Access::Roles(roles);
    let path = &mut config.listeners[0].paths_apart[0];
    path.keys = vec![key("shop-backend", SHOP, Some("shop")), key("logger", LOG, None)];
    config
}

fn bearer(secret: &str) -> String {
    format!("Authorization: Bearer {secret}\r\n")
}

#[test]
fn a_key_says_who_publishes_and_as_what() {
    let mut config = keyed();
    let server = start(&config);
    let mut subscriber = join(&server);
    let request = subscriber.next_request();
    subscriber.send(&json!([32, request, {"match": "prefix"}, "com."]));
    subscriber.expect(33);
    let mut web = connect(&server);
    let mut publish = |secret, topic: &str, expected: Result<(&str, &str), &str>| {
        let body = json!({"topic": topic, "options": {"disclose_me": true}}).to_string();
        let answer = json_of(&web.post_with("/publish", &bearer(secret), &body), 200);
        match expected {
            Err(error) => assert_eq!(answer["error"], error),
            Ok((authid, role)) => {
                let event = subscriber.expect(36);
                assert_eq!(answer["id"], event[2]);
                let (by, of) = (&event[3]["publisher_authid"], &event[3]["publisher_authrole"]);
                assert_eq!((by, of), (&json!(authid), &json!(role)));
            }
        }
    };
    publish(SHOP, "com.shop.sold", Ok(("shop-backend", "shop")));
    publish(LOG, "com.log", Ok(("logger", "web")));
    publish(SHOP, "com.log", Err("wamp.error.not_authorized"));
    for (fields, error) in [
        (String::new(), None),
        (format!("Authorization: Basic {SHOP}\r\n"), None),
        (bearer("0123456789012345678902"), Some("invalid_token")),
        (bearer(""), None),
        (bearer(SHOP).repeat(2), None),
    ] {
        let mut web = connect(&server);
        let answer = web.post_with("/publish", &fields, r#"{"topic":"com.shop.x"}"#);
        assert_eq!(answer.status, 401, "{fields}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert_eq!(challenge.contains("invalid_token"), error.is_some(), "{fields}");
        web.check_over();
    }
    assert_eq!(server.snapshot().http_keys_refused, 1);
    // A path without keys asks for none. Its role may not call.
    let called = connect(&server).post("/call", r#"{"procedure":"com.x"}"#);
    assert_eq!(json_of(&called, 200)["error"], "wamp.error.not_authorized");
    // A key that is removed by a reload is none any more, also on connections that there are.
    config.listeners[0].paths_apart[0].keys.remove(0);
    server.reload(&config).unwrap();
    let answer = web.post_with("/publish", &bearer(SHOP), r#"{"topic":"com.shop.x"}"#);
    assert_eq!(answer.status, 401);
    drop((web, subscriber));
    settles(&server);
}

#[test]
fn who_may_come_is_told_by_network_and_page() {
    let mut config = bridging(1);
    config.development = false;
    config.listeners[0].paths_apart[0].require_ip = vec!["10.0.0.0/8".parse().unwrap()];
    config.listeners[0].paths_apart[1].origins = Some(vec!["https://app.example.org".into()]);
    let server = start(&config);
    refused(&connect(&server).post("/publish", "{}"), 403, "this address");
    let call = r#"{"procedure":"wamp.session.count"}"#;
    for (origin, shared) in [
        ("https://app.example.org", Some("https://app.example.org")),
        ("https://evil.example", None),
        ("null", None),
    ] {
        let fields = format!("Origin: {origin}\r\n");
        let mut web = connect(&server);
        web.ask("OPTIONS", "/call", &fields, "");
        let preflight = web.response();
        assert_eq!(
            (preflight.status, preflight.header("allow")),
            (204, Some("POST, PUT, OPTIONS"))
        );
        let answer = web.post_with("/call", &fields, call);
        assert_eq!(answer.status, if shared.is_some() { 200 } else { 403 });
        for one in [&preflight, &answer] {
            assert_eq!(one.header("access-control-allow-origin"), shared, "{origin}");
            assert_eq!(one.header("access-control-allow-credentials"), None);
            assert_eq!(one.header("vary"), Some("origin"));
        }
        let headers = preflight.header("access-control-allow-headers");
        assert_eq!(headers.is_some_and(|it| it.contains("authorization")), shared.is_some());
    }
    // Without a list it is the page's own host.
    config.listeners[0].paths_apart[1].origins = None;
    server.reload(&config).unwrap();
    let mut web = connect(&server);
    for (origin, status) in [("http://x", 200), ("https://x", 200), ("http://y", 403)] {
        let answer = web.post_with("/call", &format!("Origin: {origin}\r\n"), call);
        assert_eq!(answer.status, status, "{origin}");
    }
    settles(&server);
}

#[test]
fn what_comes_again_with_its_key_is_done_once() {
    let server = start(&bridging(2));
    let mut subscriber = join(&server);
    subscriber.subscribe("com.x");
    let mut web = connect(&server);
    let (one, other) = ("Idempotency-Key: one\r\n", "Idempotency-Key: other\r\n");
    let body = r#"{"topic":"com.x","args":[1]}"#;
    let first = json_of(&web.post_with("/publish", one, body), 200);
    assert_eq!(json_of(&web.post_with("/publish", one, body), 200), first);
    let changed = web.post_with("/publish", one, r#"{"topic":"com.x","args":[2]}"#);
    refused(&changed, 422, "another body");
    assert_ne!(json_of(&web.post_with("/publish", other, body), 200), first);
    for _ in 0..2 {
        assert_eq!(subscriber.expect(36)[4], json!([1]));
    }
    // What was refused was not done, and may be tried again.
    let refused_key = "Idempotency-Key: refused\r\n";
    for _ in 0..2 {
        let answer = web.post_with("/publish", refused_key, r#"{"topic":"wamp.x"}"#);
        assert_eq!(json_of(&answer, 200)["error"], "wamp.error.invalid_uri");
    }
    // Who hangs up has asked for it all the same.
    let gone = "Idempotency-Key: gone\r\n";
    let body = r#"{"topic":"com.x","args":["gone"]}"#;
    for _ in 0..20 {
        let mut web = connect(&server);
        web.ask("POST", "/publish", gone, body);
        drop(web);
    }
    eventually("it is published", || {
        let answer = web.post_with("/publish", gone, body);
        answer.status == 200
    });
    json_of(&web.post("/publish", r#"{"topic":"com.x","args":["last"]}"#), 200);
    assert_eq!(subscriber.expect(36)[4], json!(["gone"]));
    assert_eq!(subscriber.expect(36)[4], json!(["last"]), "and no second one");
    drop((web, subscriber));
    settles(&server);
}

#[test]
fn a_session_that_is_gone_is_opened_again() {
    let mut config = bridging(2);
    config.realms[0].admin_roles = vec!["anonymous".into()];
    config.realms[0].access = Access::Open;
    let server = start(&config);
    let mut web = connect(&server);
    let mut killer = join(&server);
    let count = |web: &mut Web| {
        let count = web.post("/call", r#"{"procedure":"wamp.session.count"}"#);
        assert_eq!(json_of(&count, 200)["args"], json!([2]));
    };
    for _ in 0..3 {
        count(&mut web);
        killer.call("wamp.session.kill_by_authrole", &json!("web"));
        assert_eq!(killer.expect(50)[3], json!([1]));
        // What is asked of it in this moment has an end that nobody knows.
        eventually("its connection is closed", || server.snapshot().connections == 1);
    }
    // An idle one ends, and the next request finds another.
    for _ in 0..3 {
        eventually("the session ends", || server.snapshot().sessions == 1);
        count(&mut web);
    }
    drop((web, killer));
    settles(&server);
}
