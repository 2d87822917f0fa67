//! One kind of hostile traffic as a row of a table: what its victims and the router's process felt,
//! and which bounds broke.

use std::fmt::Write;

use serde::Serialize;

use super::Report;
use super::table::{bytes, duration};
use crate::hostile::{Kind, Outcome};
use crate::measure::recorder::{Latency, Recorder};

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

/// What the victims felt in turn with the attacks, which the report's own latencies are of.
#[derive(Clone, Debug, Serialize)]
pub struct Turns {
    pub rounds: u32,
    /// Before each attack.
    pub calm: Turn,
    /// While a router was attacked that is not theirs, if one was.
    pub decoy: Option<Turn>,
}

/// The parts of one sort, of all rounds together; nothing where nothing came.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Turn {
    pub event_latency: Option<Latency>,
    pub call_latency: Option<Latency>,
    pub send_lag: Option<Latency>,
}

impl Turn {
    /// Of events, calls and lag.
    pub fn of([events, calls, lag]: &[Recorder; 3]) -> Self {
        Self {
            event_latency: events.latency(),
            call_latency: calls.latency(),
            send_lag: lag.latency(),
        }
    }
}

/// How many times as long; `None` of nothing.
pub fn ratio(attacked: u64, calm: u64) -> Option<f64> {
    (calm > 0).then(|| attacked as f64 / calm as f64)
}

/// What the router's process needed; `None` where it is not known, or has ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Felt {
    /// Resident memory, bytes: before, at its highest, and some time after.
    pub before: Option<u64>,
    pub peak: Option<u64>,
    pub after: Option<u64>,
    /// CPU time while it was attacked, seconds.
    pub cpu_s: Option<f64>,
    /// How long it was attacked, seconds.
    pub attacked_s: f64,
}

/// The names of the columns.
pub fn head() -> String {
    let line = row_of(
        "kind",
        ["event p50", "p99", "max", "call p50", "p99", "max", "lost", "late"].map(str::to_owned),
        ["memory", "peak", "after", "CPU"],
        ["victims", "router"],
    );
    format!("{}\n", line.trim_end())
}

/// The row of one kind, under it what the victims felt in turn with it, then what the attack did,
/// and one line for each broken bound.
pub fn row(trial: &Trial) -> String {
    let Trial { report, router, .. } = trial;
    let memory = |found: Option<u64>| found.map_or_else(|| "-".to_owned(), bytes);
    let own = [report.event_latency.as_ref(), report.call_latency.as_ref()];
    let line = row_of(
        trial.kind.name(),
        times(own).chain([report.verified.lost.to_string(), trial.late.to_string()]),
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
    if let Some(turns) = &report.turns {
        put_turns(&mut out, own, turns);
    }
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

/// p50, p99 and the longest of events, then of calls.
const FIGURES: [fn(&Latency) -> u64; 3] =
    [|latency| latency.p50, |latency| latency.p99, |latency| latency.max];

fn times(all: [Option<&Latency>; 2]) -> impl Iterator<Item = String> {
    all.into_iter().flat_map(|latency| {
        FIGURES.map(|of| latency.map_or_else(|| "-".to_owned(), |latency| duration(of(latency))))
    })
}

fn put_turns(out: &mut String, own: [Option<&Latency>; 2], turns: &Turns) {
    for (name, turn) in [("calm", Some(&turns.calm)), ("decoy", turns.decoy.as_ref())] {
        let Some(turn) = turn else { continue };
        let felt = [turn.event_latency.as_ref(), turn.call_latency.as_ref()];
        let ratios = own.into_iter().zip(felt).flat_map(|(own, felt)| {
            FIGURES.map(|of| {
                let ratio = own.zip(felt).and_then(|(own, felt)| ratio(of(own), of(felt)));
                ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.1}x"))
            })
        });
        for (name, cells) in [
            (format!("  {name}"), times(felt).collect::<Vec<_>>()),
            (format!("  over {name}"), ratios.collect()),
        ] {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}", row_of(&name, cells, [""; 4], [""; 2]).trim_end());
        }
    }
}

fn row_of(
    kind: &str,
    victims: impl IntoIterator<Item = String>,
    router: [&str; 4],
    ends: [&str; 2],
) -> String {
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
            outcome: Outcome { deeds: vec![deed], ..Outcome::default() },
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
        let quiet = Latency { p50: 100_000, p99: 99_000, ..Latency::default() };
        let turn = Turn { event_latency: Some(quiet), ..Turn::default() };
        let turns = Turns { rounds: 2, calm: turn.clone(), decoy: Some(turn) };
        trial.report.turns = Some(turns);
        let text = row(&trial);
        let cells: Vec<Vec<_>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        let felt = ["100us", "99us", "0", "-", "-", "-"];
        let over = ["5.0x", "10.0x", "-", "-", "-", "-"];
        for (line, name, figures) in [
            (1, &["calm"][..], felt),
            (2, &["over", "calm"], over),
            (3, &["decoy"], felt),
            (4, &["over", "decoy"], over),
        ] {
            assert_eq!(cells[line], [name, &figures].concat(), "{text}");
        }
        (trial.is_alive, trial.report.verified.disconnected) = (false, 1);
        assert!(row(&trial).contains("  ENDED    DEAD"), "{}", row(&trial));
    }
}
