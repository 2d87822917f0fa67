//! The end of a run: everything under way arrives, debts are settled, everybody leaves, and
//! nothing may be left.

use std::collections::BTreeMap;

use rand::RngExt;

use super::client::{Request, Stage};
use super::model::{Owed, Tag};
use super::world::World;

impl World {
    pub(crate) fn finish(&mut self) {
        self.net.links.store.is_held = false;
        self.net.sees_all = true;
        self.net.tell_of_failures();
        if self.shutting_down && self.rng.random_bool(0.3) {
            self.outwait_drain();
            self.outwait();
        }
        for c in 0..self.clients.len() {
            self.clients[c].stalled = false;
            let pipe = self.clients[c].pipe;
            self.net.links.pipes[pipe].capacity = usize::MAX;
            self.net.wake(pipe);
        }
        if self.plan.shutdown && !self.shutting_down {
            self.begin_shutdown();
        }
        self.outwait_corks();
        self.outwait_questions();
        self.net.settle();
        self.drain(true);
        self.outwait_drain();
        self.drain(true);
        self.check_settled();
        if !self.shutting_down {
            self.probe();
            self.probe_counts();
            self.probe_drops();
        }
        self.leave_all();
        self.drain(true);
        self.net.settle();
        for _ in 0..2 {
            self.net.advance(10_000);
            self.net.settle();
        }
        self.net.check_empty();
        assert!(!self.shutting_down || self.net.is_over(), "nobody is left, and it goes on");
    }

    pub(crate) fn begin_shutdown(&mut self) {
        self.note("shutdown", format_args!(""));
        self.shutting_down = true;
        self.drain_until = None;
        self.net.begin_shutdown();
        // Everybody is told to go, in any order.
        self.model.owed.clear();
    }

    /// A shutdown ends although nobody reads or answers.
    fn outwait(&mut self) {
        let rounds = (2 * self.plan.settings.timeouts.close_ms + LAST_WORDS_MS) / WAIT_MS + 1;
        for _ in 0..rounds {
            self.net.settle();
            self.net.advance(WAIT_MS);
        }
        assert!(self.net.is_over(), "the shutdown waits for ever");
        self.note("shutdown, nobody reads", format_args!(""));
    }

    /// Everything under way arrives, and perhaps every invocation is answered.
    pub(crate) fn drain(&mut self, answering: bool) {
        for _ in 0..MANY_TURNS {
            let mut progress = 0;
            self.excuse_the_late();
            self.net.settle();
            for c in 0..self.clients.len() {
                let waiting = self.clients[c].outbox.len();
                if waiting > 0 {
                    self.arrive(c, waiting);
                    progress += 1;
                    self.net.settle();
                }
            }
            for c in 0..self.clients.len() {
                if self.clients[c].stage != Stage::Gone {
                    progress += self.read(c, usize::MAX);
                }
                while answering
                    && !self.clients[c].session.invocations.is_empty()
                    && !self.clients[c].hostile
                {
                    self.answer(c);
                    progress += 1;
                }
            }
            if progress == 0 {
                return;
            }
        }
        panic!("the router never comes to rest");
    }

    /// Nothing is under way: what was owed must have come.
    fn check_settled(&mut self) {
        for (c, client) in self.clients.iter().enumerate() {
            let over = matches!(client.stage, Stage::Gone | Stage::Ending);
            assert!(over || !client.hostile, "c{c} is still there, in stage {:?}", client.stage);
            assert!(over || !self.shutting_down, "c{c} survives in stage {:?}", client.stage);
            let retained = &client.session.retained;
            assert!(over || !retained.is_missing(), "c{c} hears no retained event: {retained:?}");
            let calls = client.session.pending.values().filter(|r| matches!(r, Request::Call(..)));
            assert_eq!(calls.count(), 0, "c{c} waits for the end of a call (BP-CALL-03)");
            let pending = &client.session.pending;
            assert!(pending.is_empty(), "c{c} waits for answers: {pending:?}");
            assert!(over || client.unanswered_pings == 0, "c{c} waits for PONG");
            assert!(over || client.session.has_lost_all(), "c{c} hears of no revocation");
        }
        self.check_claims();
        self.check_meta_views();
        self.check_missing_events();
    }

    /// Each client misses what was dropped for it and nothing else, and nothing is dropped for who
    /// takes all that it is offered.
    fn check_missing_events(&mut self) {
        let mut missing: BTreeMap<Tag, Vec<Owed>> = BTreeMap::new();
        for owed in &self.model.owed {
            missing.entry(owed.0).or_default().push(*owed);
        }
        for c in 0..self.clients.len() {
            let client = &self.clients[c];
            let pipe = &self.net.links.pipes[client.pipe];
            let dropped = self.net.shard(client.shard).events_dropped(pipe.slot);
            let dropped = if client.stage == Stage::Joined { dropped } else { 0 };
            let may_drop = self.plan.drops_events() && pipe.has_refused;
            assert!(dropped == 0 || may_drop, "{dropped} events are dropped for c{c}");
            let missed = missing.remove(&client.session.tag).unwrap_or_default();
            let enough = missed.len() as u64 <= dropped;
            assert!(enough, "c{c} misses {missed:?}, and {dropped} events were dropped for it");
            if dropped > 0 {
                self.note("events dropped for the slow", format_args!("c{c}, {}", missed.len()));
            }
        }
        assert!(missing.is_empty(), "events are owed to nobody: {missing:?}");
    }

    fn leave_all(&mut self) {
        for c in 0..self.clients.len() {
            match (self.clients[c].stage, self.rng.random_range(0..3)) {
                (Stage::Gone, _) => {}
                (Stage::Joined, 0) => {
                    self.goodbye(c);
                    self.clients[c].half_closed = true;
                }
                (Stage::Joined, 1) => self.abort(c),
                _ => self.lose(c),
            }
        }
    }
}

/// What a shutdown waits for the last bytes, and how often one looks whether it is over.
const LAST_WORDS_MS: u64 = 1_000;
const WAIT_MS: u64 = 100;

/// More turns than any conversation of this simulation takes.
const MANY_TURNS: usize = 1_000;
