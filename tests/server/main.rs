//! The running router: real sockets, real threads, blocking clients.

#[path = "../support/mod.rs"]
mod support;

mod hostile;
mod limits;
mod process;
mod routing;
mod slow;
mod transports;
