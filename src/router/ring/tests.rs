//! The ring against a list that forgets nothing, and its filters against their definitions.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::{Answer, Audience, ReceiverLists};
use super::*;
use crate::wamp::{Dict, PayloadBuf, ReceiverFilter, SessionId};

const ME: &str = "joe";

fn identity(authid: &str) -> Identity<'_> {
    let session = SessionId::new(1).expect("a small number is an id");
    Identity { session, authid, authrole: "user" }
}

fn id(number: u64) -> PublicationId {
    PublicationId::new(number).expect("a small number is an id")
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(ms)
}

fn only_for(authid: &str) -> Option<Arc<ReceiverLists>> {
    let eligible_authid = Some(vec![authid.to_owned()]);
    let filter = ReceiverFilter { eligible_authid, ..ReceiverFilter::default() };
    Audience::new(None, Some(Box::new(filter))).lists
}

fn event(publication: u64, ms: i64, topic: &str, is_secret: bool) -> Arc<StoredEvent> {
    Arc::new(StoredEvent {
        timestamp: at(ms),
        publication: id(publication),
        topic: topic.into(),
        lists: is_secret.then(|| only_for("zoe")).flatten(),
        details: Dict::new(),
        payload: PayloadBuf::Empty,
    })
}

const WIDE: Bounds = Bounds { events: 100, bytes: usize::MAX, age_ms: None };

/// Ten events of publications 1 to 10, one a second from second 1 on.
fn ten(bounds: Bounds) -> Ring {
    let mut ring = Ring::default();
    for number in 1..=10_i64 {
        let ms = number * 1_000;
        let number = number.cast_unsigned();
        let pushed = ring.push(event(number, ms, "com.x", false), bounds, at(ms));
        assert_eq!(pushed.number, number);
        ring.check_invariants(bounds);
    }
    ring
}

fn ids(answer: &Answer) -> Vec<u64> {
    answer.events.iter().map(|event| event.publication.get()).collect()
}

/// Asks in pieces of so many units.
fn ask_in_pieces(ring: &Ring, query: &Query, max_units: usize) -> (Vec<u64>, bool, bool) {
    let answer = Scan::new(query.clone()).carry_out(100, usize::MAX, |scan, most| {
        let page = ring.scan(scan, identity(ME), most, max_units);
        assert!((1..=max_units).contains(&page.units), "{} units", page.units);
        page
    });
    (ids(&answer), answer.complete, answer.is_limit_reached)
}

fn ask(ring: &Ring, query: &Query) -> (Vec<u64>, bool, bool) {
    ask_in_pieces(ring, query, usize::MAX)
}

#[test]
fn each_bound_evicts_the_oldest() {
    let weight = event(1, 1, "com.x", false).weight();
    for (bounds, kept) in [
        (Bounds { events: 3, ..WIDE }, &[8, 9, 10][..]),
        (Bounds { bytes: weight * 4 + 1, ..WIDE }, &[7, 8, 9, 10]),
        (Bounds { bytes: 1, ..WIDE }, &[10]),
        (Bounds { age_ms: Some(2_000), ..WIDE }, &[8, 9, 10]),
    ] {
        let ring = ten(bounds);
        assert_eq!(ask(&ring, &Query::default()), (kept.to_vec(), false, false), "{bounds:?}");
        let last_evicted = kept[0] as i64 - 1;
        assert_eq!(ring.edge(), (kept[0], Some(at(last_evicted * 1_000))));
    }
    let mut ring = ten(WIDE);
    assert_eq!(ring.edge(), (1, None));
    let brief = Bounds { age_ms: Some(5), ..WIDE };
    assert_eq!(ring.expire(brief, at(100_000), 4), 4, "in pieces");
    assert_eq!(ring.expire(brief, at(100_000), usize::MAX), 6);
    assert_eq!((ring.edge(), ring.bytes()), ((11, Some(at(10_000))), 0));
    let behind = Bounds { age_ms: Some(9_000), ..WIDE };
    let set_back = ten(WIDE).expire(behind, at(0), usize::MAX);
    assert_eq!(set_back, 0, "a clock that is set back evicts nothing");
}

/// A clock that was wrong for a while does not keep anything for longer than its age.
#[test]
fn events_from_the_future_grow_old() {
    let hour = 3_600_000;
    let bounds = Bounds { age_ms: Some(1_000), ..WIDE };
    let push = |ring: &mut Ring, number, ms| {
        ring.push(event(number, ms, "com.x", false), bounds, at(ms));
        ring.check_invariants(bounds);
    };
    let mut ring = Ring::default();
    push(&mut ring, 1, hour);
    for (number, ms) in [(2, 100), (3, 600), (4, 1_050)] {
        push(&mut ring, number, ms);
    }
    assert_eq!(ask(&ring, &Query::default()).0, [1, 2, 3, 4]);
    push(&mut ring, 5, 1_700);
    assert_eq!(ask(&ring, &Query::default()).0, [4, 5], "3 is 1,100 ms old");
    assert_eq!(ring.expire(bounds, at(10_000), usize::MAX), 2);
    let saved = vec![(1, event(1, hour, "com.x", false)), (2, event(2, 100, "com.x", false))];
    let mut restored = Ring::default();
    restored.restore(saved, None);
    assert_eq!(restored.expire(bounds, at(1_200), usize::MAX), 2, "also across a restart");
}

/// The clocks of shards differ by the length of a turn: that makes nothing older.
#[test]
fn clocks_that_differ_a_little_do_not_add_up() {
    let bounds = Bounds { age_ms: Some(1_000), ..WIDE };
    let mut ring = Ring::default();
    for round in 0..40_u64 {
        for ms in [500 + round.cast_signed(), round.cast_signed()] {
            ring.push(event(round * 2 + 1, ms, "com.x", false), bounds, at(ms));
        }
    }
    assert_eq!(ring.len(), 80, "40 ms have passed");
}

/// One publisher does not pay for all that grew old while nobody published.
#[test]
fn a_push_evicts_a_bounded_number_of_old_events() {
    let bounds = Bounds { events: 1_000, bytes: usize::MAX, age_ms: Some(1_000) };
    let mut ring = Ring::default();
    for number in 1..=500 {
        ring.push(event(number, 0, "com.x", false), bounds, at(0));
    }
    let pushed = ring.push(event(501, 5_000, "com.x", false), bounds, at(5_000));
    assert_eq!((pushed.dropped, pushed.keep_from), (OLD_PER_PUSH, OLD_PER_PUSH as u64 + 1));
    for number in 502..520 {
        ring.push(event(number, 5_000, "com.x", false), bounds, at(5_000));
    }
    assert_eq!(ring.edge().0, 501, "it is rid of them soon");
}

/// AP-HIS-03: publications count by position; what is unknown lets nothing or everything through.
#[test]
fn publications_are_positions() {
    let ring = ten(Bounds { events: 5, ..WIDE });
    let with = |change: fn(&mut Query)| {
        let mut query = Query::default();
        change(&mut query);
        ask(&ring, &query)
    };
    assert_eq!(with(|q| q.from_publication = Some(id(8))).0, [8, 9, 10]);
    assert_eq!(with(|q| q.after_publication = Some(id(8))), (vec![9, 10], true, false));
    assert_eq!(with(|q| q.after_publication = Some(id(10))), (vec![], true, false));
    assert_eq!(with(|q| q.after_publication = Some(id(3))), (vec![], false, false), "evicted");
    assert_eq!(with(|q| q.before_publication = Some(id(8))).0, [6, 7]);
    assert_eq!(with(|q| q.until_publication = Some(id(8))).0, [6, 7, 8]);
    assert_eq!(with(|q| q.until_publication = Some(id(99))).0, [6, 7, 8, 9, 10]);
    let crossed = with(|q| {
        q.after_publication = Some(id(9));
        q.before_publication = Some(id(7));
    });
    assert_eq!(crossed.0, [0; 0]);
}

/// A client that was away learns whether it missed something.
#[test]
fn an_answer_knows_whether_it_reaches_back() {
    let ring = ten(Bounds { events: 5, ..WIDE });
    let from = |ms| ask(&ring, &Query { from_time: Some(at(ms)), ..Query::default() }).1;
    let after = |ms| ask(&ring, &Query { after_time: Some(at(ms)), ..Query::default() }).1;
    assert_eq!((from(5_000), from(5_001)), (false, true), "event 5 is the last that went");
    assert_eq!((after(4_999), after(5_000)), (false, true));
    assert!(!ask(&ring, &Query::default()).1);
    assert!(ask(&ten(WIDE), &Query::default()).1, "nothing ever went");
}

/// AP-HIS-03: the first events in the direction of travel; a limit is reached if more match.
#[test]
fn limits_apply_in_the_direction_of_travel() {
    let ring = ten(WIDE);
    let limited = |reverse, limit| {
        let answer = ask(&ring, &Query { reverse, limit: Some(limit), ..Query::default() });
        (answer.0, answer.2)
    };
    assert_eq!(limited(false, 2), (vec![1, 2], true));
    assert_eq!(limited(true, 2), (vec![10, 9], true));
    assert!(!limited(false, 10).1);
    let weight = event(1, 1, "com.x", false).weight();
    for (limit, room, expected) in [(3, usize::MAX, 3), (10, weight * 2, 2), (10, 1, 1)] {
        let next = |scan: &mut Scan, most| ring.scan(scan, identity(ME), most, 4);
        let answer = Scan::new(Query::default()).carry_out(limit, room, next);
        assert_eq!((answer.events.len(), answer.is_limit_reached), (expected, true));
    }
}

#[derive(Clone, Debug)]
struct Plan {
    /// Milliseconds since the event before (the clock may be set back), topic, secret.
    events: Vec<(i64, usize, bool)>,
    bounds: Bounds,
}

fn plans() -> impl Strategy<Value = Plan> {
    let event = (-20..100_i64, 0..3_usize, any::<bool>());
    let weight = StoredEvent::weight(&event_of(0));
    let bounds = (1..40_usize, 1..30 * weight, option::of(1..1_500_u64));
    (vec(event, 0..60), bounds).prop_map(|(events, (limit, bytes, age_ms))| Plan {
        events,
        bounds: Bounds { events: limit, bytes, age_ms },
    })
}

fn event_of(topic: usize) -> StoredEvent {
    Arc::into_inner(event(1, 0, TOPICS[topic], false)).expect("nobody else has it")
}

fn queries() -> impl Strategy<Value = Query> {
    let time = || option::weighted(0.2, (0..3_000_i64).prop_map(at));
    let publication = || option::weighted(0.2, (1..65_u64).prop_map(id));
    let topic = option::weighted(0.3, (0..3_usize).prop_map(|topic| TOPICS[topic].to_owned()));
    (
        (any::<bool>(), option::of(1..20_usize), topic),
        (time(), time(), time(), time()),
        (publication(), publication(), publication(), publication()),
    )
        .prop_map(|((reverse, limit, topic), times, publications)| Query {
            reverse,
            limit,
            topic,
            from_time: times.0,
            after_time: times.1,
            before_time: times.2,
            until_time: times.3,
            from_publication: publications.0,
            after_publication: publications.1,
            before_publication: publications.2,
            until_publication: publications.3,
        })
}

/// What a bounded history keeps of all that came, said in one sentence per bound.
fn kept(all: &[Arc<StoredEvent>], bounds: Bounds) -> usize {
    let mut start = 0;
    for end in 1..=all.len() {
        // The clock is at the latest time that any event had.
        let latest = |all: &[Arc<StoredEvent>]| {
            all.iter().map(|event| event.timestamp.unix_ms()).max().unwrap_or_default()
        };
        let now = latest(&all[..end]);
        let fits = |start: &usize| {
            let kept = &all[*start..end];
            let bytes: usize = kept.iter().map(|event| event.weight()).sum();
            let age = || now - latest(&all[..=*start]);
            let is_old = || bounds.age_ms.is_some_and(|most| age() > most.cast_signed());
            kept.len() <= bounds.events
                && (bytes <= bounds.bytes || kept.len() == 1)
                && (kept.is_empty() || !is_old())
        };
        start = (start..=end).find(fits).expect("an empty history fits");
    }
    start
}

/// The events of `window` that an unbounded list would answer with, before limits.
fn matching(window: &[Arc<StoredEvent>], query: &Query) -> Vec<u64> {
    let place = |id: PublicationId| window.iter().position(|event| event.publication == id);
    let mut found = Vec::new();
    for (index, event) in window.iter().enumerate() {
        let time = event.timestamp;
        let lower = |id: Option<PublicationId>, equal: bool| {
            id.is_none_or(|id| place(id).is_some_and(|p| index > p || equal && index == p))
        };
        let upper = |id: Option<PublicationId>, equal: bool| {
            id.and_then(place).is_none_or(|p| index < p || equal && index == p)
        };
        if event.lists.is_none()
            && query.from_time.is_none_or(|from| from <= time)
            && query.after_time.is_none_or(|after| after < time)
            && query.before_time.is_none_or(|before| before > time)
            && query.until_time.is_none_or(|until| until >= time)
            && query.topic.as_ref().is_none_or(|topic| **topic == *event.topic)
            && lower(query.from_publication, true)
            && lower(query.after_publication, false)
            && upper(query.before_publication, false)
            && upper(query.until_publication, true)
        {
            found.push(event.publication.get());
        }
    }
    if query.reverse {
        found.reverse();
    }
    found
}

/// A scan whose events go while it is under way says that it missed some, whichever way it goes.
#[test]
fn a_scan_notices_what_is_evicted_before_it_comes_there() {
    let scan = |query: &Query, loss: usize| {
        let mut ring = ten(WIDE);
        let mut scan = Scan::new(query.clone());
        let mut page = ring.scan(&mut scan, identity(ME), 2, 2);
        for number in 0..loss as u64 {
            ring.push(event(20 + number, 11_000, "com.x", false), WIDE, at(11_000));
            ring.expire(Bounds { events: 10, ..WIDE }, at(11_000), usize::MAX);
        }
        let mut found = page.events;
        while !scan.is_done() {
            page = ring.scan(&mut scan, identity(ME), 2, 2);
            found.extend(page.events);
        }
        let numbers: Vec<u64> = found.iter().map(|event| event.publication.get()).collect();
        (numbers, scan.is_complete())
    };
    let forward = Query::default();
    assert_eq!(scan(&forward, 2), ((1..=10).collect(), true), "1 and 2 were given before");
    assert_eq!(scan(&forward, 5), (vec![1, 2, 6, 7, 8, 9, 10], false));
    let late = Query { from_time: Some(at(6_000)), ..forward.clone() };
    assert_eq!(scan(&late, 5), ((6..=10).collect(), true), "nobody asked for what went");
    let backward = Query { reverse: true, ..forward };
    assert_eq!(scan(&backward, 2), ((3..=10).rev().collect(), false));
    let after = Query { after_publication: Some(id(8)), ..backward };
    assert_eq!(scan(&after, 5), (vec![10, 9], true));
}

proptest! {
    /// AP-HIS-01, AP-HIS-03, AP-HIS-06.
    #[test]
    fn the_ring_is_a_bounded_list(plan in plans(), queries in vec(queries(), 1..8)) {
        let mut ring = Ring::default();
        let mut all = Vec::new();
        let mut ms = 1_000;
        for (number, (passed, topic, is_secret)) in (1..).zip(&plan.events) {
            ms += passed;
            let event = event(number, ms, TOPICS[*topic], *is_secret);
            all.push(Arc::clone(&event));
            ring.push(event, plan.bounds, at(ms));
            ring.check_invariants(plan.bounds);
        }
        let start = kept(&all, plan.bounds);
        prop_assert_eq!(ring.len(), all.len() - start);
        for query in queries {
            let mut expected = matching(&all[start..], &query);
            let limit = query.limit.unwrap_or(100);
            let is_cut = expected.len() > limit;
            expected.truncate(limit);
            let (found, complete, is_limit_reached) = ask(&ring, &query);
            let in_pieces = ask_in_pieces(&ring, &query, 3);
            prop_assert_eq!(&in_pieces, &(found.clone(), complete, is_limit_reached));
            prop_assert_eq!((found, is_limit_reached), (expected, is_cut), "{:?}", query);
            let is_kept = |id: &PublicationId| all[start..].iter().any(|e| e.publication == *id);
            let before_publication = query.before_publication.filter(is_kept);
            let until_publication = query.until_publication.filter(is_kept);
            let endless = Query { before_publication, until_publication, ..query };
            let is_lost = |id: &u64| *id <= start as u64;
            let lost = matching(&all, &endless).into_iter().filter(is_lost).count();
            prop_assert!(!complete || lost == 0, "{lost} events were evicted");
            prop_assert!(complete || start > 0 || names_unknown(&all, &endless));
        }
    }

    /// A ring that is filled again answers as the one before.
    #[test]
    fn a_restored_ring_is_the_same(plan in plans()) {
        let mut ring = Ring::default();
        let mut ms = 1_000;
        for (number, (passed, topic, is_secret)) in (1..).zip(&plan.events) {
            ms += passed;
            ring.push(event(number, ms, TOPICS[*topic], *is_secret), plan.bounds, at(ms));
        }
        let saved = ring.entries.iter().map(|entry| (entry.number, Arc::clone(&entry.event)));
        let mut restored = Ring::default();
        restored.restore(saved, ring.evicted);
        prop_assert_eq!(ask(&restored, &Query::default()), ask(&ring, &Query::default()));
        prop_assert_eq!(restored.bytes(), ring.bytes());
        prop_assert!(restored.len() == 0 || restored.edge() == ring.edge());
    }
}

fn names_unknown(all: &[Arc<StoredEvent>], query: &Query) -> bool {
    let lower = [query.from_publication, query.after_publication];
    lower.into_iter().flatten().any(|id| !all.iter().any(|event| event.publication == id))
}

const TOPICS: [&str; 3] = ["com.a", "com.b", "org.a.long.topic"];
