//! What a session has registered. Alone, it is registered or it is not. In a cluster it is claimed
//! first, and when it was given back other nodes may call it for a while.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::hash::Map;
use crate::router::{Callee, Realm};
use crate::wamp::{InvokePolicy, MatchPolicy, RegistrationId, RequestId, Timestamp};

/// Names a claim: no other one of its shard has or had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimId(pub u64);

/// What a callee asks of the cluster: to be entered in the order of all nodes.
#[derive(Debug)]
pub struct Claim {
    pub id: ClaimId,
    pub realm: Arc<Realm>,
    pub uri: Box<str>,
    pub policy: MatchPolicy,
    pub invoke: InvokePolicy,
    /// When it was asked for: a new registration was created then.
    pub created: Timestamp,
    /// Its session waits for the answer.
    pub callee: Callee,
}

/// Where the cluster has put a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub claim: ClaimId,
    /// Its number in the order of all nodes.
    pub revision: u64,
}

/// What a registration of this session is for.
#[derive(Clone, Debug)]
pub struct RegisteredPattern {
    pub uri: Box<str>,
    pub policy: MatchPolicy,
    /// `None` where nobody was asked.
    pub grant: Option<Box<Grant>>,
}

/// A REGISTER that waits for the cluster. It gets no calls, and nobody can take it away by its id.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub request: RequestId,
    pub claim: Arc<Claim>,
}

/// A registration that was given back, until no node routes calls to it any more: those that are
/// on their way are taken.
#[derive(Debug)]
pub struct Retired {
    pub claim: ClaimId,
    pub farewell: Farewell,
}

/// What is said at the end of that.
#[derive(Debug)]
pub enum Farewell {
    Unregistered(RequestId),
    /// An administrator has ended it, perhaps for a reason (AP-REVR-01).
    Revoked(Option<Box<str>>),
    /// The same, and the client would not understand.
    Nothing,
}

/// All that a session has registered, is about to, or has just given back.
#[derive(Debug)]
pub struct Registrations {
    held: Map<RegistrationId, RegisteredPattern>,
    /// Only in a cluster, and while there is something.
    under_way: Option<Box<UnderWay>>,
}

/// Invariant: `claims` has the claims of `retired`.
#[derive(Debug, Default)]
struct UnderWay {
    claimed: BTreeMap<ClaimId, Claimed>,
    retired: BTreeMap<RegistrationId, Retired>,
    claims: BTreeMap<ClaimId, RegistrationId>,
    /// What was granted while the session could not be told.
    put_off: VecDeque<Grant>,
}

impl Registrations {
    pub(super) const fn new(held: Map<RegistrationId, RegisteredPattern>) -> Self {
        Self { held, under_way: None }
    }

    /// How many count against the limit of a session.
    pub fn len(&self) -> usize {
        let under_way = self.under_way.as_ref();
        self.held.len() + under_way.map_or(0, |some| some.claimed.len() + some.retired.len())
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.under_way.is_none()
    }

    /// Those that are registered.
    pub const fn held(&self) -> &Map<RegistrationId, RegisteredPattern> {
        &self.held
    }

    /// One that is registered.
    pub fn get(&self, registration: &RegistrationId) -> Option<&RegisteredPattern> {
        self.held.get(registration)
    }

    /// Whether a call of it is delivered.
    #[inline]
    pub fn takes_calls(&self, registration: RegistrationId) -> bool {
        self.held.contains_key(&registration) || self.is_retired(registration)
    }

    #[cold]
    fn is_retired(&self, registration: RegistrationId) -> bool {
        let under_way = self.under_way.as_ref();
        under_way.is_some_and(|some| some.retired.contains_key(&registration))
    }

    pub fn insert(&mut self, registration: RegistrationId, pattern: RegisteredPattern) {
        self.held.insert(registration, pattern);
    }

    /// Takes out one that is registered.
    pub fn remove(&mut self, registration: RegistrationId) -> Option<RegisteredPattern> {
        self.held.remove(&registration)
    }

    pub fn claim(&mut self, claimed: Claimed) {
        let under_way = self.under_way.get_or_insert_default();
        under_way.claimed.insert(claimed.claim.id, claimed);
    }

    pub fn claimed(&self, claim: ClaimId) -> Option<&Claimed> {
        self.under_way.as_ref()?.claimed.get(&claim)
    }

    /// What waits for the cluster.
    pub fn claims(&self) -> impl Iterator<Item = ClaimId> {
        self.under_way.iter().flat_map(|some| some.claimed.keys().copied())
    }

    /// The registration that a claim was granted for, and the grant. Looks at all of them.
    pub fn grant_mut(&mut self, claim: ClaimId) -> Option<(RegistrationId, &mut Grant)> {
        self.held.iter_mut().find_map(|(registration, pattern)| {
            let grant = pattern.grant.as_deref_mut().filter(|grant| grant.claim == claim)?;
            Some((*registration, grant))
        })
    }

    /// A claim that waits was granted, and waits further.
    pub fn put_off(&mut self, grant: Grant) {
        self.under_way.get_or_insert_default().put_off.push_back(grant);
    }

    /// Takes out what was put off first.
    pub fn take_put_off(&mut self) -> Option<Grant> {
        self.under_way.as_mut()?.put_off.pop_front()
    }

    /// Whether something was put off.
    pub fn has_put_off(&self) -> bool {
        self.under_way.as_ref().is_some_and(|some| !some.put_off.is_empty())
    }

    /// Takes out a claim that waits, to be registered or refused.
    pub fn take_claim(&mut self, claim: ClaimId) -> Option<Claimed> {
        let claimed = self.under_way.as_mut()?.claimed.remove(&claim);
        self.tidy();
        claimed
    }

    /// One was given back, of which no earlier one waits for its end.
    pub fn retire(&mut self, registration: RegistrationId, retired: Retired) {
        let under_way = self.under_way.get_or_insert_default();
        under_way.claims.insert(retired.claim, registration);
        let before = under_way.retired.insert(registration, retired);
        debug_assert!(before.is_none(), "it had its farewell before it was registered again");
    }

    /// No node routes calls any more to what this claim was for.
    pub fn take_retired(&mut self, claim: ClaimId) -> Option<(RegistrationId, Farewell)> {
        let under_way = self.under_way.as_mut()?;
        let registration = under_way.claims.remove(&claim)?;
        let retired = under_way.retired.remove(&registration);
        self.tidy();
        retired.map(|retired| (registration, retired.farewell))
    }

    /// The same of one that is about to be registered again.
    pub fn replace_retired(&mut self, registration: RegistrationId) -> Option<Farewell> {
        let claim = self.under_way.as_ref()?.retired.get(&registration)?.claim;
        self.take_retired(claim).map(|(_, farewell)| farewell)
    }

    /// Takes out what is to be given back at the end of the session: the claims that wait, and what
    /// is registered.
    pub fn take_all(&mut self) -> (Vec<Claimed>, Vec<(RegistrationId, RegisteredPattern)>) {
        let under_way = self.under_way.take().unwrap_or_default();
        (under_way.claimed.into_values().collect(), self.held.drain().collect())
    }

    fn tidy(&mut self) {
        let is_over = |some: &mut Box<UnderWay>| some.claimed.is_empty() && some.retired.is_empty();
        drop(self.under_way.take_if(is_over));
    }

    /// Checks that what is under way can be found both ways.
    pub fn check(&self) {
        let Some(under_way) = self.under_way.as_deref() else { return };
        let UnderWay { claimed, retired, claims, .. } = under_way;
        assert!(!claimed.is_empty() || !retired.is_empty());
        assert!(claimed.iter().all(|(id, claimed)| claimed.claim.id == *id));
        let named = claims.iter().all(|(id, of)| retired.get(of).is_some_and(|it| it.claim == *id));
        assert!(named && claims.len() == retired.len(), "each of the retired has one claim");
    }
}
