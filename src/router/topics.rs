//! The topic table of a realm: which shards have receivers of which subscription.
//!
//! What a publisher copies out is two words, so no lock is held while it delivers, and a join
//! or leave costs the same for any number of receivers.

use std::sync::Arc;

use smallvec::SmallVec;

use super::pattern::{Keep, PatternTable};
use super::{HISTORY, IdCounter, ShardId, ShardSet};
use crate::hash::HashSeed;
use crate::wamp::{MatchPolicy, SubscriptionId};

/// What a publisher needs of one matching subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fanout {
    pub subscription: SubscriptionId,
    pub policy: MatchPolicy,
    pub shards: ShardSet,
}

/// The subscriptions that match one topic; more than a few are rare.
pub type Fanouts = SmallVec<[Fanout; 4]>;

#[derive(Debug)]
pub struct TopicTable {
    patterns: PatternTable<Topic>,
    ids: Arc<IdCounter>,
}

/// Invariant: `shards` is never empty, and holds a shard exactly while that shard has a receiver;
/// [`HISTORY`] for ever if the pattern has a history.
#[derive(Debug)]
struct Topic {
    subscription: SubscriptionId,
    shards: ShardSet,
}

impl TopicTable {
    pub(super) fn new(seed: HashSeed, ids: &Arc<IdCounter>) -> Self {
        Self { patterns: PatternTable::new(seed), ids: Arc::clone(ids) }
    }

    /// Enters `shard` as a receiver of the pattern. Idempotent.
    pub fn join(&self, uri: &str, policy: MatchPolicy, shard: ShardId) -> SubscriptionId {
        let make = || {
            let subscription = SubscriptionId::from_random(self.ids.next() - 1);
            Some(Topic { subscription, shards: ShardSet::default() })
        };
        self.patterns
            .update(uri, policy, make, |topic| {
                topic.shards.insert(shard);
                (Keep::Yes, topic.subscription)
            })
            .expect("an entry is made where there is none")
    }

    /// Takes `shard` out after its last receiver left; the subscription dies with its last shard.
    pub fn leave(&self, uri: &str, policy: MatchPolicy, shard: ShardId) {
        self.patterns.update(
            uri,
            policy,
            || None,
            |topic| {
                debug_assert!(topic.shards.contains(shard));
                topic.shards.remove(shard);
                (if topic.shards.is_empty() { Keep::No } else { Keep::Yes }, ())
            },
        );
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
        self.len() == 0
    }

    /// Whether some subscription has this id. A walk over all of them.
    pub fn holds(&self, subscription: SubscriptionId) -> bool {
        self.patterns.any(|topic| topic.subscription == subscription)
    }

    /// Whether nobody is subscribed: only patterns with a history are left.
    pub fn is_idle(&self) -> bool {
        let mut history = ShardSet::default();
        history.insert(HISTORY);
        self.patterns.is_tidy() && !self.patterns.any(|topic| topic.shards != history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TopicTable {
        TopicTable::new(HashSeed::new(1), &Arc::default())
    }

    #[test]
    fn a_subscription_lives_from_its_first_to_its_last_shard() {
        let topics = table();
        let exact = MatchPolicy::Exact;
        let first = topics.join("com.x", exact, ShardId(0));
        assert_eq!(topics.join("com.x", exact, ShardId(1)), first);
        assert_eq!(topics.join("com.x", exact, ShardId(1)), first);
        topics.leave("com.x", exact, ShardId(0));
        let [fanout] = topics.matches("com.x")[..] else { panic!("one subscription matches") };
        assert_eq!(fanout.shards.iter().collect::<Vec<_>>(), [ShardId(1)]);
        topics.leave("com.x", exact, ShardId(1));
        assert!(topics.is_empty() && topics.is_idle());
        assert_ne!(topics.join("com.x", exact, ShardId(1)), first, "a new life has a new id");
    }

    /// AP-HIS-01: a pattern with a history keeps its id whoever comes and goes.
    #[test]
    fn a_history_keeps_its_subscription() {
        let topics = table();
        let kept = topics.join("com.x", MatchPolicy::Prefix, HISTORY);
        assert!(topics.is_idle() && topics.holds(kept));
        for _ in 0..2 {
            assert_eq!(topics.join("com.x", MatchPolicy::Prefix, ShardId(0)), kept);
            assert!(!topics.is_idle());
            topics.leave("com.x", MatchPolicy::Prefix, ShardId(0));
        }
        assert!(topics.is_idle() && !topics.is_empty());
        let [fanout] = topics.matches("com.xy")[..] else { panic!("one subscription matches") };
        assert!(fanout.shards.contains(HISTORY));
    }

    #[test]
    fn one_uri_under_two_policies_is_two_subscriptions() {
        let topics = table();
        let exact = topics.join("com.x", MatchPolicy::Exact, ShardId(0));
        let prefix = topics.join("com.x", MatchPolicy::Prefix, ShardId(0));
        assert_ne!(exact, prefix);
        assert_eq!(topics.matches("com.x").len(), 2);
        assert_eq!(topics.matches("com.xy").len(), 1);
    }
}
