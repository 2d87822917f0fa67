//! What it costs to hand mail to another shard, with real channels and wakers. Run with
//! `cargo bench --bench mesh`.

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mio::{Events, Poll, Token};
use stentor::net::mesh::{Inbox, Mesh, Parcel};
use stentor::router::{Batch, SessionRef, ShardId, Slot};
use stentor::shard::{Cancellation, Mail};
use stentor::wamp::{CancelMode, RequestId, SessionId};

const HERE: ShardId = ShardId(0);
const THERE: ShardId = ShardId(1);

/// More than any of these benches queues, so that nobody is congested.
const HIGH_MARK_BYTES: usize = 1 << 30;

fn mesh() -> (Arc<Mesh>, Vec<(Poll, Inbox)>) {
    let polls = [(); 2].map(|()| Poll::new().expect("a poller can be made"));
    let registries = [polls[0].registry(), polls[1].registry()];
    let (mesh, inboxes) =
        Mesh::new(&registries, Token(0), HIGH_MARK_BYTES).expect("a waker can be made");
    (mesh, polls.into_iter().zip(inboxes).collect())
}

fn parcel(mails: usize) -> Parcel {
    let session = SessionId::new(1).expect("in range");
    let cancellation = || Cancellation {
        callee: SessionRef { session, slot: Slot::new(0), shard: THERE },
        caller: session,
        call: RequestId::new(1).expect("in range"),
        serial: 0,
        mode: CancelMode::Skip,
    };
    let items = (0..mails).map(|_| Mail::Cancel(cancellation())).collect();
    Parcel::Mail(Batch { items, weight: 100 * mails })
}

/// The next parcel; what it brings is dealt with at once.
fn take(inbox: &Inbox) -> Option<Parcel> {
    let parcel = inbox.take()?;
    if let Parcel::Mail(batch) = &parcel {
        inbox.release(batch.weight);
    }
    Some(parcel)
}

/// Waits for a parcel as an event loop does.
fn wait(poll: &mut Poll, inbox: &Inbox) -> Parcel {
    let mut events = Events::with_capacity(4);
    loop {
        let may_sleep = inbox.fall_asleep();
        let patience = if may_sleep { None } else { Some(Duration::ZERO) };
        poll.poll(&mut events, patience).expect("a poller can be asked");
        inbox.wake_up();
        if let Some(parcel) = take(inbox) {
            return parcel;
        }
    }
}

/// To a shard that is awake: no system call.
fn awake(c: &mut Criterion) {
    let mut group = c.benchmark_group("mail to a shard that is awake");
    for mails in [1, 64] {
        let (mesh, shards) = mesh();
        group.throughput(Throughput::Elements(mails as u64));
        group.bench_function(format!("{mails} in a batch"), |b| {
            b.iter(|| {
                mesh.send(THERE, parcel(mails));
                black_box(take(&shards[1].1))
            });
        });
    }
}

/// To a shard about to sleep: a wake, and the poll that finds it.
fn about_to_sleep(c: &mut Criterion) {
    let (mesh, mut shards) = mesh();
    let (poll, inbox) = &mut shards[1];
    let mut events = Events::with_capacity(4);
    c.bench_function("mail to a shard about to sleep", |b| {
        b.iter(|| {
            assert!(inbox.fall_asleep(), "nothing is queued");
            mesh.send(THERE, parcel(1));
            poll.poll(&mut events, None).expect("a poller can be asked");
            inbox.wake_up();
            black_box(take(inbox))
        });
    });
}

/// There and back between two threads, each asleep when its mail comes.
fn round_trip(c: &mut Criterion) {
    let (mesh, mut shards) = mesh();
    let (mut poll, inbox) = shards.pop().expect("there are two");
    let back = Arc::clone(&mesh);
    let echo = thread::spawn(move || {
        while let parcel @ Parcel::Mail(_) = wait(&mut poll, &inbox) {
            back.send(HERE, parcel);
        }
    });
    let (poll, inbox) = &mut shards[0];
    c.bench_function("mail there and back between two threads", |b| {
        b.iter(|| {
            mesh.send(THERE, parcel(1));
            black_box(wait(poll, inbox))
        });
    });
    mesh.send(THERE, Parcel::Shutdown);
    echo.join().expect("the other thread only passes mail on");
}

criterion_group!(benches, awake, about_to_sleep, round_trip);
criterion_main!(benches);
