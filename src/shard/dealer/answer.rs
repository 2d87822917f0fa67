//! The way of an answer: from the callee's YIELD or ERROR to the end of the call.

use super::super::broker::Refusal;
use super::super::input::Violation;
use super::super::mail::{NO_PAYLOAD, passthru_details};
use super::super::{Mail, Outcome, Return, SendError, Shard};
use crate::router::SessionRef;
use crate::session::{Answered, PendingInvocation};
use crate::wamp::{
    Dict, InvocationError, Payload, RequestId, RouterMessage, SessionId, Value, WampError, Yield,
    code, is_valid_uri,
};

impl Shard {
    pub(in crate::shard) fn handle_yield(
        &mut self,
        slot: u32,
        answer: Yield<'_>,
    ) -> Result<(), Violation> {
        if answer.options.progress {
            // Progressive results are not announced: nobody asked for a partial one (AP-PCR-04).
            return self.check_invoked(slot, answer.request, "YIELD");
        }
        let details = passthru_details(answer.options.passthru);
        let outcome = Outcome::Result { details };
        self.finish_invocation(slot, answer.request, "YIELD", outcome, answer.payload)
    }

    pub(in crate::shard) fn handle_invocation_error(
        &mut self,
        slot: u32,
        error: InvocationError<'_>,
    ) -> Result<(), Violation> {
        let details = passthru_details(error.details.passthru);
        let name = "ERROR";
        if is_valid_uri(&error.error, Default::default()) {
            let outcome = Outcome::Error { error: error.error.as_ref().into(), details };
            return self.finish_invocation(slot, error.request, name, outcome, error.payload);
        }
        // The call must end all the same, and the caller learns what was said (BP-URI-08).
        let args = [Value::from(error.error.as_ref())];
        let payload = Payload::Values { args: &args, kwargs: &Dict::new() };
        let outcome = Outcome::Error { error: WampError::InvalidUri.uri().into(), details };
        self.finish_invocation(slot, error.request, name, outcome, payload)
    }

    fn finish_invocation(
        &mut self,
        slot: u32,
        request: RequestId,
        message: &'static str,
        outcome: Outcome,
        payload: Payload<'_>,
    ) -> Result<(), Violation> {
        match self.joined(slot).invocations.answer(request) {
            Answered::Pending(PendingInvocation { caller, call }) => {
                self.counters.invocations.subtract(1);
                if caller.shard != self.id {
                    self.connections[slot as usize].feeds.insert(caller.shard);
                }
                self.return_to(Return { caller, call, outcome }, payload);
                Ok(())
            }
            Answered::Over => Ok(()),
            Answered::NeverIssued => Err(Violation::NeverInvoked { message, request }),
        }
    }

    fn check_invoked(
        &mut self,
        slot: u32,
        request: RequestId,
        message: &'static str,
    ) -> Result<(), Violation> {
        if request < self.joined(slot).invocations.next_id() {
            return Ok(());
        }
        Err(Violation::NeverInvoked { message, request })
    }

    /// Brings an answer to the caller's shard.
    pub(in crate::shard) fn return_to(&mut self, answer: Return, payload: Payload<'_>) {
        if answer.caller.shard == self.id {
            self.handle_return(&answer, payload);
        } else {
            let shard = answer.caller.shard;
            self.post(shard, Mail::Return(Box::new(answer), payload.to_buf()));
        }
    }

    /// The caller's side of an answer: the call ends here, once (BP-CALL-03).
    pub(in crate::shard) fn handle_return(&mut self, answer: &Return, payload: Payload<'_>) {
        let Some(session) = self.find_mut(answer.caller) else { return };
        if session.calls.remove(&answer.call).is_none() {
            return;
        }
        self.counters.calls.subtract(1);
        let slot = answer.caller.slot;
        let request = answer.call;
        let sent = match &answer.outcome {
            Outcome::Result { details } => {
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
        match sent {
            Ok(()) => {}
            Err(SendError::TooLarge) => {
                self.refuse(slot, code::CALL, request, TOO_LARGE_FOR_CALLER)
            }
            Err(SendError::Encoding) => self.refuse(slot, code::CALL, request, NOT_FOR_CALLER),
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

    /// The caller left: nobody waits for this invocation's answer any more (BP-CALL-06).
    pub(in crate::shard) fn handle_forget(
        &mut self,
        callee: SessionRef,
        caller: SessionId,
        call: RequestId,
    ) {
        let Some(session) = self.find_mut(callee) else { return };
        if session.invocations.forget(caller, call).is_some() {
            self.counters.invocations.subtract(1);
        }
    }
}

const TOO_LARGE_FOR_CALLER: Refusal =
    (WampError::PayloadSizeExceeded, "the answer is larger than the caller's transport accepts");
const NOT_FOR_CALLER: Refusal = (
    WampError::InvalidArgument,
    "the payload holds a value that the caller's serializer cannot express",
);
