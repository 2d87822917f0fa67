//! RFC 6455 on the server's side: frames to messages, control frames, the closing handshake.
//!
//! A message in one frame is unmasked and left where it lies, and so is a batch of messages; only
//! fragments own memory, and only for bytes that have come. The HTTP part of the handshake lives in
//! `http`.

use std::borrow::Cow;
use std::ops::Range;
use std::{fmt, str};

use crate::codec::Codec;

use super::deflate::InflateError;
use super::framing::COMPRESSED_BIT;
use super::http::Chosen;
use super::{
    Batching, CloseCode, Framing, Inbound, Inflater, Stage, Step, TransportError, TransportRules,
    Violation, unmask,
};

/// A WebSocket whose handshake is over.
#[derive(Debug)]
pub(super) struct WebSocket {
    partial: Option<Box<Partial>>,
    codec: Codec,
    batching: Option<Batching>,
    is_deflated: bool,
    life: Life,
}

/// What has begun and is not over.
#[derive(Debug)]
enum Partial {
    Fragments(Fragments),
    Batch(Batch),
}

/// Which directions still work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Open,
    /// Our close frame was sent: nothing follows it, and only the peer's close matters.
    Closing,
    /// The peer closed, with this code if it gave one: nothing is read, and the echo is owed.
    PeerClosed(Option<u16>),
    /// The peer broke the protocol: nothing is read, and our close frame is owed.
    Broken,
    /// Nothing is read or sent.
    Closed,
}

/// The message that is still coming.
#[derive(Default)]
struct Fragments {
    bytes: Vec<u8>,
    /// So many bytes are whole, valid characters; binary messages do not use it.
    checked: usize,
    is_compressed: bool,
}

/// A batch of which some messages were taken, and some were not.
struct Batch {
    /// So many bytes of the input belong to it: its messages, or one that keeps the place while
    /// they are taken out of `own`.
    rest: usize,
    /// Its bytes, if it came in fragments or compressed.
    own: Vec<u8>,
    /// Where the next message begins in them.
    at: usize,
}

/// Not the bytes, of either: there may be a ticket among them.
impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("rest", &self.rest).finish_non_exhaustive()
    }
}

impl fmt::Debug for Fragments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fragments").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

struct Header {
    last: bool,
    is_compressed: bool,
    opcode: u8,
    key: [u8; 4],
    bytes: usize,
    payload: u64,
}

impl WebSocket {
    pub(super) const fn new(chosen: Chosen) -> Self {
        let Chosen { codec, is_batched, deflate } = chosen;
        let batching = if is_batched { Some(Batching::of(codec)) } else { None };
        Self { partial: None, codec, batching, is_deflated: deflate.is_some(), life: Life::Open }
    }

    pub(super) const fn is_deflated(&self) -> bool {
        self.is_deflated
    }

    pub(super) const fn batching(&self) -> Option<Batching> {
        self.batching
    }

    pub(super) const fn framing(&self) -> Framing {
        // Batches are compressed as a whole, when they are put together.
        match (self.is_text(), self.is_deflated && self.batching.is_none()) {
            (true, false) => Framing::WebSocketText,
            (false, false) => Framing::WebSocketBinary,
            (true, true) => Framing::DeflateText,
            (false, true) => Framing::DeflateBinary,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.life, Life::Open)
    }

    pub(super) const fn may_send(&self) -> bool {
        !matches!(self.life, Life::Closing | Life::Closed)
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.partial.as_deref().map_or(0, |partial| match partial {
            Partial::Fragments(fragments) => size_of::<Partial>() + fragments.bytes.capacity(),
            Partial::Batch(batch) => size_of::<Partial>() + batch.own.capacity(),
        })
    }

    pub(super) fn fail(&mut self) {
        self.partial = None;
        self.life = if self.may_send() { Life::Broken } else { Life::Closed };
    }

    pub(super) fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        stage: Stage,
        rules: &TransportRules,
        inflater: &mut Inflater,
        reply: &mut Vec<u8>,
    ) -> Result<Step<'a>, TransportError> {
        if !matches!(self.life, Life::Open | Life::Closing) {
            return Ok(Step::Done(input.len(), Inbound::Control));
        }
        if let Some(Partial::Batch(_)) = self.partial.as_deref() {
            return self.next_of_batch(input, stage, rules);
        }
        let header = match Header::parse(input, self.is_deflated)? {
            Ok(header) => header,
            Err(needed) => return Ok(Step::Need(needed)),
        };
        self.check(&header, stage, rules)?;
        let end = header.bytes + header.payload as usize;
        let Some(payload) = input.get_mut(header.bytes..end) else {
            return Ok(Step::Need(end));
        };
        unmask(payload, header.key);
        let inbound = match header.opcode {
            CLOSE => self.take_close(payload)?,
            PING if self.is_open() => {
                encode_control(PONG, payload, reply);
                Inbound::Control
            }
            PING | PONG => Inbound::Control,
            _ if !self.is_open() => Inbound::Control,
            _ if header.last && self.partial.is_none() && !header.is_compressed => {
                if self.batching.is_some() {
                    return self.begin_batch(payload, header.bytes, stage, rules);
                }
                self.whole_message(payload)?
            }
            _ => match self.take_part(payload, &header, stage, rules, inflater)? {
                Some(message) if self.batching.is_some() => {
                    return self.begin_own_batch(message, end, stage, rules);
                }
                Some(message) => Inbound::Assembled(message),
                None => Inbound::Control,
            },
        };
        Ok(Step::Done(end, inbound))
    }

    pub(super) fn encode_ping(&self, payload: &[u8], out: &mut Vec<u8>) {
        if self.is_open() {
            encode_control(PING, payload, out);
        }
    }

    pub(super) fn encode_close(&mut self, code: CloseCode, reason: &str, out: &mut Vec<u8>) {
        debug_assert!(code.is_allowed());
        match self.partial.as_deref_mut() {
            // What of the input is of no frame is still to be told from what is.
            Some(Partial::Batch(batch)) => batch.own = Vec::new(),
            _ => self.partial = None,
        }
        match std::mem::replace(&mut self.life, Life::Closed) {
            Life::Open => self.life = Life::Closing,
            Life::Broken => {}
            Life::PeerClosed(echo) => {
                let code = echo.map(u16::to_be_bytes);
                encode_control(CLOSE, code.as_ref().map_or(&[], <[u8; 2]>::as_slice), out);
                return;
            }
            life @ (Life::Closing | Life::Closed) => {
                self.life = life;
                return;
            }
        }
        let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES - 2)];
        out.extend_from_slice(&[0x80 | CLOSE, 2 + reason.len() as u8]);
        out.extend_from_slice(&u16::from(code).to_be_bytes());
        out.extend_from_slice(reason.as_bytes());
    }

    /// What the header alone decides, so that no byte of a refused body is waited for.
    fn check(
        &self,
        header: &Header,
        stage: Stage,
        rules: &TransportRules,
    ) -> Result<(), TransportError> {
        if header.is_control() {
            return Ok(());
        }
        let inside = self.partial.is_some();
        match header.opcode {
            _ if !self.is_open() => {}
            CONTINUATION if inside => {}
            CONTINUATION => return Err(TransportError::WebSocket(Violation::StrayContinuation)),
            _ if inside => {
                return Err(TransportError::WebSocket(Violation::NewMessageInsideFragments));
            }
            opcode if (opcode == TEXT) != self.is_text() => {
                return Err(TransportError::WrongMessageType { text: opcode == TEXT });
            }
            _ => {}
        }
        let before = match self.partial.as_deref() {
            Some(Partial::Fragments(fragments)) => fragments.bytes.len(),
            _ => 0,
        };
        check_length(header.payload.saturating_add(before as u64), stage, rules)
    }

    fn whole_message<'a>(&self, payload: &'a [u8]) -> Result<Inbound<'a>, TransportError> {
        if self.is_text() {
            let text = str::from_utf8(payload).map_err(|_| TransportError::InvalidUtf8)?;
            Ok(Inbound::Text(text))
        } else {
            Ok(Inbound::Message(payload))
        }
    }

    /// A part of a message, or one that is compressed: the message, if it is whole.
    fn take_part(
        &mut self,
        payload: &[u8],
        header: &Header,
        stage: Stage,
        rules: &TransportRules,
        inflater: &mut Inflater,
    ) -> Result<Option<Vec<u8>>, TransportError> {
        let limit = rules.limit(stage);
        let compressed = if header.last && self.partial.is_none() {
            Cow::Borrowed(payload)
        } else {
            match self.take_fragment(payload, header, limit)? {
                None => return Ok(None),
                Some((whole, false)) => return Ok(Some(whole)),
                Some((whole, true)) => Cow::Owned(whole),
            }
        };
        let message = inflater.inflate(&compressed, limit).map_err(|error| match error {
            InflateError::Malformed => TransportError::Inflate,
            InflateError::TooBig => TransportError::InflatedTooBig { limit, stage },
        })?;
        if self.is_text() && str::from_utf8(&message).is_err() {
            return Err(TransportError::InvalidUtf8);
        }
        Ok(Some(message))
    }

    /// All of a message that came in fragments, if this is the last one, and whether it is
    /// compressed.
    fn take_fragment(
        &mut self,
        payload: &[u8],
        header: &Header,
        limit: usize,
    ) -> Result<Option<(Vec<u8>, bool)>, TransportError> {
        let text = self.is_text();
        let is_compressed = header.is_compressed;
        let begin =
            || Box::new(Partial::Fragments(Fragments { is_compressed, ..Fragments::default() }));
        let Partial::Fragments(fragments) = &mut **self.partial.get_or_insert_with(begin) else {
            unreachable!("no frame is read before the batch at hand is over")
        };
        fragments.append(payload, limit);
        if text && !fragments.is_compressed {
            fragments.check_text(header.last)?;
        }
        if !header.last {
            return Ok(None);
        }
        let whole = (std::mem::take(&mut fragments.bytes), fragments.is_compressed);
        self.partial = None;
        Ok(Some(whole))
    }

    /// The first message of a batch that lies in the input behind `start` bytes.
    fn begin_batch<'a>(
        &mut self,
        batch: &'a [u8],
        start: usize,
        stage: Stage,
        rules: &TransportRules,
    ) -> Result<Step<'a>, TransportError> {
        let (message, next) = self.split(batch, stage, rules)?;
        let rest = batch.len() - next;
        if rest > 0 {
            self.partial = Some(Box::new(Partial::Batch(Batch { rest, own: Vec::new(), at: 0 })));
        }
        Ok(Step::Done(start + next, self.whole_message(&batch[message])?))
    }

    /// The first message of a batch that has come whole, in fragments or compressed, the last frame
    /// of which ends at `end` of the input.
    fn begin_own_batch<'a>(
        &mut self,
        mut own: Vec<u8>,
        end: usize,
        stage: Stage,
        rules: &TransportRules,
    ) -> Result<Step<'a>, TransportError> {
        let (message, at) = self.split(&own, stage, rules)?;
        if at == own.len() {
            own.truncate(message.end);
            own.drain(..message.start);
            return Ok(Step::Done(end, Inbound::Assembled(own)));
        }
        let first = own[message].to_vec();
        self.partial = Some(Box::new(Partial::Batch(Batch { rest: 1, own, at })));
        Ok(Step::Done(end - 1, Inbound::Assembled(first)))
    }

    /// The next message of the batch at hand.
    fn next_of_batch<'a>(
        &mut self,
        input: &'a [u8],
        stage: Stage,
        rules: &TransportRules,
    ) -> Result<Step<'a>, TransportError> {
        let mut partial = self.partial.take();
        let Some(Partial::Batch(batch)) = partial.as_deref_mut() else {
            unreachable!("a batch is at hand")
        };
        debug_assert!(batch.rest <= input.len());
        if !self.is_open() {
            return Ok(Step::Done(batch.rest, Inbound::Control));
        }
        let (consumed, inbound) = if batch.own.is_empty() {
            let (message, next) = self.split(&input[..batch.rest], stage, rules)?;
            batch.rest -= next;
            (next, self.whole_message(&input[message])?)
        } else {
            let bytes = &batch.own[batch.at..];
            let (message, next) = self.split(bytes, stage, rules)?;
            let message = bytes[message].to_vec();
            batch.at += next;
            let is_over = batch.at == batch.own.len();
            batch.rest -= usize::from(is_over);
            (usize::from(is_over), Inbound::Assembled(message))
        };
        if batch.rest > 0 {
            self.partial = partial;
        }
        Ok(Step::Done(consumed, inbound))
    }

    /// Where the first message lies in what is left of a batch, and where the next one begins.
    fn split(
        &mut self,
        batch: &[u8],
        stage: Stage,
        rules: &TransportRules,
    ) -> Result<(Range<usize>, usize), TransportError> {
        let batching = self.batching.as_mut().expect("who has a batch may send some");
        let (message, next) = batching.first(batch).map_err(TransportError::Batch)?;
        // The batch was within its limit, but that of a session that has ended since.
        check_length(message.len() as u64, stage, rules)?;
        Ok((message, next))
    }

    fn take_close(&mut self, payload: &[u8]) -> Result<Inbound<'static>, TransportError> {
        let mut code = None;
        if let Some((bytes, reason)) = payload.split_first_chunk() {
            let number = u16::from_be_bytes(*bytes);
            if !CloseCode::from(number).is_allowed() {
                return Err(TransportError::WebSocket(Violation::CloseCode(number)));
            }
            str::from_utf8(reason).map_err(|_| TransportError::InvalidUtf8)?;
            code = Some(number);
        } else if !payload.is_empty() {
            return Err(TransportError::WebSocket(Violation::ClosePayload));
        }
        self.partial = None;
        self.life = if self.is_open() { Life::PeerClosed(code) } else { Life::Closed };
        Ok(Inbound::Closed)
    }

    const fn is_text(&self) -> bool {
        matches!(self.codec, Codec::Json)
    }
}

impl Fragments {
    /// Room is doubled as a `Vec` does, but not beyond what the message may have.
    fn append(&mut self, payload: &[u8], limit: usize) {
        let needed = self.bytes.len() + payload.len();
        debug_assert!(needed <= limit);
        if needed > self.bytes.capacity() {
            let room = (2 * self.bytes.capacity()).min(limit).max(needed);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(payload);
    }

    /// Checks what is new; a character may be cut between two fragments, but not at the end.
    fn check_text(&mut self, last: bool) -> Result<(), TransportError> {
        match str::from_utf8(&self.bytes[self.checked..]) {
            Ok(_) => self.checked = self.bytes.len(),
            Err(error) if last || error.error_len().is_some() => {
                return Err(TransportError::InvalidUtf8);
            }
            Err(error) => self.checked += error.valid_up_to(),
        }
        Ok(())
    }
}

impl Header {
    /// Returns the header, or how many bytes must have come to read it.
    fn parse(input: &[u8], may_compress: bool) -> Result<Result<Self, usize>, TransportError> {
        let Some(&[first, second]) = input.first_chunk() else {
            return Ok(Err(2));
        };
        let short = second & 0x7F;
        let start = (first, second);
        check_start(start, short, may_compress).map_err(TransportError::WebSocket)?;
        let length_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let bytes = 2 + length_bytes + 4;
        let Some(head) = input.get(..bytes) else {
            return Ok(Err(bytes));
        };
        let (length, key) = head[2..].split_at(length_bytes);
        let payload = match length {
            [] => u64::from(short),
            _ => length.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        let violation = match length_bytes {
            8 if payload >> 63 != 0 => Some(Violation::LengthTopBit),
            8 if payload <= 0xFFFF => Some(Violation::LengthNotMinimal),
            2 if payload <= 125 => Some(Violation::LengthNotMinimal),
            _ => None,
        };
        match violation {
            Some(violation) => Err(TransportError::WebSocket(violation)),
            None => Ok(Ok(Self {
                last: first & 0x80 != 0,
                is_compressed: first & COMPRESSED_BIT != 0,
                opcode: first & 0x0F,
                key: [key[0], key[1], key[2], key[3]],
                bytes,
                payload,
            })),
        }
    }

    const fn is_control(&self) -> bool {
        self.opcode & 0x08 != 0
    }
}

fn check_length(bytes: u64, stage: Stage, rules: &TransportRules) -> Result<(), TransportError> {
    let limit = rules.limit(stage);
    if bytes > limit as u64 {
        return Err(TransportError::MessageTooBig { bytes, limit, stage });
    }
    Ok(())
}

/// What the first two octets alone decide.
const fn check_start(
    (first, second): (u8, u8),
    short: u8,
    may_compress: bool,
) -> Result<(), Violation> {
    let opcode = first & 0x0F;
    // RFC 7692, 6: only on the first frame of a message.
    let may_compress = may_compress && matches!(opcode, TEXT | BINARY);
    if first & 0x70 != 0 && !(may_compress && first & 0x70 == COMPRESSED_BIT) {
        return Err(Violation::ReservedBits);
    }
    if !matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) {
        return Err(Violation::ReservedOpcode(opcode));
    }
    if second & 0x80 == 0 {
        return Err(Violation::Unmasked);
    }
    if opcode & 0x08 != 0 {
        if first & 0x80 == 0 {
            return Err(Violation::ControlFragmented);
        }
        if short as usize > CONTROL_BYTES {
            return Err(Violation::ControlTooLong);
        }
    }
    Ok(())
}

fn encode_control(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    debug_assert!(payload.len() <= CONTROL_BYTES);
    out.extend_from_slice(&[0x80 | opcode, payload.len() as u8]);
    out.extend_from_slice(payload);
}

/// The most that a control frame carries.
pub(super) const CONTROL_BYTES: usize = 125;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
