//! Subscriptions: how they are made, and how events are taken from them.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stentor_protocol::wamp::{Dict, MatchPolicy, SubscriptionId, Value};
use tokio::sync::oneshot;

use crate::call::set;
use crate::client::Client;
use crate::command::{Command, Control, LocalId, Sink, SubscriptionWish};
use crate::error::Error;
use crate::event::{Event, Gap, SubscriptionItem};
use crate::queue::Queue;

/// A subscription to be made.
#[must_use = "a subscription is made when this is awaited or sent"]
pub struct Subscribe<C = Client> {
    pub(crate) client: C,
    pub(crate) parts: SubscribeParts,
}

pub(crate) struct SubscribeParts {
    topic: String,
    options: Dict,
    capacity: usize,
    drops_oldest: bool,
    catches_up: Option<bool>,
}

impl<C> Subscribe<C> {
    pub(crate) const fn new(client: C, topic: String) -> Self {
        let parts = SubscribeParts {
            topic,
            options: Dict::new(),
            capacity: EVENTS,
            drops_oldest: false,
            catches_up: None,
        };
        Self { client, parts }
    }

    /// Whether the URI is a pattern. [`Event::topic`] says what was published to.
    pub fn matching(self, policy: MatchPolicy) -> Self {
        self.option("match", policy.as_str())
    }

    /// Also the event that the router keeps of the topic, if there is one.
    pub fn get_retained(self) -> Self {
        self.option("get_retained", true)
    }

    /// How many events wait for the application at most. Default: 1,024.
    pub const fn queue(mut self, events: usize) -> Self {
        self.parts.capacity = events;
        self
    }

    /// When the queue is full, the oldest event goes, and how many went is told by
    /// [`Gap::Dropped`]. Without this the connection is read no further until there is room, so
    /// that the router feels it, and decides by its own rules about slow clients. While requests
    /// wait for their answers, the client reads on and holds up to 16 MiB of events, so that an
    /// application may wait for a call between two events.
    pub const fn drop_oldest(mut self) -> Self {
        self.parts.drops_oldest = true;
        self
    }

    /// Whether events that were missed while the connection was lost are fetched from the router's
    /// event history. Default: yes if the client reconnects.
    pub const fn catch_up(mut self, catches_up: bool) -> Self {
        self.parts.catches_up = Some(catches_up);
        self
    }

    /// Any option of SUBSCRIBE.
    pub fn option(mut self, key: &str, value: impl Into<Value>) -> Self {
        set(&mut self.parts.options, key, value.into());
        self
    }
}

impl IntoFuture for Subscribe<Client> {
    type Output = Result<Subscription, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(subscribe(self.client, self.parts))
    }
}

pub(crate) async fn subscribe(
    client: Client,
    parts: SubscribeParts,
) -> Result<Subscription, Error> {
    let sink = Arc::new(Sink {
        queue: Queue::new(parts.capacity, Arc::clone(&client.shared.space)),
        drops_oldest: parts.drops_oldest,
        dropped: AtomicU64::new(0),
    });
    let wish = SubscriptionWish {
        topic: parts.topic.into(),
        options: parts.options,
        sink: Arc::clone(&sink),
        catches_up: parts.catches_up.unwrap_or(client.shared.reconnects),
    };
    let local = client.shared.next_local();
    let (answer, result) = oneshot::channel();
    // From here on a drop unsubscribes.
    let mut subscription =
        Subscription { client, local, sink, id: None, is_left: false, dropped: 0, gaps: 0 };
    subscription.client.shared.command(Command::Subscribe { local, wish, answer }).await?;
    let id = result.await.unwrap_or(Err(Error::Closed { may_have_happened: true }))?;
    subscription.id = Some(id);
    Ok(subscription)
}

/// Events of one topic or pattern. Dropping it unsubscribes.
pub struct Subscription {
    client: Client,
    local: LocalId,
    sink: Arc<Sink>,
    id: Option<SubscriptionId>,
    is_left: bool,
    dropped: u64,
    gaps: u64,
}

impl Subscription {
    /// The next event; `None` when none follows: the session is over and there is no other.
    /// Passes over gaps, which [`Self::gaps`] counts: [`Self::next_item`] has them where they are.
    ///
    /// Cancel safe: dropped while it waits, no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let SubscriptionItem::Event(event) = self.next_item().await? {
                return Some(event);
            }
        }
    }

    /// The next event, or that some are missing; `None` when nothing follows.
    ///
    /// Cancel safe: dropped while it waits, nothing is lost.
    pub async fn next_item(&mut self) -> Option<SubscriptionItem> {
        if let Some(gap) = self.take_dropped() {
            return Some(gap);
        }
        let item = self.sink.queue.next().await;
        // What was dropped was older than what is here: it is told first, and this comes next.
        self.note(item)
    }

    /// The next event or gap that is there already.
    pub fn try_next_item(&mut self) -> Option<SubscriptionItem> {
        if let Some(gap) = self.take_dropped() {
            return Some(gap);
        }
        let item = self.sink.queue.try_next();
        self.note(item)
    }

    fn note(&mut self, item: Option<SubscriptionItem>) -> Option<SubscriptionItem> {
        if matches!(item, Some(SubscriptionItem::Gap(_))) {
            self.gaps += 1;
        }
        item
    }

    fn take_dropped(&mut self) -> Option<SubscriptionItem> {
        let dropped = self.sink.dropped.swap(0, Ordering::Relaxed);
        if dropped == 0 {
            return None;
        }
        self.dropped += dropped;
        self.gaps += 1;
        Some(SubscriptionItem::Gap(Gap::Dropped(dropped)))
    }

    /// How many gaps there were in what was taken so far.
    pub const fn gaps(&self) -> u64 {
        self.gaps
    }

    /// How many events were dropped in favour of newer ones, as far as it was told.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The id that the subscription got at first; it may have another one after a reconnect.
    pub const fn id(&self) -> Option<SubscriptionId> {
        self.id
    }

    /// Unsubscribes, and comes back when the router has done so.
    ///
    /// # Errors
    /// The connection was lost.
    pub async fn unsubscribe(mut self) -> Result<(), Error> {
        self.sink.queue.abandon();
        let (answer, result) = oneshot::channel();
        let local = self.local;
        self.client.shared.command(Command::Unsubscribe { local, answer }).await?;
        self.is_left = true;
        result.await.unwrap_or(Err(Error::Closed { may_have_happened: true }))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if !self.is_left {
            self.sink.queue.abandon();
            self.client.shared.control(Control::Unsubscribe { local: self.local });
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Events that wait for the application.
const EVENTS: usize = 1_024;
