//! What can go wrong, one enum per boundary, as applications meet it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use stentor_protocol::codec::EncodeError;
use stentor_protocol::wamp::{Dict, quote};

use crate::auth::AuthError;
use crate::payload::{Payload, PayloadError};

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The router or the callee has answered with ERROR.
    #[error("{0}")]
    Wamp(Failure),
    /// There is no connection to be had.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection stands, but the router does not let the client into the realm.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// No answer within the time that the request was given.
    #[error("no answer came in time")]
    Timeout,
    /// The application has asked for what cannot be done.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// Arguments cannot be written, or are not what they should be.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The connection is gone, or was gone when the request was made.
    #[error("{}", closed(*may_have_happened))]
    Closed {
        /// Whether the request may have been carried out all the same: it was on its way when the
        /// connection was cut. It is never repeated.
        may_have_happened: bool,
    },
}

impl Error {
    /// The error URI, if the router or the callee has answered with one, or refused the login.
    pub fn uri(&self) -> Option<&str> {
        match self {
            Self::Wamp(failure) => Some(&failure.uri),
            Self::Login(LoginError::Refused { reason, .. }) => Some(reason),
            _ => None,
        }
    }
}

const fn closed(may_have_happened: bool) -> &'static str {
    if may_have_happened {
        "the connection was lost before the answer came: whether the request was carried out is \
         not known"
    } else {
        "there is no connection: nothing was sent"
    }
}

/// An ERROR message: a URI, and the arguments that came with it.
#[derive(Clone)]
pub struct Failure {
    pub uri: String,
    /// Boxed, as errors should be small.
    pub details: Box<Dict>,
    pub payload: Payload,
}

impl Failure {
    /// The first argument if it is a text: the explanation, by custom.
    pub fn message(&self) -> Option<String> {
        let (args, _) = self.payload.values().ok()?;
        args.first().and_then(|first| first.as_text()).map(str::to_owned)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            Some(message) => write!(f, "{}: {message}", self.uri),
            None => f.write_str(&self.uri),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    #[error("the URL {} cannot be used: {why}", quote(url))]
    Url { url: String, why: &'static str },
    #[error("cannot reach {target}: {error}")]
    Io { target: String, error: io::Error },
    #[error("no connection to {target} and no session within {timeout:?}")]
    Timeout { target: String, timeout: Duration },
    #[error("TLS with {target} has failed: {error}")]
    Tls { target: String, error: io::Error },
    #[error("the file {}: {why}", path.display())]
    File { path: PathBuf, why: String },
    #[error("{target} does not speak WAMP as expected: {why}")]
    Handshake { target: String, why: String },
}

/// Why a router does not let a client in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The router has said ABORT.
    #[error("the router refuses the session: {reason}{}", told(message))]
    Refused {
        /// An error URI, such as `wamp.error.authentication_denied`.
        reason: String,
        /// What it says to people; may be empty.
        message: String,
    },
    /// The router's CHALLENGE has no answer.
    #[error(transparent)]
    Challenge(#[from] AuthError),
    /// The connection ended first.
    #[error("the connection ended before there was a session: {0}")]
    Ended(String),
}

fn told(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

/// What the application has asked for, and cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    #[error("{} is no URI that can be {wanted}", quote(uri))]
    Uri { uri: String, wanted: &'static str },
    #[error("cannot send it: {0}")]
    Unsendable(EncodeError),
    #[error("{most} requests wait for their answers already")]
    TooManyRequests { most: usize },
    #[error("the call has ended: nothing can be sent to it any more")]
    Ended,
    #[error("{0}")]
    Setting(&'static str),
}

impl From<EncodeError> for UsageError {
    fn from(error: EncodeError) -> Self {
        Self::Unsendable(error)
    }
}
