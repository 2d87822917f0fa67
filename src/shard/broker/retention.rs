//! Event retention (AP-RET): what PUBLISH stores and SUBSCRIBE gets in this shard.

use std::sync::Arc;

use super::super::trace::Sent;
use super::super::work::LOOKUP_UNITS;
use super::super::{SendError, Shard};
use crate::router::{
    Audience, Busyness, Found, Horizon, Look, Numbering, Publisher, RetainedEvent, Slot, Stamp,
};
use crate::session::Session;
use crate::transport::Class;
use crate::wamp::{MatchPolicy, RouterMessage, SubscriptionId};

/// A publication that its node keeps for late subscribers, as other nodes have to keep it.
#[derive(Debug)]
pub struct KeptAs {
    pub stamp: Stamp,
    /// See [`RetainedEvent::publisher`].
    pub publisher: Option<Arc<Publisher>>,
    /// As an event of this router.
    pub numbering: Numbering,
}

impl Shard {
    /// Stores an event of the publisher, which is in `slot` or has departed, and gives its number
    /// on the realm. What is to be saved is recorded as a deposit.
    pub(in crate::shard) fn retain(
        &mut self,
        slot: Slot,
        departed: Option<&Session>,
        topic: &str,
        event: RetainedEvent,
    ) -> KeptAs {
        let publisher = self.publisher(slot, departed);
        let (realm, limits) = (Arc::clone(&publisher.realm), self.cx.limits());
        let publisher_names = event.publisher.clone();
        let stored = realm.retained.store(topic, event, publisher.identity(), limits);
        self.cx.counters.events_retained.increment();
        self.cx.counters.retained_dropped.add(stored.dropped);
        let (numbering, stamp) = (Numbering::Retained(stored.number), stored.stamp);
        if self.cx.settings().durable_retained {
            let records = stored.into_records(realm.name());
            records.into_iter().for_each(|record| self.cx.deposits.record(record));
        }
        KeptAs { stamp, publisher: publisher_names, numbering }
    }

    /// What other nodes have to know of a publisher that does not get its own event, since it may
    /// get the one before.
    pub(super) fn left_out(
        &self,
        slot: Slot,
        departed: Option<&Session>,
        audience: &Audience,
    ) -> Option<Arc<Publisher>> {
        self.cx.router.ids().node()?;
        let is_for_others = audience.excluded.is_some() && audience.lists.is_none();
        is_for_others.then(|| {
            let publisher = self.publisher(slot, departed).identity();
            let (authid, authrole) = (publisher.authid.into(), publisher.authrole.into());
            Arc::new(Publisher { authid, authrole })
        })
    }

    /// Queues the retained events of a subscription for the subscriber that just got SUBSCRIBED.
    ///
    /// `joins` says that the subscription is new to the session: what came so does not come a
    /// second time when the mail brings it. Else it may, since it is owed.
    pub(in crate::shard) fn send_retained(
        &mut self,
        slot: Slot,
        subscription: SubscriptionId,
        joins: bool,
    ) {
        let limits = &self.cx.edition.settings.limits;
        let receivers = self.receivers.held(subscription);
        let (realm, policy) = (Arc::clone(&receivers.realm), receivers.policy);
        let identity = self.connections.joined(slot).identity();
        let mut look = Look::new(policy, limits.retained_per_subscribe);
        while !look.is_done() {
            let units = realm.retained.look(&mut look, &receivers.uri, identity, PIECE);
            self.cx.work.charge(units);
        }
        let Found { events, last_number } = look.finish();
        // The first may fill the queue; the others leave half of it to live events.
        let hard_bytes = self.cx.settings().output.hard_bytes;
        let others = (hard_bytes / 2).min(limits.retained_per_subscribe_bytes);
        let begun = self.waiting_bytes(slot);
        let (mut room, mut sent_until) = (hard_bytes, 0);
        let (mut events, mut withheld) = (events.into_iter(), None);
        for (number, topic, event) in events.by_ref() {
            let subscribed = (subscription, policy);
            if !self.send_one_retained(slot, subscribed, &topic, &event, room) {
                withheld = Some(number);
                break;
            }
            sent_until = sent_until.max(number);
            room = (hard_bytes / 2).min(begun + others);
        }
        // What was withheld may still come live. In a cluster numbers are in no order here.
        let withheld = withheld.into_iter().chain(events.map(|(number, ..)| number)).min();
        let until = withheld.map_or(last_number, |first| sent_until.min(first - 1));
        if joins {
            self.note_retained(slot, subscription, until);
        }
    }

    /// Events up to this number have come with a subscription.
    fn note_retained(&mut self, slot: Slot, subscription: SubscriptionId, until: u64) {
        if let Some(receivers) = self.receivers.get_mut(subscription) {
            receivers.horizon.widen(Horizon { retained_until: until, after_meta: 0 });
        }
        let session = self.connections[slot].session_mut();
        let held = session.and_then(|session| session.subscriptions.get_mut(&subscription));
        if let Some(membership) = held {
            membership.horizon.retained_until = until;
        }
    }

    /// `false` if there is no room for more: nobody is disconnected for what it asked to get.
    fn send_one_retained(
        &mut self,
        slot: Slot,
        (subscription, policy): (SubscriptionId, MatchPolicy),
        topic: &str,
        event: &RetainedEvent,
        room_bytes: usize,
    ) -> bool {
        let mut details = event.details.clone();
        details.push(("retained".into(), true.into()));
        if policy != MatchPolicy::Exact {
            details.push(("topic".into(), topic.into()));
        }
        let message = RouterMessage::Event {
            subscription,
            publication: event.publication,
            details: &details,
            payload: event.payload.as_payload(),
        };
        let connection = &mut self.connections[slot];
        let encoding = (connection.codec, connection.framing);
        // Given up as soon as it is larger than what there is room for.
        let room = room_bytes.saturating_sub(connection.output.waiting_bytes() + HEADER_BYTES);
        let limit = room.min(connection.peer_limit_bytes);
        let made = self.cx.outbound.encode(encoding, limit, &message);
        self.cx.work.charge(LOOKUP_UNITS);
        match made {
            Ok(frame) => {
                self.cx.work.charge_bytes(frame.len());
                let is_queued = self.cx.outbound.queue(slot, connection, frame, Class::Event);
                if self.cx.traces.are_on() {
                    let sent = Sent { frame_bytes: frame.len(), is_queued };
                    self.cx.trace_sent(slot, connection, &message, Some(topic), sent);
                }
                self.cx.counters.events_delivered.increment();
                self.cx.note_in_group(Busyness::Events, topic, 1);
            }
            Err(SendError::TooLarge) if room >= connection.peer_limit_bytes => {
                self.cx.work.charge_bytes(connection.peer_limit_bytes);
                self.cx.counters.events_dropped_size.increment();
            }
            Err(SendError::TooLarge) => {
                self.cx.work.charge_bytes(room);
                self.cx.counters.retained_withheld.increment();
                return false;
            }
            Err(SendError::Encoding) => self.cx.counters.events_dropped_encoding.increment(),
        }
        true
    }
}

/// Events that are looked at under one lock.
const PIECE: usize = 1_024;

/// More than the header of a frame.
const HEADER_BYTES: usize = 16;
