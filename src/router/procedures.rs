//! The procedure table of a realm: who is registered for which procedure, and who is next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::directory::{Described, Directory, Listing};
use super::meta::{Departure, MetaFeed, MetaTopic};
use super::pattern::{Keep, PatternTable};
use super::shapes::{Asker, TooManyShapes};
use super::{IdCounter, SessionRef};
use crate::hash::HashSeed;
use crate::wamp::{Features, InvokePolicy, MatchPolicy, RegistrationId, SessionId, Timestamp};

/// The callee that a call goes to.
#[derive(Debug)]
pub struct Picked {
    pub registration: RegistrationId,
    pub policy: MatchPolicy,
    pub callee: SessionRef,
    pub traits: Traits,
    /// The place that the call takes at a callee with a limit.
    pub load: Option<LoadSlot>,
}

/// What a caller's shard has to know of a callee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// What it announced for its role.
    pub features: Features,
    pub disclose_caller: bool,
    pub forward_timeout: bool,
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

/// How many invocations a callee with a limit has pending on one registration.
#[derive(Debug)]
struct Load {
    limit: u32,
    pending: AtomicU32,
}

/// One place of a callee with a limit, given back when it is dropped, wherever the call ends.
#[derive(Debug)]
pub struct LoadSlot(Arc<Load>);

impl LoadSlot {
    fn take(load: &Arc<Load>) -> Option<Self> {
        let free = |pending| (pending < load.limit).then_some(pending + 1);
        load.pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        Some(Self(Arc::clone(load)))
    }
}

impl Drop for LoadSlot {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a REGISTER is refused: `wamp.error.procedure_already_exists` (AP-SHR-02) for all but the
/// last, which is a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterError {
    Taken,
    OtherPolicy,
    Twice,
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
    ids: Arc<IdCounter>,
    feed: Arc<MetaFeed>,
}

/// Invariant: `callees` is in the order of registration and never empty in the table.
#[derive(Debug)]
struct Procedure {
    registration: RegistrationId,
    invoke: InvokePolicy,
    callees: Vec<Entry>,
    /// Callees with a limit; without them nothing is counted.
    limited: usize,
    /// Index of the callee that a round robin takes next, modulo their number.
    next: AtomicUsize,
}

#[derive(Debug)]
struct Entry {
    session: SessionRef,
    traits: Traits,
    load: Option<Arc<Load>>,
}

impl ProcedureTable {
    pub(super) fn new(seed: &HashSeed, ids: &Arc<IdCounter>, feed: &Arc<MetaFeed>) -> Self {
        Self {
            patterns: PatternTable::new(seed),
            directory: Directory::new(seed),
            ids: Arc::clone(ids),
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
            let registration = RegistrationId::from_random(self.ids.next() - 1);
            let next = AtomicUsize::new(0);
            Some(Procedure { registration, invoke, callees: Vec::new(), limited: 0, next })
        };
        let enter = |procedure: &mut Procedure| {
            let is_new = procedure.callees.is_empty();
            let entered = procedure.enter(invoke, callee).map(|registration| {
                let created = is_new.then(|| self.enter(registration, uri, policy, invoke, now));
                Registered { registration, created: created.flatten() }
            });
            (Keep::Yes, entered)
        };
        let entered = self.patterns.update(uri, policy, Asker::Client, make, enter)?;
        entered.expect("an entry is made where there is none")
    }

    /// Makes a new registration known, under the lock of its entry.
    fn enter(
        &self,
        registration: RegistrationId,
        uri: &str,
        policy: MatchPolicy,
        invoke: InvokePolicy,
        now: Timestamp,
    ) -> Option<u64> {
        let (uri, invoke, after_meta) = (uri.into(), Some(invoke), self.feed.given());
        let described = Described { uri, policy, invoke, created: now, after_meta };
        self.directory.insert(registration, described);
        self.feed.number(MetaTopic::RegistrationOnCreate)
    }

    /// Takes a callee out; the registration dies with its last one.
    pub fn unregister(&self, uri: &str, policy: MatchPolicy, session: SessionId) -> Departure {
        let remove = |procedure: &mut Procedure| {
            let left = self.feed.number(MetaTopic::RegistrationOnUnregister);
            procedure.remove(session);
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

    /// The registration of exactly this pattern; no matching is done (AP-RMA-02).
    pub fn look_up(&self, uri: &str, policy: MatchPolicy) -> Option<RegistrationId> {
        self.patterns.look_up(uri, policy, |procedure| procedure.registration)
    }

    /// The registration that a call of `uri` would go to (AP-PBR-04).
    pub fn best_match(&self, uri: &str) -> Option<RegistrationId> {
        self.patterns.best_match(uri, |_, procedure| procedure.registration)
    }

    /// The callees of the registration of a pattern, in their order; `None` if there is none.
    pub fn callees(&self, uri: &str, policy: MatchPolicy) -> Option<Vec<SessionRef>> {
        let sessions =
            |procedure: &Procedure| procedure.callees.iter().map(|callee| callee.session).collect();
        self.patterns.look_up(uri, policy, sessions)
    }

    /// The callee for a call of `uri`: the best match, then its policy. `random` draws 64 bits.
    pub fn pick(&self, uri: &str, random: impl FnOnce() -> u64) -> Result<Picked, PickError> {
        let mut random = Some(random);
        let picked = self.patterns.best_match(uri, |policy, procedure| {
            let random = || random.take().map_or(0, |draw| draw());
            if procedure.limited == 0 {
                return Some(procedure.picked(procedure.pick(random), policy, None));
            }
            procedure.pick_among(policy, &[], random)
        });
        picked.ok_or(PickError::NoProcedure)?.ok_or(PickError::Busy)
    }

    /// Another callee of the registration for a call that `refused` could not take (AP-RRT-01).
    pub fn pick_another(
        &self,
        uri: &str,
        registration: RegistrationId,
        refused: &[SessionId],
        random: u64,
    ) -> Option<Picked> {
        let mut picked = None;
        // The best match may be another one by now.
        self.patterns.for_each_match(uri, |policy, procedure| {
            if procedure.registration == registration {
                picked = procedure.pick_among(policy, refused, || random);
            }
        });
        picked
    }

    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.patterns.is_idle() && self.directory.len() == 0
    }
}

impl Procedure {
    fn enter(
        &mut self,
        invoke: InvokePolicy,
        callee: Callee,
    ) -> Result<RegistrationId, RegisterError> {
        let Callee { session, traits, concurrency } = callee;
        if self.callees.iter().any(|other| other.session.session == session.session) {
            return Err(RegisterError::Twice);
        }
        if invoke != self.invoke {
            return Err(RegisterError::OtherPolicy);
        }
        if invoke == InvokePolicy::Single && !self.callees.is_empty() {
            return Err(RegisterError::Taken);
        }
        let load = concurrency.map(|limit| Arc::new(Load { limit, pending: AtomicU32::new(0) }));
        self.limited += usize::from(load.is_some());
        self.callees.push(Entry { session, traits, load });
        Ok(self.registration)
    }

    /// Keeps the turn of a round robin with the callee that had it (AP-SHR-04).
    fn remove(&mut self, session: SessionId) {
        let Some(position) = self.callees.iter().position(|c| c.session.session == session) else {
            return;
        };
        let turn = *self.next.get_mut() % self.callees.len();
        let removed = self.callees.remove(position);
        self.limited -= usize::from(removed.load.is_some());
        debug_assert_eq!(self.limited, self.callees.iter().filter(|c| c.load.is_some()).count());
        *self.next.get_mut() = if position < turn { turn - 1 } else { turn };
    }

    /// The index of the callee whose turn it is.
    fn pick(&self, random: impl FnOnce() -> u64) -> usize {
        let count = self.callees.len();
        match self.invoke {
            InvokePolicy::Single | InvokePolicy::First => 0,
            InvokePolicy::Last => count - 1,
            InvokePolicy::RoundRobin => self.next.fetch_add(1, Ordering::Relaxed) % count,
            InvokePolicy::Random => usize::try_from(random() % count as u64).unwrap_or_default(),
        }
    }

    /// The first in the policy's order that has not refused and has a place free.
    fn pick_among(
        &self,
        policy: MatchPolicy,
        refused: &[SessionId],
        random: impl FnOnce() -> u64,
    ) -> Option<Picked> {
        let count = self.callees.len();
        if self.invoke == InvokePolicy::Random {
            return self.pick_random(policy, refused, random());
        }
        let start = self.pick(|| 0);
        for step in 0..count {
            let index = match self.invoke {
                InvokePolicy::Last => start - step,
                _ => (start + step) % count,
            };
            if let Some(load) = self.callees[index].admit(refused) {
                if self.invoke == InvokePolicy::RoundRobin {
                    // The next turn is that of the callee behind the one that got the call.
                    self.next.fetch_add(step, Ordering::Relaxed);
                }
                return Some(self.picked(index, policy, load));
            }
        }
        None
    }

    /// One of those with a place free, each as likely as the others.
    fn pick_random(
        &self,
        policy: MatchPolicy,
        refused: &[SessionId],
        mut random: u64,
    ) -> Option<Picked> {
        let mut candidates: Vec<usize> = (0..self.callees.len()).collect();
        while !candidates.is_empty() {
            let count = candidates.len() as u64;
            let place = usize::try_from(random % count).unwrap_or_default();
            random /= count;
            let index = candidates.swap_remove(place);
            if let Some(load) = self.callees[index].admit(refused) {
                return Some(self.picked(index, policy, load));
            }
        }
        None
    }

    fn picked(&self, index: usize, policy: MatchPolicy, load: Option<LoadSlot>) -> Picked {
        let Entry { session, traits, .. } = self.callees[index];
        Picked { registration: self.registration, policy, callee: session, traits, load }
    }
}

impl Entry {
    /// A place at this callee, if it has not refused the call and has one free.
    #[expect(clippy::option_option, reason = "the inner one is `None` for a callee without limit")]
    fn admit(&self, refused: &[SessionId]) -> Option<Option<LoadSlot>> {
        if refused.contains(&self.session.session) {
            return None;
        }
        match &self.load {
            None => Some(None),
            Some(load) => LoadSlot::take(load).map(Some),
        }
    }
}

#[cfg(test)]
mod tests;
