//! The event loop of one shard: poll, read, take mail, time out, send mail, write (DESIGN 5).
//!
//! Runs on a thread of its own. All it decides is how much of what to do in one turn.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::Sender;
use mio::{Events, Poll, Token};

use super::acceptor::{Accepted, Occupancy};
use super::hold::{Alarm, Hold, Output};
use super::mesh::{Inbox, Parcel};
use super::socket::Socket;
use crate::clock::Millis;
use crate::router::{Deposit, HISTORY};
use crate::shard::{Flushed, Shard};
use crate::wamp::Timestamp;

/// The token of a shard's waker; slots are 32 bits, so it meets none.
pub(super) const WAKER: Token = Token(usize::MAX);

/// The token of a shard's alarm.
const ALARM: Token = Token(usize::MAX - 1);

/// How much one turn does before others get theirs.
#[derive(Clone, Copy, Debug)]
pub(super) struct TurnBudget {
    /// Bytes read from one socket.
    pub(super) read_bytes: usize,
    /// Milliseconds that a shutdown waits for peers to answer.
    pub(super) shutdown_ms: u64,
    /// How long output may wait for more; zero: not at all.
    pub(super) flush_delay: Duration,
    /// Bytes of held output that are written at once.
    pub(super) held_bytes: usize,
}

#[derive(Debug)]
pub(super) struct EventLoop {
    shard: Shard,
    poll: Poll,
    inbox: Inbox,
    budget: TurnBudget,
    occupancy: Arc<Occupancy>,
    /// The way to the store, if there is one.
    store: Option<Sender<(Vec<Deposit>, usize)>>,
    /// By slot.
    sockets: Vec<Option<Entry>>,
    /// Slots with bytes to read.
    readable: VecDeque<u32>,
    /// Slots that wait for a congested shard to have room.
    paused: Vec<u32>,
    /// What every read fills; unmasked in place.
    scratch: Vec<u8>,
    started: Instant,
    stop_at: Option<Millis>,
    /// Flush batching, if it is on.
    hold: Option<(Hold, Alarm)>,
}

/// A socket with its remembered readiness.
#[derive(Debug)]
struct Entry {
    socket: Socket,
    readable: bool,
    writable: bool,
    /// The peer has closed its side: read until the end shows.
    ending: bool,
    /// Whether the slot stands in `readable` or `paused`.
    queued: bool,
}

impl EventLoop {
    pub(super) fn new(
        shard: Shard,
        poll: Poll,
        inbox: Inbox,
        budget: TurnBudget,
        occupancy: Arc<Occupancy>,
        store: Option<Sender<(Vec<Deposit>, usize)>>,
        started: Instant,
    ) -> io::Result<Self> {
        let hold = if budget.flush_delay.is_zero() {
            None
        } else {
            Some((Hold::new(budget.flush_delay), Alarm::new(poll.registry(), ALARM)?))
        };
        Ok(Self {
            shard,
            poll,
            inbox,
            budget,
            occupancy,
            store,
            sockets: Vec::new(),
            readable: VecDeque::new(),
            paused: Vec::new(),
            scratch: vec![0; budget.read_bytes],
            started,
            stop_at: None,
            hold,
        })
    }

    /// Turns until a shutdown is complete.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        loop {
            let may_sleep = self.inbox.fall_asleep();
            let polled = self.poll.poll(&mut events, self.patience(may_sleep));
            self.inbox.wake_up();
            match polled {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = self.now();
            self.shard.set_wall_clock(wall_clock());
            self.note_readiness(&events, now);
            self.read_sockets(now);
            self.take_parcels(now);
            self.shard.handle_timeout(now);
            self.send_mail();
            self.send_deposits();
            if self.may_write()? {
                self.flush(now);
            }
            self.shard.end_turn(now);
            self.close_sockets();
            if self.is_over(now) {
                return Ok(());
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the one clock read of a turn")]
    fn now(&self) -> Millis {
        let elapsed = Instant::now().duration_since(self.started);
        Millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }

    /// How long the poll may wait; `None`: until something happens.
    fn patience(&self, may_sleep: bool) -> Option<Duration> {
        let is_holding = self.hold.as_ref().is_some_and(|(hold, _)| hold.is_holding());
        if !may_sleep || !self.readable.is_empty() || (self.shard.has_dirty() && !is_holding) {
            return Some(Duration::ZERO);
        }
        let deadline = self.shard.next_deadline().into_iter().chain(self.stop_at).min()?;
        // A call's timeout may lie further ahead than a poller can count.
        Some(Duration::from_millis(deadline.since(self.now()).min(LONGEST_POLL_MS)))
    }

    fn note_readiness(&mut self, events: &Events, now: Millis) {
        for event in events {
            if matches!(event.token(), WAKER | ALARM) {
                continue;
            }
            let slot = event.token().0 as u32;
            let Some(entry) = self.entry(slot) else { continue };
            entry.ending |= event.is_read_closed() || event.is_error();
            if event.is_readable() || entry.ending {
                entry.readable = true;
                if !entry.queued {
                    entry.queued = true;
                    self.readable.push_back(slot);
                }
            }
            if event.is_writable() {
                self.sockets[slot as usize].as_mut().expect("looked up above").writable = true;
                if self.shard.has_output(slot) {
                    self.flush_one(slot, now);
                }
            }
        }
    }

    fn entry(&mut self, slot: u32) -> Option<&mut Entry> {
        self.sockets.get_mut(slot as usize)?.as_mut()
    }

    /// One read from each socket that has something; what is left waits for the next turn.
    fn read_sockets(&mut self, now: Millis) {
        for _ in 0..self.readable.len() {
            if self.shard.is_turn_full() {
                break;
            }
            let Some(slot) = self.readable.pop_front() else { break };
            if self.must_pause(slot) {
                self.paused.push(slot);
            } else {
                self.read_one(slot, now);
            }
        }
    }

    /// Whether a shard that this connection feeds is congested.
    fn must_pause(&mut self, slot: u32) -> bool {
        let feeds = self.shard.feeds(slot);
        if feeds.is_empty() {
            return false;
        }
        let congested = self.inbox.mesh().congested();
        if feeds.intersects(congested) && !self.inbox.await_room(feeds).is_empty() {
            return true;
        }
        self.shard.clear_feeds(slot);
        false
    }

    fn read_one(&mut self, slot: u32, now: Millis) {
        let Some(Some(entry)) = self.sockets.get_mut(slot as usize) else { return };
        entry.queued = false;
        match entry.socket.read(&mut self.scratch) {
            Ok(0) => self.shard.handle_lost(slot, now),
            Ok(length) => {
                // A short read means that the socket is empty, unless its end is near.
                entry.readable = length == self.scratch.len() || entry.ending;
                if entry.readable {
                    entry.queued = true;
                    self.readable.push_back(slot);
                }
                self.shard.receive(slot, &mut self.scratch[..length], now);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => entry.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                entry.queued = true;
                self.readable.push_back(slot);
            }
            Err(_) => self.shard.handle_lost(slot, now),
        }
    }

    fn take_parcels(&mut self, now: Millis) {
        for _ in 0..PARCELS_PER_TURN {
            if self.shard.is_turn_full() {
                break;
            }
            let Some(parcel) = self.inbox.take() else { break };
            match parcel {
                Parcel::Mail { batch, .. } => self.shard.handle_mail(batch, now),
                Parcel::Accepted(sockets) => {
                    for accepted in sockets {
                        self.take_in(accepted, now);
                    }
                }
                Parcel::Resume => self.readable.extend(self.paused.drain(..)),
                Parcel::Shutdown => {
                    self.shard.begin_shutdown(now);
                    self.stop_at = Some(now + self.budget.shutdown_ms);
                }
            }
        }
    }

    fn take_in(&mut self, accepted: Accepted, now: Millis) {
        // A slot is freed only together with its socket, so this one is free here as well.
        self.close_sockets();
        let Accepted { mut socket, rules, peer, admission } = accepted;
        let slot = self.shard.open(&rules, peer, admission, now);
        if socket.register(self.poll.registry(), Token(slot as usize)).is_err() {
            self.shard.handle_lost(slot, now);
        }
        if self.sockets.len() <= slot as usize {
            self.sockets.resize_with(slot as usize + 1, || None);
        }
        let entry = Entry { socket, readable: false, writable: true, ending: false, queued: false };
        let previous = self.sockets[slot as usize].replace(entry);
        debug_assert!(previous.is_none(), "a slot is free when it is given out");
    }

    /// One batch and at most one wake per destination; meta events behind everything else.
    fn send_mail(&mut self) {
        self.send_outboxes();
        if self.shard.release_meta_events() {
            self.send_outboxes();
        }
    }

    fn send_outboxes(&mut self) {
        for to in self.inbox.mesh().shards() {
            if let Some((batch, weight)) = self.shard.take_outbox(to) {
                self.inbox.mesh().send(to, Parcel::Mail { batch, weight });
            }
        }
    }

    fn send_deposits(&mut self) {
        let Some((deposits, weight)) = self.shard.take_deposits() else { return };
        let store = self.store.as_ref().expect("what is durable has a store (config::check)");
        self.inbox.mesh().queues(HISTORY, weight);
        // A store that has ended brings the router down; until then nobody is answered.
        let _ = store.send((deposits, weight));
    }

    /// Whether what waits is to be written in this turn; if not, the alarm is set.
    fn may_write(&mut self) -> io::Result<bool> {
        let Some((hold, alarm)) = &mut self.hold else { return Ok(true) };
        if !self.shard.has_dirty() && !hold.is_holding() {
            return Ok(true);
        }
        let output = Output {
            joined: self.shard.frames_joined(),
            connections: self.shard.dirty_count(),
            is_pressing: self.stop_at.is_some()
                || self.shard.turn_bytes() >= self.budget.held_bytes,
        };
        #[expect(clippy::disallowed_methods, reason = "a delay below the turns' resolution")]
        let now = Instant::now();
        let may_write = hold.may_write(output, now);
        if let Some(deadline) = hold.deadline() {
            alarm.ring_by(deadline, now)?;
        }
        Ok(may_write)
    }

    fn flush(&mut self, now: Millis) {
        for _ in 0..CONNECTIONS_WRITTEN_PER_TURN {
            let Some(slot) = self.shard.take_dirty() else { break };
            self.flush_one(slot, now);
        }
        if let Some((hold, _)) = &mut self.hold {
            hold.written(!self.shard.has_dirty());
        }
    }

    fn flush_one(&mut self, slot: u32, now: Millis) {
        let Some(Some(entry)) = self.sockets.get_mut(slot as usize) else { return };
        if !entry.writable {
            self.shard.hold(slot, now);
            return;
        }
        match self.shard.flush(slot, &mut |bytes| entry.socket.write(bytes), now) {
            Flushed::Progress => {}
            Flushed::Full => entry.writable = false,
            Flushed::Farewell => entry.socket.shut_down_writing(),
            Flushed::Lost => self.shard.handle_lost(slot, now),
        }
    }

    fn close_sockets(&mut self) {
        for slot in self.shard.take_closed() {
            if let Some(entry) = self.sockets.get_mut(slot as usize) {
                *entry = None;
            }
            self.occupancy.leave(self.shard.id());
        }
    }

    fn is_over(&self, now: Millis) -> bool {
        let Some(stop_at) = self.stop_at else { return false };
        now >= stop_at || self.shard.connection_count() == 0
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

const EVENTS_PER_POLL: usize = 1024;

/// Parcels taken in one turn: what they carry is bounded by [`Shard::is_turn_full`], what they cost
/// besides by this.
const PARCELS_PER_TURN: usize = 256;

/// Connections written in one turn, so that a huge fan-out does not keep others from being read.
const CONNECTIONS_WRITTEN_PER_TURN: usize = 1024;

/// An hour: waking up for nothing that seldom costs nothing.
const LONGEST_POLL_MS: u64 = 3_600_000;
