//! Subscribes with `get_retained` to one topic after the other, and leaves each as soon as its
//! retained event has come, which has to come once.

use super::depositor::topic_of;
use crate::engine::link::Link;
use crate::measure::board::Board;
use crate::wire::message::{ERROR, EVENT, Matching, SUBSCRIBED, UNSUBSCRIBED};
use crate::wire::reader::{Head, printable};
use crate::wire::stamp::{self, STAMP_BYTES, StampFinder};

pub struct Latecomer {
    /// How many topics there are.
    topics: u32,
    topic: u32,
    finder: StampFinder,
    state: State,
    subscription: u64,
    /// When it sent SUBSCRIBE.
    asked_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Subscribing,
    /// SUBSCRIBED has come, and no event.
    Waiting,
    Unsubscribing,
}

impl Latecomer {
    /// Begins with the topic `first`, one of `topics`.
    pub fn new(topics: u32, first: u32) -> Self {
        Self {
            topics,
            topic: first % topics,
            finder: StampFinder::default(),
            state: State::Absent,
            subscription: 0,
            asked_ns: 0,
        }
    }

    pub fn subscribe(&mut self, link: &mut Link, board: &mut Board) {
        self.state = State::Subscribing;
        self.asked_ns = board.now_ns();
        board.counts.asking += 1;
        let (request, topic) = (link.take_request(), topic_of(self.topic));
        link.send(|body| body.subscribe(request, Matching::Exact, true, &topic));
    }

    pub fn handle(
        &mut self,
        link: &mut Link,
        board: &mut Board,
        head: Head,
        message: &[u8],
        now_ns: u64,
    ) {
        match (head.code, self.state) {
            (SUBSCRIBED, State::Subscribing) => {
                self.subscription = head.ids[1];
                self.state = State::Waiting;
            }
            (EVENT, State::Waiting) => {
                self.check(board, message);
                board.counts.acknowledged += 1;
                board.record_event(self.asked_ns, now_ns);
                self.state = State::Unsubscribing;
                let (request, subscription) = (link.take_request(), self.subscription);
                link.send(|body| body.unsubscribe(request, subscription));
            }
            // Only the retained event is ever published.
            (EVENT, State::Unsubscribing) => board.tally.doubled += 1,
            (UNSUBSCRIBED, State::Unsubscribing) => {
                self.state = State::Absent;
                self.topic = (self.topic + 1) % self.topics;
                if board.sending {
                    self.subscribe(link, board);
                }
            }
            (ERROR, _) => board.note_error(printable(message)),
            _ => board.tally.stray += 1,
        }
    }

    /// Whether an event is owed that has not come.
    pub fn lost(&self) -> u64 {
        u64::from(matches!(self.state, State::Subscribing | State::Waiting))
    }

    fn check(&mut self, board: &mut Board, message: &[u8]) {
        board.count_event();
        board.tally.checked += 1;
        let found = self.finder.find(message);
        match found.and_then(|at| Some((at, stamp::read(message, at)?))) {
            Some((at, stamp)) if stamp.sequence == self.topic => {
                if !message[at + STAMP_BYTES..].starts_with(&board.text) {
                    board.tally.damaged += 1;
                }
            }
            Some(_) => board.tally.stray += 1,
            None => board.tally.damaged += 1,
        }
    }
}
