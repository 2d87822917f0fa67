//! The files of TLS: what is refused at the start, and what happens when they change.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use serde_json::json;
use stentor::codec::Codec;
use stentor::config::{Config, ListenAddress};
use stentor::net::Server;

use crate::running::{OPEN_REALM, Running};
use crate::sockets::{Client, Kind, Lines, Pki, Stream, eventually, tls_config};

const RAW: Kind = Kind::Raw(Codec::Cbor);

#[track_caller]
fn check_refused(config: &Config, words: &[&str]) {
    let error = Server::start(config).map(drop).unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "{word} in: {error}");
    }
}

#[test]
fn every_refusal_says_which_file_and_what_to_do() {
    let pki = Pki::new();
    let good = pki.issue("good", &["localhost"]);
    let other = pki.issue("other", &["localhost"]);
    let with = |change: &dyn Fn(&mut stentor::config::Tls)| {
        let mut config = tls_config(1, &[&good]);
        change(&mut config.listeners[0].tls[0]);
        config
    };
    let missing = with(&|tls| tls.certificate = "/no/such/file.pem".into());
    check_refused(&missing, &["/no/such/file.pem", "is the path right"]);
    let mixed = with(&|tls| tls.key = other.files.key.clone());
    check_refused(&mixed, &["good.pem", "other.key", "take both from the same issue"]);
    let swapped = with(&|tls| tls.certificate = good.files.key.clone());
    check_refused(&swapped, &["good.key", "BEGIN CERTIFICATE"]);
    let swapped = with(&|tls| tls.key = good.files.certificate.clone());
    // A certificate may be read by all, and a key may not: that is not what is wrong here.
    fs::set_permissions(&good.files.certificate, Permissions::from_mode(0o600)).unwrap();
    check_refused(&swapped, &["good.pem", "BEGIN PRIVATE KEY", "openssl pkey"]);
    let expired = pki.issue_until("expired", &["localhost"], (2000, 2020));
    check_refused(&tls_config(1, &[&good, &expired]), &["expired.pem", "2020-01-01", "renew it"]);
    let early = pki.issue_until("early", &["localhost"], (3000, 3001));
    check_refused(&tls_config(1, &[&early]), &["early.pem", "3000-01-01", "clock"]);
    let damaged = pki.path("damaged.pem");
    fs::write(&damaged, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    check_refused(&with(&|tls| tls.certificate = damaged.clone()), &["damaged.pem", "damaged"]);
    let mut authority = tls_config(1, &[&good]);
    authority.listeners[0].client_ca = Some(damaged);
    authority.listeners[0].client_certificates = stentor::config::ClientCertificates::Require;
    check_refused(&authority, &["damaged.pem", "authority"]);

    fs::set_permissions(&good.files.key, Permissions::from_mode(0o644)).unwrap();
    check_refused(&tls_config(1, &[&good]), &["good.key", "0644", "chmod", "allow_readable_key"]);
    let allowed = with(&|tls| tls.allow_readable_key = true);
    Server::start(&allowed).unwrap().stop().unwrap();
    fs::set_permissions(&good.files.key, Permissions::from_mode(0o640)).unwrap();
    Server::start(&tls_config(1, &[&good])).unwrap().stop().unwrap();
}

/// The certificate that a new client is shown, if its handshake succeeds.
pub(super) fn shown(at: &ListenAddress, config: &Arc<ClientConfig>) -> CertificateDer<'static> {
    let mut stream = Stream::connect(at).unwrap().secured(config, "localhost");
    stream.write_all(&RAW.opening()).unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    stream.tls().conn.peer_certificates().unwrap()[0].clone()
}

/// What certbot and Kubernetes do: the files lie behind links that are moved on.
#[test]
fn certificates_are_read_again_when_they_change() {
    let pki = Pki::new();
    let first = pki.issue("first", &["localhost"]);
    let second = pki.issue("second", &["localhost"]);
    let third = pki.issue("third", &["localhost"]);
    let link = |name: &str, to: &std::path::Path| {
        let new = pki.path("link.new");
        std::os::unix::fs::symlink(to, &new).unwrap();
        fs::rename(new, pki.path(name)).unwrap();
    };
    link("live.pem", &first.files.certificate);
    link("live.key", &first.files.key);
    let file = pki.path("stentor.toml");
    let text = format!(
        "[[listener]]\nlisten = \"127.0.0.1:0\"\n[[listener.tls]]\ncertificate = {:?}\nkey = \
         {:?}\n{OPEN_REALM}",
        pki.path("live.pem"),
        pki.path("live.key")
    );
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    command.arg("--config").arg(&file).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let log = Lines::of(process.stderr.take().unwrap());
    let _process = Running(process);
    let line = log.next_with("rss://");
    let (_, at) = line.split_once(" rss://").unwrap();
    let at = at.split(['"', ' ']).next().unwrap().parse().unwrap();
    let config = pki.plain_client();
    let stream = Stream::connect(&at).unwrap().secured(&config, "localhost");
    let mut connected = Client::open_on(stream, RAW).unwrap();
    connected.hello("realm1");
    assert_eq!(shown(&at, &config), first.certificate);

    link("live.pem", &second.files.certificate);
    link("live.key", &second.files.key);
    // A client without tickets, for a session that is resumed shows no certificate.
    eventually("the new certificate is shown", || {
        shown(&at, &pki.plain_client()) == second.certificate
    });
    log.next_with("certificates were read again");

    link("live.pem", &third.files.certificate);
    let refusal = log.next_with("cannot be used, the old ones stay");
    assert!(refusal.contains("take both from the same issue"), "{refusal}");
    assert_eq!(shown(&at, &pki.plain_client()), second.certificate);
    link("live.key", &third.files.key);
    log.next_with("certificates were read again");
    assert_eq!(shown(&at, &pki.plain_client()), third.certificate);

    connected.publish_acknowledged("com.x", &json!("all the while"));
    connected.goodbye();
}
