//! The files under the database: how they are opened, and whether what they hold is known.
//!
//! After a failed sync it is not: the kernel may have dropped what it could not write, and then
//! shows the pages as if they were on the disk. Neither reading nor a second sync would tell.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, Builder, Database, DatabaseError, StorageBackend};

/// The place of a store, and what happened to the file there.
pub(super) struct Place {
    path: PathBuf,
    /// Device and inode of the file that was opened last.
    opened: Option<(u64, u64)>,
    sync_failed: Arc<AtomicBool>,
    access: Access,
}

/// How bytes get to a file; the tests have something on the way that breaks.
pub(super) type Access = Box<dyn Fn(File) -> Result<Box<dyn StorageBackend>, DatabaseError> + Send>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// At the start: it may be new, and every page of it is looked at.
    Checked,
    /// It was open before.
    Again,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.path).finish()
    }
}

impl Place {
    pub(super) fn new(path: &Path, access: Access) -> Self {
        Self { path: path.into(), opened: None, sync_failed: Arc::default(), access }
    }

    /// Where files are plain files.
    pub(super) fn plain(path: &Path) -> Self {
        Self::new(path, Box::new(|file| Ok(Box::new(FileBackend::new(file)?))))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn open(&mut self, opening: Opening) -> Result<Database, DatabaseError> {
        let is_start = opening == Opening::Checked;
        let mut options = options();
        let file = options.create(is_start).truncate(false).open(&self.path)?;
        self.database(file, is_start)
    }

    /// An empty file beside the store, to take its place once it is full.
    pub(super) fn create_beside(&mut self) -> Result<Database, DatabaseError> {
        let file = options().create(true).truncate(true).open(self.beside())?;
        self.database(file, false)
    }

    /// Puts the file beside the store in its place. Both names are on disk when this returns.
    pub(super) fn take_place(&self) -> io::Result<()> {
        fs::rename(self.beside(), &self.path)?;
        self.sync_folder()
    }

    /// Removes the file beside the store, so that a full disk is not fuller for the try.
    pub(super) fn clear_beside(&self) {
        match fs::remove_file(self.beside()) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let path = self.beside();
                tracing::warn!(path = %path.display(), %error, "cannot remove an unfinished store");
            }
            _ => {}
        }
    }

    /// Keeps other routers away from the file that is going to be replaced; `None` if there is
    /// none any more.
    pub(super) fn lock(&self) -> Result<Option<File>, DatabaseError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Err(DatabaseError::DatabaseAlreadyOpen),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// The name of a new file has to be on disk, too.
    pub(super) fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
    }

    /// # Errors
    /// The file that was opened does not bear the name any more: what is written to it is lost.
    pub(super) fn check_name(&self) -> io::Result<()> {
        if self.opened == Some(identity(&self.path.metadata()?)) {
            return Ok(());
        }
        Err(io::Error::other("another file has taken the place of the store"))
    }

    /// Whether a sync has failed since the last file was opened.
    pub(super) fn has_sync_failed(&self) -> bool {
        self.sync_failed.load(Ordering::SeqCst)
    }

    fn beside(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".stentor-new");
        name.into()
    }

    fn database(&mut self, file: File, is_checked: bool) -> Result<Database, DatabaseError> {
        self.sync_failed.store(false, Ordering::SeqCst);
        self.opened = Some(identity(&file.metadata()?));
        let file = (self.access)(file)?;
        let watched = Watched { file, sync_failed: Arc::clone(&self.sync_failed) };
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(is_checked);
        builder.create_with_backend(watched)
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// What clients published is nobody else's to read.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// A file that remembers a failed sync, which the database does not tell from a failed write.
#[derive(Debug)]
struct Watched {
    file: Box<dyn StorageBackend>,
    sync_failed: Arc<AtomicBool>,
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.file.sync_data();
        if synced.is_err() {
            self.sync_failed.store(true, Ordering::SeqCst);
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

/// Pages kept in memory. Writes touch few, and nothing is read after the start.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
