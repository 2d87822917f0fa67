//! The running router: real sockets, real threads, blocking clients.

#[path = "../sockets/mod.rs"]
mod sockets;

mod admin_doors;
mod asking;
mod authorization;
mod bridge;
mod bridge_events;
mod bridge_formats;
mod bridge_hostile;
mod bridge_tokens;
mod busiest;
mod certificates;
mod changing;
mod crowds;
mod deciding;
mod durable;
mod files;
mod foreseeing;
mod handover;
mod handover_hostile;
mod health;
mod history;
mod hostile;
mod https;
mod limits;
mod log;
mod logins;
mod longpoll;
mod managing;
mod measuring;
#[cfg(target_os = "linux")]
mod memory;
mod observing;
mod process;
mod proxies;
mod reload;
mod reload_often;
mod routing;
mod running;
#[cfg(target_os = "linux")]
mod service;
mod slow;
mod standing;
mod stopping;
#[cfg(target_os = "linux")]
mod terminal;
mod tls;
mod tls_files;
mod tls_hostile;
mod tls_renegotiation;
#[cfg(target_os = "linux")]
mod top;
mod tracing;
mod transports;
mod tuning;
mod webhooks;
