//! The dashboard for Grafana, against what a node of a cluster exports.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::start_as_node;

/// The labels of a sample.
type Labels<'a> = BTreeMap<&'a str, &'a str>;

/// The samples of a page, by their names.
fn samples(page: &str) -> BTreeMap<&str, Vec<Labels<'_>>> {
    let mut samples = BTreeMap::<_, Vec<_>>::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, _) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = name.split_once('{').unwrap_or((name, ""));
        samples.entry(name).or_default().push(pairs(labels.trim_end_matches('}')));
    }
    samples
}

/// `a="x",b="y"`.
fn pairs(text: &str) -> Labels<'_> {
    let pairs = text.split("\",").filter_map(|pair| pair.split_once("=\""));
    pairs.map(|(label, value)| (label, value.trim_end_matches('"'))).collect()
}

/// The metrics of a query, with the values that it asks for.
fn selectors(query: &str) -> Vec<(&str, Labels<'_>)> {
    let mut selectors = Vec::new();
    let starts = query.match_indices("stentor_").chain(query.match_indices("process_"));
    for (start, _) in starts {
        let rest = &query[start..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let (name, rest) = rest.split_at(end.expect("it has matchers"));
        let matchers = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let (matchers, _) = matchers.expect("it names an instance");
        let (instance, exact) = matchers.split_once("\"$instance\"").expect("of one router");
        assert_eq!(instance, "instance=~", "{query}");
        selectors.push((name, pairs(exact.trim_start_matches(','))));
    }
    selectors
}

/// The labels that a query keeps, if it puts several samples together.
fn kept(query: &str) -> Option<BTreeSet<&str>> {
    if let Some((_, rest)) = query.split_once(" by (") {
        return Some(rest.split_once(')').expect("an end").0.split(", ").collect());
    }
    let is_one = ["sum(", "min(", "max(", "count("].iter().any(|all| query.contains(all));
    is_one.then(BTreeSet::new)
}

/// What stands in `{{ }}` in a legend.
fn named(legend: &str) -> BTreeSet<&str> {
    legend.split("{{").skip(1).map(|rest| rest.split_once("}}").expect("an end").0).collect()
}

/// Each query asks for labels that there are, and each legend names those that are left.
#[test]
fn legends_and_queries_name_labels_that_there_are() {
    let page = start_as_node().get("/metrics").1;
    let samples = samples(&page);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/monitoring/grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let (mut ids, mut of_cluster) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another one's");
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}: no unit");
            assert!(panel["description"].is_string(), "{title}: it is not said what it shows");
            let (query, legend) = (&target["expr"], &target["legendFormat"]);
            let (query, legend) = (query.as_str().unwrap(), named(legend.as_str().unwrap()));
            let kept = kept(query);
            let asked: BTreeSet<_> = kept.iter().flatten().chain(&legend).copied().collect();
            let left = kept.as_ref().is_none_or(|kept| legend.is_subset(kept));
            assert!(left, "{title}: the legend names what {query} has not kept");
            for (name, exact) in selectors(query) {
                of_cluster.extend(name.strip_prefix("stentor_cluster_"));
                // Some have no samples before something has happened.
                let Some(samples) = samples.get(name) else { continue };
                let fits = |sample: &Labels<'_>| {
                    let has = |label: &&str| *label == "instance" || sample.contains_key(label);
                    let is_exact =
                        exact.iter().all(|(label, value)| sample.get(label) == Some(value));
                    asked.iter().all(has) && is_exact
                };
                assert!(samples.iter().any(fits), "{title}: {query} finds no {name}");
            }
        }
    }
    assert!(of_cluster.len() > 10, "of nodes it shows {of_cluster:?} alone");
}
