//! The scenario `hostile`: one kind of hostile traffic at a time, while victims publish, subscribe,
//! call and answer at a steady rate, and the router's memory is watched. In turn with the attacks
//! the victims are measured without them. A router that is started here is a new one for each kind.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::pubsub::{add_publishers, add_subscribers};
use super::rpc::add_callees_and_callers;
use super::run::{ASIDE_NS, Plan, Recorders, Run, TICK_NS};
use crate::cli::Hostile;
use crate::engine::Access;
use crate::error::{Error, Result};
use crate::hostile::crowd::Crowd;
use crate::hostile::member::Manner;
use crate::hostile::{Attack, Kind, MAX_CONNECTIONS, Outcome};
use crate::measure::SECOND_NS;
use crate::measure::recorder::Latency;
use crate::measure::window::Window;
use crate::procfs::Reading;
use crate::report::hostile::{Felt, Trial, Turn, Turns, ratio};
use crate::report::table::{bytes, duration};
use crate::report::{Figure, Report};
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
    let decoy = match (&args.decoy, &args.decoy_spawn) {
        (Some(decoy), Some(command)) => {
            Some(Router::spawn(command, common.router_core, common.router_log.as_deref(), decoy)?)
        }
        _ => None,
    };
    let mut trial = attack(args, kind, router.as_ref())?;
    drop(decoy);
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
    let length = common.duration;
    let mut outcome = Outcome::default();
    let [mut calm, mut decoyed, mut attacked]: [Option<Recorders>; 3] = Default::default();
    let mut first = None;
    for _ in 0..args.rounds {
        add(&mut calm, stay_calm(&mut run, length)?);
        if let Some(decoy) = &args.decoy {
            let access =
                Access { target: decoy.clone(), receivers: Vec::new(), ..common.access()? };
            let mut siege = Siege::begin(kind, access, length);
            add(&mut decoyed, run.measure_aside(|_| siege.is_over())?);
            outcome.faults.extend(siege.end_at_decoy());
        }
        let mut siege = Siege::begin(kind, common.access()?, length);
        let mut readings: Option<(Reading, Reading)> = None;
        run.measure_while(|reading| {
            if let Some(reading) = reading {
                readings.get_or_insert((reading, reading)).1 = reading;
                felt.peak = felt.peak.max(Some(reading.rss_peak));
            }
            siege.is_over()
        })?;
        felt.attacked_s += (run.end().at_ns - run.start().at_ns) as f64 / 1e9;
        if let Some((begin, end)) = readings {
            let cpu_s = end.run_ns.saturating_sub(begin.run_ns) as f64 / 1e9;
            felt.cpu_s = Some(felt.cpu_s.unwrap_or_default() + cpu_s);
        }
        first.get_or_insert_with(|| run.start().clone());
        outcome.add(siege.end());
        run.carry_on(ASIDE_NS)?;
        add(&mut attacked, run.take_recorders());
    }
    run.carry_on(args.settle.as_nanos() as u64)?;
    if let Some(reading) = run.router_reading() {
        felt.after = Some(reading.rss);
        felt.peak = felt.peak.max(Some(reading.rss_peak));
    }
    let is_alive = welcomes(args);
    run.drain()?;
    if let Some(first) = first {
        run.begin_at(first);
    }
    let late = attacked.as_ref().map_or(0, |attacked| count_late(args, attacked));
    attacked.into_iter().for_each(|attacked| run.keep(attacked));
    let mut report = run.report();
    report.turns = calm.map(|calm| Turns {
        rounds: args.rounds,
        calm: Turn::of(&calm),
        decoy: decoyed.as_ref().map(Turn::of),
    });
    Ok(Trial { kind, report, outcome, router: felt, late, is_alive })
}

/// Measures the victims for `length` while nobody does them harm.
fn stay_calm(run: &mut Run<'_>, length: Duration) -> Result<Recorders> {
    let mut ticks = length.as_nanos() as u64 / TICK_NS;
    run.measure_aside(|_| {
        let is_over = ticks == 0;
        ticks = ticks.saturating_sub(1);
        is_over
    })
}

fn add(sum: &mut Option<Recorders>, round: Recorders) {
    match sum {
        None => *sum = Some(round),
        Some(sum) => sum.iter_mut().zip(&round).for_each(|(sum, one)| sum.add(one)),
    }
}

/// Events and calls that took longer than the bound.
fn count_late(args: &Hostile, [events, calls, _]: &Recorders) -> u64 {
    let bound_ns = args.max_p99_ms * 1_000_000;
    events.count_above(bound_ns) + calls.count_above(bound_ns)
}

/// Hostile clients at work.
struct Siege {
    hostile: JoinHandle<Outcome>,
    /// Since the last of them has left.
    ticks_after: u32,
}

impl Siege {
    fn begin(kind: Kind, access: Access, length: Duration) -> Self {
        let hostile = thread::spawn(move || Attack::run(kind, access, length));
        Self { hostile, ticks_after: 0 }
    }

    /// Whether the part that is measured with them is over; asked once in a tick.
    fn is_over(&mut self) -> bool {
        self.ticks_after += u32::from(self.hostile.is_finished());
        self.ticks_after > TICKS_AFTER
    }

    fn end(self) -> Outcome {
        self.hostile.join().unwrap_or_else(|_| Outcome {
            faults: vec!["the hostile clients' thread panicked".to_owned()],
            ..Outcome::default()
        })
    }

    /// What makes the decoy a bad one: there, too, the attack has to be one.
    fn end_at_decoy(self) -> Vec<String> {
        let outcome = self.end();
        let all = outcome.faults.iter().cloned().chain(outcome.shortcomings());
        all.map(|fault| format!("at the decoy: {fault}")).collect()
    }
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
    report.add_figure("attacked for", router.attacked_s, "s");
    if let Some(cpu_s) = router.cpu_s {
        report.add_figure("router CPU time", cpu_s, "s");
    }
    report.add_figure("hostile clients' own CPU time", outcome.cpu_ns as f64 / 1e9, "s");
    add_ratios(report);
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

/// What the attack made of p99, as factors.
fn add_ratios(report: &mut Report) {
    let Some(turns) = report.turns.clone() else { return };
    let mut add = |name: String, own: &Option<Latency>, felt: &Option<Latency>| {
        let both = own.as_ref().zip(felt.as_ref());
        if let Some(ratio) = both.and_then(|(own, felt)| ratio(own.p99, felt.p99)) {
            report.figures.push(Figure { name, value: ratio, unit: String::new() });
        }
    };
    let (events, calls) = (report.event_latency.clone(), report.call_latency.clone());
    for (part, turn) in [("calm", Some(&turns.calm)), ("decoy", turns.decoy.as_ref())] {
        if let Some(turn) = turn {
            add(format!("p99 of events over {part}"), &events, &turn.event_latency);
            add(format!("p99 of calls over {part}"), &calls, &turn.call_latency);
        }
    }
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
const _: () = assert!(SECOND_NS / TICKS_AFTER as u64 == TICK_NS);

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
