//! From HELLO to WELCOME or ABORT (BP-SES).

use std::sync::Arc;

use super::connection::Phase;
use super::log_budget::quotable;
use super::suspension::CUT_OFF;
use super::{SendError, Shard};
use crate::authentication::Lease;
use crate::clock::Millis;
use crate::codec::{self, Codec};
use crate::router::{Domain, EndReason, Profile, Realm, RealmRules, Slot};
use crate::session::Session;
use crate::transport::CloseCode;
use crate::wamp::{
    Dict, Hello, Roles, RouterMessage, SessionId, Value, WampError, is_valid_uri, quote,
};

impl Shard {
    pub(super) fn handle_hello(&mut self, slot: Slot, hello: &Hello<'_>, now: Millis) {
        let domain = match self.admit(slot, hello) {
            Ok(domain) => domain,
            Err((error, message)) => {
                let realm = hello.realm.as_deref().unwrap_or_default();
                self.turn_away(slot, realm, error, &message, now);
                return;
            }
        };
        self.cx.work.charge(JOINING_UNITS);
        self.begin_login(slot, hello, domain, now);
    }

    /// Lets a client in of whom everything is known that has to be.
    pub(super) fn welcome(&mut self, slot: Slot, arrival: Arrival, now: Millis) {
        let Arrival { realm, came_by, session: reserved, profile, roles, .. } = arrival;
        let Arrival { agent, authextra, lease, .. } = arrival;
        let entered = self.may_enter(&realm, &came_by, &profile.authrole).and_then(|rules| {
            let is_told = rules.settings.disclose_peers;
            let peer = is_told.then(|| self.connections[slot].peer);
            let profile = Arc::new(Profile { peer, ..profile });
            let id = self.enter_realm(slot, &realm, reserved, &profile)?;
            Ok((id, rules, profile))
        });
        let (id, rules, profile) = match entered {
            Ok(entered) => entered,
            Err((error, message)) => {
                self.turn_away(slot, realm.name(), error, &message, now);
                return;
            }
        };
        self.connections[slot].headers = None;
        let announced = self.welcome_roles(&realm, &rules, self.connections[slot].codec);
        let mut details = welcome_details(&realm, &profile, announced);
        if !authextra.is_empty() {
            details.push(("authextra".into(), Value::Dict(authextra)));
        }
        let seed = self.cx.router.seed();
        let mut session = Session::new(id, Domain { realm, rules }, roles, profile, now, seed);
        let client = self.cx.router.client_names().find(&agent);
        session.client = client;
        session.is_unordered = self.connections[slot].rules.is_unordered;
        session.expiry = lease.map(|lease| self.expiry_of(lease, now));
        self.set_rates(slot, session.permissions.rates());
        self.announce_join(slot, &session);
        let connection = &mut self.connections[slot];
        tracing::info!(
            session = id.get(),
            realm = %session.realm.name(),
            authid = %session.profile.authid,
            authmethod = session.profile.authmethod,
            peer = %connection.peer,
            transport = connection.framing.transport_name(),
            serializer = connection.codec.as_str(),
            agent = &*agent,
            "session joined"
        );
        let authmethod = session.profile.authmethod;
        connection.session_id = Some(id);
        connection.enter(Phase::Joined(Box::new(session)), now);
        self.cx.counters.sessions.increment();
        self.cx.counters.sessions_joined.increment();
        self.cx.measures.clients.note_joined(client);
        self.cx.measures.authentications.note([authmethod, "succeeded"]);
        self.say_welcome(slot, id, details, now);
        self.rearm(slot, now);
    }

    fn say_welcome(&mut self, slot: Slot, session: SessionId, mut details: Dict, now: Millis) {
        let mut sent = self.send(slot, &RouterMessage::Welcome { session, details: &details });
        if sent == Err(SendError::TooLarge) {
            // A peer of 512 bytes learns of no features, and has a session.
            details.retain(|(key, _)| key != "roles");
            details.push(("roles".into(), plain_roles()));
            sent = self.send(slot, &RouterMessage::Welcome { session, details: &details });
        }
        if let Err(SendError::TooLarge | SendError::Encoding) = sent {
            // The peer announced a limit that not even WELCOME fits in (TR-SZ-01).
            self.end_session(slot, EndReason::MessageTooLarge, now);
            self.start_closing(slot, now);
        }
    }

    /// Which realm a client means, and whether anybody may join now.
    fn admit(&self, slot: Slot, hello: &Hello<'_>) -> Result<Domain, (WampError, String)> {
        if self.is_closed() {
            return Err(self.closed());
        }
        let connection = &self.connections[slot];
        let entrance = connection.rules.entrance(connection.transport.way_in());
        let appointed = connection.rules.appointed.as_deref().map(|appointed| &*appointed.realm);
        let asked = appointed.or(hello.realm.as_deref());
        let Some(name) = asked.or(entrance.default_realm.as_deref()) else {
            let message = "HELLO.Realm is null, and this listener has no default realm";
            return Err((WampError::NoSuchRealm, message.to_owned()));
        };
        if !is_valid_uri(name, Default::default()) || name.len() > self.cx.limits().uri_bytes {
            return Err((
                WampError::InvalidUri,
                format!("HELLO.Realm is not a valid URI: {}", quote(name)),
            ));
        }
        self.cx.edition.domain(name).cloned().ok_or_else(|| no_such_realm(name))
    }

    /// What must hold at this moment of a client that has proved who it is, whatever held when it
    /// said HELLO. Returns the rules that hold for it.
    fn may_enter(
        &self,
        realm: &Arc<Realm>,
        came_by: &Domain,
        authrole: &str,
    ) -> Result<Arc<RealmRules>, (WampError, String)> {
        if self.is_closed() {
            return Err(self.closed());
        }
        let edition = &self.cx.edition;
        let rules = edition.rules_of(realm).ok_or_else(|| no_such_realm(realm.name()))?;
        let is_own = Arc::ptr_eq(realm, &came_by.realm);
        let door = if is_own { Some(rules) } else { edition.rules_of(&came_by.realm) };
        if !door.is_some_and(|door| Arc::ptr_eq(&door.gate, &came_by.rules.gate)) {
            let message = "the configuration of the router has changed meanwhile, try again";
            return Err((WampError::AuthenticationFailed, message.to_owned()));
        }
        if !rules.settings.has_role(authrole) {
            let (role, name) = (quote(authrole), quote(realm.name()));
            return Err((WampError::NoSuchRole, format!("realm {name} has no role {role}")));
        }
        Ok(Arc::clone(rules))
    }

    /// Why nobody may join.
    fn closed(&self) -> (WampError, String) {
        let why = if self.is_suspended() { CUT_OFF } else { "the router is shutting down" };
        (WampError::SystemShutdown, why.to_owned())
    }

    /// Ends an attempt to join.
    pub(super) fn turn_away(
        &mut self,
        slot: Slot,
        realm: &str,
        error: WampError,
        message: &str,
        now: Millis,
    ) {
        self.cx.counters.sessions_refused.increment();
        self.cx.measures.handshake_failures.note(["hello", error.uri()]);
        let peer = &self.connections[slot].peer;
        if self.cx.log_budget.allow(now) {
            let (realm, reason, detail) = (quotable(realm), error.uri(), quotable(message));
            tracing::info!(%peer, realm, reason, detail, "session refused");
        }
        self.abort(slot, error, message, CloseCode::Policy, now);
    }

    /// Draws session ids until one is free (BP-ID-03); if one is reserved, it is that or none.
    fn enter_realm(
        &mut self,
        slot: Slot,
        realm: &Realm,
        reserved: Option<SessionId>,
        profile: &Arc<Profile>,
    ) -> Result<SessionId, (WampError, String)> {
        loop {
            let session = reserved.unwrap_or_else(|| self.cx.draw_session_id());
            if realm.enter(self.cx.reference(slot, session), profile) {
                return Ok(session);
            }
            if reserved.is_some() {
                let message = "the session id of the challenge was taken meanwhile, try again";
                return Err((WampError::AuthenticationFailed, message.to_owned()));
            }
        }
    }

    /// A session id that nobody has (AU-GEN-08). In the one case of 2^53 in which somebody gets it
    /// before the session is welcomed, [`Self::enter_realm`] refuses the login.
    pub(super) fn draw_session_id(&mut self, realm: &Realm) -> SessionId {
        loop {
            let session = self.cx.draw_session_id();
            if realm.find(session).is_none() {
                return session;
            }
        }
    }

    /// `WELCOME.Details.roles`: the same for all sessions of a realm, so it is encoded once for
    /// each serializer.
    fn welcome_roles(&mut self, realm: &Realm, rules: &RealmRules, codec: Codec) -> Value {
        let encoded =
            self.logins.welcome_roles.entry((realm.number(), codec)).or_insert_with(|| {
                let roles = codec::encode_value(codec, &roles(realm, rules));
                roles.expect("every serializer has dicts, strings and true").into()
            });
        Value::Encoded(codec, encoded.clone())
    }
}

/// A client about to be welcomed.
pub(super) struct Arrival {
    pub(super) realm: Arc<Realm>,
    /// Where it said HELLO, with the rules of then: mostly to that realm.
    pub(super) came_by: Domain,
    /// The id that its challenge named.
    pub(super) session: Option<SessionId>,
    pub(super) profile: Profile,
    pub(super) roles: Roles,
    /// As much of it as the log shows.
    pub(super) agent: Box<str>,
    pub(super) authextra: Dict,
    /// How long it may stay, if not for ever.
    pub(super) lease: Option<Lease>,
}

fn no_such_realm(name: &str) -> (WampError, String) {
    (WampError::NoSuchRealm, format!("no realm {} exists on this router", quote(name)))
}

/// What WELCOME says about the session and the router (BP-SES-07).
fn welcome_details(realm: &Realm, profile: &Profile, roles: Value) -> Dict {
    vec![
        ("realm".into(), (&**realm.name()).into()),
        ("authid".into(), (&*profile.authid).into()),
        ("authrole".into(), (&*profile.authrole).into()),
        ("authmethod".into(), profile.authmethod.into()),
        ("authprovider".into(), profile.authprovider.into()),
        ("agent".into(), "Stentor".into()),
        ("roles".into(), roles),
    ]
}

/// The router's roles on a realm, with the features that work there (BP-SES-08).
fn roles(realm: &Realm, rules: &RealmRules) -> Value {
    let features = |names: &[&'static str]| {
        let on = names.iter().map(|name| ((*name).into(), Value::Bool(true))).collect();
        Value::Dict(vec![("features".into(), Value::Dict(on))])
    };
    let mut broker = BROKER_FEATURES.to_vec();
    let mut dealer = DEALER_FEATURES.to_vec();
    if !realm.histories.is_empty() {
        broker.push("event_history");
    }
    if rules.has_trustlevels() {
        broker.push("publication_trustlevels");
        dealer.push("call_trustlevels");
    }
    let broker = ("broker".into(), features(&broker));
    let dealer = ("dealer".into(), features(&dealer));
    Value::Dict(vec![broker, dealer])
}

/// The router's roles without their features.
fn plain_roles() -> Value {
    let roles = ["broker", "dealer"].map(|role| (role.into(), Value::Dict(Dict::new())));
    Value::Dict(roles.to_vec())
}

/// What a new session costs besides its HELLO, in units of work.
const JOINING_UNITS: usize = 100;

/// Only what works is announced (BP-SES-07).
const BROKER_FEATURES: &[&str] = &[
    "event_retention",
    "pattern_based_subscription",
    "payload_passthru_mode",
    "publisher_exclusion",
    "publisher_identification",
    "session_meta_api",
    "subscriber_blackwhite_listing",
    "subscription_meta_api",
    "subscription_revocation",
];
const DEALER_FEATURES: &[&str] = &[
    "call_canceling",
    "call_reroute",
    "call_timeout",
    "caller_identification",
    "pattern_based_registration",
    "payload_passthru_mode",
    "progressive_call_invocations",
    "progressive_call_results",
    "registration_meta_api",
    "registration_revocation",
    "session_meta_api",
    "shared_registration",
    "testament_meta_api",
];
