//! The event loop of one shard: it polls, takes parcels, and drives the shard's turns.
//!
//! Runs on a thread of its own. What a turn does is decided by [`Turn`]; here are the sockets and
//! channels that it works on, and the sleep between two turns.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::Sender;
use mio::{Events, Poll, Registry, Token};

use super::acceptor::{Accepted, Occupancy};
use super::hold::{Alarm, Hold, Output};
use super::http::{HttpDoor, Visitor};
use super::mesh::{Aside, Inbox, Look, Parcel};
use super::preface::Preface;
use super::pulse::Pulse;
use super::socket::{OwnedSocket, Socket};
use super::tls::{OpenTls, TlsContext, TlsShare, TlsStream};
use crate::clock::Millis;
use crate::limits::OutputLimits;
use crate::router::{Batch, Deposit, Destination, Destinations, Edition, Settings, ShardId, Slot};
use crate::shard::{Errand, HandOver, LayerReport, Mail, Shard, Tick, Turn, Waiter, Wire};
use crate::wamp::Timestamp;

/// The token of a shard's waker; slots are 32 bits, so it meets none.
pub(super) const WAKER: Token = Token(usize::MAX);

/// The token of a shard's alarm.
const ALARM: Token = Token(usize::MAX - 1);

/// How output is held back, if it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct HoldBudget {
    /// How long output may wait for more; zero: not at all.
    pub(super) delay: Duration,
    /// Bytes of held output that are written at once.
    pub(super) bytes: usize,
}

impl HoldBudget {
    pub(super) fn new(delay_us: u64, output: &OutputLimits) -> Self {
        Self { delay: Duration::from_micros(delay_us), bytes: Self::bytes_of(output) }
    }

    fn bytes_of(output: &OutputLimits) -> usize {
        HELD_BYTES.min(output.hard_bytes / 4)
    }
}

#[derive(Debug)]
pub(super) struct EventLoop {
    turn: Turn,
    links: Links,
    poll: Poll,
    held_bytes: usize,
    started: Instant,
    /// Flush batching, if it is on.
    hold: Option<(Hold, Alarm)>,
    pulse: Arc<Pulse>,
    /// Whether somebody may ask how long turns take.
    is_timed: bool,
    /// Dropped when a drain is over; see [`Parcel::Drain`].
    drained: Vec<Sender<()>>,
}

/// The sockets of a shard and its ways to other threads.
#[derive(Debug)]
struct Links {
    shard: ShardId,
    /// By slot.
    sockets: Vec<Option<Link>>,
    tls: TlsShare,
    inbox: Inbox,
    occupancy: Arc<Occupancy>,
    /// The way to the store, if there is one.
    store: Option<Sender<Batch<Deposit>>>,
    aside: Aside,
    /// Of the poller that the sockets are registered with.
    registry: Registry,
}

/// The way to one peer.
#[derive(Debug)]
struct Link {
    socket: Socket,
    layer: Layer,
}

/// What lies between a socket and its transport.
#[derive(Debug)]
enum Layer {
    None,
    Tls(Box<TlsStream>),
    /// The header of a proxy, and TLS behind it or nothing.
    Preface(Preface),
}

impl Layer {
    fn below(tls: Option<Arc<TlsContext>>) -> Self {
        tls.map_or(Self::None, |context| Self::Tls(Box::new(TlsStream::new(context))))
    }

    fn tls(&self) -> Option<&TlsStream> {
        if let Self::Tls(tls) = self { Some(tls) } else { None }
    }
}

impl Link {
    /// Lets the socket go, with TLS as far as it has come.
    fn leave(self, registry: &Registry) -> io::Result<(OwnedSocket, Option<OpenTls>)> {
        let tls = match self.layer {
            Layer::Tls(tls) => Some(tls.into_open().ok_or(ErrorKind::NotConnected)?),
            Layer::None | Layer::Preface(_) => None,
        };
        Ok((self.socket.leave(registry)?, tls))
    }

    /// Takes the header of a proxy, which must be there.
    #[cold]
    fn read_preface(&mut self, share: &mut TlsShare, scratch: &mut [u8]) -> io::Result<usize> {
        let Layer::Preface(preface) = &mut self.layer else { return Ok(0) };
        let mut report = LayerReport::default();
        let taken = preface.read(&mut self.socket, scratch, &mut report);
        share.set_report(report);
        taken?;
        self.layer = Layer::below(preface.tls.take());
        Err(ErrorKind::Interrupted.into())
    }
}

impl EventLoop {
    pub(super) fn new(
        shard: Shard,
        poll: Poll,
        inbox: Inbox,
        budget: HoldBudget,
        occupancy: Arc<Occupancy>,
        store: Option<Sender<Batch<Deposit>>>,
        tls: TlsShare,
        aside: Aside,
        started: Instant,
        (pulse, is_timed): (Arc<Pulse>, bool),
    ) -> io::Result<Self> {
        let hold = if budget.delay.is_zero() {
            None
        } else {
            Some((Hold::new(budget.delay), Alarm::new(poll.registry(), ALARM)?))
        };
        let (id, sockets) = (shard.id(), Vec::new());
        let registry = poll.registry().try_clone()?;
        let links = Links { shard: id, sockets, tls, inbox, occupancy, store, aside, registry };
        let (turn, held_bytes) = (Turn::new(shard), budget.bytes);
        let drained = Vec::new();
        Ok(Self { turn, links, poll, held_bytes, started, hold, pulse, is_timed, drained })
    }

    /// Turns until a shutdown is complete.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        loop {
            let may_sleep = self.links.inbox.fall_asleep();
            let polled = self.poll.poll(&mut events, self.patience(may_sleep));
            self.links.inbox.wake_up();
            let was_interrupted = match polled {
                Ok(()) => false,
                Err(error) if error.kind() == ErrorKind::Interrupted => true,
                Err(error) => return Err(error),
            };
            let began = self.clock();
            let now = self.since_start(began);
            self.links.tls.begin_turn();
            if !was_interrupted {
                self.note_readiness(&events);
            }
            self.take_parcels(now);
            let saw_all = !was_interrupted && events.iter().count() < EVENTS_PER_POLL;
            let tick = Tick { now, wall_clock: wall_clock(), saw_all };
            self.turn.take_in(&mut self.links, tick);
            let may_write = self.may_write()?;
            self.turn.give_out(&mut self.links, may_write, now);
            if let Some((hold, _)) = self.hold.as_mut().filter(|_| may_write) {
                hold.written(!self.turn.shard().has_dirty());
            }
            if self.is_timed {
                self.pulse.note_turn(self.clock().duration_since(began));
            }
            if !self.drained.is_empty() && self.turn.is_drained() {
                self.drained.clear();
            }
            if self.turn.is_over(now) {
                return Ok(());
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "one clock read at each end of a turn")]
    fn clock(&self) -> Instant {
        Instant::now()
    }

    fn since_start(&self, moment: Instant) -> Millis {
        let elapsed = moment.duration_since(self.started);
        Millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }

    /// How long the poll may wait; `None`: until something happens.
    fn patience(&self, may_sleep: bool) -> Option<Duration> {
        let is_holding = self.hold.as_ref().is_some_and(|(hold, _)| hold.is_holding());
        let is_busy = self.turn.is_busy() || self.turn.shard().has_dirty() && !is_holding;
        if !may_sleep || is_busy {
            return Some(Duration::ZERO);
        }
        let deadline = self.turn.next_deadline()?;
        // A call's timeout may lie further ahead than a poller can count.
        let now = self.since_start(self.clock());
        Some(Duration::from_millis(deadline.since(now).min(LONGEST_POLL_MS)))
    }

    fn note_readiness(&mut self, events: &Events) {
        for event in events {
            if matches!(event.token(), WAKER | ALARM) {
                continue;
            }
            let slot = Slot::at(event.token().0);
            let ending = event.is_read_closed() || event.is_error();
            if event.is_readable() || ending {
                self.turn.note_readable(slot, ending);
            }
            if event.is_writable() {
                self.links.note_writable(slot);
                self.turn.note_writable(slot);
            }
        }
    }

    fn take_parcels(&mut self, now: Millis) {
        for _ in 0..PARCELS_PER_TURN {
            let Some(parcel) = self.links.inbox.take() else { break };
            match parcel {
                Parcel::Mail(batch) => self.turn.accept(batch),
                Parcel::Accepted(sockets) => {
                    for accepted in sockets {
                        self.take_in(accepted, now);
                    }
                }
                Parcel::Resume => self.turn.resume(),
                Parcel::Probe(number) => self.pulse.answer(number),
                Parcel::Look(Look { from, most, answer }) => {
                    let (sessions, next) = self.turn.shard().look(from, most, now);
                    answer(sessions, next);
                }
                Parcel::Inquiry(inquiry) => inquiry.answer(&mut self.turn, now),
                Parcel::Reload(edition, aside) => self.reload(edition, aside, now),
                Parcel::ServeUntil(until) => self.turn.serve_until(until, now),
                Parcel::Drain(within_ms, drained) => {
                    self.turn.begin_drain(within_ms, now);
                    self.drained.push(drained);
                }
                Parcel::Shutdown => self.turn.begin_shutdown(now),
            }
        }
    }

    fn reload(&mut self, edition: Arc<Edition>, aside: Aside, now: Millis) {
        let Settings { limits, output, .. } = &edition.settings;
        let shards = self.links.inbox.mesh().shards().count();
        self.links.tls.set_most_handshakes(limits.tls_handshakes.div_ceil(shards));
        self.held_bytes = HoldBudget::bytes_of(output);
        self.links.aside = aside;
        self.turn.reload(edition, now);
    }

    fn take_in(&mut self, accepted: Accepted, now: Millis) {
        let Accepted { mut socket, rules, tls, has_preface, peer, admission, seat } = accepted;
        let slot = self.turn.open(&rules, peer, admission, now);
        if seat.is_some() {
            self.turn.give_seat(slot, seat);
        }
        let registered = socket.register(self.poll.registry(), Token(slot.index()));
        let sockets = &mut self.links.sockets;
        if sockets.len() <= slot.index() {
            sockets.resize_with(slot.index() + 1, || None);
        }
        let layer = if has_preface { Layer::Preface(Preface { tls }) } else { Layer::below(tls) };
        let previous = sockets[slot.index()].replace(Link { socket, layer });
        debug_assert!(previous.is_none(), "a slot is free when it is given out");
        if registered.is_err() {
            self.turn.lose(slot, now);
        }
    }

    /// Whether what waits is to be written in this turn; if not, the alarm is set.
    fn may_write(&mut self) -> io::Result<bool> {
        let Some((hold, alarm)) = &mut self.hold else { return Ok(true) };
        let shard = self.turn.shard();
        if !shard.has_dirty() && !hold.is_holding() {
            return Ok(true);
        }
        let output = Output {
            joined: shard.frames_coalesced(),
            connections: shard.dirty_count(),
            is_pressing: self.turn.is_shutting_down()
                || shard.has_jobs()
                || shard.turn_bytes() >= self.held_bytes,
        };
        #[expect(clippy::disallowed_methods, reason = "a delay below the turns' resolution")]
        let now = Instant::now();
        let may_write = hold.may_write(output, now);
        if let Some(deadline) = hold.deadline() {
            alarm.ring_by(deadline, now)?;
        }
        Ok(may_write)
    }
}

impl Links {
    /// What TLS has kept goes on, whatever the turn knows of it.
    fn note_writable(&mut self, slot: Slot) {
        if let Some(Some(link)) = self.sockets.get_mut(slot.index())
            && let Layer::Tls(tls) = &mut link.layer
        {
            tls.go_on_writing(&mut link.socket);
        }
    }
}

impl Wire for Links {
    fn read(&mut self, slot: Slot, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(Some(link)) = self.sockets.get_mut(slot.index()) else {
            return Err(ErrorKind::NotConnected.into());
        };
        match &mut link.layer {
            Layer::None => link.socket.read(buffer),
            Layer::Tls(tls) => tls.read(&mut link.socket, &mut self.tls, buffer),
            Layer::Preface(_) => link.read_preface(&mut self.tls, buffer),
        }
    }

    fn write(&mut self, slot: Slot, bytes: &[u8]) -> io::Result<usize> {
        let Some(Some(link)) = self.sockets.get_mut(slot.index()) else {
            return Err(ErrorKind::NotConnected.into());
        };
        match &mut link.layer {
            Layer::None | Layer::Preface(_) => link.socket.write(bytes),
            Layer::Tls(tls) => tls.write(&mut link.socket, &mut self.tls, bytes),
        }
    }

    fn kept(&self, slot: Slot) -> usize {
        let link = self.sockets.get(slot.index()).and_then(Option::as_ref);
        link.and_then(|link| link.layer.tls()).map_or(0, TlsStream::unsent_bytes)
    }

    fn layer(&mut self, _slot: Slot) -> LayerReport {
        self.tls.take_report()
    }

    fn shut_down_writing(&mut self, slot: Slot) {
        if let Some(Some(link)) = self.sockets.get_mut(slot.index()) {
            match &mut link.layer {
                Layer::None | Layer::Preface(_) => link.socket.shut_down_writing(),
                Layer::Tls(tls) => tls.shut_down_writing(&mut link.socket),
            }
        }
    }

    fn close(&mut self, slot: Slot) {
        if let Some(link) = self.sockets.get_mut(slot.index()).and_then(Option::take)
            && let Link { mut socket, layer: Layer::Tls(mut tls) } = link
        {
            tls.close(&mut socket, &self.tls);
        }
        self.occupancy.leave(self.shard);
    }

    fn hand_over(&mut self, slot: Slot, handover: HandOver) -> Result<(), HandOver> {
        let Some((place, permit)) = self.aside.http.as_ref().and_then(HttpDoor::enter) else {
            return Err(handover);
        };
        let Some(link) = self.sockets.get_mut(slot.index()).and_then(Option::take) else {
            return Err(handover);
        };
        match link.leave(&self.registry) {
            Ok((socket, tls)) => permit.send(Visitor { socket, tls, handover, place }),
            // Its peer sees the end.
            Err(error) => tracing::warn!(%error, "a connection cannot be handed over"),
        }
        Ok(())
    }

    fn congested(&mut self, places: Destinations) -> Destinations {
        if places.intersects(self.inbox.mesh().congested()) {
            self.inbox.await_room(places)
        } else {
            Destinations::default()
        }
    }

    fn send(&mut self, to: ShardId, batch: Batch<Mail>) {
        self.inbox.mesh().send(to, Parcel::Mail(batch));
    }

    fn store(&mut self, deposits: Batch<Deposit>) {
        let store = self.store.as_ref().expect("what is durable has a store (config::check)");
        self.inbox.mesh().queues(Destination::Store, deposits.weight);
        // A store that has ended brings the router down; until then nobody is answered.
        let _ = store.send(deposits);
    }

    fn judge(&mut self, waiter: Waiter, errand: Errand) -> bool {
        if let Errand::Management(call) = errand {
            return self.inbox.mesh().calls().push(waiter, call);
        }
        self.aside.judges.as_ref().is_some_and(|judges| judges.judge(waiter, errand))
    }

    fn release(&mut self, weight: usize) {
        self.inbox.release(weight);
    }
}

/// What the operating system calls the present; a clock before 1970 counts as 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the one look at the wall clock of a turn, and of the start"
)]
pub(super) fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Held output of a shard, in bytes, that is written without further delay: far below what makes a
/// consumer slow, for it was the router that made it wait.
const HELD_BYTES: usize = 64 * 1024;

const EVENTS_PER_POLL: usize = 1024;

/// Parcels taken in one turn. What they carry waits for its turn in the shard's mailbox.
const PARCELS_PER_TURN: usize = 256;

/// An hour: waking up for nothing that seldom costs nothing.
const LONGEST_POLL_MS: u64 = 3_600_000;
