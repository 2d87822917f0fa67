//! Whether the router's threads still turn, and whether clients should come.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::net::View;
use crate::router::{Destination, ShardId};

/// What is known of the router's threads.
#[derive(Debug)]
pub(super) struct Health {
    view: View,
    is_ready: AtomicBool,
    /// It was ready, and is not any more.
    is_ending: AtomicBool,
    watched: Mutex<Watched>,
}

#[derive(Debug)]
struct Watched {
    shards: Vec<Probe>,
    store: Progress,
    http: Progress,
    cluster: Progress,
}

/// The question to a shard whether it turns. There is one at a time: a shard that stands still
/// gets no second one.
#[derive(Clone, Copy, Debug, Default)]
struct Probe {
    number: u64,
    asked: Option<Instant>,
}

/// Whether the store gets on with what waits for it, or the threads `http` and `cluster` with their
/// beats.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    done: u64,
    /// Since when something waits and nothing was done.
    stuck_since: Option<Instant>,
}

/// What stands still, if something does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) shards: Vec<u8>,
    pub(super) store: bool,
    pub(super) http: bool,
    pub(super) cluster: bool,
}

impl Standing {
    pub(super) fn is_nothing(&self) -> bool {
        self.shards.is_empty() && !self.store && !self.http && !self.cluster
    }

    pub(super) fn to_json(&self) -> Value {
        let status = if self.is_nothing() { "ok" } else { "stuck" };
        json!({
            "status": status,
            "stuck_shards": self.shards,
            "stuck_store": self.store,
            "stuck_http": self.http,
            "stuck_cluster": self.cluster,
        })
    }
}

impl Health {
    pub(super) fn new(view: View) -> Self {
        let shards = vec![Probe::default(); view.pulses().len()];
        let (store, http, cluster) = Default::default();
        let watched = Mutex::new(Watched { shards, store, http, cluster });
        let (is_ready, is_ending) = Default::default();
        Self { view, is_ready, is_ending, watched }
    }

    pub(super) fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::Relaxed);
    }

    /// The shards end from now on, one after the other, and none of them is missed.
    pub(super) fn set_ending(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    /// Why clients should not come, if so.
    pub(super) fn unready(&self, now: Instant) -> Option<&'static str> {
        if !self.is_ready.load(Ordering::Relaxed) {
            return Some("stopping");
        }
        let now = self.view.since_start(now);
        if self.view.router().serves_until().is_some_and(|until| until <= now) {
            // Shards know, whatever was shown last.
            return Some(CUT_OFF);
        }
        let node = &self.view.cluster()?.node;
        match (node.is_member, node.is_ready) {
            _ if !node.is_serving => Some(CUT_OFF),
            (true, true) => None,
            (true, false) => Some("this node is not linked with the others yet"),
            (false, _) => Some("this node is no member of its cluster just now"),
        }
    }

    /// Looks who has answered, and asks them again. To be called every [`BEAT`].
    pub(super) fn beat(&self, now: Instant) {
        let mut watched = self.watched.lock();
        for (number, probe) in (0u8..).zip(&mut watched.shards) {
            if probe.may_ask(self.view.pulses()[usize::from(number)].answered(), now) {
                self.view.probe(ShardId(number), probe.number);
            }
        }
        let router = self.view.router();
        let done = router.storage_counters().snapshot();
        let done = done.deposits_saved + done.deposits_failed;
        let waits = self.view.queued_bytes(Destination::Store) > 0;
        watched.store.note(done, waits, now);
        let beats = self.view.http_beats();
        watched.http.note(beats.unwrap_or(0), beats.is_some(), now);
        let beats = self.view.cluster_beats();
        watched.cluster.note(beats.unwrap_or(0), beats.is_some(), now);
    }

    /// What has not turned for [`PATIENCE`]. Shards that have ended at the stop are not to blame,
    /// while the store still writes.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        let lags = self.lags(now);
        let is_ending = self.is_ending.load(Ordering::Relaxed);
        let late = (0u8..).zip(lags).filter(|(_, lag)| !is_ending && *lag > PATIENCE);
        let watched = self.watched.lock();
        let is_late = |since: Instant| now - since > PATIENCE;
        let store = watched.store.stuck_since.is_some_and(is_late);
        // They end at the stop as shards do.
        let http = !is_ending && watched.http.stuck_since.is_some_and(is_late);
        let cluster = !is_ending && watched.cluster.stuck_since.is_some_and(is_late);
        Standing { shards: late.map(|(number, _)| number).collect(), store, http, cluster }
    }

    /// For how long each shard has not answered; zero if it has.
    pub(super) fn lags(&self, now: Instant) -> Vec<Duration> {
        let watched = self.watched.lock();
        let probes = watched.shards.iter().zip(self.view.pulses());
        probes.map(|(probe, pulse)| probe.lag(pulse.answered(), now)).collect()
    }
}

impl Probe {
    /// Whether the next probe is to be sent, as the last one was answered.
    fn may_ask(&mut self, answered: u64, now: Instant) -> bool {
        if answered != self.number {
            return false;
        }
        self.number += 1;
        self.asked = Some(now);
        true
    }

    fn lag(&self, answered: u64, now: Instant) -> Duration {
        let asked = self.asked.filter(|_| answered != self.number);
        asked.map_or(Duration::ZERO, |asked| now.saturating_duration_since(asked))
    }
}

impl Progress {
    fn note(&mut self, done: u64, waits: bool, now: Instant) {
        let is_stuck = waits && done == self.done;
        self.stuck_since = if is_stuck { self.stuck_since.or(Some(now)) } else { None };
        self.done = done;
    }
}

/// Of a node that serves nobody.
const CUT_OFF: &str = "this node is cut off from the bucket of its cluster, and alone = \"stop\"";

/// How often the threads are looked at.
pub(super) const BEAT: Duration = Duration::from_secs(1);

/// A thread that has not turned for so long stands still.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn moment() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_shard_that_does_not_answer_is_asked_once() {
        let (start, mut probe) = (moment(), Probe::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(probe.lag(0, at(0)), Duration::ZERO);
        assert!(probe.may_ask(0, at(0)));
        assert!(!probe.may_ask(0, at(1)), "it has not answered");
        assert_eq!(probe.lag(0, at(12)), Duration::from_secs(12));
        assert_eq!(probe.lag(1, at(12)), Duration::ZERO);
        assert!(probe.may_ask(1, at(12)));
        assert_eq!(probe.lag(1, at(13)), Duration::from_secs(1));
    }

    #[test]
    fn a_store_is_stuck_while_something_waits_and_nothing_is_done() {
        let (start, mut store) = (moment(), Progress::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        store.note(0, false, at(0));
        assert_eq!(store.stuck_since, None, "nothing waits");
        store.note(0, true, at(1));
        store.note(0, true, at(2));
        assert_eq!(store.stuck_since, Some(at(1)));
        store.note(1, true, at(3));
        assert_eq!(store.stuck_since, None, "it gets on");
    }
}
