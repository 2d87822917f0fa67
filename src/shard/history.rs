//! Event history (AP-HIS) in this shard: what PUBLISH records, and `wamp.subscription.get_events`.

use std::sync::Arc;

use super::Shard;
use super::broker::Refusal;
use super::meta::{Arguments, id_of};
use crate::codec::{self, Codec};
use crate::router::{
    Answer, Audience, Deposit, Fanouts, HISTORY, HistoryAnswer, Query, Realm, Receipt, Record,
    SessionRef, StoredEvent,
};
use crate::wamp::{
    Dict, PayloadBuf, PublicationId, Publish, RouterMessage, SubscriptionId, Timestamp, Value,
    WampError, code,
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
            payload: publish.payload.to_buf(),
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
        let deposit = Deposit { records: std::mem::take(&mut self.records), receipt };
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

    /// `wamp.subscription.get_events` for the session in `slot` (AP-HIS-03 to AP-HIS-06): the
    /// events as `Arguments`, and `complete` and `is_limit_reached` as `ArgumentsKw`.
    ///
    /// An event that the requester's serializer cannot express, or that its transport does not
    /// take, is left out and counted, as it would be live; the answer is not complete then.
    ///
    /// # Errors
    /// `wamp.error.invalid_argument` and `wamp.error.no_such_subscription`.
    pub(super) fn get_events(
        &self,
        slot: u32,
        args: Arguments<'_>,
    ) -> Result<(Vec<Value>, Dict), Refusal> {
        let query = query(args)?;
        let subscription = args.subscription(0)?;
        let session = self.connections[slot as usize].session();
        let session = session.expect("a caller has a session");
        let realm = &session.realm;
        let answer = match realm.histories.get(subscription) {
            Some(history) => {
                let limits = &self.settings().limits;
                let (limit, room) = (limits.history_answer_events, limits.history_answer_bytes);
                history.query(&query, session.identity(), self.wall_clock, limit, room)
            }
            None if session.subscriptions.contains_key(&subscription)
                || realm.topics.get(subscription).is_some() =>
            {
                Answer { events: Vec::new(), complete: false, is_limit_reached: false }
            }
            None => return Err(NO_SUCH_SUBSCRIPTION),
        };
        let is_pattern = realm.histories.get(subscription).is_some_and(|h| h.is_pattern());
        let fitted = self.fit(slot, subscription, is_pattern, &answer);
        let Fitted { events, left_out, is_limit_reached } = fitted;
        let args = match realm.settings.history_answer {
            HistoryAnswer::Arguments => events,
            HistoryAnswer::List => vec![Value::List(events)],
        };
        let kwargs = vec![
            ("complete".into(), (answer.complete && !left_out).into()),
            ("is_limit_reached".into(), is_limit_reached.into()),
        ];
        Ok((args, kwargs))
    }

    /// The events as values, as many as there is room for.
    ///
    /// Answers fill half of a queue at most, but for one event on its own: a client cannot be
    /// disconnected, nor the router filled, by asking for more than can be read.
    fn fit(
        &self,
        slot: u32,
        subscription: SubscriptionId,
        is_pattern: bool,
        answer: &Answer,
    ) -> Fitted {
        let connection = &self.connections[slot as usize];
        let waiting = connection.output.waiting_bytes() + ENVELOPE_BYTES;
        let hard = self.settings().output.hard_bytes;
        let peer_room = connection.peer_limit_bytes.saturating_sub(ENVELOPE_BYTES);
        let most = peer_room.min(hard.saturating_sub(ENVELOPE_BYTES));
        let queue_room = (hard / 2).saturating_sub(waiting);
        let room = queue_room.min(most).min(self.settings().limits.history_answer_bytes);
        let mut fitted = Fitted {
            events: Vec::new(),
            left_out: false,
            is_limit_reached: answer.is_limit_reached,
        };
        let mut used = 0;
        for event in &answer.events {
            let Some(encoded) = event_value(connection.codec, subscription, is_pattern, event)
            else {
                self.counters.events_dropped_encoding.increment();
                fitted.left_out = true;
                continue;
            };
            if encoded.len() > most {
                self.counters.events_dropped_size.increment();
                fitted.left_out = true;
                continue;
            }
            used += encoded.len() + 1;
            let is_first = fitted.events.is_empty() && queue_room > 0;
            if used > room && !(is_first && waiting + encoded.len() <= hard) {
                fitted.is_limit_reached = true;
                return fitted;
            }
            fitted.events.push(Value::Encoded(connection.codec, encoded.into()));
        }
        fitted
    }
}

/// As much of an answer as its requester can take.
struct Fitted {
    events: Vec<Value>,
    /// Some event cannot be expressed or is too large for this requester.
    left_out: bool,
    is_limit_reached: bool,
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
const NOT_SAVED: Refusal = (
    WampError::Canceled,
    "the router could not store the event durably; subscribers may have got it",
);

/// More than RESULT and its frame take besides the events, in bytes.
const ENVELOPE_BYTES: usize = 128;
