//! Nodes that speak several versions of the cluster's protocol, and are upgraded one by one.

use stentor::cluster::NodeSettings;
use stentor::cluster::members::Ended;
use stentor::cluster::wire::Versions;
use stentor::router::{RealmSettings, Settings};

use super::cluster::{check_end, hear, join, say, subscribe};
use crate::support::Cluster;
use serde_json::json;

const NODES: usize = 3;

fn cluster() -> Cluster {
    let mut settings = Settings { visible_ms: 250, interest_bits: 10, ..Settings::default() };
    settings.timeouts.ping_interval_ms = 0;
    let node = NodeSettings { max_payload: 1 << 20, silence_ms: 10_000, queue_bytes: 1 << 20 };
    let mut cluster = Cluster::new(NODES, 1, (&settings, node), &[RealmSettings::named("realm1")]);
    cluster.settle_for(1_000);
    assert!(cluster.is_linked());
    cluster
}

fn restart(cluster: &mut Cluster, index: usize) {
    cluster.kill(index);
    cluster.restart(index);
    (0..6).for_each(|_| cluster.settle_for(1_000));
}

/// The versions that a node speaks with the others.
fn spoken(cluster: &Cluster, index: usize) -> Vec<u8> {
    let view = cluster.members[index].node.view(cluster.now);
    view.peers.iter().map(|peer| peer.version).collect()
}

/// First with one version more, then without the one of before: at each moment all are linked, and
/// two nodes speak the highest version that both do.
#[test]
fn a_cluster_is_upgraded_one_node_after_the_other() {
    let mut cluster = cluster();
    for (from, to, before) in [(1, 2, 1), (2, 2, 2), (2, 3, 2)] {
        cluster.speak(Versions { from, to });
        for index in 0..NODES {
            restart(&mut cluster, index);
            assert!(cluster.is_linked(), "node {index} speaks {from} to {to}");
            let others = (0..NODES).filter(|other| *other != index);
            let expected = others.map(|other| if other < index { to } else { before });
            assert_eq!(spoken(&cluster, index), expected.collect::<Vec<_>>());
        }
    }
    let [mut a, mut b] = [0, 1].map(|node| join(&mut cluster, node));
    let subscription = subscribe(&mut cluster, 1, &mut b, &json!([32, 1, {}, "com.x"]));
    say(&mut cluster, 0, &a, &json!([16, 1, {}, "com.x", [1]]));
    assert_eq!(hear(&mut cluster, 1, &mut b)[0][1], subscription);
    assert!(hear(&mut cluster, 0, &mut a).is_empty());
    check_end(cluster, &[(0, &a), (1, &b)]);
}

/// Two versions at once are too many: the process ends, and says so; the others go on.
#[test]
fn who_speaks_nothing_that_a_member_speaks_does_not_become_one() {
    let mut cluster = cluster();
    let (theirs, own) = (Versions::OWN, Versions { from: 2, to: 3 });
    cluster.speak(own);
    restart(&mut cluster, 1);
    let ended = cluster.ended(1).expect("it cannot be a member").clone();
    let Ended::Versions { ref name, theirs: said, own: mine } = ended else { panic!("{ended}") };
    assert!(!name.is_empty());
    assert_eq!((said, mine), (theirs, own));
    let sentence = ended.to_string();
    assert!(
        sentence
            .contains("speaks version 1 of the cluster's protocol and this one versions 2 to 3")
    );
    for index in [0, 2] {
        assert_eq!(cluster.ended(index), None);
        assert!(cluster.members[index].node.members().is_member());
    }
}
