//! How a command of the shell ends when it does not end well: the exit code, and what standard
//! error says.

use std::io;
use std::path::PathBuf;

use stentor_client::auth::AuthError;
use stentor_client::{ConnectError, Error, LoginError, PayloadError};

use super::context::ContextError;
use super::settings::SettingsError;
use super::value::ValueError;

/// Why a command has not done what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Client(Error),
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error("{0}")]
    Usage(&'static str),
    #[error(
        "`{method}` needs a {kind}: --{flag}-file names a file with it, or STENTOR_{variable} \
         holds it",
        variable = flag.to_uppercase().replace('-', "_")
    )]
    NoSecret { method: String, kind: &'static str, flag: &'static str },
    #[error("the environment variable {0} is not set, or no text")]
    NoVariable(String),
    #[error("cannot read the {kind}: `{}`: {error}", path.display())]
    SecretFile { kind: &'static str, path: PathBuf, error: io::Error },
    #[error("the {0} is empty, or longer than 32 KiB")]
    Secret(&'static str),
    #[error("the {kind} cannot be used: {error}")]
    Credential { kind: &'static str, error: AuthError },
    #[error("no answer can be had: {0}")]
    System(io::Error),
    #[error("{0}")]
    Late(String),
    #[error("the connection is lost: {0}")]
    Lost(String),
    #[error("the router answers what cannot be understood: {0}")]
    Strange(String),
    #[error("a part of the command has ended too early, which is a bug: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// Whoever reads standard output has gone.
    #[error("nobody reads the output any more")]
    NoReader,
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    #[error("cannot read standard input: {0}")]
    Input(io::Error),
    #[error("interrupted")]
    Interrupted,
}

impl Fault {
    /// See [`EXIT_CODES`].
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::NoReader => 0,
            Self::Client(error) => code_of(error),
            Self::Late(_) => TIMEOUT,
            Self::Lost(_) => NO_CONNECTION,
            Self::Interrupted => INTERRUPTED,
            Self::Output(_)
            | Self::Input(_)
            | Self::System(_)
            | Self::Strange(_)
            | Self::Task(_) => ERROR,
            Self::Value(_)
            | Self::Settings(_)
            | Self::Context(_)
            | Self::Usage(_)
            | Self::NoSecret { .. }
            | Self::NoVariable(_)
            | Self::SecretFile { .. }
            | Self::Secret(_)
            | Self::Credential { .. } => USAGE,
        }
    }

    /// What standard error says; nothing where everybody knows.
    pub(crate) fn words(&self) -> Option<String> {
        match self {
            Self::NoReader | Self::Interrupted => None,
            Self::Client(Error::Wamp(failure)) => {
                let said = super::text::Said::of(&failure.payload).words();
                let space = if said.is_empty() { "" } else { ": " };
                Some(format!("error: {}{space}{said}", failure.uri))
            }
            other => Some(format!("error: {other}")),
        }
    }

    /// Whether another try may help: the router may not be there yet.
    pub(crate) fn is_momentary(&self) -> bool {
        match self {
            Self::Client(Error::Connect(ConnectError::Url { .. } | ConnectError::File { .. })) => {
                false
            }
            Self::Client(error) => code_of(error) == NO_CONNECTION,
            _ => false,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

impl From<PayloadError> for Fault {
    fn from(error: PayloadError) -> Self {
        Self::Client(error.into())
    }
}

fn code_of(error: &Error) -> u8 {
    match error {
        Error::Wamp(failure) => code_of_uri(&failure.uri),
        Error::Connect(ConnectError::Url { .. } | ConnectError::File { .. }) => USAGE,
        Error::Login(LoginError::Refused { reason, .. }) => match reason.as_str() {
            // It comes back, or another one takes its place.
            "wamp.close.system_shutdown" | "wamp.error.unavailable" => NO_CONNECTION,
            _ => REFUSED,
        },
        Error::Login(LoginError::Challenge(_)) => REFUSED,
        Error::Connect(_) | Error::Login(_) | Error::Closed { .. } => NO_CONNECTION,
        Error::Timeout => TIMEOUT,
        Error::Usage(_) | Error::Payload(_) => USAGE,
        _ => ERROR,
    }
}

fn code_of_uri(uri: &str) -> u8 {
    match uri {
        "wamp.error.not_authorized"
        | "wamp.error.authorization_denied"
        | "wamp.error.authorization_failed" => REFUSED,
        "wamp.error.timeout" => TIMEOUT,
        _ => ERROR,
    }
}

pub(crate) const ERROR: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const NO_CONNECTION: u8 = 3;
const TIMEOUT: u8 = 4;
pub(crate) const REFUSED: u8 = 5;
/// 128 and the number of SIGINT, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// What help and manual say of exit codes.
pub(crate) const EXIT_CODES: &str = "Exit codes: 0 done, 1 an error was answered (its URI is on \
     standard error), 2 wrong usage, 3 no connection, 4 not in time, 5 refused (login or \
     authorization), 130 interrupted. Standard output has data alone.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_code() {
        let refused = |reason: &str| {
            let reason = reason.to_owned();
            Error::Login(LoginError::Refused { reason, message: String::new() })
        };
        let url = ConnectError::Url { url: "x".to_owned(), why: "y" };
        let io = || ConnectError::Io { target: "x".to_owned(), error: io::Error::other("y") };
        for (error, code, is_momentary) in [
            (refused("wamp.error.authentication_denied"), REFUSED, false),
            (refused("wamp.error.no_such_realm"), REFUSED, false),
            (refused("wamp.close.system_shutdown"), NO_CONNECTION, true),
            (Error::Connect(url), USAGE, false),
            (Error::Connect(io()), NO_CONNECTION, true),
            (Error::Closed { may_have_happened: true }, NO_CONNECTION, true),
            (Error::Timeout, TIMEOUT, false),
        ] {
            let fault = Fault::from(error);
            assert_eq!((fault.code(), fault.is_momentary()), (code, is_momentary), "{fault}");
            assert!(fault.words().unwrap().starts_with("error: "));
        }
        assert_eq!(code_of_uri("wamp.error.not_authorized"), REFUSED);
        assert_eq!(code_of_uri("wamp.error.no_such_procedure"), ERROR);
        assert_eq!((Fault::NoReader.code(), Fault::NoReader.words()), (0, None));
        assert_eq!(Fault::Usage("x").code(), USAGE);
        assert_eq!(Fault::Late("x".to_owned()).code(), TIMEOUT);
        let no_key = Fault::NoSecret {
            method: "cryptosign".to_owned(),
            kind: "private key",
            flag: "private-key",
        };
        assert!(no_key.to_string().contains("STENTOR_PRIVATE_KEY"), "{no_key}");
        for code in ["0 done", "1 an error", "2 wrong", "3 no", "4 not", "5 refused", "130"] {
            assert!(EXIT_CODES.contains(code));
        }
    }
}
