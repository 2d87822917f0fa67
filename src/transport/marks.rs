//! Since when the first byte of a queue waits, within a bound, in memory that does not grow with
//! the queue: a few marks in its stream of bytes, closer to each other where it is younger.

use std::collections::VecDeque;

use crate::clock::Millis;

/// Bytes go out in the order in which they came in. Those between two marks count as old as the
/// older of the two.
///
/// So [`Self::oldest`] is never later than the truth, and a byte looks older than it is by up to
/// [`RESOLUTION_MS`] or by its true age, whichever is more. There are at most two marks for each
/// time that the age of the first byte is twice the resolution and more: 64 after a year.
#[derive(Debug, Default)]
pub(super) struct Marks {
    marks: VecDeque<Mark>,
    /// Bytes that have come in, and that have gone out, since the beginning.
    entered: u64,
    left: u64,
}

/// The bytes from here on came then, or later.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: u64,
    since: Millis,
}

impl Marks {
    /// Since when the first byte waits, if there is one.
    pub(super) fn oldest(&self) -> Option<Millis> {
        self.marks.front().map(|mark| mark.since)
    }

    /// Bytes come in, never earlier than those before them.
    pub(super) fn enter(&mut self, bytes: usize, now: Millis) {
        if bytes == 0 {
            return;
        }
        if self.marks.back().is_none_or(|last| now.since(last.since) >= RESOLUTION_MS) {
            self.marks.push_back(Mark { at: self.entered, since: now });
            self.thin_out(now);
        }
        self.entered += bytes as u64;
    }

    /// The first bytes go out.
    pub(super) fn leave(&mut self, bytes: usize) {
        self.left += bytes as u64;
        debug_assert!(self.left <= self.entered);
        if self.left == self.entered {
            self.marks.clear();
        }
        while self.marks.get(1).is_some_and(|next| next.at <= self.left) {
            self.marks.pop_front();
        }
    }

    /// All but the first bytes go.
    pub(super) fn truncate(&mut self, bytes: usize) {
        self.entered = self.left + bytes as u64;
        if bytes == 0 {
            self.marks.clear();
        }
        while self.marks.back().is_some_and(|last| last.at >= self.entered) {
            self.marks.pop_back();
        }
    }

    /// Bytes go from anywhere: `pieces` says in order how many go or stay, for all that are here.
    pub(super) fn retain(&mut self, pieces: impl Iterator<Item = (usize, bool)>) {
        let mut before = std::mem::take(self);
        for (bytes, stays) in pieces {
            if stays && let Some(since) = before.oldest() {
                self.enter(bytes, since);
            }
            before.leave(bytes);
        }
        debug_assert_eq!(before.left, before.entered);
    }

    /// Takes marks away whose neighbours lie no further from each other than the younger one is
    /// old: what is between them only gets older.
    fn thin_out(&mut self, now: Millis) {
        let mut at = 1;
        while at + 1 < self.marks.len() {
            let (before, next) = (self.marks[at - 1], self.marks[at + 1]);
            if next.since.since(before.since) <= now.since(next.since) {
                self.marks.remove(at);
            } else {
                at += 1;
            }
        }
    }

    pub(super) fn check_invariants(&self, bytes: usize) {
        assert_eq!(self.entered - self.left, bytes as u64);
        assert_eq!(self.marks.is_empty(), bytes == 0);
        assert!(self.marks.iter().skip(1).all(|mark| mark.at > self.left));
        let pairs = self.marks.iter().zip(self.marks.iter().skip(1));
        assert!(pairs.into_iter().all(|(one, next)| one.at < next.at && one.since < next.since));
    }
}

/// How exact ages are at best, in milliseconds.
const RESOLUTION_MS: u64 = 100;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Wait { ms: u64 },
        Enter { bytes: usize },
        Leave { bytes: usize },
        Truncate { bytes: usize },
        Retain { every: usize },
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => prop_oneof![0..30u64, 0..3_000u64, 0..10_000_000u64]
                .prop_map(|ms| Op::Wait { ms }),
            8 => (1..50usize).prop_map(|bytes| Op::Enter { bytes }),
            4 => (0..120usize).prop_map(|bytes| Op::Leave { bytes }),
            1 => (0..500usize).prop_map(|bytes| Op::Truncate { bytes }),
            1 => (2..5usize).prop_map(|every| Op::Retain { every }),
        ]
    }

    /// Each byte with the time at which it came.
    #[derive(Default)]
    struct Model {
        pieces: VecDeque<(usize, Millis)>,
        now: Millis,
    }

    impl Model {
        fn bytes(&self) -> usize {
            self.pieces.iter().map(|(bytes, _)| bytes).sum()
        }

        fn leave(&mut self, mut bytes: usize) {
            while bytes > 0 {
                let first = &mut self.pieces[0].0;
                let taken = bytes.min(*first);
                (*first, bytes) = (*first - taken, bytes - taken);
                if *first == 0 {
                    self.pieces.pop_front();
                }
            }
        }

        fn step(&mut self, op: &Op, marks: &mut Marks) {
            match *op {
                Op::Wait { ms } => self.now = self.now + ms,
                Op::Enter { bytes } => {
                    marks.enter(bytes, self.now);
                    self.pieces.push_back((bytes, self.now));
                }
                Op::Leave { bytes } => {
                    let bytes = bytes.min(self.bytes());
                    marks.leave(bytes);
                    self.leave(bytes);
                }
                Op::Truncate { bytes } => {
                    let bytes = bytes.min(self.bytes());
                    marks.truncate(bytes);
                    self.pieces.make_contiguous().reverse();
                    self.leave(self.bytes() - bytes);
                    self.pieces.make_contiguous().reverse();
                }
                Op::Retain { every } => {
                    let stays = |at: &usize| !at.is_multiple_of(every);
                    let pieces = self.pieces.iter().enumerate();
                    marks.retain(pieces.map(|(at, (bytes, _))| (*bytes, stays(&at))));
                    let mut at = 0..;
                    self.pieces.retain(|_| at.next().as_ref().is_some_and(stays));
                }
            }
        }

        fn check(&self, marks: &Marks) {
            marks.check_invariants(self.bytes());
            let first = self.pieces.front().map(|(_, since)| *since);
            assert_eq!(marks.oldest().is_some(), first.is_some());
            let (Some(shown), Some(first)) = (marks.oldest(), first) else { return };
            let (shown, age) = (self.now.since(shown), self.now.since(first));
            let most = age + age.max(RESOLUTION_MS);
            assert!((age..=most).contains(&shown), "{shown} ms are shown of {age} ms");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn the_first_byte_is_as_old_as_shown(ops in proptest::collection::vec(op(), 1..200)) {
            let (mut model, mut marks) = (Model::default(), Marks::default());
            for op in &ops {
                model.step(op, &mut marks);
                model.check(&marks);
            }
        }
    }

    /// Whatever comes, and however long nothing goes.
    #[test]
    fn marks_are_few() {
        for every_ms in [1, 100, 150, 300_000] {
            let (mut model, mut marks) = (Model::default(), Marks::default());
            for step in 0..100_000u64 {
                model.now = Millis(step * every_ms);
                marks.enter(1, model.now);
                assert!(marks.marks.len() <= 64, "{} after {step} steps", marks.marks.len());
            }
            assert_eq!(marks.oldest(), Some(Millis(0)));
        }
    }

    /// A reader that lags by the same time for ever: no mark stays behind.
    #[test]
    fn what_lags_for_long_is_shown_as_it_lags() {
        let mut marks = Marks::default();
        for ms in 0..100_000 {
            marks.enter(10, Millis(ms));
            if ms >= 2_000 {
                marks.leave(10);
                let age = Millis(ms).since(marks.oldest().unwrap());
                assert!((1_999..=3_998).contains(&age), "{age} ms at {ms}");
            }
        }
    }
}
