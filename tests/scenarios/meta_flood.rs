//! Meta events that are caused faster than listeners can be told: who causes them waits.

use serde_json::{Value, json};

use super::peer::{Peer, network_with, pipeline};
use crate::support::{Network, Serializer};

/// Who subscribes faster than that is delivered waits; the events do not pile up.
#[test]
fn subscribing_waits_for_its_meta_events() {
    for shards in [1, 2] {
        let (mut network, mut listeners) = with_listeners(shards, "wamp.subscription.on_subscribe");
        let mut flooder = Peer::join(&mut network, shards - 1, Serializer::Json);
        let subscribe = |id| json!([32, id, {}, format!("com.{id}")]);
        pipeline(&mut network, &flooder, (1..=COUNT).map(subscribe));
        let (mut done, mut heard, mut furthest) = (0, 0, 0);
        for _ in 0..MANY_TURNS {
            take_turns(&mut network);
            done += flooder.read(&mut network).len();
            heard += listeners[LISTENERS - 1].read(&mut network).len();
            furthest = furthest.max(done - heard.min(done));
        }
        assert_eq!((done, heard), (COUNT, COUNT));
        assert!(furthest <= MOST_WAITING, "{furthest} events wait, with {shards} shards");
    }
}

/// Who leaves with much to give back gives it back as fast as listeners are told, even if it has
/// left for good.
#[test]
fn leaving_waits_for_its_meta_events() {
    for shards in [1, 2] {
        let (mut network, mut listeners) =
            with_listeners(shards, "wamp.subscription.on_unsubscribe");
        let flooder = Peer::join(&mut network, shards - 1, Serializer::Json);
        let subscribe = |id| json!([32, id, {}, format!("com.{id}")]);
        pipeline(&mut network, &flooder, (1..=COUNT).map(subscribe));
        network.settle();
        network.read(flooder.pipe, usize::MAX);
        let held = network.router.snapshot().subscriptions;
        network.lose(flooder.pipe);
        let (mut heard, mut furthest) = (0, 0);
        for _ in 0..MANY_TURNS {
            take_turns(&mut network);
            heard += listeners[LISTENERS - 1].read(&mut network).len();
            let given_back = (held - network.router.snapshot().subscriptions) as usize;
            furthest = furthest.max(given_back - heard.min(given_back));
        }
        assert_eq!(heard, COUNT);
        assert!(furthest <= MOST_WAITING, "{furthest} events wait, with {shards} shards");
        let connections = network.router.snapshot().connections;
        assert_eq!(connections, LISTENERS as u64, "all is given back");
    }
}

/// Somebody who causes little is not held up by what others cause.
#[test]
fn a_flood_of_meta_events_holds_up_nobody_else() {
    let (mut network, _listeners) = with_listeners(1, "wamp.subscription.on_subscribe");
    let [flooder, mut bystander] = [(); 2].map(|()| Peer::join(&mut network, 0, Serializer::Json));
    let subscribe = |id| json!([32, id, {}, format!("com.{id}")]);
    pipeline(&mut network, &flooder, (1..=COUNT).map(subscribe));
    for _ in 0..10 {
        take_turns(&mut network);
    }
    pipeline(&mut network, &bystander, (1..=3).map(subscribe));
    for _ in 0..3 {
        take_turns(&mut network);
    }
    let heard = bystander.read(&mut network);
    assert_eq!(heard.iter().map(|message| &message[0]).collect::<Vec<&Value>>(), [33, 33, 33]);
}

/// Listeners on all shards, where one step tells some of them of one meta event.
fn with_listeners(shards: usize, topic: &str) -> (Network, Vec<Peer>) {
    let mut network = network_with(|settings| settings.turn.step_units = 200, shards);
    let mut listeners: Vec<_> = (0..LISTENERS)
        .map(|number| Peer::join(&mut network, number % shards, Serializer::Json))
        .collect();
    for listener in &listeners {
        listener.say(&mut network, &json!([32, 1, {}, topic]));
    }
    network.settle();
    for listener in &mut listeners {
        listener.read(&mut network);
    }
    (network, listeners)
}

/// One turn of each shard, and all mail that it leaves.
fn take_turns(network: &mut Network) {
    for shard in 0..network.shard_count() {
        network.turn(shard);
    }
    for route in network.mail_routes() {
        network.deliver_mail(route);
    }
}

const LISTENERS: usize = 300;

/// Subscriptions of the one who floods.
const COUNT: usize = 500;

/// Events that wait at two shards, and those that are made before word of it comes back.
const MOST_WAITING: usize = 50;

/// More than it takes to tell all.
const MANY_TURNS: usize = 4_000;
