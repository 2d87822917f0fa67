//! What comes through a link: in order, or asked for again.

use std::borrow::Cow;

use super::super::wire::{Garbled, Head};
use super::LinkLimits;

#[derive(Debug, Default)]
pub(super) struct Incoming {
    received: u64,
    handled: u64,
    /// Bytes that are dealt with since the other end was told.
    unsaid_bytes: usize,
    /// What the other end was last told, of received and handled.
    said: (u64, u64),
    /// Behind which parcel there is a gap that was asked for.
    asked: Option<u64>,
    /// To be asked with the next head.
    again: bool,
    /// Somebody waits until this is dealt with.
    urgent: bool,
    /// The beginning of an entry in several parcels.
    parts: Vec<u8>,
}

/// What came of a parcel.
pub(super) enum Taken<'a> {
    Entries(Cow<'a, [u8]>),
    /// Of an entry that goes on.
    Part,
    /// It has come before.
    Known,
    /// One before it is missing.
    Gap,
    /// The same, and that one was asked for.
    Waits,
}

impl Incoming {
    pub(super) fn take<'a>(
        &mut self,
        head: &Head,
        body: &'a [u8],
        limits: &LinkLimits,
    ) -> Result<Taken<'a>, Garbled> {
        if head.number <= self.received {
            return Ok(Taken::Known);
        }
        if head.number > self.received + 1 {
            if self.asked == Some(self.received) {
                return Ok(Taken::Waits);
            }
            (self.asked, self.again) = (Some(self.received), true);
            return Ok(Taken::Gap);
        }
        self.received = head.number;
        (self.asked, self.again) = (None, false);
        self.unsaid_bytes += body.len();
        self.urgent |= head.wishes.at_once;
        if !head.wishes.more && self.parts.is_empty() {
            return Ok(Taken::Entries(Cow::Borrowed(body)));
        }
        if self.parts.len() + body.len() > limits.entry_bytes {
            return Err(Garbled::Length);
        }
        self.parts.extend(body);
        if head.wishes.more {
            return Ok(Taken::Part);
        }
        Ok(Taken::Entries(Cow::Owned(std::mem::take(&mut self.parts))))
    }

    /// Whether somebody waits for that, or so much was dealt with that the other end may wait for
    /// room.
    pub(super) fn handle_all(&mut self, limits: &LinkLimits) -> bool {
        self.handled = self.received;
        std::mem::take(&mut self.urgent)
            || self.unsaid_bytes >= limits.window_bytes / 4
            || self.handled - self.said.1 >= limits.window_parcels / 4
    }

    /// Whether the other end does not know yet how far this one is.
    pub(super) fn is_unsaid(&self) -> bool {
        self.said != (self.received, self.handled)
    }

    /// What the other end is told: received, handled, and whether to send again.
    pub(super) fn say(&mut self) -> (u64, u64, bool) {
        self.said = (self.received, self.handled);
        self.unsaid_bytes = 0;
        (self.received, self.handled, std::mem::take(&mut self.again))
    }
}
