//! One login from its CHALLENGE to the verdict. Each challenge serves once: who answers has used
//! it up.

use std::fmt;
use std::sync::Arc;

use super::credential::{Credential, Principal};
use super::cryptosign::{self, PublicKey};
use super::gate::{Candidate, Start};
use super::scram::Exchange;
use super::secret::{Secret, is_same};
use super::settings::Method;
use super::wampcra::{self, Subject};
use crate::wamp::{Dict, SessionId, Timestamp, Value};

/// What makes a challenge one that was never there before.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    /// Of a generator that nobody can predict (AU-GEN-07).
    pub nonce: [u8; 32],
    /// The id that the session will have (AU-GEN-08).
    pub session: SessionId,
    pub now: Timestamp,
}

/// A client that was challenged.
pub struct Login {
    pub method: Method,
    /// Who the client will be, if it proves it.
    pub authid: Box<str>,
    pub role: Box<str>,
    /// Whose credential is compared. For an authid that nobody has, somebody else's, so that it
    /// takes the same time.
    principal: Arc<Principal>,
    /// Nobody has this authid, or this key: whatever comes is denied.
    is_decoy: bool,
    expected: Expected,
}

/// What the answer will be compared with.
enum Expected {
    Ticket,
    Wampcra { challenge: String },
    Cryptosign { key: PublicKey, message: [u8; 32] },
    Scram(Exchange),
}

/// What comes of an answer.
#[derive(Debug)]
pub enum Verdict {
    /// With `WELCOME.Details.authextra`, if the method has any.
    Proven(Dict),
    Denied,
    /// To be decided by [`Check::run`], which takes too long for a shard.
    Costly(Check),
}

/// A comparison that takes long: some 20 ms and as many MiB, by the users file.
pub struct Check {
    principal: Arc<Principal>,
    is_decoy: bool,
    ticket: Secret,
}

impl Check {
    /// Whether the client is who it says.
    pub fn run(&self) -> bool {
        let Credential::Ticket(hash) = &self.principal.credential else { return false };
        // Both are looked at in any case.
        hash.is_of(self.ticket.bytes()) & !self.is_decoy
    }

    /// Bytes of memory that it keeps.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.ticket.bytes().len()
    }
}

impl Login {
    /// The login, and its `CHALLENGE.Extra`.
    pub(super) fn begin(candidate: Candidate<'_>, fresh: &Fresh) -> (Self, Dict) {
        let Candidate { method, authid, principal, is_decoy, mock, start } = candidate;
        let other_salt = is_decoy.then_some(&mock[..]);
        let role = principal.role.clone();
        let (expected, extra) = match (start, &principal.credential) {
            (Start::Cryptosign { key, channel_id }, _) => {
                let binding = channel_id.map_or(Value::Null, |_| "tls-exporter".into());
                let challenge = data_encoding::HEXLOWER.encode(&fresh.nonce);
                let message = cryptosign::message(&fresh.nonce, channel_id.as_ref());
                let extra = vec![
                    ("challenge".into(), challenge.into()),
                    ("channel_binding".into(), binding),
                ];
                (Expected::Cryptosign { key, message }, extra)
            }
            (Start::Scram { nonce }, Credential::Scram(record)) => {
                let server_nonce = &fresh.nonce[..18];
                let (extra, exchange) = record.challenge(&authid, nonce, server_nonce, other_salt);
                (Expected::Scram(exchange), extra)
            }
            (_, Credential::Wampcra(key)) => {
                let challenge = wampcra::challenge(&Subject {
                    authid: &authid,
                    role: &role,
                    provider: PROVIDER,
                    session: fresh.session,
                    now: fresh.now,
                    nonce: &fresh.nonce,
                });
                let extra = key.extra(&challenge, other_salt);
                (Expected::Wampcra { challenge }, extra)
            }
            _ => (Expected::Ticket, Dict::new()),
        };
        (Self { method, authid, role, principal, is_decoy, expected }, extra)
    }

    /// Judges `AUTHENTICATE` (AU-GEN-06).
    pub fn judge(&self, signature: &str, extra: &Dict) -> Verdict {
        let is_proven = match (&self.expected, &self.principal.credential) {
            (Expected::Ticket, Credential::Ticket(hash)) if hash.is_costly() => {
                return Verdict::Costly(Check {
                    principal: Arc::clone(&self.principal),
                    is_decoy: self.is_decoy,
                    ticket: Secret::new(signature),
                });
            }
            (Expected::Ticket, Credential::Ticket(hash)) => hash.is_of(signature.as_bytes()),
            (Expected::Wampcra { challenge }, Credential::Wampcra(key)) => {
                key.has_signed(challenge, signature)
            }
            (Expected::Cryptosign { key, message }, _) => key.has_signed(message, signature),
            (Expected::Scram(exchange), Credential::Scram(record)) => {
                let verifier = record.verify(exchange, signature);
                let is_ours = echoes(extra, exchange);
                return match verifier {
                    Some(verifier) if is_ours && !self.is_decoy => {
                        Verdict::Proven(vec![("verifier".into(), verifier.into())])
                    }
                    _ => Verdict::Denied,
                };
            }
            _ => false,
        };
        if is_proven & !self.is_decoy { Verdict::Proven(Dict::new()) } else { Verdict::Denied }
    }

    /// About what it takes to judge an answer of so many bytes, in hundreds of nanoseconds.
    pub const fn cost(&self, answer_bytes: usize) -> usize {
        match &self.expected {
            Expected::Ticket => 2 + answer_bytes / 32,
            Expected::Wampcra { .. } | Expected::Scram(_) => 40,
            Expected::Cryptosign { .. } => 800,
        }
    }
}

/// Whether AUTHENTICATE repeats the nonce, and binds no channel, as HELLO did not (AU-SCR-05).
fn echoes(extra: &Dict, exchange: &Exchange) -> bool {
    let of = |key: &str| extra.iter().find(|(name, _)| name == key).map(|(_, value)| value);
    let is_bound = |key| !matches!(of(key), None | Some(Value::Null));
    let nonce = matches!(of("nonce"), Some(Value::Str(nonce))
        if is_same(nonce.as_bytes(), exchange.nonce.as_bytes()));
    nonce && !is_bound("channel_binding") && !is_bound("cbind_data")
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, authid, .. } = self;
        let mut shown = f.debug_struct("Login");
        shown.field("method", method).field("authid", authid).finish_non_exhaustive()
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").finish_non_exhaustive()
    }
}

/// `authprovider` of users that the configuration names.
pub(super) const PROVIDER: &str = "static";
