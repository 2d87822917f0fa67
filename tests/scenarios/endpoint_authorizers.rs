//! Requests that an endpoint decides about: dynamic authorizers over HTTP (AU-AZ-04). What they
//! share with procedures, `authorizers` shows.

use serde_json::json;
use stentor::authentication::EndpointSettings;
use stentor::authorization::{Access, Action, Permission, RoleSettings};
use stentor::router::{RealmSettings, Settings};
use stentor::wamp::MatchPolicy::Prefix;

use super::dialogue::check_realm_with;
use super::peer::Peer;
use crate::support::{Network, Says, Serializer};

const URL: &str = "https://auth.example.org/allow?key=secret";

/// Everybody may do everything; an endpoint decides about `com.asked.`.
fn asking(realm: &mut RealmSettings) {
    let asked = Permission {
        uri: "com.asked.".into(),
        policy: Prefix,
        allow: Action::ALL.into(),
        authorizer: Some(URL.into()),
        ..Permission::default()
    };
    let killing = Permission::everything_below("wamp.session.");
    let permissions = vec![Permission::everything_below(""), killing, asked];
    realm.access = Access::Roles(vec![RoleSettings::new("anonymous", permissions)]);
    realm.authorizers = vec![EndpointSettings { timeout_ms: 3_000, ..EndpointSettings::at(URL) }];
}

fn check(dialogue: &str) {
    check_realm_with(asking, |settings| settings.timeouts.ping_interval_ms = 0, dialogue);
}

/// What is asked: the four values of a procedure, by the names of its arguments.
#[test]
fn au_az_04_an_endpoint_is_asked_as_a_procedure_is() {
    check(
        r#"join a
           the endpoint says true
           a -> PUBLISH {"acknowledge":true} com.asked.t [1]
           a <- PUBLISHED 1 *
           the endpoint was asked about publish com.asked.t {"acknowledge":true,"match":"exact"}
           a -> SUBSCRIBE {"match":"prefix"} com.asked.t
           a <- SUBSCRIBED 2 *
           the endpoint was asked about subscribe com.asked.t {"match":"prefix"}
           a -> REGISTER {} com.asked.p
           a <- REGISTERED 3 $p
           the endpoint was asked about register com.asked.p {"match":"exact"}
           a -> CALL {"timeout":9000} com.asked.p [1] {"k":2}
           a <- INVOCATION 1 $p {} [1] {"k":2}
           the endpoint was asked about call com.asked.p {"timeout":9000,"match":"exact"}
           a -> [70, 1, {}, [3]]
           a <- RESULT 4 {} [3]"#,
    );
}

/// Yes, no, and nobody's answer, which denies as well.
#[test]
fn au_az_04_only_a_clear_yes_allows() {
    check(
        r#"join a b
           b -> SUBSCRIBE {"match":"prefix"} com.free
           b <- SUBSCRIBED 1 *
           the endpoint says false
           a -> PUBLISH {"acknowledge":true} com.asked.t [1]
           a <- ERROR 16 1 {} wamp.error.not_authorized \
            ["the role \"anonymous\" may not publish to \"com.asked.t\""]
           the endpoint says {"allow":false}
           a -> CALL {} com.asked.p
           a <- ERROR 48 2 {} wamp.error.not_authorized *
           the endpoint says no
           a -> SUBSCRIBE {} com.asked.t
           a <- ERROR 32 3 {} wamp.error.not_authorized *
           the endpoint says nothing
           a -> REGISTER {} com.asked.p
           a <- ERROR 64 4 {} wamp.error.authorization_failed *
           the endpoint says error x y
           a -> CALL {} com.asked.p
           a <- ERROR 48 5 {} wamp.error.authorization_failed *
           the endpoint says "true"
           a -> CALL {} com.asked.p
           a <- ERROR 48 6 {} wamp.error.authorization_failed *
           the endpoint says {"allow":true,"alow":1}
           a -> CALL {} com.asked.p
           a <- ERROR 48 7 {} wamp.error.authorization_failed *
           the endpoint says {"allow":true}
           a -> CALL {} com.asked.p
           a <- ERROR 48 8 {} wamp.error.no_such_procedure *"#,
    );
}

/// `cache`, `ttl` and `disclose` mean what they mean in a procedure's answer.
#[test]
fn au_az_04_an_answer_is_remembered_and_discloses() {
    check(
        r#"join a b
           the endpoint says true
           b -> SUBSCRIBE {} com.asked.t
           b <- SUBSCRIBED 1 $s
           the endpoint says {"allow":true,"cache":true,"ttl":2,"disclose":true}
           a -> PUBLISH {"acknowledge":true} com.asked.t
           a <- PUBLISHED 1 *
           b <- EVENT $s * {"publisher":$id_a,"publisher_authid":$authid_a,\
            "publisher_authrole":"anonymous"}
           the endpoint says false
           wait 1999
           a -> PUBLISH {"acknowledge":true} com.asked.t
           a <- PUBLISHED 2 *
           b <- EVENT $s * {"publisher":$id_a,"publisher_authid":$authid_a,\
            "publisher_authrole":"anonymous"}
           wait 1
           a -> PUBLISH {"acknowledge":true} com.asked.t
           a <- ERROR 16 3 {} wamp.error.not_authorized *"#,
    );
}

/// BP-ORD-01: nothing overtakes what waits, others pass it, and its time is that of the endpoint.
#[test]
fn au_az_04_whoever_waits_keeps_its_order_and_its_time() {
    check(
        r#"join a b c
           b -> SUBSCRIBE {"match":"prefix"} com.free
           b <- SUBSCRIBED 1 $free
           the endpoint says true
           verifier waits
           a -> PUBLISH {"acknowledge":true} com.asked.t ["a1"]
           a -> PUBLISH {} com.free.1 ["a2"]
           c -> PUBLISH {} com.free.2 ["c"]
           b <- EVENT $free * {"topic":"com.free.2"} ["c"]
           wait 2999
           verifier judges
           a <- PUBLISHED 1 *
           b <- EVENT $free * {"topic":"com.free.1"} ["a2"]
           a -> CALL {} com.asked.p
           wait 3000
           a <- ERROR 48 3 {} wamp.error.authorization_failed *
           verifier judges
           a -> CALL {} com.asked.p
           a is lost
           verifier judges
           c -> CALL {} com.asked.p
           verifier takes 0
           b -> CALL {} com.asked.p
           b <- ERROR 48 2 {} wamp.error.authorization_failed *
           verifier judges
           c <- ERROR 48 2 {} wamp.error.no_such_procedure *"#,
    );
}

/// Who asks and leaves keeps nobody else from being asked about.
#[test]
fn au_az_04_who_has_left_takes_nobodys_place_at_the_endpoint() {
    check(
        r#"at one node: each asks the endpoint for itself
           join a b c d
           the endpoint says true
           verifier waits
           verifier takes 2
           a -> CALL {} com.asked.p
           b -> CALL {} com.asked.p
           c -> CALL {} com.asked.p
           c <- ERROR 48 1 {} wamp.error.authorization_failed *
           d -> CALL {} wamp.session.kill [$id_a]
           d <- RESULT 1 {}
           a <- GOODBYE {} wamp.close.killed
           c -> CALL {} com.asked.p
           d -> CALL {} wamp.session.kill [$id_b]
           d <- RESULT 2 {}
           b <- GOODBYE {} wamp.close.killed
           d -> CALL {} com.asked.p
           verifier judges
           c <- ERROR 48 2 {} wamp.error.no_such_procedure *
           d <- ERROR 48 3 {} wamp.error.no_such_procedure *"#,
    );
}

/// As many questions are pending at an endpoint as may be, whoever asks; the others wait, and count
/// as held.
#[test]
fn questions_over_the_bound_wait_for_their_turn() {
    let mut settings = Settings::default();
    settings.limits.questions_per_procedure = 2;
    let mut realm = RealmSettings::named("realm1");
    asking(&mut realm);
    let mut network = Network::new(settings, vec![realm], 1);
    network.links.verifier.is_held = true;
    network.links.verifier.endpoint.says = Says::Body("true".into());
    let peers: Vec<_> = (0..10).map(|_| Peer::join(&mut network, 0, Serializer::Json)).collect();
    let publish = json!([16, 1, {"acknowledge": true}, "com.asked.t", ["x".repeat(1_000)]]);
    for peer in &peers {
        peer.say(&mut network, &publish);
    }
    network.settle();
    let now = network.router.snapshot();
    assert_eq!((now.endpoint_questions, now.questions_waiting, now.questions), (2, 8, 0));
    assert!(network.router.held_bytes() > 10 * 1_000, "{}", network.router.held_bytes());
    for left in (0..5).rev() {
        assert_eq!(network.serve_verifier(usize::MAX), 2);
        network.settle();
        assert_eq!(network.router.snapshot().endpoint_questions, if left > 0 { 2 } else { 0 });
    }
    assert_eq!(network.router.snapshot().publications, 10);
    assert_eq!(network.router.held_bytes(), 0);
}
