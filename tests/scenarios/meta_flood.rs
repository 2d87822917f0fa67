//! Meta events that are caused faster than listeners can be told: who causes them waits.

use serde_json::{Value, json};

use stentor::router::Settings;
use stentor::shard::Admission;

use super::peer::{Peer, network_with, pipeline};
use crate::support::{Carrier, Link, Network, Serializer};

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

/// Who connects, joins and leaves at once, again and again, causes no more than listeners are told
/// of: the next ones wait. So does a bystander, but nobody is refused, however long it takes.
#[test]
fn joining_waits_for_the_meta_events_of_those_who_have_left() {
    for shards in [1, 2] {
        let (mut network, mut listeners) = with_listeners(shards, "wamp.session.on_join");
        for listener in &listeners {
            listener.say(&mut network, &json!([32, 2, {}, "wamp.session.on_leave"]));
        }
        network.settle();
        let hello = json!([1, "realm1", {"roles": {"publisher": {}}}]);
        let connect = |network: &mut Network| {
            let pipe = network.connect(shards - 1, Admission::Welcome, usize::MAX);
            let link = Link::new(Carrier::WebSocket, Serializer::Json);
            network.push(pipe, &link.greeting());
            network.push(pipe, &link.message(&hello));
            Peer { pipe, link, session: 0 }
        };
        let mut furthest = 0;
        for _ in 0..CHURNS {
            let churners: Vec<_> = (0..CHURNERS).map(|_| connect(&mut network)).collect();
            take_turns(&mut network);
            churners.iter().for_each(|churner| network.lose(churner.pipe));
            take_turns(&mut network);
            furthest = furthest.max(network.router.meta_events_waiting());
        }
        assert!(furthest > MOST_HELD / 2, "only {furthest} events wait");
        assert!(furthest <= MOST_HELD, "{furthest} events wait, with {shards} shards");
        let mut bystander = connect(&mut network);
        let timeout_ms = network.router.edition().settings.timeouts.handshake_ms;
        let (mut heard, mut waited_ms) = (Vec::new(), 0);
        for _ in 0..MANY_TURNS {
            network.advance(timeout_ms / 4);
            waited_ms += timeout_ms / 4;
            take_turns(&mut network);
            heard.extend(bystander.read(&mut network));
            for listener in &mut listeners {
                listener.read(&mut network);
            }
            if !heard.is_empty() {
                break;
            }
        }
        assert_eq!(heard[0][0], 2, "WELCOME");
        assert!(waited_ms > 2 * timeout_ms, "it waits for {waited_ms} ms only");
        let now = network.router.snapshot();
        assert_eq!((now.connections_refused, now.sessions_refused), (0, 0));
        network.settle();
        assert_eq!(network.router.meta_events_waiting(), 0);
        assert_eq!(network.router.snapshot().connections, LISTENERS as u64 + 1);
    }
}

/// Listeners on all shards, where one step tells some of them of one meta event.
fn with_listeners(shards: usize, topic: &str) -> (Network, Vec<Peer>) {
    let settings = |settings: &mut Settings| {
        settings.turn.step_units = 200;
        settings.timeouts.ping_interval_ms = 0;
    };
    let mut network = network_with(settings, shards);
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

/// Clients that come at once, and how often they do.
const CHURNERS: usize = 50;
const CHURNS: usize = 14;

/// Events that wait while strangers are let in, and those of who was let in.
const MOST_HELD: usize = 1_000 + 4 * CHURNERS;

/// More than it takes to tell all.
const MANY_TURNS: usize = 4_000;
