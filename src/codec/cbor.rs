//! Reads CBOR (RFC 8949): definite and indefinite lengths, floats of all sizes.
//!
//! The tag 55799 in front of a message is skipped. Bignums that fit in 64 bits are integers, and
//! `undefined` counts as null; other tags and simple values pass through.

use minicbor::Decoder;
use minicbor::data::{IanaTag, Type};

use super::token::{Binary, Extent, Reader, Sequence, Text, Token};
use super::{Codec, DecodeError};

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

    fn position(&self) -> usize {
        self.decoder.position()
    }

    fn finish(&mut self) -> Result<(), DecodeError> {
        let at = self.decoder.position();
        if at == self.decoder.input().len() { Ok(()) } else { Err(malformed("trailing bytes", at)) }
    }
}

impl<'a> CborReader<'a> {
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
    DecodeError::Malformed { codec: Codec::Cbor, what, offset }
}

/// The tag 55799, which says "this is CBOR" and nothing more.
const SELF_DESCRIBED: [u8; 3] = [0xd9, 0xd9, 0xf7];
/// Ends a list, dict or string of indefinite length.
const END_MARK: u8 = 0xff;
/// The form of two bytes must not be used for a smaller simple value (RFC 8949, 3.3).
const FIRST_LONG_SIMPLE: u8 = 32;
const BEYOND_64_BITS: &str = "an integer beyond 64 bits";
