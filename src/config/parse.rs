//! The text of a file to a `Config`, key by key, so that one bad key hides no other.
//!
//! Owns what is wrong with the text: syntax, unknown keys, wrong types. Ranges and what keys
//! demand of each other are `check.rs`'s.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::environment::{self, Environment, Variables};
use super::fault::{Fault, UNKNOWN_NAME, key_without_index};
use super::keys::keys_of;
use super::report::{Place, Problem};
use super::role_fault::RoleFault;
use super::{
    Access, Admin, Authenticator, Authorizer, Cluster, Config, Group, History, Listener,
    ListenerPath, Log, Metrics, PathKey, Permission, Protocol, Realm, Role, Storage, Tls, Tuning,
};
use crate::limits::{Limits, OutputLimits, Timeouts};

/// Where each key of the file has its value: `limits.nesting`, `listener.0.paths`, `listener.0`.
pub(super) type Spans = BTreeMap<String, Range<usize>>;

/// What the text says, as far as it can be understood.
pub(super) struct Parsed {
    pub(super) config: Config,
    pub(super) spans: Spans,
    /// Which of the spans are no places of the file.
    pub(super) variables: Variables,
    pub(super) problems: Vec<Problem>,
}

/// What a file says where it says nothing: it lets in whom it names, and grants what it says, so
/// the default realm is closed.
pub(super) fn silent() -> Config {
    let access = Access::Roles(Vec::new());
    let realm = Realm { authenticators: Vec::new(), access, ..Realm::default() };
    Config { development: false, realms: vec![realm], ..Config::default() }
}

/// Reads the text over `config`, and the environment over both.
pub(super) fn parse(text: &str, environment: &Environment, mut config: Config) -> Parsed {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut root = root.into_inner();
    let mut reader = Reader::default();
    let mut variables = Variables::default();
    if errors.is_empty() {
        environment::resolve(&mut root, environment, &mut reader.problems);
        variables = environment::lay_over(&mut root, text, environment, &mut reader.problems);
        reader.read_root(root, &mut config);
        note_lines(&mut config, &reader.spans, text);
    } else {
        // After a slip in the syntax the parser's idea of the keys is only a guess.
        reader.problems.extend(errors.into_iter().map(|error| {
            let place = error.span().map_or(Place::Nowhere, Place::File);
            Problem {
                fault: Fault::Syntax(error.message().trim_end_matches(", expected nothing").into()),
                place,
            }
        }));
    }
    for problem in &mut reader.problems {
        if let Place::File(span) = &problem.place {
            problem.place = variables.place(span.clone());
        }
    }
    Parsed { config, spans: reader.spans, variables, problems: reader.problems }
}

#[derive(Default)]
struct Reader {
    spans: Spans,
    problems: Vec<Problem>,
}

type Value<'t> = Spanned<DeValue<'t>>;

impl Reader {
    fn read_root(&mut self, root: DeTable<'_>, config: &mut Config) {
        let mut rest = DeTable::new();
        for (key, value) in root {
            let name = key.get_ref().clone();
            match &*name {
                "listener" => self.read_listeners(&value, &mut config.listeners),
                "realm" => self.read_realms(&value, &mut config.realms),
                "limits" => self.read_section(&name, &value, &mut config.limits),
                "output" => self.read_section(&name, &value, &mut config.output),
                "timeouts" => self.read_section(&name, &value, &mut config.timeouts),
                "protocol" => self.read_section(&name, &value, &mut config.protocol),
                "storage" => self.read_section(&name, &value, &mut config.storage),
                "tuning" => self.read_section(&name, &value, &mut config.tuning),
                "log" => self.read_section(&name, &value, &mut config.log),
                "admin" => self.read_admin(value, &mut config.admin),
                "metrics" => self.read_metrics(value, &mut config.metrics),
                "management" => self.read_section(&name, &value, &mut config.management),
                "cluster" => self.read_section(&name, &value, &mut config.cluster),
                _ => {
                    rest.insert(key, value);
                }
            }
        }
        let plain: Config = self.read_keys("", "", &rest);
        config.shards = plain.shards;
    }

    /// The realms, and the lists inside of them.
    fn read_realms(&mut self, value: &Value<'_>, realms: &mut Vec<Realm>) {
        let (value, inner) = take_out(value, &LISTS_OF_REALMS);
        self.read_list("realm", &value, Some("name"), realms);
        for (index, realm) in realms.iter_mut().enumerate() {
            // Nobody comes in whom the file does not let in, or may do what it does not grant.
            realm.authenticators.clear();
            realm.authorizers.clear();
            realm.webhooks.clear();
            realm.access = Access::Roles(Vec::new());
            let lists = inner.get(index).map(Vec::as_slice);
            let Some([authenticators, authorizers, histories, roles, webhooks]) = lists else {
                continue;
            };
            let path = |key: &str| format!("realm.{index}.{key}");
            if let Some(list) = authenticators {
                let path = path("authenticator");
                self.read_list(&path, list, Some("method"), &mut realm.authenticators);
            }
            if let Some(list) = authorizers {
                self.read_list(&path("authorizer"), list, Some("url"), &mut realm.authorizers);
            }
            if let Some(list) = histories {
                self.read_list(&path("history"), list, Some("topic"), &mut realm.histories);
            }
            if let Some(list) = webhooks {
                self.read_list(&path("webhook"), list, Some("name"), &mut realm.webhooks);
            }
            if let Some(list) = roles {
                realm.access = Access::Roles(self.read_roles(&path("role"), list));
            }
        }
    }

    /// The roles of a realm, and the permissions inside of them.
    fn read_roles(&mut self, path: &str, value: &Value<'_>) -> Vec<Role> {
        let (value, inner) = take_out(value, &["permission"]);
        let mut roles = Vec::<Role>::new();
        self.read_list(path, &value, Some("name"), &mut roles);
        for (number, role) in roles.iter_mut().enumerate() {
            if let Some([Some(list)]) = inner.get(number).map(Vec::as_slice) {
                let path = format!("{path}.{number}.permission");
                self.read_list(&path, list, Some("uri"), &mut role.permissions);
            }
        }
        roles
    }

    /// The listeners, their certificates, and the paths with rules of their own inside of them.
    fn read_listeners(&mut self, value: &Value<'_>, listeners: &mut Vec<Listener>) {
        let names_paths: Vec<_> = tables(value).map(|table| table.contains_key("paths")).collect();
        let (value, inner) = take_out(value, &["path", "tls"]);
        self.read_list("listener", &value, Some("listen"), listeners);
        for (index, listener) in listeners.iter_mut().enumerate() {
            let Some([paths, certificates]) = inner.get(index).map(Vec::as_slice) else { continue };
            if let Some(list) = certificates {
                let path = format!("listener.{index}.tls");
                self.read_list(&path, list, Some("certificate"), &mut listener.tls);
            }
            let Some(list) = paths else { continue };
            let path = format!("listener.{index}.path");
            let (list, keys) = take_out(list, &["key"]);
            self.read_list(&path, &list, Some("path"), &mut listener.paths_apart);
            for (number, apart) in listener.paths_apart.iter_mut().enumerate() {
                if let Some([Some(list)]) = keys.get(number).map(Vec::as_slice) {
                    let path = format!("{path}.{number}.key");
                    self.read_list(&path, list, Some("name"), &mut apart.keys);
                }
            }
            if names_paths[index] {
                continue;
            }
            let apart = &listener.paths_apart;
            if apart.iter().any(ListenerPath::is_websocket) {
                // What is narrowed at one path is not open at the default ones.
                listener.paths.clear();
            } else {
                listener.paths.retain(|path| !apart.iter().any(|other| other.path == *path));
            }
        }
    }

    /// The admin listener, and its certificates.
    fn read_admin(&mut self, mut value: Value<'_>, admin: &mut Admin) {
        let certificates = take_list(&mut value, "tls");
        self.read_section("admin", &value, admin);
        if let Some(list) = certificates {
            self.read_list("admin.tls", &list, Some("certificate"), &mut admin.tls);
        }
    }

    /// What is counted by name, and the groups in it.
    fn read_metrics(&mut self, mut value: Value<'_>, metrics: &mut Metrics) {
        let groups = take_list(&mut value, "group");
        self.read_section("metrics", &value, metrics);
        if let Some(list) = groups {
            self.read_list("metrics.group", &list, Some("name"), &mut metrics.groups);
        }
    }

    fn read_section<T>(&mut self, name: &str, value: &Value<'_>, section: &mut T)
    where
        T: DeserializeOwned + Default,
    {
        match value.get_ref() {
            DeValue::Table(table) => {
                *section = self.read_keys(name, &format!("[{name}]"), table);
            }
            _ => self.report(Fault::NotASection(name.into()), value.span()),
        }
    }

    fn read_list<T>(
        &mut self,
        name: &str,
        value: &Value<'_>,
        required: Option<&'static str>,
        list: &mut Vec<T>,
    ) where
        T: DeserializeOwned + Default,
    {
        self.spans.insert(name.into(), value.span());
        let DeValue::Array(items) = value.get_ref() else {
            return self.report(Fault::NotAList(key_without_index(name)), value.span());
        };
        list.clear();
        for (index, item) in items.iter().enumerate() {
            let DeValue::Table(table) = item.get_ref() else {
                self.report(Fault::NotAList(key_without_index(name)), item.span());
                continue;
            };
            let path = format!("{name}.{index}");
            let section = format!("[[{}]]", key_without_index(name));
            if let Some(key) = required.filter(|&key| !table.contains_key(key)) {
                self.report(Fault::MissingKey { key, section: section.clone() }, item.span());
            }
            list.push(self.read_keys(&path, &section, table));
            self.spans.insert(path, item.span());
        }
    }

    /// Tries every key by itself, and makes a `T` of those that are right.
    fn read_keys<T>(&mut self, path: &str, section: &str, table: &DeTable<'_>) -> T
    where
        T: DeserializeOwned + Default,
    {
        let known = keys_of::<T>();
        let mut good = DeTable::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if name == "anonymous_role" && section == "[[realm]]" {
                self.report(Fault::OldAnonymousRole, key.span());
                continue;
            }
            if !known.contains(&name) {
                self.report(unknown_key(name, section, known), key.span());
                continue;
            }
            let full_name = full_name(path, name);
            let mut single = DeTable::new();
            single.insert(key.clone(), value.clone());
            match deserialize::<T>(single) {
                Ok(_) => drop(good.insert(key.clone(), value.clone())),
                Err(error) => self.report_value(&full_name, &error, value.span()),
            }
            self.spans.insert(full_name, value.span());
        }
        deserialize(good).unwrap_or_else(|error| {
            debug_assert!(false, "each key passed by itself, but not together: {error}");
            self.report_value(path, &error, 0..0);
            T::default()
        })
    }

    fn report_value(&mut self, key: &str, error: &Error, span: Range<usize>) {
        let (key, reason) = (key_without_index(key), in_plain_words(error.message()));
        self.report(Fault::Value { key, reason }, error.span().unwrap_or(span));
    }

    fn report(&mut self, fault: Fault, span: Range<usize>) {
        self.problems.push(Problem { fault, place: Place::File(span) });
    }
}

/// The tables of a list.
fn tables<'v, 't>(value: &'v Value<'t>) -> impl Iterator<Item = &'v DeTable<'t>> {
    let items = match value.get_ref() {
        DeValue::Array(items) => Some(items),
        _ => None,
    };
    items.into_iter().flat_map(|items| items.iter()).filter_map(|item| match item.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    })
}

/// A list of tables without these keys, and for each table the values of the keys.
fn take_out<'t>(value: &Value<'t>, keys: &[&str]) -> (Value<'t>, Vec<Vec<Option<Value<'t>>>>) {
    let mut rest = value.clone();
    let mut taken = Vec::new();
    if let DeValue::Array(items) = rest.get_mut() {
        for item in items.iter_mut() {
            // What is no table is reported, and stands in no list.
            if let DeValue::Table(table) = item.get_mut() {
                taken.push(keys.iter().map(|key| table.remove(*key)).collect());
            }
        }
    }
    (rest, taken)
}

/// A list inside of a section.
fn take_list<'t>(section: &mut Value<'t>, key: &str) -> Option<Value<'t>> {
    match section.get_mut() {
        DeValue::Table(table) => table.remove(key),
        _ => None,
    }
}

/// Tells each permission the line that it begins in.
fn note_lines(config: &mut Config, spans: &Spans, text: &str) {
    let newlines: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    for (index, realm) in config.realms.iter_mut().enumerate() {
        let Access::Roles(roles) = &mut realm.access else { continue };
        for (number, role) in roles.iter_mut().enumerate() {
            for (place, permission) in role.permissions.iter_mut().enumerate() {
                let span = spans.get(&format!("realm.{index}.role.{number}.permission.{place}"));
                let line = |start| newlines.partition_point(|newline| *newline < start) + 1;
                permission.line = span.map(|span| line(span.start));
            }
        }
    }
}

pub(super) fn deserialize<T: DeserializeOwned>(table: DeTable<'_>) -> Result<T, Error> {
    T::deserialize(Spanned::new(0..0, table).into_deserializer())
}

fn full_name(path: &str, name: &str) -> String {
    if path.is_empty() { name.into() } else { format!("{path}.{name}") }
}

fn unknown_key(key: &str, section: &str, known: &[&'static str]) -> Fault {
    if (section, key) == ("[[realm]]", "anonymous_trustlevel") {
        return Fault::Role(RoleFault::MovedTrustlevel);
    }
    let belongs_to = home_of(key);
    Fault::UnknownKey { key: key.into(), section: section.into(), belongs_to, known: known.into() }
}

/// The section that `key` would be right in, as it is written; empty for the top of the file.
fn home_of(key: &str) -> Option<String> {
    let sections: [(&str, &[&str]); 21] = [
        ("[[listener]]", keys_of::<Listener>()),
        ("[[listener.path]]", keys_of::<ListenerPath>()),
        ("[[listener.path.key]]", keys_of::<PathKey>()),
        ("[[listener.tls]]", keys_of::<Tls>()),
        ("[[realm]]", keys_of::<Realm>()),
        ("[[realm.authenticator]]", keys_of::<Authenticator>()),
        ("[[realm.authorizer]]", keys_of::<Authorizer>()),
        ("[[realm.history]]", keys_of::<History>()),
        ("[[realm.role]]", keys_of::<Role>()),
        ("[[realm.role.permission]]", keys_of::<Permission>()),
        ("[limits]", keys_of::<Limits>()),
        ("[output]", keys_of::<OutputLimits>()),
        ("[timeouts]", keys_of::<Timeouts>()),
        ("[protocol]", keys_of::<Protocol>()),
        ("[storage]", keys_of::<Storage>()),
        ("[tuning]", keys_of::<Tuning>()),
        ("[log]", keys_of::<Log>()),
        ("[admin]", keys_of::<Admin>()),
        ("[metrics]", keys_of::<Metrics>()),
        ("[[metrics.group]]", keys_of::<Group>()),
        ("[cluster]", keys_of::<Cluster>()),
    ];
    let mut homes = sections.iter().filter(|(_, keys)| keys.contains(&key));
    match (homes.next(), homes.next()) {
        // Where another section has it, too, that one is meant: only few routers are nodes.
        (Some((section, _)), None | Some(("[cluster]", _))) => Some((*section).into()),
        (None, _) if keys_of::<Config>().contains(&key) => Some(String::new()),
        _ => None,
    }
}

/// Serde's sentence with Rust's type names replaced.
fn in_plain_words(message: &str) -> String {
    let mut message = message.trim().replacen("unknown variant", UNKNOWN_NAME, 1);
    for (rust, plain) in [
        ("expected usize", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        ("expected u32", "expected a whole number"),
        ("expected u16", "expected a whole number up to 65535"),
        ("expected a sequence", "expected a list in [ ]"),
        ("expected a boolean", "expected true or false"),
    ] {
        if let Some(start) = message.strip_suffix(rust) {
            message = format!("{start}{plain}");
        }
    }
    message
}

/// The lists of tables inside of a realm.
const LISTS_OF_REALMS: [&str; 5] = ["authenticator", "authorizer", "history", "role", "webhook"];
