//! Requests that a procedure decides about: dynamic authorizers (AU-AZ-04).

use stentor::authorization::{Access, Action, Disclosure, Permission, RoleSettings};
use stentor::router::{CallerDisclosure, PublisherDisclosure, RealmSettings, Settings};
use stentor::wamp::MatchPolicy::{self, Exact, Prefix};

use super::dialogue::{check_realm, check_realm_with};

/// A permission whose authorizer is `com.auth`.
fn ask(uri: &str, policy: MatchPolicy, allow: &[Action]) -> Permission {
    let authorizer = Some("com.auth".to_owned());
    Permission {
        uri: uri.into(),
        policy,
        allow: allow.to_vec(),
        authorizer,
        ..Permission::default()
    }
}

/// Everybody may do everything, but for what `more` says. `com.auth` decides about `com.asked.`.
pub(super) fn rules(more: Vec<Permission>) -> Access {
    let everything = Permission::everything_below("");
    let asked = ask("com.asked.", Prefix, &Action::ALL);
    let permissions = [everything, asked].into_iter().chain(more).collect();
    Access::Roles(vec![RoleSettings::new("anonymous", permissions)])
}

pub(super) fn check(dialogue: &str) {
    check_realm(|realm| realm.access = rules(Vec::new()), dialogue);
}

fn check_with(change: impl Fn(&mut Settings), dialogue: &str) {
    check_realm_with(|realm| realm.access = rules(Vec::new()), change, dialogue);
}

fn check_with_rules(more: &[Permission], dialogue: &str) {
    check_realm(|realm| realm.access = rules(more.to_vec()), dialogue);
}

fn check_on(adapt: impl Fn(&mut RealmSettings), dialogue: &str) {
    let adapted = |realm: &mut RealmSettings| {
        realm.access = rules(Vec::new());
        adapt(realm);
    };
    check_realm(adapted, dialogue);
}

/// What is asked: four arguments, as crossbar's authorizers get them, and nobody's identity.
#[test]
fn au_az_04_each_action_is_asked_about_with_what_the_authorizer_needs() {
    check(
        r#"join x a
           x -> REGISTER {} com.auth
           x <- REGISTERED 1 $r
           a -> PUBLISH {"acknowledge":true} com.asked.t [1]
           x <- INVOCATION 1 $r {} \
            [$who,"com.asked.t","publish",{"acknowledge":true,"match":"exact"}]
           x -> [70, 1, {}, [true]]
           a <- PUBLISHED 1 *
           a -> SUBSCRIBE {"match":"prefix"} com.asked.t
           x <- INVOCATION 2 $r {} [$who,"com.asked.t","subscribe",{"match":"prefix"}]
           x -> [70, 2, {}, [true]]
           a <- SUBSCRIBED 2 *
           a -> REGISTER {"invoke":"random"} com.asked.p
           x <- INVOCATION 3 $r {} \
            [$who,"com.asked.p","register",{"match":"exact","invoke":"random"}]
           x -> [70, 3, {}, [true]]
           a <- REGISTERED 3 $p
           a -> CALL {"timeout":9000} com.asked.p [1] {"k":2}
           x <- INVOCATION 4 $r {} [$who,"com.asked.p","call",{"timeout":9000,"match":"exact"}]
           x -> [70, 4, {}, [true]]
           a <- INVOCATION 1 $p {} [1] {"k":2}
           a -> [70, 1, {}, [3]]
           a <- RESULT 4 {} [3]"#,
    );
}

/// `session_details` are those of crossbar, with the realm.
#[test]
fn au_az_04_the_authorizer_learns_who_asks() {
    check(
        r#"join x
           a comes from 10.1.2.3:456
           a via websocket
           join a
           x -> REGISTER {} com.auth
           x <- REGISTERED 1 $r
           a -> PUBLISH {} com.asked.t
           x <- INVOCATION 1 $r {} [{"session":$id_a,"realm":"realm1","authid":$authid_a,\
            "authrole":"anonymous","authmethod":"anonymous","authprovider":"static",\
            "authextra":{},"transport":{"type":"websocket","protocol":*,\
            "peer":"tcp4:10.1.2.3:456","http_headers_received":null,"http_headers_sent":null,\
            "cbtid":null,"client_cert":null,"channel_type":"tcp","channel_framing":"websocket",\
            "channel_serializer":*,"channel_id":null,"peer_cert":null,"is_secure":false,\
            "websocket_protocol":*,"http_cbtid":null}},"com.asked.t","publish",{"match":"exact"}]
           x -> [70, 1, {}, [true]]"#,
    );
}

/// A denial is one as of a rule; nothing has happened.
#[test]
fn au_az_04_what_is_denied_has_no_effect() {
    check(
        r#"join x a b
           x -> REGISTER {} com.auth
           x <- REGISTERED 1 $r
           b -> SUBSCRIBE {} com.asked.t
           x <- INVOCATION 1 $r {} *
           x -> [70, 1, {}, [{"allow":true}]]
           b <- SUBSCRIBED 1 $s
           a -> PUBLISH {"acknowledge":true,"retain":true} com.asked.t [1]
           x <- INVOCATION 2 $r {} *
           x -> [70, 2, {}, [false]]
           a <- ERROR 16 1 {} wamp.error.not_authorized \
            ["the role \"anonymous\" may not publish to \"com.asked.t\""]
           a -> PUBLISH {"retain":true} com.asked.t [1]
           x <- INVOCATION 3 $r {} *
           x -> [70, 3, {}, [{"allow":false}]]
           a -> SUBSCRIBE {"get_retained":true} com.asked.t
           x <- INVOCATION 4 $r {} *
           x -> [70, 4, {}, [true]]
           a <- SUBSCRIBED 3 $s
           a -> REGISTER {} com.asked.p
           x <- INVOCATION 5 $r {} *
           x -> [70, 5, {}, [false]]
           a <- ERROR 64 4 {} wamp.error.not_authorized *
           a -> CALL {} com.asked.p
           x <- INVOCATION 6 $r {} *
           x -> [70, 6, {}, [true]]
           a <- ERROR 48 5 {} wamp.error.no_such_procedure *"#,
    );
}

/// Fail closed: whatever is no answer denies, and says that nobody could decide.
#[test]
fn au_az_04_whatever_is_no_answer_denies() {
    let answers = [
        "[70, 1, {}]",
        "[70, 1, {}, [1]]",
        "[70, 1, {}, [\"true\"]]",
        "[70, 1, {}, [null]]",
        "[70, 1, {}, [true, true]]",
        "[70, 1, {}, [], {\"allow\":true}]",
        "[70, 1, {}, [{\"allow\":1}]]",
        "[70, 1, {}, [{\"allowed\":true}]]",
        "[70, 1, {}, [{\"allow\":true,\"cash\":true}]]",
        "[8, 68, 1, {}, \"com.oops\", [\"no\"]]",
        "[8, 68, 1, {}, \"wamp.error.unavailable\"]",
    ];
    for answer in answers {
        check(&format!(
            r#"join x a
               x -> REGISTER {{}} com.auth
               x <- REGISTERED 1 $r
               a -> PUBLISH {{"acknowledge":true}} com.asked.t [1]
               x <- INVOCATION 1 $r {{}} *
               x -> {answer}
               a <- ERROR 16 1 {{}} wamp.error.authorization_failed \
                *
               a -> PUBLISH {{}} com.asked.t [1]
               x <- INVOCATION 2 $r {{}} *
               x -> [8, 68, 2, {{}}, "com.oops"]
               a -> PUBLISH {{"acknowledge":true}} com.free
               a <- PUBLISHED 3 *"#
        ));
    }
}

/// An answer is decoded, so it is bounded.
#[test]
fn an_answer_that_is_too_large_denies() {
    let large = "x".repeat(66_000);
    check(&format!(
        r#"join x a
           x -> REGISTER {{}} com.auth
           x <- REGISTERED 1 $r
           a -> CALL {{}} com.asked.t [1]
           x <- INVOCATION 1 $r {{}} *
           x -> [70, 1, {{}}, [{{"allow":true,"validate":"{large}"}}]]
           a <- ERROR 48 1 {{}} wamp.error.authorization_failed *"#
    ));
}

/// Without a callee nobody waits; one that leaves, or takes too long, decides nothing.
#[test]
fn au_az_04_without_an_authorizer_everything_is_denied() {
    check_with(
        |settings| settings.timeouts.authorizer_ms = 3_000,
        r#"join x a
           a -> CALL {} com.asked.p
           a <- ERROR 48 1 {} wamp.error.authorization_failed *
           x -> REGISTER {} com.auth
           x <- REGISTERED 1 $r
           a -> CALL {} com.asked.p
           x <- INVOCATION 1 $r {} *
           wait 2000
           a -> PUBLISH {"acknowledge":true} com.asked.p
           wait 1001
           a <- ERROR 48 2 {} wamp.error.authorization_failed *
           x <- INVOCATION 2 $r {} *
           x -> [70, 1, {}, [true]]
           x -> [70, 2, {}, [true]]
           a <- PUBLISHED 3 *
           a -> CALL {} com.asked.p
           x <- INVOCATION 3 $r {} *
           x is lost
           a <- ERROR 48 4 {} wamp.error.authorization_failed *"#,
    );
}

/// A question that is given up is interrupted, as any call is.
#[test]
fn an_authorizer_that_can_be_interrupted_is() {
    let kill = Permission {
        uri: "wamp.session.kill".into(),
        allow: vec![Action::Call],
        ..Permission::default()
    };
    check_realm_with(
        |realm| realm.access = rules(vec![kill.clone()]),
        |settings| settings.timeouts.authorizer_ms = 3_000,
        r#"join fully x a b c
           x -> REGISTER {} com.auth
           x <- REGISTERED 1 $r
           a -> PUBLISH {"acknowledge":true} com.asked.p
           x <- INVOCATION 1 $r {} *
           b -> PUBLISH {"acknowledge":true} com.asked.p
           x <- INVOCATION 2 $r {} *
           c -> CALL {} wamp.session.kill [$id_b]
           c <- RESULT 1 {}
           b <- GOODBYE {} wamp.close.killed
           b -> GOODBYE {} wamp.close.goodbye_and_out
           b <- CLOSED 1000
           x <- INTERRUPT 2 {"mode":"killnowait"}
           wait 3001
           x <- INTERRUPT 1 {"mode":"killnowait"}
           a <- ERROR 16 1 {} wamp.error.authorization_failed *"#,
    );
}

/// `cache`: the answer holds for the same action, URI and match of the session, for a time.
#[test]
fn au_az_04_an_answer_is_remembered_if_it_says_so() {
    check_with(
        |settings| {
            settings.limits.authorizer_cache_ms = 60_000;
            settings.timeouts.ping_interval_ms = 0;
        },
        r#"join x a b
           x -> REGISTER {} com.auth
           x <- REGISTERED 1 $r
           a -> PUBLISH {"acknowledge":true} com.asked.t
           x <- INVOCATION 1 $r {} *
           x -> [70, 1, {}, [{"allow":true,"cache":true}]]
           a <- PUBLISHED 1 *
           a -> PUBLISH {"acknowledge":true} com.asked.t
           a <- PUBLISHED 2 *
           b -> PUBLISH {"acknowledge":true} com.asked.t
           x <- INVOCATION 2 $r {} *
           x -> [70, 2, {}, [{"allow":false,"cache":true}]]
           b <- ERROR 16 1 {} wamp.error.not_authorized *
           b -> PUBLISH {"acknowledge":true} com.asked.t
           b <- ERROR 16 2 {} wamp.error.not_authorized *
           a -> SUBSCRIBE {} com.asked.t
           x <- INVOCATION 3 $r {} *
           x -> [70, 3, {}, [{"allow":true,"cache":true}]]
           a <- SUBSCRIBED 3 *
           a -> SUBSCRIBE {"match":"prefix"} com.asked.t
           x <- INVOCATION 4 $r {} *
           x -> [70, 4, {}, [false]]
           a <- ERROR 32 4 {} wamp.error.not_authorized *
           wait 59000
           a -> PUBLISH {"acknowledge":true} com.asked.t
           a <- PUBLISHED 5 *
           wait 1001
           a -> PUBLISH {"acknowledge":true} com.asked.t
           x <- INVOCATION 5 $r {} *
           x -> [70, 5, {}, [{"allow":true,"cache":false}]]
           a <- PUBLISHED 6 *
           a -> PUBLISH {"acknowledge":true} com.asked.t
           x <- INVOCATION 6 $r {} *
           x -> [70, 6, {}, [{"allow":true,"cache":true,"ttl":2}]]
           a <- PUBLISHED 7 *
           wait 1999
           a -> PUBLISH {"acknowledge":true} com.asked.t
           a <- PUBLISHED 8 *
           wait 1
           a -> PUBLISH {"acknowledge":true} com.asked.t
           x <- INVOCATION 7 $r {} *
           x -> [70, 7, {}, [true]]
           a <- PUBLISHED 9 *"#,
    );
}

/// `disclose`: whoever calls or publishes becomes known, also where the realm forbids it.
#[test]
fn au_az_04_an_answer_may_disclose() {
    check_on(
        |realm| {
            realm.publisher_disclosure = PublisherDisclosure::Forbid;
            realm.caller_disclosure = CallerDisclosure::Forbid;
        },
        r#"join x a b
           x -> REGISTER {} com.auth
           x <- REGISTERED 1 $r
           b -> SUBSCRIBE {} com.asked.t
           x <- INVOCATION 1 $r {} *
           x -> [70, 1, {}, [true]]
           b <- SUBSCRIBED 1 $s
           b -> REGISTER {} com.asked.p
           x <- INVOCATION 2 $r {} *
           x -> [70, 2, {}, [true]]
           b <- REGISTERED 2 $p
           a -> PUBLISH {} com.asked.t
           x <- INVOCATION 3 $r {} *
           x -> [70, 3, {}, [{"allow":true,"disclose":true}]]
           b <- EVENT $s * {"publisher":$id_a,"publisher_authid":$authid_a,\
            "publisher_authrole":"anonymous"}
           a -> CALL {"disclose_me":true} com.asked.p
           x <- INVOCATION 4 $r {} *
           x -> [70, 4, {}, [{"allow":true,"disclose":true}]]
           b <- INVOCATION 1 $p {"caller":$id_a,"caller_authid":$authid_a,\
            "caller_authrole":"anonymous"}
           b -> [70, 1, {}]
           a <- RESULT 2 {}
           a -> CALL {"disclose_me":true} com.asked.p
           x <- INVOCATION 5 $r {} *
           x -> [70, 5, {}, [true]]
           a <- ERROR 48 3 {} wamp.error.option_disallowed.disclose_me *"#,
    );
}

/// Rules decide first: the authorizer is asked where its rule is the most specific one.
#[test]
fn rules_that_are_more_specific_decide_themselves() {
    use Action::{Publish, Subscribe};
    let deny = Permission {
        uri: "com.asked.secret".into(),
        deny: vec![Publish, Subscribe],
        ..Permission::default()
    };
    let allow = Permission {
        uri: "com.asked.open".into(),
        allow: vec![Publish],
        disclose: vec![Disclosure::Publisher],
        ..Permission::default()
    };
    let other = Permission {
        authorizer: Some("com.other".into()),
        ..ask("com.asked.other.", Prefix, &[Subscribe])
    };
    check_with_rules(
        &[deny, allow, other],
        r#"join x a
           x -> REGISTER {} com.auth
           x <- REGISTERED 1 $r
           x -> REGISTER {} com.other
           x <- REGISTERED 2 $o
           a -> PUBLISH {"acknowledge":true} com.asked.secret
           a <- ERROR 16 1 {} wamp.error.not_authorized *
           a -> PUBLISH {"acknowledge":true} com.asked.open
           a <- PUBLISHED 2 *
           a -> SUBSCRIBE {"match":"prefix"} com.asked.
           a <- ERROR 32 3 {} wamp.error.not_authorized *
           a -> SUBSCRIBE {"match":"prefix"} com.asked.o
           a <- ERROR 32 4 {} wamp.error.not_authorized *
           a -> SUBSCRIBE {"match":"prefix"} com.
           a <- ERROR 32 5 {} wamp.error.not_authorized *
           a -> SUBSCRIBE {"match":"prefix"} com.asked.other.
           x <- INVOCATION 1 $o {} [*,"com.asked.other.","subscribe",{"match":"prefix"}]
           x -> [70, 1, {}, [true]]
           a <- SUBSCRIBED 6 *"#,
    );
}

/// Partial results of an authorizer are none.
#[test]
fn a_partial_answer_decides_nothing() {
    check(
        r#"join fully x a
           x -> REGISTER {} com.auth
           x <- REGISTERED 1 $r
           a -> PUBLISH {"acknowledge":true} com.asked.t
           x <- INVOCATION 1 $r {} *
           x -> [70, 1, {"progress":true}, [true]]
           x -> [70, 1, {}, [false]]
           a <- ERROR 16 1 {} wamp.error.not_authorized *"#,
    );
}

/// The router's own procedures are asked about as others are, and so is what they do.
#[test]
fn procedures_of_the_router_are_asked_about() {
    use Action::{Call, Subscribe};
    check_with_rules(
        &[ask("wamp.session.", Prefix, &[Call, Subscribe])],
        r#"join fully x a b
           x -> REGISTER {} com.auth
           x <- REGISTERED 1 $r
           a -> CALL {} wamp.session.count
           x <- INVOCATION 1 $r {} [*,"wamp.session.count","call",*]
           x -> [70, 1, {}, [true]]
           a <- RESULT 1 {} [3]
           a -> CALL {"progress":true} wamp.session.count
           x <- INVOCATION 2 $r {} *
           x -> [70, 2, {}, [true]]
           a <- RESULT 2 {} [3]
           a -> CALL {} wamp.session.kill [$id_b]
           x <- INVOCATION 3 $r {} *
           x -> [70, 3, {}, [false]]
           a <- ERROR 48 3 {} wamp.error.not_authorized *
           a -> CALL {} wamp.session.kill [$id_b]
           x <- INVOCATION 4 $r {} *
           x -> [70, 4, {}, [true]]
           a <- RESULT 4 {}
           b <- GOODBYE {} wamp.close.killed
           a -> SUBSCRIBE {} wamp.session.on_join
           x <- INVOCATION 5 $r {} [*,"wamp.session.on_join","subscribe",*]
           x -> [70, 5, {}, [true]]
           a <- SUBSCRIBED 5 *"#,
    );
}

/// A testament is decided about when it is left, twice if its procedure is, too: later nobody can
/// be asked about its session.
#[test]
fn au_az_04_a_testament_is_asked_about_when_it_is_left() {
    check_with_rules(
        &[ask("wamp.session.add_testament", Exact, &[Action::Call])],
        r#"join x a b
           x -> REGISTER {} com.auth
           x <- REGISTERED 1 $r
           b -> SUBSCRIBE {"match":"prefix"} com.asked.
           x <- INVOCATION 1 $r {} *
           x -> [70, 1, {}, [true]]
           b <- SUBSCRIBED 1 $s
           a -> CALL {} wamp.session.add_testament ["com.asked.1",[1],{}] \
            {"publish_options":{"retain":true}}
           x <- INVOCATION 2 $r {} [*,"wamp.session.add_testament","call",*]
           x -> [70, 2, {}, [true]]
           x <- INVOCATION 3 $r {} [*,"com.asked.1","publish",{"retain":true,"match":"exact"}]
           x -> [70, 3, {}, [{"allow":true,"disclose":true}]]
           a <- RESULT 1 {}
           a -> CALL {} wamp.session.add_testament ["com.asked.2",[2],{}]
           x <- INVOCATION 4 $r {} [*,"wamp.session.add_testament","call",*]
           x -> [70, 4, {}, [true]]
           x <- INVOCATION 5 $r {} [*,"com.asked.2","publish",*]
           x -> [70, 5, {}, [false]]
           a <- ERROR 48 2 {} wamp.error.not_authorized *
           a is lost
           b <- EVENT $s * {"topic":"com.asked.1","publisher":$id_a,"publisher_authid":$authid_a,\
            "publisher_authrole":"anonymous"} [1]"#,
    );
}

/// Who may not subscribe may not read a history; the authorizer says it of both.
#[test]
fn histories_are_asked_about_as_subscriptions() {
    use stentor::router::HistorySettings;
    check_on(
        |realm| {
            let topic = "com.asked.h".into();
            realm.histories = vec![HistorySettings { topic, ..HistorySettings::default() }];
        },
        r#"join x a
           x -> REGISTER {} com.auth
           x <- REGISTERED 1 $r
           a -> PUBLISH {} com.asked.h [1]
           x <- INVOCATION 1 $r {} *
           x -> [70, 1, {}, [true]]
           a -> PUBLISH {} com.asked.h [2]
           x <- INVOCATION 2 $r {} *
           x -> [70, 2, {}, [false]]
           a -> CALL {} wamp.subscription.lookup ["com.asked.h"]
           a <- RESULT 3 {} [$h]
           a -> CALL {} wamp.subscription.get_events [$h]
           x <- INVOCATION 3 $r {} [*,"com.asked.h","subscribe",*]
           x -> [70, 3, {}, [false]]
           a <- ERROR 48 4 {} wamp.error.not_authorized *
           a -> CALL {} wamp.subscription.get_events [$h]
           x <- INVOCATION 4 $r {} *
           x -> [70, 4, {}, [true]]
           a <- RESULT 5 {} [*] *"#,
    );
}
