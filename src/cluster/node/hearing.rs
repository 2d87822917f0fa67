//! Who hears whom, as nodes say in their heartbeats. By this a node tells a member that has gone
//! from one that only it does not hear: of two that do not hear each other, while others hear both,
//! one is to leave, once, until it hears all.

use std::collections::{BTreeMap, BTreeSet};

use super::super::wire::Incarnation;
use crate::clock::Millis;

/// The last heartbeat of each other member.
#[derive(Debug, Default)]
pub(super) struct Hearing(BTreeMap<Incarnation, LastBeat>);

#[derive(Debug)]
struct LastBeat {
    at: Millis,
    /// How far it had read the bucket.
    revision: u64,
    /// With whom it had a link, and had heard lately.
    hears: BTreeSet<Incarnation>,
}

/// What others say of a member that this node does not hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Nobody who is heard here hears it.
    Gone,
    /// Whoever is heard here, and hears it, hears this node as well.
    HearsBoth,
    /// Somebody hears it, and not this node.
    HearsIt,
}

impl Hearing {
    pub(super) fn take(
        &mut self,
        from: Incarnation,
        revision: u64,
        hears: BTreeSet<Incarnation>,
        now: Millis,
    ) {
        self.0.insert(from, LastBeat { at: now, revision, hears });
    }

    pub(super) fn forget(&mut self, mut has_gone: impl FnMut(Incarnation) -> bool) {
        self.0.retain(|from, _| !has_gone(*from));
    }

    /// Whether the heartbeats of a member come.
    pub(super) fn is_heard(&self, member: Incarnation, now: Millis) -> bool {
        self.0.get(&member).is_some_and(|beat| beat.is_fresh(now))
    }

    /// How far who is heard has read the bucket at least.
    pub(super) fn revision(&self, now: Millis) -> u64 {
        self.fresh(now).map(|(_, beat)| beat.revision).max().unwrap_or_default()
    }

    /// What others say of `member` to `me`.
    pub(super) fn ask(&self, member: Incarnation, me: Incarnation, now: Millis) -> Word {
        let others = self.fresh(now).filter(|(from, _)| **from != member);
        let mut witnesses = others.filter(|(_, beat)| beat.hears.contains(&member)).peekable();
        if witnesses.peek().is_none() {
            Word::Gone
        } else if witnesses.all(|(_, beat)| beat.hears.contains(&me)) {
            Word::HearsBoth
        } else {
            Word::HearsIt
        }
    }

    fn fresh(&self, now: Millis) -> impl Iterator<Item = (&Incarnation, &LastBeat)> {
        self.0.iter().filter(move |(_, beat)| beat.is_fresh(now))
    }
}

impl LastBeat {
    fn is_fresh(&self, now: Millis) -> bool {
        now.since(self.at) < FRESH_MS
    }
}

/// For how long a heartbeat says how things are, in milliseconds, and how long ago whoever it says
/// to hear was heard at most: one comes each second.
pub(super) const FRESH_MS: u64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Incarnation = Incarnation(1);
    const OTHER: Incarnation = Incarnation(2);

    fn heard(beats: &[(u64, &[u64])]) -> Hearing {
        let mut hearing = Hearing::default();
        for (from, hears) in beats {
            let hears = hears.iter().copied().map(Incarnation).collect();
            hearing.take(Incarnation(*from), *from, hears, Millis(5));
        }
        hearing
    }

    #[test]
    fn others_tell_who_is_there() {
        for (beats, word) in [
            (&[][..], Word::Gone),
            (&[(3, &[1][..])], Word::Gone),
            (&[(3, &[1, 2])], Word::HearsBoth),
            (&[(3, &[2])], Word::HearsIt),
            (&[(3, &[1, 2]), (4, &[1])], Word::HearsBoth),
            (&[(3, &[1, 2]), (4, &[2])], Word::HearsIt),
            // It cannot speak for itself.
            (&[(2, &[1, 2])], Word::Gone),
        ] {
            assert_eq!(heard(beats).ask(OTHER, ME, Millis(5)), word, "{beats:?}");
        }
    }

    #[test]
    fn what_was_said_long_ago_does_not_count() {
        let mut hearing = heard(&[(3, &[1, 2])]);
        let (last, after) = (Millis(5 + FRESH_MS - 1), Millis(5 + FRESH_MS));
        assert_eq!(hearing.ask(OTHER, ME, last), Word::HearsBoth);
        assert!(hearing.is_heard(Incarnation(3), last));
        assert_eq!((hearing.revision(last), hearing.revision(after)), (3, 0));
        assert_eq!(hearing.ask(OTHER, ME, after), Word::Gone);
        assert!(!hearing.is_heard(Incarnation(3), after));
        hearing.forget(|from| from == Incarnation(3));
        assert!(hearing.0.is_empty());
    }
}
