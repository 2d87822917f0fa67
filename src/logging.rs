//! The log: lines on standard error, for people or as JSON.
//!
//! Set up once by `main`, before the first thread starts. Everything else logs through `tracing`
//! and never learns where its lines go.

use std::io::{self, IsTerminal};

use stentor::config::{Fault, Log, LogFormat};
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;

/// Sends the log where `log` says, from now on.
///
/// # Errors
/// [`Fault`] if `log.level` is no filter; a checked configuration has a valid one.
pub(crate) fn init(log: &Log) -> Result<(), Fault> {
    let lines = fmt()
        .with_env_filter(log.filter()?)
        .with_writer(io::stderr)
        // A closed standard error must not end the process.
        .log_internal_errors(false);
    // Only one subscriber can be set, and `main` sets it once: a second try changes nothing.
    let _ = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
        LogFormat::Human => lines.with_ansi(false).with_target(false).finish().try_init(),
        LogFormat::Auto => lines.with_ansi(is_coloured()).with_target(false).finish().try_init(),
    };
    Ok(())
}

/// As <https://no-color.org> asks: any value but the empty one turns colours off.
fn is_coloured() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !no_color
}
