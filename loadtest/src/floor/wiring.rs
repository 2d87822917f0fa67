//! Who is wired to whom. Clients that name the same topic or procedure hang on one wire; nothing in
//! a message is looked at.

use std::collections::{HashMap, VecDeque};

use crate::wire::floor::Introduction;

/// What a client does. Numbers are wires.
pub(super) enum Part {
    /// Has not said so yet.
    New,
    /// Wants an answer as long as a WELCOME to a message as long as a HELLO.
    Joining,
    Publisher(usize),
    Subscriber,
    Caller(usize),
    /// Answers calls in their order, so who asked needs no id.
    Callee(VecDeque<usize>),
}

#[derive(Default)]
pub(super) struct Wiring {
    by_name: HashMap<Vec<u8>, usize>,
    wires: Vec<Wire>,
}

#[derive(Default)]
struct Wire {
    subscribers: Vec<usize>,
    callees: VecDeque<usize>,
}

impl Wiring {
    /// Hangs client `index` on its wire.
    pub(super) fn enter(&mut self, index: usize, introduction: &Introduction<'_>) -> Part {
        match introduction {
            Introduction::Join => Part::Joining,
            Introduction::Publish(topic) => Part::Publisher(self.find(topic)),
            Introduction::Call(procedure) => Part::Caller(self.find(procedure)),
            Introduction::Subscribe(topic) => {
                let wire = self.find(topic);
                self.wires[wire].subscribers.push(index);
                Part::Subscriber
            }
            Introduction::Answer(procedure) => {
                let wire = self.find(procedure);
                self.wires[wire].callees.push_back(index);
                Part::Callee(VecDeque::new())
            }
        }
    }

    pub(super) fn subscribers(&self, wire: usize) -> &[usize] {
        &self.wires[wire].subscribers
    }

    /// The callees of a wire take turns.
    pub(super) fn next_callee(&mut self, wire: usize) -> Option<usize> {
        let callees = &mut self.wires[wire].callees;
        let next = *callees.front()?;
        callees.rotate_left(1);
        Some(next)
    }

    fn find(&mut self, name: &[u8]) -> usize {
        let wires = &mut self.wires;
        *self.by_name.entry(name.to_vec()).or_insert_with(|| {
            wires.push(Wire::default());
            wires.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wire_per_name() {
        let mut wiring = Wiring::default();
        wiring.enter(0, &Introduction::Subscribe(b"a"));
        wiring.enter(1, &Introduction::Subscribe(b"b"));
        wiring.enter(2, &Introduction::Subscribe(b"a"));
        let Part::Publisher(wire) = wiring.enter(3, &Introduction::Publish(b"a")) else {
            panic!("a publisher is one")
        };
        assert_eq!(wiring.subscribers(wire), [0, 2]);
    }

    #[test]
    fn callees_take_turns() {
        let mut wiring = Wiring::default();
        wiring.enter(7, &Introduction::Answer(b"f"));
        wiring.enter(8, &Introduction::Answer(b"f"));
        let Part::Caller(wire) = wiring.enter(9, &Introduction::Call(b"f")) else {
            panic!("a caller is one")
        };
        let turns = [(); 3].map(|()| wiring.next_callee(wire));
        assert_eq!(turns, [Some(7), Some(8), Some(7)]);
    }
}
