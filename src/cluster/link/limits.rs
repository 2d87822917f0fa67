//! The bounds and times of a link, with their units.

/// What one link may keep and how long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkLimits {
    /// Bytes of entries after which a parcel is full; a longer entry has parcels of its own.
    pub parcel_bytes: usize,
    /// Bytes of one parcel at most: what is longer goes in parts.
    pub part_bytes: usize,
    /// Bytes of one entry in parts: the receiver keeps no more.
    pub entry_bytes: usize,
    /// Bytes that are sent and not dealt with; one parcel goes out in any case.
    pub window_bytes: usize,
    /// Parcels that are sent and not dealt with.
    pub window_parcels: u64,
    /// How long what was dealt with waits for a parcel that says so, in milliseconds.
    pub acknowledge_ms: u64,
    /// How long a parcel waits before it is sent once more, in milliseconds; each time twice as
    /// long, up to [`Self::patience_ms`].
    pub resend_ms: u64,
    pub patience_ms: u64,
    /// How long a node that does not answer is not greeted again, in milliseconds.
    pub greeting_ms: u64,
    /// How long a link is open though nothing is heard, in milliseconds.
    pub silence_ms: u64,
}

impl LinkLimits {
    /// For one of `peers` links. A message of NATS is `max_payload` bytes at most.
    pub fn new(peers: usize, max_payload: usize, silence_ms: u64) -> Self {
        let peers = peers.max(1);
        let part_bytes = PART_BYTES.min(max_payload / 2).max(1);
        Self {
            parcel_bytes: PARCEL_BYTES.min(part_bytes),
            part_bytes,
            entry_bytes: ENTRY_BYTES,
            window_bytes: WINDOW_BYTES.min(ALL_WINDOWS_BYTES / peers),
            window_parcels: 1_024,
            acknowledge_ms: (peers as u64 / 5).max(1),
            resend_ms: 250,
            patience_ms: 2_000,
            greeting_ms: 1_000,
            silence_ms,
        }
    }
}

const PARCEL_BYTES: usize = 64 * 1024;
const PART_BYTES: usize = 256 * 1024;

/// The largest message of a client is 16 MiB; with what is said of it, it is less than this.
const ENTRY_BYTES: usize = 32 * 1024 * 1024;

/// Less than what NATS keeps for a slow reader, and the library in its write buffer.
const WINDOW_BYTES: usize = 8 * 1024 * 1024;
const ALL_WINDOWS_BYTES: usize = 48 * 1024 * 1024;
