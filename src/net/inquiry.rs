//! What observers ask of a shard, besides its sessions: each question is one step, whose length its
//! asker bounds.

use std::fmt;

use crate::clock::Millis;
use crate::router::{BusyList, Busyness, Member};
use crate::shard::Shard;
use crate::wamp::{SessionId, SubscriptionId};

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
}

/// Takes an answer on the shard's thread.
pub type Answer<T> = Box<dyn FnOnce(T) + Send>;

impl Inquiry {
    pub(super) fn answer(self, shard: &Shard, now: Millis) {
        match self {
            Self::Busiest(what, answer) => answer(shard.busiest(what, now)),
            Self::Receivers(ids, answer) => answer(shard.receiver_counts(&ids)),
            Self::Members { ids, publisher, most, answer } => {
                answer(shard.first_receivers(&ids, publisher, most));
            }
        }
    }
}

impl fmt::Debug for Inquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busiest(what, _) => f.debug_tuple("Busiest").field(what).finish(),
            Self::Members { most, .. } => f.debug_tuple("Members").field(most).finish(),
            Self::Receivers(ids, _) => f.debug_tuple("Receivers").field(&ids.len()).finish(),
        }
    }
}
