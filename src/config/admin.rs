//! `[admin]`: where operators see the router while it runs, and what can be wrong with it.

use std::net::SocketAddr;
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
    /// What the dashboard calls this router, so that nobody takes one for the other: up to 40
    /// characters.
    pub environment: Option<String>,
    /// The colour of that name, as `#rrggbb`.
    pub color: Option<String>,
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

    /// Where browsers find its pages, if that is known before it listens.
    pub fn pages(&self) -> Option<SocketAddr> {
        let Some(ListenAddress::Tcp(address)) = &self.listen else { return None };
        (address.port() != 0).then_some(*address)
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
            Self::Unseen(_) => "add `listen = \"127.0.0.1:9080\"`, or remove it",
            Self::BadEnvironment(_) => "write a short name, as in `environment = \"production\"`",
            Self::BadColor(_) => "write red, green and blue in hex, as in `color = \"#b3261e\"`",
            Self::ColorAlone => "add `environment = \"production\"`, or remove it",
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
        assert_eq!(admin.pages(), Some("127.0.0.1:9080".parse().unwrap()));
        assert_eq!(read("listen = \"127.0.0.1:0\"").unwrap().admin.pages(), None);
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
