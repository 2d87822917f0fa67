//! What the TLS streams of one shard share: buffers that bytes pass through, what handshakes may
//! still take in a turn, and what the last read has to tell. Runs on the shard.

use std::sync::Arc;

use crate::router::Counters;
use crate::shard::LayerReport;

/// What the streams of one shard share.
#[derive(Debug)]
pub(in crate::net) struct TlsShare {
    /// Ciphertext that was just read.
    pub(super) incoming: Vec<u8>,
    /// Ciphertext that is about to be written, and room behind it.
    pub(super) outgoing: Vec<u8>,
    pub(super) read_bytes: usize,
    /// Units of work that handshakes may still take in this turn.
    pub(super) handshake_units: usize,
    most_handshakes: u64,
    pub(super) counters: Arc<Counters>,
    /// What the last read has to tell.
    pub(super) report: LayerReport,
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

    pub(super) fn may_begin(&self) -> bool {
        self.counters.tls_handshakes_under_way.get() < self.most_handshakes
    }

    /// Charges one record, and what a handshake did because of it.
    pub(super) const fn charge_handshake(&mut self, has_answered: bool, step_units: usize) {
        let units = if has_answered { step_units } else { RECORD_UNITS };
        self.handshake_units = self.handshake_units.saturating_sub(units);
        self.report.units += units;
    }
}

/// What a read costs beside its records, in units of work.
pub(super) const READ_UNITS: usize = 2;

/// What one record costs to decrypt, beside its bytes.
pub(super) const RECORD_UNITS: usize = 8;

/// What a step of a handshake costs that makes or checks a signature.
pub(super) const HANDSHAKE_UNITS: usize = 10_000;

/// What handshakes may take of one turn, whatever else is to be done: four steps.
pub(super) const TURN_HANDSHAKE_UNITS: usize = 4 * HANDSHAKE_UNITS;
