//! A JSON Schema (2020-12) of the configuration file, for editors.
//!
//! Made of what there is: keys, types and names from the structs, by asking them what they take;
//! defaults from their defaults; descriptions from the comments of the default file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::keys_of;
use super::parse::deserialize;
use super::sections::WRONG_TYPE;
use super::{
    Admin, Authenticator, Authorizer, Cluster, Config, DEFAULT_FILE, Group, History, Listener,
    ListenerPath, Log, Management, Metrics, PathKey, Permission, Protocol, Realm, Role, Storage,
    Tls, TokenSettings, Tuning, Webhook,
};
use crate::limits::{Limits, OutputLimits, Timeouts};

/// A table of the file, and those in it.
struct Table {
    /// Below that of its parent.
    name: &'static str,
    form: Form,
    keys: fn() -> &'static [&'static str],
    type_of: fn(&str) -> Value,
    defaults: fn() -> Value,
    children: &'static [Self],
}

#[derive(Clone, Copy)]
enum Form {
    /// `[name]`
    Single,
    /// `[[name]]`, each of which has this key.
    List(&'static str),
}

macro_rules! table {
    ($name:literal, $form:expr, $type:ty, $children:expr) => {
        Table {
            name: $name,
            form: $form,
            keys: || keys_of::<$type>(),
            type_of: type_of::<$type>,
            defaults: defaults_of::<$type>,
            children: $children,
        }
    };
}

const ROOT: Table = table!(
    "",
    Form::Single,
    Config,
    &[
        table!(
            "listener",
            Form::List("listen"),
            Listener,
            &[
                table!(
                    "path",
                    Form::List("path"),
                    ListenerPath,
                    &[table!("key", Form::List("name"), PathKey, &[])]
                ),
                table!("tls", Form::List("certificate"), Tls, &[]),
            ]
        ),
        table!(
            "realm",
            Form::List("name"),
            Realm,
            &[
                table!(
                    "authenticator",
                    Form::List("method"),
                    Authenticator,
                    &[table!("jwt", Form::Single, TokenSettings, &[]),]
                ),
                table!("authorizer", Form::List("url"), Authorizer, &[]),
                table!("history", Form::List("topic"), History, &[]),
                table!("webhook", Form::List("name"), Webhook, &[]),
                table!(
                    "role",
                    Form::List("name"),
                    Role,
                    &[table!("permission", Form::List("uri"), Permission, &[]),]
                ),
            ]
        ),
        table!("limits", Form::Single, Limits, &[]),
        table!("output", Form::Single, OutputLimits, &[]),
        table!("timeouts", Form::Single, Timeouts, &[]),
        table!("protocol", Form::Single, Protocol, &[]),
        table!("storage", Form::Single, Storage, &[]),
        table!("tuning", Form::Single, Tuning, &[]),
        table!("log", Form::Single, Log, &[]),
        table!("admin", Form::Single, Admin, &[table!("tls", Form::List("certificate"), Tls, &[])]),
        table!(
            "metrics",
            Form::Single,
            Metrics,
            &[table!("group", Form::List("name"), Group, &[])]
        ),
        table!("management", Form::Single, Management, &[]),
        table!("cluster", Form::Single, Cluster, &[]),
    ]
);

/// The schema, as JSON.
pub fn schema() -> String {
    let mut schema = object(&ROOT, "", &descriptions());
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Configuration of Stentor".into();
    format!("{schema:#}\n")
}

fn object(table: &Table, path: &str, said: &Descriptions) -> Value {
    let defaults = (table.defaults)();
    let mut properties = Map::new();
    for key in (table.keys)() {
        let child = table.children.iter().find(|child| child.name == *key);
        let below = if path.is_empty() { (*key).to_owned() } else { format!("{path}.{key}") };
        let mut schema = match child {
            Some(child) => list_or_object(child, &below, said),
            None => (table.type_of)(key),
        };
        let text = match child {
            Some(_) => said.get(&(below, String::new())),
            None => {
                said.get(&(path.to_owned(), (*key).to_owned())).or_else(|| elsewhere(said, key))
            }
        };
        if let Some(text) = text {
            schema["description"] = text.as_str().into();
        }
        let default = &defaults[key];
        if child.is_none() && !default.is_null() {
            schema["default"] = default.clone();
        }
        properties.insert((*key).to_owned(), schema);
    }
    let mut schema =
        json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if let Form::List(required) = table.form {
        schema["required"] = json!([required]);
    }
    schema
}

/// What a key of the same name is in another table.
fn elsewhere<'s>(said: &'s Descriptions, key: &str) -> Option<&'s String> {
    said.iter().find(|((_, other), _)| other == key).map(|(_, text)| text)
}

fn list_or_object(table: &Table, path: &str, said: &Descriptions) -> Value {
    let object = object(table, path, said);
    match table.form {
        Form::Single => object,
        Form::List(_) => json!({ "type": "array", "items": object }),
    }
}

fn defaults_of<T: Default + Serialize>() -> Value {
    serde_json::to_value(T::default()).unwrap_or_default()
}

/// What a key takes, found by trying.
fn type_of<T: DeserializeOwned>(key: &str) -> Value {
    let text = attempt::<T>(key, &format!("\"{PROBE}\""));
    if !is_mistyped(&text) {
        return text_schema(&text);
    }
    for (plain, schema) in
        [("true", json!({ "type": "boolean" })), ("1", json!({ "type": "integer", "minimum": 0 }))]
    {
        if !is_mistyped(&attempt::<T>(key, plain)) {
            return schema;
        }
    }
    let texts = attempt::<T>(key, &format!("[\"{PROBE}\"]"));
    let items = if is_mistyped(&texts) { json!({ "type": "object" }) } else { text_schema(&texts) };
    json!({ "type": "array", "items": items })
}

/// Any text, or one of the names that were said, or a reference to a variable that holds one.
fn text_schema(outcome: &Result<(), String>) -> Value {
    let names = outcome.as_ref().err().map(|error| names_in(error)).unwrap_or_default();
    if names.is_empty() {
        return json!({ "type": "string" });
    }
    json!({ "anyOf": [{ "enum": names }, { "type": "string", "pattern": "\\$\\{.+\\}" }] })
}

/// The names that could stand in the place of an unknown one.
fn names_in(error: &str) -> Vec<&str> {
    let Some((_, names)) = error.split_once("unknown variant") else { return Vec::new() };
    let quoted = names.split('`').skip(1).step_by(2);
    quoted.filter(|name| *name != PROBE).collect()
}

fn is_mistyped(outcome: &Result<(), String>) -> bool {
    outcome.as_ref().is_err_and(|error| error.contains(WRONG_TYPE))
}

fn attempt<T: DeserializeOwned>(key: &str, value: &str) -> Result<(), String> {
    let value = DeValue::parse(value).map_err(|error| error.to_string())?;
    let mut single = DeTable::new();
    single.insert(Spanned::new(0..0, Cow::Borrowed(key)), value);
    deserialize::<T>(single).map(drop).map_err(|error| error.message().to_owned())
}

/// By the path of a table and a key; without a key, of the table itself.
type Descriptions = BTreeMap<(String, String), String>;

/// What the comments of the default file say. One stands above several keys that begin with the
/// same word.
fn descriptions() -> Descriptions {
    let mut found = Descriptions::new();
    let (mut table, mut comment, mut last) = (String::new(), Vec::new(), None);
    for line in DEFAULT_FILE.lines() {
        let bare = line.trim_start_matches('#').trim_start();
        let key = bare.split_once(" = ").map(|(key, _)| key).filter(|key| is_key(key));
        if let Some(key) = key {
            let is_meant = last.is_none_or(|last| first_word(last) == first_word(key));
            if is_meant && !comment.is_empty() {
                let place = (table.clone(), key.to_owned());
                found.entry(place).or_insert_with(|| comment.join(" "));
            }
            last = Some(key);
        } else if bare.starts_with('[') {
            table = bare.trim_matches(['[', ']']).to_owned();
            let place = (table.clone(), String::new());
            found.entry(place).or_insert_with(|| comment.join(" "));
            (comment, last) = (Vec::new(), None);
        } else if line.starts_with('#') {
            if last.take().is_some() {
                comment.clear();
            }
            comment.push(bare);
        } else {
            (comment, last) = (Vec::new(), None);
        }
    }
    found.retain(|_, text| !text.is_empty());
    found
}

fn first_word(key: &str) -> &str {
    key.split('_').next().unwrap_or(key)
}

fn is_key(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// A text that is nothing.
const PROBE: &str = "no such name";
