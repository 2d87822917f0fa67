//! Clients that misuse TLS: handshakes that stop or never end, garbage, floods of key updates.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use serde_json::json;
use stentor::codec::Codec;
use stentor::net::Server;

use crate::sockets::{Client, Kind, Pki, Stream, address, eventually, settles, start, tls_config};

const RAW: Kind = Kind::Raw(Codec::Cbor);

fn join(server: &Server, config: &Arc<ClientConfig>) -> Client {
    let stream = Stream::connect(address(server)).unwrap().secured(config, "localhost");
    let mut client = Client::open_on(stream, RAW).unwrap();
    client.hello("realm1");
    client
}

/// A ClientHello in its record.
fn client_hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn half_handshakes_and_garbage_leave_nothing() {
    let pki = Pki::new();
    let server = start(&tls_config(2, &[&pki.issue("a", &["localhost"])]));
    let config = pki.plain_client();
    let hello = client_hello(&config);
    for length in (1..hello.len()).step_by(9).chain([hello.len()]) {
        let mut stream = Stream::connect(address(&server)).unwrap();
        stream.write_all(&hello[..length]).unwrap();
        if length % 2 == 0 {
            stream.reset();
        }
    }
    // A whole record each, so that it is looked at.
    let garbage: [&[u8]; 6] = [
        &[22, 3, 1, 0, 0],
        &[22, 3, 1, 0, 4, 1, 0, 0, 0],
        &[22, 3, 1, 0xFF, 0xFF],
        &[22, 0, 0, 0, 1, 9],
        &[22, 3, 3, 0, 4, 2, 0, 0, 0],
        &[22, 3, 3, 0, 2, 1, 2, 21, 3, 3, 0, 2, 2, 40],
    ];
    for bytes in garbage {
        let mut stream = Stream::connect(address(&server)).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shut_down_writing();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.is_empty() || answer[0] == 21, "{bytes:?}: an alert or nothing");
    }
    settles(&server);
    join(&server, &config).goodbye();
    settles(&server);
}

/// The records of a handshake are counted, so that nobody has it go on for ever.
#[test]
fn a_handshake_of_too_many_records_is_refused() {
    let pki = Pki::new();
    let server = start(&tls_config(1, &[&pki.issue("a", &["localhost"])]));
    let mut stream = Stream::connect(address(&server)).unwrap();
    // A message of 1,000 bytes, one byte in each record.
    let message = [1, 0, 3, 0xE8];
    let bytes = message.into_iter().chain(std::iter::repeat(0)).take(100);
    let records: Vec<u8> = bytes.flat_map(|byte| [22, 3, 1, 0, 1, byte]).collect();
    stream.write_all(&records).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(server.snapshot().tls_handshakes_failed, 1);
    drop(stream);
    settles(&server);
}

#[test]
fn so_many_handshakes_are_under_way_and_no_more() {
    let pki = Pki::new();
    let mut config = tls_config(1, &[&pki.issue("a", &["localhost"])]);
    config.limits.tls_handshakes = 2;
    let server = start(&config);
    let client = pki.plain_client();
    let hello = client_hello(&client);
    let begin = || {
        let mut stream = Stream::connect(address(&server)).unwrap();
        stream.write_all(&hello).unwrap();
        let mut first = [0; 5];
        stream.read_exact(&mut first).unwrap();
        (stream, first[0])
    };
    let under_way = [begin(), begin()];
    assert!(under_way.iter().all(|(_, first)| *first == 22), "the router answers");
    assert_eq!(server.snapshot().tls_handshakes_under_way, 2);
    let (mut refused, first) = begin();
    let mut rest = Vec::new();
    refused.read_to_end(&mut rest).unwrap();
    assert_eq!((first, &*rest), (21, &[2, 80][..]), "a fatal alert: internal_error");
    assert_eq!(server.snapshot().tls_handshakes_refused, 1);
    // Who says nothing, or not all, is not under way.
    let mut silent = Stream::connect(address(&server)).unwrap();
    silent.write_all(&hello[..20]).unwrap();
    drop(under_way);
    eventually("there is room again", || server.snapshot().tls_handshakes_under_way == 0);
    join(&server, &client).goodbye();
    drop((refused, silent));
    settles(&server);
}

#[test]
fn a_handshake_has_a_deadline() {
    let pki = Pki::new();
    let mut config = tls_config(1, &[&pki.issue("a", &["localhost"])]);
    config.timeouts.handshake_ms = 100;
    let server = start(&config);
    let hello = client_hello(&pki.plain_client());
    for length in [0, 20, hello.len()] {
        let mut stream = Stream::connect(address(&server)).unwrap();
        stream.write_all(&hello[..length]).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
    }
    assert_eq!(server.snapshot().connections_refused, 3);
    settles(&server);
}

#[test]
fn a_record_that_cannot_be_decrypted_ends_its_session_only() {
    let pki = Pki::new();
    let server = start(&tls_config(1, &[&pki.issue("a", &["localhost"])]));
    let config = pki.plain_client();
    let mut other = join(&server, &config);
    let mut client = join(&server, &config);
    let forged = [&[23, 3, 3, 0, 40][..], &[7; 40]].concat();
    client.stream.tls().sock.write_all(&forged).unwrap();
    let error = client.stream.read(&mut [0]).unwrap_err();
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
    eventually("the session is ended", || server.snapshot().sessions == 1);
    other.subscribe("com.x");
    other.goodbye();
    drop((client, other));
    settles(&server);
}

/// Each costs two derivations of keys and an answer (RFC 8446, 4.6.3).
#[test]
fn key_updates_are_for_those_who_also_say_something() {
    let pki = Pki::new();
    let server = start(&tls_config(1, &[&pki.issue("a", &["localhost"])]));
    let config = pki.plain_client();
    let mut honest = join(&server, &config);
    honest.subscribe("com.x");
    for number in 0..100 {
        honest.stream.tls().conn.refresh_traffic_keys().unwrap();
        honest.publish_acknowledged("com.y", &json!(number));
    }
    let mut flood = join(&server, &config);
    let tls = flood.stream.tls();
    for _ in 0..100 {
        // The router may have closed before all are out.
        let _ = tls.conn.refresh_traffic_keys();
        let _ = tls.conn.write_tls(&mut tls.sock);
    }
    eventually("the flood is ended", || server.snapshot().sessions == 1);
    honest.publish_acknowledged("com.y", &json!("still here"));
    honest.goodbye();
    drop((honest, flood));
    settles(&server);
}
