//! What a reload does with a key: asked of the code that decides it, by changing the key.

use serde_json::Value;
use stentor::config::{Config, Loader};
use toml::{Table, Value as Toml};

/// Whether a change of this key of a single table holds at once, and not after a restart.
#[track_caller]
pub(crate) fn holds_at_once(section: &str, key: &str, of: &Value, example: &str) -> bool {
    let name = format!("{section}.{key}");
    let own = BASES.iter().find(|it| it.0 == section || it.0 == name);
    let base = own.map_or(BASE, |it| it.1);
    for value in others(of, example) {
        let mut table: Table = base.parse().expect("it is TOML");
        let values = match section {
            "" => &mut table,
            section => {
                let empty = || Toml::Table(Table::new());
                let section = table.entry(section).or_insert_with(empty);
                section.as_table_mut().expect("a table")
            }
        };
        values.insert(key.to_owned(), value);
        if let Some(holds) = changes(base, &table.to_string()) {
            return holds;
        }
    }
    panic!("no other value of {section}.{key} is taken")
}

/// The same of a table of which there may be many.
#[track_caller]
pub(crate) fn table_holds_at_once(path: &str) -> bool {
    let (_, before, after) =
        TABLES.iter().find(|it| it.0 == path).unwrap_or_else(|| panic!("how is {path} changed?"));
    let (before, after) = (BASE.to_owned() + &before.concat(), BASE.to_owned() + &after.concat());
    changes(&before, &after).unwrap_or_else(|| panic!("{path}: nothing changes, or it is refused"))
}

/// The same of a key of such a table: as the table, if nothing else is known of it.
#[track_caller]
pub(crate) fn key_of_many_holds_at_once(path: &str, key: &str) -> bool {
    let name = format!("{path}.{key}");
    // What is said of the whole table is not said of each key.
    TABLES.iter().all(|it| it.0 != name) || table_holds_at_once(&name)
}

/// Whether all that changes is applied; `None` if nothing changes, or the change is refused.
fn changes(before: &str, after: &str) -> Option<bool> {
    let load = |text: &str| -> Option<Config> { Loader::from_text("x.toml", text).finish().ok() };
    let (_, changes) = load(before).expect("the base is right").adopt(&load(after)?);
    (!changes.is_empty()).then_some(changes.after_restart.is_empty())
}

/// Values that a key may have besides its default.
fn others(of: &Value, example: &str) -> Vec<Toml> {
    let default = of["default"].as_i64().unwrap_or(0);
    let mut values: Vec<_> = match of["type"].as_str() {
        Some("integer") => {
            let near = [default + 1, default * 2, default / 2, default - 1, 9000, 1 << 30];
            near.into_iter().filter(|value| *value >= 0).map(Toml::Integer).collect()
        }
        Some("boolean") => vec![Toml::Boolean(of["default"] != true)],
        Some("array") => vec![
            Toml::Array(vec!["anonymous".into()]),
            Toml::Array(vec!["nats://127.0.0.1:2".into()]),
        ],
        _ => Vec::new(),
    };
    for name in of["anyOf"].as_array().into_iter().flatten().flat_map(|it| it["enum"].as_array()) {
        values.extend(name.iter().filter_map(Value::as_str).map(Toml::from));
    }
    let example: Table = format!("x = {example}").parse().expect("the example is TOML");
    values.push(example["x"].clone());
    values.push("debug".into());
    values
}

/// A router that is observed, so that who manages it can change.
const BASE: &str = "[admin]\nlisten = \"127.0.0.1:9081\"\nenvironment = \"a\"\n";

/// What a section or key needs, so that it may be set.
const BASES: [(&str, &str); 9] = [
    ("cluster.user", CLUSTER_OF_A_USER),
    ("cluster.password_file", CLUSTER_OF_A_USER),
    ("cluster.certificate", CLUSTER_WITH_A_CERTIFICATE),
    ("cluster.key", CLUSTER_WITH_A_CERTIFICATE),
    ("cluster", CLUSTER),
    ("management.realm", MANAGED),
    (
        "management",
        "[admin]\nlisten = \"127.0.0.1:9081\"\n[management]\nrealm = \"realm1\"\n[[realm]]\n\
         name = \"realm1\"\n[[realm.role]]\nname = \"anonymous\"\n",
    ),
    ("storage", "[storage]\npath = \"store\"\n"),
    ("admin.unix_mode", "[admin]\nlisten = \"unix:admin.sock\"\n"),
];

const CLUSTER: &str = "[cluster]\nname = \"a\"\nnode = \"b\"\nnats = [\"nats://127.0.0.1:1\"]\n";
const CLUSTER_OF_A_USER: &str = "[cluster]\nname = \"a\"\nnode = \"b\"\n\
    nats = [\"nats://127.0.0.1:1\"]\nuser = \"c\"\npassword_file = \"d\"\n";
const CLUSTER_WITH_A_CERTIFICATE: &str = "[cluster]\nname = \"a\"\nnode = \"b\"\n\
    nats = [\"tls://127.0.0.1:1\"]\ncertificate = \"c\"\nkey = \"d\"\n";

const MANAGED: &str = "[admin]\nlisten = \"127.0.0.1:9081\"\n[[realm]]\nname = \"realm1\"\n\
    [[realm.role]]\nname = \"anonymous\"\n";

const LISTENER: &str = "[[listener]]\nlisten = \"127.0.0.1:1\"\n";
const SOCKET: &str = "[[listener]]\nlisten = \"unix:wamp.sock\"\n";
const PATH: &str = "[[listener]]\nlisten = \"127.0.0.1:1\"\n[[listener.path]]\npath = \"/x\"\n\
    http = \"publish\"\nrealm = \"a\"\nrole = \"b\"\n";
const REALM: &str = "[[realm]]\nname = \"a\"\n";
const ROLE: &str = "[[realm.role]]\nname = \"b\"\n";
const ASKING: &str = "[[realm.role]]\nname = \"b\"\n[[realm.role.permission]]\nuri = \"c\"\n\
    allow = [\"call\"]\nauthorizer = \"https://a.example.org/\"\n";

/// For each such table, two configurations that differ in it alone.
const TABLES: [(&str, &[&str], &[&str]); 15] = [
    ("listener.unix_mode", &[SOCKET], &[SOCKET, "unix_mode = \"0660\"\n"]),
    ("listener", &[LISTENER], &[LISTENER, "batched = false\n"]),
    (
        "listener.tls",
        &[LISTENER],
        &[LISTENER, "[[listener.tls]]\ncertificate = \"a\"\nkey = \"b\"\n"],
    ),
    ("listener.path", &[LISTENER], &[LISTENER, "[[listener.path]]\npath = \"/x\"\n"]),
    (
        "listener.path.key",
        &[PATH, REALM, ROLE],
        &[
            PATH,
            "[[listener.path.key]]\nname = \"c\"\n\
             hash = \"$sha256$jV2KXXd0sQWqXcXhBDPkqQ5FYsxYzX1PuqlG4EFyfUg\"\n",
            REALM,
            ROLE,
        ],
    ),
    ("realm", &[REALM], &[REALM, "disclose_peers = true\n"]),
    (
        "realm.authenticator",
        &[REALM],
        &[REALM, "[[realm.authenticator]]\nmethod = \"anonymous\"\n"],
    ),
    (
        "realm.authenticator.jwt",
        &[REALM],
        &[
            REALM,
            "[[realm.authenticator]]\nmethod = \"ticket\"\nrole = \"b\"\n\
             [realm.authenticator.jwt]\nkeys_url = \"https://login.example.org/keys\"\n",
        ],
    ),
    (
        "realm.authorizer",
        &[REALM, ASKING],
        &[
            REALM,
            "[[realm.authorizer]]\nurl = \"https://a.example.org/\"\ntimeout_ms = 99\n",
            ASKING,
        ],
    ),
    ("realm.history", &[REALM], &[REALM, "[[realm.history]]\ntopic = \"b\"\n"]),
    (
        "realm.webhook",
        &[REALM, ROLE],
        &[
            REALM,
            "[[realm.webhook]]\nname = \"c\"\nrole = \"b\"\nurl = \"https://a.example.org/\"\n\
             topics = [\"d\"]\n",
            ROLE,
        ],
    ),
    ("realm.role", &[REALM, ROLE], &[REALM, ROLE, "trustlevel = 1\n"]),
    (
        "realm.role.permission",
        &[REALM, ROLE],
        &[REALM, ROLE, "[[realm.role.permission]]\nuri = \"c\"\nallow = [\"call\"]\n"],
    ),
    ("admin.tls", &[], &["[[admin.tls]]\ncertificate = \"a\"\nkey = \"b\"\n"]),
    ("metrics.group", &[], &["[[metrics.group]]\nname = \"a\"\nprefix = \"b.\"\n"]),
];
