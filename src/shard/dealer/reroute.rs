//! Call re-routing: what a callee cannot take goes to another one (AP-RRT).

use std::sync::Arc;

use super::super::requests::Refusal;
use super::super::timers::CallTimer;
use super::super::{Invoke, Shard};
use super::details::{check_callee, invocation_details, takes_progress};
use crate::clock::Millis;
use crate::router::{Picked, SessionRef, Traits};
use crate::session::{PendingCall, Retained};
use crate::wamp::{Feature, RequestId, Role, WampError, code};

impl Shard {
    /// Routes a call again whose callee is unavailable. It keeps its deadline, and its place in
    /// the order of calls of this caller and another callee is lost: the specification wants that.
    pub(super) fn reroute(&mut self, caller: SessionRef, call: RequestId, now: Millis) {
        let random = self.cx.random();
        let Some(session) = self.connections.find_mut(caller) else { return };
        let realm = Arc::clone(&session.realm);
        let Some(pending) = session.calls.get_mut(&call) else { return };
        let retained = pending.extra.as_mut().and_then(|extra| extra.retained.as_mut());
        let next = retained.and_then(|Retained { registration, tour, .. }| {
            realm.procedures.pick_another(*registration, tour, random)
        });
        let refusal = match next {
            None => NOBODY_AVAILABLE,
            Some(picked) => match self.route_again(caller, call, picked, now) {
                Ok(()) => return,
                Err(refusal) => refusal,
            },
        };
        if self.end_call(caller, call).is_some() {
            self.cx.counters.call_errors_delivered.increment();
            self.refuse(caller.slot, code::CALL, call, refusal);
        }
    }

    fn route_again(
        &mut self,
        caller: SessionRef,
        call: RequestId,
        picked: Picked,
        now: Millis,
    ) -> Result<(), Refusal> {
        let strict_roles = self.cx.settings().strict_roles;
        let session = self.connections.find_mut(caller).expect("the session was just looked up");
        let mut pending = session.calls.remove(&call).expect("the call was just looked up");
        let extra = pending.extra.as_mut().expect("a call to be routed again has been retained");
        let retained = extra.retained.as_ref().expect("it has been retained");
        // The deadline of the first INVOCATION holds, so the dealer watches it from here on.
        let traits = Traits { forward_timeout: false, ..picked.traits };
        let picked = Picked { traits, ..picked };
        let options = &retained.options;
        let checked = check_callee(options, traits);
        let (procedure, terms) = (&retained.procedure, retained.terms);
        let details = invocation_details(session, options, procedure, &picked, terms);
        let receive_progress = takes_progress(options, traits, strict_roles);
        let payload = retained.payload.clone();
        let before = extra.deadline;
        let asked = (options.timeout_ms > 0).then(|| retained.since + options.timeout_ms);
        let deadline = asked.filter(|asked| before.is_none_or(|before| *asked < before));
        if deadline.is_some() {
            (extra.deadline, extra.timeout_ms) = (deadline, options.timeout_ms);
        }
        let serial = pending.serial;
        let features = traits.features;
        let pending = PendingCall {
            callee: picked.callee,
            can_interrupt: features.has(Feature::CallCanceling),
            can_reroute: features.has(Feature::CallReroute),
            ..pending
        };
        let takes_passthru = session.roles.has(Role::Caller, Feature::PayloadPassthruMode);
        session.calls.insert(call, pending);
        if let Some(at) = deadline {
            let timer = CallTimer { slot: caller.slot, session: caller.session, call };
            if let Some(before) = before {
                self.cx.timers.disarm_call(before, timer);
            }
            self.cx.timers.arm_call(at, timer);
        }
        checked?;
        self.may_carry(picked.callee.shard, &payload.as_payload())?;
        let invoke = Invoke {
            caller,
            call,
            callee: picked.callee,
            registration: picked.registration,
            details,
            serial,
            is_continuation: false,
            receive_progress,
            takes_passthru,
            load: picked.load,
        };
        self.bring(invoke, payload.as_payload(), now);
        Ok(())
    }
}

const NOBODY_AVAILABLE: Refusal =
    (WampError::NoAvailableCallee, "no callee is available for this call");
