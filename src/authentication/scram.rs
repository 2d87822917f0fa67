//! WAMP-SCRAM (AU-SCR): RFC 5802 and RFC 7677 in the messages of WAMP. The router keeps neither the
//! password nor what would let somebody pass for the user elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac;
use sha2::{Digest, Sha256};

use super::phc::{Parts, blob};
use super::secret::{Secret, is_same};
use super::ticket::Argon2Cost;
use super::wampcra::mac;
use crate::wamp::{Dict, Value};

/// What is kept of a password (AU-SCR-07).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramRecord {
    kdf: Kdf,
    salt: Box<[u8]>,
    stored_key: Secret,
    server_key: Secret,
}

/// How the client derives its keys, and at what cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kdf {
    /// `argon2id13`: RFC 9106, one lane.
    Argon2id13 { passes: u32, memory_kib: u32 },
    /// `pbkdf2`: RFC 8018 with HMAC-SHA256.
    Pbkdf2 { iterations: u32 },
}

impl Kdf {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Argon2id13 { .. } => "argon2id13",
            Self::Pbkdf2 { .. } => "pbkdf2",
        }
    }

    const fn iterations(self) -> u32 {
        match self {
            Self::Argon2id13 { passes, .. } => passes,
            Self::Pbkdf2 { iterations } => iterations,
        }
    }

    /// The salted password; `None` if the costs are out of range.
    pub(super) fn derive(self, password: &[u8], salt: &[u8]) -> Option<Secret> {
        match self {
            Self::Argon2id13 { passes, memory_kib } => {
                let cost = Argon2Cost { memory_kib, passes, lanes: 1 };
                cost.hash(password, salt, 32).map(Secret::new)
            }
            Self::Pbkdf2 { iterations } => {
                let mut key = vec![0; 32];
                pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut key);
                Some(Secret::new(key))
            }
        }
    }
}

/// One login under way: what its proof is about.
pub(super) struct Exchange {
    /// The nonces of both sides.
    pub(super) nonce: String,
    /// RFC 5802, section 3.
    auth_message: String,
}

impl ScramRecord {
    /// The record of a password, which is normalized by SASLprep (RFC 4013) first. Takes long;
    /// `salt` is random.
    ///
    /// `None` if the password holds what SASLprep forbids, or the costs are out of range.
    pub fn of(password: &str, kdf: Kdf, salt: [u8; 16]) -> Option<Self> {
        let password = stringprep::saslprep(password).ok()?;
        let salted = kdf.derive(password.as_bytes(), &salt)?;
        Some(Self::from_salted(&salted, kdf, &salt))
    }

    fn from_salted(salted: &Secret, kdf: Kdf, salt: &[u8]) -> Self {
        let client_key = hmac(salted.bytes(), b"Client Key");
        Self {
            kdf,
            salt: salt.into(),
            stored_key: Secret::new(Sha256::digest(client_key).to_vec()),
            server_key: Secret::new(hmac(salted.bytes(), b"Server Key")),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = Parts::of(text)?;
        let kdf = match parts.text("kdf")? {
            "argon2id13" => Kdf::Argon2id13 {
                passes: parts.number("i", 1..=64)?,
                memory_kib: parts.number("m", 8..=1024 * 1024)?,
            },
            "pbkdf2" => Kdf::Pbkdf2 { iterations: parts.number("i", 1..=10_000_000)? },
            _ => return None,
        };
        let [salt, stored_key, server_key] = parts.take_blobs()?;
        let record = Self::of_keys(kdf, salt, stored_key, server_key);
        record.filter(|_| parts.id == "scram-sha-256")
    }

    /// The record of keys that were derived elsewhere; `None` if they have other lengths than such
    /// keys.
    pub(super) fn of_keys(
        kdf: Kdf,
        salt: Vec<u8>,
        stored_key: Vec<u8>,
        server_key: Vec<u8>,
    ) -> Option<Self> {
        let is_whole =
            (8..=64).contains(&salt.len()) && stored_key.len() == 32 && server_key.len() == 32;
        is_whole.then(|| Self {
            kdf,
            salt: salt.into(),
            stored_key: Secret::new(stored_key),
            server_key: Secret::new(server_key),
        })
    }

    /// The text form, for a users file.
    pub fn to_text(&self) -> String {
        let cost = match self.kdf {
            Kdf::Argon2id13 { passes, memory_kib } => format!("i={passes},m={memory_kib}"),
            Kdf::Pbkdf2 { iterations } => format!("i={iterations}"),
        };
        let (stored, server) = (blob(self.stored_key.bytes()), blob(self.server_key.bytes()));
        let (kdf, salt) = (self.kdf.as_str(), blob(&self.salt));
        format!("$scram-sha-256$kdf={kdf},{cost}${salt}${stored}${server}")
    }

    pub(super) fn server_key(&self) -> &[u8] {
        self.server_key.bytes()
    }

    /// Begins a login: `CHALLENGE.Extra`, and what its proof will be about (AU-SCR-03).
    /// `other_salt` takes the place of the salt for an authid that nobody has.
    pub(super) fn challenge(
        &self,
        authid: &str,
        client_nonce: &str,
        server_nonce: &[u8],
        other_salt: Option<&[u8]>,
    ) -> (Dict, Exchange) {
        let other = other_salt.map(|bytes| bytes.iter().copied().cycle().take(self.salt.len()));
        let salt = other.map_or_else(|| self.salt.to_vec(), Iterator::collect);
        let salt = STANDARD.encode(salt);
        let nonce = format!("{client_nonce}{}", STANDARD.encode(server_nonce));
        let memory = match self.kdf {
            Kdf::Argon2id13 { memory_kib, .. } => u64::from(memory_kib).into(),
            Kdf::Pbkdf2 { .. } => Value::Null,
        };
        let iterations = self.kdf.iterations();
        let auth_message = auth_message(authid, client_nonce, &nonce, &salt, iterations);
        let extra = vec![
            ("nonce".into(), nonce.as_str().into()),
            ("salt".into(), salt.into()),
            ("kdf".into(), self.kdf.as_str().into()),
            ("iterations".into(), u64::from(iterations).into()),
            ("memory".into(), memory),
        ];
        (extra, Exchange { nonce, auth_message })
    }

    /// Checks a proof, in Base64, and gives the router's own, the verifier (AU-SCR-05, AU-SCR-06).
    pub(super) fn verify(&self, exchange: &Exchange, proof: &str) -> Option<String> {
        let proof: [u8; 32] = STANDARD.decode(proof).ok()?.try_into().ok()?;
        let message = exchange.auth_message.as_bytes();
        let signature = hmac(self.stored_key.bytes(), message);
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let is_proven = is_same(&Sha256::digest(client_key), self.stored_key.bytes());
        let verifier = STANDARD.encode(hmac(self.server_key.bytes(), message));
        is_proven.then_some(verifier)
    }
}

/// RFC 5802, sections 3 and 7, without channel binding.
fn auth_message(authid: &str, client: &str, both: &str, salt: &str, iterations: u32) -> String {
    let name = authid.replace('=', "=3D").replace(',', "=2C");
    let binding = STANDARD.encode("n,,");
    format!("n={name},r={client},r={both},s={salt},i={iterations},c={binding},r={both}")
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = mac(key);
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3; the specification's AUTHENTICATE has the same proof.
    #[test]
    fn the_published_exchange_is_understood() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("Base64");
        let salt: [u8; 16] = salt.try_into().expect("16 bytes");
        let kdf = Kdf::Pbkdf2 { iterations: 4096 };
        let record = ScramRecord::of("pencil", kdf, salt).expect("a password");
        let client = "rOprNGfwEbeRWgbNEkqO";
        let nonce = format!("{client}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        let text = auth_message("user", client, &nonce, "W22ZaJ0SNY7soEsUEjb6gQ==", 4096);
        let exchange = Exchange { nonce, auth_message: text };
        let proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let verifier = record.verify(&exchange, proof);
        assert_eq!(verifier.as_deref(), Some("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        for wrong in ["", "AAAA", &STANDARD.encode([0; 32])] {
            assert_eq!(record.verify(&exchange, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for kdf in [Kdf::Pbkdf2 { iterations: 10 }, Kdf::Argon2id13 { passes: 1, memory_kib: 64 }] {
            let record = ScramRecord::of("pencil", kdf, [3; 16]).expect("a password");
            assert!(ScramRecord::parse(&record.to_text()) == Some(record));
        }
    }

    /// RFC 4013, section 3.
    #[test]
    fn passwords_are_normalized() {
        let kdf = Kdf::Pbkdf2 { iterations: 1 };
        let record = |password| ScramRecord::of(password, kdf, [3; 16]);
        assert!(record("I\u{AD}X") == record("IX"));
        assert!(record("\u{2168}") == record("IX"));
        assert!(record("user") != record("USER"));
        assert!(record("\u{7}").is_none() && record("\u{627}1").is_none());
    }

    #[test]
    fn names_are_escaped_in_the_message() {
        let text = auth_message("a=b,c", "x", "xy", "s", 1);
        assert_eq!(text, "n=a=3Db=2Cc,r=x,r=xy,s=s,i=1,c=biws,r=xy");
    }
}
