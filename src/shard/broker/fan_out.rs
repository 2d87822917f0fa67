//! From a publication to the shards with receivers, whoever has published: no session of a
//! publisher is needed, and no shard.

use std::sync::Arc;

use super::super::{Event, EventHead};
use crate::router::{Destinations, Fanout, Fanouts, HeldCount, ShardId, TopicTable};
use crate::wamp::{MatchPolicy, PayloadBuf};

/// A publication that no shard has read from a client: of another node.
#[derive(Clone, Debug)]
pub struct Publication {
    pub head: EventHead,
    pub topic: Box<str>,
    pub payload: PayloadBuf,
}

/// Hands a publication to each shard with receivers, as one event that they share; `count` counts
/// its memory. Returns how many patterns were looked up.
///
/// Retained events and histories are for the caller, before this: see [`crate::router`].
pub fn fan_out(
    topics: &TopicTable,
    publication: Publication,
    count: &Arc<HeldCount>,
    mut hand_over: impl FnMut(ShardId, Arc<Event>),
) -> usize {
    let Publication { head, topic, payload } = publication;
    let (fanouts, looked_up) = topics.matches_counted(&topic);
    let to = destinations(&fanouts).with_sessions();
    if !to.is_empty() {
        let event = share(head, &topic, fanouts, payload, count);
        to.shards().for_each(|shard| hand_over(shard, Arc::clone(&event)));
    }
    looked_up
}

/// Wherever some of the subscriptions have receivers, or a history.
#[inline]
pub(super) fn destinations(fanouts: &[Fanout]) -> Destinations {
    fanouts.iter().fold(Destinations::default(), |all, fanout| all.union(fanout.to))
}

/// A publication that outlives the message that it came in.
pub(super) fn share(
    head: EventHead,
    topic: &str,
    fanouts: Fanouts,
    payload: PayloadBuf,
    count: &Arc<HeldCount>,
) -> Arc<Event> {
    let is_pattern = |fanout: &Fanout| fanout.policy != MatchPolicy::Exact;
    let topic = if fanouts.iter().any(is_pattern) { topic.into() } else { Box::default() };
    Arc::new(Event::new(head, topic, fanouts, payload, count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HashSeed;
    use crate::router::{
        Audience, Destination, Numbering, Realm, RealmSettings, Router, SessionRef, Settings, Slot,
    };
    use crate::wamp::{Dict, PublicationId, SessionId, SubscriptionId, Timestamp};

    const SHARDS: usize = 3;

    fn realm() -> Arc<Realm> {
        let (settings, realms) = (Settings::default(), vec![RealmSettings::named("realm1")]);
        let router = Router::new(settings, realms, SHARDS, HashSeed::new(1));
        router.realm("realm1").expect("it is configured")
    }

    fn join(realm: &Realm, uri: &str, policy: MatchPolicy, to: Destination) -> SubscriptionId {
        let joined = realm.topics.join(uri, policy, to, Timestamp::EPOCH);
        joined.expect("there is room").subscription
    }

    /// Of a session that no shard here has.
    fn publication(topic: &str) -> Publication {
        let session = SessionId::new(5).expect("a small number is an id");
        let publisher = SessionRef { session, slot: Slot::new(0), shard: ShardId::CLUSTER };
        let head = EventHead {
            publication: PublicationId::new(9).expect("a small number is an id"),
            publisher: Some(publisher),
            cause: None,
            audience: Audience::default(),
            numbering: Numbering::None,
            traced: 0,
            details: Dict::new(),
        };
        Publication { head, topic: topic.into(), payload: PayloadBuf::Empty }
    }

    /// What goes where, and how many patterns were looked up.
    fn sent(
        realm: &Realm,
        topic: &str,
        count: &Arc<HeldCount>,
    ) -> (Vec<(ShardId, Arc<Event>)>, usize) {
        let mut sent = Vec::new();
        let hand_over = |shard, event| sent.push((shard, event));
        let looked_up = fan_out(&realm.topics, publication(topic), count, hand_over);
        (sent, looked_up)
    }

    #[test]
    fn each_shard_with_receivers_gets_the_same_event_once() {
        let (realm, count) = (realm(), Arc::default());
        let (zero, two) = (Destination::from(ShardId(0)), Destination::from(ShardId(2)));
        let exact = join(&realm, "com.x.y", MatchPolicy::Exact, zero);
        assert_eq!(join(&realm, "com.x.y", MatchPolicy::Exact, two), exact);
        let (events, looked_up) = sent(&realm, "com.x.y", &count);
        let [(first, event), (second, same)] = &events[..] else { panic!("two shards get it") };
        assert_eq!((*first, *second, looked_up), (ShardId(0), ShardId(2), 1));
        assert!(Arc::ptr_eq(event, same) && event.fanouts.len() == 1);
        assert!(event.topic.is_empty(), "who has subscribed to the topic knows it");
        let prefix = join(&realm, "com.x", MatchPolicy::Prefix, zero);
        let (events, looked_up) = sent(&realm, "com.x.y", &count);
        let found: Vec<_> = events[0].1.fanouts.iter().map(|fanout| fanout.subscription).collect();
        assert_eq!((events.len(), found, looked_up), (2, vec![exact, prefix], 2));
        assert_eq!((&*events[1].1.topic, events[1].1.head.publication.get()), ("com.x.y", 9));
    }

    /// Nobody holds what nobody gets; what is held is counted until the last one has dealt with it.
    #[test]
    fn what_waits_is_counted_once_and_no_longer() {
        let (realm, count) = (realm(), Arc::<HeldCount>::default());
        join(&realm, "com.x", MatchPolicy::Exact, Destination::Store);
        let (events, _) = sent(&realm, "com.x", &count);
        assert_eq!((events.len(), count.get()), (0, 0), "a history is no shard");
        join(&realm, "com.x", MatchPolicy::Exact, ShardId(1).into());
        let (alone, _) = sent(&realm, "com.x", &count);
        let one = count.get();
        assert!(alone.len() == 1 && one > 0);
        drop(alone);
        join(&realm, "com.x", MatchPolicy::Exact, ShardId(0).into());
        let (mut events, _) = sent(&realm, "com.x", &count);
        assert_eq!((events.len(), count.get()), (2, one), "two shards share it");
        events.pop();
        assert_eq!(count.get(), one);
        events.pop();
        assert_eq!(count.get(), 0);
    }
}
