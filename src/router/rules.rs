//! What holds in a realm, as the configuration says it: who may join, and what they may do then.
//!
//! Immutable. A reload makes new rules, which share with the old ones what has not changed; the
//! realm itself, with its tables and sessions, stays.

use std::sync::Arc;

use super::RealmSettings;
use super::roles::{RealmRole, RealmRoles};
use crate::authentication::Gate;

#[derive(Debug)]
pub struct RealmRules {
    pub settings: RealmSettings,
    /// Who may join, and how. The same one as long as the ways into the realm are the same.
    pub gate: Arc<Gate>,
    roles: RealmRoles,
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
        Self { settings, gate, roles }
    }

    /// The role of the sessions with this `authrole`; `None` if the realm is open.
    pub fn role(&self, authrole: &str) -> Option<&Arc<RealmRole>> {
        self.roles.find(authrole)
    }

    /// All roles, the one of those that are not listed last; none if the realm is open.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<RealmRole>> {
        self.roles.iter()
    }

    /// Whether a role or a rule gives what is published or called a trust level.
    pub fn has_trustlevels(&self) -> bool {
        self.settings.access.roles().iter().any(|role| {
            role.trustlevel.is_some() || role.permissions.iter().any(|p| p.trustlevel.is_some())
        })
    }
}
