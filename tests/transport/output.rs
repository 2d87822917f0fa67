//! The output queue against a plain model: any interleaving of its operations gives the same bytes,
//! whole frames, never loses a reply, and says within its bound how old the oldest byte is.

use std::collections::VecDeque;
use std::io::IoSlice;

use proptest::prelude::*;
use stentor::clock::Millis;
use stentor::transport::{Arena, Batching, Class, Dropped, Framing, Output};

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
    /// By a wire that encrypts: so much is taken, and so much of it kept; or less is kept.
    WriteKeeping {
        taken: usize,
        kept: usize,
    },
    /// The messages that wait first go out in one frame, of which so much is taken and kept.
    WriteBatch {
        max: usize,
        taken: usize,
        kept: usize,
    },
    Retain,
    Wait {
        ms: u64,
    },
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
    /// What is left of a batch.
    Rest,
}

struct Frame {
    kind: Kind,
    /// What is left of it.
    bytes: Vec<u8>,
    /// Since when it lies in the backlog, if it does.
    since: Option<Millis>,
}

/// Only the first frame may be begun.
#[derive(Default)]
struct Model {
    frames: VecDeque<Frame>,
    begun: bool,
    /// What the wire keeps, and since when the oldest of what it took with it waited.
    kept: Option<(usize, Millis)>,
    now: Millis,
}

impl Model {
    fn push_control(&mut self, frame: Vec<u8>) {
        let mut at = usize::from(self.begun);
        while self.frames.get(at).is_some_and(|frame| frame.kind == Kind::Control) {
            at += 1;
        }
        let has_backlog = self.oldest().is_some();
        let since = has_backlog.then_some(self.now);
        self.frames.insert(at, Frame { kind: Kind::Control, bytes: frame, since });
    }

    fn oldest(&self) -> Option<Millis> {
        let kept = self.kept.map(|(_, since)| since);
        self.frames.iter().filter_map(|frame| frame.since).chain(kept).min()
    }

    /// What lies in no backlog comes there.
    fn retain(&mut self) {
        for frame in &mut self.frames {
            frame.since.get_or_insert(self.now);
        }
    }

    /// Since when the oldest of the first bytes waits.
    fn since(&self, mut bytes: usize) -> Millis {
        let mut oldest = self.now;
        for frame in &self.frames {
            if bytes == 0 {
                break;
            }
            bytes = bytes.saturating_sub(frame.bytes.len());
            oldest = oldest.min(frame.since.unwrap_or(self.now));
        }
        oldest
    }

    fn waiting(&self) -> usize {
        let kept = self.kept.map_or(0, |(bytes, _)| bytes);
        self.frames.iter().map(|frame| frame.bytes.len()).sum::<usize>() + kept
    }

    fn starts_with(&self, mut bytes: &[u8]) -> bool {
        for Frame { bytes: frame, .. } in &self.frames {
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
            let frame = self.frames.front_mut().expect("only what waits is written");
            let frame = &mut frame.bytes;
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
            if self.frames[at].kind == Kind::Event {
                let frame = self.frames.remove(at).expect("at is inside");
                dropped.frames += 1;
                dropped.bytes += frame.bytes.len();
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

impl Model {
    /// The messages that wait first as one frame, and how many they are.
    fn batch(&self, max: usize) -> Option<(Vec<u8>, usize)> {
        let (mut batch, mut count) = (Vec::new(), 0);
        let is_message = |frame: &&Frame| matches!(frame.kind, Kind::Reply | Kind::Event);
        // What is not in the backlog comes when that is empty.
        let is_first = |frame: &&Frame| frame.since.is_some() == self.frames[0].since.is_some();
        let waiting = self.frames.iter().skip_while(|_| self.begun);
        for Frame { bytes, .. } in waiting.take_while(is_message).take_while(is_first) {
            let message = &bytes[header_bytes(bytes)..];
            if count > 0 && batch.len() + message.len() > max {
                break;
            }
            batch.extend((message.len() as u32).to_be_bytes());
            batch.extend_from_slice(message);
            count += 1;
        }
        (count > 0).then(|| (message_frame(&batch), count))
    }
}

fn header_bytes(frame: &[u8]) -> usize {
    match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

fn message_frame(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = Framing::WebSocketBinary.begin(&mut out);
    out.extend_from_slice(message);
    let range = Framing::WebSocketBinary.finish(&mut out, start);
    out[range].to_vec()
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (frame_len(), any::<bool>())
            .prop_map(|(len, event)| Op::Push { len, event }),
        2 => (0..126usize).prop_map(|len| Op::Control { len }),
        4 => (1..70_000usize, 0..70_000usize).prop_map(|(max, taken)| Op::Write { max, taken }),
        2 => (1..6usize, 0..90_000usize)
            .prop_map(|(slices, taken)| Op::Vectored { slices, taken }),
        2 => (1..70_000usize, 0..70_000usize)
            .prop_map(|(taken, kept)| Op::WriteKeeping { taken, kept }),
        3 => (0..70_000usize, 0..70_000usize, prop_oneof![3 => Just(0), 1 => 0..70_000usize])
            .prop_map(|(max, taken, kept)| Op::WriteBatch { max, taken, kept }),
        3 => Just(Op::Retain),
        3 => prop_oneof![0..99u64, 0..100_000u64].prop_map(|ms| Op::Wait { ms }),
        2 => Just(Op::ClearArena),
        3 => frame_len().prop_map(|need| Op::DropOldest { need }),
    ]
}

/// Each frame has bytes of its own, so that a mix-up shows.
fn frame(number: usize, len: usize) -> Vec<u8> {
    message_frame(&(0..len).map(|i| (number.wrapping_mul(31) ^ i) as u8).collect::<Vec<_>>())
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
            let kind = if event { Kind::Event } else { Kind::Reply };
            model.frames.push_back(Frame { kind, bytes, since: None });
        }
        Op::Control { len } => {
            let mut bytes = frame(number, len);
            bytes[0] = 0x8A;
            let span = arena.put(&bytes);
            output.push_control(arena, span, model.now);
            model.push_control(bytes);
        }
        Op::Write { max, taken } => {
            release(output, arena, model);
            let next = output.next_write(arena, &mut scratch, max);
            assert!(next.len() <= max);
            assert_eq!(next.is_empty(), model.frames.is_empty());
            assert!(model.starts_with(next));
            let taken = taken.min(next.len());
            output.advance(taken);
            model.advance(taken);
        }
        Op::Vectored { slices, taken } => {
            release(output, arena, model);
            let mut room = vec![IoSlice::new(&[]); slices];
            let used = output.fill_slices(arena, &mut room);
            assert_eq!(used == 0, model.frames.is_empty());
            let bytes = joined(&room[..used]);
            assert!(model.starts_with(&bytes));
            let taken = taken.min(bytes.len());
            output.advance(taken);
            model.advance(taken);
        }
        Op::WriteKeeping { taken, kept } => write_keeping(output, arena, model, (taken, kept)),
        Op::WriteBatch { max, taken, kept } => {
            release(output, arena, model);
            write_batch(output, arena, model, max, (taken, kept));
        }
        Op::Retain => {
            output.retain_rest(arena, model.now);
            model.retain();
            assert!(!output.has_arena_spans());
        }
        Op::Wait { ms } => model.now = model.now + ms,
        Op::ClearArena => {
            output.retain_rest(arena, model.now);
            model.retain();
            arena.clear();
        }
        Op::DropOldest { need } => {
            let dropped = output.drop_oldest_events(arena, need, model.now);
            assert_eq!(dropped, model.drop_oldest(need));
            if !output.has_arena_spans() {
                model.retain();
            }
        }
    }
    check_age(output, model);
    output.check_invariants();
    assert_eq!(output.waiting_bytes(), model.waiting());
    assert_eq!(output.is_empty(), model.frames.is_empty() && model.kept.is_none());
}

fn write_keeping(
    output: &mut Output,
    arena: &Arena,
    model: &mut Model,
    (taken, kept): (usize, usize),
) {
    let mut scratch = Vec::new();
    let (taken, kept, since) = match model.kept {
        Some((before, since)) => (0, kept % before, since),
        None => {
            let next = output.next_write(arena, &mut scratch, 60_000);
            let taken = taken.min(next.len());
            (taken, kept.min(taken), model.since(taken))
        }
    };
    output.advance_keeping(arena, taken, kept, model.now);
    model.advance(taken);
    model.kept = (kept > 0).then_some((kept, since));
    if kept > 0 {
        model.retain();
    }
}

fn write_batch(
    output: &mut Output,
    arena: &Arena,
    model: &mut Model,
    max: usize,
    (taken, kept): (usize, usize),
) {
    let (mut scratch, form) = (Vec::new(), (Framing::WebSocketBinary, Batching::Prefixed));
    let expected = model.batch(max);
    let Some(batch) = output.gather_batch(arena, form, &mut scratch, max) else {
        assert!(expected.is_none(), "what waits first is in a batch");
        let alone = output.alone_bytes(arena);
        assert_eq!(alone == 0, model.frames.is_empty());
        let next = output.next_write(arena, &mut scratch, alone.max(1));
        assert!(next.len() <= alone && model.starts_with(next));
        let taken = taken.min(next.len());
        output.advance(taken);
        model.advance(taken);
        return;
    };
    let frame = form.0.finish(&mut scratch, batch.start);
    let frame = &scratch[frame];
    let (bytes, count) = expected.expect("what waits first is no message");
    assert_eq!(frame, bytes);
    let taken = taken.min(frame.len());
    let kept = kept.min(taken);
    let waiting: usize = model.frames.iter().take(count).map(|frame| frame.bytes.len()).sum();
    assert_eq!(batch.waiting_bytes, waiting);
    output.advance_batch(arena, (frame, waiting), (taken, kept), model.now);
    if taken > 0 {
        let since = model.since(waiting);
        model.frames.drain(..count);
        model.kept = (kept > 0).then_some((kept, since));
        if taken < bytes.len() {
            let rest =
                Frame { kind: Kind::Rest, bytes: bytes[taken..].to_vec(), since: Some(since) };
            model.frames.push_front(rest);
            model.begun = true;
        }
    }
    if kept > 0 {
        model.retain();
    }
}

/// The wire gets rid of what it keeps.
fn release(output: &mut Output, arena: &Arena, model: &mut Model) {
    if model.kept.take().is_some() {
        output.advance_keeping(arena, 0, 0, model.now);
    }
}

fn check_age(output: &Output, model: &Model) {
    let age = |since: Option<Millis>| since.map(|since| model.now.since(since));
    let (shown, true_age) = (age(output.oldest()), age(model.oldest()));
    assert_eq!(shown.is_some(), true_age.is_some());
    let (shown, true_age) = (shown.unwrap_or(0), true_age.unwrap_or(0));
    let most = true_age + true_age.max(100);
    assert!((true_age..=most).contains(&shown), "{shown} ms are shown of {true_age} ms");
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
            output.retain_rest(&arena, Millis(1));
        }
        let pong = arena.put(b"pong.");
        output.push_control(&arena, pong, Millis(1));
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
        let now = Millis(turn);
        output.retain_rest(&arena, now);
        if output.waiting_bytes() > 10_000 {
            assert_eq!(output.drop_oldest_events(&arena, 500, now).frames, 1);
        }
        if turn % 1_000 == 0 {
            output.check_invariants();
        }
    }
    assert!(output.waiting_bytes() <= 10_000);
}
