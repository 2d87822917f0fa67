//! Paths of a listener where clients publish, call and listen by HTTP: who may, as whom, and what
//! such a path must say.

use serde::{Deserialize, Serialize};

use super::check::{BYTES, Findings, MESSAGE_BYTES};
use super::fault::Fault;
use super::listener::{Listener, ListenerPath};
use super::{Access, AdminToken, Authenticator, Config, Realm};

/// What HTTP requests to a path are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpUse {
    /// Publications.
    Publish,
    /// Calls.
    Call,
    /// Sessions in plain requests.
    LongPoll,
    /// Streams of events.
    Events,
}

impl HttpUse {
    /// Its name in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Call => "call",
            Self::LongPoll => "longpoll",
            Self::Events => "events",
        }
    }
}

/// A secret that lets its bearer in at a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PathKey {
    /// The authid of whoever shows it.
    pub name: String,
    /// What is kept of the secret.
    pub hash: Option<AdminToken>,
    /// The authrole of whoever shows it; `None`: that of the path.
    pub role: Option<String>,
}

/// What is wrong with a path for HTTP requests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BridgeFault {
    #[error("a path serves `files` or has `http`, and not both")]
    TwoUses,
    #[error("a listener without WebSocket speaks no HTTP")]
    WithoutHttp,
    #[error("`{0}` is for paths with `http`")]
    NeedsHttp(&'static str),
    #[error("`{0}` is for WebSockets, and this path is for others")]
    ForWebSockets(&'static str),
    #[error("`{0}` is for paths where somebody publishes or calls: by long-poll clients log in")]
    OfLongPoll(&'static str),
    #[error("`sent_status` is 202 or 204")]
    BadStatus,
    #[error("`sent_status` is for paths with `http = \"longpoll\"`")]
    NoLongPoll,
    #[error("nothing says of which realm this path is")]
    NoRealm,
    #[error("nothing says the role of those who come without a key")]
    NoRole,
    #[error("nothing says the role of those who show this key")]
    NoKeyRole,
    #[error("realm `{realm}` has no role `{role}`")]
    UnknownRole { realm: String, role: String },
    #[error("realm `{0}` has no authenticator that takes tokens at this path")]
    NoTokens(String),
    #[error("`role` is for those who come without a key, or show one: here a token is demanded")]
    RoleOfTokens,
    #[error("a key without a `hash` lets nobody in")]
    NoHash,
    #[error("an earlier key of this path has the name `{0}`")]
    SameKeyName(String),
    #[error("an earlier key of this path has this hash: who shows it would be either of them")]
    SameHash,
    #[error("`{0}` is no name of a key")]
    BadKeyName(String),
    #[error("this path has more than {MOST_KEYS} keys")]
    TooManyKeys,
    #[error(
        "`body_bytes` is for paths where somebody publishes or calls: who listens sends no body"
    )]
    NoBodies,
    #[error("bodies of {body} bytes become messages of more than `limits.message_bytes` ({limit})")]
    LongBody { body: usize, limit: usize },
}

impl BridgeFault {
    pub(super) const fn help(&self) -> &'static str {
        match self {
            Self::TwoUses => "make two paths of it",
            Self::WithoutHttp => "set `websocket = true`, or remove this path",
            Self::NeedsHttp(_) => "add for example `http = \"publish\"`, or remove it",
            Self::ForWebSockets(_) | Self::OfLongPoll(_) | Self::NoLongPoll | Self::NoBodies => {
                "remove it"
            }
            Self::BadStatus => {
                "write 202, as the specification has it, or 204, as autobahn-js needs it"
            }
            Self::NoRealm => "add a line `realm = ...`",
            Self::NoRole => "add a line `role = ...`, or a `[[listener.path.key]]`",
            Self::NoKeyRole => "add a line `role = ...` to the key or to the path",
            Self::UnknownRole { .. } => "add a `[[realm.role]]` with this `name`",
            Self::NoTokens(_) => {
                "add a `[[realm.authenticator]]` with `jwt`; if one is there, it needs this path \
                 among its `listeners`, as in `public/publish`"
            }
            Self::RoleOfTokens => "remove it: the authenticator says the role of a token",
            Self::NoHash => {
                "add a line `hash = ...`: `stentor keygen token` makes a secret and its hash"
            }
            Self::SameKeyName(_) | Self::SameHash => "rename or remove one",
            Self::BadKeyName(_) => {
                "write up to 100 visible characters: it is the authid of whoever shows the key"
            }
            Self::TooManyKeys => {
                "each one that is shown is compared with all of them: make several paths"
            }
            Self::LongBody { .. } => "lower `body_bytes`, or raise the limit",
        }
    }
}

/// The paths of all listeners.
pub(super) fn check_bridges(config: &Config, findings: &mut Findings) {
    for (index, listener) in config.listeners.iter().enumerate() {
        for (number, apart) in listener.paths_apart.iter().enumerate() {
            let path = format!("listener.{index}.path.{number}");
            let is_odd = apart.sent_status.is_some() && apart.http != Some(HttpUse::LongPoll);
            findings.add_if(is_odd, format!("{path}.sent_status"), || BridgeFault::NoLongPoll);
            match apart.http {
                Some(HttpUse::LongPoll) => check_longpoll(apart, listener, &path, findings),
                Some(_) => check_bridge(apart, listener, config, &path, findings),
                None => check_no_bridge(apart, &path, findings),
            }
        }
    }
}

fn check_longpoll(apart: &ListenerPath, listener: &Listener, path: &str, findings: &mut Findings) {
    let key = |name: &str| format!("{path}.{name}");
    findings.add_if(apart.files.is_some(), key("http"), || BridgeFault::TwoUses);
    findings.add_if(!listener.websocket, key("http"), || BridgeFault::WithoutHttp);
    for (name, is_said) in [
        ("role", apart.role.is_some()),
        ("require_ip", !apart.require_ip.is_empty()),
        ("body_bytes", apart.body_bytes.is_some()),
        ("jwt", apart.jwt),
        ("key", !apart.keys.is_empty()),
    ] {
        findings.add_if(is_said, key(name), || BridgeFault::OfLongPoll(name));
    }
    let is_odd = apart.sent_status.is_some_and(|status| ![202, 204].contains(&status));
    findings.add_if(is_odd, key("sent_status"), || BridgeFault::BadStatus);
}

fn check_no_bridge(apart: &ListenerPath, path: &str, findings: &mut Findings) {
    for (name, is_said) in [
        ("role", apart.role.is_some()),
        ("require_ip", !apart.require_ip.is_empty()),
        ("body_bytes", apart.body_bytes.is_some()),
        ("jwt", apart.jwt),
        ("key", !apart.keys.is_empty()),
    ] {
        findings.add_if(is_said, format!("{path}.{name}"), || BridgeFault::NeedsHttp(name));
    }
}

fn check_bridge(
    apart: &ListenerPath,
    listener: &Listener,
    config: &Config,
    path: &str,
    findings: &mut Findings,
) {
    let key = |name: &str| format!("{path}.{name}");
    findings.add_if(apart.files.is_some(), key("http"), || BridgeFault::TwoUses);
    findings.add_if(!listener.websocket, key("http"), || BridgeFault::WithoutHttp);
    let has_methods = !apart.authmethods.is_empty();
    findings.add_if(has_methods, key("authmethods"), || BridgeFault::ForWebSockets("authmethods"));
    findings.add_if(apart.realm.is_none(), path, || BridgeFault::NoRealm);
    let is_idle = apart.http == Some(HttpUse::Events) && apart.body_bytes.is_some();
    findings.add_if(is_idle, key("body_bytes"), || BridgeFault::NoBodies);
    if let Some(bytes) = apart.body_bytes {
        findings.range(&key("body_bytes"), bytes, MESSAGE_BYTES, BYTES);
        let (body, limit) = (bytes, config.limits.message_bytes);
        findings.add_if(bytes > limit, key("body_bytes"), || BridgeFault::LongBody { body, limit });
    }
    let has_nobody = apart.keys.is_empty() && apart.role.is_none() && !apart.jwt;
    findings.add_if(has_nobody, path, || BridgeFault::NoRole);
    let realm = config.realms.iter().find(|realm| Some(&realm.name) == apart.realm.as_ref());
    check_role(apart.role.as_ref(), realm, key("role"), findings);
    check_keys(apart, realm, path, findings);
    if apart.jwt {
        check_bearers(apart, listener, realm, &key, findings);
    }
}

/// Those who come by tokens of the realm's authenticators.
fn check_bearers(
    apart: &ListenerPath,
    listener: &Listener,
    realm: Option<&Realm>,
    key: &impl Fn(&str) -> String,
    findings: &mut Findings,
) {
    let is_idle = apart.keys.is_empty() && apart.role.is_some();
    findings.add_if(is_idle, key("role"), || BridgeFault::RoleOfTokens);
    let Some(realm) = realm else { return };
    let entrance = apart.entrance_name(listener);
    let is_for = |way: &&Authenticator| {
        let mut names = way.listeners.iter();
        way.listeners.is_empty() || names.any(|name| Some(name) == entrance.as_ref())
    };
    let has_one = realm.authenticators.iter().filter(is_for).any(|way| way.jwt.is_some());
    findings.add_if(!has_one, key("jwt"), || BridgeFault::NoTokens(realm.name.clone()));
}

fn check_keys(apart: &ListenerPath, realm: Option<&Realm>, path: &str, findings: &mut Findings) {
    let keys = &apart.keys;
    findings.add_if(keys.len() > MOST_KEYS, format!("{path}.key"), || BridgeFault::TooManyKeys);
    for (number, one) in keys.iter().enumerate() {
        let path = format!("{path}.key.{number}");
        let at = |name: &str| format!("{path}.{name}");
        let (name, length) = (&one.name, one.name.chars().count());
        let is_visible = |letter: char| !letter.is_control() && !letter.is_whitespace();
        let is_name = (1..=MOST_NAME).contains(&length) && name.chars().all(is_visible);
        findings.add_if(!is_name, at("name"), || BridgeFault::BadKeyName(name.clone()));
        let is_same = keys[..number].iter().any(|other| other.name == *name);
        findings.add_if(is_same, at("name"), || BridgeFault::SameKeyName(name.clone()));
        let has_hash = one.hash.is_some();
        // One that cannot be read is a fault of its own.
        findings.add_if(!has_hash, &*path, || BridgeFault::NoHash);
        let is_same = has_hash && keys[..number].iter().any(|other| other.hash == one.hash);
        findings.add_if(is_same, at("hash"), || BridgeFault::SameHash);
        let has_role = one.role.is_some() || apart.role.is_some();
        findings.add_if(!has_role, &*path, || BridgeFault::NoKeyRole);
        check_role(one.role.as_ref(), realm, at("role"), findings);
    }
}

fn check_role(role: Option<&String>, realm: Option<&Realm>, key: String, findings: &mut Findings) {
    let (Some(role), Some(realm)) = (role, realm) else { return };
    if role.is_empty() {
        return findings.add(key, Fault::Empty("role".into()));
    }
    let Access::Roles(roles) = &realm.access else { return };
    let is_there = roles.iter().any(|other| other.name == *role);
    findings.add_if(!is_there, key, || BridgeFault::UnknownRole {
        realm: realm.name.clone(),
        role: role.clone(),
    });
}

/// Keys of one path: each one that is shown is compared with all of them.
const MOST_KEYS: usize = 256;

/// Characters of the name of a key.
const MOST_NAME: usize = 100;

#[cfg(test)]
mod tests {
    use crate::config::{Config, Loader, Warning};

    fn loader(path: &str) -> Loader {
        let text = format!(
            "[[listener]]\nlisten = \"127.0.0.1:0\"\n[[listener.path]]\npath = \"/publish\"\n\
             {path}\n[[realm]]\nname = \"realm1\"\n[[realm.role]]\nname = \"web\"\n"
        );
        Loader::from_text("a.toml", text)
    }

    fn read(path: &str) -> Result<Config, String> {
        loader(path).finish().map_err(|error| error.to_string())
    }

    const HASH: &str = "hash = \"$sha256$jV2KXXd0sQWqXcXhBDPkqQ5FYsxYzX1PuqlG4EFyfUg\"";

    #[test]
    fn a_path_says_where_and_as_whom() {
        let config = read("http = \"publish\"\nrealm = \"realm1\"\nrole = \"web\"").unwrap();
        let listener = &config.listeners[0];
        assert_eq!(listener.paths, ["/ws", "/"], "WebSockets are opened as ever");
        assert_eq!(listener.http_paths().count(), 1);
        let key = format!("[[listener.path.key]]\nname = \"shop\"\n{HASH}\nrole = \"web\"");
        let keyed = format!("http = \"call\"\nrealm = \"realm1\"\n{key}");
        let config = read(&keyed).unwrap();
        assert_eq!(config.listeners[0].paths_apart[0].keys[0].name, "shop");
        let warns = |config: &Config| {
            config.warnings().iter().any(|one| matches!(one, Warning::PlainKeys { .. }))
        };
        assert!(!warns(&config), "nobody else can be on the way");
        let mut public = config;
        public.listeners[0].address = "0.0.0.0:8080".parse().unwrap();
        assert!(warns(&public));
        let shown = loader(&keyed).show(true).unwrap();
        assert!(shown.contains("# hash is set, and not shown"), "{shown}");
    }

    #[test]
    fn a_path_takes_tokens_of_its_realm() {
        let path = "name = \"public\"\n[[listener.path]]\npath = \"/tokens\"\nhttp = \"call\"\n\
             realm = \"realm1\"\njwt = true";
        let read = |path: &str, listeners: &str| {
            let text = format!(
                "[[listener]]\nlisten = \"127.0.0.1:0\"\n{path}\n[[realm]]\nname = \"realm1\"\n\
                 [[realm.role]]\nname = \"web\"\n[[realm.authenticator]]\nmethod = \"ticket\"\n\
                 role = \"web\"\n{listeners}\n[realm.authenticator.jwt]\n\
                 keys_url = \"https://a.example/keys\"\n"
            );
            Loader::from_text("a.toml", text).finish().map_err(|error| error.to_string())
        };
        let config = read(path, "").unwrap();
        assert!(config.listeners[0].paths_apart[0].jwt);
        read(path, "listeners = [\"public/tokens\"]").unwrap();
        for (path, listeners, said) in [
            (path, "listeners = [\"public\"]", "no authenticator that takes tokens at this path"),
            (path, "listeners = [\"public/other\"]", "no listener is named `public/other`"),
            (&format!("{path}\nrole = \"web\""), "", "here a token is demanded"),
        ] {
            let fault = read(path, listeners).unwrap_err();
            assert!(fault.contains(said), "{listeners}: {fault}");
        }
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        let path = "http = \"publish\"\nrealm = \"realm1\"\nrole = \"web\"";
        let key = |rest: &str| format!("{path}\n[[listener.path.key]]\n{rest}");
        let two = format!("name = \"a\"\n{HASH}\n[[listener.path.key]]\nname = \"a\"\n{HASH}");
        for (text, said) in [
            ("http = \"publish\"\nrole = \"web\"", "nothing says of which realm"),
            ("http = \"publish\"\nrealm = \"realm1\"", "the role of those who come without a key"),
            ("http = \"publish\"\nrealm = \"no\"\nrole = \"web\"", "`no`"),
            ("http = \"publish\"\nrealm = \"realm1\"\nrole = \"no\"", "has no role `no`"),
            ("http = \"publishing\"", "did you mean `publish`?"),
            (
                "http = \"events\"\nrealm = \"realm1\"\nrole = \"web\"\nbody_bytes = 1000",
                "sends no body",
            ),
            (&format!("{path}\njwt = true"), "no authenticator that takes tokens"),
            ("http = \"longpoll\"\njwt = true", "`jwt` is for paths where somebody publishes"),
            ("jwt = true", "`jwt` is for paths with `http`"),
            ("role = \"web\"", "`role` is for paths with `http`"),
            ("require_ip = [\"10.0.0.0/8\"]", "`require_ip` is for paths with `http`"),
            (&format!("{path}\nbody_bytes = 2000000"), "more than `limits.message_bytes`"),
            (&format!("{path}\nauthmethods = [\"ticket\"]"), "`authmethods` is for WebSockets"),
            (&format!("{path}\nfiles = \".\""), "and not both"),
            (&format!("{path}\nrequire_ip = [\"10.0.0.1/8\"]"), "require_ip"),
            (&key("name = \"a\""), "without a `hash`"),
            (&key(HASH), "`name`"),
            (&key("name = \"a b\"\nhash = \"secret\""), "`stentor keygen token`"),
            (&key(&two), "an earlier key of this path has the name `a`"),
            (&key(&format!("name = \"a\"\nrole = \"no\"\n{HASH}")), "has no role `no`"),
        ] {
            let fault = read(text).unwrap_err();
            assert!(fault.contains(said), "{text}: {fault}");
        }
    }
}
