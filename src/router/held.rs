//! Bytes of what is accepted and not delivered everywhere: one total for the router.
//!
//! Each shard counts what it has accepted: events, calls and answers to other shards, deposits, and
//! questions to the router. Whoever lets go of the last share of it subtracts, on whatever thread
//! that is. So an event counts once, however many shards and deliveries share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What one shard has accepted, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct HeldCount {
    bytes: AtomicUsize,
    meta_events: AtomicUsize,
}

impl HeldCount {
    pub fn get(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Meta events that wait to be heard.
    pub fn meta_events(&self) -> usize {
        self.meta_events.load(Ordering::Relaxed)
    }

    /// Counts one meta event until the guard is dropped.
    pub fn hold_meta_event(self: &Arc<Self>) -> HeldMetaEvent {
        self.meta_events.fetch_add(1, Ordering::Relaxed);
        HeldMetaEvent(Arc::clone(self))
    }

    /// Counts so many bytes until the guard is dropped.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Held { count: Arc::clone(self), bytes }
    }
}

/// Bytes that count as held while this lives.
#[derive(Debug)]
pub struct Held {
    count: Arc<HeldCount>,
    bytes: usize,
}

impl Held {
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn resize(&mut self, bytes: usize) {
        self.count.bytes.fetch_add(bytes.wrapping_sub(self.bytes), Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.count.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A meta event that waits to be heard while this lives.
#[derive(Debug)]
pub struct HeldMetaEvent(Arc<HeldCount>);

impl Drop for HeldMetaEvent {
    fn drop(&mut self) {
        self.0.meta_events.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_let_go_counts_no_more() {
        let count = Arc::new(HeldCount::default());
        let (mut first, second) = (count.hold(10), count.hold(5));
        first.resize(3);
        assert_eq!((count.get(), first.bytes()), (8, 3));
        drop(second);
        first.resize(20);
        assert_eq!(count.get(), 20);
        drop(first);
        assert_eq!(count.get(), 0);
    }
}
