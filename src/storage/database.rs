//! The database of the store: opened and read once, written in transactions, and made anew from
//! the router's memory when a write has failed.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use redb::{DatabaseError, Error, ReadableDatabase, StorageError as RedbError, TableError};

use super::StorageReason;
use super::file::{Opening, Place};
use super::load;
use super::pending::Pending;
use super::tables::{self, FORMAT, FORMAT_KNOWN, Failure, META};
use crate::router::{Router, Saved};

#[derive(Debug)]
pub(super) struct Database {
    place: Place,
    state: State,
}

#[derive(Debug)]
enum State {
    Open(redb::Database),
    /// A write has failed: the file holds what the last transaction before it left.
    Closed,
    /// A sync has failed, or the file is gone or damaged: nothing in it can be relied upon.
    Unknown,
}

impl Database {
    pub(super) fn open(mut place: Place) -> Result<Self, StorageReason> {
        let file = place.open(Opening::Checked).map_err(|error| reason(error, place.path()))?;
        if claim(&file)? {
            place.sync_folder().map_err(StorageReason::Io)?;
        }
        // The file that was to replace this one, if the process ended before it did.
        place.clear_beside();
        Ok(Self { place, state: State::Open(file) })
    }

    pub(super) fn path(&self) -> &Path {
        self.place.path()
    }

    /// Reads what the router may hold. What is over its bounds passes through memory one by one.
    pub(super) fn load(&self, router: &Router) -> Result<Saved, StorageReason> {
        match &self.state {
            State::Open(file) => load::load(file, router),
            State::Closed | State::Unknown => Ok(Saved::default()),
        }
    }

    /// Writes all that is pending in one transaction, which is on disk when this returns. After a
    /// failure only [`Self::recover`] writes again.
    pub(super) fn write(&mut self, pending: &mut Pending) -> Result<(), Failure> {
        if pending.is_empty() {
            return Ok(());
        }
        let written = self.try_write(pending);
        match written {
            Ok(absent) => {
                pending.clear(absent);
                Ok(())
            }
            Err(failure) => {
                self.close();
                Err(failure)
            }
        }
    }

    fn try_write(&self, pending: &Pending) -> Result<Vec<(Arc<str>, u64)>, Failure> {
        let State::Open(file) = &self.state else { return Err(Error::DatabaseClosed.into()) };
        self.place.check_name()?;
        let writing = file.begin_write()?;
        let absent = tables::write(&writing, pending)?;
        writing.commit()?;
        Ok(absent)
    }

    /// After a failure: writes what is missing of what the router holds, to the file or, if that
    /// cannot be relied upon, to a new one in its place.
    ///
    /// Returns what later records are measured by, and how many events were missing.
    pub(super) fn recover(&mut self, router: &Router) -> Result<(Pending, usize), Failure> {
        if !matches!(self.state, State::Unknown) {
            match self.place.open(Opening::Again) {
                Ok(file) => return self.fill(file, router),
                Err(error) if is_lost(&error) || self.place.has_sync_failed() => {
                    self.state = State::Unknown;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.replace(router)
    }

    fn fill(&mut self, file: redb::Database, router: &Router) -> Result<(Pending, usize), Failure> {
        let filled = fill(&file, router);
        self.state = State::Open(file);
        if filled.is_err() {
            self.close();
        }
        filled
    }

    fn replace(&mut self, router: &Router) -> Result<(Pending, usize), Failure> {
        let lock = self.place.lock()?;
        let replaced = self.try_replace(router);
        match replaced {
            Ok((file, filled)) => {
                self.state = State::Open(file);
                drop(lock);
                Ok(filled)
            }
            Err(failure) => {
                self.place.clear_beside();
                Err(failure)
            }
        }
    }

    fn try_replace(
        &mut self,
        router: &Router,
    ) -> Result<(redb::Database, (Pending, usize)), Failure> {
        let file = self.place.create_beside()?;
        let filled = fill(&file, router)?;
        self.place.take_place()?;
        Ok((file, filled))
    }

    /// After a failure the file has to be opened anew, or is lost.
    fn close(&mut self) {
        let is_gone = self.place.path().metadata().is_err_and(|e| e.kind() == ErrorKind::NotFound);
        let is_lost = is_gone || self.place.has_sync_failed();
        self.state = if is_lost { State::Unknown } else { State::Closed };
    }
}

fn fill(file: &redb::Database, router: &Router) -> Result<(Pending, usize), Failure> {
    let writing = file.begin_write()?;
    tables::prepare(&writing)?;
    let filled = tables::reconcile(&writing, router)?;
    writing.commit()?;
    Ok(filled)
}

/// Makes an empty file a store, and says if it did; any other must be one already.
fn claim(file: &redb::Database) -> Result<bool, StorageReason> {
    let reading = file.begin_read().map_err(damaged)?;
    match reading.open_table(META) {
        Ok(meta) => {
            let format = meta.get(FORMAT).map_err(damaged)?.map(|format| format.value());
            return match format {
                Some(FORMAT_KNOWN) => Ok(false),
                Some(found) => Err(StorageReason::Format { found, known: FORMAT_KNOWN }),
                None => Err(StorageReason::Foreign),
            };
        }
        Err(TableError::TableDoesNotExist(_)) => {}
        Err(TableError::Storage(error)) => return Err(damaged(error)),
        Err(_) => return Err(StorageReason::Foreign),
    }
    if reading.list_tables().map_err(damaged)?.next().is_some() {
        return Err(StorageReason::Foreign);
    }
    drop(reading);
    let writing = file.begin_write().map_err(Failure::from)?;
    tables::prepare(&writing)?;
    writing.commit().map_err(Failure::from)?;
    Ok(true)
}

/// Whether a file that was a store a moment ago is none any more.
fn is_lost(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::Storage(RedbError::Io(error)) => error.kind() == ErrorKind::NotFound,
        DatabaseError::Storage(RedbError::Corrupted(_)) | DatabaseError::RepairAborted => true,
        _ => false,
    }
}

fn reason(error: DatabaseError, path: &Path) -> StorageReason {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StorageReason::Locked,
        DatabaseError::Storage(RedbError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
            StorageReason::Foreign
        }
        DatabaseError::Storage(RedbError::Io(error)) if has_header(path) != Some(false) => {
            StorageReason::Io(error)
        }
        _ if has_header(path) == Some(false) => StorageReason::Foreign,
        other => StorageReason::Damaged(other.to_string()),
    }
}

/// Whether the file begins as every database of its kind; `None` if it cannot be read.
fn has_header(path: &Path) -> Option<bool> {
    let mut start = [0; 4];
    match File::open(path).ok()?.read_exact(&mut start) {
        Ok(()) => Some(&start == b"redb"),
        Err(error) => (error.kind() == ErrorKind::UnexpectedEof).then_some(false),
    }
}

pub(super) fn damaged(error: impl Into<Error>) -> StorageReason {
    match error.into() {
        Error::Io(error) => StorageReason::Io(error),
        other => StorageReason::Damaged(other.to_string()),
    }
}

impl From<Failure> for StorageReason {
    fn from(failure: Failure) -> Self {
        Self::Other(failure.to_string())
    }
}
