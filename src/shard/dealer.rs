//! REGISTER, UNREGISTER, CALL and the way of an answer back to its caller.
//!
//! A pending call lives in two halves, each with one owner: the caller's session remembers the
//! callee, the callee's session remembers the caller. What goes between them is mail.

use std::sync::Arc;

use super::broker::{Refusal, check_pattern, check_uri, unreserved};
use super::input::Violation;
use super::mail::{NO_PAYLOAD, passthru_details};
use super::{Invoke, Mail, Outcome, Return, SendError, Shard};
use crate::router::{Picked, Realm, SessionRef};
use crate::session::{Answered, PendingCall, PendingInvocation, RegisteredPattern};
use crate::wamp::{
    Call, Choice, Dict, InvocationError, MatchPolicy, Payload, Register, RegistrationId, RequestId,
    Role, RouterMessage, SessionId, Value, WampError, Yield, code, is_valid_uri,
};

impl Shard {
    pub(super) fn handle_register(
        &mut self,
        slot: u32,
        register: &Register<'_>,
    ) -> Result<(), Violation> {
        let session = self.accept_request(slot, register.request, Role::Callee, "REGISTER")?;
        let callee = session.id;
        let realm = Arc::clone(&session.realm);
        let held = session.registrations.len();
        if let Err(refusal) = self.check_register(&realm, held, register) {
            self.refuse(slot, code::REGISTER, register.request, refusal);
            return Ok(());
        }
        let Choice::Known(invoke) = register.options.invoke else {
            self.refuse(slot, code::REGISTER, register.request, UNKNOWN_INVOKE);
            return Ok(());
        };
        let policy = register.options.match_policy;
        let callee = SessionRef { session: callee, slot, shard: self.id };
        match realm.procedures.register(&register.procedure, policy, invoke, callee) {
            Ok(registration) => {
                let uri = register.procedure.as_ref().into();
                let pattern = RegisteredPattern { uri, policy };
                self.joined(slot).registrations.insert(registration, pattern);
                self.counters.registrations.increment();
                let request = register.request;
                self.answer(slot, &RouterMessage::Registered { request, registration });
            }
            Err(error) => {
                let refusal = (WampError::ProcedureAlreadyExists, error.as_str());
                self.refuse(slot, code::REGISTER, register.request, refusal);
            }
        }
        Ok(())
    }

    fn check_register(
        &self,
        realm: &Realm,
        held: usize,
        register: &Register<'_>,
    ) -> Result<(), Refusal> {
        let limits = &self.settings().limits;
        let policy = register.options.match_policy;
        check_pattern(realm, &register.procedure, policy, limits.uri_bytes)?;
        unreserved(&register.procedure)?;
        if held >= limits.registrations_per_session {
            return Err(TOO_MANY_REGISTRATIONS);
        }
        Ok(())
    }

    /// Pending invocations stay valid after UNREGISTER (BP-REG-02).
    pub(super) fn handle_unregister(
        &mut self,
        slot: u32,
        request: RequestId,
        registration: RegistrationId,
    ) -> Result<(), Violation> {
        let session = self.accept_request(slot, request, Role::Callee, "UNREGISTER")?;
        let (id, realm) = (session.id, Arc::clone(&session.realm));
        match session.registrations.remove(&registration) {
            Some(pattern) => {
                realm.procedures.unregister(&pattern.uri, pattern.policy, id);
                self.counters.registrations.subtract(1);
                self.answer(slot, &RouterMessage::Unregistered { request });
            }
            None => self.refuse(slot, code::UNREGISTER, request, NO_SUCH_REGISTRATION),
        }
        Ok(())
    }

    pub(super) fn handle_call(&mut self, slot: u32, call: Call<'_>) -> Result<(), Violation> {
        let session = self.accept_request(slot, call.request, Role::Caller, "CALL")?;
        if session.calls.contains_key(&call.request) {
            return Err(Violation::CallPending(call.request));
        }
        let caller = SessionRef { session: session.id, slot, shard: self.id };
        let picked = match self.route_call(slot, &call) {
            Ok(picked) => picked,
            Err(refusal) => {
                self.counters.calls_refused.increment();
                self.refuse(slot, code::CALL, call.request, refusal);
                return Ok(());
            }
        };
        let callee = picked.callee;
        self.joined(slot).calls.insert(call.request, PendingCall { callee });
        self.counters.calls.increment();
        self.counters.calls_routed.increment();
        let mut details = passthru_details(call.options.passthru);
        if picked.policy != MatchPolicy::Exact {
            details.push(("procedure".into(), call.procedure.as_ref().into()));
        }
        let registration = picked.registration;
        let invoke = Invoke { caller, call: call.request, callee, registration, details };
        if callee.shard == self.id {
            self.handle_invoke(invoke, call.payload);
        } else {
            self.post(callee.shard, Mail::Invoke(Box::new(invoke), call.payload.to_buf()));
            self.connections[slot as usize].feeds.insert(callee.shard);
        }
        Ok(())
    }

    /// Every check that can refuse a call: URI, then registration, then limits (BP-CALL-01).
    fn route_call(&mut self, slot: u32, call: &Call<'_>) -> Result<Picked, Refusal> {
        let session = self.joined(slot);
        let pending = session.calls.len();
        let realm = Arc::clone(&session.realm);
        let limits = self.settings().limits;
        check_uri(&realm, &call.procedure, limits.uri_bytes)?;
        if crate::wamp::is_reserved(&call.procedure) {
            return Err(NO_SUCH_PROCEDURE);
        }
        if pending >= limits.calls_per_session {
            return Err(TOO_MANY_CALLS);
        }
        let random = || self.random();
        realm.procedures.pick(&call.procedure, random).ok_or(NO_SUCH_PROCEDURE)
    }

    /// The callee's side of a call. Bounces what cannot be delivered.
    pub(super) fn handle_invoke(&mut self, invoke: Invoke, payload: Payload<'_>) {
        let Invoke { caller, call, callee, registration, ref details } = invoke;
        let limit = self.settings().limits.invocations_per_session;
        let outcome = match self.find(callee) {
            None => Err(CALLEE_LEFT),
            Some(session) if !session.registrations.contains_key(&registration) => {
                Err(NO_SUCH_PROCEDURE)
            }
            Some(session) if session.invocations.len() >= limit => Err(CALLEE_BUSY),
            Some(session) => {
                let request = session.invocations.next_id();
                let message = RouterMessage::Invocation { request, registration, details, payload };
                self.send(callee.slot, &message).map_err(|error| match error {
                    SendError::TooLarge => TOO_LARGE_FOR_CALLEE,
                    SendError::Encoding => NOT_FOR_CALLEE,
                })
            }
        };
        match outcome {
            Ok(()) => {
                let session = self.find_mut(callee).expect("the session was just looked up");
                session.invocations.insert(PendingInvocation { caller, call });
                self.counters.invocations.increment();
            }
            Err((error, message)) => {
                let outcome = Outcome::Refused { error, message };
                self.return_to(Return { caller, call, outcome }, NO_PAYLOAD);
            }
        }
    }

    pub(super) fn handle_yield(&mut self, slot: u32, answer: Yield<'_>) -> Result<(), Violation> {
        if answer.options.progress {
            // Progressive results are not announced: nobody asked for a partial one (AP-PCR-04).
            return self.check_invoked(slot, answer.request, "YIELD");
        }
        let details = passthru_details(answer.options.passthru);
        let outcome = Outcome::Result { details };
        self.finish_invocation(slot, answer.request, "YIELD", outcome, answer.payload)
    }

    pub(super) fn handle_invocation_error(
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
    pub(super) fn return_to(&mut self, answer: Return, payload: Payload<'_>) {
        if answer.caller.shard == self.id {
            self.handle_return(&answer, payload);
        } else {
            let shard = answer.caller.shard;
            self.post(shard, Mail::Return(Box::new(answer), payload.to_buf()));
        }
    }

    /// The caller's side of an answer: the call ends here, once (BP-CALL-03).
    pub(super) fn handle_return(&mut self, answer: &Return, payload: Payload<'_>) {
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
    pub(super) fn handle_forget(&mut self, callee: SessionRef, caller: SessionId, call: RequestId) {
        let Some(session) = self.find_mut(callee) else { return };
        if session.invocations.forget(caller, call).is_some() {
            self.counters.invocations.subtract(1);
        }
    }
}

pub(super) const CALLEE_LEFT: Refusal =
    (WampError::Canceled, "the callee left before it answered the call");
const NO_SUCH_PROCEDURE: Refusal =
    (WampError::NoSuchProcedure, "no procedure is registered that matches the called URI");
const NO_SUCH_REGISTRATION: Refusal =
    (WampError::NoSuchRegistration, "this session does not hold that registration");
const UNKNOWN_INVOKE: Refusal = (
    WampError::InvalidArgument,
    "REGISTER.Options.invoke must be single, roundrobin, random, first or last",
);
const TOO_MANY_REGISTRATIONS: Refusal = (
    WampError::ResourceLimit,
    "this session holds as many registrations as the router allows per session",
);
const TOO_MANY_CALLS: Refusal = (
    WampError::ResourceLimit,
    "this session has as many calls pending as the router allows per session",
);
const CALLEE_BUSY: Refusal = (
    WampError::ResourceLimit,
    "the callee has as many invocations pending as the router allows per session",
);
const TOO_LARGE_FOR_CALLEE: Refusal =
    (WampError::PayloadSizeExceeded, "the call is larger than the callee's transport accepts");
const TOO_LARGE_FOR_CALLER: Refusal =
    (WampError::PayloadSizeExceeded, "the answer is larger than the caller's transport accepts");
const NOT_FOR_CALLEE: Refusal = (
    WampError::InvalidArgument,
    "the payload holds a value that the callee's serializer cannot express",
);
const NOT_FOR_CALLER: Refusal = (
    WampError::InvalidArgument,
    "the payload holds a value that the caller's serializer cannot express",
);
