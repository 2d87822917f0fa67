//! What the three serializers have in common: a document is a series of tokens.
//!
//! A token is one scalar, or the head of a list or dict whose elements follow. Work that a skipped
//! value does not need (unescaping, base64, float parsing) waits until somebody asks.

use std::borrow::Cow;

use super::{Codec, DecodeError, DecodeFault, cbor, json_text};
use crate::wamp::Value;

/// Reads one document from front to back and checks all that it passes.
pub(super) trait Reader<'a>: Sized {
    const CODEC: Codec;
    /// An encoded list without elements.
    const EMPTY_LIST: &'static [u8];

    fn new(bytes: &'a [u8]) -> Result<Self, DecodeError>;

    /// Reads the next value's head, or all of it if it is a scalar.
    fn token(&mut self) -> Result<Token<'a>, DecodeError>;

    /// Reads a dict's key, and what separates it from the value. May be any token where the
    /// serializer allows keys that are not strings.
    fn key(&mut self) -> Result<Token<'a>, DecodeError>;

    /// Moves to the next element (of a dict: the next key), so that [`Self::position`] is its
    /// first byte; false if there is none, and then the end mark is read.
    fn advance(&mut self, sequence: &mut Sequence) -> Result<bool, DecodeError>;

    /// Reads an integer in its usual form; else `None`, and nothing is read: [`Self::token`] has
    /// to look.
    fn plain_uint(&mut self) -> Option<u64>;

    /// Reads a string that stands in the document as it is; else as [`Self::plain_uint`].
    fn plain_text(&mut self) -> Option<&'a str>;

    /// As [`Self::plain_text`], for a dict's key with what separates it from the value.
    fn plain_key(&mut self) -> Option<&'a str> {
        self.plain_text()
    }

    /// Reads a dict without entries; else false, and nothing is read.
    fn empty_dict(&mut self) -> bool;

    /// Checks and passes one scalar in its usual form; else false, and nothing is read.
    fn pass_plain(&mut self) -> bool;

    /// Bytes read so far.
    fn position(&self) -> usize;

    /// Checks that nothing follows the document.
    fn finish(&mut self) -> Result<(), DecodeError>;
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Token<'a> {
    /// Also CBOR's `undefined` and the MessagePack extension that stands for it.
    Null,
    Bool(bool),
    UInt(u64),
    /// Always negative.
    Int(i64),
    Float(f64),
    /// A JSON number that is no integer of 64 bits; its grammar is checked.
    Number(&'a str),
    Str(Text<'a>),
    Bytes(Binary<'a>),
    List(Sequence),
    Dict(Sequence),
    /// A CBOR tag: the value that it tags follows.
    Tag,
    /// A scalar that WAMP does not know; the text names it.
    Foreign(&'static str),
}

/// A checked string.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text<'a> {
    Plain(&'a str),
    /// JSON with escapes, in its quotes.
    Escaped(&'a str),
    /// CBOR of indefinite length, from its head to its end mark.
    Chunked(&'a [u8]),
}

/// Checked binary data.
#[derive(Clone, Copy, Debug)]
pub(super) enum Binary<'a> {
    Plain(&'a [u8]),
    /// Base64 without escapes.
    Base64(&'a str),
    /// A JSON string of NUL and base64 that has further escapes, in its quotes.
    Escaped(&'a str),
    /// CBOR of indefinite length, from its head to its end mark.
    Chunked(&'a [u8]),
}

/// A list or dict that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequence {
    pub(super) extent: Extent,
    pub(super) is_dict: bool,
    /// Of a dict: the key is read, its value is next. For [`super::scan::Scan::skip`] only.
    pub(super) at_value: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Extent {
    /// So many elements (of a dict: pairs) are left.
    Counted(u64),
    /// Until the end mark; `fresh` before the first element.
    Marked { fresh: bool },
}

impl Sequence {
    pub(super) const fn list(extent: Extent) -> Self {
        Self { extent, is_dict: false, at_value: false }
    }

    pub(super) const fn dict(extent: Extent) -> Self {
        Self { extent, is_dict: true, at_value: false }
    }
}

impl Extent {
    /// The next element of a counted sequence; false if there is none.
    pub(super) const fn count_down(left: &mut u64) -> bool {
        match left.checked_sub(1) {
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        }
    }
}

impl Token<'_> {
    /// For error messages.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::UInt(_) => "an integer",
            Self::Int(_) => "a negative integer",
            Self::Float(_) => "a float",
            Self::Number(text) if text.contains(['.', 'e', 'E']) => "a float",
            Self::Number(_) => "an integer beyond 64 bits",
            Self::Str(_) => "a string",
            Self::Bytes(_) => "binary data",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Tag => "a CBOR tag",
            Self::Foreign(what) => what,
        }
    }

    /// A whole number, also where it is a float of a binary serializer: wampy.js writes so every
    /// integer above 2^32 - 1.
    pub(super) fn whole(self) -> Option<u64> {
        match self {
            Self::UInt(number) => Some(number),
            Self::Float(number) if number.fract() == 0.0 && number > 0.0 => Some(number as u64),
            _ => None,
        }
    }

    /// What the value of a scalar owns besides itself, at most.
    pub(super) const fn heap_bytes(&self) -> usize {
        match self {
            Self::Str(Text::Plain(text) | Text::Escaped(text)) => text.len(),
            Self::Bytes(Binary::Base64(text) | Binary::Escaped(text)) => text.len(),
            Self::Str(Text::Chunked(bytes)) => bytes.len(),
            Self::Bytes(Binary::Plain(bytes) | Binary::Chunked(bytes)) => bytes.len(),
            _ => 0,
        }
    }

    /// The value of a scalar, `None` for lists, dicts and tags.
    pub(super) fn scalar(self) -> Result<Option<Value>, DecodeError> {
        Ok(Some(match self {
            Self::Null => Value::Null,
            Self::Bool(truth) => Value::Bool(truth),
            Self::UInt(number) => Value::UInt(number),
            Self::Int(number) => Value::Int(number),
            Self::Float(number) => Value::Float(number),
            Self::Number(text) => Value::Float(json_text::parse_float(text)?),
            Self::Str(text) => Value::Str(text.read()?.into_owned()),
            Self::Bytes(binary) => Value::Bytes(binary.read()?.into_owned()),
            Self::List(_) | Self::Dict(_) | Self::Tag => return Ok(None),
            Self::Foreign(what) => return Err(DecodeFault::Foreign { what }.into()),
        }))
    }
}

impl<'a> Text<'a> {
    pub(super) fn read(self) -> Result<Cow<'a, str>, DecodeError> {
        match self {
            Self::Plain(text) => Ok(Cow::Borrowed(text)),
            Self::Escaped(quoted) => json_text::unescape(quoted).map(Cow::Owned),
            Self::Chunked(bytes) => cbor::join_text(bytes).map(Cow::Owned),
        }
    }

    /// What is only compared with names: URIs, keys, choices. In place of a lone surrogate it has a
    /// control character, so that no valid name equals it, and nobody but the sender is affected.
    pub(super) fn read_name(self) -> Result<Cow<'a, str>, DecodeError> {
        match self {
            Self::Escaped(quoted) => json_text::unescape_name(quoted).map(Cow::Owned),
            other => other.read(),
        }
    }
}

impl<'a> Binary<'a> {
    pub(super) fn read(self) -> Result<Cow<'a, [u8]>, DecodeError> {
        match self {
            Self::Plain(bytes) => Ok(Cow::Borrowed(bytes)),
            Self::Base64(text) => json_text::decode_base64(text).map(Cow::Owned),
            Self::Escaped(quoted) => {
                json_text::decode_base64(&json_text::unescape(quoted)?[1..]).map(Cow::Owned)
            }
            Self::Chunked(bytes) => cbor::join_bytes(bytes).map(Cow::Owned),
        }
    }
}
