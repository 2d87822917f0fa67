//! The subscription meta API (requirements 2.4.3).

use super::dialogue::{check, check_realm, check_with};

/// AP-SUA: all three keys are always there.
#[test]
fn subscriptions_are_listed_by_policy() {
    check(
        r#"join a b
           a sees broker subscription_meta_api
           a -> CALL {} wamp.subscription.list
           a <- RESULT 1 {} [{"exact":[],"prefix":[],"wildcard":[]}]
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 2 $x
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 $x
           b -> SUBSCRIBE {} com.y
           b <- SUBSCRIBED 2 $y
           b -> SUBSCRIBE {"match":"prefix"} com
           b <- SUBSCRIBED 3 $p
           b -> SUBSCRIBE {"match":"wildcard"} com.
           b <- SUBSCRIBED 4 $w
           a -> CALL {} wamp.subscription.list
           a <- RESULT 3 {} ~[{"exact":[$x,$y],"prefix":[$p],"wildcard":[$w]}]
           b is lost
           a -> CALL {} wamp.subscription.list
           a <- RESULT 4 {} [{"exact":[$x],"prefix":[],"wildcard":[]}]"#,
    );
}

/// AP-RMA-02, AP-SUA: `lookup` compares, `match` matches; null where nothing is found.
#[test]
fn lookup_compares_and_match_matches() {
    check(
        r#"join a b
           b -> SUBSCRIBE {"match":"prefix"} com
           b <- SUBSCRIBED 1 $p
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 2 $x
           a -> CALL {} wamp.subscription.lookup ["com"]
           a <- RESULT 1 {} [null]
           a -> CALL {} wamp.subscription.lookup ["com",{"match":"prefix"}]
           a <- RESULT 2 {} [$p]
           a -> CALL {} wamp.subscription.lookup ["com.x",{}]
           a <- RESULT 3 {} [$x]
           a -> CALL {} wamp.subscription.lookup ["com.x",{"match":"wildcard"}]
           a <- RESULT 4 {} [null]
           a -> CALL {} wamp.subscription.match ["com.x"]
           a <- RESULT 5 {} ~[[$x,$p]]
           a -> CALL {} wamp.subscription.match ["org.x"]
           a <- RESULT 6 {} [null]
           a -> CALL {} wamp.subscription.match ["no uri"]
           a <- RESULT 7 {} [null]"#,
    );
}

/// AP-SUA: the details of a subscription.
#[test]
fn a_subscription_is_described() {
    check(
        r#"join a b
           b -> SUBSCRIBE {"match":"wildcard"} com..x
           b <- SUBSCRIBED 1 $s
           wait 5000
           a -> CALL {} wamp.subscription.get [$s]
           a <- RESULT 1 {} \
            [{"id":$s,"created":"2024-05-01T12:00:01.000Z","uri":"com..x","match":"wildcard"}]
           a -> CALL {} wamp.subscription.get [99]
           a <- ERROR 48 2 {} wamp.error.no_such_subscription *
           b -> UNSUBSCRIBE $s
           b <- UNSUBSCRIBED 2
           a -> CALL {} wamp.subscription.get [$s]
           a <- ERROR 48 3 {} wamp.error.no_such_subscription *"#,
    );
}

/// AP-SUA-01: who subscribes, on whichever shard; spelled as the specification does.
#[test]
fn ap_sua_01_subscribers_are_counted_and_listed() {
    check(
        r#"join a b c
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $x
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 $x
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 2 $x
           c -> CALL {} wamp.subscription.list_subscribers [$x]
           c <- RESULT 1 {} ~[[$id_a,$id_b]]
           c -> CALL {} wamp.subscription.count_subscribers [$x]
           c <- RESULT 2 {} [2]
           a -> UNSUBSCRIBE $x
           a <- UNSUBSCRIBED 2
           c -> CALL {} wamp.subscription.list_subscribers [$x]
           c <- RESULT 3 {} [[$id_b]]
           b is lost
           c -> CALL {} wamp.subscription.list_subscribers [$x]
           c <- ERROR 48 4 {} wamp.error.no_such_subscription *
           c -> CALL {} wamp.subscription.count_subscribers [$x]
           c <- ERROR 48 5 {} wamp.error.no_such_subscription *"#,
    );
}

/// AP-SUA-04: everybody who may call gets the same answer; a wrong argument is refused.
#[test]
fn ap_sua_04_arguments_of_a_wrong_type_are_refused() {
    for call in [
        "get",
        "get [\"x\"]",
        "list_subscribers [\"x\"]",
        "count_subscribers [[]]",
        "lookup",
        "lookup [7]",
        "lookup [\"com.x\",7]",
        "lookup [\"com.x\",{\"match\":7}]",
        "lookup [\"com.x\",{\"match\":\"regex\"}]",
        "match [7]",
    ] {
        check(&format!(
            "join a
             a -> CALL {{}} wamp.subscription.{call}
             a <- ERROR 48 1 {{}} wamp.error.invalid_argument *"
        ));
    }
}

/// An answer is bounded, so that nobody can make the router write books.
#[test]
fn a_list_that_is_too_long_is_refused() {
    check_with(
        |settings| settings.limits.meta_list_items = 1,
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $x
           a -> CALL {} wamp.subscription.list
           a <- RESULT 2 {} [{"exact":[$x],"prefix":[],"wildcard":[]}]
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 $x
           b -> SUBSCRIBE {} com.y
           b <- SUBSCRIBED 2 $y
           a -> CALL {} wamp.subscription.list
           a <- ERROR 48 3 {} wamp.error.resource_limit *
           a -> CALL {} wamp.subscription.list_subscribers [$x]
           a <- ERROR 48 4 {} wamp.error.resource_limit *
           a -> CALL {} wamp.subscription.count_subscribers [$x]
           a <- RESULT 5 {} [2]
           a -> CALL {} wamp.session.list
           a <- ERROR 48 6 {} wamp.error.resource_limit *"#,
    );
}

/// The arguments of the router's own procedures are bounded, too.
#[test]
fn arguments_that_are_too_large_are_refused() {
    check_with(
        |settings| settings.limits.meta_call_bytes = 20,
        r#"join a
           a -> CALL {} wamp.subscription.match ["com.a.b.c.d.e.f.g.h.i"]
           a <- ERROR 48 1 {} wamp.error.payload_size_exceeded *
           a -> CALL {} wamp.subscription.match ["com.a"]
           a <- RESULT 2 {} [null]"#,
    );
}

/// AP-REVS-01: by call, for those who may.
#[test]
fn ap_revs_01_a_subscription_is_revoked_by_call() {
    check_realm(
        |realm| realm.admin_roles = vec!["anonymous".into()],
        r#"join a b
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 $x
           c -> HELLO realm1 \
            {"roles":{"subscriber":{"features":{"subscription_revocation":true}}}}
           c <- WELCOME $id_c *
           c -> SUBSCRIBE {} com.x
           c <- SUBSCRIBED 1 $x
           a -> CALL {} wamp.subscription.remove_subscriber [$x,$id_b] {"reason":"com.myapp.out"}
           a <- RESULT 1 {}
           a -> CALL {} wamp.subscription.remove_subscriber [$x,$id_c] {"reason":"com.myapp.out"}
           a <- RESULT 2 {}
           c <- UNSUBSCRIBED 0 {"subscription":$x,"reason":"com.myapp.out"}
           a -> CALL {} wamp.subscription.remove_subscriber [$x,$id_c]
           a <- ERROR 48 3 {} wamp.error.no_such_subscription *
           b -> SUBSCRIBE {} com.y
           b <- SUBSCRIBED 2 $y
           a -> CALL {} wamp.subscription.remove_subscriber [$y,99]
           a <- ERROR 48 4 {} wamp.error.no_such_session *
           a -> CALL {} wamp.subscription.remove_subscriber [$y]
           a <- ERROR 48 5 {} wamp.error.invalid_argument *"#,
    );
    check(
        r#"join a b
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 $x
           a -> CALL {} wamp.subscription.remove_subscriber [$x,$id_b]
           a <- ERROR 48 1 {} wamp.error.not_authorized *"#,
    );
}
