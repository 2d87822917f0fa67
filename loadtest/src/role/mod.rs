//! What each client of a run does. A role reacts to messages on its own link and writes what it saw
//! on the board; the engine tells publishers and callers when to send.

pub mod callee;
pub mod caller;
pub mod depositor;
pub mod historian;
pub mod latecomer;
pub mod publisher;
pub mod subscriber;

use std::ops::Range;

use crate::engine::link::Link;
use crate::measure::board::Board;
use crate::report::table::counted;
use crate::wire::floor::Introduction;
use crate::wire::message::{ERROR, EVENT, INVOCATION, RESULT};
use crate::wire::reader::{Head, printable};
use callee::Callee;
use caller::Caller;
use depositor::Depositor;
use historian::Historian;
use latecomer::Latecomer;
use publisher::Publisher;
use subscriber::Subscriber;

/// Of how many parts a call consists besides the last of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Progressive results.
    pub results: u32,
    /// Progressive invocations.
    pub chunks: u32,
}

impl Expected {
    /// As the end of a sentence on a run's clients.
    pub fn in_words(self) -> String {
        let parts = [(self.results, "progressive result"), (self.chunks, "progressive invocation")];
        let words: Vec<String> = parts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, noun)| counted(count, noun))
            .collect();
        if words.is_empty() {
            String::new()
        } else {
            format!(", {} for each call", words.join(" and "))
        }
    }
}

pub enum Role {
    /// Joins and stays.
    Idle,
    Publisher(Publisher),
    Subscriber(Subscriber),
    Caller(Caller),
    Callee(Callee),
    Depositor(Depositor),
    Latecomer(Latecomer),
    Historian(Historian),
}

impl Role {
    /// How many kinds of role there are.
    pub const KINDS: usize = 8;

    /// Whether it is there for what others send.
    pub const fn is_receiver(&self) -> bool {
        matches!(
            self,
            Self::Subscriber(_) | Self::Callee(_) | Self::Latecomer(_) | Self::Historian(_)
        )
    }

    /// Which kind it is, below [`Self::KINDS`].
    pub const fn kind(&self) -> usize {
        match self {
            Self::Idle => 0,
            Self::Publisher(_) => 1,
            Self::Subscriber(_) => 2,
            Self::Caller(_) => 3,
            Self::Callee(_) => 4,
            Self::Depositor(_) => 5,
            Self::Latecomer(_) => 6,
            Self::Historian(_) => 7,
        }
    }

    /// The publishers whose windows wait for this client.
    pub fn counted_publishers(&self) -> Range<u32> {
        match self {
            Self::Subscriber(subscriber) => subscriber.counted_publishers(),
            _ => 0..0,
        }
    }

    /// The session is established: asks for what the role needs before traffic may begin.
    pub fn joined(&mut self, link: &mut Link, board: &mut Board) {
        match self {
            Self::Idle | Self::Publisher(_) | Self::Caller(_) | Self::Latecomer(_) => {
                board.counts.ready += 1;
            }
            Self::Subscriber(subscriber) => subscriber.joined(link, board),
            Self::Callee(callee) => callee.joined(link, board),
            Self::Depositor(depositor) => depositor.joined(link, board),
            Self::Historian(historian) => historian.joined(link),
        }
    }

    /// One message of an established session.
    pub fn handle(
        &mut self,
        link: &mut Link,
        board: &mut Board,
        head: Head,
        message: &[u8],
        now_ns: u64,
    ) {
        match self {
            Self::Subscriber(subscriber) => subscriber.handle(link, board, head, message, now_ns),
            Self::Callee(callee) => callee.handle(link, board, head, message),
            Self::Caller(caller) => caller.handle(link, board, head, message, now_ns),
            Self::Publisher(publisher) => publisher.handle(board, head, message, now_ns),
            Self::Depositor(depositor) => depositor.handle(link, board, head, message),
            Self::Latecomer(latecomer) => latecomer.handle(link, board, head, message, now_ns),
            Self::Historian(historian) => historian.handle(link, board, head, message, now_ns),
            Self::Idle if head.code == ERROR => board.note_error(printable(message)),
            Self::Idle => {}
        }
    }

    /// Traffic begins: closed loops that no window counts begin to turn.
    pub fn begin(&mut self, link: &mut Link, board: &mut Board) {
        match self {
            Self::Latecomer(latecomer) => latecomer.subscribe(link, board),
            Self::Historian(historian) => historian.read(link, board),
            _ => {}
        }
    }

    /// What the client says of itself where there is no WAMP to say it.
    pub fn introduction(&self) -> Introduction<'_> {
        match self {
            // Those behind it take part only where WAMP is spoken.
            Self::Idle | Self::Depositor(_) | Self::Latecomer(_) | Self::Historian(_) => {
                Introduction::Join
            }
            Self::Publisher(publisher) => Introduction::Publish(publisher.topic.as_bytes()),
            Self::Subscriber(subscriber) => Introduction::Subscribe(subscriber.topic.as_bytes()),
            Self::Caller(caller) => Introduction::Call(caller.procedure.as_bytes()),
            Self::Callee(callee) => Introduction::Answer(callee.procedure.as_bytes()),
        }
    }

    /// What a message is that comes without a code.
    pub const fn receives(&self) -> u64 {
        match self {
            Self::Caller(_) => RESULT,
            Self::Callee(_) => INVOCATION,
            _ => EVENT,
        }
    }
}
