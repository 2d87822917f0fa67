//! Where a dialogue takes place: one router, or several that are one to their clients.

use stentor::cluster::NodeSettings;
use stentor::router::{RealmSettings, Settings};

use crate::support::{Cluster, Network};

pub(super) enum World {
    Alone(Box<Network>),
    Several(Box<Cluster>),
}

impl World {
    /// So many nodes, linked with each other.
    pub(super) fn several(
        nodes: usize,
        settings: Settings,
        realms: Vec<RealmSettings>,
        shards: usize,
    ) -> Self {
        let settings = of_cluster(settings);
        let node = NodeSettings { max_payload: 1 << 20, silence_ms: 10_000, queue_bytes: 1 << 20 };
        let mut cluster = Cluster::new(nodes, shards, (&settings, node), &realms);
        cluster.settle();
        assert!(cluster.is_linked());
        Self::Several(Box::new(cluster))
    }

    pub(super) fn networks(&mut self) -> Vec<&mut Network> {
        match self {
            Self::Alone(network) => vec![network],
            Self::Several(cluster) => {
                cluster.members.iter_mut().map(|member| &mut member.network).collect()
            }
        }
    }

    pub(super) fn network(&mut self, node: usize) -> &mut Network {
        match self {
            Self::Alone(network) => network,
            Self::Several(cluster) => &mut cluster.members[node].network,
        }
    }

    /// The only router.
    pub(super) fn alone(&mut self) -> &mut Network {
        match self {
            Self::Alone(network) => network,
            Self::Several(_) => panic!("the dialogue is one of one node, and is to say so"),
        }
    }

    /// The node and the shard of a client.
    pub(super) fn place(&self, client: usize) -> (usize, usize) {
        match self {
            Self::Alone(network) => (0, client % network.shard_count()),
            Self::Several(cluster) => {
                let nodes = cluster.members.len();
                let shards = cluster.members[0].network.shard_count();
                (client % nodes, client / nodes % shards)
            }
        }
    }

    /// A router that runs wakes up when something is due; a leap in time is a stall.
    pub(super) fn wait(&mut self, ms: u64) {
        match self {
            Self::Alone(network) => {
                for passed in (0..ms).step_by(1_000) {
                    network.advance((ms - passed).min(1_000));
                }
            }
            // Nodes that heard nothing of each other for so long would part.
            Self::Several(cluster) => {
                for passed in (0..ms).step_by(STEP_MS) {
                    cluster.settle();
                    cluster.advance((ms - passed).min(STEP_MS as u64));
                }
            }
        }
    }

    /// Lets everything take effect.
    pub(super) fn settle(&mut self) {
        match self {
            Self::Alone(network) => network.settle(),
            Self::Several(cluster) => cluster.settle(),
        }
    }

    /// Each router gets other settings and realms, and stays the node that it is.
    pub(super) fn reload(&mut self, settings: &Settings, realms: &[RealmSettings]) {
        match self {
            Self::Alone(network) => network.reload(settings.clone(), realms.to_vec()),
            Self::Several(cluster) => {
                for member in &mut cluster.members {
                    let node = member.node.members().ids();
                    let settings = Settings { node, ..of_cluster(settings.clone()) };
                    member.network.reload(settings, realms.to_vec());
                }
            }
        }
    }

    /// All clients leave, and nothing of them stays.
    pub(super) fn finish(&mut self) {
        for network in self.networks() {
            network.links.store.is_held = false;
            for pipe in 0..network.links.pipes.len() {
                network.lose(pipe);
            }
        }
        match self {
            Self::Alone(network) => {
                network.settle();
                network.check_empty();
            }
            Self::Several(cluster) => {
                cluster.settle_for(10_000);
                cluster.check_empty();
            }
        }
        for network in self.networks() {
            let clients = network.router.client_counts();
            assert!(clients.iter().all(|(_, open, _)| *open == 0), "{clients:?}");
        }
    }
}

/// As the program has them for nodes.
fn of_cluster(settings: Settings) -> Settings {
    Settings {
        visible_ms: 250,
        // Few, so that topics share slots.
        interest_bits: 10,
        claims: true,
        rosters: true,
        question_ms: 2_000,
        ..settings
    }
}

const STEP_MS: usize = 500;
