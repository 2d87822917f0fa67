//! Publish and subscribe between nodes: what a client asks for holds wherever the others are.

use serde_json::{Value, json};
use stentor::cluster::NodeSettings;
use stentor::limits::TurnLimits;
use stentor::router::{RealmSettings, Settings, ShardId};

use super::peer::{Peer, pipeline};
use crate::support::{Cluster, Member, Serializer};

const VISIBLE_MS: u64 = 250;

fn cluster(nodes: usize) -> Cluster {
    cluster_with(nodes, TurnLimits::default())
}

fn cluster_with(nodes: usize, turn: TurnLimits) -> Cluster {
    let mut settings =
        Settings { visible_ms: VISIBLE_MS, interest_bits: 20, turn, ..Settings::default() };
    settings.timeouts.ping_interval_ms = 0;
    let node = NodeSettings { max_payload: 1 << 20, silence_ms: 10_000, queue_bytes: 1 << 20 };
    let realms = ["realm1", "realm2"].map(RealmSettings::named);
    let mut cluster = Cluster::new(nodes, 1, (&settings, node), &realms);
    cluster.settle_for(100);
    assert!(cluster.is_linked());
    cluster
}

pub(super) fn join(cluster: &mut Cluster, node: usize) -> Peer {
    Peer::join(&mut cluster.members[node].network, 0, Serializer::Json)
}

pub(super) fn say(cluster: &mut Cluster, node: usize, peer: &Peer, message: &Value) {
    peer.say(&mut cluster.members[node].network, message);
}

/// What a peer hears once all is done.
pub(super) fn hear(cluster: &mut Cluster, node: usize, peer: &mut Peer) -> Vec<Value> {
    cluster.settle();
    peer.read(&mut cluster.members[node].network)
}

/// Subscribes, and returns the subscription.
pub(super) fn subscribe(
    cluster: &mut Cluster,
    node: usize,
    peer: &mut Peer,
    message: &Value,
) -> u64 {
    say(cluster, node, peer, message);
    let heard = hear(cluster, node, peer);
    let [subscribed] = &heard[..] else { panic!("SUBSCRIBED alone, and not {heard:?}") };
    assert_eq!(subscribed[0], 33);
    subscribed[2].as_u64().expect("an id")
}

pub(super) fn check_end(mut cluster: Cluster, peers: &[(usize, &Peer)]) {
    for (node, peer) in peers {
        cluster.members[*node].network.lose(peer.pipe);
    }
    cluster.settle_for(10_000);
    cluster.check_empty();
}

/// What topics that are new cost another node is told of many at once.
#[test]
fn topics_of_a_turn_take_six_bytes_each() {
    const TOPICS: usize = 500;
    let mut cluster = cluster(2);
    let mut peer = join(&mut cluster, 0);
    cluster.settle();
    let before = cluster.bus.sent_bytes;
    let subscribe = |n| json!([32, n, {}, format!("com.x.{n}")]);
    pipeline(&mut cluster.members[0].network, &peer, (1..=TOPICS).map(subscribe));
    let heard = hear(&mut cluster, 0, &mut peer);
    assert!(heard.len() == TOPICS && heard.iter().all(|message| message[0] == 33), "{heard:?}");
    let cost = cluster.bus.sent_bytes - before;
    assert!(cost <= 6 * TOPICS, "{cost} bytes for {TOPICS} topics");
    check_end(cluster, &[(0, &peer)]);
}

/// BP-PUB, AP-PBS: each policy, with what EVENT says of the topic, and each id everywhere the same.
#[test]
fn events_cross_nodes_under_every_policy() {
    let mut cluster = cluster(3);
    let [mut a, mut b, mut c] = [0, 1, 2].map(|node| join(&mut cluster, node));
    let exact = subscribe(&mut cluster, 1, &mut b, &json!([32, 1, {}, "com.x.y"]));
    let same = subscribe(&mut cluster, 2, &mut c, &json!([32, 1, {}, "com.x.y"]));
    assert_eq!(exact, same, "a pattern has one id");
    let prefix = json!([32, 2, {"match": "prefix"}, "com"]);
    let prefix = subscribe(&mut cluster, 1, &mut b, &prefix);
    let wildcard = json!([32, 2, {"match": "wildcard"}, "com..y"]);
    let wildcard = subscribe(&mut cluster, 2, &mut c, &wildcard);
    let publish = json!([16, 1, {"acknowledge": true}, "com.x.y", [1], {"k": null}]);
    say(&mut cluster, 0, &a, &publish);
    let publication = hear(&mut cluster, 0, &mut a)[0][2].clone();
    let payload = json!({"k": null});
    let event = |subscription: u64, details: Value| {
        json!([36, subscription, publication, details, [1], payload])
    };
    let topic = || json!({"topic": "com.x.y"});
    let heard = hear(&mut cluster, 1, &mut b);
    assert_eq!(heard, [event(exact, json!({})), event(prefix, topic())]);
    let heard = hear(&mut cluster, 2, &mut c);
    assert_eq!(heard, [event(exact, json!({})), event(wildcard, topic())]);
    say(&mut cluster, 0, &a, &json!([16, 2, {}, "org.x.y", [2]]));
    assert!(hear(&mut cluster, 1, &mut b).is_empty() && hear(&mut cluster, 2, &mut c).is_empty());
    assert_eq!(cluster.members[1].node.counts().useless_events, 0, "nobody was told of it");
    check_end(cluster, &[(0, &a), (1, &b), (2, &c)]);
}

/// AP-BWL, AP-EXC, AP-PID: lists are checked where the receivers are, and name sessions of any
/// node.
#[test]
fn lists_hold_between_nodes() {
    let mut cluster = cluster(2);
    let [a, mut b, mut c] = [0, 1, 1].map(|node| join(&mut cluster, node));
    for peer in [&mut b, &mut c] {
        subscribe(&mut cluster, 1, peer, &json!([32, 1, {}, "com.x"]));
    }
    let (a_id, b_id, c_id) = (a.session, b.session, c.session);
    let both = json!({"disclose_me": true});
    let mut request = 0;
    for (options, gets) in [
        (json!({"exclude": [b_id]}), (false, true)),
        (json!({"eligible": [b_id]}), (true, false)),
        (json!({"eligible": []}), (false, false)),
        (json!({"eligible_authrole": ["anonymous"], "exclude": [c_id]}), (true, false)),
        (json!({"exclude_authrole": ["anonymous"]}), (false, false)),
        (both, (true, true)),
    ] {
        request += 1;
        say(&mut cluster, 0, &a, &json!([16, request, options, "com.x", ["said"]]));
        let heard = (hear(&mut cluster, 1, &mut b), hear(&mut cluster, 1, &mut c));
        assert_eq!((heard.0.len() == 1, heard.1.len() == 1), gets, "{options}");
        if options.get("disclose_me").is_some() {
            assert_eq!(heard.0[0][3]["publisher"], a_id, "{heard:?}");
        }
    }
    check_end(cluster, &[(0, &a), (1, &b), (1, &c)]);
}

/// BP-MOD-01, BP-PUB-03: realms do not hear each other, and no publisher hears itself by way of
/// another node.
#[test]
fn realms_and_publishers_stay_apart() {
    let mut cluster = cluster(2);
    let mut a = join(&mut cluster, 0);
    let network = &mut cluster.members[1].network;
    let roles = json!({"subscriber": {}});
    let mut other = Peer::join_realm(network, 0, Serializer::Json, "realm2", &roles);
    subscribe(&mut cluster, 1, &mut other, &json!([32, 1, {}, "com.x"]));
    subscribe(&mut cluster, 0, &mut a, &json!([32, 1, {}, "com.x"]));
    say(&mut cluster, 0, &a, &json!([16, 2, {}, "com.x", [1]]));
    say(&mut cluster, 0, &a, &json!([16, 3, {"exclude_me": false}, "com.x", [2]]));
    assert_eq!(hear(&mut cluster, 0, &mut a).len(), 1, "once, as it wanted");
    assert!(hear(&mut cluster, 1, &mut other).is_empty());
    check_end(cluster, &[(0, &a), (1, &other)]);
}

/// A payload comes as it was sent, in whichever serializer it was, also one in many parts.
#[test]
fn payloads_of_any_serializer_and_size_cross() {
    let mut cluster = cluster(2);
    let large = "x".repeat(700_000);
    for from in [Serializer::Json, Serializer::MsgPack, Serializer::Cbor] {
        let (a, mut request) = (Peer::join(&mut cluster.members[0].network, 0, from), 0);
        for to in [Serializer::Json, Serializer::MsgPack, Serializer::Cbor] {
            let mut b = Peer::join(&mut cluster.members[1].network, 0, to);
            subscribe(&mut cluster, 1, &mut b, &json!([32, 1, {}, "com.x"]));
            for args in [json!([1, "two", {"3": [null]}]), json!([large]), json!([])] {
                request += 1;
                say(&mut cluster, 0, &a, &json!([16, request, {}, "com.x", args]));
                // What was dealt with is said a little later, and makes room for the next one.
                cluster.settle_for(40);
                let heard = hear(&mut cluster, 1, &mut b);
                let [event] = &heard[..] else { panic!("{heard:?} after {request}") };
                assert!(event[4] == args || event.get(4).is_none() && args == json!([]));
            }
            cluster.members[1].network.lose(b.pipe);
            cluster.settle();
        }
        cluster.members[0].network.lose(a.pipe);
    }
    check_end(cluster, &[]);
}

/// SUBSCRIBED waits until all linked nodes have said that they route here, and no longer than
/// `visible_ms` for one that does not say so.
#[test]
fn subscribed_waits_for_those_who_are_linked() {
    let mut cluster = cluster(3);
    let [a, mut b] = [0, 1].map(|node| join(&mut cluster, node));
    cluster.members[2].is_congested = true;
    say(&mut cluster, 1, &b, &json!([32, 1, {}, "com.x"]));
    assert!(hear(&mut cluster, 1, &mut b).is_empty(), "the third has not dealt with it");
    say(&mut cluster, 0, &a, &json!([16, 1, {}, "com.x", [1]]));
    assert!(hear(&mut cluster, 1, &mut b).is_empty(), "what follows waits behind it");
    cluster.advance(VISIBLE_MS);
    let types = |heard: Vec<Value>| heard.iter().map(|it| it[0].clone()).collect::<Vec<_>>();
    assert_eq!(types(hear(&mut cluster, 1, &mut b)), [33, 36]);
    cluster.members[2].is_congested = false;
    cluster.settle_for(20);
    // Now all know, so who subscribes next waits for nobody.
    let mut c = join(&mut cluster, 1);
    say(&mut cluster, 1, &c, &json!([32, 1, {}, "com.x"]));
    let network = &mut cluster.members[1].network;
    assert_eq!(types(c.hear(network)), [33], "without a message to another node");
    check_end(cluster, &[(0, &a), (1, &b), (1, &c)]);
}

/// Of two nodes that do not hear each other one is removed, and waits until it hears both others;
/// these, and each one's own clients, notice nothing. Healed, all is as before.
#[test]
fn nodes_that_do_not_hear_each_other_part_and_link_again() {
    let mut cluster = cluster(3);
    let [a, mut b, mut c] = [0, 1, 2].map(|node| join(&mut cluster, node));
    subscribe(&mut cluster, 1, &mut b, &json!([32, 1, {}, "com.x"]));
    subscribe(&mut cluster, 2, &mut c, &json!([32, 1, {}, "com.x"]));
    let lives = |cluster: &Cluster| {
        let live = |member: &Member| member.node.members().incarnation();
        cluster.members.iter().map(live).collect::<Vec<_>>()
    };
    let before = lives(&cluster);
    cluster.bus.cut.extend([(0, 1), (1, 0)]);
    cluster.settle_for(9_000);
    assert_eq!(lives(&cluster), before, "nobody is removed so soon");
    cluster.settle_for(2_000);
    let after = lives(&cluster);
    assert_eq!((after[0], after[2]), (before[0], before[2]));
    assert_ne!(after[1], before[1]);
    say(&mut cluster, 0, &a, &json!([16, 1, {}, "com.x", [1]]));
    assert!(hear(&mut cluster, 1, &mut b).is_empty());
    assert_eq!(hear(&mut cluster, 2, &mut c).len(), 1, "who is linked gets it");
    say(&mut cluster, 1, &b, &json!([16, 2, {"exclude_me": false}, "com.x", [2]]));
    assert_eq!(hear(&mut cluster, 1, &mut b).len(), 1, "its own clients go on");
    assert!(hear(&mut cluster, 2, &mut c).is_empty(), "it is no member");
    cluster.bus.cut.clear();
    cluster.settle_for(3_000);
    assert!(cluster.is_linked());
    cluster.check_interest();
    say(&mut cluster, 0, &a, &json!([16, 3, {}, "com.x", [3]]));
    assert_eq!(hear(&mut cluster, 1, &mut b).len(), 1);
    assert_eq!(hear(&mut cluster, 2, &mut c).len(), 1);
    check_end(cluster, &[(0, &a), (1, &b), (2, &c)]);
}

/// A process that ends is removed after three seconds, since nobody takes messages for it; one that
/// is started again sooner takes its own place. Whoever starts is ready when it is linked.
#[test]
fn a_node_ends_and_starts_again() {
    let mut cluster = cluster(3);
    let [a, c] = [0, 2].map(|node| join(&mut cluster, node));
    cluster.kill(1);
    cluster.settle_for(2_900);
    assert!(cluster.bucket.keys().any(|key| key == "node.1"));
    cluster.settle_for(1_000);
    assert!(!cluster.bucket.keys().any(|key| key == "node.1"), "it was removed");
    assert!(cluster.is_linked(), "the others are as before");
    for (request, seconds) in [(1, 10), (2, 0)] {
        cluster.settle_for(seconds * 1_000);
        cluster.restart(1);
        cluster.settle_for(200);
        assert!(cluster.is_up(1) && cluster.is_linked() && cluster.members[1].node.is_ready());
        let mut b = join(&mut cluster, 1);
        subscribe(&mut cluster, 1, &mut b, &json!([32, 1, {}, "com.x"]));
        say(&mut cluster, 0, &a, &json!([16, request, {}, "com.x", [1]]));
        assert_eq!(hear(&mut cluster, 1, &mut b).len(), 1);
        cluster.kill(1);
    }
    cluster.settle_for(4_000);
    check_end(cluster, &[(0, &a), (2, &c)]);
}

/// While nobody decides in the bucket, what is linked goes on; a node cannot join, and joins when
/// it can. What was deleted is written anew, and no client notices more than what links cost.
#[test]
fn a_bucket_that_fails_takes_nothing_from_who_is_linked() {
    let mut cluster = cluster(3);
    let [a, mut c] = [0, 2].map(|node| join(&mut cluster, node));
    subscribe(&mut cluster, 2, &mut c, &json!([32, 1, {}, "com.x"]));
    cluster.bucket.has_no_leader = true;
    cluster.kill(1);
    cluster.restart(1);
    cluster.settle_for(20_000);
    assert!(!cluster.is_up(1));
    say(&mut cluster, 0, &a, &json!([16, 1, {}, "com.x", [1]]));
    assert_eq!(hear(&mut cluster, 2, &mut c).len(), 1);
    cluster.bucket.has_no_leader = false;
    cluster.settle_for(3_000);
    assert!(cluster.is_up(1) && cluster.is_linked());
    cluster.bucket.empty();
    cluster.settle_for(3_000);
    assert!(cluster.is_linked(), "all are members again");
    assert_eq!(cluster.bucket.keys().count(), 4, "the key of all, and three nodes'");
    cluster.check_interest();
    say(&mut cluster, 0, &a, &json!([16, 2, {}, "com.x", [2]]));
    assert_eq!(hear(&mut cluster, 2, &mut c).len(), 1);
    check_end(cluster, &[(0, &a), (2, &c)]);
}

/// All servers are away for less than the time for which a node may be silent, and one node finds
/// them again before the others: that nobody takes messages yet says nothing. All events come.
#[test]
fn who_comes_back_first_waits_for_the_others() {
    let mut cluster = cluster(3);
    let [a, mut b, mut c] = [0, 1, 2].map(|node| join(&mut cluster, node));
    subscribe(&mut cluster, 1, &mut b, &json!([32, 1, {}, "com.x"]));
    subscribe(&mut cluster, 2, &mut c, &json!([32, 1, {}, "com.x"]));
    (0..3).for_each(|node| cluster.disconnect(node));
    for (number, node) in [0, 1, 2].into_iter().enumerate() {
        say(&mut cluster, 0, &a, &json!([16, number + 1, {}, "com.x", [number]]));
        cluster.settle_for(1_300);
        cluster.connect(node);
    }
    cluster.settle_for(1_000);
    assert!(cluster.is_linked());
    for (node, peer) in [(1, &mut b), (2, &mut c)] {
        let numbers: Vec<_> =
            hear(&mut cluster, node, peer).iter().map(|event| event[4][0].clone()).collect();
        assert_eq!(numbers, [0, 1, 2], "at {node}");
    }
    check_end(cluster, &[(0, &a), (1, &b), (2, &c)]);
}

/// Who asks again and again while another node does not answer keeps no more than its last request,
/// and no more than some turns wait by themselves.
#[test]
fn what_waits_for_a_slow_node_is_bounded() {
    let mut cluster = cluster(2);
    let mut b = join(&mut cluster, 1);
    cluster.members[0].is_congested = true;
    let most = 64;
    for turn in 0..10 * most {
        let uri = format!("com.x{turn}");
        say(&mut cluster, 1, &b, &json!([32, turn + 1, {}, uri]));
        cluster.members[1].network.settle();
        cluster.serve(1);
        let waiting = cluster.members[1].node.waiting();
        assert!(waiting <= (most as usize, most as usize), "{waiting:?} in turn {turn}");
    }
    cluster.members[0].is_congested = false;
    cluster.settle_for(200);
    assert_eq!(cluster.members[1].node.waiting(), (0, 0));
    let heard = hear(&mut cluster, 1, &mut b);
    assert_eq!(heard.len(), 10 * most as usize, "all are answered");
    check_end(cluster, &[(1, &b)]);
}

/// What has once fallen behind catches up: many events of one publisher go out in one turn, and so
/// with one write to each subscriber.
#[test]
fn events_of_another_node_that_are_behind_go_out_together() {
    let turn = TurnLimits { step_units: 1_000, turn_units: 20_000, ..TurnLimits::default() };
    let mut cluster = cluster_with(2, turn);
    let publisher = join(&mut cluster, 0);
    let mut peers: Vec<_> = (0..60).map(|_| join(&mut cluster, 1)).collect();
    for peer in &mut peers {
        subscribe(&mut cluster, 1, peer, &json!([32, 1, {}, "com.x"]));
    }
    let count = 2_000;
    let publish = |number| json!([16, number, {}, "com.x", [number]]);
    pipeline(&mut cluster.members[0].network, &publisher, (1..=count).map(publish));
    let mut arrived = 0;
    while arrived < count {
        cluster.members[0].network.turn(0);
        cluster.serve(0);
        cluster.bus.routes().into_iter().for_each(|route| cluster.deliver(route));
        let (now, member) = (cluster.now, &mut cluster.members[1]);
        member.node.end_turn(false, now);
        if let Some(batch) = member.node.take_outbox(ShardId(0)) {
            arrived += batch.items.len();
            member.network.post_together(0, batch);
        }
        cluster.advance(1);
    }
    let network = &mut cluster.members[1].network;
    let mut turns = 0;
    while !peers[0].read(network).iter().any(|event| event[4][0] == count) {
        network.turn(0);
        turns += 1;
        assert!(turns < 60, "{count} events take few turns");
    }
    assert!(turns > 1, "they are more than one takes");
    for peer in &mut peers[1..] {
        let numbers = hear(&mut cluster, 1, peer);
        let numbers: Vec<_> = numbers.iter().map(|event| event[4][0].clone()).collect();
        assert_eq!(numbers, (1..=count).map(|n| json!(n)).collect::<Vec<_>>());
    }
    let peers: Vec<_> = peers.iter().map(|peer| (1, peer)).chain([(0, &publisher)]).collect();
    check_end(cluster, &peers);
}
