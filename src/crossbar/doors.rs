//! Where clients come in: what becomes of the transports of a node.

use super::logins::Ways;

/// A listener in the making.
#[derive(Debug, Default)]
pub(super) struct Listener {
    pub(super) place: String,
    /// By which authenticators name it.
    pub(super) name: String,
    /// One does.
    pub(super) is_named: bool,
    /// The paths of its WebSockets, where they have no rules of their own; empty: the default ones.
    pub(super) paths: Vec<String>,
    /// With references to variables of the environment.
    pub(super) address: String,
    pub(super) websocket: bool,
    pub(super) rawsocket: bool,
    pub(super) serializers: Vec<&'static str>,
    /// Clients of some path may choose any.
    pub(super) takes_any_serializer: bool,
    pub(super) takes_any_subprotocol: bool,
    pub(super) deflate: bool,
    pub(super) tls: Option<Tls>,
    pub(super) unix_mode: Option<&'static str>,
    /// What is served besides WAMP.
    pub(super) pages: Vec<Page>,
    pub(super) comments: Vec<String>,
}

impl Listener {
    /// The files and directories that it reads.
    pub(super) fn reads(&self) -> impl Iterator<Item = &String> {
        let directories = self.pages.iter().filter_map(|page| match &page.what {
            What::Files { directory, .. } => Some(directory),
            What::Bridge { .. } => None,
        });
        let files = self.tls.iter().flat_map(|tls| [&tls.certificate, &tls.key]);
        let authorities = self.tls.iter().filter_map(|tls| tls.client_ca.as_ref());
        directories.chain(files).chain(authorities)
    }
}

#[derive(Debug)]
pub(super) struct Tls {
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) client_ca: Option<String>,
    pub(super) comments: Vec<String>,
}

/// A part of a listener where clients log in.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) place: String,
    /// The number of the listener.
    pub(super) listener: usize,
    /// The number of the worker whose realms can be joined there.
    pub(super) worker: usize,
    /// Those of them; empty: all.
    pub(super) realms: Vec<String>,
    pub(super) at: At,
    pub(super) origins: Option<Vec<String>>,
    pub(super) ways: Ways,
    pub(super) comments: Vec<String>,
}

/// Where at the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The listener itself: RawSocket, or a WebSocket at any path.
    Itself,
    /// A path for WebSockets, with its rules.
    Path(String),
    /// A path for long polling.
    LongPoll(String),
}

impl At {
    pub(super) fn path(&self) -> Option<&str> {
        match self {
            Self::Itself => None,
            Self::Path(path) | Self::LongPoll(path) => Some(path),
        }
    }
}

/// A path where something else than WAMP is served.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) place: String,
    pub(super) path: String,
    pub(super) what: What,
    pub(super) comments: Vec<String>,
}

#[derive(Debug)]
pub(super) enum What {
    Files {
        directory: String,
        fallback: Option<String>,
        cache: Option<String>,
    },
    /// `publish` or `call`.
    Bridge {
        http: &'static str,
        realm: String,
        role: String,
        require_ip: Vec<String>,
        body_bytes: Option<u64>,
    },
}

impl Common {
    /// Takes in what one transport says of the length of messages.
    pub(super) fn message(&mut self, bytes: Option<u64>) {
        self.message_bytes.extend(bytes);
        self.leaves_messages |= bytes.is_none();
    }

    /// What `limits.message_bytes` is to be, if something is said of it: the most of all.
    pub(super) fn message_bytes(&self) -> Option<u64> {
        // Crossbar takes any length where it says 0.
        let any = |bytes: &u64| if *bytes == 0 { MAX_MESSAGE_BYTES } else { *bytes };
        self.message_bytes.iter().map(any).max()
    }

    /// The longest message that there will be.
    pub(super) fn longest_message(&self) -> u64 {
        self.message_bytes().unwrap_or(MESSAGE_BYTES).clamp(512, MAX_MESSAGE_BYTES)
    }
}

/// Values that crossbar has for each transport, and the router for all.
#[derive(Debug, Default)]
pub(super) struct Common {
    pub(super) message_bytes: Vec<u64>,
    /// A transport says nothing of the length of messages, which has crossbar's own bound then.
    pub(super) leaves_messages: bool,
    pub(super) ping_interval_ms: Vec<u64>,
    pub(super) ping_timeout_ms: Vec<u64>,
    pub(super) handshake_ms: Vec<u64>,
    pub(super) close_ms: Vec<u64>,
    pub(super) backlog: Vec<u64>,
    pub(super) delays_small_segments: bool,
}

/// The longest message that the router takes, in bytes.
pub(super) const MAX_MESSAGE_BYTES: u64 = 16 << 20;

/// `limits.message_bytes` where nothing is said of it.
pub(super) const MESSAGE_BYTES: u64 = 1 << 20;
