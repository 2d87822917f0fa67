//! What is seen of a cluster: counts of peers are true while messages are lost, and links end.

use serde_json::json;
use stentor::cluster::{NodeSettings, NodeView, PeerView};
use stentor::router::{RealmSettings, Settings};

use super::cluster::{check_end, hear, join, say, subscribe};
use crate::support::Cluster;

fn cluster(nodes: usize, queue_bytes: usize) -> Cluster {
    let mut settings =
        Settings { visible_ms: 250, interest_bits: 10, claims: true, ..Settings::default() };
    settings.timeouts.ping_interval_ms = 0;
    let node = NodeSettings { max_payload: 1 << 20, silence_ms: 10_000, queue_bytes };
    let mut cluster = Cluster::new(nodes, 1, (&settings, node), &[RealmSettings::named("realm1")]);
    cluster.settle_for(100);
    assert!(cluster.is_linked());
    cluster
}

fn view(cluster: &Cluster, node: usize) -> NodeView {
    cluster.members[node].node.view(cluster.now)
}

fn peer(cluster: &Cluster, node: usize, name: &str) -> PeerView {
    let peers = view(cluster, node).peers;
    peers.into_iter().find(|peer| peer.name.as_str() == name).expect("it is a member")
}

/// Parcels and bytes that were sent for the first time.
fn sent_once(peer: &PeerView) -> u64 {
    peer.tally.sent_parcels - peer.tally.resent_parcels
}

#[test]
fn a_node_is_seen_with_all_others() {
    let mut cluster = cluster(3, 1 << 20);
    cluster.settle_for(2_000);
    let NodeView { name, number, is_member, is_ready, peers, removals, .. } = view(&cluster, 1);
    assert_eq!((name.as_str(), number.map(|number| number.get())), ("b", Some(1)));
    assert!(is_member && is_ready);
    assert_eq!((removals.others, removals.own), (0, 0));
    let names: Vec<_> = peers.iter().map(|peer| (peer.name.as_str(), peer.number.get())).collect();
    assert_eq!(names, [("a", 0), ("c", 2)]);
    for peer in &peers {
        assert!(peer.is_open && peer.is_linked && !peer.differs, "{peer:?}");
        assert!(peer.open_ms.is_some_and(|ms| (2_000..2_200).contains(&ms)), "{peer:?}");
        assert!(peer.silent_ms <= 1_200 && peer.round_trip_us.is_some(), "{peer:?}");
        assert_eq!((peer.queued_bytes, peer.dropped_events, peer.lag), (0, 0, 0), "{peer:?}");
    }
    check_end(cluster, &[]);
}

/// Each parcel counts once where it is taken in, however often it was sent; and so it stays through
/// the end of a link.
#[test]
fn counts_are_true_while_messages_are_lost_and_a_link_ends() {
    let mut cluster = cluster(2, 1 << 20);
    let [a, mut b] = [0, 1].map(|node| join(&mut cluster, node));
    subscribe(&mut cluster, 1, &mut b, &json!([32, 1, {}, "com.x"]));
    let before = peer(&cluster, 0, "b");
    for number in 1..=50 {
        say(&mut cluster, 0, &a, &json!([16, number, {}, "com.x", [number]]));
        cluster.members[0].network.settle();
        cluster.serve(0);
        if number % 5 == 0 {
            cluster.bus.lose((0, 1));
        }
        let (sent, got) = (peer(&cluster, 0, "b"), peer(&cluster, 1, "a"));
        assert!(got.tally.received_parcels <= sent_once(&sent), "{sent:?} {got:?}");
    }
    assert!(peer(&cluster, 0, "b").queued_bytes > 0, "nothing is acknowledged");
    cluster.settle_for(5_000);
    assert_eq!(hear(&mut cluster, 1, &mut b).len(), 50);
    let (sent, got) = (peer(&cluster, 0, "b"), peer(&cluster, 1, "a"));
    assert!(sent.tally.resent_parcels > 0 && sent.queued_bytes == 0, "{sent:?}");
    assert_eq!(got.tally.received_parcels, sent_once(&sent));
    assert!(sent.tally.sent_bytes > before.tally.sent_bytes + 50 * 20, "{sent:?}");
    assert_eq!((sent.dropped_events, view(&cluster, 0).counts.links_ended), (0, 0));
    // Nobody can be removed meanwhile.
    cluster.bucket.has_no_leader = true;
    cluster.bus.cut.extend([(0, 1), (1, 0)]);
    cluster.settle_for(11_000);
    let cut = peer(&cluster, 0, "b");
    assert!(!cut.is_open && !cut.is_linked && view(&cluster, 0).is_cut_off(), "{cut:?}");
    assert_eq!((cut.open_ms, cut.round_trip_us), (None, None));
    assert!(cut.silent_ms >= 10_000, "{cut:?}");
    assert_eq!(cut.tally.sent_parcels, sent.tally.sent_parcels, "what was counted stays");
    assert_eq!(view(&cluster, 0).counts.links_ended, 1);
    cluster.bus.cut.clear();
    cluster.bucket.has_no_leader = false;
    cluster.settle_for(5_000);
    let healed = peer(&cluster, 0, "b");
    assert!(healed.is_linked && healed.open_ms.is_some_and(|ms| ms <= 5_000), "{healed:?}");
    check_end(cluster, &[(0, &a), (1, &b)]);
}

/// Events that do not fit are counted for the node that is slow, and for no other one.
#[test]
fn who_is_slow_has_its_events_counted() {
    let mut cluster = cluster(3, 2_000);
    let a = join(&mut cluster, 0);
    let [mut b, mut c] = [1, 2].map(|node| join(&mut cluster, node));
    subscribe(&mut cluster, 1, &mut b, &json!([32, 1, {}, "com.x"]));
    subscribe(&mut cluster, 2, &mut c, &json!([32, 1, {}, "com.x"]));
    cluster.members[1].is_congested = true;
    for number in 1..=50 {
        say(&mut cluster, 0, &a, &json!([16, number, {}, "com.x", ["x".repeat(100)]]));
        cluster.settle_for(20);
    }
    let (slow, other) = (peer(&cluster, 0, "b"), peer(&cluster, 0, "c"));
    assert!(slow.dropped_events > 0 && slow.queued_bytes > 1_000, "{slow:?}");
    assert!(slow.queued_bytes <= view(&cluster, 0).queue_bytes, "{slow:?}");
    assert_eq!((other.dropped_events, other.queued_bytes), (0, 0), "{other:?}");
    assert_eq!(view(&cluster, 0).counts.dropped_events, slow.dropped_events);
    cluster.members[1].is_congested = false;
    let heard = hear(&mut cluster, 1, &mut b).len() as u64;
    assert_eq!(heard + slow.dropped_events, 50);
    check_end(cluster, &[(0, &a), (1, &b), (2, &c)]);
}

/// Who is removed is counted where that is written, and by itself when it reads of it.
#[test]
fn removals_are_counted() {
    let mut cluster = cluster(3, 1 << 20);
    cluster.bus.cut.extend([(0, 2), (2, 0), (1, 2), (2, 1)]);
    cluster.settle_for(15_000);
    let by_others: u64 = [0, 1].map(|node| view(&cluster, node).removals.others).iter().sum();
    assert_eq!(by_others, view(&cluster, 2).removals.own);
    assert!(by_others > 0, "nobody was removed");
    assert_eq!([0, 1].map(|node| view(&cluster, node).removals.own), [0, 0]);
    cluster.bus.cut.clear();
    cluster.settle_for(5_000);
    assert!(cluster.is_linked() && view(&cluster, 2).is_member);
    check_end(cluster, &[]);
}

/// A node that is started with another configuration is seen as such by the others, and sees them
/// so.
#[test]
fn another_configuration_is_seen() {
    let mut cluster = cluster(3, 1 << 20);
    cluster.kill(1);
    cluster.configure(7);
    cluster.restart(1);
    cluster.settle_for(5_000);
    assert!(cluster.is_linked());
    let differ = |node| {
        let peers = view(&cluster, node).peers;
        peers.iter().map(|peer| peer.differs).collect::<Vec<_>>()
    };
    assert_eq!([0, 1, 2].map(differ), [[true, false], [true, true], [false, true]]);
    check_end(cluster, &[]);
}

/// Who has not read as far as others is told of by its heartbeat, and knows it by theirs.
#[test]
fn who_is_behind_in_the_bucket_is_seen() {
    let mut cluster = cluster(2, 1 << 20);
    let mut a = join(&mut cluster, 0);
    say(&mut cluster, 0, &a, &json!([64, 1, {}, "com.p"]));
    cluster.members[0].network.settle();
    cluster.serve(0);
    cluster.decide((true, true));
    cluster.watch(0);
    assert_eq!(view(&cluster, 0).revision, view(&cluster, 1).revision + 1);
    cluster.advance(1_000);
    for (from, to) in [(0, 1), (1, 0)] {
        cluster.serve(from);
        while cluster.bus.routes().contains(&(from, to)) {
            cluster.deliver((from, to));
        }
    }
    assert_eq!((view(&cluster, 1).lag, peer(&cluster, 0, "b").lag), (1, 1));
    assert_eq!((view(&cluster, 0).lag, peer(&cluster, 1, "a").lag), (0, 0));
    cluster.settle_for(2_500);
    assert_eq!((view(&cluster, 1).lag, peer(&cluster, 0, "b").lag), (0, 0));
    assert_eq!(hear(&mut cluster, 0, &mut a)[0][0], 65);
    check_end(cluster, &[(0, &a)]);
}
