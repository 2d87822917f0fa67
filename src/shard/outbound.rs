//! The way out: messages become frames in the turn's arena, frames queue at their connections.
//!
//! Every byte that leaves a shard passes [`Outbound::queue`], which marks the connection to be
//! written and holds the budget. Nothing is written to a socket here.

use std::collections::VecDeque;
use std::sync::Arc;

use super::connection::Connection;
use crate::codec::{self, Codec};
use crate::limits::{OutputLimits, SlowConsumerPolicy};
use crate::router::Counters;
use crate::transport::{Arena, Class, Framing, Span};
use crate::wamp::RouterMessage;

/// Why a message could not be queued for a peer that is otherwise well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendError {
    /// The peer's serializer cannot express the payload (BP-PV-05).
    Encoding,
    /// The peer's transport does not accept a message of this size (TR-SZ-01).
    TooLarge,
}

#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) arena: Arena,
    /// Connections with something to write, in the order in which they got it.
    pub(super) dirty: VecDeque<u32>,
    /// Connections whose queue is full, to be ended when the current input is handled.
    pub(super) overflowed: Vec<u32>,
    /// Connections for which events begin to be dropped, to be logged.
    pub(super) dropping: Vec<u32>,
    /// Connections that an event did not fit, one per event, to be logged.
    pub(super) unfit: Vec<(u32, SendError)>,
    /// Scratch space in which the frames of one write are put together.
    pub(super) gathered: Vec<u8>,
    /// Frames so far that found their connection marked already.
    pub(super) joined: u64,
    limits: OutputLimits,
    counters: Arc<Counters>,
}

impl Outbound {
    pub(super) fn new(limits: OutputLimits, counters: Arc<Counters>) -> Self {
        Self {
            arena: Arena::default(),
            dirty: VecDeque::new(),
            overflowed: Vec::new(),
            dropping: Vec::new(),
            unfit: Vec::new(),
            gathered: Vec::new(),
            joined: 0,
            limits,
            counters,
        }
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
        let body = out.len();
        let error = match codec::encode(codec, message, out) {
            Ok(()) if out.len() - body <= limit_bytes => {
                let frame = framing.finish(out, start);
                return Ok(self.arena.span(frame));
            }
            Ok(()) => SendError::TooLarge,
            Err(_) => SendError::Encoding,
        };
        out.truncate(before);
        Err(error)
    }

    /// Queues a frame, within the connection's budget. Over it, an EVENT meets the policy, and
    /// for anything else the connection ends (DESIGN section 8).
    pub(super) fn queue(
        &mut self,
        slot: u32,
        connection: &mut Connection,
        span: Span,
        class: Class,
    ) -> bool {
        let waiting = connection.output.waiting_bytes();
        if waiting > 0 && waiting + span.len() > self.limits.hard_bytes {
            let fits = class == Class::Event && self.make_room(slot, connection, span.len());
            if !fits {
                self.overflow(slot, connection, class);
                return false;
            }
        }
        connection.output.push(span, class);
        self.mark(slot, connection, span.len());
        true
    }

    /// Queues transport control bytes ahead of waiting messages (TR-RS-08).
    pub(super) fn queue_control(&mut self, slot: u32, connection: &mut Connection, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let waiting = connection.output.waiting_bytes();
        if waiting > 0 && waiting + bytes.len() > self.limits.hard_bytes {
            self.overflow(slot, connection, Class::Reply);
            return;
        }
        let span = self.arena.put(bytes);
        connection.output.push_control(&self.arena, span);
        self.mark(slot, connection, span.len());
    }

    /// Queues bytes that must be the last ones, whatever the budget says.
    pub(super) fn queue_last(&mut self, slot: u32, connection: &mut Connection, bytes: &[u8]) {
        if !bytes.is_empty() {
            let span = self.arena.put(bytes);
            connection.output.push(span, Class::Reply);
            self.mark(slot, connection, span.len());
        }
    }

    /// Forgets what still waits for a connection.
    pub(super) fn discard(&self, connection: &mut Connection) {
        self.counters.output_bytes.subtract(connection.output.waiting_bytes() as u64);
        connection.output.clear();
    }

    fn mark(&mut self, slot: u32, connection: &mut Connection, bytes: usize) {
        self.counters.output_bytes.add(bytes as u64);
        self.mark_dirty(slot, connection);
    }

    pub(super) fn note_written(&self, bytes: usize) {
        self.counters.output_bytes.subtract(bytes as u64);
        self.counters.bytes_sent.add(bytes as u64);
    }

    pub(super) fn mark_dirty(&mut self, slot: u32, connection: &mut Connection) {
        if connection.dirty {
            self.joined += 1;
        } else {
            connection.dirty = true;
            self.dirty.push_back(slot);
        }
    }

    /// Drops the oldest waiting events if the policy says so and that is enough.
    fn make_room(&mut self, slot: u32, connection: &mut Connection, bytes: usize) -> bool {
        if self.limits.policy != SlowConsumerPolicy::DropOldest {
            return false;
        }
        let over = connection.output.waiting_bytes() + bytes - self.limits.hard_bytes;
        let dropped = connection.output.drop_oldest_events(&self.arena, over);
        self.note_dropped(slot, connection, dropped.frames as u64);
        self.counters.output_bytes.subtract(dropped.bytes as u64);
        dropped.bytes >= over
    }

    fn note_dropped(&mut self, slot: u32, connection: &mut Connection, events: u64) {
        self.counters.events_dropped_slow.add(events);
        connection.events_dropped += events;
        let ends_session = self.limits.policy == SlowConsumerPolicy::Disconnect;
        if events > 0 && !connection.dropping && !ends_session {
            connection.dropping = true;
            self.dropping.push(slot);
        }
    }

    fn overflow(&mut self, slot: u32, connection: &mut Connection, class: Class) {
        if class == Class::Event {
            self.note_dropped(slot, connection, 1);
            if self.limits.policy != SlowConsumerPolicy::Disconnect {
                return;
            }
        }
        if !connection.overflowed {
            connection.overflowed = true;
            connection.session_id = None;
            self.overflowed.push(slot);
        }
    }
}
