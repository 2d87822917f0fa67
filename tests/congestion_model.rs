//! The protocol by which shards stop reading for a congested one, in every possible order of its
//! steps: who waits for room is resumed.
//!
//! A model, not the code: two feeders and a receiver, each a list of atomic steps under sequential
//! consistency, which is what the mesh asks of its operations (`SeqCst`). The search visits every
//! state that any order can reach. `src/net/mesh/tests.rs` runs the code itself on threads.

use stentor::hash::{HashSeed, Set};

const FEEDERS: usize = 2;
/// What each feeder sends, one unit of weight at a time.
const PARCELS: u8 = 3;
/// Over it the receiver is congested.
const MARK: u8 = 1;
/// Half of the mark: from here on it is so no more.
const ROOM: u8 = 0;

/// What a feeder does next. The parcel is that of `Mesh::send`, the rest is the event loop's
/// `must_pause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Feeder {
    LookAtMark,
    Register,
    LookAgain,
    /// Reads nothing until it is resumed.
    Paused,
    AddWeight,
    /// Looks whether the mark is set, if the weight that it saw is over it.
    Judge(u8),
    SetMark,
    Push,
    Done,
}

/// What the receiver does next, after each parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Receiver {
    Take,
    SubtractWeight,
    LookAtMark,
    ClearMark,
    TakeWaiting,
    /// Sends a resumption to these feeders.
    Resume(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    /// The step of each, and the parcels that it has left.
    feeders: [(Feeder, u8); FEEDERS],
    receiver: Receiver,
    weight: u8,
    is_congested: bool,
    /// By bits: the feeders that wait for room, and those whose resumption is on its way.
    waiting: u8,
    resumed: u8,
    parcels: u8,
}

const START: State = State {
    feeders: [(Feeder::LookAtMark, PARCELS); FEEDERS],
    receiver: Receiver::Take,
    weight: 0,
    is_congested: false,
    waiting: 0,
    resumed: 0,
    parcels: 0,
};

/// What the protocol depends on; each variant but the first leaves one thing out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Right,
    /// The receiver takes the waiting before it clears the mark.
    TakesFirst,
    /// A feeder does not look again after it has registered.
    LooksOnce,
    /// A feeder pushes its parcel before it sets the mark, and nobody takes back a late one.
    MarksLate,
}

impl State {
    fn step_feeder(mut self, number: usize, protocol: Protocol) -> Option<Self> {
        let (step, left) = self.feeders[number];
        let bit = 1 << number;
        let push = |state: &mut Self| state.parcels += 1;
        let next = match step {
            Feeder::LookAtMark if self.is_congested => Feeder::Register,
            Feeder::LookAtMark => Feeder::AddWeight,
            Feeder::Register => {
                self.waiting |= bit;
                if protocol == Protocol::LooksOnce { Feeder::Paused } else { Feeder::LookAgain }
            }
            Feeder::LookAgain if self.is_congested => Feeder::Paused,
            Feeder::LookAgain => Feeder::AddWeight,
            Feeder::Paused if self.resumed & bit == 0 => return None,
            Feeder::Paused => {
                self.resumed &= !bit;
                Feeder::LookAtMark
            }
            Feeder::AddWeight => {
                self.weight += 1;
                if protocol == Protocol::MarksLate {
                    push(&mut self);
                }
                Feeder::Judge(self.weight)
            }
            Feeder::Judge(seen) if seen > MARK && !self.is_congested => Feeder::SetMark,
            Feeder::Judge(_) => Feeder::Push,
            Feeder::SetMark => {
                self.is_congested = true;
                Feeder::Push
            }
            Feeder::Push => {
                if protocol != Protocol::MarksLate {
                    push(&mut self);
                }
                self.feeders[number].1 = left - 1;
                if left > 1 { Feeder::LookAtMark } else { Feeder::Done }
            }
            Feeder::Done => return None,
        };
        self.feeders[number].0 = next;
        Some(self)
    }

    fn step_receiver(mut self, protocol: Protocol) -> Option<Self> {
        let takes_first = protocol == Protocol::TakesFirst;
        self.receiver = match self.receiver {
            Receiver::Take if self.parcels == 0 => return None,
            Receiver::Take => {
                self.parcels -= 1;
                Receiver::SubtractWeight
            }
            Receiver::SubtractWeight => {
                self.weight -= 1;
                if self.weight == ROOM { Receiver::LookAtMark } else { Receiver::Take }
            }
            Receiver::LookAtMark if !self.is_congested => Receiver::Take,
            Receiver::LookAtMark if takes_first => Receiver::TakeWaiting,
            Receiver::LookAtMark => Receiver::ClearMark,
            Receiver::ClearMark => {
                self.is_congested = false;
                if takes_first { Receiver::Take } else { Receiver::TakeWaiting }
            }
            Receiver::TakeWaiting => Receiver::Resume(std::mem::take(&mut self.waiting)),
            Receiver::Resume(feeders) => {
                self.resumed |= feeders;
                if takes_first { Receiver::ClearMark } else { Receiver::Take }
            }
        };
        Some(self)
    }

    /// Nothing can happen any more, but somebody waits or the mark still stands.
    fn is_stuck(&self) -> bool {
        self.is_congested || self.feeders.iter().any(|(step, _)| *step != Feeder::Done)
    }
}

/// Visits all states: how many there are, and one that is stuck.
fn explore(protocol: Protocol) -> (usize, Option<State>) {
    let mut seen: Set<State> = HashSeed::new(1).set();
    let mut open = vec![START];
    let mut stuck = None;
    while let Some(state) = open.pop() {
        if !seen.insert(state) {
            continue;
        }
        let feeders = (0..FEEDERS).filter_map(|number| state.step_feeder(number, protocol));
        let next: Vec<_> = feeders.chain(state.step_receiver(protocol)).collect();
        if next.is_empty() && state.is_stuck() {
            stuck = Some(state);
        }
        open.extend(next);
    }
    (seen.len(), stuck)
}

#[test]
fn no_order_of_steps_leaves_a_feeder_waiting() {
    let (states, stuck) = explore(Protocol::Right);
    assert!(states > 1_000, "only {states} states were visited");
    assert_eq!(stuck, None);
}

#[test]
fn the_model_finds_each_part_that_is_left_out() {
    for protocol in [Protocol::TakesFirst, Protocol::LooksOnce, Protocol::MarksLate] {
        assert!(explore(protocol).1.is_some(), "{protocol:?}");
    }
}
