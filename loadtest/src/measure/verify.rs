//! Did every message arrive once and in order? One [`Track`] per receiver and sender follows the
//! sequence numbers; a [`Tally`] adds up what all tracks found.

use std::fmt;
use std::ops::AddAssign;

use serde::Serialize;

/// Follows one sender's sequence numbers at one receiver.
#[derive(Clone, Debug, Default)]
pub struct Track {
    next: u32,
    /// Everything up to here may be absent: published before the subscription existed.
    optional_below: u32,
    /// Skipped so far and not seen since, as half-open ranges in rising order.
    missing: Vec<(u32, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    InOrder,
    /// Later ones arrived before it.
    Late,
    Doubled,
}

impl Track {
    /// A new subscription: what is published from `must_from` on has to arrive, what came before
    /// may. Call [`Track::finish`] first if an older subscription ended.
    pub fn restart(&mut self, must_from: u32) {
        self.optional_below = must_from;
        self.missing.clear();
    }

    pub fn arrive(&mut self, sequence: u32) -> Arrival {
        if sequence >= self.next {
            let expected = self.next.max(self.optional_below.min(sequence));
            if sequence > expected {
                self.missing.push((expected, sequence));
            }
            self.next = sequence + 1;
            return Arrival::InOrder;
        }
        match self.missing.iter().position(|&(from, to)| (from..to).contains(&sequence)) {
            Some(index) => {
                self.fill(index, sequence);
                Arrival::Late
            }
            None => Arrival::Doubled,
        }
    }

    /// How many never arrived, when the sender sent `sent` in all.
    pub fn finish(&self, sent: u32) -> u64 {
        self.behind(sent) + self.missing_so_far()
    }

    /// Whether it was published before the present subscription was known to exist.
    pub const fn is_optional(&self, sequence: u32) -> bool {
        sequence < self.optional_below
    }

    /// How many of `sent` come after the last that arrived, and after what need not arrive.
    pub fn behind(&self, sent: u32) -> u64 {
        u64::from(sent.saturating_sub(self.next.max(self.optional_below)))
    }

    /// How many were skipped, of those that something later overtook.
    pub fn missing_so_far(&self) -> u64 {
        self.missing.iter().map(|(from, to)| u64::from(to - from)).sum()
    }

    fn fill(&mut self, index: usize, sequence: u32) {
        let (from, to) = self.missing.remove(index);
        if sequence + 1 < to {
            self.missing.insert(index, (sequence + 1, to));
        }
        if from < sequence {
            self.missing.insert(index, (from, sequence));
        }
    }
}

/// What verification found in a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Messages checked, at every receiver.
    pub checked: u64,
    pub lost: u64,
    pub doubled: u64,
    /// Arrived after a later one of the same sender.
    pub reordered: u64,
    /// Arrived where it was not asked for: after UNSUBSCRIBED, or from a strange sender.
    pub stray: u64,
    /// Carried no readable stamp, or another's payload.
    pub damaged: u64,
    /// ERROR messages from the router.
    pub errors: u64,
    /// Connections that the router closed although they should have stayed.
    pub disconnected: u64,
    /// Publications that asked for PUBLISHED and got neither that nor an ERROR.
    pub unacknowledged: u64,
}

impl Tally {
    pub fn note(&mut self, arrival: Arrival) {
        self.checked += 1;
        match arrival {
            Arrival::InOrder => {}
            Arrival::Late => self.reordered += 1,
            Arrival::Doubled => self.doubled += 1,
        }
    }

    pub fn is_clean(&self) -> bool {
        Self { checked: 0, ..*self } == Self::default()
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.checked += other.checked;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.stray += other.stray;
        self.damaged += other.damaged;
        self.errors += other.errors;
        self.disconnected += other.disconnected;
        self.unacknowledged += other.unacknowledged;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost, doubled, reordered, stray, damaged, errors, disconnected, .. } = self;
        write!(f, "{lost} lost, {doubled} doubled, {reordered} reordered, {stray} stray, ")?;
        write!(f, "{damaged} damaged, {errors} errors, {disconnected} disconnected, ")?;
        write!(f, "{} unacknowledged", self.unacknowledged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `arrivals` to a fresh track: (lost, doubled, reordered) of `sent`.
    fn check(arrivals: &[u32], sent: u32, expected: (u64, u64, u64)) {
        let (mut track, mut tally) = (Track::default(), Tally::default());
        for sequence in arrivals {
            tally.note(track.arrive(*sequence));
        }
        tally.lost = track.finish(sent);
        assert_eq!((tally.lost, tally.doubled, tally.reordered), expected, "{arrivals:?}");
        assert_eq!(tally.is_clean(), expected == (0, 0, 0));
    }

    #[test]
    fn in_order_is_clean() {
        check(&[0, 1, 2, 3], 4, (0, 0, 0));
    }

    #[test]
    fn losses_at_the_start_in_the_middle_and_at_the_end() {
        check(&[1, 2, 3], 4, (1, 0, 0));
        check(&[0, 3], 4, (2, 0, 0));
        check(&[0, 1], 4, (2, 0, 0));
        check(&[], 4, (4, 0, 0));
    }

    #[test]
    fn doubles() {
        check(&[0, 0, 1, 2, 1], 3, (0, 2, 0));
        check(&[0, 2, 1, 1], 3, (0, 1, 1));
    }

    #[test]
    fn disorder_is_not_loss() {
        check(&[1, 0], 2, (0, 0, 1));
        check(&[0, 5, 3, 1, 4, 2], 6, (0, 0, 4));
        check(&[0, 5, 3, 1], 6, (2, 0, 2));
    }

    #[test]
    fn a_late_subscriber_owes_only_what_came_after() {
        let mut track = Track::default();
        track.restart(10);
        assert_eq!(track.finish(10), 0);
        assert_eq!(track.arrive(8), Arrival::InOrder);
        assert_eq!(track.arrive(9), Arrival::InOrder);
        assert_eq!(track.arrive(11), Arrival::InOrder);
        assert_eq!(track.finish(12), 1);
        track.restart(20);
        assert_eq!(track.arrive(22), Arrival::InOrder);
        assert_eq!(track.finish(23), 2);
        assert_eq!(track.arrive(9), Arrival::Doubled);
    }
}
