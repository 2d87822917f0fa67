//! Call timeouts (requirements 2.2.3).

use super::dialogue::{check, check_with};

/// AP-TMO-01: 0 is none.
#[test]
fn ap_tmo_01_zero_is_no_timeout() {
    check(
        r#"at one node: it takes a day
           a via rawsocket 4096
           b via rawsocket 4096
           join fully a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {"timeout":0} com.p
           a <- INVOCATION 1 * {}
           wait 86400000
           a -> YIELD 1 {} [1]
           b <- RESULT 1 {} [1]"#,
    );
}

/// AP-TMO-01, BP-TY-04: whole milliseconds, and not less than none.
#[test]
fn ap_tmo_01_a_timeout_is_a_number_of_milliseconds() {
    for timeout in ["-1", "1.5", "1000.0", "true", r#""1000""#] {
        check(&format!(
            r#"join a
               a -> CALL {{"timeout":{timeout}}} com.p
               a <- ABORT * wamp.error.protocol_violation
               a <- CLOSED 1008"#
        ));
    }
    check(
        r#"join fully a b
           a -> REGISTER {"forward_timeout":null} com.p
           a <- REGISTERED 1 *
           b -> CALL {"timeout":null} com.p
           a <- INVOCATION 1 * {}"#,
    );
}

/// AP-TMO-02: to a callee that takes INTERRUPT, and to one that does not.
#[test]
fn ap_tmo_02_the_dealer_gives_up_in_time() {
    for (join, heard) in
        [("join fully a b", r#"a <- INTERRUPT 1 {"mode":"killnowait"}"#), ("join a b", "")]
    {
        check(&format!(
            r#"{join}
               a -> REGISTER {{}} com.p
               a <- REGISTERED 1 *
               b -> CALL {{"timeout":1000}} com.p
               a <- INVOCATION 1 * {{}}
               wait 999
               wait 1
               b <- ERROR 48 1 {{}} wamp.error.timeout *
               {heard}
               a -> YIELD 1 {{}} [1]"#
        ));
    }
}

/// AP-TMO-02: an answer in time stops the timer, whatever it is.
#[test]
fn ap_tmo_02_an_answer_stops_the_timer() {
    for (said, heard) in [
        ("a -> YIELD 1 {}", "b <- RESULT 1 {}"),
        ("a -> ERROR 68 1 {} com.error", "b <- ERROR 48 1 {} com.error"),
        ("a is lost", "b <- ERROR 48 1 {} wamp.error.canceled *"),
        ("b -> CANCEL #1 {}", "b <- ERROR 48 1 {} wamp.error.canceled *"),
    ] {
        check(&format!(
            r#"join a b
               a -> REGISTER {{}} com.p
               a <- REGISTERED 1 *
               b -> CALL {{"timeout":1000}} com.p
               a <- INVOCATION 1 * {{}}
               {said}
               {heard}
               wait 5000"#
        ));
    }
}

/// AP-TMO-03, AP-TMO-04: only a callee that can and wants to gets the timeout.
#[test]
fn ap_tmo_03_a_callee_may_watch_the_timeout_itself() {
    check(
        r#"join fully a b
           join c
           a -> REGISTER {"forward_timeout":true} com.p
           a <- REGISTERED 1 *
           c -> REGISTER {"forward_timeout":true} com.q
           c <- REGISTERED 1 *
           b -> CALL {"timeout":1000} com.p
           a <- INVOCATION 1 * {"timeout":1000}
           wait 5000
           a -> ERROR 68 1 {} wamp.error.timeout
           b <- ERROR 48 1 {} wamp.error.timeout
           b -> CALL {"timeout":1000} com.q
           c <- INVOCATION 1 * {}
           wait 1000
           b <- ERROR 48 2 {} wamp.error.timeout *"#,
    );
}

/// AP-TMO-05: the router takes it for any other CANCEL.
#[test]
fn ap_tmo_05_a_caller_may_watch_its_timeout_itself() {
    check(
        r#"join fully a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {} com.p
           a <- INVOCATION 1 * {}
           wait 1000
           b -> CANCEL #1 {"mode":"killnowait"}
           b <- ERROR 48 1 {} wamp.error.canceled *
           a <- INTERRUPT 1 {"mode":"killnowait"}"#,
    );
}

/// AP-TMO-06, AP-PCR-07: the time between results, not that of the call.
#[test]
fn ap_tmo_06_a_progressive_result_starts_the_timer_again() {
    check(
        r#"join fully a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {"receive_progress":true,"timeout":1000} com.p
           a <- INVOCATION 1 * {"receive_progress":true}
           wait 900
           a -> YIELD 1 {"progress":true} [1]
           b <- RESULT 1 {"progress":true} [1]
           wait 900
           a -> YIELD 1 {"progress":true} [2]
           b <- RESULT 1 {"progress":true} [2]
           wait 1000
           b <- ERROR 48 1 {} wamp.error.timeout *
           a <- INTERRUPT 1 {"mode":"killnowait"}"#,
    );
}

/// AP-TMO-07: the router's maximum holds for every call, also for forwarded timeouts.
#[test]
fn ap_tmo_07_the_router_may_set_a_maximum() {
    for options in ["{}", r#"{"timeout":5000}"#, r#"{"timeout":100000}"#] {
        for (forwards, details) in [("true", options), ("false", "{}")] {
            check_with(
                |settings| settings.limits.call_timeout_ms_max = 1_000,
                &format!(
                    r#"join fully a b
                       a -> REGISTER {{"forward_timeout":{forwards}}} com.p
                       a <- REGISTERED 1 *
                       b -> CALL {options} com.p
                       a <- INVOCATION 1 * {details}
                       wait 999
                       wait 1
                       b <- ERROR 48 1 {{}} wamp.error.timeout *
                       a <- INTERRUPT 1 {{"mode":"killnowait"}}"#
                ),
            );
        }
    }
}

/// AP-TMO-08: the deadline of the first INVOCATION stays.
#[test]
fn ap_tmo_08_a_rerouted_call_keeps_its_deadline() {
    for forward in ["true", "false"] {
        let details = if forward == "true" { r#"{"timeout":1000}"# } else { "{}" };
        check(&format!(
            r#"join fully a b c
               a -> REGISTER {{"invoke":"first","forward_timeout":{forward}}} com.p
               a <- REGISTERED 1 *
               b -> REGISTER {{"invoke":"first"}} com.p
               b <- REGISTERED 1 *
               c -> CALL {{"timeout":1000}} com.p
               a <- INVOCATION 1 * {details}
               wait 600
               a -> ERROR 68 1 {{}} wamp.error.unavailable
               b <- INVOCATION 1 * {{}}
               wait 400
               c <- ERROR 48 1 {{}} wamp.error.timeout *
               b <- INTERRUPT 1 {{"mode":"killnowait"}}"#
        ));
    }
}

/// AP-TMO-02, AP-TMO-08: the first callee watched the timeout, so the router's maximum was armed.
/// The next one does not watch it: whichever comes first ends the call.
#[test]
fn ap_tmo_08_a_rerouted_call_keeps_the_shorter_deadline() {
    for (timeout, ends) in [(1_000, 1_000), (3_000, 2_000)] {
        check_with(
            |settings| settings.limits.call_timeout_ms_max = 2_000,
            &format!(
                r#"join fully a b c
                   a -> REGISTER {{"invoke":"first","forward_timeout":true}} com.p
                   a <- REGISTERED 1 *
                   b -> REGISTER {{"invoke":"first","forward_timeout":true}} com.p
                   b <- REGISTERED 1 *
                   c -> CALL {{"timeout":{timeout}}} com.p
                   a <- INVOCATION 1 * {{"timeout":{timeout}}}
                   wait 600
                   a -> ERROR 68 1 {{}} wamp.error.unavailable
                   b <- INVOCATION 1 * {{}}
                   wait {}
                   wait 1
                   c <- ERROR 48 1 {{}} wamp.error.timeout *
                   b <- INTERRUPT 1 {{"mode":"killnowait"}}"#,
                ends - 601
            ),
        );
    }
}
