//! Call re-routing: what a callee cannot take goes to another one (AP-RRT).

use super::super::context::Context;
use super::super::requests::Refusal;
use super::super::timers::CallTimer;
use super::super::{Invoke, Shard};
use super::details::{check_callee, invocation_details, takes_progress};
use crate::clock::Millis;
use crate::router::{Picked, SessionRef, Traits};
use crate::session::{CallRef, PendingCall, Session};
use crate::wamp::{Feature, PayloadBuf, RequestId, Role, WampError, code};

impl Shard {
    /// Routes a call again whose callee is unavailable. It keeps its deadline, and its place in
    /// the order of calls of this caller and another callee is lost: the specification wants that.
    /// With nobody left it ends for the reason given.
    pub(super) fn reroute(
        &mut self,
        caller: SessionRef,
        call: RequestId,
        nobody: Refusal,
        now: Millis,
    ) {
        let random = self.cx.random();
        let Some(session) = self.connections.find_mut(caller) else { return };
        let Some(mut pending) = session.calls.remove(&call) else { return };
        let routed = self.cx.route_again(session, (caller, call), &mut pending, nobody, random);
        match routed {
            Ok((invoke, payload)) => {
                session.calls.insert(call, pending);
                self.bring(invoke, payload.as_payload(), now);
            }
            Err(refusal) => {
                self.cx.forget_call(session, caller, call, &pending);
                self.cx.counters.call_errors_delivered.increment();
                self.refuse(caller.slot, code::CALL, call, refusal);
            }
        }
    }
}

impl Context {
    /// Gives a call another callee, if there is one that can take it.
    fn route_again(
        &mut self,
        session: &Session,
        (caller, call): (SessionRef, RequestId),
        pending: &mut PendingCall,
        nobody: Refusal,
        random: u64,
    ) -> Result<(Invoke, PayloadBuf), Refusal> {
        let Some(extra) = &mut pending.extra else { return Err(nobody) };
        let Some(rerouting) = &mut extra.rerouting else { return Err(nobody) };
        let procedures = &session.realm.procedures;
        let picked = procedures.pick_another(rerouting.registration, &mut rerouting.tour, random);
        let picked = picked.ok_or(nobody)?;
        // The deadline of the first INVOCATION holds, so the dealer watches it from here on.
        let traits = Traits { forward_timeout: false, ..picked.traits };
        let picked = Picked { traits, ..picked };
        pending.callee = picked.callee;
        pending.can_interrupt = traits.features.has(Feature::CallCanceling);
        pending.can_reroute = traits.features.has(Feature::CallReroute);
        let options = &rerouting.options;
        let asked = (options.timeout_ms > 0).then(|| rerouting.since + options.timeout_ms);
        if let Some(at) = asked
            && extra.deadline.is_none_or(|before| at < before)
        {
            let timer = CallTimer::of(caller, call);
            if let Some(before) = extra.deadline.replace(at) {
                self.timers.disarm_call(before, timer);
            }
            self.timers.arm_call(at, timer);
            extra.timeout_ms = options.timeout_ms;
        }
        check_callee(options, traits)?;
        self.may_carry(picked.callee.shard, &rerouting.payload.as_payload())?;
        let details =
            invocation_details(session, options, &rerouting.procedure, &picked, rerouting.terms);
        let invoke = Invoke {
            call: CallRef { caller, request: call, serial: pending.serial },
            callee: picked.callee,
            registration: picked.registration,
            place: picked.place,
            details,
            is_continuation: false,
            receive_progress: takes_progress(options, traits, self.settings().strict_roles),
            takes_passthru: session.roles.has(Role::Caller, Feature::PayloadPassthruMode),
            load: picked.load,
        };
        Ok((invoke, rerouting.payload.clone()))
    }
}

pub(super) const NOBODY_AVAILABLE: Refusal =
    (WampError::NoAvailableCallee, "no callee is available for this call");
