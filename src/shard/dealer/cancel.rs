//! CANCEL, timeouts and INTERRUPT: calls that end, or should, before their callee is done.

use super::super::context::Context;
use super::super::requests::Refusal;
use super::super::timers::{CallKind, CallTimer};
use super::super::{Cancellation, Mail, Shard};
use crate::clock::Millis;
use crate::router::{SessionRef, Slot};
use crate::session::{PendingCall, Session};
use crate::wamp::{
    Cancel, CancelMode, Choice, Feature, RequestId, Role, RouterMessage, WampError, code,
};

impl Shard {
    /// A CANCEL for a call that is over came too late and is ignored (AP-CAN-04).
    pub(in crate::shard) fn handle_cancel(&mut self, slot: Slot, cancel: Cancel) {
        let call = cancel.request;
        let session = self.connections.joined_mut(slot);
        let caller = self.cx.reference(slot, session.id);
        let Some(pending) = session.calls.get_mut(&call) else { return };
        let Choice::Known(mode) = cancel.mode else {
            self.refuse(slot, code::CALL, call, UNKNOWN_MODE);
            return;
        };
        let mode = if pending.can_interrupt { mode } else { CancelMode::Skip };
        if mode == CancelMode::Kill {
            if !std::mem::replace(&mut pending.killed, true) {
                let cancellation = pending.cancellation(caller, call, mode);
                self.cancel_invocation(cancellation);
            }
        } else {
            self.give_up(caller, call, mode, CANCELED);
        }
    }

    /// The dealer's timer for a call ran out (AP-TMO-02).
    pub(in crate::shard) fn time_out_call(&mut self, at: Millis, due: CallTimer, now: Millis) {
        if due.kind == CallKind::Polled {
            self.time_out_poll(due.call, at);
            return;
        }
        let caller = self.cx.reference(due.slot, due.session);
        if caller.is_router() {
            self.time_out_question(due.call, now);
            return;
        }
        if due.kind == CallKind::Managed {
            self.time_out_management(caller, due.call, at);
            return;
        }
        let connection = self.connections.get_mut(due.slot);
        if let Some(leaving) = connection.and_then(|connection| connection.leaving.as_mut())
            && leaving.session.id == due.session
        {
            // Its time comes when the session gives it back; others' must not wait behind it.
            if leaving.forget_deadline(due.call) {
                self.cx.timers.disarm_call(at, due);
            }
            return;
        }
        self.give_up(caller, due.call, CancelMode::KillNoWait, TIMED_OUT);
    }

    /// Ends a call at once, whatever its callee does.
    pub(super) fn give_up(
        &mut self,
        caller: SessionRef,
        call: RequestId,
        mode: CancelMode,
        why: Refusal,
    ) {
        let Some(pending) = self.end_call(caller, call) else { return };
        self.cancel_invocation(pending.cancellation(caller, call, mode));
        self.cx.counters.call_errors_delivered.increment();
        self.refuse(caller.slot, code::CALL, call, why);
    }

    /// Takes a call out of its caller's session, with all that was kept for it.
    pub(super) fn end_call(&mut self, caller: SessionRef, call: RequestId) -> Option<PendingCall> {
        let session = self.connections.find_mut(caller)?;
        let pending = session.calls.remove(&call)?;
        self.cx.forget_call(session, caller, call, &pending);
        Some(pending)
    }

    pub(in crate::shard) fn cancel_invocation(&mut self, cancellation: Cancellation) {
        let shard = cancellation.callee.shard;
        if shard == self.cx.id {
            self.handle_cancellation(cancellation);
        } else {
            self.cx.post.send(shard, Mail::Cancel(cancellation));
        }
    }

    /// The callee's side: without `kill` nobody waits for its answer any more (BP-CALL-06).
    pub(in crate::shard) fn handle_cancellation(&mut self, cancellation: Cancellation) {
        let Cancellation { callee, caller, call, serial, mode } = cancellation;
        let Some(session) = self.connections.find_mut(callee) else { return };
        let can_interrupt = session.roles.has(Role::Callee, Feature::CallCanceling);
        let found = session.invocations.of_call(caller, call, serial);
        let Some((request, invocation)) = found else { return };
        if mode == CancelMode::Kill && !can_interrupt {
            return self.answer_kill(cancellation);
        }
        let interrupts = can_interrupt && mode != CancelMode::Skip && !invocation.interrupted;
        invocation.interrupted |= interrupts;
        if mode != CancelMode::Kill {
            session.invocations.answer(request);
            self.cx.counters.invocations.subtract(1);
        }
        if interrupts {
            let mode = if mode == CancelMode::Kill { "kill" } else { "killnowait" };
            self.send_interrupt(callee.slot, request, mode);
        }
    }

    /// Ends an invocation at its callee's shard, and tells the callee if it can be told.
    pub(super) fn interrupt(&mut self, callee: SessionRef, request: RequestId) {
        let Some(session) = self.connections.find_mut(callee) else { return };
        let can_interrupt = session.roles.has(Role::Callee, Feature::CallCanceling);
        if let crate::session::Answered::Pending(ended) = session.invocations.answer(request) {
            self.cx.counters.invocations.subtract(1);
            if can_interrupt && !ended.interrupted {
                self.send_interrupt(callee.slot, request, "killnowait");
            }
        }
    }

    fn send_interrupt(&mut self, slot: Slot, request: RequestId, mode: &str) {
        // Thousands of them must not end a callee that is busy; it may answer all the same.
        if self.is_choked(slot, 0) {
            return;
        }
        let options = vec![("mode".into(), mode.into())];
        self.answer(slot, &RouterMessage::Interrupt { request, options: &options });
    }
}

impl PendingCall {
    /// The end of the call, or the wish for it, for its callee.
    pub(in crate::shard) const fn cancellation(
        &self,
        caller: SessionRef,
        request: RequestId,
        mode: CancelMode,
    ) -> Cancellation {
        let caller = caller.session;
        Cancellation { callee: self.callee, caller, call: request, serial: self.serial, mode }
    }
}

impl Context {
    /// A call is over, however it has ended.
    pub(in crate::shard) fn note_call_end(&self, pending: &PendingCall) {
        self.counters.calls.subtract(1);
        let took_ms = (self.now.0 as u32).wrapping_sub(pending.since);
        self.measures.calls_ms.note(u64::from(took_ms));
    }

    /// Tidies up behind a call that was just taken out of its caller's session.
    pub(super) fn forget_call(
        &mut self,
        session: &mut Session,
        caller: SessionRef,
        call: RequestId,
        pending: &PendingCall,
    ) {
        self.note_call_end(pending);
        self.forget_kept(session, pending.kept_bytes());
        let Some(extra) = &pending.extra else { return };
        if let Some(at) = extra.deadline {
            self.timers.disarm_call(at, CallTimer::of(caller, call));
        }
        if extra.upload.as_ref().is_some_and(|upload| upload.open) {
            session.ended_uploads.get_or_insert_default().insert(call);
        }
    }

    /// So many bytes that were kept for a call of the session are not kept any more.
    pub(super) fn forget_kept(&self, session: &mut Session, bytes: usize) {
        if bytes > 0 {
            self.counters.kept_bytes.subtract(bytes as u64);
            session.kept_bytes -= bytes;
        }
    }
}

pub(super) const CANCELED: Refusal = (WampError::Canceled, "the caller canceled the call");
const TIMED_OUT: Refusal = (WampError::CallTimeout, "the callee did not answer in time");
const UNKNOWN_MODE: Refusal = (
    WampError::InvalidArgument,
    "CANCEL.Options.mode must be skip, kill or killnowait; the call goes on",
);
