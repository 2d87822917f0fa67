//! All claims, as the watch has told them, and those of other members in the procedure tables.
//!
//! The callees of a procedure are the claims of members for it in the order of their revisions:
//! the table sees to that, whenever each comes and goes. Claims of whoever is no member are kept
//! here while its key stands, and forgotten with it: no life of a node becomes a member twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::super::bucket::ClaimKey;
use super::super::wire::Incarnation;
use super::record::{CalleeRecord, ClaimRecord};
use crate::router::{
    Callee, Described, NodeIds, NodeNumber, Notice, Realm, Router, SessionRef, ShardId, Slot,
};

/// What listeners are to be told: of which realm, what, and with what is known of a registration
/// that is new.
pub(in crate::cluster) type Tell<'t> = dyn FnMut(&Arc<Realm>, Notice, &Described) + 't;

#[derive(Debug, Default)]
pub(in crate::cluster) struct Book {
    /// In boxes, as the leaves of such a tree have half of their places free.
    claims: BTreeMap<ClaimKey, Box<Standing>>,
    /// Those that are in no table: their node is no member, their realm is not configured here, or
    /// a table has no room for them.
    idle: BTreeSet<ClaimKey>,
    /// Those that are in tables, by the revisions that give them their places there.
    places: BTreeMap<u64, ClaimKey>,
    /// The last of them that was tried once more.
    tried: Option<ClaimKey>,
    /// Those that stood before a watch began anew, and that it has not told.
    unseen: BTreeSet<ClaimKey>,
    /// Claims to be taken out of tables: as many as a node had registrations.
    leaving: VecDeque<ClaimKey>,
}

#[derive(Debug)]
struct Standing {
    revision: u64,
    /// By name as long as it is in no table.
    realm: Result<Arc<Realm>, Arc<str>>,
    uri: Box<str>,
    callee: CalleeRecord,
}

impl Standing {
    const fn is_installed(&self) -> bool {
        self.realm.is_ok()
    }

    fn described(&self) -> Described {
        let CalleeRecord { policy, invoke, created, .. } = self.callee;
        Described { uri: self.uri.clone(), policy, invoke: Some(invoke), created }
    }

    fn callee(&self) -> Callee {
        let CalleeRecord { session, traits, concurrency, .. } = self.callee;
        let session = SessionRef { session, slot: Slot::new(0), shard: ShardId::CLUSTER };
        Callee { session, traits, concurrency }
    }

    /// Out of its table, if it is in one.
    fn withdraw(&mut self, tell: &mut Tell<'_>) {
        let Ok(realm) = &self.realm else { return };
        let realm = Arc::clone(realm);
        self.realm = Err(Arc::clone(realm.name()));
        let notices = realm.procedures.withdraw(&self.uri, self.callee.policy, self.revision);
        let described = self.described();
        notices.into_iter().for_each(|notice| tell(&realm, notice, &described));
    }

    fn install(&mut self, router: &Router, tell: &mut Tell<'_>) {
        let Err(name) = &self.realm else { return };
        let Some(realm) = router.realm(name) else { return };
        let CalleeRecord { policy, invoke, created, .. } = self.callee;
        let (uri, callee, revision) = (&self.uri, self.callee(), self.revision);
        let installed = realm.procedures.install(uri, policy, invoke, callee, revision, created);
        let Ok(installed) = installed else { return };
        let described = self.described();
        installed.notices.into_iter().for_each(|notice| tell(&realm, notice, &described));
        self.realm = Ok(realm);
    }
}

impl Book {
    pub(in crate::cluster) fn len(&self) -> usize {
        self.claims.len()
    }

    /// Claims that are in no table.
    pub(in crate::cluster) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// The revision of a claim that stands.
    pub(in crate::cluster) fn revision(&self, claim: ClaimKey) -> Option<u64> {
        self.claims.get(&claim).map(|standing| standing.revision)
    }

    /// A claim stands; see [`Self::arrive`] for those of members. `false`: no node of this version
    /// has written it.
    pub(in crate::cluster) fn stands(
        &mut self,
        claim: ClaimKey,
        revision: u64,
        value: &[u8],
        tell: &mut Tell<'_>,
    ) -> bool {
        self.unseen.remove(&claim);
        if self.revision(claim) == Some(revision) {
            return true;
        }
        self.gone(claim, tell);
        let Some(ClaimRecord { realm, uri, callee }) = ClaimRecord::decode(value) else {
            return false;
        };
        let standing = Standing { revision, realm: Err(realm.into()), uri, callee };
        self.claims.insert(claim, Box::new(standing));
        self.idle.insert(claim);
        true
    }

    /// A claim does not stand any more.
    pub(in crate::cluster) fn gone(&mut self, claim: ClaimKey, tell: &mut Tell<'_>) {
        self.unseen.remove(&claim);
        self.idle.remove(&claim);
        if let Some(mut standing) = self.claims.remove(&claim) {
            if standing.is_installed() {
                self.places.remove(&standing.revision);
            }
            standing.withdraw(tell);
        }
    }

    /// Nothing of another bucket stands at this place: one that was made anew counts from the
    /// start.
    pub(in crate::cluster) fn vacate(&mut self, revision: u64, tell: &mut Tell<'_>) {
        if let Some(claim) = self.places.remove(&revision)
            && let Some(standing) = self.claims.get_mut(&claim)
        {
            standing.withdraw(tell);
            self.idle.insert(claim);
        }
    }

    /// All is told once more from the start.
    pub(in crate::cluster) fn reset(&mut self) {
        self.unseen = self.claims.keys().copied().collect();
    }

    /// All was told: what was not does not stand any more.
    pub(in crate::cluster) fn current(&mut self, tell: &mut Tell<'_>) {
        for claim in std::mem::take(&mut self.unseen) {
            self.gone(claim, tell);
        }
    }

    /// Enters what stands and is in no table, of a life of a node that is a member.
    pub(in crate::cluster) fn arrive(
        &mut self,
        claim: ClaimKey,
        (router, ids): (&Router, NodeIds),
        node: NodeNumber,
        tell: &mut Tell<'_>,
    ) {
        let Some(standing) = self.claims.get_mut(&claim) else { return };
        if standing.is_installed() || ids.owner(standing.callee.session) != node {
            return;
        }
        let revision = standing.revision;
        self.vacate(revision, tell);
        let Some(standing) = self.claims.get_mut(&claim) else { return };
        standing.install(router, tell);
        if standing.is_installed() {
            self.idle.remove(&claim);
            self.places.insert(revision, claim);
        }
    }

    /// The claims of a life of a node that are in no table.
    pub(in crate::cluster) fn idle_of(&self, life: Incarnation) -> Vec<ClaimKey> {
        self.idle.range(all_of(life)).copied().collect()
    }

    /// The next claims that are in no table, so many at most: all of them, one look after another.
    pub(in crate::cluster) fn next_idle(&mut self, most: usize) -> Vec<ClaimKey> {
        let from = self.tried.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.idle.range((from, Bound::Unbounded)).take(most);
        let next: Vec<_> = next.copied().collect();
        let is_end = next.len() < most;
        self.tried = next.last().copied().filter(|_| !is_end);
        next
    }

    /// The lives of nodes with claims in no table.
    pub(in crate::cluster) fn idle_lives(&self) -> Vec<Incarnation> {
        let (mut lives, mut from) = (Vec::new(), Some(Incarnation(0)));
        while let Some(least) = from
            && let Some(found) = self.idle.range(ClaimKey { owner: least, count: 0 }..).next()
        {
            lives.push(found.owner);
            from = found.owner.0.checked_add(1).map(Incarnation);
        }
        lives
    }

    /// A node is a member no more: its claims go out of the tables, with [`Self::go_on_leaving`].
    pub(in crate::cluster) fn leave(&mut self, life: Incarnation) {
        self.leaving.extend(self.claims.range(all_of(life)).map(|(claim, _)| *claim));
    }

    pub(in crate::cluster) fn has_leavers(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Takes further claims out, some thousand at most. `is_member` says who is one (again);
    /// `stands`, whose key stands.
    pub(in crate::cluster) fn go_on_leaving(
        &mut self,
        is_member: impl Fn(Incarnation) -> bool,
        stands: impl Fn(Incarnation) -> bool,
        tell: &mut Tell<'_>,
    ) {
        for _ in 0..LEAVERS_PER_TURN {
            let Some(claim) = self.leaving.pop_front() else { return };
            if !stands(claim.owner) {
                self.gone(claim, tell);
            } else if !is_member(claim.owner)
                && let Some(standing) = self.claims.get_mut(&claim)
            {
                if standing.is_installed() {
                    self.places.remove(&standing.revision);
                }
                standing.withdraw(tell);
                self.idle.insert(claim);
            }
        }
    }

    /// Forgets claims of whose node no key stands.
    pub(in crate::cluster) fn forget(&mut self, life: Incarnation) {
        for claim in self.idle_of(life) {
            self.idle.remove(&claim);
            self.unseen.remove(&claim);
            self.claims.remove(&claim);
        }
    }

    /// A reload has put other realms in the place of those that claims are in: they are to be
    /// entered there.
    pub(in crate::cluster) fn follow_realms(&mut self, router: &Router) {
        for (claim, standing) in &mut self.claims {
            if let Ok(realm) = &standing.realm
                && router.realm(realm.name()).is_none_or(|now| !Arc::ptr_eq(&now, realm))
            {
                standing.realm = Err(Arc::clone(realm.name()));
                self.places.remove(&standing.revision);
                self.idle.insert(*claim);
            }
        }
    }

    /// Checks that claims in no table are known to be.
    pub(in crate::cluster) fn check(&self) {
        for (claim, standing) in &self.claims {
            assert_eq!(self.idle.contains(claim), !standing.is_installed(), "{claim:?}");
        }
        let installed = self.claims.iter().filter(|(_, standing)| standing.is_installed());
        let places = installed.map(|(claim, standing)| (standing.revision, *claim));
        assert_eq!(places.collect::<BTreeMap<_, _>>(), self.places);
        assert!(self.idle.iter().all(|claim| self.claims.contains_key(claim)));
    }
}

const fn all_of(life: Incarnation) -> std::ops::RangeInclusive<ClaimKey> {
    ClaimKey { owner: life, count: 0 }..=ClaimKey { owner: life, count: u64::MAX }
}

/// How many claims leave the tables in one turn at most.
const LEAVERS_PER_TURN: usize = 4_096;
