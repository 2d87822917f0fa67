//! `stentor sessions`: the sessions of a running router, asked of its admin listener.

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use crate::command::operator::{AdminFlags, Ask, OperatorError, printable};

/// Which sessions, and of which router.
#[derive(Args, Debug)]
pub(crate) struct SessionsFlags {
    /// Those that have ended, the latest first
    #[arg(long)]
    closed: bool,
    /// Those alone that have ended for this reason: see docs/reasons.md
    #[arg(long, value_name = "REASON", requires = "closed")]
    reason: Option<String>,
    /// Those of this realm alone
    #[arg(long, value_name = "NAME")]
    realm: Option<String>,
    /// Those with this authid alone
    #[arg(long, value_name = "AUTHID")]
    authid: Option<String>,
    /// Those with this role alone
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// What comes first: bytes that wait, the age of the oldest that its socket has refused,
    /// messages sent, bytes got, or age of the session
    #[arg(long, value_name = "BY", default_value = "pending", conflicts_with = "closed")]
    #[arg(value_parser = ["pending", "oldest", "messages", "sent", "age"])]
    sort: String,
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Print one object of JSON a line for each, and what else is to be said on standard error
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: AdminFlags,
}

/// The table, or the rows of the router's answer.
pub(crate) fn sessions(flags: &SessionsFlags) -> Result<String, OperatorError> {
    let text = ask(flags)?;
    let strange = || flags.at.strange();
    let answer: Value = serde_json::from_str(&text).map_err(|_| strange())?;
    let rows = answer["sessions"].as_array().ok_or_else(strange)?;
    let columns = if flags.closed { CLOSED } else { OPEN };
    let mut notes = String::new();
    if !flags.closed {
        let count = answer["count"].as_u64().unwrap_or_default();
        writeln!(notes, "{} of {count} sessions", rows.len()).expect("into a string");
    }
    notes.push_str(&silent_shards(&answer));
    Ok(page(flags.json, rows, columns, &notes))
}

/// A line for each shard that has left its part out.
pub(crate) fn silent_shards(answer: &Value) -> String {
    let shards = answer["unanswered_shards"].as_array().into_iter().flatten();
    shards.map(|shard| format!("shard {shard} does not answer\n")).collect()
}

/// What a command prints of rows: a table with notes below it, or the rows as they are, one object
/// of JSON a line, and the notes on standard error.
pub(crate) fn page(json: bool, rows: &[Value], columns: &[Column], notes: &str) -> String {
    if json {
        eprint!("{notes}");
        return rows.iter().map(|row| format!("{row}\n")).collect();
    }
    table(rows, columns) + notes
}

fn ask(flags: &SessionsFlags) -> Result<String, OperatorError> {
    let path = if flags.closed { "/api/sessions/closed" } else { "/api/sessions" };
    let limit = flags.limit.to_string();
    let mut query = vec![("limit", &*limit)];
    if !flags.closed {
        query.push(("sort", &flags.sort));
    }
    let filters = [
        ("realm", &flags.realm),
        ("authid", &flags.authid),
        ("authrole", &flags.role),
        ("reason", &flags.reason),
    ];
    query.extend(filters.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
    flags.at.ask(&Ask::Get(path, &query))
}

/// A head and a key of a row.
pub(crate) type Column = (&'static str, &'static str);

const OPEN: &[Column] = &[
    ("SESSION", "session"),
    ("AUTHID", "authid"),
    ("ROLE", "authrole"),
    ("REALM", "realm"),
    ("PEER", "peer"),
    ("AGE", "age_ms"),
    ("PENDING", "pending_bytes"),
    ("REFUSED", "refused_bytes"),
    ("OLDEST", "oldest_ms"),
    ("MESSAGES", "messages_received"),
    ("SENT", "bytes_sent"),
    ("DROPPED", "events_dropped"),
];

const CLOSED: &[Column] = &[
    ("ENDED", "ended"),
    ("SESSION", "session"),
    ("AUTHID", "authid"),
    ("ROLE", "authrole"),
    ("REALM", "realm"),
    ("PEER", "peer"),
    ("REASON", "reason"),
    ("BY", "closed_by"),
    ("LASTED", "duration_ms"),
    ("PENDING", "pending_bytes"),
    ("MESSAGES", "messages_received"),
    ("SENT", "bytes_sent"),
];

/// Columns as wide as what is in them; numbers stand to the right.
pub(crate) fn table(rows: &[Value], columns: &[Column]) -> String {
    let heads: Vec<String> = columns.iter().map(|(head, _)| (*head).to_owned()).collect();
    let cells = rows.iter().map(|row| columns.iter().map(|(_, key)| cell(row, key)).collect());
    let lines: Vec<Vec<String>> = std::iter::once(heads).chain(cells).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns.len()).filter_map(width).collect();
    let mut table = String::new();
    for line in lines {
        let padded = line.iter().zip(columns).zip(&widths).map(|((cell, (_, key)), width)| {
            if is_number(key) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let line = padded.collect::<Vec<_>>().join("  ");
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

fn is_number(key: &str) -> bool {
    NUMBERS.iter().any(|end| key.ends_with(end))
}

fn cell(row: &Value, key: &str) -> String {
    match &row[key] {
        Value::String(text) => printable(text).replace('\n', "\u{fffd}"),
        Value::Number(number) if key.ends_with("_ms") => {
            let seconds = number.as_u64().unwrap_or_default() / 1_000;
            format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
        }
        Value::Number(number) if number.is_f64() => {
            format!("{:.1}", number.as_f64().unwrap_or_default())
        }
        Value::Null => "?".to_owned(),
        other => other.to_string(),
    }
}

/// How the keys of numbers end.
const NUMBERS: [&str; 21] = [
    "load",
    "_seconds",
    "_ms",
    "_bytes",
    "_dropped",
    "_received",
    "_sent",
    "rate",
    "_least",
    "_most",
    "publications",
    "events",
    "calls",
    "subscribers",
    "callees",
    "receivers",
    "number",
    "round_trip",
    "resent",
    "waits",
    "lag",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_as_wide_as_what_is_in_it() {
        let rows = [
            json!({"authid": "joe", "pending_bytes": 7, "age_ms": 3_661_000}),
            json!({"authid": "a\u{1b}[2J\u{7}", "pending_bytes": 123_456, "age_ms": 0}),
        ];
        let columns = [("AUTHID", "authid"), ("PENDING", "pending_bytes"), ("AGE", "age_ms")];
        assert_eq!(
            table(&rows, &columns),
            "AUTHID  PENDING      AGE\n\
             joe           7  1:01:01\n\
             a\u{fffd}[2J\u{fffd}   123456  0:00:00\n"
        );
    }
}
