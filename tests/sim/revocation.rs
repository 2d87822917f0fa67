//! Subscriptions and registrations that an administrator ends, and what their holders hear of it.

use rand::RngExt;
use serde_json::{Value, json};
use stentor::router::SessionRef;
use stentor::shard::Mail;
use stentor::wamp::{RegistrationId, SessionId, SubscriptionId};

use super::client::Stage;
use super::hearing::number;
use super::plan::pick;
use super::world::World;

impl World {
    /// An administrator takes something away from somebody.
    pub(crate) fn revoke_somewhere(&mut self) {
        let c = self.any_client();
        let client = &self.clients[c];
        if client.stage != Stage::Joined || client.hostile {
            return;
        }
        let session = SessionId::new(client.session.id).expect("an id");
        let realm = self.net.router.realm(client.session.realm).expect("a realm");
        let Some(session) = realm.find(session) else { return };
        if self.rng.random_bool(0.5) {
            self.revoke_subscription(c, session);
        } else {
            self.revoke_registration(c, session);
        }
    }

    fn revoke_subscription(&mut self, c: usize, subscriber: SessionRef) {
        let session = &mut self.clients[c].session;
        let mut held = session.subscriptions.iter_mut().filter(|(_, held)| !held.leaving);
        let Some((id, held)) = held.next() else { return };
        held.leaving = true;
        let id = *id;
        self.model.forgive_subscription(session.tag, id);
        let subscription = SubscriptionId::new(id).expect("an id");
        let reason = Some("sim".into());
        self.administrate(subscriber, Mail::Revoke { subscriber, subscription, reason });
        self.note("revoke", format_args!("c{c}, {id}"));
    }

    fn revoke_registration(&mut self, c: usize, callee: SessionRef) {
        let session = &mut self.clients[c].session;
        let held = session.registrations.iter().filter(|(_, held)| !held.leaving);
        let ids: Vec<u64> = held.map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return;
        }
        let id = *pick(&mut self.rng, &ids);
        let held = session.registrations.get_mut(&id).expect("it was just listed");
        held.leaving = true;
        // From here on the router may only invoke it for what was called before.
        held.revoked_after = Some(self.model.calls.len());
        self.model.unsettle_calls(&held.pattern);
        let registration = RegistrationId::new(id).expect("an id");
        let mail = Mail::RevokeRegistration { callee, registration, reason: None };
        self.administrate(callee, mail);
        self.note("revoke a registration", format_args!("c{c}, {id}"));
    }

    fn administrate(&mut self, session: SessionRef, mail: Mail) {
        let shard = usize::from(session.shard.0);
        self.net.deliver(shard, mail);
        // It takes effect when its turn comes.
        for _ in 0..100 {
            if self.net.shard(shard).has_jobs() {
                self.net.turn(shard);
            }
        }
    }

    pub(crate) fn hear_revoked(&mut self, c: usize, details: &Value) {
        let id = number(&details["subscription"]);
        assert_eq!(*details, json!({"subscription": id, "reason": "sim"}));
        let held = self.clients[c].session.subscriptions.remove(&id);
        assert!(held.is_some_and(|held| held.leaving), "c{c} loses {id} for no reason");
        self.model.forget_retained(self.clients[c].session.tag, id);
        self.note("heard a revocation", format_args!("c{c}, {id}"));
    }

    /// Only who announced it hears of it; what follows is checked where invocations come.
    pub(crate) fn hear_registration_revoked(&mut self, c: usize, details: &Value) {
        let id = number(&details["registration"]);
        assert_eq!(*details, json!({ "registration": id }));
        let session = &mut self.clients[c].session;
        assert!(session.announced.advanced, "c{c} did not announce registration_revocation");
        let held = session.registrations.remove(&id);
        let revoked = held.is_some_and(|held| held.revoked_after.is_some());
        assert!(revoked, "c{c} loses {id} for no reason");
        self.note("heard a registration revoked", format_args!("c{c}, {id}"));
    }
}
