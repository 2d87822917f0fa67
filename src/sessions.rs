//! `stentor sessions`: the sessions of a running router, asked of its admin listener.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use ureq::Agent;

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
    /// What comes first: bytes that wait, messages sent, bytes got, or age
    #[arg(long, value_name = "BY", default_value = "pending", conflicts_with = "closed")]
    #[arg(value_parser = ["pending", "messages", "sent", "age"])]
    sort: String,
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Print what the router says, as JSON
    #[arg(long)]
    json: bool,
    /// The router's admin listener (`[admin]` of its configuration)
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9080")]
    admin: String,
}

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionsError {
    #[error(
        "error: no answer from {url}: {source}\n  = help: the router needs `[admin]` with \
         `listen = \"127.0.0.1:9080\"`; --admin names another address"
    )]
    NoAnswer { url: String, source: ureq::Error },
    #[error("error: {url} answers with {status}: {text}")]
    Refused { url: String, status: u16, text: String },
    #[error("error: what {0} answers is not from Stentor's admin listener")]
    Strange(String),
}

/// The table, or what the router said.
pub(crate) fn sessions(flags: &SessionsFlags) -> Result<String, SessionsError> {
    let text = ask(flags)?;
    if flags.json {
        return Ok(text);
    }
    let strange = || SessionsError::Strange(flags.admin.clone());
    let answer: Value = serde_json::from_str(&text).map_err(|_| strange())?;
    let rows = answer["sessions"].as_array().ok_or_else(strange)?;
    let columns = if flags.closed { CLOSED } else { OPEN };
    let mut table = table(rows, columns);
    if !flags.closed {
        let count = answer["count"].as_u64().unwrap_or_default();
        writeln!(table, "{} of {count} sessions", rows.len()).expect("into a string");
    }
    for shard in answer["unanswered_shards"].as_array().into_iter().flatten() {
        writeln!(table, "shard {shard} does not answer").expect("into a string");
    }
    Ok(table)
}

fn ask(flags: &SessionsFlags) -> Result<String, SessionsError> {
    let path = if flags.closed { "/api/sessions/closed" } else { "/api/sessions" };
    let sort = (!flags.closed).then(|| flags.sort.clone());
    let query = [
        ("limit", Some(flags.limit.to_string())),
        ("sort", sort),
        ("realm", flags.realm.clone()),
        ("authid", flags.authid.clone()),
        ("authrole", flags.role.clone()),
        ("reason", flags.reason.clone()),
    ];
    fetch(&flags.admin, path, &query)
}

/// What the admin listener says; parts of the query without a value are left out.
pub(crate) fn fetch(
    admin: &str,
    path: &str,
    query: &[(&str, Option<String>)],
) -> Result<String, SessionsError> {
    let url = format!("{}{path}", admin.trim_end_matches('/'));
    let no_answer = |source| SessionsError::NoAnswer { url: url.clone(), source };
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .build()
        .into();
    let mut request = agent.get(&url);
    for (name, value) in query {
        if let Some(value) = value {
            request = request.query(name, value);
        }
    }
    let mut response = request.call().map_err(no_answer)?;
    let status = response.status().as_u16();
    let text = response.body_mut().with_config().limit(MOST_BYTES).read_to_string();
    let text = text.map_err(|source| SessionsError::NoAnswer { url: url.clone(), source })?;
    match status {
        200 => Ok(text),
        _ => Err(SessionsError::Refused { url, status, text: text.trim_end().to_owned() }),
    }
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
        Value::String(text) => text.chars().map(printable).collect(),
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

/// What a client chose to be called moves no cursor.
fn printable(letter: char) -> char {
    if letter.is_control() { '\u{fffd}' } else { letter }
}

/// How the keys of numbers end.
const NUMBERS: [&str; 14] = [
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
];

const PATIENCE: Duration = Duration::from_secs(30);
const MOST_BYTES: u64 = 4 * 1024 * 1024;

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
