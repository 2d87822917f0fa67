//! How nodes log in at NATS, what they may do there, and what `stentor check --connect` says of
//! both before one is started.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::operators::Operators;
use super::processes::{Checked, Nats, Router};
use super::starting::check_linked;

/// A file in a folder, by its whole name.
fn write(folder: &TempDir, name: &str, content: &str) -> String {
    let file = folder.path().join(name);
    fs::write(&file, content).expect("there is room");
    file.to_str().expect("the path is text").to_owned()
}

/// Two nodes that log in so are one router, and the check has nothing against them.
async fn check_login(nats: &Nats, variables: &[(&str, &str)]) {
    let Checked { succeeds, said } = Router::check(nats, variables);
    assert!(succeeds, "{said}");
    assert!(said.contains("refuses nothing") && said.contains("there now: nobody"), "{said}");
    let [a, b] = ["a", "b"].map(|node| Router::start_as(nats, node, variables));
    check_linked(&a, &b).await;
    let Checked { succeeds, said } = Router::check(nats, variables);
    assert!(succeeds, "{said}");
    assert!(said.contains("there now: a, b"), "{said}");
    assert!(said.contains("warning: a node `a` is there"), "{said}");
    // It has left nothing that they would not understand.
    check_linked(&b, &a).await;
    for node in [&a, &b] {
        assert!(!node.log().contains("NATS"), "nothing is refused: {}", node.log());
    }
}

/// Without the login nobody is let in, and the check says so.
fn check_stranger(nats: &Nats) {
    let Checked { succeeds, said } = Router::check(nats, &[]);
    assert!(!succeeds && said.contains("NATS refuses the login"), "{said}");
}

#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn nodes_log_in_with_a_password_a_token_or_a_key() {
    let folder = tempfile::tempdir().expect("there is room");
    let nats = Nats::start_with(&["-js", "--user", "joe", "--pass", "right"]);
    check_stranger(&nats);
    let password = write(&folder, "password", "right\n");
    let named = [("STENTOR_CLUSTER__USER", "joe"), ("STENTOR_CLUSTER__PASSWORD_FILE", &password)];
    check_login(&nats, &named).await;
    let nats = Nats::start_with(&["-js", "--auth", "secret"]);
    check_stranger(&nats);
    let token = write(&folder, "token", "secret\n");
    check_login(&nats, &[("STENTOR_CLUSTER__TOKEN_FILE", &token)]).await;
    let users = format!("authorization {{ users = [ {{ nkey: {NKEY} }} ] }}\n");
    let nats = Nats::start_with(&["-js", "-c", &write(&folder, "keys.conf", &users)]);
    check_stranger(&nats);
    let seed = write(&folder, "seed", NKEY_SEED);
    check_login(&nats, &[("STENTOR_CLUSTER__NKEY_FILE", &seed)]).await;
}

/// As where an operator runs NATS for many: accounts, and a file of credentials for each user.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn nodes_log_in_with_a_file_of_credentials() {
    let folder = tempfile::tempdir().expect("there is room");
    let operators = Operators::new();
    let nats = Nats::start_with(&["-js", "-c", &write(&folder, "nats.conf", &operators.config)]);
    check_stranger(&nats);
    let router = write(&folder, "router.creds", &operators.credentials("router", 4, &[]));
    check_login(&nats, &[("STENTOR_CLUSTER__CREDENTIALS", &router)]).await;
    let confined = operators.credentials("confined", 5, &["stentor.>", "$KV.>"]);
    let confined = write(&folder, "confined.creds", &confined);
    let Checked { succeeds, said } =
        Router::check(&nats, &[("STENTOR_CLUSTER__CREDENTIALS", &confined)]);
    assert!(!succeeds && said.contains("NATS refuses some of what a node does"), "{said}");
    // The JWT of one, and the seed of another.
    let [jwt, seed] =
        [&router, &confined].map(|file| fs::read_to_string(file).expect("it is ours"));
    let (jwt, _) = jwt.split_once("-----BEGIN USER").expect("a JWT comes first");
    let (_, seed) = seed.split_once("-----BEGIN USER").expect("a seed comes next");
    let stolen = write(&folder, "stolen.creds", &format!("{jwt}-----BEGIN USER{seed}"));
    let Checked { succeeds, said } =
        Router::check(&nats, &[("STENTOR_CLUSTER__CREDENTIALS", &stolen)]);
    assert!(!succeeds && said.contains("NATS refuses the login"), "{said}");
    for text in ["", "no credentials"] {
        let broken = write(&folder, "broken.creds", text);
        let Checked { succeeds, said } =
            Router::check(&nats, &[("STENTOR_CLUSTER__CREDENTIALS", &broken)]);
        assert!(!succeeds && said.contains("broken.creds"), "{said}");
    }
}

/// A public key and its seed, as the documentation of NATS has them.
const NKEY: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
const NKEY_SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

/// An authority, and a certificate for servers and clients that it has issued: the files of the
/// certificate, its key and the authority.
fn issue(folder: &TempDir) -> [String; 3] {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("it is made");
    let authority = CertifiedIssuer::self_signed(authority, key).expect("it is signed");
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("it is a name");
    let key = KeyPair::generate().expect("it is made");
    let certificate = params.signed_by(&key, &authority).expect("it is signed");
    let file = |name, of: &[u8], what| write(folder, name, &pem(of, what));
    [
        file("certificate.pem", certificate.der(), "CERTIFICATE"),
        file("key.pem", &key.serialize_der(), "PRIVATE KEY"),
        file("authority.pem", authority.der(), "CERTIFICATE"),
    ]
}

fn pem(der: &[u8], what: &str) -> String {
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", STANDARD.encode(der))
}

/// Over TLS, with the certificate of the node as its login.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn nodes_log_in_with_certificates() {
    let folder = tempfile::tempdir().expect("there is room");
    let [certificate, key, ca] = issue(&folder);
    let flags =
        ["-js", "--tlsverify", "--tlscert", &certificate, "--tlskey", &key, "--tlscacert", &ca];
    let nats = Nats::start_with(&flags);
    let Checked { succeeds, said } = Router::check(&nats, &[]);
    assert!(!succeeds && said.contains("cannot make a TLS connection"), "{said}");
    let variables = [
        ("STENTOR_CLUSTER__CA", &*ca),
        ("STENTOR_CLUSTER__CERTIFICATE", &*certificate),
        ("STENTOR_CLUSTER__KEY", &*key),
    ];
    let Checked { succeeds, said } = Router::check(&nats, &variables[..1]);
    assert!(!succeeds, "without a certificate of its own: {said}");
    check_login(&nats, &variables).await;
}

/// What the check asks for is what nodes need, each of it; and it says what is refused.
#[tokio::test]
#[ignore = "needs a nats-server: tests/cluster/run.sh"]
async fn what_nodes_may_do_is_checked() {
    let folder = tempfile::tempdir().expect("there is room");
    let password = write(&folder, "password", "right");
    let nothing = Nats::start_with(&["-js", "-c", &permitted(&folder, &[], &[])]);
    let variables =
        [("STENTOR_CLUSTER__USER", "joe"), ("STENTOR_CLUSTER__PASSWORD_FILE", &*password)];
    let Checked { succeeds, said } = Router::check(&nothing, &variables);
    assert!(!succeeds && said.contains("NATS refuses some of what a node does"), "{said}");
    let (_, wanted) = said.split_once("publish to ").expect("what it wants");
    let (publish, subscribe) = wanted.split_once("; and subscribe to ").expect("both");
    let subjects = |list: &str| list.trim().split(", ").map(str::to_owned).collect::<Vec<_>>();
    let (publish, subscribe) = (subjects(publish), subjects(subscribe));
    drop(nothing);
    for left_out in 0..publish.len() + subscribe.len() {
        let (mut some, mut others) = (publish.clone(), subscribe.clone());
        let list = if left_out < some.len() { &mut some } else { &mut others };
        let refused = list.remove(left_out % publish.len());
        let nats = Nats::start_with(&["-js", "-c", &permitted(&folder, &some, &others)]);
        let Checked { succeeds, said } = Router::check(&nats, &variables);
        assert!(!succeeds, "without {refused}: {said}");
        let stem = refused.trim_end_matches(".>");
        let (reason, _) = said.split_once("Let the user").unwrap_or((&said, ""));
        assert!(reason.contains(stem), "without {refused}: {said}");
    }
    let nats = Nats::start_with(&["-js", "-c", &permitted(&folder, &publish, &subscribe)]);
    check_login(&nats, &variables).await;
}

/// A configuration of NATS in which `joe` may do so much.
fn permitted(folder: &TempDir, publish: &[String], subscribe: &[String]) -> String {
    let list = |subjects: &[String]| match subjects {
        [] => "{ deny: \">\" }".to_owned(),
        subjects => format!("[\"{}\"]", subjects.join("\", \"")),
    };
    let (publish, subscribe) = (list(publish), list(subscribe));
    let text = format!(
        "authorization {{ users = [ {{ user: joe, password: right, \
         permissions: {{ publish: {publish}, subscribe: {subscribe} }} }} ] }}\n"
    );
    write(folder, "permissions.conf", &text)
}
