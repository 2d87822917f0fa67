//! Bounds as clients meet them: sizes, connections and times.

use std::io::{Read, Write};

use serde_json::{Value, json};
use stentor::codec::Codec;

use crate::sockets::{
    Client, Frame, Kind, Stream, address, config, eventually, hello, http_upgrade, raw_frame,
    raw_handshake, settles, start, websocket_frame,
};

const JSON: Kind = Kind::Ws(Codec::Json);
const RAW: Kind = Kind::Raw(Codec::Json);
const MIB: usize = 1 << 20;

/// A PUBLISH of exactly so many bytes in JSON.
fn publish_of(bytes: usize) -> Value {
    let message = |text: &str| json!([16, 1, {"acknowledge": true}, "com.x", [text]]);
    let rest = JSON.encode(&message("")).len();
    message(&"x".repeat(bytes - rest))
}

#[test]
fn a_message_at_the_limit_passes_and_one_above_does_not() {
    let server = start(&config(2));
    for kind in [JSON, RAW] {
        let mut subscriber = Client::join(address(&server), Kind::Ws(Codec::Cbor));
        subscriber.subscribe("com.x");
        let mut publisher = Client::join(address(&server), kind);
        publisher.send(&publish_of(MIB));
        publisher.expect(17);
        let event = subscriber.expect(36);
        assert_eq!(event[4], publish_of(MIB)[4]);

        let mut offender = Client::join(address(&server), kind);
        // The header alone decides: the body is never sent.
        let head = if kind == RAW { 4 } else { 14 };
        offender.write(&kind.message(&publish_of(MIB + 1))[..head]).unwrap();
        check_told_too_big(&mut offender, MIB + 1, MIB);
        publisher.goodbye();
    }
    settles(&server);
}

/// WebSocket says it in its close frame; RawSocket has none, so ABORT does (TR-SZ-02).
#[track_caller]
fn check_told_too_big(client: &mut Client, bytes: usize, limit: usize) {
    let (messages, code) = client.drain();
    if client.kind == JSON {
        assert_eq!((&*messages, code), (&[][..], Some(1009)));
        return;
    }
    let [abort] = &*messages else { panic!("{messages:?}") };
    assert_eq!((&abort[0], &abort[2]), (&json!(3), &json!("wamp.error.payload_size_exceeded")));
    let said = abort[1]["message"].as_str().unwrap();
    let expected = format!("a message of {bytes} bytes exceeds the limit of {limit} bytes");
    assert!(said.starts_with(&expected), "{said}");
}

/// What nobody has joined with yet is bounded more tightly, and not what comes after.
#[test]
fn a_hello_is_short() {
    let server = start(&config(1));
    let limit = 64 * 1024;
    let hello_of = |bytes: usize| {
        let message = |text: &str| {
            let details = json!({"roles": {"publisher": {}}, "x_unknown": text});
            json!([1, "realm1", details])
        };
        let rest = JSON.encode(&message("")).len();
        message(&"x".repeat(bytes - rest))
    };
    for kind in [JSON, RAW] {
        let mut client = Client::open(address(&server), kind);
        client.send(&hello_of(limit));
        client.welcomed();
        client.send(&publish_of(10 * limit));
        client.expect(17);
        client.goodbye();
        // The header alone decides: the body is never sent.
        let head = if kind == RAW { 4 } else { 14 };
        client.write(&kind.message(&hello_of(limit + 1))[..head]).unwrap();
        check_told_too_big(&mut client, limit + 1, limit);
    }
    settles(&server);
}

#[test]
fn fragments_together_meet_the_same_limit() {
    let server = start(&config(1));
    let text = JSON.encode(&publish_of(MIB));
    let mut client = Client::join(address(&server), JSON);
    for (position, part) in text.chunks(100_000).enumerate() {
        let last = (position + 1) * 100_000 >= text.len();
        let frame = websocket_frame(u8::from(position == 0), last, part);
        client.write(&frame).unwrap();
    }
    client.expect(17);
    client.write(&websocket_frame(1, false, &vec![b' '; MIB])).unwrap();
    client.write(&websocket_frame(0, true, b" ")).unwrap();
    assert_eq!(client.drain(), (vec![], Some(1009)));
    settles(&server);
}

#[test]
fn rawsocket_carries_sixteen_mebibytes() {
    let mut config = config(2);
    config.limits.message_bytes = 1 << 24;
    config.output.hard_bytes = 1 << 26;
    let server = start(&config);
    let mut subscriber = Client::join(address(&server), RAW);
    subscriber.subscribe("com.x");
    let mut publisher = Client::join(address(&server), RAW);
    let message = publish_of(1 << 24);
    let frame = RAW.message(&message);
    assert_eq!(frame[..4], [8, 0, 0, 0], "the length's own bit");
    publisher.write(&frame).unwrap();
    publisher.expect(17);
    assert_eq!(subscriber.expect(36)[4], message[4]);
    // Without options the EVENT's head is longer than the PUBLISH's: more than the receiver takes.
    publisher.request = 1;
    let rest = RAW.encode(&json!([16, 2, {}, "com.x", [""]])).len();
    publisher.publish("com.x", &json!("x".repeat((1 << 24) - rest)));
    eventually("the event is dropped", || server.snapshot().events_dropped_size == 1);
    publisher.publish_acknowledged("com.x", &json!("short"));
    assert_eq!(subscriber.expect(36)[4], json!(["short"]));
    drop((subscriber, publisher));
    settles(&server);
}

/// TR-SZ-01: what a peer of 512 bytes cannot take.
#[test]
fn a_small_peer_is_sent_only_what_it_takes() {
    let server = start(&config(2));
    let mut small = Client::on(Stream::connect(address(&server)).unwrap(), RAW);
    small.write(&raw_handshake(Codec::Json, 0)).unwrap();
    small.read_opening().unwrap();
    small.hello("realm1");
    small.subscribe("com.x");
    small.register("com.x");
    let mut other = Client::join(address(&server), JSON);
    other.register("com.large");
    let long = json!("x".repeat(600));
    other.publish_acknowledged("com.x", &long);
    other.publish_acknowledged("com.x", &json!("short"));
    assert_eq!(small.expect(36)[4], json!(["short"]));
    other.call("com.x", &long);
    assert_eq!(other.expect(8)[4], "wamp.error.payload_size_exceeded");
    small.call("com.large", &json!(1));
    let invocation = other.expect(68);
    other.send(&json!([70, invocation[1], {}, [long]]));
    assert_eq!(small.expect(8)[4], "wamp.error.payload_size_exceeded");
    small.call("com.large", &json!(1));
    let invocation = other.expect(68);
    other.send(&json!([8, 68, invocation[1], {}, "com.fault", [long]]));
    let error = small.expect(8);
    assert_eq!((&error[4], error.as_array().unwrap().len()), (&json!("com.fault"), 5));
    drop((small, other));
    settles(&server);
}

#[test]
fn one_connection_too_many_is_told_so() {
    let mut config = config(2);
    config.limits.connections = 4;
    let server = start(&config);
    let mut clients: Vec<_> = (0..4).map(|_| Client::join(address(&server), RAW)).collect();
    let ask = |request: &[u8]| {
        let mut stream = Stream::connect(address(&server)).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    };
    assert_eq!(ask(&raw_handshake(Codec::Json, 15)), [0x7F, 0x40, 0, 0]);
    assert!(ask(http_upgrade("/ws", "wamp.2.json").as_bytes()).starts_with(b"HTTP/1.1 503 "));
    assert_eq!(server.snapshot().connections_refused, 2);
    clients.pop();
    eventually("there is room again", || {
        Client::open_on(Stream::connect(address(&server)).unwrap(), RAW).is_ok()
    });
    drop(clients);
    settles(&server);
}

#[test]
fn silence_before_hello_ends_the_connection() {
    let mut config = config(1);
    config.timeouts.handshake_ms = 1000;
    let server = start(&config);
    let mut silent = Stream::connect(address(&server)).unwrap();
    let mut half = Stream::connect(address(&server)).unwrap();
    half.write_all(b"GET /ws HTTP/1.1\r\nHost: x\r\n").unwrap();
    let mut no_hello = Client::open(address(&server), JSON);
    let mut left = Client::join(address(&server), JSON);
    left.goodbye();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    assert_eq!(half.read(&mut [0]).unwrap(), 0);
    assert_eq!(no_hello.drain(), (vec![], Some(1008)));
    assert_eq!(left.drain(), (vec![], Some(1008)));
    assert_eq!(server.snapshot().connections_refused, 4);
    settles(&server);
}

#[test]
fn a_silent_client_is_pinged_and_then_given_up() {
    let mut config = config(1);
    config.timeouts.ping_interval_ms = 50;
    config.timeouts.ping_timeout_ms = 1000;
    config.timeouts.rawsocket_pings = true;
    let server = start(&config);
    for kind in [JSON, RAW] {
        let mut silent = Client::join(address(&server), kind);
        assert!(matches!(silent.next_frame(), Frame::Ping(_)));
        assert_eq!(silent.drain(), (vec![], (kind == JSON).then_some(1008)));

        let mut alive = Client::join(address(&server), kind);
        for _ in 0..3 {
            let Frame::Ping(payload) = alive.next_frame() else { panic!("a ping comes") };
            let pong = match kind {
                Kind::Raw(_) => raw_frame(2, &payload),
                Kind::Ws(_) => websocket_frame(10, true, &payload),
            };
            alive.write(&pong).unwrap();
        }
        alive.goodbye();
    }
    assert_eq!(server.snapshot().keepalive_timeouts, 2);
    settles(&server);
}

#[test]
fn rawsocket_clients_are_left_alone_by_default() {
    let mut config = config(1);
    config.timeouts.ping_interval_ms = 300;
    config.timeouts.ping_timeout_ms = 300;
    let server = start(&config);
    let mut raw = Client::join(address(&server), RAW);
    let mut other = Client::join(address(&server), JSON);
    assert!(matches!(other.next_frame(), Frame::Ping(_)));
    assert_eq!(other.drain().1, Some(1008), "time enough has passed to ping and to give up");
    raw.subscribe("com.x");
}

#[test]
fn hello_at_a_router_without_its_realm_is_refused() {
    let server = start(&config(1));
    let mut client = Client::open(address(&server), JSON);
    client.send(&hello("no.such.realm"));
    let (messages, code) = client.drain();
    assert_eq!(messages[0][2], "wamp.error.no_such_realm");
    assert_eq!(code, Some(1008));
    settles(&server);
}
