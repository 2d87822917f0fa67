//! The HTTP half of a WebSocket handshake: finds the request's head and judges it (RFC 6455, 4.2;
//! TR-WS-02, TR-WS-03, TR-WS-06). Serves nothing else; what is refused is answered in full.

use httparse::{Header, Request, Status};
use tungstenite::handshake::derive_accept_key;

use crate::codec::Codec;
use crate::limits::HTTP_HEADERS;

use super::extension::Deflate;
use super::headers::PassedHeaders;
use super::http_answer::{Asked, refuse, subprotocol, tell_health};
use super::target::{is_authority, path_of};
use super::{Asker, HttpRefusal, Purpose, TransportError, TransportRules, WayIn, forwarded};

/// Finds the end of the request's head; `None` if it has not come yet.
///
/// `scanned` remembers how far the search went: a head that comes byte by byte is read once.
pub(super) fn find_head(
    input: &[u8],
    scanned: &mut u32,
    rules: &TransportRules,
    reply: &mut Vec<u8>,
) -> Result<Option<usize>, TransportError> {
    let seen = &input[..input.len().min(rules.http_head_bytes)];
    let from = (*scanned as usize).saturating_sub(END.len() - 1).min(seen.len());
    if let Some(at) = seen[from..].windows(END.len()).position(|window| window == END) {
        return Ok(Some(from + at + END.len()));
    }
    if input.len() >= rules.http_head_bytes {
        refuse(HttpRefusal::HeadTooLarge, "", Asked::by(input), rules, reply);
        return Err(TransportError::Http(HttpRefusal::HeadTooLarge));
    }
    *scanned = u32::try_from(seen.len()).unwrap_or(u32::MAX);
    Ok(None)
}

/// What client and listener have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) codec: Codec,
    /// Messages go in batches (TR-BAT-01).
    pub(super) is_batched: bool,
    /// Messages may be compressed (RFC 7692).
    pub(super) deflate: Option<Deflate>,
}

/// Judges a whole request head; writes either 101 or the refusal to `reply`, and to `asker` what it
/// tells of its sender. `None`: it is for others, and gets no answer here.
pub(super) fn upgrade(
    head: &[u8],
    asker: &mut Asker<'_>,
    rules: &TransportRules,
    reply: &mut Vec<u8>,
) -> Result<Option<Chosen>, TransportError> {
    let mut headers = [httparse::EMPTY_HEADER; HTTP_HEADERS];
    let mut request = Request::new(&mut headers);
    let parsed = match request.parse(head) {
        Ok(Status::Complete(length)) if length == head.len() => {
            let origin = forwarded::origin(request.headers, asker.by, &rules.proxies);
            asker.origin = origin.map(Box::new);
            if rules.health.is_some() && is_health_check(&request, rules) {
                tell_health(rules.is_ready, Asked::by(head), reply);
                return Err(TransportError::HealthCheck);
            }
            if !rules.http_paths.is_empty() && is_for_others(&request, rules) {
                return Ok(None);
            }
            judge(&request, rules)
        }
        Err(httparse::Error::TooManyHeaders) => Err((HttpRefusal::TooManyHeaders, String::new())),
        _ => Err((HttpRefusal::Malformed, String::new())),
    };
    match parsed {
        Ok(Accepted { chosen, key, negotiated, way_in, headers }) => {
            (*asker.way_in, asker.headers) = (way_in, headers.map(Box::new));
            write_switch(chosen, key, negotiated, reply);
            Ok(Some(chosen))
        }
        Err((refusal, detail)) => {
            refuse(refusal, &detail, Asked::by(head), rules, reply);
            Err(TransportError::Http(refusal))
        }
    }
}

struct Accepted<'a> {
    chosen: Chosen,
    key: &'a [u8],
    /// The client asked for a subprotocol, so the answer names one.
    negotiated: bool,
    way_in: WayIn,
    headers: Option<PassedHeaders>,
}

/// Whatever else it says: load balancers write short requests, of HTTP/1.0 too.
fn is_health_check(request: &Request<'_, '_>, rules: &TransportRules) -> bool {
    matches!(request.method, Some("GET" | "HEAD"))
        && path_of(request.path.unwrap_or_default()).is_some_and(|path| rules.is_health(&path))
}

/// Whether it asks for what is served otherwise, and is no WebSocket.
fn is_for_others(request: &Request<'_, '_>, rules: &TransportRules) -> bool {
    let path = path_of(request.path.unwrap_or_default());
    path.is_some_and(|path| rules.purpose(&path) == Purpose::Http) && !is_upgrade(request.headers)
}

/// The order puts what helps a person most first: method, path, and whether it is an upgrade.
fn judge<'a>(
    request: &Request<'_, 'a>,
    rules: &TransportRules,
) -> Result<Accepted<'a>, (HttpRefusal, String)> {
    let headers = &*request.headers;
    let fail = |refusal| Err((refusal, String::new()));
    if request.method != Some("GET") {
        return fail(HttpRefusal::Method);
    }
    let has_body = one(headers, "content-length").is_some_and(|length| length != b"0")
        || count(headers, "content-length") > 1
        || count(headers, "transfer-encoding") > 0;
    if has_body {
        return fail(HttpRefusal::Body);
    }
    let Some(path) = path_of(request.path.unwrap_or_default()) else {
        return fail(HttpRefusal::Target);
    };
    let Some(way_in) = rules.way_in(&path) else {
        return fail(HttpRefusal::Path);
    };
    if !is_upgrade(headers) {
        return fail(HttpRefusal::NotUpgrade);
    }
    if request.version != Some(1) {
        return fail(HttpRefusal::OldHttp);
    }
    if !one(headers, "host").is_some_and(|host| host.is_empty() || is_authority(host)) {
        return fail(HttpRefusal::Host);
    }
    if one(headers, "sec-websocket-version") != Some(b"13") {
        return fail(HttpRefusal::Version);
    }
    let Some(key) = one(headers, "sec-websocket-key").filter(|key| is_key(key)) else {
        return fail(HttpRefusal::Key);
    };
    let host = str::from_utf8(one(headers, "host").unwrap_or_default()).unwrap_or_default();
    let is_allowed = |origin| {
        str::from_utf8(origin).is_ok_and(|origin| rules.allows_origin(way_in, origin, host))
    };
    if !values(headers, "origin").all(is_allowed) {
        return fail(HttpRefusal::Origin);
    }
    let (mut chosen, negotiated) = choose_subprotocol(headers, rules)?;
    if rules.deflate {
        chosen.deflate = Deflate::choose(values(headers, "sec-websocket-extensions"));
    }
    let Ok(headers) = PassedHeaders::of(headers, rules) else {
        return fail(HttpRefusal::HeadTooLarge);
    };
    Ok(Accepted { chosen, key, negotiated, way_in, headers })
}

/// The first subprotocol of the client's list that the listener allows (TR-WS-03).
fn choose_subprotocol(
    headers: &[Header<'_>],
    rules: &TransportRules,
) -> Result<(Chosen, bool), (HttpRefusal, String)> {
    let offered = || tokens(headers, "sec-websocket-protocol");
    let chosen = offered().find_map(|name| {
        let batched = name.strip_suffix(BATCHED).filter(|_| rules.batched);
        let serializer = batched.unwrap_or(name);
        let named = |codec: &Codec| subprotocol(*codec).as_bytes() == serializer;
        let codec = rules.codecs.iter().copied().find(named)?;
        Some(Chosen { codec, is_batched: batched.is_some(), deflate: None })
    });
    match (chosen, rules.default_subprotocol) {
        (Some(chosen), _) => Ok((chosen, true)),
        (None, Some(codec)) if offered().next().is_none() => {
            Ok((Chosen { codec, is_batched: false, deflate: None }, false))
        }
        (None, _) if offered().next().is_none() => Err((HttpRefusal::NoSubprotocol, String::new())),
        (None, _) => {
            let names: Vec<_> = offered().map(String::from_utf8_lossy).collect();
            Err((HttpRefusal::Subprotocol, names.join(", ")))
        }
    }
}

fn write_switch(chosen: Chosen, key: &[u8], negotiated: bool, reply: &mut Vec<u8>) {
    reply.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    reply.extend_from_slice(b"Sec-WebSocket-Accept: ");
    reply.extend_from_slice(derive_accept_key(key).as_bytes());
    if negotiated {
        reply.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        reply.extend_from_slice(subprotocol(chosen.codec).as_bytes());
        reply.extend_from_slice(if chosen.is_batched { BATCHED } else { b"" });
    }
    if let Some(deflate) = chosen.deflate {
        reply.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
        reply.extend_from_slice(deflate.answer().as_bytes());
    }
    reply.extend_from_slice(END);
}

fn values<'h, 'a>(
    headers: &'h [Header<'a>],
    name: &'static str,
) -> impl Iterator<Item = &'a [u8]> + use<'h, 'a> {
    let named = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| header.value.trim_ascii())
}

fn count(headers: &[Header<'_>], name: &'static str) -> usize {
    values(headers, name).count()
}

/// The value of a header that occurs exactly once.
fn one<'a>(headers: &[Header<'a>], name: &'static str) -> Option<&'a [u8]> {
    let mut found = values(headers, name);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// The elements of a comma-separated list that may be spread over several headers.
fn tokens<'h, 'a>(
    headers: &'h [Header<'a>],
    name: &'static str,
) -> impl Iterator<Item = &'a [u8]> + use<'h, 'a> {
    values(headers, name)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

fn is_upgrade(headers: &[Header<'_>]) -> bool {
    has_token(headers, "upgrade", "websocket") && has_token(headers, "connection", "upgrade")
}

fn has_token(headers: &[Header<'_>], name: &'static str, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether it is the Base64 of 16 bytes; unused bits of the last character are not looked at.
fn is_key(key: &[u8]) -> bool {
    let Some((digits, b"==")) = key.split_last_chunk() else {
        return false;
    };
    digits.len() == 22
        && digits.iter().all(|digit| digit.is_ascii_alphanumeric() || b"+/".contains(digit))
}

const END: &[u8] = b"\r\n\r\n";

/// What the subprotocol of a serializer ends with where messages go in batches (TR-WS-02).
const BATCHED: &[u8] = b".batched";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sixteen_bytes_of_base64() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(!is_key(b"dGhlIHNhbXBsZSBub25jZQ="));
        assert!(!is_key(b"dGhlIHNhbXBsZSBub25j-Q=="));
        assert!(!is_key(b""));
    }

    #[test]
    fn the_search_for_the_end_goes_on_where_it_stopped() {
        let rules = TransportRules::default();
        let input = b"GET / HTTP/1.1\r\n\r\nrest";
        let mut scanned = 0;
        for length in 1..input.len() {
            let found = find_head(&input[..length], &mut scanned, &rules, &mut Vec::new());
            assert_eq!(found, Ok((length >= 18).then_some(18)));
        }
    }
}
