//! The shared tables under real threads: whatever the order, what has joined is found, ids are
//! unique, turns are fair, and an empty table has forgotten everything.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use proptest::test_runner::{RngAlgorithm, TestRng};
use rand::RngExt;
use stentor::hash::{HashSeed, Set};
use stentor::limits::Limits;
use stentor::router::{
    Audience, Callee, Identity, MetaTopic, NodeIds, NodeNumber, Picked, Profile, Realm,
    RealmSettings, RegisterError, Registered, RetainedEvent, Router, SessionRef, Settings, ShardId,
    Slot, Stamp,
};
use stentor::wamp::{
    Dict, InvokePolicy, MatchPolicy, PayloadBuf, PublicationId, SessionId, Timestamp,
};

const THREADS: u8 = 4;
const ROUNDS: u64 = 20_000;
/// Rounds in which two threads wait for each other.
const RETAINED_ROUNDS: u64 = 5_000;

/// Patterns that all match `com.a.b`, and meet each other in the lists of shapes.
const PATTERNS: [(&str, MatchPolicy); 6] = [
    ("com.a.b", MatchPolicy::Exact),
    ("com.a", MatchPolicy::Prefix),
    ("com", MatchPolicy::Prefix),
    ("", MatchPolicy::Prefix),
    ("com..b", MatchPolicy::Wildcard),
    ("..", MatchPolicy::Wildcard),
];
const URI: &str = "com.a.b";
/// When everything here is created.
fn now() -> Timestamp {
    Timestamp::default()
}

fn router() -> (Router, Arc<Realm>) {
    let realms = vec![RealmSettings::named("realm1")];
    let router = Router::new(Settings::default(), realms, usize::from(THREADS), HashSeed::new(1));
    let realm = router.realm("realm1").unwrap();
    (router, realm)
}

fn random(seed: u8) -> TestRng {
    TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32])
}

fn session(shard: u8, number: u64) -> SessionRef {
    let id = u64::from(shard) * (1 << 32) + number + 1;
    SessionRef { session: SessionId::new(id).unwrap(), slot: Slot::new(0), shard: ShardId(shard) }
}

/// Runs `work` on each thread at the same time, with its number.
fn at_once<R: Send>(work: impl Fn(u8) -> R + Sync) -> Vec<R> {
    let barrier = Barrier::new(usize::from(THREADS));
    thread::scope(|scope| {
        let start = |number| {
            let (work, barrier) = (&work, &barrier);
            scope.spawn(move || {
                barrier.wait();
                work(number)
            })
        };
        let threads: Vec<_> = (0..THREADS).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn who_has_joined_is_found_until_it_leaves() {
    let (router, realm) = router();
    at_once(|number| {
        let (topics, shard, mut random) = (&realm.topics, ShardId(number), random(number));
        let mut held = [None; PATTERNS.len()];
        for _ in 0..ROUNDS {
            let at = random.random_range(0..PATTERNS.len());
            let (uri, policy) = PATTERNS[at];
            held[at] = match held[at] {
                None => Some(topics.join(uri, policy, shard, now()).unwrap().subscription),
                Some(_) => {
                    topics.leave(uri, policy, shard);
                    None
                }
            };
            let found = topics.matches(URI);
            for (held, (uri, _)) in held.iter().zip(PATTERNS) {
                let hit = held.map(|id| found.iter().find(|fanout| fanout.subscription == id));
                let reaches = |hit: Option<&stentor::router::Fanout>| {
                    hit.is_some_and(|fanout| fanout.to.contains(shard))
                };
                assert!(hit.is_none_or(reaches), "{uri:?} is joined and not found");
            }
            let mine = found.iter().filter(|fanout| fanout.to.contains(shard)).count();
            assert_eq!(mine, held.iter().flatten().count(), "nothing is found after it has left");
        }
        for (held, (uri, policy)) in held.iter().zip(PATTERNS) {
            if held.is_some() {
                topics.leave(uri, policy, shard);
            }
        }
    });
    assert!(router.is_idle());
}

/// A join that another thread has told of is seen by every later publisher.
#[test]
fn a_join_is_seen_by_every_thread_that_knows_of_it() {
    let (router, realm) = router();
    for round in 0..2000 {
        let (uri, policy) = PATTERNS[round % PATTERNS.len()];
        let joined = AtomicBool::new(false);
        at_once(|number| {
            if number == 0 {
                realm.topics.join(uri, policy, ShardId(0), now()).unwrap();
                joined.store(true, Ordering::Release);
            } else if joined.load(Ordering::Acquire) {
                assert_eq!(realm.topics.matches(URI).len(), 1);
            }
        });
        realm.topics.leave(uri, policy, ShardId(0));
    }
    assert!(router.is_idle());
}

/// In a cluster: what is wanted before a look at the slots is over is not given up by it. The count
/// of a slot and what the others know of it are one word.
#[test]
fn who_comes_during_a_look_is_not_forgotten() {
    let ids = NodeIds::new(NodeNumber::new(1).unwrap(), 42);
    let settings = Settings { node: Some(ids), interest_bits: 4, ..Settings::default() };
    let realms = vec![RealmSettings::named("realm1")];
    let router = Router::new(settings, realms, usize::from(THREADS), HashSeed::new(1));
    let (realm, interest) = (router.realm("realm1").unwrap(), router.interest().unwrap());
    let exact = MatchPolicy::Exact;
    let slot = interest.slot("realm1", exact, URI);
    let told = || interest.told().chain(interest.untold()).collect::<Vec<_>>();
    let at_work = AtomicU64::new(u64::from(THREADS) - 1);
    at_once(|thread| {
        if thread > 0 {
            for _ in 0..ROUNDS {
                realm.topics.join(URI, exact, ShardId(thread), now()).unwrap();
                realm.topics.leave(URI, exact, ShardId(thread));
            }
            realm.topics.join(URI, exact, ShardId(thread), now()).unwrap();
            at_work.fetch_sub(1, Ordering::Release);
            return;
        }
        while at_work.load(Ordering::Acquire) > 0 {
            interest.tell(slot);
            interest.confirm(slot);
            interest.give_up_unused();
        }
    });
    assert_eq!(told(), [slot]);
    for thread in 1..THREADS {
        realm.topics.leave(URI, exact, ShardId(thread));
    }
    interest.tell(slot);
    interest.confirm(slot);
    interest.give_up_unused();
    interest.give_up_unused();
    assert_eq!(told(), []);
}

#[test]
fn every_life_of_a_subscription_has_an_id_of_its_own() {
    let (router, realm) = router();
    let join = |uri: &str, shard| realm.topics.join(uri, MatchPolicy::Exact, shard, now());
    let ids = at_once(|number| {
        let join = |round| {
            let uri = format!("com.t{number}.{}", round % 7);
            let id = join(&uri, ShardId(number)).unwrap().subscription.get();
            realm.topics.leave(&uri, MatchPolicy::Exact, ShardId(number));
            id
        };
        (0..ROUNDS).map(join).collect::<Vec<_>>()
    });
    let mut seen: Set<u64> = HashSeed::new(2).set();
    assert!(ids.iter().flatten().all(|id| seen.insert(*id)));
    assert!(router.is_idle());
}

/// AP-SUA-01, AP-RMA-01: the numbers of meta events tell in which order things happened, whichever
/// threads they happened on.
#[test]
fn meta_events_are_numbered_in_the_order_in_which_things_happen() {
    let (router, realm) = router();
    let listener = ("wamp.subscription", MatchPolicy::Prefix);
    realm.topics.join(listener.0, listener.1, ShardId(0), now()).unwrap();
    let first = realm.feed.given();
    let numbered = at_once(|number| {
        let (topics, feed, shard) = (&realm.topics, &realm.feed, ShardId(number));
        let mut events = Vec::new();
        for _ in 0..ROUNDS {
            let joined = topics.join(URI, MatchPolicy::Exact, shard, now()).unwrap();
            let id = joined.subscription;
            events.extend(joined.created.map(|number| (number, id, Happening::Created)));
            let number = |topic| feed.number(topic).expect("somebody listens");
            events.push((number(MetaTopic::SubscriptionOnSubscribe), id, Happening::Joined));
            let departure = topics.leave(URI, MatchPolicy::Exact, shard);
            events.extend(departure.left.map(|number| (number, id, Happening::Left)));
            events.extend(departure.deleted.map(|number| (number, id, Happening::Deleted)));
        }
        events
    });
    let mut events: Vec<_> = numbered.into_iter().flatten().collect();
    events.sort_unstable_by_key(|(number, ..)| *number);
    let (mut alive, mut inside, mut last) = (None, 0, None);
    for (place, (number, id, happening)) in (first..).zip(events) {
        assert_eq!(number, place, "no number is lost or given twice");
        let may_die = last == Some(Happening::Left) && inside == 0;
        assert!(may_die || happening != Happening::Deleted, "the last to leave deletes, at once");
        last = Some(happening);
        match happening {
            Happening::Created => assert_eq!(alive.replace(id), None, "one life at a time"),
            Happening::Joined => inside += 1,
            Happening::Left => inside -= 1,
            Happening::Deleted => assert_eq!(alive.take(), Some(id)),
        }
        assert!(alive == Some(id) || happening == Happening::Deleted);
    }
    assert_eq!(alive, None);
    realm.topics.leave(listener.0, listener.1, ShardId(0));
    assert!(router.is_idle());
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happening {
    Created,
    Joined,
    Left,
    Deleted,
}

#[test]
fn registrations_come_and_go_and_a_call_finds_only_the_living() {
    let (router, realm) = router();
    at_once(|number| {
        let (procedures, mut random) = (&realm.procedures, random(number));
        for round in 0..ROUNDS {
            let callee = session(number, round);
            let (uri, policy) = PATTERNS[random.random_range(0..PATTERNS.len())];
            procedures.register(uri, policy, InvokePolicy::RoundRobin, callee, now()).unwrap();
            assert!(procedures.pick(URI, || 0).is_ok(), "at least this one is registered");
            let twice = procedures.register(uri, policy, InvokePolicy::RoundRobin, callee, now());
            assert_eq!(twice, Err(RegisterError::Twice));
            procedures.unregister(uri, policy, callee.session);
            let gone = procedures.pick(URI, || 0);
            assert!(!gone.is_ok_and(|picked| picked.callee == callee));
        }
    });
    assert!(router.is_idle());
}

#[test]
fn one_of_many_wins_a_single_registration() {
    let (router, realm) = router();
    let wins = at_once(|number| {
        let mut wins = 0;
        for round in 0..ROUNDS {
            let callee = session(number, round);
            let single = InvokePolicy::Single;
            match realm.procedures.register(URI, MatchPolicy::Exact, single, callee, now()) {
                Ok(Registered { registration, .. }) => {
                    let picked = realm.procedures.pick(URI, || 0).unwrap();
                    assert_eq!((picked.callee, picked.registration), (callee, registration));
                    realm.procedures.unregister(URI, MatchPolicy::Exact, callee.session);
                    wins += 1;
                }
                Err(error) => assert_eq!(error, RegisterError::Taken),
            }
        }
        wins
    });
    assert!(wins.iter().sum::<u64>() > 0);
    assert!(router.is_idle());
}

#[test]
fn a_round_robin_is_fair_to_the_call() {
    let (router, realm) = router();
    let callees: Vec<_> = (0..5).map(|number| session(0, number)).collect();
    for callee in &callees {
        let policy = InvokePolicy::RoundRobin;
        realm.procedures.register(URI, MatchPolicy::Exact, policy, *callee, now()).unwrap();
    }
    let counts = at_once(|_| {
        let mut counts = [0; 5];
        for _ in 0..ROUNDS {
            let picked = realm.procedures.pick(URI, || 0).unwrap().callee;
            counts[callees.iter().position(|callee| *callee == picked).unwrap()] += 1;
        }
        counts
    });
    for callee in 0..5 {
        let calls: u64 = counts.iter().map(|counts| counts[callee]).sum();
        assert_eq!(calls, u64::from(THREADS) * ROUNDS / 5);
    }
    for callee in &callees {
        realm.procedures.unregister(URI, MatchPolicy::Exact, callee.session);
    }
    assert!(router.is_idle());
}

/// A seat is taken and given back on any thread; none is lost and none given twice.
#[test]
fn no_callee_has_more_calls_than_it_wants() {
    const LIMIT: u32 = 2;
    for policy in [InvokePolicy::First, InvokePolicy::RoundRobin, InvokePolicy::Random] {
        let (router, realm) = router();
        let callees: Vec<_> = (0..3).map(|number| session(0, number)).collect();
        for session in &callees {
            let callee = Callee { concurrency: Some(LIMIT), ..(*session).into() };
            realm.procedures.register(URI, MatchPolicy::Exact, policy, callee, now()).unwrap();
        }
        let pending: Vec<_> = callees.iter().map(|_| AtomicU64::new(0)).collect();
        at_once(|number| {
            let mut random = random(number);
            let mut held: Vec<(Picked, usize)> = Vec::new();
            for _ in 0..ROUNDS {
                if random.random_bool(0.5) {
                    let Ok(picked) = realm.procedures.pick(URI, || random.random()) else {
                        continue;
                    };
                    let at = callees.iter().position(|callee| *callee == picked.callee).unwrap();
                    assert!(pending[at].fetch_add(1, Ordering::SeqCst) < u64::from(LIMIT));
                    held.push((picked, at));
                } else if let Some((picked, at)) = held.pop() {
                    pending[at].fetch_sub(1, Ordering::SeqCst);
                    drop(picked);
                }
            }
            for (picked, at) in held {
                pending[at].fetch_sub(1, Ordering::SeqCst);
                drop(picked);
            }
        });
        let all: Vec<_> = std::iter::from_fn(|| realm.procedures.pick(URI, || 0).ok()).collect();
        assert_eq!(all.len(), callees.len() * LIMIT as usize, "every seat is free again");
        for callee in &callees {
            realm.procedures.unregister(URI, MatchPolicy::Exact, callee.session);
        }
        assert!(router.is_idle());
    }
}

#[test]
fn a_session_id_belongs_to_one_session() {
    let (router, realm) = router();
    let profile = Arc::new(Profile::anonymous("joe", "anonymous", "websocket", "json"));
    let entered = at_once(|number| {
        let enter = |round: &u64| {
            // Four threads fight for the same ids.
            let mine = SessionRef { shard: ShardId(number), ..session(0, *round) };
            let entered = realm.enter(mine, &profile);
            assert!(!entered || realm.find(mine.session) == Some(mine));
            // Whoever takes it out is the only one, and nobody else's is taken.
            assert_eq!(realm.leave(mine), entered);
            entered && realm.enter(mine, &profile)
        };
        (0..ROUNDS).filter(enter).count() as u64
    });
    assert_eq!(entered.iter().sum::<u64>(), ROUNDS);
    assert_eq!(realm.session_count() as u64, ROUNDS);
    for round in 0..ROUNDS {
        assert!(realm.leave(realm.find(session(0, round).session).unwrap()));
    }
    assert!(router.is_idle());
}

/// AP-RET-07: a publisher stores and then looks who is there, a subscriber joins and then reads.
#[test]
fn a_retained_event_and_a_new_subscriber_never_miss_each_other() {
    let (router, realm) = router();
    let (meet, part) = (Barrier::new(2), Barrier::new(2));
    let number_of_round = AtomicU64::new(0);
    let limits = Limits::default();
    let identity =
        |number| Identity { session: SessionId::new(number).unwrap(), authid: "", authrole: "" };
    let publish = |round: u64| {
        let event = RetainedEvent {
            publication: PublicationId::new(round + 1).unwrap(),
            stamp: Stamp::default(),
            audience: Audience::default(),
            publisher: None,
            details: Dict::new(),
            payload: PayloadBuf::Empty,
        };
        let stored = realm.retained.store(URI, event, identity(1), &limits);
        number_of_round.store(stored.number, Ordering::SeqCst);
        !realm.topics.matches(URI).is_empty()
    };
    let subscribe = |policy, pattern| {
        realm.topics.join(pattern, policy, ShardId(1), now()).unwrap();
        realm.retained.find(pattern, policy, identity(2), 1).last_number
    };
    thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let live = |round| {
                meet.wait();
                let live = publish(round);
                part.wait();
                live
            };
            (0..RETAINED_ROUNDS).map(live).collect::<Vec<bool>>()
        });
        let mut read = Vec::new();
        for round in 0..RETAINED_ROUNDS {
            let (pattern, policy) = PATTERNS[round as usize % PATTERNS.len()];
            meet.wait();
            let last_number = subscribe(policy, pattern);
            part.wait();
            read.push(last_number >= number_of_round.load(Ordering::SeqCst));
            realm.topics.leave(pattern, policy, ShardId(1));
        }
        for (round, (live, read)) in publisher.join().unwrap().into_iter().zip(read).enumerate() {
            assert!(live || read, "round {round}: the event comes neither live nor retained");
        }
    });
    assert!(router.is_idle());
    assert_eq!(realm.retained.len(), 1, "one event of one topic for everyone");
}
