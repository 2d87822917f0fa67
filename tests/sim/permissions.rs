//! What the sessions of a run may do: random rules, and what they grant by the words of the
//! specification, rule by rule.

use rand::RngExt;
use rand::rngs::StdRng;
use stentor::authorization::{
    ADMINISTRATIVE, Access, Action, Disclosure, Permission, RoleSettings, covers, overlaps,
};
use stentor::wamp::MatchPolicy;

use super::model::{Pattern, Policy};
use super::plan::{Plan, pick};

/// Half of the realms are open. Of the others most allow what no rule denies.
pub(crate) fn draw(rng: &mut StdRng, role: &str) -> Access {
    if rng.random_bool(0.5) {
        return Access::Open;
    }
    let base = if rng.random_bool(0.8) { "" } else { "wamp." };
    let mut permissions = vec![Permission::everything_below(base)];
    for _ in 0..rng.random_range(0..8) {
        let (uri, policy) = *pick(rng, PATTERNS);
        let is_new = permissions.iter().all(|other| (&*other.uri, other.policy) != (uri, policy));
        let permission = draw_permission(rng, uri, policy);
        permissions.extend(is_new.then_some(permission));
    }
    let level = rng.random_bool(0.4).then_some(3);
    let role = RoleSettings::new(role, permissions);
    Access::Roles(vec![RoleSettings { trustlevel: level, ..role }])
}

fn draw_permission(rng: &mut StdRng, uri: &str, policy: MatchPolicy) -> Permission {
    let mut permission = Permission { uri: uri.into(), policy, ..Permission::default() };
    for action in Action::ALL {
        match rng.random_range(0..6) {
            0..3 => permission.allow.push(action),
            3 => permission.deny.push(action),
            _ => {}
        }
    }
    for disclosure in [Disclosure::Caller, Disclosure::Publisher] {
        if permission.allow.contains(&disclosure.action()) && rng.random_bool(0.3) {
            permission.disclose.push(disclosure);
        }
    }
    permission.trustlevel = rng.random_bool(0.2).then_some(5);
    permission
}

impl Plan {
    fn role(&self) -> Option<&RoleSettings> {
        self.realm.access.roles().first()
    }

    /// Whether everybody may do this with all URIs of a pattern.
    pub(crate) fn grants(&self, action: Action, uri: &str, policy: Policy) -> bool {
        let Some(role) = self.role() else { return true };
        let asked = (uri, policy.of_match());
        let named = || role.permissions.iter().filter(|rule| rule.names(action));
        let cover = named().filter(|rule| covers((&rule.uri, rule.policy), asked));
        let Some(best) = cover.max_by_key(|rule| rank(rule)) else { return false };
        let denies = |rule: &Permission| {
            rule.deny.contains(&action)
                && rank(rule) > rank(best)
                && overlaps((&rule.uri, rule.policy), asked)
        };
        best.allow.contains(&action) && !named().any(denies)
    }

    /// The rule that decides about one URI, whoever it is that matches it.
    fn decider(&self, action: Action, uri: &str) -> Option<&Permission> {
        let rules = self.role()?.permissions.iter().filter(|rule| rule.names(action));
        let matching = rules.filter(|rule| pattern(rule).matches("", uri));
        matching.max_by_key(|rule| rank(rule))
    }

    /// What nobody may do must never be seen: `uri` is what somebody published, called or heard.
    pub(crate) fn check_granted(&self, actions: [Action; 2], uri: &str) {
        for action in actions.into_iter().filter(|_| self.role().is_some()) {
            let rule = self.decider(action, uri);
            let is_granted = rule.is_some_and(|rule| rule.allow.contains(&action));
            assert!(is_granted, "no rule grants to {} {uri} (AU-AZ-02)", action.as_str());
        }
    }

    pub(crate) fn discloses(&self, disclosure: Disclosure, uri: &str) -> bool {
        let rule = self.decider(disclosure.action(), uri);
        rule.is_some_and(|rule| rule.disclose.contains(&disclosure))
    }

    pub(crate) fn trustlevel(&self, action: Action, uri: &str) -> Option<u64> {
        let rule = self.decider(action, uri)?;
        rule.trustlevel.or(self.role()?.trustlevel)
    }

    pub(crate) fn has_trustlevels(&self) -> bool {
        self.role().is_some_and(|role| {
            role.trustlevel.is_some() || role.permissions.iter().any(|p| p.trustlevel.is_some())
        })
    }

    /// Whether a rule names what ends others, or the role is one of administrators (AP-SMA-07).
    pub(crate) fn may_kill(&self) -> bool {
        let is_admin = self.realm.admin_roles.iter().any(|admin| admin == self.anonymous_role());
        let names = |rule: &Permission| {
            rule.uri.starts_with("wamp.")
                && ADMINISTRATIVE.iter().all(|uri| pattern(rule).matches("", uri))
        };
        is_admin || self.role().is_some_and(|role| role.permissions.iter().any(names))
    }
}

impl Policy {
    const fn of_match(self) -> MatchPolicy {
        match self {
            Self::Exact => MatchPolicy::Exact,
            Self::Prefix => MatchPolicy::Prefix,
            Self::Wildcard => MatchPolicy::Wildcard,
        }
    }
}

fn pattern(rule: &Permission) -> Pattern {
    let policy = match rule.policy {
        MatchPolicy::Exact => Policy::Exact,
        MatchPolicy::Prefix => Policy::Prefix,
        MatchPolicy::Wildcard => Policy::Wildcard,
    };
    Pattern { realm: "", uri: rule.uri.clone(), policy }
}

fn rank(rule: &Permission) -> (u8, Vec<usize>) {
    pattern(rule).rank()
}

const PATTERNS: &[(&str, MatchPolicy)] = &[
    ("com.", MatchPolicy::Prefix),
    ("com.a", MatchPolicy::Prefix),
    ("com.a.b", MatchPolicy::Prefix),
    ("org", MatchPolicy::Prefix),
    ("x", MatchPolicy::Prefix),
    ("com.a", MatchPolicy::Exact),
    ("com.a.b", MatchPolicy::Exact),
    ("com.b", MatchPolicy::Exact),
    ("com.b.c", MatchPolicy::Exact),
    ("org.a.b", MatchPolicy::Exact),
    ("com..b", MatchPolicy::Wildcard),
    ("..b", MatchPolicy::Wildcard),
    ("com.", MatchPolicy::Wildcard),
    (".a", MatchPolicy::Wildcard),
    ("", MatchPolicy::Wildcard),
];
