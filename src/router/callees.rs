//! The callees of one registration: whose turn it is under each policy, who is full, and who is
//! left for a call that others refused (AP-SHR, AP-RRT).
//!
//! Coming, leaving and being picked cost O(log n), also where most callees are full or have
//! refused. Lives under the lock of the registration's entry; only [`Seats`] has one of its own,
//! since an invocation gives its place back wherever it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::SessionRef;
use super::procedures::{Callee, Traits};
use crate::wamp::{InvokePolicy, SessionId};

/// Where a callee stands in the order of registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u64);

/// A callee of a registration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) place: Place,
    pub(super) session: SessionRef,
    pub(super) traits: Traits,
}

/// The way of one call from callee to callee: it meets each once (AP-RRT-01, AP-RRT-02).
#[derive(Debug)]
pub struct Tour {
    first: Place,
    last: Place,
    /// Where `random` has been; the other policies only go on.
    refused: Vec<Place>,
}

impl Tour {
    /// Begins with the callee that got the call first.
    pub const fn new(first: Place) -> Self {
        Self { first, last: first, refused: Vec::new() }
    }
}

/// One seat of a callee with a limit, given back when it is dropped, wherever the call ends.
#[derive(Debug)]
pub struct LoadSlot {
    seats: Arc<Mutex<Seats>>,
    place: Place,
}

impl Drop for LoadSlot {
    fn drop(&mut self) {
        self.seats.lock().give_back(self.place);
    }
}

/// Every callee has as many invocations pending as it wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full;

/// Most registrations have one callee without a limit, which takes no memory of its own.
#[derive(Debug, Default)]
pub(super) enum Callees {
    #[default]
    Nobody,
    One(Member),
    Many(Box<Crew>),
}

impl Callees {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Nobody => 0,
            Self::One(_) => 1,
            Self::Many(crew) => crew.members.len(),
        }
    }

    pub(super) fn get(&self, session: SessionId) -> Option<SessionRef> {
        match self {
            Self::Nobody => None,
            Self::One(member) => Some(member.session).filter(|found| found.session == session),
            Self::Many(crew) => Some(crew.members[crew.places.get(&session)?].session),
        }
    }

    /// In the order of registration, from behind `after` on.
    pub(super) fn iter(&self, after: Option<Place>) -> impl Iterator<Item = &Member> {
        let (one, many) = match self {
            Self::Nobody => (None, None),
            Self::One(member) => (Some(member).filter(|one| Some(one.place) > after), None),
            Self::Many(crew) => {
                let from = after.map_or(Bound::Unbounded, Bound::Excluded);
                (None, Some(crew.members.range((from, Bound::Unbounded)).map(|(_, member)| member)))
            }
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Enters a callee that is none yet.
    pub(super) fn enter(&mut self, invoke: InvokePolicy, callee: &Callee) {
        debug_assert!(self.get(callee.session.session).is_none());
        match self {
            Self::Many(crew) => crew.enter(callee),
            Self::Nobody if callee.concurrency.is_none() => {
                let Callee { session, traits, .. } = *callee;
                *self = Self::One(Member { place: Place(0), session, traits });
            }
            Self::Nobody | Self::One(_) => {
                let mut crew = Crew::new(invoke);
                if let Self::One(Member { session, traits, .. }) = *self {
                    crew.enter(&Callee { session, traits, concurrency: None });
                }
                crew.enter(callee);
                *self = Self::Many(Box::new(crew));
            }
        }
    }

    /// A round robin goes on where it was (AP-SHR-04).
    pub(super) fn remove(&mut self, session: SessionId) {
        match self {
            Self::One(member) if member.session.session == session => *self = Self::Nobody,
            Self::Nobody | Self::One(_) => {}
            Self::Many(crew) => crew.remove(session),
        }
    }

    /// The callee of a new call, with its seat if it has a limit; `None` if all are full.
    pub(super) fn pick(
        &self,
        invoke: InvokePolicy,
        random: impl FnOnce() -> u64,
    ) -> Option<(Member, Option<LoadSlot>)> {
        match self {
            Self::Nobody => None,
            Self::One(member) => Some((*member, None)),
            Self::Many(crew) => crew.seat(|order| match invoke {
                InvokePolicy::Single | InvokePolicy::First => order.first(),
                InvokePolicy::Last => order.last(),
                InvokePolicy::RoundRobin => crew.take_turn(order),
                InvokePolicy::Random => order.pick_random(&[], random()),
            }),
        }
    }

    /// Whom the next call would go to, as it looks now: nobody takes a turn or a seat. `Err` if all
    /// are full; `Ok(None)` if chance has it.
    pub(super) fn foresee(&self, invoke: InvokePolicy) -> Result<Option<Member>, Full> {
        let crew = match self {
            Self::Nobody => return Err(Full),
            Self::One(member) => return Ok(Some(*member)),
            Self::Many(crew) => crew,
        };
        let choose = |order: &Order| match invoke {
            InvokePolicy::Single | InvokePolicy::First => order.first(),
            InvokePolicy::Last => order.last(),
            InvokePolicy::RoundRobin => {
                let turn = Place(crew.turn.load(Ordering::Relaxed));
                order.after(turn).or_else(|| order.first())
            }
            InvokePolicy::Random => order.pick_random(&[], 0),
        };
        let free = crew.seats.as_ref().map(|seats| choose(&seats.lock().free));
        let place = free.unwrap_or_else(|| choose(&crew.order)).ok_or(Full)?;
        Ok((invoke != InvokePolicy::Random).then(|| crew.members[&place]))
    }

    /// The next callee of a call that those of its tour refused.
    pub(super) fn pick_next(
        &self,
        invoke: InvokePolicy,
        tour: &mut Tour,
        random: u64,
    ) -> Option<(Member, Option<LoadSlot>)> {
        // The only callee is the one that refused.
        let Self::Many(crew) = self else { return None };
        if invoke == InvokePolicy::Random {
            if tour.refused.len() >= RANDOM_REFUSALS {
                return None;
            }
            tour.refused.push(tour.last);
        }
        let picked = crew.seat(|order| match invoke {
            InvokePolicy::Single => None,
            InvokePolicy::First => order.after(tour.last),
            InvokePolicy::Last => order.before(tour.last),
            InvokePolicy::RoundRobin if tour.last < tour.first => {
                order.after(tour.last).filter(|next| *next < tour.first)
            }
            InvokePolicy::RoundRobin => {
                let from_the_front = || order.first().filter(|next| *next < tour.first);
                order.after(tour.last).or_else(from_the_front)
            }
            InvokePolicy::Random => order.pick_random(&tour.refused, random),
        })?;
        let place = picked.0.place;
        // The turn is behind the callee that got the call, unless it has gone on meanwhile.
        let (from, to) = (tour.last.0, place.0);
        let _ = crew.turn.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        tour.last = place;
        Some(picked)
    }
}

/// More than one callee, or one with a limit.
#[derive(Debug)]
pub(super) struct Crew {
    members: BTreeMap<Place, Member>,
    places: BTreeMap<SessionId, Place>,
    /// All places.
    order: Order,
    /// Made with the first callee that has a limit; without one nothing is counted.
    seats: Option<Arc<Mutex<Seats>>>,
    next_place: u64,
    /// The place that a round robin was at last.
    turn: AtomicU64,
}

impl Crew {
    fn new(invoke: InvokePolicy) -> Self {
        Self {
            members: BTreeMap::new(),
            places: BTreeMap::new(),
            order: Order::new(invoke),
            seats: None,
            next_place: 0,
            turn: AtomicU64::new(BEHIND_ALL),
        }
    }

    fn enter(&mut self, callee: &Callee) {
        let place = Place(self.next_place);
        self.next_place += 1;
        let Callee { session, traits, concurrency } = *callee;
        if concurrency.is_some() && self.seats.is_none() {
            let (free, loads) = (self.order.clone(), BTreeMap::new());
            self.seats = Some(Arc::new(Mutex::new(Seats { free, loads })));
        }
        self.members.insert(place, Member { place, session, traits });
        self.places.insert(session.session, place);
        self.order.insert(place);
        if let Some(seats) = &self.seats {
            let mut seats = seats.lock();
            seats.free.insert(place);
            let load = concurrency.map(|limit| (place, Load { limit, pending: 0 }));
            seats.loads.extend(load);
        }
    }

    fn remove(&mut self, session: SessionId) {
        let Some(place) = self.places.remove(&session) else { return };
        self.members.remove(&place);
        self.order.remove(place);
        if let Some(seats) = &self.seats {
            let mut seats = seats.lock();
            seats.free.remove(place);
            seats.loads.remove(&place);
        }
    }

    /// Gives a call a seat at the callee that `choose` takes of those that are not full.
    fn seat(
        &self,
        choose: impl FnOnce(&Order) -> Option<Place>,
    ) -> Option<(Member, Option<LoadSlot>)> {
        let Some(seats) = &self.seats else {
            return Some((self.members[&choose(&self.order)?], None));
        };
        let mut locked = seats.lock();
        let place = choose(&locked.free)?;
        let is_limited = locked.take(place);
        drop(locked);
        let slot = is_limited.then(|| LoadSlot { seats: Arc::clone(seats), place });
        Some((self.members[&place], slot))
    }

    /// The next place in the round. Of two threads that ask at once each gets its own.
    fn take_turn(&self, order: &Order) -> Option<Place> {
        let mut turn = self.turn.load(Ordering::Relaxed);
        loop {
            let next = order.after(Place(turn)).or_else(|| order.first())?;
            let taken = (Ordering::Relaxed, Ordering::Relaxed);
            match self.turn.compare_exchange_weak(turn, next.0, taken.0, taken.1) {
                Ok(_) => return Some(next),
                Err(now) => turn = now,
            }
        }
    }
}

/// Who has a seat free, of callees with limits and without.
///
/// Invariant: a callee with a limit is in `free` exactly while it has fewer pending.
#[derive(Debug)]
struct Seats {
    free: Order,
    loads: BTreeMap<Place, Load>,
}

/// How many invocations a callee with a limit has pending on one registration.
#[derive(Debug)]
struct Load {
    /// 1 or more.
    limit: u32,
    pending: u32,
}

impl Seats {
    /// Whether the callee has a limit, so that the seat counts.
    fn take(&mut self, place: Place) -> bool {
        let Some(load) = self.loads.get_mut(&place) else { return false };
        load.pending += 1;
        if load.pending >= load.limit {
            self.free.remove(place);
        }
        true
    }

    /// Without effect if the callee has left.
    fn give_back(&mut self, place: Place) {
        let Some(load) = self.loads.get_mut(&place) else { return };
        load.pending -= 1;
        if load.pending + 1 == load.limit {
            self.free.insert(place);
        }
    }
}

/// Places, in such an order as the policy needs.
#[derive(Clone, Debug)]
enum Order {
    Sorted(BTreeSet<Place>),
    /// For `random`: one of them is found by its position, and the position by the place.
    Shuffled(Vec<Place>, BTreeMap<Place, usize>),
}

impl Order {
    fn new(invoke: InvokePolicy) -> Self {
        match invoke {
            InvokePolicy::Random => Self::Shuffled(Vec::new(), BTreeMap::new()),
            _ => Self::Sorted(BTreeSet::new()),
        }
    }

    fn insert(&mut self, place: Place) {
        match self {
            Self::Sorted(places) => {
                places.insert(place);
            }
            Self::Shuffled(list, positions) => {
                positions.insert(place, list.len());
                list.push(place);
            }
        }
    }

    fn remove(&mut self, place: Place) {
        match self {
            Self::Sorted(places) => {
                places.remove(&place);
            }
            Self::Shuffled(list, positions) => {
                let Some(position) = positions.remove(&place) else { return };
                list.swap_remove(position);
                if let Some(moved) = list.get(position) {
                    positions.insert(*moved, position);
                }
            }
        }
    }

    /// One of those that have not refused, each as likely as the others.
    fn pick_random(&self, refused: &[Place], random: u64) -> Option<Place> {
        let Self::Shuffled(list, positions) = self else { return None };
        let skipped = refused.iter().filter_map(|place| positions.get(place).copied());
        let mut skipped: SmallVec<[usize; 8]> = skipped.collect();
        skipped.sort_unstable();
        let count = (list.len() - skipped.len()) as u64;
        let mut position = usize::try_from(random.checked_rem(count)?).unwrap_or_default();
        for skipped in skipped {
            position += usize::from(skipped <= position);
        }
        list.get(position).copied()
    }

    fn first(&self) -> Option<Place> {
        self.sorted()?.first().copied()
    }

    fn last(&self) -> Option<Place> {
        self.sorted()?.last().copied()
    }

    fn after(&self, place: Place) -> Option<Place> {
        self.sorted()?.range((Bound::Excluded(place), Bound::Unbounded)).next().copied()
    }

    fn before(&self, place: Place) -> Option<Place> {
        self.sorted()?.range(..place).next_back().copied()
    }

    const fn sorted(&self) -> Option<&BTreeSet<Place>> {
        match self {
            Self::Sorted(places) => Some(places),
            Self::Shuffled(..) => None,
        }
    }
}

/// No callee stands here, so the turn after it is that of the first one.
const BEHIND_ALL: u64 = u64::MAX;

/// Callees under `random` that may refuse one call; it keeps the place of each. The other policies
/// go on in order and need no such bound.
const RANDOM_REFUSALS: usize = 64;

#[cfg(test)]
mod tests {
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
        for (invoke, end) in [
            (InvokePolicy::First, 2_000),
            (InvokePolicy::Last, 1),
            (InvokePolicy::RoundRobin, 2_000),
        ] {
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
}
