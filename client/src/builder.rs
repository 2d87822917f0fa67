//! What a client is made with.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use stentor_protocol::wamp::{Codec, Dict, Value};

use crate::auth::Credential;
use crate::client::Client;
use crate::core::Limits;
use crate::driver;
use crate::error::{Error, UsageError};
use crate::reconnect::Reconnect;
use crate::transport::TlsSettings;
use crate::url::Target;

/// Settings of a client. [`ClientBuilder::connect`] makes one.
///
/// URLs are `ws://host:port/path`, `wss://host/path`, RawSocket as `rs://host:port` and
/// `rss://host:port`, and Unix sockets as `unix:/path` (RawSocket) or `ws+unix:///path:/http/path`.
#[must_use = "nothing happens until it connects"]
#[derive(Clone)]
pub struct ClientBuilder {
    url: String,
    pub(crate) plan: Plan,
}

/// What each connection of a client is made with.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) realm: String,
    pub(crate) codec: Codec,
    pub(crate) credentials: Vec<Credential>,
    pub(crate) authid: Option<String>,
    /// More details of HELLO.
    pub(crate) details: Dict,
    pub(crate) tls: TlsSettings,
    pub(crate) limits: Limits,
    pub(crate) receives_bytes: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) reconnect: Option<Reconnect>,
}

impl ClientBuilder {
    pub(crate) fn new(url: String, realm: String) -> Self {
        let agent = concat!("stentor-client-", env!("CARGO_PKG_VERSION"));
        let plan = Plan {
            realm,
            codec: Codec::Cbor,
            credentials: Vec::new(),
            authid: None,
            details: vec![("agent".into(), agent.into())],
            tls: TlsSettings::default(),
            limits: Limits::default(),
            receives_bytes: 16 << 20,
            connect_timeout: Duration::from_secs(15),
            keep_alive: Some(Duration::from_secs(30)),
            reconnect: Some(Reconnect::default()),
        };
        Self { url, plan }
    }

    /// The serializer. Default: CBOR, which has everything that serde has, binary data included.
    pub const fn serializer(mut self, codec: Codec) -> Self {
        self.plan.codec = codec;
        self
    }

    /// As whom the client wants to join.
    pub fn authid(mut self, authid: impl Into<String>) -> Self {
        self.plan.authid = Some(authid.into());
        self
    }

    /// In which role the client wants to join, where routers let it choose.
    pub fn authrole(self, authrole: impl Into<String>) -> Self {
        self.detail("authrole", authrole.into())
    }

    /// By what the client proves who it is. Given several times, the router chooses one method, in
    /// this order of preference. Default: anonymous.
    pub fn credential(mut self, credential: Credential) -> Self {
        self.plan.credentials.push(credential);
        self
    }

    /// Any member of `HELLO.Details`.
    pub fn detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        crate::call::set(&mut self.plan.details, key, value.into());
        self
    }

    /// A file of certificates in PEM: the authorities to believe, instead of the system's. It is
    /// read for each connection.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.plan.tls.ca_file = Some(path.into());
        self
    }

    /// The certificate that the client shows, and its private key, in PEM. They are read for each
    /// connection.
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.plan.tls.certificate = Some((certificate.into(), key.into()));
        self
    }

    /// Settings of TLS made by the application, instead of [`Self::ca_file`] and
    /// [`Self::client_certificate`].
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Self {
        self.plan.tls.config = Some(config);
        self
    }

    /// The longest message that is taken, in bytes; a longer one ends the connection. Default and
    /// at most for RawSocket: 16 MiB.
    pub const fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.plan.receives_bytes = bytes;
        self
    }

    /// Bounds of a session.
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.plan.limits = limits;
        self
    }

    /// How long it may take until there is a session, all handshakes and the login included.
    /// Default: 15 s.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.plan.connect_timeout = timeout;
        self
    }

    /// How long a router may be silent before it is asked for a sign of life; silent twice as long,
    /// the connection counts as lost. Default: 30 s. `None`: it is never asked.
    pub const fn keep_alive(mut self, interval: Option<Duration>) -> Self {
        self.plan.keep_alive = interval;
        self
    }

    /// How a lost connection is made again. Default: [`Reconnect::default`]. The first connection
    /// is tried once.
    pub const fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.plan.reconnect = Some(reconnect);
        self
    }

    /// The client ends with its connection.
    pub const fn no_reconnect(mut self) -> Self {
        self.plan.reconnect = None;
        self
    }

    /// Connects and joins the realm. The client's own task runs on the current tokio runtime.
    ///
    /// Cancel safe: dropped, there is no connection.
    ///
    /// # Errors
    /// The URL or a setting is no good, the router cannot be reached, or does not let the client
    /// in.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without timers and IO.
    pub async fn connect(mut self) -> Result<Client, Error> {
        let target = Target::parse(&self.url)?;
        if self.plan.credentials.is_empty() {
            self.plan.credentials.push(Credential::anonymous());
        }
        if self.plan.receives_bytes < LEAST_BYTES {
            return Err(UsageError::Setting("`max_message_bytes` must be 512 or more").into());
        }
        if self.plan.keep_alive.is_some_and(|interval| interval.is_zero()) {
            return Err(UsageError::Setting("`keep_alive` must be longer than nothing").into());
        }
        driver::start(target, self.plan).await
    }
}

/// Without what HELLO says, as applications put there what they like.
impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ClientBuilder");
        shown.field("realm", &self.plan.realm).finish_non_exhaustive()
    }
}

/// The least that a RawSocket peer can announce.
const LEAST_BYTES: usize = 512;
