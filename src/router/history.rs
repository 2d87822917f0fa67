//! The event history of a realm (AP-HIS): for each configured pattern the last events that it
//! matched, in the order of receipt, kept in memory within bounds.
//!
//! A history stands in the topic table as [`Destination::Store`], so a publication to any
//! other topic does not notice that there are histories. What is to survive the process leaves as
//! a [`Deposit`]; queries never wait for it, since they are answered from here.

mod copy;

use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::deposit::{Record, SavedHistory};
use super::query::{Answer, Page, Query, Scan};
use super::ring::{Holding, Pushed, RING_ENTRY_BYTES, Ring};
use super::topics::TopicTable;
use super::{Destination, Fanout, Identity, ReceiverLists};
use crate::hash::{HashSeed, Map};
use crate::limits::Limits;
use crate::wamp::{
    Dict, MatchPolicy, PayloadBuf, PublicationId, SubscriptionId, Timestamp, arc_block,
    dict_heap_bytes, heap_block,
};

/// One pattern whose events are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HistorySettings {
    /// A topic, or a pattern under `policy`.
    pub topic: String,
    #[serde(rename = "match")]
    pub policy: MatchPolicy,
    /// Events kept; one more and the oldest goes. `None`: `limits.history_events`.
    pub events: Option<usize>,
    /// Bytes kept; over it the oldest go, but never the newest. `None`: `limits.history_bytes`.
    pub bytes: Option<usize>,
    /// Milliseconds that an event is kept; `None`: as long as there is room.
    pub age_ms: Option<u64>,
    pub store: HistoryStore,
}

/// Where a history lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HistoryStore {
    /// It ends with the router.
    #[default]
    Memory,
    /// It is also on disk, and an acknowledged publication is there for sure.
    Durable,
}

/// Where `wamp.subscription.get_events` puts the events; the specification can be read both ways
/// (AP-HIS-04).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HistoryAnswer {
    /// Each event is one argument.
    #[default]
    Arguments,
    /// The only argument is a list of them.
    List,
    /// Whoever asks without keyword arguments gets what crossbar gives: the newest events, as many
    /// as the second argument says (10), as a list and nothing else. For others as `List`.
    Crossbar,
}

/// A publication as histories keep it. Immutable, shared by all histories that it belongs to.
#[derive(Debug)]
pub struct StoredEvent {
    pub timestamp: Timestamp,
    pub publication: PublicationId,
    pub topic: Box<str>,
    /// Lists of names only: what names sessions is not kept (AP-HIS-06).
    pub lists: Option<Arc<ReceiverLists>>,
    /// All of `EVENT.Details` but `topic`.
    pub details: Dict,
    pub payload: PayloadBuf,
}

impl StoredEvent {
    /// Whether a requester may read it: the session that published it may, too (AP-HIS-06).
    pub fn admits(&self, requester: Identity<'_>) -> bool {
        self.lists.as_ref().is_none_or(|lists| lists.admit(requester))
    }

    /// Bytes of memory that it takes, all of them for each history that it is in.
    pub fn weight(&self) -> usize {
        let lists = self.lists.as_ref().map_or(0, |lists| lists.weight());
        let details = dict_heap_bytes(&self.details);
        let topic = heap_block(self.topic.len());
        EVENT_BYTES + topic + details + self.payload.heap_bytes() + lists
    }
}

/// What a history may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub events: usize,
    pub bytes: usize,
    pub age_ms: Option<u64>,
}

/// The history of one subscription.
#[derive(Debug)]
pub struct History {
    pub subscription: SubscriptionId,
    pub policy: MatchPolicy,
    pub is_durable: bool,
    /// Names the history in a store, across restarts.
    pub key: Box<str>,
    bounds: Bounds,
    ring: Mutex<Ring>,
}

impl History {
    /// Appends an event. The order of these calls is the order of receipt.
    pub fn push(&self, event: Arc<StoredEvent>) -> Pushed {
        let now = event.timestamp;
        self.ring.lock().push(event, self.bounds, now)
    }

    /// What a store has to know of an event that was appended; `None` if no store keeps it.
    pub fn record_of(self: &Arc<Self>, pushed: Pushed, event: &Arc<StoredEvent>) -> Option<Record> {
        let Pushed { number, keep_from, evicted, .. } = pushed;
        let (history, event) = (Arc::clone(self), Arc::clone(event));
        self.is_durable.then_some(Record::Event { history, number, keep_from, evicted, event })
    }

    /// What `requester` may read of it; see [`Query`]. At most `limit` events of together
    /// `room_bytes`, but at least one if one matches.
    pub fn query(
        &self,
        query: &Query,
        requester: Identity<'_>,
        now: Timestamp,
        limit: usize,
        room_bytes: usize,
    ) -> Answer {
        let scan = Scan::new(query.clone());
        scan.carry_out(limit, room_bytes, |scan, most| self.scan(scan, requester, now, most, PIECE))
    }

    /// The next events of a scan: at most `max_events` of those that `requester` may read, and
    /// after at most `max_units` were looked at or evicted. What is published after its first piece
    /// is none of it.
    ///
    /// Who leaves out an event that its client cannot take goes on for another: so a page is never
    /// empty while there is one to give.
    pub fn scan(
        &self,
        scan: &mut Scan,
        requester: Identity<'_>,
        now: Timestamp,
        max_events: usize,
        max_units: usize,
    ) -> Page {
        let max_units = max_units.max(1);
        let mut ring = self.ring.lock();
        let evicted = ring.expire(self.bounds, now, max_units);
        if evicted >= max_units {
            return Page { events: Vec::new(), units: evicted };
        }
        let mut page = ring.scan(scan, requester, max_events, max_units - evicted);
        page.units += evicted;
        page
    }

    /// What it may hold.
    pub const fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Whether events of several topics may be in it.
    pub fn is_pattern(&self) -> bool {
        self.policy != MatchPolicy::Exact
    }

    /// All that it holds, with the numbers.
    pub fn events(&self) -> Vec<(u64, Arc<StoredEvent>)> {
        self.holding().events
    }

    /// What a store of it has to have at this moment, and nothing else. The lock is held while the
    /// pointers are copied, so this is for a store that has lost its file, and for tests.
    pub fn holding(&self) -> Holding {
        self.ring.lock().holding()
    }

    /// Of these numbers, which rise, how many are of events that it holds.
    pub fn count_held(&self, numbers: &std::collections::BTreeSet<u64>) -> usize {
        let (keep_from, _) = self.ring.lock().edge();
        numbers.range(keep_from..).count()
    }

    /// How many events it holds.
    pub fn len(&self) -> usize {
        self.ring.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that its events are counted with.
    pub fn bytes(&self) -> usize {
        self.ring.lock().bytes()
    }

    /// Checks that it is within its bounds. For debug builds and tests.
    pub fn check_invariants(&self) {
        self.ring.lock().check_invariants(self.bounds);
    }

    /// Fills an empty history with what a store kept of it, and says what the store can forget.
    pub(super) fn restore(self: &Arc<Self>, saved: SavedHistory, now: Timestamp) -> Option<Record> {
        let mut ring = self.ring.lock();
        ring.restore(saved.events, saved.evicted);
        let trimmed = ring.expire(self.bounds, now, usize::MAX);
        let (keep_from, evicted) = ring.edge();
        drop(ring);
        let has_surplus = trimmed > 0 || saved.is_trimmed;
        has_surplus.then(|| Record::Trim { history: Arc::clone(self), keep_from, evicted })
    }
}

/// The histories of one realm, fixed from its start.
#[derive(Debug)]
pub struct HistoryTable(Map<SubscriptionId, Arc<History>>);

impl HistoryTable {
    /// Enters each configured pattern as a subscription that stays (AP-HIS-01). In a cluster
    /// (`shared`) it is what this node wants, for as long as the realm is there.
    pub(super) fn new(
        (realm, settings): (&str, &[HistorySettings]),
        topics: &TopicTable,
        limits: &Limits,
        (seed, shared): (&HashSeed, bool),
        now: Timestamp,
    ) -> Self {
        let mut table = seed.map();
        for HistorySettings { topic, policy, events, bytes, age_ms, store } in settings {
            let joined = topics.join(topic, *policy, Destination::Store, now);
            let subscription = joined.expect("a history is never refused").subscription;
            let history = History {
                subscription,
                policy: *policy,
                is_durable: *store == HistoryStore::Durable,
                // No part holds a space, so no two histories share a key.
                key: format!("{realm} {} {topic}", policy.as_str()).into(),
                bounds: Bounds {
                    events: events.unwrap_or(limits.history_events),
                    bytes: bytes.unwrap_or(limits.history_bytes),
                    age_ms: *age_ms,
                },
                ring: Mutex::new(Ring::new(shared.then(|| seed.set()))),
            };
            table.insert(subscription, Arc::new(history));
        }
        Self(table)
    }

    pub fn get(&self, subscription: SubscriptionId) -> Option<&Arc<History>> {
        self.0.get(&subscription)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<History>> {
        self.0.values()
    }

    /// The histories among what matches a topic.
    pub fn among(&self, fanouts: &[Fanout]) -> impl Iterator<Item = &Arc<History>> {
        let kept = fanouts.iter().filter(|fanout| fanout.to.contains(Destination::Store));
        let known = "only a history stands in the topic table as one";
        kept.map(move |fanout| self.get(fanout.subscription).expect(known))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What an event itself takes, and its place in the ring, of which half may be empty.
const EVENT_BYTES: usize = arc_block::<StoredEvent>() + 2 * RING_ENTRY_BYTES;

/// Events that a query which is not cut by its caller looks at under one lock.
const PIECE: usize = 1_024;
