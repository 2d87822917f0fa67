//! `stentor trace`: messages of a running router while they pass, a line each, from its admin
//! listener.

use std::fmt::Write as _;
use std::io::{BufRead, Write};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::command::operator::{AdminFlags, Ask, OperatorError};

/// Which messages, for how long, and of which router.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct TraceFlags {
    /// Messages of the session with this id
    #[arg(long, value_name = "ID", group = "what")]
    session: Option<u64>,
    /// Messages of sessions with this authid, and of who says that it has it
    #[arg(long, value_name = "AUTHID", group = "what")]
    authid: Option<String>,
    /// Messages about topics and procedures that begin with this, and errors that do
    #[arg(long, value_name = "PREFIX", group = "what")]
    uri: Option<String>,
    /// Messages of connections from this address or network: 192.0.2.7, 10.0.0.0/8 or unix
    #[arg(long, value_name = "NETWORK", group = "what")]
    address: Option<String>,
    /// Those of this realm alone
    #[arg(long, value_name = "NAME")]
    realm: Option<String>,
    /// How long
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Lines a second, at most; how many more there were is said at the end
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Show so many bytes of each payload, as JSON [default: none]
    #[arg(long, value_name = "BYTES", default_value_t = 0, hide_default_value = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=4_096))]
    payload: u32,
    /// Print what the router says, as lines of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: AdminFlags,
}

/// Prints until the trace is over. Who reads the output may go before.
///
/// # Errors
/// What the router refuses, and a trace that breaks off.
pub(crate) fn trace(flags: &TraceFlags, to: &mut impl Write) -> Result<(), OperatorError> {
    let TraceFlags { session, authid, uri, address, realm, seconds, rate, payload, json, at } =
        flags;
    let order = json!({
        "session": session,
        "authid": authid,
        "uri": uri,
        "address": address,
        "realm": realm,
        "for_seconds": seconds,
        "rate": rate,
        "payload_bytes": payload,
    });
    let patience = Duration::from_secs(u64::from(*seconds)) + AFTERWARDS;
    let mut lines = at.follow(&Ask::Post("/api/trace", &order), patience)?;
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line).map_err(|_| at.interrupted())? == 0 {
            return Err(at.interrupted());
        }
        let said: Value = serde_json::from_str(&line).map_err(|_| at.strange())?;
        let written = match json {
            true => to.write_all(line.as_bytes()),
            false => to.write_all(told(&said).as_bytes()),
        };
        // As in `stentor trace ... | head`.
        if written.and_then(|()| to.flush()).is_err() || said.get("ended").is_some() {
            return Ok(());
        }
    }
}

/// A line for people.
fn told(said: &Value) -> String {
    let mut line = String::new();
    if said.get("begun").is_some() {
        tell_beginning(said, &mut line);
    } else if said.get("ended").is_some() {
        tell_end(said, &mut line);
    } else {
        tell_message(said, &mut line);
    }
    line.push('\n');
    line
}

fn tell_beginning(said: &Value, line: &mut String) {
    let (seconds, rate) = (&said["for_seconds"], &said["rate"]);
    put(line, format_args!("# tracing for {seconds} s, {rate} lines a second at most, UTC"));
}

fn tell_end(said: &Value, line: &mut String) {
    let (shown, left_out) = (&said["shown"], &said["left_out"]);
    put(line, format_args!("# {shown} messages shown, {left_out} left out because of the rate"));
    if said["lost"].as_u64().is_some_and(|lost| lost > 0) {
        put(line, format_args!(", {} lost because they were not fetched in time", said["lost"]));
    }
    if said["interrupted"].as_u64().is_some_and(|times| times > 0) {
        line.push_str("; not all was seen, as nobody has asked the shards for some time");
    }
    for shard in said["unanswered_shards"].as_array().into_iter().flatten() {
        put(line, format_args!("; shard {shard} does not answer"));
    }
}

fn tell_message(said: &Value, line: &mut String) {
    let text = |key: &str| said[key].as_str().map(escaped);
    let time = said["time"].as_str().unwrap_or_default();
    let time = time.get(11..23).unwrap_or(time);
    let arrow = if said["direction"] == "in" { "->" } else { "<-" };
    let name = text("message").unwrap_or_default().to_uppercase();
    let who = match said["session"].as_u64() {
        Some(session) => session.to_string(),
        None => text("peer").unwrap_or_default(),
    };
    put(line, format_args!("{} {who} {arrow} {name}", escaped(time)));
    if let Some(request) = said["request"].as_u64() {
        put(line, format_args!(" {request}"));
    }
    let about = [text("match"), text("uri")];
    about.into_iter().flatten().for_each(|text| put(line, format_args!(" {text}")));
    let bytes = &said["bytes"];
    put(line, format_args!(", {bytes} B"));
    tell_outcome(said, line);
    if let Some(reason) = text("dropped") {
        put(line, format_args!(", dropped: {reason}"));
    }
    if let Some(older) = said["dropped_older"].as_u64() {
        put(line, format_args!(", {older} older ones dropped for it"));
    }
    if let Some(payload) = text("payload") {
        let more = if said["is_payload_cut"] == true { " ..." } else { "" };
        put(line, format_args!("  {payload}{more}"));
    }
}

/// What came of a message.
fn tell_outcome(said: &Value, line: &mut String) {
    let text = |key: &str| said[key].as_str().map(escaped);
    if let Some(decision) = text("decision") {
        let again = if said["again"] == true { " now" } else { "" };
        put(line, format_args!(", {decision}{again}"));
    }
    if let Some(error) = text("error") {
        let separator = if said["decision"].is_null() { "," } else { "" };
        put(line, format_args!("{separator} {error}"));
    }
    tell_rule(said, line);
    if let Some(receivers) = said["receivers"].as_u64() {
        let plural = if receivers == 1 { "" } else { "s" };
        put(line, format_args!(", {receivers} receiver{plural}"));
    }
    if let Some(shards) = said["uncounted_shards"].as_u64() {
        put(line, format_args!(" and those of {shards} shards"));
    }
    if let Some(callee) = said["callee"].as_u64() {
        put(line, format_args!(", to {callee}"));
    }
}

/// In the words of `stentor explain`.
fn tell_rule(said: &Value, line: &mut String) {
    let rule = &said["rule"];
    if rule.is_null() {
        return;
    }
    let text = |key: &str| rule[key].as_str().map(escaped).unwrap_or_default();
    let role = said["authrole"].as_str().map(escaped).unwrap_or_default();
    let place = rule["line"].as_u64().map_or_else(String::new, |line| format!(" line {line}:"));
    let (how, uri) = (text("match"), text("uri"));
    put(line, format_args!(" (role `{role}`,{place} {how} `{uri}`"));
    if rule["authorizer"].is_string() {
        put(line, format_args!(", asks `{}`", text("authorizer")));
    }
    line.push(')');
}

/// Nothing of it moves a cursor, or is read in another direction than it stands.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' | '\'' | '\\' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
    }
    shown
}

fn put(line: &mut String, text: std::fmt::Arguments<'_>) {
    line.write_fmt(text).expect("into a string");
}

/// Longer than the router takes for the last line.
const AFTERWARDS: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_came_of_a_message() {
        let rule = json!({
            "uri": "com.", "match": "prefix", "line": 12, "is_admin": false, "authorizer": null,
        });
        let mut said = json!({
            "time": "2024-05-01T12:00:00.123Z", "direction": "in", "shard": 0, "session": 7,
            "realm": "realm1", "authid": "joe", "authrole": "user", "peer": "10.0.0.1:5",
            "message": "publish", "bytes": 60, "request": 3, "uri": "com.x",
            "decision": "granted", "rule": rule, "receivers": 2,
        });
        let line = "12:00:00.123 7 -> PUBLISH 3 com.x, 60 B, granted (role `user`, line 12: \
                    prefix `com.`), 2 receivers\n";
        assert_eq!(told(&said), line);
        said["uri"] = json!("a\u{1b}[2J\u{9b}\u{202e}");
        said["payload"] = json!("[\"\u{7}\n\"]");
        said["is_payload_cut"] = json!(true);
        said["rule"]["authorizer"] = json!("com.auth");
        let line = told(&said);
        assert!(line.trim_end().chars().all(|letter| !letter.is_control()), "{line}");
        assert!(line.contains(r"a\u{1b}[2J\u{9b}\u{202e}"), "{line}");
        assert!(line.contains("asks `com.auth`), 2 receivers  [\"\\u{7}\\n\"] ...\n"), "{line}");
    }

    #[test]
    fn the_first_and_the_last_line_are_comments() {
        let begun = json!({ "begun": "x", "for_seconds": 5, "rate": 9 });
        assert_eq!(told(&begun), "# tracing for 5 s, 9 lines a second at most, UTC\n");
        let ended = json!({
            "ended": "x", "shown": 3, "left_out": 2, "lost": 1, "unanswered_shards": [4],
        });
        let line = "# 3 messages shown, 2 left out because of the rate, 1 lost because they were \
                    not fetched in time; shard 4 does not answer\n";
        assert_eq!(told(&ended), line);
        let denied = json!({
            "time": "2024-05-01T12:00:00.123Z", "direction": "in", "peer": "10.0.0.1:5",
            "message": "call", "bytes": 9, "request": 1, "decision": "denied", "again": true,
            "error": "wamp.error.not_authorized", "uri": "com.x",
        });
        let line = "12:00:00.123 10.0.0.1:5 -> CALL 1 com.x, 9 B, denied now \
                    wamp.error.not_authorized\n";
        assert_eq!(told(&denied), line);
    }
}
