//! Why there is no connection to NATS, or no bucket: for the operator, in whole sentences.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use async_nats::jetstream::ErrorCode;
use async_nats::{ConnectError, ConnectErrorKind};

/// Why a node cannot be reached by others.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    #[error("cannot read `{}`, which {key} of [cluster] names: {reason}", .file.display())]
    File { key: &'static str, file: PathBuf, reason: String },
    #[error(
        "NATS refuses the login: {0}; give [cluster] the credentials, the user and password_file, \
         the token_file or the nkey_file of an account for this cluster"
    )]
    Login(String),
    #[error(
        "cannot make a TLS connection to NATS: {0}; look at ca, certificate and key of [cluster]"
    )]
    Tls(String),
    #[error("cannot connect to NATS: {0}; does a server listen there (nats of [cluster])?")]
    Connect(String),
    #[error(
        "the NATS server has version {version}, and a cluster needs {major}.{minor} or newer: \
         upgrade it"
    )]
    OldServer { version: String, major: i64, minor: i64 },
    #[error(
        "the NATS server has no JetStream, or not for this account: start it with `-js`, or enable \
         JetStream in its configuration"
    )]
    NoJetStream,
    #[error(
        "NATS cannot keep {replicas} copies of the bucket `{bucket}`: {reason}; replicas of \
         [cluster] is at most the number of NATS servers with JetStream"
    )]
    Replicas { bucket: String, replicas: usize, reason: String },
    #[error(
        "the bucket `{bucket}` is not one that Stentor has made: {reason}; give the cluster \
         another name, or remove the bucket"
    )]
    Foreign { bucket: String, reason: &'static str },
    #[error("NATS does not give the bucket `{bucket}`: {reason}")]
    Bucket { bucket: String, reason: String },
    #[error("the connection to NATS is closed: {0}")]
    Closed(String),
}

/// Whether what came is not what TLS wants.
fn is_of_tls(error: &ConnectError) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
}

impl BusError {
    /// Whether waiting does not make it better.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::File { .. }
            | Self::Login(_)
            | Self::OldServer { .. }
            | Self::Replicas { .. }
            | Self::Foreign { .. } => true,
            Self::Tls(_)
            | Self::Connect(_)
            | Self::NoJetStream
            | Self::Bucket { .. }
            | Self::Closed(_) => false,
        }
    }

    pub(super) fn of_connect(error: ConnectError) -> Self {
        let said = error.to_string();
        match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                Self::Login(said)
            }
            ConnectErrorKind::Tls => Self::Tls(said),
            ConnectErrorKind::Io if is_of_tls(&error) => Self::Tls(said),
            _ => Self::Connect(said),
        }
    }

    pub(super) fn of_client(error: impl std::fmt::Display) -> Self {
        Self::Closed(error.to_string())
    }

    /// What the servers say of a bucket that is to be found or made.
    pub(super) fn of_bucket(
        bucket: &str,
        replicas: usize,
        code: Option<ErrorCode>,
        reason: String,
    ) -> Self {
        let bucket = bucket.to_owned();
        match code {
            Some(
                ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT,
            ) => Self::NoJetStream,
            Some(ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED) => {
                Self::Replicas { bucket, replicas, reason }
            }
            _ => Self::Bucket { bucket, reason },
        }
    }
}
