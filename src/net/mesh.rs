//! The mesh: one inbox, one waker and one `awake` flag per shard.
//!
//! Sending never blocks. No wake is lost, because a sender pushes and then looks at `awake`, while
//! the receiver clears `awake` and then looks at its inbox. Any thread may send.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::{Registry, Token, Waker};

use super::acceptor::Accepted;
use super::http::HttpDoor;
use super::inquiry::Inquiry;
use super::judges::Judges;
use super::management::CallLine;
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
    ports: Vec<Port>,
    /// The entrance of the store, which takes no parcels but is a place to wait for.
    storage: Load,
    /// The way to whoever answers for the router.
    calls: CallLine,
    /// The destinations at which more waits than the mark: a set of them.
    congested: AtomicU64,
    /// Bytes that wait at one destination from which on those who feed it stop reading.
    high_mark_bytes: AtomicUsize,
}

/// The entrance of one shard, on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Port {
    awake: AtomicBool,
    load: Load,
    sender: Sender<Parcel>,
    waker: Waker,
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
        let mut ports = Vec::new();
        let mut receivers = Vec::new();
        for registry in registries {
            let (sender, receiver) = unbounded();
            ports.push(Port {
                awake: AtomicBool::new(true),
                load: Load::default(),
                sender,
                waker: Waker::new(registry, waker)?,
            });
            receivers.push(receiver);
        }
        let (storage, congested) = (Load::default(), AtomicU64::new(0));
        let high_mark_bytes = AtomicUsize::new(high_mark_bytes);
        let calls = CallLine::default();
        let mesh = Arc::new(Self { ports, storage, calls, congested, high_mark_bytes });
        let inboxes = (0u8..).zip(receivers).map(|(number, receiver)| Inbox {
            shard: ShardId(number),
            receiver,
            mesh: Arc::clone(&mesh),
        });
        let inboxes = inboxes.collect();
        Ok((mesh, inboxes))
    }

    /// Hands a parcel to a shard, and wakes it only if it sleeps.
    pub fn send(&self, to: ShardId, parcel: Parcel) {
        let port = &self.ports[usize::from(to.0)];
        if let Parcel::Mail(batch) = &parcel {
            self.queues(to, batch.weight);
        }
        // A shard that has stopped takes no more mail, and nobody is left to miss it.
        let _ = port.sender.send(parcel);
        if !port.awake.swap(true, Ordering::SeqCst) {
            // An eventfd write fails only if its counter is full, and then the wake is pending.
            let _ = port.waker.wake();
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

    fn load(&self, at: Destination) -> &Load {
        match at {
            Destination::Shard(shard) => &self.ports[usize::from(shard.0)].load,
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
        &self.mesh.ports[usize::from(self.shard.0)]
    }
}

#[cfg(test)]
mod tests;
