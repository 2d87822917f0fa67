//! What observers ask of a shard, besides its sessions: each question is one step, whose length its
//! asker bounds.

use std::fmt;
use std::sync::Arc;

use crate::clock::Millis;
use crate::router::{BusyList, Busyness, Member};
use crate::shard::Turn;
use crate::wamp::{SessionId, SubscriptionId};

pub use crate::shard::{
    Delivered, MOST_TEXT_BYTES, MOST_TRACES, TraceFilter, TraceHaul, TraceRecord, TraceRequest,
};

/// A question to a shard, and who takes the answer.
pub enum Inquiry {
    /// Which URIs came most of late: as many as a shard counts.
    Busiest(Busyness, Answer<BusyList>),
    /// How many receivers some subscriptions have there.
    Receivers(Vec<SubscriptionId>, Answer<Vec<usize>>),
    /// The first receivers of some subscriptions there, but for the publisher: `most` at most.
    Members {
        ids: Vec<SubscriptionId>,
        publisher: Option<SessionId>,
        most: usize,
        answer: Answer<Vec<(SubscriptionId, Member)>>,
    },
    /// What a trace has seen there. A shard that does not know it begins with it, for `left_ms`.
    Trace { request: Arc<TraceRequest>, left_ms: u64, answer: Answer<TraceHaul> },
    /// The trace of this number is over.
    EndTrace(u64),
}

/// Takes an answer on the shard's thread.
pub type Answer<T> = Box<dyn FnOnce(T) + Send>;

impl Inquiry {
    pub(super) fn answer(self, turn: &mut Turn, now: Millis) {
        let shard = turn.shard();
        match self {
            Self::Busiest(what, answer) => answer(shard.busiest(what, now)),
            Self::Receivers(ids, answer) => answer(shard.receiver_counts(&ids)),
            Self::Members { ids, publisher, most, answer } => {
                answer(shard.first_receivers(&ids, publisher, most));
            }
            Self::Trace { request, left_ms, answer } => {
                answer(turn.fetch_trace(&request, left_ms, now));
            }
            Self::EndTrace(number) => turn.end_trace(number),
        }
    }
}

impl fmt::Debug for Inquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busiest(what, _) => f.debug_tuple("Busiest").field(what).finish(),
            Self::Members { most, .. } => f.debug_tuple("Members").field(most).finish(),
            Self::Trace { request, .. } => f.debug_tuple("Trace").field(&request.number).finish(),
            Self::EndTrace(number) => f.debug_tuple("EndTrace").field(number).finish(),
            Self::Receivers(ids, _) => f.debug_tuple("Receivers").field(&ids.len()).finish(),
        }
    }
}
