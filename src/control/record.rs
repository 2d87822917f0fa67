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

    /// The last reload as JSON. `shows_why`: with the reason for a refusal. Changes that would make
    /// it longer than `most_bytes` are left out.
    pub(super) fn last_reload(&self, shows_why: bool, most_bytes: usize) -> Value {
        let last = self.last.lock();
        let mut value = match &last.reload {
            None => said(&Changes::default(), most_bytes),
            Some(Ok(changes)) => said(changes, most_bytes),
            Some(Err(text)) if shows_why => json!({ "error": text }),
            Some(Err(_)) => json!({ "error": HIDDEN }),
        };
        let time = Timestamp::from_unix_ms(last.at_ms).to_string();
        value["time"] = last.reload.is_some().then_some(time).into();
        value
    }
}

/// What a reload changes, as JSON of up to `most_bytes`: the first changes of each list, and how
/// many are left out. A reload may change as much as the file holds.
pub(super) fn said(changes: &Changes, most_bytes: usize) -> Value {
    let mut room = Some(most_bytes.saturating_sub(FRAME_BYTES));
    let mut list = |changes: &[Change]| -> Vec<Value> {
        let rows = changes.iter().map(|it| json!({ "place": it.place, "what": it.what }));
        let fitting = rows.take_while(|row| {
            room = room.and_then(|room| room.checked_sub(row.to_string().len() + 1));
            room.is_some()
        });
        fitting.collect()
    };
    let (applied, after_restart) = (list(&changes.applied), list(&changes.after_restart));
    let all = changes.applied.len() + changes.after_restart.len();
    let left_out = all - applied.len() - after_restart.len();
    json!({ "applied": applied, "after_restart": after_restart, "left_out": left_out })
}

#[expect(clippy::disallowed_methods, reason = "when the configuration was read")]
fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Bytes of a reload as JSON without its changes, and some to spare.
const FRAME_BYTES: usize = 160;

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
        assert_eq!(record.last_reload(false, usize::MAX)["time"], Value::Null);
        assert!(record.standing().0);
        record.note_reload(Err("line 7".into()));
        assert!(!record.standing().0);
        assert_eq!(record.last_reload(true, usize::MAX)["error"], "line 7");
        let hidden = record.last_reload(false, usize::MAX);
        assert!(!hidden.to_string().contains("line 7") && hidden["time"].is_string(), "{hidden}");
        let change = Change { place: "limits.nesting".into(), what: "from 64 to 32".into() };
        let changes = Changes { applied: vec![change], after_restart: Vec::new() };
        record.note_reload(Ok(changes));
        assert!(record.standing().0);
        let shown = record.last_reload(false, usize::MAX);
        assert_eq!(shown["applied"][0]["what"], "from 64 to 32");
        assert_eq!(shown["after_restart"], json!([]));
        let counts: Vec<_> = record.counts().map(|(_, done, refused)| (done, refused)).collect();
        assert_eq!(counts, [(1, 1), (0, 0), (0, 0), (0, 0)]);
    }

    #[test]
    fn a_long_list_is_cut() {
        let change = |number: usize| Change {
            place: format!("realm `\u{1}{number}`"),
            what: "added \"now\"".into(),
        };
        let changes = Changes {
            applied: (0..1_000).map(change).collect(),
            after_restart: (0..10).map(change).collect(),
        };
        let record = Record::new();
        record.note_reload(Ok(changes.clone()));
        for most_bytes in [0, 200, 1_000, 20_000] {
            let shown = record.last_reload(false, most_bytes);
            let rows = shown["applied"].as_array().unwrap().len();
            let length = shown.to_string().len();
            assert!(length <= most_bytes.max(FRAME_BYTES), "{length} of {most_bytes}");
            assert!(rows < 1_000 && length + 250 > most_bytes, "{length} of {most_bytes}");
            assert_eq!(
                (&shown["left_out"], &shown["after_restart"]),
                (&json!(1_010 - rows), &json!([]))
            );
        }
        let all = said(&changes, usize::MAX);
        assert_eq!(
            (all["applied"][999]["place"].as_str(), &all["left_out"]),
            (Some("realm `\u{1}999`"), &json!(0))
        );
    }
}
