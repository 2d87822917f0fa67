//! What a client may not exceed, and what its transport cannot take (requirements 1.13).

use super::dialogue::{check, check_with};

/// BP-SUB-01: subscribing to the same again costs nothing.
#[test]
fn subscriptions_per_session_are_limited() {
    check_with(
        |settings| settings.limits.subscriptions_per_session = 2,
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $x
           a -> SUBSCRIBE {} com.y
           a <- SUBSCRIBED 2 $y
           a -> SUBSCRIBE {} com.z
           a <- ERROR 32 3 {} wamp.error.resource_limit *
           a -> SUBSCRIBE {"match":"prefix"} com.x
           a <- ERROR 32 4 {} wamp.error.resource_limit *
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 5 $x
           a -> UNSUBSCRIBE $y
           a <- UNSUBSCRIBED 6
           a -> SUBSCRIBE {} com.z
           a <- SUBSCRIBED 7 *
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 $x"#,
    );
}

/// BP-REG-01
#[test]
fn registrations_per_session_are_limited() {
    check_with(
        |settings| settings.limits.registrations_per_session = 1,
        "join a
         a -> REGISTER {} com.p
         a <- REGISTERED 1 $p
         a -> REGISTER {} com.q
         a <- ERROR 64 2 {} wamp.error.resource_limit *
         a -> UNREGISTER $p
         a <- UNREGISTERED 3
         a -> REGISTER {} com.q
         a <- REGISTERED 4 *",
    );
}

/// AP-PBS-02: patterns of too many kinds would make every publication to such topics slow. What is
/// common stays free, and what is in use can be shared.
#[test]
fn kinds_of_patterns_are_limited_per_realm() {
    let components = |mask: u32| (0..12).map(move |at| mask & (1 << at) == 0);
    let pattern = |mask| components(mask).map(|is_open| if is_open { "" } else { "x" });
    let pattern = |mask| pattern(mask).collect::<Vec<_>>().join(".");
    for (request, answer, code) in [("SUBSCRIBE", "SUBSCRIBED", 32), ("REGISTER", "REGISTERED", 64)]
    {
        let ask = |client: &str, mask| {
            format!("{client} -> {request} {{\"match\":\"wildcard\"}} {}\n", pattern(mask))
        };
        let take = |mask| format!("{}a <- {answer} {} *\n", ask("a", mask), mask + 1);
        let takes: String = (0..128).map(take).collect();
        let refused = format!("{code} 1 {{}} wamp.error.resource_limit *");
        check(&format!(
            "at one node: each has its limits
             join a b c
             {takes}
             {}b <- ERROR {refused}
             {}b <- {answer} 2 *
             a is lost
             {}c <- {answer} 1 *",
            ask("b", 128),
            ask("b", 0xffe),
            ask("c", 128),
        ));
    }
}

/// BP-CALL-03
#[test]
fn pending_calls_per_session_are_limited() {
    check_with(
        |settings| settings.limits.calls_per_session = 1,
        "join a b
         a -> REGISTER {} com.p
         a <- REGISTERED 1 *
         b -> CALL {} com.p
         a <- INVOCATION 1 * {}
         b -> CALL {} com.p
         b <- ERROR 48 2 {} wamp.error.resource_limit *
         a -> YIELD 1 {}
         b <- RESULT 1 {}
         b -> CALL {} com.p
         a <- INVOCATION 2 * {}",
    );
}

/// BP-CALL-03
#[test]
fn pending_invocations_per_callee_are_limited() {
    check_with(
        |settings| settings.limits.invocations_per_session = 1,
        "join a b c
         a -> REGISTER {} com.p
         a <- REGISTERED 1 *
         b -> CALL {} com.p
         a <- INVOCATION 1 * {}
         c -> CALL {} com.p
         c <- ERROR 48 1 {} wamp.error.resource_limit *
         b is lost
         c -> CALL {} com.p
         a <- INVOCATION 2 * {}
         a -> YIELD 2 {}
         c <- RESULT 2 {}",
    );
}

/// BP-URI-06
#[test]
fn the_length_of_a_uri_is_limited() {
    check_with(
        |settings| settings.limits.uri_bytes = 10,
        r#"join a
           a -> SUBSCRIBE {} com.567890
           a <- SUBSCRIBED 1 *
           a -> SUBSCRIBE {"match":"prefix"} com.5678901
           a <- ERROR 32 2 {} wamp.error.invalid_uri *
           a -> REGISTER {} com.5678901
           a <- ERROR 64 3 {} wamp.error.invalid_uri *
           a -> CALL {} com.5678901
           a <- ERROR 48 4 {} wamp.error.invalid_uri *
           b -> HELLO com.5678901 {"roles":{"caller":{}}}
           b <- ABORT * wamp.error.invalid_uri
           b <- CLOSED 1008"#,
    );
}

/// TR-DEC-01
#[test]
fn nesting_is_limited() {
    check_with(
        |settings| settings.limits.nesting = 8,
        "join a b
         b -> SUBSCRIBE {} com.x
         b <- SUBSCRIBED 1 $s
         a -> PUBLISH {} com.x [[[[[[[]]]]]]]
         b <- EVENT $s * {} [[[[[[[]]]]]]]
         a -> PUBLISH {} com.x [[[[[[[[]]]]]]]]
         a <- ABORT * wamp.error.protocol_violation
         a <- CLOSED 1008",
    );
}

/// TR-SZ-02, TR-RS-07: the header alone is refused. A close frame says so, or else ABORT.
#[test]
fn the_size_of_a_message_is_limited() {
    check_with(
        |settings| settings.limits.message_bytes = 1024,
        &format!(
            r#"a via rawsocket 1024
               c via websocket
               join a b c
               b -> SUBSCRIBE {{}} com.x
               b <- SUBSCRIBED 1 $s
               c -> PUBLISH {{}} com.x ["{0}"]
               b <- EVENT $s * {{}} ["{0}"]
               c -> PUBLISH {{}} com.x ["{1}"]
               c <- CLOSED 1009
               a sends oversized
               a <- ABORT * wamp.error.payload_size_exceeded
               a <- CLOSED"#,
            "x".repeat(900),
            "x".repeat(1024)
        ),
    );
}

/// TR-SZ-01, TR-RS-09: such an EVENT is dropped, the session lives on.
#[test]
fn an_event_that_a_peer_cannot_take_is_dropped() {
    check(&format!(
        r#"a via rawsocket 1024
           join a b c
           a -> SUBSCRIBE {{}} com.x
           a <- SUBSCRIBED 1 $s
           c -> SUBSCRIBE {{}} com.x
           c <- SUBSCRIBED 1 $s
           b -> PUBLISH {{}} com.x ["{0}"]
           c <- EVENT $s * {{}} ["{0}"]
           b -> PUBLISH {{}} com.x [2]
           a <- EVENT $s * {{}} [2]
           c <- EVENT $s * {{}} [2]"#,
        "x".repeat(1025)
    ));
}

/// TR-SZ-01, BP-CALL-08: the callee sees nothing of it, its ids have no gap.
#[test]
fn a_call_that_the_callee_cannot_take_fails() {
    check(&format!(
        r#"a via rawsocket 1024
           join a b
           a -> REGISTER {{}} com.p
           a <- REGISTERED 1 $r
           b -> CALL {{}} com.p ["{}"]
           b <- ERROR 48 1 {{}} wamp.error.payload_size_exceeded *
           b -> CALL {{}} com.p [2]
           a <- INVOCATION 1 $r {{}} [2]
           a -> YIELD 1 {{}}
           b <- RESULT 2 {{}}"#,
        "x".repeat(1025)
    ));
}

/// TR-SZ-01, BP-CALL-08
#[test]
fn an_answer_that_the_caller_cannot_take_becomes_an_error() {
    check(&format!(
        r#"b via rawsocket 1024
           join a b
           a -> REGISTER {{}} com.p
           a <- REGISTERED 1 $r
           b -> CALL {{}} com.p
           a <- INVOCATION 1 $r {{}}
           a -> YIELD 1 {{}} ["{0}"]
           b <- ERROR 48 1 {{}} wamp.error.payload_size_exceeded *
           b -> CALL {{}} com.p
           a <- INVOCATION 2 $r {{}}
           a -> ERROR 68 2 {{}} com.error ["{0}"]
           b <- ERROR 48 2 {{}} com.error
           b -> CALL {{}} com.p
           a <- INVOCATION 3 $r {{}}
           a -> ERROR 68 3 {{}} com.error.{0}
           b <- ERROR 48 3 {{}} wamp.error.payload_size_exceeded *"#,
        "x".repeat(1025)
    ));
}

/// TR-JSON-02, TR-SER-02
#[test]
fn binary_crosses_serializers() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {} com.x ["\u0000EOP/kFMHXFJvX8BtT+N82w==","\u0000"]
           a <- EVENT $s * {} ["\u0000EOP/kFMHXFJvX8BtT+N82w==","\u0000"]"#,
    );
}
