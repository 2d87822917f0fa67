//! Who gets a call under each policy, and where a registration begins and ends.

use super::*;
use crate::router::{Ids, NodeIds, NodeNumber, ShardId, Slot};

const URI: &str = "com.x";
const EXACT: MatchPolicy = MatchPolicy::Exact;

fn callee(number: u64) -> SessionRef {
    let session = SessionId::new(number).expect("a small number is an id");
    SessionRef { session, slot: Slot::new(0), shard: ShardId(0) }
}

fn table(invoke: InvokePolicy, callees: u64) -> ProcedureTable {
    let table = ProcedureTable::new(&HashSeed::new(1), &PatternIds::default(), &Arc::default());
    for number in 1..=callees {
        table
            .register(URI, EXACT, invoke, callee(number), Timestamp::default())
            .expect("the registration is shared");
    }
    table
}

fn picks(table: &ProcedureTable, count: usize) -> Vec<u64> {
    let pick = |_| table.pick(URI, || 5).expect("somebody is registered").callee.session.get();
    (0..count).map(pick).collect()
}

#[test]
fn a_single_registration_refuses_the_second_callee() {
    let table = table(InvokePolicy::Single, 1);
    let single = |number| {
        table.register(URI, EXACT, InvokePolicy::Single, callee(number), Timestamp::default())
    };
    assert_eq!(single(2), Err(RegisterError::Taken));
    assert_eq!(single(1), Err(RegisterError::Twice));
    let other = table.register(URI, EXACT, InvokePolicy::First, callee(2), Timestamp::default());
    assert_eq!(other, Err(RegisterError::OtherPolicy));
}

#[test]
fn each_policy_picks_its_callee() {
    assert_eq!(picks(&table(InvokePolicy::First, 3), 2), [1, 1]);
    assert_eq!(picks(&table(InvokePolicy::Last, 3), 2), [3, 3]);
    assert_eq!(picks(&table(InvokePolicy::RoundRobin, 3), 4), [1, 2, 3, 1]);
    assert_eq!(picks(&table(InvokePolicy::Random, 3), 1), [3], "5 modulo 3 is the third");
}

/// AP-SHR-04: also among callees with limits, as long as none has reached its own.
#[test]
fn a_random_pick_is_uniform() {
    for limit in [None, Some(9)] {
        let table = limited(InvokePolicy::Random, &[limit; 3]);
        let mut picked = [0; 3];
        for random in 0..300 {
            let callee = table.pick(URI, || random).expect("a place is free").callee;
            picked[callee.session.get() as usize - 1] += 1;
        }
        assert_eq!(picked, [100; 3]);
    }
}

#[test]
fn a_round_robin_neither_skips_nor_repeats_when_a_callee_leaves() {
    let table = table(InvokePolicy::RoundRobin, 4);
    assert_eq!(picks(&table, 2), [1, 2]);
    table.unregister(URI, EXACT, callee(1).session);
    assert_eq!(picks(&table, 1), [3]);
    table.unregister(URI, EXACT, callee(4).session);
    assert_eq!(picks(&table, 3), [2, 3, 2]);
}

#[test]
fn a_registration_dies_with_its_last_callee() {
    let table = table(InvokePolicy::First, 2);
    table.unregister(URI, EXACT, callee(1).session);
    assert_eq!(picks(&table, 1), [2]);
    table.unregister(URI, EXACT, callee(2).session);
    assert_eq!(table.pick(URI, || 0).err(), Some(PickError::NoProcedure));
    assert!(table.is_empty());
}

fn limited(invoke: InvokePolicy, limits: &[Option<u32>]) -> ProcedureTable {
    let table = ProcedureTable::new(&HashSeed::new(1), &PatternIds::default(), &Arc::default());
    for (number, concurrency) in (1..).zip(limits) {
        let callee = Callee { concurrency: *concurrency, ..callee(number).into() };
        table
            .register(URI, EXACT, invoke, callee, Timestamp::default())
            .expect("the registration is shared");
    }
    table
}

#[test]
fn a_callee_at_its_limit_is_passed_over_until_a_call_ends() {
    for (invoke, order) in [
        (InvokePolicy::First, [1, 2, 2]),
        (InvokePolicy::Last, [2, 2, 1]),
        (InvokePolicy::RoundRobin, [1, 2, 2]),
        (InvokePolicy::Random, [2, 2, 1]),
    ] {
        let table = limited(invoke, &[Some(1), Some(2)]);
        let pick = || table.pick(URI, || 5);
        let mut held: Vec<Picked> = (0..3).map(|_| pick().expect("a place is free")).collect();
        let got: Vec<u64> = held.iter().map(|picked| picked.callee.session.get()).collect();
        assert_eq!(got, order, "{invoke:?}");
        assert_eq!(pick().err(), Some(PickError::Busy));
        let freed = held.remove(0).callee;
        assert_eq!(pick().expect("a place is free again").callee, freed);
    }
}

#[test]
fn a_round_robin_gives_the_turn_of_a_busy_callee_to_the_others_fairly() {
    let table = limited(InvokePolicy::RoundRobin, &[Some(1), None, None]);
    let pick = |_| table.pick(URI, || 0).expect("a place is free");
    let held: Vec<Picked> = (0..7).map(pick).collect();
    let got: Vec<u64> = held.iter().map(|picked| picked.callee.session.get()).collect();
    assert_eq!(got, [1, 2, 3, 2, 3, 2, 3]);
}

#[test]
fn a_refused_call_goes_to_each_other_callee_once() {
    for (invoke, order) in [
        (InvokePolicy::First, [1, 2, 3]),
        (InvokePolicy::Last, [3, 2, 1]),
        (InvokePolicy::RoundRobin, [1, 2, 3]),
    ] {
        let table = table(invoke, 3);
        let first = table.pick(URI, || 0).expect("somebody is registered");
        let mut tour = Tour::new(first.place);
        let mut refused = vec![first.callee.session];
        while let Some(next) = table.pick_another(first.registration, &mut tour, 0) {
            refused.push(next.callee.session);
        }
        let order = order.map(|number| callee(number).session);
        assert_eq!(refused, order, "{invoke:?}");
    }
}

/// In a cluster: the id is the pattern's on every node, so whoever is second by chance is refused.
#[test]
fn a_registration_whose_id_another_one_has_is_refused() {
    let node = NodeIds::new(NodeNumber::MAX, 42);
    let ids = PatternIds::new(Arc::new(Ids::from(Some(node))), "realm1".into());
    let table = ProcedureTable::new(&HashSeed::new(1), &ids, &Arc::default());
    let callee = SessionRef::router(ShardId(0));
    let (uri, exact) = ("com.x", MatchPolicy::Exact);
    let register = || table.register(uri, exact, InvokePolicy::Single, callee, Timestamp::EPOCH);
    let registration = register().expect("nobody has it").registration;
    assert_eq!(registration.get() - 1, node.pattern("realm1", exact, uri, 0));
    table.unregister(uri, exact, callee.session);
    let described = Described {
        uri: "com.y".into(),
        policy: exact,
        invoke: Some(InvokePolicy::Single),
        created: Timestamp::EPOCH,
    };
    assert!(table.directory.insert(registration, described));
    assert_eq!(register(), Err(RegisterError::IdTaken));
    assert_eq!(table.look_up(uri, exact), None, "nothing of it is left");
    table.directory.remove(registration);
    assert_eq!(register().expect("nobody has it").registration, registration);
}
