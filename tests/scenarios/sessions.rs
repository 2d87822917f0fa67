//! Opening and closing sessions (requirements 1.3.2).

use super::dialogue::{check, check_with};

/// BP-SES-01, BP-SES-06, BP-SES-07, BP-SES-08
#[test]
fn hello_is_answered_by_welcome() {
    check(
        r#"a -> HELLO realm1 {"roles":{"caller":{}}}
           a <- WELCOME $session $details"#,
    );
}

/// BP-SES-03, BP-MOD-06
#[test]
fn unknown_details_roles_and_features_are_ignored() {
    check(
        r#"a -> HELLO realm1 {"roles":{"caller":{"features":{"flying":true}},"poet":{}},"shoe":42}
           a <- WELCOME * *"#,
    );
}

/// BP-SES-02
#[test]
fn hello_needs_a_role() {
    for roles in ["{}", r#"{"roles":{}}"#, r#"{"roles":{"poet":{}}}"#, r#"{"roles":[]}"#] {
        check(&format!(
            "a -> HELLO realm1 {roles}
             a <- ABORT * wamp.error.protocol_violation
             a <- CLOSED 1008"
        ));
    }
}

/// BP-SES-04
#[test]
fn an_unknown_realm_is_refused() {
    check(
        r#"a -> HELLO com.elsewhere {"roles":{"caller":{}}}
           a <- ABORT * wamp.error.no_such_realm
           a <- CLOSED 1008"#,
    );
}

/// BP-SES-04
#[test]
fn a_null_realm_is_refused() {
    check(
        r#"a -> HELLO null {"roles":{"caller":{}}}
           a <- ABORT * wamp.error.no_such_realm
           a <- CLOSED 1008"#,
    );
}

/// BP-URI-06
#[test]
fn a_realm_must_be_a_uri() {
    for realm in ["com..x", "\"com.my realm\"", "\"\"", "\"#\"", "realm1."] {
        check(&format!(
            r#"a -> HELLO {realm} {{"roles":{{"caller":{{}}}}}}
               a <- ABORT * wamp.error.invalid_uri
               a <- CLOSED 1008"#
        ));
    }
}

/// BP-SES-03 (authmethods)
#[test]
fn an_authmethod_must_match() {
    check(
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket","wampcra"]}
           a <- ABORT * wamp.error.no_matching_auth_method
           a <- CLOSED 1008
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket","anonymous"]}
           b <- WELCOME * *"#,
    );
}

/// BP-SES-05
#[test]
fn a_second_hello_ends_the_session() {
    check(
        r#"join a
           a -> HELLO realm1 {"roles":{"caller":{}}}
           a <- ABORT * wamp.error.protocol_violation
           a <- CLOSED 1008"#,
    );
}

/// BP-SES-01, BP-SES-16, BP-PV-02
#[test]
fn nothing_comes_before_hello() {
    for message in [
        "GOODBYE {} wamp.close.close_realm",
        "SUBSCRIBE {} com.x",
        "UNSUBSCRIBE 1",
        "PUBLISH {} com.x",
        "REGISTER {} com.x",
        "UNREGISTER 1",
        "CALL {} com.x",
        "CANCEL 1 {}",
        "YIELD 1 {}",
        "ERROR 68 1 {} com.error.x",
        "AUTHENTICATE secret {}",
    ] {
        check(&format!(
            "a -> {message}
             a <- ABORT * wamp.error.protocol_violation
             a <- CLOSED 1008"
        ));
    }
}

/// BP-SES-10: an ABORT is never answered.
#[test]
fn abort_ends_everything_without_an_answer() {
    check(
        "a -> ABORT {} com.client.gives_up
         a <- CLOSED
         join b c
         b -> REGISTER {} com.p
         b <- REGISTERED 1 *
         c -> CALL {} com.p
         b <- INVOCATION 1 * {}
         b -> ABORT {} com.client.gives_up
         b <- CLOSED
         c <- ERROR 48 1 {} wamp.error.canceled *
         c -> CALL {} com.p
         c <- ERROR 48 2 {} wamp.error.no_such_procedure *",
    );
}

/// BP-SES-11, BP-SES-12, BP-ID-02: ids and counters start again.
#[test]
fn goodbye_is_answered_and_the_transport_used_again() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           a -> GOODBYE {"message":"bye"} wamp.close.normal
           a <- GOODBYE {} wamp.close.goodbye_and_out
           b -> PUBLISH {"acknowledge":true} com.x
           b <- PUBLISHED 1 *
           a -> HELLO realm2 {"roles":{"subscriber":{}}}
           a <- WELCOME * *
           a -> SUBSCRIBE {} com.y
           a <- SUBSCRIBED 1 *"#,
    );
}

/// BP-SES-11, BP-SES-12: pipelined without waiting for any answer.
#[test]
fn hello_may_follow_goodbye_at_once() {
    check(
        r#"join a
           a -> GOODBYE {} wamp.close.normal
           a -> HELLO realm1 {"roles":{"publisher":{}}}
           a <- GOODBYE {} wamp.close.goodbye_and_out
           a <- WELCOME * *
           a -> PUBLISH {"acknowledge":true} com.x
           a <- PUBLISHED 1 *"#,
    );
}

/// BP-SES-12: only HELLO may follow.
#[test]
fn nothing_else_follows_goodbye() {
    check(
        "join a
         a -> GOODBYE {} wamp.close.normal
         a <- GOODBYE {} wamp.close.goodbye_and_out
         a -> SUBSCRIBE {} com.x
         a <- ABORT * wamp.error.protocol_violation
         a <- CLOSED 1008",
    );
}

/// BP-SES-13: other messages are ignored, the answer is not answered again.
#[test]
fn shutdown_says_goodbye_and_waits_for_the_answer() {
    check(
        "join a b
         a -> SUBSCRIBE {} com.x
         a <- SUBSCRIBED 1 *
         shutdown
         a <- GOODBYE {} wamp.close.system_shutdown
         b <- GOODBYE {} wamp.close.system_shutdown
         a -> PUBLISH {} com.x
         a -> SUBSCRIBE #1 {} com.x
         a -> [99]
         a -> GOODBYE {} wamp.close.goodbye_and_out
         a <- CLOSED 1001
         b -> GOODBYE {} wamp.close.goodbye_and_out
         b <- CLOSED 1001",
    );
}

/// BP-SES-13: the wait is bounded.
#[test]
fn shutdown_does_not_wait_for_ever() {
    check_with(
        |settings| settings.timeouts.close_ms = 2_000,
        "join a
         shutdown
         a <- GOODBYE {} wamp.close.system_shutdown
         wait 1999
         wait 1
         a <- CLOSED 1001",
    );
}

/// BP-SES-14: the client's own GOODBYE that was under way is not answered.
#[test]
fn crossing_goodbyes_close_without_an_answer() {
    check(
        "join a
         shutdown
         a -> GOODBYE {} wamp.close.normal
         a <- GOODBYE {} wamp.close.system_shutdown
         a <- CLOSED 1001",
    );
}

/// BP-SES-13
#[test]
fn nobody_joins_during_a_shutdown() {
    check(
        r#"a connects
           shutdown
           a <- CLOSED 1001
           b -> HELLO realm1 {"roles":{"caller":{}}}
           b <- ABORT * wamp.close.system_shutdown
           b <- CLOSED 1008"#,
    );
}

/// BP-SES-13: out of routing at once, so the caller learns it before the callee answers.
#[test]
fn a_callee_is_out_of_routing_when_it_gets_goodbye() {
    check(
        "join a b
         a -> REGISTER {} com.p
         a <- REGISTERED 1 $r
         b -> CALL {} com.p
         a <- INVOCATION 1 $r {}
         shutdown
         a <- GOODBYE {} wamp.close.system_shutdown
         a -> YIELD 1 {} [1]
         a -> ABORT {} com.client.error
         a <- CLOSED 1001
         b <- GOODBYE {} wamp.close.system_shutdown",
    );
}

/// BP-MOD-01: nothing crosses the border of a realm.
#[test]
fn realms_do_not_hear_each_other() {
    check(
        r#"join a
           b -> HELLO realm2 {"roles":{"subscriber":{},"publisher":{},"caller":{},"callee":{}}}
           b <- WELCOME * *
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 *
           b -> PUBLISH {"acknowledge":true} com.x
           b <- PUBLISHED 2 *
           a -> REGISTER {} com.p
           a <- REGISTERED 2 *
           b -> CALL {} com.p
           b <- ERROR 48 3 {} wamp.error.no_such_procedure *
           b -> UNSUBSCRIBE $s
           b <- ERROR 34 4 {} wamp.error.no_such_subscription *"#,
    );
}

/// BP-SES-09: the session is there as soon as WELCOME is said, without waiting for it.
#[test]
fn requests_may_follow_hello_at_once() {
    check(
        r#"join b
           b -> REGISTER {} com.p
           b <- REGISTERED 1 *
           a -> HELLO realm1 {"roles":{"caller":{},"subscriber":{}}}
           a -> SUBSCRIBE {} com.x
           a -> CALL {} com.p
           b -> PUBLISH {} com.x
           a <- WELCOME * *
           a <- SUBSCRIBED 1 $s
           a <- EVENT $s * {}
           b <- INVOCATION 1 * {}"#,
    );
}

/// BP-MOD-03: the router is both broker and dealer; BP-URI-01: a topic and a procedure may share
/// their URI.
#[test]
fn a_topic_and_a_procedure_are_different_things() {
    check(
        "join a b
         a -> SUBSCRIBE {} com.x
         a <- SUBSCRIBED 1 $s
         a -> REGISTER {} com.x
         a <- REGISTERED 2 $r
         b -> PUBLISH {} com.x
         a <- EVENT $s * {}
         b -> CALL {} com.x
         a <- INVOCATION 1 $r {}",
    );
}

/// BP-LT-01
#[test]
fn a_lost_transport_takes_the_session_out() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 *
           a -> REGISTER {} com.p
           a <- REGISTERED 2 *
           a is lost
           b -> PUBLISH {"acknowledge":true} com.x
           b <- PUBLISHED 1 *
           b -> CALL {} com.p
           b <- ERROR 48 2 {} wamp.error.no_such_procedure *
           b -> REGISTER {} com.p
           b <- REGISTERED 3 *"#,
    );
}
