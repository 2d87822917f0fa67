//! The way of an answer: from the callee's YIELD or ERROR to the caller, and the end of the call.

use std::collections::hash_map::Entry;

use super::super::broker::Refusal;
use super::super::inbound::Violation;
use super::super::mail::{NO_PAYLOAD, passthru_details};
use super::super::timers::CallTimer;
use super::super::{Carried, Mail, Outcome, Return, SendError, Shard};
use super::details::is_mode;
use crate::clock::Millis;
use crate::router::SessionRef;
use crate::session::{Answered, PendingInvocation};
use crate::wamp::{
    CancelMode, Dict, Feature, InvocationError, Payload, RequestId, Role, RouterMessage, Value,
    WampError, Yield, code, is_valid_uri,
};

impl Shard {
    pub(in crate::shard) fn handle_yield(
        &mut self,
        slot: u32,
        answer: Yield<'_>,
        now: Millis,
    ) -> Result<(), Violation> {
        let Yield { request, options, payload } = answer;
        let is_mode = is_mode(options.passthru.as_deref());
        let session = self.joined(slot);
        if is_mode && !session.roles.has(Role::Callee, Feature::PayloadPassthruMode) {
            return Err(Violation::PassthruNotAnnounced { message: "YIELD", role: "callee" });
        }
        if is_mode
            && let Answered::Pending(invocation) = session.invocations.peek(request)
            && !invocation.takes_passthru
        {
            self.refuse(slot, code::INVOCATION, request, NO_PASSTHRU_CALLER);
            let (error, message) = NO_PASSTHRU_CALLER;
            let outcome = Outcome::Refused { error, message };
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
        slot: u32,
        request: RequestId,
        mut details: Dict,
        payload: Payload<'_>,
        now: Millis,
    ) -> Result<(), Violation> {
        let (caller, call, serial) = match self.joined(slot).invocations.peek(request) {
            Answered::Pending(pending) if pending.receive_progress => {
                (pending.caller, pending.call, pending.serial)
            }
            Answered::Pending(_) | Answered::Over => return Ok(()),
            Answered::NeverIssued => {
                return Err(Violation::NeverInvoked { message: "YIELD", request });
            }
        };
        if caller.shard != self.id {
            self.connections[slot as usize].feeds.insert(caller.shard);
        }
        if let Err((error, message)) = self.may_carry(caller.shard, &payload) {
            // A gap in the results cannot be hidden: the call fails.
            let callee = SessionRef { session: self.joined(slot).id, slot, shard: self.id };
            self.interrupt(callee, request);
            let outcome = Outcome::Refused { error, message };
            self.return_to(Return { caller, call, serial, outcome }, NO_PAYLOAD, now);
            return Ok(());
        }
        details.push(("progress".into(), Value::Bool(true)));
        let outcome = Outcome::Progress { details };
        self.return_to(Return { caller, call, serial, outcome }, payload, now);
        Ok(())
    }

    pub(in crate::shard) fn handle_invocation_error(
        &mut self,
        slot: u32,
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
        slot: u32,
        request: RequestId,
        message: &'static str,
        outcome: Outcome,
        payload: Payload<'_>,
        now: Millis,
    ) -> Result<(), Violation> {
        match self.joined(slot).invocations.answer(request) {
            Answered::Pending(PendingInvocation { caller, call, serial, .. }) => {
                self.counters.invocations.subtract(1);
                if caller.shard != self.id {
                    self.connections[slot as usize].feeds.insert(caller.shard);
                }
                self.return_to(Return { caller, call, serial, outcome }, payload, now);
                Ok(())
            }
            Answered::Over => Ok(()),
            Answered::NeverIssued => Err(Violation::NeverInvoked { message, request }),
        }
    }

    /// Brings an answer to the caller's shard. One that there is no room for ends its call all the
    /// same: as a refusal without payload.
    pub(super) fn return_to(&mut self, mut answer: Return, mut payload: Payload<'_>, now: Millis) {
        let shard = answer.caller.shard;
        if shard == self.id {
            self.handle_return(answer, payload, now);
            return;
        }
        if let Err((error, message)) = self.may_carry(shard, &payload) {
            answer.outcome = Outcome::Refused { error, message };
            payload = NO_PAYLOAD;
        }
        let carried = Carried::answer(answer, payload.to_buf(), self.router.held(self.id));
        self.post(shard, Mail::Return(Box::new(carried)));
    }

    /// The caller's side of an answer: the call ends here, once (BP-CALL-03), or goes on.
    pub(in crate::shard) fn handle_return(
        &mut self,
        answer: Return,
        payload: Payload<'_>,
        now: Millis,
    ) {
        let Some(session) = self.find_mut(answer.caller) else {
            return self.handle_answer_to_router(answer, payload, now);
        };
        let Return { caller, call, serial, outcome } = answer;
        let Entry::Occupied(entry) = session.calls.entry(call) else { return };
        let pending = entry.get();
        if pending.serial != serial {
            return;
        }
        match outcome {
            Outcome::Progress { details } => {
                self.send_progress(caller, call, &details, payload, now);
            }
            Outcome::Error { error, .. }
                if pending.can_reroute && !pending.killed && *error == *UNAVAILABLE =>
            {
                self.reroute(caller, call, now);
            }
            outcome => {
                let pending = entry.remove();
                self.forget_call(caller, call, &pending);
                self.send_outcome(caller.slot, call, &outcome, payload);
            }
        }
    }

    /// The last message of a call.
    fn send_outcome(
        &mut self,
        slot: u32,
        request: RequestId,
        outcome: &Outcome,
        payload: Payload<'_>,
    ) {
        let sent = match outcome {
            Outcome::Result { details } | Outcome::Progress { details } => {
                self.counters.results_delivered.increment();
                self.send(slot, &RouterMessage::Result { request, details, payload })
            }
            Outcome::Error { error, details } => {
                self.counters.call_errors_delivered.increment();
                self.send_call_error(slot, request, error, details, payload)
            }
            Outcome::Refused { error, message } => {
                self.counters.call_errors_delivered.increment();
                self.refuse(slot, code::CALL, request, (*error, message));
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
        let Some(session) = self.find_mut(caller) else { return };
        let pending = session.calls.get_mut(&call);
        let Some(extra) = pending.and_then(|pending| pending.extra.as_mut()) else { return };
        let (before, timeout_ms) = (extra.deadline, extra.timeout_ms);
        let kept_bytes =
            if extra.retained.take().is_some() { std::mem::take(&mut extra.kept_bytes) } else { 0 };
        if before.is_some() {
            extra.deadline = Some(now + timeout_ms);
        }
        self.forget_kept(caller, kept_bytes);
        if let Some(before) = before {
            let timer = CallTimer { slot: caller.slot, session: caller.session, call };
            self.timers.disarm_call(before, timer);
            self.timers.arm_call(now + timeout_ms, timer);
        }
    }

    /// A callee's error that is too large goes without its payload first (TR-SZ-01).
    fn send_call_error(
        &mut self,
        slot: u32,
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
