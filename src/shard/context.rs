//! What a handler has at hand beside the connections and the sessions on them: the shared tables,
//! the way out, the mail, the timers, and what has been done so far.
//!
//! It knows no connection but those that it is given, so whoever holds a session can use it.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::census::Census;
use super::connection::Connection;
use super::deposits::Deposits;
use super::log_budget::LogBudget;
use super::outbound::{Outbound, SendError};
use super::post::Post;
use super::timers::Timers;
use super::trace::{Sent, Traces};
use super::work::Work;
use crate::clock::Millis;
use crate::limits::Limits;
use crate::rate::Bucket;
use crate::router::{
    Counters, Edition, HeldCount, Measures, Realm, Router, SessionRef, Settings, ShardId, Slot,
};
use crate::transport::{Class, Inflater};
use crate::wamp::{RouterMessage, SessionId, Timestamp};

#[derive(Debug)]
pub(super) struct Context {
    pub(super) id: ShardId,
    pub(super) router: Arc<Router>,
    /// The settings and realms of this shard.
    pub(super) edition: Arc<Edition>,
    pub(super) counters: Arc<Counters>,
    pub(super) measures: Arc<Measures>,
    pub(super) rng: StdRng,
    pub(super) work: Work,
    pub(super) outbound: Outbound,
    /// Of messages that come compressed.
    pub(super) inflater: Inflater,
    pub(super) post: Post,
    pub(super) deposits: Deposits,
    pub(super) timers: Timers,
    /// The present of this turn, for what clients and records are told.
    pub(super) wall_clock: Timestamp,
    /// When this turn began, for what holds until some time.
    pub(super) now: Millis,
    /// Of lines about peers, and about requests that were denied.
    pub(super) log_budget: LogBudget,
    pub(super) denial_budget: LogBudget,
    /// How many of those are answered who are refused because of their address.
    pub(super) politeness: Bucket,
    /// What is busiest.
    pub(super) census: Census,
    /// What operators look at.
    pub(super) traces: Traces,
    /// Publications of up to so many bytes may be held without a look at the total.
    free_bytes: usize,
}

impl Context {
    /// `seed` is what all random ids of the shard come from.
    pub(super) fn new(id: ShardId, router: Arc<Router>, seed: [u8; 32]) -> Self {
        let counters = Arc::clone(&router.counters()[usize::from(id.0)]);
        let measures = Arc::clone(&router.measures()[usize::from(id.0)]);
        let edition = router.edition();
        let Settings { output, turn, is_observed, groups, .. } = &edition.settings;
        Self {
            id,
            rng: StdRng::from_seed(seed),
            work: Work::new(*turn),
            outbound: Outbound::new(
                *output,
                turn.arena_bytes,
                (Arc::clone(&counters), Arc::clone(&measures)),
            ),
            inflater: Inflater::default(),
            post: Post::new(id, router.shard_count()),
            deposits: Deposits::default(),
            timers: Timers::default(),
            wall_clock: Timestamp::default(),
            now: Millis::default(),
            log_budget: LogBudget::of("more peers were refused than are logged"),
            denial_budget: LogBudget::of("more requests were denied than are logged"),
            politeness: Bucket::default(),
            census: Census::new(*is_observed, !groups.is_empty(), &router.seed()),
            traces: Traces::default(),
            free_bytes: FREE_BYTES,
            counters,
            measures,
            router,
            edition,
        }
    }

    pub(super) fn begin_turn(&mut self, wall_clock: Timestamp, now: Millis) {
        (self.wall_clock, self.now) = (wall_clock, now);
        self.look_at_held();
        if self.census.is_due(now) {
            let Self { census, rng, .. } = self;
            census.adapt(now, &mut || rng.random());
        }
        if self.traces.are_on() {
            self.traces.expire(now);
        }
        self.work.begin_turn();
        self.outbound.begin_turn(now);
    }

    /// Charges and counts what was inflated.
    #[cold]
    pub(super) fn note_inflated(&mut self) {
        let tally = self.inflater.take_tally();
        self.work.charge_bytes(INFLATE_COST * tally.worked_bytes);
        self.counters.inflated_messages.add(tally.messages);
        self.counters.inflated_plain_bytes.add(tally.plain_bytes);
        self.counters.inflated_bytes.add(tally.compressed_bytes);
    }

    /// Names the session of this id in a slot of this shard.
    pub(super) const fn reference(&self, slot: Slot, session: SessionId) -> SessionRef {
        SessionRef { session, slot, shard: self.id }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.edition.settings
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.edition.settings.limits
    }

    pub(super) fn random_bytes(&mut self) -> [u8; 32] {
        self.rng.random()
    }

    pub(super) fn random(&mut self) -> u64 {
        self.rng.random()
    }

    /// An id that a new session may have, if it is free.
    pub(super) fn draw_session_id(&mut self) -> SessionId {
        let random = self.random();
        self.router.ids().session(random)
    }

    /// Queues a message that is never dropped.
    pub(super) fn send(
        &mut self,
        slot: Slot,
        connection: &mut Connection,
        message: &RouterMessage<'_>,
    ) -> Result<(), SendError> {
        let encoding = (connection.codec, connection.framing);
        let span = self.outbound.encode(encoding, connection.peer_limit_bytes, message)?;
        self.work.charge_bytes(span.len());
        let is_queued = self.outbound.queue(slot, connection, span, Class::Reply);
        if self.traces.are_on() {
            let sent = Sent { frame_bytes: span.len(), is_queued };
            self.trace_sent(slot, connection, message, None, sent);
        }
        Ok(())
    }

    /// Queues a message that another client has caused, unless it is more than a peer can have wait
    /// that does not take what waits already: `false` then, and nobody has to go.
    pub(super) fn send_if_it_fits(
        &mut self,
        slot: Slot,
        connection: &mut Connection,
        message: &RouterMessage<'_>,
    ) -> Result<bool, SendError> {
        let Some(span) = self.outbound.encode_fitting(connection, message)? else {
            return Ok(false);
        };
        let is_queued = self.outbound.queue(slot, connection, span, Class::Reply);
        if self.traces.are_on() {
            let sent = Sent { frame_bytes: span.len(), is_queued };
            self.trace_sent(slot, connection, message, None, sent);
        }
        Ok(is_queued)
    }

    /// The count of what this shard has accepted and is not delivered everywhere.
    #[inline]
    pub(super) fn held(&self) -> &Arc<HeldCount> {
        self.router.held(self.id)
    }

    /// Whether the router has room to hold one more publication of so many bytes. Who has to wait
    /// is whose publications are large: each may take a part of what is left only.
    #[inline]
    pub(super) fn may_hold(&self, bytes: usize) -> bool {
        bytes <= self.free_bytes || bytes <= self.room_to_hold()
    }

    #[cold]
    fn room_to_hold(&self) -> usize {
        self.router.room_to_hold(self.limits())
    }

    /// Whether so many bytes more may be kept for the sessions of a realm: of calls that may be
    /// routed again, and of testaments.
    pub(super) fn may_keep(&self, realm: &Realm, bytes: usize) -> bool {
        let limits = self.limits();
        let all = || self.edition.realms().map(|realm| realm.kept_bytes()).sum::<usize>();
        realm.kept_bytes() + bytes <= limits.kept_bytes_per_realm
            && all() + bytes <= limits.kept_total_bytes
    }

    /// Looks how much is held, so that small publications need not.
    #[inline]
    fn look_at_held(&mut self) {
        let held = self.held().get();
        self.free_bytes = if held == 0 { FREE_BYTES } else { self.free_beside(held) };
    }

    #[cold]
    fn free_beside(&self, held: usize) -> usize {
        let share = self.limits().held_total_bytes / self.router.shard_count();
        if held <= share / FREE_PART { FREE_BYTES } else { FREE_BYTES.min(self.room_to_hold()) }
    }
}

/// Bytes of a publication below which it is not compared with what is left of the total.
const FREE_BYTES: usize = 4 * 1024;

/// To inflate a byte takes the time of so many that are decoded.
const INFLATE_COST: usize = 2;

/// A shard that has accepted less than this part of its share of the total need not look at it.
const FREE_PART: usize = 64;
