//! All that a reload can change, as of one moment: the settings, and which realms there are with
//! their rules.
//!
//! Immutable. The router has the newest one; each shard has its own reference, which it replaces
//! when it is told to. So a shard reads its settings without a look at what others share, and
//! between two pieces of mail they stay the same.

use std::sync::Arc;

use super::Settings;
use super::realm::{Profile, Realm};
use super::rules::RealmRules;
use crate::authorization::Standing;
use crate::hash::Map;

#[derive(Debug)]
pub struct Edition {
    pub settings: Settings,
    domains: Map<Box<str>, Domain>,
}

/// A realm with the rules that hold in it.
#[derive(Clone, Debug)]
pub struct Domain {
    pub realm: Arc<Realm>,
    pub rules: Arc<RealmRules>,
}

impl Edition {
    pub(super) const fn new(settings: Settings, domains: Map<Box<str>, Domain>) -> Self {
        Self { settings, domains }
    }

    /// The realm of this name, for whoever wants to join it.
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        self.domains.get(name)
    }

    pub fn domains(&self) -> impl Iterator<Item = &Domain> {
        self.domains.values()
    }

    pub fn realm(&self, name: &str) -> Option<&Arc<Realm>> {
        self.domain(name).map(|domain| &domain.realm)
    }

    pub fn realms(&self) -> impl Iterator<Item = &Arc<Realm>> {
        self.domains().map(|domain| &domain.realm)
    }

    /// The rules of a realm; `None` if it was removed.
    pub fn rules_of(&self, realm: &Arc<Realm>) -> Option<&Arc<RealmRules>> {
        let domain = self.domain(realm.name()).filter(|domain| Arc::ptr_eq(&domain.realm, realm));
        domain.map(|domain| &domain.rules)
    }

    /// What a session of a realm may do with the management API as of this edition, whatever its
    /// shard knows of it yet.
    pub fn standing(&self, realm: &Arc<Realm>, profile: &Profile) -> Standing {
        let role = &*profile.authrole;
        let rules = self
            .rules_of(realm)
            .filter(|rules| rules.settings.has_role(role) && profile.is_admitted_by(&rules.gate));
        rules.map_or(Standing::Stranger, |rules| rules.settings.standing(role))
    }
}
