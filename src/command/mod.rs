//! The `stentor` command's own parts: its definition, its log and its signals, and the commands
//! that make files or ask a running router by its admin listener.
//!
//! What WAMP clients do from the command line is the room `shell`.

pub(crate) mod busiest;
pub(crate) mod cert;
pub(crate) mod changing;
pub(crate) mod cli;
#[cfg(feature = "cluster")]
pub(crate) mod connect;
pub(crate) mod explain;
pub(crate) mod explain_live;
pub(crate) mod health;
pub(crate) mod import;
pub(crate) mod logging;
pub(crate) mod nodes;
pub(crate) mod operator;
pub(crate) mod reload;
pub(crate) mod secrets;
pub(crate) mod service;
pub(crate) mod sessions;
pub(crate) mod signals;
pub(crate) mod standing;
pub(crate) mod stopping;
pub(crate) mod top;
pub(crate) mod trace;
mod unix_http;
