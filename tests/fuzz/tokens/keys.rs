//! Key sets by the letter of RFC 7517, 7518 and 8037, and what their keys have signed.

use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value as Json;
use sha2::Sha256;
use stentor::authentication::BadKeys;

/// A key that can be used.
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithm: &'static str,
    pub(super) material: Material,
}

pub(super) enum Material {
    Secret(Vec<u8>),
    Ed25519([u8; 32]),
    /// Nobody signs with its private half here.
    Other,
}

impl Key {
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Secret(secret) => hmac(secret, message) == signature,
            Material::Ed25519(point) => {
                let key = VerifyingKey::from_bytes(point);
                let signature = Signature::from_slice(signature);
                key.is_ok_and(|key| signature.is_ok_and(|it| key.verify(message, &it).is_ok()))
            }
            Material::Other => false,
        }
    }
}

pub(super) fn hmac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length will do");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

pub(super) fn read(text: &[u8], may_hold_secrets: bool) -> Result<Vec<Key>, BadKeys> {
    let set: Json = serde_json::from_slice(text).map_err(|_| BadKeys::Form)?;
    let Some(Json::Array(all)) = set.get("keys") else { return Err(BadKeys::Form) };
    if all.len() > 64 {
        return Err(BadKeys::TooMany);
    }
    let mut keys: Vec<Key> = all.iter().filter_map(key).collect();
    keys.retain(|key| may_hold_secrets || !matches!(key.material, Material::Secret(_)));
    if keys.is_empty() { Err(BadKeys::NoKey) } else { Ok(keys) }
}

fn key(jwk: &Json) -> Option<Key> {
    let says = |name: &str, text: &str| jwk.get(name) == Some(&Json::from(text));
    let is_absent = |name: &str| jwk.get(name).is_none();
    let bytes = |name: &str| base64(jwk.get(name)?.as_str()?);
    let is_for_signatures = is_absent("use") || says("use", "sig");
    let may_verify = match jwk.get("key_ops") {
        None => true,
        Some(operations) => {
            operations.as_array().is_some_and(|all| all.contains(&Json::from("verify")))
        }
    };
    let (algorithm, material) = if says("kty", "OKP") && says("crv", "Ed25519") {
        ("EdDSA", Material::Ed25519(bytes("x")?.try_into().ok()?))
    } else if says("kty", "EC") && says("crv", "P-256") {
        let is_point = bytes("x")?.len() == 32 && bytes("y")?.len() == 32;
        ("ES256", is_point.then_some(Material::Other)?)
    } else if says("kty", "RSA") && is_absent("crv") {
        let length = |number: Vec<u8>| number.into_iter().skip_while(|byte| *byte == 0).count();
        let (modulus, exponent) = (length(bytes("n")?), length(bytes("e")?));
        let is_usual = (256..=1024).contains(&modulus) && exponent > 0;
        ("RS256", is_usual.then_some(Material::Other)?)
    } else if says("kty", "oct") && is_absent("crv") {
        ("HS256", Material::Secret(bytes("k").filter(|secret| secret.len() >= 32)?))
    } else {
        return None;
    };
    let id = match jwk.get("kid") {
        None => None,
        Some(id) => Some(id.as_str()?.to_owned()),
    };
    let is_its_own = is_absent("alg") || says("alg", algorithm);
    let is_good = is_for_signatures && may_verify && is_its_own;
    is_good.then_some(Key { id, algorithm, material })
}

/// RFC 4648, 5, without padding, in the one form that some bytes have: what is left over is zero.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = text.chars().map(|letter| {
        let value = LETTERS.find(letter)?;
        Some((0..6).rev().map(move |bit| value >> bit & 1 == 1))
    });
    let bits: Option<Vec<_>> = bits.collect();
    let bits: Vec<bool> = bits?.into_iter().flatten().collect();
    let whole = bits.len() / 8 * 8;
    let is_good = bits.len() - whole < 6 && bits[whole..].iter().all(|bit| !bit);
    let byte = |bits: &[bool]| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    is_good.then(|| bits[..whole].chunks(8).map(byte).collect())
}
