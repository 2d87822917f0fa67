//! A client's transport: handshake and frames of RawSocket and WebSocket, seen from the other end.

use std::collections::VecDeque;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde_json::Value;

use super::Serializer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// The client takes messages of up to 2^(9 + exponent) bytes (TR-RS-02).
    RawSocket {
        exponent: u8,
    },
    WebSocket,
}

/// Something that the router sent, whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Incoming {
    /// The handshake succeeded.
    Opened,
    /// The handshake was refused: RawSocket's error or the HTTP status.
    Refused(u16),
    Message(Value),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A WebSocket close frame with its code; 0 if it has none.
    Close(u16),
}

#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) carrier: Carrier,
    pub(crate) serializer: Serializer,
    /// Where a WebSocket is opened.
    pub(crate) path: &'static str,
    /// Messages go in batches on a WebSocket, and in JSON this octet is behind each (TR-BAT-01).
    pub(crate) separator: Option<u8>,
    /// The router may take the other octet for it: before it has had a batch, or by what is in one.
    pub(crate) either_separator: bool,
    /// A WebSocket on which messages may be compressed, in both directions.
    pub(crate) deflate: bool,
    /// Messages of the router that came so.
    pub(crate) inflated: u64,
    unread: Vec<u8>,
    /// What came in one batch.
    ready: VecDeque<Value>,
    opened: bool,
}

impl Link {
    pub(crate) const fn new(carrier: Carrier, serializer: Serializer) -> Self {
        Self {
            carrier,
            serializer,
            path: "/",
            separator: None,
            either_separator: false,
            deflate: false,
            inflated: 0,
            unread: Vec::new(),
            ready: VecDeque::new(),
            opened: false,
        }
    }

    /// The separator, if messages go in batches.
    fn batching(&self) -> Option<u8> {
        self.separator.filter(|_| self.carrier == Carrier::WebSocket)
    }

    fn subprotocol(&self) -> String {
        let batched = if self.batching().is_some() { ".batched" } else { "" };
        format!("{}{batched}", self.serializer.subprotocol())
    }

    /// Bytes of one message that the router may send at most.
    pub(crate) const fn limit_bytes(&self) -> usize {
        match self.carrier {
            Carrier::RawSocket { exponent } => 1 << (9 + exponent),
            Carrier::WebSocket => usize::MAX,
        }
    }

    /// The client's first bytes.
    pub(crate) fn greeting(&self) -> Vec<u8> {
        match self.carrier {
            Carrier::RawSocket { exponent } => {
                vec![0x7F, exponent << 4 | self.serializer.rawsocket_id(), 0, 0]
            }
            Carrier::WebSocket => format!(
                "GET {} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {}\r\n{}\r\n",
                self.path,
                self.subprotocol(),
                if self.deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" }
            )
            .into_bytes(),
        }
    }

    /// One message as the frame of a client.
    pub(crate) fn message(&self, message: &Value) -> Vec<u8> {
        self.frame(&self.serializer.encode(message))
    }

    /// Any bytes where a message belongs.
    pub(crate) fn frame(&self, body: &[u8]) -> Vec<u8> {
        match self.carrier {
            Carrier::RawSocket { .. } => rawsocket_frame(0, body),
            Carrier::WebSocket => self.batch(&[body]),
        }
    }

    /// Messages in one frame of a WebSocket: as a batch if they go in batches, else there is one.
    pub(crate) fn batch(&self, bodies: &[&[u8]]) -> Vec<u8> {
        self.data_frame(&self.payload(bodies))
    }

    fn payload(&self, bodies: &[&[u8]]) -> Vec<u8> {
        let Some(separator) = self.batching() else { return bodies.concat() };
        let mut payload = Vec::new();
        for body in bodies {
            if self.serializer != Serializer::Json {
                payload.extend((body.len() as u32).to_be_bytes());
            }
            payload.extend_from_slice(body);
            if self.serializer == Serializer::Json {
                payload.push(separator);
            }
        }
        payload
    }

    /// The same messages in fewer frames, of up to `max_bytes` unless one alone has more, where
    /// they go in batches. `frames` are whole messages and nothing else.
    pub(crate) fn joined(&self, frames: &[u8], max_bytes: usize) -> Vec<u8> {
        if self.batching().is_none() {
            return frames.to_vec();
        }
        let (mut joined, mut rest) = (Vec::new(), frames);
        let (mut batch, mut message, mut is_compressed) = (Vec::new(), Vec::new(), false);
        while let [first, second, ..] = rest {
            let (start, length) = extent(rest, second & 0x7F).expect("a whole frame");
            let body = &rest[start + 4..start + 4 + length];
            let key = &rest[start..start + 4];
            message.extend(body.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
            rest = &rest[start + 4 + length..];
            is_compressed |= first & COMPRESSED != 0;
            if first & 0x80 == 0 {
                continue;
            }
            if std::mem::take(&mut is_compressed) {
                message = inflate(&message);
            }
            if !batch.is_empty() && batch.len() + message.len() > max_bytes {
                joined.extend(self.data_frame(&std::mem::take(&mut batch)));
            }
            batch.append(&mut message);
        }
        joined.extend(self.data_frame(&batch));
        joined
    }

    fn data_frame(&self, payload: &[u8]) -> Vec<u8> {
        let (opcode, payload) = self.packed(payload);
        websocket_frame(opcode, &payload)
    }

    /// Opcode, with the bit of what is compressed, and what follows. A third of them stay plain.
    fn packed(&self, payload: &[u8]) -> (u8, Vec<u8>) {
        let opcode = if self.serializer == Serializer::Json { TEXT } else { BINARY };
        match self.deflate && !payload.len().is_multiple_of(3) {
            true => (COMPRESSED | opcode, deflate(payload)),
            false => (opcode, payload.to_vec()),
        }
    }

    /// One message in two frames, where the transport has such a thing.
    pub(crate) fn fragments(&self, message: &Value, cut: usize) -> Vec<u8> {
        let body = self.serializer.encode(message);
        if !matches!(self.carrier, Carrier::WebSocket) {
            return self.frame(&body);
        }
        let (opcode, payload) = self.packed(&self.payload(&[&body]));
        let (head, tail) = payload.split_at(cut.min(payload.len()));
        let mut first = websocket_frame(opcode, head);
        first[0] &= 0x7F;
        first.extend(websocket_frame(0, tail));
        first
    }

    pub(crate) fn ping(&self, payload: &[u8]) -> Vec<u8> {
        match self.carrier {
            Carrier::RawSocket { .. } => rawsocket_frame(1, payload),
            Carrier::WebSocket => websocket_frame(PING, payload),
        }
    }

    pub(crate) fn pong(&self, payload: &[u8]) -> Vec<u8> {
        match self.carrier {
            Carrier::RawSocket { .. } => rawsocket_frame(2, payload),
            Carrier::WebSocket => websocket_frame(PONG, payload),
        }
    }

    /// The start of a frame that is larger than any router takes.
    pub(crate) fn oversized(&self) -> Vec<u8> {
        match self.carrier {
            Carrier::RawSocket { .. } => vec![8, 0, 0, 0],
            Carrier::WebSocket => {
                let text = self.serializer == Serializer::Json;
                let opcode = 0x80 | if text { TEXT } else { BINARY };
                vec![opcode, 0xFF, 0, 0, 0, 0, 0x7F, 0, 0, 0, 1, 2, 3, 4]
            }
        }
    }

    /// A frame that breaks the rules of the transport.
    pub(crate) fn broken(&self) -> Vec<u8> {
        match self.carrier {
            Carrier::RawSocket { .. } => vec![0x10, 0, 0, 1, b'x'],
            Carrier::WebSocket => vec![0x81, 1, b'x'],
        }
    }

    /// A batch that is not well-formed, where there are batches.
    pub(crate) fn broken_batch(&self, number: usize) -> Vec<u8> {
        let whole = self.payload(&[b"[]"]);
        match (self.batching(), number % 3) {
            (None, _) => self.broken(),
            (Some(_), 0) => self.data_frame(b""),
            (Some(_), 1) => self.data_frame(&whole[..whole.len() - 1]),
            (Some(_), _) => self.data_frame(&[&whole[..], &whole[..1]].concat()),
        }
    }

    /// A message of the type that belongs to other serializers; only WebSocket tells them apart.
    pub(crate) fn wrong_type(&self, message: &Value) -> Vec<u8> {
        let mut frame = self.message(message);
        if matches!(self.carrier, Carrier::WebSocket) {
            frame[0] ^= TEXT ^ BINARY;
        }
        frame
    }

    pub(crate) fn close(&self, code: u16) -> Vec<u8> {
        match self.carrier {
            Carrier::RawSocket { .. } => Vec::new(),
            Carrier::WebSocket => websocket_frame(CLOSE, &code.to_be_bytes()),
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.unread.is_empty() && self.ready.is_empty()
    }

    /// The next whole thing among the bytes fed so far. Panics on what no router may send.
    pub(crate) fn next(&mut self) -> Option<Incoming> {
        if let Some(message) = self.ready.pop_front() {
            return Some(Incoming::Message(message));
        }
        let (length, incoming) = match (self.opened, self.carrier) {
            (false, Carrier::RawSocket { .. }) => self.rawsocket_answer()?,
            (false, Carrier::WebSocket) => self.http_answer()?,
            (true, Carrier::RawSocket { .. }) => self.rawsocket_incoming()?,
            (true, Carrier::WebSocket) => self.websocket_incoming()?,
        };
        self.opened |= incoming == Incoming::Opened;
        self.unread.drain(..length);
        Some(incoming)
    }

    fn rawsocket_answer(&self) -> Option<(usize, Incoming)> {
        let &[magic, settings, high, low] = self.unread.first_chunk()?;
        assert_eq!((magic, high, low), (0x7F, 0, 0), "a RawSocket answer");
        let serializer = settings & 0x0F;
        if serializer == 0 {
            return Some((4, Incoming::Refused(u16::from(settings >> 4))));
        }
        assert_eq!(serializer, self.serializer.rawsocket_id(), "the serializer is echoed");
        Some((4, Incoming::Opened))
    }

    fn http_answer(&self) -> Option<(usize, Incoming)> {
        let end = self.unread.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&self.unread[..end]).expect("an HTTP head is text");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.expect("an HTTP answer has a status");
        if status != 101 {
            let length = head.split("Content-Length: ").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
            self.unread.get(end..end + length)?;
            return Some((end + length, Incoming::Refused(status)));
        }
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "the accept key of RFC 6455");
        let named = format!("\r\nSec-WebSocket-Protocol: {}\r\n", self.subprotocol());
        assert!(head.contains(&named), "the subprotocol is named");
        assert_eq!(head.contains("\r\nSec-WebSocket-Extensions: "), self.deflate);
        Some((end, Incoming::Opened))
    }

    fn rawsocket_incoming(&self) -> Option<(usize, Incoming)> {
        let &[kind, a, b, c] = self.unread.first_chunk()?;
        let length = match kind & 0x08 {
            0 => u32::from_be_bytes([0, a, b, c]) as usize,
            _ => 1 << 24,
        };
        let body = self.unread.get(4..4 + length)?;
        let incoming = match kind & !0x08 {
            0 => {
                assert!(length <= self.limit_bytes(), "a message within the announced limit");
                Incoming::Message(self.decode(body))
            }
            1 => Incoming::Ping(body.to_vec()),
            2 => Incoming::Pong(body.to_vec()),
            other => panic!("the router sent a frame of type {other}"),
        };
        Some((4 + length, incoming))
    }

    fn websocket_incoming(&mut self) -> Option<(usize, Incoming)> {
        let &[first, second] = self.unread.first_chunk()?;
        let is_compressed = first & 0xF0 == 0x80 | COMPRESSED && self.deflate;
        assert!(first & 0xF0 == 0x80 || is_compressed, "whole frames, and no other extension");
        let (start, length) = extent(&self.unread, second)?;
        let body = self.unread.get(start..start + length)?;
        let inflated = is_compressed.then(|| inflate(body));
        self.inflated += u64::from(is_compressed);
        let body = inflated.as_deref().unwrap_or(body);
        let incoming = match first & 0x0F {
            opcode @ (TEXT | BINARY) => {
                let text = self.serializer == Serializer::Json;
                assert_eq!(opcode == TEXT, text, "the message type of the subprotocol");
                match self.batching() {
                    None => Incoming::Message(self.decode(body)),
                    Some(separator) => {
                        let mut messages = self.decode_batch(body, separator);
                        let first = messages.pop_front().expect("a batch has a message");
                        self.ready = messages;
                        Incoming::Message(first)
                    }
                }
            }
            control if is_compressed => panic!("opcode {control} is compressed"),
            CLOSE => Incoming::Close(
                body.first_chunk().map_or(0, |code: &[u8; 2]| u16::from_be_bytes(*code)),
            ),
            PING => Incoming::Ping(body.to_vec()),
            PONG => Incoming::Pong(body.to_vec()),
            other => panic!("the router sent opcode {other}"),
        };
        Some((start + length, incoming))
    }

    fn decode_batch(&self, mut batch: &[u8], separator: u8) -> VecDeque<Value> {
        let mut messages = VecDeque::new();
        if self.serializer == Serializer::Json {
            let (last, all) = batch.split_last().expect("a batch has a message");
            let is_other = self.either_separator && [0x1E, 0x18].contains(last);
            assert!(*last == separator || is_other, "a separator behind each message");
            let each = all.split(|byte| byte == last);
            return each.map(|body| self.decode(body)).collect();
        }
        while let Some((length, rest)) = batch.split_first_chunk::<4>() {
            let (body, behind) = rest.split_at(u32::from_be_bytes(*length) as usize);
            messages.push_back(self.decode(body));
            batch = behind;
        }
        assert!(batch.is_empty(), "nothing is behind the last message");
        messages
    }

    fn decode(&self, body: &[u8]) -> Value {
        match self.serializer.decode(body) {
            Ok(message) => message,
            Err(error) => panic!("the router sent what is no message: {error}: {body:?}"),
        }
    }
}

/// Where the key or the body of a frame begins, and how long the body is; `short` is its length as
/// the second octet has it.
fn extent(frame: &[u8], short: u8) -> Option<(usize, usize)> {
    Some(match short {
        126 => {
            let length = frame.get(2..4)?.try_into().expect("two bytes");
            (4, u16::from_be_bytes(length) as usize)
        }
        127 => {
            let length = frame.get(2..10)?.try_into().expect("eight bytes");
            (10, u64::from_be_bytes(length) as usize)
        }
        short => (2, usize::from(short)),
    })
}

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut state = Compress::new(Compression::fast(), false);
    let mut out = Vec::with_capacity(2 * plain.len() + 100);
    state.compress_vec(plain, &mut out, FlushCompress::Sync).expect("there is room");
    out.truncate(out.len() - 4);
    out
}

/// Without a context (RFC 7692, 7.1.1.1).
fn inflate(bytes: &[u8]) -> Vec<u8> {
    let bytes = [bytes, &[0, 0, 0xFF, 0xFF]].concat();
    let (mut state, mut out) = (Decompress::new(false), Vec::new());
    while (state.total_in() as usize) < bytes.len() {
        let before = (state.total_in(), state.total_out());
        out.reserve(1 << 16);
        let rest = &bytes[before.0 as usize..];
        state.decompress_vec(rest, &mut out, FlushDecompress::Sync).expect("it is DEFLATE");
        assert_ne!(before, (state.total_in(), state.total_out()), "more of it is missing");
    }
    out
}

fn rawsocket_frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (body.len() as u32).to_be_bytes();
    let mut frame = vec![kind, a, b, c];
    frame.extend_from_slice(body);
    frame
}

fn websocket_frame(opcode: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match body.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let key = [0x37, 0xFA, 0x21, body.len() as u8];
    frame.extend_from_slice(&key);
    frame.extend(body.iter().enumerate().map(|(index, byte)| byte ^ key[index % 4]));
    frame
}

const COMPRESSED: u8 = 0x40;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
