//! `stentor explain`: which permission decides about a request, and why the others do not.
//!
//! Asks the code that the router asks, and needs no router that runs.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use stentor::authorization::{
    Access, Action, Decision, Effect, Explanation, Outcome, Role, RoleSettings, Rule, is_endpoint,
    shown_authorizer,
};
use stentor::config::{Config, Realm};
use stentor::wamp::{MatchPolicy, is_reserved, is_valid_pattern};

/// What is asked.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) action: Action,
    pub(crate) uri: &'a str,
    pub(crate) policy: MatchPolicy,
    pub(crate) whose: Whose<'a>,
    /// Needed where there are several.
    pub(crate) realm: Option<&'a str>,
}

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    /// Any session's with this role.
    Role(&'a str),
    /// That of the user of a users file.
    Authid(&'a str),
}

/// What is said, in lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    pub(crate) text: String,
}

/// What the rules say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    Denied,
    /// It is for this procedure or endpoint to say.
    Asks(String),
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadQuestion {
    #[error("error: there are several realms\n  = help: name one of them with --realm: {0}")]
    WhichRealm(String),
    #[error("error: there is no realm `{name}`\n  = help: the realms are {realms}")]
    NoRealm { name: String, realms: String },
    #[error(
        "error: no users file of realm `{realm}` has an authid `{authid}`\n  = help: tokens, \
         endpoints and procedures give a role at login: ask with --role"
    )]
    NoUser { authid: String, realm: String },
    #[error(
        "error: `{authid}` has several roles on realm `{realm}`: {roles}\n  = help: ask with --role"
    )]
    WhichRole { authid: String, realm: String, roles: String },
    #[error("error: one {action}s one URI at a time\n  = help: leave out --match")]
    NoPattern { action: &'static str },
    #[error(
        "error: `{uri}` is not valid for the policy {policy} on realm `{realm}`, so the router \
         refuses it whoever asks"
    )]
    BadUri { uri: String, policy: &'static str, realm: String },
}

/// `file` is what the places of permissions begin with.
pub(crate) fn explain(
    config: &Config,
    file: &str,
    question: &Question<'_>,
) -> Result<Answer, BadQuestion> {
    let Question { action, uri, policy, .. } = *question;
    let realm = find_realm(config, question.realm)?;
    let role = match question.whose {
        Whose::Role(role) => role,
        Whose::Authid(authid) => role_of(realm, authid)?,
    };
    let takes_patterns = matches!(action, Action::Subscribe | Action::Register);
    if policy != MatchPolicy::Exact && !takes_patterns {
        return Err(BadQuestion::NoPattern { action: action.as_str() });
    }
    if !is_valid_pattern(uri, policy, realm.uri_rule) {
        let (uri, realm, policy) = (uri.to_owned(), realm.name.clone(), policy.as_str());
        return Err(BadQuestion::BadUri { uri, policy, realm });
    }
    let pattern = match policy {
        MatchPolicy::Exact => String::new(),
        policy => format!("{} ", policy.as_str()),
    };
    let subject = format!(
        "{} {}{pattern}`{uri}` on realm `{}`",
        action.as_str(),
        action.preposition(),
        realm.name
    );
    let is_served = matches!(action, Action::Publish | Action::Register);
    if is_served && is_reserved(uri) {
        let why = "  such URIs belong to the protocol: no client may do that\n";
        return Ok(answer(role, &subject, Verdict::Denied, why));
    }
    let Access::Roles(roles) = &realm.access else {
        let why = "  the realm has no roles, as there is no file that could say what they may\n";
        return Ok(answer(role, &subject, Verdict::Allowed, why));
    };
    let listed = roles.iter().find(|listed| listed.name == role);
    let is_admin = realm.admin_roles.iter().any(|admin| admin == role);
    let unlisted = RoleSettings::new(role, Vec::new());
    let rules = Role::new(listed.unwrap_or(&unlisted), realm.powers(role));
    let explanation = rules.explain(action, uri, policy);
    let mut why = String::new();
    if listed.is_none() && !is_admin {
        let names: Vec<_> = roles.iter().map(|role| format!("`{}`", role.name)).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let _ = writeln!(why, "  the realm has no such role; its roles: {names}");
    }
    describe(&rules, &explanation, file, &mut why);
    let verdict = match explanation.decision {
        Decision::Allow(_) => Verdict::Allowed,
        Decision::Deny(_) => Verdict::Denied,
        Decision::Ask(rule) => {
            let authorizer = rules.authorizer(rule).expect("a rule that asks says whom");
            let place = place_of(rules.rule(rule), file);
            let kind = if is_endpoint(authorizer) { "the endpoint " } else { "" };
            Verdict::Asks(format!("{kind}`{}` ({place})", shown_authorizer(authorizer)))
        }
    };
    Ok(answer(role, &subject, verdict, &why))
}

fn answer(role: &str, subject: &str, verdict: Verdict, why: &str) -> Answer {
    let said = match &verdict {
        Verdict::Allowed => format!("allowed: role `{role}` may {subject}"),
        Verdict::Denied => format!("denied: role `{role}` may not {subject}"),
        Verdict::Asks(whom) => format!("asks {whom}: whether role `{role}` may {subject}"),
    };
    Answer { verdict, text: format!("{said}\n{why}") }
}

fn find_realm<'c>(config: &'c Config, name: Option<&str>) -> Result<&'c Realm, BadQuestion> {
    let realms = || {
        let names = config.realms.iter().map(|realm| format!("`{}`", realm.name));
        names.collect::<Vec<_>>().join(", ")
    };
    match (name, &*config.realms) {
        (None, [realm]) => Ok(realm),
        (None, _) => Err(BadQuestion::WhichRealm(realms())),
        (Some(name), all) => all.iter().find(|realm| realm.name == name).ok_or_else(|| {
            let name = name.to_owned();
            BadQuestion::NoRealm { name, realms: realms() }
        }),
    }
}

/// The role that a user of a users file has.
fn role_of<'c>(realm: &'c Realm, authid: &str) -> Result<&'c str, BadQuestion> {
    let principals = realm.authenticators.iter().flat_map(|settings| &settings.principals);
    let users = principals.filter(|principal| *principal.authid == *authid);
    let roles: BTreeSet<&str> = users.map(|user| &*user.role).collect();
    let (authid, name) = (authid.to_owned(), realm.name.clone());
    let mut listed = roles.iter();
    match (listed.next(), listed.next()) {
        (Some(role), None) => Ok(role),
        (None, _) => Err(BadQuestion::NoUser { authid, realm: name }),
        (Some(_), Some(_)) => {
            let roles: Vec<_> = roles.iter().map(|role| format!("`{role}`")).collect();
            Err(BadQuestion::WhichRole { authid, realm: name, roles: roles.join(", ") })
        }
    }
}

/// One line for each rule that has to do with it, the one that decides first.
fn describe(rules: &Role, explanation: &Explanation, file: &str, text: &mut String) {
    let Explanation { decision, rules: outcomes, unrelated } = explanation;
    if *decision == Decision::Deny(None) {
        text.push_str("  no permission of the role grants it\n");
    }
    let mut lines: Vec<_> = outcomes.iter().collect();
    lines.sort_by_key(|(_, outcome)| *outcome != Outcome::Decides);
    for (id, outcome) in lines {
        let rule = rules.rule(*id);
        let why = match outcome {
            Outcome::Decides => "decides",
            Outcome::Outranked => "matches, but a more specific one decides",
            Outcome::OtherAction => "matches, but says nothing of this action",
            Outcome::MatchesPart => "matches a part of the URIs only",
            Outcome::Unheeded => "matches, but [management] alone decides about that",
            Outcome::TooGeneral => "does not begin with `wamp.`, as what ends others must be named",
        };
        let _ = writeln!(text, "  {}: {why}", describe_rule(rule, file));
    }
    if *unrelated > 0 {
        let ending = if *unrelated == 1 { "" } else { "s" };
        let _ = writeln!(text, "  {unrelated} other permission{ending}: no match");
    }
}

/// As in `stentor.toml:12: prefix `com.`, allow publish, deny call`.
fn describe_rule(rule: &Rule, file: &str) -> String {
    let listed = |word| {
        let is_named = |action: &Action| rule.effect(*action).map(name_of) == Some(word);
        let named = Action::ALL.into_iter().filter(is_named);
        named.map(Action::as_str).collect::<Vec<_>>().join(" ")
    };
    let place = place_of(rule, file);
    let mut text = format!("{place}: {} `{}`", rule.policy.as_str(), rule.uri);
    for word in ["allow", "ask about", "deny"] {
        let actions = listed(word);
        if !actions.is_empty() {
            let _ = write!(text, ", {word} {actions}");
        }
    }
    text
}

fn place_of(rule: &Rule, file: &str) -> String {
    match rule.line {
        Some(line) => format!("{file}:{line}"),
        None => rule.origin.as_str().to_owned(),
    }
}

const fn name_of(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allow",
        Effect::Ask(_) => "ask about",
        Effect::Deny => "deny",
    }
}
