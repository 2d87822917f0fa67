//! Registers one procedure and answers every invocation with the payload it came with, checking
//! that the calls of one caller arrive in call order.

use std::collections::HashMap;

use super::Expected;
use crate::engine::link::Link;
use crate::measure::board::Board;
use crate::wire::message::{ERROR, INVOCATION, REGISTERED};
use crate::wire::reader::{Head, has_progress, printable};
use crate::wire::stamp::{self, Stamp, StampFinder};

pub struct Callee {
    pub(super) procedure: String,
    /// Registers it together with other callees.
    shared: bool,
    payload_bytes: usize,
    finder: StampFinder,
    parts: Expected,
    /// How many progressive invocations of one that is not whole have come, by its request.
    begun: HashMap<u64, u32>,
    /// Per caller, the lowest sequence number that may come next.
    next: Vec<u32>,
}

impl Callee {
    pub fn new(
        procedure: String,
        shared: bool,
        payload_bytes: usize,
        callers: usize,
        parts: Expected,
    ) -> Self {
        Self {
            procedure,
            shared,
            payload_bytes,
            finder: StampFinder::default(),
            parts,
            begun: HashMap::new(),
            next: vec![0; callers],
        }
    }

    pub fn joined(&self, link: &mut Link, board: &mut Board) {
        if !link.transport.speaks_wamp() {
            board.counts.ready += 1;
            return;
        }
        let request = link.take_request();
        link.send(|body| body.register(request, &self.procedure, self.shared));
    }

    pub fn handle(&mut self, link: &mut Link, board: &mut Board, head: Head, message: &[u8]) {
        match head.code {
            INVOCATION => self.handle_invocation(link, board, head.ids[0], message),
            REGISTERED => board.counts.ready += 1,
            ERROR => board.note_error(printable(message)),
            _ => board.tally.stray += 1,
        }
    }

    fn handle_invocation(
        &mut self,
        link: &mut Link,
        board: &mut Board,
        request: u64,
        message: &[u8],
    ) {
        board.counts.invocations += 1;
        board.tally.checked += 1;
        let found = self.finder.find(message).and_then(|at| {
            let payload = message.get(at..at + self.payload_bytes)?;
            Some((stamp::read(message, at)?, payload, at))
        });
        let Some((stamp, payload, at)) = found else {
            board.tally.damaged += 1;
            link.answer(request, false, b"");
            return;
        };
        if self.parts.chunks > 0 {
            let more = has_progress(message, at);
            if !self.take_part(board, request, stamp.at_ns, more) {
                return;
            }
        }
        match self.next.get_mut(stamp.sender as usize) {
            None => board.tally.stray += 1,
            Some(next) if stamp.sequence >= *next => *next = stamp.sequence + 1,
            Some(next) if stamp.sequence + 1 == *next => board.tally.doubled += 1,
            Some(_) => board.tally.reordered += 1,
        }
        self.answer(link, request, payload, stamp);
    }

    /// One invocation of a call in parts, whose stamp has its number for a time: whether it was the
    /// last.
    fn take_part(&mut self, board: &mut Board, request: u64, number: u64, more: bool) -> bool {
        if more {
            let begun = self.begun.entry(request).or_default();
            if number != u64::from(*begun) {
                board.tally.reordered += 1;
            }
            *begun += 1;
            return false;
        }
        let begun = self.begun.remove(&request).unwrap_or_default();
        board.tally.lost += u64::from(self.parts.chunks.saturating_sub(begun));
        board.tally.doubled += u64::from(begun.saturating_sub(self.parts.chunks));
        true
    }

    /// The progressive results, which have their number for a time, and the last one, which is what
    /// came.
    fn answer(&self, link: &mut Link, request: u64, payload: &[u8], stamp: Stamp) {
        if self.parts.results > 0 {
            let mut part = payload.to_vec();
            for number in 0..self.parts.results {
                stamp::write(Stamp { at_ns: u64::from(number), ..stamp }, &mut part);
                link.answer(request, true, &part);
            }
        }
        link.answer(request, false, payload);
    }
}
