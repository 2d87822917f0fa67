//! Every way in: WebSocket and RawSocket over TCP, IPv6 and Unix sockets, and what is refused.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use serde_json::json;
use stentor::codec::Codec;
use stentor::config::{ListenAddress, Listener};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

use crate::sockets::{
    Client, Frame, Kind, PATIENCE, Stream, address, config, hello, http_upgrade, raw_frame,
    raw_handshake, settles, start, websocket_frame,
};

const JSON: Kind = Kind::Ws(Codec::Json);
const RAW: Kind = Kind::Raw(Codec::Cbor);

fn listener(text: &str) -> Listener {
    Listener::on(text.parse().unwrap())
}

/// Sends bytes, reads to the end.
fn ask(address: &ListenAddress, request: &[u8]) -> Vec<u8> {
    let mut stream = Stream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// A session that subscribes, publishes to itself by another session, and leaves.
fn check_works(address: &ListenAddress, kind: Kind) {
    let mut subscriber = Client::join(address, kind);
    let mut publisher = Client::join(address, kind);
    subscriber.subscribe("com.x");
    publisher.publish_acknowledged("com.x", &json!("text"));
    assert_eq!(subscriber.expect(36)[4], json!(["text"]));
    publisher.goodbye();
    subscriber.goodbye();
}

#[test]
fn one_port_serves_both_transports_in_all_serializers() {
    for shards in [1, 2, 8] {
        let server = start(&config(shards));
        for codec in Codec::ALL {
            check_works(address(&server), Kind::Raw(codec));
            check_works(address(&server), Kind::Ws(codec));
        }
        settles(&server);
        server.stop().unwrap();
    }
}

#[test]
fn several_listeners_serve_the_same_realms() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stentor.sock");
    let mut config = config(2);
    config.listeners.push(listener("[::1]:0"));
    config.listeners.push(listener(&format!("unix:{}", file.display())));
    let server = start(&config);
    let mut clients = Vec::new();
    for address in server.addresses() {
        clients.push(Client::join(address, JSON));
        clients.push(Client::join(address, RAW));
    }
    for client in &mut clients {
        client.subscribe("com.x");
    }
    clients[0].publish("com.x", &json!(1));
    for client in &mut clients[1..] {
        assert_eq!(client.expect(36)[4], json!([1]));
    }
    drop(clients);
    settles(&server);
    server.stop().unwrap();
}

#[test]
fn a_listener_speaks_only_what_it_is_told_to() {
    let mut config = config(1);
    let raw = Listener { websocket: false, ..listener("127.0.0.1:0") };
    let codecs = vec![Codec::Json];
    let web = Listener { rawsocket: false, serializers: codecs, ..listener("127.0.0.1:0") };
    config.listeners = vec![raw, web];
    let server = start(&config);
    let [raw, web] = server.addresses() else { panic!("two listeners") };
    check_works(raw, RAW);
    check_works(web, JSON);
    assert_eq!(ask(raw, b"GET / HTTP/1.1\r\n\r\n"), b"");
    assert_eq!(ask(web, &raw_handshake(Codec::Json, 15)), b"");
    let cbor = Client::open_on(Stream::connect(web).unwrap(), Kind::Ws(Codec::Cbor));
    assert!(cbor.unwrap_err().to_string().starts_with("HTTP/1.1 400 "));
    settles(&server);
}

/// One address for every network; IPv4 keeps its own listener if it has one.
#[test]
fn the_unspecified_address_takes_both_families() {
    let mut config = config(1);
    config.listeners = vec![listener("[::]:0")];
    let server = start(&config);
    let ListenAddress::Tcp(bound) = address(&server) else { panic!("TCP") };
    for host in ["127.0.0.1", "[::1]"] {
        check_works(&format!("{host}:{}", bound.port()).parse().unwrap(), JSON);
    }
    assert_eq!(config.networks(&"[::]:0".parse().unwrap()), Some("IPv6 and IPv4"));
    settles(&server);
    let port = bound.port();
    server.stop().unwrap();

    let both = ["0.0.0.0", "[::]"].map(|host| listener(&format!("{host}:{port}")));
    config.listeners = both.to_vec();
    assert_eq!(config.networks(&config.listeners[0].address), None);
    assert_eq!(config.networks(&config.listeners[1].address), Some("IPv6 only"));
    let server = start(&config);
    for host in ["127.0.0.1", "[::1]"] {
        check_works(&format!("{host}:{port}").parse().unwrap(), RAW);
    }
    settles(&server);
}

/// TR-OT-02.
#[test]
fn a_unix_socket_replaces_a_stale_file_and_removes_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stentor.sock");
    drop(UnixListener::bind(&file).unwrap()); // A router that died leaves its file.
    let mut config = config(1);
    let on_file = listener(&format!("unix:{}", file.display()));
    config.listeners = vec![Listener { unix_mode: Some(0o620), ..on_file }];
    let server = start(&config);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o620);
    check_works(address(&server), JSON);
    check_works(address(&server), RAW);

    let error = stentor::net::Server::start(&config).unwrap_err().to_string();
    assert!(error.contains("stentor.sock") && error.contains("in use"), "{error}");
    assert!(file.exists(), "a failed start leaves the living router's file alone");
    check_works(address(&server), RAW);
    server.stop().unwrap();
    assert!(!file.exists());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("precious");
    fs::write(&file, "text").unwrap();
    let mut config = config(1);
    config.listeners = vec![listener(&format!("unix:{}", file.display()))];
    stentor::net::Server::start(&config).unwrap_err();
    assert_eq!(fs::read_to_string(&file).unwrap(), "text");
}

#[test]
fn plain_requests_get_a_helpful_answer() {
    let server = start(&config(1));
    let upgrade = http_upgrade("/ws", "wamp.2.json");
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "426"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(), "405"),
        (http_upgrade("/nowhere", "wamp.2.json"), "404"),
        (http_upgrade("/ws", "wamp.1, soap"), "400"),
        (upgrade.replace("Host: localhost\r\n", ""), "400"),
        (upgrade.replace("Version: 13", "Version: 8"), "426"),
        (upgrade.replace("\r\n\r\n", &format!("\r\nX: {}\r\n\r\n", "x".repeat(17_000))), "431"),
        ("what is this\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = String::from_utf8(ask(address(&server), request.as_bytes())).unwrap();
        let line = answer.lines().next().unwrap_or_default();
        assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{line} to {request}");
        assert!(answer.contains("Connection: close"), "{answer}");
    }
    settles(&server);
    assert_eq!(server.snapshot().connections_refused, 8);
}

#[test]
fn rawsocket_refusals_have_their_numbers() {
    let server = start(&config(1));
    for (octets, answer) in [
        ([0x7F, 0xF0, 0, 0], &[0x7F, 0x10, 0, 0][..]),
        ([0x7F, 0xF9, 0, 0], &[0x7F, 0x10, 0, 0]),
        ([0x7F, 0xF1, 0, 1], &[0x7F, 0x30, 0, 0]),
        // A TLS client understands an alert.
        ([0x16, 3, 1, 0], &[21, 3, 1, 0, 2, 2, 40]),
        ([0, 1, 2, 3], &[]),
    ] {
        assert_eq!(ask(address(&server), &octets), answer, "{octets:?}");
    }
    settles(&server);
}

#[test]
fn a_foreign_websocket_client_is_served() {
    let server = start(&config(2));
    let ListenAddress::Tcp(tcp) = address(&server) else { panic!("a TCP listener") };
    let mut request = format!("ws://{tcp}/ws").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "wamp.2.json".parse().unwrap());
    let stream = std::net::TcpStream::connect(tcp).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut socket, response) = tungstenite::client(request, stream).unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "wamp.2.json");
    socket.send(Message::text(hello("realm1").to_string())).unwrap();
    assert!(socket.read().unwrap().to_text().unwrap().starts_with("[2,"));
    socket.send(Message::Ping("still there?".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("still there?".into()));
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    assert!(!socket.can_read());
    settles(&server);
}

#[test]
fn pings_are_answered_before_and_after_hello() {
    let server = start(&config(1));
    for kind in [JSON, RAW] {
        let mut client = Client::open(address(&server), kind);
        let ping = |payload: &[u8]| match kind {
            Kind::Raw(_) => raw_frame(1, payload),
            Kind::Ws(_) => websocket_frame(9, true, payload),
        };
        client.write(&ping(b"early")).unwrap();
        assert_eq!(client.next_frame(), Frame::Pong(b"early".to_vec()));
        client.hello("realm1");
        client.write(&ping(&[7; 125])).unwrap();
        assert_eq!(client.next_frame(), Frame::Pong(vec![7; 125]));
        client.goodbye();
    }
    settles(&server);
}

/// BP-SES-15: with GOODBYE before it, and without.
#[test]
fn a_websocket_closes_in_order() {
    for leaves in [true, false] {
        close_in_order(leaves);
    }
}

fn close_in_order(leaves: bool) {
    let server = start(&config(1));
    let mut client = Client::join(address(&server), JSON);
    if leaves {
        client.goodbye();
    }
    client.write(&websocket_frame(8, true, &[0x03, 0xE8])).unwrap();
    assert_eq!(client.next_frame(), Frame::Close(1000));
    assert_eq!(client.next_frame(), Frame::End, "the router closes the socket first");
    settles(&server);
}

/// RFC 6455, 5.5.1: what waits goes before the echo of the peer's close, and nothing after it.
#[test]
fn nothing_follows_the_echo_of_a_close() {
    let server = start(&config(1));
    let mut client = Client::join(address(&server), JSON);
    client.subscribe("com.x");
    let mut bytes = JSON.message(&json!([32, 2, {}, "com.y"]));
    bytes.extend(JSON.message(&json!([16, 3, {"exclude_me": false}, "com.x", ["x"]])));
    bytes.extend(websocket_frame(9, true, b"ping"));
    bytes.extend(websocket_frame(8, true, &[0x03, 0xE8]));
    bytes.extend(websocket_frame(9, true, b"late"));
    client.write(&bytes).unwrap();
    assert_eq!(client.next_frame(), Frame::Pong(b"ping".to_vec()));
    client.expect(33);
    client.expect(36);
    assert_eq!(client.next_frame(), Frame::Close(1000));
    assert_eq!(client.next_frame(), Frame::End);
    settles(&server);
}

#[test]
fn input_may_come_byte_by_byte_or_in_fragments() {
    let server = start(&config(1));
    for kind in [JSON, RAW, Kind::Ws(Codec::MsgPack)] {
        let mut client = Client::on(Stream::connect(address(&server)).unwrap(), kind);
        let mut bytes = kind.opening();
        bytes.extend(kind.message(&hello("realm1")));
        for byte in bytes {
            client.write(&[byte]).unwrap();
        }
        client.read_opening().unwrap();
        client.welcomed();
        client.goodbye();
    }
    let mut client = Client::join(address(&server), JSON);
    let text = JSON.encode(&json!([32, 1, {}, "com.größe"]));
    for (position, byte) in text.iter().enumerate() {
        let opcode = u8::from(position == 0);
        let last = position + 1 == text.len();
        client.write(&websocket_frame(opcode, last, &[*byte])).unwrap();
        if position == 3 {
            client.write(&websocket_frame(9, true, b"in between")).unwrap();
        }
    }
    assert_eq!(client.next_frame(), Frame::Pong(b"in between".to_vec()));
    client.expect(33);
    drop(client);
    settles(&server);
}

#[test]
fn hello_may_follow_the_opening_at_once() {
    let server = start(&config(1));
    for kind in [JSON, RAW] {
        let mut client = Client::on(Stream::connect(address(&server)).unwrap(), kind);
        let mut bytes = kind.opening();
        bytes.extend(kind.message(&hello("realm1")));
        bytes.extend(kind.message(&json!([32, 1, {}, "com.x"])));
        client.write(&bytes).unwrap();
        client.read_opening().unwrap();
        client.welcomed();
        client.expect(33);
    }
    settles(&server);
}

/// BP-MOD-02.
#[test]
fn a_transport_outlives_its_session() {
    let server = start(&config(2));
    for kind in [JSON, RAW] {
        let mut client = Client::open(address(&server), kind);
        let mut last = 0;
        for realm in ["realm1", "realm2", "realm1"] {
            client.hello(realm);
            assert_ne!(client.session, last);
            last = client.session;
            client.subscribe("com.x");
            client.register("com.x");
            client.goodbye();
        }
    }
    settles(&server);
    assert_eq!(server.snapshot().sessions_joined, 6);
}
