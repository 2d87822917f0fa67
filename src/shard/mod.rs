//! One shard's world without its sockets: connections, sessions, routing, mail and timers.
//!
//! Pure: bytes, mail and the time come in as arguments; bytes, mail and the wish to close a
//! socket are taken out by the event loop. One thread owns it.

mod asking;
mod authorize;
mod broker;
mod connection;
mod dealer;
mod delivery;
mod describe;
mod flush;
mod hello;
mod history;
mod inbound;
mod input;
mod joining;
mod layer;
mod leaving;
mod lifecycle;
mod log_budget;
mod login;
mod mail;
mod mailbox;
mod meta;
mod outbound;
mod questions;
mod receivers;
mod retention;
mod timeouts;
mod timers;
mod turn;
mod unheard;
mod work;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use slab::Slab;

use crate::authentication::Check;
use crate::clock::Millis;
use crate::codec::Codec;
use crate::hash::Map;
use crate::router::{
    Counters, Deposit, Realm, Record, Router, SessionRef, Settings, ShardId, ShardSet,
};
use crate::session::Session;
use crate::transport::TransportRules;
use crate::wamp::{RouterMessage, SubscriptionId, Timestamp};

use connection::Connection;
use delivery::HeldDeliveries;
use history::Inquiry;
use joining::Joining;
use log_budget::LogBudget;
use mailbox::Mailbox;
use meta::{EventOrders, Roster, Survey};
use outbound::{Outbound, SendError};
use questions::Questions;
use receivers::Receivers;
use timers::{Owner, Timers};
use unheard::Unheard;
use work::Work;

pub use input::InputStatus;
pub use layer::LayerReport;
pub use lifecycle::{Closing, EndReason};
pub use mail::{Batch, Cancellation, Carried, Event, EventHead, Invoke, Mail, Outcome, Return};
pub use meta::{Kill, MetaEvent, Roll, RollCall};
pub use turn::{Tick, Turn, Wire};

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
    work: Work,
    /// Mail from other shards that waits for its turn.
    mailbox: Mailbox,
    /// Publications that wait to be delivered further.
    held: HeldDeliveries,
    /// Questions to histories that take longer than a step.
    inquiries: VecDeque<Inquiry>,
    /// Long answers of the meta API, of which the first is being made.
    surveys: VecDeque<Survey>,
    /// Slots of sessions that still give back what they held.
    leavers: VecDeque<u32>,
    /// Slots that are still to be told of the shutdown.
    to_dismiss: VecDeque<u32>,
    /// Slots whose input waited for something that has happened.
    woken: Vec<u32>,
    /// Mail to other shards, by destination.
    outboxes: Vec<Batch>,
    /// What the publication at hand leaves for the store.
    records: Vec<Record>,
    /// What goes to the store, with its weight in bytes.
    deposits: (Vec<Deposit>, usize),
    /// Answers of clients that are to be judged elsewhere, as they take long.
    checks: Vec<(SessionRef, Check)>,
    /// Mail to sessions of this shard, handled when the current input is.
    local_mail: Vec<Mail>,
    /// Meta events for other home shards, sent behind everything else of the turn.
    homebound: Vec<(ShardId, MetaEvent)>,
    /// Meta events that wait at this shard, the home of their realms.
    event_orders: EventOrders,
    /// Of whom meta events wait here.
    unheard: Unheard,
    /// Who has to wait before it joins.
    joining: Joining,
    /// Meta events that the current visit, or piece of leaving, has caused.
    announced: usize,
    /// Questions to other shards that wait for answers.
    roster: Roster,
    /// What the router has called itself.
    questions: Questions,
    /// `WELCOME.Details.roles` by realm and serializer, encoded.
    welcome_roles: Map<(usize, Codec), Bytes>,
    timers: Timers,
    /// Slots whose sockets the event loop has to close.
    closed: Vec<u32>,
    /// What the transport of the connection at hand answers of its own, and is not queued yet.
    control: Vec<u8>,
    /// Scratch space for frames of the transport.
    reply: Vec<u8>,
    generation: u32,
    log_budget: LogBudget,
    denial_budget: LogBudget,
    wall_clock: Timestamp,
    /// When the turn began.
    turn_began: Millis,
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
            outbound: Outbound::new(
                router.settings.output,
                router.settings.turn.arena_bytes,
                Arc::clone(&counters),
            ),
            work: Work::new(router.settings.turn),
            mailbox: Mailbox::default(),
            held: HeldDeliveries::new(router.seed().map()),
            inquiries: VecDeque::new(),
            surveys: VecDeque::new(),
            leavers: VecDeque::new(),
            to_dismiss: VecDeque::new(),
            woken: Vec::new(),
            outboxes: (0..router.shard_count()).map(|_| Batch::default()).collect(),
            records: Vec::new(),
            deposits: (Vec::new(), 0),
            checks: Vec::new(),
            local_mail: Vec::new(),
            homebound: Vec::new(),
            event_orders: EventOrders::new(router.seed()),
            unheard: Unheard::new(router.seed().map()),
            joining: Joining::default(),
            announced: 0,
            roster: Roster::default(),
            questions: Questions::new(router.seed().map()),
            welcome_roles: router.seed().map(),
            timers: Timers::default(),
            closed: Vec::new(),
            control: Vec::new(),
            reply: Vec::new(),
            generation: 0,
            log_budget: LogBudget::of("more peers were refused than are logged"),
            denial_budget: LogBudget::of("more requests were denied than are logged"),
            wall_clock: Timestamp::default(),
            turn_began: Millis::default(),
            shutting_down: false,
            counters,
            router,
        }
    }

    pub const fn id(&self) -> ShardId {
        self.id
    }

    /// Begins a turn; `wall_clock` is what clients and records call the present in it. Intervals
    /// are measured by `Millis` alone.
    pub(super) fn begin_turn(&mut self, wall_clock: Timestamp, now: Millis) {
        (self.wall_clock, self.turn_began) = (wall_clock, now);
        self.look_at_held();
        self.work.begin_turn();
        self.outbound.begin_turn();
    }

    /// Bytes that were written in this turn.
    pub(super) const fn written_bytes(&self) -> usize {
        self.outbound.written
    }

    /// Whether as much was read as leaves the rest of the turn to mail and jobs.
    pub(super) const fn is_reading_over(&self) -> bool {
        self.work.is_reading_over() || self.outbound.is_full()
    }

    fn others(&self) -> impl Iterator<Item = ShardId> + use<> {
        let own = self.id;
        (0u8..).take(self.outboxes.len()).map(ShardId).filter(move |shard| *shard != own)
    }

    /// The present of this turn, for what clients and records are told.
    pub const fn wall_clock(&self) -> Timestamp {
        self.wall_clock
    }

    /// Takes in a new connection. `peer` is for logs only.
    pub(super) fn open(
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

    /// Mail for another shard; `None` if there is none.
    pub(super) fn take_outbox(&mut self, to: ShardId) -> Option<Batch> {
        let outbox = &mut self.outboxes[usize::from(to.0)];
        (!outbox.is_empty()).then(|| std::mem::take(outbox))
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

    /// The shards that input of this connection went to since it was last found free to go on.
    pub fn feeds(&self, slot: u32) -> ShardSet {
        self.connections.get(slot as usize).map_or_else(ShardSet::default, |c| c.feeds)
    }

    pub(super) fn clear_feeds(&mut self, slot: u32) {
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.feeds = ShardSet::default();
        }
    }

    /// The most units of work that one step has taken so far; see [`crate::limits::TurnLimits`].
    pub const fn longest_step(&self) -> u64 {
        self.work.longest_step()
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
        self.work.charge_bytes(span.len());
        self.outbound.queue(slot, connection, span, crate::transport::Class::Reply);
        Ok(())
    }

    /// Queues a message that another client has caused, unless it is more than a peer can have wait
    /// that does not take what waits already: `false` then, and nobody has to go.
    fn send_if_it_fits(
        &mut self,
        slot: u32,
        message: &RouterMessage<'_>,
    ) -> Result<bool, SendError> {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return Ok(true) };
        let Some(span) = self.outbound.encode_fitting(connection, message)? else {
            return Ok(false);
        };
        Ok(self.outbound.queue(slot, connection, span, crate::transport::Class::Reply))
    }

    /// Whether a message with so many bytes of payload is more than a peer can have wait that does
    /// not take what waits already.
    fn is_choked(&self, slot: u32, bytes: usize) -> bool {
        let connection = self.connections.get(slot as usize);
        connection.is_some_and(|connection| self.outbound.is_choked(connection, bytes))
    }

    /// Sends mail to the shard of its receiver, which may be this one.
    fn post(&mut self, to: ShardId, mail: Mail) {
        if to == self.id {
            self.local_mail.push(mail);
            return;
        }
        self.outboxes[usize::from(to.0)].push(mail);
    }

    /// Finishes what the current input has left over: local mail, then full queues.
    #[inline]
    fn settle(&mut self, now: Millis) {
        if !self.local_mail.is_empty() || self.outbound.has_troubles() {
            self.settle_all(now);
        }
    }

    #[inline(never)]
    fn settle_all(&mut self, now: Millis) {
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

    fn random_bytes(&mut self) -> [u8; 32] {
        self.rng.random()
    }

    fn random(&mut self) -> u64 {
        self.rng.random()
    }

    /// Checks that the tables of the shard agree with each other. For debug builds and tests.
    pub fn check_invariants(&self) {
        let mut memberships = 0;
        for (slot, connection) in &self.connections {
            assert!(!connection.overflowed, "full queues are settled");
            assert_eq!(connection.session_id, connection.session().map(|session| session.id));
            let Some(holder) = connection.holder() else { continue };
            memberships += holder.subscriptions.len();
            for (subscription, membership) in &holder.subscriptions {
                let receivers = &self.receivers[subscription];
                assert_eq!(receivers.slots()[membership.position as usize] as usize, slot);
            }
        }
        let listed: usize = self.receivers.values().map(Receivers::len).sum();
        assert_eq!(memberships, listed, "each membership stands in one list");
        assert!(self.receivers.values().all(|receivers| !receivers.is_empty()));
        assert!(self.local_mail.is_empty() && self.records.is_empty());
        let sessions = self.connections.iter().filter_map(|(_, c)| c.session());
        let calls = sessions.flat_map(|session| session.calls.values());
        let leaving = self.connections.iter().filter_map(|(_, c)| c.leaving.as_ref());
        let timed = calls.filter(|call| call.deadline().is_some()).count()
            + leaving.map(|leaving| leaving.timed_calls()).sum::<usize>()
            + self.questions.len();
        assert_eq!(timed, self.timers.call_count(), "each timeout stands in the timers once");
        self.check_gauges(memberships);
        self.check_held();
        self.check_inquiries();
        self.check_surveys();
        self.check_questions();
    }

    /// Whether nothing is asked, and every meta event of the realms at home here is published: what
    /// must hold when no mail is under way.
    pub fn is_settled(&self) -> bool {
        let home = |realm: &&Arc<Realm>| realm.home(self.router.shard_count()) == self.id;
        let published = |realm: &Arc<Realm>| {
            self.event_orders.published(realm.number()) == Some(realm.feed.given())
        };
        self.roster.is_empty()
            && self.homebound.is_empty()
            && self.unheard.is_empty()
            && !self.has_jobs()
            && self.router.realms().filter(home).all(published)
    }

    fn check_gauges(&self, memberships: usize) {
        let sessions = || self.connections.iter().filter_map(|(_, c)| c.session());
        let sum = |of: fn(&Connection) -> usize| -> usize {
            self.connections.iter().map(|(_, connection)| of(connection)).sum()
        };
        let left = self.connections.iter().filter_map(|(_, c)| c.leaving.as_ref());
        let left = left.fold([0; 4], |mut sums, leaving| {
            sums.iter_mut().zip(leaving.gauges()).for_each(|(sum, more)| *sum += more);
            sums
        });
        let now = self.counters.snapshot();
        let registrations: usize = sessions().map(|s| s.registrations.len()).sum();
        let calls: usize = sessions().map(|s| s.calls.len()).sum();
        let invocations: usize = sessions().map(|s| s.invocations.len()).sum();
        let expected = [
            (now.connections, sum(|connection| usize::from(!connection.is_gone()))),
            (now.sessions, sessions().count()),
            (now.subscriptions, memberships),
            (now.registrations, registrations + left[1]),
            (now.calls, calls + left[2]),
            (now.invocations, invocations + left[3]),
            (now.output_bytes, sum(|connection| connection.output.waiting_bytes())),
            (now.refused_bytes, sum(|connection| connection.output.backlog_bytes())),
            (now.input_bytes, sum(Connection::input_bytes)),
        ];
        let refused = || self.connections.iter().map(|(_, c)| (c.refused(), c.refused));
        assert!(refused().all(|(found, counted)| found == counted), "backlogs are counted");
        let slow = refused().filter(|(found, _)| found.rank > 0).count();
        assert_eq!(slow, self.outbound.slow_count(), "each slow connection is ranked once");
        for (gauge, (counted, found)) in expected.into_iter().enumerate() {
            assert_eq!(counted, found as u64, "gauge {gauge} agrees with what exists");
        }
    }
}
