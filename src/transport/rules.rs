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

    /// Whether a WebSocket may be opened at this path, as [`path_of`] gives it.
    pub(super) fn allows_path(&self, path: &str) -> bool {
        let is_served = |served: &String| path_of(served).is_some_and(|served| served == path);
        self.paths.is_empty() || self.paths.iter().any(is_served)
    }

    pub fn allows_origin(&self, origin: &str) -> bool {
        self.allowed_origins.is_empty()
            || self.allowed_origins.iter().any(|pattern| origin_matches(pattern, origin))
    }
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
