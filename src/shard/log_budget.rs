//! A bound on log lines that strangers can cause: so many per second and shard, then a count.

use crate::clock::Millis;

#[derive(Debug, Default)]
pub(super) struct LogBudget {
    second: u64,
    logged: u32,
    left_out: u64,
}

impl LogBudget {
    /// Whether a line about a refused or misbehaving peer may be logged now.
    pub(super) fn allow(&mut self, now: Millis) -> bool {
        let second = now.0 / 1000;
        if second != self.second {
            if self.left_out > 0 {
                tracing::warn!(lines = self.left_out, "more peers were refused than are logged");
            }
            *self = Self { second, ..Self::default() };
        }
        if self.logged < LINES_PER_SECOND {
            self.logged += 1;
            return true;
        }
        self.left_out += 1;
        false
    }
}

const LINES_PER_SECOND: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own_budget() {
        let mut budget = LogBudget::default();
        let allowed = |budget: &mut LogBudget, at| (0..250).filter(|_| budget.allow(at)).count();
        assert_eq!(allowed(&mut budget, Millis(5_000)), 100);
        assert_eq!(allowed(&mut budget, Millis(5_999)), 0);
        assert_eq!(allowed(&mut budget, Millis(6_000)), 100);
    }
}
