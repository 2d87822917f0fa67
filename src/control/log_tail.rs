//! The last lines of the log, for operators who ask over the admin listener.
//!
//! Whoever logs leaves a line here, and never waits: if somebody else is at it the line is lost for
//! the tail, and counted; the log itself has it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tracing::Level;

use crate::wamp::Timestamp;

/// One line, with its fields apart.
#[derive(Clone, Debug)]
pub struct LogLine {
    pub time: Timestamp,
    pub level: Level,
    pub target: &'static str,
    pub message: String,
    /// By their names, in their order.
    pub fields: Vec<(&'static str, String)>,
}

/// The last lines, within their bytes.
pub struct LogTail {
    lines: Mutex<Lines>,
    /// Lines that found the tail in use.
    missed: AtomicU64,
    /// How many lines the log has lost.
    lost: Box<dyn Fn() -> u64 + Send + Sync>,
}

#[derive(Default)]
struct Lines {
    last: VecDeque<LogLine>,
    bytes: usize,
}

impl LogTail {
    /// `lost` says how many lines never got to where the log goes.
    pub fn new(lost: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { lines: Mutex::default(), missed: AtomicU64::new(0), lost: Box::new(lost) }
    }

    /// Leaves a line, whose texts are cut to `MOST_LINE_BYTES` together.
    pub fn push(&self, mut line: LogLine) {
        line.cut();
        let Some(mut lines) = self.lines.try_lock() else {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut evicted = Vec::new();
        lines.bytes += line.weight();
        lines.last.push_back(line);
        while lines.bytes > MOST_BYTES
            && let Some(oldest) = lines.last.pop_front()
        {
            lines.bytes -= oldest.weight();
            evicted.push(oldest);
        }
        // What they own is freed without the lock.
        drop(lines);
        drop(evicted);
    }

    /// Up to so many of the last lines that are at least as grave as `level`, the newest last.
    pub fn last(&self, most: usize, level: Level) -> Vec<LogLine> {
        let lines = self.lines.lock();
        let wanted = lines.last.iter().rev().filter(|line| line.level <= level);
        let mut found: Vec<_> = wanted.take(most).cloned().collect();
        drop(lines);
        found.reverse();
        found
    }

    /// Lines that never got to where the log goes.
    pub fn lost(&self) -> u64 {
        (self.lost)()
    }

    /// Lines that the log has and the tail has not.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

/// Which lines are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LogFilter {
    /// This level and graver ones.
    level: Grade,
    /// Up to [`MOST_SHOWN`].
    limit: usize,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Default for LogFilter {
    fn default() -> Self {
        Self { level: Grade::Trace, limit: SHOWN }
    }
}

impl From<Grade> for Level {
    fn from(grade: Grade) -> Self {
        match grade {
            Grade::Error => Self::ERROR,
            Grade::Warn => Self::WARN,
            Grade::Info => Self::INFO,
            Grade::Debug => Self::DEBUG,
            Grade::Trace => Self::TRACE,
        }
    }
}

/// The last lines, if the log leaves any here.
pub(super) fn page(tail: Option<&Arc<LogTail>>, filter: &LogFilter) -> Value {
    let lines = tail.map(|tail| tail.last(filter.limit.min(MOST_SHOWN), filter.level.into()));
    let lines = lines.unwrap_or_default();
    json!({
        "lines": lines.iter().map(LogLine::to_json).collect::<Vec<_>>(),
        "lost": tail.map(|tail| tail.lost()),
        "missed": tail.map(|tail| tail.missed()),
    })
}

impl fmt::Debug for LogTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogTail").field("missed", &self.missed).finish_non_exhaustive()
    }
}

impl LogLine {
    pub(super) fn to_json(&self) -> Value {
        let fields = self.fields.iter();
        let fields: Map<_, _> =
            fields.map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
        json!({
            "time": self.time.to_string(),
            "level": self.level.as_str().to_ascii_lowercase(),
            "target": self.target,
            "message": self.message,
            "fields": fields,
        })
    }

    /// Bytes of memory.
    fn weight(&self) -> usize {
        let fields = self.fields.iter().map(|(_, value)| FIELD_BYTES + value.capacity());
        size_of::<Self>() + self.message.capacity() + fields.sum::<usize>()
    }

    fn cut(&mut self) {
        let mut room = MOST_LINE_BYTES;
        let texts = self.fields.iter_mut().map(|(_, value)| value);
        for text in std::iter::once(&mut self.message).chain(texts) {
            text.truncate(text.floor_char_boundary(room));
            text.shrink_to_fit();
            room -= text.len();
        }
    }
}

/// Lines that are shown if nothing else is asked for, and at most.
const SHOWN: usize = 100;
const MOST_SHOWN: usize = 1_000;

/// Bytes that the lines take: some 3,000 of sessions that join and leave.
const MOST_BYTES: usize = 1024 * 1024;

/// Bytes of the texts of one line.
const MOST_LINE_BYTES: usize = 4 * 1024;

/// What a field takes besides its text.
const FIELD_BYTES: usize = size_of::<(&str, String)>();

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: usize, level: Level) -> LogLine {
        let fields = vec![("number", number.to_string())];
        let (time, message) = (Timestamp::EPOCH, "said".to_owned());
        LogLine { time, level, target: "stentor", message, fields }
    }

    #[test]
    fn the_last_lines_are_kept_within_their_bytes() {
        let tail = LogTail::new(|| 7);
        for number in 0..20_000 {
            tail.push(line(number, if number % 2 == 0 { Level::INFO } else { Level::WARN }));
        }
        let numbers = |most, level| -> Vec<String> {
            tail.last(most, level).into_iter().map(|line| line.fields[0].1.clone()).collect()
        };
        assert_eq!(numbers(3, Level::INFO), ["19997", "19998", "19999"]);
        assert_eq!(numbers(2, Level::WARN), ["19997", "19999"]);
        assert!(numbers(9, Level::ERROR).is_empty());
        let kept = tail.last(usize::MAX, Level::TRACE).len();
        assert!((2_000..20_000).contains(&kept), "{kept}");
        assert_eq!((tail.lost(), tail.missed()), (7, 0));
    }

    /// What a client made long takes no more than its share.
    #[test]
    fn long_lines_are_cut() {
        let tail = LogTail::new(|| 0);
        let fields = vec![("agent", "ä".repeat(10_000)), ("more", "x".repeat(10_000))];
        for _ in 0..1_000 {
            tail.push(LogLine { fields: fields.clone(), ..line(0, Level::INFO) });
        }
        let last = tail.last(usize::MAX, Level::INFO);
        assert!(last.iter().all(|line| line.weight() < MOST_LINE_BYTES + 512));
        assert!((200..300).contains(&last.len()), "{}", last.len());
    }

    #[test]
    fn whoever_logs_does_not_wait() {
        let tail = LogTail::new(|| 0);
        let busy = tail.lines.lock();
        tail.push(line(1, Level::INFO));
        drop(busy);
        assert_eq!((tail.missed(), tail.last(9, Level::INFO).len()), (1, 0));
    }
}
