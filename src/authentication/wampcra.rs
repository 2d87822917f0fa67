//! WAMP-CRA (AU-CRA): a challenge, and its HMAC-SHA256 under a secret that both sides know.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use super::phc::{Parts, blob};
use super::secret::Secret;
use crate::wamp::{Dict, SessionId, Timestamp};

/// What is kept of a secret: itself, or a key derived from it (AU-CRA-03).
#[derive(Clone, PartialEq, Eq)]
pub struct CraKey {
    /// The key of the HMAC as it is used: of a derived key, its Base64 text.
    key: Secret,
    salting: Option<Salting>,
}

/// How the client derives the key from its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Salting {
    salt: Box<str>,
    iterations: u32,
    key_bytes: u32,
}

/// What the text of a challenge says, besides what is the same in all.
pub(super) struct Subject<'a> {
    pub(super) authid: &'a str,
    pub(super) role: &'a str,
    pub(super) provider: &'a str,
    pub(super) session: SessionId,
    pub(super) now: Timestamp,
    pub(super) nonce: &'a [u8],
}

impl CraKey {
    /// The secret itself.
    pub const fn plain(secret: Secret) -> Self {
        Self { key: secret, salting: None }
    }

    /// A key that was derived elsewhere, as the text in which it is used.
    pub(super) fn salted(key: Secret, salt: &str, iterations: u32, key_bytes: u32) -> Self {
        Self { key, salting: Some(Salting { salt: salt.into(), iterations, key_bytes }) }
    }

    /// A derived key of 32 bytes. Takes long; `salt` is random.
    pub fn derived(secret: &[u8], salt: [u8; 16], iterations: u32) -> Self {
        Self::derive(secret, &STANDARD.encode(salt), iterations, 32)
    }

    /// As configurations of crossbar have it: the secret that is to be derived from, or the Base64
    /// text of what was derived already. `key_bytes` are 16 to 64. Takes long.
    pub fn of_crossbar(secret: &str, salt: &str, iterations: u32, key_bytes: u32) -> Self {
        let bytes = STANDARD.decode(secret);
        if bytes.is_ok_and(|bytes| bytes.len() == key_bytes as usize) {
            return Self::salted(Secret::new(secret), salt, iterations, key_bytes);
        }
        Self::derive(secret.as_bytes(), salt, iterations, key_bytes)
    }

    fn derive(secret: &[u8], salt: &str, iterations: u32, key_bytes: u32) -> Self {
        let mut key = vec![0; key_bytes as usize];
        pbkdf2::pbkdf2_hmac::<Sha256>(secret, salt.as_bytes(), iterations, &mut key);
        let salting = Some(Salting { salt: salt.into(), iterations, key_bytes });
        Self { key: Secret::new(STANDARD.encode(&key)), salting }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = Parts::of(text)?;
        let iterations = parts.number("i", 1..=10_000_000)?;
        let [salt, key] = parts.take_blobs()?;
        let key_bytes = parts.number("l", 16..=64)?;
        let is_whole = parts.id == "pbkdf2-sha256" && key.len() == key_bytes as usize;
        let salt = String::from_utf8(salt).ok().filter(|salt| (1..=128).contains(&salt.len()))?;
        let salting = Some(Salting { salt: salt.into(), iterations, key_bytes });
        is_whole.then(|| Self { key: Secret::new(STANDARD.encode(&key)), salting })
    }

    /// The text form, for a users file; `None` for a plain secret, which has none.
    pub fn to_text(&self) -> Option<String> {
        let Salting { salt, iterations, key_bytes } = self.salting.as_ref()?;
        // Only what an authenticator has brought may be something else, and is never written.
        let key = STANDARD.decode(self.key.bytes()).ok()?;
        let (salt, key) = (blob(salt.as_bytes()), blob(&key));
        Some(format!("$pbkdf2-sha256$i={iterations},l={key_bytes}${salt}${key}"))
    }

    pub(super) fn key(&self) -> &[u8] {
        self.key.bytes()
    }

    /// `CHALLENGE.Extra` for this text. `other_salt` takes the place of the salt for an authid that
    /// nobody has.
    pub(super) fn extra(&self, challenge: &str, other_salt: Option<&[u8]>) -> Dict {
        let mut extra = vec![("challenge".into(), challenge.into())];
        if let Some(Salting { salt, iterations, key_bytes }) = &self.salting {
            let other = other_salt.map(|bytes| alike(salt, bytes));
            extra.push(("salt".into(), other.as_deref().unwrap_or(salt).into()));
            extra.push(("keylen".into(), u64::from(*key_bytes).into()));
            extra.push(("iterations".into(), u64::from(*iterations).into()));
        }
        extra
    }

    /// Whether `signature` is that of exactly this challenge under this key (AU-CRA-02).
    pub(super) fn has_signed(&self, challenge: &str, signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        let mut mac = mac(self.key.bytes());
        mac.update(challenge.as_bytes());
        mac.verify_slice(&signature).is_ok()
    }
}

/// The text that the client signs (AU-CRA-01).
pub(super) fn challenge(subject: &Subject<'_>) -> String {
    json!({
        "authid": subject.authid,
        "authrole": subject.role,
        "authmethod": "wampcra",
        "authprovider": subject.provider,
        "nonce": STANDARD.encode(subject.nonce),
        "timestamp": subject.now.to_string(),
        "session": subject.session.get(),
    })
    .to_string()
}

pub(super) fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key of any length will do (RFC 2104)")
}

/// A salt of the same form with other content: Base64 where it was, of the same length.
fn alike(salt: &str, bytes: &[u8]) -> String {
    let text: String = STANDARD.encode(bytes).chars().filter(|c| *c != '=').collect();
    let padding = salt.chars().rev().take_while(|c| *c == '=').count();
    let length = salt.chars().count() - padding;
    let mut other: String = text.chars().cycle().take(length).collect();
    other.extend(std::iter::repeat_n('=', padding));
    other
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2, as a signature.
    #[test]
    fn the_signature_is_an_hmac() {
        let key = CraKey::plain(Secret::new(*b"Jefe"));
        let text = "what do ya want for nothing?";
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let mac = data_encoding::HEXLOWER.decode(expected.as_bytes()).expect("hexadecimal");
        assert!(key.has_signed(text, &STANDARD.encode(&mac)));
        assert!(!key.has_signed("what do ya want for nothing", &STANDARD.encode(&mac)));
        for wrong in ["", "AAAA", "not Base64!", &STANDARD.encode(&mac[..31])] {
            assert!(!key.has_signed(text, wrong), "{wrong}");
        }
    }

    /// RFC 7914, section 11 (PBKDF2-HMAC-SHA256), here with its first 32 bytes as a key.
    #[test]
    fn a_derived_key_is_used_as_its_base64_text() {
        let key = CraKey::derive(b"passwd", "salt", 1, 32);
        let bytes = "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc";
        let bytes = data_encoding::HEXLOWER.decode(bytes.as_bytes()).expect("hexadecimal");
        assert_eq!(key.key(), STANDARD.encode(bytes).as_bytes());
        let text = key.to_text().expect("it is derived");
        assert!(text.starts_with("$pbkdf2-sha256$i=1,l=32$c2FsdA$"), "{text}");
        assert!(CraKey::parse(&text) == Some(key));
        assert!(CraKey::parse("$pbkdf2-sha256$i=0,l=32$c2FsdA$AAAA").is_none());
    }

    #[test]
    fn a_made_up_salt_looks_like_a_true_one() {
        let salt = STANDARD.encode([1; 16]);
        let other = alike(&salt, &[9; 32]);
        assert_eq!(STANDARD.decode(&other).map(|bytes| bytes.len()), Ok(16));
        assert_eq!(alike("salt123", &[9; 32]).len(), 7);
    }
}
