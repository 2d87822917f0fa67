//! What the thread `cluster` shows of itself, for whoever wants to see it: nobody is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::clock::Millis;
use crate::cluster::NodeView;

/// A node of a cluster at one moment, and what carries its messages.
#[derive(Clone, Debug)]
pub struct ClusterView {
    /// The name of the cluster.
    pub cluster: Arc<str>,
    /// When it was so, on the router's clock.
    pub at: Millis,
    /// Bytes of mail of the shards that wait for the thread.
    pub mail_bytes: usize,
    pub bus: BusView,
    pub node: NodeView,
}

/// The connection to NATS, and the bucket of the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusView {
    pub is_connected: bool,
    /// For how long it has been connected, or not, in milliseconds.
    pub since_ms: u64,
    /// Times that a lost connection has come back.
    pub reconnects: u64,
    /// The watch of the bucket is open.
    pub is_watched: bool,
    /// Times that the watch was opened again.
    pub watch_reopenings: u64,
    /// Writes of the bucket that are under way.
    pub writes: usize,
    /// Those that nobody has answered so far.
    pub unanswered_writes: u64,
    /// For how long the bucket has not been watched, or has answered no write, in milliseconds, if
    /// so.
    pub silent_ms: Option<u64>,
}

/// The last view, by one writer: the thread `cluster`.
#[derive(Debug, Default)]
pub(super) struct ClusterShown {
    latest: Mutex<Option<Arc<ClusterView>>>,
    /// How often it has shown one: so its loop turns.
    beats: AtomicU64,
}

impl ClusterShown {
    #[cfg(any(feature = "cluster", test))]
    pub(super) fn show(&self, view: ClusterView) {
        let view = Some(Arc::new(view));
        let before = std::mem::replace(&mut *self.latest.lock(), view);
        self.beats.fetch_add(1, Ordering::Relaxed);
        // Not under the lock.
        drop(before);
    }

    pub(super) fn latest(&self) -> Option<Arc<ClusterView>> {
        self.latest.lock().clone()
    }

    pub(super) fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }
}
