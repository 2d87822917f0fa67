//! Open loop: when each message should be sent, whatever the router does. Latency counts from here,
//! so a router that stalls cannot hide its stall by slowing the generator down.

use super::SECOND_NS;

/// A constant rate from a start time on.
#[derive(Clone, Debug)]
pub struct Pacer {
    start_ns: u64,
    per_second: f64,
    sent: u64,
}

impl Pacer {
    /// `per_second` must be above 0.
    pub const fn new(start_ns: u64, per_second: f64) -> Self {
        Self { start_ns, per_second, sent: 0 }
    }

    /// When the next message is due, in nanoseconds of the run's clock.
    pub fn due_ns(&self) -> u64 {
        self.start_ns + (self.sent as f64 * SECOND_NS as f64 / self.per_second) as u64
    }

    /// How many were taken.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Takes the next message: when it was due, if that is not after `now_ns`.
    pub fn take(&mut self, now_ns: u64) -> Option<u64> {
        let due = self.due_ns();
        if due > now_ns {
            return None;
        }
        self.sent += 1;
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_generator_catches_up_with_the_plan() {
        let mut pacer = Pacer::new(1_000, 1_000.0);
        assert_eq!(pacer.take(999), None);
        assert_eq!(pacer.take(1_000), Some(1_000));
        assert_eq!(pacer.take(1_000), None);
        assert_eq!(pacer.take(9_000_000), Some(1_001_000));
        assert_eq!(pacer.take(9_000_000), Some(2_001_000));
        assert_eq!(pacer.due_ns(), 3_001_000);
    }
}
