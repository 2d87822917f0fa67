//! Logins by the certificate that a client has shown in TLS, and authenticators for TLS alone.

use std::io::Write;
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, SanType};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};
use serde_json::{Value, json};
use stentor::authentication::{
    AuthenticatorSettings, Credential, Method, Principal, Source, TicketHash,
};
use stentor::codec::Codec;
use stentor::config::{ClientCertificates, Config, ListenAddress, Listener};
use stentor::net::{Server, certificate_of};

use crate::sockets::{
    Client, HttpServer, Issued, Kind, Pki, Reply, Stream, address, config, settles, start,
    tls_config,
};

const WS: Kind = Kind::Ws(Codec::Json);
const RAW: Kind = Kind::Raw(Codec::Cbor);

fn user(authid: &str, credential: Credential) -> Arc<Principal> {
    Arc::new(Principal { authid: authid.into(), role: "device".into(), credential })
}

fn names_of(issued: &Issued) -> Vec<String> {
    certificate_of(&issued.certificate).names().iter().map(ToString::to_string).collect()
}

/// A listener that asks for certificates, and users that have some.
fn guarded(pki: &Pki, users: Vec<(&str, Vec<String>)>) -> Config {
    let mut config = tls_config(1, &[&pki.issue("server", &["localhost"])]);
    config.listeners[0].client_ca = Some(pki.authority_file());
    config.listeners[0].client_certificates = ClientCertificates::Request;
    let users = users.into_iter().map(|(authid, names)| {
        let parse = |name: &String| Credential::parse(Method::Tls, name, Source::File).unwrap();
        let names = names.iter().map(parse).map(|credential| match credential {
            Credential::Tls(names) => names,
            other => panic!("{other:?}"),
        });
        user(authid, Credential::Tls(names.flatten().collect()))
    });
    let by_certificate = AuthenticatorSettings::of(Method::Tls, users.collect());
    config.realms[0].authenticators =
        vec![by_certificate, AuthenticatorSettings::anonymous("guest")];
    config
}

/// What a client is told that offers these methods, perhaps as somebody.
fn answer(stream: Stream, kind: Kind, methods: &[&str], authid: Option<&str>) -> (Client, Value) {
    let mut client = Client::open_on(stream, kind).unwrap();
    let mut details = json!({
        "roles": {"caller": {}},
        "authmethods": methods,
        // Nobody is believed about this (AU-TRN-02).
        "transport": {"auth": {"client_cert": {"cn": "admin", "sha256": "00"}}},
    });
    if let Some(authid) = authid {
        details["authid"] = json!(authid);
    }
    client.send(&json!([1, "realm1", details]));
    let answer = client.receive();
    (client, answer)
}

fn secured(server: &Server, config: &Arc<ClientConfig>) -> Stream {
    Stream::connect(address(server)).unwrap().secured(config, "localhost")
}

#[test]
fn au_trn_01_a_certificate_names_its_user() {
    let pki = Pki::new();
    let (one, two) = (pki.issue("one", &["one.example"]), pki.issue("two", &["Two.Example"]));
    let nobody = pki.issue("nobody", &["three.example"]);
    let users = vec![
        ("by-fingerprint", vec![names_of(&one)[0].clone()]),
        ("by-name", vec!["dns:two.example".to_owned(), "dns:four.example".to_owned()]),
    ];
    let server = start(&guarded(&pki, users));
    for version in [&TLS12, &TLS13] {
        for (own, authid) in [(&one, "by-fingerprint"), (&two, "by-name")] {
            let config = Arc::new(pki.client(&[version], Some(own)));
            for kind in [WS, RAW] {
                for said in [None, Some(authid)] {
                    let (_, welcome) = answer(secured(&server, &config), kind, &["tls"], said);
                    assert_eq!(welcome[0], json!(2), "{welcome}");
                    let details = &welcome[2];
                    assert_eq!(details["authid"], json!(authid));
                    assert_eq!(details["authrole"], json!("device"));
                    assert_eq!(details["authmethod"], json!("tls"));
                }
            }
            // Only as the one whose certificate it is.
            let other = Some(if authid == "by-name" { "by-fingerprint" } else { "by-name" });
            let (_, abort) = answer(secured(&server, &config), RAW, &["tls"], other);
            assert_eq!(abort[2], json!("wamp.error.authentication_denied"), "{abort}");
        }
    }
    let config = Arc::new(pki.client(&[&TLS13], Some(&nobody)));
    let (_, abort) = answer(secured(&server, &config), RAW, &["tls"], None);
    assert_eq!(abort[2], json!("wamp.error.authentication_denied"), "{abort}");
    // The next method of its list, as ever.
    let (_, welcome) = answer(secured(&server, &config), RAW, &["tls", "anonymous"], None);
    assert_eq!(welcome[2]["authmethod"], json!("anonymous"));
    let (_, abort) = answer(secured(&server, &pki.plain_client()), RAW, &["tls"], None);
    assert_eq!(abort[2], json!("wamp.error.no_matching_auth_method"), "{abort}");
    settles(&server);
}

/// A certificate with this subject, for these e-mail addresses.
fn described(pki: &Pki, file: &str, subject: &[(DnType, &str)], emails: &[&str]) -> Issued {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, text) in subject {
        params.distinguished_name.push(kind.clone(), *text);
    }
    let email = |address: &&str| SanType::Rfc822Name((*address).try_into().unwrap());
    params.subject_alt_names = emails.iter().map(email).collect();
    pki.issue_with(file, &params)
}

/// AU-TRN-01, by what older authorities put into certificates: subject, common name, e-mail.
#[test]
fn au_trn_01_a_subject_names_its_user() {
    let pki = Pki::new();
    let (name, place) = (DnType::CommonName, DnType::OrganizationName);
    let whole = [(place.clone(), "Example, Inc."), (name.clone(), "Joe Doe")];
    let whole = described(&pki, "whole", &whole, &[]);
    let common = described(&pki, "common", &[(name.clone(), "device-7")], &[]);
    let mail = described(&pki, "mail", &[(name.clone(), "Ann")], &["Ann@Example.ORG"]);
    // What only begins alike, or only looks alike to those who stop at a zero.
    let longer = described(&pki, "longer", &[(name.clone(), "device-7x")], &[]);
    let zero = described(&pki, "zero", &[(name, "device-7\0.example")], &["ann@example.org"]);
    let other = described(&pki, "other", &[(place, "device-7")], &[]);
    let subject = r"subject:CN=Joe Doe,O=Example\, Inc.".to_owned();
    assert_eq!(names_of(&whole)[1..], [subject.clone(), "cn:Joe Doe".to_owned()]);
    assert_eq!(names_of(&mail)[1..], ["subject:CN=Ann", "cn:Ann", "email:Ann@example.org"]);
    let users = vec![
        ("by-subject", vec![subject]),
        ("by-common-name", vec!["cn:device-7".to_owned()]),
        ("by-mail", vec!["email:Ann@EXAMPLE.org".to_owned()]),
    ];
    let server = start(&guarded(&pki, users));
    for (own, authid) in [
        (&whole, Some("by-subject")),
        (&common, Some("by-common-name")),
        (&mail, Some("by-mail")),
        (&longer, None),
        (&zero, None),
        (&other, None),
    ] {
        let config = Arc::new(pki.client(&[&TLS13], Some(own)));
        let (_, answer) = answer(secured(&server, &config), RAW, &["tls"], None);
        match authid {
            Some(authid) => assert_eq!(answer[2]["authid"], json!(authid), "{answer}"),
            None => assert_eq!(answer[2], json!("wamp.error.authentication_denied"), "{answer}"),
        }
    }
    settles(&server);
}

/// Whoever is asked about a client learns what its certificate can be told by.
#[test]
fn whoever_is_asked_learns_of_the_certificate() {
    let endpoint = HttpServer::start(|_| Reply::Say(200, r#""guest""#.into()));
    let pki = Pki::new();
    let mut config = guarded(&pki, Vec::new());
    let way = AuthenticatorSettings::asking(Method::Anonymous, endpoint.url("/"));
    config.realms[0].authenticators = vec![way];
    let server = start(&config);
    let own = described(&pki, "own", &[(DnType::CommonName, "device-7")], &["a@example.org"]);
    let client = Arc::new(pki.client(&[&TLS13], Some(&own)));
    let (_, welcome) = answer(secured(&server, &client), WS, &["anonymous"], None);
    assert_eq!(welcome[2]["authrole"], json!("guest"));
    let heard = endpoint.next();
    let transport = &heard.body["details"]["transport"];
    let digits = names_of(&own)[0].trim_start_matches("sha256:").to_uppercase();
    let pairs: Vec<_> =
        digits.as_bytes().chunks(2).map(|two| str::from_utf8(two).unwrap()).collect();
    let expected = json!({"sha256": pairs.join(":"), "subject": {"cn": "device-7"},
        "subject_dn": "CN=device-7", "subject_alt_names": ["email:a@example.org"]});
    assert_eq!(transport["peer_cert"], expected);
    assert_eq!(transport["client_cert"], expected);
    let (_, welcome) = answer(secured(&server, &pki.plain_client()), WS, &["anonymous"], None);
    assert_eq!(welcome[0], json!(2));
    assert_eq!(endpoint.next().body["details"]["transport"]["peer_cert"], json!(null));
    settles(&server);
}

/// Of several common names none counts, and of no subject nothing does.
#[test]
fn what_a_subject_leaves_open_is_no_name() {
    let names = |subject: &[(DnType, &str)]| {
        let pki = Pki::new();
        let issued = described(&pki, "own", subject, &["no address"]);
        names_of(&issued)[1..].to_vec()
    };
    assert_eq!(names(&[]), [""; 0]);
    let custom = DnType::CustomDnType(vec![2, 5, 4, 3]);
    assert_eq!(names(&[(DnType::CommonName, "a"), (custom, "b")]), ["subject:CN=b,CN=a"]);
    let long = "x".repeat(2_000);
    assert_eq!(names(&[(DnType::OrganizationName, &long)]), [""; 0]);
}

/// A name that two users have tells neither of them, unless HELLO says which.
#[test]
fn a_name_of_several_users_is_nobodys() {
    let pki = Pki::new();
    let shared = vec!["dns:shared.example".to_owned()];
    let server = start(&guarded(&pki, vec![("joe", shared.clone()), ("jim", shared)]));
    let own = pki.issue("shared", &["shared.example"]);
    let config = Arc::new(pki.client(&[&TLS13], Some(&own)));
    let (_, abort) = answer(secured(&server, &config), RAW, &["tls"], None);
    assert_eq!(abort[2], json!("wamp.error.authentication_denied"), "{abort}");
    for authid in ["joe", "jim"] {
        let (_, welcome) = answer(secured(&server, &config), RAW, &["tls"], Some(authid));
        assert_eq!(welcome[2]["authid"], json!(authid));
    }
    settles(&server);
}

/// A resumed handshake shows no certificate; its ticket stands for the one that was shown first.
#[test]
fn a_resumed_session_has_the_certificate_of_the_first() {
    let pki = Pki::new();
    let own = pki.issue("one", &["one.example"]);
    let server = start(&guarded(&pki, vec![("joe", vec!["dns:one.example".to_owned()])]));
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(pki.client(&[version], Some(&own)));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (mut client, welcome) = answer(secured(&server, &config), RAW, &["tls"], None);
            assert_eq!(welcome[2]["authid"], json!("joe"));
            assert_eq!(client.stream.tls().conn.handshake_kind(), Some(kind));
            client.goodbye();
        }
    }
    settles(&server);
}

/// AU-TKT-02: nobody is even asked for a ticket that somebody on the way could read.
#[test]
fn au_tkt_02_tickets_may_be_for_tls_alone() {
    let pki = Pki::new();
    let joe = user("joe", Credential::Ticket(TicketHash::of_random(b"0123456789abcdef")));
    let tickets = AuthenticatorSettings {
        only_over_tls: true,
        ..AuthenticatorSettings::of(Method::Ticket, vec![joe])
    };
    let with = |mut config: Config| {
        config.realms[0].authenticators = vec![tickets.clone()];
        config
    };
    let ask = |stream: Stream| answer(stream, RAW, &["ticket"], Some("joe")).1;
    let server = start(&with(tls_config(1, &[&pki.issue("a", &["localhost"])])));
    assert_eq!(ask(secured(&server, &pki.plain_client()))[0], json!(4), "TLS");

    let mut plain = with(config(1));
    let folder = tempfile::tempdir().unwrap();
    let socket = ListenAddress::Unix(folder.path().join("socket"));
    plain.listeners.push(Listener::on(socket.clone()));
    let server = start(&plain);
    let refused = ask(Stream::connect(address(&server)).unwrap());
    assert_eq!(refused[2], json!("wamp.error.no_matching_auth_method"), "{refused}");
    assert!(refused[1]["message"].as_str().unwrap().contains("over TLS only"), "{refused}");
    assert_eq!(ask(Stream::connect(&socket).unwrap())[0], json!(4), "a Unix socket");
    settles(&server);
}

/// A listed proxy says whether its client came by TLS.
#[test]
fn au_tkt_02_a_proxy_may_have_spoken_tls() {
    let joe = user("joe", Credential::Ticket(TicketHash::of_random(b"0123456789abcdef")));
    let mut config = config(1);
    config.realms[0].authenticators = vec![AuthenticatorSettings {
        only_over_tls: true,
        ..AuthenticatorSettings::of(Method::Ticket, vec![joe])
    }];
    config.listeners[0].trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    config.listeners[0].proxy_protocol = true;
    let server = start(&config);
    let ask = |header: &[u8]| {
        let mut stream = Stream::connect(address(&server)).unwrap();
        stream.write_all(header).unwrap();
        answer(stream, RAW, &["ticket"], Some("joe")).1[0].clone()
    };
    let block = [203, 0, 113, 9, 10, 0, 0, 7, 1, 2, 1, 3];
    let with = |ssl: &[u8]| {
        let length = u8::try_from(block.len() + ssl.len()).unwrap();
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0", &[length][..], &block, ssl].concat()
    };
    assert_eq!(ask(&with(&[0x20, 0, 5, 1, 0, 0, 0, 0])), json!(4));
    assert_eq!(ask(&with(&[0x20, 0, 5, 0, 0, 0, 0, 0])), json!(3));
    assert_eq!(ask(&with(&[])), json!(3));
    settles(&server);
}
