//! What a line of a dialogue says of a message, and whether a message is like that.

use serde_json::{Value, json};

use super::super::words::{code, quoted, sorted};
use super::Stage;

impl Stage {
    /// Whether a message is as the words say; binds names that are new.
    pub(super) fn matches(&mut self, message: &Value, words: &[&str]) -> bool {
        let elements = message.as_array().expect("a message is a list");
        if elements[0] != json!(code(words[0]).0) {
            return false;
        }
        let mut words = &words[1..];
        let mut elements = &elements[1..];
        while let Some((word, rest)) = words.split_first() {
            if *word == "..." {
                return true;
            }
            let Some((element, others)) = elements.split_first() else { return false };
            let fits = match *word {
                "*" => true,
                word if word.starts_with('~') => {
                    sorted(self.literal(&word[1..])) == sorted(element.clone())
                }
                name if name.starts_with('$') => {
                    self.bindings.entry(name.to_owned()).or_insert_with(|| element.clone())
                        == element
                }
                word => {
                    let template = self.literal(word);
                    self.fits(&template, element)
                }
            };
            if !fits {
                return false;
            }
            (words, elements) = (rest, others);
        }
        elements.is_empty()
    }

    /// Whether a value is like a template, in which `*` is anything; binds names that are new.
    pub(super) fn fits(&mut self, template: &Value, value: &Value) -> bool {
        match (template, value) {
            (Value::String(word), _) if word == "*" => true,
            (Value::String(name), _) if name.starts_with('$') => {
                self.bindings.entry(name.clone()).or_insert_with(|| value.clone()) == value
            }
            (Value::Array(templates), Value::Array(values)) => {
                let mut pairs = templates.iter().zip(values);
                templates.len() == values.len() && pairs.all(|(one, other)| self.fits(one, other))
            }
            (Value::Object(templates), Value::Object(values)) => {
                let mut entries = templates.iter();
                templates.len() == values.len()
                    && entries.all(|(key, template)| {
                        values.get(key).is_some_and(|value| self.fits(template, value))
                    })
            }
            _ => template == value,
        }
    }

    /// A JSON value, in which names and `*` may stand, or a bare word as a string.
    pub(super) fn literal(&self, word: &str) -> Value {
        let mut text = word.to_owned();
        // Backwards, so that `$ab` comes before `$a`.
        for (name, value) in self.bindings.iter().rev().filter(|_| word.contains('$')) {
            text = text.replace(name, &value.to_string());
        }
        for open in ['[', '{'] {
            if text.starts_with(open) {
                text = quoted(&text);
            }
        }
        serde_json::from_str(&text).unwrap_or_else(|_| json!(word))
    }
}
