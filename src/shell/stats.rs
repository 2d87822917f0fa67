//! `stentor sub --stats`: how many events came by topic, of a bounded number of topics.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rustix::termios::tcgetwinsize;
use stentor::wamp::Timestamp;
use tokio::time::Instant;

use super::output::{Format, Printer};
use super::text::{json_string, safe};
use super::{Fault, system_time};

/// What came of one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Row {
    events: u64,
    bytes: u64,
    /// Since it was shown.
    new: u64,
}

/// Counts of all topics.
pub(crate) struct Stats {
    topics: BTreeMap<String, Row>,
    /// Topics beyond the bound.
    others: Row,
    /// How often events may be missing.
    gaps: u64,
    shown: Instant,
}

impl Stats {
    pub(crate) const fn new(now: Instant) -> Self {
        let others = Row { events: 0, bytes: 0, new: 0 };
        Self { topics: BTreeMap::new(), others, gaps: 0, shown: now }
    }

    pub(crate) fn note(&mut self, topic: &str, bytes: u64) {
        let has_room = self.topics.len() < MOST_TOPICS;
        let row = match self.topics.get_mut(topic) {
            Some(row) => row,
            None if has_room => self.topics.entry(topic.to_owned()).or_default(),
            None => &mut self.others,
        };
        row.events += 1;
        row.new += 1;
        row.bytes += bytes;
    }

    /// Events may be missing here.
    pub(crate) const fn note_gap(&mut self) {
        self.gaps += 1;
    }

    /// All of it on a terminal, in the place of what was there; else what has changed.
    pub(crate) fn show(&mut self, printer: &mut Printer, now: Instant) -> Result<(), Fault> {
        let seconds = (now - self.shown).as_secs_f64().max(0.001);
        self.shown = now;
        let is_live = printer.is_terminal() && printer.format() == Format::Words;
        if is_live {
            let rows = tcgetwinsize(std::io::stdout()).map_or(24, |size| size.ws_row);
            printer.line(&self.table(usize::from(rows).saturating_sub(3).max(1), seconds))?;
        } else {
            let time = Timestamp::from_unix_ms(system_time()).to_string();
            for line in self.lines(&time, seconds, printer.format() == Format::Json) {
                printer.line(&line)?;
            }
        }
        self.topics.values_mut().chain([&mut self.others]).for_each(|row| row.new = 0);
        Ok(())
    }

    /// The rows, the busiest first.
    fn rows(&self) -> Vec<(&str, &Row)> {
        let mut rows: Vec<_> =
            self.topics.iter().map(|(topic, row)| (topic.as_str(), row)).collect();
        rows.sort_by_key(|(topic, row)| (std::cmp::Reverse((row.new, row.events)), *topic));
        if self.others.events > 0 {
            rows.push(("(other topics)", &self.others));
        }
        rows
    }

    fn table(&self, most_rows: usize, seconds: f64) -> String {
        let rows = self.rows();
        // Home, and nothing below.
        let mut table = "\u{1b}[H\u{1b}[J    EVENTS     PER S       BYTES  TOPIC".to_owned();
        if self.gaps > 0 {
            write!(table, " (events may be missing, {} times)", self.gaps).expect("into a string");
        }
        for (topic, row) in rows.iter().take(most_rows) {
            let Row { events, bytes, new } = row;
            let (rate, topic) = (*new as f64 / seconds, safe(topic));
            write!(table, "\n{events:>10}{rate:>10.1}{bytes:>12}  {topic}").expect("into a string");
        }
        if rows.len() > most_rows {
            write!(table, "\n... and {} more", rows.len() - most_rows).expect("into a string");
        }
        table
    }

    fn lines(&self, time: &str, seconds: f64, is_json: bool) -> Vec<String> {
        let rows = self.rows().into_iter().filter(|(_, row)| row.new > 0);
        let line = |(topic, row): (&str, &Row)| {
            let Row { events, bytes, new } = row;
            let rate = *new as f64 / seconds;
            match is_json {
                true => format!(
                    "{{\"time\":\"{time}\",\"topic\":{},\"events\":{events},\
                     \"per_second\":{rate:.3},\"bytes\":{bytes}}}",
                    json_string(topic)
                ),
                false => format!(
                    "{time} {events} events, {rate:.1} per s, {bytes} bytes {}",
                    safe(topic)
                ),
            }
        };
        rows.map(line).collect()
    }
}

/// Whoever publishes chooses the topics of a pattern: more are counted together.
const MOST_TOPICS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_bounded_and_the_rest_is_counted_together() {
        let mut stats = Stats::new(super::super::now());
        for number in 0..MOST_TOPICS + 50 {
            stats.note(&format!("com.{number}"), 10);
            stats.note("com.0", 1);
        }
        assert_eq!(stats.topics.len(), MOST_TOPICS);
        assert_eq!(stats.others, Row { events: 50, bytes: 500, new: 50 });
        assert_eq!(stats.rows()[0].0, "com.0", "the busiest comes first");
        let table = stats.table(3, 2.0);
        assert_eq!(table.lines().count(), 5, "{table}");
        assert!(table.contains("1051     525.5        1060  com.0"), "{table}");
        assert!(table.ends_with("... and 998 more"), "{table}");
        assert!(!table.contains("missing"), "{table}");
        stats.note_gap();
        assert!(stats.table(3, 2.0).contains("missing, 1 times"));
    }

    #[test]
    fn lines_say_what_has_changed() {
        let mut stats = Stats::new(super::super::now());
        stats.note("com.\u{1b}", 5);
        stats.note("quiet", 5);
        stats.topics.get_mut("quiet").unwrap().new = 0;
        let lines = stats.lines("T", 1.0, true);
        let [line] = &*lines else { panic!("{lines:?}") };
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&object["topic"], &object["events"]), (&"com.\u{1b}".into(), &1.into()));
        assert!(!line.contains('\u{1b}'));
        let lines = stats.lines("T", 1.0, false);
        assert_eq!(lines, ["T 1 events, 1.0 per s, 5 bytes com.\\u{1b}"]);
    }
}
