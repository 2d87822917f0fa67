//! The topic table of a realm: which shards have receivers of which subscription.
//!
//! What a publisher copies out is two words, so no lock is held while it delivers, and a join
//! or leave costs the same for any number of receivers.

use std::sync::Arc;

use smallvec::SmallVec;

use super::directory::{Described, Directory, Listing};
use super::meta::{Departure, MetaFeed, MetaTopic};
use super::pattern::{Keep, PatternTable};
use super::{IdCounter, ShardId, ShardSet};
use crate::hash::HashSeed;
use crate::wamp::{MatchPolicy, SubscriptionId, Timestamp};

/// What a publisher needs of one matching subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fanout {
    pub subscription: SubscriptionId,
    pub policy: MatchPolicy,
    pub shards: ShardSet,
}

/// The subscriptions that match one topic; more than a few are rare.
pub type Fanouts = SmallVec<[Fanout; 4]>;

/// What came of a shard's joining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    pub subscription: SubscriptionId,
    /// The number of `on_create`, if the subscription is new and somebody listens.
    pub created: Option<u64>,
}

#[derive(Debug)]
pub struct TopicTable {
    patterns: PatternTable<Topic>,
    directory: Directory<SubscriptionId>,
    ids: Arc<IdCounter>,
    feed: Arc<MetaFeed>,
}

/// Invariant: `shards` is never empty, and holds a shard exactly while that shard has a receiver.
#[derive(Debug)]
struct Topic {
    subscription: SubscriptionId,
    shards: ShardSet,
}

impl TopicTable {
    pub(super) fn new(seed: HashSeed, ids: &Arc<IdCounter>, feed: &Arc<MetaFeed>) -> Self {
        Self {
            patterns: PatternTable::new(seed),
            directory: Directory::new(seed),
            ids: Arc::clone(ids),
            feed: Arc::clone(feed),
        }
    }

    /// Enters `shard` as a receiver of the pattern. Idempotent. A new subscription was created
    /// `now`.
    pub fn join(&self, uri: &str, policy: MatchPolicy, shard: ShardId, now: Timestamp) -> Joined {
        let make = || {
            let subscription = SubscriptionId::from_random(self.ids.next() - 1);
            Some(Topic { subscription, shards: ShardSet::default() })
        };
        self.patterns
            .update(uri, policy, make, |topic| {
                let is_new = topic.shards.is_empty();
                topic.shards.insert(shard);
                let subscription = topic.subscription;
                let created = is_new.then(|| self.enter(subscription, uri, policy, now));
                (Keep::Yes, Joined { subscription, created: created.flatten() })
            })
            .expect("an entry is made where there is none")
    }

    /// Makes a new subscription known, under the lock of its entry. Returns the number of
    /// `on_create`: who creates a subscription to that very topic hears of it.
    fn enter(
        &self,
        subscription: SubscriptionId,
        uri: &str,
        policy: MatchPolicy,
        now: Timestamp,
    ) -> Option<u64> {
        self.feed.add(uri, policy);
        let after_meta = self.feed.given();
        let uri = uri.into();
        let described = Described { uri, policy, invoke: None, created: now, after_meta };
        self.directory.insert(subscription, described);
        self.feed.number(MetaTopic::SubscriptionOnCreate)
    }

    /// Takes `shard` out after its last receiver left; the subscription dies with its last shard.
    pub fn leave(&self, uri: &str, policy: MatchPolicy, shard: ShardId) -> Departure {
        let leave = |topic: &mut Topic| {
            debug_assert!(topic.shards.contains(shard));
            let left = self.feed.number(MetaTopic::SubscriptionOnUnsubscribe);
            topic.shards.remove(shard);
            if !topic.shards.is_empty() {
                return (Keep::Yes, Departure { left, deleted: None });
            }
            self.directory.remove(topic.subscription);
            self.feed.remove(uri, policy);
            let deleted = self.feed.number(MetaTopic::SubscriptionOnDelete);
            (Keep::No, Departure { left, deleted })
        };
        self.patterns.update(uri, policy, || None, leave).unwrap_or_default()
    }

    /// What a subscription is for (`wamp.subscription.get`).
    pub fn get(&self, subscription: SubscriptionId) -> Option<Described> {
        self.directory.get(subscription)
    }

    /// The ids of all subscriptions, unless there are more than `limit`.
    pub fn list(&self, limit: usize) -> Option<Listing<SubscriptionId>> {
        self.directory.list(limit)
    }

    /// The subscription of exactly this pattern, with its shards (AP-RMA-02).
    pub fn look_up(&self, uri: &str, policy: MatchPolicy) -> Option<Fanout> {
        self.patterns.look_up(uri, policy, |topic| Fanout {
            subscription: topic.subscription,
            policy,
            shards: topic.shards,
        })
    }

    /// All subscriptions that match `topic` (AP-PBS-02).
    pub fn matches(&self, topic: &str) -> Fanouts {
        let mut fanouts = Fanouts::new();
        self.patterns.for_each_match(topic, |policy, entry| {
            fanouts.push(Fanout { subscription: entry.subscription, policy, shards: entry.shards });
        });
        fanouts
    }

    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.patterns.is_idle() && self.directory.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TopicTable {
        TopicTable::new(HashSeed::new(1), &Arc::default(), &Arc::default())
    }

    #[test]
    fn a_subscription_lives_from_its_first_to_its_last_shard() {
        let topics = table();
        let exact = MatchPolicy::Exact;
        let first = topics.join("com.x", exact, ShardId(0), Timestamp::default()).subscription;
        assert_eq!(
            topics.join("com.x", exact, ShardId(1), Timestamp::default()).subscription,
            first
        );
        assert_eq!(
            topics.join("com.x", exact, ShardId(1), Timestamp::default()).subscription,
            first
        );
        topics.leave("com.x", exact, ShardId(0));
        let [fanout] = topics.matches("com.x")[..] else { panic!("one subscription matches") };
        assert_eq!(fanout.shards.iter().collect::<Vec<_>>(), [ShardId(1)]);
        topics.leave("com.x", exact, ShardId(1));
        assert!(topics.is_empty());
        assert_ne!(
            topics.join("com.x", exact, ShardId(1), Timestamp::default()).subscription,
            first,
            "a new life has a new id"
        );
    }

    #[test]
    fn one_uri_under_two_policies_is_two_subscriptions() {
        let topics = table();
        let exact =
            topics.join("com.x", MatchPolicy::Exact, ShardId(0), Timestamp::default()).subscription;
        let prefix = topics
            .join("com.x", MatchPolicy::Prefix, ShardId(0), Timestamp::default())
            .subscription;
        assert_ne!(exact, prefix);
        assert_eq!(topics.matches("com.x").len(), 2);
        assert_eq!(topics.matches("com.xy").len(), 1);
    }
}
