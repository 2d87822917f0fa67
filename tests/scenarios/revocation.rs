//! Registrations that an administrator ends (requirements 2.2.11).

use super::dialogue::check;

/// A callee that announced `registration_revocation`, and one that did not, of one registration.
const SHARED: &str = r#"join b c
    a -> HELLO realm1 {"roles":{"callee":{"features":{"registration_revocation":true}}}}
    a <- WELCOME $id_a *
    a -> REGISTER {"invoke":"first"} com.p
    a <- REGISTERED 1 $r
    b -> REGISTER {"invoke":"first"} com.p
    b <- REGISTERED 1 $r"#;

/// AP-REVR-01: no request is answered, no call follows, and the others keep theirs.
#[test]
fn ap_revr_01_a_registration_may_be_revoked() {
    check(&format!(
        r#"{SHARED}
           c -> CALL {{}} com.p [1]
           a <- INVOCATION 1 $r {{}} [1]
           a loses registration $r because "no longer authorized"
           a <- UNREGISTERED 0 {{"registration":$r,"reason":"no longer authorized"}}
           c -> CALL {{}} com.p [2]
           b <- INVOCATION 1 $r {{}} [2]
           a loses registration $r
           a -> UNREGISTER $r
           a <- ERROR 66 2 {{}} wamp.error.no_such_registration *
           a -> REGISTER {{"invoke":"first"}} com.p
           a <- REGISTERED 3 $r
           a loses registration $r
           a <- UNREGISTERED 0 {{"registration":$r}}
           a -> YIELD 1 {{}}
           c <- RESULT 1 {{}}"#
    ));
}

/// AP-REVR-01: who did not announce it is not told, and loses the calls all the same.
#[test]
fn ap_revr_01_it_is_silent_for_others() {
    check(&format!(
        r#"{SHARED}
           a loses registration $r
           a <- UNREGISTERED 0 {{"registration":$r}}
           b loses registration $r because tired
           c -> CALL {{}} com.p
           c <- ERROR 48 1 {{}} wamp.error.no_such_procedure *
           b -> REGISTER {{"invoke":"last"}} com.p
           b <- REGISTERED 2 $new
           c -> CALL {{}} com.p
           b <- INVOCATION 1 $new {{}}"#
    ));
}

/// AP-REVR-01: the feature counts where it was announced, for the callee.
#[test]
fn ap_revr_01_another_role_does_not_announce_it() {
    check(
        r#"a -> HELLO realm1 {"roles":{"callee":{"features":{"registration_revocation":false}},\
                "caller":{"features":{"registration_revocation":true}}}}
           a <- WELCOME $id_a *
           a -> REGISTER {} com.p
           a <- REGISTERED 1 $r
           a loses registration $r because tired
           a -> CALL {} com.p
           a <- ERROR 48 2 {} wamp.error.no_such_procedure *"#,
    );
}

/// AP-REVR-01: what a session does not hold it cannot lose.
#[test]
fn ap_revr_01_only_the_callees_own_registration_ends() {
    check(
        r#"join b c
           a -> HELLO realm1 {"roles":{"callee":{"features":{"registration_revocation":true}}}}
           a <- WELCOME $id_a *
           b -> REGISTER {} com.p
           b <- REGISTERED 1 $r
           a loses registration $r
           a loses registration 4711
           c -> CALL {} com.p
           b <- INVOCATION 1 $r {}"#,
    );
}

/// AP-REVR-02: pending invocations go on, progressive ones too, and can be canceled.
#[test]
fn ap_revr_02_a_pending_invocation_outlives_its_registration() {
    check(
        r#"join fully a b
           a -> REGISTER {} com.p
           a <- REGISTERED 1 $r
           b -> CALL {"receive_progress":true,"progress":true} com.p [1]
           a <- INVOCATION 1 $r {"receive_progress":true,"progress":true} [1]
           b -> CALL {} com.p
           a <- INVOCATION 2 $r {}
           a loses registration $r
           a <- UNREGISTERED 0 {"registration":$r}
           b -> CALL #1 {} com.p [2]
           a <- INVOCATION 1 $r {"receive_progress":true} [2]
           a -> YIELD 1 {"progress":true} [3]
           b <- RESULT 1 {"progress":true} [3]
           a -> YIELD 1 {} [4]
           b <- RESULT 1 {} [4]
           b -> CANCEL #2 {}
           b <- ERROR 48 2 {} wamp.error.canceled *
           a <- INTERRUPT 2 {"mode":"killnowait"}"#,
    );
}

/// AP-REVR-01: a reason that the peer's transport does not take is left out.
#[test]
fn ap_revr_01_a_long_reason_is_left_out() {
    let reason = "long ".repeat(240);
    check(&format!(
        r#"a via rawsocket 1024
           a -> HELLO realm1 {{"roles":{{"callee":{{"features":{{\
                "registration_revocation":true}}}}}}}}
           a <- WELCOME $id_a *
           a -> REGISTER {{}} com.p
           a <- REGISTERED 1 $r
           a loses registration $r because "{reason}"
           a <- UNREGISTERED 0 {{"registration":$r}}"#
    ));
}
