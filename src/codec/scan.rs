//! Walks documents of any serializer: skips values, builds them, and keeps the nesting in bounds.
//!
//! Skipping is a loop and building a recursion; both stop at the nesting limit.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::DecodeError;
use super::error::quote;
use super::token::{Reader, Sequence, Text, Token};
use crate::wamp::{Dict, Value};

pub(super) struct Scan<'a, R> {
    reader: R,
    bytes: &'a [u8],
    nesting: u16,
    /// Lists and dicts that are being read by callers.
    depth: usize,
}

/// The lists and dicts that surround what is being skipped.
type Open = SmallVec<[Sequence; 16]>;

/// Where in a message something stands, for error messages: a path of names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'p> {
    name: &'p str,
    parent: Option<&'p Self>,
}

impl<'a, R: Reader<'a>> Scan<'a, R> {
    pub(super) fn new(bytes: &'a [u8], nesting: u16) -> Result<Self, DecodeError> {
        Ok(Self { reader: R::new(bytes)?, bytes, nesting, depth: 0 })
    }

    pub(super) fn token(&mut self) -> Result<Token<'a>, DecodeError> {
        self.reader.token()
    }

    /// Must be called before the first [`Self::advance`] of a list or dict.
    pub(super) fn enter(&mut self) -> Result<(), DecodeError> {
        self.depth += 1;
        if self.depth > self.nesting.into() {
            return Err(DecodeError::TooDeep { limit: self.nesting });
        }
        Ok(())
    }

    /// As [`Reader::advance`]; at the end the list or dict counts as left.
    pub(super) fn advance(&mut self, sequence: &mut Sequence) -> Result<bool, DecodeError> {
        let more = self.reader.advance(sequence)?;
        self.depth -= usize::from(!more);
        Ok(more)
    }

    /// The key that [`Self::advance`] found in the dict at `place`.
    pub(super) fn key(&mut self, place: Place<'_>) -> Result<Cow<'a, str>, DecodeError> {
        match self.reader.key()? {
            Token::Str(text) => text.read(),
            other => Err(DecodeError::KeyType { place: place.path(), got: other.describe() }),
        }
    }

    pub(super) fn position(&self) -> usize {
        self.reader.position()
    }

    /// The bytes from `start` to here.
    pub(super) fn read_since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.reader.position()]
    }

    pub(super) fn finish(&mut self) -> Result<(), DecodeError> {
        debug_assert_eq!(self.depth, 0, "every list and dict was read to its end");
        self.reader.finish()
    }

    /// Reads and checks the rest of the value that `head` begins.
    pub(super) fn skip(&mut self, head: Token<'a>) -> Result<(), DecodeError> {
        let mut open = Open::new();
        let mut is_tagged = self.pass(&head, &mut open)?;
        loop {
            // Tokens are looked at in place: to move each of them costs more than to read it.
            let token = match open.last_mut() {
                _ if is_tagged => self.reader.token(),
                None => return Ok(()),
                Some(sequence) if sequence.at_value => {
                    sequence.at_value = false;
                    self.reader.token()
                }
                Some(sequence) => {
                    if !self.reader.advance(sequence)? {
                        open.pop();
                        continue;
                    }
                    sequence.at_value = sequence.is_dict;
                    if sequence.is_dict { self.reader.key() } else { self.reader.token() }
                }
            };
            match &token {
                Ok(token) => is_tagged = self.pass(token, &mut open)?,
                Err(_) => return token.map(drop),
            }
        }
    }

    /// Opens a list or dict; true for a tag, whose value is still to come.
    #[inline]
    fn pass(&self, token: &Token<'a>, open: &mut Open) -> Result<bool, DecodeError> {
        if let Token::List(sequence) | Token::Dict(sequence) = token {
            if self.depth + open.len() >= self.nesting.into() {
                return Err(DecodeError::TooDeep { limit: self.nesting });
            }
            open.push(*sequence);
        }
        Ok(matches!(token, Token::Tag))
    }

    /// Skips a dict whose keys must be strings; those of dicts inside may be anything.
    pub(super) fn skip_dict(
        &mut self,
        mut dict: Sequence,
        place: Place<'_>,
    ) -> Result<(), DecodeError> {
        self.enter()?;
        while self.advance(&mut dict)? {
            match self.reader.key()? {
                Token::Str(_) => {}
                other => {
                    let got = other.describe();
                    return Err(DecodeError::KeyType { place: place.path(), got });
                }
            }
            let value = self.token()?;
            self.skip(value)?;
        }
        Ok(())
    }

    /// The value that `head` begins.
    pub(super) fn value(&mut self, head: Token<'a>) -> Result<Value, DecodeError> {
        if let Some(value) = head.scalar()? {
            return Ok(value);
        }
        match head {
            Token::List(list) => self.list(list).map(Value::List),
            Token::Dict(dict) => self.dict(dict).map(Value::Dict),
            _ => Err(DecodeError::Foreign { what: "a CBOR tag" }),
        }
    }

    pub(super) fn list(&mut self, mut list: Sequence) -> Result<Vec<Value>, DecodeError> {
        self.enter()?;
        let mut values = Vec::new();
        while self.advance(&mut list)? {
            let head = self.token()?;
            values.push(self.value(head)?);
        }
        Ok(values)
    }

    /// Equal keys are kept, as the sender may repeat them in a payload (BP-TY-02).
    pub(super) fn dict(&mut self, mut dict: Sequence) -> Result<Dict, DecodeError> {
        self.enter()?;
        let mut entries = Dict::new();
        while self.advance(&mut dict)? {
            let Token::Str(key) = self.reader.key()? else {
                return Err(DecodeError::Foreign { what: "a key that is not a string" });
            };
            let head = self.token()?;
            entries.push((Cow::Owned(Text::read(key)?.into_owned()), self.value(head)?));
        }
        Ok(entries)
    }
}

impl<'p> Place<'p> {
    pub(super) const fn top(name: &'p str) -> Self {
        Self { name, parent: None }
    }

    pub(super) const fn within(name: &'p str, parent: &'p Self) -> Self {
        Self { name, parent: Some(parent) }
    }

    pub(super) fn path(&self) -> String {
        match self.parent {
            Some(parent) => parent.path() + "." + self.name,
            None => self.name.to_owned(),
        }
    }

    #[cold]
    pub(super) fn mismatch(
        &self,
        expected: &'static str,
        got: impl Into<Cow<'static, str>>,
    ) -> DecodeError {
        DecodeError::Mismatch { place: self.path(), expected, got: got.into() }
    }

    /// Refuses `keys` of the dict at this place if two are equal.
    pub(super) fn check_unique<K: Ord + AsRef<str>>(
        &self,
        keys: &mut [K],
    ) -> Result<(), DecodeError> {
        // Sorting bounds the work for a client that sends very many keys.
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                let key = quote(pair[0].as_ref());
                Err(DecodeError::DuplicateKey { place: self.path(), key })
            }
            None => Ok(()),
        }
    }
}
