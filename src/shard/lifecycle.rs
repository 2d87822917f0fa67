//! How sessions and connections end: GOODBYE, ABORT, loss, kill, shutdown (BP-SES, BP-LT, BP-PV).

use super::connection::Phase;
use super::dealer::CALLEE_LEFT;
use super::mail::NO_PAYLOAD;
use super::timers::CallTimer;
use super::{Cancellation, Mail, Outcome, Return, SendError, Shard};
use crate::clock::Millis;
use crate::router::SessionRef;
use crate::session::{PendingInvocation, Session};
use crate::transport::CloseCode;
use crate::wamp::{CancelMode, CloseReason, RouterMessage, WampError};

/// Why a session ended, for logs and counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    ClientAbort,
    Goodbye,
    KeepaliveTimeout,
    /// Through the meta API or by an administrator.
    Killed,
    /// With all others of its realm (AP-SMA-03).
    KilledWithAll,
    MessageTooLarge,
    ProtocolViolation,
    Shutdown,
    SlowConsumer,
    /// The peer closed the transport in order, without GOODBYE.
    TransportClosed,
    /// The peer broke the transport's rules; the text names the rule.
    TransportError(&'static str),
    /// The socket failed or reached its end.
    TransportLost,
}

impl EndReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientAbort => "client_abort",
            Self::Goodbye => "goodbye",
            Self::KeepaliveTimeout => "keepalive_timeout",
            Self::Killed => "killed",
            Self::KilledWithAll => "killed_with_all",
            Self::MessageTooLarge => "message_too_large",
            Self::ProtocolViolation => "protocol_violation",
            Self::Shutdown => "shutdown",
            Self::SlowConsumer => "slow_consumer",
            Self::TransportClosed => "transport_closed",
            Self::TransportError(kind) => kind,
            Self::TransportLost => "transport_lost",
        }
    }
}

impl EndReason {
    /// `GOODBYE.Reason` where nothing else was asked for.
    const fn close_uri(self) -> &'static str {
        match self {
            Self::Shutdown => CloseReason::SystemShutdown.uri(),
            _ => CloseReason::Killed.uri(),
        }
    }
}

/// What follows when the client has answered the router's GOODBYE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    pub(super) code: CloseCode,
}

impl Shard {
    /// The socket failed or reached its end: nothing more can be said (BP-LT-01).
    pub fn handle_lost(&mut self, slot: u32, now: Millis) {
        if self.connections.get(slot as usize).is_some_and(|connection| !connection.gone) {
            self.end_session(slot, EndReason::TransportLost, now);
            self.remove(slot);
            self.settle(now);
        }
    }

    /// Says GOODBYE to every session and refuses new ones.
    pub fn begin_shutdown(&mut self, now: Millis) {
        self.shutting_down = true;
        let slots: Vec<u32> = self.connections.iter().map(|(slot, _)| slot as u32).collect();
        for slot in slots {
            match &self.connections[slot as usize].phase {
                Phase::Joined(_) => {
                    let reason = CloseReason::SystemShutdown.uri();
                    self.say_goodbye(slot, EndReason::Shutdown, reason, "", CloseCode::Away, now);
                }
                Phase::Negotiating | Phase::Open => {
                    let message = "the router is shutting down";
                    self.close_transport(slot, CloseCode::Away, message, now);
                }
                Phase::ShuttingDown(_) | Phase::Closing => {}
            }
        }
        self.settle(now);
    }

    /// The router ends a session: it is out of routing at once, then waits for the answer.
    pub(super) fn say_goodbye(
        &mut self,
        slot: u32,
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
        self.connections[slot as usize].enter(Phase::ShuttingDown(Closing { code }), now);
        self.rearm(slot, now);
    }

    /// The client answered the router's GOODBYE (or sent its own at the same time, BP-SES-14).
    pub(super) fn finish_goodbye(&mut self, slot: u32, now: Millis) {
        let Phase::ShuttingDown(closing) = &self.connections[slot as usize].phase else { return };
        let code = closing.code;
        self.close_transport(slot, code, "", now);
    }

    /// The client leaves: answer, then wait for another HELLO on this transport (BP-SES-11, 12).
    pub(super) fn handle_goodbye(&mut self, slot: u32, now: Millis) {
        self.end_session(slot, EndReason::Goodbye, now);
        let reason = CloseReason::GoodbyeAndOut.uri();
        self.answer(slot, &RouterMessage::Goodbye { message: "", reason });
        self.connections[slot as usize].enter(Phase::Open, now);
        self.rearm(slot, now);
    }

    /// A protocol violation: ABORT, drop the session at once, close the transport (BP-PV-01).
    pub(super) fn abort_for_violation(
        &mut self,
        slot: u32,
        message: &str,
        code: CloseCode,
        now: Millis,
    ) {
        self.counters.protocol_violations.increment();
        let connection = &self.connections[slot as usize];
        if self.log_budget.allow(now) {
            tracing::info!(peer = %connection.peer, detail = message, "protocol violation");
        }
        self.end_session(slot, EndReason::ProtocolViolation, now);
        self.abort(slot, WampError::ProtocolViolation, message, code, now);
    }

    /// Sends ABORT and closes the transport.
    pub(super) fn abort(
        &mut self,
        slot: u32,
        error: WampError,
        message: &str,
        code: CloseCode,
        now: Millis,
    ) {
        let message = RouterMessage::Abort { message, reason: error.uri() };
        if let Err(SendError::TooLarge) = self.send(slot, &message) {
            let short = RouterMessage::Abort { message: "", reason: error.uri() };
            let _ = self.send(slot, &short);
        }
        self.close_transport(slot, code, "", now);
    }

    /// A peer that does not take its output: what waits is dropped, it is told if it can be.
    pub(super) fn disconnect_slow(&mut self, slot: u32, now: Millis) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        connection.overflowed = false;
        if matches!(connection.phase, Phase::Closing) {
            return;
        }
        self.counters.slow_consumers_disconnected.increment();
        let waiting = connection.output.waiting_bytes();
        if self.log_budget.allow(now) {
            tracing::warn!(peer = %connection.peer, waiting_bytes = waiting, "slow consumer");
        }
        let dropped = connection.output.discard_unbegun(&self.outbound.arena);
        self.counters.output_bytes.subtract(dropped as u64);
        self.end_session(slot, EndReason::SlowConsumer, now);
        let reason = "wamp.close.slow_consumer";
        let message = "this client does not read as fast as it is sent to";
        let _ = self.send(slot, &RouterMessage::Abort { message, reason });
        self.close_transport(slot, CloseCode::Policy, reason, now);
    }

    /// One line when events begin to be dropped for a peer; their number comes at its end.
    pub(super) fn log_dropping(&mut self, slot: u32, now: Millis) {
        let Some(connection) = self.connections.get(slot as usize) else { return };
        if let Some(session) = connection.session()
            && self.log_budget.allow(now)
        {
            let waiting_bytes = connection.output.waiting_bytes();
            let (session, peer) = (session.id.get(), &connection.peer);
            tracing::warn!(session, %peer, waiting_bytes, "slow consumer: events are dropped");
        }
    }

    /// One line for an event that some receivers could not be sent.
    pub(super) fn log_unfit(&mut self, slot: u32, error: SendError, now: Millis) {
        let Some(connection) = self.connections.get(slot as usize) else { return };
        if self.log_budget.allow(now) {
            let (peer, serializer) = (&connection.peer, connection.codec.as_str());
            let reason = match error {
                SendError::Encoding => "its serializer cannot express the payload",
                SendError::TooLarge => "it is larger than its transport accepts",
            };
            tracing::info!(%peer, serializer, reason, "event dropped for this receiver");
        }
    }

    /// Ends the transport in order: its own farewell if it has one, then the last bytes leave.
    pub(super) fn close_transport(&mut self, slot: u32, code: CloseCode, why: &str, now: Millis) {
        let connection = &mut self.connections[slot as usize];
        self.reply.clear();
        connection.transport.encode_close(code, why, &mut self.reply);
        self.outbound.queue_last(slot, connection, &self.reply);
        self.start_closing(slot, now);
    }

    /// Nothing more is heard from this peer; the socket closes once its last bytes have left.
    pub(super) fn start_closing(&mut self, slot: u32, now: Millis) {
        let connection = &mut self.connections[slot as usize];
        debug_assert!(connection.session().is_none(), "the session ended before its transport");
        connection.partial = Vec::new();
        connection.enter(Phase::Closing, now);
        self.outbound.mark_dirty(slot, connection);
        self.rearm(slot, now);
    }

    /// Takes a session out of everything it is part of. The connection stays.
    pub(super) fn end_session(&mut self, slot: u32, reason: EndReason, now: Millis) {
        let connection = &mut self.connections[slot as usize];
        connection.session_id = None;
        if !matches!(connection.phase, Phase::Joined(_)) {
            return;
        }
        let Phase::Joined(session) = std::mem::replace(&mut connection.phase, Phase::Open) else {
            unreachable!("the phase was just looked at");
        };
        tracing::info!(
            session = session.id.get(),
            realm = %session.realm.settings.name,
            peer = %connection.peer,
            reason = reason.as_str(),
            duration_ms = now.since(session.joined),
            events_dropped = std::mem::take(&mut connection.events_dropped),
            "session left"
        );
        // Whoever killed it has taken it out of the list already.
        session.realm.leave(SessionRef { session: session.id, slot, shard: self.id });
        self.counters.sessions.subtract(1);
        self.release(slot, *session, reason);
    }

    /// Gives back what a session held, and tells the other side of each of its calls.
    fn release(&mut self, slot: u32, mut session: Session, reason: EndReason) {
        if !matches!(reason, EndReason::KilledWithAll | EndReason::Shutdown) {
            self.publish_testaments(slot, &mut session);
        }
        let mut subscriptions: Vec<_> = session.subscriptions.drain().collect();
        subscriptions.sort_unstable();
        for (subscription, membership) in subscriptions {
            self.leave_subscription(session.id, subscription, membership.position);
        }
        let mut registrations: Vec<_> = session.registrations.drain().collect();
        registrations.sort_unstable_by_key(|(registration, _)| *registration);
        for (registration, pattern) in &registrations {
            self.leave_registration(&session.realm, session.id, *registration, pattern);
        }
        if reason != EndReason::KilledWithAll {
            self.announce_leave(&session);
        }
        let mut calls: Vec<_> = session.calls.drain().collect();
        calls.sort_unstable_by_key(|(request, _)| *request);
        self.counters.calls.subtract(calls.len() as u64);
        for (call, pending) in calls {
            if let Some(at) = pending.deadline() {
                self.timers.disarm_call(at, CallTimer { slot, session: session.id, call });
            }
            let (callee, serial) = (pending.callee, pending.serial);
            let mode = CancelMode::KillNoWait;
            let cancellation = Cancellation { callee, caller: session.id, call, serial, mode };
            self.post(callee.shard, Mail::Cancel(cancellation));
        }
        let invocations = session.invocations.take_all();
        self.counters.invocations.subtract(invocations.len() as u64);
        for PendingInvocation { caller, call, serial, .. } in invocations {
            let (error, message) = CALLEE_LEFT;
            let outcome = Outcome::Refused { error, message };
            let answer = Return { caller, call, serial, outcome };
            self.post(caller.shard, Mail::Return(Box::new(answer), NO_PAYLOAD.to_buf()));
        }
    }

    /// Lets go of a connection; the event loop closes its socket and then frees the slot.
    pub(super) fn remove(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        debug_assert!(connection.session().is_none(), "the session ended before its transport");
        if connection.gone {
            return;
        }
        connection.gone = true;
        connection.phase = Phase::Closing;
        connection.partial = Vec::new();
        self.outbound.discard(connection);
        self.counters.connections.subtract(1);
        self.closed.push(slot);
    }
}
