//! `wamp.subscription.get_events` (AP-HIS): questions to histories, answered in pieces.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::Shard;
use super::super::authorize::Asked;
use super::super::dealer::NO_SUCH_PROCEDURE;
use super::super::requests::Refusal;
use super::super::work::Work;
use super::{Answer, Arguments, Caller, id_of};
use crate::authorization::Action;
use crate::codec::{self, Codec};
use crate::router::{Counters, Held, History, HistoryAnswer, Query, Router, Scan, StoredEvent};
use crate::wamp::{
    Dict, PayloadBuf, PublicationId, SubscriptionId, Timestamp, Value, WampError, heap_block,
};

impl Shard {
    /// `wamp.subscription.get_events` (AP-HIS-03 to AP-HIS-06): the events as `Arguments`, and
    /// `complete` and `is_limit_reached` as `ArgumentsKw`.
    ///
    /// An event that the requester's serializer cannot express, or that its transport does not
    /// take, is left out and counted, as it would be live; the answer is not complete then.
    ///
    /// # Errors
    /// `wamp.error.no_such_procedure` on a realm without histories, `wamp.error.invalid_argument`
    /// and `wamp.error.no_such_subscription`.
    pub(in crate::shard) fn get_events(
        &mut self,
        caller: Caller,
        args: Arguments<'_>,
    ) -> Result<Answer, Refusal> {
        if self.realm_of(caller).histories.is_empty() {
            return Err(NO_SUCH_PROCEDURE);
        }
        let answer = self.rules_of(caller).settings.history_answer;
        let shape = Shape::of(answer, args);
        let query = if shape == Shape::Crossbar { newest(args)? } else { query(args)? };
        let subscription = args.subscription(0)?;
        let session = self.connections.joined_mut(caller.session.slot);
        let realm = Arc::clone(&session.realm);
        let is_held = session.subscriptions.contains_key(&subscription);
        let Some(history) = realm.histories.get(subscription) else {
            if !is_held && realm.topics.get(subscription).is_none() {
                return Err(NO_SUCH_SUBSCRIPTION);
            }
            return Ok(shape.answer(Vec::new(), false, false));
        };
        // Who may not subscribe may not read what subscribers got.
        if let Some(topic) = realm.topics.get(subscription).filter(|_| !is_held) {
            let asked = Asked(Action::Subscribe, &topic.uri);
            if let Err(answer) = self.permit(caller, asked, topic.policy, Dict::new) {
                return Ok(answer);
            }
        }
        if !self.cx.may_hold(Inquiry::weight(&query)) {
            return Err(TOO_MANY_QUESTIONS);
        }
        let inquiry = self.inquiry(caller, Arc::clone(history), query, shape);
        if self.inquiries.can_begin() {
            return Ok(self.inquire(inquiry).unwrap_or(Answer::Later));
        }
        self.connections.park(caller.session.slot);
        self.inquiries.wait(inquiry);
        Ok(Answer::Later)
    }

    /// Answers fill half of a queue at most, but for one event on its own: a client cannot be
    /// disconnected, nor the router filled, by asking for more than can be read.
    fn inquiry(
        &self,
        caller: Caller,
        history: Arc<History>,
        query: Query,
        shape: Shape,
    ) -> Inquiry {
        let limits = self.cx.limits();
        let connection = &self.connections[caller.session.slot];
        let waiting = connection.output.waiting_bytes() + ENVELOPE_BYTES;
        let hard = self.cx.edition.settings.output.hard_bytes;
        let peer_room = connection.peer_limit_bytes.saturating_sub(ENVELOPE_BYTES);
        let most = peer_room.min(hard.saturating_sub(ENVELOPE_BYTES));
        let queue_room = (hard / 2).saturating_sub(waiting);
        let limit = limits.history_answer_events;
        let held = self.cx.held().hold(Inquiry::weight(&query));
        Inquiry {
            caller,
            history,
            shape,
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
            if self.cx.work.is_step_over() {
                self.connections.park(inquiry.caller.session.slot);
                self.inquiries.go_on_later(inquiry);
                return None;
            }
            self.take_page(&mut inquiry);
        }
        let Inquiry { shape, events, scan, left_out, is_limit_reached, .. } = inquiry;
        let complete = scan.is_complete() && !left_out;
        Some(shape.answer(events, complete, is_limit_reached))
    }

    fn take_page(&mut self, inquiry: &mut Inquiry) {
        let connection = &self.connections[inquiry.caller.session.slot];
        let identity = self.connections.joined(inquiry.caller.session.slot).identity();
        // One more than are given tells that there are more.
        let most = inquiry.limit - inquiry.events.len() + 1;
        let units = self.cx.work.left().min(PIECE);
        let (scan, now) = (&mut inquiry.scan, self.cx.wall_clock);
        let page = inquiry.history.scan(scan, identity, now, most, units);
        self.cx.work.charge(page.units);
        for event in page.events {
            if inquiry.is_limit_reached {
                break;
            }
            let taken = inquiry.take(connection.codec, &event, &mut self.cx.work);
            taken.count(&self.cx.counters);
        }
    }

    /// Goes on with the first inquiry of those that wait.
    pub(in crate::shard) fn go_on_inquiring(&mut self) {
        let Some(inquiry) = self.inquiries.next() else { return };
        let caller = inquiry.caller;
        // Whoever has left wants no answer, and its tickets are forgotten.
        if self.connections.find(caller.session).is_none() {
            return;
        }
        self.connections.redeem(caller.session.slot);
        if let Some(Answer::Now(args, kwargs)) = self.inquire(inquiry) {
            self.send_late_result(caller, &args, &kwargs);
        }
    }
}

/// The shape of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Arguments,
    List,
    /// A list and nothing else, of events that say their topic.
    Crossbar,
}

impl Shape {
    fn of(answer: HistoryAnswer, args: Arguments<'_>) -> Self {
        match answer {
            HistoryAnswer::Arguments => Self::Arguments,
            HistoryAnswer::Crossbar if !args.has_names() => Self::Crossbar,
            HistoryAnswer::List | HistoryAnswer::Crossbar => Self::List,
        }
    }

    /// The RESULT of `wamp.subscription.get_events`.
    fn answer(self, events: Vec<Value>, complete: bool, is_limit_reached: bool) -> Answer {
        let verdict = || {
            vec![
                ("complete".into(), complete.into()),
                ("is_limit_reached".into(), is_limit_reached.into()),
            ]
        };
        match self {
            Self::Arguments => Answer::Now(events, verdict()),
            Self::List => Answer::Now(vec![Value::List(events)], verdict()),
            Self::Crossbar => Answer::Now(vec![Value::List(events)], Vec::new()),
        }
    }
}

/// The inquiries of a shard that take longer than a step, in the order of their turns.
///
/// Invariant: only the first [`MOST_HALF_MADE`] have begun.
#[derive(Debug, Default)]
pub(in crate::shard) struct Inquiries(VecDeque<Inquiry>);

impl Inquiries {
    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are half made.
    pub(in crate::shard) fn half_made(&self) -> usize {
        self.0.len().min(MOST_HALF_MADE)
    }

    /// Whether one more may begin.
    fn can_begin(&self) -> bool {
        self.0.len() < MOST_HALF_MADE
    }

    /// Takes in one that has not begun.
    fn wait(&mut self, inquiry: Inquiry) {
        self.0.push_back(inquiry);
    }

    /// Takes in one that is half made: behind the others that are, and before those that have not
    /// begun.
    fn go_on_later(&mut self, inquiry: Inquiry) {
        let place = self.0.len().min(MOST_HALF_MADE - 1);
        self.0.insert(place, inquiry);
    }

    fn next(&mut self) -> Option<Inquiry> {
        self.0.pop_front()
    }

    pub(in crate::shard) fn check(&self, router: &Router) {
        let mut waiting = self.0.iter().skip(MOST_HALF_MADE);
        assert!(waiting.all(|inquiry| inquiry.events.is_empty()), "few answers are half made");
        let held = self.0.iter().map(|inquiry| inquiry.held.bytes()).sum::<usize>();
        assert!(router.held_bytes() >= held, "what is half made is counted");
    }
}

/// A call of `wamp.subscription.get_events` under way.
#[derive(Debug)]
pub(in crate::shard) struct Inquiry {
    caller: Caller,
    history: Arc<History>,
    shape: Shape,
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
        let says_topic = self.shape == Shape::Crossbar;
        let Some(encoded) = event_value(codec, subscription, (is_pattern, says_topic), event)
        else {
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
/// `says_topic`: as an entry of its own.
fn event_value(
    to: Codec,
    subscription: SubscriptionId,
    (is_pattern, says_topic): (bool, bool),
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
    if says_topic {
        entries.push(("topic".into(), (*event.topic).into()));
    }
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

/// What clients of crossbar ask for: the newest events, so many.
fn newest(args: Arguments<'_>) -> Result<Query, Refusal> {
    let limit = match args.at(1) {
        None => CROSSBARS_LIMIT,
        Some(limit) => match id_of(limit) {
            Some(limit @ 1..) => usize::try_from(limit).unwrap_or(usize::MAX),
            _ => return Err(BAD_LIMIT),
        },
    };
    Ok(Query { reverse: true, limit: Some(limit), ..Query::default() })
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
pub(in crate::shard) const TOO_MANY_QUESTIONS: Refusal = (
    WampError::ResourceLimit,
    "too much waits in the router to hold this question until it is answered: try again later",
);
/// Events that crossbar gives to those who name no number.
const CROSSBARS_LIMIT: usize = 10;

/// Answers of a shard that are half made at a time; other questions wait until their turn comes.
const MOST_HALF_MADE: usize = 8;

/// Events of a history that are looked at under one lock.
const PIECE: usize = 1_024;

/// More than RESULT and its frame take besides the events, in bytes.
const ENVELOPE_BYTES: usize = 128;
