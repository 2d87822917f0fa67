//! A configuration as TOML, each key with where its value comes from.
//!
//! Secrets do not come up: a configuration holds where they are found. What is kept of the
//! operators' token is left out, and so is what stands behind the `?` of an address.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::Config;
use super::fault::key_without_index;
use super::sections::SECTIONS;

/// `origin`: where the value of a key comes from, as `limits.nesting` or `listener.0.paths`; `None`
/// if it is the default. `shows_defaults`: with all keys, and not those alone that are set.
pub(super) fn show(
    config: &Config,
    origin: &dyn Fn(&str) -> Option<String>,
    shows_defaults: bool,
) -> String {
    let Ok(Value::Object(root)) = serde_json::to_value(config) else {
        unreachable!("settings are tables of plain values");
    };
    let mut page = Page { text: String::new(), origin, shows_defaults };
    page.keys("", &root);
    for section in SECTIONS.iter().filter(|section| !section.name.is_empty()) {
        let Some(Value::Object(keys)) = root.get(section.name) else { continue };
        page.table(section.name, &format!("[{}]", section.name), keys, false);
    }
    for list in ["listener", "realm"] {
        page.list(list, list, &root[list]);
    }
    page.text
}

struct Page<'a> {
    text: String,
    origin: &'a dyn Fn(&str) -> Option<String>,
    shows_defaults: bool,
}

impl Page<'_> {
    /// A table with its head, which an item of a list that is set has even if nothing in it is.
    fn table(&mut self, path: &str, head: &str, keys: &Map<String, Value>, is_item: bool) {
        let before = self.text.len();
        self.keys(path, keys);
        let is_set = is_item && (self.shows_defaults || (self.origin)(path).is_some());
        if is_set || self.text.len() > before {
            let blank = if before == 0 { "" } else { "\n" };
            self.text.insert_str(before, &format!("{blank}{head}\n"));
        }
        for (key, value) in keys.iter().filter(|(_, value)| is_list_of_tables(value)) {
            let name = head.trim_matches(['[', ']']);
            self.list(&format!("{path}.{key}"), &format!("{name}.{key}"), value);
        }
    }

    fn list(&mut self, path: &str, name: &str, items: &Value) {
        for (number, item) in items.as_array().into_iter().flatten().enumerate() {
            if let Value::Object(keys) = item {
                self.table(&format!("{path}.{number}"), &format!("[[{name}]]"), keys, true);
            }
        }
    }

    /// The keys of a table that hold values.
    fn keys(&mut self, path: &str, keys: &Map<String, Value>) {
        let table = key_without_index(path);
        for (key, value) in keys {
            let is_section = path.is_empty() && value.is_object();
            // An empty list of tables looks like any other, and says nothing.
            if is_section || is_list_of_tables(value) || LISTS.contains(&(&*table, key)) {
                continue;
            }
            let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let origin = (self.origin)(&full);
            if origin.is_some() || self.shows_defaults {
                self.key(&full, key, value, origin.as_deref().unwrap_or("default"));
            }
        }
    }

    fn key(&mut self, full: &str, key: &str, value: &Value, origin: &str) {
        let line = match value {
            Value::Null => format!("# {key} is not set"),
            _ if HIDDEN.contains(&&*key_without_index(full)) => {
                format!("# {key} is set, and not shown")
            }
            value => format!("{key} = {}", toml(value)),
        };
        let said = match value {
            Value::Null => String::new(),
            _ => format!("  # {origin}"),
        };
        let width = if said.is_empty() { 0 } else { COLUMN };
        writeln!(self.text, "{line:<width$}{said}").expect("into a string");
    }
}

fn is_list_of_tables(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.first().is_some_and(Value::is_object))
}

fn toml(value: &Value) -> String {
    match value {
        Value::String(text) => toml::Value::from(without_query(text)).to_string(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(keys) => {
            let set = keys.iter().filter(|(_, value)| !value.is_null());
            let pairs: Vec<_> =
                set.map(|(key, value)| format!("{} = {}", word(key), toml(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        plain => plain.to_string(),
    }
}

/// A key as it may stand, quoted if it must be.
fn word(key: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    match !key.is_empty() && key.bytes().all(is_bare) {
        true => key.to_owned(),
        false => toml::Value::from(key).to_string(),
    }
}

/// An address without what may be a secret in it.
fn without_query(text: &str) -> String {
    match text.split_once('?') {
        Some((address, _)) if address.contains("://") => format!("{address}?..."),
        _ => text.to_owned(),
    }
}

const HIDDEN: [&str; 2] = ["admin.token", "listener.path.key.hash"];

/// Lists of tables, also while they are empty: table and key.
const LISTS: [(&str, &str); 13] = [
    ("", "listener"),
    ("", "realm"),
    ("admin", "tls"),
    ("metrics", "group"),
    ("listener", "tls"),
    ("listener", "path"),
    ("listener.path", "key"),
    ("realm", "authenticator"),
    ("realm", "authorizer"),
    ("realm", "history"),
    ("realm", "webhook"),
    ("realm", "role"),
    ("realm.role", "permission"),
];

/// Where the origin begins.
const COLUMN: usize = 44;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_toml() {
        let value = serde_json::json!({
            "a": ["x\"y", 1, true],
            "b c": null,
            "d.e": { "url": "https://x/y?secret" },
        });
        let text = toml(&value);
        assert_eq!(text, r#"{ a = ['x"y', 1, true], "d.e" = { url = "https://x/y?..." } }"#);
        assert!(format!("x = {text}").parse::<toml::Table>().is_ok());
    }
}
