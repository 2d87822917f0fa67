//! Closed loop for publications: a publication is *in flight* from the moment it is written until
//! every counted subscriber has received it. A publisher sends its next one when the oldest of its
//! K has been seen by all.

/// One publisher's window.
#[derive(Clone, Debug)]
pub struct Window {
    /// Subscribers still to come, for the publication `sequence % K`.
    waiting: Vec<u32>,
    oldest: u32,
    next: u32,
    receivers: u32,
}

impl Window {
    /// `in_flight` is K; 0 makes a window that never closes (open loop). `receivers` is how many
    /// subscribers each publication reaches.
    pub fn new(in_flight: u32, receivers: u32) -> Self {
        Self { waiting: vec![0; in_flight as usize], oldest: 0, next: 0, receivers }
    }

    pub fn has_room(&self) -> bool {
        self.waiting.is_empty() || self.next - self.oldest < self.waiting.len() as u32
    }

    /// How many were sent so far, which is the next sequence number.
    pub const fn sent(&self) -> u32 {
        self.next
    }

    pub const fn receivers(&self) -> u32 {
        self.receivers
    }

    /// Takes the next sequence number.
    pub fn send(&mut self) -> u32 {
        debug_assert!(self.has_room());
        let sequence = self.next;
        if let Some(slot) = self.slot(sequence) {
            self.waiting[slot] = self.receivers;
        }
        self.next += 1;
        sequence
    }

    /// One subscriber has received `sequence`. True if that made room for another publication.
    pub fn delivered(&mut self, sequence: u32) -> bool {
        let Some(slot) = self.slot(sequence) else {
            return false;
        };
        if sequence < self.oldest || sequence >= self.next {
            return false;
        }
        self.waiting[slot] = self.waiting[slot].saturating_sub(1);
        let before = self.oldest;
        while self.oldest < self.next
            && self.waiting[self.oldest as usize % self.waiting.len()] == 0
        {
            self.oldest += 1;
        }
        self.oldest > before
    }

    fn slot(&self, sequence: u32) -> Option<usize> {
        (sequence as usize).checked_rem(self.waiting.len())
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
}
