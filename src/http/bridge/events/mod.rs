//! Server-sent events: a stream of what is published to some topics, for pages and programs that
//! only read.
//!
//! Each stream has a session of its own. A task takes what the router says and hands it on piece
//! by piece: what the client does not take stays in the session's socket, and the router treats it
//! as a slow consumer. After a lost connection what was missed is taken from the event history.

mod catch_up;
mod line;
mod wish;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout, timeout_at};

use self::line::Heard;
pub(super) use self::wish::Wish;
use super::joining;
use super::pool::SessionKey;
use super::said::Said;
use super::session::Lost;
use crate::http::content::Streamed;
use crate::http::inner::{Inner, InnerReader, InnerWriter};
use crate::router::Counters;

/// A stream about to begin: subscribed, and not yet answered.
#[derive(Debug)]
pub(super) struct Beginning {
    stream: Stream,
    wish: Wish,
}

/// What a stream needs besides its connection into the router.
#[derive(Debug)]
pub(super) struct Terms {
    /// The longest message of the router, in bytes.
    pub(super) message_bytes: usize,
    pub(super) heartbeat_ms: u64,
    pub(super) key: SessionKey,
    /// When a token ends by which its client has come in.
    pub(super) until: Option<Instant>,
    /// Which ways in there are, whenever that changes.
    pub(super) known: watch::Receiver<Known>,
    /// Held while the stream lasts.
    pub(super) _place: StreamPlace,
}

impl Terms {
    /// Whether there is still the way by which the client has come.
    fn is_known(&mut self) -> bool {
        self.known.borrow_and_update().contains(&self.key.way())
    }
}

/// The ways in that are configured.
pub(super) type Known = Arc<BTreeSet<SessionKey>>;

/// Gives the place of a stream back when it is dropped.
#[derive(Debug)]
pub(super) struct StreamPlace(Arc<Counters>);

impl StreamPlace {
    pub(super) fn new(counters: &Arc<Counters>) -> Self {
        counters.http_streams.increment();
        Self(Arc::clone(counters))
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.http_streams.subtract(1);
    }
}

/// Why there is no stream.
#[derive(Debug)]
pub(super) enum NoStream {
    Lost(Lost),
    /// The router refuses a subscription: its error, and a sentence.
    Refused {
        error: String,
        sentence: String,
    },
}

impl From<Lost> for NoStream {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// One stream's session.
#[derive(Debug)]
struct Stream {
    reader: InnerReader,
    writer: InnerWriter,
    /// The id of the last request.
    request: u64,
    /// Topics or patterns by the ids of their subscriptions.
    subscriptions: BTreeMap<u64, String>,
    /// What has come while something else was awaited.
    early: Vec<Bytes>,
    early_bytes: usize,
    terms: Terms,
}

/// Why a stream ends.
#[derive(Debug)]
enum End {
    /// Nobody listens any more.
    Gone,
    /// The router ends it, with this reason.
    Over(String),
}

impl Beginning {
    /// Joins and subscribes.
    pub(super) async fn new(inner: Inner, wish: Wish, terms: Terms) -> Result<Self, NoStream> {
        let (realm, most) = (&terms.key.realm, terms.message_bytes);
        let (reader, writer) = joining::begin(inner, realm, HELLO, most).await?;
        let (subscriptions, early) = Default::default();
        let mut stream =
            Stream { reader, writer, request: 0, subscriptions, early, early_bytes: 0, terms };
        let subscribed = timeout(SUBSCRIBING, stream.subscribe(&wish)).await;
        subscribed.map_err(|_| Lost::Refused("it does not answer in time".into()))??;
        Ok(Self { stream, wish })
    }

    /// The stream, which lives until its client goes or the router ends it.
    pub(super) fn start(self) -> Streamed {
        let (sink, pieces) = channel(1);
        let Self { stream, wish } = self;
        let until = stream.terms.until;
        drop(tokio::spawn(async move {
            let run = stream.run(&wish, &sink);
            let end = match until {
                None => run.await,
                Some(until) => {
                    let ended = timeout_at(until, run).await;
                    ended.unwrap_or_else(|_| End::Over(TOKEN_EXPIRED.into()))
                }
            };
            if let End::Over(reason) = end {
                // Whoever has gone meanwhile needs no reason.
                let _ = sink.send(line::close(&reason)).await;
            }
        }));
        Streamed::new(pieces)
    }
}

impl Stream {
    async fn subscribe(&mut self, wish: &Wish) -> Result<(), NoStream> {
        for topic in &wish.topics {
            self.request += 1;
            let options = serde_json::json!({ "match": wish.policy });
            let subscribe = serde_json::json!([32, self.request, options, topic]).to_string();
            self.say(&subscribe).await.map_err(lost)?;
            let answer = self.answer(self.request).await.map_err(lost)?;
            match Said::read(&answer) {
                Some(Said::Subscribed { subscription, .. }) => {
                    self.subscriptions.insert(subscription, topic.clone());
                }
                Some(Said::Reply { reply, .. }) => {
                    let (error, sentence) = reply.refusal();
                    return Err(NoStream::Refused { error, sentence });
                }
                _ => return Err(Lost::Ended(joining::UNREADABLE.into()).into()),
            }
        }
        Ok(())
    }

    async fn say(&mut self, message: &str) -> Result<(), End> {
        let sent = self.writer.send(message.as_bytes()).await;
        sent.map_err(|error| End::Over(error.to_string()))
    }

    /// The next message, as it is.
    async fn next(&mut self) -> Result<Bytes, End> {
        match self.reader.next().await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(End::Over(joining::CLOSED.into())),
            Err(error) => Err(End::Over(error.to_string())),
        }
    }

    /// The answer to a request. Events that come before are kept, up to a bound.
    async fn answer(&mut self, request: u64) -> Result<Bytes, End> {
        loop {
            let message = self.next().await?;
            match Said::read(&message) {
                Some(Said::Reply { request: of, .. } | Said::Subscribed { request: of, .. })
                    if of == request =>
                {
                    return Ok(message);
                }
                Some(Said::Event { .. }) => {
                    self.early_bytes += message.len();
                    if self.early.len() == MOST_EARLY || self.early_bytes > MOST_EARLY_BYTES {
                        let reason =
                            "more is published than can be kept while the past is asked for";
                        return Err(End::Over(reason.into()));
                    }
                    self.early.push(message);
                }
                Some(said) => end_of(&said).map_or(Ok(()), Err)?,
                None => return Err(End::Over(joining::UNREADABLE.into())),
            }
        }
    }

    async fn run(mut self, wish: &Wish, sink: &Sender<Bytes>) -> End {
        if sink.send(Bytes::from_static(line::OPENING)).await.is_err() {
            return End::Gone;
        }
        let past = match &wish.last {
            None => Ok(catch_up::Passed::default()),
            Some(last) => self.catch_up(*last, sink).await,
        };
        let mut passed = match past {
            Ok(passed) => passed,
            Err(end) => return end,
        };
        for message in std::mem::take(&mut self.early) {
            if let Err(end) = self.tell(&message, &mut passed, sink).await {
                return end;
            }
        }
        self.live(passed, sink).await
    }

    /// Tells what comes, when it comes.
    async fn live(mut self, mut passed: catch_up::Passed, sink: &Sender<Bytes>) -> End {
        let beat = Duration::from_millis(self.terms.heartbeat_ms);
        let mut beats = interval_at(Instant::now() + beat, beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let told = tokio::select! {
                biased;
                () = sink.closed() => return End::Gone,
                changed = self.terms.known.changed() => match changed {
                    Ok(()) if !self.terms.is_known() => {
                        return End::Over("the configuration has changed".into());
                    }
                    Ok(()) => Ok(()),
                    Err(_) => return End::Over(joining::STOPPING.into()),
                },
                message = self.reader.next() => match message {
                    Ok(Some(message)) => {
                        beats.reset();
                        self.tell(&message, &mut passed, sink).await
                    }
                    Ok(None) => return End::Over(joining::CLOSED.into()),
                    Err(error) => return End::Over(error.to_string()),
                },
                _ = beats.tick() => {
                    let beat = Bytes::from_static(line::HEARTBEAT);
                    sink.send(beat).await.map_err(|_| End::Gone)
                }
            };
            if let Err(end) = told {
                return end;
            }
        }
    }

    /// Hands an event on, unless it was told from a history.
    async fn tell(
        &self,
        message: &[u8],
        passed: &mut catch_up::Passed,
        sink: &Sender<Bytes>,
    ) -> Result<(), End> {
        match Said::read(message) {
            Some(Said::Event { subscription, publication, details, args, kwargs }) => {
                if passed.take(publication) {
                    return Ok(());
                }
                let topic = self.subscriptions.get(&subscription);
                let heard = Heard { publication, details, args, kwargs, timestamp: None };
                let line = heard.to_line(topic.map_or("", String::as_str));
                sink.send(line).await.map_err(|_| End::Gone)
            }
            Some(said) => end_of(&said).map_or(Ok(()), Err),
            None => Err(End::Over(joining::UNREADABLE.into())),
        }
    }
}

/// Whether a message is the end of the session, or of one of its subscriptions.
fn end_of(said: &Said<'_>) -> Option<End> {
    match said {
        Said::Goodbye { reason } | Said::Abort { reason, .. } => Some(End::Over(reason.clone())),
        Said::Revoked => Some(End::Over("wamp.error.not_authorized".into())),
        _ => None,
    }
}

fn lost(end: End) -> NoStream {
    NoStream::Lost(match end {
        End::Over(reason) if reason == joining::STOPPING => Lost::Stopping,
        End::Over(reason) => Lost::Ended(reason),
        End::Gone => Lost::Ended(joining::CLOSED.into()),
    })
}

/// What such a session can do.
const HELLO: &str = "{\"agent\":\"Stentor-HTTP\",\"roles\":{\"subscriber\":{\"features\":\
    {\"pattern_based_subscription\":true,\"publisher_identification\":true,\
    \"subscription_revocation\":true,\"event_history\":true}},\"caller\":{}}}";

/// As a WAMP session ends with its token.
const TOKEN_EXPIRED: &str = "stentor.close.token_expired";

/// The router has as long as that to accept all subscriptions.
const SUBSCRIBING: Duration = Duration::from_secs(10);

/// Events that come while something else is awaited, and their bytes.
const MOST_EARLY: usize = 1_000;
const MOST_EARLY_BYTES: usize = 1024 * 1024;
