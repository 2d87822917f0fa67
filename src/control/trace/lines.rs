//! What shards have seen of a trace, as lines in the order of time: each PUBLISH with the receivers
//! that all shards have counted.

use std::collections::BTreeMap;

use crate::clock::Millis;
use crate::net::inquiry::{Delivered, TraceHaul, TraceRecord};
use crate::rate::{Bucket, Rate};

/// What is not shown yet, and how much was.
#[derive(Debug)]
pub(super) struct Lines {
    /// By time in milliseconds since 1970, then in the order of the trace.
    waiting: BTreeMap<(i64, u64), TraceRecord>,
    /// Receivers of publications.
    counts: BTreeMap<u64, Count>,
    /// Lines that wait at most: more would not be shown in their time.
    most_waiting: usize,
    round: u64,
    rate: Option<Rate>,
    bucket: Bucket,
    pub(super) shown: u64,
    pub(super) left_out: u64,
    pub(super) lost: u64,
}

#[derive(Debug, Default)]
struct Count {
    receivers: u64,
    shards: u64,
    round: u64,
}

impl Lines {
    /// So many lines a second, and at once.
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            waiting: BTreeMap::new(),
            counts: BTreeMap::new(),
            most_waiting: SECONDS_KEPT * per_second as usize,
            round: 0,
            rate: Rate::new(per_second, per_second),
            bucket: Bucket::default(),
            shown: 0,
            left_out: 0,
            lost: 0,
        }
    }

    pub(super) fn add(&mut self, haul: TraceHaul) {
        self.left_out += haul.left_out;
        self.lost += haul.lost;
        for record in haul.records {
            if self.waiting.len() >= self.most_waiting {
                self.left_out += 1;
                continue;
            }
            self.waiting.insert((record.time.unix_ms(), record.order), record);
        }
        for Delivered { publication, receivers } in haul.delivered {
            let count = self.counts.entry(publication.get()).or_default();
            count.receivers += receivers;
            count.shards += 1;
            count.round = self.round;
        }
    }

    /// The lines of what is older than `settled_ms`, so that nothing older comes. A PUBLISH whose
    /// receivers are not all counted holds up those behind it until it is older than
    /// `impatient_ms`.
    pub(super) fn take(&mut self, settled_ms: i64, impatient_ms: i64, now: Millis) -> String {
        let mut text = String::new();
        while let Some(first) = self.waiting.first_entry() {
            let (time_ms, _) = *first.key();
            let count = first.get().about.publication.and_then(|id| self.counts.get(&id));
            let awaited = first.get().awaited.shards().count() as u64;
            let uncounted = awaited.saturating_sub(count.map_or(0, |count| count.shards));
            if time_ms >= settled_ms || uncounted > 0 && time_ms >= impatient_ms {
                break;
            }
            let mut record = first.remove();
            if awaited > 0
                && let Some(receivers) = &mut record.receivers
            {
                *receivers += count.map_or(0, |count| count.receivers);
                record.uncounted_shards = uncounted;
            }
            if self.may_show(now) {
                put(&mut text, &record);
            }
        }
        let oldest = self.round.saturating_sub(ROUNDS_KEPT);
        self.counts.retain(|_, count| count.round >= oldest);
        self.round += 1;
        text
    }

    fn may_show(&mut self, now: Millis) -> bool {
        let Some(rate) = self.rate.filter(|rate| self.bucket.ready_at(*rate, now).is_none()) else {
            self.left_out += 1;
            return false;
        };
        self.bucket.take(rate, 1, now);
        self.shown += 1;
        true
    }
}

fn put(text: &mut String, record: &TraceRecord) {
    match serde_json::to_string(record) {
        Ok(line) => put_line(text, &line),
        Err(error) => tracing::error!(%error, "a traced message cannot be written as JSON"),
    }
}

/// Appends a line of JSON. What a terminal would not show as it is, or would follow, is written by
/// its number: clients have chosen it.
pub(super) fn put_line(text: &mut String, line: &str) {
    for letter in line.chars() {
        if letter.is_ascii() && !letter.is_control() || is_shown(letter) {
            text.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text.push('\n');
}

/// Whether a letter has a form of its own, and no effect: the standard library knows.
fn is_shown(letter: char) -> bool {
    let mut escaped = letter.escape_debug();
    !letter.is_ascii() && escaped.len() == 1 && escaped.next() == Some(letter)
}

/// Lines that wait, in seconds of the rate: a shard brings as many as there are in one.
const SECONDS_KEPT: usize = 4;

/// How long counts are kept whose PUBLISH has not come, in rounds of questions.
const ROUNDS_KEPT: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_chose_has_no_effect_on_a_terminal() {
        let hostile = "\u{1b}[2J\u{7}\u{7f}\u{9b}31m\u{202e}\u{2066}\u{e0041}zwölf\"\\";
        let line = serde_json::to_string(hostile).unwrap();
        let mut text = String::new();
        put_line(&mut text, &line);
        let said = text.trim_end();
        assert!(said.chars().all(|letter| !letter.is_control()), "{said}");
        for hidden in ['\u{202e}', '\u{2066}', '\u{e0041}'] {
            assert!(!said.contains(hidden), "{said}");
        }
        assert!(said.contains("zwölf"));
        let read: String = serde_json::from_str(said).unwrap();
        assert_eq!(read, hostile, "it is the same JSON");
    }
}
