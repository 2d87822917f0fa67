//! What one run found, and the three ways to show it: a table, a line of JSON, an HTML page.

pub mod csv;
pub mod hdr;
pub mod hostile;
pub mod html;
pub mod json;
pub mod steps;
pub mod svg;
pub mod table;
pub mod threshold;

use serde::Serialize;

use crate::measure::fairness::Fairness;
use crate::measure::interval::Intervals;
use crate::measure::recorder::Latency;
use crate::measure::series::Sample;
use crate::measure::verify::Tally;
use hostile::Turns;
use steps::Step;
use threshold::{Threshold, Verdict};

/// One run. Latencies are in nanoseconds, sizes in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub scenario: String,
    pub label: String,
    pub url: String,
    pub serializer: String,
    /// "open loop, 1000/s" or "closed loop, 8 in flight".
    pub pacing: String,
    /// The clients in words.
    pub clients: String,
    pub payload_bytes: usize,
    /// Length of the last EVENT or RESULT without its frame header; 0 if none came.
    pub delivery_bytes: usize,
    /// Length of the measured part, seconds.
    pub seconds: f64,
    /// Counts of the measured part.
    pub publications: u64,
    pub events: u64,
    pub calls: u64,
    pub joins: u64,
    pub publications_per_s: f64,
    pub events_per_s: f64,
    pub calls_per_s: f64,
    pub received_bytes_per_s: f64,
    pub event_latency: Option<Latency>,
    pub call_latency: Option<Latency>,
    /// From when a publication was due to its PUBLISHED.
    pub acknowledge_latency: Option<Latency>,
    pub join_latency: Option<Latency>,
    /// From when a subscriber was cut off to its SUBSCRIBED.
    pub return_latency: Option<Latency>,
    /// How late the generator was against its own plan (open loop).
    pub send_lag: Option<Latency>,
    /// How alike the subscribers were served.
    pub fairness: Option<Fairness>,
    pub router: Option<RouterUse>,
    pub generator: GeneratorUse,
    /// Of the whole run, warm-up and draining included.
    pub verified: Tally,
    /// Of a run at several rates, what was found at each.
    pub steps: Vec<Step>,
    /// Of a sweep, the last good rate before the first that was too much; absent if the first was.
    pub knee_rate: Option<f64>,
    /// Of `hostile`: what the victims felt in turn with the attacks.
    pub turns: Option<Turns>,
    /// Further figures of the scenario.
    pub figures: Vec<Figure>,
    /// What the scenario demanded and did not get.
    pub failures: Vec<String>,
    /// Whether verification found nothing, and the scenario got what it demanded.
    pub clean: bool,
    /// What became of `--fail-if`, in its order.
    pub thresholds: Vec<Verdict>,
    pub series: Vec<Sample>,
    /// For a histogram log, if one is asked for.
    #[serde(skip)]
    pub intervals: Option<Intervals>,
    /// The line that reproduces the run.
    pub command: String,
}

/// The router's process tree in the measured part.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RouterUse {
    pub cpu_s: f64,
    /// CPU time over wall time.
    pub cores: f64,
    /// Share of the time that its threads were ready to run and had no core, added up.
    pub starved: f64,
    /// Share of the CPU time inside the kernel.
    pub system_share: f64,
    /// CPU time per delivered event, nanoseconds; absent when calls were made too.
    pub cpu_ns_per_event: Option<f64>,
    pub cpu_ns_per_call: Option<f64>,
    /// CPU time per event or call, whichever, or per join where there is nothing else, nanoseconds.
    pub cpu_ns_per_delivery: Option<f64>,
    pub rss_start: u64,
    pub rss_end: u64,
    pub rss_peak: u64,
    pub threads: u64,
    pub processes: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct GeneratorUse {
    pub threads: usize,
    pub cpu_s: f64,
    /// CPU time over wall time, of all threads together.
    pub busy: f64,
    /// Share of the time that threads were ready to run and had no core, added up.
    pub starved: f64,
    /// True if the generator, not the router, set the figures.
    pub client_bound: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: String,
}

/// How runs ended, from the best to the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    #[default]
    Clean,
    /// Clean, and a threshold is broken.
    OverThreshold,
    /// Verification found something, or the scenario did not get what it demanded.
    Unclean,
}

impl Outcome {
    /// The worst of `reports`.
    pub fn of(reports: &[Report]) -> Self {
        reports.iter().map(Report::outcome).max().unwrap_or_default()
    }
}

impl Report {
    pub fn add_figure(&mut self, name: &str, value: f64, unit: &str) {
        self.figures.push(Figure { name: name.to_owned(), value, unit: unit.to_owned() });
    }

    /// Events and calls per second, or joins where there is nothing else.
    pub fn deliveries_per_s(&self) -> f64 {
        match self.events + self.calls {
            0 => self.joins as f64 / self.seconds.max(1e-9),
            _ => self.events_per_s + self.calls_per_s,
        }
    }

    /// The latency that the scenario is about.
    pub fn latency(&self) -> Option<&Latency> {
        self.event_latency.as_ref().or(self.call_latency.as_ref()).or(self.join_latency.as_ref())
    }

    /// Holds the run against the conditions under which it fails.
    pub fn judge(&mut self, thresholds: &[Threshold]) {
        self.thresholds = thresholds.iter().map(|threshold| threshold.judge(self)).collect();
    }

    /// How the run ended.
    pub fn outcome(&self) -> Outcome {
        match self.clean {
            false => Outcome::Unclean,
            true if self.thresholds.iter().any(|verdict| verdict.failed) => Outcome::OverThreshold,
            true => Outcome::Clean,
        }
    }

    pub fn fail(&mut self, reason: String) {
        self.failures.push(reason);
        self.clean = false;
    }
}

/// The command line of this process, quoted for a shell.
pub fn command_line() -> String {
    let quoted = |word: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let mut words = std::env::args();
    let program = words.next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or("stentor-loadtest").to_owned();
    std::iter::once(name).chain(words).map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub mod samples {
    use super::*;
    use crate::measure::fairness::Share;
    use crate::measure::recorder::Recorder;

    /// A report with every part filled in.
    pub fn report() -> Report {
        let mut recorder = Recorder::new(1);
        (1..=1000u64).for_each(|value| recorder.record(value * 1000));
        let sample = |second: u32| Sample {
            at_s: f64::from(second),
            events_per_s: 1e5 + f64::from(second),
            event_p50: Some(50_000),
            event_p99: Some(90_000),
            router_rss: Some(20 << 20),
            ..Sample::default()
        };
        let mut share = Share::default();
        (1..=1000u64).for_each(|value| share.note(value * 1000));
        Report {
            scenario: "fanout".into(),
            label: "router <a>".into(),
            url: "ws://127.0.0.1:1/ws".into(),
            serializer: "json".into(),
            pacing: "closed loop, 8 in flight".into(),
            clients: "1 publisher, 100 subscribers".into(),
            payload_bytes: 128,
            delivery_bytes: 170,
            seconds: 5.0,
            publications: 5_000,
            events: 500_000,
            calls: 0,
            joins: 101,
            publications_per_s: 1_000.0,
            events_per_s: 100_000.0,
            calls_per_s: 0.0,
            received_bytes_per_s: 1.7e7,
            event_latency: recorder.latency(),
            call_latency: None,
            acknowledge_latency: None,
            join_latency: recorder.latency(),
            return_latency: None,
            send_lag: None,
            fairness: Fairness::of(&[share, share]),
            router: Some(RouterUse {
                cpu_s: 1.0,
                cores: 0.2,
                cpu_ns_per_event: Some(2_000.0),
                cpu_ns_per_delivery: Some(2_000.0),
                rss_end: 20 << 20,
                rss_peak: 30 << 20,
                ..RouterUse::default()
            }),
            generator: GeneratorUse { cpu_s: 2.0, busy: 0.4, ..GeneratorUse::default() },
            verified: Tally { checked: 500_000, ..Tally::default() },
            steps: Vec::new(),
            knee_rate: None,
            turns: None,
            figures: vec![Figure { name: "growth".into(), value: 1.5, unit: "MiB".into() }],
            failures: Vec::new(),
            clean: true,
            thresholds: Vec::new(),
            series: (0..5).map(sample).collect(),
            intervals: None,
            command: "stentor-loadtest fanout --in-flight 8".into(),
        }
    }
}
