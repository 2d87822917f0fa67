//! Testaments: what a session wants published when it ends (requirements 2.4.4).

use stentor::router::PublisherDisclosure;

use super::dialogue::{check, check_realm, check_with};

/// AP-TES-01, AP-TES-06: however the session ends; and adding one returns nothing.
#[test]
fn ap_tes_01_a_testament_is_published_however_the_session_ends() {
    for end in [
        "b is lost",
        "b -> GOODBYE {} wamp.close.close_realm
         b <- GOODBYE {} wamp.close.goodbye_and_out",
        "b -> ABORT {} com.myapp.tired
         b <- CLOSED",
        "b -> [16, \"x\"]
         b <- ABORT * wamp.error.protocol_violation
         b <- CLOSED",
        "a -> CALL {} wamp.session.kill [$id_b]
         a <- RESULT 2 {}
         b <- GOODBYE {} wamp.close.killed",
    ] {
        check_realm(
            |realm| realm.admin_roles = vec!["anonymous".into()],
            &format!(
                r#"join a b
                   a -> SUBSCRIBE {{}} com.myapp.mytopic
                   a <- SUBSCRIBED 1 $s
                   b -> CALL {{}} wamp.session.add_testament \
                    ["com.myapp.mytopic",["Seeya!"],{{"my_name":"app1"}}]
                   b <- RESULT 1 {{}}
                   {end}
                   a <- EVENT $s * {{}} ["Seeya!"] {{"my_name":"app1"}}"#
            ),
        );
    }
}

/// AP-TES-01, AP-TES-02: two buckets, each in its order, `detached` first.
#[test]
fn ap_tes_02_detached_comes_before_destroyed_and_each_keeps_its_order() {
    check(
        r#"join a b
           a -> SUBSCRIBE {"match":"prefix"} com
           a <- SUBSCRIBED 1 $s
           b -> CALL {} wamp.session.add_testament ["com.d",[1],{}]
           b <- RESULT 1 {}
           b -> CALL {} wamp.session.add_testament ["com.e",[2],{}] {"scope":"detached"}
           b <- RESULT 2 {}
           b -> CALL {} wamp.session.add_testament ["com.f",[3]] {"scope":"destroyed"}
           b <- RESULT 3 {}
           b -> CALL {} wamp.session.add_testament ["com.g"] {"scope":"detached"}
           b <- RESULT 4 {}
           b is lost
           a <- EVENT $s * {"topic":"com.e"} [2]
           a <- EVENT $s * {"topic":"com.g"}
           a <- EVENT $s * {"topic":"com.d"} [1]
           a <- EVENT $s * {"topic":"com.f"} [3]"#,
    );
}

/// AP-TES-02: flushing one scope leaves the other.
#[test]
fn ap_tes_02_flushing_takes_one_scope() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           b -> CALL {} wamp.session.add_testament ["com.x",["destroyed"],{}]
           b <- RESULT 1 {}
           b -> CALL {} wamp.session.add_testament ["com.x",["detached"],{}] {"scope":"detached"}
           b <- RESULT 2 {}
           b -> CALL {} wamp.session.flush_testaments
           b <- RESULT 3 {}
           b is lost
           a <- EVENT $s * {} ["detached"]
           join c
           c -> CALL {} wamp.session.add_testament ["com.x",["destroyed"],{}]
           c <- RESULT 1 {}
           c -> CALL {} wamp.session.add_testament ["com.x",["detached"],{}] {"scope":"detached"}
           c <- RESULT 2 {}
           c -> CALL {} wamp.session.flush_testaments [] {"scope":"detached"}
           c <- RESULT 3 {}
           c -> GOODBYE {} wamp.close.close_realm
           c <- GOODBYE * *
           a <- EVENT $s * {} ["destroyed"]"#,
    );
}

/// AP-TES-03: the options of the publication count, `acknowledge` does not.
#[test]
fn ap_tes_03_publish_options_are_honoured() {
    check(
        r#"join a b c
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           c -> SUBSCRIBE {} com.x
           c <- SUBSCRIBED 1 $s
           b -> CALL {} wamp.session.add_testament ["com.x",[1],{}] \
            {"publish_options":{"exclude":[$id_a],"acknowledge":true}}
           b <- RESULT 1 {}
           b -> CALL {} wamp.session.add_testament ["com.x",[2],{}] \
            {"publish_options":{"disclose_me":true,"retain":true,"eligible_authid":[$authid_a]}}
           b <- RESULT 2 {}
           b -> CALL {} wamp.session.add_testament ["com.x",[3],{}] \
            {"publish_options":{"retain":true}}
           b <- RESULT 3 {}
           b is lost
           c <- EVENT $s * {} [1]
           a <- EVENT $s * {"publisher":$id_b,"publisher_authid":$authid_b,\
            "publisher_authrole":"anonymous"} [2]
           a <- EVENT $s $p {} [3]
           c <- EVENT $s $p {} [3]
           join d
           d -> SUBSCRIBE {"get_retained":true} com.x
           d <- SUBSCRIBED 1 $s
           d <- EVENT $s $p {"retained":true} [3]"#,
    );
}

/// AP-TES-04: what could not be published cannot be left.
#[test]
fn ap_tes_04_what_would_be_refused_is_refused_at_once() {
    for (call, error) in [
        (r#"["com..x",[],{}]"#, "invalid_uri"),
        (r#"["wamp.session.on_leave",[],{}]"#, "invalid_uri"),
        ("[]", "invalid_argument"),
        ("[7,[],{}]", "invalid_argument"),
        (r#"["com.x",{},{}]"#, "invalid_argument"),
        (r#"["com.x",[],[]]"#, "invalid_argument"),
        (r#"["com.x",[],{}] {"scope":"forever"}"#, "invalid_argument"),
        (r#"["com.x",[],{}] {"scope":7}"#, "invalid_argument"),
        (r#"["com.x",[],{}] {"publish_options":7}"#, "invalid_argument"),
        (r#"["com.x",[],{}] {"publish_options":{"retain":7}}"#, "invalid_argument"),
        (r#"["com.x",[],{}] {"publish_options":{"ppt_scheme":"wamp"}}"#, "invalid_argument"),
    ] {
        check(&format!(
            "join a b
             b -> SUBSCRIBE {{\"match\":\"prefix\"}} com
             b <- SUBSCRIBED 1 *
             a -> CALL {{}} wamp.session.add_testament {call}
             a <- ERROR 48 1 {{}} wamp.error.{error} *
             a is lost"
        ));
    }
    check_realm(
        |realm| realm.publisher_disclosure = PublisherDisclosure::Forbid,
        r#"join a
           a -> CALL {} wamp.session.add_testament ["com.x",[],{}] \
            {"publish_options":{"disclose_me":true}}
           a <- ERROR 48 1 {} wamp.error.option_disallowed.disclose_me *
           a -> CALL {} wamp.session.flush_testaments [] {"scope":"forever"}
           a <- ERROR 48 2 {} wamp.error.invalid_argument *"#,
    );
}

/// AP-TES-04: bounded in number and bytes.
#[test]
fn ap_tes_04_testaments_are_bounded() {
    check_with(
        |settings| settings.limits.testaments_per_session = 2,
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           b -> CALL {} wamp.session.add_testament ["com.x",[1],{}]
           b <- RESULT 1 {}
           b -> CALL {} wamp.session.add_testament ["com.x",[2],{}] {"scope":"detached"}
           b <- RESULT 2 {}
           b -> CALL {} wamp.session.add_testament ["com.x",[3],{}]
           b <- ERROR 48 3 {} wamp.error.resource_limit *
           b -> CALL {} wamp.session.flush_testaments
           b <- RESULT 4 {}
           b -> CALL {} wamp.session.add_testament ["com.x",[4],{}]
           b <- RESULT 5 {}
           b is lost
           a <- EVENT $s * {} [2]
           a <- EVENT $s * {} [4]"#,
    );
    check_with(
        |settings| settings.limits.testament_bytes = 40,
        r#"join b
           b -> CALL {} wamp.session.add_testament ["com.x",["0123456789"],{}]
           b <- RESULT 1 {}
           b -> CALL {} wamp.session.add_testament ["com.x",["0123456789"],{}]
           b <- ERROR 48 2 {} wamp.error.resource_limit *"#,
    );
}

/// AP-TES-05: a shutdown publishes none.
#[test]
fn ap_tes_05_a_shutdown_publishes_no_testaments() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           b -> CALL {} wamp.session.add_testament ["com.x",[1],{}]
           b <- RESULT 1 {}
           shutdown
           a <- GOODBYE {} wamp.close.system_shutdown
           b <- GOODBYE {} wamp.close.system_shutdown"#,
    );
}

/// A testament in one serializer is heard in every other.
#[test]
fn ap_tes_03_payload_passthru_needs_its_feature() {
    check(
        r#"join fully a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           b -> CALL {} wamp.session.add_testament ["com.x",["abc"],{}] \
            {"publish_options":{"ppt_scheme":"wamp","ppt_serializer":"cbor"}}
           b <- RESULT 1 {}
           b is lost
           a <- EVENT $s * {"ppt_scheme":"wamp","ppt_serializer":"cbor"} ["abc"]"#,
    );
}
