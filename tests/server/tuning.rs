//! Tuning changes speed and memory, but nothing that a client could name.

use std::fs;
use std::thread;

use serde_json::json;
use stentor::codec::Codec;

use crate::sockets::{Client, Kind, address, config, eventually, settles, start};

const RAW: Kind = Kind::Raw(Codec::Cbor);
const PUBLISHERS: u64 = 4;
const EVENTS: u64 = 300;

/// BP-ORD-01.
#[test]
fn batched_flushes_lose_and_reorder_nothing() {
    for shards in [1, 2] {
        let mut config = config(shards);
        config.tuning.flush_delay_us = 2_000;
        // A queue that the events would fill many times, if they were held until it is full.
        config.output.hard_bytes = 16 * 1024;
        config.output.soft_bytes = 16 * 1024;
        let server = start(&config);
        let mut subscribers: Vec<_> = (0..3).map(|_| Client::join(address(&server), RAW)).collect();
        for client in &mut subscribers {
            client.subscribe("com.x");
        }
        let publish = |publisher: u64| {
            let mut client = Client::join(address(&server), RAW);
            for number in 0..EVENTS {
                client.publish_acknowledged("com.x", &json!([publisher, number]));
            }
        };
        let read = |client: &mut Client| {
            let mut next = [0; PUBLISHERS as usize];
            for _ in 0..PUBLISHERS * EVENTS {
                let event = client.expect(36);
                let [publisher, number] = [0, 1].map(|at| event[4][0][at].as_u64().unwrap());
                assert_eq!(number, next[publisher as usize], "of publisher {publisher}");
                next[publisher as usize] += 1;
            }
        };
        thread::scope(|scope| {
            (0..PUBLISHERS).for_each(|number| drop(scope.spawn(move || publish(number))));
            subscribers.iter_mut().for_each(|client| drop(scope.spawn(move || read(client))));
        });
        drop(subscribers);
        settles(&server);
    }
}

#[test]
fn what_is_held_is_written_before_the_router_stops() {
    let mut config = config(1);
    config.tuning.flush_delay_us = 10_000;
    let server = start(&config);
    let mut client = Client::join(address(&server), RAW);
    client.subscribe("com.x");
    let mut publisher = Client::join(address(&server), RAW);
    publisher.publish_acknowledged("com.x", &json!(1));
    publisher.publish("com.x", &json!(2));
    // The second event is routed by now, and either written or held.
    publisher.subscribe("com.y");
    thread::spawn(move || server.stop().unwrap());
    assert_eq!(client.expect(36)[4], json!([1]));
    assert_eq!(client.expect(36)[4], json!([2]));
    assert_eq!(client.expect(6)[2], json!("wamp.close.system_shutdown"));
}

#[test]
#[cfg(target_os = "linux")]
fn shards_stay_on_their_cores() {
    let mut config = config(2);
    config.tuning.pin_cores = true;
    let server = start(&config);
    Client::join(address(&server), RAW).goodbye();
    let cores: Vec<String> = ["shard-0", "shard-1"].into_iter().filter_map(pinned_core).collect();
    assert_eq!(cores.len(), 2, "both are on one core each: {cores:?}");
    let available = thread::available_parallelism().unwrap().get();
    assert!(available == 1 || cores[0] != cores[1], "{cores:?}");
    settles(&server);
}

/// The only core of a thread with this name; other tests have threads of that name, but pin none.
#[cfg(target_os = "linux")]
fn pinned_core(name: &str) -> Option<String> {
    let core = |folder: &std::path::Path| {
        let own = fs::read_to_string(folder.join("comm")).ok()?;
        let status = fs::read_to_string(folder.join("status")).ok()?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim();
        (own.trim() == name && list.parse::<u32>().is_ok()).then(|| list.to_owned())
    };
    let mut found = None;
    eventually("the thread has pinned itself", || {
        let threads = fs::read_dir("/proc/self/task").unwrap();
        found = threads.flatten().find_map(|entry| core(&entry.path()));
        found.is_some()
    });
    found
}
