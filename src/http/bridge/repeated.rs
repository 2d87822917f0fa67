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
    /// Entries of each who has some, where who asks is nobody in particular.
    shares: BTreeMap<Digest, usize>,
}

type Digest = [u8; 32];

#[derive(Debug)]
struct Entry {
    /// Whose it is, where who asks is nobody in particular.
    owner: Option<Digest>,
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
    /// `owner`: where strangers come by one way, what tells them apart. Each has keys of its own,
    /// and a share of those that are remembered.
    pub(super) fn begin(
        &mut self,
        owner: Option<&str>,
        key: &[u8],
        body: &[u8],
        now: Instant,
    ) -> Begun {
        while let Some((since, _)) = self.order.front()
            && now.duration_since(*since) >= KEPT
        {
            self.drop_at(0);
        }
        let owner = owner.map(|owner| digest_of(owner.as_bytes()));
        let own = owner.unwrap_or_default();
        let (key, body) = (digest_of(&[&own[..], key].concat()), digest_of(body));
        if let Some(entry) = self.entries.get(&key) {
            return match &entry.answer {
                _ if entry.body != body => Begun::Other,
                Some(answer) => Begun::Known(answer.clone()),
                None => Begun::UnderWay,
            };
        }
        if owner.is_some_and(|owner| self.shares.get(&owner) >= Some(&SHARE)) {
            let is_own = |(_, key): &(Instant, Digest)| self.entries[key].owner == owner;
            if !self.order.iter().position(is_own).is_some_and(|at| self.drop_answered(at)) {
                return Begun::Full;
            }
        }
        while self.entries.len() >= MOST || self.answer_bytes > MOST_BYTES {
            if !self.drop_answered(0) {
                return Begun::Full;
            }
        }
        self.entries.insert(key, Entry { owner, body, answer: None });
        self.order.push_back((now, key));
        if let Some(owner) = owner {
            *self.shares.entry(owner).or_default() += 1;
        }
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
        if let Some(at) = self.order.iter().position(|(_, key)| *key == name.0) {
            self.drop_at(at);
        }
    }

    /// Forgets one of those in order, if it is not under way.
    fn drop_answered(&mut self, at: usize) -> bool {
        let entry = self.order.get(at).and_then(|(_, key)| self.entries.get(key));
        let is_answered = entry.is_some_and(|entry| entry.answer.is_some());
        if is_answered {
            self.drop_at(at);
        }
        is_answered
    }

    fn drop_at(&mut self, at: usize) {
        let Some((_, key)) = self.order.remove(at) else { return };
        let Some(entry) = self.entries.remove(&key) else { return };
        self.answer_bytes -= entry.answer.map_or(0, |answer| answer.len());
        if let Some(owner) = entry.owner
            && let Some(share) = self.shares.get_mut(&owner)
        {
            *share -= 1;
            if *share == 0 {
                self.shares.remove(&owner);
            }
        }
    }
}

fn digest_of(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// How long a key is remembered.
pub(super) const KEPT: Duration = Duration::from_secs(600);

/// Keys of those who come by one way.
const MOST: usize = 4_096;

/// Those of one of several strangers.
const SHARE: usize = MOST / 8;

/// Bytes of their answers.
const MOST_BYTES: usize = 1024 * 1024;

/// Bytes of the longest key.
pub(super) const LONGEST_KEY: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(repeated: &mut Repeated, key: &str, now: Instant) -> Name {
        let Begun::New(name) = repeated.begin(None, key.as_bytes(), b"body", now) else {
            panic!("{key}")
        };
        name
    }

    #[test]
    fn the_same_request_is_answered_as_before() {
        let (mut repeated, now) = (Repeated::default(), Instant::now());
        let name = begin(&mut repeated, "a", now);
        assert_eq!(repeated.begin(None, b"a", b"body", now), Begun::UnderWay);
        repeated.finish(name, "one".into());
        assert_eq!(repeated.begin(None, b"a", b"body", now), Begun::Known("one".into()));
        assert_eq!(repeated.begin(None, b"a", b"other", now), Begun::Other);
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
        assert_eq!(repeated.begin(None, b"x", b"", now), Begun::Full);
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

    /// A stranger neither learns of another's keys, nor takes their place.
    #[test]
    fn strangers_have_keys_and_a_share_of_their_own() {
        let (mut repeated, now) = (Repeated::default(), Instant::now());
        let mut publish = |owner, key: &str, body: &[u8]| {
            let begun = repeated.begin(Some(owner), key.as_bytes(), body, now);
            if let Begun::New(name) = begun {
                repeated.finish(name, "done".into());
            }
            begun
        };
        assert!(matches!(publish("ann", "order", b"one"), Begun::New(_)));
        assert!(matches!(publish("eve", "order", b"two"), Begun::New(_)));
        for n in 0..2 * MOST {
            assert!(matches!(publish("eve", &n.to_string(), b""), Begun::New(_)));
        }
        assert_eq!(publish("ann", "order", b"one"), Begun::Known("done".into()));
        assert!(matches!(publish("eve", "order", b"two"), Begun::New(_)), "its own is forgotten");
        assert_eq!(repeated.entries.len(), SHARE + 1);
        assert_eq!(repeated.shares.values().sum::<usize>(), SHARE + 1);
        for n in 0..SHARE {
            repeated.begin(Some("joe"), n.to_string().as_bytes(), b"", now);
        }
        assert_eq!(repeated.begin(Some("joe"), b"one more", b"", now), Begun::Full);
    }
}
