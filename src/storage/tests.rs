//! A store against files that are in use, foreign, damaged or full.

use std::collections::VecDeque;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::unbounded;
use redb::StorageBackend;
use redb::backends::FileBackend;
use smallvec::SmallVec;

use super::*;
use crate::hash::HashSeed;
use crate::router::{
    Audience, History, HistorySettings, HistoryStore, RealmSettings, Record, RetainedEvent, Router,
    SessionRef, Settings, ShardId, StoredEvent,
};
use crate::wamp::{Dict, PayloadBuf, PublicationId, RequestId, SessionId, Timestamp};

/// A router with the durable history of `com.x` on `realm1`.
fn router(events: usize) -> Router {
    let history = HistorySettings {
        topic: "com.x".into(),
        events: Some(events),
        store: HistoryStore::Durable,
        ..HistorySettings::default()
    };
    let realm = RealmSettings { histories: vec![history], ..RealmSettings::named("realm1") };
    let settings = Settings { durable_retained: true, ..Settings::default() };
    Router::new(settings, vec![realm], 1, HashSeed::new(1))
}

fn history(router: &Router) -> &Arc<History> {
    router.realms().next().unwrap().histories.iter().next().unwrap()
}

fn publication(number: u64) -> PublicationId {
    PublicationId::new(number).unwrap()
}

/// Publishes an event to the history, and gives what it leaves on disk.
fn publish(router: &Router, number: u64) -> Record {
    let event = Arc::new(StoredEvent {
        timestamp: Timestamp::from_unix_ms(number.cast_signed()),
        publication: publication(number),
        topic: "com.x".into(),
        lists: None,
        details: Dict::new(),
        payload: PayloadBuf::Empty,
    });
    let history = history(router);
    let pushed = history.push(Arc::clone(&event));
    Record::Event {
        history: Arc::clone(history),
        number: pushed.number,
        keep_from: pushed.keep_from,
        evicted: pushed.evicted,
        event,
    }
}

fn retained(number: u64) -> Record {
    let event = Arc::new(RetainedEvent {
        publication: publication(number),
        audience: Audience::default(),
        details: Dict::new(),
        payload: PayloadBuf::Empty,
    });
    Record::Retained { realm: "realm1".into(), number, topic: "com.r".into(), event }
}

fn released(number: u64) -> Record {
    Record::Released { realm: "realm1".into(), numbers: SmallVec::from_slice(&[number]) }
}

fn deposit(records: Vec<Record>, request: u64) -> (Vec<Deposit>, usize) {
    let session = SessionId::new(1).unwrap();
    let receipt = Receipt {
        publisher: SessionRef { session, slot: 0, shard: ShardId(0) },
        request: RequestId::new(request).unwrap(),
        publication: publication(request),
    };
    (vec![Deposit { records, receipt: Some(receipt) }], 1)
}

/// What a router finds that starts on the file.
fn reread(path: &Path, events: usize) -> (Vec<u64>, Vec<u64>) {
    let router = router(events);
    let (mut storage, saved) = Storage::open(path, Arc::default()).unwrap();
    let retained = saved.retained.iter().map(|retained| retained.number).collect();
    storage.clean(router.restore(saved, Timestamp::default())).unwrap();
    let held = history(&router).events();
    (held.iter().map(|(_, event)| event.publication.get()).collect(), retained)
}

fn refusal(path: &Path) -> StorageReason {
    Storage::open(path, Arc::default()).map(drop).unwrap_err().reason
}

/// A file that cannot be written while it is `broken`.
#[derive(Debug)]
struct Breakable {
    file: FileBackend,
    broken: Arc<AtomicBool>,
}

impl Breakable {
    fn check(&self) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

impl StorageBackend for Breakable {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

/// Whatever the order in which records come, the file ends up with what the memory has.
#[test]
fn records_may_come_in_any_order() {
    let directory = tempfile::tempdir().unwrap();
    // Every order of four events in a history of two, with a retained event that is replaced.
    for (case, order) in permutations(&[0, 1, 2, 3, 4, 5]).into_iter().enumerate().step_by(7) {
        let path = directory.path().join(format!("store{case}"));
        let router = router(2);
        let mut records: Vec<_> = (1..=4).map(|number| publish(&router, number)).collect();
        records.extend([retained(5), released(5)]);
        let (sender, deposits) = unbounded();
        for (request, place) in (1..).zip(order) {
            sender.send(deposit(vec![records[place].clone()], request)).unwrap();
        }
        drop(sender);
        let (storage, _) = Storage::open(&path, Arc::default()).unwrap();
        let mut answered = 0;
        storage.run(&deposits, |outcome| {
            assert!(outcome.is_saved);
            answered += outcome.receipts.len();
        });
        assert_eq!(answered, 6);
        assert_eq!(reread(&path, 2), (vec![3, 4], vec![]));
    }
}

/// Each batch by itself, so that what is late finds the file and not the batch.
#[test]
fn records_may_come_late() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let router = router(1);
    let [one, two] = [1, 2].map(|number| publish(&router, number));
    let (mut storage, _) = Storage::open(&path, Arc::default()).unwrap();
    for record in [two, one, released(7), retained(7), retained(8)] {
        storage.pending.absorb(record);
        assert!(storage.write());
    }
    assert!(storage.pending.early.is_empty() && storage.pending.is_empty());
    drop(storage);
    assert_eq!(reread(&path, 1), (vec![2], vec![8]));
}

/// The bounds of the new start count, and what is not configured any more is forgotten.
#[test]
fn a_changed_configuration_is_applied() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let before = router(10);
    let (mut storage, _) = Storage::open(&path, Arc::default()).unwrap();
    storage.clean((1..=5).map(|number| publish(&before, number)).collect()).unwrap();
    storage.clean(vec![retained(1)]).unwrap();
    drop(storage);
    assert_eq!(reread(&path, 3), (vec![3, 4, 5], vec![1]));
    assert_eq!(reread(&path, 10), (vec![3, 4, 5], vec![1]), "what went is gone");

    let (mut storage, saved) = Storage::open(&path, Arc::default()).unwrap();
    assert_eq!(saved.histories[0].evicted, Some(Timestamp::from_unix_ms(2)));
    let other =
        Router::new(Settings::default(), vec![RealmSettings::named("realm1")], 1, HashSeed::new(1));
    storage.clean(other.restore(saved, Timestamp::default())).unwrap();
    drop(storage);
    let (_, saved) = Storage::open(&path, Arc::default()).unwrap();
    assert!(saved.histories.is_empty() && saved.retained.is_empty());
}

/// What could not be saved is refused to who waits for it, and saved as soon as it can be.
#[test]
fn a_full_disk_is_survived() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let broken = Arc::new(AtomicBool::new(false));
    let counters: Arc<Counters> = Arc::default();
    let breakable = {
        let broken = Arc::clone(&broken);
        move |path: &Path| {
            let file = fs::OpenOptions::new().read(true).write(true).open(path);
            let file = FileBackend::new(file.map_err(redb::StorageError::Io)?)?;
            let broken = Arc::clone(&broken);
            redb::Builder::new().create_with_backend(Breakable { file, broken })
        }
    };
    drop(Storage::open(&path, Arc::default()).unwrap());
    let database = Database::opened_by(&path, breakable).unwrap();
    let mut storage = Storage {
        database,
        pending: Pending::default(),
        counters: Arc::clone(&counters),
        is_failing: false,
    };
    let router = router(10);
    let mut save = |number, is_broken| {
        broken.store(is_broken, Ordering::SeqCst);
        let (_sender, nothing_more) = unbounded();
        storage.save(deposit(vec![publish(&router, number)], number), &nothing_more).is_saved
    };
    let mut outcomes = VecDeque::from([true, false, false, true, true, false, true]);
    for number in 1..=7 {
        let is_saved = outcomes.pop_front().unwrap();
        assert_eq!(save(number, !is_saved), is_saved, "{number}");
    }
    drop(storage);
    assert_eq!(reread(&path, 10).0, [1, 2, 3, 4, 5, 6, 7]);
    let counted = counters.snapshot();
    assert_eq!((counted.deposits_saved, counted.deposits_failed), (4, 3));
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    for text in ["# a file of somebody else", "x", &"long ".repeat(10_000)] {
        fs::write(&path, text).unwrap();
        let reason = refusal(&path);
        assert!(matches!(reason, StorageReason::Foreign), "{reason:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::remove_file(&path).unwrap();
    let foreign = redb::Database::create(&path).unwrap();
    let writing = foreign.begin_write().unwrap();
    writing.open_table(redb::TableDefinition::<u64, u64>::new("accounts")).unwrap();
    writing.commit().unwrap();
    drop(foreign);
    assert!(matches!(refusal(&path), StorageReason::Foreign));
    assert!(matches!(refusal(directory.path()), StorageReason::Io(_)));
    assert!(matches!(refusal(Path::new("/nowhere/store")), StorageReason::Io(_)));
}

#[test]
fn another_format_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    drop(Storage::open(&path, Arc::default()).unwrap());
    let file = redb::Database::open(&path).unwrap();
    let writing = file.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("stentor");
    writing.open_table(meta).unwrap().insert("format", 2).unwrap();
    writing.commit().unwrap();
    drop(file);
    assert!(matches!(refusal(&path), StorageReason::Format { found: 2, known: 1 }));
}

#[test]
fn one_file_serves_one_router() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (_storage, _) = Storage::open(&path, Arc::default()).unwrap();
    assert!(matches!(refusal(&path), StorageReason::Locked));
}

/// Cut short or overwritten anywhere, a store is read as it was or refused; it never panics.
#[test]
fn damage_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let router = router(1_000);
    let (mut storage, _) = Storage::open(&path, Arc::default()).unwrap();
    storage.clean((1..=300).map(|number| publish(&router, number)).collect()).unwrap();
    drop(storage);
    let good = fs::read(&path).unwrap();
    let mut refused = 0;
    let step = good.len() / 30;
    for place in (0..good.len()).step_by(step) {
        let mut bad = good.clone();
        let end = bad.len().min(place + step);
        bad[place..end].fill(0xA5);
        for bytes in [&bad[..], &good[..place]] {
            let file = directory.path().join("damaged");
            fs::write(&file, bytes).unwrap();
            match Storage::open(&file, Arc::default()) {
                Ok((_, saved)) if !bytes.is_empty() => {
                    let events = saved.histories.iter().map(|h| h.events.len()).sum::<usize>();
                    assert_eq!(events, 300, "at {place}");
                }
                Ok(_) => {}
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 30, "only {refused} of 60 were refused");
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
