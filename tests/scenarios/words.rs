//! Words, values and messages, as the lines of a dialogue write them.

use serde_json::Value;
use stentor::router::{RealmSettings, Settings};

/// Words, separated by blanks outside of brackets and quotes.
pub(super) fn tokens(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut depth, mut quoted) = (0, false);
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
        if letter == ' ' && depth == 0 && !quoted {
            words.push(String::new());
        } else {
            words.last_mut().expect("there is a word").push(letter);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// JSON with `*` and names that are not bound, as strings.
pub(super) fn quoted(text: &str) -> String {
    let (mut result, mut in_string, mut in_name) = (String::new(), false, false);
    for letter in text.chars() {
        if in_name && !(letter.is_ascii_alphanumeric() || letter == '_') {
            result.push('"');
            in_name = false;
        }
        match letter {
            '"' => in_string = !in_string,
            '$' if !in_string => {
                result.push('"');
                in_name = true;
            }
            '*' if !in_string => {
                result.push_str("\"*\"");
                continue;
            }
            _ => {}
        }
        result.push(letter);
    }
    result
}

/// The same value with every list in one order.
pub(super) fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(sorted).collect();
            items.sort_unstable_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(entries) => {
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        plain => plain,
    }
}

/// A message's type code, and whether a client counts its request id.
pub(super) fn code(name: &str) -> (u16, bool) {
    match name {
        "HELLO" => (1, false),
        "WELCOME" => (2, false),
        "ABORT" => (3, false),
        "CHALLENGE" => (4, false),
        "AUTHENTICATE" => (5, false),
        "GOODBYE" => (6, false),
        "ERROR" => (8, false),
        "PUBLISH" => (16, true),
        "PUBLISHED" => (17, false),
        "SUBSCRIBE" => (32, true),
        "SUBSCRIBED" => (33, false),
        "UNSUBSCRIBE" => (34, true),
        "UNSUBSCRIBED" => (35, false),
        "EVENT" => (36, false),
        "CALL" => (48, true),
        "CANCEL" => (49, false),
        "RESULT" => (50, false),
        "REGISTER" => (64, true),
        "REGISTERED" => (65, false),
        "UNREGISTER" => (66, true),
        "UNREGISTERED" => (67, false),
        "INVOCATION" => (68, false),
        "INTERRUPT" => (69, false),
        "YIELD" => (70, false),
        other => panic!("no message: {other}"),
    }
}

/// What a reload makes of settings and realms.
pub(super) type Reload<'a> = &'a dyn Fn(&mut Settings, &mut Vec<RealmSettings>);

/// What `HELLO.Details` announces.
pub(super) const PLAINLY: &str =
    r#"{"roles":{"publisher":{},"subscriber":{},"caller":{},"callee":{}}}"#;
pub(super) const FULLY: &str = r#"{"roles":{"publisher":{"features":{"payload_passthru_mode":true}},
    "subscriber":{"features":{"payload_passthru_mode":true,"subscription_revocation":true}},
    "caller":{"features":{"payload_passthru_mode":true,"progressive_call_results":true,
        "progressive_call_invocations":true,"call_canceling":true}},
    "callee":{"features":{"payload_passthru_mode":true,"progressive_call_results":true,
        "progressive_call_invocations":true,"call_canceling":true,"call_timeout":true,
        "call_reroute":true,"registration_revocation":true}}}}"#;
