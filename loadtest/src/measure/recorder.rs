//! Latencies: an hdrhistogram of the whole run and one of the current interval, in nanoseconds with
//! three digits, from 1 ns to 10 minutes.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::interval::Counts;

#[derive(Clone, Debug)]
pub struct Recorder {
    whole: Histogram<u64>,
    interval: Histogram<u64>,
    /// One in `stride` is recorded.
    stride: u32,
    skipped: u32,
}

impl Recorder {
    /// Records one in `stride` of what is offered (at least one in 1).
    pub fn new(stride: u32) -> Self {
        let histogram = empty_histogram();
        Self { whole: histogram.clone(), interval: histogram, stride: stride.max(1), skipped: 0 }
    }

    /// True if the next value is one of the sample; call it once per message.
    pub const fn samples_next(&mut self) -> bool {
        self.skipped += 1;
        if self.skipped < self.stride {
            return false;
        }
        self.skipped = 0;
        true
    }

    pub fn record(&mut self, latency_ns: u64) {
        self.whole.saturating_record(latency_ns);
        self.interval.saturating_record(latency_ns);
    }

    /// The percentiles of the whole run; `None` if nothing was recorded.
    pub fn latency(&self) -> Option<Latency> {
        (!self.whole.is_empty()).then(|| Latency::of(&self.whole))
    }

    /// How many values of the whole run were above `latency_ns`.
    pub fn count_above(&self, latency_ns: u64) -> u64 {
        self.whole.len() - self.whole.count_between(0, latency_ns)
    }

    /// Takes in what another thread recorded of the whole run.
    pub fn add(&mut self, other: &Self) {
        self.whole.add(&other.whole).expect("all have the same bounds");
    }

    /// Takes over what another thread recorded since its last interval.
    pub fn take_interval_of(&mut self, other: &mut Self) {
        self.interval.add(&other.interval).expect("all have the same bounds");
        other.interval.reset();
    }

    /// What was recorded since the last interval was taken.
    pub fn interval_counts(&self) -> Counts {
        let recorded = self.interval.iter_recorded();
        recorded.map(|one| (one.value_iterated_to(), one.count_at_value())).collect()
    }

    /// Percentiles 50 and 99 since the last call, in nanoseconds.
    pub fn take_interval(&mut self) -> Option<(u64, u64)> {
        let of = |percent| self.interval.value_at_percentile(percent);
        let found = (!self.interval.is_empty()).then(|| (of(50.0), of(99.0)));
        self.interval.reset();
        found
    }

    /// Forgets the whole run's values, to begin another phase.
    pub fn begin_phase(&mut self) {
        self.whole.reset();
    }
}

/// With the bounds and the precision of all recorders.
pub(super) fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST_NS, 3).expect("constant bounds are valid")
}

/// A distribution of latencies, in nanoseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Latency {
    pub samples: u64,
    pub min: u64,
    pub mean: u64,
    pub stddev: u64,
    pub p50: u64,
    pub p75: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub p99_99: u64,
    pub max: u64,
    /// (percentile, nanoseconds) for a chart, in rising order.
    pub curve: Vec<(f64, u64)>,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |percent| histogram.value_at_percentile(percent);
        let curve = histogram
            .iter_quantiles(4)
            .map(|step| (step.quantile_iterated_to() * 100.0, step.value_iterated_to()));
        Self {
            samples: histogram.len(),
            min: histogram.min(),
            mean: histogram.mean() as u64,
            stddev: histogram.stdev() as u64,
            p50: at(50.0),
            p75: at(75.0),
            p90: at(90.0),
            p99: at(99.0),
            p99_9: at(99.9),
            p99_99: at(99.99),
            max: histogram.max(),
            curve: curve.take_while(|(percent, _)| *percent < 99.9995).collect(),
        }
    }
}

const HIGHEST_NS: u64 = 600 * 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_known_distribution() {
        let mut recorder = Recorder::new(1);
        for value in 1..=10_000u64 {
            recorder.record(value * 1_000);
        }
        let latency = recorder.latency().unwrap();
        assert_eq!(latency.samples, 10_000);
        for (found, expected) in [
            (latency.p50, 5_000_000),
            (latency.p99, 9_900_000),
            (latency.p99_99, 9_999_000),
            (latency.max, 10_000_000),
        ] {
            assert!(found.abs_diff(expected) * 1_000 <= expected * 2, "{found} {expected}");
        }
        assert_eq!(recorder.count_above(HIGHEST_NS), 0);
        assert!(recorder.count_above(5_000_000).abs_diff(5_000) <= 10);
        assert!(latency.curve.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    }

    #[test]
    fn sampling_takes_one_in_n() {
        let mut recorder = Recorder::new(13);
        assert_eq!((0..1300).filter(|_| recorder.samples_next()).count(), 100);
        assert!(recorder.latency().is_none());
    }

    #[test]
    fn what_several_threads_recorded_is_one() {
        let (mut one, mut other) = (Recorder::new(1), Recorder::new(1));
        one.record(1_000);
        (0..9).for_each(|_| other.record(5_000));
        one.take_interval_of(&mut other);
        assert_eq!(other.take_interval(), None);
        let (p50, _) = one.take_interval().unwrap();
        assert!(p50.abs_diff(5_000) < 10, "{p50}");
        one.add(&other);
        let latency = one.latency().unwrap();
        assert_eq!((latency.samples, latency.min), (10, 1_000));
    }

    #[test]
    fn intervals_start_afresh() {
        let mut recorder = Recorder::new(1);
        recorder.record(1_000);
        assert_eq!(recorder.take_interval(), Some((1_000, 1_000)));
        assert_eq!(recorder.take_interval(), None);
        assert_eq!(recorder.latency().unwrap().samples, 1);
    }
}
