//! Calls: what they are made with, and what comes of them.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use stentor_protocol::wamp::{CancelMode, Codec, Dict, Value};
use tokio::sync::oneshot;

use crate::client::Client;
use crate::command::{CallId, Canceling, Command, Control};
use crate::core::{find, id};
use crate::error::Error;
use crate::payload::{Outgoing, Payload, PayloadError};
use crate::queue::Queue;

/// A call to be made. Awaiting it makes it and gives the result; dropping that future cancels the
/// call (`kill`).
#[must_use = "a call is made when it is awaited, sent or started"]
pub struct Call<C = Client> {
    pub(crate) client: C,
    pub(crate) parts: CallParts,
}

/// What a call is made with.
pub(crate) struct CallParts {
    pub(crate) codec: Codec,
    pub(crate) procedure: String,
    pub(crate) options: Dict,
    pub(crate) payload: Result<Outgoing, PayloadError>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) queue: usize,
    pub(crate) mode: CancelMode,
}

impl<C> Call<C> {
    pub(crate) fn new<A: Serialize>(client: C, codec: Codec, procedure: String, args: &A) -> Self {
        let parts = CallParts {
            codec,
            procedure,
            options: Dict::new(),
            payload: Outgoing::new(codec, args),
            timeout: None,
            queue: PROGRESS_QUEUE,
            mode: CancelMode::Kill,
        };
        Self { client, parts }
    }

    /// Keyword arguments: a struct or a map.
    pub fn kwargs<T: Serialize>(mut self, kwargs: T) -> Self {
        if let Ok(outgoing) = &mut self.parts.payload
            && let Err(error) = outgoing.set_kwargs(&kwargs)
        {
            self.parts.payload = Err(error);
        }
        self
    }

    /// How long the call may take: the router is told, and after that time it is canceled and
    /// fails with [`Error::Timeout`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1);
        self.parts.timeout = Some(timeout);
        self.option("timeout", millis)
    }

    /// Tells the callee who calls, where the router lets callers decide.
    pub fn disclose_me(self) -> Self {
        self.option("disclose_me", true)
    }

    /// Asks for progressive results, as far as the callee has them.
    pub fn receive_progress(self) -> Self {
        self.option("receive_progress", true)
    }

    /// The arguments are the first of several chunks, each sent by [`RunningCall::send`].
    pub fn send_progress(self) -> Self {
        self.option("progress", true)
    }

    /// How the call is canceled if its future or its [`RunningCall`] is dropped. Default: `kill`,
    /// which interrupts the callee.
    pub const fn cancel_mode(mut self, mode: CancelMode) -> Self {
        self.parts.mode = mode;
        self
    }

    /// How many progressive results wait for the caller at most, before the connection is read no
    /// further. Default: 64.
    pub const fn progress_queue(mut self, results: usize) -> Self {
        self.parts.queue = results;
        self
    }

    /// Any option of CALL.
    pub fn option(mut self, key: &str, value: impl Into<Value>) -> Self {
        set(&mut self.parts.options, key, value.into());
        self
    }
}

impl Call<Client> {
    /// Makes the call with progressive results.
    ///
    /// # Errors
    /// It cannot be sent.
    pub async fn progress(self) -> Result<RunningCall, Error> {
        self.receive_progress().start().await
    }

    /// Makes the call, and comes back when it is under way.
    ///
    /// Cancel safe: dropped before it is sent, nothing is; after that the call is canceled.
    ///
    /// # Errors
    /// It cannot be sent.
    pub async fn start(self) -> Result<RunningCall, Error> {
        start(self.client, self.parts).await
    }
}

impl IntoFuture for Call<Client> {
    type Output = Result<Reply, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { start(self.client, self.parts).await?.finish().await })
    }
}

pub(crate) async fn start(client: Client, parts: CallParts) -> Result<RunningCall, Error> {
    let payload = parts.payload?;
    let shared = Arc::clone(&client.shared);
    let is_progressive = |key| matches!(find(&parts.options, key), Some(Value::Bool(true)));
    let progress = is_progressive("receive_progress")
        .then(|| Arc::new(Queue::new(parts.queue, Arc::clone(&shared.space))));
    let sends = is_progressive("progress");
    let (sender, answer) = oneshot::channel();
    let call = shared.next_call();
    let canceling = Arc::new(Canceling::default());
    let asked = Arc::clone(&canceling);
    // From here on a drop cancels.
    let running = RunningCall {
        guard: Guard { client, call, canceling, mode: parts.mode, is_over: false },
        codec: parts.codec,
        procedure: parts.procedure.clone(),
        options: parts.options.clone(),
        deadline: parts.timeout.map(|timeout| tokio::time::Instant::now() + timeout),
        progress: progress.clone(),
        answer,
        sends,
    };
    let command = Command::Call {
        call,
        procedure: parts.procedure,
        options: parts.options,
        payload,
        progress,
        canceling: asked,
        answer: sender,
    };
    shared.command(command).await?;
    Ok(running)
}

/// A call that is under way. Dropping it cancels it.
pub struct RunningCall {
    guard: Guard,
    codec: Codec,
    procedure: String,
    options: Dict,
    deadline: Option<tokio::time::Instant>,
    progress: Option<Arc<Queue<Reply>>>,
    answer: oneshot::Receiver<Result<Reply, Error>>,
    /// Chunks may be sent.
    sends: bool,
}

impl RunningCall {
    /// The next progressive result; `None` when the call is over, or its time: then
    /// [`Self::finish`] has the result.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Reply> {
        let progress = Arc::clone(self.progress.as_ref()?);
        match self.deadline {
            None => progress.next().await,
            Some(deadline) => {
                tokio::time::timeout_at(deadline, progress.next()).await.unwrap_or(None)
            }
        }
    }

    /// Sends another chunk, and more follow.
    ///
    /// Cancel safe: dropped before it is sent, nothing is.
    ///
    /// # Errors
    /// The call is over, or was not made with [`Call::send_progress`].
    pub async fn send<A: Serialize>(&mut self, args: A) -> Result<(), Error> {
        self.send_chunk(&args, true).await
    }

    /// Sends the last chunk.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_last<A: Serialize>(&mut self, args: A) -> Result<(), Error> {
        self.send_chunk(&args, false).await?;
        self.sends = false;
        Ok(())
    }

    async fn send_chunk<A: Serialize>(&self, args: &A, more: bool) -> Result<(), Error> {
        use crate::error::UsageError;
        if !self.sends {
            let why = "chunks can be sent to a call made with `send_progress`, before the last one";
            return Err(UsageError::Setting(why).into());
        }
        let payload = Outgoing::new(self.codec, args)?;
        let mut options = self.options.clone();
        set(&mut options, "progress", more.into());
        let (answer, sent) = oneshot::channel();
        let command = Command::CallMore {
            call: self.guard.call,
            procedure: self.procedure.clone(),
            options,
            payload,
            answer,
        };
        self.guard.client.shared.command(command).await?;
        sent.await.unwrap_or(Err(Error::Closed { may_have_happened: false }))
    }

    /// Cancels the call; [`Self::finish`] then has what came of it.
    pub fn cancel(&self, mode: CancelMode) {
        self.guard.cancel(mode);
    }

    /// The result. Progressive results that were not taken are dropped.
    ///
    /// Dropping the future cancels the call.
    ///
    /// # Errors
    /// The call has failed, its time is over, or the connection was lost.
    pub async fn finish(mut self) -> Result<Reply, Error> {
        if let Some(progress) = &self.progress {
            progress.abandon();
        }
        let lost = Error::Closed { may_have_happened: true };
        let result = match self.deadline {
            None => (&mut self.answer).await,
            Some(deadline) => match tokio::time::timeout_at(deadline, &mut self.answer).await {
                Ok(answered) => answered,
                // The guard cancels.
                Err(_) => return Err(Error::Timeout),
            },
        };
        self.guard.is_over = true;
        match result.unwrap_or(Err(lost)) {
            Err(Error::Wamp(failure))
                if self.deadline.is_some() && failure.uri == "wamp.error.timeout" =>
            {
                Err(Error::Timeout)
            }
            result => result,
        }
    }
}

impl fmt::Debug for RunningCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningCall").field("procedure", &self.procedure).finish_non_exhaustive()
    }
}

/// Cancels a call that nobody waits for any more.
struct Guard {
    client: Client,
    call: CallId,
    canceling: Arc<Canceling>,
    mode: CancelMode,
    is_over: bool,
}

impl Guard {
    fn cancel(&self, mode: CancelMode) {
        self.canceling.ask(mode);
        self.client.shared.control(Control::Cancel { call: self.call });
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.is_over {
            self.cancel(self.mode);
        }
    }
}

/// The result of a call, or a progressive one.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(crate) details: Dict,
    pub(crate) payload: Payload,
}

impl Reply {
    /// All that the router says of it.
    pub const fn details(&self) -> &Dict {
        &self.details
    }

    /// The session of the callee, if that is disclosed.
    pub fn callee(&self) -> Option<u64> {
        id(&self.details, "callee")
    }

    /// What was returned, as bytes, values or JSON.
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// See [`Payload::args`].
    ///
    /// # Errors
    /// They have another type.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        self.payload.args()
    }

    /// The only argument, or the first of several.
    ///
    /// # Errors
    /// There is none, or it has another type.
    pub fn first<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        self.payload.first()
    }

    /// See [`Payload::kwargs`].
    ///
    /// # Errors
    /// They have another type.
    pub fn kwargs<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        self.payload.kwargs()
    }
}

/// Sets an option, once.
pub(crate) fn set(options: &mut Dict, key: &str, value: Value) {
    match options.iter_mut().find(|(name, _)| name == key) {
        Some((_, old)) => *old = value,
        None => options.push((key.to_owned().into(), value)),
    }
}

/// Progressive results that wait for the caller.
const PROGRESS_QUEUE: usize = 64;
