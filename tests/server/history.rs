//! Event history with real threads: no event falls between a subscription and the history.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::config::History;

use crate::sockets::{Client, Kind, address, config, settles, start};

const RAW: Kind = Kind::Raw(Codec::MsgPack);
const ROUNDS: usize = 800;
const MIB: usize = 1024 * 1024;

/// AP-HIS-01: who subscribes and then asks has every event from the history, or live.
#[test]
fn nothing_is_missed_between_history_and_subscription() {
    let mut config = config(2);
    let history = History { topic: "com.x".into(), events: Some(4), ..History::default() };
    config.realms[0].histories = vec![history];
    // The publisher does not wait for the subscriber, which may get little time of the processor.
    (config.output.hard_bytes, config.output.soft_bytes) = (256 * MIB, 256 * MIB);
    let server = start(&config);
    // One client on each shard: they are dealt out evenly.
    let (mut publisher, mut subscriber) =
        (Client::join(address(&server), RAW), Client::join(address(&server), RAW));
    let done = AtomicBool::new(false);
    // To copy it takes a while, in which the subscriber's requests are handled.
    let text = "x".repeat(300_000);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1_u64.. {
                // Acknowledged, so not faster than they are handled.
                publisher.publish_acknowledged("com.x", &json!([number, text]));
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let _end = End(&done);
        for _ in 0..ROUNDS {
            look_at_both(&mut subscriber);
        }
    });
    publisher.goodbye();
    subscriber.goodbye();
    drop((publisher, subscriber));
    settles(&server);
    assert!(server.snapshot().history_evicted > 0);
}

/// Tells the publisher to stop, also when the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Subscribes and asks for the last event in one breath, and takes the next one live: they must be
/// neighbours, or the live one be the older.
fn look_at_both(client: &mut Client) {
    let (subscribe, call) = (client.next_request(), client.next_request());
    let filters = json!({"reverse": true, "limit": 1});
    let mut requests = RAW.message(&json!([32, subscribe, {}, "com.x"]));
    let procedure = "wamp.subscription.get_events";
    requests.extend(RAW.message(&json!([48, call, {}, procedure, [HISTORY_ID], filters])));
    client.write(&requests).unwrap();
    assert_eq!(client.expect(33)[2], HISTORY_ID);
    let (mut live, mut kept): (Option<Value>, Option<Value>) = (None, None);
    while live.is_none() || kept.is_none() {
        let message = client.receive();
        match message[0].as_u64().unwrap() {
            36 => drop(live.get_or_insert_with(|| message[4][0][0].clone())),
            50 if message[3].as_array().unwrap().is_empty() => kept = Some(json!(0)),
            50 => kept = Some(message[3][0]["args"][0][0].clone()),
            _ => panic!("{message}"),
        }
    }
    let (live, kept) = (live.unwrap().as_u64().unwrap(), kept.unwrap().as_u64().unwrap());
    assert!(live <= kept + 1, "event {} is neither live nor in the history", kept + 1);
    let request = client.next_request();
    client.send(&json!([34, request, HISTORY_ID]));
    while client.receive()[0] != 35 {}
}

/// The first subscription of the router.
const HISTORY_ID: u64 = 1;
