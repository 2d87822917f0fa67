//! What tests of several rooms need of TLS: a listener's certificate, and clients that trust it.

use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{OpenTls, TlsContext, TlsShare, TlsStream};
use crate::config::{Listener, Tls};
use crate::net::socket::{OwnedSocket, Socket};

/// What a listener for `localhost` begins its handshakes with, and a client that trusts it.
pub(in crate::net) fn localhost() -> (Arc<TlsContext>, Arc<ClientConfig>) {
    let directory = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let write = |name: &str, label: &str, der: &[u8]| {
        let path = directory.path().join(name);
        let body = STANDARD.encode(der);
        let text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        std::fs::write(&path, text).unwrap();
        path
    };
    let tls = Tls {
        certificate: write("a.pem", "CERTIFICATE", certificate.der()),
        key: write("a.key", "PRIVATE KEY", &key.serialize_der()),
        allow_readable_key: true,
    };
    let listener = Listener { tls: vec![tls], ..Listener::on("127.0.0.1:0".parse().unwrap()) };
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(TlsContext::new(&listener).unwrap()), Arc::new(client))
}

/// A connection with TLS on which a client has sent something, of which a shard has read the first
/// bytes and lets it go: its socket, TLS, what was read, and the client's end.
pub(in crate::net) fn opened(
    (context, config): &(Arc<TlsContext>, Arc<ClientConfig>),
    sent: &[u8],
    first: usize,
) -> (TcpStream, OpenTls, Vec<u8>, StreamOwned<ClientConnection, TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    accepted.set_nonblocking(true).unwrap();
    let poll = mio::Poll::new().unwrap();
    let mut socket = Socket::Tcp(mio::net::TcpStream::from_std(accepted));
    socket.register(poll.registry(), mio::Token(0)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let (mut client, sent) = (StreamOwned::new(connection, peer), sent.to_vec());
    let client = std::thread::spawn(move || {
        client.write_all(&sent).unwrap();
        client.flush().unwrap();
        client
    });
    let mut share = TlsShare::new(64 * 1024, 10, Arc::default());
    let mut stream = TlsStream::new(Arc::clone(context));
    let mut read = Vec::new();
    while read.len() < first {
        share.begin_turn();
        let mut out = vec![0; first - read.len()];
        match stream.read(&mut socket, &mut share, &mut out) {
            Ok(0) => panic!("it has failed: {:?}", share.take_report()),
            Ok(length) => read.extend_from_slice(&out[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    let client = client.join().unwrap();
    let OwnedSocket::Tcp(socket) = socket.leave(poll.registry()).unwrap() else {
        unreachable!("it is TCP")
    };
    (socket, stream.into_open().unwrap(), read, client)
}
