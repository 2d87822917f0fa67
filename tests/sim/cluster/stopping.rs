//! Nodes of the simulation that serve nobody when they are cut off from the bucket.

use rand::RngExt;
use serde_json::Value;

use super::super::plan::pick;
use super::{SILENCE_MS, World};

impl World {
    /// The network falls into two parts, one of which has the bucket; those who are there want what
    /// those elsewhere have.
    pub(super) fn part(&mut self) {
        let nodes = self.cluster.members.len();
        let away: Vec<_> = (0..nodes).filter(|_| self.rng.random_bool(0.5)).collect();
        for one in 0..nodes {
            for other in (0..nodes).filter(|other| away.contains(&one) != away.contains(other)) {
                self.cluster.bus.cut.insert((one, other));
            }
        }
        self.cluster.bucket.away.clear();
        self.cluster.bucket.away.extend(&away);
        for _ in 0..2 {
            if let Some(client) = self.any_client()
                && !away.contains(&self.clients[client].node)
            {
                let procedure = self.rng.random_range(0..2);
                self.register_for(client, procedure);
            }
        }
        let most = if self.rng.random_bool(0.3) { 3 * SILENCE_MS } else { SILENCE_MS };
        let ms = self.rng.random_range(0..most);
        let steps = *pick(&mut self.rng, &[1, 5]);
        for _ in 0..steps {
            self.run_for(ms / steps);
        }
        self.count("a partition");
        if self.rng.random_bool(0.7) {
            self.cluster.bus.cut.clear();
            self.cluster.bucket.away.clear();
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
