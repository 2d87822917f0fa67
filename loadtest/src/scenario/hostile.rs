//! The scenario `hostile`: one kind of hostile traffic at a time, while victims publish, subscribe,
//! call and answer at a steady rate, and the router's memory is watched. A router that is started
//! here is a new one for each kind.

use std::thread;

use super::pubsub::{add_publishers, add_subscribers};
use super::rpc::add_callees_and_callers;
use super::run::{Plan, Run};
use crate::cli::Hostile;
use crate::error::{Error, Result};
use crate::hostile::crowd::Crowd;
use crate::hostile::member::Manner;
use crate::hostile::{Attack, Kind, MAX_CONNECTIONS, Outcome};
use crate::measure::SECOND_NS;
use crate::measure::board::Board;
use crate::measure::window::Window;
use crate::procfs::Reading;
use crate::report::Report;
use crate::report::hostile::{Felt, Trial};
use crate::report::table::{bytes, duration};
use crate::role::Expected;
use crate::role::subscriber::Kind as Reads;
use crate::router::{Router, allow_connections, pin};
use crate::wire::Serializer;

/// Runs one kind against a router that is started, watched or left alone as the options say.
pub fn run(args: &Hostile, kind: Kind) -> Result<Trial> {
    let common = &args.common;
    if !common.url.transport.speaks_wamp() {
        return Err(Error::Usage(format!(
            "{} does not speak WAMP, which hostile needs",
            common.url
        )));
    }
    if common.deflate {
        let text = "--deflate is not for hostile, whose clients compress nothing";
        return Err(Error::Usage(text.to_owned()));
    }
    // A router that is started here inherits the limit, and needs as many.
    allow_connections(MAX_CONNECTIONS)?;
    let router = match (&common.spawn, common.pid) {
        (Some(command), _) => {
            let (core, log) = (common.router_core, common.router_log.as_deref());
            Some(Router::spawn(command, core, log, &common.url)?)
        }
        (None, pid) => pid.map(Router::watch),
    };
    if let Some(core) = common.generator_core.first() {
        pin(*core)?;
    }
    let mut trial = attack(args, kind, router.as_ref())?;
    judge(args, &mut trial);
    trial.report.judge(&common.fail_if);
    Ok(trial)
}

fn attack(args: &Hostile, kind: Kind, router: Option<&Router>) -> Result<Trial> {
    let common = &args.common;
    let mut run = Run::open(victims(args, kind), router)?;
    run.warm_up()?;
    run.reset_peak();
    let mut felt = Felt { before: run.router_rss(), ..Felt::default() };
    let (access, length) = (common.access()?, common.duration);
    let hostile = thread::spawn(move || Attack::run(kind, access, length));
    let mut readings: Option<(Reading, Reading)> = None;
    let mut ticks_after = 0;
    run.measure_while(|reading| {
        if let Some(reading) = reading {
            let (first, last) = readings.get_or_insert((reading, reading));
            felt.peak = felt.peak.max(Some(reading.rss_peak));
            *last = reading;
            felt.cpu_s = Some(last.run_ns.saturating_sub(first.run_ns) as f64 / 1e9);
        }
        ticks_after += u32::from(hostile.is_finished());
        ticks_after > TICKS_AFTER
    })?;
    let late = {
        let bound_ns = args.max_p99_ms * 1_000_000;
        let late =
            |board: &Board| board.events.count_above(bound_ns) + board.calls.count_above(bound_ns);
        run.fleet.boards().map(late).sum()
    };
    let outcome = hostile.join().unwrap_or_else(|_| Outcome {
        faults: vec!["the hostile clients' thread panicked".to_owned()],
        ..Outcome::default()
    });
    run.carry_on(args.settle.as_nanos() as u64)?;
    if let Some(reading) = run.router_reading() {
        felt.after = Some(reading.rss);
        felt.peak = felt.peak.max(Some(reading.rss_peak));
    }
    let is_alive = welcomes(args);
    run.drain()?;
    Ok(Trial { kind, report: run.report(), outcome, router: felt, late, is_alive })
}

/// Victims on as many connections that a router with a few threads has some of them on each.
fn victims(args: &Hostile, kind: Kind) -> Plan<'_> {
    let mut plan = Plan {
        scenario: "hostile",
        common: &args.common,
        clients: Vec::new(),
        windows: vec![Window::new(0, VICTIMS)],
        publish_rate: Some(args.rate),
        call_rate: Some(args.rate),
        join_rate: None,
        pacing: format!("open loop, {0} publications/s, {0} calls/s", args.rate),
        description: format!(
            "{kind} against 1 publisher, {VICTIMS} subscribers, {VICTIMS} callers, {VICTIMS} \
             callees"
        ),
        progressive: false,
    };
    add_subscribers(&mut plan, VICTIMS, 0..1, Reads::Steady);
    add_callees_and_callers(&mut plan, VICTIMS, VICTIMS, false, 0, Expected::default());
    add_publishers(&mut plan, 1, false);
    plan
}

/// Whether a newcomer can join.
fn welcomes(args: &Hostile) -> bool {
    let crowd = args.common.access().and_then(Crowd::new);
    crowd.is_ok_and(|mut crowd| crowd.join_one(Serializer::Json, Manner::Silent).is_ok())
}

/// Writes into the report what the kind did, and which bounds it broke.
fn judge(args: &Hostile, trial: &mut Trial) {
    let Trial { kind, report, outcome, router, late, is_alive } = trial;
    for deed in &outcome.deeds {
        report.add_figure(deed.name, deed.count as f64, "");
    }
    report.add_figure("deliveries over the bound of p99", *late as f64, "");
    for (name, memory) in [
        ("router memory before", router.before),
        ("router memory at its highest", router.peak),
        ("router memory after settling", router.after),
    ] {
        if let Some(memory) = memory {
            report.add_figure(name, memory as f64 / 1_048_576.0, "MiB");
        }
    }
    if let Some(cpu_s) = router.cpu_s {
        report.add_figure("router CPU time", cpu_s, "s");
    }
    report.label = match &args.common.label {
        Some(label) => format!("{label}, {kind}"),
        None => kind.name().to_owned(),
    };
    if !*is_alive {
        report.fail("the router lets nobody join any more".to_owned());
    }
    if !report.verified.is_clean() {
        report.fail(format!("victims: {}", report.verified));
    }
    judge_latency(args, report);
    judge_memory(args, report, *router);
    outcome.faults.iter().for_each(|fault| report.fail(fault.clone()));
    outcome.shortcomings().for_each(|text| report.fail(text));
}

fn judge_latency(args: &Hostile, report: &mut Report) {
    let bound_ns = args.max_p99_ms * 1_000_000;
    // On a starved machine the generator is as late as the router.
    let lag = report.send_lag.as_ref().map_or(0, |lag| lag.p99);
    for (what, latency) in
        [("events", report.event_latency.clone()), ("calls", report.call_latency.clone())]
    {
        match latency {
            Some(latency) if latency.p99 > bound_ns => report.fail(format!(
                "p99 of the victims' {what} is {}, over {}; the generator's own lag is {}",
                duration(latency.p99),
                duration(bound_ns),
                duration(lag)
            )),
            Some(_) => {}
            None => report.fail(format!("the victims had no {what}")),
        }
    }
}

fn judge_memory(args: &Hostile, report: &mut Report, router: Felt) {
    let bound = args.max_memory_mib << 20;
    if let Some(peak) = router.peak.filter(|peak| *peak > bound) {
        report.fail(format!("the router took {}, over {}", bytes(peak), bytes(bound)));
    }
    let bound = args.max_kept_mib << 20;
    if let Some((before, after)) = router.before.zip(router.after)
        && after.saturating_sub(before) > bound
    {
        let kept = bytes(after - before);
        let settled = duration(args.settle.as_nanos() as u64);
        report.fail(format!("{kept} were kept after {settled}, over {}", bytes(bound)));
    }
}

const VICTIMS: u32 = 4;
/// The ends of hostile connections are measured, too: so many ticks, a second.
const TICKS_AFTER: u32 = 20;
const _: () = assert!(SECOND_NS / TICKS_AFTER as u64 == super::run::TICK_NS);

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::hostile::attack::Deed;
    use crate::report::samples;

    /// Judges a clean report with a call latency, changed by `change`: the failures.
    fn judged(change: impl FnOnce(&mut Trial)) -> Vec<String> {
        let line = "x hostile --max-p99-ms 10 --max-memory-mib 100 --max-kept-mib 10";
        let Command::Hostile(args) = Cli::parse_from(line.split(' ')).command else {
            unreachable!("the line is constant")
        };
        let mut report = samples::report();
        report.call_latency = report.event_latency.clone();
        let mut trial = Trial {
            kind: Kind::Pings,
            report,
            outcome: Outcome::default(),
            router: Felt { before: Some(5 << 20), peak: Some(9 << 20), ..Felt::default() },
            late: 0,
            is_alive: true,
        };
        change(&mut trial);
        judge(&args, &mut trial);
        assert_eq!(trial.report.clean, trial.report.failures.is_empty());
        trial.report.failures
    }

    #[test]
    fn each_bound_breaks_by_itself() {
        assert_eq!(judged(|_| {}), [""; 0]);
        let check = |change: fn(&mut Trial), why: &str| {
            let failures = judged(change);
            assert!(failures.len() == 1 && failures[0].contains(why), "{failures:?}");
        };
        check(|trial| trial.is_alive = false, "nobody join");
        check(|trial| trial.report.verified.lost = 3, "victims: 3 lost");
        check(|trial| trial.report.call_latency = None, "no calls");
        check(
            |trial| trial.report.event_latency.as_mut().unwrap().p99 = 11_000_000,
            "p99 of the victims' events is 11ms, over 10ms",
        );
        check(|trial| trial.router.peak = Some(101 << 20), "took 101.0 MiB, over 100.0 MiB");
        check(|trial| trial.router.after = Some(16 << 20), "11.0 MiB were kept after 10.00s");
        check(|trial| trial.outcome.faults.push("the callee was ended".into()), "was ended");
        check(
            |trial| {
                trial.outcome.deeds.push(Deed { name: "pongs", count: 0, at_least: 1 });
            },
            "the attack is not one: pongs 0",
        );
    }
}
