//! One listener: its address, what it speaks, and whom it lets in.
//!
//! Owns the text form of addresses (`127.0.0.1:8080`, `[::1]:8080`, `unix:/run/stentor.sock`)
//! and of file modes. Binds nothing, resolves no names.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Authenticator;
use super::bridge::{HttpUse, PathKey};
use super::tls::{ClientCertificates, Tls};
use crate::address::Network;
use crate::authentication::Method;
use crate::codec::Codec;
use crate::transport::{Entrance, ForwardedBy, Origins, PathRules};

/// A socket that accepts WebSocket and RawSocket clients, told apart by their first byte.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listener {
    /// What the log calls it; its address if none.
    pub name: Option<String>,
    #[serde(rename = "listen")]
    pub address: ListenAddress,
    /// Permissions of a Unix socket's file; `None`: as the process's umask leaves them. Octal
    /// text in the file.
    #[serde(deserialize_with = "octal_mode", serialize_with = "as_octal")]
    pub unix_mode: Option<u32>,
    pub websocket: bool,
    pub rawsocket: bool,
    /// HTTP paths that answer a WebSocket upgrade, compared as a whole.
    pub paths: Vec<String>,
    /// The serializers that clients may choose from.
    pub serializers: Vec<Codec>,
    /// Whether WebSocket clients may choose the batched form of a serializer's subprotocol.
    pub batched: bool,
    /// Whether WebSocket clients may choose that messages are compressed (RFC 7692).
    pub deflate: bool,
    /// Values of the `Origin` header that are let in, compared without regard to case;
    /// `*.example.org` stands for all hosts below it, `*` for all there are; empty: the same
    /// origin, and in development mode this machine.
    pub origins: Vec<String>,
    /// The methods of authentication that work here, on RawSocket and at `paths`; empty: all of the
    /// realm.
    pub authmethods: Vec<Method>,
    /// The realm of clients that name none in HELLO.
    pub realm: Option<String>,
    /// Paths with rules of their own, served besides `paths`.
    #[serde(rename = "path")]
    pub paths_apart: Vec<ListenerPath>,
    /// A path that answers load balancers: 200 while clients should come, and else 503.
    pub health: Option<String>,
    /// For WebSocket clients that offer no subprotocol; `None`: they are refused.
    pub default_serializer: Option<Codec>,
    /// The least length that a RawSocket client must be ready to receive. 512 B (the least that
    /// a client can announce) to 16 MiB.
    pub rawsocket_min_peer_bytes: usize,
    /// Certificates, of which the first that is for the name that a client asks for is shown, or
    /// else the first of all; empty: the listener speaks plainly.
    pub tls: Vec<Tls>,
    /// A file with the authorities that certificates of clients must come from.
    pub client_ca: Option<PathBuf>,
    pub client_certificates: ClientCertificates,
    /// Who is believed about the addresses of others: proxies in front of the router.
    pub trusted_proxies: Vec<Network>,
    /// Whether each of them begins every connection with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// The header in which they say for whom a WebSocket is.
    pub forwarded: ForwardedBy,
    /// The headers of a WebSocket's request that authenticators learn, without regard to case.
    pub pass_headers: Vec<String>,
}

impl Listener {
    /// A listener on `address` that is otherwise like the default one.
    pub fn on(address: ListenAddress) -> Self {
        Self { address, ..Self::default() }
    }

    /// The same listener on the address that it got.
    pub fn bound_to(&self, address: ListenAddress) -> Self {
        Self { address, ..self.clone() }
    }

    /// Its name, or else its address.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.address.to_string())
    }

    /// Whom it lets in, on RawSocket and at `paths`.
    pub(crate) fn entrance(&self) -> Entrance {
        entrance(&self.authmethods, self.realm.as_ref(), self.name.clone())
    }

    /// Whether some of its clients may join without authentication, where the realm lets them.
    pub(super) fn permits_anonymous(&self) -> bool {
        let permits =
            |methods: &[Method]| methods.is_empty() || methods.contains(&Method::Anonymous);
        let itself = self.rawsocket || !self.paths.is_empty();
        let mut apart = self.entrances_apart();
        itself && permits(&self.authmethods)
            || self.websocket && apart.any(|path| permits(path.methods(self)))
    }

    /// Whether an authenticator is for this listener, or for one of its paths.
    pub(super) fn has_way(&self, way: &Authenticator) -> bool {
        let own = self.name.iter().cloned();
        let apart = self.entrances_apart().filter_map(|apart| apart.entrance_name(self));
        let mut names = own.chain(apart);
        way.listeners.is_empty() || names.any(|name| way.listeners.contains(&name))
    }

    /// The paths with rules of their own where WebSockets are opened.
    pub(crate) fn websocket_paths_apart(&self) -> impl Iterator<Item = &ListenerPath> {
        self.paths_apart.iter().filter(|apart| apart.is_websocket())
    }

    /// The paths with rules of their own where clients say HELLO, in whatever transport.
    pub(super) fn entrances_apart(&self) -> impl Iterator<Item = &ListenerPath> {
        let is_one =
            |apart: &&ListenerPath| apart.is_websocket() || apart.http == Some(HttpUse::LongPoll);
        self.paths_apart.iter().filter(is_one)
    }

    /// The paths with rules of their own that authenticators may name.
    pub(super) fn named_paths(&self) -> impl Iterator<Item = &ListenerPath> {
        let by_tokens = self.paths_apart.iter().filter(|apart| apart.jwt);
        self.entrances_apart().chain(by_tokens)
    }

    /// The paths where something else is served.
    pub(crate) fn http_paths(&self) -> impl Iterator<Item = &ListenerPath> {
        self.paths_apart.iter().filter(|apart| !apart.is_websocket())
    }

    /// Where browsers find what is served besides: a URL for each such path, on TCP.
    pub fn web_urls(&self) -> Vec<String> {
        let s = if self.tls.is_empty() { "" } else { "s" };
        let Some(address) = self.address.tcp() else { return Vec::new() };
        self.http_paths().map(|apart| format!("http{s}://{address}{}", apart.path)).collect()
    }

    /// Where clients connect to: a URL for each path and for RawSocket.
    pub fn urls(&self) -> Vec<String> {
        let apart = self.websocket_paths_apart().map(|apart| &apart.path);
        let paths = self.paths.iter().chain(apart).filter(|_| self.websocket);
        let raw = self.rawsocket;
        let s = if self.tls.is_empty() { "" } else { "s" };
        match &self.address {
            ListenAddress::Tcp(address) => paths
                .map(|path| format!("ws{s}://{address}{path}"))
                .chain(raw.then(|| format!("rs{s}://{address}")))
                .collect(),
            ListenAddress::Unix(file) => paths
                .map(|path| format!("ws+unix://{}:{path}", file.display()))
                .chain(raw.then(|| format!("rs+unix://{}", file.display())))
                .collect(),
        }
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            name: None,
            address: ListenAddress::default(),
            unix_mode: None,
            websocket: true,
            rawsocket: true,
            paths: vec!["/ws".into(), "/".into()],
            serializers: Codec::ALL.to_vec(),
            batched: true,
            deflate: false,
            origins: Vec::new(),
            authmethods: Vec::new(),
            realm: None,
            paths_apart: Vec::new(),
            health: None,
            default_serializer: None,
            rawsocket_min_peer_bytes: 512,
            tls: Vec::new(),
            client_ca: None,
            client_certificates: ClientCertificates::Off,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            forwarded: ForwardedBy::Off,
            pass_headers: Vec::new(),
        }
    }
}

/// A path of a listener with rules of its own; what it does not say is as the listener has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerPath {
    pub path: String,
    /// The methods of authentication that work here.
    pub authmethods: Vec<Method>,
    /// As those of a [`Listener`].
    pub origins: Option<Vec<String>>,
    /// The realm of clients that name none in HELLO, or where requests by HTTP publish and call.
    pub realm: Option<String>,
    /// A directory whose files are served here and below, instead of a WebSocket; relative to the
    /// file.
    pub files: Option<PathBuf>,
    /// The file in it that browsers get where there is none.
    pub fallback: Option<String>,
    /// The header `Cache-Control` of files that are no HTML; `None`: they are asked for anew.
    pub cache: Option<String>,
    /// What requests by HTTP do here, instead of a WebSocket.
    pub http: Option<HttpUse>,
    /// The role of those who come by HTTP without a key.
    pub role: Option<String>,
    /// Where they may come from; empty: from everywhere.
    pub require_ip: Vec<Network>,
    /// The longest body; `None`: as long as a message. 512 B to `limits.message_bytes`.
    pub body_bytes: Option<usize>,
    /// The status of an answer to messages that were taken by long-poll, 202 or 204 (TR-LP-04);
    /// `None`: 202.
    pub sent_status: Option<u16>,
    /// Whether those may come who show a token that an authenticator of the realm takes.
    pub jwt: bool,
    /// If there is any, one is demanded.
    #[serde(rename = "key")]
    pub keys: Vec<PathKey>,
}

impl ListenerPath {
    /// Whether WebSockets are opened here, and nothing else is served.
    pub const fn is_websocket(&self) -> bool {
        self.files.is_none() && self.http.is_none()
    }

    /// What authenticators call it: the listener's name with the path behind it.
    pub(crate) fn entrance_name(&self, listener: &Listener) -> Option<String> {
        listener.name.as_ref().map(|name| format!("{name}{}", self.path))
    }

    fn methods<'a>(&'a self, listener: &'a Listener) -> &'a [Method] {
        if self.authmethods.is_empty() { &listener.authmethods } else { &self.authmethods }
    }

    pub(crate) fn rules(&self, listener: &Listener, development: bool) -> PathRules {
        let origins = self.origins.as_ref().unwrap_or(&listener.origins);
        PathRules {
            path: self.path.clone(),
            allowed_origins: allowed_origins(origins, development),
            entrance: entrance(
                self.methods(listener),
                self.realm.as_ref().or(listener.realm.as_ref()),
                self.entrance_name(listener),
            ),
        }
    }
}

/// The rule for a list of origins.
pub(crate) fn allowed_origins(listed: &[String], development: bool) -> Origins {
    match (listed, development) {
        ([], true) => Origins::Local,
        ([], false) => Origins::Same,
        _ => Origins::Listed(listed.to_vec()),
    }
}

fn entrance(methods: &[Method], realm: Option<&String>, name: Option<String>) -> Entrance {
    let names = || methods.iter().map(|method| method.as_str().to_owned()).collect();
    let authmethods = (!methods.is_empty()).then(names);
    Entrance { authmethods, default_realm: realm.cloned(), name }
}

/// Where a listener binds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl ListenAddress {
    /// Whether only this machine can connect.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Address and port, if it is not a Unix socket.
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether the kernel would refuse to bind both. `0.0.0.0` and `[::]` may share a port, see
    /// [`Config::takes_ipv4`](super::Config::takes_ipv4).
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(a), Self::Unix(b)) => a == b,
            (Self::Tcp(a), Self::Tcp(b)) => {
                let one_is_wildcard = a.ip().is_unspecified() || b.ip().is_unspecified();
                let same_host = a.ip() == b.ip() || one_is_wildcard && a.is_ipv4() == b.is_ipv4();
                // Port 0 asks for a free port, so two of them never meet.
                a.port() == b.port() && a.port() != 0 && same_host
            }
            _ => false,
        }
    }
}

impl Default for ListenAddress {
    /// Loopback: a router that nobody configured is reached by nobody else.
    fn default() -> Self {
        Self::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(file) => write!(f, "{UNIX_PREFIX}{}", file.display()),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if let Some(file) = text.strip_prefix(UNIX_PREFIX) {
            return match file.len() {
                0 => Err(BadAddress::NoFile),
                1..=MAX_UNIX_PATH_BYTES => Ok(Self::Unix(file.into())),
                length => Err(BadAddress::LongFile(length)),
            };
        }
        let address = text.parse().map_err(|_| BadAddress::guess(text))?;
        Ok(Self::Tcp(match address {
            SocketAddr::V6(v6) => v6
                .ip()
                .to_ipv4_mapped()
                .map_or(address, |ip| SocketAddr::from((ip, address.port()))),
            SocketAddr::V4(_) => address,
        }))
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = BadAddress;

    fn try_from(text: String) -> Result<Self, BadAddress> {
        text.parse()
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.to_string()
    }
}

/// Why a text is no address to listen on, and what may have been meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    #[error(
        "`{0}` is no address to listen on; write `127.0.0.1:8080`, `[::1]:8080`, `0.0.0.0:8080` \
         or `unix:/run/stentor.sock`"
    )]
    Unknown(String),
    #[error("`{0}` has no port; write `{0}:8080`")]
    NoPort(String),
    #[error(
        "`{0}` has no address; write `127.0.0.1:{0}` for this machine only, or `0.0.0.0:{0}` \
         for every network"
    )]
    OnlyPort(u16),
    #[error("names are not looked up; write `127.0.0.1:{0}` or `[::1]:{0}` for `localhost:{0}`")]
    Localhost(String),
    #[error("`unix:` needs the path of a file, as in `unix:/run/stentor.sock`")]
    NoFile,
    #[error("the path of a Unix socket holds at most {MAX_UNIX_PATH_BYTES} bytes, this one {0}")]
    LongFile(usize),
}

impl BadAddress {
    fn guess(text: &str) -> Self {
        if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
            return Self::OnlyPort(port);
        }
        if let Some(port) = text.strip_prefix("localhost:") {
            return Self::Localhost(port.into());
        }
        match text.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(ip)) => Self::NoPort(ip.to_string()),
            Ok(std::net::IpAddr::V6(ip)) => Self::NoPort(format!("[{ip}]")),
            Err(_) => Self::Unknown(text.into()),
        }
    }
}

/// `"0660"` in the file, 0o660 here.
pub(super) fn octal_mode<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let text = String::deserialize(from)?;
    match u32::from_str_radix(&text, 8) {
        Ok(mode @ 0..=0o777) => Ok(Some(mode)),
        _ => Err(D::Error::custom(format_args!(
            "`{text}` is no file mode; write the permissions in octal, as in \"0660\""
        ))),
    }
}

pub(super) fn as_octal<S: Serializer>(mode: &Option<u32>, to: S) -> Result<S::Ok, S::Error> {
    mode.map(|mode| format!("{mode:04o}")).serialize(to)
}

const UNIX_PREFIX: &str = "unix:";

/// What fits into `sockaddr_un` with its closing zero byte, on Linux.
const MAX_UNIX_PATH_BYTES: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ListenAddress, BadAddress> {
        text.parse()
    }

    #[test]
    fn addresses_keep_their_text() {
        for text in ["127.0.0.1:8080", "[::1]:8080", "0.0.0.0:0", "unix:/run/x.sock", "unix:x"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_refused_address_says_what_to_write() {
        assert_eq!(parse("8080"), Err(BadAddress::OnlyPort(8080)));
        assert_eq!(parse(":8080"), Err(BadAddress::OnlyPort(8080)));
        assert_eq!(parse("localhost:80"), Err(BadAddress::Localhost("80".into())));
        assert_eq!(parse("::1"), Err(BadAddress::NoPort("[::1]".into())));
        assert_eq!(parse("10.0.0.1"), Err(BadAddress::NoPort("10.0.0.1".into())));
        assert_eq!(parse("unix:"), Err(BadAddress::NoFile));
        assert_eq!(parse(&format!("unix:/{}", "x".repeat(107))), Err(BadAddress::LongFile(108)));
        for text in ["", "127.0.0.1:99999", "ws://127.0.0.1:8080", "example.org:80"] {
            assert_eq!(parse(text), Err(BadAddress::Unknown(text.into())));
        }
    }

    #[test]
    fn addresses_overlap_as_the_kernel_sees_it() {
        let overlap = |a, b| parse(a).unwrap().overlaps(&parse(b).unwrap());
        assert!(overlap("127.0.0.1:80", "127.0.0.1:80"));
        assert!(overlap("0.0.0.0:80", "127.0.0.1:80"));
        assert!(overlap("[::1]:80", "[::]:80"));
        assert!(overlap("unix:/a", "unix:/a"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!overlap("127.0.0.1:80", "[::1]:80"));
        assert!(!overlap("0.0.0.0:80", "[::]:80"));
        assert!(overlap("127.0.0.1:80", "[::ffff:127.0.0.1]:80"));
        assert!(!overlap("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!overlap("unix:/a", "unix:/b"));
    }

    #[test]
    fn only_loopback_and_files_are_local() {
        for local in ["127.0.0.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "unix:/a"] {
            assert!(parse(local).unwrap().is_local(), "{local}");
        }
        for public in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
            assert!(!parse(public).unwrap().is_local(), "{public}");
        }
    }
}
