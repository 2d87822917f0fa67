//! Why bytes are no message, and why a message cannot be bytes.
//!
//! The text of a [`DecodeError`] reaches the client in `ABORT.Details.message`, so it says what was
//! wrong and where. Text of the client's own is quoted shortened and escaped.

use std::borrow::Cow;

use super::Codec;

/// A message from a client that must be answered by ABORT (BP-PV-02). One word, as it stands in the
/// result of every token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct DecodeError(Box<DecodeFault>);

/// What was wrong with the bytes or the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFault {
    /// The bytes are not one well-formed document of the serializer.
    #[error("malformed {}: {what} at byte {offset}", codec.as_str())]
    Malformed { codec: Codec, what: &'static str, offset: usize },
    /// TR-DEC-01.
    #[error("lists and dicts are nested deeper than {limit} levels")]
    TooDeep { limit: u16 },
    #[error("a message must be a list that begins with its type, got {got}")]
    NoType { got: &'static str },
    /// Neither a code of the protocol nor one of an extension that the router has (BP-TY-06).
    #[error("unknown message type {code}")]
    UnknownType { code: u64 },
    /// BP-MSG-03.
    #[error("{message} is only ever sent by a router")]
    RouterOnly { message: &'static str },
    /// A client may only answer an INVOCATION with ERROR (BP-MSG-02).
    #[error("ERROR.REQUEST.Type must be 68 (INVOCATION), got {code}")]
    ErrorType { code: u64 },
    #[error("{message} must have {allowed} elements, got {got}")]
    ElementCount { message: &'static str, allowed: &'static str, got: Cow<'static, str> },
    /// A wrong type or value of an element or of a known option (BP-TY-01, BP-TY-04).
    #[error("{place} must be {expected}, got {got}")]
    Mismatch { place: String, expected: &'static str, got: Cow<'static, str> },
    /// Values take many times the memory of their bytes, so there is a bound where they are needed.
    #[error("{place} takes more than {limit_bytes} bytes of memory")]
    TooLarge { place: String, limit_bytes: usize },
    /// No honest message has so many.
    #[error("{place} must have at most {limit} keys")]
    TooManyKeys { place: String, limit: usize },
    /// BP-TY-02.
    #[error("{place} has the key {key} twice")]
    DuplicateKey { place: String, key: String },
    /// BP-TY-02.
    #[error("the keys of {place} must be strings, got {got}")]
    KeyType { place: String, got: &'static str },
    /// Well-formed, but WAMP has no value for it (TR-SER-02).
    #[error("{what} has no counterpart among the values of WAMP")]
    Foreign { what: &'static str },
}

/// A message that the receiver's serializer cannot express (BP-PV-05).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("{what} cannot be expressed in {}", codec.as_str())]
    Inexpressible { what: &'static str, codec: Codec },
    /// Nothing of it was written.
    #[error("the message takes more than {limit_bytes} bytes, the most that the receiver takes")]
    TooLarge { limit_bytes: usize },
    /// The raw payload was not checked at ingress, or was cut since.
    #[error("the payload is not well-formed: {0}")]
    Payload(DecodeError),
}

impl DecodeError {
    pub const fn fault(&self) -> &DecodeFault {
        &self.0
    }
}

impl From<DecodeFault> for DecodeError {
    #[cold]
    fn from(fault: DecodeFault) -> Self {
        Self(Box::new(fault))
    }
}

impl EncodeError {
    /// The failure to read the sender's payload on the way to `to`.
    pub(super) fn from_payload(error: DecodeError, to: Codec) -> Self {
        match *error.fault() {
            DecodeFault::Foreign { what } => Self::Inexpressible { what, codec: to },
            _ => Self::Payload(error),
        }
    }
}
