//! Subscribes to one topic and checks every event: one track per publisher. A churning subscriber
//! leaves and comes back after so many events; a slow one is stalled by the engine and may lose.

use std::ops::Range;

use crate::engine::link::Link;
use crate::measure::board::Board;
use crate::measure::fairness::Share;
use crate::measure::verify::{Arrival, Track};
use crate::wire::message::{ERROR, EVENT, Matching, SUBSCRIBED, UNSUBSCRIBED};
use crate::wire::reader::{Head, printable};
use crate::wire::stamp::{self, STAMP_BYTES, StampFinder};

pub struct Subscriber {
    /// A pattern, if it is to be matched so.
    pub(super) topic: String,
    matching: Matching,
    /// The publishers of the topic, by number.
    publishers: Range<u32>,
    tracks: Vec<Track>,
    finder: StampFinder,
    kind: Kind,
    state: State,
    subscription: u64,
    /// Events on the present subscription.
    received: u32,
    seen_before: bool,
    has_returned: bool,
    /// Of the measured part.
    share: Share,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Owed every event; windows wait for it.
    Steady,
    /// Leaves after so many events, and comes back.
    Churning(u32),
    /// Stops reading at some time: what it misses is not counted against the router.
    Slow,
    /// Is cut off, and comes again on another connection: what is published meanwhile is missed.
    Returning,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Subscribing,
    Subscribed,
    Unsubscribing,
}

impl Subscriber {
    pub fn new(topic: String, publishers: Range<u32>, kind: Kind) -> Self {
        let tracks = vec![Track::default(); publishers.len()];
        Self {
            topic,
            matching: Matching::Exact,
            publishers,
            tracks,
            finder: StampFinder::default(),
            kind,
            state: State::Absent,
            subscription: 0,
            received: 0,
            seen_before: false,
            has_returned: false,
            share: Share::default(),
        }
    }

    /// Takes the topic for a pattern.
    pub fn matching(self, matching: Matching) -> Self {
        Self { matching, ..self }
    }

    pub const fn may_lose(&self) -> bool {
        matches!(self.kind, Kind::Slow)
    }

    /// Whether it is to be cut off.
    pub fn returns(&self) -> bool {
        self.kind == Kind::Returning
    }

    pub fn joined(&mut self, link: &mut Link, board: &mut Board) {
        self.subscribe(link);
        if self.state == State::Subscribed {
            board.counts.ready += 1;
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
        match (head.code, self.state) {
            (EVENT, State::Subscribed | State::Unsubscribing) => {
                self.handle_event(board, message, now_ns);
                self.churn(link, board);
            }
            (SUBSCRIBED, State::Subscribing) => {
                if self.kind == Kind::Returning && self.seen_before {
                    self.returned(board, now_ns.saturating_sub(link.started_ns));
                }
                self.subscribed(board, head.ids[1]);
            }
            (UNSUBSCRIBED, State::Unsubscribing) => {
                let missing = self.tracks.iter().map(Track::missing_so_far).sum::<u64>();
                board.tally.lost += missing;
                self.state = State::Absent;
                if board.sending {
                    self.subscribe(link);
                }
            }
            (ERROR, _) => board.note_error(printable(message)),
            _ => board.tally.stray += 1,
        }
    }

    /// The publishers whose windows wait for it.
    pub fn counted_publishers(&self) -> Range<u32> {
        if self.kind == Kind::Steady { self.publishers.clone() } else { 0..0 }
    }

    /// What it received of the measured part, if it is owed every event.
    pub fn share(&self) -> Option<Share> {
        (self.kind == Kind::Steady).then_some(self.share)
    }

    /// A measured part begins.
    pub fn begin_share(&mut self) {
        self.share = Share::default();
    }

    /// What never arrived, at the end of the run.
    pub fn lost(&self, board: &Board) -> u64 {
        if self.may_lose() || self.state != State::Subscribed {
            return 0;
        }
        let sent = |number: u32| board.windows[number as usize].sent();
        self.publishers
            .clone()
            .zip(&self.tracks)
            .map(|(number, track)| track.finish(sent(number)))
            .sum()
    }

    fn subscribe(&mut self, link: &mut Link) {
        let asked = link.subscribe(self.matching, &self.topic);
        self.state = if asked { State::Subscribing } else { State::Subscribed };
    }

    /// It is back after `away_ns`, and has not got what was sent meanwhile.
    fn returned(&mut self, board: &mut Board, away_ns: u64) {
        self.has_returned = true;
        board.counts.returned += 1;
        board.returns.record(away_ns);
        for (number, track) in self.publishers.clone().zip(&self.tracks) {
            board.tally.lost += track.missing_so_far();
            board.counts.missed += track.behind(board.windows[number as usize].sent());
        }
    }

    /// What is sent from now on is owed.
    fn subscribed(&mut self, board: &mut Board, subscription: u64) {
        self.state = State::Subscribed;
        self.subscription = subscription;
        self.received = 0;
        for (number, track) in self.publishers.clone().zip(&mut self.tracks) {
            track.restart(board.windows[number as usize].sent());
        }
        if self.seen_before {
            board.counts.resubscriptions += 1;
        } else {
            self.seen_before = true;
            board.counts.ready += 1;
        }
    }

    fn handle_event(&mut self, board: &mut Board, message: &[u8], now_ns: u64) {
        board.count_event();
        let found = self.finder.find(message);
        let Some((at, stamp)) = found.and_then(|at| Some((at, stamp::read(message, at)?))) else {
            board.tally.damaged += 1;
            return;
        };
        if !message[at + STAMP_BYTES..].starts_with(&board.text) {
            board.tally.damaged += 1;
        }
        if !self.publishers.contains(&stamp.sender) {
            board.tally.stray += 1;
            return;
        }
        let track = &mut self.tracks[(stamp.sender - self.publishers.start) as usize];
        let arrival = track.arrive(stamp.sequence);
        board.tally.note(arrival);
        if self.has_returned && arrival != Arrival::Doubled && track.is_optional(stamp.sequence) {
            // It was taken for missed, and was under way when SUBSCRIBED was read.
            board.counts.missed = board.counts.missed.saturating_sub(1);
        }
        if self.kind == Kind::Steady {
            if arrival != Arrival::Doubled {
                board.counts.counted_events += 1;
                if board.windows[stamp.sender as usize].delivered(stamp.sequence) {
                    board.note_opened(stamp.sender);
                }
            }
            if board.measures(stamp.at_ns) {
                self.share.note(now_ns.saturating_sub(stamp.at_ns));
            }
            if board.events.samples_next() {
                board.record_event(stamp.at_ns, now_ns);
            }
        }
        self.received += 1;
    }

    fn churn(&mut self, link: &mut Link, board: &Board) {
        let Kind::Churning(after) = self.kind else {
            return;
        };
        if self.state == State::Subscribed && self.received >= after && board.sending {
            self.state = State::Unsubscribing;
            let (request, subscription) = (link.take_request(), self.subscription);
            link.send(|body| body.unsubscribe(request, subscription));
        }
    }
}
