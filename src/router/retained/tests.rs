//! Who gets which retained event, what goes at a limit, and looks that are cut into pieces.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::{option, prop_assert_eq};

use super::look::FEW_TOPICS;
use super::*;
use crate::router::NodeNumber;
use crate::wamp::{MatchPolicy, ReceiverFilter};

fn id(number: u64) -> SessionId {
    SessionId::new(number).expect("a small number is an id")
}

fn session(number: u64) -> Identity<'static> {
    Identity { session: id(number), authid: "joe", authrole: "user" }
}

/// The sessions `eligible` may receive it, or everyone; the publisher only if `to_self`.
fn audience(publisher: u64, to_self: bool, eligible: Option<&[u64]>) -> Audience {
    let filter = eligible.map(|numbers| {
        let ids = numbers.iter().map(|number| id(*number)).collect();
        Box::new(ReceiverFilter { eligible: Some(ids), ..ReceiverFilter::default() })
    });
    Audience::new((!to_self).then_some(id(publisher)), filter)
}

fn event(publication: u64, audience: Audience) -> RetainedEvent {
    let publication = PublicationId::new(publication).expect("a small number is an id");
    let (stamp, details, payload) = (Stamp::default(), Dict::new(), PayloadBuf::Empty);
    RetainedEvent { publication, stamp, audience, publisher: None, details, payload }
}

/// The publication ids of what session `receiver` gets.
fn found(table: &RetainedTable, uri: &str, policy: MatchPolicy, receiver: u64) -> Vec<u64> {
    let found = table.find(uri, policy, session(receiver), 100);
    found.events.iter().map(|(_, _, event)| event.publication.get()).collect()
}

/// AP-RET-02, AP-RET-03, AP-RET-05
#[test]
fn everyone_gets_the_last_event_that_was_for_them() {
    let table = RetainedTable::default();
    let limits = Limits::default();
    let mut number = 0;
    let mut store = |publisher, to_self, eligible: Option<&[u64]>| {
        number += 1;
        let event = event(number, audience(publisher, to_self, eligible));
        table.store("com.x", event, session(publisher), &limits);
    };
    let get = |receiver| found(&table, "com.x", MatchPolicy::Exact, receiver);
    store(1, true, None);
    assert_eq!((get(1), get(2)), (vec![1], vec![1]));
    store(1, false, None);
    store(1, false, None);
    assert_eq!((get(1), get(2)), (vec![1], vec![3]), "the publisher has none but the first");
    store(2, false, Some(&[5]));
    assert_eq!((get(1), get(2), get(5)), (vec![1], vec![3], vec![4]));
    store(2, false, Some(&[]));
    assert_eq!((get(5), get(2)), (vec![4], vec![3]), "an event for nobody replaces none");
    for receiver in 10..30 {
        store(3, true, Some(&[receiver]));
    }
    assert_eq!((get(22), get(29), get(2)), (vec![18], vec![25], vec![3]), "some are kept");
    assert_eq!(get(21), [3], "the oldest of limited distribution went");
    store(3, true, None);
    assert_eq!((get(1), get(5), get(29)), (vec![26], vec![26], vec![26]));
    assert_eq!(table.len(), 1, "nothing else is kept");
}

/// AP-RET-06
#[test]
fn a_pattern_finds_all_its_topics_in_the_order_of_publication() {
    use MatchPolicy::{Exact, Prefix, Wildcard};
    let table = RetainedTable::default();
    let topics = ["com.b.x", "com.a.x", "com.a", "com.a.xy", "com.a.x.y", "org.a.x"];
    for (number, topic) in (1..).zip(topics) {
        let event = event(number, audience(1, true, None));
        table.store(topic, event, session(1), &Limits::default());
    }
    for (uri, policy, expected) in [
        ("com.a", Exact, &[3][..]),
        ("com.b", Exact, &[]),
        ("com.a", Prefix, &[2, 3, 4, 5]),
        ("com.a.x", Prefix, &[2, 4, 5]),
        ("", Prefix, &[1, 2, 3, 4, 5, 6]),
        ("com..x", Wildcard, &[1, 2]),
        (".a.x", Wildcard, &[2, 6]),
        ("..", Wildcard, &[1, 2, 4, 6]),
        ("com.a.x", Wildcard, &[2]),
        ("com.", Wildcard, &[3]),
    ] {
        assert_eq!(found(&table, uri, policy, 2), expected, "{policy:?} {uri:?}");
    }
    let newest = table.find("", Prefix, session(2), 2).events;
    assert_eq!(newest[0].2.publication.get(), 5, "the most recent ones, in their order");
}

/// AP-RET-08: at a limit the oldest event goes, whatever its topic.
#[test]
fn the_oldest_event_goes_first() {
    let table = RetainedTable::default();
    let limits = Limits { retained_events: 2, ..Limits::default() };
    let store = |number, topic, limits: &Limits| {
        table.store(topic, event(number, audience(1, true, None)), session(1), limits)
    };
    let outcome = |stored: Stored| (stored.number, stored.released.to_vec(), stored.dropped);
    assert_eq!(outcome(store(1, "com.a", &limits)), (1, vec![], 0));
    store(2, "com.b", &limits);
    assert_eq!(outcome(store(3, "com.a", &limits)), (3, vec![1], 0));
    assert_eq!(outcome(store(4, "com.c", &limits)), (4, vec![2], 1));
    assert_eq!(found(&table, "com", MatchPolicy::Prefix, 2), [3, 4]);
    let bytes = table.bytes();
    let tight = Limits { retained_bytes: bytes / 2, ..limits };
    assert_eq!(store(5, "com.c", &tight).dropped, 1);
    assert_eq!(found(&table, "com", MatchPolicy::Prefix, 2), [5]);
    let none = Limits { retained_bytes: 1, ..limits };
    assert_eq!(store(6, "com.c", &none).dropped, 1, "too large to be kept at all");
    assert!(table.is_empty(), "and what it replaces is out of date");
    assert_eq!(table.bytes(), 0);
}

/// A table with topics `com.0` and so on, one event for everyone each, numbered from 1.
fn crowded(topics: u64) -> RetainedTable {
    let table = RetainedTable::default();
    for number in 1..=topics {
        store(&table, number, &format!("com.{}", number - 1), None);
    }
    table
}

/// Stores an event by session 1 for everyone, or for some.
fn store(table: &RetainedTable, number: u64, topic: &str, eligible: Option<&[u64]>) -> Stored {
    table.store(topic, event(number, audience(1, true, eligible)), session(1), &Limits::default())
}

/// Looks in pieces of so many units; `meanwhile` happens after each with the number of pieces.
fn in_pieces(
    table: &RetainedTable,
    (uri, policy, limit): (&str, MatchPolicy, usize),
    max_units: usize,
    mut meanwhile: impl FnMut(usize),
) -> (Vec<u64>, usize) {
    let (mut look, mut total, mut pieces) = (Look::new(policy, limit), 0, 0);
    while !look.is_done() {
        let units = table.look(&mut look, uri, session(2), max_units);
        assert!((1..=max_units.max(1)).contains(&units), "{units} units");
        (total, pieces) = (total + units, pieces + 1);
        meanwhile(pieces);
    }
    let found = look.finish();
    (found.events.iter().map(|(_, _, event)| event.publication.get()).collect(), total)
}

/// AP-RET-06
#[test]
fn a_look_in_pieces_finds_the_same() {
    let table = crowded(300);
    for (number, topic) in (301..).zip(["com.7", "com.250", "org.7", "com.7"]) {
        store(&table, number, topic, Some(&[2]));
    }
    store(&table, 305, "com.7", Some(&[3]));
    for (uri, policy) in [
        ("com.1", MatchPolicy::Prefix),
        ("", MatchPolicy::Prefix),
        (".7", MatchPolicy::Wildcard),
        ("com.7", MatchPolicy::Exact),
        ("net", MatchPolicy::Prefix),
    ] {
        for limit in [0, 3, 1_000] {
            let found = table.find(uri, policy, session(2), limit).events;
            let whole: Vec<u64> = found.iter().map(|(_, _, e)| e.publication.get()).collect();
            for max_units in [0, 1, 7, 100, 10_000] {
                let (found, _) = in_pieces(&table, (uri, policy, limit), max_units, |_| {});
                assert_eq!(found, whole, "{uri:?} {policy:?}, {limit} in pieces of {max_units}");
            }
        }
    }
}

/// A broad pattern costs what it brings, a narrow one what it covers; neither costs all there is.
#[test]
fn a_look_costs_little_of_a_large_table() {
    let table = crowded(5_000);
    let (found, units) = in_pieces(&table, ("", MatchPolicy::Prefix, 100), 1_000, |_| {});
    assert_eq!((found.len(), found.last()), (100, Some(&5_000)));
    assert!(units <= FEW_TOPICS + 100, "{units} units");
    let (found, units) = in_pieces(&table, ("com.49", MatchPolicy::Prefix, 100), 1_000, |_| {});
    assert_eq!(found.len(), 100, "the most recent ones of 111");
    assert!(units < 1_000, "{units} units");
    let (found, units) = in_pieces(&table, ("com.499", MatchPolicy::Prefix, 100), 1_000, |_| {});
    assert_eq!((found.len(), units), (11, 11));
}

/// AP-RET-07: what is stored after the first piece comes live, and what it replaces is out of date.
#[test]
fn events_that_come_between_two_pieces_are_not_found() {
    let table = crowded(200);
    store(&table, 201, "com.150", Some(&[2]));
    let change = |pieces| match pieces {
        1 => {
            store(&table, 202, "com.199", None);
            store(&table, 203, "com.0", None);
            store(&table, 204, "new", None);
        }
        // The older event of this topic is the newest again, and was not found yet.
        3 => {
            for number in 205..=220 {
                store(&table, number, "com.150", Some(&[3]));
            }
        }
        _ => {}
    };
    let (found, _) = in_pieces(&table, ("", MatchPolicy::Prefix, 1_000), 64, change);
    let expected: Vec<u64> = (2..200).filter(|number| *number != 151).chain([201]).collect();
    assert_eq!(found, expected);
}

/// An event that node `node` has stamped at `at`.
fn stamped(publication: u64, at: i64, node: u8, eligible: Option<&[u64]>) -> RetainedEvent {
    let stamp = Stamp { at: Timestamp::from_unix_ms(at), node: NodeNumber::new(node) };
    RetainedEvent { stamp, ..event(publication, audience(1, true, eligible)) }
}

/// A later event stays whichever comes first, and at one time that of the higher node.
#[test]
fn what_another_node_has_stamped_later_stays() {
    let (table, limits) = (RetainedTable::default(), Limits::default());
    let take = |event| table.store_stamped("com.x", event, &limits);
    let get = |receiver| found(&table, "com.x", MatchPolicy::Exact, receiver);
    take(stamped(1, 100, 1, None));
    let late = take(stamped(2, 99, 2, None));
    assert!(late.entry.is_none() && late.released.is_empty() && late.dropped == 0);
    assert_eq!((get(2), late.number), (vec![1], 2), "it has a number, and no place");
    assert_eq!(take(stamped(3, 100, 2, None)).released[..], [1]);
    assert!(take(stamped(4, 100, 1, None)).entry.is_none());
    take(stamped(5, 200, 1, Some(&[5])));
    assert_eq!(take(stamped(6, 150, 1, None)).released[..], [3], "what is later stays");
    assert_eq!((get(2), get(5)), (vec![6], vec![5]));
    assert!(take(stamped(7, 180, 2, Some(&[5]))).entry.is_none(), "nobody would get it");
    for (publication, at) in (10..17).zip(201..) {
        take(stamped(publication, at, 2, Some(&[publication])));
    }
    assert!(take(stamped(8, 160, 1, Some(&[6]))).entry.is_none(), "eight later ones are for some");
    assert_eq!((get(5), get(16), get(2)), (vec![5], vec![16], vec![6]));
}

/// The clock of a node may stand still, be set back, or be behind that of another one.
#[test]
fn an_own_event_is_later_than_all_before_it() {
    let (table, limits) = (RetainedTable::default(), Limits::default());
    let store = |publication, at| {
        let stored = table.store("com.x", stamped(publication, at, 1, None), session(1), &limits);
        stored.entry.expect("it is the last").1.stamp
    };
    let first = store(1, 100);
    assert_eq!(first.at, Timestamp::from_unix_ms(100), "as the clock says");
    let stamps = [first, store(2, 100), store(3, 50)];
    assert!(stamps.is_sorted_by(|one, next| one < next));
    assert!(stamps[2].at.unix_us() - first.at.unix_us() < 1_000, "it does not run ahead");
    table.store_stamped("com.y", stamped(4, 1_000, 2, None), &limits);
    assert!(store(5, 101).at > Timestamp::from_unix_ms(1_000));
    assert_eq!(found(&table, "com", MatchPolicy::Prefix, 2), [4, 5]);
}

/// An event that comes again has the number that it has, and changes nothing.
#[test]
fn what_is_here_is_not_stored_again() {
    let (table, limits) = (RetainedTable::default(), Limits::default());
    let take = |publication, at| {
        let stored = table.store_stamped("com.x", stamped(publication, at, 1, None), &limits);
        (stored.number, stored.entry.is_some(), stored.released.len())
    };
    assert_eq!(take(1, 100), (1, true, 0));
    assert_eq!(take(1, 100), (1, false, 0));
    assert_eq!(take(2, 200), (2, true, 1));
    assert_eq!(take(1, 100), (3, false, 0), "it is behind now");
    assert_eq!(table.holds_in_short().0, Holds { count: 1, digest: 2 });
}

/// AP-RET-06, AP-RET-08: the oldest is by its stamp, whenever it came; and so is the newest.
#[test]
fn age_goes_by_stamps() {
    let table = RetainedTable::default();
    let limits = Limits { retained_events: 3, ..Limits::default() };
    let take = |publication, at, topic: &str| {
        table.store_stamped(topic, stamped(publication, at, 1, None), &limits)
    };
    for (publication, at) in [(1, 400), (2, 100), (3, 300)] {
        take(publication, at, &format!("com.{publication}"));
    }
    let get = || found(&table, "com", MatchPolicy::Prefix, 2);
    assert_eq!(get(), [2, 3, 1]);
    assert_eq!(take(4, 200, "com.4").released[..], [2]);
    assert_eq!(get(), [4, 3, 1]);
    let late = take(5, 50, "com.5");
    assert!(late.entry.is_none() && late.released.is_empty(), "it would have gone");
    assert!(!table.lacks("com.5", stamped(5, 50, 1, None).stamp));
    assert!(table.lacks("com.5", stamped(5, 150, 1, None).stamp));
    let floor = Stamp { at: Timestamp::from_unix_ms(300), node: NodeNumber::new(0) };
    assert_eq!(table.raise_floor(floor, 0), (SmallVec::new(), false));
    assert_eq!(table.raise_floor(floor, 9), (SmallVec::from_slice(&[4]), true));
    assert_eq!((get(), table.holds_in_short().1), (vec![3, 1], Some(floor)));
    let own = table.store("com.6", stamped(6, 0, 1, None), session(1), &limits);
    assert!(own.stamp > floor, "own events are later than what is gone");
}

/// A list goes on behind the last topic that was looked at, and has nothing that came since it
/// began: however many such topics there are, each look is at few of them.
#[test]
fn a_table_is_listed_by_topic() {
    let table = crowded(30);
    store(&table, 31, "com.3", Some(&[2]));
    let until = table.last_number();
    (0..100).for_each(|number| drop(store(&table, 32 + number, &format!("com.1.{number}"), None)));
    let (mut after, mut listed, mut looks) = (None, Vec::new(), 0);
    while let Some((piece, last)) = table.list_behind(after.as_deref(), until, (4, 1_000)) {
        assert!(piece.len() <= 5, "{piece:?}");
        after = Some(last);
        listed.extend(piece);
        looks += 1;
    }
    assert!(looks >= 130 / 4, "{looks} looks at four topics each");
    assert_eq!(listed.len(), 31);
    assert!(listed.is_sorted_by(|(one, _), (next, _)| one <= next));
    for (topic, stamp) in &listed {
        assert_eq!(table.get(topic, *stamp).map(|event| event.stamp), Some(*stamp));
    }
    let (one, _) = table.list_behind(None, until, (100, 1)).expect("there is one");
    assert_eq!(one.len(), 1, "at least one topic");
}

/// Of a plan: stamp, publisher, whether it gets it, and who else does.
type Planned = ((i64, u8), u64, bool, Option<Vec<u64>>);

fn plans() -> impl Strategy<Value = Vec<Planned>> {
    let stamp = (0..6_i64, 0..2_u8);
    vec((stamp, 1..4_u64, any::<bool>(), option::of(vec(2..5_u64, 0..3))), 1..9)
}

/// What is planned as events, each stamp once.
fn planned(plan: Vec<Planned>) -> Vec<RetainedEvent> {
    let mut stamps = BTreeSet::new();
    let plan = (1..).zip(plan).filter(|(_, (stamp, ..))| stamps.insert(*stamp));
    let event = |(publication, ((at, node), publisher, to_self, eligible)): (u64, Planned)| {
        let names = Publisher { authid: "joe".into(), authrole: "user".into() };
        let is_left_out = !to_self && eligible.is_none();
        RetainedEvent {
            audience: audience(publisher, to_self, eligible.as_deref()),
            publisher: is_left_out.then(|| Arc::new(names)),
            ..stamped(publication, at + 1, node, None)
        }
    };
    plan.map(event).collect()
}

fn again(event: &RetainedEvent) -> RetainedEvent {
    let RetainedEvent { publication, stamp, audience, publisher, .. } = event;
    let (audience, publisher) = (audience.clone(), publisher.clone());
    let (details, payload) = (Dict::new(), PayloadBuf::Empty);
    RetainedEvent {
        publication: *publication,
        stamp: *stamp,
        audience,
        publisher,
        details,
        payload,
    }
}

/// Topics and publication ids.
fn content(table: &RetainedTable) -> BTreeSet<(String, u64)> {
    let (_, events) = table.holding();
    let (holds, _) = table.holds_in_short();
    let digest = events.iter().fold(0, |digest, (.., event)| digest ^ event.publication.get());
    assert_eq!((holds.count, holds.digest), (events.len() as u64, digest));
    events.iter().map(|(_, topic, e)| (topic.to_string(), e.publication.get())).collect()
}

/// Copies to one table what another one has and it lacks.
fn copy(from: &RetainedTable, to: &RetainedTable, limits: &Limits) {
    if let (_, Some(floor)) = from.holds_in_short() {
        assert!(to.raise_floor(floor, usize::MAX).1);
    }
    let listed = from.list_behind(None, u64::MAX, (1_000, 1_000_000));
    for (topic, stamp) in listed.map(|(listed, _)| listed).unwrap_or_default() {
        if to.lacks(&topic, stamp) {
            let event = from.get(&topic, stamp).expect("it was listed");
            to.store_stamped(&topic, again(&event), limits);
        }
    }
}

proptest! {
    /// Nodes that have heard of the same events keep the same, in whatever order they came, also
    /// once more. Whoever asks gets what a router that is alone gives.
    #[test]
    fn the_order_of_arrival_does_not_matter(
        plan in plans(),
        order in Just((0..9_usize).collect::<Vec<_>>()).prop_shuffle(),
        once_more in vec(0..9_usize, 9),
    ) {
        let (mut events, limits) = (planned(plan), Limits::default());
        let (alone, one, other) = Default::default();
        for event in &events {
            RetainedTable::store_stamped(&one, "com.x", again(event), &limits);
        }
        for place in order.into_iter().chain(once_more) {
            let Some(event) = events.get(place) else { continue };
            RetainedTable::store_stamped(&other, "com.x", again(event), &limits);
        }
        prop_assert_eq!(content(&one), content(&other));
        events.sort_by_key(|event| event.stamp);
        for event in &events {
            let publisher = event.audience.excluded.map_or(9, SessionId::get);
            let event = RetainedEvent { publisher: None, ..again(event) };
            RetainedTable::store(&alone, "com.x", event, session(publisher), &limits);
        }
        for receiver in 1..6 {
            let [alone, one] =
                [&alone, &one].map(|table| found(table, "com.x", MatchPolicy::Exact, receiver));
            prop_assert_eq!(alone, one, "session {}", receiver);
        }
    }

    /// Two nodes that have heard of some events each, and reached their limits, keep the same once
    /// each has copied what the other one has.
    #[test]
    fn copies_make_two_nodes_keep_the_same(
        plan in plans(),
        topics in vec(0..3_usize, 9),
        heard in vec(any::<[bool; 2]>(), 9),
        most in 1..5_usize,
    ) {
        let limits = Limits { retained_events: most, ..Limits::default() };
        let tables = [RetainedTable::default(), RetainedTable::default()];
        for ((event, topic), heard) in planned(plan).iter().zip(topics).zip(heard) {
            for (table, _) in tables.iter().zip(heard).filter(|(_, heard)| *heard) {
                table.store_stamped(["com.a", "com.b", "com.c"][topic], again(event), &limits);
            }
        }
        for _ in 0..3 {
            copy(&tables[0], &tables[1], &limits);
            copy(&tables[1], &tables[0], &limits);
        }
        prop_assert_eq!(content(&tables[0]), content(&tables[1]));
    }
}
