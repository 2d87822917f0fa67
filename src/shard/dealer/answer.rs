//! The way of an answer: from the callee's YIELD or ERROR to the caller, and the end of the call.

use std::collections::hash_map::Entry;

use super::super::mail::{NO_PAYLOAD, passthru_details};
use super::super::requests::Refusal;
use super::super::requests::Violation;
use super::super::timers::CallTimer;
use super::super::{Carried, Mail, Outcome, Return, SendError, Shard};
use super::call::ALL_CALLEES_BUSY;
use super::details::is_mode;
use super::reroute::NOBODY_AVAILABLE;
use crate::clock::Millis;
use crate::router::{SessionRef, Slot};
use crate::session::{Answered, CallRef, PendingInvocation};
use crate::wamp::{
    CancelMode, Dict, Feature, InvocationError, Payload, RequestId, Role, RouterMessage, Value,
    WampError, Yield, code, is_valid_uri,
};

impl Shard {
    pub(in crate::shard) fn handle_yield(
        &mut self,
        slot: Slot,
        answer: Yield<'_>,
        now: Millis,
    ) -> Result<(), Violation> {
        let Yield { request, options, payload } = answer;
        let is_mode = is_mode(options.passthru.as_deref());
        let session = self.connections.joined_mut(slot);
        if is_mode && !session.roles.has(Role::Callee, Feature::PayloadPassthruMode) {
            return Err(Violation::PassthruNotAnnounced { message: "YIELD", role: "callee" });
        }
        if is_mode
            && let Answered::Pending(invocation) = session.invocations.peek(request)
            && !invocation.takes_passthru
        {
            self.refuse(slot, code::INVOCATION, request, NO_PASSTHRU_CALLER);
            let outcome = NO_PASSTHRU_CALLER.into();
            return self.finish_invocation(slot, request, "YIELD", outcome, NO_PAYLOAD, now);
        }
        let details = passthru_details(options.passthru);
        if options.progress {
            return self.pass_progress(slot, request, details, payload, now);
        }
        let outcome = Outcome::Result { details };
        self.finish_invocation(slot, request, "YIELD", outcome, payload, now)
    }

    /// A progressive YIELD. Nobody gets one that was not asked for (AP-PCR-04).
    fn pass_progress(
        &mut self,
        slot: Slot,
        request: RequestId,
        mut details: Dict,
        payload: Payload<'_>,
        now: Millis,
    ) -> Result<(), Violation> {
        let session = self.connections.joined(slot);
        let call = match session.invocations.peek(request) {
            Answered::Pending(pending) if pending.receive_progress => pending.call,
            Answered::Pending(_) | Answered::Over => return Ok(()),
            Answered::NeverIssued => {
                return Err(Violation::NeverInvoked { message: "YIELD", request });
            }
        };
        let callee = self.cx.reference(slot, session.id);
        let shard = call.caller.shard;
        if shard != self.cx.id {
            self.connections[slot].feeds.insert(shard);
        }
        if let Err(refusal) = self.cx.may_carry(shard, &payload) {
            // A gap in the results cannot be hidden: the call fails.
            self.interrupt(callee, request);
            self.return_to(call, refusal.into(), NO_PAYLOAD, now);
            return Ok(());
        }
        details.push(("progress".into(), Value::Bool(true)));
        self.return_to(call, Outcome::Progress { details }, payload, now);
        Ok(())
    }

    pub(in crate::shard) fn handle_invocation_error(
        &mut self,
        slot: Slot,
        error: InvocationError<'_>,
        now: Millis,
    ) -> Result<(), Violation> {
        let details = passthru_details(error.details.passthru);
        let name = "ERROR";
        if is_valid_uri(&error.error, Default::default()) {
            let outcome = Outcome::Error { error: error.error.as_ref().into(), details };
            return self.finish_invocation(slot, error.request, name, outcome, error.payload, now);
        }
        // The call must end all the same, and the caller learns what was said (BP-URI-08).
        let args = [Value::from(error.error.as_ref())];
        let payload = Payload::Values { args: &args, kwargs: &Dict::new() };
        let outcome = Outcome::Error { error: WampError::InvalidUri.uri().into(), details };
        self.finish_invocation(slot, error.request, name, outcome, payload, now)
    }

    fn finish_invocation(
        &mut self,
        slot: Slot,
        request: RequestId,
        message: &'static str,
        outcome: Outcome,
        payload: Payload<'_>,
        now: Millis,
    ) -> Result<(), Violation> {
        match self.connections.joined_mut(slot).invocations.answer(request) {
            Answered::Pending(PendingInvocation { call, .. }) => {
                self.cx.counters.invocations.subtract(1);
                if call.caller.shard != self.cx.id {
                    self.connections[slot].feeds.insert(call.caller.shard);
                }
                self.return_to(call, outcome, payload, now);
                Ok(())
            }
            Answered::Over => Ok(()),
            Answered::NeverIssued => Err(Violation::NeverInvoked { message, request }),
        }
    }

    /// Brings an answer to the caller's shard. One that there is no room for ends its call all the
    /// same: as a refusal without payload.
    pub(super) fn return_to(
        &mut self,
        call: CallRef,
        mut outcome: Outcome,
        mut payload: Payload<'_>,
        now: Millis,
    ) {
        let shard = call.caller.shard;
        if shard == self.cx.id {
            self.handle_return(Return { call, outcome }, payload, now);
            return;
        }
        if let Err(refusal) = self.cx.may_carry(shard, &payload) {
            (outcome, payload) = (refusal.into(), NO_PAYLOAD);
        }
        let answer = Return { call, outcome };
        let carried = Carried::answer(answer, payload.to_buf(), self.cx.held());
        self.cx.post.send(shard, Mail::Return(Box::new(carried)));
    }

    /// The caller's side of an answer: the call ends here, once (BP-CALL-03), or goes on.
    pub(in crate::shard) fn handle_return(
        &mut self,
        answer: Return,
        payload: Payload<'_>,
        now: Millis,
    ) {
        let Some(session) = self.connections.find_mut(answer.call.caller) else {
            return self.handle_answer_to_router(answer, payload, now);
        };
        let Return { call: CallRef { caller, request, serial }, outcome } = answer;
        let Entry::Occupied(entry) = session.calls.entry(request) else { return };
        let pending = entry.get();
        if pending.serial != serial {
            return;
        }
        match outcome {
            Outcome::Progress { details } => {
                self.send_progress(caller, request, &details, payload, now);
            }
            Outcome::Error { error, .. }
                if pending.can_reroute && !pending.killed && *error == *UNAVAILABLE =>
            {
                self.reroute(caller, request, NOBODY_AVAILABLE, now);
            }
            Outcome::Busy => self.go_on_elsewhere(caller, request, now),
            outcome => {
                let pending = entry.remove();
                self.cx.forget_call(session, caller, request, &pending);
                self.send_outcome(caller.slot, request, &outcome, payload);
            }
        }
    }

    /// The last message of a call.
    fn send_outcome(
        &mut self,
        slot: Slot,
        request: RequestId,
        outcome: &Outcome,
        payload: Payload<'_>,
    ) {
        let sent = match outcome {
            Outcome::Result { details } | Outcome::Progress { details } => {
                self.cx.counters.results_delivered.increment();
                self.send(slot, &RouterMessage::Result { request, details, payload })
            }
            Outcome::Error { error, details } => {
                self.cx.counters.call_errors_delivered.increment();
                self.send_call_error(slot, request, error, details, payload)
            }
            Outcome::Refused { .. } | Outcome::Busy => {
                self.cx.counters.call_errors_delivered.increment();
                let refusal = match outcome {
                    Outcome::Refused { error, message } => (*error, &**message),
                    _ => ALL_CALLEES_BUSY,
                };
                self.refuse(slot, code::CALL, request, refusal);
                Ok(())
            }
        };
        if let Err(error) = sent {
            self.refuse(slot, code::CALL, request, not_returned(error));
        }
    }

    /// A progressive result: the callee has shown life, so its timeout starts again (AP-TMO-06).
    fn send_progress(
        &mut self,
        caller: SessionRef,
        call: RequestId,
        details: &Dict,
        payload: Payload<'_>,
        now: Millis,
    ) {
        let message = RouterMessage::Result { request: call, details, payload };
        let sent = if self.is_choked(caller.slot, payload.weight()) {
            Err(CALLER_BEHIND)
        } else {
            match self.send_if_it_fits(caller.slot, &message) {
                Ok(true) => Ok(()),
                Ok(false) => Err(CALLER_BEHIND),
                Err(error) => Err(not_returned(error)),
            }
        };
        if let Err(refusal) = sent {
            // A gap in the results cannot be hidden: the call fails.
            self.give_up(caller, call, CancelMode::KillNoWait, refusal);
            return;
        }
        let Some(session) = self.connections.find_mut(caller) else { return };
        let pending = session.calls.get_mut(&call);
        let Some(extra) = pending.and_then(|pending| pending.extra.as_mut()) else { return };
        if let Some(before) = extra.deadline {
            let (timer, at) = (CallTimer::of(caller, call), now + extra.timeout_ms);
            extra.deadline = Some(at);
            self.cx.timers.disarm_call(before, timer);
            self.cx.timers.arm_call(at, timer);
        }
        if extra.rerouting.take().is_some() {
            let bytes = std::mem::take(&mut extra.kept_bytes);
            extra.held = None;
            self.cx.forget_kept(session, bytes);
        }
    }

    /// A callee's error that is too large goes without its payload first (TR-SZ-01).
    fn send_call_error(
        &mut self,
        slot: Slot,
        request: RequestId,
        error: &str,
        details: &Dict,
        payload: Payload<'_>,
    ) -> Result<(), SendError> {
        let message = |payload| RouterMessage::Error {
            request_type: code::CALL,
            request,
            details,
            error,
            payload,
        };
        match self.send(slot, &message(payload)) {
            Err(SendError::TooLarge) => self.send(slot, &message(NO_PAYLOAD)),
            sent => sent,
        }
    }
}

/// Why a caller did not get a RESULT.
const fn not_returned(error: SendError) -> Refusal {
    match error {
        SendError::TooLarge => TOO_LARGE_FOR_CALLER,
        SendError::Encoding => NOT_FOR_CALLER,
    }
}

/// What a callee says that wants its call to go to another one (AP-RRT-01).
const UNAVAILABLE: &str = "wamp.error.unavailable";
const NO_PASSTHRU_CALLER: Refusal = (
    WampError::FeatureNotSupported,
    "the caller did not announce payload_passthru_mode: answer it without ppt_scheme",
);
const TOO_LARGE_FOR_CALLER: Refusal =
    (WampError::PayloadSizeExceeded, "the answer is larger than the caller's transport accepts");
const CALLER_BEHIND: Refusal = (
    WampError::ResourceLimit,
    "the caller does not read as fast as it is answered, and a partial result does not fit its \
     queue",
);
const NOT_FOR_CALLER: Refusal = (
    WampError::InvalidArgument,
    "the payload holds a value that the caller's serializer cannot express",
);
