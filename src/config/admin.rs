//! `[admin]`: where operators see the router while it runs, and what can be wrong with it.

use core::num::NonZeroU16;

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
    /// What the dashboard calls this router, so that nobody takes one for the other: up to 40
    /// characters.
    pub environment: Option<String>,
    /// The colour of that name, as `#rrggbb`.
    pub color: Option<String>,
}

impl Admin {
    /// The port of its pages, if it is known before it listens.
    pub fn port(&self) -> Option<NonZeroU16> {
        let Some(ListenAddress::Tcp(address)) = &self.listen else { return None };
        NonZeroU16::new(address.port())
    }
}

/// Characters of the name of an environment.
const MOST_ENVIRONMENT: usize = 40;

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
    #[error("`admin.{0}` says what the dashboard looks like, and there is no admin listener")]
    Unseen(&'static str),
    #[error(
        "the dashboard shows `environment` in one line, and {0:?} is empty, longer than \
         {MOST_ENVIRONMENT} characters, or has some that cannot be seen"
    )]
    BadEnvironment(String),
    #[error("`{0}` is no colour")]
    BadColor(String),
    #[error("`admin.color` is that of `environment`, which is not set")]
    ColorAlone,
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
            Self::Unseen(_) => "add `listen = \"127.0.0.1:9080\"`, or remove it",
            Self::BadEnvironment(_) => "write a short name, as in `environment = \"production\"`",
            Self::BadColor(_) => "write red, green and blue in hex, as in `color = \"#b3261e\"`",
            Self::ColorAlone => "add `environment = \"production\"`, or remove it",
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
    check_environment(admin, findings);
}

fn check_environment(admin: &Admin, findings: &mut Findings) {
    let is_unseen = admin.listen.is_none();
    if let Some(name) = &admin.environment {
        let key = "admin.environment";
        findings.add_if(is_unseen, key, || AdminFault::Unseen("environment"));
        let can_be_seen = |letter: char| letter == ' ' || !is_blank(letter);
        let length = name.chars().count();
        let is_name = (1..=MOST_ENVIRONMENT).contains(&length) && name.chars().all(can_be_seen);
        findings.add_if(!is_name, key, || AdminFault::BadEnvironment(name.clone()));
    }
    if let Some(color) = &admin.color {
        let key = "admin.color";
        findings.add_if(is_unseen, key, || AdminFault::Unseen("color"));
        findings.add_if(admin.environment.is_none(), key, || AdminFault::ColorAlone);
        let digits = color.strip_prefix('#').unwrap_or_default();
        let is_color = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        findings.add_if(!is_color, key, || AdminFault::BadColor(color.clone()));
    }
}

fn is_blank(letter: char) -> bool {
    letter.is_control() || letter.is_whitespace()
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

#[cfg(test)]
mod tests {
    use crate::config::{Config, Loader};

    fn read(admin: &str) -> Result<Config, String> {
        let loaded = Loader::from_text("a.toml", format!("[admin]\n{admin}\n")).finish();
        loaded.map_err(|error| error.to_string())
    }

    #[test]
    fn a_router_has_a_name_and_a_colour() {
        let listen = "listen = \"127.0.0.1:9080\"\n";
        let named = format!("{listen}environment = \"production, Köln\"\ncolor = \"#B3261e\"");
        let admin = read(&named).unwrap().admin;
        assert_eq!(admin.environment.as_deref(), Some("production, Köln"));
        assert_eq!(admin.port().map(Into::into), Some(9080));
        assert_eq!(read("listen = \"127.0.0.1:0\"").unwrap().admin.port(), None);
        let long = format!("{listen}environment = \"{}\"", "ü".repeat(41));
        for (text, said) in [
            ("environment = \"test\"", "`admin.environment` says what the dashboard looks like"),
            (&long, "longer than 40 characters"),
            (&format!("{listen}environment = \"\""), "\"\" is empty"),
            (&format!("{listen}environment = \"a\\nb\""), "some that cannot be seen"),
            (&format!("{listen}color = \"#000000\""), "`environment`, which is not set"),
            (&format!("{listen}environment = \"a\"\ncolor = \"red\""), "`red` is no colour"),
            (&format!("{listen}environment = \"a\"\ncolor = \"#12345ü\""), "is no colour"),
        ] {
            let fault = read(text).unwrap_err();
            assert!(fault.contains(said), "{text}: {fault}");
        }
    }
}
