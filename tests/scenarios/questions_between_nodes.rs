//! The meta API of sessions and subscriptions in a cluster: each node answers for all.

use serde_json::{Value, json};
use stentor::cluster::NodeSettings;
use stentor::router::{RealmSettings, RequestIdCheck, Settings};

use super::cluster::{check_end, hear, join, say, subscribe};
use super::peer::Peer;
use crate::support::Cluster;

const QUESTION_MS: u64 = 2_000;

pub(super) fn cluster_with(nodes: usize, queue_bytes: usize, visible_ms: u64) -> Cluster {
    let mut settings = Settings {
        visible_ms,
        interest_bits: 20,
        claims: true,
        rosters: true,
        question_ms: QUESTION_MS,
        ..Settings::default()
    };
    settings.timeouts.ping_interval_ms = 0;
    settings.request_ids = RequestIdCheck::Off;
    settings.limits.meta_list_items = 50;
    let node = NodeSettings { max_payload: 1 << 20, silence_ms: 10_000, queue_bytes };
    let admin_roles = vec!["anonymous".into()];
    let realms = [RealmSettings { admin_roles, ..RealmSettings::named("realm1") }];
    let mut cluster = Cluster::new(nodes, 2, (&settings, node), &realms);
    cluster.settle_for(100);
    assert!(cluster.is_linked());
    cluster
}

pub(super) fn cluster(nodes: usize) -> Cluster {
    cluster_with(nodes, 1 << 20, 250)
}

/// Asks, and hears the one answer: arguments and keyword arguments, or the error's URI.
pub(super) fn ask(
    cluster: &mut Cluster,
    node: usize,
    peer: &mut Peer,
    procedure: &str,
    args: &Value,
) -> Result<(Value, Value), String> {
    send(cluster, node, peer, procedure, args);
    answer(cluster, node, peer)
}

fn send(cluster: &mut Cluster, node: usize, peer: &Peer, procedure: &str, args: &Value) {
    let procedure = format!("wamp.{procedure}");
    say(cluster, node, peer, &json!([48, 1, {}, procedure, args]));
}

fn answer(cluster: &mut Cluster, node: usize, peer: &mut Peer) -> Result<(Value, Value), String> {
    let heard = hear(cluster, node, peer);
    let [answer] = &heard[..] else { panic!("one answer, and not {heard:?}") };
    if answer[0] == 50 {
        return Ok((answer[3][0].clone(), answer[4].clone()));
    }
    assert_eq!((&answer[0], &answer[1]), (&json!(8), &json!(48)), "{answer}");
    Err(answer[4].as_str().expect("a URI").to_owned())
}

/// Whole answers have no keyword arguments.
pub(super) fn found(answer: Result<(Value, Value), String>) -> Value {
    let (found, kwargs) = answer.expect("a result");
    assert_eq!(kwargs, Value::Null, "with {found}");
    found
}

fn sorted(mut ids: Vec<u64>) -> Value {
    ids.sort_unstable();
    json!(ids)
}

const NO_SESSION: &str = "wamp.error.no_such_session";
const NO_SUBSCRIPTION: &str = "wamp.error.no_such_subscription";

/// AP-SMA, AP-SUA: whoever asks, and wherever.
#[test]
fn a_node_answers_for_all() {
    let mut cluster = cluster(3);
    let mut peers: Vec<(usize, Peer)> =
        [0, 1, 2, 1].map(|node| (node, join(&mut cluster, node))).into();
    let ids: Vec<u64> = peers.iter().map(|(_, peer)| peer.session).collect();
    let x = json!([32, 9, {}, "com.x"]);
    let subscription = subscribe(&mut cluster, 1, &mut peers[1].1, &x);
    assert_eq!(subscribe(&mut cluster, 2, &mut peers[2].1, &x), subscription);
    let prefix = json!([32, 9, {"match": "prefix"}, "com"]);
    let prefix = subscribe(&mut cluster, 0, &mut peers[0].1, &prefix);
    for (node, peer) in &mut peers[..3] {
        let mut ask =
            |procedure: &str, args: Value| ask(&mut cluster, *node, peer, procedure, &args);
        assert_eq!(found(ask("session.count", json!([]))), 4);
        assert_eq!(found(ask("session.count", json!([["anonymous"]]))), 4);
        assert_eq!(found(ask("session.count", json!([["admin"]]))), 0);
        assert_eq!(found(ask("session.list", json!([]))), sorted(ids.clone()));
        for id in &ids {
            let details = found(ask("session.get", json!([id])));
            assert_eq!(
                (&details["session"], &details["authrole"]),
                (&json!(id), &json!("anonymous"))
            );
        }
        assert_eq!(ask("session.get", json!([ids[0] ^ 1])), Err(NO_SESSION.into()));
        let all = json!({"exact": [subscription], "prefix": [prefix], "wildcard": []});
        assert_eq!(found(ask("subscription.list", json!([]))), all);
        assert_eq!(found(ask("subscription.lookup", json!(["com.x"]))), subscription);
        assert_eq!(found(ask("subscription.lookup", json!(["com.y"]))), Value::Null);
        let matching = sorted(vec![subscription, prefix]);
        assert_eq!(found(ask("subscription.match", json!(["com.x"]))), matching);
        let details = found(ask("subscription.get", json!([prefix])));
        assert_eq!((&details["uri"], &details["match"]), (&json!("com"), &json!("prefix")));
        assert_eq!(found(ask("subscription.count_subscribers", json!([subscription]))), 2);
        let subscribers = found(ask("subscription.list_subscribers", json!([subscription])));
        assert_eq!(subscribers, sorted(ids[1..3].to_vec()));
        let unknown = ask("subscription.count_subscribers", json!([subscription ^ 1]));
        assert_eq!(unknown, Err(NO_SUBSCRIPTION.into()));
    }
    let peers: Vec<_> = peers.iter().map(|(node, peer)| (*node, peer)).collect();
    check_end(cluster, &peers);
}

/// AP-SMA-02, AP-REVS-01: what is to be done to sessions is done where they are, once.
#[test]
fn sessions_of_other_nodes_are_ended() {
    let mut cluster = cluster(3);
    let mut admin = join(&mut cluster, 0);
    let mut peers: Vec<_> = [0, 1, 2, 2].map(|node| (node, join(&mut cluster, node))).into();
    let x = subscribe(&mut cluster, 1, &mut peers[1].1, &json!([32, 9, {}, "com.x"]));
    let id = |at: usize, peers: &[(usize, Peer)]| peers[at].1.session;
    let one = json!([x, id(1, &peers)]);
    let removed = ask(&mut cluster, 0, &mut admin, "subscription.remove_subscriber", &one);
    assert_eq!(removed.map(|_| ()), Ok(()));
    let removed = ask(&mut cluster, 0, &mut admin, "subscription.remove_subscriber", &one);
    assert!(removed == Err(NO_SUBSCRIPTION.into()) || removed == Err(NO_SESSION.into()));
    let victim = json!([id(1, &peers)]);
    let say_why = json!([48, 1, {}, "wamp.session.kill", victim, {"reason": "com.myapp.out"}]);
    say(&mut cluster, 0, &admin, &say_why);
    assert_eq!(answer(&mut cluster, 0, &mut admin).map(|_| ()), Ok(()));
    assert_eq!(
        hear(&mut cluster, 1, &mut peers[1].1).last(),
        Some(&json!([6, {}, "com.myapp.out"]))
    );
    let again = ask(&mut cluster, 0, &mut admin, "session.kill", &victim);
    assert_eq!(again, Err(NO_SESSION.into()));
    let left = ask(&mut cluster, 0, &mut admin, "session.kill_by_authrole", &json!(["anonymous"]));
    assert_eq!(found(left), 3, "all but the caller");
    for (node, peer) in peers.iter_mut().filter(|(_, peer)| peer.session != victim[0]) {
        assert_eq!(hear(&mut cluster, *node, peer), [json!([6, {}, "wamp.close.killed"])]);
    }
    assert_eq!(found(ask(&mut cluster, 0, &mut admin, "session.count", &json!([]))), 1);
    assert_eq!(found(ask(&mut cluster, 0, &mut admin, "session.kill_all", &json!([]))), 0);
    let peers: Vec<_> =
        peers.iter().map(|(node, peer)| (*node, peer)).chain([(0, &admin)]).collect();
    check_end(cluster, &peers);
}

/// Whoever does not answer in time is named, and what comes after that counts for nothing.
#[test]
fn a_silent_node_is_missing() {
    let mut cluster = cluster(3);
    let [mut a, b, c] = [0, 1, 2].map(|node| join(&mut cluster, node));
    cluster.bus.cut.insert((2, 0));
    send(&mut cluster, 0, &a, "session.count", &json!([]));
    assert_eq!(hear(&mut cluster, 0, &mut a), Vec::<Value>::new());
    cluster.advance(QUESTION_MS - 1);
    assert_eq!(hear(&mut cluster, 0, &mut a), Vec::<Value>::new());
    cluster.advance(1);
    let partial = json!({"partial": true, "missing": ["c"]});
    assert_eq!(answer(&mut cluster, 0, &mut a), Ok((json!(2), partial)));
    let late = cluster.members[0].node.counts().late_parts;
    cluster.bus.cut.clear();
    cluster.settle_for(2_000);
    assert_eq!(cluster.members[0].node.counts().late_parts, late + 1, "the link has kept it");
    assert_eq!(found(ask(&mut cluster, 0, &mut a, "session.count", &json!([]))), 3);
    check_end(cluster, &[(0, &a), (1, &b), (2, &c)]);
}

/// A node that ends is missing at once; when it is no member any more, nobody asks it.
#[test]
fn a_link_that_ends_is_waited_for_no_longer() {
    let mut cluster = cluster(3);
    let [mut a, b, _] = [0, 1, 2].map(|node| join(&mut cluster, node));
    cluster.kill(2);
    // Longer than its link lasts.
    cluster.settle_for(2_900);
    send(&mut cluster, 0, &a, "session.count", &json!([]));
    assert_eq!(hear(&mut cluster, 0, &mut a), Vec::<Value>::new());
    cluster.settle_for(200);
    let partial = json!({"partial": true, "missing": ["c"]});
    assert_eq!(answer(&mut cluster, 0, &mut a), Ok((json!(2), partial)));
    assert_eq!(cluster.members[0].node.pending_questions(), (0, 0));
    cluster.settle_for(10_000);
    assert_eq!(found(ask(&mut cluster, 0, &mut a, "session.count", &json!([]))), 2);
    check_end(cluster, &[(0, &a), (1, &b)]);
}

/// Of a session whose node does not answer nobody can say that it is not there.
#[test]
fn only_the_node_of_a_session_is_asked_about_it() {
    let mut cluster = cluster(3);
    let [mut a, b, c] = [0, 1, 2].map(|node| join(&mut cluster, node));
    cluster.bus.cut.insert((2, 0));
    let details = found(ask(&mut cluster, 0, &mut a, "session.get", &json!([b.session])));
    assert_eq!(details["session"], b.session);
    send(&mut cluster, 0, &a, "session.get", &json!([c.session]));
    cluster.settle();
    cluster.advance(QUESTION_MS);
    let unanswered = answer(&mut cluster, 0, &mut a).expect_err("nobody knows");
    assert_ne!(unanswered, NO_SESSION);
    cluster.bus.cut.clear();
    cluster.settle_for(2_000);
    let found = found(ask(&mut cluster, 0, &mut a, "session.get", &json!([c.session])));
    assert_eq!(found["session"], c.session);
    check_end(cluster, &[(0, &a), (1, &b), (2, &c)]);
}

/// A node that is none of the cluster for the time being answers at once, and says so.
#[test]
fn a_node_alone_says_that_it_is() {
    let mut cluster = cluster(2);
    let [mut a, mut b] = [0, 1].map(|node| join(&mut cluster, node));
    for route in [(0, 1), (1, 0)] {
        cluster.bus.cut.insert(route);
    }
    // Until one has removed the other, and that has not joined anew.
    let is_out = |cluster: &Cluster, node: usize| !cluster.members[node].node.members().is_member();
    let mut out = None;
    for _ in 0..600 {
        cluster.advance(50);
        for node in 0..2 {
            cluster.serve(node);
            while cluster.bucket.has_news(node) {
                cluster.watch(node);
            }
            cluster.members[node].network.settle();
        }
        out = (0..2).find(|node| is_out(&cluster, *node));
        if out.is_some() {
            break;
        }
        cluster.decide((true, true));
    }
    let out = out.expect("one was removed");
    let peer = if out == 0 { &mut a } else { &mut b };
    send(&mut cluster, out, peer, "session.count", &json!([]));
    cluster.members[out].network.settle();
    cluster.serve(out);
    cluster.members[out].network.settle();
    let heard = peer.read(&mut cluster.members[out].network);
    let partial = json!({"partial": true, "missing": []});
    assert_eq!(heard, [json!([50, 1, {}, [1], partial])]);
    cluster.bus.cut.clear();
    cluster.settle_for(20_000);
    assert_eq!(found(ask(&mut cluster, 0, &mut a, "session.count", &json!([]))), 2);
    check_end(cluster, &[(0, &a), (1, &b)]);
}

/// Where too much waits for a node it is not asked; and an answer that has no room is none.
#[test]
fn a_full_queue_takes_no_question() {
    let mut cluster = cluster_with(2, 400, 250);
    let [mut a, mut b] = [0, 1].map(|node| join(&mut cluster, node));
    let x = subscribe(&mut cluster, 1, &mut b, &json!([32, 9, {}, "com.x"]));
    assert_eq!(found(ask(&mut cluster, 0, &mut a, "subscription.lookup", &json!(["com.x"]))), x);
    cluster.bus.cut.insert((1, 0));
    say(&mut cluster, 0, &a, &json!([16, 1, {}, "com.x", ["x".repeat(200)]]));
    cluster.settle();
    let partial = json!({"partial": true, "missing": ["b"]});
    let roles = json!([["anonymous", "x".repeat(300)]]);
    let answer = ask(&mut cluster, 0, &mut a, "session.count", &roles);
    assert_eq!(answer, Ok((json!(1), partial.clone())), "at once");
    cluster.bus.cut.clear();
    cluster.settle_for(1_000);
    hear(&mut cluster, 1, &mut b);
    // What is subscribed to there takes more than the queue.
    let many: Vec<_> = (0..45).map(|n| json!([32, n + 1, {}, format!("com.y.{n}")])).collect();
    many.iter().for_each(|message| say(&mut cluster, 1, &b, message));
    hear(&mut cluster, 1, &mut b);
    let (found, kwargs) =
        ask(&mut cluster, 0, &mut a, "subscription.list", &json!([])).expect("a result");
    let count = found["exact"].as_array().map_or(0, Vec::len);
    assert!((count, kwargs == Value::Null) == (46, true) || (count, kwargs) == (0, partial));
    check_end(cluster, &[(0, &a), (1, &b)]);
}
