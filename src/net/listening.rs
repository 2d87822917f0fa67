//! Listening sockets: how they are bound, with which options, and the file of a Unix socket.
//!
//! Knows nothing of connections; the acceptor's thread owns these sockets and accepts from them.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket as SystemSocket, TcpKeepalive, Type};

use super::socket::Socket;
use crate::address::Address;
use crate::config::{Config, ListenAddress, Listener};

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
    /// One that a service manager has bound, and keeps.
    Passed(Box<Self>, ListenAddress),
}

impl Listening {
    /// Binds a listener with the options of the configuration, and listens.
    ///
    /// # Errors
    /// The system's; `AddrInUse` also for a file that another program listens on, or that is no
    /// socket.
    pub(super) fn bind(listener: &Listener, config: &Config) -> io::Result<Self> {
        match &listener.address {
            ListenAddress::Tcp(address) => {
                let takes_ipv4 = config.takes_ipv4(&listener.address);
                bind_tcp(*address, takes_ipv4, config).map(Self::Tcp)
            }
            ListenAddress::Unix(path) => {
                let (socket, file) = bind_unix(path, listener.unix_mode, config.tuning.backlog)?;
                Ok(Self::Unix(UnixListener::from_std(socket), file))
            }
        }
    }

    /// Where it listens, with the port it got.
    pub(super) fn address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(ListenAddress::Tcp),
            Self::Unix(_, file) => Ok(ListenAddress::Unix(file.path.clone())),
            Self::Passed(_, address) => Ok(address.clone()),
        }
    }

    /// A socket that was passed to this process, and where it listens.
    pub(super) fn passed_tcp(socket: StdTcpListener) -> io::Result<(Self, ListenAddress)> {
        socket.set_nonblocking(true)?;
        let address = ListenAddress::Tcp(socket.local_addr()?);
        Ok((Self::Tcp(TcpListener::from_std(socket)), address))
    }

    /// The same of a Unix socket. Its file is not this process's to remove.
    pub(super) fn passed_unix(socket: StdUnixListener) -> io::Result<(Self, ListenAddress)> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let path = address.as_pathname().unwrap_or_else(|| Path::new("(no file)")).to_owned();
        let file = SocketFile { path: path.clone(), identity: None };
        Ok((Self::Unix(UnixListener::from_std(socket), file), ListenAddress::Unix(path)))
    }

    /// A passed socket gets the options of the configuration.
    pub(super) fn adopt(self, address: ListenAddress, config: &Config) -> io::Result<Self> {
        if let Self::Tcp(socket) = &self {
            set_options(&SockRef::from(socket), config)?;
        }
        Ok(Self::Passed(Box::new(self), address))
    }

    /// Whether connections wait there for the next process when this one has closed it.
    pub(super) const fn is_passed(&self) -> bool {
        matches!(self, Self::Passed(..))
    }

    /// Registered for readiness that is edge-triggered and must be remembered.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.register(registry, token, Interest::READABLE),
            Self::Unix(socket, _) => socket.register(registry, token, Interest::READABLE),
            Self::Passed(listening, _) => listening.register(registry, token),
        }
    }

    /// The next connection and where it comes from.
    pub(super) fn accept(&self) -> io::Result<(Socket, Address)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                Ok((Socket::Tcp(stream), peer.into()))
            }
            Self::Unix(socket, _) => {
                let (stream, _) = socket.accept()?;
                Ok((Socket::Unix(stream), Address::UNIX))
            }
            Self::Passed(listening, _) => listening.accept(),
        }
    }
}

/// The file of a Unix socket that this process listens on. Removed at the end, if it is still the
/// same file.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: Option<Identity>,
}

impl SocketFile {
    fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: Identity::of_socket(path) }
    }

    fn is_in_place(&self) -> bool {
        self.identity.is_some() && Identity::of_socket(&self.path) == self.identity
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have put another in its place, which is then not ours to remove.
        if self.is_in_place() {
            // Nothing depends on it any more.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Tells a file from another one that has its name later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// `None` if there is no file, or one that is no socket.
    fn of_socket(path: &Path) -> Option<Self> {
        let data = fs::symlink_metadata(path).ok()?;
        let is_socket = data.file_type().is_socket();
        is_socket.then(|| Self { device: data.dev(), inode: data.ino() })
    }
}

/// Linux hands the options of a listener on to every socket it accepts.
fn bind_tcp(address: SocketAddr, takes_ipv4: bool, config: &Config) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = SystemSocket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Said in any case, since systems differ in what they do without a word.
        socket.set_only_v6(!takes_ipv4)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    set_options(&socket, config)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(backlog(config.tuning.backlog))?;
    Ok(TcpListener::from_std(socket.into()))
}

/// What every accepted socket is to have.
fn set_options(socket: &SystemSocket, config: &Config) -> io::Result<()> {
    socket.set_tcp_nodelay(config.tuning.tcp_nodelay)?;
    if let Some(bytes) = config.tuning.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = config.tuning.recv_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    if config.timeouts.ping_interval_ms > 0 {
        let seconds = |ms: u64| Duration::from_secs(ms.div_ceil(1000).max(1));
        let keepalive = TcpKeepalive::new()
            .with_time(seconds(config.timeouts.ping_interval_ms))
            .with_interval(seconds(config.timeouts.ping_timeout_ms / KEEPALIVE_PROBES))
            .with_retries(KEEPALIVE_PROBES as u32);
        socket.set_tcp_keepalive(&keepalive)?;
    }
    Ok(())
}

fn bind_unix(
    path: &Path,
    mode: Option<u32>,
    waiting: u32,
) -> io::Result<(StdUnixListener, SocketFile)> {
    remove_dead(path)?;
    let socket = unix_socket()?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::of(path);
    if let Some(mode) = mode {
        // Nobody can connect before `listen`, so nobody meets other permissions.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(backlog(waiting))?;
    if !file.is_in_place() {
        let why = "another program replaced the file at the same moment";
        return Err(io::Error::new(ErrorKind::AddrInUse, why));
    }
    Ok((socket.into(), file))
}

/// Listens on a Unix socket that no shard serves; it does not wait in `accept`.
///
/// # Errors
/// As [`Listening::bind`].
pub(crate) fn listen_on_unix(path: &Path, mode: u32) -> io::Result<(StdUnixListener, SocketFile)> {
    bind_unix(path, Some(mode), UNIX_BACKLOG)
}

/// Removes the file that a dead router has left. Without proof of its death a file stays, and
/// `bind` says that the address is in use.
fn remove_dead(path: &Path) -> io::Result<()> {
    let Some(found) = Identity::of_socket(path) else { return Ok(()) };
    let answer = unix_socket()?.connect(&SockAddr::unix(path)?);
    let is_dead = answer.is_err_and(|error| proves_death(&error));
    if is_dead && Identity::of_socket(path) == Some(found) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Whether connect(2) says that no process has this socket any more. A full queue (EAGAIN), a lack
/// of rights (EACCES) or another type of socket (EPROTOTYPE) say nothing of the kind.
fn proves_death(error: &io::Error) -> bool {
    error.kind() == ErrorKind::ConnectionRefused
}

/// Does not wait in `connect` either.
fn unix_socket() -> io::Result<SystemSocket> {
    let socket = SystemSocket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn backlog(waiting: u32) -> i32 {
    i32::try_from(waiting).unwrap_or(i32::MAX)
}

/// Connections that may wait at a socket that no shard serves.
const UNIX_BACKLOG: u32 = 128;

const KEEPALIVE_PROBES: u64 = 3;

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use rustix::io::Errno;
    use tempfile::TempDir;

    use super::*;

    fn directory() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stentor.sock");
        (directory, path)
    }

    #[track_caller]
    fn check_left_alone(path: &Path) {
        let before = Identity::of_socket(path);
        let error = bind_unix(path, None, 8).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert_eq!((before.is_some(), before), (true, Identity::of_socket(path)));
    }

    #[test]
    fn only_a_refused_connection_proves_death() {
        for (errno, is_proof) in [
            (Errno::CONNREFUSED, true),
            (Errno::ACCESS, false),
            (Errno::PROTOTYPE, false),
            (Errno::AGAIN, false),
            (Errno::NOENT, false),
            (Errno::INTR, false),
        ] {
            assert_eq!(proves_death(&errno.into()), is_proof, "{errno}");
        }
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let (_directory, path) = directory();
        drop(StdUnixListener::bind(&path).unwrap());
        let (living, file) = bind_unix(&path, None, 8).unwrap();
        check_left_alone(&path);
        drop(living);
        assert!(path.exists());
        drop(file);
        assert!(!path.exists());
    }

    /// It was taken for dead: connect(2) says EPROTOTYPE.
    #[test]
    fn a_living_socket_of_another_type_is_left_alone() {
        let (_directory, path) = directory();
        let _datagrams = UnixDatagram::bind(&path).unwrap();
        check_left_alone(&path);
    }

    /// The probe waited for a place in the queue, and the start with it.
    #[test]
    fn a_living_socket_with_a_full_queue_is_left_alone() {
        let (_directory, path) = directory();
        let (_busy, _file) = bind_unix(&path, None, 1).unwrap();
        let clients: Vec<_> = std::iter::from_fn(|| {
            let client = unix_socket().unwrap();
            client.connect(&SockAddr::unix(&path).unwrap()).ok().map(|()| client)
        })
        .take(1000)
        .collect();
        assert!(clients.len() <= 2, "the backlog holds: {} wait", clients.len());
        check_left_alone(&path);
    }

    #[test]
    fn the_file_of_another_is_not_removed() {
        let (_directory, path) = directory();
        let (_first, file) = bind_unix(&path, None, 8).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = StdUnixListener::bind(&path).unwrap();
        drop(file);
        UnixStream::connect(&path).unwrap();
    }
}
