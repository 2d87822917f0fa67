//! What operators see of a link: counts, and how long a parcel takes there and back.

/// What has gone between this node and another one since they met, through all links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkTally {
    /// Parcels as they were sent, those sent again among them.
    pub sent_parcels: u64,
    /// Bytes of their entries.
    pub sent_bytes: u64,
    /// Parcels that were sent once more.
    pub resent_parcels: u64,
    /// Parcels that were taken in, each once.
    pub received_parcels: u64,
    /// Bytes of their entries.
    pub received_bytes: u64,
    /// Times that a parcel had to wait as too much was sent and not dealt with.
    pub window_waits: u64,
}

impl LinkTally {
    pub(super) const fn note_sent(&mut self, bytes: usize, is_again: bool) {
        self.sent_parcels += 1;
        self.sent_bytes += bytes as u64;
        self.resent_parcels += is_again as u64;
    }

    pub(super) const fn note_received(&mut self, bytes: usize) {
        self.received_parcels += 1;
        self.received_bytes += bytes as u64;
    }
}

/// How long it takes until a parcel is acknowledged, smoothed as TCP does it: a clock of whole
/// milliseconds tells less than that of one parcel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RoundTrip {
    micros: Option<u64>,
}

impl RoundTrip {
    pub(super) const fn note(&mut self, took_ms: u64) {
        let took = took_ms.saturating_mul(1_000);
        self.micros = Some(match self.micros {
            None => took,
            Some(before) => (before.saturating_mul(7).saturating_add(took)) / 8,
        });
    }

    pub(super) const fn micros(self) -> Option<u64> {
        self.micros
    }
}
