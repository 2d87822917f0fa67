//! What /proc says of a process and its descendants: CPU time to the nanosecond (schedstat),
//! resident memory, open files. Reads files only; starts and ends nothing.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// CPU and memory of one process tree.
#[derive(Debug)]
pub struct Meter {
    root: u32,
    with_descendants: bool,
    /// Last reading of each thread: it stays counted after the thread has ended.
    threads: HashMap<u32, ThreadTime>,
}

/// Since a thread began.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadTime {
    /// Time on a CPU, nanoseconds.
    pub run_ns: u64,
    /// Time runnable but waiting for a CPU, nanoseconds.
    pub wait_ns: u64,
}

impl ThreadTime {
    /// Without time on a CPU in which there was nothing to do.
    pub const fn without(self, idle_ns: u64) -> Self {
        Self { run_ns: self.run_ns.saturating_sub(idle_ns), wait_ns: self.wait_ns }
    }
}

/// Totals since each thread began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Time on a CPU, nanoseconds.
    pub run_ns: u64,
    /// Time runnable but waiting for a CPU, nanoseconds.
    pub wait_ns: u64,
    /// Of the run time, the part inside the kernel, nanoseconds; resolution 10 ms.
    pub system_ns: u64,
    /// Resident memory now, bytes.
    pub rss: u64,
    /// Highest resident memory so far, bytes.
    pub rss_peak: u64,
    pub threads: u64,
    pub processes: u64,
}

impl Meter {
    /// Follows `root` and whatever it has started or will start.
    pub fn of_tree(root: u32) -> Self {
        Self { root, with_descendants: true, threads: HashMap::new() }
    }

    /// Follows this process alone: what it has started is not the generator.
    pub fn of_self() -> Self {
        Self { root: std::process::id(), with_descendants: false, threads: HashMap::new() }
    }

    /// `None` if the process has ended.
    pub fn read(&mut self) -> Option<Reading> {
        let mut reading = Reading::default();
        let pids = if self.with_descendants { tree(self.root) } else { vec![self.root] };
        for pid in pids {
            self.read_process(pid, &mut reading);
        }
        for time in self.threads.values() {
            reading.run_ns += time.run_ns;
            reading.wait_ns += time.wait_ns;
        }
        (reading.processes > 0).then_some(reading)
    }

    /// What the last reading said of one thread; zero if it did not meet it.
    pub fn thread(&self, id: u32) -> ThreadTime {
        self.threads.get(&id).copied().unwrap_or_default()
    }

    /// Lets [`Reading::rss_peak`] begin anew. Without the right to do so it goes on from before.
    pub fn reset_peak(&self) {
        for pid in if self.with_descendants { tree(self.root) } else { vec![self.root] } {
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), RESET_PEAK);
        }
    }

    fn read_process(&mut self, pid: u32, reading: &mut Reading) {
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
            return;
        };
        // A process that has ended, and whose parent has not asked for it, holds nothing.
        if status.lines().any(|line| line.starts_with("State:") && line.contains('Z')) {
            return;
        }
        reading.processes += 1;
        reading.rss += kilobytes(&status, "VmRSS:") * 1024;
        reading.rss_peak += kilobytes(&status, "VmHWM:") * 1024;
        if let Some(ticks) = fs::read_to_string(format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|stat| stat_field(&stat, STIME_FIELD))
        {
            reading.system_ns += ticks * NS_PER_TICK;
        }
        for thread in numbers_in(Path::new(&format!("/proc/{pid}/task"))) {
            let path = format!("/proc/{pid}/task/{thread}/schedstat");
            let Some(time) = fs::read_to_string(path).ok().and_then(|text| schedstat(&text)) else {
                continue;
            };
            reading.threads += 1;
            self.threads.insert(thread, time);
        }
    }
}

/// CPU time of the calling thread so far, nanoseconds; 0 where the kernel does not tell.
pub fn own_thread_ns() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat");
    text.ok().and_then(|text| schedstat(&text)).unwrap_or_default().run_ns
}

/// The process and all its descendants.
fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = numbers_in(Path::new("/proc"))
        .into_iter()
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, stat_field(&stat, PARENT_FIELD)? as u32))
        })
        .collect();
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found
}

fn numbers_in(folder: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Field `number` (from 1, as in proc(5)) of a stat line; the name in parentheses may hold
/// anything.
fn stat_field(stat: &str, number: usize) -> Option<u64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    after_name.split_ascii_whitespace().nth(number - 3)?.parse().ok()
}

fn schedstat(text: &str) -> Option<ThreadTime> {
    let mut fields = text.split_ascii_whitespace().map(str::parse);
    let (run_ns, wait_ns) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(ThreadTime { run_ns, wait_ns })
}

fn kilobytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// What proc(5) calls resetting the "high water mark".
const RESET_PEAK: &str = "5";
const PARENT_FIELD: usize = 4;
const STIME_FIELD: usize = 15;
/// The kernel shows clock ticks at 100 Hz to user space, whatever its own.
const NS_PER_TICK: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_after_a_strange_name() {
        let stat = "7 (a) b (c) S 3 7 7 0 -1 4 1 2 3 4 11 22 0 0";
        assert_eq!(stat_field(stat, PARENT_FIELD), Some(3));
        assert_eq!(stat_field(stat, STIME_FIELD), Some(22));
        assert_eq!(stat_field("nonsense", 4), None);
    }

    #[test]
    fn reads_itself() {
        let mut meter = Meter::of_self();
        let first = meter.read().unwrap();
        assert!(first.rss > 100_000 && first.rss_peak >= first.rss && first.threads >= 1);
        let spun: u64 = (0..20_000_000u64).fold(1, |sum, value| std::hint::black_box(sum ^ value));
        let second = meter.read().unwrap();
        assert!(second.run_ns > first.run_ns, "{spun}");
        let own_ns = own_thread_ns();
        assert!(own_ns > 0 && own_ns <= meter.read().unwrap().run_ns, "{own_ns}");
        assert!(Meter::of_tree(u32::MAX - 1).read().is_none());
    }

    #[test]
    fn a_process_that_has_ended_is_gone_before_its_parent_asks() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut meter = Meter::of_tree(child.id());
        assert_eq!(meter.read().unwrap().processes, 1);
        child.kill().unwrap();
        while meter.read().is_some() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }

    #[test]
    fn status_lines() {
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t  123 kB\n", "VmRSS:"), 123);
        assert_eq!(kilobytes("", "VmRSS:"), 0);
    }
}
