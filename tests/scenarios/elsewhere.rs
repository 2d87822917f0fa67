//! Calls between nodes: the hand of the test is the other half of each.

use serde_json::{Value, json};
use stentor::router::{
    Callee, NodeIds, NodeNumber, Place, RegisterError, SessionRef, Settings, ShardId, Slot, Traits,
};
use stentor::session::CallRef;
use stentor::shard::{Cancellation, Carried, Invoke, Mail, Outcome, Return};
use stentor::wamp::{
    CancelMode, Dict, Feature, Features, InvokePolicy, MatchPolicy, PayloadBuf, RegistrationId,
    RequestId, SessionId, Timestamp,
};

use super::peer::{Peer, network_with};
use crate::support::{Network, Serializer};

const EXACT: MatchPolicy = MatchPolicy::Exact;
const BUSY: &str = "wamp.error.no_available_callee";

fn ids(node: u8) -> NodeIds {
    NodeIds::new(NodeNumber::new(node).expect("7 bits"), 42)
}

/// Two shards of a node whose cluster grants everything at once.
fn network() -> Network {
    let change = |settings: &mut Settings| {
        (settings.node, settings.claims) = (Some(ids(5)), true);
    };
    let mut network = network_with(change, 2);
    network.links.gateway.has_calls = true;
    network
}

fn join(network: &mut Network, shard: usize) -> Peer {
    join_with(network, shard, &json!({"features": {}}))
}

/// Joins with these features of a callee, which are those of the caller as well.
fn join_with(network: &mut Network, shard: usize, callee: &Value) -> Peer {
    let roles = json!({"caller": callee, "callee": callee});
    Peer::join_with(network, shard, Serializer::Json, &roles)
}

fn register(network: &mut Network, peer: &mut Peer, options: &Value) -> RegistrationId {
    peer.say(network, &json!([64, 1, options, "com.p"]));
    let said = peer.hear(network);
    assert_eq!(said[0][0], json!(65), "{said:?}");
    RegistrationId::new(said[0][2].as_u64().expect("an id")).expect("an id")
}

fn elsewhere(number: u64) -> SessionRef {
    let (session, slot) = (ids(6).session(number), Slot::new(0));
    SessionRef { session, slot, shard: ShardId::CLUSTER }
}

/// A callee of another node, as the hand of the test enters it: with a limit if it is to have one.
fn install(network: &Network, number: u64, traits: Traits, limit: Option<u32>) -> RegistrationId {
    let realm = network.router.realm("realm1").expect("a realm");
    let callee = Callee { session: elsewhere(number), traits, concurrency: limit };
    let (first, now) = (InvokePolicy::First, Timestamp::EPOCH);
    let installed = realm.procedures.install("com.p", EXACT, first, callee, number, now);
    let installed = installed.expect("nothing is in the way");
    assert_ne!(installed.admitted, Err(RegisterError::OtherPolicy));
    installed.registration
}

fn withdraw(network: &Network, numbers: impl IntoIterator<Item = u64>) {
    let realm = network.router.realm("realm1").expect("a realm");
    numbers.into_iter().for_each(|number| drop(realm.procedures.withdraw("com.p", EXACT, number)));
}

fn call_of(number: u64) -> CallRef {
    let request = RequestId::new(number).expect("an id");
    CallRef { caller: elsewhere(99), request, serial: 1 }
}

/// A call of another node for a session of this one.
fn invoke(network: &mut Network, callee: &Peer, registration: RegistrationId, number: u64) {
    let session = SessionId::new(callee.session).expect("an id");
    let callee = network.router.realm("realm1").expect("a realm").find(session);
    let callee = callee.expect("it is here");
    let invoke = Invoke {
        call: call_of(number),
        callee,
        registration,
        place: Place::default(),
        details: Dict::new(),
        is_continuation: false,
        receive_progress: false,
        takes_passthru: false,
        load: None,
    };
    let carried = Carried::invoke(invoke, PayloadBuf::Empty, network.router.held(ShardId(0)));
    network.deliver(usize::from(callee.shard.0), Mail::Invoke(Box::new(carried)));
    network.settle();
}

/// What another node says of a call that has come to it.
fn answer(network: &mut Network, call: CallRef, outcome: Outcome) {
    let answer = Return { call, outcome };
    let carried = Carried::answer(answer, PayloadBuf::Empty, network.router.held(ShardId(0)));
    network.deliver(usize::from(call.caller.shard.0), Mail::Return(Box::new(carried)));
    network.settle();
}

/// The call that has gone to other nodes last, and to whom there.
fn sent(network: &mut Network) -> (CallRef, SessionRef) {
    network.settle();
    let carried = network.links.gateway.invoked.pop().expect("a call has gone to another node");
    assert!(network.links.gateway.invoked.is_empty(), "and no other one");
    (carried.message.invoke.call, carried.message.invoke.callee)
}

/// What callers elsewhere are told: `result`, `busy`, or the URI of an error.
fn returned(network: &mut Network) -> Vec<(u64, String)> {
    network.settle();
    let outcome = |outcome: &Outcome| match outcome {
        Outcome::Result { .. } => "result".to_owned(),
        Outcome::Busy => "busy".to_owned(),
        Outcome::Refused { error, .. } => error.uri().to_owned(),
        Outcome::Error { error, .. } => error.to_string(),
        Outcome::Progress { .. } => "progress".to_owned(),
    };
    let all = std::mem::take(&mut network.links.gateway.returned);
    all.iter().map(|it| (it.message.call.request.get(), outcome(&it.message.outcome))).collect()
}

fn returns(all: &[(u64, &str)]) -> Vec<(u64, String)> {
    all.iter().map(|(number, what)| (*number, (*what).to_owned())).collect()
}

fn call(network: &mut Network, peer: &Peer, request: u64, options: &Value) {
    peer.say(network, &json!([48, request, options, "com.p", [request]]));
    network.settle();
}

fn check_end(mut network: Network, peers: &[&Peer]) {
    peers.iter().for_each(|peer| network.lose(peer.pipe));
    network.settle();
    drop(std::mem::take(&mut network.links.gateway.invoked));
    drop(returned(&mut network));
    network.check_empty();
}

/// AP-SHR: the owner of a callee counts, whoever calls.
#[test]
fn a_callee_with_a_limit_is_full_for_other_nodes_as_well() {
    let mut network = network();
    let [mut a, mut b] = [0, 1].map(|shard| join(&mut network, shard));
    let registration = register(&mut network, &mut a, &json!({"concurrency": 2}));
    invoke(&mut network, &a, registration, 1);
    call(&mut network, &b, 1, &json!({}));
    assert_eq!(a.hear(&mut network).len(), 2);
    invoke(&mut network, &a, registration, 2);
    assert_eq!(returned(&mut network), returns(&[(2, "busy")]));
    call(&mut network, &b, 2, &json!({}));
    assert_eq!(b.hear(&mut network)[0][4], json!(BUSY));
    assert_eq!(a.hear(&mut network), [json!(null); 0]);
    a.say(&mut network, &json!([70, 1, {}]));
    assert_eq!(returned(&mut network), returns(&[(1, "result")]));
    invoke(&mut network, &a, registration, 3);
    assert_eq!((a.hear(&mut network).len(), returned(&mut network).len()), (1, 0));
    // A seat is free again also if nobody waits for the answer.
    let Cancellation { call, serial, .. } = cancellation(&network, &a, 3, CancelMode::Skip);
    assert_eq!((call.get(), serial), (3, 1));
    network.deliver(0, Mail::Cancel(cancellation(&network, &a, 3, CancelMode::Skip)));
    invoke(&mut network, &a, registration, 4);
    assert_eq!((a.hear(&mut network).len(), returned(&mut network).len()), (1, 0));
    let other = RegistrationId::new(4_711).expect("in range");
    invoke(&mut network, &a, other, 5);
    assert_eq!(returned(&mut network), returns(&[(5, "wamp.error.no_such_procedure")]));
    check_end(network, &[&a, &b]);
}

/// Calls that other nodes have sent before they knew are delivered until they do.
#[test]
fn what_is_unregistered_takes_the_calls_that_are_on_their_way() {
    let mut network = network();
    let mut a = join(&mut network, 0);
    let registration = register(&mut network, &mut a, &json!({}));
    network.links.gateway.is_held = true;
    a.say(&mut network, &json!([66, 2, registration.get()]));
    network.settle();
    invoke(&mut network, &a, registration, 1);
    assert_eq!(a.hear(&mut network)[0][0], json!(68));
    network.let_go(0);
    assert_eq!(a.hear(&mut network), [json!([67, 2])]);
    invoke(&mut network, &a, registration, 2);
    assert_eq!(returned(&mut network), returns(&[(2, "wamp.error.no_such_procedure")]));
    a.say(&mut network, &json!([70, 1, {}]));
    assert_eq!(returned(&mut network), returns(&[(1, "result")]));
    check_end(network, &[&a]);
}

/// AP-RRT-01: a call goes on from callee to callee, wherever they are, and meets each once.
#[test]
fn a_call_that_finds_a_callee_full_elsewhere_goes_on() {
    let mut network = network();
    let [mut a, mut b] = [0, 1].map(|shard| join(&mut network, shard));
    network.links.gateway.revision = 100;
    let limited = |network: &Network, number| {
        install(network, number, Traits::default(), Some(1));
    };
    limited(&network, 1);
    limited(&network, 2);
    register(&mut network, &mut a, &json!({"invoke": "first", "concurrency": 1}));
    call(&mut network, &b, 1, &json!({}));
    for number in [1, 2] {
        let (named, callee) = sent(&mut network);
        assert_eq!(callee, elsewhere(number));
        assert_eq!(b.hear(&mut network), [json!(null); 0]);
        answer(&mut network, named, Outcome::Busy);
    }
    let said = a.hear(&mut network);
    assert_eq!((&said[0][0], &said[0][4]), (&json!(68), &json!([1])));
    // The last one is full by now, and everybody has had the second call.
    call(&mut network, &b, 2, &json!({}));
    for _ in 0..2 {
        let (named, _) = sent(&mut network);
        answer(&mut network, named, Outcome::Busy);
    }
    assert_eq!(b.hear(&mut network)[0][4], json!(BUSY));
    a.say(&mut network, &json!([70, 1, {}, ["done"]]));
    assert_eq!(b.hear(&mut network), [json!([50, 1, {}, ["done"]])]);
    call(&mut network, &b, 3, &json!({}));
    let (named, _) = sent(&mut network);
    answer(&mut network, named, Outcome::Result { details: Dict::new() });
    assert_eq!(b.hear(&mut network), [json!([50, 3, {}])]);
    answer(&mut network, named, Outcome::Busy);
    assert_eq!(b.hear(&mut network), [json!(null); 0], "it is over");
    withdraw(&network, [1, 2]);
    check_end(network, &[&a, &b]);
}

/// What cannot go on ends: a progressive call, one that was canceled, and one whose caller left.
#[test]
fn what_cannot_go_on_ends() {
    let mut network = network();
    let all = json!({"features": {"progressive_call_invocations": true, "call_canceling": true}});
    let mut b = join_with(&mut network, 1, &all);
    let features =
        Features::default().with(Feature::CallCanceling).with(Feature::ProgressiveCallInvocations);
    let traits = Traits { features, ..Traits::default() };
    install(&network, 1, traits, Some(1));
    install(&network, 2, traits, Some(1));
    call(&mut network, &b, 1, &json!({"progress": true}));
    let (named, _) = sent(&mut network);
    answer(&mut network, named, Outcome::Busy);
    assert_eq!(b.hear(&mut network)[0][4], json!(BUSY));
    call(&mut network, &b, 2, &json!({}));
    b.say(&mut network, &json!([49, 2, {"mode": "kill"}]));
    let (named, callee) = sent(&mut network);
    let canceled = std::mem::take(&mut network.links.gateway.canceled);
    assert_eq!(canceled.len(), 1);
    assert_eq!((canceled[0].callee, canceled[0].mode), (callee, CancelMode::Kill));
    answer(&mut network, named, Outcome::Busy);
    assert_eq!(b.hear(&mut network)[0][4], json!("wamp.error.canceled"));
    call(&mut network, &b, 3, &json!({}));
    let (named, _) = sent(&mut network);
    network.lose(b.pipe);
    network.settle();
    let canceled = std::mem::take(&mut network.links.gateway.canceled);
    assert_eq!((canceled.len(), canceled[0].mode), (1, CancelMode::KillNoWait));
    answer(&mut network, named, Outcome::Busy);
    assert!(network.links.gateway.invoked.is_empty());
    withdraw(&network, [1, 2]);
    check_end(network, &[]);
}

fn cancellation(network: &Network, peer: &Peer, number: u64, mode: CancelMode) -> Cancellation {
    let session = SessionId::new(peer.session).expect("an id");
    let callee = network.router.realm("realm1").expect("a realm").find(session);
    let CallRef { caller, request, serial } = call_of(number);
    let (callee, caller) = (callee.expect("it is here"), caller.session);
    Cancellation { callee, caller, call: request, serial, mode }
}

/// AP-CAN-02: the callee's node answers for who takes no INTERRUPT.
#[test]
fn a_kill_is_answered_where_the_callee_is() {
    let mut network = network();
    let kill = CancelMode::Kill;
    let mut plain = join(&mut network, 0);
    let registration = register(&mut network, &mut plain, &json!({"invoke": "last"}));
    invoke(&mut network, &plain, registration, 1);
    assert_eq!(plain.hear(&mut network).len(), 1);
    for _ in 0..2 {
        network.deliver(0, Mail::Cancel(cancellation(&network, &plain, 1, kill)));
    }
    assert_eq!(returned(&mut network), returns(&[(1, "wamp.error.canceled")]));
    plain.say(&mut network, &json!([70, 1, {}]));
    assert_eq!(returned(&mut network), []);
    let able = json!({"features": {"call_canceling": true}});
    let mut able = join_with(&mut network, 0, &able);
    register(&mut network, &mut able, &json!({"invoke": "last"}));
    invoke(&mut network, &able, registration, 2);
    assert_eq!(able.hear(&mut network).len(), 1);
    network.deliver(0, Mail::Cancel(cancellation(&network, &able, 2, kill)));
    assert_eq!(able.hear(&mut network), [json!([69, 1, {"mode": "kill"}])]);
    assert_eq!(returned(&mut network), []);
    able.say(&mut network, &json!([8, 68, 1, {}, "com.killed"]));
    assert_eq!(returned(&mut network), returns(&[(2, "com.killed")]));
    check_end(network, &[&plain, &able]);
}
