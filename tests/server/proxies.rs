//! Proxies that say for whom they speak: over both transports, plainly and before TLS, cut into
//! pieces, and from peers that nobody has listed.

use std::io::{Read, Write};
use std::sync::Arc;

use serde_json::{Value, json};
use stentor::address::Network;
use stentor::codec::Codec;
use stentor::config::{Config, ListenAddress};
use stentor::net::Server;
use stentor::transport::ForwardedBy;

use crate::sockets::{
    Client, Kind, Pki, Stream, address, config, eventually, settles, start, tls_config,
};

const WS: Kind = Kind::Ws(Codec::Json);
const RAW: Kind = Kind::Raw(Codec::Cbor);

const V1: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.7 4711 443\r\n";

/// A header of version 2 with this command and address block.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[0x20 | command, family][..], &length, block].concat()
}

fn v2_of_ipv6() -> Vec<u8> {
    let mut block = vec![0; 36];
    block[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    block[15] = 9;
    block[32..34].copy_from_slice(&4711_u16.to_be_bytes());
    v2(1, 0x21, &block)
}

fn behind(mut config: Config, proxies: &[&str]) -> Config {
    config.realms.iter_mut().for_each(|realm| realm.disclose_peers = true);
    let listener = &mut config.listeners[0];
    listener.trusted_proxies =
        proxies.iter().map(|text| text.parse::<Network>().unwrap()).collect();
    listener.proxy_protocol = true;
    config
}

/// Where the router says that a client comes from.
fn peer(client: &mut Client) -> String {
    let session = client.session;
    client.call("wamp.session.get", &json!(session));
    let result = client.expect(50);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    text(&result[3][0]["transport"]["peer"])
}

/// Joins behind a header.
fn join(at: &ListenAddress, header: &[u8], kind: Kind) -> Client {
    let mut stream = Stream::connect(at).unwrap();
    stream.write_all(header).unwrap();
    let mut client = Client::open_on(stream, kind).unwrap();
    client.hello("realm1");
    client
}

/// Sends this, and reads to the end.
fn refused(at: &ListenAddress, bytes: &[u8]) -> Vec<u8> {
    let mut stream = Stream::connect(at).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // What it has not read yet makes the router's end a reset.
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn refusals(server: &Server) -> u64 {
    server.snapshot().connections_refused
}

#[test]
fn a_listed_proxy_says_for_whom_it_speaks() {
    let server = start(&behind(config(2), &["127.0.0.0/8"]));
    let at = address(&server);
    for kind in [WS, RAW] {
        assert_eq!(peer(&mut join(at, V1, kind)), "203.0.113.9:4711");
        assert_eq!(peer(&mut join(at, &v2_of_ipv6(), kind)), "[2001:db8::9]:4711");
        assert_eq!(peer(&mut join(at, &v2(1, 0x31, &[0; 216]), kind)), "unix");
        for itself in [v2(0, 0, &[]), v2(1, 0, b"x"), b"PROXY UNKNOWN\r\n".to_vec()] {
            let peer = peer(&mut join(at, &itself, kind));
            assert!(peer.starts_with("127.0.0.1:"), "{peer}");
        }
    }
    assert_eq!(refusals(&server), 0);
    settles(&server);
}

#[test]
fn the_header_may_come_in_any_pieces_and_together_with_what_follows() {
    let server = start(&behind(config(1), &["127.0.0.1"]));
    for header in [V1.to_vec(), v2_of_ipv6()] {
        let mut stream = Stream::connect(address(&server)).unwrap();
        for byte in &header {
            stream.write_all(&[*byte]).unwrap();
        }
        let mut client = Client::open_on(stream, RAW).unwrap();
        client.hello("realm1");
        assert!(peer(&mut client).ends_with(":4711"));
        let stream = Stream::connect(address(&server)).unwrap();
        let mut client = Client::on(stream, WS);
        let hello = WS.message(&crate::sockets::hello("realm1"));
        client.write(&[header, WS.opening(), hello].concat()).unwrap();
        client.read_opening().unwrap();
        client.welcomed();
        assert!(peer(&mut client).ends_with(":4711"));
    }
    settles(&server);
}

#[test]
fn the_header_comes_before_tls() {
    let pki = Pki::new();
    let certificate = pki.issue("a", &["localhost"]);
    let server = start(&behind(tls_config(1, &[&certificate]), &["127.0.0.1"]));
    let client_config = Arc::new(pki.client(&[&rustls::version::TLS13], None));
    for kind in [WS, RAW] {
        let mut stream = Stream::connect(address(&server)).unwrap();
        stream.write_all(V1).unwrap();
        let stream = stream.secured(&client_config, "localhost");
        let mut client = Client::open_on(stream, kind).unwrap();
        client.hello("realm1");
        assert_eq!(peer(&mut client), "203.0.113.9:4711");
    }
    let mut direct =
        Stream::connect(address(&server)).unwrap().secured(&client_config, "localhost");
    assert!(direct.write_all(b"GET").is_err(), "a listed proxy must send the header");
    settles(&server);
}

#[test]
fn a_listed_proxy_must_begin_with_a_whole_header() {
    let mut config = behind(config(1), &["127.0.0.1"]);
    config.timeouts.handshake_ms = 300;
    let server = start(&config);
    let at = address(&server);
    let bad = [
        RAW.opening(),
        WS.opening(),
        b"PROXY TCP4 203.0.113.9\r\n".to_vec(),
        v2(2, 0, &[]),
        v2(1, 0x11, &[0; 4]),
        v2(1, 0, &[0; 2048]),
        [V1, V1].concat(),
        [V1, &v2_of_ipv6()].concat(),
    ];
    let mut count = 0;
    for bytes in &bad {
        assert_eq!(refused(at, bytes), b"", "{bytes:?}");
        count += 1;
        assert_eq!(refusals(&server), count, "{bytes:?}");
    }
    // Half a header is waited for, as long as for a handshake.
    assert_eq!(refused(at, &V1[..20]), b"");
    let mut half_closed = Stream::connect(at).unwrap();
    half_closed.write_all(&V1[..20]).unwrap();
    half_closed.shut_down_writing();
    assert_eq!(half_closed.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(refusals(&server), count + 2);
    // Who comes and goes without a word is no failure.
    drop(Stream::connect(at).unwrap());
    settles(&server);
    assert_eq!(refusals(&server), count + 2);
}

#[test]
fn nothing_is_kept_of_half_a_header() {
    let server = start(&behind(config(1), &["127.0.0.1"]));
    let header = v2(1, 0, &[7; 2000]);
    let mut stream = Stream::connect(address(&server)).unwrap();
    stream.write_all(&header[..2000]).unwrap();
    let mut other = join(address(&server), V1, RAW);
    other.publish_acknowledged("com.x", &json!(1));
    assert_eq!(server.snapshot().input_bytes, 0);
    stream.write_all(&header[2000..]).unwrap();
    let mut client = Client::open_on(stream, RAW).unwrap();
    client.hello("realm1");
    drop((client, other));
    settles(&server);
}

#[test]
fn nobody_else_is_believed() {
    let mut config = behind(config(1), &["10.0.0.0/8", "unix"]);
    config.listeners[0].forwarded = ForwardedBy::XForwardedFor;
    let server = start(&config);
    let at = address(&server);
    assert!(
        peer(&mut join(at, b"", RAW)).starts_with("127.0.0.1:"),
        "who is not listed comes directly"
    );
    assert_eq!(refused(at, V1), b"");
    assert_eq!(refused(at, &v2_of_ipv6()), b"");
    eventually("both are counted", || refusals(&server) == 2);
    assert!(peer(&mut asking(at, "X-Forwarded-For: 203.0.113.9\r\n")).starts_with("127.0.0.1:"));
    settles(&server);
}

/// Joins by a WebSocket whose request has these headers besides.
fn asking(at: &ListenAddress, headers: &str) -> Client {
    let mut client = Client::on(Stream::connect(at).unwrap(), WS);
    let opening = String::from_utf8(WS.opening()).unwrap();
    client.write(opening.replacen("\r\n", &format!("\r\n{headers}"), 1).as_bytes()).unwrap();
    client.read_opening().unwrap();
    client.hello("realm1");
    client
}

#[test]
fn headers_of_http_are_believed_from_listed_proxies() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let mut config = behind(config(1), &["unix", "10.0.0.0/8"]);
    let listener = &mut config.listeners[0];
    listener.address = ListenAddress::Unix(path);
    listener.proxy_protocol = false;
    listener.forwarded = ForwardedBy::XForwardedFor;
    let server = start(&config);
    let at = address(&server);
    let ten = "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 4.4.4.4, 5.5.5.5, 6.6.6.6, 7.7.7.7\r\n\
               X-Forwarded-For: 8.8.8.8, 203.0.113.9:4711, 10.0.0.3\r\n";
    assert_eq!(peer(&mut asking(at, ten)), "203.0.113.9:4711");
    assert_eq!(peer(&mut asking(at, "X-Forwarded-For: 1.1.1.1, unknown\r\n")), "unix");
    assert_eq!(peer(&mut asking(at, "Forwarded: for=1.1.1.1\r\n")), "unix");
    assert_eq!(peer(&mut asking(at, "")), "unix");
    settles(&server);
}

/// Both ways together: the balancer is believed about the web server, and that about its client.
#[test]
fn a_header_counts_from_the_address_that_another_gave() {
    let mut config = behind(config(1), &["127.0.0.1", "10.0.0.0/8"]);
    config.listeners[0].forwarded = ForwardedBy::Forwarded;
    let server = start(&config);
    let with = |header: &[u8]| {
        let mut client = Client::on(Stream::connect(address(&server)).unwrap(), WS);
        let opening = String::from_utf8(WS.opening()).unwrap();
        let opening = opening.replacen("\r\n", "\r\nForwarded: for=203.0.113.9\r\n", 1);
        client.write(&[header, opening.as_bytes()].concat()).unwrap();
        client.read_opening().unwrap();
        client.hello("realm1");
        peer(&mut client)
    };
    assert_eq!(with(b"PROXY TCP4 10.0.0.9 10.0.0.7 1 2\r\n"), "203.0.113.9");
    assert_eq!(with(b"PROXY TCP4 192.0.2.1 10.0.0.7 1 2\r\n"), "192.0.2.1:1");
    settles(&server);
}
