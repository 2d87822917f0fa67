//! The store: what survives the process. An embedded database, written by one thread in batches.
//!
//! Reads once, at start. From then on it only takes [`Deposit`]s, in whatever order the shards
//! hand them over, and says which are safe. While it cannot write it keeps none of them: all that
//! is to be on disk stands in the router's memory as well, and is written from there afterwards.

mod database;
mod error;
mod file;
mod load;
mod outage;
mod pending;
mod record;
mod tables;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::router::{Batch, Counters, Deposit, Measures, Receipt, Record, Router, Saved};
use database::Database;
use file::Place;
use outage::{Backoff, Outage};
use pending::Pending;

pub use error::{StorageError, StorageReason, Unsaved};

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
    /// What goes into the next transaction; empty after each, whether it went well or not.
    pending: Pending,
    counters: Arc<Counters>,
    measures: Arc<Measures>,
    backoff: Backoff,
    /// While it cannot be written.
    outage: Option<Outage>,
}

impl Storage {
    /// Opens or creates the store at `path`, and reads what `router` may hold of it. The file is
    /// checked as a whole.
    ///
    /// # Errors
    /// A file that is somebody else's, damaged, in use, or out of reach. It is left as it is.
    pub fn open(path: &Path, router: &Router) -> Result<(Self, Saved), StorageError> {
        Self::open_at(Place::plain(path), router)
    }

    fn open_at(place: Place, router: &Router) -> Result<(Self, Saved), StorageError> {
        let path = place.path().to_owned();
        let failed = |reason| StorageError { path: path.clone(), reason };
        let database = Database::open(place).map_err(failed)?;
        let saved = database.load(router).map_err(failed)?;
        let counters = Arc::clone(router.storage_counters());
        let measures = Arc::clone(router.storage_measures());
        let (pending, backoff) = (Pending::default(), Backoff::default());
        Ok((Self { database, pending, counters, measures, backoff, outage: None }, saved))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.database.path()
    }

    /// Takes what the router does not need any more out of the store.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn clean(&mut self, records: Vec<Record>) -> Result<(), StorageError> {
        records.into_iter().for_each(|record| self.pending.absorb(record));
        self.database.write(&mut self.pending).map_err(|failure| StorageError {
            path: self.database.path().into(),
            reason: failure.into(),
        })
    }

    /// Saves batches until every sender has gone. What waits while one is written is the next.
    ///
    /// `router` is the one whose deposits come: what it holds is what the store is to hold.
    ///
    /// # Errors
    /// What could not be saved until the end, one last try included.
    pub fn run(
        mut self,
        router: &Router,
        deposits: &Receiver<Batch<Deposit>>,
        mut report: impl FnMut(Outcome),
    ) -> Result<(), Unsaved> {
        loop {
            let next = match &self.outage {
                None => deposits.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(outage) => deposits.recv_deadline(outage.next_try()),
            };
            if self.is_retry_due(now()) {
                self.retry(router, now());
            }
            match next {
                Ok(first) => report(self.save(first, deposits, router, now())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.finish(router, now()),
            }
        }
    }

    fn save(
        &mut self,
        first: Batch<Deposit>,
        deposits: &Receiver<Batch<Deposit>>,
        router: &Router,
        now: Instant,
    ) -> Outcome {
        let mut outcome = Outcome { receipts: Vec::new(), is_saved: false, weight: 0 };
        // What counts as held until all of it is written, or is not.
        let mut held = Vec::new();
        let mut next = Some(first);
        while let Some(batch) = next {
            outcome.weight += batch.weight;
            for Deposit { records, receipt, held: bytes } in batch.items {
                held.push(bytes);
                records.into_iter().for_each(|record| self.absorb(record, router));
                outcome.receipts.extend(receipt);
            }
            next = if outcome.weight < BATCH_BYTES { deposits.try_recv().ok() } else { None };
        }
        outcome.is_saved = self.write(now);
        let count = held.len() as u64;
        match &mut self.outage {
            None => self.counters.deposits_saved.add(count),
            Some(outage) => {
                outage.count_publications(count);
                self.counters.deposits_failed.add(count);
            }
        }
        outcome
    }

    fn absorb(&mut self, record: Record, router: &Router) {
        match &mut self.outage {
            None => self.pending.absorb(record),
            Some(outage) => outage.miss(record, router),
        }
    }

    /// Writes everything pending, if the store can be written; if that fails, an outage begins.
    fn write(&mut self, now: Instant) -> bool {
        if self.outage.is_some() {
            return false;
        }
        let begun = self::now();
        let written = self.database.write(&mut self.pending);
        let took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.measures.commits_us.note(took_us);
        let Err(failure) = written else { return true };
        let path = self.database.path().display();
        let hint = "publications to durable topics are kept in memory, and written when it can be; \
                    until then those with acknowledge get an error";
        tracing::error!(%path, error = %failure, hint, "the store cannot be written");
        self.counters.store_outages.increment();
        let failed = std::mem::take(&mut self.pending);
        self.outage = Some(Outage::begin(failed, failure.to_string(), &mut self.backoff, now));
        false
    }

    fn is_retry_due(&self, now: Instant) -> bool {
        self.outage.as_ref().is_some_and(|outage| outage.next_try() <= now)
    }

    /// Tries to end the outage.
    fn retry(&mut self, router: &Router, now: Instant) {
        let Some(mut outage) = self.outage.take() else { return };
        let begun = self::now();
        let recovered = self.database.recover(router);
        // A try may take long, and the wait for the next begins at its end.
        let now = now + begun.elapsed();
        match recovered {
            Ok((settled, written)) => {
                self.pending = settled;
                self.counters.store_recoveries.increment();
                outage.end(self.database.path(), written, &mut self.backoff, now);
            }
            Err(failure) => {
                self.counters.store_retries_failed.increment();
                let (path, reason) = (self.database.path(), failure.to_string());
                outage.goes_on(path, reason, &mut self.backoff, router, now);
                self.outage = Some(outage);
            }
        }
    }

    /// The last try, whether it is due or not.
    fn finish(&mut self, router: &Router, now: Instant) -> Result<(), Unsaved> {
        self.retry(router, now);
        match &self.outage {
            None => Ok(()),
            Some(outage) => Err(outage.unsaved(self.database.path(), router, now)),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of the store's own thread")]
fn now() -> Instant {
    Instant::now()
}

/// Weight from which on a batch is written before more is taken, in bytes.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests;
