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
    /// What each has who has some, where who asks is nobody in particular.
    shares: BTreeMap<Digest, Share>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    entries: usize,
    answer_bytes: usize,
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
        while owner.and_then(|owner| self.shares.get(&owner)).is_some_and(|share| share.is_full()) {
            if !self.drop_answered(owner) {
                return Begun::Full;
            }
        }
        while self.entries.len() >= MOST || self.answer_bytes > MOST_BYTES {
            // Its own first.
            let has_own = owner.is_some() && self.drop_answered(owner);
            if !has_own && !self.drop_answered(None) {
                return Begun::Full;
            }
        }
        self.entries.insert(key, Entry { owner, body, answer: None });
        self.order.push_back((now, key));
        if let Some(owner) = owner {
            self.shares.entry(owner).or_default().entries += 1;
        }
        Begun::New(Name(key))
    }

    /// Something was done, and this is the answer.
    pub(super) fn finish(&mut self, name: Name, answer: Bytes) {
        if let Some(entry) = self.entries.get_mut(&name.0) {
            self.answer_bytes += answer.len();
            if let Some(share) = entry.owner.and_then(|owner| self.shares.get_mut(&owner)) {
                share.answer_bytes += answer.len();
            }
            entry.answer = Some(answer);
        }
    }

    /// Nothing was done, or nobody knows: it may be tried again.
    pub(super) fn forget(&mut self, name: Name) {
        if let Some(at) = self.order.iter().position(|(_, key)| *key == name.0) {
            self.drop_at(at);
        }
    }

    /// Forgets the oldest that is not under way, of this owner or of anybody.
    fn drop_answered(&mut self, owner: Option<Digest>) -> bool {
        let may_go = |(_, key): &(Instant, Digest)| {
            let entry = &self.entries[key];
            entry.answer.is_some() && (owner.is_none() || entry.owner == owner)
        };
        let found = self.order.iter().position(may_go);
        if let Some(at) = found {
            self.drop_at(at);
        }
        found.is_some()
    }

    fn drop_at(&mut self, at: usize) {
        let Some((_, key)) = self.order.remove(at) else { return };
        let Some(entry) = self.entries.remove(&key) else { return };
        let answer_bytes = entry.answer.map_or(0, |answer| answer.len());
        self.answer_bytes -= answer_bytes;
        if let Some(owner) = entry.owner
            && let Some(share) = self.shares.get_mut(&owner)
        {
            share.entries -= 1;
            share.answer_bytes -= answer_bytes;
            if share.entries == 0 {
                self.shares.remove(&owner);
            }
        }
    }
}

impl Share {
    const fn is_full(self) -> bool {
        self.entries >= SHARE || self.answer_bytes > MOST_BYTES / 8
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
        assert_eq!(repeated.shares.values().map(|share| share.entries).sum::<usize>(), SHARE + 1);
        for n in 0..SHARE {
            repeated.begin(Some("joe"), n.to_string().as_bytes(), b"", now);
        }
        assert_eq!(repeated.begin(Some("joe"), b"one more", b"", now), Begun::Full);
    }

    /// Neither large answers of one nor what takes long makes others' keys be forgotten.
    #[test]
    fn large_answers_push_out_those_of_the_same_owner() {
        let (mut repeated, now) = (Repeated::default(), Instant::now());
        let slow = repeated.begin(Some("joe"), b"slow", b"", now);
        assert!(matches!(slow, Begun::New(_)));
        let Begun::New(first) = repeated.begin(Some("ann"), b"order", b"", now) else { panic!() };
        repeated.finish(first, "done".into());
        for n in 0..2_000 {
            let begun = repeated.begin(Some("eve"), n.to_string().as_bytes(), b"", now);
            let Begun::New(name) = begun else { panic!("{n}") };
            repeated.finish(name, vec![b'x'; 10_000].into());
        }
        assert!(repeated.answer_bytes < MOST_BYTES / 4);
        assert_eq!(repeated.begin(Some("ann"), b"order", b"", now), Begun::Known("done".into()));
        assert_eq!(repeated.begin(Some("joe"), b"slow", b"", now), Begun::UnderWay);
    }
}
