//! A blocking stream of either kind, TCP or Unix, whose every operation has a time limit.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, SockRef, Socket, Type};
use stentor::config::ListenAddress;

use super::PATIENCE;

#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    pub(crate) fn connect(address: &ListenAddress) -> io::Result<Self> {
        let stream = match address {
            ListenAddress::Tcp(address) => Self::Tcp(TcpStream::connect(address)?),
            ListenAddress::Unix(path) => Self::Unix(UnixStream::connect(path)?),
        };
        stream.limit(PATIENCE)?;
        Ok(stream)
    }

    /// Connects with a small receive buffer, so that the router soon notices a reader that stops.
    pub(crate) fn connect_small(address: &ListenAddress) -> Self {
        let ListenAddress::Tcp(address) = address else { panic!("only TCP has small buffers") };
        let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&(*address).into()).unwrap();
        let stream = Self::Tcp(socket.into());
        stream.limit(PATIENCE).unwrap();
        stream
    }

    /// Connects from another loopback address, which has ephemeral ports of its own.
    pub(crate) fn connect_from(source: SocketAddr, target: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        socket.bind(&source.into())?;
        socket.connect(&target.into())?;
        let stream = Self::Tcp(socket.into());
        stream.limit(PATIENCE)?;
        Ok(stream)
    }

    /// TLS over this stream, as a client of `name`; nothing is sent before the first write.
    pub(crate) fn secured(self, config: &Arc<ClientConfig>, name: &str) -> Self {
        let Self::Tcp(stream) = self else { panic!("only TCP is secured") };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        Self::Tls(Box::new(StreamOwned::new(connection, stream)))
    }

    pub(crate) fn tls(&mut self) -> &mut StreamOwned<ClientConnection, TcpStream> {
        let Self::Tls(stream) = self else { panic!("this stream is plain") };
        stream
    }

    /// The socket below.
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Tls(stream) => Some(&stream.sock),
            Self::Unix(_) => None,
        }
    }

    /// How long a step may take from now on.
    pub(crate) fn limit(&self, time: Duration) -> io::Result<()> {
        match self {
            Self::Tls(stream) => stream.sock.set_read_timeout(Some(time)),
            Self::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(time))?;
                stream.set_read_timeout(Some(time))
            }
            Self::Unix(stream) => {
                stream.set_write_timeout(Some(time))?;
                stream.set_read_timeout(Some(time))
            }
        }
    }

    pub(crate) fn try_clone(&self) -> Self {
        match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone().unwrap()),
            Self::Unix(stream) => Self::Unix(stream.try_clone().unwrap()),
            Self::Tls(_) => panic!("a TLS stream has one owner"),
        }
    }

    pub(crate) fn shut_down_writing(&self) {
        // The peer may have closed first.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            Self::Tls(stream) => stream.sock.shutdown(Shutdown::Write),
        };
    }

    /// Whether the peer has closed its side, as far as can be known now.
    pub(crate) fn is_closed(&self) -> bool {
        let Self::Tcp(stream) = self else { panic!("only TCP can be asked") };
        stream.set_nonblocking(true).unwrap();
        let is_closed = stream.peek(&mut [0]).is_ok_and(|peeked| peeked == 0);
        stream.set_nonblocking(false).unwrap();
        is_closed
    }

    /// Ends the connection with a reset instead of in order; a Unix socket just closes.
    pub(crate) fn reset(self) {
        if let Some(stream) = self.tcp() {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Self::Tls(stream) = self {
            return stream.flush();
        }
        Ok(())
    }
}
