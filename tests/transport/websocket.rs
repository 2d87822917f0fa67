//! RFC 6455 frame by frame (TR-WS-01, TR-WS-04, TR-WS-05).

use stentor::transport::{CloseCode, Stage, TransportError, TransportRules, Violation};

use crate::harness::{Connection, Event, masked};

fn json() -> Connection {
    let rules = TransportRules { message_bytes: 1000, ..Default::default() };
    Connection::websocket(rules, "wamp.2.json")
}

/// Feeds frames, and returns the error's close code and the violation, if it was one.
fn fail(frames: &[Vec<u8>]) -> (u16, Option<Violation>) {
    let mut connection = json();
    for frame in frames {
        assert_eq!(connection.error, None, "only the last frame is at fault");
        connection.feed(frame);
    }
    let error = connection.error.expect("a fault");
    let code = u16::from(error.close_code().expect("an open WebSocket is closed with a code"));
    let mut close = vec![0x88, 9];
    close.extend(code.to_be_bytes());
    close.extend(b"because");
    assert_eq!(connection.close_frame(), close);
    assert!(connection.close_frame().is_empty(), "one close frame is enough");
    assert!(connection.reply.is_empty());
    match error {
        TransportError::WebSocket(violation) => (code, Some(violation)),
        _ => (code, None),
    }
}

/// TR-WS-05.
#[test]
fn violations_close_with_1002() {
    let unmasked = vec![0x81, 2, b'[', b']'];
    assert_eq!(fail(&[unmasked]), (1002, Some(Violation::Unmasked)));
    for bit in [0x10, 0x20, 0x40] {
        assert_eq!(fail(&[masked(0x81 | bit, b"x")]), (1002, Some(Violation::ReservedBits)));
    }
    for opcode in (3..=7).chain(11..=15) {
        let expected = (1002, Some(Violation::ReservedOpcode(opcode)));
        assert_eq!(fail(&[masked(0x80 | opcode, b"x")]), expected);
    }
    for opcode in [8, 9, 10] {
        let expected = (1002, Some(Violation::ControlFragmented));
        assert_eq!(fail(&[masked(opcode, b"")]), expected);
        let expected = (1002, Some(Violation::ControlTooLong));
        assert_eq!(fail(&[masked(0x80 | opcode, &[0; 126])]), expected);
    }
}

#[test]
fn lengths_must_be_in_their_shortest_form() {
    let minimal = (1002, Some(Violation::LengthNotMinimal));
    assert_eq!(fail(&[vec![0x81, 0xFE, 0, 125, 0, 0, 0, 0]]), minimal);
    let wide = |length: u64| {
        let mut frame = vec![0x81, 0xFF];
        frame.extend(length.to_be_bytes());
        frame.extend([0; 4]);
        frame
    };
    assert_eq!(fail(&[wide(0xFFFF)]), minimal);
    assert_eq!(fail(&[wide(1 << 63)]), (1002, Some(Violation::LengthTopBit)));
    assert_eq!(fail(&[wide(u64::MAX >> 1)]), (1009, None));
}

#[test]
fn continuation_rules() {
    assert_eq!(fail(&[masked(0x80, b"x")]), (1002, Some(Violation::StrayContinuation)));
    assert_eq!(fail(&[masked(0x00, b"x")]), (1002, Some(Violation::StrayContinuation)));
    for first in [0x81, 0x01, 0x82] {
        let frames = [masked(0x01, b"a"), masked(first, b"b")];
        assert_eq!(fail(&frames), (1002, Some(Violation::NewMessageInsideFragments)));
    }
    let whole = [masked(0x01, b"a"), masked(0x80, b"b"), masked(0x80, b"c")];
    assert_eq!(fail(&whole), (1002, Some(Violation::StrayContinuation)));
}

/// TR-WS-05: decided by the header, over one frame and over the sum of fragments.
#[test]
fn over_size_closes_with_1009() {
    let header_only = masked(0x81, &[b'x'; 1001])[..8].to_vec();
    assert_eq!(fail(&[header_only]), (1009, None));
    let second = masked(0x80, &[b'x'; 401])[..8].to_vec();
    assert_eq!(fail(&[masked(0x01, &[b'x'; 600]), second]), (1009, None));
    let mut connection = json();
    connection.feed(&masked(0x01, &[b'x'; 600]));
    connection.feed(&masked(0x80, &[b'x'; 400]));
    connection.feed(&masked(0x81, &[b'x'; 1000]));
    assert_eq!(connection.messages(), [[b'x'; 1000], [b'x'; 1000]]);
}

/// TR-WS-05: at once if no continuation could mend it.
#[test]
fn invalid_text_closes_with_1007() {
    assert_eq!(fail(&[masked(0x81, b"\xFF")]), (1007, None));
    assert_eq!(fail(&[masked(0x01, b"a\xC0")]), (1007, None));
    assert_eq!(fail(&[masked(0x01, "é".as_bytes()), masked(0x80, b"\xC3")]), (1007, None));
    assert_eq!(fail(&[masked(0x01, b"\xE2\x82"), masked(0x80, b"")]), (1007, None));
    assert_eq!(fail(&[masked(0x01, b"\xE2\x82"), masked(0x00, b"a")]), (1007, None));
    let mut connection = json();
    for piece in ["€".as_bytes()[..1].to_vec(), b"\x82".to_vec(), vec![], b"\xAC".to_vec()] {
        let first = if connection.events.is_empty() { 0x01 } else { 0x00 };
        connection.feed(&masked(first, &piece));
    }
    connection.feed(&masked(0x80, b"!"));
    assert_eq!(connection.messages(), ["€!".as_bytes()]);
}

/// TR-WS-04: the caller may still say ABORT, then closes with 1003.
#[test]
fn the_wrong_message_type_closes_with_1003() {
    assert_eq!(fail(&[masked(0x82, b"x")]), (1003, None));
    assert_eq!(fail(&[masked(0x02, b"x")]), (1003, None));
    let mut connection = Connection::websocket(TransportRules::default(), "wamp.2.cbor");
    connection.feed(&masked(0x81, b"x"));
    assert_eq!(connection.error, Some(TransportError::WrongMessageType { text: true }));
    assert!(connection.reply.is_empty());
}

#[test]
fn binary_messages_may_hold_any_bytes() {
    let mut connection = Connection::websocket(TransportRules::default(), "wamp.2.msgpack");
    connection.feed(&masked(0x82, b"\xFF\xFE"));
    connection.feed(&masked(0x02, b"\xFF"));
    connection.feed(&masked(0x80, b"\xC3"));
    assert_eq!(connection.messages(), [b"\xFF\xFE", b"\xFF\xC3"]);
}

/// TR-WS-01.
#[test]
fn control_frames_interleave_with_fragments() {
    let mut connection = json();
    connection.feed(&masked(0x01, b"[1"));
    connection.feed(&masked(0x89, b"ping"));
    connection.feed(&masked(0x00, b""));
    connection.feed(&masked(0x8A, b"pong"));
    connection.feed(&masked(0x89, &[7; 125]));
    connection.feed(&masked(0x80, b"]"));
    assert_eq!(connection.messages(), [b"[1]"]);
    let mut pongs = b"\x8A\x04ping\x8A\x7D".to_vec();
    pongs.extend([7; 125]);
    assert_eq!(connection.reply, pongs);
}

#[test]
fn empty_messages_reach_the_codec() {
    let mut connection = json();
    connection.feed(&masked(0x81, b""));
    connection.feed(&masked(0x01, b""));
    connection.feed(&masked(0x80, b""));
    assert_eq!(connection.messages(), [b"", b""]);
}

#[test]
fn a_close_is_echoed_once_and_ends_the_reading() {
    for (payload, echo) in [
        (&b""[..], &b"\x88\0"[..]),
        (b"\x03\xE8", b"\x88\x02\x03\xE8"),
        (b"\x03\xE9bye", b"\x88\x02\x03\xE9"),
        (b"\x0F\xA0own code", b"\x88\x02\x0F\xA0"),
    ] {
        let mut connection = json();
        connection.feed(&masked(0x88, payload));
        connection.feed(&masked(0x81, b"late"));
        assert_eq!(connection.events, [Event::Closed, Event::Control]);
        // What waits may go before the echo, and nothing after it (RFC 6455, 5.5.1).
        assert!(connection.reply.is_empty() && connection.transport.may_send());
        connection.transport.encode_close(CloseCode::Away, "other", &mut connection.reply);
        assert_eq!(connection.reply, echo);
        check_silent(&mut connection);
    }
}

/// RFC 6455, 5.5.1: whatever a peer does after our close frame, nothing follows it.
fn check_silent(connection: &mut Connection) {
    connection.reply.clear();
    for frame in [masked(0x89, b"ping"), masked(0x81, b"[]"), masked(0x88, b"\x03\xE8")] {
        connection.feed(&frame);
    }
    connection.transport.encode_ping(b"x", &mut connection.reply);
    connection.transport.encode_close(CloseCode::Normal, "", &mut connection.reply);
    assert!(connection.reply.is_empty());
    assert!(!connection.transport.may_send() && !connection.transport.is_open());
}

#[test]
fn nothing_follows_our_close() {
    let open = json();
    let mut halfway = json();
    halfway.feed(&masked(0x01, b"half"));
    let mut broken = json();
    broken.feed(&masked(0xC1, b"x"));
    for mut connection in [open, halfway, broken] {
        assert!(connection.transport.may_send(), "ABORT may go before the close frame");
        let mut close = Vec::new();
        connection.transport.encode_close(CloseCode::Policy, "", &mut close);
        assert_eq!(close, b"\x88\x02\x03\xF0");
        assert_eq!(connection.transport.held_bytes(), 0);
        check_silent(&mut connection);
    }
}

/// What an unfinished message holds is bounded by what it may have, and given back with it.
#[test]
fn fragments_hold_no_more_than_their_message_may() {
    let mut connection = json();
    assert_eq!(connection.transport.held_bytes(), 0);
    for number in 0..50 {
        connection.feed(&masked(u8::from(number == 0), &[b'x'; 20]));
        let held = connection.transport.held_bytes();
        assert!(held >= (number + 1) * 20 && held <= 1000 + 64, "{held} after {number}");
    }
    for _ in 0..1000 {
        connection.feed(&masked(0x00, b""));
    }
    assert!(connection.transport.held_bytes() <= 1000 + 64);
    connection.feed(&masked(0x80, b""));
    assert_eq!(connection.transport.held_bytes(), 0);
    connection.feed(&masked(0x01, &[b'x'; 20]));
    assert!(connection.transport.held_bytes() < 100, "a new message starts anew");
    connection.feed(&masked(0xC1, b""));
    assert_eq!(connection.transport.held_bytes(), 0, "and ends with the connection");
}

/// A stranger's messages are short, in one frame or in fragments.
#[test]
fn before_the_session_messages_are_short() {
    let rules = TransportRules { hello_bytes: 100, ..Default::default() };
    let stranger = || {
        let mut connection = Connection::websocket(rules.clone(), "wamp.2.json");
        connection.stage = Stage::Establishing;
        connection
    };
    let error = |bytes| {
        let stage = Stage::Establishing;
        Some(TransportError::MessageTooBig { bytes, limit: 100, stage })
    };
    let mut connection = stranger();
    connection.feed(&masked(0x81, &[b'x'; 100]));
    connection.feed(&masked(0x81, &[b'x'; 101])[..8]);
    assert_eq!((connection.error, connection.messages().len()), (error(101), 1));
    assert_eq!(connection.close_frame()[..4], [0x88, 9, 0x03, 0xF1]);
    let mut connection = stranger();
    connection.feed(&masked(0x01, &[b'x'; 60]));
    connection.feed(&masked(0x00, &[b'x'; 40]));
    assert!(connection.transport.held_bytes() <= 100 + 64);
    connection.feed(&masked(0x80, b"x"));
    assert_eq!(connection.error, error(101));
    let mut connection = stranger();
    connection.feed(&masked(0x81, b"hello"));
    connection.stage = Stage::Established;
    connection.feed(&masked(0x81, &[b'x'; 101]));
    assert_eq!((connection.error, connection.messages().len()), (None, 2));
}

#[test]
fn a_close_must_be_well_formed() {
    assert_eq!(fail(&[masked(0x88, b"\x03")]), (1002, Some(Violation::ClosePayload)));
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535u16] {
        let expected = (1002, Some(Violation::CloseCode(code)));
        assert_eq!(fail(&[masked(0x88, &code.to_be_bytes())]), expected);
    }
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999u16] {
        let mut connection = json();
        connection.feed(&masked(0x88, &code.to_be_bytes()));
        assert_eq!(connection.events, [Event::Closed]);
    }
    assert_eq!(fail(&[masked(0x88, b"\x03\xE8\xFF")]), (1007, None));
}

/// TR-WS-05: after our own close, only the peer's close matters.
#[test]
fn our_close_waits_for_theirs() {
    let mut connection = json();
    connection.feed(&masked(0x01, b"half"));
    let mut close = Vec::new();
    let long = "é".repeat(100);
    connection.transport.encode_close(CloseCode::Away, &long, &mut close);
    assert_eq!(close[..4], [0x88, 2 + 122, 0x03, 0xE9]);
    assert_eq!(close[4..], long.as_bytes()[..122]);
    connection.events.clear();
    connection.feed(&masked(0x80, b"other half"));
    connection.feed(&masked(0x81, b"more"));
    connection.feed(&masked(0x89, b"ping"));
    connection.feed(&masked(0x88, b"\x03\xE9"));
    let control = Event::Control;
    assert_eq!(connection.events, [control.clone(), control.clone(), control, Event::Closed]);
    connection.transport.encode_ping(b"", &mut connection.reply);
    assert!(connection.reply.is_empty());
}
