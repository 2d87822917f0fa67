//! Which publications a subscription has had, and from which one on its history is asked.
//!
//! A router gives a history its order when events are published, and delivers those of several
//! publishers in whatever order they arrive. So the question goes back some events further than the
//! last one, and what is known already is passed over.

use std::collections::{HashSet, VecDeque};

use stentor_protocol::wamp::PublicationId;

/// The last publications that were delivered.
#[derive(Default)]
pub(super) struct Seen {
    known: HashSet<PublicationId>,
    order: VecDeque<PublicationId>,
    /// Retained events, which were published before their turn: no history is read after them.
    retained: VecDeque<PublicationId>,
    /// The history when the subscription began.
    pub(super) start: Option<Anchor>,
}

/// After what a history is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    /// It was empty.
    Beginning,
    Publication(PublicationId),
}

impl Seen {
    /// Whether it is new.
    pub(super) fn note(&mut self, publication: PublicationId) -> bool {
        if !self.known.insert(publication) {
            return false;
        }
        self.order.push_back(publication);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// Whether a retained event is new.
    pub(super) fn note_retained(&mut self, publication: PublicationId) -> bool {
        if !self.known.insert(publication) {
            return false;
        }
        self.retained.push_back(publication);
        if self.retained.len() > REMEMBERED
            && let Some(oldest) = self.retained.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    pub(super) fn contains(&self, publication: PublicationId) -> bool {
        self.known.contains(&publication)
    }

    /// After what the history is to be read; `None` if nothing is known of it.
    pub(super) fn anchor(&self) -> Option<Anchor> {
        if self.order.len() >= REORDERED {
            let far = self.order.len() - REORDERED;
            return self.order.get(far).copied().map(Anchor::Publication);
        }
        // All that was had since the beginning is known.
        self.start.or_else(|| self.order.front().copied().map(Anchor::Publication))
    }
}

/// Publications that are remembered for one subscription: more than arrive out of order, and more
/// than are asked for anew.
const REMEMBERED: usize = 4_096;

/// How many events may have overtaken one another.
const REORDERED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> PublicationId {
        PublicationId::new(number).unwrap()
    }

    #[test]
    fn the_question_goes_back_some_events_but_not_before_the_beginning() {
        let mut seen = Seen::default();
        assert_eq!(seen.anchor(), None);
        seen.start = Some(Anchor::Publication(id(1_000_000)));
        for number in 1..=63 {
            assert!(seen.note(id(number)));
        }
        assert_eq!(seen.anchor(), Some(Anchor::Publication(id(1_000_000))));
        assert!(seen.note(id(64)) && !seen.note(id(64)));
        assert_eq!(seen.anchor(), Some(Anchor::Publication(id(1))));
        assert!((65..=100_000).all(|number| seen.note(id(number))));
        assert_eq!(seen.anchor(), Some(Anchor::Publication(id(99_937))));
        assert_eq!((seen.order.len(), seen.known.len()), (REMEMBERED, REMEMBERED));
        assert!(!seen.contains(id(95_904)) && seen.contains(id(95_905)));
    }
}
