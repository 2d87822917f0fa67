//! What a reload changes for the sessions that are here (AU-AZ-06).
//!
//! The shard's settings are the new ones at once. Its sessions are gone through twice, in steps.
//! First each gets the new rules, so that it does nothing more that it may not; whoever has no
//! right to be here gets those of a role without permissions. Then these end, and the others lose
//! the subscriptions and registrations that they may not have any more. That makes meta events,
//! and so goes on slowly while many of them wait to be heard.

use std::sync::Arc;

use super::Shard;
use super::context::Context;
use super::joining::is_crowded;
use super::work::LOOKUP_UNITS;
use crate::authorization::Action;
use crate::clock::Millis;
use crate::router::{Edition, EndReason, RealmRules, SessionRef, Slot};
use crate::session::{ClaimId, Outdated, Permissions, Removed, Session};
use crate::transport::CloseCode;
use crate::wamp::{MatchPolicy, RegistrationId, SubscriptionId, WampError};

/// How far the sessions of the shard were gone through since the last reload.
#[derive(Debug, Default)]
pub(super) struct Review {
    /// The slot of which the session gets its rules next; `None`: all have them.
    renewing: Option<usize>,
    /// Deadlines of connections may be others.
    rearms: bool,
    /// The slot of which the session is to lose next what it may not have; `None`: all have.
    clearing: Option<usize>,
    /// The session that loses something.
    inspection: Option<Box<Inspection>>,
    /// When to go on although many meta events wait.
    look_at: Millis,
}

/// A session with new rules, and what it holds that was not compared with them.
#[derive(Debug)]
struct Inspection {
    session: SessionRef,
    /// What it might do before.
    before: Permissions,
    subscriptions: Vec<SubscriptionId>,
    registrations: Vec<RegistrationId>,
    claims: Vec<ClaimId>,
    /// How many it has lost.
    lost: usize,
}

impl Review {
    const fn is_under_way(&self) -> bool {
        self.renewing.is_some() || self.clearing.is_some() || self.inspection.is_some()
    }

    /// When to go on in any case; `None` if it is over.
    pub(super) fn next_look(&self) -> Option<Millis> {
        self.is_under_way().then_some(self.look_at)
    }

    /// A session was granted what it had claimed: that is compared as well.
    pub(super) fn note_registered(&mut self, session: SessionRef, registration: RegistrationId) {
        if let Some(inspection) = &mut self.inspection
            && inspection.session == session
        {
            inspection.registrations.push(registration);
        }
    }

    /// Takes the next one of so many slots from a walk through all.
    fn next_of(walk: &mut Option<usize>, slots: usize) -> Option<Slot> {
        let next = walk.filter(|next| *next < slots)?;
        *walk = Some(next + 1).filter(|next| *next < slots);
        Some(Slot::at(next))
    }
}

impl Shard {
    /// From here on these settings and realms hold. Without effect while the router shuts down.
    pub(super) fn reload(&mut self, edition: Arc<Edition>, now: Millis) {
        if self.is_shutting_down() {
            return;
        }
        let before = std::mem::replace(&mut self.cx.edition, edition);
        // Everybody leaves a realm that was removed, and nobody is left to be told.
        let removed = before.realms().filter(|realm| self.cx.edition.rules_of(realm).is_none());
        removed.for_each(|realm| realm.feed.close());
        self.cx.outbound.set_limits(self.cx.edition.settings.output);
        self.logins.welcome_roles.clear();
        self.event_orders.forget_gone();
        self.rosters.forget_gone();
        // A session at hand is compared with the rules that it has got, and comes once more.
        let (old, new) = (&before.settings, &self.cx.edition.settings);
        self.review.rearms |= old.timeouts != new.timeouts || old.output != new.output;
        (self.review.renewing, self.review.clearing) = (Some(0), Some(0));
        self.review.look_at = now + LOOK_MS;
    }

    /// Whether sessions wait to be gone through, and it is time: what makes meta events waits for
    /// those that are to be heard, up to [`LOOK_MS`] each time.
    pub(super) fn can_review(&self) -> bool {
        let Review { renewing, look_at, .. } = &self.review;
        let has_time = || !is_crowded(&self.cx.router) || *look_at <= self.cx.now;
        self.review.is_under_way() && (renewing.is_some() || has_time())
    }

    /// Goes through further sessions, as many as a step allows. `false` if there are none.
    pub(super) fn go_on_reviewing(&mut self, now: Millis) -> bool {
        if !self.can_review() {
            return false;
        }
        self.review.look_at = now + LOOK_MS;
        self.cx.work.begin_visit();
        while !self.cx.work.is_step_over()
            && !self.cx.work.has_announced_enough()
            && !self.cx.outbound.is_full()
        {
            self.cx.work.charge(1);
            let (review, slots) = (&mut self.review, self.connections.slots());
            if review.renewing.is_some() {
                match Review::next_of(&mut review.renewing, slots) {
                    Some(slot) => self.renew_connection(slot, now),
                    None => review.renewing = None,
                }
            } else if let Some(inspection) = review.inspection.take() {
                self.review.inspection = self.inspect_one(inspection);
            } else if let Some(slot) = Review::next_of(&mut review.clearing, slots) {
                self.clear_session(slot, now);
            } else {
                review.clearing = None;
                break;
            }
        }
        self.review.rearms &= self.review.renewing.is_some();
        self.settle(now);
        true
    }

    fn renew_connection(&mut self, slot: Slot, now: Millis) {
        self.renew_session(slot, now);
        if self.review.rearms {
            self.cx.work.charge(LOOKUP_UNITS);
            self.rearm(slot, now);
        }
    }

    /// Gives the session in a slot the rules that hold now.
    fn renew_session(&mut self, slot: Slot, now: Millis) {
        let Some(session) = self.connections.get_mut(slot).and_then(|c| c.session_mut()) else {
            return;
        };
        let Some(rules) = self.cx.edition.rules_of(&session.realm).map(Arc::clone) else {
            self.cx.work.charge(LOOKUP_UNITS);
            let rules = Arc::clone(&session.rules);
            let is_other = session.permissions.renew(&rules, NOBODY).is_some();
            session.outdated = Some(Box::new(Outdated::Unwelcome(Removed::Realm)));
            return self.note_permissions(slot, is_other, now);
        };
        if Arc::ptr_eq(&rules, &session.rules) {
            return;
        }
        self.cx.work.charge(LOOKUP_UNITS);
        let removed = removed(session, &rules);
        let role = if removed.is_some() { NOBODY } else { &*session.profile.authrole };
        let before = session.permissions.renew(&rules, role);
        session.rules = rules;
        let is_other = before.is_some();
        let outdated = match removed {
            Some(removed) => Some(Outdated::Unwelcome(removed)),
            None => before.map(Outdated::Permissions),
        };
        match outdated {
            Some(outdated) => session.outdated = Some(Box::new(outdated)),
            // It has got its user back. What an earlier reload has left to compare is left.
            None => {
                let is_unwelcome = |left: &mut Box<_>| matches!(**left, Outdated::Unwelcome(_));
                drop(session.outdated.take_if(is_unwelcome));
            }
        }
        self.note_permissions(slot, is_other, now);
    }

    /// What the session in a slot may do is another.
    fn note_permissions(&mut self, slot: Slot, is_other: bool, now: Millis) {
        if is_other {
            let rates = self.connections.joined(slot).permissions.rates();
            self.change_rates(slot, rates);
            self.ask_anew(slot, now);
        }
    }

    /// Ends the session in a slot if it has no right to be here, or begins to compare what it holds
    /// with what it may have.
    fn clear_session(&mut self, slot: Slot, now: Millis) {
        let Some(session) = self.connections.get_mut(slot).and_then(|c| c.session_mut()) else {
            return;
        };
        match session.outdated.take().map(|outdated| *outdated) {
            None => {}
            Some(Outdated::Unwelcome(removed)) => self.show_out(slot, removed, now),
            Some(Outdated::Permissions(before)) => self.begin_inspection(slot, before),
        }
    }

    fn begin_inspection(&mut self, slot: Slot, before: Permissions) {
        let session = self.connections.joined(slot);
        let mut subscriptions: Vec<_> = session.subscriptions.keys().copied().collect();
        subscriptions.sort_unstable();
        let mut registrations: Vec<_> = session.registrations.held().keys().copied().collect();
        registrations.sort_unstable();
        let claims: Vec<_> = session.registrations.claims().collect();
        // Putting in order is part of the work.
        self.cx.work.charge((subscriptions.len() + registrations.len() + claims.len()) / 4);
        let session = self.cx.reference(slot, session.id);
        let inspection =
            Inspection { session, before, subscriptions, registrations, claims, lost: 0 };
        self.review.inspection = Some(Box::new(inspection));
    }

    /// Compares the next thing that a session holds with its rules. `None` if that is all.
    fn inspect_one(&mut self, mut inspection: Box<Inspection>) -> Option<Box<Inspection>> {
        let Inspection { session: at, before, subscriptions, registrations, claims, lost } =
            &mut *inspection;
        // It may have ended meanwhile.
        let session = self.connections.find(*at)?;
        self.cx.work.charge(LOOKUP_UNITS);
        let reason = Some(WampError::NotAuthorized.uri());
        if let Some(subscription) = subscriptions.pop() {
            if !session.subscriptions.contains_key(&subscription) {
                return Some(inspection);
            }
            let list = self.receivers.held(subscription);
            let held = (Action::Subscribe, &*list.uri, list.policy);
            if !self.cx.still_grants(session, before, held) {
                *lost += 1;
                self.cx.counters.memberships_revoked.increment();
                self.handle_revoke(*at, subscription, reason);
            }
        } else if let Some(registration) = registrations.pop() {
            let Some(held) = session.registrations.get(&registration) else {
                return Some(inspection);
            };
            let held = (Action::Register, &*held.uri, held.policy);
            if !self.cx.still_grants(session, before, held) {
                *lost += 1;
                self.cx.counters.memberships_revoked.increment();
                self.handle_revoke_registration(*at, registration, reason);
            }
        } else if let Some(claim) = claims.pop() {
            let Some(claimed) = session.registrations.claimed(claim) else {
                return Some(inspection);
            };
            let asked = Arc::clone(&claimed.claim);
            let claimed = (Action::Register, &*asked.uri, asked.policy);
            if !self.cx.still_grants(session, before, claimed) {
                *lost += 1;
                self.cx.counters.memberships_revoked.increment();
                self.revoke_claim(*at, claim);
            }
        } else {
            if *lost > 0 && self.cx.log_budget.allow(self.cx.now) {
                let (id, role) = (session.id.get(), &session.profile.authrole);
                let (realm, lost) = (session.realm.name(), *lost);
                tracing::info!(session = id, %realm, %role, lost, "subscriptions and \
                    registrations were revoked, which the role may not have any more");
            }
            return None;
        }
        Some(inspection)
    }

    fn show_out(&mut self, slot: Slot, why: Removed, now: Millis) {
        self.cx.counters.sessions_revoked.increment();
        let end = match why {
            Removed::Realm => EndReason::RealmClosed,
            Removed::Role | Removed::User => EndReason::Revoked,
        };
        let reason = end.close_uri();
        self.say_goodbye(slot, end, reason, why.message(), CloseCode::Normal, now);
    }
}

impl Context {
    /// Whether a session may have what it holds. What an authorizer has granted stands as long as
    /// the same one would be asked; it is not asked again.
    fn still_grants(
        &mut self,
        session: &Session,
        before: &Permissions,
        (action, uri, policy): (Action, &str, MatchPolicy),
    ) -> bool {
        let mut deciding = self.deciding();
        let is_granted =
            session.permissions.still_grant(before, &mut deciding, action, uri, policy);
        self.work.charge(deciding.effort);
        is_granted
    }
}

/// What was removed, so that a session may not stay under these rules; `None`: it may.
fn removed(session: &Session, rules: &RealmRules) -> Option<Removed> {
    let profile = &session.profile;
    if !rules.settings.has_role(&profile.authrole) {
        return Some(Removed::Role);
    }
    let is_unwelcome = matches!(session.outdated.as_deref(), Some(Outdated::Unwelcome(_)));
    let is_same_gate = Arc::ptr_eq(&session.rules.gate, &rules.gate) && !is_unwelcome;
    let is_known = is_same_gate || profile.is_admitted_by(&rules.gate);
    (!is_known).then_some(Removed::User)
}

/// No role has this name, and so it has no permissions.
const NOBODY: &str = "";

/// Milliseconds after which a review goes on however many meta events wait: by as many as one visit
/// to a connection may cause.
const LOOK_MS: u64 = 10;
