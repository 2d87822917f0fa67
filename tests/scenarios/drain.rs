//! Before it stops the router is emptied: nobody new, and the sessions one after the other.

use serde_json::{Value, json};
use stentor::limits::TurnLimits;
use stentor::shard::Admission;

use super::dialogue::check;
use super::peer::{Peer, network};
use crate::support::{Carrier, Incoming, Link, Network, Serializer};

/// Who waits for nothing goes first. The others go when their calls have ended.
#[test]
fn calls_under_way_are_waited_for() {
    check(
        "join a b c
         a -> REGISTER {} com.p
         a <- REGISTERED 1 $r
         b -> CALL {} com.p [1]
         a <- INVOCATION 1 $r {} [1]
         drain 10000
         wait 1000
         c <- GOODBYE {} wamp.close.system_shutdown
         c -> GOODBYE {} wamp.close.goodbye_and_out
         c <- CLOSED 1001
         a -> YIELD 1 {} [2]
         b <- RESULT 1 {} [2]
         wait 100
         b <- GOODBYE {} wamp.close.system_shutdown
         a <- GOODBYE {} wamp.close.system_shutdown
         a -> GOODBYE {} wamp.close.goodbye_and_out
         a <- CLOSED 1001",
    );
}

/// Until it is told itself, a callee gets new calls: there is no other.
#[test]
fn who_is_here_is_served_as_ever() {
    check(
        "join a b c
         a -> REGISTER {} com.p
         a <- REGISTERED 1 $r
         c -> SUBSCRIBE {} com.t
         c <- SUBSCRIBED 1 $s
         b -> CALL {} com.p [1]
         a <- INVOCATION 1 $r {} [1]
         c -> CALL {} com.p [2]
         a <- INVOCATION 2 $r {} [2]
         drain 10000
         wait 2000
         b -> PUBLISH {} com.t [3]
         c <- EVENT $s * {} [3]
         c -> CALL {} com.p [4]
         a <- INVOCATION 3 $r {} [4]
         a -> YIELD 2 {}
         c <- RESULT 2 {}
         wait 2000
         a -> YIELD 3 {} [5]
         c <- RESULT 3 {} [5]
         a -> YIELD 1 {}
         b <- RESULT 1 {}
         wait 100
         c <- GOODBYE {} wamp.close.system_shutdown
         b <- GOODBYE {} wamp.close.system_shutdown
         a <- GOODBYE {} wamp.close.system_shutdown",
    );
}

/// Nobody is waited for without end.
#[test]
fn the_end_of_the_time_ends_calls() {
    check(
        "join a b
         a -> REGISTER {} com.p
         a <- REGISTERED 1 $r
         b -> CALL {} com.p
         a <- INVOCATION 1 $r {}
         drain 5000
         wait 4999
         wait 1
         b <- GOODBYE {} wamp.close.system_shutdown
         a <- GOODBYE {} wamp.close.system_shutdown",
    );
}

#[test]
fn a_second_order_shortens_a_drain_and_never_prolongs_it() {
    check(
        "join a b
         a -> REGISTER {} com.p
         a <- REGISTERED 1 $r
         b -> CALL {} com.p
         a <- INVOCATION 1 $r {}
         drain 60000
         wait 1000
         drain 2000
         wait 1000
         drain 60000
         wait 999
         wait 1
         b <- GOODBYE {} wamp.close.system_shutdown
         a <- GOODBYE {} wamp.close.system_shutdown",
    );
}

#[test]
fn a_shutdown_ends_a_drain_at_once() {
    check(
        "join a b
         a -> REGISTER {} com.p
         a <- REGISTERED 1 $r
         b -> CALL {} com.p
         a <- INVOCATION 1 $r {}
         drain 60000
         wait 1000
         shutdown
         a <- GOODBYE {} wamp.close.system_shutdown
         b <- GOODBYE {} wamp.close.system_shutdown",
    );
}

/// BP-SES-13
#[test]
fn nobody_joins_in_a_drain() {
    check(
        r#"a connects
           join b
           drain 5000
           a -> HELLO realm1 {"roles":{"caller":{}}}
           a <- ABORT * wamp.close.system_shutdown
           a <- CLOSED 1008
           b <- GOODBYE {} wamp.close.system_shutdown"#,
    );
}

/// Also a session that has left by itself does not come back on its transport.
#[test]
fn nobody_joins_again_in_a_drain() {
    check(
        r#"join a
           a -> REGISTER {} com.p
           a <- REGISTERED 1 $r
           a -> CALL {} com.p
           a <- INVOCATION 1 $r {}
           drain 5000
           a -> GOODBYE {} wamp.close.normal
           a <- GOODBYE {} wamp.close.goodbye_and_out
           a -> HELLO realm1 {"roles":{"caller":{}}}
           a <- ABORT * wamp.close.system_shutdown
           a <- CLOSED 1008"#,
    );
}

/// A realm lives on while some of it are here; AP-TES-05 holds for a drain as for a shutdown.
#[test]
fn who_is_left_hears_of_those_who_go_but_no_testaments() {
    check(
        r#"join a b
           a -> SUBSCRIBE {} wamp.session.on_leave
           a <- SUBSCRIBED 1 $s
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 2 $x
           a -> REGISTER {} com.p
           a <- REGISTERED 3 $r
           a -> CALL {} com.p
           a <- INVOCATION 1 $r {}
           b -> CALL {} wamp.session.add_testament ["com.x",[1],{}]
           b <- RESULT 1 {}
           drain 5000
           b <- GOODBYE {} wamp.close.system_shutdown
           a <- EVENT $s * {} [$id_b,*,*]
           a -> YIELD 1 {}
           a <- RESULT 4 {}
           wait 200
           a <- GOODBYE {} wamp.close.system_shutdown"#,
    );
}

/// How many of these have been told so far.
fn told(network: &mut Network, peers: &mut [Peer]) -> usize {
    let mut told = 0;
    for peer in peers {
        let bytes = network.read(peer.pipe, usize::MAX);
        peer.link.feed(&bytes);
        while let Some(incoming) = peer.link.next() {
            let is_goodbye = |message: &Value| message[0] == json!(6);
            told += usize::from(matches!(incoming, Incoming::Message(m) if is_goodbye(&m)));
        }
    }
    told
}

#[test]
fn goodbyes_are_spread_evenly() {
    let mut network = network(1);
    let mut peers: Vec<_> =
        (0..300).map(|_| Peer::join(&mut network, 0, Serializer::Cbor)).collect();
    network.begin_drain(10_000);
    let mut counts = Vec::new();
    for _ in 0..10 {
        for _ in 0..100 {
            network.settle();
            network.advance(10);
        }
        counts.push(told(&mut network, &mut peers));
    }
    assert_eq!(counts.iter().sum::<usize>(), 300);
    assert!(counts.iter().all(|count| (29..=31).contains(count)), "{counts:?}");
    assert!(network.is_drained());
}

/// However many are told in one instant, each step is short.
#[test]
fn a_drain_without_time_is_cut_into_steps() {
    let mut network = network(1);
    let mut peers: Vec<_> =
        (0..2_000).map(|_| Peer::join(&mut network, 0, Serializer::Json)).collect();
    network.begin_drain(0);
    network.turn(0);
    let first = told(&mut network, &mut peers);
    assert!(first > 0 && first < 2_000, "one turn tells some: {first}");
    network.settle();
    assert_eq!(first + told(&mut network, &mut peers), 2_000);
    let limit = u64::from(TurnLimits::default().step_units);
    let longest = network.shard(0).longest_step();
    assert!(longest < limit + limit / 10, "a step of {longest} units");
}

/// Whoever comes is told what happens, in its own protocol.
#[test]
fn newcomers_are_told_that_the_router_stops() {
    for carrier in [Carrier::WebSocket, Carrier::RawSocket { exponent: 15 }] {
        let mut network = network(1);
        let link = Link::new(carrier, Serializer::Json);
        let pipe = network.connect(0, Admission::Stopping, usize::MAX);
        network.receive(pipe, &link.greeting());
        network.settle();
        let answer = network.read(pipe, usize::MAX);
        match carrier {
            Carrier::WebSocket => {
                let text = String::from_utf8(answer).expect("HTTP");
                assert!(text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{text}");
                assert!(text.contains("\r\nRetry-After: 5\r\n"), "{text}");
                assert!(text.ends_with("This router is stopping. Try again later.\n"), "{text}");
            }
            Carrier::RawSocket { .. } => assert_eq!(answer, [0x7F, 0x40, 0, 0]),
        }
        assert_eq!(network.router.snapshot().connections_refused, 1);
    }
}
