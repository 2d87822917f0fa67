//! Sessions that end with the token by which they joined: the warning before, the end, and the call
//! that puts it off. WAMP has no second login, and who connects anew loses what it subscribed to.

use super::Shard;
use super::errands::{Errand, Waiter};
use super::meta::{Answer, Arguments, Caller};
use super::requests::Refusal;
use super::work::{LOOKUP_UNITS, PATTERN_UNITS};
use crate::authentication::{
    Interest, Judgement, Lease, MAX_TOKEN_BYTES, MissingKey, Proof, TokenError,
};
use crate::clock::Millis;
use crate::router::{EndReason, SessionRef, Slot};
use crate::session::Expiry;
use crate::transport::CloseCode;
use crate::wamp::{
    CloseReason, Dict, MatchPolicy, Payload, PublicationId, RouterMessage, Timestamp, WampError,
};

impl Shard {
    /// When a session with this lease ends, on the router's clock: a wall clock that is set
    /// afterwards changes nothing.
    pub(super) fn expiry_of(&self, lease: Lease, now: Millis) -> Box<Expiry> {
        Box::new(Expiry::new(lease.issuer, now, self.ms_until(lease.expires)))
    }

    fn ms_until(&self, expires: Timestamp) -> u64 {
        let ms = expires.unix_ms().saturating_sub(self.cx.wall_clock.unix_ms());
        u64::try_from(ms).unwrap_or_default()
    }

    /// Tells the session, if it has subscribed to that, that its token expires soon. Nobody else
    /// hears of it.
    pub(super) fn warn_of_expiry(&mut self, slot: Slot, now: Millis) {
        let session = self.connections.joined_mut(slot);
        let Some(expiry) = &mut session.expiry else { return };
        expiry.warn_at = None;
        let left_ms = expiry.at.since(now);
        let (fanouts, looked_up) = session.realm.topics.matches_counted(EXPIRING);
        let held = fanouts.iter().filter(|f| session.subscriptions.contains_key(&f.subscription));
        let held: Vec<_> = held.map(|fanout| (fanout.subscription, fanout.policy)).collect();
        self.cx.work.charge(LOOKUP_UNITS + fanouts.len() + PATTERN_UNITS * looked_up);
        let publication = PublicationId::from_random(self.cx.random());
        let args = [self.expiring_at(left_ms).to_string().into(), left_ms.into()];
        for (subscription, policy) in held {
            let topic = (policy != MatchPolicy::Exact).then(|| ("topic".into(), EXPIRING.into()));
            let details: Dict = topic.into_iter().collect();
            let payload = Payload::Values { args: &args, kwargs: &Dict::new() };
            let details = &details;
            let event = RouterMessage::Event { subscription, publication, details, payload };
            // Who does not take what waits for it is told by the end.
            if !matches!(self.send_if_it_fits(slot, &event), Ok(true)) {
                return;
            }
        }
    }

    fn expiring_at(&self, left_ms: u64) -> Timestamp {
        let left_ms = i64::try_from(left_ms).unwrap_or(i64::MAX);
        Timestamp::from_unix_ms(self.cx.wall_clock.unix_ms().saturating_add(left_ms))
    }

    /// The token has expired, and was not renewed.
    pub(super) fn end_expired(&mut self, slot: Slot, now: Millis) {
        self.cx.counters.sessions_expired.increment();
        let (reason, code) = (CloseReason::TokenExpired.uri(), CloseCode::Policy);
        let message = "the token by which this session joined has expired";
        self.say_goodbye(slot, EndReason::TokenExpired, reason, message, code, now);
    }

    /// `stentor.session.refresh`: a new token, which is judged while the session's input is parked.
    pub(super) fn refresh_session(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let now = self.cx.now;
        let SessionRef { slot, .. } = caller.session;
        let token = args.text(0, NO_TOKEN)?;
        let peer = self.connections[slot].peer;
        let (request, session) = (caller.request(), self.connections.joined_mut(slot));
        let Some(expiry) = &mut session.expiry else { return Err(NO_EXPIRY) };
        if token.len() > MAX_TOKEN_BYTES {
            return Err(WRONG_TOKEN);
        }
        let (realm, authid) = (session.realm.name(), &session.profile.authid);
        let proof = Proof::renewal(&expiry.issuer, authid, token);
        let interest = Interest::default();
        let waiter = Waiter::new(caller.session, &interest);
        expiry.asked = Some((request, interest));
        let (realm, authid) = (realm.clone(), authid.clone());
        if self.cx.router.failures().is_limited(peer, &realm, &authid, now).is_some() {
            self.take_asked(slot);
            return Err(TOO_MANY);
        }
        self.connections.park(slot);
        self.errands.push(waiter, Errand::Proof(proof));
        Ok(Answer::Later)
    }

    /// A token of a session that wants to stay was judged.
    pub(super) fn handle_renewal(&mut self, at: SessionRef, judgement: Judgement, now: Millis) {
        if self.connections.find(at).is_none() {
            return;
        }
        let Some(caller) = self.take_asked(at.slot).map(|request| Caller::new(at, request)) else {
            return;
        };
        self.connections.redeem(at.slot);
        match self.renew(at.slot, judgement, now) {
            Ok(expires) => {
                self.send_late_result(caller, &[expires.to_string().into()], &Dict::new());
                self.rearm(at.slot, now);
            }
            Err(refusal) => self.refuse_late_call(caller, refusal),
        }
    }

    /// Puts the end of a session off, if the token is for the same authid and role.
    fn renew(
        &mut self,
        slot: Slot,
        judgement: Judgement,
        now: Millis,
    ) -> Result<Timestamp, Refusal> {
        let session = self.connections.joined_mut(slot);
        let is_same_role = |role: &str| *session.profile.authrole == *role;
        let lease = match judgement {
            Judgement::Granted { grant, lease: Some(lease) } if is_same_role(&grant.role) => lease,
            Judgement::Failed(_) | Judgement::KeyMissing(MissingKey(_, TokenError::NoKeys)) => {
                return Err(NOT_JUDGED);
            }
            _ => {
                self.note_bad_token(slot, now);
                return Err(WRONG_TOKEN);
            }
        };
        let in_ms = self.ms_until(lease.expires);
        let expiry = self.connections.joined_mut(slot).expiry.as_mut().ok_or(NO_EXPIRY)?;
        expiry.renew(now, in_ms);
        let left_ms = expiry.at.since(now);
        Ok(self.expiring_at(left_ms))
    }

    fn note_bad_token(&self, slot: Slot, now: Millis) {
        self.cx.counters.logins_denied.increment();
        let connection = &self.connections[slot];
        let Some(session) = connection.session() else { return };
        let (address, authid) = (connection.peer, &session.profile.authid);
        self.cx.router.failures().note(address, session.realm.name(), authid, now);
    }

    fn take_asked(&mut self, slot: Slot) -> Option<crate::wamp::RequestId> {
        let (request, _) = self.connections.joined_mut(slot).expiry.as_mut()?.asked.take()?;
        Some(request)
    }
}

/// What a session hears before its token expires: when that is (RFC 3339), and in how many
/// milliseconds.
const EXPIRING: &str = "stentor.session.on_token_expiring";

const NO_TOKEN: Refusal = (WampError::InvalidArgument, "the first argument must be a token");
const NO_EXPIRY: Refusal =
    (WampError::InvalidArgument, "this session has not joined by a token, and does not expire");
const WRONG_TOKEN: Refusal = (
    WampError::AuthenticationDenied,
    "the token is not good, or not for the authid and role of this session",
);
const NOT_JUDGED: Refusal =
    (WampError::AuthenticationFailed, "the token could not be judged, try again later");
const TOO_MANY: Refusal =
    (WampError::AuthenticationFailed, "too many tokens were not good, try again later");
