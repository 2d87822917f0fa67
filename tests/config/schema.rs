//! The schema of the file: it takes what the router takes, and knows every key.
//!
//! The validator here knows the words that the schema uses, and panics at any other.

use serde_json::{Value, json};
use stentor::config::{DEFAULT_FILE, schema};

fn parsed() -> Value {
    serde_json::from_str(&schema()).unwrap()
}

/// What a value violates, with its place.
fn faults(schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fault = |what: &str| found.push(format!("{place}: {what}"));
    let mut deeper = Vec::new();
    for (word, rule) in schema.as_object().unwrap() {
        match word.as_str() {
            "$schema" | "title" | "description" | "default" => {}
            "type" => {
                let is_right = match rule.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_i64() || value.is_u64(),
                    other => panic!("{other}"),
                };
                if !is_right {
                    fault(&format!("is no {rule}"));
                }
            }
            "minimum" => {
                if value.as_i64().is_some_and(|value| value < rule.as_i64().unwrap()) {
                    fault("is too small");
                }
            }
            "enum" => {
                if !rule.as_array().unwrap().contains(value) {
                    fault("is none of the names");
                }
            }
            "pattern" => {
                assert_eq!(rule, "\\$\\{.+\\}");
                let text = value.as_str().unwrap_or_default();
                if text.split_once("${").is_none_or(|(_, rest)| rest.find('}') <= Some(0)) {
                    fault("refers to no variable");
                }
            }
            "anyOf" => {
                let any = rule.as_array().unwrap();
                if any.iter().all(|one| !faults(one, value, place).is_empty()) {
                    fault("is nothing of what it can be");
                }
            }
            "required" => {
                for key in rule.as_array().unwrap() {
                    if value.get(key.as_str().unwrap()).is_none() {
                        fault(&format!("has no {key}"));
                    }
                }
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    deeper.extend(faults(rule, item, &format!("{place}.{number}")));
                }
            }
            "properties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    match rule.get(key) {
                        Some(rule) => deeper.extend(faults(rule, value, &format!("{place}.{key}"))),
                        None => fault(&format!("unknown key {key}")),
                    }
                }
            }
            "additionalProperties" => assert_eq!(*rule, false),
            other => panic!("the schema says `{other}`"),
        }
    }
    found.extend(deeper);
    found
}

fn check(text: &str) -> Vec<String> {
    let value: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    faults(&parsed(), &serde_json::to_value(value).unwrap(), "")
}

/// As it is, and with every key that it leaves out.
#[test]
fn the_default_file_is_valid() {
    assert_eq!(check(DEFAULT_FILE), [""; 0]);
    let is_key = |line: &str| {
        let (key, value) = line.split_once(" = ").unwrap_or_default();
        let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        is_key && !value.is_empty() || line.starts_with('[')
    };
    let uncommented: String = DEFAULT_FILE
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|bare| is_key(bare)).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(check(&uncommented), [""; 0]);
}

/// An example with the heads of the realm and the role that its pieces belong to.
fn whole(example: &str) -> String {
    let piece = example.find("[[realm.").filter(|_| !example.contains("[[realm]]"));
    let (before, after) = example.split_at(piece.unwrap_or(example.len()));
    let realm = if piece.is_some() { "[[realm]]\nname = \"realm1\"\n" } else { "" };
    let in_role = after.starts_with("[[realm.role.");
    let role = if in_role { "[[realm.role]]\nname = \"user\"\n" } else { "" };
    format!("{before}{realm}{role}{after}")
}

/// The examples of the pages for users, as far as they are pieces of the file.
#[test]
fn the_examples_of_the_docs_are_valid() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    for folder in ["docs", "docs/authentication"] {
        let files = std::fs::read_dir(root.join(folder)).unwrap().map(|file| file.unwrap().path());
        pages.extend(files.filter(|file| file.extension().is_some_and(|end| end == "md")));
    }
    let mut examples = 0;
    for page in pages {
        let (text, page) = (std::fs::read_to_string(&page).unwrap(), page.display());
        for block in text.split("```toml\n").skip(1) {
            let example = block.split("```").next().unwrap();
            // Users files have a form of their own.
            if example.contains("[[user]]") {
                continue;
            }
            let found = check(&whole(example));
            assert!(found.is_empty(), "{page}: {found:?} in\n{example}");
            examples += 1;
        }
    }
    assert!(examples > 10, "{examples}");
}

#[test]
fn what_the_router_refuses_is_refused() {
    for (text, fault) in [
        ("[limits]\nnestign = 3\n", ".limits: unknown key nestign"),
        ("[limits]\nnesting = \"3\"\n", ".limits.nesting: is no \"integer\""),
        ("[limits]\nnesting = -3\n", ".limits.nesting: is too small"),
        ("[output]\npolicy = \"drop\"\n", ".output.policy: is nothing of what it can be"),
        ("[[realm]]\nuri_rule = \"strict\"\n", ".realm.0: has no \"name\""),
        ("[[listener]]\nlisten = \"x\"\nserializers = [\"xml\"]\n", ".listener.0.serializers.0"),
        ("[protocol]\nstrict_roles = 1\n", ".protocol.strict_roles: is no \"boolean\""),
    ] {
        let found = check(text);
        assert!(found.len() == 1 && found[0].starts_with(fault), "{text}: {found:?}");
    }
    assert_eq!(check("[output]\npolicy = \"${POLICY:-disconnect}\"\n"), [""; 0]);
}

/// Each key has a description, and a default where it has one.
#[test]
fn every_key_is_described() {
    fn visit(schema: &Value, place: &str, bare: &mut Vec<String>) {
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            let place = format!("{place}.{key}");
            if value.get("description").is_none() {
                bare.push(place.clone());
            }
            visit(value, &place, bare);
            visit(&value["items"], &place, bare);
        }
    }
    let (schema, mut bare) = (parsed(), Vec::new());
    visit(&schema, "", &mut bare);
    assert_eq!(bare, [""; 0], "the comments of default.toml describe them");
    assert_eq!(schema["properties"]["limits"]["properties"]["nesting"]["default"], json!(64));
    let policy = &schema["properties"]["output"]["properties"]["policy"]["anyOf"][0]["enum"];
    assert_eq!(*policy, json!(["disconnect", "drop_newest", "drop_oldest"]));
}
