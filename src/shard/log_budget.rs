//! A bound on log lines that strangers can cause: so many per second and shard, then a count; and
//! on how much of what they say stands in one.

use crate::clock::Millis;

#[derive(Debug)]
pub(super) struct LogBudget {
    /// What is said of the lines that were left out.
    excuse: &'static str,
    second: u64,
    logged: u32,
    left_out: u64,
}

impl LogBudget {
    pub(super) const fn of(excuse: &'static str) -> Self {
        Self { excuse, second: 0, logged: 0, left_out: 0 }
    }

    /// Whether a line about a refused request or peer may be logged now.
    pub(super) fn allow(&mut self, now: Millis) -> bool {
        let second = now.0 / 1000;
        if second != self.second {
            if self.left_out > 0 {
                tracing::warn!(lines = self.left_out, "{}", self.excuse);
            }
            *self = Self { second, ..Self::of(self.excuse) };
        }
        if self.logged < LINES_PER_SECOND {
            self.logged += 1;
            return true;
        }
        self.left_out += 1;
        false
    }
}

/// The beginning of a text that the peer chose, as a log line quotes it.
pub(super) fn quotable(text: &str) -> &str {
    &text[..text.floor_char_boundary(QUOTED_BYTES)]
}

const LINES_PER_SECOND: u32 = 100;

/// More than any honest agent or realm; a log line waits in memory until it is written.
const QUOTED_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own_budget() {
        let mut budget = LogBudget::of("more");
        let allowed = |budget: &mut LogBudget, at| (0..250).filter(|_| budget.allow(at)).count();
        assert_eq!(allowed(&mut budget, Millis(5_000)), 100);
        assert_eq!(allowed(&mut budget, Millis(5_999)), 0);
        assert_eq!(allowed(&mut budget, Millis(6_000)), 100);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(quotable("autobahn"), "autobahn");
        let text = format!("x{}", "ä".repeat(200));
        assert_eq!(quotable(&text), &text[..255]);
    }
}
