//! What waits to be written to one connection: spans of this turn's arena behind an own backlog.
//!
//! A connection that keeps up owns no memory here. What its socket does not take is copied once,
//! into its [`Backlog`]. Byte budgets and the policy for slow consumers are the caller's.

mod batches;

use std::io::IoSlice;

use smallvec::SmallVec;

pub use batches::GatheredBatch;

use super::backlog::{Backlog, Piece, PieceKind};
use super::{Arena, Span};
use crate::clock::Millis;

/// Whether a frame may be dropped for a slow consumer: only EVENT may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Reply,
    Event,
}

/// What [`Output::drop_oldest_events`] dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    pub frames: usize,
    pub bytes: usize,
}

/// The queue of one connection. In order: the backlog, then the spans; a control frame goes first,
/// but never into a frame that is partly written (TR-RS-08).
#[derive(Debug, Default)]
pub struct Output {
    spans: SmallVec<[Entry; 8]>,
    /// Older than all spans; holds at least one byte if there is one.
    backlog: Option<Box<Backlog>>,
    waiting: usize,
    /// The first span that is not written yet.
    first: u32,
    /// How much of the first span is written; only without a backlog.
    written: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    piece: Piece,
}

impl Output {
    pub fn new() -> Self {
        Self::default()
    }

    /// Queues a frame of the arena, which is never empty.
    #[inline]
    pub fn push(&mut self, span: Span, class: Class) {
        debug_assert!(!span.is_empty());
        let kind = match class {
            Class::Reply => PieceKind::Reply,
            Class::Event => PieceKind::Event,
        };
        self.waiting += span.len();
        self.spans.push(Entry { start: span.start, piece: Piece::new(span.len, kind) });
    }

    /// Queues a control frame before all frames that are not begun, behind earlier control frames.
    pub fn push_control(&mut self, arena: &Arena, span: Span, now: Millis) {
        if span.is_empty() {
            return;
        }
        self.waiting += span.len();
        if let Some(backlog) = &mut self.backlog {
            return backlog.push_urgent(arena.get(span), now);
        }
        let begun = self.first as usize + usize::from(self.written > 0);
        let is_control = |entry: &&Entry| entry.piece.kind() == PieceKind::Control;
        let controls = self.spans[begun..].iter().take_while(is_control).count();
        let piece = Piece::new(span.len, PieceKind::Control);
        self.spans.insert(begun + controls, Entry { start: span.start, piece });
    }

    /// All bytes that the socket has not taken, those that the wire keeps included.
    pub const fn waiting_bytes(&self) -> usize {
        self.waiting
    }

    /// Those of them that it was offered and has refused, or that lie behind such: in memory of
    /// this connection's own.
    #[inline]
    pub fn backlog_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.live_bytes())
    }

    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether the arena must not be cleared yet.
    pub fn has_arena_spans(&self) -> bool {
        !self.spans.is_empty()
    }

    /// Bytes that were taken, and refused by the socket in another form: encrypted.
    #[inline]
    pub fn kept_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.kept_bytes())
    }

    /// Since when the oldest of the bytes waits that the socket has refused: when they were copied
    /// to this connection's own memory. `None` if there are none.
    ///
    /// Never later than it is, and earlier by up to 100 ms or by the true age, whichever is more.
    /// What the wire keeps is as old as the oldest of the bytes that it took at once with it.
    pub fn oldest(&self) -> Option<Millis> {
        self.backlog.as_ref().and_then(|backlog| backlog.oldest())
    }

    /// As [`Self::advance`], where the wire keeps bytes: so many of those that it took, now or
    /// before, wait all the same. It takes bytes only when it keeps none of before.
    pub fn advance_keeping(&mut self, arena: &Arena, written: usize, kept: usize, now: Millis) {
        let since = self.backlog.as_ref().and_then(|backlog| match written {
            0 => backlog.kept_since(),
            _ => backlog.first_run_since(),
        });
        self.advance(written);
        self.note_kept(arena, kept, since.unwrap_or(now), now);
    }

    /// The wire keeps so many bytes now, the oldest of which wait `since` then.
    fn note_kept(&mut self, arena: &Arena, kept: usize, since: Millis, now: Millis) {
        if kept > 0 {
            self.retain_rest(arena, now);
        }
        let backlog = self.backlog.get_or_insert_default();
        self.waiting = self.waiting - backlog.kept_bytes() + kept;
        backlog.set_kept(kept, since);
        if backlog.is_empty() {
            self.backlog = None;
        }
    }

    /// The next bytes to write, at most `max_bytes`; empty only if nothing waits, or nothing but
    /// what the wire keeps.
    ///
    /// They lie in the backlog, in the arena, or, where several small frames lie apart from each
    /// other, in `scratch`, whose old content is lost.
    #[inline(always)]
    pub fn next_write<'a>(
        &'a self,
        arena: &'a Arena,
        scratch: &'a mut Vec<u8>,
        max_bytes: usize,
    ) -> &'a [u8] {
        debug_assert!(max_bytes > 0);
        if let Some(backlog) = &self.backlog {
            return backlog.first_run(max_bytes);
        }
        let Some((first, rest)) = self.spans[self.first as usize..].split_first() else {
            return &[];
        };
        let (run, apart) = first_run(*first, rest);
        let head = &arena.get(run)[self.written as usize..];
        if apart.is_empty() || head.len() >= max_bytes.min(LARGE_BYTES) {
            return &head[..head.len().min(max_bytes)];
        }
        scratch.clear();
        scratch.extend_from_slice(head);
        for entry in apart {
            let frame = arena.get(entry.span());
            let room = max_bytes - scratch.len();
            if room == 0 || frame.len() >= LARGE_BYTES {
                break;
            }
            scratch.extend_from_slice(&frame[..frame.len().min(room)]);
        }
        scratch
    }

    /// Fills `slices` with what waits, in order, for a vectored write; returns how many are used.
    pub fn fill_slices<'a>(&'a self, arena: &'a Arena, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut add = |bytes: &'a [u8]| {
            if let Some(slot) = slices.get_mut(used) {
                *slot = IoSlice::new(bytes);
                used += 1;
                return true;
            }
            false
        };
        if let Some(backlog) = &self.backlog
            && !backlog.each_run(usize::MAX, &mut add)
        {
            return used;
        }
        let mut skip = self.written as usize;
        for entry in &self.spans[self.first as usize..] {
            if !add(&arena.get(entry.span())[skip..]) {
                break;
            }
            skip = 0;
        }
        used
    }

    /// The socket took so many of the bytes that wait first.
    pub fn advance(&mut self, written: usize) {
        debug_assert!(written <= self.waiting);
        self.waiting -= written;
        if self.waiting == 0 {
            // Few have one: most need not ask what it takes to drop it.
            if self.backlog.is_some() {
                self.backlog = None;
            }
            self.written = 0;
            return self.forget_spans();
        }
        let mut left = written;
        if let Some(backlog) = &mut self.backlog {
            left = backlog.advance(left);
            if !backlog.is_empty() {
                return;
            }
            self.backlog = None;
        }
        while let Some(entry) = self.spans.get(self.first as usize) {
            let rest = entry.piece.len() - self.written as usize;
            if left < rest {
                self.written += left as u32;
                return;
            }
            left -= rest;
            self.written = 0;
            self.first += 1;
        }
        self.forget_spans();
    }

    /// The socket is full: what the arena still holds for this connection moves to the backlog.
    /// Small frames are copied; a large one is copied once, however many connections keep it.
    pub fn retain_rest(&mut self, arena: &Arena, now: Millis) {
        if self.first as usize == self.spans.len() {
            return;
        }
        let backlog = self.backlog.get_or_insert_default();
        for entry in &self.spans[self.first as usize..] {
            let (kind, written) = (entry.piece.kind(), self.written as usize);
            let rest = &arena.get(entry.span())[written..];
            if kind == PieceKind::Control {
                backlog.push_urgent(rest, now);
            } else if rest.len() >= LARGE_BYTES {
                let frame = arena.share(entry.span());
                backlog.push_shared(frame.slice(written..), kind, written > 0, now);
            } else {
                backlog.push(rest, kind, written > 0, now);
            }
            self.written = 0;
        }
        self.forget_spans();
    }

    /// Drops whole EVENT frames, oldest first, until `need_bytes` are free or none is left. Replies
    /// and a frame that is partly written stay.
    pub fn drop_oldest_events(&mut self, arena: &Arena, need_bytes: usize, now: Millis) -> Dropped {
        let mut dropped = Dropped::default();
        loop {
            if let Some(backlog) = &mut self.backlog {
                backlog.drop_oldest_events(need_bytes, &mut dropped);
                if backlog.is_empty() {
                    self.backlog = None;
                }
            }
            if dropped.bytes >= need_bytes || !self.has_arena_spans() {
                self.waiting -= dropped.bytes;
                return dropped;
            }
            self.retain_rest(arena, now);
        }
    }

    /// Throws away all that is not begun, and returns how many bytes that was: what comes next
    /// follows a whole frame.
    pub fn discard_unbegun(&mut self, arena: &Arena, now: Millis) -> usize {
        let before = self.waiting;
        self.retain_rest(arena, now);
        if let Some(backlog) = &mut self.backlog {
            backlog.discard_unbegun();
            self.waiting = backlog.live_bytes();
            if backlog.is_empty() {
                self.backlog = None;
            }
        }
        before - self.waiting
    }

    /// Throws everything away, without a word to anybody.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn forget_spans(&mut self) {
        self.first = 0;
        self.written = 0;
        if self.spans.spilled() {
            self.spans = SmallVec::new();
        } else {
            self.spans.clear();
        }
    }

    /// Asserts what must hold after each public call.
    pub fn check_invariants(&self) {
        let spans = self.spans[self.first as usize..].iter().map(|entry| entry.piece.len());
        let backlog = self.backlog.as_ref().map_or(0, |backlog| {
            backlog.check_invariants();
            assert!(!backlog.is_empty());
            backlog.live_bytes()
        });
        assert_eq!(self.waiting + self.written as usize, spans.sum::<usize>() + backlog);
        assert!(self.backlog.is_none() || self.written == 0);
    }
}

impl Entry {
    #[inline]
    const fn span(self) -> Span {
        Span { start: self.start, len: self.piece.len() as u32 }
    }
}

/// The frames from `first` on that lie side by side, as one span; and the frames behind them.
fn first_run(first: Entry, rest: &[Entry]) -> (Span, &[Entry]) {
    let mut run = first.span();
    let joins = |entry: &&Entry| {
        let joins = entry.start == run.start + run.len;
        run.len += if joins { entry.span().len } else { 0 };
        joins
    };
    let joined = rest.iter().take_while(joins).count();
    (run, &rest[joined..])
}

/// From this size on frames are written from where they lie, and shared where they are kept.
const LARGE_BYTES: usize = 16 << 10;

const _: () = assert!(size_of::<Output>() <= 96);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(7);

    fn owns_nothing(output: &Output) -> bool {
        output.backlog.is_none() && !output.spans.spilled() && output.is_empty()
    }

    #[test]
    fn an_idle_connection_owns_no_memory() {
        let (mut output, mut arena) = (Output::new(), Arena::new());
        assert!(owns_nothing(&output));
        for _ in 0..100 {
            let span = arena.put(&[1; 1000]);
            output.push(span, Class::Event);
        }
        output.advance(60_500);
        output.retain_rest(&arena, NOW);
        assert!(!output.has_arena_spans());
        output.check_invariants();
        output.advance(39_500);
        assert!(owns_nothing(&output));
        let span = arena.put(b"event");
        output.push(span, Class::Event);
        output.retain_rest(&arena, NOW);
        let dropped = output.drop_oldest_events(&arena, 1, NOW);
        assert_eq!(dropped, Dropped { frames: 1, bytes: 5 });
        assert!(owns_nothing(&output));
    }

    #[test]
    fn what_the_wire_keeps_waits_and_is_never_dropped() {
        let (mut output, mut arena) = (Output::new(), Arena::new());
        for _ in 0..3 {
            let span = arena.put(&[1; 10]);
            output.push(span, Class::Event);
            arena.put(b"for others");
        }
        output.advance_keeping(&arena, 20, 25, NOW);
        output.check_invariants();
        assert_eq!((output.waiting_bytes(), output.kept_bytes()), (35, 25));
        let mut scratch = Vec::new();
        assert_eq!(output.next_write(&arena, &mut scratch, 99), [1; 10]);
        output.advance_keeping(&arena, 0, 15, NOW);
        let dropped = output.drop_oldest_events(&arena, 99, NOW);
        assert_eq!((dropped.bytes, output.waiting_bytes()), (10, 15));
        assert_eq!(output.discard_unbegun(&arena, NOW), 0);
        output.check_invariants();
        assert!(output.next_write(&arena, &mut scratch, 99).is_empty() && !output.is_empty());
        output.advance_keeping(&arena, 0, 0, NOW);
        assert!(owns_nothing(&output));
    }

    #[test]
    fn only_small_frames_apart_from_each_other_are_copied() {
        let (mut output, mut arena) = (Output::new(), Arena::new());
        for length in [10, LARGE_BYTES, 10, 20, LARGE_BYTES] {
            let span = arena.put(&vec![1; length]);
            output.push(span, Class::Reply);
            arena.put(b"for others");
        }
        for (length, copied) in [(10, true), (LARGE_BYTES, false), (30, true), (LARGE_BYTES, false)]
        {
            let mut scratch = Vec::new();
            let next = output.next_write(&arena, &mut scratch, 1 << 20).len();
            assert_eq!((next, !scratch.is_empty()), (length, copied));
            output.advance(next);
        }
        assert!(output.is_empty());
    }

    /// What a large event costs does not grow with those who do not read it.
    #[test]
    fn a_large_frame_is_kept_once_for_all() {
        let mut arena = Arena::new();
        arena.put(b"something else");
        let (large, small) = (arena.put(&[7; LARGE_BYTES]), arena.put(b"small"));
        let mut outputs: Vec<_> = (0..100).map(|_| Output::new()).collect();
        for (taken, output) in outputs.iter_mut().enumerate() {
            output.push(large, Class::Event);
            output.push(small, Class::Event);
            output.advance(usize::from(taken == 1));
            output.retain_rest(&arena, NOW);
            output.check_invariants();
        }
        arena.clear();
        let scratch = &mut Vec::new();
        let first = outputs[0].next_write(&arena, scratch, usize::MAX).as_ptr();
        for output in &mut outputs[2..] {
            let next = output.next_write(&arena, scratch, usize::MAX);
            assert_eq!((next.as_ptr(), next.len()), (first, LARGE_BYTES));
            output.advance(1);
            output.discard_unbegun(&arena, NOW);
            let rest = output.next_write(&arena, scratch, usize::MAX);
            assert_eq!((rest.as_ptr(), rest.len()), (first.wrapping_add(1), LARGE_BYTES - 1));
        }
    }

    #[test]
    fn frames_side_by_side_are_one_write() {
        let (mut output, mut arena) = (Output::new(), Arena::new());
        for byte in 1..=3 {
            let span = arena.put(&[byte; 10]);
            output.push(span, Class::Event);
        }
        let mut scratch = Vec::new();
        assert_eq!(output.next_write(&arena, &mut scratch, 15), [&[1; 10][..], &[2; 5]].concat());
        output.advance(15);
        output.check_invariants();
        assert_eq!(output.next_write(&arena, &mut scratch, 99), [&[2; 5][..], &[3; 10]].concat());
        assert!(scratch.is_empty());
        output.advance(15);
        assert!(output.is_empty());
    }
}
