//! One transport: what its client sends goes into the router, and what the router says waits for
//! the client to ask.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use hyper::body::Bytes;
use parking_lot::Mutex as Lock;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};

use super::protocol::Protocol;
use crate::codec::{Codec, DecodeLimits, decode};
use crate::http::inner::{InnerReader, InnerWriter};
use crate::http::room::Taken;
use crate::transport::Batching;

/// A transport. It has ended when its connection is over, when its client says so, or when that has
/// not been heard of for [`SILENCE`].
#[derive(Debug)]
pub(super) struct Polled {
    pub(super) protocol: Protocol,
    /// Where it was opened: it is known nowhere else.
    pub(super) place: PolledPlace,
    limits: PolledLimits,
    /// The client was welcomed: until then its messages are short.
    is_established: AtomicBool,
    /// Locked while a client waits for messages, and until it has taken them.
    reading: Arc<Mutex<InnerReader>>,
    /// In the order in which requests come (TR-LP-06).
    writing: Arc<Mutex<InnerWriter>>,
    /// How the messages of its batches are told apart.
    batching: Lock<Batching>,
    presence: Presence,
    has_ended: watch::Sender<bool>,
}

/// A path of a listener, by a channel that somebody may overhear or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PolledPlace {
    pub(super) listener: u32,
    pub(super) path: Arc<str>,
    pub(super) is_confidential: bool,
}

/// What its client may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct PolledLimits {
    /// Bytes of one message, before the session is established.
    pub(super) hello_bytes: usize,
    /// And then.
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
    #[error("a message has {bytes} bytes, and {most} are allowed")]
    TooLong { bytes: usize, most: usize },
    #[error("the session has ended")]
    Over,
}

impl Polled {
    pub(super) fn new(
        protocol: Protocol,
        place: PolledPlace,
        limits: PolledLimits,
        (reader, writer): (InnerReader, InnerWriter),
    ) -> Self {
        Self {
            protocol,
            place,
            limits,
            is_established: AtomicBool::new(false),
            reading: Arc::new(Mutex::new(reader)),
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
    /// (TR-LP-03). A future that is dropped loses nothing. No more is read until the answer was
    /// taken or given up: what waits is the router's, with its policy for slow consumers.
    pub(super) async fn receive(&self) -> Received {
        let reading = Arc::clone(&self.reading).try_lock_owned();
        let Ok(mut reader) = reading else { return Received::Busy };
        let _present = self.presence.enter();
        let mut ended = self.has_ended.subscribe();
        let bytes = tokio::select! {
            biased;
            message = self.next(&mut reader) => match message {
                Some(message) => self.gather(message, &mut reader).await,
                None => return Received::Over,
            },
            () = over(&mut ended) => return Received::Nothing,
            () = sleep(HOLD) => return Received::Nothing,
        };
        Received::Messages(Bytes::from_owner(Untaken { bytes, _reader: reader }))
    }

    async fn next(&self, reader: &mut InnerReader) -> Option<Bytes> {
        let message = reader.next().await.ok()??;
        if !self.is_established.load(Ordering::Relaxed) && is_welcome(self.protocol.codec, &message)
        {
            self.is_established.store(true, Ordering::Relaxed);
        }
        Some(message)
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

    /// Bytes that the next message may have.
    pub(super) fn most_bytes(&self) -> usize {
        let PolledLimits { hello_bytes, message_bytes, .. } = self.limits;
        let is_established = self.is_established.load(Ordering::Relaxed);
        if is_established { message_bytes } else { hello_bytes.min(message_bytes) }
    }

    /// Hands over what a client has sent, message by message. It waits while the router takes no
    /// more of this session; a future that is dropped before it has begun has sent nothing.
    ///
    /// # Errors
    /// [`NotSent`]. What was before the fault is sent. The session hears of a message that makes no
    /// sense, too, and ends; a batch that is none ends the transport (TR-BAT-03).
    pub(super) async fn send(self: &Arc<Self>, body: Bytes, taken: Taken) -> Result<(), NotSent> {
        let present = self.presence.enter();
        let writer = Arc::clone(&self.writing).lock_owned().await;
        // From here on it goes to its end, or half of a message would remain.
        let (polled, mut ended) = (Arc::clone(self), self.has_ended.subscribe());
        let writing = tokio::spawn(async move {
            let _taken = taken;
            tokio::select! {
                // What the one before has left behind may be half a message.
                biased;
                () = over(&mut ended) => Err(NotSent::Over),
                written = polled.write(writer, body) => written,
            }
        });
        let sent = writing.await.unwrap_or(Err(NotSent::Over));
        if sent.is_err() {
            // Nothing that fails is a sign of life.
            present.forget();
        }
        sent
    }

    async fn write(
        &self,
        mut writer: OwnedMutexGuard<InnerWriter>,
        mut rest: Bytes,
    ) -> Result<(), NotSent> {
        loop {
            let message = self.take_message(&mut rest)?;
            let (bytes, most) = (message.len(), self.most_bytes());
            if bytes > most {
                return Err(NotSent::TooLong { bytes, most });
            }
            let fault = decode(self.protocol.codec, &message, self.limits.decode).err();
            let fault = fault.map(|fault| NotSent::Malformed(fault.to_string()));
            writer.send(message).await.map_err(|_| NotSent::Over)?;
            if let Some(fault) = fault {
                return Err(fault);
            }
            if rest.is_empty() {
                return Ok(());
            }
            // Others of the thread have their turn.
            yield_now().await;
        }
    }

    /// Cuts off the first message of a body.
    fn take_message(&self, rest: &mut Bytes) -> Result<Bytes, NotSent> {
        if !self.protocol.is_batched {
            return Ok(std::mem::take(rest));
        }
        let (message, next) = self.batching.lock().first(rest).map_err(|fault| {
            self.end();
            NotSent::Malformed(format!("the body is no batch: {}", fault.reason()))
        })?;
        let first = rest.slice(message);
        *rest = rest.slice(next..);
        Ok(first)
    }
}

/// Messages on their way to the client.
struct Untaken {
    bytes: Bytes,
    _reader: OwnedMutexGuard<InnerReader>,
}

impl AsRef<[u8]> for Untaken {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Whether a message of the router is WELCOME: a list, whose first element is 2.
fn is_welcome(codec: Codec, message: &[u8]) -> bool {
    match codec {
        Codec::Json => message.starts_with(b"[2,"),
        Codec::MsgPack | Codec::Cbor => message.get(1) == Some(&2),
    }
}

async fn over(ended: &mut watch::Receiver<bool>) {
    // Its sender is never dropped before.
    let _ = ended.wait_for(|has_ended| *has_ended).await;
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

impl Present<'_> {
    /// As if it had not been.
    fn forget(self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
        std::mem::forget(self);
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
