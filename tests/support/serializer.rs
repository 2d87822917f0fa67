//! Serializers of a client, on top of crates that the router does not use for messages.
//!
//! Every value is a JSON value; binary is a string that starts with U+0000 (TR-JSON-02), which is
//! what makes payloads comparable across serializers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ciborium::Value as Cbor;
use serde_json::{Number, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serializer {
    Cbor,
    Json,
    MsgPack,
}

impl Serializer {
    pub(crate) const ALL: [Self; 3] = [Self::Cbor, Self::Json, Self::MsgPack];

    pub(crate) fn encode(self, value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Json => out = serde_json::to_vec(value).expect("a JSON value can be written"),
            Self::MsgPack => {
                out = rmp_serde::to_vec(&to_cbor(value)).expect("a plain value can be written");
            }
            Self::Cbor => {
                ciborium::into_writer(&to_cbor(value), &mut out)
                    .expect("a plain value can be written");
            }
        }
        out
    }

    pub(crate) fn decode(self, bytes: &[u8]) -> Result<Value, String> {
        match self {
            Self::Json => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
            Self::MsgPack => {
                let value: Cbor =
                    rmp_serde::from_slice(bytes).map_err(|error| error.to_string())?;
                from_cbor(value)
            }
            Self::Cbor => {
                let mut rest = bytes;
                let value: Cbor =
                    ciborium::from_reader(&mut rest).map_err(|error| error.to_string())?;
                if !rest.is_empty() {
                    return Err(format!("{} bytes behind the message", rest.len()));
                }
                from_cbor(value)
            }
        }
    }

    /// The low nibble of a RawSocket handshake (TR-RS-02).
    pub(super) const fn rawsocket_id(self) -> u8 {
        match self {
            Self::Json => 1,
            Self::MsgPack => 2,
            Self::Cbor => 3,
        }
    }

    pub(super) const fn subprotocol(self) -> &'static str {
        match self {
            Self::Cbor => "wamp.2.cbor",
            Self::Json => "wamp.2.json",
            Self::MsgPack => "wamp.2.msgpack",
        }
    }
}

fn to_cbor(value: &Value) -> Cbor {
    match value {
        Value::Null => Cbor::Null,
        Value::Bool(truth) => Cbor::Bool(*truth),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), _, _) => Cbor::Integer(number.into()),
            (None, Some(number), _) => Cbor::Integer(number.into()),
            (None, None, number) => Cbor::Float(number.expect("a number is one of the three")),
        },
        Value::String(text) => match text.strip_prefix('\0') {
            Some(encoded) => Cbor::Bytes(STANDARD.decode(encoded).expect("binary is Base64")),
            None => Cbor::Text(text.clone()),
        },
        Value::Array(items) => Cbor::Array(items.iter().map(to_cbor).collect()),
        Value::Object(entries) => Cbor::Map(
            entries.iter().map(|(key, value)| (Cbor::Text(key.clone()), to_cbor(value))).collect(),
        ),
    }
}

fn from_cbor(value: Cbor) -> Result<Value, String> {
    Ok(match value {
        Cbor::Null => Value::Null,
        Cbor::Bool(truth) => Value::Bool(truth),
        Cbor::Integer(integer) => match (u64::try_from(integer), i64::try_from(integer)) {
            (Ok(number), _) => Value::Number(number.into()),
            (_, Ok(number)) => Value::Number(number.into()),
            _ => return Err("an integer beyond 64 bits".to_owned()),
        },
        Cbor::Float(float) => {
            Value::Number(Number::from_f64(float).ok_or("a float that is no number")?)
        }
        Cbor::Bytes(bytes) => Value::String(format!("\0{}", STANDARD.encode(bytes))),
        Cbor::Text(text) => Value::String(text),
        Cbor::Array(items) => {
            Value::Array(items.into_iter().map(from_cbor).collect::<Result<_, _>>()?)
        }
        Cbor::Map(entries) => Value::Object(
            entries
                .into_iter()
                .map(|(key, value)| match key {
                    Cbor::Text(key) => Ok((key, from_cbor(value)?)),
                    other => Err(format!("a key that is no string: {other:?}")),
                })
                .collect::<Result<_, _>>()?,
        ),
        other => return Err(format!("a value that no client sent: {other:?}")),
    })
}
