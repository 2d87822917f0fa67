//! What limits count is what the process takes: weights against the memory that the kernel sees.
#![cfg(target_os = "linux")]

use std::fs;
use std::sync::Arc;

use stentor::codec::Codec;
use stentor::limits::Limits;
use stentor::router::{
    Audience, Deposit, Fanouts, Identity, Record, RetainedEvent, RetainedTable, SessionRef,
    ShardId, StoredEvent,
};
use stentor::shard::{Event, EventHead, Mail, Outcome, Return};
use stentor::wamp::{
    Dict, MAX_ID, Payload, PayloadBuf, PublicationId, ReceiverFilter, RequestId, SessionId,
    Timestamp, Value,
};

/// One test, as others beside it would be measured with it.
#[test]
fn weights_are_what_is_taken() {
    let limits =
        Limits { retained_events: usize::MAX, retained_bytes: usize::MAX, ..Limits::default() };
    measure("retained events with keys", || {
        let table = RetainedTable::default();
        (0..2_000).for_each(|number| retain(&table, number, retained(keys(1_000)), &limits));
        let bytes = table.bytes();
        (table, bytes)
    });
    measure("small retained events", || {
        let table = RetainedTable::default();
        (0..30_000).for_each(|number| retain(&table, number, retained(Dict::new()), &limits));
        let bytes = table.bytes();
        (table, bytes)
    });
    measure("stored events", || many(20_000, |_| stored(keys(10)), StoredEvent::weight));
    measure("stored events with long keys", || {
        many(2_000, |_| stored(keys(4_096)), StoredEvent::weight)
    });
    measure("lists of receivers", || many(200, |_| audience(1_000), Audience::weight));
    measure("mail with an event", || {
        many(10_000, |_| Mail::Event(Arc::new(event(keys(50)))), Mail::weight)
    });
    measure("mail with an error", || many(10_000, |_| error("x".repeat(900)), Mail::weight));
    measure("values in lists of one", || {
        let value = |_| Value::List(vec![Value::List(vec![Value::Null]); 50]);
        many(5_000, value, |value| value.heap_bytes() + size_of::<Value>())
    });
    measure("values of text", || {
        let args = |_| PayloadBuf::Values { args: vec!["a".into(); 30], kwargs: keys(3) };
        many(5_000, args, |payload| payload.heap_bytes() + size_of::<PayloadBuf>())
    });
    measure("deposits", || {
        let realm = Arc::from("realm1");
        many(20_000, |_| deposit(&realm), Deposit::weight)
    });
}

/// Compares what something says that it takes with what the process takes for it.
fn measure<T>(name: &str, make: impl FnOnce() -> (T, usize)) {
    let before = resident_bytes();
    let (made, weight) = make();
    let taken = resident_bytes() - before;
    assert!(taken > 2 * 1024 * 1024, "{name}: {taken} is too little to be measured");
    // The allocator rounds up to pages and keeps some of what was given back.
    assert!(weight + weight / 20 >= taken, "{name}: {taken} are taken, {weight} are counted");
    assert!(weight <= 2 * taken, "{name}: only {taken} are taken, {weight} are counted");
    // It is not freed: the next measurement must not find room that counts already.
    std::mem::forget(made);
}

fn many<T>(
    count: usize,
    make: impl Fn(usize) -> T,
    weight: impl Fn(&T) -> usize,
) -> (Vec<T>, usize) {
    let made: Vec<T> = (0..count).map(make).collect();
    let bytes = made.iter().map(weight).sum();
    (made, bytes)
}

fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = statm.split(' ').nth(1).expect("the resident set");
    pages.parse::<usize>().expect("a number") * 4096
}

/// Keys as a publisher makes them, of so many bytes each.
fn keys(length: usize) -> Dict {
    let names = ["ppt_scheme", "ppt_serializer", "ppt_cipher", "ppt_keyid", "enc_key"];
    names.map(|name| (name.into(), Value::Str("x".repeat(length)))).to_vec()
}

fn payload() -> PayloadBuf {
    Payload::Raw { codec: Codec::Json, args: b"[\"a payload\"]", kwargs: None }.to_buf()
}

fn id(number: usize) -> SessionId {
    SessionId::from_random(number as u64)
}

fn publication() -> PublicationId {
    PublicationId::from_random(MAX_ID / 3)
}

fn retained(details: Dict) -> RetainedEvent {
    let audience = Audience::default();
    RetainedEvent { publication: publication(), audience, details, payload: payload() }
}

fn retain(table: &RetainedTable, number: usize, event: RetainedEvent, limits: &Limits) {
    let publisher = Identity { session: id(1), authid: "joe", authrole: "user" };
    table.store(&format!("com.example.topic{number}"), event, publisher, limits);
}

fn stored(details: Dict) -> StoredEvent {
    StoredEvent {
        timestamp: Timestamp::EPOCH,
        publication: publication(),
        topic: "com.example.topic".into(),
        lists: None,
        details,
        payload: payload(),
    }
}

fn audience(names: usize) -> Audience {
    let filter = ReceiverFilter {
        eligible: Some((0..names).map(id).collect()),
        exclude_authid: Some((0..names).map(|name| name.to_string()).collect()),
        eligible_authrole: Some(vec!["a".repeat(40); names]),
        ..ReceiverFilter::default()
    };
    Audience::new(None, Some(Box::new(filter)))
}

fn event(details: Dict) -> Event {
    let head = EventHead {
        publication: publication(),
        publisher: None,
        audience: audience(3),
        retained: None,
        details,
    };
    Event { head, topic: Box::default(), fanouts: Fanouts::new(), payload: payload() }
}

fn session() -> SessionRef {
    SessionRef { session: id(1), slot: 1, shard: ShardId(0) }
}

fn error(uri: String) -> Mail {
    let outcome = Outcome::Error { error: uri.into(), details: keys(20) };
    let answer = Return { caller: session(), call: RequestId::FIRST, serial: 1, outcome };
    Mail::Return(Box::new(answer), payload())
}

fn deposit(realm: &Arc<str>) -> Deposit {
    let numbers = (0..20).collect();
    let released = Record::Released { realm: Arc::clone(realm), numbers };
    let forgotten = Record::Forget { key: "realm1 exact com.example.topic".into() };
    Deposit { records: vec![released, forgotten], receipt: None }
}
