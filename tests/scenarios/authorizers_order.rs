//! The order of what waits for an authorizer, and how much of it there can be.

use serde_json::json;
use stentor::limits::TurnLimits;
use stentor::router::{RealmSettings, Settings};

use super::authorizers::{check, rules};
use super::peer::{Peer, pipeline};
use crate::support::{Network, Serializer};

/// BP-ORD-01, BP-ORD-04: nothing of a session overtakes what is being decided about; others do.
#[test]
fn bp_ord_01_a_session_waits_and_others_pass_it() {
    check(
        r#"join x a b c
           x -> REGISTER {} com.auth
           x <- REGISTERED 1 $r
           b -> SUBSCRIBE {"match":"prefix"} com.free
           b <- SUBSCRIBED 1 $free
           b -> SUBSCRIBE {} com.asked.t
           x <- INVOCATION 1 $r {} *
           x -> [70, 1, {}, [true]]
           b <- SUBSCRIBED 2 $asked
           b -> REGISTER {} com.add
           b <- REGISTERED 3 $add
           a -> PUBLISH {} com.free.1 ["a1"]
           a -> PUBLISH {} com.asked.t ["a2"]
           a -> PUBLISH {} com.free.1 ["a3"]
           a -> CALL {} com.add ["a4"]
           b <- EVENT $free * {"topic":"com.free.1"} ["a1"]
           x <- INVOCATION 2 $r {} *
           c -> PUBLISH {} com.free.2 ["c"]
           b <- EVENT $free * {"topic":"com.free.2"} ["c"]
           x -> [70, 2, {}, [true]]
           b <- EVENT $asked * {} ["a2"]
           b <- EVENT $free * {"topic":"com.free.1"} ["a3"]
           b <- INVOCATION 1 $add {} ["a4"]
           b -> [70, 1, {}]
           a <- RESULT 4 {}"#,
    );
}

/// A denied request is skipped, and what is behind it goes on in its order.
#[test]
fn bp_ord_04_each_of_several_waits_for_the_one_before() {
    check(
        r#"join x a b
           x -> REGISTER {} com.auth
           x <- REGISTERED 1 $r
           b -> REGISTER {"match":"prefix"} com.asked.
           x <- INVOCATION 1 $r {} *
           x -> [70, 1, {}, [true]]
           b <- REGISTERED 1 $p
           a -> CALL {} com.asked.1
           a -> CALL {} com.asked.2
           a -> CALL {} com.asked.3
           x <- INVOCATION 2 $r {} [*,"com.asked.1",*,*]
           x -> [70, 2, {}, [true]]
           x <- INVOCATION 3 $r {} [*,"com.asked.2",*,*]
           b <- INVOCATION 1 $p {"procedure":"com.asked.1"}
           x -> [70, 3, {}, [false]]
           a <- ERROR 48 2 {} wamp.error.not_authorized *
           x <- INVOCATION 4 $r {} [*,"com.asked.3",*,*]
           x -> [70, 4, {}, [true]]
           b <- INVOCATION 2 $p {"procedure":"com.asked.3"}
           b -> [70, 2, {}]
           b -> [70, 1, {}]
           a <- RESULT 3 {}
           a <- RESULT 1 {}"#,
    );
}

/// GOODBYE behind a request stays behind it, and so does the loss of the transport.
#[test]
fn bp_ord_01_the_end_of_a_session_waits() {
    check(
        r#"join fully x a b
           x -> REGISTER {} com.auth
           x <- REGISTERED 1 $r
           b -> SUBSCRIBE {} com.asked.t
           x <- INVOCATION 1 $r {} *
           x -> [70, 1, {}, [true]]
           b <- SUBSCRIBED 1 $s
           a -> PUBLISH {} com.asked.t [1]
           a -> GOODBYE {} wamp.close.close_realm
           x <- INVOCATION 2 $r {} *
           x -> [70, 2, {}, [true]]
           b <- EVENT $s * {} [1]
           a <- GOODBYE {} wamp.close.goodbye_and_out
           join a
           a -> PUBLISH {} com.asked.t [2]
           x <- INVOCATION 3 $r {} *
           a is lost
           x -> [70, 3, {}, [true]]
           b <- EVENT $s * {} [2]"#,
    );
}

/// A progressive call is asked about once, and all its chunks wait for the answer.
#[test]
fn a_progressive_call_is_asked_about_once() {
    check(
        r#"join fully x a b
           x -> REGISTER {} com.auth
           x <- REGISTERED 1 $r
           b -> REGISTER {} com.asked.p
           x <- INVOCATION 1 $r {} *
           x -> [70, 1, {}, [true]]
           b <- REGISTERED 1 $p
           a -> CALL #1 {"progress":true} com.asked.p [1]
           a -> CALL #1 {"progress":true} com.asked.p [2]
           a -> CALL #1 {} com.asked.p [3]
           x <- INVOCATION 2 $r {} [*,"com.asked.p","call",{"progress":true,"match":"exact"}]
           x -> [70, 2, {}, [true]]
           b <- INVOCATION 1 $p {"progress":true} [1]
           b <- INVOCATION 1 $p {"progress":true} [2]
           b <- INVOCATION 1 $p {} [3]
           b -> [70, 1, {}]
           a <- RESULT 1 {}
           a -> CALL #2 {"progress":true} com.asked.p [1]
           a -> CALL #2 {} com.asked.p [2]
           x <- INVOCATION 3 $r {} *
           x -> [70, 3, {}, [false]]
           a <- ERROR 48 2 {} wamp.error.not_authorized *
           a -> CALL #3 {"progress":true} com.asked.p [1]
           x <- INVOCATION 4 $r {} *
           x -> [70, 4, {}, [true]]
           b <- INVOCATION 2 $p {"progress":true} [1]"#,
    );
}

/// Nobody can be asked about itself: it waits for the answer. Another callee can.
#[test]
fn an_authorizer_is_not_asked_about_itself() {
    check(
        r#"join x y
           x -> REGISTER {"invoke":"first"} com.auth
           x <- REGISTERED 1 $r
           x -> PUBLISH {"acknowledge":true} com.asked.t
           x <- ERROR 16 2 {} wamp.error.authorization_failed *
           y -> REGISTER {"invoke":"first"} com.auth
           y <- REGISTERED 1 $r
           x -> PUBLISH {"acknowledge":true} com.asked.t
           y <- INVOCATION 1 $r {} *
           y -> [70, 1, {}, [true]]
           x <- PUBLISHED 3 *
           x -> PUBLISH {"acknowledge":true} com.free
           x <- PUBLISHED 4 *"#,
    );
}

/// Questions over the bound wait in their order, each with its own deadline.
#[test]
fn so_many_questions_are_pending_at_one_procedure() {
    let mut settings = Settings::default();
    settings.limits.questions_per_procedure = 1;
    settings.timeouts.authorizer_ms = 1_000;
    let realm = RealmSettings { access: rules(Vec::new()), ..RealmSettings::named("realm1") };
    let mut network = Network::new(settings, vec![realm], 1);
    let [mut x, mut a, mut b, mut c] =
        [0; 4].map(|shard| Peer::join(&mut network, shard, Serializer::Json));
    x.say(&mut network, &json!([64, 1, {}, "com.auth"]));
    assert_eq!(x.hear(&mut network)[0][0], 65);
    for (peer, topic) in [(&a, "com.asked.a"), (&b, "com.asked.b"), (&c, "com.asked.c")] {
        peer.say(&mut network, &json!([16, 1, {"acknowledge": true}, topic]));
        network.settle();
        network.advance(200);
    }
    let asked = |x: &mut Peer, network: &mut Network| -> Vec<String> {
        let invocations = x.hear(network).into_iter().filter(|heard| heard[0] == 68);
        invocations.map(|one| one[4][1].as_str().expect("a topic").to_owned()).collect()
    };
    assert_eq!(asked(&mut x, &mut network), ["com.asked.a"]);
    let now = network.router.snapshot();
    assert_eq!((now.questions, now.questions_waiting, now.questions_asked), (1, 2, 3));
    network.lose(b.pipe);
    assert_eq!(asked(&mut x, &mut network), [""; 0], "nobody is asked before the first answers");
    // 1000 ms after it was asked the first is given up, and the next is asked.
    network.advance(401);
    assert_eq!(a.hear(&mut network)[0][4], json!("wamp.error.authorization_failed"));
    assert_eq!(asked(&mut x, &mut network), ["com.asked.b"]);
    // Its own time began when it was to be asked.
    network.advance(200);
    assert_eq!(asked(&mut x, &mut network), ["com.asked.c"]);
    x.say(&mut network, &json!([70, 3, {}, [true]]));
    assert_eq!(c.hear(&mut network)[0][0], 17);
    assert_eq!(network.router.snapshot().questions_late, 2);
    assert!(b.read_all(&mut network).is_empty());
}

/// What waits counts as held, and is one message with its question, however much is behind it.
#[test]
fn what_waits_for_an_authorizer_is_bounded_and_counted() {
    let realm = RealmSettings { access: rules(Vec::new()), ..RealmSettings::named("realm1") };
    let mut network = Network::new(Settings::default(), vec![realm], 1);
    let [mut x, mut a] = [0; 2].map(|shard| Peer::join(&mut network, shard, Serializer::Json));
    x.say(&mut network, &json!([64, 1, {}, "com.auth"]));
    x.hear(&mut network);
    let payload = "x".repeat(100_000);
    pipeline(&mut network, &a, (1..=20).map(|id| json!([16, id, {}, "com.asked.t", [payload]])));
    network.settle();
    let now = network.router.snapshot();
    assert_eq!((now.questions, now.questions_asked), (1, 1));
    let held = network.router.held_bytes();
    assert!((100_000..110_000).contains(&held), "{held} bytes");
    assert!(now.input_bytes < 2_000_000, "{} bytes", now.input_bytes);
    for id in 1..=20 {
        assert_eq!(x.hear(&mut network).len(), 1, "one at a time");
        x.say(&mut network, &json!([70, id, {}, [true]]));
    }
    a.hear(&mut network);
    let now = network.router.snapshot();
    assert_eq!((now.publications, now.input_bytes, now.questions), (20, 0, 0));
    assert_eq!(network.router.held_bytes(), 0);
}

/// Without room for what would wait it is denied at once, and small ones still find some.
#[test]
fn what_there_is_no_room_for_is_denied() {
    let mut settings = Settings::default();
    settings.limits.held_total_bytes = 800_000;
    let realm = RealmSettings { access: rules(Vec::new()), ..RealmSettings::named("realm1") };
    let mut network = Network::new(settings, vec![realm], 1);
    let [mut x, mut a] = [0; 2].map(|shard| Peer::join(&mut network, shard, Serializer::Json));
    x.say(&mut network, &json!([64, 1, {}, "com.auth"]));
    x.hear(&mut network);
    let large = "x".repeat(150_000);
    a.say(&mut network, &json!([16, 1, {"acknowledge": true}, "com.asked.t", [large]]));
    assert_eq!(a.hear(&mut network)[0][4], json!("wamp.error.authorization_failed"));
    a.say(&mut network, &json!([16, 2, {"acknowledge": true}, "com.asked.t", ["small"]]));
    network.settle();
    assert_eq!(x.hear(&mut network).len(), 1);
    x.say(&mut network, &json!([70, 1, {}, [true]]));
    assert_eq!(a.hear(&mut network)[0][0], 17);
}

/// An authorizer that leaves lets many go on, none of them in a long turn.
#[test]
fn many_that_wait_go_on_step_by_step() {
    let mut settings = Settings::default();
    settings.limits.questions_per_procedure = 2;
    settings.turn = TurnLimits { step_units: 400, turn_units: 800, ..settings.turn };
    let realm = RealmSettings { access: rules(Vec::new()), ..RealmSettings::named("realm1") };
    let mut network = Network::new(settings, vec![realm], 1);
    let mut x = Peer::join(&mut network, 0, Serializer::Json);
    x.say(&mut network, &json!([64, 1, {}, "com.auth"]));
    x.hear(&mut network);
    let mut waiting: Vec<_> =
        (0..300).map(|_| Peer::join(&mut network, 0, Serializer::Json)).collect();
    for peer in &waiting {
        peer.say(&mut network, &json!([16, 1, {"acknowledge": true}, "com.asked.t"]));
    }
    network.settle();
    let now = network.router.snapshot();
    assert_eq!((now.questions, now.questions_waiting), (2, 298));
    x.say(&mut network, &json!([6, {}, "wamp.close.close_realm"]));
    for peer in &mut waiting {
        assert_eq!(peer.hear(&mut network)[0][4], json!("wamp.error.authorization_failed"));
    }
    let longest = network.shard(0).longest_step();
    assert!(longest < 1_200, "{longest} units in one step");
}
