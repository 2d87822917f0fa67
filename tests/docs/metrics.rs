//! A page of metrics as rows of a reference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

pub(super) struct Metric<'a> {
    pub(super) name: &'a str,
    kind: &'a str,
    help: &'a str,
    labels: BTreeMap<String, BTreeSet<String>>,
}

pub(super) fn metrics_of(page: &str) -> Vec<Metric<'_>> {
    let mut metrics: Vec<Metric<'_>> = Vec::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a sentence");
            metrics.push(Metric { name, kind: "", help, labels: BTreeMap::new() });
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let metric = metrics.last_mut().expect("HELP comes first");
            metric.kind = rest.split_once(' ').expect("a kind").1;
        } else if let Some((name, labels)) = line.split_once('{') {
            let metric = metrics.last_mut().expect("HELP comes first");
            assert!(name.starts_with(metric.name), "{line}");
            for label in labels.rsplit_once('}').expect("an end").0.split("\",") {
                let (label, value) = label.split_once("=\"").expect("a value");
                let values = metric.labels.entry(label.to_owned()).or_default();
                values.insert(value.trim_end_matches('"').to_owned());
            }
        }
    }
    metrics
}

/// The rows of a table. Of labels that are open the values are not listed.
pub(super) fn rows(metrics: &[Metric<'_>], is_open: impl Fn(&Metric<'_>, &str) -> bool) -> String {
    let mut page = String::new();
    for metric in metrics {
        let Metric { name, kind, help, labels } = metric;
        let suffix = match *kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let mut said = Vec::new();
        for (label, values) in labels {
            let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
            said.push(match is_open(metric, label) {
                true => format!("`{label}`"),
                false => format!("`{label}`: {}", values.join(", ")),
            });
        }
        let labels = match said.join("; ") {
            labels if labels.is_empty() => labels,
            labels => format!(". By {labels}"),
        };
        let _ = writeln!(page, "| `{name}{suffix}` | {kind} | {help}{labels} |");
    }
    page
}
