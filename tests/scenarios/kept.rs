//! What is kept for the sessions of a realm, calls that may be routed again and testaments, has a
//! limit of its own: a realm cannot take the room of the others.

use serde_json::{Value, json};
use stentor::router::{RealmSettings, Settings};

use crate::scenarios::peer::Peer;
use crate::support::{Network, Serializer};

/// Two realms of so many bytes, of which there are no more for all than for one and a half.
fn network(realm_bytes: usize) -> Network {
    let mut settings = Settings::default();
    settings.limits.kept_bytes_per_realm = realm_bytes;
    settings.limits.kept_total_bytes = realm_bytes * 3 / 2;
    let realms = ["realm1", "realm2"].map(RealmSettings::named).to_vec();
    Network::new(settings, realms, 2)
}

fn kept(network: &Network, realm: &str) -> usize {
    network.router.realm(realm).expect("it is configured").kept_bytes()
}

fn callee_in(network: &mut Network, realm: &str) -> Peer {
    let roles = json!({"callee": {"features": {"call_reroute": true}}});
    let mut callee = Peer::join_realm(network, 1, Serializer::Json, realm, &roles);
    callee.say(network, &json!([64, 1, {}, "com.p"]));
    callee.hear(network);
    callee
}

fn caller_in(network: &mut Network, realm: &str) -> Peer {
    Peer::join_realm(network, 0, Serializer::Json, realm, &json!({"caller": {}, "publisher": {}}))
}

fn is_refused(heard: &[Value]) -> bool {
    matches!(heard, [error] if error[0] == 8 && error[4] == "wamp.error.resource_limit")
}

/// Whoever calls: the callers of one realm share its limit, and the total is everybody's.
#[test]
fn calls_of_a_realm_share_its_limit() {
    let mut network = network(100_000);
    let callee = callee_in(&mut network, "realm1");
    let call = json!([48, 1, {}, "com.p", ["x".repeat(45_000)]]);
    let mut callers: Vec<_> = (0..3).map(|_| caller_in(&mut network, "realm1")).collect();
    let answers: Vec<_> = callers
        .iter_mut()
        .map(|caller| {
            caller.say(&mut network, &call);
            caller.hear(&mut network)
        })
        .collect();
    assert!(answers[0].is_empty() && answers[1].is_empty() && is_refused(&answers[2]));
    assert!((90_000..=100_000).contains(&kept(&network, "realm1")));
    let _elsewhere = callee_in(&mut network, "realm2");
    let mut other = caller_in(&mut network, "realm2");
    other.say(&mut network, &call);
    assert!(other.hear(&mut network).is_empty(), "the other realm has its own room");
    other.say(&mut network, &json!([48, 2, {}, "com.p", ["x".repeat(20_000)]]));
    assert!(is_refused(&other.hear(&mut network)), "and all together have a total");
    // A result, a progressive one, and the loss of the caller each give back.
    callee.say(&mut network, &json!([70, 1, {}]));
    callee.say(&mut network, &json!([70, 2, {"progress": true}]));
    network.settle();
    network.lose(callers[1].pipe);
    network.lose(other.pipe);
    network.settle();
    assert_eq!((kept(&network, "realm1"), kept(&network, "realm2")), (0, 0));
}

#[test]
fn testaments_of_a_realm_share_its_limit() {
    let mut network = network(100_000);
    let mut heirs: Vec<_> = (0..3).map(|_| caller_in(&mut network, "realm1")).collect();
    let leave = |request: u64| {
        let will = json!(["com.will", ["x".repeat(45_000)]]);
        json!([48, request, {}, "wamp.session.add_testament", will])
    };
    for (number, heir) in heirs.iter_mut().enumerate() {
        heir.say(&mut network, &leave(1));
        assert_eq!(is_refused(&heir.hear(&mut network)), number == 2, "session {number}");
    }
    let before = kept(&network, "realm1");
    assert!((90_000..=100_000).contains(&before));
    // Taken back, or published: there is room again.
    heirs[0].say(&mut network, &json!([48, 2, {}, "wamp.session.flush_testaments"]));
    network.settle();
    assert!(kept(&network, "realm1") <= before / 2);
    network.lose(heirs[1].pipe);
    network.settle();
    assert_eq!(kept(&network, "realm1"), 0);
    heirs[2].say(&mut network, &leave(2));
    let answer = heirs[2].hear(&mut network);
    assert_eq!(answer[0][0], json!(50), "{answer:?}");
    heirs.iter().for_each(|heir| network.lose(heir.pipe));
    network.settle();
    assert_eq!(kept(&network, "realm1"), 0);
}

/// Of both kinds together.
#[test]
fn calls_and_testaments_share_the_limit() {
    let mut network = network(100_000);
    let _callee = callee_in(&mut network, "realm1");
    let mut caller = caller_in(&mut network, "realm1");
    caller.say(&mut network, &json!([48, 1, {}, "com.p", ["x".repeat(60_000)]]));
    assert!(caller.hear(&mut network).is_empty());
    let will = json!(["com.will", ["x".repeat(45_000)]]);
    caller.say(&mut network, &json!([48, 2, {}, "wamp.session.add_testament", will]));
    assert!(is_refused(&caller.hear(&mut network)));
}
