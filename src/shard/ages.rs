//! Which connection of a shard holds the oldest byte that a socket has refused.
//!
//! Only connections that hold such bytes stand here, so those that keep up pay nothing, and a
//! scrape reads the first without asking the others.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Millis;
use crate::router::Slot;

#[derive(Debug, Default)]
pub(super) struct Ages {
    ordered: BTreeSet<(Millis, Slot)>,
    by_slot: BTreeMap<Slot, Millis>,
}

impl Ages {
    /// The oldest refused byte of a connection waits since then; `None`: there is none.
    pub(super) fn set(&mut self, slot: Slot, since: Option<Millis>) {
        let before = match since {
            Some(since) => self.by_slot.insert(slot, since),
            None => self.by_slot.remove(&slot),
        };
        if before == since {
            return;
        }
        if let Some(before) = before {
            self.ordered.remove(&(before, slot));
        }
        if let Some(since) = since {
            self.ordered.insert((since, slot));
        }
    }

    /// Since when the oldest of all waits.
    pub(super) fn oldest(&self) -> Option<Millis> {
        self.ordered.first().map(|(since, _)| *since)
    }

    /// Asserts that it knows what `connections` hold.
    pub(super) fn check(&self, connections: impl Iterator<Item = (Slot, Option<Millis>)>) {
        let mut count = 0;
        for (slot, since) in connections {
            assert_eq!(self.by_slot.get(&slot).copied(), since, "{slot:?}");
            count += usize::from(since.is_some());
        }
        assert_eq!((self.by_slot.len(), self.ordered.len()), (count, count));
    }
}
