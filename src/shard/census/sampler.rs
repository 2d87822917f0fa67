//! Which of many things are looked at: all while they are few, and fewer by chance the more come.
//!
//! Each unit is looked at with the same probability, a power of two, whatever came before: so
//! nobody can publish in step with it. What passes costs a subtraction.

use crate::clock::Millis;

/// Draws 64 random bits.
pub(super) type Draw<'a> = &'a mut dyn FnMut() -> u64;

#[derive(Debug)]
pub(super) struct Sampler {
    /// Units that pass before the next one that is looked at.
    left: u64,
    /// The probability is 2 to the power of minus this.
    level: u32,
    /// Looks since the level was last changed or found right.
    taken: u32,
    /// Whether the level has risen in this second, so that `taken` is not all of it.
    has_risen: bool,
    /// Looks in all, for the test of the bound.
    #[cfg(test)]
    pub(super) looks: u64,
}

/// What one look stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Weight {
    /// So many units: in the mean over what is looked at and what is not, those that came.
    pub(super) units: f64,
    /// By how much that varies.
    pub(super) variance: f64,
}

impl Sampler {
    /// Looks at nothing.
    pub(super) const fn off() -> Self {
        Self {
            left: u64::MAX,
            level: 0,
            taken: 0,
            has_risen: false,
            #[cfg(test)]
            looks: 0,
        }
    }

    pub(super) const fn on() -> Self {
        Self { left: 0, ..Self::off() }
    }

    /// Whether so many units pass; if not, [`Self::look`] is to be called.
    #[inline]
    pub(super) const fn passes(&mut self, units: u64) -> bool {
        match self.left.checked_sub(units) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// What the look at so many units, that do not pass, stands for.
    pub(super) fn look(&mut self, units: u64, draw: Draw<'_>) -> Weight {
        let weight = self.weight(units);
        #[cfg(test)]
        {
            self.looks += 1;
        }
        self.taken += 1;
        if self.taken >= MOST_LOOKS && self.level < MAX_LEVEL {
            (self.level, self.taken, self.has_risen) = (self.level + 1, 0, true);
        }
        self.left = self.gap(draw);
        weight
    }

    /// Looks at more again if there were few in the last second.
    pub(super) fn adapt(&mut self, draw: Draw<'_>) {
        let taken = std::mem::take(&mut self.taken);
        let has_risen = std::mem::take(&mut self.has_risen);
        if self.level == 0 || has_risen || taken >= MOST_LOOKS / 4 {
            return;
        }
        let steps = (MOST_LOOKS / 2 / taken.max(1)).ilog2();
        self.level = self.level.saturating_sub(steps.max(1));
        // What came before does not matter, so the next look may be drawn anew.
        self.left = self.gap(draw);
    }

    /// Whoever is looked at had this chance: so it stands for that many more.
    fn weight(&self, units: u64) -> Weight {
        let all = units as f64;
        if self.level == 0 {
            return Weight { units: all, variance: 0.0 };
        }
        let chance = -(all * self.log_miss()).exp_m1();
        Weight { units: all / chance, variance: all * all * (1.0 - chance) / (chance * chance) }
    }

    /// How many units pass before the next look.
    fn gap(&self, draw: Draw<'_>) -> u64 {
        if self.level == 0 {
            return 0;
        }
        // Never zero, of which there is no logarithm.
        let uniform = ((draw() >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
        (uniform.ln() / self.log_miss()) as u64
    }

    /// The logarithm of the chance that a unit is not looked at.
    fn log_miss(&self) -> f64 {
        (-(-f64::from(self.level)).exp2()).ln_1p()
    }
}

/// Looks in a second, after which half as many are made: so n times as many units as that make as
/// many looks a second, and the logarithm of n times as many in the first one.
pub(super) const MOST_LOOKS: u32 = 1_024;

/// One in four thousand million units.
const MAX_LEVEL: u32 = 32;

/// When the samplers adapt next.
pub(super) fn next_second(now: Millis) -> Millis {
    now + 1_000
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Offers `count` things of `units` each, and returns what the looks stand for.
    fn offer(sampler: &mut Sampler, count: u64, units: u64, rng: &mut StdRng) -> (f64, f64) {
        let (mut sum, mut variance) = (0.0, 0.0);
        for _ in 0..count {
            if !sampler.passes(units) {
                let weight = sampler.look(units, &mut || rng.random());
                sum += weight.units;
                variance += weight.variance;
            }
        }
        (sum, variance)
    }

    #[test]
    fn few_are_all_looked_at() {
        let (mut sampler, mut rng) = (Sampler::on(), StdRng::seed_from_u64(1));
        let many = u64::from(MOST_LOOKS) - 1;
        assert_eq!(offer(&mut sampler, many, 3, &mut rng), (3.0 * many as f64, 0.0));
        assert_eq!(offer(&mut Sampler::off(), 1_000, 1 << 40, &mut rng), (0.0, 0.0));
    }

    /// The looks stand for what came, within five of the standard deviations that they claim; and
    /// their number is bounded whatever comes.
    #[test]
    fn many_are_estimated_and_looks_are_bounded() {
        for (seed, units) in [(1, 1), (2, 1), (3, 7), (4, 1_000)] {
            let (mut sampler, mut rng) = (Sampler::on(), StdRng::seed_from_u64(seed));
            let mut count = 3_000_000;
            if units > 1 {
                count /= 3;
            }
            let (sum, variance) = offer(&mut sampler, count, units, &mut rng);
            let came = (count * units) as f64;
            assert!((sum - came).abs() < 5.0 * variance.sqrt(), "{sum} of {came}");
            assert!(variance.sqrt() < 0.05 * came, "{variance}");
            let most = u64::from(MOST_LOOKS) * u64::from(1 + (count * units).ilog2());
            assert!(sampler.looks <= most, "{} looks", sampler.looks);
        }
    }

    /// What is loud for a second and quiet then is looked at again within a few seconds.
    #[test]
    fn it_adapts_to_what_comes() {
        let (mut sampler, mut rng) = (Sampler::on(), StdRng::seed_from_u64(1));
        let mut seconds = |sampler: &mut Sampler, count: u64, each: u64| {
            let before = sampler.looks;
            for _ in 0..count {
                offer(sampler, each, 1, &mut rng);
                sampler.adapt(&mut || rng.random());
            }
            sampler.looks - before
        };
        seconds(&mut sampler, 3, 1_000_000);
        let steady = seconds(&mut sampler, 10, 1_000_000);
        assert!((2_000..=20_000).contains(&steady), "{steady} looks in 10 seconds");
        seconds(&mut sampler, 4, 1);
        assert_eq!(seconds(&mut sampler, 5, 10), 50, "all again");
    }
}
