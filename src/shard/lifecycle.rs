//! How sessions and connections end: GOODBYE, ABORT, loss, kill, shutdown (BP-SES, BP-LT, BP-PV).

use std::collections::VecDeque;

use super::connection::Phase;
use super::drain::{DISMISSAL_UNITS, Drain};
use super::mailbox::BatchNumber;
use super::review::Review;
use super::suspension::Suspension;
use super::work::LOOKUP_UNITS;
use super::{SendError, Shard};
use crate::clock::Millis;
use crate::router::{EndReason, GoodbyeReply, Slot};
use crate::transport::{CloseCode, Transport};
use crate::wamp::{CloseReason, RouterMessage, WampError};

impl EndReason {
    /// `GOODBYE.Reason` where nothing else was asked for.
    pub(super) const fn close_uri(self) -> &'static str {
        match self {
            Self::RealmClosed => CloseReason::CloseRealm.uri(),
            Self::Shutdown | Self::CutOff => CloseReason::SystemShutdown.uri(),
            Self::TokenExpired => CloseReason::TokenExpired.uri(),
            _ => CloseReason::Killed.uri(),
        }
    }
}

/// What follows when the client has answered the router's GOODBYE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    pub(super) code: CloseCode,
}

/// Whether the router is about to stop, and if so who is still to be told.
#[derive(Debug, Default)]
pub(super) enum Shutdown {
    #[default]
    No,
    /// Sessions leave one after the other, and nobody joins.
    Draining(Drain),
    /// All leave at once.
    Dismissing(Dismissal),
    /// It does not stop, and serves clients until then if nothing prolongs it.
    Until(Millis),
    /// It does not stop, but serves nobody for now.
    Suspended(Suspension),
}

/// Everybody is told to leave, once they have what was accepted for them before.
#[derive(Debug)]
pub(super) struct Dismissal {
    slots: VecDeque<Slot>,
    /// Mail before this batch came before, too.
    before: BatchNumber,
    /// Longer than that deliveries are not waited for: others may begin meanwhile.
    until: Millis,
}

impl Shutdown {
    pub(super) fn has_jobs(&self) -> bool {
        match self {
            Self::No | Self::Until(_) | Self::Draining(_) => false,
            Self::Dismissing(Dismissal { slots, .. }) => !slots.is_empty(),
            Self::Suspended(suspension) => suspension.has_jobs(),
        }
    }

    fn next(&mut self) -> Option<Slot> {
        match self {
            Self::No | Self::Until(_) | Self::Draining(_) | Self::Suspended(_) => None,
            Self::Dismissing(dismissal) => dismissal.slots.pop_front(),
        }
    }
}

impl Shard {
    /// The socket failed or reached its end: nothing more can be said (BP-LT-01).
    pub fn handle_lost(&mut self, slot: Slot, now: Millis) {
        if self.connections.get(slot).is_some_and(|connection| !connection.is_gone()) {
            self.end_session(slot, EndReason::TransportLost, now);
            self.remove(slot);
            self.settle(now);
        }
    }

    /// Refuses new sessions and says GOODBYE to those that are here, as many as a step allows;
    /// [`Self::go_on_shutting_down`] does the rest.
    pub(super) fn begin_shutdown(&mut self, now: Millis) {
        self.cx.edition.realms().for_each(|realm| realm.feed.close());
        self.review = Review::default();
        let slots = self.connections.iter().map(|(slot, _)| slot).collect();
        let before = self.mailbox.next();
        let until = now + self.cx.settings().timeouts.close_ms;
        self.shutdown = Shutdown::Dismissing(Dismissal { slots, before, until });
    }

    /// Whether everybody has what was accepted before the shutdown.
    fn may_dismiss(&self, now: Millis) -> bool {
        let Shutdown::Dismissing(Dismissal { before, until, .. }) = &self.shutdown else {
            return false;
        };
        self.mailbox.has_come_to(*before) && (self.deliveries.is_empty() || *until <= now)
    }

    pub(super) const fn is_shutting_down(&self) -> bool {
        matches!(self.shutdown, Shutdown::Dismissing(_))
    }

    /// Whether nobody may join any more, or for now.
    pub(super) fn is_closed(&self) -> bool {
        match self.shutdown {
            Shutdown::No => false,
            Shutdown::Draining(_) | Shutdown::Dismissing(_) => true,
            Shutdown::Until(_) | Shutdown::Suspended(_) => self.is_suspended(),
        }
    }

    /// Dismisses further connections. `false` if there are none.
    pub(super) fn go_on_shutting_down(&mut self, now: Millis) -> bool {
        if !self.shutdown.has_jobs() {
            return false;
        }
        if let Shutdown::Suspended(_) = self.shutdown {
            return self.go_on_suspending(now);
        }
        if !self.may_dismiss(now) {
            return false;
        }
        while !self.cx.work.is_step_over()
            && let Some(slot) = self.shutdown.next()
        {
            self.cx.work.charge(LOOKUP_UNITS);
            self.dismiss(slot, now);
        }
        self.settle(now);
        true
    }

    fn dismiss(&mut self, slot: Slot, now: Millis) {
        let Some(connection) = self.connections.get(slot) else { return };
        match &connection.phase {
            Phase::Joined(_) => self.dismiss_session(slot, now),
            Phase::Negotiating | Phase::Open | Phase::Challenged(_) | Phase::Judged(_) => {
                self.cx.work.charge(DISMISSAL_UNITS);
                self.end_login(slot, now);
                let message = "the router is shutting down";
                self.close_transport(slot, CloseCode::Away, message, now);
            }
            Phase::ShuttingDown(_) | Phase::Closing | Phase::Parted | Phase::Gone => {}
        }
    }

    /// The router ends a session: it is out of routing at once, then waits for the answer.
    pub(super) fn say_goodbye(
        &mut self,
        slot: Slot,
        end: EndReason,
        reason: &str,
        message: &str,
        code: CloseCode,
        now: Millis,
    ) {
        self.end_session(slot, end, now);
        if self.send(slot, &RouterMessage::Goodbye { message, reason }).is_err() {
            // A peer that takes so little is told the essence.
            self.answer(slot, &RouterMessage::Goodbye { message: "", reason: end.close_uri() });
        }
        self.connections[slot].enter(Phase::ShuttingDown(Closing { code }), now);
        self.rearm(slot, now);
    }

    /// The client answered the router's GOODBYE (or sent its own at the same time, BP-SES-14).
    pub(super) fn finish_goodbye(&mut self, slot: Slot, now: Millis) {
        let Phase::ShuttingDown(closing) = &self.connections[slot].phase else { return };
        let code = closing.code;
        self.close_transport(slot, code, "", now);
    }

    /// The client leaves: answer, then wait for another HELLO on this transport (BP-SES-11, 12).
    pub(super) fn handle_goodbye(&mut self, slot: Slot, now: Millis) {
        let rules = &self.connections.joined(slot).rules;
        let reason = match rules.settings.goodbye_reply {
            GoodbyeReply::GoodbyeAndOut => CloseReason::GoodbyeAndOut,
            GoodbyeReply::Normal => CloseReason::Normal,
        };
        self.end_session(slot, EndReason::Goodbye, now);
        self.answer(slot, &RouterMessage::Goodbye { message: "", reason: reason.uri() });
        self.connections[slot].enter(Phase::Open, now);
        self.rearm(slot, now);
    }

    /// A protocol violation: ABORT, drop the session at once, close the transport (BP-PV-01).
    pub(super) fn abort_for_violation(
        &mut self,
        slot: Slot,
        message: &str,
        code: CloseCode,
        now: Millis,
    ) {
        self.cx.counters.protocol_violations.increment();
        let connection = &self.connections[slot];
        if self.cx.log_budget.allow(now) {
            tracing::info!(peer = %connection.peer, detail = message, "protocol violation");
        }
        self.end_session(slot, EndReason::ProtocolViolation, now);
        self.abort(slot, WampError::ProtocolViolation, message, code, now);
    }

    /// Sends ABORT and closes the transport.
    pub(super) fn abort(
        &mut self,
        slot: Slot,
        error: WampError,
        message: &str,
        code: CloseCode,
        now: Millis,
    ) {
        self.abort_because(slot, error.uri(), message, code, now);
    }

    /// The same with a URI that is not the router's own.
    pub(super) fn abort_because(
        &mut self,
        slot: Slot,
        reason: &str,
        message: &str,
        code: CloseCode,
        now: Millis,
    ) {
        let message = RouterMessage::Abort { message, reason };
        if let Err(SendError::TooLarge) = self.send(slot, &message) {
            let short = RouterMessage::Abort { message: "", reason };
            let _ = self.send(slot, &short);
        }
        self.close_transport(slot, code, "", now);
    }

    /// A peer that does not take its output: what waits is dropped, it is told if it can be.
    pub(super) fn disconnect_slow(&mut self, slot: Slot, now: Millis) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.overflowed = false;
        if connection.is_closing() {
            return;
        }
        self.cx.counters.slow_consumers_disconnected.increment();
        let waiting = connection.output.waiting_bytes();
        if self.cx.log_budget.allow(now) {
            tracing::warn!(peer = %connection.peer, waiting_bytes = waiting, "slow consumer");
        }
        // It tells how much waits, as long as it does.
        self.end_session(slot, EndReason::SlowConsumer, now);
        let connection = &mut self.connections[slot];
        self.cx.outbound.discard_unbegun(slot, connection);
        // What is left may hold a GOODBYE, which no ABORT may follow.
        let is_told =
            matches!(connection.phase, Phase::ShuttingDown(_)) && !connection.output.is_empty();
        let reason = "wamp.close.slow_consumer";
        if !is_told {
            let message = "this client does not read as fast as it is sent to";
            let _ = self.send(slot, &RouterMessage::Abort { message, reason });
        }
        self.close_transport(slot, CloseCode::Policy, reason, now);
    }

    /// One line when events begin to be dropped for a peer; their number comes at its end.
    pub(super) fn log_dropping(&mut self, slot: Slot, now: Millis) {
        let Some(connection) = self.connections.get(slot) else { return };
        if let Some(session) = connection.session()
            && self.cx.log_budget.allow(now)
        {
            let waiting_bytes = connection.output.waiting_bytes();
            let (session, peer) = (session.id.get(), &connection.peer);
            tracing::warn!(session, %peer, waiting_bytes, "slow consumer: events are dropped");
        }
    }

    /// One line for an event that some receivers could not be sent.
    pub(super) fn log_unfit(&mut self, slot: Slot, error: SendError, now: Millis) {
        let Some(connection) = self.connections.get(slot) else { return };
        if self.cx.log_budget.allow(now) {
            let (peer, serializer) = (&connection.peer, connection.codec.as_str());
            let reason = match error {
                SendError::Encoding => "its serializer cannot express the payload",
                SendError::TooLarge => "it is larger than its transport accepts",
            };
            tracing::info!(%peer, serializer, reason, "event dropped for this receiver");
        }
    }

    /// Ends the transport in order: its own farewell if it has one, then the last bytes leave.
    pub(super) fn close_transport(&mut self, slot: Slot, code: CloseCode, why: &str, now: Millis) {
        let connection = &mut self.connections[slot];
        self.cx.outbound.queue_last(slot, connection, |connection, out| {
            connection.transport.encode_close(code, why, out);
        });
        self.start_closing(slot, now);
    }

    /// Nothing more is heard from this peer; the socket closes once its last bytes have left.
    pub(super) fn start_closing(&mut self, slot: Slot, now: Millis) {
        let connection = &mut self.connections[slot];
        debug_assert!(connection.session().is_none(), "the session ended before its transport");
        connection.enter(Phase::Closing, now);
        self.cx.outbound.mark_dirty(slot, connection);
        self.discard_input(slot);
        self.rearm(slot, now);
    }

    /// All connections together hold more input than the router has room for, and this one has
    /// kept it waiting longest: for the rest of a message, or for room.
    pub(super) fn disconnect_incomplete(&mut self, slot: Slot, now: Millis) {
        let connection = &self.connections[slot];
        if connection.is_closing() {
            return;
        }
        self.cx.counters.incomplete_disconnected.increment();
        if self.cx.log_budget.allow(now) {
            let held_bytes = connection.input_bytes();
            tracing::warn!(peer = %connection.peer, held_bytes, "input memory is full");
        }
        let message = "the router has no room left for messages that do not come whole";
        self.discard_input(slot);
        if !matches!(self.connections[slot].phase, Phase::Negotiating) {
            self.end_session(slot, EndReason::InputMemory, now);
            self.abort(slot, WampError::ResourceLimit, message, CloseCode::Again, now);
        } else {
            self.close_transport(slot, CloseCode::Again, message, now);
        }
    }

    /// Forgets what has come from a peer and is not dealt with.
    fn discard_input(&mut self, slot: Slot) {
        self.connections[slot].input.discard();
        self.count_input(slot);
    }

    /// Lets go of a connection; its socket is closed and its slot is free once its last session
    /// has given everything back.
    pub(super) fn remove(&mut self, slot: Slot) {
        let connection = &mut self.connections[slot];
        debug_assert!(connection.session().is_none(), "the session ended before its transport");
        if connection.is_gone() {
            return;
        }
        (connection.phase, connection.is_held) = (Phase::Gone, true);
        connection.transport = Transport::new();
        connection.seat = None;
        self.cx.outbound.discard(slot, connection);
        self.cx.counters.connections.subtract(1);
        if connection.leaving.is_none() {
            self.connections.close(slot);
        }
        self.discard_input(slot);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::address::Address;
    use crate::hash::HashSeed;
    use crate::router::{RealmSettings, Router, Settings, ShardId};
    use crate::shard::Admission;
    use crate::wamp::Timestamp;

    /// Operators see how much a slow consumer has not read.
    #[test]
    fn what_waited_for_a_slow_consumer_is_noted() {
        let realms = vec![RealmSettings::default()];
        let router = Arc::new(Router::new(Settings::default(), realms, 1, HashSeed::new(1)));
        let mut shard = Shard::new(ShardId(0), Arc::clone(&router), [7; 32]);
        let now = Millis(0);
        shard.begin_turn(Timestamp::EPOCH, now);
        let slot = shard.open(&Arc::default(), Address::UNIX, Admission::Welcome, now);
        let hello = br#"[1,"realm1",{"roles":{"subscriber":{}}}]"#;
        let head = [0x7F, 0xF1, 0, 0, 0, 0, 0, u8::try_from(hello.len()).expect("a short message")];
        shard.receive(slot, &mut [&head, &hello[..]].concat(), now);
        let waiting = shard.connections[slot].output.waiting_bytes();
        assert!(waiting > 100, "WELCOME waits, {waiting} bytes");
        shard.disconnect_slow(slot, now);
        let closed = router.closed()[0].last(1, |_| true);
        let seen: Vec<_> = closed.iter().map(|it| (it.reason, it.pending_bytes)).collect();
        assert_eq!(seen, [(EndReason::SlowConsumer, waiting)]);
    }
}
