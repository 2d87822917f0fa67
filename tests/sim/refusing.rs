//! What the router refuses as too much of what it has accepted waits already, and what it drops:
//! who is told so, and that it is counted to the event.

use std::collections::BTreeMap;

use rand::RngExt;
use serde_json::Value;

use super::client::Stage;
use super::endings::LIMIT;
use super::model::Tag;
use super::world::World;

impl World {
    /// Whether the total of what is held may be the reason of an ERROR, which says of what it is.
    pub(crate) fn is_held_too_much(&self, error: &[Value], what: &str) -> bool {
        let reason = error[5][0].as_str().unwrap_or_default();
        self.plan.tight_held && error[4] == LIMIT && reason.starts_with(what)
    }

    /// A publication was refused: nobody has heard it, and nobody will.
    pub(crate) fn note_refused(&mut self, c: usize, number: u64) {
        let tag = self.clients[c].session.tag;
        let publication = self.model.publications.get_mut(&(tag, number)).expect("it was sent");
        assert_eq!(publication.id, None, "somebody has heard what was refused");
        publication.void = true;
        self.model.forgive_publication(tag, number);
        self.note("publication refused", format_args!("c{c}, {number}"));
    }

    /// Nothing is under way: some stop reading, others publish, and what each one misses is exactly
    /// what the router has counted for it.
    pub(crate) fn probe_drops(&mut self) {
        if !self.plan.drops_events() {
            return;
        }
        self.model.owed.clear();
        let before: Vec<u64> = (0..self.clients.len()).map(|c| self.dropped(c)).collect();
        let joined: Vec<usize> = (0..self.clients.len()).filter(|c| self.is_joined(*c)).collect();
        for c in &joined {
            if self.rng.random_bool(0.5) {
                self.net.links.pipes[self.clients[*c].pipe].capacity = 0;
            }
        }
        for _ in 0..self.rng.random_range(10..60) {
            if let Some(c) = self.any_such(Self::is_joined) {
                self.publish(c);
                let waiting = self.clients[c].outbox.len();
                self.arrive(c, waiting);
            }
        }
        self.net.settle();
        for c in &joined {
            let pipe = self.clients[*c].pipe;
            self.net.links.pipes[pipe].capacity = usize::MAX;
            self.net.wake(pipe);
        }
        self.drain(true);
        // Of who was ended the others were told, by events of which nobody keeps count here.
        if joined.iter().all(|c| self.is_joined(*c)) {
            self.check_drops(&before);
        }
        self.model.owed.clear();
    }

    fn check_drops(&mut self, before: &[u64]) {
        let mut missing: BTreeMap<Tag, u64> = BTreeMap::new();
        for owed in &self.model.owed {
            *missing.entry(owed.0).or_default() += 1;
        }
        let joined: Vec<usize> = (0..before.len()).filter(|c| self.is_joined(*c)).collect();
        for c in joined {
            let missed = missing.remove(&self.clients[c].session.tag).unwrap_or_default();
            let dropped = self.dropped(c) - before[c];
            // The smallest peers do not take some of what nobody owes them, or is it dropped?
            if self.clients[c].link.limit_bytes() < 10_000 {
                assert!(missed <= dropped, "c{c} misses {missed}, {dropped} were dropped");
                continue;
            }
            assert_eq!(missed, dropped, "what c{c} misses, and what was dropped for it");
            if dropped > 0 {
                self.log.count("events dropped, and counted exactly");
            }
        }
        assert!(missing.is_empty(), "events are owed to nobody: {missing:?}");
    }

    fn dropped(&self, c: usize) -> u64 {
        let client = &self.clients[c];
        let slot = self.net.links.pipes[client.pipe].slot;
        if self.is_joined(c) { self.net.shard(client.shard).events_dropped(slot) } else { 0 }
    }

    pub(crate) fn is_joined(&self, c: usize) -> bool {
        self.clients[c].stage == Stage::Joined
    }
}

/// How the reasons begin.
pub(crate) const PUBLICATION: &str = "too much waits for its receivers";
pub(crate) const QUESTION: &str = "too much waits in the router to hold this question";
pub(crate) const PAYLOAD_OF_A_CALL: &str = "too much waits on its way through the router";
