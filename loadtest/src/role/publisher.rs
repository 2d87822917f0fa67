//! Publishes stamped payloads to one topic, when the engine says so, and checks that what asks for
//! PUBLISHED gets it once.

use std::collections::HashMap;

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
    /// Request id to the time its latency counts from, until PUBLISHED.
    unacknowledged: HashMap<u64, u64>,
}

impl Publisher {
    /// `number` is its place among the publishers, and names its window; `payload` is each event's
    /// one argument.
    pub fn new(number: u32, topic: String, acknowledge: bool, payload: Payload) -> Self {
        Self { number, topic, acknowledge, payload, unacknowledged: HashMap::new() }
    }

    /// Sends the next publication; its latency counts from `at_ns`.
    pub fn publish(&mut self, link: &mut Link, board: &mut Board, at_ns: u64) {
        let sequence = board.windows[self.number as usize].send();
        board.counts.publications += 1;
        let payload = self.payload.stamped(Stamp { sender: self.number, sequence, at_ns });
        let request = link.publish(self.acknowledge, &self.topic, payload);
        if self.acknowledge {
            board.counts.asking += 1;
            self.unacknowledged.insert(request, at_ns);
        }
    }

    pub fn handle(&mut self, board: &mut Board, head: Head, message: &[u8], now_ns: u64) {
        match head.code {
            PUBLISHED if self.acknowledge => match self.unacknowledged.remove(&head.ids[0]) {
                Some(at_ns) => {
                    board.counts.acknowledged += 1;
                    board.record_acknowledgement(at_ns, now_ns);
                }
                None => board.tally.doubled += 1,
            },
            ERROR => {
                board.note_error(printable(message));
                if self.unacknowledged.remove(&head.ids[1]).is_some() {
                    board.counts.acknowledged += 1;
                }
            }
            _ => board.tally.stray += 1,
        }
    }

    /// Publications that asked for PUBLISHED and were never answered.
    pub fn unacknowledged(&self) -> u64 {
        self.unacknowledged.len() as u64
    }
}
