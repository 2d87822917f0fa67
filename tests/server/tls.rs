//! TLS as clients meet it: both transports, both versions, names, resumption, and how it ends.

use std::io::{ErrorKind, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signer, SigningKey};
use rustls::crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, NamedGroup};
use serde_json::{Value, json};
use stentor::authentication::{AuthenticatorSettings, Credential, Method, Principal, PublicKey};
use stentor::codec::Codec;
use stentor::config::ListenAddress;
use stentor::limits::SlowConsumerPolicy;
use stentor::net::Server;

use crate::running::{OPEN_REALM, Running};
use crate::sockets::{
    Client, Issued, Kind, Lines, Pki, Stream, address, config, eventually, settles, start,
    tls_config,
};

const JSON: Kind = Kind::Ws(Codec::Json);
const RAW: Kind = Kind::Raw(Codec::Cbor);

/// Connects as a client of `localhost`, and opens the transport.
fn open(at: &ListenAddress, config: &Arc<ClientConfig>, kind: Kind) -> Client {
    let stream = Stream::connect(at).unwrap().secured(config, "localhost");
    Client::open_on(stream, kind).unwrap()
}

fn join(at: &ListenAddress, config: &Arc<ClientConfig>, kind: Kind) -> Client {
    let mut client = open(at, config, kind);
    client.hello("realm1");
    client
}

/// What a TLS client is told on a port without TLS is what it understands: an alert.
#[test]
fn a_plain_port_answers_tls_with_an_alert() {
    let server = start(&config(1));
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(Pki::new().client(&[version], None));
        let mut stream = Stream::connect(address(&server)).unwrap().secured(&config, "localhost");
        let error = stream.write_all(b"x").unwrap_err().to_string();
        assert!(error.contains("HandshakeFailure"), "{error}");
    }
    settles(&server);
    assert_eq!(server.snapshot().connections_refused, 2);
}

#[test]
fn both_transports_work_over_both_versions() {
    let pki = Pki::new();
    let server = start(&tls_config(2, &[&pki.issue("a", &["localhost"])]));
    let text = Value::from("x".repeat(900_000));
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(pki.client(&[version], None));
        for kind in [JSON, RAW, Kind::Ws(Codec::MsgPack)] {
            let mut subscriber = join(address(&server), &config, kind);
            assert_eq!(subscriber.stream.tls().conn.protocol_version(), Some(version.version));
            subscriber.subscribe("com.x");
            let mut publisher = join(address(&server), &config, kind);
            for argument in [&json!(1), &text, &json!("last")] {
                publisher.publish_acknowledged("com.x", argument);
                assert_eq!(subscriber.expect(36)[4], json!([argument]));
            }
            publisher.goodbye();
            subscriber.goodbye();
        }
    }
    let snapshot = server.snapshot();
    assert_eq!(snapshot.tls_handshakes_full + snapshot.tls_handshakes_resumed, 12);
    settles(&server);
}

/// A client that guesses a group which the router has not is asked for another one.
#[test]
fn a_handshake_with_one_more_round_trip_is_counted_as_such() {
    let pki = Pki::new();
    let server = start(&tls_config(1, &[&pki.issue("a", &["localhost"])]));
    let mut provider = rustls::crypto::ring::default_provider();
    provider.kx_groups.insert(0, &Unheard);
    let config = Arc::new(pki.client_by(provider, &[&TLS13], None));
    let client = join(address(&server), &config, RAW);
    drop(client);
    let snapshot = server.snapshot();
    assert_eq!((snapshot.tls_handshakes_retried, snapshot.tls_handshakes_full), (1, 0));
    settles(&server);
}

/// A group of key exchange that the router does not know.
#[derive(Debug)]
struct Unheard;

impl SupportedKxGroup for Unheard {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, rustls::Error> {
        Ok(Box::new(Self))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

impl ActiveKeyExchange for Unheard {
    fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, rustls::Error> {
        Err(rustls::Error::General("the router took it".into()))
    }

    fn pub_key(&self) -> &[u8] {
        &[4; 133]
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

/// The connection's buffers are shared with others: what is not whole must not be lost.
#[test]
fn thousands_of_tiny_records_arrive_whole() {
    let pki = Pki::new();
    let server = start(&tls_config(1, &[&pki.issue("a", &["localhost"])]));
    let mut config = pki.client(&[&TLS13], None);
    config.max_fragment_size = Some(32);
    let config = Arc::new(config);
    let text = Value::from("x".repeat(200_000));
    let mut client = join(address(&server), &config, RAW);
    let mut other = join(address(&server), &config, JSON);
    other.subscribe("com.x");
    for _ in 0..3 {
        client.publish_acknowledged("com.x", &text);
        assert_eq!(other.expect(36)[4], json!([text]));
    }
    client.goodbye();
    drop((client, other));
    settles(&server);
}

/// Nothing is kept for it in the router, and every shard knows the ticket's key.
#[test]
fn a_session_is_resumed_on_any_shard() {
    let pki = Pki::new();
    let server = start(&tls_config(4, &[&pki.issue("a", &["localhost"])]));
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(pki.client(&[version], None));
        let before = server.snapshot().tls_handshakes_resumed;
        let mut kinds = Vec::new();
        let mut stay = Vec::new();
        for _ in 0..6 {
            let mut client = join(address(&server), &config, RAW);
            kinds.push(client.stream.tls().conn.handshake_kind());
            stay.push(client);
        }
        assert_eq!(kinds[0], Some(HandshakeKind::Full));
        assert!(kinds[1..].iter().all(|kind| *kind == Some(HandshakeKind::Resumed)), "{kinds:?}");
        assert_eq!(server.snapshot().tls_handshakes_resumed, before + 5);
    }
    settles(&server);
}

#[test]
fn the_certificate_is_chosen_by_name() {
    let pki = Pki::new();
    let first = pki.issue("first", &["localhost"]);
    let wild = pki.issue("wild", &["*.example.org"]);
    let exact = pki.issue("exact", &["app.example.net", "example.org"]);
    let server = start(&tls_config(1, &[&first, &wild, &exact]));
    let shown = |name: &str, expected: &Issued| {
        let stream = Stream::connect(address(&server)).unwrap();
        let mut client = stream.secured(&pki.plain_client(), name);
        // Who asks for a name that no certificate is for gets one, and refuses it.
        let _ = client.write_all(&RAW.opening());
        let _ = client.read(&mut [0; 4]);
        let shown = client.tls().conn.peer_certificates().map(|chain| chain[0].clone());
        shown.is_some_and(|shown| shown == expected.certificate)
    };
    assert!(shown("localhost", &first));
    assert!(shown("a.example.org", &wild));
    assert!(shown("example.org", &exact));
    assert!(shown("app.example.net", &exact));
    let mut refused =
        Stream::connect(address(&server)).unwrap().secured(&pki.plain_client(), "a.b.example.org");
    let _ = refused.write_all(&RAW.opening());
    let error = refused.read(&mut [0; 4]).unwrap_err();
    assert!(error.to_string().contains("localhost"), "the first one is shown: {error}");
    drop(refused);
    eventually("the refusal is counted", || server.snapshot().tls_handshakes_failed == 1);
    settles(&server);
}

#[test]
fn only_http_1_1_is_offered() {
    let pki = Pki::new();
    let server = start(&tls_config(1, &[&pki.issue("a", &["localhost"])]));
    let offering = |protocols: &[&str]| {
        let mut config = pki.client(&[&TLS13], None);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = Stream::connect(address(&server)).unwrap();
        Client::open_on(stream.secured(&Arc::new(config), "localhost"), JSON)
    };
    let mut client = offering(&["h2", "http/1.1"]).unwrap();
    assert_eq!(client.stream.tls().conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(offering(&["h2"]).unwrap_err().to_string().contains("NoApplicationProtocol"));
    drop(client);
    settles(&server);
}

#[test]
fn clients_show_certificates_where_they_must() {
    let (pki, foreign) = (Pki::new(), Pki::new());
    let server_certificate = pki.issue("a", &["localhost"]);
    let own = pki.issue("client", &["client-7"]);
    let others = foreign.issue("client", &["client-7"]);
    for (mode, without) in [
        (stentor::config::ClientCertificates::Request, true),
        (stentor::config::ClientCertificates::Require, false),
    ] {
        let mut config = tls_config(2, &[&server_certificate]);
        config.listeners[0].client_ca = Some(pki.authority_file());
        config.listeners[0].client_certificates = mode;
        let server = start(&config);
        for version in [&TLS12, &TLS13] {
            let joins = |own: Option<&Issued>| {
                let config = Arc::new(pki.client(&[version], own));
                let stream = Stream::connect(address(&server)).unwrap();
                Client::open_on(stream.secured(&config, "localhost"), RAW).is_ok()
            };
            assert!(joins(Some(&own)));
            assert_eq!(joins(None), without, "{mode:?}");
            assert!(!joins(Some(&others)), "of a foreign authority");
        }
        let failed = 2 + 2 * u64::from(!without);
        eventually("failures are counted", || server.snapshot().tls_handshakes_failed == failed);
        settles(&server);
    }
}

/// As middle boxes and small devices send them, certificates included.
#[test]
fn messages_may_be_split_over_records() {
    let pki = Pki::new();
    let mut config = tls_config(1, &[&pki.issue("a", &["localhost"])]);
    config.listeners[0].client_ca = Some(pki.authority_file());
    config.listeners[0].client_certificates = stentor::config::ClientCertificates::Require;
    let server = start(&config);
    let own = pki.issue("client", &["client-7"]);
    for version in [&TLS12, &TLS13] {
        let mut config = pki.client(&[version], Some(&own));
        config.max_fragment_size = Some(100);
        let mut client = join(address(&server), &Arc::new(config), RAW);
        client.publish_acknowledged("com.x", &Value::from("x".repeat(20_000)));
        client.goodbye();
    }
    settles(&server);
}

#[test]
fn who_speaks_plainly_is_told_so() {
    let pki = Pki::new();
    let server = start(&tls_config(1, &[&pki.issue("a", &["localhost"])]));
    let ask = |request: &[u8]| {
        let mut stream = Stream::connect(address(&server)).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    };
    let answer = ask(&JSON.opening());
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("speaks TLS"), "{answer}");
    assert_eq!(ask(&RAW.opening()), "");
    assert_eq!(server.snapshot().connections_refused, 2);
    settles(&server);

    // TLS on a plain port.
    let server = start(&config(1));
    let stream = Stream::connect(address(&server)).unwrap();
    Client::open_on(stream.secured(&pki.plain_client(), "localhost"), RAW).unwrap_err();
    assert_eq!(server.snapshot().connections_refused, 1);
    settles(&server);
}

/// Like `slow.rs`, with ciphertext in between: it counts, in order, and goes when its owner does.
#[test]
fn a_slow_reader_is_judged_like_a_plain_one() {
    for policy in [SlowConsumerPolicy::Disconnect, SlowConsumerPolicy::DropNewest] {
        let pki = Pki::new();
        let mut config = tls_config(2, &[&pki.issue("a", &["localhost"])]);
        config.output.hard_bytes = 256 * 1024;
        config.output.soft_bytes = 128 * 1024;
        config.output.policy = policy;
        config.tuning.send_buffer_bytes = Some(16 * 1024);
        let server = start(&config);
        let client = pki.plain_client();
        let stream = Stream::connect_small(address(&server)).secured(&client, "localhost");
        let mut lazy = Client::open_on(stream, RAW).unwrap();
        lazy.hello("realm1");
        lazy.subscribe("com.x");
        let sent = publish(&server, &client, 400);
        let now = server.snapshot();
        let is_ended = policy == SlowConsumerPolicy::Disconnect;
        assert_eq!(now.slow_consumers_disconnected, u64::from(is_ended));
        if is_ended {
            let (messages, _) = lazy.drain();
            let (last, events) = messages.split_last().unwrap();
            assert_eq!((&last[0], &last[2]), (&json!(3), &json!("wamp.close.slow_consumer")));
            assert!(events.iter().enumerate().all(|(at, event)| number(event) == at as u64));
        } else {
            assert!(now.output_bytes > 128 * 1024, "only {} bytes wait", now.output_bytes);
            let dropped = now.events_dropped_slow;
            let received: Vec<_> = (0..sent - dropped).map(|_| number(&lazy.expect(36))).collect();
            assert!(received.is_sorted_by(|a, b| a < b), "in order, none twice");
            lazy.goodbye();
        }
        drop(lazy);
        settles(&server);
    }
}

fn number(event: &Value) -> u64 {
    event[4][0][0].as_u64().unwrap()
}

/// Publishes so many events of 4 KiB, which another subscriber gets all.
fn publish(server: &Server, config: &Arc<ClientConfig>, events: u64) -> u64 {
    let mut reader = join(address(server), config, RAW);
    reader.subscribe("com.x");
    let mut publisher = join(address(server), config, RAW);
    for sent in 0..events {
        publisher.publish_acknowledged("com.x", &json!([sent, "x".repeat(4096)]));
        assert_eq!(number(&reader.expect(36)), sent);
    }
    events
}

/// Many events for a reader that pauses and goes on: every one comes, in order.
#[test]
fn output_goes_on_when_the_socket_takes_it_again() {
    let pki = Pki::new();
    let mut config = tls_config(2, &[&pki.issue("a", &["localhost"])]);
    config.output.hard_bytes = 64 << 20;
    config.tuning.send_buffer_bytes = Some(16 * 1024);
    let server = start(&config);
    let client = pki.plain_client();
    let stream = Stream::connect_small(address(&server)).secured(&client, "localhost");
    let mut reader = Client::open_on(stream, RAW).unwrap();
    reader.hello("realm1");
    reader.subscribe("com.x");
    let server = &server;
    thread::scope(|scope| {
        let client = &client;
        scope.spawn(move || {
            let mut publisher = join(address(server), client, RAW);
            for sent in 0..2000 {
                publisher.publish("com.x", &json!([sent, "x".repeat(4096)]));
            }
            publisher.goodbye();
        });
        for expected in 0..2000 {
            assert_eq!(number(&reader.expect(36)), expected);
        }
    });
    reader.goodbye();
    drop(reader);
    settles(server);
}

/// A session that is cut off is told from one that the client has ended.
#[test]
fn truncation_is_told_from_an_orderly_end() {
    let pki = Pki::new();
    let issued = pki.issue("a", &["localhost"]);
    let file = pki.path("stentor.toml");
    let (certificate, key) = (&issued.files.certificate, &issued.files.key);
    let text = format!(
        "[[listener]]\nlisten = \"127.0.0.1:0\"\n[[listener.tls]]\ncertificate = {certificate:?}\n\
         key = {key:?}\n{OPEN_REALM}"
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    command.arg("--config").arg(&file).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let log = Lines::of(process.stderr.take().unwrap());
    let process = Running(process);
    let line = log.next_with("rss://");
    let (_, at) = line.split_once(" rss://").unwrap();
    let at = at.split(['"', ' ']).next().unwrap().parse().unwrap();
    let client = pki.plain_client();

    let cut = join(&at, &client, RAW);
    cut.stream.shut_down_writing();
    assert!(log.next_with("session left").contains("tls_truncated"));
    let mut ended = join(&at, &client, RAW);
    let tls = ended.stream.tls();
    tls.conn.send_close_notify();
    tls.flush().unwrap();
    // close_notify comes back: the end is no error for rustls.
    assert_eq!(ended.stream.read(&mut [0]).unwrap(), 0);
    assert!(log.next_with("session left").contains("transport_lost"));

    // And the router's own end is in order.
    let mut told = join(&at, &client, JSON);
    process.signal("TERM");
    assert_eq!(told.expect(6)[2], "wamp.close.system_shutdown");
    told.send(&json!([6, {}, "wamp.close.goodbye_and_out"]));
    assert_eq!(told.drain(), (vec![], Some(1001)));
    let end = cut_error(&mut told);
    assert_eq!(end, None, "close_notify has come");
}

fn cut_error(client: &mut Client) -> Option<ErrorKind> {
    client.stream.read(&mut [0]).err().map(|error| error.kind())
}

/// AU-CSG-03, AU-CSG-04 with `tls-exporter` (RFC 9266): what is signed for another channel, or for
/// none, lets nobody in.
#[test]
fn a_login_can_be_bound_to_its_channel() {
    let pki = Pki::new();
    let key = SigningKey::from_bytes(&[7; 32]);
    let public = key.verifying_key().to_bytes();
    let credential = Credential::Cryptosign(vec![PublicKey::new(public).unwrap()]);
    let joe = Principal { authid: "joe".into(), role: "user".into(), credential };
    let mut server_config = tls_config(1, &[&pki.issue("a", &["localhost"])]);
    server_config.realms[0].authenticators =
        vec![AuthenticatorSettings::of(Method::Cryptosign, vec![Arc::new(joe)])];
    let server = start(&server_config);
    let pubkey = HEXLOWER.encode(&public);
    let extra = json!({"pubkey": pubkey, "channel_binding": "tls-exporter"});
    let details = json!({"roles": {"caller": {}}, "authmethods": ["cryptosign"], "authid": "joe",
                         "authextra": extra});
    for version in [&TLS13, &TLS12] {
        let config = Arc::new(pki.client(&[version], None));
        for (own, expected) in [(true, 2), (false, 3)] {
            let mut client = open(address(&server), &config, JSON);
            client.send(&json!([1, "realm1", details]));
            if version.version == TLS12.version {
                let refused = client.expect(3);
                assert_eq!(refused[2], "wamp.error.authentication_failed");
                continue;
            }
            let challenge = client.expect(4);
            assert_eq!(challenge[2]["channel_binding"], "tls-exporter");
            let challenge = challenge[2]["challenge"].as_str().unwrap();
            let mut message = HEXLOWER.decode(challenge.as_bytes()).unwrap();
            if own {
                let label = b"EXPORTER-Channel-Binding";
                let connection = &client.stream.tls().conn;
                let id = connection.export_keying_material([0; 32], label, None).unwrap();
                message.iter_mut().zip(id).for_each(|(byte, other)| *byte ^= other);
            }
            let signature = key.sign(&message).to_bytes();
            let proof = HEXLOWER.encode(&signature) + &HEXLOWER.encode(&message);
            client.send(&json!([5, proof, {}]));
            client.expect(expected);
        }
    }
}
