//! Maps and sets with secret hashers: random in production, fixed in a simulation, so that a seed
//! repeats its run. Each map has a secret of its own, or shares it with the same session's others.
//!
//! Clients choose many of the keys. Texts, of which they have the choice among endless many, are
//! hashed by [`Keyed`]; ids by foldhash, which is fast, but does not claim to hold against somebody
//! who measures it.

use std::hash::{BuildHasher, DefaultHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;

#[expect(clippy::disallowed_types, reason = "this is the one place that seeds them")]
pub type Map<K, V> = std::collections::HashMap<K, V, FixedState>;
#[expect(clippy::disallowed_types, reason = "this is the one place that seeds them")]
pub type Set<T> = std::collections::HashSet<T, FixedState>;

/// Where every hasher of a router comes from. A clone draws on as the original does.
#[derive(Clone)]
pub struct HashSeed(Arc<Source>);

struct Source {
    /// Has taken in the secret.
    keyed: DefaultHasher,
    drawn: AtomicU64,
}

impl HashSeed {
    /// `secret` is 64 random bits that no client knows, or the number of a simulation.
    pub fn new(secret: u64) -> Self {
        let mut keyed = DefaultHasher::new();
        keyed.write_u64(secret);
        // Once more, mixed, so that the state depends on the secret in all its parts.
        keyed.write_u64(keyed.finish());
        Self(Arc::new(Source { keyed, drawn: AtomicU64::new(0) }))
    }

    /// A hasher for ids. The maps of one session share one: it can learn its own secret only.
    pub fn state(&self) -> FixedState {
        FixedState::with_seed(self.draw().finish())
    }

    /// A hasher for texts that clients choose.
    pub fn keyed(&self) -> Keyed {
        Keyed(self.draw())
    }

    /// For ids as keys.
    pub fn map<K, V>(&self) -> Map<K, V> {
        Map::with_hasher(self.state())
    }

    /// For ids.
    pub fn set<T>(&self) -> Set<T> {
        Set::with_hasher(self.state())
    }

    /// A hasher that has taken in what nobody else has.
    fn draw(&self) -> DefaultHasher {
        let mut hasher = self.0.keyed.clone();
        hasher.write_u64(self.0.drawn.fetch_add(1, Ordering::Relaxed));
        hasher
    }
}

impl std::fmt::Debug for HashSeed {
    /// The secret stays one.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HashSeed").finish_non_exhaustive()
    }
}

/// The standard library's hash, made to withstand chosen keys (SipHash-1-3), that has taken in a
/// secret before the key.
#[derive(Clone)]
pub struct Keyed(DefaultHasher);

impl BuildHasher for Keyed {
    type Hasher = DefaultHasher;

    #[inline]
    fn build_hasher(&self) -> DefaultHasher {
        self.0.clone()
    }
}

impl std::fmt::Debug for Keyed {
    /// The secret stays one.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Keyed").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What collides in one map does not in another, nor in that of another process.
    #[test]
    fn each_map_has_a_secret_of_its_own() {
        let hashes = |seed: &HashSeed| {
            let (state, keyed) = (seed.state(), seed.keyed());
            let ids: Vec<u64> = (0..100_u64).map(|id| state.hash_one(id)).collect();
            let texts: Vec<u64> = (0..100).map(|n| keyed.hash_one(format!("com.{n}"))).collect();
            [ids, texts]
        };
        let (seed, same, other) = (HashSeed::new(1), HashSeed::new(1), HashSeed::new(2));
        let first = hashes(&seed);
        assert_eq!(hashes(&same), first, "a seed repeats its run");
        for later in [hashes(&seed), hashes(&seed.clone()), hashes(&other)] {
            for (one, another) in first.iter().flatten().zip(later.iter().flatten()) {
                assert_ne!(one, another);
            }
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let seed = HashSeed::new(0xdead_beef);
        for shown in [format!("{seed:?}"), format!("{:?}", seed.keyed())] {
            assert!(shown.len() < 20, "{shown}");
        }
    }
}
