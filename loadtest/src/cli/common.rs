//! The options that all scenarios share: where the clients go, as whom, what they send, and where
//! the results go.

use std::fs::OpenOptions;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::{duration, payload_bytes, rate, threads};
use crate::engine::Access;
use crate::error::{Error, Result};
use crate::login::{self, Login, Method, Secret};
use crate::measure::SECOND_NS;
use crate::report::threshold::Threshold;
use crate::tls::Trust;
use crate::url::{Address, Target};
use crate::wire::Serializer;
use crate::wire::stamp::{Filling, Payload};

#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Where the router listens: ws://host:port/path, rs://host:port, ws+unix:///socket[:/path],
    /// rs+unix:///socket; with TLS wss:// and rss://; for fanout and topics also nats://,
    /// nats+tls://, redis://, bun+ws:// and bun+wss://host:port
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    pub url: Target,
    /// Where subscribers and callees connect instead: another node of the same cluster; repeatable,
    /// they go there in turn. Publishers and callers stay at --url
    #[arg(long, value_name = "URL")]
    pub receiver_url: Vec<Target>,
    /// Connect from these addresses of this machine in turn, separated by commas; each has ports
    /// for some 28,000 connections to one router, and a router may limit connections by address
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub source: Vec<IpAddr>,
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
    /// How many threads generate the load; the clients are shared out to them
    #[arg(long, default_value = "1", value_parser = threads)]
    pub threads: NonZeroUsize,
    /// Keep the generator on this core; its threads in turn on several, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub generator_core: Vec<usize>,
    /// Let the generator never sleep, so that the router's CPU time and the latencies hold no
    /// waking it up: a client on another machine costs its router nothing of the kind. Give it a
    /// core of its own
    #[arg(long)]
    pub spin: bool,
    /// Fail the run if this holds: a metric, one of > >= < <=, and a value with its unit, like
    /// p99>5ms, call.p99>=1s, lost>0, rate<50000, fairness<0.9, cpu>2us or memory>64MiB;
    /// repeatable. The exit code is 6 then
    #[arg(long, value_name = "CONDITION")]
    pub fail_if: Vec<Threshold>,
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
        self.check_targets()?;
        let (target, receivers) = (self.url.clone(), self.receiver_url.clone());
        let (sources, realm) = (self.source.clone(), self.realm.clone());
        let deflate = self.deflate;
        Ok(Access { target, receivers, sources, realm, trust, login, deflate, progressive: false })
    }

    /// Receivers speak what senders do, and each is reached from where it connects.
    fn check_targets(&self) -> Result<()> {
        for other in &self.receiver_url {
            if (other.transport, other.tls) != (self.url.transport, self.url.tls) {
                let text = format!(
                    "--receiver-url {other} and --url {}: nodes are compared over one transport, \
                     so both must begin alike",
                    self.url
                );
                return Err(Error::Usage(text));
            }
        }
        for source in &self.source {
            for target in std::iter::once(&self.url).chain(&self.receiver_url) {
                let fits = match target.address {
                    Address::Tcp(to) => to.is_ipv4() == source.is_ipv4(),
                    Address::Unix(_) => false,
                };
                if !fits {
                    let text = format!("--source {source} is no address to reach {target} from");
                    return Err(Error::Usage(text));
                }
            }
        }
        Ok(())
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
    /// Write the latencies of each interval to this file, as a log of HdrHistogram (version 2)
    #[arg(long, value_name = "FILE")]
    pub hdr: Option<PathBuf>,
    /// Write the course of all runs to this file, one line of CSV per second
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// No progress display
    #[arg(long)]
    pub quiet: bool,
}

impl Output {
    /// Makes sure, before a run that may take hours, that its results can be written.
    pub fn check(&self) -> Result<()> {
        for path in [&self.html, &self.hdr, &self.csv].into_iter().flatten() {
            let open = OpenOptions::new().create(true).append(true).open(path);
            open.map_err(|error| {
                Error::Usage(format!("{} cannot be written: {error}", path.display()))
            })?;
        }
        Ok(())
    }

    /// How long an interval of the series is, in a measured part of `duration_ns`.
    pub fn interval_ns(&self, duration_ns: u64) -> u64 {
        if self.csv.is_some() || self.hdr.is_some() {
            return SECOND_NS;
        }
        (duration_ns / MAX_SAMPLES).max(SECOND_NS.min(duration_ns / 10)).max(1)
    }
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

/// Of a series, where nobody asks for one per second.
const MAX_SAMPLES: u64 = 600;
