//! A realm: one routing domain with its tables. Nothing crosses its border (BP-MOD-01).
//!
//! What holds in it are its rules, which are elsewhere: they change while it stays.

use std::sync::Arc;

use super::held::{Held, HeldCount};
use super::history::HistoryTable;
use super::ids::PatternIds;
use super::interest::RealmInterest;
use super::ledger::{Ledger, PIECE, Walk};
use super::meta::MetaFeed;
use super::procedures::ProcedureTable;
use super::retained::RetainedTable;
use super::topics::TopicTable;
use super::{Ids, Interest, RealmSettings, SessionRef, Settings, ShardId};
use crate::address::Address;
use crate::authentication::{BY_HTTP, Gate, PROVIDER};
use crate::hash::HashSeed;
use crate::wamp::SessionId;

#[derive(Debug)]
pub struct Realm {
    pub topics: TopicTable,
    pub procedures: ProcedureTable,
    /// Outlives the sessions that published: no part of what must be gone with the last one.
    pub retained: RetainedTable,
    /// Stays as long as the realm.
    pub histories: HistoryTable,
    pub feed: Arc<MetaFeed>,
    name: Arc<str>,
    /// No other realm of the router has or had it.
    number: usize,
    sessions: Ledger<SessionId, Member>,
    /// What is kept for the sessions, of pending calls and of testaments.
    kept: Arc<HeldCount>,
}

/// What everybody may know of a session: who it is and how it came (AP-SMA).
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    pub authid: Box<str>,
    pub authrole: Box<str>,
    pub authmethod: &'static str,
    pub authprovider: &'static str,
    /// `websocket` or `rawsocket`.
    pub transport: &'static str,
    pub serializer: &'static str,
    /// Where it comes from; `None` where that is not for everybody.
    pub peer: Option<Address>,
}

impl Profile {
    /// Whether what let the session in is still there, as far as the realm knows. Whom somebody
    /// outside has let in is not asked about again, and by HTTP a listener lets in.
    pub fn is_admitted_by(&self, gate: &Gate) -> bool {
        let Self { authid, authrole, authmethod, authprovider, .. } = self;
        let is_of_gate = *authprovider == PROVIDER && *authmethod != BY_HTTP;
        !is_of_gate || gate.still_admits(authmethod, authid, authrole)
    }

    /// Of a session without authentication (AU-ANON-01).
    pub fn anonymous(
        authid: impl Into<Box<str>>,
        authrole: impl Into<Box<str>>,
        transport: &'static str,
        serializer: &'static str,
    ) -> Self {
        let (authid, authrole) = (authid.into(), authrole.into());
        let (authmethod, authprovider) = ("anonymous", PROVIDER);
        let peer = None;
        Self { authid, authrole, authmethod, authprovider, transport, serializer, peer }
    }
}

/// A session of a realm, wherever it lives.
#[derive(Clone, Debug)]
pub struct Member {
    pub at: SessionRef,
    pub profile: Arc<Profile>,
}

impl Realm {
    /// No other realm of the router has `number`.
    pub(super) fn new(
        settings: &RealmSettings,
        number: usize,
        router: &Settings,
        seed: &HashSeed,
        ids: &Arc<Ids>,
        interest: Option<&Arc<Interest>>,
    ) -> Self {
        let (limits, now) = (&router.limits, router.started);
        let feed = Arc::default();
        let (name, histories) = (Arc::from(&*settings.name), &settings.histories);
        let ids = PatternIds::new(Arc::clone(ids), Arc::clone(&name));
        let is_shared = interest.is_some();
        let interest = RealmInterest::new(interest.cloned(), Arc::clone(&name));
        let topics = TopicTable::new(seed, &ids, &feed).of_cluster(interest);
        Self {
            histories: HistoryTable::new(
                (&name, histories),
                &topics,
                limits,
                (seed, is_shared),
                now,
            ),
            topics,
            procedures: ProcedureTable::new(seed, &ids, &feed),
            retained: RetainedTable::default(),
            feed,
            name,
            number,
            sessions: Ledger::new(),
            kept: Arc::default(),
        }
    }

    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub const fn number(&self) -> usize {
        self.number
    }

    /// The shard that publishes the meta events of this realm, in their order.
    pub fn home(&self, shards: usize) -> ShardId {
        ShardId(u8::try_from(self.number % shards).expect("shards are counted in 8 bits"))
    }

    /// Enters a session; `false` if its id is taken, so that another is drawn (BP-ID-03).
    #[must_use]
    pub fn enter(&self, session: SessionRef, profile: &Arc<Profile>) -> bool {
        let member = Member { at: session, profile: Arc::clone(profile) };
        self.sessions.insert(session.session, member)
    }

    /// Takes a session out; `false` if somebody has done so before. Whoever does so ends it.
    pub fn leave(&self, session: SessionRef) -> bool {
        self.sessions.remove_if(session.session, |member| member.at == session)
    }

    /// Where a session lives, if it does.
    pub fn find(&self, session: SessionId) -> Option<SessionRef> {
        self.sessions.look_up(session, |found| found.at)
    }

    /// A session with its profile.
    pub fn member(&self, session: SessionId) -> Option<Member> {
        self.sessions.look_up(session, Member::clone)
    }

    /// The sessions for which `wanted` holds, in no order. Looks at all of them.
    pub fn members(&self, wanted: impl Fn(&Member) -> bool) -> Vec<SessionRef> {
        let (mut walk, mut members) = (Walk::new(), Vec::new());
        while !walk.is_done() {
            self.members_on(&mut walk, PIECE, |member| {
                members.extend(wanted(member).then_some(member.at));
            });
        }
        members
    }

    /// Goes on with a walk through all sessions, for about `max_units` of them and at least 1;
    /// returns how many it took. `visit` must not touch the realm.
    pub fn members_on(
        &self,
        walk: &mut Walk<SessionId>,
        max_units: usize,
        mut visit: impl FnMut(&Member),
    ) -> usize {
        self.sessions.walk(walk, max_units, |_, member| visit(member))
    }

    /// Bytes that are kept for the sessions; see [`Limits::kept_bytes_per_realm`].
    ///
    /// [`Limits::kept_bytes_per_realm`]: crate::limits::Limits::kept_bytes_per_realm
    pub fn kept_bytes(&self) -> usize {
        self.kept.get()
    }

    /// Counts so many bytes as kept until the guard is dropped.
    pub fn keep(&self, bytes: usize) -> Held {
        self.kept.hold(bytes)
    }

    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.sessions.is_empty()
            && self.topics.is_idle()
            && self.procedures.is_empty()
            && self.feed.is_idle()
            && self.kept.get() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::{ShardId, Slot};

    /// BP-ID-03.
    #[test]
    fn a_session_id_is_given_out_once_while_it_lives() {
        let (settings, seed) = (Settings::default(), HashSeed::new(1));
        let realm =
            Realm::new(&RealmSettings::default(), 0, &settings, &seed, &Arc::default(), None);
        let profile = Arc::new(Profile::anonymous("joe", "anonymous", "websocket", "json"));
        let session = SessionId::new(7).expect("a small number is an id");
        let first = SessionRef { session, slot: Slot::new(1), shard: ShardId(0) };
        let second = SessionRef { session, slot: Slot::new(2), shard: ShardId(1) };
        assert!(realm.enter(first, &profile));
        assert!(!realm.enter(second, &profile), "the id is taken");
        assert_eq!(realm.find(session), Some(first));
        assert!(!realm.leave(second), "only the session that is there leaves");
        assert!(realm.leave(first));
        assert!(!realm.leave(first), "it leaves once");
        assert!(realm.enter(second, &profile));
        assert_eq!(realm.session_count(), 1);
    }
}
