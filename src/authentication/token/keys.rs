//! The keys of an issuer: JSON Web Keys (RFC 7517), public keys in DER, and shared secrets.
//!
//! Each key has one algorithm, whatever a token says. Keys of other kinds are left out, as the RFC
//! wants it; a set without any that can be used is an error.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use hmac::Mac;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};
use rustls::pki_types::alg_id;
use serde_json::Value as Json;

use super::super::secret::Secret;
use super::super::wampcra::mac;

/// How tokens are signed (RFC 7518, 3.1; RFC 8037, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    EdDsa,
    Es256,
    Hs256,
    Rs256,
}

impl Algorithm {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
        }
    }
}

/// The keys of one issuer, 64 at most.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

/// A key, with the id that tokens name it by.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    id: Option<Box<str>>,
    material: Material,
}

#[derive(Clone, PartialEq, Eq)]
enum Material {
    /// The 32 bytes of the point (RFC 8032, 5.1.5).
    EdDsa(Box<[u8]>),
    /// The uncompressed point (SEC 1, 2.3.3).
    Es256(Box<[u8]>),
    Hs256(Secret),
    /// Modulus and exponent, big-endian.
    Rs256 {
        modulus: Box<[u8]>,
        exponent: Box<[u8]>,
    },
    /// `RSAPublicKey` (RFC 8017, A.1.1).
    Rs256Der(Box<[u8]>),
}

/// Why a text or some bytes are no keys. Quotes nothing of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    #[error("is no JSON Web Key Set: a JSON object with a list `keys` (RFC 7517)")]
    Form,
    #[error(
        "holds no key that can be used: RSA of 2048 to 8192 bits (RS256), EC on P-256 (ES256), \
         Ed25519 (EdDSA), or a secret of 32 bytes or more (HS256)"
    )]
    NoKey,
    #[error("holds more than {MAX_KEYS} keys")]
    TooMany,
    #[error("holds a secret of fewer than {SECRET_BYTES} bytes, which could be guessed (RFC 7518)")]
    ShortSecret,
}

impl KeySet {
    /// From the text of a JSON Web Key Set. A shared secret counts only if `may_hold_secrets`: what
    /// is fetched from a public address holds none.
    ///
    /// # Errors
    /// [`BadKeys`] if it is none, or no key of it can be used.
    pub fn from_jwks(text: &[u8], may_hold_secrets: bool) -> Result<Self, BadKeys> {
        let set: Json = serde_json::from_slice(text).map_err(|_| BadKeys::Form)?;
        let keys = set.get("keys").and_then(Json::as_array).ok_or(BadKeys::Form)?;
        if keys.len() > MAX_KEYS {
            return Err(BadKeys::TooMany);
        }
        let is_welcome = |key: &Key| may_hold_secrets || !key.is_secret();
        let keys: Vec<_> = keys.iter().filter_map(Key::from_jwk).filter(is_welcome).collect();
        if keys.is_empty() { Err(BadKeys::NoKey) } else { Ok(Self(keys)) }
    }

    /// One public key, as `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7).
    ///
    /// # Errors
    /// [`BadKeys::NoKey`] if it is none, or of a kind that is not used here.
    pub fn from_public_key(der: &[u8]) -> Result<Self, BadKeys> {
        let material = from_spki(der).ok_or(BadKeys::NoKey)?;
        Ok(Self(vec![Key { id: None, material }]))
    }

    /// One shared secret.
    ///
    /// # Errors
    /// [`BadKeys::ShortSecret`] if it has fewer than [`SECRET_BYTES`].
    pub fn from_secret(secret: Secret) -> Result<Self, BadKeys> {
        if secret.bytes().len() < SECRET_BYTES {
            return Err(BadKeys::ShortSecret);
        }
        Ok(Self(vec![Key { id: None, material: Material::Hs256(secret) }]))
    }

    /// How many keys it has.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn holds_secrets(&self) -> bool {
        self.0.iter().any(Key::is_secret)
    }

    /// The keys that a token may be signed with: those with its id, or, where either says none,
    /// all.
    pub(super) fn named<'a>(&'a self, id: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(move |key| match (id, &key.id) {
            (Some(id), Some(own)) => id == &**own,
            _ => true,
        })
    }
}

/// Not the keys: there may be secrets among them.
impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet of {}", self.0.len())
    }
}

impl Key {
    pub(super) const fn algorithm(&self) -> Algorithm {
        match &self.material {
            Material::EdDsa(_) => Algorithm::EdDsa,
            Material::Es256(_) => Algorithm::Es256,
            Material::Hs256(_) => Algorithm::Hs256,
            Material::Rs256 { .. } | Material::Rs256Der(_) => Algorithm::Rs256,
        }
    }

    const fn is_secret(&self) -> bool {
        matches!(self.material, Material::Hs256(_))
    }

    /// Whether `signature` is that of `message` under this key.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let by = |algorithm: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
        };
        match &self.material {
            Material::EdDsa(key) => by(&ED25519, key),
            Material::Es256(key) => by(&ECDSA_P256_SHA256_FIXED, key),
            Material::Rs256Der(key) => by(&RSA_PKCS1_2048_8192_SHA256, key),
            Material::Rs256 { modulus: n, exponent: e } => {
                let key = signature::RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            Material::Hs256(secret) => {
                let mut mac = mac(secret.bytes());
                mac.update(message);
                mac.verify_slice(signature).is_ok()
            }
        }
    }

    /// `None` for keys that are not for signatures, or of other kinds.
    fn from_jwk(jwk: &Json) -> Option<Self> {
        let text = |name: &str| jwk.get(name).map(Json::as_str);
        let bytes = |name: &str| BASE64URL_NOPAD.decode(text(name)??.as_bytes()).ok();
        // What is said with another type than the RFC has is a key that nobody understands.
        let said = |name: &str| match text(name) {
            None => Some(None),
            Some(said) => said.map(Some),
        };
        let is_for_signatures = said("use")?.is_none_or(|purpose| purpose == "sig");
        let may_verify = jwk.get("key_ops").is_none_or(|operations| {
            let operations = operations.as_array();
            operations.is_some_and(|list| list.iter().any(|one| one.as_str() == Some("verify")))
        });
        let material = match (text("kty")??, said("crv")?) {
            ("OKP", Some("Ed25519")) => {
                Material::EdDsa(bytes("x").filter(|point| point.len() == 32)?.into())
            }
            ("EC", Some("P-256")) => {
                let half = |name| bytes(name).filter(|half: &Vec<u8>| half.len() == 32);
                Material::Es256([&[UNCOMPRESSED], &*half("x")?, &*half("y")?].concat().into())
            }
            ("RSA", None) => {
                let (modulus, exponent) = (unsigned(&bytes("n")?), unsigned(&bytes("e")?));
                let is_usual = RSA_BYTES.contains(&modulus.len()) && !exponent.is_empty();
                is_usual.then_some(Material::Rs256 { modulus, exponent })?
            }
            ("oct", None) => {
                let secret = bytes("k").filter(|secret| secret.len() >= SECRET_BYTES)?;
                Material::Hs256(Secret::new(secret))
            }
            _ => return None,
        };
        let key = Self { id: said("kid")?.map(Into::into), material };
        let is_its_algorithm = said("alg")?.is_none_or(|name| name == key.algorithm().as_str());
        (is_for_signatures && may_verify && is_its_algorithm).then_some(key)
    }
}

/// A number without leading zeros, which some issuers write.
fn unsigned(number: &[u8]) -> Box<[u8]> {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    number[start..].into()
}

/// The key in a `SubjectPublicKeyInfo`: SEQUENCE of algorithm and BIT STRING.
fn from_spki(der: &[u8]) -> Option<Material> {
    let (info, rest) = element(der, SEQUENCE)?;
    let (algorithm, key) = element(info, SEQUENCE)?;
    let (bits, end) = element(key, BIT_STRING)?;
    let key = bits.strip_prefix(&[0])?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    if algorithm == &*alg_id::ED25519 {
        (key.len() == 32).then(|| Material::EdDsa(key.into()))
    } else if algorithm == &*alg_id::ECDSA_P256 {
        (key.len() == 65 && key[0] == UNCOMPRESSED).then(|| Material::Es256(key.into()))
    } else if algorithm == &*alg_id::RSA_ENCRYPTION {
        let (numbers, rest) = element(key, SEQUENCE)?;
        let (modulus, _) = element(numbers, INTEGER)?;
        let is_usual = rest.is_empty() && RSA_BYTES.contains(&unsigned(modulus).len());
        is_usual.then(|| Material::Rs256Der(key.into()))
    } else {
        None
    }
}

/// The content of the first element, which has this tag, and what follows it (X.690, 8.1).
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        0..=0x7F => (usize::from(length), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(length))?
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// Of a point whose both coordinates follow.
const UNCOMPRESSED: u8 = 4;

/// Bytes of an RSA modulus.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Keys of one set: issuers have two to five.
const MAX_KEYS: usize = 64;

/// Bytes of a shared secret, at least (RFC 7518, 3.2).
pub const SECRET_BYTES: usize = 32;
