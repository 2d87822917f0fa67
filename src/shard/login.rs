//! From HELLO to the proof of who a client is (AU-GEN): which method it gets, CHALLENGE,
//! AUTHENTICATE, and what comes of it. The methods themselves are `authentication`'s.
//!
//! A login has one challenge and one answer; whatever fails ends the transport. What takes long to
//! judge is handed out, while the connection is parked and nobody else waits.

use std::sync::Arc;

use bytes::Bytes;

use super::authenticate::Consulting;
use super::connection::{Connection, Due, Phase};
use super::errands::{Errand, Waiter};
use super::hello::Arrival;
use super::log_budget::quotable;
use super::{SendError, Shard};
use crate::address::Address;
use crate::authentication::{
    BY_HTTP, Candidate, Check, Choice, Facts, Fresh, Interest, Lease, Limited, Login, Method,
    PROVIDER, Principal, Referral, Refusal, Request, TokenError, Transport, Verdict,
};
use crate::clock::Millis;
use crate::codec::Codec;
use crate::hash::Map;
use crate::router::{Domain, Held, Profile, Realm, SessionRef, Slot};
use crate::transport::Appointment;
use crate::wamp::{
    Authenticate, Dict, Hello, Roles, RouterMessage, SessionId, WampError, quote, quote_list,
};

/// A client between HELLO and WELCOME.
#[derive(Debug)]
pub(super) struct Applicant {
    pub(super) stage: Stage,
    /// The realm that it will join: the one that it wants to, or the one that an answer names.
    pub(super) realm: Arc<Realm>,
    /// Where it said HELLO, with the rules of then.
    pub(super) came_by: Domain,
    /// The id that the session will have.
    pub(super) session: SessionId,
    pub(super) roles: Roles,
    pub(super) agent: Box<str>,
    /// Counts what is kept of its HELLO for a question.
    pub(super) held: Option<Held>,
    /// The procedure that is asked about it, and what.
    pub(super) consulting: Option<Consulting>,
    /// In what is judged about it.
    pub(super) interest: Interest,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// Somebody is asked what it is to be challenged with.
    Asked(Referral),
    /// It was challenged.
    Challenged(Login),
}

impl Applicant {
    /// Who it says that it is; empty if it does not.
    pub(super) fn authid(&self) -> &str {
        match &self.stage {
            Stage::Asked(referral) => &referral.authid,
            Stage::Challenged(login) => &login.authid,
        }
    }

    /// The realm, and how it is to prove itself.
    pub(super) fn whereby(&self) -> (&Realm, Method) {
        (&self.realm, self.method())
    }

    pub(super) const fn method(&self) -> Method {
        match &self.stage {
            Stage::Asked(referral) => referral.method,
            Stage::Challenged(login) => login.method,
        }
    }
}

/// What the logins of a shard share.
#[derive(Debug)]
pub(super) struct Logins {
    /// `WELCOME.Details.roles` by realm and serializer, encoded.
    pub(super) welcome_roles: Map<(usize, Codec), Bytes>,
}

impl Logins {
    pub(super) const fn new(welcome_roles: Map<(usize, Codec), Bytes>) -> Self {
        Self { welcome_roles }
    }
}

impl Shard {
    /// Lets a client in that need not prove anything, challenges it, or refuses it.
    pub(super) fn begin_login(
        &mut self,
        slot: Slot,
        hello: &Hello<'_>,
        domain: Domain,
        now: Millis,
    ) {
        let connection = &self.connections[slot];
        let entrance = connection.rules.entrance(connection.transport.way_in());
        let permitted = entrance.authmethods.as_ref().map(|names| methods(names));
        let name = entrance.name.clone();
        let certificate = connection.certificate.clone();
        let request = Request {
            methods: hello.authmethods.as_deref(),
            permitted: permitted.as_deref(),
            entrance: name.as_deref(),
            authid: hello.authid.as_deref(),
            extra: &hello.authextra,
            channel_id: connection.channel_id.as_deref().copied(),
            certificate: certificate.as_deref(),
            is_confidential: connection.is_confidential,
        };
        let arrival = |profile| Arrival {
            realm: Arc::clone(&domain.realm),
            came_by: domain.clone(),
            session: None,
            profile,
            roles: hello.roles,
            agent: agent_of(hello),
            authextra: Dict::new(),
            lease: None,
        };
        if let Some(appointed) = &connection.rules.appointed {
            let profile = appointed_profile(appointed, connection);
            return self.welcome(slot, arrival(profile), now);
        }
        match domain.rules.gate.choose(&request) {
            Ok(Choice::Anonymous { authid, role }) => {
                let profile = self.anonymous_profile(slot, authid, role);
                self.welcome(slot, arrival(profile), now);
            }
            Ok(Choice::Known(principal)) => {
                let profile = self.profile_of(slot, principal);
                self.welcome(slot, arrival(profile), now);
            }
            Ok(Choice::Challenge(candidate)) => {
                self.challenge(slot, candidate, hello, &domain, now);
            }
            Ok(Choice::Ask(referral)) => self.refer(slot, referral, hello, &domain, now),
            Err(refusal) => {
                let (error, message) = explain(&refusal, hello, &domain.realm);
                self.turn_away(slot, domain.realm.name(), error, &message, now);
            }
        }
    }

    /// A client that its TLS certificate has named (AU-TRN-01).
    fn profile_of(&self, slot: Slot, principal: &Principal) -> Profile {
        let connection = &self.connections[slot];
        Profile {
            authid: principal.authid.clone(),
            authrole: principal.role.clone(),
            authmethod: Method::Tls.as_str(),
            authprovider: "static",
            transport: connection.framing.transport_name(),
            serializer: connection.codec.as_str(),
            peer: None,
        }
    }

    /// An anonymous session gets a random authid unless the realm has one for all (AU-ANON-01).
    pub(super) fn anonymous_profile(
        &mut self,
        slot: Slot,
        authid: Option<&str>,
        role: &str,
    ) -> Profile {
        let bits = self.cx.random();
        let connection = &self.connections[slot];
        let (transport, codec) = (connection.framing.transport_name(), connection.codec.as_str());
        let authid = authid.map_or_else(|| format!("anon-{bits:016x}"), str::to_owned);
        Profile::anonymous(authid, role, transport, codec)
    }

    fn challenge(
        &mut self,
        slot: Slot,
        mut candidate: Candidate,
        hello: &Hello<'_>,
        domain: &Domain,
        now: Millis,
    ) {
        let realm = &domain.realm;
        if self.is_limited(slot, realm, &candidate.authid, now) {
            return;
        }
        let session = self.draw_session_id(realm);
        candidate.prepare(&facts(&self.connections[slot], hello, realm, session));
        let name = realm.name();
        let question_bytes = candidate.question_weight();
        if !self.cx.may_hold(question_bytes) {
            return self.turn_away(slot, name, WampError::AuthenticationFailed, TOO_MANY, now);
        }
        let Some(login) = self.say_challenge(slot, candidate, session, realm, now) else { return };
        let stage = Stage::Challenged(login);
        let applicant = self.applicant(stage, hello, domain, session, question_bytes);
        self.connections[slot].enter(Phase::Challenged(applicant), now);
        self.rearm(slot, now);
    }

    fn applicant(
        &self,
        stage: Stage,
        hello: &Hello<'_>,
        domain: &Domain,
        session: SessionId,
        question_bytes: usize,
    ) -> Box<Applicant> {
        let (roles, agent) = (hello.roles, agent_of(hello));
        let (realm, came_by) = (Arc::clone(&domain.realm), domain.clone());
        let is_asked = question_bytes > 0;
        let held = is_asked.then(|| self.cx.router.held(self.cx.id).hold(question_bytes));
        Box::new(Applicant {
            stage,
            realm,
            came_by,
            session,
            roles,
            agent,
            held,
            consulting: None,
            interest: Interest::default(),
        })
    }

    /// Sends CHALLENGE. `None` if the client takes none, and is turned away.
    pub(super) fn say_challenge(
        &mut self,
        slot: Slot,
        candidate: Candidate,
        session: SessionId,
        realm: &Realm,
        now: Millis,
    ) -> Option<Login> {
        self.cx.work.charge(UNITS_PER_COST * candidate.cost());
        let fresh = Fresh { nonce: self.cx.random_bytes(), session, now: self.cx.wall_clock };
        let (login, extra) = candidate.challenge(&fresh);
        let message = RouterMessage::Challenge { method: login.method.as_str(), extra: &extra };
        if let Err(SendError::TooLarge | SendError::Encoding) = self.send(slot, &message) {
            let message = "this client takes no message that is long enough for a CHALLENGE";
            let (name, error) = (realm.name(), WampError::PayloadSizeExceeded);
            self.turn_away(slot, name, error, message, now);
            return None;
        }
        self.cx.counters.logins_challenged.increment();
        Some(login)
    }

    /// Has somebody asked what is to follow, while the connection is parked (AU-DYN-01).
    fn refer(
        &mut self,
        slot: Slot,
        referral: Referral,
        hello: &Hello<'_>,
        domain: &Domain,
        now: Millis,
    ) {
        let realm = &domain.realm;
        if self.is_limited(slot, realm, &referral.authid, now) {
            return;
        }
        self.cx.work.charge(CHALLENGING_UNITS);
        let session = self.draw_session_id(realm);
        let check = referral.ask(&facts(&self.connections[slot], hello, realm, session));
        let question_bytes = check.weight();
        if !self.cx.may_hold(question_bytes) {
            let (name, error) = (realm.name(), WampError::AuthenticationFailed);
            return self.turn_away(slot, name, error, TOO_MANY, now);
        }
        let stage = Stage::Asked(referral);
        let applicant = self.applicant(stage, hello, domain, session, question_bytes);
        self.connections[slot].clock.since = now;
        self.have_judged(slot, applicant, check, now);
    }

    /// The answer to a challenge, which is used up by it (AU-GEN-06, AU-GEN-07).
    pub(super) fn handle_authenticate(
        &mut self,
        slot: Slot,
        answer: &Authenticate<'_>,
        now: Millis,
    ) {
        let Some(mut applicant) = self.take_applicant(slot, now) else { return };
        // Others may have failed since the challenge.
        if self.is_limited(slot, &applicant.realm, applicant.authid(), now) {
            return;
        }
        let Stage::Challenged(login) = &mut applicant.stage else { return };
        self.cx.work.charge(UNITS_PER_COST * login.cost(answer.signature.len()));
        match login.judge(&answer.signature, &answer.extra) {
            Verdict::Proven(authextra) => self.admit_applicant(slot, *applicant, authextra, now),
            Verdict::Denied => self.deny_login(slot, &applicant, None, now),
            Verdict::Open(check) => self.have_judged(slot, applicant, check, now),
        }
    }

    /// Hands out what is to be judged. The time that the client and the judge have is one.
    fn have_judged(&mut self, slot: Slot, applicant: Box<Applicant>, check: Check, now: Millis) {
        let at = self.cx.reference(slot, applicant.session);
        let waiter = Waiter::new(at, &applicant.interest);
        self.connections[slot].phase = Phase::Judged(applicant);
        self.connections.park(slot);
        self.rearm(slot, now);
        match check {
            Check::Proof(proof) => self.errands.push(waiter, Errand::Proof(proof)),
            Check::Referred(referred) => self.errands.push(waiter, Errand::Client(referred)),
            Check::Consultation(consultation) => self.consult(slot, consultation, now),
        }
    }

    /// CHALLENGE was not answered in time, or nobody has judged the answer (AU-GEN-05).
    pub(super) fn fail_late(&mut self, slot: Slot, due: Due, now: Millis) {
        let message = match due {
            Due::Answer => "no AUTHENTICATE in time",
            _ => "the login could not be judged in time, try again later",
        };
        self.fail(slot, message, now);
    }

    pub(super) fn fail(&mut self, slot: Slot, message: &str, now: Millis) {
        let Some(applicant) = self.take_applicant(slot, now) else { return };
        self.cx.counters.logins_failed.increment();
        self.cx.measures.authentications.note([applicant.method().as_str(), "failed"]);
        let name = applicant.realm.name();
        self.turn_away(slot, name, WampError::AuthenticationFailed, message, now);
    }

    /// Forgets a login whose connection ends.
    pub(super) fn end_login(&mut self, slot: Slot, now: Millis) {
        drop(self.take_applicant(slot, now));
    }

    /// Takes the login out of a connection, which goes on. Who is still asked need not answer.
    pub(super) fn take_applicant(&mut self, slot: Slot, now: Millis) -> Option<Box<Applicant>> {
        let connection = &mut self.connections[slot];
        if self.cx.traces.are_on() {
            self.cx.traces.remember(slot, connection);
        }
        match std::mem::replace(&mut connection.phase, Phase::Open) {
            Phase::Challenged(applicant) => Some(applicant),
            Phase::Judged(mut applicant) => {
                self.connections.redeem(slot);
                if let Some(consulting) = applicant.consulting.take() {
                    self.withdraw(consulting.question(), now);
                }
                Some(applicant)
            }
            other => {
                connection.phase = other;
                None
            }
        }
    }

    /// Whether this login is still under way, and its answer judged.
    pub(super) fn is_judged(&self, at: SessionRef) -> bool {
        let connection = self.connections.get(at.slot);
        connection.is_some_and(|connection| {
            matches!(&connection.phase, Phase::Judged(one) if one.session == at.session)
        })
    }

    /// The client is who it says.
    pub(super) fn admit_applicant(
        &mut self,
        slot: Slot,
        applicant: Applicant,
        authextra: Dict,
        now: Millis,
    ) {
        self.admit_until(slot, applicant, authextra, None, now);
    }

    pub(super) fn admit_until(
        &mut self,
        slot: Slot,
        applicant: Applicant,
        authextra: Dict,
        lease: Option<Lease>,
        now: Millis,
    ) {
        let Applicant { stage, realm, came_by, session, roles, agent, .. } = applicant;
        let Stage::Challenged(login) = stage else { return };
        let connection = &self.connections[slot];
        let profile = Profile {
            authid: login.authid,
            authrole: login.role,
            authmethod: login.method.as_str(),
            authprovider: login.provider,
            transport: connection.framing.transport_name(),
            serializer: connection.codec.as_str(),
            peer: None,
        };
        let session = Some(session);
        let arrival = Arrival { realm, came_by, session, profile, roles, agent, authextra, lease };
        self.welcome(slot, arrival, now);
    }

    /// The client is not who it says, or nobody is: it does not learn which (AU-GEN-04).
    pub(super) fn deny_login(
        &mut self,
        slot: Slot,
        applicant: &Applicant,
        why: Option<TokenError>,
        now: Millis,
    ) {
        let name = applicant.realm.name();
        self.cx.counters.logins_denied.increment();
        self.cx.measures.authentications.note([applicant.method().as_str(), "denied"]);
        self.note_failure(slot, applicant, now);
        let peer = &self.connections[slot].peer;
        if self.cx.log_budget.allow(now) {
            let (authid, authmethod) = (quotable(applicant.authid()), applicant.method().as_str());
            let why = why.map(tracing::field::display);
            tracing::info!(%peer, realm = %name, authid, authmethod, why, "login denied");
        }
        let message = "there is no such authid, or its secret or key is another one";
        self.turn_away(slot, name, WampError::AuthenticationDenied, message, now);
    }

    /// Counts a failed login against its address and its authid.
    pub(super) fn note_failure(&self, slot: Slot, applicant: &Applicant, now: Millis) {
        let (name, peer) = (applicant.realm.name(), self.connections[slot].peer);
        self.cx.router.failures().note(peer, name, applicant.authid(), now);
    }

    /// Refuses a login if too many have failed; it costs nothing then.
    fn is_limited(&mut self, slot: Slot, realm: &Realm, authid: &str, now: Millis) -> bool {
        let address = self.connections[slot].peer;
        let name = realm.name();
        let Some(limit) = self.cx.router.failures().is_limited(address, name, authid, now) else {
            return false;
        };
        let message = match limit {
            Limited::Address => {
                self.cx.counters.logins_limited_by_address.increment();
                "too many logins from this address have failed, try again later"
            }
            Limited::Authid => {
                self.cx.counters.logins_limited_by_authid.increment();
                "too many logins with this authid have failed, try again later"
            }
        };
        self.turn_away(slot, name, WampError::AuthenticationFailed, message, now);
        true
    }
}

fn methods(names: &[String]) -> Vec<Method> {
    names.iter().filter_map(|name| Method::named(name)).collect()
}

fn agent_of(hello: &Hello<'_>) -> Box<str> {
    quotable(hello.agent.as_deref().unwrap_or_default()).into()
}

impl Connection {
    /// How it came, for somebody who is asked about its peer.
    pub(super) fn facts(&self) -> Transport<'_> {
        Transport {
            kind: self.framing.transport_name(),
            serializer: self.codec.as_str(),
            is_batched: self.is_batched,
            peer: self.peer,
            // As far as it is known: to the router, or to the listed proxy that says so.
            is_secure: self.is_confidential && self.peer != Address::UNIX,
            channel_id: self.channel_id.as_deref().copied(),
            headers: self.headers.as_ref().map(|kept| kept.headers.as_slice()),
            certificate: self.certificate.as_deref(),
        }
    }
}

/// A session that the router has opened for others, who were judged by HTTP.
fn appointed_profile(appointed: &Appointment, connection: &Connection) -> Profile {
    Profile {
        authid: appointed.authid.clone(),
        authrole: appointed.role.clone(),
        authmethod: BY_HTTP,
        authprovider: PROVIDER,
        transport: connection.framing.transport_name(),
        serializer: connection.codec.as_str(),
        peer: None,
    }
}

/// What somebody is told who is asked about a client.
fn facts<'a>(
    connection: &'a Connection,
    hello: &'a Hello<'_>,
    realm: &'a Realm,
    session: SessionId,
) -> Facts<'a> {
    let transport = connection.facts();
    let (authrole, authextra) = (hello.authrole.as_deref(), &hello.authextra);
    Facts { realm: realm.name(), session, authrole, authextra, transport }
}

/// Why a client gets no method, in words.
fn explain(refusal: &Refusal, hello: &Hello<'_>, realm: &Realm) -> (WampError, String) {
    let name = quote(realm.name());
    match refusal {
        Refusal::AuthenticationRequired => (
            WampError::AuthenticationRequired,
            format!("realm {name} wants to know who its clients are: offer authmethods in HELLO"),
        ),
        Refusal::NoMatchingMethod(accepted) => {
            let offered = quote_list(hello.authmethods.as_deref().unwrap_or_default());
            let accepted: Vec<_> = accepted.iter().map(|name| quote(name)).collect();
            let accepted = match accepted.as_slice() {
                [] => "none".to_owned(),
                names => names.join(", "),
            };
            let message = format!(
                "none of the offered authmethods {offered} is available on realm {name}, which \
                 accepts {accepted}"
            );
            (WampError::NoMatchingAuthMethod, message)
        }
        Refusal::LongAuthid => {
            (WampError::AuthenticationFailed, "HELLO.Details.authid is too long".to_owned())
        }
        Refusal::UnknownCertificate => (
            WampError::AuthenticationDenied,
            "the certificate that this client has shown is that of no user, or of another one"
                .to_owned(),
        ),
        Refusal::PlainChannel => (
            WampError::NoMatchingAuthMethod,
            format!("realm {name} takes these authmethods over TLS only: connect by wss or rss"),
        ),
        Refusal::Challenge => (
            WampError::AuthenticationFailed,
            "HELLO.Details.authextra.challenge must be 32 bytes as hexadecimal digits".to_owned(),
        ),
        Refusal::ChannelBinding => (
            WampError::AuthenticationFailed,
            "this channel_binding cannot be had here: leave it out, or use \"tls-exporter\" with \
             cryptosign over TLS 1.3 (\"tls-unique\" is not supported)"
                .to_owned(),
        ),
    }
}

pub(super) const TOO_MANY: &str = "too many logins are under way, try again later";

/// What it costs to make a challenge, in units of work.
const CHALLENGING_UNITS: usize = 100;

/// Units of work in a hundred nanoseconds.
const UNITS_PER_COST: usize = 3;
