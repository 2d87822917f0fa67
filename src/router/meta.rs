//! Meta events: which there are, whether anybody listens, and in which order they are published.
//!
//! Two shards may change one subscription at the same time, and its meta events must still come in
//! an order that makes sense (AP-RMA-01, AP-SUA-01). So each gets a number: a creation and a
//! deletion under the lock of the table's entry, what lies between from a shard that is in it. The
//! realm's home shard publishes them in the order of their numbers.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::wamp::MatchPolicy;

/// The topics of the meta events (requirements 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaTopic {
    SessionOnJoin,
    SessionOnLeave,
    RegistrationOnCreate,
    RegistrationOnRegister,
    RegistrationOnUnregister,
    RegistrationOnDelete,
    SubscriptionOnCreate,
    SubscriptionOnSubscribe,
    SubscriptionOnUnsubscribe,
    SubscriptionOnDelete,
}

impl MetaTopic {
    pub const ALL: [Self; 10] = [
        Self::SessionOnJoin,
        Self::SessionOnLeave,
        Self::RegistrationOnCreate,
        Self::RegistrationOnRegister,
        Self::RegistrationOnUnregister,
        Self::RegistrationOnDelete,
        Self::SubscriptionOnCreate,
        Self::SubscriptionOnSubscribe,
        Self::SubscriptionOnUnsubscribe,
        Self::SubscriptionOnDelete,
    ];

    pub const fn uri(self) -> &'static str {
        match self {
            Self::SessionOnJoin => "wamp.session.on_join",
            Self::SessionOnLeave => "wamp.session.on_leave",
            Self::RegistrationOnCreate => "wamp.registration.on_create",
            Self::RegistrationOnRegister => "wamp.registration.on_register",
            Self::RegistrationOnUnregister => "wamp.registration.on_unregister",
            Self::RegistrationOnDelete => "wamp.registration.on_delete",
            Self::SubscriptionOnCreate => "wamp.subscription.on_create",
            Self::SubscriptionOnSubscribe => "wamp.subscription.on_subscribe",
            Self::SubscriptionOnUnsubscribe => "wamp.subscription.on_unsubscribe",
            Self::SubscriptionOnDelete => "wamp.subscription.on_delete",
        }
    }

    pub const fn family(self) -> Option<MetaFamily> {
        match self {
            Self::SessionOnJoin | Self::SessionOnLeave => Some(MetaFamily::Sessions),
            Self::SubscriptionOnCreate
            | Self::SubscriptionOnSubscribe
            | Self::SubscriptionOnUnsubscribe
            | Self::SubscriptionOnDelete => Some(MetaFamily::Subscriptions),
            _ => None,
        }
    }
}

/// Meta events of which a node knows its own alone, and hears those of others if it listens; those
/// of registrations each node has of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetaFamily {
    Sessions,
    Subscriptions,
}

impl MetaFamily {
    pub const ALL: [Self; 2] = [Self::Sessions, Self::Subscriptions];

    /// Those of which a subscription hears something.
    pub fn heard_by(uri: &str, policy: MatchPolicy) -> impl Iterator<Item = Self> {
        let mut heard = [false; Self::ALL.len()];
        let families = matched(uri, policy).filter_map(MetaTopic::family);
        families.for_each(|family| heard[family as usize] = true);
        Self::ALL.into_iter().filter(move |family| heard[*family as usize])
    }

    fn topics(self) -> impl Iterator<Item = MetaTopic> {
        MetaTopic::ALL.into_iter().filter(move |topic| topic.family() == Some(self))
    }
}

/// The numbers of the meta events of a departure: whoever leaves last, deletes, and nothing comes
/// between the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Departure {
    /// Of `on_unsubscribe` or `on_unregister`, if somebody listens.
    pub left: Option<u64>,
    /// Of `on_delete`, if it was the last one and somebody listens.
    pub deleted: Option<u64>,
}

/// A realm's meta events: the listeners of each topic, and the numbers given out.
#[derive(Debug, Default)]
pub struct MetaFeed {
    /// Subscriptions that match each topic, in the order of [`MetaTopic::ALL`], and whoever wants
    /// all of its family.
    listeners: [AtomicU32; MetaTopic::ALL.len()],
    /// How many want all of a family, in the order of [`MetaFamily::ALL`].
    wanted: [AtomicU32; MetaFamily::ALL.len()],
    given: AtomicU64,
    is_closed: AtomicBool,
}

impl MetaFeed {
    /// The number of a meta event, counted from 0; `None` if nobody listens or the feed is closed,
    /// so that nothing is made. Whoever takes a number must send its event to the home shard: the
    /// next ones wait.
    #[must_use]
    pub fn number(&self, topic: MetaTopic) -> Option<u64> {
        let heard = self.listeners[topic as usize].load(Ordering::Acquire) > 0;
        let heard = heard && !self.is_closed.load(Ordering::Acquire);
        heard.then(|| self.given.fetch_add(1, Ordering::AcqRel))
    }

    /// No further numbers are given: the router shuts down, and everybody leaves. All shards stop
    /// together, so that nobody hears of what followed from something that was kept quiet.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// How many numbers were given out.
    pub fn given(&self) -> u64 {
        self.given.load(Ordering::Acquire)
    }

    /// A subscription was made.
    pub(super) fn add(&self, uri: &str, policy: MatchPolicy) {
        for topic in matched(uri, policy) {
            self.listeners[topic as usize].fetch_add(1, Ordering::Release);
        }
    }

    /// A subscription has died.
    pub(super) fn remove(&self, uri: &str, policy: MatchPolicy) {
        for topic in matched(uri, policy) {
            self.listeners[topic as usize].fetch_sub(1, Ordering::Release);
        }
    }

    /// Somebody wants each event of a family, whatever is subscribed to here: another node, or this
    /// one, to know what stands.
    pub fn want(&self, family: MetaFamily) {
        self.wanted[family as usize].fetch_add(1, Ordering::SeqCst);
        for topic in family.topics() {
            self.listeners[topic as usize].fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The reverse of [`Self::want`].
    pub fn want_no_more(&self, family: MetaFamily) {
        for topic in family.topics() {
            self.listeners[topic as usize].fetch_sub(1, Ordering::SeqCst);
        }
        self.wanted[family as usize].fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether somebody wants each event of a family.
    pub fn is_wanted(&self, family: MetaFamily) -> bool {
        self.wanted[family as usize].load(Ordering::Acquire) > 0
    }

    /// Whether a subscription here hears something of a family. To be asked by the thread that
    /// tells what is wanted.
    pub fn is_heard(&self, family: MetaFamily) -> bool {
        let wanted = self.wanted[family as usize].load(Ordering::Acquire);
        let mut topics = family.topics();
        topics.any(|topic| self.listeners[topic as usize].load(Ordering::Acquire) > wanted)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.listeners.iter().all(|count| count.load(Ordering::Acquire) == 0)
    }
}

fn matched(uri: &str, policy: MatchPolicy) -> impl Iterator<Item = MetaTopic> {
    // The common case, first: other topics do not begin as these do.
    let possible = match policy {
        MatchPolicy::Exact => uri.starts_with("wamp."),
        MatchPolicy::Prefix => uri.starts_with("wamp.") || "wamp.".starts_with(uri),
        MatchPolicy::Wildcard => uri.starts_with("wamp.") || uri.starts_with('.'),
    };
    let all = if possible { MetaTopic::ALL.as_slice() } else { &[] };
    all.iter().copied().filter(move |topic| policy.matches(uri, topic.uri()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_while_somebody_listens() {
        for (uri, policy) in [
            ("wamp.session.on_join", MatchPolicy::Exact),
            ("", MatchPolicy::Prefix),
            ("wamp.session.on_j", MatchPolicy::Prefix),
            ("wam", MatchPolicy::Prefix),
            ("..", MatchPolicy::Wildcard),
            ("wamp..on_join", MatchPolicy::Wildcard),
            (".session.", MatchPolicy::Wildcard),
        ] {
            let feed = MetaFeed::default();
            assert_eq!(feed.number(MetaTopic::SessionOnJoin), None);
            feed.add(uri, policy);
            assert_eq!(feed.number(MetaTopic::SessionOnJoin), Some(0), "{uri}");
            assert_eq!(feed.number(MetaTopic::SessionOnJoin), Some(1), "{uri}");
            feed.remove(uri, policy);
            assert_eq!(feed.number(MetaTopic::SessionOnJoin), None, "{uri}");
            assert!(feed.is_idle());
        }
    }

    /// All of a family is numbered for whoever wants that, and nobody is taken for a listener.
    #[test]
    fn a_family_is_numbered_while_it_is_wanted() {
        let feed = MetaFeed::default();
        feed.want(MetaFamily::Subscriptions);
        assert_eq!(feed.number(MetaTopic::SubscriptionOnDelete), Some(0));
        assert_eq!(feed.number(MetaTopic::SessionOnLeave), None);
        assert_eq!(feed.number(MetaTopic::RegistrationOnDelete), None);
        let is_heard = || MetaFamily::ALL.map(|family| feed.is_heard(family));
        assert_eq!(is_heard(), [false, false]);
        feed.add("wamp.", MatchPolicy::Prefix);
        assert_eq!(is_heard(), [true, true]);
        feed.want(MetaFamily::Sessions);
        feed.remove("wamp.", MatchPolicy::Prefix);
        assert_eq!(is_heard(), [false, false]);
        MetaFamily::ALL.into_iter().for_each(|family| feed.want_no_more(family));
        assert_eq!(feed.number(MetaTopic::SubscriptionOnDelete), None);
        assert!(feed.is_idle() && !feed.is_wanted(MetaFamily::Sessions));
    }

    #[test]
    fn a_pattern_hears_families() {
        let heard = |uri, policy| MetaFamily::heard_by(uri, policy).collect::<Vec<_>>();
        assert_eq!(heard("", MatchPolicy::Prefix), MetaFamily::ALL);
        assert_eq!(heard("wamp.session.on_leave", MatchPolicy::Exact), [MetaFamily::Sessions]);
        assert_eq!(heard("..on_create", MatchPolicy::Wildcard), [MetaFamily::Subscriptions]);
        assert_eq!(heard("wamp.registration.", MatchPolicy::Prefix), []);
        assert_eq!(heard("com.x", MatchPolicy::Exact), []);
    }

    #[test]
    fn a_closed_feed_gives_no_numbers() {
        let feed = MetaFeed::default();
        feed.add("wamp.", MatchPolicy::Prefix);
        assert_eq!(feed.number(MetaTopic::SubscriptionOnCreate), Some(0));
        feed.close();
        assert_eq!(feed.number(MetaTopic::SubscriptionOnSubscribe), None);
        assert_eq!(feed.given(), 1);
    }

    #[test]
    fn other_subscriptions_hear_nothing() {
        let feed = MetaFeed::default();
        for (uri, policy) in [
            ("wamp.session.on_leave", MatchPolicy::Exact),
            ("com.x", MatchPolicy::Exact),
            ("wamp.session.on_joi", MatchPolicy::Exact),
            ("wamp.registration", MatchPolicy::Prefix),
            (".", MatchPolicy::Wildcard),
            ("...", MatchPolicy::Wildcard),
        ] {
            feed.add(uri, policy);
        }
        assert_eq!(feed.number(MetaTopic::SessionOnJoin), None);
    }
}
