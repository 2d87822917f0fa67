//! What sessions have asked for that all nodes are to know.

use std::collections::{BTreeMap, BTreeSet};

use super::super::rosters::Feed;
use crate::router::{InterestSlot, SessionRef, Shape};
use crate::wamp::SessionId;

/// What others are told since the last turn, and the sessions that wait until all know. A slot
/// stands here once for each time that it is told, so it is not taken for confirmed by what was
/// said before it was given up.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) slots: Vec<InterestSlot>,
    pub(super) shapes: Vec<Shape>,
    /// The last of each session.
    pub(super) tickets: BTreeMap<SessionId, (SessionRef, u64)>,
    /// The meta events to which sessions listen anew.
    pub(super) feeds: BTreeMap<SessionId, BTreeSet<Feed>>,
    /// The last revision of the bucket that has granted them something.
    pub(super) revision: u64,
}

impl Asked {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
            && self.shapes.is_empty()
            && self.tickets.is_empty()
            && self.feeds.is_empty()
    }

    /// Adds what was asked for at another time.
    pub(super) fn take_in(&mut self, other: Self) {
        self.slots.extend(other.slots);
        self.shapes.extend(other.shapes);
        self.revision = self.revision.max(other.revision);
        for (session, feeds) in other.feeds {
            self.feeds.entry(session).or_default().extend(feeds);
        }
        for (session, (at, ticket)) in other.tickets {
            let (_, last) = self.tickets.entry(session).or_insert((at, ticket));
            *last = ticket.max(*last);
        }
    }
}
