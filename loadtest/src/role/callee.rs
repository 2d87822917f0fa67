//! Registers one procedure and answers every invocation with the payload it came with, checking
//! that the calls of one caller arrive in call order.

use crate::engine::link::Link;
use crate::measure::board::Board;
use crate::wire::message::{ERROR, INVOCATION, REGISTERED};
use crate::wire::reader::{Head, printable};
use crate::wire::stamp::{self, StampFinder};

pub struct Callee {
    pub(super) procedure: String,
    /// Registers it together with other callees.
    shared: bool,
    payload_bytes: usize,
    finder: StampFinder,
    /// Per caller, the lowest sequence number that may come next.
    next: Vec<u32>,
}

impl Callee {
    pub fn new(procedure: String, shared: bool, payload_bytes: usize, callers: usize) -> Self {
        let finder = StampFinder::default();
        Self { procedure, shared, payload_bytes, finder, next: vec![0; callers] }
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
            Some((stamp::read(message, at)?, payload))
        });
        let Some((stamp, payload)) = found else {
            board.tally.damaged += 1;
            link.answer(request, b"");
            return;
        };
        match self.next.get_mut(stamp.sender as usize) {
            None => board.tally.stray += 1,
            Some(next) if stamp.sequence >= *next => *next = stamp.sequence + 1,
            Some(next) if stamp.sequence + 1 == *next => board.tally.doubled += 1,
            Some(_) => board.tally.reordered += 1,
        }
        link.answer(request, payload);
    }
}
