//! What a reload changes for those who are here (AU-AZ-06): nobody loses more than the rights that
//! are gone.

use std::sync::Arc;

use serde_json::json;
use stentor::authentication::{AuthenticatorSettings, Method, Principal};
use stentor::authorization::{Access, Action, Permission, RoleSettings};
use stentor::limits::TurnLimits;
use stentor::router::{CallerDisclosure, PublisherDisclosure, RealmSettings, Settings};
use stentor::wamp::MatchPolicy::{Exact, Prefix};

use super::authentication::by;
use super::authorizers::ask;
use super::dialogue::check_reloads;
use super::peer::{Peer, pipeline};
use crate::support::{Network, Serializer, user};

type Realms = Vec<RealmSettings>;

fn permit(uri: &str, allow: &[Action]) -> Permission {
    Permission { uri: uri.into(), policy: Exact, allow: allow.to_vec(), ..Permission::default() }
}

fn role(name: &str, permissions: Vec<Permission>) -> RoleSettings {
    RoleSettings::new(name, permissions)
}

fn everything() -> Vec<Permission> {
    vec![Permission::everything_below("")]
}

/// Anonymous clients, and users with tickets, of whom both may do everything.
fn two_roles(realm: &mut RealmSettings) {
    realm.authenticators = vec![AuthenticatorSettings::anonymous("anonymous"), by(Method::Ticket)];
    realm.access = Access::Roles(vec![role("anonymous", everything()), role("user", everything())]);
}

/// `u` joins as the user `joe`.
const JOE: &str = r#"u -> HELLO realm1 {"roles":{"subscriber":{},"publisher":{},"caller":{},\
        "callee":{}},"authmethods":["ticket"],"authid":"joe"}
    u <- CHALLENGE ticket {}
    u -> AUTHENTICATE pencil {}
    u <- WELCOME $id_u *"#;

/// AU-AZ-06: sessions of a removed role end, others are not touched.
#[test]
fn au_az_06_a_removed_role_ends_its_sessions_and_no_others() {
    check_reloads(
        two_roles,
        &[&|_, realms| realms[0].access = Access::Roles(vec![role("anonymous", everything())])],
        &format!(
            r#"join a
               {JOE}
               a -> SUBSCRIBE {{}} com.t
               a <- SUBSCRIBED 1 $t
               a -> SUBSCRIBE {{}} wamp.session.on_leave
               a <- SUBSCRIBED 2 $leave
               u -> REGISTER {{}} com.p
               u <- REGISTERED 1 *
               a -> CALL {{}} com.p
               u <- INVOCATION 1 * {{}}
               reload 1
               u <- GOODBYE {{"message":"the role of this session was removed from the realm"}} \
                    wamp.close.killed
               a <- ERROR 48 3 {{}} wamp.error.canceled *
               a <- EVENT $leave * {{}} [$id_u,"joe","user"]
               a -> PUBLISH {{"acknowledge":true,"exclude_me":false}} com.t [1]
               a <- PUBLISHED 4 *
               a <- EVENT $t * {{}} [1]
               w -> HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["ticket"],\
                    "authid":"joe"}}
               w <- CHALLENGE ticket {{}}
               w -> AUTHENTICATE pencil {{}}
               w <- ABORT * wamp.error.no_such_role
               w <- CLOSED 1008"#
        ),
    );
}

/// AU-AZ-06: what the role may not have any more is revoked; what was decided is forgotten.
#[test]
fn au_az_06_a_removed_permission_takes_what_it_had_granted() {
    let some = vec![
        permit("com.t", &[Action::Subscribe]),
        permit("com.p", &[Action::Register]),
        permit("com.x", &[Action::Publish, Action::Call]),
    ];
    check_reloads(
        two_roles,
        &[&|_, realms| realms[0].access = Access::Roles(vec![role("anonymous", some.clone())])],
        r#"join fully a b
           a -> SUBSCRIBE {} com.t
           a <- SUBSCRIBED 1 $t
           a -> SUBSCRIBE {} com.gone
           a <- SUBSCRIBED 2 $gone
           a -> SUBSCRIBE {"match":"prefix"} com.
           a <- SUBSCRIBED 3 $prefix
           a -> REGISTER {} com.p
           a <- REGISTERED 4 $p
           a -> REGISTER {} com.q
           a <- REGISTERED 5 $q
           b -> CALL {} com.q
           a <- INVOCATION 1 $q {}
           b -> PUBLISH {"acknowledge":true} com.t [1]
           b <- PUBLISHED 2 *
           a <- EVENT $t * {} [1]
           a <- EVENT $prefix * {"topic":"com.t"} [1]
           reload 1
           a <- UNSUBSCRIBED 0 {"subscription":$prefix,"reason":"wamp.error.not_authorized"}
           a <- UNSUBSCRIBED 0 {"subscription":$gone,"reason":"wamp.error.not_authorized"}
           a <- UNREGISTERED 0 {"registration":$q,"reason":"wamp.error.not_authorized"}
           a -> YIELD 1 {} [7]
           b <- RESULT 1 {} [7]
           b -> PUBLISH {"acknowledge":true} com.t [2]
           b <- ERROR 16 3 {} wamp.error.not_authorized *
           b -> CALL {} com.p
           b <- ERROR 48 4 {} wamp.error.not_authorized *
           b -> CALL {} com.x
           b <- ERROR 48 5 {} wamp.error.no_such_procedure *
           a -> SUBSCRIBE {} com.t
           a <- SUBSCRIBED 6 $t
           a -> UNREGISTER $p
           a <- UNREGISTERED 7"#,
    );
}

/// What has not changed is not asked about: a reload that changes nothing does nothing, and the
/// counters of roles go on.
#[test]
fn a_reload_without_changes_changes_nothing() {
    check_reloads(
        two_roles,
        &[&|_, _| {}, &|_, realms| realms[1].publisher_disclosure = PublisherDisclosure::Forbid],
        &format!(
            r#"join fully a
               {JOE}
               a -> SUBSCRIBE {{}} com.t
               a <- SUBSCRIBED 1 $t
               reload 1
               reload 2
               reload 1
               u -> PUBLISH {{"acknowledge":true,"disclose_me":true}} com.t [1]
               u <- PUBLISHED 1 *
               a <- EVENT $t * {{"publisher":$id_u,"publisher_authid":"joe",\
                    "publisher_authrole":"user"}} [1]"#
        ),
    );
}

#[test]
fn the_rules_of_a_realm_change_for_sessions_that_are_here() {
    check_reloads(
        |_| {},
        &[&|_, realms| {
            realms[0].publisher_disclosure = PublisherDisclosure::Always;
            realms[0].caller_disclosure = CallerDisclosure::Forbid;
        }],
        r#"join fully a b
           a -> SUBSCRIBE {} com.t
           a <- SUBSCRIBED 1 $t
           b -> PUBLISH {} com.t [1]
           a <- EVENT $t * {} [1]
           reload 1
           b -> PUBLISH {} com.t [1]
           a <- EVENT $t * {"publisher":$id_b,"publisher_authid":*,"publisher_authrole":*} [1]
           b -> CALL {"disclose_me":true} com.p
           b <- ERROR 48 3 {} wamp.error.option_disallowed.disclose_me *"#,
    );
}

/// A realm may be opened, and closed again.
#[test]
fn a_realm_without_rules_gets_some_and_loses_them() {
    let some = vec![permit("com.t", &[Action::Subscribe])];
    check_reloads(
        |realm| realm.access = Access::Roles(vec![role("anonymous", some.clone())]),
        &[&|_, realms| realms[0].access = Access::Open, &|_, _| {}],
        r#"join fully a
           a -> SUBSCRIBE {} com.t
           a <- SUBSCRIBED 1 $t
           a -> SUBSCRIBE {} com.u
           a <- ERROR 32 2 {} wamp.error.not_authorized *
           reload 1
           a -> SUBSCRIBE {} com.u
           a <- SUBSCRIBED 3 $u
           reload 2
           a <- UNSUBSCRIBED 0 {"subscription":$u,"reason":"wamp.error.not_authorized"}
           a -> UNSUBSCRIBE $t
           a <- UNSUBSCRIBED 4"#,
    );
}

/// What waits for an authorizer is decided about anew: by a rule, by another authorizer, or not at
/// all, as its session has gone.
#[test]
fn au_az_06_what_waits_for_an_authorizer_is_decided_about_by_the_new_rules() {
    let asking = |by: &str| {
        let asks = Permission { authorizer: Some(by.into()), ..ask("com.t", Exact, &Action::ALL) };
        Access::Roles(vec![role("user", vec![asks]), role("anonymous", everything())])
    };
    let user = |permissions: Vec<Permission>| {
        Access::Roles(vec![role("user", permissions), role("anonymous", everything())])
    };
    check_reloads(
        |realm| {
            two_roles(realm);
            realm.access = asking("com.auth");
        },
        &[
            &|_, realms| realms[0].access = user(everything()),
            &|_, realms| realms[0].access = user(Vec::new()),
            &|_, realms| realms[0].access = asking("com.other"),
            &|_, realms| {
                realms[0].access = Access::Roles(vec![role("anonymous", everything())]);
            },
            &|_, _| {},
        ],
        &format!(
            r#"join fully x a
               {JOE}
               x -> REGISTER {{}} com.auth
               x <- REGISTERED 1 $auth
               x -> REGISTER {{}} com.other
               x <- REGISTERED 2 $other
               a -> SUBSCRIBE {{}} com.t
               a <- SUBSCRIBED 1 $t
               u -> PUBLISH {{"acknowledge":true}} com.t [1]
               x <- INVOCATION 1 $auth {{}} *
               u -> PUBLISH {{}} com.t [2]
               reload 1
               x <- INTERRUPT 1 *
               u <- PUBLISHED 1 *
               a <- EVENT $t * {{}} [1]
               a <- EVENT $t * {{}} [2]
               reload 5
               u -> PUBLISH {{"acknowledge":true}} com.t [3]
               x <- INVOCATION 2 $auth {{}} *
               reload 2
               x <- INTERRUPT 2 *
               u <- ERROR 16 3 {{}} wamp.error.not_authorized *
               reload 5
               u -> PUBLISH {{"acknowledge":true}} com.t [4]
               x <- INVOCATION 3 $auth {{}} *
               reload 3
               x <- INTERRUPT 3 *
               x <- INVOCATION 4 $other {{}} *
               x -> YIELD 3 {{}} [true]
               x -> YIELD 4 {{}} [true]
               u <- PUBLISHED 4 *
               a <- EVENT $t * {{}} [4]
               u -> PUBLISH {{"acknowledge":true}} com.t [5]
               x <- INVOCATION 5 $other {{}} *
               reload 4
               x <- INTERRUPT 5 *
               u <- GOODBYE * wamp.close.killed
               x -> YIELD 5 {{}} [true]"#
        ),
    );
}

/// What an authorizer has granted stands while it is the one to be asked.
#[test]
fn au_az_06_the_word_of_an_authorizer_holds_while_the_same_one_decides() {
    let asking = |by: &str, more: Vec<Permission>| {
        let asks = Permission { authorizer: Some(by.into()), ..ask("com.t", Exact, &Action::ALL) };
        let user = [vec![asks], more].concat();
        Access::Roles(vec![role("user", user), role("anonymous", everything())])
    };
    check_reloads(
        |realm| {
            two_roles(realm);
            realm.access = asking("com.auth", Vec::new());
        },
        &[
            &|_, realms| {
                let more = vec![permit("com.u", &[Action::Subscribe])];
                realms[0].access = asking("com.auth", more);
            },
            &|_, realms| realms[0].access = asking("com.other", Vec::new()),
        ],
        &format!(
            r#"join fully x
               {JOE}
               x -> REGISTER {{}} com.auth
               x <- REGISTERED 1 $auth
               u -> SUBSCRIBE {{}} com.t
               x <- INVOCATION 1 $auth {{}} *
               x -> YIELD 1 {{}} [true]
               u <- SUBSCRIBED 1 $t
               reload 1
               x -> PUBLISH {{"acknowledge":true}} com.t [1]
               x <- PUBLISHED 2 *
               u <- EVENT $t * {{}} [1]
               reload 2
               x -> PUBLISH {{"acknowledge":true}} com.t [2]
               x <- PUBLISHED 3 *
               x -> CALL {{}} wamp.subscription.lookup ["com.t"]
               x <- RESULT 4 {{}} [null]"#
        ),
    );
}

/// The right of a user ends when the user is gone, or has another role; a new secret is for the
/// next login.
#[test]
fn au_az_06_a_session_ends_with_its_user_and_not_with_its_secret() {
    let others = AuthenticatorSettings::of(Method::Ticket, vec![user("jim", Method::Ticket)]);
    let promoted = Principal { role: "anonymous".into(), ..(*user("joe", Method::Ticket)).clone() };
    let promoted = AuthenticatorSettings::of(Method::Ticket, vec![Arc::new(promoted)]);
    let other_key = Principal {
        credential: user("joe", Method::Wampcra).credential.clone(),
        ..(*user("joe", Method::Ticket)).clone()
    };
    let other_secret = AuthenticatorSettings::of(Method::Ticket, vec![Arc::new(other_key)]);
    let set = |ways: &AuthenticatorSettings| {
        let ways = ways.clone();
        move |_: &mut Settings, realms: &mut Realms| realms[0].authenticators[1] = ways.clone()
    };
    let gone = r#"u <- GOODBYE {"message":"the realm does not know this user, or not with this \
role, any more"} wamp.close.killed"#;
    let stays = r#"u -> CALL {} wamp.session.count
        u <- RESULT 1 {} [1]"#;
    for (change, expected) in [(&others, gone), (&promoted, gone), (&other_secret, stays)] {
        check_reloads(two_roles, &[&set(change)], &format!("{JOE}\nreload 1\n{expected}"));
    }
    // Who may join without authentication may stay as long as that is so.
    let no_anonymous: &dyn Fn(&mut Settings, &mut Realms) =
        &|_, realms| drop(realms[0].authenticators.remove(0));
    let dialogue = format!(
        r#"join a
           {JOE}
           reload 1
           a <- GOODBYE * wamp.close.killed
           u -> CALL {{}} wamp.session.count
           u <- RESULT 1 {{}} [1]"#
    );
    check_reloads(two_roles, &[no_anonymous], &dialogue);
}

/// Logins go on as they began unless the ways into the realm have changed; the role is looked up
/// when they are over.
#[test]
fn a_login_under_way_is_judged_by_what_holds_at_its_end() {
    check_reloads(
        two_roles,
        &[
            &|_, realms| {
                let user = role("user", vec![permit("com.x", &[Action::Publish])]);
                realms[0].access = Access::Roles(vec![user]);
            },
            &|_, realms| realms[0].access = Access::Roles(vec![role("other", Vec::new())]),
            &|_, realms| {
                let jim = vec![user("jim", Method::Ticket)];
                realms[0].authenticators = vec![AuthenticatorSettings::of(Method::Ticket, jim)];
            },
            &|_, realms| drop(realms.remove(0)),
        ],
        r#"a -> HELLO realm1 {"roles":{"publisher":{}},"authmethods":["ticket"],"authid":"joe"}
           a <- CHALLENGE ticket {}
           reload 1
           a -> AUTHENTICATE pencil {}
           a <- WELCOME * *
           a -> PUBLISH {"acknowledge":true} com.y [1]
           a <- ERROR 16 1 {} wamp.error.not_authorized *
           b -> HELLO realm1 {"roles":{"publisher":{}},"authmethods":["ticket"],"authid":"joe"}
           b <- CHALLENGE ticket {}
           reload 2
           a <- GOODBYE * wamp.close.killed
           b -> AUTHENTICATE pencil {}
           b <- ABORT * wamp.error.no_such_role
           b <- CLOSED 1008
           c -> HELLO realm1 {"roles":{"publisher":{}},"authmethods":["ticket"],"authid":"jim"}
           c <- CHALLENGE ticket {}
           reload 3
           c -> AUTHENTICATE pencil {}
           c <- ABORT {"message":"the configuration of the router has changed meanwhile, \
try again"} wamp.error.authentication_failed
           c <- CLOSED 1008
           d -> HELLO realm1 {"roles":{"publisher":{}},"authmethods":["ticket"],"authid":"jim"}
           d <- CHALLENGE ticket {}
           reload 4
           d -> AUTHENTICATE pencil {}
           d <- ABORT * wamp.error.no_such_realm
           d <- CLOSED 1008"#,
    );
}

/// What a session of a removed role leaves is judged by the rules of now.
#[test]
fn the_testament_of_a_removed_role_is_not_published() {
    check_reloads(
        two_roles,
        &[&|_, realms| realms[0].access = Access::Roles(vec![role("anonymous", everything())])],
        &format!(
            r#"join a
               {JOE}
               a -> SUBSCRIBE {{}} com.will
               a <- SUBSCRIBED 1 *
               u -> CALL {{}} wamp.session.add_testament ["com.will",[1],{{}}]
               u <- RESULT 1 {{}}
               reload 1
               u <- GOODBYE * wamp.close.killed"#
        ),
    );
}

/// A realm comes and goes; with the same name it is another one.
#[test]
fn a_realm_is_added_and_removed() {
    let extra: &dyn Fn(&mut Settings, &mut Realms) =
        &|_, realms| realms.push(RealmSettings::named("extra"));
    check_reloads(
        |_| {},
        &[extra, &|_, _| {}],
        r#"join a
           x -> HELLO extra {"roles":{"subscriber":{},"publisher":{}}}
           x <- ABORT * wamp.error.no_such_realm
           x <- CLOSED 1008
           reload 1
           b -> HELLO extra {"roles":{"subscriber":{},"publisher":{},"callee":{}}}
           b <- WELCOME * *
           b -> SUBSCRIBE {} wamp.session.on_leave
           b <- SUBSCRIBED 1 *
           b -> PUBLISH {"retain":true,"acknowledge":true} com.t [1]
           b <- PUBLISHED 2 *
           c -> HELLO extra {"roles":{"subscriber":{},"caller":{}}}
           c <- WELCOME * *
           reload 2
           b <- GOODBYE {"message":"this realm was removed from the router"} wamp.close.close_realm
           c <- GOODBYE * wamp.close.close_realm
           b -> GOODBYE {} wamp.close.goodbye_and_out
           b <- CLOSED 1000
           y -> HELLO extra {"roles":{"subscriber":{},"publisher":{}}}
           y <- ABORT * wamp.error.no_such_realm
           y <- CLOSED 1008
           reload 1
           z -> HELLO extra {"roles":{"subscriber":{},"publisher":{}}}
           z <- WELCOME * *
           z -> SUBSCRIBE {"get_retained":true} com.t
           z <- SUBSCRIBED 1 *
           a -> CALL {} wamp.session.count
           a <- RESULT 1 {} [1]"#,
    );
}

/// Who was silent meanwhile is asked for a sign of life as soon as the settings say so.
#[test]
fn patience_changes_for_connections_that_are_here() {
    let ping_after = |ms: u64| {
        move |settings: &mut Settings, _: &mut Realms| settings.timeouts.ping_interval_ms = ms
    };
    check_reloads(
        |_| {},
        &[&ping_after(0), &ping_after(3_000)],
        r#"a via websocket
           join a
           reload 1
           wait 60000
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 *
           wait 60000
           reload 2
           wait 1000
           a <- PING"#,
    );
}

/// Limits hold from the next request on.
#[test]
fn limits_change_at_once() {
    check_reloads(
        |_| {},
        &[&|settings, _| settings.limits.subscriptions_per_session = 1, &|settings, realms| {
            settings.limits.uri_bytes = 12;
            settings.strict_roles = true;
            realms[0].uri_rule = stentor::wamp::UriRule::Strict;
        }],
        r#"a -> HELLO realm1 {"roles":{"subscriber":{}}}
           a <- WELCOME * *
           a -> SUBSCRIBE {} com.T
           a <- SUBSCRIBED 1 *
           reload 1
           a -> SUBSCRIBE {} com.u
           a <- ERROR 32 2 {} wamp.error.resource_limit *
           reload 2
           a -> SUBSCRIBE {} com.T
           a <- ERROR 32 3 {} wamp.error.invalid_uri *
           a -> SUBSCRIBE {} com.too.long.x
           a <- ERROR 32 4 {} wamp.error.invalid_uri *
           a -> PUBLISH {} com.u
           a <- ABORT * wamp.error.protocol_violation
           a <- CLOSED 1008"#,
    );
}

/// Bounds: however many sessions have other rights, and however much they lose, a step is short.
#[test]
fn sessions_with_other_rights_are_looked_at_in_pieces() {
    let step_units = 2_000;
    let mut settings = Settings::default();
    settings.turn = TurnLimits { step_units, turn_units: 2 * step_units, ..settings.turn };
    let access = Access::Roles(vec![role("anonymous", everything())]);
    let mut realm = RealmSettings { access, ..RealmSettings::default() };
    let mut network = Network::new(settings.clone(), vec![realm.clone()], 1);
    let holder = Peer::join(&mut network, 0, Serializer::Cbor);
    for part in 0..4 {
        let subscribe = |n: u64| json!([32, n, {}, format!("com.part{part}.t{n}")]);
        pipeline(&mut network, &holder, (1..=1_000).map(|n| subscribe(1_000 * part + n)));
        while network.is_busy(0) {
            network.turn(0);
        }
    }
    let many: Vec<_> = (0..500).map(|_| Peer::join(&mut network, 0, Serializer::Cbor)).collect();
    assert_eq!(network.router.snapshot().subscriptions, 4_000);
    let before = network.shard(0).longest_step();
    let prefix = |uri: &str| Permission {
        policy: Prefix,
        ..permit(uri, &[Action::Subscribe, Action::Publish])
    };
    realm.access = Access::Roles(vec![role("anonymous", vec![prefix("com.part0.")])]);
    network.reload(settings.clone(), vec![realm.clone()]);
    let mut turns = 0;
    while network.shard(0).has_jobs() {
        network.turn(0);
        turns += 1;
    }
    assert!(turns > 10, "3,000 subscriptions do not go in {turns} turns");
    let snapshot = network.router.snapshot();
    assert_eq!((snapshot.subscriptions, snapshot.memberships_revoked), (1_000, 3_000));
    assert_eq!(snapshot.sessions, 501, "nobody has to go");
    realm.access = Access::Roles(vec![role("other", everything())]);
    network.reload(settings, vec![realm]);
    while network.shard(0).has_jobs() {
        network.turn(0);
    }
    let snapshot = network.router.snapshot();
    assert_eq!((snapshot.sessions, snapshot.sessions_revoked), (0, 501));
    let longest = network.shard(0).longest_step();
    assert!(longest <= before.max(u64::from(step_units) + 1_000), "a step took {longest} units");
    drop(many);
}

/// A second reload while sessions wait to be ended for the first one: whoever has no right by both
/// has to go, wherever the first one had got to.
#[test]
fn a_reload_on_the_heels_of_another_forgives_nobody() {
    let step_units = 20;
    let mut settings = Settings::default();
    settings.turn = TurnLimits { step_units, turn_units: 2 * step_units, ..settings.turn };
    let access = Access::Roles(vec![role("anonymous", everything())]);
    for turns in 0..40 {
        let mut realm = RealmSettings { access: access.clone(), ..RealmSettings::default() };
        let mut network = Network::new(settings.clone(), vec![realm.clone()], 1);
        for _ in 0..12 {
            Peer::join(&mut network, 0, Serializer::Json);
        }
        realm.authenticators = vec![by(Method::Ticket)];
        network.reload(settings.clone(), vec![realm.clone()]);
        (0..turns).for_each(|_| network.turn(0));
        let some = vec![permit("com.x", &[Action::Publish])];
        realm.access = Access::Roles(vec![role("anonymous", some)]);
        network.reload(settings.clone(), vec![realm]);
        network.settle();
        let snapshot = network.router.snapshot();
        assert_eq!((snapshot.sessions, snapshot.sessions_revoked), (0, 12), "after {turns} turns");
    }
}
