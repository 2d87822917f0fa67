//! Looking for the retained events of a pattern, in pieces.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use super::super::Identity;
use super::{Age, Entry, Kept, RetainedEvent, RetainedTable, Shelf};
use crate::wamp::MatchPolicy;

/// The retained events that one subscriber gets.
#[derive(Debug)]
pub struct Found {
    /// The number of the last event that was stored on the realm when the look began; 0 before
    /// the first.
    pub last_number: u64,
    /// Number, topic and event, in the order of publication.
    pub events: Vec<(u64, Arc<str>, Arc<RetainedEvent>)>,
}

/// A look for retained events under way, which may be cut into pieces: see
/// [`RetainedTable::look`].
#[derive(Debug)]
pub struct Look {
    policy: MatchPolicy,
    limit: usize,
    /// Set by the first piece.
    last_number: Option<u64>,
    /// Where the next piece begins: with the newest event that is older; `None`: with the newest.
    below: Option<Age>,
    is_done: bool,
    /// Number, topic and event; never more than `limit`.
    found: Vec<(u64, Arc<str>, Arc<RetainedEvent>)>,
}

impl Look {
    /// A look under `policy` for at most `limit` events: the most recent ones.
    pub const fn new(policy: MatchPolicy, limit: usize) -> Self {
        let found = Vec::new();
        Self { policy, limit, last_number: None, below: None, is_done: false, found }
    }

    /// Whether nothing is left to look at.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// What was found.
    pub fn finish(mut self) -> Found {
        // From new to old; a topic whose newest event went meanwhile may have come twice.
        self.found.sort_unstable_by_key(by_recency);
        let mut seen = BTreeSet::new();
        self.found.retain(|(_, topic, _)| seen.insert(Arc::clone(topic)));
        let events = self.found.into_iter().rev().collect();
        Found { last_number: self.last_number.unwrap_or_default(), events }
    }
}

impl RetainedTable {
    /// For each topic that matches, the most recent event that `receiver` would have got when it
    /// was published (AP-RET-02, AP-RET-05). If they are more than `limit`, the most recent ones.
    ///
    /// Looks at all of them, however many. Others get at the table in between.
    pub fn find(
        &self,
        uri: &str,
        policy: MatchPolicy,
        receiver: Identity<'_>,
        limit: usize,
    ) -> Found {
        let mut look = Look::new(policy, limit);
        while !look.is_done() {
            self.look(&mut look, uri, receiver, PIECE);
        }
        look.finish()
    }

    /// Goes on with a look under the pattern `uri`, for about `max_units` events or topics. Returns
    /// how many it looked at, which is at least 1.
    ///
    /// An event that is stored after the first piece is none of it: a subscriber that joined before
    /// gets that live.
    pub fn look(
        &self,
        look: &mut Look,
        uri: &str,
        receiver: Identity<'_>,
        max_units: usize,
    ) -> usize {
        let max_units = max_units.max(1);
        let shelf = self.0.lock();
        let is_first = look.last_number.is_none();
        look.last_number.get_or_insert(shelf.last_number);
        let mut units = match (look.policy, is_first) {
            (MatchPolicy::Exact, _) => shelf.look_at_topic(look, uri, receiver),
            (_, true) => shelf.look_at_topics(look, uri, receiver, max_units),
            (_, false) => 0,
        };
        if !look.is_done {
            units += shelf.look_back(look, uri, receiver, max_units.saturating_sub(units));
        }
        drop(shelf);
        units.max(1)
    }
}

impl Shelf {
    fn look_at_topic(&self, look: &mut Look, uri: &str, receiver: Identity<'_>) -> usize {
        let topic = self.topics.get_key_value(uri);
        look.found.extend(topic.and_then(|topic| newest(topic, receiver)));
        look.found.truncate(look.limit);
        look.is_done = true;
        1
    }

    /// Looks at the topics that begin as the pattern does, if they are few. Else nothing is found:
    /// under a broad pattern the way back in time finds enough sooner.
    fn look_at_topics(
        &self,
        look: &mut Look,
        uri: &str,
        receiver: Identity<'_>,
        max_units: usize,
    ) -> usize {
        let literal = literal_start(uri, look.policy);
        let from = (Bound::Included(literal), Bound::Unbounded);
        let candidates = self.topics.range::<str, _>(from);
        let mut candidates = candidates.take_while(|(topic, _)| topic.starts_with(literal));
        let few = FEW_TOPICS.min(max_units);
        let mut units = 0;
        for topic in candidates.by_ref().take(few) {
            units += 1;
            if look.policy.matches(uri, topic.0) {
                look.found.extend(newest(topic, receiver));
            }
        }
        if candidates.next().is_none() {
            look.is_done = true;
            look.found.sort_unstable_by_key(by_recency);
            look.found.truncate(look.limit);
        } else {
            look.found.clear();
        }
        units
    }

    /// Looks at events from new to old, until enough are found.
    fn look_back(
        &self,
        look: &mut Look,
        uri: &str,
        receiver: Identity<'_>,
        max_units: usize,
    ) -> usize {
        let last_number = look.last_number.unwrap_or_default();
        let older = look.below.map_or(Bound::Unbounded, Bound::Excluded);
        let mut events = self.by_age.range((Bound::Unbounded, older)).rev();
        let mut units = 0;
        while units < max_units && look.found.len() < look.limit {
            let Some((age, topic)) = events.next() else {
                look.is_done = true;
                return units;
            };
            units += 1;
            look.below = Some(*age);
            if age.number() <= last_number && look.policy.matches(uri, topic) {
                let topic = self.topics.get_key_value(topic).expect("what has an age has a topic");
                let newest = newest(topic, receiver);
                look.found.extend(newest.filter(|(newest, ..)| *newest == age.number()));
            }
        }
        look.is_done = look.found.len() >= look.limit;
        units
    }
}

/// The most recent event of a topic that was for `receiver`, with its number.
fn newest(
    (topic, entries): (&Arc<str>, &Vec<Entry>),
    receiver: Identity<'_>,
) -> Option<(u64, Arc<str>, Arc<RetainedEvent>)> {
    let newest = entries.iter().rev().find(|entry| entry.event.audience.admits(receiver))?;
    Some((newest.number, Arc::clone(topic), Arc::clone(&newest.event)))
}

/// For lists from new to old.
fn by_recency((number, _, event): &Kept) -> Reverse<Age> {
    Reverse(Age::new(event.stamp, *number))
}

/// What every topic that matches a pattern begins with.
fn literal_start(uri: &str, policy: MatchPolicy) -> &str {
    if policy != MatchPolicy::Wildcard {
        return uri;
    }
    let open = if uri.starts_with('.') { Some(0) } else { uri.find("..").map(|dots| dots + 1) };
    &uri[..open.unwrap_or(uri.len())]
}

/// Topics that a look goes through by name before it goes back in time.
pub(super) const FEW_TOPICS: usize = 64;

/// Events that a look which is not cut by its caller looks at under one lock.
const PIECE: usize = 1_024;
