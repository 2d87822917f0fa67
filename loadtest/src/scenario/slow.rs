//! The scenario `slow`: halfway through, some subscribers stop reading. The others' latency must
//! not move, nothing may be lost to them, and the router's memory must stay within its budget.

use super::fleet::Fleet;
use super::pubsub::{add_publishers, add_subscribers};
use super::run::{Plan, Run};
use crate::cli::Slow;
use crate::error::Result;
use crate::measure::recorder::Latency;
use crate::measure::window::Window;
use crate::report::Report;
use crate::report::table::duration;
use crate::role::Role;
use crate::role::subscriber::Kind;
use crate::router::Router;

pub fn slow(args: &Slow, router: Option<&Router>) -> Result<Report> {
    let Slow { subscribers, stalled, rate, common, .. } = args;
    let stalled = (*stalled).min(*subscribers);
    let steady = subscribers - stalled;
    let mut plan = Plan {
        scenario: "slow",
        common,
        clients: Vec::new(),
        windows: vec![Window::new(0, steady)],
        publish_rate: Some(*rate),
        call_rate: None,
        join_rate: None,
        pacing: format!("open loop, {rate}/s"),
        description: format!(
            "1 publisher, {steady} subscribers that read, {stalled} that stop halfway"
        ),
        progressive: false,
    };
    add_subscribers(&mut plan, steady, 0..1, Kind::Steady);
    add_subscribers(&mut plan, stalled, 0..1, Kind::Slow);
    add_publishers(&mut plan, 1, false);
    let half_ns = common.duration.as_nanos() as u64 / 2;
    let mut run = Run::open(plan, router)?;
    run.warm_up()?;
    run.measure(half_ns)?;
    let reading = run.take_event_phase();
    let rss_before = run.router_rss();
    set_stalled(&mut run, true)?;
    run.measure(half_ns)?;
    let stalling = run.fleet.recorder(|board| &board.events).latency();
    let rss_after = run.router_rss();
    run.drain()?;
    set_stalled(&mut run, false)?;
    read_on(&mut run, stalled)?;
    let evicted = run.fleet.counts().evicted;
    let mut report = run.report();
    let offered = rate * half_ns as f64 / 1e9 * report.delivery_bytes as f64;
    report.add_figure("offered to each stalled subscriber", offered / 1_048_576.0, "MiB");
    report.add_figure("stalled subscribers closed by the router", evicted as f64, "");
    judge_latency(&mut report, args, reading, stalling);
    judge_memory(&mut report, args, rss_before, rss_after);
    Ok(report)
}

/// Stops the slow subscribers reading, or lets them read on.
fn set_stalled(run: &mut Run<'_>, stalled: bool) -> Result<()> {
    for engine in run.fleet.engines_mut() {
        for index in 0..engine.links.len() {
            let Role::Subscriber(subscriber) = &engine.roles[index] else {
                continue;
            };
            if subscriber.may_lose() {
                engine.links[index].stalled = stalled;
                engine.read(index)?;
            }
        }
    }
    Ok(())
}

/// Reads until all `stalled` ones have found out that they were closed, or nothing comes any more.
/// What is left in the kernel may come late: it takes a while to see that somebody reads again.
fn read_on(run: &mut Run<'_>, stalled: u32) -> Result<()> {
    for _ in 0..READ_ON_TURNS {
        let before = run.fleet.counts();
        let until_ns = run.fleet.now_ns() + READ_ON_NS;
        let all_closed = |fleet: &Fleet| fleet.counts().evicted >= u64::from(stalled);
        run.fleet.run_while(until_ns, all_closed)?;
        let after = run.fleet.counts();
        if all_closed(&run.fleet) || after.received_bytes == before.received_bytes {
            break;
        }
    }
    Ok(())
}

fn judge_latency(
    report: &mut Report,
    args: &Slow,
    reading: Option<Latency>,
    stalling: Option<Latency>,
) {
    let Some((before, after)) = reading.zip(stalling) else {
        return;
    };
    report.add_figure("p99 while all read", before.p99 as f64 / 1e6, "ms");
    report.add_figure("p99 of the others while some stall", after.p99 as f64 / 1e6, "ms");
    let growth = after.p99 as f64 / before.p99.max(1) as f64;
    report.add_figure("p99 of the others, stalled to reading", growth, "x");
    if growth > args.allowed_growth && after.p99 > before.p99 + TOLERATED_NS {
        report.fail(format!(
            "the others' p99 went from {} to {}",
            duration(before.p99),
            duration(after.p99)
        ));
    }
}

fn judge_memory(report: &mut Report, args: &Slow, before: Option<u64>, after: Option<u64>) {
    let Some((before, after)) = before.zip(after) else {
        return;
    };
    let growth = after.saturating_sub(before) as f64 / 1_048_576.0;
    report.add_figure("router memory gained while some stall", growth, "MiB");
    if let Some(budget) = args.memory_budget.filter(|budget| growth > *budget as f64) {
        report.fail(format!("the router's memory grew by {growth:.1} MiB, over {budget}"));
    }
}

/// A p99 that grows by less than this is noise, whatever the factor.
const TOLERATED_NS: u64 = 1_000_000;
const READ_ON_NS: u64 = 3_000_000_000;
const READ_ON_TURNS: u32 = 5;
