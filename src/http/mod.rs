//! IO: what HTTP requests on a listener get that are none for WAMP: files.
//!
//! Knows requests and answers, and no socket: `net::http` has the connections, and the thread
//! `http` on which all of this runs. Disks are read by the few threads behind that one.

mod answers;
mod content;
mod disk;
mod files;
#[allow(dead_code, reason = "those who open connections into the router are to come")]
mod inner;
mod site;

pub(crate) use content::Content;
pub(crate) use disk::{DISK_THREADS, Disk};
#[allow(unused_imports, reason = "as above")]
pub(crate) use inner::{
    Inner, InnerFrame, InnerPlace, InnerReader, InnerWriter, Inside, NotOpened,
};
pub(crate) use site::{Caller, Site, Sites, answer_elsewhere};
