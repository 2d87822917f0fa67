//! One connection with its session, and the loop that turns it.
//!
//! Where somebody is slow: requests of the application wait while much waits to be written. Events
//! and progressive results that find no room in their queue go to the overflow; then the connection
//! is read no further, unless requests wait for answers, and then only until the overflow is full.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use stentor_protocol::wamp::{PublicationId, RegistrationId, RequestId, SubscriptionId};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};

use super::Driver;
use super::catchup::Question;
use super::tables::offer;
use crate::call::Reply;
use crate::client::{LEAVE_TIMEOUT, Session};
use crate::command::{CallId, Canceling, LocalId, Respond, Sink};
use crate::core::Core;
use crate::error::Error;
use crate::event::SubscriptionItem;
use crate::payload::Payload;
use crate::queue::Queue;
use crate::transport::{Connection, Incoming, Reader, WireError, Writer};

/// Why a session is over.
pub(super) enum End {
    /// For good.
    Over(String),
    /// Another connection may do.
    Lost(String),
}

/// One connection with its session.
pub(crate) struct Link {
    pub(super) core: Core,
    pub(super) session: Session,
    pub(super) epoch: u64,
    pub(super) waiters: HashMap<RequestId, Waiter>,
    pub(super) calls: HashMap<CallId, Calling>,
    pub(super) invocations: HashMap<RequestId, Running>,
    pub(super) overflow: Overflow,
    /// Why the session is over, once it is.
    pub(super) end: Option<End>,
    /// Procedures to be registered again, when it is time.
    pub(super) retries: VecDeque<(Instant, LocalId)>,
    pub(super) register_tries: HashMap<LocalId, u32>,
    /// Subscriptions whose next page of a history is to be asked for.
    pub(super) pages: Vec<LocalId>,
    /// Whether the router announces event histories.
    pub(super) has_history: bool,
    /// Whoever wants to know when GOODBYE is answered.
    pub(super) leaving: Option<Leaving>,
    reader: Reader,
    writer: Writer,
    /// Something waits to be written.
    is_dirty: bool,
}

pub(super) struct Leaving {
    pub(super) until: Instant,
    pub(super) heard: Vec<tokio::sync::oneshot::Sender<()>>,
}

/// Who waits for the answer to a request.
pub(super) enum Waiter {
    Publish {
        answer: Option<Respond<Option<PublicationId>>>,
        /// Where it goes to, if a history is to be read that has it, too.
        own: Option<String>,
    },
    Subscribe {
        local: LocalId,
        answer: Option<Respond<SubscriptionId>>,
    },
    Unsubscribe(Option<Respond<()>>),
    Register {
        local: LocalId,
        answer: Option<Respond<RegistrationId>>,
    },
    Unregister {
        registration: RegistrationId,
        answer: Option<Respond<()>>,
    },
    Call {
        call: CallId,
        progress: Option<Arc<Queue<Reply>>>,
        answer: Respond<Reply>,
    },
    /// The client itself.
    Own(Question),
}

/// A call that is under way.
pub(super) struct Calling {
    pub(super) request: RequestId,
    pub(super) canceling: Arc<Canceling>,
}

/// An invocation that is under way.
pub(super) struct Running {
    pub(super) canceled: watch::Sender<bool>,
    pub(super) chunks: Option<Arc<Queue<Payload>>>,
}

/// What found no room in its queue, in its order.
#[derive(Default)]
pub(super) struct Overflow {
    waiting: VecDeque<Held>,
    bytes: usize,
}

pub(super) enum Held {
    Item(Arc<Sink>, SubscriptionItem),
    /// No further event follows.
    End(Arc<Sink>),
    Progress(Arc<Queue<Reply>>, Reply),
    /// The result of a call, behind its progressive ones.
    Result(Arc<Queue<Reply>>, Respond<Reply>, Result<Reply, Error>),
    Chunk(Arc<Queue<Payload>>, Payload),
    /// No further chunk follows.
    LastChunk(Arc<Queue<Payload>>),
}

impl Overflow {
    /// Gives to a reader, or holds what must wait; nothing overtakes what is held.
    pub(super) fn give(&mut self, held: Held) {
        let held = if self.waiting.is_empty() { held.give() } else { Some(held) };
        if let Some(held) = held {
            self.bytes += held.weight();
            self.waiting.push_back(held);
        }
    }

    /// Gives what there is room for by now.
    pub(super) fn drain(&mut self) {
        while let Some(held) = self.waiting.pop_front() {
            let weight = held.weight();
            if let Some(held) = held.give() {
                self.waiting.push_front(held);
                return;
            }
            self.bytes -= weight;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Held {
    /// `None` if there was room.
    fn give(self) -> Option<Self> {
        match self {
            Self::Item(sink, item) => {
                let back = offer(&sink, item).err()?;
                Some(Self::Item(sink, back))
            }
            Self::Progress(queue, reply) => {
                let back = queue.push(reply).err()?;
                Some(Self::Progress(queue, back))
            }
            Self::Chunk(queue, payload) => {
                let back = queue.push(payload).err()?;
                Some(Self::Chunk(queue, back))
            }
            Self::Result(queue, answer, result) => {
                // Whoever has gone wants no result.
                let _ = answer.send(result);
                queue.close();
                None
            }
            Self::End(sink) => {
                sink.queue.close();
                None
            }
            Self::LastChunk(queue) => {
                queue.close();
                None
            }
        }
    }

    fn weight(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Item(_, SubscriptionItem::Event(event)) => event.weight(),
                Self::Progress(_, reply) => reply.payload.weight(),
                Self::Chunk(_, payload) => payload.weight(),
                _ => 0,
            }
    }
}

impl Link {
    pub(super) fn new(connection: Connection, core: Core, session: Session, epoch: u64) -> Self {
        let has_history = session.has_feature("broker", "event_history");
        Self {
            core,
            session,
            retries: VecDeque::new(),
            register_tries: HashMap::new(),
            pages: Vec::new(),
            has_history,
            epoch,
            waiters: HashMap::new(),
            calls: HashMap::new(),
            invocations: HashMap::new(),
            overflow: Overflow::default(),
            end: None,
            leaving: None,
            reader: connection.reader,
            writer: connection.writer,
            is_dirty: false,
        }
    }

    /// Gives an item to the reader of a subscription, behind all that waits.
    pub(super) fn give(&mut self, sink: &Arc<Sink>, item: SubscriptionItem) {
        self.overflow.give(Held::Item(Arc::clone(sink), item));
    }

    /// Ends a subscription, behind all that waits.
    pub(super) fn give_end(&mut self, sink: &Arc<Sink>) {
        self.overflow.give(Held::End(Arc::clone(sink)));
    }

    /// What is to be sent goes to the writer.
    fn send_out(&mut self) {
        while let Some(message) = self.core.take_message() {
            self.writer.push(message);
            self.is_dirty = true;
        }
    }

    /// Whether the connection may be read.
    fn may_read(&self) -> bool {
        self.overflow.is_empty()
            || self.overflow.bytes < OVERFLOW_BYTES
                && (self.core.waiting() > 0 || self.leaving.is_some())
    }

    /// Everybody who waits learns that the connection is gone.
    pub(super) fn fail_all(&mut self) {
        let lost = || Error::Closed { may_have_happened: true };
        for (_, waiter) in self.waiters.drain() {
            match waiter {
                Waiter::Publish { answer: Some(answer), .. } => drop(answer.send(Err(lost()))),
                Waiter::Subscribe { answer: Some(answer), .. } => {
                    drop(answer.send(Err(lost())));
                }
                Waiter::Register { answer: Some(answer), .. } => drop(answer.send(Err(lost()))),
                Waiter::Unsubscribe(Some(answer))
                | Waiter::Unregister { answer: Some(answer), .. } => {
                    // It is gone with the session.
                    drop(answer.send(Ok(())));
                }
                Waiter::Call { progress, answer, .. } => {
                    drop(answer.send(Err(lost())));
                    if let Some(progress) = progress {
                        progress.close();
                    }
                }
                _ => {}
            }
        }
        self.calls.clear();
        // Handlers learn it by what they hold of these.
        for (_, running) in self.invocations.drain() {
            if let Some(chunks) = running.chunks {
                chunks.close();
            }
        }
        for left in self.leaving.take().into_iter().flat_map(|leaving| leaving.heard) {
            let _ = left.send(());
        }
    }

    /// Writes what is left, and ends the connection; no longer than a moment.
    async fn close(&mut self) {
        self.send_out();
        let _ = timeout(CLOSE_TIMEOUT, self.writer.close()).await;
    }
}

/// What the loop woke up for.
enum Woken {
    Control(Option<crate::command::Control>),
    Command(Option<crate::command::Command>),
    Incoming(Result<Incoming, WireError>),
    Flushed(Result<(), WireError>),
    Space,
    Tick,
    LeaveTimeout,
    Retry,
}

impl Driver {
    /// Turns a session until it is over.
    pub(super) async fn drive(&mut self, link: &mut Link) -> End {
        let period = self.plan.keep_alive.unwrap_or(Duration::from_secs(3600));
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent = 0;
        loop {
            if link.overflow.is_empty() {
                for local in std::mem::take(&mut link.pages) {
                    self.ask_missed(link, local);
                }
            }
            link.send_out();
            if let Some(end) = link.end.take() {
                link.close().await;
                return end;
            }
            match self.wake(link, &mut ticks).await {
                Woken::Control(control) => {
                    control.into_iter().for_each(|control| self.handle_control(link, control));
                }
                Woken::Command(command) => self.handle_commands(link, command),
                Woken::Incoming(Ok(incoming)) => {
                    silent = 0;
                    self.handle_incoming(link, incoming);
                }
                Woken::Incoming(Err(error)) => return Self::broken(link, error).await,
                Woken::Flushed(Ok(())) => link.is_dirty = false,
                Woken::Flushed(Err(error)) => return End::Lost(error.to_string()),
                Woken::Space => link.overflow.drain(),
                Woken::Retry => self.register_due(link),
                Woken::Tick => {
                    if silent >= 2 {
                        return End::Lost("the router has been silent for too long".to_owned());
                    }
                    // Who does not read cannot know whether anybody speaks.
                    if self.plan.keep_alive.is_some() && link.may_read() {
                        silent += 1;
                        link.writer.ping();
                        link.is_dirty = true;
                    }
                }
                Woken::LeaveTimeout => {
                    return End::Over("the router has not answered GOODBYE".to_owned());
                }
            }
        }
    }

    async fn wake(&mut self, link: &mut Link, ticks: &mut tokio::time::Interval) -> Woken {
        let may_read = link.may_read();
        let may_take = link.writer.waiting_bytes() < WAITING_BYTES;
        let (is_dirty, is_stalled) = (link.is_dirty, !link.overflow.is_empty());
        let leave_until = link.leaving.as_ref().map(|leaving| leaving.until);
        let (is_leaving, until) = (leave_until.is_some(), leave_until.unwrap_or_else(Instant::now));
        let retry = link.retries.front().map(|(due, _)| *due);
        let (has_retries, retry_at) = (retry.is_some(), retry.unwrap_or(until));
        tokio::select! {
            control = self.control.recv() => Woken::Control(control),
            command = self.commands.recv(), if may_take => Woken::Command(command),
            incoming = link.reader.next(), if may_read => Woken::Incoming(incoming),
            flushed = link.writer.flush(), if is_dirty => Woken::Flushed(flushed),
            () = self.shared.space.notified(), if is_stalled => Woken::Space,
            _ = ticks.tick() => Woken::Tick,
            () = sleep_until(until), if is_leaving => Woken::LeaveTimeout,
            () = sleep_until(retry_at), if has_retries => Woken::Retry,
        }
    }

    /// A connection that cannot go on; the router is told if it is to blame.
    async fn broken(link: &mut Link, error: WireError) -> End {
        let reason = error.to_string();
        match error {
            WireError::TooLong { .. } => {
                link.core.abort("wamp.error.payload_size_exceeded", &reason);
                link.close().await;
            }
            WireError::Broken(_) => {
                link.core.abort("wamp.error.protocol_violation", &reason);
                link.close().await;
            }
            WireError::Closed if link.leaving.is_some() => return End::Over(reason),
            WireError::Closed | WireError::Io(_) => {}
        }
        End::Lost(reason)
    }

    /// Answers a PING, or does what a message says.
    fn handle_incoming(&mut self, link: &mut Link, incoming: Incoming) {
        match incoming {
            Incoming::Message(bytes) => self.handle_message(link, &bytes),
            Incoming::Ping(payload) => {
                link.writer.pong(&payload);
                link.is_dirty = true;
            }
            Incoming::Sign => {}
        }
        link.send_out();
        // Whoever asks and takes no answers would fill the memory with them.
        if link.writer.waiting_bytes() > UNTAKEN_BYTES && link.end.is_none() {
            link.end = Some(End::Lost("the router does not take what is sent to it".to_owned()));
        }
    }

    /// Begins to leave, if nobody has yet.
    pub(super) fn leave(
        link: &mut Link,
        reason: &str,
        heard: Option<tokio::sync::oneshot::Sender<()>>,
    ) {
        if let Some(leaving) = &mut link.leaving {
            leaving.heard.extend(heard);
            return;
        }
        let until = Instant::now() + LEAVE_TIMEOUT;
        link.leaving = Some(Leaving { until, heard: heard.into_iter().collect() });
        if link.core.goodbye(reason).is_err() {
            link.end = Some(End::Over("left".to_owned()));
        }
    }
}

/// Bytes that wait to be written before requests of the application must wait.
const WAITING_BYTES: usize = 1 << 20;

/// Bytes that wait to be written before the connection is given up: requests stop long before, so
/// it is answers that the router does not take.
const UNTAKEN_BYTES: usize = 64 << 20;

/// Bytes that are held for slow readers while requests wait for their answers.
const OVERFLOW_BYTES: usize = 16 << 20;

/// How long the end of a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
