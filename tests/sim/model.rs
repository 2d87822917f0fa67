//! What has been published and called, and what the router owes for it.
//!
//! Fed by the clients with what they sent and heard, never by the router itself. Sessions are
//! told apart by a tag of the simulation's own, which every payload carries.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stentor::clock::Millis;

use super::calls::Course;
use super::counting::Census;
use super::sweeping::Sweep;

/// One session of one client, in the order of their HELLOs.
pub(crate) type Tag = u64;

/// `match` of a subscription or registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Policy {
    Exact,
    Prefix,
    Wildcard,
}

impl Policy {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Wildcard => "wildcard",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pattern {
    pub(crate) realm: &'static str,
    pub(crate) uri: String,
    pub(crate) policy: Policy,
}

impl Pattern {
    pub(crate) fn matches(&self, realm: &str, uri: &str) -> bool {
        self.realm == realm
            && match self.policy {
                Policy::Exact => uri == self.uri,
                Policy::Prefix => uri.starts_with(&self.uri),
                Policy::Wildcard => {
                    let (ours, theirs) = (self.uri.split('.'), uri.split('.'));
                    ours.clone().count() == theirs.clone().count()
                        && ours.zip(theirs).all(|(ours, theirs)| ours.is_empty() || ours == theirs)
                }
            }
    }
}

/// `Arguments` and `ArgumentsKw` as they should arrive.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Payload {
    pub(crate) args: Vec<Value>,
    pub(crate) kwargs: serde_json::Map<String, Value>,
}

#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) realm: &'static str,
    pub(crate) topic: String,
    pub(crate) payload: Payload,
    pub(crate) exclude_me: bool,
    /// `PUBLISH.Options`.
    pub(crate) options: Value,
    /// `EVENT.Details` for everybody.
    pub(crate) details: Value,
    /// The publisher has heard PUBLISHED.
    pub(crate) settled: bool,
    /// The process to which it was published has not ended.
    pub(crate) is_in_memory: bool,
    /// Sent where it must have no effect: behind a violation, or with an invalid topic.
    pub(crate) void: bool,
    /// As far as somebody has heard it.
    pub(crate) id: Option<u64>,
    /// How much the publisher had sent with the end of this message.
    pub(crate) sent_bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) realm: &'static str,
    pub(crate) procedure: String,
    pub(crate) payload: Payload,
    pub(crate) void: bool,
    /// How many calls had been sent before, of all sessions.
    pub(crate) order: usize,
    /// The invocations that were heard, in their order: more than one if it was routed again.
    pub(crate) attempts: Vec<Attempt>,
    /// What a callee said that wanted the call to go to another one.
    pub(crate) refusal: Option<Answer>,
    pub(crate) answer: Option<Answer>,
    /// The only callees that could get it, if all of them are sure to be there.
    pub(crate) sure_callees: Vec<Tag>,
    pub(crate) course: Course,
}

/// An invocation.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) callee: Tag,
    pub(crate) registration: u64,
    /// When the callee heard it.
    pub(crate) at: Millis,
    /// The callee was given the timeout.
    pub(crate) forwarded: bool,
    /// The callee was unavailable.
    pub(crate) refused: bool,
}

/// What a callee said first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// `None`: YIELD.
    pub(crate) error: Option<String>,
    /// `Details` of what the caller hears.
    pub(crate) details: Value,
    pub(crate) payload: Payload,
    pub(crate) at: Millis,
    /// In payload passthru mode, which the caller did not announce.
    pub(crate) unreadable: bool,
}

/// A history, and two of its events from old to new.
type Ordered = (u64, (Tag, u64), (Tag, u64));

/// Subscriber, subscription, publisher, number of the publication.
pub(crate) type Owed = (Tag, u64, Tag, u64);

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) publications: BTreeMap<(Tag, u64), Publication>,
    pub(crate) calls: BTreeMap<(Tag, u64), Call>,
    /// Some callee takes only so many calls at once.
    pub(crate) limits_concurrency: bool,
    /// The session that left each testament, by the testament's tag.
    pub(crate) testaments: BTreeMap<Tag, u64>,

    pub(crate) census: Census,
    /// Calls that end many sessions.
    pub(crate) sweeps: Vec<Sweep>,
    /// Events that must still arrive.
    pub(crate) owed: BTreeSet<Owed>,
    /// Events that came with a new subscription: they do not come again.
    came: BTreeSet<Owed>,
    /// What each subscription or registration id is for, as long as the process lives.
    pub(crate) patterns: BTreeMap<u64, Pattern>,
    /// Of each history: pairs of events in their order.
    stored_order: BTreeSet<Ordered>,
    last_event: BTreeMap<(Tag, Tag), u64>,
    last_on_subscription: BTreeMap<(Tag, u64, Tag), u64>,
    last_call: BTreeMap<(Tag, Tag), u64>,
}

impl Model {
    /// One id is one pattern, for everybody and as long as the process lives.
    pub(crate) fn check_pattern(&mut self, id: u64, pattern: &Pattern) {
        let known = self.patterns.entry(id).or_insert_with(|| pattern.clone());
        assert_eq!(known, pattern, "id {id} stands for one pattern");
    }

    /// An event has come: not twice, and in the publisher's order, also across topics.
    pub(crate) fn note_event(
        &mut self,
        subscriber: Tag,
        subscription: u64,
        from: Tag,
        number: u64,
    ) {
        let last = self.last_on_subscription.insert((subscriber, subscription, from), number);
        assert!(last < Some(number), "event {from}/{number} after {last:?} on {subscription}");
        let last = self.last_event.insert((subscriber, from), number);
        assert!(last <= Some(number), "event {from}/{number} after {last:?} (BP-ORD-01)");
        let event = (subscriber, subscription, from, number);
        assert!(!self.came.contains(&event), "{event:?} came with the subscription (AP-RET-07)");
        self.owed.remove(&event);
    }

    /// A history has one order, whoever asks.
    pub(crate) fn note_order(&mut self, history: u64, earlier: (Tag, u64), later: (Tag, u64)) {
        let reversed = self.stored_order.contains(&(history, later, earlier));
        assert!(!reversed, "{earlier:?} was behind {later:?} in history {history} before");
        self.stored_order.insert((history, earlier, later));
    }

    pub(crate) fn note_retained(&mut self, to: Tag, subscription: u64, from: Tag, number: u64) {
        self.came.insert((to, subscription, from, number));
    }

    /// What comes with the next subscription is new.
    pub(crate) fn forget_retained(&mut self, to: Tag, subscription: u64) {
        self.came.retain(|came| (came.0, came.1) != (to, subscription));
    }

    /// A first invocation has come: in the caller's order, also across procedures.
    pub(crate) fn note_invocation(&mut self, callee: Tag, caller: Tag, number: u64) {
        let last = self.last_call.insert((callee, caller), number);
        assert!(last < Some(number), "call {caller}/{number} after {last:?} (BP-ORD-04)");
    }

    /// A subscriber cannot expect anything any more.
    pub(crate) fn forgive_subscriber(&mut self, subscriber: Tag) {
        self.owed.retain(|owed| owed.0 != subscriber);
    }

    pub(crate) fn forgive_subscription(&mut self, subscriber: Tag, subscription: u64) {
        self.owed.retain(|owed| (owed.0, owed.1) != (subscriber, subscription));
    }

    /// What a publisher sent behind its first `arrived_bytes` may not have been read.
    pub(crate) fn forgive_publisher(&mut self, publisher: Tag, arrived_bytes: u64) {
        let publications = &self.publications;
        self.owed.retain(|owed| {
            owed.2 != publisher || publications[&(owed.2, owed.3)].sent_bytes <= arrived_bytes
        });
    }

    /// Nobody is owed what was, or may have been, refused.
    pub(crate) fn forgive_publication(&mut self, publisher: Tag, number: u64) {
        self.owed.retain(|owed| (owed.2, owed.3) != (publisher, number));
    }

    /// A registration comes or goes: calls that match it may be for it, and fail with it.
    pub(crate) fn unsettle_calls(&mut self, pattern: &Pattern) {
        for call in self.calls.values_mut() {
            if pattern.matches(call.realm, &call.procedure) {
                call.sure_callees.clear();
            }
        }
    }
}
