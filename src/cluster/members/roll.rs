//! Who stands in the bucket, as the watch has told it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::bucket::{ClaimKey, Key, NodeRecord, decode_seed};
use super::super::wire::Incarnation;
use super::departures::Departures;
use crate::clock::Millis;
use crate::router::{NodeName, NodeNumber, Nodes};

#[derive(Debug, Default)]
pub(super) struct Roll {
    nodes: BTreeMap<NodeNumber, Place>,
    /// Numbers whose key holds what no node has written.
    strange: BTreeSet<NodeNumber>,
    /// Numbers that somebody had, and gave up.
    marked: BTreeSet<NodeNumber>,
    seed: Option<u128>,
    /// The last write that was told.
    revision: u64,
    /// All that stood when the watch was opened has been told.
    is_current: bool,
    /// While a new watch tells all from the start: what stood before, and it has not told.
    unseen: BTreeSet<Key>,
    /// What was told of claims and was not taken.
    news: VecDeque<News>,
    pub(super) departures: Departures,
}

/// What the watch tells of claims, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum News {
    /// All is told from the start: what is not told until [`Self::Current`] has gone.
    Reset,
    Current,
    Stands {
        claim: ClaimKey,
        revision: u64,
        value: Box<[u8]>,
    },
    Gone {
        claim: ClaimKey,
        revision: u64,
    },
}

/// A node's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) record: NodeRecord,
    /// Its last write.
    pub(super) revision: u64,
    /// The write by which it became a member.
    pub(super) joined: u64,
    /// When this node has read the last one.
    read_at: Millis,
}

impl Place {
    /// Until when nobody removes it: before, it may serve clients.
    pub(super) fn stays_until(&self) -> Millis {
        match self.record.stops_ms.min(MOST_STOPS_MS) {
            0 => Millis(0),
            stops_ms => self.read_at + stops_ms,
        }
    }
}

impl Roll {
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) const fn is_current(&self) -> bool {
        self.is_current
    }

    pub(super) const fn seed(&self) -> Option<u128> {
        self.seed
    }

    pub(super) fn take(&mut self, revision: u64, key: &str, value: Option<&[u8]>, now: Millis) {
        self.revision = self.revision.max(revision);
        let Some(key) = Key::read(key) else { return };
        if let Key::Claim(claim) = key {
            self.news.push_back(match value {
                Some(value) => News::Stands { claim, revision, value: value.into() },
                None => News::Gone { claim, revision },
            });
            return;
        }
        self.unseen.remove(&key);
        match (key, value) {
            (Key::Seed, value) => self.seed = value.and_then(decode_seed),
            (Key::Node(number), Some(value)) => self.stands(number, (revision, value), now),
            (Key::Node(number), None) => {
                self.vacate(number);
                self.marked.insert(number);
            }
            (Key::Claim(_), _) => {}
        }
    }

    /// The next of what was told of claims; to be asked until there is none.
    pub(super) fn take_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    fn stands(&mut self, number: NodeNumber, (revision, value): (u64, &[u8]), now: Millis) {
        let record = NodeRecord::decode(value);
        let before = self.clear(number);
        if let Some(Place { record: before, .. }) = &before {
            let next = record.as_ref().filter(|record| record.name == before.name);
            if next.is_none_or(|record| record.incarnation != before.incarnation) {
                let (life, node) = (before.incarnation, before.name.clone());
                self.departures.note(life, node, next.is_some());
            }
        }
        let Some(record) = record else {
            self.strange.insert(number);
            return;
        };
        // What is told once more has stood all the time.
        let told = before.filter(|before| before.revision == revision);
        let read_at = told.map_or(now, |before| before.read_at);
        let joined = if record.joined == 0 { revision } else { record.joined.min(revision) };
        self.nodes.insert(number, Place { record, revision, joined, read_at });
    }

    /// The key of a number has gone.
    fn vacate(&mut self, number: NodeNumber) {
        if let Some(Place { record, .. }) = self.clear(number) {
            self.departures.note(record.incarnation, record.name, false);
        }
    }

    fn clear(&mut self, number: NodeNumber) -> Option<Place> {
        self.strange.remove(&number);
        self.marked.remove(&number);
        self.nodes.remove(&number)
    }

    /// The watch begins anew: what it does not tell before [`Self::current`] is there no more.
    pub(super) fn reset(&mut self) {
        (self.revision, self.is_current) = (0, false);
        self.news.push_back(News::Reset);
        let numbers = self.nodes.keys().chain(&self.strange).chain(&self.marked);
        self.unseen = numbers.copied().map(Key::Node).collect();
        self.unseen.extend(self.seed.map(|_| Key::Seed));
    }

    pub(super) fn current(&mut self) {
        self.is_current = true;
        self.news.push_back(News::Current);
        for key in std::mem::take(&mut self.unseen) {
            match key {
                Key::Seed => self.seed = None,
                Key::Node(number) => self.vacate(number),
                Key::Claim(_) => {}
            }
        }
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (NodeNumber, &Place)> {
        self.nodes.iter().map(|(number, place)| (*number, place))
    }

    pub(super) fn find(&self, incarnation: Incarnation) -> Option<(NodeNumber, &Place)> {
        self.nodes().find(|(_, place)| place.record.incarnation == incarnation)
    }

    pub(super) fn named(&self, name: &NodeName) -> Option<(NodeNumber, &Place)> {
        self.nodes().find(|(_, place)| place.record.name == *name)
    }

    pub(super) fn at(&self, number: NodeNumber) -> Option<&Place> {
        self.nodes.get(&number)
    }

    pub(super) fn is_taken(&self, number: NodeNumber) -> bool {
        self.nodes.contains_key(&number) || self.strange.contains(&number)
    }

    /// A number for a new node: one that nobody had lately, if there is one.
    pub(super) fn free(&self) -> Option<NodeNumber> {
        let numbers = || (0..Nodes::MOST).filter_map(NodeNumber::new);
        let mut free = numbers().filter(|number| !self.is_taken(*number));
        let fresh = free.clone().find(|number| !self.marked.contains(number));
        fresh.or_else(|| free.next())
    }
}

/// What a key says at most, whatever stands there: no node has more as its `node_timeout_ms`.
const MOST_STOPS_MS: u64 = 600_000;
