//! Sockets that a service manager has bound and passed on (socket activation, sd_listen_fds(3)).
//!
//! A listener takes the one that has its name, or else the one that has its address. What is passed
//! and taken by nobody is an error: clients would wait there for ever.

use std::env;
use std::io;
use std::os::fd::AsFd;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use super::listening::Listening;
use crate::config::{Config, ListenAddress, Listener};

/// Sockets that were passed to this process and wait for their listeners.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Passed>);

#[derive(Debug)]
struct Passed {
    /// What the service manager calls it (`FileDescriptorName=`).
    name: String,
    address: ListenAddress,
    listening: Listening,
}

/// Why passed sockets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritedError {
    #[error(
        "the service manager has passed a descriptor (the {number}. one, `{name}`) that is no \
         listening socket of a stream: write `ListenStream=` in its .socket unit, and no \
         `Accept=yes`"
    )]
    NoListener { number: usize, name: String },
    #[error("the socket `{name}` that the service manager has passed cannot be used: {source}")]
    Unusable { name: String, source: io::Error },
    #[error(
        "the service manager has passed a socket on {address} (`{name}`), and no listener wants \
         it: add a `[[listener]]` with `listen = \"{address}\"` or `name = \"{name}\"`, or take it \
         out of the .socket unit"
    )]
    Unclaimed { name: String, address: ListenAddress },
}

impl Inherited {
    /// Takes over what was passed to this process by `LISTEN_FDS` and `LISTEN_PID`, with the names
    /// of `LISTEN_FDNAMES`; nothing, if they are not set or meant for another process. Programs
    /// that this one starts get none of it. To be called once, before there are other threads, as
    /// the environment is changed.
    ///
    /// # Errors
    /// A descriptor that is no listening socket.
    pub fn from_env() -> Result<Self, InheritedError> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut passed = ListenFd::from_env();
        let count = passed.len();
        let take = |number: usize| {
            let name = names.next().filter(|name| !name.is_empty());
            take(&mut passed, number, name.unwrap_or_else(|| "unknown".to_owned()))
        };
        (0..count).map(take).collect::<Result<_, _>>().map(Self)
    }

    /// The socket of a listener, if it was passed.
    ///
    /// # Errors
    /// Options of the configuration that the system does not set.
    pub(super) fn take(
        &mut self,
        listener: &Listener,
        config: &Config,
    ) -> io::Result<Option<Listening>> {
        let named = |passed: &Passed| listener.name.as_ref() == Some(&passed.name);
        let placed = |passed: &Passed| listener.address == passed.address;
        // Sockets of one unit may share a name.
        let both = |passed: &Passed| named(passed) && placed(passed);
        let find = |is_meant: &dyn Fn(&Passed) -> bool| self.0.iter().position(is_meant);
        let found = find(&both).or_else(|| find(&named)).or_else(|| find(&placed));
        let Some(found) = found else { return Ok(None) };
        let Passed { address, listening, .. } = self.0.remove(found);
        listening.adopt(address, config).map(Some)
    }

    /// All listeners have taken what they want.
    ///
    /// # Errors
    /// A socket that is left.
    pub(super) fn finish(self) -> Result<(), InheritedError> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some(Passed { name, address, .. }) => Err(InheritedError::Unclaimed { name, address }),
        }
    }
}

fn take(passed: &mut ListenFd, number: usize, name: String) -> Result<Passed, InheritedError> {
    let made = if let Ok(Some(socket)) = passed.take_tcp_listener(number) {
        does_listen(&socket).then(|| Listening::passed_tcp(socket))
    } else if let Ok(Some(socket)) = passed.take_unix_listener(number) {
        does_listen(&socket).then(|| Listening::passed_unix(socket))
    } else {
        None
    };
    match made {
        Some(Ok((listening, address))) => Ok(Passed { name, address, listening }),
        Some(Err(source)) => Err(InheritedError::Unusable { name, source }),
        None => Err(InheritedError::NoListener { number: number + 1, name }),
    }
}

/// A connection that was accepted is a stream as well.
fn does_listen(socket: &impl AsFd) -> bool {
    socket_acceptconn(socket).unwrap_or(false)
}
