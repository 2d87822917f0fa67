//! Limits of one address: how many connections it has and makes, and how often it fails. Listed
//! proxies give the clients addresses, since this machine itself is never counted.

use std::io::{Read, Write};

use serde_json::json;
use stentor::codec::Codec;
use stentor::config::{Config, ListenAddress};
use stentor::net::Server;
use stentor::transport::ForwardedBy;

use crate::sockets::{
    Client, Kind, Pki, Stream, address, config, eventually, settles, start, tls_config,
};

const WS: Kind = Kind::Ws(Codec::Json);
const RAW: Kind = Kind::Raw(Codec::Cbor);

/// Listeners that believe this machine.
fn behind(mut config: Config, limit: impl FnOnce(&mut Config)) -> Server {
    let listener = &mut config.listeners[0];
    listener.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    listener.proxy_protocol = true;
    limit(&mut config);
    start(&config)
}

fn header(client: u8) -> String {
    format!("PROXY TCP4 203.0.113.{client} 10.0.0.7 4711 443\r\n")
}

/// A connection of this client.
fn connect(at: &ListenAddress, client: u8) -> Stream {
    let mut stream = Stream::connect(at).unwrap();
    stream.write_all(header(client).as_bytes()).unwrap();
    stream
}

fn join(at: &ListenAddress, client: u8, kind: Kind) -> Client {
    let mut client = Client::open_on(connect(at, client), kind).unwrap();
    client.hello("realm1");
    client
}

/// What a client is told that is not let in.
fn refused(at: &ListenAddress, client: u8, kind: Kind) -> String {
    Client::open_on(connect(at, client), kind).unwrap_err().to_string()
}

#[test]
fn each_address_has_so_many_connections() {
    let server = behind(config(2), |config| config.limits.connections_per_address = 2);
    let at = address(&server);
    let (first, mut second) = (join(at, 1, WS), join(at, 1, RAW));
    let answer = refused(at, 1, WS);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(refused(at, 1, RAW).starts_with("\u{7f}@"), "RawSocket error 4");
    let mut other = join(at, 2, WS);
    other.publish_acknowledged("com.x", &json!(1));
    second.publish_acknowledged("com.x", &json!(1));
    assert_eq!(server.snapshot().connections_crowded, 2);
    drop(first);
    // Its place is free when the router has seen it go.
    eventually("a place is free", || {
        Client::open_on(connect(at, 1), RAW).is_ok_and(|mut client| {
            client.hello("realm1");
            client.goodbye();
            true
        })
    });
    drop((second, other));
    settles(&server);
}

#[test]
fn this_machine_has_as_many_as_it_likes() {
    let mut config = config(1);
    config.limits.connections_per_address = 1;
    config.limits.connections_per_address_per_second = 1;
    let server = start(&config);
    let clients: Vec<_> = (0..5).map(|_| Client::join(address(&server), RAW)).collect();
    assert_eq!(server.snapshot().connections_crowded, 0);
    drop(clients);
    settles(&server);
}

#[test]
fn a_header_of_http_counts_as_well() {
    let mut config = config(1);
    config.limits.connections_per_address = 1;
    let listener = &mut config.listeners[0];
    listener.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    listener.forwarded = ForwardedBy::XForwardedFor;
    let server = start(&config);
    let open = |value: &str| {
        let mut client = Client::on(Stream::connect(address(&server)).unwrap(), WS);
        let opening = String::from_utf8(WS.opening()).unwrap();
        let with = format!("\r\nX-Forwarded-For: {value}\r\n");
        // HELLO comes with it: who is refused must not get in by haste.
        let hello = WS.message(&crate::sockets::hello("realm1"));
        client.write(&[opening.replacen("\r\n", &with, 1).as_bytes(), &hello].concat()).unwrap();
        client.read_opening().map(|()| client)
    };
    let mut first = open("203.0.113.1").unwrap();
    first.welcomed();
    let answer = open("203.0.113.1").unwrap_err().to_string();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After"), "{answer}");
    open("203.0.113.2").unwrap().welcomed();
    assert_eq!(server.snapshot().sessions_joined, 2);
    drop(first);
    settles(&server);
}

#[test]
fn who_fails_too_often_is_refused() {
    let server = behind(config(1), |config| config.limits.handshake_failures_per_address = 3);
    let at = address(&server);
    for bytes in [&b"\x01"[..], b"\x7f\xf9\0\0", b"GET / HTTP/1.1\r\nbroken\r\n\r\n"] {
        let mut stream = connect(at, 1);
        stream.write_all(bytes).unwrap();
        // What it has not read yet makes the router's end a reset.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert!(refused(at, 1, WS).starts_with("HTTP/1.1 503 "));
    // A request that was understood is no failure.
    for _ in 0..9 {
        let mut stream = connect(at, 2);
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    drop(join(at, 2, RAW));
    settles(&server);
}

/// Over TLS an answer would cost a handshake: the connection is closed before it.
#[test]
fn one_too_many_costs_no_handshake() {
    let pki = Pki::new();
    let config = tls_config(1, &[&pki.issue("a", &["localhost"])]);
    let server = behind(config, |config| config.limits.connections_per_address = 1);
    let trusting = pki.plain_client();
    let open = || {
        let stream = connect(address(&server), 1).secured(&trusting, "localhost");
        Client::open_on(stream, RAW)
    };
    let first = open().unwrap();
    assert!(open().is_err());
    assert_eq!(server.snapshot().tls_handshakes_full, 1);
    assert_eq!(server.snapshot().connections_crowded, 1);
    drop(first);
    settles(&server);
}

/// A flood behind a proxy is answered for a while, and closed without a word then.
#[test]
fn few_of_the_refused_are_answered() {
    let server = behind(config(1), |config| {
        config.limits.connections_per_address = 1;
        config.timeouts.handshake_ms = 60_000;
        config.timeouts.close_ms = 60_000;
    });
    let at = address(&server);
    let first = join(at, 1, RAW);
    // They say nothing: the answered ones wait for that.
    let silent: Vec<_> = (0..100).map(|_| connect(at, 1)).collect();
    eventually("all were judged", || server.snapshot().connections_crowded == 100);
    let closed = silent.iter().skip(50).filter(|stream| stream.is_closed()).count();
    assert!(closed > 0, "they are closed at once");
    drop((first, silent));
    settles(&server);
}
