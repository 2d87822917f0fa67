//! The mesh under real threads: no wake and no parcel is lost, order holds, congestion ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mio::{Events, Poll, Token};
use proptest::test_runner::{RngAlgorithm, TestRng};
use rand::RngExt;

use super::{Inbox, Mesh, Parcel};
use crate::router::{Batch, Destination, Destinations, SessionRef, ShardId, Slot};
use crate::shard::{Cancellation, Mail};
use crate::wamp::{CancelMode, RequestId, SessionId};

/// Far longer than any wake takes: a poll that lasts so long was never woken.
const PATIENCE: Duration = Duration::from_secs(20);

fn mesh(shards: usize, high_mark_bytes: usize) -> (Arc<Mesh>, Vec<Poll>, Vec<Inbox>) {
    let polls: Vec<_> = (0..shards).map(|_| Poll::new().unwrap()).collect();
    let registries: Vec<_> = polls.iter().map(Poll::registry).collect();
    let (mesh, inboxes) = Mesh::new(&registries, Token(0), high_mark_bytes).unwrap();
    (mesh, polls, inboxes)
}

/// A piece of mail that carries its sender and a number.
fn mail(from: ShardId, number: u64) -> Mail {
    let session = SessionId::new(u64::from(from.0) + 1).unwrap();
    let callee = SessionRef { session, slot: Slot::new(0), shard: from };
    let call = RequestId::new(number + 1).unwrap();
    let mode = CancelMode::Skip;
    Mail::Cancel(Cancellation { callee, caller: session, call, serial: 0, mode })
}

fn unpack(mail: &Mail) -> (usize, u64) {
    let Mail::Cancel(Cancellation { callee, call, .. }) = mail else {
        panic!("only such mail is sent")
    };
    (usize::from(callee.shard.0), call.get() - 1)
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
fn next_parcels(poll: &mut Poll, inbox: &Inbox) -> Vec<Parcel> {
    let mut events = Events::with_capacity(4);
    loop {
        let may_sleep = inbox.fall_asleep();
        poll.poll(&mut events, Some(if may_sleep { PATIENCE } else { Duration::ZERO })).unwrap();
        inbox.wake_up();
        assert!(!may_sleep || !events.is_empty(), "a wake is lost");
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
    for port in &mesh.ports {
        assert_eq!(port.load.queued_bytes.load(Ordering::Relaxed), 0);
        assert!(port.sender.is_empty());
    }
}

#[test]
fn every_wake_of_a_ping_pong_arrives() {
    const ROUNDS: u64 = 50_000;
    let (mesh, mut polls, mut inboxes) = mesh(2, usize::MAX);
    let play = |me: u8, poll: &mut Poll, inbox: &Inbox| {
        let (me, other) = (ShardId(me), ShardId(1 - me));
        let mut number = 0;
        while number < ROUNDS {
            for parcel in next_parcels(poll, inbox) {
                let Parcel::Mail(batch) = parcel else { panic!("only mail is sent") };
                assert_eq!(unpack(&batch.items[0]), (usize::from(other.0), number));
                number += 1;
                let items = vec![mail(me, number - u64::from(me.0 == 0))];
                inbox.mesh().send(other, Parcel::Mail(Batch { items, weight: 1 }));
            }
        }
    };
    mesh.send(ShardId(0), Parcel::Mail(Batch { items: vec![mail(ShardId(1), 0)], weight: 1 }));
    thread::scope(|scope| {
        let (mut poll, inbox) = (polls.pop().unwrap(), inboxes.pop().unwrap());
        scope.spawn(move || play(1, &mut poll, &inbox));
        play(0, &mut polls[0], &inboxes[0]);
    });
}

#[test]
fn mail_of_each_pair_arrives_once_and_in_order() {
    const SHARDS: u8 = 6;
    const EACH: u64 = 20_000;
    let (mesh, polls, inboxes) = mesh(usize::from(SHARDS), usize::MAX);
    thread::scope(|scope| {
        for (mut poll, inbox) in polls.into_iter().zip(inboxes) {
            scope.spawn(move || {
                let mut next = [0; SHARDS as usize];
                while next.iter().sum::<u64>() < u64::from(SHARDS) * EACH {
                    for parcel in next_parcels(&mut poll, &inbox) {
                        let Parcel::Mail(batch) = parcel else { panic!("mail only") };
                        assert_eq!(batch.items.len(), batch.weight);
                        for mail in &batch.items {
                            let (from, number) = unpack(mail);
                            assert_eq!(number, next[from]);
                            next[from] += 1;
                        }
                    }
                }
            });
        }
        for from in 0..SHARDS {
            let mesh = &mesh;
            scope.spawn(move || {
                let mut random = random(from);
                let mut sent = [0; SHARDS as usize];
                while sent.iter().any(|sent| *sent < EACH) {
                    let to = random.random_range(0..usize::from(SHARDS));
                    let count = random.random_range(0..40).min(EACH - sent[to]);
                    if count == 0 {
                        thread::yield_now();
                        continue;
                    }
                    let numbers = sent[to]..sent[to] + count;
                    let items = numbers.map(|number| mail(ShardId(from), number)).collect();
                    sent[to] += count;
                    let weight = count as usize;
                    mesh.send(ShardId(to as u8), Parcel::Mail(Batch { items, weight }));
                }
            });
        }
    });
    check_drained(&mesh);
}

/// Senders that heed congestion as the event loop does, against receivers with a tiny mark.
#[test]
fn who_waits_for_room_is_resumed() {
    const SHARDS: u8 = 4;
    const EACH: u64 = 50_000;
    let (mesh, polls, inboxes) = mesh(usize::from(SHARDS), 8);
    let received = AtomicU64::new(0);
    let total = u64::from(SHARDS) * EACH;
    thread::scope(|scope| {
        for (mut poll, inbox) in polls.into_iter().zip(inboxes) {
            let received = &received;
            scope.spawn(move || {
                let mut worker = Worker::new(inbox);
                while worker.sent < EACH || received.load(Ordering::SeqCst) < total {
                    worker.send_unless_congested(EACH);
                    let idle = worker.paused || worker.sent == EACH;
                    worker.take(&mut poll, idle, received, total);
                }
            });
        }
    });
    check_drained(&mesh);
}

/// The store is no shard, but one waits for its room as for a shard's.
#[test]
fn who_waits_for_the_store_is_resumed() {
    let (mesh, _polls, inboxes) = mesh(2, 100);
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
        let shards = mesh.shards().count();
        let to = ShardId(self.random.random_range(0..shards) as u8);
        let weight = self.random.random_range(1..12);
        let items = vec![mail(self.inbox.shard, self.sent)];
        mesh.send(to, Parcel::Mail(Batch { items, weight }));
        self.feeds.insert(to);
        self.sent += 1;
    }

    /// Takes what is there; sleeps only if there is nothing else to do.
    fn take(&mut self, poll: &mut Poll, idle: bool, received: &AtomicU64, total: u64) {
        let parcels = if idle {
            next_parcels(poll, &self.inbox)
        } else {
            std::iter::from_fn(|| take(&self.inbox)).collect()
        };
        for parcel in parcels {
            match parcel {
                Parcel::Mail(_) => {
                    if received.fetch_add(1, Ordering::SeqCst) + 1 == total {
                        // The last one wakes those who have nothing more to wait for.
                        let mesh = self.inbox.mesh();
                        mesh.shards().for_each(|shard| mesh.send(shard, Parcel::Shutdown));
                    }
                }
                Parcel::Resume => self.paused = false,
                Parcel::Shutdown
                | Parcel::Accepted(_)
                | Parcel::Probe(_)
                | Parcel::Look(_)
                | Parcel::Inquiry(_)
                | Parcel::Reload(..)
                | Parcel::Drain(..) => {}
            }
        }
    }
}

/// A sender is interrupted between counting its weight and telling of the congestion, while the
/// receiver empties its queue: the mark must not stay set for good.
#[test]
fn a_late_mark_is_taken_back() {
    let (mesh, _polls, inboxes) = mesh(2, 100);
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
