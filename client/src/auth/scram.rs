//! WAMP-SCRAM (AU-SCR): RFC 5802 and RFC 7677 in the messages of WAMP, without channel binding.

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::BASE64;
use sha2::{Digest, Sha256};
use stentor_protocol::wamp::Dict;
use zeroize::Zeroizing;

use super::secret::Secret;
use super::wampcra::mac;
use super::{AuthError, MAX_ITERATIONS, cost, text};

pub(super) struct Proof {
    pub(super) signature: String,
    /// Both nonces.
    pub(super) nonce: String,
    /// What the router must say to prove that it knows the password, too.
    pub(super) verifier: String,
}

/// Answers a challenge to the `own` nonce of HELLO.
pub(super) fn prove(
    password: &Secret,
    authid: &str,
    own: &str,
    extra: &Dict,
) -> Result<Proof, AuthError> {
    let nonce = text(extra, "nonce").filter(|nonce| nonce.starts_with(own) && *nonce != own);
    let nonce = nonce.ok_or(AuthError::Challenge("nonce"))?;
    let salt = text(extra, "salt").ok_or(AuthError::Challenge("salt"))?;
    let salt_bytes = BASE64.decode(salt.as_bytes()).map_err(|_| AuthError::Challenge("salt"))?;
    let (salted, iterations) = derive(password, &salt_bytes, extra)?;
    let client_key = Zeroizing::new(mac(&salted[..], b"Client Key"));
    let stored_key = Sha256::digest(&client_key[..]);
    let name = authid.replace('=', "=3D").replace(',', "=2C");
    let message = format!("n={name},r={own},r={nonce},s={salt},i={iterations},c=biws,r={nonce}");
    let signature = mac(&stored_key, message.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, sign)| key ^ sign).collect();
    let server_key = Zeroizing::new(mac(&salted[..], b"Server Key"));
    Ok(Proof {
        signature: BASE64.encode(&proof),
        nonce: nonce.to_owned(),
        verifier: BASE64.encode(&mac(&server_key[..], message.as_bytes())),
    })
}

/// The salted password, and the iterations that it took.
fn derive(
    password: &Secret,
    salt: &[u8],
    extra: &Dict,
) -> Result<(Zeroizing<[u8; 32]>, u32), AuthError> {
    let mut key = Zeroizing::new([0; 32]);
    match text(extra, "kdf") {
        Some("pbkdf2") => {
            let iterations = cost(extra, "iterations", MAX_ITERATIONS)?;
            pbkdf2::pbkdf2_hmac::<Sha256>(password.bytes(), salt, iterations, &mut key[..]);
            Ok((key, iterations))
        }
        Some("argon2id13") => {
            let passes = cost(extra, "iterations", MAX_PASSES)?;
            let memory = cost(extra, "memory", MAX_MEMORY_KIB)?;
            let params = Params::new(memory, passes, 1, Some(32));
            let params = params.map_err(|_| AuthError::Challenge("memory"))?;
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(password.bytes(), salt, &mut key[..])
                .map_err(|_| AuthError::Challenge("salt"))?;
            Ok((key, passes))
        }
        _ => Err(AuthError::Challenge("kdf")),
    }
}

/// As the router itself allows in a users file.
const MAX_PASSES: u64 = 64;

/// 1 GiB, as the router itself allows in a users file.
const MAX_MEMORY_KIB: u64 = 1024 * 1024;
