//! One thread that accepts for all listeners and deals the sockets out to the emptiest shard.
//!
//! A turn takes a bounded number of connections from each listener, so that a storm at one neither
//! starves the others nor delays the stop.

mod control;

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use mio::{Events, Poll, Token, Waker};
use rustix::io::Errno;

use super::mesh::{Mesh, Parcel};
use super::socket::Socket;
use super::tls::TlsContext;
use crate::address::Address;
use crate::clock::Millis;
use crate::config::{Config, Listener, allowed_origins};
use crate::limits::Limits;
use crate::rate::{Bucket, Rate};
use crate::router::{Crowded, Router, Seat, ShardId};
use crate::shard::Admission;
use crate::transport::TransportRules;

use control::{Bound, Order, Pace};
pub(super) use control::{Control, ListenerId, Plan};

/// A socket on its way to its shard.
#[derive(Debug)]
pub struct Accepted {
    pub(super) socket: Socket,
    pub(super) rules: Arc<TransportRules>,
    pub(super) tls: Option<Arc<TlsContext>>,
    /// A proxy says first for whom it speaks.
    pub(super) has_preface: bool,
    pub(super) peer: Address,
    pub(super) admission: Admission,
    /// Its place among the connections of its address, if those are counted.
    pub(super) seat: Option<Box<Seat>>,
}

/// How many connections each shard has, those on their way included, and how many speak HTTP.
#[derive(Debug)]
pub(super) struct Occupancy {
    shards: Vec<AtomicUsize>,
    http: AtomicUsize,
    /// Those that the router has made to itself: their other ends, which no shard has.
    inner: AtomicUsize,
}

impl Occupancy {
    pub(super) fn new(shards: usize) -> Self {
        let shards = (0..shards).map(|_| AtomicUsize::new(0)).collect();
        Self { shards, http: AtomicUsize::new(0), inner: AtomicUsize::new(0) }
    }

    pub(super) fn leave(&self, shard: ShardId) {
        self.shards[usize::from(shard.0)].fetch_sub(1, Ordering::Relaxed);
    }

    /// Enters a connection that a shard hands over, unless there are `most` already. The shard
    /// leaves it when it closes its slot.
    pub(super) fn enter_http(&self, most: usize) -> bool {
        let may_enter = |count: usize| (count < most).then_some(count + 1);
        self.http.fetch_update(Ordering::Relaxed, Ordering::Relaxed, may_enter).is_ok()
    }

    pub(super) fn leave_http(&self) {
        self.http.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn http(&self) -> usize {
        self.http.load(Ordering::Relaxed)
    }

    pub(super) fn total(&self) -> usize {
        let shards: usize = self.shards.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        shards + self.http() + self.inner.load(Ordering::Relaxed)
    }

    /// Enters a connection that the router makes to itself, unless there are `most_inner` of them
    /// or no two of `most` connections are left: it has two ends. The shard leaves its own end
    /// when it closes its slot.
    pub(super) fn enter_inner(&self, most_inner: usize, most: usize) -> Option<ShardId> {
        if self.total() + 2 > most {
            return None;
        }
        let may_enter = |count: usize| (count < most_inner).then_some(count + 1);
        self.inner.fetch_update(Ordering::Relaxed, Ordering::Relaxed, may_enter).ok()?;
        Some(self.enter_emptiest())
    }

    pub(super) fn leave_inner(&self) {
        self.inner.fetch_sub(1, Ordering::Relaxed);
    }

    /// Enters a connection at the shard with the fewest.
    fn enter_emptiest(&self) -> ShardId {
        let counts = (0u8..).zip(&self.shards).map(|(n, count)| (count.load(Ordering::Relaxed), n));
        let (_, number) = counts.min().expect("a router has at least one shard");
        self.shards[usize::from(number)].fetch_add(1, Ordering::Relaxed);
        ShardId(number)
    }
}

#[derive(Debug)]
pub(super) struct Acceptor {
    poll: Poll,
    listeners: Vec<Bound>,
    mesh: Arc<Mesh>,
    occupancy: Arc<Occupancy>,
    router: Arc<Router>,
    max_connections: usize,
    /// Health checks are told that nobody should come.
    is_withdrawn: bool,
    /// The router is about to stop: whoever comes is told so.
    is_stopping: bool,
    /// When the router's clock began.
    started: Instant,
    orders: Receiver<Order>,
    pace: Pace,
    /// Until when nothing is accepted because of that.
    paced_until: Option<Millis>,
    /// How many of those are answered who are refused because of their address.
    politeness: Bucket,
    /// Which listener comes first: one alone could use up what is accepted per second.
    first: usize,
    /// Whether the last turn met an error that only time can mend.
    is_short: bool,
    /// Connections dropped without an answer, of which the log does not know yet.
    dropped: u64,
    /// The same of those whose address has too many, with one of them and its limit.
    crowded: Option<(u64, Address, Crowded)>,
    shortage_line: Rarely,
    dropped_line: Rarely,
    crowded_line: Rarely,
}

/// When the log last had a line of some kind.
#[derive(Debug, Default)]
struct Rarely(Option<Instant>);

impl Rarely {
    /// Whether it may have another one.
    fn is_due(&mut self) -> bool {
        #[expect(clippy::disallowed_methods, reason = "the acceptor has no other clock")]
        let now = Instant::now();
        let is_due = self.0.is_none_or(|last| now.duration_since(last) >= TOLD_EVERY);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

impl Acceptor {
    pub(super) fn new(
        router: Arc<Router>,
        mesh: Arc<Mesh>,
        occupancy: Arc<Occupancy>,
        started: Instant,
    ) -> io::Result<(Self, Control)> {
        let poll = Poll::new()?;
        let (sender, orders) = unbounded();
        let waker = Waker::new(poll.registry(), ORDER)?;
        let registry = poll.registry().try_clone()?;
        let edition = router.edition();
        let limits = &edition.settings.limits;
        let (max_connections, pace) = (limits.connections, pace_of(limits));
        let acceptor = Self {
            poll,
            listeners: Vec::new(),
            mesh,
            occupancy,
            router,
            max_connections,
            is_withdrawn: false,
            is_stopping: false,
            started,
            orders,
            pace,
            paced_until: None,
            politeness: Bucket::default(),
            first: 0,
            is_short: false,
            dropped: 0,
            crowded: None,
            shortage_line: Rarely::default(),
            dropped_line: Rarely::default(),
            crowded_line: Rarely::default(),
        };
        Ok((acceptor, Control { waker, orders: sender, registry, next: AtomicUsize::new(0) }))
    }

    /// Accepts until told to stop.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(16);
        while self.wait(&mut events)? {
            self.accept();
        }
        Ok(())
    }

    /// Waits until there is something to accept; `false` if there never will be.
    fn wait(&mut self, events: &mut Events) -> io::Result<bool> {
        let is_ready = self.listeners.iter().any(|bound| bound.is_ready);
        let patience = match (self.is_short, is_ready, self.paced_until) {
            (true, ..) => Some(SHORTAGE_PATIENCE),
            (false, true, Some(until)) => Some(Duration::from_millis(until.since(self.now()))),
            (false, true, None) => Some(Duration::ZERO),
            (false, false, _) => None,
        };
        match self.poll.poll(events, patience) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in events.iter() {
            let mut listeners = self.listeners.iter_mut();
            if let Some(bound) = listeners.find(|bound| bound.number.token() == event.token()) {
                bound.is_ready = true;
            }
        }
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Withdraw => self.withdraw(),
                Order::Refuse => self.refuse(),
                Order::Stop => return Ok(false),
                Order::Follow(plan) => self.apply(*plan),
            }
        }
        Ok(true)
    }

    /// Accepts a few of those that wait at each listener.
    fn accept(&mut self) {
        let mut dealt: Vec<Vec<Accepted>> = self.mesh.shards().map(|_| Vec::new()).collect();
        self.is_short = false;
        self.paced_until = None;
        let (now, count) = (self.now(), self.listeners.len());
        self.first = (self.first + 1) % count.max(1);
        for number in (self.first..count).chain(0..self.first) {
            if !self.listeners[number].is_ready {
                continue;
            }
            match self.accept_from(number, &mut dealt, now) {
                Ok(is_ready) => self.listeners[number].is_ready = is_ready,
                Err(error) => {
                    self.is_short = true;
                    self.tell(&error);
                }
            }
        }
        for (shard, sockets) in self.mesh.shards().zip(dealt) {
            if !sockets.is_empty() {
                self.mesh.send(shard, Parcel::Accepted(sockets));
            }
        }
        self.tell_dropped();
    }

    #[expect(clippy::disallowed_methods, reason = "the one clock read of a turn")]
    fn now(&self) -> Millis {
        let elapsed = Instant::now().duration_since(self.started);
        Millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }

    /// Says whether more may wait. An error is one that only time can mend.
    fn accept_from(
        &mut self,
        number: usize,
        dealt: &mut [Vec<Accepted>],
        now: Millis,
    ) -> io::Result<bool> {
        for _ in 0..ACCEPTED_PER_TURN {
            if let Some((rate, bucket)) = &self.pace {
                self.paced_until = bucket.ready_at(*rate, now);
                if self.paced_until.is_some() {
                    break;
                }
            }
            match self.listeners[number].listening.accept() {
                Ok((socket, peer)) => {
                    if let Some((rate, bucket)) = &mut self.pace {
                        bucket.take(*rate, 1, now);
                    }
                    self.deal(number, socket, peer, dealt, now);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if is_about_one_peer(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn deal(
        &mut self,
        number: usize,
        socket: Socket,
        peer: Address,
        dealt: &mut [Vec<Accepted>],
        now: Millis,
    ) {
        let taken = self.occupancy.total();
        if taken >= self.max_connections + refusals_at_once(self.max_connections) {
            self.dropped += 1; // Not even an answer: the socket is closed here.
            return;
        }
        let is_full = taken >= self.max_connections;
        let Some((admission, seat)) = self.judge(number, peer, is_full, now) else { return };
        let shard = self.occupancy.enter_emptiest();
        let bound = &self.listeners[number];
        let (rules, tls) = (Arc::clone(&bound.way.rules), bound.way.tls.clone());
        let has_preface = bound.way.has_prefaces && rules.trusts(peer);
        let accepted = Accepted { socket, rules, tls, has_preface, peer, admission, seat };
        dealt[usize::from(shard.0)].push(accepted);
    }

    /// How a connection is let in; `None` if it gets no answer at all.
    fn judge(
        &mut self,
        number: usize,
        peer: Address,
        is_full: bool,
        now: Millis,
    ) -> Option<(Admission, Option<Box<Seat>>)> {
        let bound = &self.listeners[number];
        if self.is_stopping {
            return Some((Admission::Stopping, None));
        }
        if is_full {
            return Some((Admission::Full, None));
        }
        // Whom a proxy speaks for is judged when it is known.
        if bound.way.rules.trusts(peer) {
            return Some((Admission::Welcome, None));
        }
        let crowded = match self.router.crowd().enter(peer, now) {
            Ok(seat) => return Some((Admission::Welcome, seat)),
            Err(crowded) => crowded,
        };
        self.router.acceptor_counters().connections_crowded.increment();
        let (count, ..) = self.crowded.unwrap_or((0, peer, crowded));
        self.crowded = Some((count + 1, peer, crowded));
        let rate = Rate::new(ANSWERS_PER_SECOND, ANSWERS_PER_SECOND)?;
        // What could be understood over TLS would cost a handshake first.
        if bound.way.tls.is_some() || self.politeness.ready_at(rate, now).is_some() {
            return None;
        }
        self.politeness.take(rate, 1, now);
        Some((Admission::Crowded, None))
    }

    fn tell(&mut self, error: &io::Error) {
        if self.shortage_line.is_due() {
            let hint = if is_shortage(error) {
                "the system lacks open files or memory: raise its limits, or lower \
                 limits.connections"
            } else {
                "this listener is broken; if it lasts, restart the router"
            };
            tracing::warn!(%error, hint, "cannot accept connections, trying again");
        }
    }

    fn tell_dropped(&mut self) {
        if self.dropped > 0 && self.dropped_line.is_due() {
            let (connections, limit) = (self.dropped, self.max_connections);
            tracing::warn!(connections, limit, "too many connections: dropped without an answer");
            self.dropped = 0;
        }
        if let Some((connections, peer, crowded)) = self.crowded
            && self.crowded_line.is_due()
        {
            let limit = crowded.limit();
            tracing::warn!(connections, %peer, limit, "too many connections from one address");
            self.crowded = None;
        }
    }
}

/// How fast connections are accepted, if that is limited.
fn pace_of(limits: &Limits) -> Pace {
    let per_second = limits.accepts_per_second;
    Rate::new(per_second, per_second).map(|rate| (rate, Bucket::default()))
}

/// Connections over the limit that get an answer; any more are dropped without one.
pub(super) fn refusals_at_once(max_connections: usize) -> usize {
    (max_connections / 16).clamp(8, 256)
}

/// What a listener demands, of which the acceptor has this number.
pub(super) fn rules(number: ListenerId, listener: &Listener, config: &Config) -> TransportRules {
    let apart = listener.websocket_paths_apart();
    let paths_apart = apart.map(|path| path.rules(listener, config.development)).collect();
    TransportRules {
        message_bytes: config.limits.message_bytes,
        hello_bytes: config.limits.hello_bytes,
        http_head_bytes: config.limits.http_head_bytes,
        websocket: listener.websocket,
        rawsocket: listener.rawsocket,
        tls: !listener.tls.is_empty(),
        paths: listener.paths.clone(),
        codecs: listener.serializers.clone(),
        batched: listener.batched,
        deflate: listener.deflate,
        default_subprotocol: listener.default_serializer,
        health: listener.health.clone(),
        is_ready: true,
        allowed_origins: allowed_origins(&listener.origins, config.development),
        admin: config.admin.pages(),
        entrance: listener.entrance(),
        appointed: None,
        is_inner: false,
        is_unordered: false,
        paths_apart,
        http_paths: listener.http_paths().map(|apart| apart.path.clone()).collect(),
        listener: number.number(),
        rawsocket_min_peer_bytes: listener.rawsocket_min_peer_bytes,
        proxies: listener.trusted_proxies.clone(),
        forwarded: listener.forwarded,
        passed_headers: listener
            .pass_headers
            .iter()
            .map(|name| name.to_ascii_lowercase())
            .collect(),
    }
}

/// Errors of accept(2) that only concern the connection that came. Linux also passes on what went
/// wrong on the network before.
fn is_about_one_peer(error: &io::Error) -> bool {
    const ABOUT_ONE_PEER: [Errno; 13] = [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::INTR,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::NOPROTOOPT,
        Errno::OPNOTSUPP,
        Errno::PERM, // A firewall forbids it.
        Errno::PROTO,
        Errno::PIPE,
        Errno::TIMEDOUT,
    ];
    Errno::from_io_error(error).is_some_and(|errno| ABOUT_ONE_PEER.contains(&errno))
}

/// Errors of accept(2) that go away when something is freed.
fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| shortages.contains(&errno))
}

const ORDER: Token = Token(usize::MAX);

/// Connections accepted from one listener before the others have their turn.
const ACCEPTED_PER_TURN: usize = 64;

/// How long to wait for what the system lacks.
const SHORTAGE_PATIENCE: Duration = Duration::from_millis(100);

/// Answers per second to those whose address has too many: each keeps a connection for as long as a
/// handshake may take.
const ANSWERS_PER_SECOND: u32 = 16;

/// The least time between two lines of the same kind.
const TOLD_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
