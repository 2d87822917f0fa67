//! What a session may do, and what was decided for it before.

use std::sync::Arc;

use crate::authorization::{Action, Decision, Memory, RuleId, Terms};
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
    memory: Memory,
}

/// That a request is denied: by this rule, or because none grants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied(pub Option<RuleId>);

/// An answer with the rules that were looked at for it one by one.
pub type Authorized = (Result<Terms, Denied>, usize);

impl Permissions {
    pub(super) fn new(realm: &Realm, authrole: &str) -> Self {
        realm.role(authrole).map_or(Self::Open, |role| {
            Self::Rules(Box::new(Ruled { role: Arc::clone(role), memory: Memory::default() }))
        })
    }

    /// Decides about a request of the session, counts it, and remembers it (AU-AZ-02).
    #[inline]
    pub fn authorize(
        &mut self,
        shard: ShardId,
        action: Action,
        uri: &str,
        policy: MatchPolicy,
    ) -> Authorized {
        let Self::Rules(ruled) = self else { return (Ok(Terms::default()), 0) };
        match ruled.memory.recall(action, uri, policy) {
            Some(decision) => (ruled.role.apply(shard, action, decision), 0),
            None => ruled.decide(shard, action, uri, policy),
        }
    }

    /// The same for a session that has ended: nothing is remembered.
    pub fn authorize_last(
        &self,
        shard: ShardId,
        action: Action,
        uri: &str,
    ) -> Result<Terms, Denied> {
        match self {
            Self::Open => Ok(Terms::default()),
            Self::Rules(ruled) => {
                let decision = ruled.role.rules.authorize(action, uri, MatchPolicy::Exact);
                ruled.role.apply(shard, action, decision)
            }
        }
    }
}

impl Ruled {
    #[cold]
    fn decide(
        &mut self,
        shard: ShardId,
        action: Action,
        uri: &str,
        policy: MatchPolicy,
    ) -> Authorized {
        let rules = &self.role.rules;
        let decision = rules.authorize(action, uri, policy);
        self.memory.remember(action, uri, policy, decision);
        (self.role.apply(shard, action, decision), rules.effort(action, policy))
    }
}

impl RealmRole {
    #[inline]
    fn apply(&self, shard: ShardId, action: Action, decision: Decision) -> Result<Terms, Denied> {
        match decision {
            Decision::Allow(rule) => {
                self.count(shard, action, true);
                Ok(self.rules.rule(rule).terms)
            }
            Decision::Deny(rule) => {
                self.count(shard, action, false);
                Err(Denied(rule))
            }
        }
    }
}
