//! A concurrent map by id that can be gone through in pieces: who walks holds no lock in between,
//! and what comes or goes meanwhile disturbs nobody.
//!
//! Ordered, so that a walk knows where it is, and in parts with a lock each, so that shards seldom
//! meet. No order is promised across parts.

use std::collections::BTreeMap;
use std::ops::Bound;

use parking_lot::RwLock;

#[derive(Debug)]
pub(super) struct Ledger<I, V>([RwLock<BTreeMap<I, V>>; PARTS]);

/// A walk through a table under way: each entry that stays is met once, one that comes or goes
/// meanwhile perhaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk<I> {
    part: usize,
    after: Option<I>,
}

impl<I> Walk<I> {
    pub const fn new() -> Self {
        Self { part: 0, after: None }
    }

    pub const fn is_done(&self) -> bool {
        self.part == PARTS
    }
}

impl<I> Default for Walk<I> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I: Copy + Ord + Into<u64>, V> Ledger<I, V> {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| RwLock::default()))
    }

    /// `false` if there is an entry already, which stays.
    #[must_use]
    pub(super) fn insert(&self, id: I, value: V) -> bool {
        let mut part = self.part(id).write();
        let is_new = !part.contains_key(&id);
        if is_new {
            part.insert(id, value);
        }
        is_new
    }

    /// Takes an entry out if it is as wanted; `false` if none is.
    pub(super) fn remove_if(&self, id: I, wanted: impl FnOnce(&V) -> bool) -> bool {
        let mut part = self.part(id).write();
        let is_wanted = part.get(&id).is_some_and(wanted);
        if is_wanted {
            part.remove(&id);
        }
        is_wanted
    }

    /// Changes an entry under its lock, if it is there.
    pub(super) fn change(&self, id: I, change: impl FnOnce(&mut V)) {
        if let Some(value) = self.part(id).write().get_mut(&id) {
            change(value);
        }
    }

    /// Looks at an entry under its lock.
    pub(super) fn look_up<R>(&self, id: I, found: impl FnOnce(&V) -> R) -> Option<R> {
        self.part(id).read().get(&id).map(found)
    }

    /// Goes on with a walk for about `max_units` entries, at least 1; returns how many it took.
    /// `visit` runs under a lock.
    pub(super) fn walk(
        &self,
        walk: &mut Walk<I>,
        max_units: usize,
        mut visit: impl FnMut(I, &V),
    ) -> usize {
        let mut units = 0;
        while units < max_units.max(1) && !walk.is_done() {
            let from = walk.after.map_or(Bound::Unbounded, Bound::Excluded);
            let part = self.0[walk.part].read();
            let mut entries = part.range((from, Bound::Unbounded));
            let before = units;
            for (id, value) in entries.by_ref().take(max_units.max(1) - before) {
                visit(*id, value);
                units += 1;
                walk.after = Some(*id);
            }
            if entries.next().is_none() {
                (walk.part, walk.after) = (walk.part + 1, None);
                // An empty part is looked at, too.
                units = units.max(before + 1);
            }
        }
        units
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|part| part.read().len()).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|part| part.read().is_empty())
    }

    fn part(&self, id: I) -> &RwLock<BTreeMap<I, V>> {
        &self.0[usize::try_from(id.into() % PARTS as u64).unwrap_or_default()]
    }
}

/// More than threads meet at once; each costs a walk one unit.
const PARTS: usize = 16;

/// Entries that a walk which is not cut by its caller looks at under one lock.
pub(super) const PIECE: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the pieces, and also where entries come and go between them.
    #[test]
    fn a_walk_meets_what_stays_once() {
        for max_units in [0, 1, 3, 50, 10_000] {
            let ledger = Ledger::new();
            assert!((0..500_u64).all(|id| ledger.insert(id, id * 2)));
            let (mut walk, mut met, mut pieces) = (Walk::new(), Vec::new(), 0_u64);
            while !walk.is_done() {
                let units = ledger.walk(&mut walk, max_units, |id, double| {
                    assert_eq!(*double, id * 2);
                    met.push(id);
                });
                assert!((1..=max_units.max(1)).contains(&units), "{units} units");
                pieces += 1;
                ledger.remove_if(pieces % 100, |_| true);
                let _ = ledger.insert(1_000 + pieces, (1_000 + pieces) * 2);
            }
            met.sort_unstable();
            assert!(met.is_sorted_by(|a, b| a < b), "none twice");
            let stayed = met.iter().filter(|id| (100..500).contains(*id)).count();
            assert_eq!(stayed, 400, "in pieces of {max_units}");
        }
    }

    #[test]
    fn an_id_has_one_entry() {
        let ledger = Ledger::new();
        assert!(ledger.insert(7_u64, 'a') && !ledger.insert(7, 'b') && ledger.insert(23, 'c'));
        assert_eq!(
            [7, 23, 8].map(|id| ledger.look_up(id, |value| *value)),
            [Some('a'), Some('c'), None]
        );
        assert!(!ledger.remove_if(7, |value| *value == 'b') && ledger.remove_if(7, |_| true));
        assert!(!ledger.remove_if(7, |_| true));
        assert_eq!((ledger.len(), ledger.is_empty()), (1, false));
    }
}
