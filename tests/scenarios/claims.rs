//! Registrations in a cluster: claimed, granted or not, given back, and told of. The hand of the
//! test has the order of all nodes, and answers when it wants to.

use serde_json::{Value, json};
use stentor::router::{
    Callee, NodeIds, NodeNumber, RegisterError, SessionRef, Settings, ShardId, Slot,
};
use stentor::shard::{ClaimOutcome, Mail};
use stentor::wamp::{InvokePolicy, MatchPolicy, RegistrationId, SessionId, Timestamp};

use super::peer::{Peer, network_with};
use crate::support::{Network, Serializer};

const NODE: u128 = 42;

fn ids(node: u8) -> NodeIds {
    NodeIds::new(NodeNumber::new(node).expect("7 bits"), NODE)
}

/// One shard of a node whose cluster answers nothing by itself.
fn held(change: impl Fn(&mut Settings)) -> Network {
    let change = |settings: &mut Settings| {
        (settings.node, settings.claims) = (Some(ids(5)), true);
        change(settings);
    };
    let mut network = network_with(change, 1);
    network.links.gateway.is_held = true;
    network
}

fn join(network: &mut Network) -> Peer {
    Peer::join(network, 0, Serializer::Json)
}

/// One who is told when it loses a registration.
fn join_fully(network: &mut Network) -> Peer {
    let roles = json!({"callee": {"features": {"registration_revocation": true}}});
    Peer::join_with(network, 0, Serializer::Json, &roles)
}

fn register(network: &mut Network, peer: &Peer, request: u64, uri: &str) {
    peer.say(network, &json!([64, request, {}, uri]));
    network.settle();
}

/// The id of the procedure in realm1.
fn registration(uri: &str) -> RegistrationId {
    RegistrationId::from_random(ids(5).pattern("realm1", MatchPolicy::Exact, uri, 0))
}

/// What a peer hears now: the type of each message, and the URI of errors.
fn heard(network: &mut Network, peer: &mut Peer) -> Vec<Value> {
    let short = |message: Value| {
        if message[0] == 8 { message[4].clone() } else { message[0].clone() }
    };
    peer.hear(network).into_iter().map(short).collect()
}

fn session_of(network: &Network, peer: &Peer) -> SessionRef {
    let session = SessionId::new(peer.session).expect("an id");
    network.router.realm("realm1").expect("a realm").find(session).expect("it is here")
}

fn callees(network: &Network, uri: &str) -> usize {
    let realm = network.router.realm("realm1").expect("a realm");
    realm.procedures.callees(uri, MatchPolicy::Exact).map_or(0, |callees| callees.len())
}

/// How claims have ended: granted, refused, given up, and given back before.
fn ended(network: &Network) -> [u64; 4] {
    let claims = network.shard(0).claims();
    [claims.granted, claims.refused, claims.given_up, claims.withdrawn]
}

fn let_all_go(network: &mut Network) {
    while !network.links.gateway.released.is_empty() {
        network.let_go(0);
    }
}

fn check_end(mut network: Network, peers: &[&Peer]) {
    peers.iter().for_each(|peer| network.lose(peer.pipe));
    network.settle();
    let_all_go(&mut network);
    network.settle();
    network.check_empty();
}

const EXISTS: &str = "wamp.error.procedure_already_exists";
const NO_REGISTRATION: &str = "wamp.error.no_such_registration";

#[test]
fn who_is_granted_its_claim_is_a_callee_from_that_step_on() {
    let mut network = held(|_| {});
    let (mut a, mut b) = (join(&mut network), join(&mut network));
    register(&mut network, &a, 1, "com.p");
    b.say(&mut network, &json!([48, 1, {}, "com.p"]));
    assert_eq!(heard(&mut network, &mut b), ["wamp.error.no_such_procedure"]);
    a.say(&mut network, &json!([66, 2, registration("com.p").get()]));
    assert_eq!(heard(&mut network, &mut a), [NO_REGISTRATION], "it is none yet");
    assert_eq!(callees(&network, "com.p"), 0);
    assert_eq!(network.decide(0), ClaimOutcome::Granted(1));
    b.say(&mut network, &json!([48, 2, {}, "com.p", [7]]));
    let said = a.hear(&mut network);
    assert_eq!(said[0], json!([65, 1, registration("com.p").get()]));
    assert_eq!((&said[1][0], &said[1][4]), (&json!(68), &json!([7])));
    a.say(&mut network, &json!([70, 1, {}]));
    assert_eq!(heard(&mut network, &mut b), [50]);
    assert_eq!(ended(&network), [1, 0, 0, 0]);
    check_end(network, &[&a, &b]);
}

#[test]
fn who_is_refused_or_not_answered_is_told_and_may_try_again() {
    let mut network = held(|_| {});
    let (mut a, mut b) = (join(&mut network), join(&mut network));
    register(&mut network, &a, 1, "com.p");
    register(&mut network, &b, 1, "com.p");
    assert_eq!(network.decide(1), ClaimOutcome::Granted(1), "who comes first in the order");
    assert_eq!(network.decide(0), ClaimOutcome::Refused(RegisterError::Taken));
    assert_eq!(heard(&mut network, &mut a), [EXISTS]);
    assert_eq!(heard(&mut network, &mut b), [65]);
    register(&mut network, &a, 2, "com.q");
    network.turn_down(0, ClaimOutcome::GivenUp);
    assert_eq!(heard(&mut network, &mut a), ["wamp.error.network_failure"]);
    register(&mut network, &a, 3, "com.q");
    network.decide(0);
    assert_eq!(heard(&mut network, &mut a), [65]);
    assert_eq!(ended(&network), [2, 1, 1, 0]);
    check_end(network, &[&a, &b]);
}

/// What is granted while its session ends is given back once, in each order of the two.
#[test]
fn a_session_that_ends_gives_back_what_it_has_claimed() {
    for end in ["goodbye", "lost", "drain", "shutdown"] {
        let mut network = held(|_| {});
        let mut a = join(&mut network);
        for (request, uri) in [(1, "com.held"), (2, "com.crossing"), (3, "com.waiting")] {
            register(&mut network, &a, request, uri);
        }
        network.decide(0);
        assert_eq!(heard(&mut network, &mut a), [65]);
        // It is granted, and the word of that is on its way.
        network.links.gateway.answer(0, None);
        match end {
            "goodbye" => a.say(&mut network, &json!([6, {}, "wamp.close.normal"])),
            "lost" => network.lose(a.pipe),
            "drain" => network.begin_drain(0),
            _ => network.begin_shutdown(),
        }
        network.settle();
        assert!(network.links.gateway.claims.is_empty(), "{end}: nobody waits for it");
        assert_eq!(network.links.gateway.released.len(), 2, "{end}");
        assert_eq!((network.shard(0).claims().now, ended(&network)), (0, [1, 0, 0, 2]));
        assert!(network.hear_of_claim());
        network.settle();
        assert_eq!([callees(&network, "com.held"), callees(&network, "com.crossing")], [0, 0]);
        let last: Vec<u64> = if end == "lost" { vec![] } else { vec![6] };
        assert_eq!(heard_at_the_end(&mut network, &mut a), last, "{end}");
        check_end(network, &[&a]);
    }
}

/// The types of the last messages, and no close frame.
fn heard_at_the_end(network: &mut Network, peer: &mut Peer) -> Vec<u64> {
    network.settle();
    peer.read_all(network).iter().filter_map(|message| message[0].as_u64()).collect()
}

#[test]
fn of_two_claims_of_one_session_for_one_procedure_one_is_granted() {
    for order in [[0, 0], [1, 0]] {
        let mut network = held(|_| {});
        let mut a = join(&mut network);
        let shared = json!({"invoke": "roundrobin"});
        for request in [1, 2] {
            a.say(&mut network, &json!([64, request, shared, "com.p"]));
        }
        network.settle();
        let outcomes = order.map(|place| network.decide(place));
        let twice = ClaimOutcome::Refused(RegisterError::Twice);
        assert_eq!(outcomes, [ClaimOutcome::Granted(1), twice]);
        let mut said = heard(&mut network, &mut a);
        said.sort_by_key(ToString::to_string);
        assert_eq!(said, [json!(EXISTS), json!(65)]);
        // Somebody grants both all the same: the second is given back.
        register(&mut network, &a, 3, "com.q");
        register(&mut network, &a, 4, "com.q");
        network.decide(0);
        let second = network.links.gateway.claims.pop_front().expect("it was claimed");
        let (callee, claim) = (second.callee.session, second.id);
        network.links.gateway.bucket.insert(100, second);
        network.deliver(0, Mail::Claimed { callee, claim, outcome: ClaimOutcome::Granted(100) });
        assert_eq!(heard(&mut network, &mut a), [json!(65), json!(EXISTS)]);
        assert_eq!(network.links.gateway.released.len(), 1);
        assert_eq!(callees(&network, "com.q"), 1);
        check_end(network, &[&a]);
    }
}

/// AP-SHR: what another node has, with an earlier grant, is in the way here as everywhere.
#[test]
fn a_grant_that_does_not_count_here_is_given_back() {
    let mut network = held(|_| {});
    let mut a = join(&mut network);
    register(&mut network, &a, 1, "com.p");
    let realm = network.router.realm("realm1").expect("a realm");
    let session = ids(6).session(1);
    let there = SessionRef { session, slot: Slot::new(0), shard: ShardId::CLUSTER };
    let (exact, single) = (MatchPolicy::Exact, InvokePolicy::Single);
    let (callee, now) = (Callee::from(there), Timestamp::EPOCH);
    let installed = realm.procedures.install("com.p", exact, single, callee, 0, now);
    assert_eq!(installed.expect("it is the first").admitted, Ok(()));
    network.decide(0);
    assert_eq!(heard(&mut network, &mut a), [EXISTS]);
    assert_eq!(network.links.gateway.released.len(), 1);
    assert_eq!(realm.procedures.callees("com.p", exact), Some(vec![there]));
    assert!(realm.procedures.withdraw("com.p", exact, 0).is_empty(), "nobody listens");
    drop(realm);
    check_end(network, &[&a]);
}

#[test]
fn who_unregisters_is_told_when_nobody_routes_to_it() {
    let mut network = held(|_| {});
    let (mut a, mut b) = (join(&mut network), join(&mut network));
    let id = registration("com.p");
    register(&mut network, &a, 1, "com.p");
    network.decide(0);
    assert_eq!(heard(&mut network, &mut a), [65]);
    a.say(&mut network, &json!([66, 2, id.get()]));
    a.say(&mut network, &json!([66, 3, id.get()]));
    assert_eq!(heard(&mut network, &mut a), [NO_REGISTRATION]);
    assert_eq!(callees(&network, "com.p"), 0);
    b.say(&mut network, &json!([48, 1, {}, "com.p"]));
    assert_eq!(heard(&mut network, &mut b), ["wamp.error.no_such_procedure"]);
    network.let_go(0);
    assert_eq!(heard(&mut network, &mut a), [67]);
    // Registered again before that, it hears of the end first; the late word of that is no other's.
    register(&mut network, &a, 4, "com.p");
    network.decide(0);
    a.say(&mut network, &json!([66, 5, id.get()]));
    register(&mut network, &a, 6, "com.p");
    assert_eq!(heard(&mut network, &mut a), [65]);
    let again = network.links.gateway.claims.pop_front().expect("it was claimed");
    let (callee, claim) = (again.callee.session, again.id);
    network.links.gateway.bucket.insert(100, again);
    network.deliver(0, Mail::Claimed { callee, claim, outcome: ClaimOutcome::Granted(100) });
    assert_eq!(a.hear(&mut network), [json!([67, 5]), json!([65, 6, id.get()])]);
    network.let_go(0);
    assert_eq!(heard(&mut network, &mut a), [0; 0]);
    assert_eq!(callees(&network, "com.p"), 1);
    a.say(&mut network, &json!([66, 7, id.get()]));
    network.settle();
    network.let_go(0);
    assert_eq!(a.hear(&mut network), [json!([67, 7])]);
    check_end(network, &[&a, &b]);
}

/// AP-REVR-01, for who has announced it and who has not: who has only claimed it has nothing that
/// could be taken, and who has lost it loses it once.
#[test]
fn a_revocation_waits_for_other_nodes_as_well() {
    let mut network = held(|_| {});
    let mut peers = [join_fully(&mut network), join(&mut network)];
    for (number, peer) in peers.iter_mut().enumerate() {
        let uri = ["com.a", "com.b"][number];
        let (callee, registration) = (session_of(&network, peer), registration(uri));
        let reason = || Some("enough".into());
        let revoke = || Mail::RevokeRegistration { callee, registration, reason: reason() };
        register(&mut network, peer, 1, uri);
        network.deliver(0, revoke());
        network.settle();
        assert_eq!(network.links.gateway.claims.len(), 1);
        network.decide(0);
        assert_eq!(heard(&mut network, peer), [65]);
        network.deliver(0, revoke());
        network.deliver(0, revoke());
        assert_eq!(heard(&mut network, peer), [0; 0]);
        assert_eq!((callees(&network, uri), network.links.gateway.released.len()), (0, 1));
        network.let_go(0);
        let details = json!({"registration": registration.get(), "reason": "enough"});
        let told = [json!([67, 0, details])];
        assert_eq!(peer.hear(&mut network), told[..1 - number]);
    }
    check_end(network, &[&peers[0], &peers[1]]);
}

/// AP-RMA-01: at the grant, and when it leaves the table; nothing of what never counted.
#[test]
fn listeners_hear_of_each_callee_once() {
    let mut network = held(|_| {});
    let (a, mut b) = (join(&mut network), join(&mut network));
    b.say(&mut network, &json!([32, 1, {"match": "prefix"}, "wamp.registration."]));
    assert_eq!(heard(&mut network, &mut b), [33]);
    let mut told = |network: &mut Network| -> Vec<String> {
        let short = |message: Value| {
            let topic = message[3]["topic"].as_str().expect("a topic");
            topic.trim_start_matches("wamp.registration.").to_owned()
        };
        b.hear(network).into_iter().map(short).collect()
    };
    let nothing: [&str; 0] = [];
    register(&mut network, &a, 1, "com.p");
    register(&mut network, &a, 2, "com.p");
    assert_eq!(told(&mut network), nothing);
    network.decide(0);
    network.decide(0);
    assert_eq!(told(&mut network), ["on_create", "on_register"]);
    a.say(&mut network, &json!([66, 3, registration("com.p").get()]));
    assert_eq!(told(&mut network), ["on_unregister", "on_delete"]);
    network.let_go(0);
    register(&mut network, &a, 4, "com.p");
    network.decide(0);
    assert_eq!(told(&mut network), ["on_create", "on_register"]);
    network.lose(a.pipe);
    assert_eq!(told(&mut network), ["on_unregister", "on_delete"]);
    check_end(network, &[&b]);
}

#[test]
fn what_is_under_way_counts_against_the_limit() {
    let mut network = held(|settings| settings.limits.registrations_per_session = 2);
    let mut a = join(&mut network);
    for (request, uri) in [(1, "com.a"), (2, "com.b"), (3, "com.c")] {
        register(&mut network, &a, request, uri);
    }
    assert_eq!(heard(&mut network, &mut a), ["wamp.error.resource_limit"]);
    network.decide(0);
    register(&mut network, &a, 4, "com.c");
    assert_eq!(heard(&mut network, &mut a), [json!(65), json!("wamp.error.resource_limit")]);
    network.turn_down(0, ClaimOutcome::Refused(RegisterError::Taken));
    a.say(&mut network, &json!([66, 5, registration("com.a").get()]));
    register(&mut network, &a, 6, "com.c");
    assert_eq!(heard(&mut network, &mut a), [EXISTS]);
    register(&mut network, &a, 7, "com.d");
    assert_eq!(heard(&mut network, &mut a), ["wamp.error.resource_limit"], "one is leaving");
    network.let_go(0);
    register(&mut network, &a, 8, "com.d");
    network.decide(0);
    network.decide(0);
    assert_eq!(heard(&mut network, &mut a), [67, 65, 65]);
    check_end(network, &[&a]);
}

/// AU-AZ-06: what a session may not have any more it does not get, also if it was claimed before.
#[test]
fn a_reload_takes_claims_away() {
    use stentor::authorization::{Access, Action, Permission, RoleSettings};
    use stentor::router::RealmSettings;

    let mut network = held(|_| {});
    let mut a = join(&mut network);
    register(&mut network, &a, 1, "com.p");
    register(&mut network, &a, 2, "com.q");
    let role = RoleSettings {
        name: "anonymous".into(),
        permissions: vec![Permission {
            uri: "com.q".into(),
            allow: vec![Action::Register],
            ..Permission::default()
        }],
        ..RoleSettings::default()
    };
    let access = Access::Roles(vec![role]);
    let realm = RealmSettings { access, ..RealmSettings::named("realm1") };
    // Its claim for com.p is granted at the same time.
    network.links.gateway.answer(0, None);
    let settings = network.router.edition().settings.clone();
    network.reload(settings, vec![realm]);
    assert_eq!(heard(&mut network, &mut a), ["wamp.error.not_authorized"]);
    network.decide(0);
    assert_eq!(heard(&mut network, &mut a), [65]);
    assert_eq!([callees(&network, "com.p"), callees(&network, "com.q")], [0, 1]);
    assert_eq!((network.links.gateway.released.len(), ended(&network)), (1, [1, 0, 0, 1]));
    check_end(network, &[&a]);
}

/// What is granted when a cork is about to end, or has, waits for the next one.
#[test]
fn a_grant_waits_for_its_own_cork() {
    let mut network = held(|settings| settings.visible_ms = 100);
    let mut a = join(&mut network);
    for (request, uri) in [(1, "com.a"), (2, "com.b"), (3, "com.c")] {
        register(&mut network, &a, request, uri);
    }
    network.decide(0);
    network.advance(50);
    network.decide(0);
    network.settle();
    assert_eq!(network.links.gateway.asked.len(), 1, "the second is not told yet");
    assert_eq!(heard(&mut network, &mut a), [0; 0]);
    network.confirm(0);
    // Its output is released, and not written yet.
    network.decide(0);
    assert_eq!(callees(&network, "com.c"), 0);
    assert_eq!(heard(&mut network, &mut a), [65]);
    assert_eq!(network.links.gateway.asked.len(), 2);
    network.confirm(1);
    assert_eq!(heard(&mut network, &mut a), [65, 65]);
    network.confirm(0);
    assert_eq!(network.shard(0).corks().now, 0);
    assert_eq!(network.shard(0).corks().expired, 0);
    check_end(network, &[&a]);
}

/// The session ends behind its cork, with a grant that waits for the next.
#[test]
fn a_grant_that_waits_for_a_cork_goes_with_its_session() {
    let mut network = held(|settings| settings.visible_ms = 100);
    let a = join(&mut network);
    register(&mut network, &a, 1, "com.a");
    register(&mut network, &a, 2, "com.b");
    network.decide(0);
    network.advance(50);
    network.decide(0);
    network.lose(a.pipe);
    network.settle();
    assert_eq!(network.links.gateway.released.len(), 2);
    assert_eq!([callees(&network, "com.a"), callees(&network, "com.b")], [0, 0]);
    check_end(network, &[&a]);
}

/// However many are granted at once, few meta events of a session wait to be heard.
#[test]
fn grants_wait_for_listeners_that_are_slow() {
    let change = |settings: &mut Settings| {
        (settings.turn.step_units, settings.turn.turn_units) = (20, 20);
    };
    let mut network = held(change);
    let a = join(&mut network);
    let mut listeners: Vec<_> = (0..40).map(|_| join(&mut network)).collect();
    for peer in &mut listeners {
        peer.say(&mut network, &json!([32, 1, {}, "wamp.registration.on_register"]));
        assert_eq!(heard(&mut network, peer), [33]);
    }
    for request in 1..=200 {
        register(&mut network, &a, request, &format!("com.{request}"));
    }
    let mut most = 0;
    for _ in 0..200 {
        network.decide(0);
        most = most.max(network.router.meta_events_waiting());
    }
    assert!(network.shard(0).claims().now > 100, "they wait, though all are granted");
    while network.shard(0).claims().now > 0 {
        network.turn(0);
        most = most.max(network.router.meta_events_waiting());
    }
    assert!(most < 40, "{most} meta events wait at once");
    network.settle();
    for peer in &mut listeners {
        assert_eq!(peer.hear(&mut network).len(), 200);
    }
    let peers: Vec<_> = listeners.iter().chain([&a]).collect();
    check_end(network, &peers);
}
