//! What no shard decides at once, as it takes long or has to be asked elsewhere, and what comes of
//! it.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Weak};

use super::credential::{Credential, Principal};
use super::dynamic::{BadAnswer, Grant, Question};
use super::endpoint::{Endpoint, Procedure};
use super::secret::Secret;
use super::token::{Issuer, Lease, TokenError};
use crate::wamp::{Dict, Timestamp, Value, dict_heap_bytes, is_reserved, is_valid_uri};

/// Kept by whoever waits for what is judged elsewhere. Without it nobody does.
#[derive(Debug, Default)]
pub struct Interest(Arc<()>);

/// Whether somebody still waits for what is judged.
#[derive(Clone, Debug)]
pub struct Wanted(Weak<()>);

/// What a login waits for.
#[derive(Debug)]
pub enum Check {
    /// A computation, away from the shards.
    Proof(Proof),
    /// A question to an endpoint, away from the shards: as long as the other side takes.
    Referred(Referred),
    /// A question to a procedure, which the shard of the client calls.
    Consultation(Consultation),
}

/// Something to be computed.
pub enum Proof {
    /// A comparison: some 20 ms and as many MiB, by the users file.
    Ticket(TicketCheck),
    /// A signature: some 50 us.
    Token(TokenCheck),
}

/// A ticket and the hash that it is compared with.
pub struct TicketCheck {
    pub(super) principal: Arc<Principal>,
    pub(super) is_decoy: bool,
    pub(super) ticket: Secret,
}

/// A token and those who may have issued it.
pub struct TokenCheck {
    pub(super) issuers: Vec<Arc<Issuer>>,
    /// What the client says itself.
    pub(super) authid: Option<Box<str>>,
    pub(super) token: Secret,
}

/// A question to an endpoint.
#[derive(Debug)]
pub struct Referred {
    pub endpoint: Arc<Endpoint>,
    pub question: Box<Question>,
}

/// A question to a procedure.
#[derive(Debug)]
pub struct Consultation {
    pub procedure: Arc<Procedure>,
    pub question: Box<Question>,
}

/// What comes of a [`Check`].
#[derive(Debug, PartialEq)]
pub enum Judgement {
    /// It is the user whose credential was compared.
    Genuine,
    /// It may join so, or is to be challenged so.
    Granted { grant: Box<Grant>, lease: Option<Lease> },
    /// It may not join. A client never learns why.
    Denied(Option<TokenError>),
    /// An authenticator refuses it, in its own words, which go to the client.
    Refused { error: Box<str>, message: Box<str> },
    /// Nobody can say; the text is for the log.
    Failed(Cow<'static, str>),
    /// This issuer is not known to have the key of the token. Who can fetch its keys may do that
    /// and run the check again; else it is denied.
    KeyMissing(MissingKey),
}

/// An issuer without the key that was asked for.
#[derive(Clone, Debug)]
pub struct MissingKey(pub Arc<Issuer>, pub TokenError);

impl Interest {
    pub fn watch(&self) -> Wanted {
        Wanted(Arc::downgrade(&self.0))
    }
}

impl Wanted {
    pub fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl PartialEq for MissingKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) && self.1 == other.1
    }
}

impl Check {
    /// Bytes of memory that it keeps.
    pub fn weight(&self) -> usize {
        let bytes = match self {
            Self::Proof(Proof::Ticket(check)) => check.ticket.bytes().len(),
            Self::Proof(Proof::Token(check)) => check.token.bytes().len(),
            Self::Referred(Referred { question, .. })
            | Self::Consultation(Consultation { question, .. }) => question.weight(),
        };
        size_of::<Self>() + bytes
    }
}

impl Proof {
    /// Whether a token renews the lease that its issuer gave to this authid.
    pub fn renewal(issuer: &Arc<Issuer>, authid: &str, token: &str) -> Self {
        let (issuers, authid) = (vec![Arc::clone(issuer)], Some(authid.into()));
        Self::Token(TokenCheck { issuers, authid, token: Secret::new(token) })
    }

    /// The verdict.
    pub fn run(&self, now: Timestamp) -> Judgement {
        match self {
            Self::Ticket(check) => check.run(),
            Self::Token(check) => check.run(now),
        }
    }
}

impl TicketCheck {
    fn run(&self) -> Judgement {
        let Credential::Ticket(hash) = &self.principal.credential else {
            return Judgement::Denied(None);
        };
        // Both are looked at in any case.
        let is_genuine = hash.is_of(self.ticket.bytes()) & !self.is_decoy;
        if is_genuine { Judgement::Genuine } else { Judgement::Denied(None) }
    }
}

impl TokenCheck {
    /// Asks the issuers in their order, until one knows the token.
    fn run(&self, now: Timestamp) -> Judgement {
        let Ok(token) = std::str::from_utf8(self.token.bytes()) else {
            return Judgement::Denied(Some(TokenError::Malformed));
        };
        let (mut why, mut missing) = (TokenError::OtherIssuer, None);
        for issuer in &self.issuers {
            match issuer.judge(token, self.authid.as_deref(), now) {
                Ok((grant, expires)) => {
                    let lease = Some(Lease { issuer: Arc::clone(issuer), expires });
                    return Judgement::Granted { grant: Box::new(grant), lease };
                }
                Err(TokenError::OtherIssuer) => {}
                Err(error @ (TokenError::UnknownKey | TokenError::NoKeys)) => {
                    let of_this = || Judgement::KeyMissing(MissingKey(Arc::clone(issuer), error));
                    missing.get_or_insert_with(of_this);
                }
                Err(error) => why = error,
            }
        }
        missing.unwrap_or(Judgement::Denied(Some(why)))
    }
}

impl Judgement {
    pub const fn failed(why: &'static str) -> Self {
        Self::Failed(Cow::Borrowed(why))
    }

    /// Bytes of memory that it takes.
    pub fn weight(&self) -> usize {
        let more = match self {
            Self::Granted { grant, .. } => {
                let texts = [Some(&grant.role), grant.authid.as_ref(), grant.realm.as_ref()];
                let texts: usize = texts.into_iter().flatten().map(|text| text.len()).sum();
                size_of::<Grant>() + texts + dict_heap_bytes(&grant.extra)
            }
            Self::Refused { error, message } => error.len() + message.len(),
            Self::Failed(why) => why.len(),
            Self::Genuine | Self::Denied(_) | Self::KeyMissing(_) => 0,
        };
        size_of::<Self>() + more
    }

    /// What the ERROR of an authenticator that is a procedure means. Its own URI and first argument
    /// go to the client; URIs of the protocol are no refusal, but for those that say so.
    pub fn of_error(error: &str, args: &[Value]) -> Self {
        if DENIALS.contains(&error) {
            return Self::Denied(None);
        }
        let is_its_own = is_valid_uri(error, Default::default()) && !is_reserved(error);
        if !is_its_own || error.len() > MAX_ERROR_BYTES {
            return Self::failed("the authenticator has answered with an error of the protocol");
        }
        let message = match args.first() {
            Some(Value::Str(text)) => &text[..text.floor_char_boundary(MAX_ERROR_BYTES)],
            _ => "",
        };
        Self::Refused { error: error.into(), message: message.into() }
    }

    /// What an answer to a question means.
    fn of_answer(question: &Question, answer: Result<Grant, BadAnswer>) -> Result<Self, BadAnswer> {
        let grant = answer?;
        if !grant.agrees_with(question) {
            return Ok(Self::Denied(None));
        }
        Ok(Self::Granted { grant: Box::new(grant), lease: None })
    }
}

impl Referred {
    /// What a response means (AU-DYN-01): with status 200 what its body says, 401 and 403 are a
    /// no, and all else is a failure.
    pub fn read(&self, status: u16, body: &[u8]) -> Judgement {
        let why = match status {
            200 => match Judgement::of_answer(&self.question, self.question.read_json(body)) {
                Ok(judgement) => return judgement,
                Err(bad) => format!("the endpoint gave no answer: {bad}"),
            },
            401 | 403 => return Judgement::Denied(None),
            status => format!("the endpoint answered with status {status}"),
        };
        Judgement::Failed(why.into())
    }
}

impl Consultation {
    /// What the result of a procedure means: it is one value, and no more.
    ///
    /// # Errors
    /// [`BadAnswer`] if it is no answer: the login has failed then.
    pub fn read_result(&self, args: &[Value], kwargs: &Dict) -> Result<Judgement, BadAnswer> {
        let [answer] = args else { return Err(BadAnswer::Form) };
        if !kwargs.is_empty() {
            return Err(BadAnswer::Form);
        }
        Judgement::of_answer(&self.question, self.question.read(answer))
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").finish_non_exhaustive()
    }
}

/// What an authenticator may raise to say no more than no.
const DENIALS: [&str; 3] = [
    "wamp.error.authentication_denied",
    "wamp.error.no_such_principal",
    "wamp.error.not_authorized",
];

/// Bytes of an error's URI, and of its first argument.
const MAX_ERROR_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authenticators_own_words_go_to_the_client_and_the_protocols_do_not() {
        let text = |text: &str| vec![Value::from(text)];
        let own = Judgement::of_error("com.auv.invalid_ticket", &text("no such ticket"));
        let (error, message) = ("com.auv.invalid_ticket".into(), "no such ticket".into());
        assert_eq!(own, Judgement::Refused { error, message });
        let long = Judgement::of_error("com.x", &text(&"\u{e9}".repeat(1_000)));
        assert!(matches!(long, Judgement::Refused { message, .. } if message.len() == 256));
        let silent = Judgement::of_error("com.x", &[Value::UInt(1)]);
        assert!(matches!(silent, Judgement::Refused { message, .. } if message.is_empty()));
        for denial in DENIALS {
            assert_eq!(Judgement::of_error(denial, &[]), Judgement::Denied(None));
        }
        for failure in ["wamp.error.canceled", "no uri", "", &"x".repeat(257)] {
            assert!(matches!(Judgement::of_error(failure, &[]), Judgement::Failed(_)), "{failure}");
        }
    }
}
