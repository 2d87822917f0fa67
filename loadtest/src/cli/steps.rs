//! Rates that change in the course of a run: stages one after the other, and sweeps that look for
//! the knee.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::values::{duration, rate};

/// How the rate changes; none of it changes nothing.
#[derive(Clone, Debug, Args)]
pub struct Steps {
    /// Open loop in stages, one after the other, like 10s@1000,20s@5000: how long at which rate.
    /// Each stage is reported by itself; --duration is not needed
    #[arg(long, value_delimiter = ',', value_name = "TIME@RATE")]
    #[arg(conflicts_with_all = ["rate", "saturate", "sweep"])]
    pub stages: Vec<Stage>,
    /// Open loop at rates that rise, like 1000..100000x1.5 (x2 if absent), each for --duration
    /// after --warmup, until one is too much: the last one before it is the knee
    #[arg(long, value_name = "FROM..TO[xFACTOR]", conflicts_with_all = ["rate", "saturate"])]
    pub sweep: Option<Sweep>,
    /// A rate of a sweep is too much if p99 is above this, or if less than 99 % of what is due
    /// arrives in its time
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = duration)]
    #[arg(requires = "sweep")]
    pub knee_p99: Duration,
}

impl Steps {
    pub const fn is_none(&self) -> bool {
        self.stages.is_empty() && self.sweep.is_none()
    }

    /// The first rate of all; `None` without steps.
    pub fn first_rate(&self) -> Option<f64> {
        let stage = self.stages.first().map(|stage| stage.rate);
        stage.or_else(|| self.sweep.map(|sweep| sweep.from))
    }

    /// The steps in words; `None` without.
    pub fn in_words(&self) -> Option<String> {
        match (&self.stages[..], self.sweep) {
            ([], None) => None,
            ([], Some(Sweep { from, to, factor })) => {
                Some(format!("open loop, sweep from {from}/s to {to}/s by {factor}"))
            }
            (stages, _) => {
                let rates: Vec<String> =
                    stages.iter().map(|stage| format!("{}/s", stage.rate)).collect();
                Some(format!("open loop, in stages of {}", rates.join(", ")))
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    pub duration: Duration,
    /// Messages per second.
    pub rate: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sweep {
    /// Messages per second.
    pub from: f64,
    pub to: f64,
    pub factor: f64,
}

impl Sweep {
    /// All rates from the first to the last that is not above `to`, in rising order.
    pub fn rates(self) -> impl Iterator<Item = f64> {
        // A sum of many factors may miss a round number by a hair.
        let to = self.to * (1.0 + 1e-9);
        std::iter::successors(Some(self.from), move |rate| Some(rate * self.factor))
            .take_while(move |rate| *rate <= to)
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (length, per_second) = text
            .split_once('@')
            .ok_or("expected a time and a rate with @ between them, like 10s@1000")?;
        let stage = Self {
            duration: duration(length).map_err(|why| format!("`{length}` before @: {why}"))?,
            rate: rate(per_second).map_err(|why| format!("`{per_second}` behind @: {why}"))?,
        };
        match stage.duration {
            Duration::ZERO => Err(format!("`{length}` before @: a stage lasts longer than that")),
            _ => Ok(stage),
        }
    }
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, rest) = text
            .split_once("..")
            .ok_or("expected two rates with .. between them, like 1000..100000x1.5")?;
        let (to, factor) = match rest.split_once('x') {
            Some((to, factor)) => (to, Some(factor)),
            None => (rest, None),
        };
        let sweep = Self {
            from: rate(from).map_err(|why| format!("`{from}` before ..: {why}"))?,
            to: rate(to).map_err(|why| format!("`{to}` behind ..: {why}"))?,
            factor: match factor.map(|factor| (factor, factor.parse())) {
                None => USUAL_FACTOR,
                Some((_, Ok(factor))) if FACTORS.contains(&factor) => factor,
                Some((factor, _)) => {
                    let (least, most) = (FACTORS.start(), FACTORS.end());
                    return Err(format!("`{factor}` behind x: expected {least} to {most}"));
                }
            },
        };
        if sweep.from > sweep.to {
            return Err(format!("`{from}` before .. is more than `{to}` behind it"));
        }
        Ok(sweep)
    }
}

const USUAL_FACTOR: f64 = 2.0;
const FACTORS: std::ops::RangeInclusive<f64> = 1.01..=100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_read() {
        let stage: Stage = "500ms@2.5".parse().unwrap();
        assert_eq!(stage, Stage { duration: Duration::from_millis(500), rate: 2.5 });
        for (text, why) in [
            ("10s", "expected a time and a rate with @"),
            ("10d@5", "`10d` before @: expected a number with ms, s, m or h"),
            ("0s@5", "`0s` before @: a stage lasts longer"),
            ("10s@0", "`0` behind @: expected a rate between"),
            ("10s@fast", "`fast` behind @: expected a rate between"),
        ] {
            let said = text.parse::<Stage>().unwrap_err();
            assert!(said.starts_with(why), "{text}: {said}");
        }
    }

    #[test]
    fn sweeps_rise_to_their_end() {
        let rates = |text: &str| text.parse::<Sweep>().unwrap().rates().collect::<Vec<_>>();
        assert_eq!(rates("1000..8000"), [1000.0, 2000.0, 4000.0, 8000.0]);
        assert_eq!(rates("100..400x1.5"), [100.0, 150.0, 225.0, 337.5]);
        assert_eq!(rates("5..5x3"), [5.0]);
        for (text, why) in [
            ("1000", "expected two rates with .."),
            ("a..5", "`a` before ..: expected a rate"),
            ("1..", "`` behind ..: expected a rate"),
            ("1..5x1", "`1` behind x: expected 1.01 to 100"),
            ("1..5xNaN", "`NaN` behind x: expected"),
            ("9..5", "`9` before .. is more than `5`"),
        ] {
            let said = text.parse::<Sweep>().unwrap_err();
            assert!(said.starts_with(why), "{text}: {said}");
        }
        // However many there are, they are not endless.
        assert!(rates("0.001..10000000x1.01").len() < 2_400);
    }
}
