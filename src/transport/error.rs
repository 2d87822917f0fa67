//! Why a transport ended: one enum, with a short name for counters and logs, and the WebSocket
//! close code that belongs to it. The bytes of handshake refusals are written elsewhere.

use super::proxy::ProxyFault;
use super::{BatchFault, CloseCode, Stage};

/// A fault of the peer that ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    #[error("the first byte {0:#04x} starts no protocol of this listener")]
    UnknownProtocol(u8),
    #[error("a TLS handshake came to a listener without TLS")]
    TlsOnPlainListener,
    #[error(transparent)]
    Proxy(#[from] ProxyFault),
    #[error(transparent)]
    Tls(#[from] TlsFault),
    #[error("this listener does not accept RawSocket")]
    RawSocketDisabled,
    #[error("the HTTP request was refused with {}: {}", .0.status(), .0.reason())]
    Http(HttpRefusal),
    /// An HTTP request that was answered as it should be, and no fault.
    #[error("a health check was answered")]
    HealthCheck,
    #[error("the RawSocket handshake was refused with error {}: {}", *.0 as u8, .0.reason())]
    Handshake(HandshakeRefusal),
    #[error("the RawSocket frame header {0:#010x} uses reserved bits")]
    RawSocketReservedBits(u32),
    #[error("the RawSocket frame type {0} is reserved")]
    RawSocketReservedType(u8),
    /// TR-SZ-02. On RawSocket the limit is the announced one, at most `limits.message_bytes`.
    #[error("a message of {bytes} bytes exceeds the limit of {limit} bytes{}", .stage.limit_name())]
    MessageTooBig { bytes: u64, limit: usize, stage: Stage },
    #[error("a violation of RFC 6455: {}", .0.reason())]
    WebSocket(Violation),
    #[error("text that is not valid UTF-8")]
    InvalidUtf8,
    /// TR-WS-04: an ABORT goes first, then the close frame.
    #[error("a message of the wrong type for the subprotocol (text: {text})")]
    WrongMessageType { text: bool },
    /// As [`Self::MessageTooBig`], of what a compressed message is inflated.
    #[error("a message of more than {limit} bytes when inflated{}", .stage.limit_name())]
    InflatedTooBig { limit: usize, stage: Stage },
    /// RFC 7692, 6.2
    #[error("a compressed message cannot be inflated")]
    Inflate,
    /// TR-BAT-03
    #[error("a batch is not well-formed: {}", .0.reason())]
    Batch(BatchFault),
}

impl TransportError {
    /// A stable name for counters and logs.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::UnknownProtocol(_) => "unknown_protocol",
            Self::TlsOnPlainListener => "tls_on_plain_listener",
            Self::Proxy(fault) => fault.kind(),
            Self::Tls(fault) => fault.kind(),
            Self::RawSocketDisabled => "rawsocket_disabled",
            Self::Http(refusal) => refusal.kind(),
            Self::HealthCheck => "health_check",
            Self::Handshake(refusal) => refusal.kind(),
            Self::RawSocketReservedBits(_) => "rawsocket_reserved_bits",
            Self::RawSocketReservedType(_) => "rawsocket_reserved_type",
            Self::MessageTooBig { stage, .. } | Self::InflatedTooBig { stage, .. } => match stage {
                Stage::Establishing => "hello_too_big",
                Stage::Established => "message_too_big",
            },
            Self::Inflate => "websocket_inflate",
            Self::WebSocket(violation) => violation.kind(),
            Self::InvalidUtf8 => "invalid_utf8",
            Self::WrongMessageType { .. } => "wrong_message_type",
            Self::Batch(fault) => fault.kind(),
        }
    }

    /// What of a handshake it belongs to, for counters.
    pub const fn stage(self) -> &'static str {
        match self {
            Self::Proxy(_) => "proxy",
            Self::Tls(_) => "tls",
            Self::Http(_) => "http",
            Self::Handshake(_) => "rawsocket",
            _ => "transport",
        }
    }

    /// Whether the peer has tried to get in and failed, other than by a request that was understood
    /// and refused in words, as those of people and health checks are.
    pub const fn is_failed_handshake(self) -> bool {
        match self {
            Self::Http(refusal) => matches!(
                refusal,
                HttpRefusal::HeadTooLarge | HttpRefusal::Malformed | HttpRefusal::TooManyHeaders
            ),
            // Not the peer's fault.
            Self::Tls(TlsFault::Busy) | Self::HealthCheck => false,
            _ => true,
        }
    }

    /// What to close an open WebSocket with (TR-WS-04, TR-WS-05); `None` before it is open.
    pub const fn close_code(self) -> Option<CloseCode> {
        match self {
            Self::WebSocket(_) => Some(CloseCode::Protocol),
            Self::WrongMessageType { .. } => Some(CloseCode::Unsupported),
            Self::InvalidUtf8 | Self::Batch(_) | Self::Inflate => Some(CloseCode::Invalid),
            Self::MessageTooBig { .. } | Self::InflatedTooBig { .. } => Some(CloseCode::Size),
            _ => None,
        }
    }
}

/// What is wrong below the transport, on a listener with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// What came begins with this byte, and no handshake does.
    #[error("the first byte {0:#04x} begins no TLS handshake, and this listener speaks TLS")]
    Plain(u8),
    /// As many handshakes are under way as may be (`limits.tls_handshakes`).
    #[error("too many TLS handshakes are under way (limits.tls_handshakes)")]
    Busy,
    #[error("the TLS handshake failed: {0}")]
    Handshake(&'static str),
    #[error("the TLS connection failed: {0}")]
    Record(&'static str),
    /// The stream ended without close_notify: somebody may have cut it (RFC 8446, 6.1).
    #[error("the TLS connection ended without close_notify")]
    Truncated,
}

impl TlsFault {
    const fn kind(self) -> &'static str {
        match self {
            Self::Plain(_) => "plain_on_tls_listener",
            Self::Busy => "tls_handshakes_full",
            Self::Handshake(_) => "tls_handshake",
            Self::Record(_) => "tls_record",
            Self::Truncated => "tls_truncated",
        }
    }
}

impl Stage {
    /// Which key of the configuration bounds a message.
    const fn limit_name(self) -> &'static str {
        match self {
            Self::Establishing => " before the session is established (limits.hello_bytes)",
            Self::Established => " (limits.message_bytes)",
        }
    }
}

/// What RFC 6455 forbids a client to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    CloseCode(u16),
    ClosePayload,
    ControlFragmented,
    ControlTooLong,
    LengthNotMinimal,
    LengthTopBit,
    NewMessageInsideFragments,
    ReservedBits,
    ReservedOpcode(u8),
    StrayContinuation,
    Unmasked,
}

impl Violation {
    pub const fn kind(self) -> &'static str {
        match self {
            Self::CloseCode(_) => "websocket_close_code",
            Self::ClosePayload => "websocket_close_payload",
            Self::ControlFragmented => "websocket_control_fragmented",
            Self::ControlTooLong => "websocket_control_too_long",
            Self::LengthNotMinimal => "websocket_length_not_minimal",
            Self::LengthTopBit => "websocket_length_top_bit",
            Self::NewMessageInsideFragments => "websocket_new_message_inside_fragments",
            Self::ReservedBits => "websocket_reserved_bits",
            Self::ReservedOpcode(_) => "websocket_reserved_opcode",
            Self::StrayContinuation => "websocket_stray_continuation",
            Self::Unmasked => "websocket_unmasked",
        }
    }

    /// One phrase for a close frame or a log.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::CloseCode(_) => "a close code that must not be sent",
            Self::ClosePayload => "a close frame with one byte of payload",
            Self::ControlFragmented => "a fragmented control frame",
            Self::ControlTooLong => "a control frame of more than 125 bytes",
            Self::LengthNotMinimal => "a length that is not in its shortest form",
            Self::LengthTopBit => "a length with its top bit set",
            Self::NewMessageInsideFragments => "a new message before the last fragment",
            Self::ReservedBits => "reserved bits without an extension",
            Self::ReservedOpcode(_) => "a reserved opcode",
            Self::StrayContinuation => "a continuation of no message",
            Self::Unmasked => "an unmasked client frame",
        }
    }
}

/// Why an HTTP request did not become a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpRefusal {
    Body,
    /// Too many connections come from the peer's address, or came.
    Crowded,
    Full,
    HeadTooLarge,
    Host,
    Key,
    Malformed,
    Method,
    NoSubprotocol,
    NotUpgrade,
    OldHttp,
    Origin,
    Path,
    /// The router is about to stop.
    Stopping,
    Subprotocol,
    Target,
    /// The listener speaks TLS.
    TlsOnly,
    /// More than [`HTTP_HEADERS`](crate::limits::HTTP_HEADERS).
    TooManyHeaders,
    Version,
}

impl HttpRefusal {
    pub const fn status(self) -> u16 {
        match self {
            Self::Body | Self::Host | Self::Key | Self::Malformed | Self::OldHttp => 400,
            Self::NoSubprotocol | Self::Subprotocol | Self::Target | Self::TlsOnly => 400,
            Self::Origin => 403,
            Self::Path => 404,
            Self::Method => 405,
            Self::NotUpgrade | Self::Version => 426,
            Self::HeadTooLarge | Self::TooManyHeaders => 431,
            Self::Crowded | Self::Full | Self::Stopping => 503,
        }
    }

    pub const fn kind(self) -> &'static str {
        match self {
            Self::Body => "http_body",
            Self::Crowded => "http_crowded",
            Self::Full => "http_full",
            Self::HeadTooLarge => "http_head_too_large",
            Self::Host => "http_host",
            Self::Key => "http_websocket_key",
            Self::Malformed => "http_malformed",
            Self::Method => "http_method",
            Self::NoSubprotocol => "http_no_subprotocol",
            Self::NotUpgrade => "http_not_upgrade",
            Self::OldHttp => "http_old_version",
            Self::Origin => "http_origin",
            Self::Path => "http_path",
            Self::Stopping => "http_stopping",
            Self::Subprotocol => "http_subprotocol",
            Self::Target => "http_target",
            Self::TlsOnly => "http_on_tls_listener",
            Self::TooManyHeaders => "http_too_many_headers",
            Self::Version => "http_websocket_version",
        }
    }

    pub const fn reason(self) -> &'static str {
        match self {
            Self::Body => "a WebSocket request has no body",
            Self::Crowded => "too many connections come from this address",
            Self::Full => "all connections of this router are taken",
            Self::HeadTooLarge => "the request head is too large",
            Self::Host => "exactly one Host header with a valid host is required",
            Self::Key => "Sec-WebSocket-Key must be given once, with 16 bytes in Base64",
            Self::Malformed => "the request is not well-formed HTTP/1.1",
            Self::Method => "only GET is supported",
            Self::NoSubprotocol => "no WAMP subprotocol was offered in Sec-WebSocket-Protocol",
            Self::NotUpgrade => "this is a WAMP router, which speaks WebSocket",
            Self::OldHttp => "a WebSocket needs HTTP/1.1",
            Self::Origin => {
                "pages of this origin may not connect: add it to `origins` of the listener"
            }
            Self::Path => "nothing is served at this path",
            Self::Stopping => "this router is stopping",
            Self::Subprotocol => "none of the offered subprotocols is supported",
            Self::Target => "the request target must be a path or an http URL",
            Self::TlsOnly => "this port speaks TLS",
            Self::TooManyHeaders => "the request has too many headers",
            Self::Version => "only version 13 of the WebSocket protocol is supported",
        }
    }
}

/// Why a RawSocket handshake was refused, with its number on the wire (TR-RS-04).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HandshakeRefusal {
    Serializer = 1,
    MaxLength = 2,
    ReservedBits = 3,
    ConnectionLimit = 4,
}

impl HandshakeRefusal {
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Serializer => "rawsocket_serializer",
            Self::MaxLength => "rawsocket_max_length",
            Self::ReservedBits => "rawsocket_handshake_reserved_bits",
            Self::ConnectionLimit => "rawsocket_full",
        }
    }

    pub const fn reason(self) -> &'static str {
        match self {
            Self::Serializer => "serializer unsupported",
            Self::MaxLength => "maximum message length unacceptable",
            Self::ReservedBits => "use of reserved bits",
            Self::ConnectionLimit => "maximum connection count reached",
        }
    }
}
