//! What roles may do, as operators ask for it: their rules by the lines of the file, and how often
//! each role was allowed and denied something.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::authorization::{Action, Effect, Role, Rule, RuleId, RuleOrigin, shown_authorizer};
use crate::net::View;
use crate::router::{DecisionCount, RealmRole};

/// Which roles are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    realm: Option<String>,
    /// A role that is not listed has the rules of those: none, but for `admin_roles`.
    role: Option<String>,
    /// Rules that are shown in all, up to [`MOST_SHOWN`].
    #[serde(default = "shown")]
    limit: usize,
}

const fn shown() -> usize {
    SHOWN
}

/// The roles of all realms, those of a realm in the order of the file. Who has a role that is not
/// listed is `null`.
pub(super) fn page(view: &View, filter: &Filter) -> Value {
    let edition = view.router().edition();
    let mut domains: Vec<_> = edition.domains().collect();
    domains.sort_unstable_by_key(|domain| domain.realm.name());
    let (mut rows, mut open_realms) = (Vec::new(), Vec::new());
    let mut left = filter.limit.min(MOST_SHOWN);
    for domain in domains {
        let realm = &**domain.realm.name();
        if filter.realm.as_deref().is_some_and(|asked| asked != realm) {
            continue;
        }
        let mut roles: Vec<_> = domain.rules.roles().collect();
        if roles.is_empty() {
            open_realms.push(realm);
        } else if let Some(asked) = &filter.role {
            roles = domain.rules.role(asked).into_iter().collect();
        }
        rows.extend(roles.into_iter().map(|role| row(realm, role, &mut left)));
    }
    json!({ "roles": rows, "open_realms": open_realms })
}

fn row(realm: &str, role: &RealmRole, left: &mut usize) -> Value {
    let all = role.rules.rules();
    let rules: Vec<_> = all.take(*left).map(|(id, rule)| rule_row(&role.rules, id, rule)).collect();
    *left -= rules.len();
    let counts = |of: fn(&DecisionCount) -> u64| {
        let counts = role.decisions();
        let counts =
            counts.iter().map(|count| (count.action.as_str().to_owned(), of(count).into()));
        Value::Object(counts.collect::<Map<_, _>>())
    };
    json!({
        "realm": realm,
        "role": Some(role.rules.name()).filter(|name| !name.is_empty()),
        "rules": rules,
        "more_rules": role.rules.rules().len() - rules.len(),
        "allowed": counts(|count| count.allowed),
        "denied": counts(|count| count.denied),
    })
}

fn rule_row(role: &Role, id: RuleId, rule: &Rule) -> Value {
    let actions = |is_meant: fn(Effect) -> bool| {
        let actions = Action::ALL.into_iter();
        let meant = actions.filter(|action| rule.effect(*action).is_some_and(is_meant));
        meant.map(Action::as_str).collect::<Vec<_>>()
    };
    json!({
        "uri": &*rule.uri,
        "match": rule.policy.as_str(),
        "allow": actions(|effect| effect == Effect::Allow),
        "ask": actions(|effect| matches!(effect, Effect::Ask(_))),
        "deny": actions(|effect| effect == Effect::Deny),
        "authorizer": role.authorizer(id).map(|authorizer| shown_authorizer(authorizer)),
        "discloses_caller": rule.terms.discloses_caller(),
        "discloses_publisher": rule.terms.discloses_publisher(),
        "trustlevel": rule.terms.trustlevel(),
        "line": rule.line,
        "is_admin": rule.origin == RuleOrigin::AdminRoles,
        "origin": rule.origin.as_str(),
    })
}

/// Rules that are shown if nothing else is asked for, and at most.
const SHOWN: usize = 1_000;
const MOST_SHOWN: usize = 10_000;
