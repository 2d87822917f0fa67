//! Which nodes of a cluster want the events of a topic, and which topics this one wants.
//!
//! A keyed hash of realm, policy and pattern names one of so many *slots*. Each node counts its
//! patterns by slot and tells the others which slots are in use; they keep the nodes of each slot
//! as bits. So a publication costs one hash and one load for its topic, and as much for each shape
//! of patterns in use, whatever is subscribed to elsewhere. Two patterns in one slot cost an event
//! that nobody wants at the other node, and nothing else.
//!
//! The shards write down what they want and read who wants; the task for other nodes does the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::{fmt, iter};

use parking_lot::Mutex;

use super::shapes::{Asker, Shape, Shapes};
use super::{NodeIds, NodeNumber};
use crate::hash::{HashSeed, Map};
use crate::wamp::MatchPolicy;

/// A slot, which stands for many patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterestSlot(u32);

impl InterestSlot {
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Some nodes of a cluster: those with numbers below [`Nodes::MOST`] that are linked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nodes(u64);

impl Nodes {
    pub const MOST: u8 = 64;

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn contains(self, node: NodeNumber) -> bool {
        node.get() < Self::MOST && self.0 >> node.get() & 1 == 1
    }
}

/// What one node wants, and what it knows of the others.
pub struct Interest {
    ids: NodeIds,
    /// Of this node's patterns: how many, and what the others know of it.
    own: Box<[AtomicU32]>,
    /// The slots of `own` that are not 0, as bits, and those that were not at the last look: one
    /// passes over all others.
    marks: Box<[AtomicU64]>,
    own_shapes: Mutex<Map<Shape, OwnShape>>,
    /// Of other nodes' patterns: the nodes as bits.
    remote: Box<[AtomicU64]>,
    /// In use by other nodes, once for each.
    remote_shapes: Shapes,
    /// Nodes that get every publication: they use more shapes than one looks for.
    greedy: AtomicU64,
}

/// A shape of this node's patterns.
#[derive(Debug, Default)]
struct OwnShape {
    patterns: usize,
    /// All others look for it.
    is_confirmed: bool,
}

impl Interest {
    /// `bits` is the number of slots as a power of two, brought into 1 to 24; it is the same on all
    /// nodes.
    pub fn new(ids: NodeIds, bits: u8, seed: &HashSeed) -> Self {
        let slots = 1_u32 << bits.clamp(1, 24);
        Self {
            ids,
            own: (0..slots).map(|_| AtomicU32::new(0)).collect(),
            marks: (0..slots.div_ceil(MARKS)).map(|_| AtomicU64::new(0)).collect(),
            own_shapes: Mutex::new(seed.map()),
            remote: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            remote_shapes: Shapes::new(seed),
            greedy: AtomicU64::new(0),
        }
    }

    /// What other nodes are to be told of a pattern.
    pub fn place(
        &self,
        realm: &str,
        policy: MatchPolicy,
        uri: &str,
    ) -> (InterestSlot, Option<Shape>) {
        (self.slot(realm, policy, uri), Shape::of(uri, policy))
    }

    /// The slot of a pattern.
    pub fn slot(&self, realm: &str, policy: MatchPolicy, uri: &str) -> InterestSlot {
        let hash = self.ids.pattern(realm, policy, uri, 0);
        InterestSlot((hash % self.own.len() as u64) as u32)
    }

    /// The slot of this number, if there is one.
    pub const fn slot_at(&self, number: u32) -> Option<InterestSlot> {
        if (number as usize) < self.own.len() { Some(InterestSlot(number)) } else { None }
    }

    /// This node has a subscription to a pattern, which it had not.
    pub(super) fn enter(&self, realm: &str, policy: MatchPolicy, uri: &str) {
        if let Some(shape) = Shape::of(uri, policy) {
            self.own_shapes.lock().entry(shape).or_default().patterns += 1;
        }
        let slot = self.slot(realm, policy, uri);
        let word = &self.own[slot.0 as usize];
        word.fetch_add(1, Ordering::AcqRel);
        word.fetch_and(!IDLE, Ordering::AcqRel);
        self.mark(slot);
    }

    /// This node has no subscription to a pattern any more.
    pub(super) fn leave(&self, realm: &str, policy: MatchPolicy, uri: &str) {
        let word = &self.own[self.slot(realm, policy, uri).0 as usize];
        let before = word.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before & COUNT > 0, "what leaves has entered");
        if let Some(shape) = Shape::of(uri, policy) {
            let mut shapes = self.own_shapes.lock();
            let own = shapes.get_mut(&shape).expect("what leaves has entered");
            own.patterns -= 1;
            if own.patterns == 0 {
                shapes.remove(&shape);
            }
        }
    }

    /// Whether every linked node sends this one what the pattern matches.
    pub fn is_confirmed(&self, realm: &str, policy: MatchPolicy, uri: &str) -> bool {
        let word = self.own[self.slot(realm, policy, uri).0 as usize].load(Ordering::Acquire);
        let is_looked_for = |shape| {
            self.own_shapes.lock().get(&shape).is_some_and(|own: &OwnShape| own.is_confirmed)
        };
        word & CONFIRMED != 0 && Shape::of(uri, policy).is_none_or(is_looked_for)
    }

    /// The nodes that want what is published to a topic, and how many slots were looked up.
    pub fn nodes(&self, realm: &str, topic: &str) -> (Nodes, usize) {
        let at = |policy, uri: &str| {
            self.remote[self.slot(realm, policy, uri).0 as usize].load(Ordering::Acquire)
        };
        let mut nodes = self.greedy.load(Ordering::Acquire) | at(MatchPolicy::Exact, topic);
        let mut looked_up = 1;
        self.remote_shapes.find(topic, |policy, pattern| {
            looked_up += 1;
            nodes |= at(policy, pattern);
            None::<()>
        });
        (Nodes(nodes), looked_up)
    }
}

/// What the task for other nodes does with the interest of this one.
impl Interest {
    /// Notes that the others are told of a slot; `false` if they were before.
    pub fn tell(&self, slot: InterestSlot) -> bool {
        let is_news = self.own[slot.0 as usize].fetch_or(TOLD, Ordering::AcqRel) & TOLD == 0;
        if is_news {
            self.mark(slot);
        }
        is_news
    }

    /// Notes that all others have heard of a slot.
    pub fn confirm(&self, slot: InterestSlot) {
        let word = &self.own[slot.0 as usize];
        let confirmed = |word: u32| (word & TOLD != 0).then_some(word | CONFIRMED);
        let _ = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, confirmed);
    }

    /// All slots that the others are told of.
    pub fn told(&self) -> impl Iterator<Item = InterestSlot> {
        self.slots_with(|word| word & TOLD != 0)
    }

    /// All slots that are used and that the others are not told of.
    pub fn untold(&self) -> impl Iterator<Item = InterestSlot> {
        self.slots_with(|word| word & TOLD == 0 && word & COUNT > 0)
    }

    fn slots_with(&self, wanted: impl Fn(u32) -> bool) -> impl Iterator<Item = InterestSlot> {
        self.marked().filter(move |slot| wanted(self.own[slot.0 as usize].load(Ordering::Acquire)))
    }

    /// Looks at all slots: those that were not used at the last look either are given up, and
    /// returned. From then on whoever subscribes tells the others anew.
    pub fn give_up_unused(&self) -> Vec<InterestSlot> {
        let mut given_up = Vec::new();
        for slot in self.marked() {
            let word = &self.own[slot.0 as usize];
            let seen = word.load(Ordering::Acquire);
            if seen == 0 {
                self.unmark(slot);
            }
            // What not all have heard of is confirmed first: it must not be so of its next life.
            if seen & CONFIRMED == 0 || seen & COUNT > 0 {
                continue;
            }
            let next = if seen & IDLE == 0 { seen | IDLE } else { 0 };
            let swapped = word.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire);
            if swapped.is_ok() && next == 0 {
                given_up.push(slot);
            }
        }
        given_up
    }

    fn marked(&self) -> impl Iterator<Item = InterestSlot> {
        self.marks.iter().zip(0..).flat_map(|(word, index)| {
            let mut left = word.load(Ordering::Acquire);
            iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(InterestSlot(index * MARKS + bit))
            })
        })
    }

    /// After the slot's word has changed. Always writes: whoever unmarks it later sees that word,
    /// whoever did so earlier changes nothing.
    fn mark(&self, slot: InterestSlot) {
        let mark = 1 << (slot.0 % MARKS);
        self.marks[(slot.0 / MARKS) as usize].fetch_or(mark, Ordering::AcqRel);
    }

    fn unmark(&self, slot: InterestSlot) {
        let mark = 1 << (slot.0 % MARKS);
        self.marks[(slot.0 / MARKS) as usize].fetch_and(!mark, Ordering::AcqRel);
        if self.own[slot.0 as usize].load(Ordering::Acquire) != 0 {
            self.mark(slot);
        }
    }

    /// The shapes of this node's patterns.
    pub fn own_shapes(&self) -> Vec<Shape> {
        self.own_shapes.lock().keys().copied().collect()
    }

    /// Notes that all others look for a shape.
    pub fn confirm_shape(&self, shape: Shape) {
        if let Some(own) = self.own_shapes.lock().get_mut(&shape) {
            own.is_confirmed = true;
        }
    }
}

/// What the task for other nodes does with the interest of those.
impl Interest {
    /// A node wants what falls into a slot, or does not.
    pub fn set_remote(&self, node: NodeNumber, slot: InterestSlot, wants: bool) {
        let word = &self.remote[slot.0 as usize];
        if wants {
            word.fetch_or(bit(node), Ordering::AcqRel);
        } else {
            word.fetch_and(!bit(node), Ordering::AcqRel);
        }
    }

    /// A node has begun to use a shape. It gets every publication from now on if that is one more
    /// than one looks for: `false`.
    pub fn add_remote_shape(&self, node: NodeNumber, shape: Shape) -> bool {
        let has_room = self.remote_shapes.acquire(Some(shape), Asker::Client).is_ok();
        if !has_room {
            self.greedy.fetch_or(bit(node), Ordering::AcqRel);
        }
        has_room
    }

    /// A node does not use a shape any more that there was room for.
    pub fn remove_remote_shape(&self, shape: Shape) {
        self.remote_shapes.release(Some(shape), 1);
    }

    /// A node wants nothing that it has said so far; its shapes are removed one by one.
    pub fn forget_remote(&self, node: NodeNumber) {
        self.greedy.fetch_and(!bit(node), Ordering::AcqRel);
        for word in &self.remote {
            if word.load(Ordering::Acquire) & bit(node) != 0 {
                word.fetch_and(!bit(node), Ordering::AcqRel);
            }
        }
    }

    /// The slots that a node wants, and whether it gets everything.
    pub fn remote(&self, node: NodeNumber) -> (Vec<InterestSlot>, bool) {
        let wanted = |word: &&AtomicU64| word.load(Ordering::Acquire) & bit(node) != 0;
        let numbered = self.remote.iter().zip(0..).filter(|(word, _)| wanted(word));
        let slots = numbered.map(|(_, number)| InterestSlot(number)).collect();
        (slots, self.greedy.load(Ordering::Acquire) & bit(node) != 0)
    }
}

/// What one realm says of its patterns; nothing, of a router that is alone.
#[derive(Clone, Debug, Default)]
pub(super) struct RealmInterest {
    interest: Option<Arc<Interest>>,
    realm: Arc<str>,
}

impl RealmInterest {
    pub(super) const fn new(interest: Option<Arc<Interest>>, realm: Arc<str>) -> Self {
        Self { interest, realm }
    }

    /// There is a pattern that there was not.
    pub(super) fn enter(&self, policy: MatchPolicy, uri: &str) {
        if let Some(interest) = &self.interest {
            interest.enter(&self.realm, policy, uri);
        }
    }

    /// A pattern is gone.
    pub(super) fn leave(&self, policy: MatchPolicy, uri: &str) {
        if let Some(interest) = &self.interest {
            interest.leave(&self.realm, policy, uri);
        }
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interest").field("slots", &self.own.len()).finish_non_exhaustive()
    }
}

const fn bit(node: NodeNumber) -> u64 {
    debug_assert!(node.get() < Nodes::MOST, "members have numbers below that");
    1 << (node.get() % Nodes::MOST)
}

/// Slots in one word of `marks`.
const MARKS: u32 = u64::BITS;

/// In a word of `own`: the others are told of the slot.
const TOLD: u32 = 1 << 31;
/// All of them have heard it.
const CONFIRMED: u32 = 1 << 30;
/// At the last look it was not used.
const IDLE: u32 = 1 << 29;
/// How many patterns it has.
const COUNT: u32 = IDLE - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeNumber {
        NodeNumber::new(number).expect("7 bits")
    }

    fn interest(number: u8, bits: u8) -> Interest {
        Interest::new(NodeIds::new(node(number), 42), bits, &HashSeed::new(1))
    }

    /// What the first wants, as the second hears it.
    fn tell_all(from: &Interest, to: &Interest) {
        from.untold().for_each(|slot| assert!(from.tell(slot)));
        from.told().for_each(|slot| to.set_remote(from.ids.node(), slot, true));
        for shape in from.own_shapes() {
            to.add_remote_shape(from.ids.node(), shape);
        }
    }

    fn wants(interest: &Interest, topic: &str) -> Vec<u8> {
        let (nodes, _) = interest.nodes("realm1", topic);
        (0..Nodes::MOST).filter(|number| nodes.contains(node(*number))).collect()
    }

    #[test]
    fn a_publication_goes_where_a_pattern_matches_it() {
        let (here, there) = (interest(0, 20), interest(5, 20));
        there.enter("realm1", MatchPolicy::Exact, "com.x");
        there.enter("realm1", MatchPolicy::Prefix, "org.");
        there.enter("realm1", MatchPolicy::Wildcard, "net..y");
        tell_all(&there, &here);
        for topic in ["com.x", "org.", "org.any", "net.any.y"] {
            assert_eq!(wants(&here, topic), [5], "{topic}");
        }
        for topic in ["com.y", "or", "net.any.z", "net.y"] {
            assert_eq!(wants(&here, topic), [0; 0], "{topic}");
        }
        assert!(here.nodes("realm2", "com.x").0.is_empty(), "of another realm");
        here.forget_remote(node(5));
        there.own_shapes().into_iter().for_each(|shape| here.remove_remote_shape(shape));
        assert!(wants(&here, "com.x").is_empty() && here.remote_shapes.use_count() == 0);
        assert_eq!(here.remote(node(5)), (vec![], false));
    }

    /// A slot is given up at the second look that finds it unused, and told anew after that.
    #[test]
    fn what_is_not_used_is_given_up_a_while_later() {
        let (here, exact) = (interest(0, 20), MatchPolicy::Exact);
        let slot = here.slot("realm1", exact, "com.x");
        let is_confirmed = || here.is_confirmed("realm1", exact, "com.x");
        here.enter("realm1", exact, "com.x");
        assert!(here.tell(slot) && !here.tell(slot), "once");
        assert!(!is_confirmed());
        here.confirm(slot);
        assert!(is_confirmed());
        here.leave("realm1", exact, "com.x");
        assert_eq!(here.give_up_unused(), [], "it may be used again soon");
        here.enter("realm1", exact, "com.x");
        assert_eq!(here.give_up_unused(), []);
        here.leave("realm1", exact, "com.x");
        assert!(here.give_up_unused().is_empty() && is_confirmed());
        assert_eq!((here.give_up_unused(), is_confirmed()), (vec![slot], false));
        assert!(here.give_up_unused().is_empty() && here.marked().next().is_none());
        here.confirm(slot);
        assert!(!is_confirmed(), "it came too late");
        here.enter("realm1", exact, "com.x");
        assert!(here.untold().eq([slot]) && here.tell(slot));
        here.leave("realm1", exact, "com.x");
        assert!((0..3).all(|_| here.give_up_unused().is_empty()), "not all have heard of it yet");
    }

    /// Whoever enters a slot between a look that finds it unused and the end of that look is found
    /// by all later ones.
    #[test]
    fn a_look_overlooks_nobody_who_comes() {
        let (here, exact) = (interest(0, 10), MatchPolicy::Exact);
        let slot = here.slot("realm1", exact, "com.x");
        here.enter("realm1", exact, "com.x");
        here.unmark(slot);
        assert!(here.untold().eq([slot]));
        here.leave("realm1", exact, "com.x");
        here.unmark(slot);
        assert!(here.marked().next().is_none());
    }

    /// A slot that all know of is not enough for a pattern of a shape that they do not look for.
    #[test]
    fn a_pattern_is_confirmed_with_its_shape() {
        let here = interest(0, 1);
        let is_confirmed = || here.is_confirmed("realm1", MatchPolicy::Prefix, "com.x");
        here.enter("realm1", MatchPolicy::Prefix, "com.x");
        (0..2).filter_map(|number| here.slot_at(number)).for_each(|slot| {
            here.tell(slot);
            here.confirm(slot);
        });
        assert!(!is_confirmed());
        let [shape] = here.own_shapes()[..] else { panic!("it has one") };
        here.confirm_shape(shape);
        assert!(is_confirmed());
        here.leave("realm1", MatchPolicy::Prefix, "com.x");
        here.enter("realm1", MatchPolicy::Prefix, "com.x");
        assert!(!is_confirmed(), "it may have been taken back meanwhile");
    }

    /// Whoever uses more shapes than are looked for gets every publication, and costs publishers to
    /// other topics nothing more.
    #[test]
    fn a_node_of_many_shapes_gets_everything() {
        let here = interest(0, 8);
        let shape = |mask: u128| Shape::Wildcard { components: 14, open: mask << 114 };
        let added = (0..2_000).filter(|mask| here.add_remote_shape(node(3), shape(*mask))).count();
        assert!(added < 1_000, "{added} shapes of 14 components");
        assert_eq!(wants(&here, "any.topic"), [3]);
        here.forget_remote(node(3));
        assert_eq!(wants(&here, "any.topic"), [0; 0]);
    }
}
