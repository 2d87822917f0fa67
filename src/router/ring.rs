//! A bounded list of events: what it evicts, and how a [`Scan`] goes through it.
//!
//! In a cluster an event may come by several ways, so the ring knows what it holds.

mod copy;

use std::collections::VecDeque;
use std::sync::Arc;

use super::Identity;
use super::history::{Bounds, StoredEvent};
use super::query::{Page, Places, Query, Scan, Stage};
use crate::hash::Set;
use crate::wamp::{PublicationId, Timestamp};

/// What appending an event did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The event's number: numbers of a history rise by one in the order of receipt, from 1.
    pub number: u64,
    /// No event with a lower number is kept any more.
    pub keep_from: u64,
    /// The latest time of an event that was evicted, ever.
    pub evicted: Option<Timestamp>,
    /// Events that had to go.
    pub dropped: usize,
}

/// All that a history holds at one moment.
#[derive(Debug)]
pub struct Holding {
    /// By rising number.
    pub events: Vec<(u64, Arc<StoredEvent>)>,
    /// Of the newest event that ever came; 0 before the first.
    pub last_number: u64,
    /// No event with a lower number is kept any more.
    pub keep_from: u64,
    /// The latest time of an event that was evicted, ever.
    pub evicted: Option<Timestamp>,
}

/// Invariant: numbers rise and ages fall from front to back, and `bytes` is the sum of the weights.
#[derive(Debug, Default)]
pub(super) struct Ring {
    entries: VecDeque<Entry>,
    age: Age,
    last_number: u64,
    bytes: usize,
    evicted: Option<Timestamp>,
    /// In a cluster: the publications that it holds.
    known: Option<Set<PublicationId>>,
    /// All publication ids, one laid over the other.
    digest: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    /// What [`Age`] stood at when the event came, or would have if it had come in time.
    born: i64,
    weight: usize,
    event: Arc<StoredEvent>,
}

/// What the ring itself needs for one event.
pub(super) const RING_ENTRY_BYTES: usize = size_of::<Entry>();

/// Milliseconds that have passed, by a wall clock that may be set back: it never goes back itself,
/// else an event from before would keep those behind it from ageing.
#[derive(Debug, Default)]
struct Age {
    passed_ms: i64,
    last: Option<Timestamp>,
}

impl Age {
    fn tick(&mut self, now: Timestamp) {
        let last = *self.last.get_or_insert(now);
        let step_ms = now.unix_ms().saturating_sub(last.unix_ms());
        if step_ms > 0 {
            self.passed_ms = self.passed_ms.saturating_add(step_ms);
            self.last = Some(now);
        } else if step_ms < -SKEW_MS {
            // The clock was set back. Less is another shard whose turn began earlier.
            self.last = Some(now);
        }
    }
}

impl Ring {
    /// An empty ring; of a cluster, if it is to know what it holds.
    pub(super) fn new(known: Option<Set<PublicationId>>) -> Self {
        Self { known, ..Self::default() }
    }

    /// Fills an empty ring with events and their numbers, which rise.
    pub(super) fn restore(
        &mut self,
        events: impl IntoIterator<Item = (u64, Arc<StoredEvent>)>,
        evicted: Option<Timestamp>,
    ) {
        debug_assert!(self.entries.is_empty(), "nothing has come yet");
        self.evicted = evicted;
        for (number, event) in events {
            debug_assert!(number > self.last_number, "a store keeps the order");
            self.age.tick(event.timestamp);
            self.append(number, self.age.passed_ms, event);
        }
    }

    pub(super) fn push(
        &mut self,
        event: Arc<StoredEvent>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Pushed {
        self.age.tick(now);
        self.push_born(event, self.age.passed_ms, bounds, now)
    }

    fn push_born(
        &mut self,
        event: Arc<StoredEvent>,
        born: i64,
        bounds: Bounds,
        now: Timestamp,
    ) -> Pushed {
        let number = self.last_number + 1;
        self.append(number, born, event);
        let dropped = self.expire(bounds, now, OLD_PER_PUSH);
        let (keep_from, evicted) = self.edge();
        Pushed { number, keep_from, evicted, dropped }
    }

    fn append(&mut self, number: u64, born: i64, event: Arc<StoredEvent>) {
        self.last_number = number;
        let mut weight = event.weight();
        if let Some(known) = &mut self.known {
            known.insert(event.publication);
            self.digest ^= event.publication.get();
            weight += KNOWN_BYTES;
        }
        self.bytes += weight;
        self.entries.push_back(Entry { number, born, weight, event });
    }

    /// Evicts what is too much, and of what is too old at most `most`; oldest first. Returns how
    /// many events that were.
    pub(super) fn expire(&mut self, bounds: Bounds, now: Timestamp, most: usize) -> usize {
        self.age.tick(now);
        let before = self.entries.len();
        while let Some(front) = self.entries.front() {
            let too_much = self.entries.len() > bounds.events
                || self.bytes > bounds.bytes && self.entries.len() > 1;
            let age_ms = self.age.passed_ms.saturating_sub(front.born).unsigned_abs();
            let too_old = before - self.entries.len() < most
                && bounds.age_ms.is_some_and(|most_ms| age_ms > most_ms);
            if !too_much && !too_old {
                break;
            }
            self.bytes -= front.weight;
            self.evicted = self.evicted.max(Some(front.event.timestamp));
            if let Some(known) = &mut self.known {
                known.remove(&front.event.publication);
                self.digest ^= front.event.publication.get();
            }
            self.entries.pop_front();
        }
        before - self.entries.len()
    }

    /// The first number that is kept, or would be; and the latest time among the evicted.
    pub(super) fn edge(&self) -> (u64, Option<Timestamp>) {
        let first = self.entries.front().map_or(self.last_number + 1, |entry| entry.number);
        (first, self.evicted)
    }

    /// Goes on with a scan, until it has given so many events or looked at so many.
    pub(super) fn scan(
        &self,
        scan: &mut Scan,
        requester: Identity<'_>,
        max_events: usize,
        max_units: usize,
    ) -> Page {
        let mut page = Page { events: Vec::new(), units: 0 };
        let (first, _) = self.edge();
        if scan.stage == Stage::Begin {
            let end = self.last_number + 1;
            scan.stage = Stage::Seek { below: end, end, places: Places::default() };
        }
        if let Stage::Seek { below, end, places } = scan.stage {
            (scan.stage, page.units) = self.seek(&scan.query, (below, end), places, max_units);
            let bounded = scan.query.from_publication.or(scan.query.after_publication).is_some();
            // What follows a kept event is kept; an unknown one lets nothing through.
            scan.complete =
                if bounded { scan.stage != Stage::Done } else { self.reaches_back_to(&scan.query) };
        }
        if let Stage::Walk { from, end } = scan.stage {
            if from < first.min(end) && from > 0 {
                // They were evicted since the last piece.
                scan.complete &= self.reaches_back_to(&scan.query);
            }
            let rest = max_units.saturating_sub(page.units);
            let range = (from.max(first), end);
            scan.stage = self.walk(scan, range, requester, (max_events, rest), &mut page);
        }
        page.units = page.units.max(1);
        page
    }

    /// Looks for the publications that bound a query. Sought from the newest on: who asks was
    /// usually there not long ago.
    fn seek(
        &self,
        query: &Query,
        (mut below, end): (u64, u64),
        mut places: Places,
        max_units: usize,
    ) -> (Stage, usize) {
        let mut units = 0;
        let unseen = self.entries.partition_point(|entry| entry.number < below);
        let mut unseen = self.entries.range(..unseen).rev();
        while !places.are_known(query) {
            if units == max_units {
                return (Stage::Seek { below, end, places }, units);
            }
            let Some(entry) = unseen.next() else { break };
            units += 1;
            below = entry.number;
            places.note(query, entry.event.publication, entry.number);
        }
        let is_lost =
            |named: Option<PublicationId>, place: Option<u64>| named.is_some() && place.is_none();
        if is_lost(query.from_publication, places.from)
            || is_lost(query.after_publication, places.after)
        {
            return (Stage::Done, units);
        }
        let after = places.after.map(|number| number + 1);
        let from = places.from.max(after).unwrap_or_default();
        let until = places.until.map(|number| number + 1);
        let end = [places.before, until].into_iter().flatten().fold(end, u64::min);
        (Stage::Walk { from, end }, units)
    }

    /// Looks at events in a range of numbers, in the direction of travel.
    fn walk(
        &self,
        scan: &Scan,
        (mut from, mut end): (u64, u64),
        requester: Identity<'_>,
        (max_events, max_units): (usize, usize),
        page: &mut Page,
    ) -> Stage {
        let place = |number| self.entries.partition_point(|entry| entry.number < number);
        let mut entries = self.entries.range(place(from).min(place(end))..place(end));
        for _ in 0..max_units {
            if page.events.len() >= max_events {
                break;
            }
            let next = if scan.query.reverse { entries.next_back() } else { entries.next() };
            let Some(Entry { number, event, .. }) = next else { return Stage::Done };
            page.units += 1;
            if scan.query.reverse {
                end = *number;
            } else {
                from = *number + 1;
            }
            if scan.query.admits(event) && event.admits(requester) {
                page.events.push(Arc::clone(event));
            }
        }
        Stage::Walk { from, end }
    }

    /// Whether no evicted event can have matched the lower bounds in time.
    fn reaches_back_to(&self, query: &Query) -> bool {
        self.evicted.is_none_or(|evicted| {
            query.from_time.is_some_and(|from| evicted < from)
                || query.after_time.is_some_and(|after| evicted <= after)
        })
    }

    pub(super) fn holding(&self) -> Holding {
        let events = self.entries.iter().map(|entry| (entry.number, Arc::clone(&entry.event)));
        let (keep_from, evicted) = self.edge();
        Holding { events: events.collect(), last_number: self.last_number, keep_from, evicted }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn check_invariants(&self, bounds: Bounds) {
        assert!(self.entries.len() <= bounds.events);
        assert!(self.bytes <= bounds.bytes || self.entries.len() == 1);
        assert_eq!(self.bytes, self.entries.iter().map(|entry| entry.weight).sum::<usize>());
        assert!(self.entries.iter().is_sorted_by(|a, b| a.number < b.number && a.born <= b.born));
        assert!(self.entries.back().is_none_or(|entry| entry.number == self.last_number));
        let ids = || self.entries.iter().map(|entry| entry.event.publication);
        if let Some(known) = &self.known {
            assert!(known.len() == self.entries.len() && ids().all(|id| known.contains(&id)));
            assert_eq!(self.digest, ids().fold(0, |digest, id| digest ^ id.get()));
        }
    }
}

/// What it takes to know that an event is held, of a set that may be half empty.
const KNOWN_BYTES: usize = 2 * (size_of::<PublicationId>() + 1);

/// Milliseconds by which the clocks of two shards may differ within their turns.
const SKEW_MS: i64 = 10_000;

/// Events that one push evicts at most because they are too old. More than it adds, so that a
/// history is rid of them, and few, so that no publisher pays for all.
const OLD_PER_PUSH: usize = 64;

#[cfg(test)]
mod tests;
