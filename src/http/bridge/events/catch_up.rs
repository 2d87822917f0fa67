//! What a client has missed, from the histories of its topics.
//!
//! It is asked for behind the subscription, so each event is in a history or comes live, and a few
//! are both. Where it cannot be known that nothing was missed, a gap is said.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::mpsc::Sender;

use super::line::{self, Heard};
use super::wish::Last;
use super::{End, Stream};
use crate::http::bridge::joining;
use crate::http::bridge::said::{Reply, Said};

/// The last events that were told from histories: they may come live as well.
#[derive(Debug, Default)]
pub(super) struct Passed {
    known: BTreeSet<u64>,
    order: VecDeque<u64>,
}

impl Passed {
    fn note(&mut self, publication: u64) {
        if self.known.insert(publication) {
            self.order.push_back(publication);
        }
        if self.order.len() > MOST_PASSED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Whether an event was told already.
    pub(super) fn take(&mut self, publication: u64) -> bool {
        !self.known.is_empty() && self.known.remove(&publication)
    }
}

/// An event of a history.
#[derive(Debug, Deserialize)]
struct Stored<'a> {
    publication: u64,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    details: Option<&'a RawValue>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
    #[serde(borrow)]
    kwargs: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Verdict {
    complete: bool,
    is_limit_reached: bool,
}

/// One answer of a history.
struct Page<'a> {
    events: Vec<Stored<'a>>,
    verdict: Verdict,
}

impl<'a> Page<'a> {
    /// An answer has each event as an argument, or all of them in one list.
    fn read(args: Option<&'a RawValue>, kwargs: Option<&'a RawValue>) -> Option<Self> {
        let args: Vec<&RawValue> = serde_json::from_str(args.map_or("[]", RawValue::get)).ok()?;
        let events = match args.as_slice() {
            [list] if list.get().starts_with('[') => serde_json::from_str(list.get()).ok()?,
            events => {
                let events = events.iter().map(|event| serde_json::from_str(event.get()).ok());
                events.collect::<Option<_>>()?
            }
        };
        Some(Self { events, verdict: serde_json::from_str(kwargs?.get()).ok()? })
    }
}

impl Stream {
    /// Tells what was published after an event.
    pub(super) async fn catch_up(
        &mut self,
        last: Last,
        sink: &Sender<Bytes>,
    ) -> Result<Passed, End> {
        let mut passed = Passed::default();
        for (subscription, topic) in self.subscriber.subscriptions() {
            let Last::Publication(mut after) = last else {
                let reason = "Last-Event-ID is no id of an event";
                send(sink, line::gap(&topic, reason)).await?;
                continue;
            };
            let mut is_first = true;
            loop {
                let kwargs = json!({ "after_publication": after });
                let call = |request| json!([48, request, {}, GET_EVENTS, [subscription], kwargs]);
                let answer = self.subscriber.ask(call).await?;
                let unreadable = || End::Over(joining::UNREADABLE.into());
                let Some(Said::Reply { reply, .. }) = Said::read(&answer) else {
                    return Err(unreadable());
                };
                let Reply::Result { args, kwargs } = reply else {
                    let (error, sentence) = reply.refusal();
                    let reason = format!("the history cannot be read: {error}: {sentence}");
                    send(sink, line::gap(&topic, &reason)).await?;
                    break;
                };
                let Page { events, verdict } = Page::read(args, kwargs).ok_or_else(unreadable)?;
                // What is left out later is no other gap.
                if !verdict.complete && is_first {
                    send(sink, line::gap(&topic, INCOMPLETE)).await?;
                }
                is_first = false;
                for event in &events {
                    let Stored { publication, timestamp, details, args, kwargs } = *event;
                    let heard = Heard { publication, details, args, kwargs, timestamp };
                    send(sink, heard.to_line(&topic)).await?;
                    passed.note(publication);
                    after = publication;
                }
                if !verdict.is_limit_reached || events.is_empty() {
                    break;
                }
            }
        }
        Ok(passed)
    }
}

async fn send(sink: &Sender<Bytes>, line: Bytes) -> Result<(), End> {
    sink.send(line).await.map_err(|_| End::Gone)
}

const GET_EVENTS: &str = "wamp.subscription.get_events";

const INCOMPLETE: &str =
    "the topic has no history, or it does not reach back to this event, or holds too large ones";

/// Events of histories that may come live once more: what is published in the moment of the change.
const MOST_PASSED: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_told_once() {
        let mut passed = Passed::default();
        assert!(!passed.take(1));
        (0..=MOST_PASSED as u64).for_each(|id| passed.note(id));
        assert!(!passed.take(0), "it was too long ago");
        assert!(passed.take(1) && !passed.take(1));
    }

    #[test]
    fn a_page_has_events_in_either_form() {
        let event = r#"{"publication":5,"timestamp":"t","details":{},"args":[1]}"#;
        let kwargs = r#"{"complete":true,"is_limit_reached":false}"#;
        let raw = |text: String| RawValue::from_string(text).unwrap();
        let kwargs = raw(kwargs.to_owned());
        for args in [format!("[{event},{event}]"), format!("[[{event},{event}]]")] {
            let args = raw(args);
            let page = Page::read(Some(&args), Some(&kwargs)).unwrap();
            let ids: Vec<_> = page.events.iter().map(|event| event.publication).collect();
            assert_eq!((ids, page.verdict.complete), (vec![5, 5], true));
        }
        assert!(Page::read(None, Some(&kwargs)).unwrap().events.is_empty());
        assert!(Page::read(None, None).is_none());
    }
}
