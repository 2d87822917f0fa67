//! The handle of a client: what it offers, and what all its clones share.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use stentor_protocol::wamp::{Codec, Dict, SessionId, Value};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::builder::ClientBuilder;
use crate::call::Call;
use crate::command::{CallId, Command, Control, LocalId};
use crate::core::{find, text};
use crate::error::Error;
use crate::meta::Meta;
use crate::publish::Publish;
use crate::register::{CallError, IntoAnswer, Invocation, Register};
use crate::subscription::Subscribe;
use crate::testament::Testament;

/// A session with a router, and after a lost connection the next one. Cheap to clone; the session
/// ends when all clones, subscriptions and registrations are dropped, or with [`Client::leave`].
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    /// Tells the driver when the last handle has gone.
    _alive: Arc<Alive>,
}

/// What all handles and handlers have in common.
pub(crate) struct Shared {
    pub(crate) codec: Codec,
    pub(crate) reconnects: bool,
    /// There is room in a queue that was full.
    pub(crate) space: Arc<Notify>,
    commands: mpsc::Sender<Command>,
    control: mpsc::UnboundedSender<Control>,
    status: watch::Receiver<Status>,
    next: AtomicU64,
}

impl Shared {
    pub(crate) const fn new(
        codec: Codec,
        reconnects: bool,
        space: Arc<Notify>,
        commands: mpsc::Sender<Command>,
        control: mpsc::UnboundedSender<Control>,
        status: watch::Receiver<Status>,
    ) -> Self {
        let next = AtomicU64::new(1);
        Self { codec, reconnects, space, commands, control, status, next }
    }

    pub(crate) fn next_call(&self) -> CallId {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_local(&self) -> LocalId {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands a request to the driver; waits while too many wait.
    pub(crate) async fn command(&self, command: Command) -> Result<(), Error> {
        let sent = self.commands.send(command).await;
        sent.map_err(|_| Error::Closed { may_have_happened: false })
    }

    /// To see how the client stands without keeping it.
    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    pub(crate) fn control(&self, control: Control) {
        // Nobody listens when the client has ended; then there is nothing left to end.
        let _ = self.control.send(control);
    }
}

struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.control(Control::Gone);
    }
}

/// How a client stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// There is a session.
    Connected(Session),
    /// The connection was lost, and the client tries to get another one.
    Reconnecting {
        /// Tries so far.
        tries: u32,
        /// Why the last one failed, or the connection was lost.
        reason: String,
    },
    /// It is over.
    Closed {
        /// Why.
        reason: String,
    },
}

/// What the router has said in WELCOME.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    pub(crate) id: SessionId,
    pub(crate) details: Arc<Dict>,
}

impl Eq for Session {}

impl Session {
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// As whom the client has joined.
    pub fn authid(&self) -> Option<String> {
        text(&self.details, "authid")
    }

    /// In which role.
    pub fn authrole(&self) -> Option<String> {
        text(&self.details, "authrole")
    }

    /// In which realm, if the router says so.
    pub fn realm(&self) -> Option<String> {
        text(&self.details, "realm")
    }

    /// Whether the router announces a feature, such as `event_history` of the `broker`.
    pub fn has_feature(&self, role: &str, feature: &str) -> bool {
        let dict = |dict: &Dict, key| match find(dict, key) {
            Some(Value::Dict(inner)) => Some(inner.clone()),
            _ => None,
        };
        let features = dict(&self.details, "roles")
            .and_then(|roles| dict(&roles, role))
            .and_then(|role| dict(&role, "features"));
        features.is_some_and(|all| matches!(find(&all, feature), Some(Value::Bool(true))))
    }

    /// All of it.
    pub fn details(&self) -> &Dict {
        &self.details
    }
}

impl Client {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { _alive: Arc::new(Alive(Arc::clone(&shared))), shared }
    }

    /// A client of the realm of a router, to be connected. See [`ClientBuilder`] for what URLs look
    /// like.
    pub fn builder(url: impl Into<String>, realm: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url.into(), realm.into())
    }

    /// Calls a procedure. `args` is a tuple or a list, or `()` for none.
    pub fn call<A: Serialize>(&self, procedure: impl Into<String>, args: A) -> Call {
        Call::new(self.clone(), self.shared.codec, procedure.into(), &args)
    }

    /// Publishes an event. `args` is a tuple or a list, or `()` for none.
    pub fn publish<A: Serialize>(&self, topic: impl Into<String>, args: A) -> Publish {
        Publish::new(self.clone(), self.shared.codec, topic.into(), &args)
    }

    /// Subscribes to a topic, or to a pattern.
    pub fn subscribe(&self, topic: impl Into<String>) -> Subscribe {
        Subscribe::new(self.clone(), topic.into())
    }

    /// Registers a procedure. Each invocation is a task of its own. A handler that holds a clone of
    /// the client keeps the session from ending by itself.
    pub fn register<H, F, R>(&self, procedure: impl Into<String>, handler: H) -> Register
    where
        H: Fn(Invocation) -> F + Send + Sync + 'static,
        F: Future<Output = Result<R, CallError>> + Send + 'static,
        R: IntoAnswer + 'static,
    {
        let codec = self.shared.codec;
        let handler = Arc::new(move |invocation| {
            let result = handler(invocation);
            let answered = async move { Ok(result.await?.into_answer(codec)?) };
            Box::pin(answered) as crate::command::HandlerFuture
        });
        Register::new(self.clone(), procedure.into(), handler)
    }

    /// What the router publishes when this session ends, however it does.
    pub fn testament<A: Serialize>(&self, topic: impl Into<String>, args: A) -> Testament {
        Testament::new(self.clone(), topic.into(), args)
    }

    /// The router's own procedures, by name.
    pub fn meta(&self) -> Meta {
        Meta::new(self.clone())
    }

    /// The serializer of the connection.
    pub fn serializer(&self) -> Codec {
        self.shared.codec
    }

    /// How the client stands at the moment.
    pub fn status(&self) -> Status {
        self.shared.status.borrow().clone()
    }

    /// The session, if there is one at the moment.
    pub fn session(&self) -> Option<Session> {
        match &*self.shared.status.borrow() {
            Status::Connected(session) => Some(session.clone()),
            _ => None,
        }
    }

    /// Waits until the client stands otherwise than in `seen`, and says how. At the end it says
    /// [`Status::Closed`] at once.
    ///
    /// Cancel safe.
    pub async fn status_after(&self, seen: &Status) -> Status {
        let mut status = self.shared.status.clone();
        let changed =
            status.wait_for(|status| status != seen || matches!(status, Status::Closed { .. }));
        match changed.await {
            Ok(status) => status.clone(),
            Err(_) => Status::Closed { reason: "the client's task has ended".to_owned() },
        }
    }

    /// Waits until there is a session.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// There is none, and will be none.
    pub async fn connected(&self) -> Result<Session, Error> {
        let mut status = self.shared.status.clone();
        let settled = status.wait_for(|status| !matches!(status, Status::Reconnecting { .. }));
        match settled.await.as_deref() {
            Ok(Status::Connected(session)) => Ok(session.clone()),
            _ => Err(Error::Closed { may_have_happened: false }),
        }
    }

    /// Waits until the client is over, and says why.
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> String {
        let mut status = self.shared.status.clone();
        let over = status.wait_for(|status| matches!(status, Status::Closed { .. }));
        match over.await.as_deref() {
            Ok(Status::Closed { reason }) => reason.clone(),
            _ => "the client's task has ended".to_owned(),
        }
    }

    /// Ends the session in order, for all clones, and comes back when the router has answered, or
    /// after 5 s without. What was sent before arrives.
    pub async fn leave(&self) {
        self.leave_with("wamp.close.normal").await;
    }

    /// As [`Self::leave`], with a reason of one's own, a URI.
    pub async fn leave_with(&self, reason: &str) {
        let (answer, left) = oneshot::channel();
        let command = Command::Leave { reason: reason.to_owned(), answer };
        if self.shared.command(command).await.is_ok() {
            // It ends with the driver, at the latest.
            let _ = left.await;
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("status", &self.status()).finish_non_exhaustive()
    }
}

/// How long a router may take to answer GOODBYE.
pub(crate) const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
