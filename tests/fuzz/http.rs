//! The head of an HTTP request: nothing becomes a WebSocket that RFC 6455 does not allow to, and
//! everything else gets a whole answer or waits.

use std::collections::BTreeSet;

use stentor::codec::Codec;
use stentor::transport::{
    HttpRefusal, Origins, PathRules, ProxyFault, TransportError, TransportRules,
};
use tungstenite::handshake::derive_accept_key;

use super::cuts::{outcome, short_rules};
use super::harness::{Connection, Event};

pub(super) fn head(data: &[u8]) {
    for rules in [short_rules(), narrow_rules(), serving_rules()] {
        judge(data, &rules);
    }
}

/// A listener that restricts what it can.
fn narrow_rules() -> TransportRules {
    let apart = PathRules {
        path: "/apart".into(),
        allowed_origins: Origins::Local,
        ..PathRules::default()
    };
    TransportRules {
        paths: vec!["/ws".into()],
        paths_apart: vec![apart],
        codecs: vec![Codec::Cbor],
        batched: false,
        default_subprotocol: Some(Codec::Cbor),
        allowed_origins: Origins::Listed(vec!["*.example.org".into()]),
        ..short_rules()
    }
}

/// One that serves something else, too.
fn serving_rules() -> TransportRules {
    TransportRules { paths: vec!["/ws".into()], http_paths: vec!["/".into()], ..short_rules() }
}

fn judge(data: &[u8], rules: &TransportRules) {
    if !data.first().is_some_and(u8::is_ascii_alphabetic) {
        return;
    }
    let end = data.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
    let end = end.filter(|end| *end <= rules.http_head_bytes);
    let bytes = &data[..end.unwrap_or(data.len())];
    let outcome = outcome(|| Connection::new(rules.clone()), bytes);
    match (outcome.error, end) {
        (None, None) => {
            assert!(bytes.len() < rules.http_head_bytes, "a head that never ends is refused");
            assert!(outcome.events.is_empty() && outcome.reply.is_empty());
        }
        (None, Some(_)) if matches!(outcome.events[..], [Event::Http(_)]) => {
            assert_eq!(outcome.events, [Event::Http(bytes.to_vec())], "all of it is for others");
            assert!(outcome.reply.is_empty() && !rules.http_paths.is_empty());
            Head::of(bytes).check_other();
        }
        (None, Some(_)) => {
            let [Event::Opened(codec, ..)] = outcome.events[..] else {
                panic!("a whole head is judged: {:?}", outcome.events)
            };
            Head::of(bytes).check_upgrade(codec, rules, &outcome.reply);
        }
        (Some(TransportError::Http(refusal)), _) => {
            assert!(outcome.events.is_empty());
            check_refusal(refusal, &outcome.reply, bytes.starts_with(b"HEAD "));
        }
        (Some(TransportError::Proxy(ProxyFault::Unexpected)), _) => {
            assert!(bytes.starts_with(b"PROXY "), "only what a proxy says is taken for that");
            assert!(outcome.events.is_empty() && outcome.reply.is_empty());
        }
        (Some(other), _) => panic!("{other} is no fault of a request"),
    }
}

/// A request by its lines, as somebody would read it who does not know what may be malformed.
struct Head {
    first: String,
    fields: Vec<(String, String)>,
}

impl Head {
    fn of(bytes: &[u8]) -> Self {
        // Each byte is a letter, whatever it means.
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        let mut lines = text.split('\n').map(|line| line.trim_ascii());
        let first = lines.next().expect("a request line").to_owned();
        let fields = lines.filter_map(|line| line.split_once(':'));
        let field = |(name, value): (&str, &str)| {
            (name.to_ascii_lowercase(), value.trim_ascii().to_owned())
        };
        Self { first, fields: fields.map(field).collect() }
    }

    fn values(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|field| field.0 == name);
        named.map(|field| field.1.as_str()).collect()
    }

    fn tokens(&self, name: &str) -> Vec<String> {
        let values = self.values(name);
        let tokens = values.iter().flat_map(|value| value.split(',')).map(str::trim_ascii);
        tokens.filter(|token| !token.is_empty()).map(str::to_owned).collect()
    }

    /// A request with a path, and none that opens a WebSocket.
    fn check_other(&self) {
        let target = self.first.split(' ').nth(1).unwrap_or_default();
        assert!(target.contains('/') || target.contains("://"), "it has a path: {}", self.first);
        let names = |header: &str, wanted: &str| {
            self.tokens(header).iter().any(|token| token.eq_ignore_ascii_case(wanted))
        };
        assert!(!names("upgrade", "websocket") || !names("connection", "upgrade"));
    }

    /// RFC 6455, 4.2.1 and 4.2.2.
    fn check_upgrade(&self, codec: Codec, rules: &TransportRules, reply: &[u8]) {
        assert!(self.first.starts_with("GET ") && self.first.ends_with(" HTTP/1.1"));
        assert_eq!(self.values("host").len(), 1);
        let names = |header: &str, wanted: &str| {
            self.tokens(header).iter().any(|token| token.eq_ignore_ascii_case(wanted))
        };
        assert!(names("upgrade", "websocket") && names("connection", "upgrade"));
        assert_eq!(self.values("sec-websocket-version"), ["13"]);
        let [key] = self.values("sec-websocket-key")[..] else { panic!("one key") };
        assert!(key.len() == 24 && key.ends_with("=="), "the key is of 16 bytes: {key}");
        assert!(self.values("transfer-encoding").is_empty(), "a request without a body");
        assert!(rules.codecs.contains(&codec), "the listener has this serializer");
        for origin in self.values("origin") {
            let is_listed = origin.to_ascii_lowercase().contains(".example.org");
            // Only the path apart admits them, which may be escaped; there are many ways to write
            // a loopback address.
            let is_apart = self.first.contains("part") || self.first.contains('%');
            let is_local = is_apart && origin.contains(['1', 'l', 'L']);
            let is_same = matches!(rules.allowed_origins, Origins::Same);
            assert!(is_same || is_listed || is_local, "a page of {origin}");
        }
        let offered = self.tokens("sec-websocket-protocol");
        let batched = if answer_names_batched(reply) { ".batched" } else { "" };
        assert!(batched.is_empty() || rules.batched, "the listener has batches");
        let chosen = format!("wamp.2.{}{batched}", codec.as_str());
        let answer = str::from_utf8(reply).expect("an answer is text");
        let accepted =
            format!("\r\nSec-WebSocket-Accept: {}\r\n", derive_accept_key(key.as_bytes()));
        assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains(&accepted));
        let names_one = answer.contains(&format!("\r\nSec-WebSocket-Protocol: {chosen}\r\n"));
        assert_eq!(names_one, offered.contains(&chosen), "{offered:?} was offered");
        assert!(names_one || rules.default_subprotocol == Some(codec));
        // TR-WS-03: the first of the client's list that the listener has.
        let serves = |name: &&String| {
            let plain = name.strip_suffix(".batched").filter(|_| rules.batched);
            let named = plain.unwrap_or(name);
            rules.codecs.iter().any(|codec| named == format!("wamp.2.{}", codec.as_str()))
        };
        assert_eq!(offered.iter().find(serves), names_one.then_some(&chosen), "{offered:?}");
        assert_eq!(answer.matches("\r\n\r\n").count(), 1, "a head and nothing behind it");
    }
}

fn answer_names_batched(reply: &[u8]) -> bool {
    reply.windows(10).any(|window| window == b".batched\r\n")
}

/// A whole answer, of which nothing is what the client wrote but a line of plain text.
fn check_refusal(refusal: HttpRefusal, reply: &[u8], is_head: bool) {
    let mut headers = [httparse::EMPTY_HEADER; 8];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = response.parse(reply) else {
        panic!("no answer: {:?}", String::from_utf8_lossy(reply))
    };
    assert_eq!(response.code, Some(refusal.status()));
    let names: BTreeSet<_> = response.headers.iter().map(|header| header.name).collect();
    assert!(names.iter().all(|name| HEADERS.contains(name)), "{names:?}");
    assert_eq!(names.len(), response.headers.len(), "each header once");
    let declared = response.headers.iter().find(|header| header.name == "Content-Length");
    let declared = str::from_utf8(declared.expect("a length").value).expect("a number");
    let body = &reply[length..];
    if is_head {
        assert!(body.is_empty(), "HEAD gets no body");
    } else {
        assert_eq!(declared, body.len().to_string());
    }
    let is_plain = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let line = body.strip_suffix(b"\n").unwrap_or(body);
    assert!(body.len() < 600 && line.iter().all(is_plain), "one line of text");
}

const HEADERS: [&str; 7] = [
    "Allow",
    "Connection",
    "Content-Length",
    "Content-Type",
    "Retry-After",
    "Sec-WebSocket-Version",
    "Upgrade",
];
