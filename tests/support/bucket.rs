//! The bucket of keys that nodes share: one order of writes, which each node reads at its own pace.
//!
//! Decides nothing by itself: who calls it chooses what is decided next, and what becomes of the
//! answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use stentor::cluster::bucket::{Action, Outcome, Write};

#[derive(Default)]
pub(crate) struct Bucket {
    /// Each write that was made, in its order: its revision is its place, from 1.
    made: Vec<(Box<str>, Option<Vec<u8>>)>,
    /// The last write of each key that stands.
    standing: BTreeMap<Box<str>, u64>,
    /// That of each key that ever did.
    last: BTreeMap<Box<str>, u64>,
    /// Writes of keys that were purged: no watch tells that, nor them any more.
    purged: BTreeSet<u64>,
    /// What was asked for, by which process of which node.
    asked: VecDeque<(usize, u32, Write)>,
    /// How far each node has read.
    watches: BTreeMap<usize, Watch>,
    /// So many processes have begun to read.
    opened: u32,
    /// The nodes that do not reach it.
    pub(crate) away: BTreeSet<usize>,
    /// The nodes whose watch tells nothing, until it is opened anew.
    pub(crate) silent: BTreeSet<usize>,
    /// Nobody decides, though it can be read.
    pub(crate) has_no_leader: bool,
}

#[derive(Clone, Copy, Default)]
struct Watch {
    process: u32,
    read: usize,
    is_current: bool,
    /// It begins anew, from the start.
    is_reset: bool,
}

/// What a watch tells.
pub(crate) enum Told {
    Reset,
    Entry { revision: u64, key: Box<str>, value: Option<Vec<u8>> },
    Current,
}

impl Bucket {
    pub(crate) fn ask(&mut self, node: usize, write: Write) {
        let process = self.watches.get(&node).map_or(0, |watch| watch.process);
        self.asked.push_back((node, process, write));
    }

    /// Somebody waits for an answer that it will get.
    pub(crate) fn has_questions(&self) -> bool {
        !self.has_no_leader && self.asked.iter().any(|(node, ..)| !self.away.contains(node))
    }

    /// The first write that was asked for is made, or not, and answered or not. Returns for whom
    /// the answer is, if the process still runs that asked.
    pub(crate) fn decide(&mut self, (is_made, is_answered): (bool, bool)) -> Option<Answer> {
        let (node, process, write) = self.asked.pop_front()?;
        let is_lost = self.has_no_leader || self.away.contains(&node);
        let outcome = if is_made && !is_lost { self.write(&write) } else { Outcome::Unknown };
        let outcome = if is_answered { outcome } else { Outcome::Unknown };
        let is_there = self.watches.get(&node).is_some_and(|watch| watch.process == process);
        is_there.then_some(Answer { node, ticket: write.ticket, outcome })
    }

    /// The first write that was asked for comes behind all others.
    pub(crate) fn delay(&mut self) {
        let first = self.asked.pop_front();
        self.asked.extend(first);
    }

    fn write(&mut self, Write { key, action, .. }: &Write) -> Outcome {
        let standing = self.standing.get(key).copied();
        match action {
            Action::Create(value) if standing.is_none() => self.put(key, Some(value)),
            Action::Replace { revision, value } if standing == Some(*revision) => {
                self.put(key, Some(value))
            }
            Action::Remove { revision } if standing == Some(*revision) => self.put(key, None),
            Action::Purge => {
                let keys: Vec<_> = self.standing.keys().cloned().collect();
                for purged in keys.into_iter().filter(|standing| standing.starts_with(&**key)) {
                    self.purged.extend(self.standing.remove(&purged));
                }
                Outcome::Written(0)
            }
            Action::Create(_) | Action::Replace { .. } | Action::Remove { .. } => Outcome::Refused,
        }
    }

    fn put(&mut self, key: &str, value: Option<&Vec<u8>>) -> Outcome {
        self.made.push((key.into(), value.cloned()));
        let revision = self.made.len() as u64;
        self.last.insert(key.into(), revision);
        match value {
            Some(_) => drop(self.standing.insert(key.into(), revision)),
            None => drop(self.standing.remove(key)),
        }
        Outcome::Written(revision)
    }

    /// A process of the node begins to read, from the start.
    pub(crate) fn open(&mut self, node: usize) {
        self.opened += 1;
        self.silent.remove(&node);
        self.watches.insert(node, Watch { process: self.opened, ..Watch::default() });
    }

    /// The next thing that a node's watch tells. What a later write has replaced it does not tell.
    pub(crate) fn tell(&mut self, node: usize) -> Option<Told> {
        let is_told = self.tells(node);
        let watch = self.watches.get_mut(&node).filter(|_| is_told)?;
        if std::mem::take(&mut watch.is_reset) {
            return Some(Told::Reset);
        }
        while let Some((key, value)) = self.made.get(watch.read) {
            watch.read += 1;
            let revision = watch.read as u64;
            if self.purged.contains(&revision) {
                continue;
            }
            let is_last = self.last.get(key) == Some(&revision);
            if is_last || watch.is_current {
                return Some(Told::Entry { revision, key: key.clone(), value: value.clone() });
            }
        }
        (!std::mem::replace(&mut watch.is_current, true)).then_some(Told::Current)
    }

    fn tells(&self, node: usize) -> bool {
        !self.away.contains(&node) && !self.silent.contains(&node)
    }

    pub(crate) fn has_news(&self, node: usize) -> bool {
        let watch = self.watches.get(&node).filter(|_| self.tells(node));
        watch.is_some_and(|watch| {
            !watch.is_current || watch.is_reset || watch.read < self.made.len()
        })
    }

    /// Somebody deletes it, and it is made anew.
    pub(crate) fn empty(&mut self) {
        self.made.clear();
        self.purged.clear();
        self.standing.clear();
        self.last.clear();
        // That is noticed.
        self.silent.clear();
        for watch in self.watches.values_mut() {
            *watch = Watch { is_reset: true, process: watch.process, ..Watch::default() };
        }
    }

    /// The keys that stand.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.standing.keys().map(|key| &**key)
    }
}

/// What became of a write, and for whom that is of interest.
pub(crate) struct Answer {
    pub(crate) node: usize,
    pub(crate) ticket: u64,
    pub(crate) outcome: Outcome,
}
