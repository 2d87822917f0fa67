//! Several shards in one thread, the mail between them, and the sockets of their clients.
//!
//! Drives the same turns as the event loop does, over pipes in memory. Decides nothing by itself:
//! who calls it chooses what happens next. Time only moves when told.

use std::sync::Arc;

use stentor::address::Address;
use stentor::clock::Millis;
use stentor::hash::HashSeed;
use stentor::router::{Batch, Busyness, Edition, RealmSettings, Router, Settings, ShardId};
use stentor::shard::{Admission, ClaimOutcome, Mail, Shard, Tick, TraceHaul, TraceRequest, Turn};
use stentor::transport::TransportRules;
use stentor::wamp::Timestamp;

use super::judgement::Bench;
use super::links::{Links, Pipe};

pub(crate) struct Network {
    pub(crate) router: Arc<Router>,
    turns: Vec<Turn>,
    pub(crate) now: Millis,
    pub(crate) links: Links,
    /// The polls tell of every socket that is ready.
    pub(crate) sees_all: bool,
    pub(crate) rules: Arc<TransportRules>,
    /// Where the next client comes from.
    pub(crate) peer: Option<Address>,
    /// How many traces have begun.
    pub(crate) last_trace: u64,
}

impl Network {
    pub(crate) fn new(settings: Settings, realms: Vec<RealmSettings>, shards: usize) -> Self {
        Self::with_life(settings, realms, shards, 0)
    }

    /// A router whose random ids are those of its `life`.
    pub(crate) fn with_life(
        settings: Settings,
        realms: Vec<RealmSettings>,
        shards: usize,
        life: u8,
    ) -> Self {
        let rules = TransportRules {
            message_bytes: settings.limits.message_bytes,
            http_head_bytes: settings.limits.http_head_bytes,
            deflate: true,
            ..TransportRules::default()
        };
        let router = Arc::new(Router::new(settings, realms, shards, HashSeed::new(7)));
        let turn = |index: usize| {
            let id = u8::try_from(index).expect("few shards");
            let mut seed = [id; 32];
            seed[31] ^= life;
            Turn::new(Shard::new(ShardId(id), Arc::clone(&router), seed))
        };
        Self {
            turns: (0..shards).map(turn).collect(),
            router,
            now: Millis(1_000),
            links: Links::new(shards),
            sees_all: true,
            rules: Arc::new(rules),
            peer: None,
            last_trace: 0,
        }
    }

    /// The store does nothing unless told to.
    pub(crate) fn with_held_store(mut self) -> Self {
        self.links.store.is_held = true;
        self
    }

    /// Publishers are not read while so many bytes wait at a shard or at the store.
    pub(crate) fn with_high_mark(mut self, bytes: usize) -> Self {
        self.links.high_mark_bytes = bytes;
        self
    }

    /// What all shards have of a trace since they were last asked.
    pub(crate) fn fetch_trace(&mut self, request: &Arc<TraceRequest>, left_ms: u64) -> TraceHaul {
        let mut all = TraceHaul::default();
        for turn in &mut self.turns {
            let haul = turn.fetch_trace(request, left_ms, self.now);
            all.records.extend(haul.records);
            all.delivered.extend(haul.delivered);
            all.left_out += haul.left_out;
            all.lost += haul.lost;
        }
        all
    }

    /// All shards forget a trace.
    pub(crate) fn end_trace(&mut self, number: u64) {
        self.turns.iter_mut().for_each(|turn| turn.end_trace(number));
    }

    /// The router gets other settings and realms, and every shard is told of them.
    pub(crate) fn reload(&mut self, settings: Settings, realms: Vec<RealmSettings>) {
        let edition = self.router.reload(settings, realms);
        for shard in 0..self.turns.len() {
            self.adopt(shard, &edition);
        }
    }

    /// A shard is told of a reload.
    pub(crate) fn adopt(&mut self, shard: usize, edition: &Arc<Edition>) {
        self.turns[shard].reload(Arc::clone(edition), self.now);
    }

    pub(crate) fn shard(&self, shard: usize) -> &Shard {
        self.turns[shard].shard()
    }

    pub(crate) fn shard_count(&self) -> usize {
        self.turns.len()
    }

    /// The oldest byte that a client's socket has refused has waited for so long, as operators see
    /// it; 0 if there is none.
    pub(crate) fn check_behind(&self, pipe: usize, expected_ms: &str, line: &str) {
        let Pipe { shard, slot, .. } = self.links.pipes[pipe];
        let (sessions, _) = self.shard(shard).look(slot, 1, self.now);
        let session = sessions.first().expect("it has a session");
        assert_eq!(session.oldest_ms.to_string(), expected_ms, "{line}");
    }

    /// A new socket on a shard; the number names it from now on.
    pub(crate) fn connect(&mut self, shard: usize, admission: Admission, capacity: usize) -> usize {
        let pipe = self.links.pipes.len();
        let peer = self.peer.take().unwrap_or(Address::UNIX);
        self.links.shard = shard;
        let (rules, now) = (&self.rules, self.now);
        let slot = self.turns[shard].open(rules, peer, admission, now);
        self.links.add(Pipe::new(shard, slot, capacity, now));
        pipe
    }

    /// Bytes of a client arrive at its shard.
    pub(crate) fn receive(&mut self, pipe: usize, bytes: &[u8]) {
        self.push(pipe, bytes);
        self.take_in(self.links.pipes[pipe].shard);
    }

    /// Bytes of a client lie at its shard's socket, and nobody has looked there yet.
    pub(crate) fn push(&mut self, pipe: usize, bytes: &[u8]) {
        let end = &mut self.links.pipes[pipe];
        if !end.closed {
            end.inbound.extend_from_slice(bytes);
            end.heard_at = self.now;
            self.turns[end.shard].note_readable(end.slot, false);
        }
    }

    /// The client's socket is gone. What it had sent can still be read, and what is written to it
    /// is refused no more.
    pub(crate) fn lose(&mut self, pipe: usize) {
        let end = &mut self.links.pipes[pipe];
        end.lost = true;
        if !end.closed {
            let shard = end.shard;
            self.turns[shard].note_readable(end.slot, true);
            if std::mem::replace(&mut end.blocked, false) {
                self.turns[shard].note_writable(end.slot);
            }
            self.take_in(shard);
        }
    }

    /// The client's socket fails at the next read or write. The router is told so, or meets it.
    pub(crate) fn break_off(&mut self, pipe: usize, is_told: bool) {
        self.links.pipes[pipe].broken = true;
        if is_told {
            self.lose(pipe);
        }
    }

    /// The router is told of all sockets that have failed.
    pub(crate) fn tell_of_failures(&mut self) {
        for pipe in 0..self.links.pipes.len() {
            if self.links.pipes[pipe].broken {
                self.lose(pipe);
            }
        }
    }

    /// The client takes up to `limit` bytes; a socket that was full becomes writable.
    pub(crate) fn read(&mut self, pipe: usize, limit: usize) -> Vec<u8> {
        let end = &mut self.links.pipes[pipe];
        let taken: Vec<u8> = end.unread.drain(..limit.min(end.unread.len())).collect();
        if !taken.is_empty() {
            self.wake(pipe);
        }
        taken
    }

    /// The socket has room again.
    pub(crate) fn wake(&mut self, pipe: usize) {
        let end = &mut self.links.pipes[pipe];
        if std::mem::replace(&mut end.blocked, false) && !end.closed {
            let shard = end.shard;
            self.turns[shard].note_writable(end.slot);
            self.take_in(shard);
        }
    }

    /// The socket has room again, and nobody has looked there yet.
    pub(crate) fn note_writable(&mut self, pipe: usize) {
        let end = &mut self.links.pipes[pipe];
        end.blocked = false;
        self.turns[end.shard].note_writable(end.slot);
    }

    /// The first half of a turn of a shard; the mail that it makes is under way then.
    pub(crate) fn take_in(&mut self, shard: usize) {
        self.links.shard = shard;
        if std::mem::take(&mut self.links.resumed[shard]) {
            self.turns[shard].resume();
        }
        let wall_clock = self.wall_clock();
        let tick = Tick { now: self.now, wall_clock, saw_all: self.sees_all };
        let bench = Bench::convene(self, shard);
        self.turns[shard].take_in(&mut self.links, tick);
        bench.judge(self);
    }

    pub(crate) fn wall_clock(&self) -> Timestamp {
        let now_ms = i64::try_from(self.now.0).expect("runs are short");
        Timestamp::from_unix_ms(EPOCH_MS + now_ms)
    }

    /// The second half.
    pub(crate) fn give_out(&mut self, shard: usize, may_write: bool) {
        self.links.shard = shard;
        let bench = Bench::convene(self, shard);
        self.turns[shard].give_out(&mut self.links, may_write, self.now);
        bench.judge(self);
    }

    /// A whole turn.
    pub(crate) fn turn(&mut self, shard: usize) {
        self.take_in(shard);
        self.give_out(shard, true);
    }

    /// The store saves, or fails to save, the deposits of the front of its queue, and says so.
    pub(crate) fn serve_store(&mut self, count: usize, is_saved: bool) -> usize {
        let receipts = self.links.serve_store(count);
        for receipt in &receipts {
            let shard = usize::from(receipt.publisher.shard.0);
            self.deliver(shard, Mail::Stored { receipt: *receipt, is_saved });
        }
        receipts.len()
    }

    /// Those who judge tickets deal with the front of their queue.
    pub(crate) fn serve_verifier(&mut self, count: usize) -> usize {
        let verifier = &mut self.links.verifier;
        let served: Vec<_> = verifier.queue.drain(..count.min(verifier.queue.len())).collect();
        for (waiter, errand) in &served {
            let now = self.wall_clock();
            let mail = self.links.verifier.judge(waiter.session, errand, now);
            self.deliver(usize::from(waiter.session.shard.0), mail);
        }
        served.len()
    }

    /// Every other node confirms what stands at this place of what they were asked.
    pub(crate) fn confirm(&mut self, place: usize) {
        let asked = self.links.gateway.asked.remove(place);
        let (session, ticket) = asked.expect("they were asked something");
        self.deliver(usize::from(session.shard.0), Mail::Visible { session, ticket });
    }

    /// The cluster decides about what stands at this place of what was claimed.
    pub(crate) fn decide(&mut self, place: usize) -> ClaimOutcome {
        let outcome = self.links.gateway.answer(place, None);
        while self.hear_of_claim() {}
        outcome
    }

    /// It refuses that, or nobody answers in time.
    pub(crate) fn turn_down(&mut self, place: usize, outcome: ClaimOutcome) {
        self.links.gateway.answer(place, Some(outcome));
        while self.hear_of_claim() {}
    }

    /// No node routes any more to what stands at this place of what was given back.
    pub(crate) fn let_go(&mut self, place: usize) {
        self.links.gateway.let_go(place);
        while self.hear_of_claim() {}
    }

    /// What was said of a claim arrives; `false` if nothing was.
    pub(crate) fn hear_of_claim(&mut self) -> bool {
        let Some(mail) = self.links.gateway.under_way.pop_front() else { return false };
        let (Mail::Claimed { callee, .. } | Mail::Released { callee, .. }) = &mail else {
            panic!("nothing about a claim: {mail:?}")
        };
        self.deliver(usize::from(callee.shard.0), mail);
        true
    }

    /// Mail that comes as that of other shards does, and is counted so.
    pub(crate) fn deliver_counted(&mut self, shard: usize, mail: Mail) {
        let mut batch = Batch::default();
        batch.push(mail);
        self.links.note_queued(shard, batch.weight);
        self.turns[shard].accept(batch);
        self.take_in(shard);
    }

    /// Mail that arrives together, and is dealt with in the next turn.
    pub(crate) fn post_together(&mut self, shard: usize, batch: Batch<Mail>) {
        self.links.note_queued(shard, batch.weight);
        self.turns[shard].accept(batch);
    }

    /// Mail from outside of all shards.
    pub(crate) fn deliver(&mut self, shard: usize, mail: Mail) {
        self.turns[shard].accept(Batch { items: vec![mail], weight: 0 });
        self.take_in(shard);
    }

    /// Pairs of shards with mail under way.
    pub(crate) fn mail_routes(&self) -> Vec<(usize, usize)> {
        self.links.mail_routes()
    }

    /// The first batch of a route arrives; returns its length.
    pub(crate) fn deliver_mail(&mut self, route: (usize, usize)) -> usize {
        let batch = self.links.take_mail(route);
        let length = batch.items.len();
        self.turns[route.1].accept(batch);
        self.take_in(route.1);
        length
    }

    /// Moves the clock; shards whose deadline has come take a turn. Returns how many did.
    pub(crate) fn advance(&mut self, ms: u64) -> usize {
        self.now = self.now + ms;
        self.links.note_unread(self.now);
        let due = |turn: &Turn| turn.next_deadline().is_some_and(|at| at <= self.now);
        let fired: Vec<usize> = (0..self.turns.len()).filter(|i| due(&self.turns[*i])).collect();
        for shard in &fired {
            self.take_in(*shard);
        }
        fired.len()
    }

    /// Whether a shard has something to do although nothing happens.
    pub(crate) fn is_busy(&self, shard: usize) -> bool {
        let turn = &self.turns[shard];
        let is_due = turn.shard().next_deadline().is_some_and(|at| at <= self.now);
        turn.is_busy() || turn.shard().has_dirty() || self.links.resumed[shard] || is_due
    }

    /// Runs everything that is under way to its end, without moving the clock.
    pub(crate) fn settle(&mut self) {
        for _ in 0..MANY_TURNS {
            if !self.links.store.is_held {
                self.serve_store(usize::MAX, true);
            }
            if !self.links.verifier.is_held {
                self.serve_verifier(usize::MAX);
            }
            while !self.links.gateway.is_held && !self.links.gateway.asked.is_empty() {
                self.confirm(0);
            }
            while !self.links.gateway.is_held && self.links.gateway.has_claims() {
                let gateway = &mut self.links.gateway;
                if !gateway.released.is_empty() {
                    gateway.let_go(0);
                } else if !gateway.claims.is_empty() {
                    gateway.answer(0, None);
                }
                self.hear_of_claim();
            }
            while !self.links.gateway.is_silent && !self.links.gateway.asks.is_empty() {
                self.answer_for_nobody();
            }
            for shard in 0..self.turns.len() {
                self.turn(shard);
            }
            for route in self.mail_routes() {
                self.deliver_mail(route);
            }
            self.check_invariants();
            let store = &self.links.store;
            let gateway = &self.links.gateway;
            let is_confirmed = (gateway.is_held
                || gateway.asked.is_empty() && !gateway.has_claims())
                && (gateway.is_silent || gateway.asks.is_empty());
            let is_busy = (0..self.turns.len()).any(|shard| self.is_busy(shard));
            let is_busy = is_busy || !is_confirmed;
            let is_stored = store.is_held || store.queue.is_empty();
            let verifier = &self.links.verifier;
            let is_judged = verifier.is_held || verifier.queue.is_empty();
            if !is_busy && is_stored && is_judged && self.mail_routes().is_empty() {
                // No mail is under way, so each pending call has its invocation and no other.
                let now = self.router.snapshot();
                let made = now.calls + now.questions;
                let has_halves = made == now.invocations || gateway.has_calls;
                assert!(has_halves, "{made} calls, and {} invocations", now.invocations);
                let settled = |turn: &Turn| turn.shard().is_settled();
                assert!(self.turns.iter().all(settled), "no question or meta event waits");
                return;
            }
        }
        panic!("the router never comes to rest");
    }

    /// All shards are told until when clients may be served.
    pub(crate) fn serve_until(&mut self, until: Millis) {
        self.turns.iter_mut().for_each(|turn| turn.serve_until(until, self.now));
    }

    pub(crate) fn begin_drain(&mut self, within_ms: u64) {
        for turn in &mut self.turns {
            turn.begin_drain(within_ms, self.now);
        }
    }

    /// Whether no shard has a session left, in a drain.
    pub(crate) fn is_drained(&self) -> bool {
        self.turns.iter().all(Turn::is_drained)
    }

    /// Told behind all mail that is under way, as shards have one line for both.
    pub(crate) fn begin_shutdown(&mut self) {
        for route in self.mail_routes() {
            while self.mail_routes().contains(&route) {
                let batch = self.links.take_mail(route);
                self.turns[route.1].accept(batch);
            }
        }
        for turn in &mut self.turns {
            turn.begin_shutdown(self.now);
        }
    }

    /// Whether every shard has ended its shutdown.
    pub(crate) fn is_over(&self) -> bool {
        self.turns.iter().all(|turn| turn.is_over(self.now))
    }

    pub(crate) fn check_invariants(&self) {
        for turn in &self.turns {
            turn.shard().check_invariants();
        }
        for realm in self.router.realms() {
            realm.histories.iter().for_each(|history| history.check_invariants());
        }
    }

    /// What a group of all URIs has counted is everything.
    fn check_groups(&self) {
        let now = self.router.snapshot();
        for (what, total) in [
            (Busyness::Publications, now.publications),
            (Busyness::Events, now.events_delivered),
            (Busyness::Calls, now.calls_routed),
        ] {
            for (group, count) in self.router.group_counts(what) {
                assert!(count == total || group != "everything", "{count} of {total} {what:?}");
            }
        }
    }

    /// What must hold when every client has gone: nothing is left anywhere.
    pub(crate) fn check_empty(&mut self) {
        assert!(self.mail_routes().is_empty(), "no mail is under way");
        self.links.store.check(&self.router);
        assert!(self.router.is_idle(), "the tables of the router are empty");
        for (name, value) in self.router.snapshot().gauges() {
            assert_eq!(value, 0, "the gauge {name} after everybody left");
        }
        self.check_groups();
        self.links.check_empty();
        self.links.gateway.check_empty();
        self.now = self.now + 3_600_000;
        for shard in 0..self.turns.len() {
            assert_eq!(self.shard(shard).connection_count(), 0, "no connection is left");
            assert_eq!(self.shard(shard).corks().now, 0, "no cork is left");
            assert_eq!(self.shard(shard).claims().now, 0, "no claim is left");
            assert_eq!(self.shard(shard).poll_count(), 0, "no question is left");
            assert_eq!(self.shard(shard).known_elsewhere(), 0, "nobody listens for it");
            let turn = &self.turns[shard];
            assert!(!turn.is_busy() && !turn.shard().has_dirty(), "nothing waits");
            while self.shard(shard).next_deadline().is_some_and(|at| at <= self.now) {
                self.turn(shard);
            }
            assert_eq!(self.shard(shard).next_deadline(), None, "no timer is left");
        }
    }
}

/// 2024-05-01T12:00:00Z: what a network's `Millis(0)` is on the calendar.
const EPOCH_MS: i64 = 1_714_564_800_000;

/// More turns than anything takes that comes to an end.
const MANY_TURNS: usize = 100_000;
