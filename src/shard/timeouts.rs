//! What happens when a peer stays silent or does not take its output.

use super::connection::{Due, NEVER, Phase};
use super::work::LOOKUP_UNITS;
use super::{InputStatus, Owner, Shard};
use crate::clock::Millis;
use crate::router::{EndReason, Slot};
use crate::transport::CloseCode;

impl Shard {
    /// When a turn is to be taken at the latest, although nothing happens.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.cx
            .timers
            .next()
            .into_iter()
            .chain(self.joining.next_look())
            .chain(self.review.next_look())
            .chain(self.next_of_drain())
            .chain(self.cx.traces.next_end())
            .min()
    }

    /// Does what is due, as much as a step allows. `may_judge` says whether the socket of a slot
    /// was looked at, so that what its peer has not done can be held against it.
    pub(super) fn handle_timeout(&mut self, now: Millis, may_judge: impl Fn(Slot, Due) -> bool) {
        self.cx.work.begin_step();
        self.joining.look_later(now);
        while !self.cx.work.is_step_over()
            && let Some(owner) = self.cx.timers.pop_due(now)
        {
            self.cx.work.charge(LOOKUP_UNITS);
            let Some(connection) = self.connections.get_mut(owner.slot) else { continue };
            if connection.generation == owner.generation {
                connection.clock.armed = None;
                self.check_deadline(owner.slot, &may_judge, now);
            }
        }
        while !self.cx.work.is_step_over()
            && let Some((at, due)) = self.cx.timers.due_call(now)
        {
            self.cx.work.charge(LOOKUP_UNITS);
            self.time_out_call(at, due, now);
        }
        self.settle(now);
        self.cx.work.end_step();
    }

    /// Begins all waiting for peers anew: for some time nobody could be heard.
    pub(super) fn start_patience_anew(&mut self, now: Millis) {
        for connection in self.connections.iter_mut() {
            connection.clock.forgive(now);
            if connection.session().is_none() {
                connection.clock.since = now;
            }
        }
    }

    /// Puts the connection's next deadline into the heap, unless an earlier entry is there.
    pub(super) fn rearm(&mut self, slot: Slot, now: Millis) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let output = &self.cx.edition.settings.output;
        let timeouts = &self.cx.edition.settings.timeouts;
        let deadline = connection.deadline(timeouts, output.soft_ms, output.stall_ms);
        let never = deadline.at == NEVER.at;
        if never || connection.clock.armed.is_some_and(|armed| armed <= deadline.at) {
            return;
        }
        // A deadline in the past is due in the next turn, never in this one.
        self.arm(slot, deadline.at.max(now + 1));
    }

    fn arm(&mut self, slot: Slot, at: Millis) {
        let connection = &mut self.connections[slot];
        connection.clock.armed = Some(at);
        self.cx.timers.arm(at, Owner { slot, generation: connection.generation });
    }

    fn check_deadline(&mut self, slot: Slot, may_judge: impl Fn(Slot, Due) -> bool, now: Millis) {
        if self.connections[slot].input.paced_until().is_some_and(|at| at <= now) {
            self.go_on_reading(slot);
        }
        if self.connections[slot].corked_until().is_some_and(|at| at <= now) {
            self.expire_cork(slot, now);
        }
        let connection = &self.connections[slot];
        let output = &self.cx.edition.settings.output;
        let timeouts = &self.cx.edition.settings.timeouts;
        let deadline = connection.deadline(timeouts, output.soft_ms, output.stall_ms);
        let is_dealt_with = connection.input.status() == InputStatus::Open;
        if deadline.at > now {
            self.rearm(slot, now);
        } else if let Some(due) = connection.expired(now) {
            // Whatever else may be due or not.
            self.handle_due(slot, due, now);
            self.rearm(slot, now);
        } else if (is_dealt_with || !deadline.due.is_silence()) && may_judge(slot, deadline.due) {
            self.handle_due(slot, deadline.due, now);
            self.rearm(slot, now);
        } else if connection.slow_at(output.soft_ms, output.stall_ms).is_some_and(|at| at <= now)
            && may_judge(slot, Due::Slow)
        {
            // Who is not read because it does not read is not silent, but slow.
            self.handle_due(slot, Due::Slow, now);
            self.rearm(slot, now);
        } else {
            self.arm(slot, now + UNHEARD_MS);
        }
    }

    fn handle_due(&mut self, slot: Slot, due: Due, now: Millis) {
        match due {
            Due::Handshake => self.refuse_late(slot, now),
            Due::Answer | Due::Judgement => self.fail_late(slot, due, now),
            Due::Ping => self.ping(slot, now),
            Due::Expiring => self.warn_of_expiry(slot, now),
            Due::Expired => self.end_expired(slot, now),
            Due::Silent => {
                self.cx.counters.keepalive_timeouts.increment();
                self.end_session(slot, EndReason::KeepaliveTimeout, now);
                let why = "no answer to a ping";
                self.close_transport(slot, CloseCode::Policy, why, now);
            }
            Due::Slow => self.disconnect_slow(slot, now),
            Due::CloseTransport => self.finish_goodbye(slot, now),
            Due::Drop => self.remove(slot),
            // Done before.
            Due::Reading | Due::Corked => {}
        }
    }

    fn refuse_late(&mut self, slot: Slot, now: Millis) {
        let connection = &self.connections[slot];
        if !connection.rules.trusts(connection.peer) {
            self.cx.router.crowd().note_failure(connection.peer, now);
        }
        self.cx.counters.connections_refused.increment();
        let negotiating = matches!(connection.phase, Phase::Negotiating);
        let reason = if negotiating { "handshake_timeout" } else { "hello_timeout" };
        self.cx.measures.handshake_failures.note(["timeout", reason]);
        if self.cx.log_budget.allow(now) {
            tracing::info!(peer = %connection.peer, reason, "connection refused");
        }
        self.close_transport(slot, CloseCode::Policy, "no HELLO in time", now);
    }

    fn ping(&mut self, slot: Slot, now: Millis) {
        let connection = &mut self.connections[slot];
        let mut ping = Vec::new();
        connection.transport.encode_ping(&[], &mut ping);
        connection.clock.ping_sent = Some(now);
        self.cx.outbound.queue_control(slot, connection, &ping);
    }
}

/// When to judge again whose bytes could not be read in time, in milliseconds.
const UNHEARD_MS: u64 = 50;
