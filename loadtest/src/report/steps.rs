//! What a run found at each of its rates: the stages that it was told, or those of a sweep.

use std::fmt::Write;

use serde::Serialize;

use super::table::{duration, grouped};
use super::{GeneratorUse, RouterUse};
use crate::measure::recorder::Latency;

/// One rate.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Publications or calls per second, as planned.
    pub rate: f64,
    /// So many arrived per second: calls answered, or publications with all their events.
    pub achieved_rate: f64,
    /// Length of the measured part, seconds.
    pub seconds: f64,
    /// Of events, or of calls; nanoseconds. Absent if nothing came.
    pub latency: Option<Latency>,
    pub send_lag: Option<Latency>,
    pub router: Option<RouterUse>,
    pub generator: GeneratorUse,
    /// Of a sweep: whether it was not too much.
    pub good: Option<bool>,
}

impl Step {
    /// Whether what arrived is 99 % of the plan or more, and the latency within `p99_ns`. Two
    /// messages may be missing at any rate, for they may be on their way.
    pub fn is_within(&self, p99_ns: u64) -> bool {
        let missing = (self.rate - self.achieved_rate) * self.seconds;
        let allowed = (self.rate * self.seconds * (1.0 - ENOUGH)).max(UNDER_WAY);
        missing <= allowed && self.latency.as_ref().is_some_and(|latency| latency.p99 <= p99_ns)
    }
}

/// The last good rate before the first that is none; `None` if the first is none, or if there was
/// no sweep.
pub fn knee(steps: &[Step]) -> Option<f64> {
    steps.iter().take_while(|step| step.good == Some(true)).last().map(|step| step.rate)
}

/// All steps as text for a terminal, one line each.
pub fn put_table(out: &mut String, steps: &[Step]) {
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "  {:>11} {:>11} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "rate", "achieved", "", "p50", "p99", "max", "lag p99", "router"
    );
    for step in steps {
        let time = |of: fn(&Latency) -> u64, latency: &Option<Latency>| {
            latency.as_ref().map_or_else(|| "-".to_owned(), |latency| duration(of(latency)))
        };
        let router = step.router.as_ref().map(|router| format!("{:.2} cores", router.cores));
        let _ = writeln!(
            out,
            "  {:>9}/s {:>9}/s {:>5.1} % {:>9} {:>9} {:>9} {:>9} {:>10}{}{}",
            grouped(step.rate as u64),
            grouped(step.achieved_rate as u64),
            100.0 * step.achieved_rate / step.rate,
            time(|latency| latency.p50, &step.latency),
            time(|latency| latency.p99, &step.latency),
            time(|latency| latency.max, &step.latency),
            time(|latency| latency.p99, &step.send_lag),
            router.unwrap_or_else(|| "-".to_owned()),
            if step.good == Some(false) { "  too much" } else { "" },
            if step.generator.client_bound { "  client-bound" } else { "" },
        );
    }
    if steps.iter().any(|step| step.good.is_some()) {
        let words = match knee(steps) {
            Some(rate) if steps.iter().all(|step| step.good == Some(true)) => {
                format!("not reached; the highest rate, {}/s, was good", grouped(rate as u64))
            }
            Some(rate) => format!("{}/s", grouped(rate as u64)),
            None => "below the lowest rate".to_owned(),
        };
        let _ = writeln!(out, "  knee          {words}");
    }
}

/// Share of what is due that has to arrive in its time.
const ENOUGH: f64 = 0.99;
const UNDER_WAY: f64 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    /// The latencies of the sample, 1 us to 1 ms, at a rate for two seconds.
    fn step(rate: f64, achieved_rate: f64) -> Step {
        let report = samples::report();
        Step {
            rate,
            achieved_rate,
            seconds: 2.0,
            latency: report.event_latency,
            send_lag: None,
            router: report.router,
            generator: report.generator,
            good: None,
        }
    }

    #[test]
    fn what_is_too_much() {
        let check = |rate, achieved, p99_us: u64, good| {
            assert_eq!(step(rate, achieved).is_within(p99_us * 1000), good, "{rate} {achieved}");
        };
        check(1_000.0, 1_000.0, 1_000, true);
        check(1_000.0, 990.5, 1_000, true);
        check(1_000.0, 989.0, 1_000, false);
        check(1_000.0, 1_000.0, 500, false);
        check(5.0, 4.0, 1_000, true);
        check(5.0, 3.5, 1_000, false);
        assert!(!Step { latency: None, ..step(5.0, 5.0) }.is_within(1_000_000));
    }

    #[test]
    fn the_knee_is_the_last_good_one_before_the_first_bad() {
        let steps = |goods: &[bool]| -> Vec<Step> {
            let rates = [1e3, 2e3, 4e3];
            let one = |(rate, good): (f64, &bool)| Step { good: Some(*good), ..step(rate, rate) };
            rates.into_iter().zip(goods).map(one).collect()
        };
        for (goods, rate, words) in [
            (&[true, true, false][..], Some(2e3), "knee          2,000/s\n"),
            (&[false], None, "knee          below the lowest rate\n"),
            (&[true, false, true], Some(1e3), "knee          1,000/s\n"),
            (&[true, true], Some(2e3), "not reached; the highest rate, 2,000/s, was good\n"),
        ] {
            let steps = steps(goods);
            assert_eq!(knee(&steps), rate);
            let mut text = String::new();
            put_table(&mut text, &steps);
            assert!(text.ends_with(words), "{text}");
        }
        assert_eq!(knee(&[step(1.0, 1.0)]), None);
        let mut text = String::new();
        put_table(&mut text, &[step(2_000.0, 1_000.0)]);
        assert!(text.contains("2,000/s     1,000/s  50.0 %"), "{text}");
        assert!(text.contains("0.20 cores\n"), "{text}");
    }
}
