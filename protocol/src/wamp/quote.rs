//! What a peer said, as an error message or a log line quotes it: escaped, and never long.

use std::fmt::Write as _;

/// Text of a peer, for a message to it: in quotes, escaped, and cut to at most 64 bytes of
/// what is written. An ellipsis after the quotes says that it was cut.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len().min(QUOTED_BYTES) + 2);
    quoted.push('"');
    for (at, letter) in text.char_indices() {
        let before = quoted.len();
        // An apostrophe needs no escape between double quotes.
        let written = match letter {
            '\'' => quoted.write_char(letter),
            _ => write!(quoted, "{}", letter.escape_debug()),
        };
        debug_assert!(written.is_ok(), "a String takes every write");
        if quoted.len() - 1 > QUOTED_BYTES {
            debug_assert!(at > 0, "one character is short, even escaped");
            quoted.truncate(before);
            return quoted + "\"...";
        }
    }
    quoted + "\""
}

/// A list of such texts, of which the first four are quoted.
pub fn quote_list<T: AsRef<str>>(texts: &[T]) -> String {
    let shown = texts.iter().take(QUOTED_TEXTS).map(|text| quote(text.as_ref()));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match texts.len().saturating_sub(QUOTED_TEXTS) {
        0 => format!("[{shown}]"),
        more => format!("[{shown}, and {more} more]"),
    }
}

/// The most that is quoted of one text, in bytes: an honest URI fits, mostly.
const QUOTED_BYTES: usize = 64;

/// The most that are quoted of a list.
const QUOTED_TEXTS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_is_short_and_escaped() {
        assert_eq!(quote("a\n"), r#""a\n""#);
        assert_eq!(quote("it's \"so\""), r#""it's \"so\"""#);
        assert_eq!(quote(&"a".repeat(64)), format!("\"{}\"", "a".repeat(64)));
        assert_eq!(quote(&"ä".repeat(33)), format!("\"{}\"...", "ä".repeat(32)));
        for letter in ["\u{1}", "\"", "a", "\u{10ffff}", "𝄞"] {
            let quoted = quote(&letter.repeat(100_000));
            assert!(quoted.len() <= 64 + 5 && quoted.ends_with("\"..."), "{quoted}");
        }
    }

    #[test]
    fn a_long_list_is_cut() {
        assert_eq!(quote_list::<&str>(&[]), "[]");
        assert_eq!(quote_list(&["a", "b"]), r#"["a", "b"]"#);
        let many = vec!["x".repeat(1_000); 1_000];
        let quoted = quote_list(&many);
        assert!(quoted.len() < 350 && quoted.ends_with(", and 996 more]"), "{quoted}");
    }
}
