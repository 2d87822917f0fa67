//! permessage-deflate frame by frame (RFC 7692; TR-WS-07), in the shape of sections 12 and 13 of
//! the Autobahn suite. What is compressed here is compressed with a context of its own.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use stentor::transport::{
    CloseCode, Deflater, Framing, Stage, TransportError, TransportRules, Violation,
};

use crate::harness::{Connection, Event, masked, upgrade};

const LIMIT: usize = 200_000;

fn rules() -> TransportRules {
    TransportRules { message_bytes: LIMIT, hello_bytes: 1_000, ..TransportRules::default() }
}

fn json() -> Connection {
    Connection::deflated(rules(), "wamp.2.json")
}

/// 7.2.1, at any level and with any number of flushes in between.
fn compressed(plain: &[u8], level: u32, piece: usize) -> Vec<u8> {
    let mut state = Compress::new(Compression::new(level), false);
    let mut out = Vec::with_capacity(2 * plain.len() + 1_000);
    let pieces = plain.chunks(piece.max(1));
    for part in pieces.chain(plain.is_empty().then_some(plain)) {
        state.compress_vec(part, &mut out, FlushCompress::Sync).expect("there is room");
    }
    assert_eq!(state.total_in(), plain.len() as u64);
    out.truncate(out.len() - 4);
    out
}

fn inflated(bytes: &[u8]) -> Vec<u8> {
    let bytes = [bytes, &[0, 0, 0xFF, 0xFF]].concat();
    let mut out = Vec::with_capacity(1 << 20);
    let mut state = Decompress::new(false);
    state.decompress_vec(&bytes, &mut out, FlushDecompress::Sync).expect("it is DEFLATE");
    assert_eq!(state.total_in(), bytes.len() as u64);
    out
}

fn text(length: usize) -> String {
    let all = "{\"Auto\": [\"Bahn\", 12.1, \"é\"], \"more\": \"of the same, of the same\"}, ";
    let mut text = all.repeat(length / all.len() + 1);
    text.truncate(text.floor_char_boundary(length));
    text
}

/// What the frames come to, whole and in pieces.
fn hear(frames: &[Vec<u8>]) -> (Vec<Vec<u8>>, Option<TransportError>) {
    let bytes = frames.concat();
    let mut whole = json();
    whole.feed(&bytes);
    for size in [1, 3, 1_000] {
        let mut cut = json();
        bytes.chunks(size).for_each(|piece| cut.feed(piece));
        assert_eq!((cut.messages(), cut.error), (whole.messages(), whole.error), "by {size}");
    }
    if let Some(error) = whole.error {
        assert!(error.close_code().is_some(), "{error}");
    }
    (whole.messages(), whole.error)
}

fn answer_to(offer: &str, deflate: bool) -> (String, bool) {
    let rules = TransportRules { deflate, ..rules() };
    let headers = [("Sec-WebSocket-Protocol", "wamp.2.json"), ("Sec-WebSocket-Extensions", offer)];
    let mut connection = Connection::new(rules);
    connection.feed(upgrade(&headers).as_bytes());
    let reply = String::from_utf8(connection.reply.clone()).expect("an answer is text");
    assert!(reply.starts_with("HTTP/1.1 101 "), "an offer is never a fault: {reply}");
    (reply, connection.transport.is_deflated())
}

/// 7.1: our direction is always without context, and so is the client's.
#[test]
fn an_offer_is_accepted_or_declined() {
    let names = "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                 client_no_context_takeover";
    let (reply, is_deflated) = answer_to("permessage-deflate; client_max_window_bits", true);
    assert!(is_deflated && reply.contains(&format!("{names}\r\n\r\n")), "{reply}");
    let (reply, is_deflated) = answer_to("permessage-deflate; server_max_window_bits=15", true);
    assert!(is_deflated && reply.contains(&format!("{names}; server_max_window_bits=15\r\n\r\n")));
    for (offer, deflate) in [
        ("permessage-deflate", false),
        ("permessage-deflate; server_max_window_bits=9", true),
        ("permessage-bzip2", true),
        (";;,=,\"", true),
    ] {
        let (reply, is_deflated) = answer_to(offer, deflate);
        assert!(!is_deflated && !reply.contains("Extensions"), "{offer}: {reply}");
    }
}

/// Sections 12.1 to 12.5 and 13: lengths, levels, flushes, fragments.
#[test]
fn what_is_compressed_arrives() {
    for length in [0, 16, 64, 256, 1_024, 4_096, 8_192, 16_384, 32_768, 65_536, 131_072] {
        let plain = text(length);
        for (level, piece) in [(0, 1 << 20), (1, 1 << 20), (9, 1 << 20), (6, 1_000)] {
            let bytes = compressed(plain.as_bytes(), level, piece);
            let expected = (vec![plain.clone().into_bytes()], None);
            if length < 10_000 {
                assert_eq!(hear(&[masked(0xC1, &bytes)]), expected, "{length} at {level}");
            }
            let mut frames: Vec<_> = bytes.chunks(997).map(|part| masked(0x00, part)).collect();
            frames[0][0] |= 0x41;
            frames.push(masked(0x80, b""));
            let mut connection = json();
            frames.iter().for_each(|frame| connection.feed(frame));
            assert_eq!((connection.messages(), connection.error), expected);
        }
    }
}

/// 6: a message may be sent as it is at any time, and control frames are never compressed.
#[test]
fn plain_messages_and_control_frames_go_between() {
    let bytes = compressed(b"[1,2,3]", 6, 100);
    let (head, tail) = bytes.split_at(3);
    let frames = [
        masked(0x81, b"[0]"),
        masked(0x41, head),
        masked(0x89, b"ping"),
        masked(0x80, tail),
        masked(0x01, b"[4"),
        masked(0x80, b"]"),
        masked(0xC1, &bytes),
    ];
    let expected: Vec<_> =
        [&b"[0]"[..], b"[1,2,3]", b"[4]", b"[1,2,3]"].iter().map(|it| it.to_vec()).collect();
    assert_eq!(hear(&frames), (expected, None));
}

/// RSV1 belongs to the first frame of a message, and only where it was agreed on.
#[test]
fn the_bit_elsewhere_closes_with_1002() {
    let reserved = Some(TransportError::WebSocket(Violation::ReservedBits));
    let bytes = compressed(b"[1]", 6, 100);
    for frames in [
        vec![masked(0xC9, b"ping")],
        vec![masked(0xCA, b"pong")],
        vec![masked(0xC8, b"")],
        vec![masked(0x41, &bytes), masked(0xC0, b"")],
        vec![masked(0x01, b"x"), masked(0xC0, b"x")],
        vec![masked(0xE1, &bytes)],
        vec![masked(0xD1, &bytes)],
        vec![masked(0xA1, b"x")],
    ] {
        assert_eq!(hear(&frames).1, reserved, "{:#04x}", frames[0][0]);
    }
    let mut plain = Connection::websocket(rules(), "wamp.2.json");
    plain.feed(&masked(0xC1, &bytes));
    assert_eq!(plain.error, reserved);
}

/// 1007 for what is no DEFLATE and for text that is none, 1009 for what is too long.
#[test]
fn what_cannot_be_read_closes_with_its_code() {
    let code = |frames: &[Vec<u8>]| {
        let (messages, error) = hear(frames);
        assert!(messages.is_empty());
        error.and_then(TransportError::close_code)
    };
    assert_eq!(code(&[masked(0xC1, &[0xFF; 10])]), Some(CloseCode::Invalid));
    assert_eq!(code(&[masked(0x41, &[0xFF]), masked(0x80, &[0xFF])]), Some(CloseCode::Invalid));
    let bytes = compressed(b"a\xFFb", 6, 100);
    assert_eq!(code(&[masked(0xC1, &bytes)]), Some(CloseCode::Invalid));
    let bomb = compressed(&vec![b' '; LIMIT + 1], 9, 1 << 20);
    assert!(bomb.len() < 1_000);
    assert_eq!(code(&[masked(0xC1, &bomb)]), Some(CloseCode::Size));
    let (head, tail) = bomb.split_at(100);
    assert_eq!(code(&[masked(0x41, head), masked(0x80, tail)]), Some(CloseCode::Size));
    let mut stranger = json();
    stranger.stage = Stage::Establishing;
    stranger.feed(&masked(0xC1, &compressed(&[b' '; 1_001], 9, 1 << 20)));
    let stage = Stage::Establishing;
    assert_eq!(stranger.error, Some(TransportError::InflatedTooBig { limit: 1_000, stage }));
    let most = compressed(&vec![b' '; LIMIT], 9, 1 << 20);
    assert_eq!(hear(&[masked(0xC1, &most)]), (vec![vec![b' '; LIMIT]], None));
}

/// What comes is never more than its limit, whatever it stands for, and nothing stays.
#[test]
fn nothing_is_held_of_what_was_inflated() {
    let mut connection = json();
    for _ in 0..10 {
        connection.feed(&masked(0xC1, &compressed(&vec![b' '; LIMIT], 9, 1 << 20)));
        assert_eq!(connection.transport.held_bytes(), 0);
    }
    let worked = connection.inflater.take_tally();
    assert_eq!((worked.messages, worked.plain_bytes), (10, 10 * LIMIT as u64));
    assert!(worked.worked_bytes >= 10 * LIMIT, "{worked:?}");
}

/// A batch is compressed as a whole (TR-BAT-01), and held until its last message was taken.
#[test]
fn batches_may_be_compressed() {
    let mut connection = Connection::deflated(rules(), "wamp.2.json.batched");
    let batch = b"[1]\x1e[2]\x1e[3]\x1e".repeat(100);
    connection.feed(&masked(0xC1, &compressed(&batch, 6, 1 << 20)));
    assert_eq!(connection.messages().len(), 300);
    assert_eq!(connection.transport.held_bytes(), 0);
    connection.feed(&masked(0xC1, &compressed(b"[1]", 6, 100)));
    assert!(matches!(connection.error, Some(TransportError::Batch(_))));
    let mut binary = Connection::deflated(rules(), "wamp.2.cbor.batched");
    binary.feed(&masked(0xC2, &compressed(b"\0\0\0\x01a\0\0\0\x02bc", 6, 100)));
    assert_eq!(binary.events, [&b"a"[..], b"bc"].map(|it| Event::Message(it.to_vec())));
}

/// What we send is DEFLATE without a context, if it is long enough and gets shorter.
#[test]
fn what_we_compress_is_read_by_others() {
    let mut deflater = Deflater::default();
    for length in [0, 100, 511, 512, 1_024, 70_000, LIMIT, 10] {
        for framing in [Framing::DeflateText, Framing::DeflateBinary] {
            let plain = text(length);
            let mut out = Vec::new();
            let start = framing.begin(&mut out);
            out.extend_from_slice(plain.as_bytes());
            let range = deflater.finish(framing, &mut out, start, 512);
            let frame = &out[range];
            let header = match frame[1] {
                126 => 4,
                127 => 10,
                _ => 2,
            };
            let opcode = if framing == Framing::DeflateText { 1 } else { 2 };
            if plain.len() < 512 {
                assert_eq!((frame[0], &frame[header..]), (0x80 | opcode, plain.as_bytes()));
            } else {
                assert_eq!((frame[0], inflated(&frame[header..])), (0xC0 | opcode, plain.into()));
            }
        }
    }
}
