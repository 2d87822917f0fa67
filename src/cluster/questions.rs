//! The questions of the meta API that are under way between this node and others: those of its
//! sessions, and those that others ask here.
//!
//! A question is over for a node with its last part, or with the link. Whoever asks waits for so
//! long and no longer; what comes then finds nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Millis;
use crate::router::{NodeNumber, ShardId};

#[derive(Debug, Default)]
pub(super) struct Questions {
    /// Those of this node's sessions, by the numbers that other nodes know them by, which rise.
    asked: BTreeMap<u64, Asked>,
    last_asked: u64,
    /// Those of others, by the tickets that the shards have of them.
    taken: BTreeMap<u64, Taken>,
    last_taken: u64,
}

/// A question of a session of this node.
#[derive(Debug)]
struct Asked {
    shard: ShardId,
    /// That of the shard.
    ticket: u64,
    /// Who has not given its last part.
    awaited: BTreeSet<NodeNumber>,
    /// Nobody waits for it any more from then on.
    until: Millis,
}

/// A question of another node that a shard of this one looks for the answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) node: NodeNumber,
    /// The other node has given it.
    pub(super) number: u64,
}

/// Who at this node is told of an answer.
pub(super) type Waiting = (ShardId, u64);

impl Questions {
    /// The number that the next question will have; [`Self::ask`] takes it.
    pub(super) const fn next(&self) -> u64 {
        self.last_asked + 1
    }

    /// A shard asks these nodes, of which there is at least one; returns the number.
    pub(super) fn ask(
        &mut self,
        (shard, ticket): Waiting,
        awaited: BTreeSet<NodeNumber>,
        until: Millis,
    ) -> u64 {
        debug_assert!(!awaited.is_empty(), "somebody is asked");
        self.last_asked += 1;
        self.asked.insert(self.last_asked, Asked { shard, ticket, awaited, until });
        self.last_asked
    }

    /// A node has given a part of its answer; `None`: nobody waits for that.
    pub(super) fn answer(
        &mut self,
        node: NodeNumber,
        number: u64,
        is_last: bool,
    ) -> Option<Waiting> {
        let asked = self.asked.get_mut(&number).filter(|asked| asked.awaited.contains(&node))?;
        let waiting = (asked.shard, asked.ticket);
        if is_last {
            asked.awaited.remove(&node);
            if asked.awaited.is_empty() {
                self.asked.remove(&number);
            }
        }
        Some(waiting)
    }

    /// Another node asks; returns the ticket for a shard.
    pub(super) fn take(&mut self, taken: Taken) -> u64 {
        self.last_taken += 1;
        self.taken.insert(self.last_taken, taken);
        self.last_taken
    }

    /// The question of another node that a shard answers; `None`: its link has ended.
    pub(super) fn taken(&mut self, ticket: u64, is_last: bool) -> Option<Taken> {
        let taken = self.taken.get(&ticket).copied();
        if is_last {
            self.taken.remove(&ticket);
        }
        taken
    }

    /// A link has ended: what the other end asked is not answered. Returns who has to be told that
    /// it will not answer either.
    pub(super) fn close(&mut self, node: NodeNumber) -> Vec<Waiting> {
        self.taken.retain(|_, taken| taken.node != node);
        let mut missed = Vec::new();
        self.asked.retain(|_, asked| {
            if asked.awaited.remove(&node) {
                missed.push((asked.shard, asked.ticket));
            }
            !asked.awaited.is_empty()
        });
        missed
    }

    /// Forgets those for which nobody waits any more.
    pub(super) fn forget_late(&mut self, now: Millis) {
        self.asked.retain(|_, asked| asked.until > now);
    }

    /// How many of this node are under way, and how many of others.
    pub(super) fn pending(&self) -> (usize, usize) {
        (self.asked.len(), self.taken.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeNumber {
        NodeNumber::new(number).expect("7 bits")
    }

    fn nodes(numbers: &[u8]) -> BTreeSet<NodeNumber> {
        numbers.iter().map(|number| node(*number)).collect()
    }

    #[test]
    fn a_question_is_over_with_the_last_part_of_each() {
        let mut questions = Questions::default();
        let first = questions.ask((ShardId(1), 7), nodes(&[3, 4]), Millis(10));
        let second = questions.ask((ShardId(2), 8), nodes(&[3]), Millis(20));
        assert!(first < second);
        assert_eq!(questions.answer(node(5), first, true), None, "it was not asked");
        assert_eq!(questions.answer(node(3), first, false), Some((ShardId(1), 7)));
        assert_eq!(questions.answer(node(3), first, true), Some((ShardId(1), 7)));
        assert_eq!(questions.answer(node(3), first, true), None, "it has said that it is all");
        assert_eq!(questions.close(node(4)), [(ShardId(1), 7)]);
        assert_eq!(questions.pending(), (1, 0));
        questions.forget_late(Millis(19));
        assert_eq!(questions.pending(), (1, 0));
        questions.forget_late(Millis(20));
        assert_eq!(questions.answer(node(3), second, true), None);
        assert_eq!(questions.pending(), (0, 0));
    }

    #[test]
    fn what_others_ask_ends_with_their_links() {
        let mut questions = Questions::default();
        let taken = |at, number| Taken { node: node(at), number };
        let (first, second) = (questions.take(taken(3, 1)), questions.take(taken(4, 1)));
        assert_eq!(questions.taken(first, false), Some(taken(3, 1)));
        assert_eq!(questions.close(node(3)), []);
        assert_eq!(questions.taken(first, true), None);
        assert_eq!(questions.taken(second, true), Some(taken(4, 1)));
        assert_eq!((questions.taken(second, true), questions.pending()), (None, (0, 0)));
    }
}
