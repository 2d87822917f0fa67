//! Subscriptions that wait.

use std::sync::Arc;
use std::time::Duration;

use stentor_protocol::wamp::SubscriptionId;

use super::Client;
use super::runtime::Runtime;
use crate::error::Error;
use crate::event::{Event, SubscriptionItem};
use crate::subscription::{Subscribe, subscribe};

impl Subscribe<Client> {
    /// Subscribes, and waits until the router has done so.
    ///
    /// # Errors
    /// It cannot be sent, or is refused.
    pub fn send(self) -> Result<Subscription, Error> {
        let Self { client: Client { inner, runtime }, parts } = self;
        let inner = runtime.block_on(subscribe(inner, parts))?;
        Ok(Subscription { inner, runtime })
    }
}

/// Events of one topic or pattern, an iterator over them. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription {
    inner: crate::Subscription,
    runtime: Arc<Runtime>,
}

impl Subscription {
    /// The next event, within this time. `None` when none follows.
    ///
    /// # Errors
    /// [`Error::Timeout`]: there was none.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Event>, Error> {
        self.runtime.block_on(async {
            let next = tokio::time::timeout(timeout, self.inner.next());
            next.await.map_err(|_| Error::Timeout)
        })
    }

    /// The next event, or that some are missing; `None` when nothing follows.
    pub fn next_item(&mut self) -> Option<SubscriptionItem> {
        self.runtime.block_on(self.inner.next_item())
    }

    /// The same, within this time.
    ///
    /// # Errors
    /// [`Error::Timeout`]: there was nothing.
    pub fn next_item_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Option<SubscriptionItem>, Error> {
        self.runtime.block_on(async {
            let next = tokio::time::timeout(timeout, self.inner.next_item());
            next.await.map_err(|_| Error::Timeout)
        })
    }

    /// The next event or gap that is there already.
    pub fn try_next_item(&mut self) -> Option<SubscriptionItem> {
        self.inner.try_next_item()
    }

    /// How many gaps there were in what was taken so far.
    pub const fn gaps(&self) -> u64 {
        self.inner.gaps()
    }

    /// How many events were dropped in favour of newer ones, as far as it was told.
    pub const fn dropped(&self) -> u64 {
        self.inner.dropped()
    }

    /// The id that the subscription got at first; it may have another one after a reconnect.
    pub const fn id(&self) -> Option<SubscriptionId> {
        self.inner.id()
    }

    /// Unsubscribes, and waits until the router has done so.
    ///
    /// # Errors
    /// The connection was lost.
    pub fn unsubscribe(self) -> Result<(), Error> {
        self.runtime.block_on(self.inner.unsubscribe())
    }
}

/// Events until the session is over. Passes over gaps, which [`Subscription::gaps`] counts.
impl Iterator for Subscription {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.runtime.block_on(self.inner.next())
    }
}
