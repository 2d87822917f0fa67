//! `[admin]`: where operators see the router while it runs, and what can be wrong with it.

use serde::Deserialize;

use super::Listener;
use super::check::Findings;
use super::listener::ListenAddress;

/// The listener of operators: metrics, health, and what the router looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where it listens; `None`: nowhere. An address of this machine alone, since whoever connects
    /// may read.
    pub listen: Option<ListenAddress>,
    /// The names by which browsers and scrapers may ask for it, besides `localhost` and addresses:
    /// `Host` must be one of them, so that no page of another site reads it (DNS rebinding).
    pub hosts: Vec<String>,
}

/// Connections that the admin listener serves at a time.
pub const ADMIN_CONNECTIONS: usize = 64;

/// What can be wrong with `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminFault {
    #[error(
        "the admin listener shows everything to whoever connects, and {0} can be reached from \
         other machines"
    )]
    ForEverybody(ListenAddress),
    #[error("the admin listener speaks HTTP over TCP, and this is a file")]
    OnUnixSocket,
    #[error("{address} is taken: a listener for clients is on {other}")]
    SameAddress { address: ListenAddress, other: ListenAddress },
    #[error("`admin.hosts` says how the admin listener is called, and there is none")]
    UnusedHosts,
    #[error("`{0}` is no name of a host")]
    BadHost(String),
}

impl AdminFault {
    pub(super) const fn help(&self) -> &'static str {
        match self {
            Self::ForEverybody(_) => {
                "listen on `127.0.0.1:9080`, and let others in by a proxy that knows them"
            }
            Self::OnUnixSocket => "write `listen = \"127.0.0.1:9080\"`",
            Self::SameAddress { .. } => "give one of them another port",
            Self::UnusedHosts => "add `listen = \"127.0.0.1:9080\"`, or remove it",
            Self::BadHost(_) => {
                "write the name alone, without scheme and port, as in `hosts = \
                [\"stentor.internal\"]`"
            }
        }
    }
}

pub(super) fn check_admin(admin: &Admin, listeners: &[Listener], findings: &mut Findings) {
    if let Some(address) = &admin.listen {
        check_address(address, listeners, findings);
    }
    let is_unused = admin.listen.is_none() && !admin.hosts.is_empty();
    findings.add_if(is_unused, "admin.hosts", || AdminFault::UnusedHosts);
    for host in &admin.hosts {
        let may_stand_in_it = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let is_host = !host.is_empty() && host.bytes().all(may_stand_in_it);
        findings.add_if(!is_host, "admin.hosts", || AdminFault::BadHost(host.clone()));
    }
}

fn check_address(address: &ListenAddress, listeners: &[Listener], findings: &mut Findings) {
    let key = "admin.listen";
    if matches!(address, ListenAddress::Unix(_)) {
        return findings.add(key, AdminFault::OnUnixSocket);
    }
    findings.add_if(!address.is_local(), key, || AdminFault::ForEverybody(address.clone()));
    if let Some(other) = listeners.iter().find(|other| other.address.overlaps(address)) {
        let (address, other) = (address.clone(), other.address.clone());
        findings.add(key, AdminFault::SameAddress { address, other });
    }
}
