//! One transport: what its client sends goes into the router, and what the router says waits for
//! the client to ask.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use hyper::body::Bytes;
use parking_lot::Mutex as Lock;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::protocol::Protocol;
use crate::codec::{DecodeLimits, decode};
use crate::http::inner::{InnerFrame, InnerReader, InnerWriter};
use crate::http::room::Taken;
use crate::transport::Batching;

/// A transport. It has ended when its connection is over, when its client says so, or when that has
/// not been heard of for [`SILENCE`].
#[derive(Debug)]
pub(super) struct Polled {
    pub(super) protocol: Protocol,
    limits: PolledLimits,
    /// Locked while a client waits for messages.
    reading: Mutex<InnerReader>,
    /// In the order in which requests come (TR-LP-06).
    writing: Arc<Mutex<InnerWriter>>,
    /// How the messages of its batches are told apart.
    batching: Lock<Batching>,
    presence: Presence,
    has_ended: watch::Sender<bool>,
}

/// What its client may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct PolledLimits {
    /// Bytes of one message.
    pub(super) message_bytes: usize,
    /// Of those.
    pub(super) decode: DecodeLimits,
}

/// What a request for messages gets.
#[derive(Debug)]
pub(super) enum Received {
    Messages(Bytes),
    /// Nothing came in time, or the client has closed the transport meanwhile.
    Nothing,
    /// Another request waits already.
    Busy,
    /// The router has closed the connection.
    Over,
}

/// Why messages were not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSent {
    #[error("{0}")]
    Malformed(String),
    #[error("a message has {bytes} bytes, and {most} are allowed (`limits.message_bytes`)")]
    TooLong { bytes: usize, most: usize },
    #[error("the session has ended")]
    Over,
}

impl Polled {
    pub(super) fn new(
        protocol: Protocol,
        limits: PolledLimits,
        (reader, writer): (InnerReader, InnerWriter),
    ) -> Self {
        Self {
            protocol,
            limits,
            reading: Mutex::new(reader),
            writing: Arc::new(Mutex::new(writer)),
            batching: Lock::new(Batching::of(protocol.codec)),
            presence: Presence::new(),
            has_ended: watch::Sender::new(false),
        }
    }

    /// Ends it: who waits for messages gets none, and the session is gone as with a lost socket.
    pub(super) fn end(&self) {
        self.has_ended.send_replace(true);
    }

    /// Until it has ended, or its client has been silent for too long.
    pub(super) async fn outlast(&self) {
        let mut ended = self.has_ended.subscribe();
        tokio::select! {
            () = over(&mut ended) => {}
            () = self.presence.lose() => {}
        }
    }

    /// What the router has said, at once or when it says something, for [`HOLD`] at most
    /// (TR-LP-03). A future that is dropped loses nothing.
    pub(super) async fn receive(&self) -> Received {
        let Ok(mut reader) = self.reading.try_lock() else { return Received::Busy };
        let _present = self.presence.enter();
        let mut ended = self.has_ended.subscribe();
        tokio::select! {
            biased;
            message = self.next(&mut reader) => match message {
                Some(message) => Received::Messages(self.gather(message, &mut reader).await),
                None => Received::Over,
            },
            () = over(&mut ended) => Received::Nothing,
            () = sleep(HOLD) => Received::Nothing,
        }
    }

    async fn next(&self, reader: &mut InnerReader) -> Option<Bytes> {
        loop {
            match reader.next().await.ok()?? {
                InnerFrame::Message(message) => return Some(message),
                InnerFrame::Ping(payload) => {
                    let writing = Arc::clone(&self.writing);
                    tokio::spawn(async move { writing.lock().await.pong(&payload).await });
                }
            }
        }
    }

    /// The first message, with what else is there if the client takes batches.
    async fn gather(&self, first: Bytes, reader: &mut InnerReader) -> Bytes {
        if !self.protocol.is_batched {
            return first;
        }
        let batching = *self.batching.lock();
        let mut batch = Vec::new();
        batching.put(&first, &mut batch);
        // What is not there yet comes with the next answer.
        while batch.len() < BATCH_BYTES
            && let Some(Some(message)) = at_once(self.next(reader)).await
        {
            batching.put(&message, &mut batch);
        }
        batch.into()
    }

    /// Hands over what a client has sent, all of it or nothing. It waits while the router takes no
    /// more of this session; then a future that is dropped has sent nothing.
    ///
    /// # Errors
    /// [`NotSent`]. The session hears of a message that makes no sense, too, and ends.
    pub(super) async fn send(&self, body: Bytes, taken: Taken) -> Result<(), NotSent> {
        let _present = self.presence.enter();
        let mut writer = Arc::clone(&self.writing).lock_owned().await;
        let (messages, fault) = self.split(&body)?;
        // From here on it goes to its end, or half of a message would remain.
        let mut ended = self.has_ended.subscribe();
        let writing = tokio::spawn(async move {
            let _taken = taken;
            tokio::select! {
                written = write_all(&mut writer, &messages) => written.is_ok(),
                () = over(&mut ended) => false,
            }
        });
        match writing.await {
            Ok(true) => fault.map_or(Ok(()), Err),
            Ok(false) | Err(_) => Err(NotSent::Over),
        }
    }

    /// The messages of a body, up to and with the first one that makes no sense.
    fn split(&self, body: &Bytes) -> Result<(Vec<Bytes>, Option<NotSent>), NotSent> {
        let mut messages = Vec::new();
        if self.protocol.is_batched {
            let mut batching = self.batching.lock();
            let mut rest = body.clone();
            loop {
                let (message, next) = batching.first(&rest).map_err(|fault| {
                    NotSent::Malformed(format!("the body is no batch: {}", fault.reason()))
                })?;
                messages.push(rest.slice(message));
                rest = rest.slice(next..);
                if rest.is_empty() {
                    break;
                }
            }
        } else {
            messages.push(body.clone());
        }
        let most = self.limits.message_bytes;
        if let Some(long) = messages.iter().find(|message| message.len() > most) {
            return Err(NotSent::TooLong { bytes: long.len(), most });
        }
        let fault_of =
            |message: &Bytes| decode(self.protocol.codec, message, self.limits.decode).err();
        let fault = messages.iter().enumerate().find_map(|(at, message)| {
            fault_of(message).map(|fault| (at, NotSent::Malformed(fault.to_string())))
        });
        let Some((at, fault)) = fault else { return Ok((messages, None)) };
        messages.truncate(at + 1);
        Ok((messages, Some(fault)))
    }
}

async fn over(ended: &mut watch::Receiver<bool>) {
    // Its sender is never dropped before.
    let _ = ended.wait_for(|has_ended| *has_ended).await;
}

async fn write_all(writer: &mut InnerWriter, messages: &[Bytes]) -> io::Result<()> {
    for message in messages {
        writer.send(message.clone()).await?;
    }
    Ok(())
}

/// What a future has now; `None` if it would have to wait.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Whether a client is still there: some request of it is under way, or was not long ago.
#[derive(Debug)]
struct Presence {
    requests: AtomicUsize,
    last: Lock<Instant>,
}

/// A request that is under way.
struct Present<'a>(&'a Presence);

impl Presence {
    fn new() -> Self {
        Self { requests: AtomicUsize::new(0), last: Lock::new(Instant::now()) }
    }

    fn enter(&self) -> Present<'_> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Present(self)
    }

    /// Until the client has been silent for too long.
    async fn lose(&self) {
        loop {
            let last = *self.last.lock();
            let is_here = self.requests.load(Ordering::Relaxed) > 0;
            let from = if is_here { Instant::now() } else { last };
            let until = from + SILENCE;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        *self.0.last.lock() = Instant::now();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a request waits for messages: less than the 12 s that autobahn-js waits for an answer.
const HOLD: Duration = Duration::from_secs(10);

/// How long a client may ask for nothing and send nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// From this size on no more is added to a batch.
const BATCH_BYTES: usize = 64 * 1024;
