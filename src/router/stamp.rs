//! When something was published, in an order that all nodes of a cluster agree on.

use std::sync::Arc;

use crate::wamp::{Timestamp, heap_block};

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

/// What operators call a node: 1 to 32 characters of `[a-z0-9-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// `None` if it is no such text.
    pub fn new(text: &str) -> Option<Self> {
        let is_known = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let is_name = (1..=Self::MOST_BYTES).contains(&text.len()) && text.bytes().all(is_known);
        is_name.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Bytes of memory that it owns besides itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        heap_block(2 * size_of::<usize>() + self.0.len())
    }

    const MOST_BYTES: usize = 32;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        let longest = "x".repeat(32);
        assert!(["a", "node-7", &*longest].iter().all(|name| NodeName::new(name).is_some()));
        let none = ["", "A", "a b", "ä", "a.b", &*"x".repeat(33)];
        assert!(none.iter().all(|name| NodeName::new(name).is_none()));
    }
}
