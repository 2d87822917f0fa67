//! A client that is to be challenged, or that somebody is asked about first: what is known of it
//! between HELLO and CHALLENGE.

use std::sync::Arc;

use super::check::Check;
use super::credential::{Credential, Principal};
use super::cryptosign::{PublicKey, RouterProof};
use super::dynamic::{BadAnswer, Facts, Grant, Question};
use super::endpoint::Adviser;
use super::login::{ASKED, Fresh, Login, PROVIDER};
use super::settings::Method;
use super::token::Issuer;
use crate::wamp::{Dict, Value};

/// A client that is to be challenged.
#[derive(Debug)]
pub struct Candidate {
    pub method: Method,
    /// Empty if only what the client answers can tell it.
    pub authid: Box<str>,
    /// `None`: no users file has anybody for the method.
    pub(super) principal: Option<Arc<Principal>>,
    pub(super) is_decoy: bool,
    /// Stable for the authid, and not to be guessed.
    pub(super) mock: [u8; 32],
    pub(super) start: Start,
    pub(super) provider: &'static str,
    /// Becomes `WELCOME.Details.authextra`.
    pub(super) extra: Dict,
    /// Who may have issued its ticket, if that is a token.
    pub(super) issuers: Vec<Arc<Issuer>>,
    /// Who is asked about its ticket, and what.
    pub(super) adviser: Option<Adviser>,
    pub(super) question: Option<Box<Question>>,
}

/// A client that an endpoint or a procedure is asked about before anything else.
#[derive(Debug)]
pub struct Referral {
    pub method: Method,
    /// Empty if the client names none.
    pub authid: Box<str>,
    pub(super) start: Start,
    pub(super) adviser: Adviser,
}

/// What an endpoint's answer to an [`Referral`] brings.
#[derive(Debug)]
pub enum Resolved {
    /// Without a challenge; without an authid, as somebody of whom nothing is known.
    Welcome {
        authid: Option<Box<str>>,
        role: Box<str>,
        extra: Dict,
    },
    Challenge(Box<Candidate>),
}

/// What the client has sent with HELLO.
#[derive(Debug)]
pub(super) enum Start {
    Nothing,
    Cryptosign {
        key: PublicKey,
        channel_id: Option<[u8; 32]>,
        /// What the client wants to know of the router, if it does.
        proof: Option<RouterProof>,
    },
    Scram {
        nonce: Box<str>,
    },
}

impl Candidate {
    /// Takes note of what an endpoint is asked about the ticket, if one is.
    pub fn prepare(&mut self, facts: &Facts<'_>) {
        let authid = Some(&*self.authid).filter(|authid| !authid.is_empty());
        let question =
            |adviser: &Adviser| Question::new(self.method, adviser.role(), authid, facts);
        self.question = self.adviser.as_ref().map(question).map(Box::new);
    }

    /// Bytes of memory that the question takes.
    pub fn question_weight(&self) -> usize {
        self.question.as_ref().map_or(0, |question| question.weight())
    }

    /// About what it takes to challenge it, in hundreds of nanoseconds.
    pub const fn cost(&self) -> usize {
        match self.start {
            Start::Cryptosign { proof: Some(_), .. } => 300,
            _ => 30,
        }
    }

    /// The login, and its `CHALLENGE.Extra`.
    pub fn challenge(self, fresh: &Fresh) -> (Login, Dict) {
        Login::begin(self, fresh)
    }
}

impl Referral {
    /// The question, to be asked elsewhere.
    pub fn ask(&self, facts: &Facts<'_>) -> Check {
        let authid = Some(&*self.authid).filter(|authid| !authid.is_empty());
        let question = Question::new(self.method, self.adviser.role(), authid, facts);
        self.adviser.clone().ask(Box::new(question))
    }

    /// What the answer brings.
    ///
    /// # Errors
    /// [`BadAnswer`] if nobody knows the client's authid, or there is nothing to challenge it with.
    pub fn resolve(self, grant: Grant) -> Result<Resolved, BadAnswer> {
        let Grant { authid, role, extra, credential, .. } = grant;
        if self.method == Method::Anonymous {
            return Ok(Resolved::Welcome { authid, role, extra });
        }
        let credential = credential.ok_or(BadAnswer::Missing("secret"))?;
        let authid = authid.unwrap_or(self.authid);
        if authid.is_empty() {
            return Err(BadAnswer::Missing("authid"));
        }
        let principal = Principal { authid: authid.clone(), role, credential };
        let is_decoy = !has_key(&principal, &self.start);
        Ok(Resolved::Challenge(Box::new(Candidate {
            provider: ASKED,
            extra,
            ..Candidate::of(self.method, authid, Arc::new(principal), is_decoy, self.start)
        })))
    }
}

impl Candidate {
    /// Somebody whose credential is known.
    pub(super) fn of(
        method: Method,
        authid: Box<str>,
        principal: Arc<Principal>,
        is_decoy: bool,
        start: Start,
    ) -> Self {
        Self {
            method,
            authid,
            principal: Some(principal),
            is_decoy,
            mock: [0; 32],
            start,
            provider: PROVIDER,
            extra: Dict::new(),
            issuers: Vec::new(),
            adviser: None,
            question: None,
        }
    }
}

/// What a method needs of `authextra`; `None` if it is not there.
pub(super) fn start_of(method: Method, extra: &Dict) -> Option<Start> {
    Some(match method {
        Method::Cryptosign => {
            let key = text_of(extra, "pubkey").and_then(PublicKey::announced)?;
            Start::Cryptosign { key, channel_id: None, proof: None }
        }
        Method::Scram => {
            let nonce = text_of(extra, "nonce").filter(|nonce| is_nonce(nonce))?;
            Start::Scram { nonce: nonce.into() }
        }
        _ => Start::Nothing,
    })
}

/// Whether the key that a client announced is one of the user's.
pub(super) fn has_key(principal: &Principal, start: &Start) -> bool {
    match (start, &principal.credential) {
        (Start::Cryptosign { key, .. }, Credential::Cryptosign(keys)) => keys.contains(key),
        (Start::Cryptosign { .. }, _) => false,
        _ => true,
    }
}

fn text_of<'a>(extra: &'a Dict, key: &str) -> Option<&'a str> {
    match extra.iter().find(|(name, _)| name == key) {
        Some((_, Value::Str(text))) => Some(text),
        _ => None,
    }
}

/// A client's nonce, printable and without the comma that separates what is signed (RFC 5802, 7).
fn is_nonce(text: &str) -> bool {
    let is_printable = |b: u8| b.is_ascii_graphic() && b != b',';
    (1..=MAX_NONCE_BYTES).contains(&text.len()) && text.bytes().all(is_printable)
}

/// Clients send some 24.
const MAX_NONCE_BYTES: usize = 256;
