//! The meta events that wait at a realm's home shard: for an earlier one, which another shard has
//! numbered and not sent yet, or for a later step.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use super::super::MetaEvent;
use super::super::unheard::Wait;
use crate::hash::{HashSeed, Map};
use crate::router::Realm;

/// The meta events of the realms whose home a shard is.
///
/// Invariant: a realm stands in `interrupted` once while its order says so.
#[derive(Debug)]
pub(in crate::shard) struct EventOrders {
    /// By the realm's number.
    orders: Map<usize, EventOrder>,
    /// Numbers of realms that have more to publish in a later step.
    interrupted: VecDeque<usize>,
    /// What the mail counts for, in bytes, that brought events which wait no more.
    done_bytes: usize,
}

/// The meta events of one realm.
#[derive(Debug, Default)]
struct EventOrder {
    realm: Weak<Realm>,
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    is_interrupted: bool,
}

#[derive(Debug)]
struct Waiting {
    event: MetaEvent,
    /// What the mail that it came with counts for, in bytes.
    weight: usize,
    wait: Wait,
}

impl EventOrders {
    pub(in crate::shard) fn new(seed: HashSeed) -> Self {
        Self { orders: seed.map(), interrupted: VecDeque::new(), done_bytes: 0 }
    }

    /// Forgets realms that are gone: nobody can number an event of theirs any more.
    pub(in crate::shard) fn forget_gone(&mut self) {
        self.orders.retain(|_, order| order.realm.strong_count() > 0);
    }

    /// Takes in an event, which may come before its turn, from mail of this weight.
    pub(super) fn insert(&mut self, event: MetaEvent, weight: usize, wait: Wait) {
        let order = self.orders.entry(event.realm.number()).or_insert_with(|| EventOrder {
            realm: Arc::downgrade(&event.realm),
            ..EventOrder::default()
        });
        debug_assert!(event.number >= order.next, "a number is given once");
        order.waiting.insert(event.number, Waiting { event, weight, wait });
    }

    /// The event of a realm whose turn it is, if it is here.
    pub(super) fn pop(&mut self, realm: usize) -> Option<(MetaEvent, Wait)> {
        let order = self.orders.get_mut(&realm)?;
        let Waiting { event, weight, wait } = order.waiting.remove(&order.next)?;
        order.next += 1;
        self.done_bytes += weight;
        Some((event, wait))
    }

    /// Lets a realm go on in a later step, if it has an event whose turn it is.
    pub(super) fn interrupt(&mut self, realm: usize) {
        let Some(order) = self.orders.get_mut(&realm) else { return };
        if order.waiting.contains_key(&order.next) && !order.is_interrupted {
            order.is_interrupted = true;
            self.interrupted.push_back(realm);
        }
    }

    /// The next realm that was interrupted.
    pub(super) fn resume(&mut self) -> Option<usize> {
        let realm = self.interrupted.pop_front()?;
        let order = self.orders.get_mut(&realm).expect("who was interrupted has an order");
        order.is_interrupted = false;
        Some(realm)
    }

    /// Realms that go on in a later step.
    pub(in crate::shard) fn interrupted(&self) -> usize {
        self.interrupted.len()
    }

    /// Whether something goes on, or is to be released, without anything arriving.
    pub(in crate::shard) fn has_jobs(&self) -> bool {
        !self.interrupted.is_empty() || self.done_bytes > 0
    }

    /// The weight of mail that is done with since this was last asked.
    pub(in crate::shard) const fn take_done_bytes(&mut self) -> usize {
        std::mem::replace(&mut self.done_bytes, 0)
    }

    /// How many events of a realm have been published; `None` while some wait.
    pub(in crate::shard) fn published(&self, realm: usize) -> Option<u64> {
        let Some(order) = self.orders.get(&realm) else { return Some(0) };
        order.waiting.is_empty().then_some(order.next)
    }
}
