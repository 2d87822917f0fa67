//! Calls one procedure and checks that every call is answered once, with its own payload.

use std::collections::HashMap;

use crate::engine::link::Link;
use crate::measure::board::Board;
use crate::wire::message::{ERROR, RESULT};
use crate::wire::reader::{Head, printable};
use crate::wire::stamp::{self, Payload, Stamp, StampFinder};

pub struct Caller {
    number: u32,
    pub(super) procedure: String,
    /// Closed loop: how many calls it keeps under way; 0 in open loop.
    depth: u32,
    payload: Payload,
    finder: StampFinder,
    next: u32,
    /// Request id to sequence and the time its latency counts from.
    pending: HashMap<u64, (u32, u64)>,
}

impl Caller {
    pub fn new(number: u32, procedure: String, depth: u32, payload: Payload) -> Self {
        Self {
            number,
            procedure,
            depth,
            payload,
            finder: StampFinder::default(),
            next: 0,
            pending: HashMap::new(),
        }
    }

    /// Sends the next call; its latency counts from `at_ns`.
    pub fn call(&mut self, link: &mut Link, board: &mut Board, at_ns: u64) {
        let (request, sequence) = (link.take_request(), self.next);
        debug_assert_eq!(request, request_of(sequence));
        self.next += 1;
        board.counts.calls += 1;
        self.pending.insert(request, (sequence, at_ns));
        let payload = self.payload.stamped(Stamp { sender: self.number, sequence, at_ns });
        link.call(request, &self.procedure, payload);
    }

    /// Closed loop: sends calls until the depth is reached.
    pub fn fill(&mut self, link: &mut Link, board: &mut Board) {
        while board.sending && self.pending.len() < self.depth as usize {
            let now_ns = board.now_ns();
            self.call(link, board, now_ns);
        }
    }

    pub fn handle(
        &mut self,
        link: &mut Link,
        board: &mut Board,
        head: Head,
        message: &[u8],
        now_ns: u64,
    ) {
        match head.code {
            RESULT => {
                let found = self.finder.find(message).and_then(|at| stamp::read(message, at));
                // Without ids the stamp says which call this answers.
                let request = match found {
                    Some(stamp) if !link.transport.speaks_wamp() => request_of(stamp.sequence),
                    _ => head.ids[0],
                };
                self.handle_result(board, request, found, now_ns);
            }
            ERROR => {
                board.note_error(printable(message));
                if self.pending.remove(&head.ids[1]).is_some() {
                    board.counts.results += 1;
                }
            }
            _ => board.tally.stray += 1,
        }
        self.fill(link, board);
    }

    /// Calls that were never answered.
    pub fn lost(&self) -> u64 {
        self.pending.len() as u64
    }

    fn handle_result(
        &mut self,
        board: &mut Board,
        request: u64,
        found: Option<Stamp>,
        now_ns: u64,
    ) {
        board.note_delivery();
        board.tally.checked += 1;
        let Some((sequence, at_ns)) = self.pending.remove(&request) else {
            board.tally.doubled += 1;
            return;
        };
        board.counts.results += 1;
        if found != Some(Stamp { sender: self.number, sequence, at_ns }) {
            board.tally.damaged += 1;
        }
        board.record_call(at_ns, now_ns);
    }
}

/// A caller's requests are its calls.
fn request_of(sequence: u32) -> u64 {
    u64::from(sequence) + 1
}
