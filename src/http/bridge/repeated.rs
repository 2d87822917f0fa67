//! Requests that come again with the key that their client has given them (`Idempotency-Key`): they
//! are answered as the first time, and nothing is done twice.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// What was asked with which key of late, by those who come by one way.
#[derive(Debug, Default)]
pub(super) struct Repeated {
    entries: BTreeMap<Digest, Entry>,
    /// The oldest first.
    order: VecDeque<(Instant, Digest)>,
    /// Bytes of the answers.
    answer_bytes: usize,
}

type Digest = [u8; 32];

#[derive(Debug)]
struct Entry {
    body: Digest,
    /// `None`: it is under way.
    answer: Option<Bytes>,
}

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// It is new: [`Repeated::finish`] is to follow, or [`Repeated::forget`].
    New(Name),
    /// It was answered so.
    Known(Bytes),
    /// The same key stood before another body.
    Other,
    UnderWay,
    /// Too many are under way to remember one more.
    Full,
}

/// Names a request that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name(Digest);

impl Repeated {
    pub(super) fn begin(&mut self, key: &[u8], body: &[u8], now: Instant) -> Begun {
        while let Some((since, _)) = self.order.front()
            && now.duration_since(*since) >= KEPT
        {
            self.drop_oldest();
        }
        let (key, body) = (digest_of(key), digest_of(body));
        if let Some(entry) = self.entries.get(&key) {
            return match &entry.answer {
                _ if entry.body != body => Begun::Other,
                Some(answer) => Begun::Known(answer.clone()),
                None => Begun::UnderWay,
            };
        }
        while self.entries.len() >= MOST || self.answer_bytes > MOST_BYTES {
            let oldest = self.order.front().and_then(|(_, key)| self.entries.get(key));
            if oldest.is_some_and(|entry| entry.answer.is_none()) {
                return Begun::Full;
            }
            self.drop_oldest();
        }
        self.entries.insert(key, Entry { body, answer: None });
        self.order.push_back((now, key));
        Begun::New(Name(key))
    }

    /// Something was done, and this is the answer.
    pub(super) fn finish(&mut self, name: Name, answer: Bytes) {
        if let Some(entry) = self.entries.get_mut(&name.0) {
            self.answer_bytes += answer.len();
            entry.answer = Some(answer);
        }
    }

    /// Nothing was done, or nobody knows: it may be tried again.
    pub(super) fn forget(&mut self, name: Name) {
        self.entries.remove(&name.0);
        self.order.retain(|(_, key)| *key != name.0);
    }

    fn drop_oldest(&mut self) {
        let Some((_, key)) = self.order.pop_front() else { return };
        let answer = self.entries.remove(&key).and_then(|entry| entry.answer);
        self.answer_bytes -= answer.map_or(0, |answer| answer.len());
    }
}

fn digest_of(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// How long a key is remembered.
pub(super) const KEPT: Duration = Duration::from_secs(600);

/// Keys of those who come by one way.
const MOST: usize = 4_096;

/// Bytes of their answers.
const MOST_BYTES: usize = 1024 * 1024;

/// Bytes of the longest key.
pub(super) const LONGEST_KEY: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(repeated: &mut Repeated, key: &str, now: Instant) -> Name {
        let Begun::New(name) = repeated.begin(key.as_bytes(), b"body", now) else {
            panic!("{key}")
        };
        name
    }

    #[test]
    fn the_same_request_is_answered_as_before() {
        let (mut repeated, now) = (Repeated::default(), Instant::now());
        let name = begin(&mut repeated, "a", now);
        assert_eq!(repeated.begin(b"a", b"body", now), Begun::UnderWay);
        repeated.finish(name, "one".into());
        assert_eq!(repeated.begin(b"a", b"body", now), Begun::Known("one".into()));
        assert_eq!(repeated.begin(b"a", b"other", now), Begun::Other);
        begin(&mut repeated, "a", now + KEPT);
        let name = begin(&mut repeated, "b", now);
        repeated.forget(name);
        begin(&mut repeated, "b", now);
    }

    #[test]
    fn old_ones_make_room_and_those_under_way_do_not() {
        let (mut repeated, now) = (Repeated::default(), Instant::now());
        let first = begin(&mut repeated, "first", now);
        for n in 1..MOST {
            begin(&mut repeated, &n.to_string(), now);
        }
        assert_eq!(repeated.begin(b"x", b"", now), Begun::Full);
        repeated.finish(first, "one".into());
        begin(&mut repeated, "x", now);
        assert_eq!((repeated.entries.len(), repeated.answer_bytes), (MOST, 0));
        let mut repeated = Repeated::default();
        for n in 0..3 {
            let name = begin(&mut repeated, &n.to_string(), now);
            repeated.finish(name, vec![0; MOST_BYTES].into());
        }
        assert_eq!(repeated.entries.len(), 2, "what is over the bound goes with the next one");
        begin(&mut repeated, "late", now + KEPT);
        assert_eq!((repeated.entries.len(), repeated.answer_bytes), (1, 0));
    }
}
