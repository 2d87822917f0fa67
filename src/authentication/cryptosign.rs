//! WAMP-cryptosign (AU-CSG): an Ed25519 signature of the router's challenge, and one of the
//! client's, if it wants to know the router.

use std::fmt;
use std::sync::Arc;

use data_encoding::HEXLOWER_PERMISSIVE;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

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
        bytes_of(text).map(Self)
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

/// The private key by which a router proves that it is itself (AU-CSG-02). It signs whatever
/// strangers send, so it must be the key of nobody who logs in anywhere.
#[derive(Clone, PartialEq, Eq)]
pub struct RouterKey(SigningKey);

impl RouterKey {
    /// The key of these 64 hexadecimal digits, with space around them.
    pub fn parse(text: &str) -> Option<Self> {
        bytes_of(text.trim()).map(|seed| Self(SigningKey::from_bytes(&seed)))
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }
}

impl fmt::Debug for RouterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RouterKey({})", self.public())
    }
}

/// A challenge of a client's, which the router is to sign.
#[derive(Clone, Debug)]
pub(super) struct RouterProof {
    pub(super) key: Arc<RouterKey>,
    pub(super) challenge: [u8; 32],
}

impl RouterProof {
    /// `CHALLENGE.Extra.signature`: 64 bytes of signature and the 32 that it signs, hexadecimal;
    /// those are the challenge, bound to the channel if there is a channel id.
    pub(super) fn signature(&self, channel_id: Option<&[u8; 32]>) -> String {
        let signed = message(&self.challenge, channel_id);
        let signature = self.key.0.sign(&signed).to_bytes();
        data_encoding::HEXLOWER.encode(&[&signature[..], &signed[..]].concat())
    }
}

/// 32 bytes in hexadecimal digits.
pub(super) fn bytes_of(text: &str) -> Option<[u8; 32]> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok()
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

    /// AU-CSG-02: what the router has signed in the chapter's first two example exchanges, without
    /// and with a channel id, whose XOR with the challenge is in the second half.
    #[test]
    fn the_published_signatures_of_a_router_are_of_the_form_that_ours_have() {
        let router = PublicKey::announced(PUBLISHED_ROUTER).expect("a key");
        for (challenge, signature) in PUBLISHED_ANSWERS {
            let signed = bytes(&signature[128..]);
            let channel_id = message(&signed, Some(&bytes(challenge)));
            let expected = message(&bytes(challenge), Some(&channel_id));
            assert!(router.has_signed(&expected, signature));
            let own = RouterKey::parse(&"07".repeat(32)).expect("a key");
            let proof = RouterProof { key: Arc::new(own.clone()), challenge: bytes(challenge) };
            let answer = proof.signature(Some(&channel_id));
            assert!(own.public().has_signed(&expected, &answer));
            assert_eq!((answer.len(), &answer[128..]), (signature.len(), &signature[128..]));
        }
        assert_eq!(&PUBLISHED_ANSWERS[0].1[128..], PUBLISHED_ANSWERS[0].0, "no channel id");
    }

    #[test]
    fn a_router_key_is_64_digits() {
        let digits = "0a".repeat(32);
        let key = RouterKey::parse(&format!(" {digits}\n")).expect("a key");
        assert_eq!(key.public(), generate_key(&[10; 32]));
        assert!(!format!("{key:?}").contains(&digits));
        for wrong in ["", &digits[1..], &digits.replace('a', "g"), &format!("{digits}0a")] {
            assert_eq!(RouterKey::parse(wrong), None, "{wrong}");
        }
    }

    const PUBLISHED_ROUTER: &str =
        "4a3838f6fe75251e613329d53fc69b262d5eac97fb1d73bebbaed4015b53c862";

    /// Challenges of clients and what the router answers.
    const PUBLISHED_ANSWERS: [(&str, &str); 2] = [
        (
            "bbae60ea44cdd7b20dc7010a618b0f0803fab25a817520b4b7f057299b524deb",
            "fd5128d2d207ba58a9d1d6f41b72c747964ad9d1294077b3b1eee6130b05843a\
             b12c53c7f2519f73d4feb82db19d8ca0fc26b62bde6518e79a882f5795bc9f00\
             bbae60ea44cdd7b20dc7010a618b0f0803fab25a817520b4b7f057299b524deb",
        ),
        (
            "4f861f12796c2972b7b0026522a687aa851d90355122a61d4f1fdce4d06b564f",
            "aa05f4cd7747d36b79443f1d4703a681e107edc085d876b508714e2a3a8135ba\
             caae1c018452c4acb3ad2818aa97a6d23e5ac7e3734c7b1f40e6232a70938205\
             a6f5a1f034a28090b195fb2ce2454a82532f5c8baf6ba1dfb5ddae63c09ce72f",
        ),
    ];

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
