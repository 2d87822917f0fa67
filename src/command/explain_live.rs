//! `stentor explain --live`: what would come of a request on a running router, asked of its admin
//! listener.

use std::fmt::Write as _;

use serde_json::Value;

use crate::command::operator::{AdminFlags, Ask, OperatorError};
use crate::command::sessions::{Column, table};

/// Which request is meant, and of which router.
#[derive(Debug)]
pub(crate) struct LiveQuestion<'a> {
    pub(crate) action: &'a str,
    pub(crate) uri: &'a str,
    pub(crate) policy: Option<&'a str>,
    pub(crate) realm: Option<&'a str>,
    pub(crate) role: Option<&'a str>,
    pub(crate) session: Option<u64>,
    pub(crate) limit: u32,
    pub(crate) is_json: bool,
    pub(crate) at: &'a AdminFlags,
}

/// What the router said.
#[derive(Debug)]
pub(crate) struct LiveAnswer {
    /// In lines, or as it came.
    pub(crate) text: String,
    /// Whether it may be done, if it was asked for a role or a session: `None` if an authorizer
    /// decides.
    pub(crate) is_allowed: Option<bool>,
}

/// Asks, and puts into words.
pub(crate) fn explain_live(question: &LiveQuestion<'_>) -> Result<LiveAnswer, OperatorError> {
    let session = question.session.map(|session| session.to_string());
    let limit = question.limit.to_string();
    let optional = [
        ("match", question.policy),
        ("realm", question.realm),
        ("role", question.role),
        ("session", session.as_deref()),
    ];
    let mut query = vec![("action", question.action), ("uri", question.uri), ("limit", &*limit)];
    query.extend(optional.iter().filter_map(|(name, value)| Some((*name, (*value)?))));
    let text = question.at.ask(&Ask::Get("/api/explain", &query))?;
    let page: Value = serde_json::from_str(&text).map_err(|_| question.at.strange())?;
    let is_allowed = match page["decision"]["outcome"].as_str() {
        // Nobody was asked about.
        None | Some("allowed") => Some(true),
        Some("denied") => Some(false),
        Some(_) => None,
    };
    if question.is_json {
        return Ok(LiveAnswer { text, is_allowed });
    }
    let mut said = String::new();
    tell_decision(&page, &mut said);
    tell_receivers(&page["receivers"], &mut said);
    if page["action"] == "call" {
        tell_callee(&page["callee"], &mut said);
    }
    Ok(LiveAnswer { text: said, is_allowed })
}

fn tell_decision(page: &Value, said: &mut String) {
    let decision = &page["decision"];
    let Some(outcome) = decision["outcome"].as_str() else { return };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (action, uri, role) = (text(&page["action"]), text(&page["uri"]), text(&page["role"]));
    line(said, format_args!("{outcome}: role `{role}`, {action} `{uri}`"));
    if let Some(why) = decision["why"].as_str() {
        line(said, format_args!("  {why}"));
    }
    for rule in list(&decision["rules"]) {
        let place = match (rule["line"].as_u64(), rule["origin"].as_str()) {
            (Some(line), _) => format!("line {line}: "),
            (None, None | Some("permission")) => String::new(),
            (None, Some(origin)) => format!("{origin}: "),
        };
        let (how, uri) = (text(&rule["match"]), text(&rule["uri"]));
        let outcome = text(&rule["outcome"]).replace('_', " ");
        let asks = rule["authorizer"].as_str().map(|it| format!(", asks `{it}`"));
        let asks = asks.unwrap_or_default();
        line(said, format_args!("  {place}{how} `{uri}`: {outcome}{asks}"));
    }
}

fn tell_receivers(receivers: &Value, said: &mut String) {
    if receivers.is_null() {
        return;
    }
    let count = receivers["count"].as_u64().unwrap_or_default();
    let but =
        if receivers["is_publisher_excluded"] == true { ", the publisher included" } else { "" };
    line(said, format_args!("{count} receivers{but}"));
    said.push_str(&table(list(&receivers["subscriptions"]), SUBSCRIPTIONS));
    let sessions = list(&receivers["sessions"]);
    if !sessions.is_empty() {
        line(said, format_args!("the first {}:", sessions.len()));
        said.push_str(&table(sessions, SESSIONS));
    }
    for shard in list(&receivers["unanswered_shards"]) {
        line(said, format_args!("shard {shard} does not answer"));
    }
}

fn tell_callee(callee: &Value, said: &mut String) {
    if callee.is_null() {
        return line(said, format_args!("no procedure: the call would be refused"));
    }
    if callee["is_router"] == true {
        return line(said, format_args!("the router itself answers it, if it knows the procedure"));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (how, uri) = (text(&callee["match"]), text(&callee["uri"]));
    let (invoke, count) = (text(&callee["invoke"]), &callee["count"]);
    line(said, format_args!("{how} `{uri}`, invoke {invoke}, callees: {count}"));
    let next = &callee["next"];
    if callee["is_busy"] == true {
        line(said, format_args!("all are busy: the call would be refused"));
    } else if next.is_null() {
        line(said, format_args!("chance decides which of them gets it"));
    } else {
        said.push_str("it would go to:\n");
        said.push_str(&table(std::slice::from_ref(next), CALLEES));
    }
    let callees = list(&callee["callees"]);
    if callees.len() > 1 {
        line(said, format_args!("the first {}:", callees.len()));
        said.push_str(&table(callees, CALLEES));
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn line(said: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(said, "{text}").expect("into a string");
}

const SUBSCRIPTIONS: &[Column] =
    &[("SUBSCRIPTION", "uri"), ("MATCH", "match"), ("RECEIVERS", "receivers")];

const SESSIONS: &[Column] = &[
    ("SESSION", "session"),
    ("AUTHID", "authid"),
    ("ROLE", "authrole"),
    ("SHARD", "shard"),
    ("SUBSCRIPTION", "subscription"),
];

const CALLEES: &[Column] =
    &[("SESSION", "session"), ("AUTHID", "authid"), ("ROLE", "authrole"), ("SHARD", "shard")];
