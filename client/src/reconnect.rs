//! When a lost connection is tried again.

use std::time::Duration;

/// Waits between tries: each is drawn at random from nothing to a bound that grows from `min` by
/// `factor` up to `max`, so that many clients of one router do not come back at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reconnect {
    min: Duration,
    max: Duration,
    factor: f64,
    tries: Option<u32>,
}

impl Default for Reconnect {
    /// From 200 ms, doubled up to 30 s, without an end.
    fn default() -> Self {
        let (min, max) = (Duration::from_millis(200), Duration::from_secs(30));
        Self { min, max, factor: 2.0, tries: None }
    }
}

impl Reconnect {
    /// The bound of the first wait.
    #[must_use]
    pub const fn min(mut self, min: Duration) -> Self {
        self.min = min;
        self
    }

    /// The bound of the longest waits.
    #[must_use]
    pub const fn max(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// By how much the bound grows with each try; at least 1.
    #[must_use]
    pub const fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// After how many failures in a row the client gives up.
    #[must_use]
    pub const fn tries(mut self, tries: u32) -> Self {
        self.tries = Some(tries);
        self
    }

    /// The wait before a try, of which so many have failed; `None`: no more. `random` is any.
    pub(crate) fn wait(&self, failed: u32, random: u64) -> Option<Duration> {
        if self.tries.is_some_and(|tries| failed >= tries) {
            return None;
        }
        let growth = self.factor.max(1.0).powi(i32::try_from(failed).unwrap_or(i32::MAX));
        let bound = (self.min.as_secs_f64() * growth).min(self.max.as_secs_f64());
        // 53 bits are as many as a float holds.
        let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
        Some(Duration::from_secs_f64((bound * share).max(0.0)))
    }
}

/// Whether another try cannot help: the router has said no to this client, and not to the moment.
pub(crate) fn is_final(reason: &str) -> bool {
    matches!(
        reason,
        "wamp.error.authentication_denied"
            | "wamp.error.authentication_required"
            | "wamp.error.no_matching_auth_method"
            | "wamp.error.no_such_role"
            | "wamp.error.not_authorized"
            | "wamp.error.protocol_violation"
            | "wamp.close.killed"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_are_drawn_below_it() {
        let reconnect = Reconnect::default().tries(100);
        let longest = |failed| reconnect.wait(failed, u64::MAX).unwrap().as_secs_f64();
        for (failed, bound) in [(0, 0.2), (1, 0.4), (2, 0.8), (7, 25.6), (8, 30.0), (99, 30.0)] {
            assert!((longest(failed) - bound).abs() < 1e-6, "{failed}: {}", longest(failed));
            assert_eq!(reconnect.wait(failed, 0), Some(Duration::ZERO));
        }
        assert_eq!(reconnect.wait(100, 5), None);
        assert!(Reconnect::default().wait(u32::MAX, u64::MAX).is_some(), "no end, no overflow");
        let shrinking = Reconnect::default().factor(0.1);
        assert_eq!(shrinking.wait(5, u64::MAX), shrinking.wait(0, u64::MAX));
    }
}
