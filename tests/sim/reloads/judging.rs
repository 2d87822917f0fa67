//! Whether what clients hear could be so under some edition of the time.

use serde_json::Value;
use stentor::authorization::Action;

use super::super::editions::{Edition, Grant, REALMS, Rules};
use super::{Client, Kind, Request, Stage, World};

impl World {
    pub(super) fn welcome(&mut self, number: usize, message: &Value, context: &str) {
        let client = &mut self.clients[number];
        client.id = message[1].as_u64().expect("an id");
        client.role = message[2]["authrole"].as_str().expect("a role").to_owned();
        client.stage = Stage::Joined;
        if client.kind == Kind::User {
            let Client { realm, authid, ref role, since, .. } = self.clients[number];
            let admits = |edition: &Edition| edition.admits(realm, authid, role);
            assert!(self.editions(number, since).any(admits), "nobody lets it in: {context}");
            self.count("joined");
        }
    }

    pub(super) fn turned_away(&mut self, number: usize, message: &Value, context: &str) {
        let Client { realm, authid, since, .. } = self.clients[number];
        let rules: Vec<_> = self.editions(number, since).map(|e| e.realms.get(realm)).collect();
        let user =
            |rules: &Option<&Rules>| rules.and_then(|rules| rules.users.get(authid)).copied();
        let is_plausible = match message[2].as_str() {
            Some("wamp.error.no_such_realm") => rules.iter().any(Option::is_none),
            Some("wamp.error.no_matching_auth_method") => {
                let is_empty = |rules: &Rules| rules.users.is_empty();
                rules.iter().any(|rules| rules.is_some_and(is_empty))
            }
            Some("wamp.error.authentication_denied") => {
                rules.iter().any(|rules| user(rules).is_none())
            }
            Some("wamp.error.no_such_role") => self.editions(number, since).any(|edition| {
                let user = user(&edition.realms.get(realm));
                user.is_some_and(|role| !edition.has_role(realm, role))
            }),
            // The ways into the realm have changed while it was challenged.
            Some("wamp.error.authentication_failed") => {
                let mut users = rules.iter().map(|rules| rules.map(|rules| &rules.users));
                let first = users.next();
                users.any(|others| Some(others) != first)
            }
            _ => false,
        };
        assert!(is_plausible, "{context}");
        if message[2] == "wamp.error.authentication_failed" {
            self.count("login interrupted");
        }
        self.count("turned away");
        self.clients[number].stage = Stage::Gone;
    }

    /// A session ends only if it had no right to be here at some time.
    pub(super) fn ended(&mut self, number: usize, message: &Value, context: &str) {
        let Client { realm, authid, ref role, since, .. } = self.clients[number];
        let mut editions = self.editions(number, since);
        let (is_plausible, what) = match message[2].as_str() {
            Some("wamp.close.close_realm") => {
                (editions.any(|e| !e.realms.contains_key(realm)), "realm closed")
            }
            Some("wamp.close.killed") => {
                let lacks =
                    |e: &Edition| e.realms.contains_key(realm) && !e.admits(realm, authid, role);
                (editions.any(lacks), "killed")
            }
            _ => (false, ""),
        };
        drop(editions);
        assert!(is_plausible, "its right has stood all the time: {context}");
        self.count(what);
        let asks = self
            .requests
            .iter()
            .any(|((id, _), request)| *id == self.clients[number].id && request.outcome.is_none());
        if asks {
            self.count("ended with a request");
        }
        self.clients[number].stage = Stage::Gone;
    }

    fn grants(&self, number: usize, since: usize, (action, uri): (Action, &str)) -> Vec<Grant> {
        let Client { realm, role, .. } = &self.clients[number];
        self.editions(number, since).map(|e| e.grants(realm, role, action, uri)).collect()
    }

    /// Whether a client may have had no right to be here: it has no permissions then, until it is
    /// ended or welcome again.
    fn was_unwelcome(&self, number: usize, since: usize) -> bool {
        let Client { realm, authid, ref role, .. } = self.clients[number];
        self.editions(number, since).any(|edition| !edition.admits(realm, authid, role))
    }

    pub(super) fn revoked(&mut self, number: usize, action: Action, message: &Value) {
        let kind = if action == Action::Subscribe { "subscription" } else { "registration" };
        let details = &message[2];
        assert_eq!(details["reason"], "wamp.error.not_authorized");
        let id = details[kind].as_u64().expect("an id");
        let held = self.clients[number].held.remove(&(action, id));
        let (uri, since) = held.expect("what is revoked was held");
        let grants = self.grants(number, since, (action, uri));
        let has = |grant| grants.contains(&grant);
        let is_plausible = has(Grant::No) || has(Grant::Ask) && has(Grant::Yes);
        let was_unwelcome = self.was_unwelcome(number, since);
        assert!(is_plausible || was_unwelcome, "{uri} stood all the time");
        self.count(kind);
    }

    /// Somebody hears a publication: it was granted, and comes in its order.
    pub(super) fn witness(&mut self, number: usize, of: (u64, u64), context: &str) {
        let last = self.clients[number].heard.insert(of.0, of.1);
        assert!(last < Some(of.1), "after {last:?} (BP-ORD-01): {context}");
        let publisher = self.clients.iter().position(|client| client.id == of.0);
        let request = &self.requests[&of];
        assert_ne!(request.outcome, Some(false), "it was refused: {context}");
        let publisher = publisher.expect("somebody has published");
        let grants = self.grants(publisher, request.since, (request.action, request.uri));
        let by_ruling = grants.contains(&Grant::Ask) && request.rulings.contains(&true);
        assert!(grants.contains(&Grant::Yes) || by_ruling, "without a grant: {context}");
        if self.clients[number].kind == Kind::Witness {
            self.witnessed.insert(of);
        }
    }

    /// A request is answered, once, as some edition of its time says.
    pub(super) fn answered(
        &mut self,
        of: (u64, u64),
        number: usize,
        error: Option<&str>,
        context: &str,
    ) {
        let Request { action, uri, since, .. } = self.requests[&of];
        let grants = self.grants(number, since, (action, uri));
        let was_unwelcome = self.was_unwelcome(number, since);
        let request = self.requests.get_mut(&of).expect("it was sent");
        let is_denied = error == Some("wamp.error.not_authorized");
        assert_eq!(request.outcome.replace(!is_denied), None, "answered once: {context}");
        let asks = grants.contains(&Grant::Ask);
        if is_denied {
            let by_ruling = asks && request.rulings.contains(&false);
            // What was claimed is lost as what is registered: nobody is asked about it later.
            let is_revoked = self.settings.claims && action == Action::Register;
            let is_revoked = is_revoked && asks && grants.contains(&Grant::Yes);
            let is_denied = grants.contains(&Grant::No) || by_ruling || is_revoked;
            assert!(is_denied || was_unwelcome, "all grant it: {context}");
            self.count("denied");
        } else {
            let by_ruling = asks && request.rulings.contains(&true);
            assert!(grants.contains(&Grant::Yes) || by_ruling, "none grants it: {context}");
            let is_fine = match error {
                None => true,
                Some("wamp.error.no_such_procedure" | "wamp.error.canceled") => {
                    action == Action::Call
                }
                Some("wamp.error.procedure_already_exists") => action == Action::Register,
                Some(_) => false,
            };
            assert!(is_fine, "{context}");
            self.count("granted");
        }
    }

    /// Everybody has what the last edition leaves.
    pub(super) fn check_rest(&self, context: &str) {
        let last = &self.editions[self.editions.len() - 1];
        for (number, client) in self.clients.iter().enumerate() {
            if client.kind != Kind::User || client.stage != Stage::Joined {
                continue;
            }
            let Client { realm, authid, role, .. } = client;
            assert!(last.admits(realm, authid, role), "{number} has no right: {context}");
            for ((action, _), (uri, _)) in &client.held {
                let grant = last.grants(realm, role, *action, uri);
                assert_ne!(grant, Grant::No, "{number} holds {uri}: {context}");
            }
            let mut own = self.requests.range((client.id, 0)..=(client.id, u64::MAX));
            assert!(own.all(|(_, request)| request.outcome.is_some()), "{number}: {context}");
        }
        for (of, request) in &self.requests {
            let is_published = request.action == Action::Publish && request.outcome == Some(true);
            let publisher = self.clients.iter().find(|client| client.id == of.0);
            if is_published && publisher.is_some_and(|client| client.realm == REALMS[0]) {
                assert!(self.witnessed.contains(of), "{of:?} is lost: {context}");
            }
        }
    }
}
