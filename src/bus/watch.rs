//! The watch of the whole bucket: a task that tells all writes in their order.
//!
//! The library notices late when its watch is dead, so this one is opened anew whenever there is a
//! reason: behind what was told, or from the start if the bucket is another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::bucket::{Bucket, is_marker};

/// What the bucket holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A key has this value since this revision; `None`: it has gone.
    Entry { revision: u64, key: Box<str>, value: Option<Bytes> },
    /// All that stood there when the watch was opened was told.
    Current,
    /// All is told from the start: what is not told again before [`Self::Current`] has gone.
    Reset,
}

pub(super) struct Watch {
    told: Receiver<Told>,
    orders: watch::Sender<Order>,
    standing: Arc<Standing>,
    task: JoinHandle<()>,
}

/// Whether the watch is open, and how often it was opened. One writer, its task.
#[derive(Debug, Default)]
struct Standing {
    is_open: AtomicBool,
    openings: AtomicU64,
}

/// How often the watch was to be opened anew, and how often from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Order {
    opened: u64,
    from_start: u64,
}

impl Watch {
    pub(super) fn start(bucket: Bucket) -> Self {
        let (teller, told) = channel(TOLD_CAPACITY);
        let (orders, ordered) = watch::channel(Order::default());
        let standing = Arc::<Standing>::default();
        let (place, shown) = (Place::default(), Arc::clone(&standing));
        let watcher = Watcher { bucket, teller, ordered, place, standing: shown };
        let task = tokio::spawn(watcher.run());
        Self { told, orders, standing, task }
    }

    pub(super) fn open_again(&self, from_start: bool) {
        self.orders.send_modify(|order| {
            order.opened += 1;
            order.from_start += u64::from(from_start);
        });
    }

    /// Whether it is open, and how often it was opened.
    pub(super) fn standing(&self) -> (bool, u64) {
        let Standing { is_open, openings } = &*self.standing;
        (is_open.load(Ordering::Relaxed), openings.load(Ordering::Relaxed))
    }

    pub(super) fn poll_told(&mut self, context: &mut Context<'_>) -> Poll<Told> {
        match self.told.poll_recv(context) {
            Poll::Ready(Some(told)) => Poll::Ready(told),
            // The task lives as long as this does.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Watcher {
    bucket: Bucket,
    teller: Sender<Told>,
    ordered: watch::Receiver<Order>,
    place: Place,
    standing: Arc<Standing>,
}

/// How far the bucket was told.
#[derive(Debug, Default)]
struct Place {
    /// When this bucket was made, in nanoseconds: one that is made anew is another one.
    created: Option<i128>,
    revision: u64,
    /// How often the watch was to begin from the start.
    from_start: u64,
}

/// Nobody hears what is told any more.
struct Unheard;

impl Watcher {
    async fn run(mut self) {
        loop {
            self.ordered.borrow_and_update();
            match self.open().await {
                Ok(Ok((messages, is_current))) => {
                    self.standing.openings.fetch_add(1, Ordering::Relaxed);
                    self.standing.is_open.store(true, Ordering::Relaxed);
                    if self.follow(messages, is_current).await.is_err() {
                        return;
                    }
                    self.standing.is_open.store(false, Ordering::Relaxed);
                }
                Ok(Err(reason)) => tracing::debug!(reason, "the watch of the bucket is not open"),
                Err(Unheard) => return,
            }
            // An order that has come meanwhile is followed at once.
            let _ = timeout(RETRY, self.ordered.changed()).await;
        }
    }

    /// Opens the watch, and says whether it has nothing to tell yet.
    async fn open(&mut self) -> Result<Result<(Ordered, bool), String>, Unheard> {
        let info = match self.bucket.find().await {
            Ok(info) => info,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let created = info.created.unix_timestamp_nanos();
        let from_start = self.ordered.borrow().from_start;
        let is_same = self.place.created == Some(created)
            && self.place.from_start == from_start
            && info.state.last_sequence >= self.place.revision;
        if !is_same {
            if self.place.created.is_some() {
                self.tell(Told::Reset).await?;
            }
            self.place = Place { created: Some(created), revision: 0, from_start };
        }
        let context = &self.bucket.context;
        let deliver_policy = match self.place.revision {
            0 => DeliverPolicy::All,
            revision => DeliverPolicy::ByStartSequence { start_sequence: revision + 1 },
        };
        let config = OrderedConfig {
            deliver_subject: context.client().new_inbox(),
            filter_subject: format!("{}>", self.bucket.prefix()),
            replay_policy: ReplayPolicy::Instant,
            deliver_policy,
            ..OrderedConfig::default()
        };
        let consumer = match context.create_consumer_on_stream(config, self.bucket.stream()).await {
            Ok(consumer) => consumer,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let is_current = consumer.cached_info().num_pending == 0;
        match consumer.messages().await {
            Ok(messages) => Ok(Ok((messages, is_current))),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    /// Tells what comes, until the watch is to be opened anew.
    async fn follow(&mut self, mut messages: Ordered, mut is_current: bool) -> Result<(), Unheard> {
        if is_current {
            self.tell(Told::Current).await?;
        }
        loop {
            let message = tokio::select! {
                biased;
                changed = self.ordered.changed() => {
                    return changed.map_err(|_| Unheard);
                }
                message = messages.next() => message,
                // The last write may have been removed before it was told.
                () = sleep(CURRENT_PATIENCE), if !is_current => return Ok(()),
            };
            let Some(Ok(message)) = message else { return Ok(()) };
            let Ok(info) = message.info() else { return Ok(()) };
            let (revision, pending) = (info.stream_sequence, info.pending);
            // The library begins anew by itself, too, and may then repeat what was told.
            if revision > self.place.revision {
                self.place.revision = revision;
                let key = message.subject.strip_prefix(&*self.bucket.prefix()).map(Into::into);
                let is_gone = message.headers.as_ref().is_some_and(is_marker);
                let value = (!is_gone).then(|| message.payload.clone());
                if let Some(key) = key {
                    self.tell(Told::Entry { revision, key, value }).await?;
                }
            }
            if !is_current && pending == 0 {
                is_current = true;
                self.tell(Told::Current).await?;
            }
        }
    }

    async fn tell(&self, told: Told) -> Result<(), Unheard> {
        self.teller.send(told).await.map_err(|_| Unheard)
    }
}

/// Writes that are read ahead; the server waits for room.
const TOLD_CAPACITY: usize = 1_024;

/// How long is waited before the watch is opened once more.
const RETRY: Duration = Duration::from_millis(200);

/// How long nothing may come before all that stood in the bucket was told.
const CURRENT_PATIENCE: Duration = Duration::from_secs(2);
