//! TLS of a listener that no shard serves: the same files, checked and watched in the same way.

use std::io;
use std::sync::Arc;
use std::thread;

use rustls::ServerConfig;

use super::certificates::CertificateError;
use super::context::TlsContext;
use super::watch::{Watch, watch};
use crate::config::Listener;

/// The certificates of one listener, read again when their files change, as long as this lives.
#[derive(Debug)]
pub(crate) struct LoneTls {
    context: Arc<TlsContext>,
    _watch: Watch,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoneTlsError {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("cannot start the thread that watches certificates: {0}")]
    Thread(#[from] io::Error),
}

impl LoneTls {
    /// Reads the files of a listener that has [`Listener::tls`], and starts a thread that looks
    /// after them.
    pub(crate) fn start(listener: &Listener) -> Result<Self, LoneTlsError> {
        let context = Arc::new(TlsContext::new(listener)?);
        let (watch, run) = watch(vec![Arc::clone(&context)]);
        // Its end is not waited for: it ends with `watch`.
        drop(thread::Builder::new().name("certificates-admin".to_owned()).spawn(run)?);
        Ok(Self { context, _watch: watch })
    }

    /// What a handshake that begins now is led by.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.context.current()
    }

    /// When each certificate expires, in seconds since 1970.
    pub(crate) fn expiries(&self) -> Vec<u64> {
        self.context.expiries()
    }
}
