//! The configuration: what the router listens on, which realms it serves, and every bound.
//!
//! Owns the types, their defaults and the reading of the TOML file; a `Config` that came out of
//! a [`Loader`] is within its ranges and consistent. It opens no socket and sets no option: the
//! event loop and the log do that with what stands here. Immutable: a reload makes another one.

mod admin;
mod admin_token;
mod bridge;
mod changes;
mod check;
mod cluster;
mod environment;
mod fault;
mod filter;
mod keys;
mod listener;
mod loader;
mod management;
mod metrics;
mod parse;
mod report;
mod role_fault;
mod roles;
mod schema;
mod sections;
mod show;
mod summary;
mod tls;
mod tokens;
mod users;
mod ways;
mod web;
mod webhook;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::limits::{Limits, OutputLimits, Timeouts};

pub use crate::address::Network;
pub use crate::authentication::{
    AuthenticatorSettings as Authenticator, Credential, EndpointSettings as Authorizer, Method,
    Principal, Secret, TokenSettings,
};
pub use crate::authorization::{
    Access, Action, Disclosure, OverRate, Permission, RoleSettings as Role,
};
pub use crate::router::{
    CallerDisclosure, GoodbyeReply, HistoryAnswer, HistorySettings as History, HistoryStore,
    PublisherDisclosure, RealmSettings as Realm, RequestIdCheck, UriGroup as Group, WebhookSecret,
    WebhookSettings as Webhook, place_of_webhook,
};
pub use crate::transport::ForwardedBy;
pub use crate::wamp::{Codec, MatchPolicy, UriRule};
pub use admin::{ADMIN_CONNECTIONS, Admin, AdminFault};
pub use admin_token::{
    AdminToken, BadToken, MIN_TOKEN_BYTES, TokenFileFault, is_token, read_token_file,
};
pub use bridge::{BridgeFault, HttpUse, PathKey};
pub use changes::{Change, Changes};
pub use cluster::{Alone, Cluster, ClusterFault, Visible};
pub use environment::Environment;
pub use fault::{ConfigError, Fault};
pub(crate) use listener::allowed_origins;
pub use listener::{BadAddress, ListenAddress, Listener, ListenerPath};
pub use loader::Loader;
pub use management::{Management, ManagementFault};
pub use metrics::{Metrics, MetricsFault};
pub use report::{Place, Problem, Report};
pub use role_fault::RoleFault;
pub use schema::schema;
pub use summary::{Summary, Warning};
pub use tls::{ClientCertificates, Tls};
pub use tokens::{TokensFault, read_keys};
pub use users::UsersFault;
pub use ways::{WayFault, is_loopback};
pub use web::WebFault;
pub use webhook::WebhookFault;

/// Everything an operator can set. The serde names are the file's keys.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Threads that serve connections, 1 to [`MAX_SHARDS`]; 0: one per available core. See
    /// [`Self::shard_count`].
    pub shards: usize,
    /// Whether the router runs without a file, on defaults meant for development.
    #[serde(skip)]
    pub development: bool,
    #[serde(rename = "listener")]
    pub listeners: Vec<Listener>,
    #[serde(rename = "realm")]
    pub realms: Vec<Realm>,
    pub limits: Limits,
    pub output: OutputLimits,
    pub timeouts: Timeouts,
    pub protocol: Protocol,
    pub storage: Storage,
    pub tuning: Tuning,
    pub log: Log,
    pub admin: Admin,
    pub metrics: Metrics,
    pub management: Management,
    pub cluster: Cluster,
    /// What it was adopted from had somebody who answers operators: whom a reload does not end.
    #[serde(skip)]
    pub was_observed: bool,
}

impl Config {
    /// Threads to start: `shards`, or for 0 as many as there are cores, at most [`MAX_SHARDS`].
    pub fn shard_count(&self) -> usize {
        match self.shards {
            0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MAX_SHARDS),
            shards => shards,
        }
    }

    /// Whether a listener on this address takes IPv4 clients: `[::]` does, like `0.0.0.0`, unless
    /// another listener has the port for IPv4.
    pub fn takes_ipv4(&self, address: &ListenAddress) -> bool {
        let ListenAddress::Tcp(address) = address else { return false };
        let is_taken = self.listeners.iter().any(|other| match &other.address {
            ListenAddress::Tcp(other) => {
                other.is_ipv4() && other.port() == address.port() && other.port() != 0
            }
            ListenAddress::Unix(_) => false,
        });
        address.is_ipv4() || address.ip().is_unspecified() && !is_taken
    }

    /// Which networks reach a listener on `[::]`, in words; `None` where the address says it.
    pub fn networks(&self, address: &ListenAddress) -> Option<&'static str> {
        match address {
            ListenAddress::Tcp(tcp) if tcp.is_ipv6() && tcp.ip().is_unspecified() => {
                Some(if self.takes_ipv4(address) { "IPv6 and IPv4" } else { "IPv6 only" })
            }
            _ => None,
        }
    }

    /// Whether somebody has a ticket whose comparison takes long.
    pub fn has_costly_logins(&self) -> bool {
        let ways = self.realms.iter().flat_map(|realm| &realm.authenticators);
        let mut principals = ways.flat_map(|way| &way.principals);
        principals.any(|principal| principal.credential.is_costly())
    }

    /// Serves these realms and no others. What is known of one of them stays; the others are new,
    /// and closed if there is a file that could say who may come in and what they may do.
    pub fn serve_realms(&mut self, names: &[String]) {
        let known = std::mem::take(&mut self.realms);
        let realm = |name: &String| {
            let found = known.iter().find(|realm| realm.name == *name).cloned();
            found.unwrap_or_else(|| {
                let open = Realm::named(name);
                match self.development {
                    true => open,
                    false => Realm {
                        authenticators: Vec::new(),
                        access: Access::Roles(Vec::new()),
                        ..open
                    },
                }
            })
        };
        self.realms = names.iter().map(realm).collect();
    }

    /// The file of the store, if something is to be stored.
    pub fn store(&self) -> Option<&PathBuf> {
        let is_durable = |history: &History| history.store == HistoryStore::Durable;
        let histories = self.realms.iter().flat_map(|realm| &realm.histories);
        let is_used = self.storage.retained || histories.into_iter().any(is_durable);
        self.storage.path.as_ref().filter(|_| is_used)
    }

    /// What is allowed but deserves a sentence at start.
    pub fn warnings(&self) -> Vec<Warning> {
        summary::warnings(self)
    }

    /// A few lines that say what a router with this configuration would run.
    pub fn summary(&self) -> Summary<'_> {
        Summary(self)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shards: 0,
            development: true,
            listeners: vec![Listener::default()],
            realms: vec![Realm::default()],
            limits: Limits::default(),
            output: OutputLimits::default(),
            timeouts: Timeouts::default(),
            protocol: Protocol::default(),
            storage: Storage::default(),
            tuning: Tuning::default(),
            log: Log::default(),
            admin: Admin::default(),
            metrics: Metrics::default(),
            management: Management::default(),
            cluster: Cluster::default(),
            was_observed: false,
        }
    }
}

/// How strictly clients are held to the protocol where the specification leaves room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Protocol {
    pub request_ids: RequestIdCheck,
    /// Refuse messages of roles that the client did not announce in HELLO.
    pub strict_roles: bool,
}

/// What survives a restart, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// The file of the store; `None`: nothing is durable.
    pub path: Option<PathBuf>,
    /// Whether retained events are durable.
    pub retained: bool,
}

/// What changes speed and memory, but no behaviour that a client could name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tuning {
    /// Bytes read from one socket in one turn of its shard. 4 KiB to 64 MiB.
    pub read_budget_bytes: usize,
    /// Bytes queued to one shard from which on its publishers are not read. 64 KiB to 1 TiB.
    pub shard_queue_bytes: usize,
    /// Connections that may wait to be accepted, per listener; the kernel may cap it.
    pub backlog: u32,
    /// Send small segments at once instead of waiting for more (TCP_NODELAY).
    pub tcp_nodelay: bool,
    /// Microseconds that output may wait for more to be written with it, up to 10,000; 0: it does
    /// not wait. A wait that saves few writes is not repeated soon.
    pub flush_delay_us: u64,
    /// The kernel's send buffer of each connection (SO_SNDBUF), in bytes; `None`: the system's.
    pub send_buffer_bytes: Option<usize>,
    /// The kernel's receive buffer of each connection (SO_RCVBUF), in bytes; `None`: the system's.
    pub recv_buffer_bytes: Option<usize>,
    /// Threads that compare tickets with their hashes, each in some 20 MiB. 1 to 64.
    pub login_threads: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            read_budget_bytes: 64 * 1024,
            shard_queue_bytes: 64 * 1024 * 1024,
            backlog: 1024,
            tcp_nodelay: true,
            flush_delay_us: 0,
            send_buffer_bytes: None,
            recv_buffer_bytes: None,
            login_threads: 2,
        }
    }
}

/// What the log holds and how it looks; it goes to standard error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`, or a filter as
    /// `info,stentor::net=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".into() }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people; coloured on a terminal unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// For people, never coloured.
    Human,
    /// One JSON object per line.
    Json,
}

/// The most shards of one router: a set of shards is one `u64`, in which the event history has a
/// bit, and the last is kept free.
pub const MAX_SHARDS: usize = 62;

/// A commented file with every key; it parses to the defaults.
pub const DEFAULT_FILE: &str = include_str!("default.toml");

#[cfg(test)]
mod tests;
