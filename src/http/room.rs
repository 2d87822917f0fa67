//! Memory for bodies, of all clients together: what has come and is not dealt with, or is to be
//! sent and was not taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// So many bytes may be in use at a time.
#[derive(Clone, Debug)]
pub(super) struct Room {
    used: Arc<AtomicUsize>,
    most: usize,
}

/// Bytes that are in use, until this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    room: Room,
    bytes: usize,
}

impl Room {
    pub(super) fn new(most: usize) -> Self {
        Self { used: Arc::default(), most }
    }

    /// The same bytes with another bound.
    pub(super) fn with_most(&self, most: usize) -> Self {
        Self { used: Arc::clone(&self.used), most }
    }

    /// Room for nothing yet.
    pub(super) fn enter(&self) -> Taken {
        Taken { room: self.clone(), bytes: 0 }
    }

    /// `None` if there is not enough.
    pub(super) fn take(&self, bytes: usize) -> Option<Taken> {
        let mut taken = self.enter();
        taken.grow(bytes).then_some(taken)
    }
}

impl Taken {
    /// Takes so many bytes more. `false` if the whole would be more than a quarter of what is left:
    /// so large bodies are refused first, and small ones always find room.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let Room { used, most } = &self.room;
        let whole = self.bytes.saturating_add(bytes);
        let may_take = |used: usize| {
            let left = most.saturating_sub(used - self.bytes);
            (whole <= left / FRACTION).then_some(used + bytes)
        };
        let is_taken = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, may_take).is_ok();
        if is_taken {
            self.bytes = whole;
        }
        is_taken
    }

    /// So many bytes more may be taken now.
    pub(super) fn left(&self) -> usize {
        let Room { used, most } = &self.room;
        let others = used.load(Ordering::Relaxed) - self.bytes;
        (most.saturating_sub(others) / FRACTION).saturating_sub(self.bytes)
    }

    /// Gives back all but so many bytes.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let over = self.bytes.saturating_sub(bytes);
        self.room.used.fetch_sub(over, Ordering::Relaxed);
        self.bytes -= over;
    }
}

/// Bytes that count until the last copy of them is gone, wherever it is.
pub(super) fn counted(bytes: Vec<u8>, taken: Vec<Taken>) -> Bytes {
    Bytes::from_owner(Counted { bytes, _taken: taken })
}

struct Counted {
    bytes: Vec<u8>,
    _taken: Vec<Taken>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

/// What one body leaves of the room is three times as much at least.
pub(super) const FRACTION: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_are_refused_first_and_all_is_given_back() {
        let room = Room::new(1_000);
        assert!(room.take(251).is_none());
        let mut held: Vec<_> = (0..4).map_while(|_| room.take(150)).collect();
        assert_eq!(held.len(), 3, "550 bytes are left, of which 150 are more than a quarter");
        assert!(room.take(137).is_some());
        let mut body = room.enter();
        assert!(body.grow(100) && body.left() == 37, "it is the whole that counts");
        assert!(body.grow(37) && body.left() == 0 && !body.grow(1));
        body.shrink(10);
        held.clear();
        assert_eq!(room.used.load(Ordering::Relaxed), 10);
        drop(body);
        assert_eq!(room.used.load(Ordering::Relaxed), 0);
        let bytes = counted(b"body".to_vec(), vec![room.take(4).unwrap()]);
        let piece = bytes.slice(1..2);
        drop(bytes);
        assert_eq!((&piece[..], room.used.load(Ordering::Relaxed)), (&b"o"[..], 4));
        drop(piece);
        assert!(room.with_most(4_000).take(1_000).is_some() && room.take(250).is_some());
    }
}
