//! One trace at one shard: how much it may still take, and what it has until it is fetched.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::filter::TraceFilter;
use super::record::TraceRecord;
use super::{MOST_DELIVERED, MOST_KEPT_BYTES, PATIENCE_MS};
use crate::clock::Millis;
use crate::rate::{Bucket, Rate};
use crate::wamp::PublicationId;

/// What somebody wants to see. Every shard is asked for it again and again; one that does not know
/// it begins with it then.
#[derive(Debug)]
pub struct TraceRequest {
    /// Tells it from all others of the router.
    pub number: u64,
    /// Its place among those that run, below [`super::MOST_TRACES`]. Whoever gives it to the next
    /// one has ended this one.
    pub place: u8,
    pub filter: TraceFilter,
    /// Messages that are kept in a second, and at once.
    pub rate: u32,
    /// Bytes of JSON that are kept of a payload; 0: none.
    pub payload_bytes: usize,
    /// Counts what all shards keep, so that what follows from something comes behind it.
    pub order: AtomicU64,
}

/// What a shard has seen of a trace since it was last asked.
#[derive(Debug, Default)]
pub struct TraceHaul {
    /// In the order in which the shard dealt with them; replies come behind what they reply to.
    pub records: Vec<TraceRecord>,
    /// To be added to [`TraceRecord::receivers`], of this or another shard.
    pub delivered: Vec<Delivered>,
    /// Messages that were too many for the rate.
    pub left_out: u64,
    /// Those that were not fetched in time, so that there was no room.
    pub lost: u64,
    /// The shard begins with the trace just now. If it had begun before, nobody has asked for so
    /// long that it has forgotten it.
    pub is_beginning: bool,
}

/// So many sessions of a shard were sent the events of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub publication: PublicationId,
    pub receivers: u64,
}

#[derive(Debug)]
pub(super) struct Watch {
    pub(super) request: Arc<TraceRequest>,
    /// When it is over, however often it is asked for.
    until: Millis,
    asked: Millis,
    bucket: Bucket,
    haul: TraceHaul,
    /// Bytes of the records.
    kept_bytes: usize,
}

impl Watch {
    pub(super) fn new(request: Arc<TraceRequest>, left_ms: u64, now: Millis) -> Self {
        Self {
            request,
            until: now + left_ms,
            asked: now,
            bucket: Bucket::default(),
            haul: TraceHaul::default(),
            kept_bytes: 0,
        }
    }

    /// When it is over if nobody asks for it again.
    pub(super) fn ends_at(&self) -> Millis {
        self.until.min(self.asked + PATIENCE_MS)
    }

    pub(super) fn take(&mut self, now: Millis) -> TraceHaul {
        self.asked = now;
        self.kept_bytes = 0;
        let mut haul = std::mem::take(&mut self.haul);
        // A message that came in is complete only behind the replies to it.
        haul.records.sort_by_key(|record| record.order);
        haul
    }

    /// The place in the order of a message that is to be kept; `None` if it is too much.
    pub(super) fn admit(&mut self, now: Millis) -> Option<u64> {
        let rate = Rate::new(self.request.rate, self.request.rate)?;
        if self.bucket.ready_at(rate, now).is_some() {
            self.haul.left_out += 1;
            return None;
        }
        self.bucket.take(rate, 1, now);
        Some(self.request.order.fetch_add(1, Ordering::Relaxed))
    }

    /// Keeps what [`Self::admit`] has given this number.
    pub(super) fn keep(&mut self, mut record: TraceRecord, number: u64) {
        record.cut_payload(self.request.payload_bytes);
        let weight = record.weight();
        if self.kept_bytes + weight > MOST_KEPT_BYTES {
            self.haul.lost += 1;
            return;
        }
        self.kept_bytes += weight;
        record.order = number;
        self.haul.records.push(record);
    }

    pub(super) fn note_delivered(&mut self, delivered: Delivered) {
        if self.haul.delivered.len() < MOST_DELIVERED {
            self.haul.delivered.push(delivered);
        }
    }

    pub(super) const fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }
}
