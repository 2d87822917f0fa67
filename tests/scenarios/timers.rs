//! What happens when a peer stays silent.

use super::dialogue::check_with;

/// TR-RS-05: from the connection to the end of the handshake.
#[test]
fn the_handshake_has_a_deadline() {
    check_with(
        |settings| settings.timeouts.handshake_ms = 5_000,
        "a via websocket
         b via rawsocket 4096
         wait 4999
         wait 1
         a <- CLOSED
         b <- CLOSED",
    );
}

/// BP-SES-12: from there to HELLO, and from GOODBYE to the next HELLO.
#[test]
fn hello_has_a_deadline() {
    check_with(
        |settings| settings.timeouts.handshake_ms = 5_000,
        "a connects
         join b
         wait 5000
         a <- CLOSED 1008
         b -> GOODBYE {} wamp.close.normal
         b <- GOODBYE {} wamp.close.goodbye_and_out
         wait 4999
         join b
         wait 5000
         b -> GOODBYE {} wamp.close.normal
         b <- GOODBYE {} wamp.close.goodbye_and_out
         wait 5000
         b <- CLOSED 1008",
    );
}

/// BP-LT-02
#[test]
fn a_silent_websocket_is_pinged_and_then_closed() {
    check_with(
        |settings| {
            settings.timeouts.ping_interval_ms = 20_000;
            settings.timeouts.ping_timeout_ms = 10_000;
        },
        "a via websocket
         join a
         wait 20000
         a <- PING
         wait 9999
         a -> PUBLISH {} com.x
         wait 20000
         a <- PING
         a pings
         a <- PONG
         wait 20000
         a <- PING
         wait 10000
         a <- CLOSED 1008",
    );
}

/// BP-LT-02: deployed RawSocket clients do not answer.
#[test]
fn a_rawsocket_is_pinged_only_if_configured() {
    for pings in [false, true] {
        let heard = if pings { "a <- PING\n wait 10000\n a <- CLOSED" } else { "" };
        check_with(
            |settings| settings.timeouts.rawsocket_pings = pings,
            &format!(
                "a via rawsocket 4096
                 join a
                 wait 20000
                 {heard}"
            ),
        );
    }
}

/// BP-LT-01, BP-CALL-07: a session that times out is taken out like a lost one.
#[test]
fn a_callee_that_times_out_ends_its_calls() {
    check_with(
        |_| {},
        "a via websocket
         b via rawsocket 4096
         join a b
         a -> REGISTER {} com.p
         a <- REGISTERED 1 *
         b -> CALL {} com.p
         a <- INVOCATION 1 * {}
         wait 20000
         a <- PING
         wait 10000
         b <- ERROR 48 1 {} wamp.error.canceled *
         a <- CLOSED 1008",
    );
}
