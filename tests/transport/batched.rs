//! Several messages in one message of a WebSocket, in both directions (TR-BAT-01 to TR-BAT-04).

use proptest::prelude::*;
use stentor::clock::Millis;
use stentor::codec::Codec;
use stentor::transport::{
    Arena, BatchFault, Batching, Class, CloseCode, Framing, GatheredBatch, Inflater, Output, Stage,
    Transport, TransportError, TransportRules,
};
use tungstenite::WebSocket;
use tungstenite::protocol::Role;

use crate::harness::{Connection, Event, Wire, check_cuts, masked, upgrade};

const LIMIT: usize = 1000;

fn rules() -> TransportRules {
    TransportRules { message_bytes: LIMIT, hello_bytes: 100, ..TransportRules::default() }
}

fn open(subprotocol: &str) -> Connection {
    Connection::websocket(rules(), subprotocol)
}

fn prefixed(messages: &[&[u8]]) -> Vec<u8> {
    let one = |message: &&[u8]| [&(message.len() as u32).to_be_bytes(), *message].concat();
    messages.iter().flat_map(one).collect()
}

/// What a connection makes of these frames, and its fault.
fn hear(subprotocol: &str, frames: &[Vec<u8>]) -> (Vec<Vec<u8>>, Option<TransportError>) {
    let mut bytes = upgrade(&[("Sec-WebSocket-Protocol", subprotocol)]).into_bytes();
    bytes.extend(frames.concat());
    let sizes = [1, 2, 7, 100];
    let connection = check_cuts(&rules(), &bytes, &sizes);
    (connection.messages(), connection.error)
}

/// TR-WS-02, TR-WS-03
#[test]
fn the_clients_order_decides_and_the_listener_may_refuse() {
    let offer = [("Sec-WebSocket-Protocol", "wamp.2.cbor.batched, wamp.2.cbor")];
    for (batched, named) in [(true, "wamp.2.cbor.batched"), (false, "wamp.2.cbor")] {
        let mut connection = Connection::new(TransportRules { batched, ..rules() });
        connection.feed(upgrade(&offer).as_bytes());
        let answer = String::from_utf8(connection.reply.clone()).expect("an answer is text");
        let line = format!("\r\nSec-WebSocket-Protocol: {named}\r\n\r\n");
        assert!(answer.ends_with(&line), "{answer}");
        assert_eq!(connection.transport.batching(), batched.then_some(Batching::Prefixed));
    }
    let only = [("Sec-WebSocket-Protocol", "wamp.2.json.batched")];
    let mut connection = Connection::new(TransportRules { batched: false, ..rules() });
    connection.feed(upgrade(&only).as_bytes());
    assert!(connection.reply.starts_with(b"HTTP/1.1 400 "));
    for name in ["wamp.2.batched", "wamp.2.json.batched.batched", ".batched", "wamp.2.jsonbatched"]
    {
        let mut connection = Connection::new(rules());
        connection.feed(upgrade(&[("Sec-WebSocket-Protocol", name)]).as_bytes());
        assert!(connection.reply.starts_with(b"HTTP/1.1 400 "), "{name}");
    }
}

/// TR-BAT-01, TR-BAT-04: in their order, in whatever pieces they come.
#[test]
fn a_batch_is_taken_apart() {
    let json = b"[1]\x1e[2,\"\xc3\xa9\"]\x1e[3]\x1e";
    let expected = vec![b"[1]".to_vec(), b"[2,\"\xc3\xa9\"]".to_vec(), b"[3]".to_vec()];
    let name = "wamp.2.json.batched";
    assert_eq!(hear(name, &[masked(0x81, json)]), (expected.clone(), None));
    for cut in 0..=json.len() {
        let (head, tail) = json.split_at(cut);
        let frames = [masked(0x01, head), masked(0x89, b"ping"), masked(0x80, tail)];
        assert_eq!(hear(name, &frames), (expected.clone(), None), "cut at {cut}");
    }
    let messages: [&[u8]; 3] = [&[7; 300], b"", b"\x1e\x18\xff"];
    let batch = prefixed(&messages);
    for name in ["wamp.2.msgpack.batched", "wamp.2.cbor.batched"] {
        let expected: Vec<_> = messages.iter().map(|message| message.to_vec()).collect();
        assert_eq!(hear(name, &[masked(0x82, &batch)]), (expected.clone(), None));
        let (head, tail) = batch.split_at(303);
        let frames = [masked(0x02, head), masked(0x00, b""), masked(0x80, tail)];
        assert_eq!(hear(name, &frames), (expected, None));
    }
}

/// What autobahn sends is what it gets: the first batch decides, for good.
#[test]
fn the_peers_separator_is_ours() {
    for (octet, batching) in [(0x1E, Batching::RecordSeparator), (0x18, Batching::Cancel)] {
        let mut connection = open("wamp.2.json.batched");
        assert_eq!(connection.transport.batching(), Some(Batching::Undecided));
        connection.feed(&masked(0x81, &[b'1', octet, b'2', octet]));
        assert_eq!(connection.messages(), [b"1", b"2"]);
        assert_eq!(connection.transport.batching(), Some(batching));
        connection.feed(&masked(0x81, &[b'3', octet ^ 6]));
        assert_eq!(connection.error, Some(TransportError::Batch(BatchFault::Unterminated)));
    }
}

/// TR-BAT-03, TR-BAT-04: what comes before the fault is dealt with, and nothing behind it.
#[test]
fn a_batch_that_is_not_well_formed_fails_the_transport() {
    let name = "wamp.2.json.batched";
    let fault = |fault| Some(TransportError::Batch(fault));
    assert_eq!(hear(name, &[masked(0x81, b"")]), (vec![], fault(BatchFault::Empty)));
    let empty = [masked(0x01, b""), masked(0x80, b"")];
    assert_eq!(hear(name, &empty), (vec![], fault(BatchFault::Empty)));
    let unterminated = fault(BatchFault::Unterminated);
    assert_eq!(hear(name, &[masked(0x81, b"[1]")]), (vec![], unterminated));
    let one = vec![b"[1]".to_vec()];
    assert_eq!(hear(name, &[masked(0x81, b"[1]\x1e[2]")]), (one.clone(), unterminated));
    let fragments = [masked(0x01, b"[1]\x1e"), masked(0x80, b"[2]"), masked(0x81, b"[3]\x1e")];
    assert_eq!(hear(name, &fragments), (one, unterminated));
    let (messages, error) = hear(name, &[masked(0x81, b"1\x1e\xff\x1e2\x1e")]);
    assert_eq!((messages.len(), error), (1, Some(TransportError::InvalidUtf8)));
    for broken in [&b"\0"[..], b"\0\0\0\x02a", b"\0\0\0\x01ab\0\0\0"] {
        let (_, error) = hear("wamp.2.cbor.batched", &[masked(0x82, broken)]);
        assert_eq!(error, fault(BatchFault::Truncated), "{broken:?}");
    }
    let mut connection = open(name);
    connection.feed(&masked(0x81, b"x"));
    assert_eq!(connection.close_frame()[..4], [0x88, 9, 3, 0xEF], "1007");
}

/// TR-BAT-04: the batch as a whole, and each message where the limit has become shorter meanwhile.
#[test]
fn limits_hold_for_the_batch_and_for_each_message() {
    let name = "wamp.2.json.batched";
    let mut connection = open(name);
    connection.feed(&masked(0x81, &b"x\x1e".repeat(LIMIT / 2)));
    assert_eq!((connection.messages().len(), connection.error), (LIMIT / 2, None));
    connection.feed(&masked(0x81, &b"x\x1e".repeat(LIMIT / 2 + 1))[..8]);
    assert!(matches!(connection.error, Some(TransportError::MessageTooBig { .. })));
    let mut stranger = open(name);
    stranger.stage = Stage::Establishing;
    stranger.feed(&masked(0x81, &b"x\x1e".repeat(51)));
    assert!(matches!(stranger.error, Some(TransportError::MessageTooBig { limit: 100, .. })));
    let mut bytes = masked(0x81, &[b"x\x1e", &[b'y'; 101][..], b"\x1e"].concat());
    let mut transport = open(name).transport;
    let mut step = |bytes: &mut [u8], stage| {
        let step =
            transport.decode(bytes, stage, &rules(), &mut Inflater::default(), &mut Vec::new());
        step.map(|step| step.map(|(consumed, _)| consumed))
    };
    assert_eq!(step(&mut bytes, Stage::Established), Ok(Some(8)));
    let stage = Stage::Establishing;
    let expected = Err(TransportError::MessageTooBig { bytes: 101, limit: 100, stage });
    assert_eq!(step(&mut bytes[8..], stage), expected);
}

/// A batch of messages without any byte is many steps, not a long one, and takes no memory if it
/// comes in one frame.
#[test]
fn each_message_is_a_step_of_its_own() {
    let rules = TransportRules::default();
    let mut transport = Connection::websocket(rules.clone(), "wamp.2.msgpack.batched").transport;
    let mut bytes = masked(0x82, &vec![0; 4 * 100_000]);
    let mut at = 0;
    for number in 0..100_000 {
        let step = transport.decode(
            &mut bytes[at..],
            Stage::Established,
            &rules,
            &mut Inflater::default(),
            &mut Vec::new(),
        );
        let (consumed, inbound) = step.expect("a message").expect("a whole one");
        assert!(format!("{inbound:?}").starts_with("Message([])"));
        at += consumed;
        assert_eq!(consumed, if number == 0 { 14 + 4 } else { 4 });
        assert!(transport.held_bytes() < 100, "{}", transport.held_bytes());
    }
    assert_eq!((at, transport.held_bytes()), (bytes.len(), 0));
}

/// What came in fragments is counted until its last message was taken, and no longer.
#[test]
fn a_batch_in_fragments_is_held_until_it_is_over() {
    let rules = rules();
    let mut transport = open("wamp.2.json.batched").transport;
    let mut frames = masked(0x01, &b"x\x1e".repeat(200));
    frames.extend(masked(0x80, b"y\x1e"));
    let (mut at, mut messages) = (0, 0);
    while at < frames.len() {
        let held = transport.held_bytes();
        assert!(messages == 0 || held >= 402, "{held} B after {messages} messages");
        let step = transport.decode(
            &mut frames[at..],
            Stage::Established,
            &rules,
            &mut Inflater::default(),
            &mut Vec::new(),
        );
        let (consumed, inbound) = step.expect("no fault").expect("it has come");
        messages += usize::from(format!("{inbound:?}").starts_with("Assembled"));
        at += consumed;
    }
    assert_eq!((messages, transport.held_bytes()), (201, 0));
}

/// Nothing of a batch is heard after we have closed, and what follows it still is.
#[test]
fn a_close_of_ours_ends_the_batch_at_hand() {
    for frames in [
        vec![masked(0x81, b"1\x1e2\x1e3\x1e")],
        vec![masked(0x01, b"1\x1e2"), masked(0x80, b"\x1e3\x1e")],
    ] {
        let mut bytes = [frames.concat(), masked(0x88, b"\x03\xe8")].concat();
        let rules = rules();
        let mut transport = open("wamp.2.json.batched").transport;
        let (mut at, mut events) = (0, Vec::new());
        while at < bytes.len() {
            let step = transport.decode(
                &mut bytes[at..],
                Stage::Established,
                &rules,
                &mut Inflater::default(),
                &mut Vec::new(),
            );
            let (consumed, inbound) = step.expect("no fault").expect("it has come");
            events.push(format!("{inbound:?}"));
            at += consumed;
            if !events[0].contains("Control") && events.len() == 1 || events.len() == 2 {
                transport.encode_close(CloseCode::Normal, "", &mut Vec::new());
            }
        }
        events.retain(|event| event != "Control");
        assert_eq!(events.len(), 2, "{events:?}");
        assert_eq!((events[1].as_str(), transport.held_bytes()), ("Closed", 0));
    }
}

fn put(arena: &mut Arena, framing: Framing, message: &[u8], output: &mut Output) {
    let span = arena.frame(framing, |out| out.extend_from_slice(message));
    output.push(span, Class::Event);
}

/// The messages that wait, in frames of at most `max_bytes` each, and how long each frame is.
fn written(output: &mut Output, arena: &Arena, form: (Framing, Batching), max: usize) -> Vec<u8> {
    let (mut all, mut scratch) = (Vec::new(), Vec::new());
    while let Some(batch) = output.gather_batch(arena, form, &mut scratch, max) {
        let GatheredBatch { start, waiting_bytes } = batch;
        let range = form.0.finish(&mut scratch, start);
        let frame = &scratch[range];
        all.extend_from_slice(frame);
        output.advance_batch(arena, (frame, waiting_bytes), (frame.len(), 0), Millis(1));
        output.check_invariants();
    }
    assert!(output.is_empty());
    all
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A client of another make reads frames that hold the same messages.
    #[test]
    fn what_we_send_arrives(
        messages in proptest::collection::vec("\\PC{0,300}", 1..20),
        max in prop_oneof![0..50usize, 100..10_000usize],
        retained in any::<bool>(),
    ) {
        for (framing, batching, octet) in [
            (Framing::WebSocketText, Batching::Undecided, 0x1E),
            (Framing::WebSocketText, Batching::Cancel, 0x18),
            (Framing::WebSocketBinary, Batching::Prefixed, 0),
        ] {
            let (mut arena, mut output) = (Arena::new(), Output::new());
            for message in &messages {
                put(&mut arena, framing, message.as_bytes(), &mut output);
            }
            if retained {
                output.retain_rest(&arena, Millis(1));
            }
            let wire = Wire::default();
            wire.give(&written(&mut output, &arena, (framing, batching), max));
            let mut client = WebSocket::from_raw_socket(wire, Role::Client, None);
            let mut heard = Vec::new();
            while let Ok(message) = client.read() {
                prop_assert_eq!(message.is_text(), octet > 0);
                let batch = message.into_data().to_vec();
                let mut transport = match octet {
                    0 => open("wamp.2.cbor.batched"),
                    _ => open("wamp.2.json.batched"),
                };
                transport.rules.message_bytes = 1 << 20;
                transport.feed(&masked(if octet == 0 { 0x82 } else { 0x81 }, &batch));
                let found = transport.messages();
                prop_assert!(found.len() == 1 || batch.len() <= max + 4 * found.len());
                prop_assert!(octet == 0 || batch.ends_with(&[octet]));
                heard.extend(found);
            }
            let expected: Vec<_> = messages.iter().map(|it| it.clone().into_bytes()).collect();
            prop_assert_eq!(heard, expected);
        }
    }
}

/// Control frames are in no batch, whether they overtake or are the last word.
#[test]
fn control_frames_are_in_no_batch() {
    let form = (Framing::WebSocketText, Batching::RecordSeparator);
    for retained in [false, true] {
        let (mut arena, mut output, mut scratch) = (Arena::new(), Output::new(), Vec::new());
        put(&mut arena, form.0, b"one", &mut output);
        put(&mut arena, form.0, b"two", &mut output);
        let mut close = Vec::new();
        let mut transport = open("wamp.2.json.batched").transport;
        transport.encode_close(CloseCode::Normal, "", &mut close);
        let span = arena.put(&close);
        output.push(span, Class::Reply);
        if retained {
            output.retain_rest(&arena, Millis(1));
        }
        let pong = arena.put(b"\x8a\x01p");
        output.push_control(&arena, pong, Millis(1));
        assert!(output.gather_batch(&arena, form, &mut scratch, 99).is_none());
        assert_eq!(output.alone_bytes(&arena), 3);
        output.advance(3);
        assert_eq!(output.alone_bytes(&arena), 0);
        let batch = output.gather_batch(&arena, form, &mut scratch, 99).expect("two messages");
        assert_eq!(batch.waiting_bytes, 10);
        let range = form.0.finish(&mut scratch, batch.start);
        let frame = scratch[range].to_vec();
        assert_eq!(frame, b"\x81\x08one\x1etwo\x1e");
        // The socket takes a part: the rest is begun, so nothing overtakes it.
        output.advance_batch(&arena, (&frame, 10), (4, 0), Millis(2));
        let pong = arena.put(b"\x8a\x01q");
        output.push_control(&arena, pong, Millis(3));
        assert!(output.gather_batch(&arena, form, &mut scratch, 99).is_none());
        assert_eq!((output.waiting_bytes(), output.alone_bytes(&arena)), (6 + 3 + 4, 6));
        assert_eq!(output.next_write(&arena, &mut scratch, 6), b"e\x1etwo\x1e");
        output.advance(6);
        output.check_invariants();
        while output.alone_bytes(&arena) > 0 {
            let alone = output.alone_bytes(&arena);
            output.advance(alone);
        }
        assert!(output.is_empty());
    }
}

/// The plain subprotocols know nothing of it.
#[test]
fn others_have_no_batches() {
    for codec in Codec::ALL {
        let connection = open(&format!("wamp.2.{}", codec.as_str()));
        assert_eq!(connection.transport.batching(), None);
    }
    let mut connection = open("wamp.2.json");
    connection.feed(&masked(0x81, b"[1]\x1e[2]\x1e"));
    assert_eq!(connection.events, [Event::Message(b"[1]\x1e[2]\x1e".to_vec())]);
    assert_eq!(Transport::new().batching(), None);
}
