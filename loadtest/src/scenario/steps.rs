//! Runs at several rates: stages that follow each other without a pause, and sweeps, which let each
//! rate come to an end before the next, and stop at the first that is too much.

use super::accounts::{Mark, generator_use, router_use};
use super::run::{Plan, Run};
use crate::cli::Steps;
use crate::error::{Error, Result};
use crate::measure::board::Counts;
use crate::report::Report;
use crate::report::steps::{self, Step};
use crate::router::Router;

/// Runs `plan`, whose publications have so many receivers each, at the rates of `steps`.
pub fn run(
    plan: Plan<'_>,
    router: Option<&Router>,
    steps: &Steps,
    receivers: u32,
) -> Result<Report> {
    if plan.publish_rate.is_none() && plan.call_rate.is_none() {
        return Err(Error::Usage(
            "--stages and --sweep are open loop, so --in-flight, --depth and --saturate are not \
             for them"
                .to_owned(),
        ));
    }
    let step_ns = plan.common.duration.as_nanos() as u64;
    let warmup_ns = plan.common.warmup.as_nanos() as u64;
    // Of events, how many make one publication; a call is answered once.
    let per_message = if plan.call_rate.is_some() { 1 } else { receivers.max(1) };
    let mut run = Run::open(plan, router)?;
    run.warm_up()?;
    run.begin_shares();
    let (mut found, mut first) = (Vec::new(), None);
    if let Some(sweep) = steps.sweep {
        for (number, rate) in sweep.rates().enumerate() {
            if number > 0 {
                run.set_pace(rate);
                run.carry_on(warmup_ns)?;
            }
            let start = run.measure_more(step_ns, None)?;
            run.drain()?;
            let mut step = step(&mut run, rate, &start, per_message);
            first.get_or_insert(start);
            let good = step.is_within(steps.knee_p99.as_nanos() as u64);
            step.good = Some(good);
            found.push(step);
            if !good {
                break;
            }
        }
    } else {
        for stage in &steps.stages {
            run.set_pace(stage.rate);
            // What is late belongs to the stage in which it comes.
            let since_ns = first.as_ref().map(|first: &Mark| first.at_ns);
            let start = run.measure_more(stage.duration.as_nanos() as u64, since_ns)?;
            found.push(step(&mut run, stage.rate, &start, per_message));
            first.get_or_insert(start);
        }
        run.drain()?;
    }
    if let Some(first) = first {
        run.begin_at(first);
    }
    let mut report = run.report();
    report.knee_rate = steps::knee(&found);
    report.steps = found;
    Ok(report)
}

/// What came between `start` and the end of the measured part, with the latencies since the last
/// step.
fn step(run: &mut Run<'_>, rate: f64, start: &Mark, per_message: u32) -> Step {
    let end = run.end();
    let difference = |of: fn(&Counts) -> u64| of(&end.counts) - of(&start.counts);
    let (events, calls) = (difference(|c| c.events), difference(|c| c.results));
    let seconds = (end.at_ns - start.at_ns).max(1) as f64 / 1e9;
    let router = router_use(start, end, events, calls);
    let generator = generator_use(start, end, false, router.as_ref());
    let (latency, send_lag) = run.take_phase();
    Step {
        rate,
        achieved_rate: (events + calls) as f64 / f64::from(per_message) / seconds,
        seconds,
        latency,
        send_lag,
        router,
        generator,
        good: None,
    }
}
