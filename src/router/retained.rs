//! The retained events of a realm (AP-RET): per topic the last event for everyone, and a few that
//! not everyone may receive.
//!
//! A publisher stores before it looks the subscriptions up, and a subscriber joins before it reads
//! here. So an event that a new subscriber does not get live is here when it reads, and one that
//! it reads here it can tell from those that come later: by the number that the table gave it.
//!
//! Which of two events is the last one their stamps say, which all nodes of a cluster compare
//! alike; numbers are this router's own. Alone, both rise together.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::{Audience, Identity, SavedRetained, Stamp};
use crate::limits::Limits;
use crate::wamp::{
    Dict, MatchPolicy, PayloadBuf, PublicationId, Timestamp, arc_block, dict_heap_bytes, heap_block,
};

/// A publication as it is kept. Immutable once it is stored.
#[derive(Debug)]
pub struct RetainedEvent {
    pub publication: PublicationId,
    pub stamp: Stamp,
    pub audience: Audience,
    /// All of `EVENT.Details` but `topic`.
    pub details: Dict,
    pub payload: PayloadBuf,
}

impl RetainedEvent {
    /// Bytes of memory that it takes under its topic.
    pub fn weight(&self, topic: &str) -> usize {
        let details = dict_heap_bytes(&self.details);
        let topic = heap_block(ARC_COUNTS_BYTES + topic.len());
        ENTRY_BYTES + topic + details + self.payload.heap_bytes() + self.audience.weight()
    }
}

/// The retained events of all topics of one realm.
#[derive(Debug, Default)]
pub struct RetainedTable(Mutex<Shelf>);

/// A retained event with its number and topic.
pub type Kept = (u64, Arc<str>, Arc<RetainedEvent>);

/// What storing an event did.
#[derive(Debug)]
pub struct Stored {
    /// The event's number: numbers of a realm rise in the order of storing, from 1.
    pub number: u64,
    /// Topic and event; `None` if it was too large to be kept, or another one is later.
    pub entry: Option<(Arc<str>, Arc<RetainedEvent>)>,
    /// The numbers of events that were there before and are not any more.
    pub released: SmallVec<[u64; 2]>,
    /// Events that had to go, or could not come, because a limit was reached.
    pub dropped: u64,
}

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
    /// Where the next piece begins: with the newest event below this number.
    below: u64,
    is_done: bool,
    /// Number, topic and event; never more than `limit`.
    found: Vec<(u64, Arc<str>, Arc<RetainedEvent>)>,
}

impl Look {
    /// A look under `policy` for at most `limit` events: the most recent ones.
    pub const fn new(policy: MatchPolicy, limit: usize) -> Self {
        let found = Vec::new();
        Self { policy, limit, last_number: None, below: u64::MAX, is_done: false, found }
    }

    /// Whether nothing is left to look at.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// What was found.
    pub fn finish(mut self) -> Found {
        // From new to old; a topic whose newest event went meanwhile may have come twice.
        self.found.sort_unstable_by_key(|(number, ..)| Reverse(*number));
        let mut seen = BTreeSet::new();
        self.found.retain(|(_, topic, _)| seen.insert(Arc::clone(topic)));
        let events = self.found.into_iter().rev().collect();
        Found { last_number: self.last_number.unwrap_or_default(), events }
    }
}

impl RetainedTable {
    /// Makes an event of this node the topic's retained event for those who may receive it
    /// (AP-RET-01). Its stamp becomes a later one than any that the table has seen.
    pub fn store(
        &self,
        topic: &str,
        mut event: RetainedEvent,
        publisher: Identity<'_>,
        limits: &Limits,
    ) -> Stored {
        let mut shelf = self.0.lock();
        let next = Timestamp::from_unix_us(shelf.last_stamped.unix_us() + 1);
        event.stamp.at = event.stamp.at.max(next);
        shelf.store(topic, event, publisher, limits)
    }

    /// The same for an event that another node has stamped, which may come behind later ones.
    pub fn store_stamped(
        &self,
        topic: &str,
        event: RetainedEvent,
        publisher: Identity<'_>,
        limits: &Limits,
    ) -> Stored {
        self.0.lock().store(topic, event, publisher, limits)
    }

    /// Takes back an event that a store kept, by rising number. Returns what has to go for it.
    pub(super) fn restore(&self, saved: SavedRetained, limits: &Limits) -> SmallVec<[u64; 2]> {
        let mut shelf = self.0.lock();
        let mut released = SmallVec::new();
        debug_assert!(saved.number > shelf.last_number, "a store keeps the order");
        shelf.last_number = saved.number;
        shelf.note_stamp(saved.event.stamp);
        let topic = shelf.key(&saved.topic);
        shelf.insert(saved.number, &topic, &Arc::new(saved.event));
        shelf.trim(limits, &mut released);
        released
    }

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

    /// All that is kept, in no order, and the number of the last event that was stored. The lock is
    /// held while the pointers are copied, so this is for a store that has lost its file.
    pub fn holding(&self) -> (u64, Vec<Kept>) {
        let shelf = self.0.lock();
        let mut events = Vec::with_capacity(shelf.by_age.len());
        for (topic, entries) in &shelf.topics {
            let share = |entry: &Entry| (entry.number, Arc::clone(topic), Arc::clone(&entry.event));
            events.extend(entries.iter().map(share));
        }
        (shelf.last_number, events)
    }

    /// Whether the event with this number is still kept.
    pub fn holds(&self, number: u64) -> bool {
        self.0.lock().by_age.contains_key(&number)
    }

    /// How many events are kept.
    pub fn len(&self) -> usize {
        self.0.lock().by_age.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the kept events are counted with.
    pub fn bytes(&self) -> usize {
        self.0.lock().bytes
    }
}

/// Invariant: every entry stands under its topic and under its number, no topic without entries.
#[derive(Debug, Default)]
struct Shelf {
    /// Entries from old to new, by their stamps.
    topics: BTreeMap<Arc<str>, Vec<Entry>>,
    by_age: BTreeMap<u64, Arc<str>>,
    bytes: usize,
    last_number: u64,
    /// The latest time of a stamp.
    last_stamped: Timestamp,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    weight: usize,
    event: Arc<RetainedEvent>,
}

impl Entry {
    /// Whether it is for some only.
    fn is_limited(&self) -> bool {
        self.event.audience.lists.is_some()
    }
}

impl Shelf {
    /// The topic's name, shared with what is stored for it already.
    fn key(&self, topic: &str) -> Arc<str> {
        self.topics.get_key_value(topic).map_or_else(|| topic.into(), |(key, _)| Arc::clone(key))
    }

    fn store(
        &mut self,
        topic: &str,
        event: RetainedEvent,
        publisher: Identity<'_>,
        limits: &Limits,
    ) -> Stored {
        self.last_number += 1;
        let number = self.last_number;
        self.note_stamp(event.stamp);
        let topic = self.key(topic);
        if self.is_behind(&topic, &event) {
            return Stored { number, entry: None, released: SmallVec::new(), dropped: 0 };
        }
        let mut released = self.supersede(&topic, &event, publisher);
        if event.weight(&topic) > limits.retained_bytes {
            return Stored { number, entry: None, released, dropped: 1 };
        }
        let event = Arc::new(event);
        self.insert(number, &topic, &event);
        let dropped = self.trim(limits, &mut released);
        Stored { number, entry: Some((topic, event)), released, dropped }
    }

    fn note_stamp(&mut self, stamp: Stamp) {
        self.last_stamped = self.last_stamped.max(stamp.at);
    }

    /// Whether later events of the topic leave nothing of this one: one for everyone does, though
    /// its publisher may not get it; so does one for the same, and a full list of those for some.
    fn is_behind(&self, topic: &str, event: &RetainedEvent) -> bool {
        let entries = self.topics.get(topic).map_or(&[][..], Vec::as_slice);
        let earlier = entries.partition_point(|entry| entry.event.stamp <= event.stamp);
        let later = &entries[earlier..];
        let replaces =
            |entry: &Entry| !entry.is_limited() || entry.event.audience == event.audience;
        later.iter().any(replaces) || later.len() >= LIMITED_EVENTS_PER_TOPIC
    }

    fn insert(&mut self, number: u64, topic: &Arc<str>, event: &Arc<RetainedEvent>) {
        let weight = event.weight(topic);
        self.by_age.insert(number, Arc::clone(topic));
        self.bytes += weight;
        let entries = self.topics.entry(Arc::clone(topic)).or_default();
        let place = entries.partition_point(|entry| entry.event.stamp <= event.stamp);
        entries.insert(place, Entry { number, weight, event: Arc::clone(event) });
    }

    /// Drops the oldest events until the limits hold. Returns how many they were.
    fn trim(&mut self, limits: &Limits, released: &mut SmallVec<[u64; 2]>) -> u64 {
        let mut dropped = 0;
        while self.by_age.len() > limits.retained_events || self.bytes > limits.retained_bytes {
            released.extend(self.drop_oldest());
            dropped += 1;
        }
        dropped
    }

    /// Removes what nobody can get any more once `event` is stored.
    fn supersede(
        &mut self,
        topic: &Arc<str>,
        event: &RetainedEvent,
        publisher: Identity<'_>,
    ) -> SmallVec<[u64; 2]> {
        let mut released = SmallVec::new();
        let Some(entries) = self.topics.get_mut(topic) else { return released };
        let audience = &event.audience;
        let spared = if audience.lists.is_none() {
            // The publisher does not get its own event, so the one before is still its last.
            let admitted = |entry: &&Entry| entry.event.audience.admits(publisher);
            let left_out = audience.excluded.is_some();
            let last = entries.iter().rev().find(admitted).filter(|_| left_out);
            Spared::Only(last.map(|entry| entry.number))
        } else {
            let limited = entries.iter().filter(|entry| entry.is_limited());
            let full = limited.clone().count() >= LIMITED_EVENTS_PER_TOPIC;
            Spared::AllBut(limited.map(|entry| entry.number).next().filter(|_| full))
        };
        let (by_age, bytes) = (&mut self.by_age, &mut self.bytes);
        entries.retain(|entry| {
            let is_spared = entry.event.audience != *audience
                && match spared {
                    Spared::Only(number) => number == Some(entry.number),
                    Spared::AllBut(number) => number != Some(entry.number),
                };
            let stays = is_spared || entry.event.stamp > event.stamp;
            if !stays {
                by_age.remove(&entry.number);
                *bytes -= entry.weight;
                released.push(entry.number);
            }
            stays
        });
        if entries.is_empty() {
            self.topics.remove(topic);
        }
        released
    }

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
            look.found.sort_unstable_by_key(|(number, ..)| Reverse(*number));
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
        let mut events = self.by_age.range(..look.below.min(last_number.saturating_add(1))).rev();
        let mut units = 0;
        while units < max_units && look.found.len() < look.limit {
            let Some((number, topic)) = events.next() else {
                look.is_done = true;
                return units;
            };
            units += 1;
            look.below = *number;
            if look.policy.matches(uri, topic) {
                let topic = self.topics.get_key_value(topic).expect("what has an age has a topic");
                let newest = newest(topic, receiver);
                look.found.extend(newest.filter(|(newest, ..)| newest == number));
            }
        }
        look.is_done = look.found.len() >= look.limit;
        units
    }

    fn drop_oldest(&mut self) -> Option<u64> {
        let (number, topic) = self.by_age.pop_first()?;
        let entries = self.topics.get_mut(&topic).expect("what has an age has a topic");
        let position = entries.iter().position(|entry| entry.number == number);
        let entry = entries.remove(position.expect("what has an age is kept"));
        self.bytes -= entry.weight;
        if entries.is_empty() {
            self.topics.remove(&topic);
        }
        Some(number)
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

/// Which entries of a topic survive a new one.
#[derive(Clone, Copy)]
enum Spared {
    Only(Option<u64>),
    AllBut(Option<u64>),
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
const FEW_TOPICS: usize = 64;

/// Events that a look which is not cut by its caller looks at under one lock.
const PIECE: usize = 1_024;

/// Events for some receivers only that are kept per topic, besides those for everyone.
const LIMITED_EVENTS_PER_TOPIC: usize = 8;

/// What an event itself takes, the list of its topic (which begins with four places), and its
/// places in the two maps, of which half may be empty.
const ENTRY_BYTES: usize = arc_block::<RetainedEvent>()
    + heap_block(4 * size_of::<Entry>())
    + 2 * (size_of::<(Arc<str>, Vec<Entry>)>() + size_of::<(u64, Arc<str>)>())
    + MAP_LINKS_BYTES;

/// What the nodes of the two maps add to a place, for their links.
const MAP_LINKS_BYTES: usize = 32;

/// What an `Arc` has in front of a text.
const ARC_COUNTS_BYTES: usize = 16;

#[cfg(test)]
mod tests;
