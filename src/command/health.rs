//! `stentor health`: whether clients should come to a router, asked on its own machine.
//!
//! For containers and scripts, which look at the exit code. It shows no token, as this is open to
//! everybody who can connect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use stentor::config::{Config, ConfigError, Environment, ListenAddress, Listener, Loader};

use crate::command::operator::{AdminFlags, Ask, OperatorError, printable};
use crate::shell::fault;

/// Which router is asked, and where.
#[derive(Args, Debug)]
pub(crate) struct HealthFlags {
    /// The router's admin listener: http://127.0.0.1:9080, https://stentor.example.org:9080, or
    /// unix:/run/stentor/admin.sock [default: http://127.0.0.1:9080]
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    admin: Option<String>,
    /// The authorities that its certificate must come from, in PEM [default: those of the system]
    #[arg(long, value_name = "FILE", requires = "admin")]
    ca: Option<PathBuf>,
    /// Ask where this configuration has the router answer on its own machine: at `listen` of
    /// [admin], or else at `health` of a listener, without TLS
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Why clients should not come, or why nobody can say.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unhealthy {
    #[error("{0}")]
    NotReady(String),
    #[error("error: no answer from {address}: {source}\n  = help: {}", help(*.is_configured))]
    NoAnswer { address: String, source: ureq::Error, is_configured: bool },
    #[error(transparent)]
    Unasked(#[from] OperatorError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(
        "error: `{0}` has no place where a router could be asked: `listen` of [admin] or `health` \
         of a listener, with a fixed port, without TLS and without `proxy_protocol`\n  = help: \
         --admin https://NAME:PORT asks by TLS"
    )]
    Nowhere(PathBuf),
}

fn help(is_configured: bool) -> &'static str {
    match is_configured {
        true => "the router does not run with this configuration, or it has not started yet",
        false => {
            "the router needs `[admin]` with `listen = \"127.0.0.1:9080\"`; --admin names another \
             address, --config the file where it stands"
        }
    }
}

impl Unhealthy {
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::NotReady(_) => fault::ERROR,
            Self::Unasked(_) | Self::Config(_) | Self::Nowhere(_) => fault::USAGE,
            Self::NoAnswer { .. } => fault::NO_CONNECTION,
        }
    }
}

/// Says that the router is ready.
pub(crate) fn health(flags: &HealthFlags) -> Result<String, Unhealthy> {
    let (at, path) = match &flags.config {
        None => {
            let address = flags.admin.clone().unwrap_or_else(|| DEFAULT_ADMIN.to_owned());
            (AdminFlags::at(address, flags.ca.clone()), READY_PATH.to_owned())
        }
        Some(file) => {
            let environment = Environment::of_process();
            let config = Loader::in_environment(Some(file), &environment)?.finish()?;
            let (address, path) =
                place_in(&config).ok_or_else(|| Unhealthy::Nowhere(file.clone()))?;
            (AdminFlags::at(address, None), path)
        }
    };
    match at.ask_within(&Ask::Probe(&path), PATIENCE) {
        Ok(text) if text == READY => Ok(text),
        Err(OperatorError::NoAnswer { source, .. }) => Err(Unhealthy::NoAnswer {
            address: printable(at.address()),
            source,
            is_configured: flags.config.is_some(),
        }),
        // While it stops, or because it is asked by a name that it does not know.
        Err(OperatorError::Refused { status: 503 | 403, text }) => Err(Unhealthy::NotReady(text)),
        Ok(_) | Err(OperatorError::Refused { .. }) => {
            Err(Unhealthy::NotReady(at.strange().to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Where a router with this configuration says whether clients should come, and by which path, if
/// that is known without asking it, and its own machine can ask by its address.
fn place_in(config: &Config) -> Option<(String, String)> {
    let admin = config.admin.listen.as_ref().filter(|_| config.admin.tls.is_empty());
    if let Some(address) = admin.and_then(address_of) {
        return Some((address, READY_PATH.to_owned()));
    }
    let is_plain = |listener: &&Listener| listener.tls.is_empty() && !listener.proxy_protocol;
    config.listeners.iter().filter(is_plain).find_map(|listener| {
        let path = listener.health.clone()?;
        Some((address_of(&listener.address)?, path))
    })
}

fn address_of(listens: &ListenAddress) -> Option<String> {
    match listens {
        ListenAddress::Unix(path) => Some(format!("unix:{}", path.display())),
        ListenAddress::Tcp(address) if address.port() == 0 => None,
        ListenAddress::Tcp(address) => {
            let ip = match address.ip() {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            };
            Some(format!("http://{}", SocketAddr::new(ip, address.port())))
        }
    }
}

const DEFAULT_ADMIN: &str = "http://127.0.0.1:9080";
const READY_PATH: &str = "/readyz";
/// What a router answers to whom clients may come.
const READY: &str = "ready\n";

/// Those who look at the exit code look again soon.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Option<(String, String)> {
        let config = Loader::from_text("a.toml", text.to_owned()).finish().unwrap();
        place_in(&config)
    }

    #[test]
    fn a_configuration_says_where_to_ask() {
        let some = |address: &str, path: &str| Some((address.to_owned(), path.to_owned()));
        let listener = "[[listener]]\nlisten = \"0.0.0.0:8080\"\nhealth = \"/well\"\n";
        let six = "[[listener]]\nlisten = \"[::]:81\"\nhealth = \"/six\"\n";
        let unix = "[[listener]]\nlisten = \"unix:/run/a\"\nhealth = \"/unix\"\n";
        let proxied = "[[listener]]\nlisten = \"0.0.0.0:82\"\nhealth = \"/no\"\n\
                       proxy_protocol = true\ntrusted_proxies = [\"10.0.0.0/8\"]\n";
        let admin = |at: &str| format!("[admin]\nlisten = \"{at}\"\n");
        for (text, expected) in [
            (listener.to_owned(), some("http://127.0.0.1:8080", "/well")),
            (six.to_owned(), some("http://[::1]:81", "/six")),
            (unix.to_owned(), some("unix:/run/a", "/unix")),
            (format!("{proxied}{six}"), some("http://[::1]:81", "/six")),
            (format!("{listener}{}", admin("unix:/run/b")), some("unix:/run/b", "/readyz")),
            (admin("127.0.0.1:9080"), some("http://127.0.0.1:9080", "/readyz")),
            (format!("{listener}{}", admin("127.0.0.1:0")), some("http://127.0.0.1:8080", "/well")),
            (proxied.to_owned(), None),
            ("[[listener]]\nlisten = \"127.0.0.1:80\"\n".to_owned(), None),
        ] {
            assert_eq!(place(&text), expected, "{text}");
        }
    }
}
