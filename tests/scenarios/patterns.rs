//! What patterns match, for callees and subscribers alike (requirements 2.2.8, 2.3.5).

use super::dialogue::check;

/// A pattern, URIs that it matches, and URIs that it does not.
struct Sample {
    policy: &'static str,
    pattern: &'static str,
    matching: &'static [&'static str],
    other: &'static [&'static str],
}

/// The examples of the specification, and where patterns are commonly got wrong.
const SAMPLES: &[Sample] = &[
    Sample {
        policy: "prefix",
        pattern: "com.myapp.myobject1",
        matching: &[
            "com.myapp.myobject1",
            "com.myapp.myobject1.myprocedure1",
            "com.myapp.myobject1-mysubobject1",
            "com.myapp.myobject1.mysubobject1.myprocedure1",
            "com.myapp.myobject12",
        ],
        other: &["com.myapp.myobject2", "com.myapp.myobject", "com.myapp"],
    },
    Sample { policy: "prefix", pattern: "com.", matching: &["com.a", "com.a.b"], other: &["com"] },
    Sample { policy: "prefix", pattern: "\"\"", matching: &["com", "x.y"], other: &[] },
    Sample {
        policy: "wildcard",
        pattern: "com.myapp..myprocedure1",
        matching: &["com.myapp.myobject1.myprocedure1", "com.myapp.myobject2.myprocedure1"],
        other: &[
            "com.myapp.myobject1.myprocedure1.mysubprocedure1",
            "com.myapp.myobject1.myprocedure2",
            "com.myapp2.myobject1.myprocedure1",
            "com.myapp.myprocedure1",
            "com.myapp.a.b.myprocedure1",
        ],
    },
    Sample { policy: "wildcard", pattern: ".x", matching: &["a.x"], other: &["x", "a.b.x"] },
    Sample { policy: "wildcard", pattern: "x.", matching: &["x.a"], other: &["x", "x.a.b", "y.a"] },
    Sample { policy: "wildcard", pattern: "...", matching: &["a.b.c.d"], other: &["a.b.c"] },
    Sample { policy: "wildcard", pattern: "a..c.", matching: &["a.b.c.d"], other: &["a.b.d.c"] },
    // Without an empty component it matches itself alone, and is a pattern all the same.
    Sample { policy: "wildcard", pattern: "a.b", matching: &["a.b"], other: &["a", "a.b.c"] },
];

/// AP-PBR-02, AP-PBR-03, AP-PBR-06: prefixes by characters, wildcards by components; the callee
/// learns the procedure that was called.
#[test]
fn ap_pbr_02_and_03_registrations_match_by_their_policy() {
    for Sample { policy, pattern, matching, other } in SAMPLES {
        let mut dialogue = format!(
            "join a b
             a -> REGISTER {{\"match\":\"{policy}\"}} {pattern}
             a <- REGISTERED 1 $r\n"
        );
        for uri in *matching {
            dialogue += &format!(
                "b -> CALL {{}} {uri}\n a <- INVOCATION * $r {{\"procedure\":\"{uri}\"}}\n"
            );
        }
        for uri in *other {
            dialogue += &format!(
                "b -> CALL {{}} {uri}\n b <- ERROR 48 * {{}} wamp.error.no_such_procedure *\n"
            );
        }
        check(&dialogue);
    }
}

/// AP-PBS-01, AP-PBS-03: the same rules, and the subscriber learns the topic.
#[test]
fn ap_pbs_01_subscriptions_match_as_registrations_do() {
    for Sample { policy, pattern, matching, other } in SAMPLES {
        // Whoever subscribes to everything hears of its own subscription, too.
        let meta = if *pattern == "\"\"" { "a <- EVENT $s ...\n a <- EVENT $s ...\n" } else { "" };
        let mut dialogue = format!(
            "join a b
             a -> SUBSCRIBE {{\"match\":\"{policy}\"}} {pattern}
             a <- SUBSCRIBED 1 $s
             {meta}"
        );
        for uri in *other {
            dialogue += &format!("b -> PUBLISH {{}} {uri}\n");
        }
        for uri in *matching {
            dialogue +=
                &format!("b -> PUBLISH {{}} {uri}\n a <- EVENT $s * {{\"topic\":\"{uri}\"}}\n");
        }
        check(&dialogue);
    }
}

/// AP-PBR-01, BP-TY-04: a policy that does not exist is a violation, as the published vectors have
/// it.
#[test]
fn ap_pbr_01_there_are_three_matching_policies() {
    for options in [r#"{"match":"regex"}"#, r#"{"match":""}"#, r#"{"match":1}"#] {
        for request in ["REGISTER", "SUBSCRIBE"] {
            check(&format!(
                "join a
                 a -> {request} {options} com.x
                 a <- ABORT * wamp.error.protocol_violation
                 a <- CLOSED 1008"
            ));
        }
    }
    check(
        r#"join a
           a -> REGISTER {"match":"exact"} com.x
           a <- REGISTERED 1 *
           a -> REGISTER {} com.x
           a <- ERROR 64 2 {} wamp.error.procedure_already_exists *"#,
    );
}

/// AP-PBR-05: each policy has its own registration of a URI, with its own callees.
#[test]
fn ap_pbr_05_policies_do_not_share_registrations() {
    check(
        r#"join a b c
           a -> REGISTER {"match":"exact"} com.p
           a <- REGISTERED 1 $exact
           a -> REGISTER {"match":"prefix"} com.p
           a <- REGISTERED 2 $prefix
           a -> REGISTER {"match":"wildcard"} com.p
           a <- REGISTERED 3 $wildcard
           b -> REGISTER {"match":"prefix"} com.p
           b <- ERROR 64 1 {} wamp.error.procedure_already_exists *
           c -> CALL {} com.p
           a <- INVOCATION 1 $exact {}
           a -> UNREGISTER $exact
           a <- UNREGISTERED 4
           c -> CALL {} com.p
           a <- INVOCATION 2 $prefix {"procedure":"com.p"}
           a -> UNREGISTER $prefix
           a <- UNREGISTERED 5
           c -> CALL {} com.p
           a <- INVOCATION 3 $wildcard {"procedure":"com.p"}"#,
    );
}

/// AP-PBR-07: what is registered below a pattern takes nothing away from it for good, and one call
/// is for one registration.
#[test]
fn ap_pbr_07_registrations_are_no_sets() {
    check(
        r#"join a b c
           a -> REGISTER {"match":"prefix"} com
           a <- REGISTERED 1 $com
           b -> REGISTER {} com.p
           b <- REGISTERED 1 $p
           c -> CALL {} com.p
           b <- INVOCATION 1 $p {}
           a -> UNREGISTER $p
           a <- ERROR 66 2 {} wamp.error.no_such_registration *
           b -> UNREGISTER $p
           b <- UNREGISTERED 2
           c -> CALL {} com.p
           a <- INVOCATION 1 $com {"procedure":"com.p"}"#,
    );
}

/// AP-PBS-05: leaving a part leaves the whole as it is.
#[test]
fn ap_pbs_05_subscriptions_are_no_sets() {
    check(
        r#"join a b
           a -> SUBSCRIBE {"match":"prefix"} com
           a <- SUBSCRIBED 1 $com
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 2 $x
           a -> UNSUBSCRIBE $x
           a <- UNSUBSCRIBED 3
           b -> PUBLISH {} com.x
           a <- EVENT $com * {"topic":"com.x"}
           a -> SUBSCRIBE {"match":"wildcard"} com.
           a <- SUBSCRIBED 4 $wildcard
           a -> UNSUBSCRIBE $com
           a <- UNSUBSCRIBED 5
           b -> PUBLISH {} com.x
           a <- EVENT $wildcard * {"topic":"com.x"}"#,
    );
}

/// AP-PBR-04, requirements 5, point 21: runs of literal components decide from the left, and not
/// the length of the text or the order of registration.
#[test]
fn ap_pbr_04_the_longest_run_from_the_left_wins() {
    for [loser, winner, uri] in [
        ["a...d", "a.b..", "a.b.c.d"],
        [".b.c.d", "a...", "a.b.c.d"],
        ["a..c.d", "a.b..", "a.b.c.d"],
        ["a...", "a..c.", "a.b.c.d"],
        ["a..c.", "a..c.d", "a.b.c.d"],
        [".bbbbbbbb.cccccccc", "a..", "a.bbbbbbbb.cccccccc"],
    ] {
        for (first, second) in [(loser, winner), (winner, loser)] {
            let [first_id, second_id] =
                [first, second].map(|it| if it == winner { "$w" } else { "$l" });
            check(&format!(
                r#"join a b
                   a -> REGISTER {{"match":"wildcard"}} {first}
                   a <- REGISTERED 1 {first_id}
                   a -> REGISTER {{"match":"wildcard"}} {second}
                   a <- REGISTERED 2 {second_id}
                   b -> CALL {{}} {uri}
                   a <- INVOCATION 1 $w {{"procedure":"{uri}"}}"#
            ));
        }
    }
}
