//! SUBSCRIBE, UNSUBSCRIBE and PUBLISH, up to the delivery of events to local receivers.

mod delivery;
mod elsewhere;
mod fan_out;
mod held;
mod history;
mod publication;
mod receivers;
mod retention;

use std::cell::OnceCell;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::asking::Undecided;
use super::authorize::{Asked, Refused};
use super::context::Context;
use super::requests::{Refusal, Stop, TOO_MANY_SHAPES, Violation, check_pattern};
use super::work::{LOOKUP_UNITS, PATTERN_UNITS};
use super::{EventHead, Mail, Shard};
use crate::authorization::{Action, Terms};
use crate::router::{
    Busyness, Destination, Destinations, Fanouts, Horizon, MetaTopic, Numbering, RetainedEvent,
    SessionRef, Slot, Stamp,
};
use crate::session::{Membership, Session};
use crate::wamp::{
    Feature, MatchPolicy, Payload, PayloadBuf, PublicationId, Publish, RequestId, Role,
    RouterMessage, Subscribe, SubscriptionId, WampError, code,
};
use fan_out::{destinations, share};
use publication::Author;
use receivers::Left;

pub use fan_out::{Publication, fan_out};
pub use retention::KeptAs;

pub(super) use delivery::{Outgoing, Place, Progress};
pub(super) use held::HeldDeliveries;
pub(super) use publication::{check_disclosure, check_passthru, check_topic};
pub(super) use receivers::{ReceiverLists, Receivers};

impl Shard {
    pub(super) fn handle_subscribe(
        &mut self,
        slot: Slot,
        subscribe: &Subscribe<'_>,
    ) -> Result<(), Stop> {
        let session = self.connections.joined_mut(slot);
        self.cx.accept(session, subscribe.request, Role::Subscriber, "SUBSCRIBE")?;
        let (topic, policy) = (&*subscribe.topic, subscribe.options.match_policy);
        if let Err(refused) = check_subscribe(&mut self.cx, session, subscribe) {
            let asked = Asked(Action::Subscribe, topic);
            let wait = |rule| {
                let options = subscribe.options.to_dict();
                Undecided::new(subscribe.request, rule, asked, policy, options)
            };
            let refused = refused.decided(wait)?;
            self.refuse_request(slot, Some((code::SUBSCRIBE, subscribe.request)), asked, refused);
            return Ok(());
        }
        let realm = Arc::clone(&session.realm);
        // The join and SUBSCRIBED are one step, so no EVENT can come before it (BP-ORD-02).
        let joined = realm.topics.join(topic, policy, self.cx.id, self.cx.wall_clock);
        let Ok(joined) = joined else {
            self.refuse(slot, code::SUBSCRIBE, subscribe.request, TOO_MANY_SHAPES);
            return Ok(());
        };
        let subscription = joined.subscription;
        self.cx.work.charge(LOOKUP_UNITS);
        let entry = session.subscriptions.entry(subscription);
        let joins = matches!(entry, Entry::Vacant(_));
        if let Entry::Vacant(entry) = entry {
            let horizon = Horizon { retained_until: 0, after_meta: joined.after_meta };
            let list = || Receivers::new(Arc::clone(&realm), topic, policy);
            let position = self.receivers.join(subscription, slot, horizon, list);
            entry.insert(Membership { position, horizon });
            self.cx.counters.subscriptions.increment();
            let joiner = self.cx.reference(slot, session.id);
            let created = joined.created.map(|number| (number, topic, policy));
            self.announce_subscription(&realm, joiner, subscription, created);
        }
        if joins {
            self.want(slot, &realm, policy, topic);
        }
        let request = subscribe.request;
        self.answer(slot, &RouterMessage::Subscribed { request, subscription });
        if subscribe.options.get_retained {
            self.send_retained(slot, subscription, joins);
        }
        Ok(())
    }

    pub(super) fn handle_unsubscribe(
        &mut self,
        slot: Slot,
        request: RequestId,
        subscription: SubscriptionId,
    ) -> Result<(), Violation> {
        let session = self.connections.joined_mut(slot);
        self.cx.accept(session, request, Role::Subscriber, "UNSUBSCRIBE")?;
        match session.subscriptions.remove(&subscription) {
            Some(membership) => {
                let leaver = self.cx.reference(slot, session.id);
                self.leave_subscription(leaver, subscription, membership.position);
                self.answer(slot, &RouterMessage::Unsubscribed { request });
            }
            None => self.refuse(slot, code::UNSUBSCRIBE, request, NO_SUCH_SUBSCRIPTION),
        }
        Ok(())
    }

    /// Ends a subscription of a session of this shard, and says so if the client would understand
    /// (AP-REVS-01). Without effect if the session or its subscription has gone meanwhile.
    pub(super) fn handle_revoke(
        &mut self,
        subscriber: SessionRef,
        subscription: SubscriptionId,
        reason: Option<&str>,
    ) {
        let Some(session) = self.connections.find_mut(subscriber) else { return };
        let announced = session.roles.has(Role::Subscriber, Feature::SubscriptionRevocation);
        let Some(membership) = session.subscriptions.remove(&subscription) else { return };
        self.leave_subscription(subscriber, subscription, membership.position);
        if !announced {
            return;
        }
        let mut details = vec![("subscription".into(), subscription.get().into())];
        details.extend(reason.map(|reason| ("reason".into(), reason.into())));
        if self.send(subscriber.slot, &RouterMessage::Revoked { details: &details }).is_err() {
            details.truncate(1);
            self.answer(subscriber.slot, &RouterMessage::Revoked { details: &details });
        }
    }

    /// Takes a session, which stands at `position`, out of a subscription's list.
    pub(super) fn leave_subscription(
        &mut self,
        leaver: SessionRef,
        subscription: SubscriptionId,
        position: u32,
    ) {
        let names = || vec![leaver.session.get().into(), subscription.get().into()];
        let (on_unsubscribe, on_delete) =
            (MetaTopic::SubscriptionOnUnsubscribe, MetaTopic::SubscriptionOnDelete);
        self.cx.work.charge(LOOKUP_UNITS);
        let connections = &mut self.connections;
        let left = self.receivers.leave(subscription, position, |slot, position| {
            connections.note_position(slot, subscription, position);
        });
        self.cx.counters.subscriptions.subtract(1);
        match left {
            Left::Others(realm) => self.announce(&realm, leaver, on_unsubscribe, names),
            Left::Nobody(list) => {
                let departure = list.realm.topics.leave(&list.uri, list.policy, self.cx.id);
                let topics = (on_unsubscribe, on_delete);
                self.announce_departure(&list.realm, leaver, departure, topics, names);
            }
        }
    }

    pub(super) fn handle_publish(
        &mut self,
        slot: Slot,
        mut publish: Publish<'_>,
    ) -> Result<(), Stop> {
        let session = self.connections.joined_mut(slot);
        self.cx.accept(session, publish.request, Role::Publisher, "PUBLISH")?;
        check_passthru(session, &publish.options)?;
        match self.cx.check_publish(session, &publish) {
            Ok(terms) => {
                let author = Author::new(session, &mut publish.options, terms);
                self.publish(slot, author, &publish, None);
            }
            Err(refused) => {
                let (request, asked) = (publish.request, Asked(Action::Publish, &publish.topic));
                let (exact, options) = (MatchPolicy::Exact, || publish.options.to_dict());
                let wait = |rule| Undecided::new(request, rule, asked, exact, options());
                let refused = refused.decided(wait)?;
                self.cx.counters.publications_refused.increment();
                let acknowledges = publish.options.acknowledge;
                let answer = acknowledges.then_some((code::PUBLISH, request));
                self.refuse_request(slot, answer, asked, refused);
            }
        }
        Ok(())
    }

    /// Publishes in the name of a session that is not in its slot any more (AP-TES-04).
    #[cold]
    pub(super) fn publish_for(
        &mut self,
        slot: Slot,
        session: &Session,
        mut publish: Publish<'_>,
        terms: Terms,
    ) {
        publish.options.acknowledge = false;
        let author = Author::new(session, &mut publish.options, terms);
        self.publish(slot, author, &publish, Some(session));
    }

    /// Routes a publication that nothing refuses. `departed` is the publisher if its slot does not
    /// hold it any more.
    #[inline]
    fn publish(
        &mut self,
        slot: Slot,
        author: Author,
        publish: &Publish<'_>,
        departed: Option<&Session>,
    ) {
        let Author { audience, details } = author;
        self.cx.counters.publications.increment();
        if !self.cx.census.passes(Busyness::Publications, 1) {
            let realm = Arc::clone(&self.publisher(slot, departed).realm);
            self.cx.look_at(Busyness::Publications, &realm, &publish.topic, 1);
        }
        let publication = PublicationId::from_random(self.cx.random());
        // Whatever keeps the payload shares one copy of it.
        let copy = OnceCell::new();
        let copied = || PayloadBuf::clone(copy.get_or_init(|| publish.payload.to_buf()));
        // Stored before the subscriptions are looked up; see `router::retained`.
        let retained = publish.options.retain.then(|| {
            let (audience, details) = (audience.clone(), details.clone());
            let stamp = Stamp { at: self.cx.wall_clock, node: self.cx.router.ids().node() };
            let (publisher, payload) = (self.left_out(slot, departed, &audience), copied());
            let event = RetainedEvent { publication, stamp, audience, publisher, details, payload };
            self.retain(slot, departed, &publish.topic, event)
        });
        // Borrowed: every shard would write to the count of the realm's references.
        let realm = &self.publisher(slot, departed).realm;
        let (mut fanouts, mut looked_up) = realm.topics.matches_counted(&publish.topic);
        if fanouts.iter().any(|fanout| fanout.to.contains(Destination::Store)) {
            let event = (publication, &audience, &details);
            let realm = Arc::clone(realm);
            self.record(&realm, publish, event, copied(), &fanouts);
            // Who joins from here on finds the event in the history; who joined before gets it.
            let (anew, more) = realm.topics.matches_counted(&publish.topic);
            (fanouts, looked_up) = (anew, looked_up + more);
        }
        if self.cx.deposits.has_records() {
            self.deposit(slot, publish, publication);
        } else if publish.options.acknowledge {
            // Before the events, in case the publisher receives its own (BP-PUB-08).
            let request = publish.request;
            self.answer(slot, &RouterMessage::Published { request, publication });
        }
        let publisher = self.publisher(slot, departed).id;
        let publisher = Some(self.cx.reference(slot, publisher));
        let numbering = retained.as_ref().map_or(Numbering::None, |kept| kept.numbering);
        let (cause, traced) = (None, self.cx.traces.mark);
        let head =
            EventHead { publication, publisher, cause, audience, numbering, traced, details };
        let mut elsewhere = Destinations::default();
        if self.cx.router.interest().is_some() {
            let realm = Arc::clone(&self.publisher(slot, departed).realm);
            elsewhere = self.publish_elsewhere(&realm, &publish.topic, &head, retained, copied);
        }
        let here = self.dispatch(head, &publish.topic, fanouts, publish.payload, copied);
        let elsewhere = elsewhere.union(here);
        self.cx.work.charge(PATTERN_UNITS * looked_up);
        if !elsewhere.is_empty() {
            self.mark_feeds(slot, elsewhere);
        }
    }

    /// The publisher of a publication: the session in `slot`, unless it has departed.
    pub(super) fn publisher<'a>(
        &'a self,
        slot: Slot,
        departed: Option<&'a Session>,
    ) -> &'a Session {
        let publisher = departed.or_else(|| self.connections[slot].session());
        publisher.expect("the publisher is here")
    }

    /// Hands a publication to every shard that has receivers, this one included. Returns the
    /// others. `copied` gives the payload to whoever keeps it longer.
    #[inline]
    pub(super) fn dispatch(
        &mut self,
        head: EventHead,
        topic: &str,
        fanouts: Fanouts,
        payload: Payload<'_>,
        copied: impl Fn() -> PayloadBuf,
    ) -> Destinations {
        let all = destinations(&fanouts);
        let mut elsewhere = all.with_sessions();
        elsewhere.remove(self.cx.id);
        self.cx.traces.published = Some((head.publication, all));
        self.cx.work.charge(LOOKUP_UNITS + fanouts.len());
        if elsewhere.is_empty() {
            if all.contains(self.cx.id) {
                let event = Outgoing { head: &head, topic, fanouts: &fanouts, payload };
                self.deliver_now(&event, |count| {
                    share(head.clone(), topic, fanouts.clone(), copied(), count)
                });
            }
            return elsewhere;
        }
        let event = share(head, topic, fanouts, copied(), self.cx.held());
        self.cx.work.charge_bytes(payload.weight());
        for shard in elsewhere.shards() {
            self.cx.post.send(shard, Mail::Event(Arc::clone(&event)));
        }
        if all.contains(self.cx.id) {
            let outgoing = Outgoing { payload, ..event.as_outgoing() };
            self.deliver_now(&outgoing, |_| Arc::clone(&event));
        }
        elsewhere
    }

    pub(super) fn mark_feeds(&mut self, slot: Slot, destinations: Destinations) {
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.feeds = connection.feeds.union(destinations);
        }
    }
}

/// Every check that can refuse a subscription: pattern, permission, then limits.
fn check_subscribe(
    cx: &mut Context,
    session: &mut Session,
    subscribe: &Subscribe<'_>,
) -> Result<(), Refused> {
    let (topic, policy) = (&*subscribe.topic, subscribe.options.match_policy);
    check_pattern(&session.rules, topic, policy, cx.limits().uri_bytes)?;
    cx.authorize(session, Asked(Action::Subscribe, topic), policy)?;
    if session.subscriptions.len() >= cx.limits().subscriptions_per_session {
        let found = session.realm.topics.look_up(topic, policy);
        if !found.is_some_and(|found| session.subscriptions.contains_key(&found.subscription)) {
            return Err(TOO_MANY_SUBSCRIPTIONS.into());
        }
    }
    Ok(())
}

const NO_SUCH_SUBSCRIPTION: Refusal =
    (WampError::NoSuchSubscription, "this session does not hold that subscription");
const TOO_MANY_SUBSCRIPTIONS: Refusal = (
    WampError::ResourceLimit,
    "this session holds as many subscriptions as the router allows per session",
);
