//! Calls that wait.

use std::sync::Arc;

use serde::Serialize;
use stentor_protocol::wamp::CancelMode;

use super::Client;
use super::runtime::Runtime;
use crate::call::{Call, Reply, start};
use crate::error::Error;

impl Call<Client> {
    /// Makes the call and waits for its result.
    ///
    /// # Errors
    /// It cannot be sent, has failed, its time is over, or the connection was lost.
    pub fn send(self) -> Result<Reply, Error> {
        self.start()?.finish()
    }

    /// Makes the call with progressive results.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn progress(self) -> Result<RunningCall, Error> {
        self.receive_progress().start()
    }

    /// Makes the call, and comes back when it is under way.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn start(self) -> Result<RunningCall, Error> {
        let Self { client: Client { inner, runtime }, parts } = self;
        let inner = runtime.block_on(start(inner, parts))?;
        Ok(RunningCall { inner, runtime })
    }
}

/// A call that is under way, an iterator over its progressive results. Dropping it cancels it.
#[derive(Debug)]
pub struct RunningCall {
    inner: crate::RunningCall,
    runtime: Arc<Runtime>,
}

impl RunningCall {
    /// Sends another chunk, and more follow.
    ///
    /// # Errors
    /// The call is over, or was not made with [`Call::send_progress`].
    pub fn send<A: Serialize>(&mut self, args: A) -> Result<(), Error> {
        self.runtime.block_on(self.inner.send(args))
    }

    /// Sends the last chunk.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_last<A: Serialize>(&mut self, args: A) -> Result<(), Error> {
        self.runtime.block_on(self.inner.send_last(args))
    }

    /// Cancels the call; [`Self::finish`] then has what came of it.
    pub fn cancel(&self, mode: CancelMode) {
        self.inner.cancel(mode);
    }

    /// Waits for the result. Progressive results that were not taken are dropped.
    ///
    /// # Errors
    /// The call has failed, its time is over, or the connection was lost.
    pub fn finish(self) -> Result<Reply, Error> {
        self.runtime.block_on(self.inner.finish())
    }
}

/// Progressive results until the call is over; [`RunningCall::finish`] then has the last one.
impl Iterator for RunningCall {
    type Item = Reply;

    fn next(&mut self) -> Option<Reply> {
        self.runtime.block_on(self.inner.next())
    }
}
