//! Frames of a WebSocket, against RFC 6455 read by the letter.

use flate2::{Decompress, FlushDecompress, Status};
use stentor::transport::Stage;

use super::cuts::{HELLO_BYTES, MESSAGE_BYTES, outcome, short_rules};
use super::harness::{Connection, Event};

/// The first byte chooses serializer and stage, the others are what the client sends.
pub(super) fn feed(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let subprotocol = ["wamp.2.json", "wamp.2.msgpack", "wamp.2.cbor"][usize::from(choice % 3)];
    let (is_stranger, is_batched) = (choice & 0x80 != 0, choice & 0x40 != 0);
    let subprotocol = &format!("{subprotocol}{}", if is_batched { ".batched" } else { "" });
    let is_deflated = choice & 0x20 != 0;
    let make = || {
        let mut connection = match is_deflated {
            true => Connection::deflated(short_rules(), subprotocol),
            false => Connection::websocket(short_rules(), subprotocol),
        };
        connection.stage = if is_stranger { Stage::Establishing } else { Stage::Established };
        connection
    };
    let limit = if is_stranger { HELLO_BYTES } else { MESSAGE_BYTES };
    let is_text = choice.is_multiple_of(3);
    let mut reader =
        Reader { rest: bytes, is_text, is_batched, is_deflated, limit, ..Reader::default() };
    let fault = reader.read();
    let outcome = outcome(make, bytes);
    assert_eq!(outcome.error.map(|error| error.kind()), fault);
    assert_eq!(outcome.events, reader.events);
    assert_eq!(outcome.reply, reader.pongs);
    if let Some(error) = outcome.error {
        assert!(error.close_code().is_some(), "{error} closes an open WebSocket with a code");
    }
}

/// Reads all bytes at once.
#[derive(Default)]
struct Reader<'a> {
    rest: &'a [u8],
    is_text: bool,
    is_batched: bool,
    is_deflated: bool,
    /// What is behind each message of a batch in text, once one has come.
    separator: Option<u8>,
    limit: usize,
    events: Vec<Event>,
    pongs: Vec<u8>,
    /// The message of which more is to come.
    begun: Option<Vec<u8>>,
    /// It is compressed.
    is_compressed: bool,
}

struct Frame {
    is_last: bool,
    is_compressed: bool,
    /// It is a message of its own.
    is_whole: bool,
    opcode: u8,
    payload: Vec<u8>,
}

impl Reader<'_> {
    /// The fault that ends the connection, if there is one before the bytes end.
    fn read(&mut self) -> Option<&'static str> {
        while !self.rest.is_empty() && self.events.last() != Some(&Event::Closed) {
            match self.frame() {
                Err(fault) => return Some(fault),
                Ok(None) => return None,
                Ok(Some(frame)) => match self.take(frame) {
                    Err(fault) => return Some(fault),
                    Ok(Event::Message(batch)) if self.is_batched => {
                        if let Err(fault) = self.take_apart(&batch) {
                            return Some(fault);
                        }
                    }
                    Ok(event) => self.events.push(event),
                },
            }
        }
        None
    }

    /// 5.2: one frame; `None` if it has not come whole.
    fn frame(&mut self) -> Result<Option<Frame>, &'static str> {
        let &[first, second, ..] = self.rest else { return Ok(None) };
        let (opcode, is_last) = (first & 15, first >= 128);
        let is_control = opcode >= 8;
        // RFC 7692, 6: the first of them, on the first frame of a message.
        let is_compressed = self.is_deflated && [1, 2].contains(&opcode) && first & 0x70 == 0x40;
        if first & 0b0111_0000 != 0 && !is_compressed {
            return Err("websocket_reserved_bits");
        }
        if ![0, 1, 2, 8, 9, 10].contains(&opcode) {
            return Err("websocket_reserved_opcode");
        }
        if second < 128 {
            return Err("websocket_unmasked");
        }
        if is_control && !is_last {
            return Err("websocket_control_fragmented");
        }
        if is_control && second > 128 + 125 {
            return Err("websocket_control_too_long");
        }
        let (width, least) = match second - 128 {
            126 => (2, 126),
            127 => (8, 65_536),
            _ => (0, 0),
        };
        let (Some(long), Some(mask)) =
            (self.rest.get(2..2 + width), self.rest.get(2 + width..6 + width))
        else {
            return Ok(None);
        };
        let long = long.iter().fold(0u128, |sum, byte| sum * 256 + u128::from(*byte));
        let length = if width == 0 { u128::from(second - 128) } else { long };
        if length >= 1 << 63 {
            return Err("websocket_length_top_bit");
        }
        if length < least {
            return Err("websocket_length_not_minimal");
        }
        if !is_control {
            self.may_begin(opcode, length)?;
        }
        let start = 6 + width;
        let end = usize::try_from(start as u128 + length).unwrap_or(usize::MAX);
        let Some(body) = self.rest.get(start..end) else { return Ok(None) };
        let payload = body.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
        self.rest = &self.rest[end..];
        let is_whole = is_last && self.begun.is_none();
        Ok(Some(Frame { is_last, is_compressed, is_whole, opcode, payload }))
    }

    /// 5.4, and what the subprotocol and the limit demand, as soon as the header has come.
    fn may_begin(&self, opcode: u8, length: u128) -> Result<(), &'static str> {
        match (opcode, &self.begun) {
            (0, None) => return Err("websocket_stray_continuation"),
            (1 | 2, Some(_)) => return Err("websocket_new_message_inside_fragments"),
            (1 | 2, None) if (opcode == 1) != self.is_text => return Err("wrong_message_type"),
            _ => {}
        }
        let before = self.begun.as_ref().map_or(0, Vec::len) as u128;
        match before + length > self.limit as u128 {
            true if self.limit == HELLO_BYTES => Err("hello_too_big"),
            true => Err("message_too_big"),
            false => Ok(()),
        }
    }

    fn take(&mut self, frame: Frame) -> Result<Event, &'static str> {
        match frame.opcode {
            8 => return Self::close(&frame.payload),
            9 => {
                self.pongs.extend([0x8A, frame.payload.len() as u8]);
                self.pongs.extend(frame.payload);
                return Ok(Event::Control);
            }
            10 => return Ok(Event::Control),
            _ => {}
        }
        let mut message = self.begun.take().unwrap_or_default();
        message.extend(frame.payload);
        self.is_compressed |= frame.is_compressed;
        if self.is_compressed {
            if !frame.is_last {
                self.begun = Some(message);
                return Ok(Event::Control);
            }
            self.is_compressed = false;
            message = inflate(&message, self.limit).map_err(|is_too_big| {
                match (is_too_big, self.limit == HELLO_BYTES) {
                    (false, _) => "websocket_inflate",
                    (true, true) => "hello_too_big",
                    (true, false) => "message_too_big",
                }
            })?;
            let is_good = !self.is_text || str::from_utf8(&message).is_ok();
            return if is_good { Ok(Event::Message(message)) } else { Err("invalid_utf8") };
        }
        if self.is_text && !(self.is_batched && frame.is_whole) {
            // 8.1: a character may lie in two frames, but not in two messages.
            match String::from_utf8(message.clone()) {
                Err(error) if frame.is_last || error.utf8_error().error_len().is_some() => {
                    return Err("invalid_utf8");
                }
                _ => {}
            }
        }
        if frame.is_last {
            return Ok(Event::Message(message));
        }
        self.begun = Some(message);
        Ok(Event::Control)
    }

    /// The messages of a batch, up to the one at fault.
    fn take_apart(&mut self, mut batch: &[u8]) -> Result<(), &'static str> {
        if batch.is_empty() {
            return Err("batch_empty");
        }
        while !batch.is_empty() {
            let (message, behind) =
                if self.is_text { self.separated(batch)? } else { counted(batch)? };
            if self.is_text && str::from_utf8(message).is_err() {
                return Err("invalid_utf8");
            }
            self.events.push(Event::Message(message.to_vec()));
            batch = behind;
        }
        Ok(())
    }

    fn separated<'b>(&mut self, batch: &'b [u8]) -> Result<(&'b [u8], &'b [u8]), &'static str> {
        let ends = |octet: &u8| match self.separator {
            Some(separator) => *octet == separator,
            None => [0x1E, 0x18].contains(octet),
        };
        let end = batch.iter().position(ends).ok_or("batch_unterminated")?;
        self.separator = Some(batch[end]);
        Ok((&batch[..end], &batch[end + 1..]))
    }

    /// 5.5.1 and 7.4.
    fn close(payload: &[u8]) -> Result<Event, &'static str> {
        match payload {
            [] => {}
            [_] => return Err("websocket_close_payload"),
            [high, low, reason @ ..] => {
                let code = u16::from(*high) * 256 + u16::from(*low);
                if !matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999) {
                    return Err("websocket_close_code");
                }
                if String::from_utf8(reason.to_vec()).is_err() {
                    return Err("invalid_utf8");
                }
            }
        }
        Ok(Event::Closed)
    }
}

/// A message behind its length, and what is behind it.
fn counted(batch: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let Some((length, rest)) = batch.split_at_checked(4) else { return Err("batch_truncated") };
    let length = length.iter().fold(0, |sum, octet| sum * 256 + usize::from(*octet));
    rest.split_at_checked(length).ok_or("batch_truncated")
}

/// RFC 7692, 7.2.2, at once and into more room than a short message can ask for; a last block may
/// have the beginning of an empty one behind it. Whether it is too long, if it cannot be read.
fn inflate(bytes: &[u8], limit: usize) -> Result<Vec<u8>, bool> {
    let (mut state, mut plain) = (Decompress::new(false), Vec::with_capacity(1 << 20));
    let all = [bytes, &[0, 0, 0xFF, 0xFF]].concat();
    let status = state.decompress_vec(&all, &mut plain, FlushDecompress::Sync);
    if state.total_out() > limit as u64 {
        return Err(true);
    }
    let rest = all.len() - state.total_in() as usize;
    let is_good = match status {
        Err(_) => false,
        Ok(Status::StreamEnd) => rest == 4 || rest == 5 && bytes.ends_with(&[0]),
        Ok(_) => rest == 0,
    };
    if is_good { Ok(plain) } else { Err(false) }
}
