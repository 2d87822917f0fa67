//! `[metrics]`: what `/metrics` counts apart, and what can be wrong with that.

use serde::{Deserialize, Serialize};

use super::Admin;
use super::check::Findings;
use crate::router::{MAX_CLIENT_NAMES, OTHER_CLIENTS, client_key, client_name};

/// What is counted by names of the operator's choice: nothing, unless some are given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Names of client libraries, up to [`MAX_CLIENT_NAMES`], as their `agent` in HELLO begins:
    /// letters and digits are compared, without their case.
    pub clients: Vec<String>,
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
        }
        .into()
    }
}

pub(super) fn check_metrics(metrics: &Metrics, admin: &Admin, findings: &mut Findings) {
    let Metrics { clients } = metrics;
    let is_unseen = admin.listen.is_none() && !clients.is_empty();
    let key = "metrics.clients";
    findings.add_if(is_unseen, key, || MetricsFault::Unseen("clients"));
    findings.add_if(clients.len() > MAX_CLIENT_NAMES, key, || MetricsFault::TooMany {
        key: "clients",
        count: clients.len(),
        most: MAX_CLIENT_NAMES,
    });
    for (index, name) in clients.iter().enumerate() {
        check_client(name, &clients[..index], key, findings);
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
