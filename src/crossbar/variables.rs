//! Variables of crossbar's environment: where it takes values from them, and what they hold when
//! the configuration is imported.
//!
//! Crossbar replaces `"$PORT"` as the port of an endpoint, `"${NAME}"` as a ticket, a secret of
//! wampcra or the `disabled` of a worker, and any variable in the path of a Unix socket. Everywhere
//! else a `$` is a letter.

use std::collections::BTreeMap;
use std::fmt;

/// Names and values. It is never shown what they hold.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    pub fn of<N: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The name in `${NAME}`, if a text is that and nothing else.
pub(super) fn referred(text: &str) -> Option<&str> {
    text.strip_prefix("${")?.strip_suffix('}').filter(|name| !name.is_empty())
}

/// Whether a shell could set a variable of this name.
pub(super) fn is_variable(name: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(is_first)
        && name.bytes().all(|byte| is_first(byte) || byte.is_ascii_digit())
}

/// A text in which crossbar replaces `$NAME` and `${NAME}`, as this router's file refers to them.
pub(super) fn with_references(text: &str) -> String {
    let (mut made, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        made.push_str(before);
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let plain = after.bytes().take_while(|byte| is_word(*byte)).count();
        let (name, left) = match after.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((name, left)) => (name, left),
            None => after.split_at(plain),
        };
        if is_variable(name) {
            made.push_str(&format!("${{{name}}}"));
            rest = left;
        } else {
            made.push_str(if after.starts_with('{') { "$$" } else { "$" });
            rest = after;
        }
    }
    made + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_the_whole_text() {
        for (text, name) in [("${A}", Some("A")), ("${a b}", Some("a b")), ("${}", None)] {
            assert_eq!(referred(text), name);
        }
        for text in ["", "$A", "x${A}", "${A}x", "$${A}"] {
            assert_eq!(referred(text), None, "{text}");
        }
    }

    #[test]
    fn paths_keep_their_variables() {
        for (text, made) in [
            ("/run/a.sock", "/run/a.sock"),
            ("$DIR/a.sock", "${DIR}/a.sock"),
            ("/run/${A}$_B1.sock", "/run/${A}${_B1}.sock"),
            ("/a$", "/a$"),
            ("/a$1b$$C", "/a$1b$${C}"),
            ("/${A-B}/x", "/$${A-B}/x"),
            ("/${A", "/$${A"),
        ] {
            assert_eq!(with_references(text), made, "{text}");
        }
    }

    #[test]
    fn values_are_not_shown() {
        let environment = Environment::of([("A", "pencil")]);
        assert_eq!(format!("{environment:?}"), "{\"A\"}");
        assert_eq!(environment.get("A"), Some("pencil"));
    }
}
