//! The scenario `connect`: a storm of joins, then what an idle session costs, then leaving.

use super::run::{Plan, Run};
use crate::cli::Connect;
use crate::error::Result;
use crate::measure::SECOND_NS;
use crate::report::Report;
use crate::role::Role;
use crate::role::subscriber::{Kind, Subscriber};
use crate::router::Router;

pub fn connect(args: &Connect, router: Option<&Router>) -> Result<Report> {
    let Connect { sessions, rate, subscribe, common, .. } = args;
    let role = |number: u32| {
        if *subscribe {
            let topic = format!("loadtest.topic.{number}");
            Role::Subscriber(Subscriber::new(topic, 0..0, Kind::Steady))
        } else {
            Role::Idle
        }
    };
    let doing = if *subscribe { "join and subscribe" } else { "join" };
    let by = common.login.map_or_else(String::new, |method| format!(" by {}", method.name()));
    let plan = Plan {
        scenario: "connect",
        common,
        clients: (0..*sessions).map(|number| (role(number), common.serializer)).collect(),
        windows: Vec::new(),
        publish_rate: None,
        call_rate: None,
        join_rate: *rate,
        pacing: match rate {
            Some(rate) => format!("open loop, {rate}/s"),
            None => format!("closed loop, {} at a time", common.connect_parallel),
        },
        description: format!("{sessions} sessions that {doing}{by}"),
        progressive: false,
    };
    let mut run = Run::open(plan, router)?;
    let rss_before = run.opening_rss();
    let warmup_ns = common.warmup.as_nanos() as u64;
    run.idle(warmup_ns)?;
    let rss_joined = run.router_rss();
    let idle_cores = run.idle(common.duration.as_nanos() as u64)?;
    let before_ns = run.fleet.now_ns();
    let left = run.fleet.leave_all(LEAVE_PATIENCE_S)?;
    let leaving_s = (run.fleet.now_ns() - before_ns) as f64 / SECOND_NS as f64;
    run.idle(SECOND_NS / 2)?;
    let rss_left = run.router_rss();
    let mut report = run.report();
    let count = f64::from(*sessions);
    report.add_figure("sessions joined", count / report.seconds, "/s");
    if let Some(router) = &report.router {
        let per_join = router.cpu_s / count * 1e6;
        report.add_figure("CPU per join", per_join, "us");
    }
    if let (Some(before), Some(joined)) = (rss_before, rss_joined) {
        let per_session = (joined as f64 - before as f64) / count / 1024.0;
        report.add_figure("router memory per idle session", per_session, "KiB");
    }
    if let Some(cores) = idle_cores {
        report.add_figure("router while idle", cores, "cores");
    }
    report.add_figure("sessions that left", left as f64 / leaving_s.max(1e-9), "/s");
    if let Some(after) = rss_left {
        report.add_figure("router memory after leaving", after as f64 / 1_048_576.0, "MiB");
    }
    if left < u64::from(*sessions) {
        report.fail(format!("{} sessions got no answer to GOODBYE", u64::from(*sessions) - left));
    }
    Ok(report)
}

const LEAVE_PATIENCE_S: u64 = 20;
