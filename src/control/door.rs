//! Where the admin listener listens, and whom it lets in how: over TCP, plainly or with TLS, or on
//! a Unix socket.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::sleep;

use crate::address::Address;
use crate::config::{Admin, ListenAddress};
use crate::net::{LoneTls, SocketFile, listen_on_unix};

/// A socket that listens, before the runtime takes it.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(std::net::TcpListener),
    Unix(StdUnixListener, SocketFile),
}

impl Bound {
    pub(super) fn new(address: &ListenAddress, admin: &Admin) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(listener))
            }
            ListenAddress::Unix(path) => {
                let mode = admin.unix_mode.unwrap_or(OWNER_ALONE);
                let (listener, file) = listen_on_unix(path, mode)?;
                Ok(Self::Unix(listener, file))
            }
        }
    }

    /// Where it listens; port 0 is resolved.
    pub(super) fn address(&self, asked: &ListenAddress) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            Self::Unix(..) => Ok(asked.clone()),
        }
    }
}

/// A socket that the runtime accepts from.
#[derive(Debug)]
pub(super) struct Door {
    listening: Listening,
    tls: Option<Arc<LoneTls>>,
}

#[derive(Debug)]
enum Listening {
    Tcp(TcpListener),
    /// With its file, which is removed at the end.
    Unix {
        listener: UnixListener,
        _file: SocketFile,
    },
}

/// Somebody who has connected, and what is said first: `Some`: TLS.
pub(super) enum Visitor {
    Tcp(TcpStream, SocketAddr, Option<Arc<ServerConfig>>),
    Unix(UnixStream),
}

impl Visitor {
    pub(super) fn peer(&self) -> Address {
        match self {
            Self::Tcp(_, peer, _) => (*peer).into(),
            Self::Unix(_) => Address::UNIX,
        }
    }
}

impl Door {
    /// To be called in the runtime.
    pub(super) fn open(bound: Bound, tls: Option<Arc<LoneTls>>) -> io::Result<Self> {
        let listening = match bound {
            Bound::Tcp(listener) => Listening::Tcp(TcpListener::from_std(listener)?),
            Bound::Unix(listener, file) => {
                Listening::Unix { listener: UnixListener::from_std(listener)?, _file: file }
            }
        };
        Ok(Self { listening, tls })
    }

    /// The next one who comes; `None` if the system has none to give.
    pub(super) async fn accept(&self) -> Option<Visitor> {
        let accepted = match &self.listening {
            Listening::Tcp(listener) => listener.accept().await.map(|(stream, peer)| {
                Visitor::Tcp(stream, peer, self.tls.as_ref().map(|tls| tls.current()))
            }),
            Listening::Unix { listener, .. } => {
                listener.accept().await.map(|(stream, _)| Visitor::Unix(stream))
            }
        };
        match accepted {
            Ok(visitor) => Some(visitor),
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot accept");
                sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }
}

/// The permissions of a Unix socket if nothing else is configured: who opens it sees everything.
const OWNER_ALONE: u32 = 0o600;

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
