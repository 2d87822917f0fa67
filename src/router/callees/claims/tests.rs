//! Who counts, against the rule in its plainest form, for claims that come and go in any order.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::router::{ShardId, Slot};

const POLICIES: [InvokePolicy; 5] = [
    InvokePolicy::Single,
    InvokePolicy::First,
    InvokePolicy::Last,
    InvokePolicy::RoundRobin,
    InvokePolicy::Random,
];

fn callee(session: u64, concurrency: Option<u32>) -> Callee {
    let session = SessionId::new(session + 1).expect("a small number is an id");
    let session = SessionRef { session, slot: Slot::new(0), shard: ShardId(0) };
    Callee { concurrency, ..session.into() }
}

/// A claim, which stands once and then never again.
#[derive(Clone, Debug)]
struct Model {
    invoke: InvokePolicy,
    callee: Callee,
    stood: bool,
    stands: bool,
}

/// The callees under test, and what is known of them by other means.
struct Check {
    callees: Callees,
    policy: InvokePolicy,
    claims: Vec<Model>,
    /// By what was told of comings and goings.
    told: Vec<SessionRef>,
    slots: Vec<(Place, Option<LoadSlot>)>,
}

/// One in three has a limit, and as many want to share.
fn claim() -> impl Strategy<Value = Model> {
    let policies = prop_oneof![0..5_usize, 1..3_usize];
    (policies, 0..4_u64, prop_oneof![Just(None), Just(None), (1..3_u32).prop_map(Some)]).prop_map(
        |(policy, session, limit)| Model {
            invoke: POLICIES[policy],
            callee: callee(session, limit),
            stood: false,
            stands: false,
        },
    )
}

impl Check {
    fn new(claims: Vec<Model>) -> Self {
        let (callees, policy) = (Callees::default(), InvokePolicy::Single);
        Self { callees, policy, claims, told: Vec::new(), slots: Vec::new() }
    }

    fn place(index: usize) -> Place {
        Place::of_grant(index as u64)
    }

    fn step(&mut self, kind: u8, index: usize, random: u64) {
        let index = index % self.claims.len();
        match kind {
            0..4 => self.install(index),
            4..7 => self.withdraw(index),
            7 | 8 => {
                let picked = self.callees.pick(self.policy, || random);
                self.check_pick(picked.as_ref().map(|(member, _)| member.place));
                self.slots.extend(picked.map(|(member, slot)| (member.place, slot)));
            }
            9 => {
                let session = self.claims[index].callee.session.session;
                if let Ok(Some(slot)) = self.callees.take_seat(session) {
                    self.slots.push((slot.place, Some(slot)));
                }
            }
            _ if self.slots.is_empty() => {}
            _ => drop(self.slots.swap_remove(random as usize % self.slots.len())),
        }
        self.check();
    }

    fn install(&mut self, index: usize) {
        let claim = &mut self.claims[index];
        if claim.stood && !claim.stands {
            return;
        }
        (claim.stood, claim.stands) = (true, true);
        let Model { invoke, callee, .. } = claim.clone();
        let turnover = self.callees.install(&mut self.policy, invoke, &callee, Self::place(index));
        self.hear(turnover);
    }

    fn withdraw(&mut self, index: usize) {
        self.claims[index].stands = false;
        let turnover = self.callees.withdraw(&mut self.policy, Self::place(index));
        self.hear(turnover);
    }

    fn hear(&mut self, Turnover { left, came }: Turnover) {
        for session in left {
            let position = self.told.iter().position(|told| *told == session);
            self.told.swap_remove(position.expect("who leaves was there"));
        }
        for session in came {
            assert!(!self.told.contains(&session), "who comes was not there");
            self.told.push(session);
        }
    }

    /// The rule: the first sets the policy, and whoever those before do not admit does not count.
    fn counting(&self) -> Vec<usize> {
        self.counting_without(None)
    }

    fn counting_without(&self, except: Option<usize>) -> Vec<usize> {
        let mut counting: Vec<usize> = Vec::new();
        let standing = self.claims.iter().enumerate().filter(|(_, claim)| claim.stands);
        for (index, claim) in standing.filter(|(index, _)| Some(*index) != except) {
            let is_admitted = match counting.first() {
                None => true,
                Some(first) => {
                    let is_known =
                        |it: &usize| self.claims[*it].callee.session == claim.callee.session;
                    claim.invoke != InvokePolicy::Single
                        && claim.invoke == self.claims[*first].invoke
                        && !counting.iter().any(is_known)
                }
            };
            counting.extend(is_admitted.then_some(index));
        }
        counting
    }

    /// Whoever counts would be refused by nobody, also without one of the others.
    fn check_refusals(&self, counting: &[usize]) {
        let standing = (0..self.claims.len()).filter(|it| self.claims[*it].stands);
        let excepts = std::iter::once(None).chain(standing.clone().map(Some));
        for except in excepts {
            let without = except.map(|except| self.counting_without(Some(except)));
            let counting = without.as_deref().unwrap_or(counting);
            for index in standing.clone().filter(|index| Some(*index) != except) {
                let Model { invoke, callee, .. } = &self.claims[index];
                let claim = (Self::place(index), *invoke, callee.session.session);
                let refusal = self.callees.refusal(self.policy, claim, except.map(Self::place));
                assert_eq!(refusal.is_none(), counting.contains(&index), "{index}: {refusal:?}");
            }
        }
    }

    fn pending(&self, index: usize) -> usize {
        let place = Self::place(index);
        self.slots.iter().filter(|(at, slot)| *at == place && slot.is_some()).count()
    }

    fn is_free(&self, index: usize) -> bool {
        let limit = self.claims[index].callee.concurrency;
        limit.is_none_or(|limit| self.pending(index) < limit as usize)
    }

    fn check_pick(&self, picked: Option<Place>) {
        let free: Vec<_> =
            self.counting().into_iter().filter(|it| self.is_free(*it)).map(Self::place).collect();
        match self.policy {
            InvokePolicy::Single | InvokePolicy::First => {
                assert_eq!(picked, free.first().copied());
            }
            InvokePolicy::Last => assert_eq!(picked, free.last().copied()),
            _ => assert_eq!(picked.is_some_and(|place| free.contains(&place)), !free.is_empty()),
        }
    }

    fn check(&self) {
        let counting = self.counting();
        let found: Vec<_> = self.callees.iter(None).map(|member| member.place).collect();
        assert_eq!(found, counting.iter().map(|it| Self::place(*it)).collect::<Vec<_>>());
        assert_eq!(self.callees.len(), counting.len());
        let mut sessions: Vec<_> =
            counting.iter().map(|it| self.claims[*it].callee.session).collect();
        let mut told = self.told.clone();
        for list in [&mut sessions, &mut told] {
            list.sort_unstable_by_key(|one| one.session);
        }
        assert_eq!(told, sessions, "listeners know who counts");
        if let Some(first) = counting.first() {
            assert_eq!(self.policy, self.claims[*first].invoke);
        }
        self.check_refusals(&counting);
        if let Callees::Many(crew) = &self.callees
            && let Some(seats) = &crew.seats
        {
            let seats = seats.lock();
            let free: BTreeSet<Place> = match &seats.free {
                Order::Sorted(places) => places.clone(),
                Order::Shuffled(list, positions) => {
                    assert_eq!(list.len(), positions.len());
                    list.iter().copied().collect()
                }
            };
            let expected = counting.iter().filter(|it| self.is_free(**it));
            assert_eq!(free, expected.map(|it| Self::place(*it)).collect());
            let stands = |place: &Place| {
                self.claims
                    .iter()
                    .enumerate()
                    .any(|(index, claim)| claim.stands && Self::place(index) == *place)
            };
            assert!(seats.loads.keys().all(stands));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// It is a function of the claims that stand, whatever order they come and go in.
    #[test]
    fn who_counts_is_what_the_rule_says_of_the_claims_that_stand(
        claims in vec(claim(), 1..8),
        steps in vec((0..12_u8, 0..8_usize, any::<u64>()), 1..60),
    ) {
        let mut check = Check::new(claims);
        for (kind, index, random) in steps {
            check.step(kind, index, random);
        }
        for index in 0..check.claims.len() {
            check.withdraw(index);
            check.check();
        }
        assert!(check.callees.is_empty() && check.told.is_empty());
    }
}

/// A round robin goes on where it was, also where a claim comes late to a place that was passed.
#[test]
fn a_round_robin_goes_by_grants() {
    let (mut callees, mut policy) = (Callees::default(), InvokePolicy::Single);
    let mut install = |callees: &mut Callees, session, grant| {
        let callee = callee(session, None);
        let invoke = InvokePolicy::RoundRobin;
        callees.install(&mut policy, invoke, &callee, Place::of_grant(grant));
    };
    install(&mut callees, 3, 30);
    install(&mut callees, 1, 10);
    let next = |callees: &Callees| {
        let picked = callees.pick(InvokePolicy::RoundRobin, || 0).expect("all are free");
        picked.0.place.grant()
    };
    assert_eq!([next(&callees), next(&callees)], [10, 30]);
    install(&mut callees, 2, 20);
    assert_eq!([next(&callees), next(&callees), next(&callees)], [10, 20, 30]);
}
