//! What a run counts: deliveries, latencies, verification, and their course over time. Each
//! generator thread has a board of its own; only windows share a few numbers.

pub mod board;
pub mod fairness;
pub mod interval;
pub mod pace;
pub mod recorder;
pub mod series;
pub mod verify;
pub mod window;

use std::time::Instant;

/// The run's clock: nanoseconds since it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn now_ns(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

pub const SECOND_NS: u64 = 1_000_000_000;
