//! One connection of a shard: its transport, its output queue, and the session on it, if any.

use std::sync::Arc;

use super::{Admission, Closing};
use crate::clock::Millis;
use crate::codec::Codec;
use crate::limits::Timeouts;
use crate::router::ShardSet;
use crate::session::Session;
use crate::transport::{Framing, Output, Span, Stage, Transport, TransportRules, rawsocket};
use crate::wamp::SessionId;

#[derive(Debug)]
pub(super) struct Connection {
    // What delivering an event touches comes first.
    pub(super) output: Output,
    /// The id of the session, while it may receive; kept beside `phase` for the delivery loop.
    pub(super) session_id: Option<SessionId>,
    pub(super) codec: Codec,
    pub(super) framing: Framing,
    /// Whether the connection stands in the list of those to be written.
    pub(super) dirty: bool,
    /// Events that this session has missed because its queue was full.
    pub(super) events_dropped: u64,
    /// Whether events are being dropped since the queue was last empty.
    pub(super) dropping: bool,
    /// Whether the event loop was told that the last byte is out.
    pub(super) farewell_said: bool,
    /// Whether only the socket is left to close.
    pub(super) gone: bool,
    /// Whether the queue is full and the connection about to be ended.
    pub(super) overflowed: bool,
    /// The largest message that the peer accepts, in bytes.
    pub(super) peer_limit_bytes: usize,

    pub(super) transport: Transport,
    pub(super) phase: Phase,
    /// Bytes of a frame or handshake that has not arrived whole.
    pub(super) partial: Vec<u8>,
    pub(super) rules: Arc<TransportRules>,
    pub(super) admission: Admission,
    /// Where the connection comes from, for logs.
    pub(super) peer: Box<str>,
    /// Tells this connection from earlier ones in the same slot.
    pub(super) generation: u32,
    /// Shards that messages of this connection went to: reading waits while one is congested.
    pub(super) feeds: ShardSet,
    /// The earliest entry of this connection in the timer heap.
    pub(super) armed: Option<Millis>,
    pub(super) since: Millis,
    pub(super) last_received: Millis,
    /// When the unanswered ping was sent.
    pub(super) ping_sent: Option<Millis>,
    /// While bytes wait: when the socket last took some.
    pub(super) blocked_since: Option<Millis>,
    /// While more than the soft limit waits: since when.
    pub(super) over_soft_since: Option<Millis>,
}

/// Where a connection is in its life.
#[derive(Debug)]
pub(super) enum Phase {
    /// The transport's handshake is under way.
    Negotiating,
    /// The transport is open, HELLO has not come.
    Open,
    Joined(Box<Session>),
    /// GOODBYE was sent, the session is out of routing, its answer is awaited (BP-SES-13).
    ShuttingDown(Closing),
    /// Nothing more is said or heard; the last bytes leave, then the socket closes.
    Closing,
}

impl Connection {
    pub(super) fn session(&self) -> Option<&Session> {
        match &self.phase {
            Phase::Joined(session) => Some(session),
            _ => None,
        }
    }

    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.phase {
            Phase::Joined(session) => Some(session),
            _ => None,
        }
    }

    /// How long the peer's messages may be: a stranger's are short.
    pub(super) const fn stage(&self) -> Stage {
        match &self.phase {
            Phase::Negotiating | Phase::Open => Stage::Establishing,
            Phase::Joined(_) | Phase::ShuttingDown(_) | Phase::Closing => Stage::Established,
        }
    }

    /// Whether the peer accepts a frame of this size; only RawSocket peers set a limit.
    pub(super) const fn accepts(&self, frame: Span) -> bool {
        frame.len() <= self.peer_limit_bytes.saturating_add(rawsocket::HEADER_BYTES)
    }

    pub(super) fn enter(&mut self, phase: Phase, now: Millis) {
        self.phase = phase;
        self.since = now;
    }

    /// When something has to happen if the peer stays silent.
    pub(super) fn deadline(&self, timeouts: &Timeouts, soft_ms: u64, stall_ms: u64) -> Deadline {
        let phase = match &self.phase {
            Phase::Negotiating | Phase::Open => {
                Deadline { at: self.since + timeouts.handshake_ms, due: Due::Handshake }
            }
            Phase::Joined(_) => self.keepalive_deadline(timeouts),
            Phase::ShuttingDown(_) => {
                Deadline { at: self.since + timeouts.close_ms, due: Due::CloseTransport }
            }
            Phase::Closing => Deadline { at: self.since + timeouts.close_ms, due: Due::Drop },
        };
        let soft =
            self.over_soft_since.map(|since| Deadline { at: since + soft_ms, due: Due::Slow });
        let stall =
            self.blocked_since.map(|since| Deadline { at: since + stall_ms, due: Due::Slow });
        let closing = matches!(self.phase, Phase::Closing);
        let slow = soft.into_iter().chain(stall).filter(|_| !closing);
        slow.fold(phase, |first, other| if other.at < first.at { other } else { first })
    }

    fn keepalive_deadline(&self, timeouts: &Timeouts) -> Deadline {
        if timeouts.ping_interval_ms == 0
            || self.framing == Framing::RawSocket && !timeouts.rawsocket_pings
        {
            return Deadline { at: Millis(u64::MAX), due: Due::Ping };
        }
        match self.ping_sent {
            Some(sent) => Deadline { at: sent + timeouts.ping_timeout_ms, due: Due::Silent },
            None => Deadline { at: self.last_received + timeouts.ping_interval_ms, due: Due::Ping },
        }
    }
}

/// A point in time and what is due then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub(super) at: Millis,
    pub(super) due: Due,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The peer has not said HELLO in time.
    Handshake,
    Ping,
    /// The peer did not answer a ping.
    Silent,
    /// The peer does not take its output.
    Slow,
    /// The peer did not answer GOODBYE.
    CloseTransport,
    /// The peer did not close its side.
    Drop,
}
