//! What is to be written next, with what cancels out left out.
//!
//! Records of several shards come in any order: an event may come after one that pushed it out,
//! and a retained event after the one that replaced it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::router::{Record, RetainedEvent, StoredEvent};
use crate::wamp::Timestamp;

#[derive(Debug, Default)]
pub(super) struct Pending {
    /// By history.
    pub(super) histories: BTreeMap<Box<str>, History>,
    /// By realm and number.
    pub(super) retained: BTreeMap<(Arc<str>, u64), Change>,
    /// Histories to be removed.
    pub(super) forgotten: Vec<Box<str>>,
    /// Retained events that were released before they came.
    pub(super) early: BTreeSet<(Arc<str>, u64)>,
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
}

#[derive(Debug)]
pub(super) enum Change {
    Put(Arc<str>, Arc<RetainedEvent>),
    /// `came`: it was put in before, as far as this process knows.
    Remove {
        came: bool,
    },
}

impl Pending {
    pub(super) const fn is_empty(&self) -> bool {
        !self.is_dirty
    }

    pub(super) fn absorb(&mut self, record: Record) {
        self.is_dirty = true;
        match record {
            Record::Event { history, number, keep_from, evicted, event } => {
                let pending = self.history(&history.key);
                pending.events.insert(number, event);
                pending.trim(keep_from, evicted);
            }
            Record::Trim { history, keep_from, evicted } => {
                self.history(&history.key).trim(keep_from, evicted);
            }
            Record::Forget { key } => self.forgotten.push(key),
            Record::Retained { realm, number, topic, event } => {
                let key = (realm, number);
                if !self.early.remove(&key) {
                    match self.retained.remove(&key) {
                        // It came and went in between, and was never written.
                        Some(Change::Remove { came: false }) => {}
                        _ => drop(self.retained.insert(key, Change::Put(topic, event))),
                    }
                }
            }
            Record::Released { realm, numbers } => {
                for number in numbers {
                    let key = (Arc::clone(&realm), number);
                    // A failed write may have left it on disk: so it is removed all the same.
                    let came = self.retained.contains_key(&key);
                    self.retained.insert(key, Change::Remove { came });
                }
            }
        }
    }

    fn history(&mut self, key: &str) -> &mut History {
        if !self.histories.contains_key(key) {
            self.histories.insert(key.into(), History::default());
        }
        let history = self.histories.get_mut(key).expect("it was just put there");
        history.is_dirty = true;
        history
    }

    /// Everything is written. `early`: released events that were not there.
    pub(super) fn clear(&mut self, early: Vec<(Arc<str>, u64)>) {
        for history in self.histories.values_mut() {
            history.events.clear();
            history.is_dirty = false;
        }
        self.retained.clear();
        self.forgotten.clear();
        self.early.extend(early);
        self.is_dirty = false;
    }
}

impl History {
    fn trim(&mut self, keep_from: u64, evicted: Option<Timestamp>) {
        self.keep_from = self.keep_from.max(keep_from);
        self.evicted = self.evicted.max(evicted);
        self.events = self.events.split_off(&self.keep_from);
    }
}
