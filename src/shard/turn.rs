//! One turn of a shard: what is read, what waits, how much is done, what is written, and when
//! silence is held against a peer.
//!
//! Pure: sockets, channels and the time are behind [`Wire`] and [`Tick`]. The event loop and the
//! simulator both drive it, so what the simulator sees is what happens.

mod writing;

use std::collections::VecDeque;
use std::io::{ErrorKind, Result};
use std::sync::Arc;

use super::connection::Due;
use super::errands::{Errand, Waiter};
use super::handover::HandOver;
use super::layer::{LayerFault, LayerReport};
use super::trace::{TraceHaul, TraceRequest};
use super::{Admission, InputStatus, Mail, Shard};
use crate::address::Address;
use crate::clock::Millis;
use crate::router::{Batch, Deposit, Destinations, Edition, Seat, ShardId, Slot};
use crate::transport::TransportRules;
use crate::wamp::Timestamp;

/// What a turn needs of the world: the sockets of its shard, by slot, and the ways to others.
pub trait Wire {
    /// As `read(2)` on a socket that does not block.
    ///
    /// # Errors
    /// Those of the socket; `WouldBlock` if nothing is there.
    fn read(&mut self, slot: Slot, buffer: &mut [u8]) -> Result<usize>;

    /// As `write(2)` on a socket that does not block.
    ///
    /// # Errors
    /// Those of the socket; `WouldBlock` if it is full.
    fn write(&mut self, slot: Slot, bytes: &[u8]) -> Result<usize>;

    /// Bytes that `write` has taken, and that the socket has refused since: encrypted, they cannot
    /// be taken back. While there are some, the next `write` offers them to the socket first, with
    /// or without further bytes, and takes nothing or is `WouldBlock` if it refuses.
    fn kept(&self, _slot: Slot) -> usize {
        0
    }

    /// What lies between the socket and its transport has to say about the last `read`.
    fn layer(&mut self, _slot: Slot) -> LayerReport {
        LayerReport::default()
    }

    /// The last byte is written: tells the peer so.
    fn shut_down_writing(&mut self, slot: Slot);

    /// Closes the socket; the slot may be given out again. One that was handed over lives on.
    fn close(&mut self, slot: Slot);

    /// Gives the socket away, with what was read of it and is not dealt with: its next owner
    /// answers. Nothing but [`Self::close`] follows for this slot.
    ///
    /// # Errors
    /// What was to be handed over, if nobody takes it. The socket is as before.
    fn hand_over(&mut self, _slot: Slot, handover: HandOver) -> std::result::Result<(), HandOver> {
        Err(handover)
    }

    /// Those of `places` that have more waiting than they should. If there are some,
    /// [`Turn::resume`] is called when they have room again.
    fn congested(&mut self, places: Destinations) -> Destinations;

    /// Hands mail to another shard.
    fn send(&mut self, to: ShardId, batch: Batch<Mail>);

    /// Hands what is to be stored to the store.
    fn store(&mut self, deposits: Batch<Deposit>);

    /// Hands out what is judged or answered elsewhere; [`super::Mail::Judged`],
    /// [`super::Mail::Ruled`] or [`super::Mail::Managed`] is to come. `false` if too many wait
    /// already.
    fn judge(&mut self, waiter: Waiter, errand: Errand) -> bool;

    /// So many bytes of mail that came from other shards wait no more.
    fn release(&mut self, weight: usize);
}

/// The moment of a turn.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    pub now: Millis,
    pub wall_clock: Timestamp,
    /// The poll told of every socket that is ready. If not, nobody's silence is judged.
    pub saw_all: bool,
}

/// A shard, and what is known of its sockets.
#[derive(Debug)]
pub struct Turn {
    shard: Shard,
    /// By slot.
    sockets: Vec<Readiness>,
    /// Slots with something to read.
    ready: VecDeque<Slot>,
    /// Slots with more than one visit may deal with, or that are ahead of their share.
    behind: VecDeque<Slot>,
    /// The last turn was full before one of `behind` had its visit.
    is_behind_due: bool,
    /// Slots that wait for a congested shard to have room.
    paused: Vec<Slot>,
    /// Slots that can be written to again.
    unblocked: Vec<Slot>,
    /// What every read fills; unmasked in place.
    scratch: Vec<u8>,
    /// Which part of a turn comes first: each can fill the turn, so each has the chance in turns.
    first: usize,
    /// When patience was last started anew, after a time in which nothing ran.
    forgave_at: Option<Millis>,
    /// When a shutdown is over in any case.
    stop_at: Option<Millis>,
}

/// What is known of a socket.
#[derive(Clone, Copy, Debug, Default)]
struct Readiness {
    is_open: bool,
    readable: bool,
    writable: bool,
    /// The peer has closed its side: read until the end shows.
    ending: bool,
    /// Whether the slot stands in `ready`, `behind` or `paused`.
    queued: bool,
    /// Whether it stands in `paused`.
    paused: bool,
}

impl Turn {
    pub fn new(shard: Shard) -> Self {
        let scratch = vec![0; shard.cx.settings().turn.read_bytes];
        Self {
            shard,
            sockets: Vec::new(),
            ready: VecDeque::new(),
            behind: VecDeque::new(),
            is_behind_due: false,
            paused: Vec::new(),
            unblocked: Vec::new(),
            scratch,
            first: 0,
            forgave_at: None,
            stop_at: None,
        }
    }

    pub const fn shard(&self) -> &Shard {
        &self.shard
    }

    /// Takes in a new connection and gives it a slot.
    pub fn open(
        &mut self,
        rules: &Arc<TransportRules>,
        peer: Address,
        admission: Admission,
        now: Millis,
    ) -> Slot {
        // A slot is freed only together with its socket, so this one is free there as well.
        let slot = self.shard.open(rules, peer, admission, now);
        if self.sockets.len() <= slot.index() {
            self.sockets.resize_with(slot.index() + 1, Readiness::default);
        }
        let queued = self.sockets[slot.index()].queued;
        self.sockets[slot.index()] =
            Readiness { is_open: true, writable: true, queued, ..Readiness::default() };
        slot
    }

    /// A connection is counted among those of its address.
    pub fn give_seat(&mut self, slot: Slot, seat: Option<Box<Seat>>) {
        self.shard.give_seat(slot, seat);
    }

    /// A socket has bytes to read; `ending` if its peer has closed its side, or it has failed.
    pub fn note_readable(&mut self, slot: Slot, ending: bool) {
        let Some(socket) = self.socket(slot) else { return };
        socket.readable = true;
        socket.ending |= ending;
        self.enqueue(slot);
    }

    /// A socket that was full takes bytes again.
    pub fn note_writable(&mut self, slot: Slot) {
        let Some(socket) = self.socket(slot) else { return };
        socket.writable = true;
        if self.shard.has_output(slot) {
            self.unblocked.push(slot);
        }
    }

    /// The socket of a slot has failed before it could be used.
    pub fn lose(&mut self, slot: Slot, now: Millis) {
        self.shard.handle_lost(slot, now);
    }

    /// Mail from another shard, to be handled in this turn or a later one.
    pub fn accept(&mut self, batch: Batch<Mail>) {
        self.shard.mailbox.accept(batch);
    }

    /// A congested place has room again.
    pub fn resume(&mut self) {
        for slot in self.paused.drain(..) {
            let socket = &mut self.sockets[slot.index()];
            // The connection may have gone since it was paused.
            if std::mem::take(&mut socket.paused) {
                socket.queued = true;
                self.ready.push_back(slot);
            }
        }
    }

    /// Other settings and realms hold from now on. Sessions whose rights have changed hear of it in
    /// this turn and the next ones.
    pub fn reload(&mut self, edition: Arc<Edition>, now: Millis) {
        self.shard.reload(edition, now);
    }

    /// What a trace has seen here since this was last asked; see [`Shard::fetch_trace`].
    pub fn fetch_trace(
        &mut self,
        request: &Arc<TraceRequest>,
        left_ms: u64,
        now: Millis,
    ) -> TraceHaul {
        self.shard.fetch_trace(request, left_ms, now)
    }

    /// Forgets a trace.
    pub fn end_trace(&mut self, number: u64) {
        self.shard.end_trace(number);
    }

    /// Clients may be served until then. If nothing prolongs it, all sessions are told to leave at
    /// once, and nobody joins until they may again.
    pub fn serve_until(&mut self, until: Millis, now: Millis) {
        self.shard.serve_until(until, now);
    }

    /// Lets nobody join any more, and says GOODBYE to the sessions one after the other, to all of
    /// them by `within_ms` from now; see [`Self::is_drained`]. A drain that is under way is
    /// shortened, never prolonged. [`Self::begin_shutdown`] is to follow, and ends it in any case.
    pub fn begin_drain(&mut self, within_ms: u64, now: Millis) {
        self.shard.begin_drain(within_ms, now);
    }

    /// Whether a drain is under way and no session is left.
    pub fn is_drained(&self) -> bool {
        self.shard.is_drained()
    }

    /// Says GOODBYE to every session, refuses new ones, and ends when all have left, or when they
    /// have had the time to.
    pub fn begin_shutdown(&mut self, now: Millis) {
        self.shard.begin_shutdown(now);
        // Once for the answer to GOODBYE, once for the end of the transport.
        let patience_ms = 2 * self.shard.cx.settings().timeouts.close_ms + LAST_WORDS_MS;
        self.stop_at = Some(now + patience_ms);
    }

    /// Whether a shutdown is complete.
    pub fn is_over(&self, now: Millis) -> bool {
        let Some(stop_at) = self.stop_at else { return false };
        now >= stop_at || self.shard.connection_count() == 0
    }

    pub const fn is_shutting_down(&self) -> bool {
        self.shard.is_shutting_down()
    }

    /// Whether there is something to do although nothing happens, other than to write.
    pub fn is_busy(&self) -> bool {
        !self.ready.is_empty()
            || !self.behind.is_empty()
            || !self.unblocked.is_empty()
            || self.shard.connections.has_closed()
            || self.shard.has_jobs()
    }

    /// When to take a turn at the latest, although nothing happens.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.shard.next_deadline().into_iter().chain(self.stop_at).min()
    }

    /// The first half of a turn: reads, handles mail, times out, and hands on what follows from it.
    pub fn take_in(&mut self, wire: &mut impl Wire, tick: Tick) {
        let now = tick.now;
        self.forgive_a_stall(now);
        self.shard.begin_turn(tick.wall_clock, now);
        self.flush_unblocked(wire, now);
        if self.shard.has_jobs() {
            self.take_parts(wire, now);
        } else {
            self.visit_ready(wire, now);
        }
        let sockets = &self.sockets;
        self.shard.handle_timeout(now, |slot, due| {
            let socket = &sockets[slot.index()];
            let is_blamed = match due {
                // Who can be written to has not been offered what waits.
                Due::Slow => !socket.writable,
                due if due.is_silence() => !socket.queued && !socket.readable,
                _ => true,
            };
            tick.saw_all && is_blamed
        });
        if !self.shard.errands.is_empty() {
            self.hand_out_errands(wire, now);
        }
        self.wake_up();
        self.send_mail(wire);
        if let Some(deposits) = self.shard.cx.deposits.take() {
            wire.store(deposits);
        }
    }

    fn hand_out_errands(&mut self, wire: &mut impl Wire, now: Millis) {
        for (waiter, errand) in self.shard.errands.take() {
            let (asker, purpose) = (waiter.session, errand.purpose());
            if !wire.judge(waiter, errand) {
                self.shard.fail_errand(asker, purpose, now);
            }
        }
    }

    /// Nobody is blamed for a time in which the process did not run, or got no processor.
    fn forgive_a_stall(&mut self, now: Millis) {
        let is_late = self.shard.next_deadline().is_some_and(|at| now.since(at) > STALL_MS);
        if is_late && self.forgave_at.is_none_or(|at| now.since(at) > FORGIVENESS_MS) {
            self.forgave_at = Some(now);
            self.shard.start_patience_anew(now);
        }
    }

    /// Writes to sockets that take bytes again, as much as one turn may.
    fn flush_unblocked(&mut self, wire: &mut impl Wire, now: Millis) {
        let limit = self.shard.cx.settings().turn.written_bytes;
        let mut flushed = 0;
        while self.shard.written_bytes() < limit
            && let Some(slot) = self.unblocked.get(flushed).copied()
        {
            flushed += 1;
            self.flush_one(slot, wire, now);
        }
        self.unblocked.drain(..flushed);
    }

    /// What is read, mail and jobs, each of which comes first in its turn.
    fn take_parts(&mut self, wire: &mut impl Wire, now: Millis) {
        let mut done = 0;
        // A turn that is full from the start is nobody's chance.
        let is_chance = !self.shard.is_reading_over();
        for part in 0..PARTS {
            match (self.first + part) % PARTS {
                0 => self.visit_ready(wire, now),
                1 => done += self.shard.work_mail(now),
                _ => done += self.shard.work_jobs(now),
            }
        }
        self.first = (self.first + usize::from(is_chance)) % PARTS;
        wire.release(done);
    }

    /// The second half: writes, as much as one turn may. `may_write` is false if what waits is to
    /// wait for more.
    pub fn give_out(&mut self, wire: &mut impl Wire, may_write: bool, now: Millis) {
        if may_write {
            let limits = self.shard.cx.settings().turn;
            // Who is marked again meanwhile has had its part of this turn.
            for _ in 0..self.shard.dirty_count().min(limits.connections_written) {
                if self.shard.written_bytes() >= limits.written_bytes {
                    break;
                }
                let Some(slot) = self.shard.take_dirty() else { break };
                self.flush_one(slot, wire, now);
            }
        }
        self.shard.end_turn(now);
        self.wake_up();
        if self.shard.connections.has_closed() {
            self.close_sockets(wire);
        }
    }

    fn socket(&mut self, slot: Slot) -> Option<&mut Readiness> {
        self.sockets.get_mut(slot.index()).filter(|socket| socket.is_open)
    }

    fn enqueue(&mut self, slot: Slot) {
        if let Some(socket) = self.sockets.get_mut(slot.index())
            && !std::mem::replace(&mut socket.queued, true)
        {
            let queue = if self.shard.is_behind(slot) { &mut self.behind } else { &mut self.ready };
            queue.push_back(slot);
        }
    }

    /// Input that waited for something goes on.
    #[inline]
    fn wake_up(&mut self) {
        if self.shard.connections.has_woken() {
            self.enqueue_woken();
        }
    }

    #[cold]
    fn enqueue_woken(&mut self) {
        for slot in self.shard.connections.take_woken() {
            self.enqueue(slot);
        }
    }

    /// One visit to each connection that has something to be dealt with, while the turn lasts.
    /// Those come last whose requests have cost much, but one of them at least in every other turn.
    fn visit_ready(&mut self, wire: &mut impl Wire, now: Millis) {
        let was_due = std::mem::take(&mut self.is_behind_due);
        if was_due && let Some(slot) = self.behind.pop_front() {
            self.visit_queued(slot, wire, now);
        }
        for _ in 0..self.ready.len() {
            if self.shard.is_reading_over() {
                break;
            }
            let Some(slot) = self.ready.pop_front() else { break };
            self.visit_queued(slot, wire, now);
        }
        for number in 0..self.behind.len() {
            if self.shard.is_reading_over() {
                self.is_behind_due = number == 0 && !was_due;
                break;
            }
            let Some(slot) = self.behind.pop_front() else { break };
            self.visit_queued(slot, wire, now);
        }
    }

    /// Visits a connection that was just taken out of its queue.
    fn visit_queued(&mut self, slot: Slot, wire: &mut impl Wire, now: Millis) {
        self.sockets[slot.index()].queued = false;
        self.visit(slot, wire, now);
        let socket = self.sockets[slot.index()];
        let goes_on = match self.shard.input_status(slot) {
            InputStatus::Open => socket.readable,
            InputStatus::Ready => true,
            InputStatus::Parked => false,
        };
        if goes_on && socket.is_open {
            self.enqueue(slot);
        }
    }

    fn visit(&mut self, slot: Slot, wire: &mut impl Wire, now: Millis) {
        let status = self.shard.input_status(slot);
        // Who is ahead of its share lets others pass, if there are any.
        let is_alone = || self.ready.is_empty() && self.behind.is_empty();
        if status == InputStatus::Parked || self.shard.is_ahead(slot) && !is_alone() {
            return;
        }
        if self.must_pause(slot, wire) {
            let socket = &mut self.sockets[slot.index()];
            (socket.queued, socket.paused) = (true, true);
            self.paused.push(slot);
        } else if status == InputStatus::Ready {
            self.shard.work(slot, now);
        } else if self.sockets[slot.index()].readable {
            self.read(slot, wire, now);
        }
        if self.shard.has_departing() {
            self.hand_over(wire, now);
        }
    }

    /// The connection that was just visited leaves.
    #[cold]
    fn hand_over(&mut self, wire: &mut impl Wire, now: Millis) {
        let Some((slot, handover)) = self.shard.take_departing() else { return };
        match wire.hand_over(slot, handover) {
            Ok(()) => self.shard.forget_departed(slot),
            Err(handover) => self.shard.keep_departing(slot, handover, now),
        }
    }

    /// Whether a shard that this connection feeds is congested.
    fn must_pause(&mut self, slot: Slot, wire: &mut impl Wire) -> bool {
        let feeds = self.shard.feeds(slot);
        if feeds.is_empty() {
            return false;
        }
        if !wire.congested(feeds).is_empty() {
            return true;
        }
        self.shard.clear_feeds(slot);
        false
    }

    fn read(&mut self, slot: Slot, wire: &mut impl Wire, now: Millis) {
        let read = wire.read(slot, &mut self.scratch);
        let mut layer = wire.layer(slot);
        if layer.units > 0 {
            self.shard.note_layer(slot, &mut layer, now);
        }
        let socket = &mut self.sockets[slot.index()];
        match read {
            Ok(0) => self.handle_end(slot, layer.fault, now),
            Ok(length) => {
                // A short read means that the socket is empty, unless its end is near.
                let is_whole = length == self.scratch.len();
                socket.readable = is_whole || socket.ending || layer.has_more;
                self.shard.receive(slot, &mut self.scratch[..length], now);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                socket.readable = false;
                if layer.units > 0 {
                    self.shard.end_vain_visit(slot);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => self.shard.end_vain_visit(slot),
            Err(_) => self.handle_end(slot, layer.fault, now),
        }
    }

    fn handle_end(&mut self, slot: Slot, fault: Option<LayerFault>, now: Millis) {
        match fault {
            None => self.shard.handle_lost(slot, now),
            Some(fault) => self.shard.handle_layer_fault(slot, fault, now),
        }
    }

    /// One batch for each destination; meta events behind everything else.
    fn send_mail(&mut self, wire: &mut impl Wire) {
        self.send_outboxes(wire);
        if self.shard.cx.post.release_meta_events() {
            self.send_outboxes(wire);
        }
    }

    fn send_outboxes(&mut self, wire: &mut impl Wire) {
        for to in self.shard.cx.post.filled().shards() {
            wire.send(to, self.shard.cx.post.take_outbox(to));
        }
    }
}

/// Reading, mail, and jobs.
const PARTS: usize = 3;

/// How late a turn may be before it is taken for a stall of the process, in milliseconds.
const STALL_MS: u64 = 2_000;

/// How often patience is started anew, in milliseconds: under lasting overload the silent and the
/// slow still have to go.
const FORGIVENESS_MS: u64 = 60_000;

/// What a shutdown waits besides the patience for clients, for the last bytes to be written.
const LAST_WORDS_MS: u64 = 1_000;
