//! What the roles of a realm must fulfil, and which of their permissions deserve a warning.

use std::collections::{BTreeMap, BTreeSet};

use super::check::Findings;
use super::fault::Fault;
use super::role_fault::RoleFault;
use super::summary::Warning;
use super::ways::{WayFault, judge_url};
use super::{Authenticator, Listener, Method, Realm};
use crate::authorization::{
    ADMINISTRATIVE, Access, Action, Decision, MAX_PERMISSIONS, MAX_RULE_COMPONENTS,
    MAX_RULE_SHAPES, OverRate, Permission, Powers, Role, RoleSettings, Rule, RuleOrigin,
    is_endpoint, shape_of,
};
use crate::limits::Limits;
use crate::wamp::{MAX_ID, MatchPolicy, is_reserved, is_valid_pattern, is_valid_uri};

pub(super) fn check_roles(realm: &Realm, path: &str, limits: &Limits, findings: &mut Findings) {
    let uri_bytes = limits.uri_bytes;
    let roles = realm.access.roles();
    for (number, role) in roles.iter().enumerate() {
        let path = format!("{path}.{number}");
        let name = format!("{path}.name");
        findings.add_if(role.name.is_empty(), &*name, || Fault::Empty("name".into()));
        let is_repeated = roles[..number].iter().any(|other| other.name == role.name);
        findings.add_if(is_repeated, &*name, || RoleFault::SameRole(role.name.clone()));
        check_level(role.trustlevel, &path, findings);
        check_rates(role, &path, limits.message_bytes, findings);
        let (count, max) = (role.permissions.len(), MAX_PERMISSIONS);
        findings.add_if(count > max, &*path, || RoleFault::TooManyPermissions { count, max });
        for (number, permission) in role.permissions.iter().enumerate() {
            let path = format!("{path}.permission.{number}");
            check_permission(permission, realm, uri_bytes, &path, findings);
        }
        check_doubles(role, &path, findings);
        check_shapes(role, &path, findings);
    }
}

fn check_level(level: Option<u64>, path: &str, findings: &mut Findings) {
    if let Some(level) = level {
        findings.range(&format!("{path}.trustlevel"), level, 0..=MAX_ID, "");
    }
}

fn check_rates(role: &RoleSettings, path: &str, message: usize, findings: &mut Findings) {
    // Nobody sees that a peer has gone that is not read: a pause is short.
    let least = message.div_ceil(LONGEST_PAUSE_S);
    let rate = role.bytes_per_second;
    let is_slow = rate > 0 && (rate as usize) < least;
    findings.add_if(is_slow, format!("{path}.bytes_per_second"), || RoleFault::SlowRate {
        rate,
        message,
        least,
    });
    for (burst, key, rate, per_second) in [
        (role.messages_burst, "messages_burst", role.messages_per_second, "messages_per_second"),
        (role.bytes_burst, "bytes_burst", role.bytes_per_second, "bytes_per_second"),
    ] {
        let is_idle = burst > 0 && rate == 0;
        findings
            .add_if(is_idle, format!("{path}.{key}"), || RoleFault::IdleBurst { key, per_second });
    }
    let idle = role.over_rate != OverRate::Wait && role.rates().is_none();
    findings.add_if(idle, format!("{path}.over_rate"), || RoleFault::IdleOverRate);
}

fn check_permission(
    permission: &Permission,
    realm: &Realm,
    limit: usize,
    path: &str,
    findings: &mut Findings,
) {
    let Permission { uri, policy, allow, deny, .. } = permission;
    let is_long = *policy == MatchPolicy::Wildcard && shape_of(uri).0 > MAX_RULE_COMPONENTS;
    let is_bad = is_long || !is_valid_pattern(uri, *policy, realm.uri_rule);
    findings.add_if(is_bad, format!("{path}.uri"), || {
        let (uri, rule) = (uri.clone(), realm.uri_rule);
        RoleFault::BadPermission { uri, policy: *policy, rule }
    });
    findings.add_if(uri.len() > limit, format!("{path}.uri"), || RoleFault::LongPermission {
        uri: uri.clone(),
        limit,
    });
    let is_empty = allow.is_empty() && deny.is_empty();
    findings.add_if(is_empty, path, || RoleFault::EmptyPermission);
    if let Some(action) = allow.iter().find(|action| deny.contains(action)) {
        findings.add(format!("{path}.deny"), RoleFault::AllowedAndDenied(*action));
    }
    let idle = permission.disclose.iter().find(|who| !allow.contains(&who.action()));
    if let Some(disclosure) = idle {
        findings.add(format!("{path}.disclose"), RoleFault::IdleDisclosure(*disclosure));
    }
    if let Some(authorizer) = &permission.authorizer {
        let key = format!("{path}.authorizer");
        check_authorizer(authorizer, realm, limit, &key, findings);
        findings.add_if(allow.is_empty(), key, || RoleFault::IdleAuthorizer);
    }
    check_level(permission.trustlevel, path, findings);
    let has_level = allow.contains(&Action::Publish) || allow.contains(&Action::Call);
    let is_idle = permission.trustlevel.is_some() && !has_level;
    findings.add_if(is_idle, format!("{path}.trustlevel"), || RoleFault::IdleTrustlevel);
}

/// It is the address of an endpoint, or a procedure that can be registered.
fn check_authorizer(
    authorizer: &str,
    realm: &Realm,
    limit: usize,
    key: &str,
    findings: &mut Findings,
) {
    // What is said of how it is asked is checked there.
    let is_said = realm.authorizers.iter().any(|settings| settings.url == authorizer);
    if is_endpoint(authorizer) {
        match judge_url(authorizer, false) {
            Err(WayFault::PlainHttp(url)) if !is_said => {
                findings.add(key, RoleFault::PlainAuthorizer(url));
            }
            Err(fault) if !is_said => findings.add(key, fault),
            _ => {}
        }
        return;
    }
    let is_good = is_valid_uri(authorizer, realm.uri_rule) && !is_reserved(authorizer);
    let is_bad = !is_good || authorizer.len() > limit;
    findings.add_if(is_bad, key, || RoleFault::BadAuthorizer(authorizer.to_owned()));
}

/// Two permissions for the same URIs must not speak of the same action.
fn check_doubles(role: &RoleSettings, path: &str, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for (number, permission) in role.permissions.iter().enumerate() {
        let named = Action::ALL.into_iter().filter(|action| permission.names(*action));
        let (uri, policy) = (&*permission.uri, permission.policy);
        let double = named.into_iter().filter(|action| !seen.insert((uri, policy, *action)));
        if let Some(action) = double.min() {
            findings
                .add(format!("{path}.permission.{number}.uri"), RoleFault::SamePermission(action));
        }
    }
}

/// A decision looks up each shape, so there are few.
fn check_shapes(role: &RoleSettings, path: &str, findings: &mut Findings) {
    let mut shapes: BTreeMap<usize, BTreeSet<u128>> = BTreeMap::new();
    for (number, permission) in role.permissions.iter().enumerate() {
        if permission.policy != MatchPolicy::Wildcard {
            continue;
        }
        let (components, open) = shape_of(&permission.uri);
        let of_as_many = shapes.entry(components).or_default();
        if of_as_many.insert(open) && of_as_many.len() == MAX_RULE_SHAPES + 1 {
            let fault = RoleFault::TooManyRuleShapes { components, max: MAX_RULE_SHAPES };
            findings.add(format!("{path}.permission.{number}.uri"), fault);
        }
    }
}

/// The sentences that the roles of a realm deserve.
pub(super) fn warnings(realm: &Realm, listeners: &[Listener]) -> Vec<Warning> {
    let Access::Roles(roles) = &realm.access else { return Vec::new() };
    if roles.is_empty() {
        return vec![Warning::NoRole(realm.name.clone())];
    }
    let unknown =
        unknown_roles(realm).into_iter().chain(authorizer_warnings(realm, roles, listeners));
    let others = roles.iter().flat_map(|role| role_warnings(realm, role));
    unknown.chain(others).collect()
}

/// Whether a role may end what belongs to others.
pub(super) fn may_administer(realm: &Realm, role: &str) -> bool {
    let powers = realm.powers(role);
    let Access::Roles(roles) = &realm.access else { return powers.is_admin };
    let settings = roles.iter().find(|settings| settings.name == role);
    let settings = settings.cloned().unwrap_or_else(|| RoleSettings::new(role, Vec::new()));
    let rules = Role::new(&settings, powers);
    let decide = |procedure: &&str| rules.authorize(Action::Call, procedure, MatchPolicy::Exact);
    ADMINISTRATIVE.iter().any(|procedure| matches!(decide(procedure), Decision::Allow(_)))
}

/// Roles that clients would join as and the realm does not have, each once.
fn unknown_roles(realm: &Realm) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut seen = BTreeSet::new();
    let mut note = |role: &str, who: String| {
        if !realm.has_role(role) && seen.insert(role.to_owned()) {
            let (realm, role) = (realm.name.clone(), role.to_owned());
            warnings.push(Warning::UnknownRole { realm, who, role });
        }
    };
    for way in &realm.authenticators {
        if let Some(jwt) = &way.jwt {
            let rules = jwt.roles.iter().map(|rule| &rule.role).chain(&way.role);
            rules.for_each(|role| note(role, "who bears a token".into()));
        } else if way.url.is_some() {
            way.role.iter().for_each(|role| note(role, "whom an endpoint says yes to".into()));
        } else if way.procedure.is_some() {
            way.role.iter().for_each(|role| note(role, "whom a procedure says yes to".into()));
        } else if way.method == Method::Anonymous {
            note(way.anonymous_role(), "clients without authentication".into());
        }
        for principal in &way.principals {
            note(&principal.role, format!("user `{}`", principal.authid));
        }
    }
    warnings
}

/// Authorizers that nobody may be, or that anybody may be.
fn authorizer_warnings(
    realm: &Realm,
    roles: &[RoleSettings],
    listeners: &[Listener],
) -> Vec<Warning> {
    let permissions = roles.iter().flat_map(|role| &role.permissions);
    let authorizers = permissions.filter_map(|p| p.authorizer.as_deref());
    let authorizers: BTreeSet<_> = authorizers.filter(|name| !is_endpoint(name)).collect();
    let warning = |procedure: &str| {
        let registrants = registrants(realm, procedure, listeners);
        let (realm, procedure) = (realm.name.clone(), procedure.to_owned());
        match registrants {
            Registrants::Nobody => Some(Warning::NoAuthorizer { realm, procedure }),
            Registrants::Anybody(role) => {
                Some(Warning::AnonymousAuthorizer { realm, procedure, role })
            }
            Registrants::Some => None,
        }
    };
    authorizers.into_iter().filter_map(warning).collect()
}

/// The same of procedures that are authenticators, each once.
pub(super) fn authenticator_warnings(realms: &[Realm], listeners: &[Listener]) -> Vec<Warning> {
    let asked: BTreeSet<_> = realms
        .iter()
        .flat_map(|realm| realm.authenticators.iter().map(move |way| (realm, way)))
        .filter_map(|(realm, way)| {
            let place = way.procedure_realm.as_deref().unwrap_or(&realm.name);
            Some((place, way.procedure.as_deref()?))
        })
        .collect();
    let warning = |(place, procedure): (&str, &str)| {
        let realm = realms.iter().find(|realm| realm.name == place)?;
        let (realm, procedure, registrants) =
            (place.to_owned(), procedure.to_owned(), registrants(realm, procedure, listeners));
        match registrants {
            Registrants::Nobody => Some(Warning::NoAuthenticator { realm, procedure }),
            Registrants::Anybody(role) => {
                Some(Warning::AnonymousAuthenticator { realm, procedure, role })
            }
            Registrants::Some => None,
        }
    };
    asked.into_iter().filter_map(warning).collect()
}

/// Who may register a procedure without asking anybody.
enum Registrants {
    Nobody,
    Some,
    /// Who proves nothing, as this role.
    Anybody(String),
}

fn registrants(realm: &Realm, procedure: &str, listeners: &[Listener]) -> Registrants {
    // A Unix socket is for those who may open it.
    let is_public = |way: &&Authenticator| {
        let names = |listener: &Listener| listener.has_way(way);
        let mut open = listeners.iter().filter(|listener| names(listener));
        open.any(|listener| listener.address.tcp().is_some())
    };
    let ways = realm.authenticators.iter();
    let strangers = ways.filter(|way| way.method == Method::Anonymous && !way.asks());
    let mut strangers = strangers.filter(is_public).map(|way| way.anonymous_role());
    let Access::Roles(roles) = &realm.access else {
        let stranger = strangers.next().map(|role| Registrants::Anybody(role.to_owned()));
        return stranger.unwrap_or(Registrants::Some);
    };
    let may = |role: &&RoleSettings| {
        let rules = Role::new(role, Powers::default());
        let decision = rules.authorize(Action::Register, procedure, MatchPolicy::Exact);
        matches!(decision, Decision::Allow(_))
    };
    let who: Vec<_> = roles.iter().filter(may).map(|role| &*role.name).collect();
    match strangers.find(|stranger| who.contains(stranger)) {
        Some(role) => Registrants::Anybody(role.to_owned()),
        None if who.is_empty() => Registrants::Nobody,
        None => Registrants::Some,
    }
}

fn role_warnings(realm: &Realm, settings: &RoleSettings) -> Vec<Warning> {
    let standing = realm.powers(&settings.name).standing;
    let (realm, role) = (realm.name.clone(), settings.name.clone());
    let starred = settings.permissions.iter().filter(|permission| permission.uri.ends_with('*'));
    let starred = starred.map(|permission| Warning::Asterisk {
        uri: permission.uri.clone(),
        place: place(permission.line),
    });
    let rules = Role::new(settings, Powers { is_admin: false, standing });
    let idle = rules.idle_rules().into_iter().map(|idle| {
        let rule = rules.rule(idle.rule);
        let (uri, place) = (rule.uri.to_string(), place(rule.line));
        Warning::IdlePermission {
            realm: realm.clone(),
            role: role.clone(),
            uri,
            place,
            action: idle.action.as_str(),
            reason: idle.because_of.map_or_else(
                || "such URIs belong to the protocol".into(),
                |other| describe_cover(rules.rule(other)),
            ),
        }
    });
    starred.chain(idle).collect()
}

fn describe_cover(rule: &Rule) -> String {
    if rule.origin != RuleOrigin::Permission {
        return format!("`{}` alone decides about it", rule.origin.as_str());
    }
    let (policy, place) = (rule.policy.as_str(), place(rule.line));
    format!("{policy} `{}`{place} is more specific and decides wherever it matches", rule.uri)
}

fn place(line: Option<usize>) -> String {
    line.map(|line| format!(" (line {line})")).unwrap_or_default()
}

/// Seconds that the longest message makes its session wait at most.
const LONGEST_PAUSE_S: usize = 60;
