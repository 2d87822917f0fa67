//! Which cores the router may use, and keeping a thread on one (`tuning.pin_cores`). Linux only.

use std::io;

/// The cores that the calling thread may run on, in their order.
#[cfg(target_os = "linux")]
pub(super) fn available() -> io::Result<Vec<usize>> {
    use rustix::thread::{CpuSet, sched_getaffinity};

    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// Keeps the calling thread on `core`.
#[cfg(target_os = "linux")]
pub(super) fn pin(core: usize) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_setaffinity};

    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn available() -> io::Result<Vec<usize>> {
    let text = "tuning.pin_cores needs Linux; leave it off";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn pin(_: usize) -> io::Result<()> {
    Ok(())
}
