//! Which subscriptions have most subscribers: all are gone through, in pieces.
//!
//! The list of a realm is walked on the asker's time, some ids under one lock, and the shards are
//! asked how many receivers those have. Nothing is kept but the best, so the answer is as exact as
//! what stays meanwhile.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::ask;
use crate::net::View;
use crate::net::inquiry::Inquiry;
use crate::router::{Listing, Realm, Walk};
use crate::wamp::SubscriptionId;

/// A subscription with its subscribers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Popular {
    /// The most come first, the others by their names.
    pub(super) subscribers: Reverse<usize>,
    pub(super) realm: Arc<str>,
    pub(super) uri: Box<str>,
    pub(super) is_cut: bool,
    pub(super) policy: &'static str,
    id: SubscriptionId,
}

/// The best, and what they were chosen from.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    pub(super) best: Vec<Popular>,
    /// Subscriptions whose subscribers were counted.
    pub(super) looked_at: usize,
    /// Whether those were all.
    pub(super) is_complete: bool,
}

/// The subscriptions with most subscribers in a realm, or in all: `most` of them.
pub(super) async fn rank(
    view: &View,
    realm: Option<&str>,
    most: usize,
    unanswered: &mut Vec<u8>,
) -> Ranking {
    let mut ranking = Ranking { is_complete: true, ..Ranking::default() };
    let mut best = BTreeSet::new();
    let until = Instant::now() + PATIENCE;
    for realm in
        view.router().realms().iter().filter(|it| realm.is_none_or(|is| is == &**it.name()))
    {
        let mut walk = Walk::new();
        while !walk.is_done() {
            if ranking.looked_at >= MOST_LOOKED_AT || Instant::now() > until {
                ranking.is_complete = false;
                break;
            }
            let ids = next_page(realm, &mut walk);
            ranking.looked_at += ids.len();
            let counts = count(view, &ids, unanswered).await;
            for (id, subscribers) in ids.into_iter().zip(counts) {
                enter(&mut best, most, realm, id, subscribers);
            }
        }
    }
    ranking.best = best.into_iter().collect();
    ranking
}

/// Some ids; none if the walk has come to an empty part of the list.
fn next_page(realm: &Realm, walk: &mut Walk<SubscriptionId>) -> Vec<SubscriptionId> {
    let mut listing = Listing::default();
    realm.topics.list_on(walk, &mut listing, PAGE);
    let Listing { mut exact, prefix, wildcard } = listing;
    exact.extend(prefix);
    exact.extend(wildcard);
    exact
}

/// How many receivers each has on all shards that answer.
async fn count(view: &View, ids: &[SubscriptionId], unanswered: &mut Vec<u8>) -> Vec<usize> {
    let mut counts = vec![0; ids.len()];
    if ids.is_empty() {
        return counts;
    }
    let answers =
        ask::ask_all(view, unanswered, |answer| Inquiry::Receivers(ids.to_vec(), answer)).await;
    for answer in answers {
        counts.iter_mut().zip(answer).for_each(|(count, more)| *count += more);
    }
    counts
}

/// Puts a subscription among the best if it is one of them. Its name is looked up only then.
fn enter(
    best: &mut BTreeSet<Popular>,
    most: usize,
    realm: &Realm,
    id: SubscriptionId,
    subscribers: usize,
) {
    let is_good =
        best.len() < most || best.last().is_some_and(|it| subscribers >= it.subscribers.0);
    if subscribers == 0 || !is_good {
        return;
    }
    // It may have gone since.
    let Some(described) = realm.topics.get(id) else { return };
    let end = described.uri.floor_char_boundary(URI_BYTES);
    best.insert(Popular {
        subscribers: Reverse(subscribers),
        realm: Arc::clone(realm.name()),
        uri: described.uri[..end].into(),
        is_cut: end < described.uri.len(),
        policy: described.policy.as_str(),
        id,
    });
    if best.len() > most {
        best.pop_last();
    }
}

/// Subscriptions that are counted at once: so many are looked up by a shard in one step.
const PAGE: usize = 256;

/// Subscriptions that are counted for one answer.
const MOST_LOOKED_AT: usize = 262_144;

/// How long one answer may take: others wait for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a URI that are shown.
const URI_BYTES: usize = 1_024;
