//! What rustls knows of one connection: keys and states, and no buffer. Ciphertext is decrypted
//! where it lies, and sealed into buffers of the caller.

use std::fmt;
use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{Error as TlsError, HandshakeKind, ServerConfig};

use super::certificates::certificate_of;
use super::exporter::Exporter;
use crate::authentication::ClientCertificate;

pub(super) struct Channel {
    connection: UnbufferedServerConnection,
    /// Until the handshake is over.
    exporter: Option<Arc<Exporter>>,
}

/// What some records led to.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// So many bytes are over. What is behind them is to be offered again, with what comes next.
    pub(super) used: usize,
    /// The peer has said close_notify.
    pub(super) is_last: bool,
}

type Side = rustls::server::ServerConnectionData;

impl Channel {
    /// # Errors
    /// If rustls does not begin a handshake with this configuration.
    pub(super) fn new(mut config: ServerConfig) -> Result<Self, TlsError> {
        let exporter = Arc::new(Exporter::default());
        config.key_log = Arc::<Exporter>::clone(&exporter);
        let connection = UnbufferedServerConnection::new(Arc::new(config))?;
        Ok(Self { connection, exporter: Some(exporter) })
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// How the handshake went, once it is over.
    pub(super) fn handshake_kind(&self) -> HandshakeKind {
        self.connection.handshake_kind().unwrap_or(HandshakeKind::Full)
    }

    /// What tells this channel from all others, from TLS 1.3 on. It is told once, after the
    /// handshake.
    pub(super) fn take_id(&mut self) -> Option<[u8; 32]> {
        let exporter = self.exporter.take()?;
        exporter.channel_id(self.connection.negotiated_cipher_suite()?)
    }

    /// The certificate that the client has shown, now or when the session was begun that it
    /// resumes; the listener's authorities have signed it.
    pub(super) fn client_certificate(&self) -> Option<ClientCertificate> {
        self.connection.peer_certificates()?.first().map(certificate_of)
    }

    /// Deals with whole records, behind those bytes of earlier ones that were not over. `deal` gets
    /// the plaintext in them, `answer` what is to be sent back.
    ///
    /// # Errors
    /// The peer's fault, of which the answer tells it.
    pub(super) fn take(
        &mut self,
        input: &mut [u8],
        mut deal: impl FnMut(&[u8]),
        answer: &mut Vec<u8>,
    ) -> Result<Taken, TlsError> {
        let mut taken = Taken::default();
        loop {
            let rest = &mut input[taken.used..];
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(rest);
            let mut is_over = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        deal(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => append(&mut data, answer),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => taken.is_last = true,
                Ok(_) => is_over = true,
                Err(error) => {
                    self.tell(&mut input[taken.used + discard..], answer);
                    return Err(error);
                }
            }
            taken.used += discard;
            if is_over {
                return Ok(taken);
            }
        }
    }

    /// What is to be said of a fault.
    fn tell(&mut self, rest: &mut [u8], answer: &mut Vec<u8>) {
        while self.connection.wants_write() {
            // It looks at no record while there is something to be said.
            let status = self.connection.process_tls_records(rest);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state else { return };
            append(&mut data, answer);
        }
    }

    /// Encrypts all bytes, to the start of `out`: so many bytes it is. `held` is what was offered
    /// of records that are not over.
    ///
    /// # Errors
    /// If the keys have served for as much as they may.
    pub(super) fn seal(
        &mut self,
        held: &mut [u8],
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, EncryptError> {
        self.put(held, out, |traffic, out| traffic.encrypt(plaintext, out))
    }

    /// Says that nothing follows.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub(super) fn seal_close_notify(
        &mut self,
        held: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, EncryptError> {
        self.put(held, out, |traffic, out| traffic.queue_close_notify(out))
    }

    fn put<W>(
        &mut self,
        held: &mut [u8],
        out: &mut Vec<u8>,
        mut write: W,
    ) -> Result<usize, EncryptError>
    where
        W: FnMut(&mut WriteTraffic<'_, Side>, &mut [u8]) -> Result<usize, EncryptError>,
    {
        let mut length = 0;
        loop {
            match self.connection.process_tls_records(held).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => loop {
                    match write(&mut traffic, &mut out[length..]) {
                        Err(EncryptError::InsufficientSize(size)) => {
                            out.resize(length + size.required_size, 0);
                        }
                        result => return result.map(|written| length + written),
                    }
                },
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    length += encode(&mut data, out, length);
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                _ => return Ok(length),
            }
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

fn append(data: &mut EncodeTlsData<'_, Side>, out: &mut Vec<u8>) {
    encode(data, out, out.len());
}

/// Puts what is to be sent to a place of `out`, which grows if it must: so many bytes it is.
fn encode(data: &mut EncodeTlsData<'_, Side>, out: &mut Vec<u8>, start: usize) -> usize {
    loop {
        match data.encode(&mut out[start..]) {
            Ok(length) => return length,
            Err(EncodeError::InsufficientSize(size)) => out.resize(start + size.required_size, 0),
            Err(EncodeError::AlreadyEncoded) => return 0,
        }
    }
}

/// Why a connection failed, without what the peer may have put into it.
pub(super) const fn reason(error: &TlsError) -> &'static str {
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
