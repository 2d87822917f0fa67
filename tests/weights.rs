//! What limits count is what the process takes: weights, and the bound on what one message makes of
//! itself, against the memory that the kernel sees.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::{env, fs};

use stentor::codec::{self, Codec, DecodeLimits};
use stentor::limits::Limits;
use stentor::router::{
    Audience, Deposit, Fanouts, HeldCount, Identity, Numbering, Record, RetainedEvent,
    RetainedTable, SessionRef, ShardId, Slot, Stamp, StoredEvent, Weighed,
};
use stentor::session::CallRef;
use stentor::shard::{Carried, Event, EventHead, Mail, Outcome, Return};
use stentor::wamp::{
    Dict, MAX_ID, Payload, PayloadBuf, PublicationId, ReceiverFilter, RequestId, SessionId,
    Timestamp, Value,
};

use memory::resident_bytes;

#[path = "support/memory.rs"]
mod memory;

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

/// The kernel may give this much where one byte is needed.
const HUGE_PAGE_BYTES: usize = 2 * 1024 * 1024;

/// Compares what something says that it takes with what the process takes for it.
fn measure<T>(name: &str, make: impl FnOnce() -> (T, usize)) {
    let before = resident_bytes();
    let (made, weight) = make();
    let taken = resident_bytes() - before;
    assert!(taken > 4 * HUGE_PAGE_BYTES, "{name}: {taken} is too little to be measured");
    // The allocator rounds up to pages, and keeps some of what was given back.
    assert!(
        weight + weight / 20 + HUGE_PAGE_BYTES >= taken,
        "{name}: {taken} are taken, {weight} are counted"
    );
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
    let (publication, stamp) = (publication(), Stamp::default());
    let publisher = None;
    RetainedEvent { publication, stamp, audience, publisher, details, payload: payload() }
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
        cause: None,
        audience: audience(3),
        traced: 0,
        numbering: Numbering::None,
        details,
    };
    Event::new(head, Box::default(), Fanouts::new(), payload(), &COUNT)
}

fn session() -> SessionRef {
    SessionRef { session: id(1), slot: Slot::new(1), shard: ShardId(0) }
}

/// What is held counts here; one count serves all, as in a shard.
static COUNT: LazyLock<Arc<HeldCount>> = LazyLock::new(Arc::default);

fn error(uri: String) -> Mail {
    let outcome = Outcome::Error { error: uri.into(), details: keys(20) };
    let call = CallRef { caller: session(), request: RequestId::FIRST, serial: 1 };
    let answer = Return { call, outcome };
    Mail::Return(Box::new(Carried::answer(answer, payload(), &COUNT)))
}

fn deposit(realm: &Arc<str>) -> Deposit {
    let numbers = (0..20).collect();
    let released = Record::Released { realm: Arc::clone(realm), numbers };
    let forgotten = Record::Forget { key: "realm1 exact com.example.topic".into() };
    Deposit::new(vec![released, forgotten], None, &COUNT)
}

/// A message of a megabyte, in every form that becomes much: the router may allocate 16 times its
/// size and 4 MiB for it at once. In a process of its own, that gives back what is freed.
#[test]
fn no_message_takes_much_more_than_itself() {
    if env::var_os(GIVE_BACK).is_none() {
        let mut child = Command::new(env::current_exe().expect("this program"));
        child.args(["--exact", "no_message_takes_much_more_than_itself", "--nocapture"]);
        let output = child.env(GIVE_BACK, "65536").output().expect("it can be run again");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        return;
    }
    let shapes: [(Codec, &[u8]); 9] = [
        (Codec::MsgPack, b"\xc0"),
        (Codec::MsgPack, b"\x91\xc0"),
        (Codec::MsgPack, b"\x80"),
        (Codec::MsgPack, b"\xa1a"),
        (Codec::Cbor, b"\x40"),
        (Codec::Cbor, b"\xf9\x04\x01"),
        (Codec::Cbor, b"\x9f\xff"),
        (Codec::Json, b"-0"),
        (Codec::Json, b"[]"),
    ];
    for (codec, item) in shapes {
        let args = list_of(codec, item);
        let payload = Payload::Raw { codec, args: &args, kwargs: None };
        for to in Codec::ALL {
            peak(to.as_str(), args.len(), || codec::transcode(payload, to).is_ok());
        }
        peak("values", args.len(), || codec::decode_payload(payload).is_ok());
        for (head, tail) in heads(codec) {
            let message = [head, &args, tail].concat();
            let limits = DecodeLimits { nesting: 64 };
            peak("message", message.len(), || codec::decode(codec, &message, limits).is_ok());
        }
    }
}

/// Runs `work` and checks how much more memory the process had at its height.
fn peak(what: &str, length: usize, work: impl FnOnce() -> bool) {
    let before = status_bytes("VmRSS:");
    // Forgets the height that was reached before.
    fs::write("/proc/self/clear_refs", "5").expect("Linux has it");
    work();
    let taken = status_bytes("VmHWM:").saturating_sub(before);
    assert!(taken <= 16 * length + 4 * 1024 * 1024, "{what}: {taken} bytes for {length}");
}

fn status_bytes(key: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let number = status.lines().find_map(|line| line.strip_prefix(key)).expect("the number");
    number.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// A list of a megabyte.
fn list_of(codec: Codec, item: &[u8]) -> Vec<u8> {
    let count = 1024 * 1024 / item.len();
    let length = (count as u32).to_be_bytes();
    match codec {
        Codec::Cbor => [&[0x9a], &length[..], &item.repeat(count)].concat(),
        Codec::MsgPack => [&[0xdd], &length[..], &item.repeat(count)].concat(),
        Codec::Json => [b"[", &vec![item; count / 2].join(&b","[..])[..], b"]"].concat(),
    }
}

/// What makes a list `authextra`, names, ids, or the value of an option that nobody knows.
fn heads(codec: Codec) -> [(&'static [u8], &'static [u8]); 4] {
    match codec {
        Codec::MsgPack => [
            (b"\x93\x05\xa0\x81\xa1a", b""),
            (b"\x94\x10\x01\x81\xaeexclude_authid", b"\xa1a"),
            (b"\x94\x10\x01\x81\xa7exclude", b"\xa1a"),
            (b"\x94\x10\x01\x81\xa1x", b"\xa1a"),
        ],
        Codec::Cbor => [
            (b"\x83\x05\x60\xa1\x61a", b""),
            (b"\x84\x10\x01\xa1\x6eexclude_authid", b"\x61a"),
            (b"\x84\x10\x01\xa1\x67exclude", b"\x61a"),
            (b"\x84\x10\x01\xa1\x61x", b"\x61a"),
        ],
        Codec::Json => [
            (b"[5,\"\",{\"a\":", b"}]"),
            (b"[16,1,{\"exclude_authid\":", b"},\"a\"]"),
            (b"[16,1,{\"exclude\":", b"},\"a\"]"),
            (b"[16,1,{\"x\":", b"},\"a\"]"),
        ],
    }
}

/// From so many bytes on, the C library takes memory for each block and gives it back.
const GIVE_BACK: &str = "MALLOC_MMAP_THRESHOLD_";
