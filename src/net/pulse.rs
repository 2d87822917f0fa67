//! What an event loop tells of itself: how much it works, and that it still turns.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::router::Counter;

/// What one event loop tells of itself. One writer, its thread; any thread may read.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Pulse {
    /// Nanoseconds in turns, and not asleep.
    busy_ns: Counter,
    /// Turns by how long they took: up to each of [`TURN_MICROS`], and longer.
    turns: [Counter; TURN_MICROS.len() + 1],
    /// The last probe that has come, see [`super::mesh::Parcel::Probe`].
    probe: AtomicU64,
}

/// What a [`Pulse`] said at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    pub busy: Duration,
    /// Turns by how long they took: up to each of [`TURN_MICROS`], and longer.
    pub counts: [u64; TURN_MICROS.len() + 1],
}

impl Turns {
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Bounds of the classes of turns, in microseconds.
pub const TURN_MICROS: [u64; 10] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000];

impl Pulse {
    pub(super) fn note_turn(&self, took: Duration) {
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.busy_ns.add(took_ns);
        let class = TURN_MICROS.partition_point(|most| took_ns > most * 1_000);
        self.turns[class].increment();
    }

    pub(super) fn answer(&self, probe: u64) {
        self.probe.store(probe, Ordering::Relaxed);
    }

    /// The number of the last probe that its event loop has taken.
    pub fn answered(&self) -> u64 {
        self.probe.load(Ordering::Relaxed)
    }

    /// How its turns were so far. Readers may see a turn's time before it counts, or after.
    pub fn turns(&self) -> Turns {
        let busy = Duration::from_nanos(self.busy_ns.get());
        Turns { busy, counts: std::array::from_fn(|class| self.turns[class].get()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_counted_by_their_time() {
        let pulse = Pulse::default();
        for micros in [0, 50, 51, 100_000, 100_001] {
            pulse.note_turn(Duration::from_micros(micros));
        }
        let turns = pulse.turns();
        assert_eq!(turns.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((turns.count(), turns.busy), (5, Duration::from_micros(200_102)));
    }
}
