//! The same client for programs without async: the same names, and calls that wait.
//!
//! A client has one thread, which turns the connection; whoever calls waits on its own. Nothing
//! here may be called from within async code: it would stop the thread that should go on.
//!
//! ```no_run
//! use stentor_client::blocking::Client;
//!
//! let client = Client::builder("ws://127.0.0.1:8080/ws", "realm1").connect_blocking()?;
//! client.publish("com.example.greeting", ("hello",)).acknowledge().send()?;
//! let sum: i64 = client.call("com.example.add", (2, 3)).send()?.first()?;
//! for event in client.subscribe("com.example.greeting").send()? {
//!     println!("{}: {:?}", event.topic(), event.args::<(String,)>()?);
//! }
//! # Ok::<(), stentor_client::Error>(())
//! ```
//!
//! # Stopping
//!
//! Who waits for an event ends when the session does: a handler of signals may call
//! [`Client::leave`] on a clone from its own thread, or set a flag that a loop over
//! [`Subscription::next_timeout`] looks at.

mod call;
mod meta;
mod register;
mod runtime;
mod subscription;

use std::sync::Arc;

use serde::Serialize;
use stentor_protocol::wamp::{Codec, PublicationId};

pub use self::call::RunningCall;
pub use self::register::{Invocation, Registration};
pub use self::subscription::Subscription;
pub use crate::meta::Meta;

use self::runtime::Runtime;
use crate::builder::ClientBuilder;
use crate::call::Call;
use crate::client::{Session, Status};
use crate::error::Error;
use crate::publish::{Publish, publish};
use crate::register::{CallError, IntoAnswer, Register};
use crate::subscription::Subscribe;
use crate::testament::Testament;

/// See [`crate::Client`]. When the last clone, subscription and registration is dropped, that waits
/// until what was sent has left, for 5 s at most.
#[derive(Clone, Debug)]
pub struct Client {
    // Dropped first: the thread then has something to say goodbye for.
    pub(crate) inner: crate::Client,
    pub(crate) runtime: Arc<Runtime>,
}

impl ClientBuilder {
    /// Connects and joins the realm, and waits for that.
    ///
    /// # Errors
    /// As [`Self::connect`], and the system has no thread left.
    ///
    /// # Panics
    /// Within async code.
    pub fn connect_blocking(self) -> Result<Client, Error> {
        let runtime = Runtime::start()?;
        let inner = runtime.block_on(self.connect())?;
        runtime.outlive(&inner);
        Ok(Client { inner, runtime: Arc::new(runtime) })
    }
}

impl Client {
    /// See [`crate::Client::builder`]; [`ClientBuilder::connect_blocking`] connects.
    pub fn builder(url: impl Into<String>, realm: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url.into(), realm.into())
    }

    /// Calls a procedure. `args` is a tuple or a list, or `()` for none.
    pub fn call<A: Serialize>(&self, procedure: impl Into<String>, args: A) -> Call<Self> {
        Call::new(self.clone(), self.serializer(), procedure.into(), &args)
    }

    /// Publishes an event. `args` is a tuple or a list, or `()` for none.
    pub fn publish<A: Serialize>(&self, topic: impl Into<String>, args: A) -> Publish<Self> {
        Publish::new(self.clone(), self.serializer(), topic.into(), &args)
    }

    /// Subscribes to a topic, or to a pattern.
    pub fn subscribe(&self, topic: impl Into<String>) -> Subscribe<Self> {
        Subscribe::new(self.clone(), topic.into())
    }

    /// Registers a procedure. Each invocation has a thread while it runs, of 512 at most.
    pub fn register<H, R>(&self, procedure: impl Into<String>, handler: H) -> Register<Self>
    where
        H: Fn(Invocation) -> Result<R, CallError> + Send + Sync + 'static,
        R: IntoAnswer + 'static,
    {
        let handler = register::handler(handler, self.serializer());
        Register::new(self.clone(), procedure.into(), handler)
    }

    /// What the router publishes when this session ends, however it does.
    pub fn testament<A: Serialize>(&self, topic: impl Into<String>, args: A) -> Testament<Self> {
        Testament::new(self.clone(), topic.into(), args)
    }

    /// The router's own procedures, by name.
    pub fn meta(&self) -> Meta<Self> {
        Meta { client: self.clone() }
    }

    /// The serializer of the connection.
    pub fn serializer(&self) -> Codec {
        self.inner.serializer()
    }

    /// How the client stands at the moment.
    pub fn status(&self) -> Status {
        self.inner.status()
    }

    /// The session, if there is one at the moment.
    pub fn session(&self) -> Option<Session> {
        self.inner.session()
    }

    /// Waits until the client stands otherwise than in `seen`, and says how.
    pub fn status_after(&self, seen: &Status) -> Status {
        self.runtime.block_on(self.inner.status_after(seen))
    }

    /// Waits until there is a session.
    ///
    /// # Errors
    /// There is none, and will be none.
    pub fn connected(&self) -> Result<Session, Error> {
        self.runtime.block_on(self.inner.connected())
    }

    /// Waits until the client is over, and says why.
    pub fn closed(&self) -> String {
        self.runtime.block_on(self.inner.closed())
    }

    /// See [`crate::Client::leave`].
    pub fn leave(&self) {
        self.runtime.block_on(self.inner.leave());
    }

    /// See [`crate::Client::leave_with`].
    pub fn leave_with(&self, reason: &str) {
        self.runtime.block_on(self.inner.leave_with(reason));
    }
}

impl Publish<Client> {
    /// Publishes, and waits for the acknowledgement if there is to be one: the result is then the
    /// publication's id.
    ///
    /// # Errors
    /// It cannot be sent, is refused, or not acknowledged in time.
    pub fn send(self) -> Result<Option<PublicationId>, Error> {
        let Self { client, parts } = self;
        client.runtime.block_on(publish(&client.inner.shared, parts))
    }
}

impl Testament<Client> {
    /// Leaves it with the router.
    ///
    /// # Errors
    /// As a call.
    pub fn send(self) -> Result<(), Error> {
        let codec = self.client.serializer();
        let (client, parts) = self.into_call(codec)?;
        Call { client, parts }.send().map(drop)
    }
}
