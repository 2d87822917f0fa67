//! What a cluster costs each of its nodes as it grows: slots and useless events, bytes and messages
//! of the bus, memory and time of a start. Nodes and their shards in one thread, without sockets.
//!
//! A small cluster runs with the other tests, against bounds. The whole table, up to 60 nodes:
//! `cargo test --release --test growth -- --ignored --nocapture`.
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it measures, and prints a table"
)]

use std::time::Instant;

use serde_json::{Value, json};
use stentor::cluster::NodeSettings;
use stentor::hash::HashSeed;
use stentor::router::{
    Interest, NodeIds, NodeNumber, RealmSettings, RequestIdCheck, Settings, ShardId,
};
use stentor::shard::{Admission, Mail};
use stentor::wamp::{MatchPolicy, Timestamp};

use support::{Carrier, Cluster, Link, Serializer, resident_bytes};

#[allow(dead_code, unused_imports, reason = "the scenarios and the simulator use more of it")]
mod support;

/// How many nodes have receivers of a topic, if there are as many.
const SPREAD: usize = 10;

fn number(index: usize) -> NodeNumber {
    NodeNumber::new(u8::try_from(index).expect("few nodes")).expect("7 bits")
}

fn topic(number: usize) -> String {
    format!("com.example.topic.{number}")
}

/// The nodes with receivers of a topic: as good as chance, and the same in each run.
fn receivers(topic: usize, nodes: usize) -> impl Iterator<Item = usize> {
    let (mut state, mut picked) = (topic as u64, 0_u64);
    while picked.count_ones() < SPREAD.min(nodes) as u32 {
        // SplitMix64, whose constants are published.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut random = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        random = (random ^ (random >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        picked |= 1 << ((random ^ (random >> 31)) % nodes as u64);
    }
    (0..nodes).filter(move |node| picked >> node & 1 == 1)
}

fn cluster(nodes: usize, bits: u8) -> Cluster {
    let mut settings =
        Settings { visible_ms: 250, interest_bits: bits, claims: true, ..Settings::default() };
    settings.timeouts.ping_interval_ms = 0;
    settings.request_ids = RequestIdCheck::Off;
    settings.limits.registrations_per_session = usize::MAX;
    let node =
        NodeSettings { max_payload: 1 << 20, silence_ms: 10_000, queue_bytes: 64 * 1024 * 1024 };
    let realms = [RealmSettings::named("realm1")];
    let mut cluster = Cluster::new(nodes, 1, (&settings, node), &realms);
    cluster.settle();
    assert!(cluster.is_linked());
    cluster
}

/// A client by its socket.
struct Client {
    node: usize,
    pipe: usize,
    link: Link,
}

impl Client {
    fn join(cluster: &mut Cluster, node: usize) -> Self {
        let network = &mut cluster.members[node].network;
        let pipe = network.connect(0, Admission::Welcome, usize::MAX);
        let link = Link::new(Carrier::WebSocket, Serializer::MsgPack);
        network.receive(pipe, &link.greeting());
        let client = Self { node, pipe, link };
        let roles = json!({"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}});
        client.say(cluster, [json!([1, "realm1", { "roles": roles }])]);
        cluster.settle();
        client
    }

    fn say(&self, cluster: &mut Cluster, messages: impl IntoIterator<Item = Value>) {
        let bytes: Vec<u8> =
            messages.into_iter().flat_map(|message| self.link.message(&message)).collect();
        cluster.members[self.node].network.receive(self.pipe, &bytes);
    }

    /// Forgets what it was sent, and says how many bytes that was.
    fn read(&self, cluster: &mut Cluster) -> usize {
        cluster.members[self.node].network.read(self.pipe, usize::MAX).len()
    }
}

/// The share of slots that a node uses, and how many nodes get a publication that nobody there
/// wants.
fn slots(nodes: usize, topics: usize, bits: u8) -> (f64, f64) {
    let interest = Interest::new(NodeIds::new(number(63), 7), bits, &HashSeed::new(7));
    for name in 0..topics {
        let slot = interest.slot("realm1", MatchPolicy::Exact, &topic(name));
        receivers(name, nodes).for_each(|node| interest.set_remote(number(node), slot, true));
    }
    let (used, _) = interest.remote(number(0));
    let step = topics.div_ceil(10_000);
    let mut useless = 0;
    for name in (0..topics).step_by(step) {
        let (found, _) = interest.nodes("realm1", &topic(name));
        let all = (0..nodes).filter(|node| found.contains(number(*node))).count();
        useless += all - receivers(name, nodes).count();
    }
    let publications = topics.div_ceil(step);
    (ratio(used.len(), 1 << bits), ratio(useless, publications))
}

#[expect(clippy::cast_precision_loss, reason = "for a table")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

/// Bytes that one node says of so many topics to another one that is new.
fn copy_bytes(topics: usize, bits: u8) -> usize {
    let mut cluster = cluster(2, bits);
    let member = &mut cluster.members[0];
    let router = &member.network.router;
    let (realm, interest) = (router.realm("realm1").expect("it is there"), router.interest());
    let interest = interest.expect("it is of a cluster");
    let want = |name| {
        let uri = topic(name);
        let joined = realm.topics.join(&uri, MatchPolicy::Exact, ShardId(0), Timestamp::EPOCH);
        joined.expect("there is room");
        Mail::Wanted { slot: interest.slot("realm1", MatchPolicy::Exact, &uri), shape: None }
    };
    let mail = (0..topics).map(want).collect();
    member.node.handle_mail(mail, cluster.now);
    cluster.settle();
    cluster.kill(1);
    cluster.settle_for(12_000);
    cluster.restart(1);
    let before = cluster.bus.sent_bytes;
    cluster.settle();
    assert!(cluster.is_linked());
    cluster.bus.sent_bytes - before
}

/// What a second of nothing costs a node: bytes that it is sent, and microseconds.
fn idle(nodes: usize) -> (usize, u128) {
    let mut cluster = cluster(nodes, 10);
    cluster.settle_for(5_000);
    let (bytes, since) = (cluster.bus.sent_bytes, Instant::now());
    cluster.settle_for(10_000);
    let took = since.elapsed().as_micros();
    ((cluster.bus.sent_bytes - bytes) / nodes / 10, took / (nodes as u128 * 10))
}

struct Traffic {
    messages: f64,
    bytes: f64,
    micros: f64,
}

/// 100 publications in each millisecond, by all nodes in turn, of 128 bytes and with receivers on
/// ten of them: what a publication costs in messages and bytes of the bus, and in time at all nodes
/// together, with their shards.
fn traffic(nodes: usize, millis: usize) -> Traffic {
    let mut cluster = cluster(nodes, 20);
    let topics = 120;
    let clients: Vec<_> = (0..nodes).map(|node| Client::join(&mut cluster, node)).collect();
    for name in 0..topics {
        for node in receivers(name, nodes) {
            clients[node].say(&mut cluster, [json!([32, 1, {}, topic(name)])]);
        }
    }
    cluster.settle_for(1_000);
    for client in &clients {
        client.read(&mut cluster);
    }
    let (messages, bytes) = (cluster.bus.sent, cluster.bus.sent_bytes);
    let (since, mut heard) = (Instant::now(), 0);
    let payload = "x".repeat(128);
    for turn in 0..millis {
        for (node, client) in clients.iter().enumerate() {
            let own = (0..PER_MILLI).filter(|at| (turn * PER_MILLI + at) % nodes == node);
            let messages = own.map(|at| json!([16, 1, {}, topic((turn + at) % topics), [payload]]));
            client.say(&mut cluster, messages);
        }
        cluster.settle();
        cluster.advance(1);
        heard += clients.iter().map(|client| client.read(&mut cluster)).sum::<usize>();
    }
    cluster.settle_for(2_000);
    let micros = since.elapsed().as_micros();
    heard += clients.iter().map(|client| client.read(&mut cluster)).sum::<usize>();
    let publications = PER_MILLI * millis;
    assert!(heard > publications * 128 * (SPREAD.min(nodes) - 1), "all of them came");
    Traffic {
        messages: ratio(cluster.bus.sent - messages, publications),
        bytes: ratio(cluster.bus.sent_bytes - bytes, publications),
        micros: ratio(usize::try_from(micros).expect("it is short"), publications),
    }
}

const PER_MILLI: usize = 100;

/// Of so many registrations: bytes that another node keeps for each, and microseconds in which it
/// reads one at its start.
fn registrations(count: usize) -> (usize, f64) {
    let mut cluster = cluster(2, 10);
    let callee = Client::join(&mut cluster, 0);
    for piece in 0..count / PIECE {
        let uris = (0..PIECE).map(|at| format!("com.example.procedure.{}", piece * PIECE + at));
        callee.say(&mut cluster, uris.map(|uri| json!([64, 1, {}, uri])));
        cluster.settle();
    }
    cluster.settle_for(1_000);
    assert_eq!(cluster.members[1].node.claims().0, count);
    callee.read(&mut cluster);
    cluster.kill(1);
    cluster.settle_for(12_000);
    cluster.restart(1);
    let (before, since) = (resident_bytes(), Instant::now());
    while !cluster.is_up(1) || cluster.members[1].node.claims().0 < count {
        while cluster.bucket.has_news(1) {
            cluster.watch(1);
        }
        cluster.settle();
    }
    let took = usize::try_from(since.elapsed().as_nanos()).expect("it is short");
    let kept = resident_bytes().saturating_sub(before);
    (kept / count, ratio(took, count) / 1_000.0)
}

const PIECE: usize = 1_000;

/// What the table of the whole says holds for a small one: a node pays for what it wants and does,
/// and a second of nothing costs it some bytes for each other node.
#[test]
fn a_small_cluster_keeps_the_bounds() {
    let (used, useless) = slots(10, 2_000, 14);
    assert!(used < 0.13 && useless < 0.9, "{used} {useless}");
    // Six bytes a change is the goal; a head and the other node's own copy come with it.
    let (few, many) = (copy_bytes(100, 14), copy_bytes(2_100, 14));
    assert!(many - few < 2_000 * 6, "{few} and {many} bytes");
    let [three, ten] = [3, 10].map(|nodes| idle(nodes).0);
    assert!(three < 3 * 3 * 64 && ten < 10 * 10 * 64, "{three} and {ten} bytes a second");
    let Traffic { messages, bytes, .. } = traffic(3, 50);
    assert!(messages < 0.5 && bytes < 2.0 * 250.0, "{messages} messages and {bytes} bytes");
}

/// The table of PERFORMANCE.md.
#[test]
#[ignore = "takes minutes: by hand, with --release"]
fn the_whole_table() {
    println!("nodes, topics: slots used, useless events a publication, of 2^20 and 2^22; copy");
    for (nodes, topics) in [(3, 10_000), (10, 100_000), (60, 1_000_000)] {
        let of = |bits| slots(nodes, topics, bits);
        let ((used, useless), (more_used, less_useless)) = (of(20), of(22));
        let copy = copy_bytes(topics * SPREAD.min(nodes) / nodes, 20);
        println!(
            "{nodes} {topics}: {:.1} % {useless:.2}, {:.1} % {less_useless:.2}; {copy} bytes",
            100.0 * used,
            100.0 * more_used
        );
    }
    println!("nodes: 100,000 publications a second: messages, bytes, us at all nodes of each");
    for nodes in [3, 10, 60] {
        let Traffic { messages, bytes, micros } = traffic(nodes, 500);
        println!("{nodes}: {messages:.2} {bytes:.0} {micros:.1}");
    }
    println!("nodes: a second of nothing: bytes and us of each node");
    for nodes in [3, 10, 60] {
        let (bytes, micros) = idle(nodes);
        println!("{nodes}: {bytes} {micros}");
    }
    of_registrations();
}

/// Its last line.
#[test]
#[ignore = "takes a while: by hand, with --release"]
fn of_registrations() {
    let (bytes, micros) = registrations(100_000);
    println!(
        "100,000 registrations of another node: {bytes} bytes, {micros:.1} us each at a start"
    );
}
