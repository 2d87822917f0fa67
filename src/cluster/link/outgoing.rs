//! What is sent through a link: packed into parcels, numbered, kept until the other end has dealt
//! with it.

use std::collections::VecDeque;
use std::ops::Range;

use super::super::wire::{Garbled, Head};
use super::LinkLimits;
use super::tally::RoundTrip;
use crate::clock::Millis;

/// Invariant: `parcels` are those from `handled + 1` on that are sealed; those below `unsent` were
/// sent, and `flying_bytes` are theirs.
#[derive(Debug)]
pub(super) struct Outgoing {
    parcels: VecDeque<Parcel>,
    /// What is packed for the next parcel, as long as none is full.
    packing: Parcel,
    /// The first parcel that was never sent.
    unsent: u64,
    received: u64,
    handled: u64,
    /// To be sent once more, before anything new.
    again: Range<u64>,
    /// Sent alone, to hear how far the other end is.
    probe: Option<u64>,
    resend_at: Option<Millis>,
    /// What the next wait takes, in milliseconds; 0: as long as the first.
    patience_ms: u64,
    queued_bytes: usize,
    flying_bytes: usize,
    /// The next parcel waits for room in the window.
    is_full: bool,
    /// A parcel that was sent once, and when: its way and back are timed.
    timed: Option<(u64, Millis)>,
    round_trip: RoundTrip,
}

#[derive(Debug, Default)]
struct Parcel {
    bytes: Vec<u8>,
    /// Its entry goes on in the next one.
    more: bool,
    urgent: bool,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self {
            parcels: VecDeque::new(),
            packing: Parcel::default(),
            unsent: 1,
            received: 0,
            handled: 0,
            again: 0..0,
            probe: None,
            resend_at: None,
            patience_ms: 0,
            queued_bytes: 0,
            flying_bytes: 0,
            is_full: false,
            timed: None,
            round_trip: RoundTrip::default(),
        }
    }

    pub(super) const fn handled(&self) -> u64 {
        self.handled
    }

    pub(super) const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// The first parcel that was never sent.
    pub(super) const fn unsent(&self) -> u64 {
        self.unsent
    }

    /// Whether the next parcel waits for room in the window.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) const fn round_trip(&self) -> RoundTrip {
        self.round_trip
    }

    pub(super) const fn resend_at(&self) -> Option<Millis> {
        self.resend_at
    }

    /// Returns the parcel that the entry ends in.
    pub(super) fn push(&mut self, entry: &[u8], urgent: bool, limits: &LinkLimits) -> u64 {
        self.queued_bytes += entry.len();
        if entry.len() > limits.part_bytes {
            return self.push_parts(entry, urgent, limits);
        }
        if self.packing.bytes.len() + entry.len() > limits.parcel_bytes {
            self.seal();
        }
        self.packing.bytes.extend(entry);
        self.packing.urgent |= urgent;
        self.last_number() + 1
    }

    fn push_parts(&mut self, entry: &[u8], urgent: bool, limits: &LinkLimits) -> u64 {
        self.seal();
        let parts = entry.len().div_ceil(limits.part_bytes);
        for (index, part) in entry.chunks(limits.part_bytes).enumerate() {
            let more = index + 1 < parts;
            self.parcels.push_back(Parcel { bytes: part.into(), more, urgent });
        }
        self.last_number()
    }

    fn seal(&mut self) {
        if !self.packing.bytes.is_empty() {
            self.parcels.push_back(std::mem::take(&mut self.packing));
        }
    }

    /// Of those that are sealed.
    fn last_number(&self) -> u64 {
        self.handled + self.parcels.len() as u64
    }

    /// The parcel that is to be sent next, if one may be.
    pub(super) fn take(&mut self, limits: &LinkLimits, now: Millis) -> Option<u64> {
        if let Some(number) = self.again.next() {
            self.wait(limits, now);
            return Some(number);
        }
        let next = match self.parcels.get(self.index(self.unsent)) {
            Some(parcel) => parcel.bytes.len(),
            None => self.packing.bytes.len(),
        };
        let is_over = self.flying_bytes > 0 && self.flying_bytes + next > limits.window_bytes;
        let are_many = self.unsent - 1 - self.handled >= limits.window_parcels;
        self.is_full = next > 0 && (is_over || are_many);
        if next == 0 || self.is_full {
            return None;
        }
        if self.unsent > self.last_number() {
            self.seal();
        }
        self.flying_bytes += next;
        self.timed.get_or_insert((self.unsent, now));
        self.unsent += 1;
        self.wait(limits, now);
        Some(self.unsent - 1)
    }

    fn wait(&mut self, limits: &LinkLimits, now: Millis) {
        let patience_ms = self.patience_ms.max(limits.resend_ms);
        self.resend_at.get_or_insert(now + patience_ms);
    }

    /// Whether the entry of a parcel goes on in the next, and whether somebody waits.
    pub(super) fn marks(&self, number: u64) -> (bool, bool) {
        self.sealed(number).map_or((false, false), |parcel| (parcel.more, parcel.urgent))
    }

    pub(super) fn bytes(&self, number: u64) -> &[u8] {
        self.sealed(number).map_or(&[], |parcel| &parcel.bytes)
    }

    fn sealed(&self, number: u64) -> Option<&Parcel> {
        (number > self.handled).then(|| self.parcels.get(self.index(number))).flatten()
    }

    const fn index(&self, number: u64) -> usize {
        (number - self.handled - 1) as usize
    }

    /// The other end says how far it is.
    pub(super) fn acknowledge(
        &mut self,
        head: &Head,
        limits: &LinkLimits,
        now: Millis,
    ) -> Result<(), Garbled> {
        if head.received >= self.unsent || head.handled > head.received {
            return Err(Garbled::Acknowledgement);
        }
        if head.received > self.received {
            self.received = head.received;
            if let Some((_, sent)) = self.timed.take_if(|(number, _)| *number <= head.received) {
                self.round_trip.note(now.since(sent));
            }
            (self.patience_ms, self.resend_at) = (0, None);
            if self.received + 1 < self.unsent {
                self.wait(limits, now);
            }
            self.again.start = self.again.start.max(self.received + 1);
            // What was sent before the probe would have come before it.
            if self.probe.take() == Some(self.received) {
                self.send_again();
            }
        }
        while self.handled < head.handled {
            let parcel = self.parcels.pop_front().expect("what was sent is kept");
            self.handled += 1;
            self.queued_bytes -= parcel.bytes.len();
            self.flying_bytes -= parcel.bytes.len();
        }
        if head.wishes.again && head.received == self.received {
            self.send_again();
        }
        Ok(())
    }

    /// All that has not been received goes out once more.
    pub(super) fn send_again(&mut self) {
        (self.probe, self.timed) = (None, None);
        self.again = self.received + 1..self.unsent;
    }

    /// What waits to be sent once more waits no longer.
    pub(super) fn hurry(&mut self, now: Millis) {
        self.resend_at = self.resend_at.map(|at| at.min(now));
    }

    /// Nothing was heard of what was sent: one parcel asks for more than all of them would, and
    /// does not overwhelm whoever is only late.
    pub(super) fn handle_timeout(&mut self, limits: &LinkLimits, now: Millis) {
        if self.resend_at.is_none_or(|at| now < at) {
            return;
        }
        let next = self.received + 1;
        self.again = next..next + 1;
        (self.probe, self.timed) = (Some(next), None);
        self.patience_ms = (self.patience_ms.max(limits.resend_ms) * 2).min(limits.patience_ms);
        self.resend_at = Some(now + self.patience_ms);
    }

    /// Parcels and bytes that are sent and not dealt with.
    #[cfg(test)]
    pub(super) const fn flying(&self) -> (u64, usize) {
        (self.unsent - 1 - self.handled, self.flying_bytes)
    }
}
