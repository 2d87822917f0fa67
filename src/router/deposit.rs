//! What is handed to the store, and what a store hands back when the router starts.
//!
//! Only the shape of it: the store itself does IO, and lives elsewhere.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use super::history::{Bounds, History, StoredEvent};
use super::{Held, HeldCount, RetainedEvent, SessionRef, Weighed};
use crate::wamp::{PublicationId, RequestId, Timestamp, heap_block, vec_block};

/// What one publication leaves on disk, all or nothing.
#[derive(Debug)]
pub struct Deposit {
    pub records: Vec<Record>,
    /// Who waits for PUBLISHED.
    pub receipt: Option<Receipt>,
    /// Counts its memory until the store has dealt with it.
    pub held: Held,
}

impl Deposit {
    /// `count` is that of the shard which hands it over.
    pub fn new(records: Vec<Record>, receipt: Option<Receipt>, count: &Arc<HeldCount>) -> Self {
        let bytes = records.iter().map(Record::heap_bytes).sum::<usize>();
        let held = count.hold(size_of::<Self>() + vec_block(&records) + bytes);
        Self { records, receipt, held }
    }
}

impl Weighed for Deposit {
    fn weight(&self) -> usize {
        self.held.bytes()
    }
}

/// An acknowledged publication that is answered once it is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub publisher: SessionRef,
    /// Of the PUBLISH.
    pub request: RequestId,
    pub publication: PublicationId,
}

/// One change of what is stored. Records of several shards may come in any order.
#[derive(Clone, Debug)]
pub enum Record {
    Event {
        history: Arc<History>,
        number: u64,
        /// What has a lower number is not kept any more.
        keep_from: u64,
        evicted: Option<Timestamp>,
        event: Arc<StoredEvent>,
    },
    Trim {
        history: Arc<History>,
        keep_from: u64,
        evicted: Option<Timestamp>,
    },
    /// A history that is not configured any more.
    Forget {
        key: Box<str>,
    },
    Retained {
        realm: Arc<str>,
        number: u64,
        topic: Arc<str>,
        event: Arc<RetainedEvent>,
    },
    /// Retained events that were replaced or had to go.
    Released {
        realm: Arc<str>,
        numbers: SmallVec<[u64; 2]>,
    },
}

impl Record {
    /// Bytes that the record keeps alive besides itself.
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Event { event, .. } => event.weight(),
            Self::Retained { topic, event, .. } => event.weight(topic),
            Self::Trim { .. } => 0,
            Self::Forget { key } => heap_block(key.len()),
            Self::Released { numbers, .. } if !numbers.spilled() => 0,
            Self::Released { numbers, .. } => heap_block(numbers.capacity() * size_of::<u64>()),
        }
    }
}

/// What a store kept and the router may hold by its bounds.
#[derive(Debug, Default)]
pub struct Saved {
    pub histories: Vec<SavedHistory>,
    pub retained: Vec<SavedRetained>,
    /// What it kept besides, as records that remove it.
    pub surplus: Vec<Record>,
}

#[derive(Debug)]
pub struct SavedHistory {
    /// [`History::key`].
    pub key: Box<str>,
    pub evicted: Option<Timestamp>,
    /// By rising number; none if the history is not configured any more.
    pub events: VecDeque<(u64, Arc<StoredEvent>)>,
    /// The store has older events, which do not fit any more.
    pub is_trimmed: bool,
}

impl SavedHistory {
    /// Takes the next event that a store kept, and lets those go for it that do not fit.
    pub fn push(&mut self, number: u64, event: StoredEvent, bounds: Bounds, bytes: &mut usize) {
        *bytes += event.weight();
        self.events.push_back((number, Arc::new(event)));
        while self.events.len() > bounds.events || *bytes > bounds.bytes && self.events.len() > 1 {
            let Some((_, event)) = self.events.pop_front() else { return };
            *bytes -= event.weight();
            self.evicted = self.evicted.max(Some(event.timestamp));
            self.is_trimmed = true;
        }
    }
}

/// By realm, there by rising number.
#[derive(Debug)]
pub struct SavedRetained {
    pub realm: Box<str>,
    pub number: u64,
    pub topic: Box<str>,
    pub event: RetainedEvent,
}
