//! The command line: one subcommand per scenario, with options that they share, and the programs
//! around them. `common` has the shared options, `scenarios` each one's own, `values` their forms.

mod common;
mod scenarios;
mod steps;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};

pub use common::{Common, Output, Pace, WithFloor};
pub use scenarios::{
    Churn, Connect, Fanout, History, Mixed, Retained, Rpc, Scenario, Slow, Storm, Topics,
};
pub use steps::{Stage, Steps, Sweep};

use crate::error::{Error, Result};
use crate::hostile::Kind;
use crate::tls::Trust;
use crate::url::Target;
use values::{duration, payload_bytes, rate};

/// Load-test any WAMP router, and check that nothing is lost, doubled or out of order.
///
/// Exit code: 0 if every run was clean, 1 if verification found something, 2 if a run failed or the
/// command line is wrong, 6 if a run was clean and broke a threshold of --fail-if.
#[derive(Debug, Parser)]
#[command(name = "stentor-loadtest", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(flatten)]
    Scenario(Scenario),
    /// Run one scenario against several routers in turn, and print the ratios
    Compare(Compare),
    /// Measure the physical limit of a scenario: ready frames passed on, no protocol
    Floor(FloorArgs),
    /// For CI: a few seconds of fanout and rpc, over what the router offers
    Smoke(Smoke),
    /// Clients that cost the router all they can, kind by kind, while others measure what they feel
    Hostile(Hostile),
    /// Print the manual page, or write all pages into a directory
    Man(Man),
    #[command(hide = true)]
    FloorServer(FloorServer),
}

#[derive(Debug, Args)]
pub struct Compare {
    /// A router's URL; once per router
    #[arg(long, required = true)]
    pub url: Vec<Target>,
    /// Its name in the table, in the order of the URLs
    #[arg(long)]
    pub label: Vec<String>,
    /// Its process, in the order of the URLs
    #[arg(long, conflicts_with = "spawn")]
    pub pid: Vec<u32>,
    /// Its command, in the order of the URLs
    #[arg(long)]
    pub spawn: Vec<String>,
    /// Whether messages are compressed (true or false), in the order of the URLs; for all of them
    /// it is an option of the scenario
    #[arg(long, value_name = "BOOL", action = ArgAction::Append)]
    pub deflate: Vec<bool>,
    /// How often the turns are repeated
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    #[command(flatten)]
    pub output: Output,
    /// The scenario and its options, after `--`
    #[arg(last = true, required = true)]
    pub scenario: Vec<String>,
}

#[derive(Clone, Debug, Args)]
pub struct FloorArgs {
    /// Bytes of each message without its header; as long as the router's EVENT or RESULT
    #[arg(long, default_value_t = 160, value_parser = payload_bytes)]
    pub message_bytes: usize,
    /// How often the turns are repeated
    #[arg(long, default_value_t = 1)]
    pub rounds: u32,
    #[command(flatten)]
    pub output: Output,
    /// fanout, topics, rpc or connect and its options, after `--`
    #[arg(last = true, required = true)]
    pub scenario: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Smoke {
    /// URLs to test; all of them are
    #[arg(long, required = true)]
    pub url: Vec<Target>,
    /// Length of each of the runs
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub duration: Duration,
    #[arg(long, default_value = "realm1")]
    pub realm: String,
    /// The authority that has signed the certificate of a router with TLS: a file of PEM
    #[arg(long, value_name = "FILE", value_parser = Trust::of_file)]
    pub ca: Option<Trust>,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Clone, Debug, Args)]
pub struct Hostile {
    /// The kinds to run, in this order; if absent all but those whose names begin with `http-`
    #[arg(long, value_delimiter = ',')]
    pub kinds: Vec<Kind>,
    /// Publications and calls per second of the victims, each
    #[arg(long, default_value_t = 200.0, value_parser = rate)]
    pub rate: f64,
    /// How often each kind attacks its router. Before each attack the victims are measured for
    /// --duration without it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Measure the victims beside attacks on this other router, too, in turn: what they feel then
    /// is what the attack takes from the machine, and no fault of their own router
    #[arg(long, value_name = "URL")]
    pub decoy: Option<Target>,
    /// Start that router with this command for each kind, and end it afterwards
    #[arg(long, value_name = "COMMAND", requires = "decoy")]
    pub decoy_spawn: Option<String>,
    /// How long after each kind the router's memory is looked at again
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub settle: Duration,
    /// Fail if a victim's p99 is above this, milliseconds
    #[arg(long, default_value_t = 250)]
    pub max_p99_ms: u64,
    /// Fail if the router's memory is ever above this, MiB
    #[arg(long, default_value_t = 1024)]
    pub max_memory_mib: u64,
    /// Fail if the router's memory after --settle is above that before the kind by more, MiB
    #[arg(long, default_value_t = 64)]
    pub max_kept_mib: u64,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub struct Man {
    /// Where to write stentor-loadtest.1, stentor-loadtest-fanout.1 and the others
    #[arg(long, value_name = "DIRECTORY")]
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct FloorServer {
    #[arg(long)]
    pub port: u16,
    /// Collect all messages of one read or turn into one write per socket
    #[arg(long)]
    pub coalesce: bool,
}

impl Command {
    /// Where the results go.
    pub const fn output(&self) -> Option<&Output> {
        match self {
            Self::Scenario(scenario) => Some(&scenario.common().output),
            Self::Compare(args) => Some(&args.output),
            Self::Floor(args) => Some(&args.output),
            Self::Smoke(args) => Some(&args.output),
            Self::Hostile(args) => Some(&args.common.output),
            Self::Man(_) | Self::FloorServer(_) => None,
        }
    }
}

/// The scenario that follows `--`, with all its options.
pub fn nested(words: &[String]) -> Result<Scenario> {
    let words = std::iter::once("stentor-loadtest").chain(words.iter().map(String::as_str));
    let parsed = Cli::try_parse_from(words).map_err(|error| Error::Usage(error.to_string()))?;
    match parsed.command {
        Command::Scenario(scenario) => Ok(scenario),
        _ => Err(Error::Usage("a scenario must follow --".to_owned())),
    }
}
#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::role::Role;
    use crate::role::subscriber::{Kind, Subscriber};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Receivers go to other nodes in turn, and speak what senders do.
    #[test]
    fn receivers_go_elsewhere() {
        let access = |line: &str| {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            let Command::Scenario(scenario) = cli.command else { panic!("{line} is a scenario") };
            scenario.common().access()
        };
        let others = "--receiver-url rs://127.0.0.1:2 --receiver-url rs://127.0.0.1:3";
        let access_there = access(&format!("x fanout --url rs://127.0.0.1:1 {others}")).unwrap();
        let receiver = Role::Subscriber(Subscriber::new("a".into(), 0..1, Kind::Steady));
        let targets = [(&Role::Idle, 0), (&receiver, 0), (&receiver, 1), (&receiver, 2)]
            .map(|(role, number)| access_there.target_of(role, number).to_string());
        let ports =
            ["rs://127.0.0.1:1", "rs://127.0.0.1:2", "rs://127.0.0.1:3", "rs://127.0.0.1:2"];
        assert_eq!(targets, ports);
        let here = access("x fanout --url rs://127.0.0.1:1").unwrap();
        assert_eq!(here.target_of(&receiver, 1).to_string(), "rs://127.0.0.1:1");
        let mixed = access("x fanout --url ws://127.0.0.1:1/ws --receiver-url rs://127.0.0.1:2");
        let said = mixed.map(drop).unwrap_err().to_string();
        assert!(said.contains("must begin alike"), "{said}");
        let unreachable = access(&format!("x fanout --url rs://[::1]:1 --source ::1 {others}"));
        let said = unreachable.map(drop).unwrap_err().to_string();
        assert!(said.contains("rs://127.0.0.1:2"), "{said}");
    }

    #[test]
    fn open_and_closed_loop_exclude_each_other() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("x fanout --rate 10").is_ok());
        assert!(parse("x fanout --in-flight 8").is_ok());
        assert!(parse("x fanout --in-flight 8 --rate 10").is_err());
        assert!(parse("x rpc --depth 0").is_err());
        assert!(parse("x fanout --payload-bytes 10").is_err());
        assert!(parse("x compare --url rs://127.0.0.1:1 -- fanout -n 5").is_ok());
        assert!(
            parse("x compare --url rs://127.0.0.1:1 --deflate true --deflate false -- rpc").is_ok()
        );
        assert!(parse("x fanout --deflate --payload records").is_ok());
        assert!(parse("x fanout --payload dashes").is_err());
        assert!(parse("x hostile --kinds pings,storm").is_ok());
        let refused = parse("x hostile --kinds pongs").unwrap_err().to_string();
        assert!(refused.contains("expected one of retained, patterns"), "{refused}");
        assert!(parse("x floor -- rpc -c 5").is_ok());
    }
}
