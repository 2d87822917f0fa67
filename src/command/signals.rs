//! The signals of the operating system: which ones stop the router, and how.
//!
//! A thread waits for them from before the start of the router on, so that a slow start can be
//! stopped, too. Until then, while the configuration is read, they end the process as usual.
//! SIGPIPE is ignored by Rust's runtime: that a peer has closed is an error of one write.

use std::io::{self, IsTerminal};
use std::process;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;
use tracing::info;

/// What the signals ask for.
pub(crate) struct Orders {
    /// Receives how the router is to stop; later orders are for less patience.
    pub(crate) stop: Receiver<Stop>,
    /// Receives when the configuration is to be read again; of several at a time, one.
    pub(crate) reload: Receiver<()>,
}

/// With how much patience the router is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// Sessions leave slowly.
    LameDuck,
    Drain,
    /// Everybody leaves at once, in order.
    Now,
}

/// Who sends the signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Setting {
    on_terminal: bool,
    /// SIGTERM asks for a drain.
    drains: bool,
}

/// Begins to listen to signals.
///
/// SIGTERM asks for a drain if the router `drains`; another one, or SIGINT at any time, for a stop
/// at once, in order; and one more ends the process. SIGUSR2 asks for a slow drain. SIGHUP stops
/// the router in order if it runs on a terminal, which has hung up; elsewhere it asks for the
/// configuration to be read again.
pub(crate) fn watch(drains: bool) -> io::Result<Orders> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR2])?;
    let setting = Setting { on_terminal: io::stdin().is_terminal(), drains };
    // One for each order that can follow another.
    let (stopping, stop) = bounded(3);
    let (reloading, reload) = bounded(1);
    thread::Builder::new().name("signals".into()).spawn(move || {
        follow(signals.forever(), setting, &stopping, &reloading);
        // At once: what the log still holds is what standard error has not taken.
        process::exit(1);
    })?;
    Ok(Orders { stop, reload })
}

/// Returns when the process is to end at once.
fn follow(
    signals: impl Iterator<Item = i32>,
    setting: Setting,
    stop: &Sender<Stop>,
    reload: &Sender<()>,
) {
    let mut last = None;
    for signal in signals {
        let order = match signal {
            SIGHUP if !setting.on_terminal => {
                // One that waits will read what is there by then.
                let _ = reload.try_send(());
                continue;
            }
            SIGUSR2 => Stop::LameDuck,
            SIGTERM if setting.drains && last < Some(Stop::Drain) => Stop::Drain,
            // The shell passes it on while the kernel sends one, too: it never means "at once".
            SIGHUP => Stop::Now,
            _ if last == Some(Stop::Now) => return,
            _ => Stop::Now,
        };
        if last < Some(order) {
            last = Some(order);
            info!(signal = signal_name(signal).unwrap_or_default(), "stopping");
            // The router may be stopping already, for a reason of its own.
            let _ = stop.try_send(order);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: Setting = Setting { on_terminal: true, drains: false };
    const SERVICE: Setting = Setting { on_terminal: false, drains: true };

    /// What these signals ask for, and after how many the process ends.
    fn after(signals: &[i32], setting: Setting) -> (Vec<Stop>, Option<usize>) {
        let (orders, _, taken) = ask(signals, setting);
        (orders, taken)
    }

    /// The same, and whether they ask for a reload.
    fn ask(signals: &[i32], setting: Setting) -> (Vec<Stop>, bool, Option<usize>) {
        let (stop, stopped) = bounded(3);
        let (reload, reloading) = bounded(1);
        let mut taken = 0;
        // Whoever asks for one more is still waiting.
        let mut is_over = true;
        let counted = signals.iter().inspect(|_| taken += 1).copied();
        let watched = counted.chain(std::iter::from_fn(|| {
            is_over = false;
            None
        }));
        follow(watched, setting, &stop, &reload);
        let is_reloading = reloading.try_recv().is_ok();
        (stopped.try_iter().collect(), is_reloading, is_over.then_some(taken))
    }

    #[test]
    fn sigterm_drains_then_stops_at_once_then_ends_the_process() {
        assert_eq!(after(&[SIGTERM], SERVICE), (vec![Stop::Drain], None));
        let both = vec![Stop::Drain, Stop::Now];
        assert_eq!(after(&[SIGTERM, SIGTERM], SERVICE), (both.clone(), None));
        assert_eq!(after(&[SIGTERM, SIGINT], SERVICE), (both.clone(), None));
        assert_eq!(after(&[SIGTERM, SIGTERM, SIGTERM, SIGTERM], SERVICE), (both, Some(3)));
    }

    #[test]
    fn nobody_waits_after_sigint_or_without_a_file() {
        for (signal, setting) in [(SIGINT, SERVICE), (SIGINT, TERMINAL), (SIGTERM, TERMINAL)] {
            assert_eq!(after(&[signal], setting), (vec![Stop::Now], None));
            assert_eq!(after(&[signal, SIGTERM, SIGTERM], setting), (vec![Stop::Now], Some(2)));
        }
    }

    #[test]
    fn a_lame_duck_can_be_hurried() {
        let lame = [SIGUSR2, SIGUSR2, SIGTERM, SIGUSR2, SIGTERM];
        assert_eq!(after(&lame, SERVICE), (vec![Stop::LameDuck, Stop::Drain, Stop::Now], None));
        assert_eq!(after(&[SIGUSR2, SIGINT, SIGINT], SERVICE).1, Some(3));
    }

    /// A hang-up brings several at once, from the kernel and from the shell.
    #[test]
    fn a_terminal_that_hangs_up_stops_in_order() {
        let stops = vec![Stop::Now];
        assert_eq!(after(&[SIGHUP], TERMINAL), (stops.clone(), None));
        assert_eq!(after(&[SIGHUP, SIGHUP, SIGHUP], TERMINAL), (stops.clone(), None));
        assert_eq!(after(&[SIGHUP, SIGTERM], TERMINAL), (stops, Some(2)));
    }

    #[test]
    fn elsewhere_sighup_asks_for_a_reload_and_stops_nothing() {
        assert_eq!(ask(&[SIGHUP, SIGHUP], SERVICE), (vec![], true, None));
        assert_eq!(ask(&[SIGHUP, SIGTERM, SIGHUP], SERVICE), (vec![Stop::Drain], true, None));
        assert_eq!(ask(&[SIGHUP], TERMINAL), (vec![Stop::Now], false, None));
    }
}
