//! Event history with real threads: no event falls between a subscription and the history.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};
use stentor::codec::Codec;
use stentor::config::History;

use crate::sockets::{Client, Kind, address, config, settles, start};

const RAW: Kind = Kind::Raw(Codec::MsgPack);
const ROUNDS: usize = 400;

/// AP-HIS-01: who subscribes and then asks has every event from the history, or live.
#[test]
fn nothing_is_missed_between_history_and_subscription() {
    let mut config = config(2);
    let history = History { topic: "com.x".into(), events: Some(4), ..History::default() };
    config.realms[0].histories = vec![history];
    let server = start(&config);
    // One client on each shard: they are dealt out evenly.
    let (mut publisher, mut subscriber) =
        (Client::join(address(&server), RAW), Client::join(address(&server), RAW));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1_u64.. {
                publisher.publish("com.x", &json!(number));
                if number % 16 == 0 {
                    // Not faster than they are handled.
                    publisher.publish_acknowledged("com.y", &json!(0));
                }
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for _ in 0..ROUNDS {
            look_at_both(&mut subscriber);
        }
        done.store(true, Ordering::Relaxed);
    });
    publisher.goodbye();
    subscriber.goodbye();
    drop((publisher, subscriber));
    settles(&server);
    assert!(server.snapshot().history_evicted > 0);
}

/// Subscribes, asks for the last event, and takes the next one live: they must be neighbours, or
/// the live one be the older.
fn look_at_both(client: &mut Client) {
    let subscription = client.subscribe("com.x");
    let request = client.next_request();
    let filters = json!({"reverse": true, "limit": 1});
    let procedure = "wamp.subscription.get_events";
    client.send(&json!([48, request, {}, procedure, [subscription], filters]));
    let (mut live, mut kept): (Option<Value>, Option<Value>) = (None, None);
    while live.is_none() || kept.is_none() {
        let message = client.receive();
        match message[0].as_u64().unwrap() {
            36 => drop(live.get_or_insert_with(|| message[4][0].clone())),
            50 if message[3].as_array().unwrap().is_empty() => kept = Some(json!(0)),
            50 => kept = Some(message[3][0]["args"][0].clone()),
            _ => panic!("{message}"),
        }
    }
    let (live, kept) = (live.unwrap().as_u64().unwrap(), kept.unwrap().as_u64().unwrap());
    assert!(live <= kept + 1, "event {} is neither live nor in the history", kept + 1);
    let request = client.next_request();
    client.send(&json!([34, request, subscription]));
    while client.receive()[0] != 35 {}
}
