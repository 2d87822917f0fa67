//! Tickets (AU-TKT): what is kept of one, and the comparison with what a client sends.
//!
//! A ticket that a person chose is kept as an Argon2id hash, which takes long to check by design. A
//! long random one needs no such care: its SHA-256 cannot be guessed.

use argon2::{Algorithm, Argon2, Params, Version};
use sha2::{Digest, Sha256};

use super::phc::{Parts, blob};
use super::secret::is_same;

/// What is kept of a ticket.
#[derive(Clone, PartialEq, Eq)]
pub enum TicketHash {
    /// RFC 9106. To be checked where nobody waits for it.
    Argon2id { cost: Argon2Cost, salt: Box<[u8]>, hash: Box<[u8]> },
    /// FIPS 180-4, of a ticket of at least 128 random bits.
    Sha256([u8; 32]),
}

/// What a hash costs (RFC 9106, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Cost {
    /// 8 KiB to 1 GiB.
    pub memory_kib: u32,
    /// 1 to 64 passes.
    pub passes: u32,
    /// 1 to 16.
    pub lanes: u32,
}

impl Default for Argon2Cost {
    /// What OWASP recommends as the least.
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }
}

impl Argon2Cost {
    /// `None` if the costs are out of range.
    pub(super) fn hash(self, secret: &[u8], salt: &[u8], bytes: usize) -> Option<Vec<u8>> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(bytes)).ok()?;
        let mut hash = vec![0; bytes];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(secret, salt, &mut hash).ok()?;
        Some(hash)
    }
}

impl TicketHash {
    /// The hash of a ticket that a person chose. Takes long; `salt` is random.
    ///
    /// `None` if the cost is out of range.
    pub fn of_chosen(ticket: &[u8], salt: [u8; 16], cost: Argon2Cost) -> Option<Self> {
        let hash = cost.hash(ticket, &salt, 32)?;
        Some(Self::Argon2id { cost, salt: Box::new(salt), hash: hash.into() })
    }

    /// The hash of a long random ticket.
    pub fn of_random(ticket: &[u8]) -> Self {
        Self::Sha256(Sha256::digest(ticket).into())
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = Parts::of(text)?;
        match parts.id {
            "argon2id" => {
                let cost = Argon2Cost {
                    memory_kib: parts.number("m", 8..=1024 * 1024)?,
                    passes: parts.number("t", 1..=64)?,
                    lanes: parts.number("p", 1..=16)?,
                };
                let [salt, hash] = parts.take_blobs()?;
                let is_usual = parts.text("v") == Some("19")
                    && (8..=64).contains(&salt.len())
                    && (16..=64).contains(&hash.len())
                    && Params::new(cost.memory_kib, cost.passes, cost.lanes, None).is_ok();
                is_usual.then(|| Self::Argon2id { cost, salt: salt.into(), hash: hash.into() })
            }
            "sha256" => {
                let [hash] = parts.take_blobs()?;
                Some(Self::Sha256(hash.try_into().ok()?))
            }
            _ => None,
        }
    }

    /// The text form, for a users file.
    pub fn to_text(&self) -> String {
        match self {
            Self::Argon2id { cost: Argon2Cost { memory_kib, passes, lanes }, salt, hash } => {
                let (salt, hash) = (blob(salt), blob(hash));
                format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}")
            }
            Self::Sha256(hash) => format!("$sha256${}", blob(hash)),
        }
    }

    /// Whether it is the hash of this ticket.
    pub fn is_of(&self, ticket: &[u8]) -> bool {
        match self {
            Self::Argon2id { cost, salt, hash } => {
                let made = cost.hash(ticket, salt, hash.len());
                made.is_some_and(|made| is_same(&made, hash))
            }
            Self::Sha256(hash) => is_same(&Sha256::digest(ticket), hash),
        }
    }

    pub(super) const fn is_costly(&self) -> bool {
        matches!(self, Self::Argon2id { .. })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Argon2id { hash, .. } => hash,
            Self::Sha256(hash) => hash,
        }
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// RFC 9106, section 5.3, has secret and data, which Stentor does not use; the reference
    /// implementation's own test has neither.
    #[test]
    fn argon2id_is_that_of_the_reference_implementation() {
        let cost = Argon2Cost { memory_kib: 65_536, passes: 2, lanes: 1 };
        let hash = cost.hash(b"password", b"somesalt", 32).expect("in range");
        let expected = "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7";
        assert_eq!(HEXLOWER.encode(&hash), expected);
        let text = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$\
                    CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(TicketHash::parse(text).expect("a hash").is_of(b"password"));
    }

    #[test]
    fn what_is_written_is_read() {
        let chosen = TicketHash::of_chosen(b"pencil", [7; 16], Argon2Cost::default());
        for hash in [chosen.expect("the cost is in range"), TicketHash::of_random(b"0123")] {
            assert!(TicketHash::parse(&hash.to_text()) == Some(hash));
        }
    }

    #[test]
    fn costs_that_could_stop_a_router_are_refused() {
        let tail = "$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        for head in ["m=2000000,t=2,p=1", "m=1024,t=65,p=1", "m=1024,t=1,p=0", "m=8,t=1,p=16", ""] {
            assert!(TicketHash::parse(&format!("$argon2id$v=19${head}{tail}")).is_none(), "{head}");
        }
        for text in ["", "pencil", "$sha256$AAAA", "$argon2i$v=19$m=64,t=1,p=1$AAAA$AAAA", "$"] {
            assert!(TicketHash::parse(text).is_none(), "{text}");
        }
    }
}
