//! Closed loop for publications: a publication is *in flight* from the moment it is written until
//! every counted subscriber has received it. A publisher sends its next one when the oldest of its
//! K has been seen by all.
//!
//! Each generator thread has its own [`Window`] of each publisher, which counts the subscribers of
//! that thread; they share only what changes once per publication.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// One publisher's window, as one thread sees it.
#[derive(Debug)]
pub struct Window {
    /// How many subscribers of this thread have the publication `sequence % K`.
    arrived: Vec<u32>,
    /// All subscribers of this thread have what comes before.
    oldest: u32,
    /// Subscribers of this thread.
    receivers: u32,
    /// Where this thread stands in [`Progress::seen`]; `None` without subscribers.
    place: Option<usize>,
    progress: Arc<Progress>,
}

/// What the threads know of one publisher.
#[derive(Debug)]
struct Progress {
    /// The next sequence number. Only the publisher's thread raises it, before it writes.
    sent: AtomicU32,
    /// Of each thread with subscribers: all of those have what comes before.
    seen: Vec<AtomicU32>,
}

impl Window {
    /// `in_flight` is K; 0 makes a window that never closes (open loop). `receivers` is how many
    /// subscribers each publication reaches.
    pub fn new(in_flight: u32, receivers: u32) -> Self {
        let seen = vec![AtomicU32::new(0)];
        let progress = Arc::new(Progress { sent: AtomicU32::new(0), seen });
        let arrived = vec![0; in_flight as usize];
        Self { arrived, oldest: 0, receivers, place: Some(0), progress }
    }

    /// One window for each of `publishers`.
    pub fn of_each(publishers: u32, in_flight: u32, receivers: u32) -> Vec<Self> {
        (0..publishers).map(|_| Self::new(in_flight, receivers)).collect()
    }

    /// The same for several threads, of which each has so many of the subscribers. Nothing may have
    /// been sent yet.
    pub fn split(&self, receivers: &[u32]) -> Vec<Self> {
        debug_assert_eq!(receivers.iter().sum::<u32>(), self.receivers);
        let having = receivers.iter().filter(|count| **count > 0).count();
        let seen = (0..having).map(|_| AtomicU32::new(0)).collect();
        let progress = Arc::new(Progress { sent: AtomicU32::new(0), seen });
        let mut places = 0..having;
        let window = |receivers: &u32| Self {
            arrived: vec![0; self.arrived.len()],
            oldest: 0,
            receivers: *receivers,
            place: if *receivers > 0 { places.next() } else { None },
            progress: Arc::clone(&progress),
        };
        receivers.iter().map(window).collect()
    }

    pub fn has_room(&self) -> bool {
        let in_flight = self.arrived.len() as u32;
        in_flight == 0 || self.sent() - self.oldest_anywhere() < in_flight
    }

    /// How many were sent so far, which is the next sequence number.
    pub fn sent(&self) -> u32 {
        self.progress.sent.load(Ordering::SeqCst)
    }

    pub const fn receivers(&self) -> u32 {
        self.receivers
    }

    /// Takes the next sequence number; in the publisher's thread only.
    pub fn send(&mut self) -> u32 {
        debug_assert!(self.has_room());
        let sequence = self.sent();
        // Whoever subscribes in another thread and does not see this is owed the publication.
        self.progress.sent.store(sequence + 1, Ordering::SeqCst);
        sequence
    }

    /// One subscriber of this thread has received `sequence`. True if all of them have another
    /// publication now, so that there may be room for the next.
    pub fn delivered(&mut self, sequence: u32) -> bool {
        let Some(slot) = self.slot(sequence) else {
            return false;
        };
        let in_flight = self.arrived.len() as u32;
        if sequence.wrapping_sub(self.oldest) >= in_flight || sequence >= self.sent() {
            return false;
        }
        self.arrived[slot] += 1;
        let before = self.oldest;
        while let Some(slot) = self.slot(self.oldest).filter(|slot| self.is_seen(*slot)) {
            self.arrived[slot] = 0;
            self.oldest += 1;
        }
        if self.oldest > before
            && let Some(place) = self.place
        {
            self.progress.seen[place].store(self.oldest, Ordering::Release);
        }
        self.oldest > before
    }

    /// Whether all subscribers of this thread have what is in a slot.
    fn is_seen(&self, slot: usize) -> bool {
        self.arrived[slot] >= self.receivers.max(1)
    }

    /// All subscribers of all threads have what comes before.
    fn oldest_anywhere(&self) -> u32 {
        let seen = self.progress.seen.iter().map(|oldest| oldest.load(Ordering::Acquire));
        seen.min().unwrap_or_default()
    }

    fn slot(&self, sequence: u32) -> Option<usize> {
        (sequence as usize).checked_rem(self.arrived.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_when_all_have_seen_the_oldest() {
        let mut window = Window::new(2, 3);
        assert_eq!((window.send(), window.send()), (0, 1));
        assert!(!window.has_room());
        for _ in 0..3 {
            assert!(!window.delivered(1));
        }
        assert!(!window.delivered(0) && !window.delivered(0));
        assert!(!window.has_room());
        assert!(window.delivered(0));
        assert!(window.has_room());
        assert_eq!(window.send(), 2);
        assert!(!window.delivered(9) && !window.delivered(0));
    }

    #[test]
    fn open_loop_never_closes() {
        let mut window = Window::new(0, 3);
        for sequence in 0..5 {
            assert_eq!(window.send(), sequence);
        }
        assert!(window.has_room() && !window.delivered(0));
        assert_eq!(window.sent(), 5);
    }

    #[test]
    fn threads_wait_for_each_others_subscribers() {
        let mut windows = Window::new(2, 3).split(&[0, 1, 2]);
        let [own, one, two] = &mut windows[..] else { panic!("there are three") };
        assert_eq!((own.send(), own.send(), own.has_room()), (0, 1, false));
        assert_eq!((one.sent(), two.sent()), (2, 2));
        assert!(one.delivered(0) && one.delivered(1));
        assert!(!own.has_room());
        assert!(!two.delivered(0) && two.delivered(0));
        assert!(own.has_room());
        assert_eq!((own.send(), own.has_room()), (2, false));
        assert!(one.delivered(2));
        assert!(!own.has_room(), "one thread is a publication behind");
        assert!(!two.delivered(1) && two.delivered(1));
        assert!(own.has_room());
        assert!(!one.delivered(3), "it was not sent");
    }

    #[test]
    fn a_window_that_nobody_empties_stays_closed() {
        let mut window = Window::new(1, 0);
        window.send();
        assert!(!window.has_room());
    }
}
