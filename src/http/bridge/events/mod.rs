//! Server-sent events: a stream of what is published to some topics, for pages and programs that
//! only read.
//!
//! Each stream has a session of its own. A task takes what the router says and hands it on piece
//! by piece: what the client does not take stays in the session's socket, and the router treats it
//! as a slow consumer. After a lost connection what was missed is taken from the event history.

mod catch_up;
pub(super) mod line;
mod wish;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};

use self::line::Heard;
pub(super) use self::wish::Wish;
use super::joining;
use super::pool::SessionKey;
use super::said::Said;
use super::subscriber::{NotSubscribed, Over, Subscriber};
use crate::http::content::Streamed;
use crate::http::inner::Inner;
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

/// One stream's session.
#[derive(Debug)]
struct Stream {
    subscriber: Subscriber,
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

impl From<Over> for End {
    fn from(Over(reason): Over) -> Self {
        Self::Over(reason)
    }
}

impl Beginning {
    /// Joins and subscribes.
    pub(super) async fn new(inner: Inner, wish: Wish, terms: Terms) -> Result<Self, NotSubscribed> {
        let (realm, most) = (&terms.key.realm, terms.message_bytes);
        let mut subscriber = Subscriber::join(inner, realm, most).await?;
        for topic in &wish.topics {
            subscriber.subscribe(wish.policy, topic).await?;
        }
        Ok(Self { stream: Stream { subscriber, terms }, wish })
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
        for message in self.subscriber.take_early() {
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
                message = self.subscriber.next() => match message {
                    Ok(message) => {
                        beats.reset();
                        self.tell(&message, &mut passed, sink).await
                    }
                    Err(over) => return over.into(),
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
                let heard = Heard { publication, details, args, kwargs, timestamp: None };
                let line = heard.to_line(self.subscriber.topic(subscription));
                sink.send(line).await.map_err(|_| End::Gone)
            }
            Some(said) => Over::of(&said).map_or(Ok(()), |over| Err(over.into())),
            None => Err(End::Over(joining::UNREADABLE.into())),
        }
    }
}

/// As a WAMP session ends with its token.
const TOKEN_EXPIRED: &str = "stentor.close.token_expired";
