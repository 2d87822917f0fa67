//! CANCEL and INTERRUPT (requirements 2.2.4).

use super::dialogue::check;

/// A call under way from `b` to `a`, both with every feature.
const PENDING: &str = "join fully a b
    a -> REGISTER {} com.p
    a <- REGISTERED 1 *
    b -> CALL {} com.p
    a <- INVOCATION 1 * {}";

/// AP-CAN-01: the callee does not learn of it, its answer is discarded.
#[test]
fn ap_can_01_skip_answers_at_once() {
    check(&format!(
        r#"{PENDING}
           b -> CANCEL #1 {{"mode":"skip"}}
           b <- ERROR 48 1 {{}} wamp.error.canceled *
           a -> YIELD 1 {{}} [1]
           b -> CALL {{}} com.p
           a <- INVOCATION 2 * {{}}"#
    ));
}

/// AP-CAN-01, AP-CAN-03: `killnowait` is the default, and null is as good as absent.
#[test]
fn ap_can_01_killnowait_answers_at_once_and_interrupts() {
    for options in ["{}", r#"{"mode":"killnowait"}"#, r#"{"mode":null}"#] {
        for late in ["a -> YIELD 1 {} [1]", "a -> ERROR 68 1 {} wamp.error.canceled", ""] {
            check(&format!(
                r#"{PENDING}
                   b -> CANCEL #1 {options}
                   b <- ERROR 48 1 {{}} wamp.error.canceled *
                   a <- INTERRUPT 1 {{"mode":"killnowait"}}
                   {late}"#
            ));
        }
    }
}

/// AP-CAN-01, AP-CAN-07: whichever the callee finished first.
#[test]
fn ap_can_01_kill_waits_for_the_callee() {
    for (said, heard) in [
        ("ERROR 68 1 {} wamp.error.canceled", "ERROR 48 1 {} wamp.error.canceled"),
        ("ERROR 68 1 {} com.stopped [1]", "ERROR 48 1 {} com.stopped [1]"),
        ("YIELD 1 {} [7]", "RESULT 1 {} [7]"),
    ] {
        check(&format!(
            r#"{PENDING}
               b -> CANCEL #1 {{"mode":"kill"}}
               a <- INTERRUPT 1 {{"mode":"kill"}}
               a -> {said}
               b <- {heard}
               a -> YIELD 1 {{}}"#
        ));
    }
}

/// AP-CAN-02: a callee that cannot be interrupted.
#[test]
fn ap_can_02_without_canceling_callees_every_mode_is_skip() {
    for mode in ["skip", "kill", "killnowait"] {
        check(&format!(
            r#"join a b
               a -> REGISTER {{}} com.p
               a <- REGISTERED 1 *
               b -> CALL {{}} com.p
               a <- INVOCATION 1 * {{}}
               b -> CANCEL #1 {{"mode":"{mode}"}}
               b <- ERROR 48 1 {{}} wamp.error.canceled *
               a -> YIELD 1 {{}}"#
        ));
    }
}

/// AP-CAN-03: the call goes on.
#[test]
fn ap_can_03_an_unknown_mode_is_refused() {
    check(&format!(
        r#"{PENDING}
           b -> CANCEL #1 {{"mode":"harder"}}
           b <- ERROR 48 1 {{}} wamp.error.invalid_argument *
           a -> YIELD 1 {{}} [1]
           b <- RESULT 1 {{}} [1]"#
    ));
}

/// AP-CAN-04: of nobody's call, of a finished one, of another session's.
#[test]
fn ap_can_04_a_late_cancel_is_ignored() {
    check(&format!(
        "{PENDING}
         join c
         c -> CANCEL #1 {{}}
         b -> CANCEL #77 {{}}
         a -> YIELD 1 {{}} [1]
         b <- RESULT 1 {{}} [1]
         b -> CANCEL #1 {{}}"
    ));
}

/// AP-CAN-05: one INTERRUPT is enough, and a second CANCEL may end the wait.
#[test]
fn ap_can_05_a_cancel_may_be_repeated_and_sharpened() {
    for mode in ["skip", "killnowait"] {
        check(&format!(
            r#"{PENDING}
               b -> CANCEL #1 {{"mode":"kill"}}
               a <- INTERRUPT 1 {{"mode":"kill"}}
               b -> CANCEL #1 {{"mode":"kill"}}
               b -> CANCEL #1 {{"mode":"{mode}"}}
               b <- ERROR 48 1 {{}} wamp.error.canceled *
               b -> CANCEL #1 {{"mode":"{mode}"}}
               a -> ERROR 68 1 {{}} wamp.error.canceled"#
        ));
    }
}

/// AP-CAN-06
#[test]
fn ap_can_06_a_killed_callee_may_leave() {
    check(&format!(
        r#"{PENDING}
           b -> CANCEL #1 {{"mode":"kill"}}
           a <- INTERRUPT 1 {{"mode":"kill"}}
           a is lost
           b <- ERROR 48 1 {{}} wamp.error.canceled *"#
    ));
}

/// AP-CAN-06: a kill is bounded by the call's timeout, progressive results still come.
#[test]
fn ap_can_06_a_killed_call_goes_on_until_its_end() {
    check(
        r#"join fully a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {"receive_progress":true,"timeout":1000} com.p
           a <- INVOCATION 1 * {"receive_progress":true}
           b -> CANCEL #1 {"mode":"kill"}
           a <- INTERRUPT 1 {"mode":"kill"}
           a -> YIELD 1 {"progress":true} [1]
           b <- RESULT 1 {"progress":true} [1]
           wait 1000
           b <- ERROR 48 1 {} wamp.error.timeout *
           a -> YIELD 1 {}"#,
    );
}

/// AP-CAN-08, BP-CALL-06, AP-PCR-05
#[test]
fn ap_can_08_a_caller_that_leaves_interrupts_its_callees() {
    for leave in ["b is lost", "b -> ABORT {} com.error", "b -> GOODBYE {} wamp.close.normal"] {
        let heard = match leave {
            "b is lost" => "",
            "b -> ABORT {} com.error" => "b <- CLOSED",
            _ => "b <- GOODBYE {} wamp.close.goodbye_and_out",
        };
        check(&format!(
            r#"{PENDING}
               {leave}
               {heard}
               a <- INTERRUPT 1 {{"mode":"killnowait"}}
               a -> YIELD 1 {{"progress":true}} [1]
               a -> YIELD 1 {{}} [1]"#
        ));
    }
}

/// AP-CAN-09: a caller that announced nothing; and a session that cancels its own invocation.
#[test]
fn ap_can_09_anybody_may_cancel() {
    check(
        r#"join fully a
           join b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {} com.p
           a <- INVOCATION 1 * {}
           b -> CANCEL #1 {}
           b <- ERROR 48 1 {} wamp.error.canceled *
           a <- INTERRUPT 1 {"mode":"killnowait"}
           a -> CALL {} com.p
           a <- INVOCATION 2 * {}
           a -> CANCEL #2 {}
           a <- INTERRUPT 2 {"mode":"killnowait"}
           a <- ERROR 48 2 {} wamp.error.canceled *"#,
    );
}

/// A canceled call and a new one with its id are two calls.
#[test]
fn a_late_answer_does_not_end_the_next_call_with_the_same_id() {
    super::dialogue::check_with(
        |settings| settings.request_ids = stentor::router::RequestIdCheck::Off,
        r#"join a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL #5 {} com.p [1]
           a <- INVOCATION 1 * {} [1]
           b -> CANCEL #5 {"mode":"skip"}
           b <- ERROR 48 5 {} wamp.error.canceled *
           b -> CALL #5 {} com.p [2]
           a <- INVOCATION 2 * {} [2]
           a -> YIELD 1 {} [1]
           a -> YIELD 2 {} [2]
           b <- RESULT 5 {} [2]"#,
    );
}
