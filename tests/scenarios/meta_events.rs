//! The meta events of subscriptions and registrations, and their order (requirements 2.4.2, 2.4.3).

use serde_json::json;
use stentor::router::{RealmSettings, Settings};

use super::dialogue::{check, check_realm};
use super::peer::Peer;
use crate::support::{Network, Serializer};

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
        r#"at one node: others read in the bucket that registrations have gone
           join a b
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

/// Meta events that wait for an earlier one from another shard are published in pieces, in order,
/// however many they are.
#[test]
fn a_late_meta_event_brings_no_long_step() {
    let mut settings = Settings::default();
    (settings.turn.step_units, settings.turn.turn_units) = (200, 400);
    let mut network = Network::new(settings, vec![RealmSettings::named("realm1")], 2);
    let mut listener = Peer::join(&mut network, 0, Serializer::Json);
    let many = Peer::join(&mut network, 0, Serializer::Json);
    let late = Peer::join(&mut network, 1, Serializer::Json);
    listener.say(&mut network, &json!([32, 1, {"match": "prefix"}, "wamp.subscription."]));
    listener.hear(&mut network);
    late.say(&mut network, &json!([32, 1, {}, "com.0"]));
    for request in 1..=COUNT {
        let topic = format!("com.{request}");
        many.say(&mut network, &json!([32, request, {}, topic]));
    }
    network.turn(0);
    assert_eq!(listener.read(&mut network).len(), 0, "all wait for what shard 1 has numbered");
    network.deliver_mail((1, 0));
    let heard = listener.hear(&mut network);
    let longest = network.shard(0).longest_step();
    assert!(longest <= 350, "a step takes {longest} units");
    let topics: Vec<_> = heard.iter().filter_map(|event| event[4][1]["uri"].as_str()).collect();
    let expected: Vec<_> = (0..=COUNT).map(|number| format!("com.{number}")).collect();
    assert_eq!(topics, expected, "creations in the order of their numbers");
    assert_eq!(heard.len(), 2 * expected.len());
}

/// What waits for an earlier meta event counts as mail to the home shard until it is published.
#[test]
fn meta_events_that_wait_are_weighed() {
    let mut network = Network::new(Settings::default(), vec![RealmSettings::named("realm1")], 3);
    let mut listener = Peer::join(&mut network, 0, Serializer::Json);
    let many = Peer::join(&mut network, 1, Serializer::Json);
    let late = Peer::join(&mut network, 2, Serializer::Json);
    listener.say(&mut network, &json!([32, 1, {"match": "prefix"}, "wamp.subscription."]));
    listener.hear(&mut network);
    late.say(&mut network, &json!([32, 1, {}, "com.0"]));
    for request in 1..=COUNT {
        many.say(&mut network, &json!([32, request, {}, format!("com.{request}")]));
        network.turn(1);
        network.deliver_mail((1, 0));
        network.turn(0);
    }
    let waiting = network.links.queued_bytes(0);
    assert!(waiting > COUNT * LEAST_BYTES, "{waiting} B are counted");
    network.deliver_mail((2, 0));
    assert_eq!(listener.hear(&mut network).len(), 2 * (COUNT + 1));
    assert_eq!(network.links.queued_bytes(0), 0);
}

/// Who subscribes while meta events are on their way to earlier subscribers of its shard hears
/// none of them: others of their time have passed the shard by.
#[test]
fn a_late_listener_hears_no_part_of_the_past() {
    let mut network = Network::new(Settings::default(), vec![RealmSettings::named("realm1")], 2);
    let [keeper, mut actor] = [(); 2].map(|()| Peer::join(&mut network, 0, Serializer::Json));
    let [mut early, mut late] = [(); 2].map(|()| Peer::join(&mut network, 1, Serializer::Json));
    let listen = json!([32, 1, {"match": "prefix"}, "wamp.subscription."]);
    keeper.say(&mut network, &listen);
    early.say(&mut network, &listen);
    let listening = early.hear(&mut network)[0][2].clone();
    actor.say(&mut network, &json!([32, 1, {}, "com.x"]));
    network.turn(0);
    let topic = actor.read(&mut network)[0][2].clone();
    // The creation of com.x is under way to shard 1; its deletion will not go there.
    early.say(&mut network, &json!([34, 2, listening]));
    network.turn(1);
    actor.say(&mut network, &json!([34, 2, topic]));
    network.turn(0);
    late.say(&mut network, &listen);
    let heard = late.hear(&mut network);
    let events: Vec<_> = heard.iter().filter(|message| message[0] == 36).collect();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0][3]["topic"], "wamp.subscription.on_subscribe");
    assert_eq!(events[0][4][1], listening, "it is its own");
}

const COUNT: usize = 300;

/// Less than the memory that the two meta events of a new subscription take.
const LEAST_BYTES: usize = 300;
