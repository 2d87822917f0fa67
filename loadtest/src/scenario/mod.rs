//! The scenarios: each turns its options into a plan and puts the phases of a run together.

pub mod pubsub;
pub mod rpc;
pub mod run;

use crate::cli::{Common, Scenario};
use crate::error::Result;
use crate::report::Report;
use crate::router::{Router, pin};

impl Scenario {
    pub const fn common(&self) -> &Common {
        match self {
            Self::Fanout(args) => &args.common,
            Self::Rpc(args) => &args.common,
            _ => todo!(),
        }
    }
}

/// Runs `scenario` once, with its router started, watched or left alone as its options say.
pub fn run(scenario: &Scenario) -> Result<Report> {
    let common = scenario.common();
    let router = match (&common.spawn, common.pid) {
        (Some(command), _) => Some(Router::spawn(command, common.router_core, &common.url)?),
        (None, pid) => pid.map(Router::watch),
    };
    if let Some(core) = common.generator_core {
        pin(core)?;
    }
    let router = router.as_ref();
    match scenario {
        Scenario::Fanout(args) => pubsub::fanout(args, router),
        Scenario::Topics(args) => pubsub::topics(args, router),
        Scenario::Churn(args) => pubsub::churn(args, router),
        Scenario::Rpc(args) => rpc::rpc(args, router),
        _ => todo!(),
    }
}
