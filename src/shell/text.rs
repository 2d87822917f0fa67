//! What others have sent, as text that moves no cursor: payloads as JSON in one line, and words.
//!
//! JSON stays the same JSON: what a terminal might obey is escaped in its strings, and white space
//! between its tokens goes, so that an object is one line whatever its sender has written.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use data_encoding::BASE64;
use serde_json::value::RawValue;
use stentor_client::{Codec, Dict, Payload, Value};

/// Arguments as JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Json {
        /// A list.
        args: String,
        /// A dict.
        kwargs: Option<String>,
    },
    /// What cannot be expressed in JSON.
    Bytes { codec: Codec, args: Vec<u8>, kwargs: Option<Vec<u8>>, why: String },
}

impl Said {
    pub(crate) fn of(payload: &Payload) -> Self {
        match payload.to_json() {
            Ok((args, kwargs)) => {
                Self::Json { args: safe_json(&args), kwargs: kwargs.as_deref().map(safe_json) }
            }
            Err(error) => match payload.values() {
                // Numbers that JSON does not have.
                Ok((args, kwargs)) => Self::of_values(&args, &kwargs),
                Err(_) => {
                    let raw = payload.raw();
                    let codec = raw.as_ref().map_or(Codec::Cbor, |raw| raw.codec);
                    let args = raw.as_ref().map(|raw| raw.args.to_vec()).unwrap_or_default();
                    let kwargs = raw.and_then(|raw| raw.kwargs.map(<[u8]>::to_vec));
                    Self::Bytes { codec, args, kwargs, why: error.to_string() }
                }
            },
        }
    }

    fn of_values(args: &[Value], kwargs: &Dict) -> Self {
        let mut text = String::new();
        write_list(args, &mut text);
        let kwargs = (!kwargs.is_empty()).then(|| {
            let mut text = String::new();
            write_dict(kwargs, &mut text);
            safe_json(&text)
        });
        Self::Json { args: safe_json(&text), kwargs }
    }

    /// Bytes of it, about.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Json { args, kwargs } => args.len() + kwargs.as_ref().map_or(0, String::len),
            Self::Bytes { args, kwargs, .. } => args.len() + kwargs.as_ref().map_or(0, Vec::len),
        }
    }

    /// Members of an object of JSON, with a comma before the first.
    pub(crate) fn members(&self) -> String {
        match self {
            Self::Json { args, kwargs } => {
                let kwargs = kwargs.as_deref().unwrap_or("{}");
                format!(",\"args\":{args},\"kwargs\":{kwargs}")
            }
            Self::Bytes { codec, args, kwargs, why } => {
                let kwargs = kwargs.as_ref().map(|bytes| BASE64.encode(bytes));
                let kwargs = kwargs.map(|text| format!(",\"kwargs_base64\":\"{text}\""));
                format!(
                    ",\"serializer\":\"{}\",\"args_base64\":\"{}\"{},\"unreadable\":{}",
                    codec.as_str(),
                    BASE64.encode(args),
                    kwargs.unwrap_or_default(),
                    json_string(why)
                )
            }
        }
    }

    /// For people: the arguments beside each other, then `key=value`.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Json { args, kwargs } => {
                let kwargs = members_of(kwargs.as_deref().unwrap_or("{}"));
                let kwargs = kwargs.iter().map(|(key, value)| format!("{}={value}", safe(key)));
                let args = elements_of(args).into_iter().map(|value| value.get().to_owned());
                args.chain(kwargs).collect::<Vec<_>>().join(" ")
            }
            Self::Bytes { codec, args, why, .. } => {
                format!("({} bytes of {}: {})", args.len(), codec.as_str(), safe(why))
            }
        }
    }

    /// The only argument of a payload that has just one, and no keyword arguments.
    pub(crate) fn only(&self) -> Option<&RawValue> {
        match self {
            Self::Json { args, kwargs } if kwargs.as_deref().is_none_or(|text| text == "{}") => {
                match *elements_of(args) {
                    [only] => Some(only),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// The elements of a list.
fn elements_of(json: &str) -> Vec<&RawValue> {
    // What is no list was never taken for arguments.
    serde_json::from_str(json).unwrap_or_default()
}

fn members_of(json: &str) -> BTreeMap<String, &RawValue> {
    serde_json::from_str(json).unwrap_or_default()
}

fn write_list(items: &[Value], text: &mut String) {
    text.push('[');
    for (at, item) in items.iter().enumerate() {
        text.push_str(if at == 0 { "" } else { "," });
        write_value(item, text);
    }
    text.push(']');
}

fn write_dict(entries: &Dict, text: &mut String) {
    text.push('{');
    for (at, (key, value)) in entries.iter().enumerate() {
        text.push_str(if at == 0 { "" } else { "," });
        text.push_str(&json_string(key));
        text.push(':');
        write_value(value, text);
    }
    text.push('}');
}

/// Numbers that JSON does not have are strings: "NaN", "inf" and "-inf".
fn write_value(value: &Value, text: &mut String) {
    let done = match value {
        // Nobody else's values are encoded already.
        Value::Null | Value::Encoded(..) => write!(text, "null"),
        Value::Bool(truth) => write!(text, "{truth}"),
        Value::Int(number) => write!(text, "{number}"),
        Value::UInt(number) => write!(text, "{number}"),
        Value::Float(number) if number.is_finite() => write!(text, "{number:?}"),
        Value::Float(number) => write!(text, "\"{number}\""),
        Value::Str(string) => write!(text, "{}", json_string(string)),
        Value::Bytes(bytes) => write!(text, "\"\\u0000{}\"", BASE64.encode(bytes)),
        Value::List(items) => {
            write_list(items, text);
            Ok(())
        }
        Value::Dict(entries) => {
            write_dict(entries, text);
            Ok(())
        }
    };
    done.expect("into a string");
}

/// A string of JSON, which holds nothing that a terminal might obey.
pub(crate) fn json_string(text: &str) -> String {
    safe_json(&serde_json::Value::from(text).to_string())
}

/// The same JSON in one line, in which nothing moves a cursor or turns the direction of reading.
pub(crate) fn safe_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    let (mut in_string, mut is_escaped) = (false, false);
    for letter in json.chars() {
        if !in_string {
            in_string = letter == '"';
            if !letter.is_ascii_whitespace() {
                safe.push(letter);
            }
            continue;
        }
        in_string = is_escaped || letter != '"';
        is_escaped = !is_escaped && letter == '\\';
        if is_hazard(letter) {
            let units = &mut [0; 2];
            for unit in letter.encode_utf16(units) {
                write!(safe, "\\u{unit:04x}").expect("into a string");
            }
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// Words that others have chosen, for standard error or a terminal: what a terminal might obey is
/// written as in `\u{1b}`.
pub(crate) fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\t' => safe.push(letter),
            _ if is_hazard(letter) => safe.extend(letter.escape_unicode()),
            _ => safe.push(letter),
        }
    }
    safe
}

/// Controls, line separators, what turns the direction of reading, and what is not to be seen.
fn is_hazard(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_is_one_line_that_a_terminal_only_shows() {
        for (json, safe) in [
            ("{ \"a b\" :\n [ 1 ,\t2 ] }", r#"{"a b":[1,2]}"#),
            ("\"\u{7f}\u{9b}31m\u{202e}\"", r#""\u007f\u009b31m\u202e""#),
            ("\"\u{e0041}\"", r#""\udb40\udc41""#),
            (r#"["\"\u001b[2J\\", "x y"]"#, r#"["\"\u001b[2J\\","x y"]"#),
            (r#""\\""#, r#""\\""#),
        ] {
            assert_eq!(safe_json(json), safe, "{json}");
        }
        assert_eq!(safe("a\u{1b}[2J\r\n\u{202e}b"), "a\\u{1b}[2J\\u{d}\n\\u{202e}b");
        assert_eq!(json_string("\u{1b}\""), r#""\u001b\"""#);
    }

    #[test]
    fn numbers_that_json_lacks_are_strings() {
        let args = [
            Value::Float(f64::NAN),
            Value::Float(f64::INFINITY),
            Value::Float(-1.0),
            Value::UInt(u64::MAX),
            Value::Int(i64::MIN),
            Value::Bytes(vec![1, 2]),
            Value::Str("\u{9b}".to_owned()),
        ];
        let kwargs = vec![("k".into(), Value::List(vec![Value::Null, true.into()]))];
        let said = Said::of_values(&args, &kwargs);
        let members = ",\"args\":[\"NaN\",\"inf\",-1.0,18446744073709551615,-9223372036854775808,\
                       \"\\u0000AQI=\",\"\\u009b\"],\"kwargs\":{\"k\":[null,true]}";
        assert_eq!(said.members(), members);
        let words = "\"NaN\" \"inf\" -1.0 18446744073709551615 -9223372036854775808 \
                     \"\\u0000AQI=\" \"\\u009b\" k=[null,true]";
        assert_eq!(said.words(), words);
        assert!(said.only().is_none());
    }

    #[test]
    fn what_is_no_json_is_said_to_be_bytes() {
        let (args, kwargs) = (vec![1, 2], Some(vec![3]));
        let said = Said::Bytes { codec: Codec::Cbor, args, kwargs, why: "a \u{1b} tag".to_owned() };
        let object = format!("{{\"topic\":\"a\"{}}}", said.members());
        let object: serde_json::Value = serde_json::from_str(&object).unwrap();
        assert_eq!(object["args_base64"], "AQI=");
        assert_eq!(object["kwargs_base64"], "Aw==");
        assert_eq!(object["serializer"], "cbor");
        assert_eq!(said.words(), "(2 bytes of cbor: a \\u{1b} tag)");
    }

    proptest! {
        #[test]
        fn safe_json_is_the_same_json(text in any::<String>(), number in any::<f64>()) {
            let value = serde_json::json!({text.as_str(): [text.as_str(), number, [], {}]});
            for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let safe = safe_json(&json);
                prop_assert!(!safe.chars().any(is_hazard));
                prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&safe).unwrap(), &value);
            }
        }

        #[test]
        fn safe_words_hold_no_hazard(text in any::<String>()) {
            let left: Vec<_> = safe(&text).chars().filter(|letter| is_hazard(*letter)).collect();
            prop_assert!(left.iter().all(|letter| matches!(letter, '\n' | '\t')));
        }
    }
}
