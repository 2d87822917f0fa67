//! Every bound on what a client can make the router keep or do, with its unit and default.
//!
//! Immutable; a reload makes new ones. The configuration file's `[limits]`, `[output]` and
//! `[timeouts]` tables are these structs.

use serde::{Deserialize, Serialize};

use crate::rate::Rate;

/// What one client, or all together, may make the router hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of one incoming message; a RawSocket listener announces the power of two below or
    /// equal. 512 B to 16 MiB.
    pub message_bytes: usize,
    /// Levels of lists and dicts inside one message, the message itself included. 8 to 512.
    pub nesting: u16,
    /// Bytes of a topic, procedure, error or realm URI.
    pub uri_bytes: usize,
    /// Bytes of one incoming message before the session is established; no more than
    /// `message_bytes` in any case. It bounds what a stranger makes the router hold.
    pub hello_bytes: usize,
    /// Bytes of an HTTP request head; it has at most [`HTTP_HEADERS`] headers besides.
    pub http_head_bytes: usize,
    /// Open connections of the whole router; one more is refused.
    pub connections: usize,
    /// Of these, those whose first request was for HTTP and not for WAMP; one more is refused.
    pub http_connections: usize,
    /// Requests of one list that is published or called by HTTP.
    pub http_batch: usize,
    /// Bytes of bodies of such requests that have come and are not dealt with, of all clients
    /// together, and as many of their answers; a body that is more than a quarter of the room that
    /// is left is refused.
    pub http_bodies_bytes: usize,
    /// Streams of events by HTTP, of all clients together; one more is refused.
    pub http_streams: usize,
    /// Open connections of one address (of IPv6: one network of 64 bits), this machine's excepted;
    /// one more is refused. 0: no limit of its own.
    pub connections_per_address: u32,
    /// Connections that one address may make per second, and at once; 0: no limit.
    pub connections_per_address_per_second: u32,
    /// Handshakes of one address that may fail within `handshake_failure_window_ms` before its next
    /// connections are refused; 0: any number.
    pub handshake_failures_per_address: u32,
    /// Milliseconds from the first failure on for which the failures of an address count.
    pub handshake_failure_window_ms: u64,
    /// Connections that are accepted per second in the whole router; the others wait in the
    /// listening sockets' queues. 0: no limit.
    pub accepts_per_second: u32,
    /// TLS handshakes that may be under way in the whole router, from the ClientHello on; one more
    /// is refused.
    pub tls_handshakes: usize,
    /// Subscriptions that one session may hold.
    pub subscriptions_per_session: usize,
    /// Registrations that one session may hold.
    pub registrations_per_session: usize,
    /// Calls that one session may have pending.
    pub calls_per_session: usize,
    /// Invocations that may be pending at one callee session.
    pub invocations_per_session: usize,
    /// Retained events of one realm; one more and the oldest goes.
    pub retained_events: usize,
    /// Bytes of the retained events of one realm; over it the oldest go.
    pub retained_bytes: usize,
    /// Retained events that one SUBSCRIBE brings at most: the most recent ones.
    pub retained_per_subscribe: usize,
    /// Bytes of the retained events that one SUBSCRIBE brings at most, but for the first of them.
    pub retained_per_subscribe_bytes: usize,
    /// Bytes of the arguments of one call of the router's own procedures.
    pub meta_call_bytes: usize,
    /// Ids that one answer of the meta API lists at most.
    pub meta_list_items: usize,
    /// Calls for the subscribers of a subscription that one session may have pending.
    pub meta_questions_per_session: usize,
    /// Testaments that one session may leave.
    pub testaments_per_session: usize,
    /// Bytes of the testaments of one session.
    pub testament_bytes: usize,
    /// Events of a history that names no number of its own; one more and the oldest goes.
    pub history_events: usize,
    /// Bytes of a history that names no number of its own; over it the oldest events go.
    pub history_bytes: usize,
    /// Events that one answer of `wamp.subscription.get_events` holds at most.
    pub history_answer_events: usize,
    /// Bytes of the events of one such answer, as the requester gets them.
    pub history_answer_bytes: usize,
    /// Bytes of memory for what has come from all clients and is not dealt with, above all messages
    /// that have not come whole; over it those go that have kept the router waiting longest.
    pub input_total_bytes: usize,
    /// Bytes that the router keeps of the pending calls of one session, to route them again.
    pub kept_bytes_per_session: usize,
    /// Bytes that it keeps for the sessions of one realm together: of pending calls, and of
    /// testaments.
    pub kept_bytes_per_realm: usize,
    /// Bytes that it keeps so for all realms together.
    pub kept_total_bytes: usize,
    /// Bytes of what is accepted and not delivered, of all clients together: publications that go
    /// on in a later turn, publications, calls and answers on their way to another shard, questions
    /// to the router whose answers are not made, and what waits to be stored. What takes more than
    /// an eighth of the room that is left is refused; see [`HELD_FRACTION`].
    pub held_total_bytes: usize,
    /// Questions that one shard has pending at one procedure that decides about requests or logins,
    /// for all whom it decides about; others wait for their turn.
    pub questions_per_procedure: usize,
    /// Milliseconds for which the decision of an authorizer holds that may be remembered.
    pub authorizer_cache_ms: u64,
    /// Milliseconds after which the router ends any call that has no shorter timeout; 0: never.
    pub call_timeout_ms_max: u64,
    /// Failed logins from one address (IPv6: one network of 64 bits) from which on it is refused;
    /// 0: never.
    pub login_failures_per_address: u32,
    /// Failed logins with one authid from which on it is refused; 0: never.
    pub login_failures_per_authid: u32,
    /// Milliseconds for which a failed login counts, up to twice as long.
    pub login_failure_window_ms: u64,
    /// Tickets that may wait to be compared with their hashes; one more is refused.
    pub login_queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 1024 * 1024,
            nesting: 64,
            uri_bytes: 256,
            hello_bytes: 64 * 1024,
            http_head_bytes: 16 * 1024,
            connections: 65_536,
            http_connections: 1_024,
            http_batch: 100,
            http_streams: 512,
            http_bodies_bytes: 64 * 1024 * 1024,
            connections_per_address: 0,
            connections_per_address_per_second: 0,
            handshake_failures_per_address: 0,
            handshake_failure_window_ms: 60_000,
            accepts_per_second: 0,
            tls_handshakes: 2_048,
            subscriptions_per_session: 10_000,
            registrations_per_session: 10_000,
            calls_per_session: 10_000,
            invocations_per_session: 50_000,
            retained_events: 10_000,
            retained_bytes: 64 * 1024 * 1024,
            retained_per_subscribe: 1_000,
            retained_per_subscribe_bytes: 1024 * 1024,
            meta_call_bytes: 128 * 1024,
            meta_list_items: 100_000,
            meta_questions_per_session: 32,
            testaments_per_session: 64,
            testament_bytes: 64 * 1024,
            history_events: 1_000,
            history_bytes: 16 * 1024 * 1024,
            history_answer_events: 1_000,
            history_answer_bytes: 1024 * 1024,
            input_total_bytes: 256 * 1024 * 1024,
            kept_bytes_per_session: 16 * 1024 * 1024,
            kept_bytes_per_realm: 128 * 1024 * 1024,
            kept_total_bytes: 256 * 1024 * 1024,
            held_total_bytes: 512 * 1024 * 1024,
            questions_per_procedure: 128,
            authorizer_cache_ms: 300_000,
            call_timeout_ms_max: 0,
            login_failures_per_address: 100,
            login_failures_per_authid: 30,
            login_failure_window_ms: 60_000,
            login_queue: 256,
        }
    }
}

impl Limits {
    /// Those of one address.
    pub fn crowd(&self) -> CrowdLimits {
        let per_second = self.connections_per_address_per_second;
        CrowdLimits {
            connections: self.connections_per_address,
            rate: Rate::new(per_second, per_second),
            failures: self.handshake_failures_per_address,
            failure_window_ms: self.handshake_failure_window_ms,
        }
    }

    /// Those of failed logins.
    pub const fn login_failures(&self) -> FailureLimits {
        FailureLimits {
            per_address: self.login_failures_per_address,
            per_authid: self.login_failures_per_authid,
            window_ms: self.login_failure_window_ms,
        }
    }
}

/// What one address may do; see [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrowdLimits {
    /// Open connections; 0: any number.
    pub connections: u32,
    /// How fast it may make them.
    pub rate: Option<Rate>,
    /// Failed handshakes within `failure_window_ms`; 0: any number.
    pub failures: u32,
    pub failure_window_ms: u64,
}

impl CrowdLimits {
    /// Whether nobody is counted.
    pub const fn is_off(&self) -> bool {
        self.connections == 0 && self.rate.is_none() && self.failures == 0
    }
}

/// How many failed logins are borne within `window_ms`; see [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureLimits {
    pub per_address: u32,
    pub per_authid: u32,
    pub window_ms: u64,
}

/// Headers of one HTTP request; browsers behind several proxies send some thirty.
pub const HTTP_HEADERS: usize = 128;

/// What is accepted takes this part at most of the room left below `held_total_bytes`: while large
/// publications fill it, there is room for those of everybody else.
pub const HELD_FRACTION: usize = 8;

/// What happens to an EVENT for a subscriber whose queue is full. Only EVENT may ever be dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SlowConsumerPolicy {
    /// End the session: the client learns that it missed something.
    #[default]
    Disconnect,
    /// Drop the event that does not fit.
    DropNewest,
    /// Drop the oldest waiting events until it fits.
    DropOldest,
}

/// The budget of bytes that wait to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputLimits {
    /// Bytes that may wait for one connection.
    pub hard_bytes: usize,
    /// Bytes that may wait for one connection for longer than `soft_ms`.
    pub soft_bytes: usize,
    /// Milliseconds that `soft_bytes` may stay exceeded.
    pub soft_ms: u64,
    /// Milliseconds without one byte written, while bytes wait, after which to disconnect.
    pub stall_ms: u64,
    /// Bytes that may wait for all connections together; over it the worst are disconnected.
    pub total_bytes: usize,
    pub policy: SlowConsumerPolicy,
    /// Bytes from which on a message is compressed, where a client has agreed to that.
    pub deflate_min_bytes: usize,
}

impl Default for OutputLimits {
    fn default() -> Self {
        Self {
            hard_bytes: 8 * 1024 * 1024,
            soft_bytes: 1024 * 1024,
            soft_ms: 10_000,
            stall_ms: 30_000,
            total_bytes: 1024 * 1024 * 1024,
            policy: SlowConsumerPolicy::Disconnect,
            deflate_min_bytes: 512,
        }
    }
}

/// How much one turn of a shard does before it writes and polls again. Fixed, but for `read_bytes`
/// (`tuning.read_budget_bytes`): the figures belong to the code that they bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnLimits {
    /// Bytes that one read takes from a socket.
    pub read_bytes: usize,
    /// Units of work of one step: one visit to a connection, one piece of mail, or one piece of a
    /// longer job. A unit is about what it takes to queue an event for one receiver.
    pub step_units: u32,
    /// Units of work after which no new step is begun.
    pub turn_units: u32,
    /// Bytes of encoded messages after which no new step is begun.
    pub arena_bytes: usize,
    /// Connections that are written to.
    pub connections_written: usize,
    /// Sockets that are closed: the system takes longer for that than for a read or a write.
    pub connections_closed: usize,
    /// Bytes that are written to one connection.
    pub connection_bytes: usize,
    /// Bytes that are written to all connections.
    pub written_bytes: usize,
}

impl Default for TurnLimits {
    fn default() -> Self {
        Self {
            read_bytes: 64 * 1024,
            step_units: 50_000,
            turn_units: 100_000,
            arena_bytes: 1024 * 1024,
            connections_written: 1_024,
            connections_closed: 16,
            connection_bytes: 256 * 1024,
            written_bytes: 16 * 1024 * 1024,
        }
    }
}

/// How long the router waits for a peer, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// From accept to the end of the transport handshake, and from there to HELLO; also from
    /// the end of one session to the next HELLO on the same transport.
    pub handshake_ms: u64,
    /// From HELLO to WELCOME, where the client has to prove who it is (AU-GEN-05).
    pub login_ms: u64,
    /// For an authorizer to decide about a request, from the moment on in which the request waits.
    pub authorizer_ms: u64,
    /// Silence after which the router sends a ping; 0: never.
    pub ping_interval_ms: u64,
    /// Whether RawSocket peers are pinged too. Off by default: deployed clients do not answer, or
    /// break; TCP's own keep-alive finds the dead among them.
    pub rawsocket_pings: bool,
    /// Silence after a ping that ends the connection.
    pub ping_timeout_ms: u64,
    /// On a connection that speaks HTTP, from the end of one answer to the end of the next
    /// request's head.
    pub http_idle_ms: u64,
    /// For the body of a request that publishes or calls by HTTP to come whole.
    pub http_body_ms: u64,
    /// From then on for its answer.
    pub http_answer_ms: u64,
    /// On a stream of events, from the last event to a sign that it lives.
    pub http_heartbeat_ms: u64,
    /// A session by which such requests are made ends after so long without one.
    pub http_session_ms: u64,
    /// For the peer's answer to a GOODBYE or a WebSocket close, and for the last bytes to leave.
    pub close_ms: u64,
    /// From the order to stop to the last GOODBYE; 0: everybody gets it at once.
    pub drain_ms: u64,
    /// Before that: the router says that it is not ready, and serves everybody as ever.
    pub drain_delay_ms: u64,
    /// The same as `drain_ms` for a lame duck.
    pub lame_duck_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake_ms: 5_000,
            login_ms: 10_000,
            authorizer_ms: 5_000,
            ping_interval_ms: 20_000,
            rawsocket_pings: false,
            ping_timeout_ms: 10_000,
            http_idle_ms: 15_000,
            http_body_ms: 10_000,
            http_answer_ms: 60_000,
            http_heartbeat_ms: 15_000,
            http_session_ms: 60_000,
            close_ms: 2_000,
            drain_ms: 20_000,
            drain_delay_ms: 0,
            lame_duck_ms: 120_000,
        }
    }
}
