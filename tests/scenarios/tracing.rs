//! What traces say of messages, in dialogues. What they cost stands in `tracing_bounds.rs`.

use stentor::authorization::{Access, Action, Permission, RoleSettings};
use stentor::limits::SlowConsumerPolicy;
use stentor::wamp::MatchPolicy::Prefix;

use super::authorizers::rules;
use super::dialogue::{check, check_realm, check_with};

/// Each message of a session in both directions, and what was decided without any rules.
#[test]
fn a_session_is_traced_both_ways() {
    check(
        r#"join a b
           trace {"session":$id_a}
           a -> SUBSCRIBE {"match":"prefix"} com.x
           a <- SUBSCRIBED 1 $s
           a -> PUBLISH {"acknowledge":true,"exclude_me":false} com.x.y [1]
           a <- PUBLISHED 2 $p
           a <- EVENT $s $p {"topic":"com.x.y"} [1]
           b -> PUBLISH {} com.x.z [2]
           a <- EVENT $s $q {"topic":"com.x.z"} [2]
           b -> PUBLISH {} org.x [3]
           a -> UNSUBSCRIBE $s
           a <- UNSUBSCRIBED 3
           a -> UNSUBSCRIBE $s
           a <- ERROR 34 4 {} wamp.error.no_such_subscription ...
           a -> GOODBYE {} wamp.close.normal
           a <- GOODBYE {} wamp.close.goodbye_and_out
           traced in subscribe {"session":$id_a,"authid":$authid_a,"realm":"realm1","request":1, \
            "uri":"com.x","match":"prefix","decision":"granted","rule":null,"again":null}
           traced out subscribed {"session":$id_a,"request":1,"uri":"com.x","subscription":$s}
           traced in publish {"request":2,"uri":"com.x.y","decision":"granted","receivers":1, \
            "publication":$p,"error":null,"payload":null}
           traced out published {"request":2,"uri":"com.x.y","publication":$p}
           traced out event {"subscription":$s,"publication":$p,"uri":"com.x.y","payload":null}
           traced out event {"subscription":$s,"publication":$q,"uri":"com.x.z","dropped":null}
           traced in unsubscribe {"request":3,"uri":"com.x","subscription":$s,"decision":null}
           traced out unsubscribed {"request":3}
           traced in unsubscribe {"request":4,"decision":"refused", \
            "error":"wamp.error.no_such_subscription"}
           traced out error {"request":4,"error":"wamp.error.no_such_subscription"}
           traced in goodbye {"error":"wamp.close.normal","session":$id_a,"decision":null}
           traced out goodbye {"error":"wamp.close.goodbye_and_out","session":$id_a}
           traced nothing"#,
    );
}

/// A URI is followed through a call, on every shard that it comes by.
#[test]
fn a_procedure_is_traced_from_call_to_result() {
    check(
        r#"join fully a b c
           trace {"uri":"com.add"}
           b -> REGISTER {} com.add
           b <- REGISTERED 1 $r
           a -> CALL {} com.add [1,2]
           b <- INVOCATION 1 $r {} [1,2]
           b -> [70, 1, {}, [3]]
           a <- RESULT 1 {} [3]
           a -> CALL {} com.add [1]
           b <- INVOCATION 2 $r {} [1]
           a -> CANCEL #2 {"mode":"kill"}
           b <- INTERRUPT 2 *
           b -> [8, 68, 2, {}, "wamp.error.canceled"]
           a <- ERROR 48 2 {} wamp.error.canceled
           b -> [70, 2, {}, [3]]
           a -> CANCEL #2 {"mode":"kill"}
           c -> CALL {} com.nothing
           c <- ERROR 48 1 {} wamp.error.no_such_procedure ...
           c -> CALL {} com.addition
           c <- ERROR 48 2 {} wamp.error.no_such_procedure ...
           b -> UNREGISTER $r
           b <- UNREGISTERED 2
           traced in register {"session":$id_b,"uri":"com.add","decision":"granted"}
           traced out registered {"session":$id_b,"request":1,"registration":$r}
           traced in call {"session":$id_a,"request":1,"decision":"granted","callee":$id_b}
           traced out invocation {"session":$id_b,"request":1,"registration":$r,"uri":"com.add"}
           traced in yield {"session":$id_b,"request":1,"uri":"com.add","decision":null}
           traced out result {"session":$id_a,"request":1,"uri":"com.add"}
           traced in call {"session":$id_a,"request":2,"decision":"granted","callee":$id_b}
           traced out invocation {"session":$id_b,"request":2}
           traced in cancel {"session":$id_a,"request":2,"uri":"com.add","decision":null}
           traced out interrupt {"session":$id_b,"request":2,"uri":"com.add"}
           traced in error {"session":$id_b,"request":2,"error":"wamp.error.canceled"}
           traced out error {"session":$id_a,"request":2,"error":"wamp.error.canceled"}
           traced in yield {"session":$id_b,"request":2,"decision":"ignored"}
           traced in cancel {"session":$id_a,"request":2,"decision":"ignored"}
           traced in call {"session":$id_c,"request":2,"uri":"com.addition", \
            "decision":"refused","error":"wamp.error.no_such_procedure","callee":null}
           traced out error {"session":$id_c,"request":2,"uri":"com.addition"}
           traced in unregister {"session":$id_b,"uri":"com.add","registration":$r}
           traced out unregistered {"session":$id_b,"request":2}
           traced nothing"#,
    );
}

/// Further chunks and partial results.
#[test]
fn a_progressive_call_is_traced() {
    check(
        r#"join fully a b
           b -> REGISTER {} com.add
           b <- REGISTERED 1 $r
           trace {"session":$id_a}
           a -> CALL {"progress":true,"receive_progress":true} com.add [1]
           b <- INVOCATION 1 $r {"progress":true,"receive_progress":true} [1]
           a -> CALL #1 {"receive_progress":true} com.add [2]
           b <- INVOCATION 1 $r * [2]
           b -> [70, 1, {"progress":true}, [3]]
           a <- RESULT 1 {"progress":true} [3]
           b -> [70, 1, {}, [4]]
           a <- RESULT 1 {} [4]
           traced in call {"request":1,"decision":"granted","callee":$id_b}
           traced in call {"request":1,"decision":"continued","callee":$id_b}
           traced out result {"request":1,"uri":"com.add"}
           traced out result {"request":1,"uri":"com.add"}
           traced nothing"#,
    );
}

/// Which rule has decided, whether there is an answer or not.
#[test]
fn decisions_are_said_with_their_rule() {
    let allow = |uri: &str, line| Permission {
        uri: uri.into(),
        policy: Prefix,
        allow: vec![Action::Publish, Action::Call],
        line,
        ..Permission::default()
    };
    let deny = Permission {
        uri: "com.secret".into(),
        deny: vec![Action::Publish],
        line: Some(12),
        ..Permission::default()
    };
    let permissions = vec![allow("com.", Some(7)), deny];
    let access = Access::Roles(vec![RoleSettings::new("anonymous", permissions)]);
    check_realm(
        |realm| realm.access = access.clone(),
        r#"join a
           trace {"session":$id_a}
           a -> PUBLISH {} com.open
           a -> PUBLISH {} com.secret
           a -> PUBLISH {"acknowledge":true} com.secret
           a <- ERROR 16 3 {} wamp.error.not_authorized ...
           a -> PUBLISH {} org.x
           a -> PUBLISH {} com..x
           a -> SUBSCRIBE {} com.x
           a <- ERROR 32 6 {} wamp.error.not_authorized ...
           a -> CALL {} com.nothing
           a <- ERROR 48 7 {} wamp.error.no_such_procedure ...
           traced in publish {"request":1,"decision":"granted","receivers":0, \
            "authrole":"anonymous","rule":{"uri":"com.","match":"prefix","line":7, \
            "is_admin":false,"authorizer":null}}
           traced in publish {"request":2,"decision":"denied","error":"wamp.error.not_authorized", \
            "rule":{"uri":"com.secret","match":"exact","line":12,"is_admin":false, \
            "authorizer":null},"receivers":null,"publication":null}
           traced in publish {"request":3,"decision":"denied"}
           traced out error {"request":3,"uri":"com.secret","error":"wamp.error.not_authorized"}
           traced in publish {"request":4,"decision":"denied","rule":null}
           traced in publish {"request":5,"decision":"refused","error":"wamp.error.invalid_uri", \
            "rule":null,"uri":"com..x"}
           traced in subscribe {"request":6,"decision":"denied","rule":null}
           traced out error {"request":6}
           traced in call {"request":7,"decision":"refused","rule":null}
           traced out error {"request":7}
           traced nothing"#,
    );
}

/// What waits for an authorizer is seen twice: when it is asked about, and when it is decided.
#[test]
fn what_an_authorizer_decides_is_asked_once_and_decided_once() {
    check_realm(
        |realm| realm.access = rules(Vec::new()),
        r#"join x a
           x -> REGISTER {} com.auth
           x <- REGISTERED 1 $r
           trace {"session":$id_a}
           a -> PUBLISH {} com.asked.t [1]
           traced in publish {"request":1,"uri":"com.asked.t","decision":"asked","again":null, \
            "rule":{"uri":"com.asked.","match":"prefix","line":null,"is_admin":false, \
            "authorizer":"com.auth"}}
           traced nothing
           x <- INVOCATION 1 $r {} ...
           x -> [70, 1, {}, [true]]
           traced in publish {"request":1,"decision":"granted","again":true,"receivers":0, \
            "rule":{"uri":"com.asked.","match":"prefix","line":null,"is_admin":false, \
            "authorizer":"com.auth"}}
           a -> CALL {} com.asked.p
           x <- INVOCATION 2 $r {} ...
           x -> [70, 2, {}, [false]]
           a <- ERROR 48 2 {} wamp.error.not_authorized ...
           traced in call {"request":2,"decision":"asked"}
           traced in call {"request":2,"decision":"denied","again":true}
           traced out error {"request":2,"uri":"com.asked.p"}
           traced nothing"#,
    );
}

/// Receivers are counted on all shards, and are those who get it.
#[test]
fn all_receivers_of_a_publication_are_counted() {
    check(
        r#"join a b c d
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 $s
           c -> SUBSCRIBE {} com.x
           c <- SUBSCRIBED 1 $s
           d -> SUBSCRIBE {"match":"prefix"} com
           d <- SUBSCRIBED 1 $t
           trace {"session":$id_a}
           a -> PUBLISH {} com.x
           b <- EVENT ...
           c <- EVENT ...
           d <- EVENT ...
           a -> PUBLISH {"exclude":[$id_c]} com.x
           b <- EVENT ...
           d <- EVENT ...
           traced in publish {"request":1,"receivers":3}
           traced in publish {"request":2,"receivers":2}
           traced nothing"#,
    );
}

/// Payload is there on request alone, cut, and the same for each serializer.
#[test]
fn payload_is_shown_on_request_and_cut() {
    check(
        r#"join a b
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 $s
           trace {"uri":"com."} payload 12
           a -> PUBLISH {} com.x [1,2] {"k":3}
           b <- EVENT ...
           a -> PUBLISH {} com.x ["aaaaaaaaaaaaaaaaaaa"]
           b <- EVENT ...
           traced in publish {"request":1,"payload":"[1,2] {\"k\":3","is_payload_cut":true}
           traced out event {"payload":"[1,2] {\"k\":3","is_payload_cut":true}
           traced in publish {"request":2,"payload":"[\"aaaaaaaaaa","is_payload_cut":true}
           traced out event {"payload":"[\"aaaaaaaaaa","is_payload_cut":true}
           a -> PUBLISH {} com.x [1]
           b <- EVENT ...
           traced in publish {"payload":"[1]","is_payload_cut":null}
           traced out event {"payload":"[1]","is_payload_cut":null}
           traced nothing"#,
    );
}

/// What is for the router itself may be a token, and is never shown.
#[test]
fn payload_of_the_routers_own_procedures_and_topics_is_not_shown() {
    check(
        r#"join a b
           trace {"realm":"realm1"} payload 4096
           a -> SUBSCRIBE {} wamp.session.on_leave
           a <- SUBSCRIBED 1 $s
           b -> CALL {} wamp.session.count [["anonymous"]]
           b <- RESULT 1 ...
           b -> CALL {} stentor.session.refresh ["ticket"]
           b <- ERROR 48 2 ...
           b -> GOODBYE {} wamp.close.normal
           b <- GOODBYE ...
           a <- EVENT ...
           traced in subscribe {}
           traced out subscribed {}
           traced in call {"uri":"wamp.session.count","payload":null,"decision":"granted"}
           traced out result {"uri":"wamp.session.count","payload":null}
           traced in call {"uri":"stentor.session.refresh","payload":null}
           traced out error {"uri":"stentor.session.refresh","payload":null}
           traced in goodbye {}
           traced out goodbye {}
           traced out event {"uri":"wamp.session.on_leave","payload":null}
           traced nothing"#,
    );
}

/// From HELLO on, by what a client says of itself.
#[test]
fn a_login_is_traced_by_realm_and_authid() {
    check(
        r#"trace {"realm":"realm2"}
           a -> HELLO realm2 {"roles":{"caller":{}}}
           a <- WELCOME $id *
           b -> HELLO realm1 {"roles":{"caller":{}}}
           b <- WELCOME * *
           c -> HELLO realm3 {"roles":{"caller":{}}}
           c <- ABORT * wamp.error.no_such_realm
           c <- CLOSED 1008
           a -> [16, 1]
           a <- ABORT * wamp.error.protocol_violation
           a <- CLOSED 1008
           traced in hello {"realm":"realm2","session":null}
           traced out welcome {"realm":"realm2","session":$id}
           traced in unreadable {"session":$id,"decision":"refused", \
            "error":"wamp.error.protocol_violation"}
           traced out abort {"session":$id,"error":"wamp.error.protocol_violation"}
           traced nothing
           trace {"realm":"realm3"}
           d -> HELLO realm3 {"roles":{"caller":{}},"authid":"joe"}
           d <- ABORT * wamp.error.no_such_realm
           d <- CLOSED 1008
           traced in hello {"realm":"realm3","authid":"joe"}
           traced out abort {"error":"wamp.error.no_such_realm"}
           traced nothing"#,
    );
}

/// By address.
#[test]
fn connections_are_traced_by_where_they_come_from() {
    check(
        r#"a comes from 10.0.0.1:5
           b comes from 192.0.2.1:5
           trace {"address":"10.0.0.0/8"}
           join a b
           traced in hello {"peer":"10.0.0.1:5","realm":"realm1"}
           traced out welcome {"session":$id_a,"authid":$authid_a}
           traced nothing"#,
    );
}

/// Events that a slow consumer does not get, and what comes of it.
#[test]
fn dropped_events_are_said_to_be() {
    let payload = "x".repeat(700);
    check_with(
        |settings| {
            settings.output.hard_bytes = 1_000;
            settings.output.policy = SlowConsumerPolicy::DropNewest;
        },
        &format!(
            r#"a via websocket
               join a b
               a -> SUBSCRIBE {{}} com.x
               a <- SUBSCRIBED 1 $s
               trace {{"session":$id_a}}
               a stalls
               b -> PUBLISH {{}} com.x [1,"{payload}"]
               b -> PUBLISH {{}} com.x [2,"{payload}"]
               a reads
               a <- EVENT $s * {{}} [1,"{payload}"]
               traced out event {{"dropped":null}}
               traced out event {{"dropped":"slow_consumer"}}
               traced nothing"#
        ),
    );
}

/// Nobody asks any more: the shards forget it by themselves.
#[test]
fn a_trace_that_nobody_asks_for_is_forgotten() {
    check(
        r#"join a
           trace {"session":$id_a}
           a -> PUBLISH {} com.x
           wait 6000
           a -> PUBLISH {} com.y
           traced nothing
           a -> PUBLISH {} com.z
           traced in publish {"uri":"com.z"}
           traced nothing"#,
    );
}
