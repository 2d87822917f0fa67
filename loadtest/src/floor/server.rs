//! The floor program's server: an epoll loop with no protocol. A message is a ready frame; it goes
//! out as it is, to every subscriber, or to a callee and back. What a router takes more than this
//! is its own work.

use std::io;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use super::peer::Peer;
use super::wiring::{Part, Wiring};
use crate::error::{Context, Result};
use crate::tls::Acceptor;
use crate::wire::floor::{self, ANSWER_BYTES, HELLO_BYTES, Introduction, REQUEST_BYTES};

/// Serves until it is ended from outside.
pub fn serve(port: u16, coalesce: bool) -> Result<()> {
    let poll = Poll::new().context("making an event loop")?;
    let address = ([127, 0, 0, 1], port).into();
    let mut listener = TcpListener::bind(address).context("listening")?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)
        .context("registering the listener")?;
    let mut server = Server {
        poll,
        acceptor: match std::env::var(IDENTITY) {
            Ok(pem) => Some(Acceptor::of_pem(pem.as_bytes())?),
            Err(_) => None,
        },
        peers: Vec::new(),
        wiring: Wiring::default(),
        coalesce,
        collecting: Vec::new(),
        buffer: vec![0; READ_BYTES],
    };
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
        for index in server.collecting.drain(..) {
            server.peers[index].write_waiting();
        }
    }
}

struct Server {
    poll: Poll,
    /// Encrypts, if the program was given a certificate.
    acceptor: Option<Acceptor>,
    peers: Vec<Peer>,
    wiring: Wiring,
    /// One write per socket for all messages of one read, or of one turn where several clients send
    /// to one; otherwise one write per message.
    coalesce: bool,
    /// Who is written to at the end of the turn.
    collecting: Vec<usize>,
    /// What every read fills.
    buffer: Vec<u8>,
}

impl Server {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    let (index, acceptor) = (self.peers.len(), self.acceptor.as_ref());
                    let peer = Peer::register(stream, index, acceptor, self.poll.registry());
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

    fn read(&mut self, index: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(filled) = self.peers[index].read(&mut buffer) {
            let used = self.pass_on(index, &buffer[..filled]);
            self.peers[index].keep(&buffer[used..filled]);
            if filled < buffer.len() && self.peers[index].is_drained_by_short_reads() {
                break;
            }
        }
        self.buffer = buffer;
    }

    /// Does with `bytes` what the client's part says: how many of them are done with.
    fn pass_on(&mut self, index: usize, bytes: &[u8]) -> usize {
        match &self.peers[index].part {
            Part::New => self.introduce(index, bytes),
            Part::Joining => {
                let is_whole = bytes.len() >= 4 + HELLO_BYTES;
                if is_whole {
                    self.peers[index].write(&floor::welcome());
                }
                if is_whole { bytes.len() } else { 0 }
            }
            Part::Publisher(_) if self.coalesce => {
                let used = floor::frames(bytes).last().map_or(0, |frame| frame.end);
                self.distribute(index, &bytes[..used]);
                used
            }
            Part::Subscriber => bytes.len(),
            Part::Publisher(_) | Part::Caller(_) | Part::Callee(_) => {
                let mut used = 0;
                for frame in floor::frames(bytes) {
                    used = frame.end;
                    self.relay(index, &bytes[frame]);
                }
                used
            }
        }
    }

    /// The first bytes say what a client is.
    fn introduce(&mut self, index: usize, bytes: &[u8]) -> usize {
        let Some((introduction, used)) = floor::read_introduction(bytes) else {
            return 0;
        };
        self.peers[index].part = self.wiring.enter(index, &introduction);
        let answer = [floor::READY; ANSWER_BYTES];
        let is_join = matches!(introduction, Introduction::Join);
        self.peers[index].write(if is_join { &answer } else { &answer[..1] });
        used
    }

    fn relay(&mut self, from: usize, frame: &[u8]) {
        let to = match &mut self.peers[from].part {
            Part::Publisher(_) => return self.distribute(from, frame),
            Part::Caller(wire) => {
                let callee = self.wiring.next_callee(*wire);
                if let Some(callee) = callee
                    && let Part::Callee(callers) = &mut self.peers[callee].part
                {
                    callers.push_back(from);
                }
                callee
            }
            Part::Callee(callers) => callers.pop_front(),
            Part::New | Part::Joining | Part::Subscriber => None,
        };
        let Some(to) = to else { return };
        if !self.coalesce {
            self.peers[to].write(frame);
        } else if self.peers[to].collect(frame) {
            self.collecting.push(to);
        }
    }

    fn distribute(&mut self, from: usize, frames: &[u8]) {
        if let Part::Publisher(wire) = self.peers[from].part
            && !frames.is_empty()
        {
            for index in self.wiring.subscribers(wire) {
                self.peers[*index].write(frames);
            }
        }
    }
}

/// The variable of the environment with the program's certificate and key, if it is to encrypt.
pub const IDENTITY: &str = "STENTOR_FLOOR_IDENTITY";
const LISTENER: Token = Token(usize::MAX - 1);
const READ_BYTES: usize = 256 << 10;
const _: () = assert!(READ_BYTES > REQUEST_BYTES + HELLO_BYTES, "a join fits one read");
