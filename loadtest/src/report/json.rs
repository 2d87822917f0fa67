//! Runs as lines of JSON, appended to a file or written to standard output.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use super::Report;
use crate::error::{Context, Error, Result};

/// One run as one line.
pub fn line(report: &Report) -> Result<String> {
    serde_json::to_string(report).map_err(|error| Error::Io("writing JSON", error.into()))
}

/// Appends one run to `path`.
pub fn append(path: &Path, report: &Report) -> Result<()> {
    let mut file =
        OpenOptions::new().create(true).append(true).open(path).context("opening the JSON file")?;
    writeln!(file, "{}", line(report)?).context("writing the JSON file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_line_holds_everything() {
        let text = line(&samples::report()).unwrap();
        assert!(!text.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["events"], 500_000);
        assert_eq!(value["verified"]["lost"], 0);
        assert_eq!(value["event_latency"]["p50"].as_u64().unwrap() / 1000, 500);
        assert_eq!(value["router"]["cpu_ns_per_event"], 2_000.0);
        assert_eq!(value["series"].as_array().unwrap().len(), 5);
    }
}
