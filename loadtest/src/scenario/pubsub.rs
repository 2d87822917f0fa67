//! The scenarios of publish and subscribe: `fanout`, `topics` and `churn`.

use super::run::{Plan, Run};
use super::steps;
use crate::cli::{Churn, Fanout, Pace, Steps, Topics};
use crate::error::Result;
use crate::measure::window::Window;
use crate::report::Report;
use crate::report::table::counted;
use crate::role::Role;
use crate::role::publisher::Publisher;
use crate::role::subscriber::{Kind, Subscriber};
use crate::router::Router;
use crate::wire::message::Matching;

/// P publishers and N subscribers on one topic.
pub fn fanout(args: &Fanout, router: Option<&Router>) -> Result<Report> {
    let Fanout { publishers, subscribers, common, .. } = args;
    let (in_flight, publish_rate, pacing) = args.pace.settle(1000, Some(&args.steps));
    let mut plan = Plan {
        scenario: "fanout",
        common,
        clients: Vec::new(),
        windows: Window::of_each(*publishers, in_flight, *subscribers),
        publish_rate,
        call_rate: None,
        join_rate: None,
        pacing,
        description: format!(
            "{}, {}",
            counted(*publishers, "publisher"),
            counted(*subscribers, "subscriber") + by_pattern(args.matching)
        ),
        progressive: false,
    };
    let mut serializers = args.subscriber_serializer.iter().cycle();
    for _ in 0..*subscribers {
        let serializer = serializers.next().copied().unwrap_or(common.serializer);
        let pattern = pattern_of(TOPIC, args.matching);
        let one = Subscriber::new(pattern, 0..*publishers, Kind::Steady).matching(args.matching);
        plan.clients.push((Role::Subscriber(one), serializer));
    }
    add_publishers(&mut plan, *publishers, args.acknowledge);
    stepped(plan, router, &args.steps, *subscribers)
}

/// T topics with one publisher and one subscriber each.
pub fn topics(args: &Topics, router: Option<&Router>) -> Result<Report> {
    let Topics { topics, common, acknowledge, .. } = args;
    let (in_flight, publish_rate, pacing) = args.pace.settle(1, Some(&args.steps));
    let mut clients = Vec::new();
    // A prefix must not match those of other topics, so the number is not what a topic ends with.
    let end = if args.matching == Matching::Exact { "" } else { ".event" };
    let topic = |number: u32| format!("{TOPIC}.{number}{end}");
    for number in 0..*topics {
        let pattern = pattern_of(&topic(number), args.matching);
        let one = Subscriber::new(pattern, number..number + 1, Kind::Steady);
        clients.push((Role::Subscriber(one.matching(args.matching)), common.serializer));
    }
    for number in 0..*topics {
        let publisher = Publisher::new(number, topic(number), *acknowledge, common.payload());
        clients.push((Role::Publisher(publisher), common.serializer));
    }
    let plan = Plan {
        scenario: "topics",
        common,
        clients,
        windows: Window::of_each(*topics, in_flight, 1),
        publish_rate,
        call_rate: None,
        join_rate: None,
        pacing,
        description: format!(
            "{}, 1 publisher and 1 subscriber each{}",
            counted(*topics, "topic"),
            by_pattern(args.matching)
        ),
        progressive: false,
    };
    stepped(plan, router, &args.steps, 1)
}

/// A pattern that matches `topic`, and no other topic of the run.
fn pattern_of(topic: &str, matching: Matching) -> String {
    let last = topic.rfind('.').map_or(0, |dot| dot + 1);
    match matching {
        Matching::Exact => topic.to_owned(),
        Matching::Prefix => topic[..last].to_owned(),
        Matching::Wildcard => {
            // The second component may be anything.
            let mut parts: Vec<&str> = topic.split('.').collect();
            parts[1] = "";
            parts.join(".")
        }
    }
}

const fn by_pattern(matching: Matching) -> &'static str {
    match matching {
        Matching::Exact => "",
        Matching::Prefix => " by prefix",
        Matching::Wildcard => " by wildcard",
    }
}

/// Steady subscribers, and others that come and go, on one topic.
pub fn churn(args: &Churn, router: Option<&Router>) -> Result<Report> {
    let Churn { publishers, subscribers, churners, stay, common, .. } = args;
    let (in_flight, publish_rate, pacing) = args.pace.settle(8, None);
    let mut plan = Plan {
        scenario: "churn",
        common,
        clients: Vec::new(),
        windows: Window::of_each(*publishers, in_flight, *subscribers),
        publish_rate,
        call_rate: None,
        join_rate: None,
        pacing,
        description: format!(
            "{publishers} publishers, {subscribers} steady subscribers, {churners} that leave \
             after {stay} events and come back"
        ),
        progressive: false,
    };
    add_subscribers(&mut plan, *subscribers, 0..*publishers, Kind::Steady);
    add_subscribers(&mut plan, *churners, 0..*publishers, Kind::Churning(*stay));
    add_publishers(&mut plan, *publishers, false);
    let mut run = Run::open(plan, router)?;
    run.warm_up()?;
    let before = run.fleet.counts().resubscriptions;
    run.measure(common.duration.as_nanos() as u64)?;
    let resubscriptions = run.fleet.counts().resubscriptions - before;
    run.drain()?;
    let mut report = run.report();
    let rate = resubscriptions as f64 / report.seconds;
    report.add_figure("subscriptions left and made again", rate, "/s");
    Ok(report)
}

/// At one rate, or at those of `steps`; each publication reaches so many receivers.
pub fn stepped(
    plan: Plan<'_>,
    router: Option<&Router>,
    steps: &Steps,
    receivers: u32,
) -> Result<Report> {
    if steps.is_none() { simple(plan, router) } else { steps::run(plan, router, steps, receivers) }
}

/// Warm up, measure, drain, report.
pub fn simple(plan: Plan<'_>, router: Option<&Router>) -> Result<Report> {
    let duration_ns = plan.common.duration.as_nanos() as u64;
    let mut run = Run::open(plan, router)?;
    run.warm_up()?;
    run.measure(duration_ns)?;
    run.drain()?;
    Ok(run.report())
}

pub fn add_subscribers(
    plan: &mut Plan<'_>,
    count: u32,
    publishers: std::ops::Range<u32>,
    kind: Kind,
) {
    for _ in 0..count {
        let role = subscriber(TOPIC, publishers.clone(), kind);
        plan.clients.push((role, plan.common.serializer));
    }
}

pub fn add_publishers(plan: &mut Plan<'_>, count: u32, acknowledge: bool) {
    let payload = plan.common.payload();
    for number in 0..count {
        let publisher = Publisher::new(number, TOPIC.to_owned(), acknowledge, payload.clone());
        plan.clients.push((Role::Publisher(publisher), plan.common.serializer));
    }
}

fn subscriber(topic: &str, publishers: std::ops::Range<u32>, kind: Kind) -> Role {
    Role::Subscriber(Subscriber::new(topic.to_owned(), publishers, kind))
}

impl Pace {
    /// The window (0 in open loop), the rate (absent in closed loop), and both in words. `usual` is
    /// the window of `--saturate`; `steps` may have rates of their own.
    pub fn settle(&self, usual: u32, steps: Option<&Steps>) -> (u32, Option<f64>, String) {
        match self.in_flight.or_else(|| self.saturate.then_some(usual)) {
            Some(window) => {
                (window, None, format!("closed loop, {window} in flight per publisher"))
            }
            None => {
                let rate = steps.and_then(Steps::first_rate).unwrap_or(self.rate);
                let words = steps.and_then(Steps::in_words);
                (0, Some(rate), words.unwrap_or_else(|| format!("open loop, {rate}/s")))
            }
        }
    }
}

const TOPIC: &str = "loadtest.topic";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn patterns_match_their_topic_alone() {
        let check = |topic, matching, expected| assert_eq!(pattern_of(topic, matching), expected);
        check("loadtest.topic", Matching::Exact, "loadtest.topic");
        check("loadtest.topic", Matching::Prefix, "loadtest.");
        check("loadtest.topic", Matching::Wildcard, "loadtest.");
        check("loadtest.topic.1.event", Matching::Prefix, "loadtest.topic.1.");
        check("loadtest.topic.1.event", Matching::Wildcard, "loadtest..1.event");
    }

    #[test]
    fn paces() {
        let pace = Pace { rate: 50.0, in_flight: None, saturate: false };
        assert_eq!(pace.settle(8, None), (0, Some(50.0), "open loop, 50/s".to_owned()));
        let saturated = Pace { saturate: true, ..pace };
        assert_eq!((saturated.settle(8, None).0, saturated.settle(8, None).1), (8, None));
        assert_eq!(Pace { in_flight: Some(3), ..pace }.settle(8, None).0, 3);
        let sweep = "10..20x2".parse().ok();
        let steps = Steps { stages: Vec::new(), sweep, knee_p99: Duration::ZERO };
        let words = "open loop, sweep from 10/s to 20/s by 2".to_owned();
        assert_eq!(pace.settle(8, Some(&steps)), (0, Some(10.0), words));
    }
}
