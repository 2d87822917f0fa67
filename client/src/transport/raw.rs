//! RawSocket: the handshake of four octets, and frames with a header of four.

use bytes::{Buf, Bytes, BytesMut};
use stentor_protocol::wamp::Codec;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};

use super::{Connection, Incoming, READ_BYTES, Reader, Stream, Terms, WireError, Writer};
use crate::error::ConnectError;
use crate::url::Target;

pub(super) async fn handshake(
    target: &Target,
    mut stream: Stream,
    terms: Terms,
) -> Result<Connection, ConnectError> {
    let fail =
        |why: &str| ConnectError::Handshake { target: target.text.clone(), why: why.to_owned() };
    let serializer = match terms.codec {
        Codec::Json => 1,
        Codec::MsgPack => 2,
        Codec::Cbor => 3,
    };
    let exponent = exponent(terms.receives_bytes);
    let io = |error| ConnectError::Io { target: target.text.clone(), error };
    stream.write_all(&[MAGIC, exponent << 4 | serializer, 0, 0]).await.map_err(io)?;
    stream.flush().await.map_err(io)?;
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).await.map_err(io)?;
    let sends_bytes = match reply {
        [MAGIC, settings, 0, 0] if settings & 0x0F == serializer => {
            1_usize << (u32::from(settings >> 4) + LEAST_POWER)
        }
        [MAGIC, 0x10, ..] => return Err(fail("it does not have the serializer")),
        [MAGIC, 0x20, ..] => return Err(fail("it wants clients that take longer messages")),
        [MAGIC, 0x40, ..] => return Err(fail("it has as many connections as it takes")),
        [MAGIC, ..] => return Err(fail("it refuses the RawSocket handshake")),
        _ => return Err(fail("it does not answer in RawSocket")),
    };
    let (read, write) = tokio::io::split(stream);
    let limit = 1 << (u32::from(exponent) + LEAST_POWER);
    let limit = terms.receives_bytes.min(limit);
    Ok(Connection {
        reader: Reader::Raw(RawReader { read, buffer: BytesMut::new(), limit }),
        writer: Writer::Raw(RawWriter { write, waiting: BytesMut::new() }),
        sends_bytes,
        channel: None,
    })
}

/// The announced power of two that is no less than `bytes`, or the largest.
fn exponent(bytes: usize) -> u8 {
    let power = bytes.next_power_of_two().trailing_zeros();
    power.clamp(LEAST_POWER, MOST_POWER).wrapping_sub(LEAST_POWER) as u8
}

pub(crate) struct RawReader {
    read: ReadHalf<Stream>,
    /// The beginning of a frame, or several.
    buffer: BytesMut,
    limit: usize,
}

impl RawReader {
    pub(super) async fn next(&mut self) -> Result<Incoming, WireError> {
        loop {
            if let Some(incoming) = self.take()? {
                return Ok(incoming);
            }
            self.buffer.reserve(READ_BYTES);
            // Dropped while it waits, it has read nothing.
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                return Err(WireError::Closed);
            }
        }
    }

    /// A whole frame of those that have come.
    fn take(&mut self) -> Result<Option<Incoming>, WireError> {
        let Some(&[kind, a, b, c]) = self.buffer.first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let is_longest = kind & LONGEST != 0;
        if kind & 0xF0 != 0 || is_longest && length != 0 {
            return Err(WireError::Broken("reserved bits in the header of a frame".to_owned()));
        }
        let length = if is_longest { 1 << MOST_POWER } else { length };
        if length > self.limit {
            return Err(WireError::TooLong { bytes: length, limit: self.limit });
        }
        if self.buffer.len() < HEADER_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        let payload: Bytes = self.buffer.split_to(length).freeze();
        match kind & 0x07 {
            MESSAGE => Ok(Some(Incoming::Message(payload))),
            PING => Ok(Some(Incoming::Ping(payload))),
            PONG => Ok(Some(Incoming::Sign)),
            other => Err(WireError::Broken(format!("a frame of the reserved type {other}"))),
        }
    }
}

pub(crate) struct RawWriter {
    write: WriteHalf<Stream>,
    waiting: BytesMut,
}

impl RawWriter {
    pub(super) fn push(&mut self, message: Vec<u8>) {
        self.frame(MESSAGE, &message);
    }

    pub(super) fn pong(&mut self, payload: &[u8]) {
        self.frame(PONG, payload);
    }

    pub(super) fn ping(&mut self) {
        self.frame(PING, b"");
    }

    /// Messages are at most as long as the router takes, 2^24 bytes.
    fn frame(&mut self, kind: u8, payload: &[u8]) {
        let [high, a, b, c] = (payload.len() as u32).to_be_bytes();
        debug_assert!(payload.len() <= 1 << MOST_POWER, "the core bounds messages");
        let longest = if high != 0 { LONGEST } else { 0 };
        self.waiting.extend_from_slice(&[longest | kind, a, b, c]);
        self.waiting.extend_from_slice(payload);
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting.len()
    }

    pub(super) async fn flush(&mut self) -> Result<(), WireError> {
        while !self.waiting.is_empty() {
            // Dropped while it waits, it has taken nothing.
            if self.write.write_buf(&mut self.waiting).await? == 0 {
                return Err(WireError::Closed);
            }
        }
        Ok(self.write.flush().await?)
    }

    pub(super) async fn close(&mut self) -> Result<(), WireError> {
        self.flush().await?;
        Ok(self.write.shutdown().await?)
    }
}

const MAGIC: u8 = 0x7F;
const HEADER_BYTES: usize = 4;
const MESSAGE: u8 = 0;
const PING: u8 = 1;
const PONG: u8 = 2;

/// Of a frame of exactly 2^24 bytes, whose length is given as 0.
const LONGEST: u8 = 0x08;

/// Lengths are announced from 2^9 to 2^24.
const LEAST_POWER: u32 = 9;
const MOST_POWER: u32 = 24;
