//! CANCEL, timeouts and INTERRUPT: calls that end, or should, before their callee is done.

use super::super::broker::Refusal;
use super::super::timers::CallTimer;
use super::super::{Cancellation, Mail, Shard};
use crate::clock::Millis;
use crate::router::SessionRef;
use crate::session::PendingCall;
use crate::wamp::{
    Cancel, CancelMode, Choice, Feature, RequestId, Role, RouterMessage, WampError, code,
};

impl Shard {
    /// A CANCEL for a call that is over came too late and is ignored (AP-CAN-04).
    pub(in crate::shard) fn handle_cancel(&mut self, slot: u32, cancel: Cancel) {
        let (shard, call) = (self.id, cancel.request);
        let session = self.joined(slot);
        let caller = SessionRef { session: session.id, slot, shard };
        let Some(pending) = session.calls.get_mut(&call) else { return };
        let Choice::Known(mode) = cancel.mode else {
            self.refuse(slot, code::CALL, call, UNKNOWN_MODE);
            return;
        };
        let mode = if pending.can_interrupt { mode } else { CancelMode::Skip };
        let (callee, serial) = (pending.callee, pending.serial);
        if mode == CancelMode::Kill {
            if !std::mem::replace(&mut pending.killed, true) {
                self.cancel_invocation(caller, callee, call, serial, mode);
            }
        } else {
            self.give_up(caller, call, mode, CANCELED);
        }
    }

    /// The dealer's timer for a call ran out (AP-TMO-02).
    pub(in crate::shard) fn time_out_call(&mut self, at: Millis, due: CallTimer, now: Millis) {
        let caller = SessionRef { session: due.session, slot: due.slot, shard: self.id };
        if caller.is_router() {
            self.time_out_question(due.call, now);
            return;
        }
        let connection = self.connections.get_mut(due.slot as usize);
        if let Some(leaving) = connection.and_then(|connection| connection.leaving.as_mut())
            && leaving.session.id == due.session
        {
            // Its time comes when the session gives it back; others' must not wait behind it.
            if leaving.forget_deadline(due.call) {
                self.timers.disarm_call(at, due);
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
        self.cancel_invocation(caller, pending.callee, call, pending.serial, mode);
        self.counters.call_errors_delivered.increment();
        self.refuse(caller.slot, code::CALL, call, why);
    }

    /// Takes a call out of its caller's session, with all that was kept for it.
    pub(super) fn end_call(&mut self, caller: SessionRef, call: RequestId) -> Option<PendingCall> {
        let pending = self.find_mut(caller)?.calls.remove(&call)?;
        self.forget_call(caller, call, &pending);
        Some(pending)
    }

    /// Tidies up behind a call that was just taken out of its caller's session.
    pub(super) fn forget_call(
        &mut self,
        caller: SessionRef,
        call: RequestId,
        pending: &PendingCall,
    ) {
        self.counters.calls.subtract(1);
        self.forget_kept(caller, pending.kept_bytes());
        let Some(extra) = &pending.extra else { return };
        if let Some(at) = extra.deadline {
            let timer = CallTimer { slot: caller.slot, session: caller.session, call };
            self.timers.disarm_call(at, timer);
        }
        if extra.upload.as_ref().is_some_and(|upload| upload.open)
            && let Some(session) = self.find_mut(caller)
        {
            session.ended_uploads.get_or_insert_default().insert(call);
        }
    }

    /// So many bytes that were kept for a call are not kept any more.
    pub(super) fn forget_kept(&mut self, caller: SessionRef, bytes: usize) {
        if bytes > 0 {
            self.counters.kept_bytes.subtract(bytes as u64);
            if let Some(session) = self.find_mut(caller) {
                session.kept_bytes -= bytes;
            }
        }
    }

    pub(in crate::shard) fn cancel_invocation(
        &mut self,
        caller: SessionRef,
        callee: SessionRef,
        call: RequestId,
        serial: u32,
        mode: CancelMode,
    ) {
        let cancellation = Cancellation { callee, caller: caller.session, call, serial, mode };
        if callee.shard == self.id {
            self.handle_cancellation(cancellation);
        } else {
            self.post(callee.shard, Mail::Cancel(cancellation));
        }
    }

    /// The callee's side: without `kill` nobody waits for its answer any more (BP-CALL-06).
    pub(in crate::shard) fn handle_cancellation(&mut self, cancellation: Cancellation) {
        let Cancellation { callee, caller, call, serial, mode } = cancellation;
        let Some(session) = self.find_mut(callee) else { return };
        let can_interrupt = session.roles.has(Role::Callee, Feature::CallCanceling);
        let found = session.invocations.of_call(caller, call, serial);
        let Some((request, invocation)) = found else { return };
        let interrupts = can_interrupt && mode != CancelMode::Skip && !invocation.interrupted;
        invocation.interrupted |= interrupts;
        if mode != CancelMode::Kill {
            session.invocations.answer(request);
            self.counters.invocations.subtract(1);
        }
        if interrupts {
            let mode = if mode == CancelMode::Kill { "kill" } else { "killnowait" };
            self.send_interrupt(callee.slot, request, mode);
        }
    }

    /// Ends an invocation at its callee's shard, and tells the callee if it can be told.
    pub(super) fn interrupt(&mut self, callee: SessionRef, request: RequestId) {
        let Some(session) = self.find_mut(callee) else { return };
        let can_interrupt = session.roles.has(Role::Callee, Feature::CallCanceling);
        if let crate::session::Answered::Pending(ended) = session.invocations.answer(request) {
            self.counters.invocations.subtract(1);
            if can_interrupt && !ended.interrupted {
                self.send_interrupt(callee.slot, request, "killnowait");
            }
        }
    }

    fn send_interrupt(&mut self, slot: u32, request: RequestId, mode: &str) {
        // Thousands of them must not end a callee that is busy; it may answer all the same.
        if self.is_choked(slot, 0) {
            return;
        }
        let options = vec![("mode".into(), mode.into())];
        self.answer(slot, &RouterMessage::Interrupt { request, options: &options });
    }
}

const CANCELED: Refusal = (WampError::Canceled, "the caller canceled the call");
const TIMED_OUT: Refusal = (WampError::CallTimeout, "the callee did not answer in time");
const UNKNOWN_MODE: Refusal = (
    WampError::InvalidArgument,
    "CANCEL.Options.mode must be skip, kill or killnowait; the call goes on",
);
