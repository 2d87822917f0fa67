//! From HELLO to WELCOME or ABORT (BP-SES).

use std::sync::Arc;

use super::connection::Phase;
use super::lifecycle::EndReason;
use super::log_budget::quotable;
use super::{SendError, Shard};
use crate::clock::Millis;
use crate::codec::{self, Codec};
use crate::router::{Profile, Realm, SessionRef};
use crate::session::Session;
use crate::transport::CloseCode;
use crate::wamp::{
    Dict, Hello, RouterMessage, SessionId, Value, WampError, is_valid_uri, quote, quote_list,
};

impl Shard {
    pub(super) fn handle_hello(&mut self, slot: u32, hello: &Hello<'_>, now: Millis) {
        let realm = match self.admit(hello) {
            Ok(realm) => realm,
            Err((error, message)) => {
                self.refuse_hello(slot, hello, error, &message, now);
                return;
            }
        };
        self.work.charge(JOINING_UNITS);
        let profile = Arc::new(self.anonymous_profile(slot, &realm));
        let id = self.enter_realm(slot, &realm, &profile);
        let roles = self.welcome_roles(&realm, self.connections[slot as usize].codec);
        let mut details = welcome_details(&realm, &profile, roles);
        let seed = self.router.seed();
        let session = Session::new(id, realm, hello.roles, profile, now, seed);
        self.announce_join(&session);
        let connection = &mut self.connections[slot as usize];
        tracing::info!(
            session = id.get(),
            realm = %session.realm.settings.name,
            authid = %session.profile.authid,
            peer = %connection.peer,
            transport = connection.framing.transport_name(),
            serializer = connection.codec.as_str(),
            agent = quotable(hello.agent.as_deref().unwrap_or_default()),
            "session joined"
        );
        connection.session_id = Some(id);
        connection.enter(Phase::Joined(Box::new(session)), now);
        self.counters.sessions.increment();
        self.counters.sessions_joined.increment();
        let welcome = RouterMessage::Welcome { session: id, details: &details };
        let mut sent = self.send(slot, &welcome);
        if sent == Err(SendError::TooLarge) {
            // A peer of 512 bytes learns of no features, and has a session.
            details.retain(|(key, _)| key != "roles");
            details.push(("roles".into(), plain_roles()));
            sent = self.send(slot, &RouterMessage::Welcome { session: id, details: &details });
        }
        if let Err(SendError::TooLarge | SendError::Encoding) = sent {
            // The peer announced a limit that not even WELCOME fits in (TR-SZ-01).
            self.end_session(slot, EndReason::MessageTooLarge, now);
            self.start_closing(slot, now);
        }
        self.rearm(slot, now);
    }

    /// Who may join which realm.
    fn admit(&self, hello: &Hello<'_>) -> Result<Arc<Realm>, (WampError, String)> {
        if self.shutting_down {
            return Err((WampError::SystemShutdown, "the router is shutting down".to_owned()));
        }
        let Some(name) = hello.realm.as_deref() else {
            let message = "HELLO.Realm is null, and this router does not assign realms";
            return Err((WampError::NoSuchRealm, message.to_owned()));
        };
        if !is_valid_uri(name, Default::default()) || name.len() > self.settings().limits.uri_bytes
        {
            return Err((
                WampError::InvalidUri,
                format!("HELLO.Realm is not a valid URI: {}", quote(name)),
            ));
        }
        let Some(realm) = self.router.realm(name) else {
            return Err((
                WampError::NoSuchRealm,
                format!("no realm {} exists on this router", quote(name)),
            ));
        };
        match hello.authmethods.as_deref() {
            None | Some([]) => Ok(Arc::clone(realm)),
            Some(methods) if methods.iter().any(|method| method == "anonymous") => {
                Ok(Arc::clone(realm))
            }
            Some(methods) => {
                let message = format!(
                    "none of the offered authmethods {} is available on realm {}, which accepts \
                     \"anonymous\"",
                    quote_list(methods),
                    quote(name)
                );
                Err((WampError::NoMatchingAuthMethod, message))
            }
        }
    }

    fn refuse_hello(
        &mut self,
        slot: u32,
        hello: &Hello<'_>,
        error: WampError,
        message: &str,
        now: Millis,
    ) {
        self.counters.sessions_refused.increment();
        let peer = &self.connections[slot as usize].peer;
        if self.log_budget.allow(now) {
            let realm = quotable(hello.realm.as_deref().unwrap_or_default());
            let (reason, detail) = (error.uri(), quotable(message));
            tracing::info!(%peer, realm, reason, detail, "session refused");
        }
        self.abort(slot, error, message, CloseCode::Policy, now);
    }

    /// Draws session ids until one is free (BP-ID-03).
    fn enter_realm(&mut self, slot: u32, realm: &Realm, profile: &Arc<Profile>) -> SessionId {
        loop {
            let session = SessionId::from_random(self.random());
            if realm.enter(SessionRef { session, slot, shard: self.id }, profile) {
                return session;
            }
        }
    }

    /// `WELCOME.Details.roles`: the same for all sessions of a realm, so it is encoded once for
    /// each serializer.
    fn welcome_roles(&mut self, realm: &Realm, codec: Codec) -> Value {
        let encoded = self.welcome_roles.entry((realm.number(), codec)).or_insert_with(|| {
            let roles = codec::encode_value(codec, &roles(realm));
            roles.expect("every serializer has dicts, strings and true").into()
        });
        Value::Encoded(codec, encoded.clone())
    }

    /// An anonymous session gets a random authid (AU-ANON-01).
    fn anonymous_profile(&mut self, slot: u32, realm: &Realm) -> Profile {
        let bits = self.random();
        let connection = &self.connections[slot as usize];
        Profile::anonymous(
            format!("anon-{bits:016x}"),
            realm.settings.anonymous_role.as_str(),
            connection.framing.transport_name(),
            connection.codec.as_str(),
        )
    }
}

/// What WELCOME says about the session and the router (BP-SES-07).
fn welcome_details(realm: &Realm, profile: &Profile, roles: Value) -> Dict {
    vec![
        ("realm".into(), realm.settings.name.as_str().into()),
        ("authid".into(), (&*profile.authid).into()),
        ("authrole".into(), (&*profile.authrole).into()),
        ("authmethod".into(), profile.authmethod.into()),
        ("authprovider".into(), profile.authprovider.into()),
        ("agent".into(), "Stentor".into()),
        ("roles".into(), roles),
    ]
}

/// The router's roles on a realm, with the features that work there (BP-SES-08).
fn roles(realm: &Realm) -> Value {
    let features = |names: &[&'static str]| {
        let on = names.iter().map(|name| ((*name).into(), Value::Bool(true))).collect();
        Value::Dict(vec![("features".into(), Value::Dict(on))])
    };
    let mut broker = BROKER_FEATURES.to_vec();
    let mut dealer = DEALER_FEATURES.to_vec();
    if !realm.histories.is_empty() {
        broker.push("event_history");
    }
    if realm.has_trustlevels() {
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
