//! Nodes that join, leave, are removed and come back, at one bucket that decides at once.

use super::*;
use crate::cluster::bucket::decode_seed;

fn name(text: &str) -> NodeName {
    NodeName::new(text).expect("it is a name")
}

/// A bucket in which one thing happens after the other, and some nodes that use it.
#[derive(Default)]
pub(super) struct Bucket {
    pub(super) keys: BTreeMap<Box<str>, (u64, Vec<u8>)>,
    /// Each write, as a watch tells it.
    told: Vec<(Box<str>, Option<Vec<u8>>)>,
}

impl Bucket {
    pub(super) fn write(&mut self, write: &Write) -> Outcome {
        let standing = self.keys.get(&write.key).map(|(revision, _)| *revision);
        match &write.action {
            Action::Create(value) if standing.is_none() => self.put(&write.key, Some(value)),
            Action::Replace { revision, value } if standing == Some(*revision) => {
                self.put(&write.key, Some(value))
            }
            Action::Remove { revision } if standing == Some(*revision) => {
                self.put(&write.key, None)
            }
            Action::Purge => {
                self.keys.retain(|key, _| !key.starts_with(&*write.key));
                Outcome::Written(0)
            }
            _ => Outcome::Refused,
        }
    }

    fn put(&mut self, key: &str, value: Option<&Vec<u8>>) -> Outcome {
        self.told.push((key.into(), value.cloned()));
        let revision = self.told.len() as u64;
        match value {
            Some(value) => drop(self.keys.insert(key.into(), (revision, value.clone()))),
            None => drop(self.keys.remove(key)),
        }
        Outcome::Written(revision)
    }

    fn remove(&mut self, number: u8) {
        let key = format!("node.{number}");
        assert!(self.keys.contains_key(&*key), "it stands");
        self.put(&key, None);
    }
}

pub(super) struct Node {
    pub(super) members: Members,
    pub(super) now: Millis,
    read: usize,
}

impl Node {
    pub(super) fn new(text: &str, life: u8) -> Self {
        Self::with(text, life, None)
    }

    /// One that serves nobody without the bucket.
    pub(super) fn stopping(text: &str, life: u8) -> Self {
        Self::with(text, life, Some(STOPS_MS))
    }

    fn with(text: &str, life: u8, stops_ms: Option<u64>) -> Self {
        let identity = Identity { name: name(text), versions: Versions::OWN, digest: 1, stops_ms };
        Self { members: Members::new(identity, [life; 32]), now: Millis(1), read: 0 }
    }

    pub(super) fn watch(&mut self, bucket: &Bucket) {
        for (index, (key, value)) in bucket.told.iter().enumerate().skip(self.read) {
            self.members.handle_entry(index as u64 + 1, key, value.as_deref(), self.now);
        }
        self.read = bucket.told.len();
        self.members.handle_current();
    }

    /// Reads and writes until there is nothing more to do, however long that takes.
    pub(super) fn settle(&mut self, bucket: &mut Bucket) {
        for _ in 0..20 {
            self.watch(bucket);
            while let Some(write) = self.members.take_write(self.now) {
                let outcome = bucket.write(&write);
                self.members.handle_written(write.ticket, outcome, self.now);
                self.watch(bucket);
            }
            self.now = self.now + 100;
        }
    }

    fn number(&self) -> u8 {
        assert!(self.members.is_member() && self.members.ended().is_none());
        self.members.ids().expect("a member has ids").node().get()
    }

    pub(super) fn sees(&self) -> Vec<&str> {
        self.members.others().map(|(.., record)| record.name.as_str()).collect()
    }
}

#[test]
fn nodes_join_one_after_the_other_with_numbers_that_nobody_had() {
    let (mut bucket, mut a, mut b) = (Bucket::default(), Node::new("a", 1), Node::new("b", 2));
    assert_eq!(a.members.take_write(a.now), None, "nothing before the bucket was read");
    a.settle(&mut bucket);
    b.settle(&mut bucket);
    a.settle(&mut bucket);
    assert_eq!((a.number(), b.number()), (0, 1));
    assert_eq!((a.sees(), b.sees()), (vec!["b"], vec!["a"]));
    assert_eq!(b.members.elders().collect::<Vec<_>>(), [a.members.incarnation()]);
    assert_eq!(a.members.elders().count(), 0, "who comes later is waited for by nobody");
    // One key for all.
    let seed = bucket.keys.get("seed").and_then(|(_, value)| decode_seed(value));
    assert!(seed.is_some());
    assert_eq!((a.members.seed, b.members.seed), (seed, seed));
    // Who leaves takes its key along, and leaves its number for a while.
    a.members.leave();
    a.settle(&mut bucket);
    assert!(a.members.has_left() && a.members.take_write(a.now).is_none());
    b.settle(&mut bucket);
    assert!(b.sees().is_empty());
    let mut c = Node::new("c", 3);
    c.settle(&mut bucket);
    assert_eq!(c.number(), 2, "0 was used lately");
}

/// An answer that is lost, a write that was or was not made: both come to one key.
#[test]
fn a_lost_answer_costs_a_try() {
    for (is_made, is_refused) in [(true, false), (false, false), (false, true)] {
        let (mut bucket, mut a) = (Bucket::default(), Node::new("a", 1));
        a.watch(&bucket);
        let mut tries = 0;
        while !a.members.is_member() {
            tries += 1;
            assert!(tries < 20, "it gets in");
            a.watch(&bucket);
            let Some(write) = a.members.take_write(a.now) else {
                a.now = a.members.next_deadline().unwrap_or(a.now + 1);
                continue;
            };
            assert_eq!(a.members.take_write(a.now), None, "one thing at a time");
            // The first two tries have no answer.
            let outcome =
                if tries > 2 || is_made { bucket.write(&write) } else { Outcome::Refused };
            let lost = if is_refused { Outcome::Refused } else { Outcome::Unknown };
            let outcome = if tries > 2 { outcome } else { lost };
            a.members.handle_written(write.ticket, outcome, a.now);
        }
        a.settle(&mut bucket);
        let nodes = bucket.keys.keys().filter(|key| key.starts_with("node.")).count();
        assert_eq!((nodes, a.number()), (1, 0));
    }
}

#[test]
fn who_was_removed_comes_back_as_a_new_life_with_its_number() {
    let (mut bucket, mut a, mut b) = (Bucket::default(), Node::new("a", 1), Node::new("b", 2));
    a.settle(&mut bucket);
    b.settle(&mut bucket);
    a.settle(&mut bucket);
    let before = a.members.incarnation();
    b.members.remove(before);
    b.members.remove(before);
    let write = b.members.take_write(b.now).expect("it is to go");
    assert_eq!((&*write.key, &write.action), ("node.0", &Action::Remove { revision: 2 }));
    assert_eq!(b.members.take_write(b.now), None, "once");
    b.members.remove(before);
    assert_eq!(b.members.take_write(b.now), None, "while nobody has answered");
    let outcome = bucket.write(&write);
    b.members.handle_written(write.ticket, outcome, b.now);
    let purge = b.members.take_write(b.now).expect("its claims go, too");
    assert_eq!((&*purge.key, &purge.action), (&*format!("reg.{before}."), &Action::Purge));
    b.members.handle_written(purge.ticket, Outcome::Unknown, b.now);
    assert_eq!(b.members.take_write(b.now), None);
    assert_eq!(b.members.next_deadline(), Some(b.now + UNKNOWN_MS), "and until it is answered");
    a.settle(&mut bucket);
    b.settle(&mut bucket);
    assert_eq!((a.number(), b.number()), (0, 1));
    assert_ne!(a.members.incarnation(), before);
    assert_eq!(b.sees(), ["a"]);
    let now: Vec<_> = b.members.others().map(|(incarnation, ..)| incarnation).collect();
    assert_eq!(now, [a.members.incarnation()]);
}

/// A write of the life before that comes late is taken back, and is no namesake.
#[test]
fn a_late_try_of_the_former_life_is_removed() {
    let (mut bucket, mut a) = (Bucket::default(), Node::new("a", 1));
    a.settle(&mut bucket);
    let (former, value) = (a.members.incarnation(), bucket.keys["node.0"].1.clone());
    bucket.remove(0);
    a.watch(&bucket);
    assert!(!a.members.is_member());
    bucket.put("node.0", Some(&value));
    let claim = format!("reg.{former}.1");
    bucket.put(&claim, Some(&Vec::new()));
    a.settle(&mut bucket);
    assert_eq!(a.number(), 0);
    assert_ne!(a.members.incarnation(), former);
    assert!(!bucket.keys.contains_key(&*claim), "what it has claimed goes with it");
    // Under another number, too.
    let own = bucket.keys["node.0"].1.clone();
    bucket.put("node.9", Some(&own));
    a.settle(&mut bucket);
    assert_eq!(a.number(), 0);
    assert!(!bucket.keys.contains_key("node.9"));
}

#[test]
fn who_starts_under_a_members_name_takes_its_place() {
    let (mut bucket, mut a) = (Bucket::default(), Node::new("a", 1));
    a.settle(&mut bucket);
    let mut next = Node::new("a", 2);
    next.settle(&mut bucket);
    a.settle(&mut bucket);
    assert_eq!(next.number(), 0);
    assert_eq!(a.members.ended(), Some(&Ended::Replaced("a".into())));
    assert_eq!(a.members.take_write(a.now), None, "it leaves the other alone");
    assert_eq!(a.members.next_deadline(), None);
    let purged = next.members.purges.is_empty() && next.members.asked.is_empty();
    assert!(purged, "the claims of the former one have gone");
}

#[test]
fn who_cannot_be_a_member_says_why() {
    // Its number was given to another one.
    let (mut bucket, mut a) = (Bucket::default(), Node::new("a", 1));
    a.settle(&mut bucket);
    let mut record = a.members.record();
    record.name = name("z");
    record.incarnation = Incarnation(5);
    bucket.put("node.0", Some(&record.encode()));
    a.settle(&mut bucket);
    let taken = Ended::NumberTaken { number: 0, by: "z".into() };
    assert_eq!(a.members.ended(), Some(&taken));
    // Another version, which speaks nothing that this one does.
    let theirs = Versions { from: 7, to: 9 };
    record.versions = theirs;
    bucket.put("node.0", Some(&record.encode()));
    let mut b = Node::new("b", 2);
    b.settle(&mut bucket);
    let versions = Ended::Versions { name: "z".into(), theirs, own: Versions::OWN };
    assert_eq!(b.members.ended(), Some(&versions));
    // Nothing that anybody can read keeps its number taken.
    bucket.put("node.0", Some(&vec![0xff]));
    let mut c = Node::new("c", 3);
    c.settle(&mut bucket);
    assert_eq!(c.number(), 1);
    // No number is left.
    for number in 0..Nodes::MOST {
        record.name = name(&format!("n{number}"));
        (record.incarnation, record.versions) = (Incarnation(number.into()), Versions::OWN);
        bucket.put(&format!("node.{number}"), Some(&record.encode()));
    }
    let mut d = Node::new("d", 4);
    d.settle(&mut bucket);
    assert_eq!(d.members.ended(), Some(&Ended::Full(64)));
    // But for who takes a place over, or finds one that was used.
    let mut e = Node::new("n7", 5);
    e.settle(&mut bucket);
    assert_eq!(e.number(), 7);
    bucket.remove(9);
    let mut f = Node::new("f", 6);
    f.settle(&mut bucket);
    assert_eq!(f.number(), 9);
    let said = Ended::Replaced("a".into()).to_string();
    assert!(said.contains("`a`") && said.contains("--node"), "{said}");
}

/// The bucket was deleted: all write again what they had, with the same key.
#[test]
fn a_bucket_that_was_made_anew_gets_what_the_nodes_know() {
    let (mut bucket, mut a, mut b) = (Bucket::default(), Node::new("a", 1), Node::new("b", 2));
    a.settle(&mut bucket);
    b.settle(&mut bucket);
    a.settle(&mut bucket);
    let before = [a.members.incarnation(), b.members.incarnation()];
    let mut anew = Bucket::default();
    for node in [&mut b, &mut a] {
        node.members.handle_reset();
        assert_eq!(node.members.take_write(node.now), None, "not before it was read");
        assert!(node.members.is_member(), "nor is anything given up");
        node.read = 0;
        node.settle(&mut anew);
    }
    b.settle(&mut anew);
    assert_eq!((a.number(), b.number()), (0, 1));
    assert_eq!((a.sees(), b.sees()), (vec!["b"], vec!["a"]));
    assert_eq!(a.members.seed, decode_seed(&anew.keys["seed"].1));
    assert_eq!(a.members.seed, decode_seed(&bucket.keys["seed"].1));
    let now = [a.members.incarnation(), b.members.incarnation()];
    assert!(now.iter().all(|life| !before.contains(life)), "their keys had gone");
    // One that others have begun anew is none of theirs.
    let (mut other, mut c) = (Bucket::default(), Node::new("c", 9));
    c.settle(&mut other);
    a.members.handle_reset();
    a.read = 0;
    a.settle(&mut other);
    assert_eq!(a.members.ended(), Some(&Ended::OtherSeed));
    // A watch that tells everything once more changes nothing.
    c.members.handle_reset();
    c.read = 0;
    let life = c.members.incarnation();
    c.settle(&mut other);
    assert_eq!((c.members.incarnation(), c.number()), (life, 0));
}

#[test]
fn a_watch_that_lags_is_opened_anew() {
    let (mut bucket, mut a) = (Bucket::default(), Node::new("a", 1));
    a.settle(&mut bucket);
    let (now, revision) = (a.now, a.members.revision());
    a.members.handle_revision(revision, now);
    assert!(!a.members.wants_watch(now + LAG_MS), "it is where the others are");
    a.members.handle_revision(revision + 1, now);
    a.members.handle_revision(revision + 2, now + (LAG_MS - 1));
    assert!(!a.members.wants_watch(now + (LAG_MS - 1)), "it may be on its way");
    assert!(a.members.wants_watch(now + LAG_MS));
    assert!(!a.members.wants_watch(now + LAG_MS), "once");
    a.members.handle_revision(revision + 2, now + LAG_MS);
    a.members.handle_entry(revision + 2, "node.5", None, a.now);
    assert!(!a.members.wants_watch(now + 3 * LAG_MS), "it has come");
}

/// What the keys of nodes say that stop.
const STOPS_MS: u64 = 20_000;

impl Node {
    /// Writes its key again; returns what is to become of that.
    fn again(&mut self) -> Write {
        self.now = self.now.max(self.members.again_at().expect("it has a key"));
        let write = self.members.take_write(self.now).expect("it is due");
        assert!(matches!(write.action, Action::Replace { .. }), "{write:?}");
        assert_eq!(self.members.take_write(self.now), None, "one at a time");
        write
    }

    /// A watch that begins anew tells last writes alone.
    fn read_anew(&mut self, bucket: &Bucket) {
        self.members.handle_reset();
        let mut told: Vec<_> = bucket.keys.iter().collect();
        told.sort_unstable_by_key(|(_, (revision, _))| *revision);
        for (key, (revision, value)) in told {
            self.members.handle_entry(*revision, key, Some(value), self.now);
        }
        self.members.handle_current();
    }
}

/// It counts when a write was asked for: others may have read it long before the answer comes.
#[test]
fn who_stops_serves_for_so_long_after_it_has_asked() {
    let (mut bucket, mut a) = (Bucket::default(), Node::stopping("a", 1));
    assert!(!a.members.may_serve(a.now) && a.members.contact_ms(a.now).is_none());
    a.settle(&mut bucket);
    assert!(a.members.may_serve(a.now));
    let write = a.again();
    let asked_at = a.now;
    a.now = asked_at + 5_000;
    let outcome = bucket.write(&write);
    a.members.handle_written(write.ticket, outcome, a.now);
    let until = asked_at + (STOPS_MS - 2_000);
    assert_eq!(a.members.serves_until(), Some(until));
    assert_eq!(a.members.contact_ms(a.now), Some(5_000));
    assert!(a.members.may_serve(Millis(until.0 - 1)) && !a.members.may_serve(until));
    // On the condition of what was written, though the watch tells nothing.
    let write = a.again();
    let Outcome::Written(before) = outcome else { panic!("{outcome:?}") };
    assert!(matches!(write.action, Action::Replace { revision, .. } if revision == before));
    // It is made, and the answer lost: so is the next try, until the watch has told.
    let _ = bucket.write(&write);
    a.members.handle_written(write.ticket, Outcome::Unknown, a.now);
    assert_eq!(a.members.serves_until(), Some(until), "that proves nothing");
    let write = a.again();
    let refused = bucket.write(&write);
    assert_eq!(refused, Outcome::Refused);
    a.members.handle_written(write.ticket, refused, a.now);
    a.watch(&bucket);
    let write = a.again();
    let outcome = bucket.write(&write);
    a.members.handle_written(write.ticket, outcome, a.now);
    assert_eq!(a.members.serves_until(), Some(a.now + (STOPS_MS - 2_000)));
    // Its key is taken away: nothing is written in its place.
    let (until, ticket, write) = (a.members.serves_until(), write.ticket, a.again());
    assert!(write.ticket > ticket);
    bucket.remove(0);
    let refused = bucket.write(&write);
    a.members.handle_written(write.ticket, refused, a.now);
    assert_eq!((refused, a.members.serves_until()), (Outcome::Refused, until));
    a.settle(&mut bucket);
    assert!(a.members.serves_until() > until, "it has joined anew");
    assert_eq!((a.number(), a.members.removals().own), (0, 1));
}

/// A key that is written again has stood since its node became a member, for whoever reads it.
#[test]
fn elders_stay_elders() {
    let mut bucket = Bucket::default();
    let [mut a, mut b, mut c] = [("a", 1), ("b", 2), ("c", 3)].map(|(n, l)| Node::stopping(n, l));
    a.settle(&mut bucket);
    b.settle(&mut bucket);
    c.settle(&mut bucket);
    for _ in 0..3 {
        for node in [&mut a, &mut b, &mut c] {
            node.settle(&mut bucket);
        }
    }
    let lives = [&a, &b].map(|node| node.members.incarnation());
    let elders = |node: &Node| node.members.elders().collect::<Vec<_>>();
    a.read_anew(&bucket);
    c.read_anew(&bucket);
    assert_eq!((elders(&a), elders(&b)), (vec![], vec![lives[0]]));
    assert_eq!(elders(&c), lives);
    // And for one that has never read anything else.
    let mut d = Node::stopping("d", 4);
    d.read_anew(&bucket);
    let joined: Vec<_> = d.members.roll.nodes().map(|(_, place)| place.joined).collect();
    assert!(joined.is_sorted() && joined.iter().all(|joined| *joined < 10), "{joined:?}");
}

/// Who starts under the name of one that may serve clients waits until it cannot.
#[test]
fn a_name_is_taken_when_nobody_serves_under_it() {
    let (mut bucket, mut a) = (Bucket::default(), Node::stopping("a", 1));
    a.settle(&mut bucket);
    // Whatever the new one has to say of itself.
    let mut b = Node::new("a", 2);
    b.watch(&bucket);
    let read_at = b.now;
    assert_eq!(b.members.take_write(b.now), None);
    assert_eq!(b.members.next_deadline(), Some(read_at + STOPS_MS));
    assert_eq!(b.members.waits_for_namesake(b.now), Some(STOPS_MS));
    // The other one shows that it lives.
    b.now = read_at + (STOPS_MS - 1);
    let write = a.again();
    let _ = bucket.write(&write);
    b.watch(&bucket);
    let read_at = b.now;
    b.now = read_at + (STOPS_MS - 1);
    assert_eq!(b.members.take_write(b.now), None);
    // What is told once more has stood all the time.
    b.read_anew(&bucket);
    b.now = read_at + STOPS_MS;
    let write = b.members.take_write(b.now).expect("nobody serves under it any more");
    let outcome = bucket.write(&write);
    b.members.handle_written(write.ticket, outcome, b.now);
    b.watch(&bucket);
    assert_eq!((b.number(), b.members.waits_for_namesake(b.now)), (0, None));
    a.settle(&mut bucket);
    assert_eq!(a.members.ended(), Some(&Ended::Replaced("a".into())));
}

/// What stands in a key has its bound.
#[test]
fn no_key_stays_for_ever() {
    let mut bucket = Bucket::default();
    let record = NodeRecord { stops_ms: u64::MAX, ..Node::new("a", 1).members.record() };
    bucket.put("node.0", Some(&record.encode()));
    let mut b = Node::new("a", 2);
    b.settle(&mut bucket);
    assert!(!b.members.is_member());
    b.now = b.now + 600_000;
    b.settle(&mut bucket);
    assert_eq!(b.number(), 0);
}
