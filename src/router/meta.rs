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
    /// Subscriptions that match each topic, in the order of [`MetaTopic::ALL`].
    listeners: [AtomicU32; MetaTopic::ALL.len()],
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
