//! What a session may do, and what was decided for it before.

use std::sync::Arc;

use super::rulings::Rulings;
use crate::authorization::{Action, Decision, Memory, Rates, RuleId, Ruling, Terms};
use crate::clock::Millis;
use crate::router::{RealmRole, RealmRules, ShardId, Source};
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
    /// What authorizers have said of its requests.
    rulings: Option<Box<Rulings>>,
}

/// What came of a request: its terms, or that it is not granted.
pub type Decided = Result<Terms, Denied>;

/// That a request is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// By this rule, or because none grants it.
    ByRule(Option<RuleId>),
    /// By the authorizer of this rule.
    ByAuthorizer(RuleId),
    /// The authorizer of this rule has not decided as it should have.
    Failed(RuleId),
    /// Not yet: the authorizer of this rule is to be asked.
    Undecided(RuleId),
}

/// The moment of a decision, and what it costs.
#[derive(Debug)]
pub struct Deciding {
    pub shard: ShardId,
    pub now: Millis,
    /// In comparisons of two URIs.
    pub effort: usize,
}

impl Permissions {
    pub fn new(rules: &RealmRules, authrole: &str) -> Self {
        rules.role(authrole).map_or(Self::Open, |role| {
            let role = Arc::clone(role);
            Self::Rules(Box::new(Ruled { role, memory: Memory::default(), rulings: None }))
        })
    }

    /// The rules of the realm are others. Returns what held before, if something else does now:
    /// then what was decided is forgotten.
    pub fn renew(&mut self, rules: &RealmRules, authrole: &str) -> Option<Self> {
        let is_same = match (&*self, rules.role(authrole)) {
            (Self::Open, None) => true,
            (Self::Rules(ruled), Some(role)) => Arc::ptr_eq(&ruled.role, role),
            _ => false,
        };
        (!is_same).then(|| std::mem::replace(self, Self::new(rules, authrole)))
    }

    /// Whether what was granted `before` is granted. The word of an authorizer stands as long as
    /// the same one is to be asked.
    pub fn still_grant(
        &self,
        before: &Self,
        deciding: &mut Deciding,
        action: Action,
        uri: &str,
        policy: MatchPolicy,
    ) -> bool {
        let Self::Rules(ruled) = self else { return true };
        let rule = match ruled.look_up(deciding, action, uri, policy) {
            Ok(_) => return true,
            Err(Denied::Undecided(rule)) => rule,
            Err(_) => return false,
        };
        let Self::Rules(old) = before else { return false };
        let effort = std::mem::take(&mut deciding.effort);
        let asked = match old.look_up(deciding, action, uri, policy) {
            Err(Denied::Undecided(rule)) => old.role.rules.authorizer(rule),
            _ => None,
        };
        deciding.effort += effort;
        asked == ruled.role.rules.authorizer(rule)
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
        ruled.role.count(shard, action, decided.is_ok(), Source::Recalled);
        Some(decided)
    }

    /// Decides about a request of the session, counts it, and remembers it (AU-AZ-02). `uri` has
    /// been checked: what is remembered is not checked again.
    #[inline]
    pub fn decide(
        &mut self,
        deciding: &mut Deciding,
        action: Action,
        uri: &str,
        policy: MatchPolicy,
    ) -> Decided {
        let Self::Rules(ruled) = self else { return Ok(Terms::default()) };
        ruled.decide(deciding, action, uri, policy)
    }

    /// The same for a PUBLISH or CALL of a session that has ended: nothing is remembered. Where an
    /// authorizer decides, `granted` is what it has granted before.
    pub fn decide_last(
        &self,
        deciding: &mut Deciding,
        action: Action,
        uri: &str,
        granted: Option<Terms>,
    ) -> Decided {
        let Self::Rules(ruled) = self else { return Ok(Terms::default()) };
        let decided = match ruled.look_up(deciding, action, uri, MatchPolicy::Exact) {
            Err(Denied::Undecided(rule)) => granted.ok_or(Denied::Failed(rule)),
            decided => decided,
        };
        ruled.role.count(deciding.shard, action, decided.is_ok(), Source::Fresh);
        decided
    }

    /// Whether the terms of a request are those of an authorizer, and not of a rule alone.
    pub fn is_dynamic(&self, action: Action, uri: &str) -> bool {
        let Self::Rules(ruled) = self else { return false };
        let decision = ruled.role.rules.authorize(action, uri, MatchPolicy::Exact);
        matches!(decision, Decision::Ask(_))
    }

    /// An authorizer has decided about a request of the session, which is about to come again;
    /// `None` if it has not, as it should have. `until` is when others like it are to be asked
    /// about again; `None`: the next one is.
    pub fn note(
        &mut self,
        action: Action,
        uri: &str,
        policy: MatchPolicy,
        ruling: Option<Ruling>,
        until: Option<Millis>,
    ) {
        if let Self::Rules(ruled) = self {
            let rulings = ruled.rulings.get_or_insert_default();
            rulings.note(action, uri, policy, ruling, until);
        }
    }

    /// The request at hand is over: what was said of it alone holds no more.
    pub fn forget_request(&mut self) {
        if let Self::Rules(ruled) = self
            && let Some(rulings) = &mut ruled.rulings
        {
            rulings.forget_request();
        }
    }
}

impl Ruled {
    #[cold]
    fn decide(
        &mut self,
        deciding: &mut Deciding,
        action: Action,
        uri: &str,
        policy: MatchPolicy,
    ) -> Decided {
        let decided = self.look_up(deciding, action, uri, policy);
        if let Err(Denied::Undecided(rule)) = decided {
            return self.recall_ruling(rule, deciding, action, uri, policy);
        }
        self.role.count(deciding.shard, action, decided.is_ok(), Source::Fresh);
        self.memory.remember(action, uri, policy, decided);
        decided
    }

    fn look_up(
        &self,
        deciding: &mut Deciding,
        action: Action,
        uri: &str,
        policy: MatchPolicy,
    ) -> Decided {
        let rules = &self.role.rules;
        deciding.effort = rules.effort(action, policy);
        match rules.authorize(action, uri, policy) {
            Decision::Allow(rule) => Ok(rules.rule(rule).terms),
            Decision::Ask(rule) => Err(Denied::Undecided(rule)),
            Decision::Deny(rule) => Err(Denied::ByRule(rule)),
        }
    }

    /// What the authorizer of a rule has said, if it has.
    fn recall_ruling(
        &self,
        rule: RuleId,
        deciding: &Deciding,
        action: Action,
        uri: &str,
        policy: MatchPolicy,
    ) -> Decided {
        let rulings = self.rulings.as_ref();
        let ruling = rulings.and_then(|all| all.recall(action, uri, policy, deciding.now));
        let terms = self.role.rules.rule(rule).terms;
        let Some((ruling, source)) = ruling else { return Err(Denied::Undecided(rule)) };
        let decided = match ruling {
            None => Err(Denied::Failed(rule)),
            Some(ruling) if !ruling.is_allowed => Err(Denied::ByAuthorizer(rule)),
            Some(ruling) if ruling.discloses => Ok(terms.disclosing()),
            Some(_) => Ok(terms),
        };
        self.role.count(deciding.shard, action, decided.is_ok(), source);
        decided
    }
}
