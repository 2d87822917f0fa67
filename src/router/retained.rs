//! The retained events of a realm (AP-RET): per topic the last event for everyone, and a few that
//! not everyone may receive.
//!
//! A publisher stores before it looks the subscriptions up, and a subscriber joins before it reads
//! here. So an event that a new subscriber does not get live is here when it reads, and one that
//! it reads here it can tell from those that come later: by the number that the table gave it.
//!
//! Which of two events is the last one their stamps say, which all nodes of a cluster compare
//! alike; numbers are this router's own. Alone, both rise together. What is kept in the end follows
//! from the events that there were, whatever their order of arrival was.

mod copy;
mod look;
mod succession;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use smallvec::SmallVec;

pub use copy::Holds;
pub use look::{Found, Look};

use super::{Audience, Identity, Record, SavedRetained, Stamp};
use crate::limits::Limits;
use crate::wamp::{
    Dict, PayloadBuf, PublicationId, SessionId, Timestamp, arc_block, dict_heap_bytes, heap_block,
};

/// A publication as it is kept. Immutable once it is stored.
#[derive(Debug)]
pub struct RetainedEvent {
    pub publication: PublicationId,
    pub stamp: Stamp,
    pub audience: Audience,
    /// Who has published it; only in a cluster, and only if it is for everyone else.
    pub publisher: Option<Arc<Publisher>>,
    /// All of `EVENT.Details` but `topic`.
    pub details: Dict,
    pub payload: PayloadBuf,
}

/// What lists know a publisher by, besides its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publisher {
    pub authid: Box<str>,
    pub authrole: Box<str>,
}

impl RetainedEvent {
    /// Bytes of memory that it takes under its topic.
    pub fn weight(&self, topic: &str) -> usize {
        let details = dict_heap_bytes(&self.details);
        let topic = heap_block(ARC_COUNTS_BYTES + topic.len());
        let publisher = self.publisher.as_ref().map_or(0, |publisher| publisher.weight());
        ENTRY_BYTES
            + topic
            + details
            + self.payload.heap_bytes()
            + self.audience.weight()
            + publisher
    }

    /// The publisher, if the event is not for it.
    fn left_out(&self) -> Option<Identity<'_>> {
        let names = self.publisher.as_deref();
        let (authid, authrole) = names.map_or(("", ""), |names| (&*names.authid, &*names.authrole));
        self.audience.excluded.map(|session| Identity { session, authid, authrole })
    }
}

impl Publisher {
    /// Bytes of memory that it takes, behind its `Arc`.
    fn weight(&self) -> usize {
        arc_block::<Self>() + heap_block(self.authid.len()) + heap_block(self.authrole.len())
    }
}

/// The retained events of all topics of one realm.
#[derive(Debug, Default)]
pub struct RetainedTable(Mutex<Shelf>);

/// A retained event with its number and topic.
pub type Kept = (u64, Arc<str>, Arc<RetainedEvent>);

/// What storing an event did.
#[derive(Debug, Default)]
pub struct Stored {
    /// The event's number: numbers of a realm rise in the order of storing, from 1.
    pub number: u64,
    pub stamp: Stamp,
    /// Topic and event; `None` if it was too large to be kept, or another one is later.
    pub entry: Option<(Arc<str>, Arc<RetainedEvent>)>,
    /// The numbers of events that were there before and are not any more.
    pub released: SmallVec<[u64; 2]>,
    /// Events that had to go, or could not come, because a limit was reached.
    pub dropped: u64,
}

impl Stored {
    /// What a store has to know of it.
    pub fn into_records(self, realm: &Arc<str>) -> SmallVec<[Record; 2]> {
        let (mut records, number) = (SmallVec::new(), self.number);
        if !self.released.is_empty() {
            let realm = Arc::clone(realm);
            records.push(Record::Released { realm, numbers: self.released });
        }
        if let Some((topic, event)) = self.entry {
            records.push(Record::Retained { realm: Arc::clone(realm), number, topic, event });
        }
        records
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

    /// The same for an event that another node has stamped, which may come behind later ones, or
    /// once more: then its number is the one that it has.
    pub fn store_stamped(&self, topic: &str, event: RetainedEvent, limits: &Limits) -> Stored {
        let mut shelf = self.0.lock();
        if let Some(number) = shelf.find(topic, event.stamp).map(|entry| entry.number) {
            return Stored { number, stamp: event.stamp, ..Stored::default() };
        }
        let publisher = event.publisher.clone();
        let (session, names) = (event.audience.excluded, publisher.as_deref());
        let publisher = Identity {
            session: session.unwrap_or(SessionId::ROUTER),
            authid: names.map_or("", |names| &names.authid),
            authrole: names.map_or("", |names| &names.authrole),
        };
        shelf.store(topic, event, publisher, limits)
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

    /// Whether the event of a topic with this number is still kept.
    pub fn holds(&self, topic: &str, number: u64) -> bool {
        let shelf = self.0.lock();
        let entries = shelf.topics.get(topic).map_or(&[][..], Vec::as_slice);
        entries.iter().any(|entry| entry.number == number)
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

/// Invariant: every entry stands under its topic and under its age, no topic without entries.
#[derive(Debug, Default)]
struct Shelf {
    /// Entries from old to new, by their stamps.
    topics: BTreeMap<Arc<str>, Vec<Entry>>,
    by_age: BTreeMap<Age, Arc<str>>,
    bytes: usize,
    /// All publication ids, one laid over the other.
    digest: u64,
    last_number: u64,
    /// The latest time of a stamp.
    last_stamped: Timestamp,
    /// Nothing up to this stamp is kept any more: a limit was reached, here or at another node.
    floor: Option<Stamp>,
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

    fn age(&self) -> Age {
        Age::new(self.event.stamp, self.number)
    }
}

/// Where an event stands among all: by its stamp, and those without one by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Age {
    at: Timestamp,
    /// The node in the upper bits, 0 for none, and the number.
    node_and_number: u64,
}

impl Age {
    fn new(stamp: Stamp, number: u64) -> Self {
        let node = stamp.node.map_or(0, |node| u64::from(node.get()) + 1);
        Self { at: stamp.at, node_and_number: node << NUMBER_BITS | number }
    }

    const fn number(self) -> u64 {
        self.node_and_number & ((1 << NUMBER_BITS) - 1)
    }
}

impl Shelf {
    /// The topic's name, shared with what is stored for it already.
    fn key(&self, topic: &str) -> Arc<str> {
        self.topics.get_key_value(topic).map_or_else(|| topic.into(), |(key, _)| Arc::clone(key))
    }

    /// The event of a topic with this stamp.
    fn find(&self, topic: &str, stamp: Stamp) -> Option<&Entry> {
        self.topics.get(topic)?.iter().find(|entry| entry.event.stamp == stamp)
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
        let mut stored = Stored { number, stamp: event.stamp, ..Stored::default() };
        if self.floor >= Some(event.stamp) {
            return stored;
        }
        let topic = self.key(topic);
        let is_too_large = event.weight(&topic) > limits.retained_bytes;
        let event = Arc::new(event);
        let place = self.insert(number, &topic, &event);
        self.supersede(&topic, place, publisher, is_too_large, &mut stored.released);
        stored.dropped = u64::from(is_too_large) + self.trim(limits, &mut stored.released);
        match stored.released.iter().position(|released| *released == number) {
            Some(own) => drop(stored.released.remove(own)),
            None => stored.entry = Some((topic, event)),
        }
        stored
    }

    fn note_stamp(&mut self, stamp: Stamp) {
        self.last_stamped = self.last_stamped.max(stamp.at);
    }

    /// Returns its place among the entries of its topic.
    fn insert(&mut self, number: u64, topic: &Arc<str>, event: &Arc<RetainedEvent>) -> usize {
        let weight = event.weight(topic);
        let entry = Entry { number, weight, event: Arc::clone(event) };
        self.by_age.insert(entry.age(), Arc::clone(topic));
        self.bytes += weight;
        self.digest ^= event.publication.get();
        let entries = self.topics.entry(Arc::clone(topic)).or_default();
        let place = entries.partition_point(|entry| entry.event.stamp <= event.stamp);
        entries.insert(place, entry);
        place
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

    /// Removes what nobody can get any more since there is an event at `place`; and that, too, if
    /// it is too large to be kept.
    fn supersede(
        &mut self,
        topic: &Arc<str>,
        place: usize,
        publisher: Identity<'_>,
        is_too_large: bool,
        released: &mut SmallVec<[u64; 2]>,
    ) {
        let entries = self.topics.get_mut(topic).expect("it was just put there");
        let mut goes = succession::outdated(entries, place, publisher);
        goes[place] |= is_too_large;
        let (by_age, bytes, digest) = (&mut self.by_age, &mut self.bytes, &mut self.digest);
        let mut index = 0;
        entries.retain(|entry| {
            index += 1;
            if goes[index - 1] {
                by_age.remove(&entry.age());
                *bytes -= entry.weight;
                *digest ^= entry.event.publication.get();
                released.push(entry.number);
            }
            !goes[index - 1]
        });
        if entries.is_empty() {
            self.topics.remove(topic);
        }
    }

    fn drop_oldest(&mut self) -> Option<u64> {
        let (age, topic) = self.by_age.pop_first()?;
        let entries = self.topics.get_mut(&topic).expect("what has an age has a topic");
        let position = entries.iter().position(|entry| entry.number == age.number());
        let entry = entries.remove(position.expect("what has an age is kept"));
        self.bytes -= entry.weight;
        self.digest ^= entry.event.publication.get();
        self.floor = self.floor.max(Some(entry.event.stamp));
        if entries.is_empty() {
            self.topics.remove(&topic);
        }
        Some(entry.number)
    }
}

/// How many bits of a place in the order of age are an event's number: nobody stores so many.
const NUMBER_BITS: u32 = 56;

/// What an event itself takes, the list of its topic (which begins with four places), and its
/// places in the two maps, of which half may be empty.
const ENTRY_BYTES: usize = arc_block::<RetainedEvent>()
    + heap_block(4 * size_of::<Entry>())
    + 2 * (size_of::<(Arc<str>, Vec<Entry>)>() + size_of::<(Age, Arc<str>)>())
    + MAP_LINKS_BYTES;

/// What the nodes of the two maps add to a place, for their links.
const MAP_LINKS_BYTES: usize = 32;

/// What an `Arc` has in front of a text.
const ARC_COUNTS_BYTES: usize = 16;

#[cfg(test)]
mod tests;
