//! The local receivers of one subscription, and how far interrupted deliveries got among them.
//!
//! Owns the list and its order. Who is in it knows its own place; whoever is moved is reported, so
//! that joining and leaving cost the same for any number of receivers.

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::hash::Map;
use crate::router::{Horizon, Realm, Slot};
use crate::wamp::{MatchPolicy, SubscriptionId};

/// Names one delivery that was interrupted.
pub(in crate::shard) type DeliveryId = u64;

/// The local receivers of each subscription that has some.
///
/// Invariant: no list is empty; the shard stands in the topic table exactly while there is one.
#[derive(Debug)]
pub(in crate::shard) struct ReceiverLists(Map<SubscriptionId, Receivers>);

/// Who is left when a receiver has gone.
#[derive(Debug)]
pub(in crate::shard) enum Left {
    /// Others, on this realm.
    Others(Arc<Realm>),
    /// Nobody: this was the list.
    Nobody(Receivers),
}

impl ReceiverLists {
    pub(in crate::shard) const fn new(lists: Map<SubscriptionId, Receivers>) -> Self {
        Self(lists)
    }

    #[inline]
    pub(in crate::shard) fn get(&self, subscription: SubscriptionId) -> Option<&Receivers> {
        self.0.get(&subscription)
    }

    #[inline]
    pub(in crate::shard) fn get_mut(
        &mut self,
        subscription: SubscriptionId,
    ) -> Option<&mut Receivers> {
        self.0.get_mut(&subscription)
    }

    /// The list of a subscription that some session of the shard holds.
    pub(in crate::shard) fn held(&self, subscription: SubscriptionId) -> &Receivers {
        self.get(subscription).expect(LISTED)
    }

    pub(in crate::shard) fn iter(&self) -> impl Iterator<Item = &Receivers> {
        self.0.values()
    }

    /// Enters a receiver, in what `list` makes if it is the first one. Returns its position.
    pub(in crate::shard) fn join(
        &mut self,
        subscription: SubscriptionId,
        slot: Slot,
        horizon: Horizon,
        list: impl FnOnce() -> Receivers,
    ) -> u32 {
        let receivers = self.0.entry(subscription).or_insert_with(list);
        receivers.horizon.widen(horizon);
        receivers.join(slot)
    }

    /// Takes a receiver out; see [`Receivers::leave`].
    pub(in crate::shard) fn leave(
        &mut self,
        subscription: SubscriptionId,
        position: u32,
        moved: impl FnMut(Slot, u32),
    ) -> Left {
        let receivers = self.0.get_mut(&subscription).expect(LISTED);
        receivers.leave(position, moved);
        if !receivers.slots.is_empty() {
            return Left::Others(Arc::clone(&receivers.realm));
        }
        Left::Nobody(self.0.remove(&subscription).expect(LISTED))
    }
}

/// The local receivers of one subscription, and what it is for.
#[derive(Debug)]
pub(in crate::shard) struct Receivers {
    pub(in crate::shard) realm: Arc<Realm>,
    pub(in crate::shard) uri: Box<str>,
    pub(in crate::shard) policy: MatchPolicy,
    /// As far as that of any session of the list.
    pub(in crate::shard) horizon: Horizon,
    /// Each session of the list holds its own position in it.
    slots: Vec<Slot>,
    suspended: Vec<Suspended>,
}

/// A delivery that goes on later: who stands before `next` has got the event or does not get it,
/// and who stands at `end` or behind has joined since.
#[derive(Clone, Copy, Debug)]
struct Suspended {
    delivery: DeliveryId,
    next: u32,
    end: u32,
}

impl Receivers {
    pub(in crate::shard) fn new(realm: Arc<Realm>, uri: &str, policy: MatchPolicy) -> Self {
        let (slots, suspended) = (Vec::new(), Vec::new());
        Self { realm, uri: uri.into(), policy, horizon: Horizon::default(), slots, suspended }
    }

    #[inline]
    pub(in crate::shard) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(in crate::shard) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Enters a receiver. Returns its position.
    fn join(&mut self, slot: Slot) -> u32 {
        let position = u32::try_from(self.slots.len()).expect("slots are 32 bits");
        self.slots.push(slot);
        position
    }

    /// Takes a receiver out. `moved` is told the slot and the new position of each that had to
    /// move, which is one unless deliveries are interrupted.
    fn leave(&mut self, position: u32, mut moved: impl FnMut(Slot, u32)) {
        let mut hole = position as usize;
        if !self.suspended.is_empty() {
            // Everybody must stay on the right side of every border: so the last one of each part
            // of the list moves into the hole, which thereby moves on into the next part.
            for border in self.take_from_borders_behind(position) {
                let last = border as usize - 1;
                if last != hole {
                    self.slots[hole] = self.slots[last];
                    moved(self.slots[hole], hole as u32);
                }
                hole = last;
            }
        }
        self.slots.swap_remove(hole);
        if let Some(slot) = self.slots.get(hole) {
            moved(*slot, hole as u32);
        }
    }

    /// Interrupts a delivery before the receiver at `part.start`. Returns its name.
    pub(in crate::shard) fn suspend(
        &mut self,
        delivery: DeliveryId,
        part: Range<usize>,
    ) -> DeliveryId {
        debug_assert!(part.start <= part.end && part.end <= self.slots.len());
        let (next, end) = (part.start as u32, part.end as u32);
        self.suspended.push(Suspended { delivery, next, end });
        delivery
    }

    /// Where a delivery goes on; `None` if its receivers have all left since.
    pub(in crate::shard) fn resume(&mut self, delivery: DeliveryId) -> Option<Range<usize>> {
        let index = self.suspended.iter().position(|one| one.delivery == delivery)?;
        let Suspended { next, end, .. } = self.suspended.swap_remove(index);
        Some(next as usize..end as usize)
    }

    /// The borders behind a position that is to be given up, from front to back, as they were;
    /// each moves by one.
    fn take_from_borders_behind(&mut self, position: u32) -> SmallVec<[u32; 8]> {
        let mut borders = SmallVec::new();
        for Suspended { next, end, .. } in &mut self.suspended {
            for border in [next, end] {
                if *border > position {
                    borders.push(*border);
                    *border -= 1;
                }
            }
        }
        borders.sort_unstable();
        borders.dedup();
        borders
    }
}

const LISTED: &str = "a session's subscription has a receiver list";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HashSeed;
    use crate::router::{RealmSettings, Router, Settings};

    fn receivers(count: u32) -> Receivers {
        let realms = vec![RealmSettings::default()];
        let router = Router::new(Settings::default(), realms, 1, HashSeed::new(1));
        let realm = router.realm("realm1").expect("it has the default name");
        let mut receivers = Receivers::new(realm, "com.x", MatchPolicy::Exact);
        (0..count).for_each(|slot| assert_eq!(receivers.join(Slot::new(slot)), slot));
        receivers
    }

    /// Whoever leaves while deliveries are interrupted, each of the others gets each event once.
    #[test]
    fn an_interrupted_delivery_misses_and_doubles_nobody() {
        for (first, second, leavers) in [
            (3, 7, vec![0]),
            (3, 7, vec![2, 2, 2]),
            (3, 7, vec![3, 5]),
            (3, 7, vec![9, 8, 0, 4]),
            (0, 10, vec![0, 1, 2, 3]),
            (5, 5, vec![4, 4, 4]),
        ] {
            let mut receivers = receivers(10);
            receivers.suspend(1, first..10);
            receivers.suspend(2, second..10);
            receivers.join(Slot::new(10));
            let mut positions: Vec<u32> = (0..11).collect();
            let mut gone = Vec::new();
            for leaver in leavers {
                let slot = receivers.slots()[leaver as usize];
                gone.push(slot);
                receivers.leave(leaver, |slot, position| positions[slot.index()] = position);
                for (position, slot) in receivers.slots().iter().enumerate() {
                    assert_eq!(positions[slot.index()] as usize, position);
                }
            }
            for (delivery, begun) in [(1, first), (2, second)] {
                let rest = receivers.resume(delivery).expect("it was interrupted");
                let mut served: Vec<Slot> = receivers.slots()[rest].to_vec();
                served.sort_unstable();
                let expected = (begun..10).map(Slot::at).filter(|slot| !gone.contains(slot));
                assert_eq!(served, expected.collect::<Vec<_>>(), "{gone:?}");
            }
            assert_eq!(receivers.resume(1), None);
        }
    }
}
