//! What a session gives back when it ends, in pieces: it may hold tens of thousands of things.
//!
//! The session is out of routing from the first moment on: it receives nothing, and calls to it
//! bounce. Its slot serves no other session until all is given back, since the lists of receivers
//! still name it.

use std::cmp::Reverse;
use std::sync::Arc;
use std::vec::IntoIter;

use super::connection::{Connection, Phase};
use super::dealer::CALLEE_LEFT;
use super::mail::NO_PAYLOAD;
use super::timers::CallTimer;
use super::work::LOOKUP_UNITS;
use super::{Carried, Mail, Return, Shard};
use crate::clock::Millis;
use crate::router::{Closed, EndReason, SessionRef, Slot};
use crate::session::{
    Claimed, PendingCall, PendingInvocation, RegisteredPattern, Session, Testament, Testaments,
};
use crate::wamp::{CancelMode, RegistrationId, RequestId, SubscriptionId};

/// A session that has ended, and what it still holds.
#[derive(Debug)]
pub(super) struct Leaving {
    /// Its `subscriptions` are those that are not given back.
    pub(super) session: Session,
    reason: EndReason,
    testaments: IntoIter<Testament>,
    /// By falling id: the last one is given back next.
    subscriptions: Vec<SubscriptionId>,
    registrations: Vec<(RegistrationId, RegisteredPattern)>,
    /// What it has claimed and was not answered.
    claims: IntoIter<Claimed>,
    /// `on_leave` is published.
    is_announced: bool,
    calls: Vec<(RequestId, PendingCall)>,
    invocations: IntoIter<PendingInvocation>,
    /// It stands among those that go on by themselves.
    pub(super) is_queued: bool,
}

impl Leaving {
    fn new(mut session: Session, reason: EndReason) -> Self {
        let testaments = session.testaments.take().map(|testaments| *testaments);
        let is_published = !matches!(
            reason,
            EndReason::KilledWithAll | EndReason::RealmClosed | EndReason::Shutdown
        );
        let testaments = testaments.filter(|_| is_published).unwrap_or_default();
        let testaments: Vec<_> = Testaments::into_publications(testaments).collect();
        let mut subscriptions: Vec<_> = session.subscriptions.keys().copied().collect();
        subscriptions.sort_unstable_by_key(|subscription| Reverse(*subscription));
        let (claims, mut registrations) = session.registrations.take_all();
        registrations.sort_unstable_by_key(|(registration, _)| Reverse(*registration));
        let mut calls: Vec<_> = session.calls.drain().collect();
        calls.sort_unstable_by_key(|(request, _)| Reverse(*request));
        let invocations = session.invocations.take_all().into_iter();
        Self {
            session,
            reason,
            testaments: testaments.into_iter(),
            subscriptions,
            registrations,
            claims: claims.into_iter(),
            is_announced: false,
            calls,
            invocations,
            is_queued: false,
        }
    }

    fn held(&self) -> usize {
        self.subscriptions.len()
            + self.registrations.len()
            + self.claims.len()
            + self.calls.len()
            + self.invocations.len()
    }

    /// Claims that are still counted.
    pub(super) fn claims(&self) -> usize {
        self.claims.len()
    }

    /// Whether there is something of it that others wait for. What is left then is given back as
    /// fast as listeners are told of it.
    fn is_awaited(&self) -> bool {
        !self.testaments.as_slice().is_empty()
            || !self.calls.is_empty()
            || !self.invocations.as_slice().is_empty()
            || !self.claims.as_slice().is_empty()
    }

    /// Subscriptions, registrations, calls and invocations that are still counted.
    pub(super) fn gauges(&self) -> [usize; 4] {
        [
            self.subscriptions.len(),
            self.registrations.len(),
            self.calls.len(),
            self.invocations.len(),
        ]
    }

    /// The deadline of one of its calls has come, which nobody waits for. `false` if it has none.
    pub(super) fn forget_deadline(&mut self, call: RequestId) -> bool {
        let found = self.calls.binary_search_by_key(&Reverse(call), |(call, _)| Reverse(*call));
        let extra = found.ok().and_then(|index| self.calls[index].1.extra.as_mut());
        extra.is_some_and(|extra| extra.deadline.take().is_some())
    }

    /// Calls that still stand in the timers.
    pub(super) fn timed_calls(&self) -> usize {
        self.calls.iter().filter(|(_, call)| call.deadline().is_some()).count()
    }
}

impl Shard {
    /// Lets a session give back what it held, as far as the step lasts.
    pub(super) fn release(&mut self, slot: Slot, mut session: Session, reason: EndReason) {
        debug_assert!(self.connections[slot].leaving.is_none(), "one leaves at a time");
        self.stop_managing(slot, &mut session);
        let leaving = Leaving::new(session, reason);
        // Putting in order is part of the work.
        self.cx.work.charge(leaving.held() / 4);
        self.connections[slot].leaving = Some(Box::new(leaving));
        if !self.go_on_leaving(slot) {
            self.connections.park(slot);
            self.connections.resume_leaving(slot);
        }
    }

    /// Goes on with the sessions that are leaving. `false` if there are none.
    pub(super) fn leave_further(&mut self, now: Millis) -> bool {
        let Some(slot) = self.connections.next_leaver() else { return false };
        if self.go_on_leaving(slot) {
            self.connections.redeem(slot);
            let connection = &self.connections[slot];
            if connection.is_gone() {
                self.connections.close(slot);
            }
        } else {
            let Connection { leaving, input, .. } = &self.connections[slot];
            if !input.is_unheard() || leaving.as_ref().is_some_and(|it| it.is_awaited()) {
                self.connections.resume_leaving(slot);
            }
        }
        self.settle(now);
        true
    }

    /// `true` if everything is given back.
    fn go_on_leaving(&mut self, slot: Slot) -> bool {
        let connection = &mut self.connections[slot];
        let is_unheard = connection.input.is_unheard();
        let mut leaving = connection.leaving.take().expect("a session is leaving");
        self.cx.work.begin_visit();
        while !self.cx.work.is_step_over() {
            let has_announced = is_unheard || self.cx.work.has_announced_enough();
            if has_announced && !leaving.is_awaited() {
                break;
            }
            self.cx.work.charge(LOOKUP_UNITS);
            if !self.give_back_one(slot, &mut leaving) {
                return true;
            }
        }
        self.connections[slot].leaving = Some(leaving);
        false
    }

    /// The next thing that a session held; `false` if there is none.
    fn give_back_one(&mut self, slot: Slot, leaving: &mut Leaving) -> bool {
        let leaver = self.cx.reference(slot, leaving.session.id);
        if let Some(testament) = leaving.testaments.next() {
            self.publish_testament(slot, &leaving.session, testament);
        } else if let Some((call, pending)) = leaving.calls.pop() {
            self.abandon_call(leaver, call, &pending);
        } else if let Some(invocation) = leaving.invocations.next() {
            self.abandon_invocation(invocation);
        } else if let Some(claimed) = leaving.claims.next() {
            self.withdraw_claim(leaver, claimed.claim.id);
        } else if let Some(subscription) = leaving.subscriptions.pop() {
            let membership = leaving.session.subscriptions.remove(&subscription);
            let membership = membership.expect("what is to be given back is held");
            self.leave_subscription(leaver, subscription, membership.position);
        } else if let Some((registration, pattern)) = leaving.registrations.pop() {
            self.leave_registration(&leaving.session.realm, leaver, registration, &pattern);
        } else if !leaving.is_announced {
            leaving.is_announced = true;
            match leaving.reason {
                EndReason::KilledWithAll => self.note_leave(slot, &leaving.session),
                _ => self.announce_leave(slot, &leaving.session),
            }
        } else {
            return false;
        }
        true
    }

    /// The caller has left: nobody waits for the answer.
    fn abandon_call(&mut self, caller: SessionRef, call: RequestId, pending: &PendingCall) {
        self.cx.note_call_end(pending);
        self.cx.counters.kept_bytes.subtract(pending.kept_bytes() as u64);
        if let Some(at) = pending.deadline() {
            self.cx.timers.disarm_call(at, CallTimer::of(caller, call));
        }
        let cancellation = pending.cancellation(caller, call, CancelMode::KillNoWait);
        self.cx.post.send(pending.callee.shard, Mail::Cancel(cancellation));
    }

    /// The callee has left: the caller learns it.
    fn abandon_invocation(&mut self, invocation: PendingInvocation) {
        self.cx.counters.invocations.subtract(1);
        let call = invocation.call;
        let answer = Return { call, outcome: CALLEE_LEFT.into() };
        let answer = Carried::answer(answer, NO_PAYLOAD.to_buf(), self.cx.held());
        self.cx.post.send(call.caller.shard, Mail::Return(Box::new(answer)));
    }

    /// Takes a session out of everything it is part of. The connection stays.
    pub(super) fn end_session(&mut self, slot: Slot, reason: EndReason, now: Millis) {
        self.stop_asking(slot, now);
        let connection = &mut self.connections[slot];
        if self.cx.traces.are_on() {
            self.cx.traces.remember(slot, connection);
        }
        connection.session_id = None;
        if !matches!(connection.phase, Phase::Joined(_)) {
            self.end_login(slot, now);
            return;
        }
        let Phase::Joined(session) = std::mem::replace(&mut connection.phase, Phase::Open) else {
            unreachable!("the phase was just looked at");
        };
        self.drop_cork(slot);
        let connection = &mut self.connections[slot];
        let traffic = std::mem::take(&mut connection.traffic);
        let duration_ms = now.since(session.joined);
        tracing::info!(
            session = session.id.get(),
            realm = %session.realm.name(),
            peer = %connection.peer,
            reason = reason.as_str(),
            duration_ms,
            events_dropped = traffic.events_dropped,
            "session left"
        );
        self.cx.router.closed()[usize::from(self.cx.id.0)].note(Closed {
            session: session.id,
            realm: Arc::clone(session.realm.name()),
            profile: Arc::clone(&session.profile),
            peer: connection.peer,
            reason,
            ended: self.cx.wall_clock,
            duration_ms,
            traffic,
            pending_bytes: connection.output.waiting_bytes(),
        });
        self.cx.work.charge(ENDING_UNITS);
        self.connections.forget_tickets(slot);
        if self.polls.len() > 0 {
            self.forget_polls(session.id);
        }
        // Whoever killed it has taken it out of the list already.
        session.realm.leave(self.cx.reference(slot, session.id));
        self.cx.counters.sessions.subtract(1);
        self.cx.measures.clients.note_left(session.client);
        self.release(slot, *session, reason);
    }
}

/// What it costs to take a session out of routing and to log it, in units of work.
const ENDING_UNITS: usize = 48;
