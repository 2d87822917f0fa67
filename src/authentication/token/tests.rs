//! Tokens: the RFCs' own, what attackers make of them, and any bytes.

use std::sync::Arc;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ed25519_dalek::{Signer, SigningKey};
use hmac::Mac;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::jws::Token;
use super::*;
use crate::authentication::Secret;
use crate::authentication::wampcra::mac;
use crate::wamp::{Timestamp, Value};

const SECRET: &[u8] = b"correct horse battery staple, or 32 bytes of it";

/// The present of these tests, in seconds.
const NOW: i64 = 1_300_819_000;

fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64URL_NOPAD.encode(bytes.as_ref())
}

fn signed_by(header: &Json, claims: &Json, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let text = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
    let signature = sign(text.as_bytes());
    format!("{text}.{}", base64(signature))
}

fn hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = mac(secret);
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn token(header: &Json, claims: &Json) -> String {
    signed_by(header, claims, |message| hs256(SECRET, message))
}

fn keys(set: &Json) -> KeySet {
    KeySet::from_jwks(set.to_string().as_bytes(), true).expect("keys")
}

fn secret() -> KeySet {
    KeySet::from_secret(Secret::new(SECRET)).expect("it is long")
}

fn issuer(keys: KeySet, change: impl FnOnce(&mut TokenSettings)) -> Issuer {
    let loaded = Some(Arc::new(keys));
    let mut settings = TokenSettings { loaded, leeway_ms: 10_000, ..TokenSettings::default() };
    change(&mut settings);
    Issuer::new(settings, Some("user".into()))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_ms(seconds * 1_000)
}

fn judged(issuer: &Issuer, token: &str) -> Result<(String, String), TokenError> {
    let judged = issuer.judge(token, None, at(NOW));
    judged.map(|(grant, _)| (grant.authid.expect("it says one").into(), grant.role.into()))
}

fn claims(more: Json) -> Json {
    let mut claims = json!({"sub": "joe", "exp": NOW + 60});
    let members = more.as_object().expect("a dict").clone();
    claims.as_object_mut().expect("a dict").extend(members);
    claims
}

/// RFC 7515, A.1 to A.3: the same claims with three kinds of key.
#[test]
fn the_examples_of_the_rfc_are_good() {
    let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19\
                   yb290Ijp0cnVlfQ";
    let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1\
             Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpa\
             SHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4\
             LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    let rs256 = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5\
                 YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6\
                 xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc\
                 6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_\
                 IoypGlUPQGe77Rw";
    let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z\
                  9CAow";
    let (x, y) = (
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    );
    let es256 = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6\
                 NU1Q";
    let cases = [
        (
            json!({"kty": "oct", "k": secret}),
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (json!({"kty": "RSA", "n": n, "e": "AQAB"}), "eyJhbGciOiJSUzI1NiJ9", rs256),
        (json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}), "eyJhbGciOiJFUzI1NiJ9", es256),
    ];
    for (key, header, signature) in cases {
        let issuer = issuer(keys(&json!({"keys": [key]})), |settings| {
            settings.authid_claim = "iss".into();
            settings.issuer = Some("joe".into());
        });
        let token = format!("{header}.{payload}.{signature}");
        assert_eq!(judged(&issuer, &token), Ok(("joe".into(), "user".into())), "{header}");
        let forged = token.replace(".eyJpc3M", ".eyJpc3N");
        assert!(judged(&issuer, &forged).is_err());
        let rest = &signature[1..];
        let wrong =
            format!("{header}.{payload}.{}{rest}", if rest.starts_with('A') { 'B' } else { 'A' });
        assert_eq!(judged(&issuer, &wrong), Err(TokenError::BadSignature), "{header}");
        assert_eq!(issuer.judge(&token, None, at(NOW + 1_000)), Err(TokenError::Expired));
        is_read_from_der(&key, &token);
    }
}

/// The same key as `SubjectPublicKeyInfo`.
fn is_read_from_der(key: &Json, token: &str) {
    let bytes = |name: &str| BASE64URL_NOPAD.decode(key[name].as_str().unwrap_or("").as_bytes());
    let bytes = |name| bytes(name).expect("Base64");
    let der = match key["kty"].as_str() {
        Some("RSA") => {
            let head = "30820122300d06092a864886f70d01010105000382010f003082010a0282010100";
            [HEXLOWER.decode(head.as_bytes()).expect("hex"), bytes("n"), vec![2, 3, 1, 0, 1]]
                .concat()
        }
        Some("EC") => {
            let head = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
            [HEXLOWER.decode(head.as_bytes()).expect("hex"), bytes("x"), bytes("y")].concat()
        }
        _ => return,
    };
    let keys = KeySet::from_public_key(&der).expect("a key");
    assert_eq!(Token::parse(token).expect("a token").verify(&keys), Ok(()));
    for end in 0..der.len() {
        assert_eq!(KeySet::from_public_key(&der[..end]), Err(BadKeys::NoKey), "{end}");
    }
    let longer = [&der[..], &[0]].concat();
    assert_eq!(KeySet::from_public_key(&longer), Err(BadKeys::NoKey));
}

#[test]
fn ed25519_is_verified() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let point = key.verifying_key().to_bytes();
    let jwk = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": base64(point), "kid": "a"}]});
    let sign = |message: &[u8]| key.sign(message).to_bytes().to_vec();
    let header = json!({"alg": "EdDSA", "kid": "a"});
    let token = signed_by(&header, &claims(json!({})), sign);
    assert!(judged(&issuer(keys(&jwk), |_| {}), &token).is_ok());
    let head = HEXLOWER.decode(b"302a300506032b6570032100").expect("hex");
    let from_der = KeySet::from_public_key(&[&head[..], &point].concat()).expect("a key");
    assert!(judged(&issuer(from_der, |_| {}), &token).is_ok(), "a key without id fits any");
    let other = signed_by(&json!({"alg": "EdDSA", "kid": "b"}), &claims(json!({})), sign);
    assert_eq!(judged(&issuer(keys(&jwk), |_| {}), &other), Err(TokenError::UnknownKey));
}

/// RFC 8725, 2.1: the token does not choose the algorithm.
#[test]
fn the_key_decides_the_algorithm() {
    let key = SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes();
    let jwk = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": base64(key)}]});
    let issuer = issuer(keys(&jwk), |_| {});
    let claims = claims(json!({}));
    // The public key as the secret of an HMAC.
    let confused = signed_by(&json!({"alg": "HS256"}), &claims, |message| hs256(&key, message));
    assert_eq!(judged(&issuer, &confused), Err(TokenError::OtherAlgorithm));
    for name in ["none", "None", "NONE", "eddsa", ""] {
        let bare = signed_by(&json!({"alg": name}), &claims, |_| Vec::new());
        assert_eq!(judged(&issuer, &bare), Err(TokenError::OtherAlgorithm), "{name}");
        let named = signed_by(&json!({"alg": name}), &claims, |message| hs256(SECRET, message));
        let by_secret = self::issuer(secret(), |_| {});
        assert_eq!(judged(&by_secret, &named), Err(TokenError::OtherAlgorithm), "{name}");
    }
    let unsigned = signed_by(&json!({"alg": "EdDSA"}), &claims, |_| Vec::new());
    assert_eq!(judged(&issuer, &unsigned), Err(TokenError::BadSignature));
}

#[test]
fn headers_that_nobody_understands_are_refused() {
    let issuer = issuer(secret(), |_| {});
    let judge = |header: Json| judged(&issuer, &token(&header, &claims(json!({}))));
    assert!(judge(json!({"alg": "HS256", "typ": "JWT", "x5u": "https://example.org"})).is_ok());
    for crit in [json!(["b64"]), json!([]), json!(null)] {
        assert_eq!(judge(json!({"alg": "HS256", "crit": crit})), Err(TokenError::Critical));
    }
    for header in [json!({}), json!({"alg": 1}), json!({"alg": "HS256", "kid": 1})] {
        assert_eq!(judge(header), Err(TokenError::Malformed));
    }
}

/// CVE-2026-25537: an `exp` of another type was taken for none.
#[test]
fn exp_must_be_there_and_a_number() {
    let issuer = issuer(secret(), |_| {});
    let with = |name: &str, value: Json| {
        let header = json!({"alg": "HS256"});
        judged(&issuer, &token(&header, &claims(json!({name: value})))).map(drop)
    };
    let good =
        [json!(NOW + 1), json!(NOW as f64 + 0.5), json!(u64::MAX), json!(1e300), json!(i64::MAX)];
    for exp in good {
        assert_eq!(with("exp", exp.clone()), Ok(()), "{exp}");
    }
    for exp in [json!(NOW - 10), json!(-1), json!(i64::MIN), json!(-1e300), json!(0), json!(0.5)] {
        assert_eq!(with("exp", exp.clone()), Err(TokenError::Expired), "{exp}");
    }
    let text = json!((NOW + 60).to_string());
    for wrong in [text, json!(null), json!(true), json!([NOW + 60]), json!({})] {
        for name in ["exp", "nbf", "iat"] {
            assert_eq!(with(name, wrong.clone()), Err(TokenError::NoNumber), "{name} {wrong}");
        }
    }
    let header = json!({"alg": "HS256"});
    let bare = token(&header, &json!({"sub": "joe"}));
    assert_eq!(judged(&issuer, &bare), Err(TokenError::NoExpiry));
    assert_eq!(with("nbf", json!(NOW + 10)), Ok(()));
    assert_eq!(with("nbf", json!(NOW + 11)), Err(TokenError::NotYetValid));
    let twice = format!(r#"{{"sub":"joe","exp":1,"exp":{}}}"#, NOW + 60);
    let text = format!("{}.{}", base64(header.to_string()), base64(&twice));
    let signature = base64(hs256(SECRET, text.as_bytes()));
    assert!(judged(&issuer, &format!("{text}.{signature}")).is_ok(), "the last one counts");
}

#[test]
fn issuer_and_audience_must_be_the_configured_ones() {
    let issuer = issuer(secret(), |settings| {
        settings.issuer = Some("https://a.example".into());
        settings.audience = Some("wamp".into());
    });
    let judge = |iss: Json, aud: Json| {
        let claims = claims(json!({"iss": iss, "aud": aud}));
        judged(&issuer, &token(&json!({"alg": "HS256"}), &claims)).map(drop)
    };
    let own = || json!("https://a.example");
    assert_eq!(judge(own(), json!("wamp")), Ok(()));
    assert_eq!(judge(own(), json!(["other", "wamp"])), Ok(()));
    for aud in [json!("other"), json!(null), json!([]), json!(["wamp2"]), json!({"wamp": 1})] {
        assert_eq!(judge(own(), aud), Err(TokenError::OtherAudience));
    }
    for iss in [json!("https://a.example/"), json!(null), json!(["https://a.example"])] {
        assert_eq!(judge(iss, json!("wamp")), Err(TokenError::OtherIssuer));
    }
}

/// Roles as Keycloak has them, as `scope`, and under a name with dots.
#[test]
fn a_table_makes_roles_of_claims() {
    let rule = |claim: &str, role: &str| RoleRule { claim: claim.into(), role: role.into() };
    let by = |path: &str| {
        let mut settings = TokenSettings { loaded: Some(Arc::new(secret())), ..Default::default() };
        settings.role_claim = Some(path.into());
        settings.roles = vec![rule("admin", "backend"), rule("member", "user")];
        Issuer::new(settings, None)
    };
    let role = |path: &str, more: Json| {
        let token = token(&json!({"alg": "HS256"}), &claims(more));
        judged(&by(path), &token).map(|(_, role)| role)
    };
    let nested = |roles: Json| json!({"realm_access": {"roles": roles}});
    let path = "realm_access.roles";
    assert_eq!(role(path, nested(json!(["x", "member", "admin"]))), Ok("backend".into()));
    assert_eq!(role(path, nested(json!(["offline_access", "member"]))), Ok("user".into()));
    assert_eq!(role("scope", json!({"scope": "openid member"})), Ok("user".into()));
    let dotted = "https://example.org/roles";
    assert_eq!(role(dotted, json!({"https://example.org/roles": ["admin"]})), Ok("backend".into()));
    for unknown in
        [json!([]), json!(["Admin"]), json!("administrator"), json!({"admin": 1}), json!(7)]
    {
        assert_eq!(role(path, nested(unknown)), Err(TokenError::NoRole));
    }
    assert_eq!(role(path, json!({})), Err(TokenError::NoRole));
    let token = token(&json!({"alg": "HS256"}), &claims(json!({})));
    assert_eq!(judged(&issuer(secret(), |_| {}), &token), Ok(("joe".into(), "user".into())));
}

#[test]
fn the_authid_is_a_claim_and_the_clients_must_be_the_same() {
    let by = issuer(secret(), |settings| {
        settings.authid_claim = "user.name".into();
        settings.extra_claims = vec!["email".into(), "missing".into()];
    });
    let named = |name: Json| {
        let more = json!({"user": {"name": name}, "email": "joe@example.org"});
        token(&json!({"alg": "HS256"}), &claims(more))
    };
    let (grant, expires) = by.judge(&named(json!("joe")), Some("joe"), at(NOW)).expect("good");
    assert_eq!(grant.authid.as_deref(), Some("joe"));
    assert_eq!(grant.extra, vec![("email".into(), Value::from("joe@example.org"))]);
    assert_eq!(expires, at(NOW + 60 + 10), "with the leeway");
    let other = by.judge(&named(json!("joe")), Some("jim"), at(NOW));
    assert_eq!(other, Err(TokenError::OtherAuthid));
    for wrong in [json!(7), json!(""), json!(null), json!("x".repeat(257)), json!("a\nb")] {
        assert_eq!(judged(&by, &named(wrong)), Err(TokenError::NoAuthid));
    }
}

#[test]
fn keys_that_are_not_for_this_are_left_out() {
    let point = base64(SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes());
    let key = |more: Json| {
        let mut key = json!({"kty": "OKP", "crv": "Ed25519", "x": point});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        KeySet::from_jwks(json!({"keys": [key]}).to_string().as_bytes(), true).map(drop)
    };
    for good in [json!({}), json!({"use": "sig"}), json!({"alg": "EdDSA", "key_ops": ["verify"]})] {
        assert_eq!(key(good.clone()), Ok(()), "{good}");
    }
    for bad in [
        json!({"use": "enc"}),
        json!({"alg": "ES256"}),
        json!({"key_ops": ["sign"]}),
        json!({"kty": "EC"}),
        json!({"crv": "X25519"}),
        json!({"x": "AAAA"}),
        json!({"x": 1}),
        json!({"kid": 1}),
        json!({"use": 1}),
    ] {
        assert_eq!(key(bad.clone()), Err(BadKeys::NoKey), "{bad}");
    }
    let rsa = json!({"keys": [{"kty": "RSA", "n": base64([0xff; 128]), "e": "AQAB"}]});
    assert_eq!(KeySet::from_jwks(rsa.to_string().as_bytes(), true), Err(BadKeys::NoKey));
    for text in ["", "[]", "{}", r#"{"keys":{}}"#] {
        assert_eq!(KeySet::from_jwks(text.as_bytes(), true), Err(BadKeys::Form), "{text}");
    }
    let many = json!({"keys": vec![json!({}); 65]});
    assert_eq!(KeySet::from_jwks(many.to_string().as_bytes(), true), Err(BadKeys::TooMany));
    let secret = json!({"keys": [{"kty": "oct", "k": base64([1; 32])}]}).to_string();
    assert!(KeySet::from_jwks(secret.as_bytes(), true).is_ok());
    assert_eq!(KeySet::from_jwks(secret.as_bytes(), false), Err(BadKeys::NoKey), "from an address");
    assert_eq!(KeySet::from_secret(Secret::new([1; 31])), Err(BadKeys::ShortSecret));
}

/// Two keys with one id: each is tried.
#[test]
fn two_keys_may_have_one_id() {
    let one = json!({"kty": "oct", "k": base64([1; 32]), "kid": "a"});
    let two = json!({"kty": "oct", "k": base64(SECRET), "kid": "a"});
    let issuer = issuer(keys(&json!({"keys": [one, two]})), |_| {});
    let token = token(&json!({"alg": "HS256", "kid": "a"}), &claims(json!({})));
    assert!(judged(&issuer, &token).is_ok());
}

#[test]
fn a_token_has_three_parts_and_a_bound() {
    let issuer = issuer(secret(), |_| {});
    let good = token(&json!({"alg": "HS256"}), &claims(json!({})));
    assert!(has_form_of_token(&good) && judged(&issuer, &good).is_ok());
    for (form, has_form) in [
        (good.replace('.', ""), false),
        (format!("{good}.x"), false),
        (format!("{good}="), false),
        (format!(" {good}"), false),
        (good[..good.len() - 1].to_owned(), true),
        ("eyJ..".to_owned(), true),
        ("pencil".to_owned(), false),
    ] {
        assert_eq!(has_form_of_token(&form), has_form, "{form}");
        assert!(judged(&issuer, &form).is_err(), "{form}");
    }
    let long = token(&json!({"alg": "HS256"}), &claims(json!({"x": "x".repeat(MAX_TOKEN_BYTES)})));
    assert_eq!(judged(&issuer, &long), Err(TokenError::TooLong));
}

proptest! {
    #[test]
    fn any_text_is_judged_without_harm(text in "\\PC{0,200}|[a-zA-Z0-9_.=-]{0,200}") {
        let _ = has_form_of_token(&text);
        let judgement = judged(&issuer(secret(), |_| {}), &text);
        prop_assert!(judgement.is_err());
    }

    #[test]
    fn any_parts_are_judged_without_harm(header: Vec<u8>, claims: Vec<u8>, signature: Vec<u8>) {
        let text = [header, claims, signature].map(base64).join(".");
        let judgement = judged(&issuer(secret(), |_| {}), &text);
        prop_assert!(judgement.is_err());
    }

    #[test]
    fn any_signed_claims_are_judged_without_harm(claims: Vec<u8>) {
        let text = format!("{}.{}", base64(r#"{"alg":"HS256"}"#), base64(&claims));
        let signature = base64(hs256(SECRET, text.as_bytes()));
        let _ = judged(&issuer(secret(), |_| {}), &format!("{text}.{signature}"));
    }

    #[test]
    fn any_bytes_are_no_key(der: Vec<u8>, text: String) {
        let _ = KeySet::from_public_key(&der);
        let _ = KeySet::from_jwks(text.as_bytes(), true);
    }
}
