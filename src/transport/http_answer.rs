//! The answer to an HTTP request that does not become a WebSocket: complete, plain text, and
//! saying what to do instead.

use std::fmt::Write;

use crate::codec::Codec;
use crate::limits::HTTP_HEADERS;

use super::{HttpRefusal, TransportRules};

/// The WebSocket subprotocol of a serializer (TR-WS-02).
pub(super) const fn subprotocol(codec: Codec) -> &'static str {
    match codec {
        Codec::Json => "wamp.2.json",
        Codec::MsgPack => "wamp.2.msgpack",
        Codec::Cbor => "wamp.2.cbor",
    }
}

/// Which kind of answer a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// GET and its like: head and body.
    Whole,
    /// HEAD: the same head, and no body (RFC 9110, 9.3.2).
    HeadOnly,
}

impl Asked {
    /// By the first bytes of a request, which may not have come whole: without a method nobody
    /// can tell, and an answer without a body is right in any case.
    pub(super) fn by(request: &[u8]) -> Self {
        let is_head = request.starts_with(HEAD) || HEAD.starts_with(request);
        if is_head { Self::HeadOnly } else { Self::Whole }
    }
}

/// Appends the whole answer. `offered` is what the client wanted, if that is what was wrong.
pub(super) fn refuse(
    refusal: HttpRefusal,
    offered: &str,
    asked: Asked,
    rules: &TransportRules,
    reply: &mut Vec<u8>,
) {
    let body = sentence(refusal, offered, rules);
    let head = format!(
        "HTTP/1.1 {} {}\r\n{}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: {}\r\n\r\n",
        refusal.status(),
        phrase(refusal.status()),
        extra_headers(refusal),
        body.len(),
        if refusal.status() == 426 { "close, Upgrade" } else { "close" },
    );
    reply.extend_from_slice(head.as_bytes());
    if asked == Asked::Whole {
        reply.extend_from_slice(body.as_bytes());
    }
}

/// Appends the whole answer to a health check.
pub(super) fn tell_health(is_ready: bool, asked: Asked, reply: &mut Vec<u8>) {
    let (status, body) = if is_ready { (200, "ready\n") } else { (503, "not ready: stopping\n") };
    let head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Cache-Control: no-store\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        phrase(status),
        body.len(),
    );
    reply.extend_from_slice(head.as_bytes());
    if asked == Asked::Whole {
        reply.extend_from_slice(body.as_bytes());
    }
}

fn sentence(refusal: HttpRefusal, offered: &str, rules: &TransportRules) -> String {
    let mut text = String::new();
    let mut add = |part: std::fmt::Arguments<'_>| {
        text.write_fmt(part).expect("a String takes everything");
    };
    add(format_args!("{}.", capitalized(refusal.reason())));
    match refusal {
        HttpRefusal::Subprotocol => {
            add(format_args!(" Offered: {}. Supported: {}.", printable(offered), supported(rules)));
        }
        HttpRefusal::NoSubprotocol => add(format_args!(" Supported: {}.", supported(rules))),
        HttpRefusal::NotUpgrade => add(format_args!(
            " Connect a WAMP client with one of the subprotocols {}, for example to \
             {}://<this host>{}.",
            supported(rules),
            if rules.tls { "wss" } else { "ws" },
            first_path(rules),
        )),
        HttpRefusal::Path => {
            add(format_args!(
                " WebSocket is served at {}.",
                rules.served_paths().collect::<Vec<_>>().join(", ")
            ));
        }
        HttpRefusal::HeadTooLarge => {
            add(format_args!(" The limit is {} bytes.", rules.http_head_bytes));
        }
        HttpRefusal::TooManyHeaders => add(format_args!(" The limit is {HTTP_HEADERS}.")),
        HttpRefusal::Target => {
            add(format_args!(" Write for example GET {} HTTP/1.1.", first_path(rules)));
        }
        HttpRefusal::TlsOnly => {
            add(format_args!(" Connect to wss://<this host>{} instead.", first_path(rules)));
        }
        HttpRefusal::Crowded | HttpRefusal::Full | HttpRefusal::Stopping => {
            add(format_args!(" Try again later."));
        }
        _ => {}
    }
    add(format_args!("\n"));
    text
}

fn first_path(rules: &TransportRules) -> &str {
    rules.served_paths().next().unwrap_or("/")
}

fn extra_headers(refusal: HttpRefusal) -> &'static str {
    match refusal {
        HttpRefusal::NotUpgrade => "Upgrade: websocket\r\n",
        HttpRefusal::Version => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        HttpRefusal::Method => "Allow: GET\r\n",
        HttpRefusal::Crowded | HttpRefusal::Full | HttpRefusal::Stopping => "Retry-After: 5\r\n",
        _ => "",
    }
}

fn supported(rules: &TransportRules) -> String {
    let names: Vec<_> = rules.codecs.iter().map(|codec| subprotocol(*codec)).collect();
    names.join(", ")
}

fn capitalized(reason: &str) -> String {
    let (first, rest) = reason.split_at(1);
    first.to_ascii_uppercase() + rest
}

/// What a stranger wrote, short and without anything that a terminal would obey.
fn printable(offered: &str) -> String {
    let plain = |c: &char| c.is_ascii_graphic() || *c == ' ';
    offered.chars().filter(plain).take(MAX_ECHO).collect()
}

const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Bad Request",
    }
}

const HEAD: &[u8] = b"HEAD ";
const MAX_ECHO: usize = 200;
