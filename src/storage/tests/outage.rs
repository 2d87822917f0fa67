//! Stores that cannot be written for a while: nothing grows meanwhile, and nothing is missing
//! afterwards.

use std::fs;
use std::time::Duration;

use super::faults::Disk;
use super::*;

/// A store on a disk that fails when told to, with a clock that is moved by hand.
struct Fixture {
    directory: tempfile::TempDir,
    disk: Disk,
    router: Router,
    storage: Storage,
    now: Instant,
}

impl Fixture {
    #[expect(clippy::disallowed_methods, reason = "any moment will do to begin with")]
    fn new(events: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (disk, router) = (Disk::default(), router(events));
        let place = disk.place(&directory.path().join("store"));
        let (storage, _) = Storage::open_at(place, &router).unwrap();
        Self { directory, disk, router, storage, now: Instant::now() }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("store")
    }

    fn publish(&mut self, number: u64) -> bool {
        let records = vec![publish(&self.router, number)];
        save(&mut self.storage, &self.router, records, self.now)
    }

    fn retain(&mut self, topic: &str, number: u64) -> bool {
        let records = retain(&self.router, topic, number);
        save(&mut self.storage, &self.router, records, self.now)
    }

    /// Lets the next try come, and gives whether the store can be written after it.
    fn retry(&mut self) -> bool {
        self.now = self.storage.outage.as_ref().unwrap().next_try();
        assert!(self.storage.is_retry_due(self.now));
        self.storage.retry(&self.router, self.now);
        self.storage.outage.is_none()
    }

    /// Everything that is kept beside the rings and tables.
    fn kept(&self) -> usize {
        self.storage.pending.len() + self.storage.outage.as_ref().map_or(0, Outage::len)
    }

    /// What a router finds after the power was lost.
    fn after_power_loss(self) -> (Vec<u64>, BTreeSet<u64>) {
        let path = self.path();
        let Self { directory: _directory, disk, storage, .. } = self;
        // The process is gone, and says nothing more to its file.
        disk.set_full(true);
        drop(storage);
        disk.lose_power(&path);
        reread(&path, 1_000)
    }
}

/// What could not be saved is refused to who waits for it, and saved as soon as it can be.
#[test]
fn a_full_disk_is_survived() {
    let mut store = Fixture::new(10);
    assert!(store.publish(1) && store.retain("com.r", 1));
    store.disk.set_full(true);
    assert!(!store.publish(2) && !store.retain("com.r", 2));
    store.disk.set_full(false);
    assert!(!store.publish(3), "refused at once until the next try");
    assert!(store.retry());
    assert!(store.publish(4) && store.retain("com.s", 4));
    store.disk.set_full(true);
    assert!(!store.publish(5));
    assert!(!store.retry() && !store.retry());
    store.disk.set_full(false);
    assert!(store.retry());
    assert_eq!(store.kept(), 0);
    let counted = store.router.snapshot();
    assert_eq!((counted.deposits_saved, counted.deposits_failed), (4, 4));
    let outages = (counted.store_outages, counted.store_recoveries, counted.store_retries_failed);
    assert_eq!(outages, (2, 2, 2));
    let expected = (vec![1, 2, 3, 4, 5], BTreeSet::from([2, 4]));
    assert_eq!(store.after_power_loss(), expected);
}

/// However many publications come while the disk fails, there is a number for each event that the
/// router holds and no more, and the file is not touched between the tries.
#[test]
fn an_outage_keeps_nothing_but_numbers_of_what_is_held() {
    let mut store = Fixture::new(5);
    assert!(store.publish(1) && store.retain("com.r", 1));
    store.disk.set_full(true);
    assert!(!store.publish(2));
    let opened = store.disk.opened();
    for number in 3..5_000 {
        assert!(!store.publish(number));
        assert!(!store.retain("com.r", number));
        assert!(store.kept() <= 5 + 1, "{} after {number}", store.kept());
    }
    assert_eq!(store.disk.opened(), opened, "one try per wait, whatever comes");
    for _ in 0..20 {
        assert!(!store.retry());
    }
    assert!(store.disk.opened() <= opened + 20);
    store.disk.set_full(false);
    assert!(store.retry());
    assert_eq!(store.kept(), 0);
    let expected = (vec![4_995, 4_996, 4_997, 4_998, 4_999], BTreeSet::from([4_999]));
    assert_eq!(store.after_power_loss(), expected);
}

/// Records that were under way when the outage ended say nothing that is not on disk by then.
#[test]
fn records_may_come_after_the_outage() {
    let mut store = Fixture::new(3);
    assert!(store.retain("com.r", 1));
    store.disk.set_full(true);
    let mut late: Vec<_> = (2..=6).map(|number| publish(&store.router, number)).collect();
    late.extend(retain(&store.router, "com.r", 2));
    late.extend(retain(&store.router, "com.r", 3));
    assert!(!store.publish(7));
    store.disk.set_full(false);
    assert!(store.retry());
    for record in late.into_iter().rev() {
        assert!(save(&mut store.storage, &store.router, vec![record], store.now));
    }
    assert!(store.publish(8));
    assert_eq!(store.kept(), 0, "nothing waits for a record that never comes");
    assert_eq!(store.after_power_loss(), (vec![6, 7, 8], BTreeSet::from([3])));
}

/// After a failed sync the kernel shows pages that are not on the disk. So the file is not trusted
/// any more: there is a new one, with everything, under the old name.
#[test]
fn a_failed_sync_makes_a_new_file() {
    for failures in [1, 2] {
        let mut store = Fixture::new(1_000);
        assert!(store.publish(1) && store.retain("com.r", 1));
        store.disk.fail_syncs(failures);
        // Over many pages, most of which no later event touches.
        let batch: Vec<_> = (2..=400).map(|number| publish(&store.router, number)).collect();
        assert!(!save(&mut store.storage, &store.router, batch, store.now));
        assert!(!store.publish(401));
        for _ in 1..failures {
            assert!(!store.retry());
            assert!(!store.path().with_file_name("store.stentor-new").exists());
        }
        assert!(store.retry());
        assert!(store.publish(402));
        let expected = ((1..=402).collect(), BTreeSet::from([1]));
        assert_eq!(store.after_power_loss(), expected);
    }
}

/// Until the new file is complete the old one stands, with what was acknowledged.
#[test]
fn a_failed_sync_on_a_full_disk_leaves_the_old_file() {
    let mut store = Fixture::new(1_000);
    assert!(store.publish(1));
    store.disk.fail_syncs(1);
    assert!(!store.publish(2));
    store.disk.set_full(true);
    assert!(!store.retry() && !store.retry());
    let names: Vec<_> = fs::read_dir(store.directory.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "the try takes no room: {names:?}");
    let found = store.after_power_loss().0;
    assert_eq!(found[0], 1, "{found:?}");
}

/// A file that was removed by mistake comes back with everything.
#[test]
fn a_removed_file_is_written_anew() {
    let mut store = Fixture::new(10);
    assert!(store.publish(1) && store.retain("com.r", 1));
    fs::remove_file(store.path()).unwrap();
    assert!(!store.publish(2), "it would be written to a file without a name");
    assert!(store.retry());
    assert!(store.publish(3));
    assert_eq!(store.after_power_loss(), (vec![1, 2, 3], BTreeSet::from([1])));
}

/// A copy that was put in the place of the file is brought up to date.
#[test]
fn a_file_in_the_place_of_the_store_is_noticed() {
    let mut store = Fixture::new(10);
    assert!(store.publish(1));
    let copy = store.directory.path().join("copy");
    fs::copy(store.path(), &copy).unwrap();
    assert!(store.publish(2));
    fs::rename(&copy, store.path()).unwrap();
    assert!(!store.publish(3), "it would be written to a file without a name");
    assert!(store.retry());
    assert!(store.publish(4));
    drop(store.storage);
    assert_eq!(reread(&store.directory.path().join("store"), 10).0, [1, 2, 3, 4]);
}

/// Another router may have taken the file: it is left alone until that one has gone.
#[test]
fn a_file_that_is_in_use_is_not_replaced() {
    let mut store = Fixture::new(10);
    assert!(store.publish(1));
    store.disk.fail_syncs(1);
    assert!(!store.publish(2));
    let other = open(&store.path());
    assert!(!store.retry());
    drop(other);
    assert!(store.retry());
    assert_eq!(store.after_power_loss().0, [1, 2]);
}

/// At the end there is one more try; what that cannot save is named.
#[test]
fn what_is_lost_at_the_end_is_named() {
    let mut store = Fixture::new(3);
    assert!(store.publish(1) && store.retain("com.r", 1));
    assert!(store.storage.finish(&store.router, store.now).is_ok());
    store.disk.set_full(true);
    for number in 2..=9 {
        assert!(!store.publish(number));
    }
    assert!(!store.retain("com.r", 2) && !store.retain("com.s", 3));
    store.now += Duration::from_secs(7);
    let unsaved = store.storage.finish(&store.router, store.now).unwrap_err();
    assert_eq!((unsaved.events(), unsaved.publications), (5, 10));
    let expected = format!(
        "the store `{}` could not be written at the stop (no storage space): 3 events of the \
         history `realm1 exact com.x`, 2 retained events of the realm `realm1` are lost; 10 \
         publications came in the 7 s since it failed; make room, or mend the disk, before the \
         next start",
        store.path().display()
    );
    assert_eq!(unsaved.to_string(), expected);
    store.disk.set_full(false);
    assert!(store.storage.finish(&store.router, store.now).is_ok(), "the last try saves all");
    assert_eq!(store.after_power_loss(), (vec![7, 8, 9], BTreeSet::from([2, 3])));
}

/// What is refused while a wait lasts is answered by the thread, which goes on to try.
#[test]
fn the_thread_ends_an_outage_by_itself() {
    let store = Fixture::new(10);
    let Fixture { directory, disk, router, storage, .. } = store;
    disk.set_full(true);
    let (sender, deposits) = unbounded();
    sender.send(deposit(vec![publish(&router, 1)], 1)).unwrap();
    let mut outcomes = Vec::new();
    let (router_of_thread, mut sender) = (&router, Some(sender));
    let ended = storage.run(router_of_thread, &deposits, |outcome| {
        outcomes.push(outcome.is_saved);
        if outcomes.len() == 1 {
            disk.set_full(false);
        }
        match &sender {
            Some(sender) if !outcome.is_saved => {
                sender.send(deposit(vec![publish(&router, 2)], 2)).unwrap();
            }
            _ => sender = None,
        }
    });
    assert!(ended.is_ok());
    assert_eq!((outcomes.first(), outcomes.last()), (Some(&false), Some(&true)));
    assert!(reread(&directory.path().join("store"), 10).0.contains(&2));
}
