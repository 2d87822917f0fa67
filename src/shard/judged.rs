//! What comes of clients that were judged elsewhere: who is in, who is challenged after all, who is
//! denied, and who nobody could say anything of (AU-DYN-01, AU-GEN-04).

use std::sync::Arc;

use super::Shard;
use super::connection::Phase;
use super::hello::Arrival;
use super::log_budget::quotable;
use super::login::{Applicant, Stage, TOO_MANY};
use crate::authentication::{
    ASKED, Grant, Judgement, Lease, Method, MissingKey, Resolved, TOKENS, TokenError,
};
use crate::clock::Millis;
use crate::router::{Realm, SessionRef, Slot};
use crate::transport::CloseCode;
use crate::wamp::{Dict, WampError};

impl Shard {
    /// A client was judged elsewhere: one that wants to join, or to stay.
    pub(super) fn handle_judged(&mut self, at: SessionRef, judgement: Judgement, now: Millis) {
        if !self.is_judged(at) {
            return self.handle_renewal(at, judgement, now);
        }
        let applicant = self.take_applicant(at.slot, now).expect("it was just looked up");
        match judgement {
            Judgement::Genuine => self.admit_applicant(at.slot, *applicant, Dict::new(), now),
            Judgement::Granted { grant, lease } => {
                self.handle_grant(at.slot, *applicant, *grant, lease, now);
            }
            Judgement::Denied(why) => self.deny_login(at.slot, &applicant, why, now),
            Judgement::Refused { error, message } => {
                self.pass_on_refusal(at.slot, &applicant, [&error, &message], now);
            }
            Judgement::Failed(why) => self.fail_asked(at.slot, applicant.whereby(), &why, now),
            Judgement::KeyMissing(MissingKey(_, TokenError::NoKeys)) => {
                let why = "the keys of the issuer are missing";
                self.fail_asked(at.slot, applicant.whereby(), why, now);
            }
            Judgement::KeyMissing(MissingKey(_, why)) => {
                self.deny_login(at.slot, &applicant, Some(why), now);
            }
        }
    }

    /// Somebody else says who the client is, or what it is to be challenged with.
    fn handle_grant(
        &mut self,
        slot: Slot,
        mut applicant: Applicant,
        grant: Grant,
        lease: Option<Lease>,
        now: Millis,
    ) {
        if let Some(name) = &grant.realm {
            let Some(realm) = self.cx.edition.realm(name).map(Arc::clone) else {
                let why = "the answer names a realm that this router does not have";
                return self.fail_asked(slot, applicant.whereby(), why, now);
            };
            applicant.realm = realm;
        }
        let method = applicant.method();
        match applicant.stage {
            Stage::Asked(referral) => match referral.resolve(grant) {
                Ok(Resolved::Welcome { authid, role, extra }) => {
                    let mut profile = self.anonymous_profile(slot, authid.as_deref(), &role);
                    profile.authprovider = ASKED;
                    let Applicant { realm, came_by, session, roles, agent, .. } = applicant;
                    let (session, lease, authextra) = (Some(session), None, extra);
                    let arrival = Arrival {
                        realm,
                        came_by,
                        session,
                        profile,
                        roles,
                        agent,
                        authextra,
                        lease,
                    };
                    self.welcome(slot, arrival, now);
                }
                Ok(Resolved::Challenge(candidate)) => {
                    let (session, realm) = (applicant.session, Arc::clone(&applicant.realm));
                    let login = self.say_challenge(slot, *candidate, session, &realm, now);
                    let Some(login) = login else { return };
                    let stage = Stage::Challenged(login);
                    let applicant = Box::new(Applicant { stage, ..applicant });
                    // The time from HELLO to WELCOME is one.
                    self.connections[slot].phase = Phase::Challenged(applicant);
                    self.rearm(slot, now);
                }
                Err(bad) => {
                    let whereby = (&*applicant.realm, method);
                    self.fail_asked(slot, whereby, &bad.to_string(), now);
                }
            },
            Stage::Challenged(mut login) => {
                let provider = if lease.is_some() { TOKENS } else { ASKED };
                match login.become_who(grant, provider) {
                    Ok(extra) => {
                        let stage = Stage::Challenged(login);
                        let applicant = Applicant { stage, ..applicant };
                        self.admit_until(slot, applicant, extra, lease, now);
                    }
                    Err(bad) => {
                        let whereby = (&*applicant.realm, method);
                        self.fail_asked(slot, whereby, &bad.to_string(), now);
                    }
                }
            }
        }
    }

    /// An answer cannot be judged: too many wait for it.
    pub(super) fn fail_unjudged(&mut self, at: SessionRef, now: Millis) {
        if self.is_judged(at) {
            self.fail(at.slot, TOO_MANY, now);
        } else {
            let judgement = Judgement::failed("too many logins are under way");
            self.handle_renewal(at, judgement, now);
        }
    }

    /// An authenticator's own words go to the client, and not into the log: deployed ones quote
    /// the ticket.
    fn pass_on_refusal(
        &mut self,
        slot: Slot,
        applicant: &Applicant,
        [error, message]: [&str; 2],
        now: Millis,
    ) {
        self.cx.counters.logins_denied.increment();
        self.cx.counters.sessions_refused.increment();
        self.cx.measures.handshake_failures.note(["hello", "refused_by_authenticator"]);
        self.cx.measures.authentications.note([applicant.method().as_str(), "denied"]);
        self.note_failure(slot, applicant, now);
        let peer = &self.connections[slot].peer;
        if self.cx.log_budget.allow(now) {
            let (realm, reason) = (applicant.realm.name(), quotable(error));
            tracing::info!(%peer, %realm, reason, "login refused by its authenticator");
        }
        self.abort_because(slot, error, message, CloseCode::Policy, now);
    }

    /// The client learns no more than that it may try again.
    fn fail_asked(
        &mut self,
        slot: Slot,
        (realm, method): (&Realm, Method),
        why: &str,
        now: Millis,
    ) {
        self.cx.counters.logins_failed.increment();
        self.cx.measures.authentications.note([method.as_str(), "failed"]);
        let name = realm.name();
        if self.cx.log_budget.allow(now) {
            tracing::warn!(realm = %name, why, "a login could not be judged");
        }
        let message = "the login could not be judged, try again later";
        self.turn_away(slot, name, WampError::AuthenticationFailed, message, now);
    }
}
