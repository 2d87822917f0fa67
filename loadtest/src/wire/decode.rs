//! Whole messages as values, for the few whose inside matters: CHALLENGE, and pages of a history.

use serde_json::Value;

use super::Serializer;

/// # Errors
/// What the serializer's library says of bytes that are no value of it.
pub fn decode(serializer: Serializer, message: &[u8]) -> Result<Value, String> {
    match serializer {
        Serializer::Json => serde_json::from_slice(message).map_err(|error| error.to_string()),
        Serializer::MessagePack => rmp_serde::from_slice(message).map_err(|e| e.to_string()),
        Serializer::Cbor => ciborium::from_reader(message).map_err(|error| error.to_string()),
    }
}
