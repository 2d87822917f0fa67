//! Clients whose messages go in batches, where a dialogue does not show it: how many frames there
//! are, what becomes of the rest of a batch, and how long its turn is (TR-BAT-04).

use serde_json::{Value, json};
use stentor::limits::{SlowConsumerPolicy, TurnLimits};
use stentor::router::Settings;
use stentor::shard::Admission;

use super::peer::{Peer, network, network_with};
use crate::support::{Carrier, Link, Network, Serializer};

/// What a client of each serializer sends behind each message.
const SEPARATORS: [(Serializer, u8); 4] = [
    (Serializer::Json, 0x1E),
    (Serializer::Json, 0x18),
    (Serializer::MsgPack, 0),
    (Serializer::Cbor, 0),
];

fn connect(network: &mut Network, shard: usize, (serializer, octet): (Serializer, u8)) -> Peer {
    let mut link = Link::new(Carrier::WebSocket, serializer);
    link.separator = Some(octet);
    let pipe = network.connect(shard, Admission::Welcome, usize::MAX);
    network.receive(pipe, &link.greeting());
    network.settle();
    let mut peer = Peer { pipe, link, session: 0 };
    assert!(peer.read(network).is_empty());
    peer
}

fn join(network: &mut Network, shard: usize, form: (Serializer, u8)) -> Peer {
    let mut peer = connect(network, shard, form);
    say_all(network, &peer, &[hello()]);
    assert_eq!(peer.hear(network)[0][0], json!(2));
    peer
}

fn hello() -> Value {
    let roles = json!({"publisher": {}, "subscriber": {}, "caller": {}, "callee": {}});
    json!([1, "realm1", { "roles": roles }])
}

/// All of them in one frame.
fn say_all(network: &mut Network, peer: &Peer, messages: &[Value]) {
    let bodies: Vec<_> = messages.iter().map(|it| peer.link.serializer.encode(it)).collect();
    let bodies: Vec<_> = bodies.iter().map(Vec::as_slice).collect();
    network.push(peer.pipe, &peer.link.batch(&bodies));
}

/// How long each frame of the router is.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let (mut rest, mut lengths) = (bytes, Vec::new());
    while let [_, short, ..] = rest {
        let length = match short {
            126 => 4 + usize::from(u16::from_be_bytes([rest[2], rest[3]])),
            127 => 10 + u64::from_be_bytes(rest[2..10].try_into().expect("8 bytes")) as usize,
            short => 2 + usize::from(*short),
        };
        lengths.push(length);
        rest = &rest[length..];
    }
    lengths
}

fn publish(request: u64, blob: &str) -> Value {
    json!([16, request, {"exclude_me": false}, "com.x", [request, blob]])
}

/// From HELLO on; what a turn has for a client is one frame.
#[test]
fn a_batch_is_answered_by_a_batch() {
    for form in SEPARATORS {
        let mut network = network(1);
        let mut peer = connect(&mut network, 0, form);
        let all: Vec<_> = [hello(), json!([32, 1, {}, "com.x"])]
            .into_iter()
            .chain((2..12).map(|request| publish(request, "x")))
            .collect();
        say_all(&mut network, &peer, &all);
        network.turn(0);
        let bytes = network.read(peer.pipe, usize::MAX);
        assert_eq!(frames(&bytes).len(), 1, "{form:?}");
        peer.link.feed(&bytes);
        let heard = peer.hear(&mut network);
        let kinds: Vec<_> = heard.iter().map(|message| message[0].clone()).collect();
        assert_eq!(kinds, [&[json!(2), json!(33)][..], &vec![json!(36); 10]].concat(), "{form:?}");
        let numbers: Vec<_> = heard[2..].iter().map(|event| event[4][0].clone()).collect();
        assert_eq!(numbers, (2..12).map(Value::from).collect::<Vec<_>>());
    }
}

/// Frames are no longer than what is written at once, unless one message is.
#[test]
fn batches_that_are_sent_have_a_bound() {
    let mut network = network(1);
    let mut peer = join(&mut network, 0, (Serializer::Json, 0x1E));
    say_all(&mut network, &peer, &[json!([32, 1, {}, "com.x"])]);
    network.settle();
    let (blob, large) = ("x".repeat(2_000), "y".repeat(200_000));
    let mut messages: Vec<_> = (2..102).map(|request| publish(request, &blob)).collect();
    messages.push(publish(102, &large));
    say_all(&mut network, &peer, &messages);
    network.settle();
    let bytes = network.read(peer.pipe, usize::MAX);
    let lengths = frames(&bytes);
    let (last, others) = lengths.split_last().expect("some");
    assert!(others.iter().all(|length| *length <= 64 * 1024 + 128), "{lengths:?}");
    assert!((4..10).contains(&others.len()) && *last > large.len(), "{lengths:?}");
    peer.link.feed(&bytes);
    assert_eq!(peer.hear(&mut network).len(), 102, "SUBSCRIBED and each event");
}

/// What is behind the message at fault has no effect.
#[test]
fn an_abort_drops_the_rest_of_a_batch() {
    for form in SEPARATORS {
        let mut network = network(1);
        let mut other = join(&mut network, 0, (Serializer::Json, 0x18));
        other.say(&mut network, &json!([32, 1, {}, "com.x"]));
        other.hear(&mut network);
        let mut peer = join(&mut network, 0, form);
        let (good, bad) = (publish(1, "good"), json!([99]));
        say_all(&mut network, &peer, &[good, bad, publish(2, "bad")]);
        network.settle();
        let heard = peer.read_all(&mut network);
        assert_eq!((heard.len(), &heard[0][0]), (1, &json!(3)), "{form:?}");
        let events = other.hear(&mut network);
        assert_eq!((events.len(), &events[0][4][1]), (1, &json!("good")));
        assert!(network.links.pipes[peer.pipe].ended);
    }
}

/// A batch is so many messages, and others have their turn between them.
#[test]
fn a_long_batch_is_many_steps() {
    let mut network = network(1);
    let peer = join(&mut network, 0, (Serializer::Json, 0x1E));
    let all = |network: &Network| network.router.snapshot().messages_received;
    let before = all(&network);
    let messages: Vec<_> = (1..=20_000).map(|it| json!([16, it, {}, "a"])).collect();
    say_all(&mut network, &peer, &messages);
    let mut turns = 0;
    while all(&network) < before + 20_000 {
        let before = all(&network);
        network.turn(0);
        turns += 1;
        let (taken, most) = (all(&network) - before, TurnLimits::default().turn_units / 16);
        assert!(taken <= u64::from(most), "{taken} messages in a turn");
    }
    assert!(turns > 2, "{turns} turns");
    network.settle();
}

/// Events are dropped one by one, whole, and counted, also while a batch is half written.
#[test]
fn a_slow_consumer_loses_events_and_no_bytes() {
    for form in SEPARATORS {
        for taken in [1, 5, 100, 350, 700] {
            let narrow = |settings: &mut Settings| {
                settings.output.hard_bytes = 2_000;
                settings.output.policy = SlowConsumerPolicy::DropOldest;
            };
            let mut network = network_with(narrow, 1);
            let publisher = join(&mut network, 0, (Serializer::Json, 0x1E));
            let mut peer = join(&mut network, 0, form);
            peer.say(&mut network, &json!([32, 1, {}, "com.x"]));
            peer.hear(&mut network);
            network.links.pipes[peer.pipe].capacity = taken;
            let blob = "x".repeat(300);
            for request in 1..=20 {
                publisher.say(&mut network, &publish(request, &blob));
                network.settle();
            }
            let dropped = network.router.snapshot().events_dropped_slow;
            network.links.pipes[peer.pipe].capacity = usize::MAX;
            network.wake(peer.pipe);
            let events = peer.hear(&mut network);
            let numbers: Vec<_> = events.iter().filter_map(|event| event[4][0].as_u64()).collect();
            assert!(numbers.is_sorted() && dropped > 5, "{numbers:?}, {dropped} dropped");
            assert_eq!(numbers.len() as u64 + dropped, 20, "{form:?}, {taken} B: {numbers:?}");
            assert_eq!(network.router.snapshot().output_bytes, 0);
        }
    }
}
