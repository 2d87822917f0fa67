//! Logins against the vectors of their RFCs and of the specification, and against routers that
//! cheat.

use super::*;

const RANDOM: [u8; 56] = [7; 56];

fn dict(entries: &[(&'static str, &str)]) -> Dict {
    entries.iter().map(|(key, text)| ((*key).into(), (*text).into())).collect()
}

/// The example of RFC 7677, section 3.
#[test]
fn scram_proves_as_its_rfc_does_and_knows_the_router() {
    let mut extra = dict(&[
        ("nonce", "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"),
        ("salt", "W22ZaJ0SNY7soEsUEjb6gQ=="),
        ("kdf", "pbkdf2"),
    ]);
    extra.push(("iterations".into(), 4096_u64.into()));
    let secret = Secret::of_text("pencil");
    let proof = scram::prove(&secret, "user", "rOprNGfwEbeRWgbNEkqO", &extra).unwrap();
    assert_eq!(proof.signature, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    assert_eq!(proof.verifier, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    let other = scram::prove(&secret, "user", "another", &extra);
    assert_eq!(other.err(), Some(AuthError::Challenge("nonce")), "a nonce that is not ours");
}

#[test]
fn a_router_that_does_not_know_the_password_is_not_believed() {
    let credentials = [Credential::scram("pencil").unwrap()];
    let mut login = Login::new(&credentials, Some("joe"), RANDOM, None);
    let mut hello = Dict::new();
    login.hello(&mut hello).unwrap();
    let Some(Value::Dict(said)) = find(&hello, "authextra") else { panic!("{hello:?}") };
    let nonce = format!("{}more", text(said, "nonce").unwrap());
    let mut extra =
        dict(&[("nonce", &nonce), ("salt", "W22ZaJ0SNY7soEsUEjb6gQ=="), ("kdf", "pbkdf2")]);
    extra.push(("iterations".into(), 1_u64.into()));
    let none = vec![("authmethod".into(), "wamp-scram".into())];
    assert_eq!(login.welcome(&none), Err(AuthError::RouterUnproven), "not even challenged");
    login.answer("wamp-scram", &extra).unwrap();
    assert_eq!(login.welcome(&none), Err(AuthError::RouterUnproven));
    let wrong = vec![("authextra".into(), Value::Dict(dict(&[("verifier", "AAAA")])))];
    assert_eq!(login.welcome(&wrong), Err(AuthError::RouterUnproven));
    let State::ScramVerifier(verifier) = &login.state else { panic!("it was answered") };
    let right = vec![("authextra".into(), Value::Dict(dict(&[("verifier", verifier)])))];
    assert_eq!(login.welcome(&right), Ok(()));
}

/// A vector of the chapter on cryptosign in the specification, without a channel.
#[test]
fn cryptosign_signs_as_the_specification_does() {
    let key = "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510";
    let credentials = [Credential::cryptosign(key).unwrap()];
    let mut login = Login::new(&credentials, None, RANDOM, None);
    let challenge = "ff".repeat(32);
    let (signature, _) = login.answer("cryptosign", &dict(&[("challenge", &challenge)])).unwrap();
    assert_eq!(
        signature,
        "b32675b221f08593213737bef8240e7c15228b07028e19595294678c90d11c0c\
         ae80a357331bfc5cc9fb71081464e6e75013517c2cf067ad566a6b7b728e5d03"
            .to_owned()
            + &challenge
    );
}

#[test]
fn a_bound_login_needs_a_channel_and_is_not_unbound_by_the_router() {
    let key = Credential::cryptosign(&"07".repeat(32)).unwrap().bound_to_channel();
    let credentials = [key];
    let login = Login::new(&credentials, None, RANDOM, None);
    assert_eq!(login.hello(&mut Dict::new()), Err(AuthError::NoChannel));
    let mut login = Login::new(&credentials, None, RANDOM, Some([1; 32]));
    login.hello(&mut Dict::new()).unwrap();
    let challenge = "00".repeat(32);
    let unbound = login.answer("cryptosign", &dict(&[("challenge", &challenge)]));
    assert_eq!(unbound.unwrap_err(), AuthError::Challenge("channel_binding"));
    let extra = dict(&[("challenge", &challenge), ("channel_binding", "tls-exporter")]);
    let (signature, _) = login.answer("cryptosign", &extra).unwrap();
    assert_eq!(signature[128..], "01".repeat(32), "the challenge XOR the channel");
}

#[test]
fn an_expected_router_must_sign() {
    let router = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    let public = data_encoding::HEXLOWER.encode(router.verifying_key().as_bytes());
    let key = Credential::cryptosign(&"07".repeat(32)).unwrap();
    let credentials = [key.expecting_router(&public).unwrap()];
    let mut login = Login::new(&credentials, None, RANDOM, None);
    let challenge = "00".repeat(32);
    let unsigned = dict(&[("challenge", &challenge)]);
    assert_eq!(login.answer("cryptosign", &unsigned), Err(AuthError::RouterUnproven));
    let signed = ed25519_dalek::Signer::sign(&router, &[7; 32]).to_bytes();
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let replayed = hex(&signed) + &hex(&[8; 32]);
    let extra = dict(&[("challenge", &challenge), ("signature", &replayed)]);
    assert_eq!(login.answer("cryptosign", &extra), Err(AuthError::RouterUnproven));
    let right = hex(&signed) + &hex(&[7; 32]);
    let extra = dict(&[("challenge", &challenge), ("signature", &right)]);
    assert!(login.answer("cryptosign", &extra).is_ok());
}

#[test]
fn wampcra_takes_the_secret_or_what_is_derived_from_it() {
    let secret = Secret::of_text("secret");
    let plain = wampcra::sign(&secret, &dict(&[("challenge", "{}")])).unwrap();
    assert_eq!(plain, data_encoding::BASE64.encode(&wampcra::mac(b"secret", b"{}")));
    let mut salted = dict(&[("challenge", "{}"), ("salt", "salt")]);
    salted.push(("iterations".into(), 1_u64.into()));
    salted.push(("keylen".into(), 32_u64.into()));
    assert_ne!(wampcra::sign(&secret, &salted).unwrap(), plain);
}

/// What a hostile router may cost.
#[test]
fn demands_without_measure_are_refused() {
    let mut extra = dict(&[("challenge", "{}"), ("salt", "salt")]);
    extra.push(("iterations".into(), (1_u64 << 32).into()));
    extra.push(("keylen".into(), 32_u64.into()));
    let error = wampcra::sign(&Secret::of_text("s"), &extra).unwrap_err();
    assert!(matches!(error, AuthError::TooCostly { what: "iterations", .. }), "{error}");
    let mut extra = dict(&[("nonce", "ab"), ("salt", "c2FsdHNhbHQ="), ("kdf", "argon2id13")]);
    extra.push(("iterations".into(), 1_u64.into()));
    extra.push(("memory".into(), (1_u64 << 30).into()));
    let error = scram::prove(&Secret::of_text("s"), "u", "a", &extra).err().unwrap();
    assert!(matches!(error, AuthError::TooCostly { what: "memory", .. }), "{error}");
}

#[test]
fn secrets_are_never_shown() {
    for credential in [
        Credential::ticket("hidden"),
        Credential::wampcra("hidden"),
        Credential::scram("hidden").unwrap(),
        Credential::cryptosign(&"07".repeat(32)).unwrap(),
    ] {
        let shown = format!("{credential:?}");
        assert!(!shown.contains("hidden") && !shown.contains("0707"), "{shown}");
    }
    assert_eq!(
        Login::new(&[Credential::ticket("t")], None, RANDOM, None)
            .answer("wampcra", &Dict::new())
            .unwrap_err(),
        AuthError::Method("wampcra".to_owned())
    );
}
