//! Endpoints and keys over HTTPS, whose certificates are of an authority that the configuration
//! names: of another one nobody is believed, and the log says why.

use std::process::{Command, Stdio};

use serde_json::json;
use stentor::authentication::{AuthenticatorSettings, TokenSettings};
use stentor::codec::Codec;

use crate::asking::{FAILED, Issuer, asking, outcome, with};
use crate::running::{Running, address_in};
use crate::sockets::{Client, HttpServer, Kind, Lines, Pki, Reply, eventually, start};

/// An endpoint that says yes to everybody, with a certificate of this authority.
fn endpoint(pki: &Pki) -> HttpServer {
    let issued = pki.issue("endpoint", &["127.0.0.1"]);
    let yes = r#"{"role":"user","authid":"joe"}"#;
    HttpServer::start_secure(issued.server(), |_| Reply::Say(200, yes.into()))
}

/// A provider of an issuer's keys.
fn provider(pki: &Pki, keys: String) -> HttpServer {
    let issued = pki.issue("provider", &["127.0.0.1"]);
    HttpServer::start_secure(issued.server(), move |_| Reply::Say(200, keys.clone()))
}

#[test]
fn an_endpoint_of_the_authority_is_believed_and_no_other() {
    let (own, foreign) = (Pki::new(), Pki::new());
    let endpoint = endpoint(&own);
    for (pki, expected) in [(&own, "joe"), (&foreign, FAILED)] {
        let ca = Some(pki.authority_file());
        let way = AuthenticatorSettings { ca, ..asking(endpoint.url("/")) };
        let server = start(&with(way));
        assert_eq!(outcome(&server, "pencil"), expected);
        server.stop().unwrap();
    }
    endpoint.next();
    assert!(endpoint.heard_nothing(), "who is not believed is not told the ticket");
}

#[test]
fn a_certificate_for_another_name_is_not_enough() {
    let pki = Pki::new();
    let issued = pki.issue("endpoint", &["other.example.org"]);
    let endpoint = HttpServer::start_secure(issued.server(), |_| Reply::Hang);
    let ca = Some(pki.authority_file());
    let server = start(&with(AuthenticatorSettings { ca, ..asking(endpoint.url("/")) }));
    assert_eq!(outcome(&server, "pencil"), FAILED);
    assert!(endpoint.heard_nothing());
    server.stop().unwrap();
}

#[test]
fn keys_of_the_authority_are_taken_and_no_others() {
    let (own, foreign) = (Pki::new(), Pki::new());
    let issuer = Issuer::new("old");
    let provider = provider(&own, issuer.keys());
    let server = |pki: &Pki| {
        let (keys_url, ca) = (Some(provider.url("/keys")), Some(pki.authority_file()));
        let settings = TokenSettings { keys_url, ca, ..Default::default() };
        start(&with(AuthenticatorSettings::of_tokens(settings, Some("user"))))
    };
    let taken = server(&own);
    eventually("the keys are there", || outcome(&taken, &issuer.token()) == "joe");
    taken.stop().unwrap();
    provider.next();
    let refused = server(&foreign);
    assert_eq!(outcome(&refused, &issuer.token()), FAILED);
    refused.stop().unwrap();
    assert!(provider.heard_nothing());
}

/// A router with this authenticator, as people write it, and its log.
fn router(pki: &Pki, authenticator: &str) -> (Running, Lines) {
    let file = pki.path("stentor.toml");
    let text = format!(
        "[[listener]]\nlisten = \"127.0.0.1:0\"\n[[realm]]\nname = \"realm1\"\n\
         [[realm.authenticator]]\nmethod = \"ticket\"\n{authenticator}\
         [[realm.role]]\nname = \"user\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_stentor"))
        .arg("--config")
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Lines::of(process.stderr.take().unwrap());
    (Running(process), log)
}

#[test]
fn the_log_says_why_nobody_is_believed() {
    let (own, foreign) = (Pki::new(), Pki::new());
    let ca = foreign.authority_file();
    let provider = provider(&own, Issuer::new("old").keys());
    let url = provider.url("/keys");
    let jwt =
        format!("role = \"user\"\n[realm.authenticator.jwt]\nkeys_url = {url:?}\nca = {ca:?}\n");
    let (_process, log) = router(&own, &jwt);
    let line = log.next_with("keys of tokens cannot be fetched");
    let is_said = line.contains("invalid peer certificate") && line.contains("`ca`");
    assert!(is_said && line.contains(&url), "{line}");

    let endpoint = endpoint(&own);
    let url = endpoint.url("/");
    let (_process, log) = router(&own, &format!("url = {url:?}\nca = {ca:?}\n"));
    let address = address_in(&log.next_with("listening"));
    let mut client = Client::open(&address, Kind::Raw(Codec::Json));
    let details = json!({"roles": {"caller": {}}, "authmethods": ["ticket"]});
    client.send(&json!([1, "realm1", details]));
    client.expect(4);
    client.send(&json!([5, "pencil", {}]));
    assert_eq!(client.expect(3)[2], FAILED);
    let line = log.next_with("invalid peer certificate");
    assert!(!line.contains("pencil"), "{line}");
}
