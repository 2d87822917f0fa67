//! The management API: whom the router tells what it looks like, and whom it obeys. What is
//! answered, `tests/server/managing.rs` shows.

use serde_json::json;
use stentor::authorization::{Access, Managers, Permission, RoleSettings};
use stentor::limits::TurnLimits;
use stentor::router::{RealmSettings, RequestIdCheck, Settings, ShardId};
use stentor::shard::Passage;

use super::dialogue::{check_realm, check_realm_with, check_reloads};
use super::peer::Peer;
use crate::support::{Network, Serializer, bulletin};

/// Everybody of realm1 may do everything that a permission can give, and has this place in
/// `[management]`.
fn managed(realm: &mut RealmSettings, watch: bool, act: bool) {
    let permissions = vec![
        Permission::everything_below(""),
        Permission::everything_below("stentor."),
        Permission::everything_below("wamp."),
    ];
    realm.access = Access::Roles(vec![RoleSettings::new("anonymous", permissions)]);
    let listed = |is_in: bool| if is_in { vec!["anonymous".to_owned()] } else { Vec::new() };
    let managers = Managers { watch: listed(watch), act: listed(act) };
    realm.managers = (realm.name == "realm1").then_some(managers);
}

#[test]
fn watchers_see_and_change_nothing() {
    check_realm(
        |realm| managed(realm, true, false),
        r#"join a
           a -> CALL {} stentor.session.list [] {"limit":3}
           a <- RESULT 1 {} [{"procedure":"stentor.session.list","arguments":{"limit":3},\
            "realm":"realm1"}]
           a -> CALL {} stentor.session.kick [] {"authid":"joe"}
           a <- ERROR 48 2 {} wamp.error.not_authorized \
            ["the role \"anonymous\" may not call \"stentor.session.kick\""]
           a -> CALL {} stentor.config.reload
           a <- ERROR 48 3 {} wamp.error.not_authorized *
           a -> CALL {} stentor.session.list [] {"fail":"no such thing"}
           a <- ERROR 48 4 {} wamp.error.invalid_argument ["no such thing"]
           a -> CALL {} stentor.session.list [3]
           a <- ERROR 48 5 {} wamp.error.invalid_argument \
            ["the router's management takes keyword arguments alone"]
           a -> SUBSCRIBE {} stentor.router.on_update
           a <- SUBSCRIBED 6 $u
           the router announces stentor.router.on_update {"sessions":1}
           a <- EVENT $u * {} [{"sessions":1}]
           the router announces stentor.session.on_close {"sessions":[]}"#,
    );
}

/// What stands in the log is bounded.
#[test]
fn long_arguments_are_refused() {
    let long = "x".repeat(8_192);
    let dialogue = format!(
        r#"join a
           a -> CALL {{}} stentor.session.kick [] {{"reason":"{long}"}}
           a <- ERROR 48 1 {{}} wamp.error.payload_size_exceeded *
           a -> CALL {{}} stentor.session.kick [] {{"reason":"{}"}}
           a <- RESULT 2 {{}} *"#,
        &long[..8_000]
    );
    check_realm(|realm| managed(realm, false, true), &dialogue);
}

#[test]
fn actors_see_and_change() {
    check_realm(
        |realm| managed(realm, false, true),
        r#"join a
           a -> CALL {} stentor.session.kick [] {"session":9007199254740992,"authid":null}
           a <- RESULT 1 {} [{"procedure":"stentor.session.kick",\
            "arguments":{"session":9007199254740992},"realm":"realm1"}]
           a -> CALL {} stentor.router.get
           a <- RESULT 2 {} *
           a -> SUBSCRIBE {} stentor.session.on_close
           a <- SUBSCRIBED 3 *"#,
    );
}

/// Whatever a permission says: its rules for `stentor.` are for what belongs to a session alone.
#[test]
fn others_of_the_realm_see_nothing() {
    check_realm(
        |realm| managed(realm, false, false),
        r#"join a
           a -> CALL {} stentor.session.list
           a <- ERROR 48 1 {} wamp.error.not_authorized *
           a -> CALL {} stentor.router.drain
           a <- ERROR 48 2 {} wamp.error.not_authorized *
           a -> SUBSCRIBE {} stentor.router.on_update
           a <- ERROR 32 3 {} wamp.error.not_authorized *
           a -> SUBSCRIBE {"match":"prefix"} stentor.
           a <- SUBSCRIBED 4 *
           a -> SUBSCRIBE {"match":"wildcard"} ..on_update
           a <- SUBSCRIBED 5 *
           the router announces stentor.router.on_update {"sessions":1}
           a -> PUBLISH {"acknowledge":true} stentor.router.on_update [1]
           a <- ERROR 16 6 {} wamp.error.invalid_uri *
           a -> REGISTER {} stentor.session.list
           a <- ERROR 64 7 {} wamp.error.invalid_uri *
           a -> CALL {} stentor.session.refresh ["x"]
           a <- ERROR 48 8 {} wamp.error.invalid_argument *"#,
    );
}

/// Those who watch may subscribe by patterns, too, as far as their permissions go.
#[test]
fn watchers_hear_by_patterns() {
    check_realm(
        |realm| managed(realm, true, false),
        r#"join a
           a -> SUBSCRIBE {"match":"prefix"} stentor.
           a <- SUBSCRIBED 1 $s
           the router announces stentor.router.on_update {"sessions":1}
           a <- EVENT $s * {"topic":"stentor.router.on_update"} [{"sessions":1}]"#,
    );
}

#[test]
fn other_realms_have_no_such_procedures() {
    check_realm(
        |realm| managed(realm, true, true),
        r#"b -> HELLO realm2 {"roles":{"caller":{}}}
           b <- WELCOME * *
           b -> CALL {} stentor.session.list
           b <- ERROR 48 1 {} wamp.error.no_such_procedure *"#,
    );
}

/// Who floods the router with calls has one of them answered after the other, and is not read
/// meanwhile; others go on, and so does what comes to it.
#[test]
fn a_caller_waits_for_its_answer() {
    check_realm(
        |realm| managed(realm, true, false),
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $x
           verifier waits
           a -> CALL {} stentor.router.get
           a -> CALL {} stentor.shard.list
           a -> PUBLISH {"exclude_me":false} com.x ["late"]
           b -> PUBLISH {} com.x ["other"]
           a <- EVENT $x * {} ["other"]
           verifier judges
           a <- RESULT 2 {} *
           verifier judges
           a <- RESULT 3 {} *
           a <- EVENT $x * {} ["late"]"#,
    );
}

/// Every call is answered once: also where too many wait, and after its caller has gone.
#[test]
fn no_call_is_lost() {
    check_realm(
        |realm| managed(realm, true, false),
        r#"join a b
           verifier takes 0
           a -> CALL {} stentor.router.get
           a <- ERROR 48 1 {} wamp.error.resource_limit *
           verifier takes 9
           verifier waits
           a -> CALL {} stentor.router.get
           b -> CALL {} stentor.router.get
           a is lost
           verifier judges
           b <- RESULT 1 {} *"#,
    );
}

/// Nobody is parked for ever because whoever answers is stuck, and what comes too late is no answer
/// to another call, even one of the same id.
#[test]
fn a_call_without_an_answer_times_out() {
    check_realm_with(
        |realm| managed(realm, true, false),
        |settings| {
            settings.timeouts.ping_interval_ms = 0;
            settings.request_ids = RequestIdCheck::Off;
        },
        r#"join a
           verifier waits
           a -> CALL #7 {} stentor.router.get
           a -> CALL #7 {} stentor.shard.list
           a -> CALL #8 {} wamp.session.count
           wait 39999
           wait 1
           a <- ERROR 48 7 {} wamp.error.timeout *
           verifier judges the first
           wait 1
           verifier judges
           a <- RESULT 7 {} [{"procedure":"stentor.shard.list","arguments":{},"realm":"realm1"}]
           a <- RESULT 8 {} [1]
           wait 40000"#,
    );
}

/// Who leaves, or is sent away, leaves no deadline behind.
#[test]
fn who_leaves_has_no_deadline() {
    check_realm_with(
        |realm| managed(realm, true, false),
        |settings| settings.timeouts.ping_interval_ms = 0,
        r#"join a b
           verifier waits
           a -> CALL {} stentor.router.get
           b -> CALL {} wamp.session.kill [$id_a]
           b <- RESULT 1 {}
           a <- GOODBYE {} *
           a -> GOODBYE {} wamp.close.goodbye_and_out
           a <- CLOSED 1000
           wait 40000
           verifier judges"#,
    );
}

/// In a drain whoever waits for an answer has it before it is told to go.
#[test]
fn a_drain_waits_for_answers() {
    check_realm(
        |realm| managed(realm, false, true),
        r#"join a
           verifier waits
           a -> CALL {} stentor.router.drain
           drain 10000
           wait 9000
           verifier judges
           a <- RESULT 1 {} *
           wait 1000
           a <- GOODBYE {} wamp.close.system_shutdown
           a -> GOODBYE {} wamp.close.goodbye_and_out
           a <- CLOSED 1001"#,
    );
}

/// A reload takes the place away: the topics go at once, the procedures, too.
#[test]
fn a_reload_takes_the_place_away() {
    check_reloads(
        |realm| managed(realm, true, true),
        &[&|_, realms| realms.iter_mut().for_each(|realm| managed(realm, false, false))],
        r#"join fully a
           a -> SUBSCRIBE {} stentor.router.on_update
           a <- SUBSCRIBED 1 $u
           a -> SUBSCRIBE {"match":"prefix"} stentor.
           a <- SUBSCRIBED 2 $p
           a -> CALL {} stentor.router.get
           a <- RESULT 3 {} *
           reload 1
           a <- UNSUBSCRIBED 0 {"subscription":$u,"reason":"wamp.error.not_authorized"}
           the router announces stentor.router.on_update {"sessions":1}
           a -> CALL {} stentor.router.get
           a <- ERROR 48 4 {} wamp.error.not_authorized *"#,
    );
}

/// Where there are no roles, anybody could have one that is named.
#[test]
fn nobody_manages_from_an_open_realm() {
    check_realm(
        |realm| {
            managed(realm, true, true);
            realm.access = Access::Open;
        },
        r#"join a
           a -> CALL {} stentor.router.get
           a <- ERROR 48 1 {} wamp.error.not_authorized *
           a -> CALL {} stentor.router.drain
           a <- ERROR 48 2 {} wamp.error.not_authorized *"#,
    );
}

/// Sessions of a realm that was removed may do nothing more, also while many others are to go
/// before they do.
#[test]
fn a_removed_realm_manages_nothing() {
    let turn = TurnLimits { step_units: 20, turn_units: 40, ..TurnLimits::default() };
    let settings = Settings { turn, ..Settings::default() };
    let mut realm = RealmSettings::named("realm1");
    managed(&mut realm, true, true);
    let mut network = Network::new(settings.clone(), vec![realm], 1);
    let peers: Vec<_> = (0..200).map(|_| Peer::join(&mut network, 0, Serializer::Json)).collect();
    network.links.verifier.is_held = true;
    network.reload(settings, vec![RealmSettings::named("other")]);
    for _ in 0..3 {
        network.turn(0);
    }
    let mut peer = peers.into_iter().next().expect("some have joined");
    peer.say(&mut network, &json!([48, 1, {}, "stentor.router.drain"]));
    network.turn(0);
    assert!(network.links.verifier.queue.is_empty(), "the call was handed out");
    let heard = peer.hear(&mut network);
    assert_eq!((&heard[0][0], &heard[0][4]), (&json!(8), &json!("wamp.error.not_authorized")));
    assert_eq!(heard[1][2], "wamp.close.close_realm");
}

/// Whoever has sent a bulletin learns whether it was published, or must be told of once more.
#[test]
fn a_bulletin_for_which_there_is_no_room_is_not_published() {
    let mut settings = Settings::default();
    settings.limits.held_total_bytes = 1024 * 1024;
    let mut realm = RealmSettings::named("realm1");
    managed(&mut realm, true, false);
    let mut network = Network::new(settings, vec![realm], 1);
    let mut peer = Peer::join(&mut network, 0, Serializer::Json);
    peer.say(&mut network, &json!([32, 1, {}, "stentor.router.on_update"]));
    assert_eq!(peer.hear(&mut network)[0][0], 33);
    let mut held = Some(network.router.held(ShardId(0)).hold(1024 * 1024));
    for is_published in [false, true] {
        if is_published {
            held = None;
        }
        let mut passage = Passage::default();
        let (topic, said) = ("stentor.router.on_update", json!({ "sessions": 1 }));
        let (home, mail) = bulletin(&network.router, "realm1", topic, &said, &passage);
        assert_eq!(passage.outcome(), None, "it is under way");
        network.deliver(usize::from(home.0), mail);
        network.settle();
        assert_eq!(passage.outcome(), Some(is_published));
        assert_eq!(peer.hear(&mut network).len(), usize::from(is_published));
        assert_eq!(held.is_none(), is_published);
    }
}
