//! What stands behind an id, for the meta API, which asks by id (AP-RMA, AP-SUA).
//!
//! Beside the pattern table and changed under the lock of its entries: a subscription or
//! registration is in the one exactly while it is in the other.

use std::hash::Hash;

use dashmap::DashMap;
use foldhash::fast::FixedState;

use crate::hash::HashSeed;
use crate::wamp::{InvokePolicy, MatchPolicy, Timestamp};

/// What a subscription or registration is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub uri: Box<str>,
    pub policy: MatchPolicy,
    /// Of a registration.
    pub invoke: Option<InvokePolicy>,
    pub created: Timestamp,
    /// How many meta events of the realm had a number when somebody began to listen. A subscription
    /// hears none of those: what followed from them may have gone unheard.
    pub after_meta: u64,
}

/// Ids by matching policy; each list in no particular order.
#[derive(Debug, PartialEq, Eq)]
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

#[derive(Debug)]
pub(super) struct Directory<I: Eq + Hash>(DashMap<I, Described, FixedState>);

impl<I: Copy + Eq + Hash> Directory<I> {
    pub(super) fn new(seed: &HashSeed) -> Self {
        Self(DashMap::with_hasher(seed.state()))
    }

    pub(super) fn insert(&self, id: I, described: Described) {
        self.0.insert(id, described);
    }

    /// From now on somebody listens to the subscription; see [`Described::after_meta`].
    pub(super) fn note_meta(&self, id: I, given: u64) {
        if let Some(mut described) = self.0.get_mut(&id) {
            described.after_meta = given;
        }
    }

    pub(super) fn remove(&self, id: I) {
        self.0.remove(&id);
    }

    pub(super) fn get(&self, id: I) -> Option<Described> {
        self.0.get(&id).map(|found| found.clone())
    }

    /// The pattern of an id.
    pub(super) fn pattern(&self, id: I) -> Option<(Box<str>, MatchPolicy)> {
        self.0.get(&id).map(|found| (found.uri.clone(), found.policy))
    }

    /// All ids, unless there are more than `limit`.
    pub(super) fn list(&self, limit: usize) -> Option<Listing<I>> {
        if self.0.len() > limit {
            return None;
        }
        let mut listing = Listing::default();
        for entry in &self.0 {
            let ids = match entry.policy {
                MatchPolicy::Exact => &mut listing.exact,
                MatchPolicy::Prefix => &mut listing.prefix,
                MatchPolicy::Wildcard => &mut listing.wildcard,
            };
            ids.push(*entry.key());
        }
        Some(listing)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
