//! Registrations in a cluster: one order of callees on all nodes, through the bucket that they
//! share.

use serde_json::{Value, json};
use stentor::cluster::NodeSettings;
use stentor::router::{RealmSettings, RequestIdCheck, Settings};
use stentor::wamp::MatchPolicy;

use super::cluster::{check_end, hear, join, say};
use super::peer::Peer;
use crate::support::Cluster;

const SILENCE_MS: u64 = 10_000;

/// How long a claim waits for its answer.
const PATIENCE_MS: u64 = 20_000;

pub(super) fn cluster(nodes: usize) -> Cluster {
    let mut settings =
        Settings { visible_ms: 250, interest_bits: 20, claims: true, ..Settings::default() };
    settings.timeouts.ping_interval_ms = 0;
    settings.request_ids = RequestIdCheck::Off;
    let node = NodeSettings { max_payload: 1 << 20, silence_ms: SILENCE_MS, queue_bytes: 1 << 20 };
    let admin_roles = vec!["anonymous".into()];
    let realms = [RealmSettings { admin_roles, ..RealmSettings::named("realm1") }];
    let mut cluster = Cluster::new(nodes, 2, (&settings, node), &realms);
    cluster.settle_for(100);
    assert!(cluster.is_linked());
    cluster
}

fn register(cluster: &mut Cluster, node: usize, peer: &mut Peer, options: &Value) -> Value {
    let heard = ask(cluster, node, peer, &json!([64, 1, options, "com.x"]));
    heard.get(2).filter(|_| heard[0] == 65).cloned().unwrap_or_else(|| heard[4].clone())
}

/// Says something, and hears the one answer.
fn ask(cluster: &mut Cluster, node: usize, peer: &mut Peer, message: &Value) -> Value {
    say(cluster, node, peer, message);
    let heard = hear(cluster, node, peer);
    let [answer] = &heard[..] else { panic!("one answer, and not {heard:?}") };
    answer.clone()
}

/// The sessions that each node calls for `com.x`, in their order.
fn callees(cluster: &Cluster, node: usize) -> Vec<u64> {
    let realm = cluster.members[node].network.router.realm("realm1").expect("it is configured");
    let callees = realm.procedures.callees("com.x", MatchPolicy::Exact).unwrap_or_default();
    callees.into_iter().map(|callee| callee.session.get()).collect()
}

fn check_callees(cluster: &Cluster, expected: &[u64]) {
    for node in cluster.up() {
        assert_eq!(callees(cluster, node), expected, "at node {node}");
    }
}

const EXISTS: &str = "wamp.error.procedure_already_exists";

/// BP-REG-01: one node's callee is everybody's, until it is given back.
#[test]
fn a_procedure_has_one_callee_in_the_cluster() {
    let mut cluster = cluster(3);
    let [mut a, mut b, mut c] = [0, 1, 2].map(|node| join(&mut cluster, node));
    let registration = register(&mut cluster, 1, &mut b, &json!({}));
    assert!(registration.is_u64(), "{registration}");
    check_callees(&cluster, &[b.session]);
    for (node, peer) in [(0, &mut a), (2, &mut c)] {
        assert_eq!(register(&mut cluster, node, peer, &json!({})), EXISTS);
        assert_eq!(register(&mut cluster, node, peer, &json!({"invoke": "last"})), EXISTS);
    }
    check_callees(&cluster, &[b.session]);
    let answer = ask(&mut cluster, 1, &mut b, &json!([66, 2, registration]));
    assert_eq!(answer, json!([67, 2]));
    check_callees(&cluster, &[]);
    assert_eq!(register(&mut cluster, 2, &mut c, &json!({})), registration, "one id everywhere");
    check_callees(&cluster, &[c.session]);
    check_end(cluster, &[(0, &a), (1, &b), (2, &c)]);
}

/// AP-SHR: callees share it in the order in which the bucket has them, under the policy of the
/// first one.
#[test]
fn callees_stand_in_one_order_on_all_nodes() {
    let mut cluster = cluster(3);
    let mut peers: Vec<_> = [2, 0, 1, 0].map(|node| (node, join(&mut cluster, node))).into();
    let options = json!({"invoke": "roundrobin"});
    for (node, peer) in &mut peers {
        assert!(register(&mut cluster, *node, peer, &options).is_u64());
    }
    let order: Vec<_> = peers.iter().map(|(_, peer)| peer.session).collect();
    check_callees(&cluster, &order);
    // The first one leaves, and with it nothing of the policy.
    let (node, first) = peers.remove(0);
    cluster.members[node].network.lose(first.pipe);
    cluster.settle();
    check_callees(&cluster, &order[1..]);
    let mut other = join(&mut cluster, 2);
    assert_eq!(register(&mut cluster, 2, &mut other, &json!({"invoke": "first"})), EXISTS);
    let peers: Vec<_> =
        peers.iter().map(|(node, peer)| (*node, peer)).chain([(2, &other)]).collect();
    check_end(cluster, &peers);
}

/// Runs all but the watch of one node.
fn run_behind(cluster: &mut Cluster, late: usize) {
    for _ in 0..50 {
        for index in cluster.up() {
            cluster.serve(index);
            while index != late && cluster.bucket.has_news(index) {
                cluster.watch(index);
            }
            cluster.members[index].network.settle();
        }
        cluster.decide((true, true));
        cluster.bus.routes().into_iter().for_each(|route| cluster.deliver(route));
    }
}

/// A call that comes before the callee's node has read of the grant proves it: REGISTERED first.
#[test]
fn a_call_may_be_ahead_of_the_grant() {
    let mut cluster = cluster(2);
    let [mut a, mut b] = [0, 1].map(|node| join(&mut cluster, node));
    say(&mut cluster, 1, &b, &json!([64, 1, {}, "com.x"]));
    run_behind(&mut cluster, 1);
    assert_eq!((callees(&cluster, 0), callees(&cluster, 1)), (vec![b.session], vec![]));
    say(&mut cluster, 0, &a, &json!([48, 1, {}, "com.x", ["early"]]));
    run_behind(&mut cluster, 1);
    assert_eq!(callees(&cluster, 1), [b.session]);
    // Behind the cork, in this order.
    let heard = hear(&mut cluster, 1, &mut b);
    let [registered, invocation] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(
        (&registered[0], &invocation[0], &invocation[4]),
        (&json!(65), &json!(68), &json!(["early"]))
    );
    say(&mut cluster, 1, &b, &json!([70, invocation[1], {}, ["answer"]]));
    assert_eq!(hear(&mut cluster, 1, &mut b), Vec::<Value>::new());
    assert_eq!(hear(&mut cluster, 0, &mut a), [json!([50, 1, {}, ["answer"]])]);
    check_callees(&cluster, &[b.session]);
    assert_eq!(ask(&mut cluster, 1, &mut b, &json!([66, 2, registered[2]])), json!([67, 2]));
    check_callees(&cluster, &[]);
    check_end(cluster, &[(0, &a), (1, &b)]);
}

/// AP-REVR: an administrator ends the registration of a session of another node.
#[test]
fn a_registration_is_revoked_at_another_node() {
    let mut cluster = cluster(2);
    let features = json!({"callee": {"features": {"registration_revocation": true}}});
    let network = &mut cluster.members[1].network;
    let mut b = Peer::join_with(network, 0, crate::support::Serializer::Json, &features);
    let mut a = join(&mut cluster, 0);
    let registration = register(&mut cluster, 1, &mut b, &json!({}));
    let (arguments, reason) = (json!([registration, b.session]), json!({"reason": "com.out"}));
    let procedure = "wamp.registration.remove_callee";
    let answer = ask(&mut cluster, 0, &mut a, &json!([48, 1, {}, procedure, arguments, reason]));
    assert_eq!(answer[0], 50, "{answer}");
    let heard = hear(&mut cluster, 1, &mut b);
    let details = json!({"registration": registration, "reason": "com.out"});
    assert_eq!(heard, [json!([67, 0, details])]);
    check_callees(&cluster, &[]);
    check_end(cluster, &[(0, &a), (1, &b)]);
}

/// Who stands before others in the bucket is decided before them, also while it has to wait.
#[test]
fn claims_are_decided_in_their_order() {
    let mut cluster = cluster(2);
    let [mut a, mut b, mut c] = [0, 1, 1].map(|node| join(&mut cluster, node));
    let registration = register(&mut cluster, 0, &mut a, &json!({}));
    // Nothing shows that the node of the callee in the way lives.
    cluster.bus.cut.insert((0, 1));
    say(&mut cluster, 1, &b, &json!([64, 1, {}, "com.x"]));
    cluster.settle();
    say(&mut cluster, 0, &a, &json!([66, 2, registration]));
    cluster.settle();
    say(&mut cluster, 1, &c, &json!([64, 1, {}, "com.x"]));
    cluster.settle();
    cluster.bus.cut.clear();
    cluster.settle_for(2_000);
    let heard = b.read(&mut cluster.members[1].network);
    assert_eq!(heard, [json!([65, 1, registration])]);
    let heard = c.read(&mut cluster.members[1].network);
    assert_eq!((heard.len(), &heard[0][4]), (1, &json!(EXISTS)), "{heard:?}");
    check_callees(&cluster, &[b.session]);
    check_end(cluster, &[(0, &a), (1, &b), (1, &c)]);
}

/// REGISTERED: every linked member routes to the callee.
#[test]
fn registered_waits_for_all_nodes() {
    let mut cluster = cluster(3);
    let mut b = join(&mut cluster, 1);
    say(&mut cluster, 1, &b, &json!([64, 1, {}, "com.x"]));
    run_behind(&mut cluster, 2);
    let heard = b.read(&mut cluster.members[1].network);
    assert_eq!((&heard[..], callees(&cluster, 0)), (&[][..], vec![b.session]));
    let heard = hear(&mut cluster, 1, &mut b);
    assert_eq!(heard.len(), 1, "{heard:?}");
    check_end(cluster, &[(1, &b)]);
}

/// Only the living refuse: who comes back at another node after a crash has its procedure again.
#[test]
fn callees_of_a_node_that_dies_are_in_nobodys_way() {
    let mut cluster = cluster(3);
    let [mut a, mut b] = [0, 1].map(|node| join(&mut cluster, node));
    assert!(register(&mut cluster, 1, &mut b, &json!({})).is_u64());
    cluster.kill(1);
    say(&mut cluster, 0, &a, &json!([64, 1, {}, "com.x"]));
    assert_eq!(hear(&mut cluster, 0, &mut a), Vec::<Value>::new(), "nobody has refused it");
    cluster.settle_for(2 * SILENCE_MS);
    let heard = a.read(&mut cluster.members[0].network);
    assert_eq!(heard[0][0], 65, "{heard:?}");
    check_callees(&cluster, &[a.session]);
    cluster.restart(1);
    cluster.settle_for(1_000);
    check_callees(&cluster, &[a.session]);
    check_end(cluster, &[(0, &a)]);
}

/// Who claims and leaves while nothing can be written leaves nothing behind.
#[test]
fn claims_of_those_who_leave_are_forgotten_without_the_bucket() {
    let mut cluster = cluster(2);
    cluster.bucket.away.insert(0);
    for _ in 0..100 {
        let a = join(&mut cluster, 0);
        for request in 1..=10 {
            say(&mut cluster, 0, &a, &json!([64, request, {}, format!("com.x.{request}")]));
        }
        cluster.members[0].network.lose(a.pipe);
        let mail = cluster.members[0].network.links.gateway.collected.replace(Vec::new());
        let now = cluster.now;
        cluster.members[0].node.handle_mail(mail.unwrap_or_default(), now);
    }
    assert_eq!(cluster.members[0].node.own_claims(), 0);
    cluster.bucket.away.clear();
    check_end(cluster, &[]);
}

/// Who has waited for the bucket long enough is told, and what comes of it later is given back.
#[test]
fn a_claim_is_given_up_after_its_time() {
    let mut cluster = cluster(2);
    let mut a = join(&mut cluster, 0);
    cluster.bucket.has_no_leader = true;
    say(&mut cluster, 0, &a, &json!([64, 1, {}, "com.x"]));
    cluster.settle_for(PATIENCE_MS - 1_000);
    assert_eq!(a.read(&mut cluster.members[0].network), Vec::<Value>::new());
    cluster.settle_for(2_000);
    let heard = a.read(&mut cluster.members[0].network);
    assert_eq!(heard[0][4], "wamp.error.network_failure", "{heard:?}");
    cluster.bucket.has_no_leader = false;
    cluster.settle_for(2_000);
    check_callees(&cluster, &[]);
    assert!(register(&mut cluster, 0, &mut a, &json!({})).is_u64());
    check_end(cluster, &[(0, &a)]);
}

/// A node that others have removed serves its own clients meanwhile; when it is back, it claims
/// what is free, and gives up the rest.
#[test]
fn after_a_partition_what_others_have_is_revoked() {
    let mut cluster = cluster(3);
    let features = json!({"callee": {"features": {"registration_revocation": true}}});
    let network = &mut cluster.members[1].network;
    let serializer = crate::support::Serializer::Json;
    let mut b = Peer::join_with(network, 0, serializer, &features);
    let mut a = join(&mut cluster, 0);
    let registration = register(&mut cluster, 1, &mut b, &json!({}));
    let own = ask(&mut cluster, 1, &mut b, &json!([64, 2, {}, "com.own"]))[2].clone();
    let cut: Vec<_> = [(0, 1), (1, 0), (2, 1), (1, 2)].into();
    cluster.bus.cut.extend(cut.iter().copied());
    cluster.bucket.away.insert(1);
    cluster.settle_for(3 * SILENCE_MS);
    assert_eq!(callees(&cluster, 1), [b.session], "it serves on");
    assert!(register(&mut cluster, 0, &mut a, &json!({})).is_u64(), "each side has its own");
    assert_eq!(callees(&cluster, 0), [a.session]);
    cut.iter().for_each(|route| assert!(cluster.bus.cut.remove(route)));
    cluster.bucket.away.remove(&1);
    cluster.settle_for(3 * SILENCE_MS);
    assert!(cluster.is_linked());
    check_callees(&cluster, &[a.session]);
    let heard = b.read(&mut cluster.members[1].network);
    let [revoked] = &heard[..] else { panic!("UNREGISTERED, and not {heard:?}") };
    assert_eq!((&revoked[0], &revoked[2]["registration"]), (&json!(67), &registration));
    let realm = cluster.members[0].network.router.realm("realm1").expect("it is configured");
    let callees = realm.procedures.callees("com.own", MatchPolicy::Exact).expect("it is back");
    assert_eq!(callees.iter().map(|it| it.session.get()).collect::<Vec<_>>(), [b.session]);
    let answer = ask(&mut cluster, 1, &mut b, &json!([66, 3, own]));
    assert_eq!(answer, json!([67, 3]));
    check_end(cluster, &[(0, &a), (1, &b)]);
}
