//! `Options` and `Details` as far as the router understands them, and what peers announce.
//!
//! A known key with a value of the wrong type never gets here: the codec refuses it (BP-TY-04).
//! Unknown keys are dropped (BP-MOD-06); a known key with a null value counts as absent.

use super::id::SessionId;

/// `SUBSCRIBE.Options.match` and `REGISTER.Options.match`.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Deserialize,
    serde::Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum MatchPolicy {
    #[default]
    Exact,
    Prefix,
    Wildcard,
}

impl MatchPolicy {
    /// Whether `pattern` matches `uri` under this policy (AP-PBS-01). For the few lookups that no
    /// table serves.
    pub fn matches(self, pattern: &str, uri: &str) -> bool {
        match self {
            Self::Exact => pattern == uri,
            Self::Prefix => uri.starts_with(pattern),
            Self::Wildcard => {
                let (mut open, mut given) = (pattern.split('.'), uri.split('.'));
                loop {
                    match (open.next(), given.next()) {
                        (None, None) => return true,
                        (Some(ours), Some(theirs)) if ours.is_empty() || ours == theirs => {}
                        _ => return false,
                    }
                }
            }
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Wildcard => "wildcard",
        }
    }
}

/// `REGISTER.Options.invoke` (AP-SHR-01).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InvokePolicy {
    #[default]
    Single,
    RoundRobin,
    Random,
    First,
    Last,
}

impl InvokePolicy {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::RoundRobin => "roundrobin",
            Self::Random => "random",
            Self::First => "first",
            Self::Last => "last",
        }
    }
}

/// `CANCEL.Options.mode` (AP-CAN-01).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CancelMode {
    Skip,
    Kill,
    #[default]
    KillNoWait,
}

/// The payload passthru keys, opaque to the router (AP-PPT-01, AP-PPT-05).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passthru {
    pub ppt_scheme: Option<String>,
    pub ppt_serializer: Option<String>,
    pub ppt_cipher: Option<String>,
    pub ppt_keyid: Option<String>,
    pub enc_algo: Option<String>,
    pub enc_serializer: Option<String>,
    pub enc_key: Option<String>,
}

impl Passthru {
    /// Whether payload passthru mode is in use: a scheme is named (AP-PPT-01).
    pub fn is_mode(&self) -> bool {
        self.ppt_scheme.as_ref().is_some_and(|scheme| !scheme.is_empty())
    }
}

/// The receiver lists of a PUBLISH. Presence decides: an empty `eligible` means nobody (AP-BWL-03).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiverFilter {
    pub exclude: Option<Vec<SessionId>>,
    pub exclude_authid: Option<Vec<String>>,
    pub exclude_authrole: Option<Vec<String>>,
    pub eligible: Option<Vec<SessionId>>,
    pub eligible_authid: Option<Vec<String>>,
    pub eligible_authrole: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishOptions {
    pub acknowledge: bool,
    /// Default true: the publisher gets no EVENT of its own (BP-PUB-03).
    pub exclude_me: bool,
    pub disclose_me: bool,
    pub retain: bool,
    /// Present if at least one of the six lists is.
    pub filter: Option<Box<ReceiverFilter>>,
    /// Present if at least one of its keys is.
    pub passthru: Option<Box<Passthru>>,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            acknowledge: false,
            exclude_me: true,
            disclose_me: false,
            retain: false,
            filter: None,
            passthru: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscribeOptions {
    pub match_policy: MatchPolicy,
    pub get_retained: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegisterOptions {
    pub match_policy: MatchPolicy,
    pub invoke: Choice<InvokePolicy>,
    pub disclose_caller: bool,
    pub forward_timeout: bool,
    /// The most invocations that may be pending at this callee; at least 1.
    pub concurrency: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallOptions {
    pub receive_progress: bool,
    pub progress: bool,
    pub disclose_me: bool,
    /// Milliseconds; 0 means none (AP-TMO-01).
    pub timeout_ms: u64,
    pub passthru: Option<Box<Passthru>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct YieldOptions {
    pub progress: bool,
    pub passthru: Option<Box<Passthru>>,
}

/// `ERROR.Details`: only what is forwarded (BP-CALL-02).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorDetails {
    pub passthru: Option<Box<Passthru>>,
}

/// An option whose unknown values are answered by ERROR, not by ABORT (BP-TY-04, AP-CAN-03).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice<T> {
    Known(T),
    Unknown,
}

impl<T: Default> Default for Choice<T> {
    fn default() -> Self {
        Self::Known(T::default())
    }
}

/// The four client roles (BP-MOD-04).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Callee,
    Caller,
    Publisher,
    Subscriber,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Callee, Self::Caller, Self::Publisher, Self::Subscriber];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Callee => "callee",
            Self::Caller => "caller",
            Self::Publisher => "publisher",
            Self::Subscriber => "subscriber",
        }
    }
}

/// The client features that change what the router sends (AP-GEN-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Feature {
    /// Also announced as `call_cancelling` (AP-CAN, requirements section 5, point 18).
    CallCanceling = 1,
    CallReroute = 1 << 1,
    CallTimeout = 1 << 2,
    PayloadPassthruMode = 1 << 3,
    ProgressiveCallInvocations = 1 << 4,
    ProgressiveCallResults = 1 << 5,
    RegistrationRevocation = 1 << 6,
    SubscriptionRevocation = 1 << 7,
}

/// The features that a client announced for one role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u16);

impl Features {
    pub const fn with(self, feature: Feature) -> Self {
        Self(self.0 | feature as u16)
    }

    pub const fn has(self, feature: Feature) -> bool {
        self.0 & feature as u16 != 0
    }

    /// One bit for each feature: the value that [`Feature`] gives it, in all versions.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Features of these bits; what this version does not know stays among them.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

/// The roles that a client announced, each with its features; `None` where it did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles([Option<Features>; 4]);

impl Roles {
    pub const fn announce(&mut self, role: Role, features: Features) {
        self.0[role as usize] = Some(features);
    }

    pub const fn get(&self, role: Role) -> Option<Features> {
        self.0[role as usize]
    }

    /// Whether `role` was announced with `feature`.
    pub const fn has(&self, role: Role, feature: Feature) -> bool {
        match self.0[role as usize] {
            Some(features) => features.has(feature),
            None => false,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}
