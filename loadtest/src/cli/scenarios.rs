//! The scenarios, each with the options that are its own.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::common::{Common, Pace, WithFloor};
use super::steps::Steps;
use super::values::{duration, rate};
use crate::wire::Serializer;
use crate::wire::message::Matching;

#[derive(Clone, Debug, Subcommand)]
pub enum Scenario {
    /// P publishers, N subscribers, one topic
    Fanout(Fanout),
    /// Many topics, one publisher and one subscriber each
    Topics(Topics),
    /// C callers, K callees, depth D
    Rpc(Rpc),
    /// A storm of joins; then memory per idle session
    Connect(Connect),
    /// Some subscribers stop reading: the others must not notice. Choose a payload large enough
    /// that more is offered to each than the kernel's socket buffers hold (some MiB)
    Slow(Slow),
    /// Subscribers come and go while publications flow
    Churn(Churn),
    /// All subscribers are cut off at once and come again at once: until all are back, and what
    /// they missed
    Storm(Storm),
    /// Subscribers ask for the retained event of one topic after the other: time from SUBSCRIBE to
    /// the event. The events stay in the router (loadtest.retained.0 and so on)
    Retained(Retained),
    /// Readers ask for all events of a topic that the router is configured to keep (an event
    /// history), again and again
    History(History),
    /// Publications and calls together
    Mixed(Mixed),
    /// Mixed for hours, with the slope of the router's memory
    Soak(Mixed),
}

#[derive(Clone, Debug, Args)]
pub struct Fanout {
    #[arg(long, short = 'p', default_value_t = 1)]
    pub publishers: u32,
    #[arg(long, short = 'n', default_value_t = 100)]
    pub subscribers: u32,
    /// Serializers of the subscribers, taken in turn; the publishers' own if absent
    #[arg(long, value_delimiter = ',')]
    pub subscriber_serializer: Vec<Serializer>,
    /// How subscriptions match: exact, prefix or wildcard; each pattern matches its topic alone
    #[arg(long = "match", value_name = "POLICY", default_value = "exact")]
    pub matching: Matching,
    /// Ask for PUBLISHED
    #[arg(long)]
    pub acknowledge: bool,
    #[command(flatten)]
    pub floor: WithFloor,
    #[command(flatten)]
    pub pace: Pace,
    #[command(flatten)]
    pub steps: Steps,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Debug, Args)]
pub struct Topics {
    #[arg(long, default_value_t = 1000)]
    pub topics: u32,
    /// How subscriptions match: exact, prefix or wildcard; each pattern matches its topic alone
    #[arg(long = "match", value_name = "POLICY", default_value = "exact")]
    pub matching: Matching,
    /// Ask for PUBLISHED
    #[arg(long)]
    pub acknowledge: bool,
    #[command(flatten)]
    pub floor: WithFloor,
    #[command(flatten)]
    pub pace: Pace,
    #[command(flatten)]
    pub steps: Steps,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Debug, Args)]
pub struct Rpc {
    #[arg(long, short = 'c', default_value_t = 10)]
    pub callers: u32,
    #[arg(long, short = 'k', default_value_t = 1)]
    pub callees: u32,
    /// All callees share one procedure (round robin) instead of having one each
    #[arg(long)]
    pub shared: bool,
    /// Progressive results before the last one of each call
    #[arg(long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=MAX_PARTS))]
    pub progressive_results: u32,
    /// Progressive invocations before the last one of each call
    #[arg(long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=MAX_PARTS))]
    pub progressive_calls: u32,
    /// Open loop: calls per second, over all callers; latency counts from when each was due
    #[arg(long, default_value_t = 1000.0, value_parser = rate)]
    pub rate: f64,
    /// Closed loop: each caller keeps D calls under way
    #[arg(long, value_name = "D", conflicts_with = "rate")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub depth: Option<u32>,
    /// Closed loop with depth 4
    #[arg(long, conflicts_with_all = ["rate", "depth"])]
    pub saturate: bool,
    #[command(flatten)]
    pub steps: Steps,
    #[command(flatten)]
    pub floor: WithFloor,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Debug, Args)]
pub struct Connect {
    #[arg(long, short = 'n', default_value_t = 1000)]
    pub sessions: u32,
    /// Open loop: sessions per second; otherwise --connect-parallel at a time
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
    /// Let each session subscribe to one topic of its own
    #[arg(long)]
    pub subscribe: bool,
    #[command(flatten)]
    pub floor: WithFloor,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Debug, Args)]
pub struct Slow {
    #[arg(long, short = 'n', default_value_t = 100)]
    pub subscribers: u32,
    /// How many of them stop reading halfway through
    #[arg(long, default_value_t = 10)]
    pub stalled: u32,
    /// Publications per second
    #[arg(long, default_value_t = 500.0, value_parser = rate)]
    pub rate: f64,
    /// Fail if the router's memory grows by more than this, MiB
    #[arg(long)]
    pub memory_budget: Option<u64>,
    /// Fail if the others' p99 grows by more than this factor, and by more than a millisecond
    #[arg(long, default_value_t = 3.0)]
    pub allowed_growth: f64,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Debug, Args)]
pub struct Churn {
    #[arg(long, short = 'p', default_value_t = 2)]
    pub publishers: u32,
    /// Subscribers that stay
    #[arg(long, short = 'n', default_value_t = 50)]
    pub subscribers: u32,
    /// Subscribers that come and go
    #[arg(long, default_value_t = 50)]
    pub churners: u32,
    /// Events after which a churner leaves, to come back at once
    #[arg(long, default_value_t = 10)]
    pub stay: u32,
    #[command(flatten)]
    pub pace: Pace,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Debug, Args)]
pub struct Storm {
    /// Subscribers that are cut off; one more stays
    #[arg(long, short = 'n', default_value_t = 1000)]
    pub subscribers: u32,
    /// How often
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Publications per second
    #[arg(long, default_value_t = 100.0, value_parser = rate)]
    pub rate: f64,
    /// Before each time, and after the last
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub pause: Duration,
    /// Fail if not all are back after this
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub patience: Duration,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Debug, Args)]
pub struct Retained {
    #[arg(long, short = 'n', default_value_t = 100)]
    pub subscribers: u32,
    /// Topics with a retained event each
    #[arg(long, default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub topics: u32,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Debug, Args)]
pub struct History {
    #[arg(long, short = 'n', default_value_t = 10)]
    pub readers: u32,
    /// How many events are published first
    #[arg(long, default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub events: u32,
    /// How many events are asked for in one call
    #[arg(long, default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub page: u32,
    /// The topic; its history has to have room for the events
    #[arg(long, default_value = "loadtest.history")]
    pub topic: String,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Debug, Args)]
pub struct Mixed {
    #[arg(long, short = 'p', default_value_t = 2)]
    pub publishers: u32,
    #[arg(long, short = 'n', default_value_t = 100)]
    pub subscribers: u32,
    #[arg(long, default_value_t = 20)]
    pub churners: u32,
    #[arg(long, short = 'c', default_value_t = 10)]
    pub callers: u32,
    #[arg(long, short = 'k', default_value_t = 2)]
    pub callees: u32,
    #[arg(long, default_value_t = 1000)]
    pub idle: u32,
    /// Publications per second
    #[arg(long, default_value_t = 200.0, value_parser = rate)]
    pub rate: f64,
    /// Calls per second
    #[arg(long, default_value_t = 500.0, value_parser = rate)]
    pub call_rate: f64,
    #[command(flatten)]
    pub common: Common,
}

/// All of a call's parts are sent at once.
const MAX_PARTS: i64 = 10_000;
