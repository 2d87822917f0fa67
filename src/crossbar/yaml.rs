//! YAML as crossbar reads it, which is YAML 1.1: `no` and `off` are false, so a rule that says
//! `call: no` denies calls here as it does there.
//!
//! Anchors cost what they stand for: a file that unfolds to more than [`MAX_WEIGHT`] is refused.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::Unreadable;
use super::value::{Map, Value};

/// # Errors
/// If it is no YAML, or holds what no configuration needs.
pub(super) fn read(text: &str) -> Result<Value, Unreadable> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let (line, column) = (error.marker().line(), error.marker().col() + 1);
            Unreadable::Syntax { line, column, reason: error.info().to_owned() }
        })?;
        let fault = |reason| {
            let (line, column) = (span.start.line(), span.start.col() + 1);
            Unreadable::Syntax { line, column, reason }
        };
        builder.take(event).map_err(fault)?;
    }
    builder.whole.ok_or(Unreadable::Empty)
}

/// A list or map that has begun.
struct Open {
    anchor: usize,
    /// What it weighs so far.
    weight: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Value>),
    Map {
        map: Map,
        /// What `<<` has brought: keys of the map itself go before them.
        merged: Vec<(String, Value)>,
        key: Option<String>,
    },
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// What anchors stand for, with its weight.
    anchors: BTreeMap<usize, (Value, usize)>,
    weight: usize,
    whole: Option<Value>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref())?;
                let weight = VALUE_BYTES + text.len();
                self.add(value, Some(&text), weight, anchor)
            }
            Event::Alias(anchor) => {
                let found = self.anchors.get(&anchor).cloned();
                let (value, weight) = found.ok_or("this alias stands for what it is a part of")?;
                let text = value.as_text().map(str::to_owned);
                self.add(value, text.as_deref(), weight, 0)
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(anchor, tag.as_deref(), Kind::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                let (map, merged) = (Map::default(), Vec::new());
                self.begin(anchor, tag.as_deref(), Kind::Map { map, merged, key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::DocumentStart(_) if self.whole.is_some() => {
                Err("a second document begins here, and a configuration is one".into())
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, anchor: usize, tag: Option<&Tag>, kind: Kind) -> Result<(), String> {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            return Err(format!("the tag `{}{}` is not supported", tag.handle, tag.suffix));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(format!("this is nested deeper than {MAX_DEPTH} levels"));
        }
        self.open.push(Open { anchor, weight: 1, kind });
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(Open { anchor, weight, kind }) = self.open.pop() else { return Ok(()) };
        let value = match kind {
            Kind::List(items) => Value::List(items),
            Kind::Map { mut map, merged, .. } => {
                for (key, value) in merged {
                    if !map.has(&key) {
                        map.put(key, value);
                    }
                }
                Value::Map(map.entries)
            }
        };
        // What it holds has been counted when it came.
        self.place(value, None, weight, anchor)
    }

    /// A value that is new, or once more what an anchor stands for.
    fn add(
        &mut self,
        value: Value,
        text: Option<&str>,
        weight: usize,
        anchor: usize,
    ) -> Result<(), String> {
        self.weight += weight;
        if self.weight > MAX_WEIGHT {
            return Err("the file unfolds to more than a configuration can need".into());
        }
        self.place(value, text, weight, anchor)
    }

    fn place(
        &mut self,
        value: Value,
        text: Option<&str>,
        weight: usize,
        anchor: usize,
    ) -> Result<(), String> {
        if anchor != 0 {
            self.anchors.insert(anchor, (value.clone(), weight));
        }
        let Some(Open { weight: whole, kind, .. }) = self.open.last_mut() else {
            self.whole = Some(value);
            return Ok(());
        };
        *whole += weight;
        match kind {
            Kind::List(items) => items.push(value),
            Kind::Map { map, merged, key } => match key.take() {
                None => *key = Some(text.ok_or("a key must be a text")?.to_owned()),
                Some(name) if name == MERGE => merge(merged, value)?,
                Some(name) => map.put(name, value),
            },
        }
        Ok(())
    }
}

/// `<<: *others`: a map, or a list of them of which the first counts.
fn merge(merged: &mut Vec<(String, Value)>, value: Value) -> Result<(), String> {
    match value {
        Value::Map(entries) => merged.extend(entries),
        Value::List(items) => items.into_iter().try_for_each(|item| merge(merged, item))?,
        _ => return Err("`<<` takes a section, or a list of them".into()),
    }
    Ok(())
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    match tag {
        None if style == ScalarStyle::Plain => Ok(plain(text)),
        None => Ok(Value::Text(text.to_owned())),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => {
            Ok(Value::Text(text.to_owned()))
        }
        Some(tag) => Err(format!("the tag `{}{}` is not supported", tag.handle, tag.suffix)),
    }
}

/// The types of YAML 1.1, as far as configurations have them.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return Value::Text(text.to_owned());
    }
    let bare = digits.replace('_', "");
    let number = match bare.as_bytes() {
        [b'0', b'x', ..] => i64::from_str_radix(&bare[2..], 16).ok(),
        [b'0', b'b', ..] => i64::from_str_radix(&bare[2..], 2).ok(),
        [b'0', _, ..] => i64::from_str_radix(&bare[1..], 8).ok(),
        _ => bare.parse().ok(),
    };
    let is_negative = text.starts_with('-');
    if let Some(number) = number {
        return Value::Int(if is_negative { -number } else { number });
    }
    let is_float = bare.contains('.') && bare.bytes().all(|b| b"0123456789.eE+-".contains(&b));
    match bare.parse::<f64>() {
        Ok(number) if is_float => Value::Float(if is_negative { -number } else { number }),
        _ => Value::Text(text.to_owned()),
    }
}

/// The key that brings another section's.
const MERGE: &str = "<<";

/// Lists and sections inside each other; crossbar's have some ten.
const MAX_DEPTH: usize = 64;

/// Bytes that a file may unfold to, anchors included.
const MAX_WEIGHT: usize = 8 * super::MAX_FILE_BYTES;

/// What a value takes besides its text, in bytes.
const VALUE_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;

    fn json(text: &str) -> String {
        read(text).expect("it is YAML").to_json().to_string()
    }

    #[test]
    fn types_are_those_of_yaml_1_1() {
        let text = "{a: no, b: Off, c: yes, d: 010, e: 0x10, f: '10', g: 1_000, h: ~, i: n, j: -3}";
        let expected = value!({
            "a": false, "b": false, "c": true, "d": 8, "e": 16,
            "f": "10", "g": 1000, "h": null, "i": "n", "j": -3,
        });
        assert_eq!(json(text), expected.to_string());
        assert_eq!(
            json("[1.5, 1.2.3, .com, 1e3, 10.0.0.1, +7]"),
            r#"[1.5,"1.2.3",".com","1e3","10.0.0.1",7]"#
        );
        assert_eq!(json("a: !!str no"), r#"{"a":"no"}"#);
    }

    #[test]
    fn anchors_are_what_they_stand_for() {
        assert_eq!(json("a: &x {b: 1}\nc: *x\n"), r#"{"a":{"b":1},"c":{"b":1}}"#);
        let merged = "a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3\n";
        assert_eq!(json(merged), r#"{"a":{"b":1,"c":2},"d":{"b":1,"c":3}}"#);
        assert_eq!(json("a: 1\na: 2\n"), r#"{"a":2}"#);
    }

    #[test]
    fn a_file_that_unfolds_without_end_is_refused() {
        let mut text = String::from("a0: &a0 [xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx]\n");
        for level in 1..12 {
            let below = format!("*a{}", level - 1);
            let nine = vec![below; 9].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{nine}]\n"));
        }
        let reason = read(&text).expect_err("too large").to_string();
        assert!(reason.contains("unfolds to more"), "{reason}");
        let deep = "[".repeat(100);
        assert!(read(&deep).expect_err("too deep").to_string().contains("nested deeper"));
        assert!(read("a: &x [*x]").is_err(), "it is a part of itself");
        assert!(read("a: !!python/object:os.system x").is_err());
        assert!(read("a: 1\n---\nb: 2\n").is_err(), "two documents");
        assert!(read("").is_err());
        assert!(read("a: [1\n").is_err());
    }
}
