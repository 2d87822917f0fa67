//! Call re-routing and concurrency limits (requirements 2.2.5).

use super::dialogue::check;

/// AP-RRT-01, AP-RRT-02: each callee once, in the order of the policy.
#[test]
fn ap_rrt_01_a_refused_call_goes_to_the_next_callee() {
    for (policy, order) in
        [("roundrobin", ["a", "b", "c"]), ("first", ["a", "b", "c"]), ("last", ["c", "b", "a"])]
    {
        let [x, y, z] = order;
        check(&format!(
            r#"join fully a b c
               join d
               a -> REGISTER {{"invoke":"{policy}"}} com.p
               a <- REGISTERED 1 $r
               b -> REGISTER {{"invoke":"{policy}"}} com.p
               b <- REGISTERED 1 $r
               c -> REGISTER {{"invoke":"{policy}"}} com.p
               c <- REGISTERED 1 $r
               d -> CALL {{}} com.p [7] {{"k":8}}
               {x} <- INVOCATION 1 $r {{}} [7] {{"k":8}}
               {x} -> ERROR 68 1 {{}} wamp.error.unavailable
               {y} <- INVOCATION 1 $r {{}} [7] {{"k":8}}
               {y} -> ERROR 68 1 {{}} wamp.error.unavailable
               {z} <- INVOCATION 1 $r {{}} [7] {{"k":8}}
               {z} -> ERROR 68 1 {{}} wamp.error.unavailable
               d <- ERROR 48 1 {{}} wamp.error.no_available_callee *"#
        ));
    }
}

/// AP-RRT-01: a call that was routed again ends like any other.
#[test]
fn ap_rrt_01_the_next_callee_answers() {
    for (said, heard) in [
        ("b -> YIELD 1 {} [1]", "d <- RESULT 1 {} [1]"),
        ("b -> ERROR 68 1 {} com.error", "d <- ERROR 48 1 {} com.error"),
        ("b is lost", "d <- ERROR 48 1 {} wamp.error.canceled *"),
        (
            "d -> CANCEL #1 {}",
            "d <- ERROR 48 1 {} wamp.error.canceled *\n b <- INTERRUPT 1 {\"mode\":\"killnowait\"}",
        ),
    ] {
        check(&format!(
            r#"join fully a b d
               a -> REGISTER {{"invoke":"first"}} com.p
               a <- REGISTERED 1 *
               b -> REGISTER {{"invoke":"first"}} com.p
               b <- REGISTERED 1 *
               d -> CALL {{}} com.p
               a <- INVOCATION 1 * {{}}
               a -> ERROR 68 1 {{}} wamp.error.unavailable
               b <- INVOCATION 1 * {{}}
               {said}
               {heard}"#
        ));
    }
}

/// AP-RRT-01: `single` has nobody else; a random one is another one.
#[test]
fn ap_rrt_02_the_last_refusal_ends_the_call() {
    for policy in ["single", "random"] {
        check(&format!(
            r#"join fully a b
               a -> REGISTER {{"invoke":"{policy}"}} com.p
               a <- REGISTERED 1 *
               b -> CALL {{}} com.p
               a <- INVOCATION 1 * {{}}
               a -> ERROR 68 1 {{}} wamp.error.unavailable
               b <- ERROR 48 1 {{}} wamp.error.no_available_callee *"#
        ));
    }
}

/// AP-RRT-01: of the same registration, also if a better match has come since.
#[test]
fn ap_rrt_01_a_call_stays_with_its_registration() {
    check(
        r#"join fully a b c d
           a -> REGISTER {"invoke":"first","match":"prefix"} com
           a <- REGISTERED 1 $r
           b -> REGISTER {"invoke":"first","match":"prefix"} com
           b <- REGISTERED 1 $r
           d -> CALL {} com.p
           a <- INVOCATION 1 $r {"procedure":"com.p"}
           c -> REGISTER {} com.p
           c <- REGISTERED 1 *
           a -> ERROR 68 1 {} wamp.error.unavailable
           b <- INVOCATION 1 $r {"procedure":"com.p"}
           b -> YIELD 1 {} [1]
           d <- RESULT 1 {} [1]"#,
    );
}

/// AP-RRT-01: the next callee gets what it asked for and is able to.
#[test]
fn ap_rrt_01_the_next_callee_has_its_own_traits() {
    let registered = r#"a -> REGISTER {"invoke":"first"} com.p
        a <- REGISTERED 1 *
        b -> REGISTER {"invoke":"first","disclose_caller":true} com.p
        b <- REGISTERED 1 *"#;
    check(&format!(
        r#"join fully a b c
           {registered}
           c -> CALL {{"receive_progress":true,"ppt_scheme":"x_s"}} com.p [1]
           a <- INVOCATION 1 * {{"receive_progress":true,"ppt_scheme":"x_s"}} [1]
           a -> ERROR 68 1 {{}} wamp.error.unavailable
           b <- INVOCATION 1 * {{"receive_progress":true,"ppt_scheme":"x_s","caller":$id_c,\
                "caller_authid":$authid_c,"caller_authrole":"anonymous"}} [1]
           b -> YIELD 1 {{"progress":true,"ppt_scheme":"x_s"}} [2]
           c <- RESULT 1 {{"progress":true,"ppt_scheme":"x_s"}} [2]
           b -> YIELD 1 {{"ppt_scheme":"x_s"}} [3]
           c <- RESULT 1 {{"ppt_scheme":"x_s"}} [3]"#
    ));
    check(&format!(
        r#"join fully a c
           join b
           {registered}
           c -> CALL {{"ppt_scheme":"x_s"}} com.p [1]
           a <- INVOCATION 1 * {{"ppt_scheme":"x_s"}} [1]
           a -> ERROR 68 1 {{}} wamp.error.unavailable
           c <- ERROR 48 1 {{}} wamp.error.feature_not_supported *
           c -> CALL {{"receive_progress":true}} com.p [2]
           a <- INVOCATION 2 * {{"receive_progress":true}} [2]
           a -> ERROR 68 2 {{}} wamp.error.unavailable
           b <- INVOCATION 1 * {{"caller":$id_c,\
                "caller_authid":$authid_c,"caller_authrole":"anonymous"}} [2]"#
    ));
}

/// AP-RRT-03
#[test]
fn ap_rrt_03_without_the_feature_the_refusal_passes() {
    check(
        r#"join a
           join fully b c
           a -> REGISTER {"invoke":"first"} com.p
           a <- REGISTERED 1 *
           b -> REGISTER {"invoke":"first"} com.p
           b <- REGISTERED 1 *
           c -> CALL {} com.p
           a <- INVOCATION 1 * {}
           a -> ERROR 68 1 {} wamp.error.unavailable ["busy"]
           c <- ERROR 48 1 {} wamp.error.unavailable ["busy"]"#,
    );
}

/// AP-RRT-03: each callee's own announcement counts, also on the way.
#[test]
fn ap_rrt_03_the_next_callee_may_be_unable_to_pass_it_on() {
    check(
        r#"join fully a c d
           join b
           a -> REGISTER {"invoke":"first"} com.p
           a <- REGISTERED 1 *
           b -> REGISTER {"invoke":"first"} com.p
           b <- REGISTERED 1 *
           c -> REGISTER {"invoke":"first"} com.p
           c <- REGISTERED 1 *
           d -> CALL {} com.p
           a <- INVOCATION 1 * {}
           a -> ERROR 68 1 {} wamp.error.unavailable
           b <- INVOCATION 1 * {}
           b -> ERROR 68 1 {} wamp.error.unavailable ["busy"]
           d <- ERROR 48 1 {} wamp.error.unavailable ["busy"]
           d -> CALL {} com.p
           a <- INVOCATION 2 * {}
           a -> ERROR 68 2 {} wamp.error.unavailable
           b <- INVOCATION 2 * {}
           d -> CANCEL #2 {"mode":"kill"}
           d <- ERROR 48 2 {} wamp.error.canceled *"#,
    );
}

/// AP-RRT-04: neither after a result, nor for chunks that nobody has kept, nor when canceled.
#[test]
fn ap_rrt_04_not_every_call_can_be_routed_again() {
    let registered = r#"join fully a b c
        a -> REGISTER {"invoke":"first"} com.p
        a <- REGISTERED 1 *
        b -> REGISTER {"invoke":"first"} com.p
        b <- REGISTERED 1 *"#;
    check(&format!(
        r#"{registered}
           c -> CALL {{"receive_progress":true}} com.p
           a <- INVOCATION 1 * {{"receive_progress":true}}
           a -> YIELD 1 {{"progress":true}} [1]
           c <- RESULT 1 {{"progress":true}} [1]
           a -> ERROR 68 1 {{}} wamp.error.unavailable
           c <- ERROR 48 1 {{}} wamp.error.no_available_callee *
           c -> CALL {{"progress":true}} com.p
           a <- INVOCATION 2 * {{"progress":true}}
           a -> ERROR 68 2 {{}} wamp.error.unavailable
           c <- ERROR 48 2 {{}} wamp.error.no_available_callee *
           c -> CALL #2 {{}} com.p
           c -> CALL {{}} com.p
           a <- INVOCATION 3 * {{}}
           c -> CANCEL #3 {{"mode":"kill"}}
           a <- INTERRUPT 3 {{"mode":"kill"}}
           a -> ERROR 68 3 {{}} wamp.error.unavailable
           c <- ERROR 48 3 {{}} wamp.error.unavailable"#
    ));
}

/// A callee gets no more calls at once than it registered for, the others of it take turns.
#[test]
fn concurrency_is_limited_per_callee() {
    check(
        r#"join fully a b c
           a -> REGISTER {"invoke":"roundrobin","concurrency":1} com.p
           a <- REGISTERED 1 *
           b -> REGISTER {"invoke":"roundrobin","concurrency":2} com.p
           b <- REGISTERED 1 *
           c -> CALL {} com.p [1]
           a <- INVOCATION 1 * {} [1]
           c -> CALL {} com.p [2]
           b <- INVOCATION 1 * {} [2]
           c -> CALL {} com.p [3]
           b <- INVOCATION 2 * {} [3]
           c -> CALL {} com.p [4]
           c <- ERROR 48 4 {} wamp.error.no_available_callee *
           a -> YIELD 1 {}
           c <- RESULT 1 {}
           c -> CALL {} com.p [5]
           a <- INVOCATION 2 * {} [5]"#,
    );
}

/// However a call ends, its place is free again.
#[test]
fn concurrency_counts_no_call_that_is_over() {
    for (ends, heard) in [
        ("a -> YIELD 1 {}", "b <- RESULT 1 {}"),
        ("a -> ERROR 68 1 {} com.error", "b <- ERROR 48 1 {} com.error"),
        (
            "a -> ERROR 68 1 {} wamp.error.unavailable",
            "b <- ERROR 48 1 {} wamp.error.no_available_callee *",
        ),
        ("b -> CANCEL #1 {\"mode\":\"skip\"}", "b <- ERROR 48 1 {} wamp.error.canceled *"),
        ("b is lost", "a <- INTERRUPT 1 {\"mode\":\"killnowait\"}"),
        (
            "wait 1000",
            "b <- ERROR 48 1 {} wamp.error.timeout *\n a <- INTERRUPT 1 {\"mode\":\"killnowait\"}",
        ),
    ] {
        check(&format!(
            r#"join fully a b c
               a -> REGISTER {{"concurrency":1}} com.p
               a <- REGISTERED 1 *
               b -> CALL {{"timeout":1000}} com.p
               a <- INVOCATION 1 * {{}}
               c -> CALL {{}} com.p
               c <- ERROR 48 1 {{}} wamp.error.no_available_callee *
               {ends}
               {heard}
               c -> CALL {{}} com.p
               a <- INVOCATION 2 * {{}}"#
        ));
    }
}

/// TR-SZ-01: a call that never got there takes no place.
#[test]
fn concurrency_counts_no_call_that_bounced() {
    check(&format!(
        r#"a via rawsocket 1024
           join a b
           a -> REGISTER {{"concurrency":1}} com.p
           a <- REGISTERED 1 *
           b -> CALL {{}} com.p ["{}"]
           b <- ERROR 48 1 {{}} wamp.error.payload_size_exceeded *
           b -> CALL {{}} com.p
           a <- INVOCATION 1 * {{}}
           b -> CALL {{}} com.p
           b <- ERROR 48 3 {{}} wamp.error.no_available_callee *"#,
        "x".repeat(2_000)
    ));
}

/// A call that was routed again takes a place where it went, and none where it was refused.
#[test]
fn concurrency_counts_rerouted_calls() {
    check(
        r#"join fully a b c
           a -> REGISTER {"invoke":"first","concurrency":1} com.p
           a <- REGISTERED 1 *
           b -> REGISTER {"invoke":"first","concurrency":1} com.p
           b <- REGISTERED 1 *
           c -> CALL {} com.p [1]
           a <- INVOCATION 1 * {} [1]
           a -> ERROR 68 1 {} wamp.error.unavailable
           b <- INVOCATION 1 * {} [1]
           c -> CALL {} com.p [2]
           a <- INVOCATION 2 * {} [2]
           a -> ERROR 68 2 {} wamp.error.unavailable
           c <- ERROR 48 2 {} wamp.error.no_available_callee *
           b -> YIELD 1 {}
           c <- RESULT 1 {}
           c -> CALL {} com.p [3]
           a <- INVOCATION 3 * {} [3]
           c -> CALL {} com.p [4]
           b <- INVOCATION 2 * {} [4]"#,
    );
}
