//! Several shards in one thread, the mail between them, and the sockets of their clients.
//!
//! Decides nothing by itself: who calls it chooses what happens next. Time only moves when told.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Error, ErrorKind};
use std::sync::Arc;

use stentor::clock::Millis;
use stentor::hash::HashSeed;
use stentor::router::{RealmSettings, Router, Settings, ShardId};
use stentor::shard::{Admission, Flushed, Mail, Shard};
use stentor::transport::TransportRules;
use stentor::wamp::Timestamp;

/// The router's end of one client's socket.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) shard: usize,
    pub(crate) slot: u32,
    /// Bytes that the router wrote and the client has not read.
    pub(crate) unread: Vec<u8>,
    /// Bytes that may lie unread before the socket is full.
    pub(crate) capacity: usize,
    /// The router met a full socket and waits for it to become writable.
    blocked: bool,
    /// The router has shut down its sending side: the client sees the end behind `unread`.
    pub(crate) ended: bool,
    /// The router has closed the socket.
    pub(crate) closed: bool,
    /// It did so before all was written.
    pub(crate) cut: bool,
}

pub(crate) struct Network {
    pub(crate) router: Arc<Router>,
    pub(crate) shards: Vec<Shard>,
    pub(crate) now: Millis,
    pub(crate) pipes: Vec<Pipe>,
    /// Batches under way, by sender and receiver.
    mail: BTreeMap<(usize, usize), VecDeque<Vec<Mail>>>,
    by_slot: BTreeMap<(usize, u32), usize>,
    rules: Arc<TransportRules>,
}

impl Network {
    pub(crate) fn new(settings: Settings, realms: Vec<RealmSettings>, shards: usize) -> Self {
        let rules = TransportRules {
            message_bytes: settings.limits.message_bytes,
            http_head_bytes: settings.limits.http_head_bytes,
            ..TransportRules::default()
        };
        let router = Arc::new(Router::new(settings, realms, shards, HashSeed::new(7)));
        let shard = |index: usize| {
            let id = u8::try_from(index).expect("few shards");
            Shard::new(ShardId(id), Arc::clone(&router), [id; 32])
        };
        let mut network = Self {
            shards: (0..shards).map(shard).collect(),
            router,
            now: Millis(1_000),
            pipes: Vec::new(),
            mail: BTreeMap::new(),
            by_slot: BTreeMap::new(),
            rules: Arc::new(rules),
        };
        network.set_wall_clocks();
        network
    }

    /// A new socket on a shard; the number names it from now on.
    pub(crate) fn connect(&mut self, shard: usize, admission: Admission, capacity: usize) -> usize {
        self.close_sockets(shard);
        let peer = format!("client {}", self.pipes.len()).into_boxed_str();
        let slot = self.shards[shard].open(&self.rules, peer, admission, self.now);
        let pipe = self.pipes.len();
        let previous = self.by_slot.insert((shard, slot), pipe);
        assert!(previous.is_none(), "a slot is free when it is given out");
        self.pipes.push(Pipe {
            shard,
            slot,
            unread: Vec::new(),
            capacity,
            blocked: false,
            ended: false,
            closed: false,
            cut: false,
        });
        pipe
    }

    /// Bytes of a client arrive at its shard.
    pub(crate) fn receive(&mut self, pipe: usize, bytes: &[u8]) {
        let Pipe { shard, slot, closed, .. } = self.pipes[pipe];
        if !closed {
            self.shards[shard].receive(slot, &mut bytes.to_vec(), self.now);
        }
    }

    /// The client's socket is gone.
    pub(crate) fn lose(&mut self, pipe: usize) {
        let Pipe { shard, slot, closed, .. } = self.pipes[pipe];
        if !closed {
            self.shards[shard].handle_lost(slot, self.now);
        }
    }

    /// The client takes up to `limit` bytes; a socket that was full becomes writable.
    pub(crate) fn read(&mut self, pipe: usize, limit: usize) -> Vec<u8> {
        let end = &mut self.pipes[pipe];
        let taken: Vec<u8> = end.unread.drain(..limit.min(end.unread.len())).collect();
        if !taken.is_empty() {
            self.wake(pipe);
        }
        taken
    }

    /// The socket has room again.
    pub(crate) fn wake(&mut self, pipe: usize) {
        let end = &mut self.pipes[pipe];
        if std::mem::replace(&mut end.blocked, false) && !end.closed {
            let (shard, slot) = (end.shard, end.slot);
            if self.shards[shard].has_output(slot) {
                self.flush_one(shard, slot);
            }
        }
    }

    /// Puts the mail of a shard on its way: one batch per destination.
    pub(crate) fn send_mail(&mut self, from: usize) -> usize {
        let batches = self.send_outboxes(from);
        if !self.shards[from].release_meta_events() {
            return batches;
        }
        batches + self.send_outboxes(from)
    }

    fn send_outboxes(&mut self, from: usize) -> usize {
        let mut batches = 0;
        for to in 0..self.shards.len() {
            let id = ShardId(u8::try_from(to).expect("few shards"));
            if let Some((batch, _)) = self.shards[from].take_outbox(id) {
                self.mail.entry((from, to)).or_default().push_back(batch);
                batches += 1;
            }
        }
        batches
    }

    /// Pairs of shards with mail under way.
    pub(crate) fn mail_routes(&self) -> Vec<(usize, usize)> {
        self.mail.iter().filter(|(_, queue)| !queue.is_empty()).map(|(route, _)| *route).collect()
    }

    /// The first batch of a route arrives; returns its length.
    pub(crate) fn deliver_mail(&mut self, route: (usize, usize)) -> usize {
        let batch = self.mail.get_mut(&route).and_then(VecDeque::pop_front);
        let batch = batch.expect("the route has mail");
        let length = batch.len();
        self.shards[route.1].handle_mail(batch, self.now);
        length
    }

    /// Writes up to `limit` connections of a shard that have something to write.
    pub(crate) fn flush(&mut self, shard: usize, limit: usize) -> usize {
        for count in 0..limit {
            let Some(slot) = self.shards[shard].take_dirty() else { return count };
            self.flush_one(shard, slot);
        }
        limit
    }

    pub(crate) fn end_turn(&mut self, shard: usize) {
        self.shards[shard].end_turn(self.now);
        self.close_sockets(shard);
    }

    /// The simulated calendar begins at [`EPOCH_MS`] and runs with the clock.
    fn set_wall_clocks(&mut self) {
        let now_ms = i64::try_from(self.now.0).expect("runs are short");
        let wall_clock = Timestamp::from_unix_ms(EPOCH_MS + now_ms);
        self.shards.iter_mut().for_each(|shard| shard.set_wall_clock(wall_clock));
    }

    /// Moves the clock; shards whose deadline has come are told. Returns how many were.
    pub(crate) fn advance(&mut self, ms: u64) -> usize {
        self.now = self.now + ms;
        self.set_wall_clocks();
        let now = self.now;
        let due = |shard: &Shard| shard.next_deadline().is_some_and(|at| at <= now);
        let fired: Vec<usize> = (0..self.shards.len()).filter(|i| due(&self.shards[*i])).collect();
        for shard in &fired {
            self.shards[*shard].handle_timeout(now);
            self.close_sockets(*shard);
        }
        fired.len()
    }

    /// Runs everything that is under way to its end, without moving the clock.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut progress = 0;
            for shard in 0..self.shards.len() {
                progress += self.send_mail(shard);
                progress += self.flush(shard, usize::MAX);
                self.end_turn(shard);
            }
            for route in self.mail_routes() {
                self.deliver_mail(route);
                progress += 1;
            }
            self.check_invariants();
            if progress == 0 {
                // No mail is under way, so each pending call has its invocation and no other.
                let now = self.router.snapshot();
                assert_eq!(now.calls, now.invocations, "the two halves of calls");
                let settled = |shard: &Shard| shard.is_settled();
                assert!(self.shards.iter().all(settled), "no question or meta event waits");
                return;
            }
        }
    }

    pub(crate) fn begin_shutdown(&mut self) {
        for shard in &mut self.shards {
            shard.begin_shutdown(self.now);
        }
    }

    pub(crate) fn check_invariants(&self) {
        for shard in &self.shards {
            shard.check_invariants();
        }
    }

    /// What must hold when every client has gone: nothing is left anywhere.
    pub(crate) fn check_empty(&mut self) {
        assert!(self.mail_routes().is_empty(), "no mail is under way");
        assert!(self.router.is_idle(), "the tables of the router are empty");
        for (name, value) in self.router.snapshot().gauges() {
            assert_eq!(value, 0, "the gauge {name} after everybody left");
        }
        assert!(self.pipes.iter().all(|pipe| pipe.closed), "every socket is closed");
        assert!(self.by_slot.is_empty(), "every slot is free");
        self.now = self.now + 3_600_000;
        for shard in &mut self.shards {
            assert_eq!(shard.connection_count(), 0, "no connection is left");
            assert!(!shard.has_dirty(), "nothing waits to be written");
            shard.handle_timeout(self.now);
            assert_eq!(shard.next_deadline(), None, "no timer is left");
        }
    }

    fn flush_one(&mut self, shard: usize, slot: u32) {
        let Some(&pipe) = self.by_slot.get(&(shard, slot)) else { return };
        let Pipe { unread, capacity, blocked, ended, .. } = &mut self.pipes[pipe];
        if *blocked {
            self.shards[shard].hold(slot, self.now);
            return;
        }
        let mut write = |bytes: &[u8]| {
            assert!(!*ended, "nothing is written behind the end");
            let room = capacity.saturating_sub(unread.len());
            if room == 0 {
                return Err(Error::from(ErrorKind::WouldBlock));
            }
            let taken = &bytes[..bytes.len().min(room)];
            unread.extend_from_slice(taken);
            Ok(taken.len())
        };
        match self.shards[shard].flush(slot, &mut write, self.now) {
            Flushed::Progress => {}
            Flushed::Full => *blocked = true,
            Flushed::Farewell => *ended = true,
            Flushed::Lost => unreachable!("no write fails"),
        }
    }

    fn close_sockets(&mut self, shard: usize) {
        for slot in self.shards[shard].take_closed() {
            let pipe = self.by_slot.remove(&(shard, slot)).expect("the slot has a socket");
            let pipe = &mut self.pipes[pipe];
            pipe.closed = true;
            pipe.cut = !std::mem::replace(&mut pipe.ended, true);
        }
    }
}

/// 2024-05-01T12:00:00Z: what a network's `Millis(0)` is on the calendar.
const EPOCH_MS: i64 = 1_714_564_800_000;
