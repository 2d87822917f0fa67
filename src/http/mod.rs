//! IO: what HTTP requests on a listener get that are none for WAMP: files,
//! publications and calls, and WAMP in plain requests; and what is posted by HTTP to others.
//!
//! Knows requests and answers, and no socket: `net::http` has the connections, and the thread
//! `http` on which all of this runs. Disks are read by the few threads behind that one.

mod answers;
mod body;
mod bridge;
mod content;
mod disk;
mod files;
mod format;
mod inner;
mod longpoll;
mod room;
mod site;

pub(crate) use bridge::{Bridges, Crew, Letter, Webhook, WebhookView, signature};
pub(crate) use content::Content;
pub(crate) use disk::{DISK_THREADS, Disk};
pub(crate) use inner::{Inner, InnerPlace, Inside, NotOpened};
#[cfg(test)]
pub(crate) use inner::{InnerReader, InnerWriter};
pub(crate) use longpoll::{LongPolls, Polling};
pub(crate) use site::{Caller, Site, Sites, Staff, answer_elsewhere};
