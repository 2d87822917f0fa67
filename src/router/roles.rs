//! The roles of a realm, each with what its rules decided, counted.

use std::sync::Arc;

use super::counters::Counter;
use super::rules::RealmRules;
use super::{RealmSettings, ShardId};
use crate::authorization::{Access, Action, Powers, Rates, Role, RoleSettings};

/// Which rules hold for the sessions of a realm.
#[derive(Debug)]
pub(super) enum RealmRoles {
    /// None do.
    Open,
    /// Those of the role; a role without a name has those of all others: none.
    Listed(Vec<Arc<RealmRole>>),
}

impl RealmRoles {
    /// Roles of `before` that have not changed stay, others go on with the counters of those that
    /// had their names.
    pub(super) fn new(
        settings: &RealmSettings,
        shards: usize,
        before: Option<&RealmRules>,
    ) -> Self {
        let Access::Roles(listed) = &settings.access else { return Self::Open };
        let is_listed = |name: &str| listed.iter().any(|role| role.name == name);
        let unlisted = settings.admin_roles.iter().filter(|name| !is_listed(name));
        let mut unlisted: Vec<_> = unlisted.cloned().collect();
        unlisted.sort_unstable();
        unlisted.dedup();
        let more = unlisted.into_iter().chain([String::new()]);
        let more: Vec<_> = more.map(|name| RoleSettings::new(name, Vec::new())).collect();
        let roles = listed.iter().chain(&more).map(|role| {
            let powers = settings.powers(&role.name);
            let named = before.into_iter().flat_map(RealmRules::roles);
            let named = named.into_iter().find(|old| old.rules.name() == role.name);
            if let Some(old) = named
                && (&old.settings, old.powers) == (role, powers)
            {
                return Arc::clone(old);
            }
            let decisions = named.map(|old| Arc::clone(&old.decisions));
            Arc::new(RealmRole {
                rules: Role::new(role, powers),
                rates: role.rates(),
                settings: role.clone(),
                powers,
                decisions: decisions.unwrap_or_else(|| fresh(shards)),
            })
        });
        Self::Listed(roles.collect())
    }

    /// The role of a session; `None` if the realm is open.
    pub(super) fn find(&self, name: &str) -> Option<&Arc<RealmRole>> {
        let Self::Listed(roles) = self else { return None };
        roles.iter().find(|role| role.rules.name() == name).or_else(|| roles.last())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<RealmRole>> {
        match self {
            Self::Open => [].iter(),
            Self::Listed(roles) => roles.iter(),
        }
    }
}

/// A role with its counters.
#[derive(Debug)]
pub struct RealmRole {
    pub rules: Role,
    /// How fast its sessions may send; `None`: as fast as they like.
    pub rates: Option<Rates>,
    /// What `rules` was made of.
    settings: RoleSettings,
    powers: Powers,
    /// One for each shard.
    decisions: Arc<[Decisions]>,
}

fn fresh(shards: usize) -> Arc<[Decisions]> {
    (0..shards).map(|_| Decisions::default()).collect()
}

/// What one shard decided for the sessions of a role; on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Decisions {
    recalled: Outcomes,
    fresh: Outcomes,
}

/// By action.
#[derive(Debug, Default)]
struct Outcomes {
    allowed: [Counter; 4],
    denied: [Counter; 4],
}

impl Outcomes {
    #[inline]
    fn count(&self, action: Action, is_allowed: bool) {
        let counters = if is_allowed { &self.allowed } else { &self.denied };
        counters[action as usize].increment();
    }
}

/// Whether rules or an authorizer were asked, or what they had said of such a request was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Fresh,
    /// What a session remembers ([`Memory`](crate::authorization::Memory)).
    Recalled,
}

/// How often a role was allowed and denied an action since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionCount {
    pub action: Action,
    pub allowed: u64,
    pub denied: u64,
    /// Those among `allowed` that the session remembered from a request before.
    pub allowed_recalled: u64,
    /// The same of `denied`.
    pub denied_recalled: u64,
}

impl RealmRole {
    /// Counts what a shard decided; only its own thread calls this.
    #[inline]
    pub(crate) fn count(&self, shard: ShardId, action: Action, is_allowed: bool, source: Source) {
        let decisions = &self.decisions[usize::from(shard.0)];
        match source {
            Source::Recalled => decisions.recalled.count(action, is_allowed),
            Source::Fresh => decisions.fresh.count(action, is_allowed),
        }
    }

    /// What all shards decided, for each action.
    pub fn decisions(&self) -> [DecisionCount; 4] {
        Action::ALL.map(|action| {
            let total = |of: fn(&Decisions) -> &[Counter; 4]| -> u64 {
                self.decisions.iter().map(|shard| of(shard)[action as usize].get()).sum()
            };
            let allowed_recalled = total(|shard| &shard.recalled.allowed);
            let denied_recalled = total(|shard| &shard.recalled.denied);
            DecisionCount {
                action,
                allowed: allowed_recalled + total(|shard| &shard.fresh.allowed),
                denied: denied_recalled + total(|shard| &shard.fresh.denied),
                allowed_recalled,
                denied_recalled,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorization::{Decision, Permission};
    use crate::wamp::MatchPolicy;

    #[test]
    fn a_role_that_is_not_listed_has_no_rules() {
        let role = RoleSettings::new("user", vec![Permission::everything_below("")]);
        let settings = RealmSettings {
            access: Access::Roles(vec![role]),
            admin_roles: vec!["ops".into()],
            ..RealmSettings::default()
        };
        assert!(settings.has_role("user") && settings.has_role("ops"));
        assert!(!settings.has_role("guest") && !settings.has_role(""));
        let roles = RealmRoles::new(&settings, 2, None);
        for (name, uri, is_allowed) in [
            ("user", "com.x", true),
            ("user", "wamp.session.kill", false),
            ("ops", "com.x", false),
            ("ops", "wamp.session.kill", true),
            ("guest", "com.x", false),
            ("", "com.x", false),
        ] {
            let role = roles.find(name).expect("the realm is not open");
            let decision = role.rules.authorize(Action::Call, uri, MatchPolicy::Exact);
            assert_eq!(matches!(decision, Decision::Allow(_)), is_allowed, "{name} {uri}");
            role.count(ShardId(1), Action::Call, is_allowed, Source::Fresh);
        }
        let count = |name: &str| roles.find(name).unwrap().decisions()[Action::Call as usize];
        assert_eq!((count("user").allowed, count("user").denied), (1, 1));
        assert_eq!((count("guest").allowed, count("guest").denied), (0, 2));
        let open = RealmSettings::default();
        assert!(RealmRoles::new(&open, 1, None).find("user").is_none());
        assert!(open.has_role("whoever"));
    }
}
