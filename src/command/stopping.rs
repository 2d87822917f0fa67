//! How the command brings a router to its end: with patience for calls under way, or without.
//!
//! Runs on the main thread, which follows orders meanwhile. Who is told to leave when is decided by
//! the router.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, never};
use stentor::net::Server;
use tracing::info;

use crate::command::signals::Stop;

/// How far it has come.
pub(crate) struct Stopping {
    /// Receives when the drain is to begin.
    pub(crate) begin: Receiver<Instant>,
    /// Is disconnected when no session is left.
    pub(crate) drained: Receiver<()>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Load balancers are to notice first. Then a drain takes so long.
    Delayed(Duration),
    Draining,
}

impl Stopping {
    pub(crate) fn new() -> Self {
        Self { begin: never(), drained: never(), phase: Phase::Serving }
    }

    /// Begins what an order asks for. `true` if the router is to be stopped at once.
    pub(crate) fn follow(&mut self, order: Stop, server: &Server) -> bool {
        let timeouts = server.timeouts();
        let within_ms = match order {
            Stop::Now => return true,
            Stop::Drain => timeouts.drain_ms,
            Stop::LameDuck => timeouts.lame_duck_ms,
        };
        self.begin_within(Duration::from_millis(within_ms), server);
        false
    }

    /// Drains because an operator asks for it: within so many milliseconds, or as long as SIGTERM
    /// gives. Says how long that is.
    pub(crate) fn drain_within(&mut self, within_ms: Option<u64>, server: &Server) -> u64 {
        let within_ms = within_ms.unwrap_or_else(|| server.timeouts().drain_ms);
        self.begin_within(Duration::from_millis(within_ms), server);
        match self.phase {
            Phase::Delayed(_) => within_ms.saturating_add(server.timeouts().drain_delay_ms),
            _ => within_ms,
        }
    }

    fn begin_within(&mut self, within: Duration, server: &Server) {
        let delay_ms = server.timeouts().drain_delay_ms;
        match self.phase {
            Phase::Serving if delay_ms > 0 => {
                info!(delay_ms, "not ready any more; the drain begins after the delay");
                server.withdraw();
                self.begin = after(Duration::from_millis(delay_ms));
                self.phase = Phase::Delayed(within);
            }
            Phase::Delayed(before) => self.phase = Phase::Delayed(before.min(within)),
            Phase::Serving | Phase::Draining => self.drain(within, server),
        }
    }

    /// The delay before the drain is over.
    pub(crate) fn go_on(&mut self, server: &Server) {
        self.begin = never();
        if let Phase::Delayed(within) = self.phase {
            self.drain(within, server);
        }
    }

    fn drain(&mut self, within: Duration, server: &Server) {
        let sessions = server.snapshot().sessions;
        info!(sessions, within_ms = within.as_millis(), "draining");
        self.drained = server.drain(within);
        self.phase = Phase::Draining;
    }
}
