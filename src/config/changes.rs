//! What a running router makes of another configuration: what it takes over, what it cannot while
//! it runs, and a line for each.
//!
//! Values of keys are said, but never those of lists: there may be secrets in them.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::{Authenticator, Config, HistoryStore, Listener, Realm, Role};

/// What another configuration changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What holds from now on.
    pub applied: Vec<Change>,
    /// What holds when the router is started anew, and not before.
    pub after_restart: Vec<Change>,
}

/// One key or table that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// As `limits.nesting`, or ``realm `com.x`, role `user` ``.
    pub place: String,
    /// As `from 64 to 32`, `added`, `removed` or `changed`.
    pub what: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.place, self.what)
    }
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.after_restart.is_empty()
    }

    fn apply(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.applied.push(Change { place: place.into(), what: what.into() });
    }

    fn postpone(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.after_restart.push(Change { place: place.into(), what: what.into() });
    }
}

impl Config {
    /// The configuration that a router with this one can run from now on when it is asked to run
    /// another one, and what that changes.
    pub fn adopt(&self, asked: &Self) -> (Self, Changes) {
        let mut changes = Changes::default();
        let mut next = asked.clone();
        if self.shards != asked.shards {
            changes.postpone("shards", from_to(&self.shards.into(), &asked.shards.into()));
            next.shards = self.shards;
        }
        for (key, what) in differences(&self.tuning, &asked.tuning) {
            changes.postpone(format!("tuning.{key}"), what);
        }
        for (key, what) in differences(&self.storage, &asked.storage) {
            changes.postpone(format!("storage.{key}"), what);
        }
        for (key, what) in differences(&self.metrics, &asked.metrics) {
            changes.postpone(format!("metrics.{key}"), what);
        }
        for (key, what) in differences(&self.cluster, &asked.cluster) {
            changes.postpone(format!("cluster.{key}"), what);
        }
        (next.metrics, next.cluster) = (self.metrics.clone(), self.cluster.clone());
        (next.tuning, next.storage) = (self.tuning, self.storage.clone());
        for (key, what) in differences(&self.limits, &asked.limits) {
            let key = format!("limits.{key}");
            if FIXED_LIMITS.contains(&&*key) {
                changes.postpone(key, what);
            } else {
                changes.apply(key, what);
            }
        }
        let Self { limits, .. } = self;
        next.limits.login_queue = limits.login_queue;
        (next.limits.history_events, next.limits.history_bytes) =
            (limits.history_events, limits.history_bytes);
        let output = differences(&self.output, &asked.output).map(|it| ("output", it));
        let timeouts = differences(&self.timeouts, &asked.timeouts).map(|it| ("timeouts", it));
        let protocol = differences(&self.protocol, &asked.protocol).map(|it| ("protocol", it));
        for (section, (key, what)) in output.chain(timeouts).chain(protocol) {
            changes.apply(format!("{section}.{key}"), what);
        }
        if self.log.format != asked.log.format {
            changes.postpone("log.format", "changed");
            next.log.format = self.log.format;
        }
        if self.log.level != asked.log.level {
            let (old, new) = (self.log.level.as_str().into(), asked.log.level.as_str().into());
            changes.apply("log.level", from_to(&old, &new));
        }
        if self.admin != asked.admin {
            changes.postpone("admin", "changed");
            next.admin = self.admin.clone();
        }
        next.listeners = self.adopt_listeners(asked, &mut changes);
        next.realms = self.adopt_realms(asked, &mut changes);
        self.adopt_management(&mut next, &mut changes);
        (next, changes)
    }

    fn adopt_listeners(&self, asked: &Self, changes: &mut Changes) -> Vec<Listener> {
        let mut listeners = Vec::new();
        let pairs = pair(&self.listeners, &asked.listeners, |listener| &listener.address);
        for (old, new) in pairs {
            let label = old.or(new).map(Listener::label).unwrap_or_default();
            let place = format!("listener `{label}`");
            match (old, new) {
                (None, Some(new)) => {
                    changes.apply(place, "added");
                    listeners.push(new.clone());
                }
                (Some(_), None) => changes.apply(place, "removed"),
                (Some(old), Some(new)) => {
                    if old.unix_mode != new.unix_mode {
                        changes.postpone(format!("{place}, unix_mode"), "changed");
                    }
                    if self.takes_ipv4(&old.address) != asked.takes_ipv4(&new.address) {
                        changes.postpone(format!("{place}, whether it takes IPv4"), "changed");
                    }
                    let next = Listener { unix_mode: old.unix_mode, ..new.clone() };
                    if next != *old {
                        changes.apply(place, "changed, for new connections");
                    }
                    listeners.push(next);
                }
                (None, None) => {}
            }
        }
        listeners
    }

    fn adopt_realms(&self, asked: &Self, changes: &mut Changes) -> Vec<Realm> {
        let mut realms = Vec::new();
        for (old, new) in pair(&self.realms, &asked.realms, |realm| &realm.name) {
            let name = old.or(new).map(|realm| realm.name.as_str()).unwrap_or_default();
            let place = format!("realm `{name}`");
            match (old, new) {
                (None, Some(new)) if self.is_durable(new) => changes.postpone(place, "added"),
                (None, Some(new)) => {
                    changes.apply(place, "added");
                    realms.push(new.clone());
                }
                (Some(old), None) if self.is_durable(old) => {
                    changes.postpone(place, "removed");
                    realms.push(old.clone());
                }
                (Some(_), None) => changes.apply(place, "removed"),
                (Some(old), Some(new)) => realms.push(adopt_realm(&place, old, new, changes)),
                (None, None) => {}
            }
        }
        realms
    }

    /// Who manages the router changes at once, if there is a thread to ask.
    fn adopt_management(&self, next: &mut Self, changes: &mut Changes) {
        let asked = &next.management;
        let is_there = asked
            .realm
            .as_ref()
            .is_none_or(|name| next.realms.iter().any(|realm| realm.name == *name));
        let is_possible = self.is_observed() && is_there;
        for (key, what) in differences(&self.management, asked) {
            let key = format!("management.{key}");
            if is_possible { changes.apply(key, what) } else { changes.postpone(key, what) }
        }
        if is_possible {
            next.appoint_managers();
        } else {
            self.suspend_management(next, changes);
        }
        next.was_observed = self.is_observed();
    }

    /// Who is to manage the router cannot yet: it is another realm's business, so nobody does
    /// whom not both configurations name.
    fn suspend_management(&self, next: &mut Self, changes: &mut Changes) {
        next.management = self.management.clone();
        next.realms.iter_mut().for_each(|realm| realm.managers = None);
        if self.realms.iter().any(|realm| realm.managers.is_some()) {
            changes.apply("management", "suspended, until the router is started anew");
        }
    }

    /// Whether the store keeps something of a realm.
    fn is_durable(&self, realm: &Realm) -> bool {
        let mut histories = realm.histories.iter();
        self.storage.retained || histories.any(|history| history.store == HistoryStore::Durable)
    }
}

fn adopt_realm(place: &str, old: &Realm, new: &Realm, changes: &mut Changes) -> Realm {
    if old.histories != new.histories {
        changes.postpone(format!("{place}, histories"), "changed");
    }
    let next = Realm { histories: old.histories.clone(), ..new.clone() };
    for (key, what) in differences(old, &next) {
        if !TABLES_OF_REALMS.contains(&&*key) {
            changes.apply(format!("{place}, {key}"), what);
        }
    }
    if old.access.roles().is_empty() != next.access.roles().is_empty() {
        let what = if next.access.roles().is_empty() { "removed" } else { "added" };
        changes.apply(format!("{place}, all roles"), what);
    }
    for (old, new) in pair(old.access.roles(), next.access.roles(), |role| &role.name) {
        let name = old.or(new).map(|role| role.name.as_str()).unwrap_or_default();
        let place = format!("{place}, role `{name}`");
        match (old, new) {
            (None, _) => changes.apply(place, "added"),
            (_, None) => changes.apply(place, "removed"),
            (Some(old), Some(new)) if without_lines(old) != without_lines(new) => {
                changes.apply(place, "changed");
            }
            _ => {}
        }
    }
    if old.authenticators != next.authenticators {
        adopt_ways(place, &old.authenticators, &next.authenticators, changes);
    }
    next
}

fn adopt_ways(place: &str, old: &[Authenticator], new: &[Authenticator], changes: &mut Changes) {
    let without_users = |ways: &[Authenticator]| -> Vec<_> {
        ways.iter().map(|way| Authenticator { principals: Vec::new(), ..way.clone() }).collect()
    };
    if without_users(old) != without_users(new) {
        changes.apply(format!("{place}, authenticators"), "changed");
    }
    let users = |ways: &[Authenticator]| -> BTreeMap<_, _> {
        let users = ways.iter().flat_map(|way| way.principals.iter().map(move |user| (way, user)));
        users.map(|(way, user)| ((way.method, user.authid.clone()), user.clone())).collect()
    };
    let (old, new) = (users(old), users(new));
    let added = new.keys().filter(|user| !old.contains_key(user)).count();
    let removed = old.keys().filter(|user| !new.contains_key(user)).count();
    let is_changed = |(user, is): &(&_, &_)| old.get(*user).is_some_and(|was| was != *is);
    let changed = new.iter().filter(is_changed).count();
    if added + removed + changed > 0 {
        let what = format!("{added} added, {removed} removed, {changed} changed");
        changes.apply(format!("{place}, users"), what);
    }
}

/// Another line of the file is no other role.
fn without_lines(role: &Role) -> Role {
    let mut role = role.clone();
    role.permissions.iter_mut().for_each(|permission| permission.line = None);
    role
}

/// Those of the same key together, in the order of the new ones, behind them those that are not
/// among those. Of several with the same key the first ones belong together.
fn pair<'a, T, K: PartialEq>(
    old: &'a [T],
    new: &'a [T],
    key: impl Fn(&T) -> &K,
) -> Vec<(Option<&'a T>, Option<&'a T>)> {
    let mut left: Vec<_> = old.iter().collect();
    let mut pairs = Vec::new();
    for new in new {
        let found = left.iter().position(|old| key(old) == key(new));
        pairs.push((found.map(|place| left.remove(place)), Some(new)));
    }
    pairs.extend(left.into_iter().map(|old| (Some(old), None)));
    pairs
}

/// The keys of two tables that differ, and how.
fn differences<T: Serialize>(old: &T, new: &T) -> impl Iterator<Item = (String, String)> {
    let table = |table: &T| match serde_json::to_value(table) {
        Ok(Value::Object(keys)) => keys,
        _ => unreachable!("settings are tables of plain values"),
    };
    let (old, new) = (table(old), table(new));
    let differing = new.into_iter().filter_map(move |(key, is)| {
        let was = old.get(&key).cloned().unwrap_or_default();
        (was != is).then(|| (key, from_to(&was, &is)))
    });
    differing.collect::<Vec<_>>().into_iter()
}

fn from_to(was: &Value, is: &Value) -> String {
    let is_plain = |value: &Value| !value.is_array() && !value.is_object();
    if !is_plain(was) || !is_plain(is) {
        return "changed".to_owned();
    }
    let say = |value: &Value| match value {
        Value::Null => "unset".to_owned(),
        value => value.to_string(),
    };
    format!("from {} to {}", say(was), say(is))
}

/// What is made of them at the start stays as it is.
const FIXED_LIMITS: [&str; 3] =
    ["limits.login_queue", "limits.history_events", "limits.history_bytes"];

/// What is compared more closely.
const TABLES_OF_REALMS: [&str; 3] = ["role", "authenticator", "history"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Loader, MAX_SHARDS};

    fn config(text: &str) -> Config {
        Loader::from_text("stentor.toml", text).finish().unwrap()
    }

    #[track_caller]
    fn check(old: &str, new: &str, applied: &[&str], after_restart: &[&str]) -> Config {
        let (next, changes) = config(old).adopt(&config(new));
        let lines = |changes: &[Change]| changes.iter().map(Change::to_string).collect::<Vec<_>>();
        assert_eq!(lines(&changes.applied), applied);
        assert_eq!(lines(&changes.after_restart), after_restart);
        let (_, again) = next.adopt(&config(new));
        assert_eq!(again.applied, [], "what was applied is not applied again");
        assert_eq!(lines(&again.after_restart), after_restart, "and the rest is said again");
        next
    }

    #[test]
    fn the_same_configuration_changes_nothing() {
        let (next, changes) = Config::default().adopt(&Config::default());
        assert!(changes.is_empty());
        assert_eq!(next, Config::default());
    }

    #[test]
    fn keys_are_named_with_their_values() {
        let next = check(
            "shards = 1\n[limits]\nnesting = 64\n[output]\npolicy = \"disconnect\"",
            "shards = 2\n[limits]\nnesting = 32\nlogin_queue = 9\n[output]\npolicy = \"drop_newest\"
             [tuning]\nsend_buffer_bytes = 65536\n[log]\nlevel = \"warn\"",
            &[
                "limits.nesting from 64 to 32",
                "output.policy from \"disconnect\" to \"drop_newest\"",
                "log.level from \"info\" to \"warn\"",
            ],
            &[
                "shards from 1 to 2",
                "tuning.send_buffer_bytes from unset to 65536",
                "limits.login_queue from 256 to 9",
            ],
        );
        assert_eq!((next.shards, next.limits.nesting, next.limits.login_queue), (1, 32, 256));
        assert!(next.shards < MAX_SHARDS);
    }

    /// Lines of the file are no part of a permission.
    #[test]
    fn roles_are_compared_by_what_they_may_do() {
        let role = |name: &str, uri: &str| {
            format!(
                "[[realm.role]]\nname = \"{name}\"\n[[realm.role.permission]]\nuri = \"{uri}\"\n\
                 allow = [\"call\"]\n"
            )
        };
        let way = "[[realm]]\nname = \"realm1\"\n[[realm.authenticator]]\nmethod = \"anonymous\"\n";
        let old = format!("{way}{}{}{}", role("a", "com.a"), role("b", "com.b"), role("c", "x"));
        let new = format!("{way}{}{}{}", role("d", "com.a"), role("b", "com.b"), role("a", "x"));
        check(
            &old,
            &format!("\n\n{new}"),
            &[
                "realm `realm1`, role `d` added",
                "realm `realm1`, role `a` changed",
                "realm `realm1`, role `c` removed",
            ],
            &[],
        );
    }

    #[test]
    fn realms_and_listeners_come_and_go_but_for_what_is_durable() {
        let storage = "[storage]\npath = \"/tmp/store\"\n";
        let kept = "[[realm.history]]\ntopic = \"com.x\"\nstore = \"durable\"\n";
        let realm = |name: &str| format!("[[realm]]\nname = \"{name}\"\n");
        let listener = |port: u16| format!("[[listener]]\nlisten = \"127.0.0.1:{port}\"\n");
        let next = check(
            &format!("{}{}{}{}{storage}", listener(8080), realm("a"), realm("b"), kept),
            &format!(
                "{}realm = \"a\"\n{}{}uri_rule = \"strict\"\n{}{}{kept}{storage}",
                listener(8080),
                listener(8081),
                realm("a"),
                realm("c"),
                realm("d"),
            ),
            &[
                "listener `127.0.0.1:8080` changed, for new connections",
                "listener `127.0.0.1:8081` added",
                "realm `a`, uri_rule from \"loose\" to \"strict\"",
                "realm `c` added",
            ],
            &["realm `d` added", "realm `b` removed"],
        );
        let names: Vec<_> = next.realms.iter().map(|realm| realm.name.as_str()).collect();
        assert_eq!(names, ["a", "c", "b"]);
    }
}
