//! `stentor topics` and `stentor procedures`: what is busiest on a running router, asked of its
//! admin listener.

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use crate::command::operator::{AdminFlags, Ask, OperatorError};
use crate::command::sessions::{Column, page, silent_shards};

/// Which URIs, and of which router.
#[derive(Args, Debug)]
pub(crate) struct BusyFlags {
    /// Those of this realm alone
    #[arg(long, value_name = "NAME")]
    realm: Option<String>,
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

/// Which topics.
#[derive(Args, Debug)]
pub(crate) struct TopicsFlags {
    #[command(flatten)]
    busy: BusyFlags,
    /// What comes first: publications a second, events a second, or subscriptions by their
    /// subscribers
    #[arg(long, value_name = "BY", default_value = "rate")]
    #[arg(value_parser = ["rate", "events", "subscribers"])]
    sort: String,
}

/// The busiest topics as a table, or the rows of its answer.
pub(crate) fn topics(flags: &TopicsFlags) -> Result<String, OperatorError> {
    let columns = if flags.sort == "subscribers" { SUBSCRIPTIONS } else { TOPICS };
    show(&flags.busy, "topics", Some(&flags.sort), columns)
}

/// The procedures that are called most as a table, or the rows of its answer.
pub(crate) fn procedures(flags: &BusyFlags) -> Result<String, OperatorError> {
    show(flags, "procedures", None, PROCEDURES)
}

fn show(
    flags: &BusyFlags,
    what: &str,
    sort: Option<&String>,
    columns: &[Column],
) -> Result<String, OperatorError> {
    let limit = flags.limit.to_string();
    let mut query = vec![("limit", &*limit)];
    query.extend(flags.realm.as_deref().map(|realm| ("realm", realm)));
    query.extend(sort.map(|sort| ("sort", &**sort)));
    let text = flags.at.ask(&Ask::Get(&format!("/api/{what}"), &query))?;
    let strange = || flags.at.strange();
    let answer: Value = serde_json::from_str(&text).map_err(|_| strange())?;
    let rows = answer[what].as_array().ok_or_else(strange)?;
    let mut notes = String::new();
    let unlisted = answer["unlisted_rate"].as_f64().unwrap_or_default();
    if unlisted > 0.0 {
        let line = format_args!("any other comes less than {unlisted:.1} times a second");
        writeln!(notes, "{line}").expect("into a string");
    }
    if answer["is_complete"] == false {
        let looked_at = &answer["looked_at"];
        writeln!(notes, "only {looked_at} subscriptions were looked at").expect("into a string");
    }
    notes.push_str(&silent_shards(&answer));
    Ok(page(flags.json, rows, columns, &notes))
}

const TOPICS: &[Column] = &[
    ("TOPIC", "uri"),
    ("REALM", "realm"),
    ("PER SECOND", "rate"),
    ("AT MOST", "rate_at_most"),
    ("EVENTS PER SECOND", "event_rate"),
    ("PUBLICATIONS", "publications"),
    ("EVENTS", "events"),
    ("SUBSCRIBERS", "subscribers"),
];

const SUBSCRIPTIONS: &[Column] = &[
    ("TOPIC", "uri"),
    ("MATCH", "match"),
    ("REALM", "realm"),
    ("SUBSCRIBERS", "subscribers"),
    ("PER SECOND", "rate"),
    ("EVENTS PER SECOND", "event_rate"),
];

const PROCEDURES: &[Column] = &[
    ("PROCEDURE", "uri"),
    ("REALM", "realm"),
    ("PER SECOND", "rate"),
    ("AT MOST", "rate_at_most"),
    ("CALLS", "calls"),
    ("CALLEES", "callees"),
];
