//! The session meta API: who is here, who comes and goes, and killing (requirements 2.4.1).

use stentor::router::GoodbyeReply;

use super::dialogue::{check, check_realm};

/// A dialogue in which anonymous clients may kill.
fn check_admin(dialogue: &str) {
    check_realm(|realm| realm.admin_roles = vec!["anonymous".into()], dialogue);
}

/// AP-SMA-01: announced on both roles.
#[test]
fn the_session_meta_api_is_announced() {
    check(
        "join a
         a sees broker session_meta_api
         a sees dealer session_meta_api
         a sees dealer testament_meta_api",
    );
}

/// AP-SMA-01: only the caller's realm; AP-SMA-04: an absent filter, an empty one, a wrong one.
#[test]
fn ap_sma_01_count_and_list_see_the_sessions_of_the_realm() {
    check(
        r#"join a b
           c -> HELLO realm2 {"roles":{"caller":{}}}
           c <- WELCOME $id_c *
           a -> CALL {} wamp.session.count
           a <- RESULT 1 {} [2]
           a -> CALL {} wamp.session.count [["anonymous","admin"]]
           a <- RESULT 2 {} [2]
           a -> CALL {} wamp.session.count [["admin"]]
           a <- RESULT 3 {} [0]
           a -> CALL {} wamp.session.count [[]]
           a <- RESULT 4 {} [0]
           a -> CALL {} wamp.session.count [null]
           a <- RESULT 5 {} [2]
           a -> CALL {} wamp.session.list
           a <- RESULT 6 {} ~[[$id_a,$id_b]]
           a -> CALL {} wamp.session.list [["anonymous"]]
           a <- RESULT 7 {} ~[[$id_a,$id_b]]
           a -> CALL {} wamp.session.list [[]]
           a <- RESULT 8 {} [[]]
           c -> CALL {} wamp.session.list
           c <- RESULT 1 {} [[$id_c]]
           a -> CALL {} wamp.session.get [$id_c]
           a <- ERROR 48 9 {} wamp.error.no_such_session *"#,
    );
}

/// AP-SMA-04
#[test]
fn ap_sma_04_arguments_of_a_wrong_type_are_refused() {
    for call in [
        "count [7]",
        "count [\"anonymous\"]",
        "count [[7]]",
        "list [{}]",
        "get",
        "get [\"x\"]",
        "get [-1]",
        "get [0]",
        "get [null]",
        "get [1.5]",
        "kill [\"x\"]",
        "kill [7] {\"reason\":7}",
        "kill [7] {\"message\":7}",
        "kill_by_authid",
        "kill_by_authid [7]",
        "kill_by_authrole [7]",
        "kill_all [] {\"reason\":[]}",
    ] {
        check_admin(&format!(
            "join a b
             a -> CALL {{}} wamp.session.{call}
             a <- ERROR 48 1 {{}} wamp.error.invalid_argument *"
        ));
    }
}

/// AP-SMA: what is known of a session.
#[test]
fn a_session_is_described() {
    check(
        r#"a via websocket
           join a b
           b -> CALL {} wamp.session.get [$id_a]
           b <- RESULT 1 {} [{"session":$id_a,"authid":$authid_a,"authrole":"anonymous",\
            "authmethod":"anonymous","authprovider":"static",\
            "transport":{"type":"websocket","serializer":*}}]
           b -> CALL {} wamp.session.get [$id_b]
           b <- RESULT 2 {} [*]
           b -> CALL {} wamp.session.get [9007199254740992]
           b <- ERROR 48 3 {} wamp.error.no_such_session *
           a -> GOODBYE {} wamp.close.close_realm
           a <- GOODBYE {} wamp.close.goodbye_and_out
           b -> CALL {} wamp.session.get [$id_a]
           b <- ERROR 48 4 {} wamp.error.no_such_session *"#,
    );
}

/// AP-SMA-05, AP-SMA-06: each once, to others; on_leave has three positional values.
#[test]
fn ap_sma_06_joining_and_leaving_are_announced_to_others() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} wamp.session.on_join
           a <- SUBSCRIBED 1 $j
           a -> SUBSCRIBE {} wamp.session.on_leave
           a <- SUBSCRIBED 2 $l
           c via rawsocket 1048576
           join c
           a <- EVENT $j * {} [$who]
           a -> CALL {} wamp.session.get [$id_c]
           a <- RESULT 3 {} [$who]
           c -> GOODBYE {} wamp.close.close_realm
           c <- GOODBYE {} wamp.close.goodbye_and_out
           a <- EVENT $l * {} [$id_c,$authid_c,"anonymous"]
           b is lost
           a <- EVENT $l * {} [$id_b,$authid_b,"anonymous"]
           a -> UNSUBSCRIBE $j
           a <- UNSUBSCRIBED 4
           join d
           d -> [16, "x"]
           d <- ABORT * wamp.error.protocol_violation
           d <- CLOSED
           a <- EVENT $l * {} [$id_d,$authid_d,"anonymous"]"#,
    );
}

/// AP-SMA-01: nothing of another realm is heard.
#[test]
fn ap_sma_01_meta_events_stay_in_their_realm() {
    check(
        r#"join a
           a -> SUBSCRIBE {"match":"prefix"} wamp.session
           a <- SUBSCRIBED 1 $s
           b -> HELLO realm2 {"roles":{"caller":{}}}
           b <- WELCOME * *
           b -> GOODBYE {} wamp.close.close_realm
           b <- GOODBYE * *
           a -> CALL {} wamp.session.count
           a <- RESULT 2 {} [1]"#,
    );
}

/// AP-SMA-02
#[test]
fn ap_sma_02_a_killed_session_is_told_why() {
    check_admin(
        r#"join a b c
           a -> CALL {} wamp.session.kill [$id_b]
           a <- RESULT 1 {}
           b <- GOODBYE {} wamp.close.killed
           b -> GOODBYE {} wamp.close.goodbye_and_out
           b <- CLOSED 1000
           a -> CALL {} wamp.session.kill [$id_c] {"reason":"com.myapp.out","message":"go home"}
           a <- RESULT 2 {}
           c <- GOODBYE {"message":"go home"} com.myapp.out
           c -> GOODBYE {} wamp.close.goodbye_and_out
           c <- CLOSED 1000
           a -> CALL {} wamp.session.kill [$id_b]
           a <- ERROR 48 3 {} wamp.error.no_such_session *"#,
    );
}

/// AP-SMA-02: not oneself; a reason must be a URI.
#[test]
fn ap_sma_02_what_cannot_be_killed() {
    check_admin(
        r#"join a b
           a -> CALL {} wamp.session.kill [$id_a]
           a <- ERROR 48 1 {} wamp.error.no_such_session *
           a -> CALL {} wamp.session.kill [77]
           a <- ERROR 48 2 {} wamp.error.no_such_session *
           a -> CALL {} wamp.session.kill [$id_b] {"reason":""}
           a <- ERROR 48 3 {} wamp.error.invalid_uri *
           a -> CALL {} wamp.session.kill [$id_b] {"reason":"no uri"}
           a <- ERROR 48 4 {} wamp.error.invalid_uri *
           a -> CALL {} wamp.session.kill_all [] {"reason":"com..x"}
           a <- ERROR 48 5 {} wamp.error.invalid_uri *
           a -> CALL {} wamp.session.count
           a <- RESULT 6 {} [2]"#,
    );
}

/// AP-SMA-07: off unless a role is named for it.
#[test]
fn ap_sma_07_killing_must_be_allowed() {
    for call in ["kill [$id_b]", "kill_by_authid [\"x\"]", "kill_by_authrole [\"x\"]", "kill_all"] {
        check(&format!(
            "join a b
             a -> CALL {{}} wamp.session.{call}
             a <- ERROR 48 1 {{}} wamp.error.not_authorized *
             a -> CALL {{}} wamp.session.count
             a <- RESULT 2 {{}} [2]"
        ));
    }
}

/// AP-SMA-02: the others with that authid; the ids of the killed come back.
#[test]
fn ap_sma_02_kill_by_authid() {
    check_admin(
        r#"join a b
           a -> CALL {} wamp.session.kill_by_authid [$authid_b] {"reason":"com.myapp.out"}
           a <- RESULT 1 {} [[$id_b]]
           b <- GOODBYE {} com.myapp.out
           b -> GOODBYE {} wamp.close.goodbye_and_out
           b <- CLOSED 1000
           a -> CALL {} wamp.session.kill_by_authid [$authid_a]
           a <- RESULT 2 {} [[]]"#,
    );
}

/// Clients of crossbar compare what they hear, and take what it gives them.
#[test]
fn whoever_leaves_is_told_and_announced_as_crossbar_has_it() {
    check_realm(
        |realm| {
            realm.disclose_leavers = false;
            realm.goodbye_reply = GoodbyeReply::Normal;
        },
        r#"join a b
           a -> SUBSCRIBE {} wamp.session.on_leave
           a <- SUBSCRIBED 1 $l
           b -> GOODBYE {} wamp.close.normal
           b <- GOODBYE {} wamp.close.normal
           a <- EVENT $l * {} [$id_b]"#,
    );
}

/// AP-SMA-02: everybody with that role but the caller.
#[test]
fn ap_sma_02_kill_by_authrole() {
    check_admin(
        r#"at one node: the answers of others come behind what has come of it
           join a b c
           a -> SUBSCRIBE {} wamp.session.on_leave
           a <- SUBSCRIBED 1 $l
           a -> CALL {} wamp.session.kill_by_authrole ["admin"]
           a <- RESULT 2 {} [0]
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 *
           a -> CALL {} wamp.session.kill_by_authrole ["anonymous"]
           a <- RESULT 3 {} [2]
           a <- EVENT $l * {} [*,*,"anonymous"]
           a <- EVENT $l * {} [*,*,"anonymous"]
           b <- GOODBYE {} wamp.close.killed
           c <- GOODBYE {} wamp.close.killed
           a -> CALL {} wamp.session.list
           a <- RESULT 4 {} [[$id_a]]"#,
    );
}

/// AP-SMA-03: without meta events of sessions, and without testaments.
#[test]
fn ap_sma_03_kill_all_makes_no_noise() {
    check_admin(
        r#"join a b c
           a -> SUBSCRIBE {} wamp.session.on_leave
           a <- SUBSCRIBED 1 $l
           a -> SUBSCRIBE {} com.myapp.bye
           a <- SUBSCRIBED 2 $bye
           b -> CALL {} wamp.session.add_testament ["com.myapp.bye",[],{}]
           b <- RESULT 1 {}
           a -> CALL {} wamp.session.kill_all [] {"message":"maintenance"}
           a <- RESULT 3 {} [2]
           b <- GOODBYE {"message":"maintenance"} wamp.close.killed
           c <- GOODBYE {"message":"maintenance"} wamp.close.killed
           a -> CALL {} wamp.session.count
           a <- RESULT 4 {} [1]"#,
    );
}

/// BP-CALL-03: a killed callee's callers are told, and so is everybody else.
#[test]
fn killing_a_callee_ends_its_invocations() {
    check_admin(
        r#"join a b c
           b -> REGISTER {} com.x
           b <- REGISTERED 1 $r
           c -> CALL {} com.x
           b <- INVOCATION 1 $r {}
           a -> CALL {} wamp.session.kill [$id_b]
           a <- RESULT 1 {}
           b <- GOODBYE {} wamp.close.killed
           c <- ERROR 48 1 {} wamp.error.canceled *
           c -> CALL {} com.x
           c <- ERROR 48 2 {} wamp.error.no_such_procedure *"#,
    );
}

/// AP-META-02: meta procedures answer at once, whatever a call asks for besides.
#[test]
fn ap_meta_02_timeouts_progress_and_cancel_are_trivial() {
    check(
        r#"join fully a
           a -> CALL {"timeout":1,"receive_progress":true} wamp.session.count
           a <- RESULT 1 {} [1]
           a -> [49, 1, {"mode":"kill"}]
           a -> CALL {"progress":true} wamp.session.count
           a <- RESULT 2 {} [1]
           a -> [48, 2, {"progress":false}, "wamp.session.count"]
           wait 100
           a -> CALL {"disclose_me":true} wamp.session.count
           a <- RESULT 3 {} [1]
           a -> CALL {} wamp.session.no_such_thing
           a <- ERROR 48 4 {} wamp.error.no_such_procedure *"#,
    );
}

/// AP-META-02: nobody else can offer the router's procedures.
#[test]
fn ap_meta_02_clients_cannot_register_meta_procedures() {
    check(
        "join a
         a -> REGISTER {} wamp.session.count
         a <- ERROR 64 1 {} wamp.error.invalid_uri *",
    );
}
