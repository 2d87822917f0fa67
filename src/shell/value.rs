//! Arguments as people type them, and as serde sends them.
//!
//! A text becomes a typed value by the rules of [`typed`]; files and standard input are read with a
//! bound. Binary data is what WAMP has for it in JSON: a string of U+0000 and Base64.

use std::fs::File;
use std::io::{self, Read};

use data_encoding::BASE64;
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stentor::wamp;

/// Why a text is no argument.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ValueError {
    #[error(
        "`{text}` begins and ends as JSON, but is none: {error}\n  = help: in double quotes it is \
         a string"
    )]
    NotJson { text: String, error: serde_json::Error },
    #[error(
        "{0} is beyond the integers that WAMP has, -2^63 to 2^64 - 1\n  = help: in double quotes \
         it is a string"
    )]
    TooLarge(String),
    #[error("`{0}` has no `=`: write key=value")]
    NoKey(String),
    #[error("the key `{0}` is there twice")]
    Twice(String),
    #[error("cannot read `{name}`: {error}")]
    Unreadable { name: String, error: io::Error },
    #[error("`{0}` holds more than {MOST_BYTES} bytes")]
    TooLong(String),
    #[error("standard input can be one argument only")]
    InputTwice,
}

/// The value of a text: JSON where it is an integer, another number, `true`, `false`, `null`, or a
/// string, list or dict of JSON; and itself, a string, where it is not.
pub(crate) fn typed(text: &str) -> Result<Value, ValueError> {
    if is_integer(text) {
        let signed = text.parse::<i64>().map(Value::from);
        return signed
            .or_else(|_| text.parse::<u64>().map(Value::from))
            .map_err(|_| ValueError::TooLarge(shown(text)));
    }
    let ends = |open, close| text.starts_with(open) && text.ends_with(close);
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(error) if ends('{', '}') || ends('[', ']') => {
            Err(ValueError::NotJson { text: shown(text), error })
        }
        Err(_) => Ok(text.into()),
    }
}

/// An integer as JSON writes it: `007` is none, so that it stays what it is.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = digits == "0" || !digits.starts_with('0');
    is_plain && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The beginning of what was typed, to be named in an error.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

/// Reads arguments; standard input only once.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    has_read_input: bool,
}

impl Reader {
    /// As [`typed`]; `@file` is what the file holds, and `-` what standard input holds.
    pub(crate) fn argument(&mut self, text: &str) -> Result<Value, ValueError> {
        if text == "-" {
            if std::mem::replace(&mut self.has_read_input, true) {
                return Err(ValueError::InputTwice);
            }
            return content("standard input", io::stdin().lock());
        }
        match text.strip_prefix('@') {
            None | Some("") => typed(text),
            Some(name) => match File::open(name) {
                Ok(file) => content(name, file),
                Err(error) => Err(ValueError::Unreadable { name: name.to_owned(), error }),
            },
        }
    }

    /// Positional and keyword arguments.
    pub(crate) fn arguments(
        &mut self,
        args: &[String],
        kwargs: &[String],
    ) -> Result<Arguments, ValueError> {
        let args = args.iter().map(|text| self.argument(text)).collect::<Result<_, _>>()?;
        Ok(Arguments { args, kwargs: self.dict(kwargs)? })
    }

    /// `key=value`, each key once.
    pub(crate) fn dict(&mut self, entries: &[String]) -> Result<Map<String, Value>, ValueError> {
        let mut dict = Map::new();
        for entry in entries {
            let parts = entry.split_once('=').filter(|(key, _)| !key.is_empty());
            let (key, text) = parts.ok_or_else(|| ValueError::NoKey(shown(entry)))?;
            if dict.insert(key.to_owned(), self.argument(text)?).is_some() {
                return Err(ValueError::Twice(shown(key)));
            }
        }
        Ok(dict)
    }
}

/// What a source holds: a typed value if its text is one, with or without white space around it;
/// else the text as it is; else binary data.
fn content(name: &str, source: impl Read) -> Result<Value, ValueError> {
    let mut bytes = Vec::new();
    let read = source.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| ValueError::Unreadable { name: name.to_owned(), error })?;
    if bytes.len() > MOST_BYTES {
        return Err(ValueError::TooLong(name.to_owned()));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => match typed(text.trim()) {
            Ok(Value::String(same)) if same == text.trim() => text.into(),
            Ok(value) => value,
            // A file is not typed by hand: it need not be JSON because it looks like it.
            Err(_) => text.into(),
        },
        Err(error) => binary(error.as_bytes()),
    })
}

/// Binary data as JSON has it in WAMP.
pub(crate) fn binary(bytes: &[u8]) -> Value {
    format!("\0{}", BASE64.encode(bytes)).into()
}

/// The binary data that a string of JSON stands for, if it does.
pub(crate) fn bytes_of(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.strip_prefix('\0')?.as_bytes()).ok()
}

/// What goes with a call, a publication or a result.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arguments {
    #[serde(default)]
    pub(crate) args: Vec<Value>,
    #[serde(default)]
    pub(crate) kwargs: Map<String, Value>,
}

impl Arguments {
    pub(crate) fn of(args: Vec<Value>) -> Self {
        Self { args, kwargs: Map::new() }
    }

    /// `Arguments`; a unit, which stands for none, where there are none.
    pub(crate) fn args(&self) -> impl Serialize + use<'_> {
        let is_there = !self.args.is_empty() || !self.kwargs.is_empty();
        is_there.then(|| self.args.iter().map(Sent).collect::<Vec<_>>())
    }

    /// `ArgumentsKw`; a unit, which stands for none, where there are none.
    pub(crate) fn kwargs(&self) -> impl Serialize + use<'_> {
        (!self.kwargs.is_empty()).then_some(SentDict(&self.kwargs))
    }
}

/// A value on its way out: binary data is no text in serializers that have it.
struct Sent<'a>(&'a Value);

impl Serialize for Sent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(text) => match bytes_of(text) {
                Some(bytes) => serializer.serialize_bytes(&bytes),
                None => serializer.serialize_str(text),
            },
            Value::Array(items) => serializer.collect_seq(items.iter().map(Sent)),
            Value::Object(entries) => SentDict(entries).serialize(serializer),
            plain => plain.serialize(serializer),
        }
    }
}

struct SentDict<'a>(&'a Map<String, Value>);

impl Serialize for SentDict<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key, &Sent(value))?;
        }
        map.end()
    }
}

/// An option of a message.
pub(crate) fn to_wamp(value: &Value) -> wamp::Value {
    match value {
        Value::Null => wamp::Value::Null,
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => wamp::Value::UInt(number),
            (None, Some(number)) => wamp::Value::Int(number),
            // All that is left are floats.
            (None, None) => wamp::Value::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => match bytes_of(text) {
            Some(bytes) => wamp::Value::Bytes(bytes),
            None => text.as_str().into(),
        },
        Value::Array(items) => wamp::Value::List(items.iter().map(to_wamp).collect()),
        Value::Object(entries) => wamp::Value::Dict(
            entries.iter().map(|(key, value)| (key.clone().into(), to_wamp(value))).collect(),
        ),
    }
}

/// What a file or standard input may hold; more does not fit into a message of most routers.
const MOST_BYTES: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_has_the_type_that_it_looks_like() {
        for (text, value) in [
            ("5", json!(5)),
            ("-5", json!(-5)),
            ("-0", json!(0)),
            ("18446744073709551615", json!(u64::MAX)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("\"5\"", json!("5")),
            ("true", json!(true)),
            ("null", json!(null)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            ("[1, \"a\"]", json!([1, "a"])),
            ("{\"a\": null}", json!({"a": null})),
            // Everything else is itself.
            ("007", json!("007")),
            ("+5", json!("+5")),
            ("5.", json!("5.")),
            ("", json!("")),
            ("-", json!("-")),
            ("True", json!("True")),
            ("NaN", json!("NaN")),
            ("\"open", json!("\"open")),
            ("[draft] text", json!("[draft] text")),
            ("@home", json!("@home")),
            ("a b", json!("a b")),
        ] {
            assert_eq!(typed(text).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn what_is_almost_a_value_is_refused() {
        for (text, why) in [
            ("{a: 1}", "begins and ends as JSON"),
            ("[1,]", "begins and ends as JSON"),
            ("18446744073709551616", "beyond the integers"),
            ("-9223372036854775809", "beyond the integers"),
        ] {
            let error = typed(text).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("in double quotes"), "{text}: {error}");
        }
        let long = format!("{{{}}}", "x".repeat(1_000));
        assert!(typed(&long).unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn keys_are_named_once() {
        let dict = |entries: &[&str]| {
            let entries: Vec<_> = entries.iter().map(|&entry| entry.to_owned()).collect();
            Reader::default().dict(&entries).map_err(|error| error.to_string())
        };
        let entries = dict(&["a=1", "b=x=y", "c="]).unwrap();
        assert_eq!(Value::Object(entries), json!({"a": 1, "b": "x=y", "c": ""}));
        assert!(dict(&["a"]).unwrap_err().contains("no `=`"));
        assert!(dict(&["=1"]).unwrap_err().contains("no `=`"));
        assert!(dict(&["a=1", "a=2"]).unwrap_err().contains("twice"));
    }

    #[test]
    fn a_file_holds_a_value_a_text_or_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let read = |bytes: &[u8]| {
            let path = directory.path().join("file");
            std::fs::write(&path, bytes).unwrap();
            Reader::default().argument(&format!("@{}", path.display()))
        };
        assert_eq!(read(b"5\n").unwrap(), json!(5));
        assert_eq!(read(b"{\"a\":\n 1}\n").unwrap(), json!({"a": 1}));
        assert_eq!(read(b" two \n").unwrap(), json!(" two \n"), "a text as it is");
        assert_eq!(read(b"{no json}").unwrap(), json!("{no json}"));
        assert_eq!(read(&[0xff, 0]).unwrap(), json!("\0/wA="));
        assert!(read(&vec![b'x'; MOST_BYTES + 1]).unwrap_err().to_string().contains("more than"));
        let missing = Reader::default().argument("@no/such").unwrap_err().to_string();
        assert!(missing.contains("no/such"), "{missing}");
        let mut reader = Reader { has_read_input: true };
        assert!(reader.argument("-").unwrap_err().to_string().contains("one argument only"));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>()
                .prop_filter("JSON has it", |number| number.is_finite())
                .prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            any::<Vec<u8>>().prop_map(|bytes| binary(&bytes)),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|entries| entries.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_is_typed_as_itself(value in values()) {
            prop_assert_eq!(typed(&value.to_string()).unwrap(), value);
        }

        #[test]
        fn nothing_that_is_typed_panics(text in any::<String>()) {
            if let Ok(value) = typed(&text) {
                prop_assert!(value.is_string() || serde_json::from_str::<Value>(&text).is_ok());
            }
        }

        /// Bytes are bytes and integers exact in CBOR, and in what options are made of.
        #[test]
        fn what_is_sent_is_what_was_typed(value in values()) {
            let arguments = Arguments::of(vec![value.clone()]);
            let mut bytes = Vec::new();
            ciborium::into_writer(&arguments.args(), &mut bytes).unwrap();
            let sent = stentor::codec::decode_value(stentor::codec::Codec::Cbor, &bytes).unwrap();
            let wamp::Value::List(sent) = sent else { panic!("{sent:?}") };
            let json = |value: &wamp::Value| {
                stentor::codec::encode_value(stentor::codec::Codec::Json, value).unwrap()
            };
            let as_json: Value = serde_json::from_slice(&json(&sent[0])).unwrap();
            prop_assert_eq!(&as_json, &value);
            let as_option: Value = serde_json::from_slice(&json(&to_wamp(&value))).unwrap();
            prop_assert_eq!(as_option, value);
        }
    }
}
