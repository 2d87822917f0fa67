//! What a listener demands of its peers' transports; frozen when the listener starts.

use super::target::path_of;
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
}

/// A path with rules of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathRules {
    pub path: String,
    /// Instead of the listener's.
    pub allowed_origins: Vec<String>,
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
    /// The serializer of a WebSocket client that offers no subprotocol; `None` refuses it.
    pub default_subprotocol: Option<Codec>,
    /// Origins that a browser may come from: exact (`https://example.org`) or all hosts below one
    /// (`*.example.org`); empty: any. A client that sends no Origin is no browser and passes.
    pub allowed_origins: Vec<String>,
    /// Whom it lets in: on RawSocket, and at `paths`.
    pub entrance: Entrance,
    /// Paths with rules of their own, which go before `paths`.
    pub paths_apart: Vec<PathRules>,
    /// The least that a RawSocket client must be willing to receive in one message, in bytes.
    pub rawsocket_min_peer_bytes: usize,
}

impl TransportRules {
    /// Bytes that one incoming message may have, PING and PONG of RawSocket included.
    pub fn limit(&self, stage: Stage) -> usize {
        match stage {
            Stage::Establishing => self.hello_bytes.min(self.message_bytes),
            Stage::Established => self.message_bytes,
        }
    }

    pub fn allows(&self, codec: Codec) -> bool {
        self.codecs.contains(&codec)
    }

    /// Where a WebSocket comes in that is opened at this path, as [`path_of`] gives it; `None`: it
    /// may not be.
    pub(super) fn way_in(&self, path: &str) -> Option<WayIn> {
        let is_served = |served: &str| path_of(served).is_some_and(|served| served == path);
        if let Some(at) = self.paths_apart.iter().position(|apart| is_served(&apart.path)) {
            return Some(WayIn(u16::try_from(at + 1).unwrap_or(u16::MAX)));
        }
        let is_any = self.paths.is_empty() && self.paths_apart.is_empty();
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

    pub fn allows_origin(&self, way: WayIn, origin: &str) -> bool {
        let origins = self.apart(way).map_or(&self.allowed_origins, |apart| &apart.allowed_origins);
        origins.is_empty() || origins.iter().any(|pattern| origin_matches(pattern, origin))
    }
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
            default_subprotocol: None,
            allowed_origins: Vec::new(),
            entrance: Entrance::default(),
            paths_apart: Vec::new(),
            rawsocket_min_peer_bytes: 512,
        }
    }
}

fn origin_matches(pattern: &str, origin: &str) -> bool {
    let Some(domain) = pattern.strip_prefix("*.") else {
        return pattern.eq_ignore_ascii_case(origin);
    };
    let Some((_, authority)) = origin.split_once("://") else {
        return false;
    };
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let Some(dot) = host.len().checked_sub(domain.len() + 1).filter(|dot| *dot > 0) else {
        return false;
    };
    host.as_bytes()[dot] == b'.'
        && host.as_bytes()[dot + 1..].eq_ignore_ascii_case(domain.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TR-WS-06.
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
