//! What a shard, or the store, measures: distributions, and counts by names that the program has.
//!
//! One writer each; any thread may read. What comes with every message is a plain counter; what is
//! rare stands behind a lock that a scrape holds for a copy of some names.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::clients::{ClientCounts, ClientNames};
use super::counters::Counter;
use super::groups::{GroupCounts, UriGroups};
use crate::clock::Millis;
use crate::wamp::{ClientMessage, MessageType, RouterMessage};

/// The measures of one thread, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Measures {
    /// Receivers of a publication at one shard that has some.
    pub fanout: Histogram,
    /// Milliseconds from a CALL to what ended it, by the clock of turns.
    pub calls_ms: Histogram,
    /// Milliseconds from a question to an authenticator that is a procedure to its end, with what
    /// it has waited before it was asked.
    pub authenticators_ms: Histogram,
    /// The same for authorizers, endpoints included.
    pub authorizers_ms: Histogram,
    /// Microseconds that the store took to write one batch.
    pub commits_us: Histogram,
    /// Messages of clients that were understood, by type.
    received: [Counter; MessageType::ALL.len()],
    /// Messages that were encoded for one client; EVENTs are counted where they are delivered.
    sent: [Counter; MessageType::ALL.len()],
    /// Bytes that a connection's socket has refused, of those for which some wait now.
    pub refused: Levels,
    /// Since when the oldest of these bytes waits.
    pub oldest: Moment,
    /// Clients that got no session: by stage and reason.
    pub handshake_failures: Tally,
    /// Logins by method and outcome.
    pub authentications: Tally,
    /// Sessions by the names of their clients.
    pub clients: ClientCounts,
    /// What has come by groups of URIs.
    pub groups: GroupCounts,
    pub corks: CorkCounts,
    pub polls: PollCounts,
}

/// Connections whose output waits until other nodes have confirmed something, and how such waits
/// have ended.
#[derive(Debug, Default)]
pub struct CorkCounts {
    pub now: Counter,
    pub confirmed: Counter,
    /// Nobody has confirmed in time.
    pub expired: Counter,
    /// Too much has waited.
    pub full: Counter,
}

/// Questions that other nodes were asked, too.
#[derive(Debug, Default)]
pub struct PollCounts {
    pub answered: Counter,
    /// Those of them for which the answer of some node is missing.
    pub partial: Counter,
    /// Answers of nodes that came when their question was over.
    pub late: Counter,
}

impl Measures {
    pub(super) fn new(clients: &ClientNames, groups: &UriGroups) -> Self {
        let (clients, groups) = (ClientCounts::of(clients), GroupCounts::of(groups));
        Self { clients, groups, ..Self::default() }
    }

    #[inline]
    pub(crate) fn note_received(&self, message: &ClientMessage<'_>) {
        self.received[message.kind() as usize].increment();
    }

    #[inline]
    pub(crate) fn note_sent(&self, message: &RouterMessage<'_>) {
        self.sent[message.kind() as usize].increment();
    }

    pub fn received(&self) -> [u64; MessageType::ALL.len()] {
        self.received.each_ref().map(Counter::get)
    }

    pub fn sent(&self) -> [u64; MessageType::ALL.len()] {
        self.sent.each_ref().map(Counter::get)
    }
}

/// How values are distributed: how many lie between a power of two and the next.
#[derive(Debug, Default)]
pub struct Histogram {
    /// The first has what is at most 1, each of the others what is at most twice as much, the last
    /// what is more than the one before.
    counts: [Counter; CLASSES],
    sum: Counter,
}

impl Histogram {
    #[inline]
    pub(crate) fn note(&self, value: u64) {
        self.counts[class_of(value)].increment();
        self.sum.add(value);
    }

    pub fn read(&self) -> Distribution {
        Distribution { counts: self.counts.each_ref().map(Counter::get), sum: self.sum.get() }
    }
}

/// How values that change are distributed at this moment; those that are 0 do not count.
#[derive(Debug, Default)]
pub struct Levels([Counter; CLASSES]);

impl Levels {
    /// One of the values has changed.
    pub(crate) fn change(&self, before: u64, now: u64) {
        let (from, to) = (class_of(before), class_of(now));
        if before > 0 {
            self.0[from].subtract(1);
        }
        if now > 0 {
            self.0[to].increment();
        }
    }

    /// By the classes of a [`Histogram`].
    pub fn read(&self) -> [u64; CLASSES] {
        self.0.each_ref().map(Counter::get)
    }
}

/// A point in time, or none.
#[derive(Debug, Default)]
pub struct Moment(Counter);

impl Moment {
    pub(crate) fn set(&self, moment: Option<Millis>) {
        self.0.set(moment.map_or(0, |at| at.0.saturating_add(1)));
    }

    pub fn get(&self) -> Option<Millis> {
        self.0.get().checked_sub(1).map(Millis)
    }
}

#[inline]
fn class_of(value: u64) -> usize {
    let class = u64::BITS - value.saturating_sub(1).leading_zeros();
    (class as usize).min(CLASSES - 1)
}

/// Up to 2 to the power of 30, and more.
pub const CLASSES: usize = 32;

/// What histograms said at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    pub counts: [u64; CLASSES],
    pub sum: u64,
}

impl Distribution {
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl std::iter::Sum for Distribution {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, next| {
            sum.counts.iter_mut().zip(next.counts).for_each(|(sum, count)| *sum += count);
            sum.sum += next.sum;
            sum
        })
    }
}

/// Counts by two names of the program's own, so that there are few: of what is rare.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<Names, u64>>);

/// As in `http` and `not_found`.
pub type Names = [&'static str; 2];

impl Tally {
    pub(crate) fn note(&self, names: Names) {
        *self.0.lock().entry(names).or_default() += 1;
    }

    pub fn read(&self) -> BTreeMap<Names, u64> {
        self.0.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_end_at_powers_of_two() {
        let histogram = Histogram::default();
        for value in [0, 1, 2, 3, 4, 5, 1 << 30, (1 << 30) + 1, u64::MAX / 4] {
            histogram.note(value);
        }
        let read = histogram.read();
        assert_eq!(read.counts[..5], [2, 1, 2, 1, 0]);
        assert_eq!((read.counts[30], read.counts[31], read.count()), (1, 2, 9));
        let both: Distribution = [read, read].into_iter().sum();
        assert_eq!((both.count(), both.counts[0]), (18, 4));
    }

    #[test]
    fn levels_follow_what_changes() {
        let levels = Levels::default();
        for (before, now) in [(0, 5), (0, 8), (0, 1 << 40), (5, 3), (8, 0)] {
            levels.change(before, now);
        }
        let read = levels.read();
        assert_eq!((read[2], read[CLASSES - 1], read.iter().sum::<u64>()), (1, 1, 2));
    }

    #[test]
    fn a_moment_may_be_the_first() {
        let moment = Moment::default();
        for at in [None, Some(Millis(0)), Some(Millis(5)), None] {
            moment.set(at);
            assert_eq!(moment.get(), at);
        }
    }

    #[test]
    fn a_tally_counts_by_name() {
        let tally = Tally::default();
        tally.note(["http", "not_found"]);
        tally.note(["tls", "tls_handshake"]);
        tally.note(["http", "not_found"]);
        assert_eq!(tally.read().into_values().collect::<Vec<_>>(), [2, 1]);
    }
}
