//! What stands behind an id, for the meta API, which asks by id (AP-RMA, AP-SUA).
//!
//! Beside the pattern table and changed under the lock of its entries: a subscription or
//! registration is in the one exactly while it is in the other.

use super::ledger::{Ledger, PIECE, Walk};
use crate::wamp::{InvokePolicy, MatchPolicy, Timestamp};

/// What a subscription or registration is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub uri: Box<str>,
    pub policy: MatchPolicy,
    /// Of a registration.
    pub invoke: Option<InvokePolicy>,
    pub created: Timestamp,
}

/// Ids by matching policy; each list in no particular order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<I> {
    pub exact: Vec<I>,
    pub prefix: Vec<I>,
    pub wildcard: Vec<I>,
}

impl<I> Default for Listing<I> {
    fn default() -> Self {
        Self { exact: Vec::new(), prefix: Vec::new(), wildcard: Vec::new() }
    }
}

impl<I> Listing<I> {
    /// How many ids it has.
    pub fn len(&self) -> usize {
        self.exact.len() + self.prefix.len() + self.wildcard.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Debug)]
pub(super) struct Directory<I>(Ledger<I, Described>);

impl<I: Copy + Ord + Into<u64>> Directory<I> {
    pub(super) fn new() -> Self {
        Self(Ledger::new())
    }

    /// `false` if something else has the id.
    #[must_use]
    pub(super) fn insert(&self, id: I, described: Described) -> bool {
        self.0.insert(id, described)
    }

    pub(super) fn remove(&self, id: I) {
        self.0.remove_if(id, |_| true);
    }

    pub(super) fn change(&self, id: I, change: impl FnOnce(&mut Described)) {
        self.0.change(id, change);
    }

    pub(super) fn get(&self, id: I) -> Option<Described> {
        self.0.look_up(id, Described::clone)
    }

    /// The pattern of an id.
    pub(super) fn pattern(&self, id: I) -> Option<(Box<str>, MatchPolicy)> {
        self.0.look_up(id, |described| (described.uri.clone(), described.policy))
    }

    /// All ids, unless there are more than `limit`.
    pub(super) fn list(&self, limit: usize) -> Option<Listing<I>> {
        let (mut walk, mut listing) = (Walk::new(), Listing::default());
        while !walk.is_done() {
            self.list_on(&mut walk, &mut listing, PIECE);
            if listing.len() > limit {
                return None;
            }
        }
        Some(listing)
    }

    /// Goes on with a walk; returns how many units it took.
    pub(super) fn list_on(
        &self,
        walk: &mut Walk<I>,
        listing: &mut Listing<I>,
        max_units: usize,
    ) -> usize {
        self.0.walk(walk, max_units, |id, described| {
            let ids = match described.policy {
                MatchPolicy::Exact => &mut listing.exact,
                MatchPolicy::Prefix => &mut listing.prefix,
                MatchPolicy::Wildcard => &mut listing.wildcard,
            };
            ids.push(id);
        })
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
