//! Publishes stamped payloads to one topic, when the engine says so.

use crate::engine::link::Link;
use crate::measure::board::Board;
use crate::wire::message::{ERROR, PUBLISHED};
use crate::wire::reader::{Head, printable};
use crate::wire::stamp::{Payload, Stamp};

pub struct Publisher {
    number: u32,
    pub(super) topic: String,
    acknowledge: bool,
    payload: Payload,
}

impl Publisher {
    /// `number` is its place among the publishers, and names its window; `payload_bytes` is the
    /// length of each event's one argument.
    pub fn new(number: u32, topic: String, acknowledge: bool, payload_bytes: usize) -> Self {
        Self { number, topic, acknowledge, payload: Payload::new(payload_bytes) }
    }

    /// Sends the next publication; its latency counts from `at_ns`.
    pub fn publish(&mut self, link: &mut Link, board: &mut Board, at_ns: u64) {
        let sequence = board.windows[self.number as usize].send();
        board.counts.publications += 1;
        let payload = self.payload.stamped(Stamp { sender: self.number, sequence, at_ns });
        link.publish(self.acknowledge, &self.topic, payload);
    }

    pub fn handle(&self, board: &mut Board, head: Head, message: &[u8]) {
        match head.code {
            PUBLISHED if self.acknowledge => board.counts.acknowledged += 1,
            ERROR => board.note_error(printable(message)),
            _ => board.tally.stray += 1,
        }
    }
}
