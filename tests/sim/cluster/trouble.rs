//! What goes wrong between nodes, and with the bucket that they share.

use rand::RngExt;

use super::super::plan::pick;
use super::{SILENCE_MS, World};

impl World {
    pub(super) fn trouble(&mut self) {
        match self.rng.random_range(0..3) {
            0 => self.trouble_of_members(),
            _ => self.trouble_of_messages(),
        }
    }

    fn trouble_of_messages(&mut self) {
        let routes = self.cluster.bus.routes();
        let member = self.rng.random_range(0..self.cluster.members.len());
        let other = self.rng.random_range(0..self.cluster.members.len());
        match self.rng.random_range(0..8) {
            0 if !routes.is_empty() => {
                self.cluster.bus.lose(*pick(&mut self.rng, &routes));
                self.count("a message is lost");
            }
            1 if !routes.is_empty() => {
                self.cluster.bus.delay(*pick(&mut self.rng, &routes));
                self.count("a message takes another way");
            }
            2 if !routes.is_empty() => {
                self.cluster.bus.lose_all(*pick(&mut self.rng, &routes));
                self.cluster.members[member].node.handle_bus_changed(self.cluster.now);
                self.count("all messages of a route are lost");
            }
            3 | 4 => {
                let member = &mut self.cluster.members[member];
                member.is_congested = !member.is_congested;
                self.count("a node cannot keep up, or can");
            }
            5 if self.rng.random_bool(0.3) => {
                self.cluster.bus.cut.insert((member, other));
                self.count("a node is not heard");
            }
            6 => self.cluster.bus.cut.clear(),
            7 if self.rng.random_bool(0.1) => {
                self.cluster.advance(SILENCE_MS);
                self.count("silence");
            }
            _ => self.cluster.advance(300),
        }
    }

    fn trouble_of_members(&mut self) {
        let index = self.rng.random_range(0..self.cluster.members.len());
        match self.rng.random_range(0..11) {
            0 if self.cluster.is_up(index) => {
                self.kill(index);
                self.count("a node ends");
            }
            1..6 if !self.cluster.is_up(index) => {
                self.cluster.restart(index);
                self.count("a node starts");
            }
            3 => {
                self.cluster.bucket.has_no_leader = !self.cluster.bucket.has_no_leader;
                self.count("nobody decides in the bucket, or somebody does");
            }
            4 => {
                self.cluster.bucket.away.insert(index);
                self.count("a node does not reach the bucket");
            }
            5 => self.cluster.bucket.away.clear(),
            6 => self.cluster.bucket.delay(),
            9 if self.cluster.is_up(index) => {
                self.cluster.bucket.silent.insert(index);
                self.count("a watch falls silent");
            }
            // Who has stopped without it does not know that all others have begun anew.
            7 if !self.has_stops && self.rng.random_bool(0.5) => {
                self.cluster.bucket.empty();
                self.count("the bucket is deleted");
            }
            // Long enough that the silent are removed, by those who run meanwhile.
            8 if self.rng.random_bool(0.3) => self.run_for(12_000),
            10 if self.cluster.is_connected(index) => {
                self.cluster.disconnect(index);
                self.count("a node loses its server");
            }
            10 => self.cluster.connect(index),
            _ => self.run_for(1_000),
        }
    }

    /// All that is under way goes on, while time passes.
    pub(super) fn run_for(&mut self, ms: u64) {
        self.cluster.settle_for(ms);
        self.cluster.open_silent_watches();
        self.check_stopped();
        for index in self.cluster.up() {
            if let Some(ended) = self.cluster.members[index].node.ended() {
                assert!(self.has_trouble, "{ended}");
                // Its process ends with that, and is started again.
                self.kill(index);
                self.cluster.restart(index);
                self.count("a node cannot stay");
            }
        }
    }

    /// The clients of a node that ends go with it.
    fn kill(&mut self, index: usize) {
        self.cluster.kill(index);
        self.note_leaver();
        for client in self.clients.iter_mut().filter(|client| client.node == index) {
            client.is_lost = true;
        }
    }

    /// All is well again, and stays so for long enough.
    pub(super) fn heal(&mut self) {
        self.cluster.bus.cut.clear();
        self.cluster.bucket.away.clear();
        (0..self.cluster.members.len()).for_each(|index| self.cluster.connect(index));
        self.cluster.bucket.has_no_leader = false;
        self.cluster.members.iter_mut().for_each(|member| member.is_congested = false);
        for index in 0..self.cluster.members.len() {
            if !self.cluster.is_up(index) {
                self.cluster.restart(index);
            }
        }
        // A process that starts may have to wait until nobody serves under its name.
        let rounds = if self.has_stops { 24 } else { 8 };
        (0..rounds).for_each(|_| self.run_for(2_000));
    }

    /// All nodes are members, under numbers of their own, and the bucket says nothing else.
    pub(super) fn check_members(&mut self, when: &str) {
        let nodes = self.cluster.members.len();
        assert_eq!(self.cluster.up().len(), nodes, "{when}: all are back");
        assert!(self.cluster.is_linked(), "{when}: all are linked again");
        let mut numbers: Vec<_> = self
            .cluster
            .members
            .iter()
            .map(|member| {
                let members = member.node.members();
                assert!(members.is_member() && member.node.is_ready(), "{when}");
                assert!(member.node.is_serving(), "{when}");
                assert_eq!(member.node.ended(), None, "{when}");
                members.ids().expect("it is a member").node().get()
            })
            .collect();
        for index in 0..nodes {
            let life = self.cluster.members[index].node.members().incarnation();
            if life != self.first_lives[index] {
                self.count("a node has another life");
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), nodes, "{when}: no number twice");
        let lives = self.cluster.members.iter().map(|it| it.node.members().incarnation());
        let lives: Vec<_> = lives.map(|life| format!("reg.{life}.")).collect();
        let is_of_member = |key: &&str| lives.iter().any(|life| key.starts_with(&**life));
        let keys: Vec<_> = self.cluster.bucket.keys().filter(|key| !is_of_member(key)).collect();
        assert_eq!(keys.len(), nodes + 1, "{when}: {keys:?}");
        self.check_callees(when);
    }
}
