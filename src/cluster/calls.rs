//! The calls that are pending through the links of a node: those that its sessions make, and those
//! that sessions of other nodes make here.
//!
//! Each call ends once: with its last answer, with a CANCEL for which nobody waits, or with its
//! link. Whoever ends it takes it out of here, and what comes of it later finds nothing.

use std::collections::BTreeMap;

use super::wire::Incarnation;
use crate::router::{NodeNumber, Place, SessionRef, ShardId, Slot};
use crate::session::CallRef;
use crate::shard::{Cancellation, Invoke};
use crate::wamp::{CancelMode, Dict, RegistrationId, RequestId, SessionId};

/// Invariant: `by_name` is the inverse of what `sent` holds of all links.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Of each node with which a link is open.
    through: BTreeMap<NodeNumber, Through>,
    by_name: BTreeMap<Name, (NodeNumber, u64)>,
    /// The number of the last call that was sent, to whichever node.
    last: u64,
}

/// How shards know a call of a session of theirs: the caller, its request, and its serial.
type Name = (SessionId, RequestId, u32);

/// What is pending through one link.
#[derive(Debug)]
pub(super) struct Through {
    pub(super) peer: Incarnation,
    /// The calls of this node's sessions, by their numbers.
    sent: BTreeMap<u64, CallRef>,
    /// Those of the other node's, by the numbers that it gives them.
    taken: BTreeMap<u64, Taken>,
    last_taken: u64,
}

/// A call of another node that a session of this one has got, or will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) callee: SessionRef,
    pub(super) caller: SessionId,
    pub(super) registration: RegistrationId,
}

/// Names a pending call at both nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// The node at the other end.
    pub(super) node: NodeNumber,
    /// The caller's node has given it.
    pub(super) count: u64,
}

impl Calls {
    /// A link is open, through which nothing is pending.
    pub(super) fn open(&mut self, node: NodeNumber, peer: Incarnation) {
        let (sent, taken) = (BTreeMap::new(), BTreeMap::new());
        let before = self.through.insert(node, Through { peer, sent, taken, last_taken: 0 });
        debug_assert!(before.is_none(), "the link before has ended");
    }

    /// A link has ended: the calls that this node has sent through it, and where those of the other
    /// one are to be ended, both in their order.
    pub(super) fn close(&mut self, node: NodeNumber) -> (Vec<CallRef>, Vec<Cancellation>) {
        let Some(through) = self.through.remove(&node) else { return Default::default() };
        let sent: Vec<_> = through.sent.into_values().collect();
        for call in &sent {
            self.by_name.remove(&name_of(call));
        }
        let taken = through.taken.into_iter();
        let mode = CancelMode::KillNoWait;
        let taken = taken.map(|(count, it)| it.cancellation(Number { node, count }, mode));
        (sent, taken.collect())
    }

    /// Who is at the other end of the open link with a node.
    pub(super) fn peer(&self, node: NodeNumber) -> Option<Incarnation> {
        self.through.get(&node).map(|through| through.peer)
    }

    /// The count that the next call will have; [`Self::send`] takes it.
    pub(super) const fn next(&self) -> u64 {
        self.last + 1
    }

    /// A call goes out through the open link with a node.
    pub(super) fn send(&mut self, node: NodeNumber, call: CallRef) {
        let Some(through) = self.through.get_mut(&node) else { return };
        self.last += 1;
        through.sent.insert(self.last, call);
        let before = self.by_name.insert(name_of(&call), (node, self.last));
        debug_assert!(before.is_none(), "a call is at one callee at a time");
    }

    /// The number of a call that shards know so.
    pub(super) fn sent_as(&self, name: Name) -> Option<Number> {
        self.by_name.get(&name).map(|(node, count)| Number { node: *node, count: *count })
    }

    /// The call of this node that has this number and is pending.
    pub(super) fn sent(&self, number: Number) -> Option<CallRef> {
        self.through.get(&number.node)?.sent.get(&number.count).copied()
    }

    /// Ends a call of this node.
    pub(super) fn end_sent(&mut self, number: Number) -> Option<CallRef> {
        let call = self.through.get_mut(&number.node)?.sent.remove(&number.count)?;
        self.by_name.remove(&name_of(&call));
        Some(call)
    }

    /// Another node has sent a call; `false` if it gives numbers that do not rise.
    pub(super) fn note_number(&mut self, number: Number) -> bool {
        let Some(through) = self.through.get_mut(&number.node) else { return false };
        number.count > std::mem::replace(&mut through.last_taken, number.count)
    }

    /// A call of another node goes to a session of this one.
    pub(super) fn take(&mut self, number: Number, taken: Taken) {
        if let Some(through) = self.through.get_mut(&number.node) {
            through.taken.insert(number.count, taken);
        }
    }

    /// The call of another node that has this number and is pending.
    pub(super) fn taken(&self, number: Number) -> Option<Taken> {
        self.through.get(&number.node)?.taken.get(&number.count).copied()
    }

    /// Ends a call of another node.
    pub(super) fn end_taken(&mut self, number: Number) -> Option<Taken> {
        self.through.get_mut(&number.node)?.taken.remove(&number.count)
    }

    /// How many calls of this node are pending elsewhere, and how many of others here.
    pub(super) fn pending(&self) -> (usize, usize) {
        let taken = self.through.values().map(|through| through.taken.len());
        (self.by_name.len(), taken.sum())
    }

    /// The calls of this node are found by name and by number.
    pub(super) fn check(&self) {
        let sent = self.through.iter().flat_map(|(node, through)| {
            through.sent.iter().map(|(count, call)| (name_of(call), (*node, *count)))
        });
        assert_eq!(sent.collect::<BTreeMap<_, _>>(), self.by_name);
        let mut all = self.through.values();
        assert!(all.all(|it| it.taken.keys().all(|count| *count <= it.last_taken)));
    }
}

impl Taken {
    /// What a shard of this node is to be told.
    pub(super) fn invoke(&self, number: Number, details: Dict) -> Invoke {
        Invoke {
            call: number.call_of(self.caller),
            callee: self.callee,
            registration: self.registration,
            place: Place::default(),
            details,
            is_continuation: false,
            receive_progress: false,
            takes_passthru: false,
            load: None,
        }
    }

    pub(super) fn cancellation(&self, number: Number, mode: CancelMode) -> Cancellation {
        let CallRef { caller, request, serial } = number.call_of(self.caller);
        let (callee, caller) = (self.callee, caller.session);
        Cancellation { callee, caller, call: request, serial, mode }
    }
}

impl Number {
    /// What the shards of this node call a call of another one. The node's number is in the id of
    /// the request, with a bit that no shard has, so no two callers have the same: the routers of
    /// all nodes ask by the name of [`SessionId::ROUTER`], and count by themselves.
    pub(super) fn call_of(self, caller: SessionId) -> CallRef {
        let node = NODE_BIT | u64::from(self.node.get());
        let request = (self.count & COUNT_MASK) << NODE_BITS | node;
        let request = RequestId::new(request).expect("53 bits of which one is set");
        let serial = (self.count >> COUNT_BITS) as u32;
        let caller = SessionRef { session: caller, slot: Slot::new(0), shard: ShardId::CLUSTER };
        CallRef { caller, request, serial }
    }

    /// The reverse of [`Self::call_of`]; `None` if that has not made it.
    pub(super) fn of_call(call: &CallRef) -> Option<Self> {
        let request = call.request.get();
        let node = request & NODE_MASK;
        let is_foreign = call.caller.shard == ShardId::CLUSTER && request & NODE_BIT != 0;
        let node = u8::try_from(node).ok().and_then(NodeNumber::new).filter(|_| is_foreign)?;
        let count = u64::from(call.serial) << COUNT_BITS | request >> NODE_BITS;
        Some(Self { node, count })
    }
}

const fn name_of(call: &CallRef) -> Name {
    (call.caller.session, call.request, call.serial)
}

/// Of the id of a request: the node, and a bit that tells it from a shard, whose own questions have
/// its number there.
const NODE_BITS: u32 = NodeNumber::BITS + 1;
const NODE_MASK: u64 = NODE_BIT - 1;
const NODE_BIT: u64 = 1 << NodeNumber::BITS;

/// Of a count: what stands in the id of the request; the rest is the serial.
const COUNT_BITS: u32 = 44;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeNumber {
        NodeNumber::new(number).expect("7 bits")
    }

    fn session(number: u64) -> SessionId {
        SessionId::new(number).expect("in range")
    }

    fn call(number: u64) -> CallRef {
        let caller = SessionRef { session: session(1), slot: Slot::new(0), shard: ShardId(0) };
        CallRef { caller, request: RequestId::new(number).expect("in range"), serial: 7 }
    }

    fn taken(callee: u64) -> Taken {
        let shard = ShardId(0);
        let callee = SessionRef { session: session(callee), slot: Slot::new(0), shard };
        let registration = RegistrationId::new(5).expect("in range");
        Taken { callee, caller: session(9), registration }
    }

    fn open(nodes: &[u8]) -> Calls {
        let mut calls = Calls::default();
        for number in nodes {
            calls.open(node(*number), Incarnation(u64::from(*number)));
        }
        calls
    }

    #[test]
    fn a_call_is_found_until_it_ends() {
        let mut calls = open(&[3, 4]);
        assert_eq!((calls.peer(node(3)), calls.peer(node(5))), (Some(Incarnation(3)), None));
        for (number, to) in [(10, 3), (11, 4), (12, 3)] {
            let count = calls.next();
            calls.send(node(to), call(number));
            let found = calls.sent_as(name_of(&call(number)));
            assert_eq!(found, Some(Number { node: node(to), count }));
        }
        calls.check();
        let second = Number { node: node(4), count: 2 };
        assert_eq!(calls.sent(second), Some(call(11)));
        assert_eq!(calls.sent(Number { node: node(3), count: 2 }), None, "it is another node's");
        assert_eq!((calls.end_sent(second), calls.end_sent(second)), (Some(call(11)), None));
        assert_eq!(calls.sent_as(name_of(&call(11))), None);
        let of_before = CallRef { serial: 6, ..call(10) };
        assert_eq!(calls.sent_as(name_of(&of_before)), None);
        assert_eq!(calls.pending(), (2, 0));
        assert_eq!(calls.close(node(3)).0, [call(10), call(12)]);
        assert_eq!(calls.close(node(3)).0, []);
        calls.check();
        assert_eq!(calls.pending(), (0, 0));
        // Counts go on behind those of the link that has ended.
        calls.open(node(3), Incarnation(30));
        assert_eq!(calls.next(), 4);
    }

    #[test]
    fn calls_of_others_have_rising_numbers() {
        let mut calls = open(&[3]);
        let number = |count| Number { node: node(3), count };
        assert!(calls.note_number(number(5)));
        calls.take(number(5), taken(1));
        assert!(!calls.note_number(number(5)), "once more");
        assert!(calls.note_number(number(9)));
        calls.take(number(9), taken(2));
        assert!(!calls.note_number(number(8)));
        assert!(!calls.note_number(Number { node: node(4), count: 1 }), "it is not linked");
        assert_eq!(calls.taken(number(5)), Some(taken(1)));
        assert_eq!((calls.end_taken(number(5)), calls.taken(number(5))), (Some(taken(1)), None));
        let (_, canceled) = calls.close(node(3));
        let [Cancellation { callee, caller, call, serial, mode }] = canceled[..] else {
            panic!("{canceled:?}")
        };
        assert_eq!((callee, caller), (taken(2).callee, session(9)));
        let named = number(9).call_of(session(9));
        assert_eq!((call, serial, mode), (named.request, named.serial, CancelMode::KillNoWait));
    }

    /// The name of a call at the callee's shards tells the call, and is that of no other.
    #[test]
    fn a_number_is_found_in_the_name_that_is_made_of_it() {
        let counts = [1, 2, COUNT_MASK, COUNT_MASK + 1, COUNT_MASK + 2, u64::MAX];
        let mut names = Vec::new();
        for (count, at) in counts.into_iter().flat_map(|count| [(count, 0), (count, 127)]) {
            let number = Number { node: node(at), count };
            let named = number.call_of(SessionId::ROUTER);
            assert_eq!(Number::of_call(&named), Some(number));
            assert!(!names.contains(&(named.request, named.serial)), "{number:?}");
            names.push((named.request, named.serial));
        }
        assert_eq!(Number::of_call(&call(0x80)), None, "a call of this node");
        let caller = SessionRef { shard: ShardId::CLUSTER, ..call(1).caller };
        assert_eq!(Number::of_call(&CallRef { caller, ..call(61) }), None, "it has no node");
    }
}
