//! `stentor reload`, `kick`, `drain`, `log-level` and `changes`: a running router changed by its
//! operator, over its admin listener.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use crate::command::operator::{AdminFlags, Ask, OperatorError, printable};

#[derive(Args, Debug)]
pub(crate) struct ReloadFlags {
    /// Print what the router says, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: AdminFlags,
}

#[derive(Args, Debug)]
pub(crate) struct LevelFlags {
    /// error, warn, info, debug, trace or off, or a filter as info,stentor::net=debug
    level: String,
    #[command(flatten)]
    at: AdminFlags,
}

#[derive(Args, Debug)]
pub(crate) struct DrainFlags {
    /// In how many milliseconds all sessions have left [default: timeouts.drain_ms]
    #[arg(long, value_name = "MS")]
    drain_ms: Option<u64>,
    #[command(flatten)]
    at: AdminFlags,
}

/// Whom to kick.
#[derive(Args, Debug)]
pub(crate) struct KickFlags {
    /// The id of the session
    #[arg(required_unless_present = "authid", conflicts_with = "authid")]
    session: Option<u64>,
    /// All sessions with this authid instead
    #[arg(long, value_name = "AUTHID")]
    authid: Option<String>,
    /// Their realm [default: the only one]
    #[arg(long, value_name = "NAME")]
    realm: Option<String>,
    /// The URI that GOODBYE gives as its reason [default: wamp.close.killed]
    #[arg(long, value_name = "URI")]
    reason: Option<String>,
    /// What GOODBYE says to people
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    #[command(flatten)]
    at: AdminFlags,
}

/// What the reload has changed. A router that refuses the configuration is an error.
pub(crate) fn reload(flags: &ReloadFlags) -> Result<String, OperatorError> {
    shown(flags, &Ask::Post("/api/reload", &Value::Null))
}

/// What the last reload has changed, or why it was refused.
pub(crate) fn changes(flags: &ReloadFlags) -> Result<String, OperatorError> {
    shown(flags, &Ask::Get("/api/changes", &[]))
}

fn shown(flags: &ReloadFlags, ask: &Ask<'_>) -> Result<String, OperatorError> {
    let answer = flags.at.ask_json(ask)?;
    if flags.json {
        return Ok(format!("{answer}\n"));
    }
    report(&answer, matches!(ask, Ask::Get(..))).ok_or_else(|| flags.at.strange())
}

pub(crate) fn log_level(flags: &LevelFlags) -> Result<String, OperatorError> {
    let answer =
        flags.at.ask_json(&Ask::Post("/api/log-level", &json!({ "level": flags.level })))?;
    let level = answer["level"].as_str().ok_or_else(|| flags.at.strange())?;
    Ok(format!("the router logs by `{}` until it reads its configuration\n", printable(level)))
}

pub(crate) fn drain(flags: &DrainFlags) -> Result<String, OperatorError> {
    let order = json!({ "drain_ms": flags.drain_ms });
    let answer = flags.at.ask_json(&Ask::Post("/api/drain", &order))?;
    let within_ms = answer["drain_ms"].as_u64().ok_or_else(|| flags.at.strange())?;
    Ok(format!(
        "the router lets nobody in, and stops when all have left, in {within_ms} ms at most\n"
    ))
}

pub(crate) fn kick(flags: &KickFlags) -> Result<String, OperatorError> {
    let KickFlags { session, authid, realm, reason, message, at } = flags;
    let order = json!({
        "realm": realm,
        "session": session,
        "authid": authid,
        "reason": reason,
        "message": message,
    });
    let answer = at.ask_json(&Ask::Post("/api/sessions/kick", &order))?;
    match answer["kicked"].as_u64().ok_or_else(|| at.strange())? {
        1 => Ok("1 session was kicked\n".into()),
        kicked => Ok(format!("{kicked} sessions were kicked\n")),
    }
}

/// The lists of changes in words; `None` if there are none in the answer.
fn report(answer: &Value, is_of_the_past: bool) -> Option<String> {
    let mut text = String::new();
    if is_of_the_past {
        let Some(time) = answer["time"].as_str() else {
            return answer.is_object().then(|| "there was no reload since the start\n".into());
        };
        writeln!(text, "at {}", printable(time)).expect("into a string");
    }
    if let Some(error) = answer["error"].as_str() {
        writeln!(text, "refused: {}", printable(error.trim_end())).expect("into a string");
        return Some(text);
    }
    let mut count = 0;
    for (list, ending) in [("applied", ""), ("after_restart", ", after a restart of the router")] {
        for change in answer[list].as_array()? {
            let (place, what) = (change["place"].as_str()?, change["what"].as_str()?);
            let (place, what) = (printable(place), printable(what));
            writeln!(text, "{place} {what}{ending}").expect("into a string");
            count += 1;
        }
    }
    if count == 0 {
        text.push_str("nothing has changed\n");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_said_line_by_line() {
        let change = |place: &str, what: &str| json!({ "place": place, "what": what });
        let answer = json!({
            "applied": [change("limits.nesting", "from 64 to 32"), change("role\u{7}", "added")],
            "after_restart": [change("shards", "from 1 to 2")],
        });
        let said = "limits.nesting from 64 to 32\nrole\u{fffd} added\n\
                    shards from 1 to 2, after a restart of the router\n";
        assert_eq!(report(&answer, false).unwrap(), said);
        let nothing = json!({ "applied": [], "after_restart": [], "time": null });
        assert_eq!(report(&nothing, false).unwrap(), "nothing has changed\n");
        assert_eq!(report(&nothing, true).unwrap(), "there was no reload since the start\n");
        let refused = json!({ "error": "line 7\n", "time": "2024-05-01T12:00:00.000Z" });
        let said = "at 2024-05-01T12:00:00.000Z\nrefused: line 7\n";
        assert_eq!(report(&refused, true).unwrap(), said);
        assert_eq!(report(&json!([]), true), None);
        assert_eq!(report(&json!({ "applied": [] }), false), None);
    }
}
