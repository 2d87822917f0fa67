//! Renegotiation, which TLS 1.2 allows clients to ask for at any time, and which would cost a
//! handshake each time: it is refused, and costs nobody else anything.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::TLS12;
use rustls::{
    ClientConfig, ConnectionTrafficSecrets, ContentType, ProtocolVersion, RootCertStore,
    SupportedCipherSuite,
};
use serde_json::json;
use stentor::codec::Codec;

use crate::sockets::{Client, Kind, Pki, Stream, address, settles, start, tls_config};

const RAW: Kind = Kind::Raw(Codec::Json);
const SUITE: SupportedCipherSuite =
    ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;

/// A client of TLS 1.2 that gives its keys away.
fn open_handed(pki: &Pki) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.authority_file()).unwrap()).unwrap();
    let provider = CryptoProvider { cipher_suites: vec![SUITE], ..ring::default_provider() };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&[&TLS12]).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.enable_secret_extraction = true;
    Arc::new(config)
}

/// RFC 5246, 7.4.1.2: a ClientHello without extensions.
fn client_hello() -> Vec<u8> {
    let body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0xCC, 0xA9], &[1, 0]].concat();
    [&[1, 0, 0, u8::try_from(body.len()).unwrap()][..], &body].concat()
}

#[test]
fn who_renegotiates_is_refused_and_slows_nobody_down() {
    let pki = Pki::new();
    let server = start(&tls_config(1, &[&pki.issue("a", &["localhost"])]));
    let mut victim = Client::open_on(
        Stream::connect(address(&server)).unwrap().secured(&pki.plain_client(), "localhost"),
        RAW,
    )
    .unwrap();
    victim.hello("realm1");
    let stream = Stream::connect(address(&server)).unwrap();
    let mut hostile =
        Client::open_on(stream.secured(&open_handed(&pki), "localhost"), RAW).unwrap();
    hostile.hello("realm1");

    let Stream::Tls(stream) = hostile.stream else { panic!("it came by TLS") };
    let (connection, mut socket) = (stream.conn, stream.sock);
    let (mut number, secrets) = connection.dangerous_extract_secrets().unwrap().tx;
    let ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } = secrets else {
        panic!("there is one suite")
    };
    let SupportedCipherSuite::Tls12(suite) = SUITE else { panic!("it is one of TLS 1.2") };
    let mut encrypter: Box<dyn MessageEncrypter> = suite.aead_alg.encrypter(key, iv.as_ref(), &[]);
    let hello = client_hello();
    for _ in 0..100 {
        let message = OutboundPlainMessage {
            typ: ContentType::Handshake,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(&hello),
        };
        let record = encrypter.encrypt(message, number).unwrap().encode();
        number += 1;
        // It is closed before all are written.
        if socket.write_all(&record).is_err() {
            break;
        }
        victim.publish_acknowledged("com.x", &json!(number));
    }
    let mut answers = Vec::new();
    let _ = socket.read_to_end(&mut answers);
    assert!(answers.len() < 256, "an alert or two, and no handshake: {} bytes", answers.len());
    let now = server.snapshot();
    assert_eq!((now.tls_handshakes_full, now.sessions, now.tls_handshakes_under_way), (2, 1, 0));
    victim.goodbye();
    drop(victim);
    settles(&server);
}
