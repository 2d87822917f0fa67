//! The ids of sessions, subscriptions and registrations.
//!
//! Alone, a session's is drawn, and the others are counted. In a cluster they save a question: a
//! session's says on which node it lives, to whoever has the key, and that of a pattern is the same
//! on every node.

use std::fmt;
use std::hash::Hasher;
#[expect(
    deprecated,
    reason = "it is SipHash-2-4 for ever; other hashers may change from one \
                               release to the next, and nodes of two releases must agree"
)]
use std::hash::SipHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::NodeNumber;
use crate::wamp::{MAX_ID, MatchPolicy, SessionId};

/// What a node makes its ids of. The key is one for the cluster, and no client knows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NodeIds {
    node: NodeNumber,
    key: (u64, u64),
}

impl NodeIds {
    /// `key` is 128 random bits that all nodes share.
    pub const fn new(node: NodeNumber, key: u128) -> Self {
        Self { node, key: ((key >> 64) as u64, key as u64) }
    }

    pub const fn node(&self) -> NodeNumber {
        self.node
    }

    /// The id for a session of this node with these random bits, of which the lowest 46 count:
    /// others give another id.
    pub fn session(&self, random: u64) -> SessionId {
        let plain = u64::from(self.node.get()) << RANDOM_BITS | random & ((1 << RANDOM_BITS) - 1);
        SessionId::from_random(self.permute(plain, 0..ROUNDS))
    }

    /// The node of which a session with this id would be.
    pub fn owner(&self, session: SessionId) -> NodeNumber {
        let scrambled = (session.get() - 1) % MAX_ID;
        let plain = self.permute(scrambled, (0..ROUNDS).rev());
        let node = u8::try_from(plain >> RANDOM_BITS).ok().and_then(NodeNumber::new);
        node.expect("the bits above the random ones number a node")
    }

    /// 53 bits that say of which realm a pattern is, and under which policy: on all nodes alike.
    /// `attempt` is 0 but for those that meet the bits of another pattern.
    pub fn pattern(&self, realm: &str, policy: MatchPolicy, uri: &str, attempt: u64) -> u64 {
        let mut hasher = self.hasher(PATTERN);
        hasher.write(&attempt.to_le_bytes());
        hasher.write(&[match policy {
            MatchPolicy::Exact => 0,
            MatchPolicy::Prefix => 1,
            MatchPolicy::Wildcard => 2,
        }]);
        hasher.write(&(realm.len() as u64).to_le_bytes());
        hasher.write(realm.as_bytes());
        hasher.write(uri.as_bytes());
        hasher.finish() % MAX_ID
    }

    /// A Feistel network over 53 bits, whose halves have 26 and 27: each round changes one half by
    /// a hash of the other, so the same rounds backwards undo it.
    fn permute(&self, bits: u64, rounds: impl Iterator<Item = u8>) -> u64 {
        let (mut high, mut low) = (bits >> LOW_BITS, bits & LOW_MASK);
        for round in rounds {
            if round % 2 == 0 {
                high ^= self.mix(round, low) & (LOW_MASK >> 1);
            } else {
                low ^= self.mix(round, high) & LOW_MASK;
            }
        }
        high << LOW_BITS | low
    }

    fn mix(&self, round: u8, half: u64) -> u64 {
        let mut hasher = self.hasher(SESSION);
        hasher.write(&[round]);
        hasher.write(&half.to_le_bytes());
        hasher.finish()
    }

    #[expect(deprecated, reason = "see its import")]
    fn hasher(&self, purpose: u8) -> SipHasher {
        let mut hasher = SipHasher::new_with_keys(self.key.0, self.key.1);
        hasher.write(&[purpose]);
        hasher
    }
}

impl fmt::Debug for NodeIds {
    /// The key stays a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeIds").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Where the ids of a router come from.
#[derive(Debug)]
pub enum Ids {
    /// Of one that is alone: so many subscriptions and registrations had one (BP-ID-02).
    Counter(AtomicU64),
    Clustered(NodeIds),
}

impl Default for Ids {
    fn default() -> Self {
        Self::Counter(AtomicU64::new(0))
    }
}

impl From<Option<NodeIds>> for Ids {
    fn from(node: Option<NodeIds>) -> Self {
        node.map_or_else(Self::default, Self::Clustered)
    }
}

impl Ids {
    /// An id for a new session; it may be taken.
    #[inline]
    pub fn session(&self, random: u64) -> SessionId {
        match self {
            Self::Counter(_) => SessionId::from_random(random),
            Self::Clustered(node) => node.session(random),
        }
    }

    /// Whether a session of this id could be of no other node.
    pub fn is_own(&self, session: SessionId) -> bool {
        match self {
            Self::Counter(_) => false,
            Self::Clustered(node) => node.owner(session) == node.node(),
        }
    }

    /// Which node this is, if it belongs to a cluster.
    #[inline]
    pub const fn node(&self) -> Option<NodeNumber> {
        match self {
            Self::Counter(_) => None,
            Self::Clustered(node) => Some(node.node()),
        }
    }
}

/// Where the subscriptions or registrations of one realm get their ids from.
#[derive(Clone, Debug, Default)]
pub(super) struct PatternIds {
    ids: Arc<Ids>,
    realm: Arc<str>,
}

impl PatternIds {
    pub(super) const fn new(ids: Arc<Ids>, realm: Arc<str>) -> Self {
        Self { ids, realm }
    }

    /// 53 bits for the id of a pattern; others for each `attempt`, from 0.
    pub(super) fn draw(&self, policy: MatchPolicy, uri: &str, attempt: u64) -> u64 {
        match &*self.ids {
            Ids::Counter(given) => given.fetch_add(1, Ordering::Relaxed),
            Ids::Clustered(node) => node.pattern(&self.realm, policy, uri, attempt),
        }
    }
}

/// Of an id of a session, besides the node.
const RANDOM_BITS: u32 = MAX_ID.ilog2() - NodeNumber::BITS;

const LOW_BITS: u32 = MAX_ID.ilog2().div_ceil(2);
const LOW_MASK: u64 = (1 << LOW_BITS) - 1;

/// Four make such a network hard to tell from chance; halves as small as these want more.
const ROUNDS: u8 = 8;

/// What is hashed begins with what it is for.
const SESSION: u8 = 0;
const PATTERN: u8 = 1;

#[cfg(test)]
mod tests;
