//! The one thread of a blocking client, on which tokio turns the connection.

use std::fmt;
use std::future::Future;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

use crate::client::{LEAVE_TIMEOUT, Status};
use crate::error::{ConnectError, Error};

pub(crate) struct Runtime {
    handle: Handle,
    stop: Mutex<Option<Stop>>,
}

struct Stop {
    thread: JoinHandle<()>,
    /// What the thread still waits for after the order to stop.
    order: oneshot::Sender<Option<watch::Receiver<Status>>>,
    outlives: Option<watch::Receiver<Status>>,
}

impl Runtime {
    pub(super) fn start() -> Result<Self, Error> {
        let no_thread = |error| ConnectError::Io { target: "a thread".to_owned(), error };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let handle = runtime.handle().clone();
        let (order, ordered) = oneshot::channel::<Option<watch::Receiver<Status>>>();
        let thread = thread::Builder::new().name("stentor-client".to_owned()).spawn(move || {
            runtime.block_on(async {
                if let Ok(Some(mut status)) = ordered.await {
                    let over = status.wait_for(|status| matches!(status, Status::Closed { .. }));
                    // What does not end by itself is ended with the runtime.
                    let _ = tokio::time::timeout(LEAVE_TIMEOUT, over).await;
                }
            });
            // Handlers that still run are left to themselves.
            runtime.shutdown_background();
        });
        let thread = thread.map_err(no_thread)?;
        let stop = Mutex::new(Some(Stop { thread, order, outlives: None }));
        Ok(Self { handle, stop })
    }

    /// Stops no sooner than the client is over.
    pub(super) fn outlive(&self, client: &crate::Client) {
        let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stop) = &mut *stop {
            stop.outlives = Some(client.shared.watch());
        }
    }

    pub(super) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let stop = self.stop.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Stop { thread, order, outlives }) = stop else { return };
        // It is there: only this order ends it.
        let _ = order.send(outlives);
        // A handler may have held the last clone; its thread waits for nobody.
        if Handle::try_current().is_err() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runtime")
    }
}
