//! A node that may serve clients for a while only: if nothing prolongs it, all sessions are told
//! to leave at once, callees first, and nobody joins until it may again.
//!
//! Each shard sees to that itself, whatever becomes of the thread that prolongs it. Others may soon
//! be granted what the sessions here have, so nothing is waited for.

use std::collections::VecDeque;

use super::Shard;
use super::drain::DISMISSAL_UNITS;
use super::lifecycle::Shutdown;
use super::work::LOOKUP_UNITS;
use crate::clock::Millis;
use crate::router::{EndReason, SessionRef};
use crate::transport::CloseCode;

/// Who is still to be told.
#[derive(Debug)]
pub(super) struct Suspension {
    queue: VecDeque<SessionRef>,
    /// Until when clients may be served again: those who come, as others are still told.
    until: Millis,
}

impl Suspension {
    pub(super) fn has_jobs(&self) -> bool {
        !self.queue.is_empty()
    }
}

impl Shard {
    /// Clients may be served until then, if they may be now. A router that stops goes on with that,
    /// and has no more time.
    pub(super) fn serve_until(&mut self, until: Millis, now: Millis) {
        self.suspend_if_late(now);
        match &mut self.shutdown {
            Shutdown::No => self.shutdown = Shutdown::Until(until),
            Shutdown::Until(before) => *before = until,
            Shutdown::Suspended(suspension) => suspension.until = until,
            // Once it is late, all are told: others may have been granted what they have.
            Shutdown::Draining(drain) if drain.serves_until > now => drain.serves_until = until,
            Shutdown::Draining(_) | Shutdown::Dismissing(_) => {}
        }
        self.suspend_if_late(now);
        self.end_suspension(now);
    }

    fn suspend_if_late(&mut self, now: Millis) {
        if let Shutdown::Until(until) = self.shutdown
            && until <= now
        {
            let queue = self.callees_first();
            self.shutdown = Shutdown::Suspended(Suspension { queue, until });
        }
    }

    fn callees_first(&self) -> VecDeque<SessionRef> {
        let mut queue = VecDeque::new();
        for (slot, connection) in self.connections.iter() {
            let Some(session) = connection.session() else { continue };
            let reference = self.cx.reference(slot, session.id);
            if session.registrations.is_empty() {
                queue.push_back(reference);
            } else {
                queue.push_front(reference);
            }
        }
        queue
    }

    /// Whether nobody may join, as nobody may be served.
    pub(super) fn is_suspended(&self) -> bool {
        match &self.shutdown {
            Shutdown::Until(until) => *until <= self.cx.now,
            Shutdown::Suspended(suspension) => suspension.until <= self.cx.now,
            Shutdown::No | Shutdown::Draining(_) | Shutdown::Dismissing(_) => false,
        }
    }

    /// Tells further sessions to leave, as many as a step allows. `false` if there are none.
    pub(super) fn go_on_suspending(&mut self, now: Millis) -> bool {
        self.suspend_if_late(now);
        self.cx.work.begin_visit();
        let mut has_told = false;
        while !self.cx.work.is_step_over()
            && let Shutdown::Suspended(Suspension { queue, .. }) = &mut self.shutdown
            && let Some(session) = queue.pop_front()
        {
            has_told = true;
            self.cx.work.charge(LOOKUP_UNITS);
            if self.connections.find(session).is_some() {
                self.cx.work.charge(DISMISSAL_UNITS);
                let (end, code) = (EndReason::CutOff, CloseCode::Away);
                self.say_goodbye(session.slot, end, end.close_uri(), CUT_OFF, code, now);
            }
        }
        self.settle(now);
        self.end_suspension(now);
        has_told
    }

    /// Clients may be served again, and all who were here before were told.
    fn end_suspension(&mut self, now: Millis) {
        if let Shutdown::Suspended(suspension) = &self.shutdown
            && suspension.until > now
            && !suspension.has_jobs()
        {
            self.shutdown = Shutdown::Until(suspension.until);
        }
    }
}

/// What clients are told that have to go, or may not come.
pub(super) const CUT_OFF: &str = "this node is cut off from its cluster, try another one";
