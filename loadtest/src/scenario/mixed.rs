//! The scenarios `mixed` and `soak`: publications, calls, churn and idle sessions together; a soak
//! is the same for hours, and tells how the router's memory moves.

use super::pubsub::{add_publishers, add_subscribers, simple};
use super::rpc::add_callees_and_callers;
use super::run::Plan;
use crate::cli::Mixed;
use crate::error::Result;
use crate::measure::series::memory_slope;
use crate::measure::window::Window;
use crate::report::Report;
use crate::role::subscriber::Kind;
use crate::role::{Expected, Role};
use crate::router::Router;

pub fn mixed(args: &Mixed, router: Option<&Router>) -> Result<Report> {
    simple(plan("mixed", args), router)
}

pub fn soak(args: &Mixed, router: Option<&Router>) -> Result<Report> {
    let mut report = simple(plan("soak", args), router)?;
    if let Some(slope) = memory_slope(&report.series) {
        report.add_figure(
            "slope of the router's memory, second half",
            slope / 1_048_576.0,
            "MiB/h",
        );
    }
    Ok(report)
}

fn plan<'a>(scenario: &'a str, args: &'a Mixed) -> Plan<'a> {
    let Mixed { publishers, subscribers, churners, callers, callees, idle, .. } = args;
    let mut plan = Plan {
        scenario,
        common: &args.common,
        clients: Vec::new(),
        windows: Window::of_each(*publishers, 0, *subscribers),
        publish_rate: Some(args.rate),
        call_rate: Some(args.call_rate),
        join_rate: None,
        pacing: format!("open loop, {} publications/s, {} calls/s", args.rate, args.call_rate),
        description: format!(
            "{publishers} publishers, {subscribers} subscribers, {churners} churners, \
             {callers} callers, {callees} callees, {idle} idle"
        ),
        progressive: false,
    };
    add_subscribers(&mut plan, *subscribers, 0..*publishers, Kind::Steady);
    add_subscribers(&mut plan, *churners, 0..*publishers, Kind::Churning(CHURN_AFTER));
    add_callees_and_callers(&mut plan, *callees, *callers, false, 0, Expected::default());
    add_publishers(&mut plan, *publishers, false);
    plan.clients.extend((0..*idle).map(|_| (Role::Idle, args.common.serializer)));
    plan
}

const CHURN_AFTER: u32 = 50;
