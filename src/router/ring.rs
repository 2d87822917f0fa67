//! A bounded list of events, and the questions that `wamp.subscription.get_events` asks of it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Identity;
use super::history::{Bounds, StoredEvent};
use crate::wamp::{PublicationId, Timestamp};

/// The filters of one request (AP-HIS-03). All that are present must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// From new to old.
    pub reverse: bool,
    /// The first so many events in the direction of travel; `None`: all.
    pub limit: Option<usize>,
    pub from_time: Option<Timestamp>,
    pub after_time: Option<Timestamp>,
    pub before_time: Option<Timestamp>,
    pub until_time: Option<Timestamp>,
    pub topic: Option<String>,
    /// Publications stand for their position, since their ids are in no order. What is not kept
    /// has none: as a lower bound it lets nothing through, as an upper bound everything.
    pub from_publication: Option<PublicationId>,
    pub after_publication: Option<PublicationId>,
    pub before_publication: Option<PublicationId>,
    pub until_publication: Option<PublicationId>,
}

/// The answer to a [`Query`].
#[derive(Debug)]
pub struct Answer {
    /// In the direction of travel.
    pub events: Vec<Arc<StoredEvent>>,
    /// Nothing that the filters ask for was evicted before: it reaches back as far as asked.
    pub complete: bool,
    /// More events match than could be given at once.
    pub is_limit_reached: bool,
}

/// What appending an event did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The event's number: numbers of a history rise by one in the order of receipt, from 1.
    pub number: u64,
    /// No event with a lower number is kept any more.
    pub keep_from: u64,
    /// The latest time of an event that was evicted, ever.
    pub evicted: Option<Timestamp>,
    /// Events that had to go.
    pub dropped: usize,
}

/// All that a history holds at one moment.
#[derive(Debug)]
pub struct Holding {
    /// By rising number.
    pub events: Vec<(u64, Arc<StoredEvent>)>,
    /// Of the newest event that ever came; 0 before the first.
    pub last_number: u64,
    /// No event with a lower number is kept any more.
    pub keep_from: u64,
    /// The latest time of an event that was evicted, ever.
    pub evicted: Option<Timestamp>,
}

/// Invariant: numbers rise from front to back, and `bytes` is the sum of the weights.
#[derive(Debug, Default)]
pub(super) struct Ring {
    entries: VecDeque<Entry>,
    last_number: u64,
    bytes: usize,
    evicted: Option<Timestamp>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    weight: usize,
    event: Arc<StoredEvent>,
}

impl Ring {
    /// A ring with events and their numbers, which rise.
    pub(super) fn restored(
        events: impl IntoIterator<Item = (u64, Arc<StoredEvent>)>,
        evicted: Option<Timestamp>,
    ) -> Self {
        let mut ring = Self { evicted, ..Self::default() };
        for (number, event) in events {
            debug_assert!(number > ring.last_number, "a store keeps the order");
            ring.append(number, event);
        }
        ring
    }

    pub(super) fn push(
        &mut self,
        event: Arc<StoredEvent>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Pushed {
        let number = self.last_number + 1;
        self.append(number, event);
        let dropped = self.expire(bounds, now);
        let (keep_from, evicted) = self.edge();
        Pushed { number, keep_from, evicted, dropped }
    }

    fn append(&mut self, number: u64, event: Arc<StoredEvent>) {
        self.last_number = number;
        let weight = event.weight();
        self.bytes += weight;
        self.entries.push_back(Entry { number, weight, event });
    }

    /// Evicts what is too much or too old, oldest first. Returns how many events that were.
    pub(super) fn expire(&mut self, bounds: Bounds, now: Timestamp) -> usize {
        let before = self.entries.len();
        while let Some(front) = self.entries.front() {
            let too_much = self.entries.len() > bounds.events
                || self.bytes > bounds.bytes && self.entries.len() > 1;
            let too_old = bounds.age_ms.is_some_and(|age_ms| {
                now.unix_ms().saturating_sub(front.event.timestamp.unix_ms()).cast_unsigned()
                    > age_ms
                    && now > front.event.timestamp
            });
            if !too_much && !too_old {
                break;
            }
            self.bytes -= front.weight;
            self.evicted = self.evicted.max(Some(front.event.timestamp));
            self.entries.pop_front();
        }
        before - self.entries.len()
    }

    /// The first number that is kept, or would be; and the latest time among the evicted.
    pub(super) fn edge(&self) -> (u64, Option<Timestamp>) {
        let first = self.entries.front().map_or(self.last_number + 1, |entry| entry.number);
        (first, self.evicted)
    }

    pub(super) fn query(
        &self,
        query: &Query,
        requester: Identity<'_>,
        limit: usize,
        room_bytes: usize,
    ) -> Answer {
        let Query { from_publication, after_publication, .. } = *query;
        let mut answer = Answer {
            events: Vec::new(),
            complete: self.reaches_back_to(query),
            is_limit_reached: false,
        };
        let (mut start, mut end) = (0, self.entries.len());
        for (publication, skipped) in [(from_publication, 0), (after_publication, 1)] {
            let Some(publication) = publication else { continue };
            match self.position(publication) {
                Some(position) => start = start.max(position + skipped),
                None => return Answer { complete: false, ..answer },
            }
            // What follows a kept event is kept.
            answer.complete = true;
        }
        let Query { before_publication, until_publication, .. } = *query;
        for (publication, taken) in [(before_publication, 0), (until_publication, 1)] {
            let position = publication.and_then(|publication| self.position(publication));
            end = position.map_or(end, |position| end.min(position + taken));
        }
        let range = self.entries.range(start.min(end)..end);
        let limit = query.limit.map_or(limit, |asked| asked.min(limit));
        if query.reverse {
            answer.collect(range.rev(), query, requester, limit, room_bytes);
        } else {
            answer.collect(range, query, requester, limit, room_bytes);
        }
        answer
    }

    /// Whether no evicted event can have matched the lower bounds in time.
    fn reaches_back_to(&self, query: &Query) -> bool {
        self.evicted.is_none_or(|evicted| {
            query.from_time.is_some_and(|from| evicted < from)
                || query.after_time.is_some_and(|after| evicted <= after)
        })
    }

    /// Sought from the newest on: who asks was usually there not long ago.
    fn position(&self, publication: PublicationId) -> Option<usize> {
        self.entries.iter().rposition(|entry| entry.event.publication == publication)
    }

    pub(super) fn holding(&self) -> Holding {
        let events = self.entries.iter().map(|entry| (entry.number, Arc::clone(&entry.event)));
        let (keep_from, evicted) = self.edge();
        Holding { events: events.collect(), last_number: self.last_number, keep_from, evicted }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn check_invariants(&self, bounds: Bounds) {
        assert!(self.entries.len() <= bounds.events);
        assert!(self.bytes <= bounds.bytes || self.entries.len() == 1);
        assert_eq!(self.bytes, self.entries.iter().map(|entry| entry.weight).sum::<usize>());
        assert!(self.entries.iter().is_sorted_by(|a, b| a.number < b.number));
        assert!(self.entries.back().is_none_or(|entry| entry.number == self.last_number));
    }
}

impl Answer {
    fn collect<'r>(
        &mut self,
        entries: impl Iterator<Item = &'r Entry>,
        query: &Query,
        requester: Identity<'_>,
        limit: usize,
        room_bytes: usize,
    ) {
        let mut bytes = 0;
        for Entry { event, weight, .. } in entries {
            if !query.admits(event) || !event.admits(requester) {
                continue;
            }
            bytes += weight;
            if self.events.len() >= limit || bytes > room_bytes && !self.events.is_empty() {
                self.is_limit_reached = true;
                return;
            }
            self.events.push(Arc::clone(event));
        }
    }
}

impl Query {
    /// Whether an event passes the filters that look at it alone.
    fn admits(&self, event: &StoredEvent) -> bool {
        let time = event.timestamp;
        self.from_time.is_none_or(|from| time >= from)
            && self.after_time.is_none_or(|after| time > after)
            && self.before_time.is_none_or(|before| time < before)
            && self.until_time.is_none_or(|until| time <= until)
            && self.topic.as_deref().is_none_or(|topic| *event.topic == *topic)
    }
}

#[cfg(test)]
mod tests;
