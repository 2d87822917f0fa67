//! Frame headers of WebSocket (RFC 6455, section 5) and RawSocket, seen from the client: reading
//! what a router sends by header alone, and putting a header round what the client sends.

use super::{nats, redis};
use crate::url::Transport;

/// What one frame holds; `start..end` is its payload within the buffer it was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    /// WebSocket: it is, or begins, a message that is compressed.
    pub compressed: bool,
    pub start: usize,
    pub end: usize,
    /// Where the next frame starts.
    pub next: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One whole message.
    Whole,
    /// The first part of a fragmented WebSocket message.
    Begin,
    Middle,
    Last,
    Ping,
    Pong,
    Close,
    /// Not of WAMP: the subscription that was asked for stands.
    Subscribed,
    /// Not of WAMP: says nothing that matters here.
    Notice,
    /// Not of WAMP: the text of an error.
    Failure,
}

/// Finds the frame at `at`; `None` if it is not all there yet.
pub fn parse(
    transport: Transport,
    buffer: &[u8],
    at: usize,
) -> Result<Option<Frame>, &'static str> {
    match transport {
        Transport::WebSocket | Transport::Bun => parse_websocket(buffer, at),
        Transport::RawSocket | Transport::Floor => parse_rawsocket(buffer, at),
        Transport::Nats => nats::parse(buffer, at),
        Transport::Redis => redis::parse(buffer, at),
    }
}

fn parse_websocket(buffer: &[u8], at: usize) -> Result<Option<Frame>, &'static str> {
    let Some(&[first, second]) = buffer.get(at..at + 2) else {
        return Ok(None);
    };
    let compressed = first & 0x40 != 0;
    // RFC 7692, 6: the bit is for the first frame of a message.
    if first & 0x30 != 0 || compressed && !matches!(first & 0x0f, 1 | 2) {
        return Err("reserved WebSocket bits are set");
    }
    if second & 0x80 != 0 {
        return Err("a server must not mask its frames");
    }
    let (header, length) = match second {
        127 => match buffer.get(at + 2..at + 10) {
            Some(bytes) => (10, u64::from_be_bytes(bytes.try_into().expect("eight bytes"))),
            None => return Ok(None),
        },
        126 => match buffer.get(at + 2..at + 4) {
            Some(bytes) => (4, u64::from(u16::from_be_bytes(bytes.try_into().expect("two bytes")))),
            None => return Ok(None),
        },
        short => (2, u64::from(short)),
    };
    let kind = match (first & 0x0f, first & 0x80 != 0) {
        (1 | 2, true) => Kind::Whole,
        (1 | 2, false) => Kind::Begin,
        (0, false) => Kind::Middle,
        (0, true) => Kind::Last,
        (8, _) => Kind::Close,
        (9, _) => Kind::Ping,
        (10, _) => Kind::Pong,
        _ => return Err("unknown WebSocket opcode"),
    };
    Ok(within(buffer, kind, at + header, length)?.map(|frame| Frame { compressed, ..frame }))
}

fn parse_rawsocket(buffer: &[u8], at: usize) -> Result<Option<Frame>, &'static str> {
    let Some(&[first, a, b, c]) = buffer.get(at..at + 4) else {
        return Ok(None);
    };
    let kind = match first & 0x07 {
        0 => Kind::Whole,
        1 => Kind::Ping,
        2 => Kind::Pong,
        _ => return Err("reserved RawSocket frame type"),
    };
    if first & 0xf0 != 0 {
        return Err("reserved RawSocket bits are set");
    }
    let extra = u64::from(first & 0x08) << 21;
    within(buffer, kind, at + 4, extra + u64::from(u32::from_be_bytes([0, a, b, c])))
}

fn within(
    buffer: &[u8],
    kind: Kind,
    start: usize,
    length: u64,
) -> Result<Option<Frame>, &'static str> {
    if length > MAX_MESSAGE_BYTES {
        return Err("the frame is longer than 64 MiB");
    }
    let end = start + length as usize;
    let frame = Frame { kind, compressed: false, start, end, next: end };
    Ok((end <= buffer.len()).then_some(frame))
}

/// Puts a frame of `body` into `out`; `text` says whether a WebSocket frame is text or binary.
pub fn put_message(transport: Transport, text: bool, body: &[u8], out: &mut Vec<u8>) {
    match transport {
        Transport::WebSocket | Transport::Bun => {
            put_websocket(if text { 0x81 } else { 0x82 }, body, out);
        }
        Transport::RawSocket | Transport::Floor => put_rawsocket(0, body, out),
        Transport::Nats | Transport::Redis => {
            unreachable!("they have commands that name the topic instead of frames")
        }
    }
}

/// Puts a WebSocket frame of `body`, which is compressed, into `out`.
pub fn put_compressed(text: bool, body: &[u8], out: &mut Vec<u8>) {
    put_websocket(if text { 0xc1 } else { 0xc2 }, body, out);
}

/// Answers a ping, with the same payload.
pub fn put_pong(transport: Transport, body: &[u8], out: &mut Vec<u8>) {
    match transport {
        Transport::WebSocket | Transport::Bun => put_websocket(0x8a, body, out),
        Transport::RawSocket | Transport::Floor => put_rawsocket(2, body, out),
        Transport::Nats => out.extend_from_slice(nats::PONG),
        Transport::Redis => unreachable!("Redis sends no pings"),
    }
}

/// Asks for a pong, without a payload; for WAMP's transports.
pub fn put_ping(transport: Transport, out: &mut Vec<u8>) {
    match transport {
        Transport::WebSocket | Transport::Bun => put_websocket(0x89, &[], out),
        Transport::RawSocket | Transport::Floor => put_rawsocket(1, &[], out),
        Transport::Nats | Transport::Redis => unreachable!("only WAMP's routers are pinged"),
    }
}

fn put_rawsocket(kind: u8, body: &[u8], out: &mut Vec<u8>) {
    debug_assert!(body.len() < 1 << 24, "payload sizes are checked with the arguments");
    let [_, a, b, c] = (body.len() as u32).to_be_bytes();
    out.extend_from_slice(&[kind, a, b, c]);
    out.extend_from_slice(body);
}

/// The mask is fixed: it hides nothing here, but the router has the same work as with a random one.
fn put_websocket(first: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    match body.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        medium @ 126..65536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(body);
    for four in out[start..].chunks_mut(4) {
        for (byte, mask) in four.iter_mut().zip(MASK) {
            *byte ^= mask;
        }
    }
}

pub(super) const MAX_MESSAGE_BYTES: u64 = 64 << 20;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_like_the_example_of_rfc_6455() {
        let mut out = Vec::new();
        put_message(Transport::WebSocket, true, b"Hello", &mut out);
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn reads_websocket_lengths_of_all_three_widths() {
        for (length, header) in [(5usize, 2usize), (126, 4), (70_000, 10)] {
            let mut buffer = vec![0x82];
            match header {
                2 => buffer.push(length as u8),
                4 => buffer.extend([126, (length >> 8) as u8, length as u8]),
                _ => {
                    buffer.push(127);
                    buffer.extend((length as u64).to_be_bytes());
                }
            }
            buffer.resize(header + length, b'x');
            let end = header + length;
            let frame =
                Frame { kind: Kind::Whole, compressed: false, start: header, end, next: end };
            assert_eq!(parse(Transport::WebSocket, &buffer, 0), Ok(Some(frame)));
            for cut in [0, 1, header - 1, buffer.len() - 1] {
                assert_eq!(parse(Transport::WebSocket, &buffer[..cut], 0), Ok(None));
            }
        }
    }

    #[test]
    fn reads_fragments_and_control_frames() {
        for (first, kind) in [
            (0x01, Kind::Begin),
            (0x00, Kind::Middle),
            (0x80, Kind::Last),
            (0x89, Kind::Ping),
            (0x8a, Kind::Pong),
            (0x88, Kind::Close),
        ] {
            let found = parse(Transport::WebSocket, &[first, 0], 0).unwrap().unwrap();
            assert_eq!(found.kind, kind);
        }
        assert!(parse(Transport::WebSocket, &[0x83, 0], 0).is_err());
        assert!(parse(Transport::WebSocket, &[0x81, 0x80], 0).is_err());
    }

    #[test]
    fn one_reserved_bit_says_that_a_message_is_compressed() {
        let found = |first: u8| parse(Transport::WebSocket, &[first, 0], 0);
        for first in [0xc1, 0xc2, 0x41, 0x81] {
            let frame = found(first).unwrap().unwrap();
            assert_eq!(frame.compressed, first & 0x40 != 0, "{first:#04x}");
        }
        for first in [0xa1, 0x91, 0xc0, 0xc8, 0xc9] {
            assert!(found(first).is_err(), "{first:#04x}");
        }
        let mut out = Vec::new();
        put_compressed(true, b"", &mut out);
        put_compressed(false, b"", &mut out);
        assert_eq!((out[0], out[6]), (0xc1, 0xc2));
    }

    #[test]
    fn rawsocket_frames_there_and_back() {
        let mut out = vec![0xff; 3];
        put_message(Transport::RawSocket, false, b"abc", &mut out);
        assert_eq!(out[3..], [0, 0, 0, 3, b'a', b'b', b'c']);
        let frame = parse(Transport::RawSocket, &out, 3).unwrap().unwrap();
        assert_eq!((frame.kind, &out[frame.start..frame.end]), (Kind::Whole, &b"abc"[..]));
        out.clear();
        put_pong(Transport::RawSocket, b"p", &mut out);
        assert_eq!(out, [2, 0, 0, 1, b'p']);
        out.clear();
        put_ping(Transport::RawSocket, &mut out);
        assert_eq!(out, [1, 0, 0, 0]);
        assert!(parse(Transport::RawSocket, &[0x10, 0, 0, 0], 0).is_err());
    }
}
