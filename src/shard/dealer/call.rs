//! CALL at the caller's shard, and the invocation at the callee's.

use rand::RngExt;

use super::super::asking::Undecided;
use super::super::authorize::{Asked, Refused};
use super::super::context::Context;
use super::super::mail::NO_PAYLOAD;
use super::super::requests::{Refusal, Stop, Violation, check_uri};
use super::super::timers::CallTimer;
use super::super::work::PATTERN_UNITS;
use super::super::{Carried, Invoke, Mail, Return, SendError, Shard};
use super::details::{
    check_callee, check_caller, check_disclosure, dealer_timeout_ms, invocation_details,
    takes_progress,
};
use super::{CALLEE_LEFT, NO_SUCH_PROCEDURE};
use crate::authorization::{Action, Terms};
use crate::clock::Millis;
use crate::router::{Busyness, PickError, Picked, Settings, ShardId, Slot, Tour, Traits};
use crate::session::{
    CallExtra, CallRef, PendingCall, PendingInvocation, Rerouting, Session, Upload,
};
use crate::wamp::{
    Call, Dict, Feature, MatchPolicy, Payload, Role, RouterMessage, Value, WampError, code,
    is_reserved,
};

impl Shard {
    pub(in crate::shard) fn handle_call(
        &mut self,
        slot: Slot,
        call: Call<'_>,
        now: Millis,
    ) -> Result<(), Stop> {
        if self.connections.joined_mut(slot).ended_uploads.is_some()
            && let Some(handled) = self.continue_call(slot, &call, now)
        {
            return Ok(handled?);
        }
        let session = self.connections.joined_mut(slot);
        self.cx.accept(session, call.request, Role::Caller, "CALL")?;
        if session.calls.contains_key(&call.request) {
            return Err(Violation::CallPending(call.request).into());
        }
        check_caller(&session.roles, &call.options, self.cx.settings().strict_roles)?;
        if is_reserved(&call.procedure) {
            self.handle_meta_call(slot, &call)?;
            self.connections.joined_mut(slot).expect_late_chunks(&call);
            return Ok(());
        }
        let routed = self.cx.route_call(session, &call).and_then(|(picked, terms)| {
            self.cx.check_room(session, &call, picked.traits)?;
            self.cx.may_carry(picked.callee.shard, &call.payload)?;
            Ok((picked, terms))
        });
        match routed {
            Ok((picked, terms)) => self.start_call(slot, call, picked, terms, now),
            Err(refused) => {
                let asked = Asked(Action::Call, &call.procedure);
                let (exact, options) = (MatchPolicy::Exact, || call.options.to_dict());
                let wait = |rule| Undecided::new(call.request, rule, asked, exact, options());
                let refused = refused.decided(wait)?;
                session.expect_late_chunks(&call);
                self.cx.counters.calls_refused.increment();
                self.refuse_request(slot, Some((code::CALL, call.request)), asked, refused);
            }
        }
        Ok(())
    }

    /// Records a call that nothing refuses any more, and brings it to its callee.
    fn start_call(
        &mut self,
        slot: Slot,
        call: Call<'_>,
        picked: Picked,
        terms: Terms,
        now: Millis,
    ) {
        if !self.cx.census.passes(Busyness::Calls, 1) {
            let realm = &self.connections.joined(slot).realm;
            self.cx.look_at(Busyness::Calls, realm, &call.procedure, 1);
        }
        let Settings { limits, strict_roles, .. } = &self.cx.edition.settings;
        let timeout_ms =
            dealer_timeout_ms(&call.options, picked.traits, limits.call_timeout_ms_max);
        let session = self.connections.joined_mut(slot);
        session.last_call = session.last_call.wrapping_add(1);
        let caller = self.cx.reference(slot, session.id);
        let named = CallRef { caller, request: call.request, serial: session.last_call };
        let mut details =
            invocation_details(session, &call.options, &call.procedure, &picked, terms);
        let features = picked.traits.features;
        let mut pending = PendingCall {
            callee: picked.callee,
            serial: named.serial,
            since: now.0 as u32,
            can_interrupt: features.has(Feature::CallCanceling),
            can_reroute: features.has(Feature::CallReroute),
            killed: false,
            extra: None,
        };
        if timeout_ms > 0 || call.options.progress || picked.traits.may_return_calls() {
            let mut extra = call_extra(&call, &picked, &details, terms, timeout_ms, now);
            extra.held = (extra.kept_bytes > 0).then(|| session.realm.keep(extra.kept_bytes));
            pending.extra = Some(Box::new(extra));
        }
        if call.options.progress {
            session.ended_uploads.get_or_insert_default();
            details.push(("progress".into(), Value::Bool(true)));
        }
        let takes_passthru = session.roles.has(Role::Caller, Feature::PayloadPassthruMode);
        let (deadline, kept_bytes) = (pending.deadline(), pending.kept_bytes());
        session.kept_bytes += kept_bytes;
        session.calls.insert(call.request, pending);
        self.cx.counters.kept_bytes.add(kept_bytes as u64);
        if let Some(at) = deadline {
            self.cx.timers.arm_call(at, CallTimer::of(caller, call.request));
        }
        self.cx.counters.calls.increment();
        self.cx.counters.calls_routed.increment();
        let invoke = Invoke {
            call: named,
            callee: picked.callee,
            registration: picked.registration,
            place: picked.place,
            details,
            is_continuation: false,
            receive_progress: takes_progress(&call.options, picked.traits, *strict_roles),
            takes_passthru,
            load: picked.load,
        };
        self.bring(invoke, call.payload, now);
    }

    /// Brings an invocation to the callee's shard, if [`Context::may_carry`] has no objection.
    pub(in crate::shard) fn bring(&mut self, invoke: Invoke, payload: Payload<'_>, now: Millis) {
        let (shard, slot) = (invoke.callee.shard, invoke.call.caller.slot);
        if shard == self.cx.id {
            self.handle_invoke(invoke, payload, now);
        } else {
            if shard == ShardId::CLUSTER {
                return self.bring_elsewhere(invoke, payload);
            }
            let carried = Carried::invoke(invoke, payload.to_buf(), self.cx.held());
            self.cx.post.send(shard, Mail::Invoke(Box::new(carried)));
            // The router's own calls have no connection.
            if let Some(connection) = self.connections.get_mut(slot) {
                connection.feeds.insert(shard);
            }
        }
    }

    /// The callee's side of a call. Bounces what cannot be delivered.
    pub(in crate::shard) fn handle_invoke(
        &mut self,
        mut invoke: Invoke,
        payload: Payload<'_>,
        now: Millis,
    ) {
        if invoke.is_continuation {
            self.handle_chunk(&invoke, payload, now);
            return;
        }
        if invoke.call.caller.shard == ShardId::CLUSTER && !self.seat_call(&mut invoke) {
            return;
        }
        let Invoke { call, callee, registration, ref details, .. } = invoke;
        self.cx.traces.is_routers_question = call.caller.is_router();
        let limit = self.cx.limits().invocations_per_session;
        let outcome = match self.connections.find(callee) {
            None => Err(CALLEE_LEFT),
            Some(session) if !session.registrations.takes_calls(registration) => {
                if self.take_proof(&invoke) {
                    return self.handle_invoke(invoke, payload, now);
                }
                Err(NO_SUCH_PROCEDURE)
            }
            Some(session) if session.invocations.len() >= limit => Err(CALLEE_BUSY),
            // A callee that is busy must not pay for those who call it.
            Some(_) if self.is_choked(callee.slot, payload.weight()) => Err(CALLEE_BEHIND),
            Some(session) => {
                let request = session.invocations.next_id();
                let message = RouterMessage::Invocation { request, registration, details, payload };
                self.bring_to_callee(callee.slot, &message)
            }
        };
        match outcome {
            Ok(()) => {
                self.connections.joined_mut(callee.slot).invocations.insert(PendingInvocation {
                    call,
                    receive_progress: invoke.receive_progress,
                    takes_passthru: invoke.takes_passthru,
                    interrupted: false,
                    load: invoke.load,
                });
                self.cx.counters.invocations.increment();
            }
            Err(refusal) if call.caller.is_router() => {
                self.bounce(Return { call, outcome: refusal.into() });
            }
            Err(refusal) => self.return_to(call, refusal.into(), NO_PAYLOAD, now),
        }
    }
}

impl Context {
    /// Every check that can refuse a call: URI, permission, limits, then registration (BP-CALL-01).
    fn route_call(
        &mut self,
        session: &mut Session,
        call: &Call<'_>,
    ) -> Result<(Picked, Terms), Refused> {
        let (procedure, exact) = (&*call.procedure, MatchPolicy::Exact);
        let recalled = session.permissions.recall(self.id, Action::Call, procedure, exact);
        let terms = match recalled {
            // Only what is valid is remembered.
            Some(decided) => decided?,
            None => {
                check_uri(&session.rules, procedure, self.limits().uri_bytes)?;
                self.decide(session, Asked(Action::Call, procedure), exact)?
            }
        };
        if session.calls.len() >= self.limits().calls_per_session {
            return Err(TOO_MANY_CALLS.into());
        }
        // Borrowed: every shard would write to the count of the realm's references.
        let realm = &session.realm;
        check_disclosure(&session.rules.settings, &call.options, terms)?;
        self.work.charge(PATTERN_UNITS * realm.procedures.look_ups(procedure));
        let random = || self.rng.random();
        let picked = realm.procedures.pick(procedure, random).map_err(|error| match error {
            PickError::NoProcedure => NO_SUCH_PROCEDURE,
            PickError::Busy => ALL_CALLEES_BUSY,
        })?;
        check_callee(&call.options, picked.traits)?;
        Ok((picked, terms))
    }

    /// Whether there is room for what has to be kept of a call.
    fn check_room(
        &self,
        session: &Session,
        call: &Call<'_>,
        traits: Traits,
    ) -> Result<(), Refusal> {
        let bytes = kept_bytes(call, traits);
        if bytes == 0 {
            return Ok(());
        }
        if session.kept_bytes + bytes > self.limits().kept_bytes_per_session
            || !self.may_keep(&session.realm, bytes)
        {
            return Err(TOO_MUCH_KEPT);
        }
        Ok(())
    }
}

impl Shard {
    /// Queues an INVOCATION. Its payload may be larger in the callee's serializer, so whether it
    /// fits is known only now.
    pub(super) fn bring_to_callee(
        &mut self,
        slot: Slot,
        message: &RouterMessage<'_>,
    ) -> Result<(), Refusal> {
        match self.send_if_it_fits(slot, message) {
            Ok(true) => Ok(()),
            Ok(false) => Err(CALLEE_BEHIND),
            Err(error) => Err(not_delivered(error)),
        }
    }
}

/// What only some calls need to keep.
fn call_extra(
    call: &Call<'_>,
    picked: &Picked,
    details: &Dict,
    terms: Terms,
    timeout_ms: u64,
    now: Millis,
) -> CallExtra {
    let procedure = || call.procedure.as_ref().into();
    let registration = picked.registration;
    let upload = call.options.progress.then(|| Upload {
        procedure: procedure(),
        registration,
        details: details.clone(),
        open: true,
    });
    let may_return = picked.traits.may_return_calls();
    // The chunks of a progressive call are not kept, so it stays with its callee (AP-RRT-04).
    let rerouting = (may_return && upload.is_none()).then(|| Rerouting {
        procedure: procedure(),
        registration,
        options: call.options.clone(),
        payload: call.payload.to_buf(),
        tour: Tour::new(picked.place),
        terms,
        since: now,
    });
    let deadline = (timeout_ms > 0).then(|| now + timeout_ms);
    CallExtra {
        deadline,
        timeout_ms,
        upload,
        rerouting,
        kept_bytes: kept_bytes(call, picked.traits),
        held: None,
    }
}

/// Bytes that have to be kept of a call: of one that may be routed again, or be continued.
fn kept_bytes(call: &Call<'_>, traits: Traits) -> usize {
    if call.options.progress {
        KEPT_BYTES + call.procedure.len()
    } else if traits.may_return_calls() {
        KEPT_BYTES + call.procedure.len() + call.payload.weight()
    } else {
        0
    }
}

/// Why a callee did not get an INVOCATION.
const fn not_delivered(error: SendError) -> Refusal {
    match error {
        SendError::TooLarge => TOO_LARGE_FOR_CALLEE,
        SendError::Encoding => NOT_FOR_CALLEE,
    }
}

const TOO_MANY_CALLS: Refusal = (
    WampError::ResourceLimit,
    "this session has as many calls pending as the router allows per session",
);
const TOO_MUCH_KEPT: Refusal = (
    WampError::ResourceLimit,
    "the router has no room to keep this call while it is pending: wait for the results of others",
);
pub(super) const CALLEE_BEHIND: Refusal = (
    WampError::ResourceLimit,
    "the callee does not read as fast as it is called, and this call does not fit its queue",
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
pub(super) const ALL_CALLEES_BUSY: Refusal = (
    WampError::NoAvailableCallee,
    "every callee has as many invocations pending as it wants: try again later",
);

/// A round figure for what is kept of a call besides its procedure and payload, in bytes.
const KEPT_BYTES: usize = 512;
