//! PUBLISH and EVENT (requirements 1.4).

use super::dialogue::{check, check_with};

/// BP-PUB-01
#[test]
fn without_acknowledge_nothing_is_answered() {
    check(
        r#"join a
           a -> PUBLISH {} com.x
           a -> PUBLISH {"acknowledge":false} com.x
           a -> PUBLISH {} com..x
           a -> PUBLISH {} wamp.x
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 5 *"#,
    );
}

/// BP-PUB-02, BP-PUB-04: also without a subscriber.
#[test]
fn an_acknowledged_publication_is_answered_once() {
    check(
        r#"join a b
           a -> PUBLISH {"acknowledge":true} com.x
           a <- PUBLISHED 1 *
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 $s
           a -> PUBLISH {"acknowledge":true} com.x
           a <- PUBLISHED 2 $p
           b <- EVENT $s $p {}"#,
    );
}

/// BP-PUB-02, BP-PUB-05, BP-URI-06
#[test]
fn an_invalid_topic_is_refused() {
    for topic in ["com..x", "com.x.", "\"\"", "\"com.my topic\"", "#"] {
        check(&format!(
            r#"join a
               a -> PUBLISH {{"acknowledge":true}} {topic}
               a <- ERROR 16 1 {{}} wamp.error.invalid_uri *"#
        ));
    }
}

/// BP-URI-07: the first component decides.
#[test]
fn reserved_topics_are_refused() {
    check(
        r#"join a b
           b -> SUBSCRIBE {"match":"prefix"} wamp
           b <- SUBSCRIBED 1 $s
           b <- EVENT $s * {"topic":"wamp.subscription.on_create"} *
           b <- EVENT $s * {"topic":"wamp.subscription.on_subscribe"} [$id_b,$s]
           a -> PUBLISH {"acknowledge":true} wamp.session.on_join
           a <- ERROR 16 1 {} wamp.error.invalid_uri *
           a -> PUBLISH {"acknowledge":true} wamp
           a <- ERROR 16 2 {} wamp.error.invalid_uri *
           a -> PUBLISH {"acknowledge":true} wampfoo.bar
           a <- PUBLISHED 3 $p
           b <- EVENT $s $p {"topic":"wampfoo.bar"}"#,
    );
}

/// BP-PUB-03
#[test]
fn the_publisher_is_excluded_by_default() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 $s
           a -> PUBLISH {} com.x [7]
           b <- EVENT $s * {} [7]
           b -> PUBLISH {"exclude_me":true} com.x [8]
           a <- EVENT $s * {} [8]"#,
    );
}

/// BP-PUB-03, BP-PUB-08: PUBLISHED comes first.
#[test]
fn the_publisher_may_receive_its_own_event() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 $s
           a -> PUBLISH {"exclude_me":false,"acknowledge":true} com.x [7]
           a <- PUBLISHED 2 $p
           a <- EVENT $s $p {} [7]
           b <- EVENT $s $p {} [7]"#,
    );
}

/// BP-PUB-05: accepted or not, what is wrong ends the session as always.
#[test]
fn a_malformed_publication_is_a_violation_without_subscribers_too() {
    check(
        r#"join a
           a -> [16, 1, {}, "com.x", "args"]
           a <- ABORT * wamp.error.protocol_violation
           a <- CLOSED 1008"#,
    );
}

/// BP-PUB-06, BP-ID-05: one EVENT per subscription, all with one publication id.
#[test]
fn every_matching_subscription_gets_the_event() {
    check(
        r#"join a b c
           a -> SUBSCRIBE {"match":"prefix"} com
           a <- SUBSCRIBED 1 $prefix
           b -> SUBSCRIBE {"match":"wildcard"} com..z
           b <- SUBSCRIBED 1 $wildcard
           c -> SUBSCRIBE {} com.y.z
           c <- SUBSCRIBED 1 $exact
           c -> PUBLISH {"acknowledge":true,"exclude_me":false} com.y.z [1]
           c <- PUBLISHED 2 $p
           c <- EVENT $exact $p {} [1]
           a <- EVENT $prefix $p {"topic":"com.y.z"} [1]
           b <- EVENT $wildcard $p {"topic":"com.y.z"} [1]
           c -> PUBLISH {} com.y
           a <- EVENT $prefix * {"topic":"com.y"}"#,
    );
}

/// BP-PUB-07, BP-TY-07, BP-MOD-05
#[test]
fn the_payload_arrives_unchanged() {
    let payload =
        r#"[1,-2,2.5,null,true,"ü",[[]],{"k":{}}] {"deep":{"er":[1]},"n":18446744073709551615}"#;
    for payload in [payload, r#"[] {"only":"kw"}"#, ""] {
        check(&format!(
            "join a b c
             a -> SUBSCRIBE {{}} com.x
             a <- SUBSCRIBED 1 $s
             c -> SUBSCRIBE {{}} com.x
             c <- SUBSCRIBED 1 $s
             b -> PUBLISH {{}} com.x {payload}
             a <- EVENT $s * {{}} {payload}
             c <- EVENT $s * {{}} {payload}"
        ));
    }
}

/// BP-MOD-06, BP-TY-03
#[test]
fn unknown_options_are_ignored_and_not_forwarded() {
    check(
        r#"join a b
           a -> SUBSCRIBE {"_shoe":42,"x":{}} com.x
           a <- SUBSCRIBED 1 $s
           b -> PUBLISH {"_mine":[1],"hy-phen":null} com.x
           a <- EVENT $s * {}"#,
    );
}

/// BP-ORD-01
#[test]
fn events_of_one_publisher_keep_their_order_across_topics() {
    check(
        "join a b
         a -> SUBSCRIBE {} com.x
         a <- SUBSCRIBED 1 $x
         a -> SUBSCRIBE {} com.y
         a <- SUBSCRIBED 2 $y
         b -> PUBLISH {} com.x [1]
         b -> PUBLISH {} com.y [2]
         b -> PUBLISH {} com.x [3]
         a <- EVENT $x * {} [1]
         a <- EVENT $y * {} [2]
         a <- EVENT $x * {} [3]",
    );
}

/// BP-URI-03: where the realm's rule is the strict one.
#[test]
fn a_strict_realm_takes_lower_case_digits_and_underscore() {
    check(
        r#"a -> HELLO strict {"roles":{"publisher":{}}}
           a <- WELCOME * *
           a -> PUBLISH {"acknowledge":true} com.my_app.2
           a <- PUBLISHED 1 *
           a -> PUBLISH {"acknowledge":true} com.MyApp
           a <- ERROR 16 2 {} wamp.error.invalid_uri *
           a -> SUBSCRIBE {"match":"wildcard"} com..my-app
           a <- ERROR 32 3 {} wamp.error.invalid_uri *
           a -> REGISTER {} com.größe
           a <- ERROR 64 4 {} wamp.error.invalid_uri *"#,
    );
}

/// BP-URI-06
#[test]
fn a_topic_has_a_length_limit() {
    check_with(
        |settings| settings.limits.uri_bytes = 10,
        r#"join a
           a -> PUBLISH {"acknowledge":true} com.567890
           a <- PUBLISHED 1 *
           a -> PUBLISH {"acknowledge":true} com.5678901
           a <- ERROR 16 2 {} wamp.error.invalid_uri *"#,
    );
}
