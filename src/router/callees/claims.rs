//! Callees in a cluster: each is a claim, which stands at the place that its grant gives it in the
//! order of all nodes, whenever this node hears of it.
//!
//! The first one sets the policy, and whoever it does not admit does not count. Who counts is a
//! function of the claims that stand, whatever order they came and went in. One that does not count
//! is about to be given back, so there are few, and seldom does more than one change with a claim.

use std::collections::{BTreeMap, BTreeSet};

use super::{Callee, Callees, Crew, Full, Load, LoadSlot, Member, Order, Place};
use crate::router::{RegisterError, SessionRef};
use crate::wamp::{InvokePolicy, SessionId};

/// Which callees have gone and which have come, in their order.
#[derive(Debug, Default)]
pub(in crate::router) struct Turnover {
    pub(in crate::router) left: Vec<SessionRef>,
    pub(in crate::router) came: Vec<SessionRef>,
}

/// Claims that do not count.
///
/// Invariant: `places` has the sessions and places of `claims`.
#[derive(Debug, Default)]
pub(super) struct Outsiders {
    claims: BTreeMap<Place, Outsider>,
    places: BTreeSet<(SessionId, Place)>,
}

#[derive(Debug)]
struct Outsider {
    invoke: InvokePolicy,
    callee: Callee,
}

impl Outsiders {
    fn insert(&mut self, place: Place, outsider: Outsider) {
        self.places.insert((outsider.callee.session.session, place));
        self.claims.insert(place, outsider);
    }

    fn remove(&mut self, place: Place) -> Option<Outsider> {
        let outsider = self.claims.remove(&place)?;
        self.places.remove(&(outsider.callee.session.session, place));
        Some(outsider)
    }

    /// The first claim of a session under this policy.
    fn first_of(&self, session: SessionId, invoke: InvokePolicy) -> Option<Place> {
        let of_session = self.places.range((session, Place(0))..=(session, Place(u64::MAX)));
        let mut places = of_session.map(|(_, place)| *place);
        places.find(|place| self.claims[place].invoke == invoke)
    }
}

impl Place {
    /// That of a callee whose claim was granted as this number of the cluster.
    pub const fn of_grant(grant: u64) -> Self {
        Self(grant)
    }

    /// The number of the cluster.
    pub const fn grant(self) -> u64 {
        self.0
    }
}

impl Callees {
    /// Enters a claim, unless it stands already. `policy` is that of the first one, before and
    /// after.
    pub(in crate::router) fn install(
        &mut self,
        policy: &mut InvokePolicy,
        invoke: InvokePolicy,
        callee: &Callee,
        place: Place,
    ) -> Turnover {
        let came = || Turnover { came: vec![callee.session], ..Turnover::default() };
        match self {
            Self::Nobody => {
                *policy = invoke;
                if callee.concurrency.is_some() {
                    self.crew(invoke).enter_at(place, callee);
                } else {
                    let Callee { session, traits, .. } = *callee;
                    *self = Self::One(Member { place, session, traits });
                }
                came()
            }
            Self::One(member) if member.place == place => Turnover::default(),
            Self::One(_) | Self::Many(_) => {
                let crew = self.crew(*policy);
                if crew.stands(place) {
                    return Turnover::default();
                }
                crew.install(policy, invoke, callee, place)
            }
        }
    }

    /// Takes a claim out, if it stands.
    pub(in crate::router) fn withdraw(
        &mut self,
        policy: &mut InvokePolicy,
        place: Place,
    ) -> Turnover {
        match self {
            Self::One(Member { place: found, session, .. }) if *found == place => {
                let left = vec![*session];
                *self = Self::Nobody;
                Turnover { left, ..Turnover::default() }
            }
            Self::Nobody | Self::One(_) => Turnover::default(),
            Self::Many(crew) => {
                let turnover = crew.withdraw(policy, place);
                if crew.members.is_empty() {
                    *self = Self::Nobody;
                }
                turnover
            }
        }
    }

    /// Whether the claim at this place stands and counts.
    pub(in crate::router) fn counts(&self, place: Place) -> bool {
        match self {
            Self::Nobody => false,
            Self::One(member) => member.place == place,
            Self::Many(crew) => crew.members.contains_key(&place),
        }
    }

    /// Why a claim would not count at this place, and who is in its way; whether or not it stands
    /// already. `except` is a claim of which it takes the place.
    pub(in crate::router) fn refusal(
        &self,
        policy: InvokePolicy,
        (place, invoke, session): (Place, InvokePolicy, SessionId),
        except: Option<Place>,
    ) -> Option<(RegisterError, SessionRef)> {
        let counting = except.map(|except| self.counting(policy, except));
        let (first, own) = match &counting {
            // Who counts does so whatever stands behind it.
            None => (
                self.iter(None).next().map(|it| (it.place, policy, it.session)),
                self.find(session),
            ),
            Some(counting) => {
                let own = counting.iter().find(|(.., it)| it.session == session);
                (counting.first().copied(), own.map(|(place, _, it)| (*place, *it)))
            }
        };
        let (_, first_invoke, first) = first.filter(|(first, ..)| *first < place)?;
        if let Some((_, own)) = own.filter(|(own, _)| *own < place) {
            Some((RegisterError::Twice, own))
        } else if invoke != first_invoke {
            Some((RegisterError::OtherPolicy, first))
        } else if invoke == InvokePolicy::Single {
            Some((RegisterError::Taken, first))
        } else {
            None
        }
    }

    fn find(&self, session: SessionId) -> Option<(Place, SessionRef)> {
        let member = match self {
            Self::Nobody => return None,
            Self::One(member) => member,
            Self::Many(crew) => &crew.members[crew.places.get(&session)?],
        };
        (member.session.session == session).then_some((member.place, member.session))
    }

    /// Who would count without one claim, in their order.
    #[cold]
    fn counting(
        &self,
        policy: InvokePolicy,
        except: Place,
    ) -> Vec<(Place, InvokePolicy, SessionRef)> {
        let mut all: Vec<_> = self.iter(None).map(|it| (it.place, policy, it.session)).collect();
        if let Self::Many(crew) = self {
            let outsiders = crew.outsiders.iter().flat_map(|outsiders| &outsiders.claims);
            all.extend(outsiders.map(|(place, it)| (*place, it.invoke, it.callee.session)));
        }
        all.retain(|(place, ..)| *place != except);
        all.sort_unstable_by_key(|(place, ..)| *place);
        let Some((_, shared, _)) = all.first().copied() else { return all };
        let (mut sessions, mut is_first) = (BTreeSet::new(), true);
        all.retain(|(_, invoke, session)| {
            let is_shared = *invoke == shared && shared != InvokePolicy::Single;
            let is_new = sessions.insert((*invoke == shared, session.session));
            std::mem::take(&mut is_first) || is_shared && is_new
        });
        all
    }

    /// A seat at a callee for a call that comes from elsewhere, if it counts its calls. Whoever is
    /// no callee has none to give.
    pub(in crate::router) fn take_seat(
        &self,
        session: SessionId,
    ) -> Result<Option<LoadSlot>, Full> {
        let Self::Many(crew) = self else { return Ok(None) };
        let (Some(seats), Some(place)) = (&crew.seats, crew.places.get(&session)) else {
            return Ok(None);
        };
        let mut locked = seats.lock();
        if locked.loads.get(place).is_some_and(|load| load.pending >= load.limit) {
            return Err(Full);
        }
        let is_limited = locked.take(*place);
        drop(locked);
        Ok(is_limited.then(|| LoadSlot { seats: seats.clone(), place: *place }))
    }
}

impl Crew {
    fn stands(&self, place: Place) -> bool {
        let outsiders = self.outsiders.as_ref();
        self.members.contains_key(&place)
            || outsiders.is_some_and(|outsiders| outsiders.claims.contains_key(&place))
    }

    fn install(
        &mut self,
        policy: &mut InvokePolicy,
        invoke: InvokePolicy,
        callee: &Callee,
        place: Place,
    ) -> Turnover {
        let own = self.places.get(&callee.session.session).copied();
        let is_shared = invoke == *policy && invoke != InvokePolicy::Single;
        if is_shared && own.is_none() {
            self.enter_at(place, callee);
            return Turnover { came: vec![callee.session], ..Turnover::default() };
        }
        let is_first = self.members.keys().next().is_some_and(|first| place < *first);
        let replaces = is_shared && own.is_some_and(|own| place < own);
        self.enter_outside(place, Outsider { invoke, callee: callee.clone() });
        if is_first || replaces { self.settle(policy) } else { Turnover::default() }
    }

    fn withdraw(&mut self, policy: &mut InvokePolicy, place: Place) -> Turnover {
        let Some(Member { session, .. }) = self.members.get(&place).copied() else {
            let outsiders = self.outsiders.as_mut();
            if outsiders.is_some_and(|outsiders| outsiders.remove(place).is_some()) {
                self.forget_load(place);
                self.tidy();
            }
            return Turnover::default();
        };
        self.remove(session.session);
        let Some(outsiders) = &self.outsiders else {
            return Turnover { left: vec![session], ..Turnover::default() };
        };
        let next = outsiders.claims.keys().next();
        let first = self.members.keys().next();
        let is_next = next.is_some_and(|next| first.is_none_or(|first| next < first));
        let mut turnover = if is_next {
            self.settle(policy)
        } else if *policy != InvokePolicy::Single
            && let Some(again) = outsiders.first_of(session.session, *policy)
        {
            Turnover { came: vec![self.bring_in(again)], ..Turnover::default() }
        } else {
            Turnover::default()
        };
        turnover.left.insert(0, session);
        turnover
    }

    /// Finds anew who counts: the first may be another one.
    #[cold]
    fn settle(&mut self, policy: &mut InvokePolicy) -> Turnover {
        let before = *policy;
        let claims = || {
            let members = self.members.iter().map(|(place, it)| (*place, before, it.session));
            let others = self.outsiders.iter().flat_map(|outsiders| &outsiders.claims);
            members.chain(others.map(|(place, it)| (*place, it.invoke, it.callee.session)))
        };
        let mut all: Vec<_> = claims().collect();
        all.sort_unstable_by_key(|(place, ..)| *place);
        let Some((first, invoke, _)) = all.first().copied() else { return Turnover::default() };
        *policy = invoke;
        let mut sessions = BTreeSet::new();
        let (mut leaving, mut coming) = (Vec::new(), Vec::new());
        for (place, invoke, session) in all {
            let is_shared = invoke == *policy && invoke != InvokePolicy::Single;
            let counts = place == first || is_shared && !sessions.contains(&session.session);
            if counts {
                sessions.insert(session.session);
            }
            match (self.members.contains_key(&place), counts) {
                (true, false) => leaving.push(place),
                (false, true) => coming.push(place),
                (true, true) | (false, false) => {}
            }
        }
        let left = leaving.into_iter().map(|place| self.put_out(place, before)).collect();
        if self.order.is_sorted() == (*policy == InvokePolicy::Random) {
            self.reorder(*policy);
        }
        let came = coming.into_iter().map(|place| self.bring_in(place)).collect();
        Turnover { left, came }
    }

    /// A callee does not count any more. What it has pending does.
    fn put_out(&mut self, place: Place, invoke: InvokePolicy) -> SessionRef {
        let Member { session, traits, .. } = self.members.remove(&place).expect(A_MEMBER);
        self.places.remove(&session.session);
        self.order.remove(place);
        let mut concurrency = None;
        if let Some(seats) = &self.seats {
            let mut seats = seats.lock();
            seats.free.remove(place);
            if let Some(load) = seats.loads.get_mut(&place) {
                load.is_outside = true;
                concurrency = Some(load.limit);
            }
        }
        let callee = Callee { session, traits, concurrency };
        self.outsiders.get_or_insert_default().insert(place, Outsider { invoke, callee });
        session
    }

    /// A claim counts from now on.
    fn bring_in(&mut self, place: Place) -> SessionRef {
        let outsiders = self.outsiders.as_mut().expect(AN_OUTSIDER);
        let Outsider { callee, .. } = outsiders.remove(place).expect(AN_OUTSIDER);
        self.tidy();
        let Callee { session, traits, .. } = callee;
        self.members.insert(place, Member { place, session, traits });
        self.places.insert(session.session, place);
        self.order.insert(place);
        if let Some(seats) = &self.seats {
            let mut seats = seats.lock();
            let load = seats.loads.get_mut(&place);
            let is_free = load.is_none_or(|load| {
                load.is_outside = false;
                load.pending < load.limit
            });
            if is_free {
                seats.free.insert(place);
            }
        }
        session
    }

    /// Enters a claim that does not count.
    fn enter_outside(&mut self, place: Place, outsider: Outsider) {
        if let Some(limit) = outsider.callee.concurrency {
            let order = &self.order;
            let seats = self.seats.get_or_insert_with(|| super::Seats::of(order.clone()));
            let load = Load { is_outside: true, ..Load::new(limit) };
            seats.lock().loads.insert(place, load);
        }
        self.outsiders.get_or_insert_default().insert(place, outsider);
    }

    fn forget_load(&self, place: Place) {
        if let Some(seats) = &self.seats {
            seats.lock().loads.remove(&place);
        }
    }

    /// The members stand in such an order as another policy needs.
    fn reorder(&mut self, policy: InvokePolicy) {
        self.order = Order::new(policy);
        self.members.keys().for_each(|place| self.order.insert(*place));
        if let Some(seats) = &self.seats {
            let mut seats = seats.lock();
            let mut free = Order::new(policy);
            let is_full = |place: &Place| {
                seats.loads.get(place).is_some_and(|load| load.pending >= load.limit)
            };
            let places = self.members.keys().filter(|place| !is_full(place));
            places.for_each(|place| free.insert(*place));
            seats.free = free;
        }
    }

    fn tidy(&mut self) {
        drop(self.outsiders.take_if(|outsiders| outsiders.claims.is_empty()));
    }
}

const A_MEMBER: &str = "who is put out was counted";
const AN_OUTSIDER: &str = "who is brought in stood outside";

#[cfg(test)]
mod tests;
