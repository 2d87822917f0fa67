//! The procedure table of a realm: who is registered for which procedure, and who is next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::pattern::{Keep, PatternTable};
use super::{IdCounter, SessionRef};
use crate::hash::HashSeed;
use crate::wamp::{InvokePolicy, MatchPolicy, RegistrationId, SessionId};

/// The callee that a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picked {
    pub registration: RegistrationId,
    pub policy: MatchPolicy,
    pub callee: SessionRef,
}

/// Why a REGISTER is refused; each is `wamp.error.procedure_already_exists` (AP-SHR-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterError {
    Taken,
    OtherPolicy,
    Twice,
}

impl RegisterError {
    /// A sentence for the callee.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "another session has registered this procedure and does not share it",
            Self::OtherPolicy => "this procedure is registered with another invocation policy",
            Self::Twice => "this session has already registered this procedure",
        }
    }
}

#[derive(Debug)]
pub struct ProcedureTable {
    patterns: PatternTable<Procedure>,
    ids: Arc<IdCounter>,
}

/// Invariant: `callees` is in the order of registration and never empty in the table.
#[derive(Debug)]
struct Procedure {
    registration: RegistrationId,
    invoke: InvokePolicy,
    callees: Vec<SessionRef>,
    /// Index of the callee that a round robin takes next, modulo their number.
    next: AtomicUsize,
}

impl ProcedureTable {
    pub(super) fn new(seed: HashSeed, ids: &Arc<IdCounter>) -> Self {
        Self { patterns: PatternTable::new(seed), ids: Arc::clone(ids) }
    }

    /// Enters a callee, or refuses it (BP-REG-01, AP-SHR-01 to 03).
    pub fn register(
        &self,
        uri: &str,
        policy: MatchPolicy,
        invoke: InvokePolicy,
        callee: SessionRef,
    ) -> Result<RegistrationId, RegisterError> {
        let make = || {
            let registration = RegistrationId::from_random(self.ids.next() - 1);
            let next = AtomicUsize::new(0);
            Some(Procedure { registration, invoke, callees: Vec::new(), next })
        };
        self.patterns
            .update(uri, policy, make, |procedure| (Keep::Yes, procedure.enter(invoke, callee)))
            .expect("an entry is made where there is none")
    }

    /// Takes a callee out; the registration dies with its last one. Idempotent.
    pub fn unregister(&self, uri: &str, policy: MatchPolicy, session: SessionId) {
        self.patterns.update(
            uri,
            policy,
            || None,
            |procedure| {
                procedure.remove(session);
                (if procedure.callees.is_empty() { Keep::No } else { Keep::Yes }, ())
            },
        );
    }

    /// The callee for a call of `uri`: the best match, then its policy. `random` is 64 random bits.
    pub fn pick(&self, uri: &str, random: impl FnOnce() -> u64) -> Option<Picked> {
        let mut random = Some(random);
        self.patterns.best_match(uri, |policy, procedure| Picked {
            registration: procedure.registration,
            policy,
            callee: procedure.pick(|| random.take().map_or(0, |draw| draw())),
        })
    }

    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.patterns.is_idle()
    }
}

impl Procedure {
    fn enter(
        &mut self,
        invoke: InvokePolicy,
        callee: SessionRef,
    ) -> Result<RegistrationId, RegisterError> {
        if self.callees.iter().any(|other| other.session == callee.session) {
            return Err(RegisterError::Twice);
        }
        if invoke != self.invoke {
            return Err(RegisterError::OtherPolicy);
        }
        if invoke == InvokePolicy::Single && !self.callees.is_empty() {
            return Err(RegisterError::Taken);
        }
        self.callees.push(callee);
        Ok(self.registration)
    }

    /// Keeps the turn of a round robin with the callee that had it (AP-SHR-04).
    fn remove(&mut self, session: SessionId) {
        let Some(position) = self.callees.iter().position(|c| c.session == session) else { return };
        let turn = *self.next.get_mut() % self.callees.len();
        self.callees.remove(position);
        *self.next.get_mut() = if position < turn { turn - 1 } else { turn };
    }

    fn pick(&self, random: impl FnOnce() -> u64) -> SessionRef {
        let count = self.callees.len();
        let index = match self.invoke {
            InvokePolicy::Single | InvokePolicy::First => 0,
            InvokePolicy::Last => count - 1,
            InvokePolicy::RoundRobin => self.next.fetch_add(1, Ordering::Relaxed) % count,
            InvokePolicy::Random => usize::try_from(random() % count as u64).unwrap_or_default(),
        };
        self.callees[index]
    }
}

#[cfg(test)]
mod tests {
    use super::super::ShardId;
    use super::*;

    const URI: &str = "com.x";
    const EXACT: MatchPolicy = MatchPolicy::Exact;

    fn callee(number: u64) -> SessionRef {
        let session = SessionId::new(number).expect("a small number is an id");
        SessionRef { session, slot: 0, shard: ShardId(0) }
    }

    fn table(invoke: InvokePolicy, callees: u64) -> ProcedureTable {
        let table = ProcedureTable::new(HashSeed::new(1), &Arc::default());
        for number in 1..=callees {
            table.register(URI, EXACT, invoke, callee(number)).expect("the registration is shared");
        }
        table
    }

    fn picks(table: &ProcedureTable, count: usize) -> Vec<u64> {
        let pick = |_| table.pick(URI, || 5).expect("somebody is registered").callee.session.get();
        (0..count).map(pick).collect()
    }

    #[test]
    fn a_single_registration_refuses_the_second_callee() {
        let table = table(InvokePolicy::Single, 1);
        let single = |number| table.register(URI, EXACT, InvokePolicy::Single, callee(number));
        assert_eq!(single(2), Err(RegisterError::Taken));
        assert_eq!(single(1), Err(RegisterError::Twice));
        let other = table.register(URI, EXACT, InvokePolicy::First, callee(2));
        assert_eq!(other, Err(RegisterError::OtherPolicy));
    }

    #[test]
    fn each_policy_picks_its_callee() {
        assert_eq!(picks(&table(InvokePolicy::First, 3), 2), [1, 1]);
        assert_eq!(picks(&table(InvokePolicy::Last, 3), 2), [3, 3]);
        assert_eq!(picks(&table(InvokePolicy::RoundRobin, 3), 4), [1, 2, 3, 1]);
        assert_eq!(picks(&table(InvokePolicy::Random, 3), 1), [3], "5 modulo 3 is the third");
    }

    #[test]
    fn a_round_robin_neither_skips_nor_repeats_when_a_callee_leaves() {
        let table = table(InvokePolicy::RoundRobin, 4);
        assert_eq!(picks(&table, 2), [1, 2]);
        table.unregister(URI, EXACT, callee(1).session);
        assert_eq!(picks(&table, 1), [3]);
        table.unregister(URI, EXACT, callee(4).session);
        assert_eq!(picks(&table, 3), [2, 3, 2]);
    }

    #[test]
    fn a_registration_dies_with_its_last_callee() {
        let table = table(InvokePolicy::First, 2);
        table.unregister(URI, EXACT, callee(1).session);
        assert_eq!(picks(&table, 1), [2]);
        table.unregister(URI, EXACT, callee(2).session);
        assert!(table.pick(URI, || 0).is_none() && table.is_empty());
    }
}
