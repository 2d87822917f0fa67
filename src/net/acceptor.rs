//! One thread that accepts for all listeners and deals the sockets out to the emptiest shard.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Protocol, SockAddr, Socket as RawSocket, TcpKeepalive, Type};

use super::mesh::{Mesh, Parcel};
use super::socket::Socket;
use crate::config::{Config, ListenAddress, Listener};
use crate::router::ShardId;
use crate::shard::Admission;
use crate::transport::TransportRules;

/// A socket on its way to its shard.
#[derive(Debug)]
pub struct Accepted {
    pub(super) socket: Socket,
    pub(super) rules: Arc<TransportRules>,
    pub(super) peer: Box<str>,
    pub(super) admission: Admission,
}

/// How many connections each shard has, those on their way included.
#[derive(Debug)]
pub(super) struct Occupancy(Vec<AtomicUsize>);

impl Occupancy {
    pub(super) fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| AtomicUsize::new(0)).collect())
    }

    pub(super) fn leave(&self, shard: ShardId) {
        self.0[usize::from(shard.0)].fetch_sub(1, Ordering::Relaxed);
    }

    fn total(&self) -> usize {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Enters a connection at the shard with the fewest.
    fn enter_emptiest(&self) -> ShardId {
        let counts = (0u8..).zip(&self.0).map(|(n, count)| (count.load(Ordering::Relaxed), n));
        let (_, number) = counts.min().expect("a router has at least one shard");
        self.0[usize::from(number)].fetch_add(1, Ordering::Relaxed);
        ShardId(number)
    }
}

/// A listener that is bound.
#[derive(Debug)]
struct Bound {
    listener: Listening,
    rules: Arc<TransportRules>,
    /// The file to remove when a Unix listener ends.
    file: Option<PathBuf>,
}

#[derive(Debug)]
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

#[derive(Debug)]
pub(super) struct Acceptor {
    poll: Poll,
    listeners: Vec<Bound>,
    mesh: Arc<Mesh>,
    occupancy: Arc<Occupancy>,
    max_connections: usize,
    stopped: Receiver<()>,
}

/// Stops an acceptor from another thread.
#[derive(Debug)]
pub(super) struct StopAcceptor {
    waker: Waker,
    sender: Sender<()>,
}

impl StopAcceptor {
    pub(super) fn stop(&self) {
        // Full or disconnected: it was told already, or has ended.
        let _ = self.sender.try_send(());
        let _ = self.waker.wake();
    }
}

impl Acceptor {
    pub(super) fn new(
        max_connections: usize,
        mesh: Arc<Mesh>,
        occupancy: Arc<Occupancy>,
    ) -> io::Result<(Self, StopAcceptor)> {
        let poll = Poll::new()?;
        let (sender, stopped) = bounded(1);
        let waker = Waker::new(poll.registry(), STOP)?;
        let listeners = Vec::new();
        let acceptor = Self { poll, listeners, mesh, occupancy, max_connections, stopped };
        Ok((acceptor, StopAcceptor { waker, sender }))
    }

    /// Binds one listener and returns its address, with the port it got.
    pub(super) fn bind(
        &mut self,
        listener: &Listener,
        config: &Config,
    ) -> io::Result<ListenAddress> {
        let (mut listening, address, file) = match &listener.address {
            ListenAddress::Tcp(address) => {
                let tcp = TcpListener::from_std(bind_tcp(*address, config)?);
                let address = ListenAddress::Tcp(tcp.local_addr()?);
                (Listening::Tcp(tcp), address, None)
            }
            ListenAddress::Unix(path) => {
                let unix = bind_unix(path, listener.unix_mode)?;
                (Listening::Unix(unix), listener.address.clone(), Some(path.clone()))
            }
        };
        let token = Token(self.listeners.len());
        let registry = self.poll.registry();
        match &mut listening {
            Listening::Tcp(tcp) => tcp.register(registry, token, Interest::READABLE)?,
            Listening::Unix(unix) => unix.register(registry, token, Interest::READABLE)?,
        }
        let rules = Arc::new(rules(listener, config));
        self.listeners.push(Bound { listener: listening, rules, file });
        Ok(address)
    }

    /// Accepts until told to stop.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(16);
        let mut starved = false;
        let mut starved_polls = 0_u32;
        loop {
            // Without file descriptors the listeners stay ready, and no event tells of it again.
            let patience = starved.then_some(STARVED_PATIENCE);
            match self.poll.poll(&mut events, patience) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            if self.stopped.try_recv().is_ok() {
                return Ok(());
            }
            let was_starved = std::mem::take(&mut starved);
            for number in 0..self.listeners.len() {
                if let Err(error) = self.accept_all(number) {
                    starved = true;
                    if starved_polls.is_multiple_of(STARVED_POLLS_PER_LINE) {
                        let hint = "raise the limit of open files, or lower limits.connections";
                        tracing::warn!(%error, hint, "cannot accept connections, trying again");
                    }
                }
            }
            starved_polls = if was_starved && starved { starved_polls.wrapping_add(1) } else { 0 };
        }
    }

    /// Accepts what waits at one listener. An error is a lack of resources for more.
    fn accept_all(&self, number: usize) -> io::Result<()> {
        let bound = &self.listeners[number];
        let mut dealt: Vec<Vec<Accepted>> = self.mesh.shards().map(|_| Vec::new()).collect();
        let result = loop {
            match bound.accept() {
                Ok((socket, peer)) => self.deal(bound, socket, peer, &mut dealt),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if is_about_one_peer(&error) => {}
                Err(error) => break Err(error),
            }
        };
        for (shard, sockets) in self.mesh.shards().zip(dealt) {
            if !sockets.is_empty() {
                self.mesh.send(shard, Parcel::Accepted(sockets));
            }
        }
        result
    }

    fn deal(&self, bound: &Bound, socket: Socket, peer: Box<str>, dealt: &mut [Vec<Accepted>]) {
        let taken = self.occupancy.total();
        if taken >= self.max_connections + REFUSALS_AT_ONCE {
            return; // Not even an answer: the socket is dropped.
        }
        let full = taken >= self.max_connections;
        let admission = if full { Admission::Full } else { Admission::Welcome };
        let shard = self.occupancy.enter_emptiest();
        let rules = Arc::clone(&bound.rules);
        dealt[usize::from(shard.0)].push(Accepted { socket, rules, peer, admission });
    }
}

impl Bound {
    fn accept(&self) -> io::Result<(Socket, Box<str>)> {
        match &self.listener {
            Listening::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                Ok((Socket::Tcp(stream), peer.to_string().into()))
            }
            Listening::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                Ok((Socket::Unix(stream), "unix".into()))
            }
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // Somebody else may have removed it; nothing depends on it any more.
            let _ = fs::remove_file(file);
        }
    }
}

/// Linux hands the options of a listener on to every socket it accepts.
fn bind_tcp(address: std::net::SocketAddr, config: &Config) -> io::Result<std::net::TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
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
    socket.bind(&SockAddr::from(address))?;
    socket.listen(i32::try_from(config.tuning.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// A socket file that nobody listens on is left over from a router that died, and is replaced.
fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket());
    if is_socket && StdUnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    if let Some(mode) = mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(listener)
}

fn rules(listener: &Listener, config: &Config) -> TransportRules {
    TransportRules {
        message_bytes: config.limits.message_bytes,
        hello_bytes: config.limits.hello_bytes,
        http_head_bytes: config.limits.http_head_bytes,
        websocket: listener.websocket,
        rawsocket: listener.rawsocket,
        paths: listener.paths.clone(),
        codecs: listener.serializers.clone(),
        default_subprotocol: listener.default_serializer,
        allowed_origins: listener.origins.clone(),
        rawsocket_min_peer_bytes: listener.rawsocket_min_peer_bytes,
    }
}

/// Errors of accept(2) that only concern the connection that came.
fn is_about_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}

const STOP: Token = Token(usize::MAX);

/// How long to wait for file descriptors to be freed.
const STARVED_PATIENCE: Duration = Duration::from_millis(100);

/// Ten seconds between two lines about it.
const STARVED_POLLS_PER_LINE: u32 = 100;

/// Connections over the limit that get an answer; any more are dropped without one.
const REFUSALS_AT_ONCE: usize = 256;

const KEEPALIVE_PROBES: u64 = 3;
