//! Event history (AP-HIS) in this shard: what PUBLISH records, and `wamp.subscription.get_events`.

use std::sync::Arc;

use super::Shard;
use super::authorize::Asked;
use super::broker::Refusal;
use super::meta::{Answer, Arguments, Caller, id_of};
use super::work::Work;
use crate::authorization::Action;
use crate::codec::{self, Codec};
use crate::router::{
    Audience, Counters, Deposit, Fanouts, HISTORY, Held, History, HistoryAnswer, Query, Realm,
    Receipt, Record, Scan, SessionRef, StoredEvent,
};
use crate::wamp::{
    Dict, PayloadBuf, PublicationId, Publish, RouterMessage, SubscriptionId, Timestamp, Value,
    WampError, code, heap_block,
};

impl Shard {
    /// Appends an event to every history among `fanouts`, unless its receivers are named by
    /// session (AP-HIS-06). What durable histories have to save goes to [`Shard::records`].
    #[cold] // A publication without history shall not pay for it.
    pub(super) fn record(
        &mut self,
        realm: &Realm,
        publish: &Publish<'_>,
        (publication, audience, details): (PublicationId, &Audience, &Dict),
        payload: PayloadBuf,
        fanouts: &Fanouts,
    ) {
        if audience.names_sessions() {
            return;
        }
        let event = Arc::new(StoredEvent {
            timestamp: self.wall_clock,
            publication,
            topic: publish.topic.as_ref().into(),
            lists: audience.lists.clone(),
            details: details.clone(),
            payload,
        });
        for fanout in fanouts.iter().filter(|fanout| fanout.shards.contains(HISTORY)) {
            let history = realm.histories.get(fanout.subscription);
            let history = history.expect("only a history stands in the table as one");
            let pushed = history.push(Arc::clone(&event));
            self.counters.history_events.increment();
            self.counters.history_evicted.add(pushed.dropped as u64);
            if history.is_durable {
                self.records.push(Record::Event {
                    history: Arc::clone(history),
                    number: pushed.number,
                    keep_from: pushed.keep_from,
                    evicted: pushed.evicted,
                    event: Arc::clone(&event),
                });
            }
        }
    }

    /// Hands what the publication leaves on disk to the store; if it is to be acknowledged, that
    /// waits until it is there.
    #[cold]
    pub(super) fn deposit(&mut self, slot: u32, publish: &Publish<'_>, publication: PublicationId) {
        // Nobody waits for a testament, whose session is gone.
        let receipt = publish.options.acknowledge.then(|| {
            let publisher = SessionRef { session: self.joined(slot).id, slot, shard: self.id };
            Receipt { publisher, request: publish.request, publication }
        });
        let records = std::mem::take(&mut self.records);
        let deposit = Deposit::new(records, receipt, self.router.held(self.id));
        self.deposits.1 += deposit.weight();
        self.deposits.0.push(deposit);
        self.connections[slot as usize].feeds.insert(HISTORY);
    }

    /// What is to be stored, with its weight in bytes; `None` if there is nothing.
    pub fn take_deposits(&mut self) -> Option<(Vec<Deposit>, usize)> {
        (!self.deposits.0.is_empty()).then(|| std::mem::take(&mut self.deposits))
    }

    /// The store has saved an acknowledged publication, or could not.
    pub(super) fn handle_stored(&mut self, receipt: Receipt, is_saved: bool) {
        let Receipt { publisher, request, publication } = receipt;
        if self.find(publisher).is_none() {
            return;
        }
        if is_saved {
            self.answer(publisher.slot, &RouterMessage::Published { request, publication });
        } else {
            self.refuse(publisher.slot, code::PUBLISH, request, NOT_SAVED);
        }
    }

    /// `wamp.subscription.get_events` (AP-HIS-03 to AP-HIS-06): the events as `Arguments`, and
    /// `complete` and `is_limit_reached` as `ArgumentsKw`.
    ///
    /// An event that the requester's serializer cannot express, or that its transport does not
    /// take, is left out and counted, as it would be live; the answer is not complete then.
    ///
    /// # Errors
    /// `wamp.error.invalid_argument` and `wamp.error.no_such_subscription`.
    pub(super) fn get_events(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        let query = query(args)?;
        let subscription = args.subscription(0)?;
        let session = self.joined(caller.session.slot);
        let realm = Arc::clone(&session.realm);
        let is_held = session.subscriptions.contains_key(&subscription);
        let Some(history) = realm.histories.get(subscription) else {
            if !is_held && realm.topics.get(subscription).is_none() {
                return Err(NO_SUCH_SUBSCRIPTION);
            }
            return Ok(answer(&realm, Vec::new(), false, false));
        };
        // Who may not subscribe may not read what subscribers got.
        if let Some(topic) = realm.topics.get(subscription).filter(|_| !is_held) {
            let asked = Asked(Action::Subscribe, &topic.uri);
            if let Err(answer) = self.permit(caller, asked, topic.policy, Dict::new) {
                return Ok(answer);
            }
        }
        if !self.may_hold(Inquiry::weight(&query)) {
            return Err(TOO_MANY_QUESTIONS);
        }
        let inquiry = self.inquiry(caller, Arc::clone(history), query);
        if self.inquiries.len() < MOST_HALF_MADE {
            return Ok(self.inquire(inquiry).unwrap_or(Answer::Later));
        }
        self.park(caller.session.slot);
        self.inquiries.push_back(inquiry);
        Ok(Answer::Later)
    }

    /// Answers fill half of a queue at most, but for one event on its own: a client cannot be
    /// disconnected, nor the router filled, by asking for more than can be read.
    fn inquiry(&self, caller: Caller, history: Arc<History>, query: Query) -> Inquiry {
        let limits = &self.router.settings.limits;
        let connection = &self.connections[caller.session.slot as usize];
        let waiting = connection.output.waiting_bytes() + ENVELOPE_BYTES;
        let hard = self.router.settings.output.hard_bytes;
        let peer_room = connection.peer_limit_bytes.saturating_sub(ENVELOPE_BYTES);
        let most = peer_room.min(hard.saturating_sub(ENVELOPE_BYTES));
        let queue_room = (hard / 2).saturating_sub(waiting);
        let limit = limits.history_answer_events;
        let held = self.router.held(self.id).hold(Inquiry::weight(&query));
        Inquiry {
            caller,
            history,
            limit: query.limit.map_or(limit, |asked| asked.min(limit)),
            scan: Scan::new(query),
            most_bytes: most,
            room_bytes: queue_room.min(most).min(limits.history_answer_bytes),
            first_bytes: if queue_room > 0 { hard.saturating_sub(waiting) } else { 0 },
            events: Vec::new(),
            used_bytes: 0,
            left_out: false,
            is_limit_reached: false,
            held,
        }
    }

    /// Goes on with an inquiry. What takes longer than a step goes on later, while the requester's
    /// input is parked.
    fn inquire(&mut self, mut inquiry: Inquiry) -> Option<Answer> {
        while !inquiry.is_over() {
            if self.work.is_step_over() {
                self.park(inquiry.caller.session.slot);
                // Behind the others that are half made, and before those that have not begun.
                let place = self.inquiries.len().min(MOST_HALF_MADE - 1);
                self.inquiries.insert(place, inquiry);
                return None;
            }
            self.take_page(&mut inquiry);
        }
        let Inquiry { caller, events, scan, left_out, is_limit_reached, .. } = inquiry;
        let complete = scan.is_complete() && !left_out;
        let realm = Arc::clone(&self.joined(caller.session.slot).realm);
        Some(answer(&realm, events, complete, is_limit_reached))
    }

    fn take_page(&mut self, inquiry: &mut Inquiry) {
        let connection = &self.connections[inquiry.caller.session.slot as usize];
        let identity = connection.session().expect("a requester has a session").identity();
        // One more than are given tells that there are more.
        let most = inquiry.limit - inquiry.events.len() + 1;
        let units = self.work.left().min(PIECE);
        let (scan, now) = (&mut inquiry.scan, self.wall_clock);
        let page = inquiry.history.scan(scan, identity, now, most, units);
        self.work.charge(page.units);
        for event in page.events {
            if inquiry.is_limit_reached {
                break;
            }
            let taken = inquiry.take(connection.codec, &event, &mut self.work);
            taken.count(&self.counters);
        }
    }

    /// Inquiries that are half made.
    pub(super) fn half_made(&self) -> usize {
        self.inquiries.len().min(MOST_HALF_MADE)
    }

    pub(super) fn check_inquiries(&self) {
        let mut waiting = self.inquiries.iter().skip(MOST_HALF_MADE);
        assert!(waiting.all(|inquiry| inquiry.events.is_empty()), "few answers are half made");
        let held = self.inquiries.iter().map(|inquiry| inquiry.held.bytes()).sum::<usize>();
        assert!(self.router.held_bytes() >= held, "what is half made is counted");
    }

    /// Goes on with the first inquiry of those that wait.
    pub(super) fn go_on_inquiring(&mut self) {
        let Some(inquiry) = self.inquiries.pop_front() else { return };
        let caller = inquiry.caller;
        // Whoever has left wants no answer, and its tickets are forgotten.
        if self.find(caller.session).is_none() {
            return;
        }
        self.redeem(caller.session.slot);
        if let Some(Answer::Now(args, kwargs)) = self.inquire(inquiry) {
            self.send_late_result(caller, &args, &kwargs);
        }
    }
}

/// The RESULT of `wamp.subscription.get_events`.
fn answer(realm: &Realm, events: Vec<Value>, complete: bool, is_limit_reached: bool) -> Answer {
    let args = match realm.settings.history_answer {
        HistoryAnswer::Arguments => events,
        HistoryAnswer::List => vec![Value::List(events)],
    };
    let kwargs = vec![
        ("complete".into(), complete.into()),
        ("is_limit_reached".into(), is_limit_reached.into()),
    ];
    Answer::Now(args, kwargs)
}

/// A call of `wamp.subscription.get_events` under way.
#[derive(Debug)]
pub(super) struct Inquiry {
    caller: Caller,
    history: Arc<History>,
    scan: Scan,
    /// Events at most.
    limit: usize,
    /// Bytes that one event may have, all together, and the first one on its own.
    most_bytes: usize,
    room_bytes: usize,
    first_bytes: usize,
    events: Vec<Value>,
    used_bytes: usize,
    /// Some event cannot be expressed or is too large for this requester.
    left_out: bool,
    is_limit_reached: bool,
    /// Counts the memory of the question, and of what is made of its answer.
    held: Held,
}

/// What became of one event.
enum Taken {
    Fits,
    Inexpressible,
    TooLarge,
}

impl Taken {
    fn count(&self, counters: &Counters) {
        match self {
            Self::Fits => {}
            Self::Inexpressible => counters.events_dropped_encoding.increment(),
            Self::TooLarge => counters.events_dropped_size.increment(),
        }
    }
}

impl Inquiry {
    /// Bytes of memory that a question takes before anything is made of its answer.
    fn weight(query: &Query) -> usize {
        let topic = query.topic.as_ref().map_or(0, |topic| heap_block(topic.capacity()));
        size_of::<Self>() + topic
    }

    fn is_over(&self) -> bool {
        self.is_limit_reached || self.scan.is_done()
    }

    fn take(&mut self, codec: Codec, event: &StoredEvent, work: &mut Work) -> Taken {
        if self.events.len() >= self.limit {
            self.is_limit_reached = true;
            return Taken::Fits;
        }
        let (subscription, is_pattern) = (self.history.subscription, self.history.is_pattern());
        let Some(encoded) = event_value(codec, subscription, is_pattern, event) else {
            self.left_out = true;
            return Taken::Inexpressible;
        };
        work.charge_bytes(encoded.len());
        if encoded.len() > self.most_bytes {
            self.left_out = true;
            return Taken::TooLarge;
        }
        self.used_bytes += encoded.len() + 1;
        let is_alone = self.events.is_empty() && encoded.len() <= self.first_bytes;
        if self.used_bytes > self.room_bytes && !is_alone {
            self.is_limit_reached = true;
        } else {
            let value = Value::Encoded(codec, encoded.into());
            self.held.resize(self.held.bytes() + size_of::<Value>() + value.heap_bytes());
            self.events.push(value);
        }
        Taken::Fits
    }
}

/// An event as an answer shows it, encoded; `None` if the serializer cannot express it.
fn event_value(
    to: Codec,
    subscription: SubscriptionId,
    is_pattern: bool,
    event: &StoredEvent,
) -> Option<Vec<u8>> {
    let mut details = event.details.clone();
    if is_pattern {
        details.push(("topic".into(), (*event.topic).into()));
    }
    let mut entries = vec![
        ("timestamp".into(), event.timestamp.to_string().into()),
        ("subscription".into(), subscription.get().into()),
        ("publication".into(), event.publication.get().into()),
        ("details".into(), Value::Dict(details)),
    ];
    match &event.payload {
        PayloadBuf::Empty => {}
        PayloadBuf::Raw { codec, bytes, args_len, has_kwargs } => {
            let encoded = |bytes| Value::Encoded(*codec, bytes);
            entries.push(("args".into(), encoded(bytes.slice(..*args_len))));
            if *has_kwargs {
                entries.push(("kwargs".into(), encoded(bytes.slice(*args_len..))));
            }
        }
        PayloadBuf::Values { args, kwargs } => {
            entries.push(("args".into(), Value::List(args.clone())));
            entries.push(("kwargs".into(), Value::Dict(kwargs.clone())));
        }
    }
    codec::encode_value(to, &Value::Dict(entries)).ok()
}

/// The filters of a request (AP-HIS-03); what it does not know is ignored.
fn query(args: Arguments<'_>) -> Result<Query, Refusal> {
    let time = |name| match args.named(name) {
        None => Ok(None),
        Some(Value::Str(text)) => text.parse::<Timestamp>().map(Some).map_err(|_| BAD_TIME),
        Some(_) => Err(BAD_TIME),
    };
    let publication = |name| match args.named(name) {
        None => Ok(None),
        Some(id) => id_of(id).and_then(PublicationId::new).map(Some).ok_or(BAD_PUBLICATION),
    };
    Ok(Query {
        reverse: match args.named("reverse") {
            None => false,
            Some(&Value::Bool(reverse)) => reverse,
            Some(_) => return Err(BAD_REVERSE),
        },
        limit: match args.named("limit") {
            None => None,
            Some(limit) => match id_of(limit) {
                Some(limit @ 1..) => Some(usize::try_from(limit).unwrap_or(usize::MAX)),
                _ => return Err(BAD_LIMIT),
            },
        },
        from_time: time("from_time")?,
        after_time: time("after_time")?,
        before_time: time("before_time")?,
        until_time: time("until_time")?,
        topic: match args.named("topic") {
            None => None,
            Some(Value::Str(topic)) => Some(topic.clone()),
            Some(_) => return Err(BAD_TOPIC),
        },
        from_publication: publication("from_publication")?,
        after_publication: publication("after_publication")?,
        before_publication: publication("before_publication")?,
        until_publication: publication("until_publication")?,
    })
}

const fn bad_argument(message: &'static str) -> Refusal {
    (WampError::InvalidArgument, message)
}

const BAD_REVERSE: Refusal = bad_argument("`reverse` must be a bool");
const BAD_LIMIT: Refusal = bad_argument("`limit` must be an integer of 1 or more");
const BAD_TIME: Refusal = bad_argument(
    "`from_time`, `after_time`, `before_time` and `until_time` must be RFC 3339 timestamps such \
     as \"2024-05-01T12:00:00.000Z\"",
);
const BAD_TOPIC: Refusal = bad_argument("`topic` must be a string");
const BAD_PUBLICATION: Refusal = bad_argument(
    "`from_publication`, `after_publication`, `before_publication` and `until_publication` must \
     be ids of publications",
);
const NO_SUCH_SUBSCRIPTION: Refusal =
    (WampError::NoSuchSubscription, "no subscription on this realm has that id");
pub(super) const TOO_MANY_QUESTIONS: Refusal = (
    WampError::ResourceLimit,
    "too much waits in the router to hold this question until it is answered: try again later",
);
const NOT_SAVED: Refusal = (
    WampError::Canceled,
    "the router could not store the event durably; subscribers may have got it",
);

/// Answers of a shard that are half made at a time; other questions wait until their turn comes.
const MOST_HALF_MADE: usize = 8;

/// Events of a history that are looked at under one lock.
const PIECE: usize = 1_024;

/// More than RESULT and its frame take besides the events, in bytes.
const ENVELOPE_BYTES: usize = 128;
