//! Walks documents of any serializer: skips values, builds them, and keeps the nesting in bounds.
//!
//! Skipping is a loop and building a recursion; both stop at the nesting limit.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::token::{Reader, Sequence, Token};
use super::{DecodeError, DecodeFault};
use crate::wamp::{Dict, Value, quote};

pub(super) struct Scan<'a, R> {
    reader: R,
    bytes: &'a [u8],
    nesting: u16,
    /// Lists and dicts that are being read by callers.
    depth: usize,
}

/// The lists and dicts that surround what is being skipped.
type Open = SmallVec<[Sequence; 16]>;

/// How much memory the values at a place may take. What is counted are the values and their text;
/// what an allocation wastes is not.
pub(super) struct Room<'p> {
    place: Place<'p>,
    limit_bytes: usize,
    left_bytes: usize,
}

/// Where in a message something stands, for error messages: a path of names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'p> {
    name: &'p str,
    parent: Option<&'p Self>,
}

impl<'a, R: Reader<'a>> Scan<'a, R> {
    /// Of `reader`, which reads `bytes`.
    pub(super) const fn new(reader: R, bytes: &'a [u8], nesting: u16) -> Self {
        Self { reader, bytes, nesting, depth: 0 }
    }

    pub(super) fn token(&mut self) -> Result<Token<'a>, DecodeError> {
        self.reader.token()
    }

    pub(super) fn plain_uint(&mut self) -> Option<u64> {
        self.reader.plain_uint()
    }

    pub(super) fn plain_text(&mut self) -> Option<&'a str> {
        self.reader.plain_text()
    }

    /// Reads a dict without entries, which is as deep as one with them.
    pub(super) fn empty_dict(&mut self) -> bool {
        self.depth < self.nesting.into() && self.reader.empty_dict()
    }

    /// Must be called before the first [`Self::advance`] of a list or dict.
    pub(super) fn enter(&mut self) -> Result<(), DecodeError> {
        self.depth += 1;
        if self.depth > self.nesting.into() {
            return Err(DecodeFault::TooDeep { limit: self.nesting }.into());
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
        if let Some(key) = self.reader.plain_key() {
            return Ok(Cow::Borrowed(key));
        }
        match self.reader.key()? {
            Token::Str(text) => text.read_name(),
            other => Err(place.key_type(&other)),
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
                    if self.reader.pass_plain() {
                        continue;
                    }
                    self.reader.token()
                }
                Some(sequence) => {
                    if !self.reader.advance(sequence)? {
                        open.pop();
                        continue;
                    }
                    sequence.at_value = sequence.is_dict;
                    if sequence.is_dict {
                        if self.reader.plain_key().is_some() {
                            continue;
                        }
                        self.reader.key()
                    } else if self.reader.pass_plain() {
                        continue;
                    } else {
                        self.reader.token()
                    }
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
                return Err(DecodeFault::TooDeep { limit: self.nesting }.into());
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
            if self.reader.plain_key().is_none() {
                match self.reader.key()? {
                    Token::Str(_) => {}
                    other => return Err(place.key_type(&other)),
                }
            }
            let value = self.token()?;
            self.skip(value)?;
        }
        Ok(())
    }

    /// The value that `head` begins.
    pub(super) fn value(
        &mut self,
        head: Token<'a>,
        room: &mut Room<'_>,
    ) -> Result<Value, DecodeError> {
        room.take(head.heap_bytes())?;
        if let Some(value) = head.scalar()? {
            return Ok(value);
        }
        match head {
            Token::List(list) => self.list(list, room).map(Value::List),
            Token::Dict(dict) => self.dict(dict, room).map(Value::Dict),
            _ => Err(DecodeFault::Foreign { what: "a CBOR tag" }.into()),
        }
    }

    fn list(&mut self, mut list: Sequence, room: &mut Room<'_>) -> Result<Vec<Value>, DecodeError> {
        self.enter()?;
        let mut values = Vec::new();
        while self.advance(&mut list)? {
            room.take(size_of::<Value>())?;
            let head = self.token()?;
            values.push(self.value(head, room)?);
        }
        values.shrink_to_fit();
        Ok(values)
    }

    /// Equal keys are kept, as the sender may repeat them in a payload (BP-TY-02).
    pub(super) fn dict(
        &mut self,
        mut dict: Sequence,
        room: &mut Room<'_>,
    ) -> Result<Dict, DecodeError> {
        self.enter()?;
        let mut entries = Dict::new();
        while self.advance(&mut dict)? {
            let key = self.reader.key()?;
            room.take(size_of::<(Cow<'_, str>, Value)>() + key.heap_bytes())?;
            let Token::Str(key) = key else {
                return Err(DecodeFault::Foreign { what: "a key that is not a string" }.into());
            };
            let key = Cow::Owned(key.read()?.into_owned());
            let head = self.token()?;
            entries.push((key, self.value(head, room)?));
        }
        entries.shrink_to_fit();
        Ok(entries)
    }
}

impl<'p> Room<'p> {
    pub(super) const fn new(place: Place<'p>, limit_bytes: usize) -> Self {
        Self { place, limit_bytes, left_bytes: limit_bytes }
    }

    fn take(&mut self, bytes: usize) -> Result<(), DecodeError> {
        match self.left_bytes.checked_sub(bytes) {
            Some(left) => {
                self.left_bytes = left;
                Ok(())
            }
            None => {
                let (place, limit_bytes) = (self.place.path(), self.limit_bytes);
                Err(DecodeFault::TooLarge { place, limit_bytes }.into())
            }
        }
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
        DecodeFault::Mismatch { place: self.path(), expected, got: got.into() }.into()
    }

    #[cold]
    fn key_type(&self, got: &Token<'_>) -> DecodeError {
        DecodeFault::KeyType { place: self.path(), got: got.describe() }.into()
    }

    #[cold]
    pub(super) fn too_many_keys(&self, limit: usize) -> DecodeError {
        DecodeFault::TooManyKeys { place: self.path(), limit }.into()
    }

    /// Refuses `keys` of the dict at this place if two are equal.
    pub(super) fn check_unique<K: Ord + AsRef<str>>(
        &self,
        keys: &mut [K],
    ) -> Result<(), DecodeError> {
        if keys.len() < 2 {
            return Ok(());
        }
        // Sorting bounds the work for a client that sends many keys.
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                let key = quote(pair[0].as_ref());
                Err(DecodeFault::DuplicateKey { place: self.path(), key }.into())
            }
            None => Ok(()),
        }
    }
}
