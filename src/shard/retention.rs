//! Event retention (AP-RET): what PUBLISH stores and SUBSCRIBE gets in this shard.

use std::sync::Arc;

use super::Shard;
use crate::router::{Found, Record, RetainedEvent};
use crate::session::Session;
use crate::transport::Class;
use crate::wamp::{MatchPolicy, RouterMessage, SubscriptionId};

impl Shard {
    /// Stores an event of the publisher, which is in `slot` or has departed, and gives its number
    /// on the realm. What is to be saved goes to [`Shard::records`].
    pub(super) fn retain(
        &mut self,
        slot: u32,
        departed: Option<&Session>,
        topic: &str,
        event: RetainedEvent,
    ) -> u64 {
        let publisher = self.publisher(slot, departed);
        let (realm, limits) = (Arc::clone(&publisher.realm), &self.settings().limits);
        let stored = realm.retained.store(topic, event, publisher.identity(), limits);
        self.counters.events_retained.increment();
        self.counters.retained_dropped.add(stored.dropped);
        let (number, released) = (stored.number, stored.released);
        if self.settings().durable_retained {
            let realm = Arc::clone(realm.name());
            if !released.is_empty() {
                let realm = Arc::clone(&realm);
                self.records.push(Record::Released { realm, numbers: released });
            }
            let retained = |(topic, event)| Record::Retained { realm, number, topic, event };
            self.records.extend(stored.entry.map(retained));
        }
        number
    }

    /// Queues the retained events of a subscription for the subscriber that just got SUBSCRIBED.
    ///
    /// `joins` says that the subscription is new to the session: events stored until now then do
    /// not come a second time when the mail brings them. Else they may, since they are owed.
    pub(super) fn send_retained(&mut self, slot: u32, subscription: SubscriptionId, joins: bool) {
        let limit = self.settings().limits.retained_per_subscribe;
        let receivers = self.receivers.get_mut(&subscription).expect("the session is in it");
        let session = self.connections[slot as usize].session_mut();
        let session = session.expect("a subscriber has a session");
        let retained = &receivers.realm.retained;
        let found = retained.find(&receivers.uri, receivers.policy, session.identity(), limit);
        let is_pattern = receivers.policy != MatchPolicy::Exact;
        if joins {
            receivers.retained_until = receivers.retained_until.max(found.last_number);
            let membership = session.subscriptions.get_mut(&subscription);
            membership.expect("the session has joined").retained_until = found.last_number;
        }
        let Found { events, .. } = found;
        // The first may fill the queue; the others leave half of it to live events.
        let mut room = self.settings().output.hard_bytes;
        for (topic, event) in events {
            let topic = is_pattern.then_some(&topic);
            if !self.send_one_retained(slot, subscription, topic, &event, room) {
                break;
            }
            room = self.settings().output.hard_bytes / 2;
        }
    }

    /// `false` if there is no room for more: nobody is disconnected for what it asked to get.
    fn send_one_retained(
        &mut self,
        slot: u32,
        subscription: SubscriptionId,
        topic: Option<&Arc<str>>,
        event: &RetainedEvent,
        room_bytes: usize,
    ) -> bool {
        let mut details = event.details.clone();
        details.push(("retained".into(), true.into()));
        if let Some(topic) = topic {
            details.push(("topic".into(), (**topic).into()));
        }
        let message = RouterMessage::Event {
            subscription,
            publication: event.publication,
            details: &details,
            payload: event.payload.as_payload(),
        };
        let connection = &mut self.connections[slot as usize];
        let encoding = (connection.codec, connection.framing);
        match self.outbound.encode(encoding, usize::MAX, &message) {
            Ok(frame) if !connection.accepts(frame) => {
                self.counters.events_dropped_size.increment();
            }
            Ok(frame) if connection.output.waiting_bytes() + frame.len() > room_bytes => {
                self.counters.retained_withheld.increment();
                return false;
            }
            Ok(frame) => {
                let queued = self.outbound.queue(slot, connection, frame, Class::Event);
                self.counters.events_delivered.add(u64::from(queued));
            }
            Err(_) => self.counters.events_dropped_encoding.increment(),
        }
        true
    }
}
