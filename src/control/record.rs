//! What was changed while the router ran: the last reload, and counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::config::{Change, Changes};
use crate::wamp::Timestamp;

/// The last reload and how many changes there were, by kind.
#[derive(Debug)]
pub(super) struct Record {
    last: Mutex<Last>,
    done: [AtomicU64; Kind::ALL.len()],
    refused: [AtomicU64; Kind::ALL.len()],
}

#[derive(Debug)]
struct Last {
    /// When the configuration was read; at first, when the router started with it.
    at_ms: i64,
    /// `None` before the first reload.
    reload: Option<Result<Changes, String>>,
}

/// What operators change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Reload,
    LogLevel,
    Kick,
    Drain,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Reload, Self::LogLevel, Self::Kick, Self::Drain];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::LogLevel => "log_level",
            Self::Kick => "kick",
            Self::Drain => "drain",
        }
    }
}

impl Record {
    pub(super) fn new() -> Self {
        let last = Last { at_ms: unix_ms(), reload: None };
        Self { last: Mutex::new(last), done: Default::default(), refused: Default::default() }
    }

    /// A reload has ended, whoever asked for it.
    pub(super) fn note_reload(&self, outcome: Result<Changes, String>) {
        let is_done = outcome.is_ok();
        *self.last.lock() = Last { at_ms: unix_ms(), reload: Some(outcome) };
        // Behind it: who sees the count finds the reload.
        self.count(Kind::Reload, is_done);
    }

    pub(super) fn count(&self, kind: Kind, is_done: bool) {
        let counts = if is_done { &self.done } else { &self.refused };
        counts[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the last reload was not refused, and when it was, in milliseconds since 1970.
    pub(super) fn standing(&self) -> (bool, i64) {
        let last = self.last.lock();
        (!matches!(last.reload, Some(Err(_))), last.at_ms)
    }

    /// How many reloads there were, refused ones too.
    pub(super) fn reloads(&self) -> u64 {
        let mut counts = self.counts().filter(|(kind, ..)| *kind == Kind::Reload);
        counts.next().map_or(0, |(_, done, refused)| done + refused)
    }

    /// Each kind, with how many were done and how many refused.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Kind, u64, u64)> {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = self.done.iter().zip(&self.refused);
        Kind::ALL
            .into_iter()
            .zip(counts)
            .map(move |(kind, (done, refused))| (kind, load(done), load(refused)))
    }

    /// The last reload as JSON. `shows_why`: with the reason for a refusal.
    pub(super) fn last_reload(&self, shows_why: bool) -> Value {
        let last = self.last.lock();
        let mut value = match &last.reload {
            None => said(&Changes::default()),
            Some(Ok(changes)) => said(changes),
            Some(Err(text)) if shows_why => json!({ "error": text }),
            Some(Err(_)) => json!({ "error": HIDDEN }),
        };
        let time = Timestamp::from_unix_ms(last.at_ms).to_string();
        value["time"] = last.reload.is_some().then_some(time).into();
        value
    }
}

/// What a reload changes, as JSON.
pub(super) fn said(changes: &Changes) -> Value {
    let list = |changes: &[Change]| -> Vec<Value> {
        changes.iter().map(|change| json!({ "place": change.place, "what": change.what })).collect()
    };
    json!({
        "applied": list(&changes.applied),
        "after_restart": list(&changes.after_restart),
    })
}

#[expect(clippy::disallowed_methods, reason = "when the configuration was read")]
fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The target of a line of the log that quotes the configuration: only who shows the token is
/// shown more of it than [`HIDDEN`].
pub const QUOTING: &str = "stentor::config::refused";

/// What everybody may know of a configuration that was refused.
pub const HIDDEN: &str = "the configuration was refused: the log says why, and so does \
                          /api/changes to whoever shows the token";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_reload_stands_there_until_one_succeeds() {
        let record = Record::new();
        assert_eq!(record.last_reload(false)["time"], Value::Null);
        assert!(record.standing().0);
        record.note_reload(Err("line 7".into()));
        assert!(!record.standing().0);
        assert_eq!(record.last_reload(true)["error"], "line 7");
        let hidden = record.last_reload(false);
        assert!(!hidden.to_string().contains("line 7") && hidden["time"].is_string(), "{hidden}");
        let change = Change { place: "limits.nesting".into(), what: "from 64 to 32".into() };
        let changes = Changes { applied: vec![change], after_restart: Vec::new() };
        record.note_reload(Ok(changes));
        assert!(record.standing().0);
        let shown = record.last_reload(false);
        assert_eq!(shown["applied"][0]["what"], "from 64 to 32");
        assert_eq!(shown["after_restart"], json!([]));
        let counts: Vec<_> = record.counts().map(|(_, done, refused)| (done, refused)).collect();
        assert_eq!(counts, [(1, 1), (0, 0), (0, 0), (0, 0)]);
    }
}
