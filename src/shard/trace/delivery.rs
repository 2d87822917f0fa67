//! The events of publications, receiver by receiver. The loop over them exists once: it is compiled
//! for those who look on, and for nobody.

use super::filter::Party;
use super::follow::stated;
use super::outbound::SLOW;
use super::record::{About, Direction, TraceRecord, cut, preview_units};
use super::watch::Delivered;
use super::{LOOK_UNITS, RECORD_UNITS, Running};
use crate::clock::Millis;
use crate::router::ShardId;
use crate::shard::Shard;
use crate::shard::broker::{Made, Outgoing, Place, Progress, Receivers};
use crate::shard::connection::Connection;
use crate::shard::outbound::{Queued, SendError};
use crate::wamp::{MatchPolicy, MessageType, SubscriptionId, Timestamp, is_reserved};

/// Who looks on while the events of a publication are queued.
pub(in crate::shard) trait Onlooker {
    /// The receivers of a subscription come next.
    fn begin(&mut self, subscription: SubscriptionId, receivers: &Receivers);
    /// Whether looking has taken what is left of a step after so many receivers.
    fn is_tired(&self, receivers: usize, left: usize) -> bool;
    /// A receiver is about to get it.
    fn look(&mut self, connection: &Connection);
    /// What was made for a receiver is queued, or is not.
    fn saw(&mut self, connection: &Connection, made: Made, queued: Result<Queued, SendError>);
}

/// Nobody, as ever.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct Nobody;

impl Onlooker for Nobody {
    #[inline(always)]
    fn begin(&mut self, _: SubscriptionId, _: &Receivers) {}

    #[inline(always)]
    fn is_tired(&self, _: usize, _: usize) -> bool {
        false
    }

    #[inline(always)]
    fn look(&mut self, _: &Connection) {}

    #[inline(always)]
    fn saw(&mut self, _: &Connection, _: Made, _: Result<Queued, SendError>) {}
}

/// The traces of a shard.
struct Tracing<'a> {
    running: Box<Running>,
    event: &'a Outgoing<'a>,
    shard: ShardId,
    time: Timestamp,
    now: Millis,
    subscription: Option<SubscriptionId>,
    topic: Box<str>,
    /// The traces that the topic is for, as bits.
    about: u8,
    /// Events dropped so far for the receiver at hand.
    dropped_before: u64,
    /// Units of work.
    spent: usize,
}

impl Shard {
    /// Queues an event for local receivers as ever, while somebody looks on.
    #[cold]
    #[inline(never)]
    pub(in crate::shard) fn deliver_traced(
        &mut self,
        event: &Outgoing<'_>,
        place: &mut Place,
    ) -> Progress {
        let Some(running) = self.cx.traces.running.take() else {
            return self.deliver_before(&mut Nobody, event, place);
        };
        let mut tracing = Tracing {
            running,
            event,
            shard: self.cx.id,
            time: self.cx.wall_clock,
            now: self.cx.now,
            subscription: None,
            topic: Box::default(),
            about: 0,
            dropped_before: 0,
            spent: 0,
        };
        let progress = self.deliver_before(&mut tracing, event, place);
        let Tracing { mut running, spent, .. } = tracing;
        self.cx.work.charge(spent);
        if progress == Progress::Done && event.head.traced != 0 {
            let receivers = place.served();
            let delivered = Delivered { publication: event.head.publication, receivers };
            let is_new =
                self.cx.traces.published.is_some_and(|(it, _)| it == delivered.publication);
            match &mut running.at_hand {
                Some(at_hand) if is_new => at_hand.note_delivered(receivers),
                _ => running.note_delivered(delivered, event.head.traced),
            }
        }
        self.cx.traces.running = Some(running);
        progress
    }
}

impl Running {
    /// So many receivers of this shard have got a publication of these traces.
    fn note_delivered(&mut self, delivered: Delivered, traced: u8) {
        for (place, watch) in self.watches.iter_mut().enumerate() {
            if traced >> place & 1 == 1
                && let Some(watch) = watch
            {
                watch.note_delivered(delivered);
            }
        }
    }
}

impl Onlooker for Tracing<'_> {
    fn begin(&mut self, subscription: SubscriptionId, receivers: &Receivers) {
        let is_exact = receivers.policy == MatchPolicy::Exact;
        let topic = if is_exact { &*receivers.uri } else { self.event.topic };
        let subject = [Some(topic), None];
        self.about = self.running.mask(|watch| watch.request.filter.is_about(subject));
        if self.about != 0 {
            (self.topic, self.subscription) = (topic.into(), Some(subscription));
        }
        self.spent += LOOK_UNITS * self.running.count();
    }

    fn is_tired(&self, receivers: usize, left: usize) -> bool {
        receivers > 0 && receivers + self.spent >= left
    }

    fn look(&mut self, connection: &Connection) {
        self.dropped_before = connection.traffic.events_dropped;
    }

    fn saw(&mut self, connection: &Connection, made: Made, queued: Result<Queued, SendError>) {
        if queued == Ok(Queued::NotYet) {
            return;
        }
        let Some(party) = stated(connection).filter(|_| self.about != 0) else { return };
        self.spent += LOOK_UNITS;
        let wanted = self.about & self.running.mask(|watch| watch.request.filter.is_of(&party));
        if wanted == 0 {
            return;
        }
        let admitted = self.running.admit(wanted, self.now);
        if admitted.is_nobody() {
            return;
        }
        self.spent += RECORD_UNITS;
        let mut record = self.record(connection, &party, made, queued);
        let limit_bytes = self.running.payload_bytes(admitted);
        if limit_bytes > 0 && !is_reserved(&self.topic) {
            let payload = self.event.payload;
            record.show(payload, limit_bytes);
            self.spent += preview_units(payload);
        }
        self.running.keep(&record, admitted);
    }
}

impl Tracing<'_> {
    fn record(
        &self,
        connection: &Connection,
        party: &Party<'_>,
        made: Made,
        queued: Result<Queued, SendError>,
    ) -> TraceRecord {
        let about = About {
            uri: Some(cut(&self.topic)),
            subscription: self.subscription.map(u64::from),
            publication: Some(self.event.head.publication.get()),
            ..About::default()
        };
        let bytes = match made {
            Made::Frame(frame) => connection.framing.message_bytes(frame.len()),
            // Nothing was made: so much it is about.
            Made::Nothing(_) | Made::Refused(_) => self.event.payload.weight(),
        };
        let kind = (Direction::Out, MessageType::Event.as_str(), bytes);
        let mut record = TraceRecord::new(self.time, self.shard.0, kind, party, about);
        let dropped = connection.traffic.events_dropped - self.dropped_before;
        (record.dropped, record.dropped_older) = match queued {
            Ok(Queued::Yes | Queued::NotYet) => (None, dropped),
            Ok(Queued::Dropped) => (Some(SLOW), dropped.saturating_sub(1)),
            Err(SendError::TooLarge) => (Some("too_large"), 0),
            Err(SendError::Encoding) => (Some("encoding"), 0),
        };
        record
    }
}
