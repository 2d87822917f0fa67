//! Asks a router's admin listener once a second, and less often while it does not answer; runs on
//! the thread `ask`.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use serde_json::{Value, json};

use super::now;
use super::state::{Failure, Kick, Look, Order};
use crate::command::operator::{AdminFlags, Ask, OperatorError};

/// What the operator wants.
#[derive(Debug)]
pub(super) enum Request {
    Look(Order),
    Kick(Kick),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Answer {
    Seen(Box<Look>),
    Failed(Failure),
    Kicked(Result<u64, String>),
}

/// Ends with whoever listens.
pub(super) fn run(at: &AdminFlags, requests: &Receiver<Request>, news: &Sender<Answer>) {
    let mut order: Option<Order> = None;
    let mut wait = EVERY;
    loop {
        let request = match order.as_ref().is_some_and(|order| order.is_paused) {
            true => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => requests.recv_timeout(if order.is_some() { wait } else { MOST_WAIT }),
        };
        match request {
            Ok(Request::Look(wanted)) => order = Some(wanted),
            Ok(Request::Kick(kick)) => {
                let kicked = kicked(at, &kick).map_err(|error| error.to_string());
                if news.send(Answer::Kicked(kicked)).is_err() {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Some(order) = order.as_ref().filter(|order| !order.is_paused) else { continue };
        let answer = match look(at, order) {
            Ok(look) => Answer::Seen(Box::new(look)),
            Err(error) => Answer::Failed(failure(&error)),
        };
        wait = next_wait(wait, matches!(answer, Answer::Seen(_)));
        if news.send(answer).is_err() {
            return;
        }
    }
}

/// How long to wait before the next question.
pub(super) fn next_wait(wait: Duration, is_answered: bool) -> Duration {
    if is_answered { EVERY } else { (wait * 2).min(MOST_WAIT) }
}

fn failure(error: &OperatorError) -> Failure {
    let text = error.to_string();
    match error {
        OperatorError::NoAnswer { .. } | OperatorError::Interrupted(_) => Failure::Silent(text),
        _ => Failure::Refused(text),
    }
}

fn look(at: &AdminFlags, order: &Order) -> Result<Look, OperatorError> {
    let get = |path: &str, query: &[(&str, &str)]| at.ask_json(&Ask::Get(path, query));
    let router = get("/api/router", &[])?;
    let shards = get("/api/shards", &[])?;
    let taken: Instant = now();
    if !router["totals"].is_object() || !shards.is_array() {
        return Err(at.strange());
    }
    let list = match order.view.list() {
        Some((path, key)) => {
            let query = order.query();
            let query: Vec<_> = query.iter().map(|(name, value)| (*name, &**value)).collect();
            let answer = get(path, &query)?;
            if !answer[key].is_array() {
                return Err(at.strange());
            }
            answer
        }
        None => Value::Null,
    };
    Ok(Look { order: order.clone(), router, shards, list, taken })
}

fn kicked(at: &AdminFlags, kick: &Kick) -> Result<u64, OperatorError> {
    let order = json!({ "realm": kick.realm, "session": kick.session });
    let answer = at.ask_json(&Ask::Post("/api/sessions/kick", &order))?;
    answer["kicked"].as_u64().ok_or_else(|| at.strange())
}

const EVERY: Duration = Duration::from_secs(1);
const MOST_WAIT: Duration = Duration::from_secs(30);
