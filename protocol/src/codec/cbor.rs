//! Reads CBOR (RFC 8949): definite and indefinite lengths, floats of all sizes.
//!
//! The tag 55799 in front of a message is skipped. Bignums that fit in 64 bits are integers, an
//! array of unsigned bytes is binary, `undefined` counts as null; other tags and simple values
//! pass through.

use minicbor::Decoder;
use minicbor::data::{IanaTag, Type};

use super::token::{Binary, Extent, Reader, Sequence, Text, Token};
use super::{Codec, DecodeError, DecodeFault};

pub(super) struct CborReader<'a> {
    decoder: Decoder<'a>,
}

impl<'a> Reader<'a> for CborReader<'a> {
    const CODEC: Codec = Codec::Cbor;
    const EMPTY_LIST: &'static [u8] = &[0x80];

    fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        if bytes.starts_with(&SELF_DESCRIBED) {
            decoder.set_position(SELF_DESCRIBED.len());
        }
        Ok(Self { decoder })
    }

    fn token(&mut self) -> Result<Token<'a>, DecodeError> {
        let start = self.decoder.position();
        let kind = self.decoder.datatype();
        let token = kind.and_then(|kind| self.token_of(kind));
        token.map_err(|error| malformed(describe(&error), start))
    }

    fn key(&mut self) -> Result<Token<'a>, DecodeError> {
        self.token()
    }

    fn advance(&mut self, sequence: &mut Sequence) -> Result<bool, DecodeError> {
        if let Extent::Counted(left) = &mut sequence.extent {
            return Ok(Extent::count_down(left));
        }
        let at = self.decoder.position();
        match self.decoder.input().get(at) {
            Some(&END_MARK) => {
                self.decoder.set_position(at + 1);
                Ok(false)
            }
            Some(_) => Ok(true),
            None => Err(malformed("unexpected end", at)),
        }
    }

    #[inline]
    fn plain_uint(&mut self) -> Option<u64> {
        let at = self.decoder.position();
        let (number, length) = match *self.decoder.input().get(at..)? {
            [number @ ..0x18, ..] => (number.into(), 1),
            [0x18, number, ..] => (number.into(), 2),
            [0x19, a, b, ..] => (u16::from_be_bytes([a, b]).into(), 3),
            [0x1a, a, b, c, d, ..] => (u32::from_be_bytes([a, b, c, d]).into(), 5),
            [0x1b, a, b, c, d, e, f, g, h, ..] => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 9),
            _ => return None,
        };
        self.decoder.set_position(at + length);
        Some(number)
    }

    #[inline]
    fn plain_text(&mut self) -> Option<&'a str> {
        let (text, end) = self.short_text()?;
        let text = std::str::from_utf8(text).ok()?;
        self.decoder.set_position(end);
        Some(text)
    }

    #[inline]
    fn empty_dict(&mut self) -> bool {
        let at = self.decoder.position();
        let is_empty = self.decoder.input().get(at) == Some(&0xa0);
        self.decoder.set_position(at + usize::from(is_empty));
        is_empty
    }

    #[inline]
    fn pass_plain(&mut self) -> bool {
        let at = self.decoder.position();
        let end = match self.decoder.input().get(at) {
            // Integers of one byte, false, true, null and undefined.
            Some(..0x18 | 0x20..0x38 | 0xf4..0xf8) => at + 1,
            Some(0x60..0x79) => match self.short_text() {
                Some((text, end)) if text.is_ascii() => end,
                _ => return false,
            },
            _ => return false,
        };
        self.decoder.set_position(end);
        true
    }

    fn position(&self) -> usize {
        self.decoder.position()
    }

    fn finish(&mut self) -> Result<(), DecodeError> {
        let at = self.decoder.position();
        if at == self.decoder.input().len() { Ok(()) } else { Err(malformed("trailing bytes", at)) }
    }
}

impl<'a> CborReader<'a> {
    /// The bytes of a string with a head of one or two bytes, which is next, and where it ends.
    #[inline]
    fn short_text(&self) -> Option<(&'a [u8], usize)> {
        let at = self.decoder.position();
        let (text, head_bytes) = match self.decoder.input().get(at..)? {
            [head @ 0x60..0x78, rest @ ..] => (rest.get(..usize::from(head & 0x1f))?, 1),
            [0x78, length, rest @ ..] => (rest.get(..usize::from(*length))?, 2),
            _ => return None,
        };
        Some((text, at + head_bytes + text.len()))
    }

    fn token_of(&mut self, kind: Type) -> Result<Token<'a>, minicbor::decode::Error> {
        let decoder = &mut self.decoder;
        Ok(match kind {
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => Token::UInt(decoder.u64()?),
            Type::I8 | Type::I16 | Type::I32 | Type::I64 => Token::Int(decoder.i64()?),
            Type::Int => {
                decoder.int()?;
                Token::Foreign(BEYOND_64_BITS)
            }
            Type::String => Token::Str(Text::Plain(decoder.str()?)),
            Type::Bytes => Token::Bytes(Binary::Plain(decoder.bytes()?)),
            Type::Array | Type::ArrayIndef => Token::List(Sequence::list(extent(decoder.array()?))),
            Type::Map | Type::MapIndef => Token::Dict(Sequence::dict(extent(decoder.map()?))),
            Type::Bool => Token::Bool(decoder.bool()?),
            Type::Null => {
                decoder.null()?;
                Token::Null
            }
            Type::Undefined => {
                decoder.undefined()?;
                Token::Null
            }
            Type::F16 | Type::F32 | Type::F64 => Token::Float(decoder.f64()?),
            Type::StringIndef | Type::BytesIndef => self.chunked(kind)?,
            Type::Tag => self.tagged()?,
            Type::Simple => self.simple()?,
            Type::Break | Type::Unknown(_) => {
                return Err(minicbor::decode::Error::message("reserved"));
            }
        })
    }

    /// A string of indefinite length: every chunk is checked, none is copied.
    fn chunked(&mut self, kind: Type) -> Result<Token<'a>, minicbor::decode::Error> {
        let start = self.decoder.position();
        if kind == Type::StringIndef {
            self.decoder.str_iter()?.try_for_each(|chunk| chunk.map(drop))?;
        } else {
            self.decoder.bytes_iter()?.try_for_each(|chunk| chunk.map(drop))?;
        }
        let whole = &self.decoder.input()[start..self.decoder.position()];
        Ok(match kind {
            Type::StringIndef => Token::Str(Text::Chunked(whole)),
            _ => Token::Bytes(Binary::Chunked(whole)),
        })
    }

    fn tagged(&mut self) -> Result<Token<'a>, minicbor::decode::Error> {
        let tag = self.decoder.tag()?;
        // What JavaScript clients make of a Uint8Array: binary, to everybody else (RFC 8746, 2.1).
        if tag.as_u64() == UINT8_ARRAY && self.decoder.datatype()? == Type::Bytes {
            return Ok(Token::Bytes(Binary::Plain(self.decoder.bytes()?)));
        }
        let negative = tag == IanaTag::NegBignum;
        let is_bignum = negative || tag == IanaTag::PosBignum;
        if !is_bignum || self.decoder.datatype()? != Type::Bytes {
            return Ok(Token::Tag);
        }
        let number = self
            .decoder
            .bytes()?
            .iter()
            .try_fold(0_u64, |number, byte| Some(number.checked_mul(256)? + u64::from(*byte)));
        Ok(match number {
            Some(number) if !negative => Token::UInt(number),
            Some(number) if i64::try_from(number).is_ok() => Token::Int(!(number as i64)),
            _ => Token::Foreign(BEYOND_64_BITS),
        })
    }

    fn simple(&mut self) -> Result<Token<'a>, minicbor::decode::Error> {
        let start = self.decoder.position();
        let number = self.decoder.simple()?;
        let is_long = self.decoder.position() - start > 1;
        if is_long && number < FIRST_LONG_SIMPLE {
            return Err(minicbor::decode::Error::message("reserved"));
        }
        Ok(Token::Foreign("a CBOR simple value"))
    }
}

/// The text of a checked string of indefinite length.
pub(super) fn join_text(bytes: &[u8]) -> Result<String, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let joined = decoder.str_iter().and_then(Iterator::collect);
    joined.map_err(|error| malformed(describe(&error), 0))
}

/// The content of a checked byte string of indefinite length.
pub(super) fn join_bytes(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut joined = Vec::new();
    let mut decoder = Decoder::new(bytes);
    let chunks = decoder.bytes_iter();
    let all = chunks.and_then(|mut chunks| {
        chunks.try_for_each(|chunk| chunk.map(|chunk| joined.extend_from_slice(chunk)))
    });
    match all {
        Ok(()) => Ok(joined),
        Err(error) => Err(malformed(describe(&error), 0)),
    }
}

const fn extent(length: Option<u64>) -> Extent {
    match length {
        Some(length) => Extent::Counted(length),
        None => Extent::Marked { fresh: true },
    }
}

fn describe(error: &minicbor::decode::Error) -> &'static str {
    if error.is_end_of_input() { "unexpected end" } else { "an invalid item" }
}

#[cold]
fn malformed(what: &'static str, offset: usize) -> DecodeError {
    DecodeFault::Malformed { codec: Codec::Cbor, what, offset }.into()
}

/// The tag 55799, which says "this is CBOR" and nothing more.
const SELF_DESCRIBED: [u8; 3] = [0xd9, 0xd9, 0xf7];
/// Ends a list, dict or string of indefinite length.
const END_MARK: u8 = 0xff;
/// The form of two bytes must not be used for a smaller simple value (RFC 8949, 3.3).
const FIRST_LONG_SIMPLE: u8 = 32;
/// The tag of an array of unsigned bytes.
const UINT8_ARRAY: u64 = 64;
const BEYOND_64_BITS: &str = "an integer beyond 64 bits";

#[cfg(test)]
mod tests {
    use super::super::{DecodeLimits, decode};
    use super::*;
    use crate::wamp::{ClientMessage, Value};

    fn value(bytes: &[u8]) -> Result<Value, DecodeFault> {
        let value = super::super::decode_value(Codec::Cbor, bytes);
        value.map_err(|error| error.fault().clone())
    }

    /// TR-CBOR-01.
    #[test]
    fn indefinite_lengths_are_read() {
        let text = b"\x7f\x61a\x60\x62bc\xff";
        assert_eq!(value(text), Ok(Value::from("abc")));
        assert_eq!(value(b"\x5f\x41a\x41b\xff"), Ok(Value::Bytes(b"ab".to_vec())));
        let list = Value::List(vec![Value::UInt(1), Value::List(Vec::new())]);
        assert_eq!(value(b"\x9f\x01\x9f\xff\xff"), Ok(list));
        let dict = Value::Dict(vec![("a".into(), Value::UInt(1))]);
        assert_eq!(value(b"\xbf\x61a\x01\xff"), Ok(dict));
    }

    /// TR-CBOR-01.
    #[test]
    fn floats_of_every_size_are_read() {
        assert_eq!(value(b"\xf9\x3c\x00"), Ok(Value::Float(1.0)));
        assert_eq!(value(b"\xf9\xfc\x00"), Ok(Value::Float(f64::NEG_INFINITY)));
        assert_eq!(value(b"\xfa\x3f\xc0\x00\x00"), Ok(Value::Float(1.5)));
    }

    #[test]
    fn integers_and_bignums_are_exact() {
        assert_eq!(value(b"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff"), Ok(Value::Int(i64::MIN)));
        let beyond = value(b"\x3b\x80\x00\x00\x00\x00\x00\x00\x00");
        assert!(matches!(beyond, Err(DecodeFault::Foreign { .. })));
        assert_eq!(value(b"\xc2\x42\x01\x00"), Ok(Value::UInt(256)));
        assert_eq!(value(b"\xc3\x41\x00"), Ok(Value::Int(-1)));
        let wide = value(b"\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00");
        assert!(matches!(wide, Err(DecodeFault::Foreign { .. })));
    }

    #[test]
    fn a_typed_array_of_bytes_is_binary() {
        assert_eq!(value(b"\xd8\x40\x42ab"), Ok(Value::Bytes(b"ab".to_vec())));
        assert!(matches!(value(b"\xd8\x40\x62ab"), Err(DecodeFault::Foreign { .. })));
    }

    #[test]
    fn what_wamp_does_not_know_is_only_passed_on() {
        let foreign: [&[u8]; 4] =
            [b"\xc1\x1a\x00\x00\x00\x01", b"\xf8\x20", b"\xe0", b"\xa1\x01\x02"];
        for item in foreign {
            assert!(matches!(value(item), Err(DecodeFault::Foreign { .. })), "{item:?}");
            let bytes = [b"\x85\x10\x01\xa0\x61a\x81", item].concat();
            assert!(decode(Codec::Cbor, &bytes, DecodeLimits { nesting: 64 }).is_ok(), "{item:?}");
        }
        assert_eq!(value(b"\xf7"), Ok(Value::Null), "undefined");
        let tags = [&[0xc1; 200_000][..], &[0]].concat();
        assert!(value(&tags).is_err());
    }

    #[test]
    fn malformed_items_are_refused() {
        let malformed: [&[u8]; 11] = [
            b"",
            b"\x1c",
            b"\xff",
            b"\xf8\x10",
            b"\x61\xff",
            b"\x7f\x41a\xff",
            b"\x7f\x61a",
            b"\x5f\x5f\xff\xff",
            b"\xbf\x61a\xff",
            b"\x00\x00",
            b"\xfc",
        ];
        for item in malformed {
            assert!(matches!(value(item), Err(DecodeFault::Malformed { .. })), "{item:02x?}");
        }
    }

    /// TR-CBOR-01.
    #[test]
    fn a_message_may_say_that_it_is_cbor() {
        let bytes = b"\xd9\xd9\xf7\x83\x18\x31\x01\xa0";
        let decoded = decode(Codec::Cbor, bytes, DecodeLimits { nesting: 64 });
        assert!(matches!(decoded, Ok(ClientMessage::Cancel(_))));
    }
}
