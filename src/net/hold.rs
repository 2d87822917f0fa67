//! Flush batching: how long what is to be written may wait for more (`tuning.flush_delay_us`).
//!
//! Output waits while more comes, and no longer than the delay: when nothing was added for a
//! quarter of it, everybody may be waiting for what is held. Waiting pays if it saves half of the
//! writes: as many frames joined others meanwhile as there are connections to write. When it did
//! not, the next flushes do without it, twice as many each time, so that a client that waits for
//! its answer before it goes on is seldom made to wait. [`Hold`] decides, [`Alarm`] wakes.

use std::io;
use std::time::{Duration, Instant};

use mio::{Registry, Token};

#[derive(Debug)]
pub(super) struct Hold {
    delay: Duration,
    /// The output that waits.
    held: Option<Held>,
    /// Flushes that do without waiting.
    skipped: u32,
    to_skip: u32,
    /// More was due than one turn writes; the rest is not held again.
    releasing: bool,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    /// [`Output::joined`] when it began to wait.
    joined_before: u64,
    /// The output of the last turn that added some.
    last: Output,
    until: Instant,
    /// When it ends unless something is added.
    quiet_at: Instant,
}

/// What waits to be written at the end of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Output {
    /// Frames so far that joined others on their way to the same connection.
    pub(super) joined: u64,
    /// Connections to be written.
    pub(super) connections: usize,
    /// Nothing may wait now: the shard stops, or much is held already.
    pub(super) is_pressing: bool,
}

impl Hold {
    pub(super) const fn new(delay: Duration) -> Self {
        Self { delay, held: None, skipped: 0, to_skip: 0, releasing: false }
    }

    pub(super) const fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Whether the turn that ends now is to write. If not, it is to be asked again at
    /// [`Self::deadline`] at the latest.
    pub(super) fn may_write(&mut self, output: Output, now: Instant) -> bool {
        let Some(held) = &mut self.held else { return !self.begins(output, now) };
        if held.last != output {
            held.last = output;
            held.quiet_at = now + self.delay / 4;
        }
        if now < held.until.min(held.quiet_at) && !output.is_pressing {
            return false;
        }
        let joined = output.joined - held.joined_before;
        self.held = None;
        let paid = joined >= output.connections as u64;
        self.to_skip = if paid { 0 } else { (2 * self.to_skip + 1).min(MOST_SKIPPED) };
        true
    }

    /// Says whether all that was due is written.
    pub(super) const fn written(&mut self, all: bool) {
        self.releasing = !all;
    }

    /// When to ask again, even if nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.held.map(|held| held.until.min(held.quiet_at))
    }

    fn begins(&mut self, output: Output, now: Instant) -> bool {
        if output.is_pressing || self.releasing {
            return false;
        }
        if self.skipped < self.to_skip {
            self.skipped += 1;
            return false;
        }
        self.skipped = 0;
        let (until, quiet_at) = (now + self.delay, now + self.delay / 4);
        self.held = Some(Held { joined_before: output.joined, last: output, until, quiet_at });
        true
    }
}

/// Wakes a poller to the microsecond, where its own timeout counts in milliseconds.
#[derive(Debug)]
pub(super) struct Alarm {
    #[cfg(target_os = "linux")]
    descriptor: std::os::fd::OwnedFd,
    set_for: Option<Instant>,
}

#[cfg(target_os = "linux")]
impl Alarm {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        use std::os::fd::AsRawFd;

        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let mut source = mio::unix::SourceFd(&descriptor.as_raw_fd());
        registry.register(&mut source, token, mio::Interest::READABLE)?;
        Ok(Self { descriptor, set_for: None })
    }

    /// Rings at `at`, or earlier if it was set to before that. Setting it anew also silences a ring
    /// that nobody took.
    pub(super) fn ring_by(&mut self, at: Instant, now: Instant) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

        if self.set_for.is_some_and(|set_for| now < set_for && set_for <= at) {
            return Ok(());
        }
        self.set_for = Some(at);
        let delay = at.saturating_duration_since(now);
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
        // A timer set to zero would be off.
        let nanoseconds = i64::from(delay.subsec_nanos()).max(1);
        let value = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let setting = Itimerspec { it_interval: zero, it_value: value };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &setting)?;
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub(super) fn new(_: &Registry, _: Token) -> io::Result<Self> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "tuning.flush_delay_us needs Linux; leave it at 0",
        ))
    }

    pub(super) fn ring_by(&mut self, _: Instant, _: Instant) -> io::Result<()> {
        Ok(())
    }
}

/// One flush in so many is still held, to learn whether it pays by now.
const MOST_SKIPPED: u32 = 63;

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_micros(200);

    struct Turns {
        hold: Hold,
        now: Instant,
        output: Output,
    }

    impl Turns {
        #[expect(clippy::disallowed_methods, reason = "only a point to count from")]
        fn new() -> Self {
            let output = Output { joined: 0, connections: 3, is_pressing: false };
            Self { hold: Hold::new(DELAY), now: Instant::now(), output }
        }

        /// A turn `micros` later, in which `joined` frames join others: whether it writes.
        fn turn(&mut self, micros: u64, joined: u64) -> bool {
            self.now += Duration::from_micros(micros);
            self.output.joined += joined;
            let writes = self.hold.may_write(self.output, self.now);
            if writes {
                self.hold.written(true);
            }
            writes
        }
    }

    #[test]
    fn output_waits_for_the_delay_and_no_longer() {
        let mut turns = Turns::new();
        assert!(!turns.turn(0, 0));
        for _ in 0..4 {
            assert_eq!(turns.hold.deadline(), Some(turns.now + DELAY / 4));
            assert!(!turns.turn(45, 5));
        }
        assert_eq!(turns.hold.deadline(), Some(turns.now + Duration::from_micros(20)));
        assert!(turns.turn(20, 5), "what joins does not prolong the wait for ever");
        assert!(!turns.hold.is_holding());
        assert!(!turns.turn(1000, 0), "it paid, so the next output waits too");
    }

    #[test]
    fn output_waits_only_while_more_comes() {
        let mut turns = Turns::new();
        assert!(!turns.turn(0, 0) && !turns.turn(40, 1) && !turns.turn(40, 0));
        assert!(turns.turn(10, 0), "nothing was added for a quarter of the delay");
    }

    #[test]
    fn waiting_in_vain_becomes_rare() {
        let mut turns = Turns::new();
        let mut held = 0;
        for _ in 0..10_000 {
            if !turns.turn(10, 1) {
                held += 1;
                assert!(turns.turn(200, 2), "two frames for three connections");
            }
        }
        assert!((100..200).contains(&held), "{held} of 10000 flushes waited");
        while turns.turn(10, 0) {}
        assert!(turns.turn(200, 3), "at last it pays");
        assert!(!turns.turn(10, 0));
    }

    #[test]
    fn nothing_waits_when_it_presses() {
        let mut turns = Turns::new();
        assert!(!turns.turn(0, 0));
        turns.output.is_pressing = true;
        assert!(turns.turn(1, 0) && turns.turn(1, 0));
    }

    #[test]
    fn what_a_turn_leaves_over_is_not_held_again() {
        let mut turns = Turns::new();
        assert!(!turns.turn(0, 0) && turns.turn(200, 3));
        turns.hold.written(false);
        assert!(turns.turn(10, 0));
        assert!(!turns.turn(10, 0));
    }
}
