//! The reference of the configuration: keys and their order from the default file, types, defaults
//! and descriptions from the schema, what a reload does from the code that does it.

use std::fmt::Write as _;

use serde_json::Value;
use stentor::config::{DEFAULT_FILE, schema};

use crate::is_made_of_the_program;
use crate::reload::{holds_at_once, key_of_many_holds_at_once, table_holds_at_once};

#[test]
fn the_reference_of_the_configuration_is_that_of_the_program() {
    let schema: Value = serde_json::from_str(&schema()).expect("it is JSON");
    let mut page = INTRODUCTION.to_owned();
    let mut count = 0;
    for section in sections() {
        let table = table_of(&schema, &section.path);
        let properties = table["properties"].as_object().expect("a table");
        let keys = properties.iter().filter(|(_, of)| !is_table(of));
        assert_eq!(keys.count(), section.keys.len(), "{} shows each key", section.heading);
        count += section.keys.len();
        let _ = write!(page, "\n## {}\n\n{}\n", section.heading, about(&section, &table));
        let is_single = is_single(&section);
        page += "| key | type, default | |\n|---|---|---|\n";
        for (key, example) in &section.keys {
            let of = &properties[key];
            let required = table["required"].as_array().into_iter().flatten();
            let is_required = required.into_iter().any(|name| name == key);
            let holds = if is_single {
                holds_at_once(&section.path, key, of, example)
            } else {
                key_of_many_holds_at_once(&section.path, key)
            };
            let restart = if holds { "" } else { "; needs a restart" };
            let (kind, default) = (kind(of), default(of, example, is_required));
            let _ =
                writeln!(page, "| `{key}` | {kind}; {default}{restart} | {} |", description(of));
        }
    }
    assert!(count > 200, "only {count} keys");
    is_made_of_the_program("docs/reference/configuration.md", &page);
}

const INTRODUCTION: &str = "\
# The configuration file

Every key of the file, in the order of `stentor config default`; this page is made from the
program. Sizes are in bytes, times in milliseconds. Environment variables as
`STENTOR_LIMITS__NESTING=32` go before the file, [flags](cli.md) before both. In strings
`\"${NAME}\"` is the value of a variable, `\"${NAME:-else}\"` has one for when it is not set or
empty, and `\"$${\"` is `\"${\"` itself. A key that does not exist is refused, with the nearest one
that does.

`stentor config schema` prints a JSON Schema, `stentor check FILE` says what a file would run. A
[reload](../reload.md) applies all that does not need a restart, as it is said here.
";

/// A table of the file as the default file shows it.
struct Section {
    /// As `[[listener.path]]`, or `Top level`.
    heading: String,
    /// As `listener.path`.
    path: String,
    /// Each with the first value that is shown.
    keys: Vec<(String, String)>,
}

fn sections() -> Vec<Section> {
    let section = |heading: &str| {
        let path = heading.trim_matches(['[', ']']).to_owned();
        Section { heading: heading.to_owned(), path, keys: Vec::new() }
    };
    let mut sections = vec![section("Top level")];
    sections[0].path.clear();
    let mut current = 0;
    for line in DEFAULT_FILE.lines() {
        // What is commented has one `#`, or two if it excludes another key.
        let bare = line.trim_start_matches('#').trim_start();
        if bare.starts_with('[') && bare.ends_with(']') {
            current = sections.iter().position(|it| it.heading == bare).unwrap_or_else(|| {
                sections.push(section(bare));
                sections.len() - 1
            });
        } else if let Some((key, value)) = bare.split_once(" = ")
            && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            let keys = &mut sections[current].keys;
            if keys.iter().all(|(known, _)| known != key) {
                keys.push((key.to_owned(), value.to_owned()));
            }
        }
    }
    sections
}

/// Whether there is one of it, whose keys can be changed one by one.
fn is_single(section: &Section) -> bool {
    !section.heading.starts_with("[[") && !section.path.contains('.')
}

/// What the schema says of the entries of a table.
fn table_of(schema: &Value, path: &str) -> Value {
    let mut table = schema;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        table = &table["properties"][name];
        if table["type"] == "array" {
            table = &table["items"];
        }
    }
    table.clone()
}

fn is_table(of: &Value) -> bool {
    of.get("properties").is_some() || of["items"].get("properties").is_some()
}

fn about(section: &Section, table: &Value) -> String {
    if section.path.is_empty() {
        return String::new();
    }
    let schema: Value = serde_json::from_str(&schema()).expect("it is JSON");
    let (parent, name) = section.path.rsplit_once('.').unwrap_or(("", &section.path));
    let of = &table_of(&schema, parent)["properties"][name];
    // A table that stands once may be described where it stands, by what it is, or by both.
    let mut text = description(of);
    if description(table) != text {
        text += &description(table);
    }
    if !is_single(section) && !table_holds_at_once(&section.path) {
        text += " A change needs a restart.";
    }
    text.trim().to_owned() + "\n"
}

fn description(of: &Value) -> String {
    let text = of["description"].as_str().unwrap_or_default();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    [("|", "\\|"), ("<", "&lt;"), ("*", "\\*")]
        .iter()
        .fold(text, |it, (one, other)| it.replace(one, other))
}

fn kind(of: &Value) -> String {
    if let Some(kinds) = of["anyOf"].as_array() {
        let names = kinds.iter().filter_map(|kind| kind["enum"].as_array()).flatten();
        return names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    }
    match of["type"].as_str().expect("a type") {
        "array" => format!("list of: {}", kind(&of["items"])),
        "object" => "table".to_owned(),
        other => other.to_owned(),
    }
}

fn default(of: &Value, example: &str, is_required: bool) -> String {
    let example = example.replace('|', "\\|");
    match &of["default"] {
        _ if is_required => format!("required, as in `{example}`"),
        Value::Null => format!("not set, as in `{example}`"),
        Value::String(text) if text.is_empty() => format!("not set, as in `{example}`"),
        default => format!("`{}`", default.to_string().replace(',', ", ")),
    }
}
