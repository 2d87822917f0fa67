//! AU-TKT, AU-CRA, AU-SCR, AU-CSG: what each method asks for and accepts.

use std::sync::Arc;

use stentor::authentication::{
    AuthenticatorSettings, CraKey, Credential, Kdf, Method, Principal, RouterKey, ScramRecord,
    Source,
};

use super::authentication::{by, check_ways};
use crate::support::{CLIENT_NONCE, public_key_of, user_with_chosen_ticket};

fn joe(credential: Credential) -> AuthenticatorSettings {
    let method = credential.method();
    let joe = Principal { authid: "joe".into(), role: "user".into(), credential };
    AuthenticatorSettings::of(method, vec![Arc::new(joe)])
}

/// AU-TKT-01
#[test]
fn a_ticket_is_compared_with_its_hash() {
    let costly = AuthenticatorSettings::of(Method::Ticket, vec![user_with_chosen_ticket("joe")]);
    for way in [by(Method::Ticket), costly] {
        check_ways(
            &[way],
            r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
               a <- CHALLENGE ticket {}
               a -> AUTHENTICATE pencil {}
               a <- WELCOME * *
               b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"],"authid":"joe"}
               b <- CHALLENGE ticket {}
               b -> AUTHENTICATE "" {}
               b <- ABORT * wamp.error.authentication_denied
               b <- CLOSED 1008
               c -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["ticket"]}
               c <- ABORT * wamp.error.no_matching_auth_method
               c <- CLOSED 1008"#,
        );
    }
}

/// AU-CRA-01, AU-CRA-02
#[test]
fn wampcra_signs_the_challenge() {
    check_ways(
        &[by(Method::Wampcra)],
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           a <- CHALLENGE wampcra $x
           prove $p by wampcra joe pencil from $x
           a -> AUTHENTICATE $p {}
           a <- WELCOME $session {"realm":"realm1","authid":"joe","authrole":"user",\
                "authmethod":"wampcra","authprovider":"static","agent":"Stentor","roles":*}
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           b <- CHALLENGE wampcra $y
           prove $q by wampcra joe pen from $y
           b -> AUTHENTICATE $q {}
           b <- ABORT * wamp.error.authentication_denied
           b <- CLOSED 1008
           c -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"]}
           c <- ABORT * wamp.error.no_matching_auth_method
           c <- CLOSED 1008"#,
    );
}

/// AU-CRA-03, and the salt of an authid that nobody has (AU-GEN-04).
#[test]
fn a_salted_secret_is_derived_by_the_client() {
    check_ways(
        &[joe(Credential::Wampcra(CraKey::derived(b"pencil", [3; 16], 5)))],
        r#"a -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"joe"}
           a <- CHALLENGE wampcra $x
           prove $p by wampcra joe pencil from $x
           a -> AUTHENTICATE $p {}
           a <- WELCOME $session *
           b -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"nobody"}
           b <- CHALLENGE wampcra {"challenge":*,"salt":$salt,"keylen":32,"iterations":5}
           b -> AUTHENTICATE "" {}
           b <- ABORT * wamp.error.authentication_denied
           b <- CLOSED 1008
           c -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"nobody"}
           c <- CHALLENGE wampcra {"challenge":*,"salt":$salt,"keylen":32,"iterations":5}
           d -> HELLO realm1 {"roles":{"caller":{}},"authmethods":["wampcra"],"authid":"no one"}
           d <- CHALLENGE wampcra {"challenge":*,"salt":$other,"keylen":32,"iterations":5}"#,
    );
}

/// AU-SCR-01 to AU-SCR-07
#[test]
fn scram_proves_a_password_on_both_sides() {
    for kdf in [Kdf::Pbkdf2 { iterations: 7 }, Kdf::Argon2id13 { passes: 1, memory_kib: 8 }] {
        let record = ScramRecord::of("pencil", kdf, [5; 16]).expect("a password");
        let hello = format!(
            r#"{{"roles":{{"caller":{{}}}},"authmethods":["wamp-scram"],"authid":"joe",\
                "authextra":{{"nonce":"{CLIENT_NONCE}","channel_binding":null}}}}"#
        );
        check_ways(
            &[joe(Credential::Scram(record))],
            &format!(
                r#"a -> HELLO realm1 {hello}
                   a <- CHALLENGE wamp-scram $x
                   prove $p by wamp-scram joe pencil from $x
                   a -> AUTHENTICATE $p {{"nonce":$nonce,"channel_binding":null,"cbind_data":null}}
                   a <- WELCOME * {{"realm":"realm1","authid":"joe","authrole":"user",\
                        "authmethod":"wamp-scram","authprovider":"static","agent":"Stentor",\
                        "roles":*,"authextra":{{"verifier":*}}}}
                   b -> HELLO realm1 {hello}
                   b <- CHALLENGE wamp-scram $y
                   prove $q by wamp-scram joe pencil from $y
                   b -> AUTHENTICATE $q {{"nonce":"{CLIENT_NONCE}"}}
                   b <- ABORT * wamp.error.authentication_denied
                   b <- CLOSED 1008
                   c -> HELLO realm1 {hello}
                   c <- CHALLENGE wamp-scram $z
                   prove $r by wamp-scram joe pen from $z
                   c -> AUTHENTICATE $r {{"nonce":$nonce}}
                   c <- ABORT * wamp.error.authentication_denied
                   c <- CLOSED 1008
                   d -> HELLO realm1 {hello}
                   d <- CHALLENGE wamp-scram $w
                   prove $s by wamp-scram joe pencil from $w
                   d -> AUTHENTICATE $s {{"nonce":$nonce,"channel_binding":"tls-unique"}}
                   d <- ABORT * wamp.error.authentication_denied
                   d <- CLOSED 1008"#
            ),
        );
    }
}

/// AU-SCR-02, AU-SCR-03
#[test]
fn an_authid_that_nobody_has_gets_a_salt_that_stays() {
    let hello = |authid: &str| {
        format!(
            r#"{{"roles":{{"caller":{{}}}},"authmethods":["wamp-scram"],"authid":"{authid}",\
                "authextra":{{"nonce":"{CLIENT_NONCE}"}}}}"#
        )
    };
    let (nobody, other) = (hello("nobody"), hello("no one"));
    check_ways(
        &[by(Method::Scram)],
        &format!(
            r#"a -> HELLO realm1 {nobody}
               a <- CHALLENGE wamp-scram {{"nonce":$one,"salt":$salt,"kdf":"pbkdf2",\
                    "iterations":7,"memory":null}}
               a -> AUTHENTICATE AAAA {{"nonce":$one}}
               a <- ABORT * wamp.error.authentication_denied
               a <- CLOSED 1008
               b -> HELLO realm1 {nobody}
               b <- CHALLENGE wamp-scram {{"nonce":$two,"salt":$salt,"kdf":"pbkdf2",\
                    "iterations":7,"memory":null}}
               c -> HELLO realm1 {other}
               c <- CHALLENGE wamp-scram {{"nonce":$three,"salt":$another,"kdf":"pbkdf2",\
                    "iterations":7,"memory":null}}
               d -> HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["wamp-scram"],\
                    "authid":"joe"}}
               d <- ABORT * wamp.error.no_matching_auth_method
               d <- CLOSED 1008"#
        ),
    );
}

/// AU-SCR-08, AU-CSG-04: what cannot be had is refused with a way out, whoever asks.
#[test]
fn a_channel_binding_that_cannot_be_had_is_refused() {
    let ways = [by(Method::Cryptosign), by(Method::Scram)];
    for (method, binding) in [
        ("cryptosign", r#""tls-unique""#),
        ("cryptosign", r#""tls-exporter""#),
        ("cryptosign", "7"),
        ("wamp-scram", r#""tls-exporter""#),
    ] {
        for authid in ["joe", "nobody"] {
            check_ways(
                &ways,
                &format!(
                    r#"a -> HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["{method}"],\
                           "authid":"{authid}","authextra":{{"pubkey":"{}","nonce":"x",\
                           "channel_binding":{binding}}}}}
                       a <- ABORT {{"message":"this channel_binding cannot be had here: leave it \
out, or use \"tls-exporter\" with cryptosign over TLS 1.3 (\"tls-unique\" is not supported)"}} \
                           wamp.error.authentication_failed
                       a <- CLOSED 1008"#,
                    public_key_of("joe")
                ),
            );
        }
    }
}

/// AU-CSG-01 to AU-CSG-03
#[test]
fn cryptosign_signs_the_challenge_with_a_registered_key() {
    let hello = |authid: &str, key: &str| {
        let authid =
            if authid.is_empty() { String::new() } else { format!(r#""authid":"{authid}","#) };
        format!(
            r#"{{"roles":{{"caller":{{}}}},"authmethods":["cryptosign"],{authid}\
                "authextra":{{"pubkey":"{}","channel_binding":null,"challenge":"00"}}}}"#,
            public_key_of(key)
        )
    };
    let (joe, inferred) = (hello("joe", "joe"), hello("", "joe"));
    let (unknown, others) = (hello("", "nobody"), hello("joe", "jim"));
    check_ways(
        &[by(Method::Cryptosign)],
        &format!(
            r#"a -> HELLO realm1 {joe}
               a <- CHALLENGE cryptosign $x
               prove $p by cryptosign joe joe from $x
               a -> AUTHENTICATE $p {{}}
               a <- WELCOME * *
               b -> HELLO realm1 {inferred}
               b <- CHALLENGE cryptosign {{"challenge":$c,"channel_binding":null}}
               b -> AUTHENTICATE $p {{}}
               b <- ABORT * wamp.error.authentication_denied
               b <- CLOSED 1008
               c -> HELLO realm1 {inferred}
               c <- CHALLENGE cryptosign $y
               prove $q by cryptosign joe joe from $y
               c -> AUTHENTICATE $q {{}}
               c <- WELCOME * {{"realm":"realm1","authid":"joe","authrole":"user",\
                    "authmethod":"cryptosign","authprovider":"static","agent":"Stentor","roles":*}}
               d -> HELLO realm1 {unknown}
               d <- CHALLENGE cryptosign $z
               prove $r by cryptosign x nobody from $z
               d -> AUTHENTICATE $r {{}}
               d <- ABORT * wamp.error.authentication_denied
               d <- CLOSED 1008
               e -> HELLO realm1 {others}
               e <- CHALLENGE cryptosign $w
               prove $s by cryptosign joe jim from $w
               e -> AUTHENTICATE $s {{}}
               e <- ABORT * wamp.error.authentication_denied
               e <- CLOSED 1008"#
        ),
    );
}

/// AU-CSG-05: one user may have several keys; a key of several users names nobody.
#[test]
fn an_authid_is_inferred_from_a_key_that_only_one_has() {
    let key = |name: &str| match Credential::parse(
        Method::Cryptosign,
        &public_key_of(name),
        Source::File,
    ) {
        Ok(Credential::Cryptosign(keys)) => keys[0],
        other => panic!("{other:?}"),
    };
    let with = |authid: &str, keys: &[&str]| {
        let credential = Credential::Cryptosign(keys.iter().map(|name| key(name)).collect());
        Arc::new(Principal { authid: authid.into(), role: "user".into(), credential })
    };
    let users = vec![with("joe", &["one", "both"]), with("jim", &["both", "two"])];
    let hello = |authid: &str, key: &str| {
        format!(
            r#"HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["cryptosign"]{authid},\
                "authextra":{{"pubkey":"{}"}}}}"#,
            public_key_of(key)
        )
    };
    let (two, both) = (hello("", "two"), hello("", "both"));
    let named = hello(r#","authid":"jim""#, "both");
    check_ways(
        &[AuthenticatorSettings::of(Method::Cryptosign, users)],
        &format!(
            r#"a -> {two}
               a <- CHALLENGE cryptosign $x
               prove $p by cryptosign jim two from $x
               a -> AUTHENTICATE $p {{}}
               a <- WELCOME * {{"realm":"realm1","authid":"jim","authrole":"user",\
                    "authmethod":"cryptosign","authprovider":"static","agent":"Stentor","roles":*}}
               b -> {both}
               b <- CHALLENGE cryptosign $y
               prove $q by cryptosign jim both from $y
               b -> AUTHENTICATE $q {{}}
               b <- ABORT * wamp.error.authentication_denied
               b <- CLOSED 1008
               c -> {named}
               c <- CHALLENGE cryptosign $z
               prove $r by cryptosign jim both from $z
               c -> AUTHENTICATE $r {{}}
               c <- WELCOME * *"#
        ),
    );
}

/// AU-CSG-02: whoever sends a challenge gets it signed by the router's key, whoever it is, before
/// it has to prove anything; without a key the challenge is ignored, as by routers that have none.
#[test]
fn a_router_with_a_key_proves_itself() {
    let with_key = |seed: Option<&str>| {
        let router_key_value = seed.map(|seed| RouterKey::parse(&seed.repeat(32)).expect("a key"));
        AuthenticatorSettings { router_key_value, ..by(Method::Cryptosign) }
    };
    let challenge = "bbae60ea44cdd7b20dc7010a618b0f0803fab25a817520b4b7f057299b524deb";
    // Ed25519 signs the same alike.
    let key = RouterKey::parse(&"07".repeat(32)).expect("a key").public();
    let signing = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let message = data_encoding::HEXLOWER.decode(challenge.as_bytes()).expect("digits");
    let signature = ed25519_dalek::Signer::sign(&signing, &message).to_bytes();
    let signature = data_encoding::HEXLOWER.encode(&signature);
    let hello = |own: &str, challenge: &str| {
        format!(
            r#"HELLO realm1 {{"roles":{{"caller":{{}}}},"authmethods":["cryptosign"],\
                "authextra":{{"pubkey":"{}","challenge":{challenge}}}}}"#,
            public_key_of(own)
        )
    };
    let asked = format!(r#""{challenge}""#);
    let (joe, nobody) = (hello("joe", &asked), hello("nobody", &asked));
    let (silent, short) = (hello("joe", "null"), hello("joe", r#""00""#));
    let number = hello("joe", "7");
    check_ways(
        &[with_key(Some("07"))],
        &format!(
            r#"a -> {joe}
               a <- CHALLENGE cryptosign {{"challenge":$c,"channel_binding":null,\
                    "signature":"{signature}{challenge}","pubkey":"{key}"}}
               b -> {nobody}
               b <- CHALLENGE cryptosign {{"challenge":$d,"channel_binding":null,\
                    "signature":"{signature}{challenge}","pubkey":"{key}"}}
               c -> {silent}
               c <- CHALLENGE cryptosign {{"challenge":$e,"channel_binding":null}}
               d -> {short}
               d <- ABORT {{"message":"HELLO.Details.authextra.challenge must be 32 bytes as \
hexadecimal digits"}} wamp.error.authentication_failed
               d <- CLOSED 1008
               e -> {number}
               e <- ABORT * wamp.error.authentication_failed
               e <- CLOSED 1008"#
        ),
    );
    check_ways(
        &[with_key(None)],
        &format!(
            r#"a -> {joe}
               a <- CHALLENGE cryptosign {{"challenge":$c,"channel_binding":null}}"#
        ),
    );
    check_ways(
        &[AuthenticatorSettings {
            router_key_value: with_key(Some("07")).router_key_value,
            ..AuthenticatorSettings::asking(Method::Cryptosign, "https://auth.example.org/")
        }],
        &format!(
            r#"the endpoint says {{"role":"user","authid":"joe","pubkey":"{}"}}
               a -> {joe}
               a <- CHALLENGE cryptosign {{"challenge":$c,"channel_binding":null,\
                    "signature":"{signature}{challenge}","pubkey":"{key}"}}"#,
            public_key_of("joe")
        ),
    );
}
