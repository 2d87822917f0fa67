//! The procedure table of a realm: who is registered for which procedure, and who is next.
//!
//! Alone, who registers is entered or refused at once (`register`). In a cluster callees are claims
//! that all nodes order alike (`claims`); a table has the ones or the others.

mod claims;

use std::sync::Arc;

use super::SessionRef;
use super::callees::{Callees, LoadSlot, Member, Place, Tour};
use super::directory::{Described, Directory, Listing};
use super::ids::PatternIds;
use super::ledger::Walk;
use super::meta::{Departure, MetaFeed, MetaTopic};
use super::pattern::{Keep, PatternTable};
use super::shapes::{Asker, TooManyShapes};
use crate::hash::HashSeed;
use crate::wamp::{
    Feature, Features, InvokePolicy, MatchPolicy, RegistrationId, SessionId, Timestamp,
};

pub use claims::{Installed, Notice};

/// The callee that a call goes to.
#[derive(Debug)]
pub struct Picked {
    pub registration: RegistrationId,
    pub policy: MatchPolicy,
    pub callee: SessionRef,
    /// Where the callee stands among those of the registration; see [`Tour`].
    pub place: Place,
    pub traits: Traits,
    /// The seat that the call takes at a callee with a limit.
    pub load: Option<LoadSlot>,
}

/// Where a call would go to, as it looks now.
#[derive(Clone, Copy, Debug)]
pub struct Foreseen {
    pub registration: RegistrationId,
    pub policy: MatchPolicy,
    pub invoke: InvokePolicy,
    pub callees: usize,
    /// `None` if chance decides, or if all are full.
    pub next: Option<SessionRef>,
    /// Every callee has as many invocations pending as it wants.
    pub is_busy: bool,
}

/// What a caller's shard has to know of a callee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// What it announced for its role.
    pub features: Features,
    pub disclose_caller: bool,
    pub forward_timeout: bool,
    /// It has a limit that its own node counts: a call may come back.
    pub is_limited_elsewhere: bool,
}

impl Traits {
    /// Whether a call to it may go on to another callee, and so has to be kept.
    #[inline]
    pub const fn may_return_calls(self) -> bool {
        self.features.has(Feature::CallReroute) || self.is_limited_elsewhere
    }
}

/// A callee as it registers.
#[derive(Clone, Debug)]
pub struct Callee {
    pub session: SessionRef,
    pub traits: Traits,
    /// The most invocations that it wants to have pending, if it counts them.
    pub concurrency: Option<u32>,
}

impl From<SessionRef> for Callee {
    fn from(session: SessionRef) -> Self {
        Self { session, traits: Traits::default(), concurrency: None }
    }
}

/// Why no callee was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PickError {
    NoProcedure,
    /// Every callee has as many invocations pending as it wants.
    Busy,
}

/// Why a REGISTER is refused: `wamp.error.procedure_already_exists` (AP-SHR-02) for all but the
/// last, which is a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterError {
    Taken,
    OtherPolicy,
    Twice,
    /// Another procedure has the id that this one would have on all nodes of the cluster.
    IdTaken,
    /// See [`TooManyShapes`].
    TooManyShapes,
}

impl From<TooManyShapes> for RegisterError {
    fn from(_: TooManyShapes) -> Self {
        Self::TooManyShapes
    }
}

impl RegisterError {
    /// A sentence for the callee.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "another session has registered this procedure and does not share it",
            Self::OtherPolicy => "this procedure is registered with another invocation policy",
            Self::Twice => "this session has already registered this procedure",
            Self::IdTaken => {
                "another procedure of the cluster has the same registration id, by chance: \
                 register this one by another name"
            }
            Self::TooManyShapes => "this realm has no room for one more pattern of this kind",
        }
    }
}

/// What came of a REGISTER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    pub registration: RegistrationId,
    /// The number of `on_create`, if the registration is new and somebody listens.
    pub created: Option<u64>,
}

#[derive(Debug)]
pub struct ProcedureTable {
    patterns: PatternTable<Procedure>,
    directory: Directory<RegistrationId>,
    ids: PatternIds,
    feed: Arc<MetaFeed>,
}

/// Invariant: never without callees in the table.
#[derive(Debug)]
struct Procedure {
    registration: RegistrationId,
    invoke: InvokePolicy,
    callees: Callees,
}

impl ProcedureTable {
    pub(super) fn new(seed: &HashSeed, ids: &PatternIds, feed: &Arc<MetaFeed>) -> Self {
        Self {
            patterns: PatternTable::new(seed),
            directory: Directory::new(),
            ids: ids.clone(),
            feed: Arc::clone(feed),
        }
    }

    /// Enters a callee, or refuses it (BP-REG-01, AP-SHR-01 to 03). A new registration was
    /// created `now`.
    pub fn register(
        &self,
        uri: &str,
        policy: MatchPolicy,
        invoke: InvokePolicy,
        callee: impl Into<Callee>,
        now: Timestamp,
    ) -> Result<Registered, RegisterError> {
        let callee = callee.into();
        let make = || {
            let registration = self.enter(uri, policy, invoke, now)?;
            Some(Procedure { registration, invoke, callees: Callees::default() })
        };
        let enter = |procedure: &mut Procedure| {
            let is_new = procedure.callees.is_empty();
            let entered = procedure.admits(invoke, callee.session.session).map(|()| {
                procedure.callees.enter(invoke, &callee);
                let registration = procedure.registration;
                let created = is_new.then(|| self.feed.number(MetaTopic::RegistrationOnCreate));
                Registered { registration, created: created.flatten() }
            });
            (Keep::Yes, entered)
        };
        let entered = self.patterns.update(uri, policy, Asker::Client, make, enter)?;
        entered.unwrap_or(Err(RegisterError::IdTaken))
    }

    /// Makes a new registration known, under the lock of its entry; `None` if another procedure has
    /// its id.
    fn enter(
        &self,
        uri: &str,
        policy: MatchPolicy,
        invoke: InvokePolicy,
        now: Timestamp,
    ) -> Option<RegistrationId> {
        let registration = RegistrationId::from_random(self.ids.draw(policy, uri, 0));
        let described = Described { uri: uri.into(), policy, invoke: Some(invoke), created: now };
        self.directory.insert(registration, described).then_some(registration)
    }

    /// Takes a callee out; the registration dies with its last one.
    pub fn unregister(&self, uri: &str, policy: MatchPolicy, session: SessionId) -> Departure {
        let remove = |procedure: &mut Procedure| {
            let left = self.feed.number(MetaTopic::RegistrationOnUnregister);
            procedure.callees.remove(session);
            if !procedure.callees.is_empty() {
                return (Keep::Yes, Departure { left, deleted: None });
            }
            self.directory.remove(procedure.registration);
            let deleted = self.feed.number(MetaTopic::RegistrationOnDelete);
            (Keep::No, Departure { left, deleted })
        };
        let left = self.patterns.update(uri, policy, Asker::Client, || None, remove);
        left.ok().flatten().unwrap_or_default()
    }

    /// What a registration is for (`wamp.registration.get`).
    pub fn get(&self, registration: RegistrationId) -> Option<Described> {
        self.directory.get(registration)
    }

    /// The ids of all registrations, unless there are more than `limit`.
    pub fn list(&self, limit: usize) -> Option<Listing<RegistrationId>> {
        self.directory.list(limit)
    }

    /// Goes on with a walk through the ids of all registrations, for about `max_units` of them and
    /// at least 1; returns how many it took.
    pub fn list_on(
        &self,
        walk: &mut Walk<RegistrationId>,
        listing: &mut Listing<RegistrationId>,
        max_units: usize,
    ) -> usize {
        self.directory.list_on(walk, listing, max_units)
    }

    /// The registration of exactly this pattern; no matching is done (AP-RMA-02).
    pub fn look_up(&self, uri: &str, policy: MatchPolicy) -> Option<RegistrationId> {
        self.patterns.look_up(uri, policy, |procedure| procedure.registration)
    }

    /// How many patterns [`Self::pick`] and [`Self::best_match`] look up for `uri` at most.
    #[inline]
    pub fn look_ups(&self, uri: &str) -> usize {
        self.patterns.look_ups(uri)
    }

    /// The registration that a call of `uri` would go to (AP-PBR-04).
    pub fn best_match(&self, uri: &str) -> Option<RegistrationId> {
        self.patterns.best_match(uri, |_, procedure| procedure.registration)
    }

    /// The callees of the registration of a pattern, in their order; `None` if there is none.
    pub fn callees(&self, uri: &str, policy: MatchPolicy) -> Option<Vec<SessionRef>> {
        self.patterns.look_up(uri, policy, |procedure| {
            let mut callees = Vec::with_capacity(procedure.callees.len());
            callees.extend(procedure.callees.iter(None).map(|callee| callee.session));
            callees
        })
    }

    /// At most `most` callees of a registration in their order, from behind `after` on, each with
    /// its place; `None` if there is no such registration (any more).
    pub fn callees_after(
        &self,
        registration: RegistrationId,
        after: Option<Place>,
        most: usize,
    ) -> Option<Vec<(Place, SessionRef)>> {
        self.look_into(registration, |_, procedure| {
            let callees = procedure.callees.iter(after).take(most);
            callees.map(|callee| (callee.place, callee.session)).collect()
        })
    }

    /// How many callees a registration has, if there is one.
    pub fn callee_count(&self, registration: RegistrationId) -> Option<usize> {
        self.look_into(registration, |_, procedure| procedure.callees.len())
    }

    /// Where a session lives, if it is a callee of a registration; `None` if there is none.
    pub fn callee(
        &self,
        registration: RegistrationId,
        session: SessionId,
    ) -> Option<Option<SessionRef>> {
        self.look_into(registration, |_, procedure| procedure.callees.get(session))
    }

    /// Looks at a registration under the lock of its entry.
    fn look_into<R>(
        &self,
        registration: RegistrationId,
        look: impl FnOnce(MatchPolicy, &Procedure) -> R,
    ) -> Option<R> {
        let (uri, policy) = self.directory.pattern(registration)?;
        // It may have died meanwhile, and another have come for the same pattern.
        let look = |procedure: &Procedure| {
            (procedure.registration == registration).then(|| look(policy, procedure))
        };
        self.patterns.look_up(&uri, policy, look).flatten()
    }

    /// The callee for a call of `uri`: the best match, then its policy. `random` draws 64 bits.
    pub fn pick(&self, uri: &str, random: impl FnOnce() -> u64) -> Result<Picked, PickError> {
        let mut random = Some(random);
        let picked = self.patterns.best_match(uri, |policy, procedure| {
            let random = || random.take().map_or(0, |draw| draw());
            let picked = procedure.callees.pick(procedure.invoke, random)?;
            Some(procedure.picked(policy, picked))
        });
        picked.ok_or(PickError::NoProcedure)?.ok_or(PickError::Busy)
    }

    /// Where a call of `uri` would go to, as it looks now; nothing changes because of the question.
    pub fn foresee(&self, uri: &str) -> Option<Foreseen> {
        self.patterns.best_match(uri, |policy, procedure| {
            let Procedure { registration, invoke, callees } = procedure;
            let next = callees.foresee(*invoke);
            Foreseen {
                registration: *registration,
                policy,
                invoke: *invoke,
                callees: callees.len(),
                next: next.ok().flatten().map(|member| member.session),
                is_busy: next.is_err(),
            }
        })
    }

    /// The next callee of the registration for a call that those of `tour` could not take; of
    /// those that are not full (AP-RRT-01). The best match may be another registration by now.
    pub fn pick_another(
        &self,
        registration: RegistrationId,
        tour: &mut Tour,
        random: u64,
    ) -> Option<Picked> {
        let next = |policy, procedure: &Procedure| {
            let picked = procedure.callees.pick_next(procedure.invoke, tour, random)?;
            Some(procedure.picked(policy, picked))
        };
        self.look_into(registration, next).flatten()
    }

    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.patterns.is_idle() && self.directory.len() == 0
    }
}

impl Procedure {
    /// Whether its callees let a session be one of them.
    fn admits(&self, invoke: InvokePolicy, session: SessionId) -> Result<(), RegisterError> {
        if self.callees.get(session).is_some() {
            return Err(RegisterError::Twice);
        }
        if invoke != self.invoke {
            return Err(RegisterError::OtherPolicy);
        }
        if invoke == InvokePolicy::Single && !self.callees.is_empty() {
            return Err(RegisterError::Taken);
        }
        Ok(())
    }

    fn picked(&self, policy: MatchPolicy, picked: (Member, Option<LoadSlot>)) -> Picked {
        let (Member { place, session, traits }, load) = picked;
        Picked { registration: self.registration, policy, callee: session, place, traits, load }
    }
}

#[cfg(test)]
mod tests;
