//! Publications and calls by HTTP in CBOR and MessagePack, as other libraries write and read them.

use ciborium::Value as Cbor;
use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::net::Server;

use super::bridge::bridging;
use crate::sockets::{Client, Kind, Response, Web, address, settles, start};

/// A format by one of its names.
#[derive(Clone, Copy, Debug)]
struct Format(&'static str);

const JSON: Format = Format("application/json");
const CBOR: Format = Format("application/cbor");
const MSGPACK: Format = Format("application/msgpack");

impl Format {
    fn write(self, value: &Cbor) -> Vec<u8> {
        match self.0 {
            "application/json" => serde_json::to_vec(value).unwrap(),
            "application/cbor" => {
                let mut bytes = Vec::new();
                ciborium::into_writer(value, &mut bytes).unwrap();
                bytes
            }
            _ => rmp_serde::to_vec(value).unwrap(),
        }
    }

    fn read(self, bytes: &[u8]) -> Cbor {
        match self.0 {
            "application/json" => serde_json::from_slice(bytes).unwrap(),
            "application/cbor" => ciborium::from_reader(bytes).unwrap(),
            _ => rmp_serde::from_slice(bytes).unwrap(),
        }
    }

    fn fields(self, accept: Option<Self>) -> String {
        let accept = accept.map(|Self(name)| format!("Accept: {name}\r\n"));
        format!("Content-Type: {}\r\n{}", self.0, accept.unwrap_or_default())
    }
}

fn connect(server: &Server) -> Web {
    Web::connect(address(server))
}

fn join(server: &Server) -> Client {
    Client::join(address(server), Kind::Ws(Codec::Json))
}

/// A value that JSON can say as well.
fn plain(value: &Value) -> Cbor {
    Cbor::serialized(value).unwrap()
}

/// A map with the members of two.
fn with(value: &Value, more: &[(&str, Cbor)]) -> Cbor {
    let Cbor::Map(mut members) = plain(value) else { panic!("{value}") };
    members.extend(more.iter().map(|(name, value)| (Cbor::from(*name), value.clone())));
    Cbor::Map(members)
}

#[track_caller]
fn answer_in(format: Format, answer: &Response, status: u16) -> Cbor {
    assert_eq!((answer.status, answer.header("content-type")), (status, Some(format.0)));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    format.read(&answer.body)
}

#[track_caller]
fn refused(format: Format, answer: &Response, status: u16, said: &str) {
    let answer = answer_in(format, answer, status);
    let answer: Value = answer.deserialized().unwrap();
    let sentence = answer["error"].as_str().unwrap();
    assert!(sentence.contains(said), "{sentence}");
    assert_eq!((&answer["args"], &answer["kwargs"]), (&json!([]), &json!({})));
}

#[test]
fn what_is_published_in_a_format_is_heard_in_all() {
    let server = start(&bridging(2));
    let mut subscriber = join(&server);
    subscriber.subscribe("com.x");
    let mut others = [Codec::Cbor, Codec::MsgPack].map(|codec| {
        let mut other = Client::join(address(&server), Kind::Ws(codec));
        other.subscribe("com.y");
        other
    });
    let mut web = connect(&server);
    let args = [
        Cbor::from((1_u64 << 53) + 1),
        Cbor::from(u64::MAX),
        Cbor::from(i64::MIN),
        Cbor::from(0.1),
        Cbor::from("ü"),
        Cbor::Bytes(vec![0x10, 0xe3, 0xff]),
        Cbor::Bytes(Vec::new()),
    ];
    let heard = json!([9_007_199_254_740_993_u64, u64::MAX, i64::MIN, 0.1, "ü", "\0EOP/", "\0",]);
    let body = json!({"topic": "com.x", "kwargs": {"a": [true, null]}});
    let body = with(&body, &[("args", Cbor::Array(args.to_vec()))]);
    for name in ["application/cbor", "application/msgpack", "application/x-msgpack"] {
        let format = Format(name);
        let answer = web.post_with("/publish", &format.fields(None), format.write(&body));
        let answer = answer_in(format, &answer, 200);
        let event = subscriber.expect(36);
        assert_eq!(answer, plain(&json!({ "id": event[2] })));
        assert_eq!((&event[4], &event[5]), (&heard, &json!({ "a": [true, null] })));
    }
    // Lists and options, too, to clients of any serializer.
    let only = json!({"eligible": [others[0].session, others[1].session]});
    let list = json!([
        {"topic": "com.y", "args": [1], "options": only},
        {"topic": "wamp.no"},
        {"topic": "com.y", "args": [2]},
    ]);
    for format in [CBOR, MSGPACK] {
        let answer = web.post_with("/publish", &format.fields(None), format.write(&plain(&list)));
        let answer: Value = answer_in(format, &answer, 200).deserialized().unwrap();
        assert_eq!(answer[1]["error"], "wamp.error.invalid_uri");
        for other in &mut others {
            for (at, argument) in [(0, 1), (2, 2)] {
                let event = other.expect(36);
                assert_eq!((&event[4], &event[2]), (&json!([argument]), &answer[at]["id"]));
            }
        }
    }
    assert_eq!(server.snapshot().http_publications, 7);
    drop((web, subscriber, others));
    settles(&server);
    server.stop().unwrap();
}

#[test]
fn an_answer_comes_in_the_format_that_is_asked_for() {
    let server = start(&bridging(2));
    let mut callee = join(&server);
    callee.register("com.echo");
    let mut web = connect(&server);
    let body = json!({"procedure": "com.echo", "args": [1.5, [], {"a": "b"}]});
    let binary = Cbor::Bytes(vec![0x10, 0xe3, 0xff]);
    let expected = [Cbor::from(u64::MAX), Cbor::from(1.0), binary];
    let expected = with(&json!({}), &[("args", Cbor::Array(expected.to_vec()))]);
    let mut ask = |(sent, accept): (Format, Option<Format>), said: Value| {
        web.ask("POST", "/call", &sent.fields(accept), sent.write(&plain(&body)));
        let invocation = callee.expect(68);
        assert_eq!(invocation[4], body["args"]);
        let mut said = said;
        let at = if said[0] == 8 { 2 } else { 1 };
        said[at] = invocation[1].clone();
        callee.send(&said);
        web.response()
    };
    for (formats, answered) in [
        ((CBOR, None), CBOR),
        ((MSGPACK, None), MSGPACK),
        ((Format("application/vnd.msgpack"), None), Format("application/vnd.msgpack")),
        ((JSON, Some(CBOR)), CBOR),
        ((CBOR, Some(MSGPACK)), MSGPACK),
        ((MSGPACK, Some(Format("*/*"))), MSGPACK),
        ((JSON, Some(Format("text/html, application/cbor;q=0.9, */*;q=0.8"))), CBOR),
    ] {
        let answer = ask(formats, json!([70, 0, {}, [u64::MAX, 1.0, "\0EOP/"]]));
        assert_eq!(answer_in(answered, &answer, 200), expected, "{formats:?}");
    }
    // Of binary data JSON has the form that WAMP has.
    let answer = ask((CBOR, Some(JSON)), json!([70, 0, {}, ["\0EOP/"]]));
    answer.check(200, r#"{"args":["\u0000EOP/"]}"#);
    let answer = ask((CBOR, None), json!([8, 68, 0, {}, "com.error", ["no"], {"c": 3}]));
    let error = json!({"error": "com.error", "args": ["no"], "kwargs": {"c": 3}});
    let answer: Value = answer_in(CBOR, &answer, 200).deserialized().unwrap();
    assert_eq!(answer, error);
    drop((web, callee));
    settles(&server);
    server.stop().unwrap();
}

/// JSON may say what the others cannot.
#[test]
fn a_result_that_cannot_be_said_is_an_error() {
    let server = start(&bridging(1));
    let mut callee = join(&server);
    callee.register("com.odd");
    let mut web = connect(&server);
    let list = plain(&json!([{"procedure": "wamp.session.count"}, {"procedure": "com.odd"}]));
    for format in [CBOR, MSGPACK] {
        web.ask("POST", "/call", &format.fields(None), format.write(&list));
        let request = callee.expect(68)[1].clone();
        let odd = format!(r#"[70,{request},{{}},["\ud800"]]"#);
        callee.write(&Kind::Ws(Codec::Json).frame(odd.as_bytes())).unwrap();
        let answer = answer_in(format, &web.response(), 200);
        let answer: Value = answer.deserialized().unwrap();
        assert_eq!(answer[0], json!({"args": [2]}));
        assert_eq!(answer[1]["error"], "wamp.error.invalid_argument");
        let sentence = answer[1]["args"][0].as_str().unwrap();
        assert!(sentence.contains("lone surrogate"), "{sentence}");
    }
    drop((web, callee));
    settles(&server);
}

#[test]
fn what_is_refused_is_refused_in_the_format_of_the_body() {
    let server = start(&bridging(1));
    let mut web = connect(&server);
    for format in [CBOR, MSGPACK] {
        for (body, said) in [
            (json!({}), "`topic` is missing"),
            (json!([{"topic": "com.x"}, {}]), "request 2 of the list: `topic` is missing"),
            (json!({"topic": 1}), "the body cannot be read: invalid type: integer `1`, expected"),
            (json!({"topic": "com.x", "options": {"eligble": [1]}}), "\"eligble\" is none"),
            (json!({"topic": "com.x", "args": {}}), "`args` must be a list"),
            (json!("com.x"), "the body must be an object"),
        ] {
            let body = format.write(&plain(&body));
            let answer = web.post_with("/publish", &format.fields(None), body);
            refused(format, &answer, 400, said);
        }
        refused(format, &web.post_with("/publish", &format.fields(None), ""), 400, "is empty");
        let topic = with(&json!({}), &[("topic", Cbor::Bytes(b"com.x".to_vec()))]);
        let answer = web.post_with("/publish", &format.fields(None), format.write(&topic));
        refused(format, &answer, 400, "binary data");
        let odd = with(&json!({"topic": "com.x"}), &[("args", plain(&json!(["\0b"])))]);
        let answer = web.post_with("/publish", &format.fields(None), format.write(&odd));
        refused(format, &answer, 400, "begins with NUL");
        // What is refused by its head is answered so, too.
        let fields = format!("Accept: {}\r\n", format.0);
        refused(format, &connect(&server).get_with("/call", &fields), 405, "only these");
        let fields = format!("{fields}Content-Type: text/plain\r\n");
        let answer = connect(&server).post_with("/call", &fields, "{}");
        refused(format, &answer, 415, "JSON in UTF-8, CBOR or MessagePack: send `Content-Type:");
    }
    for name in ["text/plain", "application/cbor-seq", "application/x-www-form-urlencoded"] {
        let fields = format!("Content-Type: {name}\r\n");
        refused(
            JSON,
            &connect(&server).post_with("/call", &fields, "{}"),
            415,
            "`application/cbor`",
        );
    }
    web.post("/publish", r#"{"topic":"com.x"}"#);
    assert_eq!(server.snapshot().sessions_joined, 1);
    drop(web);
    settles(&server);
}

#[test]
fn a_key_is_for_the_same_request_in_any_format() {
    let server = start(&bridging(2));
    let mut subscriber = join(&server);
    subscriber.subscribe("com.x");
    let mut web = connect(&server);
    let body = plain(&json!({"topic": "com.x", "args": [1]}));
    let mut publish = |format: Format, accept, body: &Cbor| {
        let fields = format!("Idempotency-Key: one\r\n{}", format.fields(accept));
        web.post_with("/publish", &fields, format.write(body))
    };
    let first = answer_in(CBOR, &publish(CBOR, None, &body), 200);
    for (format, accept, answered) in [
        (CBOR, None, CBOR),
        (CBOR, Some(JSON), JSON),
        (CBOR, Some(MSGPACK), MSGPACK),
        (MSGPACK, None, MSGPACK),
        (JSON, None, JSON),
    ] {
        assert_eq!(answer_in(answered, &publish(format, accept, &body), 200), first);
    }
    let other = plain(&json!({"topic": "com.x", "args": [2]}));
    refused(MSGPACK, &publish(MSGPACK, None, &other), 422, "another body");
    let last = plain(&json!({"topic": "com.x", "args": ["last"]}));
    web.post_with("/publish", &CBOR.fields(None), CBOR.write(&last));
    assert_eq!(subscriber.expect(36)[4], json!([1]));
    assert_eq!(subscriber.expect(36)[4], json!(["last"]), "it was published once");
    drop((web, subscriber));
    settles(&server);
}

/// Lengths that never come, depth, what becomes much longer, and any bytes: each is refused at
/// once, and nobody else notices.
#[test]
fn hostile_bodies_cost_nobody_else_anything() {
    let mut config = bridging(2);
    config.limits.message_bytes = 64 * 1024;
    // It is not to end because nobody needs it for a moment.
    config.timeouts.http_session_ms = 60_000;
    let server = start(&config);
    let mut subscriber = join(&server);
    subscriber.subscribe("com.x");
    let mut web = connect(&server);
    let deep = |head: u8| [&vec![head; 60_000][..], &[0]].concat();
    // An empty byte string is one byte here, and nine in JSON.
    let longer = with(
        &json!({"topic": "com.x"}),
        &[("args", Cbor::Array(vec![Cbor::Bytes(Vec::new()); 60_000]))],
    );
    for (format, body, status, said) in [
        (CBOR, b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), 400, "unexpected end"),
        (CBOR, b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), 400, "unexpected end"),
        (CBOR, b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff".to_vec(), 400, "malformed cbor"),
        (MSGPACK, b"\xdd\xff\xff\xff\xff".to_vec(), 400, "unexpected end"),
        (MSGPACK, b"\xdf\xff\xff\xff\xff\xa1a\x01".to_vec(), 400, "unexpected end"),
        (MSGPACK, b"\x81\xa4args\xdb\xff\xff\xff\xff".to_vec(), 400, "unexpected end"),
        (CBOR, deep(0x81), 400, "deeper than 65 levels"),
        (CBOR, deep(0x9f), 400, "deeper than 65 levels"),
        (CBOR, deep(0xc1), 400, "a CBOR tag"),
        (MSGPACK, deep(0x91), 400, "deeper than 65 levels"),
        (CBOR, CBOR.write(&longer), 413, "longer as JSON than the 65536 bytes"),
        (CBOR, b"{\"topic\":\"com.x\"}".to_vec(), 400, "malformed cbor"),
        (MSGPACK, b"{\"topic\":\"com.x\"}".to_vec(), 400, "trailing bytes"),
    ] {
        let answer = web.post_with("/publish", &format.fields(None), &body);
        if answer.header("connection") == Some("close") {
            web = connect(&server);
        }
        refused(format, &answer, status, said);
    }
    // Cut at each place, and each byte changed.
    let whole = plain(&json!({"topic": "com.y", "args": [1, "a"], "kwargs": {"b": [2.5]}}));
    for format in [CBOR, MSGPACK] {
        let whole = format.write(&whole);
        for at in 0..whole.len() {
            let answer = web.post_with("/publish", &format.fields(None), &whole[..at]);
            assert_eq!(answer.status, 400, "{at}");
            for byte in [0x00, 0x7f, 0x80, 0x9f, 0xc1, 0xdb, 0xff] {
                let mut changed = whole.clone();
                changed[at] = byte;
                let answer = web.post_with("/publish", &format.fields(None), &changed);
                assert!(matches!(answer.status, 200 | 400), "{changed:02x?}");
                format.read(&answer.body);
            }
        }
    }
    let answer = web.post("/publish", r#"{"topic":"com.x"}"#);
    answer.check(200, &format!(r#"{{"id":{}}}"#, subscriber.expect(36)[2]));
    assert_eq!(server.snapshot().sessions_joined, 2, "the session of all has lived");
    drop((web, subscriber));
    server.stop().unwrap();
}
