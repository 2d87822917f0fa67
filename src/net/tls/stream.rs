//! TLS of one connection: ciphertext on the side of the socket, plaintext on the other.
//!
//! A stream holds what has come and is no whole record yet, and what the socket has refused. All
//! else passes through buffers that the streams of a shard share.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::{Error as TlsError, HandshakeKind, ProtocolVersion, ServerConnection};

use super::certificates::certificate_of;
use super::context::TlsContext;
use super::records::{BUSY_ALERT, HANDSHAKE, MAX_RECORD_BYTES, first_record};
use crate::authentication::ClientCertificate;
use crate::net::socket::Socket;
use crate::router::Counters;
use crate::shard::{LayerFault, LayerNews, LayerReport};
use crate::transport::TlsFault;

/// What the streams of one shard share.
#[derive(Debug)]
pub(in crate::net) struct TlsShare {
    /// Ciphertext that was just read.
    incoming: Vec<u8>,
    /// Ciphertext that is about to be written.
    outgoing: Vec<u8>,
    read_bytes: usize,
    /// Units of work that handshakes may still take in this turn.
    handshake_units: usize,
    most_handshakes: u64,
    counters: Arc<Counters>,
    /// What the last read has to tell.
    report: LayerReport,
}

impl TlsShare {
    /// `most_handshakes` may be under way on this shard.
    pub(in crate::net) fn new(
        read_bytes: usize,
        most_handshakes: usize,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            incoming: Vec::new(),
            outgoing: Vec::new(),
            read_bytes,
            handshake_units: TURN_HANDSHAKE_UNITS,
            most_handshakes: most_handshakes as u64,
            counters,
            report: LayerReport::default(),
        }
    }

    /// Other limits from now on.
    pub(in crate::net) const fn set_most_handshakes(&mut self, most: usize) {
        self.most_handshakes = most as u64;
    }

    pub(in crate::net) const fn begin_turn(&mut self) {
        self.handshake_units = TURN_HANDSHAKE_UNITS;
    }

    pub(in crate::net) fn take_report(&mut self) -> LayerReport {
        std::mem::take(&mut self.report)
    }

    /// What another layer has to tell of the last read.
    pub(in crate::net) fn set_report(&mut self, report: LayerReport) {
        self.report = report;
    }

    fn may_begin(&self) -> bool {
        self.counters.tls_handshakes_under_way.get() < self.most_handshakes
    }

    /// Charges one record, and what a handshake did because of it.
    const fn charge_handshake(&mut self, has_answered: bool, step_units: usize) {
        let units = if has_answered { step_units } else { RECORD_UNITS };
        self.handshake_units = self.handshake_units.saturating_sub(units);
        self.report.units += units;
    }
}

/// One connection.
#[derive(Debug)]
pub(in crate::net) struct TlsStream {
    state: State,
    /// Records that are not dealt with; the last one may be incomplete.
    inbox: Vec<u8>,
    /// Ciphertext that the socket has refused.
    unsent: Vec<u8>,
    /// Bytes of plaintext that are left in the connection, since there was no room for them.
    left: usize,
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
        connection: Box<ServerConnection>,
        records: usize,
        bytes: usize,
        /// What a step costs that makes or checks signatures.
        step_units: usize,
    },
    Open(Box<ServerConnection>),
    /// The peer speaks plainly: it may be told so.
    Plain,
    /// It has failed: what comes is thrown away, and so is what is to be said.
    Failed,
}

/// What a record led to.
enum Fed {
    /// The plaintext in it can be read.
    Data,
    /// The peer's last record: close_notify.
    End,
}

impl TlsStream {
    pub(in crate::net) const fn new(context: Arc<TlsContext>) -> Self {
        Self {
            state: State::Silent(context),
            inbox: Vec::new(),
            unsent: Vec::new(),
            left: 0,
            fault: None,
            has_peer_closed: false,
            is_shut_down: false,
        }
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
        incoming.resize(MAX_RECORD_BYTES + share.read_bytes, 0);
        let result = self.read_through(socket, share, &mut incoming, out);
        share.incoming = incoming;
        share.report.input_bytes = self.input_bytes();
        share.report.has_more |= self.left > 0
            || self.fault.is_some()
            || self.has_peer_closed
            || first_record(&self.inbox).is_some();
        result
    }

    fn read_through(
        &mut self,
        socket: &mut Socket,
        share: &mut TlsShare,
        incoming: &mut [u8],
        out: &mut [u8],
    ) -> io::Result<usize> {
        if self.left > 0 {
            return self.take_plaintext(out);
        }
        if let Some(fault) = self.fault.take() {
            share.report.fault = Some(LayerFault::Tls(fault));
            return Ok(0);
        }
        if self.has_peer_closed {
            return Ok(0);
        }
        if matches!(self.state, State::Plain | State::Failed) {
            let thrown_away = socket.read(incoming)?;
            return if thrown_away == 0 { Ok(0) } else { Err(ErrorKind::Interrupted.into()) };
        }
        let mut length = self.inbox.len();
        if first_record(&self.inbox).is_none() {
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
        incoming[..self.inbox.len()].copy_from_slice(&self.inbox);
        let incoming = &incoming[..length];
        let (used, filled) = self.take_records(socket, share, incoming, out);
        if matches!(self.state, State::Plain | State::Failed) {
            self.inbox = Vec::new();
        } else if used > 0 || length > self.inbox.len() {
            self.inbox = incoming[used..].to_vec();
        }
        if filled > 0 { Ok(filled) } else { Err(ErrorKind::Interrupted.into()) }
    }

    /// Whether this turn has time for a handshake, if it is one.
    const fn may_go_on(&self, share: &TlsShare) -> bool {
        matches!(self.state, State::Open(_)) || share.handshake_units > 0
    }

    /// Deals with whole records: how many bytes they were, and how many bytes of plaintext.
    fn take_records(
        &mut self,
        socket: &mut Socket,
        share: &mut TlsShare,
        incoming: &[u8],
        out: &mut [u8],
    ) -> (usize, usize) {
        let (mut used, mut filled) = (0, 0);
        if matches!(self.state, State::Silent(_)) && incoming[0] != HANDSHAKE {
            self.state = State::Plain;
            self.fault = Some(TlsFault::Plain(incoming[0]));
            return (used, filled);
        }
        for _ in 0..RECORDS_PER_READ {
            let rest = &incoming[used..];
            let Some(length) = first_record(rest) else { break };
            if self.left > 0 || !self.may_go_on(share) {
                break;
            }
            let fed = self.take_record(share, &rest[..length]);
            used += length;
            match fed {
                Ok(Fed::Data) => filled += self.take_plaintext(&mut out[filled..]).unwrap_or(0),
                Ok(Fed::End) => {
                    filled += self.take_plaintext(&mut out[filled..]).unwrap_or(0);
                    self.has_peer_closed = true;
                    break;
                }
                Err(fault) => {
                    self.fail(share, fault);
                    break;
                }
            }
        }
        self.let_go_of_room(used);
        // What it does not take is offered again when it can be written to.
        let _ = self.push(socket);
        (used, filled)
    }

    fn take_record(&mut self, share: &mut TlsShare, record: &[u8]) -> Result<Fed, TlsFault> {
        if let State::Silent(context) = &self.state {
            if !share.may_begin() {
                share.counters.tls_handshakes_refused.increment();
                self.unsent.extend_from_slice(&BUSY_ALERT);
                return Err(TlsFault::Busy);
            }
            let connection = ServerConnection::new(context.current())
                .map_err(|error| TlsFault::Handshake(reason(&error)))?;
            share.counters.tls_handshakes_under_way.increment();
            // A chain of certificates is judged before there is an answer that could be seen.
            let step_units = if context.asks_clients() { 2 } else { 1 } * HANDSHAKE_UNITS;
            let connection = Box::new(connection);
            self.state = State::Shaking { connection, records: 0, bytes: 0, step_units };
        }
        match &mut self.state {
            State::Shaking { connection, records, bytes, step_units } => {
                *records += 1;
                *bytes += record.len();
                if *records > HANDSHAKE_RECORDS {
                    return Err(TlsFault::Handshake("it takes too many records"));
                }
                let fed = feed(connection, record);
                let has_answered = fed.is_err() || connection.wants_write();
                let is_over = !connection.is_handshaking();
                share.charge_handshake(has_answered || is_over, *step_units);
                seal(connection, &mut self.unsent);
                if fed.is_ok() && is_over {
                    self.open(share);
                }
                self.note_fed(fed, TlsFault::Handshake)
            }
            State::Open(connection) => {
                share.report.units += RECORD_UNITS;
                let fed = feed(connection, record);
                seal(connection, &mut self.unsent);
                self.note_fed(fed, TlsFault::Record)
            }
            State::Silent(_) | State::Plain | State::Failed => Ok(Fed::Data),
        }
    }

    /// `fed`: how much plaintext there is, and whether it is the last.
    fn note_fed(
        &mut self,
        fed: Result<(usize, bool), TlsError>,
        fault: fn(&'static str) -> TlsFault,
    ) -> Result<Fed, TlsFault> {
        let (left, is_last) = fed.map_err(|error| fault(reason(&error)))?;
        self.left = left;
        Ok(if is_last { Fed::End } else { Fed::Data })
    }

    /// The handshake has succeeded.
    fn open(&mut self, share: &mut TlsShare) {
        let State::Shaking { connection, .. } = std::mem::replace(&mut self.state, State::Failed)
        else {
            unreachable!("only a handshake ends so");
        };
        share.counters.tls_handshakes_under_way.subtract(1);
        share.counters.tls_handshakes.increment();
        if connection.handshake_kind() == Some(HandshakeKind::Resumed) {
            share.counters.tls_resumed.increment();
        }
        let certificate = client_certificate(&connection).map(Arc::new);
        let news = LayerNews::Secured { channel_id: channel_id(&connection), certificate };
        share.report.news = Some(Box::new(news));
        self.state = State::Open(connection);
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

    fn take_plaintext(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let State::Open(connection) = &mut self.state else { return Ok(0) };
        let mut filled = 0;
        while self.left > 0 && filled < out.len() {
            let mut reader = connection.reader();
            let chunk = reader.fill_buf()?;
            let length = chunk.len().min(out.len() - filled);
            out[filled..filled + length].copy_from_slice(&chunk[..length]);
            reader.consume(length);
            filled += length;
            self.left -= length;
        }
        Ok(filled)
    }

    /// Makes the connection give back what large records took: it does so at its next read only.
    fn let_go_of_room(&mut self, used: usize) {
        if let State::Open(connection) = &mut self.state
            && used > SMALL_BYTES
            && self.left == 0
        {
            // It fails, and has done its work by then.
            let _ = connection.read_tls(&mut Nothing);
        }
    }

    /// Encrypts all bytes, or none while the socket refuses earlier ones.
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
        let connection = match &mut self.state {
            State::Plain => return if bytes.is_empty() { Ok(0) } else { socket.write(bytes) },
            State::Open(connection) => connection,
            // Nobody would understand it.
            State::Silent(_) | State::Shaking { .. } | State::Failed => return Ok(bytes.len()),
        };
        if bytes.is_empty() {
            return Ok(0);
        }
        let taken = connection.writer().write(bytes)?;
        share.outgoing.clear();
        seal(connection, &mut share.outgoing);
        let written = match socket.write(&share.outgoing) {
            Ok(written) => written,
            Err(error) if is_refusal(&error) => 0,
            Err(error) => return Err(error),
        };
        self.unsent = share.outgoing[written..].to_vec();
        Ok(taken)
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
        if let State::Open(connection) = &mut self.state {
            connection.send_close_notify();
            seal(connection, &mut self.unsent);
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
        self.inbox.capacity() + self.left + shaking
    }
}

/// `tls-exporter` (RFC 9266): a value that both ends of this channel can compute, and nobody else.
/// Only TLS 1.3 always makes it of the whole handshake.
fn channel_id(connection: &ServerConnection) -> Option<[u8; 32]> {
    let is_safe = connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    let label = b"EXPORTER-Channel-Binding";
    is_safe.then(|| connection.export_keying_material([0; 32], label, Some(&[])).ok()).flatten()
}

/// The certificate that the client has shown, now or when the session was begun that it resumes;
/// the listener's authorities have signed it.
fn client_certificate(connection: &ServerConnection) -> Option<ClientCertificate> {
    connection.peer_certificates()?.first().map(certificate_of)
}

/// Gives a connection one record: how many bytes of plaintext it holds then, and whether these are
/// the last.
fn feed(connection: &mut ServerConnection, mut record: &[u8]) -> Result<(usize, bool), TlsError> {
    let mut state = (0, false);
    while !record.is_empty() {
        let is_taken = connection.read_tls(&mut record).is_ok_and(|taken| taken > 0);
        let now = connection.process_new_packets()?;
        state = (now.plaintext_bytes_to_read(), now.peer_has_closed());
        if !is_taken {
            break;
        }
    }
    Ok(state)
}

/// Takes what a connection has to send.
fn seal(connection: &mut ServerConnection, out: &mut Vec<u8>) {
    while connection.wants_write() {
        connection.write_tls(out).expect("a Vec takes everything");
    }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Why a connection failed, without what the peer may have put into it.
const fn reason(error: &TlsError) -> &'static str {
    match error {
        TlsError::AlertReceived(_) => "the peer refused it with an alert",
        TlsError::InappropriateMessage { .. } | TlsError::InappropriateHandshakeMessage { .. } => {
            "a message came that does not belong there"
        }
        TlsError::InvalidMessage(_) => "a message is malformed",
        TlsError::PeerIncompatible(_) => "no version, cipher suite or key exchange is in common",
        TlsError::PeerMisbehaved(_) => "the peer broke the protocol",
        TlsError::NoCertificatesPresented => "the client shows no certificate",
        TlsError::InvalidCertificate(_) => "the client's certificate is not accepted",
        TlsError::DecryptError => "a record cannot be decrypted",
        TlsError::PeerSentOversizedRecord => "a record is too long",
        TlsError::NoApplicationProtocol => "ALPN offers no http/1.1",
        _ => "it cannot go on",
    }
}

/// A source that has nothing now.
struct Nothing;

impl Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

/// Records that one read deals with: an empty one brings nothing and costs as much as any.
const RECORDS_PER_READ: usize = 256;

/// Records of one handshake; a client that splits its messages small needs a dozen.
const HANDSHAKE_RECORDS: usize = 64;

/// What a read costs beside its records, in units of work.
const READ_UNITS: usize = 2;

/// What one record costs to decrypt, beside its bytes.
const RECORD_UNITS: usize = 8;

/// What a step of a handshake costs that makes or checks a signature.
const HANDSHAKE_UNITS: usize = 10_000;

/// What handshakes may take of one turn, whatever else is to be done: four steps.
const TURN_HANDSHAKE_UNITS: usize = 4 * HANDSHAKE_UNITS;

/// What a connection's own buffer holds without being told to give back more.
const SMALL_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests;
