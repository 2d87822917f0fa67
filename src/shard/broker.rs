//! SUBSCRIBE, UNSUBSCRIBE, PUBLISH, and the delivery of events to local receivers.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::connection::Connection;
use super::input::Violation;
use super::mail::passthru_details;
use super::{Event, EventHead, Mail, SendError, Shard};
use crate::codec::Codec;
use crate::router::{
    Audience, Fanout, HISTORY, MAX_WILDCARD_COMPONENTS, MetaTopic, PublisherDisclosure, Realm,
    RealmSettings, RetainedEvent, SessionRef, ShardSet,
};
use crate::session::{Membership, Session};
use crate::transport::{Class, Framing, Span};
use crate::wamp::{
    Dict, Feature, MatchPolicy, Payload, PublicationId, Publish, PublishOptions, RequestId, Role,
    RouterMessage, SessionId, Subscribe, SubscriptionId, WampError, code, is_reserved,
    is_valid_pattern, is_valid_uri,
};

/// The local receivers of one subscription, and what it is for.
///
/// Invariant: never empty; the shard's bit in the topic table is set exactly while it exists.
#[derive(Debug)]
pub(super) struct Receivers {
    pub(super) realm: Arc<Realm>,
    pub(super) uri: Box<str>,
    pub(super) policy: MatchPolicy,
    /// Each session of the list holds its own position in it.
    pub(super) slots: Vec<u32>,
    /// No session of the list has got retained events with a higher number (AP-RET-07).
    pub(super) retained_until: u64,
}

/// Why a request is refused: the error and a sentence that says what to do.
pub(super) type Refusal = (WampError, &'static str);

impl Shard {
    pub(super) fn handle_subscribe(
        &mut self,
        slot: u32,
        subscribe: &Subscribe<'_>,
    ) -> Result<(), Violation> {
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
        if held >= limits.subscriptions_per_session
            && !self.is_subscribed(slot, &subscribe.topic, policy)
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
        let receivers = self.receivers.entry(subscription).or_insert_with(|| Receivers {
            realm: Arc::clone(&realm),
            uri: subscribe.topic.as_ref().into(),
            policy,
            slots: Vec::new(),
            retained_until: 0,
        });
        let position = u32::try_from(receivers.slots.len()).expect("slots are 32 bits");
        let session = self.connections[slot as usize].session_mut();
        let session = session.expect("the session was just looked up");
        let entry = session.subscriptions.entry(subscription);
        let joins = matches!(entry, Entry::Vacant(_));
        if let Entry::Vacant(entry) = entry {
            entry.insert(Membership { position, retained_until: 0 });
            receivers.slots.push(slot);
            self.counters.subscriptions.increment();
        }
        if joins {
            let id = session.id;
            let created = joined.created.map(|number| (number, &*subscribe.topic, policy));
            self.announce_subscription(&realm, id, subscription, created);
        }
        let request = subscribe.request;
        self.answer(slot, &RouterMessage::Subscribed { request, subscription });
        if subscribe.options.get_retained {
            self.send_retained(slot, subscription, joins);
        }
        Ok(())
    }

    /// Whether a session already holds the subscription. Slow: only asked at the limit.
    fn is_subscribed(&self, slot: u32, uri: &str, policy: MatchPolicy) -> bool {
        let session = self.connections[slot as usize].session();
        session.is_some_and(|session| {
            session.subscriptions.keys().any(|subscription| {
                let receivers = &self.receivers[subscription];
                receivers.policy == policy && *receivers.uri == *uri
            })
        })
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
                self.leave_subscription(id, subscription, membership.position);
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
        self.leave_subscription(subscriber.session, subscription, membership.position);
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
        leaver: SessionId,
        subscription: SubscriptionId,
        position: u32,
    ) {
        let listed = "a session's subscription has a receiver list";
        let realm = Arc::clone(&self.receivers.get(&subscription).expect(listed).realm);
        let names = || vec![leaver.get().into(), subscription.get().into()];
        let (on_unsubscribe, on_delete) =
            (MetaTopic::SubscriptionOnUnsubscribe, MetaTopic::SubscriptionOnDelete);
        let receivers = self.receivers.get_mut(&subscription).expect(listed);
        receivers.slots.swap_remove(position as usize);
        self.counters.subscriptions.subtract(1);
        if let Some(moved) = receivers.slots.get(position as usize) {
            let session = self.connections[*moved as usize].session_mut();
            session
                .and_then(|session| session.subscriptions.get_mut(&subscription))
                .map(|held| held.position = position)
                .expect("a listed receiver holds the subscription");
        }
        if !receivers.slots.is_empty() {
            self.announce(&realm, on_unsubscribe, names);
            return;
        }
        let departure = realm.topics.leave(&receivers.uri, receivers.policy, self.id);
        self.receivers.remove(&subscription);
        self.announce_departure(&realm, departure, (on_unsubscribe, on_delete), names);
    }

    pub(super) fn handle_publish(
        &mut self,
        slot: u32,
        mut publish: Publish<'_>,
    ) -> Result<(), Violation> {
        let limit = self.settings().limits.uri_bytes;
        let session = self.accept_request(slot, publish.request, Role::Publisher, "PUBLISH")?;
        check_passthru(session, &publish.options)?;
        if let Err(refusal) = check_publish(&session.realm, &publish, limit) {
            self.counters.publications_refused.increment();
            if publish.options.acknowledge {
                self.refuse(slot, code::PUBLISH, publish.request, refusal);
            }
            return Ok(());
        }
        let author = Author::new(self.joined(slot), &mut publish.options);
        self.publish(slot, author, &publish, None);
        Ok(())
    }

    /// Publishes in the name of a session that is not in its slot any more (AP-TES-04).
    #[cold]
    pub(super) fn publish_for(&mut self, slot: u32, session: &Session, mut publish: Publish<'_>) {
        publish.options.acknowledge = false;
        let author = Author::new(session, &mut publish.options);
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
        // Stored before the subscriptions are looked up; see `router::retained`.
        let retained = publish.options.retain.then(|| {
            let (audience, details) = (audience.clone(), details.clone());
            let payload = publish.payload.to_buf();
            let event = RetainedEvent { publication, audience, details, payload };
            self.retain(slot, departed, &publish.topic, event)
        });
        // Borrowed: every shard would write to the count of the realm's references.
        let realm = &self.publisher(slot, departed).realm;
        let mut fanouts = realm.topics.matches(&publish.topic);
        if fanouts.iter().any(|fanout| fanout.shards.contains(HISTORY)) {
            let event = (publication, &audience, &details);
            let realm = Arc::clone(realm);
            self.record(&realm, publish, event, &fanouts);
            // Who joins from here on finds the event in the history; who joined before gets it.
            fanouts = realm.topics.matches(&publish.topic);
        }
        if !self.records.is_empty() {
            self.deposit(slot, publish, publication);
        } else if publish.options.acknowledge {
            // Before the events, in case the publisher receives its own (BP-PUB-08).
            let request = publish.request;
            self.answer(slot, &RouterMessage::Published { request, publication });
        }
        for fanout in fanouts {
            let mut details = details.clone();
            if fanout.policy != MatchPolicy::Exact {
                details.push(("topic".into(), publish.topic.as_ref().into()));
            }
            let subscription = fanout.subscription;
            let audience = audience.clone();
            let head = EventHead { subscription, publication, audience, retained, details };
            let elsewhere = self.dispatch(fanout, head, publish.payload);
            if !elsewhere.is_empty() {
                self.mark_feeds(slot, elsewhere);
            }
        }
    }

    /// The publisher of a publication: the session in `slot`, unless it has departed.
    pub(super) fn publisher<'a>(&'a self, slot: u32, departed: Option<&'a Session>) -> &'a Session {
        let publisher = departed.or_else(|| self.connections[slot as usize].session());
        publisher.expect("the publisher is here")
    }

    /// Hands an event to every shard that has receivers, this one included. Returns the others.
    #[inline]
    pub(super) fn dispatch(
        &mut self,
        fanout: Fanout,
        head: EventHead,
        payload: Payload<'_>,
    ) -> ShardSet {
        let mut elsewhere = fanout.shards;
        elsewhere.remove(self.id);
        elsewhere.remove(HISTORY);
        if fanout.shards.contains(self.id) {
            self.deliver(&head, payload);
        }
        if !elsewhere.is_empty() {
            let event = Arc::new(Event { head, payload: payload.to_buf() });
            for shard in elsewhere.iter() {
                self.post(shard, Mail::Event(Arc::clone(&event)));
            }
        }
        elsewhere
    }

    pub(super) fn mark_feeds(&mut self, slot: u32, shards: ShardSet) {
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.feeds = connection.feeds.union(shards);
        }
    }

    /// Queues an event for the local receivers of its subscription. Each frame is encoded once.
    pub(super) fn deliver(&mut self, head: &EventHead, payload: Payload<'_>) {
        let Some(receivers) = self.receivers.get(&head.subscription) else { return };
        let message = RouterMessage::Event {
            subscription: head.subscription,
            publication: head.publication,
            details: &head.details,
            payload,
        };
        let excluded = head.audience.excluded;
        let came_before = head.retained.is_some_and(|number| number <= receivers.retained_until);
        let selective = head.audience.lists.is_some() || came_before;
        let mut frames = Frames::default();
        let mut delivered = 0;
        let mut unfit = None;
        for &slot in &receivers.slots {
            let connection = &mut self.connections[slot as usize];
            let Some(session) = connection.session_id else { continue };
            if excluded == Some(session) || selective && !is_meant(connection, head) {
                continue;
            }
            let frame = frames.get_or_encode(connection, |encoding| {
                self.outbound.encode(encoding, usize::MAX, &message)
            });
            match frame {
                Ok(frame) if !connection.accepts(frame) => {
                    self.counters.events_dropped_size.increment();
                    unfit.get_or_insert((slot, SendError::TooLarge));
                }
                Ok(frame) => {
                    let queued = self.outbound.queue(slot, connection, frame, Class::Event);
                    delivered += u64::from(queued);
                }
                Err(error) => {
                    self.counters.events_dropped_encoding.increment();
                    unfit.get_or_insert((slot, error));
                }
            }
        }
        self.outbound.unfit.extend(unfit);
        self.counters.events_delivered.add(delivered);
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

/// Whether an event with lists, or one that may have come with a subscription already, is for the
/// session of `connection`.
fn is_meant(connection: &Connection, head: &EventHead) -> bool {
    connection.session().is_some_and(|session| {
        let membership = session.subscriptions.get(&head.subscription);
        let until = membership.map_or(0, |membership| membership.retained_until);
        head.retained.is_none_or(|number| number > until)
            && head.audience.admits(session.identity())
    })
}

/// What an event says of its publisher, the same for all subscriptions.
struct Author {
    audience: Audience,
    /// `EVENT.Details` without `topic`.
    details: Dict,
}

impl Author {
    #[inline]
    fn new(session: &Session, options: &mut PublishOptions) -> Self {
        let filter = options.filter.take();
        let audience = Audience::new(options.exclude_me.then_some(session.id), filter);
        let details = event_details(session, options);
        Self { audience, details }
    }
}

/// Every check of a PUBLISH that is answered with an ERROR.
pub(super) fn check_publish(
    realm: &Realm,
    publish: &Publish<'_>,
    uri_bytes: usize,
) -> Result<(), Refusal> {
    check_uri(realm, &publish.topic, uri_bytes)?;
    unreserved(&publish.topic)?;
    check_disclosure(&realm.settings, &publish.options)
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
fn check_disclosure(settings: &RealmSettings, options: &PublishOptions) -> Result<(), Refusal> {
    if options.disclose_me && settings.publisher_disclosure == PublisherDisclosure::Forbid {
        return Err((
            WampError::OptionDisallowedDiscloseMe,
            "publishers stay anonymous on this realm: publish without disclose_me",
        ));
    }
    Ok(())
}

/// `EVENT.Details` as far as it is the same for all subscriptions; without `topic`.
fn event_details(session: &Session, options: &mut PublishOptions) -> Dict {
    let settings = &session.realm.settings;
    let mut details = passthru_details(options.passthru.take());
    let disclosed = match settings.publisher_disclosure {
        PublisherDisclosure::Allow => options.disclose_me,
        PublisherDisclosure::Forbid => false,
        PublisherDisclosure::Always => true,
    };
    if disclosed {
        let publisher = session.identity();
        details.push(("publisher".into(), publisher.session.get().into()));
        details.push(("publisher_authid".into(), publisher.authid.into()));
        details.push(("publisher_authrole".into(), publisher.authrole.into()));
    }
    if let Some(level) = settings.anonymous_trustlevel {
        details.push(("trustlevel".into(), level.into()));
    }
    details
}

/// The frames of one event, one per serializer and framing, each made when first needed.
#[derive(Default)]
struct Frames([Option<Result<Span, SendError>>; 6]);

impl Frames {
    fn get_or_encode(
        &mut self,
        connection: &Connection,
        encode: impl FnOnce((Codec, Framing)) -> Result<Span, SendError>,
    ) -> Result<Span, SendError> {
        let raw = usize::from(connection.framing == Framing::RawSocket);
        let index = connection.codec as usize * 2 + raw;
        *self.0[index].get_or_insert_with(|| encode((connection.codec, connection.framing)))
    }
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
const TOO_MANY_SUBSCRIPTIONS: Refusal = (
    WampError::ResourceLimit,
    "this session holds as many subscriptions as the router allows per session",
);
