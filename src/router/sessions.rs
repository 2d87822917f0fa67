//! What operators see of sessions: those that are open, and those that have ended, and why.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::Profile;
use super::counters::Counter;
use crate::address::Address;
use crate::wamp::{SessionId, Timestamp};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal by $who:ident,)*) => {
        /// Why a session ended: in the log, the metrics, JSON, and docs/reasons.md.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EndReason {
            $($(#[doc = $doc])+ $name,)*
            /// The peer broke the transport's rules; the text names the rule.
            TransportError(&'static str),
        }

        /// The reasons as they are counted.
        enum Label {
            TransportError,
            $($name,)*
        }

        impl EndReason {
            /// All but for the rules of transports, which count as one.
            pub const LABELS: [&'static str; 1 + [$($text),*].len()] =
                [TRANSPORT_ERROR, $($text),*];

            /// As the log says it, with the rule.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::TransportError(rule) => rule,
                }
            }

            /// As metrics count it: the rules of transports are one.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::TransportError(_) => TRANSPORT_ERROR,
                }
            }

            /// The place of its label in [`Self::LABELS`].
            const fn place(self) -> usize {
                match self {
                    $(Self::$name => Label::$name as usize,)*
                    Self::TransportError(_) => Label::TransportError as usize,
                }
            }

            /// Who ended it.
            pub const fn closed_by(self) -> Side {
                match self {
                    $(Self::$name => Side::$who,)*
                    Self::TransportError(_) => Side::Router,
                }
            }

            /// The reasons for people: label, who ends the session, and when.
            pub const TABLE: &'static [(&'static str, Side, &'static [&'static str])] = &[
                $(($text, Side::$who, &[$($doc),+]),)*
                (TRANSPORT_ERROR, Side::Router, &[
                    " The peer broke the rules of its transport or TLS; the log names the rule.",
                ]),
            ];
        }
    };
}

reasons! {
    /// The client sent ABORT.
    ClientAbort = "client_abort" by Client,
    /// The router is a node with `alone = "stop"`, and was cut off from its cluster.
    CutOff = "cut_off" by Network,
    /// The client sent GOODBYE.
    Goodbye = "goodbye" by Client,
    /// The client did not answer a ping (`timeouts.ping_timeout_ms`).
    KeepaliveTimeout = "keepalive_timeout" by Router,
    /// An operator ended it on the admin listener (`stentor kick`).
    Kicked = "kicked" by Operator,
    /// Ended through the meta API (`wamp.session.kill` and its kin).
    Killed = "killed" by Operator,
    /// Ended with all others of its realm (`wamp.session.kill_all`).
    KilledWithAll = "killed_with_all" by Operator,
    /// The router had no room left for its messages, which did not come whole
    /// (`limits.input_total_bytes`).
    InputMemory = "input_memory" by Router,
    /// A message was larger than `limits.message_bytes`, over RawSocket.
    MessageTooLarge = "message_too_large" by Router,
    /// The client sent more than its role may, which has `over_rate = "end"`.
    OverRate = "over_rate" by Router,
    /// The client sent what the protocol forbids; the log says what.
    ProtocolViolation = "protocol_violation" by Router,
    /// Its realm was removed from the configuration of the running router.
    RealmClosed = "realm_closed" by Operator,
    /// A reload has taken its right to be here: its role or its user is gone.
    Revoked = "revoked" by Operator,
    /// The router stopped.
    Shutdown = "shutdown" by Operator,
    /// The client did not read as fast as it was sent to (`[output]`).
    SlowConsumer = "slow_consumer" by Router,
    /// The token by which the client joined has expired.
    TokenExpired = "token_expired" by Router,
    /// The client closed the transport in order, without GOODBYE.
    TransportClosed = "transport_closed" by Client,
    /// The socket failed or reached its end: the client or something between is gone.
    TransportLost = "transport_lost" by Network,
}

const TRANSPORT_ERROR: &str = "transport_error";

/// Who ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Router,
    Operator,
    Network,
}

impl Side {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Router => "router",
            Self::Operator => "operator",
            Self::Network => "network",
        }
    }
}

/// What a connection has sent and got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub messages_received: u64,
    pub bytes_received: u64,
    /// Bytes that its socket took.
    pub bytes_sent: u64,
    /// Events that it has missed because its queue was full.
    pub events_dropped: u64,
}

/// A session that is open, at one moment.
#[derive(Clone, Debug)]
pub struct OpenSession {
    pub session: SessionId,
    pub realm: Arc<str>,
    pub profile: Arc<Profile>,
    pub peer: Address,
    pub age_ms: u64,
    pub traffic: Traffic,
    /// Bytes that wait to be written to it.
    pub pending_bytes: usize,
    /// Those among them that its socket was offered and has refused.
    pub refused_bytes: usize,
    /// How long the oldest byte waits that its socket was offered and has not taken, in
    /// milliseconds; up to twice as long, or 100 ms more, may be said. 0 if there is none.
    pub oldest_ms: u64,
    pub subscriptions: usize,
    pub registrations: usize,
    /// Its calls, and its invocations as a callee, that wait for their answers.
    pub calls: usize,
    pub invocations: usize,
}

/// A session that has ended.
#[derive(Clone, Debug)]
pub struct Closed {
    pub session: SessionId,
    pub realm: Arc<str>,
    pub profile: Arc<Profile>,
    pub peer: Address,
    pub reason: EndReason,
    pub ended: Timestamp,
    pub duration_ms: u64,
    /// Of the session, and what its connection has sent and got before it.
    pub traffic: Traffic,
    /// Bytes that waited to be written to it.
    pub pending_bytes: usize,
}

impl Closed {
    /// Bytes of memory.
    fn weight(&self) -> usize {
        let profile = &self.profile;
        size_of::<Self>()
            + size_of::<Profile>()
            + profile.authid.len()
            + profile.authrole.len()
            + ALLOCATIONS_BYTES
    }
}

/// What one shard has ended. It alone writes; others look at it now and then.
#[derive(Debug)]
pub struct ClosedSessions {
    /// Bytes that the last ones may take.
    most_bytes: usize,
    /// By the places in [`EndReason::LABELS`].
    counts: [Counter; EndReason::LABELS.len()],
    last: Mutex<Last>,
}

/// The last sessions, the latest at the end, within their bytes.
#[derive(Debug, Default)]
struct Last {
    sessions: VecDeque<Closed>,
    bytes: usize,
    /// How many have ended so far: the number behind that of the latest.
    ended: u64,
}

impl ClosedSessions {
    /// Those of one shard among so many.
    pub(super) fn new(shards: usize) -> Self {
        let counts = std::array::from_fn(|_| Counter::default());
        Self { most_bytes: MOST_BYTES / shards, counts, last: Mutex::default() }
    }

    pub(crate) fn note(&self, closed: Closed) {
        self.counts[closed.reason.place()].increment();
        let mut evicted = Vec::new();
        let mut last = self.last.lock();
        last.bytes += closed.weight();
        last.ended += 1;
        last.sessions.push_back(closed);
        while last.bytes > self.most_bytes
            && let Some(oldest) = last.sessions.pop_front()
        {
            last.bytes -= oldest.weight();
            evicted.push(oldest);
        }
        // What they own is freed without the lock.
        drop(last);
        drop(evicted);
    }

    /// How many have ended for each reason, in the order of [`EndReason::LABELS`].
    pub fn counts(&self) -> [u64; EndReason::LABELS.len()] {
        std::array::from_fn(|place| self.counts[place].get())
    }

    /// The last of the sessions that have ended since so many had, up to `most` and the latest at
    /// the end; and how many have ended by now.
    pub fn since(&self, number: u64, most: usize) -> (Vec<Closed>, u64) {
        let last = self.last.lock();
        let (count, ended) = (last.sessions.len(), last.ended);
        let fresh = usize::try_from(ended.saturating_sub(number)).unwrap_or(count);
        let from = count - fresh.min(most).min(count);
        let sessions = last.sessions.range(from..).cloned().collect();
        MutexGuard::unlock_fair(last);
        (sessions, ended)
    }

    /// Up to so many of the last sessions for which `wanted` holds, the latest first. Looks at
    /// those that are kept, a few at a time, as the shard waits meanwhile if one of
    /// its sessions ends.
    pub fn last(&self, most: usize, wanted: impl Fn(&Closed) -> bool) -> Vec<Closed> {
        let (mut found, mut end) = (Vec::new(), u64::MAX);
        while found.len() < most && end > 0 {
            let last = self.last.lock();
            let oldest = last.ended - last.sessions.len() as u64;
            // Those that have ended since the first look are left out.
            let until = end.min(last.ended).saturating_sub(oldest) as usize;
            let from = until.saturating_sub(LOOKED_AT);
            let piece = last.sessions.range(from..until).rev().filter(|closed| wanted(closed));
            found.extend(piece.take(most - found.len()).cloned());
            MutexGuard::unlock_fair(last);
            end = if from == 0 { 0 } else { oldest + from as u64 };
        }
        found
    }
}

/// Bytes that the last sessions of all shards take: some 10,000 of them.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Sessions that are looked at while nobody can note one.
const LOOKED_AT: usize = 256;

/// What the allocator takes for the parts of one.
const ALLOCATIONS_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(session: u64, reason: EndReason) -> Closed {
        Closed {
            session: SessionId::from_random(session),
            realm: "realm1".into(),
            profile: Arc::new(Profile::anonymous("joe", "guest", "websocket", "json")),
            peer: Address::UNIX,
            reason,
            ended: Timestamp::EPOCH,
            duration_ms: 7,
            traffic: Traffic::default(),
            pending_bytes: 0,
        }
    }

    #[test]
    fn the_last_ones_are_kept_within_their_bytes() {
        let sessions = ClosedSessions::new(1);
        let most = MOST_BYTES / closed(1, EndReason::Goodbye).weight();
        assert!((8_000..20_000).contains(&most), "{most}");
        for number in 0..most as u64 + 10 {
            let reason = if number % 2 == 0 { EndReason::Goodbye } else { EndReason::Killed };
            sessions.note(closed(number, reason));
        }
        assert_eq!(sessions.last(usize::MAX, |_| true).len(), most);
        let killed = sessions.last(3, |closed| closed.reason == EndReason::Killed);
        let ids: Vec<_> = killed.iter().map(|closed| closed.session).collect();
        let expected = [most + 9 - most % 2, most + 7 - most % 2, most + 5 - most % 2];
        assert_eq!(ids, expected.map(|number| SessionId::from_random(number as u64)));
        assert_eq!(sessions.counts().iter().sum::<u64>(), most as u64 + 10);
    }

    #[test]
    fn pieces_show_each_session_once_and_in_order() {
        let sessions = ClosedSessions::new(1);
        let count = 3 * LOOKED_AT as u64 + 7;
        (0..count).for_each(|number| sessions.note(closed(number, EndReason::Goodbye)));
        let ids = |most| -> Vec<_> {
            sessions.last(most, |_| true).iter().map(|closed| closed.session).collect()
        };
        let expected: Vec<_> = (0..count).rev().map(SessionId::from_random).collect();
        assert_eq!(ids(usize::MAX), expected);
        assert_eq!(ids(LOOKED_AT + 1), expected[..=LOOKED_AT]);
        assert_eq!(ids(0), []);
        let oldest = SessionId::from_random(0);
        assert_eq!(sessions.last(5, |closed| closed.session == oldest).len(), 1);
        assert!(ClosedSessions::new(1).last(1, |_| true).is_empty());
    }

    #[test]
    fn what_is_new_is_bounded_and_counted() {
        let sessions = ClosedSessions::new(1);
        (0..9).for_each(|number| sessions.note(closed(number, EndReason::Goodbye)));
        let since = |number, most| {
            let (new, ended) = sessions.since(number, most);
            (new.iter().map(|closed| closed.session).collect::<Vec<_>>(), ended)
        };
        let ids = |numbers: [u64; 2]| numbers.map(SessionId::from_random).to_vec();
        assert_eq!(since(7, 9), (ids([7, 8]), 9));
        assert_eq!(since(3, 2), (ids([7, 8]), 9));
        assert_eq!(since(9, 9), (Vec::new(), 9));
        assert_eq!(since(u64::MAX, 9), (Vec::new(), 9));
        assert_eq!(ClosedSessions::new(1).since(0, 9).1, 0);
    }

    #[test]
    fn rules_of_transports_count_as_one() {
        let sessions = ClosedSessions::new(1);
        sessions.note(closed(1, EndReason::TransportError("invalid_utf8")));
        sessions.note(closed(2, EndReason::TransportError("reserved_bits")));
        assert_eq!(sessions.counts()[EndReason::TransportError("x").place()], 2);
        for reason in [EndReason::ClientAbort, EndReason::TransportLost, EndReason::Killed] {
            assert_eq!(EndReason::LABELS[reason.place()], reason.label());
        }
        assert_eq!(EndReason::LABELS[EndReason::TransportError("x").place()], "transport_error");
        assert_eq!(sessions.last(1, |_| true)[0].reason.as_str(), "reserved_bits");
    }
}
