//! Frames of WebSocket and RawSocket as a client writes and reads them.

use stentor::codec::Codec;

/// What a peer sent on a transport that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Message(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A WebSocket close frame with its code, 0 if it has none.
    Close(u16),
    /// The end of the stream, in order or not.
    End,
}

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A masked frame. `opcode` is 0 for the continuation of a message.
pub(crate) fn websocket_frame(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x5A, 0xC3, 0x01, 0xFE];
    let mut frame = vec![u8::from(last) << 7 | opcode];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A RawSocket frame of type 0 (message), 1 (ping), 2 (pong) or a reserved one.
pub(crate) fn raw_frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let extended = if payload.len() == 1 << 24 { 8 } else { 0 };
    let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
    frame[0] = kind | extended;
    frame.extend_from_slice(payload);
    frame
}

/// The first octets of a RawSocket client that takes messages of up to 2^(9+`exponent`) bytes.
pub(crate) fn raw_handshake(codec: Codec, exponent: u8) -> [u8; 4] {
    let serializer = match codec {
        Codec::Json => 1,
        Codec::MsgPack => 2,
        Codec::Cbor => 3,
    };
    [0x7F, exponent << 4 | serializer, 0, 0]
}

pub(crate) fn subprotocol(codec: Codec) -> String {
    format!("wamp.2.{}", codec.as_str())
}

/// The head of a request that asks for a WebSocket.
pub(crate) fn http_upgrade(path: &str, protocols: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {protocols}\r\n\r\n"
    )
}

/// The first whole frame of what came, and how long it is.
pub(crate) fn parse_websocket(input: &[u8]) -> Option<(Frame, usize)> {
    let [first, second, rest @ ..] = input else { return None };
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (length, head) = match second {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*rest.first_chunk()?) as usize, 10),
        length => (usize::from(*length), 2),
    };
    let payload = input.get(head..head + length)?.to_vec();
    let frame = match first {
        0x81 | 0x82 => Frame::Message(payload),
        0x88 => Frame::Close(payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code))),
        0x89 => Frame::Ping(payload),
        0x8A => Frame::Pong(payload),
        _ => panic!("a WebSocket frame that starts with {first:#04x}"),
    };
    Some((frame, head + length))
}

/// The first whole frame of what came, and how long it is.
pub(crate) fn parse_raw(input: &[u8]) -> Option<(Frame, usize)> {
    let (&[first, a, b, c], rest) = input.split_first_chunk()?;
    let length = if first & 8 != 0 { 1 << 24 } else { u32::from_be_bytes([0, a, b, c]) as usize };
    let payload = rest.get(..length)?.to_vec();
    let frame = match first & !8 {
        0 => Frame::Message(payload),
        1 => Frame::Ping(payload),
        2 => Frame::Pong(payload),
        kind => panic!("a RawSocket frame of type {kind}"),
    };
    Some((frame, 4 + length))
}
