//! The local receivers of one subscription, and how far interrupted deliveries got among them.
//!
//! Owns the list and its order. Who is in it knows its own place; whoever is moved is reported, so
//! that joining and leaving cost the same for any number of receivers.

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::router::{Horizon, Realm, Slot};
use crate::wamp::MatchPolicy;

/// Names one delivery that was interrupted.
pub(super) type DeliveryId = u64;

/// The local receivers of one subscription, and what it is for.
///
/// Invariant: never empty in the shard; the shard's bit in the topic table is set exactly while it
/// exists.
#[derive(Debug)]
pub(super) struct Receivers {
    pub(super) realm: Arc<Realm>,
    pub(super) uri: Box<str>,
    pub(super) policy: MatchPolicy,
    /// As far as that of any session of the list.
    pub(super) horizon: Horizon,
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
    pub(super) fn new(realm: Arc<Realm>, uri: &str, policy: MatchPolicy) -> Self {
        let (slots, suspended) = (Vec::new(), Vec::new());
        Self { realm, uri: uri.into(), policy, horizon: Horizon::default(), slots, suspended }
    }

    #[inline]
    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The place of the next one to join.
    pub(super) fn next_position(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("slots are 32 bits")
    }

    /// Enters a receiver at [`Self::next_position`].
    pub(super) fn join(&mut self, slot: Slot) {
        self.slots.push(slot);
    }

    /// Takes a receiver out. `moved` is told the slot and the new position of each that had to
    /// move, which is one unless deliveries are interrupted.
    pub(super) fn leave(&mut self, position: u32, mut moved: impl FnMut(Slot, u32)) {
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

    /// Interrupts a delivery before the receiver at `part.start`.
    pub(super) fn suspend(&mut self, delivery: DeliveryId, part: Range<usize>) {
        debug_assert!(part.start <= part.end && part.end <= self.slots.len());
        let (next, end) = (part.start as u32, part.end as u32);
        self.suspended.push(Suspended { delivery, next, end });
    }

    /// Where a delivery goes on; `None` if its receivers have all left since.
    pub(super) fn resume(&mut self, delivery: DeliveryId) -> Option<Range<usize>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HashSeed;
    use crate::router::{RealmSettings, Router, Settings};

    fn receivers(count: u32) -> Receivers {
        let realms = vec![RealmSettings::default()];
        let router = Router::new(Settings::default(), realms, 1, HashSeed::new(1));
        let realm = router.realm("realm1").expect("it has the default name");
        let mut receivers = Receivers::new(Arc::clone(realm), "com.x", MatchPolicy::Exact);
        (0..count).for_each(|slot| receivers.join(Slot::new(slot)));
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
