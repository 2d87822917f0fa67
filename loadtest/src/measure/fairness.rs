//! Whether subscribers are served alike: what each received, and how late, beside the others.

use serde::Serialize;

/// What one subscriber got of the events that were due in the measured part.
#[derive(Clone, Copy, Debug, Default)]
pub struct Share {
    pub events: u64,
    latency_sum_ns: u64,
    longest_ns: u64,
}

impl Share {
    pub const fn note(&mut self, latency_ns: u64) {
        self.events += 1;
        self.latency_sum_ns += latency_ns;
        if latency_ns > self.longest_ns {
            self.longest_ns = latency_ns;
        }
    }
}

/// The spread over all subscribers that stayed and were owed every event.
#[derive(Clone, Debug, Serialize)]
pub struct Fairness {
    pub subscribers: u64,
    /// Events of the measured part.
    pub received: Spread,
    /// Each subscriber's mean latency, nanoseconds.
    pub mean_latency: Spread,
    /// Each subscriber's longest latency, nanoseconds.
    pub longest_latency: Spread,
    /// Jain's index of what was received: 1 if all got the same, 1/n if one of n got everything.
    pub jain_index: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Spread {
    pub min: u64,
    pub median: u64,
    pub max: u64,
}

impl Fairness {
    /// `None` if nobody received anything.
    pub fn of(shares: &[Share]) -> Option<Self> {
        let total: f64 = shares.iter().map(|share| share.events as f64).sum();
        if total == 0.0 {
            return None;
        }
        let squares: f64 = shares.iter().map(|share| (share.events as f64).powi(2)).sum();
        // Who received nothing has no latency.
        let served = || shares.iter().filter(|share| share.events > 0);
        Some(Self {
            subscribers: shares.len() as u64,
            received: Spread::of(shares.iter().map(|share| share.events)),
            mean_latency: Spread::of(served().map(|share| share.latency_sum_ns / share.events)),
            longest_latency: Spread::of(served().map(|share| share.longest_ns)),
            jain_index: total * total / (shares.len() as f64 * squares),
        })
    }
}

impl Spread {
    /// Of one value or more; of an even number the lower of the two in the middle is the median.
    fn of(values: impl Iterator<Item = u64>) -> Self {
        let mut values: Vec<u64> = values.collect();
        values.sort_unstable();
        let at = |place: usize| values.get(place).copied().unwrap_or_default();
        let last = values.len().saturating_sub(1);
        Self { min: at(0), median: at(last / 2), max: at(last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A subscriber that received `events` with latencies of 1, 2, 3 ... nanoseconds.
    fn share(events: u64) -> Share {
        let mut share = Share::default();
        (1..=events).for_each(|latency_ns| share.note(latency_ns));
        share
    }

    #[test]
    fn all_alike_is_fair() {
        let found = Fairness::of(&[share(5), share(5), share(5)]).unwrap();
        assert_eq!(found.received, Spread { min: 5, median: 5, max: 5 });
        assert_eq!(found.mean_latency, Spread { min: 3, median: 3, max: 3 });
        assert_eq!(found.longest_latency, Spread { min: 5, median: 5, max: 5 });
        assert!((found.jain_index - 1.0).abs() < 1e-12);
    }

    #[test]
    fn one_that_gets_everything_is_not() {
        let found = Fairness::of(&[share(0), share(0), share(9), share(0)]).unwrap();
        assert_eq!(found.received, Spread { min: 0, median: 0, max: 9 });
        assert_eq!((found.mean_latency.min, found.longest_latency.min), (5, 9));
        assert!((found.jain_index - 0.25).abs() < 1e-12);
        let half = Fairness::of(&[share(1), share(3)]).unwrap();
        assert!((half.jain_index - 0.8).abs() < 1e-12);
    }

    #[test]
    fn nothing_has_no_fairness() {
        assert!(Fairness::of(&[]).is_none());
        assert!(Fairness::of(&[share(0), share(0)]).is_none());
    }
}
