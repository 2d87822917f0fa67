//! What can be wrong with a configuration: each fault's sentence and what to do about it.
//!
//! Knows no file and no line; `report.rs` adds where it stands.

use std::io;
use std::path::PathBuf;

use super::admin::AdminFault;
use super::bridge::BridgeFault;
use super::cluster::ClusterFault;
use super::keys::nearest;
use super::listener::ListenAddress;
use super::management::ManagementFault;
use super::metrics::MetricsFault;
use super::report::Report;
use super::role_fault::RoleFault;
use super::tokens::TokensFault;
use super::users::UsersFault;
use super::ways::WayFault;
use super::web::WebFault;
use super::webhook::WebhookFault;
use crate::authentication::Method;
use crate::codec::Codec;
use crate::wamp::{MatchPolicy, UriRule};

/// Why there is no configuration to run.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "error: cannot read the configuration file `{}`: {source}\n  \
         = help: `stentor config default` prints a file to start from",
        .path.display()
    )]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Invalid(#[from] Report),
}

/// One thing that is wrong. A key is written as in the file: `limits.nesting`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("syntax error: {0}")]
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
    #[error("`{0}` is a section, not a value")]
    NotASection(String),
    #[error("`{0}` is a list of sections, since there may be several")]
    NotAList(String),
    #[error("this environment variable is named after a key that there is not")]
    UnknownVariable { near: Option<String> },
    #[error("the value of this environment variable is no text")]
    VariableIsNoText,
    #[error("the environment variable `{0}` is not set")]
    VariableNotSet(String),
    #[error("`${{` begins a reference to an environment variable, and no `}}` ends it")]
    OpenReference,
    #[error("`${{{0}}}` refers to no environment variable")]
    BadReference(String),
    #[error("`{key}`: {reason}")]
    Value { key: String, reason: String },
    #[error("`{key}` must be from {min} to {max}{unit}, not {value}")]
    OutOfRange { key: String, value: u64, min: u64, max: u64, unit: &'static str },

    #[error("there is no listener")]
    NoListener,
    #[error("this listener speaks neither WebSocket nor RawSocket")]
    NoTransport,
    #[error("this listener has no path for WebSocket clients")]
    NoPath,
    #[error("`{0}` is no path")]
    BadPath(String),
    #[error("a listener without WebSocket speaks no HTTP, and answers no health checks")]
    HealthWithoutHttp,
    #[error("this listener has no serializer")]
    NoSerializer,
    #[error("the default serializer `{}` is not among the listener's serializers", .0.as_str())]
    DefaultSerializerNotServed(Codec),
    #[error("`{0}` is no origin")]
    BadOrigin(String),
    #[error("only a Unix socket has a mode, and this listener is on {0}")]
    ModeWithoutFile(ListenAddress),
    #[error("this certificate has no `key`")]
    NoPrivateKey,
    #[error("only TCP listeners speak TLS, and this listener is on {0}")]
    TlsOnUnixSocket(ListenAddress),
    #[error("clients show certificates in TLS only, and this listener has none of its own")]
    ClientCertificatesWithoutTls,
    #[error("nothing says which certificates of clients are good")]
    NoClientCa,
    #[error("`client_ca` names authorities, and clients are not asked for certificates")]
    UnusedClientCa,
    #[error("`{0}` is set, and nothing says which proxies are to be believed")]
    NoProxies(&'static str),
    #[error("`trusted_proxies` lists proxies, and nothing of what they say is read")]
    UnusedProxies,
    #[error("`forwarded` names a header of HTTP, and this listener speaks no WebSocket")]
    ForwardedWithoutHttp,
    #[error("{address} is taken: an earlier listener is on {earlier}")]
    SameAddress { address: ListenAddress, earlier: ListenAddress },
    #[error("two listeners are named `{0}`")]
    SameListenerName(String),

    #[error("there is no realm")]
    NoRealm,
    #[error("`{name}` is no realm name under the {} rule for URIs", rule_name(*.rule))]
    BadRealmName { name: String, rule: UriRule },
    #[error("the realm name `{0}` belongs to the protocol: it starts with `wamp`")]
    ReservedRealmName(String),
    #[error(
        "the realm name `{name}` has {} bytes, more than `limits.uri_bytes` ({limit})",
        .name.len()
    )]
    LongRealmName { name: String, limit: usize },
    #[error("two realms are named `{0}`")]
    SameRealmName(String),
    #[error("`{0}` is empty")]
    Empty(String),

    #[error("`{0}` is no name of a header, or stands there twice")]
    BadHeaderName(String),
    #[error("`anonymous_role` is now the `role` of an authenticator")]
    OldAnonymousRole,
    #[error("an authenticator with the method `{}` has no `{key}`", .method.as_str())]
    AuthenticatorNeeds { method: Method, key: &'static str },
    #[error("an authenticator with the method `{}` takes no `{key}`", .method.as_str())]
    AuthenticatorTakesNo { method: Method, key: &'static str },
    #[error("`{0}` is served already")]
    SamePath(String),
    #[error("there is no realm `{0}`")]
    UnknownRealm(String),
    #[error(transparent)]
    Web(#[from] WebFault),
    #[error(transparent)]
    Bridge(#[from] BridgeFault),
    #[error(transparent)]
    Webhook(#[from] WebhookFault),
    #[error(transparent)]
    Users(#[from] UsersFault),
    #[error(transparent)]
    Tokens(#[from] TokensFault),
    #[error(transparent)]
    Admin(#[from] AdminFault),
    #[error(transparent)]
    Management(#[from] ManagementFault),
    #[error(transparent)]
    Cluster(#[from] ClusterFault),
    #[error(transparent)]
    Metrics(#[from] MetricsFault),
    #[error(transparent)]
    Way(#[from] WayFault),

    #[error(
        "`{topic}` is no {} under the {} rule for URIs",
        pattern_name(*.policy), rule_name(*.rule)
    )]
    BadHistoryTopic { topic: String, policy: MatchPolicy, rule: UriRule },
    #[error("nobody publishes to `{0}`: topics that start with `wamp` belong to the protocol")]
    ReservedHistoryTopic(String),
    #[error(
        "the topic `{topic}` has {} bytes, more than `limits.uri_bytes` ({limit})", .topic.len()
    )]
    LongHistoryTopic { topic: String, limit: usize },
    #[error("this realm has two histories of `{0}`")]
    SameHistory(String),
    #[error("there is no place for what is to be durable")]
    NoStore,

    #[error(transparent)]
    Role(#[from] RoleFault),

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
            Self::UnknownKey { key, belongs_to, known, .. } => {
                unknown_key_help(key, belongs_to.as_deref(), known)
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
            Self::BadPath(_) => "a path starts with `/` and has no spaces, `?` or `#`; behind `%` \
                stand two hexadecimal digits"
                .into(),
            Self::NoSerializer => format!("choose from {}", codec_names()),
            Self::DefaultSerializerNotServed(_) => "add it to `serializers`".into(),
            Self::BadOrigin(_) => "write scheme, host and port only, as in \
                `https://app.example.org`, `*.example.org`, `null`, or `*` for every page there is"
                .into(),
            Self::ModeWithoutFile(_) => "remove `unix_mode`, or listen on `unix:/path`".into(),
            Self::SameAddress { .. } => "give one of them another port, or remove it".into(),
            Self::SameListenerName(_) | Self::SameRealmName(_) => "rename or remove one".into(),
            Self::BadRealmName { rule: UriRule::Loose, .. } => {
                "use words joined by dots, without spaces, `#` or empty words".into()
            }
            Self::BadRealmName { rule: UriRule::Strict, .. } => {
                "use words of a-z, 0-9 and _ joined by dots, or `uri_rule = \"loose\"`".into()
            }
            Self::BadHistoryTopic { policy: MatchPolicy::Exact, .. } => "an exact topic has no \
                empty words; for a pattern set `match` to \"prefix\" or \"wildcard\""
                .into(),
            Self::BadHistoryTopic { .. } => {
                "a prefix ends where it likes, a wildcard leaves words empty, as in `com..x`".into()
            }
            Self::ReservedHistoryTopic(_) => "remove it".into(),
            Self::LongHistoryTopic { .. } => "shorten the topic or raise the limit".into(),
            Self::SameHistory(_) => "remove one, or let them differ in `match`".into(),
            Self::NoStore => {
                "name a file, as in `[storage]` with `path = \"/var/lib/stentor/store\"`".into()
            }
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
            Self::Role(fault) => return fault.help(),
            Self::Admin(fault) => return fault.help(),
            Self::Management(fault) => fault.help(),
            Self::Bridge(fault) => fault.help().into(),
            Self::Webhook(fault) => fault.help().into(),
            Self::Metrics(fault) => fault.help(),
            _ => return self.environment_help().or_else(|| self.login_help()),
        };
        Some(text)
    }

    /// The same for what is about environment variables, and about listeners.
    fn environment_help(&self) -> Option<String> {
        Some(match self {
            Self::UnknownVariable { near: Some(near) } => format!("did you mean `{near}`?"),
            Self::UnknownVariable { near: None } => {
                "lists of sections stand in the file alone; the \
                others have variables as `STENTOR_LIMITS__NESTING`, for `nesting` in [limits]"
                    .into()
            }
            Self::VariableNotSet(name) => {
                format!("set it, or write `${{{name}:-VALUE}}` for a value without it")
            }
            Self::OpenReference | Self::BadReference(_) => {
                "write `${NAME}` or `${NAME:-VALUE}`, and `$${` for `${` itself".into()
            }
            _ => return self.listener_help().map(Into::into),
        })
    }

    /// The same for what is about logins.
    fn login_help(&self) -> Option<String> {
        let text = match self {
            Self::OldAnonymousRole => "write `[[realm.authenticator]]` with `method = \
                \"anonymous\"` and `role = \"...\"` behind the keys of the realm"
                .into(),
            Self::AuthenticatorNeeds { key, .. } => {
                format!("name a file, as in `{key} = \"users.toml\"`")
            }
            Self::AuthenticatorTakesNo { .. } | Self::SamePath(_) => "remove it".into(),
            Self::UnknownRealm(_) => "name one that has a `[[realm]]`".into(),
            Self::Cluster(fault) => fault.help().into(),
            Self::Users(fault) => return fault.help(),
            Self::Tokens(fault) => return fault.help(),
            Self::Way(fault) => return fault.help().map(Into::into),
            _ => return None,
        };
        Some(text)
    }

    /// The same for what is wrong with a listener's TLS, or the proxies in front of it.
    const fn listener_help(&self) -> Option<&'static str> {
        let text = match self {
            Self::NoPrivateKey => "add a line `key = \"/path/of/key.pem\"`",
            Self::TlsOnUnixSocket(_) => {
                "remove `[[listener.tls]]`: what goes through a Unix \
                socket leaves no machine"
            }
            Self::ClientCertificatesWithoutTls => "add a `[[listener.tls]]` below it",
            Self::NoClientCa => {
                "name a file of certificate authorities, as in `client_ca = \
                \"/etc/stentor/clients.pem\"`"
            }
            Self::UnusedClientCa => {
                "set `client_certificates` to \"request\" or \"require\", or remove it"
            }
            Self::NoProxies(_) => "list them, as in `trusted_proxies = [\"10.0.0.7\"]`",
            Self::UnusedProxies => {
                "set `proxy_protocol = true` or `forwarded = \"x-forwarded-for\"`, or remove it"
            }
            Self::ForwardedWithoutHttp | Self::HealthWithoutHttp => {
                "remove it, or set `websocket = true`"
            }
            Self::Web(fault) => fault.help(),
            _ => return None,
        };
        Some(text)
    }

    /// The key that has a part in it beside the one it was found at.
    pub(super) const fn other_key(&self) -> Option<&'static str> {
        match self {
            Self::LongRealmName { .. }
            | Self::LongHistoryTopic { .. }
            | Self::Metrics(MetricsFault::LongPrefix { .. })
            | Self::Role(RoleFault::LongPermission { .. }) => Some("limits.uri_bytes"),
            Self::Role(RoleFault::SlowRate { .. }) | Self::Bridge(BridgeFault::LongBody { .. }) => {
                Some("limits.message_bytes")
            }
            Self::NoStore => Some("storage.path"),
            Self::SoftOverHard { .. }
            | Self::TotalUnderHard { .. }
            | Self::HardUnderMessage { .. } => Some("output.hard_bytes"),
            _ => None,
        }
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
                | Self::NoPrivateKey
                | Self::TlsOnUnixSocket(_)
                | Self::ClientCertificatesWithoutTls
                | Self::NoClientCa
                | Self::UnusedClientCa
                | Self::NoProxies(_)
                | Self::UnusedProxies
                | Self::ForwardedWithoutHttp
                | Self::HealthWithoutHttp
                | Self::Bridge(_)
                | Self::Webhook(_)
                | Self::Web(WebFault::FilesWithoutHttp | WebFault::NeedsFiles(_))
                | Self::DefaultSerializerNotServed(_)
                | Self::LongRealmName { .. }
                | Self::LongHistoryTopic { .. }
                | Self::BadHistoryTopic { .. }
                | Self::SameHistory(_)
                | Self::NoStore
                | Self::UnknownRealm(_)
                | Self::Management(_)
                | Self::Metrics(_)
                | Self::Cluster(_)
                | Self::Role(_)
                | Self::Way(_)
                | Self::SoftOverHard { .. }
                | Self::TotalUnderHard { .. }
                | Self::HardUnderMessage { .. }
        )
    }
}

fn unknown_key_help(key: &str, belongs_to: Option<&str>, known: &[&str]) -> String {
    let is_one_of_several = |known: &&str| key.strip_suffix('s') == Some(known);
    match (belongs_to, nearest(key, known.iter().copied())) {
        (_, Some(near)) if is_one_of_several(&near) => format!("did you mean `{near}`?"),
        (Some(""), _) => format!("`{key}` belongs at the top of the file, before all sections"),
        (Some(section), _) => format!("`{key}` belongs to {section}"),
        (None, Some(near)) => format!("did you mean `{near}`?"),
        (None, None) => format!("the keys here are {}", quoted(known)),
    }
}

/// An unknown name in a closed set: serde's sentence lists the right ones after the wrong one.
fn value_help(reason: &str) -> Option<String> {
    let mut names = reason.strip_prefix(UNKNOWN_NAME)?.split('`').skip(1).step_by(2);
    let wrong = names.next()?;
    if wrong == "jwt" {
        return Some("to clients JSON Web Tokens are tickets: write `ticket`".into());
    }
    nearest(wrong, names).map(|near| format!("did you mean `{near}`?"))
}

/// `listener.0.paths` is written `listener.paths`: the place says which one.
pub(super) fn key_without_index(key: &str) -> String {
    let is_name = |part: &&str| !part.bytes().all(|b| b.is_ascii_digit());
    key.split('.').filter(is_name).collect::<Vec<_>>().join(".")
}

fn place_of(section: &str) -> String {
    match section {
        "" => "at the top of the file".into(),
        section => format!("in {section}"),
    }
}

pub(super) const fn rule_name(rule: UriRule) -> &'static str {
    match rule {
        UriRule::Loose => "loose",
        UriRule::Strict => "strict",
    }
}

pub(super) const fn pattern_name(policy: MatchPolicy) -> &'static str {
    match policy {
        MatchPolicy::Exact => "topic",
        MatchPolicy::Prefix => "prefix",
        MatchPolicy::Wildcard => "wildcard pattern",
    }
}

fn codec_names() -> String {
    quoted(&Codec::ALL.map(Codec::as_str))
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// How a [`Fault::Value`] starts that is about a name out of a closed set.
pub(super) const UNKNOWN_NAME: &str = "unknown name";

pub(super) const LOG_LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
