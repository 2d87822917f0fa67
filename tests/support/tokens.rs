//! Tokens as an issuer makes them, by code of their own.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use stentor::authentication::{AuthenticatorSettings, KeySet, Secret, TokenSettings};

const ISSUER_SECRET: &[u8] = b"what the issuer and the router know";

/// A way in for those with a token of the issuer of these tests. Clocks are alike.
pub(crate) fn by_token() -> AuthenticatorSettings {
    let keys = KeySet::from_secret(Secret::new(ISSUER_SECRET)).expect("it is long enough");
    let loaded = Some(Arc::new(keys));
    let extra_claims = vec!["email".into()];
    let settings = TokenSettings { loaded, leeway_ms: 0, extra_claims, ..TokenSettings::default() };
    AuthenticatorSettings::of_tokens(settings, Some("user"))
}

/// RFC 7515, 7.1, with HS256.
pub(crate) fn token(claims: &Value) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(&json!({"alg": "HS256"})), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(ISSUER_SECRET).expect("any key");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&mac.finalize().into_bytes()))
}
