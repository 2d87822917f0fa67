//! The other end of the wire: what a client sends as bytes, and what a router says as a message.
//!
//! The same readers, writers and grammar pieces as the router's own direction, in a module of its
//! own: a router needs none of it. Options and details are dicts here, as a client may want to
//! send, and must be able to read, what this library does not know.

mod decode;
mod encode;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::cbor::CborReader;
use super::cbor_writer::CborWriter;
use super::json::JsonReader;
use super::json_writer::JsonWriter;
use super::msgpack::MsgPackReader;
use super::msgpack_writer::MsgPackWriter;
use super::token::Reader as _;
use super::{Codec, DecodeError, DecodeLimits, EncodeError, MAX_NESTING, write};
use crate::wamp::{
    Dict, Payload, PublicationId, RegistrationId, RequestId, SessionId, SubscriptionId,
};

/// A message to a router, ready to be encoded with any serializer.
#[derive(Clone, Copy)]
pub enum ToRouter<'a> {
    Hello {
        realm: &'a str,
        details: &'a Dict,
    },
    Abort {
        /// Human-readable `Details.message`; empty: none.
        message: &'a str,
        reason: &'a str,
    },
    Authenticate {
        signature: &'a str,
        extra: &'a Dict,
    },
    Goodbye {
        /// Human-readable `Details.message`; empty: none.
        message: &'a str,
        reason: &'a str,
    },
    Publish {
        request: RequestId,
        options: &'a Dict,
        topic: &'a str,
        payload: Payload<'a>,
    },
    Subscribe {
        request: RequestId,
        options: &'a Dict,
        topic: &'a str,
    },
    Unsubscribe {
        request: RequestId,
        subscription: SubscriptionId,
    },
    Call {
        request: RequestId,
        options: &'a Dict,
        procedure: &'a str,
        payload: Payload<'a>,
    },
    Cancel {
        /// The CALL's request id.
        request: RequestId,
        options: &'a Dict,
    },
    Register {
        request: RequestId,
        options: &'a Dict,
        procedure: &'a str,
    },
    Unregister {
        request: RequestId,
        registration: RegistrationId,
    },
    Yield {
        /// The INVOCATION's request id.
        request: RequestId,
        options: &'a Dict,
        payload: Payload<'a>,
    },
    /// The ERROR of an INVOCATION, the only one that a client may send (BP-MSG-02).
    Error {
        /// The INVOCATION's request id.
        request: RequestId,
        details: &'a Dict,
        error: &'a str,
        payload: Payload<'a>,
    },
}

/// A message from a router. URIs are texts as sent; whether ids are known is for the receiver.
#[derive(Clone, Debug)]
pub enum FromRouter<'a> {
    Welcome {
        session: SessionId,
        details: Dict,
    },
    Abort {
        details: Dict,
        reason: Cow<'a, str>,
        payload: Payload<'a>,
    },
    Challenge {
        method: Cow<'a, str>,
        extra: Dict,
    },
    Goodbye {
        details: Dict,
        reason: Cow<'a, str>,
    },
    Error {
        /// The code of the request that failed.
        request_type: u16,
        request: RequestId,
        details: Dict,
        error: Cow<'a, str>,
        payload: Payload<'a>,
    },
    Published {
        request: RequestId,
        publication: PublicationId,
    },
    Subscribed {
        request: RequestId,
        subscription: SubscriptionId,
    },
    Unsubscribed {
        request: RequestId,
    },
    /// UNSUBSCRIBED without a request (AP-REVS-01).
    Revoked {
        details: Dict,
    },
    Event {
        subscription: SubscriptionId,
        publication: PublicationId,
        details: Dict,
        payload: Payload<'a>,
    },
    Registered {
        request: RequestId,
        registration: RegistrationId,
    },
    Unregistered {
        request: RequestId,
    },
    /// UNREGISTERED without a request (AP-REVR-01).
    RegistrationRevoked {
        details: Dict,
    },
    Invocation {
        request: RequestId,
        registration: RegistrationId,
        details: Dict,
        payload: Payload<'a>,
    },
    Interrupt {
        /// The INVOCATION's request id.
        request: RequestId,
        options: Dict,
    },
    Result {
        /// The CALL's request id.
        request: RequestId,
        details: Dict,
        payload: Payload<'a>,
    },
}

impl FromRouter<'_> {
    /// The message's name in the specification.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Welcome { .. } => "WELCOME",
            Self::Abort { .. } => "ABORT",
            Self::Challenge { .. } => "CHALLENGE",
            Self::Goodbye { .. } => "GOODBYE",
            Self::Error { .. } => "ERROR",
            Self::Published { .. } => "PUBLISHED",
            Self::Subscribed { .. } => "SUBSCRIBED",
            Self::Unsubscribed { .. } | Self::Revoked { .. } => "UNSUBSCRIBED",
            Self::Event { .. } => "EVENT",
            Self::Registered { .. } => "REGISTERED",
            Self::Unregistered { .. } | Self::RegistrationRevoked { .. } => "UNREGISTERED",
            Self::Invocation { .. } => "INVOCATION",
            Self::Interrupt { .. } => "INTERRUPT",
            Self::Result { .. } => "RESULT",
        }
    }
}

/// Appends the encoded message to `out`, at most `limit_bytes`.
///
/// # Errors
/// [`EncodeError::TooLarge`], or a value that `codec` cannot express; `out` is then as before.
pub fn encode(
    codec: Codec,
    message: &ToRouter<'_>,
    limit_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    write(out, limit_bytes, |out| match codec {
        Codec::Cbor => encode::message::<CborWriter>(out, message),
        Codec::Json => encode::message::<JsonWriter>(out, message),
        Codec::MsgPack => encode::message::<MsgPackWriter>(out, message),
    })
}

/// Decodes one message from a router. All of `bytes` is checked, the payload included. The values
/// of options and details take [`DETAILS_BYTES`] at most.
///
/// # Errors
/// Every error is a violation of the protocol by the router.
pub fn decode(
    codec: Codec,
    bytes: &[u8],
    limits: DecodeLimits,
) -> Result<FromRouter<'_>, DecodeError> {
    let nesting = limits.nesting.min(MAX_NESTING);
    match codec {
        Codec::Cbor => decode::message(CborReader::new(bytes)?, bytes, nesting),
        Codec::Json => decode::message(JsonReader::new(bytes)?, bytes, nesting),
        Codec::MsgPack => decode::message(MsgPackReader::new(bytes)?, bytes, nesting),
    }
}

/// Memory that the values of one message's options or details may take, in bytes. The details of a
/// WELCOME with all that routers announce take some thousands.
pub const DETAILS_BYTES: usize = 256 * 1024;
