//! Why a store cannot be used, and what it could not save: for the operator, in whole sentences.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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

/// What the router held at its stop and the store does not have: it ends with the process.
#[derive(Debug)]
pub struct Unsaved {
    pub path: PathBuf,
    /// What the last try to write failed with.
    pub reason: String,
    /// Events by the key of their history: realm, match policy and topic.
    pub histories: Vec<(Box<str>, usize)>,
    /// Retained events by realm.
    pub retained: Vec<(Arc<str>, usize)>,
    /// Publications that came while the store could not be written; those with `acknowledge` were
    /// answered with an error. Not all of their events are still held.
    pub publications: u64,
    /// How long the store could not be written.
    pub outage: Duration,
}

impl Unsaved {
    /// All events that are lost.
    pub fn events(&self) -> usize {
        let of_histories = self.histories.iter().map(|(_, count)| count);
        of_histories.chain(self.retained.iter().map(|(_, count)| count)).sum()
    }
}

impl std::error::Error for Unsaved {}

impl fmt::Display for Unsaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, reason, publications, outage, .. } = self;
        write!(f, "the store `{}` could not be written at the stop ({reason}): ", path.display())?;
        let histories = self.histories.iter().map(|(key, count)| (count, "history", &**key));
        let retained = self.retained.iter().map(|(name, count)| (count, "realm", &**name));
        let all = self.histories.len() + self.retained.len();
        for (place, (count, of, name)) in histories.chain(retained).enumerate().take(NAMED) {
            let separator = if place == 0 { "" } else { ", " };
            let retained = if of == "realm" { "retained " } else { "" };
            let plural = if *count == 1 { "" } else { "s" };
            write!(f, "{separator}{count} {retained}event{plural} of the {of} `{name}`")?;
        }
        if all > NAMED {
            write!(f, " and those of {} more", all - NAMED)?;
        }
        if all == 0 {
            f.write_str("no event is missing, but events that were replaced are still in it")?;
        } else {
            f.write_str(" are lost")?;
        }
        let seconds = outage.as_secs();
        write!(
            f,
            "; {publications} publications came in the {seconds} s since it failed; make room, or \
             mend the disk, before the next start"
        )
    }
}

/// Histories and realms that a message names before it only counts the others.
const NAMED: usize = 8;
