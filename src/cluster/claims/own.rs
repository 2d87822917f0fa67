//! The claims of this node: what it wants to stand in the bucket, and what it has read of that.
//!
//! What is written follows from what was read, not from what was answered: a claim that somebody
//! wants and that does not stand is written, one that stands and that nobody wants is removed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::super::bucket::{Action, Outcome};
use super::record::{CalleeRecord, ClaimRecord};
use crate::clock::Millis;
use crate::router::{Callee, SessionRef, ShardId};
use crate::session::{Claim, ClaimId};
use crate::wamp::MatchPolicy;

/// By their numbers, which are those of the keys.
#[derive(Debug, Default)]
pub(in crate::cluster) struct Own {
    claims: BTreeMap<u64, OwnClaim>,
    names: BTreeMap<(ShardId, ClaimId), u64>,
    last: u64,
    /// When there may be something to be written of each.
    due: BTreeSet<(Millis, u64)>,
    /// By when each is to be decided, in the order in which they came.
    patience: VecDeque<(Millis, u64)>,
    /// Keys of this life that stand and are nobody's: a write that nobody answered was made late.
    strays: BTreeMap<u64, u64>,
    /// Those that stood before a watch began anew, and that it has not told.
    unseen: BTreeSet<u64>,
    /// Removed keys: which revision did that, and of which claim.
    removed: BTreeSet<(u64, u64)>,
    /// Of whom it can be said that no node routes to it.
    free: Vec<(SessionRef, ClaimId)>,
    /// Those that stand and are not decided, of each procedure in the order of their revisions: who
    /// comes first stands in the way of the others.
    lines: BTreeMap<Line, BTreeSet<(u64, u64)>>,
    /// Those whose turn has come.
    next: BTreeSet<u64>,
    /// Those that were granted, by their grants.
    grants: BTreeMap<u64, u64>,
    /// How often the place of one was needed for another.
    displaced: u64,
}

/// Of which procedure: the number of the realm, and the pattern.
type Line = (usize, MatchPolicy, Box<str>);

#[derive(Debug)]
pub(in crate::cluster) struct OwnClaim {
    pub(in crate::cluster) claim: Arc<Claim>,
    /// The revision of its key, if that stands.
    pub(in crate::cluster) stands: Option<u64>,
    pub(in crate::cluster) told: Told,
    /// Its session has given it back.
    is_released: bool,
    /// A write of it is under way.
    is_asked: bool,
    /// Nothing is written of it before the watch has told this revision.
    written: u64,
    /// Its key was removed, which others are yet to read; it stands in [`Own::removed`].
    is_leaving: bool,
    /// With which revision it stands in its line.
    in_line: Option<u64>,
    /// When it stands in [`Own::due`].
    due_at: Option<Millis>,
}

/// What the shard of a claim was told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Told {
    Nothing,
    /// It was granted by this revision.
    Granted(u64),
    /// It was refused, or given up.
    Over,
    /// It was granted, and somebody else has it now: its session is to give it back.
    Revoked,
}

impl OwnClaim {
    /// Whether somebody wants it to stand.
    pub(in crate::cluster) const fn is_wanted(&self) -> bool {
        !self.is_released && matches!(self.told, Told::Nothing | Told::Granted(_))
    }

    /// Whether its session waits to hear that no node routes to it.
    const fn owes_release(&self) -> bool {
        self.is_released && matches!(self.told, Told::Granted(_) | Told::Revoked)
    }

    fn line(&self) -> Line {
        let Claim { realm, uri, policy, .. } = &*self.claim;
        (realm.number(), *policy, uri.clone())
    }

    fn record(&self) -> Vec<u8> {
        let Claim { realm, uri, policy, invoke, created, callee, .. } = &*self.claim;
        let Callee { session, traits, concurrency } = *callee;
        let (policy, invoke, created, session) = (*policy, *invoke, *created, session.session);
        let callee = CalleeRecord { policy, invoke, session, traits, concurrency, created };
        ClaimRecord::encode(realm.name(), uri, &callee)
    }
}

impl Own {
    pub(in crate::cluster) fn get(&self, number: u64) -> Option<&OwnClaim> {
        self.claims.get(&number)
    }

    pub(in crate::cluster) fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.strays.is_empty() && self.lines.is_empty()
    }

    /// All, and what is to be done about them.
    pub(in crate::cluster) fn len(&self) -> usize {
        self.claims.len().max(self.due.len())
    }

    /// Claims that wait for an answer.
    pub(in crate::cluster) fn waiting(&self) -> usize {
        self.claims.values().filter(|own| own.told == Told::Nothing && !own.is_released).count()
    }

    /// A callee is to stand in the bucket.
    pub(in crate::cluster) fn claim(&mut self, claim: Arc<Claim>, now: Millis) {
        self.last += 1;
        self.names.insert((claim.callee.session.shard, claim.id), self.last);
        let own = OwnClaim {
            claim,
            stands: None,
            told: Told::Nothing,
            is_released: false,
            is_asked: false,
            written: 0,
            is_leaving: false,
            in_line: None,
            due_at: None,
        };
        self.claims.insert(self.last, own);
        self.schedule(self.last, now);
        while let Some((_, number)) = self.patience.front()
            && self.claims.get(number).is_none_or(|own| own.told != Told::Nothing)
        {
            self.patience.pop_front();
        }
        self.patience.push_back((now + PATIENCE_MS, self.last));
    }

    /// A claim stands and is to be decided; `false`: not before another one.
    pub(in crate::cluster) fn is_next(&mut self, number: u64) -> bool {
        let Some(own) = self.claims.get(&number) else { return false };
        let (line, stands) = (own.line(), own.stands);
        if own.in_line != stands {
            self.leave_line(number);
            let Some((own, revision)) = self.claims.get_mut(&number).zip(stands) else {
                return false;
            };
            own.in_line = stands;
            self.lines.entry(line.clone()).or_default().insert((revision, number));
        }
        let first = self.lines.get(&line).and_then(BTreeSet::first);
        first.is_some_and(|(_, first)| *first == number)
    }

    /// It is decided, or is not to be any more: the next one is.
    fn leave_line(&mut self, number: u64) {
        let Some(own) = self.claims.get_mut(&number) else { return };
        let Some(revision) = own.in_line.take() else { return };
        let line = own.line();
        let Some(others) = self.lines.get_mut(&line) else { return };
        others.remove(&(revision, number));
        match others.first() {
            Some((_, first)) => drop(self.next.insert(*first)),
            None => drop(self.lines.remove(&line)),
        }
    }

    /// A claim that was granted a place in another bucket, if it is this one, and a place that
    /// nobody else gets: in a bucket that was made anew revisions count from the start.
    pub(in crate::cluster) fn displace(&mut self, revision: u64) -> Option<(u64, u64)> {
        let number = *self.grants.get(&revision)?;
        if self.claims.get(&number)?.stands == Some(revision) {
            return None;
        }
        self.displaced += 1;
        Some((number, BEHIND_ALL + self.displaced))
    }

    /// It has this place from now on; see [`Self::displace`].
    pub(in crate::cluster) fn move_to(&mut self, number: u64, place: u64) {
        let Some(own) = self.claims.get_mut(&number) else { return };
        if let Told::Granted(before) = own.told {
            self.grants.remove(&before);
            self.grants.insert(place, number);
            own.told = Told::Granted(place);
        }
    }

    /// Those whose turn to be decided has come.
    pub(in crate::cluster) fn take_next(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.next)
    }

    /// A callee gives its claim back. Returns the claim with its grant, if it has one.
    pub(in crate::cluster) fn release(
        &mut self,
        callee: SessionRef,
        claim: ClaimId,
        now: Millis,
    ) -> Option<(Arc<Claim>, u64)> {
        let number = self.names.get(&(callee.shard, claim)).copied();
        let Some((number, own)) = number.and_then(|it| Some((it, self.claims.get_mut(&it)?)))
        else {
            self.free.push((callee, claim));
            return None;
        };
        own.is_released = true;
        let released = match own.told {
            Told::Granted(grant) => Some((Arc::clone(&own.claim), grant)),
            Told::Nothing | Told::Over | Told::Revoked => None,
        };
        self.leave_line(number);
        self.settle(number, now);
        released
    }

    /// A key of this life stands. Returns whether it is to be decided upon.
    pub(in crate::cluster) fn stands(&mut self, number: u64, revision: u64, now: Millis) -> bool {
        self.unseen.remove(&number);
        let Some(own) = self.claims.get_mut(&number) else {
            self.strays.insert(number, revision);
            self.schedule(number, now);
            return false;
        };
        let is_new = own.stands.replace(revision) != Some(revision);
        let is_to_be_decided = is_new && own.is_wanted();
        self.schedule(number, now);
        is_to_be_decided
    }

    /// A key of this life has gone, by this revision.
    pub(in crate::cluster) fn gone(&mut self, number: u64, revision: u64, now: Millis) {
        self.unseen.remove(&number);
        self.strays.remove(&number);
        self.leave_line(number);
        let Some(own) = self.claims.get_mut(&number) else { return };
        if own.stands.take().is_some() && own.owes_release() {
            own.is_leaving = true;
            self.removed.insert((revision, number));
            return;
        }
        self.schedule(number, now);
    }

    /// All is told once more from the start.
    pub(in crate::cluster) fn reset(&mut self) {
        let standing = self.claims.iter().filter(|(_, own)| own.stands.is_some());
        self.unseen =
            standing.map(|(number, _)| *number).chain(self.strays.keys().copied()).collect();
    }

    /// All was told, as of this revision: what was not does not stand any more.
    pub(in crate::cluster) fn current(&mut self, revision: u64, now: Millis) {
        for number in std::mem::take(&mut self.unseen) {
            self.gone(number, revision, now);
        }
    }

    /// A write of a claim was answered.
    pub(in crate::cluster) fn written(&mut self, number: u64, outcome: Outcome, now: Millis) {
        let Some(own) = self.claims.get_mut(&number) else { return };
        own.is_asked = false;
        if let Outcome::Written(revision) = outcome {
            own.written = revision;
        }
        self.schedule(number, now + AGAIN_MS);
    }

    /// The next thing to be written, after the watch has told this revision; to be asked until
    /// there is none.
    pub(in crate::cluster) fn next_write(
        &mut self,
        revision: u64,
        now: Millis,
    ) -> Option<(u64, Action)> {
        while let Some((at, number)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            if let Some(own) = self.claims.get_mut(&number) {
                own.due_at = None;
            }
            if let Some(revision) = self.strays.get(&number).copied() {
                self.schedule(number, now + AGAIN_MS);
                return Some((number, Action::Remove { revision }));
            }
            let Some(own) = self.claims.get_mut(&number) else { continue };
            if own.is_asked {
                continue;
            }
            if revision < own.written {
                self.schedule(number, now + AGAIN_MS);
                continue;
            }
            let action = match (own.is_wanted(), own.stands) {
                (true, None) => Action::Create(own.record()),
                (false, Some(revision)) => Action::Remove { revision },
                (true, Some(_)) => continue,
                (false, None) => {
                    self.forget(number);
                    continue;
                }
            };
            own.is_asked = true;
            return Some((number, action));
        }
        None
    }

    /// There may be something to be written of it then: of each claim once.
    fn schedule(&mut self, number: u64, at: Millis) {
        if let Some(own) = self.claims.get_mut(&number)
            && let Some(before) = own.due_at.replace(at)
        {
            self.due.remove(&(before, number));
        }
        self.due.insert((at, number));
    }

    /// What nobody wants and was not written goes at once, also while nothing can be written: who
    /// comes and goes leaves nothing.
    fn settle(&mut self, number: u64, now: Millis) {
        let Some(own) = self.claims.get(&number) else { return };
        if own.is_wanted() || own.stands.is_some() || own.is_asked {
            self.schedule(number, now);
        } else {
            self.forget(number);
        }
    }

    /// Nobody wants it, and it does not stand.
    fn forget(&mut self, number: u64) {
        let Some(own) = self.claims.get(&number) else { return };
        if own.is_leaving || own.told == Told::Revoked && !own.is_released {
            return;
        }
        if own.owes_release() {
            self.free.push((own.claim.callee.session, own.claim.id));
        }
        if let Told::Granted(grant) = own.told {
            self.grants.remove(&grant);
        }
        if let Some(at) = own.due_at {
            self.due.remove(&(at, number));
        }
        self.names.remove(&(own.claim.callee.session.shard, own.claim.id));
        self.claims.remove(&number);
    }

    /// All nodes have read as far as this revision: who has given back what was removed before can
    /// be told.
    pub(in crate::cluster) fn note_read(&mut self, revision: u64) {
        while let Some((removed, number)) = self.removed.first().copied()
            && removed <= revision
        {
            self.removed.pop_first();
            if let Some(own) = self.claims.get_mut(&number) {
                own.is_leaving = false;
            }
            self.forget(number);
        }
    }

    /// Whether somebody waits until all nodes have read further.
    pub(in crate::cluster) fn has_removed(&self) -> bool {
        !self.removed.is_empty()
    }

    /// Of whom it can be said that no node routes to it.
    pub(in crate::cluster) fn take_free(&mut self) -> Vec<(SessionRef, ClaimId)> {
        std::mem::take(&mut self.free)
    }

    /// Its shard is told this of a claim.
    pub(in crate::cluster) fn tell(&mut self, number: u64, told: Told, now: Millis) {
        self.leave_line(number);
        if let Some(own) = self.claims.get_mut(&number) {
            if let Told::Granted(before) = own.told {
                self.grants.remove(&before);
            }
            if let Told::Granted(grant) = told {
                self.grants.insert(grant, number);
            }
            own.told = told;
            self.settle(number, now);
        }
    }

    /// A shard has entered a callee, as it was told of the grant by a call.
    pub(in crate::cluster) fn prove(&mut self, callee: SessionRef, claim: ClaimId, grant: u64) {
        let Some(number) = self.names.get(&(callee.shard, claim)).copied() else { return };
        self.leave_line(number);
        let Some(own) = self.claims.get_mut(&number) else { return };
        own.told = match own.told {
            Told::Nothing => {
                self.grants.insert(grant, number);
                Told::Granted(grant)
            }
            // It hears of that.
            Told::Over => Told::Revoked,
            told @ (Told::Granted(_) | Told::Revoked) => told,
        };
    }

    /// Those that are not answered and have waited for too long.
    pub(in crate::cluster) fn take_late(&mut self, now: Millis) -> Vec<u64> {
        let mut late = Vec::new();
        while let Some((at, number)) = self.patience.front().copied()
            && at <= now
        {
            self.patience.pop_front();
            let own = self.claims.get(&number);
            if own.is_some_and(|own| own.told == Told::Nothing && !own.is_released) {
                late.push(number);
            }
        }
        late
    }

    /// The node has another life: nothing of it stands, and no other node routes to anything.
    pub(in crate::cluster) fn begin_anew(&mut self, now: Millis) {
        self.strays.clear();
        self.unseen.clear();
        self.removed.clear();
        self.lines.clear();
        self.next.clear();
        let numbers: Vec<_> = self.claims.keys().copied().collect();
        for number in numbers {
            if let Some(own) = self.claims.get_mut(&number) {
                (own.stands, own.is_asked, own.written) = (None, false, 0);
                (own.is_leaving, own.in_line) = (false, None);
                self.schedule(number, now);
            }
        }
    }

    /// When there may be something to write.
    pub(in crate::cluster) fn next_write_at(&self) -> Option<Millis> {
        self.due.first().map(|(at, _)| *at)
    }

    /// When somebody has waited for too long.
    pub(in crate::cluster) fn next_deadline(&self) -> Option<Millis> {
        self.patience.front().map(|(at, _)| *at)
    }
}

/// How long a claim waits for its answer, in milliseconds.
const PATIENCE_MS: u64 = 20_000;

/// From here on places are no revisions: those of claims whose place in this bucket is not known.
const BEHIND_ALL: u64 = 1 << 62;

/// How soon what was not told by the watch is looked at once more, in milliseconds.
const AGAIN_MS: u64 = 500;
