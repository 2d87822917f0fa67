//! The signals of the operating system: which ones stop the router, and how.
//!
//! A thread waits for them from before the start of the router on, so that a slow start can be
//! stopped, too. Until then, while the configuration is read, they end the process as usual.
//! SIGPIPE is ignored by Rust's runtime: that a peer has closed is an error of one write.

use std::io::{self, IsTerminal};
use std::process;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;
use tracing::info;

/// What the signals ask for.
pub(crate) struct Orders {
    /// Receives once, when the router is to stop in order.
    pub(crate) stop: Receiver<()>,
    /// Receives when the configuration is to be read again; of several at a time, one.
    pub(crate) reload: Receiver<()>,
}

/// Begins to listen to signals.
///
/// SIGINT and SIGTERM stop the router; a second one ends the process at once. SIGHUP stops it in
/// order if it runs on a terminal, which has hung up; elsewhere it asks for the configuration to be
/// read again.
pub(crate) fn watch() -> io::Result<Orders> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let on_terminal = io::stdin().is_terminal();
    let (stopping, stop) = bounded(1);
    let (reloading, reload) = bounded(1);
    thread::Builder::new().name("signals".into()).spawn(move || {
        follow(signals.forever(), on_terminal, &stopping, &reloading);
        // At once: what the log still holds is what standard error has not taken.
        process::exit(1);
    })?;
    Ok(Orders { stop, reload })
}

/// Returns when the process is to end at once.
fn follow(
    signals: impl Iterator<Item = i32>,
    on_terminal: bool,
    stop: &Sender<()>,
    reload: &Sender<()>,
) {
    let mut is_stopping = false;
    for signal in signals {
        let name = signal_name(signal).unwrap_or_default();
        match signal {
            SIGHUP if !on_terminal => {
                // One that waits will read what is there by then.
                let _ = reload.try_send(());
            }
            // The shell passes it on while the kernel sends one, too: it never means "at once".
            SIGHUP if is_stopping => {}
            _ if is_stopping => return,
            _ => {
                is_stopping = true;
                info!(signal = name, "stopping");
                // The router may be stopping already, for a reason of its own.
                let _ = stop.try_send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether these signals stop the router in order, and after how many the process ends.
    fn after(signals: &[i32], on_terminal: bool) -> (bool, Option<usize>) {
        let (stopped, _, taken) = ask(signals, on_terminal);
        (stopped, taken)
    }

    /// The same, and whether they ask for a reload.
    fn ask(signals: &[i32], on_terminal: bool) -> (bool, bool, Option<usize>) {
        let (stop, stopped) = bounded(1);
        let (reload, reloading) = bounded(1);
        let mut taken = 0;
        // Whoever asks for one more is still waiting.
        let mut is_over = true;
        let counted = signals.iter().inspect(|_| taken += 1).copied();
        let watched = counted.chain(std::iter::from_fn(|| {
            is_over = false;
            None
        }));
        follow(watched, on_terminal, &stop, &reload);
        let is_reloading = reloading.try_recv().is_ok();
        (stopped.try_recv().is_ok(), is_reloading, is_over.then_some(taken))
    }

    #[test]
    fn the_first_signal_stops_in_order_and_the_second_at_once() {
        for on_terminal in [true, false] {
            for signal in [SIGINT, SIGTERM] {
                assert_eq!(after(&[signal], on_terminal), (true, None));
                assert_eq!(after(&[signal, SIGTERM, SIGTERM], on_terminal), (true, Some(2)));
            }
        }
    }

    /// A hang-up brings several at once, from the kernel and from the shell.
    #[test]
    fn a_terminal_that_hangs_up_stops_in_order() {
        assert_eq!(after(&[SIGHUP], true), (true, None));
        assert_eq!(after(&[SIGHUP, SIGHUP, SIGHUP], true), (true, None));
        assert_eq!(after(&[SIGHUP, SIGTERM], true), (true, Some(2)));
    }

    #[test]
    fn elsewhere_sighup_asks_for_a_reload_and_stops_nothing() {
        assert_eq!(ask(&[SIGHUP, SIGHUP], false), (false, true, None));
        assert_eq!(ask(&[SIGHUP, SIGTERM, SIGHUP], false), (true, true, None));
        assert_eq!(ask(&[SIGHUP], true), (true, false, None));
    }
}
