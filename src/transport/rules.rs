//! What a listener demands of its peers' transports; frozen when the listener starts.

use core::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::inner::Appointment;
use super::target::{is_below, path_of};
use crate::address::{Address, Network};
use crate::codec::Codec;
use crate::limits::Limits;

/// How far the peer has come: until a session is established, messages are short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Between the transport's handshake and WELCOME: HELLO, and what answers a CHALLENGE.
    Establishing,
    /// A session is there, or has been and is being closed.
    Established,
}

/// Whom a part of a listener lets in: not judged here, but where HELLO is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entrance {
    /// The names of the methods of authentication that work here; `None`: all of the realm.
    pub authmethods: Option<Vec<String>>,
    /// The realm of clients that name none.
    pub default_realm: Option<String>,
    /// What authenticators call it that are for some entrances only; `None`: nothing.
    pub name: Option<String>,
}

/// A path with rules of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathRules {
    pub path: String,
    /// Instead of the listener's.
    pub allowed_origins: Origins,
    pub entrance: Entrance,
}

/// The rules of one listener. Shared by all its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportRules {
    /// Bytes of one incoming message; RawSocket rounds down to a power of two, 512 B to 16 MiB.
    pub message_bytes: usize,
    /// Bytes of one incoming message before the session is established.
    pub hello_bytes: usize,
    /// Bytes of an HTTP request head.
    pub http_head_bytes: usize,
    pub websocket: bool,
    pub rawsocket: bool,
    /// Whether peers come by TLS; here only for what they are told.
    pub tls: bool,
    /// Paths that accept a WebSocket, with or without escapes; empty: any.
    pub paths: Vec<String>,
    /// Serializers that a client may choose.
    pub codecs: Vec<Codec>,
    /// Whether WebSocket clients may choose that messages go in batches (TR-BAT-01).
    pub batched: bool,
    /// Whether WebSocket clients may choose that messages are compressed (RFC 7692).
    pub deflate: bool,
    /// The serializer of a WebSocket client that offers no subprotocol; `None` refuses it.
    pub default_subprotocol: Option<Codec>,
    /// A path that answers load balancers instead of opening a WebSocket.
    pub health: Option<String>,
    /// What it answers: whether clients should come.
    pub is_ready: bool,
    /// Whose pages may connect. A client that sends no Origin is no browser and passes.
    pub allowed_origins: Origins,
    /// Where the admin listener listens, whose pages may connect where [`Origins::Same`] decides.
    pub admin: Option<SocketAddr>,
    /// Whom it lets in: on RawSocket, and at `paths`.
    pub entrance: Entrance,
    /// As whom everybody joins, if HELLO is to prove nothing: only on connections that the router
    /// makes to itself.
    pub appointed: Option<Arc<Appointment>>,
    /// The router makes this connection to itself: it is not pinged.
    pub is_inner: bool,
    /// Messages may overtake each other before they come here, so the order of request ids says
    /// nothing (TR-LP-06).
    pub is_unordered: bool,
    /// Paths with rules of their own, which go before `paths`.
    pub paths_apart: Vec<PathRules>,
    /// Paths where requests are for others than WAMP, as is all below them that is not a
    /// WebSocket's path. With none of them, such requests are refused here.
    pub http_paths: Vec<String>,
    /// Which listener it is, for those who take over its connections.
    pub listener: u32,
    /// The least that a RawSocket client must be willing to receive in one message, in bytes.
    pub rawsocket_min_peer_bytes: usize,
    /// Who is believed about the addresses of others.
    pub proxies: Vec<Network>,
    /// The header in which those say for whom they ask.
    pub forwarded: ForwardedBy,
    /// The headers of a WebSocket's request that those learn who are asked about its sender, in
    /// lower case.
    pub passed_headers: Vec<String>,
}

impl TransportRules {
    /// Bytes that one incoming message may have, PING and PONG of RawSocket included.
    pub fn limit(&self, stage: Stage) -> usize {
        match stage {
            Stage::Establishing => self.hello_bytes.min(self.message_bytes),
            Stage::Established => self.message_bytes,
        }
    }

    /// Whether a peer is believed about the addresses of others.
    pub fn trusts(&self, peer: Address) -> bool {
        self.proxies.iter().any(|network| network.contains(peer))
    }

    pub fn allows(&self, codec: Codec) -> bool {
        self.codecs.contains(&codec)
    }

    /// What a request for this path is about, as [`path_of`] gives it.
    pub fn purpose(&self, path: &str) -> Purpose {
        if self.is_health(path) {
            Purpose::Health
        } else if self.way_in(path).is_some() {
            Purpose::WebSocket
        } else if self.http_paths.iter().any(|base| is_base(path, base)) {
            Purpose::Http
        } else {
            Purpose::Nothing
        }
    }

    /// Whether a request for this path, as [`path_of`] gives it, asks how the router is.
    pub(super) fn is_health(&self, path: &str) -> bool {
        let health = self.health.as_deref().and_then(path_of);
        health.is_some_and(|health| health == path)
    }

    /// Where a WebSocket comes in that is opened at this path, as [`path_of`] gives it; `None`: it
    /// may not be.
    pub(super) fn way_in(&self, path: &str) -> Option<WayIn> {
        let is_served = |served: &str| path_of(served).is_some_and(|served| served == path);
        if let Some(at) = self.paths_apart.iter().position(|apart| is_served(&apart.path)) {
            return Some(WayIn(u16::try_from(at + 1).unwrap_or(u16::MAX)));
        }
        let is_any = self.served_paths().next().is_none() && self.http_paths.is_empty();
        (is_any || self.paths.iter().any(|served| is_served(served))).then(WayIn::default)
    }

    /// All paths that are served; none: any is.
    pub(super) fn served_paths(&self) -> impl Iterator<Item = &str> {
        let apart = self.paths_apart.iter().map(|apart| apart.path.as_str());
        self.paths.iter().map(String::as_str).chain(apart)
    }

    fn apart(&self, way: WayIn) -> Option<&PathRules> {
        self.paths_apart.get(usize::from(way.0).checked_sub(1)?)
    }

    /// Whom a way in lets in.
    pub fn entrance(&self, way: WayIn) -> &Entrance {
        self.apart(way).map_or(&self.entrance, |apart| &apart.entrance)
    }

    /// Whether a page of `origin` may connect by a way in, where it asked for `host`.
    pub fn allows_origin(&self, way: WayIn, origin: &str, host: &str) -> bool {
        let origins = self.apart(way).map_or(&self.allowed_origins, |apart| &apart.allowed_origins);
        origins.allow(origin, host)
            || matches!(origins, Origins::Same) && self.is_of_admin(origin, host)
    }

    /// Whether a page is one of the admin listener. That is known only where browser, page and
    /// listener are on one machine: the listener has a loopback address, and the browser calls the
    /// page by that or as `localhost`, and the router by a loopback name. To a router elsewhere the
    /// same page would come from whoever has that port on the browser's machine.
    fn is_of_admin(&self, origin: &str, host: &str) -> bool {
        let Some(admin) = self.admin.filter(|at| at.ip().to_canonical().is_loopback()) else {
            return false;
        };
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let name = without_port(authority);
        let implied = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
        let port = match authority[name.len()..].strip_prefix(':') {
            Some(port) => port.parse().ok(),
            None => Some(implied),
        };
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let is_its_name = name.eq_ignore_ascii_case("localhost") || address == Ok(admin.ip());
        port == Some(admin.port()) && is_its_name && is_loopback(without_port(host))
    }
}

/// What a path of a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It tells whether clients should come.
    Health,
    /// A WebSocket may be opened there.
    WebSocket,
    /// It is served otherwise, by HTTP.
    Http,
    Nothing,
}

fn is_base(path: &str, base: &str) -> bool {
    path_of(base).is_some_and(|base| is_below(path, &base))
}

/// The part of a listener that a connection came in by: itself, or one of its paths apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WayIn(u16);

impl WayIn {
    /// By the listener itself.
    pub const LISTENER: Self = Self(0);
}

impl Default for TransportRules {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            message_bytes: limits.message_bytes,
            hello_bytes: limits.hello_bytes,
            http_head_bytes: limits.http_head_bytes,
            websocket: true,
            rawsocket: true,
            tls: false,
            paths: Vec::new(),
            codecs: Codec::ALL.to_vec(),
            batched: true,
            deflate: false,
            default_subprotocol: None,
            health: None,
            is_ready: true,
            allowed_origins: Origins::default(),
            admin: None,
            entrance: Entrance::default(),
            appointed: None,
            is_inner: false,
            is_unordered: false,
            paths_apart: Vec::new(),
            http_paths: Vec::new(),
            listener: 0,
            rawsocket_min_peer_bytes: 512,
            proxies: Vec::new(),
            forwarded: ForwardedBy::Off,
            passed_headers: Vec::new(),
        }
    }
}

/// The header of an HTTP request in which a listed proxy says for whom it asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedBy {
    /// None is read.
    #[default]
    Off,
    /// RFC 7239.
    Forwarded,
    XForwardedFor,
}

impl ForwardedBy {
    pub(super) const fn header(self) -> Option<&'static str> {
        match self {
            Self::Off => None,
            Self::Forwarded => Some("forwarded"),
            Self::XForwardedFor => Some("x-forwarded-for"),
        }
    }
}

/// The origins (RFC 6454) whose pages may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// That of the host which the request names, whatever the scheme: TLS may end before the
    /// router.
    #[default]
    Same,
    /// Those of this machine (`localhost`, loopback addresses), whatever their port.
    Local,
    /// These: exact (`https://example.org`, `null`), all hosts below one (`*.example.org`), or all
    /// there are (`*`).
    Listed(Vec<String>),
}

impl Origins {
    /// Whether a page of `origin` may come, which asked for `host`.
    pub fn allow(&self, origin: &str, host: &str) -> bool {
        match self {
            Self::Same => is_same(origin, host),
            Self::Local => is_local(origin),
            Self::Listed(patterns) => {
                patterns.iter().any(|pattern| pattern == "*" || origin_matches(pattern, origin))
            }
        }
    }
}

/// Whether an origin is that of a `Host` header. Browsers leave out the port that a scheme implies.
fn is_same(origin: &str, host: &str) -> bool {
    let implied = match origin.split_once("://") {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => ":443",
        Some(_) => ":80",
        None => return false,
    };
    let (_, authority) = origin.split_once("://").unwrap_or_default();
    let bare = |text: &str| text.strip_suffix(implied).unwrap_or(text).to_ascii_lowercase();
    !authority.is_empty() && bare(authority) == bare(host)
}

fn is_local(origin: &str) -> bool {
    host_of(origin).is_some_and(is_loopback)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or_else(
        |_| host.eq_ignore_ascii_case("localhost"),
        |address| address.to_canonical().is_loopback(),
    )
}

/// The host of an origin, without its port; `None`: it has none, as `null`.
fn host_of(origin: &str) -> Option<&str> {
    let (_, authority) = origin.split_once("://")?;
    Some(without_port(authority))
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn origin_matches(pattern: &str, origin: &str) -> bool {
    let Some(domain) = pattern.strip_prefix("*.") else {
        return pattern.eq_ignore_ascii_case(origin);
    };
    let Some(host) = host_of(origin) else { return false };
    let Some(dot) = host.len().checked_sub(domain.len() + 1).filter(|dot| *dot > 0) else {
        return false;
    };
    host.as_bytes()[dot] == b'.'
        && host.as_bytes()[dot + 1..].eq_ignore_ascii_case(domain.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_origin_is_that_of_the_host() {
        for (origin, host, expected) in [
            ("https://example.org", "example.org", true),
            ("https://Example.org", "example.org:443", true),
            ("http://example.org:8080", "example.org:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://example.org", "example.org:8080", false),
            ("http://example.org:443", "example.org", false),
            ("https://example.org.evil.net", "example.org", false),
            ("https://evilexample.org", "example.org", false),
            ("https://example.org@evil.net", "example.org", false),
            ("null", "null", false),
            ("https://", "", false),
            ("", "", false),
        ] {
            assert_eq!(Origins::Same.allow(origin, host), expected, "{origin} at {host}");
        }
    }

    #[test]
    fn pages_of_this_machine_are_told_by_their_host() {
        for (origin, expected) in [
            ("http://localhost:3000", true),
            ("https://LOCALHOST", true),
            ("http://127.0.0.1:8080", true),
            ("http://127.1.2.3", true),
            ("http://[::1]:5173", true),
            ("http://localhost.evil.net", false),
            ("http://127.0.0.1.evil.net", false),
            ("http://10.0.0.1", false),
            ("http://evil.net:8080", false),
            ("null", false),
            ("localhost", false),
        ] {
            // Whatever it calls the router: the names of evil hosts may lead here.
            assert_eq!(Origins::Local.allow(origin, "evil.net:8080"), expected, "{origin}");
        }
        let all = Origins::Listed(vec!["*".into()]);
        assert!(all.allow("null", "x") && !Origins::Listed(Vec::new()).allow("http://x", "x"));
    }

    /// TR-WS-06.
    #[test]
    fn pages_of_the_admin_listener_connect_on_their_own_machine() {
        let allows = |allowed_origins, origin, host| {
            let admin = Some("127.0.0.1:9080".parse().unwrap());
            let rules = TransportRules { allowed_origins, admin, ..Default::default() };
            rules.allows_origin(WayIn::LISTENER, origin, host)
        };
        for (origin, host, expected) in [
            ("http://127.0.0.1:9080", "127.0.0.1:8080", true),
            ("http://localhost:9080", "127.0.0.1:8080", true),
            ("https://127.0.0.1:9080", "localhost:8080", true),
            // Others may have that port at other loopback addresses.
            ("https://[::1]:9080", "localhost:8080", false),
            ("http://127.0.0.2:9080", "127.0.0.1:8080", false),
            ("http://127.0.0.1:9081", "127.0.0.1:8080", false),
            ("http://127.0.0.1", "127.0.0.1:8080", false),
            ("http://127.0.0.1:09080x", "127.0.0.1:8080", false),
            // The page of another machine, or of another program on the browser's.
            ("http://127.0.0.1:9080", "router.example:8080", false),
            ("http://127.0.0.1:9080", "127.0.0.1.evil.net:8080", false),
            ("http://evil.net:9080", "127.0.0.1:8080", false),
            ("http://127.0.0.1.evil.net:9080", "127.0.0.1:8080", false),
        ] {
            assert_eq!(allows(Origins::Same, origin, host), expected, "{origin} at {host}");
        }
        let listed = Origins::Listed(vec!["https://app.example".into()]);
        assert!(!allows(listed, "http://127.0.0.1:9080", "127.0.0.1:8080"));
        for (admin, page, expected) in [
            (None, "http://127.0.0.1:9080", false),
            (Some("10.0.0.5:9080"), "http://127.0.0.1:9080", false),
            (Some("10.0.0.5:9080"), "http://10.0.0.5:9080", false),
            (Some("127.0.0.1:80"), "http://127.0.0.1", true),
            (Some("127.0.0.1:443"), "https://localhost", true),
            (Some("127.0.0.1:443"), "http://localhost", false),
            (Some("[::1]:9080"), "http://[::1]:9080", true),
        ] {
            let admin = admin.map(|admin| admin.parse().unwrap());
            let rules = TransportRules { admin, ..Default::default() };
            let allows = rules.allows_origin(WayIn::LISTENER, page, "127.0.0.1:8080");
            assert_eq!(allows, expected, "{page}");
        }
    }

    #[test]
    fn origins_match_exactly_or_below_a_domain() {
        for (pattern, origin, expected) in [
            ("https://example.org", "https://example.org", true),
            ("https://example.org", "HTTPS://Example.org", true),
            ("https://example.org", "http://example.org", false),
            ("https://example.org", "https://example.org:8443", false),
            ("*.example.org", "https://app.example.org", true),
            ("*.example.org", "https://a.b.example.org:8443", true),
            ("*.example.org", "https://example.org", false),
            ("*.example.org", "https://.example.org", false),
            ("*.example.org", "https://evilexample.org", false),
            ("*.example.org", "https://example.org.evil.net", false),
            ("*.example.org", "null", false),
            ("null", "null", true),
            ("*.example.org", "https://é.org", false),
        ] {
            assert_eq!(origin_matches(pattern, origin), expected, "{pattern} {origin}");
        }
    }
}
