//! Readers that stop reading, and publishers faster than a shard: nobody else may suffer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::config::Config;
use stentor::limits::SlowConsumerPolicy;
use stentor::net::Server;

use crate::sockets::{Client, Kind, Stream, address, config, eventually, settles, start};

const RAW: Kind = Kind::Raw(Codec::Cbor);
const EVENT_BYTES: usize = 4096;

/// Few bytes may wait, in the router and in the kernel.
fn small_output(shards: usize, policy: SlowConsumerPolicy) -> Config {
    let mut config = config(shards);
    config.output.hard_bytes = 256 * 1024;
    config.output.soft_bytes = 128 * 1024;
    config.output.policy = policy;
    config.tuning.send_buffer_bytes = Some(16 * 1024);
    config
}

/// A subscriber of `com.x` that does not read on.
fn lazy_subscriber(server: &Server) -> Client {
    let stream = Stream::connect_small(address(server));
    let mut client = Client::open_on(stream, RAW).unwrap();
    client.hello("realm1");
    client.subscribe("com.x");
    client
}

fn event(number: u64) -> Value {
    json!([number, "x".repeat(EVENT_BYTES)])
}

fn number(event: &Value) -> u64 {
    event[4][0][0].as_u64().unwrap()
}

/// Publishes so many events, and two subscribers that read get them all.
fn publish_to_readers(server: &Server, events: u64) {
    let mut readers = [Client::join(address(server), RAW), Client::join(address(server), RAW)];
    for reader in &mut readers {
        reader.subscribe("com.x");
    }
    let mut publisher = Client::join(address(server), RAW);
    for sent in 0..events {
        publisher.publish_acknowledged("com.x", &event(sent));
        for reader in &mut readers {
            assert_eq!(number(&reader.expect(36)), sent);
        }
    }
}

#[test]
fn a_slow_consumer_is_disconnected_and_nobody_else_notices() {
    for shards in [1, 2] {
        let server = start(&small_output(shards, SlowConsumerPolicy::Disconnect));
        let mut lazy = lazy_subscriber(&server);
        publish_to_readers(&server, 400);
        assert_eq!(server.snapshot().slow_consumers_disconnected, 1);
        let (messages, _) = lazy.drain();
        let (last, events) = messages.split_last().unwrap();
        assert_eq!((&last[0], &last[2]), (&json!(3), &json!("wamp.close.slow_consumer")));
        assert!(events.iter().enumerate().all(|(at, event)| number(event) == at as u64));
        drop(lazy);
        settles(&server);
    }
}

#[test]
fn output_never_exceeds_its_budget() {
    let server = start(&small_output(2, SlowConsumerPolicy::DropNewest));
    let lazy: Vec<_> = (0..4).map(|_| lazy_subscriber(&server)).collect();
    let over = AtomicBool::new(false);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // Six subscribers, the publisher's answers and what one turn holds.
                let over_now = server.snapshot().output_bytes > 7 * 256 * 1024 + (2 << 20);
                over.fetch_or(over_now, Ordering::Relaxed);
                thread::yield_now();
            }
        });
        publish_to_readers(&server, 400);
        done.store(true, Ordering::Relaxed);
    });
    assert!(!over.load(Ordering::Relaxed));
    drop(lazy);
    settles(&server);
}

#[test]
fn the_newest_or_the_oldest_events_are_dropped_on_request() {
    for policy in [SlowConsumerPolicy::DropNewest, SlowConsumerPolicy::DropOldest] {
        let server = start(&small_output(2, policy));
        let mut lazy = lazy_subscriber(&server);
        publish_to_readers(&server, 400);
        let dropped = server.snapshot().events_dropped_slow;
        assert!(dropped > 0);
        // What a reply would exceed, so room is made first: the events are read up to here.
        let mut received = Vec::new();
        while received.len() as u64 + dropped < 400 {
            received.push(number(&lazy.expect(36)));
        }
        assert!(received.is_sorted_by(|a, b| a < b), "in order, none twice");
        let (first, last) = (received[0], received[received.len() - 1]);
        match policy {
            SlowConsumerPolicy::DropNewest => assert_eq!(last, received.len() as u64 - 1),
            _ => assert_eq!((first, last), (0, 399)),
        }
        lazy.goodbye();
        assert_eq!(server.snapshot().slow_consumers_disconnected, 0);
        drop(lazy);
        settles(&server);
    }
}

#[test]
fn a_reader_that_stalls_is_given_up_in_time() {
    let mut config = small_output(1, SlowConsumerPolicy::DropNewest);
    config.output.stall_ms = 500;
    let server = start(&config);
    let lazy = lazy_subscriber(&server);
    publish_to_readers(&server, 200);
    eventually("the stalled reader goes", || server.snapshot().slow_consumers_disconnected == 1);
    drop(lazy);
    settles(&server);
}

#[test]
fn all_output_together_has_a_budget() {
    const TOTAL: u64 = 1 << 20;
    let mut config = small_output(2, SlowConsumerPolicy::Disconnect);
    config.output.hard_bytes = 1 << 20;
    config.output.total_bytes = TOTAL as usize;
    let server = start(&config);
    let lazy: Vec<_> = (0..8).map(|_| lazy_subscriber(&server)).collect();
    publish_to_readers(&server, 400);
    eventually("the total is held", || server.snapshot().output_bytes <= TOTAL);
    assert!(server.snapshot().slow_consumers_disconnected >= 6);
    drop(lazy);
    settles(&server);
}

/// A shard whose queue is over its mark pauses those who feed it, and loses nothing.
#[test]
fn publishers_wait_for_a_congested_shard() {
    const EVENTS: u64 = 2000;
    const PUBLISHERS: u64 = 4;
    let mut config = config(4);
    config.tuning.shard_queue_bytes = 64 * 1024;
    config.output.hard_bytes = 64 << 20;
    let server = start(&config);
    let mut subscribers: Vec<_> = (0..4).map(|_| Client::join(address(&server), RAW)).collect();
    for client in &mut subscribers {
        client.subscribe("com.x");
    }
    thread::scope(|scope| {
        for name in 0..PUBLISHERS {
            let server = &server;
            scope.spawn(move || {
                let mut publisher = Client::join(address(server), RAW);
                for sent in 0..EVENTS {
                    publisher.publish("com.x", &event(name * EVENTS + sent));
                }
                publisher.goodbye();
            });
        }
        for mut client in subscribers {
            scope.spawn(move || {
                let mut next: Vec<u64> = (0..PUBLISHERS).map(|name| name * EVENTS).collect();
                for _ in 0..PUBLISHERS * EVENTS {
                    let number = number(&client.expect(36));
                    let expected = &mut next[(number / EVENTS) as usize];
                    assert_eq!(number, *expected);
                    *expected += 1;
                }
            });
        }
    });
    settles(&server);
}

/// Replies are never dropped: a client that asks and does not read is ended.
#[test]
fn replies_over_the_budget_end_the_client() {
    let server = start(&small_output(1, SlowConsumerPolicy::DropNewest));
    let mut callee = Client::join(address(&server), RAW);
    callee.register("com.x");
    let mut caller = Client::open_on(Stream::connect_small(address(&server)), RAW).unwrap();
    caller.hello("realm1");
    for _ in 0..200 {
        caller.call("com.x", &json!(1));
    }
    let invocations: Vec<_> = (0..200).map(|_| callee.expect(68)).collect();
    for invocation in invocations {
        callee.send(&json!([70, invocation[1], {}, [event(0)]]));
    }
    eventually("the caller goes", || server.snapshot().slow_consumers_disconnected == 1);
    let (messages, _) = caller.drain();
    assert_eq!(messages.last().unwrap()[2], "wamp.close.slow_consumer");
    drop((caller, callee));
    settles(&server);
}
