//! One connection of a shard: its transport, its input, its output queue, and the session on it.

use std::sync::Arc;

use super::corks::Cork;
use super::input::Input;
use super::leaving::Leaving;
use super::login::Applicant;
use super::{Admission, Closing};
use crate::address::Address;
use crate::authentication::ClientCertificate;
use crate::clock::Millis;
use crate::codec::Codec;
use crate::limits::Timeouts;
use crate::router::{Destinations, Held, Seat, Traffic};
use crate::session::Session;
use crate::transport::{
    Framing, Origin, Output, PassedHeaders, Span, Stage, Transport, TransportRules,
    UNLIMITED_BYTES, rawsocket,
};
use crate::wamp::{RequestId, SessionId};

#[derive(Debug)]
pub(super) struct Connection {
    // What delivering an event touches comes first.
    pub(super) output: Output,
    /// The id of the session, while it may receive; kept beside `phase` for the delivery loop.
    pub(super) session_id: Option<SessionId>,
    pub(super) codec: Codec,
    pub(super) framing: Framing,
    /// Which pair of serializer and framing that is, by [`encoding_of`].
    pub(super) encoding: u8,
    /// Whether messages are written in batches.
    pub(super) is_batched: bool,
    /// Whether the connection stands in the list of those to be written.
    pub(super) dirty: bool,
    /// Whether events are being dropped since the queue was last empty.
    pub(super) dropping: bool,
    /// Whether the queue is full and the connection about to be ended.
    pub(super) overflowed: bool,
    /// Whether nothing is written as usual: it is gone, or there is a cork.
    pub(super) is_held: bool,
    /// The largest message that the peer accepts, in bytes.
    pub(super) peer_limit_bytes: usize,
    /// Bytes of its backlog that the gauge counts, and its rank among the slow ones.
    pub(super) refused: Refused,

    pub(super) transport: Transport,
    pub(super) input: Input,
    pub(super) phase: Phase,
    /// What the last session of this connection still has to give back. The next one waits.
    pub(super) leaving: Option<Box<Leaving>>,
    /// Until other nodes have confirmed what the client is told, nothing is written; see `corks`.
    pub(super) cork: Option<Box<Cork>>,
    pub(super) rules: Arc<TransportRules>,
    pub(super) admission: Admission,
    /// Where the connection comes from: for logs, limits and meta answers.
    pub(super) peer: Address,
    /// Its place among the connections of its address, if those are counted.
    pub(super) seat: Option<Box<Seat>>,
    /// Nobody on the way to the router, or to a listed proxy, can read along: TLS or a Unix socket.
    pub(super) is_confidential: bool,
    /// What tells the TLS channel from all others (RFC 9266, `tls-exporter`); `None` without one.
    pub(super) channel_id: Option<Box<[u8; 32]>>,
    /// The certificate that the peer has shown in TLS, verified.
    pub(super) certificate: Option<Arc<ClientCertificate>>,
    /// What authenticators learn of its request, until WELCOME.
    pub(super) headers: Option<Box<KeptHeaders>>,
    /// Tells this connection from earlier ones in the same slot.
    pub(super) generation: u32,
    /// Where messages of this connection went to: reading waits while one of them is congested.
    pub(super) feeds: Destinations,
    /// Of the session, and what came before it.
    pub(super) traffic: Traffic,
    pub(super) clock: Clock,
}

/// In slots that lie 512 bytes apart, the same field of all connections would share an eighth of a
/// processor's first cache.
const _: () = assert!(size_of::<Connection>() < 512);

/// What is known of a connection's backlog elsewhere; see `Outbound::count_refused`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Refused {
    /// Bytes of the backlog.
    pub(super) bytes: usize,
    /// Those that the peer is judged by: none while its socket takes bytes.
    pub(super) rank: usize,
}

/// Where a connection is in its life.
#[derive(Debug)]
pub(super) enum Phase {
    /// The transport's handshake is under way.
    Negotiating,
    /// The transport is open, HELLO has not come.
    Open,
    /// CHALLENGE was sent, AUTHENTICATE has not come.
    Challenged(Box<Applicant>),
    /// HELLO or AUTHENTICATE has come and is judged elsewhere; the input is parked.
    Judged(Box<Applicant>),
    Joined(Box<Session>),
    /// GOODBYE was sent, the session is out of routing, its answer is awaited (BP-SES-13).
    ShuttingDown(Closing),
    /// Nothing more is heard; the last bytes leave.
    Closing,
    /// The last byte is out, and the event loop was told.
    Parted,
    /// Only the socket is left to close.
    Gone,
}

/// What happened when on a connection, as far as patience depends on it.
#[derive(Debug)]
pub(super) struct Clock {
    /// When the phase began.
    pub(super) since: Millis,
    /// When the peer last showed life: it was heard, or it took what a full socket had held back.
    pub(super) last_alive: Millis,
    /// When the unanswered ping was sent.
    pub(super) ping_sent: Option<Millis>,
    /// Since when the socket has refused bytes without taking any.
    pub(super) blocked_since: Option<Millis>,
    /// While more than the soft limit waits: since when.
    pub(super) over_soft_since: Option<Millis>,
    /// The earliest entry of this connection in the timer heap.
    pub(super) armed: Option<Millis>,
}

impl Clock {
    pub(super) const fn new(now: Millis) -> Self {
        Self {
            since: now,
            last_alive: now,
            ping_sent: None,
            blocked_since: None,
            over_soft_since: None,
            armed: None,
        }
    }

    /// What the peer has not done so far is not held against it.
    pub(super) fn forgive(&mut self, now: Millis) {
        for since in [&mut self.ping_sent, &mut self.blocked_since, &mut self.over_soft_since] {
            *since = since.map(|_| now);
        }
    }

    pub(super) const fn note_life(&mut self, now: Millis) {
        self.last_alive = now;
        self.ping_sent = None;
    }
}

/// Headers of a request, with what counts their memory.
#[derive(Debug)]
pub(super) struct KeptHeaders {
    pub(super) headers: Box<PassedHeaders>,
    pub(super) _held: Held,
}

/// A number of its own for each pair of serializer and framing, below [`ENCODINGS`].
pub(super) const fn encoding_of(codec: Codec, framing: Framing) -> u8 {
    (codec as usize * Framing::WAYS + framing.way()) as u8
}

/// More than there are pairs of serializer and framing: a power of two.
pub(super) const ENCODINGS: usize = 16;

const _: () = assert!(Codec::ALL.len() * Framing::WAYS <= ENCODINGS);

impl Connection {
    pub(super) fn new(
        rules: Arc<TransportRules>,
        peer: Address,
        admission: Admission,
        generation: u32,
        now: Millis,
    ) -> Self {
        let mut transport = Transport::new();
        transport.believe(rules.trusts(peer));
        Self {
            output: Output::default(),
            session_id: None,
            codec: Codec::Json,
            framing: Framing::WebSocketText,
            encoding: encoding_of(Codec::Json, Framing::WebSocketText),
            is_batched: false,
            dirty: false,
            dropping: false,
            overflowed: false,
            is_held: false,
            cork: None,
            peer_limit_bytes: UNLIMITED_BYTES,
            refused: Refused::default(),
            transport,
            input: Input::default(),
            phase: Phase::Negotiating,
            leaving: None,
            seat: None,
            is_confidential: rules.tls || peer == Address::UNIX,
            rules,
            admission,
            peer,
            channel_id: None,
            certificate: None,
            headers: None,
            generation,
            feeds: Destinations::default(),
            traffic: Traffic::default(),
            clock: Clock::new(now),
        }
    }

    /// A listed proxy says for whom it speaks: that is who the peer is from now on.
    pub(super) fn note_origin(&mut self, origin: Origin) {
        let Origin { address, by_tls } = origin;
        self.peer = address;
        self.is_confidential = self.rules.tls || by_tls || address == Address::UNIX;
        self.transport.believe(self.rules.trusts(address));
    }

    /// In a drain it is told to leave when no others are left.
    pub(super) fn leaves_last(&self) -> bool {
        self.rules.appointed.as_ref().is_some_and(|appointed| appointed.leaves_last)
    }

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

    /// The session that holds what this slot is listed for: the one that is here, or the one that
    /// is leaving.
    pub(super) fn holder(&self) -> Option<&Session> {
        self.session().or_else(|| self.leaving.as_ref().map(|leaving| &leaving.session))
    }

    pub(super) fn holder_mut(&mut self) -> Option<&mut Session> {
        match &mut self.phase {
            Phase::Joined(session) => Some(session),
            _ => self.leaving.as_mut().map(|leaving| &mut leaving.session),
        }
    }

    /// The question that a request of its session or its login waits for.
    pub(super) fn awaited(&self) -> Option<RequestId> {
        match &self.phase {
            Phase::Judged(applicant) => Some(applicant.consulting.as_ref()?.question()),
            _ => self.input.awaited(),
        }
    }

    /// Whether nothing more is heard from the peer.
    pub(super) const fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Parted | Phase::Gone)
    }

    pub(super) const fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Gone)
    }

    /// How long the peer's messages may be: a stranger's are short.
    pub(super) const fn stage(&self) -> Stage {
        match &self.phase {
            Phase::Negotiating | Phase::Open | Phase::Challenged(_) | Phase::Judged(_) => {
                Stage::Establishing
            }
            _ => Stage::Established,
        }
    }

    /// Bytes of memory for what has come and is not dealt with.
    pub(super) fn input_bytes(&self) -> usize {
        self.input.held_bytes() + self.transport.held_bytes()
    }

    /// Whether the socket was offered what waits, and has refused it.
    pub(super) const fn is_blocked(&self) -> bool {
        self.clock.blocked_since.is_some()
    }

    /// What there is to be known of its backlog.
    #[inline]
    pub(super) fn refused(&self) -> Refused {
        let bytes = self.output.backlog_bytes();
        Refused { bytes, rank: if self.is_blocked() { bytes } else { 0 } }
    }

    /// Whether the peer accepts a frame of this size; only RawSocket peers set a limit.
    pub(super) const fn accepts(&self, frame: Span) -> bool {
        frame.len() <= self.peer_limit_bytes + rawsocket::HEADER_BYTES
    }

    pub(super) fn enter(&mut self, phase: Phase, now: Millis) {
        self.phase = phase;
        self.clock.since = now;
    }

    /// When something has to happen if the peer stays silent.
    pub(super) fn deadline(&self, timeouts: &Timeouts, soft_ms: u64, stall_ms: u64) -> Deadline {
        let since = self.clock.since;
        let phase = match &self.phase {
            Phase::Negotiating | Phase::Open => {
                Deadline { at: since + timeouts.handshake_ms, due: Due::Handshake }
            }
            Phase::Challenged(_) => Deadline { at: since + timeouts.login_ms, due: Due::Answer },
            Phase::Judged(_) => Deadline { at: since + timeouts.login_ms, due: Due::Judgement },
            Phase::Joined(session) => self.joined_deadline(session, timeouts),
            Phase::ShuttingDown(_) => {
                Deadline { at: since + timeouts.close_ms, due: Due::CloseTransport }
            }
            Phase::Closing | Phase::Parted => {
                Deadline { at: since + timeouts.close_ms, due: Due::Drop }
            }
            Phase::Gone => NEVER,
        };
        let silence = match self.slow_at(soft_ms, stall_ms) {
            Some(at) if at < phase.at => Deadline { at, due: Due::Slow },
            _ => phase,
        };
        let next = match self.input.paced_until() {
            // Who is not read is not silent.
            Some(at) if !self.is_closing() && (at < silence.at || silence.due.is_silence()) => {
                Deadline { at, due: Due::Reading }
            }
            _ => silence,
        };
        match self.corked_until() {
            Some(at) if at < next.at => Deadline { at, due: Due::Corked },
            _ => next,
        }
    }

    /// When the peer counts as slow, if it takes nothing until then.
    pub(super) fn slow_at(&self, soft_ms: u64, stall_ms: u64) -> Option<Millis> {
        let soft = self.clock.over_soft_since.map(|since| since + soft_ms);
        let stall = self.clock.blocked_since.map(|since| since + stall_ms);
        soft.into_iter().chain(stall).filter(|_| !self.is_closing()).min()
    }

    /// What is due because the session's token expires, if that is so.
    pub(super) fn expired(&self, now: Millis) -> Option<Due> {
        let expiry = self.session()?.expiry.as_deref()?;
        match expiry.warn_at {
            _ if expiry.at <= now => Some(Due::Expired),
            Some(warn_at) if warn_at <= now => Some(Due::Expiring),
            _ => None,
        }
    }

    fn joined_deadline(&self, session: &Session, timeouts: &Timeouts) -> Deadline {
        let keepalive = self.keepalive_deadline(timeouts);
        match session.expiry.as_ref().map(|expiry| expiry.next()) {
            Some(at) if at < keepalive.at => Deadline { at, due: Due::Expiring },
            _ => keepalive,
        }
    }

    fn keepalive_deadline(&self, timeouts: &Timeouts) -> Deadline {
        // Behind a cork no ping would reach the peer.
        if self.corked_until().is_some()
            || timeouts.ping_interval_ms == 0
            || self.framing == Framing::RawSocket
                && (!timeouts.rawsocket_pings || self.rules.is_inner)
        {
            return NEVER;
        }
        match self.clock.ping_sent {
            Some(sent) => Deadline { at: sent + timeouts.ping_timeout_ms, due: Due::Silent },
            None => {
                Deadline { at: self.clock.last_alive + timeouts.ping_interval_ms, due: Due::Ping }
            }
        }
    }
}

/// A point in time and what is due then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub(super) at: Millis,
    pub(super) due: Due,
}

pub(super) const NEVER: Deadline = Deadline { at: Millis(u64::MAX), due: Due::Ping };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The peer has not said HELLO in time.
    Handshake,
    /// The peer has not answered CHALLENGE in time.
    Answer,
    /// Nobody has judged the answer in time.
    Judgement,
    Ping,
    /// The client is to be warned that its token expires.
    Expiring,
    /// The token has expired.
    Expired,
    /// The peer did not answer a ping.
    Silent,
    /// The peer does not take its output.
    Slow,
    /// The peer did not answer GOODBYE.
    CloseTransport,
    /// The peer did not close its side.
    Drop,
    /// The peer has waited long enough for having sent too much.
    Reading,
    /// Other nodes had the time to confirm.
    Corked,
}

impl Due {
    /// Whether the peer is blamed for its silence: all that it has sent must have been dealt with.
    pub(super) const fn is_silence(self) -> bool {
        matches!(self, Self::Handshake | Self::Answer | Self::Silent | Self::CloseTransport)
    }
}
