//! Who is asked about clients and requests, as the configuration names them. Who asks an address is
//! `net`, and who asks a procedure is the shard of the client.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::check::{Check, Consultation, Referred};
use super::dynamic::Question;
use super::secret::Secret;
use super::settings::AuthenticatorSettings;

/// An address that is asked over HTTP, and how.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointSettings {
    /// An absolute `https` URL, or `http` where that is allowed.
    pub url: String,
    /// The environment variable of the request's `Authorization` header, as `${NAME}`.
    pub authorization: Option<String>,
    /// The authorities for `https`, in PEM; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Whether `url` may be plain `http` on another machine.
    pub plain_http: bool,
    /// How long an answer may take, in milliseconds: 10 to 600,000.
    pub timeout_ms: u64,
    /// Requests under way at the same time, each on a thread of its own: 1 to 64.
    pub concurrency: usize,
    /// The digest of the file of authorities as it was read: with another one this is another way
    /// to ask.
    #[serde(skip)]
    pub ca_digest: Option<[u8; 32]>,
    /// What the environment variable holds.
    #[serde(skip)]
    pub authorization_value: Option<Secret>,
}

impl Default for EndpointSettings {
    fn default() -> Self {
        Self::at("")
    }
}

impl EndpointSettings {
    /// This address, asked as by default.
    pub fn at(url: impl Into<String>) -> Self {
        let AuthenticatorSettings { timeout_ms, concurrency, .. } = Default::default();
        Self {
            url: url.into(),
            authorization: None,
            ca: None,
            ca_digest: None,
            plain_http: false,
            timeout_ms,
            concurrency,
            authorization_value: None,
        }
    }

    /// The one that an authenticator asks; `None` if it asks none.
    pub fn of(settings: &AuthenticatorSettings) -> Option<Self> {
        Some(Self {
            url: settings.url.clone()?,
            authorization: settings.authorization.clone(),
            ca: settings.ca.clone(),
            ca_digest: settings.ca_digest,
            plain_http: settings.plain_http,
            timeout_ms: settings.timeout_ms,
            concurrency: settings.concurrency,
            authorization_value: settings.authorization_value.clone(),
        })
    }
}

/// One endpoint of a realm.
pub struct Endpoint(EndpointSettings);

impl Endpoint {
    pub const fn new(settings: EndpointSettings) -> Self {
        Self(settings)
    }

    /// Whether it is asked so.
    pub fn is_as(&self, settings: &EndpointSettings) -> bool {
        self.0 == *settings
    }

    pub fn url(&self) -> &str {
        &self.0.url
    }

    pub fn ca(&self) -> Option<&Path> {
        self.0.ca.as_deref()
    }

    /// Milliseconds that an answer may take, from the moment on in which somebody wants it.
    pub const fn timeout_ms(&self) -> u64 {
        self.0.timeout_ms
    }

    /// Requests under way at the same time.
    pub const fn concurrency(&self) -> usize {
        self.0.concurrency
    }

    /// The value of the request's `Authorization` header, by which the endpoint knows the router.
    pub const fn authorization(&self) -> Option<&Secret> {
        self.0.authorization_value.as_ref()
    }
}

/// Where it is without what may be a secret behind the host.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}

/// A procedure that is asked about clients.
#[derive(Debug)]
pub struct Procedure {
    pub uri: Arc<str>,
    /// The realm where it is registered; `None`: the one of the authenticator.
    pub realm: Option<Box<str>>,
    /// Milliseconds that an answer may take.
    pub timeout_ms: u64,
}

/// Whom an authenticator asks.
#[derive(Clone, Debug)]
pub(super) struct Adviser {
    /// Of those for whom the answer says none.
    role: Option<Arc<str>>,
    whom: Whom,
}

#[derive(Clone, Debug)]
enum Whom {
    Endpoint(Arc<Endpoint>),
    Procedure(Arc<Procedure>),
}

impl Adviser {
    /// `None` if this authenticator asks nobody.
    pub(super) fn of(settings: &AuthenticatorSettings) -> Option<Self> {
        let endpoint = EndpointSettings::of(settings).map(Endpoint::new);
        let procedure = |uri: &String| Procedure {
            uri: uri.as_str().into(),
            realm: settings.procedure_realm.as_deref().map(Into::into),
            timeout_ms: settings.timeout_ms,
        };
        let whom = match endpoint {
            Some(endpoint) => Whom::Endpoint(Arc::new(endpoint)),
            None => Whom::Procedure(Arc::new(settings.procedure.as_ref().map(procedure)?)),
        };
        Some(Self { role: settings.role.as_deref().map(Into::into), whom })
    }

    pub(super) const fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        match &self.whom {
            Whom::Endpoint(endpoint) => Some(endpoint),
            Whom::Procedure(_) => None,
        }
    }

    pub(super) const fn role(&self) -> Option<&Arc<str>> {
        self.role.as_ref()
    }

    /// Takes a question to whoever is asked.
    pub(super) fn ask(self, question: Box<Question>) -> Check {
        match self.whom {
            Whom::Endpoint(endpoint) => Check::Referred(Referred { endpoint, question }),
            Whom::Procedure(procedure) => Check::Consultation(Consultation { procedure, question }),
        }
    }
}
