//! The meta events of subscriptions and registrations, and their order (requirements 2.4.2, 2.4.3).

use super::dialogue::{check, check_realm};

/// AP-SUA-01: creation before joining, leaving before deletion; whoever leaves last deletes.
#[test]
fn ap_sua_01_subscriptions_are_announced_in_order() {
    check(
        r#"join a b c
           a -> SUBSCRIBE {"match":"prefix"} wamp.subscription.
           a <- SUBSCRIBED 1 $m
           a <- EVENT $m * {"topic":"wamp.subscription.on_create"} *
           a <- EVENT $m * {"topic":"wamp.subscription.on_subscribe"} [$id_a,$m]
           b -> SUBSCRIBE {"match":"wildcard"} com.
           b <- SUBSCRIBED 1 $x
           a <- EVENT $m * {"topic":"wamp.subscription.on_create"} [$id_b,\
            {"id":$x,"created":"2024-05-01T12:00:01.000Z","uri":"com.","match":"wildcard"}]
           a <- EVENT $m * {"topic":"wamp.subscription.on_subscribe"} [$id_b,$x]
           c -> SUBSCRIBE {"match":"wildcard"} com.
           c <- SUBSCRIBED 1 $x
           a <- EVENT $m * {"topic":"wamp.subscription.on_subscribe"} [$id_c,$x]
           c -> SUBSCRIBE {"match":"wildcard"} com.
           c <- SUBSCRIBED 2 $x
           b -> UNSUBSCRIBE $x
           b <- UNSUBSCRIBED 2
           a <- EVENT $m * {"topic":"wamp.subscription.on_unsubscribe"} [$id_b,$x]
           c is lost
           a <- EVENT $m * {"topic":"wamp.subscription.on_unsubscribe"} [$id_c,$x]
           a <- EVENT $m * {"topic":"wamp.subscription.on_delete"} [$id_c,$x]"#,
    );
}

/// AP-SUA-02, AP-SUA-03: subscribing to the meta events is itself an event, also for oneself, and
/// comes behind SUBSCRIBED (BP-ORD-02).
#[test]
fn ap_sua_02_the_meta_events_tell_of_their_own_subscriptions() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} wamp.subscription.on_create
           a <- SUBSCRIBED 1 $c
           a <- EVENT $c * {} [$id_a,{"id":$c,"created":"2024-05-01T12:00:01.000Z",\
            "uri":"wamp.subscription.on_create","match":"exact"}]
           a -> SUBSCRIBE {} wamp.subscription.on_subscribe
           a <- SUBSCRIBED 2 $s
           a <- EVENT $c * {} [$id_a,*]
           a <- EVENT $s * {} [$id_a,$s]
           b -> SUBSCRIBE {} wamp.subscription.on_create
           b <- SUBSCRIBED 1 $c
           a <- EVENT $s * {} [$id_b,$c]
           b -> SUBSCRIBE {} wamp.subscription.on_delete
           b <- SUBSCRIBED 2 $d
           b <- EVENT $c * {} [$id_b,*]
           a <- EVENT $c * {} [$id_b,*]
           a <- EVENT $s * {} [$id_b,$d]
           a -> UNSUBSCRIBE $s
           a <- UNSUBSCRIBED 3
           b <- EVENT $d * {} [$id_a,$s]"#,
    );
}

/// AP-RMA-01, AP-SHR: a shared registration is created once and deleted once.
#[test]
fn ap_rma_01_registrations_are_announced_in_order() {
    check(
        r#"join a b c
           a -> SUBSCRIBE {"match":"prefix"} wamp.registration.
           a <- SUBSCRIBED 1 $m
           b -> REGISTER {"invoke":"last"} com.x
           b <- REGISTERED 1 $x
           a <- EVENT $m * {"topic":"wamp.registration.on_create"} [$id_b,\
            {"id":$x,"created":"2024-05-01T12:00:01.000Z","uri":"com.x","match":"exact",\
             "invoke":"last"}]
           a <- EVENT $m * {"topic":"wamp.registration.on_register"} [$id_b,$x]
           c -> REGISTER {"invoke":"last"} com.x
           c <- REGISTERED 1 $x
           a <- EVENT $m * {"topic":"wamp.registration.on_register"} [$id_c,$x]
           c -> REGISTER {"invoke":"last"} com.x
           c <- ERROR 64 2 {} wamp.error.procedure_already_exists *
           b -> UNREGISTER $x
           b <- UNREGISTERED 2
           a <- EVENT $m * {"topic":"wamp.registration.on_unregister"} [$id_b,$x]
           c is lost
           a <- EVENT $m * {"topic":"wamp.registration.on_unregister"} [$id_c,$x]
           a <- EVENT $m * {"topic":"wamp.registration.on_delete"} [$id_c,$x]"#,
    );
}

/// AP-SMA-05: what a session leaves behind goes in this order.
#[test]
fn ap_sma_05_a_session_leaves_step_by_step() {
    check(
        r#"join a b
           a -> SUBSCRIBE {"match":"prefix"} ""
           a <- SUBSCRIBED 1 $m
           a <- EVENT $m * {"topic":"wamp.subscription.on_create"} *
           a <- EVENT $m * {"topic":"wamp.subscription.on_subscribe"} *
           b -> CALL {} wamp.session.add_testament ["com.bye",["destroyed"],{}]
           b <- RESULT 1 {}
           b -> CALL {} wamp.session.add_testament ["com.bye",["detached"],{}] {"scope":"detached"}
           b <- RESULT 2 {}
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 3 $x
           a <- EVENT $m * {"topic":"wamp.subscription.on_create"} *
           a <- EVENT $m * {"topic":"wamp.subscription.on_subscribe"} *
           b -> REGISTER {} com.x
           b <- REGISTERED 4 $r
           a <- EVENT $m * {"topic":"wamp.registration.on_create"} *
           a <- EVENT $m * {"topic":"wamp.registration.on_register"} *
           b is lost
           a <- EVENT $m * {"topic":"com.bye"} ["detached"]
           a <- EVENT $m * {"topic":"com.bye"} ["destroyed"]
           a <- EVENT $m * {"topic":"wamp.subscription.on_unsubscribe"} [$id_b,$x]
           a <- EVENT $m * {"topic":"wamp.subscription.on_delete"} [$id_b,$x]
           a <- EVENT $m * {"topic":"wamp.registration.on_unregister"} [$id_b,$r]
           a <- EVENT $m * {"topic":"wamp.registration.on_delete"} [$id_b,$r]
           a <- EVENT $m * {"topic":"wamp.session.on_leave"} [$id_b,$authid_b,"anonymous"]"#,
    );
}

/// AP-META-01: no publisher is disclosed, even where all others are; nothing is retained.
#[test]
fn ap_meta_01_the_router_publishes_in_nobodys_name() {
    check_realm(
        |realm| realm.publisher_disclosure = stentor::router::PublisherDisclosure::Always,
        r#"join a
           a -> SUBSCRIBE {} wamp.session.on_join
           a <- SUBSCRIBED 1 $j
           join b
           a <- EVENT $j * {} *
           b -> SUBSCRIBE {"get_retained":true} wamp.session.on_join
           b <- SUBSCRIBED 1 $j"#,
    );
}

/// AP-REVS-01: a revoked subscription is left like any other.
#[test]
fn ap_revs_01_a_revocation_is_announced() {
    check(
        r#"join a b
           b -> SUBSCRIBE {} com.x
           b <- SUBSCRIBED 1 $x
           a -> SUBSCRIBE {"match":"wildcard"} wamp.subscription.
           a <- SUBSCRIBED 1 $m
           a <- EVENT $m * {"topic":"wamp.subscription.on_create"} *
           a <- EVENT $m * {"topic":"wamp.subscription.on_subscribe"} *
           b loses $x
           a <- EVENT $m * {"topic":"wamp.subscription.on_unsubscribe"} [$id_b,$x]
           a <- EVENT $m * {"topic":"wamp.subscription.on_delete"} [$id_b,$x]"#,
    );
}
