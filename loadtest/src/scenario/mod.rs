//! The scenarios: each turns its options into a plan and puts the phases of a run together.

mod accounts;
pub mod connect;
pub mod fleet;
pub mod hostile;
pub mod mixed;
pub mod pubsub;
pub mod rpc;
pub mod run;
pub mod slow;
pub mod steps;
pub mod stored;
pub mod storm;

use crate::cli::{Common, Scenario, WithFloor};
use crate::error::{Error, Result};
use crate::report::Report;
use crate::router::{Router, pin};
use crate::url::Transport;
use crate::wire::message::Matching;

impl Scenario {
    pub const fn common_mut(&mut self) -> &mut Common {
        match self {
            Self::Fanout(args) => &mut args.common,
            Self::Topics(args) => &mut args.common,
            Self::Rpc(args) => &mut args.common,
            Self::Connect(args) => &mut args.common,
            Self::Slow(args) => &mut args.common,
            Self::Churn(args) => &mut args.common,
            Self::Storm(args) => &mut args.common,
            Self::Retained(args) => &mut args.common,
            Self::History(args) => &mut args.common,
            Self::Mixed(args) | Self::Soak(args) => &mut args.common,
        }
    }

    /// What the options say of the floor; `None` for scenarios that have none.
    pub const fn floor(&self) -> Option<WithFloor> {
        match self {
            Self::Fanout(args) => Some(args.floor),
            Self::Topics(args) => Some(args.floor),
            Self::Rpc(args) => Some(args.floor),
            Self::Connect(args) => Some(args.floor),
            _ => None,
        }
    }

    pub const fn common(&self) -> &Common {
        match self {
            Self::Fanout(args) => &args.common,
            Self::Topics(args) => &args.common,
            Self::Rpc(args) => &args.common,
            Self::Connect(args) => &args.common,
            Self::Slow(args) => &args.common,
            Self::Churn(args) => &args.common,
            Self::Storm(args) => &args.common,
            Self::Retained(args) => &args.common,
            Self::History(args) => &args.common,
            Self::Mixed(args) | Self::Soak(args) => &args.common,
        }
    }
}

/// Runs `scenario` once, with its router started, watched or left alone as its options say.
pub fn run(scenario: &Scenario) -> Result<Report> {
    let common = scenario.common();
    check_language(scenario)?;
    check_deflate(common)?;
    let router = match (&common.spawn, common.pid) {
        (Some(command), _) => {
            let (core, log) = (common.router_core, common.router_log.as_deref());
            Some(Router::spawn(command, core, log, &common.url)?)
        }
        (None, pid) => pid.map(Router::watch),
    };
    let mut report = run_against(scenario, router.as_ref())?;
    report.judge(&common.fail_if);
    Ok(report)
}

/// Who does not speak WAMP cannot take part in everything.
fn check_language(scenario: &Scenario) -> Result<()> {
    let url = &scenario.common().url;
    let (is_pubsub, acknowledge, matching) = match scenario {
        Scenario::Fanout(args) => (true, args.acknowledge, args.matching),
        Scenario::Topics(args) => (true, args.acknowledge, args.matching),
        _ => (false, false, Matching::Exact),
    };
    let refused = match (is_pubsub, acknowledge, matching) {
        _ if url.transport.speaks_wamp() => return Ok(()),
        (true, false, Matching::Exact) => return Ok(()),
        (true, false, _) => "--match",
        (true, true, _) => "--acknowledge",
        (false, ..) => "any scenario but fanout and topics",
    };
    Err(Error::Usage(format!("{url} does not speak WAMP, which {refused} needs")))
}

/// Only WebSockets can be compressed.
fn check_deflate(common: &Common) -> Result<()> {
    match common.url.transport {
        Transport::WebSocket | Transport::Bun => Ok(()),
        _ if !common.deflate => Ok(()),
        _ => Err(Error::Usage(format!(
            "--deflate is for ws://, wss://, ws+unix:// and bun+ws://, and not for {}",
            common.url
        ))),
    }
}

/// Runs `scenario` once; `router` is the process behind its URL, if that is known.
pub fn run_against(scenario: &Scenario, router: Option<&Router>) -> Result<Report> {
    if let Some(core) = scenario.common().generator_core.first() {
        pin(*core)?;
    }
    match scenario {
        Scenario::Fanout(args) => pubsub::fanout(args, router),
        Scenario::Topics(args) => pubsub::topics(args, router),
        Scenario::Rpc(args) => rpc::rpc(args, router),
        Scenario::Connect(args) => connect::connect(args, router),
        Scenario::Slow(args) => slow::slow(args, router),
        Scenario::Churn(args) => pubsub::churn(args, router),
        Scenario::Retained(args) => stored::retained(args, router),
        Scenario::History(args) => stored::history(args, router),
        Scenario::Storm(args) => storm::storm(args, router),
        Scenario::Mixed(args) => mixed::mixed(args, router),
        Scenario::Soak(args) => mixed::soak(args, router),
    }
}
