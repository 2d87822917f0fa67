//! The callees of a cluster's procedures, as each node enters and removes them: by the place that
//! their grants give them in the order of all nodes.

use super::{
    Callee, Callees, LoadSlot, PickError, Place, Procedure, ProcedureTable, RegisterError,
};
use crate::router::callees::Turnover;
use crate::router::directory::Described;
use crate::router::meta::MetaTopic;
use crate::router::pattern::Keep;
use crate::router::shapes::Asker;
use crate::router::{SessionRef, ShardId};
use crate::wamp::{InvokePolicy, MatchPolicy, RegistrationId, SessionId, Timestamp};

/// What came of a grant.
#[derive(Debug)]
pub struct Installed {
    pub registration: RegistrationId,
    /// Whether the callee counts, or why it does not. The claim stands in any case.
    pub admitted: Result<(), RegisterError>,
    /// What listeners are to be told, in its order.
    pub notices: Vec<Notice>,
}

/// A meta event of a registration, with the number that it has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    pub topic: MetaTopic,
    pub number: u64,
    pub registration: RegistrationId,
    pub callee: SessionRef,
}

impl ProcedureTable {
    /// Enters a callee whose claim was granted as number `grant` of the cluster, at the place that
    /// this gives it, whenever this node hears of it. The first one sets the policy, and whoever it
    /// does not admit does not count.
    ///
    /// # Errors
    /// [`RegisterError::IdTaken`] or [`RegisterError::TooManyShapes`]; the claim does not stand
    /// then.
    pub fn install(
        &self,
        uri: &str,
        policy: MatchPolicy,
        invoke: InvokePolicy,
        mut callee: Callee,
        grant: u64,
        now: Timestamp,
    ) -> Result<Installed, RegisterError> {
        if callee.session.shard == ShardId::CLUSTER {
            // Its own node has its seats.
            callee.traits.is_limited_elsewhere = callee.concurrency.take().is_some();
        }
        let place = Place::of_grant(grant);
        let make = || {
            let registration = self.enter(uri, policy, invoke, now)?;
            Some(Procedure { registration, invoke, callees: Callees::default() })
        };
        let install = |procedure: &mut Procedure| {
            let is_new = procedure.callees.is_empty();
            let refusal = procedure.admits(invoke, callee.session.session);
            let turnover = procedure
                .change(self, |policy, callees| callees.install(policy, invoke, &callee, place));
            let is_counted = procedure.callees.counts(place);
            let admitted = if is_counted { Ok(()) } else { refusal };
            let mut notices = Vec::new();
            if is_new {
                self.note(procedure, &mut notices, MetaTopic::RegistrationOnCreate, &turnover.came);
            }
            self.note_turnover(procedure, &mut notices, &turnover);
            let registration = procedure.registration;
            (Keep::Yes, Installed { registration, admitted, notices })
        };
        let installed = self.patterns.update(uri, policy, Asker::Client, make, install)?;
        installed.ok_or(RegisterError::IdTaken)
    }

    /// Why a claim of a session with this grant would not count, and who is in its way.
    /// `instead_of` is the grant of a claim of which it takes the place.
    pub fn refusal(
        &self,
        (uri, policy): (&str, MatchPolicy),
        (grant, invoke, session): (u64, InvokePolicy, SessionId),
        instead_of: Option<u64>,
    ) -> Option<(RegisterError, SessionRef)> {
        let claim = (Place::of_grant(grant), invoke, session);
        let instead_of = instead_of.map(Place::of_grant);
        let refusal =
            |procedure: &Procedure| procedure.callees.refusal(procedure.invoke, claim, instead_of);
        self.patterns.look_up(uri, policy, refusal).flatten()
    }

    /// Takes the claim of a grant out, if it stands; the registration dies with its last one.
    /// Returns what listeners are to be told, in its order.
    pub fn withdraw(&self, uri: &str, policy: MatchPolicy, grant: u64) -> Vec<Notice> {
        let place = Place::of_grant(grant);
        let withdraw = |procedure: &mut Procedure| {
            let turnover =
                procedure.change(self, |policy, callees| callees.withdraw(policy, place));
            let mut notices = Vec::new();
            self.note_turnover(procedure, &mut notices, &turnover);
            if !procedure.callees.is_empty() {
                return (Keep::Yes, notices);
            }
            self.directory.remove(procedure.registration);
            self.note(procedure, &mut notices, MetaTopic::RegistrationOnDelete, &turnover.left);
            (Keep::No, notices)
        };
        let left = self.patterns.update(uri, policy, Asker::Client, || None, withdraw);
        left.ok().flatten().unwrap_or_default()
    }

    /// The id that a registration of this pattern has on all nodes.
    pub fn id_of(&self, uri: &str, policy: MatchPolicy) -> RegistrationId {
        RegistrationId::from_random(self.ids.draw(policy, uri, 0))
    }

    /// A seat for a call that comes from another node, at a callee that counts them.
    ///
    /// # Errors
    /// [`PickError::Busy`]: it has as many pending as it wants.
    pub fn take_seat(
        &self,
        registration: RegistrationId,
        callee: SessionId,
    ) -> Result<Option<LoadSlot>, PickError> {
        let take = |_, procedure: &Procedure| procedure.callees.take_seat(callee);
        self.look_into(registration, take).unwrap_or(Ok(None)).map_err(|_| PickError::Busy)
    }

    fn note_turnover(&self, procedure: &Procedure, notices: &mut Vec<Notice>, turnover: &Turnover) {
        let (left, came) = (MetaTopic::RegistrationOnUnregister, MetaTopic::RegistrationOnRegister);
        turnover.left.iter().for_each(|one| self.note(procedure, notices, left, &[*one]));
        turnover.came.iter().for_each(|one| self.note(procedure, notices, came, &[*one]));
    }

    /// Numbers what is to be told of the first of `callees`, under the lock of the entry.
    fn note(
        &self,
        procedure: &Procedure,
        notices: &mut Vec<Notice>,
        topic: MetaTopic,
        callees: &[SessionRef],
    ) {
        let Some(callee) = callees.first().copied() else { return };
        let registration = procedure.registration;
        let number = self.feed.number(topic);
        notices.extend(number.map(|number| Notice { topic, number, registration, callee }));
    }
}

impl Procedure {
    /// Changes the callees. What is known of the registration goes with its policy.
    fn change(
        &mut self,
        table: &ProcedureTable,
        change: impl FnOnce(&mut InvokePolicy, &mut Callees) -> Turnover,
    ) -> Turnover {
        let before = self.invoke;
        let turnover = change(&mut self.invoke, &mut self.callees);
        if self.invoke != before {
            let invoke = Some(self.invoke);
            table.directory.change(self.registration, |described: &mut Described| {
                described.invoke = invoke;
            });
        }
        turnover
    }
}

#[cfg(test)]
mod tests;
