//! Several runs side by side: medians over interleaved rounds, and ratios to the first.

use std::fmt::Write;

use serde::Serialize;

use crate::cli::{Compare, Scenario, nested};
use crate::error::Result;
use crate::floor;
use crate::report::table::{bytes, duration, grouped};
use crate::report::{Figure, Report};
use crate::scenario;

/// Medians of each contestant, in the order in which they ran first.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub rounds: u32,
    pub rows: Vec<Row>,
    /// Whether the last row is compared with every other one, not only all with the first.
    pub judges_last: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub label: String,
    /// Events or calls per second, or joins where there is nothing else.
    pub rate: f64,
    /// Nanoseconds; absent if the process is not known.
    pub cpu_per_delivery: Option<f64>,
    /// The cheapest and the dearest of the rounds.
    pub cpu_range: Option<(f64, f64)>,
    /// Event or call latency, nanoseconds.
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    /// The router's most resident memory, bytes.
    pub rss_peak: Option<f64>,
    /// Medians of what else the scenario tells.
    pub figures: Vec<Figure>,
    pub clean: bool,
}

impl Comparison {
    /// Groups `reports` by label; each label was run once per round.
    pub fn of(reports: &[Report], rounds: u32) -> Self {
        let mut labels: Vec<&str> = Vec::new();
        for report in reports {
            if !labels.contains(&report.label.as_str()) {
                labels.push(&report.label);
            }
        }
        let row = |label: &&str| {
            let own: Vec<&Report> =
                reports.iter().filter(|report| report.label == *label).collect();
            Row::of(label, &own)
        };
        Self { rounds, rows: labels.iter().map(row).collect(), judges_last: false }
    }

    /// A table with the ratios of every contestant to the first.
    pub fn table(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "medians of {} interleaved rounds; ratios are to the first line\n  {:<26} {:>11} {:>6} \
             {:>12} {:>16} {:>6} {:>7} {:>7} {:>9}  verified",
            self.rounds,
            "",
            "per second",
            "ratio",
            "CPU/delivery",
            "from - to",
            "ratio",
            "p50",
            "p99",
            "memory"
        );
        let first = &self.rows[0];
        for row in &self.rows {
            let rate_ratio = ratio(Some(row.rate), Some(first.rate));
            let time =
                |ns: Option<f64>| ns.map_or_else(|| "-".to_owned(), |ns| duration(ns as u64));
            let _ = writeln!(
                out,
                "  {:<26} {:>11} {:>6} {:>12} {:>16} {:>6} {:>7} {:>7} {:>9}  {}",
                row.label,
                grouped(row.rate as u64),
                rate_ratio,
                time(row.cpu_per_delivery),
                row.cpu_range_text(),
                ratio(row.cpu_per_delivery, first.cpu_per_delivery),
                time(row.p50),
                time(row.p99),
                row.rss_peak.map_or_else(String::new, |peak| bytes(peak as u64)),
                if row.clean { "OK" } else { "FAILED" }
            );
        }
        for row in &self.rows {
            for Figure { name, value, unit } in &row.figures {
                let _ = writeln!(out, "  {}: {name} {value:.2} {unit}", row.label);
            }
        }
        out + &self.verdicts()
    }

    /// The last row's CPU time over that of each other row.
    fn verdicts(&self) -> String {
        let mut out = String::new();
        if let (true, [others @ .., last]) = (self.judges_last, &self.rows[..]) {
            for other in others {
                let ratio = ratio(last.cpu_per_delivery, other.cpu_per_delivery);
                let _ = writeln!(out, "  CPU of {} to {}: {ratio}", last.label, other.label);
            }
        }
        out
    }
}

impl Row {
    fn of(label: &str, own: &[&Report]) -> Self {
        let all = |of: fn(&Report) -> Option<f64>| -> Vec<f64> {
            let mut values: Vec<f64> = own.iter().filter_map(|report| of(report)).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let gather = |of| median(&all(of));
        let cpu = all(|report| report.router.as_ref()?.cpu_ns_per_delivery);
        Self {
            label: label.to_owned(),
            rate: gather(|report| Some(report.deliveries_per_s())).unwrap_or(0.0),
            cpu_per_delivery: median(&cpu),
            cpu_range: cpu.first().copied().zip(cpu.last().copied()),
            p50: gather(|report| Some(report.latency()?.p50 as f64)),
            p99: gather(|report| Some(report.latency()?.p99 as f64)),
            rss_peak: gather(|report| Some(report.router.as_ref()?.rss_peak as f64)),
            figures: figures(own),
            clean: own.iter().all(|report| report.clean),
        }
    }

    /// The cheapest and the dearest round, as text.
    pub fn cpu_range_text(&self) -> String {
        let text = |(from, to)| format!("{} - {}", duration(from as u64), duration(to as u64));
        self.cpu_range.map_or_else(String::new, text)
    }
}

/// The subcommand `compare`: every round runs all routers, every other round backwards, so that a
/// drift of the machine hits them alike.
pub fn run(args: &Compare) -> Result<(Vec<Report>, Comparison)> {
    let scenario = nested(&args.scenario)?;
    let contestants: Vec<Scenario> =
        (0..args.url.len()).map(|index| contestant(args, &scenario, index)).collect();
    let mut reports = Vec::new();
    for round in 0..args.rounds {
        let mut order: Vec<&Scenario> = contestants.iter().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for scenario in order {
            reports.push(scenario::run(scenario)?);
        }
    }
    let comparison = Comparison::of(&reports, args.rounds);
    Ok((reports, comparison))
}

/// `--with-floor`: the router, then its floors with frames as long as its messages, in each round.
/// The ratios are those of the router to the floors.
pub fn run_with_floor(scenario: &Scenario, rounds: u32) -> Result<(Vec<Report>, Comparison)> {
    let mut scenario = scenario.clone();
    scenario.common_mut().label.get_or_insert_with(|| "router".to_owned());
    let mut reports = Vec::new();
    for _ in 0..rounds {
        let router = scenario::run(&scenario)?;
        let message_bytes = router.delivery_bytes;
        reports.push(router);
        reports.extend(floor::run_all(&scenario, message_bytes)?);
    }
    let mut comparison = Comparison::of(&reports, rounds);
    comparison.rows.rotate_left(1);
    comparison.judges_last = true;
    Ok((reports, comparison))
}

fn contestant(args: &Compare, scenario: &Scenario, index: usize) -> Scenario {
    let mut scenario = scenario.clone();
    let common = scenario.common_mut();
    common.url = args.url[index].clone();
    let label = args.label.get(index).cloned();
    common.label = Some(label.unwrap_or_else(|| args.url[index].to_string()));
    common.pid = args.pid.get(index).copied();
    common.deflate |= args.deflate.get(index).copied().unwrap_or_default();
    common.spawn = args.spawn.get(index).cloned();
    common.output = args.output.clone();
    scenario
}

/// `value / to` as text.
pub fn ratio(value: Option<f64>, to: Option<f64>) -> String {
    match value.zip(to) {
        Some((value, to)) if to > 0.0 => format!("{:.2}", value / to),
        _ => "-".to_owned(),
    }
}

/// The median of each figure that every report of `own` has.
fn figures(own: &[&Report]) -> Vec<Figure> {
    let Some((first, _)) = own.split_first() else { return Vec::new() };
    let median_of = |wanted: &Figure| {
        let all = own.iter().flat_map(|report| &report.figures);
        let mut values: Vec<f64> =
            all.filter(|one| one.name == wanted.name).map(|one| one.value).collect();
        values.sort_by(f64::total_cmp);
        let value = (values.len() == own.len()).then(|| median(&values))??;
        Some(Figure { value, ..wanted.clone() })
    };
    first.figures.iter().filter_map(median_of).collect()
}

/// Of what is sorted.
fn median(values: &[f64]) -> Option<f64> {
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, 2.0, 3.0]), Some(2.0));
        assert_eq!(median(&[1.0, 4.0]), Some(2.5));
    }

    #[test]
    fn what_a_scenario_tells_besides_has_medians_too() {
        let report = |growth: f64, cpu_ns: f64| {
            let mut report = samples::report();
            report.figures[0].value = growth;
            report.router.as_mut().unwrap().cpu_ns_per_delivery = Some(cpu_ns);
            report
        };
        let mut reports = [report(9.0, 2e3), report(1.0, 9e3), report(2.0, 1e3)];
        let row = Comparison::of(&reports, 3).rows.remove(0);
        assert_eq!((row.figures[0].value, row.figures[0].name.as_str()), (2.0, "growth"));
        assert_eq!((row.cpu_per_delivery, row.cpu_range), (Some(2e3), Some((1e3, 9e3))));
        let table = Comparison::of(&reports, 3).table();
        assert!(table.contains("router <a>: growth 2.00 MiB\n"), "{table}");
        assert!(table.contains("1.00us - 9.00us"), "{table}");
        assert!(table.contains("30.0 MiB  OK"), "{table}");
        reports[1].figures.clear();
        assert!(Comparison::of(&reports, 3).rows[0].figures.is_empty(), "one round lacks it");
    }

    #[test]
    fn rows_keep_their_order_and_ratios_are_to_the_first() {
        let report = |label: &str, rate: f64, clean: bool| {
            let mut report = samples::report();
            report.label = label.to_owned();
            report.events_per_s = rate;
            report.clean = clean;
            report
        };
        let reports = [
            report("a", 100.0, true),
            report("b", 50.0, true),
            report("b", 150.0, false),
            report("a", 300.0, true),
        ];
        let comparison = Comparison::of(&reports, 2);
        let rates: Vec<f64> = comparison.rows.iter().map(|row| row.rate).collect();
        assert_eq!(rates, [200.0, 100.0]);
        assert_eq!((comparison.rows[0].clean, comparison.rows[1].clean), (true, false));
        let table = comparison.table();
        assert!(table.contains("0.50") && table.contains("FAILED"), "{table}");
    }

    #[test]
    fn the_router_is_held_against_each_floor() {
        let report = |label: &str, ns: f64| {
            let mut report = samples::report();
            report.label = label.to_owned();
            let usage = report.router.as_mut().unwrap();
            usage.cpu_ns_per_delivery = Some(ns);
            report
        };
        let reports = [report("each", 4_000.0), report("coalesced", 800.0), report("router", 1e3)];
        let mut comparison = Comparison::of(&reports, 1);
        assert!(!comparison.table().contains("CPU of"));
        comparison.judges_last = true;
        let table = comparison.table();
        assert!(table.contains("CPU of router to each: 0.25\n"), "{table}");
        assert!(table.contains("CPU of router to coalesced: 1.25\n"), "{table}");
    }
}
