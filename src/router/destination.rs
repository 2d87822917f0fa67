//! Where a shard hands things on to: the shards, and the store.
//!
//! Publications go there ([`Fanout`](super::Fanout)), and whoever feeds a destination that has
//! too much waiting is not read until it has room.

use super::ShardId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    Shard(ShardId),
    /// The histories, and the store behind those that are durable. No session is there.
    Store,
}

impl Destination {
    /// Whether sessions are there.
    pub const fn has_sessions(self) -> bool {
        matches!(self, Self::Shard(_))
    }

    const fn bit(self) -> u64 {
        match self {
            Self::Shard(shard) => 1 << shard.0,
            Self::Store => STORE,
        }
    }
}

impl From<ShardId> for Destination {
    fn from(shard: ShardId) -> Self {
        Self::Shard(shard)
    }
}

/// A set of destinations, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Destinations(u64);

impl Destinations {
    pub fn only(to: impl Into<Destination>) -> Self {
        Self(to.into().bit())
    }

    #[inline]
    pub fn insert(&mut self, to: impl Into<Destination>) {
        self.0 |= to.into().bit();
    }

    #[inline]
    pub fn remove(&mut self, to: impl Into<Destination>) {
        self.0 &= !to.into().bit();
    }

    #[inline]
    pub fn contains(self, to: impl Into<Destination>) -> bool {
        self.0 & to.into().bit() != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Those at which sessions are.
    pub const fn with_sessions(self) -> Self {
        Self(self.0 & !STORE)
    }

    /// The bits, for an atomic that holds a set.
    pub const fn bits(self) -> u64 {
        self.0
    }

    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub fn iter(self) -> impl Iterator<Item = Destination> {
        let store = self.contains(Destination::Store).then_some(Destination::Store);
        self.shards().map(Destination::Shard).chain(store)
    }

    /// The shards among them.
    pub fn shards(self) -> impl Iterator<Item = ShardId> {
        let mut rest = self.with_sessions().0;
        std::iter::from_fn(move || {
            let shard = ShardId(u8::try_from(rest.trailing_zeros()).ok().filter(|n| *n < 64)?);
            rest &= rest - 1;
            Some(shard)
        })
    }
}

/// The most shards a router can have: of the bits of [`Destinations`], the store has one, and one
/// is that of [`ShardId::CLUSTER`].
pub const MAX_SHARDS: usize = 62;

/// The bit of the store.
const STORE: u64 = 1 << MAX_SHARDS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_lists_what_was_put_in() {
        let mut set = Destinations::default();
        assert!(set.is_empty());
        for shard in [0, 5, 61] {
            set.insert(ShardId(shard));
        }
        set.remove(ShardId(5));
        set.insert(ShardId::CLUSTER);
        set.insert(Destination::Store);
        assert_eq!(set.shards().map(|shard| shard.0).collect::<Vec<_>>(), [0, 61, 63]);
        let cluster = Destination::from(ShardId::CLUSTER);
        let all = [ShardId(0).into(), ShardId(61).into(), cluster, Destination::Store];
        assert_eq!(set.iter().collect::<Vec<_>>(), all);
        assert!(all.iter().all(|to| set.contains(*to)) && !set.contains(ShardId(5)));
        assert!(!set.with_sessions().contains(Destination::Store) && cluster.has_sessions());
    }
}
