//! WAMP-CRA (AU-CRA): HMAC-SHA256 of the router's challenge.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use stentor_protocol::wamp::Dict;
use zeroize::Zeroizing;

use super::secret::Secret;
use super::{AuthError, MAX_ITERATIONS, cost, find, text};

/// The signature of the challenge under the secret, or under the Base64 text of the key that is
/// derived from it, if the challenge has a salt.
pub(super) fn sign(secret: &Secret, extra: &Dict) -> Result<String, AuthError> {
    let challenge = text(extra, "challenge").ok_or(AuthError::Challenge("challenge"))?;
    if find(extra, "salt").is_none() {
        return Ok(BASE64.encode(&mac(secret.bytes(), challenge.as_bytes())));
    }
    let salt = text(extra, "salt").ok_or(AuthError::Challenge("salt"))?;
    let iterations = cost(extra, "iterations", MAX_ITERATIONS)?;
    let length = cost(extra, "keylen", MAX_KEY_BYTES)? as usize;
    let mut key = Zeroizing::new(vec![0; length]);
    pbkdf2::pbkdf2_hmac::<Sha256>(secret.bytes(), salt.as_bytes(), iterations, &mut key);
    let key = Zeroizing::new(BASE64.encode(&key));
    Ok(BASE64.encode(&mac(key.as_bytes(), challenge.as_bytes())))
}

pub(super) fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// The digests of SHA-512 are as long.
const MAX_KEY_BYTES: u64 = 64;
