//! Calls one procedure and checks that every call is answered once, with its own payload.

use std::collections::HashMap;

use super::Expected;
use crate::engine::link::Link;
use crate::measure::board::Board;
use crate::wire::message::{ERROR, Parts, RESULT};
use crate::wire::reader::{Head, has_progress, printable};
use crate::wire::stamp::{self, Payload, Stamp, StampFinder};

pub struct Caller {
    number: u32,
    pub(super) procedure: String,
    /// Closed loop: how many calls it keeps under way; 0 in open loop.
    depth: u32,
    payload: Payload,
    finder: StampFinder,
    next: u32,
    parts: Expected,
    /// By request id.
    pending: HashMap<u64, Pending>,
}

/// A call without its last result.
struct Pending {
    sequence: u32,
    /// When its latency counts from.
    at_ns: u64,
    /// Progressive results so far.
    progressed: u32,
}

impl Caller {
    pub fn new(
        number: u32,
        procedure: String,
        depth: u32,
        payload: Payload,
        parts: Expected,
    ) -> Self {
        Self {
            number,
            procedure,
            depth,
            payload,
            finder: StampFinder::default(),
            next: 0,
            parts,
            pending: HashMap::new(),
        }
    }

    /// Sends the next call; its latency counts from `at_ns`.
    pub fn call(&mut self, link: &mut Link, board: &mut Board, at_ns: u64) {
        let (request, sequence) = (link.take_request(), self.next);
        debug_assert_eq!(request, request_of(sequence));
        self.next += 1;
        board.counts.calls += 1;
        self.pending.insert(request, Pending { sequence, at_ns, progressed: 0 });
        let receive = self.parts.results > 0;
        let stamp = Stamp { sender: self.number, sequence, at_ns };
        for number in 0..self.parts.chunks {
            // Its number stands where the time does.
            let payload = self.payload.stamped(Stamp { at_ns: u64::from(number), ..stamp });
            link.call(request, Parts { receive, more: true }, &self.procedure, payload);
        }
        let payload = self.payload.stamped(stamp);
        link.call(request, Parts { receive, more: false }, &self.procedure, payload);
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
                let at = self.finder.find(message);
                let found = at.and_then(|at| stamp::read(message, at));
                if self.parts.results > 0 && has_progress(message, at.unwrap_or(message.len())) {
                    return self.handle_progress(board, head.ids[0], found);
                }
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

    fn handle_progress(&mut self, board: &mut Board, request: u64, found: Option<Stamp>) {
        board.counts.progressive_results += 1;
        board.tally.checked += 1;
        let Some(pending) = self.pending.get_mut(&request) else {
            board.tally.doubled += 1;
            return;
        };
        let (sender, sequence) = (self.number, pending.sequence);
        match found {
            Some(stamp) if (stamp.sender, stamp.sequence) != (sender, sequence) => {
                board.tally.damaged += 1;
            }
            Some(stamp) if stamp.at_ns != u64::from(pending.progressed) => {
                board.tally.reordered += 1;
            }
            Some(_) => {}
            None => board.tally.damaged += 1,
        }
        pending.progressed += 1;
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
        let Some(Pending { sequence, at_ns, progressed }) = self.pending.remove(&request) else {
            board.tally.doubled += 1;
            return;
        };
        board.tally.lost += u64::from(self.parts.results.saturating_sub(progressed));
        board.tally.doubled += u64::from(progressed.saturating_sub(self.parts.results));
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
