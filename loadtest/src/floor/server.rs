//! The floor program's server: an epoll loop with no protocol. A publisher's message is a ready
//! frame; it goes out to every subscriber as it is. What a router takes more than this is its own
//! work.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

use crate::error::{Context, Result};

/// Serves until it is ended from outside.
pub fn serve(port: u16, coalesce: bool) -> Result<()> {
    let poll = Poll::new().context("making an event loop")?;
    let address = ([127, 0, 0, 1], port).into();
    let mut listener = TcpListener::bind(address).context("listening")?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)
        .context("registering the listener")?;
    let mut server = Server { poll, peers: Vec::new(), subscribers: Vec::new(), coalesce };
    let mut events = Events::with_capacity(1024);
    loop {
        match server.poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            outcome => outcome.context("waiting for events")?,
        }
        for event in events.iter() {
            if event.token() == LISTENER {
                server.accept(&listener)?;
            } else {
                server.handle(event.token().0, event.is_readable(), event.is_writable());
            }
        }
    }
}

struct Server {
    poll: Poll,
    peers: Vec<Peer>,
    subscribers: Vec<usize>,
    /// One write per socket for all messages of one read, instead of one write per message.
    coalesce: bool,
}

struct Peer {
    stream: TcpStream,
    is_publisher: bool,
    /// A publisher's half message.
    partial: Vec<u8>,
    /// What a subscriber's socket did not take.
    waiting: VecDeque<u8>,
}

impl Server {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    let peer = Peer::register(stream, self.peers.len(), self.poll.registry());
                    self.peers.push(peer.context("registering a connection")?);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("accepting"),
            }
        }
    }

    fn handle(&mut self, index: usize, readable: bool, writable: bool) {
        if writable {
            self.peers[index].write_waiting();
        }
        if readable {
            self.read(index);
        }
    }

    /// The first octet says what a client is; it is answered with one octet.
    fn read(&mut self, index: usize) {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let peer = &mut self.peers[index];
            let carried = peer.partial.len();
            buffer[..carried].copy_from_slice(&peer.partial);
            let count = match peer.stream.read(&mut buffer[carried..]) {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            };
            if peer.is_publisher {
                let filled = carried + count;
                let used = self.distribute(&buffer[..filled]);
                self.peers[index].keep(&buffer[used..filled]);
            } else {
                peer.is_publisher = buffer[0] == b'P';
                if !peer.is_publisher {
                    self.subscribers.push(index);
                }
                peer.write(b"R");
            }
        }
    }

    /// Sends all whole frames in `bytes` to all subscribers: how many bytes they were.
    fn distribute(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while let Some(&[_, a, b, c]) = bytes.get(used..used + 4) {
            let end = used + 4 + u32::from_be_bytes([0, a, b, c]) as usize;
            if end > bytes.len() {
                break;
            }
            if !self.coalesce {
                self.send(&bytes[used..end]);
            }
            used = end;
        }
        if self.coalesce && used > 0 {
            self.send(&bytes[..used]);
        }
        used
    }

    fn send(&mut self, bytes: &[u8]) {
        for index in &self.subscribers {
            self.peers[*index].write(bytes);
        }
    }
}

impl Peer {
    fn register(mut stream: TcpStream, index: usize, registry: &Registry) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        registry.register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, is_publisher: false, partial: Vec::new(), waiting: VecDeque::new() })
    }

    fn keep(&mut self, rest: &[u8]) {
        self.partial.clear();
        self.partial.extend_from_slice(rest);
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut written = 0;
        if self.waiting.is_empty() {
            written = self.stream.write(bytes).unwrap_or(0);
        }
        self.waiting.extend(&bytes[written..]);
    }

    fn write_waiting(&mut self) {
        while !self.waiting.is_empty() {
            let (front, _) = self.waiting.as_slices();
            match self.stream.write(front) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(_) => return,
            }
        }
    }
}

const LISTENER: Token = Token(usize::MAX - 1);
const READ_BYTES: usize = 256 << 10;
