//! The bytes that one shard encodes during one turn; connections queue spans of them.
//!
//! A frame lies here once, however many connections send it. Cleared when every connection of the
//! turn has written or retained its part.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::Framing;

/// A frame in an [`Arena`], valid until the arena is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub(super) start: u32,
    pub(super) len: u32,
}

impl Span {
    /// No frame.
    pub const EMPTY: Self = Self { start: 0, len: 0 };

    pub const fn len(self) -> usize {
        self.len as usize
    }

    pub const fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// The frames of one turn.
#[derive(Default)]
pub struct Arena {
    bytes: Vec<u8>,
    /// What recent turns used, decaying: capacity far above it is given back.
    recent: usize,
    /// Large frames that outlive the turn for some connections, by their start: each once.
    shared: RefCell<Vec<(u32, Bytes)>>,
}

/// Not the bytes: there may be a ticket among them, on its way to an authenticator.
impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Arena {
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), recent: 0, shared: RefCell::new(Vec::new()) }
    }

    /// Copies a ready frame in.
    pub fn put(&mut self, frame: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(frame);
        self.span(start..self.bytes.len())
    }

    /// Encodes one message with its header in front.
    pub fn frame(&mut self, framing: Framing, encode: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = framing.begin(&mut self.bytes);
        encode(&mut self.bytes);
        let range = framing.finish(&mut self.bytes, start);
        self.span(range)
    }

    /// For what is encoded in place; nothing that a span covers may be changed or removed.
    pub const fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub fn span(&self, range: Range<usize>) -> Span {
        assert!(
            range.end <= self.bytes.len() && range.len() <= MAX_FRAME_BYTES,
            "a span lies in its arena and is shorter than 1 GiB"
        );
        let start = u32::try_from(range.start)
            .expect("a turn ends long before 4 GiB (TurnLimits::arena_bytes)");
        Span { start, len: range.len() as u32 }
    }

    #[inline]
    pub fn get(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..span.start as usize + span.len as usize]
    }

    /// A frame that outlives the turn, in memory that all share who ask for it.
    pub(super) fn share(&self, span: Span) -> Bytes {
        let mut shared = self.shared.borrow_mut();
        let known = shared
            .iter()
            .rev()
            .find(|(start, frame)| *start == span.start && frame.len() == span.len());
        if let Some((_, frame)) = known {
            return frame.clone();
        }
        let frame = Bytes::copy_from_slice(self.get(span));
        shared.push((span.start, frame.clone()));
        frame
    }

    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets everything; capacity that recent turns did not need is given back.
    pub fn clear(&mut self) {
        self.recent = self.bytes.len().max(self.recent - self.recent / 8);
        self.bytes.clear();
        *self.shared.get_mut() = Vec::new();
        let keep = (2 * self.recent).max(KEEP_BYTES);
        if self.bytes.capacity() > 2 * keep {
            self.bytes.shrink_to(keep);
        }
    }
}

pub(super) const MAX_FRAME_BYTES: usize = (1 << 30) - 1;
const KEEP_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_lie_where_their_spans_say() {
        let mut arena = Arena::new();
        let first = arena.put(b"one");
        let second = arena.frame(Framing::RawSocket, |out| out.extend_from_slice(b"two"));
        assert_eq!(arena.get(first), b"one");
        assert_eq!(arena.get(second), b"\0\0\0\x03two");
    }

    #[test]
    fn one_large_turn_does_not_keep_its_memory_for_ever() {
        let mut arena = Arena::new();
        arena.put(&vec![0; 32 << 20]);
        arena.clear();
        for _ in 0..100 {
            arena.put(b"small");
            arena.clear();
        }
        assert!(arena.bytes.capacity() <= 2 * KEEP_BYTES);
    }
}
