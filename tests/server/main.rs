//! The running router: real sockets, real threads, blocking clients.

#[path = "../sockets/mod.rs"]
mod sockets;

mod asking;
mod authorization;
mod certificates;
mod crowds;
mod durable;
mod history;
mod hostile;
mod limits;
mod log;
mod logins;
#[cfg(target_os = "linux")]
mod memory;
mod process;
mod proxies;
mod reload;
mod routing;
mod running;
mod slow;
mod tls;
mod tls_files;
mod tls_hostile;
mod tls_renegotiation;
mod transports;
mod tuning;
