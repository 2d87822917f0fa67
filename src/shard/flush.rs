//! What the turn takes out of a shard: bytes to write and sockets to close.

use std::cmp::Reverse;
use std::io::{ErrorKind, Result};
use std::ops::Range;

use super::Shard;
use super::connection::{Connection, Phase};
use super::outbound::Outbound;
use crate::clock::Millis;
use crate::router::Slot;
use crate::transport::{Batching, GatheredBatch};

/// What became of bytes that a socket was offered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// So many need not be offered again.
    pub(super) taken: usize,
    /// Bytes of these and earlier ones that wait all the same ([`super::Wire::kept`]).
    pub(super) kept: usize,
}

/// How far the output of one connection got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// All of it was written, or as much as one turn may write.
    Progress,
    /// Nothing was offered to the socket: the connection is gone, or corked.
    Held,
    /// The socket took no more: wait until it is writable.
    Full,
    /// The socket failed.
    Lost,
    /// The last byte of a closing connection was written: shut down the sending side.
    Farewell,
}

impl Shard {
    /// The next connection that has something to write, or nothing more to say.
    pub(super) fn take_dirty(&mut self) -> Option<Slot> {
        loop {
            let slot = self.cx.outbound.dirty.pop_front()?;
            // The connection may have gone since, and its slot may serve another.
            if let Some(connection) = self.connections.get_mut(slot) {
                connection.dirty = false;
                return Some(slot);
            }
        }
    }

    pub fn has_dirty(&self) -> bool {
        !self.cx.outbound.dirty.is_empty()
    }

    /// How many connections have something to write.
    pub fn dirty_count(&self) -> usize {
        self.cx.outbound.dirty.len()
    }

    /// Whether bytes wait for this connection.
    pub fn has_output(&self, slot: Slot) -> bool {
        self.connections.get(slot).is_some_and(|c| !c.output.is_empty())
    }

    /// How many bytes wait for this connection.
    pub fn waiting_bytes(&self, slot: Slot) -> usize {
        self.connections.get(slot).map_or(0, |c| c.output.waiting_bytes())
    }

    /// Events that the session in a slot has missed so far because its queue was full.
    pub fn events_dropped(&self, slot: Slot) -> u64 {
        self.connections.get(slot).map_or(0, |c| c.traffic.events_dropped)
    }

    /// Writes what waits for a connection; `write` is its socket.
    pub(super) fn flush(
        &mut self,
        slot: Slot,
        write: &mut impl FnMut(&[u8]) -> Result<Sent>,
        now: Millis,
    ) -> Flushed {
        let Some((connection, woken)) = self.connections.get_waking(slot) else {
            return Flushed::Progress;
        };
        if connection.is_held {
            return Flushed::Held;
        }
        let limit = self.cx.work.limits().connection_bytes;
        let flushed = self.cx.outbound.write(slot, connection, write, limit, now);
        let hard_bytes = self.cx.edition.settings.output.hard_bytes;
        let waiting = connection.output.waiting_bytes();
        if flushed != Flushed::Lost && connection.input.relieve(waiting, hard_bytes) {
            woken.push(slot);
        }
        if flushed == Flushed::Full {
            self.keep_rest(slot, now);
        } else if flushed == Flushed::Progress && connection.output.is_empty() {
            connection.clock.blocked_since = None;
            connection.clock.over_soft_since = None;
            connection.dropping = false;
            self.cx.outbound.count_refused(slot, connection);
            if matches!(connection.phase, Phase::Closing) {
                connection.phase = Phase::Parted;
                return Flushed::Farewell;
            }
        } else if flushed == Flushed::Progress {
            self.cx.outbound.count_refused(slot, connection);
        }
        flushed
    }

    /// Keeps what waits for a connection whose socket is known to be full.
    pub(super) fn hold_back(&mut self, slot: Slot, now: Millis) {
        if self.has_output(slot) {
            self.keep_rest(slot, now);
        }
        self.forget_opened_cork(slot);
    }

    /// Forgets the frames of this turn once all of them are written or kept elsewhere.
    pub(super) fn end_turn(&mut self, now: Millis) {
        if self.cx.outbound.dirty.is_empty() {
            self.cx.outbound.arena.clear();
        }
        self.cx.outbound.report_deflated();
        if self.cx.counters.refused_bytes.get() > 0 {
            self.hold_total_output(now);
        }
        if self.cx.counters.input_bytes.get() > 0 {
            self.hold_total_input(now);
        }
    }

    /// The socket is full: what it did not take moves from the arena to the connection's backlog.
    fn keep_rest(&mut self, slot: Slot, now: Millis) {
        let connection = &mut self.connections[slot];
        connection.clock.blocked_since.get_or_insert(now);
        self.cx.outbound.retain_rest(slot, connection, now);
        let over_soft =
            connection.output.waiting_bytes() > self.cx.edition.settings.output.soft_bytes;
        if over_soft {
            connection.clock.over_soft_since.get_or_insert(now);
        } else {
            connection.clock.over_soft_since = None;
        }
        self.rearm(slot, now);
        // At once and not at the end of the turn: one turn fills many backlogs.
        self.hold_total_output(now);
    }

    /// While the sockets of all connections together have refused more than the total, each shard
    /// that holds more than its share of it ends its worst consumers: those that have refused most.
    /// What no socket was offered yet lies in the arena once and counts for nobody.
    fn hold_total_output(&mut self, now: Millis) {
        let total = self.cx.edition.settings.output.total_bytes as u64;
        let share = total / self.cx.router.shard_count() as u64;
        if self.cx.counters.refused_bytes.get() <= share {
            return;
        }
        let all = || self.cx.router.counters().iter().map(|c| c.refused_bytes.get()).sum::<u64>();
        if all() <= total {
            return;
        }
        if self.corks().now > 0 {
            self.uncork_all(now);
        }
        let mut below = (usize::MAX, Slot::MAX);
        while self.cx.counters.refused_bytes.get() > share
            && let Some(worst) = self.cx.outbound.slowest(below)
        {
            below = worst;
            let connection = &self.connections[worst.1];
            if !connection.is_closing() {
                self.disconnect_slow(worst.1, now);
            } else if !connection.dirty {
                // It was offered its farewell before, and its last bytes cost others their place.
                self.remove(worst.1);
            }
        }
        self.settle(now);
    }

    /// The same for what waits to be dealt with, above all messages that have not come whole: the
    /// connections go that have kept the router waiting longest. Whom the router keeps waiting
    /// comes behind them all, and of those who have sent most.
    fn hold_total_input(&mut self, now: Millis) {
        let total = self.cx.limits().input_total_bytes as u64;
        let share = total / self.cx.router.shard_count() as u64;
        if self.cx.counters.input_bytes.get() <= share {
            return;
        }
        let all = || self.cx.router.counters().iter().map(|c| c.input_bytes.get()).sum::<u64>();
        if all() <= total {
            return;
        }
        let rank = |connection: &Connection| match connection.input.waits_since() {
            Some(since) => (false, since, Reverse(0)),
            None => (true, Millis(0), Reverse(connection.input_bytes())),
        };
        let mut worst: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.input_bytes() > 0)
            .map(|(slot, connection)| (rank(connection), slot))
            .collect();
        worst.sort_unstable();
        for (_, slot) in worst {
            // Down to seven eighths, so that not every turn has to sort anew.
            if self.cx.counters.input_bytes.get() <= share - share / 8 {
                break;
            }
            self.disconnect_incomplete(slot, now);
        }
        self.settle(now);
    }
}

impl Outbound {
    fn write(
        &mut self,
        slot: Slot,
        connection: &mut Connection,
        write: &mut impl FnMut(&[u8]) -> Result<Sent>,
        limit_bytes: usize,
        now: Millis,
    ) -> Flushed {
        if connection.is_batched {
            return self.write_batches(slot, connection, write, limit_bytes, now);
        }
        let mut written_bytes = 0;
        while !connection.output.is_empty() {
            if written_bytes >= limit_bytes {
                self.mark_dirty(slot, connection);
                return Flushed::Progress;
            }
            let bytes = connection.output.next_write(&self.arena, &mut self.gathered, WRITE_BYTES);
            let offered = bytes.len();
            match write(bytes) {
                Ok(Sent { taken: 0, kept: 0 }) if offered > 0 => return Flushed::Lost,
                Ok(sent) => {
                    self.advance(connection, sent, now);
                    written_bytes += sent.taken;
                    if self.note_sent(connection, offered, sent, now) {
                        return Flushed::Full;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Flushed::Full,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Flushed::Lost,
            }
        }
        Flushed::Progress
    }

    /// The same for a peer that has asked for batches: each frame has as many of the messages that
    /// wait as it has room for.
    #[cold]
    #[inline(never)]
    fn write_batches(
        &mut self,
        slot: Slot,
        connection: &mut Connection,
        write: &mut impl FnMut(&[u8]) -> Result<Sent>,
        limit_bytes: usize,
        now: Millis,
    ) -> Flushed {
        let flushed = self.write_gathered(slot, connection, write, limit_bytes, now);
        // One message may be much longer than what is written at once.
        self.gathered.clear();
        self.gathered.shrink_to(2 * WRITE_BYTES);
        flushed
    }

    fn write_gathered(
        &mut self,
        slot: Slot,
        connection: &mut Connection,
        write: &mut impl FnMut(&[u8]) -> Result<Sent>,
        limit_bytes: usize,
        now: Millis,
    ) -> Flushed {
        let mut written_bytes = 0;
        while !connection.output.is_empty() {
            if written_bytes >= limit_bytes {
                self.mark_dirty(slot, connection);
                return Flushed::Progress;
            }
            let batching = connection.transport.batching().unwrap_or(Batching::Undecided);
            let form = (connection.framing, batching);
            let output = &connection.output;
            let batch = output.gather_batch(&self.arena, form, &mut self.gathered, WRITE_BYTES);
            let batch = batch.map(|GatheredBatch { start, waiting_bytes }| {
                let encoding = (connection.codec, connection.framing);
                let frame = if connection.transport.is_deflated() {
                    let min_bytes = self.limits.deflate_min_bytes;
                    self.deflater.finish_batch(encoding, &mut self.gathered, start, min_bytes)
                } else {
                    connection.framing.finish(&mut self.gathered, start)
                };
                (frame, waiting_bytes)
            });
            // Of the turn, and of the connection: the rest comes in a later one.
            let cost = self.take_deflate_cost();
            self.written += cost;
            written_bytes += cost;
            let bytes = match &batch {
                // No more than TLS takes at once: who takes less than it is offered is full.
                Some((frame, _)) => {
                    let frame = &self.gathered[frame.clone()];
                    &frame[..frame.len().min(WRITE_BYTES)]
                }
                None => match output.alone_bytes(&self.arena).min(WRITE_BYTES) {
                    0 => &[],
                    alone => output.next_write(&self.arena, &mut self.gathered, alone),
                },
            };
            let offered = bytes.len();
            match judge(write(bytes), offered) {
                Ok(sent) => {
                    match batch {
                        Some((frame, waiting)) => {
                            self.advance_batch(connection, frame, waiting, sent, now);
                        }
                        None => self.advance(connection, sent, now),
                    }
                    written_bytes += sent.taken;
                    if self.note_sent(connection, offered, sent, now) {
                        return Flushed::Full;
                    }
                }
                Err(Some(flushed)) => return flushed,
                Err(None) => {}
            }
        }
        Flushed::Progress
    }

    /// Takes note of what a socket has taken: `true` if it takes no more.
    #[inline(always)]
    fn note_sent(
        &mut self,
        connection: &mut Connection,
        offered: usize,
        sent: Sent,
        now: Millis,
    ) -> bool {
        connection.traffic.bytes_sent += sent.taken as u64;
        self.note_written(sent.taken);
        if connection.clock.blocked_since.take().is_some() {
            // A full socket takes more only once its peer has.
            connection.clock.note_life(now);
        }
        let is_full = sent.taken < offered || sent.kept > 0;
        if is_full {
            connection.clock.blocked_since = Some(now);
        }
        is_full
    }

    /// Counts what the wire keeps as output that waits.
    #[inline(always)]
    fn advance(&self, connection: &mut Connection, sent: Sent, now: Millis) {
        let Sent { taken, kept } = sent;
        let before = connection.output.kept_bytes();
        if kept == 0 && before == 0 {
            return connection.output.advance(taken);
        }
        connection.output.advance_keeping(&self.arena, taken, kept, now);
        self.counters.output_bytes.add(kept as u64);
        self.counters.output_bytes.subtract(before as u64);
    }

    /// The same of a batch. What waits changes its length with the frame that it is written in.
    fn advance_batch(
        &self,
        connection: &mut Connection,
        frame: Range<usize>,
        covered: usize,
        sent: Sent,
        now: Millis,
    ) {
        let before = connection.output.kept_bytes();
        let (frame, Sent { taken, kept }) = (&self.gathered[frame], sent);
        connection.output.advance_batch(&self.arena, (frame, covered), (taken, kept), now);
        let (now_bytes, before_bytes) = if taken > 0 { (frame.len(), covered) } else { (0, 0) };
        self.counters.output_bytes.add((now_bytes + kept) as u64);
        self.counters.output_bytes.subtract((before_bytes + before) as u64);
    }
}

/// What a write has come to; `None` as an error: nothing, and it may be tried again.
#[inline]
fn judge(written: Result<Sent>, offered: usize) -> std::result::Result<Sent, Option<Flushed>> {
    match written {
        Ok(Sent { taken: 0, kept: 0 }) if offered > 0 => Err(Some(Flushed::Lost)),
        Ok(sent) => Ok(sent),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(Some(Flushed::Full)),
        Err(error) if error.kind() == ErrorKind::Interrupted => Err(None),
        Err(_) => Err(Some(Flushed::Lost)),
    }
}

/// Bytes offered to a socket at once.
const WRITE_BYTES: usize = 64 * 1024;
