//! JSON Web Tokens: whoever is let in has a token that the plain reader finds no fault in, and who
//! is not has one that is there.
//!
//! The first letter says what the rest is: `t` a token; `h` or `e` a header and, on the next line,
//! claims, to be signed by the secret or the Ed25519 key (`H`, `E`: by another one); `k` a key set;
//! `d` a public key in DER.

mod keys;
mod reader;

use std::sync::{Arc, LazyLock};

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::json;
use stentor::authentication::{BadKeys, Issuer, KeySet, RoleRule, TokenSettings};
use stentor::wamp::Timestamp;

use self::keys::{Key, Material};
use self::reader::{Bearer, Reading};
use crate::meter::allocated;

pub(super) fn judge(data: &[u8]) {
    let Some((what, rest)) = data.split_first() else { return };
    match what {
        b'k' => judge_key_set(rest),
        b'd' => judge_public_key(rest),
        b't' => str::from_utf8(rest).into_iter().for_each(judge_token),
        b'h' | b'H' | b'e' | b'E' => {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let claims = rest.get(end + 1..).unwrap_or_default();
            judge_token(&signed(*what, &rest[..end], claims));
        }
        _ => {}
    }
}

fn judge_token(token: &str) {
    for issuer in [&*PLAIN, &*STRICT] {
        for authid in [None, Some("joe")] {
            compare(issuer, &OWN_KEYS, token, authid);
        }
    }
}

/// What the router makes of a token, beside what the plain reader does.
fn compare(issuer: &Issuer, keys: &[Key], token: &str, authid: Option<&str>) {
    let (judged, bytes) = allocated(|| issuer.judge(token, authid, now()));
    let most = token.len() as u64 * JUDGED_BYTES + JUDGED_ROOM_BYTES;
    assert!(bytes.is_none_or(|bytes| bytes <= most), "{bytes:?} B to judge {} B", token.len());
    let role = Some("user").filter(|_| issuer.settings().role_claim.is_none());
    let reading = Reading::of(token, keys, issuer.settings(), role, authid);
    match judged {
        Ok((grant, expires)) => {
            assert_eq!(reading.faults, [], "it lets somebody in");
            let extra = grant.extra.iter().map(|(name, _)| name.to_string()).collect();
            let authid = grant.authid.expect("a token names its bearer");
            let bearer = Bearer { authid: authid.into(), role: grant.role.into(), extra };
            assert_eq!(Some(bearer), reading.bearer);
            assert!(grant.realm.is_none() && expires > now());
            let expected = reading.expires_ms.clamp(0.0, LAST_MS);
            let difference = (expires.unix_ms() as f64 - expected).abs();
            assert!(difference < 2.0, "until {expires}, not until {expected} ms");
        }
        Err(fault) => assert!(reading.faults.contains(&fault), "{fault}: {:?}", reading.faults),
    }
}

/// A key set, which may come from a file or from an address.
fn judge_key_set(text: &[u8]) {
    for may_hold_secrets in [true, false] {
        let expected = keys::read(text, may_hold_secrets);
        let found = KeySet::from_jwks(text, may_hold_secrets);
        let (set, keys) = match (found, expected) {
            (Ok(set), Ok(keys)) => (set, keys),
            (found, expected) => {
                assert_eq!(found.map(drop), expected.map(drop));
                continue;
            }
        };
        let is_secret = |key: &Key| matches!(key.material, Material::Secret(_));
        assert_eq!(set.len(), keys.len());
        assert_eq!(set.holds_secrets(), keys.iter().any(is_secret));
        assert!(may_hold_secrets || !set.holds_secrets());
        let issuer = issuer(set, |_| {});
        for id in [None, Some("s")] {
            for (what, algorithm) in
                [(b'h', "HS256"), (b'e', "EdDSA"), (b'h', "ES256"), (b'h', "RS256")]
            {
                let mut header = json!({"alg": algorithm});
                id.into_iter().for_each(|id| header["kid"] = id.into());
                let claims = json!({"sub": "joe", "exp": NOW + 60}).to_string();
                let token = signed(what, header.to_string().as_bytes(), claims.as_bytes());
                compare(&issuer, &keys, &token, None);
            }
        }
    }
}

/// One key, whole, and nothing behind it.
fn judge_public_key(der: &[u8]) {
    let Ok(set) = KeySet::from_public_key(der) else { return };
    assert!(set.len() == 1 && !set.holds_secrets());
    let is_known = |id: &&[u8]| der.windows(id.len()).any(|window| window == *id);
    assert!(KEY_KINDS.iter().any(is_known), "a key of no known kind");
    for end in 0..der.len() {
        assert_eq!(KeySet::from_public_key(&der[..end]), Err(BadKeys::NoKey), "{end}");
    }
    let longer = [der, &[0]].concat();
    assert_eq!(KeySet::from_public_key(&longer), Err(BadKeys::NoKey));
    let token = |what, algorithm: &str| {
        let claims = json!({"sub": "joe", "exp": NOW + 60}).to_string();
        signed(what, json!({"alg": algorithm}).to_string().as_bytes(), claims.as_bytes())
    };
    let is_ours = der.ends_with(&SIGNER.verifying_key().to_bytes());
    let issuer = issuer(set, |_| {});
    let by_key = issuer.judge(&token(b'e', "EdDSA"), None, now());
    assert!(by_key.is_err() || is_ours, "somebody else's key");
    for algorithm in ["HS256", "ES256", "RS256"] {
        assert!(issuer.judge(&token(b'h', algorithm), None, now()).is_err(), "{algorithm}");
    }
}

/// A token of these parts. The signature does not depend on what the header says.
fn signed(by: u8, header: &[u8], claims: &[u8]) -> String {
    let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let text = format!("{}.{}", encode(header), encode(claims));
    let signature = match by {
        b'h' => keys::hmac(SECRET, text.as_bytes()),
        b'H' => keys::hmac(b"somebody else's secret, of as many bytes", text.as_bytes()),
        b'e' => SIGNER.sign(text.as_bytes()).to_bytes().to_vec(),
        _ => SigningKey::from_bytes(&[8; 32]).sign(text.as_bytes()).to_bytes().to_vec(),
    };
    format!("{text}.{}", encode(&signature))
}

fn now() -> Timestamp {
    Timestamp::from_unix_ms(NOW * 1_000)
}

fn issuer(keys: KeySet, change: impl FnOnce(&mut TokenSettings)) -> Issuer {
    let loaded = Some(Arc::new(keys));
    let mut settings = TokenSettings { loaded, leeway_ms: LEEWAY_MS, ..TokenSettings::default() };
    change(&mut settings);
    let role = settings.role_claim.is_none().then(|| "user".into());
    Issuer::new(settings, role)
}

fn own_keys() -> (KeySet, Vec<Key>) {
    let text = json!({"keys": [
        {"kty": "oct", "k": BASE64URL_NOPAD.encode(SECRET), "kid": "s"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "e",
            "x": BASE64URL_NOPAD.encode(&SIGNER.verifying_key().to_bytes())},
    ]})
    .to_string();
    let keys = keys::read(text.as_bytes(), true).expect("both can be used");
    (KeySet::from_jwks(text.as_bytes(), true).expect("both can be used"), keys)
}

/// Signs what is to be signed by a private key.
static SIGNER: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[7; 32]));

static OWN_KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| own_keys().1);

/// Takes whoever has a name.
static PLAIN: LazyLock<Issuer> = LazyLock::new(|| issuer(own_keys().0, |_| {}));

/// Restricts what can be restricted.
static STRICT: LazyLock<Issuer> = LazyLock::new(|| {
    let rule = |claim: &str, role: &str| RoleRule { claim: claim.into(), role: role.into() };
    issuer(own_keys().0, |settings| {
        settings.issuer = Some("https://a.example".into());
        settings.audience = Some("wamp".into());
        settings.authid_claim = "user.name".into();
        settings.role_claim = Some("a.b.c".into());
        settings.roles = vec![rule("admin", "backend"), rule("member", "user")];
        settings.extra_claims = vec!["email".into(), "user.name".into()];
    })
});

const SECRET: &[u8] = b"correct horse battery staple, or 32 bytes of it";

/// The present, in seconds: that of the example in RFC 7519, 3.1, a little before its end.
const NOW: i64 = 1_300_819_000;
const LEEWAY_MS: u64 = 10_000;

/// The last moment that there is a timestamp for.
const LAST_MS: f64 = 253_402_300_799_999.0;

/// What a byte of a token may cost, as members and items of one byte do.
const JUDGED_BYTES: u64 = 256;
/// Apart from that: room for what each costs, and for the list of an issuer's verified tokens,
/// which moves when it grows: 1,024 digests of 32 bytes at the most.
const JUDGED_ROOM_BYTES: u64 = 4_096 + 1_024 * 32;

/// Object identifiers of Ed25519, of P-256, and of RSA.
const KEY_KINDS: [&[u8]; 3] = [
    &[0x2B, 0x65, 0x70],
    &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07],
    &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01],
];
