//! The bytes that a slow connection still has to take, with the border of every frame.
//!
//! Frames lie in chunks and never cross one, so that nothing is ever moved to the front; a dropped
//! frame stays as a gap until it is passed, or until gaps are a quarter of what lives.

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Deref, Range};

use bytes::Bytes;

use super::Dropped;
use super::marks::Marks;
use crate::clock::Millis;

/// The length and kind of a frame, or of what is left of it, in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PieceKind {
    Reply,
    Event,
    Control,
    /// An event that was dropped: its bytes are skipped.
    Gap,
}

/// Frames side by side, or one large frame that many connections may share.
enum Chunk {
    Own(Vec<u8>),
    Shared(Bytes),
}

/// Not the bytes, as of an [`Arena`](super::Arena).
impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Chunk {
    /// A part of it, which is copied only if it is its own.
    fn part(&self, range: Range<usize>) -> Self {
        match self {
            Self::Own(bytes) => Self::Own(bytes[range].to_vec()),
            Self::Shared(bytes) => Self::Shared(bytes.slice(range)),
        }
    }
}

/// Never empty while its owner keeps it; its first piece is never a gap.
#[derive(Default)]
pub(super) struct Backlog {
    /// What is left of a batch whose beginning is written: before everything else.
    head: Vec<u8>,
    head_read: usize,
    /// Since when the oldest of its messages waits.
    head_since: Millis,
    pieces: VecDeque<Piece>,
    chunks: VecDeque<Chunk>,
    /// When the bytes of the pieces came, gaps included.
    piece_marks: Marks,
    /// How far the first chunk is consumed.
    read: usize,
    /// Control frames, written before the first piece that is not begun.
    urgent: Vec<u8>,
    urgent_read: usize,
    urgent_marks: Marks,
    live: usize,
    /// Bytes that the wire took and keeps, encrypted, since the socket refused them: they go first.
    kept: usize,
    /// Since when the oldest of the bytes waits that the wire took with them.
    kept_since: Millis,
    gaps: usize,
    /// Before this piece there is no event that could be dropped.
    no_event_before: usize,
    /// The first piece is what is left of a frame.
    begun: bool,
}

/// Nor those of a batch.
impl fmt::Debug for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backlog").field("live", &self.live).finish_non_exhaustive()
    }
}

impl Piece {
    #[inline]
    pub(super) const fn new(len: u32, kind: PieceKind) -> Self {
        debug_assert!(len as usize <= super::arena::MAX_FRAME_BYTES);
        Self(len << 2 | kind as u32)
    }

    #[inline]
    pub(super) const fn len(self) -> usize {
        (self.0 >> 2) as usize
    }

    #[inline]
    pub(super) const fn kind(self) -> PieceKind {
        match self.0 & 3 {
            0 => PieceKind::Reply,
            1 => PieceKind::Event,
            2 => PieceKind::Control,
            _ => PieceKind::Gap,
        }
    }
}

impl Backlog {
    pub(super) const fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// All bytes that the socket has still to take.
    pub(super) const fn live_bytes(&self) -> usize {
        self.live
    }

    pub(super) const fn kept_bytes(&self) -> usize {
        self.kept
    }

    pub(super) const fn set_kept(&mut self, bytes: usize, since: Millis) {
        self.live = self.live - self.kept + bytes;
        self.kept = bytes;
        self.kept_since = since;
    }

    /// Since when what the wire keeps waits.
    pub(super) fn kept_since(&self) -> Option<Millis> {
        (self.kept > 0).then_some(self.kept_since)
    }

    /// Since when the oldest of all bytes waits, as [`Marks`] have it.
    pub(super) fn oldest(&self) -> Option<Millis> {
        let waiting = [self.kept_since(), self.piece_marks.oldest(), self.urgent_marks.oldest()];
        waiting.into_iter().chain([self.head_since()]).flatten().min()
    }

    fn head_since(&self) -> Option<Millis> {
        (!self.head.is_empty()).then_some(self.head_since)
    }

    /// Since when the oldest byte waits of what [`Self::first_run`] gives.
    pub(super) fn first_run_since(&self) -> Option<Millis> {
        let urgent = self.urgent_marks.oldest().filter(|_| !self.begun);
        self.head_since().or(urgent).or_else(|| self.piece_marks.oldest())
    }

    /// Puts what is left of a batch before everything else, whose oldest message waits `since`
    /// then. Nothing may be begun.
    pub(super) fn push_head(&mut self, rest: &[u8], since: Millis) {
        debug_assert!(self.head.is_empty() && !self.begun);
        (self.head, self.head_read, self.head_since) = (rest.to_vec(), 0, since);
        self.live += rest.len();
    }

    /// Bytes that go first and are in no batch: what is left of one, or of a frame, and control
    /// frames.
    pub(super) fn alone_bytes(&self) -> usize {
        if !self.head.is_empty() {
            return self.head.len() - self.head_read;
        }
        let begun = self.pieces.front().filter(|_| self.begun);
        begun.map_or(0, |piece| piece.len()) + self.urgent.len() - self.urgent_read
    }

    /// Calls `take` with each frame that waits, in order, until it returns false; not if something
    /// goes first that is in no batch. Returns whether it saw all.
    pub(super) fn each_frame(&self, take: &mut impl FnMut(&[u8]) -> bool) -> bool {
        if self.alone_bytes() > 0 {
            return false;
        }
        let mut chunks = self.chunks.iter();
        let mut rest = chunks.next().map_or(&[][..], |chunk| &chunk[self.read..]);
        for piece in &self.pieces {
            if rest.is_empty() {
                rest = chunks.next().map_or(&[], |chunk| chunk);
            }
            let (frame, behind) = rest.split_at(piece.len());
            if piece.kind() != PieceKind::Gap && !take(frame) {
                return false;
            }
            rest = behind;
        }
        true
    }

    /// Appends a frame; `begun` if its beginning is already written, which only the first can be.
    pub(super) fn push(&mut self, bytes: &[u8], kind: PieceKind, begun: bool, now: Millis) {
        self.push_piece(bytes.len(), kind, begun, now);
        push_chunked(&mut self.chunks, bytes);
    }

    /// The same for a frame that is shared, or for what is left of one.
    pub(super) fn push_shared(&mut self, bytes: Bytes, kind: PieceKind, begun: bool, now: Millis) {
        self.push_piece(bytes.len(), kind, begun, now);
        self.chunks.push_back(Chunk::Shared(bytes));
    }

    fn push_piece(&mut self, length: usize, kind: PieceKind, begun: bool, now: Millis) {
        debug_assert!(!begun || self.pieces.is_empty());
        self.begun |= begun;
        self.piece_marks.enter(length, now);
        self.live += length;
        self.pieces.push_back(Piece::new(length as u32, kind));
    }

    /// Appends a control frame, or what is left of the first one.
    pub(super) fn push_urgent(&mut self, bytes: &[u8], now: Millis) {
        self.live += bytes.len();
        self.urgent_marks.enter(bytes.len(), now);
        self.urgent.extend_from_slice(bytes);
    }

    /// The first bytes that the wire has not taken; empty if there are none.
    pub(super) fn first_run(&self, max_bytes: usize) -> &[u8] {
        if self.gaps == 0 && self.urgent.is_empty() && self.head.is_empty() {
            let chunk = self.chunks.front().map_or(&[][..], |chunk| &chunk[self.read..]);
            return &chunk[..chunk.len().min(max_bytes)];
        }
        let mut first: &[u8] = &[];
        self.each_run(max_bytes, &mut |run| {
            first = run;
            false
        });
        &first[..first.len().min(max_bytes)]
    }

    /// Calls `take` with all waiting bytes in order, in runs that end after `max_bytes` or more,
    /// until it returns false. Returns whether it saw all.
    pub(super) fn each_run<'a>(
        &'a self,
        max_bytes: usize,
        take: &mut impl FnMut(&'a [u8]) -> bool,
    ) -> bool {
        if !self.head.is_empty() && !take(&self.head[self.head_read..]) {
            return false;
        }
        let mut pieces = self.pieces.iter();
        let mut at = self.read;
        let mut chunks = self.chunks.iter();
        let mut chunk: &[u8] = chunks.next().map_or(&[], |chunk| chunk);
        if !self.urgent.is_empty() {
            if self.begun
                && let Some(piece) = pieces.next()
            {
                at += piece.len();
                if !take(&chunk[self.read..at]) {
                    return false;
                }
            }
            if !take(&self.urgent[self.urgent_read..]) {
                return false;
            }
        }
        let mut from = at;
        for piece in pieces {
            let ends = at == chunk.len();
            let gap = piece.kind() == PieceKind::Gap;
            if (ends || gap || at - from >= max_bytes) && from < at {
                if !take(&chunk[from..at]) {
                    return false;
                }
                from = at;
            }
            if ends {
                chunk = chunks.next().map_or(&[], |chunk| chunk);
                (from, at) = (0, 0);
            }
            at += piece.len();
            if gap {
                from = at;
            }
        }
        from == at || take(&chunk[from..at])
    }

    /// The socket took bytes; returns how many of them were not of this backlog.
    pub(super) fn advance(&mut self, written: usize) -> usize {
        let before = self.live;
        let mut left = self.advance_head(written);
        if self.begun {
            left = self.advance_pieces(left, 1);
        }
        left = self.advance_urgent(left);
        left = self.advance_pieces(left, usize::MAX);
        debug_assert_eq!(before - self.live, written - left);
        left
    }

    /// Drops whole events, oldest first, until `dropped` holds `need_bytes` or none is left.
    pub(super) fn drop_oldest_events(&mut self, need_bytes: usize, dropped: &mut Dropped) {
        let mut at = self.no_event_before.max(usize::from(self.begun));
        while dropped.bytes < need_bytes && at < self.pieces.len() {
            let piece = &mut self.pieces[at];
            if piece.kind() == PieceKind::Event {
                let bytes = piece.len();
                *piece = Piece::new(bytes as u32, PieceKind::Gap);
                dropped.frames += 1;
                dropped.bytes += bytes;
                self.live -= bytes;
                self.gaps += bytes;
            }
            at += 1;
        }
        self.no_event_before = at;
        self.skip_gaps();
        if self.gaps > (self.live / 4).max(CHUNK_BYTES) {
            self.rebuild();
        }
    }

    /// Throws away every frame that is not begun; control frames stay.
    pub(super) fn discard_unbegun(&mut self) {
        let first = self.pieces.front().copied().filter(|_| self.begun);
        let length = first.map_or(0, Piece::len);
        let chunk = self.chunks.front().filter(|_| length > 0);
        self.chunks = chunk.map(|c| c.part(self.read..self.read + length)).into_iter().collect();
        self.pieces = first.into_iter().collect();
        self.piece_marks.truncate(length);
        self.live = length + self.urgent.len() - self.urgent_read + self.kept;
        self.live += self.head.len() - self.head_read;
        self.read = 0;
        self.gaps = 0;
        self.no_event_before = 0;
    }

    fn advance_head(&mut self, left: usize) -> usize {
        let taken = left.min(self.head.len() - self.head_read);
        self.head_read += taken;
        self.live -= taken;
        if self.head_read == self.head.len() {
            (self.head, self.head_read) = (Vec::new(), 0);
        }
        left - taken
    }

    fn advance_urgent(&mut self, left: usize) -> usize {
        let taken = left.min(self.urgent.len() - self.urgent_read);
        self.urgent_read += taken;
        self.urgent_marks.leave(taken);
        self.live -= taken;
        if self.urgent_read == self.urgent.len() {
            self.urgent = Vec::new();
            self.urgent_read = 0;
        } else if self.urgent_read > COMPACT_BYTES && self.urgent_read > self.urgent.len() / 2 {
            self.urgent.drain(..self.urgent_read);
            self.urgent_read = 0;
        }
        left - taken
    }

    /// Takes `left` bytes from at most `count` pieces; returns what remains.
    fn advance_pieces(&mut self, mut left: usize, mut count: usize) -> usize {
        while left > 0 && count > 0 {
            let Some(first) = self.pieces.front_mut() else {
                break;
            };
            let rest = first.len();
            let taken = left.min(rest);
            left -= taken;
            self.live -= taken;
            self.begun = taken < rest;
            if self.begun {
                *first = Piece::new((rest - taken) as u32, first.kind());
            } else {
                self.pop_piece();
            }
            self.consume(taken);
            self.skip_gaps();
            count -= 1;
        }
        left
    }

    fn skip_gaps(&mut self) {
        while let Some(first) = self.pieces.front()
            && first.kind() == PieceKind::Gap
        {
            let bytes = first.len();
            self.gaps -= bytes;
            self.pop_piece();
            self.consume(bytes);
        }
    }

    fn pop_piece(&mut self) {
        self.pieces.pop_front();
        self.no_event_before = self.no_event_before.saturating_sub(1);
    }

    fn consume(&mut self, bytes: usize) {
        self.read += bytes;
        self.piece_marks.leave(bytes);
        if self.chunks.front().is_some_and(|chunk| self.read == chunk.len()) {
            self.chunks.pop_front();
            self.read = 0;
        }
    }

    /// Copies what lives to new chunks, so that gaps take a quarter of the memory at most.
    fn rebuild(&mut self) {
        let mut chunks = VecDeque::new();
        let mut kept = VecDeque::with_capacity(self.pieces.len() / 2);
        let mut at = self.read;
        for piece in &self.pieces {
            if self.chunks.front().is_some_and(|chunk| at == chunk.len()) {
                self.chunks.pop_front();
                at = 0;
            }
            let end = at + piece.len();
            if piece.kind() != PieceKind::Gap {
                match &self.chunks[0] {
                    Chunk::Own(bytes) => push_chunked(&mut chunks, &bytes[at..end]),
                    shared => chunks.push_back(shared.part(at..end)),
                }
                kept.push_back(*piece);
            }
            at = end;
        }
        let pieces = self.pieces.iter();
        self.piece_marks.retain(pieces.map(|it| (it.len(), it.kind() != PieceKind::Gap)));
        let is_event = |piece: &Piece| piece.kind() == PieceKind::Event;
        let start = usize::from(self.begun);
        let first_event = kept.iter().skip(start).position(is_event);
        self.no_event_before = first_event.map_or(kept.len(), |at| at + start);
        (self.pieces, self.chunks, self.read, self.gaps) = (kept, chunks, 0, 0);
    }

    pub(super) fn check_invariants(&self) {
        let sum = |gaps: bool| -> usize {
            let is_wanted = |piece: &&Piece| (piece.kind() == PieceKind::Gap) == gaps;
            self.pieces.iter().filter(is_wanted).map(|piece| piece.len()).sum()
        };
        let urgent = self.urgent.len() - self.urgent_read;
        let head = self.head.len() - self.head_read;
        assert_eq!(self.live, sum(false) + urgent + self.kept + head);
        assert!(head > 0 && !self.begun || self.head.is_empty());
        assert_eq!(self.gaps, sum(true));
        let held: usize = self.chunks.iter().map(|chunk| chunk.len()).sum();
        assert_eq!(held - self.read, sum(false) + sum(true));
        self.piece_marks.check_invariants(sum(false) + sum(true));
        self.urgent_marks.check_invariants(urgent);
        assert_ne!(self.pieces.front().map(|piece| piece.kind()), Some(PieceKind::Gap));
        let start = usize::from(self.begun);
        let passed = self.pieces.iter().take(self.no_event_before).skip(start);
        assert!(passed.into_iter().all(|piece| piece.kind() != PieceKind::Event));
    }
}

/// Appends to the last chunk if the frame fits there, else begins one.
fn push_chunked(chunks: &mut VecDeque<Chunk>, bytes: &[u8]) {
    match chunks.back_mut() {
        Some(Chunk::Own(last)) if last.len() + bytes.len() <= CHUNK_BYTES => {
            last.extend_from_slice(bytes);
        }
        _ => chunks.push_back(Chunk::Own(bytes.to_vec())),
    }
}

const CHUNK_BYTES: usize = 64 << 10;
const COMPACT_BYTES: usize = 4 << 10;
