//! WAMP-cryptosign (AU-CSG): an Ed25519 signature of the router's challenge.

use std::fmt;

use data_encoding::HEXLOWER_PERMISSIVE;
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};

use super::secret::is_same;

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// `None` if the bytes are no point of the curve, or one of the few that verify anything.
    pub fn new(bytes: [u8; 32]) -> Option<Self> {
        let key = VerifyingKey::from_bytes(&bytes).ok()?;
        (!key.is_weak()).then_some(Self(bytes))
    }

    /// From the hexadecimal text of HELLO; whether it is a point shows when it is used.
    pub(super) fn announced(text: &str) -> Option<Self> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// Whether `signature` (hexadecimal: 64 bytes of signature, 32 of message) signs exactly this
    /// message (AU-CSG-03). The message counts: any other could be that of another login.
    pub(super) fn has_signed(&self, message: &[u8; 32], signature: &str) -> bool {
        let Ok(bytes) = HEXLOWER_PERMISSIVE.decode(signature.as_bytes()) else { return false };
        let Some((signature, signed)) = bytes.split_first_chunk::<64>() else { return false };
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else { return false };
        let signature = Signature::from_bytes(signature);
        is_same(signed, message) && key.verify_strict(message, &signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// The key pair of these random bytes: the private key is they themselves.
pub fn generate_key(seed: &[u8; 32]) -> PublicKey {
    PublicKey(SigningKey::from_bytes(seed).verifying_key().to_bytes())
}

/// What a client has to sign: the challenge, bound to the channel if there is a channel id.
pub(super) fn message(challenge: &[u8; 32], channel_id: Option<&[u8; 32]>) -> [u8; 32] {
    let mut message = *challenge;
    for (byte, other) in message.iter_mut().zip(channel_id.into_iter().flatten()) {
        *byte ^= other;
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> [u8; 32] {
        HEXLOWER_PERMISSIVE.decode(text.as_bytes()).expect("hexadecimal").try_into().expect("32")
    }

    /// AU-CSG-06: the vectors of the specification, chapter WAMP-Cryptosign.
    #[test]
    fn the_published_signatures_are_accepted() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("cryptosign_vectors.json")).expect("JSON");
        let vectors = vectors.as_array().expect("a list");
        assert_eq!(vectors.len(), 6);
        for vector in vectors {
            let text = |key: &str| vector[key].as_str();
            let key = generate_key(&bytes(text("private_key").expect("a key")));
            let challenge = bytes(text("challenge").expect("a challenge"));
            let channel_id = text("channel_id").map(bytes);
            let signature = text("signature").expect("a signature");
            let expected = message(&challenge, channel_id.as_ref());
            assert!(key.has_signed(&expected, signature));
            // Right for another challenge, or the other channel: a login that is played again.
            assert!(!key.has_signed(&bytes(&"ab".repeat(32)), signature));
            let other = generate_key(&[1; 32]);
            assert!(!other.has_signed(&expected, signature));
            assert!(!key.has_signed(&expected, &signature[..128]), "a signature alone");
        }
    }

    #[test]
    fn keys_that_verify_anything_are_none() {
        assert_eq!(PublicKey::new([0; 32]), None);
        assert_eq!(PublicKey::new(bytes(&format!("01{}", "00".repeat(31)))), None);
        assert!(PublicKey::new(generate_key(&[5; 32]).0).is_some());
        for signature in ["", "zz", "00"] {
            assert!(!generate_key(&[5; 32]).has_signed(&[0; 32], signature));
        }
    }
}
