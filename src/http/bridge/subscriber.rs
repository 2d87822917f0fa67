//! A session that subscribes for others: for a stream of events, or for a webhook.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::time::timeout;

use super::joining;
use super::said::Said;
use super::session::Lost;
use crate::http::inner::{Inner, InnerReader, InnerWriter};

/// A session with its subscriptions.
#[derive(Debug)]
pub(super) struct Subscriber {
    reader: InnerReader,
    writer: InnerWriter,
    /// The id of the last request.
    request: u64,
    /// Topics or patterns by the ids of their subscriptions.
    subscriptions: BTreeMap<u64, String>,
    /// What has come while something else was awaited.
    early: Vec<Bytes>,
    early_bytes: usize,
}

/// The session, or one of its subscriptions, is over for this reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Over(pub(super) String);

/// Why nothing is subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotSubscribed {
    Lost(Lost),
    /// The router refuses a subscription: its error, and a sentence.
    Refused {
        error: String,
        sentence: String,
    },
}

impl From<Lost> for NotSubscribed {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl From<Over> for NotSubscribed {
    fn from(Over(reason): Over) -> Self {
        Self::Lost(if reason == joining::STOPPING { Lost::Stopping } else { Lost::Ended(reason) })
    }
}

impl Subscriber {
    /// Joins a realm. `most`: bytes of the longest message that is taken of the router.
    pub(super) async fn join(inner: Inner, realm: &str, most: usize) -> Result<Self, Lost> {
        let (reader, writer) = joining::begin(inner, realm, HELLO, most).await?;
        let (subscriptions, early) = Default::default();
        Ok(Self { reader, writer, request: 0, subscriptions, early, early_bytes: 0 })
    }

    /// Subscribes to a topic, which is matched by this policy.
    pub(super) async fn subscribe(
        &mut self,
        policy: &str,
        topic: &str,
    ) -> Result<(), NotSubscribed> {
        let options = json!({ "match": policy });
        let asked = self.ask(|request| json!([32, request, options, topic]));
        let answer = timeout(SUBSCRIBING, asked).await;
        let answer = answer.map_err(|_| Lost::Refused("it does not answer in time".into()))??;
        match Said::read(&answer) {
            Some(Said::Subscribed { subscription, .. }) => {
                self.subscriptions.insert(subscription, topic.to_owned());
                Ok(())
            }
            Some(Said::Reply { reply, .. }) => {
                let (error, sentence) = reply.refusal();
                Err(NotSubscribed::Refused { error, sentence })
            }
            _ => Err(Lost::Ended(joining::UNREADABLE.into()).into()),
        }
    }

    /// Topics or patterns, with the ids of their subscriptions.
    pub(super) fn subscriptions(&self) -> Vec<(u64, String)> {
        self.subscriptions.iter().map(|(id, topic)| (*id, topic.clone())).collect()
    }

    /// The topic or pattern of a subscription.
    pub(super) fn topic(&self, subscription: u64) -> &str {
        self.subscriptions.get(&subscription).map_or("", String::as_str)
    }

    /// The next message, as it is. Nothing is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Bytes, Over> {
        match self.reader.next().await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(Over(joining::CLOSED.into())),
            Err(error) => Err(Over(error.to_string())),
        }
    }

    /// The events that came while answers were awaited.
    pub(super) fn take_early(&mut self) -> Vec<Bytes> {
        self.early_bytes = 0;
        std::mem::take(&mut self.early)
    }

    /// The answer to a request, which is made with this id. Events that come before are kept, up to
    /// a bound.
    pub(super) async fn ask(
        &mut self,
        request: impl FnOnce(u64) -> serde_json::Value,
    ) -> Result<Bytes, Over> {
        self.request += 1;
        let message = request(self.request).to_string();
        let sent = self.writer.send(message.as_bytes()).await;
        sent.map_err(|error| Over(error.to_string()))?;
        loop {
            let message = self.next().await?;
            match Said::read(&message) {
                Some(Said::Reply { request: of, .. } | Said::Subscribed { request: of, .. })
                    if of == self.request =>
                {
                    return Ok(message);
                }
                Some(Said::Event { .. }) => {
                    self.early_bytes += message.len();
                    let is_over = self.early_bytes > MOST_EARLY_BYTES && !self.early.is_empty();
                    if self.early.len() == MOST_EARLY || is_over {
                        return Err(Over(TOO_EARLY.into()));
                    }
                    self.early.push(message);
                }
                Some(said) => Over::of(&said).map_or(Ok(()), Err)?,
                None => return Err(Over(joining::UNREADABLE.into())),
            }
        }
    }
}

impl Over {
    /// Whether a message is the end of the session, or of one of its subscriptions.
    pub(super) fn of(said: &Said<'_>) -> Option<Self> {
        match said {
            Said::Goodbye { reason } | Said::Abort { reason, .. } => Some(Self(reason.clone())),
            Said::Revoked => Some(Self("wamp.error.not_authorized".into())),
            _ => None,
        }
    }
}

/// What such a session can do.
const HELLO: &str = "{\"agent\":\"Stentor-HTTP\",\"roles\":{\"subscriber\":{\"features\":\
    {\"pattern_based_subscription\":true,\"publisher_identification\":true,\
    \"subscription_revocation\":true,\"event_history\":true}},\"caller\":{}}}";

/// The router has as long as that to accept a subscription.
const SUBSCRIBING: Duration = Duration::from_secs(10);

/// Events that come while something else is awaited, and their bytes, but for one alone.
const MOST_EARLY: usize = 1_000;
const MOST_EARLY_BYTES: usize = 1024 * 1024;

const TOO_EARLY: &str = "more is published than can be kept while the router answers";
