//! A RawSocket from its first byte on, against the specification read by the letter.

use stentor::codec::Codec;
use stentor::transport::Framing;

use super::cuts::{outcome, short_rules};
use super::harness::{Connection, Event};

pub(super) fn feed(data: &[u8]) {
    if data.first() != Some(&0x7F) {
        return;
    }
    let mut reader = Reader { rest: data, events: Vec::new(), reply: Vec::new() };
    let fault = reader.read();
    let outcome = outcome(|| Connection::new(short_rules()), data);
    assert_eq!(outcome.error.map(|error| error.kind()), fault);
    assert_eq!(outcome.events, reader.events);
    assert_eq!(outcome.reply, reader.reply);
}

/// Reads all bytes at once.
struct Reader<'a> {
    rest: &'a [u8],
    events: Vec<Event>,
    reply: Vec<u8>,
}

impl Reader<'_> {
    /// The fault that ends the connection, if there is one before the bytes end.
    fn read(&mut self) -> Option<&'static str> {
        match self.handshake() {
            Ok(true) => {}
            Ok(false) => return None,
            Err(fault) => return Some(fault),
        }
        loop {
            match self.frame() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(fault) => return Some(fault),
            }
        }
    }

    fn handshake(&mut self) -> Result<bool, &'static str> {
        let &[_, settings, third, fourth, ref rest @ ..] = self.rest else { return Ok(false) };
        self.rest = rest;
        let codec = match settings % 16 {
            1 => Some(Codec::Json),
            2 => Some(Codec::MsgPack),
            3 => Some(Codec::Cbor),
            _ => None,
        };
        let (number, fault) = match codec {
            _ if third != 0 || fourth != 0 => (3, "rawsocket_handshake_reserved_bits"),
            None => (1, "rawsocket_serializer"),
            Some(codec) => {
                let peer_bytes = 512 << (settings / 16);
                self.reply.extend([0x7F, settings % 16, 0, 0]);
                self.events.push(Event::Opened(codec, Framing::RawSocket, peer_bytes));
                return Ok(true);
            }
        };
        self.reply.extend([0x7F, number * 16, 0, 0]);
        Err(fault)
    }

    fn frame(&mut self) -> Result<bool, &'static str> {
        let &[first, high, middle, low, ref rest @ ..] = self.rest else { return Ok(false) };
        let length = [high, middle, low].iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte));
        // The 25th bit of the length stands for 2^24 alone.
        let is_extended = first & 8 != 0;
        if first >= 16 || is_extended && length > 0 {
            return Err("rawsocket_reserved_bits");
        }
        if first & 7 > 2 {
            return Err("rawsocket_reserved_type");
        }
        if is_extended || length > ANNOUNCED_BYTES {
            return Err("message_too_big");
        }
        let Some(payload) = rest.get(..length) else { return Ok(false) };
        self.rest = &rest[length..];
        if first == 1 {
            self.reply.extend([2, high, middle, low]);
            self.reply.extend(payload);
        }
        let message = Event::Message(payload.to_vec());
        self.events.push(if first == 0 { message } else { Event::Control });
        Ok(true)
    }
}

/// The largest power of two that the rules allow, which is what the answer's length 0 means.
const ANNOUNCED_BYTES: usize = 512;
