//! A disk that fails when a test says so, behind a kernel that then forgets what it had to write.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{DatabaseError, StorageBackend};

use super::super::file::Place;

/// One disk with its files. The real file is what the kernel shows, the image what would be left
/// after a loss of power.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Bytes may not be written, as on a full disk.
    is_full: bool,
    /// So many syncs more fail.
    failing_syncs: usize,
    /// How often a file was opened.
    opened: usize,
    /// By inode.
    files: BTreeMap<u64, OnDisk>,
}

#[derive(Debug, Default)]
struct OnDisk {
    image: Vec<u8>,
    dirty: Vec<Range<u64>>,
}

#[derive(Debug)]
struct OpenFile {
    file: FileBackend,
    inode: u64,
    disk: Disk,
}

impl Disk {
    /// A store at `path` on this disk.
    pub(super) fn place(&self, path: &Path) -> Place {
        let disk = self.clone();
        Place::new(path, Box::new(move |file| disk.access(file)))
    }

    fn access(&self, file: File) -> Result<Box<dyn StorageBackend>, DatabaseError> {
        let metadata = file.metadata()?;
        let mut inner = self.0.lock();
        inner.opened += 1;
        if metadata.len() == 0 || !inner.files.contains_key(&metadata.ino()) {
            inner.files.insert(metadata.ino(), OnDisk::default());
        }
        let file = FileBackend::new(file)?;
        Ok(Box::new(OpenFile { file, inode: metadata.ino(), disk: self.clone() }))
    }

    pub(super) fn set_full(&self, is_full: bool) {
        self.0.lock().is_full = is_full;
    }

    pub(super) fn fail_syncs(&self, count: usize) {
        self.0.lock().failing_syncs = count;
    }

    pub(super) fn opened(&self) -> usize {
        self.0.lock().opened
    }

    /// Power is lost: of the file at `path` there is what was written to the disk.
    pub(super) fn lose_power(&self, path: &Path) {
        let inode = fs::metadata(path).unwrap().ino();
        fs::write(path, &self.0.lock().files[&inode].image).unwrap();
    }

    fn check_room(&self) -> io::Result<()> {
        if self.0.lock().is_full {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

impl StorageBackend for OpenFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.check_room()?;
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.disk.0.lock();
        let fails = inner.failing_syncs > 0;
        inner.failing_syncs = inner.failing_syncs.saturating_sub(1);
        let on_disk = inner.files.get_mut(&self.inode).unwrap();
        let dirty = std::mem::take(&mut on_disk.dirty);
        if fails {
            // The pages count as clean from here on, and are not on the disk.
            return Err(io::Error::other("the disk has lost a page"));
        }
        let length = self.file.len()?;
        on_disk.image.resize(usize::try_from(length).unwrap(), 0);
        for range in dirty {
            let end = range.end.min(length);
            let place = usize::try_from(range.start).unwrap()..usize::try_from(end).unwrap();
            self.file.read(range.start, &mut on_disk.image[place])?;
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.check_room()?;
        self.file.write(offset, data)?;
        let mut inner = self.disk.0.lock();
        let on_disk = inner.files.get_mut(&self.inode).unwrap();
        on_disk.dirty.push(offset..offset + data.len() as u64);
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
