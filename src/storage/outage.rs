//! The time in which the store cannot be written: when it is tried again, and what it misses.
//!
//! Nothing of an event is kept here but its number. The events themselves stand in the rings and
//! tables of the router, from where the end of the outage takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::Unsaved;
use super::pending::{Change, Pending};
use crate::router::{Record, Router};

/// Waits between two tries: 100 ms, then twice as long each time, up to 10 s.
#[derive(Debug)]
pub(super) struct Backoff {
    wait: Duration,
    /// When the store could be written again, if it can.
    good_since: Option<Instant>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { wait: FIRST_WAIT / 2, good_since: None }
    }
}

impl Backoff {
    /// A try has failed: when the next one is due. Starts anew only after it went well for long,
    /// so that a disk which fails again and again is not asked more often for that.
    fn failed(&mut self, now: Instant) -> Instant {
        let good_since = self.good_since.take();
        let was_good = good_since.is_some_and(|since| now.duration_since(since) >= LONGEST_WAIT);
        self.wait = if was_good { FIRST_WAIT } else { LONGEST_WAIT.min(self.wait * 2) };
        now + self.wait
    }

    const fn succeeded(&mut self, now: Instant) {
        self.good_since = Some(now);
    }
}

#[derive(Debug)]
pub(super) struct Outage {
    since: Instant,
    next_try: Instant,
    logged: Instant,
    /// What the last try failed with.
    reason: String,
    /// Publications that came since, answered as not saved.
    publications: u64,
    missing: Missing,
}

/// The numbers of the events that the router holds and the file may not have.
///
/// Never more than the router holds: a number goes when a record says that its event went.
#[derive(Debug, Default)]
struct Missing {
    /// By history.
    events: BTreeMap<Box<str>, BTreeSet<u64>>,
    /// By realm.
    retained: BTreeMap<Arc<str>, BTreeSet<u64>>,
}

impl Outage {
    /// Begins with a batch that could not be written; of that, only numbers are kept.
    pub(super) fn begin(
        failed: Pending,
        reason: String,
        backoff: &mut Backoff,
        now: Instant,
    ) -> Self {
        let mut missing = Missing::default();
        for (key, history) in failed.histories.into_iter().filter(|(_, h)| !h.events.is_empty()) {
            missing.events.insert(key, history.events.into_keys().collect());
        }
        for ((realm, number), change) in failed.retained {
            if matches!(change, Change::Put(..)) {
                missing.retained.entry(realm).or_default().insert(number);
            }
        }
        let next_try = backoff.failed(now);
        Self { since: now, next_try, logged: now, reason, publications: 0, missing }
    }

    pub(super) const fn next_try(&self) -> Instant {
        self.next_try
    }

    /// So many more publications are not saved.
    pub(super) const fn count_publications(&mut self, count: u64) {
        self.publications += count;
    }

    pub(super) fn miss(&mut self, record: Record, router: &Router) {
        self.missing.note(record, router);
    }

    /// A try to end it has failed.
    pub(super) fn goes_on(
        &mut self,
        path: &Path,
        reason: String,
        backoff: &mut Backoff,
        router: &Router,
        now: Instant,
    ) {
        self.next_try = backoff.failed(now);
        self.reason = reason;
        if now.duration_since(self.logged) < LOG_INTERVAL {
            return;
        }
        self.logged = now;
        let unsaved = self.unsaved(path, router, now);
        tracing::error!(
            path = %path.display(),
            error = self.reason,
            unsaved_events = unsaved.events(),
            publications = self.publications,
            seconds = unsaved.outage.as_secs(),
            "the store still cannot be written"
        );
    }

    /// Everything that the router holds has been written, so many events of it just now.
    pub(super) fn end(self, path: &Path, written: usize, backoff: &mut Backoff, now: Instant) {
        backoff.succeeded(now);
        tracing::info!(
            path = %path.display(),
            written_events = written,
            publications = self.publications,
            seconds = now.duration_since(self.since).as_secs(),
            "the store can be written again, nothing is missing"
        );
    }

    /// What would be lost if the process ended now.
    pub(super) fn unsaved(&self, path: &Path, router: &Router, now: Instant) -> Unsaved {
        let histories = router.durable_histories();
        let known: BTreeMap<_, _> = histories.iter().map(|h| (&h.key, h)).collect();
        let histories = self.missing.events.iter().filter_map(|(key, numbers)| {
            let count = known.get(key)?.count_held(numbers);
            (count > 0).then(|| (key.clone(), count))
        });
        let retained = self.missing.retained.iter();
        let retained = retained.map(|(realm, numbers)| (Arc::clone(realm), numbers.len()));
        Unsaved {
            path: path.into(),
            reason: self.reason.clone(),
            histories: histories.collect(),
            retained: retained.filter(|(_, count)| *count > 0).collect(),
            publications: self.publications,
            outage: now.duration_since(self.since),
        }
    }

    /// Numbers that are kept. For tests of the bound.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let events = self.missing.events.values().map(BTreeSet::len).sum::<usize>();
        events + self.missing.retained.values().map(BTreeSet::len).sum::<usize>()
    }
}

impl Missing {
    fn note(&mut self, record: Record, router: &Router) {
        match record {
            Record::Event { history, number, keep_from, .. } => {
                let numbers = self.events.entry(history.key.clone()).or_default();
                numbers.insert(number);
                while numbers.first().is_some_and(|first| *first < keep_from) {
                    numbers.pop_first();
                }
            }
            Record::Retained { realm, number, topic, .. } => {
                // If it went already, the record that says so may have come before this one.
                if router.realm(&realm).is_some_and(|known| known.retained.holds(&topic, number)) {
                    self.retained.entry(realm).or_default().insert(number);
                }
            }
            Record::Released { realm, numbers } => {
                let Some(missing) = self.retained.get_mut(&realm) else { return };
                for number in numbers {
                    missing.remove(&number);
                }
            }
            // Only a start has these, and it fails as a whole.
            Record::Trim { .. } | Record::Forget { .. } => {}
        }
    }
}

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How often the log says that it goes on.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn tries_become_rare_and_stay_so_on_a_disk_that_fails_again_and_again() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        let mut waits = Vec::new();
        for _ in 0..9 {
            waits.push(backoff.failed(start).duration_since(start).as_millis());
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        backoff.succeeded(start);
        let soon = start + Duration::from_secs(1);
        assert_eq!(backoff.failed(soon).duration_since(soon), LONGEST_WAIT, "it flaps");
        backoff.succeeded(soon);
        let late = soon + LONGEST_WAIT;
        assert_eq!(backoff.failed(late).duration_since(late), FIRST_WAIT, "it was mended");
    }
}
