//! What a histogram log is made of: the latencies of each interval, kept as pairs of a value and
//! how often it came, and put into histograms again when the run is over.

use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;

use super::recorder::empty_histogram;

/// The intervals of one run.
#[derive(Clone, Debug)]
pub struct Intervals {
    /// When the run's clock was started.
    pub started: SystemTime,
    pub all: Vec<Interval>,
}

#[derive(Clone, Debug)]
pub struct Interval {
    pub kind: Kind,
    /// Since the run's clock was started.
    pub from: Duration,
    pub length: Duration,
    counts: Counts,
}

/// Nanoseconds, and how often they were recorded.
pub type Counts = Vec<(u64, u64)>;

/// Whose latency it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Event,
    Call,
    Published,
    Join,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Call => "call",
            Self::Published => "published",
            Self::Join => "join",
        }
    }
}

impl Intervals {
    /// Of a run whose clock is started now.
    pub fn begin() -> Self {
        Self { started: SystemTime::now(), all: Vec::new() }
    }

    /// Adds what was recorded between two times, in nanoseconds of the run's clock. Nothing makes
    /// no interval.
    pub fn add(&mut self, kind: Kind, from_ns: u64, to_ns: u64, counts: Counts) {
        if counts.is_empty() {
            return;
        }
        let (from, to) = (Duration::from_nanos(from_ns), Duration::from_nanos(to_ns));
        self.all.push(Interval { kind, from, length: to.saturating_sub(from), counts });
    }
}

impl Interval {
    pub fn histogram(&self) -> Histogram<u64> {
        let mut histogram = empty_histogram();
        for (value, count) in &self.counts {
            histogram.saturating_record_n(*value, *count);
        }
        histogram
    }
}
