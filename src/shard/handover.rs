//! Requests that are for others than WAMP: their connections leave the shard, socket and all.
//!
//! What is handed over is a connection that no session was ever on, and on which nothing was
//! written: its socket, what was read of it, and what is known of its peer. From then on the shard
//! knows nothing of it. Whoever takes it may refuse; then it is answered here.

use std::sync::Arc;

use super::{Admission, Shard};
use crate::address::Address;
use crate::clock::Millis;
use crate::router::{Seat, Slot};
use crate::transport::TransportRules;

/// A connection that is handed over, but for its socket.
#[derive(Debug)]
pub struct HandOver {
    /// What has come of it: a whole head of an HTTP request, and what was read with it.
    pub input: Vec<u8>,
    /// Where it comes from, as a listed proxy says or as its socket does.
    pub peer: Address,
    /// Whether that is a listed proxy, which has not said for whom it speaks.
    pub is_by_proxy: bool,
    /// Nobody on the way to the router, or to a listed proxy, can read along.
    pub is_confidential: bool,
    /// What the listener demanded when it accepted the connection.
    pub rules: Arc<TransportRules>,
    /// Its place among the connections of its address, which it keeps until it is dropped.
    pub seat: Option<Box<Seat>>,
}

impl Shard {
    /// A connection has sent a request for others: it leaves behind this visit.
    pub(super) fn depart(&mut self, slot: Slot, input: &[u8], now: Millis) {
        let origin = self.connections[slot].transport.take_origin();
        if let Some(origin) = origin
            && !self.note_origin(slot, *origin, now)
        {
            self.refuse_full(slot, input, now);
            return;
        }
        if self.is_closed() {
            self.refuse_departing(slot, input, Admission::Stopping, now);
            return;
        }
        self.cx.work.charge(HANDOVER_UNITS);
        debug_assert!(self.departing.is_none(), "one connection is visited at a time");
        self.departing = Some((slot, input.to_vec()));
    }

    /// Whether [`Self::take_departing`] has something.
    #[inline]
    pub(super) const fn has_departing(&self) -> bool {
        self.departing.is_some()
    }

    /// The connection that leaves, and what its next owner gets of it.
    pub(super) fn take_departing(&mut self) -> Option<(Slot, HandOver)> {
        let (slot, input) = self.departing.take()?;
        let connection = self.connections.get_mut(slot).filter(|connection| !connection.is_gone());
        let connection = connection?;
        debug_assert!(connection.output.is_empty(), "nothing was written to it");
        let handover = HandOver {
            input,
            peer: connection.peer,
            is_by_proxy: connection.rules.trusts(connection.peer),
            is_confidential: connection.is_confidential,
            rules: Arc::clone(&connection.rules),
            seat: connection.seat.take(),
        };
        Some((slot, handover))
    }

    /// Somebody has it: the shard forgets it.
    pub(super) fn forget_departed(&mut self, slot: Slot) {
        self.cx.counters.connections_handed_over.increment();
        self.remove(slot);
    }

    /// Nobody takes it: it gets an answer here.
    pub(super) fn keep_departing(&mut self, slot: Slot, handover: HandOver, now: Millis) {
        self.connections[slot].seat = handover.seat;
        self.refuse_departing(slot, &handover.input, Admission::Full, now);
        self.settle(now);
    }

    fn refuse_departing(&mut self, slot: Slot, input: &[u8], because: Admission, now: Millis) {
        self.connections[slot].admission = because;
        self.refuse_full(slot, input, now);
    }
}

/// What it costs to take a socket out of the poller and to wake another thread.
const HANDOVER_UNITS: usize = 500;
