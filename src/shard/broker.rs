//! SUBSCRIBE, UNSUBSCRIBE, PUBLISH, and the delivery of events to local receivers.

use std::cell::OnceCell;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::asking::Undecided;
use super::authorize::{Asked, Refused};
use super::connection::Connection;
use super::delivery::Outgoing;
use super::inbound::{Stop, Violation};
use super::mail::passthru_details;
use super::receivers::Receivers;
use super::work::{LOOKUP_UNITS, PATTERN_UNITS};
use super::{Event, EventHead, Mail, Shard};
use crate::authorization::{Action, Terms};
use crate::router::{
    Audience, Fanout, Fanouts, HISTORY, HeldCount, Horizon, MAX_WILDCARD_COMPONENTS, MetaTopic,
    Numbering, PublisherDisclosure, Realm, RealmSettings, RetainedEvent, SessionRef, ShardSet,
};
use crate::session::{Deciding, Membership, Session};
use crate::wamp::{
    Dict, Feature, MatchPolicy, Payload, PayloadBuf, PublicationId, Publish, PublishOptions,
    RequestId, Role, RouterMessage, Subscribe, SubscriptionId, WampError, code, is_reserved,
    is_valid_pattern, is_valid_uri,
};

/// Why a request is refused: the error and a sentence that says what to do.
pub(super) type Refusal = (WampError, &'static str);

impl Shard {
    pub(super) fn handle_subscribe(
        &mut self,
        slot: u32,
        subscribe: &Subscribe<'_>,
    ) -> Result<(), Stop> {
        let session =
            self.accept_request(slot, subscribe.request, Role::Subscriber, "SUBSCRIBE")?;
        let realm = Arc::clone(&session.realm);
        let held = session.subscriptions.len();
        let limits = &self.settings().limits;
        let policy = subscribe.options.match_policy;
        if let Err(refusal) = check_pattern(&realm, &subscribe.topic, policy, limits.uri_bytes) {
            self.refuse(slot, code::SUBSCRIBE, subscribe.request, refusal);
            return Ok(());
        }
        let asked = Asked(Action::Subscribe, &subscribe.topic);
        if let Err(denied) = self.authorize(slot, asked, policy) {
            let wait = |rule| {
                let options = subscribe.options.to_dict();
                Undecided::new(subscribe.request, rule, asked, policy, options)
            };
            let refused = Refused::Denied(denied).decided(wait)?;
            let answer = Some((code::SUBSCRIBE, subscribe.request));
            self.refuse_request(slot, answer, asked, refused);
            return Ok(());
        }
        let limits = &self.settings().limits;
        if held >= limits.subscriptions_per_session
            && !self.is_subscribed(slot, &realm, &subscribe.topic, policy)
        {
            self.refuse(slot, code::SUBSCRIBE, subscribe.request, TOO_MANY_SUBSCRIPTIONS);
            return Ok(());
        }
        // The join and SUBSCRIBED are one step, so no EVENT can come before it (BP-ORD-02).
        let joined = realm.topics.join(&subscribe.topic, policy, self.id, self.wall_clock);
        let Ok(joined) = joined else {
            self.refuse(slot, code::SUBSCRIBE, subscribe.request, TOO_MANY_SHAPES);
            return Ok(());
        };
        let subscription = joined.subscription;
        self.work.charge(LOOKUP_UNITS);
        let receivers = self
            .receivers
            .entry(subscription)
            .or_insert_with(|| Receivers::new(Arc::clone(&realm), &subscribe.topic, policy));
        let position = receivers.next_position();
        let session = self.connections[slot as usize].session_mut();
        let session = session.expect("the session was just looked up");
        let entry = session.subscriptions.entry(subscription);
        let joins = matches!(entry, Entry::Vacant(_));
        if let Entry::Vacant(entry) = entry {
            let horizon = Horizon { retained_until: 0, after_meta: joined.after_meta };
            entry.insert(Membership { position, horizon });
            receivers.horizon.widen(horizon);
            receivers.join(slot);
            self.counters.subscriptions.increment();
        }
        if joins {
            let joiner = SessionRef { session: session.id, slot, shard: self.id };
            let created = joined.created.map(|number| (number, &*subscribe.topic, policy));
            self.announce_subscription(&realm, joiner, subscription, created);
        }
        let request = subscribe.request;
        self.answer(slot, &RouterMessage::Subscribed { request, subscription });
        if subscribe.options.get_retained {
            self.send_retained(slot, subscription, joins);
        }
        Ok(())
    }

    /// Whether a session already holds the subscription.
    fn is_subscribed(&self, slot: u32, realm: &Realm, uri: &str, policy: MatchPolicy) -> bool {
        let session = self.connections[slot as usize].session();
        let found = realm.topics.look_up(uri, policy);
        session
            .zip(found)
            .is_some_and(|(session, found)| session.subscriptions.contains_key(&found.subscription))
    }

    pub(super) fn handle_unsubscribe(
        &mut self,
        slot: u32,
        request: RequestId,
        subscription: SubscriptionId,
    ) -> Result<(), Violation> {
        let session = self.accept_request(slot, request, Role::Subscriber, "UNSUBSCRIBE")?;
        let id = session.id;
        match session.subscriptions.remove(&subscription) {
            Some(membership) => {
                let leaver = SessionRef { session: id, slot, shard: self.id };
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
        let Some(session) = self.find_mut(subscriber) else { return };
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
        let listed = "a session's subscription has a receiver list";
        let realm = Arc::clone(&self.receivers.get(&subscription).expect(listed).realm);
        let names = || vec![leaver.session.get().into(), subscription.get().into()];
        let (on_unsubscribe, on_delete) =
            (MetaTopic::SubscriptionOnUnsubscribe, MetaTopic::SubscriptionOnDelete);
        self.work.charge(LOOKUP_UNITS);
        let receivers = self.receivers.get_mut(&subscription).expect(listed);
        let connections = &mut self.connections;
        receivers.leave(position, |slot, position| {
            let session = connections.get_mut(slot as usize).and_then(Connection::holder_mut);
            session
                .and_then(|session| session.subscriptions.get_mut(&subscription))
                .map(|held| held.position = position)
                .expect("a listed receiver holds the subscription");
        });
        self.counters.subscriptions.subtract(1);
        if !receivers.is_empty() {
            self.announce(&realm, leaver, on_unsubscribe, names);
            return;
        }
        let departure = realm.topics.leave(&receivers.uri, receivers.policy, self.id);
        self.receivers.remove(&subscription);
        self.announce_departure(&realm, leaver, departure, (on_unsubscribe, on_delete), names);
    }

    pub(super) fn handle_publish(
        &mut self,
        slot: u32,
        mut publish: Publish<'_>,
    ) -> Result<(), Stop> {
        let limit = self.settings().limits.uri_bytes;
        let mut deciding = self.deciding();
        let has_room = self.may_hold(publish.payload.weight());
        let session = self.accept_request(slot, publish.request, Role::Publisher, "PUBLISH")?;
        check_passthru(session, &publish.options)?;
        let checked = check_publish(session, &publish, limit, &mut deciding);
        match checked.and_then(|terms| if has_room { Ok(terms) } else { Err(TOO_MUCH_HELD.into()) })
        {
            Ok(terms) => {
                let author = Author::new(session, &mut publish.options, terms);
                self.work.charge(deciding.effort);
                self.publish(slot, author, &publish, None);
            }
            Err(refused) => {
                self.work.charge(deciding.effort);
                let (request, asked) = (publish.request, Asked(Action::Publish, &publish.topic));
                let options = || publish.options.to_dict();
                let wait =
                    |rule| Undecided::new(request, rule, asked, MatchPolicy::Exact, options());
                let refused = refused.decided(wait)?;
                self.counters.publications_refused.increment();
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
        slot: u32,
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
        slot: u32,
        author: Author,
        publish: &Publish<'_>,
        departed: Option<&Session>,
    ) {
        let Author { audience, details } = author;
        self.counters.publications.increment();
        let publication = PublicationId::from_random(self.random());
        // Whatever keeps the payload shares one copy of it.
        let copy = OnceCell::new();
        let copied = || PayloadBuf::clone(copy.get_or_init(|| publish.payload.to_buf()));
        // Stored before the subscriptions are looked up; see `router::retained`.
        let retained = publish.options.retain.then(|| {
            let (audience, details) = (audience.clone(), details.clone());
            let payload = copied();
            let event = RetainedEvent { publication, audience, details, payload };
            self.retain(slot, departed, &publish.topic, event)
        });
        // Borrowed: every shard would write to the count of the realm's references.
        let realm = &self.publisher(slot, departed).realm;
        let (mut fanouts, mut looked_up) = realm.topics.matches_counted(&publish.topic);
        if fanouts.iter().any(|fanout| fanout.shards.contains(HISTORY)) {
            let event = (publication, &audience, &details);
            let realm = Arc::clone(realm);
            self.record(&realm, publish, event, copied(), &fanouts);
            // Who joins from here on finds the event in the history; who joined before gets it.
            let (anew, more) = realm.topics.matches_counted(&publish.topic);
            (fanouts, looked_up) = (anew, looked_up + more);
        }
        if !self.records.is_empty() {
            self.deposit(slot, publish, publication);
        } else if publish.options.acknowledge {
            // Before the events, in case the publisher receives its own (BP-PUB-08).
            let request = publish.request;
            self.answer(slot, &RouterMessage::Published { request, publication });
        }
        let publisher = self.publisher(slot, departed).id;
        let publisher = Some(SessionRef { session: publisher, slot, shard: self.id });
        let numbering = retained.map_or(Numbering::None, Numbering::Retained);
        let cause = None;
        let head = EventHead { publication, publisher, cause, audience, numbering, details };
        let elsewhere = self.dispatch(head, &publish.topic, fanouts, publish.payload, copied);
        self.work.charge(PATTERN_UNITS * looked_up);
        if !elsewhere.is_empty() {
            self.mark_feeds(slot, elsewhere);
        }
    }

    /// The publisher of a publication: the session in `slot`, unless it has departed.
    pub(super) fn publisher<'a>(&'a self, slot: u32, departed: Option<&'a Session>) -> &'a Session {
        let publisher = departed.or_else(|| self.connections[slot as usize].session());
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
    ) -> ShardSet {
        let all = fanouts.iter().fold(ShardSet::default(), |all, fanout| all.union(fanout.shards));
        let mut elsewhere = all;
        elsewhere.remove(self.id);
        elsewhere.remove(HISTORY);
        self.work.charge(LOOKUP_UNITS + fanouts.len());
        if elsewhere.is_empty() {
            if all.contains(self.id) {
                let event = Outgoing { head: &head, topic, fanouts: &fanouts, payload };
                self.deliver_now(&event, |count| {
                    share(head.clone(), topic, fanouts.clone(), copied(), count)
                });
            }
            return elsewhere;
        }
        let event = share(head, topic, fanouts, copied(), self.router.held(self.id));
        self.work.charge_bytes(payload.weight());
        for shard in elsewhere.iter() {
            self.post(shard, Mail::Event(Arc::clone(&event)));
        }
        if all.contains(self.id) {
            let outgoing = Outgoing { payload, ..event.as_outgoing() };
            self.deliver_now(&outgoing, |_| Arc::clone(&event));
        }
        elsewhere
    }

    pub(super) fn mark_feeds(&mut self, slot: u32, shards: ShardSet) {
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.feeds = connection.feeds.union(shards);
        }
    }

    /// Queues an answer whose size and content cannot be a problem for any peer.
    pub(super) fn answer(&mut self, slot: u32, message: &RouterMessage<'_>) {
        let sent = self.send(slot, message);
        debug_assert_eq!(sent, Ok(()), "answers are small and plain");
    }

    /// Answers a request with ERROR and a sentence of explanation.
    pub(super) fn refuse(
        &mut self,
        slot: u32,
        request_type: u16,
        request: RequestId,
        why: Refusal,
    ) {
        let (error, explanation) = why;
        self.answer(
            slot,
            &RouterMessage::Error {
                request_type,
                request,
                details: &Dict::new(),
                error: error.uri(),
                payload: Payload::Values { args: &[explanation.into()], kwargs: &Dict::new() },
            },
        );
    }
}

/// A publication that outlives the message that it came in.
fn share(
    head: EventHead,
    topic: &str,
    fanouts: Fanouts,
    payload: PayloadBuf,
    count: &Arc<HeldCount>,
) -> Arc<Event> {
    let is_pattern = |fanout: &Fanout| fanout.policy != MatchPolicy::Exact;
    let topic = if fanouts.iter().any(is_pattern) { topic.into() } else { Box::default() };
    Arc::new(Event::new(head, topic, fanouts, payload, count))
}

/// What an event says of its publisher, the same for all subscriptions.
struct Author {
    audience: Audience,
    /// `EVENT.Details` without `topic`.
    details: Dict,
}

impl Author {
    #[inline]
    fn new(session: &Session, options: &mut PublishOptions, terms: Terms) -> Self {
        let filter = options.filter.take();
        let audience = Audience::new(options.exclude_me.then_some(session.id), filter);
        let details = event_details(session, options, terms);
        Self { audience, details }
    }
}

/// Every check of a PUBLISH that is answered with an ERROR.
#[inline]
fn check_publish(
    session: &mut Session,
    publish: &Publish<'_>,
    uri_bytes: usize,
    deciding: &mut Deciding,
) -> Result<Terms, Refused> {
    let (topic, exact) = (&*publish.topic, MatchPolicy::Exact);
    let permissions = &mut session.permissions;
    let terms = match permissions.recall(deciding.shard, Action::Publish, topic, exact) {
        // Only what is valid is remembered.
        Some(decided) => decided?,
        None => {
            check_topic(&session.realm, topic, uri_bytes)?;
            permissions.decide(deciding, Action::Publish, topic, exact)?
        }
    };
    check_disclosure(&session.realm.settings, &publish.options, terms)?;
    Ok(terms)
}

/// Whether clients may publish to `topic`, if they may publish at all.
pub(super) fn check_topic(realm: &Realm, topic: &str, uri_bytes: usize) -> Result<(), Refusal> {
    check_uri(realm, topic, uri_bytes)?;
    unreserved(topic)
}

/// Refuses payload passthru to a client that did not announce it (AP-PPT-03).
pub(super) fn check_passthru(session: &Session, options: &PublishOptions) -> Result<(), Violation> {
    let role = Role::Publisher;
    let used = options.passthru.as_ref().is_some_and(|passthru| passthru.is_mode());
    if used && !session.roles.has(role, Feature::PayloadPassthruMode) {
        return Err(Violation::PassthruNotAnnounced { message: "PUBLISH", role: role.as_str() });
    }
    Ok(())
}

/// Refuses a publisher that wants to be known where nobody may be (AP-PID-02).
pub(super) fn check_disclosure(
    settings: &RealmSettings,
    options: &PublishOptions,
    terms: Terms,
) -> Result<(), Refusal> {
    let is_forbidden = settings.publisher_disclosure == PublisherDisclosure::Forbid;
    if options.disclose_me && is_forbidden && !terms.discloses_publisher() {
        return Err((
            WampError::OptionDisallowedDiscloseMe,
            "publishers stay anonymous on this realm: publish without disclose_me",
        ));
    }
    Ok(())
}

/// `EVENT.Details` as far as it is the same for all subscriptions; without `topic`.
fn event_details(session: &Session, options: &mut PublishOptions, terms: Terms) -> Dict {
    let settings = &session.realm.settings;
    let mut details = passthru_details(options.passthru.take());
    let disclosed = match settings.publisher_disclosure {
        PublisherDisclosure::Allow => options.disclose_me,
        PublisherDisclosure::Forbid => false,
        PublisherDisclosure::Always => true,
    };
    if disclosed || terms.discloses_publisher() {
        let publisher = session.identity();
        details.push(("publisher".into(), publisher.session.get().into()));
        details.push(("publisher_authid".into(), publisher.authid.into()));
        details.push(("publisher_authrole".into(), publisher.authrole.into()));
    }
    if let Some(level) = terms.trustlevel() {
        details.push(("trustlevel".into(), level.into()));
    }
    details
}

/// Whether `uri` names one topic or procedure on this realm (BP-URI-06).
pub(super) fn check_uri(realm: &Realm, uri: &str, limit_bytes: usize) -> Result<(), Refusal> {
    if uri.len() > limit_bytes {
        return Err(URI_TOO_LONG);
    }
    if !is_valid_uri(uri, realm.settings.uri_rule) {
        return Err((WampError::InvalidUri, "the URI is not valid under this realm's URI rule"));
    }
    Ok(())
}

/// Whether `uri` may be subscribed or registered under `policy` on this realm.
pub(super) fn check_pattern(
    realm: &Realm,
    uri: &str,
    policy: MatchPolicy,
    limit_bytes: usize,
) -> Result<(), Refusal> {
    if uri.len() > limit_bytes {
        return Err(URI_TOO_LONG);
    }
    let components = uri.bytes().filter(|byte| *byte == b'.').count() + 1;
    if policy == MatchPolicy::Wildcard && components > MAX_WILDCARD_COMPONENTS {
        return Err((WampError::InvalidUri, "a wildcard pattern has at most 128 components"));
    }
    if !is_valid_pattern(uri, policy, realm.settings.uri_rule) {
        return Err((WampError::InvalidUri, "the URI is not valid for its matching policy"));
    }
    Ok(())
}

/// Refuses what belongs to the protocol (BP-URI-07).
pub(super) fn unreserved(uri: &str) -> Result<(), Refusal> {
    if is_reserved(uri) {
        return Err((WampError::InvalidUri, "URIs below `wamp` are reserved for the protocol"));
    }
    Ok(())
}

const URI_TOO_LONG: Refusal = (WampError::InvalidUri, "the URI is longer than this router accepts");
const NO_SUCH_SUBSCRIPTION: Refusal =
    (WampError::NoSuchSubscription, "this session does not hold that subscription");
pub(super) const TOO_MANY_SHAPES: Refusal = (
    WampError::ResourceLimit,
    "this realm has no room for one more pattern of this kind: shorten the prefix to 256 bytes, or \
     leave fewer components of the wildcard open",
);
const TOO_MUCH_HELD: Refusal = (
    WampError::ResourceLimit,
    "too much waits for its receivers, or for the store, to hold a publication of this size: try \
     again later, or publish less at once",
);
const TOO_MANY_SUBSCRIPTIONS: Refusal = (
    WampError::ResourceLimit,
    "this session holds as many subscriptions as the router allows per session",
);
