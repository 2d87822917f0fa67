//! A store against everything that a file can do to it; here is what the tests share.

mod faults;
mod files;
mod order;
mod outage;

use std::collections::BTreeSet;
use std::path::Path;

use crossbeam_channel::unbounded;

use super::*;
use crate::hash::HashSeed;
use crate::router::{
    Audience, History, HistorySettings, HistoryStore, Identity, RealmSettings, RetainedEvent,
    SessionRef, Settings, ShardId, Slot, Stamp, StoredEvent,
};
use crate::wamp::{Dict, PayloadBuf, PublicationId, RequestId, SessionId, Timestamp};

/// A router with the durable history of `com.x` on `realm1`, and durable retained events.
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

fn history(router: &Router) -> Arc<History> {
    router.durable_histories().swap_remove(0)
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
        history,
        number: pushed.number,
        keep_from: pushed.keep_from,
        evicted: pushed.evicted,
        event,
    }
}

/// Retains an event of a topic, and gives what it leaves on disk.
fn retain(router: &Router, topic: &str, number: u64) -> Vec<Record> {
    let event = RetainedEvent {
        publication: publication(number),
        stamp: Stamp::default(),
        audience: Audience::default(),
        publisher: None,
        details: Dict::new(),
        payload: PayloadBuf::Empty,
    };
    let session = SessionId::new(1).unwrap();
    let publisher = Identity { session, authid: "joe", authrole: "user" };
    let realm = router.realm("realm1").unwrap();
    let stored = realm.retained.store(topic, event, publisher, &router.edition().settings.limits);
    let (realm, number) = (realm.name(), stored.number);
    let released = Record::Released { realm: Arc::clone(realm), numbers: stored.released.clone() };
    let retained =
        |(topic, event)| Record::Retained { realm: Arc::clone(realm), number, topic, event };
    let released = (!stored.released.is_empty()).then_some(released);
    released.into_iter().chain(stored.entry.map(retained)).collect()
}

fn deposit(records: Vec<Record>, request: u64) -> Batch<Deposit> {
    let session = SessionId::new(1).unwrap();
    let receipt = Receipt {
        publisher: SessionRef { session, slot: Slot::new(0), shard: ShardId(0) },
        request: RequestId::new(request).unwrap(),
        publication: publication(request),
    };
    Batch { items: vec![Deposit::new(records, Some(receipt), &Arc::default())], weight: 1 }
}

/// Hands one deposit to the store, and gives whether it is saved.
fn save(storage: &mut Storage, router: &Router, records: Vec<Record>, now: Instant) -> bool {
    let (_sender, nothing_more) = unbounded();
    let outcome = storage.save(deposit(records, 1), &nothing_more, router, now);
    assert_eq!((outcome.receipts.len(), outcome.weight), (1, 1), "answered at once");
    outcome.is_saved
}

fn open(path: &Path) -> Storage {
    Storage::open(path, &router(1_000)).unwrap().0
}

/// The publications that a router finds that starts on the file: in the history, and retained.
fn reread(path: &Path, events: usize) -> (Vec<u64>, BTreeSet<u64>) {
    let router = router(events);
    let (mut storage, saved) = Storage::open(path, &router).unwrap();
    let retained = saved.retained.iter().map(|saved| saved.event.publication.get()).collect();
    storage.clean(router.restore(saved, Timestamp::default())).unwrap();
    let held = history(&router).events();
    (held.iter().map(|(_, event)| event.publication.get()).collect(), retained)
}
