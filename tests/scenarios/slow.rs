//! Clients that do not take their output: budgets, policies and timers (DESIGN 8, BP-LT-01).
//!
//! An event with [`blob`] takes 320 to 360 bytes in any serializer and framing.

use stentor::limits::SlowConsumerPolicy;
use stentor::router::Settings;

use super::dialogue::check_with;

fn blob() -> String {
    "x".repeat(300)
}

/// Two events fit, three do not; no pings disturb.
fn narrow(policy: SlowConsumerPolicy) -> impl Fn(&mut Settings) {
    move |settings| {
        settings.output.hard_bytes = 800;
        settings.output.policy = policy;
        settings.timeouts.ping_interval_ms = 0;
    }
}

/// BP-LT-01
#[test]
fn a_slow_consumer_is_disconnected() {
    check_with(
        narrow(SlowConsumerPolicy::Disconnect),
        &format!(
            r#"join a b c d
               a -> SUBSCRIBE {{}} com.x
               a <- SUBSCRIBED 1 $s
               c -> SUBSCRIBE {{}} com.x
               c <- SUBSCRIBED 1 $s
               a -> REGISTER {{}} com.p
               a <- REGISTERED 2 *
               d -> CALL {{}} com.p
               a <- INVOCATION 1 * {{}}
               a stalls
               b -> PUBLISH {{}} com.x [1,"{0}"]
               c <- EVENT $s * {{}} [1,"{0}"]
               b -> PUBLISH {{}} com.x [2,"{0}"]
               c <- EVENT $s * {{}} [2,"{0}"]
               b -> PUBLISH {{}} com.x [3,"{0}"]
               d <- ERROR 48 1 {{}} wamp.error.canceled *
               c <- EVENT $s * {{}} [3,"{0}"]
               a reads
               a <- ABORT * wamp.close.slow_consumer
               a <- CLOSED 1008"#,
            blob()
        ),
    );
}

#[test]
fn the_newest_events_may_be_dropped() {
    check_with(
        narrow(SlowConsumerPolicy::DropNewest),
        &format!(
            r#"join a b
               a -> SUBSCRIBE {{}} com.x
               a <- SUBSCRIBED 1 $s
               a stalls
               b -> PUBLISH {{}} com.x [1,"{0}"]
               b -> PUBLISH {{}} com.x [2,"{0}"]
               b -> PUBLISH {{}} com.x [3,"{0}"]
               a reads
               a <- EVENT $s * {{}} [1,"{0}"]
               a <- EVENT $s * {{}} [2,"{0}"]
               b -> PUBLISH {{}} com.x [4,"{0}"]
               a <- EVENT $s * {{}} [4,"{0}"]"#,
            blob()
        ),
    );
}

#[test]
fn the_oldest_events_may_be_dropped() {
    check_with(
        narrow(SlowConsumerPolicy::DropOldest),
        &format!(
            r#"join a b
               a -> SUBSCRIBE {{}} com.x
               a <- SUBSCRIBED 1 $s
               a stalls
               b -> PUBLISH {{}} com.x [1,"{0}"]
               b -> PUBLISH {{}} com.x [2,"{0}"]
               b -> PUBLISH {{}} com.x [3,"{0}"]
               b -> PUBLISH {{}} com.x [4,"{0}"]
               a reads
               a <- EVENT $s * {{}} [3,"{0}"]
               a <- EVENT $s * {{}} [4,"{0}"]"#,
            blob()
        ),
    );
}

/// Only EVENT may be dropped: for anything else the connection ends, whatever the policy.
#[test]
fn an_answer_is_never_dropped() {
    for policy in [SlowConsumerPolicy::DropNewest, SlowConsumerPolicy::DropOldest] {
        check_with(
            narrow(policy),
            &format!(
                r#"join a b
                   b -> REGISTER {{}} com.p
                   b <- REGISTERED 1 *
                   a -> CALL {{}} com.p
                   b <- INVOCATION 1 * {{}}
                   a -> CALL {{}} com.p
                   b <- INVOCATION 2 * {{}}
                   a -> CALL {{}} com.p
                   b <- INVOCATION 3 * {{}}
                   a stalls
                   b -> YIELD 1 {{}} ["{0}"]
                   b -> YIELD 2 {{}} ["{0}"]
                   b -> YIELD 3 {{}} ["{0}"]
                   a reads
                   a <- ABORT * wamp.close.slow_consumer
                   a <- CLOSED 1008"#,
                blob()
            ),
        );
    }
}

/// Answers that wait are not dropped to make room for events.
#[test]
fn events_give_way_to_answers() {
    check_with(
        narrow(SlowConsumerPolicy::DropOldest),
        &format!(
            r#"join a b
               a -> SUBSCRIBE {{}} com.x
               a <- SUBSCRIBED 1 $s
               a stalls
               a -> SUBSCRIBE {{}} com.y
               b -> PUBLISH {{}} com.x [1,"{0}"]
               b -> PUBLISH {{}} com.x [2,"{0}"]
               b -> PUBLISH {{}} com.x [3,"{0}"]
               a reads
               a <- SUBSCRIBED 2 *
               a <- EVENT $s * {{}} [2,"{0}"]
               a <- EVENT $s * {{}} [3,"{0}"]"#,
            blob()
        ),
    );
}

/// Over the budget of all together, those who wait for most go first.
#[test]
fn the_total_budget_ends_the_worst() {
    check_with(
        |settings| {
            settings.output.total_bytes = 1_200;
            settings.timeouts.ping_interval_ms = 0;
        },
        &format!(
            r#"at one node: each has its memory
               join a b c
               a -> SUBSCRIBE {{}} com.x
               a <- SUBSCRIBED 1 $s
               c -> SUBSCRIBE {{}} com.y
               c <- SUBSCRIBED 1 $t
               a stalls
               c stalls
               b -> PUBLISH {{}} com.y [1,"{0}"]
               b -> PUBLISH {{}} com.x [1,"{0}"]
               b -> PUBLISH {{}} com.x [2,"{0}"]
               b -> PUBLISH {{}} com.x [3,"{0}"]
               a reads
               c reads
               a <- ABORT * wamp.close.slow_consumer
               a <- CLOSED 1008
               c <- EVENT $t * {{}} [1,"{0}"]"#,
            blob()
        ),
    );
}

/// How far a client is behind: the oldest byte counts, whatever comes behind it, until the socket
/// takes it or it is dropped. A PONG that overtakes it makes nobody younger.
#[test]
fn a_slow_client_is_as_far_behind_as_its_oldest_byte() {
    check_with(
        |settings| {
            settings.output.hard_bytes = 1_200;
            settings.output.policy = SlowConsumerPolicy::DropOldest;
            settings.output.stall_ms = 600_000;
            settings.timeouts.ping_interval_ms = 0;
        },
        &format!(
            r#"join a b
               a -> SUBSCRIBE {{}} com.x
               a <- SUBSCRIBED 1 $s
               a is 0 ms behind
               a stalls
               b -> PUBLISH {{}} com.x [1,"{0}"]
               a is 0 ms behind
               wait 1500
               a is 1500 ms behind
               b -> PUBLISH {{}} com.x [2,"{0}"]
               wait 1000
               b -> PUBLISH {{}} com.x [3,"{0}"]
               a pings
               a is 2500 ms behind
               b is 0 ms behind
               b -> PUBLISH {{}} com.x [4,"{0}"]
               a is 1000 ms behind
               b -> PUBLISH {{}} com.x [5,"{0}"]
               a is 0 ms behind
               wait 60000
               a is 60000 ms behind
               a reads
               a <- PONG
               a <- EVENT $s * {{}} [3,"{0}"]
               a <- EVENT $s * {{}} [4,"{0}"]
               a <- EVENT $s * {{}} [5,"{0}"]
               a is 0 ms behind"#,
            blob()
        ),
    );
}

/// A client that takes nothing at all for `stall_ms`.
#[test]
fn a_stalled_client_is_disconnected() {
    check_with(
        |settings| {
            settings.output.stall_ms = 3_000;
            settings.timeouts.ping_interval_ms = 0;
        },
        r#"join a b
           a -> SUBSCRIBE {} com.x
           a <- SUBSCRIBED 1 $s
           a stalls
           b -> PUBLISH {} com.x [1]
           wait 2999
           a reads
           a <- EVENT $s * {} [1]
           a stalls
           b -> PUBLISH {} com.x [2]
           wait 3000
           a reads
           a <- ABORT * wamp.close.slow_consumer
           a <- CLOSED 1008"#,
    );
}

/// A client that stays over `soft_bytes` for `soft_ms`.
#[test]
fn a_client_over_the_soft_limit_is_disconnected() {
    check_with(
        |settings| {
            settings.output.soft_bytes = 500;
            settings.output.soft_ms = 1_000;
            settings.timeouts.ping_interval_ms = 0;
        },
        &format!(
            r#"join a b
               a -> SUBSCRIBE {{}} com.x
               a <- SUBSCRIBED 1 $s
               a stalls
               b -> PUBLISH {{}} com.x ["{0}"]
               wait 5000
               b -> PUBLISH {{}} com.x ["{0}"]
               wait 999
               a reads
               a <- EVENT $s * {{}} ["{0}"]
               a <- EVENT $s * {{}} ["{0}"]
               a stalls
               b -> PUBLISH {{}} com.x ["{0}"]
               b -> PUBLISH {{}} com.x ["{0}"]
               wait 1000
               a reads
               a <- ABORT * wamp.close.slow_consumer
               a <- CLOSED 1008"#,
            blob()
        ),
    );
}

/// A client that is told to go but does not even read that is dropped after `close_ms`.
#[test]
fn a_farewell_is_not_waited_for_for_ever() {
    check_with(
        |settings| settings.timeouts.close_ms = 2_000,
        "join a
         a stalls
         a -> [99]
         wait 1999
         wait 1
         a is lost",
    );
}

/// The farewells of the worst may be over the total themselves. Who lets nothing wait stays.
#[test]
fn the_total_budget_ends_nobody_who_reads() {
    check_with(
        |settings| settings.output.total_bytes = 60,
        &format!(
            r#"join a b c
               a -> SUBSCRIBE {{}} com.x
               a <- SUBSCRIBED 1 $s
               a stalls
               b -> PUBLISH {{}} com.x ["{}"]
               a reads
               a <- CLOSED
               b -> SUBSCRIBE {{}} com.x
               b <- SUBSCRIBED 2 *
               c -> SUBSCRIBE {{}} com.x
               c <- SUBSCRIBED 1 *"#,
            blob()
        ),
    );
}
