//! Registrations of a cluster, as one node has them.

use std::sync::Arc;

use super::*;
use crate::hash::HashSeed;
use crate::router::ids::{Ids, NodeIds, PatternIds};
use crate::router::meta::MetaFeed;
use crate::router::{ShardId, Slot};

const URI: &str = "com.x";
const EXACT: MatchPolicy = MatchPolicy::Exact;
const NOW: Timestamp = Timestamp::EPOCH;

fn node(number: u8) -> NodeIds {
    NodeIds::new(NodeNumber::new(number).expect("7 bits"), 42)
}

/// The table of node 0, and its feed, to which somebody listens.
fn table() -> (ProcedureTable, Arc<MetaFeed>) {
    let ids = PatternIds::new(Arc::new(Ids::from(Some(node(0)))), "realm1".into());
    let feed = Arc::<MetaFeed>::default();
    feed.add("wamp.registration", MatchPolicy::Prefix);
    feed.add("wamp.registration.", MatchPolicy::Prefix);
    (ProcedureTable::new(&HashSeed::new(1), &ids, &feed), feed)
}

/// A session of this node or of another one.
fn session(of: u8, number: u64) -> SessionRef {
    let shard = if of == 0 { ShardId(0) } else { ShardId::CLUSTER };
    SessionRef { session: node(of).session(number), slot: Slot::new(0), shard }
}

fn install(
    table: &ProcedureTable,
    uri: &str,
    invoke: InvokePolicy,
    callee: impl Into<Callee>,
    grant: u64,
) -> Installed {
    table.install(uri, EXACT, invoke, callee.into(), grant, NOW).expect("nothing is in the way")
}

fn topics(notices: &[Notice]) -> Vec<(&str, SessionRef)> {
    let topic = |notice: &Notice| notice.topic.uri().strip_prefix("wamp.registration.");
    notices.iter().map(|it| (topic(it).expect("of a registration"), it.callee)).collect()
}

#[test]
fn the_first_by_grant_counts_and_listeners_hear_each_change_once() {
    let (table, _feed) = table();
    let [a, b, c] = [1, 2, 3].map(|of| session(of, 7));
    let single = InvokePolicy::Single;
    let first = install(&table, URI, single, b, 20);
    assert_eq!(topics(&first.notices), [("on_create", b), ("on_register", b)]);
    assert_eq!(first.admitted, Ok(()));
    let late = install(&table, URI, single, a, 10);
    assert_eq!((late.registration, late.admitted), (first.registration, Ok(())));
    assert_eq!(topics(&late.notices), [("on_unregister", b), ("on_register", a)]);
    let other = install(&table, URI, InvokePolicy::First, c, 30);
    assert_eq!(other.admitted, Err(RegisterError::OtherPolicy));
    assert!(other.notices.is_empty());
    assert_eq!(table.callees(URI, EXACT), Some(vec![a]));
    let picked = table.pick(URI, || 0).expect("somebody is registered");
    assert_eq!(picked.callee, a);
    assert_eq!(topics(&table.withdraw(URI, EXACT, 10)), [("on_unregister", a), ("on_register", b)]);
    let last = table.withdraw(URI, EXACT, 20);
    assert_eq!(topics(&last), [("on_unregister", b), ("on_register", c)]);
    let described = table.get(first.registration).expect("it lives");
    assert_eq!(described.invoke, Some(InvokePolicy::First), "the policy of who is first now");
    let last = table.withdraw(URI, EXACT, 30);
    assert_eq!(topics(&last), [("on_unregister", c), ("on_delete", c)]);
    assert!(table.is_empty() && table.withdraw(URI, EXACT, 30).is_empty());
    let numbers = [first.notices, late.notices].concat();
    assert_eq!(numbers.iter().map(|it| it.number).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

/// A claim that is read again changes nothing.
#[test]
fn a_claim_that_stands_is_entered_once() {
    let (table, _feed) = table();
    let (a, b) = (session(0, 1), session(1, 1));
    for (callee, grant) in [(a, 5), (b, 6)] {
        let first = install(&table, URI, InvokePolicy::First, callee, grant);
        let again = install(&table, URI, InvokePolicy::First, callee, grant);
        assert_eq!((again.admitted, again.registration), (Ok(()), first.registration));
        assert!(again.notices.is_empty());
    }
    assert_eq!(table.callees(URI, EXACT), Some(vec![a, b]));
}

/// Seats are where the callee is: calls from there go by them, and others may come back.
#[test]
fn a_callee_is_counted_by_its_own_node() {
    let (table, _feed) = table();
    let (here, there) = (session(0, 1), session(1, 1));
    let limited = |session: SessionRef| Callee { concurrency: Some(1), ..session.into() };
    let first = InvokePolicy::First;
    let registration = install(&table, URI, first, limited(there), 5).registration;
    install(&table, URI, first, limited(here), 6);
    for _ in 0..3 {
        let picked = table.pick(URI, || 0).expect("it is never full here");
        assert_eq!((picked.callee, picked.load.is_some()), (there, false));
        assert!(picked.traits.is_limited_elsewhere && picked.traits.may_return_calls());
    }
    let seat = table.take_seat(registration, here.session).expect("one is free");
    assert!(seat.is_some());
    assert_eq!(table.take_seat(registration, here.session).err(), Some(PickError::Busy));
    assert!(table.take_seat(registration, there.session).expect("none is counted").is_none());
    drop(seat);
    assert!(table.take_seat(registration, here.session).is_ok());
    let gone = session(0, 9).session;
    assert!(table.take_seat(registration, gone).expect("whoever it is").is_none());
}

/// All that a node had goes in pieces, and what others have, or it has claimed since, stays.
#[test]
fn a_node_that_has_gone_leaves_nothing() {
    for piece in [1, 3, 1_000] {
        let (table, _feed) = table();
        let mut grant = 0;
        let mut claim = |uri: &str, invoke, of| {
            grant += 1;
            let callee = session(of, grant);
            install(&table, uri, invoke, callee, grant);
            (callee, grant)
        };
        let mut stay = Vec::new();
        for number in 0..40 {
            let uri = format!("com.x.{number}");
            claim(&uri, InvokePolicy::First, 1);
            if number % 2 == 0 {
                claim(&uri, InvokePolicy::First, 0);
                stay.push(claim(&uri, InvokePolicy::First, 2).0);
            }
            claim(&uri, InvokePolicy::Last, 1);
        }
        for _ in 0..50 {
            claim(URI, InvokePolicy::RoundRobin, 1);
        }
        let before = claim(URI, InvokePolicy::RoundRobin, 2).1 + 1;
        let own = session(0, 1);
        install(&table, "com.x.1", InvokePolicy::Single, own, before + 1);
        let anew = session(1, 1);
        install(&table, URI, InvokePolicy::RoundRobin, anew, before + 2);
        let (mut removal, mut told) = (Removal::default(), Vec::new());
        let number = NodeNumber::new(1).expect("7 bits");
        let mut rounds = 0;
        while !removal.is_done() {
            let units = table.remove_node(number, before, &mut removal, piece, |it| told.push(it));
            assert!(units <= piece + 1, "{units} units in a piece of {piece}");
            rounds += 1;
        }
        assert!(rounds >= 150 / piece, "{rounds} rounds");
        assert_eq!(table.len(), 20 + 1 + 1, "registrations of nobody else are gone");
        for callee in &stay {
            let uri = (0..40).map(|number| format!("com.x.{number}"));
            let mut lists = uri.filter_map(|uri| table.callees(&uri, EXACT));
            assert!(lists.any(|callees| callees.contains(callee)));
        }
        let callees = table.callees(URI, EXACT).expect("two are left");
        assert_eq!((callees.len(), callees[1]), (2, anew));
        assert_eq!(table.callees("com.x.1", EXACT), Some(vec![own]));
        let deleted = told.iter().filter(|it| it.topic == MetaTopic::RegistrationOnDelete);
        assert_eq!(deleted.count(), 19, "of those that only that node had");
    }
}
