//! Meta events: made where something happens, numbered, and published by the realm's home shard in
//! the order of their numbers (AP-META-01). See [`crate::router::MetaFeed`].

use std::sync::Arc;

use super::super::work::{LOOKUP_UNITS, PATTERN_UNITS};
use super::super::{EventHead, MetaEvent, Shard};
use super::details_of;
use crate::router::{
    Audience, Departure, Described, Destinations, HeldCount, MetaFamily, MetaTopic, Notice,
    Numbering, Realm, SessionRef, Slot,
};
use crate::session::Session;
use crate::wamp::{
    Dict, InvokePolicy, MatchPolicy, Payload, PublicationId, RegistrationId, SubscriptionId, Value,
};

impl MetaEvent {
    /// What a table has numbered, for the home shard of its realm; from outside of all shards. What
    /// is known of the registration is told if it is new. `count` is that of whoever makes it.
    pub fn of_notice(
        realm: &Arc<Realm>,
        notice: &Notice,
        described: &Described,
        count: &Arc<HeldCount>,
    ) -> Self {
        Self {
            realm: Arc::clone(realm),
            number: notice.number,
            topic: notice.topic,
            args: args_of_notice(notice, Some(described)),
            excluded: None,
            cause: notice.callee,
            is_quiet: false,
            _unheard: count.hold_meta_event(),
        }
    }
}

fn args_of_notice(notice: &Notice, described: Option<&Described>) -> Vec<Value> {
    let Notice { topic, registration, callee, .. } = *notice;
    let about = match (topic, described) {
        (MetaTopic::RegistrationOnCreate, Some(described)) => {
            Value::Dict(super::registrations::registration_details(registration, described))
        }
        _ => registration.get().into(),
    };
    vec![callee.session.get().into(), about]
}

impl Shard {
    /// `wamp.session.on_join`.
    pub(in crate::shard) fn announce_join(&mut self, slot: Slot, session: &Session) {
        let topic = MetaTopic::SessionOnJoin;
        let Some(number) = session.realm.feed.number(topic) else { return };
        let details = super::sessions::session_details(session.id, &session.profile);
        let (realm, args) = (Arc::clone(&session.realm), vec![Value::Dict(details)]);
        let excluded = Some(session.id);
        let cause = self.cx.reference(slot, session.id);
        let _unheard = self.cx.held().hold_meta_event();
        let is_quiet = false;
        let event = MetaEvent { realm, number, topic, args, excluded, cause, is_quiet, _unheard };
        self.send_home(event);
    }

    /// `wamp.session.on_leave`.
    pub(in crate::shard) fn announce_leave(&mut self, slot: Slot, session: &Session) {
        let profile = &session.profile;
        let (authid, authrole) = ((&*profile.authid).into(), (&*profile.authrole).into());
        let args = || match session.rules.settings.disclose_leavers {
            true => vec![session.id.get().into(), authid, authrole],
            false => vec![session.id.get().into()],
        };
        let leaver = self.cx.reference(slot, session.id);
        self.announce(&session.realm, leaver, MetaTopic::SessionOnLeave, args);
    }

    /// A session has left of which nobody is to hear that (AP-SMA-03): other nodes that know of it
    /// are told.
    pub(in crate::shard) fn note_leave(&mut self, slot: Slot, session: &Session) {
        let (topic, realm) = (MetaTopic::SessionOnLeave, &session.realm);
        let is_known = realm.feed.is_wanted(MetaFamily::Sessions);
        let Some(number) = is_known.then(|| realm.feed.number(topic)).flatten() else { return };
        let (realm, args) = (Arc::clone(realm), vec![session.id.get().into()]);
        let (excluded, is_quiet) = (None, true);
        let cause = self.cx.reference(slot, session.id);
        let _unheard = self.cx.held().hold_meta_event();
        let event = MetaEvent { realm, number, topic, args, excluded, cause, is_quiet, _unheard };
        self.send_home(event);
    }

    /// `wamp.subscription.on_create`, with the number that the table gave, and `on_subscribe`.
    pub(in crate::shard) fn announce_subscription(
        &mut self,
        realm: &Arc<Realm>,
        session: SessionRef,
        subscription: SubscriptionId,
        created: Option<(u64, &str, MatchPolicy)>,
    ) {
        if let Some((number, uri, policy)) = created {
            let details = details_of(subscription.get(), self.cx.wall_clock, uri, policy);
            let args = vec![session.session.get().into(), Value::Dict(details)];
            self.announce_numbered(realm, session, MetaTopic::SubscriptionOnCreate, number, args);
        }
        let args = || vec![session.session.get().into(), subscription.get().into()];
        self.announce(realm, session, MetaTopic::SubscriptionOnSubscribe, args);
    }

    /// `wamp.registration.on_create`, with the number that the table gave, and `on_register`.
    pub(in crate::shard) fn announce_registration(
        &mut self,
        realm: &Arc<Realm>,
        session: SessionRef,
        registration: RegistrationId,
        created: Option<(u64, &str, MatchPolicy, InvokePolicy)>,
    ) {
        if let Some((number, uri, policy, invoke)) = created {
            let (uri, invoke) = (uri.into(), Some(invoke));
            let created = self.cx.wall_clock;
            let described = Described { uri, policy, invoke, created };
            let details = super::registrations::registration_details(registration, &described);
            let args = vec![session.session.get().into(), Value::Dict(details)];
            self.announce_numbered(realm, session, MetaTopic::RegistrationOnCreate, number, args);
        }
        let args = || vec![session.session.get().into(), registration.get().into()];
        self.announce(realm, session, MetaTopic::RegistrationOnRegister, args);
    }

    /// What a table has numbered, with what is known of a registration that is new.
    pub(in crate::shard) fn announce_notice(
        &mut self,
        realm: &Arc<Realm>,
        cause: SessionRef,
        notice: &Notice,
        described: Option<&Described>,
    ) {
        let args = args_of_notice(notice, described);
        self.announce_numbered(realm, cause, notice.topic, notice.number, args);
    }

    /// `on_unsubscribe` or `on_unregister`, and perhaps `on_delete`, as the table numbered them.
    pub(in crate::shard) fn announce_departure(
        &mut self,
        realm: &Arc<Realm>,
        leaver: SessionRef,
        departure: Departure,
        (on_leave, on_delete): (MetaTopic, MetaTopic),
        args: impl Fn() -> Vec<Value>,
    ) {
        if let Some(number) = departure.left {
            self.announce_numbered(realm, leaver, on_leave, number, args());
        }
        if let Some(number) = departure.deleted {
            self.announce_numbered(realm, leaver, on_delete, number, args());
        }
    }

    /// A meta event that has no number yet; `args` is asked only if somebody listens.
    pub(in crate::shard) fn announce(
        &mut self,
        realm: &Arc<Realm>,
        cause: SessionRef,
        topic: MetaTopic,
        args: impl FnOnce() -> Vec<Value>,
    ) {
        if let Some(number) = realm.feed.number(topic) {
            self.announce_numbered(realm, cause, topic, number, args());
        }
    }

    /// A meta event with the number that a table gave it.
    fn announce_numbered(
        &mut self,
        realm: &Arc<Realm>,
        cause: SessionRef,
        topic: MetaTopic,
        number: u64,
        args: Vec<Value>,
    ) {
        let (realm, excluded) = (Arc::clone(realm), None);
        let _unheard = self.cx.held().hold_meta_event();
        let is_quiet = false;
        let event = MetaEvent { realm, number, topic, args, excluded, cause, is_quiet, _unheard };
        self.send_home(event);
    }

    fn send_home(&mut self, event: MetaEvent) {
        let home = event.realm.home(self.cx.router.shard_count());
        self.cx.work.note_announced();
        if home != self.cx.id {
            self.mark_feeds(event.cause.slot, Destinations::only(home));
        }
        self.cx.post.send_home(home, event);
    }

    /// At the home shard: publishes the events whose turn has come, as far as the step allows. One
    /// that was late may bring the turn of thousands. Returns the weight that its mail still counts
    /// for; [`EventOrders::take_done_bytes`](super::EventOrders) tells when it does not.
    pub(in crate::shard) fn handle_meta_event(&mut self, event: MetaEvent) -> usize {
        let realm = event.realm.number();
        // What shards have for themselves does not queue between them.
        let weight = if event.cause.shard == self.cx.id { 0 } else { event.weight() };
        debug_assert_eq!(event.realm.home(self.cx.router.shard_count()), self.cx.id);
        let wait = self.unheard.begin(event.cause, &mut self.cx.post);
        self.event_orders.insert(event, weight, wait);
        self.publish_meta_events(realm);
        weight
    }

    /// Goes on with the meta events of one realm whose turn had come in an earlier step.
    pub(in crate::shard) fn go_on_announcing(&mut self) {
        if let Some(realm) = self.event_orders.resume() {
            self.publish_meta_events(realm);
        }
    }

    fn publish_meta_events(&mut self, realm: usize) {
        while !self.cx.work.is_step_over() {
            let Some((event, wait)) = self.event_orders.pop(realm) else { return };
            self.cx.work.charge(LOOKUP_UNITS);
            self.publish_meta_event(event);
            self.unheard.end(wait, &mut self.cx.post);
        }
        self.event_orders.interrupt(realm);
    }

    fn publish_meta_event(&mut self, event: MetaEvent) {
        let (realm, topic) = (&event.realm, event.topic);
        if !self.cx.settings().rosters {
            return self.publish_event(&event);
        }
        if topic.family().is_some_and(|family| realm.feed.is_wanted(family)) {
            self.tell_elsewhere(realm, topic, (event.cause.session, &event.args), event.is_quiet);
        }
        if !event.is_quiet
            && let Some(event) = self.take_news(event)
        {
            self.publish_event(&event);
        }
    }

    /// To those of this node that listen.
    pub(super) fn publish_event(&mut self, event: &MetaEvent) {
        let MetaEvent { realm, number, topic, args, excluded, cause, .. } = event;
        let audience = Audience { excluded: *excluded, lists: None };
        let numbered = (audience, Numbering::Meta(*number));
        self.publish_to_listeners(realm, *topic, *cause, args, numbered);
    }

    /// A meta event that no feed of this node has numbered.
    pub(super) fn publish_about(
        &mut self,
        realm: &Realm,
        topic: MetaTopic,
        cause: SessionRef,
        args: &[Value],
    ) {
        let unnumbered = (Audience::default(), Numbering::None);
        self.publish_to_listeners(realm, topic, cause, args, unnumbered);
    }

    fn publish_to_listeners(
        &mut self,
        realm: &Realm,
        topic: MetaTopic,
        cause: SessionRef,
        args: &[Value],
        (audience, numbering): (Audience, Numbering),
    ) {
        let uri = topic.uri();
        let publication = PublicationId::from_random(self.cx.random());
        let (fanouts, looked_up) = realm.topics.matches_counted(uri);
        self.cx.work.charge(PATTERN_UNITS * looked_up);
        let payload = Payload::Values { args, kwargs: &Dict::new() };
        if !self.cx.may_hold(payload.weight()) {
            self.cx.counters.meta_events_dropped.increment();
            return;
        }
        let (publisher, cause, details) = (None, Some(cause), Dict::new());
        let traced = 0;
        let head =
            EventHead { publication, publisher, cause, audience, numbering, traced, details };
        self.dispatch(head, uri, fanouts, payload, || payload.to_buf());
    }
}
