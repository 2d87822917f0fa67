//! A store without a disk: keeps what it is told to, and knows at the end whether that is what
//! the router has in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use stentor::router::{Deposit, Receipt, Record, Router};

#[derive(Debug, Default)]
pub(crate) struct Store {
    /// What has not been looked at yet.
    pub(crate) queue: VecDeque<Deposit>,
    /// The queue is only served when told to.
    pub(crate) is_held: bool,
    /// By history and number: the publication.
    events: BTreeMap<(String, u64), u64>,
    keep_from: BTreeMap<String, u64>,
    retained: BTreeSet<(String, u64)>,
    /// Released before they came.
    released: BTreeSet<(String, u64)>,
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
            Record::Event { history, number, keep_from, event, .. } => {
                let key = history.key.to_string();
                let previous = self.events.insert((key.clone(), number), event.publication.get());
                assert_eq!(previous, None, "a number is given once");
                let first = self.keep_from.entry(key).or_default();
                *first = (*first).max(keep_from);
            }
            Record::Retained { realm, number, .. } => {
                let key = (realm.to_string(), number);
                if !self.released.remove(&key) {
                    assert!(self.retained.insert(key), "a number is given once");
                }
            }
            Record::Released { realm, numbers } => {
                for number in numbers {
                    let key = (realm.to_string(), number);
                    if !self.retained.remove(&key) {
                        assert!(self.released.insert(key), "an event is released once");
                    }
                }
            }
            Record::Trim { .. } | Record::Forget { .. } => panic!("only a restart has these"),
        }
    }

    /// Everything has come: the store holds what the memory holds.
    pub(crate) fn check(&self, router: &Router) {
        assert!(self.queue.is_empty(), "everything is stored");
        for realm in router.realms() {
            for history in realm.histories.iter() {
                let held = history.events();
                let publications = held.iter().map(|(number, event)| {
                    ((history.key.to_string(), *number), event.publication.get())
                });
                let memory: BTreeMap<_, _> = publications.collect();
                let first = self.keep_from.get(&*history.key).copied().unwrap_or_default();
                let of_history = |((key, number), _): &(&(String, u64), &u64)| {
                    **key == *history.key && *number >= first
                };
                let stored = self.events.iter().filter(of_history);
                let stored: BTreeMap<_, _> = stored.map(|(key, id)| (key.clone(), *id)).collect();
                // Age may have taken more from the memory since.
                assert!(
                    memory
                        .iter()
                        .all(|(key, id)| !history.is_durable || stored.get(key) == Some(id))
                );
                assert!(history.is_durable || stored.is_empty());
            }
            let durable = router.settings.durable_retained;
            let of_realm = self.retained.iter().filter(|(name, _)| **name == **realm.name());
            assert_eq!(of_realm.count(), if durable { realm.retained.len() } else { 0 });
        }
        assert!(self.released.is_empty(), "what was released had come");
    }
}
