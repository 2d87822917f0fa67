//! Maps and sets with a seeded hasher: random in production, fixed in a simulation, so that a
//! seed repeats its run. Clients choose many of the keys, hence never an unseeded hasher.

use foldhash::fast::FixedState;

#[expect(clippy::disallowed_types, reason = "this is the one place that seeds them")]
pub type Map<K, V> = std::collections::HashMap<K, V, FixedState>;
#[expect(clippy::disallowed_types, reason = "this is the one place that seeds them")]
pub type Set<T> = std::collections::HashSet<T, FixedState>;

/// Where every hasher of a router comes from.
#[derive(Clone, Copy, Debug)]
pub struct HashSeed(u64);

impl HashSeed {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn state(self) -> FixedState {
        FixedState::with_seed(self.0)
    }

    pub fn map<K, V>(self) -> Map<K, V> {
        Map::with_hasher(self.state())
    }

    pub fn set<T>(self) -> Set<T> {
        Set::with_hasher(self.state())
    }
}
