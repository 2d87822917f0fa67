//! What holds between two steps of a shard: its tables agree with each other, and its gauges with
//! what exists. Debug builds and tests look.

use std::sync::Arc;

use super::Shard;
use super::broker::Receivers;
use super::connection::Connection;
use crate::router::Realm;

impl Shard {
    /// Checks that the tables of the shard agree with each other. For debug builds and tests.
    pub fn check_invariants(&self) {
        let mut memberships = 0;
        for (slot, connection) in self.connections.iter() {
            assert!(!connection.overflowed, "full queues are settled");
            assert_eq!(connection.session_id, connection.session().map(|session| session.id));
            let Some(holder) = connection.holder() else { continue };
            memberships += holder.subscriptions.len();
            for (subscription, membership) in &holder.subscriptions {
                let receivers = self.receivers.held(*subscription);
                assert_eq!(receivers.slots()[membership.position as usize], slot);
            }
        }
        let listed: usize = self.receivers.iter().map(Receivers::len).sum();
        assert_eq!(memberships, listed, "each membership stands in one list");
        assert!(self.receivers.iter().all(|receivers| !receivers.is_empty()));
        assert!(!self.cx.post.has_own() && !self.cx.deposits.has_records());
        let sessions = || self.connections.iter().filter_map(|(_, c)| c.session());
        let managed = sessions().filter(|session| session.managing.is_some()).count();
        let calls = sessions().flat_map(|session| session.calls.values());
        let leaving = self.connections.iter().filter_map(|(_, c)| c.leaving.as_ref());
        let timed = calls.filter(|call| call.deadline().is_some()).count()
            + leaving.map(|leaving| leaving.timed_calls()).sum::<usize>()
            + self.questions.len()
            + self.polls.timed()
            + managed;
        assert_eq!(timed, self.cx.timers.call_count(), "each timeout stands in the timers once");
        self.check_gauges(memberships);
        self.deliveries.check(&self.cx.router);
        self.inquiries.check(&self.cx.router);
        self.surveys.check();
        self.polls.check(|caller| self.connections.find(caller.session).is_some());
        self.check_questions();
        self.check_corks();
        self.check_claims();
    }

    /// Whether nothing is asked, and every meta event of the realms at home here is published: what
    /// must hold when no mail is under way.
    pub fn is_settled(&self) -> bool {
        let home = |realm: &&Arc<Realm>| realm.home(self.cx.router.shard_count()) == self.cx.id;
        let published = |realm: &Arc<Realm>| {
            self.event_orders.published(realm.number()) == Some(realm.feed.given())
        };
        self.polls.are_settled()
            && !self.cx.post.has_meta_events()
            && self.unheard.is_empty()
            && !self.has_jobs()
            && self.cx.edition.realms().filter(home).all(published)
    }

    fn check_gauges(&self, memberships: usize) {
        let sessions = || self.connections.iter().filter_map(|(_, c)| c.session());
        let sum = |of: fn(&Connection) -> usize| -> usize {
            self.connections.iter().map(|(_, connection)| of(connection)).sum()
        };
        let left = self.connections.iter().filter_map(|(_, c)| c.leaving.as_ref());
        let left = left.fold([0; 4], |mut sums, leaving| {
            sums.iter_mut().zip(leaving.gauges()).for_each(|(sum, more)| *sum += more);
            sums
        });
        let clients = self.cx.measures.clients.read();
        if clients.len() > 0 {
            let counted: u64 = clients.map(|(open, _)| open).sum();
            assert_eq!(counted, sessions().count() as u64, "each session counts as one client's");
        }
        let now = self.cx.counters.snapshot();
        let registrations: usize = sessions().map(|s| s.registrations.held().len()).sum();
        let calls: usize = sessions().map(|s| s.calls.len()).sum();
        let invocations: usize = sessions().map(|s| s.invocations.len()).sum();
        let expected = [
            (now.connections, sum(|connection| usize::from(!connection.is_gone()))),
            (now.sessions, sessions().count()),
            (now.subscriptions, memberships),
            (now.registrations, registrations + left[1]),
            (now.calls, calls + left[2]),
            (now.invocations, invocations + left[3]),
            (now.output_bytes, sum(|connection| connection.output.waiting_bytes())),
            (now.refused_bytes, sum(|connection| connection.output.backlog_bytes())),
            (now.input_bytes, sum(Connection::input_bytes)),
        ];
        let refused = || self.connections.iter().map(|(_, c)| (c.refused(), c.refused));
        assert!(refused().all(|(found, counted)| found == counted), "backlogs are counted");
        let slow = refused().filter(|(found, _)| found.rank > 0).count();
        assert_eq!(slow, self.cx.outbound.slow_count(), "each slow connection is ranked once");
        let blocked = refused().filter(|(found, _)| found.bytes > 0).count() as u64;
        assert_eq!(blocked, self.cx.outbound.blocked_count(), "each backlog stands in one class");
        let oldest = self.connections.iter().map(|(slot, c)| (slot, c.output.oldest()));
        self.cx.outbound.ages().check(oldest);
        assert_eq!(self.cx.measures.oldest.get(), self.cx.outbound.ages().oldest());
        for (gauge, (counted, found)) in expected.into_iter().enumerate() {
            assert_eq!(counted, found as u64, "gauge {gauge} agrees with what exists");
        }
    }
}
