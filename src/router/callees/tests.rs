//! Whose turn it is, who is full, and where a refused call goes.

use super::*;
use crate::router::{ShardId, Slot};

fn callee(number: u64, concurrency: Option<u32>) -> Callee {
    let session = SessionId::new(number).expect("a small number is an id");
    let session = SessionRef { session, slot: Slot::new(0), shard: ShardId(0) };
    Callee { concurrency, ..session.into() }
}

/// Callees 1 to `count`, all with the same limit.
fn callees(invoke: InvokePolicy, count: u64, concurrency: Option<u32>) -> Callees {
    let mut callees = Callees::default();
    for number in 1..=count {
        callees.enter(invoke, &callee(number, concurrency));
    }
    callees
}

fn number(picked: &(Member, Option<LoadSlot>)) -> u64 {
    picked.0.session.session.get()
}

/// AP-RRT-01, AP-RRT-02
#[test]
fn a_round_robin_tour_ends_where_it_began() {
    let crew = callees(InvokePolicy::RoundRobin, 5, None);
    for start in [1, 2, 3] {
        let first = crew.pick(InvokePolicy::RoundRobin, || 0).expect("all are free");
        assert_eq!(number(&first), start, "a tour with all five leaves the turn where it was");
        let mut tour = Tour::new(first.0.place);
        let mut met = vec![number(&first)];
        while let Some(next) = crew.pick_next(InvokePolicy::RoundRobin, &mut tour, 0) {
            met.push(number(&next));
        }
        let round = (0..5).map(|step| (start - 1 + step) % 5 + 1);
        assert_eq!(met, round.collect::<Vec<_>>());
        assert_eq!(number(&crew.pick(InvokePolicy::RoundRobin, || 0).expect("free")), start);
    }
}

/// AP-RRT-01: those behind come; who registers meanwhile comes last, who leaves not at all.
#[test]
fn a_tour_goes_on_while_callees_come_and_leave() {
    let mut crew = callees(InvokePolicy::First, 4, None);
    let first = crew.pick(InvokePolicy::First, || 0).expect("all are free");
    let mut tour = Tour::new(first.0.place);
    let mut next = |crew: &Callees| {
        crew.pick_next(InvokePolicy::First, &mut tour, 0).map(|next| number(&next))
    };
    assert_eq!(next(&crew), Some(2));
    for gone in [2, 3] {
        crew.remove(callee(gone, None).session.session);
    }
    crew.enter(InvokePolicy::First, &callee(2, None));
    assert_eq!([next(&crew), next(&crew), next(&crew)], [Some(4), Some(2), None]);
}

/// AP-RRT-02: thousands of refusals cost one step each, and the call keeps none of them.
#[test]
fn a_tour_in_order_keeps_no_list() {
    for (invoke, end) in
        [(InvokePolicy::First, 2_000), (InvokePolicy::Last, 1), (InvokePolicy::RoundRobin, 2_000)]
    {
        let crew = callees(invoke, 2_000, None);
        let mut tour = Tour::new(crew.pick(invoke, || 0).expect("all are free").0.place);
        let next = || crew.pick_next(invoke, &mut tour, 0);
        let met: Vec<u64> = std::iter::from_fn(next).map(|next| number(&next)).collect();
        assert_eq!((met.len(), met.last()), (1_999, Some(&end)));
        assert_eq!(tour.refused.capacity(), 0);
    }
}

/// AP-RRT-01: another one at random, each as likely; and no call keeps more than its bound.
#[test]
fn a_random_tour_is_uniform_and_bounded() {
    let crew = callees(InvokePolicy::Random, 4, Some(1_000));
    let mut counts = [0; 4];
    for random in 0..300 {
        let mut tour = Tour::new(Place(2));
        let next = crew.pick_next(InvokePolicy::Random, &mut tour, random).expect("free");
        counts[next.0.place.0 as usize] += 1;
    }
    assert_eq!(counts, [100, 100, 0, 100]);
    let crew = callees(InvokePolicy::Random, 1_000, None);
    let mut tour = Tour::new(Place(0));
    let next = |random| crew.pick_next(InvokePolicy::Random, &mut tour, random);
    let mut met: Vec<u64> = (0..999).map_while(next).map(|next| number(&next)).collect();
    assert_eq!((met.len(), tour.refused.len()), (RANDOM_REFUSALS, RANDOM_REFUSALS));
    met.sort_unstable();
    met.dedup();
    assert_eq!(met.len(), RANDOM_REFUSALS, "each is another one");
}

/// A call among thousands of full callees looks at none of them.
#[test]
fn full_callees_are_not_looked_at() {
    for invoke in [InvokePolicy::First, InvokePolicy::Last, InvokePolicy::RoundRobin] {
        let crew = callees(invoke, 500, Some(1));
        let mut held: Vec<_> = (0..500).map_while(|_| crew.pick(invoke, || 0)).collect();
        assert_eq!(held.len(), 500);
        assert!(crew.pick(invoke, || 0).is_none());
        let Callees::Many(inner) = &crew else { panic!("there are many") };
        let seats = inner.seats.as_ref().expect("they have limits");
        assert_eq!(seats.lock().free.sorted().map(BTreeSet::len), Some(0));
        let freed = held.remove(250).0.session;
        assert_eq!(seats.lock().free.sorted().map(BTreeSet::len), Some(1));
        assert_eq!(crew.pick(invoke, || 0).expect("one is free").0.session, freed);
    }
}

#[test]
fn a_seat_may_outlive_its_callee() {
    let mut crew = callees(InvokePolicy::First, 2, Some(1));
    let held = crew.pick(InvokePolicy::First, || 0).expect("all are free");
    crew.remove(held.0.session.session);
    crew.enter(InvokePolicy::First, &callee(1, Some(1)));
    drop(held);
    let mut held = Vec::new();
    held.extend(std::iter::from_fn(|| crew.pick(InvokePolicy::First, || 0)).take(9));
    assert_eq!(held.iter().map(number).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn callees_are_listed_in_the_order_of_registration() {
    for invoke in [InvokePolicy::Random, InvokePolicy::First] {
        let mut crew = callees(invoke, 5, None);
        crew.remove(callee(2, None).session.session);
        let from = |after: Option<Place>| {
            crew.iter(after).map(|member| member.session.session.get()).collect::<Vec<_>>()
        };
        assert_eq!(from(None), [1, 3, 4, 5]);
        assert_eq!(from(Some(Place(2))), [4, 5]);
        assert_eq!(crew.len(), 4);
        assert!(crew.get(callee(2, None).session.session).is_none());
    }
}
