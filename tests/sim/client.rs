//! One model client: its end of a socket, and its own view of its session.

use std::collections::BTreeMap;

use stentor::clock::Millis;

use super::ages::Seen;
use super::asking::MetaAsk;
use super::calls::LongCalls;
use super::history::Ask;
use super::meta::MetaView;
use super::model::{Pattern, Tag};
use super::pubsub::Retained;
use crate::support::Link;

/// Where a client is, as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The handshake is sent.
    Greeting,
    /// There is a transport and no session.
    Open,
    /// HELLO is sent.
    Hello,
    Joined,
    /// GOODBYE is sent.
    Leaving,
    /// ABORT is sent.
    Quitting,
    /// The session is over by ABORT or GOODBYE of the router; the end of the transport is awaited.
    Ending,
    /// There is no transport.
    Gone,
}

pub(crate) struct Client {
    pub(crate) shard: usize,
    pub(crate) pipe: usize,
    pub(crate) link: Link,
    pub(crate) stage: Stage,
    /// When the connection was opened, or the last GOODBYE sent.
    pub(crate) unjoined_since: Millis,
    /// Bytes that are sent and have not arrived.
    pub(crate) outbox: Vec<u8>,
    /// All bytes that were sent, and those of them that arrived.
    pub(crate) sent_bytes: u64,
    pub(crate) arrived_bytes: u64,
    /// The client does not read.
    pub(crate) stalled: bool,
    /// The client closes its socket once everything has arrived.
    pub(crate) half_closed: bool,
    /// The client has done what must end its session or transport.
    pub(crate) hostile: bool,
    /// The client has sent a close frame.
    pub(crate) closing: bool,
    /// The client has heard a close frame: nothing may follow.
    pub(crate) closed: bool,
    /// The router may have given up waiting for HELLO.
    pub(crate) late: bool,
    /// Somebody with the right to do so wants its session to end.
    pub(crate) killed: bool,
    pub(crate) unanswered_pings: u64,
    pub(crate) output: Seen,
    pub(crate) session: Session,
}

/// Why the router may end a connection, or the session on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excuse {
    /// It did what must end it.
    Hostile,
    /// It refused bytes.
    Slow,
    /// It did not answer a PING.
    Silent,
    /// It did not say HELLO.
    Late,
    Killed,
    Shutdown,
}

/// What a client knows of its session. Ids are the router's.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) tag: Tag,
    pub(crate) realm: &'static str,
    /// The step in which HELLO was sent.
    pub(crate) joining: usize,
    /// As WELCOME says.
    pub(crate) id: u64,
    pub(crate) authid: String,
    pub(crate) authrole: String,
    /// As HELLO says.
    pub(crate) announced: Announced,
    pub(crate) last_request: u64,
    pub(crate) pending: BTreeMap<u64, Request>,
    pub(crate) subscriptions: BTreeMap<u64, Held>,
    /// Requests with `get_retained`, and what must come behind their answers.
    pub(crate) asked_retained: BTreeMap<u64, Vec<(Tag, u64)>>,
    pub(crate) retained: Retained,
    pub(crate) registrations: BTreeMap<u64, Held>,
    /// Invocations to be answered: their own id, and the call behind each.
    pub(crate) invocations: BTreeMap<u64, (Tag, u64)>,
    pub(crate) last_invocation: u64,
    pub(crate) publications: u64,
    pub(crate) calls: u64,
    /// Requests of calls that have ended.
    pub(crate) ended_calls: Vec<u64>,
    pub(crate) long: LongCalls,
    /// The tags of what it wants published when it ends.
    pub(crate) testaments: Vec<Tag>,
}

/// The features that a client announced and that change what the router does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Announced {
    /// Canceling and progressive calls, as caller and callee, and revocation of registrations.
    pub(crate) advanced: bool,
    /// Payload passthru mode, as caller and as callee.
    pub(crate) calls_in_passthru: bool,
    pub(crate) answers_in_passthru: bool,
    /// `call_reroute` and `call_timeout`, as callee.
    pub(crate) reroutes: bool,
    pub(crate) watches_timeouts: bool,
}

impl Session {
    /// Whether it has heard of the end of all that it does not hold any more, as far as it should.
    pub(crate) fn has_lost_all(&self) -> bool {
        let tells = self.announced.advanced;
        let silent = |held: &Held| held.revoked_after.is_some() && !tells;
        self.subscriptions.values().all(|held| !held.leaving)
            && self.registrations.values().all(|held| !held.leaving || silent(held))
    }
}

/// A subscription or registration.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) pattern: Pattern,
    /// UNSUBSCRIBE or UNREGISTER is sent, or it was revoked.
    pub(crate) leaving: bool,
    /// The registration was revoked when so many calls had been sent.
    pub(crate) revoked_after: Option<usize>,
    /// Of a registration.
    pub(crate) terms: Terms,
    /// How many calls had been sent when REGISTERED came, of all sessions.
    pub(crate) since: usize,
    /// The first invocation that can be for it.
    pub(crate) first_invocation: u64,
    /// What a subscription has heard of the router's own events.
    pub(crate) meta: MetaView,
}

impl Held {
    pub(crate) fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            leaving: false,
            revoked_after: None,
            terms: Terms::default(),
            since: 0,
            first_invocation: 0,
            meta: MetaView::default(),
        }
    }
}

/// What a REGISTER asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) invoke: &'static str,
    pub(crate) concurrency: Option<usize>,
    pub(crate) forward_timeout: bool,
    pub(crate) disclose_caller: bool,
    /// The step in which it was sent, and that in which REGISTERED came.
    pub(crate) asked: usize,
    pub(crate) granted: usize,
}

/// A request that waits for its answer.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Subscribe(Pattern, Expected),
    /// The id, and whether it must succeed.
    Unsubscribe(u64, bool),
    Publish(u64, Expected),
    Register(Pattern, Terms, Expected),
    Unregister(u64, bool),
    Call(u64, Expected),
    /// Of a history.
    Events(Box<Ask>),
    /// Of another procedure of the router.
    Meta(Box<MetaAsk>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Success, unless a limit is met or somebody else was first.
    Success,
    /// `wamp.error.invalid_uri`.
    InvalidUri,
    /// `wamp.error.option_disallowed.disclose_me`.
    DiscloseMe,
    /// `wamp.error.not_authorized`.
    Denied,
    /// `wamp.error.no_such_procedure`: the URI is the protocol's.
    NoSuchProcedure,
}

impl Request {
    pub(crate) const fn code(&self) -> u64 {
        match self {
            Self::Subscribe(..) => 32,
            Self::Unsubscribe(..) => 34,
            Self::Publish(..) => 16,
            Self::Register(..) => 64,
            Self::Unregister(..) => 66,
            Self::Call(..) | Self::Events(..) | Self::Meta(..) => 48,
        }
    }
}
