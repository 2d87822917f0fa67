//! What a session may do, and what was decided for it before.

use std::sync::Arc;

use crate::authorization::{Action, Decision, Memory, Rates, RuleId, Terms};
use crate::router::{Realm, RealmRole, ShardId};
use crate::wamp::MatchPolicy;

/// The rules that hold for a session.
#[derive(Debug)]
pub enum Permissions {
    /// None: its realm is open.
    Open,
    Rules(Box<Ruled>),
}

/// A session with rules.
#[derive(Debug)]
pub struct Ruled {
    pub role: Arc<RealmRole>,
    memory: Memory<Decided>,
}

/// What came of a request: its terms, or that it is denied.
pub type Decided = Result<Terms, Denied>;

/// That a request is denied: by this rule, or because none grants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied(pub Option<RuleId>);

impl Permissions {
    pub(super) fn new(realm: &Realm, authrole: &str) -> Self {
        realm.role(authrole).map_or(Self::Open, |role| {
            Self::Rules(Box::new(Ruled { role: Arc::clone(role), memory: Memory::default() }))
        })
    }

    /// How fast the session may send; `None`: as fast as it likes.
    pub fn rates(&self) -> Option<Rates> {
        match self {
            Self::Open => None,
            Self::Rules(ruled) => ruled.role.rates,
        }
    }

    /// What was decided about a request of the session before, counted once more.
    #[inline]
    pub fn recall(
        &self,
        shard: ShardId,
        action: Action,
        uri: &str,
        policy: MatchPolicy,
    ) -> Option<Decided> {
        let Self::Rules(ruled) = self else { return None };
        let decided = ruled.memory.recall(action, uri, policy)?;
        ruled.role.count(shard, action, decided.is_ok());
        Some(decided)
    }

    /// Decides about a request of the session, counts it, and remembers it (AU-AZ-02). `uri` has
    /// been checked: what is remembered is not checked again. `effort` is what it costs, in
    /// comparisons of two URIs.
    #[inline]
    pub fn decide(
        &mut self,
        shard: ShardId,
        action: Action,
        uri: &str,
        policy: MatchPolicy,
        effort: &mut usize,
    ) -> Decided {
        let Self::Rules(ruled) = self else { return Ok(Terms::default()) };
        let decided = ruled.decide(shard, action, uri, policy, effort);
        ruled.memory.remember(action, uri, policy, decided);
        decided
    }

    /// The same for a PUBLISH or CALL of a session that has ended: nothing is remembered.
    pub fn decide_last(
        &self,
        shard: ShardId,
        action: Action,
        uri: &str,
        effort: &mut usize,
    ) -> Decided {
        let Self::Rules(ruled) = self else { return Ok(Terms::default()) };
        ruled.decide(shard, action, uri, MatchPolicy::Exact, effort)
    }
}

impl Ruled {
    #[cold]
    fn decide(
        &self,
        shard: ShardId,
        action: Action,
        uri: &str,
        policy: MatchPolicy,
        effort: &mut usize,
    ) -> Decided {
        let rules = &self.role.rules;
        *effort = rules.effort(action, policy);
        let decided = match rules.authorize(action, uri, policy) {
            Decision::Allow(rule) => Ok(rules.rule(rule).terms),
            Decision::Deny(rule) => Err(Denied(rule)),
        };
        self.role.count(shard, action, decided.is_ok());
        decided
    }
}
