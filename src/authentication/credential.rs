//! A user of a realm, and what the router keeps to recognize it by one method.

use std::fmt;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::certificate::CertificateName;
use super::cryptosign::PublicKey;
use super::scram::ScramRecord;
use super::secret::Secret;
use super::settings::Method;
use super::ticket::TicketHash;
use super::wampcra::CraKey;

/// Somebody who may join, by one method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub authid: Box<str>,
    pub role: Box<str>,
    pub credential: Credential,
}

/// What is kept of a user's secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    Ticket(TicketHash),
    Wampcra(CraKey),
    Scram(ScramRecord),
    /// The public keys of one user, any of which will do.
    Cryptosign(Vec<PublicKey>),
    /// The certificates of one user, any of which will do.
    Tls(Vec<CertificateName>),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(self.method().as_str()).finish_non_exhaustive()
    }
}

/// Where the text of a credential stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a file, which holds no secret as it is.
    File,
    /// In the environment, which may.
    Environment,
}

/// Why a text is no credential. It does not say what the text was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCredential {
    #[error(
        "must be a hash as `stentor passwd` or `stentor keygen ticket` makes it, or the name of \
         an environment variable, as in \"${{ALICE_TICKET}}\""
    )]
    Ticket,
    #[error(
        "must be a key as `stentor passwd --method wampcra` makes it, or the name of an \
         environment variable, as in \"${{ALICE_SECRET}}\""
    )]
    Wampcra,
    #[error("must be a record as `stentor passwd --method wamp-scram` makes it")]
    Scram,
    #[error(
        "must be a public key in 64 hexadecimal digits, as `stentor keygen cryptosign` says it"
    )]
    Cryptosign,
    #[error(
        "must name a certificate by its SHA-256, as `stentor cert fingerprint` prints it \
         (\"sha256:...\"), by a subject alternative name of it (\"dns:...\", \"uri:...\", \
         \"email:...\"), or by its subject (\"cn:...\", \"subject:...\")"
    )]
    Tls,
    #[error("is not needed: anonymous clients have no credential")]
    Anonymous,
}

impl Credential {
    /// Reads the text form of a credential for a method.
    ///
    /// # Errors
    /// [`BadCredential`] if it does not have the form, or its costs are out of range.
    pub fn parse(method: Method, text: &str, source: Source) -> Result<Self, BadCredential> {
        let is_plain = source == Source::Environment && !text.starts_with('$') && !text.is_empty();
        match method {
            Method::Anonymous => Err(BadCredential::Anonymous),
            Method::Ticket if is_plain => Ok(Self::Ticket(TicketHash::of_random(text.as_bytes()))),
            Method::Ticket => {
                TicketHash::parse(text).map(Self::Ticket).ok_or(BadCredential::Ticket)
            }
            Method::Wampcra if is_plain => Ok(Self::Wampcra(CraKey::plain(Secret::new(text)))),
            Method::Wampcra => CraKey::parse(text).map(Self::Wampcra).ok_or(BadCredential::Wampcra),
            Method::Scram => ScramRecord::parse(text).map(Self::Scram).ok_or(BadCredential::Scram),
            Method::Cryptosign => {
                let key = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
                let key = key.and_then(|key| PublicKey::new(key.try_into().ok()?));
                key.map(|key| Self::Cryptosign(vec![key])).ok_or(BadCredential::Cryptosign)
            }
            Method::Tls => {
                let name = CertificateName::parse(text);
                name.map(|name| Self::Tls(vec![name])).ok_or(BadCredential::Tls)
            }
        }
    }

    pub const fn method(&self) -> Method {
        match self {
            Self::Ticket(_) => Method::Ticket,
            Self::Wampcra(_) => Method::Wampcra,
            Self::Scram(_) => Method::Scram,
            Self::Cryptosign(_) => Method::Cryptosign,
            Self::Tls(_) => Method::Tls,
        }
    }

    /// Whether a comparison takes so long that it needs a thread of its own.
    pub const fn is_costly(&self) -> bool {
        matches!(self, Self::Ticket(hash) if hash.is_costly())
    }

    /// Bytes that only those know who can read the users file.
    pub(super) fn private_bytes(&self) -> &[u8] {
        match self {
            Self::Ticket(hash) => hash.bytes(),
            Self::Wampcra(key) => key.key(),
            Self::Scram(record) => record.server_key(),
            Self::Cryptosign(_) | Self::Tls(_) => &[],
        }
    }
}
