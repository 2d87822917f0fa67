//! Wakes the event loop to the microsecond: `epoll_wait` counts in milliseconds, which is too
//! coarse for an open loop at a thousand messages per second.

use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::error::{Context, Result};
use crate::measure::SECOND_NS;

pub struct Timer {
    descriptor: OwnedFd,
    armed_for_ns: u64,
}

impl Timer {
    pub fn new(registry: &Registry, token: Token) -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor =
            timerfd_create(TimerfdClockId::Monotonic, flags).context("making a timer")?;
        registry
            .register(&mut SourceFd(&descriptor.as_raw_fd()), token, Interest::READABLE)
            .context("registering a timer")?;
        Ok(Self { descriptor, armed_for_ns: 0 })
    }

    /// Makes its token ready at `due_ns`, which lies after `now_ns`.
    pub fn arm(&mut self, due_ns: u64, now_ns: u64) -> Result<()> {
        debug_assert!(due_ns > now_ns);
        if self.armed_for_ns == due_ns {
            return Ok(());
        }
        self.armed_for_ns = due_ns;
        let after = due_ns - now_ns;
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value =
            Timespec { tv_sec: (after / SECOND_NS) as i64, tv_nsec: (after % SECOND_NS) as i64 };
        let setting = Itimerspec { it_interval: zero, it_value: value };
        // Setting it anew also clears an expiry nobody read.
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &setting)
            .context("setting a timer")?;
        Ok(())
    }
}
