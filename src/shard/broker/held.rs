//! The publications that wait to be delivered further, each behind earlier ones of its publisher.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::Event;
use super::super::unheard::Wait;
use super::delivery::Place;
use super::receivers::DeliveryId;
use crate::hash::{HashSeed, Map};
use crate::router::{Held, Router};
use crate::wamp::SessionId;

/// A publication that waits to be delivered further.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) event: Arc<Event>,
    pub(super) place: Place,
    /// What the mail that it came with counts for, in bytes.
    pub(super) weight: usize,
    /// Counts what was transcoded.
    pub(super) transcoded: Held,
    /// Of a meta event.
    pub(super) wait: Option<Wait>,
}

/// Who has published; the router itself is `None`.
type Publisher = Option<SessionId>;

/// The deliveries that wait, by publisher.
///
/// Invariant: who has deliveries stands in the ring once, unless it has its turn.
#[derive(Debug)]
pub(in crate::shard) struct HeldDeliveries {
    /// Each with a number that rises from one delivery to the next.
    queues: Map<Publisher, VecDeque<(u64, Delivery)>>,
    /// Publishers with deliveries, in the order of their turns.
    ring: VecDeque<Publisher>,
    last_number: u64,
    last_id: DeliveryId,
}

/// A delivery that goes on.
#[derive(Debug)]
pub(super) struct Resumed {
    publisher: Publisher,
    number: u64,
    pub(super) delivery: Delivery,
}

impl HeldDeliveries {
    pub(in crate::shard) fn new(seed: &HashSeed) -> Self {
        Self { queues: seed.map(), ring: VecDeque::new(), last_number: 0, last_id: 0 }
    }

    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Publishers with deliveries.
    pub(in crate::shard) fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether a publication must queue behind earlier ones. What the router itself says comes
    /// behind whatever was published before.
    pub(super) fn is_behind(&self, publisher: Publisher) -> bool {
        match publisher {
            None => !self.ring.is_empty(),
            Some(_) => !self.ring.is_empty() && self.queues.contains_key(&publisher),
        }
    }

    /// A name for a delivery that is interrupted.
    pub(super) const fn next_id(&mut self) -> DeliveryId {
        self.last_id += 1;
        self.last_id
    }

    /// Takes in a delivery. `true` if it is the only one of its publisher.
    pub(super) fn hold(&mut self, delivery: Delivery) -> bool {
        self.last_number += 1;
        let publisher = delivery.event.head.publisher.map(|publisher| publisher.session);
        let queue = self.queues.entry(publisher).or_default();
        queue.push_back((self.last_number, delivery));
        let is_only = queue.len() == 1;
        if is_only {
            self.ring.push_back(publisher);
        }
        is_only
    }

    /// The delivery whose turn it is; `None` if there is none, or if the router itself has to wait
    /// for older ones. It ends with [`Self::interrupt`] or [`Self::finish`].
    pub(super) fn next(&mut self) -> Option<Resumed> {
        let publisher = self.ring.pop_front()?;
        let queue = self.queues.get_mut(&publisher)?;
        let (number, delivery) = queue.pop_front()?;
        let resumed = Resumed { publisher, number, delivery };
        if publisher.is_none() && self.has_older(number) {
            self.put_back(resumed);
            return None;
        }
        Some(resumed)
    }

    /// A delivery goes on in a later turn.
    pub(super) fn interrupt(&mut self, mut resumed: Resumed) {
        let Delivery { place, transcoded, .. } = &mut resumed.delivery;
        transcoded.resize(place.transcoded.heap_bytes());
        self.put_back(resumed);
    }

    /// A delivery is done. Gives it back, and whether its publisher has no other.
    pub(super) fn finish(&mut self, resumed: Resumed) -> (Delivery, bool) {
        let Resumed { publisher, delivery, .. } = resumed;
        let is_last = self.queues.get(&publisher).is_none_or(VecDeque::is_empty);
        if is_last {
            self.queues.remove(&publisher);
        } else {
            self.ring.push_back(publisher);
        }
        (delivery, is_last)
    }

    fn put_back(&mut self, resumed: Resumed) {
        let Resumed { publisher, number, delivery } = resumed;
        self.queues.entry(publisher).or_default().push_front((number, delivery));
        self.ring.push_back(publisher);
    }

    /// Whether a delivery waits that is older than this one.
    fn has_older(&self, number: u64) -> bool {
        self.queues.values().filter_map(VecDeque::front).any(|(first, _)| *first < number)
    }

    /// What is held is counted.
    pub(in crate::shard) fn check(&self, router: &Router) {
        let mut seen = Map::with_hasher(self.queues.hasher().clone());
        let mut transcoded = 0;
        for (_, delivery) in self.queues.values().flatten() {
            seen.insert(Arc::as_ptr(&delivery.event) as usize, delivery.event.held_bytes());
            assert_eq!(delivery.transcoded.bytes(), delivery.place.transcoded.heap_bytes());
            transcoded += delivery.transcoded.bytes();
        }
        let found = seen.values().sum::<usize>() + transcoded;
        assert!(router.held_bytes() >= found, "what is held is counted");
        assert_eq!(self.ring.len(), self.queues.len());
    }
}
