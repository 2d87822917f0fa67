//! Procedures whose handlers may wait.

use std::ops::Deref;
use std::sync::Arc;

use serde::Serialize;
use stentor_protocol::wamp::{Codec, RegistrationId};
use tokio::runtime::Handle;

use super::Client;
use super::runtime::Runtime;
use crate::command::{Handler, HandlerFuture};
use crate::error::Error;
use crate::payload::Payload;
use crate::register::{CallError, IntoAnswer, Register, register};

/// A handler that is run on a thread of its own.
pub(super) fn handler<H, R>(handler: H, codec: Codec) -> Arc<Handler>
where
    H: Fn(Invocation) -> Result<R, CallError> + Send + Sync + 'static,
    R: IntoAnswer + 'static,
{
    let handler = Arc::new(handler);
    Arc::new(move |inner| {
        let handler = Arc::clone(&handler);
        let handled = async move {
            let invocation = Invocation { inner, handle: Handle::current() };
            let running = tokio::task::spawn_blocking(move || {
                let answer = handler(invocation)?;
                Ok(answer.into_answer(codec)?)
            });
            let failed = || CallError::new("wamp.error.unavailable").arg("the handler has failed");
            running.await.unwrap_or_else(|_| Err(failed()))
        };
        Box::pin(handled) as HandlerFuture
    })
}

impl Register<Client> {
    /// Registers the procedure, and waits until the router has done so.
    ///
    /// # Errors
    /// It cannot be sent, or is refused.
    pub fn send(self) -> Result<Registration, Error> {
        let Self { client: Client { inner, runtime }, wish } = self;
        let inner = runtime.block_on(register(inner, wish))?;
        Ok(Registration { inner, runtime })
    }
}

/// A registered procedure. Dropping it unregisters the procedure.
#[derive(Debug)]
#[must_use = "a procedure is unregistered when its registration is dropped"]
pub struct Registration {
    inner: crate::Registration,
    runtime: Arc<Runtime>,
}

impl Registration {
    /// The id that the registration got at first; it has another one after a reconnect.
    pub const fn id(&self) -> Option<RegistrationId> {
        self.inner.id()
    }

    /// Leaves the procedure registered as long as the client lives.
    pub fn keep(self) {
        self.inner.keep();
    }

    /// Unregisters the procedure, and waits until the router has done so. Invocations that are
    /// under way go on.
    ///
    /// # Errors
    /// The connection was lost.
    pub fn unregister(self) -> Result<(), Error> {
        self.runtime.block_on(self.inner.unregister())
    }
}

/// A call of a registered procedure. What the asynchronous one says of it, this does as well.
///
/// When the call is canceled, the caller hears of it at once; the handler's thread goes on, and
/// should look at [`crate::Invocation::is_canceled`] if it works for long.
#[derive(Debug)]
pub struct Invocation {
    inner: crate::Invocation,
    handle: Handle,
}

impl Invocation {
    /// Sends a progressive result. Waits while the connection takes no more.
    ///
    /// # Errors
    /// The caller takes none, or nobody waits for the call any more.
    pub fn progress<A: Serialize>(&self, args: A) -> Result<(), Error> {
        self.handle.block_on(self.inner.progress(args))
    }

    /// The next chunk of a progressive call; `None` if there is no further one, or the call is
    /// canceled.
    pub fn next_chunk(&mut self) -> Option<Payload> {
        self.handle.block_on(self.inner.next_chunk())
    }
}

impl Deref for Invocation {
    type Target = crate::Invocation;

    fn deref(&self) -> &crate::Invocation {
        &self.inner
    }
}
