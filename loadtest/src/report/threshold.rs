//! Thresholds that fail a run: `--fail-if p99>5ms`. Reads the conditions, and holds a report
//! against them. What a condition asks for and the run did not measure breaks it.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::Report;
use super::hostile::{Turn, ratio};
use super::table::{bytes, duration};
use crate::measure::recorder::Latency;

/// One condition under which a run fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    metric: Metric,
    comparison: Comparison,
    /// In the metric's own unit: nanoseconds, bytes, or a plain number.
    bound: f64,
    text: String,
}

/// What a run measured where a threshold asked.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// As on the command line.
    pub fail_if: String,
    /// Nanoseconds, bytes, or a plain number; absent if the run measured nothing of the kind.
    pub measured: Option<f64>,
    /// The same in words.
    pub found: String,
    pub failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    /// A figure of one kind of latency.
    Latency(Part, Series, Statistic),
    /// The same under attack, over what it is without.
    Ratio(Series, Statistic),
    Count(Count),
    /// Deliveries per second, or joins where there is nothing else.
    Rate,
    /// Jain's index of what the subscribers received.
    Fairness,
    /// Of a sweep, messages per second.
    Knee,
    /// Of the router, per delivery.
    Cpu,
    /// Of the router, at its highest.
    Memory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Measured,
    /// Without the attack.
    Calm,
    /// While another router was attacked.
    Decoy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Series {
    /// That which the scenario is about.
    Usual,
    Event,
    Call,
    Published,
    Join,
    Return,
    Lag,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Statistic {
    Min,
    Mean,
    P50,
    P75,
    P90,
    P99,
    P999,
    P9999,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Lost,
    Doubled,
    Reordered,
    Stray,
    Damaged,
    Errors,
    Disconnected,
    Unacknowledged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Threshold {
    /// What `report` says of it.
    pub fn judge(&self, report: &Report) -> Verdict {
        let measured = self.metric.of(report);
        let failed = measured.is_none_or(|value| self.comparison.holds(value, self.bound));
        let found = measured.map_or_else(
            || "the run measured nothing of the kind".to_owned(),
            |value| self.metric.in_words(value),
        );
        Verdict { fail_if: self.text.clone(), measured, found, failed }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if self.failed { "FAILED" } else { "kept" };
        write!(f, "{outcome}: --fail-if '{}': {}", self.fail_if, self.found)
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let operator = text.find(['<', '>', '=']).unwrap_or(text.len());
        let (name, rest) = text.split_at(operator);
        let Some(metric) = Metric::of_name(name.trim()) else {
            return Err(at(1, &format!("`{}` is no metric; {METRICS}", name.trim())));
        };
        let (sign, comparison) = Comparison::of_start(rest).ok_or_else(|| {
            at(operator + 1, "expected >, >=, < or <= behind the metric, as in p99>5ms")
        })?;
        let value_at = operator + sign.len();
        let value = &text[value_at..];
        let value_at = value_at + (value.len() - value.trim_start().len());
        let value = value.trim();
        let split = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
        let (number, unit) = value.split_at(split);
        let number: f64 = number
            .parse()
            .map_err(|_| at(value_at + 1, "expected a number from 0 on, like 5 or 0.9"))?;
        let units = metric.units();
        let scale = units.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(|| {
            let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
            match names[..] {
                [""] => at(value_at + split + 1, &format!("{} has no unit", name.trim())),
                _ => at(value_at + split + 1, &format!("expected a unit: {}", names.join(", "))),
            }
        })?;
        Ok(Self { metric, comparison, bound: number * scale.1, text: text.to_owned() })
    }
}

/// `place` is the byte, counted from 1; a condition is ASCII as far as it was understood.
fn at(place: usize, what: &str) -> String {
    format!("at character {place}: {what}")
}

impl Metric {
    fn of_name(name: &str) -> Option<Self> {
        let (part, rest) = name.split_once('.').unwrap_or(("", name));
        match part {
            "calm" => return latency(rest).map(|(of, what)| Self::Latency(Part::Calm, of, what)),
            "decoy" => return latency(rest).map(|(of, what)| Self::Latency(Part::Decoy, of, what)),
            "ratio" => return latency(rest).map(|(of, what)| Self::Ratio(of, what)),
            _ => {}
        }
        if let Some((series, statistic)) = latency(name) {
            return Some(Self::Latency(Part::Measured, series, statistic));
        }
        Some(match name {
            "lost" => Self::Count(Count::Lost),
            "doubled" => Self::Count(Count::Doubled),
            "reordered" => Self::Count(Count::Reordered),
            "stray" => Self::Count(Count::Stray),
            "damaged" => Self::Count(Count::Damaged),
            "errors" => Self::Count(Count::Errors),
            "disconnected" => Self::Count(Count::Disconnected),
            "unacknowledged" => Self::Count(Count::Unacknowledged),
            "rate" => Self::Rate,
            "fairness" => Self::Fairness,
            "knee" => Self::Knee,
            "cpu" => Self::Cpu,
            "memory" => Self::Memory,
            _ => return None,
        })
    }

    const fn units(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::Latency(..) | Self::Cpu => TIMES,
            Self::Memory => SIZES,
            Self::Ratio(..) | Self::Count(_) | Self::Rate | Self::Fairness | Self::Knee => {
                &[("", 1.0)]
            }
        }
    }

    fn of(self, report: &Report) -> Option<f64> {
        let router = report.router.as_ref();
        match self {
            Self::Latency(part, series, statistic) => {
                Some(statistic.of(series.of(part, report)?) as f64)
            }
            Self::Ratio(series, statistic) => {
                let of = |part| Some(statistic.of(series.of(part, report)?));
                ratio(of(Part::Measured)?, of(Part::Calm)?)
            }
            Self::Count(count) => Some(count.of(report) as f64),
            Self::Rate => Some(report.deliveries_per_s()),
            Self::Fairness => Some(report.fairness.as_ref()?.jain_index),
            Self::Knee => report.knee_rate,
            Self::Cpu => router?.cpu_ns_per_delivery,
            Self::Memory => Some(router?.rss_peak as f64),
        }
    }

    fn in_words(self, value: f64) -> String {
        match self {
            Self::Latency(..) | Self::Cpu => duration(value as u64),
            Self::Memory => bytes(value as u64),
            Self::Count(_) => format!("{value}"),
            Self::Rate | Self::Knee => format!("{value:.1}/s"),
            Self::Fairness => format!("{value:.4}"),
            Self::Ratio(..) => format!("{value:.2}"),
        }
    }
}

/// Which latency, and which figure of it.
fn latency(name: &str) -> Option<(Series, Statistic)> {
    let (series, statistic) = match name.split_once('.') {
        // The percentiles with a point of their own.
        Some(("p99", rest)) => (Series::Usual, format!("p99{rest}")),
        Some((series, rest)) => (Series::of_name(series)?, rest.replace('.', "")),
        None => (Series::Usual, name.to_owned()),
    };
    Some((series, Statistic::of_name(&statistic)?))
}

impl Series {
    fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "event" => Self::Event,
            "call" => Self::Call,
            "published" => Self::Published,
            "join" => Self::Join,
            "return" => Self::Return,
            "lag" => Self::Lag,
            _ => return None,
        })
    }

    fn of(self, part: Part, report: &Report) -> Option<&Latency> {
        let turns = report.turns.as_ref();
        match part {
            Part::Measured => self.of_run(report),
            Part::Calm => self.of_turn(&turns?.calm),
            Part::Decoy => self.of_turn(turns?.decoy.as_ref()?),
        }
    }

    fn of_turn(self, turn: &Turn) -> Option<&Latency> {
        match self {
            Self::Usual => turn.event_latency.as_ref().or(turn.call_latency.as_ref()),
            Self::Event => turn.event_latency.as_ref(),
            Self::Call => turn.call_latency.as_ref(),
            Self::Lag => turn.send_lag.as_ref(),
            Self::Published | Self::Join | Self::Return => None,
        }
    }

    fn of_run(self, report: &Report) -> Option<&Latency> {
        match self {
            Self::Usual => report.latency(),
            Self::Event => report.event_latency.as_ref(),
            Self::Call => report.call_latency.as_ref(),
            Self::Published => report.acknowledge_latency.as_ref(),
            Self::Join => report.join_latency.as_ref(),
            Self::Return => report.return_latency.as_ref(),
            Self::Lag => report.send_lag.as_ref(),
        }
    }
}

impl Statistic {
    fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "min" => Self::Min,
            "mean" => Self::Mean,
            "p50" => Self::P50,
            "p75" => Self::P75,
            "p90" => Self::P90,
            "p99" => Self::P99,
            "p999" => Self::P999,
            "p9999" => Self::P9999,
            "max" => Self::Max,
            _ => return None,
        })
    }

    const fn of(self, latency: &Latency) -> u64 {
        match self {
            Self::Min => latency.min,
            Self::Mean => latency.mean,
            Self::P50 => latency.p50,
            Self::P75 => latency.p75,
            Self::P90 => latency.p90,
            Self::P99 => latency.p99,
            Self::P999 => latency.p99_9,
            Self::P9999 => latency.p99_99,
            Self::Max => latency.max,
        }
    }
}

impl Count {
    const fn of(self, report: &Report) -> u64 {
        let found = &report.verified;
        match self {
            Self::Lost => found.lost,
            Self::Doubled => found.doubled,
            Self::Reordered => found.reordered,
            Self::Stray => found.stray,
            Self::Damaged => found.damaged,
            Self::Errors => found.errors,
            Self::Disconnected => found.disconnected,
            Self::Unacknowledged => found.unacknowledged,
        }
    }
}

impl Comparison {
    /// The sign that `text` starts with, and what it means.
    fn of_start(text: &str) -> Option<(&'static str, Self)> {
        // The longer ones first, of which the others are the beginnings.
        let all =
            [(">=", Self::AtLeast), ("<=", Self::AtMost), (">", Self::Above), ("<", Self::Below)];
        all.into_iter().find(|(sign, _)| text.starts_with(sign))
    }

    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Above => value > bound,
            Self::AtLeast => value >= bound,
            Self::Below => value < bound,
            Self::AtMost => value <= bound,
        }
    }
}

const TIMES: &[(&str, f64)] = &[("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)];
const SIZES: &[(&str, f64)] =
    &[("B", 1.0), ("KiB", 1024.0), ("MiB", 1_048_576.0), ("GiB", 1_073_741_824.0)];
const METRICS: &str = "there are min, mean, p50, p75, p90, p99, p999, p9999 and max, with event., \
                       call., published., join., return. or lag. in front, and of hostile with \
                       calm., decoy. or ratio. before that; lost, doubled, \
                       reordered, stray, damaged, errors, disconnected, unacknowledged; rate, \
                       fairness, knee, cpu and memory";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::hostile::Turns;
    use crate::report::samples;

    fn judge(text: &str) -> Verdict {
        text.parse::<Threshold>().unwrap().judge(&samples::report())
    }

    /// The sample has latencies of 1 to 1000 us, 100,000 events per second and nothing lost.
    #[test]
    fn conditions_hold_or_do_not() {
        for (text, failed) in [
            ("p99>5ms", false),
            ("p99 > 900us", true),
            ("p99>=0.9ms", true),
            ("event.max<1s", true),
            ("p99.9>2ms", false),
            ("p999<2ms", true),
            ("min<=2us", true),
            ("lost>0", false),
            ("lost>=0", true),
            ("errors<1", true),
            ("rate<50000", false),
            ("rate<100001", true),
            ("cpu>2us", false),
            ("cpu>=2us", true),
            ("memory>29MiB", true),
            ("memory>30MiB", false),
            ("fairness<0.9", false),
        ] {
            let verdict = judge(text);
            assert_eq!(verdict.failed, failed, "{verdict}");
            assert!(verdict.measured.is_some(), "{verdict}");
        }
    }

    /// The sample's own p99 is 990 us.
    #[test]
    fn parts_of_a_hostile_run_have_names() {
        let quiet = |p99| Some(Latency { p99, max: p99, ..Latency::default() });
        let calm = Turn { event_latency: quiet(99_000), call_latency: quiet(0), send_lag: None };
        let mut report = samples::report();
        report.call_latency = report.event_latency.clone();
        let judge = |report: &Report, text: &str| {
            let verdict = text.parse::<Threshold>().unwrap().judge(report);
            (verdict.failed, verdict.found)
        };
        assert!(judge(&report, "ratio.p99>20").0, "there was no calm part");
        report.turns = Some(Turns { rounds: 1, calm: calm.clone(), decoy: None });
        for (text, failed, found) in [
            ("ratio.p99>9", true, "10.00"),
            ("ratio.event.p99>11", false, "10.00"),
            ("calm.event.p99>100us", false, "99us"),
            ("calm.p99.9>1ns", false, "0"),
            ("ratio.call.p99>1", true, "the run measured nothing of the kind"),
            ("decoy.p99>1ns", true, "the run measured nothing of the kind"),
            ("calm.join.max>1s", true, "the run measured nothing of the kind"),
        ] {
            assert_eq!(judge(&report, text), (failed, found.to_owned()), "{text}");
        }
        report.turns = Some(Turns { rounds: 1, calm: Turn::default(), decoy: Some(calm) });
        assert!(!judge(&report, "decoy.event.max>1ms").0);
        assert!("calm.rate>5".parse::<Threshold>().unwrap_err().contains("`calm.rate` is no"));
        assert!("ratio.p99>5ms".parse::<Threshold>().unwrap_err().contains("has no unit"));
    }

    #[test]
    fn a_verdict_says_what_was_measured() {
        let said = judge("memory>29MiB").to_string();
        assert_eq!(said, "FAILED: --fail-if 'memory>29MiB': 30.0 MiB");
        let said = judge("rate<50000").to_string();
        assert_eq!(said, "kept: --fail-if 'rate<50000': 100000.0/s");
    }

    #[test]
    fn what_was_not_measured_breaks_every_condition() {
        let verdict = judge("call.p99>5s");
        assert!(verdict.failed && verdict.measured.is_none(), "{verdict}");
        assert!(verdict.to_string().contains("measured nothing of the kind"));
    }

    #[test]
    fn mistakes_are_explained_where_they_are() {
        for (text, why) in [
            ("p98>5ms", "at character 1: `p98` is no metric; there are min, mean"),
            ("", "at character 1: `` is no metric"),
            ("events.p99>5ms", "at character 1: `events.p99` is no metric"),
            ("p99", "at character 4: expected >, >=, < or <="),
            ("p99=5ms", "at character 4: expected >, >=, < or <="),
            ("p99>>5ms", "at character 5: expected a number"),
            ("p99> ms", "at character 6: expected a number"),
            ("p99>-5ms", "at character 5: expected a number"),
            ("p99>1.2.3ms", "at character 5: expected a number"),
            ("p99>5", "at character 6: expected a unit: ns, us, ms, s"),
            ("p99>5 parsecs", "at character 6: expected a unit: ns, us, ms, s"),
            ("memory>5MB", "at character 9: expected a unit: B, KiB, MiB, GiB"),
            ("lost>5ms", "at character 7: lost has no unit"),
        ] {
            let said = text.parse::<Threshold>().unwrap_err();
            assert!(said.starts_with(why), "{text}: {said}");
        }
    }
}
