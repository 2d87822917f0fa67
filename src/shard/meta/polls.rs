//! Questions that several have to answer: shards of this router, and other nodes.
//!
//! Each is asked at once, unless its answer is long: of those a few are on their way at a time.
//! Whoever is asked gives a part; a poll is over with the last of them, or when its time is. What
//! comes then is dropped, as its ticket is unknown, and who has not answered is named.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;

use super::Caller;
use super::finding::{Finding, Word};
use super::question::Question;
use crate::clock::Millis;
use crate::router::{Held, NodeName, NodeNumber, Realm, ShardId};
use crate::wamp::SessionId;

/// The polls of a shard.
///
/// Invariant: each waits in a line, is asked, or is over and waits to be answered.
#[derive(Debug, Default)]
pub(in crate::shard) struct Polls {
    /// By their tickets.
    polls: BTreeMap<u64, Poll>,
    last_ticket: u64,
    /// Long ones of sessions here, and of other nodes.
    lines: [Line; 2],
    /// Those of each session.
    of_sessions: BTreeMap<SessionId, BTreeSet<u64>>,
    /// Those that are over and have a long answer.
    over: VecDeque<u64>,
}

/// How polls have ended so far, apart from those whose sessions have left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PollTally {
    pub answered: u64,
    /// Some node was missing.
    pub partial: u64,
    /// Answers that came when their question was over.
    pub late: u64,
}

/// Long questions: what is half made of their answers takes memory.
#[derive(Debug, Default)]
struct Line {
    /// At most [`MOST_ASKED`].
    asked: usize,
    /// The others, in the order in which they came.
    waiting: BTreeSet<u64>,
}

#[derive(Debug)]
pub(super) struct Poll {
    pub(super) asker: Asker,
    pub(super) realm: Arc<Realm>,
    pub(super) question: Question,
    pub(super) stage: Stage,
    pub(super) found: Finding,
    pub(super) nodes: Nodes,
    /// By when it is to be asked, or answered by other nodes. The latter stands in the timers.
    pub(super) until: Millis,
    /// The input of who asks waits for the answer.
    pub(super) is_parking: bool,
    /// Counts the memory of the question, and of what is made of its answer.
    pub(super) held: Held,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    Session(Caller),
    /// Another node, by way of [`ShardId::CLUSTER`], with the ticket that it has there.
    Node(ShardId, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It stands in a line.
    Waiting,
    /// So many parts of this router are to come.
    Asked(usize),
    Over,
}

/// What is known of other nodes.
#[derive(Debug)]
pub(super) enum Nodes {
    /// None is asked.
    Nobody,
    /// It has not been said who is asked.
    Unknown,
    Known {
        /// Those that have not given their last part.
        awaited: BTreeMap<NodeNumber, NodeName>,
        missing: BTreeSet<NodeName>,
    },
    /// Nobody has said in time who was asked, or this node is alone for the time being.
    Silent,
}

impl Nodes {
    /// Whether answers are to come; so long the deadline stands in the timers.
    pub(super) fn are_awaited(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Known { awaited, .. } => !awaited.is_empty(),
            Self::Nobody | Self::Silent => false,
        }
    }

    /// The time is over.
    pub(super) fn give_up(&mut self) {
        match self {
            Self::Unknown => *self = Self::Silent,
            Self::Known { awaited, missing } => missing.extend(mem::take(awaited).into_values()),
            Self::Nobody | Self::Silent => {}
        }
    }

    fn note_missing(&mut self, node: NodeNumber) {
        if let Self::Known { awaited, missing } = self {
            missing.extend(awaited.remove(&node));
        }
    }

    /// Who has not answered, if somebody has not.
    pub(super) fn missing(&self) -> Option<Vec<&NodeName>> {
        match self {
            Self::Known { missing, .. } if !missing.is_empty() => Some(missing.iter().collect()),
            Self::Silent => Some(Vec::new()),
            _ => None,
        }
    }
}

impl Poll {
    /// Whether nothing is to come any more.
    pub(super) fn is_complete(&self) -> bool {
        self.stage == Stage::Asked(0) && !self.nodes.are_awaited()
    }

    /// Bytes that count as held for it.
    pub(super) fn weight(question: &Question, found: &Finding) -> usize {
        size_of::<Self>() + question.heap_bytes() + found.heap_bytes()
    }

    /// The most ids that it lists. What is killed is killed, and its list is as long as it is.
    fn most(&self, meta_list_items: usize) -> usize {
        match self.question {
            Question::KillSessions { .. } => usize::MAX,
            _ => meta_list_items,
        }
    }

    /// Takes in what was found in this router.
    pub(super) fn take_part(&mut self, part: Finding, meta_list_items: usize) {
        let Stage::Asked(awaited) = &mut self.stage else { return };
        *awaited -= 1;
        let merged = self.found.merge(part, self.most(meta_list_items));
        debug_assert!(merged.is_ok(), "shards answer what they are asked");
        self.held.resize(Self::weight(&self.question, &self.found));
    }

    /// Takes in what is said of other nodes. A node whose part is no answer counts as missing; what
    /// is said of others than those that are asked counts for nothing.
    pub(super) fn take_word(&mut self, word: Word, meta_list_items: usize, uri_bytes: usize) {
        let most = self.most(meta_list_items);
        match (word, &mut self.nodes) {
            (Word::Asked(nodes), Nodes::Unknown) => {
                let awaited = nodes.into_iter().collect();
                self.nodes = Nodes::Known { awaited, missing: BTreeSet::new() };
            }
            (Word::Alone, nodes @ Nodes::Unknown) => *nodes = Nodes::Silent,
            (Word::Missing(missing), nodes) => {
                missing.into_iter().for_each(|node| nodes.note_missing(node));
            }
            (Word::Found { node, finding, is_last }, Nodes::Known { awaited, .. })
                if awaited.contains_key(&node) =>
            {
                let is_sound = finding.is_sound(uri_bytes);
                if !is_sound || self.found.merge(finding, most).is_err() {
                    self.nodes.note_missing(node);
                } else if is_last {
                    awaited.remove(&node);
                }
                self.held.resize(Self::weight(&self.question, &self.found));
            }
            _ => {}
        }
    }
}

impl Polls {
    pub(in crate::shard) fn len(&self) -> usize {
        self.polls.len()
    }

    /// How many questions of a session are not answered.
    pub(in crate::shard) fn pending_of(&self, session: SessionId) -> usize {
        self.of_sessions.get(&session).map_or(0, BTreeSet::len)
    }

    /// How many long questions of other nodes wait for their turn.
    pub(super) fn waiting_of_nodes(&self) -> usize {
        self.lines[NODES].waiting.len()
    }

    /// Takes in a poll, which waits for its turn if it is long.
    pub(super) fn push(&mut self, poll: Poll) -> u64 {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        if poll.stage == Stage::Waiting {
            self.lines[poll.asker.line()].waiting.insert(ticket);
        }
        if let Asker::Session(caller) = poll.asker {
            self.of_sessions.entry(caller.session.session).or_default().insert(ticket);
        }
        self.polls.insert(ticket, poll);
        ticket
    }

    /// The next one whose turn it is.
    pub(super) fn next(&mut self) -> Option<u64> {
        let line = self.lines.iter_mut().find(|line| line.can_ask())?;
        line.asked += 1;
        line.waiting.pop_first()
    }

    fn has_next(&self) -> bool {
        self.lines.iter().any(Line::can_ask)
    }

    pub(super) fn get_mut(&mut self, ticket: u64) -> Option<&mut Poll> {
        self.polls.get_mut(&ticket)
    }

    pub(super) fn get(&self, ticket: u64) -> Option<&Poll> {
        self.polls.get(&ticket)
    }

    /// The poll for which something of other nodes comes; without one it comes too late.
    pub(super) fn awaiting(&mut self, ticket: u64) -> Option<&mut Poll> {
        self.polls.get_mut(&ticket).filter(|poll| poll.nodes.are_awaited())
    }

    /// A complete poll is answered in its turn, as its answer is long.
    pub(super) fn answer_later(&mut self, ticket: u64) {
        self.over.push_back(ticket);
    }

    /// The next of those.
    pub(super) fn next_over(&mut self) -> Option<u64> {
        self.over.pop_front()
    }

    /// Takes out a poll, whatever has become of it.
    pub(super) fn remove(&mut self, ticket: u64) -> Option<Poll> {
        let poll = self.polls.remove(&ticket)?;
        if poll.stage == Stage::Over {
            self.over.retain(|over| *over != ticket);
        }
        let line = &mut self.lines[poll.asker.line()];
        if !line.waiting.remove(&ticket) && poll.question.is_long() {
            line.asked -= 1;
        }
        if let Asker::Session(caller) = poll.asker {
            let session = caller.session.session;
            let tickets = self.of_sessions.get_mut(&session).expect("its polls are listed");
            tickets.remove(&ticket);
            if tickets.is_empty() {
                self.of_sessions.remove(&session);
            }
        }
        Some(poll)
    }

    /// The tickets of a session.
    pub(super) fn of_session(&self, session: SessionId) -> Vec<u64> {
        self.of_sessions.get(&session).into_iter().flatten().copied().collect()
    }

    /// Whether one is to be asked or answered. Most shards have none.
    #[inline]
    pub(in crate::shard) fn has_jobs(&self) -> bool {
        !self.polls.is_empty() && (self.has_next() || !self.over.is_empty())
    }

    /// Whether only other nodes are waited for.
    pub(in crate::shard) fn are_settled(&self) -> bool {
        let is_settled = |poll: &Poll| match poll.stage {
            Stage::Waiting => true,
            Stage::Asked(awaited) => awaited == 0 && poll.nodes.are_awaited(),
            Stage::Over => false,
        };
        !self.has_jobs() && self.polls.values().all(is_settled)
    }

    /// How many deadlines stand in the timers.
    pub(in crate::shard) fn timed(&self) -> usize {
        self.polls.values().filter(|poll| poll.nodes.are_awaited()).count()
    }

    /// Checks that each poll stands where it should. `is_here` tells of sessions.
    pub(in crate::shard) fn check(&self, is_here: impl Fn(Caller) -> bool) {
        let mut listed = 0;
        for (line, number) in self.lines.iter().zip(0..) {
            let is_of = |poll: &&Poll| poll.asker.line() == number && poll.question.is_long();
            let long = self.polls.values().filter(is_of);
            let asked = long.filter(|poll| poll.stage != Stage::Waiting).count();
            assert_eq!(asked, line.asked, "each long question that is asked is counted");
            assert!(asked <= MOST_ASKED, "{asked} long questions are asked at a time");
        }
        let over = self.polls.values().filter(|poll| poll.stage == Stage::Over);
        assert_eq!(over.count(), self.over.len());
        for (ticket, poll) in &self.polls {
            let is_waiting = self.lines[poll.asker.line()].waiting.contains(ticket);
            assert_eq!(is_waiting, poll.stage == Stage::Waiting);
            assert!(!poll.is_complete(), "what is complete is answered");
            assert_eq!(self.over.contains(ticket), poll.stage == Stage::Over);
            assert_eq!(poll.held.bytes(), Poll::weight(&poll.question, &poll.found));
            if let Asker::Session(caller) = poll.asker {
                assert!(self.of_sessions[&caller.session.session].contains(ticket));
                assert!(is_here(caller), "a poll ends with its session");
                listed += 1;
            }
        }
        assert_eq!(self.of_sessions.values().map(BTreeSet::len).sum::<usize>(), listed);
    }
}

impl Line {
    fn can_ask(&self) -> bool {
        self.asked < MOST_ASKED && !self.waiting.is_empty()
    }
}

impl Asker {
    const fn line(self) -> usize {
        match self {
            Self::Session(_) => SESSIONS,
            Self::Node(..) => NODES,
        }
    }
}

/// The places of the lines.
const SESSIONS: usize = 0;
const NODES: usize = 1;

/// Long questions of a line that are on their way at once.
const MOST_ASKED: usize = 8;
