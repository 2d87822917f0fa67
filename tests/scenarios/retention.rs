//! Event retention (requirements 2.3.9).

use super::authorization::trusted;
use super::dialogue::{check, check_realm, check_with};

/// AP-RET-01, AP-RET-02: without the options nothing is kept and nothing is given.
#[test]
fn ap_ret_01_a_retained_event_comes_with_the_subscription() {
    check(
        r#"join a b c
           a -> PUBLISH {"retain":true,"acknowledge":true} com.x [1] {"k":2}
           a <- PUBLISHED 1 $p
           a -> PUBLISH {} com.x [3]
           a -> PUBLISH {"retain":false} com.x [4]
           a -> PUBLISH {"retain":true} com.y [5]
           b -> SUBSCRIBE {"get_retained":true} com.x
           b <- SUBSCRIBED 1 $s
           b <- EVENT $s $p {"retained":true} [1] {"k":2}
           c -> SUBSCRIBE {} com.x
           c <- SUBSCRIBED 1 $s
           a -> PUBLISH {} com.x [6]
           b <- EVENT $s * {} [6]
           c <- EVENT $s * {} [6]"#,
    );
}

/// AP-RET-02: the most recent one; it goes to the subscribers of the day like any other.
#[test]
fn ap_ret_02_the_most_recent_retained_event_counts() {
    check(
        r#"join a b c
           c -> SUBSCRIBE {} com.x
           c <- SUBSCRIBED 1 $s
           a -> PUBLISH {"retain":true} com.x [1]
           c <- EVENT $s * {} [1]
           b -> PUBLISH {"retain":true} com.x [2]
           c <- EVENT $s $p {} [2]
           a -> SUBSCRIBE {"get_retained":true} com.x
           a <- SUBSCRIBED 2 $s
           a <- EVENT $s $p {"retained":true} [2]"#,
    );
}

/// AP-RET-03: an event for a few does not hide the one for everyone.
#[test]
fn ap_ret_03_everyone_keeps_an_event() {
    check(
        r#"join a b c
           a -> PUBLISH {"retain":true} com.x [1]
           a -> PUBLISH {"retain":true,"eligible":[$id_b]} com.x [2]
           b -> SUBSCRIBE {"get_retained":true} com.x
           b <- SUBSCRIBED 1 $s
           b <- EVENT $s * {"retained":true} [2]
           c -> SUBSCRIBE {"get_retained":true} com.x
           c <- SUBSCRIBED 1 $s
           c <- EVENT $s * {"retained":true} [1]"#,
    );
}

/// AP-RET-04: the publication keeps its id and its publisher; both may be gone by then.
#[test]
fn ap_ret_04_it_keeps_what_it_had_when_it_was_published() {
    check_realm(
        |realm| realm.access = trusted(0),
        r#"join a b
           a -> PUBLISH {"retain":true,"disclose_me":true,"acknowledge":true} com.x [1]
           a <- PUBLISHED 1 $p
           a -> GOODBYE {} wamp.close.normal
           a <- GOODBYE * *
           b -> SUBSCRIBE {"get_retained":true} com.x
           b <- SUBSCRIBED 1 $s
           b <- EVENT $s $p {"publisher":$id_a,"publisher_authid":$authid_a,\
                "publisher_authrole":"anonymous","trustlevel":0,"retained":true} [1]"#,
    );
}

/// AP-RET-04, AP-PPT-01
#[test]
fn ap_ret_04_passthru_keys_are_kept() {
    check(
        r#"join b
           a -> HELLO realm1 {"roles":{"publisher":{"features":{"payload_passthru_mode":true}}}}
           a <- WELCOME * *
           a -> PUBLISH {"retain":true,"ppt_scheme":"mqtt"} com.x ["\u0000q83v"]
           b -> SUBSCRIBE {"get_retained":true} com.x
           b <- SUBSCRIBED 1 $s
           b <- EVENT $s * {"ppt_scheme":"mqtt","retained":true} ["\u0000q83v"]"#,
    );
}

/// AP-RET-05, AP-BWL-07
#[test]
fn ap_ret_05_who_was_excluded_stays_excluded() {
    check(
        r#"join a b c
           a -> PUBLISH {"retain":true} com.me [1]
           a -> SUBSCRIBE {"get_retained":true} com.me
           a <- SUBSCRIBED 2 *
           a -> PUBLISH {"retain":true,"exclude_me":false} com.me.too [2]
           a -> SUBSCRIBE {"get_retained":true} com.me.too
           a <- SUBSCRIBED 4 $s
           a <- EVENT $s * {"retained":true} [2]
           a -> PUBLISH {"retain":true,"exclude":[$id_b]} com.ex [3]
           a -> PUBLISH {"retain":true,"eligible_authid":[$authid_c]} com.el [4]
           a -> PUBLISH {"retain":true,"exclude_authrole":["anonymous"]} com.ro [5]
           a -> PUBLISH {"retain":true,"eligible":[]} com.no [6]
           b -> SUBSCRIBE {"get_retained":true,"match":"prefix"} com.
           b <- SUBSCRIBED 1 $prefix
           b <- EVENT $prefix * {"topic":"com.me","retained":true} [1]
           b <- EVENT $prefix * {"topic":"com.me.too","retained":true} [2]
           c -> SUBSCRIBE {"get_retained":true,"match":"wildcard"} com.
           c <- SUBSCRIBED 1 $wildcard
           c <- EVENT $wildcard * {"topic":"com.me","retained":true} [1]
           c <- EVENT $wildcard * {"topic":"com.ex","retained":true} [3]
           c <- EVENT $wildcard * {"topic":"com.el","retained":true} [4]"#,
    );
}

/// AP-RET-05: a session is who it was; a new one of the same client is another.
#[test]
fn ap_ret_05_a_new_session_is_another_one() {
    check(
        r#"join a b
           a -> PUBLISH {"retain":true,"exclude":[$id_b]} com.x [1]
           a -> PUBLISH {"retain":true,"eligible":[$id_b]} com.y [2]
           b -> GOODBYE {} wamp.close.normal
           b <- GOODBYE * *
           join b
           b -> SUBSCRIBE {"get_retained":true} com.x
           b <- SUBSCRIBED 1 $x
           b <- EVENT $x * {"retained":true} [1]
           b -> SUBSCRIBE {"get_retained":true} com.y
           b <- SUBSCRIBED 2 *"#,
    );
}

/// AP-RET-06: in the order of publication, the most recent ones if there are too many.
#[test]
fn ap_ret_06_a_pattern_brings_the_event_of_every_topic() {
    check_with(
        |settings| settings.limits.retained_per_subscribe = 2,
        r#"join a b
           a -> PUBLISH {"retain":true} com.z [1]
           a -> PUBLISH {"retain":true} org.z [2]
           a -> PUBLISH {"retain":true} com.y [3]
           a -> PUBLISH {"retain":true} com.x [4]
           a -> PUBLISH {"retain":true} com.y [5]
           b -> SUBSCRIBE {"get_retained":true,"match":"prefix"} com
           b <- SUBSCRIBED 1 $prefix
           b <- EVENT $prefix * {"retained":true,"topic":"com.x"} [4]
           b <- EVENT $prefix * {"retained":true,"topic":"com.y"} [5]
           b -> SUBSCRIBE {"get_retained":true,"match":"wildcard"} .z
           b <- SUBSCRIBED 2 $wildcard
           b <- EVENT $wildcard * {"retained":true,"topic":"com.z"} [1]
           b <- EVENT $wildcard * {"retained":true,"topic":"org.z"} [2]"#,
    );
}

/// AP-RET-07
#[test]
fn ap_ret_07_subscribing_again_brings_it_again() {
    check(
        r#"join a b
           a -> PUBLISH {"retain":true} com.x [1]
           b -> SUBSCRIBE {"get_retained":true} com.x
           b <- SUBSCRIBED 1 $s
           b <- EVENT $s $p {"retained":true} [1]
           b -> SUBSCRIBE {"get_retained":true} com.x
           b <- SUBSCRIBED 2 $s
           b <- EVENT $s $p {"retained":true} [1]
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 3 $s
           a -> PUBLISH {"retain":true} com.x [2]
           b <- EVENT $s $q {} [2]
           b -> SUBSCRIBE {"get_retained":true} com.x
           b <- SUBSCRIBED 4 $s
           b <- EVENT $s $q {"retained":true} [2]"#,
    );
}

/// AP-RET-08: an empty event is an event; the oldest one goes at the limit.
#[test]
fn ap_ret_08_only_limits_delete() {
    check_with(
        |settings| settings.limits.retained_events = 2,
        r#"join a b
           a -> PUBLISH {"retain":true} com.a [1]
           a -> PUBLISH {"retain":true} com.a
           a -> PUBLISH {"retain":true} com.b [2]
           b -> SUBSCRIBE {"get_retained":true} com.a
           b <- SUBSCRIBED 1 $a
           b <- EVENT $a * {"retained":true}
           a -> PUBLISH {"retain":true} com.c [3]
           b -> SUBSCRIBE {"get_retained":true} com.a
           b <- SUBSCRIBED 2 $a
           b -> SUBSCRIBE {"get_retained":true} com.b
           b <- SUBSCRIBED 3 $b
           b <- EVENT $b * {"retained":true} [2]"#,
    );
}

/// AP-RET-03: kept while nobody is there, and per realm.
#[test]
fn ap_ret_03_it_outlives_all_sessions_of_its_realm() {
    check(
        r#"join a
           a -> PUBLISH {"retain":true} com.x [1]
           a is lost
           c -> HELLO realm2 {"roles":{"subscriber":{}}}
           c <- WELCOME * *
           c -> SUBSCRIBE {"get_retained":true} com.x
           c <- SUBSCRIBED 1 *
           join b
           b -> SUBSCRIBE {"get_retained":true} com.x
           b <- SUBSCRIBED 1 $s
           b <- EVENT $s * {"retained":true} [1]"#,
    );
}

/// AP-RET-02: nobody is disconnected for what it asked to get.
#[test]
fn ap_ret_02_retained_events_leave_room_in_the_queue() {
    let text = "y".repeat(700);
    check_with(
        |settings| settings.output.hard_bytes = 2_000,
        &format!(
            r#"join a b
               a -> PUBLISH {{"retain":true}} com.a ["{text}"]
               a -> PUBLISH {{"retain":true}} com.b ["{text}"]
               a -> PUBLISH {{"retain":true}} com.c ["{text}"]
               b -> SUBSCRIBE {{"get_retained":true,"match":"prefix"}} com
               b <- SUBSCRIBED 1 $s
               b <- EVENT $s * {{"retained":true,"topic":"com.a"}} ["{text}"]
               a -> PUBLISH {{}} com.d [1]
               b <- EVENT $s * {{"topic":"com.d"}} [1]"#
        ),
    );
}
