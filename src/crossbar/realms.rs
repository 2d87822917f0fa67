//! The realms of a router worker: roles with their rules, and histories.

use super::logins::ANONYMOUS;
use super::notes::Notes;
use super::precedence::Written;
use super::rules::{Actions, permissions};
use super::section::Section;
use crate::authorization::Action;
use crate::wamp::{MatchPolicy, UriRule, is_reserved, is_valid_pattern, is_valid_uri};

#[derive(Debug)]
pub(super) struct Realm {
    pub(super) place: String,
    pub(super) name: String,
    /// The number of its worker.
    pub(super) worker: usize,
    pub(super) uri_rule: UriRule,
    pub(super) roles: Vec<Role>,
    pub(super) histories: Vec<History>,
}

#[derive(Debug)]
pub(super) struct Role {
    pub(super) place: String,
    pub(super) name: String,
    pub(super) permissions: Vec<Written>,
}

/// A topic whose events are kept.
#[derive(Debug)]
pub(super) struct History {
    pub(super) place: String,
    pub(super) topic: String,
    pub(super) policy: MatchPolicy,
    pub(super) events: Option<u64>,
}

impl Realm {
    pub(super) fn has_role(&self, name: &str) -> bool {
        self.roles.iter().any(|role| role.name == name)
    }

    /// Whether a role may register a procedure, by a rule for it or for what it begins with.
    pub(super) fn may_register(&self, role: &str, uri: &str) -> bool {
        let Some(role) = self.roles.iter().find(|known| known.name == role) else { return false };
        let covers = |one: &&Written| match one.policy {
            MatchPolicy::Exact => one.uri == uri,
            MatchPolicy::Prefix => uri.starts_with(&*one.uri),
            MatchPolicy::Wildcard => false,
        };
        let nearest = role
            .permissions
            .iter()
            .filter(covers)
            .max_by_key(|one| (one.policy == MatchPolicy::Exact, one.uri.len()));
        nearest.is_some_and(|one| one.authorizer.is_none() && one.allow.has(Action::Register))
    }
}

/// `None` if there can be no such realm.
pub(super) fn read_realm(worker: usize, section: &Section<'_>, notes: &mut Notes) -> Option<Realm> {
    let place = section.place.clone();
    section.ignore(&["id"]);
    let name = section.text("name", notes)?.to_owned();
    let (mut uri_rule, mut has_meta_api) = (UriRule::Loose, true);
    if let Some(options) = section.section("options", notes) {
        options.ignore(&["event_dispatching_chunk_size"]);
        if options.text("uri_check", notes) == Some("strict") {
            uri_rule = UriRule::Strict;
        }
        has_meta_api = options.bool("enable_meta_api", notes).unwrap_or(true);
        options.finish(notes);
    }
    if !is_valid_uri(&name, uri_rule) || is_reserved(&name) {
        section.entries().for_each(drop);
        notes.missing(place, format!("`{name}` can be no realm here: its name is not allowed"));
        return None;
    }
    let mut roles: Vec<Role> = Vec::new();
    for role in section.sections("roles", notes) {
        let Some(role) = read_role(&role, uri_rule, notes) else { continue };
        // Crossbar puts the later one in its place.
        if let Some(place) = roles.iter().position(|other| other.name == role.name) {
            let before = roles.remove(place).place;
            notes.hint(before, format!("{} takes the place of this role", role.place));
        }
        roles.push(role);
    }
    if !has_meta_api {
        roles.iter_mut().for_each(without_meta_api);
    }
    note_what_ends_others(&place, &roles, notes);
    let histories = section.section("store", notes).map(|store| histories(&store, uri_rule, notes));
    section.finish(notes);
    let histories = histories.unwrap_or_default();
    Some(Realm { place, name, worker, uri_rule, roles, histories })
}

fn read_role(section: &Section<'_>, uri_rule: UriRule, notes: &mut Notes) -> Option<Role> {
    let place = section.place.clone();
    section.ignore(&["id"]);
    let name = section.text("name", notes)?.to_owned();
    if name.is_empty() {
        notes.missing(section.at("name"), "a role has to have a name");
        return None;
    }
    let permissions = match section.text("authorizer", notes) {
        Some(authorizer) => vec![asking(section, authorizer)],
        None => permissions(section, uri_rule, notes),
    };
    section.finish(notes);
    Some(Role { place, name, permissions })
}

/// A role of which a procedure decides what it may do.
fn asking(section: &Section<'_>, authorizer: &str) -> Written {
    section.ignore(&["permissions"]);
    let place = section.at("authorizer");
    Written {
        allow: Actions::ALL,
        authorizer: Some(authorizer.to_owned()),
        comments: vec![place],
        ..Written::new("", MatchPolicy::Prefix)
    }
}

/// Without crossbar's meta API nobody has what belongs to it.
fn without_meta_api(role: &mut Role) {
    let meta = Actions::of(Action::Call).and(Actions::of(Action::Subscribe));
    for permission in &mut role.permissions {
        if permission.uri.starts_with(PROTOCOL) {
            permission.allow = permission.allow.without(meta);
            let allow = permission.allow;
            permission.disclose.retain(|who| allow.has(who.action()));
        }
    }
    role.permissions.retain(|one| !one.allow.and(one.deny).is_empty());
    let is_there = |one: &Written| one.uri == PROTOCOL && one.policy == MatchPolicy::Prefix;
    let comments = vec!["`enable_meta_api` is false in crossbar.".to_owned()];
    if let Some(permission) = role.permissions.iter_mut().find(|one| is_there(one)) {
        permission.deny = permission.deny.and(meta);
    } else if !role.permissions.is_empty() {
        let base = Written::new(PROTOCOL, MatchPolicy::Prefix);
        role.permissions.push(Written { deny: meta, comments, ..base });
    }
}

/// A rule for everything does not grant the procedures that end what belongs to others.
fn note_what_ends_others(place: &str, roles: &[Role], notes: &mut Notes) {
    let may = |role: &&Role| {
        let covers = |one: &Written| {
            let is_prefix = one.policy == MatchPolicy::Prefix;
            is_prefix && PROTOCOL.starts_with(&*one.uri) && one.uri != PROTOCOL
        };
        role.permissions.iter().any(|one| covers(one) && one.allow.has(Action::Call))
    };
    let names: Vec<_> = roles.iter().filter(may).map(|role| format!("`{}`", role.name)).collect();
    if !names.is_empty() {
        let text = format!(
            "`wamp.session.kill` and the other procedures that end what belongs to others are not \
             granted by a rule for everything: name the roles that need them in `admin_roles`. \
             Here that would be {}",
            names.join(", ")
        );
        notes.denied(place, text);
    }
}

fn histories(store: &Section<'_>, uri_rule: UriRule, notes: &mut Notes) -> Vec<History> {
    match store.text("type", notes) {
        Some("memory") => {}
        other => {
            let kind = other.unwrap_or_default();
            let text = format!(
                "a store of type `{kind}`: events are kept in memory. With `store = \"durable\"` \
                 in each history, and `[storage]`, they survive a restart"
            );
            notes.missing(store.at("type"), text);
            store.ignore(&["path", "maxsize", "readonly", "sync", "purge_on_startup"]);
        }
    }
    let limit = store.number("limit", notes);
    let mut histories: Vec<History> = Vec::new();
    for section in store.sections("event-history", notes) {
        let Some(topic) = section.text("uri", notes) else { continue };
        let policy = match section.text("match", notes) {
            Some("prefix") => MatchPolicy::Prefix,
            Some("wildcard") => MatchPolicy::Wildcard,
            _ => MatchPolicy::Exact,
        };
        let own = section.number("limit", notes);
        let events = own.or(limit).filter(|events| (1..=MAX_EVENTS).contains(events));
        section.finish(notes);
        if !is_valid_pattern(topic, policy, uri_rule) || is_reserved(topic) {
            notes.missing(section.at("uri"), format!("there is no topic `{topic}` to be kept"));
            continue;
        }
        if histories.iter().any(|other| other.topic == topic && other.policy == policy) {
            continue;
        }
        let (place, topic) = (section.place.clone(), topic.to_owned());
        histories.push(History { place, topic, policy, events });
    }
    if !histories.is_empty() {
        let text = "`wamp.subscription.get_events` answers with a list of events, as crossbar \
                    does; they have other members: see README.md, \"Event history\"";
        notes.changed(&*store.place, text);
    }
    if store.item("call-queue").is_some() {
        notes
            .missing(store.at("call-queue"), "calls are not queued for callees that are not there");
    }
    store.finish(notes);
    histories
}

/// The role that crossbar has in each realm, for components only.
pub(super) const TRUSTED: &str = "trusted";

/// Gives a realm a role that components have and the file does not describe.
pub(super) fn appoint(realm: &mut Realm, name: &str, place: &str, notes: &mut Notes) {
    if realm.has_role(name) {
        return;
    }
    let permissions = if name == TRUSTED {
        let text = "components of this role may do everything in crossbar, and so they may here; \
                    narrow it down";
        notes.hint(place, text);
        let everything =
            |uri: &str| Written { allow: Actions::ALL, ..Written::new(uri, MatchPolicy::Prefix) };
        vec![everything(""), everything(PROTOCOL)]
    } else {
        if name != ANONYMOUS {
            notes.hint(place, format!("no role `{name}` is described, so it may do nothing"));
        }
        Vec::new()
    };
    let (place, name) = (place.to_owned(), name.to_owned());
    realm.roles.push(Role { place, name, permissions });
}

/// What URIs of the protocol begin with.
const PROTOCOL: &str = "wamp.";

/// Of one history.
const MAX_EVENTS: u64 = 1_000_000;
