//! Sockets and threads around the pure core: event loops, the mesh between them, the acceptor.

mod acceptor;
mod event_loop;
mod hold;
pub mod mesh;
mod server;
mod socket;
mod store;

pub use server::{Server, StartError, StopError};
