//! What of the transports shows in a dialogue; their bytes are tested where they are made.

use stentor::router::{RealmSettings, Settings};
use stentor::shard::Admission;

use super::dialogue::check;
use crate::support::{Carrier, Incoming, Link, Network, Serializer};

/// TR-RS-08, TR-WS-01: also before HELLO.
#[test]
fn a_ping_is_answered() {
    check(
        "a connects
         a pings
         a <- PONG
         join a
         a pings
         a pings
         a <- PONG
         a <- PONG",
    );
}

/// TR-RS-06, TR-WS-05, BP-PV-06
#[test]
fn a_broken_frame_ends_the_transport() {
    check(
        "join a b
         a -> REGISTER {} com.p
         a <- REGISTERED 1 *
         b -> CALL {} com.p
         a <- INVOCATION 1 * {}
         a sends broken
         a <- CLOSED 1002
         b <- ERROR 48 1 {} wamp.error.canceled *",
    );
}

/// TR-WS-04: the session is told first.
#[test]
fn text_for_binary_is_a_violation() {
    check(
        "a via websocket
         join a
         a sends wrong type
         a <- ABORT * wamp.error.protocol_violation
         a <- CLOSED 1003",
    );
}

/// BP-SES-13: after GOODBYE there is no ABORT.
#[test]
fn text_for_binary_is_no_violation_after_goodbye() {
    check(
        "a via websocket
         join a
         shutdown
         a sends wrong type
         a <- GOODBYE {} wamp.close.system_shutdown
         a <- CLOSED 1003",
    );
}

/// TR-RS-04: error 4, or HTTP 503.
#[test]
fn a_full_router_says_so() {
    for (carrier, status) in [(Carrier::RawSocket { exponent: 15 }, 4), (Carrier::WebSocket, 503)] {
        let realms = vec![RealmSettings::named("realm1")];
        let mut network = Network::new(Settings::default(), realms, 1);
        let pipe = network.connect(0, Admission::Full, usize::MAX);
        let mut link = Link::new(carrier, Serializer::Json);
        network.receive(pipe, &link.greeting());
        network.settle();
        let bytes = network.read(pipe, usize::MAX);
        link.feed(&bytes);
        assert_eq!(link.next(), Some(Incoming::Refused(status)));
        assert!(network.links.pipes[pipe].ended);
        network.lose(pipe);
        network.settle();
        network.check_empty();
    }
}
