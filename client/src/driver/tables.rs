//! What an application wants in every session: its subscriptions and registrations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use stentor_protocol::wamp::{RegistrationId, SubscriptionId};

use crate::command::{LocalId, RegistrationWish, Sink, SubscriptionWish};
use crate::event::SubscriptionItem;

/// In the order in which they were made.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) subscribers: BTreeMap<LocalId, Subscriber>,
    pub(super) callees: BTreeMap<LocalId, Callee>,
}

/// A subscription of the application.
pub(super) struct Subscriber {
    pub(super) wish: SubscriptionWish,
    /// In this session, if the router has said so.
    pub(super) id: Option<SubscriptionId>,
}

/// A registration of the application.
pub(super) struct Callee {
    pub(super) wish: RegistrationWish,
    /// In this session, if the router has said so.
    pub(super) id: Option<RegistrationId>,
}

impl Tables {
    /// Nothing follows, for anybody.
    pub(super) fn close(&mut self) {
        for subscriber in self.subscribers.values() {
            subscriber.wish.sink.queue.close();
        }
        self.subscribers.clear();
        self.callees.clear();
    }

    /// Who gets the events of a subscription of the session.
    pub(super) fn receivers(&self, id: SubscriptionId) -> impl Iterator<Item = LocalId> {
        let ours = move |(local, subscriber): (&LocalId, &Subscriber)| {
            (subscriber.id == Some(id)).then_some(*local)
        };
        self.subscribers.iter().filter_map(ours)
    }

    pub(super) fn callee(&self, id: RegistrationId) -> Option<&Callee> {
        self.callees.values().find(|callee| callee.id == Some(id))
    }
}

/// Gives an item to its reader; gives it back if that must wait.
pub(super) fn offer(sink: &Arc<Sink>, item: SubscriptionItem) -> Result<(), SubscriptionItem> {
    if !sink.drops_oldest {
        return sink.queue.push(item);
    }
    if sink.queue.push_over_oldest(item) {
        sink.dropped.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
