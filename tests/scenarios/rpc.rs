//! REGISTER, CALL and what follows (requirements 1.5).

use super::dialogue::check;

/// BP-REG-01, BP-CALL-01, BP-CALL-02, BP-ORD-06
#[test]
fn a_call_reaches_its_callee_and_comes_back() {
    check(
        r#"join a b
           a -> REGISTER {} com.add
           a <- REGISTERED 1 $r
           b -> CALL {} com.add [23,7] {"k":[null]}
           a <- INVOCATION 1 $r {} [23,7] {"k":[null]}
           a -> YIELD 1 {} [30] {"ok":true}
           b <- RESULT 1 {} [30] {"ok":true}
           b -> CALL {} com.add
           a <- INVOCATION 2 $r {}
           a -> YIELD 2 {}
           b <- RESULT 2 {}"#,
    );
}

/// BP-REG-01: also the same session may not register twice.
#[test]
fn a_procedure_has_one_callee_by_default() {
    check(
        r#"join a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> REGISTER {} com.p
           b <- ERROR 64 1 {} wamp.error.procedure_already_exists *
           a -> REGISTER {} com.p
           a <- ERROR 64 2 {} wamp.error.procedure_already_exists *
           b -> REGISTER {"invoke":"roundrobin"} com.p
           b <- ERROR 64 2 {} wamp.error.procedure_already_exists *
           b -> REGISTER {"match":"prefix"} com.p
           b <- REGISTERED 3 *"#,
    );
}

/// BP-TY-04: an unknown invocation policy is no violation.
#[test]
fn an_unknown_invocation_policy_is_refused() {
    check(
        r#"join a
           a -> REGISTER {"invoke":"loudest"} com.p
           a <- ERROR 64 1 {} wamp.error.invalid_argument *"#,
    );
}

/// BP-REG-02, BP-PV-04
#[test]
fn only_a_callee_can_unregister() {
    check(
        "join a b
         a -> REGISTER {} com.p
         a <- REGISTERED 1 $r
         b -> UNREGISTER $r
         b <- ERROR 66 1 {} wamp.error.no_such_registration *
         b -> UNREGISTER 4711
         b <- ERROR 66 2 {} wamp.error.no_such_registration *
         a -> UNREGISTER $r
         a <- UNREGISTERED 2
         a -> UNREGISTER $r
         a <- ERROR 66 3 {} wamp.error.no_such_registration *
         b -> CALL {} com.p
         b <- ERROR 48 3 {} wamp.error.no_such_procedure *
         b -> REGISTER {} com.p
         b <- REGISTERED 4 *",
    );
}

/// BP-REG-02
#[test]
fn an_invocation_outlives_its_registration() {
    check(
        "join a b
         a -> REGISTER {} com.p
         a <- REGISTERED 1 $r
         b -> CALL {} com.p
         a <- INVOCATION 1 $r {}
         b -> CALL {} com.p
         a <- INVOCATION 2 $r {}
         a -> UNREGISTER $r
         a <- UNREGISTERED 2
         a -> YIELD 1 {} [1]
         b <- RESULT 1 {} [1]
         a -> ERROR 68 2 {} com.error [2]
         b <- ERROR 48 2 {} com.error [2]",
    );
}

/// BP-REG-03, BP-URI-07
#[test]
fn an_invalid_or_reserved_procedure_is_refused() {
    for procedure in ["com..p", "\"\"", "\"com.my proc\"", "#", "wamp.p", "wamp"] {
        check(&format!(
            "join a
             a -> REGISTER {{}} {procedure}
             a <- ERROR 64 1 {{}} wamp.error.invalid_uri *"
        ));
    }
}

/// BP-URI-07: a pattern never captures the protocol's own procedures.
#[test]
fn a_pattern_does_not_capture_reserved_procedures() {
    check(
        r#"join a b
           a -> REGISTER {"match":"prefix"} ""
           a <- REGISTERED 1 $r
           a -> REGISTER {"match":"wildcard"} ..get
           a <- REGISTERED 2 $w
           b -> CALL {} wamp.session.get
           b <- ERROR 48 1 {} wamp.error.invalid_argument *
           b -> CALL {} wamp.nobody.get
           b <- ERROR 48 2 {} wamp.error.no_such_procedure *
           b -> CALL {} wampfoo
           a <- INVOCATION 1 $r {"procedure":"wampfoo"}"#,
    );
}

/// BP-CALL-01
#[test]
fn an_unknown_procedure_is_refused() {
    check(
        "join a
         a -> CALL {} com.nothing
         a <- ERROR 48 1 {} wamp.error.no_such_procedure *
         a -> CALL {} com..nothing
         a <- ERROR 48 2 {} wamp.error.invalid_uri *",
    );
}

/// BP-CALL-02, BP-URI-08: with its URI, whatever that is, and its payload.
#[test]
fn an_error_of_the_callee_passes_through() {
    check(
        r#"join a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {} com.p
           a <- INVOCATION 1 * {}
           a -> ERROR 68 1 {"_secret":1} com.error.mine ["why"] {"code":7}
           b <- ERROR 48 1 {} com.error.mine ["why"] {"code":7}
           b -> CALL {} com.p
           a <- INVOCATION 2 * {}
           a -> ERROR 68 2 {} wamp.error.invalid_argument
           b <- ERROR 48 2 {} wamp.error.invalid_argument"#,
    );
}

/// BP-URI-08
#[test]
fn an_error_with_an_invalid_uri_still_ends_the_call() {
    check(
        r#"join a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {} com.p
           a <- INVOCATION 1 * {}
           a -> ERROR 68 1 {} "no uri at all"
           b <- ERROR 48 1 {} wamp.error.invalid_uri ["no uri at all"]"#,
    );
}

/// BP-CALL-03, BP-CALL-05
#[test]
fn calls_end_in_any_order() {
    check(
        "join a b
         a -> REGISTER {} com.p
         a <- REGISTERED 1 *
         b -> CALL {} com.p [1]
         b -> CALL {} com.p [2]
         b -> CALL {} com.p [3]
         a <- INVOCATION 1 * {} [1]
         a <- INVOCATION 2 * {} [2]
         a <- INVOCATION 3 * {} [3]
         a -> YIELD 3 {} [3]
         a -> ERROR 68 1 {} com.error
         a -> YIELD 2 {} [2]
         b <- RESULT 3 {} [3]
         b <- ERROR 48 1 {} com.error
         b <- RESULT 2 {} [2]",
    );
}

/// BP-ORD-04: across procedures.
#[test]
fn calls_reach_a_callee_in_order() {
    check(
        "join a b
         a -> REGISTER {} com.p
         a <- REGISTERED 1 $p
         a -> REGISTER {} com.q
         a <- REGISTERED 2 $q
         b -> CALL {} com.q [1]
         b -> CALL {} com.p [2]
         b -> CALL {} com.q [3]
         a <- INVOCATION 1 $q {} [1]
         a <- INVOCATION 2 $p {} [2]
         a <- INVOCATION 3 $q {} [3]",
    );
}

/// BP-CALL-04
#[test]
fn a_session_may_call_itself() {
    check(
        "join a
         a -> REGISTER {} com.p
         a <- REGISTERED 1 $r
         a -> CALL {} com.p [1]
         a <- INVOCATION 1 $r {} [1]
         a -> YIELD 1 {} [2]
         a <- RESULT 2 {} [2]
         a -> CALL {} com.p [1]
         a <- INVOCATION 2 $r {} [1]
         a -> GOODBYE {} wamp.close.normal
         a <- GOODBYE {} wamp.close.goodbye_and_out",
    );
}

/// BP-CALL-06
#[test]
fn a_caller_may_leave() {
    for leave in ["b is lost", "b -> ABORT {} com.error", "b -> [99]"] {
        let heard = match leave {
            "b -> [99]" => "b <- ABORT * wamp.error.protocol_violation\n b <- CLOSED 1008",
            "b is lost" => "",
            _ => "b <- CLOSED",
        };
        check(&format!(
            "join a b c
             a -> REGISTER {{}} com.p
             a <- REGISTERED 1 *
             b -> CALL {{}} com.p
             a <- INVOCATION 1 * {{}}
             {leave}
             {heard}
             a -> YIELD 1 {{}} [1]
             c -> CALL {{}} com.p
             a <- INVOCATION 2 * {{}}
             a -> YIELD 2 {{}} [2]
             c <- RESULT 1 {{}} [2]"
        ));
    }
}

/// BP-CALL-06: after a GOODBYE the same connection may call again; old answers do not reach it.
#[test]
fn an_answer_to_an_earlier_session_is_discarded() {
    check(
        r#"join a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 *
           b -> CALL {} com.p [1]
           a <- INVOCATION 1 * {} [1]
           b -> GOODBYE {} wamp.close.normal
           b <- GOODBYE {} wamp.close.goodbye_and_out
           join b
           b -> CALL {} com.p [2]
           a <- INVOCATION 2 * {} [2]
           a -> YIELD 1 {} ["old"]
           a -> YIELD 2 {} ["new"]
           b <- RESULT 1 {} ["new"]"#,
    );
}

/// BP-CALL-07: also for what was unregistered before.
#[test]
fn a_callee_may_leave() {
    for leave in ["a is lost", "a -> ABORT {} com.error", "a -> GOODBYE {} wamp.close.normal"] {
        let heard = match leave {
            "a is lost" => "",
            "a -> ABORT {} com.error" => "a <- CLOSED",
            _ => "a <- GOODBYE {} wamp.close.goodbye_and_out",
        };
        check(&format!(
            "join a b
             a -> REGISTER {{}} com.p
             a <- REGISTERED 1 $r
             a -> REGISTER {{}} com.q
             a <- REGISTERED 2 *
             b -> CALL {{}} com.p
             a <- INVOCATION 1 * {{}}
             b -> CALL {{}} com.q
             a <- INVOCATION 2 * {{}}
             a -> UNREGISTER $r
             a <- UNREGISTERED 3
             {leave}
             {heard}
             b <- ERROR 48 1 {{}} wamp.error.canceled *
             b <- ERROR 48 2 {{}} wamp.error.canceled *
             b -> REGISTER {{}} com.q
             b <- REGISTERED 3 *"
        ));
    }
}

/// AP-SHR-01 with BP-CALL-01: the policies of shared registrations.
#[test]
fn shared_registrations_take_turns() {
    for (policy, turns) in
        [("roundrobin", ["a", "b", "a"]), ("first", ["a", "a", "a"]), ("last", ["b", "b", "b"])]
    {
        let calls: Vec<String> = turns
            .iter()
            .map(|callee| format!("c -> CALL {{}} com.p\n {callee} <- INVOCATION * $r {{}}"))
            .collect();
        check(&format!(
            r#"join a b c
               a -> REGISTER {{"invoke":"{policy}"}} com.p
               a <- REGISTERED 1 $r
               b -> REGISTER {{"invoke":"{policy}"}} com.p
               b <- REGISTERED 1 $r
               {}"#,
            calls.join("\n")
        ));
    }
}

/// AP-SHR-04: in the order of registration; whoever leaves is neither waited for nor made up for.
#[test]
fn ap_shr_04_a_callee_that_leaves_does_not_disturb_the_turns() {
    let registered: String = ["a", "b", "c", "d"]
        .map(|name| {
            format!(
                "{name} -> REGISTER {{\"invoke\":\"roundrobin\"}} com.p
                 {name} <- REGISTERED 1 $r\n"
            )
        })
        .concat();
    for (leaves, turns) in [
        // Before its turn, behind it, and the one whose turn it is.
        ("d is lost", ["c", "a", "b"]),
        ("a is lost", ["c", "d", "b"]),
        ("c is lost", ["d", "a", "b"]),
        ("c -> UNREGISTER $r\n c <- UNREGISTERED 2", ["d", "a", "b"]),
        ("c loses registration $r", ["d", "a", "b"]),
    ] {
        let [first, second, third] = turns;
        check(&format!(
            "join a b c d e
             {registered}
             e -> CALL {{}} com.p
             a <- INVOCATION 1 $r {{}}
             a -> YIELD 1 {{}}
             e <- RESULT 1 {{}}
             e -> CALL {{}} com.p
             b <- INVOCATION 1 $r {{}}
             {leaves}
             e -> CALL {{}} com.p
             {first} <- INVOCATION * $r {{}}
             e -> CALL {{}} com.p
             {second} <- INVOCATION * $r {{}}
             e -> CALL {{}} com.p
             {third} <- INVOCATION * $r {{}}"
        ));
    }
}

/// AP-SHR-04: first and last are those of the callees that are there, in the order in which they
/// came: hot standby.
#[test]
fn ap_shr_04_a_standby_takes_over() {
    for (policy, leaving) in [("first", ["a", "b", "c", "d"]), ("last", ["d", "c", "b", "a"])] {
        let registered: String = ["a", "b", "c", "d"]
            .map(|name| {
                format!(
                    "{name} -> REGISTER {{\"invoke\":\"{policy}\"}} com.p
                     {name} <- REGISTERED 1 $r\n"
                )
            })
            .concat();
        let calls: String = leaving
            .map(|name| {
                format!(
                    "e -> CALL {{}} com.p
                     {name} <- INVOCATION 1 $r {{}}
                     {name} is lost
                     e <- ERROR 48 * {{}} wamp.error.canceled *\n"
                )
            })
            .concat();
        check(&format!(
            "join a b c d e
             {registered}
             {calls}
             e -> CALL {{}} com.p
             e <- ERROR 48 5 {{}} wamp.error.no_such_procedure *"
        ));
    }
}

/// BP-ORD-07: not promised, kept all the same.
#[test]
fn a_call_does_not_overtake_a_publication_before_it() {
    check(
        "join a b
         b -> SUBSCRIBE {} com.x
         b <- SUBSCRIBED 1 $s
         b -> REGISTER {} com.p
         b <- REGISTERED 2 $r
         a -> PUBLISH {} com.x [1]
         a -> CALL {} com.p [2]
         b <- EVENT $s * {} [1]
         b <- INVOCATION 1 $r {} [2]
         b -> YIELD 1 {} [3]
         a <- RESULT 2 {} [3]",
    );
}
