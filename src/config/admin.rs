//! `[admin]`: where operators see the router while it runs, and what can be wrong with it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Listener;
use super::admin_token::{AdminToken, TokenFileFault};
use super::check::Findings;
use super::listener::{ListenAddress, as_octal, octal_mode};
use super::tls::Tls;

/// The listener of operators: metrics, health, and what the router looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where it listens; `None`: nowhere. An address of this machine alone, where whoever connects
    /// may read, or with TLS and a token any.
    pub listen: Option<ListenAddress>,
    /// Permissions of a Unix socket's file; `None`: for its owner alone. Octal text in the file.
    #[serde(deserialize_with = "octal_mode", serialize_with = "as_octal")]
    pub unix_mode: Option<u32>,
    /// The names by which browsers and scrapers may ask for it, besides `localhost` and addresses:
    /// `Host` must be one of them, so that no page of another site reads it (DNS rebinding).
    pub hosts: Vec<String>,
    /// What is kept of the token without which nothing can be changed here.
    pub token: Option<AdminToken>,
    /// A file that holds this token instead. If it is not there when the router starts, it is made,
    /// with a random token.
    pub token_file: Option<PathBuf>,
    /// Certificates, as those of a listener for clients; empty: it speaks plainly.
    pub tls: Vec<Tls>,
}

impl Admin {
    /// Whether those who only want to see something must show the token, too: others than those on
    /// this machine can connect.
    pub fn guards_reads(&self) -> bool {
        self.listen.as_ref().is_some_and(|address| !address.is_local())
    }

    /// A listener that has its certificates, if there are some.
    pub(crate) fn tls_listener(&self) -> Option<Listener> {
        let address = self.listen.clone().filter(|_| !self.tls.is_empty())?;
        let (name, tls) = (Some("[admin]".to_owned()), self.tls.clone());
        Some(Listener { name, tls, ..Listener::on(address) })
    }
}

/// Connections that the admin listener serves at a time.
pub const ADMIN_CONNECTIONS: usize = 64;

/// What can be wrong with `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminFault {
    #[error(
        "the admin listener shows everything, and {0} can be reached from other machines: there it \
         needs TLS and a token"
    )]
    ForEverybody(ListenAddress),
    #[error("`admin.{0}` is for an admin listener on a TCP address, and there is none")]
    NeedsTcp(&'static str),
    #[error("only a Unix socket has a mode, and the admin listener is on none")]
    ModeWithoutFile,
    #[error("this certificate of the admin listener has no `key`")]
    NoPrivateKey,
    #[error("{address} is taken: a listener for clients is on {other}")]
    SameAddress { address: ListenAddress, other: ListenAddress },
    #[error("`admin.hosts` says how the admin listener is called, and there is none")]
    UnusedHosts,
    #[error("`{0}` is no name of a host")]
    BadHost(String),
    #[error("`{0}` is for changes on the admin listener, and there is none")]
    UnusedToken(&'static str),
    #[error("`token` and `token_file` exclude each other")]
    TwoTokens,
    #[error(transparent)]
    TokenFile(#[from] TokenFileFault),
}

impl AdminFault {
    pub(super) fn help(&self) -> Option<String> {
        let help = match self {
            Self::ForEverybody(_) => {
                "listen on `127.0.0.1:9080`, or add `[[admin.tls]]` and `token_file`"
            }
            Self::NeedsTcp(_) | Self::ModeWithoutFile => "remove it",
            Self::NoPrivateKey => "add a line `key = ...`",
            Self::SameAddress { .. } => "give one of them another port",
            Self::UnusedHosts | Self::UnusedToken(_) => {
                "add `listen = \"127.0.0.1:9080\"`, or remove it"
            }
            Self::TwoTokens => {
                "remove one: `token` is a hash that may be seen, `token_file` holds the token"
            }
            Self::TokenFile(fault) => return fault.help(),
            Self::BadHost(_) => {
                "write the name alone, without scheme and port, as in `hosts = \
                [\"stentor.internal\"]`"
            }
        };
        Some(help.to_owned())
    }
}

pub(super) fn check_admin(admin: &Admin, listeners: &[Listener], findings: &mut Findings) {
    if let Some(address) = &admin.listen {
        check_address(address, admin, listeners, findings);
    }
    let is_unused = admin.listen.is_none() && !admin.hosts.is_empty();
    findings.add_if(is_unused, "admin.hosts", || AdminFault::UnusedHosts);
    check_tls(admin, findings);
    let tokens = [("token", admin.token.is_some()), ("token_file", admin.token_file.is_some())];
    for (key, is_set) in tokens {
        let is_unused = is_set && admin.listen.is_none();
        findings.add_if(is_unused, format!("admin.{key}"), || AdminFault::UnusedToken(key));
    }
    let are_two = tokens.iter().all(|(_, is_set)| *is_set);
    findings.add_if(are_two, "admin.token_file", || AdminFault::TwoTokens);
    for host in &admin.hosts {
        let may_stand_in_it = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let is_host = !host.is_empty() && host.bytes().all(may_stand_in_it);
        findings.add_if(!is_host, "admin.hosts", || AdminFault::BadHost(host.clone()));
    }
}

fn check_tls(admin: &Admin, findings: &mut Findings) {
    let is_on_tcp = matches!(admin.listen, Some(ListenAddress::Tcp(_)));
    let is_unused = !admin.tls.is_empty() && !is_on_tcp;
    findings.add_if(is_unused, "admin.tls", || AdminFault::NeedsTcp("tls"));
    for (index, tls) in admin.tls.iter().enumerate() {
        let has_none = tls.key.as_os_str().is_empty();
        findings.add_if(has_none, format!("admin.tls.{index}"), || AdminFault::NoPrivateKey);
    }
    let is_on_unix = matches!(admin.listen, Some(ListenAddress::Unix(_)));
    let is_idle = admin.unix_mode.is_some() && !is_on_unix;
    findings.add_if(is_idle, "admin.unix_mode", || AdminFault::ModeWithoutFile);
}

fn check_address(
    address: &ListenAddress,
    admin: &Admin,
    listeners: &[Listener],
    findings: &mut Findings,
) {
    let key = "admin.listen";
    let has_token = admin.token.is_some() || admin.token_file.is_some();
    let is_open = admin.guards_reads() && (admin.tls.is_empty() || !has_token);
    findings.add_if(is_open, key, || AdminFault::ForEverybody(address.clone()));
    if let Some(other) = listeners.iter().find(|other| other.address.overlaps(address)) {
        let (address, other) = (address.clone(), other.address.clone());
        findings.add(key, AdminFault::SameAddress { address, other });
    }
}
