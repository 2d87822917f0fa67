//! Procedures: how they are registered, and what their handlers get and give.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use stentor_protocol::wamp::{
    Codec, Dict, InvokePolicy, MatchPolicy, RegistrationId, SessionId, Value,
};
use tokio::sync::{oneshot, watch};

use crate::call::set;
use crate::client::{Client, Shared};
use crate::command::{Command, Control, Handler, InvocationRef, LocalId, RegistrationWish};
use crate::core::{find, id};
use crate::error::Error;
use crate::payload::{Outgoing, Payload, PayloadError};
use crate::queue::Queue;

/// A procedure to be registered.
#[must_use = "a procedure is registered when this is awaited or sent"]
pub struct Register<C = Client> {
    pub(crate) client: C,
    pub(crate) wish: RegistrationWish,
}

impl<C> Register<C> {
    pub(crate) fn new(client: C, procedure: String, handler: Arc<Handler>) -> Self {
        let procedure = procedure.into();
        let wish = RegistrationWish { procedure, options: Dict::new(), handler, finishes: false };
        Self { client, wish }
    }

    /// Whether the URI is a pattern. [`Invocation::procedure`] says what was called.
    pub fn matching(self, policy: MatchPolicy) -> Self {
        self.option("match", policy.as_str())
    }

    /// How the router chooses among several callees of this procedure, which all must say the same.
    pub fn invoke(self, policy: InvokePolicy) -> Self {
        self.option("invoke", policy.as_str())
    }

    /// How many invocations the router gives to this callee at a time.
    pub fn concurrency(self, most: u32) -> Self {
        self.option("concurrency", u64::from(most))
    }

    /// Callers are told to the handler, where the router lets callees decide.
    pub fn disclose_caller(self) -> Self {
        self.option("disclose_caller", true)
    }

    /// When a call is canceled, its handler goes on and should look at
    /// [`Invocation::is_canceled`]. Without this it is dropped where it waits.
    pub const fn finish_when_canceled(mut self) -> Self {
        self.wish.finishes = true;
        self
    }

    /// Any option of REGISTER.
    pub fn option(mut self, key: &str, value: impl Into<Value>) -> Self {
        set(&mut self.wish.options, key, value.into());
        self
    }
}

impl IntoFuture for Register<Client> {
    type Output = Result<Registration, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(register(self.client, self.wish))
    }
}

pub(crate) async fn register(
    client: Client,
    wish: RegistrationWish,
) -> Result<Registration, Error> {
    let local = client.shared.next_local();
    let (answer, result) = oneshot::channel();
    let mut registration = Registration { client, local, id: None, is_kept: false };
    registration.client.shared.command(Command::Register { local, wish, answer }).await?;
    let id = result.await.unwrap_or(Err(Error::Closed { may_have_happened: true }))?;
    registration.id = Some(id);
    Ok(registration)
}

/// A registered procedure. Dropping it unregisters the procedure.
#[must_use = "a procedure is unregistered when its registration is dropped"]
pub struct Registration {
    client: Client,
    local: LocalId,
    id: Option<RegistrationId>,
    is_kept: bool,
}

impl Registration {
    /// The id that the registration got at first; it has another one after a reconnect.
    pub const fn id(&self) -> Option<RegistrationId> {
        self.id
    }

    /// Leaves the procedure registered as long as the client lives.
    pub fn keep(mut self) {
        self.is_kept = true;
    }

    /// Unregisters the procedure, and comes back when the router has done so. Invocations that are
    /// under way go on.
    ///
    /// # Errors
    /// The connection was lost.
    pub async fn unregister(mut self) -> Result<(), Error> {
        let (answer, result) = oneshot::channel();
        let local = self.local;
        self.client.shared.command(Command::Unregister { local, answer }).await?;
        self.is_kept = true;
        result.await.unwrap_or(Err(Error::Closed { may_have_happened: true }))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !self.is_kept {
            self.client.shared.control(Control::Unregister { local: self.local });
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A call of a registered procedure, as its handler gets it.
pub struct Invocation {
    pub(crate) shared: Arc<Shared>,
    pub(crate) reference: InvocationRef,
    pub(crate) procedure: Arc<str>,
    pub(crate) details: Dict,
    pub(crate) payload: Payload,
    pub(crate) canceled: watch::Receiver<bool>,
    /// Further chunks of the arguments, of a progressive call.
    pub(crate) chunks: Option<Arc<Queue<Payload>>>,
}

impl Invocation {
    /// What was called, whatever pattern is registered.
    pub fn procedure(&self) -> &str {
        find(&self.details, "procedure").and_then(Value::as_text).unwrap_or(&self.procedure)
    }

    /// Who calls, if that is disclosed.
    pub fn caller(&self) -> Option<SessionId> {
        id(&self.details, "caller").and_then(SessionId::new)
    }

    /// The authid of who calls, if that is disclosed.
    pub fn caller_authid(&self) -> Option<&str> {
        find(&self.details, "caller_authid").and_then(Value::as_text)
    }

    /// How long the caller waits, if it has said so and the router tells.
    pub fn timeout(&self) -> Option<Duration> {
        id(&self.details, "timeout").map(Duration::from_millis)
    }

    /// All that the router says of it.
    pub const fn details(&self) -> &Dict {
        &self.details
    }

    /// The arguments, as bytes, values or JSON.
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// See [`Payload::args`]. With `?`, a mismatch fails the call with
    /// `wamp.error.invalid_argument`.
    ///
    /// # Errors
    /// They have another type.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        self.payload.args()
    }

    /// See [`Payload::kwargs`].
    ///
    /// # Errors
    /// They have another type.
    pub fn kwargs<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        self.payload.kwargs()
    }

    /// Whether the caller takes progressive results.
    pub fn wants_progress(&self) -> bool {
        matches!(find(&self.details, "receive_progress"), Some(Value::Bool(true)))
    }

    /// Sends a progressive result. Waits while the connection takes no more.
    ///
    /// # Errors
    /// The caller takes none, or nobody waits for the call any more.
    pub async fn progress<A: Serialize>(&self, args: A) -> Result<(), Error> {
        use crate::error::UsageError;
        if !self.wants_progress() {
            let why = "the caller takes no progressive results";
            return Err(UsageError::Setting(why).into());
        }
        let payload = Outgoing::new(self.shared.codec, &args)?;
        let (answer, result) = oneshot::channel();
        let invocation = self.reference;
        self.shared.command(Command::Yield { invocation, payload, answer }).await?;
        result.await.unwrap_or(Err(Error::Closed { may_have_happened: false }))
    }

    /// The next chunk of a progressive call; `None` if there is no further one, or the call is
    /// canceled.
    ///
    /// Cancel safe.
    pub async fn next_chunk(&mut self) -> Option<Payload> {
        match &self.chunks {
            Some(chunks) => chunks.next().await,
            None => None,
        }
    }

    /// Whether nobody waits for the result any more.
    pub fn is_canceled(&self) -> bool {
        *self.canceled.borrow()
    }

    /// Waits until nobody waits for the result any more.
    ///
    /// Cancel safe.
    pub async fn canceled(&self) {
        let mut canceled = self.canceled.clone();
        // Whoever could cancel has gone: so has the connection.
        let _ = canceled.wait_for(|is_canceled| *is_canceled).await;
    }
}

impl Drop for Invocation {
    fn drop(&mut self) {
        if let Some(chunks) = &self.chunks {
            chunks.abandon();
        }
    }
}

/// Without the arguments, which may be a secret of the application.
impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation").field("procedure", &self.procedure()).finish_non_exhaustive()
    }
}

/// What a handler returns: [`Answer`], or whatever serde writes as a list or as null.
pub trait IntoAnswer {
    /// The arguments of the result, in the serializer of the connection.
    ///
    /// # Errors
    /// They cannot be written.
    fn into_answer(self, codec: Codec) -> Result<Answer, PayloadError>;
}

impl<T: Serialize> IntoAnswer for T {
    fn into_answer(self, codec: Codec) -> Result<Answer, PayloadError> {
        Outgoing::new(codec, &self).map(Answer)
    }
}

/// A result with keyword arguments.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use stentor_client::{Answer, CallError, Invocation};
///
/// async fn find(invocation: Invocation) -> Result<Answer, CallError> {
///     let (name,): (String,) = invocation.args()?;
///     Ok(Answer::of(&invocation, (name.len(),), BTreeMap::from([("unit", "bytes")]))?)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Answer(pub(crate) Outgoing);

impl Answer {
    /// # Errors
    /// They cannot be written.
    pub fn of<A: Serialize, K: Serialize>(
        invocation: &Invocation,
        args: A,
        kwargs: K,
    ) -> Result<Self, PayloadError> {
        let mut outgoing = Outgoing::new(invocation.shared.codec, &args)?;
        outgoing.set_kwargs(&kwargs)?;
        Ok(Self(outgoing))
    }
}

impl IntoAnswer for Answer {
    fn into_answer(self, _: Codec) -> Result<Answer, PayloadError> {
        Ok(self)
    }
}

/// Why a handler has no result: an error URI, with arguments.
#[derive(Clone)]
pub struct CallError {
    pub(crate) uri: String,
    pub(crate) args: Vec<Value>,
    pub(crate) kwargs: Dict,
}

impl CallError {
    /// An application's own URI, or one of WAMP's.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { uri: uri.into(), args: Vec::new(), kwargs: Dict::new() }
    }

    /// An argument more; by custom the first one explains.
    #[must_use]
    pub fn arg(mut self, value: impl Into<Value>) -> Self {
        self.args.push(value.into());
        self
    }

    /// A keyword argument.
    #[must_use]
    pub fn kwarg(mut self, key: &str, value: impl Into<Value>) -> Self {
        set(&mut self.kwargs, key, value.into());
        self
    }

    /// `wamp.error.invalid_argument`
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new("wamp.error.invalid_argument").arg(message.into())
    }

    pub(crate) fn canceled() -> Self {
        Self::new("wamp.error.canceled")
    }
}

impl fmt::Debug for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallError").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// Arguments that are no good.
impl From<PayloadError> for CallError {
    fn from(error: PayloadError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// An error of a call that the handler made itself goes on to the caller.
impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        match error {
            Error::Wamp(failure) => {
                let (args, kwargs) = failure.payload.values().unwrap_or_default();
                Self { uri: failure.uri, args, kwargs }
            }
            other => Self::new("wamp.error.unavailable").arg(other.to_string()),
        }
    }
}
