//! Roles and their permissions as the configuration writes them.

use serde::{Deserialize, Serialize};

use crate::wamp::MatchPolicy;

/// What a session may ask for and a rule decides about (AU-AZ-01).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Publish,
    Subscribe,
    Call,
    Register,
}

impl Action {
    pub const ALL: [Self; 4] = [Self::Publish, Self::Subscribe, Self::Call, Self::Register];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Call => "call",
            Self::Register => "register",
        }
    }

    /// The word that stands between it and a URI.
    pub const fn preposition(self) -> &'static str {
        match self {
            Self::Publish | Self::Subscribe => "to ",
            Self::Call | Self::Register => "",
        }
    }
}

/// Whom a rule makes known to the other side, whether the client asks for it or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Disclosure {
    /// The caller, to the callee.
    Caller,
    /// The publisher, to the subscribers.
    Publisher,
}

impl Disclosure {
    /// The action that it belongs to.
    pub const fn action(self) -> Action {
        match self {
            Self::Caller => Action::Call,
            Self::Publisher => Action::Publish,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Publisher => "publisher",
        }
    }
}

/// One rule of a role. It decides about the actions that it names; of the others it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Permission {
    pub uri: String,
    #[serde(rename = "match")]
    pub policy: MatchPolicy,
    pub allow: Vec<Action>,
    pub deny: Vec<Action>,
    /// The procedure that decides about what is in `allow`; `None`: it is allowed (AU-AZ-04).
    pub authorizer: Option<String>,
    pub disclose: Vec<Disclosure>,
    /// `trustlevel` of what is published and called by this rule; `None`: that of the role.
    pub trustlevel: Option<u64>,
    /// The line of the configuration file that it begins in, from 1.
    #[serde(skip)]
    pub line: Option<usize>,
}

impl Permission {
    /// Allows all actions with every URI that begins so; `""` is every URI.
    pub fn everything_below(prefix: impl Into<String>) -> Self {
        let (uri, policy) = (prefix.into(), MatchPolicy::Prefix);
        Self { uri, policy, allow: Action::ALL.into(), ..Self::default() }
    }

    /// Whether it decides about an action.
    pub fn names(&self, action: Action) -> bool {
        self.allow.contains(&action) || self.deny.contains(&action)
    }
}

/// A role of a realm: what its sessions may do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoleSettings {
    /// The `authrole` of its sessions.
    pub name: String,
    /// `trustlevel` of what its sessions publish and call; `None`: there is none (AP-PTL-01,
    /// AP-CTL-01).
    pub trustlevel: Option<u64>,
    #[serde(rename = "permission")]
    pub permissions: Vec<Permission>,
}

impl Default for RoleSettings {
    fn default() -> Self {
        Self::new("anonymous", Vec::new())
    }
}

impl RoleSettings {
    /// A role with these permissions.
    pub fn new(name: impl Into<String>, permissions: Vec<Permission>) -> Self {
        Self { name: name.into(), trustlevel: None, permissions }
    }
}

/// What the sessions of a realm may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "Vec<RoleSettings>", into = "Vec<RoleSettings>")]
pub enum Access {
    /// Everybody may do everything, but for what needs a role in `admin_roles`.
    #[default]
    Open,
    /// What the rules of their roles grant, and nothing else (AU-AZ-02).
    Roles(Vec<RoleSettings>),
}

impl Access {
    /// The roles that are listed; none if it is open.
    pub fn roles(&self) -> &[RoleSettings] {
        match self {
            Self::Open => &[],
            Self::Roles(roles) => roles,
        }
    }
}

impl From<Vec<RoleSettings>> for Access {
    fn from(roles: Vec<RoleSettings>) -> Self {
        Self::Roles(roles)
    }
}

impl From<Access> for Vec<RoleSettings> {
    fn from(access: Access) -> Self {
        match access {
            Access::Open => Self::new(),
            Access::Roles(roles) => roles,
        }
    }
}
