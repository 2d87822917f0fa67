//! Limits of one address, where it is known only after a proxy has said it.
//!
//! The acceptor judges everybody else before a shard sees the socket; see `router::Crowd`.

use super::{Admission, Shard};
use crate::clock::Millis;
use crate::rate::Rate;
use crate::router::{Seat, Slot};
use crate::transport::Origin;

impl Shard {
    /// A listed proxy says for whom a connection is. `false` if its address has too many.
    pub(super) fn note_origin(&mut self, slot: Slot, origin: Origin, now: Millis) -> bool {
        let connection = &mut self.connections[slot];
        connection.note_origin(origin);
        // All clients of a proxy would count as one.
        let is_proxy = connection.rules.trusts(connection.peer);
        if is_proxy || connection.admission != Admission::Welcome {
            return true;
        }
        match self.cx.router.crowd().enter(connection.peer, now) {
            Ok(seat) => {
                connection.seat = seat;
                true
            }
            Err(crowded) => {
                connection.admission = Admission::Crowded;
                self.cx.counters.connections_crowded.increment();
                if self.cx.log_budget.allow(now) {
                    let (peer, limit) = (connection.peer, crowded.limit());
                    tracing::info!(%peer, reason = "crowded", limit, "connection refused");
                }
                false
            }
        }
    }

    pub(super) fn give_seat(&mut self, slot: Slot, seat: Option<Box<Seat>>) {
        self.connections[slot].seat = seat;
    }

    /// Whether one more of those who are refused because of their address may wait for an answer.
    pub(super) fn may_answer(&mut self, now: Millis) -> bool {
        let rate = Rate::new(ANSWERS_PER_SECOND, ANSWERS_PER_SECOND).expect("it is no limit of 0");
        let may = self.cx.politeness.ready_at(rate, now).is_none();
        if may {
            self.cx.politeness.take(rate, 1, now);
        }
        may
    }
}

/// Answers per second and shard: each keeps a connection for as long as a handshake may take.
const ANSWERS_PER_SECOND: u32 = 16;
