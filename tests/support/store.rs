//! A store without a disk: keeps what it is told to, knows at the end whether that is what the
//! router has in memory, and gives it back to the next router.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use stentor::router::{
    Deposit, History, Receipt, Record, RetainedEvent, Router, Saved, SavedHistory, SavedRetained,
    StoredEvent,
};
use stentor::wamp::Timestamp;

#[derive(Debug, Default)]
pub(crate) struct Store {
    /// What has not been looked at yet.
    pub(crate) queue: VecDeque<Deposit>,
    /// The queue is only served when told to.
    pub(crate) is_held: bool,
    /// By key.
    histories: BTreeMap<String, Kept>,
    /// By realm and number: topic and event.
    retained: BTreeMap<(String, u64), (Box<str>, Arc<RetainedEvent>)>,
    /// Released before they came.
    released: BTreeSet<(String, u64)>,
}

/// What is kept of one history.
#[derive(Debug, Default)]
struct Kept {
    /// By number.
    events: BTreeMap<u64, Arc<StoredEvent>>,
    keep_from: u64,
    evicted: Option<Timestamp>,
}

impl Kept {
    fn trim(&mut self, keep_from: u64, evicted: Option<Timestamp>) {
        self.keep_from = self.keep_from.max(keep_from);
        self.evicted = self.evicted.max(evicted);
        self.events = self.events.split_off(&self.keep_from);
    }
}

impl Store {
    /// Takes up to `count` deposits. Gives the receipts of those that asked for one.
    pub(crate) fn serve(&mut self, count: usize) -> Vec<Receipt> {
        let count = count.min(self.queue.len());
        let deposits: Vec<Deposit> = self.queue.drain(..count).collect();
        deposits
            .into_iter()
            .filter_map(|deposit| {
                deposit.records.into_iter().for_each(|record| self.keep(record));
                deposit.receipt
            })
            .collect()
    }

    fn keep(&mut self, record: Record) {
        match record {
            Record::Event { history, number, keep_from, evicted, event } => {
                let kept = self.histories.entry(history.key.to_string()).or_default();
                let previous = kept.events.insert(number, event);
                assert!(previous.is_none(), "a number is given once");
                kept.trim(keep_from, evicted);
            }
            Record::Trim { history, keep_from, evicted } => {
                let kept = self.histories.entry(history.key.to_string()).or_default();
                kept.trim(keep_from, evicted);
            }
            Record::Retained { realm, number, topic, event } => {
                let key = (realm.to_string(), number);
                if !self.released.remove(&key) {
                    let previous = self.retained.insert(key, ((*topic).into(), event));
                    assert!(previous.is_none(), "a number is given once");
                }
            }
            Record::Released { realm, numbers } => {
                for number in numbers {
                    let key = (realm.to_string(), number);
                    if self.retained.remove(&key).is_none() {
                        assert!(self.released.insert(key), "an event is released once");
                    }
                }
            }
            Record::Forget { .. } => panic!("nothing is configured anew"),
        }
    }

    /// The process has ended, however: what waited is lost. A router that begins with what is
    /// kept says what it does not want of it, and has the rest.
    pub(crate) fn restart(&mut self, router: &Router, now: Timestamp) {
        self.queue.clear();
        self.released.clear();
        // Where events end is only known while the process lives.
        self.histories.values_mut().for_each(|kept| kept.keep_from = 0);
        let surplus = router.restore(self.saved(), now);
        surplus.into_iter().for_each(|record| self.keep(record));
        assert!(self.released.is_empty(), "only what is kept can be unwanted");
        self.check(router);
        for history in router.durable_histories() {
            let held: Vec<u64> = history.events().iter().map(|(number, _)| *number).collect();
            let kept = self.histories.get(&*history.key);
            let kept = kept.map_or_else(Vec::new, |kept| kept.events.keys().copied().collect());
            assert_eq!(held, kept, "the events of {} are back", history.key);
        }
    }

    fn saved(&self) -> Saved {
        let histories = self.histories.iter().map(|(key, kept)| SavedHistory {
            key: key.as_str().into(),
            evicted: kept.evicted,
            events: kept.events.iter().map(|(number, e)| (*number, Arc::clone(e))).collect(),
            is_trimmed: false,
        });
        let retained = self.retained.iter().map(|((realm, number), (topic, event))| {
            let event = RetainedEvent {
                publication: event.publication,
                stamp: event.stamp,
                audience: event.audience.clone(),
                publisher: event.publisher.clone(),
                details: event.details.clone(),
                payload: event.payload.clone(),
            };
            SavedRetained {
                realm: realm.as_str().into(),
                number: *number,
                topic: topic.clone(),
                event,
            }
        });
        Saved { histories: histories.collect(), retained: retained.collect(), surplus: Vec::new() }
    }

    /// Everything has come: the store holds what the memory holds.
    pub(crate) fn check(&self, router: &Router) {
        assert!(self.queue.is_empty(), "everything is stored");
        for realm in router.realms() {
            realm.histories.iter().for_each(|history| self.check_history(history));
            let durable = router.edition().settings.durable_retained;
            let of_realm = self.retained.keys().filter(|(name, _)| **name == **realm.name());
            assert_eq!(of_realm.count(), if durable { realm.retained.len() } else { 0 });
        }
        assert!(self.released.is_empty(), "what was released had come");
    }

    /// Age may have taken more from the memory since.
    fn check_history(&self, history: &History) {
        let kept = self.histories.get(&*history.key);
        if !history.is_durable {
            assert!(kept.is_none_or(|kept| kept.events.is_empty()), "it is for memory alone");
            return;
        }
        for (number, event) in history.events() {
            let stored = kept.and_then(|kept| kept.events.get(&number));
            let is_same = stored.is_some_and(|stored| stored.publication == event.publication);
            assert!(is_same, "{number} of {} is not stored", history.key);
        }
    }
}
