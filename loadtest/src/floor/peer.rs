//! One connection of the floor program: its socket, its part, and what is not written yet.

use std::io::{self, Read, Write};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::wiring::Part;
use crate::tls::{Acceptor, Secured};

enum Stream {
    Plain(TcpStream),
    Tls(Box<Secured<TcpStream>>),
}

pub(super) struct Peer {
    pub(super) part: Part,
    stream: Stream,
    /// A half message.
    partial: Vec<u8>,
    /// What the socket did not take, or what is collected for the end of the turn.
    waiting: Vec<u8>,
    written: usize,
}

impl Peer {
    pub(super) fn register(
        mut stream: TcpStream,
        index: usize,
        acceptor: Option<&Acceptor>,
        registry: &Registry,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        registry.register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        let stream = match acceptor {
            Some(acceptor) => Stream::Tls(Box::new(acceptor.secure(stream)?)),
            None => Stream::Plain(stream),
        };
        let (partial, waiting) = (Vec::new(), Vec::new());
        Ok(Self { part: Part::New, stream, partial, waiting, written: 0 })
    }

    /// Puts the half message and then what the socket has into `buffer`: how much lies there.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) -> Option<usize> {
        let carried = self.partial.len();
        if carried == buffer.len() {
            buffer.resize(2 * carried, 0);
        }
        buffer[..carried].copy_from_slice(&self.partial);
        match self.stream.read(&mut buffer[carried..]) {
            Ok(0) | Err(_) => None,
            Ok(count) => Some(carried + count),
        }
    }

    /// Whether the socket is empty after a read that did not fill its buffer.
    pub(super) const fn is_drained_by_short_reads(&self) -> bool {
        matches!(self.stream, Stream::Plain(_))
    }

    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.partial.clear();
        self.partial.extend_from_slice(rest);
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        let mut written = 0;
        if self.waiting.is_empty() {
            written = self.stream.write(bytes).unwrap_or(0);
        }
        self.waiting.extend_from_slice(&bytes[written..]);
    }

    /// Keeps `bytes` for [`Peer::write_waiting`]: true if they are the first.
    pub(super) fn collect(&mut self, bytes: &[u8]) -> bool {
        self.waiting.extend_from_slice(bytes);
        self.waiting.len() == bytes.len()
    }

    pub(super) fn write_waiting(&mut self) {
        while self.written < self.waiting.len() {
            match self.stream.write(&self.waiting[self.written..]) {
                Ok(count) => self.written += count,
                Err(_) => return,
            }
        }
        self.waiting.clear();
        self.written = 0;
        // What it does not take now, it takes when it is writable.
        let _ = self.stream.flush();
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
