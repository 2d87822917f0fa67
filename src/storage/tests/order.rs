//! Records in every order that several shards can make of them, and changed configurations.

use super::*;

/// Whatever the order in which records come, the file ends up with what the memory has.
#[test]
fn records_may_come_in_any_order() {
    let directory = tempfile::tempdir().unwrap();
    // Every order of four events in a history of two, with a retained event that is replaced.
    for (case, order) in permutations(&[0, 1, 2, 3, 4, 5, 6]).into_iter().enumerate().step_by(41) {
        let path = directory.path().join(format!("store{case}"));
        let router = router(2);
        let mut records: Vec<_> = (1..=4).map(|number| publish(&router, number)).collect();
        records.extend(retain(&router, "com.r", 5));
        records.extend(retain(&router, "com.r", 6));
        let (sender, deposits) = unbounded();
        for (request, place) in (1..).zip(order) {
            sender.send(deposit(vec![records[place].clone()], request)).unwrap();
        }
        drop(sender);
        let mut answered = 0;
        let ended = open(&path).run(&router, &deposits, |outcome| {
            assert!(outcome.is_saved);
            answered += outcome.receipts.len();
        });
        ended.unwrap();
        assert_eq!(answered, 7);
        assert_eq!(reread(&path, 2), (vec![3, 4], BTreeSet::from([6])));
    }
}

/// Each batch by itself, so that what is late finds the file and not the batch.
#[test]
#[expect(clippy::disallowed_methods, reason = "any moment will do")]
fn records_may_come_late() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let router = router(1);
    let [one, two] = [1, 2].map(|number| publish(&router, number));
    let [seven] = <[_; 1]>::try_from(retain(&router, "com.r", 7)).unwrap();
    let [released, eight] = <[_; 2]>::try_from(retain(&router, "com.r", 8)).unwrap();
    let mut storage = open(&path);
    for record in [two, one, released, seven, eight] {
        assert!(save(&mut storage, &router, vec![record], Instant::now()));
    }
    assert_eq!(storage.pending.len(), 0);
    drop(storage);
    assert_eq!(reread(&path, 1), (vec![2], BTreeSet::from([8])));
}

/// The bounds of the new start count, and what is not configured any more is forgotten.
#[test]
fn a_changed_configuration_is_applied() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let before = router(10);
    let mut storage = open(&path);
    storage.clean((1..=5).map(|number| publish(&before, number)).collect()).unwrap();
    storage.clean(retain(&before, "com.r", 1)).unwrap();
    drop(storage);
    let one = BTreeSet::from([1]);
    assert_eq!(reread(&path, 3), (vec![3, 4, 5], one.clone()));
    assert_eq!(reread(&path, 10), (vec![3, 4, 5], one), "what went is gone");

    let (storage, saved) = Storage::open(&path, &router(10)).unwrap();
    assert_eq!(saved.histories[0].evicted, Some(Timestamp::from_unix_ms(2)));
    drop(storage);
    let other =
        Router::new(Settings::default(), vec![RealmSettings::named("realm1")], 1, HashSeed::new(1));
    let (mut storage, saved) = Storage::open(&path, &other).unwrap();
    assert!(saved.retained.is_empty(), "not even read");
    storage.clean(other.restore(saved, Timestamp::default())).unwrap();
    drop(storage);
    let (_, saved) = Storage::open(&path, &router(10)).unwrap();
    assert!(saved.histories.is_empty() && saved.retained.is_empty());
}

/// Of a store that is larger than the bounds allow by now, no more is read than fits.
#[test]
fn a_start_holds_no_more_than_the_bounds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let before = router(1_000);
    let mut storage = open(&path);
    storage.clean((1..=500).map(|number| publish(&before, number)).collect()).unwrap();
    for number in 1..=100 {
        storage.clean(retain(&before, &format!("com.r{number}"), number)).unwrap();
    }
    drop(storage);
    let after = router(7);
    let edition = after.edition();
    let mut settings = edition.settings.clone();
    settings.limits.retained_events = 5;
    let realms = edition.domains().map(|domain| domain.rules.settings.clone()).collect();
    after.reload(settings, realms);
    let (mut storage, saved) = Storage::open(&path, &after).unwrap();
    let numbers: Vec<_> = saved.histories[0].events.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (494..=500).collect::<Vec<_>>());
    assert_eq!(saved.histories[0].evicted, Some(Timestamp::from_unix_ms(493)));
    assert_eq!(
        saved.retained.iter().map(|kept| kept.number).collect::<Vec<_>>(),
        [96, 97, 98, 99, 100]
    );
    storage.clean(after.restore(saved, Timestamp::default())).unwrap();
    drop(storage);
    let expected = ((494..=500).collect(), (96..=100).collect());
    assert_eq!(reread(&path, 1_000), expected, "the file is trimmed as well");
}

fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (place, first) in items.iter().enumerate() {
        let mut rest = items.to_vec();
        rest.remove(place);
        all.extend(permutations(&rest).into_iter().map(|tail| [vec![*first], tail].concat()));
    }
    all
}
