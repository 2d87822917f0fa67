//! The command line: one subcommand per scenario, with options that they share.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::engine::Access;
use crate::error::{Error, Result};
use crate::hostile::Kind;
use crate::login::{self, Login, Method, Secret};
use crate::tls::Trust;
use crate::url::Target;
use crate::wire::Serializer;
use crate::wire::stamp::{Filling, Payload, STAMP_BYTES};

/// Load-test any WAMP router, and check that nothing is lost, doubled or out of order.
///
/// Exit code: 0 if every run was clean, 1 if verification found something, 2 if a run failed.
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
    #[command(hide = true)]
    FloorServer(FloorServer),
}

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
    /// Publications and calls together
    Mixed(Mixed),
    /// Mixed for hours, with the slope of the router's memory
    Soak(Mixed),
}

#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Where the router listens: ws://host:port/path, rs://host:port, ws+unix:///socket[:/path],
    /// rs+unix:///socket; with TLS wss:// and rss://; for fanout and topics also nats://,
    /// nats+tls://, redis://, bun+ws:// and bun+wss://host:port
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    pub url: Target,
    #[arg(long, default_value = "realm1")]
    pub realm: String,
    /// The authority that has signed the certificate of a router with TLS: a file of PEM
    #[arg(long, value_name = "FILE", value_parser = Trust::of_file)]
    pub ca: Option<Trust>,
    /// Resume TLS sessions; each connection makes a full handshake otherwise
    #[arg(long, requires = "ca")]
    pub resume: bool,
    /// Log in by this method: ticket, wampcra, cryptosign or wamp-scram
    #[arg(long, value_name = "METHOD", requires = "authid", requires = "secret_file")]
    pub login: Option<Method>,
    /// As whom all clients log in
    #[arg(long, value_parser = login::authid, requires = "login")]
    pub authid: Option<String>,
    /// The first line is the ticket, the password, or the private key of cryptosign in hex
    #[arg(long, value_name = "FILE", value_parser = Secret::of_file, requires = "login")]
    pub secret_file: Option<Secret>,
    /// json, msgpack or cbor
    #[arg(long, default_value = "msgpack")]
    pub serializer: Serializer,
    /// Compress messages over WebSockets (permessage-deflate), as browsers do; it is an error if
    /// that is not agreed to, or if messages of the router depend on earlier ones. The same bytes
    /// for many clients are inflated once
    #[arg(long)]
    pub deflate: bool,
    /// Length of the one string argument of each message; it starts with a stamp of 32 bytes
    #[arg(long, default_value_t = 128, value_parser = payload_bytes)]
    pub payload_bytes: usize,
    /// What it has behind the stamp: dots, or records (text like JSON, of which DEFLATE makes a
    /// third)
    #[arg(long, default_value = "dots")]
    pub payload: Filling,
    /// Length of the measured part, like 5s, 10m, 2h
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub duration: Duration,
    /// Traffic before the measured part
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub warmup: Duration,
    /// How many clients may be connecting at a time
    #[arg(long, default_value_t = 64)]
    pub connect_parallel: usize,
    /// Account the CPU and memory of this process and its descendants as the router's
    #[arg(long, conflicts_with = "spawn")]
    pub pid: Option<u32>,
    /// Start the router with this command, and end it after the run
    #[arg(long)]
    pub spawn: Option<String>,
    /// Append what a started router says to this file; it is thrown away otherwise
    #[arg(long)]
    pub router_log: Option<PathBuf>,
    /// Keep a started router on this core
    #[arg(long)]
    pub router_core: Option<usize>,
    /// Keep the generator on this core
    #[arg(long)]
    pub generator_core: Option<usize>,
    /// Let the generator never sleep, so that the router's CPU time and the latencies hold no
    /// waking it up: a client on another machine costs its router nothing of the kind. Give it a
    /// core of its own
    #[arg(long)]
    pub spin: bool,
    /// The run's name in reports
    #[arg(long)]
    pub label: Option<String>,
    #[command(flatten)]
    pub output: Output,
}

impl Common {
    /// Where the clients go, and as whom.
    pub fn access(&self) -> Result<Access> {
        let login = match (self.login, &self.authid, &self.secret_file) {
            (Some(method), Some(authid), Some(secret)) => {
                let login = Login::new(method, authid.clone(), secret.clone());
                Some(login.map_err(Error::Usage)?)
            }
            _ => None,
        };
        let trust = match &self.ca {
            Some(trust) if self.resume => Some(trust.resuming()),
            trust => trust.clone(),
        };
        let (target, realm) = (self.url.clone(), self.realm.clone());
        Ok(Access { target, realm, trust, login, deflate: self.deflate })
    }

    /// What a sender's messages hold.
    pub fn payload(&self) -> Payload {
        Payload::new(self.payload, self.payload_bytes)
    }
}

#[derive(Clone, Debug, Default, Args)]
pub struct Output {
    /// Append one line of JSON per run to this file; `-` prints it instead of the table
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write one self-contained HTML report to this file
    #[arg(long)]
    pub html: Option<PathBuf>,
    /// No progress display
    #[arg(long)]
    pub quiet: bool,
}

/// How fast to send. Open loop unless one of the closed-loop options is given.
#[derive(Clone, Copy, Debug, Args)]
pub struct Pace {
    /// Open loop: messages per second, over all senders; latency counts from when each was due
    #[arg(long, default_value_t = 1000.0, value_parser = rate)]
    pub rate: f64,
    /// Closed loop: each publisher keeps K publications in flight, a publication being in flight
    /// until every subscriber has it
    #[arg(long, value_name = "K", conflicts_with = "rate")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: Option<u32>,
    /// Closed loop with the scenario's usual window
    #[arg(long, conflicts_with_all = ["rate", "in_flight"])]
    pub saturate: bool,
}

/// The physical limit beside the router.
#[derive(Clone, Copy, Debug, Args)]
pub struct WithFloor {
    /// Run the floor program too, in turn with the router
    #[arg(long)]
    pub with_floor: bool,
    /// How often the turns are repeated with --with-floor
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
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
    /// Ask for PUBLISHED
    #[arg(long)]
    pub acknowledge: bool,
    #[command(flatten)]
    pub floor: WithFloor,
    #[command(flatten)]
    pub pace: Pace,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Debug, Args)]
pub struct Topics {
    #[arg(long, default_value_t = 1000)]
    pub topics: u32,
    /// Ask for PUBLISHED
    #[arg(long)]
    pub acknowledge: bool,
    #[command(flatten)]
    pub floor: WithFloor,
    #[command(flatten)]
    pub pace: Pace,
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
    /// The kinds to run, in this order; all of them if absent
    #[arg(long, value_delimiter = ',')]
    pub kinds: Vec<Kind>,
    /// Publications and calls per second of the victims, each
    #[arg(long, default_value_t = 200.0, value_parser = rate)]
    pub rate: f64,
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
pub struct FloorServer {
    #[arg(long)]
    pub port: u16,
    /// Collect all messages of one read or turn into one write per socket
    #[arg(long)]
    pub coalesce: bool,
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

/// Reads `500ms`, `5`, `5s`, `10m` or `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("expected a number with ms, s, m or h".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "expected a number".to_owned())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("expected a rate between 0.001 and 10000000 per second".to_owned()),
    }
}

fn payload_bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if (STAMP_BYTES..=MAX_PAYLOAD_BYTES).contains(&bytes) => Ok(bytes),
        _ => Err(format!("expected {STAMP_BYTES} to {MAX_PAYLOAD_BYTES}")),
    }
}

const MAX_PAYLOAD_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations() {
        assert_eq!(duration("5"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert!(duration("5d").is_err() && duration("s").is_err() && duration("-1s").is_err());
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
