//! The shell's commands as a user types them, against a router in the test's own process: data,
//! words, exit codes, and what hostile peers can make of them.
//!
//! Every wait is bounded by `PATIENCE`; each process is ended by the test that has started it.

#[path = "../server/running.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod running;
#[path = "../sockets/mod.rs"]
mod sockets;
#[cfg(target_os = "linux")]
#[path = "../server/terminal.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod terminal;

mod calls;
mod contexts;
mod events;
mod hostile;
mod logins;
mod measuring;
mod past;
mod publishing;
mod registering;
mod shell;
#[cfg(target_os = "linux")]
mod terminals;
