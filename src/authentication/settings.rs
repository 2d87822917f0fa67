//! How a realm lets clients in: the methods, and one way in as the configuration names it.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::credential::Principal;
use super::cryptosign::RouterKey;
use super::secret::Secret;
use super::token::TokenSettings;

/// A method of authentication, by its name in `HELLO.Details.authmethods`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Nothing is asked (AU-ANON).
    #[default]
    Anonymous,
    /// A signature under a key of the client's (AU-CSG).
    Cryptosign,
    /// The certificate that the client has shown in TLS (AU-TRN-01).
    Tls,
    /// A secret that is sent as it is (AU-TKT).
    Ticket,
    /// A proof of a password that neither side sends (AU-SCR).
    #[serde(rename = "wamp-scram")]
    Scram,
    /// A proof of a shared secret (AU-CRA).
    Wampcra,
}

impl Method {
    pub const ALL: [Self; 6] =
        [Self::Anonymous, Self::Cryptosign, Self::Ticket, Self::Tls, Self::Scram, Self::Wampcra];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Cryptosign => "cryptosign",
            Self::Ticket => "ticket",
            Self::Tls => "tls",
            Self::Scram => "wamp-scram",
            Self::Wampcra => "wampcra",
        }
    }

    /// The method of this name; `None` for those that Stentor does not have (AU-GEN-09).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }
}

/// One way into a realm. Those of a realm are tried in their order.
///
/// Its users are those of a file, those who bear a token of an issuer, or those that an endpoint
/// or a procedure says yes to: one of the four.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthenticatorSettings {
    pub method: Method,
    /// The entrances that it is for: names of listeners, which stand for RawSocket and `paths`
    /// there, or with a path behind them for one with rules of its own; empty: all.
    pub listeners: Vec<String>,
    /// The `authrole` of anonymous clients (default: `anonymous`), of users that name none, and of
    /// those for whom neither a token nor an answer says one.
    pub role: Option<String>,
    /// The `authid` of anonymous clients; `None`: a random one for each.
    pub authid: Option<String>,
    /// The file of the users; a relative path starts where the configuration file is.
    pub users: Option<PathBuf>,
    /// Whether the files of users and of the router's key may be ones that everybody on the machine
    /// can read.
    pub readable_by_others: bool,
    /// The file of the private key by which the router proves itself to clients of `cryptosign`
    /// that ask for it (AU-CSG-02); `None`: it does not.
    pub router_key: Option<PathBuf>,
    /// Whether it is for clients alone whose bytes nobody on the way can read: by TLS, to the
    /// router or to a listed proxy that says so, or by a Unix socket (AU-TKT-02).
    pub only_over_tls: bool,
    /// Whose tokens are tickets.
    pub jwt: Option<Box<TokenSettings>>,
    /// The endpoint that is asked.
    pub url: Option<String>,
    /// The procedure that is asked.
    pub procedure: Option<String>,
    /// The realm where it is registered; `None`: the one of this authenticator.
    pub procedure_realm: Option<String>,
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
    /// What `router_key` holds.
    #[serde(skip)]
    pub router_key_value: Option<RouterKey>,
    /// The digest of the file of authorities as it was read: with another one this is another way
    /// to ask.
    #[serde(skip)]
    pub ca_digest: Option<[u8; 32]>,
    /// What the environment variable holds.
    #[serde(skip)]
    pub authorization_value: Option<Secret>,
    /// Those of the file who have a credential for the method, each authid once.
    #[serde(skip)]
    pub principals: Vec<Arc<Principal>>,
}

impl Default for AuthenticatorSettings {
    fn default() -> Self {
        Self {
            method: Method::default(),
            listeners: Vec::new(),
            role: None,
            authid: None,
            users: None,
            readable_by_others: false,
            router_key: None,
            only_over_tls: false,
            jwt: None,
            url: None,
            procedure: None,
            procedure_realm: None,
            authorization: None,
            ca: None,
            ca_digest: None,
            plain_http: false,
            timeout_ms: 5_000,
            concurrency: 8,
            router_key_value: None,
            authorization_value: None,
            principals: Vec::new(),
        }
    }
}

impl AuthenticatorSettings {
    /// Everybody may join, as this role.
    pub fn anonymous(role: impl Into<String>) -> Self {
        Self { role: Some(role.into()), ..Self::default() }
    }

    /// These may join, by this method.
    pub fn of(method: Method, principals: Vec<Arc<Principal>>) -> Self {
        Self { method, principals, ..Self::default() }
    }

    /// Who bears a token of this issuer may join.
    pub fn of_tokens(settings: TokenSettings, role: Option<&str>) -> Self {
        let (method, role) = (Method::Ticket, role.map(Into::into));
        Self { method, role, jwt: Some(Box::new(settings)), ..Self::default() }
    }

    /// Those may join that this endpoint says yes to.
    pub fn asking(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: Some(url.into()), ..Self::default() }
    }

    /// Those may join that this procedure says yes to.
    pub fn calling(method: Method, procedure: impl Into<String>) -> Self {
        Self { method, procedure: Some(procedure.into()), ..Self::default() }
    }

    /// Whether somebody outside is asked about everybody whom no users file names.
    pub const fn asks(&self) -> bool {
        self.url.is_some() || self.procedure.is_some()
    }

    /// The role of anonymous clients.
    pub fn anonymous_role(&self) -> &str {
        self.role.as_deref().unwrap_or("anonymous")
    }
}
