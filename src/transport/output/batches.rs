//! What waits, written in batches: for peers that have asked for that (TR-BAT-01).
//!
//! Frames wait as they do for everybody else, each with its own header, so that they are shared,
//! dropped and counted in the same way. Only what is offered to the wire is one frame for several
//! of them, and only when the wire has taken some of it they are gone.

use super::{Arena, Entry, Output};
use crate::clock::Millis;
use crate::transport::{Batching, FrameStart, Framing};

/// Messages that wait, in a frame that is to be finished.
#[derive(Debug)]
pub struct GatheredBatch {
    pub start: FrameStart,
    /// For how many of the bytes that wait it stands.
    pub waiting_bytes: usize,
}

impl Output {
    /// Puts the messages that wait first into one frame in `scratch`, whose old content is lost: as
    /// many as `max_bytes` have room for, but one in any case. The frame is still to be finished.
    ///
    /// `None` if what goes first is in no batch: see [`Self::alone_bytes`].
    pub fn gather_batch(
        &self,
        arena: &Arena,
        (framing, batching): (Framing, Batching),
        scratch: &mut Vec<u8>,
        max_bytes: usize,
    ) -> Option<GatheredBatch> {
        scratch.clear();
        let start = framing.begin(scratch);
        let (empty, mut waiting_bytes) = (scratch.len(), 0);
        let mut take = |frame: &[u8]| {
            let Some(message) = message_in(frame) else { return false };
            if waiting_bytes > 0 && scratch.len() - empty + message.len() > max_bytes {
                return false;
            }
            batching.put(message, scratch);
            waiting_bytes += frame.len();
            true
        };
        // What is behind a backlog goes out when that is empty, as for everybody.
        if let Some(backlog) = &self.backlog {
            backlog.each_frame(&mut take);
        } else if self.written == 0 {
            let _ = self.entries().iter().all(|entry| take(arena.get(entry.span())));
        }
        if waiting_bytes == 0 {
            return None;
        }
        Some(GatheredBatch { start, waiting_bytes })
    }

    /// Bytes that go first and are in no batch, as they are: what is left of a frame, and control
    /// frames. 0 if there is nothing else but what the wire keeps.
    pub fn alone_bytes(&self, arena: &Arena) -> usize {
        if let Some(backlog) = &self.backlog {
            let mut bytes = backlog.alone_bytes();
            if bytes == 0 {
                backlog.each_frame(&mut |frame| count_alone(frame, &mut bytes));
            }
            return bytes;
        }
        let mut bytes = 0;
        for (number, entry) in self.entries().iter().enumerate() {
            let frame = arena.get(entry.span());
            if number == 0 && self.written > 0 {
                bytes += frame.len() - self.written as usize;
            } else if !count_alone(frame, &mut bytes) {
                break;
            }
        }
        bytes
    }

    /// The wire took `written` bytes of `frame`, which stands for so many that wait, and keeps so
    /// many of those that it took, now or before. See [`Self::advance_keeping`].
    pub fn advance_batch(
        &mut self,
        arena: &Arena,
        (frame, waiting_bytes): (&[u8], usize),
        (written, kept): (usize, usize),
        now: Millis,
    ) {
        let before = self.kept_bytes();
        let backlog = self.backlog.as_ref();
        let since = backlog.and_then(|backlog| match written {
            0 => backlog.kept_since(),
            _ => backlog.first_run_since(),
        });
        let since = since.unwrap_or(now);
        if written > 0 {
            self.advance(waiting_bytes);
            let rest = &frame[written..];
            if !rest.is_empty() {
                self.backlog.get_or_insert_default().push_head(rest, since);
                self.waiting += rest.len();
            }
        }
        if kept > 0 || before > 0 {
            self.note_kept(arena, kept, since, now);
        }
    }

    fn entries(&self) -> &[Entry] {
        &self.spans[self.first as usize..]
    }
}

/// Counts a frame that is in no batch: `false` if it is a message.
fn count_alone(frame: &[u8], bytes: &mut usize) -> bool {
    let is_alone = message_in(frame).is_none();
    *bytes += if is_alone { frame.len() } else { 0 };
    is_alone
}

/// The message in a WebSocket frame of the router; `None`: it is a control frame.
fn message_in(frame: &[u8]) -> Option<&[u8]> {
    if frame[0] & CONTROL_BIT != 0 {
        return None;
    }
    let header_bytes = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    Some(&frame[header_bytes..])
}

/// Of the opcode (RFC 6455, 5.2).
const CONTROL_BIT: u8 = 0x08;
