//! How a client proves who it is: what HELLO says, what is answered to CHALLENGE, and whether
//! WELCOME proves the router.
//!
//! Pure. Random bytes come in as arguments; costs that a router may demand have bounds.

mod cryptosign;
mod scram;
mod secret;
mod wampcra;

#[cfg(test)]
mod tests;

use std::fmt;

use stentor_protocol::wamp::{Dict, Value, quote};

use self::secret::Secret;

/// Why a CHALLENGE has no answer, or a WELCOME is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    #[error("the router asks for the method {}, for which there is no credential", quote(.0))]
    Method(String),
    #[error("the router's challenge has no usable {0}")]
    Challenge(&'static str),
    #[error("the router demands {what} of {demanded}, and the most is {most}")]
    TooCostly { what: &'static str, demanded: u64, most: u64 },
    #[error("the password holds what SASLprep (RFC 4013) forbids")]
    Password,
    #[error("a private key of cryptosign is 32 bytes as hexadecimal digits")]
    PrivateKey,
    #[error("a public key of a router is 32 bytes as hexadecimal digits")]
    RouterKey,
    #[error("channel binding needs TLS 1.3, which this connection is not")]
    NoChannel,
    /// Who answers does not know the password, or has not the key that was expected.
    #[error("the router has not proven that it is the one that was asked for")]
    RouterUnproven,
}

/// By what a client proves who it is.
#[derive(Clone)]
pub struct Credential(Kind);

#[derive(Clone)]
enum Kind {
    Anonymous,
    Ticket(Secret),
    Wampcra(Secret),
    Scram(Secret),
    Cryptosign(Box<cryptosign::Key>),
    Tls,
}

impl Credential {
    /// Nothing is proven.
    pub const fn anonymous() -> Self {
        Self(Kind::Anonymous)
    }

    /// A ticket, which is sent as it is: over TLS only. A JSON Web Token is one as well.
    pub fn ticket(ticket: impl Into<String>) -> Self {
        Self(Kind::Ticket(Secret::of_text(ticket)))
    }

    /// WAMP-CRA: a secret that signs the router's challenge and is not sent.
    pub fn wampcra(secret: impl Into<String>) -> Self {
        Self(Kind::Wampcra(Secret::of_text(secret)))
    }

    /// WAMP-SCRAM: a password that is not sent, and the router proves that it knows it, too.
    ///
    /// # Errors
    /// The password holds what SASLprep forbids.
    pub fn scram(password: &str) -> Result<Self, AuthError> {
        let prepared = stringprep::saslprep(password).map_err(|_| AuthError::Password)?;
        Ok(Self(Kind::Scram(Secret::of_text(prepared))))
    }

    /// WAMP-cryptosign: an Ed25519 private key, 64 hexadecimal digits.
    ///
    /// # Errors
    /// It is no such key.
    pub fn cryptosign(private_key: &str) -> Result<Self, AuthError> {
        cryptosign::Key::parse(private_key).map(|key| Self(Kind::Cryptosign(Box::new(key))))
    }

    /// Of cryptosign: binds the login to the TLS channel (`tls-exporter`, RFC 9266), so that nobody
    /// between both ends can pass it on. Needs TLS 1.3. Changes nothing for other methods.
    #[must_use]
    pub fn bound_to_channel(mut self) -> Self {
        if let Kind::Cryptosign(key) = &mut self.0 {
            key.is_bound = true;
        }
        self
    }

    /// Of cryptosign: the router must prove that it has the private key that belongs to this public
    /// one. Changes nothing for other methods.
    ///
    /// # Errors
    /// It is no such key.
    pub fn expecting_router(mut self, public_key: &str) -> Result<Self, AuthError> {
        let public_key = cryptosign::router_key(public_key)?;
        if let Kind::Cryptosign(key) = &mut self.0 {
            key.router = Some(public_key);
        }
        Ok(self)
    }

    /// The certificate that the client has shown in the TLS handshake.
    pub const fn tls() -> Self {
        Self(Kind::Tls)
    }

    /// The method's name in HELLO.
    pub const fn method(&self) -> &'static str {
        match &self.0 {
            Kind::Anonymous => "anonymous",
            Kind::Ticket(_) => "ticket",
            Kind::Wampcra(_) => "wampcra",
            Kind::Scram(_) => "wamp-scram",
            Kind::Cryptosign(_) => "cryptosign",
            Kind::Tls => "tls",
        }
    }
}

/// The method, and nothing of the secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credential").field(&self.method()).finish()
    }
}

/// One login under way, for whoever drives a [`crate::core::Core`] without the client.
pub struct Login {
    credentials: Vec<Credential>,
    authid: Option<String>,
    nonce: String,
    challenge: [u8; 32],
    /// `tls-exporter` of this connection, if there is one.
    channel: Option<[u8; 32]>,
    state: State,
}

enum State {
    Begun,
    /// What WELCOME must carry.
    ScramVerifier(String),
    Answered,
}

impl Login {
    /// `random` is fresh for each login.
    pub fn new(
        credentials: &[Credential],
        authid: Option<&str>,
        random: [u8; 56],
        channel: Option<[u8; 32]>,
    ) -> Self {
        let (nonce, challenge) = random.split_at(24);
        let mut own = [0; 32];
        own.copy_from_slice(challenge);
        let nonce = data_encoding::BASE64.encode(nonce);
        let (credentials, authid) = (credentials.to_vec(), authid.map(str::to_owned));
        Self { credentials, authid, nonce, challenge: own, channel, state: State::Begun }
    }

    /// `HELLO.Details` as far as the login goes.
    ///
    /// # Errors
    /// A login is to be bound to a channel that there is not.
    pub fn hello(&self, details: &mut Dict) -> Result<(), AuthError> {
        let methods = self.credentials.iter().map(|credential| credential.method().into());
        details.push(("authmethods".into(), Value::List(methods.collect())));
        details.extend(self.authid.as_deref().map(|authid| ("authid".into(), authid.into())));
        let mut extra = Dict::new();
        for Credential(kind) in &self.credentials {
            match kind {
                Kind::Scram(_) => extra.push(("nonce".into(), self.nonce.as_str().into())),
                Kind::Cryptosign(key) => {
                    key.hello(self.channel.is_some(), &self.challenge, &mut extra)?;
                }
                _ => {}
            }
        }
        if !extra.is_empty() {
            details.push(("authextra".into(), Value::Dict(extra)));
        }
        Ok(())
    }

    /// The `Signature` and `Extra` of AUTHENTICATE. May take long: keys are derived.
    ///
    /// # Errors
    /// There is no credential for the method, or the challenge is no good.
    pub fn answer(&mut self, method: &str, extra: &Dict) -> Result<(String, Dict), AuthError> {
        let offered = self.credentials.iter().find(|credential| credential.method() == method);
        let Some(Credential(kind)) = offered else {
            return Err(AuthError::Method(method.to_owned()));
        };
        self.state = State::Answered;
        match kind {
            Kind::Anonymous | Kind::Tls => Err(AuthError::Method(method.to_owned())),
            Kind::Ticket(ticket) => Ok((ticket.text().to_owned(), Dict::new())),
            Kind::Wampcra(secret) => Ok((wampcra::sign(secret, extra)?, Dict::new())),
            Kind::Scram(password) => {
                let authid = self.authid.as_deref().unwrap_or_default();
                let proof = scram::prove(password, authid, &self.nonce, extra)?;
                self.state = State::ScramVerifier(proof.verifier);
                let said = vec![
                    ("nonce".into(), proof.nonce.into()),
                    ("channel_binding".into(), Value::Null),
                ];
                Ok((proof.signature, said))
            }
            Kind::Cryptosign(key) => {
                let channel = self.channel.filter(|_| key.is_bound);
                key.answer(extra, channel.as_ref(), &self.challenge)
                    .map(|signature| (signature, Dict::new()))
            }
        }
    }

    /// Whether WELCOME is from whom it should be.
    ///
    /// # Errors
    /// The router has let the client in without a proof that was due.
    pub fn welcome(&self, details: &Dict) -> Result<(), AuthError> {
        let extra = match find(details, "authextra") {
            Some(Value::Dict(extra)) => Some(extra),
            _ => None,
        };
        match &self.state {
            State::Answered => Ok(()),
            State::ScramVerifier(expected) => {
                let said = extra.and_then(|extra| text(extra, "verifier"));
                let is_proven = said.is_some_and(|said| said == expected);
                if is_proven { Ok(()) } else { Err(AuthError::RouterUnproven) }
            }
            // Unchallenged: fine for those who prove nothing by an answer.
            State::Begun => {
                let is_fine = |Credential(kind): &Credential| match kind {
                    Kind::Scram(_) => false,
                    Kind::Cryptosign(key) => key.router.is_none(),
                    _ => true,
                };
                let joined_by = text(details, "authmethod");
                let mut by_it = self.credentials.iter().filter(|credential| {
                    joined_by.is_none_or(|method| method == credential.method())
                });
                if by_it.all(is_fine) { Ok(()) } else { Err(AuthError::RouterUnproven) }
            }
        }
    }
}

fn find<'a>(dict: &'a Dict, key: &str) -> Option<&'a Value> {
    dict.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

fn text<'a>(dict: &'a Dict, key: &str) -> Option<&'a str> {
    find(dict, key).and_then(Value::as_text)
}

/// A cost that the router demands, from 1 to `most`.
fn cost(extra: &Dict, key: &'static str, most: u64) -> Result<u32, AuthError> {
    let demanded = match find(extra, key) {
        Some(Value::UInt(number)) => *number,
        Some(Value::Int(number)) => u64::try_from(*number).unwrap_or_default(),
        _ => return Err(AuthError::Challenge(key)),
    };
    match u32::try_from(demanded) {
        Ok(0) => Err(AuthError::Challenge(key)),
        Ok(number) if demanded <= most => Ok(number),
        _ => Err(AuthError::TooCostly { what: key, demanded, most }),
    }
}

/// PBKDF2 of a second or so; a router that demands more wants to keep the client busy.
const MAX_ITERATIONS: u64 = 10_000_000;
