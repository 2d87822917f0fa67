//! What can stop a run: each variant names the boundary it came from. Losses and disorder are not
//! errors here; they are findings, counted in `measure::verify`.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}: not a usable URL ({1})")]
    Url(String, &'static str),
    #[error("{0}: {1}")]
    Io(&'static str, #[source] io::Error),
    #[error("client {client}: the transport handshake failed: {reason}")]
    Handshake { client: usize, reason: String },
    #[error("client {client}: the router refused: {message}")]
    Refused { client: usize, message: String },
    #[error("client {client}: malformed frame: {reason}")]
    Frame { client: usize, reason: &'static str },
    #[error("client {client}: the router closed the connection while the run was being set up")]
    ClosedEarly { client: usize },
    #[error("only {ready} of {wanted} clients were ready after {seconds} s")]
    NotReady { ready: usize, wanted: usize, seconds: u64 },
    #[error("none of {0} hostile clients could join; the router said: {1:?}")]
    NobodyJoined(usize, String),
    #[error(
        "{wanted} connections need {needed} open files, but the hard limit is {limit}; \
         use fewer clients or raise it (ulimit -Hn)"
    )]
    TooManyFiles { wanted: usize, needed: u64, limit: u64 },
    #[error("the router did not open {0} within {1} s")]
    NeverOpened(String, u64),
    #[error("the router ended by itself ({0}); --router-log keeps what it said")]
    RouterEnded(String),
    #[error("nothing came of the history of {0}; is one configured for this topic? {1}")]
    NoHistory(String, String),
    #[error("a generator thread has ended before its time")]
    GeneratorThread,
    #[error("process {0}: {1}")]
    Process(u32, String),
    #[error("{0}")]
    Usage(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Turns an `io::Result` into ours, saying what was being done.
pub trait Context<T> {
    fn context(self, doing: &'static str) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, doing: &'static str) -> Result<T> {
        self.map_err(|error| Error::Io(doing, error))
    }
}

impl<T> Context<T> for rustix::io::Result<T> {
    fn context(self, doing: &'static str) -> Result<T> {
        self.map_err(|error| Error::Io(doing, error.into()))
    }
}
