//! Publishes what others will ask for, before traffic begins: retained events, one per topic, or
//! the events of a history. It waits for PUBLISHED, a bounded number at a time.

use std::collections::HashSet;

use crate::engine::link::Link;
use crate::measure::board::Board;
use crate::wire::message::{ERROR, PUBLISHED};
use crate::wire::reader::{Head, printable};
use crate::wire::stamp::{Payload, Stamp};

pub struct Depositor {
    /// What its stamps say.
    sender: u32,
    deposit: Deposit,
    payload: Payload,
    next: u32,
    /// Requests without an answer.
    pending: HashSet<u64>,
}

/// What is published.
#[derive(Clone, Debug)]
pub enum Deposit {
    /// One event for each of so many topics, to stay there; see [`topic_of`].
    Retained { topics: u32 },
    /// So many events to one topic.
    History { topic: String, events: u32 },
}

/// The topic number `number` of retained events.
pub fn topic_of(number: u32) -> String {
    format!("loadtest.retained.{number}")
}

impl Depositor {
    pub fn new(sender: u32, deposit: Deposit, payload: Payload) -> Self {
        Self { sender, deposit, payload, next: 0, pending: HashSet::new() }
    }

    pub fn joined(&mut self, link: &mut Link, board: &mut Board) {
        self.go_on(link, board);
    }

    pub fn handle(&mut self, link: &mut Link, board: &mut Board, head: Head, message: &[u8]) {
        let request = match head.code {
            PUBLISHED => head.ids[0],
            ERROR => {
                board.note_error(printable(message));
                head.ids[1]
            }
            _ => {
                board.tally.stray += 1;
                return;
            }
        };
        if self.pending.remove(&request) {
            board.counts.acknowledged += 1;
            self.go_on(link, board);
        }
    }

    /// Publishes as many as may wait for an answer; it is ready when all have one.
    fn go_on(&mut self, link: &mut Link, board: &mut Board) {
        let all = match &self.deposit {
            Deposit::Retained { topics } => *topics,
            Deposit::History { events, .. } => *events,
        };
        while self.next < all && self.pending.len() < AT_A_TIME {
            let (sequence, at_ns) = (self.next, board.now_ns());
            self.next += 1;
            let payload = self.payload.stamped(Stamp { sender: self.sender, sequence, at_ns });
            let request = link.take_request();
            match &self.deposit {
                Deposit::Retained { .. } => {
                    let topic = topic_of(sequence);
                    link.send(|body| body.retain(request, &topic, payload));
                }
                Deposit::History { topic, .. } => {
                    link.send(|body| body.publish(request, true, topic, payload));
                }
            }
            board.counts.asking += 1;
            self.pending.insert(request);
        }
        if self.next == all && self.pending.is_empty() {
            board.counts.ready += 1;
        }
    }
}

const AT_A_TIME: usize = 256;
