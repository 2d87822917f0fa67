//! Reads the history of a topic by `wamp.subscription.get_events`, page by page, from its beginning
//! to its end and then again, and checks that it holds what this run has published.

use serde_json::Value;

use crate::engine::link::Link;
use crate::measure::board::Board;
use crate::wire::decode::decode;
use crate::wire::message::{ERROR, Matching, RESULT, SUBSCRIBED};
use crate::wire::reader::{Head, printable};
use crate::wire::stamp::{self, STAMP_BYTES, Stamp};

pub struct Historian {
    topic: String,
    /// Who published what it checks, and how much. Others' events are counted, and not checked.
    sender: u32,
    events: u32,
    /// Of one answer, at most.
    page: u32,
    subscription: u64,
    /// The last publication of the page before.
    after: Option<u64>,
    /// The sequence number that comes next.
    next: u32,
    began_ns: u64,
    asked_ns: u64,
}

impl Historian {
    pub fn new(topic: String, sender: u32, events: u32, page: u32) -> Self {
        Self {
            topic,
            sender,
            events,
            page,
            subscription: 0,
            after: None,
            next: 0,
            began_ns: 0,
            asked_ns: 0,
        }
    }

    /// The id of the subscription is what a history is asked by.
    pub fn joined(&self, link: &mut Link) {
        let request = link.take_request();
        link.send(|body| body.subscribe(request, Matching::Exact, false, &self.topic));
    }

    /// Begins to read.
    pub fn read(&mut self, link: &mut Link, board: &mut Board) {
        (self.after, self.next) = (None, 0);
        self.began_ns = board.now_ns();
        self.ask(link, board);
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
            SUBSCRIBED => {
                self.subscription = head.ids[1];
                board.counts.ready += 1;
            }
            RESULT => self.handle_page(link, board, message, now_ns),
            ERROR => {
                board.note_error(printable(message));
                board.counts.results += 1;
            }
            // Events are published while others join.
            _ => {}
        }
    }

    fn ask(&mut self, link: &mut Link, board: &mut Board) {
        self.asked_ns = board.now_ns();
        board.counts.calls += 1;
        let (request, subscription) = (link.take_request(), self.subscription);
        let (limit, after) = (self.page, self.after);
        link.send(|body| body.get_events(request, subscription, limit, after));
    }

    fn handle_page(&mut self, link: &mut Link, board: &mut Board, message: &[u8], now_ns: u64) {
        board.counts.results += 1;
        board.note_delivery();
        board.record_call(self.asked_ns, now_ns);
        let Ok(answer) = decode(link.serializer, message) else {
            board.tally.damaged += 1;
            return;
        };
        // An event is an argument, or all are in one list.
        let events = match &answer[3] {
            Value::Array(one) if matches!(&one[..], [Value::Array(_)]) => &one[0],
            arguments => arguments,
        };
        let events = events.as_array().map_or(&[][..], |events| events);
        events.iter().for_each(|event| self.check(board, event));
        board.counts.events += events.len() as u64;
        board.counts.event_bytes += board.arriving.wire_bytes as u64;
        self.after = events.last().and_then(|event| event["publication"].as_u64()).or(self.after);
        if answer[4]["is_limit_reached"] == true && !events.is_empty() {
            return self.ask(link, board);
        }
        board.tally.lost += u64::from(self.events.saturating_sub(self.next));
        if board.measures(self.began_ns) {
            board.counts.reads += 1;
            board.counts.read_ns += now_ns - self.began_ns;
        }
        if board.sending {
            self.read(link, board);
        }
    }

    /// Those of this run have to come in their order.
    fn check(&mut self, board: &mut Board, event: &Value) {
        let text = event["args"][0].as_str().unwrap_or_default().as_bytes();
        let stamp = stamp::read(text, 0);
        let Some(Stamp { sequence, .. }) = stamp.filter(|stamp| stamp.sender == self.sender) else {
            return;
        };
        board.tally.checked += 1;
        if text[STAMP_BYTES..] != board.text {
            board.tally.damaged += 1;
        }
        if sequence < self.next {
            board.tally.doubled += 1;
        } else {
            board.tally.lost += u64::from(sequence - self.next);
            self.next = sequence + 1;
        }
    }
}
