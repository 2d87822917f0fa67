//! The router's process: started and ended here, or only watched. Also what the generator needs of
//! its own process: a core to itself, and enough open files.

use std::fs::OpenOptions;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::{Context, Error, Result};
use crate::procfs::Meter;
use crate::url::{Address, Target};

/// A router whose CPU and memory are accounted; ended when dropped if it was started here.
pub struct Router {
    pub pid: u32,
    child: Option<Child>,
}

impl Router {
    pub const fn watch(pid: u32) -> Self {
        Self { pid, child: None }
    }

    /// Runs `command` in a shell that it replaces, on `core` if given, and waits until it listens.
    /// What it says is appended to `log`.
    pub fn spawn(
        command: &str,
        core: Option<usize>,
        log: Option<&Path>,
        target: &Target,
    ) -> Result<Self> {
        let mut shell = Command::new("sh");
        let open = |path| OpenOptions::new().create(true).append(true).open(path);
        match log.map(open).transpose().context("opening the router's log")? {
            Some(file) => {
                shell.stdout(file.try_clone().context("opening the router's log")?).stderr(file);
            }
            None => {
                shell.stdout(Stdio::null()).stderr(Stdio::null());
            }
        }
        shell.arg("-c").arg(format!("exec {command}"));
        Self::start(shell, core, target)
    }

    /// Starts `command` on `core` and waits until `target` accepts connections.
    pub fn start(mut command: Command, core: Option<usize>, target: &Target) -> Result<Self> {
        if is_open(target) {
            return Err(Error::Usage(format!("something already listens at {target}")));
        }
        command.stdin(Stdio::null());
        let before = sched_getaffinity(None).context("reading the CPU affinity")?;
        if let Some(core) = core {
            pin(core)?;
        }
        let child = command.spawn().context("starting the router");
        sched_setaffinity(None, &before).context("restoring the CPU affinity")?;
        let child = child?;
        let mut router = Self { pid: child.id(), child: Some(child) };
        router.wait_open(target)?;
        Ok(router)
    }

    pub fn meter(&self) -> Meter {
        Meter::of_tree(self.pid)
    }

    fn wait_open(&mut self, target: &Target) -> Result<()> {
        let start = Instant::now();
        while !is_open(target) {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait().context("waiting for the router")?
            {
                return Err(Error::RouterEnded(status.to_string()));
            }
            if start.elapsed() > OPEN_PATIENCE {
                return Err(Error::NeverOpened(target.to_string(), OPEN_PATIENCE.as_secs()));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        if let Some(pid) = Pid::from_raw(child.id() as i32) {
            // It may have ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
        let start = Instant::now();
        while start.elapsed() < END_PATIENCE {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Keeps the calling thread, and what it starts from now on, on one core.
pub fn pin(core: usize) -> Result<()> {
    if core >= CpuSet::MAX_CPU {
        return Err(Error::Usage(format!("there is no core {core}")));
    }
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).context("setting the CPU affinity")
}

/// Raises the limit of open files as far as `connections` need it.
pub fn allow_connections(connections: usize) -> Result<()> {
    let needed = connections as u64 + SPARE_FILES;
    let limits = getrlimit(Resource::Nofile);
    if limits.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    match limits.maximum {
        Some(limit) if limit < needed => {
            Err(Error::TooManyFiles { wanted: connections, needed, limit })
        }
        maximum => setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })
            .context("raising the limit of open files"),
    }
}

fn is_open(target: &Target) -> bool {
    match &target.address {
        Address::Tcp(address) => TcpStream::connect(address).is_ok(),
        Address::Unix(path) => UnixStream::connect(path).is_ok(),
    }
}

const OPEN_PATIENCE: Duration = Duration::from_secs(30);
const END_PATIENCE: Duration = Duration::from_secs(5);
/// Files that are not connections: the event loop, the terminal, reports.
const SPARE_FILES: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_connections_are_refused_with_the_numbers() {
        assert!(allow_connections(10).is_ok());
        let limit = getrlimit(Resource::Nofile).maximum;
        if let Some(limit) = limit {
            let text = allow_connections(limit as usize).unwrap_err().to_string();
            assert!(text.contains(&limit.to_string()), "{text}");
        }
    }

    #[test]
    fn a_command_that_ends_at_once_is_an_error() {
        let target: Target = "rs://127.0.0.1:1".parse().unwrap();
        let error = Router::spawn("false", None, None, &target).err().unwrap();
        assert!(matches!(error, Error::RouterEnded(_)));
    }
}
