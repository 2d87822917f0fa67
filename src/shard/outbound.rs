//! The way out: messages become frames in the turn's arena, frames queue at their connections.
//!
//! Every byte that leaves a shard passes [`Outbound::queue`] or one of its likes, which mark the
//! connection to be written and hold the budget. Nothing is written to a socket here.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::ages::Ages;
use super::connection::Connection;
use crate::clock::Millis;
use crate::codec::{self, Codec, EncodeError};
use crate::limits::{OutputLimits, SlowConsumerPolicy};
use crate::router::{Counters, Measures, Slot};
use crate::transport::{Arena, Class, Deflater, Framing, Span, Tally};
use crate::wamp::RouterMessage;

/// Why a message could not be queued for a peer that is otherwise well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendError {
    /// The peer's serializer cannot express the payload (BP-PV-05).
    Encoding,
    /// The peer's transport does not accept a message of this size (TR-SZ-01).
    TooLarge,
}

/// What became of an EVENT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    Yes,
    /// The peer does not take its output, and the policy was applied.
    Dropped,
    /// So much waits that the socket must be offered it first: try again in a later turn.
    NotYet,
}

#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) arena: Arena,
    /// Connections with something to write, in the order in which they got it.
    pub(super) dirty: VecDeque<Slot>,
    /// Connections whose queue is full, to be ended when the current input is handled.
    pub(super) overflowed: Vec<Slot>,
    /// Connections for which events begin to be dropped, to be logged.
    pub(super) dropping: Vec<Slot>,
    /// Connections that an event did not fit, one per event, to be logged.
    pub(super) unfit: Vec<(Slot, SendError)>,
    /// What the transport of the connection at hand answers of its own, and is not queued yet.
    pub(super) control: Vec<u8>,
    /// Scratch space in which the frames of one write are put together.
    pub(super) gathered: Vec<u8>,
    /// Frames so far that found their connection marked already.
    pub(super) coalesced: u64,
    /// Bytes written in this turn.
    pub(super) written: usize,
    pub(super) deflater: Deflater,
    /// Of the bytes that it has worked on, those that somebody was charged for.
    deflate_charged: usize,
    /// Connections whose sockets are full, by the bytes that they have refused.
    slow: BTreeSet<(usize, Slot)>,
    /// Connections that hold refused bytes, by the age of the oldest.
    ages: Ages,
    /// Some event waits for a connection to be offered what is queued for it.
    is_awaited: bool,
    /// Bytes that were queued and are not in the gauge yet.
    unreported: u64,
    arena_bytes: usize,
    pub(super) limits: OutputLimits,
    pub(super) counters: Arc<Counters>,
    measures: Arc<Measures>,
    /// When the turn began.
    now: Millis,
}

impl Outbound {
    pub(super) fn new(
        limits: OutputLimits,
        arena_bytes: usize,
        (counters, measures): (Arc<Counters>, Arc<Measures>),
    ) -> Self {
        Self {
            arena: Arena::default(),
            dirty: VecDeque::new(),
            overflowed: Vec::new(),
            dropping: Vec::new(),
            unfit: Vec::new(),
            control: Vec::new(),
            gathered: Vec::new(),
            coalesced: 0,
            written: 0,
            deflater: Deflater::default(),
            deflate_charged: 0,
            slow: BTreeSet::new(),
            ages: Ages::default(),
            is_awaited: false,
            unreported: 0,
            arena_bytes,
            limits,
            counters,
            measures,
            now: Millis::default(),
        }
    }

    /// Other limits from now on.
    pub(super) const fn set_limits(&mut self, limits: OutputLimits) {
        self.limits = limits;
    }

    /// Whether what is queued should be written before more is made: a healthy peer must get the
    /// chance to take what waits for it.
    #[inline]
    pub(super) const fn is_full(&self) -> bool {
        let compressed = DEFLATE_COST * self.deflater.worked_bytes();
        self.arena.len() + compressed >= self.arena_bytes || self.is_awaited
    }

    /// Whether some connection could not be queued to as it should.
    #[inline]
    pub(super) const fn has_troubles(&self) -> bool {
        !self.overflowed.is_empty() || !self.dropping.is_empty() || !self.unfit.is_empty()
    }

    /// Bytes that were compressed since the last call, at what that costs.
    #[inline]
    pub(super) const fn take_deflate_cost(&mut self) -> usize {
        let before = std::mem::replace(&mut self.deflate_charged, self.deflater.worked_bytes());
        DEFLATE_COST * (self.deflater.worked_bytes() - before)
    }

    /// Ends a turn: counts what was compressed in it.
    pub(super) fn report_deflated(&mut self) {
        if self.deflater.worked_bytes() == 0 && self.deflater.has_no_batches() {
            return;
        }
        let Tally { messages, plain_bytes, compressed_bytes, .. } = self.deflater.take_tally();
        self.deflate_charged = 0;
        self.deflater.forget_batches();
        self.counters.deflated_messages.add(messages);
        self.counters.deflated_plain_bytes.add(plain_bytes);
        self.counters.deflated_bytes.add(compressed_bytes);
    }

    /// Begins a turn: what was queued before has been offered to its sockets, but for those that
    /// are still marked to be written.
    pub(super) const fn begin_turn(&mut self, now: Millis) {
        self.now = now;
        self.is_awaited = false;
        self.written = 0;
    }

    /// Encodes one frame for peers that accept messages of up to `limit_bytes`.
    pub(super) fn encode(
        &mut self,
        (codec, framing): (Codec, Framing),
        limit_bytes: usize,
        message: &RouterMessage<'_>,
    ) -> Result<Span, SendError> {
        let out = self.arena.bytes_mut();
        let before = out.len();
        let start = framing.begin(out);
        let error = match codec::encode_within(codec, message, limit_bytes, out) {
            Ok(()) => {
                let frame = if framing.compresses() {
                    let min_bytes = self.limits.deflate_min_bytes;
                    self.deflater.finish(framing, out, start, min_bytes)
                } else {
                    framing.finish(out, start)
                };
                self.measures.note_sent(message);
                return Ok(self.arena.span(frame));
            }
            Err(EncodeError::TooLarge { .. }) => SendError::TooLarge,
            Err(_) => SendError::Encoding,
        };
        out.truncate(before);
        Err(error)
    }

    /// Encodes one frame, unless it is more than a peer can have wait that does not take what waits
    /// already: `None` then.
    pub(super) fn encode_fitting(
        &mut self,
        connection: &Connection,
        message: &RouterMessage<'_>,
    ) -> Result<Option<Span>, SendError> {
        let before = self.arena.len();
        let encoding = (connection.codec, connection.framing);
        let span = self.encode(encoding, connection.peer_limit_bytes, message)?;
        if self.is_choked(connection, span.len()) {
            self.arena.bytes_mut().truncate(before);
            return Ok(None);
        }
        Ok(Some(span))
    }

    /// Queues a frame that is never dropped. If the peer does not take what waits already, the
    /// connection ends.
    pub(super) fn queue(
        &mut self,
        slot: Slot,
        connection: &mut Connection,
        span: Span,
        class: Class,
    ) -> bool {
        if self.is_over_budget(connection, span.len()) && connection.is_blocked() {
            self.overflow(slot, connection);
            return false;
        }
        connection.output.push(span, class);
        self.mark(slot, connection, span.len());
        true
    }

    /// Queues an EVENT, which meets the policy if the peer does not take what waits already.
    #[inline(always)]
    pub(super) fn queue_event(
        &mut self,
        slot: Slot,
        connection: &mut Connection,
        span: Span,
    ) -> Queued {
        if self.is_over_budget(connection, span.len()) {
            match self.make_way(slot, connection, span.len()) {
                Queued::Yes => {}
                refused => return refused,
            }
        }
        connection.output.push(span, Class::Event);
        self.unreported += span.len() as u64;
        self.mark_dirty(slot, connection);
        Queued::Yes
    }

    /// Whether an event of at least `bytes` would be queued; if not, nothing need be encoded for
    /// it.
    pub(super) fn admit_event(
        &mut self,
        slot: Slot,
        connection: &mut Connection,
        bytes: usize,
    ) -> Queued {
        let may_drop_oldest = self.limits.policy == SlowConsumerPolicy::DropOldest;
        if !self.is_over_budget(connection, bytes) || connection.is_blocked() && may_drop_oldest {
            return Queued::Yes;
        }
        self.make_way(slot, connection, bytes)
    }

    /// Whether a message of so many bytes is more than a peer can have wait that does not take
    /// what waits already.
    pub(super) const fn is_choked(&self, connection: &Connection, bytes: usize) -> bool {
        self.is_over_budget(connection, bytes) && connection.is_blocked()
    }

    /// Queues transport control bytes ahead of waiting messages (TR-RS-08).
    pub(super) fn queue_control(&mut self, slot: Slot, connection: &mut Connection, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.is_choked(connection, bytes.len()) {
            self.overflow(slot, connection);
            return;
        }
        let span = self.arena.put(bytes);
        connection.output.push_control(&self.arena, span, self.now);
        self.count_refused(slot, connection);
        self.mark(slot, connection, span.len());
    }

    /// Queues what the transport of a connection has to say of its own.
    pub(super) fn queue_gathered(&mut self, slot: Slot, connection: &mut Connection) {
        let mut control = std::mem::take(&mut self.control);
        self.queue_control(slot, connection, &control);
        control.clear();
        self.control = control;
    }

    /// Queues what `write` appends, which must be the last bytes, whatever the budget says.
    pub(super) fn queue_last(
        &mut self,
        slot: Slot,
        connection: &mut Connection,
        write: impl FnOnce(&mut Connection, &mut Vec<u8>),
    ) {
        let out = self.arena.bytes_mut();
        let start = out.len();
        write(connection, out);
        let end = out.len();
        if end > start {
            let span = self.arena.span(start..end);
            connection.output.push(span, Class::Reply);
            self.mark(slot, connection, span.len());
        }
    }

    /// Forgets what still waits for a connection.
    pub(super) fn discard(&mut self, slot: Slot, connection: &mut Connection) {
        self.report();
        self.counters.output_bytes.subtract(connection.output.waiting_bytes() as u64);
        connection.output.clear();
        self.count_refused(slot, connection);
    }

    /// Forgets what waits for a connection, but for a frame that is partly written.
    pub(super) fn discard_unbegun(&mut self, slot: Slot, connection: &mut Connection) {
        self.report();
        let dropped = connection.output.discard_unbegun(&self.arena, self.now);
        self.counters.output_bytes.subtract(dropped as u64);
        self.recount_refused(slot, connection);
    }

    /// What the arena holds for a connection moves to its backlog.
    pub(super) fn retain_rest(&mut self, slot: Slot, connection: &mut Connection, now: Millis) {
        connection.output.retain_rest(&self.arena, now);
        self.recount_refused(slot, connection);
    }

    /// Brings gauge and rankings up to date with the backlog of a connection, which has lost bytes
    /// or got some. Where it may have done both, and have as many as before,
    /// [`Self::recount_refused`] does.
    #[inline]
    pub(super) fn count_refused(&mut self, slot: Slot, connection: &mut Connection) {
        if connection.refused() != connection.refused {
            self.recount_refused(slot, connection);
        }
    }

    #[cold]
    fn recount_refused(&mut self, slot: Slot, connection: &mut Connection) {
        let now = connection.refused();
        let before = std::mem::replace(&mut connection.refused, now);
        let gauge = &self.counters.refused_bytes;
        gauge.set(gauge.get() + now.bytes as u64 - before.bytes as u64);
        self.measures.refused.change(before.bytes as u64, now.bytes as u64);
        if before.rank > 0 {
            self.slow.remove(&(before.rank, slot));
        }
        if now.rank > 0 {
            self.slow.insert((now.rank, slot));
        }
        self.ages.set(slot, connection.output.oldest());
        self.measures.oldest.set(self.ages.oldest());
    }

    /// Of the connections whose sockets are full the one that has refused most, but for those from
    /// `below` on: its bytes and slot.
    pub(super) fn slowest(&self, below: (usize, Slot)) -> Option<(usize, Slot)> {
        self.slow.range(..below).next_back().copied()
    }

    /// How many connections are counted as holding refused bytes.
    pub(super) fn blocked_count(&self) -> u64 {
        self.measures.refused.read().iter().sum()
    }

    pub(super) fn slow_count(&self) -> usize {
        self.slow.len()
    }

    pub(super) const fn ages(&self) -> &Ages {
        &self.ages
    }

    /// Brings the gauge of waiting bytes up to date: once for all receivers of an event.
    pub(super) fn report(&mut self) {
        self.counters.output_bytes.add(std::mem::take(&mut self.unreported));
    }

    fn mark(&mut self, slot: Slot, connection: &mut Connection, bytes: usize) {
        self.counters.output_bytes.add(bytes as u64);
        self.mark_dirty(slot, connection);
    }

    pub(super) fn note_written(&mut self, bytes: usize) {
        self.written += bytes;
        self.counters.output_bytes.subtract(bytes as u64);
        self.counters.bytes_sent.add(bytes as u64);
    }

    #[inline]
    pub(super) fn mark_dirty(&mut self, slot: Slot, connection: &mut Connection) {
        if connection.dirty {
            self.coalesced += 1;
        } else {
            connection.dirty = true;
            self.dirty.push_back(slot);
        }
    }

    #[inline]
    const fn is_over_budget(&self, connection: &Connection, bytes: usize) -> bool {
        let waiting = connection.output.waiting_bytes();
        waiting + bytes > self.limits.hard_bytes && waiting > 0
    }

    /// What happens to an event of so many bytes for a connection that is over its budget. Slow is
    /// who has refused bytes: who was not offered them yet must be.
    #[cold]
    fn make_way(&mut self, slot: Slot, connection: &mut Connection, bytes: usize) -> Queued {
        if !connection.is_blocked() {
            if let Some(cork) = &mut connection.cork {
                cork.is_full = true;
                self.mark_dirty(slot, connection);
            }
            self.is_awaited = true;
            return Queued::NotYet;
        }
        if self.limits.policy == SlowConsumerPolicy::DropOldest {
            self.report();
            let over = connection.output.waiting_bytes() + bytes - self.limits.hard_bytes;
            let dropped = connection.output.drop_oldest_events(&self.arena, over, self.now);
            self.note_dropped(slot, connection, dropped.frames as u64);
            self.counters.output_bytes.subtract(dropped.bytes as u64);
            self.recount_refused(slot, connection);
            if dropped.bytes >= over {
                return Queued::Yes;
            }
        }
        self.note_dropped(slot, connection, 1);
        if self.limits.policy == SlowConsumerPolicy::Disconnect {
            self.overflow(slot, connection);
        }
        Queued::Dropped
    }

    fn note_dropped(&mut self, slot: Slot, connection: &mut Connection, events: u64) {
        self.counters.events_dropped_slow.add(events);
        connection.traffic.events_dropped += events;
        let ends_session = self.limits.policy == SlowConsumerPolicy::Disconnect;
        if events > 0 && !connection.dropping && !ends_session {
            connection.dropping = true;
            self.dropping.push(slot);
        }
    }

    fn overflow(&mut self, slot: Slot, connection: &mut Connection) {
        if !connection.overflowed {
            connection.overflowed = true;
            connection.session_id = None;
            self.overflowed.push(slot);
        }
    }
}

/// To compress a byte takes the time of so many that are encoded or written.
pub(super) const DEFLATE_COST: usize = 8;
