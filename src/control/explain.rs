//! What would come of a request now: which rule decides, who would receive the publication, and
//! which callee the call would go to. Nothing is published or called for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::ask;
use crate::authorization::{Action, Decision, Outcome, Role, RuleId, RuleOrigin, shown_authorizer};
use crate::net::View;
use crate::net::inquiry::Inquiry;
use crate::router::{Domain, Fanout, Profile, Realm, SessionRef, ShardId};
use crate::wamp::{MatchPolicy, SessionId, SubscriptionId, is_reserved, is_valid_pattern};

/// Which request is meant, and whose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    action: Action,
    uri: String,
    /// May be left out if there is only one.
    realm: Option<String>,
    /// The session that asks; else any one with this role, or nobody in particular.
    session: Option<u64>,
    role: Option<String>,
    /// For subscribe and register.
    #[serde(default, rename = "match")]
    policy: MatchPolicy,
    /// Receivers or callees that are named, up to [`MOST_SHOWN`].
    #[serde(default = "shown")]
    limit: usize,
}

const fn shown() -> usize {
    SHOWN
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadRequest {
    #[error("name one of the realms with `realm`: {0}")]
    WhichRealm(String),
    #[error("there is no realm `{0}`")]
    NoRealm(String),
    #[error("there is no session {0} on this realm")]
    NoSession(u64),
    #[error("one publishes to and calls one URI at a time: leave out `match`")]
    NoPattern,
    #[error("this URI is not valid on this realm, so the router refuses it whoever asks")]
    BadUri,
}

pub(super) async fn page(view: &View, request: &Request) -> Result<Value, BadRequest> {
    let Domain { realm, rules } = domain(view, request.realm.as_deref())?;
    let Request { action, uri, policy, .. } = request;
    let takes_patterns = matches!(action, Action::Subscribe | Action::Register);
    if *policy != MatchPolicy::Exact && !takes_patterns {
        return Err(BadRequest::NoPattern);
    }
    let longest = view.router().edition().settings.limits.uri_bytes;
    if uri.len() > longest || !is_valid_pattern(uri, *policy, rules.settings.uri_rule) {
        return Err(BadRequest::BadUri);
    }
    let asker = request.session.map(|session| asker(&realm, session)).transpose()?;
    let role = asker.as_ref().map(|(_, profile)| &*profile.authrole).or(request.role.as_deref());
    let is_served = matches!(action, Action::Publish | Action::Register) && is_reserved(uri);
    let decision = match role {
        _ if is_served => json!({ "outcome": "denied", "why": "the URI is reserved" }),
        None => Value::Null,
        Some(role) => match rules.role(role) {
            None => json!({ "outcome": "allowed", "why": "the realm has no roles" }),
            Some(found) => decision(&found.rules, *action, uri, *policy),
        },
    };
    let mut page = json!({
        "realm": &**realm.name(),
        "action": action.as_str(),
        "uri": uri,
        "role": role,
        "decision": decision,
    });
    let limit = request.limit.min(MOST_SHOWN);
    match action {
        Action::Publish => {
            let publisher = asker.map(|(session, _)| session);
            page["receivers"] = receivers(view, &realm, uri, publisher, limit).await;
        }
        Action::Call => page["callee"] = callee(&realm, uri, limit),
        Action::Subscribe | Action::Register => {}
    }
    Ok(page)
}

fn domain(view: &View, name: Option<&str>) -> Result<Domain, BadRequest> {
    let edition = view.router().edition();
    let found = match name {
        Some(name) => edition.domain(name).cloned(),
        None => {
            let mut all = edition.domains();
            match (all.next(), all.next()) {
                (Some(only), None) => Some(only.clone()),
                _ => {
                    let names = edition.realms().map(|realm| format!("`{}`", realm.name()));
                    let mut names: Vec<_> = names.take(MOST_SHOWN).collect();
                    names.sort_unstable();
                    return Err(BadRequest::WhichRealm(names.join(", ")));
                }
            }
        }
    };
    found.ok_or_else(|| BadRequest::NoRealm(name.unwrap_or_default().to_owned()))
}

fn asker(realm: &Realm, session: u64) -> Result<(SessionId, Arc<Profile>), BadRequest> {
    let found = SessionId::new(session).and_then(|id| Some((id, realm.member(id)?.profile)));
    found.ok_or(BadRequest::NoSession(session))
}

/// What the rules of a role say, and each that has to do with it, the one that decides first.
fn decision(role: &Role, action: Action, uri: &str, policy: MatchPolicy) -> Value {
    let explanation = role.explain(action, uri, policy);
    let outcome = match explanation.decision {
        Decision::Allow(_) => "allowed",
        Decision::Deny(_) => "denied",
        Decision::Ask(_) => "asks",
    };
    let mut rules = explanation.rules;
    rules.sort_by_key(|(_, outcome)| *outcome != Outcome::Decides);
    let more = rules.len().saturating_sub(RULES_SHOWN);
    rules.truncate(RULES_SHOWN);
    let rows = rules.iter().map(|(id, outcome)| rule_row(role, *id, *outcome));
    json!({
        "outcome": outcome,
        "rules": rows.collect::<Vec<_>>(),
        "more_rules": more,
        "unrelated_rules": explanation.unrelated,
    })
}

fn rule_row(role: &Role, id: RuleId, outcome: Outcome) -> Value {
    let rule = role.rule(id);
    let what = match outcome {
        Outcome::Decides => "decides",
        Outcome::Outranked => "outranked",
        Outcome::OtherAction => "other_action",
        Outcome::MatchesPart => "matches_part",
        Outcome::TooGeneral => "too_general",
        Outcome::Unheeded => "unheeded",
    };
    json!({
        "outcome": what,
        "uri": &*rule.uri,
        "match": rule.policy.as_str(),
        "line": rule.line,
        "is_admin": rule.origin == RuleOrigin::AdminRoles,
        "origin": rule.origin.as_str(),
        "authorizer": role.authorizer(id).map(|it| shown_authorizer(it)),
    })
}

/// Who has subscribed to what matches: how many, and the first of them. Lists of the publication
/// are not known, and might exclude some.
async fn receivers(
    view: &View,
    realm: &Realm,
    uri: &str,
    publisher: Option<SessionId>,
    limit: usize,
) -> Value {
    let fanouts = realm.topics.matches(uri);
    let mut wanted: BTreeMap<ShardId, Vec<SubscriptionId>> = BTreeMap::new();
    for fanout in &fanouts {
        for shard in fanout.to.shards() {
            wanted.entry(shard).or_default().push(fanout.subscription);
        }
    }
    let (mut unanswered, mut sessions, until) = (Vec::new(), Vec::new(), ask::list_ends());
    for (shard, ids) in &wanted {
        let most = limit - sessions.len();
        let ids = ids.iter().copied().take(SUBSCRIPTIONS_LOOKED_AT).collect();
        let inquiry = |answer| Inquiry::Members { ids, publisher, most, answer };
        match ask::ask(view, *shard, until, inquiry).await {
            Some(members) => sessions.extend(members.into_iter().map(|(subscription, member)| {
                let mut row = session_row(member.at, Some(&member.profile));
                row["subscription"] = subscription.get().into();
                row
            })),
            None => ask::note(&mut unanswered, *shard),
        }
        if sessions.len() >= limit {
            break;
        }
    }
    let counts = ask::receivers(view, wanted, until, &mut unanswered).await;
    let rows =
        fanouts.iter().take(MOST_SHOWN).map(|fanout| subscription_row(realm, fanout, &counts));
    json!({
        "count": counts.values().sum::<usize>(),
        "is_publisher_excluded": publisher.is_some(),
        "subscriptions": rows.collect::<Vec<_>>(),
        "sessions": sessions,
        "unanswered_shards": unanswered,
    })
}

fn subscription_row(
    realm: &Realm,
    fanout: &Fanout,
    counts: &BTreeMap<SubscriptionId, usize>,
) -> Value {
    let uri = realm.topics.get(fanout.subscription);
    json!({
        "subscription": fanout.subscription.get(),
        "uri": uri.map(|described| described.uri.to_string()),
        "match": fanout.policy.as_str(),
        "receivers": counts.get(&fanout.subscription).copied().unwrap_or_default(),
        "has_history": fanout.to.contains(crate::router::Destination::Store),
    })
}

/// Whom a call would go to, and who else has registered for it.
fn callee(realm: &Realm, uri: &str, limit: usize) -> Value {
    if is_reserved(uri) {
        return json!({ "is_router": true });
    }
    let Some(foreseen) = realm.procedures.foresee(uri) else { return Value::Null };
    let described = realm.procedures.get(foreseen.registration);
    let callees = realm.procedures.callees_after(foreseen.registration, None, limit);
    let row = |at: SessionRef| {
        session_row(at, realm.member(at.session).map(|member| member.profile).as_deref())
    };
    let callees = callees.unwrap_or_default().into_iter().map(|(_, at)| row(at));
    json!({
        "registration": foreseen.registration.get(),
        "uri": described.map(|described| described.uri.to_string()),
        "match": foreseen.policy.as_str(),
        "invoke": foreseen.invoke.as_str(),
        "count": foreseen.callees,
        "is_busy": foreseen.is_busy,
        "next": foreseen.next.map(row),
        "callees": callees.collect::<Vec<_>>(),
    })
}

fn session_row(at: SessionRef, profile: Option<&Profile>) -> Value {
    json!({
        "session": at.session.get(),
        "shard": at.shard.0,
        "authid": profile.map(|profile| &*profile.authid),
        "authrole": profile.map(|profile| &*profile.authrole),
    })
}

/// Receivers or callees that are named if nothing else is asked for, and at most.
const SHOWN: usize = 20;
const MOST_SHOWN: usize = 256;

/// Rules that are shown of a role.
const RULES_SHOWN: usize = 100;

/// Subscriptions whose receivers are looked for at a shard: one topic is matched by few.
const SUBSCRIPTIONS_LOOKED_AT: usize = 256;
