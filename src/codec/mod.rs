//! Messages to bytes and back, per serializer; payloads from one serializer to another.
//!
//! The grammar of messages is written once ([`decode`], [`encode`]) over a reader and a writer per
//! serializer. Payload is checked once, kept as the sender's bytes, and turned into values only for
//! receivers with another serializer.

mod cbor;
mod cbor_writer;
mod decode;
mod encode;
mod error;
mod hello;
mod json;
mod json_writer;
mod msgpack;
mod msgpack_writer;
mod options;
mod passthru;
mod scan;
mod token;

pub use error::{DecodeError, EncodeError};

use crate::wamp::{ClientMessage, Dict, Payload, PayloadBuf, RouterMessage, Value};

/// The serializers (requirements 1.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    Cbor,
    Json,
    MsgPack,
}

impl Codec {
    pub const ALL: [Self; 3] = [Self::Cbor, Self::Json, Self::MsgPack];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cbor => "cbor",
            Self::Json => "json",
            Self::MsgPack => "msgpack",
        }
    }
}

/// What a message may look like at most (TR-DEC-01); its size is the transport's to limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Levels of lists and dicts, the message itself included; more than 512 counts as 512.
    pub nesting: u16,
}

/// Decodes one message from a client. Strings and payload borrow from `bytes` where they can.
///
/// All of `bytes` is checked, the payload included, which is then passed on as it is.
///
/// # Errors
/// Every error is a protocol violation, to be answered by ABORT with its text (BP-PV-02).
pub fn decode(
    codec: Codec,
    bytes: &[u8],
    limits: DecodeLimits,
) -> Result<ClientMessage<'_>, DecodeError> {
    let nesting = limits.nesting.min(MAX_NESTING);
    match codec {
        Codec::Cbor => decode::message::<cbor::CborReader<'_>>(bytes, nesting),
        Codec::Json => decode::message::<json::JsonReader<'_>>(bytes, nesting),
        Codec::MsgPack => decode::message::<msgpack::MsgPackReader<'_>>(bytes, nesting),
    }
}

/// Appends the encoded message to `out`. A raw payload of the same codec is copied, any other
/// transcoded.
///
/// # Errors
/// A value that `codec` cannot express (BP-PV-05); `out` is then as before.
pub fn encode(
    codec: Codec,
    message: &RouterMessage<'_>,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let encoded = match codec {
        Codec::Cbor => encode::message::<cbor_writer::CborWriter>(message, out),
        Codec::Json => encode::message::<json_writer::JsonWriter>(message, out),
        Codec::MsgPack => encode::message::<msgpack_writer::MsgPackWriter>(message, out),
    };
    if encoded.is_err() {
        out.truncate(start);
    }
    encoded
}

/// A PUBLISH made of values, as a client would write it; to be read by [`decode`] like any other.
///
/// # Errors
/// A value that `codec` cannot express.
pub fn encode_publish(
    codec: Codec,
    options: &Dict,
    topic: &str,
    payload: Payload<'_>,
) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    match codec {
        Codec::Cbor => {
            encode::publish::<cbor_writer::CborWriter>(options, topic, payload, &mut out)
        }
        Codec::Json => {
            encode::publish::<json_writer::JsonWriter>(options, topic, payload, &mut out)
        }
        Codec::MsgPack => {
            encode::publish::<msgpack_writer::MsgPackWriter>(options, topic, payload, &mut out)
        }
    }?;
    Ok(out)
}

/// The payload as bytes of `to`, to be kept when many receivers need it.
///
/// # Errors
/// A value that `to` cannot express (TR-SER-02).
pub fn transcode(payload: Payload<'_>, to: Codec) -> Result<PayloadBuf, EncodeError> {
    match to {
        Codec::Cbor => encode::transcode::<cbor_writer::CborWriter>(payload),
        Codec::Json => encode::transcode::<json_writer::JsonWriter>(payload),
        Codec::MsgPack => encode::transcode::<msgpack_writer::MsgPackWriter>(payload),
    }
}

/// The payload as values: `Arguments` and `ArgumentsKw`, empty where absent.
///
/// # Errors
/// A value without counterpart in WAMP, or a bare binary item in place of `Arguments`.
pub fn decode_payload(payload: Payload<'_>) -> Result<(Vec<Value>, Dict), DecodeError> {
    match payload {
        Payload::Empty => Ok((Vec::new(), Dict::new())),
        Payload::Values { args, kwargs } => Ok((args.to_vec(), kwargs.clone())),
        Payload::Raw { codec, args, kwargs } => {
            let Value::List(args) = value(codec, args)? else {
                return Err(not_a_payload("Arguments", "a list"));
            };
            match kwargs.map(|kwargs| value(codec, kwargs)).transpose()? {
                None => Ok((args, Dict::new())),
                Some(Value::Dict(kwargs)) => Ok((args, kwargs)),
                Some(_) => Err(not_a_payload("ArgumentsKw", "a dict")),
            }
        }
    }
}

/// The value that `bytes` are.
fn value(codec: Codec, bytes: &[u8]) -> Result<Value, DecodeError> {
    match codec {
        Codec::Cbor => decode::value::<cbor::CborReader<'_>>(bytes, MAX_NESTING),
        Codec::Json => decode::value::<json::JsonReader<'_>>(bytes, MAX_NESTING),
        Codec::MsgPack => decode::value::<msgpack::MsgPackReader<'_>>(bytes, MAX_NESTING),
    }
}

fn not_a_payload(element: &str, expected: &'static str) -> DecodeError {
    scan::Place::top(element).mismatch(expected, "something else")
}

/// Building a value is a recursion, and so is dropping it: this bounds the stack.
const MAX_NESTING: u16 = 512;

/// Decodes a JSON text, for the tests of the grammar: what follows is the same in each serializer.
#[cfg(test)]
fn decode_json(text: &str) -> Result<ClientMessage<'_>, DecodeError> {
    decode(Codec::Json, text.as_bytes(), DecodeLimits { nesting: 64 })
}
