//! What another node has to know of a retained table to see what is lacking there, or here.

use std::ops::Bound;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{RetainedEvent, RetainedTable};
use crate::router::Stamp;

/// What a table or a history holds, in short. Two that hold the same say the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    pub count: u64,
    /// All publication ids, one laid over the other.
    pub digest: u64,
}

/// One event: its topic, and its stamp.
type Listed = (Arc<str>, Stamp);

impl RetainedTable {
    /// What it holds, and up to which stamp it keeps nothing more.
    pub fn holds_in_short(&self) -> (Holds, Option<Stamp>) {
        let shelf = self.0.lock();
        let count = shelf.by_age.len() as u64;
        (Holds { count, digest: shelf.digest }, shelf.floor)
    }

    /// What is kept of the topics behind `after`, by topic, of events with numbers up to `until`:
    /// until it is about so many events and bytes of topics, or so many topics were looked at, but
    /// of one topic at least. Returns also the last topic that was looked at; `None`: there are no
    /// more.
    pub fn list_behind(
        &self,
        after: Option<&str>,
        until: u64,
        (max_events, max_bytes): (usize, usize),
    ) -> Option<(Vec<Listed>, Arc<str>)> {
        let shelf = self.0.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut listed, mut bytes, mut last) = (Vec::new(), 0, None);
        let topics = shelf.topics.range::<str, _>((from, Bound::Unbounded));
        for (topic, entries) in topics.take(max_events.max(1)) {
            last = Some(topic);
            let entries = entries.iter().filter(|entry| entry.number <= until);
            let before = listed.len();
            listed.extend(entries.map(|entry| (Arc::clone(topic), entry.event.stamp)));
            bytes += (listed.len() - before) * topic.len();
            if listed.len() >= max_events || bytes >= max_bytes {
                break;
            }
        }
        last.map(|last| (listed, Arc::clone(last)))
    }

    /// The number of the last event that was stored; 0 before the first.
    pub fn last_number(&self) -> u64 {
        self.0.lock().last_number
    }

    /// The event of a topic with this stamp.
    pub fn get(&self, topic: &str, stamp: Stamp) -> Option<Arc<RetainedEvent>> {
        self.0.lock().find(topic, stamp).map(|entry| Arc::clone(&entry.event))
    }

    /// Whether an event of another node is not here and may have a place.
    pub fn lacks(&self, topic: &str, stamp: Stamp) -> bool {
        let shelf = self.0.lock();
        let entries = shelf.topics.get(topic).map_or(&[][..], Vec::as_slice);
        let is_for_all =
            |event: &RetainedEvent| event.audience.lists.is_none() && event.left_out().is_none();
        let is_here = entries.iter().any(|entry| {
            let event = &*entry.event;
            event.stamp == stamp || event.stamp > stamp && is_for_all(event)
        });
        shelf.floor < Some(stamp) && !is_here
    }

    /// Another node keeps nothing up to this stamp, since a limit was reached there: nor does this
    /// one. Drops at most so many events; returns their numbers, and whether those were all.
    pub fn raise_floor(&self, floor: Stamp, most: usize) -> (SmallVec<[u64; 2]>, bool) {
        let (mut shelf, mut released) = (self.0.lock(), SmallVec::new());
        shelf.note_stamp(floor);
        shelf.floor = shelf.floor.max(Some(floor));
        while let Some((age, _)) = shelf.by_age.first_key_value() {
            // What has a stamp is older exactly if its age is.
            if super::Age::new(floor, u64::MAX >> (64 - super::NUMBER_BITS)) < *age {
                return (released, true);
            }
            if released.len() == most {
                return (released, false);
            }
            released.extend(shelf.drop_oldest());
        }
        (released, true)
    }
}
