//! What an application wants in every session: its subscriptions and registrations.
//!
//! Invariant: who has an id of this session stands in the index under it, and nobody else does.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use stentor_protocol::wamp::{RegistrationId, SubscriptionId};

use super::seen::{Anchor, Seen};
use crate::command::{LocalId, RegistrationWish, Sink, SubscriptionWish};
use crate::event::{Event, SubscriptionItem};

/// In the order in which they were made.
#[derive(Default)]
pub(super) struct Tables {
    subscribers: BTreeMap<LocalId, Subscriber>,
    by_subscription: HashMap<SubscriptionId, Vec<LocalId>>,
    callees: BTreeMap<LocalId, Callee>,
    by_registration: HashMap<RegistrationId, LocalId>,
}

/// A subscription of the application.
pub(super) struct Subscriber {
    pub(super) wish: SubscriptionWish,
    /// In this session, if the router has said so.
    id: Option<SubscriptionId>,
    /// Of those who want to catch up.
    pub(super) seen: Option<Seen>,
    /// What was missed is being read.
    pub(super) catching: Option<Catching>,
}

/// A history that is being read, and what comes live meanwhile.
pub(super) struct Catching {
    pub(super) after: Anchor,
    pub(super) live: VecDeque<Event>,
    pub(super) live_bytes: usize,
    /// More came live than is held.
    pub(super) has_lost: bool,
    /// How often the history was asked anew.
    pub(super) rounds: u32,
}

/// A registration of the application.
pub(super) struct Callee {
    pub(super) wish: RegistrationWish,
    /// In this session, if the router has said so.
    id: Option<RegistrationId>,
    /// It was given back: what comes until the router has said so is still for it.
    is_leaving: bool,
}

impl Subscriber {
    pub(super) fn new(wish: SubscriptionWish) -> Self {
        let seen = wish.catches_up.then(Seen::default);
        Self { wish, id: None, seen, catching: None }
    }

    pub(super) const fn id(&self) -> Option<SubscriptionId> {
        self.id
    }
}

impl Tables {
    pub(super) fn add_subscriber(&mut self, local: LocalId, wish: SubscriptionWish) {
        self.subscribers.insert(local, Subscriber::new(wish));
    }

    pub(super) fn subscriber_mut(&mut self, local: LocalId) -> Option<&mut Subscriber> {
        self.subscribers.get_mut(&local)
    }

    pub(super) fn subscribers_mut(&mut self) -> impl Iterator<Item = (LocalId, &mut Subscriber)> {
        self.subscribers.iter_mut().map(|(local, subscriber)| (*local, subscriber))
    }

    pub(super) fn subscribers(&self) -> impl Iterator<Item = &Subscriber> {
        self.subscribers.values()
    }

    /// The router has given an id to a subscription; `false` if it is not wanted any more.
    pub(super) fn bind_subscriber(&mut self, local: LocalId, id: SubscriptionId) -> bool {
        let Some(subscriber) = self.subscribers.get_mut(&local) else { return false };
        debug_assert_eq!(subscriber.id, None, "a subscription is asked for once in a session");
        subscriber.id = Some(id);
        self.by_subscription.entry(id).or_default().push(local);
        true
    }

    pub(super) fn remove_subscriber(&mut self, local: LocalId) -> Option<Subscriber> {
        let subscriber = self.subscribers.remove(&local)?;
        if let Some(id) = subscriber.id
            && let Some(locals) = self.by_subscription.get_mut(&id)
        {
            locals.retain(|other| *other != local);
            if locals.is_empty() {
                self.by_subscription.remove(&id);
            }
        }
        Some(subscriber)
    }

    /// Who gets the events of a subscription of the session.
    pub(super) fn receivers(&self, id: SubscriptionId) -> &[LocalId] {
        self.by_subscription.get(&id).map_or(&[], Vec::as_slice)
    }

    pub(super) fn add_callee(&mut self, local: LocalId, wish: RegistrationWish) {
        self.callees.insert(local, Callee { wish, id: None, is_leaving: false });
    }

    pub(super) fn callees(&self) -> impl Iterator<Item = (LocalId, &Callee)> {
        self.callees.iter().map(|(local, callee)| (*local, callee))
    }

    pub(super) fn callee(&self, local: LocalId) -> Option<&Callee> {
        self.callees.get(&local)
    }

    pub(super) fn bind_callee(&mut self, local: LocalId, id: RegistrationId) -> bool {
        let Some(callee) = self.callees.get_mut(&local) else { return false };
        callee.id = Some(id);
        self.by_registration.insert(id, local);
        true
    }

    /// Gives the id that it had in this session.
    pub(super) fn remove_callee(&mut self, local: LocalId) -> Option<RegistrationId> {
        let id = self.callees.remove(&local)?.id?;
        self.by_registration.remove(&id);
        Some(id)
    }

    /// It is to be given back; see [`Self::let_go`]. Gives the id that it has in this session.
    pub(super) fn leave_callee(&mut self, local: LocalId) -> Option<RegistrationId> {
        match self.callees.get_mut(&local)?.id {
            Some(id) => {
                self.callees.get_mut(&local)?.is_leaving = true;
                Some(id)
            }
            None => self.remove_callee(local),
        }
    }

    /// The router has taken it back, or has nothing of the kind.
    pub(super) fn let_go(&mut self, id: RegistrationId) {
        let local = self.registered(id);
        if let Some(local) = local.filter(|local| self.callees[local].is_leaving) {
            self.remove_callee(local);
        }
    }

    pub(super) fn registered(&self, id: RegistrationId) -> Option<LocalId> {
        self.by_registration.get(&id).copied()
    }

    /// The session is over, and so are its ids; what was held for the end of a history will be in
    /// the history.
    pub(super) fn disconnect(&mut self) {
        self.by_subscription.clear();
        self.by_registration.clear();
        for subscriber in self.subscribers.values_mut() {
            subscriber.id = None;
            subscriber.catching = None;
        }
        self.callees.retain(|_, callee| !callee.is_leaving);
        self.callees.values_mut().for_each(|callee| callee.id = None);
    }

    /// Nothing follows, for anybody.
    pub(super) fn close(&mut self) {
        self.disconnect();
        for subscriber in std::mem::take(&mut self.subscribers).into_values() {
            subscriber.wish.sink.queue.close();
        }
        self.callees.clear();
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
