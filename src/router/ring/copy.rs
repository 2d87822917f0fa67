//! What nodes of a cluster need of a ring: events of others, once, and what is held here.

use std::sync::Arc;

use super::super::Holds;
use super::super::history::{Bounds, StoredEvent};
use super::{Pushed, Ring};
use crate::wamp::{PublicationId, Timestamp};

impl Ring {
    /// Appends an event of another node that has come as it was published; `None` if it is here.
    pub(in super::super) fn push_foreign(
        &mut self,
        event: Arc<StoredEvent>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Option<Pushed> {
        (!self.holds(event.publication)).then(|| self.push(event, bounds, now))
    }

    /// Appends an event that another node had, as old as it is; `None` if it is not lacking.
    pub(in super::super) fn push_copy(
        &mut self,
        event: Arc<StoredEvent>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Option<Pushed> {
        if !self.lacks(event.publication, event.timestamp, bounds) {
            return None;
        }
        self.age.tick(now);
        let old_ms = now.unix_ms().saturating_sub(event.timestamp.unix_ms()).max(0);
        let born = self.age.passed_ms.saturating_sub(old_ms);
        // None goes sooner than those before it.
        let born = self.entries.back().map_or(born, |last| last.born.max(born));
        Some(self.push_born(event, born, bounds, now))
    }

    /// Whether an event of another node is not here, and is none that would have gone by now, or
    /// would be the first to go.
    pub(in super::super) fn lacks(
        &self,
        publication: PublicationId,
        at: Timestamp,
        bounds: Bounds,
    ) -> bool {
        let is_full = self.entries.len() >= bounds.events;
        let is_oldest = self.entries.front().is_some_and(|first| at <= first.event.timestamp);
        self.evicted < Some(at) && !(is_full && is_oldest) && !self.holds(publication)
    }

    fn holds(&self, publication: PublicationId) -> bool {
        self.known.as_ref().is_some_and(|known| known.contains(&publication))
    }

    /// Another node has evicted events up to this time, which this one may never have had: what it
    /// has does not reach back further. `false` if that was known.
    pub(in super::super) fn note_evicted(&mut self, evicted: Timestamp) -> bool {
        let is_news = self.evicted < Some(evicted);
        self.evicted = self.evicted.max(Some(evicted));
        is_news
    }

    pub(in super::super) fn holds_in_short(&self) -> Holds {
        Holds { count: self.entries.len() as u64, digest: self.digest }
    }

    /// Events from a number on, up to another one, at most so many: number, publication and time.
    pub(in super::super) fn list_from(
        &self,
        number: u64,
        until: u64,
        most: usize,
    ) -> Vec<(u64, PublicationId, Timestamp)> {
        let from = self.entries.partition_point(|entry| entry.number < number);
        let entries = self.entries.range(from..).take(most);
        let entries = entries.take_while(|entry| entry.number <= until);
        let listed =
            |entry: &super::Entry| (entry.number, entry.event.publication, entry.event.timestamp);
        entries.map(listed).collect()
    }

    pub(in super::super) const fn last_number(&self) -> u64 {
        self.last_number
    }

    pub(in super::super) fn get(&self, number: u64) -> Option<&Arc<StoredEvent>> {
        let place = self.entries.binary_search_by_key(&number, |entry| entry.number);
        place.ok().map(|place| &self.entries[place].event)
    }
}
