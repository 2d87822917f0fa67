//! The mesh under real threads: no wake and no parcel is lost, order holds, congestion ends;
//! between shards, and with a task of tokio among them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mio::{Events, Poll, Registry, Token};
use proptest::test_runner::{RngAlgorithm, TestRng};
use rand::RngExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use super::{Inbox, Mesh, Parcel};
use crate::router::{Batch, Destination, Destinations, SessionRef, ShardId, Slot};
use crate::shard::{Cancellation, Mail};
use crate::wamp::{CancelMode, RequestId, SessionId};

/// Far longer than any wake takes: a poll that lasts so long was never woken.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the owner of a port sleeps until it is woken.
enum Bed {
    Poller(Poll, Events),
    Task(Runtime, Arc<Notify>),
}

impl Bed {
    fn poller() -> Self {
        Self::Poller(Poll::new().unwrap(), Events::with_capacity(4))
    }

    fn task() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        Self::Task(runtime, Arc::default())
    }

    fn registry(&self) -> Option<&Registry> {
        if let Self::Poller(poll, _) = self { Some(poll.registry()) } else { None }
    }

    /// Sleeps if that is allowed. Returns whether it was woken.
    fn sleep(&mut self, may_sleep: bool) -> bool {
        match self {
            Self::Poller(poll, events) => {
                let patience = if may_sleep { PATIENCE } else { Duration::ZERO };
                poll.poll(events, Some(patience)).unwrap();
                !events.is_empty()
            }
            Self::Task(runtime, notify) if may_sleep => runtime.block_on(async {
                tokio::time::timeout(PATIENCE, notify.notified()).await.is_ok()
            }),
            Self::Task(..) => false,
        }
    }
}

/// Who takes mail: shards alone, or a task of tokio as the last of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shards,
    WithCluster,
}

const KINDS: [Kind; 2] = [Kind::Shards, Kind::WithCluster];

/// A mesh of so many ports.
fn mesh(kind: Kind, ports: usize, high_mark_bytes: usize) -> (Arc<Mesh>, Vec<Bed>, Vec<Inbox>) {
    let has_cluster = kind == Kind::WithCluster;
    let mut beds: Vec<_> = (usize::from(has_cluster)..ports).map(|_| Bed::poller()).collect();
    beds.extend(has_cluster.then(Bed::task));
    let cluster = match beds.last() {
        Some(Bed::Task(_, notify)) => Some(Arc::clone(notify)),
        _ => None,
    };
    let registries: Vec<_> = beds.iter().filter_map(Bed::registry).collect();
    let mesh = Mesh::with_cluster(&registries, Token(0), high_mark_bytes, cluster);
    let (mesh, inboxes) = mesh.unwrap();
    assert_eq!(inboxes.len(), ports);
    (mesh, beds, inboxes)
}

/// All that have a port.
fn everyone(mesh: &Mesh) -> Vec<ShardId> {
    mesh.shards().chain(mesh.cluster.is_some().then_some(ShardId::CLUSTER)).collect()
}

/// A piece of mail that carries its sender and a number.
fn mail(from: ShardId, number: u64) -> Mail {
    let session = SessionId::new(u64::from(from.0) + 1).unwrap();
    let callee = SessionRef { session, slot: Slot::new(0), shard: from };
    let call = RequestId::new(number + 1).unwrap();
    let mode = CancelMode::Skip;
    Mail::Cancel(Cancellation { callee, caller: session, call, serial: 0, mode })
}

fn unpack(mail: &Mail) -> (ShardId, u64) {
    let Mail::Cancel(Cancellation { callee, call, .. }) = mail else {
        panic!("only such mail is sent")
    };
    (callee.shard, call.get() - 1)
}

/// The next parcel; what it brings is dealt with at once.
fn take(inbox: &Inbox) -> Option<Parcel> {
    let parcel = inbox.take()?;
    if let Parcel::Mail(batch) = &parcel {
        inbox.release(batch.weight);
    }
    Some(parcel)
}

/// Waits as the event loop does: sleeps only if nothing has arrived, and must then be woken.
fn next_parcels(bed: &mut Bed, inbox: &Inbox) -> Vec<Parcel> {
    loop {
        let may_sleep = inbox.fall_asleep();
        let is_woken = bed.sleep(may_sleep);
        inbox.wake_up();
        assert!(!may_sleep || is_woken, "a wake is lost");
        let parcels: Vec<_> = std::iter::from_fn(|| take(inbox)).collect();
        if !parcels.is_empty() {
            return parcels;
        }
    }
}

fn random(seed: u8) -> TestRng {
    TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32])
}

fn check_drained(mesh: &Mesh) {
    assert!(mesh.congested().is_empty());
    for port in mesh.ports.iter().chain(&mesh.cluster) {
        assert_eq!(port.load.queued_bytes.load(Ordering::Relaxed), 0);
        assert!(port.sender.is_empty());
    }
}

#[test]
fn every_wake_of_a_ping_pong_arrives() {
    KINDS.into_iter().for_each(play_ping_pong);
}

fn play_ping_pong(kind: Kind) {
    const ROUNDS: u64 = 50_000;
    let (mesh, mut beds, mut inboxes) = mesh(kind, 2, usize::MAX);
    let players = everyone(&mesh);
    let play = |me: usize, bed: &mut Bed, inbox: &Inbox| {
        let other = players[1 - me];
        let mut number = 0;
        while number < ROUNDS {
            for parcel in next_parcels(bed, inbox) {
                let Parcel::Mail(batch) = parcel else { panic!("only mail is sent") };
                assert_eq!(unpack(&batch.items[0]), (other, number));
                number += 1;
                let items = vec![mail(players[me], number - u64::from(me == 0))];
                inbox.mesh().send(other, Parcel::Mail(Batch { items, weight: 1 }));
            }
        }
    };
    mesh.send(players[0], Parcel::Mail(Batch { items: vec![mail(players[1], 0)], weight: 1 }));
    thread::scope(|scope| {
        let (mut bed, inbox) = (beds.pop().unwrap(), inboxes.pop().unwrap());
        scope.spawn(move || play(1, &mut bed, &inbox));
        play(0, &mut beds[0], &inboxes[0]);
    });
}

#[test]
fn mail_of_each_pair_arrives_once_and_in_order() {
    KINDS.into_iter().for_each(send_between_all);
}

fn send_between_all(kind: Kind) {
    const PORTS: usize = 6;
    const EACH: u64 = 20_000;
    let (mesh, beds, inboxes) = mesh(kind, PORTS, usize::MAX);
    let names = everyone(&mesh);
    let place = |name| names.iter().position(|other| *other == name).expect("it has a port");
    let receive = |mut bed: Bed, inbox: Inbox| {
        let mut next = [0; PORTS];
        while next.iter().sum::<u64>() < PORTS as u64 * EACH {
            for parcel in next_parcels(&mut bed, &inbox) {
                let Parcel::Mail(batch) = parcel else { panic!("mail only") };
                assert_eq!(batch.items.len(), batch.weight);
                for mail in &batch.items {
                    let (from, number) = unpack(mail);
                    assert_eq!(number, next[place(from)]);
                    next[place(from)] += 1;
                }
            }
        }
    };
    thread::scope(|scope| {
        for (bed, inbox) in beds.into_iter().zip(inboxes) {
            scope.spawn(move || receive(bed, inbox));
        }
        for from in &names {
            scope.spawn(|| send_to_all(&mesh, *from, [EACH; PORTS]));
        }
    });
    check_drained(&mesh);
}

/// Sends so much mail to each, by chance now to one and now to another.
fn send_to_all<const N: usize>(mesh: &Mesh, from: ShardId, each: [u64; N]) {
    let (mut random, names) = (random(from.0), everyone(mesh));
    let mut sent = [0; N];
    while sent != each {
        let to = random.random_range(0..N);
        let count = random.random_range(0..40).min(each[to] - sent[to]);
        if count == 0 {
            thread::yield_now();
            continue;
        }
        let numbers = sent[to]..sent[to] + count;
        let items = numbers.map(|number| mail(from, number)).collect();
        sent[to] += count;
        mesh.send(names[to], Parcel::Mail(Batch { items, weight: count as usize }));
    }
}

/// Senders that heed congestion as the event loop does, against receivers with a tiny mark.
#[test]
fn who_waits_for_room_is_resumed() {
    KINDS.into_iter().for_each(heed_congestion);
}

fn heed_congestion(kind: Kind) {
    const PORTS: usize = 4;
    const EACH: u64 = 50_000;
    let (mesh, beds, inboxes) = mesh(kind, PORTS, 8);
    let received = AtomicU64::new(0);
    let total = PORTS as u64 * EACH;
    thread::scope(|scope| {
        for (mut bed, inbox) in beds.into_iter().zip(inboxes) {
            let received = &received;
            scope.spawn(move || {
                let mut worker = Worker::new(inbox);
                while worker.sent < EACH || received.load(Ordering::SeqCst) < total {
                    worker.send_unless_congested(EACH);
                    let idle = worker.paused || worker.sent == EACH;
                    worker.take(&mut bed, idle, received, total);
                }
            });
        }
    });
    check_drained(&mesh);
}

/// The store is no shard, but one waits for its room as for a shard's.
#[test]
fn who_waits_for_the_store_is_resumed() {
    let (mesh, _beds, inboxes) = mesh(Kind::Shards, 2, 100);
    let store = || Destinations::only(Destination::Store);
    mesh.queues(Destination::Store, 100);
    assert!(mesh.congested().is_empty());
    mesh.queues(Destination::Store, 20);
    assert_eq!(mesh.congested(), store());
    assert_eq!(inboxes[1].await_room(store()), store());
    mesh.took(Destination::Store, 60);
    assert!(inboxes[1].take().is_none(), "not yet half empty");
    mesh.took(Destination::Store, 20);
    assert!(matches!(inboxes[1].take(), Some(Parcel::Resume)));
    assert!(inboxes[0].take().is_none() && mesh.congested().is_empty());
    assert!(inboxes[0].await_room(store()).is_empty());
}

struct Worker {
    inbox: Inbox,
    random: TestRng,
    sent: u64,
    feeds: Destinations,
    paused: bool,
}

impl Worker {
    fn new(inbox: Inbox) -> Self {
        let random = random(inbox.shard.0);
        Self { inbox, random, sent: 0, feeds: Destinations::default(), paused: false }
    }

    fn send_unless_congested(&mut self, limit: u64) {
        if self.paused || self.sent == limit {
            return;
        }
        let mesh = self.inbox.mesh();
        if self.feeds.intersects(mesh.congested()) && !self.inbox.await_room(self.feeds).is_empty()
        {
            self.paused = true;
            return;
        }
        self.feeds = Destinations::default();
        let names = everyone(mesh);
        let to = names[self.random.random_range(0..names.len())];
        let weight = self.random.random_range(1..12);
        let items = vec![mail(self.inbox.shard, self.sent)];
        mesh.send(to, Parcel::Mail(Batch { items, weight }));
        self.feeds.insert(to);
        self.sent += 1;
    }

    /// Takes what is there; sleeps only if there is nothing else to do.
    fn take(&mut self, bed: &mut Bed, idle: bool, received: &AtomicU64, total: u64) {
        let parcels = if idle {
            next_parcels(bed, &self.inbox)
        } else {
            std::iter::from_fn(|| take(&self.inbox)).collect()
        };
        for parcel in parcels {
            match parcel {
                Parcel::Mail(_) => {
                    if received.fetch_add(1, Ordering::SeqCst) + 1 == total {
                        // The last one wakes those who have nothing more to wait for.
                        let mesh = self.inbox.mesh();
                        for name in everyone(mesh) {
                            mesh.send(name, Parcel::Shutdown);
                        }
                    }
                }
                Parcel::Resume => self.paused = false,
                Parcel::Shutdown
                | Parcel::Accepted(_)
                | Parcel::Probe(_)
                | Parcel::Look(_)
                | Parcel::Inquiry(_)
                | Parcel::Reload(..)
                | Parcel::ServeUntil(_)
                | Parcel::Drain(..) => {}
            }
        }
    }
}

/// A sender is interrupted between counting its weight and telling of the congestion, while the
/// receiver empties its queue: the mark must not stay set for good.
#[test]
fn a_late_mark_is_taken_back() {
    let (mesh, _beds, inboxes) = mesh(Kind::Shards, 2, 100);
    let port = &mesh.ports[0];
    mesh.send(ShardId(0), Parcel::Mail(Batch { items: Vec::new(), weight: 100 }));
    let weight = 10;
    // What `send` does, step by step.
    port.load.queued_bytes.fetch_add(weight, Ordering::SeqCst);
    take(&inboxes[0]).unwrap();
    mesh.congested.fetch_or(1, Ordering::SeqCst);
    port.sender.send(Parcel::Mail(Batch { items: Vec::new(), weight })).unwrap();
    take(&inboxes[0]).unwrap();
    check_drained(&mesh);
}
