//! Registrations at a node: the callees of other nodes in its tables, and its own in the bucket.
//!
//! A claim of this node is decided when the watch tells that it stands: whoever was before it is in
//! its way, or not. Only the living refuse: the node of a callee that is in the way is asked, and a
//! claim waits until it has answered, or is no member any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::super::bucket::{ClaimKey, Outcome, Write};
use super::super::claims::{Book, Own, Told};
use super::super::members::News;
use super::super::peer::{Peer, Position};
use super::super::wire::Incarnation;
use super::Node;
use crate::clock::Millis;
use crate::router::{
    Batch, Described, HeldCount, Notice, Realm, RegisterError, SessionRef, ShardId,
};
use crate::session::{Claim, ClaimId};
use crate::shard::{ClaimOutcome, Mail, MetaEvent};

/// What a node needs for registrations.
#[derive(Debug, Default)]
pub(super) struct Claiming {
    book: Book,
    own: Own,
    /// Own claims that callees of these nodes are in the way of.
    contests: BTreeMap<Incarnation, Contest>,
    /// Own claims to be decided when those who leave have left the tables.
    undecided: BTreeSet<u64>,
    /// The nodes of which something was read in this turn: they wait to hear that it was.
    heard_of: BTreeSet<Incarnation>,
    /// The last revision that has granted something to a session of this node.
    pub(super) granted: u64,
    /// The realms by their numbers, as they were at the last look.
    realms: Vec<usize>,
    /// Lives of nodes whose keys have gone, from old to new: whoever has removed them may have
    /// ended before their claims had.
    dead: VecDeque<Incarnation>,
    /// At the last look no member had a lower number.
    was_first: bool,
}

/// Own claims that wait for the node of whoever is in their way to show that it lives.
#[derive(Debug, Default)]
struct Contest {
    /// What it has to have dealt with, and for which claims.
    asked: Option<Position>,
    waiting: Vec<u64>,
    new: Vec<u64>,
}

/// What has come of claims of this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClaimCounts {
    pub granted: u64,
    pub refused: u64,
    pub given_up: u64,
    /// Those that were granted before this node was removed, and that others have since.
    pub revoked: u64,
    /// Keys of claims that no node of this version has written.
    pub strange: u64,
}

/// For the shards.
struct Desk<'n> {
    outboxes: &'n mut [Batch<Mail>],
    held: &'n Arc<HeldCount>,
}

impl Desk<'_> {
    fn post(&mut self, shard: ShardId, mail: Mail) {
        self.outboxes[usize::from(shard.0)].push(mail);
    }

    /// A meta event, for the home shard of its realm.
    fn tell(&mut self, realm: &Arc<Realm>, notice: Notice, described: &Described) {
        let home = realm.home(self.outboxes.len());
        let event = MetaEvent::of_notice(realm, &notice, described, self.held);
        self.post(home, Mail::Meta(Box::new(event)));
    }
}

impl Node {
    fn desk(&mut self) -> (&mut Claiming, Desk<'_>) {
        let Self { claiming, outboxes, held, .. } = self;
        (claiming, Desk { outboxes, held })
    }

    /// Takes in what the watch has told of claims.
    pub(super) fn take_claim_news(&mut self, now: Millis) {
        while let Some(news) = self.members.take_news() {
            match news {
                News::Reset => {
                    self.claiming.book.reset();
                    self.claiming.own.reset();
                }
                News::Current => self.handle_all_told(now),
                News::Stands { claim, revision, value } => {
                    self.handle_standing(claim, revision, &value, now);
                }
                News::Gone { claim, revision } => self.handle_gone(claim, revision, now),
            }
        }
    }

    fn handle_all_told(&mut self, now: Millis) {
        let revision = self.members.revision();
        self.claiming.own.current(revision, now);
        let (claiming, mut desk) = self.desk();
        claiming.book.current(&mut |realm, notice, about| desk.tell(realm, notice, about));
        // What was told in between is not known one by one.
        self.claiming.heard_of.extend(self.peers.keys());
    }

    fn handle_standing(&mut self, claim: ClaimKey, revision: u64, value: &[u8], now: Millis) {
        if claim.owner == self.me {
            if self.claiming.own.stands(claim.count, revision, now) {
                self.decide(claim.count, None, now);
            }
            return;
        }
        let (claiming, mut desk) = self.desk();
        let mut tell =
            |realm: &Arc<Realm>, notice, about: &Described| desk.tell(realm, notice, about);
        let is_known = claiming.book.stands(claim, revision, value, &mut tell);
        claiming.heard_of.insert(claim.owner);
        self.counts.claims.strange += u64::from(!is_known);
        self.arrive(claim);
    }

    fn handle_gone(&mut self, claim: ClaimKey, revision: u64, now: Millis) {
        if claim.owner == self.me {
            return self.claiming.own.gone(claim.count, revision, now);
        }
        let (claiming, mut desk) = self.desk();
        claiming.book.gone(claim, &mut |realm, notice, about| desk.tell(realm, notice, about));
        claiming.heard_of.insert(claim.owner);
    }

    /// Enters a claim of another node, if that is a member.
    fn arrive(&mut self, claim: ClaimKey) {
        let Some(ids) = self.members.ids() else { return };
        let Some(number) = self.peers.get(&claim.owner).map(|peer| peer.number) else { return };
        if let Some(revision) = self.claiming.book.revision(claim) {
            self.displace(revision);
        }
        let Self { claiming, outboxes, held, router, .. } = self;
        let mut desk = Desk { outboxes, held };
        claiming.book.arrive(claim, (router, ids), number, &mut |realm, notice, about| {
            desk.tell(realm, notice, about);
        });
    }

    /// Nothing of this node's stands at a place that another bucket gave it: the place is needed.
    fn displace(&mut self, revision: u64) {
        let Some((number, place)) = self.claiming.own.displace(revision) else { return };
        let Some(own) = self.claiming.own.get(number) else { return };
        let (claim, is_released) = (Arc::clone(&own.claim), !own.is_wanted());
        let Claim { id, realm, uri, policy, invoke, created, callee } = &*claim;
        let mut notices = Vec::new();
        if !is_released {
            let callee = callee.clone();
            let installed =
                realm.procedures.install(uri, *policy, *invoke, callee, place, *created);
            notices.extend(installed.into_iter().flat_map(|installed| installed.notices));
        }
        notices.extend(realm.procedures.withdraw(uri, *policy, revision));
        let (claiming, mut desk) = self.desk();
        let described = described(&claim);
        notices.into_iter().for_each(|notice| desk.tell(realm, notice, &described));
        claiming.own.move_to(number, place);
        let (callee, claim, outcome) = (callee.session, *id, ClaimOutcome::Granted(place));
        desk.post(callee.shard, Mail::Claimed { callee, claim, outcome });
    }

    /// A node has become a member: so its claims count.
    pub(super) fn welcome_claims(&mut self, member: Incarnation) {
        for claim in self.claiming.book.idle_of(member) {
            self.arrive(claim);
        }
    }

    /// A node is a member no more: its claims do not count.
    pub(super) fn dismiss_claims(&mut self, member: Incarnation, now: Millis) {
        self.claiming.book.leave(member);
        if self.members.stands(member) {
            return;
        }
        if self.members.is_first() {
            self.members.purge(member, now);
        }
        self.claiming.dead.push_back(member);
        if self.claiming.dead.len() > MOST_DEAD {
            self.claiming.dead.pop_front();
        }
    }

    /// This node has another life, in which it claims everything anew.
    pub(super) fn claim_anew(&mut self, now: Millis) {
        self.claiming.own.begin_anew(now);
        self.claiming.granted = 0;
        // What was written meanwhile in the name of others that have gone is for the first of all,
        // which this one may be as before.
        self.claiming.was_first = false;
        self.claiming.contests.clear();
        self.claiming.undecided.clear();
    }

    /// A session wants to be a callee.
    pub(super) fn handle_claim(&mut self, claim: Arc<Claim>, now: Millis) {
        self.claiming.own.claim(claim, now);
    }

    /// A session gives back what it has claimed, or was granted.
    pub(super) fn handle_release(&mut self, callee: SessionRef, claim: ClaimId, now: Millis) {
        let (claiming, mut desk) = self.desk();
        if let Some((claim, grant)) = claiming.own.release(callee, claim, now) {
            // Its shard may not have heard of the grant.
            let notices = claim.realm.procedures.withdraw(&claim.uri, claim.policy, grant);
            let described = described(&claim);
            notices.into_iter().for_each(|notice| desk.tell(&claim.realm, notice, &described));
        }
    }

    /// A call of another node has told a shard of a grant, before this node has read of it.
    pub(super) fn handle_proof(&mut self, callee: SessionRef, claim: ClaimId, grant: u64) {
        self.claiming.own.prove(callee, claim, grant);
        self.claiming.granted = self.claiming.granted.max(grant);
    }

    /// Decides upon a claim of this node that stands. `alive`: this node has just shown that it
    /// lives.
    fn decide(&mut self, number: u64, alive: Option<Incarnation>, now: Millis) {
        let Some(own) = self.claiming.own.get(number).filter(|own| own.is_wanted()) else { return };
        let Some(revision) = own.stands else { return };
        let (claim, told) = (Arc::clone(&own.claim), own.told);
        let instead_of = match told {
            // It was decided.
            Told::Granted(grant) if grant == revision => return,
            Told::Granted(grant) => Some(grant),
            Told::Nothing | Told::Over | Told::Revoked => None,
        };
        if !self.claiming.own.is_next(number) {
            return;
        }
        let named = (revision, claim.invoke, claim.callee.session.session);
        let pattern = (&*claim.uri, claim.policy);
        match claim.realm.procedures.refusal(pattern, named, instead_of) {
            None => self.grant(number, (&claim, revision), instead_of, now),
            Some((error, rival)) if rival.shard == ShardId::CLUSTER => {
                // Of two lives of a node only one lives.
                let is_known = !self.claiming.book.has_leavers();
                match self.node_of(rival).filter(|_| is_known) {
                    Some(node) if Some(node) == alive => self.refuse_claim(number, error, now),
                    Some(node) => {
                        self.claiming.contests.entry(node).or_default().new.push(number);
                    }
                    // It leaves the tables.
                    None => drop(self.claiming.undecided.insert(number)),
                }
            }
            Some((error, _)) => self.refuse_claim(number, error, now),
        }
    }

    /// The member whose session this is.
    fn node_of(&self, session: SessionRef) -> Option<Incarnation> {
        let number = self.members.ids()?.owner(session.session);
        self.peers.iter().find(|(_, peer)| peer.number == number).map(|(name, _)| *name)
    }

    /// A claim of this node counts from now on: its callee is entered here, as it is everywhere,
    /// and then told.
    fn grant(
        &mut self,
        number: u64,
        (claim, revision): (&Arc<Claim>, u64),
        instead_of: Option<u64>,
        now: Millis,
    ) {
        let Claim { id, realm, uri, policy, invoke, created, callee } = &**claim;
        self.displace(revision);
        let (claiming, mut desk) = self.desk();
        claiming.book.vacate(revision, &mut |realm, notice, about| desk.tell(realm, notice, about));
        let procedures = &realm.procedures;
        let installed =
            procedures.install(uri, *policy, *invoke, callee.clone(), revision, *created);
        let mut notices = match installed {
            Ok(installed) => installed.notices,
            Err(error) => return self.refuse_claim(number, error, now),
        };
        if let Some(before) = instead_of {
            notices.extend(procedures.withdraw(uri, *policy, before));
        } else {
            self.counts.claims.granted += 1;
        }
        let (claiming, mut desk) = self.desk();
        let described = described(claim);
        notices.into_iter().for_each(|notice| desk.tell(realm, notice, &described));
        claiming.own.tell(number, Told::Granted(revision), now);
        claiming.granted = claiming.granted.max(revision);
        let (callee, claim, outcome) = (callee.session, *id, ClaimOutcome::Granted(revision));
        desk.post(callee.shard, Mail::Claimed { callee, claim, outcome });
    }

    fn refuse_claim(&mut self, number: u64, error: RegisterError, now: Millis) {
        let Some(own) = self.claiming.own.get(number) else { return };
        let (claim, told) = (Arc::clone(&own.claim), own.told);
        let Claim { id, realm, uri, policy, callee, .. } = &*claim;
        let (claiming, mut desk) = self.desk();
        if let Told::Granted(grant) = told {
            let notices = realm.procedures.withdraw(uri, *policy, grant);
            let described = described(&claim);
            notices.into_iter().for_each(|notice| desk.tell(realm, notice, &described));
            claiming.own.tell(number, Told::Revoked, now);
        } else {
            claiming.own.tell(number, Told::Over, now);
        }
        let (callee, claim, outcome) = (callee.session, *id, ClaimOutcome::Refused(error));
        desk.post(callee.shard, Mail::Claimed { callee, claim, outcome });
        let counts = &mut self.counts.claims;
        let count = if told == Told::Nothing { &mut counts.refused } else { &mut counts.revoked };
        *count += 1;
    }

    /// Gives up what nobody has decided in time.
    pub(super) fn give_up_claims(&mut self, now: Millis) {
        for number in self.claiming.own.take_late(now) {
            let Some(own) = self.claiming.own.get(number) else { continue };
            let (callee, claim) = (own.claim.callee.session, own.claim.id);
            let (claiming, mut desk) = self.desk();
            claiming.own.tell(number, Told::Over, now);
            let outcome = ClaimOutcome::GivenUp;
            desk.post(callee.shard, Mail::Claimed { callee, claim, outcome });
            self.counts.claims.given_up += 1;
        }
    }

    /// The next write; to be asked until there is none.
    pub fn take_write(&mut self, now: Millis) -> Option<Write> {
        if let Some(write) = self.members.take_write(now) {
            return Some(write);
        }
        if !self.members.is_member() {
            return None;
        }
        let revision = self.members.revision();
        let (count, action) = self.claiming.own.next_write(revision, now)?;
        self.members.write_claim(ClaimKey { owner: self.me, count }, action);
        self.members.take_write(now)
    }

    /// An answer to a write that was taken.
    pub fn handle_written(&mut self, ticket: u64, outcome: Outcome, now: Millis) {
        let of_claim = self.members.take_written(ticket, outcome, now);
        if let Some((claim, outcome)) = of_claim
            && claim.owner == self.me
        {
            self.claiming.own.written(claim.count, outcome, now);
        }
        self.follow(now);
    }

    /// Ends a turn: goes on with what waits for others.
    pub(super) fn go_on_claiming(&mut self, now: Millis) {
        self.go_on_leaving();
        self.go_on_contesting(now);
        if !self.claiming.book.has_leavers() {
            for number in std::mem::take(&mut self.claiming.undecided) {
                self.decide(number, None, now);
            }
        }
        // One that is decided may bring the turn of the next one.
        loop {
            let next = self.claiming.own.take_next();
            if next.is_empty() {
                break;
            }
            next.into_iter().for_each(|number| self.decide(number, None, now));
        }
        self.say_what_was_read();
        self.say_who_is_free();
    }

    fn go_on_leaving(&mut self) {
        if !self.claiming.book.has_leavers() {
            return;
        }
        let Self { claiming, outboxes, held, members, peers, .. } = self;
        let mut desk = Desk { outboxes, held };
        let is_member = |life| peers.contains_key(&life);
        claiming.book.go_on_leaving(
            is_member,
            |life| members.stands(life),
            &mut |realm, notice, about| {
                desk.tell(realm, notice, about);
            },
        );
    }

    /// Asks nodes whose callees are in the way of claims whether they live, and decides if they do.
    fn go_on_contesting(&mut self, now: Millis) {
        let rivals: Vec<_> = self.claiming.contests.keys().copied().collect();
        for rival in rivals {
            let Self { claiming, peers, members, .. } = self;
            let Some(contest) = claiming.contests.get_mut(&rival) else { continue };
            let Some(peer) = peers.get_mut(&rival) else {
                // It leaves the tables.
                claiming.undecided.extend(contest.waiting.drain(..).chain(contest.new.drain(..)));
                claiming.contests.remove(&rival);
                continue;
            };
            let decided = contest.hear(peer, members.revision());
            if contest.new.is_empty() && contest.waiting.is_empty() {
                claiming.contests.remove(&rival);
            }
            decided.into_iter().for_each(|number| self.decide(number, Some(rival), now));
        }
    }

    /// Those whose claims or removals were read in this turn hear that they were.
    fn say_what_was_read(&mut self) {
        let revision = self.members.revision();
        for member in std::mem::take(&mut self.claiming.heard_of) {
            if let Some(peer) = self.peers.get_mut(&member).filter(|peer| peer.link.is_open()) {
                peer.say_read(revision);
            }
        }
    }

    /// Says once in a while to all how far this node has read, for whoever was not told one by one.
    pub(super) fn say_how_far(&mut self) {
        let revision = self.members.revision();
        for peer in self.open_peers().filter(|peer| peer.told_read != revision) {
            peer.say_read(revision);
        }
    }

    /// Sessions hear of what they have given back that no node routes to it any more.
    fn say_who_is_free(&mut self) {
        if self.claiming.own.has_removed() {
            let open = self.peers.values().filter(|peer| peer.link.is_open());
            let read = open.map(|peer| peer.read).min().unwrap_or(u64::MAX);
            self.claiming.own.note_read(read);
        }
        let (claiming, mut desk) = self.desk();
        for (callee, claim) in claiming.own.take_free() {
            desk.post(callee.shard, Mail::Released { callee, claim });
        }
    }

    /// Looks at what was left over: claims of realms that have come, of tables that have room
    /// again, and of nodes whose key has gone.
    pub(super) fn look_at_claims(&mut self, now: Millis) {
        let realms: Vec<_> = self.router.realms().iter().map(|realm| realm.number()).collect();
        let mut most = IDLE_PER_LOOK;
        if self.claiming.realms != realms {
            self.claiming.realms = realms;
            let router = Arc::clone(&self.router);
            self.claiming.book.follow_realms(&router);
            most = usize::MAX;
        }
        for life in self.claiming.book.idle_lives() {
            if self.members.stands(life) {
                continue;
            }
            // Whoever comes later than its end may be the only one that sees them.
            self.claiming.book.forget(life);
            self.members.purge(life, now);
        }
        let was_first = std::mem::replace(&mut self.claiming.was_first, self.members.is_first());
        if self.claiming.was_first && !was_first {
            let Self { claiming, members, .. } = self;
            claiming.dead.iter().for_each(|life| members.purge(*life, now));
        }
        for claim in self.claiming.book.next_idle(most) {
            self.arrive(claim);
        }
    }

    pub(super) fn next_claim_deadline(&self) -> Option<Millis> {
        self.claiming.own.next_deadline()
    }

    /// When there may be something for [`Self::take_write`], though nothing comes.
    pub fn next_write_at(&self) -> Option<Millis> {
        self.claiming.own.next_write_at().filter(|_| self.members.is_member())
    }

    /// Whether there is something to do in another turn at once.
    pub fn has_work(&self) -> bool {
        self.claiming.book.has_leavers()
    }

    /// Claims of all nodes that stand, those of them in no table, and own ones that wait for an
    /// answer.
    pub fn claims(&self) -> (usize, usize, usize) {
        (self.claiming.book.len(), self.claiming.book.idle(), self.claiming.own.waiting())
    }

    /// What is known of claims of this node, of whatever has come of them.
    pub fn own_claims(&self) -> usize {
        self.claiming.own.len()
    }

    /// Checks that nobody has claimed anything.
    pub(super) fn check_no_claims(&self) {
        let Claiming { book, own, contests, undecided, .. } = &self.claiming;
        assert!(own.is_empty(), "claims of nobody: {own:?}");
        assert!(contests.is_empty() && undecided.is_empty(), "{contests:?}, {undecided:?}");
        assert_eq!(book.len(), 0, "claims stand: {book:?}");
    }
}

impl Claiming {
    pub(super) fn check(&self) {
        self.book.check();
    }
}

impl Contest {
    /// Those that are to be decided, as the other node lives.
    fn hear(&mut self, peer: &mut Peer, revision: u64) -> Vec<u64> {
        let mut decided = Vec::new();
        if let Some(position) = self.asked {
            match peer.answers(position) {
                Some(false) => return decided,
                Some(true) => decided.append(&mut self.waiting),
                // The link has ended: it is asked through the next one.
                None => self.new.append(&mut self.waiting),
            }
            self.asked = None;
        }
        if !self.new.is_empty() && peer.link.is_open() {
            peer.say_read(revision);
            self.asked = peer.position();
            self.waiting.append(&mut self.new);
        }
        decided
    }
}

fn described(claim: &Claim) -> Described {
    let Claim { uri, policy, invoke, created, .. } = claim;
    Described { uri: uri.clone(), policy: *policy, invoke: Some(*invoke), created: *created }
}

/// How many claims that are in no table are tried once more in one look: those of a realm that this
/// node does not have may be many.
const IDLE_PER_LOOK: usize = 1_024;

/// How many lives of nodes that have ended are remembered.
const MOST_DEAD: usize = 64;
