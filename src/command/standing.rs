//! `stentor roles` and `stentor shards`: what roles may do on a running router, and how its event
//! loops get on, asked of its admin listener.

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::command::operator::{AdminFlags, Ask, OperatorError, printable};
use crate::command::sessions::{Column, page, table};

/// Which roles, and of which router.
#[derive(Args, Debug)]
pub(crate) struct RolesFlags {
    /// This role alone
    role: Option<String>,
    /// The roles of this realm alone
    #[arg(long, value_name = "NAME")]
    realm: Option<String>,
    /// So many rules at most
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Print one object of JSON a line for each, and what else is to be said on standard error
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: AdminFlags,
}

/// Of which router.
#[derive(Args, Debug)]
pub(crate) struct ShardsFlags {
    /// Print what the router says, one object of JSON a line for each shard
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: AdminFlags,
}

/// Each role with its rules, or the rows of the router's answer.
pub(crate) fn roles(flags: &RolesFlags) -> Result<String, OperatorError> {
    let limit = flags.limit.to_string();
    let mut query = vec![("limit", &*limit)];
    query.extend(flags.realm.as_deref().map(|realm| ("realm", realm)));
    query.extend(flags.role.as_deref().map(|role| ("role", role)));
    let text = flags.at.ask(&Ask::Get("/api/roles", &query))?;
    let answer: Value = serde_json::from_str(&text).map_err(|_| flags.at.strange())?;
    let rows = answer["roles"].as_array().ok_or_else(|| flags.at.strange())?;
    let mut notes = String::new();
    for realm in answer["open_realms"].as_array().into_iter().flatten() {
        let realm = printable(realm.as_str().unwrap_or_default());
        writeln!(notes, "realm {realm}: it has no roles, everybody may do everything")
            .expect("into a string");
    }
    if rows.is_empty() && notes.is_empty() {
        notes.push_str("no such realm\n");
    }
    if flags.json {
        return Ok(page(true, rows, &[], &notes));
    }
    let mut page = String::new();
    for row in rows {
        describe(&mut page, row).expect("into a string");
    }
    Ok(page + &notes)
}

fn describe(page: &mut String, row: &Value) -> std::fmt::Result {
    let role = row["role"].as_str().map_or_else(
        || "a role that is not listed".to_owned(),
        |role| format!("role {}", printable(role)),
    );
    let realm = printable(row["realm"].as_str().unwrap_or_default());
    write!(page, "{role} on realm {realm}:")?;
    let counts = |what: &str| {
        let counts = row[what].as_object().into_iter().flatten();
        let counts = counts.filter(|(_, count)| count.as_u64() != Some(0));
        counts.map(|(action, count)| format!("{action} {count}")).collect::<Vec<_>>().join(", ")
    };
    for what in ["allowed", "denied"] {
        let counts = counts(what);
        if !counts.is_empty() {
            write!(page, " {what} so far: {counts};")?;
        }
    }
    page.truncate(page.trim_end_matches(';').len());
    let rules = row["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    let more = row["more_rules"].as_u64().unwrap_or_default();
    if rules.is_empty() && more == 0 {
        return writeln!(page, "\n  may do nothing\n");
    }
    writeln!(page)?;
    for line in table(&rules.iter().map(rule).collect::<Vec<_>>(), RULES).lines() {
        writeln!(page, "  {line}")?;
    }
    if more > 0 {
        writeln!(page, "  and {more} rules more: see --limit")?;
    }
    writeln!(page)
}

/// A rule as a row of text.
fn rule(rule: &Value) -> Value {
    let list = |what: &str| {
        let actions = rule[what].as_array().into_iter().flatten().filter_map(Value::as_str);
        actions.collect::<Vec<_>>().join(" ")
    };
    let mut allow = list("allow");
    if let Some(authorizer) = rule["authorizer"].as_str() {
        allow = format!("{} if {authorizer} agrees", list("ask"));
    }
    let line = rule["line"].as_u64().map(|line| line.to_string());
    let line = line.unwrap_or_else(|| rule["origin"].as_str().unwrap_or_default().to_owned());
    let uri = rule["uri"].as_str().filter(|uri| !uri.is_empty()).unwrap_or("(every URI)");
    let (policy, deny) = (&rule["match"], list("deny"));
    json!({ "uri": uri, "match": policy, "allow": allow, "deny": deny, "line": line })
}

/// Each event loop with its load of a second, or the rows of the router's answer.
pub(crate) fn shards(flags: &ShardsFlags) -> Result<String, OperatorError> {
    let ask = || flags.at.ask(&Ask::Get("/api/shards", &[]));
    let read = |text: &str| match serde_json::from_str(text) {
        Ok(Value::Array(rows)) => Ok(rows),
        _ => Err(flags.at.strange()),
    };
    let text = ask()?;
    if flags.json {
        return Ok(page(true, &read(&text)?, &[], ""));
    }
    let router = flags.at.ask(&Ask::Get("/api/router", &[]))?;
    let began = uptime(&router);
    let before = read(&text)?;
    watch();
    let router = flags.at.ask(&Ask::Get("/api/router", &[]))?;
    let seconds = uptime(&router) - began;
    let rows: Vec<_> = read(&ask()?)?.iter().map(|row| shard(row, &before, seconds)).collect();
    Ok(table(&rows, SHARDS))
}

#[expect(clippy::disallowed_methods, reason = "a command of its own, which has nothing else to do")]
fn watch() {
    thread::sleep(WATCHED);
}

fn uptime(router: &str) -> f64 {
    let router: Value = serde_json::from_str(router).unwrap_or_default();
    router["uptime_seconds"].as_f64().unwrap_or_default()
}

/// A row of the table: `load` is how much of the time the shard has worked.
fn shard(row: &Value, before: &[Value], seconds: f64) -> Value {
    let old = before.iter().find(|old| old["shard"] == row["shard"]).unwrap_or(&Value::Null);
    let busy = |row: &Value| row["busy_seconds"].as_f64().unwrap_or_default();
    let load = if seconds > 0.0 { (busy(row) - busy(old)) / seconds * 100.0 } else { 0.0 };
    json!({
        "shard": row["shard"],
        "load": format!("{:.0} %", load.clamp(0.0, 100.0)),
        "unanswered_seconds": row["unanswered_seconds"],
        "sessions": row["gauges"]["sessions"],
        "mail_bytes": row["queued_bytes"],
        "held_bytes": row["held_bytes"],
        "output_bytes": row["gauges"]["output_bytes"],
        "input_bytes": row["gauges"]["input_bytes"],
    })
}

const RULES: &[Column] =
    &[("URI", "uri"), ("MATCH", "match"), ("MAY", "allow"), ("MAY NOT", "deny"), ("LINE", "line")];

const SHARDS: &[Column] = &[
    ("SHARD", "shard"),
    ("LOAD", "load"),
    ("SILENT FOR S", "unanswered_seconds"),
    ("SESSIONS", "sessions"),
    ("MAIL", "mail_bytes"),
    ("HELD", "held_bytes"),
    ("PENDING", "output_bytes"),
    ("UNREAD", "input_bytes"),
];

/// For how long the load is looked at.
const WATCHED: Duration = Duration::from_secs(1);
