//! `stentor nodes`: the nodes of a cluster as one of them sees them, asked of its admin listener.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use crate::command::operator::{AdminFlags, Ask, OperatorError, printable};
use crate::command::sessions::{Column, page};

/// Of which router.
#[derive(Args, Debug)]
pub(crate) struct NodesFlags {
    /// Print one object of JSON a line for each node, and what else is to be said on standard error
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: AdminFlags,
}

/// A table of the nodes with what is wrong below it, or the rows of the router's answer.
pub(crate) fn nodes(flags: &NodesFlags) -> Result<String, OperatorError> {
    let answer = flags.at.ask_json(&Ask::Get("/clusterz", &[]))?;
    let rows = answer["nodes"].as_array().ok_or_else(|| flags.at.strange())?;
    let notes = notes(&answer, rows.len());
    if flags.json {
        return Ok(page(true, rows, &[], &notes));
    }
    let rows: Vec<_> = rows.iter().map(row).collect();
    Ok(page(false, &rows, NODES, &notes))
}

/// Who was asked, and what is wrong.
fn notes(answer: &Value, count: usize) -> String {
    let text = |key: &str| printable(answer[key].as_str().unwrap_or("?")).replace('\n', "\u{fffd}");
    let mut notes = String::new();
    let nodes = if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") };
    let head = format!("{nodes} of the cluster {}, as {} sees it", text("cluster"), text("node"));
    writeln!(notes, "{head}").expect("into a string");
    let wrong = answer["wrong"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for fault in wrong {
        writeln!(notes, "{}", printable(fault).replace('\n', "\u{fffd}")).expect("into a string");
    }
    notes
}

/// A row of the table. What is not known of the node itself is a line.
fn row(row: &Value) -> Value {
    let is_own = row["link"] == "self";
    let or_line = |value: Value| if is_own { "-".into() } else { value };
    let taken = |key: &str| or_line(row[key].clone());
    let round_trip = row["round_trip_us"].as_u64().map(|us| format!("{:.1} ms", us as f64 / 1e3));
    let config = row["is_alike"].as_bool().map(|alike| if alike { "same" } else { "differs" });
    json!({
        "node": row["node"],
        "number": row["number"],
        "link": row["link"],
        "linked_ms": taken("linked_ms"),
        "silent_ms": taken("silent_ms"),
        "round_trip": or_line(round_trip.into()),
        "queued_bytes": taken("queued_bytes"),
        "bytes_sent": taken("bytes_sent"),
        "bytes_received": taken("bytes_received"),
        "parcels_resent": taken("parcels_resent"),
        "window_waits": taken("window_waits"),
        "events_dropped": taken("events_dropped"),
        "lag": taken("lag"),
        "config": or_line(config.into()),
    })
}

const NODES: &[Column] = &[
    ("NODE", "node"),
    ("NUMBER", "number"),
    ("LINK", "link"),
    ("LINKED FOR", "linked_ms"),
    ("SILENT FOR", "silent_ms"),
    ("ROUND TRIP", "round_trip"),
    ("WAITING", "queued_bytes"),
    ("SENT", "bytes_sent"),
    ("RECEIVED", "bytes_received"),
    ("RESENT", "parcels_resent"),
    ("WAITS", "window_waits"),
    ("DROPPED", "events_dropped"),
    ("LAG", "lag"),
    ("CONFIG", "config"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What both show stands in one order; the page leaves some out, and has a last one of its own.
    #[test]
    fn the_dashboard_has_the_order_of_the_table() {
        let script = include_str!("../control/pages/nodes.js");
        let (_, columns) = script.split_once("const COLUMNS = [").expect("they are there");
        let keys = columns.lines().filter_map(|line| {
            let (_, key) = line.split_once("row.")?;
            let end = key.find(|letter: char| !(letter.is_ascii_lowercase() || letter == '_'));
            Some(key[..end?].trim_end_matches("_us"))
        });
        let mut shown: Vec<_> = keys.collect();
        assert_eq!(shown.pop(), Some("wrong"));
        let all = NODES.iter().map(|(_, key)| *key);
        let expected: Vec<_> = all.filter(|key| shown.contains(key)).collect();
        assert!(shown.len() > 10, "{shown:?}");
        assert_eq!(shown, expected);
    }
}
