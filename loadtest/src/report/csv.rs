//! The course of runs as comma-separated values (RFC 4180): a line of names, then one line for each
//! interval of each run. What was not measured is empty.

use std::fmt::Write;

use super::Report;

/// All intervals of all runs.
pub fn table(reports: &[Report]) -> String {
    let mut out = format!("{}\r\n", COLUMNS.join(","));
    for (number, report) in (1..).zip(reports) {
        for sample in &report.series {
            let (scenario, label) = (quoted(&report.scenario), quoted(&report.label));
            // Writing to a String cannot fail.
            let _ = write!(out, "{number},{scenario},{label}");
            for value in
                [sample.at_s, sample.publications_per_s, sample.events_per_s, sample.calls_per_s]
            {
                let _ = write!(out, ",{value:.3}");
            }
            for value in [
                sample.event_p50,
                sample.event_p99,
                sample.call_p50,
                sample.call_p99,
                sample.router_rss,
            ] {
                let _ =
                    write!(out, ",{}", value.map_or_else(String::new, |value| value.to_string()));
            }
            let cpu = sample.router_cpu.map_or_else(String::new, |cpu| format!("{cpu:.4}"));
            let _ = write!(out, ",{cpu},{:.4}\r\n", sample.generator_cpu);
        }
    }
    out
}

/// In quotes if it holds what would end a value.
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Times are seconds since the measured part began, latencies nanoseconds, memory bytes, CPU shares
/// of one core.
const COLUMNS: [&str; 14] = [
    "run",
    "scenario",
    "label",
    "at_s",
    "publications_per_s",
    "events_per_s",
    "calls_per_s",
    "event_p50_ns",
    "event_p99_ns",
    "call_p50_ns",
    "call_p99_ns",
    "router_rss_bytes",
    "router_cores",
    "generator_cores",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn one_line_per_interval_and_one_of_names() {
        let mut other = samples::report();
        other.label = "the \"other\", later".to_owned();
        let text = table(&[samples::report(), other]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 11);
        assert!(lines[0].starts_with("run,scenario,label,at_s,publications_per_s,"), "{text}");
        assert_eq!(
            lines[2],
            "1,fanout,router <a>,1.000,0.000,100001.000,0.000,50000,90000,,,20971520,,0.0000"
        );
        assert!(lines[6].starts_with("2,fanout,\"the \"\"other\"\", later\",0.000,"), "{text}");
        let fields = |line: &str| line.split(',').count();
        assert_eq!((fields(lines[0]), fields(lines[1])), (COLUMNS.len(), COLUMNS.len()));
    }
}
