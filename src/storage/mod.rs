//! The store: what survives the process. An embedded database, written by one thread in batches.
//!
//! Reads once, at start. From then on it only takes [`Deposit`]s, in whatever order the shards
//! hand them over, and says which are safe. What cannot be written is kept and tried again: it is
//! part of what the router holds in memory anyway, so it is bounded by the same limits.

mod database;
mod pending;
mod record;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::router::{Counters, Deposit, Receipt, Saved};
use database::{Database, Failure};
use pending::Pending;

/// Why a store cannot be used, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the store `{}`: {reason}", .path.display())]
pub struct StorageError {
    pub path: PathBuf,
    #[source]
    pub reason: StorageReason,
}

#[derive(Debug, thiserror::Error)]
pub enum StorageReason {
    #[error("another process uses it; give each router a file of its own (storage.path)")]
    Locked,
    #[error(
        "it is not a store of Stentor; name another file (storage.path), or move this one away"
    )]
    Foreign,
    #[error(
        "it was written by another version of Stentor (format {found}, this version has {known}); \
         name another file, or run the version that wrote it"
    )]
    Format { found: u64, known: u64 },
    #[error(
        "it is damaged ({0}); restore it from a copy, or move it away to start without history"
    )]
    Damaged(String),
    #[error("{0}; check that the directory exists and that Stentor may write to it")]
    Io(io::Error),
    #[error("{0}")]
    Other(String),
}

/// What became of one batch.
#[derive(Debug)]
pub struct Outcome {
    /// Who waits for it.
    pub receipts: Vec<Receipt>,
    pub is_saved: bool,
    /// The weight of the batch, which is off the queue.
    pub weight: usize,
}

/// An open store.
#[derive(Debug)]
pub struct Storage {
    database: Database,
    pending: Pending,
    counters: Arc<Counters>,
    is_failing: bool,
}

impl Storage {
    /// Opens or creates the store at `path`, and reads all of it. The file is checked as a whole.
    ///
    /// # Errors
    /// A file that is somebody else's, damaged, in use, or out of reach. It is left as it is.
    pub fn open(path: &Path, counters: Arc<Counters>) -> Result<(Self, Saved), StorageError> {
        let failed = |reason| StorageError { path: path.into(), reason };
        let database = Database::open(path).map_err(failed)?;
        let saved = database.load().map_err(failed)?;
        let pending = Pending::default();
        Ok((Self { database, pending, counters, is_failing: false }, saved))
    }

    /// Takes what the router does not need any more out of the store.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn clean(&mut self, records: Vec<crate::router::Record>) -> Result<(), StorageError> {
        records.into_iter().for_each(|record| self.pending.absorb(record));
        self.database.write(&mut self.pending).map_err(|failure| StorageError {
            path: self.database.path().into(),
            reason: failure.into(),
        })
    }

    /// Saves batches until every sender has gone. What waits while one is written is the next.
    pub fn run(
        mut self,
        deposits: &Receiver<(Vec<Deposit>, usize)>,
        mut report: impl FnMut(Outcome),
    ) {
        loop {
            let first = if self.pending.is_empty() {
                deposits.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                deposits.recv_timeout(RETRY)
            };
            match first {
                Ok(first) => {
                    let outcome = self.save(first, deposits);
                    report(outcome);
                }
                Err(RecvTimeoutError::Timeout) => drop(self.write()),
                Err(RecvTimeoutError::Disconnected) => {
                    if !self.pending.is_empty() {
                        self.write();
                    }
                    return;
                }
            }
        }
    }

    fn save(
        &mut self,
        first: (Vec<Deposit>, usize),
        deposits: &Receiver<(Vec<Deposit>, usize)>,
    ) -> Outcome {
        let mut outcome = Outcome { receipts: Vec::new(), is_saved: false, weight: 0 };
        let mut count = 0;
        let mut next = Some(first);
        while let Some((batch, weight)) = next {
            outcome.weight += weight;
            count += batch.len();
            for Deposit { records, receipt } in batch {
                records.into_iter().for_each(|record| self.pending.absorb(record));
                outcome.receipts.extend(receipt);
            }
            next = if outcome.weight < BATCH_BYTES { deposits.try_recv().ok() } else { None };
        }
        outcome.is_saved = self.write();
        let counter = if outcome.is_saved {
            &self.counters.deposits_saved
        } else {
            &self.counters.deposits_failed
        };
        counter.add(count as u64);
        outcome
    }

    /// Writes everything pending; false if that failed, and then it stays pending.
    fn write(&mut self) -> bool {
        let path = self.database.path().display().to_string();
        match self.database.write(&mut self.pending) {
            Ok(()) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(path, "the store can be written again, nothing is missing");
                }
                true
            }
            Err(failure) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    let hint = "acknowledged publications fail until it can";
                    tracing::error!(path, error = %failure, hint, "the store cannot be written");
                }
                false
            }
        }
    }
}

impl From<Failure> for StorageReason {
    fn from(failure: Failure) -> Self {
        Self::Other(failure.to_string())
    }
}

/// How long to wait before what could not be written is tried again, if nothing new comes.
const RETRY: Duration = Duration::from_secs(2);

/// Weight from which on a batch is written before more is taken, in bytes.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests;
