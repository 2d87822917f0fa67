//! The physical limit beside a router's figures: the same clients, window and frame size against a
//! program that only passes ready frames on: to N sockets, to a callee and back. It runs as a
//! process of its own, so that its CPU is measured the same way.

mod peer;
pub mod server;
mod wiring;

use std::net::TcpListener;
use std::process::Command;

use crate::cli::{FloorArgs, Scenario, nested};
use crate::error::{Context, Error, Result};
use crate::report::Report;
use crate::router::Router;
use crate::scenario;
use crate::tls::{Identity, Trust};
use crate::url::Target;
use crate::wire::Serializer;
use crate::wire::message::Matching;
use crate::wire::stamp::STAMP_BYTES;

/// How the floor program writes.
#[derive(Clone, Copy, Debug)]
enum Mode {
    /// One write per message and socket.
    Each,
    /// One write per socket for all messages that one read brought, or one turn where several
    /// clients send to one.
    Coalesced,
}

impl Mode {
    /// Where each socket gets one message at a time, both would do the same.
    fn of(scenario: &Scenario) -> Result<&'static [Self]> {
        match scenario {
            Scenario::Fanout(_) | Scenario::Rpc(_) => Ok(&[Self::Each, Self::Coalesced]),
            Scenario::Topics(_) | Scenario::Connect(_) => Ok(&[Self::Each]),
            _ => Err(Error::Usage("fanout, topics, rpc and connect have a floor".to_owned())),
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Each => "floor, one write each",
            Self::Coalesced => "floor, coalesced",
        }
    }
}

/// Runs `scenario` against a floor program in each of its modes, with messages of `message_bytes`.
pub fn run_all(scenario: &Scenario, message_bytes: usize) -> Result<Vec<Report>> {
    Mode::of(scenario)?.iter().map(|mode| run(scenario, *mode, message_bytes)).collect()
}

/// The subcommand `floor`.
pub fn run_alone(args: &FloorArgs) -> Result<Vec<Report>> {
    let mut scenario = nested(&args.scenario)?;
    scenario.common_mut().output = args.output.clone();
    let mut reports = Vec::new();
    for _ in 0..args.rounds {
        reports.extend(run_all(&scenario, args.message_bytes)?);
    }
    Ok(reports)
}

fn run(scenario: &Scenario, mode: Mode, message_bytes: usize) -> Result<Report> {
    let port = free_port()?;
    let tls = scenario.common().url.tls;
    let scheme = if tls { "floor+tls" } else { "floor" };
    let url: Target = format!("{scheme}://127.0.0.1:{port}").parse()?;
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.args(["floor-server", "--port", &port.to_string()]);
    let trust = if tls { Some(give_identity(&mut command)?) } else { None };
    if matches!(mode, Mode::Coalesced) {
        command.arg("--coalesce");
    }
    let server = Router::start(command, scenario.common().router_core, &url)?;
    let mut scenario = without_wamp(scenario);
    let common = scenario.common_mut();
    common.url = url;
    common.ca = trust;
    common.deflate = false;
    common.fail_if.clear();
    common.source.clear();
    common.label = Some(mode.label().to_owned());
    common.payload_bytes = message_bytes.max(STAMP_BYTES);
    common.serializer = Serializer::MessagePack;
    let mut report = scenario::run_against(&scenario, Some(&server))?;
    report.scenario = format!("floor of {}", report.scenario);
    Ok(report)
}

/// Gives the floor program a certificate of its own, by its environment: who trusts it.
fn give_identity(command: &mut Command) -> Result<Trust> {
    let identity = Identity::make()?;
    command.env(server::IDENTITY, identity.pem());
    Trust::of_pem(identity.certificate.as_bytes()).map_err(Error::Usage)
}

/// `scenario` without what only WAMP has.
fn without_wamp(scenario: &Scenario) -> Scenario {
    let mut scenario = scenario.clone();
    match &mut scenario {
        Scenario::Fanout(args) => {
            args.subscriber_serializer.clear();
            args.acknowledge = false;
            args.matching = Matching::Exact;
        }
        Scenario::Topics(args) => {
            args.acknowledge = false;
            args.matching = Matching::Exact;
        }
        Scenario::Rpc(args) => (args.progressive_results, args.progressive_calls) = (0, 0),
        Scenario::Connect(args) => args.subscribe = false,
        _ => {}
    }
    scenario
}

/// A port that nobody listens on at the moment.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("finding a free port")?;
    Ok(listener.local_addr().context("finding a free port")?.port())
}
