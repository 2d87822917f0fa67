//! The tables of the store, and the transactions on them.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{
    Builder, DatabaseError, Error, ReadableDatabase, ReadableTable, StorageError as RedbError,
    Table, TableDefinition, TableError, WriteTransaction,
};

use super::StorageReason;
use super::pending::{Change, Pending};
use super::record;
use crate::router::{Saved, SavedHistory, SavedRetained};
use crate::wamp::Timestamp;

/// An open file, or one that has to be opened again after a failure.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    file: Option<redb::Database>,
    open: Opener,
}

/// How to open the file; the tests have files that break.
struct Opener(Box<dyn Open>);

pub(super) trait Open: Fn(&Path) -> Result<redb::Database, DatabaseError> + Send {}

impl<F: Fn(&Path) -> Result<redb::Database, DatabaseError> + Send> Open for F {}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener")
    }
}

/// A failed write, as a sentence.
#[derive(Debug)]
pub(super) struct Failure(Error);

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, StorageReason> {
        let file = open_checked(path).map_err(|error| reason(error, path))?;
        Self::on(path, file, Opener(Box::new(open_plainly)))
    }

    fn on(path: &Path, file: redb::Database, open: Opener) -> Result<Self, StorageReason> {
        let database = Self { path: path.into(), file: Some(file), open };
        database.claim()?;
        Ok(database)
    }

    /// On a file that is opened as a test likes.
    #[cfg(test)]
    pub(super) fn opened_by(path: &Path, open: impl Open + 'static) -> Result<Self, StorageReason> {
        let file = open(path).map_err(|error| reason(error, path))?;
        Self::on(path, file, Opener(Box::new(open)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes an empty file a store; any other must be one already.
    fn claim(&self) -> Result<(), StorageReason> {
        let file = self.file.as_ref().expect("it was just opened");
        let reading = file.begin_read().map_err(damaged)?;
        match reading.open_table(META) {
            Ok(meta) => {
                let format = meta.get(FORMAT).map_err(damaged)?.map(|format| format.value());
                return match format {
                    Some(FORMAT_KNOWN) => Ok(()),
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
        let found = |error: Failure| StorageReason::from(error);
        let writing = file.begin_write().map_err(|e| found(e.into()))?;
        writing
            .open_table(META)
            .and_then(|mut meta| Ok(meta.insert(FORMAT, FORMAT_KNOWN).map(drop)?))
            .map_err(|e| found(e.into()))?;
        writing.open_table(HISTORIES).map(drop).map_err(|e| found(e.into()))?;
        writing.open_table(EVENTS).map(drop).map_err(|e| found(e.into()))?;
        writing.open_table(RETAINED).map(drop).map_err(|e| found(e.into()))?;
        writing.commit().map_err(|e| found(e.into()))?;
        // The name of a new file has to be on disk, too.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or_else(|| Path::new(".")));
        folder.and_then(|folder| folder.sync_all()).map_err(StorageReason::Io)
    }

    /// Reads everything.
    pub(super) fn load(&self) -> Result<Saved, StorageReason> {
        let file = self.file.as_ref().expect("it was just opened");
        let mut saved = Saved::default();
        let reading = file.begin_read().map_err(damaged)?;
        let events = reading.open_table(EVENTS).map_err(damaged)?;
        for row in reading.open_table(HISTORIES).map_err(damaged)?.iter().map_err(damaged)? {
            let (key, value) = row.map_err(damaged)?;
            let (id, evicted) = value.value();
            let mut history = SavedHistory {
                key: key.value().into(),
                evicted: (evicted != NEVER).then(|| Timestamp::from_unix_ms(evicted)),
                events: Vec::new(),
            };
            for row in events.range((id, 0)..=(id, u64::MAX)).map_err(damaged)? {
                let (place, bytes) = row.map_err(damaged)?;
                let event = record::decode_event(bytes.value()).ok_or_else(unreadable)?;
                history.events.push((place.value().1, Arc::new(event)));
            }
            saved.histories.push(history);
        }
        for row in reading.open_table(RETAINED).map_err(damaged)?.iter().map_err(damaged)? {
            let (place, bytes) = row.map_err(damaged)?;
            let (realm, number) = place.value();
            let (topic, event) = record::decode_retained(bytes.value()).ok_or_else(unreadable)?;
            saved.retained.push(SavedRetained { realm: realm.into(), number, topic, event });
        }
        Ok(saved)
    }

    /// Writes all that is pending in one transaction, which is on disk when this returns.
    pub(super) fn write(&mut self, pending: &mut Pending) -> Result<(), Failure> {
        match self.try_write(pending) {
            Ok(early) => {
                pending.clear(early);
                Ok(())
            }
            Err(failure) => {
                // After a failure the file has to be opened anew.
                self.file = None;
                Err(failure)
            }
        }
    }

    fn try_write(&mut self, pending: &Pending) -> Result<Vec<(Arc<str>, u64)>, Failure> {
        if self.file.is_none() {
            self.file = Some((self.open.0)(&self.path)?);
        }
        let file = self.file.as_ref().expect("it is open");
        let writing = file.begin_write()?;
        write_histories(&writing, pending)?;
        let early = write_retained(&writing, pending)?;
        writing.commit()?;
        Ok(early)
    }
}

fn write_histories(writing: &WriteTransaction, pending: &Pending) -> Result<(), Failure> {
    let mut histories = writing.open_table(HISTORIES)?;
    let mut events = writing.open_table(EVENTS)?;
    for key in &pending.forgotten {
        let id = histories.remove(&**key)?.map(|value| value.value().0);
        if let Some(id) = id {
            events.retain_in((id, 0)..=(id, u64::MAX), |_, _| false)?;
        }
    }
    for (key, history) in pending.histories.iter().filter(|(_, history)| history.is_dirty) {
        let known = histories.get(&**key)?.map(|value| value.value());
        let (id, evicted) = match known {
            Some(known) => known,
            None => (next_id(&histories)?, NEVER),
        };
        let latest = history.evicted.map_or(NEVER, Timestamp::unix_ms).max(evicted);
        if known != Some((id, latest)) {
            histories.insert(&**key, (id, latest))?;
        }
        for (number, event) in &history.events {
            events.insert((id, *number), record::encode_event(event).as_slice())?;
        }
        events.retain_in((id, 0)..(id, history.keep_from), |_, _| false)?;
    }
    Ok(())
}

/// Returns what was to be removed and was not there.
fn write_retained(
    writing: &WriteTransaction,
    pending: &Pending,
) -> Result<Vec<(Arc<str>, u64)>, Failure> {
    let mut early = Vec::new();
    if pending.retained.is_empty() {
        return Ok(early);
    }
    let mut table = writing.open_table(RETAINED)?;
    for ((realm, number), change) in &pending.retained {
        let place = (&**realm, *number);
        match change {
            Change::Put(topic, event) => {
                table.insert(place, record::encode_retained(topic, event).as_slice())?;
            }
            Change::Remove { came } => {
                if table.remove(place)?.is_none() && !came {
                    early.push((Arc::clone(realm), *number));
                }
            }
        }
    }
    Ok(early)
}

fn next_id(histories: &Table<'_, &'static str, (u64, i64)>) -> Result<u64, Failure> {
    let mut next = 1;
    for row in histories.iter()? {
        next = next.max(row?.1.value().0 + 1);
    }
    Ok(next)
}

/// Opens or creates the file, and looks at every page of it.
fn open_checked(path: &Path) -> Result<redb::Database, DatabaseError> {
    let mut builder = builder();
    builder.set_check_integrity_on_open(true).create_with_backend(open_file(path, true)?)
}

fn open_plainly(path: &Path) -> Result<redb::Database, DatabaseError> {
    builder().create_with_backend(open_file(path, false)?)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// What clients published is nobody else's to read.
fn open_file(path: &Path, create: bool) -> Result<FileBackend, DatabaseError> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(create).truncate(false).mode(0o600);
    let file = options.open(path).map_err(|error| DatabaseError::Storage(RedbError::Io(error)))?;
    FileBackend::new(file)
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
    use std::io::Read as _;
    let mut start = [0; 4];
    match File::open(path).ok()?.read_exact(&mut start) {
        Ok(()) => Some(&start == b"redb"),
        Err(error) => (error.kind() == ErrorKind::UnexpectedEof).then_some(false),
    }
}

fn damaged(error: impl Into<Error>) -> StorageReason {
    match error.into() {
        Error::Io(error) => StorageReason::Io(error),
        other => StorageReason::Damaged(other.to_string()),
    }
}

fn unreadable() -> StorageReason {
    StorageReason::Damaged("an event in it cannot be read".into())
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("stentor");
/// By key: the number that stands for it in [`EVENTS`], and the latest time among the evicted, in
/// milliseconds since the epoch.
const HISTORIES: TableDefinition<'_, &str, (u64, i64)> = TableDefinition::new("histories");
/// By history and number.
const EVENTS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("events");
/// By realm and number.
const RETAINED: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("retained");

const FORMAT: &str = "format";
const FORMAT_KNOWN: u64 = 1;

/// Nothing was ever evicted.
const NEVER: i64 = i64::MIN;

/// Pages kept in memory. Writes touch few, and nothing is read after the start.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
