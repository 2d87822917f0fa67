//! The protocol of the mesh's `awake` flag, in every possible order of its steps.
//!
//! A model, not the code: two senders and a receiver, each a list of atomic steps under sequential
//! consistency, which is what the mesh asks of its operations (`SeqCst`). The search visits every
//! state that any order can reach. `src/net/mesh/tests.rs` runs the code itself on threads.

use stentor::hash::{HashSeed, Set};

const SENDERS: usize = 2;
const PARCELS: u8 = 2;

/// What a sender does next, for each parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sender {
    Push,
    SwapAwake,
    Wake,
    Done,
}

/// What the receiver does next, in each turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Receiver {
    ClearAwake,
    LookAtInbox,
    /// Sleeps; `true`: until something happens, `false`: not at all.
    Sleep(bool),
    SetAwake,
    TakeAll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    senders: [(Sender, u8); SENDERS],
    receiver: Receiver,
    looked_empty: bool,
    awake: bool,
    /// Whether the eventfd is readable, or the `Notify` has its permit.
    wake_pending: bool,
    queued: u8,
    taken: u8,
}

const START: State = State {
    senders: [(Sender::Push, PARCELS); SENDERS],
    receiver: Receiver::ClearAwake,
    looked_empty: false,
    awake: true,
    wake_pending: false,
    queued: 0,
    taken: 0,
};

/// The order of the receiver's first two steps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    ClearThenLook,
    LookThenClear,
}

/// How the receiver sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bed {
    /// In a poll, which takes the wake also if it is not to sleep.
    Poller,
    /// It waits for a `Notify`, and only if it is to sleep; else its permit stays.
    Task,
}

impl State {
    fn step_sender(mut self, number: usize) -> Option<Self> {
        let (step, left) = self.senders[number];
        let next = |left: u8| if left > 1 { (Sender::Push, left - 1) } else { (Sender::Done, 0) };
        self.senders[number] = match step {
            Sender::Push => {
                self.queued += 1;
                (Sender::SwapAwake, left)
            }
            Sender::SwapAwake => {
                let was_awake = std::mem::replace(&mut self.awake, true);
                if was_awake { next(left) } else { (Sender::Wake, left) }
            }
            Sender::Wake => {
                self.wake_pending = true;
                next(left)
            }
            Sender::Done => return None,
        };
        Some(self)
    }

    fn step_receiver(mut self, order: Order, bed: Bed) -> Option<Self> {
        let clear_first = order == Order::ClearThenLook;
        self.receiver = match self.receiver {
            Receiver::ClearAwake => {
                self.awake = false;
                if clear_first { Receiver::LookAtInbox } else { Receiver::Sleep(self.looked_empty) }
            }
            Receiver::LookAtInbox => {
                self.looked_empty = self.queued == 0;
                if clear_first { Receiver::Sleep(self.looked_empty) } else { Receiver::ClearAwake }
            }
            Receiver::Sleep(true) if !self.wake_pending => return None,
            Receiver::Sleep(sleeps) => {
                self.wake_pending &= bed == Bed::Task && !sleeps;
                Receiver::SetAwake
            }
            Receiver::SetAwake => {
                self.awake = true;
                Receiver::TakeAll
            }
            Receiver::TakeAll => {
                self.taken += std::mem::take(&mut self.queued);
                if clear_first { Receiver::ClearAwake } else { Receiver::LookAtInbox }
            }
        };
        Some(self)
    }
}

/// Visits all states. Returns how many there are, and one in which mail waits for ever.
fn explore(order: Order, bed: Bed) -> (usize, Option<State>) {
    let first = match order {
        Order::ClearThenLook => Receiver::ClearAwake,
        Order::LookThenClear => Receiver::LookAtInbox,
    };
    let start = State { receiver: first, ..START };
    let mut seen: Set<State> = HashSeed::new(1).set();
    let mut open = vec![start];
    let mut stuck = None;
    while let Some(state) = open.pop() {
        if !seen.insert(state) {
            continue;
        }
        let senders = (0..SENDERS).filter_map(|number| state.step_sender(number));
        let next: Vec<_> = senders.chain(state.step_receiver(order, bed)).collect();
        if next.is_empty() && state.queued > 0 {
            stuck = Some(state);
        }
        open.extend(next);
    }
    (seen.len(), stuck)
}

#[test]
fn no_order_of_steps_loses_a_wake() {
    for bed in [Bed::Poller, Bed::Task] {
        let (states, stuck) = explore(Order::ClearThenLook, bed);
        assert!(states > 500, "only {states} states were visited");
        assert_eq!(stuck, None, "{bed:?}");
    }
}

#[test]
fn the_model_finds_the_loss_if_the_receiver_looks_first() {
    for bed in [Bed::Poller, Bed::Task] {
        let (_, stuck) = explore(Order::LookThenClear, bed);
        assert!(stuck.is_some(), "{bed:?}");
    }
}
