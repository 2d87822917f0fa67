//! Registrations of a cluster, as one node has them.

use std::sync::Arc;

use super::*;
use crate::hash::HashSeed;
use crate::router::ids::{Ids, NodeIds, PatternIds};
use crate::router::meta::MetaFeed;
use crate::router::{NodeNumber, ShardId, Slot};

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
