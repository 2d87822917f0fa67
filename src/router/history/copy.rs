//! What nodes of a cluster need of a history: events of others, once, and what is held here.

use std::sync::Arc;

use super::super::{Holds, Pushed, Record};
use super::{History, StoredEvent};
use crate::wamp::{PublicationId, Timestamp};

impl History {
    /// Appends an event of another node that has come as it was published; `None` if it is here.
    pub fn push_foreign(&self, event: Arc<StoredEvent>, now: Timestamp) -> Option<Pushed> {
        self.ring.lock().push_foreign(event, self.bounds, now)
    }

    /// Appends an event that another node had, as old as it is; `None` if it is not lacking.
    pub fn push_copy(&self, event: Arc<StoredEvent>, now: Timestamp) -> Option<Pushed> {
        self.ring.lock().push_copy(event, self.bounds, now)
    }

    /// Of events of another node, those that are not here and would not be the first to go.
    pub fn lacking(&self, events: &[(PublicationId, Timestamp)]) -> Vec<bool> {
        let ring = self.ring.lock();
        events.iter().map(|(id, at)| ring.lacks(*id, *at, self.bounds)).collect()
    }

    /// Another node has evicted events up to this time; says what a store has to know of it.
    pub fn note_evicted(self: &Arc<Self>, evicted: Timestamp) -> Option<Record> {
        let mut ring = self.ring.lock();
        let is_news = ring.note_evicted(evicted);
        let (keep_from, evicted) = ring.edge();
        drop(ring);
        let history = Arc::clone(self);
        (is_news && self.is_durable).then_some(Record::Trim { history, keep_from, evicted })
    }

    /// What it holds, and the latest time of an event that was evicted.
    pub fn holds_in_short(&self) -> (Holds, Option<Timestamp>) {
        let ring = self.ring.lock();
        (ring.holds_in_short(), ring.edge().1)
    }

    /// Events from a number on, up to another one, at most so many: number, publication and time.
    pub fn list_from(
        &self,
        number: u64,
        until: u64,
        most: usize,
    ) -> Vec<(u64, PublicationId, Timestamp)> {
        self.ring.lock().list_from(number, until, most)
    }

    /// The number of the last event that came; 0 before the first.
    pub fn last_number(&self) -> u64 {
        self.ring.lock().last_number()
    }

    /// The event with this number, if it is held.
    pub fn event(&self, number: u64) -> Option<Arc<StoredEvent>> {
        self.ring.lock().get(number).map(Arc::clone)
    }
}
