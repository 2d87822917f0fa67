//! What only calls between nodes need. The node of a callee counts what it has pending, and knows
//! what it understands: so the caller's half lives without that.

use std::sync::Arc;

use super::super::mail::NO_PAYLOAD;
use super::super::requests::Refusal;
use super::super::{CallElsewhere, Cancellation, Carried, Invoke, Mail, Outcome, Return, Shard};
use super::call::ALL_CALLEES_BUSY;
use super::cancel::CANCELED;
use crate::clock::Millis;
use crate::router::{Realm, SessionRef, ShardId};
use crate::session::CallRef;
use crate::wamp::{Payload, RequestId, code};

impl Shard {
    /// Brings an invocation to the node of its callee, which knows the realm by its name.
    #[cold]
    #[inline(never)]
    pub(super) fn bring_elsewhere(&mut self, invoke: Invoke, payload: Payload<'_>) {
        let call = invoke.call;
        let realm =
            self.realm_of_call(call).expect("it is of a session, or of a question, that is here");
        let call_elsewhere = CallElsewhere { realm, invoke };
        let carried = Carried::call(call_elsewhere, payload.to_buf(), self.cx.held());
        self.cx.post.send(ShardId::CLUSTER, Mail::Call(Box::new(carried)));
        if let Some(connection) = self.connections.get_mut(call.caller.slot) {
            connection.feeds.insert(ShardId::CLUSTER);
        }
    }

    /// The realm that a call of this shard is made in.
    fn realm_of_call(&self, call: CallRef) -> Option<Arc<Realm>> {
        let realm = match self.connections.find(call.caller) {
            Some(session) => &session.realm,
            None => self.questions.realm_of(call.request)?,
        };
        Some(Arc::clone(realm))
    }

    /// The callee's side of a call from another node: gives it a seat, if the callee counts them.
    /// `false` if none is free: the call goes back, and may go on to another callee.
    #[cold]
    pub(super) fn seat_call(&mut self, invoke: &mut Invoke) -> bool {
        if invoke.load.is_some() {
            return true;
        }
        let Some(session) = self.connections.find(invoke.callee) else { return true };
        let (registration, callee) = (invoke.registration, invoke.callee.session);
        match session.realm.procedures.take_seat(registration, callee) {
            Ok(load) => {
                invoke.load = load;
                true
            }
            Err(_) => {
                self.send_back(Return { call: invoke.call, outcome: Outcome::Busy });
                false
            }
        }
    }

    /// The caller's side: the callee is full, and the next one gets the call (AP-RRT-01), as one
    /// that is full is passed over where everybody sees that.
    #[cold]
    pub(super) fn go_on_elsewhere(&mut self, caller: SessionRef, call: RequestId, now: Millis) {
        let session = self.connections.find(caller);
        let Some(pending) = session.and_then(|session| session.calls.get(&call)) else { return };
        let is_kept = pending.extra.as_ref().is_some_and(|extra| extra.rerouting.is_some());
        if pending.killed {
            self.end_refused(caller, call, CANCELED);
        } else if is_kept {
            self.reroute(caller, call, ALL_CALLEES_BUSY, now);
        } else {
            self.end_refused(caller, call, ALL_CALLEES_BUSY);
        }
    }

    fn end_refused(&mut self, caller: SessionRef, call: RequestId, why: Refusal) {
        if self.end_call(caller, call).is_some() {
            self.cx.counters.call_errors_delivered.increment();
            self.refuse(caller.slot, code::CALL, call, why);
        }
    }

    /// The callee's side of a CANCEL with `kill`, if nobody can tell the callee: as if it had been
    /// one with `skip` (AP-CAN-02), which the caller's half does not know.
    #[cold]
    pub(super) fn answer_kill(&mut self, cancellation: Cancellation) {
        let Cancellation { callee, caller, call, serial, .. } = cancellation;
        let Some(session) = self.connections.find_mut(callee) else { return };
        let found = session.invocations.of_call(caller, call, serial);
        let Some((request, call)) = found.map(|(id, invocation)| (id, invocation.call)) else {
            return;
        };
        session.invocations.answer(request);
        self.cx.counters.invocations.subtract(1);
        self.send_back(Return { call, outcome: CANCELED.into() });
    }

    fn send_back(&mut self, answer: Return) {
        let to = answer.call.caller.shard;
        let answer = Carried::answer(answer, NO_PAYLOAD.to_buf(), self.cx.held());
        self.cx.post.send(to, Mail::Return(Box::new(answer)));
    }
}
