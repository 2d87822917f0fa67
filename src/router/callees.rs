//! The callees of one registration: whose turn it is under each policy, who is full, and who is
//! left for a call that others refused (AP-SHR, AP-RRT). Alone they stand in the order in which
//! they came; in a cluster in that of their grants, and some do not count (`claims`).
//!
//! Coming, leaving and being picked cost O(log n), also where most callees are full or have
//! refused. Lives under the lock of the registration's entry; only [`Seats`] has one of its own,
//! since an invocation gives its place back wherever it ends.

mod claims;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::SessionRef;
use super::procedures::{Callee, Traits};
use crate::wamp::{InvokePolicy, SessionId};

use claims::Outsiders;
pub(super) use claims::Turnover;

/// Where a callee stands in the order of registration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
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
                self.crew(invoke).enter(callee);
            }
        }
    }

    /// Makes them a crew, if they are none.
    fn crew(&mut self, invoke: InvokePolicy) -> &mut Crew {
        if !matches!(self, Self::Many(_)) {
            let mut crew = Crew::new(invoke);
            if let Self::One(Member { place, session, traits }) = *self {
                crew.next_place = place.0;
                crew.enter(&Callee { session, traits, concurrency: None });
            }
            *self = Self::Many(Box::new(crew));
        }
        let Self::Many(crew) = self else { unreachable!("they were just made one") };
        crew
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
    /// Claims that do not count.
    outsiders: Option<Box<Outsiders>>,
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
            outsiders: None,
        }
    }

    fn enter(&mut self, callee: &Callee) {
        let place = Place(self.next_place);
        self.next_place += 1;
        self.enter_at(place, callee);
    }

    fn enter_at(&mut self, place: Place, callee: &Callee) {
        let Callee { session, traits, concurrency } = *callee;
        if concurrency.is_some() && self.seats.is_none() {
            self.seats = Some(Seats::of(self.order.clone()));
        }
        self.members.insert(place, Member { place, session, traits });
        self.places.insert(session.session, place);
        self.order.insert(place);
        if let Some(seats) = &self.seats {
            let mut seats = seats.lock();
            seats.free.insert(place);
            seats.loads.extend(concurrency.map(|limit| (place, Load::new(limit))));
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
/// Invariant: a callee with a limit is in `free` exactly while it has fewer pending, and counts.
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
    /// Its claim does not count, so it gets no calls.
    is_outside: bool,
}

impl Load {
    const fn new(limit: u32) -> Self {
        Self { limit, pending: 0, is_outside: false }
    }
}

impl Seats {
    /// Where nobody has a limit yet.
    fn of(free: Order) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { free, loads: BTreeMap::new() }))
    }

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
        if load.pending + 1 == load.limit && !load.is_outside {
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

    const fn is_sorted(&self) -> bool {
        matches!(self, Self::Sorted(_))
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
mod tests;
