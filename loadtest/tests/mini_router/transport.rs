//! Both transports with blocking sockets, server side: handshake, frames, serializers, compression.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde_json::Value;
use tungstenite::handshake::derive_accept_key;

#[derive(Clone, Copy)]
enum Format {
    Json,
    MessagePack,
    Cbor,
}

pub(super) struct Reader {
    stream: TcpStream,
    format: Format,
    websocket: bool,
    deflate: bool,
}

#[derive(Clone)]
pub(super) struct Writer {
    stream: Arc<Mutex<TcpStream>>,
    format: Format,
    websocket: bool,
    deflate: bool,
}

/// Does the handshake; `None` if the client went away, as a probe for the port does.
pub(super) fn accept(mut stream: TcpStream) -> Option<(Reader, Writer)> {
    stream.set_nodelay(true).ok()?;
    let mut first = [0; 4];
    stream.read_exact(&mut first).ok()?;
    let websocket = first[0] != 0x7f;
    let (format, deflate) = if websocket {
        upgrade(&mut stream, first)?
    } else {
        stream.write_all(&first).ok()?;
        let format = match first[1] & 0x0f {
            1 => Format::Json,
            2 => Format::MessagePack,
            _ => Format::Cbor,
        };
        (format, false)
    };
    let shared = Arc::new(Mutex::new(stream.try_clone().ok()?));
    let writer = Writer { stream: shared, format, websocket, deflate };
    Some((Reader { stream, format, websocket, deflate }, writer))
}

fn upgrade(stream: &mut TcpStream, first: [u8; 4]) -> Option<(Format, bool)> {
    let mut request = first.to_vec();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    let text = String::from_utf8(request).unwrap();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    let (key, protocol) = (field("Sec-WebSocket-Key:"), field("Sec-WebSocket-Protocol:"));
    let accept = derive_accept_key(key.as_bytes());
    let offers = text.contains("\r\nSec-WebSocket-Extensions: permessage-deflate; ");
    let extension = match text.split(' ').nth(1) {
        Some("/deflate") if offers => "permessage-deflate; server_no_context_takeover",
        Some("/context") if offers => "permessage-deflate",
        _ => "",
    };
    let field = match extension {
        "" => String::new(),
        _ => format!("Sec-WebSocket-Extensions: {extension}\r\n"),
    };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n{field}\r\n"
    );
    stream.write_all(answer.as_bytes()).ok()?;
    let format = match protocol {
        "wamp.2.json" => Format::Json,
        "wamp.2.msgpack" => Format::MessagePack,
        _ => Format::Cbor,
    };
    Some((format, !extension.is_empty()))
}

fn deflated(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * message.len() + 100);
    let mut state = Compress::new(Compression::default(), false);
    state.compress_vec(message, &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - 4);
    out
}

fn inflated(mut message: Vec<u8>) -> Vec<u8> {
    message.extend([0, 0, 0xff, 0xff]);
    let mut out = Vec::with_capacity(100 * message.len());
    let mut state = Decompress::new(false);
    state.decompress_vec(&message, &mut out, FlushDecompress::Sync).unwrap();
    assert_eq!(state.total_in(), message.len() as u64);
    out
}

impl Reader {
    pub(super) fn read(&mut self) -> Option<Value> {
        let body = if self.websocket { self.read_masked()? } else { self.read_raw()? };
        Some(match self.format {
            Format::Json => serde_json::from_slice(&body).unwrap(),
            Format::MessagePack => rmp_serde::from_slice(&body).unwrap(),
            Format::Cbor => ciborium::from_reader(&body[..]).unwrap(),
        })
    }

    fn read_raw(&mut self) -> Option<Vec<u8>> {
        let header: [u8; 4] = self.take(4)?.try_into().unwrap();
        self.take(u32::from_be_bytes(header) as usize)
    }

    fn read_masked(&mut self) -> Option<Vec<u8>> {
        let header = self.take(2)?;
        assert!(header[0] & 0x80 != 0 && header[1] & 0x80 != 0, "whole masked frames only");
        let compressed = header[0] & 0x40 != 0;
        assert!(self.deflate || !compressed, "nobody agreed to compression");
        let length = match header[1] & 0x7f {
            126 => u16::from_be_bytes(self.take(2)?.try_into().unwrap()).into(),
            127 => u64::from_be_bytes(self.take(8)?.try_into().unwrap()) as usize,
            short => short.into(),
        };
        let mask = self.take(4)?;
        let mut body = self.take(length)?;
        for (index, byte) in body.iter_mut().enumerate() {
            *byte ^= mask[index % 4];
        }
        assert!(!self.deflate || body.len() < 512 || compressed, "what is long is compressed");
        Some(if compressed { inflated(body) } else { body })
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }
}

impl Writer {
    /// Sends one message; a client that went away is no concern.
    pub(super) fn send(&self, message: &Value) {
        let _ = self.stream.lock().unwrap().write_all(&self.frame(message));
    }

    /// Sends one message and closes this side: both may arrive at once.
    pub(super) fn send_last(&self, message: &Value) {
        let mut stream = self.stream.lock().unwrap();
        let _ = stream.write_all(&self.frame(message));
        let _ = stream.shutdown(Shutdown::Write);
    }

    fn frame(&self, message: &Value) -> Vec<u8> {
        let mut body = Vec::new();
        match self.format {
            Format::Json => body = serde_json::to_vec(message).unwrap(),
            Format::MessagePack => body = rmp_serde::to_vec(message).unwrap(),
            Format::Cbor => ciborium::into_writer(message, &mut body).unwrap(),
        }
        let mut frame = (body.len() as u32).to_be_bytes().to_vec();
        if self.websocket {
            let mut opcode = if matches!(self.format, Format::Json) { 0x81 } else { 0x82 };
            // Short ones go as they are, to have both.
            if self.deflate && body.len() >= 150 {
                body = deflated(&body);
                opcode |= 0x40;
            }
            frame = vec![opcode, 126];
            match u16::try_from(body.len()) {
                Ok(short @ 0..126) => frame[1] = short as u8,
                Ok(medium) => frame.extend(medium.to_be_bytes()),
                Err(_) => {
                    frame[1] = 127;
                    frame.extend((body.len() as u64).to_be_bytes());
                }
            }
        }
        frame.extend(body);
        frame
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.stream, &other.stream)
    }
}
