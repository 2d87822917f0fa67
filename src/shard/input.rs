//! The way in: what came from a socket, and how much of it is dealt with when.
//!
//! A connection's messages are dealt with in their order, as far as the step and the turn allow.
//! Input that waits for something (its turn, room, a shard that is behind) keeps its order and
//! costs nothing but its bytes. What frames are, and who handles them, is for `inbound`.

use std::fmt;

use super::asking::Asking;
use super::connection::{Connection, Phase};
use super::connections::Connections;
use super::rates::Meter;
use super::{Admission, Shard};
use crate::clock::Millis;
use crate::router::{Counters, Slot};
use crate::transport::Inbound;
use crate::wamp::RequestId;

/// What came from a peer and is not dealt with, and whether more may be dealt with now.
#[derive(Default)]
pub(super) struct Input {
    /// The start of a frame, or whole frames that wait for their turn.
    bytes: Vec<u8>,
    /// Bytes of memory that the gauge counts for this connection.
    counted_bytes: usize,
    /// Bytes of memory that the layer below the transport holds.
    layer_bytes: usize,
    /// Since when `bytes` has not been empty.
    since: Millis,
    /// The router has kept the peer waiting since `since`, which is not held against it.
    is_delayed: bool,
    /// Whether there may be a whole frame in `bytes`.
    is_ready: bool,
    /// So many things have to happen before the next frame is dealt with; see
    /// [`Connections::park`].
    tickets: u32,
    /// So many meta events that the peer has caused must be heard first; see `unheard`.
    unheard: u32,
    /// The peer's own messages have made more output than it takes; see [`Input::relieve`].
    is_throttled: bool,
    /// A message that has come before all bytes, and that somebody decides about; see `asking`. It
    /// counts as held, and not as input: no other has to go for it.
    asking: Option<Box<Asking>>,
    /// What the peer has sent of late, if its role limits that; see `rates`.
    pub(super) meter: Option<Box<Meter>>,
    /// Whether the peer waits to join, or may; see `joining`.
    entrance: Entrance,
    /// Bytes of output that the peer's own messages have made, and that may still wait.
    own_output: usize,
    /// Units of work that the peer is ahead of its share.
    debt: u64,
}

/// Whether a stranger has to wait before it joins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Entrance {
    /// It was not asked yet.
    #[default]
    Unasked,
    Waits,
    /// It has waited, and goes on without being asked again.
    Admitted,
}

/// Not the bytes: there may be a ticket among them.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Input");
        shown.field("bytes", &self.bytes.len()).field("status", &self.status());
        shown.field("tickets", &self.tickets).finish_non_exhaustive()
    }
}

/// What a connection's input waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputStatus {
    /// For bytes.
    Open,
    /// For its turn: there may be whole frames.
    Ready,
    /// For something else, and it is woken when that is over.
    Parked,
}

impl Input {
    pub(super) fn status(&self) -> InputStatus {
        let waits = matches!(self.entrance, Entrance::Waits) || self.is_paced();
        if self.tickets > 0 || self.unheard > 0 || self.is_throttled || waits {
            InputStatus::Parked
        } else if self.is_ready {
            InputStatus::Ready
        } else {
            InputStatus::Open
        }
    }

    /// Until when nothing is dealt with, because the peer has sent too much.
    pub(super) fn paced_until(&self) -> Option<Millis> {
        self.meter.as_ref().and_then(|meter| meter.paced_until)
    }

    /// Whether what comes next waits for that. What was decided about meanwhile came before.
    fn is_paced(&self) -> bool {
        self.paced_until().is_some() && !self.is_decided()
    }

    /// Goes on after a pause for having sent too much. `false` if there was none.
    pub(super) fn end_pause(&mut self) -> bool {
        let was_paced = self.meter.as_mut().and_then(|meter| meter.paced_until.take()).is_some();
        if was_paced {
            self.is_delayed = true;
            self.is_ready = self.has_more();
        }
        was_paced
    }

    pub(super) const fn is_unheard(&self) -> bool {
        self.unheard > 0
    }

    /// Since when the router waits for the peer: for the rest of a message, or for it to read.
    /// `None` while the peer waits for the router.
    pub(super) fn waits_since(&self) -> Option<Millis> {
        let is_parked = self.tickets > 0 || self.unheard > 0 || self.is_paced();
        let is_waiting = is_parked || self.is_ready && !self.is_throttled;
        if is_waiting { None } else { Some(self.since) }
    }

    /// Bytes of memory that it takes.
    pub(super) const fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.layer_bytes
    }

    /// Whether there is something to deal with, when nothing else hinders it.
    fn has_more(&self) -> bool {
        !self.bytes.is_empty() || self.is_decided()
    }

    /// Whether a message waits to be handled once more.
    fn is_decided(&self) -> bool {
        self.asking.as_ref().is_some_and(|asking| asking.is_answered())
    }

    /// A message waits for an answer, and all bytes behind it.
    pub(super) fn ask(&mut self, asking: Asking) {
        debug_assert!(self.asking.is_none(), "one message is dealt with at a time");
        self.asking = Some(Box::new(asking));
    }

    pub(super) fn asking_mut(&mut self) -> Option<&mut Asking> {
        self.asking.as_deref_mut()
    }

    /// The question whose answer the peer waits for.
    pub(super) fn awaited(&self) -> Option<RequestId> {
        self.asking.as_ref()?.question()
    }

    pub(super) fn take_asking(&mut self) -> Option<Box<Asking>> {
        self.asking.take()
    }

    /// The message that waits no more.
    pub(super) fn take_answered(&mut self) -> Option<Box<Asking>> {
        self.asking.take_if(|asking| asking.is_answered())
    }

    /// The layer below the transport holds so many bytes of memory.
    pub(super) const fn set_layer_bytes(&mut self, bytes: usize, now: Millis) {
        if self.held_bytes() == 0 && bytes > 0 {
            self.since = now;
        }
        self.layer_bytes = bytes;
    }

    /// The connection has written something, and so many bytes still wait. Returns whether the
    /// input has waited for that, and goes on.
    #[inline]
    pub(super) fn relieve(&mut self, waiting: usize, hard_bytes: usize) -> bool {
        self.own_output = self.own_output.min(waiting);
        let goes_on = self.is_throttled && self.own_output <= hard_bytes / 4;
        if goes_on {
            self.is_throttled = false;
            self.is_ready = self.has_more();
        }
        goes_on
    }

    pub(super) const fn wait_to_join(&mut self) {
        (self.entrance, self.is_ready) = (Entrance::Waits, true);
    }

    pub(super) fn waits_to_join(&self) -> bool {
        self.entrance == Entrance::Waits
    }

    /// The peer has waited long enough to join.
    pub(super) fn admit(&mut self) {
        self.entrance = Entrance::Admitted;
        self.is_delayed = true;
        self.is_ready = self.has_more();
    }

    /// Whether the peer was admitted, which holds for one message.
    pub(super) fn take_admittance(&mut self) -> bool {
        std::mem::take(&mut self.entrance) == Entrance::Admitted
    }

    /// Nothing more of it will be dealt with.
    pub(super) fn discard(&mut self) {
        self.bytes = Vec::new();
        self.layer_bytes = 0;
        self.is_ready = false;
    }

    /// Keeps what is not dealt with; an idle connection keeps nothing, and capacity is given back.
    fn keep(&mut self, rest: Vec<u8>) {
        self.bytes = rest;
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
            self.is_ready = false;
        } else if self.bytes.capacity() > 2 * self.bytes.len() + SPARE_BYTES {
            self.bytes.shrink_to(self.bytes.len());
        }
    }
}

impl Connection {
    /// Brings the gauge up to date with what the connection holds.
    #[inline]
    fn count_input(&mut self, counters: &Counters) {
        let held = self.input_bytes();
        let before = std::mem::replace(&mut self.input.counted_bytes, held);
        if held > before {
            counters.input_bytes.add((held - before) as u64);
        } else if held < before {
            counters.input_bytes.subtract((before - held) as u64);
        }
    }
}

/// What input waits for besides bytes and its turn.
impl Connections {
    /// Stops dealing with the input of a connection until [`Self::redeem`] was called as often.
    pub(super) fn park(&mut self, slot: Slot) {
        self[slot].input.tickets += 1;
    }

    /// One of the things has happened that the input of a connection waits for.
    pub(super) fn redeem(&mut self, slot: Slot) {
        let input = &mut self[slot].input;
        debug_assert!(input.tickets > 0, "a ticket is redeemed once");
        input.tickets -= 1;
        if input.tickets == 0 {
            input.is_delayed = true;
            input.is_ready = input.has_more();
            self.wake(slot);
        }
    }

    /// The session has ended that the input waited for: what is still to happen is not for it.
    pub(super) fn forget_tickets(&mut self, slot: Slot) {
        let input = &mut self[slot].input;
        if std::mem::take(&mut input.tickets) > 0 {
            input.is_ready = input.has_more();
            self.wake(slot);
        }
    }

    /// A meta event that the peer has caused waits to be heard, and the peer for it.
    pub(super) fn hold_up(&mut self, slot: Slot) {
        self[slot].input.unheard += 1;
    }

    /// It waits no more. `true` if the peer waits for no other.
    pub(super) fn let_on(&mut self, slot: Slot) -> bool {
        let input = &mut self[slot].input;
        debug_assert!(input.unheard > 0, "who is let on was held up");
        input.unheard -= 1;
        if input.unheard > 0 {
            return false;
        }
        input.is_ready = input.has_more();
        self.wake(slot);
        true
    }
}

impl Shard {
    /// Handles bytes that arrived on a connection. They are changed in place: unmasked.
    pub fn receive(&mut self, slot: Slot, input: &mut [u8], now: Millis) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.clock.note_life(now);
        connection.traffic.bytes_received += input.len() as u64;
        self.cx.counters.bytes_received.add(input.len() as u64);
        // Reading and keeping costs something, too, where no message becomes whole.
        self.cx.work.charge_bytes(input.len() / 2);
        let before = connection.output.waiting_bytes();
        if connection.input.bytes.is_empty() {
            let used = self.consume(slot, input, now);
            self.keep_input(slot, input[used..].to_vec(), true, now);
        } else {
            let mut held = self.take_input(slot);
            held.extend_from_slice(input);
            self.consume_held(slot, held, now);
        }
        self.end_visit(slot, before, now);
    }

    /// Goes on with what waits for its turn on a connection.
    pub fn work(&mut self, slot: Slot, now: Millis) {
        if self.connections.get(slot).is_some() {
            let before = self.waiting_bytes(slot);
            self.hear_again(slot, now);
            let held = self.take_input(slot);
            self.consume_held(slot, held, now);
            self.end_visit(slot, before, now);
        }
    }

    /// What the input of a connection waits for.
    pub fn input_status(&self, slot: Slot) -> InputStatus {
        let connection = self.connections.get(slot).filter(|c| !c.is_gone());
        connection.map_or(InputStatus::Parked, |connection| connection.input.status())
    }

    /// Whether the connection has more to be dealt with than a visit allows, or is ahead of its
    /// share.
    pub(super) fn is_behind(&self, slot: Slot) -> bool {
        let connection = self.connections.get(slot);
        connection.is_some_and(|connection| connection.input.is_ready || connection.input.debt > 0)
    }

    /// Lets a turn of others pass if the connection is ahead of its share; `true` if it still is.
    pub fn is_ahead(&mut self, slot: Slot) -> bool {
        let share = u64::from(self.cx.work.limits().step_units / SHARES_PER_STEP);
        let Some(connection) = self.connections.get_mut(slot) else { return false };
        let debt = connection.input.debt;
        connection.input.debt = debt.saturating_sub(share);
        debt > 0
    }

    fn take_input(&mut self, slot: Slot) -> Vec<u8> {
        std::mem::take(&mut self.connections[slot].input.bytes)
    }

    /// Brings the gauge up to date with what a connection holds.
    pub(super) fn count_input(&mut self, slot: Slot) {
        self.connections[slot].count_input(&self.cx.counters);
    }

    fn consume_held(&mut self, slot: Slot, mut held: Vec<u8>, now: Millis) {
        let used = self.consume(slot, &mut held, now);
        held.drain(..used);
        self.keep_input(slot, held, used > 0, now);
    }

    /// Keeps what [`Self::consume`] has left over; it is new unless no frame could be taken.
    fn keep_input(&mut self, slot: Slot, rest: Vec<u8>, is_new: bool, now: Millis) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if !connection.is_closing() {
            if is_new || std::mem::take(&mut connection.input.is_delayed) {
                connection.input.since = now;
            }
            connection.input.keep(rest);
        }
        connection.count_input(&self.cx.counters);
    }

    /// Charges the peer for what its messages have cost. Who makes the router say more than it
    /// takes waits until it has taken it: its requests could take any amount of memory else.
    fn end_visit(&mut self, slot: Slot, before: usize, now: Millis) {
        // What follows from its messages is part of their cost.
        self.settle(now);
        self.charge_visit(slot);
        self.count_own_output(slot, before);
    }

    /// Takes note of output that a connection's own requests have made since so many bytes waited.
    pub(super) fn count_own_output(&mut self, slot: Slot, before: usize) {
        let limit = self.cx.edition.settings.output.hard_bytes / 2;
        if let Some(connection) = self.connections.get_mut(slot) {
            let waiting = connection.output.waiting_bytes();
            let input = &mut connection.input;
            input.own_output = (input.own_output + waiting.saturating_sub(before)).min(waiting);
            input.is_throttled |= input.own_output > limit;
        }
    }

    /// Ends a visit that brought no bytes, and charges the peer for it.
    pub(super) fn end_vain_visit(&mut self, slot: Slot) {
        self.cx.work.charge(VAIN_UNITS);
        self.charge_visit(slot);
    }

    fn charge_visit(&mut self, slot: Slot) {
        let compressed = self.cx.outbound.take_deflate_cost();
        self.cx.work.charge_bytes(compressed);
        let spent = self.cx.work.end_step();
        let share = u64::from(self.cx.work.limits().step_units / SHARES_PER_STEP);
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.input.debt += spent.saturating_sub(share);
        }
    }

    /// Handles whole frames at the start of `input` while the step lasts, and says how many bytes
    /// they were.
    fn consume(&mut self, slot: Slot, input: &mut [u8], now: Millis) -> usize {
        let mut used = 0;
        self.cx.outbound.control.clear();
        self.cx.work.begin_visit();
        while used < input.len() {
            let Some(connection) = self.connections.get_mut(slot) else { break };
            if connection.is_closing() {
                return input.len();
            }
            if connection.admission != Admission::Welcome {
                self.refuse_full(slot, input, now);
                return input.len();
            }
            let may_go_on = connection.input.status() != InputStatus::Parked;
            let is_over = self.cx.work.is_step_over() || self.cx.work.has_announced_enough();
            if !may_go_on || is_over || self.cx.outbound.is_full() {
                connection.input.is_ready = true;
                break;
            }
            if matches!(connection.phase, Phase::Open)
                && self.joining.holds(slot, connection, &self.cx.router)
            {
                break;
            }
            debug_assert!(connection.input.asking.is_none(), "nothing overtakes a message");
            connection.input.is_ready = false;
            let rest = &mut input[used..];
            let (stage, rules) = (connection.stage(), &connection.rules);
            let (inflater, control) = (&mut self.cx.inflater, &mut self.cx.outbound.control);
            let step = connection.transport.decode(rest, stage, rules, inflater, control);
            if self.cx.inflater.worked_bytes() > 0 {
                self.cx.note_inflated();
            }
            let (length, inbound) = match step {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(error) => {
                    self.answer_transport(slot);
                    self.handle_transport_error(slot, &error, now);
                    return input.len();
                }
            };
            used += length;
            if connection.input.meter.is_some() && !self.meter_frame(slot, length, now) {
                return input.len();
            }
            if matches!(inbound, Inbound::Control) {
                // Pongs are gathered: one for each of thousands of pings would be queued alone.
                self.cx.work.charge(1);
                if self.cx.outbound.control.len() < GATHERED_BYTES {
                    continue;
                }
            }
            // Whether a transport may open is not its own decision.
            if !matches!(inbound, Inbound::Opened { .. }) {
                self.answer_transport(slot);
            }
            self.handle_inbound(slot, inbound, now);
        }
        self.answer_transport(slot);
        used
    }

    /// Queues what the transport has to say of its own.
    #[inline]
    fn answer_transport(&mut self, slot: Slot) {
        if !self.cx.outbound.control.is_empty()
            && let Some(connection) = self.connections.get_mut(slot)
        {
            self.cx.outbound.queue_gathered(slot, connection);
        }
    }
}

/// What a read costs that brings nothing.
const VAIN_UNITS: usize = 4;

/// What a kept input may take besides its bytes.
const SPARE_BYTES: usize = 4 * 1024;

/// Bytes of pongs that are queued at once.
const GATHERED_BYTES: usize = 4 * 1024;

/// A connection may spend this part of a step before the turn of the others comes.
const SHARES_PER_STEP: u32 = 4;
