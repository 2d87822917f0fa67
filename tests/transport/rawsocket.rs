//! RawSocket (requirements 1.12).

use proptest::collection::vec;
use proptest::prelude::*;
use stentor::codec::Codec;
use stentor::transport::{
    CloseCode, Framing, HandshakeRefusal, Stage, Transport, TransportError, TransportRules,
};

use crate::harness::{Connection, Event, check_cuts};

/// TR-RS-01, TR-RS-03, TR-RS-05: in pieces, and with frames right behind.
#[test]
fn handshake_and_frames_in_any_pieces() {
    let mut bytes = vec![0x7F, 0x52, 0, 0];
    bytes.extend(b"\0\0\0\x02ab\x01\0\0\x03png\x02\0\0\0\0\0\0\0");
    let connection = check_cuts(&TransportRules::default(), &bytes, &[1, 2, 3, 4, 5, 6, 7]);
    let opened = Event::Opened(Codec::MsgPack, Framing::RawSocket, 1 << 14);
    let message = |bytes: &[u8]| Event::Message(bytes.to_vec());
    let events = [opened, message(b"ab"), Event::Control, Event::Control, message(b"")];
    assert_eq!(connection.events, events);
    assert_eq!(connection.reply, b"\x7F\xB2\0\0\x02\0\0\x03png");
}

/// TR-RS-04.
#[test]
fn handshake_refusals() {
    let rules = TransportRules {
        codecs: vec![Codec::Json, Codec::Cbor],
        rawsocket_min_peer_bytes: 4096,
        ..Default::default()
    };
    for (octets, refusal) in [
        ([0x7F, 0xF0, 0, 0], HandshakeRefusal::Serializer),
        ([0x7F, 0xF2, 0, 0], HandshakeRefusal::Serializer),
        ([0x7F, 0xF5, 0, 0], HandshakeRefusal::Serializer),
        ([0x7F, 0xF6, 0, 0], HandshakeRefusal::Serializer),
        ([0x7F, 0x21, 0, 0], HandshakeRefusal::MaxLength),
        ([0x7F, 0xF1, 0x80, 0], HandshakeRefusal::ReservedBits),
        ([0x7F, 0xF1, 0, 1], HandshakeRefusal::ReservedBits),
    ] {
        let connection = check_cuts(&rules, &octets, &[1, 2, 3]);
        assert_eq!(connection.error, Some(TransportError::Handshake(refusal)));
        assert_eq!(connection.reply, [0x7F, (refusal as u8) << 4, 0, 0]);
    }
    assert_eq!(check_cuts(&rules, &[0x7F, 0x31, 0, 0], &[1]).error, None);
}

/// TR-RS-06: refused by the header, whatever follows.
#[test]
fn reserved_headers_fail_the_connection() {
    for first in (3..=0x0F).chain([0x10, 0x20, 0x40, 0x80, 0xFF]).filter(|first| *first != 8) {
        let mut connection = Connection::rawsocket(TransportRules::default(), 1);
        connection.feed(&[first, 0, 0, 1]);
        assert!(connection.error.is_some(), "{first:#x}");
        assert!(connection.reply.is_empty() && connection.close_frame().is_empty());
    }
}

/// TR-RS-07: the limit is the announced power of two.
#[test]
fn the_announced_limit_holds_for_every_type() {
    let rules = TransportRules { message_bytes: 1500, ..Default::default() };
    for kind in 0..=2 {
        let mut connection = Connection::rawsocket(rules.clone(), 1);
        connection.feed(&[kind, 0, 4, 0]);
        connection.feed(&[b'x'; 1024]);
        assert_eq!((connection.error, connection.events.len()), (None, 1));
        connection.feed(&[kind, 0, 4, 1]);
        let stage = Stage::Established;
        let error = TransportError::MessageTooBig { bytes: 1025, limit: 1024, stage };
        assert_eq!(connection.error, Some(error));
        let text = "a message of 1025 bytes exceeds the limit of 1024 bytes (limits.message_bytes)";
        assert_eq!(error.to_string(), text);
    }
}

/// A stranger's frames are short, whatever was announced, and the header alone decides.
#[test]
fn before_the_session_frames_are_short() {
    let rules = TransportRules { hello_bytes: 600, ..Default::default() };
    for kind in 0..=2 {
        let mut connection = Connection::rawsocket(rules.clone(), 1);
        connection.stage = Stage::Establishing;
        connection.feed(&[kind, 0, 2, 88]);
        connection.feed(&[b'x'; 600]);
        assert_eq!((connection.error, connection.events.len()), (None, 1));
        connection.feed(&[kind, 0, 2, 89]);
        let error = connection.error.expect("one byte too many");
        assert_eq!(error.kind(), "hello_too_big");
        let text = "a message of 601 bytes exceeds the limit of 600 bytes before the session is \
                    established (limits.hello_bytes)";
        assert_eq!(error.to_string(), text);
        // It can still be told so, until its transport is closed.
        assert!(connection.transport.may_send() && !connection.transport.is_open());
        connection.transport.encode_close(CloseCode::Size, "", &mut connection.reply);
        assert!(!connection.transport.may_send());
    }
}

/// TR-RS-06: 2^24 octets have a header of their own.
#[test]
fn the_largest_frame_of_all() {
    let rules = TransportRules { message_bytes: 1 << 24, ..Default::default() };
    let mut out = Vec::new();
    let start = Framing::RawSocket.begin(&mut out);
    out.resize(out.len() + (1 << 24), b'm');
    let frame = Framing::RawSocket.finish(&mut out, start);
    let mut connection = Connection::rawsocket(rules, 1);
    connection.feed(&out[frame]);
    assert_eq!(connection.messages()[0].len(), 1 << 24);
    let mut small = Connection::rawsocket(TransportRules::default(), 1);
    small.feed(&[8, 0, 0, 0]);
    assert_eq!(small.error.map(TransportError::kind), Some("message_too_big"));
}

#[test]
fn pings_of_our_own() {
    let connection = Connection::rawsocket(TransportRules::default(), 1);
    let mut out = Vec::new();
    connection.transport.encode_ping(b"now", &mut out);
    assert_eq!(out, b"\x01\0\0\x03now");
    Transport::new().encode_ping(b"too early", &mut out);
    assert_eq!(out.len(), 7);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// TR-RS-08: each PING one PONG, in order, with the same payload.
    #[test]
    fn frames_survive_any_cut(
        frames in vec((0..3u8, vec(any::<u8>(), 0..300)), 0..10),
        size in 1..500usize,
    ) {
        let mut bytes = vec![0x7F, 0xF3, 0, 0];
        let (mut messages, mut pongs) = (Vec::new(), vec![0x7F, 0xB3, 0, 0]);
        for (kind, payload) in frames {
            let length = (payload.len() as u32).to_be_bytes();
            bytes.extend([kind, length[1], length[2], length[3]]);
            bytes.extend(&payload);
            match kind {
                0 => messages.push(payload),
                1 => {
                    pongs.extend([2, length[1], length[2], length[3]]);
                    pongs.extend(&payload);
                }
                _ => {}
            }
        }
        let connection = check_cuts(&TransportRules::default(), &bytes, &[1, size]);
        prop_assert_eq!(connection.messages(), messages);
        prop_assert_eq!(connection.reply, pongs);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        check_cuts(&TransportRules::default(), &bytes, &[1, 3]);
        let mut connection = Connection::rawsocket(TransportRules::default(), 1);
        connection.feed(&bytes);
    }
}
