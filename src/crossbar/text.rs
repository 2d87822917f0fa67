//! The TOML that is written: as a person would, with comments within the columns.

use std::fmt::Write as _;

/// A configuration file in the making.
#[derive(Debug, Default)]
pub(super) struct Toml(String);

impl Toml {
    /// `[[realm.role]]` and its like, apart from what was before.
    pub(super) fn header(&mut self, header: &str) {
        self.gap();
        self.raw_header(header);
    }

    /// The same behind comments that belong to it.
    pub(super) fn raw_header(&mut self, header: &str) {
        self.0.push_str(header);
        self.0.push('\n');
    }

    /// An empty line, if there is none.
    pub(super) fn gap(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with("\n\n") {
            self.0.push('\n');
        }
    }

    /// Lines that begin with `#`.
    pub(super) fn comment(&mut self, text: &str) {
        let mut line = String::from("#");
        for word in text.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > COLUMNS && line.len() > 1 {
                self.0.push_str(&line);
                self.0.push('\n');
                line.truncate(1);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.0.push_str(&line);
        self.0.push('\n');
    }

    pub(super) fn comments(&mut self, texts: &[String]) {
        texts.iter().for_each(|text| self.comment(text));
    }

    /// A value as TOML has it.
    pub(super) fn raw(&mut self, key: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{key} = {value}");
    }

    pub(super) fn text(&mut self, key: &str, text: &str) {
        self.raw(key, quoted(text));
    }

    /// A text that may hold references to variables of the environment.
    pub(super) fn reference(&mut self, key: &str, text: &str) {
        self.raw(key, plainly_quoted(text));
    }

    /// Nothing if it is not there.
    pub(super) fn maybe(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    pub(super) fn list<'t>(&mut self, key: &str, texts: impl IntoIterator<Item = &'t str>) {
        let texts: Vec<_> = texts.into_iter().map(quoted).collect();
        self.raw(key, format_args!("[{}]", texts.join(", ")));
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// A text in which `${` refers to nothing.
pub(super) fn quoted(text: &str) -> String {
    plainly_quoted(&text.replace("${", "$${"))
}

/// As a basic string: `"` and what cannot be seen is escaped.
pub(super) fn plainly_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            letter if letter.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// A name that may stand in a file's name, and in that of a unit: a-z, 0-9 and `-`.
pub(super) fn file_name(text: &str) -> String {
    let mut name = String::new();
    for letter in text.chars() {
        match letter {
            'a'..='z' | '0'..='9' => name.push(letter),
            'A'..='Z' => name.push(letter.to_ascii_lowercase()),
            _ if name.is_empty() || name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    name.truncate(MAX_NAME);
    let name = name.trim_end_matches('-');
    if name.is_empty() { "x".into() } else { name.into() }
}

/// The name, or the first with a number behind it that nobody has.
pub(super) fn unlike(name: String, others: &[String]) -> String {
    if !others.contains(&name) {
        return name;
    }
    let mut numbers = 2_usize..;
    let free = numbers.find(|number| !others.contains(&format!("{name}-{number}")));
    format!("{name}-{}", free.unwrap_or_default())
}

const COLUMNS: usize = 98;

const MAX_NAME: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_is_read_as_it_was() {
        for text in ["", "a", "a\"b", "a\\b", "a\nb\tc", "\u{7f}\u{1}", "ü ${X} $${Y}"] {
            let table: ::toml::Table = format!("a = {}", plainly_quoted(text)).parse().expect(text);
            assert_eq!(table["a"].as_str(), Some(text));
        }
        assert_eq!(quoted("${X}"), "\"$${X}\"");
    }

    #[test]
    fn comments_keep_to_the_columns() {
        let mut toml = Toml::default();
        toml.comment(&"word ".repeat(60));
        assert!(toml.finish().lines().all(|line| line.len() <= COLUMNS && line.starts_with("# w")));
    }

    #[test]
    fn names_of_files_are_harmless() {
        for (text, name) in
            [("../etc/passwd", "etc-passwd"), ("Com.App", "com-app"), ("", "x"), ("a__b", "a-b")]
        {
            assert_eq!(file_name(text), name);
        }
        assert_eq!(unlike("a".into(), &["a".into(), "a-2".into()]), "a-3");
    }
}
