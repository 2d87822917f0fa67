//! Who a client is: the methods of authentication, each as HELLO, CHALLENGE and AUTHENTICATE have
//! it, and what a router must keep of its users for that.
//!
//! Pure: random bytes, the time and the users come in as arguments. Knows no connection and no
//! realm; `shard::login` asks it, and decides what follows. What takes long is handed out as a
//! [`Check`], to be run elsewhere.

mod candidate;
mod certificate;
mod check;
mod credential;
mod cryptosign;
mod dynamic;
mod endpoint;
mod failures;
mod gate;
mod json;
mod login;
mod phc;
mod scram;
mod secret;
mod settings;
mod ticket;
mod token;
mod wampcra;

pub use candidate::{Candidate, Referral, Resolved};
pub use certificate::{CertificateName, ClientCertificate};
pub use check::{Check, Consultation, Interest, Judgement, MissingKey, Proof, Referred, Wanted};
pub use credential::{BadCredential, Credential, Principal, Source};
pub use cryptosign::{PublicKey, RouterKey, generate_key};
pub use dynamic::{BadAnswer, Facts, Grant, Question, Transport};
pub use endpoint::{Endpoint, EndpointSettings, Procedure};
pub use failures::{Failures, Limited};
pub use gate::{Choice, Gate, Refusal, Request};
pub(crate) use json::{from_json, to_json};
pub use login::{ASKED, BY_HTTP, Fresh, Login, PROVIDER, TOKENS, Verdict};
pub use scram::{Kdf, ScramRecord};
pub use secret::Secret;
pub use settings::{AuthenticatorSettings, Method};
pub use ticket::{Argon2Cost, TicketHash};
pub use token::{
    Algorithm, BadKeys, Issuer, KeySet, Lease, MAX_TOKEN_BYTES, RoleRule, SECRET_BYTES, TokenError,
    TokenSettings, has_form_of_token,
};
pub use wampcra::CraKey;

/// Bytes of the longest authid that somebody can log in with.
pub const MAX_AUTHID_BYTES: usize = 256;
