//! What lies under a connection: a socket, with TLS on it or without.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::unix::net as unix;

use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use socket2::{Domain, Type};

use crate::error::{Context, Error, Result};
use crate::tls::{Secured, Trust};
use crate::url::{Address, Target, Transport};

pub(super) enum Stream {
    Plain(Socket),
    Tls(Box<Secured<Socket>>),
}

pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Starts connecting, from `source` if given. A target with TLS needs `trust`.
    pub(super) fn connect(
        target: &Target,
        source: Option<IpAddr>,
        trust: Option<&Trust>,
    ) -> Result<Self> {
        let socket = match &target.address {
            Address::Tcp(address) => Socket::Tcp(match source {
                Some(source) => connect_from(source, *address)?,
                None => TcpStream::connect(*address).context("connecting")?,
            }),
            Address::Unix(path) => {
                let stream = unix::UnixStream::connect(path).context("connecting")?;
                stream.set_nonblocking(true).context("making a socket non-blocking")?;
                Socket::Unix(UnixStream::from_std(stream))
            }
        };
        if !target.tls {
            return Ok(Self::Plain(socket));
        }
        let Some(trust) = trust else {
            return Err(Error::Usage(format!(
                "{target} needs --ca FILE, the authority that has signed the router's certificate"
            )));
        };
        let secured = trust.secure(socket, &target.host)?;
        let is_greeted = target.transport == Transport::Nats;
        Ok(Self::Tls(Box::new(if is_greeted { secured.behind_a_line() } else { secured })))
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self.socket_mut() {
            Socket::Tcp(tcp) => registry.register(tcp, token, interest),
            Socket::Unix(unix) => registry.register(unix, token, interest),
        }
    }

    /// Whether a short read leaves the socket empty, so that the next bytes raise a new edge.
    pub(super) const fn is_drained_by_short_reads(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Whether bytes that were taken have not reached the socket.
    pub(super) fn holds_back(&self) -> bool {
        matches!(self, Self::Tls(secured) if secured.holds_back())
    }

    pub(super) fn shut_down(&self) {
        // The peer may have closed first; then there is nothing left to shut down.
        let _ = match self.socket() {
            Socket::Tcp(tcp) => tcp.shutdown(Shutdown::Both),
            Socket::Unix(unix) => unix.shutdown(Shutdown::Both),
        };
    }

    /// Sends small messages at once instead of collecting them.
    pub(super) fn set_nodelay(&self) {
        if let Socket::Tcp(tcp) = self.socket() {
            // A socket that fails here fails in the next read, where it is reported.
            let _ = tcp.set_nodelay(true);
        }
    }

    pub(super) fn set_receive_buffer(&self, bytes: usize) {
        // Not vital: the kernel would only buffer more.
        let _ = match self.socket() {
            Socket::Tcp(tcp) => set_socket_recv_buffer_size(tcp, bytes),
            Socket::Unix(unix) => set_socket_recv_buffer_size(unix, bytes),
        };
    }

    /// The error of a connection attempt that failed.
    pub(super) fn take_error(&self) -> Option<io::Error> {
        match self.socket() {
            Socket::Tcp(tcp) => tcp.take_error().ok().flatten(),
            Socket::Unix(_) => None,
        }
    }

    const fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(secured) => secured.socket(),
        }
    }

    const fn socket_mut(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(secured) => secured.socket_mut(),
        }
    }
}

/// Starts connecting from one of this machine's addresses, on a port that the system chooses.
fn connect_from(source: IpAddr, to: SocketAddr) -> Result<TcpStream> {
    let socket = socket2::Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), None)
        .context("making a socket")?;
    socket.bind(&SocketAddr::new(source, 0).into()).map_err(|error| {
        Error::Usage(format!("--source {source}: no connection can come from there: {error}"))
    })?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => {
            Err(Error::Io("connecting", error))
        }
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(secured) => secured.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(secured) => secured.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(secured) => secured.flush(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.read(buffer),
            Self::Unix(unix) => unix.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.write(bytes),
            Self::Unix(unix) => unix.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
