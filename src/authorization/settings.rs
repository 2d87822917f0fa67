//! Roles and their permissions as the configuration writes them.

use serde::{Deserialize, Serialize};

use crate::rate::Rate;
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
    /// The procedure that decides about what is in `allow`, or the address of an endpoint that
    /// does; `None`: it is allowed (AU-AZ-04).
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
    /// Frames that one of its sessions may send per second, pings included; 0: any number.
    pub messages_per_second: u32,
    /// Frames that it may send at once; 0: those of a second.
    pub messages_burst: u32,
    /// Bytes that one of its sessions may send per second, those of the frames included; 0: any
    /// number.
    pub bytes_per_second: u32,
    /// Bytes that it may send at once; 0: those of a second.
    pub bytes_burst: u32,
    /// What happens to a session that sends more.
    pub over_rate: OverRate,
    #[serde(rename = "permission")]
    pub permissions: Vec<Permission>,
}

/// What happens to a session that sends more than its role may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OverRate {
    /// It is read later, and TCP slows it down.
    #[default]
    Wait,
    /// It is ended.
    End,
}

/// How fast the sessions of a role may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    pub messages: Option<Rate>,
    pub bytes: Option<Rate>,
    pub over: OverRate,
}

impl Default for RoleSettings {
    fn default() -> Self {
        Self::new("anonymous", Vec::new())
    }
}

impl RoleSettings {
    /// A role with these permissions.
    pub fn new(name: impl Into<String>, permissions: Vec<Permission>) -> Self {
        Self {
            name: name.into(),
            trustlevel: None,
            messages_per_second: 0,
            messages_burst: 0,
            bytes_per_second: 0,
            bytes_burst: 0,
            over_rate: OverRate::Wait,
            permissions,
        }
    }

    /// How fast its sessions may send; `None`: as fast as they like.
    pub fn rates(&self) -> Option<Rates> {
        let rate =
            |per_second, burst| Rate::new(per_second, if burst > 0 { burst } else { per_second });
        let messages = rate(self.messages_per_second, self.messages_burst);
        let bytes = rate(self.bytes_per_second, self.bytes_burst);
        let over = self.over_rate;
        (messages.is_some() || bytes.is_some()).then_some(Rates { messages, bytes, over })
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
