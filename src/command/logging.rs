//! The log: lines on standard error, for people or as JSON.
//!
//! Set up once by `main`, before the first thread of the router starts. Everything else logs
//! through `tracing` and never learns where its lines go: into a bounded queue, from which the
//! thread `log` writes them. Nobody waits for it. What finds the queue full is lost and counted.

mod tail;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use stentor::config::{self, Fault, LogFormat};
use stentor::control::LogTail;
use tracing::dispatcher::{self, Dispatch};
use tracing::{error, field, warn};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::{MakeWriter, fmt};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use tail::Tail;

/// The running log. Dropping it writes what is queued, as far as [`EXIT_WAIT`] allows.
pub(crate) struct Log {
    /// Puts another filter in the place of the one that holds.
    set_filter: Box<dyn Fn(EnvFilter)>,
    queue: NonBlocking,
    guard: Option<WorkerGuard>,
    /// The last lines, for operators; there is none if nobody may ask for it.
    tail: Option<Arc<LogTail>>,
}

impl Log {
    /// Sends the log where `log` says, from now on, panics included. With `has_tail` the last lines
    /// are kept for operators.
    ///
    /// # Errors
    /// [`Fault`] if `log.level` is no filter; a checked configuration has a valid one.
    pub(crate) fn start(log: &config::Log, has_tail: bool) -> Result<Self, Fault> {
        let filter = whole(log.filter()?);
        let (notice, _) = dispatch(log.format, EnvFilter::new("warn"), io::stderr, None);
        let failed = Arc::new(AtomicU64::new(0));
        let dropped = Arc::new(OnceLock::new());
        let (queue, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(QUEUE_LINES)
            .lossy(true)
            .thread_name("log")
            .finish(Output::new(io::stderr(), Arc::clone(&dropped), Arc::clone(&failed), notice));
        // The first and only value.
        let _ = dropped.set(queue.error_counter());
        // Only one subscriber can be set, and `main` sets it once: a second try changes nothing.
        let dropped = queue.error_counter();
        let lost = move || dropped.dropped_lines() as u64 + failed.load(Ordering::Relaxed);
        let tail = has_tail.then(|| Arc::new(LogTail::new(lost)));
        let (lines, set_filter) = dispatch(log.format, filter, queue.clone(), tail.clone());
        let _ = lines.try_init();
        // The usual hook writes to standard error, and would wait there with the thread.
        panic::set_hook(Box::new(tell_panic));
        Ok(Self { set_filter, queue, guard: Some(guard), tail })
    }

    /// What is said from now on is what `log.level` says; its format stays.
    pub(crate) fn set_level(&self, log: &config::Log) {
        if let Ok(filter) = log.filter() {
            (self.set_filter)(whole(filter));
        }
    }

    /// The last lines.
    pub(crate) fn tail(&self) -> Option<Arc<LogTail>> {
        self.tail.clone()
    }

    /// Writes plain text behind everything that was logged.
    pub(crate) fn print(&self, text: &str) {
        // Cannot fail: text that finds the queue full is one more lost line.
        let _ = self.queue.clone().write_all(text.as_bytes());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The guard waits 100 ms for a place in the queue, then a second until all is written. If
        // it gets no place it says so on standard output, which may be the very pipe that nobody
        // reads. So it waits on a thread that can be left behind.
        let guard = self.guard.take();
        let (ended, end) = bounded::<()>(0);
        let waiting = thread::Builder::new().spawn(move || {
            drop(guard);
            drop(ended);
        });
        if waiting.is_ok() {
            // Nothing is ever sent: the wait ends with the sender, or with the time.
            let _ = end.recv_timeout(EXIT_WAIT);
        }
    }
}

/// What formats lines as `format` says, and hands them to `writer`.
/// The second of the two changes the filter.
fn dispatch<W>(
    format: LogFormat,
    filter: EnvFilter,
    writer: W,
    tail: Option<Arc<LogTail>>,
) -> (Dispatch, Box<dyn Fn(EnvFilter)>)
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // A closed standard error must not end the process.
        .log_internal_errors(false);
    // The formats are of different types.
    macro_rules! finish {
        ($lines:expr) => {{
            let lines = $lines.with_filter_reloading();
            let handle = lines.reload_handle();
            // It fails only when the log is gone.
            let set_filter = move |filter| drop(handle.reload(filter));
            (lines.finish().with(tail.map(Tail)).into(), Box::new(set_filter))
        }};
    }
    match format {
        LogFormat::Json => finish!(lines.json().flatten_event(true)),
        LogFormat::Human => finish!(lines.with_ansi(false).with_target(false)),
        LogFormat::Auto => finish!(lines.with_ansi(is_coloured()).with_target(false)),
    }
}

/// A panic is told whatever the filter.
fn own() -> Directive {
    concat!(module_path!(), "=error").parse().expect("a level of this module")
}

/// A filter with what holds whatever the configuration says: panics are told, and no URL that is
/// asked over HTTP is, as there may be a secret behind its `?`.
fn whole(filter: EnvFilter) -> EnvFilter {
    ["ureq=warn", "ureq_proto=warn"].iter().fold(filter.add_directive(own()), |filter, quiet| {
        filter.add_directive(quiet.parse().expect("a level of a module"))
    })
}

/// As <https://no-color.org> asks: any value but the empty one turns colours off.
fn is_coloured() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !no_color
}

fn tell_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let location = panic.location().map(field::display);
    let backtrace = Backtrace::capture();
    let is_captured = backtrace.status() == BacktraceStatus::Captured;
    let backtrace = is_captured.then(|| field::display(backtrace));
    let message = panic.payload_as_str().unwrap_or("no message");
    error!(thread, location, backtrace, "panicked: {message}");
}

/// The end of the queue, on the thread `log`: gathers lines while more are waiting, and tells how
/// many were lost.
struct Output<W: Write> {
    /// Holds whole lines only, so that those of several processes do not mix in one pipe.
    lines: BufWriter<W>,
    /// How many lines found the queue full.
    dropped: Arc<OnceLock<ErrorCounter>>,
    /// How many lines the stream did not take.
    failed: Arc<AtomicU64>,
    /// How many of both the log has told.
    told: u64,
    /// Lines since the last flush.
    unflushed: usize,
    /// Writes past the queue, which may be full or at its end.
    notice: Dispatch,
}

impl<W: Write> Output<W> {
    fn new(
        stream: W,
        dropped: Arc<OnceLock<ErrorCounter>>,
        failed: Arc<AtomicU64>,
        notice: Dispatch,
    ) -> Self {
        let lines = BufWriter::with_capacity(WRITE_BYTES, stream);
        Self { lines, dropped, failed, told: 0, unflushed: 0, notice }
    }

    /// Rare by itself: between two losses that are told, a whole queue was written.
    fn tell_losses(&mut self) {
        let dropped = self.dropped.get().map_or(0, ErrorCounter::dropped_lines);
        let lost = (dropped as u64).saturating_add(self.failed.load(Ordering::Relaxed));
        if lost > self.told {
            let lines = lost - self.told;
            dispatcher::with_default(&self.notice, || {
                warn!(lines, "log lines were lost, standard error was not read in time");
            });
            self.told = lost;
        }
    }
}

/// Never fails: an error would keep the thread from hearing that it shall end, and the stream may
/// take the next line.
impl<W: Write> Write for Output<W> {
    /// Takes one line, whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.write_all(line).is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        self.unflushed += 1;
        if self.unflushed >= QUEUE_LINES {
            // Losses are told even if the queue never runs empty.
            self.flush()?;
        }
        Ok(line.len())
    }

    /// Called whenever the queue has run empty.
    fn flush(&mut self) -> io::Result<()> {
        self.unflushed = 0;
        if self.lines.flush().is_ok() {
            self.tell_losses();
        }
        Ok(())
    }
}

/// Lines that wait at most. A join or a leave is one of 200 to 300 bytes, and what a client says is
/// cut before it is logged: so 2 MB in a storm of sessions, 32 MB if each line were the longest
/// that a stranger can cause. At 20,000 lines a second a reader may pause for 400 ms.
const QUEUE_LINES: usize = 8192;

/// Bytes that are gathered for one write: what a pipe takes in one piece (`PIPE_BUF` of Linux).
const WRITE_BYTES: usize = 4096;

/// How long the end of the process waits for the log: more than the guard does if it can.
const EXIT_WAIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
