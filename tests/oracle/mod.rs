//! Independent serializers to compare with: serde_json, rmp-serde and ciborium.
//!
//! All of them read into and write from ciborium's value, in which binary data is binary, whatever
//! the serializer.

#![allow(dead_code, reason = "each test uses its part")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciborium::Value as Oracle;
use stentor::codec::Codec;
use stentor::wamp::{Dict, Value};

/// `None` if `bytes` are not exactly one document.
pub(crate) fn read(codec: Codec, bytes: &[u8]) -> Option<Oracle> {
    match codec {
        Codec::Json => map(serde_json::from_slice(bytes).ok()?, &mut |value| match value {
            Oracle::Text(text) if text.starts_with('\0') => {
                Some(Oracle::Bytes(STANDARD.decode(&text[1..]).ok()?))
            }
            other => Some(other),
        }),
        Codec::MsgPack => {
            let mut rest = bytes;
            let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
            deserializer.set_max_depth(DEPTH);
            let value = serde::Deserialize::deserialize(&mut deserializer).ok()?;
            rest.is_empty().then_some(value)
        }
        Codec::Cbor => {
            let mut rest = bytes;
            let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH).ok()?;
            rest.is_empty().then_some(value)
        }
    }
}

pub(crate) fn write(codec: Codec, value: &Oracle) -> Vec<u8> {
    let mut out = Vec::new();
    match codec {
        Codec::Json => {
            let value = map(value.clone(), &mut |value| match value {
                Oracle::Bytes(bytes) => {
                    Some(Oracle::Text("\0".to_owned() + &STANDARD.encode(bytes)))
                }
                other => Some(other),
            });
            serde_json::to_writer(&mut out, &value).expect("JSON has it");
        }
        Codec::MsgPack => rmp_serde::encode::write(&mut out, value).expect("MessagePack has it"),
        Codec::Cbor => ciborium::into_writer(value, &mut out).expect("CBOR has it"),
    }
    out
}

/// A value of ours as the oracles' value.
pub(crate) fn from_value(value: &Value) -> Oracle {
    match value {
        Value::Null => Oracle::Null,
        Value::Encoded(codec, bytes) => read(*codec, bytes).expect("one document"),
        Value::Bool(truth) => Oracle::Bool(*truth),
        Value::Int(number) => Oracle::Integer((*number).into()),
        Value::UInt(number) => Oracle::Integer((*number).into()),
        Value::Float(number) => Oracle::Float(*number),
        Value::Str(text) => Oracle::Text(text.clone()),
        Value::Bytes(bytes) => Oracle::Bytes(bytes.clone()),
        Value::List(values) => Oracle::Array(values.iter().map(from_value).collect()),
        Value::Dict(dict) => Oracle::Map(
            dict.iter()
                .map(|(key, value)| (Oracle::Text(key.clone().into_owned()), from_value(value)))
                .collect(),
        ),
    }
}

pub(crate) fn to_value(oracle: &Oracle) -> Value {
    match oracle {
        Oracle::Null => Value::Null,
        Oracle::Bool(truth) => Value::Bool(*truth),
        Oracle::Integer(number) => match u64::try_from(*number) {
            Ok(number) => Value::UInt(number),
            Err(_) => Value::Int(i64::try_from(*number).expect("it fits in 64 bits")),
        },
        Oracle::Float(number) => Value::Float(*number),
        Oracle::Text(text) => Value::Str(text.clone()),
        Oracle::Bytes(bytes) => Value::Bytes(bytes.clone()),
        Oracle::Array(values) => Value::List(values.iter().map(to_value).collect()),
        Oracle::Map(_) => Value::Dict(to_dict(oracle)),
        other => panic!("{other:?} has no counterpart"),
    }
}

pub(crate) fn to_dict(oracle: &Oracle) -> Dict {
    let entries = oracle.as_map().expect("a dict");
    let key = |key: &Oracle| key.as_text().expect("a string").to_owned().into();
    entries.iter().map(|(name, value)| (key(name), to_value(value))).collect()
}

/// Dicts in the order of their keys, so that equal ones compare equal.
pub(crate) fn sorted(oracle: Oracle) -> Oracle {
    let sort = &mut |value| match value {
        Oracle::Map(mut entries) => {
            entries.sort_by(|a, b| a.0.partial_cmp(&b.0).expect("keys have an order"));
            Some(Oracle::Map(entries))
        }
        other => Some(other),
    };
    map(oracle, sort).expect("sorting refuses nothing")
}

/// Well-formed documents that the other serializer cannot read, by bytes that they contain.
pub(crate) fn is_beyond_the_oracle(codec: Codec, bytes: &[u8]) -> bool {
    match codec {
        // Numbers beyond the range of floats and lone surrogates, which we refuse only if they must
        // be transcoded.
        Codec::Json => may_have_huge_number(bytes) || has_surrogate(bytes),
        // Extensions.
        Codec::MsgPack => bytes.iter().any(|b| matches!(b, 0xc7..=0xc9 | 0xd4..=0xd8)),
        // Tags and simple values.
        Codec::Cbor => bytes.iter().any(|b| matches!(b, 0xc0..=0xdb | 0xe0..=0xf3 | 0xf8)),
    }
}

fn may_have_huge_number(json: &[u8]) -> bool {
    let mut numbers = json.split(|b| !b.is_ascii_digit());
    json.iter().any(|b| matches!(b, b'e' | b'E')) || numbers.any(|digits| digits.len() > 308)
}

/// Whether an escape may stand for half of a character.
pub(crate) fn has_surrogate(json: &[u8]) -> bool {
    json.windows(3).any(|escape| matches!(escape, b"\\ud" | b"\\uD"))
}

/// Documents that the other serializer reads although they are not well-formed.
pub(crate) fn is_beyond_us(codec: Codec, bytes: &[u8]) -> bool {
    match codec {
        Codec::Json => false,
        // Strings that are not UTF-8 become binary data there.
        Codec::MsgPack => true,
        // Simple values below 32 in two bytes, and strings without a length within such strings.
        Codec::Cbor => {
            bytes.contains(&0xf8)
                || bytes.iter().filter(|byte| matches!(byte, 0x5f | 0x7f)).count() > 1
        }
    }
}

/// Whether this is still a PUBLISH that nothing but malformed bytes could make us refuse.
pub(crate) fn is_publish(message: &Oracle) -> bool {
    match message.as_array().map(Vec::as_slice) {
        Some([code, request, Oracle::Map(options), Oracle::Text(_), Oracle::Array(_)]) => {
            code.as_integer() == Some(16.into())
                && request.as_integer() == Some(1.into())
                && options.is_empty()
        }
        _ => false,
    }
}

fn map(value: Oracle, change: &mut impl FnMut(Oracle) -> Option<Oracle>) -> Option<Oracle> {
    let value = match value {
        Oracle::Array(values) => Oracle::Array(
            values.into_iter().map(|value| map(value, change)).collect::<Option<_>>()?,
        ),
        Oracle::Map(entries) => {
            let entry = |(key, value)| Some((key, map(value, change)?));
            Oracle::Map(entries.into_iter().map(entry).collect::<Option<_>>()?)
        }
        other => other,
    };
    change(value)
}

/// Deeper than anything that is compared.
const DEPTH: usize = 1024;
