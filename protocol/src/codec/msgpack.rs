//! Reads MessagePack (specification 5 and later: `str` and `bin` are different).
//!
//! Extension types pass through; type 0 with one zero byte, or none, stands for `undefined` as
//! wampy.js sends it, and counts as null.

use rmp::Marker;

use super::token::{Binary, Extent, Reader, Sequence, Text, Token};
use super::{Codec, DecodeError, DecodeFault};

pub(super) struct MsgPackReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> for MsgPackReader<'a> {
    const CODEC: Codec = Codec::MsgPack;
    const EMPTY_LIST: &'static [u8] = &[0x90];

    fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(Self { bytes, at: 0 })
    }

    fn token(&mut self) -> Result<Token<'a>, DecodeError> {
        let [byte] = self.array()?;
        match Marker::from_u8(byte) {
            Marker::FixPos(number) => Ok(Token::UInt(number.into())),
            Marker::FixNeg(number) => Ok(Token::Int(number.into())),
            Marker::FixStr(length) => self.text(length.into()),
            Marker::FixArray(length) => Ok(list(length.into())),
            Marker::FixMap(length) => Ok(dict(length.into())),
            Marker::Null => Ok(Token::Null),
            Marker::True => Ok(Token::Bool(true)),
            Marker::False => Ok(Token::Bool(false)),
            marker @ (Marker::U8 | Marker::U16 | Marker::U32 | Marker::U64) => self.uint(marker),
            marker @ (Marker::I8 | Marker::I16 | Marker::I32 | Marker::I64) => self.int(marker),
            Marker::F32 => Ok(Token::Float(f32::from_be_bytes(self.array()?).into())),
            Marker::F64 => Ok(Token::Float(f64::from_be_bytes(self.array()?))),
            marker => self.sized(marker),
        }
    }

    fn key(&mut self) -> Result<Token<'a>, DecodeError> {
        self.token()
    }

    fn advance(&mut self, sequence: &mut Sequence) -> Result<bool, DecodeError> {
        match &mut sequence.extent {
            Extent::Counted(left) => Ok(Extent::count_down(left)),
            Extent::Marked { .. } => Err(self.fail("MessagePack has no end marks")),
        }
    }

    #[inline]
    fn plain_uint(&mut self) -> Option<u64> {
        let rest = self.bytes.get(self.at..)?;
        let (number, length) = match *rest {
            [number @ ..0x80, ..] => (number.into(), 1),
            [0xcc, number, ..] => (number.into(), 2),
            [0xcd, a, b, ..] => (u16::from_be_bytes([a, b]).into(), 3),
            [0xce, a, b, c, d, ..] => (u32::from_be_bytes([a, b, c, d]).into(), 5),
            [0xcf, a, b, c, d, e, f, g, h, ..] => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 9),
            _ => return None,
        };
        self.at += length;
        Some(number)
    }

    #[inline]
    fn plain_text(&mut self) -> Option<&'a str> {
        let text = std::str::from_utf8(self.short_text()?).ok()?;
        self.pass_short_text(text.len());
        Some(text)
    }

    #[inline]
    fn empty_dict(&mut self) -> bool {
        let is_empty = self.bytes.get(self.at) == Some(&0x80);
        self.at += usize::from(is_empty);
        is_empty
    }

    #[inline]
    fn pass_plain(&mut self) -> bool {
        match self.bytes.get(self.at) {
            Some(..0x80 | 0xc0 | 0xc2 | 0xc3 | 0xe0..) => {
                self.at += 1;
                true
            }
            Some(0xa0..0xc0 | 0xd9) => match self.short_text() {
                Some(text) if text.is_ascii() => {
                    self.pass_short_text(text.len());
                    true
                }
                _ => false,
            },
            _ => false,
        }
    }

    fn position(&self) -> usize {
        self.at
    }

    fn finish(&mut self) -> Result<(), DecodeError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.fail("trailing bytes")) }
    }
}

impl<'a> MsgPackReader<'a> {
    #[cold]
    fn fail(&self, what: &'static str) -> DecodeError {
        DecodeFault::Malformed { codec: Codec::MsgPack, what, offset: self.at }.into()
    }

    /// The bytes of a string with a head of one or two bytes, which is next.
    #[inline]
    fn short_text(&self) -> Option<&'a [u8]> {
        match self.bytes.get(self.at..)? {
            [head @ 0xa0..0xc0, rest @ ..] => rest.get(..usize::from(head & 0x1f)),
            [0xd9, length, rest @ ..] => rest.get(..usize::from(*length)),
            _ => None,
        }
    }

    /// Passes what [`Self::short_text`] found.
    fn pass_short_text(&mut self, length: usize) {
        let is_fixed = self.bytes[self.at] != 0xd9;
        self.at += if is_fixed { 1 } else { 2 } + length;
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            Some(array) => {
                self.at += N;
                Ok(*array)
            }
            None => Err(self.fail("unexpected end")),
        }
    }

    fn take(&mut self, length: u32) -> Result<&'a [u8], DecodeError> {
        match self.bytes.get(self.at..).and_then(|rest| rest.get(..length as usize)) {
            Some(taken) => {
                self.at += taken.len();
                Ok(taken)
            }
            None => Err(self.fail("unexpected end")),
        }
    }

    fn uint(&mut self, marker: Marker) -> Result<Token<'a>, DecodeError> {
        Ok(Token::UInt(match marker {
            Marker::U8 => u8::from_be_bytes(self.array()?).into(),
            Marker::U16 => u16::from_be_bytes(self.array()?).into(),
            Marker::U32 => u32::from_be_bytes(self.array()?).into(),
            _ => u64::from_be_bytes(self.array()?),
        }))
    }

    /// A signed format may hold any sign.
    fn int(&mut self, marker: Marker) -> Result<Token<'a>, DecodeError> {
        let number = match marker {
            Marker::I8 => i8::from_be_bytes(self.array()?).into(),
            Marker::I16 => i16::from_be_bytes(self.array()?).into(),
            Marker::I32 => i32::from_be_bytes(self.array()?).into(),
            _ => i64::from_be_bytes(self.array()?),
        };
        Ok(match u64::try_from(number) {
            Ok(number) => Token::UInt(number),
            Err(_) => Token::Int(number),
        })
    }

    /// The formats with a length of their own in front.
    fn sized(&mut self, marker: Marker) -> Result<Token<'a>, DecodeError> {
        let length = match marker {
            Marker::Str8 | Marker::Bin8 | Marker::Ext8 => u8::from_be_bytes(self.array()?).into(),
            Marker::Str16 | Marker::Bin16 | Marker::Ext16 | Marker::Array16 | Marker::Map16 => {
                u16::from_be_bytes(self.array()?).into()
            }
            Marker::Str32 | Marker::Bin32 | Marker::Ext32 | Marker::Array32 | Marker::Map32 => {
                u32::from_be_bytes(self.array()?)
            }
            Marker::FixExt1 => 1,
            Marker::FixExt2 => 2,
            Marker::FixExt4 => 4,
            Marker::FixExt8 => 8,
            Marker::FixExt16 => 16,
            _ => return Err(self.fail("a reserved type byte")),
        };
        match marker {
            Marker::Str8 | Marker::Str16 | Marker::Str32 => self.text(length),
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
                Ok(Token::Bytes(Binary::Plain(self.take(length)?)))
            }
            Marker::Array16 | Marker::Array32 => Ok(list(length)),
            Marker::Map16 | Marker::Map32 => Ok(dict(length)),
            _ => self.extension(length),
        }
    }

    fn text(&mut self, length: u32) -> Result<Token<'a>, DecodeError> {
        match std::str::from_utf8(self.take(length)?) {
            Ok(text) => Ok(Token::Str(Text::Plain(text))),
            Err(_) => Err(self.fail("invalid UTF-8 in the string that ends")),
        }
    }

    fn extension(&mut self, length: u32) -> Result<Token<'a>, DecodeError> {
        let [kind] = self.array()?;
        Ok(match (kind, self.take(length)?) {
            (0, [] | [0]) => Token::Null,
            _ => Token::Foreign("a MessagePack extension"),
        })
    }
}

fn list<'a>(length: u32) -> Token<'a> {
    Token::List(Sequence::list(Extent::Counted(length.into())))
}

fn dict<'a>(length: u32) -> Token<'a> {
    Token::Dict(Sequence::dict(Extent::Counted(length.into())))
}

#[cfg(test)]
mod tests {
    use super::super::{DecodeLimits, decode};
    use super::*;
    use crate::wamp::Value;

    fn value(bytes: &[u8]) -> Result<Value, DecodeFault> {
        let value = super::super::decode_value(Codec::MsgPack, bytes);
        value.map_err(|error| error.fault().clone())
    }

    /// TR-MP-01.
    #[test]
    fn integers_of_every_format_are_exact() {
        assert_eq!(value(&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]), Ok(Value::Int(i64::MIN)));
        assert_eq!(value(&[0xd3, 0, 0, 0, 0, 0, 0, 0, 7]), Ok(Value::UInt(7)));
        assert_eq!(
            value(&[0xcf, 255, 255, 255, 255, 255, 255, 255, 255]),
            Ok(Value::UInt(u64::MAX))
        );
        assert_eq!(value(&[0xe0]), Ok(Value::Int(-32)));
    }

    /// TR-MP-01.
    #[test]
    fn strings_and_binary_data_differ() {
        assert_eq!(value(b"\xd9\x01a"), Ok(Value::from("a")));
        assert_eq!(value(b"\xc4\x01a"), Ok(Value::Bytes(b"a".to_vec())));
        assert!(matches!(value(b"\xa1\xff"), Err(DecodeFault::Malformed { .. })));
    }

    #[test]
    fn extensions_are_only_passed_on() {
        let foreign: [&[u8]; 4] =
            [b"\xd6\xff\0\0\0\0", b"\xc7\x01\x05a", b"\xd4\0\x01", b"\x81\x01\x02"];
        for item in foreign {
            assert!(matches!(value(item), Err(DecodeFault::Foreign { .. })), "{item:?}");
            let bytes = [b"\x95\x10\x01\x80\xa1a\x91", item].concat();
            assert!(decode(Codec::MsgPack, &bytes, DecodeLimits { nesting: 64 }).is_ok());
        }
        assert_eq!(value(b"\xd4\0\0"), Ok(Value::Null), "undefined");
    }

    #[test]
    fn malformed_items_are_refused() {
        let malformed: [&[u8]; 6] =
            [b"", b"\xc1", b"\xa2a", b"\x92\x01", b"\xdc\xff\xff\x01", b"\x01\x01"];
        for item in malformed {
            assert!(matches!(value(item), Err(DecodeFault::Malformed { .. })), "{item:02x?}");
        }
    }
}
