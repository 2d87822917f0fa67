//! One session that publishes and calls for all who come by one way: many requests are under way,
//! told apart by their ids.
//!
//! A task reads and a task writes, as one: neither waits for the other. While the router does not
//! read, requests wait, each with a place of its own and until its client gives up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Buf;
use parking_lot::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::joining::{self, CLOSED, STOPPING, UNREADABLE};
use super::request::{Act, Message};
use super::said::{self, Said, error_json};
use crate::http::inner::{Inner, InnerReader, InnerWriter};
use crate::http::room::{Room, Taken};

/// The answer to one request, as a JSON object.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) json: String,
    /// Whether the router has done what was asked for.
    pub(super) is_done: bool,
    pub(super) taken: Taken,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lost {
    #[error("the router has no connection left for this: try again later")]
    Full,
    #[error("the router is stopping: try again on another one, or later")]
    Stopping,
    #[error("the router does not let this path in: {0}")]
    Refused(String),
    #[error("the router was asked for more than the role of this path may send: try again later")]
    OverRate,
    #[error("more than {0} calls from this address would be under way: wait for answers")]
    TooMany(usize),
    #[error("the session of this path ended with {0}: it is not known what came of the request")]
    Ended(String),
    #[error("no answer came in {0} ms: it is not known what comes of the request")]
    Late(u64),
    #[error("the answer is too long for the room that the router has left: try again later")]
    NoRoom,
}

/// The way to a session.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    jobs: Sender<Job>,
    given_up: UnboundedSender<u64>,
}

/// A request on its way.
#[derive(Debug)]
struct Job {
    message: Message,
    reply: Reply,
    /// The id that it gets when it leaves; 0 before.
    request: Arc<AtomicU64>,
}

type Reply = oneshot::Sender<Result<Answer, Lost>>;

/// A request that waits for its answer. To drop it is to give up: nothing is kept of it, and a call
/// is canceled.
#[derive(Debug)]
pub(super) struct Waiting {
    answered: oneshot::Receiver<Result<Answer, Lost>>,
    /// Where the id of a call is said that was not answered when its caller went.
    given_up: Option<UnboundedSender<u64>>,
    request: Arc<AtomicU64>,
}

impl Waiting {
    /// The answer; `None` if the request never left, and may be made to another session.
    pub(super) async fn answer(&mut self) -> Option<Result<Answer, Lost>> {
        let answer = (&mut self.answered).await;
        self.given_up = None;
        answer.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let request = self.request.load(Ordering::Relaxed);
        // One that has not left does not leave any more.
        if let Some(given_up) = self.given_up.take().filter(|_| request > 0) {
            // A session that has ended has canceled its calls.
            let _ = given_up.send(request);
        }
    }
}

impl Handle {
    pub(super) fn is_closed(&self) -> bool {
        self.jobs.is_closed()
    }

    /// Waits for a place and makes a request; `None` if the session has ended.
    pub(super) async fn ask(&self, message: Message) -> Option<Waiting> {
        let place = self.jobs.reserve().await.ok()?;
        let (reply, answered) = oneshot::channel();
        let request = Arc::<AtomicU64>::default();
        let given_up = (message.act == Act::Call).then(|| self.given_up.clone());
        place.send(Job { message, reply, request: Arc::clone(&request) });
        Some(Waiting { answered, given_up, request })
    }
}

/// What a session needs besides its connection.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) realm: String,
    /// Milliseconds after which it ends if nobody asks for anything.
    pub(super) idle_ms: u64,
    /// Room for answers.
    pub(super) room: Room,
}

/// A session about to begin.
#[derive(Debug)]
pub(super) struct Beginning {
    inner: Inner,
    terms: Terms,
    jobs: Receiver<Job>,
    given_up: UnboundedReceiver<u64>,
}

impl Beginning {
    pub(super) fn new(inner: Inner, terms: Terms) -> (Handle, Self) {
        let (to_jobs, jobs) = channel(WAITING);
        let (giving_up, given_up) = mpsc::unbounded_channel();
        let handle = Handle { jobs: to_jobs, given_up: giving_up };
        (handle, Self { inner, terms, jobs, given_up })
    }

    /// Lives until the router ends the session, or nobody needs it any more. Whoever waits is told;
    /// who was not asked for anything may come again.
    ///
    /// # Errors
    /// Why the session did not begin, or why no other one should at once.
    pub(super) async fn run(self) -> Result<(), Lost> {
        let Self { inner, terms, mut jobs, given_up } = self;
        let (reader, writer) = match joining::begin(inner, &terms.realm, HELLO, MOST_BYTES).await {
            Ok(begun) => begun,
            Err(lost) => {
                jobs.close();
                while let Some(job) = jobs.recv().await {
                    let _ = job.reply.send(Err(lost.clone()));
                }
                return Err(lost);
            }
        };
        let pending = Mutex::new(Pending::default());
        let idle = Duration::from_millis(terms.idle_ms);
        let lost = tokio::select! {
            lost = listen(reader, &pending, &terms.room) => lost,
            lost = Mouth { writer, pending: &pending, idle }.speak(&mut jobs, given_up) => lost,
        };
        // What waits was not asked for: whoever waits is told by the loss of its job.
        jobs.close();
        for (_, reply) in std::mem::take(&mut *pending.lock()) {
            let _ = reply.send(Err(lost.clone()));
        }
        if lost == Lost::OverRate { Err(lost) } else { Ok(()) }
    }
}

/// Who waits for an answer, by the id of the request.
type Pending = BTreeMap<u64, Reply>;

/// Takes what the router says, until the session is over. Never waits for whom an answer is for.
async fn listen(mut reader: InnerReader, pending: &Mutex<Pending>, room: &Room) -> Lost {
    loop {
        let message = match reader.next().await {
            Ok(Some(message)) => message,
            Ok(None) => return Lost::Ended(CLOSED.into()),
            Err(error) => return Lost::Ended(error.to_string()),
        };
        match Said::read(&message) {
            Some(Said::Reply { request, reply }) => {
                let asked = pending.lock().remove(&request);
                let Some(asked) = asked.filter(|asked| !asked.is_closed()) else { continue };
                let is_done = !matches!(reply, said::Reply::Error { .. });
                let json = reply.to_json();
                let answer = match room.take(json.len()) {
                    Some(taken) => Ok(Answer { json, is_done, taken }),
                    None => Err(Lost::NoRoom),
                };
                // Whoever has gone meanwhile misses nothing.
                let _ = asked.send(answer);
            }
            Some(Said::Goodbye { reason }) if reason == STOPPING => return Lost::Stopping,
            Some(Said::Abort { reason, .. }) if reason == RESOURCE_LIMIT => return Lost::OverRate,
            Some(Said::Goodbye { reason } | Said::Abort { reason, .. }) => {
                return Lost::Ended(reason);
            }
            Some(_) => {}
            None => return Lost::Ended(UNREADABLE.into()),
        }
    }
}

/// What a session says.
struct Mouth<'a> {
    writer: InnerWriter,
    pending: &'a Mutex<Pending>,
    idle: Duration,
}

impl Mouth<'_> {
    /// Asks for what comes, until nothing comes any more, nor is to come.
    async fn speak(
        mut self,
        jobs: &mut Receiver<Job>,
        mut given_up: UnboundedReceiver<u64>,
    ) -> Lost {
        let (mut request, mut has_ended) = (0, false);
        let mut used = Instant::now();
        loop {
            let patience = if has_ended { LOOK_AGAIN } else { self.idle };
            let said = tokio::select! {
                biased;
                Some(request) = given_up.recv() => self.cancel(request).await,
                job = jobs.recv(), if !has_ended => match job {
                    Some(job) => {
                        used = Instant::now();
                        request += 1;
                        self.ask(request, job).await
                    }
                    None => {
                        has_ended = true;
                        Ok(())
                    }
                },
                () = sleep(patience) => {
                    let is_idle = has_ended || used.elapsed() >= self.idle;
                    if is_idle && self.pending.lock().is_empty() {
                        let _ = self.writer.send(GOODBYE).await;
                        return Lost::Ended("wamp.close.goodbye_and_out".into());
                    }
                    Ok(())
                }
            };
            if let Err(error) = said {
                return Lost::Ended(error.to_string());
            }
        }
    }

    async fn ask(&mut self, request: u64, job: Job) -> std::io::Result<()> {
        if job.reply.is_closed() {
            return Ok(());
        }
        let Job { message, reply, request: id } = job;
        id.store(request, Ordering::Relaxed);
        self.pending.lock().insert(request, reply);
        let head = message.head(request);
        let length = head.len() + message.rest.len();
        debug_assert!(length <= self.writer.most_bytes(), "it was made within the limit");
        self.writer.send(Buf::chain(head.as_bytes(), &message.rest[..])).await
    }

    async fn cancel(&mut self, request: u64) -> std::io::Result<()> {
        // It may have been answered meanwhile.
        if !self.pending.lock().contains_key(&request) {
            return Ok(());
        }
        let cancel = format!("[49,{request},{{\"mode\":\"killnowait\"}}]");
        self.writer.send(cancel.as_bytes()).await
    }
}

impl Lost {
    /// As an error of one of several requests.
    pub(super) fn to_json(&self) -> String {
        let uri = match self {
            Self::Late(_) => "wamp.error.timeout",
            Self::NoRoom | Self::Full | Self::OverRate | Self::TooMany(_) => RESOURCE_LIMIT,
            Self::Stopping => STOPPING,
            Self::Refused(_) | Self::Ended(_) => "wamp.error.canceled",
        };
        error_json(uri, &self.to_string())
    }
}

/// What such a session can do.
const HELLO: &str = "{\"agent\":\"Stentor-HTTP\",\"roles\":{\"publisher\":{\"features\":\
    {\"publisher_identification\":true,\"subscriber_blackwhite_listing\":true,\
    \"publisher_exclusion\":true}},\"caller\":{\"features\":{\"call_canceling\":true,\
    \"call_timeout\":true,\"caller_identification\":true}}}}";

const GOODBYE: &[u8] = b"[6,{},\"wamp.close.close_realm\"]";
const RESOURCE_LIMIT: &str = "wamp.error.resource_limit";

/// Requests that wait to be written, with a place; others wait for one.
const WAITING: usize = 64;

/// The longest message that is taken of the router: whatever callees may have said.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// How often a session that nobody can ask any more looks whether all is answered.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
