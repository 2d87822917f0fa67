//! The scenarios of what a router keeps: `retained`, where subscribers ask for the retained event
//! of topics, and `history`, where readers ask for all events of a topic.

use super::run::{Plan, Run};
use crate::cli::{History, Retained};
use crate::error::{Error, Result};
use crate::report::Report;
use crate::report::table::counted;
use crate::role::Role;
use crate::role::depositor::{Deposit, Depositor};
use crate::role::historian::Historian;
use crate::role::latecomer::Latecomer;
use crate::router::Router;

/// Time from SUBSCRIBE to the retained event.
pub fn retained(args: &Retained, router: Option<&Router>) -> Result<Report> {
    let Retained { subscribers, topics, common } = args;
    let deposit = Deposit::Retained { topics: *topics };
    let depositor = Role::Depositor(Depositor::new(0, deposit, common.payload()));
    let mut clients = vec![(depositor, common.serializer)];
    clients.extend(
        (0..*subscribers)
            .map(|number| (Role::Latecomer(Latecomer::new(*topics, number)), common.serializer)),
    );
    let plan = Plan {
        scenario: "retained",
        common,
        clients,
        windows: Vec::new(),
        publish_rate: None,
        call_rate: None,
        join_rate: None,
        pacing: "closed loop, each asks again when its event has come".to_owned(),
        description: format!(
            "{}, {} with a retained event",
            counted(*subscribers, "subscriber"),
            counted(*topics, "topic")
        ),
        progressive: false,
    };
    super::pubsub::simple(plan, router)
}

/// Time of `wamp.subscription.get_events`, and events per second.
pub fn history(args: &History, router: Option<&Router>) -> Result<Report> {
    let History { readers, events, page, topic, common } = args;
    // An earlier run has other stamps, if the system has not come around to the same number.
    let sender = std::process::id() & 0xffff;
    let deposit = Deposit::History { topic: topic.clone(), events: *events };
    let depositor = Role::Depositor(Depositor::new(sender, deposit, common.payload()));
    let mut clients = vec![(depositor, common.serializer)];
    clients.extend((0..*readers).map(|_| {
        let historian = Historian::new(topic.clone(), sender, *events, *page);
        (Role::Historian(historian), common.serializer)
    }));
    let plan = Plan {
        scenario: "history",
        common,
        clients,
        windows: Vec::new(),
        publish_rate: None,
        call_rate: None,
        join_rate: None,
        pacing: "closed loop, each asks again when its answer has come".to_owned(),
        description: format!(
            "{} of {events} events of {topic}, at most {page} in an answer",
            counted(*readers, "reader")
        ),
        progressive: false,
    };
    let mut run = Run::open(plan, router)?;
    run.warm_up()?;
    run.measure(common.duration.as_nanos() as u64)?;
    run.drain()?;
    let counts = run.fleet.counts();
    let mut report = run.report();
    if report.calls == 0 && counts.reads == 0 {
        return Err(Error::NoHistory(topic.clone(), report.failures.join("; ")));
    }
    report.add_figure("whole reads", counts.reads as f64 / report.seconds, "/s");
    let mean_ms = counts.read_ns as f64 / counts.reads.max(1) as f64 / 1e6;
    report.add_figure("time of a whole read, mean", mean_ms, "ms");
    let each = report.events as f64 / report.calls.max(1) as f64;
    report.add_figure("events per answer", each, "");
    Ok(report)
}
