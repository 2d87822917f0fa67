//! Nodes of the simulation that serve nobody when they are cut off from the bucket.

use rand::RngExt;
use serde_json::Value;

use super::super::plan::pick;
use super::calls::exclusive;
use super::{SILENCE_MS, World};

impl World {
    /// The network falls into two parts, one of which has the bucket; those who are there want what
    /// those elsewhere have.
    pub(super) fn part(&mut self) {
        let nodes = self.cluster.members.len();
        let away: Vec<_> = (0..nodes).filter(|_| self.rng.random_bool(0.5)).collect();
        self.register_at(|node| away.contains(&node));
        let before = self.rng.random_range(0..3_000);
        self.run_for(before);
        for one in 0..nodes {
            for other in (0..nodes).filter(|other| away.contains(&one) != away.contains(other)) {
                self.cluster.bus.cut.insert((one, other));
            }
        }
        self.cluster.bucket.away.clear();
        self.cluster.bucket.away.extend(&away);
        self.register_at(|node| !away.contains(&node));
        // Over the end of what those have promised who are away, or not.
        let most = *pick(&mut self.rng, &[SILENCE_MS / 2, 2 * SILENCE_MS]);
        let (ms, steps) = (self.rng.random_range(0..most), *pick(&mut self.rng, &[1, 5]));
        for _ in 0..steps {
            self.run_for(ms / steps);
        }
        self.count("a partition");
        if self.rng.random_bool(0.7) {
            self.cluster.bus.cut.clear();
            self.cluster.bucket.away.clear();
        }
    }

    /// Somebody at one of these nodes registers what is not shared.
    fn register_at(&mut self, is_meant: impl Fn(usize) -> bool) {
        let here = |client: &usize| {
            let client = &self.clients[*client];
            !client.is_lost && is_meant(client.node)
        };
        let clients: Vec<_> = (0..self.clients.len()).filter(here).collect();
        if !clients.is_empty() {
            for procedure in 0..exclusive().count() {
                let client = *pick(&mut self.rng, &clients);
                self.register_for(client, procedure);
            }
        }
    }

    /// A client is told that its node serves nobody: it goes.
    pub(super) fn take_farewell(&mut self, client: usize, message: &Value, when: &str) -> bool {
        if !matches!(message[0].as_u64(), Some(3 | 6)) {
            return false;
        }
        assert!(self.has_stops, "{when}: {message}");
        assert_eq!(message[2], "wamp.close.system_shutdown", "{when}: {message}");
        self.count(if message[0] == 3 { "HELLO is refused" } else { "a client is sent away" });
        let me = &mut self.clients[client];
        me.is_lost = true;
        let (node, pipe) = (me.node, me.pipe);
        self.note_leaver();
        self.cluster.members[node].network.lose(pipe);
        true
    }

    /// Once all is at rest, a node that must not serve has no session.
    pub(super) fn check_stopped(&self) {
        for index in self.cluster.up() {
            let member = &self.cluster.members[index];
            if !member.node.members().may_serve(self.cluster.now) {
                let sessions = member.network.router.snapshot().sessions;
                let says_so = !member.node.is_ready() || !member.node.is_serving();
                assert!(says_so && sessions == 0, "node {index}: {sessions}");
            }
        }
    }
}
