//! What clients answer to a CHALLENGE, by code of their own where there is a choice.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The nonce that clients send for `wamp-scram`.
pub(crate) const CLIENT_NONCE: &str = "egVDf3DMJh0=";

/// The private key that goes with a name.
fn key_of(name: &str) -> SigningKey {
    SigningKey::from_bytes(&Sha256::digest(name).into())
}

pub(crate) fn public_key_of(name: &str) -> String {
    HEXLOWER.encode(key_of(name).verifying_key().as_bytes())
}

/// The `Signature` of AUTHENTICATE.
pub(crate) fn prove(method: &str, authid: &str, secret: &str, extra: &Value) -> String {
    match method {
        "ticket" => secret.to_owned(),
        "wampcra" => wampcra(secret, extra),
        "cryptosign" => cryptosign(secret, extra),
        "wamp-scram" => scram(authid, secret, extra),
        other => panic!("no method: {other}"),
    }
}

/// AU-CRA-02, AU-CRA-03.
fn wampcra(secret: &str, extra: &Value) -> String {
    let mut key = secret.as_bytes().to_vec();
    if let Some(salt) = extra["salt"].as_str() {
        let length = extra["keylen"].as_u64().expect("a number") as usize;
        key = STANDARD.encode(pbkdf2(secret, salt.as_bytes(), extra, length)).into_bytes();
    }
    let challenge = extra["challenge"].as_str().expect("a text");
    STANDARD.encode(hmac(&key, challenge.as_bytes()))
}

/// AU-CSG-03.
fn cryptosign(secret: &str, extra: &Value) -> String {
    let challenge = extra["challenge"].as_str().expect("a text");
    let challenge = HEXLOWER.decode(challenge.as_bytes()).expect("hexadecimal");
    let signature = key_of(secret).sign(&challenge).to_bytes();
    HEXLOWER.encode(&signature) + &HEXLOWER.encode(&challenge)
}

/// AU-SCR-07.
fn scram(authid: &str, secret: &str, extra: &Value) -> String {
    let text = |key: &str| extra[key].as_str().expect("a text");
    let salt = STANDARD.decode(text("salt")).expect("Base64");
    let salted = match text("kdf") {
        "pbkdf2" => pbkdf2(secret, &salt, extra, 32),
        "argon2id13" => argon2id(secret, &salt, extra),
        other => panic!("no key derivation: {other}"),
    };
    let client_key = hmac(&salted, b"Client Key");
    let (nonce, iterations) = (text("nonce"), &extra["iterations"]);
    let message = format!(
        "n={authid},r={CLIENT_NONCE},r={nonce},s={},i={iterations},c=biws,r={nonce}",
        text("salt")
    );
    let signature = hmac(&Sha256::digest(&client_key), message.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    STANDARD.encode(proof)
}

fn argon2id(secret: &str, salt: &[u8], extra: &Value) -> Vec<u8> {
    let number = |key: &str| u32::try_from(extra[key].as_u64().expect("a number")).expect("small");
    let params = argon2::Params::new(number("memory"), number("iterations"), 1, Some(32));
    let (algorithm, version) = (argon2::Algorithm::Argon2id, argon2::Version::V0x13);
    let argon2 = argon2::Argon2::new(algorithm, version, params.expect("in range"));
    let mut key = vec![0; 32];
    argon2.hash_password_into(secret.as_bytes(), salt, &mut key).expect("in range");
    key
}

/// RFC 8018, 5.2, written out for keys of one block or less.
fn pbkdf2(secret: &str, salt: &[u8], extra: &Value, length: usize) -> Vec<u8> {
    assert!(length <= 32, "one block");
    let mut block = hmac(secret.as_bytes(), &[salt, &[0, 0, 0, 1]].concat());
    let mut key = block.clone();
    for _ in 1..extra["iterations"].as_u64().expect("a number") {
        block = hmac(secret.as_bytes(), &block);
        key.iter_mut().zip(&block).for_each(|(sum, more)| *sum ^= more);
    }
    key.truncate(length);
    key
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}
