//! CALL at the caller's shard, and the invocation at the callee's.

use std::sync::Arc;

use super::super::broker::{Refusal, check_uri};
use super::super::input::Violation;
use super::super::mail::{NO_PAYLOAD, passthru_details};
use super::super::{Invoke, Mail, Outcome, Return, SendError, Shard};
use super::CALLEE_LEFT;
use crate::router::{Picked, SessionRef};
use crate::session::{PendingCall, PendingInvocation};
use crate::wamp::{Call, MatchPolicy, Payload, Role, RouterMessage, WampError, code};

impl Shard {
    pub(in crate::shard) fn handle_call(
        &mut self,
        slot: u32,
        call: Call<'_>,
    ) -> Result<(), Violation> {
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
    pub(in crate::shard) fn handle_invoke(&mut self, invoke: Invoke, payload: Payload<'_>) {
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
}

const NO_SUCH_PROCEDURE: Refusal =
    (WampError::NoSuchProcedure, "no procedure is registered that matches the called URI");
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
const NOT_FOR_CALLEE: Refusal = (
    WampError::InvalidArgument,
    "the payload holds a value that the callee's serializer cannot express",
);
