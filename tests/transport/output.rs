//! The output queue against a plain model: any interleaving of its operations gives the same bytes,
//! whole frames, and never loses a reply.

use std::collections::VecDeque;
use std::io::IoSlice;

use proptest::prelude::*;
use stentor::transport::{Arena, Class, Dropped, Output};

#[derive(Clone, Debug)]
enum Op {
    Push {
        len: usize,
        event: bool,
    },
    Control {
        len: usize,
    },
    Write {
        max: usize,
        taken: usize,
    },
    Vectored {
        slices: usize,
        taken: usize,
    },
    Retain,
    /// End of the turn: nothing may refer to the arena any more.
    ClearArena,
    DropOldest {
        need: usize,
    },
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Reply,
    Event,
    Control,
}

/// Frames as what is left of each; only the first may be begun.
#[derive(Default)]
struct Model {
    frames: VecDeque<(Kind, Vec<u8>)>,
    begun: bool,
}

impl Model {
    fn push_control(&mut self, frame: Vec<u8>) {
        let mut at = usize::from(self.begun);
        while self.frames.get(at).is_some_and(|(kind, _)| *kind == Kind::Control) {
            at += 1;
        }
        self.frames.insert(at, (Kind::Control, frame));
    }

    fn waiting(&self) -> usize {
        self.frames.iter().map(|(_, frame)| frame.len()).sum()
    }

    fn starts_with(&self, mut bytes: &[u8]) -> bool {
        for (_, frame) in &self.frames {
            let (part, rest) = bytes.split_at(frame.len().min(bytes.len()));
            if part != &frame[..part.len()] {
                return false;
            }
            bytes = rest;
        }
        bytes.is_empty()
    }

    fn advance(&mut self, mut written: usize) {
        while written > 0 {
            let frame = &mut self.frames.front_mut().expect("only what waits is written").1;
            let taken = written.min(frame.len());
            frame.drain(..taken);
            written -= taken;
            self.begun = !frame.is_empty();
            if !self.begun {
                self.frames.pop_front();
            }
        }
    }

    fn drop_oldest(&mut self, need: usize) -> Dropped {
        let mut dropped = Dropped::default();
        let mut at = usize::from(self.begun);
        while dropped.bytes < need && at < self.frames.len() {
            if self.frames[at].0 == Kind::Event {
                let (_, frame) = self.frames.remove(at).expect("at is inside");
                dropped.frames += 1;
                dropped.bytes += frame.len();
            } else {
                at += 1;
            }
        }
        dropped
    }
}

fn frame_len() -> impl Strategy<Value = usize> {
    prop_oneof![12 => 0..400usize, 3 => 400..20_000usize, 1 => 60_000..140_000usize]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (frame_len(), any::<bool>())
            .prop_map(|(len, event)| Op::Push { len: len.max(1), event }),
        2 => (0..200usize).prop_map(|len| Op::Control { len }),
        4 => (1..70_000usize, 0..70_000usize).prop_map(|(max, taken)| Op::Write { max, taken }),
        2 => (1..6usize, 0..90_000usize)
            .prop_map(|(slices, taken)| Op::Vectored { slices, taken }),
        3 => Just(Op::Retain),
        2 => Just(Op::ClearArena),
        3 => frame_len().prop_map(|need| Op::DropOldest { need }),
    ]
}

/// Each frame has bytes of its own, so that a mix-up shows.
fn frame(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (number.wrapping_mul(31) ^ i) as u8).collect()
}

fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
    slices.iter().flat_map(|slice| slice.iter().copied()).collect()
}

fn step(number: usize, op: &Op, output: &mut Output, arena: &mut Arena, model: &mut Model) {
    let mut scratch = Vec::new();
    match *op {
        Op::Push { len, event } => {
            let bytes = frame(number, len);
            let span = arena.put(&bytes);
            output.push(span, if event { Class::Event } else { Class::Reply });
            if len > 0 {
                let kind = if event { Kind::Event } else { Kind::Reply };
                model.frames.push_back((kind, bytes));
            }
        }
        Op::Control { len } => {
            let bytes = frame(number, len);
            let span = arena.put(&bytes);
            output.push_control(arena, span);
            if len > 0 {
                model.push_control(bytes);
            }
        }
        Op::Write { max, taken } => {
            let next = output.next_write(arena, &mut scratch, max);
            assert!(next.len() <= max);
            assert_eq!(next.is_empty(), model.frames.is_empty());
            assert!(model.starts_with(next));
            let taken = taken.min(next.len());
            output.advance(taken);
            model.advance(taken);
        }
        Op::Vectored { slices, taken } => {
            let mut room = vec![IoSlice::new(&[]); slices];
            let used = output.fill_slices(arena, &mut room);
            assert_eq!(used == 0, model.frames.is_empty());
            let bytes = joined(&room[..used]);
            assert!(model.starts_with(&bytes));
            let taken = taken.min(bytes.len());
            output.advance(taken);
            model.advance(taken);
        }
        Op::Retain => {
            output.retain_rest(arena);
            assert!(!output.has_arena_spans());
        }
        Op::ClearArena => {
            output.retain_rest(arena);
            arena.clear();
        }
        Op::DropOldest { need } => {
            assert_eq!(output.drop_oldest_events(arena, need), model.drop_oldest(need));
        }
    }
    output.check_invariants();
    assert_eq!(output.waiting_bytes(), model.waiting());
    assert_eq!(output.is_empty(), model.frames.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_equals_the_model(ops in proptest::collection::vec(op(), 1..60)) {
        let (mut output, mut arena, mut model) = (Output::new(), Arena::new(), Model::default());
        for (number, op) in ops.iter().enumerate() {
            step(number, op, &mut output, &mut arena, &mut model);
        }
        let rest = Op::Write { max: 5_000, taken: usize::MAX };
        while !output.is_empty() {
            step(0, &rest, &mut output, &mut arena, &mut model);
        }
        prop_assert!(!output.has_arena_spans());
    }
}

/// TR-RS-08: a PONG overtakes what waits, but never lands inside a frame.
#[test]
fn a_control_frame_waits_for_the_frame_that_is_begun() {
    let (mut output, mut arena) = (Output::new(), Arena::new());
    for retained in [false, true] {
        let (first, second) = (arena.put(b"first."), arena.put(b"second."));
        output.push(first, Class::Reply);
        output.push(second, Class::Event);
        output.advance(2);
        if retained {
            output.retain_rest(&arena);
        }
        let pong = arena.put(b"pong.");
        output.push_control(&arena, pong);
        let mut written = Vec::new();
        while !output.is_empty() {
            let mut scratch = Vec::new();
            let next = output.next_write(&arena, &mut scratch, 4).to_vec();
            output.advance(next.len());
            written.extend(next);
        }
        assert_eq!(written, b"rst.pong.second.");
    }
}

#[test]
fn what_is_dropped_while_the_rest_stays_costs_no_memory_for_ever() {
    let (mut output, mut arena) = (Output::new(), Arena::new());
    let begun = arena.put(&[0; 100]);
    output.push(begun, Class::Reply);
    output.advance(1);
    for turn in 0..20_000 {
        arena.clear();
        let event = arena.put(&[turn as u8; 500]);
        output.push(event, Class::Event);
        output.retain_rest(&arena);
        if output.waiting_bytes() > 10_000 {
            assert_eq!(output.drop_oldest_events(&arena, 500).frames, 1);
        }
        if turn % 1_000 == 0 {
            output.check_invariants();
        }
    }
    assert!(output.waiting_bytes() <= 10_000);
}
