//! A decoded value: what options, details and transcoded payloads are made of.

use std::borrow::Cow;

use bytes::Bytes;

use super::codec::Codec;

/// A value of any serializer, without loss (TR-SER-02).
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// A negative integer down to -2^63, or any that fits.
    Int(i64),
    /// A non-negative integer up to 2^64 - 1.
    UInt(u64),
    Float(f64),
    Str(String),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    /// Keys in the order of the sender.
    Dict(Dict),
    /// A value that is bytes already: well-formed, one document of that serializer.
    Encoded(Codec, Bytes),
}

/// A string-keyed map in the order of insertion.
pub type Dict = Vec<(Cow<'static, str>, Value)>;

impl Value {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Str(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::UInt(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}
