//! Calls between nodes: clients hear what they would hear if both were at one node.
//!
//! A play is told twice, with all clients at one node and with each at another one, and has to be
//! the same to the letter, but for the ids of sessions.

use serde_json::{Value, json};
use stentor::cluster::NodeSettings;
use stentor::router::{RealmSettings, Settings};

use super::peer::Peer;
use super::words::FULLY;
use crate::support::{Cluster, Serializer};

/// Who says what in a play, or what else happens.
enum Step {
    Say(char, Value),
    /// The client's connection is lost.
    Lost(char),
    /// So many milliseconds pass.
    Wait(u64),
}

use Step::{Lost, Say, Wait};

/// `a` mostly calls, the others mostly are called; `d` has announced no feature.
const ACTORS: [(char, usize, Serializer); 4] = [
    ('a', 0, Serializer::Cbor),
    ('b', 1, Serializer::MsgPack),
    ('c', 2, Serializer::Json),
    ('d', 1, Serializer::Json),
];

pub(super) fn cluster(nodes: usize, change: impl Fn(&mut Settings, &mut NodeSettings)) -> Cluster {
    cluster_with(nodes, change, RealmSettings::named("realm1"))
}

pub(super) fn cluster_with(
    nodes: usize,
    change: impl Fn(&mut Settings, &mut NodeSettings),
    realm: RealmSettings,
) -> Cluster {
    let mut settings = Settings { interest_bits: 10, claims: true, ..Settings::default() };
    settings.timeouts.ping_interval_ms = 0;
    let mut node = NodeSettings { max_payload: 1 << 20, silence_ms: 10_000, queue_bytes: 1 << 20 };
    change(&mut settings, &mut node);
    let mut cluster = Cluster::new(nodes, 2, (&settings, node), &[realm]);
    cluster.settle_for(100);
    assert!(cluster.is_linked());
    cluster
}

pub(super) fn join(cluster: &mut Cluster, node: usize, shard: usize, like: Serializer) -> Peer {
    let roles = serde_json::from_str::<Value>(FULLY).expect("JSON")["roles"].clone();
    Peer::join_with(&mut cluster.members[node].network, shard, like, &roles)
}

pub(super) fn check_end(mut cluster: Cluster, peers: &[(usize, &Peer)]) {
    for (node, peer) in peers {
        cluster.members[*node].network.lose(peer.pipe);
    }
    cluster.settle_for(10_000);
    cluster.check_empty();
}

/// Tells a play with every client at its own node, or all at the first one. Returns what each has
/// heard, in the order of the steps.
fn tell(is_apart: bool, change: &dyn Fn(&mut Settings), steps: &[Step]) -> Vec<(char, Value)> {
    let mut cluster = cluster(3, |settings, _| change(settings));
    let plainly = json!({"caller": {}, "callee": {}, "publisher": {}, "subscriber": {}});
    let mut peers: Vec<(char, usize, Peer)> = Vec::new();
    for (shard, (name, node, like)) in ACTORS.into_iter().enumerate() {
        let node = if is_apart { node } else { 0 };
        let peer = match name {
            'd' => {
                let network = &mut cluster.members[node].network;
                Peer::join_with(network, shard % 2, like, &plainly)
            }
            _ => join(&mut cluster, node, shard % 2, like),
        };
        peers.push((name, node, peer));
    }
    let mut heard = Vec::new();
    for step in steps {
        let find = |name: &char| peers.iter().find(|(it, ..)| it == name).expect("an actor");
        match step {
            Say(name, message) => {
                let (_, node, peer) = find(name);
                peer.say(&mut cluster.members[*node].network, message);
            }
            Lost(name) => {
                let (_, node, peer) = find(name);
                cluster.members[*node].network.lose(peer.pipe);
            }
            Wait(ms) => cluster.advance(*ms),
        }
        cluster.settle_for(40);
        let names: Vec<_> = peers.iter().map(|(name, _, peer)| (*name, peer.session)).collect();
        for (name, node, peer) in &mut peers {
            let messages = peer.read(&mut cluster.members[*node].network);
            let messages = messages.into_iter().map(|mut message| {
                if message[0] == 36 {
                    message[2] = json!("drawn");
                }
                (*name, mask(message, &names))
            });
            heard.extend(messages);
        }
    }
    let crossed: u64 = cluster.members.iter().map(|it| it.node.counts().calls).sum();
    assert_eq!(crossed > 0, is_apart, "calls went to other nodes, or did not");
    let peers: Vec<_> = peers.iter().map(|(_, node, peer)| (*node, peer)).collect();
    check_end(cluster, &peers);
    heard
}

/// The ids of sessions as the names of the actors.
fn mask(message: Value, names: &[(char, u64)]) -> Value {
    match message {
        Value::Array(items) => items.into_iter().map(|item| mask(item, names)).collect(),
        Value::Object(entries) => {
            let drawn = |key: &str| key == "caller_authid";
            let masked = |(key, value): (String, _)| {
                let value = if drawn(&key) { json!("drawn") } else { mask(value, names) };
                (key, value)
            };
            entries.into_iter().map(masked).collect()
        }
        other => match names.iter().find(|(_, id)| other == json!(id)) {
            Some((name, _)) => json!(name.to_string()),
            None => other,
        },
    }
}

/// The play is the same at one node and at several, and `a` and others hear at least this.
fn check(steps: &[Step], expected: &[(char, Value)]) {
    check_with(&|_| {}, steps, expected);
}

fn check_with(change: &dyn Fn(&mut Settings), steps: &[Step], expected: &[(char, Value)]) {
    let together = tell(false, change, steps);
    let apart = tell(true, change, steps);
    assert_eq!(together, apart, "at one node, and at several");
    let mut rest = apart.iter();
    for wanted in expected {
        let is_it = |(name, message): &(char, Value)| *name == wanted.0 && fits(&wanted.1, message);
        assert!(rest.any(is_it), "{wanted:?} is not in its place in {apart:#?}");
    }
}

fn register(name: char, options: Value, uri: &str) -> Step {
    Say(name, json!([64, 1, options, uri]))
}

/// Whether a message is as it should be; `*` stands for anything.
fn fits(wanted: &Value, heard: &Value) -> bool {
    match (wanted, heard) {
        (Value::String(any), _) if any == "*" => true,
        (Value::Array(wanted), Value::Array(heard)) => {
            let mut pairs = wanted.iter().zip(heard);
            wanted.len() == heard.len() && pairs.all(|(wanted, heard)| fits(wanted, heard))
        }
        (Value::Object(wanted), Value::Object(heard)) => {
            let is_there = |(key, wanted): (&String, _)| {
                heard.get(key).is_some_and(|heard| fits(wanted, heard))
            };
            wanted.len() == heard.len() && wanted.iter().all(is_there)
        }
        (wanted, heard) => wanted == heard,
    }
}

/// BP-CALL: arguments, results and errors of any serializer, and what the callee sees of the call.
#[test]
fn calls_and_answers_cross_as_they_are() {
    let caller = json!({"caller": "a", "caller_authid": "*", "caller_authrole": "anonymous"});
    check(
        &[
            register('b', json!({"disclose_caller": true}), "com.p"),
            register('c', json!({"match": "prefix"}), "com.q"),
            register('d', json!({}), "com.d"),
            Say('a', json!([48, 1, {}, "com.p", [1, "two", {"3": [null]}], {"k": 1.5}])),
            Say('b', json!([70, 1, {}, [[1], "x"], {"r": true}])),
            Say('a', json!([48, 2, {"disclose_me": true}, "com.q.x"])),
            Say('c', json!([8, 68, 1, {}, "com.error", [7], {"why": "no"}])),
            Say('a', json!([48, 3, {}, "com.d"])),
            Say('d', json!([70, 1, {}])),
            Say('a', json!([48, 4, {}, "com.d", []])),
            Say('d', json!([8, 68, 2, {}, "bad uri!"])),
            // Nobody is answered twice.
            Say('d', json!([70, 2, {}])),
            Say('d', json!([48, 2, {}, "com.p"])),
            Say('b', json!([70, 2, {}, ["last"]])),
            Say('a', json!([48, 5, {}, "com.nobody"])),
        ],
        &[
            ('b', json!([68, 1, "*", caller, [1, "two", {"3": [null]}], {"k": 1.5}])),
            ('a', json!([50, 1, {}, [[1], "x"], {"r": true}])),
            ('a', json!([8, 48, 2, {}, "com.error", [7], {"why": "no"}])),
            ('a', json!([50, 3, {}])),
            ('a', json!([8, 48, 4, {}, "wamp.error.invalid_uri", ["bad uri!"]])),
            ('d', json!([50, 2, {}, ["last"]])),
        ],
    );
}

/// AP-PCR, AP-PCI: results and calls in pieces, and what becomes of pieces that come too late.
#[test]
fn results_and_calls_come_in_pieces() {
    check(
        &[
            register('b', json!({}), "com.p"),
            register('d', json!({}), "com.d"),
            Say('a', json!([48, 1, {"receive_progress": true}, "com.p"])),
            Say('b', json!([70, 1, {"progress": true}, [1]])),
            Say('b', json!([70, 1, {"progress": true}, [2]])),
            Say('b', json!([70, 1, {}, [3]])),
            Say('b', json!([70, 1, {"progress": true}, [4]])),
            // Nobody gets what was not asked for.
            Say('a', json!([48, 2, {}, "com.p"])),
            Say('b', json!([70, 2, {"progress": true}, [1]])),
            Say('b', json!([70, 2, {}, [2]])),
            Say('a', json!([48, 3, {"progress": true, "receive_progress": true}, "com.p", [1]])),
            Say('a', json!([48, 3, {"progress": true}, "com.p", [2]])),
            Say('b', json!([70, 3, {"progress": true}, ["so far"]])),
            Say('a', json!([48, 3, {}, "com.p", [3]])),
            Say('b', json!([70, 3, {}, ["all"]])),
            // The callee is done before the caller is.
            Say('a', json!([48, 4, {"progress": true}, "com.p", [1]])),
            Say('b', json!([8, 68, 4, {}, "com.enough"])),
            Say('a', json!([48, 4, {"progress": true}, "com.p", [2]])),
            Say('a', json!([48, 4, {}, "com.p", [3]])),
            Say('a', json!([48, 5, {"progress": true}, "com.d", [1]])),
        ],
        &[
            ('a', json!([50, 1, {"progress": true}, [1]])),
            ('a', json!([50, 1, {"progress": true}, [2]])),
            ('a', json!([50, 1, {}, [3]])),
            ('a', json!([50, 2, {}, [2]])),
            ('b', json!([68, 3, "*", {"progress": true, "receive_progress": true}, [1]])),
            ('b', json!([68, 3, "*", {"progress": true, "receive_progress": true}, [2]])),
            ('a', json!([50, 3, {"progress": true}, ["so far"]])),
            ('b', json!([68, 3, "*", {"receive_progress": true}, [3]])),
            ('a', json!([50, 3, {}, ["all"]])),
            ('a', json!([8, 48, 4, {}, "com.enough"])),
            ('a', json!([8, 48, 5, {}, "wamp.error.feature_not_supported", "*"])),
        ],
    );
}

/// AP-CAN, AP-TMO: each mode, at a callee that takes INTERRUPT and at one that does not.
#[test]
fn calls_are_canceled_and_time_out() {
    let cancel = |request: u64, mode: &str| Say('a', json!([49, request, { "mode": mode }]));
    check(
        &[
            register('b', json!({"forward_timeout": true}), "com.p"),
            register('d', json!({}), "com.d"),
            Say('a', json!([48, 1, {}, "com.p"])),
            cancel(1, "skip"),
            Say('b', json!([70, 1, {}, ["late"]])),
            Say('a', json!([48, 2, {}, "com.p"])),
            cancel(2, "kill"),
            cancel(2, "kill"),
            Say('b', json!([8, 68, 2, {}, "com.stopped"])),
            Say('a', json!([48, 3, {}, "com.p"])),
            cancel(3, "killnowait"),
            Say('b', json!([70, 3, {}, ["late"]])),
            Say('a', json!([48, 4, {}, "com.p"])),
            cancel(4, "kill"),
            cancel(4, "killnowait"),
            Say('a', json!([48, 5, {}, "com.d"])),
            cancel(5, "kill"),
            Say('d', json!([70, 1, {}, ["late"]])),
            Say('a', json!([48, 6, {"timeout": 500}, "com.d"])),
            Wait(600),
            Say('d', json!([70, 2, {}, ["late"]])),
            Say('a', json!([48, 7, {"timeout": 500}, "com.p"])),
            Wait(600),
            Say('b', json!([70, 5, {}, ["by its own clock"]])),
            Say('a', json!([48, 8, {}, "com.p"])),
            Lost('a'),
            Say('b', json!([70, 6, {}, ["for nobody"]])),
        ],
        &[
            ('a', json!([8, 48, 1, {}, "wamp.error.canceled", "*"])),
            ('b', json!([69, 2, {"mode": "kill"}])),
            ('a', json!([8, 48, 2, {}, "com.stopped"])),
            ('a', json!([8, 48, 3, {}, "wamp.error.canceled", "*"])),
            ('b', json!([69, 4, {"mode": "kill"}])),
            ('a', json!([8, 48, 4, {}, "wamp.error.canceled", "*"])),
            ('a', json!([8, 48, 5, {}, "wamp.error.canceled", "*"])),
            ('a', json!([8, 48, 6, {}, "wamp.error.timeout", "*"])),
            ('b', json!([68, 5, "*", {"timeout": 500}])),
            ('a', json!([50, 7, {}, ["by its own clock"]])),
            ('b', json!([69, 6, {"mode": "killnowait"}])),
        ],
    );
}

/// AP-SHR, AP-RRT: a call goes on to the next callee, wherever that is, if one is full or not
/// available; and what nobody takes ends.
#[test]
fn calls_go_from_callee_to_callee() {
    let shared = json!({"invoke": "first", "concurrency": 1});
    let unavailable =
        |name, request: u64| Say(name, json!([8, 68, request, {}, "wamp.error.unavailable"]));
    check(
        &[
            register('b', shared.clone(), "com.p"),
            register('c', shared, "com.p"),
            Say('a', json!([48, 1, {}, "com.p", [1]])),
            Say('a', json!([48, 2, {}, "com.p", [2]])),
            Say('a', json!([48, 3, {}, "com.p", [3]])),
            Say('c', json!([70, 1, {}, ["c"]])),
            Say('a', json!([48, 4, {}, "com.p", [4]])),
            unavailable('c', 2),
            unavailable('b', 1),
            Say('c', json!([70, 3, {}, ["c"]])),
            Say('a', json!([48, 5, {}, "com.p", [5]])),
            unavailable('b', 2),
            Say('c', json!([70, 4, {}, ["c"]])),
        ],
        &[
            ('b', json!([68, 1, "*", {}, [1]])),
            ('c', json!([68, 1, "*", {}, [2]])),
            ('a', json!([8, 48, 3, {}, "wamp.error.no_available_callee", "*"])),
            ('a', json!([50, 2, {}, ["c"]])),
            ('c', json!([68, 2, "*", {}, [4]])),
            ('a', json!([8, 48, 4, {}, "wamp.error.no_available_callee", "*"])),
            ('c', json!([68, 3, "*", {}, [1]])),
            ('a', json!([50, 1, {}, ["c"]])),
            ('b', json!([68, 2, "*", {}, [5]])),
            ('c', json!([68, 4, "*", {}, [5]])),
            ('a', json!([50, 5, {}, ["c"]])),
        ],
    );
}

/// AP-PPT: payloads that the router does not look into, and who takes them.
#[test]
fn payloads_pass_through() {
    let keys = json!({"ppt_scheme": "x_mine", "ppt_serializer": "cbor"});
    check(
        &[
            register('b', json!({}), "com.p"),
            register('d', json!({}), "com.d"),
            Say('a', json!([48, 1, keys, "com.p", ["opaque"]])),
            Say('b', json!([70, 1, {"ppt_scheme": "x_mine"}, ["also"]])),
            Say('a', json!([48, 2, keys, "com.d", ["opaque"]])),
            Say('d', json!([48, 2, {}, "com.p"])),
            Say('b', json!([70, 2, {"ppt_scheme": "x_mine"}, ["for nobody"]])),
        ],
        &[
            ('b', json!([68, 1, "*", keys, ["opaque"]])),
            ('a', json!([50, 1, {"ppt_scheme": "x_mine"}, ["also"]])),
            ('a', json!([8, 48, 2, {}, "wamp.error.feature_not_supported", "*"])),
            ('d', json!([8, 48, 2, {}, "wamp.error.feature_not_supported", "*"])),
        ],
    );
}

/// What the callee's side refuses reaches its caller in the same words.
#[test]
fn refusals_are_the_same_from_everywhere() {
    let change = |settings: &mut Settings| settings.limits.invocations_per_session = 1;
    check_with(
        &change,
        &[
            register('b', json!({}), "com.p"),
            Say('a', json!([48, 1, {}, "com.p"])),
            Say('a', json!([48, 2, {}, "com.p"])),
            Lost('b'),
            Say('a', json!([48, 3, {}, "com.p"])),
        ],
        &[
            ('a', json!([8, 48, 2, {}, "wamp.error.resource_limit", "*"])),
            ('a', json!([8, 48, 1, {}, "wamp.error.canceled", "*"])),
            ('a', json!([8, 48, 3, {}, "wamp.error.no_such_procedure", "*"])),
        ],
    );
}

/// BP-ORD-01, BP-ORD-04, BP-ORD-07: what one client says to another comes in its order.
#[test]
fn publications_and_calls_keep_their_order() {
    let mut steps = vec![
        register('b', json!({}), "com.p"),
        register('c', json!({}), "com.q"),
        Say('b', json!([32, 2, {}, "com.t"])),
    ];
    let mut expected = Vec::new();
    for round in 0..5_u64 {
        let request = 2 * round + 1;
        steps.push(Say('a', json!([16, request, {}, "com.t", [round]])));
        steps.push(Say('a', json!([48, request + 1, {}, "com.p", [round]])));
        expected.push(('b', json!([36, "*", "*", {}, [round]])));
        expected.push(('b', json!([68, round + 1, "*", {}, [round]])));
    }
    check(&steps, &expected);
}
