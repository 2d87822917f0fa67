//! One kind of hostile traffic as a row of a table: what its victims and the router's process felt,
//! and which bounds broke.

use std::fmt::Write;

use super::Report;
use super::table::{bytes, duration};
use crate::hostile::{Kind, Outcome};
use crate::measure::recorder::Latency;

/// What one kind did. The report is that of the victims.
#[derive(Debug)]
pub struct Trial {
    pub kind: Kind,
    pub report: Report,
    pub outcome: Outcome,
    pub router: Felt,
    /// Deliveries of the victims that took longer than the bound.
    pub late: u64,
    /// A newcomer could join in the end.
    pub is_alive: bool,
}

/// What the router's process needed; `None` where it is not known, or has ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Felt {
    /// Resident memory, bytes: before, at its highest, and some time after.
    pub before: Option<u64>,
    pub peak: Option<u64>,
    pub after: Option<u64>,
    /// CPU time of the measured part, seconds.
    pub cpu_s: Option<f64>,
}

/// The names of the columns.
pub fn head() -> String {
    let line = row_of(
        "kind",
        ["event p50", "p99", "max", "call p99", "max", "lost", "late"],
        ["memory", "peak", "after", "CPU"],
        ["victims", "router"],
    );
    format!("{}\n", line.trim_end())
}

/// The row of one kind, then what the attack did, and one line for each broken bound.
pub fn row(trial: &Trial) -> String {
    let Trial { report, router, .. } = trial;
    let time = |latency: &Option<Latency>, of: fn(&Latency) -> u64| {
        latency.as_ref().map_or_else(|| "-".to_owned(), |latency| duration(of(latency)))
    };
    let memory = |found: Option<u64>| found.map_or_else(|| "-".to_owned(), bytes);
    let (events, calls) = (&report.event_latency, &report.call_latency);
    let lost = report.verified.lost.to_string();
    let line = row_of(
        trial.kind.name(),
        [
            &time(events, |latency| latency.p50),
            &time(events, |latency| latency.p99),
            &time(events, |latency| latency.max),
            &time(calls, |latency| latency.p99),
            &time(calls, |latency| latency.max),
            &lost,
            &trial.late.to_string(),
        ],
        [
            &memory(router.before),
            &memory(router.peak),
            &memory(router.after),
            &router.cpu_s.map_or_else(|| "-".to_owned(), |cpu_s| format!("{cpu_s:.2} s")),
        ],
        [
            if report.verified.disconnected == 0 { "stayed" } else { "ENDED" },
            if trial.is_alive { "alive" } else { "DEAD" },
        ],
    );
    let mut out = format!("{}\n", line.trim_end());
    let deeds = trial.outcome.deeds.iter().map(|deed| format!("{} {}", deed.count, deed.name));
    // Writing to a String cannot fail.
    let _ = writeln!(out, "    {}", deeds.collect::<Vec<_>>().join(", "));
    for failure in &report.failures {
        let _ = writeln!(out, "    BROKEN: {failure}");
    }
    for verdict in &report.thresholds {
        let _ = writeln!(out, "    {verdict}");
    }
    out
}

fn row_of(kind: &str, victims: [&str; 7], router: [&str; 4], ends: [&str; 2]) -> String {
    let mut out = format!("{kind:<12}");
    for cell in victims {
        let _ = write!(out, " {cell:>9}");
    }
    for cell in router {
        let _ = write!(out, " {cell:>11}");
    }
    for cell in ends {
        let _ = write!(out, " {cell:>7}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::attack::Deed;
    use crate::report::samples;

    #[test]
    fn a_row_says_what_broke() {
        let mut report = samples::report();
        report.fail("p99 of events 300 ms, over 250 ms".into());
        let deed = Deed { name: "pings", count: 7, at_least: 1 };
        let mut trial = Trial {
            kind: Kind::Pings,
            report,
            outcome: Outcome { deeds: vec![deed], faults: Vec::new() },
            router: Felt { peak: Some(20 << 20), ..Felt::default() },
            late: 3,
            is_alive: true,
        };
        let text = row(&trial);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1..], ["    7 pings", "    BROKEN: p99 of events 300 ms, over 250 ms"]);
        for part in ["pings ", "20.0 MiB", " stayed", " alive", " 3 "] {
            assert!(lines[0].contains(part), "{part} in {}", lines[0]);
        }
        (trial.is_alive, trial.report.verified.disconnected) = (false, 1);
        assert!(row(&trial).contains("  ENDED    DEAD"), "{}", row(&trial));
    }
}
