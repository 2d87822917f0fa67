//! Meta events: made where something happens, numbered, and published by the realm's home shard in
//! the order of their numbers (AP-META-01). See [`crate::router::MetaFeed`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::work::PATTERN_UNITS;
use super::super::{EventHead, Mail, Shard};
use super::details_of;
use crate::router::{Audience, Departure, Described, MetaTopic, Realm};
use crate::session::Session;
use crate::wamp::{
    Dict, InvokePolicy, MatchPolicy, Payload, PublicationId, RegistrationId, SessionId,
    SubscriptionId, Value, heap_block, vec_block,
};

/// A meta event on its way to the realm's home shard.
#[derive(Debug)]
pub struct MetaEvent {
    realm: Arc<Realm>,
    number: u64,
    topic: MetaTopic,
    args: Vec<Value>,
    /// The session that must not hear it: one does not see oneself join (AP-SMA-06).
    excluded: Option<SessionId>,
}

impl MetaEvent {
    /// Bytes of memory that it takes, in its box.
    pub(in crate::shard) fn weight(&self) -> usize {
        let args = self.args.iter().map(Value::heap_bytes).sum::<usize>();
        heap_block(size_of::<Self>()) + vec_block(&self.args) + args
    }
}

/// The meta events of one realm that wait for an earlier one, at its home shard.
#[derive(Debug, Default)]
pub(in crate::shard) struct EventOrder {
    next: u64,
    waiting: BTreeMap<u64, MetaEvent>,
}

impl EventOrder {
    /// Takes in an event, which may come before its turn.
    fn insert(&mut self, event: MetaEvent) {
        debug_assert!(event.number >= self.next, "a number is given once");
        self.waiting.insert(event.number, event);
    }

    /// The event whose turn it is, if it is here.
    fn pop(&mut self) -> Option<MetaEvent> {
        let event = self.waiting.remove(&self.next)?;
        self.next += 1;
        Some(event)
    }

    /// How many events have been published; `None` while some wait.
    pub(in crate::shard) fn published(&self) -> Option<u64> {
        self.waiting.is_empty().then_some(self.next)
    }
}

impl Shard {
    /// `wamp.session.on_join`.
    pub(in crate::shard) fn announce_join(&mut self, session: &Session) {
        let topic = MetaTopic::SessionOnJoin;
        let Some(number) = self.number(&session.realm, topic) else { return };
        let details = super::sessions::session_details(session.id, &session.profile);
        let (realm, args) = (Arc::clone(&session.realm), vec![Value::Dict(details)]);
        let excluded = Some(session.id);
        self.send_home(MetaEvent { realm, number, topic, args, excluded });
    }

    /// `wamp.session.on_leave`.
    pub(in crate::shard) fn announce_leave(&mut self, session: &Session) {
        let profile = &session.profile;
        let (authid, authrole) = ((&*profile.authid).into(), (&*profile.authrole).into());
        let args = || vec![session.id.get().into(), authid, authrole];
        self.announce(&session.realm, MetaTopic::SessionOnLeave, args);
    }

    /// `wamp.subscription.on_create`, with the number that the table gave, and `on_subscribe`.
    pub(in crate::shard) fn announce_subscription(
        &mut self,
        realm: &Arc<Realm>,
        session: SessionId,
        subscription: SubscriptionId,
        created: Option<(u64, &str, MatchPolicy)>,
    ) {
        if let Some((number, uri, policy)) = created {
            let details = details_of(subscription.get(), self.wall_clock, uri, policy);
            let args = vec![session.get().into(), Value::Dict(details)];
            self.announce_numbered(realm, MetaTopic::SubscriptionOnCreate, number, args);
        }
        let args = || vec![session.get().into(), subscription.get().into()];
        self.announce(realm, MetaTopic::SubscriptionOnSubscribe, args);
    }

    /// `wamp.registration.on_create`, with the number that the table gave, and `on_register`.
    pub(in crate::shard) fn announce_registration(
        &mut self,
        realm: &Arc<Realm>,
        session: SessionId,
        registration: RegistrationId,
        created: Option<(u64, &str, MatchPolicy, InvokePolicy)>,
    ) {
        if let Some((number, uri, policy, invoke)) = created {
            let (uri, invoke) = (uri.into(), Some(invoke));
            let created = self.wall_clock;
            let described = Described { uri, policy, invoke, created, after_meta: number };
            let details = super::registrations::registration_details(registration, &described);
            let args = vec![session.get().into(), Value::Dict(details)];
            self.announce_numbered(realm, MetaTopic::RegistrationOnCreate, number, args);
        }
        let args = || vec![session.get().into(), registration.get().into()];
        self.announce(realm, MetaTopic::RegistrationOnRegister, args);
    }

    /// `on_unsubscribe` or `on_unregister`, and perhaps `on_delete`, as the table numbered them.
    pub(in crate::shard) fn announce_departure(
        &mut self,
        realm: &Arc<Realm>,
        departure: Departure,
        (on_leave, on_delete): (MetaTopic, MetaTopic),
        args: impl Fn() -> Vec<Value>,
    ) {
        if let Some(number) = departure.left {
            self.announce_numbered(realm, on_leave, number, args());
        }
        if let Some(number) = departure.deleted {
            self.announce_numbered(realm, on_delete, number, args());
        }
    }

    /// A meta event that has no number yet; `args` is asked only if somebody listens.
    pub(in crate::shard) fn announce(
        &mut self,
        realm: &Arc<Realm>,
        topic: MetaTopic,
        args: impl FnOnce() -> Vec<Value>,
    ) {
        if let Some(number) = self.number(realm, topic) {
            self.announce_numbered(realm, topic, number, args());
        }
    }

    /// A meta event with the number that a table gave it.
    fn announce_numbered(
        &mut self,
        realm: &Arc<Realm>,
        topic: MetaTopic,
        number: u64,
        args: Vec<Value>,
    ) {
        let realm = Arc::clone(realm);
        self.send_home(MetaEvent { realm, number, topic, args, excluded: None });
    }

    /// While shutting down nobody is left to listen.
    fn number(&self, realm: &Realm, topic: MetaTopic) -> Option<u64> {
        if self.shutting_down { None } else { realm.feed.number(topic) }
    }

    fn send_home(&mut self, event: MetaEvent) {
        let home = event.realm.home(self.router.shard_count());
        if home == self.id {
            self.local_mail.push(Mail::Meta(Box::new(event)));
        } else {
            self.homebound.push((home, event));
        }
    }

    /// Puts meta events in the outboxes, once the event loop has sent what is in them: so what the
    /// same turn published before, such as testaments, is everywhere first (AP-SMA-05). `false` if
    /// there are none.
    pub fn release_meta_events(&mut self) -> bool {
        if self.homebound.is_empty() {
            return false;
        }
        for (home, event) in std::mem::take(&mut self.homebound) {
            self.post(home, Mail::Meta(Box::new(event)));
        }
        true
    }

    /// At the home shard: publishes every event whose turn has come.
    pub(in crate::shard) fn handle_meta_event(&mut self, event: MetaEvent) {
        let number = event.realm.number();
        debug_assert_eq!(event.realm.home(self.router.shard_count()), self.id);
        self.event_orders.entry(number).or_default().insert(event);
        while let Some(event) = self.event_orders.get_mut(&number).and_then(EventOrder::pop) {
            self.publish_meta_event(&event);
        }
    }

    fn publish_meta_event(&mut self, event: &MetaEvent) {
        let uri = event.topic.uri();
        let publication = PublicationId::from_random(self.random());
        let (mut fanouts, looked_up) = event.realm.topics.matches_counted(uri);
        self.work.charge(PATTERN_UNITS * looked_up);
        fanouts.retain(|fanout| {
            let after_meta = event.realm.topics.after_meta(fanout.subscription);
            after_meta.is_some_and(|after_meta| event.number >= after_meta)
        });
        let audience = Audience { excluded: event.excluded, lists: None };
        let (publisher, retained, details) = (None, None, Dict::new());
        let payload = Payload::Values { args: &event.args, kwargs: &Dict::new() };
        if !self.may_hold(payload.weight()) {
            self.counters.meta_events_dropped.increment();
            return;
        }
        let head = EventHead { publication, publisher, audience, retained, details };
        self.dispatch(head, uri, fanouts, payload, || payload.to_buf());
    }
}
