//! Runs as a histogram log in the format of HdrHistogram's `HistogramLogWriter`, version 2: one
//! line per interval and kind of latency, which its tag names. Values are nanoseconds.

use std::io::Write;
use std::time::SystemTime;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{
    IntervalLogWriterBuilder, IntervalLogWriterError, Tag,
};

use super::Report;
use crate::measure::interval::Interval;

/// Writes the intervals of all runs in the order of their time. With several runs each tag has the
/// run's label in front.
///
/// # Errors
/// What `out` says.
pub fn write(out: &mut impl Write, reports: &[Report]) -> std::io::Result<()> {
    let started: Vec<SystemTime> =
        reports.iter().filter_map(|report| Some(report.intervals.as_ref()?.started)).collect();
    let Some(base) = started.iter().min() else { return Ok(()) };
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment(" stentor-loadtest: latencies in nanoseconds, the last column but one in ms");
    for report in reports {
        builder.add_comment(&format!(" {}", report.command));
    }
    builder.with_start_time(*base).with_base_time(*base).with_max_value_divisor(NS_PER_MS);
    let mut serializer = V2DeflateSerializer::new();
    let mut log = builder.begin_log_with(out, &mut serializer)?;
    for report in reports {
        let Some(intervals) = &report.intervals else { continue };
        let offset = intervals.started.duration_since(*base).unwrap_or_default();
        let mut all: Vec<&Interval> = intervals.all.iter().collect();
        all.sort_by_key(|interval| interval.from);
        for interval in all {
            let name = tag(report, interval, reports.len() > 1);
            let (from, length) = (offset + interval.from, interval.length);
            log.write_histogram(&interval.histogram(), from, length, Tag::new(&name)).map_err(
                |error| match error {
                    IntervalLogWriterError::IoError(error) => error,
                    IntervalLogWriterError::SerializeError(error) => std::io::Error::other(error),
                },
            )?;
        }
    }
    Ok(())
}

/// A tag ends at a comma or a blank, so a label has none.
fn tag(report: &Report, interval: &Interval, with_label: bool) -> String {
    let name = interval.kind.name();
    if !with_label {
        return name.to_owned();
    }
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && c != ',';
    let label: String = report.label.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    format!("{label}.{name}")
}

const NS_PER_MS: f64 = 1e6;

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::measure::interval::{Intervals, Kind};
    use crate::report::samples;

    fn read(text: &[u8]) -> Vec<(String, f64, Histogram<u64>)> {
        let entries = IntervalLogIterator::new(text).map(Result::unwrap);
        let read = |entry| match entry {
            LogEntry::Interval(interval) => {
                let bytes = STANDARD.decode(interval.encoded_histogram()).unwrap();
                let histogram = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
                let tag = interval.tag().unwrap().as_str().to_owned();
                Some((tag, interval.start_timestamp().as_secs_f64(), histogram))
            }
            _ => None,
        };
        entries.filter_map(read).collect()
    }

    #[test]
    fn a_log_can_be_read_again() {
        let mut report = samples::report();
        let mut intervals = Intervals::begin();
        intervals.add(Kind::Event, 2_000_000_000, 3_000_000_000, vec![(5_000, 3), (90_000, 1)]);
        intervals.add(Kind::Call, 2_000_000_000, 3_000_000_000, Vec::new());
        intervals.add(Kind::Join, 0, 1_000_000_000, vec![(7_000, 1)]);
        report.intervals = Some(intervals);
        let mut text = Vec::new();
        write(&mut text, &[report.clone()]).unwrap();
        let found = read(&text);
        let names: Vec<_> = found.iter().map(|(tag, ..)| tag.as_str()).collect();
        assert_eq!(names, ["join", "event"]);
        let (_, from, events) = &found[1];
        assert!((from - 2.0).abs() < 0.01 && events.len() == 4);
        assert!(events.max().abs_diff(90_000) < 100 && events.min().abs_diff(5_000) < 10);
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("# stentor-loadtest") && text.contains("#[BaseTime: "), "{text}");
        let mut both = Vec::new();
        write(&mut both, &[report.clone(), report]).unwrap();
        assert_eq!(read(&both)[0].0, "router_<a>.join");
    }

    #[test]
    fn without_intervals_there_is_nothing_to_write() {
        let mut text = Vec::new();
        write(&mut text, &[samples::report()]).unwrap();
        assert!(text.is_empty());
    }
}
