//! SUBSCRIBE and UNSUBSCRIBE (requirements 1.4).

use super::dialogue::check;

/// BP-SUB-01, BP-SUB-03, BP-ORD-02
#[test]
fn subscribers_of_a_topic_share_the_subscription() {
    check(
        "join a b c
         a -> SUBSCRIBE {} com.x
         a <- SUBSCRIBED 1 $s
         b -> SUBSCRIBE {} com.x
         b <- SUBSCRIBED 1 $s
         c -> PUBLISH {} com.x [1]
         a <- EVENT $s $p {} [1]
         b <- EVENT $s $p {} [1]",
    );
}

/// BP-SUB-02: no second delivery, and one UNSUBSCRIBE ends it.
#[test]
fn subscribing_again_gives_the_same_subscription() {
    check(
        "join a b
         a -> SUBSCRIBE {} com.x
         a <- SUBSCRIBED 1 $s
         a -> SUBSCRIBE {} com.x
         a <- SUBSCRIBED 2 $s
         b -> PUBLISH {} com.x
         a <- EVENT $s * {}
         a -> UNSUBSCRIBE $s
         a <- UNSUBSCRIBED 3
         b -> PUBLISH {} com.x
         a -> UNSUBSCRIBE $s
         a <- ERROR 34 4 {} wamp.error.no_such_subscription *",
    );
}

/// BP-SUB-03
#[test]
fn another_policy_is_another_subscription() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $exact
           a -> SUBSCRIBE {"match":"prefix"} com.x
           a <- SUBSCRIBED 2 $prefix
           a -> UNSUBSCRIBE $exact
           a <- UNSUBSCRIBED 3
           b -> PUBLISH {} com.x
           a <- EVENT $prefix * {"topic":"com.x"}"#,
    );
}

/// BP-SUB-04, BP-URI-02, BP-URI-04, BP-URI-05
#[test]
fn an_invalid_topic_is_refused() {
    for topic in ["com..x", "com.x.", ".x", "\"com.my topic\"", "com.#", "\"com.x\\n\"", "\"\""] {
        check(&format!(
            "join a
             a -> SUBSCRIBE {{}} {topic}
             a <- ERROR 32 1 {{}} wamp.error.invalid_uri *"
        ));
    }
    check(
        r#"join a
           a -> SUBSCRIBE {"match":"wildcard"} com..x
           a <- SUBSCRIBED 1 *
           a -> SUBSCRIBE {"match":"prefix"} com.
           a <- SUBSCRIBED 2 *
           a -> SUBSCRIBE {"match":"prefix"} com..x
           a <- ERROR 32 3 {} wamp.error.invalid_uri *
           a -> SUBSCRIBE {"match":"prefix"} ""
           a <- SUBSCRIBED 4 $all
           a <- EVENT $all * {"topic":"wamp.subscription.on_create"} *
           a <- EVENT $all * {"topic":"wamp.subscription.on_subscribe"} [$id_a,$all]"#,
    );
}

/// BP-URI-07: meta events are for subscribers.
#[test]
fn reserved_topics_may_be_subscribed() {
    check(
        "join a
         a -> SUBSCRIBE {} wamp.session.on_join
         a <- SUBSCRIBED 1 *",
    );
}

/// BP-SUB-05, BP-PV-04: not only unknown, also somebody else's.
#[test]
fn only_a_subscriber_can_unsubscribe() {
    check(
        "join a b
         a -> SUBSCRIBE {} com.x
         a <- SUBSCRIBED 1 $s
         b -> UNSUBSCRIBE $s
         b <- ERROR 34 1 {} wamp.error.no_such_subscription *
         b -> UNSUBSCRIBE 4711
         b <- ERROR 34 2 {} wamp.error.no_such_subscription *
         b -> PUBLISH {} com.x
         a <- EVENT $s * {}",
    );
}

/// BP-SUB-05: the others keep theirs, and a new life has a new id.
#[test]
fn a_subscription_lives_as_long_as_it_has_subscribers() {
    check(
        "join a b
         a -> SUBSCRIBE {} com.x
         a <- SUBSCRIBED 1 $s
         b -> SUBSCRIBE {} com.x
         b <- SUBSCRIBED 1 $s
         a -> UNSUBSCRIBE $s
         a <- UNSUBSCRIBED 2
         a -> PUBLISH {} com.x
         b <- EVENT $s * {}
         b -> UNSUBSCRIBE $s
         b <- UNSUBSCRIBED 2
         a -> SUBSCRIBE {} com.x
         a <- SUBSCRIBED 4 $new
         b -> UNSUBSCRIBE $s
         b <- ERROR 34 3 {} wamp.error.no_such_subscription *
         b -> PUBLISH {} com.x
         a <- EVENT $new * {}",
    );
}
