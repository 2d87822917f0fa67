//! Which nodes are members no more, each told once, with who has removed it as far as this node
//! knows: the bucket only says that a key has gone.

use std::collections::{BTreeSet, VecDeque};

use super::super::wire::Incarnation;
use super::{Members, Purpose};
use crate::router::{NodeName, Nodes};

/// Another node is a member no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    pub node: NodeName,
    pub way: Way,
}

/// How its key has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// This node has removed it, and was told so.
    Removed,
    /// It has left, or another node has removed it.
    Gone,
    /// A node of its name has taken its place: it was started again.
    Replaced,
}

#[derive(Debug, Default)]
pub(super) struct Departures {
    /// The latest are kept, as many as there can be nodes.
    gone: VecDeque<Gone>,
    /// Those that this node has removed, until they are told.
    removed: BTreeSet<Incarnation>,
}

#[derive(Debug)]
struct Gone {
    life: Incarnation,
    node: NodeName,
    is_replaced: bool,
}

impl Departures {
    /// A key has gone, or holds another life by now.
    pub(super) fn note(&mut self, life: Incarnation, node: NodeName, is_replaced: bool) {
        if self.gone.len() >= usize::from(Nodes::MOST)
            && let Some(oldest) = self.gone.pop_front()
        {
            self.removed.remove(&oldest.life);
        }
        self.gone.push_back(Gone { life, node, is_replaced });
    }

    /// This node was told that it has removed a life, whose key the watch still shows or not.
    pub(super) fn note_removed(&mut self, life: Incarnation, stands: bool) {
        if stands || self.gone.iter().any(|gone| gone.life == life) {
            self.removed.insert(life);
        }
    }
}

impl Members {
    /// The next node that is a member no more; to be asked until there is none. One that this node
    /// tries to remove is told when that was answered.
    pub fn take_departure(&mut self) -> Option<Departure> {
        loop {
            let gone = &self.roll.departures.gone;
            let at = gone.iter().position(|gone| !self.is_asked(Purpose::Remove(gone.life)))?;
            let Departures { gone, removed } = &mut self.roll.departures;
            let Gone { life, node, is_replaced } = gone.remove(at)?;
            let way = match (removed.remove(&life), is_replaced) {
                (true, _) => Way::Removed,
                (false, true) => Way::Replaced,
                (false, false) => Way::Gone,
            };
            // Lives of this node are no others, and a life whose number was another one stays.
            if node != self.identity.name && self.roll.find(life).is_none() {
                return Some(Departure { node, way });
            }
        }
    }

    /// Whether a write is under way, or waits.
    pub(super) fn is_asked(&self, purpose: Purpose) -> bool {
        let waiting = self.writes.iter().map(|(purpose, ..)| purpose);
        self.asked.values().chain(waiting).any(|asked| *asked == purpose)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bucket, Node};
    use super::super::{Outcome, Removals};
    use super::*;

    fn departures(node: &mut Node) -> Vec<(String, Way)> {
        let departures = std::iter::from_fn(|| node.members.take_departure());
        departures.map(|Departure { node, way }| (node.as_str().to_owned(), way)).collect()
    }

    /// Each removal is told once, at each node: by the one that has made it when it knows that.
    #[test]
    fn who_is_gone_is_told_once_with_who_has_removed_it() {
        for is_told_first in [true, false] {
            let mut bucket = Bucket::default();
            let mut nodes = [Node::new("a", 1), Node::new("b", 2), Node::new("c", 3)];
            for _ in 0..2 {
                nodes.iter_mut().for_each(|node| node.settle(&mut bucket));
            }
            let [a, b, c] = &mut nodes;
            let gone = c.members.incarnation();
            a.members.remove(gone);
            b.members.remove(gone);
            let write = a.members.take_write(a.now).expect("it is to go");
            let late = b.members.take_write(b.now).expect("here, too");
            let (outcome, refused) = (bucket.write(&write), bucket.write(&late));
            assert_eq!(refused, Outcome::Refused);
            if is_told_first {
                a.watch(&bucket);
                assert_eq!(departures(a), [], "nobody knows yet whose removal was made");
            }
            a.members.handle_written(write.ticket, outcome, a.now);
            a.watch(&bucket);
            assert_eq!(departures(a), [("c".to_owned(), Way::Removed)]);
            b.watch(&bucket);
            assert_eq!(departures(b), []);
            b.members.handle_written(late.ticket, refused, b.now);
            assert_eq!(departures(b), [("c".to_owned(), Way::Gone)]);
            c.settle(&mut bucket);
            assert_eq!(departures(c), [], "of itself `removals` tells");
            assert_eq!(c.members.removals(), Removals { others: 0, own: 1 });
            for node in [a, b] {
                node.settle(&mut bucket);
                assert_eq!(node.sees().len(), 2, "it is back");
                assert_eq!(departures(node), [], "which is no removal");
                let Departures { gone, removed } = &node.members.roll.departures;
                assert!(gone.is_empty() && removed.is_empty());
            }
        }
    }

    /// A node that leaves, one that is started again, one of which a new watch tells nothing any
    /// more, and one that writes its key again.
    #[test]
    fn who_leaves_and_who_is_started_again_are_told() {
        let (mut bucket, mut a) = (Bucket::default(), Node::new("a", 1));
        let (mut b, mut c) = (Node::new("b", 2), Node::stopping("c", 3));
        for _ in 0..3 {
            [&mut a, &mut b, &mut c].into_iter().for_each(|node| node.settle(&mut bucket));
        }
        assert_eq!(departures(&mut a), [], "who writes its key again stays");
        let mut again = Node::new("b", 4);
        again.settle(&mut bucket);
        a.settle(&mut bucket);
        assert_eq!(departures(&mut a), [("b".to_owned(), Way::Replaced)]);
        assert_eq!(departures(&mut again), [], "it is no other node");
        again.members.leave();
        again.settle(&mut bucket);
        a.settle(&mut bucket);
        assert_eq!(departures(&mut a), [("b".to_owned(), Way::Gone)]);
        a.members.handle_reset();
        assert_eq!(departures(&mut a), [], "all may still be told");
        let own = &bucket.keys["node.0"];
        let seed = &bucket.keys["seed"];
        for (key, (revision, value)) in [("seed", seed), ("node.0", own)] {
            a.members.handle_entry(*revision, key, Some(value), a.now);
        }
        a.members.handle_current();
        assert!(a.members.is_member());
        assert_eq!(departures(&mut a), [("c".to_owned(), Way::Gone)]);
    }

    /// Nobody need ask: no more is kept than there are nodes.
    #[test]
    fn who_is_gone_is_kept_for_a_while() {
        let (mut bucket, mut a) = (Bucket::default(), Node::new("a", 1));
        a.settle(&mut bucket);
        for life in 2..100 {
            let mut other = Node::new(&format!("b{life}"), life);
            other.settle(&mut bucket);
            a.settle(&mut bucket);
            a.members.remove(other.members.incarnation());
            a.settle(&mut bucket);
            a.settle(&mut bucket);
        }
        assert_eq!(a.members.removals().others, 98);
        let Departures { gone, removed } = &a.members.roll.departures;
        assert_eq!((gone.len(), removed.len()), (64, 64));
        let told = departures(&mut a);
        assert_eq!((told.len(), &*told[63].0), (64, "b99"));
        assert!(told.iter().all(|(_, way)| *way == Way::Removed));
    }
}
