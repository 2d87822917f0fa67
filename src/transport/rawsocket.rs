//! RawSocket: the handshake of four octets, and frames with a header of four (requirements 1.12).
//!
//! Stateless after the handshake: what the router takes follows from the listener's rules.

use crate::codec::Codec;

use super::{Framing, HandshakeRefusal, Inbound, Stage, Step, TransportError, TransportRules};

/// The error reply to a peer that came when all connections were taken (TR-RS-04).
pub const fn connection_limit_reply() -> [u8; 4] {
    error_reply(HandshakeRefusal::ConnectionLimit)
}

/// The receive limit that a listener announces: the power of two at or below `message_bytes`,
/// from 512 B to 16 MiB.
pub const fn announced_limit(message_bytes: usize) -> usize {
    1 << (announced_exponent(message_bytes) + MIN_POWER)
}

/// Answers the client's handshake; `None` if it is not complete.
pub(super) fn handshake(
    input: &[u8],
    rules: &TransportRules,
    reply: &mut Vec<u8>,
) -> Result<Option<Inbound<'static>>, TransportError> {
    let Some(&[_, settings, high, low]) = input.first_chunk() else {
        return Ok(None);
    };
    let peer_bytes = 1 << (u32::from(settings >> 4) + MIN_POWER);
    match judge(settings & 0x0F, peer_bytes, high != 0 || low != 0, rules) {
        Ok(codec) => {
            let exponent = announced_exponent(rules.message_bytes) as u8;
            reply.extend_from_slice(&[MAGIC, exponent << 4 | (settings & 0x0F), 0, 0]);
            Ok(Some(Inbound::Opened {
                is_batched: false,
                codec,
                framing: Framing::RawSocket,
                max_message_bytes: peer_bytes,
                origin: None,
                headers: None,
            }))
        }
        Err(refusal) => {
            reply.extend_from_slice(&error_reply(refusal));
            Err(TransportError::Handshake(refusal))
        }
    }
}

/// Takes one frame; PING is answered, PONG ignored (TR-RS-06 to TR-RS-08).
pub(super) fn decode<'a>(
    input: &'a [u8],
    stage: Stage,
    rules: &TransportRules,
    reply: &mut Vec<u8>,
) -> Result<Step<'a>, TransportError> {
    let Some(&header) = input.first_chunk() else {
        return Ok(Step::Need(HEADER_BYTES));
    };
    let (kind, length) = parse_header(header)?;
    let limit = announced_limit(rules.message_bytes).min(rules.limit(stage));
    if length > limit {
        return Err(TransportError::MessageTooBig { bytes: length as u64, limit, stage });
    }
    let end = HEADER_BYTES + length;
    if input.len() < end {
        return Ok(Step::Need(end));
    }
    let inbound = match kind {
        FrameKind::Message => Inbound::Message(&input[HEADER_BYTES..end]),
        FrameKind::Ping => {
            encode_control(FrameKind::Pong, &input[HEADER_BYTES..end], reply);
            Inbound::Control
        }
        FrameKind::Pong => Inbound::Control,
    };
    Ok(Step::Done(end, inbound))
}

/// Appends a whole PING or PONG.
pub(super) fn encode_control(kind: FrameKind, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&header(kind, payload.len()));
    out.extend_from_slice(payload);
}

/// What a frame is (TR-RS-06).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    Message = 0,
    Ping = 1,
    Pong = 2,
}

/// The header of a frame with `length` bytes of payload, at most 2^24.
pub const fn header(kind: FrameKind, length: usize) -> [u8; 4] {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let extended = if length == 1 << 24 { EXTENDED } else { 0 };
    [extended | kind as u8, a, b, c]
}

/// The four octets with which a client begins, who takes messages of up to so many bytes: rounded
/// up to the next power of two that can be said (TR-RS-03).
pub const fn client_handshake(codec: Codec, receives_bytes: usize) -> [u8; 4] {
    let serializer = match codec {
        Codec::Json => 1,
        Codec::MsgPack => 2,
        Codec::Cbor => 3,
    };
    let exponent = announced_exponent(receives_bytes.next_power_of_two()) as u8;
    [MAGIC, exponent << 4 | serializer, 0, 0]
}

/// The longest message that a router takes, by its reply to a handshake; `None` if it refuses.
pub const fn limit_in_reply(reply: [u8; 4]) -> Option<usize> {
    match reply {
        // An error has no serializer (TR-RS-04).
        [MAGIC, settings, 0, 0] if settings & 0x0F != 0 => {
            Some(1 << ((settings >> 4) as u32 + MIN_POWER))
        }
        _ => None,
    }
}

/// What follows a header: the kind of the frame, and the bytes of its payload.
///
/// # Errors
/// Reserved bits and types (TR-RS-06).
pub const fn parse_header(header: [u8; 4]) -> Result<(FrameKind, usize), TransportError> {
    let [first, a, b, c] = header;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    let extended = first & EXTENDED != 0;
    if first & 0xF0 != 0 || (extended && length != 0) {
        return Err(TransportError::RawSocketReservedBits(u32::from_be_bytes(header)));
    }
    let kind = match first & 0x07 {
        0 => FrameKind::Message,
        1 => FrameKind::Ping,
        2 => FrameKind::Pong,
        reserved => return Err(TransportError::RawSocketReservedType(reserved)),
    };
    Ok((kind, if extended { 1 << 24 } else { length }))
}

fn judge(
    serializer: u8,
    peer_bytes: usize,
    reserved_bits: bool,
    rules: &TransportRules,
) -> Result<Codec, HandshakeRefusal> {
    if reserved_bits {
        return Err(HandshakeRefusal::ReservedBits);
    }
    let codec = match serializer {
        1 => Codec::Json,
        2 => Codec::MsgPack,
        3 => Codec::Cbor,
        _ => return Err(HandshakeRefusal::Serializer),
    };
    if !rules.allows(codec) {
        return Err(HandshakeRefusal::Serializer);
    }
    if peer_bytes < rules.rawsocket_min_peer_bytes {
        return Err(HandshakeRefusal::MaxLength);
    }
    Ok(codec)
}

const fn error_reply(refusal: HandshakeRefusal) -> [u8; 4] {
    [MAGIC, (refusal as u8) << 4, 0, 0]
}

/// L, so that 2^(9+L) is the largest power of two not above `message_bytes`.
const fn announced_exponent(message_bytes: usize) -> u32 {
    if message_bytes < 1 << MIN_POWER {
        return 0;
    }
    let exponent = message_bytes.ilog2() - MIN_POWER;
    if exponent > 15 { 15 } else { exponent }
}

pub const HEADER_BYTES: usize = 4;
pub(super) const MAGIC: u8 = 0x7F;
const EXTENDED: u8 = 0x08;
const MIN_POWER: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn shake(octets: [u8; 4], rules: &TransportRules) -> (Option<Inbound<'static>>, Vec<u8>) {
        let mut reply = Vec::new();
        let opened = handshake(&octets, rules, &mut reply).ok().flatten();
        (opened, reply)
    }

    /// TR-RS-03: each side announces its own limit.
    #[test]
    fn the_reply_echoes_the_serializer_and_announces_our_limit() {
        let rules = TransportRules { message_bytes: 1 << 20, ..Default::default() };
        for (serializer, codec) in [(1, Codec::Json), (2, Codec::MsgPack), (3, Codec::Cbor)] {
            let (opened, reply) = shake([0x7F, 0xF0 | serializer, 0, 0], &rules);
            let framing = Framing::RawSocket;
            let (max_message_bytes, origin) = (1 << 24, None);
            let expected = Inbound::Opened {
                codec,
                framing,
                is_batched: false,
                max_message_bytes,
                origin,
                headers: None,
            };
            assert_eq!(opened, Some(expected));
            assert_eq!(reply, [0x7F, 0xB0 | serializer, 0, 0]);
        }
    }

    /// TR-RS-04.
    #[test]
    fn refusals_have_their_numbers() {
        let rules = TransportRules {
            codecs: vec![Codec::Json],
            rawsocket_min_peer_bytes: 1024,
            ..Default::default()
        };
        for (octets, error) in [
            ([0x7F, 0xF0, 0, 0], 1),
            ([0x7F, 0xF2, 0, 0], 1),
            ([0x7F, 0xF4, 0, 0], 1),
            ([0x7F, 0xFF, 0, 0], 1),
            ([0x7F, 0x01, 0, 0], 2),
            ([0x7F, 0xF1, 1, 0], 3),
            ([0x7F, 0xF1, 0, 1], 3),
        ] {
            let (opened, reply) = shake(octets, &rules);
            assert_eq!((opened, reply), (None, vec![0x7F, error << 4, 0, 0]), "{octets:?}");
        }
        assert_eq!(connection_limit_reply(), [0x7F, 0x40, 0, 0]);
    }

    #[test]
    fn the_announced_limit_is_a_power_of_two_from_512_to_16_mib() {
        for (message_bytes, limit) in [
            (0, 512),
            (512, 512),
            (1023, 512),
            (1024, 1024),
            (1_000_000, 1 << 19),
            (1 << 24, 1 << 24),
            (usize::MAX, 1 << 24),
        ] {
            assert_eq!(announced_limit(message_bytes), limit);
        }
    }

    /// TR-RS-06.
    #[test]
    fn reserved_bits_and_types_fail() {
        for kind in 3..=7 {
            let error = parse_header([kind, 0, 0, 0]);
            assert_eq!(error, Err(TransportError::RawSocketReservedType(kind)));
        }
        for bit in 4..8 {
            parse_header([1 << bit, 0, 0, 0]).expect_err("a reserved bit");
        }
        parse_header([8, 0, 0, 1]).expect_err("extended, yet a length");
        assert_eq!(parse_header([8, 0, 0, 0]), Ok((FrameKind::Message, 1 << 24)));
    }

    /// TR-RS-07: the header alone decides, for PING and PONG too.
    #[test]
    fn over_the_limit_is_known_from_the_header() {
        let rules = TransportRules { message_bytes: 1024, ..Default::default() };
        let stage = Stage::Established;
        for kind in [FrameKind::Message, FrameKind::Ping, FrameKind::Pong] {
            let frame = [kind as u8, 0, 4, 1];
            let error = decode(&frame, stage, &rules, &mut Vec::new());
            let expected = TransportError::MessageTooBig { bytes: 1025, limit: 1024, stage };
            assert_eq!(error.expect_err("too big"), expected);
        }
        let step = decode(&[0, 0, 4, 0], stage, &rules, &mut Vec::new());
        assert!(matches!(step, Ok(Step::Need(1028))));
    }
}
