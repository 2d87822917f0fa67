//! Nodes with `alone = "stop"`: who is cut off from the bucket serves nobody before others may go
//! on without it, so no procedure has callees on both sides.

use serde_json::{Value, json};
use stentor::cluster::NodeSettings;
use stentor::limits::TurnLimits;
use stentor::router::{RealmSettings, RequestIdCheck, Settings};
use stentor::shard::Admission;

use super::cluster::{check_end, hear, join, say};
use super::peer::Peer;
use crate::support::{Carrier, Cluster, Link, Network, Serializer};

/// What the keys of all nodes say.
const STOPS_MS: u64 = 10_000;

/// How long before a node stops.
const MARGIN_MS: u64 = 2_000;

/// How often each writes its key.
const AGAIN_MS: u64 = 2_000;

fn cluster(nodes: usize) -> Cluster {
    cluster_with(nodes, TurnLimits::default())
}

fn cluster_with(nodes: usize, turn: TurnLimits) -> Cluster {
    let mut settings =
        Settings { visible_ms: 250, interest_bits: 10, claims: true, turn, ..Settings::default() };
    settings.timeouts.ping_interval_ms = 0;
    settings.request_ids = RequestIdCheck::Off;
    let node = NodeSettings { max_payload: 1 << 20, silence_ms: STOPS_MS, queue_bytes: 1 << 20 };
    let (node, realms) = ((&settings, node, Some(STOPS_MS)), [RealmSettings::named("realm1")]);
    let mut cluster = Cluster::stopping(nodes, 2, node, &realms);
    cluster.exclusive = vec!["com.x"];
    cluster.settle_for(100);
    assert!(cluster.is_linked());
    cluster
}

/// A node hears no other one and is not heard, and reaches the bucket or does not.
fn cut_off(cluster: &mut Cluster, node: usize, has_bucket: bool) {
    for other in (0..cluster.members.len()).filter(|other| *other != node) {
        cluster.bus.cut.extend([(node, other), (other, node)]);
    }
    if !has_bucket {
        cluster.bucket.away.insert(node);
    }
}

fn heal(cluster: &mut Cluster) {
    cluster.bus.cut.clear();
    cluster.bucket.away.clear();
    cluster.bucket.has_no_leader = false;
}

fn register(cluster: &mut Cluster, node: usize, peer: &mut Peer) -> Value {
    say(cluster, node, peer, &json!([64, 1, {}, "com.x"]));
    let heard = hear(cluster, node, peer);
    heard.first().map_or(Value::Null, |heard| heard[0].clone())
}

/// A time in which each has written its key at least once.
fn prove(cluster: &mut Cluster) {
    for _ in 0..20 {
        cluster.settle_for(AGAIN_MS / 10);
    }
}

fn is_serving(cluster: &Cluster, node: usize) -> bool {
    cluster.members[node].node.is_serving()
}

fn sessions(cluster: &Cluster, node: usize) -> u64 {
    cluster.members[node].network.router.snapshot().sessions
}

fn removed(cluster: &Cluster) -> u64 {
    cluster.members.iter().map(|member| member.node.members().removals().own).sum()
}

const GOODBYE: &str = "wamp.close.system_shutdown";

/// What somebody is told who says HELLO.
fn try_to_join(network: &mut Network) -> Value {
    let pipe = network.connect(0, Admission::Welcome, usize::MAX);
    let link = Link::new(Carrier::WebSocket, Serializer::Json);
    let mut peer = Peer { pipe, link, session: 0 };
    network.receive(pipe, &peer.link.greeting());
    peer.say(network, &json!([1, "realm1", {"roles": {"caller": {}}}]));
    network.settle();
    peer.read_all(network).first().cloned().unwrap_or_default()
}

/// Who joins a node that is cut off is told so.
fn check_refused(cluster: &mut Cluster, node: usize) {
    let network = &mut cluster.members[node].network;
    let heard = try_to_join(network);
    assert_eq!((&heard[0], &heard[2]), (&json!(3), &json!(GOODBYE)), "{heard}");
    assert_eq!(heard[1]["message"], "this node is cut off from its cluster, try another one");
}

/// The promise: a callee of a node that is cut off has gone before its procedure is granted again.
#[test]
fn a_procedure_is_granted_to_others_when_its_callee_has_gone() {
    let mut cluster = cluster(3);
    let [mut a, mut b] = [0, 1].map(|node| join(&mut cluster, node));
    assert_eq!(register(&mut cluster, 1, &mut b), 65);
    prove(&mut cluster);
    cut_off(&mut cluster, 1, false);
    let cut_at = cluster.now;
    say(&mut cluster, 0, &a, &json!([64, 1, {}, "com.x"]));
    let (mut gone_at, mut granted_at) = (None, None);
    while cluster.now.since(cut_at) < 2 * STOPS_MS {
        cluster.settle();
        let heard = b.read_all(&mut cluster.members[1].network);
        if !heard.is_empty() {
            assert_eq!((heard.len(), &heard[0][0], &heard[0][2]), (1, &json!(6), &json!(GOODBYE)));
            gone_at = Some(cluster.now.since(cut_at));
            assert_eq!(sessions(&cluster, 1), 0);
            check_refused(&mut cluster, 1);
        }
        let heard = a.read(&mut cluster.members[0].network);
        if !heard.is_empty() {
            assert_eq!(heard[0][0], 65, "{heard:?}");
            granted_at = Some(cluster.now.since(cut_at));
        }
        cluster.advance(100);
    }
    let (gone_at, granted_at) = (gone_at.expect("GOODBYE"), granted_at.expect("REGISTERED"));
    let last = STOPS_MS - MARGIN_MS;
    assert!((last - AGAIN_MS..=last).contains(&gone_at), "{gone_at}");
    assert!(granted_at >= STOPS_MS - AGAIN_MS && gone_at + MARGIN_MS <= granted_at, "{granted_at}");
    assert!(is_serving(&cluster, 0) && is_serving(&cluster, 2) && !is_serving(&cluster, 1));
    assert_eq!(cluster.members[1].node.counts().stops, 1);
    // It joins anew, and serves again.
    heal(&mut cluster);
    cluster.settle_for(2_000);
    assert!(is_serving(&cluster, 1) && cluster.is_linked());
    assert_eq!(removed(&cluster), 1);
    let mut c = join(&mut cluster, 1);
    say(&mut cluster, 1, &c, &json!([64, 1, {}, "com.x"]));
    let heard = hear(&mut cluster, 1, &mut c);
    assert_eq!(heard[0][4], "wamp.error.procedure_already_exists", "{heard:?}");
    check_end(cluster, &[(0, &a), (1, &b), (1, &c)]);
}

/// The bucket says who may be removed: who is there for it stays, whoever hears it, and serves.
#[test]
fn who_reaches_the_bucket_is_not_removed() {
    let mut cluster = cluster(3);
    let [mut a, mut b] = [0, 1].map(|node| join(&mut cluster, node));
    assert_eq!(register(&mut cluster, 1, &mut b), 65);
    cut_off(&mut cluster, 1, true);
    say(&mut cluster, 0, &a, &json!([64, 1, {}, "com.x"]));
    for _ in 0..60 {
        cluster.settle_for(1_000);
        assert!((0..3).all(|node| is_serving(&cluster, node)));
    }
    assert_eq!(removed(&cluster), 0);
    let heard = a.read(&mut cluster.members[0].network);
    assert_eq!(heard[0][4], "wamp.error.network_failure", "{heard:?}");
    heal(&mut cluster);
    cluster.settle_for(2_000);
    assert!(cluster.is_linked());
    say(&mut cluster, 0, &a, &json!([64, 2, {}, "com.x"]));
    let heard = hear(&mut cluster, 0, &mut a);
    assert_eq!(heard[0][4], "wamp.error.procedure_already_exists", "{heard:?}");
    check_end(cluster, &[(0, &a), (1, &b)]);
}

/// All that hear each other cannot know who has joined at a bucket that they do not reach.
#[test]
fn without_the_bucket_nobody_serves() {
    for nodes in [1, 3] {
        let mut cluster = cluster(nodes);
        let peers: Vec<_> = (0..nodes).map(|node| join(&mut cluster, node)).collect();
        prove(&mut cluster);
        cluster.bucket.has_no_leader = true;
        cluster.settle_for(STOPS_MS - MARGIN_MS - AGAIN_MS - 100);
        assert!((0..nodes).all(|node| is_serving(&cluster, node)));
        cluster.settle_for(AGAIN_MS + 200);
        for node in 0..nodes {
            assert_eq!((is_serving(&cluster, node), sessions(&cluster, node)), (false, 0));
            check_refused(&mut cluster, node);
        }
        cluster.settle_for(10 * STOPS_MS);
        heal(&mut cluster);
        cluster.settle_for(1_500);
        let mut again: Vec<_> = (0..nodes).map(|node| join(&mut cluster, node)).collect();
        assert_eq!((removed(&cluster), cluster.is_linked()), (0, true), "they are what they were");
        assert_eq!(register(&mut cluster, nodes - 1, &mut again[nodes - 1]), 65);
        let peers = peers.iter().chain(&again).enumerate();
        let peers: Vec<_> = peers.map(|(index, peer)| (index % nodes, peer)).collect();
        check_end(cluster, &peers);
    }
}

/// Nobody is removed sooner, though NATS knows that its process has gone; nor is its name taken.
#[test]
fn a_node_that_was_killed_may_live_as_long_as_it_says() {
    let mut cluster = cluster(3);
    let mut b = join(&mut cluster, 1);
    assert_eq!(register(&mut cluster, 1, &mut b), 65);
    prove(&mut cluster);
    let stands = |cluster: &Cluster| cluster.bucket.keys().filter(|key| *key == "node.1").count();
    cluster.kill(1);
    cluster.restart(1);
    cluster.settle_for(STOPS_MS - AGAIN_MS - 100);
    assert_eq!((stands(&cluster), cluster.is_up(1)), (1, false), "it may be somewhere");
    cluster.settle_for(AGAIN_MS + 1_000);
    assert!(cluster.is_up(1), "the next process has its name");
    cluster.settle_for(2_000);
    assert!(cluster.is_linked() && is_serving(&cluster, 1));
    let mut c = join(&mut cluster, 1);
    assert_eq!(register(&mut cluster, 1, &mut c), 65);
    check_end(cluster, &[(1, &c)]);
}

/// A process that did not run serves for one turn at most.
#[test]
fn who_wakes_late_stops_in_its_first_turn() {
    let mut cluster = cluster(1);
    let mut a = join(&mut cluster, 0);
    prove(&mut cluster);
    // An answer lies there, of a write that was asked for long ago.
    cluster.advance(AGAIN_MS);
    cluster.serve(0);
    cluster.advance(STOPS_MS);
    cluster.decide((true, true));
    cluster.serve(0);
    assert!(!is_serving(&cluster, 0));
    (0..2).for_each(|shard| cluster.members[0].network.give_out(shard, true));
    assert_eq!(a.read(&mut cluster.members[0].network)[0][2], GOODBYE);
    cluster.settle_for(500);
    assert!(is_serving(&cluster, 0));
    check_end(cluster, &[(0, &a)]);
}

/// What is written again and again is one key for each node, and changes nothing else.
#[test]
fn keys_that_are_written_again_say_the_same() {
    let mut cluster = cluster(3);
    let first: Vec<_> = cluster.bucket.keys().map(ToOwned::to_owned).collect();
    let before = cluster.members[0].node.members().revision();
    for _ in 0..60 {
        cluster.settle_for(1_000);
    }
    let written = cluster.members[0].node.members().revision() - before;
    assert!((3 * 25..=3 * 35).contains(&written), "{written} in a minute");
    assert_eq!(cluster.bucket.keys().collect::<Vec<_>>(), first, "nothing piles up");
    assert!(cluster.is_linked() && removed(&cluster) == 0);
    for member in &cluster.members {
        assert_eq!((member.node.members().lag(), member.node.counts().links_ended), (0, 0));
    }
    let elders = |node: usize| cluster.members[node].node.members().elders().count();
    assert_eq!([elders(0), elders(1), elders(2)], [0, 1, 2], "the order in which they came");
    check_end(cluster, &[]);
}

/// Answers that are lost, and writes that are, cost tries.
#[test]
fn lost_answers_do_not_stop_a_node() {
    let mut cluster = cluster(2);
    let mut tries = 0;
    for step in 0..3_000 {
        for index in 0..2 {
            cluster.serve(index);
            while cluster.bucket.has_news(index) {
                cluster.watch(index);
            }
        }
        while cluster.bucket.has_questions() {
            tries += 1;
            // Every third is made and answered, one more is made.
            cluster.decide((tries % 3 != 0, tries % 3 == 1));
        }
        cluster.bus.routes().into_iter().for_each(|route| cluster.deliver(route));
        cluster.advance(20);
        assert!(is_serving(&cluster, 0) && is_serving(&cluster, 1), "step {step}");
    }
    assert!(tries > 60, "{tries}");
    cluster.settle();
    check_end(cluster, &[]);
}

/// A shard ends its service by itself, and goes on while many leave. Who was told to is told so
/// though all is well again, and a router that is to stop does.
#[test]
fn all_are_told_whatever_follows() {
    for follows in ["nothing", "service", "drain", "shutdown"] {
        let turn = TurnLimits { step_units: 1_000, ..TurnLimits::default() };
        let mut cluster = cluster_with(1, turn);
        let network = &mut cluster.members[0].network;
        let join = |index: usize| Peer::join(network, index % 2, Serializer::Json);
        let mut peers: Vec<_> = (0..400).map(join).collect();
        network.serve_until(network.now + 1_000);
        assert_eq!(network.advance(999), 0, "nothing is due");
        assert_eq!(network.router.snapshot().sessions, 400);
        // The first turn, in which not all can be told.
        assert_eq!(network.advance(1), 2);
        match follows {
            "service" => network.serve_until(network.now + 60_000),
            "drain" => {
                network.begin_drain(60_000);
                network.serve_until(network.now + 60_000);
            }
            "shutdown" => network.begin_shutdown(),
            _ => {}
        }
        assert!(network.router.snapshot().sessions > 0, "steps are bounded");
        network.settle();
        for peer in &mut peers {
            let heard = peer.read_all(network);
            assert_eq!((&heard[0][0], &heard[0][2]), (&json!(6), &json!(GOODBYE)), "{follows}");
        }
        if follows == "drain" {
            assert!(network.is_drained());
        }
        let limits = network.router.edition().settings.turn;
        let longest = (0..2).map(|shard| network.shard(shard).longest_step()).max();
        assert!(longest.is_some_and(|units| units < 2 * limits.step_units as u64), "{longest:?}");
        let joins = |network: &mut Network| try_to_join(network)[0] == 2;
        assert_eq!(joins(network), follows == "service", "{follows}");
        network.serve_until(network.now + 60_000);
        assert_eq!(joins(network), matches!(follows, "nothing" | "service"), "{follows}");
    }
}

/// A drain takes no longer than the node may serve, and goes on as ordered if that is prolonged.
#[test]
fn a_drain_ends_with_the_service() {
    for is_prolonged in [false, true] {
        let mut cluster = cluster(1);
        let network = &mut cluster.members[0].network;
        let peer = Peer::join(network, 0, Serializer::Json);
        // Who has a call under way is waited for: it calls itself.
        network.links.gateway.collected = None;
        peer.say(network, &json!([64, 1, {}, "com.own"]));
        network.settle();
        peer.say(network, &json!([48, 2, {}, "com.own"]));
        network.settle();
        network.serve_until(network.now + 1_000);
        network.begin_drain(5_000);
        network.advance(500);
        network.settle();
        if is_prolonged {
            network.serve_until(network.now + 60_000);
        }
        network.advance(499);
        network.settle();
        assert_eq!(network.router.snapshot().sessions, 1);
        network.advance(1);
        network.settle();
        assert_eq!(network.router.snapshot().sessions, u64::from(is_prolonged));
        network.advance(4_000);
        network.settle();
        assert_eq!(network.router.snapshot().sessions, 0);
    }
}
