//! Values as they stand on the screen.

use serde_json::Value;

use super::view::Kind;
use crate::command::operator::printable;

pub(super) fn cell(value: &Value, kind: Kind) -> String {
    match kind {
        Kind::Text => match value {
            Value::String(text) => shown(text),
            Value::Number(number) => number.to_string(),
            _ => UNKNOWN.to_owned(),
        },
        Kind::Count => number(value),
        Kind::Rate => value.as_f64().map_or_else(|| UNKNOWN.to_owned(), short),
        Kind::Bytes => bytes(value),
        Kind::Millis => value.as_u64().map_or_else(|| UNKNOWN.to_owned(), |ms| span(ms / 1_000)),
    }
}

/// What others chose moves no cursor, turns no line and hides nothing; a long name is cut.
pub(super) fn shown(text: &str) -> String {
    let is_unseen = |letter: char| {
        matches!(letter, '\n' | '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}')
            || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            || matches!(letter, '\u{180e}' | '\u{fff9}'..='\u{fffb}')
            || matches!(letter, '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}')
    };
    let cut: String = text.chars().take(MOST_LETTERS).collect();
    printable(&cut).chars().map(|it| if is_unseen(it) { '\u{fffd}' } else { it }).collect()
}

pub(super) fn number(value: &Value) -> String {
    let Some(value) = value.as_u64() else { return UNKNOWN.to_owned() };
    let digits = value.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

pub(super) fn bytes(value: &Value) -> String {
    value.as_f64().map_or_else(|| UNKNOWN.to_owned(), |value| scaled(value, 1024.0, &BYTES))
}

pub(super) fn short(value: f64) -> String {
    scaled(value, 1000.0, &COUNTS)
}

/// Bytes a second.
pub(super) fn byte_rate(value: f64) -> String {
    scaled(value, 1024.0, &BYTES)
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut at = 0;
    while value >= step && at + 1 < units.len() {
        (value, at) = (value / step, at + 1);
    }
    let digits = usize::from(value < 100.0 && value.fract() > 0.0);
    format!("{value:.digits$}{}", units[at])
}

/// Hours, minutes and seconds, or days and hours.
pub(super) fn span(seconds: u64) -> String {
    let (hours, rest) = (seconds / 3_600, seconds % 3_600);
    match hours {
        0..100 => format!("{hours}:{:02}:{:02}", rest / 60, rest % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

pub(super) const UNKNOWN: &str = "–";
const BYTES: [&str; 5] = [" B", " KiB", " MiB", " GiB", " TiB"];
const COUNTS: [&str; 4] = ["", " k", " M", " G"];
const MOST_LETTERS: usize = 200;
