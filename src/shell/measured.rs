//! Durations that were measured: their percentiles, and what their histogram looks like.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Durations up to an hour, with three digits.
pub(crate) struct Measured(Histogram<u64>);

impl Measured {
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("the bounds are usual ones"))
    }

    pub(crate) fn note(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanos.max(1));
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// One line for people.
    pub(crate) fn words(&self) -> String {
        if self.0.is_empty() {
            return "nothing was measured".to_owned();
        }
        let mut words = format!("{} measured: min {}", self.0.len(), shown(self.0.min()));
        write!(words, ", avg {}", shown(self.0.mean() as u64)).expect("into a string");
        for (name, quantile) in QUANTILES {
            let value = shown(self.0.value_at_quantile(quantile));
            write!(words, ", {name} {value}").expect("into a string");
        }
        write!(words, ", max {}", shown(self.0.max())).expect("into a string");
        words
    }

    /// Members of an object of JSON, in nanoseconds.
    pub(crate) fn members(&self) -> String {
        let mut members = format!(
            "\"count\":{},\"min_ns\":{},\"avg_ns\":{}",
            self.0.len(),
            self.0.min(),
            self.0.mean() as u64
        );
        for (name, quantile) in QUANTILES {
            let name = name.replace('.', "_");
            let value = self.0.value_at_quantile(quantile);
            write!(members, ",\"{name}_ns\":{value}").expect("into a string");
        }
        write!(members, ",\"max_ns\":{}", self.0.max()).expect("into a string");
        members
    }

    /// A line for each power of two, with a bar.
    pub(crate) fn histogram(&self) -> Vec<String> {
        let mut counts = Vec::new();
        let (mut low, mut high) = (0, FIRST_STEP_NS);
        while low <= self.0.max() && !self.0.is_empty() {
            counts.push((low, high, self.0.count_between(low, high - 1)));
            (low, high) = (high, high * 2);
        }
        let most = counts.iter().map(|(.., count)| *count).max().unwrap_or_default().max(1);
        let first = counts.iter().position(|(.., count)| *count > 0).unwrap_or(counts.len());
        let line = |(low, high, count): &(u64, u64, u64)| {
            let bar = "#".repeat((count * BAR / most) as usize);
            format!("{:>9} to {:>9} {count:>9} {bar}", shown(*low), shown(*high))
                .trim_end()
                .to_owned()
        };
        counts[first..].iter().map(line).collect()
    }
}

/// A duration for people.
pub(crate) fn shown(nanos: u64) -> String {
    let number = nanos as f64;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.1} us", number / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", number / 1e6),
        _ => format!("{:.3} s", number / 1e9),
    }
}

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
const LONGEST_NS: u64 = 3_600_000_000_000;
const FIRST_STEP_NS: u64 = 1_024;

/// Letters of the longest bar.
const BAR: u64 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_bars_are_those_of_what_was_noted() {
        let mut measured = Measured::new();
        assert_eq!(measured.words(), "nothing was measured");
        assert_eq!(measured.histogram().len(), 0);
        for micros in 1..=1_000 {
            measured.note(Duration::from_micros(micros));
        }
        measured.note(Duration::from_secs(7_200));
        assert_eq!(measured.count(), 1_001);
        let words = measured.words();
        assert!(words.starts_with("1001 measured: min 1.0 us, avg "), "{words}");
        assert!(words.contains("p50 501") && words.contains("max 36"), "{words}");
        let object: serde_json::Value =
            serde_json::from_str(&format!("{{{}}}", measured.members())).unwrap();
        assert_eq!(object["count"], 1_001);
        assert!(object["p99_9_ns"].as_u64().unwrap() > object["p50_ns"].as_u64().unwrap());
        let histogram = measured.histogram();
        let counted: u64 = histogram
            .iter()
            .map(|line| line.split_whitespace().nth(5).unwrap().parse::<u64>().unwrap())
            .sum();
        assert_eq!(counted, 1_001, "{histogram:?}");
    }

    #[test]
    fn durations_have_units() {
        let texts = [7, 1_500, 2_500_000, 3_000_000_000].map(shown);
        assert_eq!(texts, ["7 ns", "1.5 us", "2.50 ms", "3.000 s"]);
    }
}
