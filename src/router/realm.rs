//! A realm: one routing domain with its tables. Nothing crosses its border (BP-MOD-01).

use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::FixedState;

use super::history::HistoryTable;
use super::procedures::ProcedureTable;
use super::retained::RetainedTable;
use super::topics::TopicTable;
use super::{IdCounter, RealmSettings, SessionRef};
use crate::hash::HashSeed;
use crate::limits::Limits;
use crate::wamp::SessionId;

#[derive(Debug)]
pub struct Realm {
    pub settings: RealmSettings,
    pub topics: TopicTable,
    pub procedures: ProcedureTable,
    /// Outlives the sessions that published: no part of what must be gone with the last one.
    pub retained: RetainedTable,
    /// Stays as long as the realm.
    pub histories: HistoryTable,
    /// As in the settings, to be shared.
    name: Arc<str>,
    sessions: DashMap<SessionId, SessionRef, FixedState>,
}

impl Realm {
    pub(super) fn new(
        settings: RealmSettings,
        limits: &Limits,
        seed: HashSeed,
        ids: &Arc<IdCounter>,
    ) -> Self {
        let topics = TopicTable::new(seed, ids);
        let (name, histories) = (&settings.name, &settings.histories);
        Self {
            histories: HistoryTable::new(name, histories, &topics, limits, seed),
            topics,
            procedures: ProcedureTable::new(seed, ids),
            retained: RetainedTable::default(),
            name: settings.name.as_str().into(),
            settings,
            sessions: DashMap::with_hasher(seed.state()),
        }
    }

    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Enters a session; `false` if its id is taken, so that another is drawn (BP-ID-03).
    #[must_use]
    pub fn enter(&self, session: SessionRef) -> bool {
        match self.sessions.entry(session.session) {
            Entry::Occupied(_) => false,
            Entry::Vacant(slot) => {
                slot.insert(session);
                true
            }
        }
    }

    pub fn leave(&self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// Where a session lives, if it does.
    pub fn find(&self, session: SessionId) -> Option<SessionRef> {
        self.sessions.get(&session).map(|found| *found)
    }

    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.sessions.is_empty() && self.topics.is_idle() && self.procedures.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::ShardId;

    /// BP-ID-03.
    #[test]
    fn a_session_id_is_given_out_once_while_it_lives() {
        let (limits, seed) = (Limits::default(), HashSeed::new(1));
        let realm = Realm::new(RealmSettings::default(), &limits, seed, &Arc::default());
        let session = SessionId::new(7).expect("a small number is an id");
        let first = SessionRef { session, slot: 1, shard: ShardId(0) };
        let second = SessionRef { session, slot: 2, shard: ShardId(1) };
        assert!(realm.enter(first));
        assert!(!realm.enter(second), "the id is taken");
        assert_eq!(realm.find(session), Some(first));
        realm.leave(session);
        assert!(realm.enter(second));
        assert_eq!(realm.session_count(), 1);
    }
}
