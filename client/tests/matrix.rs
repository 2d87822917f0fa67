//! Every transport with every serializer and every method of authentication, against a router in
//! this process.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use stentor::authentication::{
    AuthenticatorSettings, CraKey, Credential as Kept, Kdf, Method, Principal, ScramRecord, Source,
    TicketHash,
};
use stentor::config::{ClientCertificates, Config, ListenAddress, Listener, Tls};
use stentor::net::Server;
use stentor_client::{Client, Codec, Credential, Error, Invocation, LoginError};
use tempfile::TempDir;

use support::{REALM, config, soon, start};

const PRIVATE: &str = "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510";
const PUBLIC: &str = "1adfc8bfe1d35616e64dffbd900096f23b066f914c8c2ffbb66f6075b96e116d";

/// An authority with a certificate for the router and one for a client, as files.
struct Pki {
    directory: TempDir,
}

impl Pki {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pki = Self { directory };
        pki.write("ca.pem", &authority.pem());
        for (file, name) in [("router", "localhost"), ("joe", "joe.example")] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            pki.write(&format!("{file}.pem"), &certificate.pem());
            pki.write(&format!("{file}.key"), &key.serialize_pem());
        }
        pki
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o600)).unwrap();
    }
}

fn joe(credential: Kept) -> Vec<Arc<Principal>> {
    vec![Arc::new(Principal { authid: "joe".into(), role: "user".into(), credential })]
}

fn parse(method: Method, text: &str, source: Source) -> Kept {
    Kept::parse(method, text, source).unwrap()
}

/// Listens plainly, by TLS and on a Unix socket, and lets `joe` in by every method.
fn router(pki: &Pki) -> Server {
    let tls = Listener {
        tls: vec![Tls {
            certificate: pki.path("router.pem"),
            key: pki.path("router.key"),
            allow_readable_key: false,
        }],
        client_ca: Some(pki.path("ca.pem")),
        client_certificates: ClientCertificates::Request,
        ..Listener::on("127.0.0.1:0".parse().unwrap())
    };
    let unix = Listener::on(ListenAddress::Unix(pki.path("socket")));
    let mut config: Config = config();
    config.listeners.extend([tls, unix]);
    let scram = |kdf| Kept::Scram(ScramRecord::of("pencil", kdf, [7; 16]).unwrap());
    config.realms[0].authenticators = vec![
        AuthenticatorSettings::of(Method::Ticket, joe(Kept::Ticket(TicketHash::of_random(b"t")))),
        AuthenticatorSettings::of(
            Method::Wampcra,
            joe(Kept::Wampcra(CraKey::derived(b"pencil", [7; 16], 10))),
        ),
        AuthenticatorSettings::of(
            Method::Scram,
            joe(scram(Kdf::Argon2id13 { passes: 1, memory_kib: 64 })),
        ),
        AuthenticatorSettings::of(
            Method::Cryptosign,
            joe(parse(Method::Cryptosign, PUBLIC, Source::File)),
        ),
        AuthenticatorSettings::of(
            Method::Tls,
            joe(parse(Method::Tls, "dns:joe.example", Source::File)),
        ),
        AuthenticatorSettings::anonymous("guest"),
    ];
    start(&config)
}

/// All ways to the router.
fn urls(server: &Server, pki: &Pki) -> Vec<String> {
    let port = |index: usize| server.addresses()[index].tcp().unwrap().port();
    let socket = pki.path("socket");
    vec![
        format!("ws://127.0.0.1:{}/ws", port(0)),
        format!("rs://127.0.0.1:{}", port(0)),
        format!("wss://localhost:{}/ws", port(1)),
        format!("rss://localhost:{}", port(1)),
        format!("unix:{}", socket.display()),
        format!("ws+unix://{}:/ws", socket.display()),
    ]
}

fn credentials() -> Vec<Credential> {
    vec![
        Credential::anonymous(),
        Credential::ticket("t"),
        Credential::wampcra("pencil"),
        Credential::scram("pencil").unwrap(),
        Credential::cryptosign(PRIVATE).unwrap(),
    ]
}

#[tokio::test]
async fn every_transport_serializer_and_method_joins_and_calls() {
    let pki = Pki::new();
    let server = router(&pki);
    for url in urls(&server, &pki) {
        for codec in Codec::ALL {
            for credential in credentials() {
                let method = credential.method();
                let place = format!("{url} {codec:?} {method}");
                let builder =
                    Client::builder(&url, REALM).serializer(codec).ca_file(pki.path("ca.pem"));
                let builder = builder.authid("joe").credential(credential);
                let client =
                    soon(builder.connect()).await.unwrap_or_else(|e| panic!("{place}: {e}"));
                let session = client.session().unwrap();
                let role = if method == "anonymous" { "guest" } else { "user" };
                assert_eq!(session.authrole().as_deref(), Some(role), "{place}");
                let echo = async |invocation: Invocation| Ok(invocation.args::<(String, u64)>()?);
                let registration = soon(client.register("com.echo", echo)).await.unwrap();
                let reply = soon(client.call("com.echo", ("größe", 1_u64 << 53))).await.unwrap();
                let echoed = ("größe".to_owned(), 1_u64 << 53);
                assert_eq!(reply.args::<(String, u64)>().unwrap(), echoed, "{place}");
                soon(registration.unregister()).await.unwrap();
                soon(client.leave()).await;
            }
        }
    }
}

/// Below 1,000 bytes, as far as RawSocket can say, and at the limit.
#[tokio::test]
async fn long_messages_pass_and_too_long_ones_do_not() {
    let pki = Pki::new();
    let server = router(&pki);
    for url in urls(&server, &pki) {
        let builder = Client::builder(&url, REALM).ca_file(pki.path("ca.pem"));
        let client = soon(builder.no_reconnect().connect()).await.unwrap();
        let echo = async |invocation: Invocation| Ok(invocation.args::<(String,)>()?);
        soon(client.register("com.echo", echo)).await.unwrap().keep();
        let long = "x".repeat(300_000);
        let reply = soon(client.call("com.echo", (&long,))).await.unwrap();
        assert_eq!(reply.first::<String>().unwrap(), long, "{url}");
        let small =
            Client::builder(&url, REALM).ca_file(pki.path("ca.pem")).max_message_bytes(4_096);
        let small = soon(small.no_reconnect().connect()).await.unwrap();
        let error = soon(small.call("com.echo", (&long,))).await.unwrap_err();
        assert!(
            matches!(error, Error::Closed { may_have_happened: true } | Error::Wamp(_)),
            "{error:?}"
        );
        // The next one registers the same.
        soon(client.leave()).await;
    }
}

#[tokio::test]
async fn a_certificate_logs_in_and_a_key_may_be_bound_to_the_channel() {
    let pki = Pki::new();
    let server = router(&pki);
    for url in &urls(&server, &pki)[2..4] {
        let builder = Client::builder(url, REALM)
            .ca_file(pki.path("ca.pem"))
            .client_certificate(pki.path("joe.pem"), pki.path("joe.key"))
            .credential(Credential::tls());
        let client = soon(builder.connect()).await.unwrap();
        assert_eq!(client.session().unwrap().authid().as_deref(), Some("joe"));
        let key = Credential::cryptosign(PRIVATE).unwrap().bound_to_channel();
        let builder = Client::builder(url, REALM).ca_file(pki.path("ca.pem")).credential(key);
        let client = soon(builder.connect()).await.unwrap();
        assert_eq!(client.session().unwrap().authid().as_deref(), Some("joe"));
    }
    let key = Credential::cryptosign(PRIVATE).unwrap().bound_to_channel();
    let plain = Client::builder(&urls(&server, &pki)[0], REALM).credential(key);
    let error = soon(plain.connect()).await.unwrap_err();
    assert!(error.to_string().contains("channel binding needs TLS 1.3"), "{error}");
}

#[tokio::test]
async fn refusals_say_why() {
    let pki = Pki::new();
    let server = router(&pki);
    let all = urls(&server, &pki);
    for (credential, uri) in [
        (Credential::ticket("wrong"), "wamp.error.authentication_denied"),
        (Credential::wampcra("wrong"), "wamp.error.authentication_denied"),
        (Credential::scram("wrong").unwrap(), "wamp.error.authentication_denied"),
    ] {
        let builder = Client::builder(&all[0], REALM).authid("joe").credential(credential);
        let error = soon(builder.connect()).await.unwrap_err();
        assert!(matches!(error, Error::Login(LoginError::Refused { .. })), "{error:?}");
        assert_eq!(error.uri(), Some(uri));
    }
    let error = soon(Client::builder(&all[0], "nowhere").connect()).await.unwrap_err();
    assert_eq!(error.uri(), Some("wamp.error.no_such_realm"));
    let error = soon(Client::builder(&all[2], REALM).connect()).await.unwrap_err();
    assert!(error.to_string().starts_with("TLS with wss://localhost"), "{error}");
    let path = all[0].replace("/ws", "/nothing");
    let error = soon(Client::builder(path, REALM).connect()).await.unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
    let error = soon(Client::builder("ws://127.0.0.1:1/", REALM).connect()).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot reach ws://127.0.0.1:1/"), "{error}");
}
