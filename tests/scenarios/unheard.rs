//! Members that some hear and others do not, and watches that fall silent: who is removed, by whom,
//! and when it comes back.

use stentor::cluster::NodeSettings;
use stentor::cluster::wire::Incarnation;
use stentor::router::{RealmSettings, Settings};

use crate::support::Cluster;

const SILENCE_MS: u64 = 10_000;

fn cluster(nodes: usize) -> Cluster {
    let mut settings = Settings { visible_ms: 250, interest_bits: 20, ..Settings::default() };
    settings.timeouts.ping_interval_ms = 0;
    let node = NodeSettings { max_payload: 1 << 20, silence_ms: SILENCE_MS, queue_bytes: 1 << 20 };
    let mut cluster = Cluster::new(nodes, 1, (&settings, node), &[RealmSettings::named("realm1")]);
    cluster.settle_for(3_000);
    assert!(cluster.is_linked());
    cluster
}

fn lives(cluster: &Cluster) -> Vec<Incarnation> {
    cluster.members.iter().map(|member| member.node.members().incarnation()).collect()
}

/// In steps as long as those between two heartbeats.
fn run_for(cluster: &mut Cluster, seconds: u64) {
    (0..seconds).for_each(|_| cluster.settle_for(1_000));
}

fn cut(cluster: &mut Cluster, one: usize, other: usize) {
    cluster.bus.cut.extend([(one, other), (other, one)]);
}

/// Of two that do not hear each other, and that others hear, the one of the higher number goes, and
/// waits until it hears all: the others lose one link, once, and so they do if the one that stays
/// cannot remove it yet.
#[test]
fn of_two_that_do_not_hear_each_other_one_goes_and_waits() {
    for (first, second) in [(0, 1), (1, 3)] {
        for seconds_away in [0, 15] {
            let mut cluster = cluster(4);
            let before = lives(&cluster);
            cut(&mut cluster, first, second);
            cluster.bucket.away.insert(first);
            run_for(&mut cluster, seconds_away);
            cluster.bucket.away.clear();
            run_for(&mut cluster, 60);
            let after = lives(&cluster);
            for (index, member) in cluster.members.iter().enumerate() {
                let node = &member.node;
                assert_eq!(after[index] == before[index], index != second, "{index}");
                assert_eq!(node.members().is_member(), index != second, "{index}");
                let ended = if index == second { 3 } else { 1 };
                assert_eq!(node.counts().links_ended, ended, "{index}, {first} and {second}");
            }
            let waits_for = cluster.members[second].node.view(cluster.now).waits_for;
            let names: Vec<_> = waits_for.iter().map(|name| name.as_str()).collect();
            let first_name = cluster.members[first].node.members().identity().name.clone();
            assert_eq!(names, [first_name.as_str()]);
            cluster.bus.cut.clear();
            run_for(&mut cluster, 5);
            assert!(cluster.is_linked(), "{first} and {second} hear each other again");
            assert_eq!(lives(&cluster), after);
        }
    }
}

/// Nobody else knows better: both go on alone, and are one cluster again once they can be.
#[test]
fn two_that_are_alone_with_each_other_part_and_come_together() {
    let mut cluster = cluster(2);
    cut(&mut cluster, 0, 1);
    run_for(&mut cluster, 30);
    cluster.bus.cut.clear();
    run_for(&mut cluster, 15);
    assert!(cluster.is_linked());
}

/// A node that ends is removed as soon as if nobody had ever heard it, whatever its number.
#[test]
fn what_was_heard_before_an_end_keeps_nobody() {
    for gone in 0..3 {
        let mut cluster = cluster(3);
        run_for(&mut cluster, 5);
        cluster.kill(gone);
        run_for(&mut cluster, 5);
        for index in (0..3).filter(|index| *index != gone) {
            let node = &cluster.members[index].node;
            assert_eq!(node.members().others().count(), 1, "{gone} is no member for {index}");
        }
    }
}

/// It has been removed, and reads that late: until then it does not remove those in its turn who do
/// not know it any more.
#[test]
fn who_is_behind_with_the_bucket_removes_nobody() {
    let mut cluster = cluster(4);
    let before = lives(&cluster);
    // Nobody hears the first, which hears all.
    cluster.bus.cut.extend([(0, 1), (0, 2), (0, 3)]);
    cluster.bucket.silent.insert(0);
    run_for(&mut cluster, 60);
    let after = lives(&cluster);
    assert_eq!(after[1..], before[1..]);
    for member in &cluster.members[1..] {
        assert_eq!(member.node.counts().links_ended, 1);
    }
}
