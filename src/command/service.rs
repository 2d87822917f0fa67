//! What the service manager is told (systemd, sd_notify(3)): that the router serves, reloads or
//! stops, how it is, and that its event loops turn.
//!
//! The protocol is a datagram of lines, so it needs no library. Without `NOTIFY_SOCKET` nothing of
//! this exists. A thread, `service`, says regularly what has to be said regularly.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use stentor::net::Vigil;
use tracing::warn;

/// The service manager, if there is one that wants to know.
pub(crate) struct Manager(Option<Told>);

struct Told {
    way: Arc<Way>,
    /// How long event loops may stand still before the process is killed.
    watchdog: Option<Duration>,
    is_stopping: Arc<AtomicBool>,
    is_ending: Arc<AtomicBool>,
}

/// The thread that speaks regularly; it ends when this is dropped.
pub(crate) struct Beats {
    _stop: Option<Sender<()>>,
}

/// The way to the service manager.
struct Way {
    socket: UnixDatagram,
    to: SocketAddr,
}

impl Manager {
    /// By `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub(crate) fn from_env() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self(None);
        };
        let way = match Way::to(&name) {
            Ok(way) => Arc::new(way),
            Err(error) => {
                warn!(%error, socket = ?name, "the service manager cannot be told anything");
                return Self(None);
            }
        };
        let text = |name: &str| env::var(name).ok();
        let watchdog = watchdog(text("WATCHDOG_USEC"), text("WATCHDOG_PID"), process::id());
        let (is_stopping, is_ending) = Default::default();
        Self(Some(Told { way, watchdog, is_stopping, is_ending }))
    }

    /// The router serves, or serves by another configuration than before.
    pub(crate) fn ready(&self) {
        self.tell("READY=1\nSTATUS=Serving");
    }

    /// The configuration is read again; [`Self::ready`] is to follow in any case.
    pub(crate) fn reloading(&self) {
        self.tell(&format!("RELOADING=1\nSTATUS=Reloading{}", moment()));
    }

    /// The router stops, however long that takes: the manager is to wait as long as it is told so.
    pub(crate) fn stopping(&self) {
        if let Self(Some(told)) = self
            && !told.is_stopping.swap(true, Ordering::Relaxed)
        {
            told.way.tell(&format!("STOPPING=1\nSTATUS=Stopping\n{EXTENSION}"));
        }
    }

    /// The event loops end from now on, one after the other; until then they turn, in a drain too.
    pub(crate) fn ending(&self) {
        if let Self(Some(told)) = self {
            told.is_ending.store(true, Ordering::Relaxed);
        }
    }

    /// Speaks regularly from now on.
    ///
    /// # Errors
    /// A lack of system resources.
    pub(crate) fn follow(&self, vigil: Vigil) -> io::Result<Beats> {
        let Self(Some(told)) = self else { return Ok(Beats { _stop: None }) };
        let (way, watchdog) = (Arc::clone(&told.way), told.watchdog);
        let (is_stopping, is_ending) = (Arc::clone(&told.is_stopping), Arc::clone(&told.is_ending));
        let beat = watchdog.map_or(LONGEST_BEAT, |within| LONGEST_BEAT.min(within / 3));
        let (stop, stopped) = bounded::<()>(0);
        thread::Builder::new().name("service".to_owned()).spawn(move || {
            let mut all_turn = true;
            while stopped.recv_timeout(beat) == Err(RecvTimeoutError::Timeout) {
                let is_stopping = is_stopping.load(Ordering::Relaxed);
                if !is_ending.load(Ordering::Relaxed) {
                    all_turn = vigil.all_turn();
                }
                let is_alive = watchdog.is_some() && all_turn;
                way.tell(&said(is_alive, is_stopping && all_turn, is_stopping, vigil.sessions()));
            }
        })?;
        Ok(Beats { _stop: Some(stop) })
    }

    /// Nothing else is of interest once it stops.
    fn tell(&self, lines: &str) {
        if let Self(Some(told)) = self
            && !told.is_stopping.load(Ordering::Relaxed)
        {
            told.way.tell(lines);
        }
    }
}

impl Way {
    /// The path of a socket, or behind `@` its name in the abstract namespace.
    fn to(name: &OsStr) -> io::Result<Self> {
        let to = match name.as_bytes() {
            [b'@', name @ ..] => abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::Error::other("it is neither a path nor an abstract name")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, to })
    }

    /// Nobody waits for a manager that does not listen.
    fn tell(&self, lines: &str) {
        if let Err(error) = self.socket.send_to_addr(lines.as_bytes(), &self.to) {
            warn!(%error, "the service manager was not told what it should be");
        }
    }
}

#[cfg(target_os = "linux")]
fn abstract_name(name: &[u8]) -> io::Result<SocketAddr> {
    <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
}

/// A line with the moment of a reload, by which the manager tells it from others.
#[cfg(target_os = "linux")]
fn moment() -> String {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    format!("\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1_000)
}

#[cfg(not(target_os = "linux"))]
fn abstract_name(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Service managers of other systems do not ask for it.
#[cfg(not(target_os = "linux"))]
fn moment() -> String {
    String::new()
}

/// What is said in one beat. `gets_on`: the router is to have more time for its stop.
fn said(is_alive: bool, gets_on: bool, is_stopping: bool, sessions: u64) -> String {
    let what = if is_stopping { "Stopping" } else { "Serving" };
    let mut lines = format!("STATUS={what}, {sessions} sessions");
    for (line, is_said) in [("WATCHDOG=1", is_alive), (EXTENSION, gets_on)] {
        if is_said {
            write!(lines, "\n{line}").expect("a String takes everything");
        }
    }
    lines
}

/// How long the process may stand still, if it is meant.
fn watchdog(micros: Option<String>, pid: Option<String>, own: u32) -> Option<Duration> {
    let is_meant = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let micros = micros?.parse::<u64>().ok().filter(|micros| *micros > 0 && is_meant)?;
    Some(Duration::from_micros(micros))
}

/// How often the manager is told something at least.
const LONGEST_BEAT: Duration = Duration::from_secs(5);

/// The manager is to wait three beats for the next word of a router that stops.
const EXTENSION: &str = "EXTEND_TIMEOUT_USEC=15000000";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_for_the_process_that_is_meant() {
        let asked = |micros: &str, pid: Option<&str>| {
            watchdog(Some(micros.to_owned()), pid.map(str::to_owned), 77)
        };
        assert_eq!(asked("3000000", None), Some(Duration::from_secs(3)));
        assert_eq!(asked("3000000", Some("77")), Some(Duration::from_secs(3)));
        assert_eq!(asked("3000000", Some("78")), None);
        assert_eq!(
            (asked("0", None), asked("x", None), watchdog(None, None, 77)),
            (None, None, None)
        );
    }

    #[test]
    fn a_beat_says_what_holds() {
        assert_eq!(said(true, false, false, 3), "STATUS=Serving, 3 sessions\nWATCHDOG=1");
        assert_eq!(said(false, false, false, 0), "STATUS=Serving, 0 sessions");
        // A shard hangs in a drain: the manager is not asked for more time.
        assert_eq!(said(false, false, true, 1), "STATUS=Stopping, 1 sessions");
        let stopping = said(true, true, true, 1);
        assert_eq!(stopping, format!("STATUS=Stopping, 1 sessions\nWATCHDOG=1\n{EXTENSION}"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn paths_and_abstract_names_are_reached() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let heard = |listener: UnixDatagram, name: &OsStr| {
            Way::to(name).unwrap().tell("READY=1");
            let mut buffer = [0; 64];
            let length = listener.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        assert_eq!(heard(UnixDatagram::bind(&path).unwrap(), path.as_os_str()), "READY=1");
        let name = format!("stentor-test-{}", process::id());
        let address = abstract_name(name.as_bytes()).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        assert_eq!(heard(listener, OsStr::new(&format!("@{name}"))), "READY=1");
        assert!(Way::to(OsStr::new("vsock:2:1")).is_err());
    }
}
