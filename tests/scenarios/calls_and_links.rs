//! Calls between nodes whose links end, and what one node keeps for another that is slow.

use serde_json::{Value, json};
use stentor::cluster::NodeSettings;
use stentor::router::{RealmSettings, Settings};

use super::authorizers::rules;
use super::calls_between_nodes::{check_end, cluster, cluster_with, join};
use super::cluster::{hear, say};
use super::peer::Peer;
use crate::support::{Cluster, Serializer};

const FAILURE: &str = "wamp.error.network_failure";

/// A caller at the first node, and a callee of `com.p` at the second.
fn pair(cluster: &mut Cluster) -> (Peer, Peer) {
    let a = join(cluster, 0, 0, Serializer::Json);
    let mut b = join(cluster, 1, 1, Serializer::Json);
    say(cluster, 1, &b, &json!([64, 1, {}, "com.p"]));
    assert_eq!(hear(cluster, 1, &mut b)[0][0], 65);
    (a, b)
}

fn call(cluster: &mut Cluster, a: &Peer, request: u64, args: Value) {
    say(cluster, 0, a, &json!([48, request, {}, "com.p", args]));
    cluster.settle();
}

/// Where a call is when its link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// On its way to the callee's node.
    Sent,
    /// Its callee has it.
    Invoked,
    /// The same, and the caller has wished for its end.
    Killed,
    /// The answer is on its way.
    Answered,
}

/// How a link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Cut,
    /// The first node is not heard by the second, or the other way round.
    Deaf(usize),
    CalleeDies,
    /// All nodes are removed, and come back.
    Anew,
}

const STAGES: [Stage; 4] = [Stage::Sent, Stage::Invoked, Stage::Killed, Stage::Answered];
const ENDS: [End; 5] = [End::Cut, End::Deaf(0), End::Deaf(1), End::CalleeDies, End::Anew];

/// Brings a call to a stage. Returns how many messages its callee has got of it.
fn bring(cluster: &mut Cluster, stage: Stage, a: &Peer, b: &mut Peer) -> usize {
    if stage == Stage::Sent {
        cluster.bus.cut.insert((0, 1));
    }
    call(cluster, a, 1, json!([1]));
    match stage {
        Stage::Sent | Stage::Invoked => {}
        Stage::Killed => say(cluster, 0, a, &json!([49, 1, {"mode": "kill"}])),
        Stage::Answered => {
            cluster.bus.cut.insert((1, 0));
            say(cluster, 1, b, &json!([70, 1, {}, ["answer"]]));
        }
    }
    hear(cluster, 1, b).len()
}

fn end(cluster: &mut Cluster, end: End) {
    let cut = &mut cluster.bus.cut;
    match end {
        End::Cut => cut.extend([(0, 1), (1, 0)]),
        End::Deaf(from) => {
            cut.insert((from, 1 - from));
        }
        End::CalleeDies => cluster.kill(1),
        End::Anew => cluster.bucket.empty(),
    }
    let ms = if end == End::Anew { 2_000 } else { 12_000 };
    cluster.settle_for(ms);
}

/// Whatever ends a link, and wherever a call is then: its caller hears so, once, and its callee is
/// told to stop, if it can be. Nothing of it comes later.
#[test]
fn a_call_ends_once_with_its_link() {
    for (how, stage) in ENDS.iter().flat_map(|end| STAGES.map(|stage| (*end, stage))) {
        let when = format!("{how:?}, {stage:?}");
        let mut cluster = cluster(3, |_, _| {});
        let (mut a, mut b) = pair(&mut cluster);
        let got = bring(&mut cluster, stage, &a, &mut b);
        let wanted = match stage {
            Stage::Sent => 0,
            Stage::Killed => 2,
            Stage::Invoked | Stage::Answered => 1,
        };
        assert_eq!(got, wanted, "{when}");
        assert_eq!(hear(&mut cluster, 0, &mut a), [json!(null); 0], "{when}");
        end(&mut cluster, how);
        let heard = hear(&mut cluster, 0, &mut a);
        assert_eq!(heard.len(), 1, "{when}: {heard:?}");
        assert_eq!((&heard[0][2], &heard[0][4]), (&json!(1), &json!(FAILURE)), "{when}");
        let is_alive = how != End::CalleeDies;
        if is_alive {
            let heard = hear(&mut cluster, 1, &mut b);
            let interrupted = json!([69, 1, {"mode": "killnowait"}]);
            let is_invoked = stage == Stage::Invoked;
            assert_eq!(heard, if is_invoked { vec![interrupted] } else { vec![] }, "{when}");
        }
        assert_eq!(cluster.members[0].node.pending_calls(), (0, 0), "{when}");
        if is_alive && matches!(stage, Stage::Invoked | Stage::Killed) {
            say(&mut cluster, 1, &b, &json!([70, 1, {}, ["late"]]));
        }
        cluster.bus.cut.clear();
        if !is_alive {
            cluster.restart(1);
        }
        cluster.settle_for(4_000);
        assert!(cluster.is_linked(), "{when}");
        assert_eq!(hear(&mut cluster, 0, &mut a), [json!(null); 0], "{when}");
        if is_alive {
            call(&mut cluster, &a, 2, json!([2]));
            let heard = hear(&mut cluster, 1, &mut b);
            assert_eq!((heard.len(), &heard[0][4]), (1, &json!([2])), "{when}: {heard:?}");
            say(&mut cluster, 1, &b, &json!([70, heard[0][1], {}, ["new"]]));
            assert_eq!(hear(&mut cluster, 0, &mut a), [json!([50, 2, {}, ["new"]])], "{when}");
        }
        let all = [(0, &a), (1, &b)];
        check_end(cluster, if is_alive { &all } else { &all[..1] });
    }
}

/// The node of a caller is killed: its callee need not go on, and its seat is free.
#[test]
fn a_callee_is_told_that_the_callers_node_has_gone() {
    let mut cluster = cluster(3, |_, _| {});
    let [a, mut b, mut c] = [0, 1, 2].map(|node| join(&mut cluster, node, 0, Serializer::Json));
    say(&mut cluster, 1, &b, &json!([64, 1, {"concurrency": 1, "invoke": "first"}, "com.p"]));
    assert_eq!(hear(&mut cluster, 1, &mut b)[0][0], 65);
    call(&mut cluster, &a, 1, json!([1]));
    assert_eq!(hear(&mut cluster, 1, &mut b).len(), 1);
    say(&mut cluster, 2, &c, &json!([48, 1, {}, "com.p"]));
    assert_eq!(hear(&mut cluster, 2, &mut c)[0][4], "wamp.error.no_available_callee");
    cluster.kill(0);
    cluster.settle_for(5_000);
    assert_eq!(hear(&mut cluster, 1, &mut b), [json!([69, 1, {"mode": "killnowait"}])]);
    say(&mut cluster, 2, &c, &json!([48, 2, {}, "com.p"]));
    assert_eq!(hear(&mut cluster, 1, &mut b)[0][0], 68);
    check_end(cluster, &[(1, &b), (2, &c)]);
}

/// Who is called at a node that is not linked is not waited for.
#[test]
fn a_call_to_a_node_that_is_not_linked_is_refused() {
    let mut cluster = cluster(3, |_, _| {});
    let (mut a, b) = pair(&mut cluster);
    cluster.bus.cut.extend([(0, 1), (1, 0)]);
    // It stays a member, as nobody can remove it.
    cluster.bucket.has_no_leader = true;
    cluster.settle_for(12_000);
    call(&mut cluster, &a, 1, json!([]));
    let heard = hear(&mut cluster, 0, &mut a);
    assert_eq!((heard.len(), &heard[0][4]), (1, &json!(FAILURE)), "{heard:?}");
    let counts = cluster.members[0].node.counts();
    assert_eq!((counts.calls, counts.refused_calls, counts.lost_calls), (0, 1, 0));
    cluster.bus.cut.clear();
    cluster.bucket.has_no_leader = false;
    cluster.settle_for(4_000);
    check_end(cluster, &[(0, &a), (1, &b)]);
}

/// A callee that leaves while a call is on its way: as if it had left at the caller's own node.
#[test]
fn a_callee_leaves_before_its_call_arrives() {
    let mut cluster = cluster(2, |_, _| {});
    let (mut a, b) = pair(&mut cluster);
    cluster.members[0].network.settle();
    say(&mut cluster, 0, &a, &json!([48, 1, {}, "com.p"]));
    cluster.members[0].network.settle();
    cluster.members[1].network.lose(b.pipe);
    cluster.members[1].network.settle();
    let heard = hear(&mut cluster, 0, &mut a);
    let why = "the callee left before it answered the call";
    assert_eq!(heard, [json!([8, 48, 1, {}, "wamp.error.canceled", [why]])]);
    check_end(cluster, &[(0, &a)]);
}

/// A caller that leaves while its answer is on its way: nobody gets it, and it is counted.
#[test]
fn a_caller_leaves_before_its_answer_arrives() {
    let mut cluster = cluster(2, |_, _| {});
    let (a, mut b) = pair(&mut cluster);
    call(&mut cluster, &a, 1, json!([]));
    assert_eq!(hear(&mut cluster, 1, &mut b)[0][0], 68);
    say(&mut cluster, 1, &b, &json!([70, 1, {}, ["late"]]));
    cluster.members[1].network.settle();
    cluster.members[0].network.lose(a.pipe);
    cluster.members[0].network.settle();
    cluster.serve(0);
    cluster.settle();
    assert_eq!(cluster.members[0].node.counts().late_answers, 1);
    check_end(cluster, &[(1, &b)]);
}

/// BP-ORD-01, BP-ORD-04, BP-ORD-07: what one client says in a row comes in that order.
#[test]
fn a_burst_keeps_its_order() {
    let mut cluster = cluster(2, |_, _| {});
    let (mut a, mut b) = pair(&mut cluster);
    say(&mut cluster, 1, &b, &json!([64, 2, {}, "com.q"]));
    say(&mut cluster, 1, &b, &json!([32, 3, {}, "com.t"]));
    assert_eq!(hear(&mut cluster, 1, &mut b).len(), 2);
    for round in 0..50_u64 {
        let request = 3 * round + 1;
        say(&mut cluster, 0, &a, &json!([16, request, {}, "com.t", [request]]));
        say(&mut cluster, 0, &a, &json!([48, request + 1, {}, "com.q", [request + 1]]));
        call(&mut cluster, &a, request + 2, json!([request + 2]));
        if round % 7 == 0 {
            cluster.settle();
        }
    }
    let heard = hear(&mut cluster, 1, &mut b);
    let said: Vec<_> = heard.iter().map(|message| message[4][0].as_u64()).collect();
    assert_eq!(said, (1..=150).map(Some).collect::<Vec<_>>());
    for request in heard.iter().filter(|message| message[0] == 68) {
        say(&mut cluster, 1, &b, &json!([70, request[1], {}, request[4]]));
    }
    let heard = hear(&mut cluster, 0, &mut a);
    assert_eq!(heard.len(), 100);
    assert!(heard.iter().all(|result| result[0] == 50 && result[1] == result[3][0]));
    check_end(cluster, &[(0, &a), (1, &b)]);
}

/// What is larger than a message of the bus goes in parts, either way.
#[test]
fn large_payloads_cross_in_parts() {
    for (max_payload, length) in [(1 << 20, 700_000), (600, 20_000)] {
        let mut cluster = cluster(2, |_, node| node.max_payload = max_payload);
        let (mut a, mut b) = pair(&mut cluster);
        let (large, answer) = ("x".repeat(length), "y".repeat(length));
        call(&mut cluster, &a, 1, json!([large]));
        cluster.settle_for(40);
        assert_eq!(hear(&mut cluster, 1, &mut b)[0][4], json!([large]));
        say(&mut cluster, 1, &b, &json!([70, 1, {}, [answer]]));
        cluster.settle_for(40);
        assert_eq!(hear(&mut cluster, 0, &mut a), [json!([50, 1, {}, [answer]])]);
        check_end(cluster, &[(0, &a), (1, &b)]);
    }
}

const QUEUE_BYTES: usize = 6_000;
const LIMIT: &str = "wamp.error.resource_limit";

fn narrow(_: &mut Settings, node: &mut NodeSettings) {
    node.queue_bytes = QUEUE_BYTES;
}

/// A node that does not keep up gets no more calls than its queue takes; those that it has got are
/// answered.
#[test]
fn calls_to_a_slow_node_are_refused() {
    let mut cluster = cluster(2, narrow);
    let (mut a, mut b) = pair(&mut cluster);
    cluster.members[1].is_congested = true;
    let payload = "x".repeat(1_000);
    for request in 1..=10 {
        call(&mut cluster, &a, request, json!([payload]));
    }
    let refused = hear(&mut cluster, 0, &mut a);
    let passed = 10 - refused.len() as u64;
    assert_eq!(passed, 5, "{refused:?}");
    assert!(refused.iter().all(|error| error[4] == LIMIT));
    // A small one has room, and a chunk of it that has none ends it.
    say(&mut cluster, 0, &a, &json!([48, 11, {"progress": true}, "com.p", [1]]));
    assert_eq!(hear(&mut cluster, 0, &mut a), [json!(null); 0]);
    say(&mut cluster, 0, &a, &json!([48, 11, {"progress": true}, "com.p", [payload]]));
    let heard = hear(&mut cluster, 0, &mut a);
    assert_eq!((heard.len(), &heard[0][2], &heard[0][4]), (1, &json!(11), &json!(LIMIT)));
    say(&mut cluster, 0, &a, &json!([48, 11, {}, "com.p", [2]]));
    cluster.members[1].is_congested = false;
    cluster.settle_for(40);
    let heard = hear(&mut cluster, 1, &mut b);
    let types: Vec<_> = heard.iter().map(|message| message[0].as_u64().expect("a type")).collect();
    assert_eq!(types, [68, 68, 68, 68, 68, 68, 69], "and no chunk");
    (1..=5).for_each(|request| say(&mut cluster, 1, &b, &json!([70, request, {}])));
    assert_eq!(hear(&mut cluster, 0, &mut a).len(), 5);
    check_end(cluster, &[(0, &a), (1, &b)]);
}

/// A node that does not keep up with answers gets each all the same: pieces end their calls when
/// the queue is full, and others go without their payloads when it is twice as full.
#[test]
fn answers_to_a_slow_node_end_their_calls() {
    let mut cluster = cluster(2, narrow);
    let (mut a, mut b) = pair(&mut cluster);
    say(&mut cluster, 0, &a, &json!([48, 1, {"receive_progress": true}, "com.p"]));
    (2..=20).for_each(|request| call(&mut cluster, &a, request, json!([])));
    assert_eq!(hear(&mut cluster, 1, &mut b).len(), 20);
    cluster.settle_for(40);
    cluster.members[0].is_congested = true;
    let payload = "x".repeat(1_000);
    for _ in 0..10 {
        say(&mut cluster, 1, &b, &json!([70, 1, {"progress": true}, [payload]]));
        cluster.settle();
    }
    assert_eq!(hear(&mut cluster, 1, &mut b), [json!([69, 1, {"mode": "killnowait"}])]);
    for request in 2..=20 {
        say(&mut cluster, 1, &b, &json!([70, request, {}, [payload]]));
        cluster.settle();
    }
    cluster.members[0].is_congested = false;
    cluster.settle_for(40);
    let heard = hear(&mut cluster, 0, &mut a);
    let pieces = heard.iter().filter(|it| it[0] == 50 && it[1] == 1).count();
    let results = heard.iter().filter(|it| it[0] == 50 && it[1] != 1).count();
    let refused: Vec<_> = heard.iter().filter(|it| it[0] == 8).collect();
    assert_eq!((pieces, results, refused.len()), (5, 6, 14), "{heard:?}");
    assert!(refused.iter().all(|error| error[4] == LIMIT));
    check_end(cluster, &[(0, &a), (1, &b)]);
}

/// AU-AZ-04: an authorizer serves all nodes. That it could not be asked is no answer of its own.
#[test]
fn an_authorizer_is_asked_at_another_node() {
    let mut realm = RealmSettings::named("realm1");
    realm.access = rules(Vec::new());
    let change = |settings: &mut Settings, _: &mut NodeSettings| {
        settings.limits.invocations_per_session = 1;
    };
    let mut cluster = cluster_with(3, change, realm);
    let mut a = join(&mut cluster, 0, 0, Serializer::Json);
    let mut c = join(&mut cluster, 0, 1, Serializer::Json);
    let mut b = join(&mut cluster, 1, 1, Serializer::Json);
    say(&mut cluster, 1, &b, &json!([64, 1, {}, "com.auth"]));
    assert_eq!(hear(&mut cluster, 1, &mut b)[0][0], 65);
    let publish = |cluster: &mut Cluster, peer: &Peer, request: u64| {
        let options = json!({"acknowledge": true});
        say(cluster, 0, peer, &json!([16, request, options, "com.asked.t"]));
    };
    let failed = "wamp.error.authorization_failed";
    publish(&mut cluster, &a, 1);
    let asked = hear(&mut cluster, 1, &mut b);
    assert_eq!((asked.len(), &asked[0][4][1]), (1, &json!("com.asked.t")), "{asked:?}");
    // Another one is asked about while the authorizer takes no more.
    publish(&mut cluster, &c, 1);
    assert_eq!(hear(&mut cluster, 0, &mut c)[0][4], failed);
    let counted = |cluster: &Cluster| {
        let now = cluster.members[0].network.router.snapshot();
        (now.questions_not_brought, now.questions_refused)
    };
    assert_eq!(counted(&cluster), (1, 0));
    say(&mut cluster, 1, &b, &json!([70, 1, {}, [true]]));
    assert_eq!(hear(&mut cluster, 0, &mut a)[0][0], 17, "PUBLISHED");
    publish(&mut cluster, &c, 2);
    assert_eq!(hear(&mut cluster, 1, &mut b)[0][0], 68);
    say(&mut cluster, 1, &b, &json!([8, 68, 2, {}, "com.no"]));
    assert_eq!(hear(&mut cluster, 0, &mut c)[0][4], failed);
    assert_eq!(counted(&cluster), (1, 1));
    // The link ends while it is asked.
    publish(&mut cluster, &a, 2);
    assert_eq!(hear(&mut cluster, 1, &mut b)[0][0], 68);
    cluster.bus.cut.extend([(0, 1), (1, 0)]);
    cluster.settle_for(12_000);
    assert_eq!(hear(&mut cluster, 0, &mut a)[0][4], failed);
    assert_eq!(hear(&mut cluster, 1, &mut b)[0][0], 69);
    cluster.bus.cut.clear();
    cluster.settle_for(4_000);
    // Nobody answers in time.
    publish(&mut cluster, &c, 3);
    assert_eq!(hear(&mut cluster, 1, &mut b)[0][0], 68);
    cluster.settle_for(60_000);
    assert_eq!(hear(&mut cluster, 0, &mut c)[0][4], failed);
    assert_eq!(hear(&mut cluster, 1, &mut b), [json!([69, 4, {"mode": "killnowait"}])]);
    check_end(cluster, &[(0, &a), (0, &c), (1, &b)]);
}
