//! What lies between a socket and its transport, TLS and the header of a proxy: what it costs, what
//! it holds, what it tells of the peer, and how it fails.
//!
//! Nothing is encrypted or awaited here: the wire does that, and reports.

use std::sync::Arc;

use super::Shard;
use crate::authentication::ClientCertificate;
use crate::clock::Millis;
use crate::router::{EndReason, Slot};
use crate::transport::{Origin, ProxyFault, TlsFault, Transport, TransportError};

/// What the layer below a transport has to say about a read.
#[derive(Debug, Default)]
pub struct LayerReport {
    /// There is more to be read, whatever the socket says.
    pub has_more: bool,
    /// Units of work that it took; 0 if there is no such layer.
    pub units: usize,
    /// Bytes of memory that it holds of what has come and is not whole.
    pub input_bytes: usize,
    /// What has just become known of the peer.
    pub news: Option<Box<LayerNews>>,
    /// Why nothing more comes, if the read brought nothing.
    pub fault: Option<LayerFault>,
}

/// What there is to be known of a peer from below its transport.
#[derive(Debug)]
pub enum LayerNews {
    /// A listed proxy speaks for somebody else.
    Origin(Origin),
    /// The TLS handshake is over.
    Secured {
        /// What tells this channel from all others; see [`crate::authentication`].
        channel_id: Option<[u8; 32]>,
        /// The client's certificate, which was verified.
        certificate: Option<Arc<ClientCertificate>>,
    },
}

/// What is wrong below a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerFault {
    Proxy(ProxyFault),
    Tls(TlsFault),
}

impl Shard {
    /// Charges a connection for what its layer did, and counts what that holds.
    #[inline(never)]
    pub(super) fn note_layer(&mut self, slot: Slot, layer: &mut LayerReport, now: Millis) {
        self.cx.work.charge(layer.units);
        let connection = self.connections.get_mut(slot);
        if let Some(connection) = connection.filter(|connection| !connection.is_gone()) {
            connection.input.set_layer_bytes(layer.input_bytes, now);
            match layer.news.take().map(|news| *news) {
                None => {}
                Some(LayerNews::Secured { channel_id, certificate }) => {
                    connection.channel_id = channel_id.map(Box::new);
                    connection.certificate = certificate;
                }
                Some(LayerNews::Origin(origin)) => self.meet(slot, origin, now),
            }
            self.count_input(slot);
        }
    }

    /// A listed proxy has said for whom the connection is, before anything else.
    fn meet(&mut self, slot: Slot, origin: Origin, now: Millis) {
        let is_let_in = self.note_origin(slot, origin, now);
        // What could be understood over TLS would cost a handshake first.
        if !is_let_in && (self.connections[slot].rules.tls || !self.may_answer(now)) {
            self.start_closing(slot, now);
        }
    }

    /// Nothing that this peer sends can be understood any more.
    pub(super) fn handle_layer_fault(&mut self, slot: Slot, fault: LayerFault, now: Millis) {
        match fault {
            LayerFault::Tls(fault) => self.handle_tls_fault(slot, fault, now),
            LayerFault::Proxy(fault) => {
                let connection = self.connections.get(slot);
                if connection.is_some_and(|connection| !connection.is_closing()) {
                    self.handle_transport_error(slot, &fault.into(), now);
                    self.settle(now);
                }
            }
        }
    }

    fn handle_tls_fault(&mut self, slot: Slot, fault: TlsFault, now: Millis) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.is_closing() {
            return self.handle_lost(slot, now);
        }
        let error = TransportError::Tls(fault);
        match fault {
            TlsFault::Truncated => {
                self.end_session(slot, EndReason::TransportError(error.kind()), now);
                self.handle_lost(slot, now);
            }
            TlsFault::Plain(first) => {
                self.cx.outbound.queue_last(slot, connection, |connection, out| {
                    Transport::refuse_plain(first, &connection.rules, out);
                });
                self.handle_transport_error(slot, &error, now);
            }
            TlsFault::Busy | TlsFault::Handshake(_) | TlsFault::Record(_) => {
                self.handle_transport_error(slot, &error, now);
            }
        }
        self.settle(now);
    }
}
