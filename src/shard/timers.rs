//! Deadlines of connections: one heap per shard, entries that went stale are ignored.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Millis;

/// A connection, told apart from earlier ones in the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Millis, Owner)>>,
}

impl Timers {
    pub(super) fn arm(&mut self, at: Millis, owner: Owner) {
        self.heap.push(Reverse((at, owner)));
    }

    pub(super) fn next(&self) -> Option<Millis> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next connection whose deadline has come.
    pub(super) fn pop_due(&mut self, now: Millis) -> Option<Owner> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, owner))| owner)
    }
}
