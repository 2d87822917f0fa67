//! Messages to bytes and back, per serializer; payloads from one serializer to another.
//!
//! The grammar of messages is written once ([`decode()`], [`encode()`]) over a reader and a writer
//! per serializer. Payload is checked once, kept as the sender's bytes, and goes to receivers with
//! another serializer as a stream of tokens; only the router's own procedures see its values.

mod cbor;
mod cbor_writer;
pub mod client;
mod decode;
mod encode;
mod error;
mod hello;
mod json;
mod json_text;
mod json_writer;
mod msgpack;
mod msgpack_writer;
mod options;
mod out;
mod passthru;
mod preview;
mod scan;
mod token;
mod transcode;

pub use crate::wamp::Codec;
pub use error::{DecodeError, DecodeFault, EncodeError};
pub use preview::{PIECE_BYTES, Preview, preview};
pub use transcode::MAX_EXPANSION;

use self::cbor::CborReader;
use self::cbor_writer::CborWriter;
use self::json::JsonReader;
use self::json_writer::JsonWriter;
use self::msgpack::MsgPackReader;
use self::msgpack_writer::MsgPackWriter;
use self::out::Out;
use self::token::Reader as _;
use crate::wamp::{ClientMessage, Dict, Payload, PayloadBuf, RouterMessage, Value};

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
        Codec::Cbor => decode::message(CborReader::new(bytes)?, bytes, nesting),
        Codec::Json => decode::message(JsonReader::new(bytes)?, bytes, nesting),
        Codec::MsgPack => decode::message(MsgPackReader::new(bytes)?, bytes, nesting),
    }
}

/// As [`decode()`] of JSON that is known to be UTF-8, as a text message of a WebSocket is by then:
/// so it is not checked twice.
///
/// # Errors
/// As [`decode()`].
pub fn decode_json(text: &str, limits: DecodeLimits) -> Result<ClientMessage<'_>, DecodeError> {
    let nesting = limits.nesting.min(MAX_NESTING);
    decode::message(JsonReader::of_text(text), text.as_bytes(), nesting)
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
    encode_within(codec, message, usize::MAX, out)
}

/// As [`encode()`], but appends at most `limit_bytes`: a message that takes more is given up as
/// soon as that is seen, and `out` has never grown further.
///
/// # Errors
/// [`EncodeError::TooLarge`], or a value that `codec` cannot express (BP-PV-05); `out` is then as
/// before.
pub fn encode_within(
    codec: Codec,
    message: &RouterMessage<'_>,
    limit_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    write(out, limit_bytes, |out| match codec {
        Codec::Cbor => encode::message::<CborWriter>(out, message),
        Codec::Json => encode::message::<JsonWriter>(out, message),
        Codec::MsgPack => encode::message::<MsgPackWriter>(out, message),
    })
}

/// A PUBLISH made of values, as a client would write it; to be read by [`decode()`] like any other.
///
/// # Errors
/// A value that `codec` cannot express.
pub fn encode_publish(
    codec: Codec,
    options: &Dict,
    topic: &str,
    payload: Payload<'_>,
) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    write(&mut bytes, usize::MAX, |out| match codec {
        Codec::Cbor => encode::publish::<CborWriter>(out, options, topic, payload),
        Codec::Json => encode::publish::<JsonWriter>(out, options, topic, payload),
        Codec::MsgPack => encode::publish::<MsgPackWriter>(out, options, topic, payload),
    })?;
    Ok(bytes)
}

/// One value as a document of its own.
///
/// # Errors
/// A value that `codec` cannot express (TR-SER-02).
pub fn encode_value(codec: Codec, value: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    write(&mut bytes, usize::MAX, |out| match codec {
        Codec::Cbor => encode::any::<CborWriter>(out, value),
        Codec::Json => encode::any::<JsonWriter>(out, value),
        Codec::MsgPack => encode::any::<MsgPackWriter>(out, value),
    })?;
    Ok(bytes)
}

/// One document, which may be anything, as one of another serializer: no value is ever built. What
/// is made takes `limit_bytes` at most, `nesting` is how many levels of lists and dicts may lie in
/// each other, and both hold before memory is taken.
///
/// # Errors
/// [`EncodeError::Payload`] for what is no document of `from` or too deep,
/// [`EncodeError::TooLarge`], or a value that `to` cannot express (TR-SER-02).
pub fn convert(
    from: Codec,
    bytes: &[u8],
    to: Codec,
    nesting: u16,
    limit_bytes: usize,
) -> Result<Vec<u8>, EncodeError> {
    let mut converted = Vec::new();
    write(&mut converted, limit_bytes, |out| match to {
        Codec::Cbor => transcode::document::<CborWriter>(out, from, bytes, nesting),
        Codec::Json => transcode::document::<JsonWriter>(out, from, bytes, nesting),
        Codec::MsgPack => transcode::document::<MsgPackWriter>(out, from, bytes, nesting),
    })?;
    Ok(converted)
}

/// Appends what `encode` writes, or nothing.
fn write(
    bytes: &mut Vec<u8>,
    limit_bytes: usize,
    encode: impl FnOnce(&mut Out<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = bytes.len();
    let mut out = Out::new(bytes, limit_bytes);
    let mut encoded = encode(&mut out);
    if out.is_full() {
        encoded = Err(EncodeError::TooLarge { limit_bytes });
    }
    if encoded.is_err() {
        bytes.truncate(start);
    }
    encoded
}

/// The payload as bytes of `to`, to be kept when many receivers need it. It takes exactly its own
/// bytes, at most [`MAX_EXPANSION`] times the payload's, and while it is made at most 16 times.
///
/// # Errors
/// A value that `to` cannot express (TR-SER-02).
pub fn transcode(payload: Payload<'_>, to: Codec) -> Result<PayloadBuf, EncodeError> {
    match to {
        Codec::Cbor => transcode::transcode::<CborWriter>(payload),
        Codec::Json => transcode::transcode::<JsonWriter>(payload),
        Codec::MsgPack => transcode::transcode::<MsgPackWriter>(payload),
    }
}

/// The payload as values: `Arguments` and `ArgumentsKw`, empty where absent. Each takes at most 6
/// times the memory of its bytes and 1.5 MiB, and twice that while it is made.
///
/// # Errors
/// A value without counterpart in WAMP, a bare binary item in place of `Arguments`, or very many
/// tiny values.
pub fn decode_payload(payload: Payload<'_>) -> Result<(Vec<Value>, Dict), DecodeError> {
    match payload {
        Payload::Empty => Ok((Vec::new(), Dict::new())),
        Payload::Values { args, kwargs } => Ok((args.to_vec(), kwargs.clone())),
        Payload::Raw { codec, args, kwargs } => {
            let limit_bytes = |bytes: &[u8]| bytes.len() * VALUE_EXPANSION + VALUE_ROOM_BYTES;
            let value = |bytes: &[u8]| value(codec, bytes, limit_bytes(bytes));
            let Value::List(args) = value(args)? else {
                return Err(not_a_payload("Arguments", "a list"));
            };
            match kwargs.map(value).transpose()? {
                None => Ok((args, Dict::new())),
                Some(Value::Dict(kwargs)) => Ok((args, kwargs)),
                Some(_) => Err(not_a_payload("ArgumentsKw", "a dict")),
            }
        }
    }
}

/// The value that `bytes` are, one document. It may take 90 times the memory of its bytes: only for
/// what the router wrote itself.
///
/// # Errors
/// Malformed bytes, or a value without counterpart in WAMP.
pub fn decode_value(codec: Codec, bytes: &[u8]) -> Result<Value, DecodeError> {
    value(codec, bytes, usize::MAX)
}

fn value(codec: Codec, bytes: &[u8], limit_bytes: usize) -> Result<Value, DecodeError> {
    match codec {
        Codec::Cbor => decode::value::<CborReader<'_>>(bytes, MAX_NESTING, limit_bytes),
        Codec::Json => decode::value::<JsonReader<'_>>(bytes, MAX_NESTING, limit_bytes),
        Codec::MsgPack => decode::value::<MsgPackReader<'_>>(bytes, MAX_NESTING, limit_bytes),
    }
}

fn not_a_payload(element: &str, expected: &'static str) -> DecodeError {
    scan::Place::top(element).mismatch(expected, "something else")
}

/// Bytes of values that a byte of payload may become, where it becomes values.
const VALUE_EXPANSION: usize = 6;

/// Bytes of values that any payload may become.
const VALUE_ROOM_BYTES: usize = 3 * 512 * 1024;

/// Building a value is a recursion, and so is dropping it: this bounds the stack.
const MAX_NESTING: u16 = 512;

/// Decodes a JSON text, for the tests of the grammar: what follows is the same in each serializer.
#[cfg(test)]
fn read_json(text: &str) -> Result<ClientMessage<'_>, DecodeError> {
    decode_json(text, DecodeLimits { nesting: 64 })
}
