//! Payload from one serializer to another, as a stream: tokens of a reader go to a writer, and no
//! value is ever built.
//!
//! What takes memory besides the output is the list of what is open, which the nesting bounds, and
//! one entry per long list or dict whose length the reader does not know beforehand.

use std::marker::PhantomData;

use smallvec::SmallVec;

use super::cbor::CborReader;
use super::encode::{Writer, args_element, kwargs_element};
use super::json::JsonReader;
use super::msgpack::MsgPackReader;
use super::out::{Head, Out};
use super::token::{Extent, Reader, Sequence, Token};
use super::{Codec, DecodeError, DecodeFault, EncodeError, MAX_NESTING, json_text};
use crate::wamp::{Payload, PayloadBuf};

/// Bytes that one byte of payload becomes at most in another serializer. The worst case is an empty
/// byte string of CBOR, one byte, which JSON writes as `"\u0000",`; the next ones are CBOR's half
/// floats (25 bytes from 3), control characters and `false` (6 from 1).
pub const MAX_EXPANSION: usize = 9;

/// The payload as bytes of its own.
pub(super) fn transcode<W: Writer>(payload: Payload<'_>) -> Result<PayloadBuf, EncodeError> {
    let (has_args, has_kwargs, limit_bytes) = match payload {
        Payload::Empty => (false, false, 0),
        Payload::Raw { codec, args, kwargs } => {
            let length = args.len() + kwargs.map_or(0, <[u8]>::len);
            let expansion = if codec == W::CODEC { 1 } else { MAX_EXPANSION };
            (true, kwargs.is_some(), length * expansion)
        }
        Payload::Values { args, kwargs } => (!args.is_empty(), !kwargs.is_empty(), usize::MAX),
    };
    if !has_args && !has_kwargs {
        return Ok(PayloadBuf::Empty);
    }
    let mut bytes = Vec::new();
    if let Payload::Raw { args, kwargs, .. } = payload {
        bytes.reserve_exact(args.len() + kwargs.map_or(0, <[u8]>::len));
    }
    let mut out = Out::new(&mut bytes, limit_bytes);
    args_element::<W>(&mut out, payload)?;
    let args_len = out.len();
    if has_kwargs {
        kwargs_element::<W>(&mut out, payload)?;
    }
    debug_assert!(!out.is_full(), "a payload grew more than {MAX_EXPANSION} times");
    if out.is_full() {
        return Err(EncodeError::TooLarge { limit_bytes });
    }
    bytes.shrink_to_fit();
    Ok(PayloadBuf::Raw { codec: W::CODEC, bytes: bytes.into(), args_len, has_kwargs })
}

/// One document: copied if it is in the right serializer already.
pub(super) fn raw<W: Writer>(
    out: &mut Out<'_>,
    codec: Codec,
    bytes: &[u8],
) -> Result<(), EncodeError> {
    if codec == W::CODEC {
        out.extend(bytes);
        return Ok(());
    }
    document::<W>(out, codec, bytes, MAX_NESTING)
}

/// One document, which may be anything: it is checked while it is read. `nesting`: levels of lists
/// and dicts at most.
pub(super) fn document<W: Writer>(
    out: &mut Out<'_>,
    codec: Codec,
    bytes: &[u8],
    nesting: u16,
) -> Result<(), EncodeError> {
    let stream = Stream::<W>::new(nesting);
    match codec {
        Codec::Cbor => stream.document::<CborReader<'_>>(out, bytes),
        Codec::Json => stream.document::<JsonReader<'_>>(out, bytes),
        Codec::MsgPack => stream.document::<MsgPackReader<'_>>(out, bytes),
    }
}

/// A document on its way to the writer `W`.
struct Stream<W> {
    /// From the outermost list or dict to the innermost.
    open: SmallVec<[Open; 16]>,
    /// Lists and dicts with a head of more than the one byte that was left for it, as they ended.
    long: Vec<Long>,
    nesting: u16,
    writer: PhantomData<W>,
}

/// A list or dict of which elements are still to come.
struct Open {
    sequence: Sequence,
    /// Where its head is, if the reader did not know the length.
    head_at: Option<usize>,
    /// Elements so far.
    count: usize,
}

/// A head that is still to be written, in place of one byte.
struct Long {
    head_at: usize,
    count: usize,
    is_dict: bool,
}

impl<W: Writer> Stream<W> {
    fn new(nesting: u16) -> Self {
        Self { open: SmallVec::new(), long: Vec::new(), nesting, writer: PhantomData }
    }

    fn document<'a, R: Reader<'a>>(
        mut self,
        out: &mut Out<'_>,
        bytes: &'a [u8],
    ) -> Result<(), EncodeError> {
        let failed = |error: DecodeError| EncodeError::from_payload(error, W::CODEC);
        let mut reader = R::new(bytes).map_err(failed)?;
        loop {
            let token = reader.token().map_err(failed)?;
            match token {
                Token::List(sequence) | Token::Dict(sequence) => self.begin(out, sequence)?,
                scalar => write_scalar::<W>(out, scalar)?,
            }
            if !self.advance(out, &mut reader)? {
                break;
            }
        }
        if out.is_full() {
            return Ok(());
        }
        reader.finish().map_err(failed)?;
        self.write_long_heads(out)
    }

    /// Moves to the next value, past the ends of lists and dicts; false at the end of the document.
    fn advance<'a, R: Reader<'a>>(
        &mut self,
        out: &mut Out<'_>,
        reader: &mut R,
    ) -> Result<bool, EncodeError> {
        let failed = |error: DecodeError| EncodeError::from_payload(error, W::CODEC);
        if out.is_full() {
            return Ok(false);
        }
        while let Some(open) = self.open.last_mut() {
            if !reader.advance(&mut open.sequence).map_err(failed)? {
                self.end(out)?;
                continue;
            }
            if open.count > 0 {
                W::separate(out);
            }
            open.count += 1;
            if open.sequence.is_dict {
                let key = reader.key().map_err(failed)?;
                let Token::Str(key) = key else {
                    return Err(failed(not_a_string().into()));
                };
                W::key(out, &key.read().map_err(failed)?)?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    fn begin(&mut self, out: &mut Out<'_>, sequence: Sequence) -> Result<(), EncodeError> {
        if self.open.len() >= self.nesting.into() {
            let fault = DecodeFault::TooDeep { limit: self.nesting };
            return Err(EncodeError::Payload(fault.into()));
        }
        let (count, head_at) = match sequence.extent {
            Extent::Counted(count) => (count as usize, None),
            Extent::Marked { .. } => (0, W::IS_COUNTED.then_some(out.len())),
        };
        out.extend(head::<W>(count, sequence.is_dict)?.as_slice());
        self.open.push(Open { sequence, head_at, count: 0 });
        Ok(())
    }

    fn end(&mut self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        let Some(Open { sequence, head_at, count }) = self.open.pop() else { return Ok(()) };
        match head_at {
            Some(head_at) if !out.is_full() => {
                match *head::<W>(count, sequence.is_dict)?.as_slice() {
                    [byte] => out.written_mut()[head_at] = byte,
                    _ => self.long.push(Long { head_at, count, is_dict: sequence.is_dict }),
                }
            }
            _ => {}
        }
        if sequence.is_dict {
            W::end_dict(out)
        } else {
            W::end_list(out)
        }
        Ok(())
    }

    /// Moves what is behind the heads that need more than their byte, each byte once, and writes
    /// the heads.
    fn write_long_heads(mut self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        self.long.sort_unstable_by_key(|long| long.head_at);
        let mut extra = 0;
        for long in &self.long {
            extra += head::<W>(long.count, long.is_dict)?.as_slice().len() - 1;
        }
        let mut from_end = out.len();
        out.extend_with_zeros(extra);
        if out.is_full() {
            return Ok(());
        }
        let bytes = out.written_mut();
        let mut to_end = bytes.len();
        for long in self.long.iter().rev() {
            let behind = long.head_at + 1..from_end;
            to_end -= behind.len();
            bytes.copy_within(behind, to_end);
            let head = head::<W>(long.count, long.is_dict)?;
            let head = head.as_slice();
            to_end -= head.len();
            bytes[to_end..to_end + head.len()].copy_from_slice(head);
            from_end = long.head_at;
        }
        debug_assert_eq!(to_end, from_end, "every byte has found its place");
        Ok(())
    }
}

fn head<W: Writer>(count: usize, is_dict: bool) -> Result<Head, EncodeError> {
    if is_dict { W::dict_head(count) } else { W::list_head(count) }
}

fn write_scalar<W: Writer>(out: &mut Out<'_>, token: Token<'_>) -> Result<(), EncodeError> {
    let failed = |error: DecodeError| EncodeError::from_payload(error, W::CODEC);
    match token {
        Token::Null => W::null(out),
        Token::Bool(truth) => W::bool(out, truth),
        Token::UInt(number) => W::uint(out, number),
        Token::Int(number) => W::int(out, number),
        Token::Float(number) => W::float(out, number)?,
        Token::Number(text) => W::float(out, json_text::parse_float(text).map_err(failed)?)?,
        Token::Str(text) => W::str(out, &text.read().map_err(failed)?)?,
        Token::Bytes(binary) => W::bytes(out, &binary.read().map_err(failed)?)?,
        Token::Foreign(what) => return Err(failed(DecodeFault::Foreign { what }.into())),
        Token::Tag | Token::List(_) | Token::Dict(_) => {
            return Err(failed(DecodeFault::Foreign { what: "a CBOR tag" }.into()));
        }
    }
    Ok(())
}

const fn not_a_string() -> DecodeFault {
    DecodeFault::Foreign { what: "a key that is not a string" }
}
