//! One shard's world without its sockets: connections, sessions, routing, mail and timers.
//!
//! Pure: bytes, mail and the time come in as arguments; bytes, mail and the wish to close a
//! socket are taken out by the event loop. One thread owns it.

mod broker;
mod connection;
mod dealer;
mod flush;
mod hello;
mod history;
mod input;
mod lifecycle;
mod log_budget;
mod mail;
mod meta;
mod outbound;
mod retention;
mod timeouts;
mod timers;

use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use slab::Slab;

use crate::clock::Millis;
use crate::codec::Codec;
use crate::hash::Map;
use crate::router::{
    Counters, Deposit, Realm, Record, Router, SessionRef, Settings, ShardId, ShardSet,
};
use crate::session::Session;
use crate::transport::TransportRules;
use crate::wamp::{RouterMessage, SubscriptionId, Timestamp};

use broker::Receivers;
use connection::Connection;
use log_budget::LogBudget;
use meta::{EventOrder, Roster};
use outbound::{Outbound, SendError};
use timers::{Owner, Timers};

pub use flush::Flushed;
pub use lifecycle::{Closing, EndReason};
pub use mail::{Cancellation, Event, EventHead, Invoke, Mail, Outcome, Return};
pub use meta::{Kill, MetaEvent, Roll, RollCall};

/// One shard of a router.
#[derive(Debug)]
pub struct Shard {
    id: ShardId,
    router: Arc<Router>,
    counters: Arc<Counters>,
    rng: StdRng,
    connections: Slab<Connection>,
    /// The local receivers of each subscription that has some.
    receivers: Map<SubscriptionId, Receivers>,
    outbound: Outbound,
    /// Mail to other shards, by destination, with its weight in bytes.
    outboxes: Vec<(Vec<Mail>, usize)>,
    /// What the publication at hand leaves for the store.
    records: Vec<Record>,
    /// What goes to the store, with its weight in bytes.
    deposits: (Vec<Deposit>, usize),
    /// Mail to sessions of this shard, handled when the current input is.
    local_mail: Vec<Mail>,
    /// Meta events for other home shards, sent behind everything else of the turn.
    homebound: Vec<(ShardId, MetaEvent)>,
    /// For each realm whose home this shard is, by the realm's number.
    event_orders: Map<usize, EventOrder>,
    /// Questions to other shards that wait for answers.
    roster: Roster,
    /// `WELCOME.Details.roles` by realm and serializer, encoded.
    welcome_roles: Map<(usize, Codec), Bytes>,
    timers: Timers,
    /// Slots whose sockets the event loop has to close.
    closed: Vec<u32>,
    /// Scratch space for what a transport answers.
    reply: Vec<u8>,
    generation: u32,
    log_budget: LogBudget,
    wall_clock: Timestamp,
    shutting_down: bool,
}

/// What a connection may do: chosen by the listener that accepted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Welcome,
    /// The router is full: the connection gets an answer that says so, then closes.
    Full,
}

impl Shard {
    /// `seed` is what all random ids of this shard come from.
    pub fn new(id: ShardId, router: Arc<Router>, seed: [u8; 32]) -> Self {
        let counters = Arc::clone(&router.counters()[usize::from(id.0)]);
        Self {
            id,
            rng: StdRng::from_seed(seed),
            connections: Slab::new(),
            receivers: router.seed().map(),
            outbound: Outbound::new(router.settings.output, Arc::clone(&counters)),
            outboxes: (0..router.shard_count()).map(|_| (Vec::new(), 0)).collect(),
            records: Vec::new(),
            deposits: (Vec::new(), 0),
            local_mail: Vec::new(),
            homebound: Vec::new(),
            event_orders: router.seed().map(),
            roster: Roster::default(),
            welcome_roles: router.seed().map(),
            timers: Timers::default(),
            closed: Vec::new(),
            reply: Vec::new(),
            generation: 0,
            log_budget: LogBudget::default(),
            wall_clock: Timestamp::default(),
            shutting_down: false,
            counters,
            router,
        }
    }

    pub const fn id(&self) -> ShardId {
        self.id
    }

    /// Tells the shard what clients and records call the present, from here to the next call.
    /// Intervals are measured by `Millis` alone.
    pub const fn set_wall_clock(&mut self, wall_clock: Timestamp) {
        self.wall_clock = wall_clock;
    }

    /// The present of this turn, for what clients and records are told.
    pub const fn wall_clock(&self) -> Timestamp {
        self.wall_clock
    }

    /// Takes in a new connection. `peer` is for logs only.
    pub fn open(
        &mut self,
        rules: &Arc<TransportRules>,
        peer: Box<str>,
        admission: Admission,
        now: Millis,
    ) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        let connection = Connection::new(Arc::clone(rules), peer, admission, self.generation, now);
        let slot = self.connections.insert(connection);
        let slot = u32::try_from(slot).expect("connections are limited to far fewer");
        self.counters.connections.increment();
        self.counters.connections_opened.increment();
        self.rearm(slot, now);
        slot
    }

    /// Mail for another shard, with its weight in bytes; `None` if there is none.
    pub fn take_outbox(&mut self, to: ShardId) -> Option<(Vec<Mail>, usize)> {
        let outbox = &mut self.outboxes[usize::from(to.0)];
        if outbox.0.is_empty() {
            return None;
        }
        Some(std::mem::take(outbox))
    }

    /// Handles one batch of mail from another shard.
    pub fn handle_mail(&mut self, batch: Vec<Mail>, now: Millis) {
        for mail in batch {
            self.handle_one_mail(mail, now);
        }
        self.settle(now);
    }

    /// Whether the turn has produced so much output that it should be written before more input
    /// is read: a healthy peer must get the chance to take what waits for it.
    pub fn is_turn_full(&self) -> bool {
        self.turn_bytes() >= TURN_ARENA_BYTES
    }

    /// Bytes of the frames that were encoded and not written by all; no connection's share of them
    /// is larger.
    pub const fn turn_bytes(&self) -> usize {
        self.outbound.arena.len()
    }

    /// How many frames so far joined others that waited for the same connection.
    pub const fn frames_joined(&self) -> u64 {
        self.outbound.joined
    }

    /// The shards that input of this connection went to since [`Self::clear_feeds`].
    pub fn feeds(&self, slot: u32) -> ShardSet {
        self.connections.get(slot as usize).map_or_else(ShardSet::default, |c| c.feeds)
    }

    pub fn clear_feeds(&mut self, slot: u32) {
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.feeds = ShardSet::default();
        }
    }

    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    fn settings(&self) -> &Settings {
        &self.router.settings
    }

    /// The connection in a slot, if it still is the one with that session.
    fn find(&self, target: SessionRef) -> Option<&Session> {
        debug_assert_eq!(target.shard, self.id);
        let session = self.connections.get(target.slot as usize)?.session()?;
        (session.id == target.session).then_some(session)
    }

    fn find_mut(&mut self, target: SessionRef) -> Option<&mut Session> {
        debug_assert_eq!(target.shard, self.id);
        let session = self.connections.get_mut(target.slot as usize)?.session_mut()?;
        (session.id == target.session).then_some(session)
    }

    /// Queues a message that is never dropped.
    fn send(&mut self, slot: u32, message: &RouterMessage<'_>) -> Result<(), SendError> {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return Ok(()) };
        let encoding = (connection.codec, connection.framing);
        let span = self.outbound.encode(encoding, connection.peer_limit_bytes, message)?;
        self.outbound.queue(slot, connection, span, crate::transport::Class::Reply);
        Ok(())
    }

    /// Sends mail to the shard of its receiver, which may be this one.
    fn post(&mut self, to: ShardId, mail: Mail) {
        if to == self.id {
            self.local_mail.push(mail);
            return;
        }
        let (outbox, weight) = &mut self.outboxes[usize::from(to.0)];
        *weight += mail.weight();
        outbox.push(mail);
    }

    fn handle_one_mail(&mut self, mail: Mail, now: Millis) {
        match mail {
            Mail::Event(event) => self.deliver(&event.head, event.payload.as_payload()),
            Mail::Invoke(invoke, payload) => {
                self.handle_invoke(*invoke, payload.as_payload(), now);
            }
            Mail::Cancel(cancellation) => self.handle_cancellation(cancellation),
            Mail::Return(answer, payload) => {
                self.handle_return(*answer, payload.as_payload(), now);
            }
            Mail::Meta(event) => self.handle_meta_event(*event),
            Mail::Kill(kill) => self.handle_kill(&kill, now),
            Mail::RollCall(call) => self.handle_roll_call(call),
            Mail::Roll(roll) => self.handle_roll(roll),
            Mail::Revoke { subscriber, subscription, reason } => {
                self.handle_revoke(subscriber, subscription, reason.as_deref());
            }
            Mail::RevokeRegistration { callee, registration, reason } => {
                self.handle_revoke_registration(callee, registration, reason.as_deref());
            }
            Mail::Stored { receipt, is_saved } => self.handle_stored(receipt, is_saved),
        }
    }

    /// Finishes what the current input has left over: local mail, then full queues.
    fn settle(&mut self, now: Millis) {
        while !self.local_mail.is_empty() || !self.outbound.overflowed.is_empty() {
            for mail in std::mem::take(&mut self.local_mail) {
                self.handle_one_mail(mail, now);
            }
            for slot in std::mem::take(&mut self.outbound.overflowed) {
                self.disconnect_slow(slot, now);
            }
        }
        for slot in std::mem::take(&mut self.outbound.dropping) {
            self.log_dropping(slot, now);
        }
        for (slot, error) in std::mem::take(&mut self.outbound.unfit) {
            self.log_unfit(slot, error, now);
        }
    }

    fn random(&mut self) -> u64 {
        self.rng.random()
    }

    /// Checks that the tables of the shard agree with each other. For debug builds and tests.
    pub fn check_invariants(&self) {
        let mut memberships = 0;
        for (slot, connection) in &self.connections {
            assert!(!connection.overflowed, "full queues are settled");
            let Some(session) = connection.session() else {
                assert!(connection.session_id.is_none());
                continue;
            };
            assert_eq!(connection.session_id, Some(session.id));
            memberships += session.subscriptions.len();
            for (subscription, membership) in &session.subscriptions {
                let receivers = &self.receivers[subscription];
                assert_eq!(receivers.slots[membership.position as usize] as usize, slot);
            }
        }
        let listed: usize = self.receivers.values().map(|receivers| receivers.slots.len()).sum();
        assert_eq!(memberships, listed, "each membership stands in one list");
        assert!(self.receivers.values().all(|receivers| !receivers.slots.is_empty()));
        assert!(self.local_mail.is_empty() && self.records.is_empty());
        let sessions = self.connections.iter().filter_map(|(_, c)| c.session());
        let calls = sessions.flat_map(|session| session.calls.values());
        let timed = calls.filter(|call| call.deadline().is_some()).count();
        assert_eq!(timed, self.timers.call_count(), "each timeout stands in the timers once");
        self.check_gauges(memberships);
    }

    /// Whether nothing is asked, and every meta event of the realms at home here is published: what
    /// must hold when no mail is under way.
    pub fn is_settled(&self) -> bool {
        let home = |realm: &&Arc<Realm>| realm.home(self.router.shard_count()) == self.id;
        let published = |realm: &Arc<Realm>| {
            let order = self.event_orders.get(&realm.number());
            order.map_or(Some(0), EventOrder::published) == Some(realm.feed.given())
        };
        self.roster.is_empty()
            && self.homebound.is_empty()
            && self.router.realms().filter(home).all(published)
    }

    fn check_gauges(&self, memberships: usize) {
        let sessions = || self.connections.iter().filter_map(|(_, c)| c.session());
        let waiting: usize = self.connections.iter().map(|(_, c)| c.output.waiting_bytes()).sum();
        let now = self.counters.snapshot();
        let expected = [
            (now.connections, self.connections.iter().filter(|(_, c)| !c.gone).count()),
            (now.sessions, sessions().count()),
            (now.subscriptions, memberships),
            (now.registrations, sessions().map(|s| s.registrations.len()).sum()),
            (now.calls, sessions().map(|s| s.calls.len()).sum()),
            (now.invocations, sessions().map(|s| s.invocations.len()).sum()),
            (now.output_bytes, waiting),
        ];
        for (gauge, (counted, found)) in expected.into_iter().enumerate() {
            assert_eq!(counted, found as u64, "gauge {gauge} agrees with what exists");
        }
    }
}

/// Output of one turn, in bytes, after which it is written before more input is read.
const TURN_ARENA_BYTES: usize = 1024 * 1024;
