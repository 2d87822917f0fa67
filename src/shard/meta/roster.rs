//! Rosters: what stands at each node of a cluster of what meta events tell of, the sessions of a
//! realm or its subscriptions; and how one travels, in pieces between events.
//!
//! Whoever makes a piece looks at the table at a moment between two events, and hands it on in line
//! with them; so whoever takes in both in their order knows what stands. A piece may be ahead of an
//! event that is on its way to be handed on, which then says nothing new.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::router::{Described, MetaFamily, MetaTopic, NodeNumber, Realm, Walk};
use crate::wamp::{Dict, SessionId, SubscriptionId, Value, dict_heap_bytes, heap_block, vec_block};

/// To the home shard of a realm: what stands at this node, from where the cursor is?
#[derive(Debug)]
pub struct RosterCall {
    pub realm: Arc<Realm>,
    /// Names whoever wants it.
    pub serial: u64,
    pub cursor: RosterCursor,
    /// Whoever gets the piece tells its listeners what they have not heard of.
    pub is_news: bool,
}

/// How far a roster has been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RosterCursor {
    Sessions(Walk<SessionId>),
    Subscriptions(Walk<SubscriptionId>),
}

/// The answer to that.
#[derive(Debug)]
pub struct RosterAnswer {
    pub serial: u64,
    /// From where the next piece begins.
    pub cursor: RosterCursor,
    pub piece: RosterPiece,
}

/// Some of what stands at a node.
#[derive(Clone, Debug, PartialEq)]
pub struct RosterPiece {
    /// What was said before and is not said again by the last piece stands no more.
    pub is_first: bool,
    pub is_last: bool,
    pub entries: RosterEntries,
}

#[derive(Clone, Debug, PartialEq)]
pub enum RosterEntries {
    Sessions(Vec<SessionEntry>),
    Subscriptions(Vec<SubscriptionEntry>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct SessionEntry {
    pub session: SessionId,
    pub authid: Box<str>,
    pub authrole: Box<str>,
    /// What `on_join` says, if it is to be said.
    pub details: Option<Dict>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionEntry {
    pub subscription: SubscriptionId,
    /// What `on_create` says, if it is to be said.
    pub described: Option<Described>,
}

/// To the home shard of a realm: what another node says of its part.
#[derive(Debug)]
pub struct Foreign {
    pub realm: Arc<Realm>,
    pub node: NodeNumber,
    pub news: ForeignNews,
}

#[derive(Debug)]
pub enum ForeignNews {
    Roster(RosterPiece),
    Event(ForeignMetaEvent),
    /// This node itself listens: what of this stands here? The answer goes where that of others
    /// does, and has no entries.
    Look(RosterCall),
    /// All nodes have told what stands with them, this one as well.
    Complete(MetaFamily),
    /// Nobody listens any more: what stands elsewhere is forgotten.
    Forget(MetaFamily),
}

/// A meta event on its way between nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignMetaEvent {
    pub topic: MetaTopic,
    /// The session that has caused it, and what it is about: that session, or a subscription.
    pub cause: SessionId,
    pub about: u64,
    pub args: Vec<Value>,
    /// Nobody is to hear of it.
    pub is_quiet: bool,
}

/// To other nodes: a meta event of this one.
#[derive(Debug)]
pub struct MetaElsewhere {
    pub realm: Arc<Realm>,
    pub event: ForeignMetaEvent,
}

impl RosterCursor {
    /// The beginning.
    pub const fn of(family: MetaFamily) -> Self {
        match family {
            MetaFamily::Sessions => Self::Sessions(Walk::new()),
            MetaFamily::Subscriptions => Self::Subscriptions(Walk::new()),
        }
    }

    pub(super) fn is_first(&self) -> bool {
        match self {
            Self::Sessions(walk) => *walk == Walk::new(),
            Self::Subscriptions(walk) => *walk == Walk::new(),
        }
    }

    pub(super) const fn is_done(&self) -> bool {
        match self {
            Self::Sessions(walk) => walk.is_done(),
            Self::Subscriptions(walk) => walk.is_done(),
        }
    }
}

impl RosterPiece {
    /// Of a node at which nothing stands.
    pub const fn nothing(family: MetaFamily) -> Self {
        let entries = match family {
            MetaFamily::Sessions => RosterEntries::Sessions(Vec::new()),
            MetaFamily::Subscriptions => RosterEntries::Subscriptions(Vec::new()),
        };
        Self { is_first: true, is_last: true, entries }
    }

    /// Bytes of memory that it owns besides itself.
    pub(in crate::shard) fn heap_bytes(&self) -> usize {
        match &self.entries {
            RosterEntries::Sessions(entries) => {
                let texts = |entry: &SessionEntry| {
                    let details = entry.details.as_ref().map_or(0, dict_heap_bytes);
                    heap_block(entry.authid.len()) + heap_block(entry.authrole.len()) + details
                };
                vec_block(entries) + entries.iter().map(texts).sum::<usize>()
            }
            RosterEntries::Subscriptions(entries) => {
                let uri = |entry: &SubscriptionEntry| {
                    entry.described.as_ref().map_or(0, |described| heap_block(described.uri.len()))
                };
                vec_block(entries) + entries.iter().map(uri).sum::<usize>()
            }
        }
    }
}

impl RosterEntries {
    pub const fn family(&self) -> MetaFamily {
        match self {
            Self::Sessions(_) => MetaFamily::Sessions,
            Self::Subscriptions(_) => MetaFamily::Subscriptions,
        }
    }
}

impl RosterAnswer {
    /// Bytes of memory that it takes, in its box.
    pub(in crate::shard) fn weight(&self) -> usize {
        heap_block(size_of::<Self>()) + self.piece.heap_bytes()
    }
}

impl ForeignMetaEvent {
    fn heap_bytes(&self) -> usize {
        vec_block(&self.args) + self.args.iter().map(Value::heap_bytes).sum::<usize>()
    }
}

impl MetaElsewhere {
    /// Bytes of memory that it takes, in its box.
    pub(in crate::shard) fn weight(&self) -> usize {
        heap_block(size_of::<Self>()) + self.event.heap_bytes()
    }
}

impl Foreign {
    /// Bytes of memory that it takes, in its box.
    pub(in crate::shard) fn weight(&self) -> usize {
        let heap_bytes = match &self.news {
            ForeignNews::Roster(piece) => piece.heap_bytes(),
            ForeignNews::Event(event) => event.heap_bytes(),
            ForeignNews::Look(_) | ForeignNews::Complete(_) | ForeignNews::Forget(_) => 0,
        };
        heap_block(size_of::<Self>()) + heap_bytes
    }
}

/// What stands, by node and id.
#[derive(Debug)]
pub(super) struct Standing<V> {
    entries: BTreeMap<(NodeNumber, u64), Entry<V>>,
    /// The last roster that each node has begun.
    editions: BTreeMap<NodeNumber, u64>,
}

#[derive(Debug)]
struct Entry<V> {
    /// That in which it was said last.
    edition: u64,
    value: V,
}

impl<V> Default for Standing<V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), editions: BTreeMap::new() }
    }
}

impl<V> Standing<V> {
    /// A node begins to say all that stands there.
    pub(super) fn begin(&mut self, node: NodeNumber) {
        *self.editions.entry(node).or_default() += 1;
    }

    /// Something stands there; `false`: that was known.
    pub(super) fn enter(&mut self, node: NodeNumber, id: u64, value: V) -> bool {
        let edition = *self.editions.entry(node).or_default();
        self.entries.insert((node, id), Entry { edition, value }).is_none()
    }

    /// It does not stand there any more; `None`: nothing was known of it.
    pub(super) fn leave(&mut self, node: NodeNumber, id: u64) -> Option<V> {
        self.entries.remove(&(node, id)).map(|entry| entry.value)
    }

    /// Whether it stands at some node.
    pub(super) fn stands(&self, id: u64) -> bool {
        self.editions.keys().any(|node| self.entries.contains_key(&(*node, id)))
    }

    /// Whether it stands at some other node.
    pub(super) fn stands_beside(&self, node: NodeNumber, id: u64) -> bool {
        let mut others = self.editions.keys().filter(|other| **other != node);
        others.any(|other| self.entries.contains_key(&(*other, id)))
    }

    /// Looks at the next entry of a node behind `after`, which moves on, and takes it out if the
    /// node has not said it since it last began. `None` at the end.
    pub(super) fn sweep(&mut self, node: NodeNumber, after: &mut u64) -> Option<Option<(u64, V)>> {
        let range = (Bound::Excluded((node, *after)), Bound::Included((node, u64::MAX)));
        let ((_, id), entry) = self.entries.range(range).next()?;
        *after = *id;
        let is_stale = self.editions.get(&node).is_some_and(|edition| entry.edition < *edition);
        let id = *id;
        Some(if is_stale { self.leave(node, id).map(|value| (id, value)) } else { None })
    }

    /// Takes out some entry; `false` if there is none.
    pub(super) fn forget_one(&mut self) -> bool {
        self.entries.pop_first().is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeNumber {
        NodeNumber::new(number).expect("7 bits")
    }

    fn swept(standing: &mut Standing<char>, at: u8) -> Vec<(u64, char)> {
        let (mut after, mut stale) = (0, Vec::new());
        while let Some(swept) = standing.sweep(node(at), &mut after) {
            stale.extend(swept);
        }
        stale
    }

    /// What a node does not say again is gone once it has said all, and nothing of others.
    #[test]
    fn a_roster_replaces_the_one_before() {
        let mut standing = Standing::default();
        for at in [1, 2] {
            standing.begin(node(at));
            assert!(standing.enter(node(at), 5, 'a') && standing.enter(node(at), 6, 'b'));
            assert!(!standing.enter(node(at), 5, 'a'), "it is known");
        }
        assert_eq!(swept(&mut standing, 1), []);
        standing.begin(node(1));
        assert!(!standing.enter(node(1), 6, 'b') && standing.enter(node(1), 7, 'c'));
        assert_eq!(swept(&mut standing, 1), [(5, 'a')]);
        assert!(standing.stands(5), "at the other node");
        let beside = [1, 2].map(|at| standing.stands_beside(node(at), 5));
        assert_eq!(beside, [true, false]);
        assert_eq!(standing.leave(node(2), 5), Some('a'));
        assert!(!standing.stands(5) && standing.stands(7));
        assert_eq!(standing.leave(node(2), 5), None);
        standing.begin(node(1));
        assert_eq!(swept(&mut standing, 1), [(6, 'b'), (7, 'c')]);
        assert_eq!(standing.len(), 1);
        assert!(standing.forget_one() && !standing.forget_one());
    }
}
