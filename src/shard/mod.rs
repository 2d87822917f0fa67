//! One shard's world without its sockets: connections, sessions, routing, mail and timers.
//!
//! Pure: bytes, mail and the time come in as arguments; bytes, mail and the wish to close a
//! socket are taken out by the event loop. One thread owns it.

mod ages;
mod asking;
mod authenticate;
mod authorize;
mod broker;
mod census;
mod connection;
mod connections;
mod context;
mod corks;
mod crowd;
mod dealer;
mod deposits;
mod drain;
mod errands;
mod expiry;
mod flush;
mod handover;
mod hello;
mod inbound;
mod input;
mod invariants;
mod joining;
mod judged;
mod layer;
mod leaving;
mod lifecycle;
mod log_budget;
mod login;
mod look;
mod mail;
mod mailbox;
mod management;
mod meta;
mod outbound;
mod post;
mod questions;
mod rates;
mod requests;
mod review;
mod suspension;
mod timeouts;
mod timers;
mod trace;
mod turn;
mod unheard;
mod work;

use std::sync::Arc;

use crate::address::Address;
use crate::clock::Millis;
use crate::router::{Destinations, Router, ShardId, Slot};
use crate::transport::TransportRules;
use crate::wamp::{RouterMessage, Timestamp};

use broker::{HeldDeliveries, ReceiverLists};
use connection::Connection;
use connections::Connections;
use context::Context;
use errands::Errands;
use joining::Joining;
use lifecycle::Shutdown;
use login::Logins;
use mailbox::Mailbox;
use meta::{EventOrders, Inquiries, Polls, Rosters, Surveys};
use outbound::SendError;
use questions::Questions;
use review::Review;
use timers::Owner;
use unheard::Unheard;

pub use broker::{KeptAs, Publication, fan_out};
pub use corks::Corks;
pub(crate) use dealer::CALLEE_LEFT;
pub use dealer::Claims;
pub use errands::{Errand, RequestCheck, Ruled, Waiter};
pub use handover::HandOver;
pub use input::InputStatus;
pub use layer::{LayerFault, LayerNews, LayerReport};
pub use lifecycle::Closing;
pub use mail::{
    CallElsewhere, Cancellation, Carried, ClaimOutcome, Elsewhere, Event, EventHead, Invoke, Kill,
    Mail, MetaEvent, Outcome, Return, Roll, RollCall,
};
pub use management::{Bulletin, ManagementAnswer, ManagementCall, ManagementOutcome, Passage};
pub use meta::{
    Absent, Ask, Finding, Foreign, ForeignMetaEvent, ForeignNews, LastWords, MOST_IN_PART,
    MOST_ROLES, MetaElsewhere, Part, PollTally, Question, Reply, Roles, RosterAnswer, RosterCall,
    RosterCursor, RosterEntries, RosterPiece, SessionEntry, SubscriptionEntry, Whom, Word,
};
pub use trace::{
    About, Delivered, Direction, MOST_KEPT_BYTES, MOST_TEXT_BYTES, MOST_TRACES, PATIENCE_MS,
    TraceFilter, TraceHaul, TraceRecord, TraceRequest, TracedRule, UNREADABLE, Verdict,
};
pub use turn::{Tick, Turn, Wire};

/// One shard of a router.
#[derive(Debug)]
pub struct Shard {
    cx: Context,
    connections: Connections,
    receivers: ReceiverLists,
    /// Mail that waits for its turn.
    mailbox: Mailbox,
    /// Publications that wait to be delivered further.
    deliveries: HeldDeliveries,
    /// Questions to histories that take longer than a step.
    inquiries: Inquiries,
    /// Long answers of the meta API.
    surveys: Surveys,
    /// Questions to other shards and nodes that wait for answers.
    polls: Polls,
    /// Meta events that wait at this shard, the home of their realms.
    event_orders: EventOrders,
    /// What stands at other nodes, of those realms.
    rosters: Rosters,
    /// Of whom meta events wait here.
    unheard: Unheard,
    /// Who has to wait before it joins.
    joining: Joining,
    logins: Logins,
    /// What is to be judged elsewhere.
    errands: Errands,
    /// What the router has called itself.
    questions: Questions,
    /// What a reload changes for the sessions.
    review: Review,
    shutdown: Shutdown,
    /// The connection that was just visited, if it leaves, with what has come of it.
    departing: Option<(Slot, Vec<u8>)>,
    /// The number of what other nodes were last to confirm.
    last_cork_ticket: u64,
    claims: Claims,
}

/// What a connection may do: chosen by the listener that accepted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Welcome,
    /// The router is full: the connection gets an answer that says so, then closes.
    Full,
    /// As for `Full`, but it is the peer's address that has too many.
    Crowded,
    /// As for `Full`, but the router is about to stop.
    Stopping,
}

impl Shard {
    /// `seed` is what all random ids of this shard come from.
    pub fn new(id: ShardId, router: Arc<Router>, seed: [u8; 32]) -> Self {
        let hashers = router.seed();
        Self {
            connections: Connections::new(id),
            receivers: ReceiverLists::new(hashers.map()),
            mailbox: Mailbox::default(),
            deliveries: HeldDeliveries::new(&hashers),
            inquiries: Inquiries::default(),
            surveys: Surveys::default(),
            polls: Polls::default(),
            event_orders: EventOrders::new(hashers.clone()),
            rosters: Rosters::default(),
            unheard: Unheard::new(hashers.map()),
            joining: Joining::default(),
            logins: Logins::new(hashers.map()),
            errands: Errands::default(),
            questions: Questions::new(hashers.map()),
            review: Review::default(),
            shutdown: Shutdown::default(),
            departing: None,
            last_cork_ticket: 0,
            claims: Claims::default(),
            cx: Context::new(id, router, seed),
        }
    }

    pub const fn id(&self) -> ShardId {
        self.cx.id
    }

    /// Begins a turn; `wall_clock` is what clients and records call the present in it. Intervals
    /// are measured by `Millis` alone.
    pub(super) fn begin_turn(&mut self, wall_clock: Timestamp, now: Millis) {
        self.cx.begin_turn(wall_clock, now);
    }

    /// Bytes that were written in this turn.
    pub(super) const fn written_bytes(&self) -> usize {
        self.cx.outbound.written
    }

    /// Whether as much was read as leaves the rest of the turn to mail and jobs.
    pub(super) const fn is_reading_over(&self) -> bool {
        self.cx.work.is_reading_over() || self.cx.outbound.is_full()
    }

    /// The present of this turn, for what clients and records are told.
    pub const fn wall_clock(&self) -> Timestamp {
        self.cx.wall_clock
    }

    /// Takes in a new connection.
    pub(super) fn open(
        &mut self,
        rules: &Arc<TransportRules>,
        peer: Address,
        admission: Admission,
        now: Millis,
    ) -> Slot {
        let mut rules = Arc::clone(rules);
        if self.is_suspended() {
            // What health checks are told.
            Arc::make_mut(&mut rules).is_ready = false;
        }
        let slot = self
            .connections
            .insert(|generation| Connection::new(rules, peer, admission, generation, now));
        self.cx.counters.connections.increment();
        self.cx.counters.connections_opened.increment();
        self.rearm(slot, now);
        slot
    }

    /// Bytes of the frames that were encoded and not written by all; no connection's share of them
    /// is larger.
    pub const fn turn_bytes(&self) -> usize {
        self.cx.outbound.arena.len()
    }

    /// How many frames so far joined others that waited for the same connection.
    pub const fn frames_coalesced(&self) -> u64 {
        self.cx.outbound.coalesced
    }

    /// Where input of this connection went to since it was last found free to go on.
    pub fn feeds(&self, slot: Slot) -> Destinations {
        self.connections.get(slot).map_or_else(Destinations::default, |c| c.feeds)
    }

    pub(super) fn clear_feeds(&mut self, slot: Slot) {
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.feeds = Destinations::default();
        }
    }

    /// The most units of work that one step has taken so far; see [`crate::limits::TurnLimits`].
    pub const fn longest_step(&self) -> u64 {
        self.cx.work.longest_step()
    }

    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Queues a message that is never dropped.
    fn send(&mut self, slot: Slot, message: &RouterMessage<'_>) -> Result<(), SendError> {
        let Some(connection) = self.connections.get_mut(slot) else { return Ok(()) };
        self.cx.send(slot, connection, message)
    }

    /// Queues a message that another client has caused, unless it is more than a peer can have wait
    /// that does not take what waits already: `false` then, and nobody has to go.
    fn send_if_it_fits(
        &mut self,
        slot: Slot,
        message: &RouterMessage<'_>,
    ) -> Result<bool, SendError> {
        let Some(connection) = self.connections.get_mut(slot) else { return Ok(true) };
        self.cx.send_if_it_fits(slot, connection, message)
    }

    /// Whether a message with so many bytes of payload is more than a peer can have wait that does
    /// not take what waits already.
    fn is_choked(&self, slot: Slot, bytes: usize) -> bool {
        let connection = self.connections.get(slot);
        connection.is_some_and(|connection| self.cx.outbound.is_choked(connection, bytes))
    }

    /// Finishes what the current input has left over: local mail, then full queues.
    #[inline]
    fn settle(&mut self, now: Millis) {
        if self.cx.post.has_own() || self.cx.outbound.has_troubles() {
            self.settle_all(now);
        }
    }

    #[inline(never)]
    fn settle_all(&mut self, now: Millis) {
        while self.cx.post.has_own() || !self.cx.outbound.overflowed.is_empty() {
            for mail in self.cx.post.take_own() {
                self.handle_one_mail(mail, now);
            }
            for slot in std::mem::take(&mut self.cx.outbound.overflowed) {
                self.disconnect_slow(slot, now);
            }
        }
        for slot in std::mem::take(&mut self.cx.outbound.dropping) {
            self.log_dropping(slot, now);
        }
        for (slot, error) in std::mem::take(&mut self.cx.outbound.unfit) {
            self.log_unfit(slot, error, now);
        }
    }
}
