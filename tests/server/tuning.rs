//! Tuning changes speed and memory, but nothing that a client could name.

use std::thread;

use serde_json::json;
use stentor::codec::Codec;

use crate::sockets::{Client, Kind, address, config, settles, start};

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
