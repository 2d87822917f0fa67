//! Progressive results and progressive invocations (requirements 2.2.1, 2.2.2).

use stentor::router::RequestIdCheck;

use super::dialogue::{check, check_with};

/// A progressive call under way from `b` to `a`: the first chunk has come.
const UPLOAD: &str = r#"join fully a b
    a -> REGISTER {} com.p
    a <- REGISTERED 1 $r
    b -> CALL {"progress":true} com.p [1]
    a <- INVOCATION 1 $r {"progress":true} [1]"#;

/// AP-PCR-01, AP-PCR-02, AP-PCR-03: the example of the specification.
#[test]
fn ap_pcr_02_results_come_one_by_one() {
    for (last, heard) in [
        (r#"YIELD 1 {} [["A", "B"]]"#, r#"RESULT 1 {} [["A", "B"]]"#),
        ("YIELD 1 {}", "RESULT 1 {}"),
        ("ERROR 68 1 {} com.error [1]", "ERROR 48 1 {} com.error [1]"),
    ] {
        check(&format!(
            r#"join fully a b
               a -> REGISTER {{}} com.myapp.compute_revenue
               a <- REGISTERED 1 $r
               b -> CALL {{"receive_progress":true}} com.myapp.compute_revenue [2010, 2011]
               a <- INVOCATION 1 $r {{"receive_progress":true}} [2010, 2011]
               a -> YIELD 1 {{"progress":true}} ["Y2010", 120]
               b <- RESULT 1 {{"progress":true}} ["Y2010", 120]
               a -> YIELD 1 {{"progress":true}}
               b <- RESULT 1 {{"progress":true}}
               a -> {last}
               b <- {heard}
               a -> YIELD 1 {{"progress":true}} ["late"]"#
        ));
    }
}

/// AP-PCR-03: a callee need not give what the caller would take.
#[test]
fn ap_pcr_03_one_result_is_enough() {
    check(
        r#"join fully a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {"receive_progress":true} com.p
           a <- INVOCATION 1 * {"receive_progress":true}
           a -> YIELD 1 {"progress":false} [1]
           b <- RESULT 1 {} [1]
           a -> YIELD 1 {"progress":true} [2]
           b -> CALL {"receive_progress":false} com.p
           a <- INVOCATION 2 * {}"#,
    );
}

/// AP-PCR-01: autobahn-js callees announce no `call_canceling`, and get what they can do.
#[test]
fn ap_pcr_01_progress_is_asked_of_callees_that_announce_it() {
    for (features, details) in [
        (r#"{"progressive_call_results":true}"#, r#"{"receive_progress":true}"#),
        (r#"{"call_canceling":true}"#, "{}"),
    ] {
        check(&format!(
            r#"a -> HELLO realm1 {{"roles":{{"callee":{{"features":{features}}}}}}}
               a <- WELCOME * *
               join b
               a -> REGISTER {{}} com.p
               a <- REGISTERED 1 *
               b -> CALL {{"receive_progress":true}} com.p
               a <- INVOCATION 1 * {details}"#
        ));
    }
}

/// AP-PCR-04
#[test]
fn ap_pcr_04_progress_that_nobody_asked_for_is_dropped() {
    check(
        r#"join fully a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {} com.p
           a <- INVOCATION 1 * {}
           a -> YIELD 1 {"progress":true} [1]
           a -> YIELD 1 {} [2]
           b <- RESULT 1 {} [2]
           a -> YIELD 9 {"progress":true} [1]
           a <- ABORT * wamp.error.protocol_violation
           a <- CLOSED 1008"#,
    );
}

/// AP-PCR-06
#[test]
fn ap_pcr_06_a_callee_may_leave_between_results() {
    check(
        r#"join fully a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {"receive_progress":true} com.p
           a <- INVOCATION 1 * {"receive_progress":true}
           a -> YIELD 1 {"progress":true} [1]
           b <- RESULT 1 {"progress":true} [1]
           a is lost
           b <- ERROR 48 1 {} wamp.error.canceled *"#,
    );
}

/// AP-PCR-08: whoever does not read is ended, its callee goes on with other calls.
#[test]
fn ap_pcr_08_a_slow_caller_costs_only_itself() {
    let partial = format!(r#"a -> YIELD 1 {{"progress":true}} ["{}"]"#, "x".repeat(900));
    let partials = [partial.as_str(); 8].join("\n");
    check_with(
        |settings| {
            settings.output.hard_bytes = 4_000;
            settings.output.soft_bytes = 4_000;
        },
        &format!(
            r#"join fully a b c
               a -> REGISTER {{}} com.p
               a <- REGISTERED 1 *
               b -> CALL {{"receive_progress":true}} com.p
               a <- INVOCATION 1 * {{"receive_progress":true}}
               b stalls
               {partials}
               a <- INTERRUPT 1 {{"mode":"killnowait"}}
               c -> CALL {{}} com.p
               a <- INVOCATION 2 * {{}}
               a -> YIELD 2 {{}}
               c <- RESULT 1 {{}}"#
        ),
    );
}

/// TR-SZ-01: a partial result that cannot be delivered ends the call.
#[test]
fn a_partial_result_that_is_too_large_ends_the_call() {
    check(&format!(
        r#"b via rawsocket 1024
           join fully a b
           a -> REGISTER {{}} com.p
           a <- REGISTERED 1 *
           b -> CALL {{"receive_progress":true}} com.p
           a <- INVOCATION 1 * {{"receive_progress":true}}
           a -> YIELD 1 {{"progress":true}} ["{}"]
           a <- INTERRUPT 1 {{"mode":"killnowait"}}
           b <- ERROR 48 1 {{}} wamp.error.payload_size_exceeded *"#,
        "x".repeat(2_000)
    ));
}

/// AP-PCI-01
#[test]
fn ap_pci_01_chunks_continue_one_invocation() {
    check(&format!(
        r#"{UPLOAD}
           b -> CALL #1 {{"progress":true}} com.p [2]
           a <- INVOCATION 1 $r {{"progress":true}} [2]
           b -> CALL {{}} com.p ["other"]
           a <- INVOCATION 2 $r {{}} ["other"]
           b -> CALL #1 {{}} com.p [3]
           a <- INVOCATION 1 $r {{}} [3]
           a -> YIELD 1 {{}} [6]
           b <- RESULT 1 {{}} [6]"#
    ));
}

/// TR-SZ-01: a chunk that cannot be delivered ends the call; its callee is told, if it can be.
#[test]
fn a_chunk_that_is_too_large_ends_the_call() {
    let large = "x".repeat(2_000);
    check(&format!(
        r#"a via rawsocket 1024
           {UPLOAD}
           b -> CALL #1 {{"progress":true}} com.p ["{large}"]
           a <- INTERRUPT 1 {{"mode":"killnowait"}}
           b <- ERROR 48 1 {{}} wamp.error.payload_size_exceeded *
           b -> CALL #1 {{"progress":true}} com.p [3]
           b -> CALL #1 {{}} com.p [4]
           a -> YIELD 1 {{}}
           b -> CALL {{}} com.p [5]
           a <- INVOCATION 2 $r {{}} [5]
           b -> CALL {{"progress":true}} com.p [6]
           a <- INVOCATION 3 $r {{"progress":true}} [6]
           b -> CANCEL #3 {{"mode":"kill"}}
           a <- INTERRUPT 3 {{"mode":"kill"}}
           b -> CALL #3 {{}} com.p ["{large}"]
           b <- ERROR 48 3 {{}} wamp.error.payload_size_exceeded *"#
    ));
}

/// AP-PCI-03
#[test]
fn ap_pci_03_a_caller_has_to_announce_chunks() {
    check_with(
        |settings| settings.strict_roles = true,
        r#"join a
           a -> CALL {"progress":true} com.p
           a <- ABORT * wamp.error.protocol_violation
           a <- CLOSED 1008"#,
    );
}

/// AP-PCI-03: unless roles are strict, what a caller visibly does counts as announced.
#[test]
fn ap_pci_03_a_progressive_call_announces_itself() {
    check(
        r#"join fully a
           join b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {"progress":true} com.p [1]
           a <- INVOCATION 1 * {"progress":true} [1]
           b -> CALL #1 {} com.p [2]
           a <- INVOCATION 1 * {} [2]
           a -> YIELD 1 {} [3]
           b <- RESULT 1 {} [3]"#,
    );
}

/// AP-PCR-04: a callee that announced nothing, as those of wampy.js, for a caller that has asked.
#[test]
fn ap_pcr_04_progress_of_a_callee_that_announces_nothing_is_passed_on() {
    let dialogue = r#"join a
           join fully b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {"receive_progress":true} com.p
           a <- INVOCATION 1 * {}
           a -> YIELD 1 {"progress":true} [1]
           PASSED
           a -> YIELD 1 {} [2]
           b <- RESULT 1 {} [2]"#;
    check(&dialogue.replace("PASSED", r#"b <- RESULT 1 {"progress":true} [1]"#));
    check_with(|settings| settings.strict_roles = true, &dialogue.replace("PASSED", ""));
}

/// AP-PCI-08: where request ids may come again, what may be a new call is answered.
#[test]
fn ap_pci_08_an_id_that_comes_again_is_answered() {
    check_with(
        |settings| settings.request_ids = RequestIdCheck::Off,
        r#"join fully a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL #5 {"progress":true} com.p [1]
           a <- INVOCATION 1 * {"progress":true} [1]
           a -> ERROR 68 1 {} com.error
           b <- ERROR 48 5 {} com.error
           b -> CALL #5 {} com.p [2]
           b <- ERROR 48 5 {} wamp.error.canceled *
           b -> CALL #5 {} com.p [2]
           a <- INVOCATION 2 * {} [2]
           a -> YIELD 2 {} [3]
           b <- RESULT 5 {} [3]"#,
    );
}

/// AP-PCI-02, AP-PCI-04: and what follows on the refused call is discarded.
#[test]
fn ap_pci_04_a_callee_has_to_announce_chunks() {
    for features in ["{}", r#"{"progressive_call_invocations":true}"#, r#"{"call_canceling":true}"#]
    {
        check(&format!(
            r#"a -> HELLO realm1 {{"roles":{{"callee":{{"features":{features}}}}}}}
               a <- WELCOME * *
               join fully b
               a -> REGISTER {{}} com.p
               a <- REGISTERED 1 *
               b -> CALL {{"progress":true}} com.p [1]
               b <- ERROR 48 1 {{}} wamp.error.feature_not_supported *
               b -> CALL #1 {{"progress":true}} com.p [2]
               b -> CALL #1 {{}} com.p [3]
               b -> CALL {{}} com.p
               a <- INVOCATION 1 * {{}}"#
        ));
    }
}

/// AP-PCI-02: the chapter's own spelling of `call_canceling` counts.
#[test]
fn ap_pci_02_both_spellings_of_canceling_count() {
    let features = r#"{"progressive_call_invocations":true,"call_cancelling":true}"#;
    check(&format!(
        r#"a -> HELLO realm1 {{"roles":{{"callee":{{"features":{features}}}}}}}
           a <- WELCOME * *
           join fully b
           a -> REGISTER {{}} com.p
           a <- REGISTERED 1 *
           b -> CALL {{"progress":true}} com.p [1]
           a <- INVOCATION 1 * {{"progress":true}} [1]"#
    ));
}

/// AP-PCI-05: the policy picks once per call.
#[test]
fn ap_pci_05_all_chunks_go_to_one_callee() {
    check(
        r#"join fully a b c
           a -> REGISTER {"invoke":"roundrobin"} com.p
           a <- REGISTERED 1 *
           b -> REGISTER {"invoke":"roundrobin"} com.p
           b <- REGISTERED 1 *
           c -> CALL {"progress":true} com.p [1]
           a <- INVOCATION 1 * {"progress":true} [1]
           c -> CALL #1 {"progress":true} com.p [2]
           a <- INVOCATION 1 * {"progress":true} [2]
           c -> CALL {} com.p
           b <- INVOCATION 1 * {}
           c -> CALL #1 {} com.p [3]
           a <- INVOCATION 1 * {} [3]"#,
    );
}

/// AP-PCI-06, AP-CID-01: the first CALL decides for all.
#[test]
fn ap_pci_06_options_are_frozen_by_the_first_chunk() {
    check(
        r#"join fully a
           b -> HELLO realm1 {"roles":{"caller":{"features":{"progressive_call_invocations":true}}}}
           b <- WELCOME $b *
           a -> REGISTER {"match":"prefix"} com
           a <- REGISTERED 1 *
           b -> CALL {"progress":true,"receive_progress":true} com.p [1]
           a <- INVOCATION 1 * {"procedure":"com.p","progress":true,"receive_progress":true} [1]
           b -> CALL #1 {"progress":true,"timeout":5,"disclose_me":true} com.p [2]
           a <- INVOCATION 1 * {"procedure":"com.p","progress":true,"receive_progress":true} [2]
           wait 1000
           b -> CALL #1 {} com.p [3]
           a <- INVOCATION 1 * {"procedure":"com.p","receive_progress":true} [3]
           a -> YIELD 1 {"progress":true} [4]
           b <- RESULT 1 {"progress":true} [4]"#,
    );
}

/// AP-PCI-06: what the first CALL said about the caller and the payload stands on every INVOCATION.
#[test]
fn ap_pci_06_every_chunk_repeats_the_first_details() {
    check(
        r#"join fully a b
           a -> REGISTER {"forward_timeout":true} com.p
           a <- REGISTERED 1 *
           b -> CALL {"progress":true,"disclose_me":true,"timeout":5000,\
                "ppt_scheme":"x_s"} com.p [1]
           a <- INVOCATION 1 * {"progress":true,"ppt_scheme":"x_s","timeout":5000,\
                "caller":$id_b,"caller_authid":$authid_b,"caller_authrole":"anonymous"} [1]
           b -> CALL #1 {"progress":true,"ppt_scheme":"x_other","_mine":1} com.p [2]
           a <- INVOCATION 1 * {"progress":true,"ppt_scheme":"x_s","timeout":5000,\
                "caller":$id_b,"caller_authid":$authid_b,"caller_authrole":"anonymous"} [2]
           b -> CALL #1 {} com.p [3]
           a <- INVOCATION 1 * {"ppt_scheme":"x_s","timeout":5000,\
                "caller":$id_b,"caller_authid":$authid_b,"caller_authrole":"anonymous"} [3]"#,
    );
}

/// AP-PCI-07
#[test]
fn ap_pci_07_an_upload_may_be_given_up() {
    for (given_up, heard) in [
        ("b is lost", r#"a <- INTERRUPT 1 {"mode":"killnowait"}"#),
        ("a is lost", "b <- ERROR 48 1 {} wamp.error.canceled *"),
        (
            "b -> CANCEL #1 {}",
            "a <- INTERRUPT 1 {\"mode\":\"killnowait\"}
             b <- ERROR 48 1 {} wamp.error.canceled *
             b -> CALL #1 {\"progress\":true} com.p [2]
             b -> CALL #1 {} com.p [3]",
        ),
    ] {
        check(&format!("{UPLOAD}\n{given_up}\n{heard}"));
    }
}

/// AP-PCI-08, AP-PCI-09: also before the last chunk; strict, monotonic, and without any order.
#[test]
fn ap_pci_08_late_chunks_are_discarded() {
    for (ids, answer) in [
        (RequestIdCheck::Strict, ""),
        (RequestIdCheck::Monotonic, ""),
        (RequestIdCheck::Off, "b <- ERROR 48 1 {} wamp.error.canceled *"),
    ] {
        for (said, heard) in [
            ("YIELD 1 {} [9]", "RESULT 1 {} [9]"),
            ("ERROR 68 1 {} com.error", "ERROR 48 1 {} com.error"),
        ] {
            check_with(
                |settings| settings.request_ids = ids,
                &format!(
                    r#"{UPLOAD}
                       a -> {said}
                       b <- {heard}
                       b -> CALL #1 {{"progress":true}} com.p [2]
                       b -> CALL #1 {{"progress":true}} com.p [3]
                       b -> CALL #1 {{}} com.p [4]
                       {answer}
                       b -> CALL {{}} com.p ["new"]
                       a <- INVOCATION 2 * {{}} ["new"]"#
                ),
            );
        }
    }
}

/// AP-PCI-08: what no chunk can be ends the session.
#[test]
fn ap_pci_08_wrong_continuations_are_violations() {
    for wrong in [
        // Another procedure, a gap, an old request, an input that was closed, a call without one.
        r#"b -> CALL #1 {"progress":true} com.q"#,
        r#"b -> CALL #3 {"progress":true} com.p"#,
        "b -> SUBSCRIBE {} com.x\n b <- SUBSCRIBED 2 *\n b -> CALL #2 {} com.p",
        "b -> CALL #1 {} com.p\n a <- INVOCATION 1 * {}\n b -> CALL #1 {} com.p",
        "b -> CALL {} com.p\n a <- INVOCATION 2 * {}\n b -> CALL #2 {} com.p",
    ] {
        let wrong =
            wrong.replace("SUBSCRIBE {}", "SUBSCRIBE #2 {}").replace("CALL {}", "CALL #2 {}");
        check(&format!(
            r#"{UPLOAD}
               {wrong}
               b <- ABORT * wamp.error.protocol_violation
               b <- CLOSED 1008
               a <- INTERRUPT 1 {{"mode":"killnowait"}}
               {}"#,
            if wrong.contains("CALL #2") && wrong.contains("INVOCATION 2") {
                r#"a <- INTERRUPT 2 {"mode":"killnowait"}"#
            } else {
                ""
            }
        ));
    }
}

/// AP-PCI-10: chunks and results at once.
#[test]
fn ap_pci_10_both_directions_at_once() {
    check(
        r#"join fully a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {"progress":true,"receive_progress":true} com.p [1]
           a <- INVOCATION 1 * {"progress":true,"receive_progress":true} [1]
           a -> YIELD 1 {"progress":true} [1]
           b <- RESULT 1 {"progress":true} [1]
           b -> CALL #1 {"progress":true} com.p [2]
           a <- INVOCATION 1 * {"progress":true,"receive_progress":true} [2]
           a -> YIELD 1 {"progress":true} [2]
           b <- RESULT 1 {"progress":true} [2]
           b -> CALL #1 {} com.p
           a <- INVOCATION 1 * {"receive_progress":true}
           a -> YIELD 1 {}
           b <- RESULT 1 {}"#,
    );
}

/// AP-PCI-11: the first chunk starts the timer, later ones do not start it again.
#[test]
fn ap_pci_11_chunks_do_not_delay_the_timeout() {
    check(
        r#"join fully a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {"progress":true,"timeout":1000} com.p
           a <- INVOCATION 1 * {"progress":true}
           wait 900
           b -> CALL #1 {"progress":true} com.p
           a <- INVOCATION 1 * {"progress":true}
           wait 100
           b <- ERROR 48 1 {} wamp.error.timeout *
           a <- INTERRUPT 1 {"mode":"killnowait"}
           b -> CALL #1 {} com.p"#,
    );
}
