//! TLS of one connection: ciphertext on the side of the socket, plaintext on the other.
//!
//! A stream holds what has come and is no whole record or message yet, and what the socket has
//! refused. All else passes through buffers that the streams of a shard share.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustls::{HandshakeKind, ServerConfig};

use super::channel::{Channel, reason};
use super::context::TlsContext;
use super::open::OpenTls;
use super::records::{BUSY_ALERT, HANDSHAKE, MAX_RECORD_BYTES, first_record};
use super::share::{HANDSHAKE_UNITS, READ_UNITS, RECORD_UNITS, TlsShare};
use crate::net::socket::Socket;
use crate::shard::{LayerFault, LayerNews, LayerReport};
use crate::transport::TlsFault;

/// One connection.
#[derive(Debug)]
pub(in crate::net) struct TlsStream {
    state: State,
    /// Records that are not over; the last one may be incomplete.
    inbox: Vec<u8>,
    /// Bytes at the start of `inbox` that the channel has seen: of a message that is not whole.
    held: usize,
    /// Ciphertext that the socket has refused.
    unsent: Vec<u8>,
    /// Plaintext for which there was no room: of one record at most.
    left: Vec<u8>,
    /// What is wrong, to be told when all plaintext has been read.
    fault: Option<TlsFault>,
    /// The peer has said close_notify.
    has_peer_closed: bool,
    /// Nothing follows `unsent`.
    is_shut_down: bool,
}

#[derive(Debug)]
enum State {
    /// The first record has not come whole.
    Silent(Arc<TlsContext>),
    Shaking {
        channel: Box<Channel>,
        records: usize,
        bytes: usize,
        /// What a step costs that makes or checks signatures.
        step_units: usize,
    },
    Open(Box<Channel>),
    /// The peer speaks plainly: it may be told so.
    Plain,
    /// It has failed: what comes is thrown away, and so is what is to be said.
    Failed,
}

/// What a record led to.
#[derive(Default)]
pub(super) struct Fed {
    /// So many of the bytes that were offered are over.
    pub(super) used: usize,
    /// Bytes of plaintext that were filled in.
    filled: usize,
    /// The peer's last record: close_notify.
    pub(super) is_last: bool,
}

impl TlsStream {
    pub(in crate::net) const fn new(context: Arc<TlsContext>) -> Self {
        Self {
            state: State::Silent(context),
            inbox: Vec::new(),
            held: 0,
            unsent: Vec::new(),
            left: Vec::new(),
            fault: None,
            has_peer_closed: false,
            is_shut_down: false,
        }
    }

    /// What is left of it; `None`: it is not open, or has failed behind what was read.
    pub(in crate::net) fn into_open(self) -> Option<OpenTls> {
        let Self { state, inbox, held, unsent, left, fault, has_peer_closed, .. } = self;
        let (State::Open(channel), None) = (state, fault) else { return None };
        Some(OpenTls { channel, inbox, held, unsent, left, has_peer_closed })
    }

    /// Bytes that [`Self::write`] has taken and the socket has refused.
    pub(in crate::net) fn unsent_bytes(&self) -> usize {
        self.unsent.capacity()
    }

    /// Reads plaintext. Takes so much from the socket at most as it would without TLS, and deals
    /// with [`RECORDS_PER_READ`] records; the report says if there is more.
    ///
    /// # Errors
    /// Those of the socket. `WouldBlock` only if it says so; `Interrupted` if nothing came out of
    /// what came. 0 bytes are the end, for which the report may give a reason.
    pub(in crate::net) fn read(
        &mut self,
        socket: &mut Socket,
        share: &mut TlsShare,
        out: &mut [u8],
    ) -> io::Result<usize> {
        // Until the socket has said that it is empty.
        share.report = LayerReport { units: READ_UNITS, has_more: true, ..LayerReport::default() };
        let mut incoming = std::mem::take(&mut share.incoming);
        incoming.resize(MAX_HELD_BYTES + MAX_RECORD_BYTES + share.read_bytes, 0);
        let result = self.read_through(socket, share, &mut incoming, out);
        share.incoming = incoming;
        share.report.input_bytes = self.input_bytes();
        share.report.has_more |= !self.left.is_empty()
            || self.fault.is_some()
            || self.has_peer_closed
            || first_record(&self.inbox[self.held..]).is_some();
        result
    }

    fn read_through(
        &mut self,
        socket: &mut Socket,
        share: &mut TlsShare,
        incoming: &mut [u8],
        out: &mut [u8],
    ) -> io::Result<usize> {
        if !self.left.is_empty() {
            return Ok(self.take_left(out));
        }
        if let Some(fault) = self.fault.take() {
            share.report.fault = Some(LayerFault::Tls(fault));
            return Ok(0);
        }
        if self.has_peer_closed {
            return Ok(0);
        }
        if matches!(self.state, State::Plain | State::Failed) {
            let thrown_away = socket.read(&mut incoming[..share.read_bytes])?;
            share.report.units += thrown_away / COPIED_PER_UNIT;
            return if thrown_away == 0 { Ok(0) } else { Err(ErrorKind::Interrupted.into()) };
        }
        let mut length = self.inbox.len();
        if first_record(&self.inbox[self.held..]).is_none() {
            let room = &mut incoming[length..length + share.read_bytes];
            match socket.read(room)? {
                0 => return Ok(self.end_of_stream(share)),
                read => {
                    length += read;
                    // A short read means that the socket is empty.
                    share.report.has_more = read == share.read_bytes;
                }
            }
        } else if !self.may_go_on(share) {
            return Err(ErrorKind::Interrupted.into());
        }
        share.report.units += self.held / COPIED_PER_UNIT;
        incoming[..self.inbox.len()].copy_from_slice(&self.inbox);
        let incoming = &mut incoming[..length];
        let held = self.held;
        let (used, filled) = self.take_records(socket, share, incoming, out);
        if matches!(self.state, State::Plain | State::Failed) {
            (self.inbox, self.held) = (Vec::new(), 0);
        } else if used > 0 || length > self.inbox.len() || self.held != held {
            self.inbox = incoming[used..].to_vec();
        }
        if filled > 0 { Ok(filled) } else { Err(ErrorKind::Interrupted.into()) }
    }

    /// Whether this turn has time for a handshake, if it is one.
    const fn may_go_on(&self, share: &TlsShare) -> bool {
        matches!(self.state, State::Open(_)) || share.handshake_units > 0
    }

    /// Deals with whole records: how many bytes are over, and how many of plaintext there are.
    fn take_records(
        &mut self,
        socket: &mut Socket,
        share: &mut TlsShare,
        incoming: &mut [u8],
        out: &mut [u8],
    ) -> (usize, usize) {
        let (mut used, mut filled) = (0, 0);
        if matches!(self.state, State::Silent(_)) && incoming[0] != HANDSHAKE {
            self.state = State::Plain;
            self.fault = Some(TlsFault::Plain(incoming[0]));
            return (used, filled);
        }
        for _ in 0..RECORDS_PER_READ {
            let rest = &mut incoming[used..];
            let Some(length) = first_record(&rest[self.held..]) else { break };
            if !self.left.is_empty() || !self.may_go_on(share) {
                break;
            }
            let offered = self.held + length;
            match self.take_record(share, &mut rest[..offered], &mut out[filled..]) {
                Ok(fed) => {
                    used += fed.used;
                    filled += fed.filled;
                    self.held = offered - fed.used;
                    self.has_peer_closed = fed.is_last;
                }
                Err(fault) => self.fail(share, fault),
            }
            if self.has_peer_closed || self.fault.is_some() {
                break;
            }
        }
        // What it does not take is offered again when it can be written to.
        let _ = self.push(socket);
        (used, filled)
    }

    /// `record` has in front what is held of those before it.
    fn take_record(
        &mut self,
        share: &mut TlsShare,
        record: &mut [u8],
        out: &mut [u8],
    ) -> Result<Fed, TlsFault> {
        let length = record.len() - self.held;
        if let State::Silent(context) = &self.state {
            if !share.may_begin() {
                share.counters.tls_handshakes_refused.increment();
                self.unsent.extend_from_slice(&BUSY_ALERT);
                return Err(TlsFault::Busy);
            }
            let channel = Channel::new(ServerConfig::clone(&context.current()))
                .map_err(|error| TlsFault::Handshake(reason(&error)))?;
            share.counters.tls_handshakes_under_way.increment();
            // A chain of certificates is judged before there is an answer that could be seen.
            let step_units = if context.asks_clients() { 2 } else { 1 } * HANDSHAKE_UNITS;
            let channel = Box::new(channel);
            self.state = State::Shaking { channel, records: 0, bytes: 0, step_units };
        }
        match &mut self.state {
            State::Shaking { channel, records, bytes, step_units } => {
                *records += 1;
                *bytes += length;
                if *records > HANDSHAKE_RECORDS {
                    return Err(TlsFault::Handshake("it takes too many records"));
                }
                let answered = self.unsent.len();
                let fed = feed(channel, record, out, &mut self.left, &mut self.unsent);
                let has_answered = fed.is_err() || self.unsent.len() > answered;
                let is_over = !channel.is_handshaking();
                share.charge_handshake(has_answered || is_over, *step_units);
                if fed.is_ok() && is_over {
                    self.open(share);
                }
                fed.map_err(TlsFault::Handshake)
            }
            State::Open(channel) => {
                share.report.units += RECORD_UNITS;
                let fed = feed(channel, record, out, &mut self.left, &mut self.unsent);
                fed.map_err(TlsFault::Record)
            }
            State::Silent(_) | State::Plain | State::Failed => Ok(Fed::default()),
        }
    }

    /// The handshake has succeeded.
    fn open(&mut self, share: &mut TlsShare) {
        let State::Shaking { mut channel, .. } = std::mem::replace(&mut self.state, State::Failed)
        else {
            unreachable!("only a handshake ends so");
        };
        share.counters.tls_handshakes_under_way.subtract(1);
        match channel.handshake_kind() {
            HandshakeKind::Full => share.counters.tls_handshakes_full.increment(),
            HandshakeKind::FullWithHelloRetryRequest => {
                share.counters.tls_handshakes_retried.increment();
            }
            HandshakeKind::Resumed => share.counters.tls_handshakes_resumed.increment(),
        }
        let certificate = channel.client_certificate().map(Arc::new);
        let news = LayerNews::Secured { channel_id: channel.take_id(), certificate };
        share.report.news = Some(Box::new(news));
        self.state = State::Open(channel);
    }

    fn fail(&mut self, share: &TlsShare, fault: TlsFault) {
        if matches!(fault, TlsFault::Handshake(_)) {
            share.counters.tls_handshakes_failed.increment();
        }
        self.fault = Some(fault);
        self.leave(share);
        self.state = State::Failed;
    }

    /// A handshake that is under way is so no longer.
    pub(in crate::net) fn leave(&self, share: &TlsShare) {
        if matches!(self.state, State::Shaking { .. }) {
            share.counters.tls_handshakes_under_way.subtract(1);
        }
    }

    /// The socket has come to its end, which should have been told before.
    fn end_of_stream(&self, share: &mut TlsShare) -> usize {
        if matches!(self.state, State::Open(_)) {
            share.report.fault = Some(LayerFault::Tls(TlsFault::Truncated));
        }
        0
    }

    /// Reads what there was no room for.
    fn take_left(&mut self, out: &mut [u8]) -> usize {
        let length = self.left.len().min(out.len());
        out[..length].copy_from_slice(&self.left[..length]);
        if length == self.left.len() {
            self.left = Vec::new();
        } else {
            self.left.drain(..length);
        }
        length
    }

    /// Encrypts [`WRITE_BYTES`] at most, or nothing while the socket refuses earlier bytes.
    ///
    /// # Errors
    /// Those of the socket. `WouldBlock` if it has refused all that it was offered.
    pub(in crate::net) fn write(
        &mut self,
        socket: &mut Socket,
        share: &mut TlsShare,
        bytes: &[u8],
    ) -> io::Result<usize> {
        if !self.unsent.is_empty() {
            self.push(socket)?;
            if !self.unsent.is_empty() {
                return Ok(0);
            }
        }
        let channel = match &mut self.state {
            State::Plain => return if bytes.is_empty() { Ok(0) } else { socket.write(bytes) },
            State::Open(channel) => channel,
            // Nobody would understand it.
            State::Silent(_) | State::Shaking { .. } | State::Failed => return Ok(bytes.len()),
        };
        if bytes.is_empty() {
            return Ok(0);
        }
        let bytes = &bytes[..bytes.len().min(WRITE_BYTES)];
        let held = &mut self.inbox[..self.held];
        let sealed = channel.seal(held, bytes, &mut share.outgoing).map_err(io::Error::other)?;
        let sealed = &share.outgoing[..sealed];
        let written = match socket.write(sealed) {
            Ok(written) => written,
            Err(error) if is_refusal(&error) => 0,
            Err(error) => return Err(error),
        };
        self.unsent = sealed[written..].to_vec();
        Ok(bytes.len())
    }

    /// Says close_notify, then ends the sending side as soon as all is out.
    pub(in crate::net) fn shut_down_writing(&mut self, socket: &mut Socket) {
        self.say_close_notify();
        self.is_shut_down = true;
        self.go_on_writing(socket);
    }

    /// The socket takes bytes again.
    pub(in crate::net) fn go_on_writing(&mut self, socket: &mut Socket) {
        // A failure means that the peer is gone already, which the next read will tell.
        let is_out = self.unsent.is_empty() || self.push(socket).is_ok() && self.unsent.is_empty();
        if is_out && self.is_shut_down {
            socket.shut_down_writing();
        }
    }

    /// The socket is about to be closed: who has said close_notify gets it back.
    pub(in crate::net) fn close(&mut self, socket: &mut Socket, share: &TlsShare) {
        self.leave(share);
        if self.has_peer_closed && !self.is_shut_down {
            self.say_close_notify();
            // There is no second try.
            let _ = self.push(socket);
        }
    }

    fn say_close_notify(&mut self) {
        if let State::Open(channel) = &mut self.state {
            let mut alert = Vec::new();
            // Keys that have served for as much as they may say nothing more.
            let length = channel.seal_close_notify(&mut self.inbox[..self.held], &mut alert);
            self.unsent.extend_from_slice(&alert[..length.unwrap_or(0)]);
        }
    }

    /// Offers the socket what it has refused before.
    fn push(&mut self, socket: &mut Socket) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let written = socket.write(&self.unsent)?;
        if written == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        if written == self.unsent.len() {
            self.unsent = Vec::new();
        } else {
            self.unsent.drain(..written);
        }
        Ok(())
    }

    /// Bytes of memory for what has come and is not whole, or not read.
    const fn input_bytes(&self) -> usize {
        let shaking = if let State::Shaking { bytes, .. } = self.state { bytes } else { 0 };
        self.inbox.capacity() + self.left.capacity() + shaking
    }
}

/// Gives a channel one record, with what is held in front of it. Plaintext for which there is no
/// room goes to `left`.
pub(super) fn feed(
    channel: &mut Channel,
    record: &mut [u8],
    out: &mut [u8],
    left: &mut Vec<u8>,
    answer: &mut Vec<u8>,
) -> Result<Fed, &'static str> {
    let offered = record.len();
    let mut filled = 0;
    let deal = |plaintext: &[u8]| {
        let (now, later) = plaintext.split_at(plaintext.len().min(out.len() - filled));
        out[filled..filled + now.len()].copy_from_slice(now);
        filled += now.len();
        left.extend_from_slice(later);
    };
    let taken = channel.take(record, deal, answer).map_err(|error| reason(&error))?;
    if offered - taken.used > MAX_HELD_BYTES {
        return Err("a message is too long");
    }
    Ok(Fed { used: taken.used, filled, is_last: taken.is_last })
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Records that one read deals with: an empty one brings nothing and costs as much as any.
const RECORDS_PER_READ: usize = 256;

/// Records of one handshake; a client that splits its messages small needs a dozen.
const HANDSHAKE_RECORDS: usize = 64;

/// Bytes of records whose message is not whole; certificates have a few thousand.
const MAX_HELD_BYTES: usize = 64 * 1024;

/// Bytes that it costs a unit of work to keep over a read, or to throw away.
const COPIED_PER_UNIT: usize = 512;

/// Plaintext that one write takes.
const WRITE_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests;
