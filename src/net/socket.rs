//! A stream or listening socket of either kind, TCP or Unix, without blocking.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::net::{RecvFlags, recv};

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A stream that no poller knows; it does not block.
#[derive(Debug)]
pub(super) enum OwnedSocket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    /// Registered once for both directions: readiness is edge-triggered and remembered.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interest),
            Self::Unix(stream) => stream.register(registry, token, interest),
        }
    }

    /// Hands it to whoever polls otherwise.
    ///
    /// # Errors
    /// If the poller does not let it go. The socket is closed then.
    pub(super) fn leave(self, registry: &Registry) -> io::Result<OwnedSocket> {
        Ok(match self {
            Self::Tcp(mut stream) => {
                stream.deregister(registry)?;
                OwnedSocket::Tcp(stream.into())
            }
            Self::Unix(mut stream) => {
                stream.deregister(registry)?;
                OwnedSocket::Unix(stream.into())
            }
        })
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    /// What [`Self::read`] would read, which stays where it is.
    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let peeked = match self {
            Self::Tcp(stream) => recv(stream, buffer, RecvFlags::PEEK),
            Self::Unix(stream) => recv(stream, buffer, RecvFlags::PEEK),
        };
        Ok(peeked?.0)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    /// Ends the sending side; the peer's last bytes can still be read.
    pub(super) fn shut_down_writing(&self) {
        // A failure means that the peer is gone already, which the next read will tell.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}
