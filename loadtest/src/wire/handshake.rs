//! The client's half of the transport handshakes: an HTTP upgrade for WebSocket, four octets for
//! RawSocket, an introduction for the floor program, a greeting for NATS and Redis.

use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use super::Serializer;
use super::deflate::{self, Agreed};
use super::floor::{self, Introduction};
use super::{nats, redis};
use crate::url::{Target, Transport};

/// What the client still has to see before the transport is open.
#[derive(Debug, Default)]
pub struct Expected {
    accept: String,
    protocol: String,
    /// Whether compression was offered, and has to be agreed to.
    deflate: bool,
    /// Octets of the floor program's answer.
    floor_bytes: usize,
}

/// An answer with which the transport is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its octets.
    pub used: usize,
    /// How messages are compressed, if they are.
    pub deflate: Option<Agreed>,
}

/// Writes the opening bytes to `out` and says what must be answered. `introduction` is for programs
/// without WAMP, `deflate` for WebSockets.
pub fn open(
    target: &Target,
    serializer: Serializer,
    introduction: Introduction<'_>,
    deflate: bool,
    out: &mut Vec<u8>,
) -> Expected {
    let mut expected = Expected { deflate, ..Expected::default() };
    let extension = match deflate {
        true => format!("Sec-WebSocket-Extensions: {}\r\n", deflate::OFFER),
        false => String::new(),
    };
    match target.transport {
        Transport::WebSocket => {
            expected.protocol = format!("wamp.2.{}", serializer.name());
            let fields = format!("Sec-WebSocket-Protocol: {}\r\n{extension}", expected.protocol);
            expected.accept = put_upgrade(&target.host, &target.path, &fields, out);
        }
        Transport::Bun => {
            expected.accept = put_upgrade(&target.host, &path_of(introduction), &extension, out);
        }
        Transport::Nats => out.extend_from_slice(nats::CONNECT),
        Transport::Redis => out.extend_from_slice(redis::PING),
        // The first nibble asks for messages of up to 16 MiB.
        Transport::RawSocket => {
            out.extend_from_slice(&[0x7f, 0xf0 | serializer.rawsocket_id(), 0, 0]);
        }
        Transport::Floor => {
            floor::put_introduction(introduction, out);
            let is_join = introduction == Introduction::Join;
            expected.floor_bytes = if is_join { floor::ANSWER_BYTES } else { 1 };
        }
    }
    expected
}

/// Asks for an upgrade; `fields` are further lines of the head. What must be answered to its key.
fn put_upgrade(host: &str, path: &str, fields: &str, out: &mut Vec<u8>) -> String {
    let key = generate_key();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{fields}\r\n"
    );
    out.extend_from_slice(request.as_bytes());
    derive_accept_key(key.as_bytes())
}

/// Where loadtest/peers/bun.js serves a client of this kind.
fn path_of(introduction: Introduction<'_>) -> String {
    let (verb, topic) = match introduction {
        Introduction::Publish(topic) => ("publish", topic),
        Introduction::Subscribe(topic) => ("subscribe", topic),
        Introduction::Call(_) | Introduction::Answer(_) | Introduction::Join => ("", &b""[..]),
    };
    format!("/{verb}/{}", String::from_utf8_lossy(topic))
}

/// Reads the router's answer at the start of `buffer`; `None` if it is not complete yet.
pub fn finish(
    transport: Transport,
    serializer: Serializer,
    expected: &Expected,
    buffer: &[u8],
) -> Result<Option<Opened>, String> {
    let used = match transport {
        Transport::WebSocket | Transport::Bun => return finish_websocket(expected, buffer),
        Transport::Nats => nats::finish_handshake(buffer)?,
        Transport::Redis => redis::finish_handshake(buffer)?,
        Transport::RawSocket => finish_rawsocket(serializer, buffer)?,
        Transport::Floor => (buffer.len() >= expected.floor_bytes).then_some(expected.floor_bytes),
    };
    Ok(used.map(|used| Opened { used, deflate: None }))
}

fn finish_websocket(expected: &Expected, buffer: &[u8]) -> Result<Option<Opened>, String> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let used = match response.parse(buffer).map_err(|error| error.to_string())? {
        httparse::Status::Complete(used) => used,
        httparse::Status::Partial => return Ok(None),
    };
    if response.code != Some(101) {
        let reason = response.reason.unwrap_or_default();
        return Err(format!("HTTP {} {reason}", response.code.unwrap_or_default()));
    }
    let field = |name: &str| {
        let found = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.map_or(&[][..], |field| field.value)
    };
    if field("Sec-WebSocket-Accept") != expected.accept.as_bytes() {
        return Err("Sec-WebSocket-Accept does not match the key".to_owned());
    }
    if field("Sec-WebSocket-Protocol") != expected.protocol.as_bytes() {
        return Err(format!("subprotocol {} was not chosen", expected.protocol));
    }
    let extensions = String::from_utf8_lossy(field("Sec-WebSocket-Extensions"));
    let deflate = match expected.deflate {
        true => Some(deflate::agree(&extensions)?),
        // RFC 6455, 4.1
        false if !extensions.is_empty() => {
            return Err(format!("extension {extensions:?} was answered, and none was offered"));
        }
        false => None,
    };
    Ok(Some(Opened { used, deflate }))
}

fn finish_rawsocket(serializer: Serializer, buffer: &[u8]) -> Result<Option<usize>, String> {
    let Some(&[magic, second, ..]) = buffer.get(..4) else {
        return Ok(None);
    };
    if magic != 0x7f {
        return Err(format!("the answer begins with {magic:#04x}, not 0x7f"));
    }
    match (second & 0x0f, second >> 4) {
        (id, _) if id == serializer.rawsocket_id() => Ok(Some(4)),
        (0, 1) => Err("serializer unsupported".to_owned()),
        (0, 2) => Err("maximum message length unacceptable".to_owned()),
        (0, 4) => Err("maximum connection count reached".to_owned()),
        (id, code) => Err(format!("answered serializer {id}, error {code}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rawsocket_octets() {
        let target: Target = "rs://127.0.0.1:1".parse().unwrap();
        let mut out = Vec::new();
        let expected = open(&target, Serializer::MessagePack, Introduction::Join, false, &mut out);
        assert_eq!(out, [0x7f, 0xf2, 0, 0]);
        let finish = |bytes: &[u8]| {
            let opened = finish(Transport::RawSocket, Serializer::MessagePack, &expected, bytes);
            opened.map(|opened| opened.map(|opened| opened.used))
        };
        assert_eq!(finish(&[0x7f, 0xf2, 0]), Ok(None));
        assert_eq!(finish(&[0x7f, 0x52, 0, 0, 9]), Ok(Some(4)));
        assert_eq!(finish(&[0x7f, 0x10, 0, 0]), Err("serializer unsupported".to_owned()));
        assert!(finish(b"HTTP").is_err());
    }

    #[test]
    fn websocket_upgrade_is_checked() {
        let target: Target = "ws://127.0.0.1:1/ws".parse().unwrap();
        let mut out = Vec::new();
        let mut expected = open(&target, Serializer::Cbor, Introduction::Join, true, &mut out);
        let request = String::from_utf8(out).unwrap();
        assert!(request.starts_with("GET /ws HTTP/1.1\r\nHost: 127.0.0.1:1\r\n"));
        assert!(request.contains("Sec-WebSocket-Protocol: wamp.2.cbor\r\n"));
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
        assert!(request.contains(offer), "{request}");
        let answer = |accept: &str, protocol: &str, extension: &str| {
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                 sec-websocket-accept: {accept}\r\nsec-websocket-protocol: {protocol}\r\n\
                 {extension}\r\n\x01"
            )
        };
        let finish = |expected: &Expected, text: &str| finish_websocket(expected, text.as_bytes());
        let agreed = "sec-websocket-extensions: permessage-deflate; server_no_context_takeover\r\n";
        let accept = expected.accept.clone();
        let good = answer(&accept, "wamp.2.cbor", agreed);
        let opened = finish(&expected, &good).unwrap().unwrap();
        assert_eq!((opened.used, opened.deflate.is_some()), (good.len() - 1, true));
        assert_eq!(finish(&expected, &good[..40]), Ok(None));
        assert!(finish(&expected, &answer("nonsense", "wamp.2.cbor", agreed)).is_err());
        assert!(finish(&expected, &answer(&accept, "wamp.2.json", agreed)).is_err());
        assert!(finish(&expected, "HTTP/1.1 400 Bad Request\r\n\r\n").unwrap_err().contains("400"));
        let plain = answer(&accept, "wamp.2.cbor", "");
        assert!(finish(&expected, &plain).unwrap_err().contains("not agreed"));
        expected.deflate = false;
        assert_eq!(finish(&expected, &plain).unwrap().unwrap().deflate, None);
        assert!(finish(&expected, &good).unwrap_err().contains("none was offered"));
    }

    #[test]
    fn without_wamp_the_path_says_what_a_client_is() {
        let target: Target = "bun+ws://127.0.0.1:1".parse().unwrap();
        let mut out = Vec::new();
        let expected =
            open(&target, Serializer::Json, Introduction::Publish(b"a.b"), false, &mut out);
        let request = String::from_utf8(out).unwrap();
        assert!(request.starts_with("GET /publish/a.b HTTP/1.1\r\n"), "{request}");
        assert!(!request.contains("Protocol"), "{request}");
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            expected.accept
        );
        let found = finish(Transport::Bun, Serializer::Json, &expected, answer.as_bytes());
        assert_eq!(found, Ok(Some(Opened { used: answer.len(), deflate: None })));
    }
}
