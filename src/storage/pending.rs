//! What is to be written next, with what cancels out left out.
//!
//! Records of several shards come in any order: an event may come after one that pushed it out,
//! and a retained event after the one that replaced it. What is written or failed is kept here no
//! longer; what remains is a few numbers per history and realm, and one for each retained event
//! whose release was quicker than itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::router::{Holding, Record, RetainedEvent, StoredEvent};
use crate::wamp::Timestamp;

#[derive(Debug, Default)]
pub(super) struct Pending {
    /// By history.
    pub(super) histories: BTreeMap<Box<str>, History>,
    /// By realm and number.
    pub(super) retained: BTreeMap<(Arc<str>, u64), Change>,
    /// Histories to be removed.
    pub(super) forgotten: Vec<Box<str>>,
    /// Retained events that were released before they came, and are on their way.
    early: BTreeSet<(Arc<str>, u64)>,
    /// By realm: the file has what the memory had when this was the last number.
    settled: BTreeMap<Arc<str>, u64>,
    is_dirty: bool,
}

#[derive(Debug, Default)]
pub(super) struct History {
    /// By number.
    pub(super) events: BTreeMap<u64, Arc<StoredEvent>>,
    /// What has a lower number goes. Stays, for events that come late.
    pub(super) keep_from: u64,
    pub(super) evicted: Option<Timestamp>,
    pub(super) is_dirty: bool,
    /// The file has what the memory had when this was the last number.
    settled: u64,
}

#[derive(Debug)]
pub(super) enum Change {
    Put(Arc<str>, Arc<RetainedEvent>),
    Remove,
}

impl Pending {
    pub(super) const fn is_empty(&self) -> bool {
        !self.is_dirty
    }

    pub(super) fn absorb(&mut self, record: Record) {
        match record {
            Record::Event { history, number, keep_from, evicted, event } => {
                let pending = self.history(&history.key);
                if number > pending.settled {
                    pending.is_dirty = true;
                    pending.events.insert(number, event);
                    pending.trim(keep_from, evicted);
                    self.is_dirty = true;
                }
            }
            Record::Trim { history, keep_from, evicted } => {
                let pending = self.history(&history.key);
                pending.is_dirty = true;
                pending.trim(keep_from, evicted);
                self.is_dirty = true;
            }
            Record::Forget { key } => {
                self.forgotten.push(key);
                self.is_dirty = true;
            }
            Record::Retained { realm, number, topic, event } => {
                let place = (realm, number);
                if !self.is_settled(&place) && !self.early.remove(&place) {
                    self.change(place, Change::Put(topic, event));
                }
            }
            Record::Released { realm, numbers } => {
                for number in numbers {
                    self.change((Arc::clone(&realm), number), Change::Remove);
                }
            }
        }
    }

    /// An event that comes and goes before either is written leaves nothing to write.
    fn change(&mut self, place: (Arc<str>, u64), change: Change) {
        if self.retained.remove(&place).is_none() {
            self.retained.insert(place, change);
            self.is_dirty = true;
        }
    }

    fn history(&mut self, key: &str) -> &mut History {
        if !self.histories.contains_key(key) {
            self.histories.insert(key.into(), History::default());
        }
        self.histories.get_mut(key).expect("it was just put there")
    }

    fn is_settled(&self, (realm, number): &(Arc<str>, u64)) -> bool {
        self.settled.get(realm).is_some_and(|settled| number <= settled)
    }

    /// Everything is written. `absent`: released events that were not there.
    pub(super) fn clear(&mut self, absent: Vec<(Arc<str>, u64)>) {
        for history in self.histories.values_mut() {
            history.events.clear();
            history.is_dirty = false;
        }
        self.retained.clear();
        self.forgotten.clear();
        let early = absent.into_iter().filter(|place| !self.is_settled(place));
        let early: Vec<_> = early.collect();
        self.early.extend(early);
        self.is_dirty = false;
    }

    /// The file has exactly this of a history. Records up to its last number say nothing new.
    pub(super) fn settle_history(&mut self, key: &str, holding: &Holding) {
        let history = self.history(key);
        history.settled = holding.last_number;
        history.keep_from = holding.keep_from;
        history.evicted = holding.evicted;
    }

    /// The file has exactly what a realm retained when this was the last number.
    pub(super) fn settle_retained(&mut self, realm: &Arc<str>, last_number: u64) {
        self.settled.insert(Arc::clone(realm), last_number);
    }

    /// Entries of all kinds, whose number must not depend on how much comes. For tests.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let events = self.histories.values().map(|history| history.events.len()).sum::<usize>();
        events + self.retained.len() + self.early.len() + self.forgotten.len()
    }
}

impl History {
    fn trim(&mut self, keep_from: u64, evicted: Option<Timestamp>) {
        self.keep_from = self.keep_from.max(keep_from);
        self.evicted = self.evicted.max(evicted);
        while self.events.first_key_value().is_some_and(|(number, _)| *number < self.keep_from) {
            self.events.pop_first();
        }
    }
}
