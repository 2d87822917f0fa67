//! Values as JSON and back, for what comes in tokens and goes over HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value as Json};

use crate::wamp::{Dict, Value};

/// As the JSON serializer of WAMP writes it: bytes are Base64 behind a NUL (BP-SER).
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        // What the router has encoded ahead is never part of a question.
        Value::Null | Value::Encoded(..) => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(number) => Json::from(*number),
        Value::UInt(number) => Json::from(*number),
        Value::Float(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::Str(text) => Json::String(text.clone()),
        Value::Bytes(bytes) => Json::String(format!("\0{}", STANDARD.encode(bytes))),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Dict(dict) => Json::Object(dict_to_json(dict)),
    }
}

fn dict_to_json(dict: &Dict) -> Map<String, Json> {
    dict.iter().map(|(key, value)| (key.to_string(), to_json(value))).collect()
}

pub(crate) fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => from_number(number),
        Json::String(text) => Value::Str(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(from_json).collect()),
        Json::Object(members) => {
            let entry = |(key, value): (&String, _)| (key.clone().into(), from_json(value));
            Value::Dict(members.iter().map(entry).collect())
        }
    }
}

fn from_number(number: &Number) -> Value {
    if let Some(whole) = number.as_u64() {
        Value::UInt(whole)
    } else if let Some(whole) = number.as_i64() {
        Value::Int(whole)
    } else {
        number.as_f64().map_or(Value::Null, Value::Float)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text = r#"{"a":[null,true,-1,18446744073709551615,0.5,"x"],"b":{"c":{}}}"#;
        let json: Json = serde_json::from_str(text).expect("JSON");
        assert_eq!(to_json(&from_json(&json)), json);
        assert_eq!(to_json(&Value::Bytes(vec![1, 2])), Json::from("\0AQI="));
        assert_eq!(to_json(&Value::Float(f64::NAN)), Json::Null);
    }
}
