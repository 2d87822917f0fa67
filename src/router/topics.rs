//! The topic table of a realm: which shards have receivers of which subscription.
//!
//! What a publisher copies out is two words, so no lock is held while it delivers, and a join
//! or leave costs the same for any number of receivers.

use std::sync::Arc;

use smallvec::SmallVec;

use super::directory::{Described, Directory, Listing};
use super::ids::PatternIds;
use super::interest::RealmInterest;
use super::ledger::Walk;
use super::meta::{Departure, MetaFeed, MetaTopic};
use super::pattern::{Keep, PatternTable};
use super::shapes::{Asker, TooManyShapes};
use super::{Destination, Destinations};
use crate::hash::HashSeed;
use crate::wamp::{MatchPolicy, SubscriptionId, Timestamp};

/// What a publisher needs of one matching subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fanout {
    pub subscription: SubscriptionId,
    pub policy: MatchPolicy,
    pub to: Destinations,
}

/// The subscriptions that match one topic; more than a few are rare.
pub type Fanouts = SmallVec<[Fanout; 4]>;

/// What came of a shard's joining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    pub subscription: SubscriptionId,
    /// The number of `on_create`, if the subscription is new and somebody listens.
    pub created: Option<u64>,
    /// See [`Horizon::after_meta`](super::Horizon).
    pub after_meta: u64,
}

#[derive(Debug)]
pub struct TopicTable {
    patterns: PatternTable<Topic>,
    directory: Directory<SubscriptionId>,
    ids: PatternIds,
    feed: Arc<MetaFeed>,
    interest: RealmInterest,
}

/// Invariant: `to` is never empty, and holds a shard exactly while that shard has a receiver; the
/// store for ever if the pattern has a history.
#[derive(Debug)]
struct Topic {
    subscription: SubscriptionId,
    to: Destinations,
}

impl Topic {
    /// Where receivers are; a history hears, but does not listen.
    const fn listeners(&self) -> Destinations {
        self.to.with_sessions()
    }
}

impl TopicTable {
    pub(super) fn new(seed: &HashSeed, ids: &PatternIds, feed: &Arc<MetaFeed>) -> Self {
        Self {
            patterns: PatternTable::new(seed),
            directory: Directory::new(),
            ids: ids.clone(),
            feed: Arc::clone(feed),
            interest: RealmInterest::default(),
        }
    }

    /// The same, for a realm of a cluster: its patterns are counted there.
    pub(super) fn of_cluster(mut self, interest: RealmInterest) -> Self {
        self.interest = interest;
        self
    }

    /// Enters a destination of the pattern's events. Idempotent. A new subscription was created
    /// `now`.
    ///
    /// # Errors
    /// If nobody has subscribed to a pattern of this shape and there is no room for one more.
    pub fn join(
        &self,
        uri: &str,
        policy: MatchPolicy,
        to: impl Into<Destination>,
        now: Timestamp,
    ) -> Result<Joined, TooManyShapes> {
        let to = to.into();
        let make = || {
            let subscription = self.enter(uri, policy, now);
            Some(Topic { subscription, to: Destinations::default() })
        };
        let join = |topic: &mut Topic| {
            let subscription = topic.subscription;
            let (is_new, was_silent) = (topic.to.is_empty(), topic.listeners().is_empty());
            topic.to.insert(to);
            if is_new {
                self.interest.enter(policy, uri);
            }
            if was_silent && to.has_sessions() {
                self.feed.add(uri, policy);
            }
            // Whatever is numbered from here on is published there, too.
            let after_meta = self.feed.given();
            let on_create = MetaTopic::SubscriptionOnCreate;
            let created = is_new.then(|| self.feed.number(on_create)).flatten();
            (Keep::Yes, Joined { subscription, created, after_meta })
        };
        let asker = if to.has_sessions() { Asker::Client } else { Asker::Configuration };
        let joined = self.patterns.update(uri, policy, asker, make, join)?;
        Ok(joined.expect("an entry is made where there is none"))
    }

    /// Makes a new subscription known, under the lock of its entry. If another pattern has its id,
    /// which chance alone can do in a cluster, it gets one that only this node knows it by.
    fn enter(&self, uri: &str, policy: MatchPolicy, now: Timestamp) -> SubscriptionId {
        let mut attempts = 0..;
        let draw = |attempt| SubscriptionId::from_random(self.ids.draw(policy, uri, attempt));
        let is_free = |id: &SubscriptionId| {
            let described = Described { uri: uri.into(), policy, invoke: None, created: now };
            self.directory.insert(*id, described)
        };
        attempts.by_ref().map(draw).find(is_free).expect("there are more ids than subscriptions")
    }

    /// Takes a destination out after its last receiver left; the subscription dies with the last.
    pub fn leave(&self, uri: &str, policy: MatchPolicy, to: impl Into<Destination>) -> Departure {
        let to = to.into();
        let leave = |topic: &mut Topic| {
            debug_assert!(topic.to.contains(to));
            let left = self.feed.number(MetaTopic::SubscriptionOnUnsubscribe);
            topic.to.remove(to);
            if topic.listeners().is_empty() {
                self.feed.remove(uri, policy);
            }
            if !topic.to.is_empty() {
                return (Keep::Yes, Departure { left, deleted: None });
            }
            self.directory.remove(topic.subscription);
            self.interest.leave(policy, uri);
            let deleted = self.feed.number(MetaTopic::SubscriptionOnDelete);
            (Keep::No, Departure { left, deleted })
        };
        let left = self.patterns.update(uri, policy, Asker::Client, || None, leave);
        left.ok().flatten().unwrap_or_default()
    }

    /// What a subscription is for (`wamp.subscription.get`).
    pub fn get(&self, subscription: SubscriptionId) -> Option<Described> {
        self.directory.get(subscription)
    }

    /// The ids of all subscriptions, unless there are more than `limit`.
    pub fn list(&self, limit: usize) -> Option<Listing<SubscriptionId>> {
        self.directory.list(limit)
    }

    /// Goes on with a walk through the ids of all subscriptions, for about `max_units` of them and
    /// at least 1; returns how many it took.
    pub fn list_on(
        &self,
        walk: &mut Walk<SubscriptionId>,
        listing: &mut Listing<SubscriptionId>,
        max_units: usize,
    ) -> usize {
        self.directory.list_on(walk, listing, max_units)
    }

    /// The subscription of exactly this pattern, with where its receivers are (AP-RMA-02).
    pub fn look_up(&self, uri: &str, policy: MatchPolicy) -> Option<Fanout> {
        self.patterns.look_up(uri, policy, |topic| Fanout {
            subscription: topic.subscription,
            policy,
            to: topic.listeners(),
        })
    }

    /// All subscriptions that match `topic` (AP-PBS-02).
    pub fn matches(&self, topic: &str) -> Fanouts {
        self.matches_counted(topic).0
    }

    /// The same, and how many patterns were looked up for it.
    #[inline]
    pub fn matches_counted(&self, topic: &str) -> (Fanouts, usize) {
        let mut fanouts = Fanouts::new();
        let looked_up = self.patterns.for_each_match(topic, |policy, entry| {
            fanouts.push(Fanout { subscription: entry.subscription, policy, to: entry.to });
        });
        (fanouts, looked_up)
    }

    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nobody is subscribed: only patterns with a history are left.
    pub fn is_idle(&self) -> bool {
        let silent = |topic: &Topic| topic.listeners().is_empty();
        self.patterns.is_tidy()
            && !self.patterns.any(|topic| !silent(topic))
            && self.directory.len() == self.len()
    }
}

/// A realm that is gone wants nothing any more, though its histories have never left.
impl Drop for TopicTable {
    fn drop(&mut self) {
        self.patterns.for_each(|policy, uri| self.interest.leave(policy, uri));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::{Ids, NodeIds, NodeNumber, ShardId};

    const NOW: Timestamp = Timestamp::EPOCH;

    fn table() -> TopicTable {
        TopicTable::new(&HashSeed::new(1), &PatternIds::default(), &Arc::default())
    }

    /// Of one cluster.
    fn clustered(node: u8) -> TopicTable {
        let node = NodeNumber::new(node).expect("7 bits");
        let ids = Arc::new(Ids::from(Some(NodeIds::new(node, 42))));
        let ids = PatternIds::new(ids, "realm1".into());
        TopicTable::new(&HashSeed::new(u64::from(node.get())), &ids, &Arc::default())
    }

    fn join(
        topics: &TopicTable,
        uri: &str,
        policy: MatchPolicy,
        to: impl Into<Destination>,
    ) -> Joined {
        topics.join(uri, policy, to, NOW).expect("there is room")
    }

    #[test]
    fn a_subscription_lives_from_its_first_to_its_last_shard() {
        let topics = table();
        let exact = MatchPolicy::Exact;
        let first = join(&topics, "com.x", exact, ShardId(0)).subscription;
        assert_eq!(join(&topics, "com.x", exact, ShardId(1)).subscription, first);
        assert_eq!(join(&topics, "com.x", exact, ShardId(1)).subscription, first);
        topics.leave("com.x", exact, ShardId(0));
        let [fanout] = topics.matches("com.x")[..] else { panic!("one subscription matches") };
        assert_eq!(fanout.to.shards().collect::<Vec<_>>(), [ShardId(1)]);
        topics.leave("com.x", exact, ShardId(1));
        assert!(topics.is_empty() && topics.is_idle());
        let next = join(&topics, "com.x", exact, ShardId(1)).subscription;
        assert_ne!(next, first, "a new life has a new id");
    }

    /// AP-HIS-01: a pattern with a history keeps its id whoever comes and goes.
    #[test]
    fn a_history_keeps_its_subscription() {
        let topics = table();
        let kept = join(&topics, "com.x", MatchPolicy::Prefix, Destination::Store).subscription;
        assert!(topics.is_idle() && topics.get(kept).is_some());
        for _ in 0..2 {
            let joined = join(&topics, "com.x", MatchPolicy::Prefix, ShardId(0));
            assert_eq!(joined, Joined { subscription: kept, created: None, after_meta: 0 });
            assert!(!topics.is_idle());
            topics.leave("com.x", MatchPolicy::Prefix, ShardId(0));
        }
        assert!(topics.is_idle() && !topics.is_empty());
        let [fanout] = topics.matches("com.xy")[..] else { panic!("one subscription matches") };
        assert!(fanout.to.contains(Destination::Store));
    }

    /// In a cluster: a life of it has the id of the one before, on this node and on others.
    #[test]
    fn a_pattern_has_the_same_id_on_every_node() {
        let topics = [clustered(1), clustered(2)];
        let ids = |uri| {
            topics.each_ref().map(|topics| {
                let id = join(topics, uri, MatchPolicy::Exact, ShardId(0)).subscription;
                topics.leave(uri, MatchPolicy::Exact, ShardId(0));
                assert_eq!(join(topics, uri, MatchPolicy::Exact, ShardId(1)).subscription, id);
                id
            })
        };
        let ([here, there], [other, _]) = (ids("com.x"), ids("com.y"));
        assert!(here == there && here != other);
    }

    /// Of two patterns with one id the second has another one here, and both are found.
    #[test]
    fn an_id_that_another_pattern_has_is_not_given_again() {
        let (topics, exact) = (clustered(1), MatchPolicy::Exact);
        let id = join(&topics, "com.x", exact, ShardId(0)).subscription;
        topics.leave("com.x", exact, ShardId(0));
        let described =
            Described { uri: "com.y".into(), policy: exact, invoke: None, created: NOW };
        assert!(topics.directory.insert(id, described.clone()));
        let second = join(&topics, "com.x", exact, ShardId(0)).subscription;
        assert_ne!(second, id);
        assert_eq!(topics.get(id), Some(described));
        assert_eq!(&*topics.get(second).expect("it is known").uri, "com.x");
        topics.leave("com.x", exact, ShardId(0));
        assert_eq!(topics.get(second), None);
    }

    #[test]
    fn one_uri_under_two_policies_is_two_subscriptions() {
        let topics = table();
        let exact = join(&topics, "com.x", MatchPolicy::Exact, ShardId(0)).subscription;
        let prefix = join(&topics, "com.x", MatchPolicy::Prefix, ShardId(0)).subscription;
        assert_ne!(exact, prefix);
        assert_eq!(topics.matches("com.x").len(), 2);
        assert_eq!(topics.matches("com.xy").len(), 1);
    }
}
