//! REGISTER and UNREGISTER in a cluster, in two steps: all nodes have the same callees in the same
//! order, so each is claimed first, and becomes one when it is granted a place in that order.
//!
//! One that is given back leaves the table of this node at once, and its client is told when no
//! node routes to it any more; calls that were on their way until then are delivered. Whatever a
//! session has claimed is given back when it ends, granted or not.

use std::sync::Arc;

use super::super::requests::Refusal;
use super::super::{ClaimOutcome, Invoke, Mail, Shard};
use super::register::refusal_of;
use crate::router::{
    Callee, Described, Installed, Notice, Realm, RegisterError, SessionRef, ShardId, Slot,
};
use crate::session::{Claim, ClaimId, Claimed, Farewell, Grant, RegisteredPattern, Retired};
use crate::wamp::{InvokePolicy, Register, RegistrationId, RouterMessage, WampError, code};

/// The claims of a shard: how many wait, and what has come of those before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    last: u64,
    pub now: usize,
    pub granted: u64,
    pub refused: u64,
    pub given_up: u64,
    /// Those that were given back before they were answered.
    pub withdrawn: u64,
}

impl Shard {
    pub const fn claims(&self) -> Claims {
        self.claims
    }

    /// Asks the cluster for a place for a callee that nothing here refuses.
    #[cold]
    pub(super) fn claim(
        &mut self,
        slot: Slot,
        register: &Register<'_>,
        invoke: InvokePolicy,
        callee: Callee,
    ) {
        self.claims.last += 1;
        self.claims.now += 1;
        let session = self.connections.joined_mut(slot);
        let claim = Arc::new(Claim {
            id: ClaimId(self.claims.last),
            realm: Arc::clone(&session.realm),
            uri: register.procedure.as_ref().into(),
            policy: register.options.match_policy,
            invoke,
            created: self.cx.wall_clock,
            callee,
        });
        let request = register.request;
        session.registrations.claim(Claimed { request, claim: Arc::clone(&claim) });
        self.tell_cluster(slot, Mail::Claim(claim));
    }

    /// The cluster has answered a claim. Without effect if the session, or the claim, has gone: it
    /// was given back then.
    pub(in crate::shard) fn handle_claimed(
        &mut self,
        callee: SessionRef,
        claim: ClaimId,
        outcome: ClaimOutcome,
    ) {
        let slot = callee.slot;
        let Some(session) = self.connections.find(callee) else { return };
        if session.registrations.claimed(claim).is_none() {
            self.follow_regrant(callee, claim, outcome);
            return self.resume_grants(slot);
        }
        if let ClaimOutcome::Granted(revision) = outcome
            && self.must_put_off(slot)
        {
            let registrations = &mut self.connections.joined_mut(slot).registrations;
            return registrations.put_off(Grant { claim, revision });
        }
        let registrations = &mut self.connections.joined_mut(slot).registrations;
        let Some(claimed) = registrations.take_claim(claim) else { return };
        self.claims.now -= 1;
        let refusal = match outcome {
            ClaimOutcome::Granted(revision) => {
                self.claims.granted += 1;
                self.enter_granted(slot, &claimed, revision);
                return self.resume_grants(slot);
            }
            ClaimOutcome::Refused(error) => {
                self.claims.refused += 1;
                refusal_of(error)
            }
            ClaimOutcome::GivenUp => {
                self.claims.given_up += 1;
                NO_AGREEMENT
            }
        };
        self.refuse(slot, code::REGISTER, claimed.request, refusal);
    }

    /// What is registered was claimed once more, since others had removed this node: it has another
    /// place now, or another callee has it.
    #[cold]
    fn follow_regrant(&mut self, callee: SessionRef, claim: ClaimId, outcome: ClaimOutcome) {
        let Some(session) = self.connections.find_mut(callee) else { return };
        let Some((registration, grant)) = session.registrations.grant_mut(claim) else { return };
        match outcome {
            ClaimOutcome::Granted(revision) => grant.revision = revision,
            ClaimOutcome::Refused(error) => {
                self.handle_revoke_registration(callee, registration, Some(error.as_str()));
            }
            // It was given up in the moment in which a call proved it.
            ClaimOutcome::GivenUp => {
                self.handle_revoke_registration(callee, registration, Some(NO_AGREEMENT.1));
            }
        }
    }

    /// A call comes for what a session has claimed and was not answered: its caller's node has read
    /// of the grant, which this shard is yet to hear of. So the callee is told first. `false` if it
    /// has claimed nothing of the kind, or this node knows of somebody who is still in the way.
    #[cold]
    pub(super) fn take_proof(&mut self, invoke: &Invoke) -> bool {
        let Invoke { callee, registration, place, .. } = *invoke;
        let Some(session) = self.connections.find(callee) else { return false };
        let is_it = |claimed: &&Claimed| {
            let Claim { realm, uri, policy, .. } = &*claimed.claim;
            realm.procedures.id_of(uri, *policy) == registration
        };
        let registrations = &session.registrations;
        let claimed = registrations.claims().filter_map(|claim| registrations.claimed(claim));
        let Some(claimed) = { claimed }.find(is_it).cloned() else { return false };
        let Claim { id, realm, uri, policy, invoke, .. } = &*claimed.claim;
        let named = (place.grant(), *invoke, callee.session);
        if realm.procedures.refusal((uri, *policy), named, None).is_some() {
            return false;
        }
        self.connections.joined_mut(callee.slot).registrations.take_claim(*id);
        (self.claims.now, self.claims.granted) = (self.claims.now - 1, self.claims.granted + 1);
        let (claim, grant) = (*id, place.grant());
        self.tell_cluster(callee.slot, Mail::Proof { callee, claim, grant });
        self.enter_granted(callee.slot, &claimed, grant);
        let session = self.connections.find(callee);
        session.is_some_and(|session| session.registrations.takes_calls(registration))
    }

    /// Whether a grant waits: for a cork to end, or for listeners to hear of those before. Who
    /// waits for either is not read, and its claims are many.
    fn must_put_off(&self, slot: Slot) -> bool {
        self.connections[slot].input.is_unheard() || self.is_cork_late(slot)
    }

    /// Goes on with the first grant that was put off, unless the session waits further. Each brings
    /// the next one: the first ones may make the others wait again.
    pub(in crate::shard) fn resume_grants(&mut self, slot: Slot) {
        let session = self.connections[slot].session();
        if session.is_none_or(|session| !session.registrations.has_put_off())
            || self.must_put_off(slot)
        {
            return;
        }
        let session = self.connections.joined_mut(slot);
        let Some(Grant { claim, revision }) = session.registrations.take_put_off() else { return };
        let callee = self.cx.reference(slot, session.id);
        let outcome = ClaimOutcome::Granted(revision);
        self.mailbox.post_later(Mail::Claimed { callee, claim, outcome });
    }

    /// A callee takes its place, and learns it in the same step.
    fn enter_granted(&mut self, slot: Slot, claimed: &Claimed, revision: u64) {
        let Claimed { request, claim } = claimed;
        let Claim { id, realm, uri, policy, invoke, created, callee } = &**claim;
        let (policy, invoke, created) = (*policy, *invoke, *created);
        let member = callee.session;
        let installed =
            realm.procedures.install(uri, policy, invoke, callee.clone(), revision, created);
        let refused = match installed {
            Ok(Installed { registration, admitted, notices }) => {
                let invoke = Some(invoke);
                let described = Described { uri: uri.clone(), policy, invoke, created };
                self.announce_notices(realm, member, &notices, Some(&described));
                let session = self.connections.joined(slot);
                let is_held = session.registrations.get(&registration).is_some();
                match admitted {
                    Ok(()) if !is_held => {
                        let grant = Some(Box::new(Grant { claim: *id, revision }));
                        let pattern = RegisteredPattern { uri: uri.clone(), policy, grant };
                        self.hold_granted(slot, registration, pattern);
                        let request = *request;
                        self.answer(slot, &RouterMessage::Registered { request, registration });
                        return;
                    }
                    Ok(()) => RegisterError::Twice,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        // This node cannot have it, so nobody has.
        let notices = realm.procedures.withdraw(uri, policy, revision);
        self.announce_notices(realm, member, &notices, None);
        self.tell_cluster(slot, Mail::Release { callee: member, claim: *id });
        self.refuse(slot, code::REGISTER, *request, refusal_of(refused));
    }

    fn hold_granted(
        &mut self,
        slot: Slot,
        registration: RegistrationId,
        pattern: RegisteredPattern,
    ) {
        self.cork(slot);
        // Clients know a registration by its id alone: the end of one comes before its next life.
        let registrations = &mut self.connections.joined_mut(slot).registrations;
        if let Some(farewell) = registrations.replace_retired(registration) {
            self.bid_farewell(slot, registration, farewell);
        }
        let session = self.connections.joined_mut(slot);
        session.registrations.insert(registration, pattern);
        let member = self.cx.reference(slot, session.id);
        self.review.note_registered(member, registration);
        self.cx.counters.registrations.increment();
    }

    /// Gives a registration back that the cluster had granted.
    #[cold]
    pub(super) fn give_back(
        &mut self,
        realm: &Arc<Realm>,
        leaver: SessionRef,
        pattern: &RegisteredPattern,
        grant: &Grant,
    ) {
        let notices = realm.procedures.withdraw(&pattern.uri, pattern.policy, grant.revision);
        self.announce_notices(realm, leaver, &notices, None);
        self.tell_cluster(leaver.slot, Mail::Release { callee: leaver, claim: grant.claim });
    }

    /// A registration of a session that is here was given back: its client hears of it when no node
    /// routes to it any more, or now if nobody else has.
    pub(super) fn retire(
        &mut self,
        slot: Slot,
        registration: RegistrationId,
        grant: Option<Box<Grant>>,
        farewell: Farewell,
    ) {
        match grant {
            None => self.bid_farewell(slot, registration, farewell),
            Some(grant) => {
                let claim = grant.claim;
                let registrations = &mut self.connections.joined_mut(slot).registrations;
                registrations.retire(registration, Retired { claim, farewell });
            }
        }
    }

    /// No node routes to what a session has given back.
    pub(in crate::shard) fn handle_released(&mut self, callee: SessionRef, claim: ClaimId) {
        let Some(session) = self.connections.find_mut(callee) else { return };
        let Some((registration, farewell)) = session.registrations.take_retired(claim) else {
            return;
        };
        self.bid_farewell(callee.slot, registration, farewell);
    }

    fn bid_farewell(&mut self, slot: Slot, registration: RegistrationId, farewell: Farewell) {
        let reason = match farewell {
            Farewell::Unregistered(request) => {
                return self.answer(slot, &RouterMessage::Unregistered { request });
            }
            Farewell::Revoked(reason) => reason,
            Farewell::Nothing => return,
        };
        let mut details = vec![("registration".into(), registration.get().into())];
        details.extend(reason.map(|reason| ("reason".into(), (&*reason).into())));
        let message = RouterMessage::RegistrationRevoked { details: &details };
        if self.send(slot, &message).is_err() {
            details.truncate(1);
            self.answer(slot, &RouterMessage::RegistrationRevoked { details: &details });
        }
    }

    /// Gives a claim back before it is answered.
    pub(in crate::shard) fn withdraw_claim(&mut self, callee: SessionRef, claim: ClaimId) {
        self.claims.now -= 1;
        self.claims.withdrawn += 1;
        self.tell_cluster(callee.slot, Mail::Release { callee, claim });
    }

    /// The rules of a session are others, under which it may not have what it has claimed.
    pub(in crate::shard) fn revoke_claim(&mut self, callee: SessionRef, claim: ClaimId) {
        let Some(session) = self.connections.find_mut(callee) else { return };
        let Some(claimed) = session.registrations.take_claim(claim) else { return };
        self.withdraw_claim(callee, claim);
        self.refuse(callee.slot, code::REGISTER, claimed.request, NOT_ANY_MORE);
    }

    /// Who asks for more than other nodes can answer is not read meanwhile.
    fn tell_cluster(&mut self, slot: Slot, mail: Mail) {
        self.cx.post.send(ShardId::CLUSTER, mail);
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.feeds.insert(ShardId::CLUSTER);
        }
    }

    fn announce_notices(
        &mut self,
        realm: &Arc<Realm>,
        cause: SessionRef,
        notices: &[Notice],
        described: Option<&Described>,
    ) {
        self.cx.work.charge(notices.len());
        for notice in notices {
            self.announce_notice(realm, cause, notice, described);
        }
    }

    /// Checks that claims are counted, and that what is registered was granted if it has to be.
    pub(in crate::shard) fn check_claims(&self) {
        let mut waiting = 0;
        for (slot, connection) in self.connections.iter() {
            let Some(session) = connection.session() else { continue };
            let waits = connection.cork.is_some() || connection.input.is_unheard();
            let waits = waits || !self.mailbox.is_empty();
            assert!(waits || !session.registrations.has_put_off(), "{slot:?} waits for nothing");
            session.registrations.check();
            waiting += session.registrations.claims().count();
            let mut held = session.registrations.held().values();
            assert!(held.all(|it| it.grant.is_some() == self.cx.settings().claims));
        }
        let leaving = self.connections.iter().filter_map(|(_, c)| c.leaving.as_ref());
        waiting += leaving.map(|leaving| leaving.claims()).sum::<usize>();
        assert_eq!(self.claims.now, waiting, "each claim waits for its answer");
    }
}

const NO_AGREEMENT: Refusal = (
    WampError::NetworkFailure,
    "the nodes of the cluster did not agree on this registration in time: try again",
);
const NOT_ANY_MORE: Refusal = (
    WampError::NotAuthorized,
    "the role of this session was changed while the registration was under way, and may not have \
     it any more",
);
