//! What a reload does with a key: asked of the code that decides it, by changing the key.

use serde_json::Value;
use stentor::config::{Config, Loader};
use toml::{Table, Value as Toml};

/// Whether a change of this key of a single table holds at once, and not after a restart.
#[track_caller]
pub(crate) fn holds_at_once(section: &str, key: &str, of: &Value, example: &str) -> bool {
    let base =
        format!("{BASE}{}", SECTIONS.iter().find(|it| it.0 == section).map_or("", |it| it.1));
    for value in others(of, example) {
        let mut table: Table = base.parse().expect("it is TOML");
        let values = match section {
            "" => &mut table,
            section => {
                let empty = || Toml::Table(Table::new());
                let section = table.entry(section).or_insert_with(empty);
                section.as_table_mut().expect("a table")
            }
        };
        values.insert(key.to_owned(), value);
        if let Some(holds) = changes(&base, &table.to_string()) {
            return holds;
        }
    }
    panic!("no other value of {section}.{key} is taken")
}

/// The same of a table of which there may be many.
#[track_caller]
pub(crate) fn table_holds_at_once(path: &str) -> bool {
    let (_, before, after) =
        TABLES.iter().find(|it| it.0 == path).unwrap_or_else(|| panic!("how is {path} changed?"));
    let (before, after) = (format!("{BASE}{before}"), format!("{BASE}{after}"));
    changes(&before, &after).unwrap_or_else(|| panic!("{path}: nothing changes, or it is refused"))
}

/// Whether all that changes is applied; `None` if nothing changes, or the change is refused.
fn changes(before: &str, after: &str) -> Option<bool> {
    let load = |text: &str| -> Option<Config> { Loader::from_text("x.toml", text).finish().ok() };
    let (_, changes) = load(before).expect("the base is right").adopt(&load(after)?);
    (!changes.is_empty()).then_some(changes.after_restart.is_empty())
}

/// Values that a key may have besides its default.
fn others(of: &Value, example: &str) -> Vec<Toml> {
    let default = of["default"].as_i64().unwrap_or(0);
    let mut values: Vec<_> = match of["type"].as_str() {
        Some("integer") => {
            let near = [default + 1, default * 2, default / 2, default - 1, 9000, 1 << 30];
            near.into_iter().filter(|value| *value >= 0).map(Toml::Integer).collect()
        }
        Some("boolean") => vec![Toml::Boolean(of["default"] != true)],
        Some("array") => vec![Toml::Array(vec!["anonymous".into()])],
        _ => Vec::new(),
    };
    for name in of["anyOf"].as_array().into_iter().flatten().flat_map(|it| it["enum"].as_array()) {
        values.extend(name.iter().filter_map(Value::as_str).map(Toml::from));
    }
    let example: Table = format!("x = {example}").parse().expect("the example is TOML");
    values.push(example["x"].clone());
    values.push("debug".into());
    values
}

/// A router that is observed, so that who manages it can change.
const BASE: &str = "[admin]\nlisten = \"127.0.0.1:9081\"\n";

/// What a section needs besides, so that its keys may be set.
const SECTIONS: [(&str, &str); 2] = [
    ("management", "[[realm]]\nname = \"realm1\"\n[[realm.role]]\nname = \"anonymous\"\n"),
    ("storage", "[storage]\npath = \"store\"\n"),
];
