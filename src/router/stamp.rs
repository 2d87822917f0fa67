//! When something was published, in an order that all nodes of a cluster agree on.

use crate::wamp::Timestamp;

/// A node of a cluster, by the 7 bits that ids name it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeNumber(u8);

impl NodeNumber {
    pub const MAX: Self = Self((1 << Self::BITS) - 1);
    /// How many bits of an id name a node.
    pub const BITS: u32 = 7;

    /// `None` above [`Self::MAX`].
    pub const fn new(number: u8) -> Option<Self> {
        if number <= Self::MAX.0 { Some(Self(number)) } else { None }
    }

    pub const fn get(self) -> u8 {
        self.0
    }
}

/// When a retained event was published: by the clock of its node, made monotonic there
/// ([`RetainedTable::store`]), and at the same time by the node. The later one stays.
///
/// [`RetainedTable::store`]: super::RetainedTable::store
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    pub at: Timestamp,
    /// `None`: one that was alone.
    pub node: Option<NodeNumber>,
}
