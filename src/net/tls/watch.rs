//! The thread that reads certificates again when their files change.
//!
//! It looks at times, sizes and inodes, and at where symbolic links lead, since certbot and
//! Kubernetes put new files in the place of old ones and tell nobody. What cannot be used is
//! refused, and said; the old certificates stay.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustls::pki_types::UnixTime;

use super::certificates::{Certificate, date};
use super::context::TlsContext;

/// Ends the thread when it is dropped.
#[derive(Debug)]
pub(in crate::net) struct Watch {
    _running: Sender<()>,
}

/// What tells one state of a file from another; `None` if it cannot be looked at.
pub(in crate::net) type Look = Option<(PathBuf, u64, u64, u64, i64, i64)>;

/// One listener, and what was seen of its files.
struct Watched {
    context: Arc<TlsContext>,
    files: Vec<PathBuf>,
    certificates: Vec<Certificate>,
    /// As they were when they were read.
    read: Vec<Look>,
    /// As they were a moment ago: files that still change are left alone.
    last: Vec<Look>,
    /// When it was last said that a certificate expires, in seconds since 1970.
    told: u64,
}

/// The work of the thread that watches the files of all `contexts`, and what ends it.
pub(in crate::net) fn watch(contexts: Vec<Arc<TlsContext>>) -> (Watch, impl FnOnce() + Send) {
    let (running, stopped) = bounded(0);
    let run = move || run(contexts, &stopped);
    (Watch { _running: running }, run)
}

fn run(contexts: Vec<Arc<TlsContext>>, stopped: &Receiver<()>) {
    let mut all: Vec<_> = contexts.into_iter().map(Watched::new).collect();
    loop {
        all.iter_mut().for_each(Watched::look);
        if stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

impl Watched {
    fn new(context: Arc<TlsContext>) -> Self {
        let files = context.files();
        let (read, certificates) = context.first().clone();
        Self { context, files, certificates, last: read.clone(), read, told: 0 }
    }

    fn look(&mut self) {
        let now: Vec<_> = self.files.iter().map(|file| look_at(file)).collect();
        let is_settled = now == self.last;
        self.last.clone_from(&now);
        if now != self.read && is_settled {
            self.read = now;
            self.reload();
        }
        self.warn_of_expiry(UnixTime::now().as_secs());
    }

    fn reload(&mut self) {
        let listener = self.context.listener().label();
        match self.context.reload() {
            Ok(certificates) => {
                self.certificates = certificates;
                self.told = 0;
                let expires = self.certificates.iter().map(|one| one.expires).min();
                let expires = expires.map(date).unwrap_or_default();
                tracing::info!(listener, expires, "certificates were read again");
            }
            Err(error) => {
                tracing::error!(listener, %error, "certificates changed and cannot be used, the \
                    old ones stay");
            }
        }
    }

    fn warn_of_expiry(&mut self, now: u64) {
        if now < self.told + DAY_SECONDS {
            return;
        }
        let soon = |one: &&Certificate| one.expires < now + WARNED_BEFORE_SECONDS;
        for one in self.certificates.iter().filter(soon) {
            self.told = now;
            let (certificate, expires) = (one.path.display(), date(one.expires));
            tracing::warn!(%certificate, expires, "a certificate expires soon: renew it");
        }
    }
}

pub(in crate::net) fn look_at(file: &Path) -> Look {
    let leads_to = fs::canonicalize(file).ok()?;
    let data = fs::metadata(&leads_to).ok()?;
    Some((leads_to, data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}

/// How often files are looked at. Twice as long passes before a change is noticed at the latest.
const INTERVAL: Duration = Duration::from_secs(1);

const DAY_SECONDS: u64 = 86_400;

/// How long before its end a certificate is spoken of, once a day.
const WARNED_BEFORE_SECONDS: u64 = 14 * DAY_SECONDS;
