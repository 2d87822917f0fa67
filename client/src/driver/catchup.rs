//! What was missed, from the event histories of topics.
//!
//! A history is asked behind the subscription, so each event is in it or comes live, and a few are
//! both: what is known is passed over. Where it cannot be known that nothing was missed, a gap is
//! told. A history that reaches back to an event that was had before is taken as whole, although
//! the router says that it is not: the question goes back further than it must.
//!
//! A router puts what a client has published itself into the history for it, too. So publications
//! to topics that are caught up with are acknowledged, and passed over by their ids.

use std::sync::Arc;

use stentor_protocol::wamp::{
    Dict, MatchPolicy, Payload as Bytes, PublicationId, SubscriptionId, Value,
};

use super::Driver;
use super::commands::policy;
use super::link::{Link, Waiter};
use super::seen::Anchor;
use super::tables::{Catching, Subscriber};
use crate::call::Reply;
use crate::command::{LocalId, Respond};
use crate::core::{find, id};
use crate::error::Failure;
use crate::event::{Event, Gap, SubscriptionItem};
use crate::payload::Payload;

/// A question that the client asks on its own.
pub(super) enum Question {
    /// Which subscription the history of a topic has, before it is subscribed to.
    Lookup { local: LocalId, answer: Respond<SubscriptionId> },
    /// The newest event of that history.
    Newest { local: LocalId, answer: Respond<SubscriptionId> },
    /// What was missed.
    Missed { local: LocalId },
}

/// A page of a history.
struct Page {
    events: Vec<Event>,
    is_complete: bool,
    has_more: bool,
}

impl Driver {
    /// Begins a subscription: if it may have to catch up later, first with a look at where the
    /// history stands.
    pub(super) fn begin_subscription(
        &mut self,
        link: &mut Link,
        local: LocalId,
        answer: Respond<SubscriptionId>,
    ) {
        let Some(subscriber) = self.tables.subscriber_mut(local) else { return };
        if subscriber.seen.is_none() || !link.has_history {
            return self.subscribe_now(link, local, answer);
        }
        let named: Dict = vec![("match".into(), policy(&subscriber.wish.options).into())];
        let args = [Value::Str(subscriber.wish.topic.to_string()), Value::Dict(named)];
        let payload = Bytes::Values { args: &args, kwargs: &Dict::new() };
        match link.core.call("wamp.subscription.lookup", &Dict::new(), payload) {
            Ok(request) => {
                let question = Question::Lookup { local, answer };
                link.waiters.insert(request, Waiter::Own(question));
            }
            Err(_) => self.subscribe_now(link, local, answer),
        }
    }

    /// What came of a question of the client's own.
    pub(super) fn handle_own(
        &mut self,
        link: &mut Link,
        question: Question,
        result: Result<Reply, Failure>,
    ) {
        match question {
            Question::Lookup { local, answer } => {
                let found = result.ok().and_then(|reply| reply.first::<Option<u64>>().ok());
                match found.flatten().and_then(SubscriptionId::new) {
                    Some(history) => self.ask_newest(link, local, history, answer),
                    None => self.subscribe_now(link, local, answer),
                }
            }
            Question::Newest { local, answer } => {
                if let Ok(reply) = result
                    && let Some(page) = page(&reply, "")
                    && let Some(Subscriber { seen: Some(seen), .. }) =
                        self.tables.subscriber_mut(local)
                {
                    let newest = page.events.first().map(|event| event.publication);
                    let beginning = page.is_complete.then_some(Anchor::Beginning);
                    seen.start = newest.map(Anchor::Publication).or(beginning);
                }
                self.subscribe_now(link, local, answer);
            }
            Question::Missed { local } => match result {
                Ok(reply) => self.handle_page(link, local, &reply),
                Err(failure) => {
                    self.tell_gap(link, local, Gap::NoHistory(failure.to_string()));
                    self.go_live(link, local);
                }
            },
        }
    }

    fn ask_newest(
        &mut self,
        link: &mut Link,
        local: LocalId,
        history: SubscriptionId,
        answer: Respond<SubscriptionId>,
    ) {
        let named = vec![("reverse".into(), true.into()), ("limit".into(), 1_u64.into())];
        let question = Question::Newest { local, answer };
        if let Err(Question::Newest { local, answer }) = ask(link, history, &named, question) {
            self.subscribe_now(link, local, answer);
        }
    }

    /// A restored subscription: what was missed is read, and what comes live waits.
    pub(super) fn catch_up(&mut self, link: &mut Link, local: LocalId) {
        let has_history = link.has_history;
        let Some(subscriber) = self.tables.subscriber_mut(local) else { return };
        let Some(seen) = &subscriber.seen else { return };
        let after = seen.anchor().filter(|_| has_history);
        match after {
            Some(after) => {
                let (live, live_bytes, has_lost) = Default::default();
                subscriber.catching = Some(Catching { after, live, live_bytes, has_lost });
                self.ask_missed(link, local);
            }
            None => {
                let why = if has_history {
                    "the topic had no history when it was subscribed to"
                } else {
                    "the router announces no event history"
                };
                self.tell_gap(link, local, Gap::NoHistory(why.to_owned()));
            }
        }
    }

    /// Asks for the next page.
    pub(super) fn ask_missed(&mut self, link: &mut Link, local: LocalId) {
        let Some(subscriber) = self.tables.subscriber_mut(local) else { return };
        let (Some(history), Some(catching)) = (subscriber.id(), &subscriber.catching) else {
            return;
        };
        let mut named: Dict = vec![("limit".into(), PAGE.into())];
        if let Anchor::Publication(after) = catching.after {
            named.push(("after_publication".into(), after.get().into()));
        }
        if ask(link, history, &named, Question::Missed { local }).is_err() {
            let why = "too many requests wait to ask for it".to_owned();
            self.tell_gap(link, local, Gap::NoHistory(why));
            self.go_live(link, local);
        }
    }

    fn handle_page(&mut self, link: &mut Link, local: LocalId, reply: &Reply) {
        let Some(subscriber) = self.tables.subscriber_mut(local) else { return };
        let (Some(seen), Some(catching)) = (&mut subscriber.seen, &mut subscriber.catching) else {
            return;
        };
        let Some(page) = page(reply, &subscriber.wish.topic) else {
            let why = "the answer is not of the form that is known".to_owned();
            self.tell_gap(link, local, Gap::NoHistory(why));
            return self.go_live(link, local);
        };
        let reaches_back =
            page.events.first().is_some_and(|event| seen.contains(event.publication));
        let sink = &subscriber.wish.sink;
        if !page.is_complete && !reaches_back {
            link.give(sink, SubscriptionItem::Gap(Gap::Incomplete));
        }
        let last = page.events.last().map(|event| Anchor::Publication(event.publication));
        for event in page.events {
            if seen.note(event.publication) {
                link.give(sink, SubscriptionItem::Event(event));
            }
        }
        match last {
            Some(last) if page.has_more && last != catching.after => {
                catching.after = last;
                // No page is asked for before the last one has been taken.
                link.pages.push(local);
            }
            _ => {
                if page.has_more {
                    link.give(sink, SubscriptionItem::Gap(Gap::Incomplete));
                }
                self.go_live(link, local);
            }
        }
    }

    /// The history is read: what came live meanwhile follows, but for what was in both.
    fn go_live(&mut self, link: &mut Link, local: LocalId) {
        let Some(subscriber) = self.tables.subscriber_mut(local) else { return };
        let Some(catching) = subscriber.catching.take() else { return };
        if catching.has_lost {
            link.give(&subscriber.wish.sink, SubscriptionItem::Gap(Gap::TooManyLive));
        }
        for event in catching.live {
            deliver(link, subscriber, event);
        }
    }

    fn tell_gap(&mut self, link: &mut Link, local: LocalId, gap: Gap) {
        if let Some(subscriber) = self.tables.subscriber_mut(local) {
            link.give(&subscriber.wish.sink, SubscriptionItem::Gap(gap));
        }
    }

    /// Whether a publication will be in a history that is read later, and is not to be taken for
    /// one that was missed.
    pub(super) fn is_own(&self, topic: &str, options: &Dict) -> bool {
        let is_excluded = !matches!(find(options, "exclude_me"), Some(Value::Bool(false)));
        is_excluded && self.tables.subscribers().any(|subscriber| hears(subscriber, topic))
    }

    pub(super) fn note_own(&mut self, topic: &str, publication: PublicationId) {
        for (_, subscriber) in self.tables.subscribers_mut() {
            if hears(subscriber, topic)
                && let Some(seen) = &mut subscriber.seen
            {
                seen.note(publication);
            }
        }
    }
}

fn hears(subscriber: &Subscriber, topic: &str) -> bool {
    let policy = match policy(&subscriber.wish.options) {
        "prefix" => MatchPolicy::Prefix,
        "wildcard" => MatchPolicy::Wildcard,
        _ => MatchPolicy::Exact,
    };
    subscriber.seen.is_some() && policy.matches(&subscriber.wish.topic, topic)
}

/// Gives an event to its reader, unless that has had it; holds it while a history is read.
pub(super) fn deliver(link: &mut Link, subscriber: &mut Subscriber, event: Event) {
    if let Some(catching) = &mut subscriber.catching {
        catching.live_bytes += event.weight();
        if catching.live_bytes > LIVE_BYTES {
            catching.live.clear();
            catching.live_bytes = event.weight();
            catching.has_lost = true;
        }
        catching.live.push_back(event);
        return;
    }
    let is_new = match &mut subscriber.seen {
        Some(seen) if event.is_retained() => seen.note_retained(event.publication),
        Some(seen) => seen.note(event.publication),
        None => true,
    };
    if is_new {
        link.give(&subscriber.wish.sink, SubscriptionItem::Event(event));
    }
}

/// Gives the question back if it cannot be asked.
fn ask(
    link: &mut Link,
    history: SubscriptionId,
    named: &Dict,
    question: Question,
) -> Result<(), Question> {
    let args = [history.get().into()];
    let payload = Bytes::Values { args: &args, kwargs: named };
    match link.core.call("wamp.subscription.get_events", &Dict::new(), payload) {
        Ok(request) => {
            link.waiters.insert(request, Waiter::Own(question));
            Ok(())
        }
        Err(_) => Err(question),
    }
}

/// The answer to a question to a history, whose events are arguments or one list. `None` if it does
/// not say how far it can be trusted, or is something else.
fn page(reply: &Reply, topic: &str) -> Option<Page> {
    let (mut args, kwargs) = reply.payload.values().ok()?;
    let is_set = |key| match find(&kwargs, key) {
        Some(Value::Bool(is_set)) => Some(*is_set),
        _ => None,
    };
    let is_complete = is_set("complete")?;
    let has_more = is_set("is_limit_reached").unwrap_or(false);
    if let [Value::List(_)] = args[..]
        && let Some(Value::List(list)) = args.pop()
    {
        args = list;
    }
    let topic: Arc<str> = topic.into();
    let events = args.into_iter().map(|value| event(value, &topic)).collect::<Option<Vec<_>>>()?;
    Some(Page { events, is_complete, has_more })
}

fn event(value: Value, topic: &Arc<str>) -> Option<Event> {
    let Value::Dict(mut entries) = value else { return None };
    let publication = id(&entries, "publication").and_then(PublicationId::new)?;
    let mut take = |key: &str| {
        let at = entries.iter().position(|(name, _)| name == key)?;
        Some(entries.swap_remove(at).1)
    };
    let dict = |value| match value {
        Some(Value::Dict(dict)) => dict,
        _ => Dict::new(),
    };
    let details = dict(take("details"));
    let kwargs = dict(take("kwargs"));
    let args = match take("args") {
        Some(Value::List(args)) => args,
        _ => Vec::new(),
    };
    let payload = Payload::of_values(args, kwargs);
    Some(Event { topic: Arc::clone(topic), publication, details, payload, is_from_history: true })
}

/// Events that are asked for at once.
const PAGE: u64 = 500;

/// Bytes of events that come live while a history is read.
const LIVE_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Reply {
        let (args, kwargs) = text.split_once(' ').unwrap();
        let (args, kwargs) = (args.as_bytes(), Some(kwargs.as_bytes()));
        let codec = stentor_protocol::wamp::Codec::Json;
        let payload = Payload::of(Bytes::Raw { codec, args, kwargs });
        Reply { details: Dict::new(), payload }
    }

    #[test]
    fn pages_are_read_in_both_forms_and_nothing_else_is_one() {
        let one = r#"{"publication":7,"details":{"topic":"a.b"},"args":[1],"kwargs":{"k":2}}"#;
        for args in [format!("[{one}]"), format!("[[{one}]]")] {
            let page = page(&reply(&format!("{args} {{\"complete\":true}}")), "a.").unwrap();
            let [event] = &page.events[..] else { panic!("one event") };
            assert!(page.is_complete && !page.has_more);
            assert_eq!((event.topic(), event.publication.get()), ("a.b", 7));
            assert_eq!(event.args::<(u8,)>().unwrap(), (1,));
        }
        assert!(page(&reply("[] {\"complete\":false}"), "a").unwrap().events.is_empty());
        for odd in [
            "[] {}",
            "[] {\"complete\":1}",
            "[1] {\"complete\":true}",
            "[{}] {\"complete\":true}",
            "[{\"publication\":0}] {\"complete\":true}",
        ] {
            assert!(page(&reply(odd), "a").is_none(), "{odd}");
        }
    }
}
