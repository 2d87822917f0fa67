//! How the clients of a run prove who they are, if they have to: all of them as one user. Keys are
//! derived once, so that the generator's share of a login is small.

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::wire::Serializer;
use crate::wire::decode::decode;
use crate::wire::message::{Answer, Opening};

/// The authentication methods of WAMP that a client can prove itself by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Ticket,
    Wampcra,
    Cryptosign,
    Scram,
}

impl Method {
    const ALL: [Self; 4] = [Self::Ticket, Self::Wampcra, Self::Cryptosign, Self::Scram];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Wampcra => "wampcra",
            Self::Cryptosign => "cryptosign",
            Self::Scram => "wamp-scram",
        }
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|method| method.name() == text);
        found.ok_or_else(|| "expected ticket, wampcra, cryptosign or wamp-scram".to_owned())
    }
}

/// A text that nobody should see: a ticket, a password, or the hex of a private key.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The first line of a file.
    ///
    /// # Errors
    /// A text that says what is wrong with the file.
    pub fn of_file(path: &str) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("cannot read it: {error}"))?;
        match text.lines().next() {
            Some(line) if is_plain(line) => Ok(Self(line.to_owned())),
            Some(_) => Err("the first line must be ASCII without spaces, quotes and \\".to_owned()),
            None => Err("it is empty".to_owned()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// An authid that can be written without escapes.
///
/// # Errors
/// A text that says what is wrong.
pub fn authid(text: &str) -> Result<String, String> {
    if is_plain(text) {
        Ok(text.to_owned())
    } else {
        Err("expected ASCII without quotes".to_owned())
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
}

/// One user, as whom all clients join.
pub struct Login {
    method: Method,
    authid: String,
    secret: Secret,
    /// Of cryptosign.
    key: Option<SigningKey>,
    /// What the last challenge's salt and costs made of the password.
    derived: RefCell<Option<(Derivation, Vec<u8>)>>,
}

/// Neither the secret nor what was derived from it.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Login");
        shown.field("method", &self.method).field("authid", &self.authid).finish_non_exhaustive()
    }
}

/// What a challenge says of how a key is derived.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Derivation {
    kdf: String,
    salt: Vec<u8>,
    iterations: u32,
    memory_kib: u32,
    key_bytes: usize,
}

impl Login {
    /// # Errors
    /// A text that says what is wrong with the secret.
    pub fn new(method: Method, authid: String, secret: Secret) -> Result<Self, String> {
        let key = (method == Method::Cryptosign).then(|| signing_key(&secret.0)).transpose()?;
        Ok(Self { method, authid, secret, key, derived: RefCell::new(None) })
    }

    /// What HELLO says. `nonce` is random text.
    pub fn opening<'a>(&'a self, nonce: &'a str) -> Opening<'a> {
        let pubkey = self.key.as_ref().map(|key| hex(key.verifying_key().as_bytes()));
        let authextra = match self.method {
            Method::Ticket | Method::Wampcra => None,
            Method::Cryptosign => pubkey.map(|pubkey| ("pubkey", pubkey)),
            Method::Scram => Some(("nonce", nonce.to_owned())),
        };
        Opening { authmethod: self.method.name(), authid: Some(&self.authid), authextra }
    }

    /// The answer to the message CHALLENGE; `nonce` is what HELLO said.
    ///
    /// # Errors
    /// A text that says why there is none.
    pub fn answer(
        &self,
        serializer: Serializer,
        challenge: &[u8],
        nonce: &str,
    ) -> Result<Answer, String> {
        let message = decode(serializer, challenge)?;
        if message[1] != self.method.name() {
            return Err(format!(
                "the router asks for {}, not for {}",
                message[1],
                self.method.name()
            ));
        }
        let extra = &message[2];
        let plain = |signature| Answer { signature, nonce: None };
        match self.method {
            Method::Ticket => Ok(plain(self.secret.0.clone())),
            Method::Wampcra => self.sign_challenge(extra).map(plain),
            Method::Cryptosign => self.sign_bytes(extra).map(plain),
            Method::Scram => self.prove(extra, nonce),
        }
    }

    /// WAMP-CRA: HMAC-SHA256 of the challenge under the secret, or under the Base64 text of the key
    /// derived from it.
    fn sign_challenge(&self, extra: &Value) -> Result<String, String> {
        let challenge = text(extra, "challenge")?;
        let key = if extra.get("salt").is_some() {
            let derivation = Derivation {
                kdf: "pbkdf2".to_owned(),
                salt: text(extra, "salt")?.as_bytes().to_vec(),
                iterations: number(extra, "iterations")?,
                memory_kib: 0,
                key_bytes: number(extra, "keylen")? as usize,
            };
            STANDARD.encode(self.derive(derivation)?)
        } else {
            self.secret.0.clone()
        };
        Ok(STANDARD.encode(mac(key.as_bytes(), challenge.as_bytes())))
    }

    /// WAMP-Cryptosign without channel binding: the signature and the challenge that it is of.
    fn sign_bytes(&self, extra: &Value) -> Result<String, String> {
        let challenge = unhex(text(extra, "challenge")?).ok_or("the challenge is not hex")?;
        let key = self.key.as_ref().ok_or("there is no key")?;
        Ok(hex(&key.sign(&challenge).to_bytes()) + &hex(&challenge))
    }

    /// WAMP-SCRAM without channel binding: the proof of RFC 5802.
    fn prove(&self, extra: &Value, client_nonce: &str) -> Result<Answer, String> {
        let (nonce, salt) = (text(extra, "nonce")?, text(extra, "salt")?);
        let iterations = number(extra, "iterations")?;
        let derivation = Derivation {
            kdf: text(extra, "kdf")?.to_owned(),
            salt: STANDARD.decode(salt).map_err(|error| error.to_string())?,
            iterations,
            memory_kib: extra["memory"].as_u64().unwrap_or(0) as u32,
            key_bytes: 32,
        };
        let salted = self.derive(derivation)?;
        let client_key = mac(&salted, b"Client Key");
        let stored_key = Sha256::digest(client_key);
        let auth_message = format!(
            "n={},r={client_nonce},r={nonce},s={salt},i={iterations},c=biws,r={nonce}",
            self.authid
        );
        let signature = mac(&stored_key, auth_message.as_bytes());
        let proof: Vec<u8> =
            client_key.iter().zip(signature).map(|(key, sign)| key ^ sign).collect();
        Ok(Answer { signature: STANDARD.encode(proof), nonce: Some(nonce.to_owned()) })
    }

    /// The key that the password becomes. The last one is kept: one user has one salt.
    fn derive(&self, derivation: Derivation) -> Result<Vec<u8>, String> {
        if let Some((of, key)) = &*self.derived.borrow()
            && *of == derivation
        {
            return Ok(key.clone());
        }
        let mut key = vec![0; derivation.key_bytes];
        let (password, salt) = (self.secret.0.as_bytes(), &derivation.salt);
        match derivation.kdf.as_str() {
            "pbkdf2" => {
                pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, derivation.iterations, &mut key);
            }
            "argon2id13" => {
                let (passes, memory) = (derivation.iterations, derivation.memory_kib);
                let params = Params::new(memory, passes, 1, Some(key.len()));
                let params = params.map_err(|error| error.to_string())?;
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                    .hash_password_into(password, salt, &mut key)
                    .map_err(|error| error.to_string())?;
            }
            other => return Err(format!("the router asks for the key derivation {other}")),
        }
        *self.derived.borrow_mut() = Some((derivation, key.clone()));
        Ok(key)
    }
}

fn text<'a>(extra: &'a Value, key: &str) -> Result<&'a str, String> {
    extra[key].as_str().ok_or_else(|| format!("CHALLENGE has no string {key}"))
}

/// A number that a derivation may cost.
fn number(extra: &Value, key: &str) -> Result<u32, String> {
    let number = extra[key].as_u64().filter(|number| (1..=MAX_COST).contains(number));
    let number = number.ok_or_else(|| format!("CHALLENGE has no {key} from 1 to {MAX_COST}"))?;
    Ok(number as u32)
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn signing_key(text: &str) -> Result<SigningKey, String> {
    let bytes = unhex(text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let bytes = bytes.ok_or("a private key of cryptosign is 64 hexadecimal digits")?;
    Ok(SigningKey::from_bytes(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

const MAX_COST: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn login(method: Method, secret: &str) -> Login {
        Login::new(method, "user".to_owned(), Secret(secret.to_owned())).unwrap()
    }

    fn answer(login: &Login, extra: Value, nonce: &str) -> Answer {
        let challenge = json!([4, login.method.name(), extra]).to_string();
        login.answer(Serializer::Json, challenge.as_bytes(), nonce).unwrap()
    }

    /// The example of RFC 7677, section 3.
    #[test]
    fn scram_proves_as_its_rfc_does() {
        let login = login(Method::Scram, "pencil");
        let extra = json!({
            "nonce": "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            "salt": "W22ZaJ0SNY7soEsUEjb6gQ==", "kdf": "pbkdf2", "iterations": 4096
        });
        let answer = answer(&login, extra, "rOprNGfwEbeRWgbNEkqO");
        assert_eq!(answer.signature, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    }

    /// The second vector of the chapter on cryptosign in the specification.
    #[test]
    fn cryptosign_signs_as_the_specification_does() {
        let login = login(
            Method::Cryptosign,
            "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510",
        );
        let challenge = "ff".repeat(32);
        let answer = answer(&login, json!({ "challenge": challenge }), "");
        assert_eq!(answer.signature, SIGNED.to_owned() + &challenge);
    }

    #[test]
    fn wampcra_takes_the_secret_or_what_is_derived_from_it() {
        let login = login(Method::Wampcra, "secret");
        let plain = answer(&login, json!({ "challenge": "{}" }), "");
        assert_eq!(plain.signature, STANDARD.encode(mac(b"secret", b"{}")));
        let extra = json!({
            "challenge": "{}", "salt": "salt", "iterations": 1, "keylen": 32
        });
        // RFC 7914, section 11, has PBKDF2-HMAC-SHA256 of another password; this is its form.
        let mut key = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(b"secret", b"salt", 1, &mut key);
        let key = STANDARD.encode(key);
        let salted = answer(&login, extra, "");
        let shown = format!("{login:?}");
        assert!(login.derived.borrow().is_some() && shown.len() < 60, "{shown}");
        assert_eq!(salted.signature, STANDARD.encode(mac(key.as_bytes(), b"{}")));
    }

    #[test]
    fn what_cannot_be_answered_is_explained() {
        let ticket = login(Method::Ticket, "t");
        let other = br#"[4,"wampcra",{}]"#;
        let error = ticket.answer(Serializer::Json, other, "").err().unwrap();
        assert!(error.contains("wampcra"), "{error}");
        let cra = login(Method::Wampcra, "t");
        assert!(cra.answer(Serializer::Json, other, "").err().unwrap().contains("challenge"));
        assert!(Login::new(Method::Cryptosign, "a".into(), Secret("xyz".into())).is_err());
        assert!(!format!("{:?}", login(Method::Ticket, "hidden")).contains("hidden"));
    }

    const SIGNED: &str = "b32675b221f08593213737bef8240e7c15228b07028e19595294678c90d11c0c\
                          ae80a357331bfc5cc9fb71081464e6e75013517c2cf067ad566a6b7b728e5d03";
}
