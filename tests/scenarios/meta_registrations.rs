//! The registration meta API (requirements 2.4.2).

use stentor::router::CallerDisclosure;

use super::dialogue::{check, check_realm};

/// AP-RMA: all three keys are always there; AP-RMA-03: none of the router's own.
#[test]
fn ap_rma_03_registrations_are_listed_by_policy() {
    check(
        r#"join a b
           a sees dealer registration_meta_api
           a -> CALL {} wamp.registration.list
           a <- RESULT 1 {} [{"exact":[],"prefix":[],"wildcard":[]}]
           b -> REGISTER {} com.x
           b <- REGISTERED 1 $x
           b -> REGISTER {"match":"prefix"} com
           b <- REGISTERED 2 $p
           b -> REGISTER {"match":"wildcard"} com.
           b <- REGISTERED 3 $w
           b -> REGISTER {} com.y
           b <- REGISTERED 4 $y
           a -> CALL {} wamp.registration.list
           a <- RESULT 2 {} ~[{"exact":[$x,$y],"prefix":[$p],"wildcard":[$w]}]
           b -> UNREGISTER $x
           b <- UNREGISTERED 5
           a -> CALL {} wamp.registration.list
           a <- RESULT 3 {} [{"exact":[$y],"prefix":[$p],"wildcard":[$w]}]"#,
    );
}

/// AP-RMA-02, AP-RMA-03: `lookup` compares, `match` finds what a call would.
#[test]
fn ap_rma_02_lookup_compares_and_match_finds_the_best() {
    check(
        r#"join a b
           b -> REGISTER {"match":"prefix"} ""
           b <- REGISTERED 1 $all
           b -> REGISTER {"match":"prefix"} com
           b <- REGISTERED 2 $p
           b -> REGISTER {} com.x
           b <- REGISTERED 3 $x
           a -> CALL {} wamp.registration.lookup ["com"]
           a <- RESULT 1 {} [null]
           a -> CALL {} wamp.registration.lookup ["com",{"match":"prefix","invoke":"single"}]
           a <- RESULT 2 {} [$p]
           a -> CALL {} wamp.registration.lookup ["com.x"]
           a <- RESULT 3 {} [$x]
           a -> CALL {} wamp.registration.match ["com.x"]
           a <- RESULT 4 {} [$x]
           a -> CALL {} wamp.registration.match ["com.y"]
           a <- RESULT 5 {} [$p]
           a -> CALL {} wamp.registration.match ["org.y"]
           a <- RESULT 6 {} [$all]
           a -> CALL {} wamp.registration.match ["wamp.session.get"]
           a <- RESULT 7 {} [null]
           a -> CALL {} wamp.registration.lookup ["wamp.session.get"]
           a <- RESULT 8 {} [null]"#,
    );
}

/// AP-RMA-03: `match` and `invoke` are always said.
#[test]
fn ap_rma_03_a_registration_is_described() {
    check(
        r#"join a b
           b -> REGISTER {} com.x
           b <- REGISTERED 1 $x
           wait 250
           b -> REGISTER {"match":"prefix","invoke":"roundrobin"} com
           b <- REGISTERED 2 $p
           a -> CALL {} wamp.registration.get [$x]
           a <- RESULT 1 {} [{"id":$x,"created":"2024-05-01T12:00:01.000Z","uri":"com.x",\
            "match":"exact","invoke":"single"}]
           a -> CALL {} wamp.registration.get [$p]
           a <- RESULT 2 {} [{"id":$p,"created":"2024-05-01T12:00:01.250Z","uri":"com",\
            "match":"prefix","invoke":"roundrobin"}]
           a -> CALL {} wamp.registration.get [99]
           a <- ERROR 48 3 {} wamp.error.no_such_registration *"#,
    );
}

/// AP-RMA: callees in the order in which they came.
#[test]
fn callees_are_counted_and_listed() {
    check(
        r#"join a b c
           b -> REGISTER {"invoke":"random"} com.x
           b <- REGISTERED 1 $x
           c -> REGISTER {"invoke":"random"} com.x
           c <- REGISTERED 1 $x
           a -> CALL {} wamp.registration.list_callees [$x]
           a <- RESULT 1 {} [[$id_b,$id_c]]
           a -> CALL {} wamp.registration.count_callees [$x]
           a <- RESULT 2 {} [2]
           b is lost
           a -> CALL {} wamp.registration.list_callees [$x]
           a <- RESULT 3 {} [[$id_c]]
           c -> UNREGISTER $x
           c <- UNREGISTERED 2
           a -> CALL {} wamp.registration.list_callees [$x]
           a <- ERROR 48 4 {} wamp.error.no_such_registration *
           a -> CALL {} wamp.registration.count_callees [$x]
           a <- ERROR 48 5 {} wamp.error.no_such_registration *"#,
    );
}

/// AP-REVR-02, AP-REVR-03: by call, for those who may; pending invocations go on.
#[test]
fn ap_revr_03_a_callee_is_removed_by_call() {
    check_realm(
        |realm| realm.admin_roles = vec!["anonymous".into()],
        r#"join a b
           c -> HELLO realm1 {"roles":{"callee":{"features":{"registration_revocation":true}}}}
           c <- WELCOME $id_c *
           c -> REGISTER {} com.x
           c <- REGISTERED 1 $x
           a -> SUBSCRIBE {"match":"prefix"} wamp.registration.
           a <- SUBSCRIBED 1 $m
           a -> CALL {} com.x
           c <- INVOCATION 1 $x {}
           a -> CALL {} wamp.registration.remove_callee [$x,$id_c] {"reason":"com.myapp.out"}
           a <- RESULT 3 {}
           c <- UNREGISTERED 0 {"registration":$x,"reason":"com.myapp.out"}
           a <- EVENT $m * {"topic":"wamp.registration.on_unregister"} [$id_c,$x]
           a <- EVENT $m * {"topic":"wamp.registration.on_delete"} [$id_c,$x]
           c -> YIELD 1 {} [7]
           a <- RESULT 2 {} [7]
           a -> CALL {} wamp.registration.remove_callee [$x,$id_c]
           a <- ERROR 48 4 {} wamp.error.no_such_registration *
           b -> REGISTER {} com.y
           b <- REGISTERED 1 $y
           a <- EVENT $m * {"topic":"wamp.registration.on_create"} *
           a <- EVENT $m * {"topic":"wamp.registration.on_register"} *
           a -> CALL {} wamp.registration.remove_callee [$y,$id_c]
           a <- ERROR 48 5 {} wamp.error.no_such_session *"#,
    );
    check(
        r#"join a b
           b -> REGISTER {} com.x
           b <- REGISTERED 1 $x
           a -> CALL {} wamp.registration.remove_callee [$x,$id_b]
           a <- ERROR 48 1 {} wamp.error.not_authorized *"#,
    );
}

/// AP-RMA-04: what is no string is refused; what matches nothing is null.
#[test]
fn ap_rma_04_arguments_of_a_wrong_type_are_refused() {
    for call in ["get", "get [\"x\"]", "list_callees [[]]", "lookup [7]", "match", "match [{}]"] {
        check(&format!(
            "join a
             a -> CALL {{}} wamp.registration.{call}
             a <- ERROR 48 1 {{}} wamp.error.invalid_argument *"
        ));
    }
    check(
        r#"join a
           a -> CALL {} wamp.registration.match ["com..x"]
           a <- RESULT 1 {} [null]
           a -> CALL {} wamp.registration.lookup ["no uri"]
           a <- RESULT 2 {} [null]"#,
    );
}

/// AP-SHR-06, AP-SHR-07: one creation for all callees, each of them registers, and the policy can
/// be asked for.
#[test]
fn ap_shr_06_each_callee_of_a_shared_registration_registers() {
    for policy in ["single", "roundrobin", "random", "first", "last"] {
        let second = if policy == "single" {
            "c -> REGISTER {} com.x
             c <- ERROR 64 1 {} wamp.error.procedure_already_exists *"
                .to_owned()
        } else {
            format!(
                r#"c -> REGISTER {{"invoke":"{policy}"}} com.x
                   c <- REGISTERED 1 $x
                   a <- EVENT $m * {{"topic":"wamp.registration.on_register"}} [$id_c,$x]"#
            )
        };
        check(&format!(
            r#"join a b c
               a -> SUBSCRIBE {{"match":"prefix"}} wamp.registration.
               a <- SUBSCRIBED 1 $m
               b -> REGISTER {{"invoke":"{policy}"}} com.x
               b <- REGISTERED 1 $x
               a <- EVENT $m * {{"topic":"wamp.registration.on_create"}} [$id_b,$created]
               a <- EVENT $m * {{"topic":"wamp.registration.on_register"}} [$id_b,$x]
               {second}
               a -> CALL {{}} wamp.registration.get [$x]
               a <- RESULT 2 {{}} [{{"id":$x,"created":"2024-05-01T12:00:01.000Z","uri":"com.x",\
                "match":"exact","invoke":"{policy}"}}]"#
        ));
    }
}

/// AP-CID-06: the router's own procedures know who calls, whatever the realm discloses.
#[test]
fn ap_cid_06_the_meta_api_knows_its_callers() {
    for disclosure in [CallerDisclosure::Allow, CallerDisclosure::Forbid] {
        check_realm(
            |realm| {
                realm.caller_disclosure = disclosure;
                realm.admin_roles = vec!["anonymous".into()];
            },
            r#"join a b
               a -> CALL {} wamp.session.kill [$id_a]
               a <- ERROR 48 1 {} wamp.error.no_such_session *
               a -> CALL {} wamp.session.kill_all
               a <- RESULT 2 {} [1]
               b <- GOODBYE * wamp.close.killed"#,
        );
    }
}
