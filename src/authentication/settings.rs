//! How a realm lets clients in: the methods, and one way in as the configuration names it.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::credential::Principal;

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
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthenticatorSettings {
    pub method: Method,
    /// The `authrole` of anonymous clients (default: `anonymous`), or of users that name none.
    pub role: Option<String>,
    /// The `authid` of anonymous clients; `None`: a random one for each.
    pub authid: Option<String>,
    /// The file of the users; a relative path starts where the configuration file is.
    pub users: Option<PathBuf>,
    /// Whether that file may be one that everybody on the machine can read.
    pub readable_by_others: bool,
    /// Whether it is for clients alone whose bytes nobody on the way can read: by TLS, to the
    /// router or to a listed proxy that says so, or by a Unix socket (AU-TKT-02).
    pub only_over_tls: bool,
    /// Those of the file who have a credential for the method, each authid once.
    #[serde(skip)]
    pub principals: Vec<Arc<Principal>>,
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

    /// The role of anonymous clients.
    pub fn anonymous_role(&self) -> &str {
        self.role.as_deref().unwrap_or("anonymous")
    }
}
