//! The command line: commands, and flags that win over the file.
//!
//! Owns names and help texts. A flag's value passes the same checks as the file's.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use serde::de::DeserializeOwned;
use serde::de::value::{Error, StrDeserializer};
use stentor::authorization::Action;
use stentor::config::{
    Config, ConfigError, Environment, ListenAddress, Listener, Loader, LogFormat, Method,
    RequestIdCheck,
};
use stentor::limits::SlowConsumerPolicy;
use stentor::wamp::MatchPolicy;

use crate::command::busiest::{BusyFlags, TopicsFlags};
use crate::command::changing::{DrainFlags, KickFlags, LevelFlags, ReloadFlags};
use crate::command::explain::{Question, Whose};
use crate::command::explain_live::LiveQuestion;
use crate::command::health::HealthFlags;
use crate::command::import::ImportFlags;
use crate::command::nodes::NodesFlags;
use crate::command::operator::AdminFlags;
use crate::command::sessions::SessionsFlags;
use crate::command::standing::{RolesFlags, ShardsFlags};
use crate::command::top::TopFlags;
use crate::command::trace::TraceFlags;
use crate::shell::ShellCommand;

/// A WAMP v2 router: publish and subscribe, and remote procedure calls, between any clients.
///
/// Without a command it runs; without a file it listens on this machine only, port 8080, and
/// serves the realm `realm1` to everybody.
#[derive(Debug, Parser)]
#[command(name = "stentor", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunFlags,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the router (the default)
    Run(RunFlags),
    /// Say what a configuration file would run, or what is wrong with it
    ///
    /// The exit code is 1 if something is wrong.
    Check {
        /// The configuration file
        file: PathBuf,
        /// Also try all that a node of [cluster] does at NATS, as its start would: the login, the
        /// permissions, the bucket, which is made if there is none
        #[arg(long)]
        connect: bool,
    },
    /// Make certificates for TLS
    Cert {
        #[command(subcommand)]
        command: CertCommand,
    },
    /// Make an entry of a users file from a password
    ///
    /// The secret is asked for on a terminal, or else read from standard input. The entry goes to
    /// standard output.
    Passwd(PasswdFlags),
    /// Make a key pair or a random ticket, and its entry of a users file, or a key of the router
    ///
    /// The entry goes to standard output, the private key, the ticket or the token, which the
    /// router does not keep, to standard error. The router's own private key goes to standard
    /// output, for a file, and its public key, which clients may know, to standard error.
    Keygen(KeygenFlags),
    /// Say which permission decides whether a role may do something
    ///
    /// The exit code is 0 if it may, 1 if it may not, and 2 if there is no answer; with --live also
    /// 3 if the router cannot be reached, and 5 if it refuses the token.
    Explain(ExplainFlags),
    /// Say whether clients should come to a router, for containers and scripts
    ///
    /// The exit code is 0 if they should; 1 if not, as while it stops, and standard error says why;
    /// 3 if nobody has answered within five seconds; and 2 if nobody could be asked.
    Health(HealthFlags),
    /// Show the sessions of a running router, those that are open or have ended
    Sessions(SessionsFlags),
    /// Show the busiest topics of a running router
    Topics(TopicsFlags),
    /// Show the procedures of a running router that are called most
    Procedures(BusyFlags),
    /// Show what the roles of a running router may do, rule by rule
    Roles(RolesFlags),
    /// Show the event loops of a running router: which is full, and what waits at it
    Shards(ShardsFlags),
    /// Show the nodes of a cluster as one of them sees them, and what is wrong
    ///
    /// The exit code is 1 if the router is no node of a cluster.
    Nodes(NodesFlags),
    /// Watch a running router in the terminal: rates, sessions, slow clients, topics, procedures
    Top(TopFlags),
    /// Have a running router read its configuration again, and show what that changes
    ///
    /// The exit code is 1, and nothing has changed, if the configuration cannot be used.
    Reload(ReloadFlags),
    /// End sessions of a running router
    Kick(KickFlags),
    /// Have a running router send its sessions away one after the other, and stop, as SIGTERM does
    Drain(DrainFlags),
    /// Have a running router log more or less, until it reads its configuration
    LogLevel(LevelFlags),
    /// Show what the last reload of a running router has changed
    Changes(ReloadFlags),
    /// Show messages of a running router while they pass, and what is decided about them
    ///
    /// It needs the token. All of --session, --authid, --uri and --address that are said must hold
    /// of a message. It ends by itself, and says then how many messages were shown and left out.
    Trace(TraceFlags),
    #[command(flatten)]
    Shell(ShellCommand),
    /// Work with configuration files
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

/// Whose password, and for which method.
#[derive(Args, Debug)]
pub(crate) struct PasswdFlags {
    /// Who logs in with it
    pub(crate) authid: String,
    /// The role of the session [default: that of the authenticator]
    #[arg(long)]
    pub(crate) role: Option<String>,
    /// The method of authentication
    #[arg(long, value_name = "METHOD", default_value = "ticket")]
    #[arg(value_parser = one_of::<Method>(&PASSWORD_METHODS))]
    pub(crate) method: Method,
    /// The key derivation of wamp-scram
    #[arg(long, value_name = "KDF", default_value = "argon2id13")]
    #[arg(value_parser = ["argon2id13", "pbkdf2"])]
    pub(crate) kdf: String,
    /// Iterations of PBKDF2 [default: wampcra 10000, wamp-scram 210000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) iterations: Option<u32>,
    /// Take the secret from this environment variable
    #[arg(long, value_name = "NAME")]
    pub(crate) secret_env: Option<String>,
}

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum KeyKind {
    /// A key pair of a user
    Cryptosign,
    /// A random ticket of a user
    Ticket,
    /// A random token for changes on the admin listener
    Token,
    /// A secret with which a webhook signs its requests
    Webhook,
    /// The key by which the router proves itself to clients of cryptosign: the file of `router_key`
    Router,
}

/// Whose key or ticket.
#[derive(Args, Debug)]
pub(crate) struct KeygenFlags {
    /// What to make
    #[arg(value_enum)]
    pub(crate) kind: KeyKind,
    /// Who logs in with it
    #[arg(required_if_eq_any([("kind", "cryptosign"), ("kind", "ticket")]))]
    pub(crate) authid: Option<String>,
    /// The role of the session [default: that of the authenticator]
    #[arg(long)]
    pub(crate) role: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Say how a users file can name the certificates in a PEM file, for logins by `tls`
    Fingerprint {
        /// The file with the certificates
        file: PathBuf,
    },
    /// Make an authority and a certificate for localhost, to develop with, and say how to use them
    Dev {
        /// Where to put ca.pem, cert.pem and key.pem
        #[arg(long, value_name = "DIRECTORY", default_value = ".")]
        dir: PathBuf,
        /// A further name or address that the certificate is for; repeatable
        #[arg(long, value_name = "NAME")]
        name: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print a commented configuration file with every key at its default
    Default,
    /// Print a JSON Schema of configuration files, for editors
    Schema,
    /// Make the configuration of a crossbar node into one of this router
    ///
    /// Notes on what means something else here, or is missing, go to standard error, each with its
    /// place in crossbar's file. The exit code is 0 if all is carried over, 1 if something is
    /// missing, and nothing is written then without --partial, and 2 if there is no configuration.
    ImportCrossbar(ImportFlags),
    /// Print what `run` would run, each key with the flag, variable or line that sets it
    Show(Box<ShowFlags>),
}

/// Which configuration is shown, and how much of it.
#[derive(Args, Debug)]
pub(crate) struct ShowFlags {
    /// The file, as --config
    #[arg(conflicts_with = "config")]
    file: Option<PathBuf>,
    /// Print all keys, those at their defaults as well
    #[arg(long)]
    effective: bool,
    #[command(flatten)]
    run: RunFlags,
}

impl ShowFlags {
    /// # Errors
    /// As [`RunFlags::load`].
    pub(crate) fn show(mut self) -> Result<String, ConfigError> {
        self.run.config = self.run.config.or(self.file);
        self.run.loader()?.show(self.effective)
    }
}

/// A request that a session of some role might make.
#[derive(Args, Debug)]
pub(crate) struct ExplainFlags {
    /// publish, subscribe, call or register
    #[arg(value_parser = one_of::<Action>(&ACTIONS))]
    action: Action,
    /// The topic or procedure, or the pattern of them
    uri: String,
    /// The authrole of the session
    #[arg(long, value_name = "NAME", required_unless_present_any = ["authid", "live"])]
    role: Option<String>,
    /// The authid of the session, instead of its role: that of a user of a users file
    #[arg(long = "as", value_name = "AUTHID", conflicts_with_all = ["role", "live"])]
    authid: Option<String>,
    /// The realm [default: the only one]
    #[arg(long, value_name = "NAME")]
    realm: Option<String>,
    /// How the URI is matched, for subscribe and register [default: exact]
    #[arg(long = "match", value_name = "POLICY")]
    #[arg(value_parser = one_of::<MatchPolicy>(&MATCH_POLICIES))]
    policy: Option<MatchPolicy>,
    /// The file whose permissions are meant [default: no file, everybody may do everything]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) live: LiveFlags,
}

/// What of a running router is asked.
#[derive(Args, Debug)]
pub(crate) struct LiveFlags {
    /// Ask a running router: who would get the publication, which callee the call
    #[arg(long, conflicts_with = "config")]
    pub(crate) live: bool,
    /// The session that asks, with its role
    #[arg(long, value_name = "ID", requires = "live", conflicts_with = "role")]
    session: Option<u64>,
    /// So many receivers or callees by name
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=256))]
    limit: u32,
    /// Print what the router says, as JSON
    #[arg(long, requires = "live")]
    json: bool,
    #[command(flatten)]
    at: AdminFlags,
}

impl ExplainFlags {
    pub(crate) fn live_question(&self) -> LiveQuestion<'_> {
        LiveQuestion {
            action: self.action.as_str(),
            uri: &self.uri,
            policy: self.policy.map(MatchPolicy::as_str),
            realm: self.realm.as_deref(),
            role: self.role.as_deref(),
            session: self.live.session,
            limit: self.live.limit,
            is_json: self.live.json,
            at: &self.live.at,
        }
    }

    pub(crate) fn question(&self) -> Question<'_> {
        Question {
            action: self.action,
            uri: &self.uri,
            policy: self.policy.unwrap_or_default(),
            whose: match (&self.role, &self.authid) {
                (None, Some(authid)) => Whose::Authid(authid),
                (role, _) => Whose::Role(role.as_deref().unwrap_or_default()),
            },
            realm: self.realm.as_deref(),
        }
    }
}

/// What `run` can be told without a file, besides variables as STENTOR_LIMITS__NESTING. Defaults
/// are those of `stentor config default`.
#[derive(Args, Debug, Default)]
pub(crate) struct RunFlags {
    /// Read this TOML file; the flags below win over it [default: no file]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[arg(long, value_name = "ADDRESS", help = LISTEN_HELP)]
    listen: Vec<ListenAddress>,
    /// Serve only this realm of the file; without a file, any name; repeatable [default: realm1]
    #[arg(long, value_name = "NAME")]
    realm: Vec<String>,
    /// Threads that serve connections, 1 to 62; 0: one per available core [default: 0]
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// Be a node of the cluster of this name: all its nodes are one router [default: none]
    #[arg(long, value_name = "NAME", help_heading = "Cluster")]
    cluster: Option<String>,
    /// A NATS server of the cluster, as nats://host:4222; repeatable
    #[arg(long, value_name = "URL", help_heading = "Cluster")]
    nats: Vec<String>,
    /// The name of this node, another one for each [default: the host's name]
    #[arg(long, value_name = "NAME", help_heading = "Cluster")]
    node: Option<String>,
    /// Most bytes of one incoming message [default: 1048576]
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    max_message_bytes: Option<usize>,
    /// Most open connections [default: 65536]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    max_connections: Option<usize>,
    /// Most bytes that may wait for one client [default: 8388608]
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    output_hard_bytes: Option<usize>,
    /// Most bytes that may wait for one client for long [default: 1048576]
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    output_soft_bytes: Option<usize>,
    /// Most bytes that may wait for all clients together [default: 1073741824]
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    output_total_bytes: Option<usize>,
    /// What happens to events that do not fit [default: disconnect]
    #[arg(long, value_name = "POLICY", help_heading = "Limits")]
    #[arg(value_parser = one_of::<SlowConsumerPolicy>(&POLICIES))]
    slow_consumer: Option<SlowConsumerPolicy>,
    /// Milliseconds of silence before a ping; 0: no pings [default: 20000]
    #[arg(long, value_name = "MS", help_heading = "Limits")]
    ping_interval_ms: Option<u64>,
    /// What clients' request ids must be: 1, 2, 3 ..., rising, or anything [default: monotonic]
    #[arg(long, value_name = "CHECK", help_heading = "Protocol")]
    #[arg(value_parser = one_of::<RequestIdCheck>(&REQUEST_ID_CHECKS))]
    request_ids: Option<RequestIdCheck>,
    /// Most bytes read from one socket in a turn [default: 65536]
    #[arg(long, value_name = "BYTES", help_heading = "Tuning")]
    read_budget: Option<usize>,
    /// Bytes queued to one shard before those who feed it must wait [default: 67108864]
    #[arg(long, value_name = "BYTES", help_heading = "Tuning")]
    shard_queue_bytes: Option<usize>,
    /// Connections that may wait to be accepted [default: 1024]
    #[arg(long, value_name = "N", help_heading = "Tuning")]
    backlog: Option<u32>,
    /// Bytes of the kernel's send buffer of each connection [default: the system's]
    #[arg(long, value_name = "BYTES", help_heading = "Tuning")]
    send_buffer: Option<usize>,
    /// Bytes of the kernel's receive buffer of each connection [default: the system's]
    #[arg(long, value_name = "BYTES", help_heading = "Tuning")]
    recv_buffer: Option<usize>,
    /// Microseconds that output may wait for more to be written with it; 0: none [default: 0]
    #[arg(long, value_name = "US", help_heading = "Tuning")]
    flush_delay_us: Option<u64>,
    /// The log's lines: for people, coloured on a terminal; never coloured; or JSON
    /// [default: auto]
    #[arg(long, value_name = "FORMAT", help_heading = "Log")]
    #[arg(value_parser = one_of::<LogFormat>(&LOG_FORMATS))]
    log_format: Option<LogFormat>,
    /// The least level that is logged, or a filter as info,stentor::net=debug [default: info]
    #[arg(long, value_name = "LEVEL", help_heading = "Log")]
    log_level: Option<String>,
}

impl RunFlags {
    /// The file, or else the defaults, with the environment over it, and the flags over both.
    ///
    /// # Errors
    /// [`ConfigError`] if the file cannot be read, or file or flags are wrong.
    pub(crate) fn load(&self) -> Result<Config, ConfigError> {
        self.loader()?.finish()
    }

    fn loader(&self) -> Result<Loader, ConfigError> {
        let environment = Environment::of_process();
        let mut loader = Loader::in_environment(self.config.as_deref(), &environment)?;
        self.apply(&mut loader);
        Ok(loader)
    }

    /// The realms of `--realm`: as the file has them, or else, where there is a file, closed.
    fn apply(&self, to: &mut Loader) {
        if !self.listen.is_empty() {
            let listeners = self.listen.iter().cloned().map(Listener::on).collect();
            to.set("listener", "--listen", |c| c.listeners = listeners);
        }
        if !self.realm.is_empty() {
            to.set("realm", "--realm", |config| config.serve_realms(&self.realm));
        }
        if !self.nats.is_empty() {
            to.set("cluster.nats", "--nats", |config| config.cluster.nats = self.nats.clone());
        }
        // The path of the field is also its key in the file.
        macro_rules! set {
            ($($flag:ident $name:literal => $section:ident$(.$field:ident)*;)*) => {$(
                if let Some(value) = self.$flag.clone() {
                    let key = concat!(stringify!($section) $(, ".", stringify!($field))*);
                    // What has no default of its own is optional there, and becomes `Some`.
                    to.set(key, $name, |config| config.$section$(.$field)* = value.into());
                }
            )*};
        }
        set! {
            shards "--shards" => shards;
            cluster "--cluster" => cluster.name;
            node "--node" => cluster.node;
            max_message_bytes "--max-message-bytes" => limits.message_bytes;
            max_connections "--max-connections" => limits.connections;
            output_hard_bytes "--output-hard-bytes" => output.hard_bytes;
            output_soft_bytes "--output-soft-bytes" => output.soft_bytes;
            output_total_bytes "--output-total-bytes" => output.total_bytes;
            slow_consumer "--slow-consumer" => output.policy;
            ping_interval_ms "--ping-interval-ms" => timeouts.ping_interval_ms;
            request_ids "--request-ids" => protocol.request_ids;
            read_budget "--read-budget" => tuning.read_budget_bytes;
            shard_queue_bytes "--shard-queue-bytes" => tuning.shard_queue_bytes;
            backlog "--backlog" => tuning.backlog;
            flush_delay_us "--flush-delay-us" => tuning.flush_delay_us;
            send_buffer "--send-buffer" => tuning.send_buffer_bytes;
            recv_buffer "--recv-buffer" => tuning.recv_buffer_bytes;
            log_format "--log-format" => log.format;
            log_level "--log-level" => log.level;
        }
    }
}

/// Takes the names that the file takes for a `T`.
pub(crate) fn one_of<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names)
        .try_map(|name| T::deserialize(StrDeserializer::<Error>::new(&name)))
}

/// Not a comment above its flag, where `[::1]` would be a link.
const LISTEN_HELP: &str = "Listen here, instead of on the file's listeners: 127.0.0.1:8080, \
     [::1]:8080, [::]:8080 (every network) or unix:/run/stentor.sock; repeatable [default: \
     127.0.0.1:8080]";

const PASSWORD_METHODS: [&str; 3] = ["ticket", "wampcra", "wamp-scram"];
const POLICIES: [&str; 3] = ["disconnect", "drop_newest", "drop_oldest"];
const REQUEST_ID_CHECKS: [&str; 3] = ["strict", "monotonic", "off"];
const ACTIONS: [&str; 4] = ["publish", "subscribe", "call", "register"];
pub(crate) const MATCH_POLICIES: [&str; 3] = ["exact", "prefix", "wildcard"];
const LOG_FORMATS: [&str; 3] = ["auto", "human", "json"];

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use stentor::config::{Access, Realm};

    use super::*;

    fn load(arguments: &[&str]) -> Result<Config, ConfigError> {
        let all = ["stentor"].iter().chain(arguments);
        Cli::try_parse_from(all).unwrap().run.load()
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_defaults_in_the_help_are_the_defaults() {
        let command = Cli::command();
        let mut arguments = Vec::new();
        let takes_value = |flag: &&clap::Arg| flag.get_action().takes_values();
        // What has no value by default: no file is read, and the router is no node.
        let has_default = |flag: &&clap::Arg| {
            flag.get_id() != "config" && flag.get_help_heading() != Some("Cluster")
        };
        for flag in command.get_arguments().filter(takes_value).filter(has_default) {
            let Some(long) = flag.get_long() else {
                continue;
            };
            let help = flag.get_help().unwrap().to_string();
            let (_, default) = help.split_once("[default: ").unwrap();
            if default != "the system's]" {
                arguments.push(format!("--{long}={}", default.trim_end_matches(']')));
            }
        }
        assert!(arguments.len() > 10, "{arguments:?}");
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        assert_eq!(load(&arguments).unwrap(), Config::default());
    }

    #[test]
    fn bare_flags_and_run_are_the_same() {
        let bare = Cli::try_parse_from(["stentor", "--shards", "3"]).unwrap();
        let run = Cli::try_parse_from(["stentor", "run", "--shards", "3"]).unwrap();
        let Some(Command::Run(flags)) = run.command else { panic!("{run:?}") };
        assert_eq!(flags.load().unwrap(), bare.run.load().unwrap());
        assert_eq!(bare.run.load().unwrap().shards, 3);
        assert!(Cli::try_parse_from(["stentor", "--shards", "3", "check", "x"]).is_err());
    }

    #[test]
    fn each_flag_sets_its_own_value() {
        let config = load(&[
            "--max-message-bytes=600",
            "--max-connections=7",
            "--output-hard-bytes=20000",
            "--output-soft-bytes=10000",
            "--output-total-bytes=30000",
            "--slow-consumer=drop_oldest",
            "--ping-interval-ms=0",
            "--request-ids=off",
            "--read-budget=4096",
            "--shard-queue-bytes=100000",
            "--backlog=9",
            "--send-buffer=4096",
            "--recv-buffer=8192",
            "--flush-delay-us=200",
            "--log-format=json",
            "--log-level=warn",
        ])
        .unwrap();
        let mut expected = Config::default();
        expected.limits.message_bytes = 600;
        expected.limits.connections = 7;
        expected.output.hard_bytes = 20_000;
        expected.output.soft_bytes = 10_000;
        expected.output.total_bytes = 30_000;
        expected.output.policy = SlowConsumerPolicy::DropOldest;
        expected.timeouts.ping_interval_ms = 0;
        expected.protocol.request_ids = RequestIdCheck::Off;
        expected.tuning.read_budget_bytes = 4096;
        expected.tuning.shard_queue_bytes = 100_000;
        expected.tuning.backlog = 9;
        expected.tuning.send_buffer_bytes = Some(4096);
        expected.tuning.recv_buffer_bytes = Some(8192);
        expected.tuning.flush_delay_us = 200;
        expected.log.format = LogFormat::Json;
        expected.log.level = "warn".into();
        assert_eq!(config, expected);
    }

    #[test]
    fn flags_win_over_the_file_and_replace_its_lists() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("stentor.toml");
        let text = "shards = 2\n[[listener]]\nlisten = \"127.0.0.1:1\"\nwebsocket = false\n\
            [[realm]]\nname = \"a\"\n[limits]\nnesting = 9\n";
        std::fs::write(&file, text).unwrap();
        let file = format!("--config={}", file.display());
        let config =
            load(&[&file, "--shards=5", "--listen=[::1]:9", "--listen=unix:/tmp/x", "--realm=b"])
                .unwrap();
        assert_eq!(config.shards, 5);
        assert_eq!(config.limits.nesting, 9);
        let access = Access::Roles(Vec::new());
        let mut closed = Realm { access, ..Realm::named("b") };
        closed.authenticators.clear();
        assert_eq!(config.realms, [closed], "the file does not say who may join, nor what");
        let listeners = ["[::1]:9", "unix:/tmp/x"].map(|text| Listener::on(text.parse().unwrap()));
        assert_eq!(config.listeners, listeners);
        assert!(!config.development);
    }
}
