//! What clients are told of the whole cluster: other nodes confirm it late, or never, and until
//! then nothing is written to the client, for as long as it may take.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stentor::clock::Millis;
use stentor::shard::{Claims, Corks};

use super::world::World;

/// What was seen of the corks of a run.
pub(crate) struct Sight {
    pub(super) rng: StdRng,
    /// By pipe: the cork, and how many bytes had been written when it was first seen.
    corked: BTreeMap<usize, (u64, usize)>,
    /// Of each shard, when it was last looked at.
    before: BTreeMap<usize, Corks>,
    pub(super) claims: BTreeMap<usize, Claims>,
}

impl Sight {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed.rotate_left(32));
        Self { rng, corked: BTreeMap::new(), before: BTreeMap::new(), claims: BTreeMap::new() }
    }

    /// The process has ended, and what waited with it.
    pub(crate) fn forget(&mut self) {
        self.corked.clear();
        self.before.clear();
        self.claims.clear();
    }
}

impl World {
    /// Other nodes confirm something, in any order, or lose it.
    pub(crate) fn confirm_somewhere(&mut self) {
        let asked = self.net.links.gateway.asked.len();
        if asked == 0 {
            return;
        }
        let place = self.sight.rng.random_range(0..asked);
        match self.sight.rng.random_range(0..20) {
            0..6 => {
                self.note("confirmed", format_args!("{place} of {asked}"));
                self.net.confirm(place);
            }
            6 => {
                self.note("a confirmation is lost", format_args!("{place} of {asked}"));
                self.net.links.gateway.asked.remove(place);
            }
            _ => {}
        }
    }

    /// Nothing is written to who is corked, and nobody is for longer than it may be.
    pub(crate) fn check_corks(&mut self) {
        if self.plan.settings.visible_ms == 0 {
            return;
        }
        for index in 0..self.plan.shards {
            let now = self.net.shard(index).corks();
            let before = self.sight.before.insert(index, now).unwrap_or_default();
            for (what, is_more) in [
                ("corked", now.now > before.now),
                ("uncorked", now.confirmed > before.confirmed),
                ("a cork expires", now.expired > before.expired),
                ("a cork is full", now.full > before.full),
            ] {
                if is_more {
                    self.log.count(what);
                }
            }
        }
        for c in 0..self.clients.len() {
            let (pipe, shard) = (self.clients[c].pipe, self.clients[c].shard);
            let end = &self.net.links.pipes[pipe];
            let shard = self.net.shard(shard);
            let cork = if end.closed { None } else { shard.cork_of(end.slot) };
            let Some((first, until)) = cork else {
                self.sight.corked.remove(&pipe);
                continue;
            };
            let is_due = |at: Millis| at <= self.net.now;
            let is_looked_at = shard.next_deadline().is_some_and(is_due);
            assert!(!is_due(until) || is_looked_at, "c{c} is corked beyond {until:?}");
            let seen = self.sight.corked.entry(pipe).or_insert((first, end.written));
            if seen.0 != first {
                *seen = (first, end.written);
            }
            assert_eq!(seen.1, end.written, "c{c} is written to behind its cork");
        }
    }

    /// Other nodes confirm again, and what they never will comes to its end.
    pub(crate) fn outwait_corks(&mut self) {
        self.net.links.gateway.is_held = false;
        let corked = |world: &Self| {
            (0..world.plan.shards).map(|shard| world.net.shard(shard).corks().now).sum::<usize>()
        };
        self.net.settle();
        for _ in 0..=self.plan.settings.visible_ms / WAIT_MS {
            if corked(self) == 0 {
                break;
            }
            self.net.advance(WAIT_MS);
            self.drain(false);
        }
        assert_eq!(corked(self), 0, "somebody is corked for ever");
    }
}

/// How far the time leaps: less than what answers to pings may take.
const WAIT_MS: u64 = 20;
