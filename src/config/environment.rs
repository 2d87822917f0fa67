//! Environment variables that set keys of the file's sections (`STENTOR_LIMITS__NESTING`) or that
//! its strings refer to (`"${NAME:-default}"`).
//!
//! Both are laid into the parsed file before anything is read of it, so that types, ranges and
//! spelling are checked as if they stood there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::mem;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Fault;
use super::keys::nearest;
use super::report::{Place, Problem};
use super::sections::{SECTIONS, Section};

/// The variables that a configuration may come from.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self::of(env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))))
    }

    pub fn of<N, V>(variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<OsString>,
    {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// The value of a variable, if it is text.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str()
    }

    /// The variables that are named after a key, with the words in their names.
    fn settings(&self) -> impl Iterator<Item = (&str, Setting)> {
        self.0.keys().filter_map(|name| Some((name.as_str(), Setting::of(name)?)))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Which key a variable sets.
struct Setting {
    /// Empty: the top of the file.
    section: String,
    key: String,
}

impl Setting {
    /// `None` if the variable is somebody else's.
    fn of(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(PREFIX)?;
        let (section, key) = match rest.split_once("__") {
            Some((section, key)) => (section, key),
            // Of those without `__` only this one can be meant.
            None if rest == "SHARDS" => ("", rest),
            None => return None,
        };
        let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
        Some(Self { section, key })
    }

    fn section(&self) -> Option<&'static Section> {
        let mut sections = SECTIONS.iter();
        sections.find(|one| one.name == self.section && one.keys().any(|key| key == self.key))
    }
}

/// Where values of the environment stand: behind the end of the file's text, one byte each.
#[derive(Debug, Default)]
pub(super) struct Variables {
    end: usize,
    names: Vec<String>,
}

impl Variables {
    /// Where something stands that was found there.
    pub(super) fn place(&self, span: Range<usize>) -> Place {
        let number = span.start.checked_sub(self.end + 1);
        match number.and_then(|number| self.names.get(number)) {
            Some(name) => Place::Variable(name.clone()),
            None => Place::File(span),
        }
    }

    fn add(&mut self, name: &str) -> Range<usize> {
        self.names.push(name.to_owned());
        let start = self.end + self.names.len();
        start..start
    }
}

/// Whether a variable that is named after no key is one that the file refers to, or one that
/// Kubernetes sets for a service.
fn is_of_others(name: &str, file: &str) -> bool {
    let is_referred = |end| file.contains(&format!("${{{name}{end}"));
    is_referred("}") || is_referred(":-") || name.contains("_SERVICE_") || name.contains("_PORT")
}

/// Puts the keys that variables set into the place of the file's.
pub(super) fn lay_over<'t>(
    root: &mut DeTable<'t>,
    text: &str,
    environment: &'t Environment,
    problems: &mut Vec<Problem>,
) -> Variables {
    let mut variables = Variables { end: text.len(), names: Vec::new() };
    for (name, setting) in environment.settings() {
        let place = Place::Variable(name.to_owned());
        let Some(section) = setting.section() else {
            if is_of_others(name, text) {
                continue;
            }
            problems.push(Problem { fault: unknown(name), place });
            continue;
        };
        let Some(text) = environment.get(name) else {
            problems.push(Problem { fault: Fault::VariableIsNoText, place });
            continue;
        };
        let span = variables.add(name);
        let value = value_of(section, &setting.key, text);
        let value = Spanned::new(span.clone(), respan(value, &span));
        let key = Spanned::new(span.clone(), Cow::Owned(setting.key));
        put(root, section.name, key, value);
    }
    variables
}

fn put<'t>(
    root: &mut DeTable<'t>,
    section: &'static str,
    key: Spanned<Cow<'t, str>>,
    value: Spanned<DeValue<'t>>,
) {
    let span = key.span();
    let table = if section.is_empty() {
        root
    } else {
        let name = Spanned::new(span.clone(), Cow::Borrowed(section));
        let empty = || Spanned::new(span, DeValue::Table(DeTable::new()));
        match root.entry(name).or_insert_with(empty).get_mut() {
            DeValue::Table(table) => table,
            // It is reported where the file is read.
            _ => return,
        }
    };
    // A key is found by its name, and so keeps the span that it had.
    table.remove(&**key.get_ref());
    table.insert(key, value);
}

/// The text itself where the key takes text, else what it means in TOML.
fn value_of<'t>(section: &Section, key: &str, text: &'t str) -> DeValue<'t> {
    let string = || DeValue::String(Cow::Borrowed(text));
    if section.takes_text(key, text) {
        return string();
    }
    DeValue::parse(text).map_or_else(|_| string(), Spanned::into_inner)
}

fn respan<'t>(mut value: DeValue<'t>, span: &Range<usize>) -> DeValue<'t> {
    if let DeValue::Array(items) = &mut value {
        for item in items.iter_mut() {
            let inner = mem::replace(item.get_mut(), DeValue::Boolean(false));
            *item = Spanned::new(span.clone(), respan(inner, span));
        }
    }
    value
}

fn unknown(name: &str) -> Fault {
    let known: Vec<String> = SECTIONS
        .iter()
        .flat_map(|section| section.keys().map(|key| section.variable(key)))
        .collect();
    let near = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
    Fault::UnknownVariable { near }
}

/// Puts the values of variables into the place of references to them.
pub(super) fn resolve(
    table: &mut DeTable<'_>,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) {
    for (key, value) in table.iter_mut() {
        // These name a variable, and hold nothing else.
        if !NAMES_OF_VARIABLES.contains(&&**key.get_ref()) {
            resolve_value(value, environment, problems);
        }
    }
}

fn resolve_value(
    value: &mut Spanned<DeValue<'_>>,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(text) => match resolved(text, environment) {
            Ok(None) => {}
            Ok(Some(resolved)) => *text = Cow::Owned(resolved),
            Err(fault) => problems.push(Problem { fault, place: Place::File(span) }),
        },
        DeValue::Array(items) => {
            items.iter_mut().for_each(|item| resolve_value(item, environment, problems));
        }
        DeValue::Table(table) => resolve(table, environment, problems),
        _ => {}
    }
}

/// `None` if nothing is referred to.
fn resolved(text: &str, environment: &Environment) -> Result<Option<String>, Fault> {
    if !text.contains("${") {
        return Ok(None);
    }
    let (mut made, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            // `$${` stands for itself, with one `$`.
            made.push_str(before);
            made.push_str("${");
            rest = after;
            continue;
        }
        let (reference, after) = after.split_once('}').ok_or(Fault::OpenReference)?;
        made.push_str(before);
        made.push_str(referred(reference, environment)?);
        rest = after;
    }
    made.push_str(rest);
    Ok(Some(made))
}

/// As a shell has it: what stands behind `:-` holds if the variable is not set, or empty.
fn referred<'a>(reference: &'a str, environment: &'a Environment) -> Result<&'a str, Fault> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name =
        name.bytes().all(is_word) && !name.starts_with(|first: char| first.is_ascii_digit());
    if !is_name || name.is_empty() {
        return Err(Fault::BadReference(reference.to_owned()));
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(Fault::BadReference(reference.to_owned()));
    }
    match (environment.get(name), default) {
        (None | Some(""), Some(default)) => Ok(default),
        (Some(value), _) => Ok(value),
        (None, None) => Err(Fault::VariableNotSet(name.to_owned())),
    }
}

const PREFIX: &str = "STENTOR_";

/// Keys of secrets: where they come from is said, and not what they are.
const NAMES_OF_VARIABLES: [&str; 3] = ["secret", "secrets", "authorization"];

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved_to(text: &str) -> Result<String, Fault> {
        let environment = Environment::of([("NAME", "joe"), ("EMPTY", ""), ("_A1", "x")]);
        resolved(text, &environment).map(|made| made.unwrap_or_else(|| text.to_owned()))
    }

    #[test]
    fn references_stand_for_values() {
        for (text, made) in [
            ("", ""),
            ("plain $NAME $", "plain $NAME $"),
            ("${NAME}", "joe"),
            ("a${NAME}b${_A1}c", "ajoebxc"),
            ("${NONE:-else}", "else"),
            ("${EMPTY:-else}", "else"),
            ("${EMPTY}", ""),
            ("${NAME:-else}", "joe"),
            ("${NONE:-}", ""),
            ("${NONE:-http://x:-y}", "http://x:-y"),
            ("$${NAME}", "${NAME}"),
            ("$$${NAME}", "$${NAME}"),
            ("$${NAME} ${NAME}", "${NAME} joe"),
            ("$sha256$AAAA", "$sha256$AAAA"),
        ] {
            assert_eq!(resolved_to(text).as_deref(), Ok(made), "{text}");
        }
    }

    #[test]
    fn references_to_nothing_are_refused() {
        assert_eq!(resolved_to("${NONE}"), Err(Fault::VariableNotSet("NONE".into())));
        assert_eq!(resolved_to("x${NAME"), Err(Fault::OpenReference));
        for bad in ["NONE:-${OTHER", "", "1A", "A B", "A-B", ":-x", "é"] {
            let fault = Err(Fault::BadReference(bad.to_owned()));
            assert_eq!(resolved_to(&format!("${{{bad}}}")), fault, "{bad}");
        }
    }

    #[test]
    fn the_names_of_variables_are_shown_and_nothing_else() {
        let environment = Environment::of([("NAME", "secret")]);
        assert_eq!(format!("{environment:?}"), "{\"NAME\"}");
    }
}
