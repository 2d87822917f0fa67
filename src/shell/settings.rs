//! With which router, and as whom: flags, then the environment, then a context, then defaults.
//!
//! Pure but for what reads secrets at the end. A secret of a nearer source hides all secrets of
//! those behind it.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use stentor_client::Codec;
use zeroize::Zeroizing;

use super::context::Context;

/// A variable of the environment, if it is text and not empty.
pub(crate) type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Where the router is, and as whom to join.
///
/// A flag wins over the environment variable, that over the context, and that over the default.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Connection (a flag wins over the environment, and that over the \
                               context)")]
pub(crate) struct ConnectFlags {
    /// The router: ws://, wss://, rs:// and rss://host:port, or unix:/path [env: STENTOR_URL]
    /// [default: ws://127.0.0.1:8080/ws]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The realm [env: STENTOR_REALM] [default: realm1]
    #[arg(long, value_name = "NAME")]
    realm: Option<String>,
    /// As whom to join [env: STENTOR_AUTHID]
    #[arg(long, value_name = "NAME")]
    authid: Option<String>,
    /// In which role to join, where the router lets clients choose [env: STENTOR_AUTHROLE]
    #[arg(long, value_name = "NAME")]
    authrole: Option<String>,
    /// The only method of login to offer [env: STENTOR_AUTHMETHOD] [default: those that there is a
    /// secret for, or else anonymous]
    #[arg(long, value_name = "METHOD", value_parser = METHODS)]
    authmethod: Option<String>,
    /// The file with the secret of wampcra and wamp-scram
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    secret_file: Option<PathBuf>,
    /// The file with the ticket, alone or as `stentor keygen` prints it
    #[arg(long, value_name = "FILE", conflicts_with = "ticket")]
    ticket_file: Option<PathBuf>,
    /// The file with the private key of cryptosign, 64 hexadecimal digits, alone or as `stentor
    /// keygen` prints it
    #[arg(long, value_name = "FILE", conflicts_with = "private_key")]
    private_key_file: Option<PathBuf>,
    /// The secret itself, which other users of this machine can see; better is --secret-file
    /// [env: STENTOR_SECRET]
    #[arg(long, value_name = "SECRET")]
    secret: Option<String>,
    /// The ticket itself, which other users of this machine can see; better is --ticket-file
    /// [env: STENTOR_TICKET]
    #[arg(long, value_name = "TICKET")]
    ticket: Option<String>,
    /// The key itself, which other users of this machine can see; better is --private-key-file
    /// [env: STENTOR_PRIVATE_KEY]
    #[arg(long, value_name = "KEY")]
    private_key: Option<String>,
    /// The serializer [env: STENTOR_SERIALIZER] [default: cbor]
    #[arg(long, value_name = "NAME", value_parser = codec_parser())]
    serializer: Option<Codec>,
    /// The authorities that the router's certificate must come from, in PEM [env: STENTOR_CA]
    /// [default: those of the system]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The client's certificate, in PEM [env: STENTOR_CERT]
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The private key of the client's certificate, in PEM [env: STENTOR_KEY]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A connection that `stentor context` keeps [env: STENTOR_CONTEXT] [default: the selected one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Keep trying to connect for so many seconds [default: one try]
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds)]
    pub(crate) wait: Option<std::time::Duration>,
}

/// Not what is secret.
impl std::fmt::Debug for ConnectFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectFlags").field("url", &self.url).finish_non_exhaustive()
    }
}

impl ConnectFlags {
    /// Which context holds, if one is named.
    pub(crate) fn context_name(&self, environment: &Environment<'_>) -> Option<String> {
        self.context.clone().or_else(|| environment("STENTOR_CONTEXT"))
    }

    /// What holds, each from the nearest source that has it.
    pub(crate) fn settle(
        &self,
        environment: &Environment<'_>,
        context: &Context,
    ) -> Result<Settings, SettingsError> {
        let text = |flag: &Option<String>, name, context: &Option<String>| {
            flag.clone().or_else(|| environment(name)).or_else(|| context.clone())
        };
        let file = |flag: &Option<PathBuf>, name, context: &Option<PathBuf>| {
            let named = || environment(name).map(PathBuf::from);
            flag.clone().or_else(named).or_else(|| context.clone())
        };
        let serializer = match (self.serializer, environment("STENTOR_SERIALIZER")) {
            (Some(codec), _) => codec,
            (None, Some(name)) => codec(&name).ok_or(SettingsError::Serializer(name))?,
            (None, None) => context.serializer.unwrap_or(Codec::Cbor),
        };
        let method = text(&self.authmethod, "STENTOR_AUTHMETHOD", &context.authmethod);
        if let Some(method) = method.as_ref().filter(|method| !METHODS.contains(&method.as_str())) {
            return Err(SettingsError::Method { name: method.clone() });
        }
        let certificate = match (
            file(&self.cert, "STENTOR_CERT", &context.cert),
            file(&self.key, "STENTOR_KEY", &context.key),
        ) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(SettingsError::HalfCertificate),
        };
        let url = text(&self.url, "STENTOR_URL", &context.url);
        let realm = text(&self.realm, "STENTOR_REALM", &context.realm);
        Ok(Settings {
            url: url.unwrap_or_else(|| DEFAULT_URL.to_owned()),
            realm: realm.unwrap_or_else(|| DEFAULT_REALM.to_owned()),
            authid: text(&self.authid, "STENTOR_AUTHID", &context.authid),
            authrole: text(&self.authrole, "STENTOR_AUTHROLE", &context.authrole),
            method,
            serializer,
            ca: file(&self.ca, "STENTOR_CA", &context.ca),
            certificate,
            secrets: self.secrets(environment, context),
        })
    }

    /// Where secrets are, of the nearest source that has any.
    fn secrets(&self, environment: &Environment<'_>, context: &Context) -> Vec<(Kind, Source)> {
        let given =
            |value: &Option<String>| value.clone().map(|text| Source::Argument(text.into()));
        let file = |path: &Option<PathBuf>| path.clone().map(Source::File);
        let named = |name: &Option<String>| name.clone().map(Source::Variable);
        let set = |name: &str| environment(name).map(|_| Source::Variable(name.to_owned()));
        let sources = [
            [
                file(&self.secret_file).or_else(|| given(&self.secret)),
                file(&self.ticket_file).or_else(|| given(&self.ticket)),
                file(&self.private_key_file).or_else(|| given(&self.private_key)),
            ],
            [set("STENTOR_SECRET"), set("STENTOR_TICKET"), set("STENTOR_PRIVATE_KEY")],
            [
                file(&context.secret_file).or_else(|| named(&context.secret_variable)),
                file(&context.ticket_file).or_else(|| named(&context.ticket_variable)),
                file(&context.private_key_file).or_else(|| named(&context.private_key_variable)),
            ],
        ];
        let kinds = [Kind::Secret, Kind::Ticket, Kind::PrivateKey];
        let of = |level: [Option<Source>; 3]| -> Vec<_> {
            let pairs = kinds.into_iter().zip(level);
            pairs.filter_map(|(kind, source)| Some((kind, source?))).collect()
        };
        sources.into_iter().map(of).find(|level| !level.is_empty()).unwrap_or_default()
    }
}

/// What a login is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of wampcra and wamp-scram.
    Secret,
    Ticket,
    /// Of cryptosign.
    PrivateKey,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Ticket => "ticket",
            Self::PrivateKey => "private key",
        }
    }

    /// The flag without `--`.
    pub(crate) const fn flag(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Ticket => "ticket",
            Self::PrivateKey => "private-key",
        }
    }

    /// What a method needs; nothing for those that need none.
    pub(crate) fn of_method(method: &str) -> Option<Self> {
        match method {
            "wampcra" | "wamp-scram" => Some(Self::Secret),
            "ticket" => Some(Self::Ticket),
            "cryptosign" => Some(Self::PrivateKey),
            _ => None,
        }
    }
}

/// Where a secret is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// On the command line, where others see it.
    Argument(Zeroizing<String>),
    File(PathBuf),
    Variable(String),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Argument(_) => f.write_str("Argument"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Variable(name) => f.debug_tuple("Variable").field(name).finish(),
        }
    }
}

/// What holds of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) realm: String,
    pub(crate) authid: Option<String>,
    pub(crate) authrole: Option<String>,
    /// The only method to offer.
    pub(crate) method: Option<String>,
    pub(crate) serializer: Codec,
    pub(crate) ca: Option<PathBuf>,
    /// The certificate, and its key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) secrets: Vec<(Kind, Source)>,
}

/// What of the environment or a context cannot hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("STENTOR_SERIALIZER is `{0}`, and must be json, msgpack or cbor")]
    Serializer(String),
    #[error("the method of login `{name}` is none of {}", METHODS.join(", "))]
    Method { name: String },
    #[error("a client's certificate needs its private key: --cert and --key go together")]
    HalfCertificate,
}

/// A serializer by its name.
pub(crate) fn codec(name: &str) -> Option<Codec> {
    Codec::ALL.into_iter().find(|codec| codec.as_str() == name)
}

pub(crate) fn codec_parser() -> impl TypedValueParser<Value = Codec> {
    PossibleValuesParser::new(["json", "msgpack", "cbor"])
        .map(|name| codec(&name).expect("the parser knows the names"))
}

pub(crate) const METHODS: [&str; 6] =
    ["anonymous", "ticket", "wampcra", "wamp-scram", "cryptosign", "tls"];

const DEFAULT_URL: &str = "ws://127.0.0.1:8080/ws";
const DEFAULT_REALM: &str = "realm1";

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> (ConnectFlags, Context) {
        let own = |text: &str| Some(text.to_owned());
        let path = |text: &str| Some(PathBuf::from(text));
        let flags = ConnectFlags {
            url: own("ws://flag"),
            realm: own("flag"),
            authid: own("flag"),
            authrole: own("flag"),
            authmethod: own("ticket"),
            serializer: Some(Codec::Json),
            ca: path("flag"),
            cert: path("flag"),
            key: path("flag"),
            ticket_file: path("flag"),
            ..ConnectFlags::default()
        };
        let context = Context {
            url: own("ws://context"),
            realm: own("context"),
            authid: own("context"),
            authrole: own("context"),
            authmethod: own("tls"),
            serializer: Some(Codec::MsgPack),
            ca: path("context"),
            cert: path("context"),
            key: path("context"),
            secret_variable: own("CONTEXT_SECRET"),
            ..Context::default()
        };
        (flags, context)
    }

    fn environment(name: &str) -> Option<String> {
        let value = match name {
            "STENTOR_SERIALIZER" => "cbor",
            "STENTOR_AUTHMETHOD" => "wampcra",
            "STENTOR_TICKET" => "t",
            "STENTOR_SECRET" => "s",
            "STENTOR_PRIVATE_KEY" => return None,
            _ => "environment",
        };
        name.starts_with("STENTOR_").then(|| value.to_owned())
    }

    const NOTHING: &Environment<'static> = &|_| None;

    /// Everything that can be said of a source, as one text.
    fn all(settings: &Settings) -> String {
        let Settings { url, realm, authid, authrole, method, ca, certificate, .. } = settings;
        format!("{url} {realm} {authid:?} {authrole:?} {method:?} {ca:?} {certificate:?}")
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_context_and_that_over_defaults() {
        let (flags, context) = full();
        let nothing = ConnectFlags::default();
        let settled = flags.settle(&environment, &context).unwrap();
        assert!(!all(&settled).contains("environment") && !all(&settled).contains("context"));
        assert_eq!((settled.serializer, settled.method.as_deref()), (Codec::Json, Some("ticket")));
        assert_eq!(settled.secrets, [(Kind::Ticket, Source::File("flag".into()))]);

        let settled = nothing.settle(&environment, &context).unwrap();
        assert!(!all(&settled).contains("context"), "{settled:?}");
        assert_eq!((settled.serializer, &*settled.url), (Codec::Cbor, "environment"));
        let named = |name: &str| Source::Variable(name.to_owned());
        let both =
            [(Kind::Secret, named("STENTOR_SECRET")), (Kind::Ticket, named("STENTOR_TICKET"))];
        assert_eq!(settled.secrets, both);

        let settled = nothing.settle(NOTHING, &context).unwrap();
        assert_eq!((settled.serializer, &*settled.url), (Codec::MsgPack, "ws://context"));
        assert_eq!(settled.secrets, [(Kind::Secret, named("CONTEXT_SECRET"))]);

        let settled = nothing.settle(NOTHING, &Context::default()).unwrap();
        assert_eq!((&*settled.url, &*settled.realm), (DEFAULT_URL, DEFAULT_REALM));
        assert_eq!((settled.serializer, settled.secrets.len()), (Codec::Cbor, 0));
    }

    #[test]
    fn what_cannot_hold_is_refused() {
        let nothing = ConnectFlags::default();
        let refused = |name: &'static str, value: &'static str| {
            let environment = move |asked: &str| (asked == name).then(|| value.to_owned());
            let settled = nothing.settle(&environment, &Context::default());
            settled.unwrap_err().to_string()
        };
        assert!(refused("STENTOR_SERIALIZER", "xml").contains("json, msgpack or cbor"));
        assert!(refused("STENTOR_AUTHMETHOD", "guess").contains("none of anonymous, ticket"));
        assert!(refused("STENTOR_CERT", "a.pem").contains("--cert and --key"));
    }

    #[test]
    fn no_secret_is_shown() {
        let flags = ConnectFlags { secret: Some("hunter2".to_owned()), ..ConnectFlags::default() };
        let settled = flags.settle(NOTHING, &Context::default()).unwrap();
        assert!(!format!("{flags:?} {settled:?}").contains("hunter2"));
        assert_eq!(settled.secrets.len(), 1);
    }
}
