//! The mail between two nodes: numbered, acknowledged, sent again.
//!
//! Between its beginning and its end a link brings every entry exactly once and in order, whatever
//! becomes of single parcels on the way. It is named by two numbers, one of each end, which only
//! rise, and begins when each end has heard its own from the other. Whoever ends it raises its
//! number; the other hears of that, or of nothing, and ends it as well. So no parcel of one link
//! can be taken for one of another.
//!
//! Nothing here knows what the entries are.

mod incoming;
mod limits;
mod outgoing;
mod tally;

use std::borrow::Cow;

use incoming::Incoming;
pub use limits::LinkLimits;
use outgoing::Outgoing;
pub use tally::LinkTally;

use super::wire::{Garbled, Head, Incarnation, Wishes};
use crate::clock::Millis;

/// One end of the link between this node and another.
#[derive(Debug)]
pub struct Link {
    me: Incarnation,
    limits: LinkLimits,
    /// Which link this is here, counted from 1.
    own: u64,
    /// Which it is at the other end; 0: nothing was heard of it.
    peers: u64,
    /// Both ends have heard the other name its link.
    is_open: bool,
    heard_at: Millis,
    /// When a head is due although there may be nothing to send.
    head_at: Option<Millis>,
    outgoing: Outgoing,
    incoming: Incoming,
    tally: LinkTally,
}

/// What a parcel has brought about.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard<'a> {
    /// The link that was open has ended, and with it all that was pending through it.
    pub ended: bool,
    /// A link is open, through which nothing has gone yet.
    pub opened: bool,
    /// Entries, whole and in order.
    pub entries: Option<Cow<'a, [u8]>>,
}

impl Link {
    /// A link that is to be: the other end is greeted until it answers.
    pub fn new(me: Incarnation, limits: LinkLimits, now: Millis) -> Self {
        Self {
            me,
            limits,
            own: 1,
            peers: 0,
            is_open: false,
            heard_at: now,
            head_at: Some(now),
            outgoing: Outgoing::new(),
            incoming: Incoming::default(),
            tally: LinkTally::default(),
        }
    }

    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Which link this is, as (here, at the other end).
    pub const fn epochs(&self) -> (u64, u64) {
        (self.own, self.peers)
    }

    /// Bytes of entries that the other end has not dealt with.
    pub const fn queued_bytes(&self) -> usize {
        self.outgoing.queued_bytes()
    }

    /// What has gone through this link and those before it.
    pub const fn tally(&self) -> LinkTally {
        self.tally
    }

    /// How long it takes until the other end is known to have a parcel, in microseconds: with the
    /// time for which it waits to say so, up to [`LinkLimits::acknowledge_ms`]. `None` before
    /// the first one.
    pub fn round_trip_us(&self) -> Option<u64> {
        self.outgoing.round_trip().micros()
    }

    /// Appends an entry to what is sent, and returns the number of the parcel that it ends in:
    /// [`Self::is_handled`] says when the other end has dealt with it. If somebody waits for that,
    /// it is `urgent`. The link must be open.
    pub fn push(&mut self, entry: &[u8], urgent: bool) -> u64 {
        debug_assert!(self.is_open, "what is sent through no link would be lost");
        self.outgoing.push(entry, urgent, &self.limits)
    }

    /// Whether the other end has dealt with a parcel.
    pub const fn is_handled(&self, number: u64) -> bool {
        number <= self.outgoing.handled()
    }

    /// A parcel, or a head alone, of the other end.
    pub fn receive<'a>(
        &mut self,
        head: &Head,
        body: &'a [u8],
        now: Millis,
    ) -> Result<Heard<'a>, Garbled> {
        let mut heard = Heard::default();
        if head.own < self.peers {
            // It was long on its way.
            return Ok(heard);
        }
        self.heard_at = now;
        if head.own > self.peers {
            heard.ended = self.forget();
            self.peers = head.own;
        }
        if head.peers != self.own {
            self.head_due(now);
            return Ok(heard);
        }
        if !self.is_open {
            (self.is_open, heard.opened) = (true, true);
            self.head_due(now);
        }
        self.outgoing.acknowledge(head, &self.limits, now)?;
        if head.number > 0 {
            heard.entries = self.take_in(head, body, now)?;
        }
        Ok(heard)
    }

    fn take_in<'a>(
        &mut self,
        head: &Head,
        body: &'a [u8],
        now: Millis,
    ) -> Result<Option<Cow<'a, [u8]>>, Garbled> {
        use incoming::Taken;
        let taken = self.incoming.take(head, body, &self.limits)?;
        if let Taken::Entries(_) | Taken::Part = taken {
            self.tally.note_received(body.len());
        }
        let after = match taken {
            Taken::Entries(entries) => {
                self.head_due(now + self.limits.acknowledge_ms);
                return Ok(Some(entries));
            }
            Taken::Part => self.limits.acknowledge_ms,
            Taken::Waits => return Ok(None),
            Taken::Known | Taken::Gap => 0,
        };
        self.head_due(now + after);
        Ok(None)
    }

    /// All that has been received is dealt with. The other end sends no more than a window of what
    /// is not, so this is not said while this node cannot keep up.
    pub fn handle_all(&mut self, now: Millis) {
        if self.incoming.handle_all(&self.limits) {
            self.head_due(now);
        } else if self.incoming.is_unsaid() {
            self.head_due(now + self.limits.acknowledge_ms);
        }
    }

    /// Ends the link, and seeks the next one; `false` if none was open.
    pub fn end(&mut self, now: Millis) -> bool {
        self.own += 1;
        self.head_at = Some(now);
        self.forget()
    }

    /// All that was pending is; `false` if no link was open.
    fn forget(&mut self) -> bool {
        self.outgoing = Outgoing::new();
        self.incoming = Incoming::default();
        std::mem::take(&mut self.is_open)
    }

    /// What carries the parcels was away, and some with it.
    pub fn send_again(&mut self, now: Millis) {
        self.outgoing.send_again();
        self.head_due(now);
    }

    /// The other end is heard again: what it lacks is asked for now, and not when it would be due.
    /// One parcel asks, as whoever is heard may not listen yet.
    pub fn hurry(&mut self, now: Millis) {
        self.outgoing.hurry(now);
    }

    /// A head is due though nothing was received: somebody wants to know whether it arrives.
    pub fn greet(&mut self, now: Millis) {
        self.head_due(now);
    }

    /// What is due. `true`: the link has ended, since nothing was heard for too long.
    pub fn handle_timeout(&mut self, now: Millis) -> bool {
        if self.is_open && now.since(self.heard_at) >= self.limits.silence_ms {
            return self.end(now);
        }
        self.outgoing.handle_timeout(&self.limits, now);
        false
    }

    /// When there is something to do even if nothing comes; what can be sent now is taken before.
    pub fn next_deadline(&self) -> Option<Millis> {
        let silent = self.is_open.then_some(self.heard_at + self.limits.silence_ms);
        [silent, self.head_at, self.outgoing.resend_at()].into_iter().flatten().min()
    }

    /// Appends the next parcel, or a head that is due; `false` if there is neither. To be asked
    /// until then.
    pub fn take_transmit(&mut self, now: Millis, into: &mut Vec<u8>) -> bool {
        let parcel = if self.is_open { self.take_parcel(now) } else { None };
        if parcel.is_none() && self.head_at.is_none_or(|at| now < at) {
            return false;
        }
        let number = parcel.unwrap_or(0);
        let (more, at_once) = self.outgoing.marks(number);
        let mut head = self.beat();
        (head.number, head.wishes.more, head.wishes.at_once) = (number, more, at_once);
        head.encode(into);
        into.extend(self.outgoing.bytes(number));
        self.head_at = (!self.is_open).then_some(now + self.limits.greeting_ms);
        true
    }

    fn take_parcel(&mut self, now: Millis) -> Option<u64> {
        let (unsent, was_full) = (self.outgoing.unsent(), self.outgoing.is_full());
        let parcel = self.outgoing.take(&self.limits, now);
        self.tally.window_waits += u64::from(!was_full && self.outgoing.is_full());
        let number = parcel?;
        self.tally.note_sent(self.outgoing.bytes(number).len(), number < unsent);
        Some(number)
    }

    /// A head alone, for what tells all nodes at once how this one is: it comes once in a while
    /// even if nothing is sent, so that nobody waits for ever for a head that was lost.
    pub fn beat(&mut self) -> Head {
        let (received, handled, again) = self.incoming.say();
        let wishes = Wishes { again, ..Wishes::default() };
        let (from, own, peers) = (self.me, self.own, self.peers);
        Head { from, own, peers, received, handled, number: 0, wishes }
    }

    fn head_due(&mut self, at: Millis) {
        self.head_at = Some(self.head_at.map_or(at, |due| due.min(at)));
    }
}

#[cfg(test)]
mod tests;
