//! The physical limit beside a router's figures: the same clients, window and frame size against a
//! program that only reads a message and writes a ready frame to N sockets. It runs as a process of
//! its own, so that its CPU is measured the same way.

pub mod server;

use std::net::TcpListener;
use std::process::Command;

use crate::cli::{Common, Fanout, FloorArgs, Pace};
use crate::error::{Context, Result};
use crate::report::Report;
use crate::router::{Router, pin};
use crate::scenario::pubsub;
use crate::url::Target;
use crate::wire::Serializer;

/// How the floor program writes.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// One write per message and socket.
    Each,
    /// One write per socket for all messages that one read brought.
    Coalesced,
}

impl Mode {
    pub const ALL: [Self; 2] = [Self::Each, Self::Coalesced];

    const fn label(self) -> &'static str {
        match self {
            Self::Each => "floor, one write each",
            Self::Coalesced => "floor, coalesced",
        }
    }
}

/// Runs `fanout` against a floor program of its own, with messages of `message_bytes`.
pub fn run(fanout: &Fanout, mode: Mode, message_bytes: usize) -> Result<Report> {
    let port = free_port()?;
    let url: Target = format!("floor://127.0.0.1:{port}").parse()?;
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.args(["floor-server", "--port", &port.to_string()]);
    if matches!(mode, Mode::Coalesced) {
        command.arg("--coalesce");
    }
    let server = Router::start(command, fanout.common.router_core, &url)?;
    if let Some(core) = fanout.common.generator_core {
        pin(core)?;
    }
    let mut fanout = fanout.clone();
    fanout.common.url = url;
    fanout.common.label = Some(mode.label().to_owned());
    fanout.common.payload_bytes = message_bytes;
    fanout.subscriber_serializer = Vec::new();
    let mut report = pubsub::fanout(&fanout, Some(&server))?;
    report.scenario = "floor".to_owned();
    report.serializer = "no protocol".to_owned();
    Ok(report)
}

/// The subcommand `floor`: both modes in turn.
pub fn run_alone(args: &FloorArgs) -> Result<Vec<Report>> {
    let fanout = Fanout {
        publishers: 1,
        subscribers: args.subscribers,
        subscriber_serializer: Vec::new(),
        acknowledge: false,
        with_floor: false,
        rounds: 1,
        pace: Pace { rate: 0.0, in_flight: Some(args.in_flight), saturate: false },
        common: Common {
            url: "floor://127.0.0.1:1".parse()?,
            realm: String::new(),
            serializer: Serializer::MessagePack,
            payload_bytes: args.message_bytes,
            duration: args.duration,
            warmup: args.warmup,
            connect_parallel: 64,
            pid: None,
            spawn: None,
            router_log: None,
            router_core: args.router_core,
            generator_core: args.generator_core,
            label: None,
            output: args.output.clone(),
        },
    };
    Mode::ALL.into_iter().map(|mode| run(&fanout, mode, args.message_bytes)).collect()
}

/// A port that nobody listens on at the moment.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("finding a free port")?;
    Ok(listener.local_addr().context("finding a free port")?.port())
}
