//! One connection: a non-blocking socket, what is left of a half-read frame, and what waits to be
//! written. It knows transports and framing; what the messages mean is the role's affair.

use std::io::{self, Read, Write};

use mio::{Registry, Token};

use tungstenite::handshake::client::generate_key;

use super::Access;
use super::stream::Stream;
use crate::error::{Context, Error, Result};
use crate::login::Login;
use crate::measure::pace::Room;
use crate::url::{Target, Transport};
use crate::wire::Serializer;
use crate::wire::deflate::{Agreed, Deflater, Inflater};
use crate::wire::floor::Introduction;
use crate::wire::frame::{self, Frame};
use crate::wire::handshake::{self, Expected};
use crate::wire::message::{Body, Matching, Opening, Parts};
use crate::wire::{nats, redis};

pub struct Link {
    pub index: usize,
    pub transport: Transport,
    pub serializer: Serializer,
    pub phase: Phase,
    /// When connecting began, nanoseconds.
    pub started_ns: u64,
    /// Does not read: for subscribers that stop.
    pub stalled: bool,
    /// Has ignored an edge or been told of the end, so that after a short read no new one may come.
    pub missed_edge: bool,
    /// True while the engine has it on its list of links to flush.
    pub dirty: bool,
    /// The next WAMP request id of this session.
    next_request: u64,
    /// What HELLO has said of it, while joining.
    nonce: String,
    stream: Stream,
    expected: Expected,
    /// The start of a frame whose end has not arrived.
    partial: Vec<u8>,
    fragments: Fragments,
    /// How messages are compressed, if that was agreed to.
    deflate: Option<Agreed>,
    /// Made for the first message that is compressed.
    deflater: Option<Box<Deflater>>,
    /// The number of the next compressed message, as the [`Inflater`] counts.
    next_compressed: u64,
    out: Vec<u8>,
    written: usize,
    body: Vec<u8>,
}

/// The frames so far of a message that comes in several.
#[derive(Default)]
pub struct Fragments {
    pub bytes: Vec<u8>,
    pub compressed: bool,
    /// Their length with their headers.
    pub wire_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The transport handshake is under way.
    Opening,
    /// HELLO is sent.
    Joining,
    Joined,
    /// GOODBYE is sent.
    Leaving,
    /// GOODBYE is answered.
    Left,
    Closed,
}

/// What a read brought.
pub enum ReadOutcome {
    /// So many bytes lie in the buffer; `more` says that the socket may hold further ones.
    Bytes {
        filled: usize,
        more: bool,
    },
    Empty,
    Closed,
}

impl Link {
    /// Starts connecting; the opening bytes go out when the socket becomes writable.
    pub fn connect(
        index: usize,
        (target, access): (&Target, &Access),
        serializer: Serializer,
        introduction: Introduction<'_>,
        started_ns: u64,
        registry: &Registry,
    ) -> Result<Self> {
        let mut stream = Stream::connect(target, access.source(index), access.trust.as_ref())?;
        stream.register(registry, Token(index)).context("registering a socket")?;
        let mut out = Vec::new();
        let deflate = access.deflate;
        let expected = handshake::open(target, serializer, introduction, deflate, &mut out);
        Ok(Self {
            index,
            transport: target.transport,
            serializer,
            phase: Phase::Opening,
            started_ns,
            stalled: false,
            missed_edge: false,
            dirty: false,
            next_request: 1,
            nonce: String::new(),
            stream,
            expected,
            partial: Vec::new(),
            fragments: Fragments::default(),
            deflate: None,
            deflater: None,
            next_compressed: 0,
            out,
            written: 0,
            body: Vec::new(),
        })
    }

    pub fn take_request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request - 1
    }

    /// Queues a publication as the other side understands it: its request id. Only WAMP
    /// acknowledges.
    pub fn publish(&mut self, acknowledge: bool, topic: &str, payload: &[u8]) -> u64 {
        let request = self.take_request();
        match self.transport {
            Transport::Floor | Transport::Bun => self.send_bytes(payload),
            Transport::Nats => nats::put_publish(topic, payload, &mut self.out),
            Transport::Redis => redis::put_publish(topic, payload, &mut self.out),
            Transport::WebSocket | Transport::RawSocket => {
                self.send(|body| body.publish(request, acknowledge, topic, payload));
            }
        }
        request
    }

    /// Asks for a subscription: false if there will be no answer because the client has it already.
    pub fn subscribe(&mut self, matching: Matching, topic: &str) -> bool {
        match self.transport {
            Transport::Floor | Transport::Bun => return false,
            Transport::Nats => nats::put_subscribe(topic, &mut self.out),
            Transport::Redis => redis::put_subscribe(topic, &mut self.out),
            Transport::WebSocket | Transport::RawSocket => {
                let request = self.take_request();
                self.send(|body| body.subscribe(request, matching, false, topic));
            }
        }
        true
    }

    pub fn call(&mut self, request: u64, parts: Parts, procedure: &str, payload: &[u8]) {
        if self.transport == Transport::Floor {
            self.send_bytes(payload);
        } else {
            self.send(|body| body.call(request, parts, procedure, payload));
        }
    }

    /// `more` says that it is not the last result.
    pub fn answer(&mut self, invocation: u64, more: bool, payload: &[u8]) {
        if self.transport == Transport::Floor {
            self.send_bytes(payload);
        } else {
            self.send(|body| body.yield_result(invocation, more, payload));
        }
    }

    /// Queues one WAMP message.
    pub fn send(&mut self, write: impl FnOnce(Body<'_>)) {
        let mut body = std::mem::take(&mut self.body);
        write(Body::new(self.serializer, &mut body));
        self.send_bytes(&body);
        self.body = body;
    }

    pub fn say_hello(&mut self, access: &Access) {
        let nonce = generate_key();
        let opening = match &access.login {
            Some(login) => login.opening(&nonce),
            None => Opening::ANONYMOUS,
        };
        self.send(|body| body.hello(&access.realm, &opening, access.progressive));
        self.nonce = nonce;
    }

    /// Answers the message CHALLENGE.
    pub fn authenticate(&mut self, login: &Login, challenge: &[u8]) -> Result<()> {
        let nonce = std::mem::take(&mut self.nonce);
        let answer = login
            .answer(self.serializer, challenge, &nonce)
            .map_err(|message| Error::Refused { client: self.index, message })?;
        self.send(|body| body.authenticate(&answer));
        Ok(())
    }

    /// Queues `message` in a frame, compressed if that was agreed to and makes it shorter.
    pub fn send_bytes(&mut self, message: &[u8]) {
        let text = self.serializer == Serializer::Json;
        if let Some(agreed) = self.deflate
            && message.len() >= DEFLATE_MIN_BYTES
        {
            let new = || Box::new(Deflater::new(agreed));
            if let Some(bytes) = self.deflater.get_or_insert_with(new).deflate(message) {
                return frame::put_compressed(text, bytes, &mut self.out);
            }
        }
        frame::put_message(self.transport, text, message, &mut self.out);
    }

    pub fn send_pong(&mut self, payload: &[u8]) {
        frame::put_pong(self.transport, payload, &mut self.out);
    }

    /// Queues a ping without a payload; WAMP's transports only.
    pub fn send_ping(&mut self) {
        frame::put_ping(self.transport, &mut self.out);
    }

    /// Takes back the second half of what waits to be written, to send it later or never.
    pub fn hold_back(&mut self) -> Vec<u8> {
        let half = self.written + self.queued_bytes() / 2;
        self.out.split_off(half)
    }

    /// Says nothing by itself, not even the handshake; before anything was written.
    pub fn stay_silent(&mut self) {
        self.out.clear();
    }

    /// Queues bytes without a frame, as what [`Link::hold_back`] took.
    pub fn send_unframed(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Bytes that wait to be written.
    pub const fn queued_bytes(&self) -> usize {
        self.out.len() - self.written
    }

    /// Whether something waits for the socket to take it.
    pub fn has_unsent(&self) -> bool {
        self.queued_bytes() > 0 || self.stream.holds_back()
    }

    /// Whether another message may be queued. A sender whose router reads no more waits; its
    /// latency goes on counting from the plan.
    pub fn room(&self) -> Room {
        match self.phase {
            Phase::Closed => Room::Never,
            _ if self.queued_bytes() > MAX_QUEUED_BYTES => Room::NotNow,
            _ => Room::Yes,
        }
    }

    /// Writes what the socket takes.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        match self.stream.flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            flushed => flushed,
        }
    }

    /// Puts the unread rest of the last read, and then what the socket has, into `scratch`.
    pub fn read(&mut self, scratch: &mut Vec<u8>) -> ReadOutcome {
        let carried = self.partial.len();
        if carried == scratch.len() {
            scratch.resize(2 * carried, 0);
        }
        scratch[..carried].copy_from_slice(&self.partial);
        loop {
            match self.stream.read(&mut scratch[carried..]) {
                Ok(0) => return ReadOutcome::Closed,
                Ok(count) => {
                    let filled = carried + count;
                    let is_short = filled < scratch.len();
                    let more = !(is_short && self.stream.is_drained_by_short_reads());
                    return ReadOutcome::Bytes { filled, more };
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return ReadOutcome::Empty;
                }
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    return ReadOutcome::Empty;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return ReadOutcome::Closed,
            }
        }
    }

    /// Keeps what a walk over the frames did not use.
    pub fn keep(&mut self, rest: &[u8]) {
        self.partial.clear();
        self.partial.extend_from_slice(rest);
    }

    /// Reads the answer to the transport handshake: how many bytes it took.
    pub fn finish_handshake(&mut self, buffer: &[u8]) -> Result<Option<usize>> {
        let opened = handshake::finish(self.transport, self.serializer, &self.expected, buffer)
            .map_err(|reason| Error::Handshake { client: self.index, reason })?;
        self.deflate = opened.and_then(|opened| opened.deflate);
        Ok(opened.map(|opened| opened.used))
    }

    /// Keeps the part of a message in `frame`, which begins at `at` in `buffer`.
    pub fn add_fragment(&mut self, frame: &Frame, buffer: &[u8], at: usize) {
        self.fragments.bytes.extend_from_slice(&buffer[frame.start..frame.end]);
        self.fragments.compressed |= frame.compressed;
        self.fragments.wire_bytes += frame.next - at;
    }

    pub fn take_fragments(&mut self) -> Fragments {
        std::mem::take(&mut self.fragments)
    }

    /// The message that came as `bytes`.
    pub fn inflate<'a>(
        &mut self,
        compressed: bool,
        bytes: &'a [u8],
        inflater: &'a mut Inflater,
    ) -> Result<&'a [u8]> {
        if !compressed {
            return Ok(bytes);
        }
        let plain = match self.deflate {
            Some(_) => inflater.inflate(bytes, &mut self.next_compressed),
            None => Err("a message is compressed, and that was not agreed to"),
        };
        plain.map_err(|reason| Error::Frame { client: self.index, reason })
    }

    pub fn close(&mut self) {
        self.phase = Phase::Closed;
        self.stream.shut_down();
    }

    /// Sends small messages at once instead of collecting them.
    pub fn set_nodelay(&self) {
        self.stream.set_nodelay();
    }

    /// Bounds what the kernel buffers for this client, in bytes. With little of it, what the client
    /// does not read soon waits in the router.
    pub fn set_receive_buffer(&self, bytes: usize) {
        self.stream.set_receive_buffer(bytes);
    }

    /// The error of a connection attempt that failed.
    pub fn take_error(&self) -> Option<io::Error> {
        self.stream.take_error()
    }
}

const MAX_QUEUED_BYTES: usize = 1 << 20;
/// Shorter messages go as they are.
const DEFLATE_MIN_BYTES: usize = 512;
