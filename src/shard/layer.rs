//! What TLS, which lies between a socket and its transport, does to a shard: what it costs, what it
//! holds, and how it fails.
//!
//! Nothing is encrypted here: the wire does that, and reports.

use super::Shard;
use super::lifecycle::EndReason;
use crate::clock::Millis;
use crate::router::Slot;
use crate::transport::{TlsFault, Transport, TransportError};

/// What the layer below a transport has to say about a read.
#[derive(Clone, Copy, Debug, Default)]
pub struct LayerReport {
    /// There is more to be read, whatever the socket says.
    pub has_more: bool,
    /// Units of work that it took; 0 if there is no such layer.
    pub units: usize,
    /// Bytes of memory that it holds of what has come and is not whole.
    pub input_bytes: usize,
    /// What tells this channel from all others, where that has just become known; see
    /// [`crate::authentication`].
    pub channel_id: Option<[u8; 32]>,
    /// Why nothing more comes, if the read brought nothing.
    pub fault: Option<TlsFault>,
}

impl Shard {
    /// Charges a connection for what its layer did, and counts what that holds.
    #[inline(never)]
    pub(super) fn note_layer(&mut self, slot: Slot, layer: LayerReport, now: Millis) {
        self.cx.work.charge(layer.units);
        let connection = self.connections.get_mut(slot);
        if let Some(connection) = connection.filter(|connection| !connection.is_gone()) {
            connection.input.set_layer_bytes(layer.input_bytes, now);
            connection.channel_id = layer.channel_id.or(connection.channel_id);
            self.count_input(slot);
        }
    }

    /// Nothing that this peer sends can be understood any more.
    pub(super) fn handle_tls_fault(&mut self, slot: Slot, fault: TlsFault, now: Millis) {
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
