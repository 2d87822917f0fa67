//! The delivery of publications to local receivers, in pieces where they are many.
//!
//! A delivery stops when its step is over, when the turn has made as many bytes as it should, or
//! when a receiver must be offered what waits for it first. Then it is held and goes on in a later
//! turn. Later publications of the same publisher queue behind it, so that their order stays, and
//! the publisher's input is parked wherever it lives: who published waits, and nobody else.

use std::sync::Arc;

use super::super::connection::{Connection, ENCODINGS};
use super::super::context::Context;
use super::super::outbound::{Outbound, Queued};
use super::super::trace::{Nobody, Onlooker};
use super::super::work::LOOKUP_UNITS;
use super::super::{Event, EventHead, Mail, SendError, Shard};
use super::held::Delivery;
use super::receivers::DeliveryId;
use crate::codec::{self, Codec};
use crate::router::{Fanout, HeldCount, SessionRef, ShardId, Slot};
use crate::transport::Span;
use crate::wamp::{
    Dict, MatchPolicy, Payload, PayloadBuf, RouterMessage, SessionId, SubscriptionId,
};

/// A publication on its way to local receivers.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct Outgoing<'a> {
    pub(in crate::shard) head: &'a EventHead,
    pub(in crate::shard) topic: &'a str,
    pub(in crate::shard) fanouts: &'a [Fanout],
    pub(in crate::shard) payload: Payload<'a>,
}

impl Event {
    pub(in crate::shard) fn as_outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            head: &self.head,
            topic: &self.topic,
            fanouts: self.fanouts.as_slice(),
            payload: self.payload.as_payload(),
        }
    }
}

/// How far a delivery got.
#[derive(Debug, Default)]
pub(in crate::shard) struct Place {
    /// The fanout that is being served.
    fanout: usize,
    /// Where its receivers know this delivery by, if some of them have been served.
    begun: Option<DeliveryId>,
    pub(super) transcoded: Transcoded,
    /// Receivers that have got it.
    served: u64,
}

/// The payload in serializers other than its own: made once for all subscriptions.
#[derive(Debug, Default)]
pub(super) struct Transcoded([Option<Box<Result<PayloadBuf, SendError>>>; 3]);

/// Whether a delivery is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Progress {
    Done,
    Interrupted,
}

impl Place {
    pub(in crate::shard) const fn served(&self) -> u64 {
        self.served
    }
}

impl Shard {
    /// Delivers a publication that came from this shard, as far as it goes now. `make` makes it
    /// last longer than this step.
    #[inline]
    pub(in crate::shard) fn deliver_now(
        &mut self,
        event: &Outgoing<'_>,
        make: impl FnOnce(&Arc<HeldCount>) -> Arc<Event>,
    ) {
        let publisher = event.head.publisher.map(|publisher| publisher.session);
        let mut place = Place::default();
        if self.deliveries.is_behind(publisher)
            || self.deliver(event, &mut place) == Progress::Interrupted
        {
            let event = make(self.cx.held());
            self.hold_delivery(event, place, 0);
        }
    }

    /// Delivers a publication that came by mail of this weight. Returns what the mail still counts
    /// for, in bytes, because it is held.
    pub(in crate::shard) fn deliver_mail(&mut self, event: Arc<Event>, weight: usize) -> usize {
        let publisher = event.head.publisher.map(|publisher| publisher.session);
        let mut place = Place::default();
        if !self.deliveries.is_behind(publisher)
            && self.deliver(&event.as_outgoing(), &mut place) == Progress::Done
        {
            return 0;
        }
        self.hold_delivery(event, place, weight);
        weight
    }

    #[cold]
    fn hold_delivery(&mut self, event: Arc<Event>, place: Place, weight: usize) {
        let publisher = event.head.publisher;
        let transcoded = self.cx.held().hold(place.transcoded.heap_bytes());
        let wait = event.head.cause.map(|cause| self.unheard.begin(cause, &mut self.cx.post));
        let delivery = Delivery { event, place, weight, transcoded, wait };
        if self.deliveries.hold(delivery) {
            self.pace(publisher, true);
        }
    }

    /// Tells the shard of a publisher to stop dealing with its input, or to go on.
    fn pace(&mut self, publisher: Option<SessionRef>, waits: bool) {
        let Some(publisher) = publisher else { return };
        if publisher.shard == self.cx.id {
            self.handle_pace(publisher, waits);
        } else {
            self.cx.post.send(publisher.shard, Mail::Pace { publisher, waits });
        }
    }

    pub(in crate::shard) fn handle_pace(&mut self, publisher: SessionRef, waits: bool) {
        // A session that has left cannot publish any more.
        if self.connections.find(publisher).is_none() {
            return;
        }
        if waits {
            self.connections.park(publisher.slot);
        } else {
            self.connections.redeem(publisher.slot);
        }
    }

    /// Goes on with one held delivery. Returns the weight of the mail that it has brought to its
    /// end, and whether one more of its publisher is to go out in this turn: who publishes at
    /// another node is not parked, and one in each turn would be one write to each receiver for
    /// each of many.
    pub(in crate::shard) fn go_on_delivering(&mut self) -> (usize, bool) {
        let Some(mut resumed) = self.deliveries.next() else { return (0, false) };
        let Delivery { event, place, .. } = &mut resumed.delivery;
        let progress = self.deliver(&event.as_outgoing(), place);
        if progress == Progress::Interrupted {
            self.deliveries.interrupt(resumed);
            return (0, false);
        }
        let (delivery, is_last) = self.deliveries.finish(resumed);
        let publisher = delivery.event.head.publisher;
        if is_last {
            self.pace(publisher, false);
        }
        if let Some(wait) = delivery.wait {
            self.unheard.end(wait, &mut self.cx.post);
        }
        let is_elsewhere = publisher.is_some_and(|at| at.shard == ShardId::CLUSTER);
        (delivery.weight, is_elsewhere && !is_last)
    }

    /// Queues an event for local receivers, from `place` on. Each frame is encoded once.
    #[inline]
    fn deliver(&mut self, event: &Outgoing<'_>, place: &mut Place) -> Progress {
        if self.cx.traces.are_on() {
            return self.deliver_traced(event, place);
        }
        self.deliver_before(&mut Nobody, event, place)
    }

    /// The same, before the eyes of somebody.
    #[inline]
    pub(in crate::shard) fn deliver_before(
        &mut self,
        onlooker: &mut impl Onlooker,
        event: &Outgoing<'_>,
        place: &mut Place,
    ) -> Progress {
        while let Some(fanout) = event.fanouts.get(place.fanout) {
            if fanout.to.contains(self.cx.id) {
                if self.cx.outbound.is_full() || self.cx.work.is_step_over() {
                    return Progress::Interrupted;
                }
                let details = &event.head.details;
                let progress = if fanout.policy == MatchPolicy::Exact {
                    self.deliver_to(onlooker, fanout.subscription, event, details, place)
                } else {
                    let mut details = details.clone();
                    details.push(("topic".into(), event.topic.into()));
                    self.deliver_to(onlooker, fanout.subscription, event, &details, place)
                };
                if progress == Progress::Interrupted {
                    return progress;
                }
            }
            place.fanout += 1;
        }
        // Meta events are nobody's publications.
        if event.head.publisher.is_some() {
            self.cx.measures.fanout.note(place.served);
        }
        Progress::Done
    }

    /// The receivers of one subscription.
    fn deliver_to(
        &mut self,
        onlooker: &mut impl Onlooker,
        subscription: SubscriptionId,
        event: &Outgoing<'_>,
        details: &Dict,
        place: &mut Place,
    ) -> Progress {
        // Whether or not its receivers are still there: the next fanout has others.
        let begun = place.begun.take();
        let Some(receivers) = self.receivers.get_mut(subscription) else {
            return Progress::Done;
        };
        let all = 0..receivers.len();
        let part = begun.map_or(Some(all), |delivery| receivers.resume(delivery));
        let Some(part) = part else { return Progress::Done };
        onlooker.begin(subscription, receivers);
        let left = self.cx.work.left();
        let (stop, head) = (part.end.min(part.start + left), event.head);
        let is_late = receivers.horizon.covers(head.numbering);
        let selective = head.audience.lists.is_some() || is_late;
        let excluded = head.audience.excluded.map_or(NOBODY, SessionId::get);
        let mut frames = Frames::of(event, subscription, details);
        let made_before = self.cx.outbound.arena.len();
        let (mut next, mut delivered) = (stop, 0);
        let mut slots = receivers.slots()[part.start..stop].iter();
        while let Some(&slot) = slots.next() {
            if onlooker.is_tired(stop - part.start - slots.len() - 1, left) {
                next = stop - slots.len() - 1;
                break;
            }
            let connection = &mut self.connections[slot];
            let Some(session) = connection.session_id else { continue };
            if session.get() == excluded || selective && !is_meant(connection, subscription, head) {
                continue;
            }
            onlooker.look(connection);
            let made = frames.made[frame_index(connection)];
            let queued = if !made.is_empty() && connection.accepts(made) {
                Ok(self.cx.outbound.queue_event(slot, connection, made))
            } else {
                frames.queue_first(slot, connection, &mut self.cx, &mut place.transcoded)
            };
            onlooker.saw(connection, frames.made[frame_index(connection)], queued);
            match queued {
                Ok(Queued::Yes) => delivered += 1,
                Ok(Queued::Dropped) | Err(_) => {}
                Ok(Queued::NotYet) => {
                    next = stop - slots.len() - 1;
                    break;
                }
            }
        }
        self.cx.outbound.report();
        self.cx.outbound.unfit.extend(frames.unfit);
        self.cx.note_events(receivers, event.topic, delivered);
        place.served += delivered;
        self.cx.work.charge(LOOKUP_UNITS + next - part.start);
        self.cx.work.charge_bytes(self.cx.outbound.arena.len() - made_before);
        if next == part.end {
            return Progress::Done;
        }
        let delivery = self.deliveries.next_id();
        receivers.suspend(delivery, next..part.end);
        place.begun = Some(delivery);
        Progress::Interrupted
    }
}

/// The frames of one event on one subscription, one per serializer and framing, each made when
/// first needed.
struct Frames<'a> {
    event: &'a Outgoing<'a>,
    subscription: SubscriptionId,
    details: &'a Dict,
    /// Empty where none is made.
    made: [Span; ENCODINGS],
    /// Why none can be made, where a serializer cannot express the event.
    failed: [Option<SendError>; ENCODINGS],
    /// The first receiver that the event does not fit, and why.
    unfit: Option<(Slot, SendError)>,
}

const fn frame_index(connection: &Connection) -> usize {
    // The mask is for the compiler: no index is out of bounds.
    (connection.encoding & (ENCODINGS as u8 - 1)) as usize
}

impl<'a> Frames<'a> {
    fn of(event: &'a Outgoing<'a>, subscription: SubscriptionId, details: &'a Dict) -> Self {
        let (made, failed, unfit) = ([Span::EMPTY; ENCODINGS], [None; ENCODINGS], None);
        Self { event, subscription, details, made, failed, unfit }
    }

    /// Queues the event for the first receiver of a serializer and framing, or one that it does not
    /// fit.
    ///
    /// # Errors
    /// Why the receiver gets nothing, whatever it has room for. It is counted.
    #[inline(never)]
    fn queue_first(
        &mut self,
        slot: Slot,
        connection: &mut Connection,
        cx: &mut Context,
        transcoded: &mut Transcoded,
    ) -> Result<Queued, SendError> {
        let made = match self.made[frame_index(connection)] {
            Span::EMPTY => match self.make(slot, connection, &mut cx.outbound, transcoded) {
                Ok(made) => Ok(made),
                Err(NotMade::Unexpressed(error)) => Err(error),
                Err(NotMade::Refused(queued)) => return Ok(queued),
            },
            made => Ok(made),
        };
        let (dropped, error) = match made {
            Ok(made) if connection.accepts(made) => {
                return Ok(cx.outbound.queue_event(slot, connection, made));
            }
            Ok(_) => (&cx.counters.events_dropped_size, SendError::TooLarge),
            Err(error) => (&cx.counters.events_dropped_encoding, error),
        };
        dropped.increment();
        self.unfit.get_or_insert((slot, error));
        Err(error)
    }

    fn make(
        &mut self,
        slot: Slot,
        connection: &mut Connection,
        outbound: &mut Outbound,
        transcoded: &mut Transcoded,
    ) -> Result<Span, NotMade> {
        let (codec, framing) = (connection.codec, connection.framing);
        if let Some(error) = self.failed[frame_index(connection)] {
            return Err(NotMade::Unexpressed(error));
        }
        let made = transcoded.payload(codec, self.event).and_then(|payload| {
            match outbound.admit_event(slot, connection, payload.weight()) {
                Queued::Yes => {}
                refused => return Ok(Err(NotMade::Refused(refused))),
            }
            let message = RouterMessage::Event {
                subscription: self.subscription,
                publication: self.event.head.publication,
                details: self.details,
                payload,
            };
            outbound.encode((codec, framing), usize::MAX, &message).map(Ok)
        });
        match made {
            Ok(Ok(frame)) => self.made[frame_index(connection)] = frame,
            Ok(Err(_)) => {}
            Err(error) => self.failed[frame_index(connection)] = Some(error),
        }
        made.map_err(NotMade::Unexpressed)?
    }
}

/// Why there is no frame for a receiver.
#[derive(Clone, Copy)]
enum NotMade {
    /// The serializer cannot express the event.
    Unexpressed(SendError),
    /// That receiver has no room, so nothing was made.
    Refused(Queued),
}

/// No session has this id (BP-ID-01).
const NOBODY: u64 = 0;

impl Transcoded {
    pub(super) fn heap_bytes(&self) -> usize {
        let made = self.0.iter().flatten().filter_map(|made| made.as_ref().as_ref().ok());
        made.map(PayloadBuf::heap_bytes).sum()
    }

    /// The payload for a serializer. What is small and goes to one subscription is left to be
    /// transcoded into the frame.
    fn payload<'a>(
        &'a mut self,
        codec: Codec,
        event: &'a Outgoing<'_>,
    ) -> Result<Payload<'a>, SendError> {
        let Payload::Raw { codec: own, .. } = event.payload else { return Ok(event.payload) };
        if own == codec || event.fanouts.len() == 1 && event.payload.weight() < SMALL_BYTES {
            return Ok(event.payload);
        }
        let transcoded = self.0[codec as usize].get_or_insert_with(|| {
            let transcoded = codec::transcode(event.payload, codec);
            Box::new(transcoded.map_err(|_| SendError::Encoding))
        });
        match &**transcoded {
            Ok(payload) => Ok(payload.as_payload()),
            Err(error) => Err(*error),
        }
    }
}

/// Whether an event with lists, or one that is older than some memberships, is for the session of
/// `connection`.
fn is_meant(connection: &Connection, subscription: SubscriptionId, head: &EventHead) -> bool {
    connection.session().is_some_and(|session| {
        let membership = session.subscriptions.get(&subscription);
        let is_late = membership.is_some_and(|held| held.horizon.covers(head.numbering));
        !is_late && head.audience.admits(session.identity())
    })
}

/// Bytes of a payload below which it may be transcoded for each framing anew.
const SMALL_BYTES: usize = 4 * 1024;
