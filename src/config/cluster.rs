//! `[cluster]`: with which other routers this one is one, over which NATS servers, and what can be
//! wrong with that.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::check::Findings;
use crate::router::NodeName;

/// Several routers as one. Off, unless it has a name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// Nodes of one name are one router: a-z, 0-9 and -, 1 to 32 of them.
    pub name: Option<String>,
    /// This node, as the others call it; `None`: the host's name. See [`Self::node_name`].
    pub node: Option<String>,
    /// URLs of NATS servers; which of them is used does not matter.
    pub nats: Vec<String>,
    /// A file with the credentials of a NATS user: its JWT, and the seed of its key.
    pub credentials: Option<PathBuf>,
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
    pub token_file: Option<PathBuf>,
    /// A file with the seed of an NKey.
    pub nkey_file: Option<PathBuf>,
    /// Authorities that may sign certificates of NATS servers; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// This node's own certificate, if NATS asks for one, and its key.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Copies of the bucket that says who is a member; its servers' number at most. 1 to 5.
    pub replicas: usize,
    /// How long a member may be out of reach before it is none, in milliseconds. 2,000 to 600,000,
    /// from 6,000 on with [`Alone::Stop`]; `None`: see [`Self::silence_ms`].
    pub node_timeout_ms: Option<u64>,
    /// What a node does that is cut off from its cluster.
    pub alone: Alone,
    /// Where a subscription holds when SUBSCRIBED comes.
    pub visible: Visible,
    /// How long SUBSCRIBED waits for other nodes at most, in milliseconds. 1 to 10,000.
    pub visible_ms: u64,
    /// Bytes that may wait for one other node; beyond, events for it are dropped. 1 MiB to 16 GiB.
    pub queue_bytes: usize,
    /// The number of slots for what nodes want, as a power of two; alike on all nodes. 10 to 24.
    pub interest_bits: u8,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            name: None,
            node: None,
            nats: Vec::new(),
            credentials: None,
            user: None,
            password_file: None,
            token_file: None,
            nkey_file: None,
            ca: None,
            certificate: None,
            key: None,
            replicas: 1,
            node_timeout_ms: None,
            alone: Alone::default(),
            visible: Visible::default(),
            visible_ms: 250,
            queue_bytes: 64 * 1024 * 1024,
            interest_bits: 20,
        }
    }
}

/// What a node does that is cut off from its cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Alone {
    /// It serves its clients.
    #[default]
    Serve,
    /// It serves nobody, so that no procedure has callees on both sides.
    Stop,
}

/// Where a subscription holds when SUBSCRIBED comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Visible {
    /// On all nodes: it waits until they know.
    #[default]
    Everywhere,
    /// On this one: it does not wait.
    Here,
}

impl Cluster {
    /// How this node is called: as configured, or as its host, in small letters and up to the first
    /// dot.
    pub fn node_name(&self) -> Option<NodeName> {
        let host = || {
            let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
            name.split('.').next().unwrap_or_default().to_owned()
        };
        NodeName::new(&self.node.clone().unwrap_or_else(host))
    }

    /// How long a member may be out of reach before it is none, in milliseconds.
    pub fn silence_ms(&self) -> u64 {
        self.node_timeout_ms.unwrap_or(match self.alone {
            Alone::Serve => 10_000,
            Alone::Stop => 20_000,
        })
    }

    /// For how long nobody removes a node that stops if it is cut off, in milliseconds.
    pub fn stops_ms(&self) -> Option<u64> {
        (self.alone == Alone::Stop).then(|| self.silence_ms())
    }

    /// How long SUBSCRIBED waits for other nodes; 0: it does not.
    pub fn cork_ms(&self) -> u64 {
        match (&self.name, self.visible) {
            (Some(_), Visible::Everywhere) => self.visible_ms,
            (None, _) | (Some(_), Visible::Here) => 0,
        }
    }

    /// Finds its files beside the configuration's.
    pub(super) fn find_files(&mut self, folder: &Path) {
        let logins = [&mut self.credentials, &mut self.password_file, &mut self.token_file];
        let others = [&mut self.nkey_file, &mut self.ca, &mut self.certificate, &mut self.key];
        for file in logins.into_iter().chain(others).flatten() {
            *file = folder.join(&*file);
        }
    }

    /// What it is, in words.
    pub(super) fn summary(&self) -> Option<String> {
        let name = self.name.as_ref()?;
        let node =
            self.node_name().map_or_else(String::new, |node| format!(" as {}", node.as_str()));
        Some(format!("{name}{node}, over {}", self.nats.join(" ")))
    }
}

/// What can be wrong with `[cluster]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterFault {
    #[error("the cluster has no name")]
    NoName,
    #[error("`{0}` is no name of a cluster")]
    BadName(String),
    #[error("`{0}` is no name of a node")]
    BadNode(String),
    #[error("the name of this host is none for a node, and no other is given")]
    NoNode,
    #[error("no NATS server is named")]
    NoServer,
    #[error("`{0}` is no URL of a NATS server")]
    BadServer(String),
    #[error("a NATS user's name and its password stand in the URL")]
    LoginInUrl,
    #[error("a user has no password")]
    NoPassword,
    #[error("a password has no user")]
    NoUser,
    #[error("there are several ways to log in at NATS: {0}")]
    SeveralLogins(String),
    #[error("a certificate of this node and its key belong together")]
    HalfCertificate,
}

impl ClusterFault {
    pub(super) const fn help(&self) -> &'static str {
        match self {
            Self::NoName => "add `name = \"...\"` to [cluster], the same on all nodes",
            Self::BadName(_) => "use a-z, 0-9 and -, at most 32 of them",
            Self::BadNode(_) | Self::NoNode => {
                "set `node` of [cluster] to 1 to 32 of a-z, 0-9 and -, another one on each node"
            }
            Self::NoServer => "add for example `nats = [\"nats://127.0.0.1:4222\"]`",
            Self::BadServer(_) => "write it as `nats://host:4222`, or `tls://host:4222`",
            Self::LoginInUrl => "use `user` and `password_file`, or another way to log in",
            Self::NoPassword => "name its file in `password_file`",
            Self::NoUser => "name it in `user`",
            Self::SeveralLogins(_) => "keep one of them",
            Self::HalfCertificate => "set both `certificate` and `key`, or none",
        }
    }
}

pub(super) fn check_cluster(cluster: &Cluster, findings: &mut Findings) {
    let is_meant = *cluster != Cluster::default();
    check_numbers(cluster, findings);
    let Some(name) = &cluster.name else {
        let key = if cluster.nats.is_empty() { "cluster" } else { "cluster.nats" };
        return findings.add_if(is_meant, key, || ClusterFault::NoName);
    };
    let is_bad = NodeName::new(name).is_none();
    findings.add_if(is_bad, "cluster.name", || ClusterFault::BadName(name.clone()));
    if cluster.node_name().is_none() {
        let fault = cluster.node.clone().map_or(ClusterFault::NoNode, ClusterFault::BadNode);
        findings.add("cluster.node", fault);
    }
    findings.add_if(cluster.nats.is_empty(), "cluster.name", || ClusterFault::NoServer);
    for url in &cluster.nats {
        let rest = url.strip_prefix("nats://").or_else(|| url.strip_prefix("tls://"));
        let is_bad = rest.is_none_or(|rest| rest.is_empty() || rest.contains(['/', '?', ' ']));
        findings.add_if(is_bad, "cluster.nats", || ClusterFault::BadServer(url.clone()));
        let has_login = url.contains('@');
        findings.add_if(has_login, "cluster.nats", || ClusterFault::LoginInUrl);
    }
    check_login(cluster, findings);
}

fn check_numbers(cluster: &Cluster, findings: &mut Findings) {
    let mut range = |key: &str, value: u64, range, unit| {
        findings.range(&format!("cluster.{key}"), value, range, unit);
    };
    range("replicas", cluster.replicas as u64, 1..=5, "");
    let least_ms = if cluster.alone == Alone::Stop { 6_000 } else { 2_000 };
    range("node_timeout_ms", cluster.silence_ms(), least_ms..=600_000, " milliseconds");
    range("visible_ms", cluster.visible_ms, 1..=10_000, " milliseconds");
    range("queue_bytes", cluster.queue_bytes as u64, MIB..=16 * 1024 * MIB, " bytes");
    range("interest_bits", cluster.interest_bits.into(), 10..=24, "");
}

fn check_login(cluster: &Cluster, findings: &mut Findings) {
    let Cluster { credentials, user, password_file, token_file, nkey_file, .. } = cluster;
    let (has_user, has_password) = (user.is_some(), password_file.is_some());
    findings.add_if(has_user && !has_password, "cluster.user", || ClusterFault::NoPassword);
    findings.add_if(has_password && !has_user, "cluster.password_file", || ClusterFault::NoUser);
    let ways = [
        ("credentials", credentials.is_some()),
        ("user", has_user),
        ("token_file", token_file.is_some()),
        ("nkey_file", nkey_file.is_some()),
    ];
    let ways: Vec<_> = ways.iter().filter(|(_, is_set)| *is_set).map(|(key, _)| *key).collect();
    if let [_, second, ..] = &*ways {
        findings.add(format!("cluster.{second}"), ClusterFault::SeveralLogins(ways.join(", ")));
    }
    let is_half = cluster.certificate.is_some() != cluster.key.is_some();
    let half = if cluster.key.is_some() { "cluster.key" } else { "cluster.certificate" };
    findings.add_if(is_half, half, || ClusterFault::HalfCertificate);
}

const MIB: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Loader};

    fn read(cluster: &str) -> Result<Config, String> {
        let text = format!("[cluster]\n{cluster}\n");
        Loader::from_text("a.toml", text).finish().map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_name_there_is_no_cluster() {
        let config = read("").expect("nothing is asked for");
        assert_eq!((config.cluster.cork_ms(), config.cluster.summary()), (0, None));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line, said) in [
            ("nats = [\"nats://a\"]", 2, "the cluster has no name"),
            ("name = \"A_b\"\nnats = [\"nats://a:1\"]", 2, "`A_b` is no name of a cluster"),
            ("name = \"a\"", 2, "no NATS server is named"),
            ("name = \"a\"\nnats = [\"a:4222\"]", 3, "`a:4222` is no URL"),
            ("name = \"a\"\nnats = [\"ws://a:4222\"]", 3, "is no URL"),
            ("name = \"a\"\nnats = [\"nats://u:p@a:4222\"]", 3, "stand in the URL"),
            ("name = \"a\"\nnats = [\"nats://a\"]\nnode = \"B\"", 4, "`B` is no name of a node"),
            ("name = \"a\"\nnats = [\"nats://a\"]\nuser = \"u\"", 4, "has no password"),
            ("name = \"a\"\nnats = [\"nats://a\"]\npassword_file = \"p\"", 4, "has no user"),
            ("name = \"a\"\nnats = [\"nats://a\"]\nkey = \"p\"", 4, "belong together"),
            ("name = \"a\"\nnats = [\"nats://a\"]\nreplicas = 6", 4, "from 1 to 5"),
            ("name = \"a\"\nnats = [\"nats://a\"]\ninterest_bits = 30", 4, "from 10 to 24"),
            ("name = \"a\"\nnats = [\"nats://a\"]\nalone = \"go\"", 4, "`serve` or `stop`"),
            (
                "name = \"a\"\nnats = [\"nats://a\"]\nalone = \"stop\"\nnode_timeout_ms = 5999",
                5,
                "from 6000 to 600000",
            ),
            (
                "name = \"a\"\nnats = [\"nats://a\"]\ncredentials = \"c\"\ntoken_file = \"t\"",
                5,
                "several ways to log in at NATS: credentials, token_file",
            ),
        ] {
            let fault = read(text).unwrap_err();
            assert!(fault.contains(said), "{text}: {fault}");
            assert!(fault.contains(&format!("a.toml:{line}")), "{text}: {fault}");
        }
    }

    #[test]
    fn files_lie_beside_the_configuration() {
        let text = "[cluster]\nname = \"a\"\nnode = \"n\"\nnats = [\"tls://a:4222\"]\n\
                    credentials = \"nats.creds\"\nca = \"/etc/ca.pem\"\nvisible = \"here\"\n";
        let cluster = Loader::from_text("/etc/stentor/a.toml", text).finish().unwrap().cluster;
        assert_eq!(cluster.credentials.as_deref(), Some(Path::new("/etc/stentor/nats.creds")));
        assert_eq!(cluster.ca.as_deref(), Some(Path::new("/etc/ca.pem")));
        assert_eq!(cluster.cork_ms(), 0, "SUBSCRIBED waits for nobody");
        assert_eq!(cluster.summary().as_deref(), Some("a as n, over tls://a:4222"));
    }

    #[test]
    fn who_stops_has_more_patience() {
        let read = |more: &str| {
            let text = format!("name = \"a\"\nnats = [\"nats://a\"]\n{more}");
            let cluster = read(&text).expect("it is right").cluster;
            (cluster.silence_ms(), cluster.stops_ms())
        };
        assert_eq!(read(""), (10_000, None));
        assert_eq!(read("node_timeout_ms = 2000"), (2_000, None));
        assert_eq!(read("alone = \"stop\""), (20_000, Some(20_000)));
        assert_eq!(read("alone = \"stop\"\nnode_timeout_ms = 6000"), (6_000, Some(6_000)));
    }

    #[test]
    fn another_cluster_needs_a_restart() {
        let name = |name: &str| read(&format!("name = \"{name}\"\nnats = [\"nats://a\"]")).unwrap();
        let (next, changes) = name("a").adopt(&name("b"));
        assert_eq!(next.cluster.name.as_deref(), Some("a"));
        let lines: Vec<_> = changes.after_restart.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["cluster.name from \"a\" to \"b\""]);
    }
}
