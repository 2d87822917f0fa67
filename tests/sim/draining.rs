//! A drain: everybody is told to leave in time, and before that time is over nobody who has a call
//! under way.

use super::client::{Client, Excuse, Request, Stage};
use super::world::World;

impl World {
    /// Begins or shortens a drain, if that is to be in this step.
    pub(crate) fn drain_by_plan(&mut self, step: usize) {
        if let Some((at, within_ms)) = self.plan.drain
            && at == step
            && !self.shutting_down
        {
            self.begin_drain("drain", within_ms);
        }
        if let Some((at, within_ms)) = self.plan.second_drain
            && at == step
            && self.drain_until.is_some()
        {
            self.begin_drain("drain again", within_ms);
        }
    }

    fn begin_drain(&mut self, what: &str, within_ms: u64) {
        self.note(what, format_args!("{within_ms} ms"));
        let until = self.net.now + within_ms;
        self.drain_until = Some(self.drain_until.map_or(until, |before| before.min(until)));
        self.shutting_down = true;
        self.net.begin_drain(within_ms);
    }

    /// A session is told to leave. If the time of the drain is not over, nobody waited for it, and
    /// it waited for nobody.
    pub(crate) fn check_at_rest(&mut self, c: usize) {
        let Some(until) = self.drain_until.filter(|until| self.net.now < *until) else { return };
        let client = &self.clients[c];
        if client.stage != Stage::Joined || !self.is_undisturbed(c) {
            return;
        }
        let tag = client.session.tag;
        for request in client.session.pending.values() {
            let Request::Call(sequence, _) = request else { continue };
            let attempts = &self.model.calls[&(tag, *sequence)].attempts;
            assert!(attempts.is_empty(), "c{c} has a call under way, before {until:?}");
        }
        for call in client.session.invocations.values() {
            assert!(!self.is_waited_for(*call), "c{c} is called by {call:?}, before {until:?}");
        }
        self.log.count("told at rest");
    }

    /// Whether nothing else can have ended this call than its answer.
    fn is_waited_for(&self, (tag, sequence): (u64, u64)) -> bool {
        let call = &self.model.calls[&(tag, sequence)];
        let is_canceled = call.course.killed || call.course.dropped;
        let is_over = is_canceled || self.may_time_out(call) || call.has_large_part();
        let is_over = is_over || self.plan.tight_output || self.plan.tight_held;
        let waits = |client: &Client| {
            let mut requests = client.session.pending.values();
            requests.any(|request| matches!(request, Request::Call(it, _) if *it == sequence))
        };
        let caller = (0..self.clients.len()).find(|c| self.clients[*c].session.tag == tag);
        let caller = caller.filter(|c| self.clients[*c].stage == Stage::Joined);
        !is_over && caller.is_some_and(|c| self.is_undisturbed(c) && waits(&self.clients[c]))
    }

    /// Whether nothing but the drain can have ended the session of a client.
    fn is_undisturbed(&self, c: usize) -> bool {
        self.excuses(c).iter().all(|excuse| *excuse == Excuse::Shutdown)
    }

    /// The time of a drain passes. Whatever clients do, no session is left at its end.
    pub(crate) fn outwait_drain(&mut self) {
        let Some(until) = self.drain_until else { return };
        self.net.settle();
        while self.net.now < until {
            self.net.advance(until.since(self.net.now).min(WAIT_MS));
            self.net.settle();
        }
        assert!(self.net.is_drained(), "the time is over, and somebody is left");
        self.note("drained", format_args!(""));
        self.begin_shutdown();
        self.net.settle();
    }
}

/// How far the time leaps: less than what is taken for a stall.
const WAIT_MS: u64 = 100;
