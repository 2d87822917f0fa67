//! Who is of the cluster: what this node writes into the bucket to become a member, to stay one and
//! to leave, and to remove who is not heard any more.
//!
//! Pure. The bucket decides: a node is a member while its key stands there, and each node reads the
//! same writes in the same order. What is written follows from what was read, not from what was
//! answered: so an answer that is lost costs a try, and nothing else.

mod contact;
mod departures;
mod ended;
mod roll;

use std::collections::{BTreeMap, VecDeque};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::bucket::{
    Action, ClaimKey, Key, NodeRecord, Outcome, SEED_KEY, Write, claim_key, claims_prefix,
    encode_seed, node_key,
};
use super::wire::{Incarnation, Versions};
use crate::clock::Millis;
use crate::router::{NodeIds, NodeName, NodeNumber, Nodes};
use contact::Contact;
pub use departures::{Departure, Way};
pub use ended::Ended;
pub(super) use roll::News;
use roll::{Place, Roll};

/// Who a node is, for the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// No other node of the cluster has it; who starts under it takes the place of who has.
    pub name: NodeName,
    pub versions: Versions,
    /// Of what the configurations of all nodes should have alike.
    pub digest: u64,
    /// It serves nobody unless it has proved lately that the bucket is there for it: in how many
    /// milliseconds others may remove it, and not sooner. `None`: it serves in any case.
    pub stops_ms: Option<u64>,
}

#[derive(Debug)]
pub struct Members {
    identity: Identity,
    rng: StdRng,
    incarnation: Incarnation,
    /// The life before this one.
    former: Option<Incarnation>,
    /// The life of another process under this name, whose place this node takes.
    replaced: Option<Incarnation>,
    /// The cluster's key, once it was read: it is the same as long as this process lives, since the
    /// ids of its sessions are made of it.
    seed: Option<u128>,
    /// For the case that the cluster has none.
    drawn_seed: u128,
    /// This node's, once its key stood; for life, as the ids of its sessions tell it.
    number: Option<NodeNumber>,
    standing: Standing,
    ended: Option<Ended>,
    roll: Roll,
    own: OwnWrite,
    /// If clients are served with it alone.
    contact: Option<Contact>,
    /// What has to be asked for.
    writes: VecDeque<(Purpose, Box<str>, Action)>,
    /// What was asked for and not answered.
    asked: BTreeMap<u64, Purpose>,
    last_ticket: u64,
    /// Claims of nodes that were removed, to be removed with them: not before.
    purges: BTreeMap<Incarnation, Millis>,
    /// The furthest that the bucket is known to be, and since when it is known.
    ahead: (u64, Millis),
    removals: Removals,
}

/// How often nodes had to go that have not left by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    /// Other members that this node has removed.
    pub others: u64,
    /// Times that this node was removed, or its key has gone with the bucket.
    pub own: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Not a member yet, or not any more.
    Out,
    /// A member; with the revision that made it one.
    In(u64),
    /// To be removed by itself.
    Leaving,
    Left,
}

/// How far this node is with what it writes for itself: one thing at a time.
#[derive(Clone, Copy, Debug, Default)]
struct OwnWrite {
    is_asked: bool,
    /// Nothing before this; after a refusal or silence.
    not_before: Millis,
    /// Nothing before this was told.
    told: u64,
    /// It is not to become a member yet.
    is_held: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Own,
    /// The own key once more, as it was asked for then.
    Again(Millis),
    Remove(Incarnation),
    Purge(Incarnation),
    /// Of a claim of this node.
    Claim(ClaimKey),
}

impl Members {
    /// A node that is to become a member. `random` is of the operating system.
    pub fn new(identity: Identity, random: [u8; 32]) -> Self {
        let mut rng = StdRng::from_seed(random);
        let (incarnation, drawn_seed) = (Incarnation(rng.random()), rng.random());
        let contact = identity.stops_ms.map(Contact::new);
        Self {
            identity,
            rng,
            incarnation,
            former: None,
            replaced: None,
            seed: None,
            drawn_seed,
            number: None,
            standing: Standing::Out,
            ended: None,
            roll: Roll::default(),
            own: OwnWrite::default(),
            contact,
            writes: VecDeque::new(),
            asked: BTreeMap::new(),
            last_ticket: 0,
            purges: BTreeMap::new(),
            ahead: (0, Millis(0)),
            removals: Removals::default(),
        }
    }

    /// Which life of which node this is. It changes when others have removed this node.
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    pub const fn removals(&self) -> Removals {
        self.removals
    }

    /// How many writes of the bucket others have read that this node has not.
    pub const fn lag(&self) -> u64 {
        self.ahead.0.saturating_sub(self.roll.revision())
    }

    /// What the ids of this node's sessions and patterns are made of: since it has become a member.
    pub fn ids(&self) -> Option<NodeIds> {
        Some(NodeIds::new(self.number?, self.seed?))
    }

    /// Why this node cannot be a member any more, if so.
    pub const fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    pub const fn is_member(&self) -> bool {
        matches!(self.standing, Standing::In(_))
    }

    /// Whether its own key has gone by its own wish.
    pub const fn has_left(&self) -> bool {
        matches!(self.standing, Standing::Left)
    }

    /// The last revision that was told: from the next one a watch is opened anew.
    pub const fn revision(&self) -> u64 {
        self.roll.revision()
    }

    /// The other members, if this node is one.
    pub fn others(&self) -> impl Iterator<Item = (Incarnation, NodeNumber, &NodeRecord)> {
        let others = self.roll.nodes().filter(|_| self.is_in_touch());
        let others = others.filter(|(_, place)| place.record.incarnation != self.incarnation);
        others.map(|(number, place)| (place.record.incarnation, number, &place.record))
    }

    /// Those who were members when this node became one.
    pub fn elders(&self) -> impl Iterator<Item = Incarnation> {
        let since = if let Standing::In(since) = self.standing { since } else { 0 };
        let elders = self.roll.nodes().filter(move |(_, place)| place.joined < since);
        elders.map(|(_, place)| place.record.incarnation)
    }

    const fn is_in_touch(&self) -> bool {
        matches!(self.standing, Standing::In(_) | Standing::Leaving)
    }

    /// The watch tells a write: the value of a key, or that it has gone.
    pub fn handle_entry(&mut self, revision: u64, key: &str, value: Option<&[u8]>, now: Millis) {
        self.roll.take(revision, key, value, now);
        self.look();
    }

    /// All that stood when the watch was opened has been told.
    pub fn handle_current(&mut self) {
        self.roll.current();
        self.look();
    }

    /// A watch was opened that tells all from the start: what it does not tell until
    /// [`Self::handle_current`] has gone.
    pub fn handle_reset(&mut self) {
        self.roll.reset();
        self.own.told = 0;
        self.ahead.0 = 0;
        if let Some(contact) = &mut self.contact {
            contact.forget_revision();
        }
    }

    /// Somebody has read as far as this revision.
    pub fn handle_revision(&mut self, revision: u64, now: Millis) {
        if revision > self.ahead.0 {
            let was_behind = self.ahead.0 > self.roll.revision();
            self.ahead = (revision, if was_behind { self.ahead.1 } else { now });
        }
    }

    /// Whether the watch lags behind what others have read: it should be opened anew, behind
    /// [`Self::revision`]. Says so once in a while.
    pub fn wants_watch(&mut self, now: Millis) -> bool {
        let is_behind = self.ahead.0 > self.roll.revision();
        let wants = is_behind && now.since(self.ahead.1) >= LAG_MS;
        if wants {
            // Whoever still knows of more says so again.
            self.ahead.0 = 0;
        }
        wants
    }

    /// Whether a key is of a claim.
    pub(super) fn is_claim(key: &str) -> bool {
        matches!(Key::read(key), Some(Key::Claim(_)))
    }

    /// What was told of claims: the next of it; to be asked until there is none.
    pub(super) fn take_news(&mut self) -> Option<News> {
        self.roll.take_news()
    }

    /// Whether the key of this life of a node stands. One whose key has gone never comes back.
    pub(super) fn stands(&self, life: Incarnation) -> bool {
        self.roll.find(life).is_some()
    }

    /// The lives whose keys stand, and their nodes.
    pub(super) fn standing(&self) -> impl Iterator<Item = (Incarnation, &NodeName)> {
        self.roll.nodes().map(|(_, place)| (place.record.incarnation, &place.record.name))
    }

    /// This node is not to become a member yet, or may.
    pub(super) const fn hold_entry(&mut self, holds: bool) {
        self.own.is_held = holds;
    }

    /// Whether no other member has a lower number.
    pub(super) fn is_first(&self) -> bool {
        let first = self.roll.nodes().next();
        first.is_some_and(|(_, place)| place.record.incarnation == self.incarnation)
    }

    /// Asks for a write of a claim of this life; [`Self::take_written`] gives its outcome.
    pub(super) fn write_claim(&mut self, claim: ClaimKey, action: Action) {
        self.writes.push_back((Purpose::Claim(claim), claim_key(claim), action));
    }

    /// The claims of a node whose key has gone are to be removed.
    pub(super) fn purge(&mut self, gone: Incarnation, now: Millis) {
        self.purges.entry(gone).or_insert(now);
    }

    /// An answer to a write that was taken.
    pub fn handle_written(&mut self, ticket: u64, outcome: Outcome, now: Millis) {
        self.take_written(ticket, outcome, now);
    }

    /// The same. Returns the outcome for a claim, if it was the write of one.
    pub(in crate::cluster) fn take_written(
        &mut self,
        ticket: u64,
        outcome: Outcome,
        now: Millis,
    ) -> Option<(ClaimKey, Outcome)> {
        let purpose = self.asked.remove(&ticket)?;
        let mut of_claim = None;
        match (purpose, outcome) {
            (Purpose::Claim(claim), _) => {
                if let Outcome::Written(revision) = outcome {
                    self.handle_revision(revision, now);
                }
                of_claim = Some((claim, outcome));
            }
            (Purpose::Again(asked_at), outcome) => {
                if let Some(contact) = &mut self.contact {
                    contact.handle_written(asked_at, outcome, now);
                }
                if let Outcome::Written(revision) = outcome {
                    self.handle_revision(revision, now);
                }
            }
            (Purpose::Own, Outcome::Written(revision)) => {
                (self.own.is_asked, self.own.told) = (false, revision);
                self.handle_revision(revision, now);
            }
            (Purpose::Own, outcome) => {
                let wait = if outcome == Outcome::Refused { REFUSED_MS } else { UNKNOWN_MS };
                (self.own.is_asked, self.own.not_before) = (false, now + wait);
            }
            (Purpose::Remove(gone), Outcome::Written(_)) => {
                self.removals.others += 1;
                let stands = self.stands(gone);
                self.roll.departures.note_removed(gone, stands);
                self.purges.insert(gone, now);
            }
            // The watch tells what stands there instead; or the node is asked to go once more.
            (Purpose::Remove(_), Outcome::Refused | Outcome::Unknown) => {}
            (Purpose::Purge(gone), Outcome::Unknown) => {
                self.purges.insert(gone, now + UNKNOWN_MS);
            }
            (Purpose::Purge(_), Outcome::Written(_) | Outcome::Refused) => {}
        }
        self.look();
        of_claim
    }

    /// Another member is not heard any more: it is to be one no longer. To be said until it is
    /// gone.
    pub fn remove(&mut self, member: Incarnation) {
        let purpose = Purpose::Remove(member);
        if !self.is_member() || self.is_asked(purpose) {
            return;
        }
        if let Some((number, place)) = self.roll.find(member) {
            let action = Action::Remove { revision: place.revision };
            // Claims may be many, and wait for this.
            self.writes.push_front((purpose, node_key(number), action));
        }
    }

    /// This node is to be a member no longer.
    pub fn leave(&mut self) {
        if self.standing != Standing::Left {
            self.standing = Standing::Leaving;
        }
        self.look();
    }

    /// The next write; to be asked until there is none.
    pub fn take_write(&mut self, now: Millis) -> Option<Write> {
        let (purpose, key, action) = self.next_write(now)?;
        self.last_ticket += 1;
        self.asked.insert(self.last_ticket, purpose);
        Some(Write { ticket: self.last_ticket, key, action })
    }

    fn next_write(&mut self, now: Millis) -> Option<(Purpose, Box<str>, Action)> {
        // Before all others, and though not all was told: it is a matter of time.
        if let Some((key, action)) = self.write_again(now) {
            return Some((Purpose::Again(now), key, action));
        }
        if !self.roll.is_current() {
            return None;
        }
        if let Some(write) = self.writes.pop_front() {
            return Some(write);
        }
        let due = self.purges.iter().find(|(_, at)| **at <= now).map(|(gone, _)| *gone);
        if let Some(gone) = due {
            self.purges.remove(&gone);
            return Some((Purpose::Purge(gone), claims_prefix(gone), Action::Purge));
        }
        let (_, key, action) = self.own_write().filter(|(at, ..)| *at <= now)?;
        self.own.is_asked = true;
        if let Action::Replace { .. } = action {
            let replaced = self.roll.named(&self.identity.name);
            self.replaced = replaced.map(|(_, place)| place.record.incarnation);
        }
        Some((Purpose::Own, key, action))
    }

    /// What is to be written so that the bucket says of this node what it should, and when.
    fn own_write(&self) -> Option<(Millis, Box<str>, Action)> {
        let is_ready = self.roll.is_current() && self.roll.revision() >= self.own.told;
        if !is_ready || self.own.is_asked || self.ended.is_some() {
            return None;
        }
        if self.roll.seed().is_none() {
            let seed = self.seed.unwrap_or(self.drawn_seed);
            let action = Action::Create(encode_seed(seed));
            return Some((self.own.not_before, SEED_KEY.into(), action));
        }
        let removes = |number, place: &Place| {
            let action = Action::Remove { revision: place.revision };
            (self.own.not_before, node_key(number), action)
        };
        match self.standing {
            Standing::In(_) => {
                // A write that nobody answered was made after all, when this node had another
                // number.
                let stray = self.roll.nodes().find(|(number, place)| {
                    place.record.incarnation == self.incarnation && Some(*number) != self.number
                });
                stray.map(|(number, place)| removes(number, place))
            }
            Standing::Leaving => {
                self.roll.find(self.incarnation).map(|(number, place)| removes(number, place))
            }
            Standing::Left => None,
            Standing::Out => self.enter(),
        }
    }

    fn enter(&self) -> Option<(Millis, Box<str>, Action)> {
        let (at, value) = (self.own.not_before, self.record().encode());
        if self.number.is_none()
            && let Some((number, place)) = self.roll.named(&self.identity.name)
        {
            // It may serve clients, wherever it is.
            let at = at.max(place.stays_until());
            let action = Action::Replace { revision: place.revision, value };
            return Some((at, node_key(number), action));
        }
        let number = self.number.or_else(|| self.roll.free())?;
        if let Some(place) = self.roll.at(number)
            && Some(place.record.incarnation) == self.former
        {
            // A try of that life came late.
            return Some((at, node_key(number), Action::Remove { revision: place.revision }));
        }
        if self.own.is_held {
            return None;
        }
        Some((at, node_key(number), Action::Create(value)))
    }

    fn record(&self) -> NodeRecord {
        NodeRecord {
            incarnation: self.incarnation,
            name: self.identity.name.clone(),
            versions: self.identity.versions,
            digest: self.identity.digest,
            joined: 0,
            stops_ms: self.contact.as_ref().map_or(0, Contact::stops_ms),
        }
    }

    /// Takes in what was read.
    fn look(&mut self) {
        if !self.roll.is_current() || self.ended.is_some() {
            return;
        }
        if let Some(seed) = self.roll.seed()
            && *self.seed.get_or_insert(seed) != seed
        {
            return self.end(Ended::OtherSeed);
        }
        let own = self.roll.find(self.incarnation);
        let own = own.filter(|(number, _)| self.number.is_none_or(|mine| mine == *number));
        let own = own.map(|(number, place)| (number, place.revision));
        match (self.standing, own) {
            (Standing::Out, Some((number, revision))) => {
                self.number = Some(number);
                self.standing = Standing::In(revision);
                if let Some(contact) = &mut self.contact {
                    contact.hurry();
                }
                // A write of the life before may have come late, and be seen by nobody else.
                let before = [self.replaced.take(), self.former].into_iter().flatten();
                self.purges.extend(before.map(|life| (life, Millis(0))));
            }
            (Standing::Out, None) => self.look_outside(),
            (Standing::In(_), None) => {
                // Others take leave of this life; links of the next one begin anew.
                self.standing = Standing::Out;
                self.removals.own += 1;
                self.writes.retain(|(purpose, ..)| !matches!(purpose, Purpose::Claim(_)));
                self.former = Some(self.incarnation);
                self.incarnation = Incarnation(self.rng.random());
                self.look_outside();
            }
            (Standing::Leaving, None)
                if !self.own.is_asked && self.roll.revision() >= self.own.told =>
            {
                self.standing = Standing::Left;
            }
            (Standing::In(_) | Standing::Leaving, _) | (Standing::Left, _) => {}
        }
    }

    /// Looks at why this node is no member.
    fn look_outside(&mut self) {
        let own = |(_, place): &(NodeNumber, &Place)| place.record.name == self.identity.name;
        let strangers = self.roll.nodes().filter(|node| !own(node));
        let alien = strangers
            .map(|(_, place)| &place.record)
            .find(|record| record.versions.common(self.identity.versions).is_none());
        if let Some(NodeRecord { name, versions: theirs, .. }) = alien {
            let (name, theirs) = (name.as_str().into(), *theirs);
            return self.end(Ended::Versions { name, theirs, own: self.identity.versions });
        }
        match self.number {
            Some(number) if self.roll.is_taken(number) => self.look_at_taken(number),
            None if self.roll.free().is_none()
                && self.roll.named(&self.identity.name).is_none() =>
            {
                self.end(Ended::Full(Nodes::MOST));
            }
            _ => {}
        }
    }

    /// The number of this node is another one's.
    fn look_at_taken(&mut self, number: NodeNumber) {
        let record = self.roll.at(number).map(|place| &place.record);
        if record.is_some_and(|record| Some(record.incarnation) == self.former) {
            return;
        }
        let name = record.map(|record| &record.name);
        self.end(match name {
            Some(name) if *name == self.identity.name => Ended::Replaced(name.as_str().into()),
            Some(name) => Ended::NumberTaken { number: number.get(), by: name.as_str().into() },
            None => Ended::NumberTaken { number: number.get(), by: "?".into() },
        });
    }

    fn end(&mut self, ended: Ended) {
        self.standing = Standing::Out;
        self.ended = Some(ended);
    }

    /// When there is something to write though nothing comes.
    pub fn next_deadline(&self) -> Option<Millis> {
        let again = self.again_at();
        if !self.roll.is_current() {
            return again;
        }
        let own = self.own_write().map(|(at, ..)| at);
        again.into_iter().chain(own).chain(self.purges.values().copied()).min()
    }
}

/// How long is waited with another try after a refusal: what is in the way is told meanwhile.
const REFUSED_MS: u64 = 200;

/// And after no answer.
const UNKNOWN_MS: u64 = 500;

/// How long the watch may be behind what others have read.
const LAG_MS: u64 = 1_000;

#[cfg(test)]
mod tests;
