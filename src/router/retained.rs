//! The retained events of a realm (AP-RET): per topic the last event for everyone, and a few that
//! not everyone may receive.
//!
//! A publisher stores before it looks the subscriptions up, and a subscriber joins before it reads
//! here. So an event that a new subscriber does not get live is here when it reads, and one that
//! it reads here it can tell from those that come later: by the number that the table gave it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::{Audience, Identity, SavedRetained};
use crate::limits::Limits;
use crate::wamp::{Dict, MatchPolicy, PayloadBuf, PublicationId};

/// A publication as it is kept. Immutable once it is stored.
#[derive(Debug)]
pub struct RetainedEvent {
    pub publication: PublicationId,
    pub audience: Audience,
    /// All of `EVENT.Details` but `topic`.
    pub details: Dict,
    pub payload: PayloadBuf,
}

impl RetainedEvent {
    /// Bytes that it is counted with.
    pub fn weight(&self, topic: &str) -> usize {
        weight(topic, self)
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
    /// Topic and event; `None` if it was too large to be kept.
    pub entry: Option<(Arc<str>, Arc<RetainedEvent>)>,
    /// The numbers of events that were there before and are not any more.
    pub released: SmallVec<[u64; 2]>,
    /// Events that had to go, or could not come, because a limit was reached.
    pub dropped: u64,
}

/// The retained events that one subscriber gets.
#[derive(Debug)]
pub struct Found {
    /// The number of the last event that was stored on the realm; 0 before the first.
    pub last_number: u64,
    /// Topic and event, in the order of publication.
    pub events: Vec<(Arc<str>, Arc<RetainedEvent>)>,
}

impl RetainedTable {
    /// Makes an event the topic's retained event for those who may receive it (AP-RET-01).
    pub fn store(
        &self,
        topic: &str,
        event: RetainedEvent,
        publisher: Identity<'_>,
        limits: &Limits,
    ) -> Stored {
        let mut shelf = self.0.lock();
        shelf.last_number += 1;
        let number = shelf.last_number;
        let topic = shelf.key(topic);
        let mut released = shelf.supersede(&topic, &event.audience, publisher);
        if weight(&topic, &event) > limits.retained_bytes {
            return Stored { number, entry: None, released, dropped: 1 };
        }
        let event = Arc::new(event);
        shelf.insert(number, &topic, &event);
        let dropped = shelf.trim(limits, &mut released);
        Stored { number, entry: Some((topic, event)), released, dropped }
    }

    /// Takes back an event that a store kept, by rising number. Returns what has to go for it.
    pub(super) fn restore(&self, saved: SavedRetained, limits: &Limits) -> SmallVec<[u64; 2]> {
        let mut shelf = self.0.lock();
        let mut released = SmallVec::new();
        debug_assert!(saved.number > shelf.last_number, "a store keeps the order");
        shelf.last_number = saved.number;
        let topic = shelf.key(&saved.topic);
        shelf.insert(saved.number, &topic, &Arc::new(saved.event));
        shelf.trim(limits, &mut released);
        released
    }

    /// For each topic that matches, the most recent event that `receiver` would have got when it
    /// was published (AP-RET-02, AP-RET-05). If they are more than `limit`, the most recent ones.
    pub fn find(
        &self,
        uri: &str,
        policy: MatchPolicy,
        receiver: Identity<'_>,
        limit: usize,
    ) -> Found {
        let shelf = self.0.lock();
        let mut found = Vec::new();
        let mut look = |topic: &Arc<str>, entries: &[Entry]| {
            let newest = entries.iter().rev().find(|entry| entry.event.audience.admits(receiver));
            if let Some(Entry { number, event, .. }) = newest {
                found.push((*number, Arc::clone(topic), Arc::clone(event)));
            }
        };
        if policy == MatchPolicy::Exact {
            if let Some((topic, entries)) = shelf.topics.get_key_value(uri) {
                look(topic, entries);
            }
        } else {
            let literal = literal_start(uri, policy);
            let from = (Bound::Included(literal), Bound::Unbounded);
            let candidates = shelf.topics.range::<str, _>(from);
            for (topic, entries) in candidates.take_while(|(topic, _)| topic.starts_with(literal)) {
                if policy.matches(uri, topic) {
                    look(topic, entries);
                }
            }
        }
        let last_number = shelf.last_number;
        drop(shelf);
        found.sort_unstable_by_key(|(number, ..)| *number);
        let surplus = found.len().saturating_sub(limit);
        let events = found.into_iter().skip(surplus).map(|(_, topic, event)| (topic, event));
        Found { last_number, events: events.collect() }
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
    /// Entries from old to new.
    topics: BTreeMap<Arc<str>, Vec<Entry>>,
    by_age: BTreeMap<u64, Arc<str>>,
    bytes: usize,
    last_number: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    weight: usize,
    event: Arc<RetainedEvent>,
}

impl Shelf {
    /// The topic's name, shared with what is stored for it already.
    fn key(&self, topic: &str) -> Arc<str> {
        self.topics.get_key_value(topic).map_or_else(|| topic.into(), |(key, _)| Arc::clone(key))
    }

    fn insert(&mut self, number: u64, topic: &Arc<str>, event: &Arc<RetainedEvent>) {
        let weight = weight(topic, event);
        self.by_age.insert(number, Arc::clone(topic));
        self.bytes += weight;
        let entry = Entry { number, weight, event: Arc::clone(event) };
        self.topics.entry(Arc::clone(topic)).or_default().push(entry);
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

    /// Removes what nobody can get any more once an event for `audience` is stored.
    fn supersede(
        &mut self,
        topic: &Arc<str>,
        audience: &Audience,
        publisher: Identity<'_>,
    ) -> SmallVec<[u64; 2]> {
        let mut released = SmallVec::new();
        let Some(entries) = self.topics.get_mut(topic) else { return released };
        let is_limited = |entry: &Entry| entry.event.audience.lists.is_some();
        let spared = if audience.lists.is_none() {
            // The publisher does not get its own event, so the one before is still its last.
            let admitted = |entry: &&Entry| entry.event.audience.admits(publisher);
            let left_out = audience.excluded.is_some();
            let last = entries.iter().rev().find(admitted).filter(|_| left_out);
            Spared::Only(last.map(|entry| entry.number))
        } else {
            let limited = entries.iter().filter(|entry| is_limited(entry));
            let full = limited.clone().count() >= LIMITED_EVENTS_PER_TOPIC;
            Spared::AllBut(limited.map(|entry| entry.number).next().filter(|_| full))
        };
        let (by_age, bytes) = (&mut self.by_age, &mut self.bytes);
        entries.retain(|entry| {
            let stays = entry.event.audience != *audience
                && match spared {
                    Spared::Only(number) => number == Some(entry.number),
                    Spared::AllBut(number) => number != Some(entry.number),
                };
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

fn weight(topic: &str, event: &RetainedEvent) -> usize {
    let payload = event.payload.as_payload().weight();
    ENTRY_BYTES + topic.len() + payload + event.audience.weight()
}

/// Events for some receivers only that are kept per topic, besides those for everyone.
const LIMITED_EVENTS_PER_TOPIC: usize = 8;

/// A round figure for what an entry takes besides topic, payload and lists, in bytes.
const ENTRY_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wamp::{ReceiverFilter, SessionId};

    fn id(number: u64) -> SessionId {
        SessionId::new(number).expect("a small number is an id")
    }

    fn session(number: u64) -> Identity<'static> {
        Identity { session: id(number), authid: "joe", authrole: "user" }
    }

    /// The sessions `eligible` may receive it, or everyone; the publisher only if `to_self`.
    fn audience(publisher: u64, to_self: bool, eligible: Option<&[u64]>) -> Audience {
        let filter = eligible.map(|numbers| {
            let ids = numbers.iter().map(|number| id(*number)).collect();
            Box::new(ReceiverFilter { eligible: Some(ids), ..ReceiverFilter::default() })
        });
        Audience::new((!to_self).then_some(id(publisher)), filter)
    }

    fn event(publication: u64, audience: Audience) -> RetainedEvent {
        let publication = PublicationId::new(publication).expect("a small number is an id");
        RetainedEvent { publication, audience, details: Dict::new(), payload: PayloadBuf::Empty }
    }

    /// The publication ids of what session `receiver` gets.
    fn found(table: &RetainedTable, uri: &str, policy: MatchPolicy, receiver: u64) -> Vec<u64> {
        let found = table.find(uri, policy, session(receiver), 100);
        found.events.iter().map(|(_, event)| event.publication.get()).collect()
    }

    /// AP-RET-02, AP-RET-03, AP-RET-05
    #[test]
    fn everyone_gets_the_last_event_that_was_for_them() {
        let table = RetainedTable::default();
        let limits = Limits::default();
        let mut number = 0;
        let mut store = |publisher, to_self, eligible: Option<&[u64]>| {
            number += 1;
            let event = event(number, audience(publisher, to_self, eligible));
            table.store("com.x", event, session(publisher), &limits);
        };
        let get = |receiver| found(&table, "com.x", MatchPolicy::Exact, receiver);
        store(1, true, None);
        assert_eq!((get(1), get(2)), (vec![1], vec![1]));
        store(1, false, None);
        store(1, false, None);
        assert_eq!((get(1), get(2)), (vec![1], vec![3]), "the publisher has none but the first");
        store(2, false, Some(&[5]));
        assert_eq!((get(1), get(2), get(5)), (vec![1], vec![3], vec![4]));
        store(2, false, Some(&[]));
        assert_eq!((get(5), get(2)), (vec![4], vec![3]), "an event for nobody replaces none");
        for receiver in 10..30 {
            store(3, true, Some(&[receiver]));
        }
        assert_eq!((get(22), get(29), get(2)), (vec![18], vec![25], vec![3]), "some are kept");
        assert_eq!(get(21), [3], "the oldest of limited distribution went");
        store(3, true, None);
        assert_eq!((get(1), get(5), get(29)), (vec![26], vec![26], vec![26]));
        assert_eq!(table.len(), 1, "nothing else is kept");
    }

    /// AP-RET-06
    #[test]
    fn a_pattern_finds_all_its_topics_in_the_order_of_publication() {
        use MatchPolicy::{Exact, Prefix, Wildcard};
        let table = RetainedTable::default();
        let topics = ["com.b.x", "com.a.x", "com.a", "com.a.xy", "com.a.x.y", "org.a.x"];
        for (number, topic) in (1..).zip(topics) {
            let event = event(number, audience(1, true, None));
            table.store(topic, event, session(1), &Limits::default());
        }
        for (uri, policy, expected) in [
            ("com.a", Exact, &[3][..]),
            ("com.b", Exact, &[]),
            ("com.a", Prefix, &[2, 3, 4, 5]),
            ("com.a.x", Prefix, &[2, 4, 5]),
            ("", Prefix, &[1, 2, 3, 4, 5, 6]),
            ("com..x", Wildcard, &[1, 2]),
            (".a.x", Wildcard, &[2, 6]),
            ("..", Wildcard, &[1, 2, 4, 6]),
            ("com.a.x", Wildcard, &[2]),
            ("com.", Wildcard, &[3]),
        ] {
            assert_eq!(found(&table, uri, policy, 2), expected, "{policy:?} {uri:?}");
        }
        let newest = table.find("", Prefix, session(2), 2).events;
        assert_eq!(newest[0].1.publication.get(), 5, "the most recent ones, in their order");
    }

    /// AP-RET-08: at a limit the oldest event goes, whatever its topic.
    #[test]
    fn the_oldest_event_goes_first() {
        let table = RetainedTable::default();
        let limits = Limits { retained_events: 2, ..Limits::default() };
        let store = |number, topic, limits: &Limits| {
            table.store(topic, event(number, audience(1, true, None)), session(1), limits)
        };
        let outcome = |stored: Stored| (stored.number, stored.released.to_vec(), stored.dropped);
        assert_eq!(outcome(store(1, "com.a", &limits)), (1, vec![], 0));
        store(2, "com.b", &limits);
        assert_eq!(outcome(store(3, "com.a", &limits)), (3, vec![1], 0));
        assert_eq!(outcome(store(4, "com.c", &limits)), (4, vec![2], 1));
        assert_eq!(found(&table, "com", MatchPolicy::Prefix, 2), [3, 4]);
        let bytes = table.bytes();
        let tight = Limits { retained_bytes: bytes / 2, ..limits };
        assert_eq!(store(5, "com.c", &tight).dropped, 1);
        assert_eq!(found(&table, "com", MatchPolicy::Prefix, 2), [5]);
        let none = Limits { retained_bytes: 1, ..limits };
        assert_eq!(store(6, "com.c", &none).dropped, 1, "too large to be kept at all");
        assert!(table.is_empty(), "and what it replaces is out of date");
        assert_eq!(table.bytes(), 0);
    }
}
