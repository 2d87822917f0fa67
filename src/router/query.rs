//! The questions that `wamp.subscription.get_events` asks of a history, and the scan that answers
//! one: in pieces, since a history may be long.

use std::sync::Arc;

use super::history::StoredEvent;
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

/// A query under way, which is cut into pieces: see [`super::History::scan`].
#[derive(Debug)]
pub struct Scan {
    pub(super) query: Query,
    pub(super) stage: Stage,
    /// See [`Scan::is_complete`].
    pub(super) complete: bool,
}

/// How far a scan is. Places are numbers of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing is looked at.
    Begin,
    /// Events below the number have not been compared with the publications that the query names;
    /// what comes at `end` or later is none of the scan.
    Seek {
        below: u64,
        end: u64,
        places: Places,
    },
    /// Events from `from` to before `end` have not been looked at.
    Walk {
        from: u64,
        end: u64,
    },
    Done,
}

/// Where the publications that bound a query stand, as far as they are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) from: Option<u64>,
    pub(super) after: Option<u64>,
    pub(super) before: Option<u64>,
    pub(super) until: Option<u64>,
}

/// The next events of a scan.
#[derive(Debug)]
pub struct Page {
    /// In the direction of travel.
    pub events: Vec<Arc<StoredEvent>>,
    /// Events that were looked at, which is at least 1.
    pub units: usize,
}

impl Scan {
    /// `query.limit` is left to the caller, who takes as many events as it wants.
    pub const fn new(query: Query) -> Self {
        Self { query, stage: Stage::Begin, complete: false }
    }

    /// Whether there are no more events.
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Nothing that the filters ask for was evicted before it was looked at. Known once a first
    /// event was given or the scan is done.
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Carries a scan out: the first events in the direction of travel, up to `limit` and up to
    /// `room_bytes`, but at least one if one matches. `next` gives the next page of at most so
    /// many events.
    pub(super) fn carry_out(
        mut self,
        limit: usize,
        room_bytes: usize,
        mut next: impl FnMut(&mut Self, usize) -> Page,
    ) -> Answer {
        let limit = self.query.limit.map_or(limit, |asked| asked.min(limit));
        let (mut events, mut bytes) = (Vec::new(), 0);
        while !self.is_done() {
            // One more than are given tells that there are more.
            for event in next(&mut self, limit - events.len() + 1).events {
                bytes += event.weight();
                if events.len() >= limit || bytes > room_bytes && !events.is_empty() {
                    let complete = self.complete;
                    return Answer { events, complete, is_limit_reached: true };
                }
                events.push(event);
            }
        }
        Answer { events, complete: self.complete, is_limit_reached: false }
    }
}

impl Places {
    /// Takes note of an event that the query names.
    pub(super) fn note(&mut self, query: &Query, publication: PublicationId, number: u64) {
        let named = [
            (query.from_publication, &mut self.from),
            (query.after_publication, &mut self.after),
            (query.before_publication, &mut self.before),
            (query.until_publication, &mut self.until),
        ];
        for (named, place) in named {
            if named == Some(publication) {
                *place = Some(number);
            }
        }
    }

    /// Whether every publication that the query names is found.
    pub(super) fn are_known(&self, query: &Query) -> bool {
        query.from_publication.is_some() == self.from.is_some()
            && query.after_publication.is_some() == self.after.is_some()
            && query.before_publication.is_some() == self.before.is_some()
            && query.until_publication.is_some() == self.until.is_some()
    }
}

impl Query {
    /// Whether an event passes the filters that look at it alone.
    pub(super) fn admits(&self, event: &StoredEvent) -> bool {
        let time = event.timestamp;
        self.from_time.is_none_or(|from| time >= from)
            && self.after_time.is_none_or(|after| time > after)
            && self.before_time.is_none_or(|before| time < before)
            && self.until_time.is_none_or(|until| time <= until)
            && self.topic.as_deref().is_none_or(|topic| *event.topic == *topic)
    }
}
