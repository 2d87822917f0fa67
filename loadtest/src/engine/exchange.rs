//! What generator threads say to each other: that a window may have room again. Each has an inbox
//! and is woken by the first note in it; nothing else of a run is shared while traffic flows.

use std::sync::{Arc, Mutex, PoisonError};

use mio::Waker;

/// The part of a run's clients that one thread has: number `n` of each kind is in thread
/// `n % threads`.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub thread: usize,
    pub threads: usize,
    /// How many there are in all threads.
    pub publishers: usize,
    pub callers: usize,
}

impl Part {
    /// Which thread has a publisher or caller.
    pub const fn thread_of(self, number: u32) -> usize {
        number as usize % self.threads
    }

    /// Its place among those of its own thread.
    pub const fn place_of(self, number: u32) -> usize {
        number as usize / self.threads
    }

    /// Who stands at `place` among those of this thread.
    pub const fn number_at(self, place: usize) -> u32 {
        (place * self.threads + self.thread) as u32
    }
}

/// The inboxes of all threads.
#[derive(Debug)]
pub struct Exchange {
    inboxes: Vec<Inbox>,
}

#[derive(Debug)]
struct Inbox {
    /// Publishers of this thread whose window may have room. It holds no more than there are
    /// publications in flight, for each publication opens a window once per thread.
    opened: Mutex<Vec<u32>>,
    waker: Waker,
}

impl Exchange {
    /// `wakers` wake the threads in their order.
    pub fn new(wakers: Vec<Waker>) -> Arc<Self> {
        let inbox = |waker| Inbox { opened: Mutex::default(), waker };
        Arc::new(Self { inboxes: wakers.into_iter().map(inbox).collect() })
    }

    /// Tells `thread` of its publishers among `numbers`.
    pub fn tell(&self, thread: usize, numbers: impl Iterator<Item = u32>) {
        let inbox = &self.inboxes[thread];
        let is_first = {
            let mut opened = inbox.opened.lock().unwrap_or_else(PoisonError::into_inner);
            let was_empty = opened.is_empty();
            opened.extend(numbers);
            was_empty && !opened.is_empty()
        };
        if is_first {
            // A thread that cannot be woken finds the note in its next turn.
            let _ = inbox.waker.wake();
        }
    }

    /// Moves what `thread` was told to the end of `into`.
    pub fn take(&self, thread: usize, into: &mut Vec<u32>) {
        let mut opened = self.inboxes[thread].opened.lock().unwrap_or_else(PoisonError::into_inner);
        into.append(&mut opened);
    }
}
