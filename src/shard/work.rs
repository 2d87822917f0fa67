//! How much a shard does before it writes and polls again, counted in units of work.
//!
//! One unit is about what it takes to queue an event for one receiver: some tens of nanoseconds.
//! What a client can make long (receivers, matching subscriptions, bytes, lists) is charged here,
//! and whoever loops over it stops when the step is over and goes on in a later one.

use crate::limits::TurnLimits;

#[derive(Debug)]
pub(super) struct Work {
    limits: TurnLimits,
    /// Units spent in this turn.
    turn: u64,
    /// Units spent in this turn when the current step began.
    step_began: u64,
    /// The most that one step has spent, for the tests of the bounds.
    longest_step: u64,
    /// Meta events that the current visit to a connection, or piece of leaving, has caused.
    announced: usize,
}

impl Work {
    pub(super) const fn new(limits: TurnLimits) -> Self {
        Self { limits, turn: 0, step_began: 0, longest_step: 0, announced: 0 }
    }

    pub(super) const fn limits(&self) -> &TurnLimits {
        &self.limits
    }

    pub(super) const fn begin_turn(&mut self) {
        (self.turn, self.step_began) = (0, 0);
    }

    /// A step is one visit to a connection, one piece of mail, or one piece of a longer job.
    pub(super) const fn begin_step(&mut self) {
        self.step_began = self.turn;
    }

    #[inline]
    pub(super) fn charge(&mut self, units: usize) {
        self.turn += units as u64;
    }

    /// What encoding, copying or reading so many bytes costs.
    #[inline]
    pub(super) fn charge_bytes(&mut self, bytes: usize) {
        self.charge(bytes / BYTES_PER_UNIT);
    }

    /// Units spent since the step began.
    pub(super) const fn step(&self) -> u64 {
        self.turn - self.step_began
    }

    /// Units that the step may still spend.
    #[inline]
    pub(super) const fn left(&self) -> usize {
        (self.limits.step_units as u64).saturating_sub(self.step()) as usize
    }

    #[inline]
    pub(super) const fn is_step_over(&self) -> bool {
        self.step() >= self.limits.step_units as u64
    }

    /// Whether the turn has spent so much that it should be brought to its end.
    pub(super) const fn is_turn_over(&self) -> bool {
        self.turn >= self.limits.turn_units as u64
    }

    /// Whether the part of the turn is spent that belongs to what is read.
    pub(super) const fn is_reading_over(&self) -> bool {
        self.turn >= self.limits.turn_units as u64 / 2
    }

    /// A visit to a connection begins, or a piece of leaving.
    #[inline]
    pub(super) const fn begin_visit(&mut self) {
        self.announced = 0;
    }

    /// It has caused a meta event.
    pub(super) const fn note_announced(&mut self) {
        self.announced += 1;
    }

    /// Whether it has caused as many as it may.
    #[inline]
    pub(super) const fn has_announced_enough(&self) -> bool {
        self.announced >= MOST_ANNOUNCED
    }

    /// Ends a step and says what it has spent.
    pub(super) fn end_step(&mut self) -> u64 {
        let spent = self.step();
        self.longest_step = self.longest_step.max(spent);
        self.begin_step();
        spent
    }

    pub(super) const fn longest_step(&self) -> u64 {
        self.longest_step
    }
}

/// Meta events after which a visit to a connection, or a piece of leaving, is over.
pub(super) const MOST_ANNOUNCED: usize = 8;

/// Bytes that are handled in the time of one unit.
const BYTES_PER_UNIT: usize = 64;

/// What any message costs besides its bytes, in units.
pub(super) const MESSAGE_UNITS: usize = 16;

/// What it costs to write down and look up one pattern that may match a URI, in units.
pub(super) const PATTERN_UNITS: usize = 2;

/// What one change or look-up in a shared table costs, in units.
pub(super) const LOOKUP_UNITS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_made_of_steps() {
        let limits = TurnLimits { step_units: 10, turn_units: 25, ..TurnLimits::default() };
        let mut work = Work::new(limits);
        work.charge(7);
        assert!(!work.is_step_over() && work.left() == 3);
        work.charge_bytes(5 * BYTES_PER_UNIT);
        assert!(work.is_step_over() && work.left() == 0 && !work.is_turn_over());
        assert_eq!(work.end_step(), 12);
        assert!(!work.is_step_over());
        work.charge(13);
        assert!(work.is_turn_over());
        work.begin_turn();
        assert!(!work.is_step_over() && !work.is_turn_over());
    }
}
