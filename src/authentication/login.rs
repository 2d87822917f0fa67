//! One login from its CHALLENGE to the verdict. Each challenge serves once: who answers has used
//! it up.

use std::fmt;
use std::sync::Arc;

use super::candidate::{Candidate, Start};
use super::check::{Check, Proof, TicketCheck, TokenCheck};
use super::credential::{Credential, Principal};
use super::cryptosign::{self, PublicKey};
use super::dynamic::{BadAnswer, Grant, Question};
use super::endpoint::Adviser;
use super::scram::Exchange;
use super::secret::{Secret, is_same};
use super::settings::Method;
use super::token::{Issuer, has_form_of_token};
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
    /// Who the client will be, if it proves it. Empty until a token or an answer says it.
    pub authid: Box<str>,
    pub role: Box<str>,
    /// `WELCOME.Details.authprovider`.
    pub provider: &'static str,
    /// Becomes `WELCOME.Details.authextra`, behind what the method has to say itself.
    extra: Dict,
    /// Whose credential is compared. For an authid that nobody has, somebody else's, so that it
    /// takes the same time. `None`: no users file has anybody for the method.
    principal: Option<Arc<Principal>>,
    /// Nobody has this authid, or this key: whatever comes is denied.
    is_decoy: bool,
    expected: Expected,
}

/// What the answer will be compared with.
enum Expected {
    Ticket(Box<Tickets>),
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
    /// To be decided by somebody else, or by what takes too long for a shard.
    Open(Check),
}

/// What a ticket may be, besides one of the users file.
struct Tickets {
    /// Who may have issued it, if it is a token.
    issuers: Vec<Arc<Issuer>>,
    /// Who is asked about it, and what.
    outside: Option<(Adviser, Box<Question>)>,
}

impl Login {
    /// The login, and its `CHALLENGE.Extra`.
    pub(super) fn begin(candidate: Candidate, fresh: &Fresh) -> (Self, Dict) {
        let Candidate { method, authid, principal, is_decoy, mock, start, provider, .. } =
            candidate;
        let other_salt = is_decoy.then_some(&mock[..]);
        let role = principal.as_ref().map(|principal| principal.role.clone()).unwrap_or_default();
        let credential = principal.as_ref().map(|principal| &principal.credential);
        let (expected, extra) = match (start, credential) {
            (Start::Cryptosign { key, channel_id, proof }, _) => {
                let binding = channel_id.map_or(Value::Null, |_| "tls-exporter".into());
                let challenge = data_encoding::HEXLOWER.encode(&fresh.nonce);
                let message = cryptosign::message(&fresh.nonce, channel_id.as_ref());
                let mut extra = vec![
                    ("challenge".into(), challenge.into()),
                    ("channel_binding".into(), binding),
                ];
                if let Some(proof) = proof {
                    let signature = proof.signature(channel_id.as_ref());
                    extra.push(("signature".into(), signature.into()));
                    extra.push(("pubkey".into(), proof.key.public().to_string().into()));
                }
                (Expected::Cryptosign { key, message }, extra)
            }
            (Start::Scram { nonce }, Some(Credential::Scram(record))) => {
                let server_nonce = &fresh.nonce[..18];
                let (extra, exchange) = record.challenge(&authid, &nonce, server_nonce, other_salt);
                (Expected::Scram(exchange), extra)
            }
            (_, Some(Credential::Wampcra(key))) => {
                let challenge = wampcra::challenge(&Subject {
                    authid: &authid,
                    role: &role,
                    provider,
                    session: fresh.session,
                    now: fresh.now,
                    nonce: &fresh.nonce,
                });
                let extra = key.extra(&challenge, other_salt);
                (Expected::Wampcra { challenge }, extra)
            }
            _ => {
                let outside = candidate.adviser.zip(candidate.question);
                let tickets = Tickets { issuers: candidate.issuers, outside };
                (Expected::Ticket(Box::new(tickets)), Dict::new())
            }
        };
        let own_extra = candidate.extra;
        let login = Self {
            method,
            authid,
            role,
            provider,
            extra: own_extra,
            principal,
            is_decoy,
            expected,
        };
        (login, extra)
    }

    /// Judges `AUTHENTICATE` (AU-GEN-06).
    pub fn judge(&mut self, signature: &str, extra: &Dict) -> Verdict {
        if let Expected::Ticket(tickets) = &mut self.expected {
            let is_user = self.principal.is_some() && !self.is_decoy;
            if let Some(check) = tickets.check(signature, &self.authid, is_user) {
                return Verdict::Open(check);
            }
        }
        let Some(principal) = &self.principal else { return Verdict::Denied };
        let is_proven = match (&self.expected, &principal.credential) {
            (Expected::Ticket(_), Credential::Ticket(hash)) if hash.is_costly() => {
                return Verdict::Open(Check::Proof(Proof::Ticket(TicketCheck {
                    principal: Arc::clone(principal),
                    is_decoy: self.is_decoy,
                    ticket: Secret::new(signature),
                })));
            }
            (Expected::Ticket(_), Credential::Ticket(hash)) => hash.is_of(signature.as_bytes()),
            (Expected::Wampcra { challenge }, Credential::Wampcra(key)) => {
                key.has_signed(challenge, signature)
            }
            (Expected::Cryptosign { key, message }, _) => key.has_signed(message, signature),
            (Expected::Scram(exchange), Credential::Scram(record)) => {
                let verifier = record.verify(exchange, signature);
                let is_ours = echoes(extra, exchange);
                return match verifier {
                    Some(verifier) if is_ours && !self.is_decoy => {
                        let mut said = vec![("verifier".into(), verifier.into())];
                        let more = std::mem::take(&mut self.extra).into_iter();
                        said.extend(more.filter(|(name, _)| name != "verifier"));
                        Verdict::Proven(said)
                    }
                    _ => Verdict::Denied,
                };
            }
            _ => false,
        };
        if is_proven & !self.is_decoy {
            Verdict::Proven(std::mem::take(&mut self.extra))
        } else {
            Verdict::Denied
        }
    }

    /// Becomes who a token or an answer says that the client is. Gives what
    /// `WELCOME.Details.authextra` is.
    ///
    /// # Errors
    /// [`BadAnswer`] if neither it nor the client has said an authid.
    pub fn become_who(&mut self, grant: Grant, provider: &'static str) -> Result<Dict, BadAnswer> {
        let Grant { authid, role, extra, .. } = grant;
        if let Some(authid) = authid {
            self.authid = authid;
        }
        if self.authid.is_empty() {
            return Err(BadAnswer::Missing("authid"));
        }
        (self.role, self.provider) = (role, provider);
        Ok(extra)
    }

    /// About what it takes to judge an answer of so many bytes, in hundreds of nanoseconds.
    pub const fn cost(&self, answer_bytes: usize) -> usize {
        match &self.expected {
            Expected::Ticket(_) => 2 + answer_bytes / 32,
            Expected::Wampcra { .. } | Expected::Scram(_) => 40,
            Expected::Cryptosign { .. } => 800,
        }
    }
}

impl Tickets {
    /// What is to be judged elsewhere, of a ticket that no users file decides about: a token by its
    /// issuers, anything else by whom is asked.
    fn check(&mut self, ticket: &str, authid: &str, is_user: bool) -> Option<Check> {
        if !self.issuers.is_empty() && has_form_of_token(ticket) {
            let authid = Some(authid).filter(|authid| !authid.is_empty()).map(Into::into);
            let (issuers, token) = (std::mem::take(&mut self.issuers), Secret::new(ticket));
            return Some(Check::Proof(Proof::Token(TokenCheck { issuers, authid, token })));
        }
        let (adviser, question) = self.outside.take().filter(|_| !is_user)?;
        Some(adviser.ask(Box::new(question.with_ticket(ticket))))
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

/// `authprovider` of users that the configuration names.
pub const PROVIDER: &str = "static";

/// `authmethod` of sessions that the router opens for clients of HTTP, whom it has judged there.
pub const BY_HTTP: &str = "http";

/// Of those that an endpoint says yes to.
pub const ASKED: &str = "dynamic";

/// Of those who bear a token.
pub const TOKENS: &str = "jwt";
