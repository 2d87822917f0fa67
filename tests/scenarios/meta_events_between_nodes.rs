//! Meta events of sessions and subscriptions in a cluster: each listener hears of all nodes, of
//! each session and subscription once, also of those that a node takes with it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stentor::router::MetaFamily;

use super::cluster::{check_end, hear, join, say, subscribe};
use super::peer::Peer;
use super::questions_between_nodes::{ask, cluster, cluster_with, found};
use crate::support::Cluster;

/// Listens to all meta events below a prefix; that of its own subscription may follow at once.
fn listen(cluster: &mut Cluster, node: usize, peer: &mut Peer, prefix: &str) {
    say(cluster, node, peer, &json!([32, 1, {"match": "prefix"}, prefix]));
    let heard = hear(cluster, node, peer);
    assert_eq!(heard[0][0], 33, "{heard:?}");
}

/// The meta events that a listener has heard: the end of the topic, and what it is about.
fn heard(cluster: &mut Cluster, node: usize, peer: &mut Peer) -> Vec<(String, u64)> {
    hear(cluster, node, peer).iter().map(told).collect()
}

fn told(event: &Value) -> (String, u64) {
    assert_eq!(event[0], 36, "{event}");
    let topic = event[3]["topic"].as_str().expect("a pattern hears topics");
    let what = topic.rsplit('.').next().expect("a URI").to_owned();
    let args = &event[4];
    let about = match &*what {
        "on_join" => &args[0]["session"],
        "on_leave" => &args[0],
        "on_create" => &args[1]["id"],
        _ => &args[1],
    };
    (what, about.as_u64().expect("an id"))
}

fn said(what: &str, about: u64) -> (String, u64) {
    (what.to_owned(), about)
}

/// AP-SMA-06, AP-META: sessions that were there before are heard to leave, others to come as well.
#[test]
fn sessions_of_all_nodes_are_heard_of() {
    let mut cluster = cluster(3);
    let [mut a, mut b] = [0, 2].map(|node| join(&mut cluster, node));
    let before = join(&mut cluster, 1);
    listen(&mut cluster, 0, &mut a, "wamp.session.");
    listen(&mut cluster, 2, &mut b, "wamp.");
    let after = join(&mut cluster, 1);
    let events = hear(&mut cluster, 0, &mut a);
    let [event] = &events[..] else { panic!("one event, and not {events:?}") };
    assert_eq!(told(event), said("on_join", after.session));
    let details = &event[4][0];
    assert_eq!(
        (&details["authrole"], &details["transport"]["type"]),
        (&json!("anonymous"), &json!("websocket"))
    );
    assert_eq!(heard(&mut cluster, 2, &mut b), [said("on_join", after.session)]);
    for peer in [&before, &after] {
        cluster.members[1].network.lose(peer.pipe);
        let events = hear(&mut cluster, 0, &mut a);
        let [event] = &events[..] else { panic!("one event, and not {events:?}") };
        assert_eq!(told(event), said("on_leave", peer.session));
        assert_eq!(event[4][2], "anonymous", "{event}");
        assert_eq!(heard(&mut cluster, 2, &mut b), [said("on_leave", peer.session)]);
    }
    // One does not hear oneself, and hears those of the own node as ever.
    let near = join(&mut cluster, 0);
    assert_eq!(heard(&mut cluster, 0, &mut a), [said("on_join", near.session)]);
    check_end(cluster, &[(0, &a), (2, &b), (0, &near)]);
}

/// AP-SUA-01: created with the first subscriber of the cluster, deleted with the last, and nothing
/// of it twice, at each node that listens.
#[test]
fn a_subscription_of_several_nodes_is_created_and_deleted_once() {
    let mut cluster = cluster(3);
    let [mut a, mut b, mut c] = [0, 1, 2].map(|node| join(&mut cluster, node));
    let old = subscribe(&mut cluster, 2, &mut c, &json!([32, 9, {}, "com.old"]));
    let mut listeners: Vec<_> = [0, 1].map(|node| (node, join(&mut cluster, node))).into();
    for (node, peer) in &mut listeners {
        listen(&mut cluster, *node, peer, "wamp.subscription.");
    }
    for (node, peer) in &mut listeners {
        heard(&mut cluster, *node, peer);
    }
    let mut check = |cluster: &mut Cluster, expected: &[(String, u64)]| {
        for (node, peer) in &mut listeners {
            assert_eq!(heard(cluster, *node, peer), expected, "at node {node}");
        }
    };
    let topic = |request: u64| json!([32, request, {}, "com.x"]);
    let x = subscribe(&mut cluster, 0, &mut a, &topic(1));
    check(&mut cluster, &[said("on_create", x), said("on_subscribe", x)]);
    for (node, peer) in [(1, &mut b), (2, &mut c)] {
        assert_eq!(subscribe(&mut cluster, node, peer, &topic(2)), x);
        check(&mut cluster, &[said("on_subscribe", x)]);
    }
    for (node, peer) in [(0, &mut a), (2, &mut c)] {
        say(&mut cluster, node, peer, &json!([34, 3, x]));
        assert_eq!(hear(&mut cluster, node, peer), [json!([35, 3])]);
        check(&mut cluster, &[said("on_unsubscribe", x)]);
    }
    say(&mut cluster, 1, &b, &json!([34, 3, x]));
    assert_eq!(hear(&mut cluster, 1, &mut b), [json!([35, 3])]);
    check(&mut cluster, &[said("on_unsubscribe", x), said("on_delete", x)]);
    // What stood before anybody listened was not created now, wherever it is joined.
    assert_eq!(subscribe(&mut cluster, 0, &mut a, &json!([32, 5, {}, "com.old"])), old);
    check(&mut cluster, &[said("on_subscribe", old)]);
    let listeners: Vec<_> = listeners.iter().map(|(node, peer)| (*node, peer)).collect();
    let all: Vec<_> = listeners.into_iter().chain([(0, &a), (1, &b), (2, &c)]).collect();
    check_end(cluster, &all);
}

/// What comes of subscriptions before all nodes have told theirs waits, as far as there is room:
/// then it is told in its order, but for what stands elsewhere, which is no creation.
#[test]
fn what_comes_of_subscriptions_early_waits_within_bounds() {
    let mut cluster = cluster(2);
    let [mut a, mut b] = [0, 1].map(|node| join(&mut cluster, node));
    let elsewhere = subscribe(&mut cluster, 1, &mut b, &json!([32, 1, {}, "com.elsewhere"]));
    cluster.bus.cut.insert((1, 0));
    say(&mut cluster, 0, &a, &json!([32, 1, {"match": "prefix"}, "wamp.subscription."]));
    let mut near = join(&mut cluster, 0);
    say(&mut cluster, 0, &near, &json!([32, 1, {}, "com.elsewhere"]));
    for number in 0..EARLY {
        say(&mut cluster, 0, &near, &json!([32, 1, {}, format!("com.{number}")]));
    }
    cluster.settle();
    assert_eq!(hear(&mut cluster, 0, &mut a), [] as [Value; 0], "nor SUBSCRIBED");
    let known = (0..2).map(|shard| cluster.members[0].network.shard(shard).known_elsewhere());
    // The listener's, the one that stands elsewhere, and as many more.
    let made = 2 * (EARLY + 2);
    assert_eq!(known.sum::<usize>(), MOST_EARLY + made / 2, "with what stands here");
    let dropped = cluster.members[0].network.router.snapshot().meta_events_dropped;
    assert_eq!(dropped, (made - MOST_EARLY) as u64);
    cluster.bus.cut.clear();
    cluster.settle_for(2_000);
    let said_to_near = hear(&mut cluster, 0, &mut near);
    let created = |at: usize| said_to_near[at][2].as_u64().expect("SUBSCRIBED");
    let mut events = hear(&mut cluster, 0, &mut a);
    let subscribed = events.remove(0);
    assert_eq!(subscribed[0], 33, "{subscribed}");
    let own = subscribed[2].as_u64().expect("an id");
    let mut expected = vec![said("on_create", own), said("on_subscribe", own)];
    expected.push(said("on_subscribe", elsewhere));
    for at in 1..=EARLY {
        let id = created(at);
        expected.extend([said("on_create", id), said("on_subscribe", id)]);
    }
    // The one that is not told had its place.
    expected.truncate(MOST_EARLY - 1);
    assert_eq!(events.iter().map(told).collect::<Vec<_>>(), expected);
    check_end(cluster, &[(0, &a), (1, &b), (0, &near)]);
}

const MOST_EARLY: usize = 1_024;
const EARLY: usize = 600;

/// What a node has taken with it is heard of once at each other one.
#[test]
fn a_node_that_is_killed_takes_its_sessions_with_it() {
    let mut cluster = cluster(3);
    let [mut a, mut b] = [0, 1].map(|node| join(&mut cluster, node));
    let mut lost: Vec<_> = (0..3).map(|_| join(&mut cluster, 2)).collect();
    let shared = subscribe(&mut cluster, 1, &mut b, &json!([32, 9, {}, "com.shared"]));
    subscribe(&mut cluster, 2, &mut lost[0], &json!([32, 9, {}, "com.shared"]));
    let own = subscribe(&mut cluster, 2, &mut lost[1], &json!([32, 9, {}, "com.own"]));
    for (node, peer) in [(0, &mut a), (1, &mut b)] {
        listen(&mut cluster, node, peer, "wamp.");
        heard(&mut cluster, node, peer);
    }
    heard(&mut cluster, 0, &mut a);
    cluster.kill(2);
    cluster.settle_for(12_000);
    let mut expected: BTreeSet<_> = lost.iter().map(|it| said("on_leave", it.session)).collect();
    expected.insert(said("on_delete", own));
    for (node, peer) in [(0, &mut a), (1, &mut b)] {
        let events = heard(&mut cluster, node, peer);
        assert_eq!(events.len(), expected.len(), "each once: {events:?}");
        assert_eq!(events.into_iter().collect::<BTreeSet<_>>(), expected);
    }
    assert_eq!(found(ask(&mut cluster, 0, &mut a, "session.count", &json!([]))), 2);
    say(&mut cluster, 1, &b, &json!([34, 3, shared]));
    assert_eq!(hear(&mut cluster, 1, &mut b)[0], json!([35, 3]));
    let last = [said("on_unsubscribe", shared), said("on_delete", shared)];
    assert_eq!(heard(&mut cluster, 0, &mut a), last);
    check_end(cluster, &[(0, &a), (1, &b)]);
}

/// Nodes that do not hear each other for a while: sessions leave with the link, and come with it.
#[test]
fn sessions_come_again_with_their_node() {
    let mut cluster = cluster(2);
    let [mut a, mut b] = [0, 1].map(|node| join(&mut cluster, node));
    let gone = join(&mut cluster, 1);
    let x = subscribe(&mut cluster, 1, &mut b, &json!([32, 9, {}, "com.x"]));
    listen(&mut cluster, 0, &mut a, "wamp.");
    heard(&mut cluster, 0, &mut a);
    for route in [(0, 1), (1, 0)] {
        cluster.bus.cut.insert(route);
    }
    cluster.settle_for(30_000);
    cluster.members[1].network.lose(gone.pipe);
    let come = join(&mut cluster, 1);
    let lost = heard(&mut cluster, 0, &mut a);
    let expected =
        [said("on_leave", b.session), said("on_leave", gone.session), said("on_delete", x)];
    assert_eq!(lost.iter().collect::<BTreeSet<_>>(), expected.iter().collect(), "{lost:?}");
    cluster.bus.cut.clear();
    cluster.settle_for(30_000);
    assert!(cluster.is_linked());
    let back = heard(&mut cluster, 0, &mut a);
    let expected =
        [said("on_join", b.session), said("on_join", come.session), said("on_create", x)];
    assert_eq!(back.len(), 3, "{back:?}");
    assert_eq!(back.iter().collect::<BTreeSet<_>>(), expected.iter().collect());
    check_end(cluster, &[(0, &a), (1, &b), (1, &come)]);
}

/// Events that have no room are made up for by what stands once there is room again.
#[test]
fn a_listener_behind_a_full_queue_knows_in_the_end() {
    let mut cluster = cluster_with(2, 2_000, 250);
    let mut a = join(&mut cluster, 0);
    let stays = join(&mut cluster, 1);
    let leaves = join(&mut cluster, 1);
    listen(&mut cluster, 0, &mut a, "wamp.session.");
    heard(&mut cluster, 0, &mut a);
    cluster.bus.cut.insert((1, 0));
    let mut come: Vec<_> = (0..30).map(|_| join(&mut cluster, 1)).collect();
    cluster.settle();
    cluster.members[1].network.lose(leaves.pipe);
    let short = come.pop().expect("there are some");
    cluster.members[1].network.lose(short.pipe);
    cluster.settle();
    assert!(cluster.members[1].node.counts().dropped_meta_events > 0, "there was no room");
    cluster.bus.cut.clear();
    cluster.settle_for(2_000);
    let mut known: BTreeSet<u64> = [stays.session, leaves.session].into();
    for (what, session) in heard(&mut cluster, 0, &mut a) {
        let is_new = match &*what {
            "on_join" => known.insert(session),
            _ => known.remove(&session),
        };
        assert!(is_new, "{what} of {session} was heard");
    }
    let here: BTreeSet<u64> = come.iter().chain([&stays]).map(|peer| peer.session).collect();
    assert_eq!(known, here);
    let come: Vec<_> = come.iter().chain([&stays]).map(|peer| (1, peer)).chain([(0, &a)]).collect();
    check_end(cluster, &come);
}

/// AP-SMA-03: of a kill of all nobody hears, and nobody takes who was killed for lost later.
#[test]
fn whoever_is_killed_with_all_leaves_quietly() {
    let mut cluster = cluster(3);
    let [mut a, mut admin] = [0, 1].map(|node| join(&mut cluster, node));
    let other = join(&mut cluster, 2);
    listen(&mut cluster, 0, &mut a, "wamp.session.");
    // It is killed with the others, and another one listens.
    assert_eq!(found(ask(&mut cluster, 1, &mut admin, "session.kill_all", &json!([]))), 2);
    let events = hear(&mut cluster, 0, &mut a);
    assert_eq!(events, [json!([6, {}, "wamp.close.killed"])], "and nothing of {}", other.session);
    let mut b = join(&mut cluster, 0);
    listen(&mut cluster, 0, &mut b, "wamp.session.");
    let victim = join(&mut cluster, 2);
    assert_eq!(heard(&mut cluster, 0, &mut b), [said("on_join", victim.session)]);
    // Only those of other realms and the caller stay: so the listener is the caller.
    assert_eq!(found(ask(&mut cluster, 0, &mut b, "session.kill_all", &json!([]))), 2);
    cluster.kill(2);
    cluster.settle_for(12_000);
    assert_eq!(heard(&mut cluster, 0, &mut b), []);
    check_end(cluster, &[(0, &b)]);
}

/// What nobody listens to costs nobody anything, and who listens again hears all.
#[test]
fn a_feed_ends_some_time_after_its_last_listener() {
    let mut cluster = cluster(2);
    let [mut a, b] = [0, 1].map(|node| join(&mut cluster, node));
    let subscription = json!([32, 1, {}, "wamp.session.on_leave"]);
    let is_wanted = |cluster: &Cluster, family| {
        let realm = cluster.members[1].network.router.realm("realm1").expect("it is configured");
        realm.feed.is_wanted(family)
    };
    assert!(!is_wanted(&cluster, MetaFamily::Sessions));
    for _ in 0..2 {
        let id = subscribe(&mut cluster, 0, &mut a, &subscription);
        assert!(is_wanted(&cluster, MetaFamily::Sessions));
        assert!(!is_wanted(&cluster, MetaFamily::Subscriptions));
        assert_eq!(cluster.members[0].node.listening(), (1, 0, 0));
        let passer = join(&mut cluster, 1);
        cluster.members[1].network.lose(passer.pipe);
        let events = hear(&mut cluster, 0, &mut a);
        assert_eq!(events.len(), 1, "it leaves: {events:?}");
        assert_eq!(events[0][4][0], passer.session);
        say(&mut cluster, 0, &a, &json!([34, 2, id]));
        assert_eq!(hear(&mut cluster, 0, &mut a), [json!([35, 2])]);
        cluster.settle_for(6_000);
        assert!(!is_wanted(&cluster, MetaFamily::Sessions));
        assert_eq!(cluster.members[0].node.listening(), (0, 0, 0));
        assert_eq!(cluster.members[1].node.listening(), (0, 0, 0));
    }
    check_end(cluster, &[(0, &a), (1, &b)]);
}

/// SUBSCRIBED waits until all have told what stands with them, in several pieces; who asks for
/// something else meanwhile waits no longer than that.
#[test]
fn a_listener_waits_for_the_rosters() {
    let mut cluster = cluster_with(2, 1 << 20, 60_000);
    let [mut a, mut b] = [0, 0].map(|node| join(&mut cluster, node));
    let mut crowd: Vec<_> = (0..600).map(|_| join(&mut cluster, 1)).collect();
    cluster.settle();
    cluster.bus.cut.insert((1, 0));
    say(&mut cluster, 0, &a, &json!([32, 1, {}, "wamp.session.on_leave"]));
    say(&mut cluster, 0, &b, &json!([32, 1, {}, "com.x"]));
    assert_eq!((hear(&mut cluster, 0, &mut a), hear(&mut cluster, 0, &mut b)), (vec![], vec![]));
    assert_eq!(cluster.members[0].node.waiting().1, 2);
    cluster.bus.cut.clear();
    cluster.settle_for(400);
    assert_eq!(hear(&mut cluster, 0, &mut b)[0][0], 33);
    assert_eq!(hear(&mut cluster, 0, &mut a)[0][0], 33);
    cluster.kill(1);
    cluster.settle_for(12_000);
    let events = hear(&mut cluster, 0, &mut a);
    let left: BTreeSet<_> = events.iter().map(|event| event[4][0].as_u64().expect("id")).collect();
    assert_eq!((events.len(), left.len()), (600, 600), "each has left once");
    crowd.clear();
    check_end(cluster, &[(0, &a), (0, &b)]);
}
