//! A token bucket: how much of something may happen per second, and at once.
//!
//! Pure and small: a bucket is one number, the time at which it will be full again.

use crate::clock::Millis;

/// How fast a bucket fills, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    per_second: u32,
    burst: u32,
}

impl Rate {
    /// `None`: without end. A burst is at least one.
    pub fn new(per_second: u32, burst: u32) -> Option<Self> {
        (per_second > 0).then(|| Self { per_second, burst: burst.max(1) })
    }

    /// How long the bucket takes to get so much back, in nanoseconds.
    fn cost(self, amount: u64) -> u64 {
        amount.saturating_mul(1_000_000_000) / u64::from(self.per_second)
    }

    fn burst_ns(self) -> u64 {
        self.cost(u64::from(self.burst))
    }
}

/// The state of one bucket; the default one is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at_ns: u64,
}

impl Bucket {
    /// Takes so much out, also what is not there: then it takes longer to be ready again.
    pub fn take(&mut self, rate: Rate, amount: u64, now: Millis) {
        let from = self.full_at_ns.max(nanoseconds(now));
        self.full_at_ns = from.saturating_add(rate.cost(amount));
    }

    /// When there is something in it again; `None` if there is now.
    pub fn ready_at(self, rate: Rate, now: Millis) -> Option<Millis> {
        let one_ns = rate.cost(1);
        let ready_ns = self.full_at_ns.saturating_add(one_ns).saturating_sub(rate.burst_ns());
        (ready_ns > nanoseconds(now)).then(|| Millis(ready_ns.div_ceil(NS_PER_MS)))
    }

    pub const fn is_full(self, now: Millis) -> bool {
        self.full_at_ns <= nanoseconds(now)
    }
}

const fn nanoseconds(at: Millis) -> u64 {
    at.0.saturating_mul(NS_PER_MS)
}

const NS_PER_MS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes one at a time while there is something, and says how many that were.
    fn drain(bucket: &mut Bucket, rate: Rate, now: Millis) -> u64 {
        let mut taken = 0;
        while bucket.ready_at(rate, now).is_none() {
            bucket.take(rate, 1, now);
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_burst_at_once_and_then_so_many_per_second() {
        for (per_second, burst) in [(1, 1), (10, 5), (3, 1), (1000, 100), (100_000, 1000)] {
            let rate = Rate::new(per_second, burst).unwrap();
            let mut bucket = Bucket::default();
            let start = Millis(5_000);
            assert_eq!(drain(&mut bucket, rate, start), u64::from(burst), "{rate:?}");
            let mut taken = 0;
            for ms in 1..=10_000 {
                taken += drain(&mut bucket, rate, start + ms);
            }
            let expected = 10 * u64::from(per_second);
            assert!(taken.abs_diff(expected) <= 1 + expected / 1000, "{rate:?}: {taken}");
            // Silence fills it, and no more than fill it.
            assert_eq!(drain(&mut bucket, rate, start + 1_000_000_000), u64::from(burst));
        }
    }

    #[test]
    fn who_takes_too_much_at_once_waits_longer() {
        let rate = Rate::new(1_000, 1_000).unwrap();
        let (mut bucket, now) = (Bucket::default(), Millis(7));
        bucket.take(rate, 6_000, now);
        let ready = bucket.ready_at(rate, now).unwrap();
        assert_eq!(ready, now + 5_001);
        assert_eq!((bucket.ready_at(rate, ready), bucket.is_full(ready)), (None, false));
        assert!(bucket.is_full(now + 6_000));
    }

    #[test]
    fn no_numbers_overflow() {
        let rate = Rate::new(1, u32::MAX).unwrap();
        let mut bucket = Bucket::default();
        bucket.take(rate, u64::MAX, Millis(u64::MAX));
        bucket.take(rate, u64::MAX, Millis(u64::MAX));
        assert!(bucket.is_full(Millis(u64::MAX)));
        assert_eq!(Rate::new(0, 5), None);
    }
}
