//! NATS: what carries the messages of nodes, and the bucket that all of them share.
//!
//! IO, on the runtime of whoever polls it. It decides nothing: what may be lost is lost, and what
//! is known of the bucket is told in the order of its revisions. Knows no shard and no router.

mod bucket;
mod error;
mod login;
mod trial;
mod watch;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use crate::cluster::bucket::{Outcome, Write};
use crate::cluster::wire::Incarnation;
use crate::config::Cluster;
use bucket::Bucket;
use watch::Watch;

pub use error::BusError;
pub use trial::{Found, TrialError, try_out};
pub use watch::Told;

/// A connection to NATS as one node of a cluster.
pub struct Bus {
    client: Client,
    bucket: Bucket,
    /// What the subjects of the cluster begin with.
    prefix: String,
    own: Option<Own>,
    all: Subscriber,
    watch: Watch,
    links: UnboundedReceiver<Link>,
    is_connected: bool,
    writes: FuturesUnordered<Writing>,
}

/// A write under way: its ticket, and how it has ended.
type Writing = Pin<Box<dyn Future<Output = (u64, Outcome)> + Send>>;

/// What is addressed to one life of a node.
struct Own {
    incarnation: Incarnation,
    inbox: Subscriber,
    /// Where it is said that nobody listens to what this node has sent.
    gone: Subscriber,
}

/// What has come of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Up,
    Down,
}

/// What a node hears of NATS.
#[derive(Debug)]
pub enum Happening {
    /// A message for this node.
    Message(Bytes),
    /// One for all nodes.
    Beat(Bytes),
    /// Nobody listens to what was sent to this node.
    NoResponder(Incarnation),
    /// What the bucket holds, in its order.
    Told(Told),
    /// A write has ended so.
    Written(u64, Outcome),
    /// There is a connection again; what was sent before may be lost.
    Connected,
    Disconnected,
}

impl Bus {
    /// Connects and finds the bucket, which it makes if there is none.
    ///
    /// # Errors
    /// Why not; see [`BusError::is_final`].
    pub async fn connect(cluster: &Cluster, name: &str, node: &str) -> Result<Self, BusError> {
        let (teller, links) = unbounded_channel();
        let options = login::login(cluster)?;
        let client = options_of(options, format!("stentor {name}/{node}"), teller)
            .connect(&*cluster.nats)
            .await
            .map_err(BusError::of_connect)?;
        check_version(&client)?;
        let bucket = Bucket::open(&client, name, cluster.replicas).await?;
        let prefix = format!("stentor.{name}.");
        let all = client.subscribe(format!("{prefix}all")).await.map_err(BusError::of_client)?;
        let watch = Watch::start(bucket.clone());
        let (own, writes) = (None, FuturesUnordered::new());
        Ok(Self { client, bucket, prefix, own, all, watch, links, is_connected: true, writes })
    }

    /// Bytes of a message at most.
    pub fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// Whether there is a connection, as far as is known.
    pub const fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Whether the watch of the bucket is open, and how often it was opened.
    pub fn watching(&self) -> (bool, u64) {
        self.watch.standing()
    }

    /// Writes that are under way.
    pub fn writes(&self) -> usize {
        self.writes.len()
    }

    /// Listens from now on to what is sent to this life of the node, and to no other. It stands
    /// before what is sent or written afterwards.
    pub async fn listen_as(&mut self, incarnation: Incarnation) -> Result<(), BusError> {
        if self.own.as_ref().is_some_and(|own| own.incarnation == incarnation) {
            return Ok(());
        }
        let inbox = self.subscribe(format!("to.{incarnation}")).await?;
        let gone = self.subscribe(format!("gone.{incarnation}.*")).await?;
        self.own = Some(Own { incarnation, inbox, gone });
        Ok(())
    }

    async fn subscribe(&self, subject: String) -> Result<Subscriber, BusError> {
        let subject = format!("{}{subject}", self.prefix);
        self.client.subscribe(subject).await.map_err(BusError::of_client)
    }

    /// Sends a message to a node. It is lost if there is no connection, or too much waits for it:
    /// `false` then, after [`SEND_PATIENCE`].
    pub async fn send(&self, to: Incarnation, message: Bytes) -> bool {
        let Some(own) = self.own.as_ref().filter(|_| self.is_connected) else { return true };
        let subject = format!("{}to.{to}", self.prefix);
        let gone = format!("{}gone.{}.{to}", self.prefix, own.incarnation);
        // What does not fit is sent again by its link.
        let sent = self.client.publish_with_reply(subject, gone, message);
        timeout(SEND_PATIENCE, sent).await.is_ok()
    }

    /// Sends a message to all nodes; as [`Self::send`].
    pub async fn send_to_all(&self, message: Bytes) {
        if self.is_connected {
            let sent = self.client.publish(format!("{}all", self.prefix), message);
            let _ = timeout(SEND_PATIENCE, sent).await;
        }
    }

    /// Begins a write; [`Happening::Written`] tells how it has ended.
    pub fn write(&mut self, write: Write) {
        let bucket = self.bucket.clone();
        self.writes.push(Box::pin(async move { (write.ticket, bucket.write(write).await) }));
    }

    /// Opens the watch of the bucket anew: behind what it has told, or from the start.
    pub fn watch_again(&self, from_start: bool) {
        self.watch.open_again(from_start);
    }

    /// What happens next. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Happening {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// What has happened already.
    pub fn take_next(&mut self) -> Option<Happening> {
        let context = &mut Context::from_waker(std::task::Waker::noop());
        match self.poll_next(context) {
            Poll::Ready(happening) => Some(happening),
            Poll::Pending => None,
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Happening> {
        if let Poll::Ready(Some(link)) = self.links.poll_recv(context) {
            self.is_connected = link == Link::Up;
            return Poll::Ready(match link {
                Link::Up => Happening::Connected,
                Link::Down => Happening::Disconnected,
            });
        }
        if let Poll::Ready(told) = self.watch.poll_told(context) {
            return Poll::Ready(Happening::Told(told));
        }
        if let Poll::Ready(Some((ticket, outcome))) = Pin::new(&mut self.writes).poll_next(context)
        {
            return Poll::Ready(Happening::Written(ticket, outcome));
        }
        if let Some(own) = &mut self.own {
            while let Poll::Ready(Some(message)) = Pin::new(&mut own.gone).poll_next(context) {
                let is_gone = message.status == Some(StatusCode::NO_RESPONDERS);
                let peer = message.subject.rsplit('.').next();
                let peer = peer.and_then(|peer| u64::from_str_radix(peer, 16).ok());
                if let Some(peer) = peer.filter(|_| is_gone) {
                    return Poll::Ready(Happening::NoResponder(Incarnation(peer)));
                }
            }
        }
        if let Poll::Ready(Some(message)) = Pin::new(&mut self.all).poll_next(context) {
            return Poll::Ready(Happening::Beat(message.payload));
        }
        if let Some(own) = &mut self.own
            && let Poll::Ready(Some(message)) = Pin::new(&mut own.inbox).poll_next(context)
        {
            return Poll::Ready(Happening::Message(message.payload));
        }
        Poll::Pending
    }

    /// Waits until the server has what was sent, for a second at most.
    pub async fn flush(&self) {
        // Nobody waits for what is lost now.
        let _ = timeout(FLUSH_PATIENCE, self.client.flush()).await;
    }
}

fn options_of(
    options: ConnectOptions,
    name: String,
    teller: UnboundedSender<Link>,
) -> ConnectOptions {
    patient(options, name)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .client_capacity(CLIENT_CAPACITY)
        .reconnect_delay_callback(|attempts| {
            let tries = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
            RETRY.saturating_mul(tries).min(SECOND)
        })
        .event_callback(move |event| {
            let link = match event {
                Event::Connected => Some(Link::Up),
                Event::Disconnected => Some(Link::Down),
                Event::ServerError(error) => {
                    tracing::warn!(%error, "NATS refuses something");
                    None
                }
                _ => None,
            };
            // Nobody hears it any more once the bus is gone. There is no bound, as one connection
            // at most is made in a tenth of a second.
            if let Some(link) = link {
                let _ = teller.send(link);
            }
            std::future::ready(())
        })
}

/// How long a server may take.
fn patient(options: ConnectOptions, name: String) -> ConnectOptions {
    let options = options.name(name).no_echo().ping_interval(SECOND);
    options.connection_timeout(SECOND).request_timeout(Some(SECOND))
}

fn check_version(client: &Client) -> Result<(), BusError> {
    let (major, minor) = OLDEST_SERVER;
    if client.is_server_compatible(major, minor, 0) {
        return Ok(());
    }
    Err(BusError::OldServer { version: client.server_info().version, major, minor })
}

const SECOND: Duration = Duration::from_secs(1);

/// How much longer each try to connect waits than the one before.
const RETRY: Duration = Duration::from_millis(100);

/// Messages that wait for this node; what is more is dropped, and its links send it again. More
/// than all windows of links hold.
const SUBSCRIPTION_CAPACITY: usize = 131_072;

/// Messages that wait for the connection: more than all windows of links hold.
const CLIENT_CAPACITY: usize = 65_536;

/// How long a full connection is waited for before a message is lost.
const SEND_PATIENCE: Duration = Duration::from_millis(100);

const FLUSH_PATIENCE: Duration = SECOND;

/// The first one whose markers of removed keys go by themselves.
const OLDEST_SERVER: (i64, i64) = (2, 11);
