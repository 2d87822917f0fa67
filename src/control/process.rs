//! What the operating system says of this process, where it says it (Linux).

use std::fs;

/// Figures of the process, as Prometheus names them. `None`: not known here.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) threads: Option<u64>,
}

impl Process {
    pub(super) fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let memory = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        // The kernel keeps the count as the size of the directory, since Linux 6.2.
        let files = fs::metadata("/proc/self/fd").map(|folder| folder.len()).ok();
        Self::of(&stat, &memory, files.filter(|count| *count > 0))
    }

    fn of(stat: &str, statm: &str, open_files: Option<u64>) -> Self {
        // The second field is the program's name in brackets, which may hold anything.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or_else(Vec::new, |(_, rest)| rest.split(' ').collect());
        let field = |number: usize| fields.get(number - 2)?.trim().parse::<u64>().ok();
        let ticks = field(14).zip(field(15)).map(|(user, system)| user + system);
        let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
        Self {
            cpu_seconds: ticks.map(|ticks| ticks as f64 / ticks_per_second()),
            resident_bytes: pages.map(|pages| pages * page_bytes()),
            open_files,
            threads: field(20),
        }
    }
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_hides_no_field() {
        let stat = "77 (a) b) S 1 1 1 0 -1 4 10 0 0 0 150 50 0 0 20 0 7 0 900 1 2 3\n";
        let process = Process::of(stat, "1000 300 20 1 0 99 0\n", Some(12));
        assert_eq!(process.cpu_seconds, Some(200.0 / ticks_per_second()));
        assert_eq!(process.resident_bytes, Some(300 * page_bytes()));
        assert_eq!((process.open_files, process.threads), (Some(12), Some(7)));
    }

    #[test]
    fn what_is_not_said_is_not_known() {
        assert_eq!(Process::of("", "", None), Process::default());
    }
}
