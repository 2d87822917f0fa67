//! What can be wrong with a configuration: each fault's sentence and what to do about it.
//!
//! Knows no file and no line; `report.rs` adds where it stands.

use std::io;
use std::path::PathBuf;

use super::keys::nearest;
use super::listener::ListenAddress;
use super::report::Report;
use crate::codec::Codec;
use crate::wamp::UriRule;

/// Why there is no configuration to run.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("error: cannot read the configuration file `{}`: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Invalid(#[from] Report),
}

/// One thing that is wrong. A key is written as in the file: `limits.nesting`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("this is not TOML: {0}")]
    Syntax(String),
    #[error("unknown key `{key}` {}", place_of(.section))]
    UnknownKey {
        key: String,
        section: String,
        belongs_to: Option<String>,
        known: Vec<&'static str>,
    },
    #[error("`{section}` has no `{key}`")]
    MissingKey { key: &'static str, section: String },
    #[error("`{0}` is a section")]
    NotASection(String),
    #[error("`{0}` is a list of sections")]
    NotAList(String),
    #[error("`{key}`: {reason}")]
    Value { key: String, reason: String },
    #[error("`{key}` must be from {min} to {max}{unit}, not {value}")]
    OutOfRange {
        key: String,
        value: u64,
        min: u64,
        max: u64,
        unit: &'static str,
    },

    #[error("there is no listener")]
    NoListener,
    #[error("this listener speaks neither WebSocket nor RawSocket")]
    NoTransport,
    #[error("this listener has no path for WebSocket clients")]
    NoPath,
    #[error("`{0}` is no path")]
    BadPath(String),
    #[error("this listener has no serializer")]
    NoSerializer,
    #[error("the default serializer `{}` is not among the listener's serializers", .0.as_str())]
    DefaultSerializerNotServed(Codec),
    #[error("`{0}` is no origin")]
    BadOrigin(String),
    #[error("only a Unix socket has a mode, and this listener is on {0}")]
    ModeWithoutFile(ListenAddress),
    #[error("{address} is taken: an earlier listener is on {earlier}")]
    SameAddress {
        address: ListenAddress,
        earlier: ListenAddress,
    },
    #[error("two listeners are named `{0}`")]
    SameListenerName(String),

    #[error("there is no realm")]
    NoRealm,
    #[error("`{name}` is no realm name under the {} rule for URIs", rule_name(*.rule))]
    BadRealmName { name: String, rule: UriRule },
    #[error("the realm name `{0}` belongs to the protocol: it starts with `wamp`")]
    ReservedRealmName(String),
    #[error("the realm name `{name}` has {} bytes, more than `limits.uri_bytes` ({limit})", .name.len())]
    LongRealmName { name: String, limit: usize },
    #[error("two realms are named `{0}`")]
    SameRealmName(String),
    #[error("a role needs a name")]
    EmptyRole,

    #[error("`output.soft_bytes` ({soft}) is more than `output.hard_bytes` ({hard})")]
    SoftOverHard { soft: usize, hard: usize },
    #[error(
        "`output.total_bytes` ({total}) is less than `output.hard_bytes` ({hard}) of one client"
    )]
    TotalUnderHard { total: usize, hard: usize },
    #[error(
        "a message of `limits.message_bytes` ({message}) does not fit into `output.hard_bytes` \
         ({hard})"
    )]
    HardUnderMessage { message: usize, hard: usize },
    #[error("`{0}` is no log level")]
    BadLogLevel(String),
}

impl Fault {
    /// What to do about it, where the sentence alone does not say so.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::UnknownKey {
                key,
                belongs_to,
                known,
                ..
            } => {
                return unknown_key_help(key, belongs_to.as_deref(), known);
            }
            Self::Value { reason, .. } => return value_help(reason),
            Self::MissingKey { key: "listen", .. } => {
                "add for example `listen = \"127.0.0.1:8080\"`".into()
            }
            Self::MissingKey { key, .. } => format!("add a line `{key} = ...`"),
            Self::NotASection(name) => format!("write its keys below a line `[{name}]`"),
            Self::NotAList(name) => {
                format!("write each one below a line `[[{name}]]`, with two brackets")
            }
            Self::NoListener => {
                "add a `[[listener]]`, or leave `listener` out for the default".into()
            }
            Self::NoRealm => "add a `[[realm]]`, or leave `realm` out for the default".into(),
            Self::NoTransport => "set `websocket` or `rawsocket` to true".into(),
            Self::NoPath => "add one as in `paths = [\"/ws\"]`, or set `websocket = false`".into(),
            Self::BadPath(_) => "a path starts with `/` and has no spaces, `?` or `#`".into(),
            Self::NoSerializer => format!("choose from {}", codec_names()),
            Self::DefaultSerializerNotServed(_) => "add it to `serializers`".into(),
            Self::BadOrigin(_) => "write scheme, host and port only, as in \
                `https://app.example.org`, or `null`; no wildcards, and an empty list lets all in"
                .into(),
            Self::ModeWithoutFile(_) => "remove `unix_mode`, or listen on `unix:/path`".into(),
            Self::SameAddress { .. } => "give one of them another port, or remove it".into(),
            Self::SameListenerName(_) | Self::SameRealmName(_) => "rename or remove one".into(),
            Self::BadRealmName {
                rule: UriRule::Loose,
                ..
            } => "use words joined by dots, without spaces, `#` or empty words".into(),
            Self::BadRealmName {
                rule: UriRule::Strict,
                ..
            } => "use words of a-z, 0-9 and _ joined by dots, or `uri_rule = \"loose\"`".into(),
            Self::ReservedRealmName(_) => "choose another first word".into(),
            Self::LongRealmName { .. } => "shorten the name or raise the limit".into(),
            Self::SoftOverHard { .. } => "lower the soft limit or raise the hard one".into(),
            Self::TotalUnderHard { hard, .. } => format!("set it to {hard} or more"),
            Self::HardUnderMessage { message, .. } => format!(
                "raise `output.hard_bytes` to {message} or more, or lower `limits.message_bytes`"
            ),
            Self::BadLogLevel(word) => match nearest(word, LOG_LEVELS) {
                Some(level) => format!("did you mean `{level}`?"),
                None => format!("choose from {}", quoted(&LOG_LEVELS)),
            },
            Self::Syntax(_) | Self::OutOfRange { .. } | Self::EmptyRole => return None,
        };
        Some(text)
    }

    /// Whether it holds whatever the other keys say.
    pub(super) const fn is_of_one_key(&self) -> bool {
        !matches!(
            self,
            Self::NoListener
                | Self::NoRealm
                | Self::SameAddress { .. }
                | Self::SameListenerName(_)
                | Self::SameRealmName(_)
                | Self::ModeWithoutFile(_)
                | Self::DefaultSerializerNotServed(_)
                | Self::LongRealmName { .. }
                | Self::SoftOverHard { .. }
                | Self::TotalUnderHard { .. }
                | Self::HardUnderMessage { .. }
        )
    }
}

fn unknown_key_help(key: &str, belongs_to: Option<&str>, known: &[&str]) -> Option<String> {
    if let Some(near) = nearest(key, known.iter().copied()) {
        return Some(format!("did you mean `{near}`?"));
    }
    Some(match belongs_to {
        Some("") => format!("`{key}` belongs at the top of the file, before the first section"),
        Some(section) => format!("`{key}` belongs to `{section}`"),
        None => format!("the keys here are {}", quoted(known)),
    })
}

/// An unknown name in a closed set: serde's sentence lists the right ones after the wrong one.
fn value_help(reason: &str) -> Option<String> {
    let mut names = reason
        .strip_prefix("unknown variant")?
        .split('`')
        .skip(1)
        .step_by(2);
    let wrong = names.next()?;
    nearest(wrong, names).map(|near| format!("did you mean `{near}`?"))
}

fn place_of(section: &str) -> String {
    match section {
        "" => "at the top of the file".into(),
        section => format!("in {section}"),
    }
}

const fn rule_name(rule: UriRule) -> &'static str {
    match rule {
        UriRule::Loose => "loose",
        UriRule::Strict => "strict",
    }
}

fn codec_names() -> String {
    quoted(&Codec::ALL.map(Codec::as_str))
}

fn quoted(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

pub(super) const LOG_LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
