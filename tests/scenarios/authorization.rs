//! Who may do what, by the rules of the session's role (requirements 2.11, AU-AZ).

use serde_json::json;
use stentor::authentication::AuthenticatorSettings;
use stentor::authorization::{Access, Action, Disclosure, Permission, RoleSettings};
use stentor::limits::TurnLimits;
use stentor::router::{
    CallerDisclosure, HistorySettings, PublisherDisclosure, RealmSettings, Settings,
};
use stentor::wamp::MatchPolicy::{self, Exact, Prefix, Wildcard};

use super::dialogue::{check, check_realm};
use super::peer::{Peer, pipeline};
use crate::support::{Network, Serializer};

fn permit(uri: &str, policy: MatchPolicy, allow: &[Action]) -> Permission {
    Permission { uri: uri.into(), policy, allow: allow.to_vec(), ..Permission::default() }
}

fn forbid(uri: &str, policy: MatchPolicy, deny: &[Action]) -> Permission {
    Permission { uri: uri.into(), policy, deny: deny.to_vec(), ..Permission::default() }
}

/// What everybody may do who joins a dialogue.
fn rules(permissions: Vec<Permission>) -> Access {
    Access::Roles(vec![RoleSettings::new("anonymous", permissions)])
}

/// Everybody may do everything, with this trust level.
pub(crate) fn trusted(level: u64) -> Access {
    let everything = vec![Permission::everything_below("")];
    let role = RoleSettings::new("anonymous", everything);
    Access::Roles(vec![RoleSettings { trustlevel: Some(level), ..role }])
}

fn check_rules(permissions: Vec<Permission>, dialogue: &str) {
    check_realm(|realm| realm.access = rules(permissions.clone()), dialogue);
}

/// AU-AZ-02: nothing is granted that no rule grants. AU-AZ-05: the error, and what it says.
#[test]
fn au_az_02_without_a_rule_everything_is_denied() {
    for access in [
        rules(Vec::new()),
        Access::Roles(Vec::new()),
        Access::Roles(vec![RoleSettings::new("backend", vec![Permission::everything_below("")])]),
    ] {
        check_realm(
            |realm| realm.access = access.clone(),
            r#"join a
               a -> PUBLISH {"acknowledge":true} com.x [1]
               a <- ERROR 16 1 {} wamp.error.not_authorized \
                ["the role \"anonymous\" may not publish to \"com.x\""]
               a -> PUBLISH {} com.x [1]
               a -> SUBSCRIBE {} com.x
               a <- ERROR 32 3 {} wamp.error.not_authorized \
                ["the role \"anonymous\" may not subscribe to \"com.x\""]
               a -> CALL {} com.x [1]
               a <- ERROR 48 4 {} wamp.error.not_authorized \
                ["the role \"anonymous\" may not call \"com.x\""]
               a -> REGISTER {} com.x
               a <- ERROR 64 5 {} wamp.error.not_authorized \
                ["the role \"anonymous\" may not register \"com.x\""]
               a -> CALL {} wamp.session.count
               a <- ERROR 48 6 {} wamp.error.not_authorized *
               a -> SUBSCRIBE {} wamp.session.on_join
               a <- ERROR 32 7 {} wamp.error.not_authorized *"#,
        );
    }
}

/// AU-AZ-02: a denial has no effect on anybody; what ends something needs no permission.
#[test]
fn au_az_02_each_action_is_granted_by_itself_and_what_ends_needs_no_permission() {
    use Action::{Call, Publish, Register, Subscribe};
    check_rules(
        vec![
            permit("com.topic", Exact, &[Subscribe]),
            permit("com.open.", Prefix, &[Publish, Subscribe]),
            permit("com.procedure", Exact, &[Register, Call]),
            permit("com.other", Exact, &[Register]),
        ],
        r#"join a b
           a -> SUBSCRIBE {} com.topic
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {} com.topic ["denied"]
           b -> PUBLISH {"acknowledge":true} com.topic ["denied"]
           b <- ERROR 16 2 {} wamp.error.not_authorized *
           a -> SUBSCRIBE {} com.open.x
           a <- SUBSCRIBED 2 $o
           b -> PUBLISH {} com.open.x ["granted"]
           a <- EVENT $o * {} ["granted"]
           a -> UNSUBSCRIBE $s
           a <- UNSUBSCRIBED 3
           a -> REGISTER {} com.procedure
           a <- REGISTERED 4 $r
           b -> CALL {} com.procedure [1]
           a <- INVOCATION 1 $r {} [1]
           a -> [70, 1, {}, [2]]
           b <- RESULT 4 {} [2]
           b -> CALL {} com.procedure [1]
           a <- INVOCATION 2 $r {} [1]
           b -> [49, 5, {}]
           b <- ERROR 48 5 {} wamp.error.canceled ...
           a -> UNREGISTER $r
           a <- UNREGISTERED 5
           a -> REGISTER {} com.other
           a <- REGISTERED 6 *
           b -> CALL {} com.other
           b <- ERROR 48 6 {} wamp.error.not_authorized *"#,
    );
}

/// An invalid URI is no question of permission, and what clients may never do stays so.
#[test]
fn what_is_wrong_by_itself_is_said_first() {
    check_rules(
        vec![Permission::everything_below("")],
        r#"join a
           a -> PUBLISH {"acknowledge":true} com..x
           a <- ERROR 16 1 {} wamp.error.invalid_uri *
           a -> REGISTER {} wamp.x
           a <- ERROR 64 2 {} wamp.error.invalid_uri *
           a -> CALL {} com.nobody
           a <- ERROR 48 3 {} wamp.error.no_such_procedure *
           a -> CALL {} wamp.no_such
           a <- ERROR 48 4 {} wamp.error.no_such_procedure *"#,
    );
}

/// AU-AZ-03: the most specific rule decides, for each action by itself.
#[test]
fn au_az_03_the_most_specific_rule_decides() {
    use Action::{Publish, Subscribe};
    check_rules(
        vec![
            permit("com.", Prefix, &[Publish, Subscribe]),
            forbid("com.app.", Prefix, &[Publish]),
            permit("com.app.news", Exact, &[Publish]),
            forbid("com..secret", Wildcard, &[Publish]),
            permit("org..news", Wildcard, &[Publish]),
            forbid("org.app.", Prefix, &[Publish]),
        ],
        r#"join a b
           a -> SUBSCRIBE {} com.app.x
           a <- SUBSCRIBED 1 *
           b -> PUBLISH {"acknowledge":true} com.x
           b <- PUBLISHED 1 *
           b -> PUBLISH {"acknowledge":true} com.app.x
           b <- ERROR 16 2 {} wamp.error.not_authorized *
           b -> PUBLISH {"acknowledge":true} com.app.news
           b <- PUBLISHED 3 *
           b -> PUBLISH {"acknowledge":true} com.b.secret
           b <- PUBLISHED 4 *
           b -> PUBLISH {"acknowledge":true} org.b.news
           b <- PUBLISHED 5 *
           b -> PUBLISH {"acknowledge":true} org.app.news
           b <- ERROR 16 6 {} wamp.error.not_authorized *
           b -> PUBLISH {"acknowledge":true} org.news
           b <- ERROR 16 7 {} wamp.error.not_authorized *"#,
    );
}

/// AU-AZ-03, pitfall 6: a grant covers the whole pattern, and nothing in it is denied.
#[test]
fn au_az_03_a_pattern_is_granted_as_a_whole_or_not_at_all() {
    use Action::{Register, Subscribe};
    check_rules(
        vec![
            permit("com.app", Exact, &[Subscribe]),
            permit("com.shop.", Prefix, &[Subscribe, Register]),
            forbid("com.shop.eu.till", Exact, &[Subscribe]),
            forbid("com.shop.us.vault.", Prefix, &[Register]),
        ],
        r#"join a
           a -> SUBSCRIBE {"match":"prefix"} com.app
           a <- ERROR 32 1 {} wamp.error.not_authorized *
           a -> SUBSCRIBE {"match":"wildcard"} com.
           a <- ERROR 32 2 {} wamp.error.not_authorized *
           a -> SUBSCRIBE {"match":"prefix"} com.shop.
           a <- ERROR 32 3 {} wamp.error.not_authorized *
           a -> SUBSCRIBE {"match":"wildcard"} com.shop.eu.
           a <- ERROR 32 4 {} wamp.error.not_authorized *
           a -> SUBSCRIBE {"match":"prefix"} com.shop.us.
           a <- SUBSCRIBED 5 *
           a -> SUBSCRIBE {"match":"wildcard"} com.shop..x
           a <- SUBSCRIBED 6 *
           a -> SUBSCRIBE {} com.shop.eu.x
           a <- SUBSCRIBED 7 *
           a -> REGISTER {"match":"wildcard"} com..x
           a <- ERROR 64 8 {} wamp.error.not_authorized *
           a -> REGISTER {"match":"prefix"} com.shop.u
           a <- ERROR 64 9 {} wamp.error.not_authorized *
           a -> REGISTER {"match":"wildcard"} com.shop...x
           a <- ERROR 64 10 {} wamp.error.not_authorized *
           a -> REGISTER {"match":"prefix"} com.shop.eu.
           a <- REGISTERED 11 *"#,
    );
}

/// What was decided is remembered by action, URI and match: none of them answers for another.
#[test]
fn a_remembered_decision_is_of_one_action_uri_and_match() {
    use Action::{Publish, Subscribe};
    check_rules(
        vec![permit("com.a", Exact, &[Publish]), permit("com.b", Exact, &[Subscribe])],
        r#"join a
           a -> PUBLISH {"acknowledge":true} com.a
           a <- PUBLISHED 1 *
           a -> PUBLISH {"acknowledge":true} com.a
           a <- PUBLISHED 2 *
           a -> PUBLISH {"acknowledge":true} com.b
           a <- ERROR 16 3 {} wamp.error.not_authorized *
           a -> SUBSCRIBE {} com.a
           a <- ERROR 32 4 {} wamp.error.not_authorized *
           a -> SUBSCRIBE {} com.b
           a <- SUBSCRIBED 5 $s
           a -> SUBSCRIBE {"match":"prefix"} com.b
           a <- ERROR 32 6 {} wamp.error.not_authorized *
           a -> SUBSCRIBE {"match":"prefix"} com.b
           a <- ERROR 32 7 {} wamp.error.not_authorized *
           a -> SUBSCRIBE {} com.b
           a <- SUBSCRIBED 8 $s
           a -> CALL {} com.a
           a <- ERROR 48 9 {} wamp.error.not_authorized *"#,
    );
}

/// AU-AZ-02, AP-SMA-07: meta procedures and topics are URIs like others; what ends others must be
/// named by a rule, or stand in `admin_roles`.
#[test]
fn meta_procedures_and_topics_need_permissions_like_others() {
    use Action::{Call, Subscribe};
    check_rules(
        vec![
            permit("wamp.session.count", Exact, &[Call]),
            permit("wamp.session.on_leave", Exact, &[Subscribe]),
            permit("wamp.session.kill", Exact, &[Call]),
        ],
        r#"join a b
           a -> CALL {} wamp.session.count
           a <- RESULT 1 {} [2]
           a -> CALL {} wamp.session.list
           a <- ERROR 48 2 {} wamp.error.not_authorized *
           a -> SUBSCRIBE {} wamp.session.on_join
           a <- ERROR 32 3 {} wamp.error.not_authorized *
           a -> SUBSCRIBE {} wamp.session.on_leave
           a <- SUBSCRIBED 4 $l
           a -> CALL {} wamp.session.kill_all
           a <- ERROR 48 5 {} wamp.error.not_authorized *
           a -> CALL {} wamp.session.kill [$id_b]
           a <- RESULT 6 {}
           b <- GOODBYE {} wamp.close.killed
           a <- EVENT $l * {} [$id_b,$authid_b,"anonymous"]"#,
    );
    let everything = rules(vec![Permission::everything_below("")]);
    let kill = "join a b\n a -> CALL {} wamp.session.kill [$id_b]\n";
    let denied = format!("{kill} a <- ERROR 48 1 {{}} wamp.error.not_authorized *");
    check_realm(|realm| realm.access = everything.clone(), &denied);
    check_realm(
        |realm| {
            realm.access = everything.clone();
            realm.admin_roles = vec!["anonymous".into()];
        },
        &format!("{kill} a <- RESULT 1 {{}}\n b <- GOODBYE {{}} wamp.close.killed"),
    );
}

/// AU-AZ-02: a testament is a publication: what may not be published cannot be left.
#[test]
fn a_testament_needs_the_permission_to_publish_it() {
    use Action::{Call, Publish, Subscribe};
    check_rules(
        vec![
            permit("wamp.session.add_testament", Exact, &[Call]),
            permit("com.", Prefix, &[Subscribe]),
            permit("com.will", Exact, &[Publish]),
        ],
        r#"join a b
           a -> SUBSCRIBE {"match":"prefix"} com.
           a <- SUBSCRIBED 1 $s
           b -> CALL {} wamp.session.add_testament ["com.other",[1],{}]
           b <- ERROR 48 1 {} wamp.error.not_authorized \
            ["the role \"anonymous\" may not publish to \"com.other\""]
           b -> CALL {} wamp.session.add_testament ["com.will",[2],{}]
           b <- RESULT 2 {}
           b is lost
           a <- EVENT $s * {"topic":"com.will"} [2]"#,
    );
}

/// Who may not subscribe to a topic may not read its history either.
#[test]
fn a_history_is_for_those_who_may_subscribe() {
    use Action::{Call, Publish, Subscribe};
    let history = |topic: &str| HistorySettings { topic: topic.into(), ..Default::default() };
    let permissions = [
        permit("wamp.subscription.", Prefix, &[Call]),
        permit("com.", Prefix, &[Publish]),
        permit("com.y", Exact, &[Subscribe]),
    ];
    check_realm(
        |realm| {
            realm.access = rules(permissions.to_vec());
            realm.histories = if realm.name == "realm1" {
                vec![history("com.x"), history("com.y")]
            } else {
                Vec::new()
            };
        },
        r#"join a b
           a -> PUBLISH {} com.x [1]
           a -> PUBLISH {} com.y [2]
           b -> CALL {} wamp.subscription.get_events [1]
           b <- ERROR 48 1 {} wamp.error.not_authorized \
            ["the role \"anonymous\" may not subscribe to \"com.x\""]
           b asks 2 {} and gets [2] complete"#,
    );
}

/// A rule discloses, whatever the realm and the client say; and its realm allows to ask for it.
#[test]
fn a_rule_discloses_the_publisher() {
    let forbidding = |realm: &mut RealmSettings| {
        let open = Permission {
            disclose: vec![Disclosure::Publisher],
            ..permit("com.open", Exact, &[Action::Publish])
        };
        let permissions = vec![Permission::everything_below("com."), open];
        realm.access = rules(permissions);
        realm.publisher_disclosure = PublisherDisclosure::Forbid;
    };
    check_realm(
        forbidding,
        r#"join a b
           a -> SUBSCRIBE {"match":"prefix"} com.
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {} com.open
           a <- EVENT $s * {"publisher":$id_b,"publisher_authid":$authid_b,\
            "publisher_authrole":"anonymous","topic":"com.open"}
           b -> PUBLISH {"disclose_me":true,"acknowledge":true} com.open
           a <- EVENT $s $p {"publisher":$id_b,"publisher_authid":$authid_b,\
            "publisher_authrole":"anonymous","topic":"com.open"}
           b <- PUBLISHED 2 $p
           b -> PUBLISH {} com.shut
           a <- EVENT $s * {"topic":"com.shut"}
           b -> PUBLISH {"disclose_me":true,"acknowledge":true} com.shut
           b <- ERROR 16 4 {} wamp.error.option_disallowed.disclose_me *"#,
    );
}

#[test]
fn a_rule_discloses_the_caller() {
    let forbidding = |realm: &mut RealmSettings| {
        let open = Permission {
            disclose: vec![Disclosure::Caller],
            ..permit("com.open", Exact, &[Action::Call])
        };
        realm.access = rules(vec![Permission::everything_below("com."), open]);
        realm.caller_disclosure = CallerDisclosure::Forbid;
    };
    check_realm(
        forbidding,
        r#"join a b
           a -> REGISTER {} com.open
           a <- REGISTERED 1 $o
           a -> REGISTER {} com.shut
           a <- REGISTERED 2 $r
           b -> CALL {} com.open
           a <- INVOCATION 1 $o {"caller":$id_b,"caller_authid":$authid_b,\
            "caller_authrole":"anonymous"}
           b -> CALL {} com.shut
           a <- INVOCATION 2 $r {}
           b -> CALL {"disclose_me":true} com.shut
           b <- ERROR 48 3 {} wamp.error.option_disallowed.disclose_me *"#,
    );
}

/// AP-PTL-01, AP-CTL-01: a rule's own level, else its role's; announced where there is one.
#[test]
fn a_rule_has_its_own_trust_level() {
    let leveled = |realm: &mut RealmSettings| {
        realm.access = trusted(1);
        let Access::Roles(roles) = &mut realm.access else { unreachable!() };
        let high = permit("com.high", Exact, &[Action::Publish, Action::Call]);
        roles[0].permissions.push(Permission { trustlevel: Some(7), ..high });
    };
    check_realm(
        leveled,
        r#"join a b
           a sees broker publication_trustlevels
           a sees dealer call_trustlevels
           a -> SUBSCRIBE {"match":"prefix"} com.
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {} com.high
           a <- EVENT $s * {"trustlevel":7,"topic":"com.high"}
           b -> PUBLISH {} com.low
           a <- EVENT $s * {"trustlevel":1,"topic":"com.low"}
           a -> REGISTER {} com.high
           a <- REGISTERED 2 $r
           b -> CALL {} com.high
           a <- INVOCATION 1 $r {"trustlevel":7}"#,
    );
    let without = "join a\n a sees no broker publication_trustlevels";
    check_rules(vec![Permission::everything_below("")], without);
    check(without);
}

/// AU-GEN-04: who proves to be somebody whose role the realm does not have is nobody there.
#[test]
fn au_gen_04_a_role_that_the_realm_does_not_have_does_not_join() {
    check_realm(
        |realm| realm.access = Access::Roles(vec![RoleSettings::new("backend", Vec::new())]),
        r#"a connects
           a -> HELLO realm1 {"roles":{"publisher":{}}}
           a <- ABORT * wamp.error.no_such_role"#,
    );
}

/// Only the smallest peers are close to the limit, and the sentence is bounded for them.
#[test]
fn a_denial_fits_the_smallest_peer() {
    let long = "x".repeat(200);
    check_realm(
        |realm| {
            realm.access = rules(Vec::new());
            realm.authenticators = vec![AuthenticatorSettings::anonymous("r".repeat(100))];
        },
        &format!(
            "a via rawsocket 1024
             a connects
             a -> HELLO realm1 {{\"roles\":{{\"publisher\":{{}}}}}}
             a <- WELCOME * *
             a -> PUBLISH {{\"acknowledge\":true}} com.{long}
             a <- ERROR 16 1 {{}} wamp.error.not_authorized *"
        ),
    );
}

/// The costliest question: wildcards, of which each is compared with all rules that deny. Many in
/// one read are many steps, as what they cost is counted, and none is remembered for the next.
#[test]
fn costly_decisions_are_charged_to_who_asks() {
    let denials = (0..9_000).map(|n| forbid(&format!("com.a.n{n}"), Exact, &[Action::Subscribe]));
    let granted = permit("com.", Prefix, &[Action::Subscribe, Action::Publish]);
    let access = rules(denials.chain([granted]).collect());
    let realm = RealmSettings { access, ..RealmSettings::default() };
    let mut network = Network::new(Settings::default(), vec![realm], 1);
    let mut greedy = Peer::join(&mut network, 0, Serializer::Json);
    let mut other = Peer::join(&mut network, 0, Serializer::Json);
    let subscribe =
        |request| json!([32, request, {"match": "wildcard"}, format!("com..x{request}")]);
    pipeline(&mut network, &greedy, (1..=200).map(subscribe));
    other.say(&mut network, &json!([16, 1, {"acknowledge": true}, "com.b"]));
    network.take_in(0);
    network.give_out(0, true);
    assert_eq!(other.read(&mut network)[0][0], 17, "others are served in the same turn");
    network.settle();
    let limit = u64::from(TurnLimits::default().step_units) + 2 * 9_000;
    let longest = network.shard(0).longest_step();
    assert!((9_000..=limit).contains(&longest), "{longest} units in a step");
    let heard = greedy.hear(&mut network);
    assert!(heard.len() == 200 && heard.iter().all(|message| message[0] == 33), "all are granted");
}
