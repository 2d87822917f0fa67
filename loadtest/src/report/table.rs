//! Runs as text for a terminal.

use std::fmt::Write;

use super::{Report, steps};
use crate::measure::fairness::{Fairness, Spread};
use crate::measure::recorder::Latency;

/// One run, several lines.
pub fn run(report: &Report) -> String {
    let mut out = String::new();
    headline(&mut out, report);
    throughput(&mut out, report);
    latencies(&mut out, report);
    if !report.steps.is_empty() {
        steps::put_table(&mut out, &report.steps);
    }
    if let Some(fairness) = &report.fairness {
        put_fairness(&mut out, fairness);
    }
    usage(&mut out, report);
    verdict(&mut out, report);
    out
}

/// The line that reproduces a run.
pub fn command(report: &Report) -> String {
    format!("  again: {}\n", report.command)
}

fn headline(out: &mut String, report: &Report) {
    let Report { scenario, label, url, serializer, clients, pacing, .. } = report;
    let label = if label.is_empty() { String::new() } else { format!(" [{label}]") };
    let _ = writeln!(out, "{scenario}{label}: {clients}, {pacing}");
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "  {url}, {serializer}, payload {} B, delivered {} B, {:.1} s",
        report.payload_bytes, report.delivery_bytes, report.seconds
    );
}

fn throughput(out: &mut String, report: &Report) {
    let mut line = |name: &str, count: u64, rate: f64, extra: &str| {
        if count > 0 {
            let (count, rate) = (grouped(count), grouped(rate as u64));
            let _ = writeln!(out, "  {name:<13} {rate:>12}/s   ({count} in all){extra}");
        }
    };
    let megabytes = format!(" ~ {:.2} MB/s received", report.received_bytes_per_s / 1e6);
    line("publications", report.publications, report.publications_per_s, "");
    line("events", report.events, report.events_per_s, &megabytes);
    line("calls", report.calls, report.calls_per_s, "");
}

fn latencies(out: &mut String, report: &Report) {
    let rows = [
        ("event latency", &report.event_latency),
        ("call latency", &report.call_latency),
        ("PUBLISHED", &report.acknowledge_latency),
        ("join latency", &report.join_latency),
        ("back after", &report.return_latency),
        ("send lag", &report.send_lag),
    ];
    let _ = writeln!(
        out,
        "  {:<13} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "min", "mean", "stddev", "p50", "p90", "p99", "p99.9", "p99.99", "max"
    );
    for (name, latency) in rows {
        let Some(latency) = latency else { continue };
        let Latency { min, mean, stddev, p50, p90, p99, p99_9, p99_99, max, .. } = latency;
        let _ = write!(out, "  {name:<13}");
        for value in [min, mean, stddev, p50, p90, p99, p99_9, p99_99, max] {
            let _ = write!(out, " {:>9}", duration(*value));
        }
        let _ = writeln!(out);
    }
}

fn put_fairness(out: &mut String, fairness: &Fairness) {
    let Fairness { received, mean_latency, longest_latency, .. } = fairness;
    let of = |Spread { min, median, max }: &Spread, words: fn(u64) -> String| {
        format!("{} / {} / {}", words(*min), words(*median), words(*max))
    };
    let _ = writeln!(
        out,
        "  fairness      {:.4} (Jain) over {}; least / median / most: {} events, mean latency {}, \
         longest {}",
        fairness.jain_index,
        counted(fairness.subscribers as u32, "subscriber"),
        of(received, grouped),
        of(mean_latency, duration),
        of(longest_latency, duration),
    );
}

fn usage(out: &mut String, report: &Report) {
    if let Some(router) = &report.router {
        let mut per = String::new();
        for (name, value) in [
            ("event", router.cpu_ns_per_event),
            ("call", router.cpu_ns_per_call),
            (
                "delivery",
                router.cpu_ns_per_delivery.filter(|_| report.events > 0 && report.calls > 0),
            ),
        ] {
            if let Some(value) = value {
                let _ = write!(per, ", CPU per {name} {}", duration(value as u64));
            }
        }
        let _ = writeln!(
            out,
            "  router        {:.2} cores ({:.0} % kernel, starved {:.0} %){per}, memory {} \
             (peak {}), {} threads",
            router.cores,
            router.system_share * 100.0,
            router.starved * 100.0,
            bytes(router.rss_end),
            bytes(router.rss_peak),
            router.threads
        );
    }
    let generator = &report.generator;
    let _ = writeln!(
        out,
        "  generator     {:.2} cores{}, starved {:.0} %; client-bound: {}",
        generator.busy,
        if generator.threads > 1 {
            format!(" of {} threads", generator.threads)
        } else {
            String::new()
        },
        generator.starved * 100.0,
        if generator.client_bound { "yes" } else { "no" }
    );
    for figure in &report.figures {
        let (name, unit) = (&figure.name, &figure.unit);
        let _ = writeln!(out, "  {name:<40} {:.2} {unit}", figure.value);
    }
}

fn verdict(out: &mut String, report: &Report) {
    let found = &report.verified;
    let _ = writeln!(
        out,
        "  verified      {} messages: {found}: {}",
        grouped(found.checked),
        if report.clean { "OK" } else { "FAILED" }
    );
    for failure in &report.failures {
        let _ = writeln!(out, "  FAILED: {failure}");
    }
    for verdict in &report.thresholds {
        let _ = writeln!(out, "  {verdict}");
    }
}

/// `1 publisher`, `2 publishers`.
pub fn counted(count: u32, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// 1234567 as `1,234,567`.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Nanoseconds with a fitting unit, three digits or so.
pub fn duration(ns: u64) -> String {
    let ns_f = ns as f64;
    match ns {
        0 => "0".to_owned(),
        1..1_000 => format!("{ns}ns"),
        1_000..10_000 => format!("{:.2}us", ns_f / 1e3),
        10_000..1_000_000 => format!("{:.0}us", ns_f / 1e3),
        1_000_000..10_000_000 => format!("{:.2}ms", ns_f / 1e6),
        10_000_000..1_000_000_000 => format!("{:.0}ms", ns_f / 1e6),
        _ => format!("{:.2}s", ns_f / 1e9),
    }
}

/// Bytes as MiB, or KiB below one.
pub fn bytes(count: u64) -> String {
    if count < 1 << 20 {
        format!("{:.1} KiB", count as f64 / 1024.0)
    } else {
        format!("{:.1} MiB", count as f64 / 1_048_576.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn numbers_for_people() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(999_999), "999,999");
        for (ns, text) in [
            (0, "0"),
            (999, "999ns"),
            (1_500, "1.50us"),
            (55_000, "55us"),
            (2_000_000_000, "2.00s"),
        ] {
            assert_eq!(duration(ns), text);
        }
        assert_eq!(bytes(1 << 21), "2.0 MiB");
    }

    #[test]
    fn a_table_says_what_matters() {
        let mut report = samples::report();
        let text = run(&report);
        for part in [
            "fanout [router <a>]: 1 publisher, 100 subscribers, closed loop, 8 in flight",
            "100,000/s",
            "CPU per event 2.00us",
            "client-bound: no",
            "0 lost, 0 doubled, 0 reordered",
            ": OK",
            "p99.99",
            "1.0000 (Jain) over 2 subscribers; least / median / most: 1,000 / 1,000 / 1,000 events",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(command(&report), "  again: stentor-loadtest fanout --in-flight 8\n");
        report.fail("the others' p99 moved".into());
        assert!(run(&report).contains("FAILED: the others' p99 moved"));
    }
}
