//! What holds in a realm, as the configuration says it: who may join, and what they may do then.
//!
//! Immutable. A reload makes new rules, which share with the old ones what has not changed; the
//! realm itself, with its tables and sessions, stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::RealmSettings;
use super::roles::{RealmRole, RealmRoles};
use crate::authentication::{Endpoint, EndpointSettings, Gate};

#[derive(Debug)]
pub struct RealmRules {
    pub settings: RealmSettings,
    /// Who may join, and how. The same one as long as the ways into the realm are the same.
    pub gate: Arc<Gate>,
    roles: RealmRoles,
    /// The endpoints that are authorizers, by their addresses.
    authorizers: BTreeMap<Box<str>, Arc<Endpoint>>,
}

impl RealmRules {
    /// The rules of a realm in a router of so many shards. What `before` has already stays.
    pub(super) fn new(settings: RealmSettings, shards: usize, before: Option<&Self>) -> Self {
        let is_same = |old: &&Self| old.settings.authenticators == settings.authenticators;
        let gate = before.filter(is_same).map(|old| Arc::clone(&old.gate));
        let gate = gate.unwrap_or_else(|| {
            let before = before.map(|old| &*old.gate);
            Arc::new(Gate::renewed(&settings.authenticators, before))
        });
        let roles = RealmRoles::new(&settings, shards, before);
        let authorizer = |settings: EndpointSettings| {
            let old = before.and_then(|before| before.authorizers.get(&*settings.url));
            let old = old.filter(|old| old.is_as(&settings)).map(Arc::clone);
            let url = settings.url.as_str().into();
            (url, old.unwrap_or_else(|| Arc::new(Endpoint::new(settings))))
        };
        let authorizers = settings.authorizer_endpoints().into_iter().map(authorizer).collect();
        Self { settings, gate, roles, authorizers }
    }

    /// The role of the sessions with this `authrole`; `None` if the realm is open.
    pub fn role(&self, authrole: &str) -> Option<&Arc<RealmRole>> {
        self.roles.find(authrole)
    }

    /// All roles, the one of those that are not listed last; none if the realm is open.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<RealmRole>> {
        self.roles.iter()
    }

    /// The endpoint that an authorizer is; `None` if it is a procedure.
    pub fn authorizer_at(&self, authorizer: &str) -> Option<&Arc<Endpoint>> {
        self.authorizers.get(authorizer)
    }

    /// The endpoints that are authorizers, each once.
    pub fn authorizers(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.authorizers.values()
    }

    /// Whether a role or a rule gives what is published or called a trust level.
    pub fn has_trustlevels(&self) -> bool {
        self.settings.access.roles().iter().any(|role| {
            role.trustlevel.is_some() || role.permissions.iter().any(|p| p.trustlevel.is_some())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorization::{Access, Action, Permission, RoleSettings};

    fn settings(urls: &[&str]) -> RealmSettings {
        let asking = |url: &&str| Permission {
            authorizer: Some((*url).to_owned()),
            allow: vec![Action::Call],
            ..Permission::everything_below("com.")
        };
        let permissions = urls.iter().map(asking).collect();
        let access = Access::Roles(vec![RoleSettings::new("user", permissions)]);
        RealmSettings { access, ..RealmSettings::default() }
    }

    /// Its threads know an endpoint by its place in memory.
    #[test]
    fn an_authorizer_that_stays_is_the_same_one() {
        let old = RealmRules::new(settings(&["https://a.example/x", "com.ask"]), 1, None);
        let urls = ["https://b.example/x", "https://a.example/x"];
        let new = RealmRules::new(settings(&urls), 1, Some(&old));
        let at = |rules: &RealmRules, url| rules.authorizer_at(url).map(Arc::clone);
        let (was, is) = (at(&old, "https://a.example/x"), at(&new, "https://a.example/x"));
        assert!(Arc::ptr_eq(&was.unwrap(), &is.unwrap()));
        assert!(at(&new, "https://b.example/x").is_some() && at(&old, "com.ask").is_none());
        let mut slower = settings(&urls);
        let patient = EndpointSettings { timeout_ms: 60_000, ..EndpointSettings::at(urls[1]) };
        slower.authorizers = vec![patient];
        let slower = RealmRules::new(slower, 1, Some(&new));
        let [was, is] = [&new, &slower].map(|rules| at(rules, urls[1]).unwrap());
        assert!(!Arc::ptr_eq(&was, &is), "it is asked in another way");
    }
}
