//! The scenario `storm`: all subscribers lose their connections at once, and come again at once,
//! while publications flow. How long it takes until all are back, and what each missed meanwhile.

use super::fleet::Fleet;
use super::pubsub::{add_publishers, add_subscribers};
use super::run::{Plan, Run};
use crate::cli::Storm;
use crate::error::Result;
use crate::measure::SECOND_NS;
use crate::measure::window::Window;
use crate::report::Report;
use crate::role::subscriber::Kind;
use crate::router::Router;

pub fn storm(args: &Storm, router: Option<&Router>) -> Result<Report> {
    let Storm { subscribers, rate, common, .. } = args;
    let mut plan = Plan {
        scenario: "storm",
        common,
        clients: Vec::new(),
        windows: vec![Window::new(0, 1)],
        publish_rate: Some(*rate),
        call_rate: None,
        join_rate: None,
        pacing: format!("open loop, {rate}/s"),
        description: format!(
            "1 publisher, 1 subscriber that stays, {subscribers} that are cut off and come again \
             {} times",
            args.rounds
        ),
        progressive: false,
    };
    add_subscribers(&mut plan, 1, 0..1, Kind::Steady);
    add_subscribers(&mut plan, *subscribers, 0..1, Kind::Returning);
    add_publishers(&mut plan, 1, false);
    let mut run = Run::open(plan, router)?;
    run.warm_up()?;
    run.begin_measuring();
    let mut rounds = Vec::new();
    for _ in 0..args.rounds {
        run.carry_on(args.pause.as_nanos() as u64)?;
        rounds.push(round(&mut run, args)?);
    }
    run.carry_on(args.pause.as_nanos() as u64)?;
    run.end_measuring();
    run.settle()?;
    let missed = run.fleet.counts().missed;
    let mut report = run.report();
    tell(&mut report, args, &rounds, missed);
    Ok(report)
}

/// How one storm went.
struct Round {
    /// Until the last one was back, or nobody waited any longer.
    took_ns: u64,
    returned: u64,
}

fn round(run: &mut Run<'_>, args: &Storm) -> Result<Round> {
    let began_ns = run.fleet.now_ns();
    let before = run.fleet.counts().returned;
    let returned = |fleet: &Fleet| fleet.counts().returned - before;
    run.fleet.come_again(began_ns)?;
    let deadline_ns = began_ns + args.patience.as_nanos() as u64;
    run.fleet.run_while(deadline_ns, |fleet| returned(fleet) >= u64::from(args.subscribers))?;
    Ok(Round { took_ns: run.fleet.now_ns() - began_ns, returned: returned(&run.fleet) })
}

fn tell(report: &mut Report, args: &Storm, rounds: &[Round], missed: u64) {
    let wanted = u64::from(args.subscribers);
    let mut took: Vec<u64> = rounds.iter().map(|round| round.took_ns).collect();
    took.sort_unstable();
    let ms = |ns: Option<&u64>| ns.map_or(0.0, |ns| *ns as f64 / 1e6);
    report.add_figure("all were back after, median", ms(took.get(took.len() / 2)), "ms");
    report.add_figure("all were back after, at worst", ms(took.last()), "ms");
    let returned: u64 = rounds.iter().map(|round| round.returned).sum();
    report.add_figure("returns", returned as f64, "");
    let seconds = took.iter().sum::<u64>().max(1) as f64 / SECOND_NS as f64;
    report.add_figure("returns while they were awaited", returned as f64 / seconds, "/s");
    report.add_figure("events missed while away", missed as f64, "");
    let each = missed as f64 / returned.max(1) as f64;
    report.add_figure("events missed per return", each, "");
    if let Some(usage) = report.router.as_ref().filter(|_| returned > 0) {
        let per_return = usage.cpu_s / returned as f64 * 1e6;
        report.add_figure("router CPU per return, with the events", per_return, "us");
    }
    for (number, round) in (1..).zip(rounds) {
        if round.returned < wanted {
            report.fail(format!(
                "storm {number}: {} of {wanted} were back after {:.1} s",
                round.returned,
                round.took_ns as f64 / SECOND_NS as f64
            ));
        }
    }
}
