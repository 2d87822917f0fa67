//! The mesh: one inbox, one waker and one `awake` flag per shard, and for whoever else takes mail.
//!
//! Sending never blocks. No wake is lost, because a sender pushes and then looks at `awake`, while
//! the receiver clears `awake` and then looks at its inbox. Any thread may send.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::{Registry, Token, Waker};
use tokio::sync::Notify;

use super::acceptor::Accepted;
use super::http::HttpDoor;
use super::inquiry::Inquiry;
use super::judges::Judges;
use super::management::CallLine;
use crate::clock::Millis;
use crate::router::{Batch, Destination, Destinations, Edition, OpenSession, ShardId, Slot};
use crate::shard::Mail;

/// What a shard is told by other threads.
#[derive(Debug)]
pub enum Parcel {
    /// Mail of one turn of another shard.
    Mail(Batch<Mail>),
    Accepted(Vec<Accepted>),
    /// A destination that was congested has room again.
    Resume,
    /// To be answered by the shard's pulse: so its event loop still turns.
    Probe(u64),
    Look(Look),
    Inquiry(Inquiry),
    /// Other settings and realms, and those who do for them what shards do not.
    Reload(Arc<Edition>, Aside),
    /// Clients may be served until then, by the router's clock; then all sessions are to leave.
    ServeUntil(Millis),
    /// Sessions are to leave within so many milliseconds; dropped when none is left.
    Drain(u64, Sender<()>),
    Shutdown,
}

/// The ways of a shard to threads that do what it does not.
#[derive(Clone, Debug, Default)]
pub struct Aside {
    /// To those who judge what takes long, if something does.
    pub(super) judges: Option<Judges>,
    /// To the thread that serves what is none of WAMP's, if something is.
    pub(super) http: Option<HttpDoor>,
}

/// A question of an observer: the sessions in some slots.
pub struct Look {
    pub from: Slot,
    /// So many slots at most: what it costs the shard.
    pub most: usize,
    pub answer: LookAnswer,
}

/// Takes the sessions, and where the next ones begin.
pub type LookAnswer = Box<dyn FnOnce(Vec<OpenSession>, Option<Slot>) + Send>;

impl fmt::Debug for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Look").field("from", &self.from).field("most", &self.most).finish()
    }
}

#[derive(Debug)]
pub struct Mesh {
    /// Those of the shards, in their order.
    ports: Vec<Port>,
    /// That of [`ShardId::CLUSTER`], if somebody is there.
    cluster: Option<Port>,
    /// The entrance of the store, which takes no parcels but is a place to wait for.
    storage: Load,
    /// The way to whoever answers for the router.
    calls: CallLine,
    /// The destinations at which more waits than the mark: a set of them.
    congested: AtomicU64,
    /// Bytes that wait at one destination from which on those who feed it stop reading.
    high_mark_bytes: AtomicUsize,
}

/// The entrance of one shard, or of who takes mail as one, on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Port {
    awake: AtomicBool,
    load: Load,
    sender: Sender<Parcel>,
    alarm: Alarm,
}

/// How who sleeps behind a port is woken. One wake is remembered, whether or not it sleeps.
#[derive(Debug)]
enum Alarm {
    /// An event loop, in its poller.
    Poller(Waker),
    /// A task of tokio, which waits for this.
    Task(Arc<Notify>),
}

impl Alarm {
    fn wake(&self) {
        match self {
            // An eventfd write fails only if its counter is full, and then the wake is pending.
            Self::Poller(waker) => drop(waker.wake()),
            Self::Task(notify) => notify.notify_one(),
        }
    }
}

impl Port {
    fn new(alarm: Alarm) -> (Self, Receiver<Parcel>) {
        let (sender, receiver) = unbounded();
        (Self { awake: AtomicBool::new(true), load: Load::default(), sender, alarm }, receiver)
    }
}

/// What waits before a destination, and who waits for it to become less.
#[derive(Debug, Default)]
struct Load {
    queued_bytes: AtomicUsize,
    /// The shards that wait for room.
    waiting: AtomicU64,
}

/// The exit of one shard's port, held by its event loop.
#[derive(Debug)]
pub struct Inbox {
    shard: ShardId,
    receiver: Receiver<Parcel>,
    mesh: Arc<Mesh>,
}

impl Mesh {
    /// A mesh between the owners of these registries, and the inbox of each.
    pub fn new(
        registries: &[&Registry],
        waker: Token,
        high_mark_bytes: usize,
    ) -> io::Result<(Arc<Self>, Vec<Inbox>)> {
        Self::with_cluster(registries, waker, high_mark_bytes, None)
    }

    /// The same, with [`ShardId::CLUSTER`] if a task of tokio is there, which waits for this. Its
    /// inbox is the last one.
    pub fn with_cluster(
        registries: &[&Registry],
        waker: Token,
        high_mark_bytes: usize,
        cluster: Option<Arc<Notify>>,
    ) -> io::Result<(Arc<Self>, Vec<Inbox>)> {
        let (mut ports, mut receivers) = (Vec::new(), Vec::new());
        for registry in registries {
            let (port, receiver) = Port::new(Alarm::Poller(Waker::new(registry, waker)?));
            ports.push(port);
            receivers.push(receiver);
        }
        let (cluster, receiver) = cluster.map(|task| Port::new(Alarm::Task(task))).unzip();
        let (storage, congested) = (Load::default(), AtomicU64::new(0));
        let high_mark_bytes = AtomicUsize::new(high_mark_bytes);
        let calls = CallLine::default();
        let mesh = Self { ports, cluster, storage, calls, congested, high_mark_bytes };
        let mesh = Arc::new(mesh);
        let shards = mesh.shards().zip(receivers);
        let everyone = shards.chain(receiver.map(|receiver| (ShardId::CLUSTER, receiver)));
        let inbox = |(shard, receiver)| Inbox { shard, receiver, mesh: Arc::clone(&mesh) };
        let inboxes = everyone.map(inbox).collect();
        Ok((mesh, inboxes))
    }

    /// Hands a parcel to a shard, and wakes it only if it sleeps.
    pub fn send(&self, to: ShardId, parcel: Parcel) {
        let port = self.port(to);
        if let Parcel::Mail(batch) = &parcel {
            self.queues(to, batch.weight);
        }
        // A shard that has stopped takes no more mail, and nobody is left to miss it.
        let _ = port.sender.send(parcel);
        if !port.awake.swap(true, Ordering::SeqCst) {
            port.alarm.wake();
        }
    }

    /// So many bytes are about to wait there.
    pub fn queues(&self, at: impl Into<Destination>, weight: usize) {
        let at = at.into();
        let queued = self.load(at).queued_bytes.fetch_add(weight, Ordering::SeqCst) + weight;
        // Set before the parcel is there, so that whoever takes the parcel sees the mark.
        if queued > self.high_mark_bytes() && !self.congested().contains(at) {
            self.congested.fetch_or(Destinations::only(at).bits(), Ordering::SeqCst);
        }
    }

    /// Another mark from now on.
    pub fn set_high_mark(&self, bytes: usize) {
        self.high_mark_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that wait there.
    pub fn queued_bytes(&self, at: impl Into<Destination>) -> usize {
        self.load(at.into()).queued_bytes.load(Ordering::SeqCst)
    }

    /// The destinations whose publishers should not be read now.
    pub fn congested(&self) -> Destinations {
        Destinations::from_bits(self.congested.load(Ordering::SeqCst))
    }

    pub(super) const fn calls(&self) -> &CallLine {
        &self.calls
    }

    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0u8..).take(self.ports.len()).map(ShardId)
    }

    /// So many bytes wait no more.
    pub fn took(&self, at: impl Into<Destination>, weight: usize) {
        let at = at.into();
        let load = self.load(at);
        let queued = load.queued_bytes.fetch_sub(weight, Ordering::SeqCst) - weight;
        // The mark itself is looked at, not whether this parcel crossed it: it may be set late.
        if queued <= self.high_mark_bytes() / 2 && self.congested().contains(at) {
            self.congested.fetch_and(!Destinations::only(at).bits(), Ordering::SeqCst);
            let waiting = Destinations::from_bits(load.waiting.swap(0, Ordering::SeqCst));
            for waiter in waiting.shards() {
                self.send(waiter, Parcel::Resume);
            }
        }
    }
}

impl Mesh {
    fn high_mark_bytes(&self) -> usize {
        self.high_mark_bytes.load(Ordering::Relaxed)
    }

    fn port(&self, of: ShardId) -> &Port {
        match &self.cluster {
            Some(port) if of == ShardId::CLUSTER => port,
            _ => &self.ports[usize::from(of.0)],
        }
    }

    fn load(&self, at: Destination) -> &Load {
        match at {
            Destination::Shard(shard) => &self.port(shard).load,
            Destination::Store => &self.storage,
        }
    }
}

impl Inbox {
    pub const fn mesh(&self) -> &Arc<Mesh> {
        &self.mesh
    }

    /// From here on senders wake this shard. Returns whether it may sleep: nothing has arrived.
    pub fn fall_asleep(&self) -> bool {
        self.port().awake.store(false, Ordering::SeqCst);
        self.receiver.is_empty()
    }

    /// From here on senders leave this shard alone.
    pub fn wake_up(&self) {
        self.port().awake.store(true, Ordering::SeqCst);
    }

    /// The next parcel. Mail counts as queued until its weight is released.
    pub fn take(&self) -> Option<Parcel> {
        self.receiver.try_recv().ok()
    }

    /// So many bytes of mail that was taken are dealt with.
    pub fn release(&self, weight: usize) {
        if weight > 0 {
            self.mesh.took(self.shard, weight);
        }
    }

    /// Asks for [`Parcel::Resume`] when these have room. Returns those still congested.
    pub fn await_room(&self, destinations: Destinations) -> Destinations {
        let own = Destinations::only(self.shard).bits();
        for destination in destinations.iter() {
            self.mesh.load(destination).waiting.fetch_or(own, Ordering::SeqCst);
        }
        // Looked at again after the request stands, so that no resumption is missed.
        let still = self.mesh.congested().bits() & destinations.bits();
        Destinations::from_bits(still)
    }

    fn port(&self) -> &Port {
        self.mesh.port(self.shard)
    }
}

#[cfg(test)]
mod tests;
