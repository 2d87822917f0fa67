//! The deadlines of one shard: of its connections and of its callers' calls.
//!
//! Connections stand in a heap whose stale entries are ignored: each has few. Calls stand in an
//! ordered set and leave it when they end, so that a short call with a long timeout leaves nothing.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use crate::clock::Millis;
use crate::router::{SessionRef, Slot};
use crate::wamp::{RequestId, SessionId};

/// A connection, told apart from earlier ones in the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) slot: Slot,
    pub(super) generation: u32,
}

/// A call with a timeout, at its caller's shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CallTimer {
    pub(super) slot: Slot,
    pub(super) session: SessionId,
    pub(super) call: RequestId,
    pub(super) kind: CallKind,
}

/// Who answers a call. Where request ids need not rise, two that are under way may share theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CallKind {
    /// A callee.
    Routed,
    /// Whoever answers the management API.
    Managed,
    /// Other nodes; the call is a poll of the shard.
    Polled,
}

impl CallTimer {
    pub(super) const fn of(caller: SessionRef, call: RequestId) -> Self {
        Self { slot: caller.slot, session: caller.session, call, kind: CallKind::Routed }
    }

    pub(super) const fn of_managed(caller: SessionRef, call: RequestId) -> Self {
        Self { kind: CallKind::Managed, ..Self::of(caller, call) }
    }

    /// The poll with this ticket.
    pub(super) const fn of_poll(ticket: RequestId) -> Self {
        let (slot, session) = (Slot::MAX, SessionId::ROUTER);
        Self { slot, session, call: ticket, kind: CallKind::Polled }
    }
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Millis, Owner)>>,
    calls: BTreeSet<(Millis, CallTimer)>,
}

impl Timers {
    pub(super) fn arm(&mut self, at: Millis, owner: Owner) {
        self.heap.push(Reverse((at, owner)));
    }

    pub(super) fn arm_call(&mut self, at: Millis, call: CallTimer) {
        self.calls.insert((at, call));
    }

    /// Takes out what [`Self::arm_call`] put in.
    pub(super) fn disarm_call(&mut self, at: Millis, call: CallTimer) {
        let was_armed = self.calls.remove(&(at, call));
        debug_assert!(was_armed, "a call's deadline stands in the timers");
    }

    pub(super) fn call_count(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn next(&self) -> Option<Millis> {
        let connection = self.heap.peek().map(|Reverse((at, _))| *at);
        let call = self.calls.first().map(|(at, _)| *at);
        [connection, call].into_iter().flatten().min()
    }

    /// The next connection whose deadline has come.
    pub(super) fn pop_due(&mut self, now: Millis) -> Option<Owner> {
        self.heap.peek().filter(|Reverse((at, _))| *at <= now)?;
        self.heap.pop().map(|Reverse((_, owner))| owner)
    }

    /// The next call whose deadline has come; its owner disarms it.
    pub(super) fn due_call(&self, now: Millis) -> Option<(Millis, CallTimer)> {
        self.calls.first().filter(|(at, _)| *at <= now).copied()
    }
}
