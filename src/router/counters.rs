//! What a shard counts. One writer, its shard; any thread may read.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter or gauge with a single writer, so an update needs no locked instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, amount: u64) {
        self.set(self.get().wrapping_add(amount));
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn subtract(&self, amount: u64) {
        debug_assert!(self.get() >= amount, "a gauge never falls below zero");
        self.set(self.get().saturating_sub(amount));
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident: $kind:ident,)*) => {
        /// The counters of one shard, on cache lines of their own.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
        }

        /// The counters of one or more shards at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Snapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.get(),)* }
            }
        }

        impl Snapshot {
            /// The gauges: what exists now. All zero when every client has left.
            pub fn gauges(&self) -> Vec<(&'static str, u64)> {
                self.rows("gauge")
            }

            /// The totals: what has happened since the start.
            pub fn totals(&self) -> Vec<(&'static str, u64)> {
                self.rows("total")
            }

            fn rows(&self, kind: &str) -> Vec<(&'static str, u64)> {
                let all = [$((stringify!($name), stringify!($kind), self.$name),)*];
                let rows = all.into_iter().filter(|(_, of, _)| *of == kind);
                rows.map(|(name, _, value)| (name, value)).collect()
            }
        }

        impl std::ops::Add for Snapshot {
            type Output = Self;

            fn add(self, other: Self) -> Self {
                Self { $($name: self.$name + other.$name,)* }
            }
        }
    };
}

counters! {
    /// Open transports, with or without a session.
    connections: gauge,
    sessions: gauge,
    /// Memberships: one session in one subscription.
    subscriptions: gauge,
    /// Memberships: one callee in one registration.
    registrations: gauge,
    /// Calls that wait for their answer, at the caller's shard.
    calls: gauge,
    /// Invocations that wait for their answer, at the callee's shard.
    invocations: gauge,
    /// Bytes that wait to be written.
    output_bytes: gauge,
    /// Bytes of them that sockets were offered and have refused, or that wait behind a cork: copied
    /// for each connection.
    refused_bytes: gauge,
    /// Bytes of memory for what has come and is not dealt with: above all messages that have not
    /// come whole.
    input_bytes: gauge,
    /// Bytes of payload that are kept for calls that may be routed again.
    kept_bytes: gauge,
    /// TLS handshakes that have begun and are not over.
    tls_handshakes_under_way: gauge,
    /// Calls that the router itself has made, and that wait for their answer.
    questions: gauge,
    /// Requests that endpoints are asked about, and that wait for their answer.
    endpoint_questions: gauge,
    /// Those that it is to make, when some of the others are answered.
    questions_waiting: gauge,
    /// Connections that were handed over to the thread `http` and are not closed.
    http_connections: gauge,
    /// Streams of events by HTTP that are open.
    http_streams: gauge,
    connections_opened: total,
    connections_refused: total,
    /// Connections refused because of what their address has done: `limits.*_per_address`.
    connections_crowded: total,
    /// Those whose first request was none for WAMP, and which the thread `http` has taken.
    connections_handed_over: total,
    /// HTTP requests that the thread `http` has answered with less than 400.
    http_answered: total,
    /// Those that it answered with 400 to 499.
    http_refused: total,
    /// Those that it answered with 500 or more.
    http_failed: total,
    /// Publications that were made by HTTP.
    http_publications: total,
    /// Calls that were made by HTTP and answered, with a result or an error.
    http_calls: total,
    /// HTTP requests with a key or token that their path does not take.
    http_keys_refused: total,
    /// TLS handshakes that succeeded in the usual number of round trips, with all signatures.
    tls_handshakes_full: total,
    /// Those that needed one more, as the client had guessed no group of the router's.
    tls_handshakes_retried: total,
    /// Those that resumed an earlier session, by a ticket.
    tls_handshakes_resumed: total,
    /// TLS handshakes that failed.
    tls_handshakes_failed: total,
    /// Connections refused because as many handshakes were under way as may be.
    tls_handshakes_refused: total,
    sessions_joined: total,
    sessions_refused: total,
    /// Clients that were asked to prove who they are.
    logins_challenged: total,
    /// Logins that ended with a wrong secret, or the authid of nobody.
    logins_denied: total,
    /// Logins that the router had no room or no time to judge.
    logins_failed: total,
    /// Logins refused because too many from the same address had failed.
    logins_limited_by_address: total,
    /// Logins refused because too many with the same authid had failed.
    logins_limited_by_authid: total,
    messages_received: total,
    bytes_received: total,
    bytes_sent: total,
    /// Messages that went out compressed, their bytes before, and as they went.
    deflated_messages: total,
    deflated_plain_bytes: total,
    deflated_bytes: total,
    /// The same of those that came compressed.
    inflated_messages: total,
    inflated_plain_bytes: total,
    inflated_bytes: total,
    protocol_violations: total,
    /// Times that a session was read later because it had sent more than its role may.
    sessions_paced: total,
    /// Sessions that were ended because of that.
    sessions_over_rate: total,
    /// Requests, testaments included, that a session's role may not make; by roles and actions see
    /// [`super::RealmRole::decisions`].
    requests_denied: total,
    /// Those among them that an authorizer should have decided about, and has not.
    requests_undecided: total,
    /// Publications accepted for routing.
    publications: total,
    /// PUBLISH messages that were refused, acknowledged or not (BP-PUB-05).
    publications_refused: total,
    events_delivered: total,
    /// Meta events that were not made, because too much waits to be delivered.
    meta_events_dropped: total,
    /// Events not delivered because the subscriber's queue was full.
    events_dropped_slow: total,
    /// Events not delivered because they exceed what the subscriber's transport accepts.
    events_dropped_size: total,
    /// Events not delivered because the subscriber's serializer cannot express them.
    events_dropped_encoding: total,
    /// Events that their publishers wanted to be retained.
    events_retained: total,
    /// Retained events that went, or did not come, because of a limit of the realm.
    retained_dropped: total,
    /// Times that a subscriber's queue had no room for all the retained events it asked for.
    retained_withheld: total,
    /// Events that went into histories, one for each.
    history_events: total,
    /// Events that went from histories because of their bounds, when new ones came.
    history_evicted: total,
    /// Publications whose events the store has safe.
    deposits_saved: total,
    /// Publications whose events the store could not save at once.
    deposits_failed: total,
    /// Times that the store could not be written any more. It cannot now if they are more than the
    /// recoveries.
    store_outages: total,
    /// Times that an outage of the store ended, with nothing missing.
    store_recoveries: total,
    /// Tries to end an outage that failed.
    store_retries_failed: total,
    calls_routed: total,
    calls_refused: total,
    /// Calls of the router's own procedures that it answered with a RESULT.
    meta_calls_answered: total,
    /// Questions of the router to procedures that decide about requests or logins, and to endpoints
    /// that decide about requests.
    questions_asked: total,
    /// Those among them that nobody could be asked, or whose callee has gone.
    questions_not_brought: total,
    /// Those that were answered with an ERROR.
    questions_refused: total,
    /// Those that were not answered in time.
    questions_late: total,
    /// Those whose answers meant nothing, or for which an endpoint had none.
    questions_misanswered: total,
    /// Sessions ended through the meta API.
    sessions_killed: total,
    /// Sessions that a reload has ended: their realm, role or user was removed.
    sessions_revoked: total,
    /// Subscriptions and registrations that a reload has ended: their sessions may not have them
    /// any more.
    memberships_revoked: total,
    /// Sessions ended because the token by which they joined had expired.
    sessions_expired: total,
    results_delivered: total,
    call_errors_delivered: total,
    slow_consumers_disconnected: total,
    /// Connections that had to go because messages that do not come whole filled the memory.
    incomplete_disconnected: total,
    keepalive_timeouts: total,
}
