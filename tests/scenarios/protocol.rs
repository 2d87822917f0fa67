//! Protocol violations, ids and types (requirements 1.2, 1.3.3).

use stentor::router::RequestIdCheck;

use super::dialogue::{check, check_with};

/// BP-MSG-03, BP-PV-02
#[test]
fn messages_of_a_router_are_violations() {
    for message in [
        "WELCOME 1 {}",
        "CHALLENGE ticket {}",
        "PUBLISHED 1 1",
        "SUBSCRIBED 1 1",
        "UNSUBSCRIBED 1",
        "EVENT 1 1 {}",
        "RESULT 1 {}",
        "REGISTERED 1 1",
        "UNREGISTERED 1",
        "INVOCATION 1 1 {}",
        "INTERRUPT 1 {}",
    ] {
        check(&format!(
            "a -> {message}
             a <- ABORT * wamp.error.protocol_violation
             a <- CLOSED 1008
             join b
             b -> {message}
             b <- ABORT * wamp.error.protocol_violation
             b <- CLOSED 1008"
        ));
    }
}

/// BP-TY-01, BP-TY-02, BP-TY-04, BP-TY-06, BP-PV-02, BP-ID-01
#[test]
fn messages_of_the_wrong_shape_are_violations() {
    for message in [
        "[]",
        "[99]",
        "[7, 1]",
        r#"["SUBSCRIBE", 1, {}, "com.x"]"#,
        r#"[32, 0, {}, "com.x"]"#,
        r#"[32, 9007199254740993, {}, "com.x"]"#,
        r#"[32, 1.0, {}, "com.x"]"#,
        r#"[32, 1, [], "com.x"]"#,
        "[32, 1, {}, 7]",
        "[32, 1, {}]",
        r#"[32, 1, {}, "com.x", []]"#,
        r#"[16, 1, {"acknowledge": 1}, "com.x"]"#,
        r#"[16, 1, {"exclude_me": "yes"}, "com.x"]"#,
        r#"[16, 1, {}, "com.x", {}]"#,
        r#"[16, 1, {}, "com.x", [], []]"#,
        r#"[32, 1, {"match": "regex"}, "com.x"]"#,
        r#"[5, "signature", {}]"#,
        r#"[1, "realm1", {"roles": {"caller": {}}}]"#,
    ] {
        check(&format!(
            "join a
             a -> {message}
             a <- ABORT * wamp.error.protocol_violation
             a <- CLOSED 1008"
        ));
    }
}

/// BP-TY-02, BP-TY-04, requirements 5, point 29: known options of calls with a wrong type, or a
/// number that cannot be. (`invoke` and `mode` are answered with ERROR.)
#[test]
fn options_of_calls_have_their_types() {
    for request in [
        r#"REGISTER {"invoke":1} com.p"#,
        r#"REGISTER {"disclose_caller":1} com.p"#,
        r#"REGISTER {"forward_timeout":"yes"} com.p"#,
        r#"REGISTER {"concurrency":0} com.p"#,
        r#"REGISTER {"concurrency":-1} com.p"#,
        r#"CALL {"receive_progress":1} com.p"#,
        r#"CALL {"progress":"no"} com.p"#,
        r#"CALL {"disclose_me":0} com.p"#,
        r#"CALL {"ppt_scheme":7} com.p"#,
        r#"CANCEL #1 {"mode":1}"#,
        r#"YIELD 1 {"progress":1}"#,
        r#"YIELD 1 {"ppt_keyid":{}}"#,
        r#"ERROR 68 1 {"ppt_scheme":1} com.error"#,
    ] {
        check(&format!(
            "join fully a
             a -> {request}
             a <- ABORT * wamp.error.protocol_violation
             a <- CLOSED 1008"
        ));
    }
}

/// BP-ID-01, requirements 5, point 3: 2^53 is an id, in every serializer.
#[test]
fn the_largest_id_is_two_to_the_53() {
    check_with(
        |settings| settings.request_ids = RequestIdCheck::Monotonic,
        "join a
         a -> SUBSCRIBE #9007199254740991 {} com.x
         a <- SUBSCRIBED 9007199254740991 *
         a -> UNSUBSCRIBE #9007199254740992 9007199254740992
         a <- ERROR 34 9007199254740992 {} wamp.error.no_such_subscription *
         a -> REGISTER #1 {} com.p
         a <- REGISTERED 1 *",
    );
}

/// BP-PV-02
#[test]
fn bytes_that_are_no_message_are_a_violation() {
    check(
        "a via rawsocket 1024
         join a
         a sends garbage
         a <- ABORT * wamp.error.protocol_violation
         a <- CLOSED",
    );
}

/// BP-TY-04: null counts as absent.
#[test]
fn a_null_option_is_absent() {
    check(
        r#"join a
           a -> SUBSCRIBE {"match":null,"get_retained":null} com.x
           a <- SUBSCRIBED 1 *
           a -> PUBLISH {"acknowledge":null,"exclude_me":null} com.x"#,
    );
}

/// BP-MSG-02
#[test]
fn an_error_of_a_client_is_about_an_invocation() {
    for code in [16, 32, 48, 64, 69, 1] {
        check(&format!(
            "join a
             a -> ERROR {code} 1 {{}} com.error
             a <- ABORT * wamp.error.protocol_violation
             a <- CLOSED 1008"
        ));
    }
}

/// BP-PV-01: nothing behind the violation is processed, and the session is gone at once.
#[test]
fn a_violation_drops_the_session() {
    check(
        "join a b
         a -> SUBSCRIBE {} com.x
         a <- SUBSCRIBED 1 *
         b -> SUBSCRIBE {} com.x
         b <- SUBSCRIBED 1 *
         a -> [99]
         a -> PUBLISH {} com.x
         a <- ABORT * wamp.error.protocol_violation
         b -> PUBLISH {} com.x
         a <- CLOSED 1008",
    );
}

/// BP-ID-06
#[test]
fn strict_request_ids_count_by_one() {
    for (first, second) in [(2, 3), (1, 1), (1, 3), (5, 4)] {
        check(&format!(
            "join a b
             b -> PUBLISH #1 {{}} com.x
             b -> SUBSCRIBE #2 {{}} com.x
             b <- SUBSCRIBED 2 *
             a -> PUBLISH #{first} {{}} com.y
             a -> PUBLISH #{second} {{}} com.y
             a <- ABORT * wamp.error.protocol_violation
             a <- CLOSED 1008"
        ));
    }
}

/// BP-ID-06, BP-ID-02: one counter for all six kinds of requests.
#[test]
fn all_requests_share_one_counter() {
    check(
        r#"join a
           a -> SUBSCRIBE #1 {} com.x
           a <- SUBSCRIBED 1 $s
           a -> PUBLISH #2 {"acknowledge":true} com.x
           a <- PUBLISHED 2 *
           a -> REGISTER #3 {} com.p
           a <- REGISTERED 3 $r
           a -> CALL #4 {} com.q
           a <- ERROR 48 4 {} wamp.error.no_such_procedure *
           a -> UNREGISTER #5 $r
           a <- UNREGISTERED 5
           a -> UNSUBSCRIBE #6 $s
           a <- UNSUBSCRIBED 6"#,
    );
}

/// BP-ID-06
#[test]
fn monotonic_request_ids_grow() {
    check_with(
        |settings| settings.request_ids = RequestIdCheck::Monotonic,
        "join a
         a -> SUBSCRIBE #5 {} com.x
         a <- SUBSCRIBED 5 *
         a -> SUBSCRIBE #100 {} com.y
         a <- SUBSCRIBED 100 *
         a -> SUBSCRIBE #100 {} com.z
         a <- ABORT * wamp.error.protocol_violation
         a <- CLOSED 1008",
    );
}

/// BP-ID-06
#[test]
fn request_ids_can_be_left_alone() {
    check_with(
        |settings| settings.request_ids = RequestIdCheck::Off,
        "join a
         a -> SUBSCRIBE #700 {} com.x
         a <- SUBSCRIBED 700 *
         a -> SUBSCRIBE #7 {} com.y
         a <- SUBSCRIBED 7 *
         a -> SUBSCRIBE #7 {} com.z
         a <- SUBSCRIBED 7 *",
    );
}

/// BP-ID-06: a pending call is never silently replaced.
#[test]
fn the_id_of_a_pending_call_is_taken() {
    check_with(
        |settings| settings.request_ids = RequestIdCheck::Off,
        "join a b
         b -> REGISTER {} com.p
         b <- REGISTERED 1 $r
         a -> CALL #7 {} com.p
         b <- INVOCATION 1 $r {}
         a -> CALL #7 {} com.p
         a <- ABORT * wamp.error.protocol_violation
         a <- CLOSED 1008
         b -> YIELD 1 {}",
    );
}

/// BP-MOD-04
#[test]
fn roles_bind_only_if_configured() {
    check(
        r#"a -> HELLO realm1 {"roles":{"caller":{}}}
           a <- WELCOME * *
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 *"#,
    );
    for request in [
        "SUBSCRIBE {} com.x",
        "UNSUBSCRIBE 1",
        "REGISTER {} com.p",
        "UNREGISTER 1",
        "CALL {} com.p",
    ] {
        check_with(
            |settings| settings.strict_roles = true,
            &format!(
                r#"a -> HELLO realm1 {{"roles":{{"publisher":{{}}}}}}
                   a <- WELCOME * *
                   a -> PUBLISH {{"acknowledge":true}} com.x
                   a <- PUBLISHED 1 *
                   a -> {request}
                   a <- ABORT * wamp.error.protocol_violation
                   a <- CLOSED 1008"#
            ),
        );
    }
}

/// BP-PV-03
#[test]
fn an_answer_to_an_invocation_never_sent_is_a_violation() {
    for answer in ["YIELD 1 {}", "ERROR 68 1 {} com.error", r#"YIELD 1 {"progress":true}"#] {
        check(&format!(
            "join a
             a -> {answer}
             a <- ABORT * wamp.error.protocol_violation
             a <- CLOSED 1008"
        ));
    }
}

/// BP-PV-03, BP-ID-04: ids count per callee, so nobody can answer for another.
#[test]
fn an_invocation_belongs_to_its_callee() {
    check(
        "join a b c
         a -> REGISTER {} com.p
         a <- REGISTERED 1 *
         c -> CALL {} com.p
         a <- INVOCATION 1 * {}
         b -> YIELD 1 {} [666]
         b <- ABORT * wamp.error.protocol_violation
         b <- CLOSED 1008
         a -> YIELD 1 {} [1]
         c <- RESULT 1 {} [1]",
    );
}

/// BP-PV-03: a second answer, and one after the caller left, are discarded.
#[test]
fn an_answer_that_comes_too_late_is_discarded() {
    check(
        "join a b c
         a -> REGISTER {} com.p
         a <- REGISTERED 1 *
         c -> CALL {} com.p
         a <- INVOCATION 1 * {}
         a -> YIELD 1 {} [1]
         a -> YIELD 1 {} [2]
         a -> ERROR 68 1 {} com.error
         c <- RESULT 1 {} [1]
         b -> CALL {} com.p
         a <- INVOCATION 2 * {}
         b is lost
         a -> YIELD 2 {} [3]
         c -> CALL {} com.p
         a <- INVOCATION 3 * {}
         a -> YIELD 3 {}
         c <- RESULT 2 {}",
    );
}
