//! `[metrics]`: what `/metrics` counts apart, and what can be wrong with that.

use serde::{Deserialize, Serialize};

use super::check::Findings;
use super::{Config, Group};
use crate::router::{MAX_CLIENT_NAMES, MAX_URI_GROUPS, OTHER_CLIENTS, client_key, client_name};
use crate::wamp::{MatchPolicy, UriRule, is_valid_pattern};

/// What is counted by names of the operator's choice: nothing, unless some are given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Names of client libraries, up to [`MAX_CLIENT_NAMES`], as their `agent` in HELLO begins:
    /// letters and digits are compared, without their case.
    pub clients: Vec<String>,
    /// Groups of URIs, up to [`MAX_URI_GROUPS`].
    #[serde(rename = "group")]
    pub groups: Vec<Group>,
}

/// What can be wrong with `[metrics]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricsFault {
    #[error("`metrics.{0}` says what `/metrics` shows, and there is no admin listener")]
    Unseen(&'static str),
    #[error("`metrics.{key}` has {count} entries; {most} are counted at most")]
    TooMany { key: &'static str, count: usize, most: usize },
    #[error(
        "{0:?} is no name of a client: it is longer than {MOST_NAME} characters, or has no letters \
         and digits, or has some that cannot be seen"
    )]
    BadClient(String),
    #[error("`{name}` has a version, and the names of clients are compared without theirs")]
    Version { name: String, plain: String },
    #[error("`{0}` and an earlier name are the same client")]
    SameClient(String),
    #[error("`{OTHER_CLIENTS}` stands for all clients that are not named")]
    Others,
    #[error(
        "{0:?} is no name of a group: it is empty, longer than {MOST_NAME} characters, or has some \
         that cannot be seen"
    )]
    BadGroup(String),
    #[error("there is an earlier group `{0}`")]
    SameGroup(String),
    #[error("group `{0}` has no `prefix`")]
    NoPrefix(String),
    #[error("no URI begins with {0:?}")]
    BadPrefix(String),
    #[error(
        "the prefix of group `{name}` has {bytes} bytes, more than `limits.uri_bytes` ({limit})"
    )]
    LongPrefix { name: String, bytes: usize, limit: usize },
    #[error("the groups `{name}` and `{other}` have the same prefix")]
    SamePrefix { name: String, other: String },
}

impl MetricsFault {
    pub(super) fn help(&self) -> String {
        match self {
            Self::Unseen(_) => "add `[admin]` with `listen = \"127.0.0.1:9080\"`, or remove it",
            Self::TooMany { .. } => "name those alone whose numbers somebody looks at",
            Self::BadClient(_) => "write it as clients do, as in `clients = [\"wampy.js\"]`",
            Self::Version { plain, .. } => return format!("write `{plain}`"),
            Self::SameClient(_) => {
                "remove one: letters and digits are compared, without their case"
            }
            Self::Others => "remove it: they are counted as soon as others are named",
            Self::BadGroup(_) => "write a short name, as in `name = \"shop\"`",
            Self::SameGroup(_) => "give one of them another name",
            Self::NoPrefix(_) => "add a line `prefix = ...`, as in `prefix = \"com.shop.\"`",
            Self::BadPrefix(_) => "write how URIs begin, as in `prefix = \"com.shop.\"`",
            Self::LongPrefix { .. } => "shorten the prefix or raise the limit",
            Self::SamePrefix { .. } => "remove one",
        }
        .into()
    }
}

pub(super) fn check_metrics(config: &Config, findings: &mut Findings) {
    let Metrics { clients, groups } = &config.metrics;
    for (key, count, most) in
        [("clients", clients.len(), MAX_CLIENT_NAMES), ("group", groups.len(), MAX_URI_GROUPS)]
    {
        let path = format!("metrics.{key}");
        let is_unseen = config.admin.listen.is_none() && count > 0;
        findings.add_if(is_unseen, &*path, || MetricsFault::Unseen(key));
        findings.add_if(count > most, path, || MetricsFault::TooMany { key, count, most });
    }
    for (index, name) in clients.iter().enumerate() {
        check_client(name, &clients[..index], "metrics.clients", findings);
    }
    for (index, group) in groups.iter().enumerate() {
        let path = format!("metrics.group.{index}");
        let limit = config.limits.uri_bytes;
        check_group(group, &groups[..index], (&path, limit), findings);
    }
}

/// `limit`: bytes of a URI.
fn check_group(
    group: &Group,
    earlier: &[Group],
    (path, limit): (&str, usize),
    findings: &mut Findings,
) {
    let Group { name, prefix } = group;
    let key = format!("{path}.name");
    findings.add_if(!is_label(name), &*key, || MetricsFault::BadGroup(name.clone()));
    let is_same = earlier.iter().any(|other| other.name == *name);
    findings.add_if(is_same, key, || MetricsFault::SameGroup(name.clone()));
    if prefix.is_empty() {
        return findings.add(path, MetricsFault::NoPrefix(name.clone()));
    }
    let key = format!("{path}.prefix");
    let is_valid = is_valid_pattern(prefix, MatchPolicy::Prefix, UriRule::Loose);
    findings.add_if(!is_valid, &*key, || MetricsFault::BadPrefix(prefix.clone()));
    findings.add_if(prefix.len() > limit, &*key, || MetricsFault::LongPrefix {
        name: name.clone(),
        bytes: prefix.len(),
        limit,
    });
    if let Some(other) = earlier.iter().find(|other| other.prefix == *prefix) {
        let (name, other) = (name.clone(), other.name.clone());
        findings.add(key, MetricsFault::SamePrefix { name, other });
    }
}

fn check_client(name: &String, earlier: &[String], key: &str, findings: &mut Findings) {
    let (letters, plain) = (client_key(name), client_name(name).trim());
    if !is_label(name) || letters.is_empty() {
        return findings.add(key, MetricsFault::BadClient(name.clone()));
    }
    findings.add_if(plain != name, key, || {
        let (name, plain) = (name.clone(), plain.to_owned());
        MetricsFault::Version { name, plain }
    });
    findings.add_if(letters == OTHER_CLIENTS, key, || MetricsFault::Others);
    let is_same = earlier.iter().any(|other| client_key(other) == letters);
    findings.add_if(is_same, key, || MetricsFault::SameClient(name.clone()));
}

/// Whether a name can stand in a label.
fn is_label(name: &str) -> bool {
    let length = name.chars().count();
    (1..=MOST_NAME).contains(&length) && !name.contains(char::is_control)
}

/// Characters of a name.
const MOST_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use crate::config::{Config, Loader};

    fn read(metrics: &str) -> Result<Config, String> {
        let text = format!("[admin]\nlisten = \"127.0.0.1:9080\"\n[metrics]\n{metrics}\n");
        Loader::from_text("a.toml", text).finish().map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(metrics: &str, said: &str) {
        let fault = read(metrics).unwrap_err();
        assert!(fault.contains(said) && fault.contains("a.toml:4"), "{metrics}: {fault}");
    }

    #[test]
    fn clients_are_named_without_versions_and_once() {
        let good = read("clients = [\"autobahn-python\", \"wampy.js\", \"Ü\"]").unwrap();
        assert_eq!(good.metrics.clients, ["autobahn-python", "wampy.js", "Ü"]);
        let list = |count: usize| {
            let names: Vec<_> = (0..count).map(|number| format!("\"client{number}\"")).collect();
            format!("clients = [{}]", names.join(", "))
        };
        assert!(read(&list(32)).is_ok());
        refused(&list(33), "33 entries; 32 are counted at most");
        refused("clients = [\"\"]", "\"\" is no name");
        refused("clients = [\"-.-\"]", "\"-.-\" is no name");
        refused("clients = [\"a\\nb\"]", "is no name");
        refused(&format!("clients = [\"{}\"]", "ü".repeat(65)), "longer than 64");
        assert!(read(&format!("clients = [\"{}\"]", "ü".repeat(64))).is_ok());
        refused("clients = [\"AutobahnPython/24.4.2\"]", "write `AutobahnPython`");
        refused("clients = [\"wampy.js v7\"]", "write `wampy.js`");
        refused("clients = [\"Wampy.js\", \"wampyJS\"]", "`wampyJS` and an earlier name");
        refused("clients = [\"Other\"]", "all clients that are not named");
    }

    fn group(name: &str, prefix: &str) -> String {
        format!("[[metrics.group]]\nname = \"{name}\"\nprefix = \"{prefix}\"\n")
    }

    #[test]
    fn groups_have_names_and_prefixes_of_their_own() {
        let shop = group("shop", "com.shop.");
        let good = read(&format!("{shop}{}", group("Läden", "com.shop"))).unwrap();
        let found: Vec<_> = good.metrics.groups.iter().map(|one| &*one.prefix).collect();
        assert_eq!(found, ["com.shop.", "com.shop"]);
        let many = |count: usize| -> String {
            (0..count).map(|number| group(&format!("g{number}"), &format!("c{number}"))).collect()
        };
        assert!(read(&many(16)).is_ok());
        let check = |text: &str, said: &str, line: &str| {
            let fault = read(text).unwrap_err();
            assert!(fault.contains(said) && fault.contains(line), "{text}: {fault}");
        };
        check(&many(17), "17 entries; 16 are counted at most", "a.toml:4");
        check(&group("", "com.x"), "\"\" is no name of a group", "a.toml:5");
        check("[[metrics.group]]\nprefix = \"com.x\"", "has no `name`", "a.toml:4");
        check("[[metrics.group]]\nname = \"x\"", "group `x` has no `prefix`", "a.toml:4");
        check(&group("x", ""), "group `x` has no `prefix`", "a.toml:4");
        for prefix in ["com x", "com..x", "com.#"] {
            check(&group("x", prefix), "no URI begins with", "a.toml:6");
        }
        check(&format!("{shop}{}", group("shop", "b")), "an earlier group `shop`", "a.toml:8");
        check(&format!("{shop}{}", group("b", "com.shop.")), "the same prefix", "a.toml:9");
        let long = format!("{}[limits]\nuri_bytes = 256", group("x", &"y".repeat(257)));
        check(&long, "257 bytes, more than `limits.uri_bytes` (256)", "a.toml:6");
    }

    #[test]
    fn somebody_must_be_able_to_see_them() {
        let text = "[metrics]\nclients = [\"wampy.js\"]";
        let fault = Loader::from_text("a.toml", text).finish().unwrap_err().to_string();
        assert!(fault.contains("`metrics.clients` says what `/metrics` shows"), "{fault}");
    }

    /// What was counted as something goes on being that.
    #[test]
    fn another_list_needs_a_restart() {
        let (old, new) = (read("clients = [\"a\"]").unwrap(), read("clients = [\"b\"]").unwrap());
        let (next, changes) = old.adopt(&new);
        assert_eq!(next.metrics, old.metrics);
        assert!(changes.applied.is_empty());
        assert_eq!(changes.after_restart[0].to_string(), "metrics.clients changed");
    }
}
