//! What a reload changes for the sessions that are here (AU-AZ-06).
//!
//! The shard's settings are the new ones at once. Its sessions are gone through in steps: each has
//! its old rules until its turn comes, and in one step gets the new ones, loses the requests that
//! wait for an authorizer of the old ones, and ends if it has no right to be here any more. Then it
//! loses, in pieces, the subscriptions and registrations that it may not have any more.

use std::sync::Arc;

use super::Shard;
use super::context::Context;
use super::joining::is_crowded;
use super::work::LOOKUP_UNITS;
use crate::authorization::Action;
use crate::clock::Millis;
use crate::router::{Edition, EndReason, RealmRules, SessionRef, Slot};
use crate::session::{Permissions, Session};
use crate::transport::CloseCode;
use crate::wamp::{MatchPolicy, RegistrationId, SubscriptionId, WampError};

/// How far the sessions of the shard were looked at since the last reload.
#[derive(Debug, Default)]
pub(super) struct Review {
    /// The slot that comes next; `None`: all were looked at.
    next: Option<usize>,
    /// Deadlines of connections may be others.
    rearms: bool,
    /// The session at hand.
    inspection: Option<Box<Inspection>>,
    /// When to go on, if that depends on others.
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
    /// How many it has lost.
    lost: usize,
}

/// What was removed, so that a session may not stay.
#[derive(Clone, Copy, Debug)]
enum Removed {
    Realm,
    Role,
    User,
}

impl Review {
    pub(super) const fn is_under_way(&self) -> bool {
        self.next.is_some() || self.inspection.is_some()
    }

    /// When to look again whether it can go on; `None` if it is over.
    pub(super) fn next_look(&self) -> Option<Millis> {
        self.is_under_way().then_some(self.look_at)
    }

    /// Looks again soon: meta events may be heard elsewhere, without a word to this shard.
    pub(super) fn look_later(&mut self, now: Millis) {
        self.look_at = now + LOOK_MS;
    }
}

impl Removed {
    const fn end(self) -> EndReason {
        match self {
            Self::Realm => EndReason::RealmClosed,
            Self::Role | Self::User => EndReason::Revoked,
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::Realm => "this realm was removed from the router",
            Self::Role => "the role of this session was removed from the realm",
            Self::User => "the realm does not know this user, or not with this role, any more",
        }
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
        // A session at hand is compared with the rules that it has got, and comes once more.
        let (old, new) = (&before.settings, &self.cx.edition.settings);
        self.review.rearms |= old.timeouts != new.timeouts || old.output != new.output;
        self.review.next = Some(0);
        self.review.look_later(now);
    }

    /// Whether sessions wait to be looked at, and can be: not while so many meta events wait to be
    /// heard that nobody joins.
    pub(super) fn can_review(&self) -> bool {
        self.review.is_under_way() && !is_crowded(&self.cx.router)
    }

    /// Looks at further sessions, as many as a step allows. `false` if there are none.
    pub(super) fn go_on_reviewing(&mut self, now: Millis) -> bool {
        if !self.can_review() {
            return false;
        }
        self.cx.work.begin_visit();
        while !self.cx.work.is_step_over()
            && !self.cx.work.has_announced_enough()
            && !self.cx.outbound.is_full()
        {
            if let Some(inspection) = self.review.inspection.take() {
                self.review.inspection = self.inspect_one(inspection);
            } else if let Some(next) = self.review.next {
                let is_last = next + 1 >= self.connections.slots();
                self.review.next = (!is_last).then_some(next + 1);
                self.cx.work.charge(1);
                self.review_session(Slot::at(next), now);
                if self.review.rearms {
                    self.cx.work.charge(LOOKUP_UNITS);
                    self.rearm(Slot::at(next), now);
                }
            } else {
                break;
            }
        }
        self.review.rearms &= self.review.next.is_some();
        self.settle(now);
        true
    }

    /// Gives the session in a slot the rules that hold now, or ends it.
    fn review_session(&mut self, slot: Slot, now: Millis) {
        let Some(session) = self.connections.get_mut(slot).and_then(|c| c.session_mut()) else {
            return;
        };
        let Some(rules) = self.cx.edition.rules_of(&session.realm).map(Arc::clone) else {
            return self.show_out(slot, Removed::Realm, now);
        };
        if Arc::ptr_eq(&rules, &session.rules) {
            return;
        }
        self.cx.work.charge(LOOKUP_UNITS);
        let objection = objection(session, &rules);
        // What a session leaves to be published is decided about by the rules of now, too.
        let before = session.permissions.renew(&rules, &session.profile.authrole);
        session.rules = rules;
        if let Some(objection) = objection {
            return self.show_out(slot, objection, now);
        }
        if let Some(before) = before {
            self.change_permissions(slot, before, now);
        }
    }

    /// A session that stays may do something else than before.
    fn change_permissions(&mut self, slot: Slot, before: Permissions, now: Millis) {
        self.ask_anew(slot, now);
        let session = self.connections.joined(slot);
        let rates = session.permissions.rates();
        let mut subscriptions: Vec<_> = session.subscriptions.keys().copied().collect();
        subscriptions.sort_unstable();
        let mut registrations: Vec<_> = session.registrations.keys().copied().collect();
        registrations.sort_unstable();
        let session = self.cx.reference(slot, session.id);
        self.change_rates(slot, rates);
        // Putting in order is part of the work.
        self.cx.work.charge((subscriptions.len() + registrations.len()) / 4);
        let inspection = Inspection { session, before, subscriptions, registrations, lost: 0 };
        self.review.inspection = Some(Box::new(inspection));
    }

    /// Compares the next thing that a session holds with its rules. `None` if that is all.
    fn inspect_one(&mut self, mut inspection: Box<Inspection>) -> Option<Box<Inspection>> {
        let Inspection { session: at, before, subscriptions, registrations, lost } =
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
        let end = why.end();
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

/// Why a session may not stay under these rules; `None`: it may.
fn objection(session: &Session, rules: &RealmRules) -> Option<Removed> {
    let profile = &session.profile;
    if !rules.settings.has_role(&profile.authrole) {
        return Some(Removed::Role);
    }
    let is_same_gate = Arc::ptr_eq(&session.rules.gate, &rules.gate);
    let is_known = is_same_gate || profile.is_admitted_by(&rules.gate);
    (!is_known).then_some(Removed::User)
}

/// Milliseconds after which a shard with nothing else to do looks again.
const LOOK_MS: u64 = 10;
